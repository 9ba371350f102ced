"""The layers of a model, and where their responses are taken."""

import numpy as np
import pytest

from oip.network.forward import run_to
from oip.network.network import Network


def tensors(network, layer, images):
    before, after = run_to(network.model, network.feed(images), layer.response)
    return before.numpy(), after.numpy()


def test_a_layer_behind_batch_normalisation_answers_after_its_activation():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    inputs = layers.Input((10, 10, 2))
    convolved = layers.Conv2D(3, 3, name="conv")(inputs)
    normed = layers.BatchNormalization(moving_mean_initializer="random_normal")(convolved)
    out = layers.ReLU()(normed)
    pooled = layers.AveragePooling2D(2)(layers.Dropout(0.5)(out))
    model = keras.Model(inputs, layers.Flatten()(pooled))
    network = Network(model)
    (layer,) = network.layers
    assert layer.activation == "relu"
    assert layer.can_be_inactive
    assert layer.block_size == (4, 4)
    images = np.random.default_rng(0).normal(size=(2, 10, 10, 2)).astype("float32")
    before, after = tensors(network, layer, images)
    parts = keras.Model(inputs, [normed, out])(images, training=False)
    np.testing.assert_allclose(before, parts[0], atol=1e-5)
    np.testing.assert_allclose(after, parts[1], atol=1e-5)


def test_nested_models_and_layers_used_twice_have_names_of_their_own():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    shared = layers.Conv2D(2, 3, padding="same", activation="tanh", name="shared")
    inner = keras.Sequential([layers.Input((9, 9, 2)), shared, layers.MaxPooling2D()], name="inner")
    inputs = layers.Input((9, 9, 2))
    twice = shared(shared(inputs))
    network = Network(keras.Model(inputs, [inner(twice), layers.Conv2D(1, 1, name="head")(twice)]))
    names = [layer.name for layer in network.layers]
    assert names.count("head") == 1
    assert len(set(names)) == len(names) == 4
    assert [layer.response.use for layer in network.layers if "shared" in layer.name] == [0, 1, 2]
    images = np.random.default_rng(1).normal(size=(2, 9, 9, 2)).astype("float32")
    uses = [layer for layer in network.layers if "shared" in layer.name]
    expected = images
    for layer in uses:
        expected = np.asarray(shared(expected))
        np.testing.assert_allclose(tensors(network, layer, images)[1], expected, atol=1e-5)


def test_pre_activation_of_a_fused_activation_is_its_linear_part(small_model):
    import keras

    network = Network(small_model)
    layer = network.find("first")
    images = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 1)).astype("float32")
    before, after = tensors(network, layer, images)
    assert before.min() < 0
    np.testing.assert_allclose(np.maximum(before, 0), after)
    plain = keras.Model(small_model.inputs, small_model.get_layer("first").output)
    np.testing.assert_allclose(after, plain(images), atol=1e-5)


def forms():
    """Convolutions followed by a ReLU in every form, by name: what makes the response of them."""
    import keras
    from keras import layers

    class Rectified(layers.Layer):
        def call(self, values):
            return keras.ops.maximum(values, 0.0)

    return {
        "layer as activation": lambda values: values,
        "operation": keras.ops.relu,
        "several operations": lambda values: keras.ops.maximum(2.0 * values, 0.0) / 2.0,
        "layer of the user's": Rectified(),
        "operation, then a sum": lambda values: keras.ops.relu(values + 0.0),
        "group normalisation": lambda values: layers.ReLU()(layers.GroupNormalization(1)(values)),
        "batch normalisation": lambda v: keras.ops.relu(layers.BatchNormalization()(v)),
    }


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("name", list(range(7)))
def test_responses_are_taken_after_a_relu_in_any_form(name, last):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    made = list(forms().values())[name]
    own = layers.ReLU() if name == 0 else None
    inputs = layers.Input((9, 8, 2))
    convolved = layers.Conv2D(3, 3, activation=own, name="conv")(inputs)
    rectified = made(convolved)
    output = rectified if last else layers.MaxPooling2D()(rectified)
    network = Network(keras.Model(inputs, output))
    (layer,) = network.layers
    assert layer.can_be_inactive
    assert layer.block_size == (None if last else (3, 3))
    images = np.random.default_rng(0).normal(size=(2, 9, 8, 2)).astype("float32")
    before, after = run_to(network.model, network.feed(images), layer.response)
    correct = keras.Model(inputs, rectified)(images)
    assert np.asarray(before).min() < 0
    np.testing.assert_allclose(after, correct, atol=1e-5)


def test_subclassed_models_with_operations_and_two_readers_of_the_raw_tensor():
    import keras
    import tensorflow as tf
    from keras import layers

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Conv2D(3, 3, padding="same", name="one")
            self.second = layers.Conv2D(3, 3, name="two")
            self.raw = layers.Conv2D(3, 3, padding="same", name="raw")

        def call(self, values):
            raw = self.raw(tf.nn.relu(self.first(values)))
            return keras.ops.silu(self.second(keras.ops.relu(raw))) + raw[:, 1:-1, 1:-1]

    model = Own()
    model(np.zeros((1, 12, 12, 1), "float32"))
    first, raw, second = Network(model).layers
    assert (first.activation, first.can_be_inactive) == ("relu", True)
    assert (second.activation, second.can_be_inactive) == ("function", False)
    assert (raw.activation, raw.can_be_inactive) == ("linear", False)  # both are used


@pytest.mark.parametrize("first", [False, True])
def test_a_normalization_of_each_map_leaves_no_pre_activation_to_climb(first):
    """Its mean is the same for all images, whether it scales the map or not."""
    import keras
    from keras import layers

    group, layer, axis = layers.GroupNormalization, layers.LayerNormalization, 1 if first else -1
    nodes = (2, 3) if first else (1, 2)
    of_each = [group(4, axis=axis, scale=False), group(-1, axis=axis), layer(axis=nodes)]
    of_several = [group(2, axis=axis, scale=False), layer(axis=axis), layer(axis=(1, 2, 3))]
    layout = "channels_first" if first else "channels_last"
    for normalization in (*of_each, *of_several):
        shape = (2, 9, 9) if first else (9, 9, 2)
        maps = layers.Conv2D(4, 3, name="maps", data_format=layout)
        parts = [layers.Input(shape), maps, normalization, layers.ReLU()]
        response = Network(keras.Sequential(parts)).find("maps").response
        assert response.pre_activation == ("same" if normalization in of_each else "input")


def test_maps_that_are_joined_to_more_before_a_relu_are_taken_before_it():
    """Of relu([-x, x]) the first maps are those of -x, not of x."""
    import keras
    from keras import layers

    images = np.random.default_rng(0).normal(size=(2, 9, 9, 1)).astype("float32")
    entry = layers.Input((9, 9, 1))
    values = layers.Conv2D(3, 3, name="maps")(entry)
    both = keras.ops.concatenate([-values, values], axis=-1)
    for end in (layers.ReLU(), layers.MaxPooling2D()):
        (layer,) = Network(keras.Model(entry, end(both))).layers
        assert (layer.activation, layer.block) == ("linear", None)
        network = Network(keras.Model(entry, end(both)))
        _, response = run_to(network.model, network.feed(images), layer.response)
        np.testing.assert_allclose(response, keras.Model(entry, values)(images), atol=1e-5)
