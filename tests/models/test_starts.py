import keras
import numpy as np
import pytest
from keras import layers

from oip import mi, models
from oip.core.errors import ModelError, SettingsError
from oip.models.training import before_head, scale_kernels

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 1)).astype(np.uint8)


def network(*middle):
    keras.utils.set_random_seed(0)
    scaled = layers.Rescaling(1 / 255)
    return keras.Sequential([layers.Input((16, 16, 1)), scaled, *middle, layers.Dense(3)])


def reached(model):
    return mi.estimator("dse", reference=True).entropy(np.asarray(before_head(model)(IMAGES)), 0)


@pytest.mark.parametrize("bits", [0.05, 2.0])
@pytest.mark.parametrize("kind", [lambda: layers.Conv2D(20, 3), lambda: layers.Dense(30)])
def test_a_start_has_the_entropy(bits, kind):
    # A network without convolutions has its hidden dense layers drawn; the head stays.
    model = network(kind(), layers.Flatten())
    head = model.layers[-1].get_weights()[0]
    start = models.initialize(model, IMAGES, mi.estimator("dse", reference=True), bits, 1)
    assert start.entropy == pytest.approx(bits, rel=0.02)
    assert reached(model).nats / np.log(2) == pytest.approx(start.entropy)
    assert model.layers[1].kernel.numpy().std() == pytest.approx(start.deviation, rel=0.5)
    assert not model.layers[1].bias.numpy().any()
    assert (model.layers[-1].get_weights()[0] == head).all()
    repeated = models.initialize(model, IMAGES, mi.estimator("dse", reference=True), bits, 1)
    assert repeated == start


def test_what_cannot_be_reached():
    model = network(layers.Conv2D(3, 3), layers.Flatten())
    for estimator, bits in (("dse", 0.1), ("dse", 9.0)):
        with pytest.raises(SettingsError, match="see the scale"):
            models.initialize(model, IMAGES, mi.estimator(estimator), bits)
    with pytest.raises(SettingsError, match="above 0"):
        models.initialize(model, IMAGES, mi.estimator("dse", reference=True), 0.0)
    with pytest.raises(ModelError, match="hidden dense"):
        scale_kernels(network(layers.Flatten()), 1.0, 0)


def test_the_layer_before_the_head():
    net = network(layers.Flatten(), layers.Dense(7))
    hidden = before_head(net)(IMAGES)
    assert hidden.shape == (60, 7)
    assert np.allclose(net.layers[-1](hidden), net(IMAGES), atol=1e-5)
    with pytest.raises(ModelError, match="dense layer at its end"):
        before_head(keras.Sequential([layers.Input((4, 4, 1)), layers.Flatten()]))


def test_starts_have_their_deviation():
    model = keras.Sequential([layers.Input((9, 9, 3)), layers.Conv2D(64, 5), layers.Flatten()])
    scale_kernels(model, 0.3, 0)
    kernel, bias = model.layers[0].get_weights()
    assert kernel.std() == pytest.approx(0.3, rel=0.05) and not bias.any()
    scale_kernels(model, 0.6, 0)
    assert np.allclose(model.layers[0].get_weights()[0], 2 * kernel, atol=1e-6)
