"""What is read of a run, and in which order."""

from __future__ import annotations

import json
import re

import msgspec
import numpy as np
import pytest

from oip.core import files
from oip.core.errors import RunError
from oip.core.files import read_json, write_json
from oip.core.layer_formats import MapInformation
from oip.gallery import build
from oip.gallery.map_details import layer_details
from oip.gallery.map_table import MapTable
from oip.gallery.read_run import (
    Information,
    class_positions,
    layer_evidence,
    read_layer,
    shown_layers,
    training_record,
)


def _changed(run, index, change):
    path = run.folder(index) / "ranking.json"
    record = read_json(path)
    change(record)
    write_json(path, record)


def test_deepest_layer_first(run):
    assert shown_layers(run) == [1, 0]


def test_maps_stand_by_rank_of_the_first_estimator(run):
    layer = read_layer(run, 1)
    ranks = [entry.information[0].rank for entry in layer.maps]
    assert ranks == sorted(ranks) and len(ranks) == 40
    bits = [entry.information[0].mi for entry in layer.maps]
    assert bits == sorted(bits, reverse=True)


def test_maps_without_a_number_come_last(run):
    def change(record):
        record["estimators"][0]["maps"][0]["mi"] = None

    best = read_layer(run, 1).maps[0].map
    _changed(run, 1, change)
    assert read_layer(run, 1).maps[-1].map == best
    assert len(read_layer(run, 1).maps) == 40


def test_maps_of_either_kind_are_shown(run):
    def change(record):
        for estimator in record["estimators"]:
            estimator["maps"] = [entry for entry in estimator["maps"] if entry["map"] >= 2] + [
                {**estimator["maps"][0], "map": 44, "rank": 45}
            ]

    _changed(run, 1, change)
    layer = read_layer(run, 1)
    by_number = {entry.map: entry for entry in layer.maps}
    assert set(by_number) == {*range(40), 44}
    assert by_number[44].verdict is None and by_number[44].row is None
    assert by_number[0].first_information is None
    assert [entry.map for entry in layer.maps[-2:]] == [0, 1]


def test_only_ranked_and_only_grown(maker, tmp_path):
    run = maker(tmp_path / "run", ranked=(1,), grown=(0,))
    assert shown_layers(run) == [1, 0]
    assert read_layer(run, 1).oips is None
    assert [entry.map for entry in read_layer(run, 0).maps] == list(range(12))


def test_best_class_is_that_beyond_what_is_usual_in_the_layer(run):
    layer = read_layer(run, 0)
    every = np.array([entry.information[0].per_class for entry in layer.maps])
    for entry in layer.maps:
        first = entry.information[0]
        usual = np.median(every, axis=0) * first.per_class.sum() / np.median(every, axis=0).sum()
        assert first.usual == pytest.approx(usual, rel=1e-3)
        assert first.best == int(np.argmax(first.per_class - usual))


def test_a_map_that_tells_nothing_has_no_best_class(run):
    def change(record):
        record["estimators"][0]["maps"][0]["per_class"] = [0.0, -0.1, 0.0, 0.0]

    _changed(run, 0, change)
    assert read_layer(run, 0).maps[0].information[0].best is None


@pytest.mark.parametrize("numbers", [{"mi": 0.0049, "p_adjusted": 0.01}, {"p_adjusted": 0.06}])
def test_a_map_that_knows_as_good_as_nothing_has_no_best_class(run, numbers):
    assert read_layer(run, 0).maps[0].information[0].best is not None

    def change(record):
        record["estimators"][0]["maps"][0].update(numbers)

    _changed(run, 0, change)
    assert read_layer(run, 0).maps[0].information[0].best is None


def test_estimators_asked_twice_have_two_keys(maker, tmp_path):
    run = maker(tmp_path / "run", estimators=("kde", "kde", "decoder"))
    assert [estimator.key for estimator in read_layer(run, 0).estimators] == [
        "kde",
        "kde-2",
        "decoder",
    ]
    assert [estimator.held_out for estimator in read_layer(run, 0).estimators] == [
        False,
        False,
        True,
    ]


def test_class_names_come_from_the_ranking_where_the_run_knows_none(run):
    run.record = msgspec.structs.replace(run.record, classes=None)
    names = []
    read_layer(run, 1, names)
    assert names[0] == "ankle boot"


def test_classes_without_images_keep_their_names_to_themselves(run):
    classes = ["gull", *run.record.classes[:2], "owl", *run.record.classes[2:], "tit"]
    before = read_layer(run, 1)
    run.record = msgspec.structs.replace(run.record, classes=classes)
    layer = read_layer(run, 1)
    assert layer.class_positions == (1, 2, 4, 5)
    for entry, other in zip(layer.maps, before.maps, strict=True):
        first, second = (row.information[0] for row in (entry, other))
        assert np.isnan(first.per_class[[0, 3]]).all()
        np.testing.assert_array_equal(first.per_class[[1, 2, 4, 5]], second.per_class)
        assert first.best == (None if second.best is None else (1, 2, 4, 5)[second.best])
    assert layer.estimators[0].rare == ()
    ((_, details),) = layer_details(layer, run.record, "run", None)
    assert details["maps"]["7"]["classes"] == [1, 2, 4, 5]
    counts = run.responses(1).histogram[7].tolist()
    assert details["maps"]["7"]["histogram"] == [
        list(pair) for pair in zip((1, 2, 4, 5), counts, strict=True)
    ]
    build(run)
    content = json.loads((run.path / "gallery/maps.json").read_text())
    best = {row["map"]: row["information"][0]["best_class"] for row in content["maps"]}
    assert not {"gull", "owl"} & set(best.values())
    assert (run.path / "gallery/data/class-006.js").is_file(), "each name can be chosen"


def test_names_that_come_twice_are_met_in_their_order():
    names = ["crane", "owl", "crane", "tit"]
    assert class_positions(["crane", "owl", "crane"], names) == [0, 1, 2]
    assert class_positions(["tit", "owl", "gull"], names) == [3, 1, 4]
    assert names[4:] == ["gull"]


def test_objectives_are_called_by_their_expressions(run):
    objectives = [f"class:{number} - <b>" for number in range(40)]
    second = msgspec.structs.replace(run.layers[1], objectives=objectives)
    run.record = msgspec.structs.replace(run.record, layers=[run.layers[0], second])
    layer = read_layer(run, 1)
    assert {entry.map: entry.objective for entry in layer.maps}[7] == "class:7 - <b>"
    assert {entry.objective for entry in read_layer(run, 0).maps} == {None}
    build(run)
    page = (run.path / "gallery/layers/001.html").read_text()
    captions = re.findall(r'<span aria-hidden="true">class:(\d+) - &lt;b&gt;</span>', page)
    assert captions and captions == re.findall(r'#m=1\.(\d+)"><img', page)[: len(captions)]


def test_nothing_to_show_is_refused(maker, tmp_path):
    run = maker(tmp_path / "run", ranked=(), grown=())
    with pytest.raises(RunError, match="reconstruct"):
        shown_layers(run)


@pytest.mark.parametrize("content", [{"layer": "first"}, {"estimators": [{}]}, {"estimators": 3}])
def test_damaged_ranking_is_named(run, content):
    (run.folder(0) / "ranking.json").write_text(json.dumps({"schema": 1, **content}))
    with pytest.raises(RunError, match=r"ranking\.json"):
        read_layer(run, 0)


def test_a_map_that_knows_nothing_tells_most_about_no_class():
    entry = {"map": 1, "rank": 1, "mi": 0.4, "p_adjusted": 0.01, "per_class": [0.0, 0.3, 0.1]}

    def best(**changes):
        return Information.of(MapInformation(**{**entry, **changes}), np.zeros(3)).best

    assert best() == 1
    assert best(p_adjusted=0.4) is None
    assert best(mi=0.0) is None
    assert best(per_class=[0.0, 0.0, 0.0]) is None


def test_classes_of_few_images_are_told_as_few_and_have_no_bits(run):
    shares = np.array([10, 330, 330, 330]) / 1000
    ceilings = -shares * np.log2(shares) - (1 - shares) * np.log2(1 - shares)

    def change(ranking):
        for record in ranking["estimators"]:
            record["class_ceilings"] = ceilings.tolist()
            for entry in record["maps"]:
                entry |= {"per_class": [0.9, 0.2, 0.1, 0.0], "per_class_p": [0.01] * 4}

    _changed(run, 0, change)
    layer = read_layer(run, 0)
    column = layer.estimators[0]
    assert column.rare == (0,)
    for estimate in column.maps.values():
        assert np.isnan(estimate.per_class[0]) and np.isnan(estimate.class_p[0])
        assert estimate.best in (None, 1)
    ((_, details),) = layer_details(layer, run.record, "run", None)
    assert details["measures"][0]["few"] == [0]
    values = details["maps"]["0"]["per_class"][0]
    assert values["mi"] == [None, 0.2, 0.1, 0.0] and values["p"] == [None, 0.01, 0.01, 0.01]
    table = MapTable(run.record.model, run.record.classes)
    table.add(layer)
    scripts = {name: content for name, _, content in table.scripts({})}
    assert {value for bits in scripts["class-000"].values() for value in bits} == {None}


def test_nothing_where_there_is_no_file(run):
    evidence = layer_evidence(run, 1)
    assert evidence.kernels is None and evidence.ablation is None and evidence.redundancy is None
    assert evidence.record is None and evidence.softmax == {} and training_record(run) is None


def test_everything_is_read(full_run):
    evidence = layer_evidence(full_run, 1)
    assert evidence.kernels_of(0).kernels[0].input == 2
    assert evidence.ablation_of(1).loss_increase < 0
    assert evidence.redundancy.names == ("renyi", "correlation")
    assert evidence.softmax[3].sum() == pytest.approx(1)
    assert evidence.record.label.shape == (4, 40)
    assert [layer.index for layer in training_record(full_run).layers] == [0, 1]


def test_most_redundant_against_brute_force(full_run):
    redundancy = layer_evidence(full_run, 1).redundancy
    for index in range(40):
        expected = max(redundancy.pairs[0, index, other] for other in range(40) if other != index)
        assert redundancy.largest_shared[index] == pytest.approx(float(expected))
    share, own = redundancy.share(), np.diagonal(redundancy.pairs[0])
    less, more = np.argsort(own[:2])
    assert share[less, more] == pytest.approx(0.97, rel=1e-3) and np.isnan(share[2, 2])
    assert share[more, less] == pytest.approx(0.97 * own[less] / own[more], rel=1e-3)


def test_unknown_pairs_and_empty_own_values_are_unknown(full_run):
    path = full_run.folder(1) / "redundancy.npz"
    arrays = files.read_arrays(path)
    arrays["pairs"][0, 5, :] = arrays["pairs"][0, :, 5] = np.nan
    arrays["pairs"][0, 6, 6] = 0.0
    files.write_arrays(path, arrays)
    redundancy = layer_evidence(full_run, 1).redundancy
    assert 5 not in redundancy.largest_shared and np.isnan(redundancy.share()[5]).all()
    assert np.isnan(redundancy.share()[6]).all()


def _spoiled(run, name, change):
    path = run.folder(1) / name
    if name.endswith(".json"):
        record = files.read_json(path)
        change(record)
        files.write_json(path, record)
    else:
        arrays = files.read_arrays(path)
        change(arrays)
        files.write_arrays(path, arrays)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("kernels.json", lambda record: record.update(schema=2)),
        ("kernels.json", lambda record: record.update(maps=3)),
        ("ablation.json", lambda record: record.update(maps=[3])),
        ("redundancy.npz", lambda arrays: arrays.pop("schema")),
        ("redundancy.npz", lambda arrays: arrays.pop("units")),
        ("redundancy.npz", lambda arrays: arrays.update(pairs=arrays["pairs"][:, :3])),
        ("softmax.npz", lambda arrays: arrays.update(probabilities=arrays["probabilities"][0])),
    ],
)
def test_files_of_another_form_are_named(full_run, name, change):
    _spoiled(full_run, name, change)
    with pytest.raises(RunError, match=name):
        layer_evidence(full_run, 1)


def test_damaged_records_are_named(full_run):
    path = full_run.path / "record/record.json"
    record = files.read_json(path)
    record["layers"][0]["label"] = [1.0]
    files.write_json(path, record)
    with pytest.raises(RunError, match=r"record\.json"):
        training_record(full_run)
    (full_run.path / "record/layer-001.npz").write_bytes(b"no archive")
    with pytest.raises(RunError, match=r"layer-001\.npz"):
        layer_evidence(full_run, 1)
