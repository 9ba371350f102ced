"""Squared Euclidean distances between responses: one matrix serves every kernel and class."""

from __future__ import annotations

import numpy as np

from mi.device import product
from oip.core.errors import SettingsError, expected

_MATRIX_BUDGET = 1 << 30
_COLUMN_BUDGET = 64 << 20
_ROUNDING = 1e-13
"""Distances under this share of the largest squared norm are rounding of equal points."""


def squared_distances(x: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances between the rows of x.

    Computed in float64 by matrix products of the centred data, some columns at a time, so that
    neither a common offset nor the width of x costs precision or memory.

    Args:
        x: (n, d), finite.

    Returns:
        (n, n) float64, symmetric, 0 or more, exactly 0 on the diagonal and between equal rows.

    Raises:
        SettingsError: n is too large for one matrix of 1 GiB.
    """
    n, d = x.shape
    if 8 * n * n > _MATRIX_BUDGET:
        most = int((_MATRIX_BUDGET // 8) ** 0.5)
        raise SettingsError(
            expected("distances between samples", f"at most {most} samples", n, "Use fewer.")
        )
    products = np.zeros((n, n))
    width = max(1, _COLUMN_BUDGET // (8 * max(n, 1)))
    for start in range(0, d, width):
        part = np.array(x[:, start : start + width], np.float64)
        part -= part.mean(axis=0)
        products += product(part, part.T)
    norms = np.diagonal(products).copy()
    distances = norms[:, None] + norms[None, :]
    products *= 2.0
    distances -= products
    distances[distances <= _ROUNDING * norms.max(initial=0.0)] = 0.0
    np.fill_diagonal(distances, 0.0)
    return distances


def median_squared_distance(distances: np.ndarray) -> float:
    """Median of the squared distances between different samples.

    Where more than half of them are 0 (a map that is mostly silent) it is the median of the others,
    so that it is 0 for a constant only.

    Args:
        distances: (n, n), symmetric.
    """
    pairs = np.concatenate([row[place + 1 :] for place, row in enumerate(distances)])
    if not pairs.size:
        return 0.0
    middle = float(np.median(pairs))
    if middle > 0:
        return middle
    positive = pairs[pairs > 0]
    return float(np.median(positive)) if positive.size else 0.0
