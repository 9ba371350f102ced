import json
from dataclasses import replace

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, ModelError, SettingsError

HOSTILE = "<img src=x onerror=alert(1)>"


def planted(units: int = 3, last: str | None = "softmax"):
    """Two maps of 4 x 4 nodes; the logit of class 2 is 3 times node (1, 2) of map 0."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((4, 4, 1)),
            layers.Conv2D(2, 1, use_bias=False, name="maps"),
            layers.Flatten(),
            layers.Dense(units, activation=last, use_bias=False, name="classes"),
        ]
    )
    model.get_layer("maps").set_weights([np.ones((1, 1, 1, 2), np.float32)])
    weights = np.zeros((32, units), np.float32)
    weights[2 * (4 * 1 + 2), -1] = 3.0
    model.get_layer("classes").set_weights([weights])
    return model


@pytest.fixture(scope="module")
def data():
    """Pixel (1, 2) is 1 in images of class 2, else 0; the rest is noise."""
    labels = np.arange(90) % 3
    images = np.random.default_rng(0).uniform(0, 1, (90, 4, 4, 1)).astype(np.float32)
    images[:, 1, 2, 0] = labels == 2
    return images, labels


def test_the_node_that_decides_is_found(data):
    result = mi.ablate_nodes(planted(), *data, "maps", [[0, 1, 2]], of=2, to="zero", draws=99)
    assert (result.samples, result.class_name, result.to) == (30, "2", "zero")
    assert result.logit == pytest.approx(3.0, abs=1e-5)
    assert result.logit_fall == pytest.approx(3.0, abs=1e-5)
    loss = np.log2(1 + 2 * np.exp(-3))
    assert result.loss == pytest.approx(loss, abs=1e-5)
    assert result.loss_increase == pytest.approx(np.log2(3) - loss, abs=1e-5)
    assert result.loss_low == pytest.approx(result.loss_increase)
    assert result.accuracy == 1.0
    drawn = result.loss_null > 0.01  # a random node of 16 is the same one by chance
    assert 0 < drawn.mean() < 0.2
    assert result.loss_p == pytest.approx((1 + drawn.sum()) / 100)
    assert result.logit_p == result.loss_p


def test_a_mean_is_that_of_each_node_over_all_classes(data):
    result = mi.ablate_nodes(planted(), *data, "maps", [[0, 1, 2]], of="2", draws=19)
    assert result.logit_fall == pytest.approx(3.0 - 1.0, abs=1e-4)


def test_nodes_that_nothing_reads_change_nothing(data):
    nodes = [[1, 1, 2], [0, 0, 0], [0, 3, 3]]
    result = mi.ablate_nodes(planted(), *data, "maps", nodes, draws=99)
    assert result.class_name == "" and result.samples == 90
    assert result.loss_increase == pytest.approx(0.0, abs=1e-6)
    assert result.loss_p == 1.0
    assert result.nodes.tolist() == sorted(nodes)


def test_random_nodes_are_as_many_of_the_same_maps():
    from types import SimpleNamespace

    from oip.mi import ablation

    layer = SimpleNamespace(size=(3, 3), index=0)
    nodes = np.array([[2, 0, 0], [2, 1, 1], [5, 2, 2]])
    sets = ablation._random_nodes(layer, nodes, 200, 0)
    assert sets[0] is nodes
    for rows in sets[1:]:
        assert rows[:, 0].tolist() == [2, 2, 5]
        assert len(np.unique(rows, axis=0)) == 3
    counts = np.unique(
        [9 * r[0] + 3 * r[1] + r[2] for s in sets[1:] for r in s], return_counts=True
    )
    assert len(counts[0]) == 18


def test_blocks_and_batches_change_nothing(small_model, small_images):
    nodes = [[0, 0, 0], [0, 1, 1], [3, 2, 2]]
    arguments = (small_model, *small_images, "second", nodes)
    whole = mi.ablate_nodes(*arguments, draws=19)
    single = mi.ablate_nodes(*arguments, draws=19, byte_budget=1)
    assert whole.loss_increase == pytest.approx(single.loss_increase, abs=1e-5)
    assert np.allclose(whole.logit_null, single.logit_null, atol=1e-4)


def test_it_is_the_loss_of_a_changed_response(data):
    """Silencing every node but one of a map is the same as the map without them."""
    model = planted(1, "sigmoid")
    labels = (data[1] == 2).astype(int)
    result = mi.ablate_nodes(model, data[0], labels, "maps", [[0, 1, 2]], to="zero", draws=19)
    odds = 3.0 * (labels == 1)
    loss = np.where(labels == 1, np.log2(1 + np.exp(-odds)), 1.0).mean()
    assert result.loss == pytest.approx(loss, abs=1e-5)
    assert result.loss + result.loss_increase == pytest.approx(1.0, abs=1e-5)


def test_common_points_are_silenced(data):
    common = mi.common_patterns(planted(), *data, "maps", 2, shuffles=99)
    points = common.node_numbers("own")
    assert points.tolist() == [[0, 1, 2], [1, 1, 2]]
    assert len(common.node_numbers()) >= 2
    result = mi.ablate_nodes(planted(), *data, "maps", points, of=2, draws=99)
    assert result.loss_p < 0.1
    with pytest.raises(SettingsError, match="common or own"):
        common.node_numbers("rest")


def test_results_show_themselves_and_names_stay_text(data):
    classes = ("cat", "dog", HOSTILE)
    result = mi.ablate_nodes(
        planted(), *data, "maps", [[0, 1, 2]], of=HOSTILE, draws=19, classes=classes
    )
    page = result._repr_html_()
    assert HOSTILE not in page and "&lt;img" in page
    record = result.to_dict()
    json.dumps(record, allow_nan=False)
    assert record["nodes"] == [{"map": 0, "node": [1, 2]}]
    assert len(record["loss_null"]) == 19
    assert result.to_pandas()["change"][1] == result.logit_fall
    assert repr(replace(result, class_name="owl")).startswith(
        "NodeAblation(maps: 1 nodes silenced, 30 images of owl; loss +"
    )
    assert len(result.plot().axes) == 3


@pytest.mark.parametrize(
    ("changed", "error", "word"),
    [
        ({"nodes": []}, SettingsError, "none"),
        ({"nodes": [[0, 4, 0]]}, SettingsError, "4 x 4"),
        ({"nodes": [[2, 0, 0]]}, SettingsError, "0 to 1"),
        ({"nodes": [[0, 1, 1], [0, 4, 1]]}, SettingsError, r"received \[0, 4, 1\]"),
        ({"nodes": 1}, SettingsError, "node of its"),
        ({"nodes": [[0, 1]]}, SettingsError, "node of its"),
        ({"nodes": [[0.5, 1, 1]]}, SettingsError, "node of its"),
        ({"nodes": [[0, r, c] for r in range(4) for c in range(4)]}, SettingsError, "whole maps"),
        ({"nodes": [[0, 1, 1], [0, 1]]}, SettingsError, "rows of several lengths"),
        ({"to": "noise"}, SettingsError, "mean or zero"),
        ({"draws": 3}, SettingsError, "19"),
        ({"of": "owl"}, DataError, "one of 0, 1, 2"),
        ({"layer": "classes", "nodes": [[0]]}, ModelError, "nodes"),
        ({"layer": "none"}, ModelError, "maps"),
        ({"labels": None}, DataError, "labels"),
    ],
)
def test_bad_input(data, changed, error, word):
    arguments = {"images": data[0], "labels": data[1], "layer": "maps", "nodes": [[0, 0, 0]]}
    with pytest.raises(error, match=word):
        mi.ablate_nodes(planted(), **(arguments | changed))


def test_one_image_has_no_interval(data):
    labels = np.where(data[1] == 2, 0, data[1])
    labels[0] = 2
    with pytest.raises(DataError, match="two or more"):
        mi.ablate_nodes(planted(), data[0], labels, "maps", [[0, 0, 0]], of="2")


def test_directions_and_heads_have_no_nodes_of_their_own(data):
    from oip.network.layers import DirectionSet
    from oip.network.network import Network

    network = Network(planted())
    network = network.with_directions([DirectionSet("maps", "maps+nmf", 9, np.eye(2)[:1])])
    with pytest.raises(ModelError, match="directions"):
        mi.ablate_nodes(network, *data, "maps+nmf", [[0, 0, 0]])
