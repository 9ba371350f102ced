"""The few directions of responses that tell something, fitted without the samples that use them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

MOST = 3
"""Directions that are kept by default."""
_RIDGE = 1e-3
"""Added to a covariance, as a share of its mean variance."""


def crossfitted(
    x: np.ndarray, y: np.ndarray, most: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield both halves of the samples, along directions that are fitted to the other half.

    Directions of x (n, d) are Fisher's for a label y (n,) int, canonical ones for numbers y (n,
    dy), which are projected, too. Since a half has no part in its own directions, they show nothing
    that is not there. The halves do not depend on y, nor on the order of samples.

    Yields:
        The samples of a half (k,) int, its x (k, r), and its y: labels, or numbers (k, r).
    """
    turns = np.argsort(np.lexsort(x.T), kind="stable") % 2
    for half in range(2):
        rows, fitted = np.flatnonzero(turns == half), np.flatnonzero(turns != half)
        if y.ndim == 1:
            axes = fisher_directions(x[fitted], y[fitted], most)
            yield rows, x[rows] @ axes, y[rows]
        else:
            left, right = canonical_directions(x[fitted], y[fitted], most)
            yield rows, x[rows] @ left, y[rows] @ right


def fisher_directions(x: np.ndarray, codes: np.ndarray, most: int) -> np.ndarray:
    """Return axes (d, r) along which class means differ most against the spread within classes.

    r is at most one less than there are classes (R. A. Fisher, Annals of Eugenics 7 (1936) 179).
    """
    from scipy.linalg import eigh

    labels = np.unique(codes, return_inverse=True)[1]
    counts = np.bincount(labels)
    means = np.stack([x[labels == label].mean(axis=0) for label in range(len(counts))])
    between = np.cov(means.T, fweights=counts, bias=True).reshape(x.shape[1], -1)
    axes = eigh(between, _covariance(x - means[labels]))[1]
    count = max(1, min(most, len(counts) - 1, x.shape[1]))
    return axes[:, ::-1][:, :count]


def canonical_directions(x: np.ndarray, y: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return axes (dx, r) and (dy, r) along which x and y correlate most.

    (H. Hotelling, Biometrika 28 (1936) 321.)
    """
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    of_x, of_y = (np.linalg.inv(np.linalg.cholesky(_covariance(side))) for side in (x, y))
    left, _, right = np.linalg.svd(of_x @ (x.T @ y / len(x)) @ of_y.T, full_matrices=False)
    return of_x.T @ left[:, :most], of_y.T @ right[:most].T


def _covariance(centered: np.ndarray) -> np.ndarray:
    """Return the covariance (d, d) of centered samples with a ridge, so that it has an inverse."""
    squares = centered.T @ centered / len(centered)
    mean = float(np.trace(squares)) / len(squares)
    return squares + (_RIDGE * mean or 1.0) * np.eye(len(squares))
