"""`oip batch` from the shell's side."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import oip
from oip.batch import worker


@pytest.fixture
def job(small_file, tmp_path):
    path = tmp_path / "job.toml"
    path.write_text(
        f"models = ['{small_file}']\nout = 'batch'\nlayers = ['first']\n"
        "settings = { starts = 2, steps = 6, screened = 8 }\n"
    )
    return path


def test_an_example_is_written_once_and_can_be_read(call, tmp_path):
    path = tmp_path / "job.toml"
    status, out, err = call("batch", path, "--init")
    assert (status, out) == (0, f"{path}\n")
    assert "--dry-run" in err
    text = path.read_text()
    status, _, err = call("batch", path, "--init")
    assert (status, path.read_text()) == (2, text)
    assert "--init" in err
    status, _, err = call("batch", path)  # its model is not there
    assert status == 2
    assert "model.keras" in err


def test_a_plan_has_seconds_and_bytes_and_writes_nothing(call, job, tmp_path):
    before = sorted(path.name for path in tmp_path.rglob("*"))
    status, out, _ = call("batch", job, "--dry-run", "--json", "--set", "layers=[]")
    assert status == 0
    plan = json.loads(out)
    assert (plan["shards"], plan["shards_left"], plan["maps_left"]) == (3, 3, 76)
    layers = plan["runs"][0]["layers"]
    assert [(row["layer"], row["maps"], row["shards"]) for row in layers] == [
        ("first", 6, 1),
        ("second", 70, 2),
    ]
    assert plan["seconds"] == pytest.approx(sum(row["seconds"] for row in layers), abs=0.2)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    assert call("batch", job, "--quiet")[0] == 0
    size = (tmp_path / "batch/runs/0000/layers/000/shard-0000.npz").stat().st_size
    assert size / 3 < layers[0]["bytes"] < 3 * size
    status, out, err = call("batch", job, "--dry-run")
    assert "0 of 1 shards to do" in out
    assert "models read: 1/1" in err
    assert oip.batch.forecast(str(job)).shards_left == 0


def test_images_of_an_application_are_prepared_as_the_notice_says(call, tmp_path):
    import keras
    from keras import layers

    parts = [layers.Input((8, 8, 3)), layers.Conv2D(2, 3)]
    keras.Sequential(parts, name="vgg16").save(tmp_path / "own.keras")
    path = tmp_path / "job.toml"
    text = "models = ['own.keras']\nout = 'batch'\n"
    text += "settings = { starts = 1, steps = 2, screened = 2 }\n"
    path.write_text(text)
    hint = 'preprocess = "caffe"'
    for options in (["--dry-run"], []):
        status, out, err = call("batch", path, *options)
        assert (status, "For VGG16 of keras.applications: " + hint in out + err) == (0, True)
    path.write_text(f"{text}{hint}\n")
    assert "not known" not in "".join(call("batch", path, "--dry-run")[1:])


def test_a_batch_and_what_its_runs_say(call, job, tmp_path, monkeypatch):
    status, out, err = call("batch", job, "--json", "--set", "settings.steps=4")
    assert status == 0
    assert re.search(r"2/2 pieces, 6/6 maps, [0-9.]+ maps/s", err)
    record = json.loads(out)
    assert record["batch"] == str(tmp_path / "batch")
    assert (record["pieces"], record["failed"]) == (2, [])
    assert sum(record["runs"][0]["layers"][0]["verdicts"].values()) == 6
    settings = json.loads((tmp_path / "batch/runs/0000/run.json").read_text())["settings"]
    assert settings["reconstruct"]["steps"] == 4
    status, out, _ = call("batch", job, "--quiet", "--set", "settings.steps=4")
    assert (status, "0 pieces" in out) == (0, True)
    monkeypatch.chdir(tmp_path)
    status, out, err = call("status", "batch")
    assert status == 0
    assert "6 of 6" in out
    assert f"oip gallery {Path('batch/runs/0000')} --open" in err
    assert oip.batch.batch_status("batch").runs[0].layers[0].requested == 6
    assert call("verify", tmp_path / "batch", "--quiet")[0] == 0
    status, out, _ = call("cite", tmp_path / "batch", "--json")
    assert "oip" in json.loads(out)["entries"]
    shutil.rmtree(tmp_path / "batch/runs/0000")  # as if killed before the run began
    status, out, err = call("status", tmp_path / "batch")
    assert (status, "0 of 6" in out) == (0, True)
    assert "oip batch JOB.toml  # continues it" in err


def test_what_failed_is_a_table_and_exit_1(call, job, tmp_path, monkeypatch):
    def fail(task):
        raise ValueError("bad luck")

    with monkeypatch.context() as patched:
        patched.setitem(worker.STEPS, "grow", fail)
        status, out, _ = call("batch", job, "--quiet", "--set", "retries=0")
        assert status == 1
        assert "1 pieces of work failed" in out
        assert "bad luck" in out
        status, out, err = call("batch", job, "--quiet", "--json")
        assert (status, len(json.loads(out)["failed"])) == (1, 1)
        assert "failed" in err
    status, out, _ = call("status", tmp_path / "batch")
    assert status == 1
    assert "bad luck" in out
    assert call("batch", job, "--quiet")[0] == 0
    assert call("status", tmp_path / "batch")[0] == 0


def test_a_model_that_cannot_be_opened_is_in_the_table_and_exit_1(call, job, small_file, tmp_path):
    (tmp_path / "damaged.keras").write_bytes(b"PK")
    job.write_text(job.read_text().replace("models = [", "models = ['damaged.keras', "))
    status, out, err = call("batch", job, "--quiet")
    assert (status, "1 pieces of work failed" in out) == (1, True)
    assert "damaged.keras" in out and "damaged.keras' is left out" in err
    assert len(list((tmp_path / "batch/runs").iterdir())) == 1
    status, out, _ = call("batch", job, "--quiet", "--dry-run", "--json")
    assert (status, "damaged.keras" in json.loads(out)["refused"][0]) == (1, True)
    status, _, err = call("batch", job, "--quiet", "--set", "models=['damaged.keras']")
    assert (status, err.count("\n")) == (2, 1)


def test_the_script_is_printed_and_nothing_is_done(call, job, tmp_path):
    arguments = ["--print-sbatch", "--workers", "3", "--set", "settings.steps=5", "--out"]
    status, out, _ = call("batch", job, *arguments, tmp_path / "there")
    assert status == 0
    assert out.startswith("#!/bin/bash\n")
    assert "--array=0-2" in out
    assert "settings.steps=5" in out
    assert str(tmp_path / "there") in out
    assert not (tmp_path / "batch").exists() and not (tmp_path / "there").exists()
    text = call("batch", job, *arguments, tmp_path / "there", "--json")[1]
    assert json.loads(text) == {"script": out}


def test_the_path_of_an_example_is_json_too(call, tmp_path):
    path = tmp_path / "new.toml"
    assert json.loads(call("batch", path, "--init", "--json")[1]) == {"job": str(path)}
    assert path.is_file()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["none.toml"], "none.toml"),
        (["JOB", "--set", "laers=1"], "Did you mean 'layers'"),
        (["JOB", "--set", "engine.worker=1"], "engine.workers"),
        (["JOB", "--set", "steps"], "--set"),
        (["JOB", "--set", 'layers=["thrid"]'], "first, second"),
        (["JOB", "--set", "settings.steps=0"], "steps"),
        (["JOB", "--part", "2/2"], "--part"),
        (["JOB", "--engine", "dask"], "scheduler"),
        (["JOB", "--workers", "0"], "engine.workers"),
        (["JOB", "--workers", "9" * 30, "--engine", "local"], "engine.workers"),
        (["JOB", "--set", "data=nothing"], "mnist-sample"),
        (["JOB", "--engine", "local", "--set", 'layers=["thrid"]'], "first, second"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_nothing_written(
    call, job, tmp_path, arguments, word, quick_pools
):
    arguments = [argument.replace("JOB", str(job)) for argument in arguments]
    status, out, err = call("batch", *arguments, "--quiet")
    assert (status, out) == (2, "")
    assert err.startswith("oip: ") and err.count("\n") == 1
    assert word in err
    assert [path.name for path in tmp_path.iterdir()] == ["job.toml"]
