"""Similarity of patterns that allows for small shifts, and the stability of a map's starts.

The similarity of two images is the largest zero-padded normalized cross-correlation over shifts of
up to one pooled cell each way. A maximum over shifts is above zero for unrelated images too, hence
the null: the similarities to the OIPs of the layer's other maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from oip.core.seeds import generator

_NEAR = 4
"""Pixels of reach up to which every shift is tried by itself; beyond, by Fourier transforms."""
_PEERS = 256
_BLOCK = 64
"""Maps that are compared at a time; fixed, so that the same maps give the same numbers."""
LEAST_PEERS = 8
"""Other maps that a percentile needs."""
_CLUSTER = 0.5


def correlations(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the normalized cross-correlation of two images over every shift, zero-padded.

    Args:
        left: (*sides, b), 0 where there is nothing.
        right: (*sides, b).

    Returns:
        (2 s - 1 along each axis): between -1 and 1; the center is no shift, the entry `d` after it
        says how alike `right` is to `left` moved by `d` pixels.
    """
    sides = left.shape[:-1]
    shape = [2 * side - 1 for side in sides]
    axes = tuple(range(len(sides)))
    left, right = left.astype(np.float64), right.astype(np.float64)  # sums of float16 overflow
    spectra = [np.fft.rfftn(image, shape, axes=axes) for image in (left, right)]
    spectrum = (np.conj(spectra[0]) * spectra[1]).sum(-1)
    surface = np.fft.fftshift(np.fft.irfftn(spectrum, shape, axes=axes), axes)
    scale = float(np.linalg.norm(left) * np.linalg.norm(right))
    return surface / scale if scale > 0 else np.zeros(shape)


def correlation_peak(surface: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the largest of the `correlations`, and its shift in pixels, (axes,) int."""
    index = np.unravel_index(int(surface.argmax()), surface.shape)
    return float(surface[index]), np.array(index) - (np.array(surface.shape) - 1) // 2


def peak_near(surface: np.ndarray, shift: np.ndarray, slack: int = 1) -> float:
    """Return the largest of the `correlations` within `slack` pixels of a shift (axes,)."""
    center = (np.array(surface.shape) - 1) // 2 + np.round(shift).astype(int)
    neighborhood = surface[
        tuple(slice(max(0, i - slack), max(0, i + slack + 1)) for i in center.tolist())
    ]
    return float(neighborhood.max()) if neighborhood.size else float("nan")


def shift_reach(jump: Sequence[float] | None, sides: tuple[int, ...]) -> tuple[int, ...]:
    """Return the largest shift that similarity allows for: one pooled cell on each axis, in pixels.

    Args:
        jump: pixels from node to node of the layer; one where it is unknown.
        sides: of the images.
    """
    steps = jump or (1.0,) * len(sides)
    return tuple(
        min(max(1, round(step)), side - 1) for step, side in zip(steps, sides, strict=True)
    )


def image_similarity(
    left: np.ndarray, right: np.ndarray, reach: tuple[int, ...], byte_budget: int = 64 << 20
) -> np.ndarray:
    """Return the similarity of every image of `left` to every image of `right`.

    Args:
        left: (..., p, h, w, b) images, mean about 0.
        right: (..., q, h, w, b).
        reach: largest shift along each spatial axis, in whole pixels; all up to it count.
        byte_budget: of the spectra in memory at a time.

    Returns:
        (..., p, q), between -1 and 1.
    """
    left, right = np.asarray(left, np.float32), np.asarray(right, np.float32)
    axes = tuple(range(-len(reach) - 1, 0))
    sizes = [np.sqrt((images**2).sum(axis=axes)) for images in (left, right)]
    scale = sizes[0][..., :, None] * sizes[1][..., None, :]
    if max(reach, default=0) > _NEAR:
        best = _products_by_fourier(left, right, reach, byte_budget)
    else:
        best = _products_by_shift(left, right, reach)
    return np.clip(best / np.where(scale > 0, scale, np.inf), -1.0, 1.0)


def _products_by_shift(left: np.ndarray, right: np.ndarray, reach: tuple[int, ...]) -> np.ndarray:
    """Return (..., p, q): the largest inner product over all shifts."""
    axes = len(reach)
    best = np.float32(-np.inf)
    for shift in product(*(range(-side, side + 1) for side in reach)):
        left_part, right_part = (
            _overlap(left, shift, axes),
            _overlap(right, tuple(-s for s in shift), axes),
        )
        best = np.maximum(best, left_part @ np.swapaxes(right_part, -1, -2))
    return np.asarray(best)


def _overlap(images: np.ndarray, shift: tuple[int, ...], axes: int) -> np.ndarray:
    """Return the part of images that stays inside after a shift, flattened: (..., p, pixels)."""
    sides = images.shape[-axes - 1 : -1]
    cut = tuple(
        slice(max(0, step), side + min(0, step)) for step, side in zip(shift, sides, strict=True)
    )
    overlap = images[(..., *cut, slice(None))]
    return overlap.reshape(*overlap.shape[: -axes - 1], -1)


def _products_by_fourier(
    left: np.ndarray, right: np.ndarray, reach: tuple[int, ...], byte_budget: int
) -> np.ndarray:
    """Return (..., p, q) float32: the same by Fourier transforms, within a byte budget.

    Only the shifts within reach are transformed back.
    """
    from scipy.fft import next_fast_len

    axes = len(reach)
    sides = left.shape[-axes - 1 : -1]
    lengths = [side + shift for side, shift in zip(sides, reach, strict=True)]
    shape = [int(next_fast_len(length, real=True)) for length in lengths]  # pyright: ignore
    inverse = [
        _inverse_transform(
            length, shift, axis == axes - 1
        )  # a real transform keeps half of the last
        for axis, (length, shift) in enumerate(zip(shape, reach, strict=True))
    ]
    values = (*shape[:-1], shape[-1] // 2 + 1, left.shape[-1])
    room = max(1, int(byte_budget // (8 * np.prod(values)) // 2))
    groups, (p, q) = left.shape[: -axes - 2], (left.shape[-axes - 2], right.shape[-axes - 2])
    best = np.empty((*groups, p, q), np.float32)
    for group in np.ndindex(*groups):
        for row, column in product(range(0, p, room), range(0, q, room)):
            ours = _spectra(left[group][row : row + room], shape)
            theirs = _spectra(right[group][column : column + room], shape)
            for index, spectrum in enumerate(ours, row):
                surfaces = np.einsum("...b,q...b->q...", np.conj(spectrum), theirs)
                for matrix in inverse:  # each time the first of the axes that are left
                    surfaces = np.tensordot(surfaces, matrix, (1, 0))
                highest = np.real(surfaces).reshape(len(theirs), -1).max(1)
                best[(*group, index, slice(column, column + room))] = highest
    return best


def _spectra(images: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return (n, *frequencies, b) complex64 of images (n, *sides, b), padded with zeros."""
    axes = tuple(range(1, images.ndim - 1))
    return np.fft.rfftn(images.astype(np.float32), shape, axes=axes).astype(np.complex64)


def _inverse_transform(length: int, reach: int, half: bool) -> np.ndarray:
    """Return (frequencies, 2 reach + 1) complex64: from a spectrum to the shifts within reach.

    Args:
        half: the spectrum of a real line, whose other half mirrors it: twice the real part counts.
    """
    frequencies = np.arange(length // 2 + 1 if half else length)
    turns = np.outer(frequencies, np.arange(-reach, reach + 1)) / length
    weights = np.ones(len(frequencies))
    if half:
        weights[1 : (length + 1) // 2] = 2.0
    return (weights[:, None] * np.exp(2j * np.pi * turns) / length).astype(np.complex64)


@dataclass(frozen=True, eq=False, repr=False)
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


def start_stability(
    images: np.ndarray,
    alive: np.ndarray,
    reach: tuple[int, ...],
    seed: int,
    layer: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Stability:
    """Compute the similarity of each map's starts, against the other maps of the layer.

    Args:
        images: (m, k, h, w, b): standardized images, best start first.
        alive: (m,) bool: maps that have an OIP; the rest have no stability and are in no null.
        reach: as for `image_similarity`.
        seed, layer: of the draw of other maps for the null, where there are more than 256.
        report: receives how many maps are done, and how many there are.
    """
    count, starts = images.shape[:2]
    stability = np.full(count, np.nan)
    percentile = np.full(count, np.nan)
    n_null = np.zeros(count, np.int64)
    clusters = np.full((count, starts), -1)
    medoids = np.zeros((count, starts), bool)
    pairs = np.triu_indices(starts, 1)
    rows = np.flatnonzero(alive)
    if starts == 1:
        clusters[rows], medoids[rows] = 0, True
        return Stability(stability, percentile, n_null, clusters, medoids)
    peers = rows
    if len(rows) > _PEERS:
        peers = np.sort(generator(seed, "null", layer).choice(rows, _PEERS, replace=False))
    peer_images = images[peers, 0]
    for begin in range(0, len(rows), _BLOCK):
        block = rows[begin : begin + _BLOCK]
        mutual = image_similarity(images[block], images[block], reach)
        to_others = image_similarity(images[block, 0], peer_images, reach)
        for row, likeness, to_peers in zip(block, mutual, to_others, strict=True):
            similarity = np.maximum(likeness, likeness.T)
            clusters[row], medoids[row] = _clustered(similarity)
            stability[row] = np.median(similarity[pairs])
            null = to_peers[peers != row]
            n_null[row] = len(null)
            if len(null) >= LEAST_PEERS:
                percentile[row] = 100.0 * np.mean(null < stability[row])
        report(begin + len(block), len(rows))
    return Stability(stability, percentile, n_null, clusters, medoids)


def _clustered(likeness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return average-linkage clusters at similarity 0.5, the largest first, and their medoids."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    distance = 1.0 - likeness
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average")
    codes = fcluster(tree, 1.0 - _CLUSTER, "distance")
    labels, first_indices, sizes = np.unique(codes, return_index=True, return_counts=True)
    clusters = np.zeros(len(likeness), np.int64)
    medoids = np.zeros(len(likeness), bool)
    for cluster, label in enumerate(labels[np.lexsort((first_indices, -sizes))]):
        members = np.flatnonzero(codes == label)
        clusters[members] = cluster
        medoids[members[np.argmax(likeness[np.ix_(members, members)].sum(1))]] = True
    return clusters, medoids
