import json

import numpy as np
import pytest

from oip.cli.main import run


@pytest.fixture
def source(tmp_path):
    """120 dark, dim and bright images, of which 24 are the test part."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = (rng.integers(0, 40, (120, 18, 18)) + 100 * labels[:, None, None]).astype(np.uint8)
    path = tmp_path / "light.npz"
    np.savez(path, images=images, labels=labels, classes=np.array(["dark", "[b]\x1bdim", "bright"]))
    return path


def train(source, out, *options):
    command = ["train", "conv-stack", "--data", str(source), "--out", str(out), "--quiet"]
    return run([*command, *(str(option) for option in options)])


def test_a_training_leaves_its_record_and_figures(source, tmp_path, capsys):
    folder = tmp_path / "run"
    options = ("--epochs", 2, "--record", folder, "--record-every", "5 batches", "--json")
    assert train(source, tmp_path / "light.keras", *options) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["record"] == str(folder)
    record = json.loads((folder / "record" / "record.json").read_text())
    assert record["steps"] == [0, 5, 10, 12]
    assert record["split"] == "light.npz:test"
    assert record["samples"] == 24
    assert [one["layer"] for one in record["layers"]] == ["Conv2D_1", "Conv2D_2", "Conv2D_3"]
    assert record["accuracy"][-1] == pytest.approx(told["accuracy"])
    assert len(list((folder / "record" / "figures").glob("*.png"))) == 9


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--record-every", "now and then"), "epochs"),
        (("--data", "{small}"), "20"),
        (("--record", "{file}"), "folder"),
    ],
)
def test_bad_input_trains_nothing(source, tmp_path, capsys, options, word):
    (tmp_path / "file").write_text("")
    small = tmp_path / "small.npz"
    rng = np.random.default_rng(0)
    np.savez(small, images=rng.integers(0, 255, (40, 18, 18)), labels=np.arange(40) % 2)
    places = {"small": small, "file": tmp_path / "file"}
    told = [str(option).format(**places) for option in options]
    out = tmp_path / "light.keras"
    assert train(source, out, "--epochs", "1", "--record", tmp_path / "run", *told) == 2
    assert word in capsys.readouterr().err
    assert not out.exists()
    assert not (tmp_path / "run").exists()
