from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from oip.cli.main import run


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
    told = ["--json", "--epochs", "1", "--optimizer", "sgd", "--seed", "5", "--l2", "0.001"]
    assert train(f"{source}:train", out, *told) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.pop("path") == str(out)
    assert result == json.loads(out.with_suffix(".oip.json").read_text())
    assert result["settings"]["momentum"] == 0.9
    assert result["settings"]["seed"] == 5
    assert len(result["losses"]) == 1
    assert np.sum(result["confusion"]) == 12


def test_a_recipe_takes_its_options(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    out = tmp_path / "five.keras"
    told = ["--filters", "2,3", "--activation", "sigmoid", "--epochs", "1", "--json", "--quiet"]
    assert run(["train", "lenet5", "--data", str(source), "--out", str(out), *told]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["recipe"], result["options"]) == (
        "lenet5",
        {"filters": [2, 3], "activation": "sigmoid"},
    )
    layer = keras.models.load_model(out, compile=False).get_layer("Conv2D_2")
    assert (layer.filters, layer.activation.__name__) == (3, "sigmoid")


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
        (["--optimizer", "adagrad"], "sgd, rmsprop, adam"),
        (["--schedule", "linear"], "cosine"),
        (["--momentum", "0.5"], "momentum"),
        (["--out", "model.h5"], ".keras"),
        (["--data", "mnist-smaple"], "Did you mean 'mnist-sample'"),
        (["--data", "mnist-sample:test"], "--data mnist-sample"),
        (["--units", "5"], "expected filters, activation; received units"),
        (["--filters", "1,2"], "3 numbers, one a layer"),
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
