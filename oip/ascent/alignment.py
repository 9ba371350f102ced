"""How far one image must be moved to lie on another, and how alike they then are."""

from __future__ import annotations

import numpy as np


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
