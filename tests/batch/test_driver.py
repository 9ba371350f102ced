"""A batch ends with the files that a single command makes, whatever happens on its way."""

from __future__ import annotations

import errno
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import oip
from oip.batch import worker
from oip.batch.driver import run
from oip.batch.executors import Engine, EngineLost, in_process
from oip.batch.job import EngineSettings, job_of
from oip.core import files
from oip.core.errors import ModelError, PartlyFailed, RunError, SettingsError

LAST_MAPS = 'layers=["conv:100-149"]'


class Troubled(Engine):
    """Does the work here, but for some shards."""

    in_this_process = True

    def __init__(self, trouble):
        super().__init__(in_process(EngineSettings()))
        self._trouble = trouble
        self.handed_over = []

    def submit(self, function, *arguments):
        tasks = arguments[0]
        self.handed_over += [(task.step, task.block) for task in tasks]
        self._trouble(tasks, sum(piece == ("grow", tasks[0].block) for piece in self.handed_over))
        return super().submit(function, *arguments)


def broken(monkeypatch, times, error):
    """The second shard raises an error the first so many times."""
    grow = worker.STEPS["grow"]
    tries = []

    def fail(task):
        if task.block == 1:
            tries.append(task)
            if len(tries) <= times:
                raise error
        return grow(task)

    monkeypatch.setitem(worker.STEPS, "grow", fail)
    return tries


def test_a_batch_ends_with_what_a_single_command_makes(job, whole, contents):
    result = oip.batch.run(job)
    assert (result.failures, result.pieces) == ([], 4)
    assert contents(result.out / "runs/0000") == contents(whole)
    lines = [json.loads(line) for line in (result.out / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["ending"]) for line in lines] == [
        ("grow", "done"),
        ("grow", "done"),
        ("grow", "done"),
        ("stability", "done"),
    ]
    assert run(job).pieces == 0


@pytest.mark.parametrize("harm", ["cut", "flip", "gone"])
def test_damaged_shards_are_found_and_done_again(job, whole, contents, harm):
    run(job)
    path = Path(job["out"]) / "runs/0000/layers/000/shard-0001.npz"
    untouched = [path.with_name(f"shard-000{number}.npz") for number in (0, 2)]
    times = [path.stat().st_mtime_ns for path in untouched]
    content = bytearray(path.read_bytes())
    path.unlink()
    if harm == "cut":
        path.write_bytes(content[: len(content) // 3])
    elif harm == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert run(job).pieces == 1
    assert contents(path.parents[2]) == contents(whole)
    assert [path.stat().st_mtime_ns for path in untouched] == times


def test_what_fails_is_tried_again(job, whole, contents, monkeypatch):
    tries = broken(monkeypatch, 2, ValueError("bad luck"))
    result = run(job)
    assert (result.failures, len(tries)) == ([], 3)
    assert contents(result.out / "runs/0000") == contents(whole)


def test_what_fails_for_good_is_recorded_and_the_others_go_on(
    job, whole, contents, monkeypatch, tmp_path
):
    tries = broken(monkeypatch, 3, ValueError("bad luck"))
    result = run({**job, "retries": 1})
    (failure,) = result.failures
    assert (failure.file, failure.maps, failure.attempts) == ("shard-0001.npz", 64, 2)
    assert "bad luck" in failure.error
    record = result.out / "runs/0000/layers/000/shard-0001.error.json"
    assert json.loads(record.read_text())["attempts"] == 2
    assert (record.parent / "shard-0002.npz").exists()
    assert run({**job, "retries": 1}).failures == []  # fails once more, then works
    assert len(tries) == 4
    assert not record.exists()
    assert contents(result.out / "runs/0000") == contents(whole)


def test_an_error_that_will_come_again_is_not_tried_again(job, monkeypatch):
    tries = broken(monkeypatch, 9, ModelError("no such thing"))
    assert [failure.attempts for failure in run(job).failures] == [1]
    assert len(tries) == 1


def test_a_full_disk_ends_the_batch_and_keeps_what_was_done(job, whole, contents, monkeypatch):
    from oip.core import files

    write = files.write_bytes

    def full(path, content):
        if path.name == "shard-0001.npz":
            with files.replacing(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_bytes", full)
        with pytest.raises(PartlyFailed, match=r"No space left.*kept"):
            run(job)
    assert [path.name for path in Path(job["out"]).rglob("shard-*")] == ["shard-0000.npz"]
    run(job)
    assert contents(Path(job["out"]) / "runs/0000") == contents(whole)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_file_that_may_not_grow_is_one_line_and_exit_1(commands, job, tmp_path):
    """The kernel itself refuses to write more than a few bytes of a shard."""
    path = tmp_path / "job.toml"
    settings = "settings = { starts = 2, steps = 6, screened = 8 }"
    path.write_text(f"models = ['{job['models'][0]}']\nout = 'batch'\n{settings}\n")
    remarks = tmp_path / "remarks"
    process = commands.begin("batch", path, "--quiet", stderr=remarks, file_size=20_000)
    assert commands.end(process) == 1
    text = remarks.read_text()
    assert "File too large" in text
    assert "kept" in text
    assert "Traceback" not in text
    assert not list(tmp_path.rglob("shard-*"))


def test_a_read_only_folder_is_refused_before_any_work(job, monkeypatch):
    import tempfile

    def refused(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(RunError, match="Permission denied"):
        run(job)


def test_a_model_that_vanishes_fails_alone(job, small_file, tmp_path):
    path = tmp_path / "second.keras"
    path.write_bytes(small_file.read_bytes())
    models = [*job["models"], {"path": str(path), "layers": ["first"]}]

    def trouble(tasks, _):
        path.unlink(missing_ok=True)

    result = run({**job, "models": models}, engine=Troubled(trouble))
    assert [(failure.run, failure.layer) for failure in result.failures] == [("0001", 0)]
    assert "no such file" in result.failures[0].error
    assert (result.out / "runs/0000/layers/000/stability.json").exists()


def test_a_model_that_cannot_be_opened_is_left_out(job, plain_file, tmp_path):
    damaged = tmp_path / "damaged.keras"
    damaged.write_bytes(plain_file.read_bytes()[:500])
    settings = [{**job["settings"], "seed": seed} for seed in (0, 1)]
    request = {**job, "models": [str(damaged), *job["models"]], "layers": ["conv:0-2"]}
    with pytest.warns(oip.core.errors.Notice, match=r"damaged\.keras' is left out"):
        result = run({**request, "settings": settings})
    (failure,) = result.failures  # not one for each of the settings
    assert (failure.run, failure.layer, failure.file) == (None, None, str(damaged))
    assert "expected a Keras file" in failure.error and "damaged.keras" in result._repr_html_()
    assert len(result.runs) == 2 and result.pieces == 4
    with pytest.warns(oip.core.errors.Notice):
        assert "damaged.keras" in oip.batch.forecast(request).refused[0]
    with pytest.raises(ModelError):
        run({**request, "models": [str(damaged)], "out": str(tmp_path / "none")})
    assert not (tmp_path / "none").exists()


def test_a_model_that_changes_is_not_mixed_into_the_run(job, small_file, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(Path(job["models"][0]).read_bytes())

    def trouble(tasks, _):
        worker.CACHE.forget_models()
        if path.stat().st_size != small_file.stat().st_size:
            path.write_bytes(small_file.read_bytes())

    result = run({**job, "models": [str(path)]}, engine=Troubled(trouble))
    assert all("has changed" in failure.error for failure in result.failures)
    assert len(result.failures) == 3
    assert not list(result.out.rglob("*.npz"))


def test_an_engine_that_is_gone_ends_the_batch(job):
    def trouble(tasks, _):
        if tasks[0].block == 1:
            raise EngineLost("the scheduler is gone")

    with pytest.raises(PartlyFailed, match="scheduler is gone"):
        run(job, engine=Troubled(trouble))
    assert run(job).pieces == 3


def test_an_engine_of_this_process_begins_no_other(job, monkeypatch):
    monkeypatch.setattr("oip.batch.driver.Pool", None)
    assert run(job, engine=in_process(EngineSettings())).failures == []


def test_any_executor_fits(job, whole, contents, quick_pools):
    with ThreadPoolExecutor(2) as executor:
        result = run(job, engine=executor)
    assert contents(result.out / "runs/0000") == contents(whole)


def test_parts_make_the_whole(job, whole, contents):
    for k in (2, 0, 1):
        run(job, part=(k, 3))
        stable = Path(job["out"]) / "runs/0000/layers/000/stability.json"
        assert stable.exists() == (k == 1)
    assert contents(stable.parents[2]) == contents(whole)
    with pytest.raises(SettingsError, match="part"):
        run(job, part=(3, 3))


def test_two_batches_on_one_folder_at_once(commands, plain_file, whole, contents, tmp_path):
    """Different maps of the same shards, from two processes: nothing is lost or damaged."""
    text = f"models = ['{plain_file}']\nout = 'batch'\n"
    path = tmp_path / "job.toml"
    path.write_text(text + "settings = { starts = 2, steps = 6, screened = 8 }\n")
    layers = (LAST_MAPS, 'layers=["conv:0-120"]')
    both = [commands.begin("batch", path, "--quiet", "--set", change) for change in layers]
    assert [commands.end(process) for process in both] == [0, 0]
    folder = tmp_path / "batch/runs/0000"
    merged = oip.layer_oips(oip.Run.open(folder), 0)
    assert merged.maps.tolist() == list(range(150))
    run(oip.batch.read_job(path))
    alone = contents(whole)
    both = contents(folder)
    assert both["layers/000/shard-0000.npz"] == alone["layers/000/shard-0000.npz"]
    assert np.isfinite(oip.layer_oips(oip.Run.open(folder), 0).stability).any()


def test_objectives_and_rankings(job, small_file, labelled):
    request = {
        **job,
        "models": [str(small_file)],
        "layers": ["first"],
        "objectives": ["class:1 - class:2", "map:second:5"],
        "data": labelled,
        "rank": {"estimators": ["decoder"], "samples": 60},
    }
    result = run(request)
    assert result.failures == []
    batch_run = oip.Run.open(result.out / "runs/0000")
    assert batch_run.reconstructed() == [0, 2]
    assert batch_run.ranked() == [0]
    oips = oip.layer_oips(batch_run, 2)
    assert oips.objectives[0].replace(" ", "") == "class:1-class:2"
    assert run(request).pieces == 1  # the ranking is asked for again, and is there


def test_a_folder_of_other_files_is_refused(job):
    out = Path(job["out"])
    out.mkdir()
    (out / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="other files"):
        run(job)
    assert [path.name for path in out.iterdir()] == ["letter.txt"]


def test_bad_input_leaves_nothing_behind(job):
    with pytest.raises(ModelError):
        run({**job, "layers": ["cnv"]})
    assert not Path(job["out"]).exists()
    assert job_of(job).retries == 2


def test_what_the_model_says_of_the_oips_is_kept(tmp_path):
    import keras
    from keras import layers

    path = tmp_path / "classes.keras"
    parts = [layers.Input((8, 8, 1)), layers.Conv2D(3, 3), layers.Flatten()]
    keras.Sequential([*parts, layers.Dense(4, activation="softmax")]).save(path)
    settings = {"starts": 2, "steps": 4, "screened": 4}
    result = run({"models": [str(path)], "out": str(tmp_path / "batch"), "settings": settings})
    arrays = files.read_arrays(result.out / "runs/0000/layers/000/softmax.npz")
    assert arrays["maps"].tolist() == [0, 1, 2]
    assert np.allclose(arrays["probabilities"].sum(axis=1), 1, atol=1e-5)
