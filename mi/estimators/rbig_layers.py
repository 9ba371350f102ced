"""Layers of a Gaussianization: marginal maps to Gaussian coordinates, then a rotation.

The total correlation that a layer removes is told by its rotation alone, since marginal maps change
none: sum_d H(before the rotation) - sum_d H(after), within the layer. Here a coordinate becomes the
normal scores of its ranks. That is fast, needs no inverse, and makes the entropies before the
rotation the same for all data.

References:
    V. Laparra, G. Camps-Valls, J. Malo: Iterative Gaussianization: from ICA to random rotations.
    IEEE Transactions on Neural Networks 22 (2011) 537. J. E. Johnson et al.: Information theory in
    density destructors. ICML workshop on invertible neural networks, 2019, eq. 7.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Literal

import numpy as np

from mi.estimators.rbig_marginal import bin_count, histogram_entropy, normal_scores
from mi.estimators.threads import each
from oip.core import seeds

Rotation = Literal["pca", "ica", "random"]
ROTATIONS = ("pca", "ica", "random")
_LEVELS = 65535


def rotation(kind: Rotation, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An orthogonal matrix (d, d) to be multiplied with rows (d, n) from the left.

    Args:
        kind: `pca`, the principal axes; `ica`, independent components of the whitened rows
            (FastICA); `random`, uniform over all rotations and reflections.
        rows: (d, n), a Gaussian coordinate each.
        rng: for `ica` and `random`.
    """
    d, n = rows.shape
    if kind == "random":
        basis, sizes = np.linalg.qr(rng.standard_normal((d, d)))
        return basis * np.sign(np.diagonal(sizes))
    sizes = np.sqrt((rows * rows).mean(axis=1))
    scaled = rows / sizes[:, None]
    squares, axes = np.linalg.eigh(scaled @ scaled.T / n)
    if kind == "pca" or d == 1:
        return axes.T
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    white = (axes / np.sqrt(np.maximum(squares, 1e-12))) @ axes.T @ scaled
    start = np.linalg.qr(rng.standard_normal((d, d)))[0]
    with warnings.catch_warnings():
        # Near the end there is nothing but noise to be found; any rotation will do then.
        warnings.simplefilter("ignore", ConvergenceWarning)
        rule = FastICA(max_iter=50, tol=1e-3, w_init=start)
        found = rule.set_params(whiten=False).fit(white.T).components_
    left, _, right = np.linalg.svd(found)
    return left @ right


def gaussianized(
    x: np.ndarray, layers: int, kind: Rotation, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """Total correlation that layers remove from x, in nats, and what they leave of x.

    The sum is too large by about layers x d x a bias of the entropies that depends on n alone:
    `expected_sums` has it for independent coordinates.

    Args:
        x: (n, d), finite. Equal values of a coordinate are put in a random order, so that a
            constant coordinate is independent of the others.
        layers: 1 or more.
        kind: of the rotations.
        rng: for ties and rotations.

    Returns:
        The sum over layers, and (n, d): normal scores of the coordinates after the last rotation.
    """
    n, d = x.shape
    scores = normal_scores(n)
    before = d * _ranked(scores[None])[1]
    rows = np.ascontiguousarray(x.T, np.float64)
    order = _random_ties(rows, rng)
    marginal = np.empty_like(rows)
    removed = 0.0
    for _ in range(layers if d > 1 else 0):
        _put(marginal, order, scores)
        order, after = _ranked(rotation(kind, marginal, rng) @ marginal)
        removed += before - after
    _put(marginal, order, scores)
    return removed, marginal.T


def expected_sums(n: int, d: int, layers: int, kind: Rotation, runs: int, seed: int) -> np.ndarray:
    """(runs,): the sum of `gaussianized` for column-permuted data, of as many runs.

    Ranks of permuted columns are random orders, whatever the data were. So the runs serve all data
    of this shape, and are kept.
    """
    made = each(lambda place: expected_sum(n, d, layers, kind, place, seed), range(runs))
    return np.array(made)


@lru_cache(maxsize=4096)
def expected_sum(n: int, d: int, layers: int, kind: Rotation, place: int, seed: int) -> float:
    """One of the runs of `expected_sums`."""
    rng = seeds.generator(seed, "rbig null", place)
    return gaussianized(rng.standard_normal((n, d)), layers, kind, rng)[0]


def _random_ties(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(d, n): the order of every row, that of equal values being random."""
    mixed = rng.permuted(np.tile(np.arange(rows.shape[1]), (len(rows), 1)), axis=1)
    order = np.argsort(np.take_along_axis(rows, mixed, axis=1), axis=1, kind="stable")
    return np.take_along_axis(mixed, order, axis=1)


def _ranked(rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Order of every row of (d, n), and the sum of their entropies in nats.

    Values are rounded to 1 / 65,535 of the row's range, far under the width of a histogram's bin:
    whole numbers of 16 bits are sorted eight times faster than floats.
    """
    low = rows.min(axis=1, keepdims=True)
    span = rows.max(axis=1, keepdims=True) - low
    keys = ((rows - low) * (_LEVELS / span)).astype(np.uint16)
    bins = bin_count(rows.shape[1])
    places = (keys.astype(np.int64) * bins) >> 16
    entropy = sum(
        histogram_entropy(np.bincount(row, minlength=bins), float(width[0]) / bins)
        for row, width in zip(places, span, strict=True)
    )
    return np.argsort(keys, axis=1, kind="stable"), entropy


def _put(marginal: np.ndarray, order: np.ndarray, scores: np.ndarray) -> None:
    for row, places in zip(marginal, order, strict=True):
        row[places] = scores
