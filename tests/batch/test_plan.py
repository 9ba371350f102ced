"""From a job to runs: which models, which folders, which shards."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import oip
from oip.batch.job import job_of
from oip.batch.plan import (
    begin,
    model_jobs,
    plan_runs,
    read_batch,
    repair_batch,
    unfinished,
    verify_batch,
)
from oip.batch.worker import WorkerCache, inspect_model
from oip.core.errors import ModelError, Notice, OipError, RunError
from oip.core.formats import BatchLayer
from oip.run.run import RunFolder


def test_every_model_meets_every_setting(plain_file, tmp_path):
    for name in ("b", "a"):
        shutil.copy(plain_file, tmp_path / f"{name}.keras")
    job = job_of(
        {
            "models": [str(tmp_path / "*.keras"), str(tmp_path / "a.keras")],
            "out": "x",
            "settings": [{"seed": 0}, {"seed": 1}],
        }
    )
    jobs = model_jobs(job, tmp_path)
    names = [job.path.rpartition("/")[2] for job in jobs]
    assert names == ["a.keras", "a.keras", "b.keras", "b.keras"]
    assert [job.requested.natural.seed for job in jobs] == [0, 1, 0, 1]


@pytest.mark.parametrize("name", ["none.keras", "none*.keras"])
def test_models_that_are_not_there_are_named(tmp_path, name):
    with pytest.raises(ModelError, match="none"):
        model_jobs(job_of({"models": [str(tmp_path / name)], "out": "x"}), tmp_path)


def test_a_run_is_known_by_its_content_whatever_the_job_says(job, tmp_path):
    cache, out = WorkerCache(), tmp_path / "batch"

    def looked(seeds):
        changed = {**job, "settings": [{**job["settings"], "seed": seed} for seed in seeds]}
        jobs = model_jobs(job_of(changed), tmp_path)
        return [(job, inspect_model(cache, job)) for job in jobs]

    assert [run.number for run in plan_runs(out, looked([5, 7]))] == [0, 1]
    assert not out.exists()
    begin(out, looked([5, 7]))
    runs = begin(out, looked([9, 7, 7]))
    assert [(run.number, run.job.settings.seed) for run in runs] == [(2, 9), (1, 7)]
    records = read_batch(out).runs
    assert [record.settings["seed"] for record in records] == [5, 7, 9]
    assert [record.run for record in records] == ["0000", "0001", "0002"]
    assert str(tmp_path) not in (out / "batch.json").read_text()
    assert records[0].layers == [BatchLayer(index=0, layer="conv", maps="0-149")]


def test_parts_are_a_division_of_all_shards(job, tmp_path):
    model_job = model_jobs(job_of({**job, "layers": ["conv:0-70,149"]}), tmp_path)[0]
    runs = plan_runs(tmp_path / "out", [(model_job, inspect_model(WorkerCache(), model_job))])
    every = unfinished(runs)
    assert [(task.block, len(task.maps)) for task in every] == [(0, 64), (1, 7), (2, 1)]
    parts = [unfinished(runs, (k, 2)) for k in range(2)]
    assert [task.block for part in parts for task in part] == [0, 2, 1]


def test_what_does_not_fit_a_model_is_found_before_any_work(job, tmp_path, labelled):
    bad_entries = [
        ({"layers": ["cnv"]}, "conv"),
        ({"layers": ["conv:150"]}, "149"),
        ({"objectives": ["map:conv:150"]}, "149"),
        ({"objectives": ["map:3"]}, "layer"),
        ({"settings": {"noise": "pink"}}, "noise"),
        ({"data": labelled}, "shape"),
        ({"data": "nothing"}, "mnist-sample"),
        ({"models": [{"path": job["models"][0], "input_std": [0.0]}]}, "std"),
        ({"models": [{"path": job["models"][0], "imports": ["no_such_thing"]}]}, "import"),
    ]
    for more, word in bad_entries:
        with pytest.raises(OipError, match=word):
            inspect_model(WorkerCache(), model_jobs(job_of({**job, **more}), tmp_path)[0])
    unlabelled = tmp_path / "images.npz"
    np.savez(unlabelled, images=np.random.default_rng(0).normal(size=(30, 8, 8, 1)))
    request = {**job, "data": f"{unlabelled}", "rank": {}}
    with pytest.raises(OipError, match="label"):
        inspect_model(WorkerCache(), model_jobs(job_of(request), tmp_path)[0])


def test_a_damaged_batch_is_refused(tmp_path):
    for text in ("{", "{}", '{"kind": "oip-batch", "schema": 9}'):
        (tmp_path / "batch.json").write_text(text)
        with pytest.raises(RunError):
            read_batch(tmp_path)


def test_a_damaged_batch_goes_on_from_its_copy(job):
    out = Path(job["out"])
    oip.batch.run(job)
    whole = (out / "batch.json").read_bytes()
    for harm in (b"", whole.replace(b'"0000"', b'"0001"')):
        (out / "batch.json").write_bytes(harm)
        assert [bool(file.problem) for file in verify_batch(out)][:2] == [True, False]
        with pytest.warns(Notice, match=r"batch\.copy\.json"):
            assert repair_batch(out) == ["batch.json"]
        assert (out / "batch.json").read_bytes() == whole
    softmax = RunFolder(out / "runs/0000").folder(0) / "softmax.npz"
    content = softmax.read_bytes()
    (out / "batch.json").unlink()
    softmax.unlink()
    with pytest.warns(Notice, match=r"batch\.copy\.json"):
        assert oip.batch.run(job).pieces == 1
    assert (softmax.read_bytes(), (out / "batch.json").read_bytes()) == (content, whole)
    assert oip.batch.run(job).pieces == 0


def test_a_table_says_which_input_takes_the_images_and_their_size(tmp_path):
    import keras
    from keras import layers

    left_input = keras.Input((None, None, 1), name="one")
    right_input = keras.Input((9, 8, 1), name="two")
    left = layers.Conv2D(2, 3, name="left")(left_input)
    right = layers.Conv2D(3, 3, name="right")(right_input)
    sums = layers.Add()([layers.GlobalMaxPooling2D()(left), layers.Dense(2)(right[:, 0, 0])])
    keras.Model([left_input, right_input], sums).save(tmp_path / "two.keras")

    def looked(**table):
        model = {"path": str(tmp_path / "two.keras"), **table}
        job = job_of({"models": [model], "out": "x"})
        return inspect_model(WorkerCache(), model_jobs(job, tmp_path)[0])

    first, second = looked(input_size=[12, 11]), looked(input="two")
    assert [layer.name for layer in first.layers] == ["left"]
    assert first.record.input.shape == [12, 11, 1]
    assert [layer.name for layer in second.layers] == ["right"]
    assert second.record.input.shape == [9, 8, 1]
    assert first.key != second.key
    with pytest.raises(ModelError, match="input"):
        looked(input="three")


def test_a_damaged_line_of_the_log_is_named_and_left_out(tmp_path):
    from oip.batch.progress import log_attempt
    from oip.batch.worker import Outcome, Task
    from oip.core.formats import BatchFile

    BatchFile(runs=[]).write(tmp_path / "batch.json")
    log = tmp_path / "log.jsonl"
    log.write_text('{"time": "of an earlier version"}\n')
    task = Task("grow", None, "runs/0000", "key", "digest", 0, "first", (1,))
    for attempt in (1, 2):
        log_attempt(log, task, Outcome("done", 0.5, "host:1"), attempt)
    assert not any(checked.problem for checked in verify_batch(tmp_path))
    lines = log.read_bytes().splitlines(keepends=True)
    content = bytearray(log.read_bytes())
    for position in range(len(lines[0]) + 1, len(lines[0]) + len(lines[1])):
        changed = bytearray(content)
        changed[position] ^= 2
        log.write_bytes(changed)
        assert any(checked.problem for checked in verify_batch(tmp_path)), position
    log.write_bytes(content.replace(b'"attempt": 1', b'"attempt": 3'))
    (problem,) = [checked for checked in verify_batch(tmp_path) if checked.problem]
    assert problem.file == "log.jsonl" and "line 2" in problem.problem
    assert repair_batch(tmp_path) == ["log.jsonl"]
    assert log.read_bytes() == lines[0] + lines[2]
    log.write_bytes(content[:-5])
    assert repair_batch(tmp_path) == ["log.jsonl"]
    assert log.read_bytes() == lines[0] + lines[1]
