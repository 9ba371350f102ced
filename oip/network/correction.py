"""Kernels of the next layers fitted again after maps were removed, by least squares, no labels.

What a layer computed before is predicted from what it still receives. Layers are taken in the
order in which they run, each with the input that the corrected layers before it give, so that
errors do not add up.

References:
    Y. He, X. Zhang, J. Sun: Channel pruning for accelerating very deep neural networks. ICCV 2017,
    section 3.2. J.-H. Luo, J. Wu, W. Lin: ThiNet. ICCV 2017, eq. 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from oip.core.progress import Progress, silent
from oip.network.channels import Channels
from oip.network.cut import run_to
from oip.network.graphs import compiled
from oip.network.layers import Place
from oip.network.patches import has_patches, kernel_matrix, patches
from oip.network.view import Network

_RIDGE = 1e-4
"""Of the mean variance of an input: what keeps the fit from following so few images."""
_BYTES = 64 << 20
LARGEST = 8192
"""Inputs of a kernel, taps included, for which second moments are kept (512 MiB)."""
_ROWS = 30
"""Samples wanted for each input of a kernel."""
_FEWEST = 512


def corrected(
    network: Network,
    smaller: Any,
    known: Channels,
    gone: np.ndarray,
    images: np.ndarray,
    progress: Progress = silent,
) -> list[str]:
    """Fits the kernels and biases of the smaller model that read removed channels, in place.

    Args:
        network: the whole model.
        smaller: what `without` made of it; its weights are changed.
        known: the channels of the whole model.
        gone: identities of the removed channels.
        images: (n, h, w, b) in the model's units; labels are not needed.
        progress: told "correction" in layers.

    Returns:
        Names of layers that read removed channels and were left as they are: depthwise, transposed
        and grouped kernels, layers that are used several times, kernels of too many inputs.
    """
    changed = Network(smaller)
    changed.inputs = network.inputs
    ends = {call.path: call.layer for call in changed.calls}
    left: list[str] = []
    readers = [one for one in known.readers if np.isin(known.same(one.channels), gone).any()]
    progress("correction", 0, len(readers))
    for done, reader in enumerate(readers, 1):
        mine = ends[reader.path]
        if reader.uses > 1 or not has_patches(mine) or inputs_of(mine) > LARGEST:
            left.append(reader.path)
        else:
            stay = ~np.isin(known.same(known.makers[id(reader.layer)]), gone)
            used = images_wanted(network, reader.layer, images)
            _fit(network, changed, reader.layer, mine, stay, used)
        progress("correction", done, len(readers))
    return left


def inputs_of(layer: Any) -> int:
    """Inputs of one node of a layer: taps times channels."""
    return int(np.prod(layer.weights[0].shape[:-1]))


def images_wanted(network: Network, layer: Any, images: np.ndarray) -> np.ndarray:
    """As many of the images as give 30 rows of `received` for each input of the layer's kernel."""
    wanted = max(_FEWEST, -(-_ROWS * inputs_of(layer) // _rows(network, layer)))
    return images[:wanted]


def images_at_once(network: Network, layer: Any) -> int:
    """Images of which a layer's input, as `received` gives it, takes 64 MiB."""
    each = network.activation_bytes() + 4 * _rows(network, layer) * inputs_of(layer)
    return int(np.clip(_BYTES // each, 1, 256))


def _rows(network: Network, layer: Any) -> int:
    """Nodes of a layer, each of which is a row of `received`."""
    call = next(call for call in network.calls if call.layer is layer)
    dense = type(layer).__name__ == "Dense"
    sides = call.input_shapes[0][1:-1] if dense else call.output_shape[1:-1]
    return int(np.prod([side or 1 for side in sides]))


def received(
    network: Network, layer: Any, images: np.ndarray, batch: int | None = None
) -> Iterator[np.ndarray]:
    """What a layer's kernel is multiplied with: (rows, taps x channels) float32, in pieces.

    Args:
        network: the model.
        layer: one of its layers, for which `has_patches` holds.
        images: (n, h, w, b).
        batch: images a piece; `images_at_once` if None.
    """
    import tensorflow as tf

    place = Place(layer, 0, "input")

    def run(part: Any) -> Any:
        before, _ = run_to(network.model, network.feed(part), place, False)
        found = patches(layer, before)
        return tf.reshape(found, [-1, found.shape[2] * found.shape[3]])

    graph = compiled(run, tf.TensorSpec((None, *network.inputs.shape), tf.float32))
    batch = batch or images_at_once(network, layer)
    for start in range(0, len(images), batch):
        yield graph(tf.constant(np.asarray(images[start : start + batch], np.float32))).numpy()


def _fit(
    network: Network, changed: Network, old: Any, new: Any, stay: np.ndarray, images: np.ndarray
) -> None:
    """Fits one kernel; `stay` (maps,) bool says which of the old layer's maps there still are."""
    weights = new.get_weights()
    kernel = kernel_matrix(old)
    kernel = kernel.reshape(-1, kernel.shape[-1])[:, stay].astype(np.float32)
    bias = old.get_weights()[1][stay] if len(weights) > 1 else np.zeros(kernel.shape[1])
    inputs, outputs = inputs_of(new), kernel.shape[1]
    # Moments about the first image's mean, so that large means cost no precision.
    first = next(received(changed, new, images[:1])).mean(axis=0)
    squares, products = np.zeros((inputs, inputs)), np.zeros((inputs, outputs))
    total, wanted, rows = np.zeros(inputs), np.zeros(outputs), 0
    batch = images_at_once(network, old)
    pieces = zip(
        received(network, old, images, batch), received(changed, new, images, batch), strict=True
    )
    for before, after in pieces:
        target = before @ kernel + bias
        part = after - first
        squares += part.T @ part
        products += part.T @ target
        total += part.sum(axis=0)
        wanted += target.sum(axis=0)
        rows += len(part)
    mean, aim = total / rows, wanted / rows
    own = np.asarray(weights[0], np.float64).reshape(inputs, outputs)
    with_bias = len(weights) > 1
    if with_bias:
        squares -= rows * np.outer(mean, mean)
        products -= rows * np.outer(mean, aim)
        centre = mean + first
    else:
        squares += rows * (np.outer(first, mean) + np.outer(mean, first) + np.outer(first, first))
        products += rows * np.outer(first, aim)
        centre = np.zeros(inputs)
    # The ridge draws the kernel to the one it had, so that inputs without variance keep theirs.
    ridge = _RIDGE * max(np.trace(squares) / inputs, np.finfo(np.float32).tiny)
    fitted = own + np.linalg.solve(squares + ridge * np.eye(inputs), products - squares @ own)
    weights[0] = fitted.reshape(weights[0].shape).astype(weights[0].dtype)
    if with_bias:
        weights[1] = (aim - centre @ fitted).astype(weights[1].dtype)
    new.set_weights(weights)
