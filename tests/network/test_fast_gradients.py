"""The fast gradients of convolution and pooling are the gradients."""

import numpy as np
import pytest

from oip.network.fast_gradients import has_fast_convolution, has_fast_pooling
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
    taps = bands * np.prod(model.layers[0].kernel_size)
    assert has_fast_convolution(model.layers[0]) == (taps <= 32)
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
