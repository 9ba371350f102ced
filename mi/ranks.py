"""Ranks of maps and how sure they are."""

from __future__ import annotations

import numpy as np

from mi.estimators.results import LEVEL, MapEstimates


def ranks(estimates: MapEstimates, ordered: bool) -> np.ndarray:
    """(m,) int: 1 for the most informative map; equal ones in the order given.

    Args:
        estimates: of the maps of a layer; NaN ranks last.
        ordered: estimates at their ceiling differ by what they are worth. If not, they share the
            first places in the order given.
    """
    result = np.empty(len(estimates.raw), int)
    order = np.argsort(-_compared(estimates.raw, estimates, ordered), kind="stable")
    result[order] = np.arange(1, len(order) + 1)
    return result


def rank_intervals(estimates: MapEstimates, ordered: bool) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest rank of each map in 95 % of the draws, (m,) int each.

    A draw resamples the images in the same way for all maps, so that what they share does not blur
    their order. Maps that are equal in a draw all have the first to the last of their places in it.

    Returns:
        First and last rank; the map's own rank lies between them. Without draws nothing is known:
        the first and the last place.
    """
    own = ranks(estimates, ordered)
    if not len(estimates.draws):
        return np.ones_like(own), np.full_like(own, len(own))
    drawn = _compared(estimates.draws, estimates, ordered)
    first = np.empty(drawn.shape)
    last = np.empty(drawn.shape)
    for place, row in enumerate(drawn):
        upward = np.sort(-row)
        first[place] = np.searchsorted(upward, -row, side="left") + 1
        last[place] = np.searchsorted(upward, -row, side="right")
    low = np.quantile(first, (1 - LEVEL) / 2, axis=0, method="lower").astype(int)
    high = np.quantile(last, (1 + LEVEL) / 2, axis=0, method="higher").astype(int)
    return np.minimum(low, own), np.maximum(high, own)


def _compared(values: np.ndarray, estimates: MapEstimates, ordered: bool) -> np.ndarray:
    """(..., m): values under 0 are as good as 0, maps without a number come after all."""
    shown = np.where(np.isfinite(values), np.maximum(values, 0.0), -1.0)
    return shown if ordered else np.where(estimates.saturated, np.inf, shown)
