import numpy as np
import pytest

from oip.network.fast_gradients import has_fast_pooling
from oip.network.forward import nan_kept, run_to
from oip.network.network import Network


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


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_nan_and_infinity_outlive_pooling_in_spoiled_models(axes, padding):
    import keras
    import tensorflow as tf
    from keras import layers

    kind = layers.MaxPooling1D if axes == 1 else layers.MaxPooling2D
    pool = kind(2, padding=padding)
    model = keras.Sequential([layers.Input((5,) * axes + (3,)), pool])
    values = np.random.default_rng(0).normal(size=(2, *(5,) * axes, 3)).astype(np.float32)
    plain = model(values).numpy()
    values[(0, *(0,) * axes, 0)] = np.nan  # one of its window
    values[..., 1] = -np.inf  # all
    values[..., 2][1] = np.nan
    values[(0, *(3,) * axes, 2)] = np.inf
    with nan_kept([pool]):
        kept = tf.function(model)(tf.constant(values)).numpy()
    wanted = plain.copy()
    wanted[(0, *(0,) * axes, 0)] = np.nan
    wanted[..., 1] = -np.inf
    wanted[..., 2][1] = np.nan
    wanted[(0, *(1,) * axes, 2)] = np.inf
    np.testing.assert_array_equal(kept, wanted)
    assert "call" not in vars(pool)
