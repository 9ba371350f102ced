"""What a map's page is told."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from oip.core.errors import DataError, RunError
from oip.core.files import read_json, write_arrays, write_json
from oip.core.formats import CausesFile, DecompositionFile, PartnersFile, UnitCauses
from oip.core.layer_formats import ClustersFile, DirectionsFile, MapClusters
from oip.gallery.cache import PictureKeys, Store
from oip.gallery.images import DataImages
from oip.gallery.map_details import ascent_details, layer_details, scaled_weights, trace_points
from oip.gallery.read_run import read_layer
from oip.gallery.site import build
from oip.run.check import verify_run


def _details(run, index=1, data=None):
    """What the scripts of a layer say, the maps of all of them together."""
    details = {"maps": {}}
    for name, content in layer_details(read_layer(run, index), run.record, "run", data):
        assert all(int(number) // 64 == int(name[-4:]) for number in content["maps"])
        details = {**content, "maps": {**details["maps"], **content["maps"]}}
    return details


def _data(folder, run, images, labels, classes):
    return DataImages(
        Store(folder, None), PictureKeys(None, []), run.record.input, images, labels, classes
    )


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (30, 12, 12, 1)).astype(np.uint8)


def test_every_map_has_its_traces_and_command(run):
    details = _details(run)
    layer = read_layer(run, 1)
    assert set(details["maps"]) == {str(number) for number in range(40)}
    for entry in layer.maps:
        map_details = details["maps"][str(entry.map)]
        assert f"second:{entry.map} " in map_details["command"]
        trace = map_details["traces"][0]
        assert len(trace) == len(details["steps"])
        if entry.verdict == "failed":
            assert set(trace) == {None}
        else:
            assert trace[-1] == pytest.approx(
                layer.oips.traces[entry.row, 0, -1], rel=1e-3, abs=1e-6
            )


def test_the_best_score_is_on_the_line_of_a_long_trace():
    # 121 steps on 61 points: every other one would be left out, perhaps the best.
    traces = np.full((1, 1, 121), 1.0)
    traces[0, 0, 59], traces[0, 0, 100:] = 7.0, np.nan
    layer = SimpleNamespace(
        oips=SimpleNamespace(
            traces=traces,
            **{name: np.ones((1, 1)) for name in ("scores", "starts", "steps", "clusters")},
            **{name: np.ones(1) for name in ("data_scores", "white_scores", "screened_scores")},
            amplitudes=np.ones((1, 1, 1)),
            medoids=np.ones((1, 1), bool),
            reasons=np.zeros((1, 1), int),
        )
    )
    line = ascent_details(layer, SimpleNamespace(row=0), trace_points(layer))["traces"][0]
    assert len(line) == 61 and max(value for value in line if value is not None) == 7.0
    assert line[0] == 1.0 and line[-1] is None


def test_histograms_are_those_of_the_run(run):
    details = _details(run)["maps"]["7"]
    expected = run.responses(1).histogram[7]
    assert [code for code, _ in details["histogram"]] == [0, 1, 2, 3]
    assert np.array_equal([counts for _, counts in details["histogram"]], expected)


def test_many_classes_are_cut_to_those_that_the_map_is_best_for(maker, tmp_path):
    run = maker(tmp_path / "run", classes=[f"c{i}" for i in range(50)])
    details = _details(run)["maps"]["7"]
    entry = next(entry for entry in read_layer(run, 1).maps if entry.map == 7)
    information = entry.information[0]
    expected = np.argsort(-(information.per_class - information.usual), kind="stable")[:12]
    assert expected[0] == information.best
    assert details["classes"] == expected.tolist()
    assert len(details["per_class"][1]["mi"]) == 12
    assert [code for code, _ in details["histogram"]] == expected.tolist()


def test_without_data_no_data(run):
    assert all("best" not in value for value in _details(run)["maps"].values())


def test_best_images_are_written_once_with_label_and_field(run, images, tmp_path):
    labels = np.arange(30) % 4
    data = _data(tmp_path / "new", run, images, labels, run.record.classes)
    details = _details(run, data=data)["maps"]
    responses = run.responses(1)
    expected = responses.best_images[7].tolist()
    assert [image["image"] for image in details["7"]["best"]] == expected
    assert [image["caption"] for image in details["7"]["best"]] == [
        run.record.classes[index % 4] for index in expected
    ]
    row, column = responses.best_positions[7, 0]
    # the field is 7 wide, its centre at 1.5 + 2 * node
    assert details["7"]["best"][0]["field"] == [1.5 + 2 * column - 3, 1.5 + 2 * row - 3, 7, 7]
    assert len(details["0"]["best"]) == 4  # the others are -1
    written = {int(path.stem) for path in (tmp_path / "new/img/data").iterdir()}
    assert written == set(responses.best_images.ravel().tolist()) - {-1}


def test_images_that_are_not_there_are_left_out(run, images, tmp_path):
    data = _data(tmp_path / "new", run, images[:10], None, [])
    details = _details(run, data=data)["maps"]["7"]["best"]
    assert all(image["image"] < 10 and image["caption"] == "" for image in details)


HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def related(maker, tmp_path):
    """A run whose layer 1 has causes, directions, a sum, a partner and clusters of map 7."""
    run = maker(tmp_path / "related")
    causes = UnitCauses(
        **{"unit": 7, "response": 2.0, "source": "first", "source_index": 0, "samples": 9},
        **{"silenced_to": "zero", "units": [3, 1], "share": [0.5, -0.25], "agreement": 0.5},
        **{"low": [0.4, None], "high": [0.6, None], "outputs": [2, 0], "classes": ["x", "y"]},
        **{"logit_effect": [1.5, None], "logit_low": [1.0, None], "logit_high": [2.0, None]},
    )
    run.keep(1, "causes.json", CausesFile(layer="second", index=1, units=[causes]))
    weights = np.zeros((2, 40), np.float32)
    weights[0, [7, 3]], weights[1, 5] = (0.8, -0.6), 1.0
    zeros, number = np.zeros(2, np.float32), {"low": 0.1, "high": 0.3, "ceiling": 0.5}
    number |= {"chance": 0.0, "active": 1.0, "explained": 0.2}
    directions = DirectionsFile(
        **{"key": "", "layer": "second", "base": 1, "method": "nmf", "split": "", "samples": 9},
        **{"weights": weights, "parts": weights, "variance": zeros, "used": zeros, "images": 9},
        **number,
    )
    run.keep(0, "directions.npz", directions)
    images = np.random.default_rng(0).normal(size=(1, 12, 12, 1)).astype(np.float16)
    values = {name: np.full(1, 0.25, np.float32) for name in ("share", "low", "high", "null")}
    sums = DecompositionFile(
        **{"key": "", "layer": "second", "index": 1, "copies": "shifted", "nodes": 9, **values},
        **{"p_value": values["null"], "maps": np.array([7]), "n_null": np.array([16])},
        **{"images": images, "node_images": images, "sums": images},
    )
    run.keep(1, "decomposition.npz", sums)
    values = {name: np.full(1, 0.25, np.float32) for name in ("correlation", "low", "high")}
    partners = PartnersFile(
        **{"other": HOSTILE, "layer": "third", "split": "data", "threshold": 0.5, **values},
        **{"maps": np.array([7]), "partners": np.array([11]), "has_picture": np.ones(1, bool)},
        **{"percentile": np.full(1, 90.0), "pictures": np.zeros((1, 84, 84), np.uint8)},
    )
    run.keep(1, "partners.npz", partners)
    rows = [
        MapClusters(
            map=7,
            clusters=2,
            explained=0.7,
            expected=0.4,
            p_adjusted=0.01,
            images=64,
            sizes=[40, 24],
            examples=[[3, 4, 5], [6]],
        ),
        MapClusters(map=8, clusters=0, images=2, sizes=[], examples=[]),
    ]
    clusters = {"judge": "pixels", "samples": 640, "images_sha256": "d"}
    record = ClustersFile(key="", layer="second", index=1, maps=rows, **clusters)
    run.keep(1, "clusters.json", record)
    return run


def test_relations_of_a_unit_are_told(related, images, tmp_path):
    details = _details(related)["maps"]["7"]
    cells = details["causes"]["cells"]
    assert cells[0] == [0, 3, "+50 %", "share of the response +50 % (+40 % to +60 %)"]
    assert cells[1][2] == "−25 %"
    assert details["causes"]["moves"] == [["x", 1.5, 1.0, 2.0]]
    assert "0.50" in details["causes"]["text"]
    (row,) = details["parts"]
    assert row["cells"] == [[0, 0, "0.80", "weight 0.80"]]
    assert "25 %" in details["sum"]["text"] and "16 other maps" in details["sum"]["text"]
    (partner,) = details["partners"]
    assert partner["picture"] == [84, 84] and ":11 of " in partner["name"]
    assert partner["address"] is None
    text = details["kinds"]["text"]
    assert text.startswith("Polysemantic. ") and details["kinds"]["examples"] == []
    assert "2 clusters, which explain 70 % of their spread" in text
    rest = _details(related)["maps"]["8"]
    assert "No unit of third" in rest["partners"][0]["text"]
    assert not {"causes", "sum", "kinds", "parts"} & set(rest)
    made_of = _details(related, index=0)["maps"]["0"]["parts"]
    assert [cell[:3] for cell in made_of[0]["cells"]] == [[1, 7, "0.80"], [1, 3, "−0.60"]]
    data = DataImages(
        *(Store(tmp_path / "new", None), PictureKeys(None, []), related.record.input, images),
        *(np.arange(30) % 4, related.record.classes, "d"),
    )
    examples = _details(related, data=data)["maps"]["7"]["kinds"]["examples"]
    assert [(example["image"], example["size"]) for example in examples] == [
        (3, 40),
        (4, 40),
        (6, 24),
    ]


def test_relations_have_their_pictures(related):
    page = build(related)
    folder = page.parent / "img"
    assert [path.name for path in (folder / "sum/001").iterdir()] == ["0007.webp"]
    assert [path.name for path in (folder / "partner-0/001").iterdir()] == ["0007.webp"]
    script = (page.parent / "data/detail-001-0000.js").read_text()
    assert HOSTILE not in script
    assert not [
        checked
        for checked in verify_run(related)
        if "stability" not in checked.file and checked.problem
    ]


def test_relations_of_another_form_are_no_pictures(related):
    path = related.folder(1) / "decomposition.npz"
    sums = DecompositionFile.read(path)
    smaller = {name: getattr(sums, name)[:, :6] for name in ("images", "node_images", "sums")}
    msgspec.structs.replace(sums, **smaller).write(path)
    assert "sum" not in _details(related)["maps"]["7"]
    write_arrays(path, {**sums.arrays(), "sums": smaller["sums"]})
    with pytest.raises(RunError, match="images of one shape"):
        _details(related)
    sums.write(path)
    path = path.with_name("partners.npz")
    partners = PartnersFile.read(path)
    write_arrays(path, {**partners.arrays(), "pictures": np.zeros((1, 8, 8, 7), np.uint8)})
    with pytest.raises(RunError, match="expected pictures"):
        _details(related)


@pytest.mark.parametrize(("count", "axes"), [(29, 4), (30, 2)])
def test_odd_data_is_refused(run, images, tmp_path, count, axes):
    given = images if axes == 4 else images[:, 0, :, 0]
    with pytest.raises(DataError):
        _data(tmp_path, run, given, np.zeros(count, int), [])


def test_starts_carry_their_cluster_noise_and_end(run):
    maps = list(range(40))
    write_json(
        run.folder(1) / "stability.json",
        {
            "schema": 1,
            "maps": maps,
            "within": [0.5] * 39 + [None],
            "percentile": [90.0] * 40,
            "n_null": [39] * 40,
            "clusters": [[0, 1, 0]] * 40,
            "medoids": [[False, True, True]] * 40,
        },
    )
    details = _details(run)["maps"]["7"]
    oips = read_layer(run, 1).oips
    assert [start["cluster"] for start in details["starts"]] == [0, 1, 0]
    assert [start["medoid"] for start in details["starts"]] == [False, True, True]
    assert [start["noise"] for start in details["starts"]] == [0, 1, 2]
    assert details["starts"][0]["score"] == pytest.approx(oips.scores[7, 0], rel=1e-3)
    assert details["starts"][0]["octaves"] == [1.0] * 4
    assert {start["reason"] for start in details["starts"]} == {"budget"}
    assert "median similarity of 0.50, above 90 % of 39" in " ".join(details["sentences"])


def test_stability_of_other_maps_is_left_out(run):
    lists = {"within": [0.5], "percentile": [90.0], "n_null": [1], "clusters": [[0, 0, 0]]}
    two = {name: 2 * values for name, values in lists.items()}
    content = {"schema": 1, "maps": [0, 1], **two, "medoids": [[True, False, False]] * 2}
    write_json(run.folder(1) / "stability.json", content)
    assert _details(run)["maps"]["7"]["starts"][0]["cluster"] == -1


def test_classes_have_intervals_and_p_values_where_the_ranking_knows_them(run):
    path = run.folder(1) / "ranking.json"
    record = read_json(path)
    entry = next(row for row in record["estimators"][0]["maps"] if row["map"] == 7)
    entry |= {
        "raw": -0.02,
        "per_class_low": [0.0, 0.1, 0.2, 0.3],
        "per_class_high": [1.0, 1.1, 1.2, 1.3],
        "per_class_p": [0.5, 0.01],
    }
    write_json(path, record)
    details = _details(run)["maps"]["7"]
    assert details["measures"][0]["raw"] == -0.02 and details["measures"][1]["raw"] is None
    first, second = details["per_class"]
    assert first["low"] == [0.0, 0.1, 0.2, 0.3] and first["high"] == [1.0, 1.1, 1.2, 1.3]
    assert first["p"] is None, "of another number of classes"
    assert second["low"] is None and len(second["mi"]) == 4


def test_outputs_have_numbers_where_the_names_are_of_other_classes(full_run):
    full_run.record = msgspec.structs.replace(full_run.record, classes=["cat", "dog"])
    shown = _details(full_run)["maps"]["7"]["softmax"]
    best = int(read_layer(full_run, 1).evidence.softmax[7].argmax())
    assert shown[0][0] == f"output {best}"


def test_nothing_is_said_of_files_that_are_not_there(run):
    details = _details(run)
    assert not {"kernels", "redundancy", "ablation", "record"} & details.keys()
    assert (
        not {"kernels", "neighbours", "softmax", "ablation", "record"} & details["maps"]["1"].keys()
    )


def test_neighbours_share_most_first(full_run):
    pairs = read_layer(full_run, 1).evidence.redundancy.pairs
    details = _details(full_run)
    assert details["redundancy"] == {"names": ["renyi", "correlation"], "units": ["bits", ""]}
    neighbours = details["maps"]["9"]["neighbours"]
    other_maps = np.delete(np.arange(40), 9)
    expected = other_maps[np.argsort(-pairs[0, 9, other_maps], kind="stable")][:8]
    assert [neighbour["map"] for neighbour in neighbours] == expected.tolist()
    assert neighbours[0]["values"] == pytest.approx(pairs[:, 9, expected[0]], rel=5e-3)
    assert details["maps"]["0"]["neighbours"][0]["map"] == 1


def test_kernels_stand_as_they_were_ranked(full_run):
    details = _details(full_run)
    kernels = details["maps"]["0"]["kernels"]
    assert kernels["of"] == 30
    assert [kernel["input"] for kernel in kernels["shown"]] == [2, 0, 5]
    weights = np.array(kernels["shown"][0]["weights"])
    assert weights.shape == (3, 3) and np.abs(weights).max() == 1.0
    assert "kernels" not in details["maps"]["8"]


@pytest.mark.parametrize("rows", [[[1, 2], [3]], [[float("inf")]], [], [[]], None])
def test_odd_weights_are_not_drawn(rows):
    assert scaled_weights(rows) is None


def test_softmax_ablation_and_training_of_a_map(full_run):
    details = _details(full_run)
    map_details = details["maps"]["7"]
    evidence = read_layer(full_run, 1).evidence
    shown = [share for _, share in map_details["softmax"]]
    assert shown == sorted(shown, reverse=True) and sum(shown) == pytest.approx(1, abs=1e-3)
    assert map_details["softmax"][0][0] == int(evidence.softmax[7].argmax())
    assert map_details["ablation"]["loss_increase"] == 0.09
    assert details["ablation"]["accuracy"] == 0.98
    assert details["record"] == {"steps": [0, 10, 20, 40]}
    assert map_details["record"] == pytest.approx(evidence.record.label[:, 7], abs=6e-4)
