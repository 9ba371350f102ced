"""Neighbours and counts by the Chebyshev distance, in few dimensions by trees, in many by force."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_TREE_DIMENSIONS = 8
"""Above it a tree visits nearly every sample, and comparing all of them is quicker."""
_BUDGET = 32 << 20


def nearest(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the k-th neighbour (n,), and the places (n, k) of all k, the nearest first.

    Args:
        x: (n, d) float64.
        k: under n; a sample is no neighbour of its own.
    """
    if x.shape[1] <= _TREE_DIMENSIONS:
        from scipy.spatial import KDTree

        found = KDTree(x).query(x, k + 1, p=np.inf)
        far, places = np.asarray(found[0]), np.asarray(found[1])
        return far[:, -1], places[:, 1:]
    radius, places = np.empty(len(x)), np.empty((len(x), k), int)
    for rows, distances in _blocks(x, x):
        distances[np.arange(len(distances)), np.arange(rows.start, rows.stop)] = np.inf
        near = np.argpartition(distances, k - 1, axis=1)[:, :k]
        far = np.take_along_axis(distances, near, axis=1)
        order = np.argsort(far, axis=1)
        places[rows] = np.take_along_axis(near, order, axis=1)
        radius[rows] = far.max(axis=1)
    return radius, places


def nearest_of(points: np.ndarray, x: np.ndarray, k: int) -> np.ndarray:
    """(n,): distance of each row of x (n, d) to the k-th nearest of the points (m, d)."""
    if x.shape[1] <= _TREE_DIMENSIONS:
        from scipy.spatial import KDTree

        far = KDTree(points).query(x, k, p=np.inf)[0]
        return np.reshape(far, (len(x), k))[:, -1]
    result = np.empty(len(x))
    for rows, distances in _blocks(x, points):
        result[rows] = np.partition(distances, k - 1, axis=1)[:, k - 1]
    return result


def within(x: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """(n,) int: samples at most `radius` (n,) from each, itself among them.

    Args:
        x: (n, d) float64.
        radius: (n,); for what is nearer than r, give the float before r.
    """
    n, d = x.shape
    if d == 1:
        return _between(x[:, 0], radius)
    if d <= _TREE_DIMENSIONS:
        from scipy.spatial import KDTree

        tree = KDTree(x)
        return np.asarray(tree.query_ball_point(x, radius, p=np.inf, return_length=True))
    result = np.empty(n, int)
    for rows, distances in _blocks(x, x):
        result[rows] = (distances <= radius[rows, None]).sum(axis=1)
    return result


def chebyshev(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, m): largest difference of a coordinate, of rows of x (n, d) and y (m, d)."""
    result = np.abs(x[:, None, 0] - y[None, :, 0])
    for column in range(1, x.shape[1]):
        np.maximum(result, np.abs(x[:, None, column] - y[None, :, column]), out=result)
    return result


def _between(x: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """`within` on a line. x + radius is rounded, so that the ends are looked at once more."""
    ordered = np.concatenate([[-np.inf], np.sort(x), [np.inf]])
    high = np.searchsorted(ordered, x + radius, side="right") - 1
    high += ordered[np.minimum(high + 1, len(x) + 1)] - x <= radius
    high -= ordered[high] - x > radius
    low = np.searchsorted(ordered, x - radius, side="left")
    low -= x - ordered[np.maximum(low - 1, 0)] <= radius
    low += x - ordered[low] > radius
    return high - low + 1


def _blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of x and their distances to all of y, some rows at a time."""
    rows = max(1, _BUDGET // (8 * len(y)))
    for start in range(0, len(x), rows):
        part = slice(start, min(start + rows, len(x)))
        yield part, chebyshev(x[part], y)
