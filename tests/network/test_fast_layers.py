"""Layers that run fast have the values and the gradients of Keras' own."""

import numpy as np
import pytest

from oip.network.fast_layers import (
    along_rows,
    has_fast_convolution,
    has_fast_pooling,
    has_fast_standardization,
)
from oip.network.forward import run_to
from oip.network.network import Network


def slopes(model, images):
    """Gradient of a random mixture of the last nodes, by the quick way and by TensorFlow."""
    import tensorflow as tf

    network = Network(model)
    layer = network.layers[-1]
    result = []
    for quick in (True, False):
        fed = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(fed)
            before, _ = run_to(
                network.model,
                network.feed(fed),
                layer.response,
                for_gradient=quick,
            )
            mixed = tf.random.stateless_normal(tf.shape(before), (1, 2))
            total = tf.reduce_sum(before * mixed)
        result.append(tape.gradient(total, fed).numpy())
    return result


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("window", [3, (2, 4), (5, 1), 1])
@pytest.mark.parametrize("bands", [1, 3])
def test_the_quick_gradient_is_the_gradient(padding, window, bands):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((11, 9, bands)),
            layers.Conv2D(7, window, padding=padding, activation="relu"),
            layers.Conv2D(4, 3),
        ]
    )
    taps = np.prod(model.layers[0].kernel_size)
    assert has_fast_convolution(model.layers[0]) == (taps > 1 and bands * taps <= 32)
    quick, slow = slopes(
        model, np.random.default_rng(0).normal(size=(3, 11, 9, bands)).astype("f4")
    )
    np.testing.assert_allclose(quick, slow, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [{"strides": 2}, {"dilation_rate": 2}, {"groups": 2, "bands": 2}, {"bands": 8}],
)
def test_other_convolutions_are_left_to_tensorflow(settings):
    import keras
    from keras import layers

    bands = settings.pop("bands", 1)
    model = keras.Sequential([layers.Input((9, 9, bands)), layers.Conv2D(4, 3, **settings)])
    assert not has_fast_convolution(model.layers[0])


def test_the_layer_is_left_as_it_was(small_model):
    before = dict(vars(small_model.get_layer("first")))
    slopes(small_model, np.ones((1, 16, 16, 1), "f4"))
    assert vars(small_model.get_layer("first")).keys() == before.keys()


def gradients(model, images, quick):
    import tensorflow as tf

    network = Network(model)
    layer = network.layers[-1]
    fed = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(fed)
        before, _ = run_to(network.model, [fed], layer.response, for_gradient=quick)
        value = tf.reduce_sum(tf.sin(before))
    return tape.gradient(value, fed).numpy()


@pytest.mark.parametrize("size", [(2, 2), (3, 2)])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_quick_gradient_is_the_slow_one(size, activation):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((15, 17, 2)),
            layers.Conv2D(5, 3, activation=activation),
            layers.MaxPooling2D(size),
            layers.Conv2D(4, 2, activation="relu"),
        ]
    )
    images = np.random.default_rng(0).normal(size=(3, 15, 17, 2)).astype("float32")
    slow, quick = gradients(model, images, False), gradients(model, images, True)
    np.testing.assert_allclose(quick, slow, atol=1e-5)
    assert np.abs(slow).max() > 0


def test_overlapping_and_padded_windows_are_left_alone():
    from keras import layers

    assert has_fast_pooling(layers.MaxPooling2D(2))
    assert not has_fast_pooling(layers.MaxPooling2D(3, strides=2))
    assert not has_fast_pooling(layers.MaxPooling2D(2, padding="same"))
    assert not has_fast_pooling(layers.AveragePooling2D(2))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
@pytest.mark.parametrize("activation", [None, "tanh"])
def test_dense_layers_in_float8_have_their_own_values_and_a_gradient(activation):
    import keras
    import tensorflow as tf
    from keras import layers

    keras.utils.set_random_seed(0)
    last = layers.Dense(3, activation, name="last")
    middle = layers.Dense(4, "relu")
    model = keras.Sequential([layers.Input((6, 5, 1)), layers.Flatten(), middle, last])
    images = tf.constant(np.random.default_rng(0).normal(size=(2, 6, 5, 1)).astype("f4"))

    def slope():
        network = Network(model)
        output = network.class_layer().response

        @tf.function
        def run(fed):
            with tf.GradientTape() as tape:
                tape.watch(fed)
                around = run_to(model, network.feed(fed), output, for_gradient=True)
                total = tf.reduce_sum(around.response)
            return around, tape.gradient(total, fed)

        around, gradient = run(images)
        return around.response.numpy(), gradient.numpy()

    before = slope()[1]
    model.quantize("float8")
    after, gradient = slope()
    np.testing.assert_allclose(after, model(images), atol=1e-6)
    np.testing.assert_allclose(gradient, before, atol=0.1 * np.abs(before).max())
    assert last.activation is not None or activation is None


def graph_of(model, layer, quick):
    """A graph of a layer's values and of the gradient of a mixture of them."""
    import tensorflow as tf

    network = Network(model)

    def run(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            inputs = network.feed(images)
            response = run_to(
                network.model, inputs, network.find(layer).response, for_gradient=quick
            )[1]
            value = tf.reduce_sum(tf.sin(response))
        return response, tape.gradient(value, images)

    spec = tf.TensorSpec((None, *network.inputs.shape), tf.float32)
    return tf.function(run, input_signature=[spec], autograph=False).get_concrete_function()


def run_graph(model, layer, quick, images):
    import tensorflow as tf

    return [part.numpy() for part in graph_of(model, layer, quick)(tf.constant(images))]


def normalized_network(branch=False, **settings):
    """Convolution, normalization, depthwise convolution, normalization; all weights random."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    entry = keras.Input((12, 10, 3))
    first = layers.Conv2D(6, 3, strides=2, padding="same", name="first")(entry)
    x = layers.BatchNormalization(name="first_norm", **settings)(first)
    x = layers.Activation("tanh", name="first_act")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="second")(x)
    x = layers.BatchNormalization(name="second_norm", **settings)(x)
    if branch:  # the output of the convolution is read beside its normalization
        x = layers.Concatenate()([x, layers.Cropping2D(1)(first)])
    x = layers.Conv2D(4, 2, name="third")(layers.Activation("tanh")(x))
    model = keras.Model(entry, layers.GlobalAveragePooling2D()(layers.Activation("relu")(x)))
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.endswith("norm"):
            shapes = [weight.shape for weight in layer.weights]
            layer.set_weights([generator.uniform(0.5, 2, shape) for shape in shapes])
        elif layer.weights and layer.use_bias:
            layer.bias.assign(generator.normal(size=layer.bias.shape))
    return model


@pytest.mark.parametrize("layer", ["third", "first_act", "first"])
@pytest.mark.parametrize(
    "settings", [{}, {"branch": True}, {"center": False, "scale": False}, {"epsilon": 0.1}]
)
def test_normalization_folded_into_convolution_changes_nothing(settings, layer):
    model = normalized_network(**settings)
    images = np.random.default_rng(1).normal(size=(3, 12, 10, 3)).astype("f4")
    quick, slow = (run_graph(model, layer, way, images) for way in (True, False))
    for fast, own in zip(quick, slow, strict=True):
        np.testing.assert_allclose(fast, own, atol=2e-5 * np.abs(own).max())
        assert np.abs(own).max() > 0.01


def test_folded_normalization_takes_no_product_of_its_own():
    model = normalized_network()
    products = {}
    for quick in (True, False):
        operations = graph_of(model, "third", quick).graph.get_operations()
        shapes = [o.outputs[0].shape for o in operations if o.type == "Mul" and "_norm" in o.name]
        products[quick] = sum(len(shape) == 4 and shape[0] is None for shape in shapes)
    assert products[True] == 0
    assert products[False] >= 2  # forward, and back


def test_weights_that_change_later_are_seen():
    import tensorflow as tf

    model = normalized_network()
    images = tf.random.normal((2, 12, 10, 3), seed=0)
    graph = graph_of(model, "third", True)
    before = graph(images)[0].numpy()
    layer = model.get_layer("second_norm")
    layer.gamma.assign(layer.gamma * 3)
    after = graph(images)[0].numpy()
    assert np.abs(after - before).max() > 0.01
    own = run_graph(model, "third", False, images.numpy())[0]
    np.testing.assert_allclose(after, own, atol=1e-4)


def test_activations_between_and_mixed_precision_are_left_to_keras():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    for settings in ({"activation": "relu"}, {"dtype": "mixed_float16"}):
        model = keras.Sequential(
            [
                layers.Input((9, 9, 2)),
                layers.Conv2D(4, 3, **settings),
                layers.BatchNormalization(name="norm"),
                layers.Conv2D(3, 3, name="last"),
            ]
        )
        operations = graph_of(model, "last", True).graph.get_operations()
        assert not any(o.type == "BiasAdd" and "norm" in o.name for o in operations)


@pytest.mark.parametrize("mean, variance", [((3.0, -1.0), (4.0, 0.25)), (2.0, 9.0)])
def test_standardization_along_rows_is_that_of_keras(mean, variance):
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((8, 7, 2)),
            layers.Normalization(mean=mean, variance=variance),
            layers.Conv2D(3, 3, activation="tanh", name="last"),
        ]
    )
    assert has_fast_standardization(model.layers[0])
    assert not has_fast_standardization(layers.Normalization(invert=True, mean=1.0, variance=1.0))
    images = np.random.default_rng(0).normal(size=(2, 8, 7, 2)).astype("f4")
    quick, slow = (run_graph(model, "last", way, images) for way in (True, False))
    for fast, own in zip(quick, slow, strict=True):
        np.testing.assert_allclose(fast, own, atol=1e-6)


def test_numbers_of_bands_are_repeated_along_rows_of_known_width():
    import tensorflow as tf

    values = np.array([1.0, 2.0, 3.0])
    rows = along_rows(values, tf.zeros((1, 4, 5, 3)))
    assert rows.shape == (5, 3)
    np.testing.assert_array_equal(rows, np.tile(values, (5, 1)))


def test_classes_of_the_users_keep_their_own_gradient():
    import keras
    from keras import layers, ops

    class Standardized(layers.Conv2D):
        def convolution_op(self, inputs, kernel):
            kernel = ops.convert_to_tensor(kernel)
            mean = ops.mean(kernel, (0, 1, 2), keepdims=True)
            deviation = ops.std(kernel, (0, 1, 2), keepdims=True)
            return super().convolution_op(inputs, (kernel - mean) / deviation)

    class Contrast(layers.MaxPooling2D):
        def call(self, inputs):
            return super().call(inputs) - super().call(-inputs)

    keras.utils.set_random_seed(0)
    maps = Standardized(6, 3, activation="tanh")
    model = keras.Sequential([layers.Input((11, 9, 1)), maps, Contrast(2), layers.Conv2D(4, 2)])
    images = np.random.default_rng(0).normal(size=(3, 11, 9, 1)).astype("f4")
    quick, slow = slopes(model, images)
    np.testing.assert_allclose(quick, slow, atol=1e-4)
