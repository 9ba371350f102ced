from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oip
from oip.ascent.masks import (
    box_pixels,
    central_node,
    checked_nodes,
    field_boxes,
    reached_pixels,
    spread_nodes,
    visible_masks,
)
from oip.ascent.objectives import objective
from oip.ascent.targets import MapTargets, ObjectiveTargets
from oip.core.errors import ModelError, SettingsError
from oip.network.network import Network

QUICK = {"steps": 12, "screened": 16, "starts": 2}


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_field_is_where_the_gradient_of_the_node_is(padding):
    import keras
    import tensorflow as tf
    from keras import layers

    keras.utils.set_random_seed(1)
    parts = [layers.Input((20, 18, 1)), layers.Conv2D(3, 3, padding=padding)]
    parts += [layers.AveragePooling2D(2), layers.Conv2D(2, 3, padding=padding, name="end")]
    model = keras.Sequential(parts)
    layer = Network(model).find("end")
    images = tf.random.stateless_normal((1, 20, 18, 1), (1, 2))
    nodes = np.array([[0, 0], [1, 2], [layer.size[0] - 1, layer.size[1] - 1]])
    for node, box in zip(nodes, field_boxes(layer, nodes, (20, 18)), strict=True):
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = tf.reduce_sum(model(images)[0, node[0], node[1]])
        visible = tape.gradient(value, images).numpy()[0, ..., 0] != 0
        expected = np.zeros((20, 18), bool)
        expected[box_pixels(box, (20, 18))] = True
        assert np.array_equal(visible, expected)


def test_a_layer_of_unknown_geometry_sees_the_whole_image():
    layer = SimpleNamespace(receptive_field=None, jump=None, offset=None)
    assert field_boxes(layer, np.array([[1, 1]]), (9, 7)).tolist() == [[[0, 9], [0, 7]]]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 30))
def test_nodes_are_spread_with_the_centre_among_them(rows, columns, most):
    layer = SimpleNamespace(size=(rows, columns), name="layer")
    result = spread_nodes(layer, most)
    assert len(result) <= max(most, 1)
    assert len({tuple(node) for node in result.tolist()}) == len(result)
    assert list(central_node(layer)) in result.tolist()
    assert np.array_equal(checked_nodes(layer, result.tolist()), result)


@pytest.mark.parametrize("nodes", [[[3, 0]], [[0]], [], [[0, -1]], [[0.5, 1]], [[0, 1], [2]]])
def test_nodes_that_the_layer_has_not_are_refused(nodes):
    with pytest.raises(SettingsError, match="3 x 3"):
        checked_nodes(SimpleNamespace(size=(3, 3), name="layer"), nodes)


def two_inputs():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    pictures, rest = layers.Input((9, 9, 1)), layers.Input((9, 9, 1))
    left = layers.Conv2D(2, 3, name="left")(pictures)
    right = layers.Conv2D(2, 3, name="right")(rest)
    return keras.Model([pictures, rest], layers.Concatenate()([left, right]))


def with_classes(bias=0.0):
    """Three classes, the second of them with weights that are all zero."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((9, 9, 1)),
            layers.Conv2D(2, 3, activation="relu", name="maps"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax", name="classes"),
        ]
    )
    kernel, _ = model.get_layer("classes").get_weights()
    kernel[:, 1] = 0.0
    model.get_layer("classes").set_weights([kernel, np.array([0, 0.3, 0], "float32")])
    kernel, _ = model.get_layer("maps").get_weights()
    model.get_layer("maps").set_weights([kernel, np.full(2, bias, "float32")])
    return model


def test_an_objective_of_another_input_is_refused_also_beside_others():
    sums = "map:left:0 + map:right:0"  # whose second part no image moves
    for text in (["map:left:0", "map:right:0"], "map:right:0", sums):
        with pytest.raises(ModelError, match="layer 'right': expected one that depends on"):
            oip.reconstruct(two_inputs(), objective=text, **QUICK)
    alone = oip.reconstruct(two_inputs(), objective="map:left:0", **QUICK)
    assert alone.verdicts == ["never silent"]


def test_an_objective_with_weights_of_zero_is_refused_also_beside_others():
    for arguments in (["class:1"], ["class:0", "class:1"], ["2*class:1"]):
        with pytest.raises(SettingsError, match=r"class:1.*no gradient"):
            oip.reconstruct(with_classes(), objective=arguments, **QUICK)
    assert len(oip.reconstruct(with_classes(), objective="class:0 - class:1", **QUICK)) == 1


def test_a_dead_map_keeps_no_other_from_being_located():
    """Its node depends on nothing; asked for by name it is refused, among others it is dead."""
    model = with_classes()
    kernel, bias = model.get_layer("maps").get_weights()
    kernel[..., 0], bias[0] = 0.0, -1.0
    model.get_layer("maps").set_weights([kernel, bias])
    with pytest.raises(SettingsError, match="node:0@3,3"):
        oip.reconstruct(model, "maps", objective=["node:1@3,3", "node:0@3,3"], **QUICK)
    images = np.random.default_rng(0).normal(size=(8, 9, 9, 1)).astype("float32")
    result = oip.locate(model, images, "maps", count=2, **QUICK)
    assert result.patterns.verdicts == ["dead", "responsive"]


def test_an_objective_that_only_data_move_is_not_refused():
    """Its maps are shut for any noise of the input's own mean and deviation."""
    dark = with_classes(bias=-200.0)
    with pytest.raises(SettingsError, match="no gradient"):
        oip.reconstruct(dark, objective="class:0", **QUICK)
    bright = np.random.default_rng(0).uniform(-900, 900, (12, 9, 9, 1)).astype("float32")
    network = Network(dark)
    network.inputs = network.inputs.with_statistics(mean=(0.0,), std=(1.0,))
    assert len(oip.reconstruct(network, objective="class:0", data=bright, **QUICK)) == 1


def test_each_node_has_a_field_of_its_own(small_model):
    network = Network(small_model)
    arguments = ["node:3@0,0", "node:5@4,4", "map:3", "node:3@0,0 + node:5@0,0", "node:5@0,0"]
    targets = ObjectiveTargets(network, [objective(item) for item in arguments], "second")
    visible = visible_masks(network, targets, 0)
    assert visible.shape == (5, 16, 16)
    corner = np.zeros((16, 16), bool)
    corner[:8, :8] = True  # 3 x 3, pooled, 3 x 3: a field of 8
    for row, expected in enumerate((corner, corner[::-1, ::-1], np.ones((16, 16), bool))):
        assert np.array_equal(visible[row], expected), arguments[row]
    assert np.array_equal(visible[3], corner)
    assert np.array_equal(visible[4], corner)
    maps = visible_masks(network, MapTargets(network, network.find("second")), 0)
    assert maps.shape == (1, 16, 16)


def test_pixels_are_reached_if_a_node_sees_them():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((13, 12, 1)), layers.Conv2D(4, 2, strides=3, name="apart")]
    )
    network = Network(model)
    layer = network.find("apart")
    reached = reached_pixels(layer, np.zeros((13, 12), bool))
    rows, columns = (np.arange(side) % 3 < 2 for side in (13, 12))
    rows[-1] = False  # the last row is one pixel, no window
    assert np.array_equal(reached, np.logical_and.outer(rows, columns))
    assert np.array_equal(visible_masks(network, MapTargets(network, layer), 0)[0], reached)
    assert reached_pixels(None, reached).all()


def test_pixels_seen_through_a_gate_alone_are_looked_for_in_all_noise_images(monkeypatch):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    images = keras.Input((21, 17, 1))
    strided = layers.Conv2D(4, 2, strides=4)(images)
    rare = layers.Conv2D(4, 1, activation="relu", bias_initializer=keras.initializers.Constant(-1))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(rare(images))
    gated = layers.Conv2D(3, 1, name="gated")(layers.Multiply()([strided, gate]))
    network = Network(keras.Model(images, gated))
    targets = MapTargets(network, network.find("gated"))
    visible = visible_masks(network, targets, 0)
    assert not reached_pixels(targets.layer, visible[0]).all()
    monkeypatch.setattr("oip.ascent.masks.reached_pixels", lambda _, image: np.ones_like(image))
    assert np.array_equal(visible, visible_masks(network, targets, 0))


def test_nodes_grown_together_keep_no_noise_outside_their_fields(small_model, small_images):
    arguments = ["node:3@0,0", "node:5@4,4"]
    data = small_images[0][:40]
    both = oip.reconstruct(small_model, "second", objective=arguments, data=data, **QUICK)
    background = Network.of(small_model, images=data).inputs.background
    outside = np.ones((16, 16), bool)
    outside[:8, :8] = False
    for item, unseen in zip(both, (outside, outside[::-1, ::-1]), strict=True):
        kept = item.images[:, ~unseen].astype(float)
        np.testing.assert_allclose(item.images[:, unseen] - background, 0, atol=1e-3)
        np.testing.assert_allclose(kept.mean((1, 2)), 0, atol=2e-3)
        np.testing.assert_allclose(kept.std((1, 2)), 1, atol=2e-3)
    for row, expression in enumerate(arguments):
        alone = oip.reconstruct(small_model, "second", objective=expression, data=data, **QUICK)
        assert both.data_scores[row] == pytest.approx(alone.data_scores[0], rel=1e-4)


def test_a_free_mean_lets_an_image_become_bright():
    import keras

    layers = keras.layers
    ones = keras.initializers.Ones()
    model = keras.Sequential(
        [layers.Input((16, 16, 3)), layers.Conv2D(1, 3, kernel_initializer=ones, name="bright")]
    )
    quick = {"preset": "natural", "steps": 16, "starts": 1, "screened": 4}
    free, fixed = (
        oip.reconstruct(model, "bright", free_mean=free, **quick).images[0, 0].astype(np.float32)
        for free in (True, False)
    )
    assert abs(fixed.mean()) < 0.01 and fixed.std() == pytest.approx(1.0, abs=0.01)
    assert free.mean() > 0.9 and np.sqrt(np.square(free).mean()) == pytest.approx(1.0, abs=0.01)
