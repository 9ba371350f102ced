"""The calls of a model of any kind."""

import numpy as np
import pytest

from oip.core.errors import ModelError
from oip.network.forward import run_to
from oip.network.network import Network


def tensors(network, layer, images):
    before, after = run_to(network.model, network.feed(images), layer.response)
    return before.numpy(), after.numpy()


def test_the_model_is_as_it_was(small_model):
    before = [weight.numpy().copy() for weight in small_model.weights]
    states = [set(vars(layer)) for layer in small_model.layers]
    activation = small_model.get_layer("first").activation
    network = Network(small_model)
    tensors(network, network.find("first"), np.zeros((1, 16, 16, 1), "float32"))
    with pytest.raises(Exception, match=r".+"):
        tensors(network, network.find("second"), np.zeros((1, 5, 5), "float32"))
    assert [set(vars(layer)) for layer in small_model.layers] == states
    assert small_model.get_layer("first").activation is activation
    for old, weight in zip(before, small_model.weights, strict=True):
        assert np.array_equal(old, weight.numpy())


def test_subclassed_models_are_seen_through():
    import keras
    from keras import layers

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Conv2D(3, 3, activation="relu", name="one")
            self.two = layers.Conv2D(4, 3, name="two")

        def call(self, x):
            x = self.first(x)
            return self.two(x + 1.0)

    called = Own()
    called(np.zeros((1, 12, 12, 1), "float32"))
    for network in (Network(Own(), input_shape=(12, 12, 1)), Network(called)):
        assert [(layer.name, layer.size) for layer in network.layers] == [
            ("one", (10, 10)),
            ("two", (8, 8)),
        ]
        assert network.layers[1].receptive_field == (5, 5)
    with pytest.raises(ModelError, match="knows its input"):
        Network(Own())


def test_an_input_too_small_for_a_kernel_says_so():
    import keras
    from keras import layers

    model = keras.Sequential(
        [layers.Input((None, None, 1)), layers.MaxPooling2D(), layers.Conv2D(2, 5, name="conv")]
    )
    with pytest.raises(ModelError, match=r"'conv'.*receptive field.*5 x 5.*received 3 x 4"):
        _ = Network(model, input_shape=(6, 8)).layers
