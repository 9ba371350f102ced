import json
import shutil

import numpy as np
import pytest

import oip
from oip.cli.main import run as command
from oip.core.errors import DataError, ModelError, Notice, RunError
from oip.core.layer_formats import LegibilityFile
from oip.gallery.rerun_command import commands_again
from oip.run.check import run_status, verify_run
from oip.run.run import Run
from oip.workflows.inputs import opened
from oip.workflows.judge import JudgedRun, objective_responses

GROWN = {"starts": 1, "steps": 2, "screened": 4}


@pytest.fixture(scope="module")
def judged(judge_folder):
    """A folder with a model, a judge, 220 images and a run of two layers and three objectives."""
    folder, images = judge_folder(220)
    run, model = folder / "run", folder / "model.keras"
    data = {"data": images, "preset": "default", **GROWN}
    oip.reconstruct_into(run, model, ["first", "second:0-2,69"], **data)
    objectives = ["class:1", "node:first:2@3,4", "class:0 - class:3"]
    oip.reconstruct_into(run, model, objectives=objectives, **data)
    source = f"{folder / 'images.npz'}:all"
    oip.judge_into(run, data=source, judge=folder / "judge.keras")
    return folder


def arguments(folder, *more):
    data = f"{folder / 'images.npz'}:all"
    return [str(word) for word in ("judge", folder / "run", "--data", data, *more)]


def by_judge(folder, *more):
    return arguments(folder, "--judge", folder / "judge.keras", *more)


def test_every_layer_is_judged_and_noted(judged):
    run = Run.open(judged / "run")
    counts = [5, 4, 3]
    for index, count in enumerate(counts):
        record = LegibilityFile.read(run.folder(index) / "legibility.json")
        assert record.judge == "judge.keras" and record.samples == 220
        assert len(record.maps) == count
        for row in record.maps:
            assert (row.share is None) == bool(row.reason)
            assert row.share is None or row.low <= row.share <= row.high
        assert record.mean() == pytest.approx(
            np.mean([row.share for row in record.maps if row.share is not None])
        )
    assert [layer.judged > 0 for layer in run_status(run).layers] == [True] * 3
    assert not [file for file in verify_run(run) if file.problem]
    assert run.record.made["001"] == ["legibility.json"]


def test_responses_of_a_class_are_its_logits(judged):
    import keras

    images = np.load(judged / "images.npz")["images"]
    model = keras.saving.load_model(judged / "model.keras")
    dense = model.layers[-1]
    features = keras.Model(model.inputs, dense.input)(images, training=False).numpy()
    logits = features @ dense.kernel.numpy()
    opened = oip.Network(judged / "model.keras")
    values = objective_responses(opened, images, ["class:1", "class:0 - class:3"])
    assert values[:, 0] == pytest.approx(logits[:, 1], abs=1e-5)
    assert values[:, 1] == pytest.approx(logits[:, 0] - logits[:, 3], abs=1e-5)


def test_maps_that_were_grown_meanwhile_are_judged_by_the_next_call(judged, tmp_path, monkeypatch):
    from oip.workflows import judge

    shutil.copytree(judged, tmp_path / "copy")
    folder, original = tmp_path / "copy", judge.shown_features
    (path,) = folder.glob("run/layers/001/legibility.json")
    path.unlink()

    def grows_others(*arguments):
        monkeypatch.setattr(judge, "shown_features", original)
        images = np.load(folder / "images.npz")["images"]
        more = {"data": images, "preset": "default", **GROWN}
        oip.reconstruct_into(folder / "run", folder / "model.keras", "second:5", **more)
        return original(*arguments)

    monkeypatch.setattr(judge, "shown_features", grows_others)
    for maps in ([0, 1, 2, 69], [0, 1, 2, 5, 69]):
        source = f"{folder / 'images.npz'}:all"
        oip.judge_into(folder / "run", data=source, judge=folder / "judge.keras")
        assert LegibilityFile.read(path).numbers() == maps


def test_finished_layers_are_not_judged_again(judged, capsys):
    paths = sorted((judged / "run" / "layers").glob("*/legibility.json"))
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]
    paths[1].unlink()
    assert command(by_judge(judged, "--json", "-q")) == 0
    result = json.loads(capsys.readouterr().out)
    assert [layer["layer"] for layer in result["layers"]] == ["first", "second", "objectives"]
    after = [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]
    assert [content for content, _ in after] == [content for content, _ in before]
    assert [time for _, time in after[::2]] == [time for _, time in before[::2]]


def test_tables(judged, capsys):
    assert command(by_judge(judged, "-q")) == 0
    printed = capsys.readouterr().out
    assert "judge judge.keras, 220 images of images.npz:all; chance is 50 %" in printed
    assert "class:0 - class:3" in printed and "with as many" in printed
    assert command(["status", str(judged / "run")]) == 0
    assert "judged" in capsys.readouterr().out


def test_a_lost_file_is_missed_and_the_command_named(judged, capsys):
    path = judged / "run" / "layers" / "000" / "legibility.json"
    content = path.read_bytes()
    path.unlink()
    assert command(["verify", str(judged / "run")]) == 1
    printed = capsys.readouterr().out
    assert f"oip judge {judged / 'run'} --data images.npz:all --judge judge.keras" in printed
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--judge", "model.keras"], "expected a network with other weights"),
        (["--judge", "none.keras"], "received no such file"),
        (["--judge", "efficientnet-lite7"], "efficientnet-lite2; received no such file or name"),
        (["--judge-layer", "first"], "--judge-layer: expected a model as the judge"),
        (["--model", "judge.keras"], "is a run of another model"),
    ],
)
def test_bad_input_is_one_line(judged, more, message, capsys, monkeypatch):
    monkeypatch.chdir(judged)
    before = sorted(judged.rglob("*"))
    assert command(arguments(judged, *more, "-q")) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and "\n" not in said
    assert sorted(judged.rglob("*")) == before


def test_bad_input_of_the_library(judged, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = np.load(judged / "images.npz")["images"]
    with pytest.raises(DataError, match="at least 200"):
        oip.judge_into(judged / "run", data=images[:199])
    with pytest.raises(RunError, match="no such folder"):
        oip.judge_into(tmp_path / "none", data=images)
    with pytest.raises(ModelError, match="shares 100% of its weights"):
        oip.judge_into(judged / "run", data=images, judge=oip.Network(judged / "model.keras"))
    (judged / "model.keras").rename(judged / "moved.keras")
    with pytest.raises(RunError, match="Say where it is: model='FILE'"):
        oip.judge_into(judged / "run", data=images, judge=judged / "judge.keras")
    records = oip.judge_into(
        judged / "run", data=images, judge=judged / "judge.keras", model=judged / "moved.keras"
    )
    assert len(records) == 3
    (judged / "moved.keras").rename(judged / "model.keras")


def test_layers_in_several_passes_give_the_same(judged):
    images = np.load(judged / "images.npz")["images"]
    run = Run.open(judged / "run")
    network, data = opened(judged / "model.keras", images)
    session = JudgedRun.of(run, network, data, judged / "judge.keras")
    together = [session.responses(run.layer(index), [0, 1]) for index in (0, 1)]
    session = JudgedRun.of(run, network, data, judged / "judge.keras")
    alone = [session.responses(run.layer(index), [0, 1], byte_budget=1) for index in (0, 1)]
    for first, second in zip(together, alone, strict=True):
        assert first == pytest.approx(second, abs=1e-6)


@pytest.mark.parametrize("whose", ["judge", "own"])
def test_clusters_of_images_are_counted_once(judged, whose, capsys):
    assert command(by_judge(judged, "--clusters", whose, "-q", "--json")) == 0
    record = json.loads(capsys.readouterr().out)["clusters"]
    assert [len(layer["maps"]) for layer in record] == [5, 4, 3]
    name = {"judge": "judge.keras", "own": "the network itself"}[whose]
    assert {layer["judge"] for layer in record} == {name}
    paths = sorted((judged / "run" / "layers").glob("*/clusters.json"))
    before = [path.stat().st_mtime_ns for path in paths]
    assert command(by_judge(judged, "--clusters", whose, "-q")) == 0
    assert "polysemantic" in capsys.readouterr().out
    assert [path.stat().st_mtime_ns for path in paths] == before
    name = paths[1].relative_to(judged / "run").as_posix()
    (lost,) = commands_again(Run.open(judged / "run"), [name])
    assert lost.endswith(f"--judge judge.keras --clusters {whose}")
    assert not [file for file in verify_run(Run.open(judged / "run")) if file.problem]


def test_lines_are_judged_by_networks_of_lines_alone(tmp_path):
    import keras
    from keras import layers

    for seed, name in enumerate(("own", "other")):
        keras.utils.set_random_seed(seed)
        parts = [layers.Conv1D(3, 5, activation="relu", name="filters")]
        parts += [layers.GlobalAveragePooling1D(), layers.Dense(3)]
        model = keras.Sequential([keras.Input((32, 2)), *parts])
        model.save(tmp_path / f"{name}.keras")
    lines = np.random.default_rng(0).normal(size=(240, 32, 2)).astype(np.float32)
    np.savez(tmp_path / "lines.npz", images=lines, labels=np.arange(240) % 3)
    run, own = tmp_path / "run", tmp_path / "own.keras"
    oip.reconstruct_into(run, own, "@0", data=lines, starts=1, steps=4, screened=8)
    given = {"data": f"{tmp_path / 'lines.npz'}:all", "model": own}
    with pytest.warns(Notice, match="does not describe its input"):
        (record,) = oip.judge_into(run, judge=str(tmp_path / "other.keras"), **given)
    assert (record.layer, record.samples) == ("filters", 240)
    with pytest.raises(DataError, match="judge 'pixels'"):
        oip.judge_into(run, judge="pixels", **given)
