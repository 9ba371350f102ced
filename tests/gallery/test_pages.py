"""The page of a layer and the page of the model."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from oip import gallery, mi
from oip.core import files
from oip.core.layer_formats import EstimatorRecord
from oip.gallery.charts import Frame, box_chart, distribution, plane_chart, ticks
from oip.gallery.images import cluster_order, redundancy_picture
from oip.gallery.pages import layer_overview, model_overview
from oip.gallery.prune_advice import prune_advice
from oip.gallery.read_run import EstimatorColumn, Redundancy, read_layer, training_record


def test_verdicts_and_information_are_counted(full_run):
    layer = read_layer(full_run, 1)
    pictures = {}
    overview = layer_overview(layer, pictures.__setitem__)
    assert sum(entry["count"] for entry in overview["verdicts"]) == 40
    assert next(entry for entry in overview["verdicts"] if entry["word"] == "dead")["count"] == 1
    first = overview["measures"][0]
    information = [entry.information[0] for entry in layer.maps]
    assert first["above"] == sum(estimate.p_adjusted <= 0.05 for estimate in information)
    bars = first["chart"]["bars"]
    assert sum(int(bar["title"].rpartition(" ")[2]) for bar in bars) == 40
    assert overview["best"] == [entry.map for entry in layer.maps][:12]
    assert list(pictures) == ["img/redundancy/001"]
    assert overview["redundancy"]["pairs"][0]["maps"] == [0, 1]


@pytest.mark.parametrize(
    ("kind", "heading", "noun"),
    [
        ("maps", "Nodes of a map", "Maps"),
        ("tokens", "Tokens", "Token channels"),
        ("directions", "Nodes", "Directions"),
    ],
)
def test_facts_speak_of_the_units_of_a_layer(full_run, kind, heading, noun):
    layer = read_layer(full_run, 1)
    layer = replace(layer, info=msgspec.structs.replace(layer.info, kind=kind))
    facts = dict(layer_overview(layer, {}.__setitem__)["facts"])
    assert heading in facts and noun in facts
    assert len({"Nodes", "Nodes of a map", "Tokens"} & set(facts)) == 1


def test_depth_goes_from_input_to_output(full_run):
    layers = [read_layer(full_run, index) for index in (1, 0)]
    overview = model_overview(layers, training_record(full_run))
    assert [panel["held_out"] for panel in overview["panels"]] == [True, False]
    panel = overview["panels"][0]
    assert [row["layer"] for row in panel["rows"]] == ["first", "second"]
    bits = [entry.first_information.mi for entry in layers[1].maps]
    assert panel["rows"][0]["bits"][2] == f"{np.median(bits):.2f}"
    assert [path["name"] for path in overview["plane"]["chart"]["paths"]] == ["first", "second"]


def test_without_ranking_or_record_there_is_nothing_to_draw(maker, tmp_path):
    run = maker(tmp_path / "run", ranked=())
    layers = [read_layer(run, index) for index in (1, 0)]
    assert model_overview(layers, None) == {"panels": [], "plane": None}
    overview = layer_overview(layers[0], dict.__setitem__)
    assert (
        overview["measures"] == []
        and not overview["can_suggest"]
        and overview["redundancy"] is None
    )


def test_each_map_is_suggested_once_with_its_strongest_reason(full_run):
    layer = read_layer(full_run, 1)
    reasons = prune_advice(layer)
    every = [number for reason in reasons for number in reason.maps]
    assert len(every) == len(set(every))
    assert reasons[0].maps == (3,), "the dead map"
    weak = {e.map for e in layer.maps if e.first_information.p_adjusted > 0.05}
    assert set(reasons[1].maps) == weak - {3}
    rank = {entry.map: index for index, entry in enumerate(layer.maps)}
    less, more = sorted((0, 1), key=rank.__getitem__, reverse=True)
    if not {0, 1} & weak:
        assert next(r for r in reasons if r.substitutes).substitutes == {less: more}
    stays = {number for reason in reasons for number in reason.substitutes.values()}
    assert 1 in every or 1 in stays, "silencing it lowers the loss"
    assert not stays & set(every)


def test_pairs_of_equal_maps_leave_one(full_run):
    path = full_run.folder(0) / "redundancy.npz"
    arrays = files.read_arrays(path)
    arrays["pairs"][0] = 1.0
    files.write_arrays(path, arrays)
    layer = read_layer(full_run, 0)
    reasons = prune_advice(layer)
    substitutes = next(reason.substitutes for reason in reasons if reason.substitutes)
    removed = {number for reason in reasons for number in reason.maps}
    stays = [entry.map for entry in layer.maps if entry.map not in removed]
    assert len(stays) == 1 and set(substitutes.values()) == set(stays)


def test_a_map_that_holds_more_than_the_one_that_stays_is_not_redundant(full_run):
    path = full_run.folder(0) / "redundancy.npz"
    arrays = files.read_arrays(path)
    ranked = [entry.map for entry in read_layer(full_run, 0).maps if entry.map != 3]
    first, second = ranked[:2]  # the second knows less about the class
    for own, substitutes in ((4.0, {}), (2.1, {second: first})):
        pairs = np.zeros_like(arrays["pairs"])
        pairs[0][np.diag_indices(len(pairs[0]))] = 2.0
        pairs[0, second, second] = own
        pairs[0, first, second] = pairs[0, second, first] = 2.0
        files.write_arrays(path, arrays | {"pairs": pairs})
        reasons = prune_advice(read_layer(full_run, 0))
        named = {k: v for reason in reasons for k, v in reason.substitutes.items()}
        assert named == substitutes


def test_alike_maps_stand_side_by_side():
    group = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
    shared = np.where(group[:, None] == group[None, :], 0.9, 0.1)
    np.fill_diagonal(shared, np.nan)
    order = cluster_order(shared)
    assert sorted(order) == list(range(10))
    assert np.count_nonzero(np.diff(group[order])) == 2


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_or_unknown_pairs_have_a_picture(count):
    pairs = np.full((1, count, count), np.nan, np.float32)
    redundancy = Redundancy(np.arange(count), ("renyi",), ("bits",), pairs)
    picture, order, ends = redundancy_picture(redundancy)
    assert picture.shape[2] == 3 and picture.dtype == np.uint8
    assert sorted(order) == list(range(count)) and ends == (0, 0)


def test_darker_means_more():
    pairs = np.array([[[2.0, 0.2, 1.0], [0.2, 2.0, 0.6], [1.0, 0.6, 2.0]]], np.float32)
    redundancy = Redundancy(np.array([4, 7, 9]), ("renyi",), ("bits",), pairs)
    picture, order, (low, high) = redundancy_picture(redundancy)
    assert (low, high) == pytest.approx((0.2, 1.0))
    scale = len(picture) // 3
    position = {number: row * scale for row, number in enumerate(order)}

    def tone(first, second):
        return int(picture[position[first], position[second]].sum())

    assert tone(4, 7) > tone(7, 9) > tone(4, 9)


def test_ticks_are_round_and_within():
    assert ticks(0.0, 3.32) == [0.0, 1.0, 2.0, 3.0]
    assert ticks(0.0, 0.09) == [0.0, 0.02, 0.04, 0.06, 0.08]
    assert ticks(2.0, 2.0) == [2.0]


def test_frame_maps_its_range_onto_the_plot():
    frame = Frame((0.0, 2.0), (0.0, 1.0))
    assert (frame.across(0.0), frame.across(2.0)) == (48.0, 546.0)
    assert frame.up(1.0) == 22.0 and frame.up(0.0) == 180.0


def test_charts_of_nothing_are_none():
    assert distribution([], 2.0) is None
    assert box_chart([("a", []), ("b", [float("nan")])]) is None
    assert plane_chart([("a", [None], [1.0])], [0], (None, None)) is None


def test_boxes_are_quartiles():
    chart = box_chart([("a", [0.0, 1.0, 2.0, 3.0, 4.0]), ("b", [])])
    first, second = chart["boxes"]
    heights = [first["values"][name] for name in ("low", "first", "median", "third", "high")]
    assert heights == sorted(heights, reverse=True)
    assert np.ptp(np.diff(heights)) < 0.3, "equal steps"
    assert second["values"] is None


def test_pages_are_written_and_lead_to_files(full_run):
    folder = gallery.build(full_run).parent
    for name in ("model.html", "layers/000.html", "layers/001.html", "about.html", "index.html"):
        text = (folder / name).read_text("utf-8")
        for link in re.findall(r'(?:href|src)="([^"#:]+)["#]', text):
            assert (folder / name).parent.joinpath(link).is_file(), (name, link)
    text = (folder / "layers/001.html").read_text("utf-8")
    for heading in ("Pruning candidates", "Redundancy of the maps", "Over training", "Verdicts"):
        assert heading in text
    assert "Information plane" in (folder / "model.html").read_text("utf-8")


def test_about_says_how_to_cite_and_which_settings(full_run, edit_record):
    from oip.run.citations import citations

    def change(values):
        values["settings"]["reconstruct"] |= {"blur_end": None, "patience": 7}
        values["settings"]["rank"] = {"estimators": {"kde": {"relative": 0.1}, "ksg": {}}}

    edit_record(full_run, change)
    text = (gallery.build(full_run).parent / "about.html").read_text("utf-8")
    plain = html.unescape(text)
    for entry in citations(full_run).values():
        assert entry in plain
    assert re.search(r"reconstruct blur_end</bdi></dt><dd><bdi>none<", text)
    assert "kde (relative 0.1), ksg ()" in plain
    assert "over its last" not in text and "over the last 7 steps" in text


def test_pages_of_arrays_name_no_source_and_settings_have_their_names_of_today(
    full_run, edit_record
):
    def change(values):
        values["data"]["source"] = "arrays"
        values["settings"]["reconstruct"] |= {"climb_silent": True}

    edit_record(full_run, change)
    folder = gallery.build(full_run).parent
    about = (folder / "about.html").read_text("utf-8")
    assert "climb_inactive" in about and "climb_silent" not in about
    assert "Input bgr" not in about and "--data SOURCE" in about
    assert ">arrays<" not in (folder / "index.html").read_text("utf-8")
    assert "gallery.build(run, data_images=images)" in (folder / "data/maps.js").read_text("utf-8")


def test_maps_of_an_estimator_without_an_order_have_no_rank(maker, tmp_path):
    run = maker(tmp_path / "run", ranked=(1,), grown=(1,), estimators=("kde",))
    pages = []
    for ordered in (True, False):
        path = run.folder(1) / "ranking.json"
        values = files.read_json(path)
        values["estimators"][0]["ordered"] = ordered
        files.write_json(path, values)
        folder = gallery.build(run).parent / "layers"
        pages.append([(folder / name).read_text("utf-8") for name in ("001-p1.html", "001.html")])
    (tiles, layer), (plain_tiles, plain_layer) = pages
    assert "<p>#1 · " in tiles and ", rank 1" in tiles and "Most informative first: kde" in tiles
    assert "#1 " not in plain_tiles and ", rank 1" not in plain_tiles
    assert "No order: estimates by kde are at the ceiling, in bits." in plain_tiles
    assert "The most informative maps" in layer and "The first maps" in plain_layer


def test_many_parameters_are_shown_where_they_are_not_the_defaults():
    usual = mi.estimator("predictive").settings
    for changes, text in (({}, ""), ({"folds": 7}, "folds 7")):
        record = EstimatorRecord(
            estimator="predictive", parameters={**usual, **changes}, held_out=True, maps=[]
        )
        assert EstimatorColumn.of(record, "predictive").parameters == text


def test_the_words_of_a_distribution_stand_above_its_bars():
    import oip.gallery.pages as pages

    chart = distribution([0.1, 0.2, 2.0, 2.4, 2.45, 2.45], 3.3)
    assert chart["top"] >= 30 and max(bar["y"] for bar in chart["bars"]) >= chart["top"]
    template = (Path(pages.__file__).parent / "templates" / "charts.html").read_text("utf-8")
    lines = [
        line for line in template.splitlines() if "median_title" in line or ">ceiling<" in line
    ]
    assert len(lines) == 2 and all("c.top - " in line for line in lines)


def test_the_legend_speaks_of_tags_where_images_have_several_labels(full_run):
    legend = "about which it knows most beyond what is usual in its layer"
    assert f"the class {legend}" in gallery.build(full_run).read_text()
    path = full_run.folder(1) / "ranking.json"
    files.write_json(path, {**files.read_json(path), "tags": True})
    assert f"the tag {legend}" in gallery.build(full_run).read_text()


def test_numbers_below_zero_and_without_a_unit_are_drawn_as_they_are():
    chart = distribution([-1.2, -0.6, 0.4], None, unit="")
    assert [bar["title"].rpartition(": ")[2] for bar in chart["bars"]] == ["1", "1", "1"]
    assert chart["bars"][0]["title"].startswith("-1.20 to ")
    assert chart["bars"][0]["x"] < chart["median"] < chart["bars"][-1]["x"]
    assert "bits" not in chart["summary"] and chart["unit"] == ""
    assert "bits" not in box_chart([("a", [-1.0, 2.0])], "")["summary"]
    assert "from 0.10 to 0.20 bits" in distribution([0.1, 0.2], None)["summary"]


def test_layers_whose_numbers_are_about_different_things_have_charts_of_their_own(full_run):
    layers = [read_layer(full_run, index) for index in (1, 0)]
    assert {panel["about"] for panel in model_overview(layers, None)["panels"]} == {""}
    key = layers[0].estimators[0].key
    layers[0] = replace(layers[0], about="input")
    panels = [p for p in model_overview(layers, None)["panels"] if p["key"] == key]
    assert [panel["about"] for panel in panels] == [" about the class", " about the input"]
    assert [[row["layer"] for row in p["rows"]] for p in panels] == [["first"], ["second"]]
    assert [len(panel["chart"]["boxes"]) for panel in panels] == [2, 2]


def test_advice_names_what_a_map_does_not_know(full_run):
    layer = read_layer(full_run, 1)
    for changes, subject in (
        ({}, "the class"),
        ({"has_tags": True}, "the tags"),
        ({"about": "direction"}, "the number of each image"),
    ):
        texts = [reason.text for reason in prune_advice(replace(layer, **changes))]
        assert any(f"information about {subject} than" in text for text in texts)
