import json

import numpy as np
import pytest

from oip.core.formats import DecompositionFile
from oip.gallery.rerun_command import commands_again
from oip.run.check import verify_run
from oip.run.run import Run

SMALL = ["--starts", "2", "--quiet"]


@pytest.fixture(autouse=True)
def quick_ascent(few_steps):
    """How good OIPs of single nodes are is tested where they are grown."""


def test_places_are_printed_drawn_and_kept(call, small_file, small_data, tmp_path):
    out = tmp_path / "places"
    arguments = ["locate", small_file, "second:0-1", "--data", small_data, "--out", out, *SMALL]
    status, printed, err = call(*arguments, "--json", "--count", "3", "--translation")
    assert (status, err) == (0, "")
    record = json.loads(printed)
    layer = record["layers"][0]
    assert (layer["layer"], layer["searched"], len(layer["maps"])) == ("second", 8, 2)
    assert all(len(row["places"]) <= 3 for row in layer["maps"])
    assert {"image", "node", "field", "response", "label", "match"} <= set(
        next(row for row in layer["maps"] if row["places"])["places"][0]
    )
    assert len(layer["translation"]["maps"]) == 2
    assert sorted(record["files"]) == sorted(path.name for path in out.glob("*.png"))
    assert len(record["files"]) == 6
    assert [row["map"] for row in layer["decomposition"]["maps"]] == [0, 1]
    assert layer["decomposition"]["copies"] == "shifted"
    assert set(layer["decomposition"]["maps"][0]) > {"share", "low", "high", "null", "p_value"}
    kept = json.loads((out / "locations.json").read_text())
    assert kept["layers"] == record["layers"]
    status, printed, _ = call(*arguments)
    assert status == 0
    assert "images with a response" in printed and "classes" in printed
    assert "locations.json" in printed
    assert "share explained" not in printed
    with np.load(small_data) as arrays:
        np.savez(tmp_path / "plain.npz", images=arrays["images"])
    arguments[4] = tmp_path / "plain.npz"
    status, printed, _ = call(*arguments)
    assert (status, "classes" in printed) == (0, False)
    arguments[2] = "second:3"
    status, printed, _ = call(*arguments, "--translation", "--copies", "grown")
    assert (status, "share explained" in printed) == (0, True)


def test_sums_are_kept_in_a_run(call, small_file, small_data, tmp_path):
    run = tmp_path / "run"
    data = ("--data", small_data, "--quiet")
    quick = ("--starts", "1", "--steps", "2", "--screened", "4")
    assert call("reconstruct", small_file, "second:0-3", *data, "--out", run, *quick)[0] == 0
    locate = ("locate", small_file, *data, "--out", tmp_path / "places", "--starts", "1")
    keep = ("--translation", "--run", run)  # as it was in earlier versions
    in_run = (*locate[:2], "second:2-3", *data, "--out", run, "--starts", "1", "--translation")
    assert call(*in_run)[0] == 0
    assert len(list((run / "places").glob("*.png"))) == 6
    _, _, err = call(*(part for part in in_run[:-1] if part != "--quiet"))
    assert f"Next: oip gallery {run} --open" in err  # the OIPs are there
    assert call(*locate[:2], "second:0", *locate[2:], *keep)[0] == 0
    record = DecompositionFile.read(run / "layers/001/decomposition.npz")
    assert record.maps.tolist() == [0, 2, 3]
    assert record.sums.shape == (3, 16, 16, 1)
    assert not [checked for checked in verify_run(Run.open(run)) if checked.problem]
    for arguments, word in (
        (("second:0", "--run", run), "--translation"),
        (("second:0", "--copies", "grown"), "--translation"),
        (("first:0", *keep), "OIPs or a ranking of 'first'"),
    ):
        status, _, err = call(*locate[:2], arguments[0], *locate[2:], *arguments[1:])
        assert status == 2 and word in err


def test_a_layer_that_mixes_all_nodes_is_refused_before_anything_is_drawn(
    call, small_file, bars, tmp_path
):
    from oip import Network

    (dense,) = [layer for layer in Network(small_file).other_layers if layer.kind == "units"][-1:]
    arguments = ("locate", small_file, f"{dense.name}:0", "--data", bars, "--translation")
    status, _, err = call(*arguments, "--out", tmp_path / "places")
    assert status == 2 and "receptive field is known" in err
    assert not (tmp_path / "places").exists()


def test_sums_of_another_input_take_the_place_of_kept_ones(call, small_data, tmp_path):
    import keras
    from keras import layers

    path, run = tmp_path / "any.keras", tmp_path / "run"
    shape = [layers.Input((None, None, 1)), layers.Conv2D(4, 3, activation="relu", name="first")]
    keras.Sequential([*shape, layers.GlobalAveragePooling2D(), layers.Dense(4)]).save(path)
    data = ("--data", small_data, "--quiet", "--starts", "1")
    quick = ("--steps", "2", "--screened", "4", "--input-size", "16,16")
    assert call("reconstruct", path, "first", *data, "--out", run, *quick)[0] == 0
    more = ("--translation", "--run", run, "--out", tmp_path / "places")
    for side, number in ((16, 0), (12, 1)):
        size = ("--input-size", f"{side},{side}", "--resize", "stretch")
        assert call("locate", path, f"first:{number}", *data, *more, *size)[0] == 0
        record = DecompositionFile.read(run / "layers/000/decomposition.npz")
        assert (record.maps.tolist(), record.sums.shape) == ([number], (1, side, side, 1))
    (lost,) = commands_again(Run.open(run), ["layers/000/decomposition.npz"])
    assert lost.startswith("oip locate any.keras first --data ")
    assert "--input-size 16,16" in lost and lost.endswith(f"--translation --out {run}")


def test_bad_input_is_refused_and_nothing_is_written(call, small_file, small_data, tmp_path):
    out = tmp_path / "places"
    for arguments, word in (
        ([small_file, "second", "--out", out], "--data"),
        ([small_file, "none", "--data", small_data, "--out", out], "layer"),
        ([small_file, "second:99", "--data", small_data, "--out", out], "0 to 69"),
        ([small_file, "second", "--data", "none", "--out", out], "data"),
        ([small_file, "--data", small_data, "--out", out], "Missing"),
    ):
        status, printed, err = call("locate", *arguments, "-q")
        assert (status, printed) == (2, "")
        assert word in err
        assert "Traceback" not in err
    assert not out.exists()


def test_maps_that_are_not_finite_are_named(call, broken_file, small_data, tmp_path):
    arguments = ["--data", small_data, "--out", tmp_path / "places", "--starts", "2"]
    for more in ((), ("--translation",)):
        status, printed, err = call("locate", broken_file, "first:4", *arguments, *more)
        assert (status, printed) == (2, "") and "NaN or infinity in every map" in err
        assert not (tmp_path / "places").exists()
    status, printed, err = call("locate", broken_file, "first:3-4", *arguments, "--json")
    assert status == 1
    assert "not finite: maps 4" in err
    record = json.loads(printed)["layers"][0]["maps"][-1]
    assert (record["map"], record["excited"], record["places"]) == (4, None, [])
    status, printed, _ = call("locate", broken_file, "first:3-4", *arguments)
    assert (status, "not finite" in printed) == (1, True)
