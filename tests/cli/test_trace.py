"""`oip trace`: what feeds a unit, and a picture of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from oip.cli.main import run
from oip.core.formats import CausesFile
from oip.gallery.rerun_command import commands_again
from oip.run.check import verify_run
from oip.run.run import Run


@pytest.fixture(scope="module")
def grown(small_file, tmp_path_factory):
    """A run with OIPs of both layers of the small model."""
    out = tmp_path_factory.mktemp("traced") / "run"
    quick = ["--starts", "1", "--steps", "4", "--screened", "8", "--quiet"]
    assert (
        run(["reconstruct", str(small_file), "first", "second:0-3", "--out", str(out), *quick]) == 0
    )
    return out


def test_a_unit_is_traced_and_drawn(call, small_file, bars, grown, tmp_path):
    arguments = ["trace", small_file, "second:2", "--data", bars, "--samples", "40", "--quiet"]
    status, out, _ = call(*arguments)
    assert status == 0
    assert "fed by first" in out and "moves the logits of" in out
    picture = tmp_path / "unit.png"
    status, out, _ = call(*arguments, "--out", grown, "--picture", picture, "--json")
    assert status == 0 and picture.read_bytes()[:4] == b"\x89PNG"
    record = json.loads(out)
    kept = CausesFile.read(grown / "layers/001/causes.json")
    assert [unit.unit for unit in kept.units] == [2]
    assert kept.units[0].units[0] == record["units"][0]["map"]
    assert kept.units[0].classes[0] == record["outputs"][0]["class"]
    earlier = ("--run", grown)  # as --out was called
    assert call(*arguments[:2], "second:0", *arguments[3:], *earlier)[0] == 0
    kept = CausesFile.read(grown / "layers/001/causes.json")
    assert [unit.unit for unit in kept.units] == [0, 2]
    assert not [checked for checked in verify_run(Run.open(grown)) if checked.problem]
    (lost,) = commands_again(Run.open(grown), ["layers/001/causes.json"])
    assert lost == f"oip trace small.keras second:UNIT --data SOURCE --out {grown}"
    assert (record["source"], record["unit"], len(record["units"])) == ("first", 2, 6)
    assert len(record["outputs"]) == 4


def test_a_picture_needs_an_oip_of_one_of_its_units(call, small_file, bars, tmp_path):
    run, quick = tmp_path / "run", ["--starts", "1", "--steps", "4", "--screened", "8"]
    assert call("reconstruct", small_file, "second:0", "--out", run, *quick)[0] == 0
    arguments = ["trace", small_file, "second:2", "--data", bars, "--samples", "40"]
    picture = tmp_path / "unit.png"
    status, _, err = call(*arguments, "--out", run, "--picture", picture)
    assert status == 2 and "OIPs of 'second:2' or of a layer that feeds it" in err
    assert not picture.exists() and not (run / "layers/001/causes.json").exists()
    arguments[2] = "second:0"  # it has an OIP, so that the units that feed it need none
    status, _, err = call(*arguments, "--out", run, "--picture", picture)
    assert status == 0 and picture.exists()
    units = CausesFile.read(run / "layers/001/causes.json").units[0].units
    lacking = f"first:{','.join(map(str, units))} --data {bars} --out {run}"
    assert f"oip reconstruct {small_file} {lacking}" in " ".join(err.split())


def test_a_unit_that_is_not_finite_is_kept(call, bars, tmp_path):
    import keras

    image = keras.Input((16, 16, 1))
    first = keras.layers.Conv2D(3, 3, activation="relu", name="first")(image)
    model = keras.Model(image, keras.layers.Conv2D(3, 3, name="second")(first))
    kernel, bias = model.get_layer("second").get_weights()
    model.get_layer("second").set_weights([kernel, np.where(np.arange(3) == 1, np.nan, bias)])
    path, run = tmp_path / "nan.keras", tmp_path / "run"
    model.save(path)
    quick = ("--starts", "1", "--steps", "2", "--screened", "4", "--quiet")
    assert call("reconstruct", path, "second", "--out", run, *quick)[0] == 1
    arguments = ("trace", path, "second:1", "--data", bars, "--out", run, "--quiet")
    assert call(*arguments)[0] == 0
    (unit,) = CausesFile.read(run / "layers/001/causes.json").units
    assert unit.response is None


def test_a_network_of_several_labels_is_traced_without_its_loss(call, bars, tmp_path):
    import keras

    image = keras.Input((16, 16, 1))
    first = keras.layers.Conv2D(3, 3, activation="relu", name="first")(image)
    second = keras.layers.Conv2D(3, 3, activation="relu", name="second")(first)
    mean = keras.layers.GlobalAveragePooling2D()(second)
    outputs = keras.layers.Dense(4, activation="sigmoid", name="tags")(mean)
    keras.Model(image, outputs).save(tmp_path / "tags.keras")
    arguments = ["trace", tmp_path / "tags.keras", "second:0", "--data", bars, "--json", "--quiet"]
    status, out, _ = call(*arguments)
    assert status == 0
    record = json.loads(out)
    assert record["agreement"] is None and len(record["outputs"]) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["second", "--data", "DATA"],
        ["second:0-3", "--data", "DATA"],
        ["second:70", "--data", "DATA"],
        ["third:0", "--data", "DATA"],
        ["first:0", "--data", "DATA"],
        ["second:0", "--data", "DATA", "--source-layer", "second"],
        ["second:0", "--data", "DATA", "--picture", "OUT"],
        ["second:0", "--data", "DATA", "--picture", "OUT", "--out", "NONE"],
        ["second:0"],
    ],
)
def test_bad_input_is_exit_2_and_nothing_is_written(call, small_file, bars, tmp_path, arguments):
    before = sorted(tmp_path.iterdir())
    names = {"DATA": bars, "OUT": tmp_path / "unit.png", "NONE": tmp_path / "none"}
    status, out, err = call("trace", small_file, *(names.get(row, row) for row in arguments))
    assert (status, out) == (2, "")
    assert err and "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == before
