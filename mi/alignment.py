"""How alike the layers of two networks are: linear centered kernel alignment (CKA).

It is 1 for layers that are equal up to a turn and a scale [1]. It is debiased: the unbiased
estimate of the Hilbert-Schmidt independence criterion [2] is averaged over batches of images [3],
so that nothing larger than a batch is in memory, and layers that have nothing in common have 0 on
average, also where there are more nodes than images.

References:
    [1] S. Kornblith et al.: Similarity of neural network representations revisited. ICML 2019.
    [2] L. Song et al.: Feature selection via dependence maximization. JMLR 13 (2012) 1393, equation
    5. [3] T. Nguyen, M. Raghu, S. Kornblith: Do wide and deep networks learn the same things? ICLR
    2021, section 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from oip.core import seeds
from oip.core.progress import Progress

if TYPE_CHECKING:
    from oip.network.layers import LayerInfo
    from oip.network.network import Network

_DRAWS = 200
"""Resampled sets of batches for intervals."""
_NULLS = 20
"""Shuffles of the images for the null, at most."""
_LEAST_BATCH = 4
"""Images of which the criterion can be estimated without bias."""
_FLAT = 1e-12


class View(NamedTuple):
    """One of the networks, the images as it takes them, and its layers."""

    network: Network
    images: np.ndarray
    layers: list[LayerInfo]


class Alignment(NamedTuple):
    """Linear CKA of each pair of layers, (rows, columns) each."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    null: np.ndarray


def layer_alignment(
    first: View, second: View, shuffles: int, seed: int, progress: Progress
) -> Alignment:
    """Return the CKA of all pairs of layers, from batches that both networks see alike."""
    cross, self_terms, shuffled = [], [], []
    label = "layers compared"
    progress(label, 0, len(first.images))
    for batch, (rows, left, right) in enumerate(_batches(first, second)):
        count = rows.stop - rows.start
        if count < _LEAST_BATCH:
            continue
        a, b = ([_u_centered(gram) for gram in grams] for grams in (left, right))
        flat = np.stack([matrix.ravel() for matrix in b])
        cross.append(count * np.stack([matrix.ravel() @ flat.T for matrix in a]))
        self_terms.append([count * np.array([(m**2).sum() for m in side]) for side in (a, b)])
        random = seeds.generator(seed, "shuffled images", batch)
        sums = []
        for _ in range(min(shuffles, _NULLS)):
            order = random.permutation(count)
            moved = [matrix[np.ix_(order, order)].ravel() for matrix in a]
            sums.append(count * np.stack([row @ flat.T for row in moved]))
        shuffled.append(sums)
        progress(label, rows.stop, len(first.images))
    progress(label, len(first.images), len(first.images))
    products, left_own, right_own = (
        np.stack(terms) for terms in (cross, [a for a, _ in self_terms], [b for _, b in self_terms])
    )
    weights = seeds.generator(seed, "batches").multinomial(
        len(products), np.full(len(products), 1 / len(products)), _DRAWS
    )
    value = _ratio(products.sum(0), left_own.sum(0), right_own.sum(0))
    flat = np.sqrt(np.outer(left_own.sum(0), right_own.sum(0))) <= _FLAT
    low, high, null = (np.full(value.shape, np.nan) for _ in range(3))
    if len(products) > 1:
        draws = np.stack(
            [
                _ratio(*(np.tensordot(w, sums, 1) for sums in (products, left_own, right_own)))
                for w in weights
            ]
        )
        low, high = np.percentile(draws, (2.5, 97.5), axis=0)
    if shuffles:
        sums = np.array(shuffled).sum(0)
        nulls = [_ratio(total, left_own.sum(0), right_own.sum(0)) for total in sums]
        null = np.percentile(nulls, 95, axis=0)
    return Alignment(*(np.where(flat, np.nan, table) for table in (value, low, high, null)))


def _batches(
    first: View, second: View
) -> Iterator[tuple[slice, list[np.ndarray], list[np.ndarray]]]:
    """Yield the rows of each batch, and the Gram matrices of the layers of both networks."""
    from oip.network.forward import gram_matrices

    views = (first, second)
    size = max(view.network.activation_bytes() for view in views)
    both = [gram_matrices(view.network, view.images, view.layers, size) for view in views]
    for (rows, left), (_, right) in zip(*both, strict=True):
        yield rows, left, right


def _u_centered(gram: np.ndarray) -> np.ndarray:
    """Return a Gram matrix (n, n), centered so that products of two of them are unbiased.

    The sum over all pairs of i and j of the product of two such matrices is n (n - 3) times the
    estimate of the criterion, see Song et al., equation 5. Rows sum to 0, the diagonal is 0.
    """
    n = len(gram)
    values = gram.astype(np.float64)
    np.fill_diagonal(values, 0.0)
    means = values.sum(axis=0) / (n - 2)
    values += values.sum() / ((n - 1) * (n - 2)) - means - means[:, None]
    np.fill_diagonal(values, 0.0)
    return values / np.sqrt(n * (n - 3))


def _ratio(cross: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return CKA (rows, columns) of sums of the criterion; 0 for layers without any variance."""
    scale = np.sqrt(np.outer(left, right))
    return np.where(scale > _FLAT, cross / np.maximum(scale, _FLAT), 0.0)
