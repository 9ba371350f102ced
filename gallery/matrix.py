"""The redundancies of a layer's maps as a picture."""

from __future__ import annotations

import numpy as np

from gallery.evidence import Redundancy

_SIDE = 448
_RAMP = np.array(
    [(244, 246, 247), (176, 210, 220), (72, 152, 177), (11, 98, 125), (5, 42, 56)], np.float64
)
"""Little to much: lighter to darker, so that it reads without colour."""
_OWN = (214, 178, 120)
_UNKNOWN = (255, 255, 255)


def alike_order(shared: np.ndarray) -> np.ndarray:
    """(m,) places: maps that share much stand side by side (average-linkage clusters).

    Args:
        shared: (m, m) symmetric; NaN where unknown.
    """
    count = len(shared)
    if count < 3 or not np.isfinite(shared).any():
        return np.arange(count)
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    most = np.nanmax(shared)
    distance = np.where(np.isfinite(shared), most - shared, most - np.nanmin(shared))
    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=count <= 300)
    return leaves_list(tree)


def matrix_picture(redundancy: Redundancy) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """A picture of the pairs by the first measure.

    Returns:
        (h, w, 3) uint8 of about 448 pixels, or one pixel a map; (m,) the maps in its order; the
        values of its lightest and its darkest tone.
    """
    shared = redundancy.shared
    order = alike_order(shared)
    values = shared[np.ix_(order, order)]
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0, 0)
    share = np.where(known, (values - low) / ((high - low) or 1.0), 0.0)
    stops = np.linspace(0.0, 1.0, len(_RAMP))
    pixels = np.stack([np.interp(share, stops, _RAMP[:, band]) for band in range(3)], axis=-1)
    pixels[~known] = _UNKNOWN
    places = np.arange(len(order))
    pixels[places, places] = _OWN
    scale = max(1, _SIDE // max(len(order), 1))
    big = np.repeat(np.repeat(pixels, scale, axis=0), scale, axis=1)
    return (big + 0.5).astype(np.uint8), redundancy.maps[order], (low, high)
