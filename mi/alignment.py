"""How alike the layers of two networks are: linear centered kernel alignment (CKA).

It is 1 for layers that are equal up to a turn and a scale [1]. It is debiased: the unbiased
estimate of the Hilbert-Schmidt independence criterion [2] is averaged over batches of images [3],
so that nothing larger than a batch is in memory, and layers that have nothing in common have 0 on
average, also where there are more nodes than images.

References:
    [1] S. Kornblith et al.: Similarity of neural network representations revisited. ICML 2019.
    [2] L. Song et al.: Feature selection via dependence maximization. JMLR 13 (2012) 1393,
    equation 5.
    [3] T. Nguyen, M. Raghu, S. Kornblith: Do wide and deep networks learn the same things? ICLR
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


class _Criterion(NamedTuple):
    """The criterion of pairs of layers in one batch, times its images; stacked for all batches."""

    cross: np.ndarray
    """(rows, columns): of each layer of the first network with each one of the second."""
    first: np.ndarray
    """(rows,): of each layer of the first network with itself."""
    second: np.ndarray
    """(columns,): of each layer of the second network with itself."""
    shuffled: np.ndarray
    """(shuffles, rows, columns): as `cross`, the images of the first network in random order."""


def layer_alignment(
    first: View, second: View, shuffles: int, seed: int, progress: Progress
) -> Alignment:
    """Return the CKA of all pairs of layers, from batches that both networks see alike."""
    criteria = []
    label = "layers compared"
    progress(label, 0, len(first.images))
    for batch_index, (rows, first_grams, second_grams) in enumerate(_batches(first, second)):
        if rows.stop - rows.start < _LEAST_BATCH:
            continue
        random = seeds.generator(seed, "shuffled images", batch_index)
        criteria.append(_criterion(first_grams, second_grams, min(shuffles, _NULLS), random))
        progress(label, rows.stop, len(first.images))
    progress(label, len(first.images), len(first.images))
    batches = _Criterion(*(np.stack(values) for values in zip(*criteria, strict=True)))
    cross, first_sum, second_sum = (values.sum(0) for values in batches[:3])
    value = _ratio(cross, first_sum, second_sum)
    low, high = _interval(batches, seed)
    null = np.full(value.shape, np.nan)
    if shuffles:
        sums = batches.shuffled.sum(0)
        null = np.percentile([_ratio(total, first_sum, second_sum) for total in sums], 95, axis=0)
    is_constant = np.sqrt(np.outer(first_sum, second_sum)) <= _FLAT
    tables = (value, low, high, null)
    return Alignment(*(np.where(is_constant, np.nan, table) for table in tables))


def _criterion(
    first_grams: list[np.ndarray],
    second_grams: list[np.ndarray],
    shuffles: int,
    random: np.random.Generator,
) -> _Criterion:
    """Return the criterion of all pairs of layers, from their Gram matrices of one batch."""
    first, second = ([_u_centered(gram) for gram in grams] for grams in (first_grams, second_grams))
    count = len(first[0])
    second_rows = np.stack([matrix.ravel() for matrix in second])

    def with_second(matrices: list[np.ndarray]) -> np.ndarray:
        return count * np.stack([matrix.ravel() @ second_rows.T for matrix in matrices])

    cross = with_second(first)
    shuffled = np.zeros((shuffles, *cross.shape))
    for shuffle in range(shuffles):
        order = random.permutation(count)
        shuffled[shuffle] = with_second([matrix[np.ix_(order, order)] for matrix in first])
    first_own, second_own = (
        count * np.array([(matrix**2).sum() for matrix in matrices]) for matrices in (first, second)
    )
    return _Criterion(cross, first_own, second_own, shuffled)


def _interval(batches: _Criterion, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends (rows, columns) of 95 % intervals; NaN if there is only one batch."""
    count = len(batches.cross)
    if count == 1:
        unknown = np.full(batches.cross.shape[1:], np.nan)
        return unknown, unknown
    weights = seeds.generator(seed, "batches").multinomial(count, np.full(count, 1 / count), _DRAWS)
    draws = [_ratio(*(np.tensordot(draw, values, 1) for values in batches[:3])) for draw in weights]
    low, high = np.percentile(draws, (2.5, 97.5), axis=0)
    return low, high


def _batches(
    first: View, second: View
) -> Iterator[tuple[slice, list[np.ndarray], list[np.ndarray]]]:
    """Yield the rows of each batch, and the Gram matrices of the layers of both networks."""
    from oip.network.forward import gram_matrices

    views = (first, second)
    size = max(view.network.activation_bytes() for view in views)
    gram_batches = [gram_matrices(view.network, view.images, view.layers, size) for view in views]
    for (rows, left), (_, right) in zip(*gram_batches, strict=True):
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
