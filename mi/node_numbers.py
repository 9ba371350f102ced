"""Numbers of nodes over images: ranks, Cliff's delta, and the threshold of a map."""

from __future__ import annotations

import numpy as np

_ROUNDING = 1e-9


def class_weights(labels: np.ndarray) -> np.ndarray:
    """(n,): one over the number of images of the same class."""
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return 1.0 / counts[codes]


def quantile(values: np.ndarray, weights: np.ndarray, level: float) -> float:
    """Weighted quantile of the responses above zero, of values (n, d) and weights (n,); 0 if there
    are none, and at level 0."""
    image, _ = np.nonzero(values > 0)
    above = values[values > 0]
    if level == 0.0 or not above.size:
        return 0.0
    order = np.argsort(above, kind="stable")
    total = np.cumsum(weights[image][order])
    return float(above[order][np.searchsorted(total, (level - _ROUNDING) * total[-1])])


def centred_ranks(values: np.ndarray) -> np.ndarray:
    """(n, m, d): each node's ranks over the images, ties sharing their mean, less their mean."""
    from scipy.stats import rankdata

    return rankdata(values, axis=0) - (len(values) + 1) / 2


def cliffs_delta(ranks: np.ndarray, members: np.ndarray) -> np.ndarray:
    """(m, d): Cliff's delta from centred ranks: 2 (rank sum of the members) / (their pairs)."""
    pairs = members.sum() * (~members).sum()
    return np.clip(2.0 * ranks[members].sum(axis=0) / pairs, -1.0, 1.0)
