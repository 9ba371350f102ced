"""Batches of images, and graphs that run up to a layer."""

import numpy as np
import pytest

from oip.network.forward import (
    batch_rows,
    batch_size,
    compiled_for_images,
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
