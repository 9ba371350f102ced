"""What is read of a run, and in which order."""

from __future__ import annotations

import json

import numpy as np
import pytest

from oip.core.errors import RunError
from oip.core.files import read_json, write_json
from oip.gallery.read_run import class_names, read_layer, shown_layers


def _changed(run, index, change):
    path = run.folder(index) / "ranking.json"
    told = read_json(path)
    change(told)
    write_json(path, told)


def test_deepest_layer_first(run):
    assert shown_layers(run) == [1, 0]


def test_maps_stand_by_rank_of_the_first_estimator(run):
    layer = read_layer(run, 1)
    ranks = [entry.information[0].rank for entry in layer.maps]
    assert ranks == sorted(ranks) and len(ranks) == 40
    bits = [entry.information[0].mi for entry in layer.maps]
    assert bits == sorted(bits, reverse=True)


def test_maps_without_a_number_come_last(run):
    def change(told):
        told["estimators"][0]["maps"][0]["mi"] = None

    best = read_layer(run, 1).maps[0].map
    _changed(run, 1, change)
    assert read_layer(run, 1).maps[-1].map == best
    assert len(read_layer(run, 1).maps) == 40


def test_maps_of_either_kind_are_shown(run):
    def change(told):
        for one in told["estimators"]:
            one["maps"] = [entry for entry in one["maps"] if entry["map"] >= 2] + [
                {**one["maps"][0], "map": 44, "rank": 45}
            ]

    _changed(run, 1, change)
    layer = read_layer(run, 1)
    by_number = {entry.map: entry for entry in layer.maps}
    assert set(by_number) == {*range(40), 44}
    assert by_number[44].verdict is None and by_number[44].row is None
    assert by_number[0].first is None
    assert [entry.map for entry in layer.maps[-2:]] == [0, 1]


def test_only_ranked_and_only_grown(maker, tmp_path):
    run = maker(tmp_path / "run", ranked=(1,), grown=(0,))
    assert shown_layers(run) == [1, 0]
    assert read_layer(run, 1).oips is None
    assert [entry.map for entry in read_layer(run, 0).maps] == list(range(12))


def test_best_class_is_the_largest_of_per_class(run):
    for entry in read_layer(run, 0).maps:
        first = entry.information[0]
        assert first.best == int(np.argmax(first.per_class))


def test_a_map_that_tells_nothing_has_no_best_class(run):
    def change(told):
        told["estimators"][0]["maps"][0]["per_class"] = [0.0, -0.1, 0.0, 0.0]

    _changed(run, 0, change)
    assert read_layer(run, 0).maps[0].information[0].best is None


def test_estimators_asked_twice_have_two_keys(maker, tmp_path):
    run = maker(tmp_path / "run", estimators=("kde", "kde", "decoder"))
    assert [one.key for one in read_layer(run, 0).estimators] == ["kde", "kde-2", "decoder"]
    assert [one.held_out for one in read_layer(run, 0).estimators] == [False, False, True]


def test_class_names_come_from_the_ranking_where_the_run_knows_none(run):
    run.info["classes"] = None
    assert class_names(run, [1, 0])[0] == "ankle boot"


def test_objectives_are_called_by_their_expressions(run):
    run.info["layers"][1]["objectives"] = [f"class:{number} - <b>" for number in range(40)]
    layer = read_layer(run, 1)
    assert {entry.map: entry.objective for entry in layer.maps}[7] == "class:7 - <b>"
    assert {entry.objective for entry in read_layer(run, 0).maps} == {None}


def test_nothing_to_show_is_refused(maker, tmp_path):
    run = maker(tmp_path / "run", ranked=(), grown=())
    with pytest.raises(RunError, match="reconstruct"):
        shown_layers(run)


@pytest.mark.parametrize("told", [{"layer": "first"}, {"estimators": [{}]}, {"estimators": 3}])
def test_damaged_ranking_is_named(run, told):
    (run.folder(0) / "ranking.json").write_text(json.dumps({"schema": 1, **told}))
    with pytest.raises(RunError, match=r"ranking\.json"):
        read_layer(run, 0)


def test_a_map_that_knows_nothing_tells_most_about_no_class():
    from oip.gallery.read_run import _information

    entry = {"map": 1, "rank": 1, "mi": 0.4, "p_adjusted": 0.01, "per_class": [0.0, 0.3, 0.1]}
    assert _information(entry).best == 1
    assert _information({**entry, "p_adjusted": 0.4}).best is None
    assert _information({**entry, "mi": 0.0}).best is None
    assert _information({**entry, "per_class": [0.0, 0.0, 0.0]}).best is None
