from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from oip.cli.main import run
from oip.core.files import read_json


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Dark, dim and bright images; one class has a name that no terminal should be shown."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = (rng.integers(0, 40, (60, 18, 18)) + 100 * labels[:, None, None]).astype(np.uint8)
    path = tmp_path / "light.npz"
    np.savez(path, images=images, labels=labels, classes=np.array(["dark", "[b]\x1bdim", "bright"]))
    return path


def train(source: Path | str, out: Path, *options: str) -> int:
    return run(["train", "conv-stack", "--data", str(source), "--out", str(out), *options])


def test_the_text_shows_accuracy_matrix_and_file(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "light.keras"
    assert train(source, out, "--epochs", "3", "--quiet") == 0
    captured = capsys.readouterr()
    assert "accuracy " in captured.out
    assert "of 12 wrong, light.npz:test" in captured.out
    assert "[b]\N{REPLACEMENT CHARACTER}dim" in captured.out
    assert "\x1b" not in captured.out
    assert str(out) in captured.out
    lines = [line for line in captured.out.splitlines() if str(out) not in line]
    assert max(len(line) for line in lines) <= 80
    assert "training" not in captured.err
    assert out.is_file()


def test_the_json_is_the_sidecar_and_the_place(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "light.keras"
    record = ["--json", "--epochs", "1", "--optimizer", "sgd", "--seed", "5", "--l2", "0.001"]
    assert train(f"{source}:train", out, *record) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.pop("path") == str(out)
    assert result == read_json(out.with_suffix(".oip.json"))
    assert result["settings"]["momentum"] == 0.9
    assert result["settings"]["seed"] == 5
    assert len(result["losses"]) == 1
    assert np.sum(result["confusion"]) == 12


def test_a_recipe_takes_its_options(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    out = tmp_path / "five.keras"
    record = ["--filters", "2,3", "--activation", "sigmoid", "--epochs", "1", "--json", "--quiet"]
    record += ["--entropy", "0.001"]
    assert run(["train", "lenet5", "--data", str(source), "--out", str(out), *record]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["recipe"], result["options"]) == (
        "lenet5",
        {"filters": [2, 3], "activation": "sigmoid"},
    )
    layer = keras.models.load_model(out, compile=False).get_layer("Conv2D_2")
    assert (layer.filters, layer.activation.__name__) == (3, "sigmoid")


def test_a_start_is_measured_on_images_of_all_classes(tmp_path: Path, monkeypatch) -> None:
    from oip import models

    labels = np.repeat(np.arange(2, dtype=np.uint8), 500)  # in the order of their classes
    images = np.zeros((1000, 18, 18), np.uint8) + 100 * labels[:, None, None]
    folder = tmp_path / "sorted"
    folder.mkdir()
    for part in ("train", "t10k"):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            sides = b"".join(side.to_bytes(4, "big") for side in array.shape)
            content = bytes([0, 0, 8, array.ndim]) + sides + array.tobytes()
            (folder / f"{part}-{kind}-ubyte").write_bytes(content)
    measured: list[np.ndarray] = []
    monkeypatch.setattr(models, "initialize", lambda _, part, *more: measured.append(part))
    options = ("--epochs", "1", "--batch", "500", "--entropy", "0.01", "--quiet")
    assert train(folder, tmp_path / "m.keras", *options) == 0
    assert len(measured[0]) == 400 and len(np.unique(measured[0])) == 2
    assert "start" not in json.loads((tmp_path / "m.oip.json").read_text())
    monkeypatch.setattr(models, "initialize", lambda *_: models.Start(0.25, 0.0101))
    assert train(folder, tmp_path / "m.keras", *options) == 0
    start = json.loads((tmp_path / "m.oip.json").read_text())["start"]
    assert start == {"deviation": 0.25, "entropy": 0.0101}


def test_many_classes_show_their_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (120, 18, 18), np.uint8)
    source = tmp_path / "noise.npz"
    np.savez(source, images=images, labels=np.arange(120) % 12)
    assert train(source, tmp_path / "a.keras", "--epochs", "1", "--quiet") == 0
    text = capsys.readouterr().out
    assert "most frequent mistakes" in text
    assert "predicted (columns)" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "0"], "epochs"),
        (["--optimizer", "adagrad"], "sgd or rmsprop or adam"),
        (["--schedule", "linear"], "cosine"),
        (["--momentum", "0.5"], "momentum"),
        (["--out", "model.h5"], ".keras"),
        (["--data", "mnist-smaple"], "Did you mean 'mnist-sample'"),
        (["--data", "mnist-sample:test"], "--data mnist-sample"),
        (["--units", "5"], "expected filters, activation, hidden; received units"),
        (["--filters", "1,2"], "3 numbers, one per layer"),
        (["--hidden", "0"], "whole numbers from 1"),
        (["--hidden", "9" * 25], "whole numbers from 1 to 100000"),
        (["--batch", "9" * 25], "batch: expected a whole number to"),
        (["--entropy", "99"], "bits, which these images"),
        (["--activation", "steep"], "relu, tanh"),
    ],
)
def test_bad_input_leaves_with_2_and_one_line(
    source: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(source, tmp_path / "a.keras", *options) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.out == ""


def test_an_unknown_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "convstack", "--data", "mnist-sample", "--out", str(tmp_path / "a.keras")]
    assert run(arguments) == 2
    assert "Did you mean 'conv-stack'" in capsys.readouterr().err


def test_the_help_has_an_example_and_the_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert "oip train conv-stack --data mnist-sample --out digits.keras" in text
    assert "Recipes:" in text
    assert "--filters 6,12" in text


@pytest.fixture
def light_images(tmp_path):
    """120 dark, dim and bright images, of which 24 are the test part."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = (rng.integers(0, 40, (120, 18, 18)) + 100 * labels[:, None, None]).astype(np.uint8)
    path = tmp_path / "light.npz"
    np.savez(path, images=images, labels=labels, classes=np.array(["dark", "[b]\x1bdim", "bright"]))
    return path


def train_recorded(light_images, out, *options):
    command = ["train", "lenet5", "--data", str(light_images), "--out", str(out), "--quiet"]
    return run([*command, *(str(option) for option in options)])


def test_a_training_leaves_its_record_and_figures(light_images, tmp_path, capsys):
    folder = tmp_path / "run"
    options = ("--epochs", 2, "--record", folder, "--record-every", "5 batches", "--json")
    assert train_recorded(light_images, tmp_path / "light.keras", *options) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["record"] == str(folder)
    record = json.loads((folder / "record" / "record.json").read_text())
    assert record["steps"] == [0, 5, 10, 12]
    assert record["split"] == "light.npz:test"
    assert record["samples"] == 24
    assert [row["layer"] for row in record["layers"]] == ["Conv2D_1", "Conv2D_2"]
    assert record["accuracy"][-1] == pytest.approx(values["accuracy"])
    assert len(list((folder / "record" / "figures").glob("*.png"))) == 7


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--record-every", "now and then"), "epochs"),
        (("--data", "{small}"), "20"),
        (("--record", "{file}"), "folder"),
    ],
)
def test_a_bad_record_trains_nothing(light_images, tmp_path, capsys, options, word):
    (tmp_path / "file").write_text("")
    small = tmp_path / "small.npz"
    rng = np.random.default_rng(0)
    np.savez(small, images=rng.integers(0, 255, (40, 18, 18)), labels=np.arange(40) % 2)
    indices = {"small": small, "file": tmp_path / "file"}
    record = [str(option).format(**indices) for option in options]
    out = tmp_path / "light.keras"
    assert (
        train_recorded(light_images, out, "--epochs", "1", "--record", tmp_path / "run", *record)
        == 2
    )
    assert word in capsys.readouterr().err
    assert not out.exists()
    assert not (tmp_path / "run").exists()
