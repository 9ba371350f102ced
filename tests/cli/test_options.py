"""The input of a model, as the command line sets it."""

import json

import numpy as np
import pytest

from oip.cli.main import run

QUICK = ["--steps", "4", "--starts", "1", "--screened", "8", "--quiet"]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A model of two inputs with a layer each."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    left, right = layers.Input((9, 9, 1), name="a"), layers.Input((8, 8, 1), name="b")
    parts = [
        layers.Flatten()(layers.Conv2D(2, 3, name="left")(left)),
        layers.Flatten()(layers.Conv2D(2, 3, name="right")(right)),
    ]
    path = tmp_path_factory.mktemp("two") / "two.keras"
    keras.Model([left, right], layers.Concatenate()(parts)).save(path)
    return path


def test_layers_lists_the_inputs_and_what_depends_on_them(two, capsys):
    assert run(["layers", str(two), "--json", "--input", "b"]) == 0
    record = json.loads(capsys.readouterr().out)
    names = {layer["index"]: layer["layer"] for layer in record["layers"]}
    inputs = [
        (row["name"], row["images"], *(names[index] for index in row["layers"]))
        for row in record["inputs"]
    ]
    assert inputs == [("a", False, "left"), ("b", True, "right")]
    assert run(["layers", str(two)]) == 0
    assert "--input b: 8x8x1, @" in capsys.readouterr().out
    assert run(["layers", str(two), "--input", "c"]) == 2
    assert "a (@0), b (@1)" in capsys.readouterr().err


def test_layers_of_another_input_are_left_out_and_named(two, tmp_path, capsys):
    out = str(tmp_path / "run")
    assert run(["reconstruct", str(two), "--out", out, "--json", *QUICK]) == 1
    streams = capsys.readouterr()
    assert [layer["layer"] for layer in json.loads(streams.out)["layers"]] == ["left"]
    assert "'right'" in streams.err
    assert "--input b" in streams.err
    assert run(["reconstruct", str(two), "right", "--out", out, *QUICK]) == 2
    assert "--input b" in capsys.readouterr().err


def test_the_input_that_is_told_takes_the_images(two, tmp_path, capsys):
    data = tmp_path / "data.npz"
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1)).astype(np.uint8)
    np.savez(data, images=images)
    out = tmp_path / "run"
    record = ["--input", "b", "--data", str(data), "--out", str(out), "--json"]
    assert run(["reconstruct", str(two), "right", *record, *QUICK]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][0]["layer"] == "right"
    settled = json.loads((out / "run.json").read_text())["input"]
    assert (settled["name"], settled["shape"]) == ("b", [8, 8, 1])
    assert settled["source"].startswith("data ")
    assert settled["mean"][0] == pytest.approx(images.mean(), rel=0.1)  # of its test part
