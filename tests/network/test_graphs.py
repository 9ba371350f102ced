"""Graphs that are kept: which leave first, and what they keep alive."""

import gc
import weakref

import numpy as np
import pytest

import oip
from oip.network.graphs import Graphs, compiled
from oip.network.network import Network

pytestmark = pytest.mark.alone


def trace(graphs, key):
    import tensorflow as tf

    spec = tf.TensorSpec((None,), tf.float32)
    return graphs.cached(key, lambda values: values * 2, spec)


def test_a_graph_is_made_once_and_the_least_recently_used_leaves_first():
    graphs = Graphs()
    first = trace(graphs, "first")
    trace(graphs, "second")
    graphs.byte_budget = graphs.bytes
    assert trace(graphs, "first") is first
    trace(graphs, "third")
    assert graphs.traced == 3
    assert len(graphs) == 2
    assert trace(graphs, "first") is first
    trace(graphs, "second")
    assert graphs.traced == 4


def test_the_newest_graph_stays_whatever_the_budget():
    graphs = Graphs(byte_budget=1)
    trace(graphs, "first")
    assert trace(graphs, "second") is trace(graphs, "second")
    assert len(graphs) == 1


def test_a_graph_computes_what_its_function_does():
    import tensorflow as tf

    spec = tf.TensorSpec((None,), tf.float32)
    double = compiled(lambda values: values * 2, spec)
    assert double(tf.constant([1.0, 3.0])).numpy().tolist() == [2.0, 6.0]


def test_graphs_go_with_their_network(small_images):
    """Also the model goes, and with it the weights."""
    import keras
    from keras import layers

    parts = [layers.Input((16, 16, 1)), layers.Conv2D(4, 3, activation="relu", name="maps")]
    network = Network(keras.Sequential([*parts, layers.MaxPooling2D(), layers.Conv2D(3, 3)]))
    oip.reconstruct(network, "maps", steps=3, screened=4, starts=1)
    oip.responses(network.fitted_to(small_images[0]), small_images[0][:2], "maps")
    assert len(network.graphs) == 2
    graphs = [entry.graph.graph for entry in network.graphs._entries.values()]
    watched = [weakref.ref(part) for part in (network, network.model, *graphs)]
    del network, parts, graphs
    keras.backend.clear_session()
    gc.collect()
    assert [part() for part in watched] == [None] * len(watched)


def test_graphs_use_the_weights_as_they_are(small_images):
    import keras
    from keras import layers

    parts = [layers.Input((16, 16, 1)), layers.Conv2D(4, 3, name="maps")]
    network = Network(keras.Sequential(parts))
    before = oip.responses(network, small_images[0][:2], "maps").values
    network.model.set_weights([2 * weight for weight in network.model.get_weights()])
    after = oip.responses(network, small_images[0][:2], "maps").values
    assert network.graphs.traced == 1
    np.testing.assert_allclose(after, 2 * before, rtol=1e-5)
