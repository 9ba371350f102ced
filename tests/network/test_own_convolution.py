"""One map an image, against all maps."""

import numpy as np
import pytest

from oip.network.forward import has_own_maps, run_to, run_to_own
from oip.network.network import Network


def network_of(**settings):
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    last = layers.Conv2D(**{"filters": 24, "kernel_size": 3, "name": "last"} | settings)
    first = layers.Conv2D(5, 3, activation="relu")
    return Network(keras.Sequential([layers.Input((13, 10, 2)), first, last]))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"activation": "relu", "padding": "same"},
        {"activation": "gelu", "kernel_size": (1, 2), "use_bias": False},
        {"strides": 2, "kernel_size": 2, "activation": "relu"},
        {"strides": (1, 2), "padding": "same", "kernel_size": (4, 3), "activation": "relu"},
        {"kernel_size": 1},
    ],
)
def test_an_image_has_the_values_and_the_gradient_of_its_own_map(settings):
    import tensorflow as tf

    network = network_of(**settings)
    output = network.find("last").response
    assert has_own_maps(network, output)
    random = np.random.default_rng(0)
    images = tf.constant(random.normal(size=(6, 13, 10, 2)), tf.float32)
    maps = tf.constant([3, 0, 23, 3, 7, 1])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        own = run_to_own(network, network.feed(images), output, maps)
        every = run_to(network.model, network.feed(images), output)
        expected = [tf.gather(part, maps, axis=-1, batch_dims=1)[..., None] for part in every]
        weights = tf.constant(random.normal(size=own.response.shape), tf.float32)
        totals = [tf.reduce_sum(part * weights) for part in (own.response, expected[1])]
    for part, value in zip(own, expected, strict=True):
        np.testing.assert_allclose(part, value, atol=1e-5)
    slope, true = (tape.gradient(total, images) for total in totals)
    np.testing.assert_allclose(slope, true, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "softmax"},
        {"groups": 5, "filters": 25},
        {"dilation_rate": 2},
        {"filters": 8},
        {"kernel_size": 3, "strides": 2},
    ],
)
def test_other_layers_run_all_maps(settings):
    network = network_of(**settings)
    assert not has_own_maps(network, network.find("last").response)


def test_a_model_with_nan_runs_all_maps():
    network = network_of()
    kernel, bias = network.model.get_layer("last").get_weights()
    kernel[..., 1] = np.nan
    network.model.get_layer("last").set_weights([kernel, bias])
    assert not has_own_maps(network, network.find("last").response)
