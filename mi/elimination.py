"""Backward elimination: maps by the loss of the next layers when their kernels are fitted again.

Maps are removed one at a time, from all of them down. Each time the map goes whose loss is least:
the variance of what the next layers compute that a linear fit from the remaining maps no longer
explains. For Gaussian responses that residual variance is what conditional mutual information
I(T_i; Z | the maps that stay) measures; Z is what the next layer computes.

With Sigma the covariance of the inputs of the next kernel W, H its inverse, and b the inputs that a
map feeds, removing it costs tr(W_b' H_bb^-1 W_b); W and H are then brought up to date.

References:
    B. Hassibi, D. G. Stork: Second order derivatives for network pruning: optimal brain surgeon.
    NIPS 1992. J.-H. Luo, J. Wu, W. Lin: ThiNet. ICCV 2017 (the objective).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from oip.core.errors import ModelError, expected

if TYPE_CHECKING:
    import keras

    from oip.mi.layer_sample import LayerSample
    from oip.network.channel_graph import Reader
    from oip.network.network import Network

_RIDGE = 1e-4


def eliminated(sample: LayerSample) -> tuple[np.ndarray, np.ndarray]:
    """Order the maps of a sample by elimination; other maps of the layer stay throughout.

    Returns:
        (m,) int: rows of `sample.maps`, the one that stays longest first; and (m,): the loss of
        each, as a share of the variance that the next layers compute, at the time when it goes.

    Raises:
        ModelError: the layer makes no maps, or no next layer can be fitted.
    """
    from oip.network.channel_graph import Channels
    from oip.network.surgery import LARGEST, has_patches, inputs_of

    graph = Channels.of(sample.network)
    identities = graph.of_layer(sample.network, sample.layer)[sample.maps]
    next_layers = [
        reader
        for reader in graph.readers
        if np.isin(graph.same(reader.channels), identities).any()
        and reader.uses == 1
        and has_patches(reader.layer)
        and inputs_of(reader.layer) <= LARGEST
    ]
    if not next_layers:
        hint = "Choose another method."
        text = f"a convolution or dense layer after it, of at most {LARGEST} inputs"
        raise ModelError(expected(f"layer '{sample.layer.name}'", text, "none", hint))
    kernels = [
        _FittedKernel(
            sample.network, reader, graph.same(reader.channels), identities, sample.images
        )
        for reader in next_layers
    ]
    left = list(range(len(identities)))
    gone: list[int] = []
    losses = np.zeros(len(identities))
    while left:
        costs = np.sum([kernel.costs(left) for kernel in kernels], axis=0)
        row = left.pop(int(np.argmin(costs)))
        losses[row] = costs.min()
        for kernel in kernels:
            kernel.remove(row)
        gone.append(row)
    return np.array(gone[::-1]), losses


class _FittedKernel:
    """The kernel of one next layer, fitted to the maps that are left."""

    def __init__(
        self,
        network: Network,
        reader: Reader,
        channels: np.ndarray,
        identities: np.ndarray,
        images: np.ndarray,
    ):
        from oip.network.surgery import images_needed, kernel_matrix

        kernel = kernel_matrix(reader.layer)
        taps = len(kernel)
        weights = kernel.reshape(-1, kernel.shape[-1])
        images = images_needed(network, reader.layer, images)
        covariance = _input_covariance(network, reader.layer, images)
        total = float(np.einsum("io,ij,jo->", weights, covariance, weights, optimize=True))
        ridge = _RIDGE * max(np.trace(covariance) / len(covariance), np.finfo(np.float32).tiny)
        self._inverse = np.linalg.inv(covariance + ridge * np.eye(len(covariance)))
        self._weights = weights / np.sqrt(total if total > 0 else 1.0)
        first_inputs = np.arange(taps)[:, None] * len(channels)
        self._blocks = [
            (first_inputs + np.flatnonzero(channels == identity)).reshape(-1)
            for identity in identities
        ]  # inputs of the kernel that each map feeds

    def costs(self, rows: Sequence[int]) -> np.ndarray:
        """Return the loss of removing each of these maps alone."""
        result = np.zeros(len(rows))
        sizes = np.array([len(self._blocks[row]) for row in rows])
        for size in np.unique(sizes[sizes > 0]):
            alike = np.flatnonzero(sizes == size)
            blocks = np.stack([self._blocks[rows[int(index)]] for index in alike])
            inner = self._inverse[blocks[:, :, None], blocks[:, None, :]]
            weights = self._weights[blocks]
            result[alike] = (weights * np.linalg.solve(inner, weights)).sum(axis=(1, 2))
        return result

    def remove(self, row: int) -> None:
        """Take a map out and fit the others again."""
        block = self._blocks[row]
        if not len(block):
            return
        columns = self._inverse[:, block]
        step = np.linalg.solve(self._inverse[np.ix_(block, block)], columns.T)
        self._weights -= step.T @ self._weights[block]
        self._inverse -= columns @ step


def _input_covariance(network: Network, layer: keras.Layer, images: np.ndarray) -> np.ndarray:
    """Return the covariance of a kernel's inputs; about 0 where no bias can take up a mean."""
    from oip.network.surgery import inputs_of, received

    size = inputs_of(layer)
    squares, total, rows = np.zeros((size, size)), np.zeros(size), 0
    first: np.ndarray | None = None
    for part in received(network, layer, images):
        if first is None:
            first = part.mean(axis=0)
        moved = part - first
        squares += moved.T @ moved
        total += moved.sum(axis=0, dtype=np.float64)
        rows += len(part)
    mean = total / rows
    covariance = squares / rows - np.outer(mean, mean)
    if getattr(layer, "bias", None) is None and first is not None:
        covariance += np.outer(mean + first, mean + first)
    return covariance
