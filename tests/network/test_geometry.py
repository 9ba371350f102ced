"""Receptive field, jump and offset."""

import numpy as np
import pytest

from oip.network.forward import run_to
from oip.network.network import Network


def test_layers_of_the_paper_have_its_geometry():
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(5, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(6, 3, activation="relu"),
        ]
    )
    layers_of_model = Network(model).layers
    assert [layer.size for layer in layers_of_model] == [(26, 26), (11, 11), (3, 3)]
    assert [layer.receptive_field for layer in layers_of_model] == [(3, 3), (8, 8), (18, 18)]
    assert [layer.jump for layer in layers_of_model] == [(1, 1), (2, 2), (4, 4)]
    assert [layer.block_size for layer in layers_of_model] == [(13, 13), (5, 5), None]


def geometry_models():
    import keras
    from keras import layers

    def build(*parts, shape=(33, 27, 1)):
        return keras.Sequential([layers.Input(shape), *parts])

    ones = {"kernel_initializer": "ones", "bias_initializer": "zeros"}
    return {
        "strides": build(layers.Conv2D(1, 3, strides=2, **ones), layers.Conv2D(1, (3, 5), **ones)),
        "same": build(
            layers.Conv2D(1, 4, strides=2, padding="same", **ones),
            layers.AveragePooling2D(2, padding="same"),
            layers.Conv2D(1, 3, padding="same", **ones),
        ),
        "dilated": build(layers.Conv2D(1, 3, dilation_rate=3, **ones), layers.Conv2D(1, 2, **ones)),
        "padded": build(
            layers.ZeroPadding2D(((3, 1), (2, 0))),
            layers.Conv2D(1, 5, strides=2, **ones),
            layers.Cropping2D(1),
            layers.Conv2D(1, 3, **ones),
        ),
        "transposed": build(
            layers.Conv2D(1, 3, strides=2, **ones),
            layers.Conv2DTranspose(1, 4, strides=2, padding="same", **ones),
        ),
        "enlarged": build(
            layers.AveragePooling2D(2), layers.UpSampling2D(2), layers.Conv2D(1, 3, **ones)
        ),
    }


@pytest.mark.parametrize("name", ["strides", "same", "dilated", "padded", "transposed", "enlarged"])
def test_fields_hold_what_a_node_depends_on(name):
    """Brute force: the pixels with a gradient, for a node far from the edges."""
    import tensorflow as tf

    network = Network(geometry_models()[name])
    layer = network.layers[-1]
    images = tf.ones((1, 33, 27, 1))
    node = tuple(side // 2 for side in layer.size)
    with tf.GradientTape() as tape:
        tape.watch(images)
        before, _ = run_to(network.model, network.feed(images), layer.response)
        value = before[0, node[0], node[1], 0]
    reached = np.abs(tape.gradient(value, images).numpy()[0, ..., 0]) > 0
    for axis in (0, 1):
        line = np.flatnonzero(reached.any(1 - axis))
        centre = layer.offset[axis] + node[axis] * layer.jump[axis]
        half = (layer.receptive_field[axis] - 1) / 2
        slack = 2 if name in ("transposed", "enlarged") else 0  # a node's own field can be less
        assert centre - half - 0.51 <= line[0] <= centre - half + 0.51 + slack
        assert centre + half - 0.51 - slack <= line[-1] <= centre + half + 0.51


@pytest.mark.parametrize("mixing", ["SimpleRNN", "GRU", "Bidirectional", "none"])
@pytest.mark.parametrize("of_images", [False, True])
def test_nodes_after_a_recurrent_layer_have_no_field_of_their_own(mixing, of_images):
    """Each of them depends on other steps; without such a layer they have one."""
    import keras
    from keras import layers

    recurrent = {
        "SimpleRNN": lambda: layers.SimpleRNN(4, return_sequences=True),
        "GRU": lambda: layers.GRU(4, return_sequences=True),
        "Bidirectional": lambda: layers.Bidirectional(layers.GRU(4, return_sequences=True)),
        "none": lambda: layers.Activation("relu"),
    }[mixing]()
    start = [layers.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.Reshape((36, 2))]
    if not of_images:
        start = [layers.Input((12, 2)), layers.Conv1D(2, 3)]
    last = layers.Dense(3, name="last")
    layer = Network(keras.Sequential([*start, recurrent, last])).find("last")
    expected = None if mixing != "none" else (3, 3) if of_images else (3,)
    assert layer.receptive_field == expected
