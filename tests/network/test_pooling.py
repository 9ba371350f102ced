import numpy as np
import pytest

from oip.network.cut import run_to
from oip.network.pooling import can_be_quick
from oip.network.view import Network


def gradients(model, images, quick):
    import tensorflow as tf

    network = Network(model)
    layer = network.layers[-1]
    fed = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(fed)
        before, _ = run_to(
            network.model, [fed], layer.response, layer.channels_first, for_gradient=quick
        )
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

    assert can_be_quick(layers.MaxPooling2D(2))
    assert not can_be_quick(layers.MaxPooling2D(3, strides=2))
    assert not can_be_quick(layers.MaxPooling2D(2, padding="same"))
    assert not can_be_quick(layers.AveragePooling2D(2))
