"""Slurm through submitit, with its jobs as processes of this machine; and the script."""

from __future__ import annotations

import os
import shlex
import subprocess
from functools import partialmethod
from pathlib import Path

import pytest

import oip
from oip.batch.executors import sbatch_script
from oip.batch.job import EngineSettings, job_of
from oip.core.errors import SettingsError


def test_a_batch_of_jobs(job, whole, contents, monkeypatch, quick_python):
    """All shards in one job, their stability in another."""
    local = pytest.importorskip("submitit.local.local")
    begin = partialmethod(local.LocalExecutor.__init__, python=quick_python)
    monkeypatch.setattr(local.LocalExecutor, "__init__", begin)
    monkeypatch.setenv("PYTHONPATH", str(Path(oip.__file__).parents[1]))
    result = oip.batch.run(
        {**job, "engine": {"kind": "slurm", "cluster": "local", "workers": 2, "together": 3}}
    )
    assert result.failures == []
    assert contents(result.out / "runs/0000") == contents(whole)
    assert (result.out / "slurm").is_dir()


def test_the_script_is_one_and_asks_for_what_the_job_asks_for(tmp_path):
    settings = EngineSettings(workers=3, threads=2, partition="long", minutes=90, memory_gb=6)
    text = sbatch_script(tmp_path / "a job.toml", settings, ("settings.steps=5",))
    path = tmp_path / "script.sh"
    path.write_text(text)
    subprocess.run(["bash", "-n", str(path)], check=True)
    options = [line.removeprefix("#SBATCH --") for line in text.splitlines() if "#SBATCH" in line]
    assert {
        "array=0-2",
        "cpus-per-task=2",
        "partition=long",
        "time=90",
        "mem=6G",
        "job-name=oip-a-job",
    } <= set(options)
    arguments = shlex.split(text.splitlines()[-1])
    assert arguments[:4] == ["srun", "oip", "batch", str((tmp_path / "a job.toml").resolve())]
    assert arguments[-2:] == ["--part", "$SLURM_ARRAY_TASK_ID/3"]
    assert "settings.steps=5" in arguments
    assert "gres" not in text
    assert "gres=gpu:1" in sbatch_script(path, EngineSettings(gpus=(0,)), ())


def test_no_name_writes_into_the_script(tmp_path):
    for partition in ("a\n#SBATCH --uid=0", "a b", 'a"', "$(id)", ""):
        with pytest.raises(SettingsError, match=r"engine\.partition"):
            job_of({"models": ["m.keras"], "out": "b", "engine": {"partition": partition}})
    with pytest.raises(SettingsError, match="control characters"):
        sbatch_script(tmp_path / "a\n#SBATCH --uid=0", EngineSettings(), ())
    text = sbatch_script(tmp_path / "a' $(id) \"b.toml", EngineSettings(partition="a,b-1"), ())
    assert "--job-name=oip-a-id-b\n" in text and "--partition=a,b-1\n" in text
    assert shlex.split(text.splitlines()[-1])[3].endswith("a' $(id) \"b.toml")


def test_the_script_does_the_batch(job, commands, tmp_path):
    """Its command in two processes at once, part by part, as the array of jobs would."""
    path = tmp_path / "job.toml"
    path.write_text(
        f"models = ['{job['models'][0]}']\nout = 'batch'\nengine = {{ workers = 2 }}\n"
        "settings = { starts = 2, steps = 6, screened = 8 }\n"
    )
    script = sbatch_script(path, EngineSettings(workers=2), ())
    script = script.replace("srun oip", "printf '%s\\n'")  # the words that the shell hands over
    begun = []
    for k in range(2):
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(k)}
        printed = subprocess.check_output(["bash", "-c", script], env=environment, text=True)
        begun.append(commands.begin(*printed.splitlines()))
    assert [commands.end(process) for process in begun] == [0, 0]
    assert oip.batch.run({**job, "out": str(tmp_path / "batch")}).pieces == 0
