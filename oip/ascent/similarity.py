"""Do the starts of a map end in one pattern? Similarity that allows for small shifts, and its null.

The similarity of two images is the largest zero-padded normalised cross-correlation over shifts of
up to one pooled cell each way. A maximum over shifts is above zero for unrelated images too, hence
the null: the similarities to the OIPs of the layer's other maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from oip.ascent.alignment import largest_products
from oip.core.seeds import generator

_NEAR = 4
"""Pixels of reach up to which every shift is tried by itself; beyond, by Fourier transforms."""
_OTHERS = 256
_TOGETHER = 64
"""Maps that are compared at a time; fixed, so that the same maps give the same numbers."""
_LEAST_OTHERS = 8
_CLUSTER = 0.5


@dataclass(frozen=True)
class Stability:
    """Stability of m maps with k starts each."""

    within: np.ndarray
    """(m,): median similarity of the map's starts; NaN with one start."""
    percentile: np.ndarray
    """(m,): percentile (0-100) of `within` in the null; NaN with fewer than 8 other maps."""
    n_null: np.ndarray
    """(m,) int: similarities in the null; 0 with one start, which is compared with nothing."""
    clusters: np.ndarray
    """(m, k) int: 0 for the start whose cluster is the largest, 1 for the next, ...; -1 of maps
    without an OIP."""
    medoids: np.ndarray
    """(m, k) bool: the start that is most like the rest of its cluster."""


def similarity(left: np.ndarray, right: np.ndarray, reach: tuple[int, ...]) -> np.ndarray:
    """Similarity of every image of `left` to every image of `right`.

    Args:
        left: (..., p, h, w, b) images, mean about 0.
        right: (..., q, h, w, b).
        reach: largest shift along each spatial axis, in whole pixels; all up to it count.

    Returns:
        (..., p, q), between -1 and 1.
    """
    left = np.asarray(left, np.float32)
    right = np.asarray(right, np.float32)
    axes = len(reach)
    scale = _norm(left, axes)[..., :, None] * _norm(right, axes)[..., None, :]
    best = (largest_products if max(reach, default=0) > _NEAR else _near)(left, right, reach)
    return np.clip(best / np.where(scale > 0, scale, np.inf), -1.0, 1.0)


def reach(jump: Sequence[float] | None, sides: tuple[int, ...]) -> tuple[int, ...]:
    """Largest shift that similarity allows for: one pooled cell along each axis, in pixels.

    Args:
        jump: pixels from node to node of the layer; one where it is not known.
        sides: of the images.
    """
    steps = jump or (1.0,) * len(sides)
    return tuple(
        min(max(1, round(step)), side - 1) for step, side in zip(steps, sides, strict=True)
    )


def stability(
    images: np.ndarray, alive: np.ndarray, reach: tuple[int, ...], seed: int, layer: int
) -> Stability:
    """Within-map similarity of starts, against the other maps of the layer.

    Args:
        images: (m, k, h, w, b): standardised images, best start first.
        alive: (m,) bool: maps that have an OIP; the others have no stability and are in no null.
        reach: as for `similarity`.
        seed, layer: which other maps stand for the null where there are more than 256.
    """
    count, starts = images.shape[:2]
    within = np.full(count, np.nan)
    percentile = np.full(count, np.nan)
    n_null = np.zeros(count, np.int64)
    clusters = np.full((count, starts), -1)
    medoids = np.zeros((count, starts), bool)
    pairs = np.triu_indices(starts, 1)
    rows = np.flatnonzero(alive)
    if starts == 1:
        clusters[rows], medoids[rows] = 0, True
        return Stability(within, percentile, n_null, clusters, medoids)
    others = rows
    if len(rows) > _OTHERS:
        others = np.sort(generator(seed, "null", layer).choice(rows, _OTHERS, replace=False))
    peers = images[others, 0]
    for first in range(0, len(rows), _TOGETHER):
        block = rows[first : first + _TOGETHER]
        mutual = similarity(images[block], images[block], reach)
        beside = similarity(images[block, 0], peers, reach)
        for row, likeness, to_peers in zip(block, mutual, beside, strict=True):
            own = np.maximum(likeness, likeness.T)
            clusters[row], medoids[row] = _clustered(own)
            within[row] = np.median(own[pairs])
            null = to_peers[others != row]
            n_null[row] = len(null)
            if len(null) >= _LEAST_OTHERS:
                percentile[row] = 100.0 * np.mean(null < within[row])
    return Stability(within, percentile, n_null, clusters, medoids)


def _clustered(likeness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average-linkage clusters at a similarity of 0.5, the largest first, and their medoids."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    count = len(likeness)
    distance = 1.0 - likeness
    np.fill_diagonal(distance, 0.0)
    found = fcluster(
        linkage(squareform(distance, checks=False), "average"), 1.0 - _CLUSTER, "distance"
    )
    labels, first, sizes = np.unique(found, return_index=True, return_counts=True)
    order = sorted(range(len(labels)), key=lambda place: (-sizes[place], first[place]))
    numbers = np.zeros(count, np.int64)
    medoids = np.zeros(count, bool)
    for number, place in enumerate(order):
        members = np.flatnonzero(found == labels[place])
        numbers[members] = number
        medoids[members[np.argmax(likeness[np.ix_(members, members)].sum(1))]] = True
    return numbers, medoids


def _norm(images: np.ndarray, axes: int) -> np.ndarray:
    return np.sqrt((images**2).sum(axis=tuple(range(-axes - 1, 0))))


def _near(left: np.ndarray, right: np.ndarray, reach: tuple[int, ...]) -> np.ndarray:
    """(..., p, q): the largest product over all shifts, each tried by itself."""
    axes = len(reach)
    best = np.float32(-np.inf)
    for shift in product(*(range(-side, side + 1) for side in reach)):
        here, there = _overlap(left, shift, axes), _overlap(right, tuple(-s for s in shift), axes)
        best = np.maximum(best, here @ np.swapaxes(there, -1, -2))
    return np.asarray(best)


def _overlap(images: np.ndarray, shift: tuple[int, ...], axes: int) -> np.ndarray:
    """What is left of images moved by a shift, flattened: (..., p, pixels)."""
    sides = images.shape[-axes - 1 : -1]
    cut = tuple(
        slice(max(0, step), side + min(0, step)) for step, side in zip(shift, sides, strict=True)
    )
    part = images[(..., *cut, slice(None))]
    return part.reshape(*part.shape[: -axes - 1], -1)
