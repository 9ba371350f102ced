"""How far one image must be moved to lie on another, and how alike they then are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

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


def near(surface: np.ndarray, shift: np.ndarray, slack: int = 1) -> float:
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
