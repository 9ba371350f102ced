"""Maps by what the next layers lose without them, when their kernels are fitted again.

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

from typing import TYPE_CHECKING, Any

import numpy as np

from mi.subject import Subject
from oip.core.errors import SettingsError, expected

if TYPE_CHECKING:
    from oip.network.channels import Reader
    from oip.network.view import Network

_RIDGE = 1e-4


def eliminated(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `subject.maps` in the order in which they stay, and (m,) the loss of each.

    Other maps of the layer stay throughout. Losses are shares of the variance that the next layers
    compute, at the time when the map goes.

    Raises:
        ModelError: the layer makes no maps of its own.
        SettingsError: no next layer whose kernel can be fitted.
    """
    from oip.network.channels import of_network
    from oip.network.correction import LARGEST, inputs_of
    from oip.network.patches import has_patches

    known = of_network(subject.network)
    mine = known.of_layer(subject.network, subject.info)[subject.maps]
    next_layers = [
        reader
        for reader in known.readers
        if np.isin(known.same(reader.channels), mine).any()
        and reader.uses == 1
        and has_patches(reader.layer)
        and inputs_of(reader.layer) <= LARGEST
    ]
    if not next_layers:
        hint = "Choose another method."
        wanted = f"a convolution or dense layer after it, of at most {LARGEST} inputs"
        raise SettingsError(expected(f"layer '{subject.info.name}'", wanted, "none", hint))
    fits = [
        _Fit.of(subject.network, reader, known.same(reader.channels), mine, subject.images)
        for reader in next_layers
    ]
    left = list(range(len(mine)))
    gone: list[int] = []
    losses = np.zeros(len(mine))
    while left:
        costs = np.sum([fit.costs(left) for fit in fits], axis=0)
        row = left.pop(int(np.argmin(costs)))
        losses[row] = costs.min()
        for fit in fits:
            fit.remove(row)
        gone.append(row)
    return np.array(gone[::-1]), losses


class _Fit:
    """The kernel of one next layer, fitted to the maps that are left."""

    def __init__(self, weights: np.ndarray, inverse: np.ndarray, blocks: list[np.ndarray]):
        self.weights = weights
        self.inverse = inverse
        self.blocks = blocks

    @classmethod
    def of(
        cls,
        network: Network,
        reader: Reader,
        channels: np.ndarray,
        mine: np.ndarray,
        images: np.ndarray,
    ) -> _Fit:
        from oip.network.correction import images_wanted
        from oip.network.patches import kernel_matrix

        kernel = kernel_matrix(reader.layer)
        taps = len(kernel)
        weights = kernel.reshape(-1, kernel.shape[-1])
        covariance = _covariance(
            network, reader.layer, images_wanted(network, reader.layer, images)
        )
        total = float(np.einsum("io,ij,jo->", weights, covariance, weights, optimize=True))
        ridge = _RIDGE * max(np.trace(covariance) / len(covariance), np.finfo(np.float32).tiny)
        inverse = np.linalg.inv(covariance + ridge * np.eye(len(covariance)))
        places = np.arange(taps)[:, None] * len(channels)
        blocks = [(places + np.flatnonzero(channels == identity)).reshape(-1) for identity in mine]
        return cls(weights / np.sqrt(total if total > 0 else 1.0), inverse, blocks)

    def costs(self, rows: list[int]) -> np.ndarray:
        """What removing each map alone would cost next."""
        found = np.zeros(len(rows))
        sizes = np.array([len(self.blocks[row]) for row in rows])
        for size in np.unique(sizes[sizes > 0]):
            these = np.flatnonzero(sizes == size)
            blocks = np.stack([self.blocks[rows[place]] for place in these])
            inner = self.inverse[blocks[:, :, None], blocks[:, None, :]]
            weights = self.weights[blocks]
            found[these] = (weights * np.linalg.solve(inner, weights)).sum(axis=(1, 2))
        return found

    def remove(self, row: int) -> None:
        """Takes a map out and fits the others again."""
        block = self.blocks[row]
        if not len(block):
            return
        columns = self.inverse[:, block]
        step = np.linalg.solve(self.inverse[np.ix_(block, block)], columns.T)
        self.weights -= step.T @ self.weights[block]
        self.inverse -= columns @ step


def _covariance(network: Network, layer: Any, images: np.ndarray) -> np.ndarray:
    """Of a kernel's inputs; about 0 where the layer has no bias to take a mean up."""
    from oip.network.correction import inputs_of, received

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
