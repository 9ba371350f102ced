"""Tests for graphs that are given back."""

import gc

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import oip
from oip.ascent.objectives import MapTargets
from oip.ascent.reconstruction import Ascent
from oip.ascent.settings import ascent_settings
from oip.network.forward import compiled


def graphs():
    gc.collect()
    return sum(isinstance(held, tf.Graph) for held in gc.get_objects())


def test_no_graph_of_a_layer_stays_when_its_ascent_is_gone():
    """Quick convolution and pooling, and swish, all bring gradients of their own."""
    model = keras.Sequential(
        [
            layers.Input((12, 12, 1)),
            layers.Conv2D(3, 3, activation="swish"),
            layers.MaxPooling2D(),
            layers.Conv2D(4, 3, activation="relu"),
        ]
    )
    network = oip.Network(model)
    settings = ascent_settings(starts=1, steps=2, screened=4)

    def grown():
        Ascent(network, MapTargets(network, network.layers[1]), settings).grow(np.arange(2))

    grown()
    before = graphs()
    grown()
    assert graphs() == before


def test_gradients_of_other_graphs_stay():
    @tf.custom_gradient
    def doubled(x):
        return 2 * x, lambda upstream: 7 * upstream

    own = tf.function(lambda x: doubled(x), input_signature=[tf.TensorSpec((), tf.float32)])
    own.get_concrete_function()
    compiled(lambda x: doubled(x) + 1, tf.TensorSpec((), tf.float32))
    x = tf.Variable(1.0)
    with tf.GradientTape() as tape:
        y = own(x)
    assert float(tape.gradient(y, x)) == 7
