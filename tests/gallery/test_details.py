"""What a map's page is told."""

from __future__ import annotations

import numpy as np
import pytest

from gallery.details import layer_details
from gallery.images import DataImages
from gallery.layers import read_layer
from oip.core.errors import DataError


def _told(run, index=1, data=None):
    return layer_details(read_layer(run, index), run.info, "run", data)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (30, 12, 12, 1)).astype(np.uint8)


def test_every_map_has_its_traces_and_command(run):
    told = _told(run)
    layer = read_layer(run, 1)
    assert set(told["maps"]) == {str(number) for number in range(40)}
    for entry in layer.maps:
        one = told["maps"][str(entry.map)]
        assert f"second:{entry.map} " in one["command"]
        trace = one["traces"][0]
        assert len(trace) == len(told["steps"])
        if entry.verdict == "failed":
            assert set(trace) == {None}
        else:
            assert trace[-1] == pytest.approx(
                layer.oips.traces[entry.row, 0, -1], rel=1e-3, abs=1e-6
            )


def test_histograms_are_those_of_the_run(run):
    told = _told(run)["maps"]["7"]
    wanted = run.responses(1)["histogram"][7]
    assert [place for place, _ in told["histogram"]] == [0, 1, 2, 3]
    assert np.array_equal([counts for _, counts in told["histogram"]], wanted)


def test_many_classes_are_cut_to_those_that_tell_most(maker, tmp_path):
    run = maker(tmp_path / "run", classes=[f"c{i}" for i in range(50)])
    told = _told(run)["maps"]["7"]
    entry = next(one for one in read_layer(run, 1).maps if one.map == 7)
    wanted = np.argsort(-entry.information[0].per_class)[:12]
    assert told["classes"] == wanted.tolist()
    assert len(told["per_class"][1]) == 12
    assert [place for place, _ in told["histogram"]] == wanted.tolist()


def test_without_data_no_data(run):
    assert all("best" not in one for one in _told(run)["maps"].values())


def test_best_images_are_written_once_with_label_and_field(run, images, tmp_path):
    labels = np.arange(30) % 4
    data = DataImages(tmp_path / "img", run.info, images, labels, run.info["classes"])
    told = _told(run, data=data)["maps"]
    responses = run.responses(1)
    wanted = responses["best_images"][7].tolist()
    assert [one["image"] for one in told["7"]["best"]] == wanted
    assert [one["caption"] for one in told["7"]["best"]] == [
        run.info["classes"][index % 4] for index in wanted
    ]
    row, column = responses["best_positions"][7, 0]
    # the field is 7 wide, its centre at 1.5 + 2 * node
    assert told["7"]["best"][0]["field"] == [1.5 + 2 * column - 3, 1.5 + 2 * row - 3, 7, 7]
    assert len(told["0"]["best"]) == 4  # the others are -1
    written = {int(path.stem) for path in (tmp_path / "img").iterdir()}
    assert written == set(responses["best_images"].ravel().tolist()) - {-1}


def test_images_that_are_not_there_are_left_out(run, images, tmp_path):
    data = DataImages(tmp_path / "img", run.info, images[:10], None, [])
    told = _told(run, data=data)["maps"]["7"]["best"]
    assert all(one["image"] < 10 and one["caption"] == "" for one in told)


@pytest.mark.parametrize(("count", "axes"), [(29, 4), (30, 3)])
def test_odd_data_is_refused(run, images, tmp_path, count, axes):
    given = images if axes == 4 else images[..., 0]
    with pytest.raises(DataError):
        DataImages(tmp_path, run.info, given, np.zeros(count, int), [])
