"""How well two orders of the same maps agree."""

from __future__ import annotations

import numpy as np

_FEWEST = 3


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two values a map; equal values share their mean rank.

    Args:
        first, second: (m,); maps that are NaN in one of them are left out.

    Returns:
        -1 to 1; NaN of fewer than three maps, or where one of them is constant.
    """
    return _correlation("spearmanr", first, second)


def kendall(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b: pairs of maps in the same order less those in the other, ties allowed for.

    Args:
        first, second: (m,); maps that are NaN in one of them are left out.

    Returns:
        -1 to 1; NaN of fewer than three maps, or where one of them is constant.

    References:
        M. G. Kendall: The treatment of ties in ranking problems. Biometrika 33 (1945) 239.
    """
    return _correlation("kendalltau", first, second)


def _correlation(kind: str, first: np.ndarray, second: np.ndarray) -> float:
    from scipy import stats

    known = np.isfinite(first) & np.isfinite(second)
    a, b = np.asarray(first)[known], np.asarray(second)[known]
    if len(a) < _FEWEST or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(getattr(stats, kind)(a, b)[0])
