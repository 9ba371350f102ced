"""Local permutations: shuffles of X among samples that are alike in Z, for I(X;Y|Z).

References:
    J. Runge: Conditional independence testing based on a nearest-neighbor estimator of conditional
    mutual information. AISTATS 2018.
"""

from __future__ import annotations

import numpy as np

from oip.core import seeds
from oip.mi.validation import Side

_PER_COEFFICIENT, _RIDGE = 6, 1e-6
"""Of local planes: samples for each coefficient; the ridge as a share of the trace."""
_NEAREST = 6
"""Samples nearest in Z, its own among them, from which a shuffle takes an x; Runge has 5 to 10."""


def local_orders(given: Side, shuffles: int, seed: int) -> np.ndarray:
    """Draw orders of the samples that put each where Z is the same or near.

    Within a class of Z any order is taken. Given numbers, the samples in a random order take one of
    their nearest in Z that none has taken yet, where there is one, so that I(X;Z) is kept and what
    is left of I(X;Y|Z) is destroyed.

    Returns:
        (shuffles, n) int: indices of samples.
    """
    draw = seeds.generator(seed, "conditional null")
    n = len(given)
    result = np.tile(np.arange(n), (shuffles, 1))
    if given.is_label:
        for code in range(given.values.max() + 1):
            members = np.flatnonzero(given.values == code)
            result[:, members] = draw.permuted(result[:, members], axis=1)
        return result
    near = _nearest(given.values, _NEAREST).tolist()
    for row in result:
        taken = np.zeros(n, bool)
        for sample in draw.permutation(n):
            choices = draw.permutation(near[sample])
            free = choices[~taken[choices]]
            row[sample] = free[0] if free.size else choices[-1]
            taken[row[sample]] = True
    return result


def local_means(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return E(X|Z) at every sample, (n, d), by a plane through the samples nearest in Z.

    `x` is (n, d) and `z` (n, columns).

    The sample itself has no part in it. Shuffles then move only what is left of x, so that a
    neighbor that is not quite as near in Z leaves E(X|Z) as it is.
    """
    n, count = len(z), _PER_COEFFICIENT * (z.shape[1] + 1)
    if n <= count + 1:
        return np.tile(x.mean(axis=0), (n, 1))
    near = _nearest(z, count + 1)[:, 1:]
    scaled = z / _spread(z)
    offsets = scaled[near] - scaled[:, None]
    distances = np.linalg.norm(offsets, axis=2)
    farthest = np.maximum(distances.max(axis=1, keepdims=True), np.finfo(float).tiny)
    weights = (1.0 - (0.999 * distances / farthest) ** 3) ** 3
    design = np.concatenate([np.ones((n, count, 1)), offsets], axis=2)
    weighted = design * weights[..., None]
    squares = weighted.transpose(0, 2, 1) @ design
    ridge = _RIDGE * np.trace(squares, axis1=1, axis2=2)[:, None, None]
    squares += ridge * np.eye(squares.shape[1])
    return np.linalg.solve(squares, weighted.transpose(0, 2, 1) @ x[near])[:, 0]


def _nearest(z: np.ndarray, count: int) -> np.ndarray:
    """Return the samples (n, count) nearest to each, itself first, all columns on one scale."""
    from scipy.spatial import KDTree

    scaled = z / _spread(z)
    _, nearest = KDTree(scaled).query(scaled, min(count, len(z)))
    return np.asarray(nearest).reshape(len(z), -1)


def _spread(z: np.ndarray) -> np.ndarray:
    deviation = z.std(axis=0)
    return np.where(deviation > 0, deviation, 1.0)
