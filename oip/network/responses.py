"""Responses of a layer's maps to images, in blocks that fit a byte budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from oip.core.errors import SettingsError, expected
from oip.network.cut import run_to
from oip.network.graphs import compiled
from oip.network.layers import LayerInfo, Place
from oip.network.view import Network

At = Literal["response", "block"]
_FORWARD_BUDGET = 128 << 20


def map_blocks(
    network: Network,
    images: np.ndarray,
    layer: LayerInfo,
    maps: np.ndarray | None = None,
    at: At = "response",
    byte_budget: int = 256 << 20,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Responses of some maps at a time to all images.

    The model runs once for every block of maps.

    Args:
        network: the model.
        images: (n, h, w, b) in the model's input units.
        layer: which layer.
        maps: map numbers, all if None.
        at: `response` (after the activation) or `block` (after the pooling that follows).
        byte_budget: for the responses of one block.

    Yields:
        Map numbers (m,) and responses (n, m, d) float32; d is the number of nodes.

    Raises:
        SettingsError: `block` for a layer that no pooling follows.
    """
    numbers = np.arange(layer.maps) if maps is None else np.asarray(maps)
    nodes = int(np.prod(_size(layer, at)))
    room = max(1, byte_budget // (4 * nodes * max(1, len(images))))
    forward = chosen_maps(network, _place(layer, at), layer.channels_first)
    batch = batch_size(network, layer)
    for start in range(0, len(numbers), room):
        block = numbers[start : start + room]
        values = np.empty((len(images), len(block), nodes), np.float32)
        for first in range(0, len(images), batch):
            values[first : first + batch] = forward(images[first : first + batch], block)
        yield block, values


def spatial_means(
    network: Network,
    images: np.ndarray,
    layer: LayerInfo,
    standardise_over: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Spatial mean of every map's response, a batch of images at a time: (n_batch, maps) float32.

    Args:
        standardise_over: (h, w) bool; give every image the input's own mean and deviation over
            these pixels first, so that scores of data images and of OIPs can be compared.
    """
    import tensorflow as tf

    spec = network.inputs

    def means(part: Any) -> Any:
        _, after = run_to(
            network.model,
            network.feed(part),
            layer.response,
            layer.channels_first,
            spoiled=network.spoiled,
        )
        return tf.reduce_mean(after, axis=list(range(1, len(after.shape) - 1)))

    graph = compiled(means, tf.TensorSpec((None, *spec.shape), tf.float32))
    batch = batch_size(network, layer)
    for first in range(0, len(images), batch):
        part = np.asarray(images[first : first + batch], np.float32)
        if standardise_over is not None:
            part = standardised_as_input(part, network, standardise_over)
        yield graph(tf.constant(part)).numpy()


def standardised_as_input(images: np.ndarray, network: Network, visible: np.ndarray) -> np.ndarray:
    """Images (n, h, w, b) brought, each by itself, to the input's mean and standard deviation.

    Args:
        visible: (h, w) bool: the pixels whose mean and deviation count, over all bands.
    """
    spec = network.inputs
    flat = spec.standardised(images)
    seen = flat[:, visible].reshape(len(flat), -1)
    shape = (-1, *[1] * (flat.ndim - 1))
    flat -= seen.mean(axis=1).reshape(shape)
    spread = seen.std(axis=1).reshape(shape)
    flat /= np.where(spread > 0, spread, 1.0)
    return (flat * spec.std + spec.mean).astype(np.float32)


def _size(layer: LayerInfo, at: At) -> tuple[int, ...]:
    if at == "response":
        return layer.size
    if layer.block_size is None:
        raise _no_pooling(layer)
    return layer.block_size


def batch_size(network: Network, layer: LayerInfo | None = None) -> int:
    """Images that run through the model at once, up to a layer (None: to its end)."""
    return int(np.clip(_FORWARD_BUDGET // network.activation_bytes(layer), 1, 512))


def _place(layer: LayerInfo, at: At) -> Place:
    place = layer.response if at == "response" else layer.block
    if place is None:
        raise _no_pooling(layer)
    return place


def _no_pooling(layer: LayerInfo) -> SettingsError:
    return SettingsError(
        expected(f"--at block for layer '{layer.name}'", "a pooling layer after it", "none")
    )


def chosen_maps(
    network: Network, place: Place, channels_first: bool
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """`forward(images (n, h, w, b), maps (m,))`: their responses at a place, (n, m, d) float32.

    Args:
        network: the model.
        place: where the response is taken; d is the number of its nodes, 1 for dense layers.
        channels_first: the layout of the tensor there.
    """
    import tensorflow as tf

    def responses(part: Any, block: Any) -> Any:
        _, after = run_to(
            network.model,
            network.feed(part),
            place,
            channels_first,
            spoiled=network.spoiled,
        )
        chosen = tf.gather(after, block, axis=-1)
        flat = tf.reshape(chosen, [tf.shape(chosen)[0], -1, tf.shape(block)[0]])
        return tf.transpose(flat, [0, 2, 1])

    image = tf.TensorSpec((None, *network.inputs.shape), tf.float32)
    graph = compiled(responses, image, tf.TensorSpec((None,), tf.int32))

    def forward(part: np.ndarray, block: np.ndarray) -> np.ndarray:
        fed = tf.constant(np.asarray(part, np.float32))
        return graph(fed, tf.constant(block, tf.int32)).numpy()

    return forward
