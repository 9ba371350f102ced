"""Batches of images, and graphs that run up to a layer."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import oip
from oip.ascent.reconstruction import Ascent
from oip.ascent.settings import ascent_settings
from oip.ascent.targets import MapTargets
from oip.core.errors import SettingsError
from oip.network.forward import (
    batch_rows,
    batch_size,
    compiled,
    compiled_for_images,
    map_blocks,
    means_of_layers,
    nan_kept,
    run_in_batches,
    selected_maps,
)
from oip.network.network import Network


@pytest.mark.parametrize(
    ("bytes_per_image", "budget", "most", "size"),
    [(10, 100, 512, 10), (10, 109, 512, 10), (1000, 100, 512, 1), (1, 100, 7, 7)],
)
def test_batches_fit_the_budget_and_hold_one_image_at_least(bytes_per_image, budget, most, size):
    assert batch_size(bytes_per_image, budget, most) == size
    rows = list(batch_rows(15, bytes_per_image, budget, most))
    assert np.concatenate([np.arange(15)[part] for part in rows]).tolist() == list(range(15))
    assert rows[-1].stop == 15
    assert max(part.stop - part.start for part in rows) == min(size, 15)


def test_arrays_go_along_with_their_images_and_arguments_with_every_batch(
    small_model, small_images
):
    import tensorflow as tf

    network, images = Network(small_model), small_images[0]

    def sums(pixels, codes, factor):
        totals = tf.reduce_sum(pixels, [1, 2, 3])
        return {"sums": totals * factor, "codes": codes + tf.shape(pixels)[0]}

    code, number = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.float32)
    graph = compiled_for_images(network, sums, code, number)
    codes = np.arange(len(images), dtype=np.int32)
    batches = list(
        run_in_batches(graph, images, 10, tf.constant(2.0), along=[codes], byte_budget=70)
    )
    assert [rows.start for rows, _ in batches] == list(range(0, len(images), 7))
    for rows, outputs in batches:
        part = images[rows]
        assert np.array_equal(outputs["codes"], codes[rows] + len(part))
        np.testing.assert_allclose(outputs["sums"], 2 * part.sum((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("byte_budget", [1, 5 << 20, 1 << 30])
def test_responses_do_not_depend_on_the_budget(small_model, small_images, byte_budget):
    network, images = Network(small_model), small_images[0]
    layer = network.find("second")
    graph = selected_maps(network, layer.response)
    maps, size = np.array([3, 60], np.int32), network.activation_bytes(layer)
    whole = graph(images.astype(np.float32), maps).numpy()
    parts = run_in_batches(graph, images, size, maps, byte_budget=byte_budget)
    np.testing.assert_allclose(np.concatenate([part for _, part in parts]), whole, atol=1e-5)


@pytest.mark.parametrize("at", ["response", "block"])
def test_responses_are_the_models_own_whatever_the_budget(small_model, small_images, at):
    import keras

    network = Network(small_model)
    layer = network.find("first")
    images = small_images[0]
    name = "first" if at == "response" else "pool"
    plain = keras.Model(small_model.inputs, small_model.get_layer(name).output)
    correct = plain(images.astype("float32")).numpy().reshape(40, -1, 6).transpose(0, 2, 1)
    for budget in (1, 1 << 17, 1 << 30):
        blocks = list(map_blocks(network, images, layer, at=at, byte_budget=budget))
        assert np.concatenate([maps for maps, _ in blocks]).tolist() == list(range(6))
        result = np.concatenate([values for _, values in blocks], axis=1)
        np.testing.assert_allclose(result, correct, atol=1e-5)


def test_block_needs_a_pooling_layer(small_model, small_images):
    network = Network(small_model)
    with pytest.raises(SettingsError, match="pooling"):
        list(map_blocks(network, small_images[0], network.find("second"), at="block"))


def test_spatial_means_are_those_of_the_responses(small_model, small_images):
    network = Network(small_model)
    blocks = map_blocks(network, small_images[0], network.find("first"))
    responses = np.concatenate([values for _, values in blocks], axis=1)
    means = means_of_layers(network, small_images[0], [network.find("first")])[0]
    np.testing.assert_allclose(means, responses.mean(-1), rtol=1e-4)


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
    correct = plain.copy()
    correct[(0, *(0,) * axes, 0)] = np.nan
    correct[..., 1] = -np.inf
    correct[..., 2][1] = np.nan
    correct[(0, *(1,) * axes, 2)] = np.inf
    np.testing.assert_array_equal(kept, correct)
    assert "call" not in vars(pool)


def graphs():
    gc.collect()
    return sum(isinstance(item, tf.Graph) for item in gc.get_objects())


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
    assert graphs() <= before  # those of other tests may go meanwhile


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
