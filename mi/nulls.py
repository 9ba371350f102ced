"""p-values from shuffled labels, and their adjustment for many maps."""

from __future__ import annotations

import numpy as np

ENOUGH = 1000
"""Shuffles of one map from which its own null says enough; with fewer, nulls are pooled."""
_TIE = 1e-12


def p_values(values: np.ndarray, null: np.ndarray) -> np.ndarray:
    """One-sided p-values of estimates against estimates from shuffled labels.

    With `ENOUGH` shuffles or with one map, a map is compared with its own shuffles:
    (1 + #{shuffled >= value}) / (1 + shuffles). With fewer the nulls of all maps are pooled: each
    map's null is standardised by its own mean and deviation, and the map's standardised value is
    compared with the shuffles of all maps. A shuffle is standardised by the others of its map, as
    the value is, else ten of them would be nearer to their mean than any value. The smallest
    p-value is then 1 / (1 + shuffles x maps). This takes the nulls of a layer to have one shape up
    to location and scale.

    Args:
        values: (m,) estimates.
        null: (shuffles, m) estimates of the same maps from shuffled labels.

    Returns:
        (m,) in (0, 1]; NaN where the value is NaN, and everywhere if there are no shuffles.
    """
    values, null = np.asarray(values, np.float64), np.asarray(null, np.float64)
    known = np.isfinite(values)
    result = np.full(len(values), np.nan)
    if not known.any() or not len(null):
        return result
    values, null = values[known], null[:, known]
    shuffles, maps = null.shape
    if shuffles >= ENOUGH or maps == 1:
        reached = (null >= values - _TIE * np.maximum(1.0, np.abs(values))).sum(axis=0)
        result[known] = (1 + reached) / (1 + shuffles)
        return result
    centre, spread = null.mean(axis=0), null.std(axis=0)
    flat = spread <= _TIE
    scale = np.where(flat, 1.0, spread)
    distances = null - centre
    if shuffles > 2:
        squares = (distances**2).sum(axis=0)
        without = squares - distances**2 * shuffles / (shuffles - 1)
        others = np.sqrt(np.maximum(without, _TIE * squares) / (shuffles - 2))
        distances = distances * np.sqrt(shuffles / (shuffles - 1))
        scale = np.where(flat, 1.0, spread * np.sqrt((shuffles + 1) / (shuffles - 1)))
    else:
        others = scale
    pooled = np.sort((distances / np.where(flat, 1.0, others))[:, ~flat], axis=None)
    standing = (values - centre) / scale
    reached = pooled.size - np.searchsorted(pooled, standing - _TIE)
    below = flat & (values <= centre + _TIE)
    alone = flat & ~below
    p = (1 + reached) / (1 + pooled.size)
    p[below] = 1.0
    p[alone] = 1 / (1 + shuffles)
    result[known] = p
    return result


def class_p_values(values: np.ndarray, null: np.ndarray) -> np.ndarray:
    """`p_values` of every class by itself.

    Args:
        values: (m, classes) estimates.
        null: (shuffles, m, classes) estimates from shuffled labels.

    Returns:
        (m, classes)
    """
    return np.stack(
        [p_values(values[:, code], null[:, :, code]) for code in range(values.shape[1])], axis=1
    )


def adjusted(p: np.ndarray) -> np.ndarray:
    """p-values adjusted for their number by Benjamini and Hochberg (1995), false discovery rate.

    Args:
        p: (m,); NaN is left out and stays NaN.

    Returns:
        (m,): the smallest rate at which each would be called a discovery.
    """
    p = np.asarray(p, np.float64)
    result = np.full(p.shape, np.nan)
    places = np.flatnonzero(np.isfinite(p))
    if places.size:
        order = places[np.argsort(p[places], kind="stable")]
        steps = p[order] * places.size / np.arange(1, places.size + 1)
        result[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return result
