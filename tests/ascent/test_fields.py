from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oip.ascent.masks import box_pixels, central_node, checked_nodes, field_boxes, spread_nodes
from oip.core.errors import SettingsError
from oip.network.network import Network


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
        seen = tape.gradient(value, images).numpy()[0, ..., 0] != 0
        wanted = np.zeros((20, 18), bool)
        wanted[box_pixels(box, (20, 18))] = True
        assert np.array_equal(seen, wanted)


def test_a_layer_of_unknown_geometry_sees_the_whole_image():
    layer = SimpleNamespace(receptive_field=None, jump=None, offset=None)
    assert field_boxes(layer, np.array([[1, 1]]), (9, 7)).tolist() == [[[0, 9], [0, 7]]]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 30))
def test_nodes_are_spread_with_the_centre_among_them(rows, columns, most):
    layer = SimpleNamespace(size=(rows, columns), name="layer")
    found = spread_nodes(layer, most)
    assert len(found) <= max(most, 1)
    assert len({tuple(node) for node in found.tolist()}) == len(found)
    assert list(central_node(layer)) in found.tolist()
    assert np.array_equal(checked_nodes(layer, found.tolist()), found)


@pytest.mark.parametrize("nodes", [[[3, 0]], [[0]], [], [[0, -1]], [[0.5, 1]], [[0, 1], [2]]])
def test_nodes_that_the_layer_has_not_are_refused(nodes):
    with pytest.raises(SettingsError, match="3 x 3"):
        checked_nodes(SimpleNamespace(size=(3, 3), name="layer"), nodes)
