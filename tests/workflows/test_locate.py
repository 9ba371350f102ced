"""Locations and causes from Python, as the commands give them."""

from __future__ import annotations

import pytest

import oip
from oip import mi
from oip.core.errors import RunError, SettingsError
from oip.core.formats import CausesFile, DecompositionFile
from oip.core.output_formats import LocationsFile

QUICK = {"starts": 1, "steps": 2, "screened": 4}


@pytest.fixture(scope="module")
def run(small_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    oip.reconstruct_into(out, small_file, "second:0-3", **QUICK)
    return out


def test_patterns_of_arrays_are_located_and_drawn(small_model, small_images, tmp_path, few_steps):
    images, labels = small_images
    result = oip.locate_into(
        tmp_path, small_model, "second:0-1", data=images, labels=labels, count=3, starts=1
    )
    assert LocationsFile.read(tmp_path / "locations.json") == result.record
    assert sorted(result.pictures) == sorted(path.name for path in tmp_path.glob("*.png"))
    alone = oip.locate(small_model, images, "second", [0, 1], count=3, starts=1).to_dict()
    assert result.to_dict()["layers"][0]["maps"][0]["excited"] == alone["maps"][0]["excited"]
    table = result.to_pandas()
    assert set(table["map"]) <= {0, 1} and len(table) <= 6
    assert repr(result).startswith("<LocatedPatterns of second (2 maps): 2 pictures in")
    assert result.not_finite == {}


def test_pictures_of_an_earlier_call_go_and_other_files_stay(
    small_model, small_images, tmp_path, few_steps
):
    users_files = {"001-second-places-0003.png", "notes.txt"}
    for name in users_files:
        (tmp_path / name).write_text("of the user")
    for layers in ("second:0-1", "second:1-2"):
        result = oip.locate_into(tmp_path, small_model, layers, data=small_images[0], count=2)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {*result.pictures, *users_files, "locations.json"}
    assert result.pictures == ("001-second-places-0001.png", "001-second-places-0002.png")


def test_sums_of_copies_are_kept_in_the_run(small_file, small_data, run, tmp_path, few_steps):
    arguments = {"data": small_data, "translation": True, "starts": 1}
    result = oip.locate_into(run, small_file, "second:2", **arguments)
    assert result.out == run / "places" and len(result.pictures) == 3
    oip.locate_into(tmp_path / "a", small_file, "second:1", run=run, **arguments)
    record = DecompositionFile.read(run / "layers/001/decomposition.npz")
    assert record.maps.tolist() == [1, 2]
    with pytest.raises(RunError, match="OIPs or a ranking"):
        oip.locate_into(tmp_path / "b", small_file, "first:0", run=run, **arguments)


def test_settings_that_do_not_go_together_are_refused(small_file, small_data, run, tmp_path):
    for settings in ({"run": run}, {"copies": "moved"}):
        with pytest.raises(SettingsError):
            oip.locate_into(tmp_path / "out", small_file, "second:0", data=small_data, **settings)
    assert not (tmp_path / "out").exists()


def test_a_unit_is_traced_into_a_run(small_file, small_images, run):
    images, labels = small_images
    result = oip.trace_into(run, small_file, "second:2", data=images, labels=labels, samples=20)
    network = oip.Network(small_file)
    alone = mi.causes(network, images, "second", 2, labels=labels, samples=20)
    assert result.effect.tolist() == alone.effect.tolist()
    (unit,) = CausesFile.read(run / "layers/001/causes.json").units
    assert unit.unit == 2 and unit.source == "first"
    assert oip.causes_figure(result, oip.Run.open(run)).axes
    with pytest.raises(SettingsError, match="one unit of a layer"):
        oip.trace_into(run, small_file, "second:0-3", data=images)
    with pytest.raises(RunError):
        oip.trace_into(run / "none", small_file, "second:2", data=images)
