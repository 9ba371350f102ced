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

from oip.core.seeds import generator

_BUDGET = 64 << 20
"""Bytes of the spectra that are held at a time."""


def correlations(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Normalised cross-correlation of two images over every shift, zero-padded.

    Args:
        left: (*sides, b), 0 where there is nothing.
        right: (*sides, b).

    Returns:
        (2 s - 1 along each axis): between -1 and 1; the centre is no shift, the entry `d` after it
        says how alike `right` is to `left` moved by `d` pixels.
    """
    sides = left.shape[:-1]
    shape = [2 * side - 1 for side in sides]
    axes = tuple(range(len(sides)))
    left, right = (one.astype(np.float64) for one in (left, right))  # half floats overflow in sums
    spectra = [np.fft.rfftn(one, shape, axes=axes) for one in (left, right)]
    product = (np.conj(spectra[0]) * spectra[1]).sum(-1)
    surface = np.fft.fftshift(np.fft.irfftn(product, shape, axes=axes), axes)
    scale = float(np.linalg.norm(left) * np.linalg.norm(right))
    return surface / scale if scale > 0 else np.zeros(shape)


def peak(surface: np.ndarray) -> tuple[float, np.ndarray]:
    """The largest of what `correlations` gives, and its shift in pixels, (axes,) int."""
    place = np.unravel_index(int(surface.argmax()), surface.shape)
    return float(surface[place]), np.array(place) - (np.array(surface.shape) - 1) // 2


def peak_near(surface: np.ndarray, shift: np.ndarray, slack: int = 1) -> float:
    """The largest of what `correlations` gives within `slack` pixels of a shift (axes,)."""
    centre = (np.array(surface.shape) - 1) // 2 + np.round(shift).astype(int)
    cut = tuple(
        slice(max(0, place - slack), max(0, place + slack + 1)) for place in centre.tolist()
    )
    part = surface[cut]
    return float(part.max()) if part.size else float("nan")


def largest_products(left: np.ndarray, right: np.ndarray, reach: Sequence[int]) -> np.ndarray:
    """The largest inner product of each image and each other one over all shifts up to `reach`.

    By Fourier transforms, of which only the shifts within reach are transformed back. Whatever the
    number of images, the memory beside them is bounded.

    Args:
        left: (..., p, *sides, b), 0 where there is nothing.
        right: (..., q, *sides, b).
        reach: largest shift along each axis, in pixels, below its side.

    Returns:
        (..., p, q) float32.
    """
    from scipy.fft import next_fast_len

    axes = len(reach)
    sides = left.shape[-axes - 1 : -1]
    needed = [side + far for side, far in zip(sides, reach, strict=True)]
    shape = [int(next_fast_len(one, real=True)) for one in needed]  # pyright: ignore
    back = [_back(length, far, half) for length, far, half in _lines(shape, reach)]
    numbers = (*shape[:-1], shape[-1] // 2 + 1, left.shape[-1])
    room = max(1, int(_BUDGET // (8 * np.prod(numbers)) // 2))
    before, (p, q) = left.shape[: -axes - 2], (left.shape[-axes - 2], right.shape[-axes - 2])
    found = np.empty((*before, p, q), np.float32)
    for group in np.ndindex(*before):
        for row, column in product(range(0, p, room), range(0, q, room)):
            ours = _spectra(left[group][row : row + room], shape)
            theirs = _spectra(right[group][column : column + room], shape)
            for place, one in enumerate(ours, row):
                surfaces = np.einsum("...b,q...b->q...", np.conj(one), theirs)
                for matrix in back:  # the first of the axes that are left, each time
                    surfaces = np.tensordot(surfaces, matrix, (1, 0))
                most = np.real(surfaces).reshape(len(theirs), -1).max(1)
                found[(*group, place, slice(column, column + room))] = most
    return found


def _spectra(images: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """(n, *frequencies, b) complex64 of images (n, *sides, b), padded with zeros."""
    axes = tuple(range(1, images.ndim - 1))
    return np.fft.rfftn(images.astype(np.float32), shape, axes=axes).astype(np.complex64)


def _lines(shape: Sequence[int], reach: Sequence[int]) -> list[tuple[int, int, bool]]:
    """Length and reach of each axis, and whether a real transform keeps half of it: the last."""
    last = len(shape) - 1
    pairs = zip(shape, reach, strict=True)
    return [(length, far, axis == last) for axis, (length, far) in enumerate(pairs)]


def _back(length: int, far: int, half: bool) -> np.ndarray:
    """(frequencies, 2 far + 1) complex64: what leads from a spectrum to the shifts within reach.

    Args:
        half: the spectrum of a real line, whose other half mirrors it: twice the real part counts.
    """
    frequencies = np.arange(length // 2 + 1 if half else length)
    turns = np.outer(frequencies, np.arange(-far, far + 1)) / length
    weights = np.ones(len(frequencies))
    if half:
        weights[1 : (length + 1) // 2] = 2.0
    return (weights[:, None] * np.exp(2j * np.pi * turns) / length).astype(np.complex64)


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


def image_similarity(left: np.ndarray, right: np.ndarray, reach: tuple[int, ...]) -> np.ndarray:
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


def shift_reach(jump: Sequence[float] | None, sides: tuple[int, ...]) -> tuple[int, ...]:
    """Largest shift that similarity allows for: one pooled cell along each axis, in pixels.

    Args:
        jump: pixels from node to node of the layer; one where it is not known.
        sides: of the images.
    """
    steps = jump or (1.0,) * len(sides)
    return tuple(
        min(max(1, round(step)), side - 1) for step, side in zip(steps, sides, strict=True)
    )


def start_stability(
    images: np.ndarray, alive: np.ndarray, reach: tuple[int, ...], seed: int, layer: int
) -> Stability:
    """Within-map similarity of starts, against the other maps of the layer.

    Args:
        images: (m, k, h, w, b): standardised images, best start first.
        alive: (m,) bool: maps that have an OIP; the others have no stability and are in no null.
        reach: as for `image_similarity`.
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
        mutual = image_similarity(images[block], images[block], reach)
        beside = image_similarity(images[block, 0], peers, reach)
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
