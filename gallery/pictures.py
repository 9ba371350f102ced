"""Images as WebP: small ones enlarged by whole pixels and kept exact, large ones at quality 80."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from oip.core.figures import shown

TILE = 96
"""Longest side of a tile, in pixels."""
FULL = 224
"""Longest side of an image on a map's page; small inputs are enlarged to about half of it."""
STAGE = 128
"""Longest side of an image on its way."""
MOST_IN_A_ROW = 16
_FRAME_MILLISECONDS = 350
_LAST_MILLISECONDS = 1500


def size_of(info: dict[str, Any]) -> tuple[int, int]:
    """(h, w) that a run's input is shown with.

    A line of numbers, (length, bands) or (1, length, bands), is shown as a strip, a quarter as high
    as it is long.
    """
    *rows, width = (int(side) for side in info["input"]["shape"][:-1])
    height = rows[0] if rows else 1
    return (_strip_height(width) if height == 1 else height), width


def _strip_height(width: int) -> int:
    return max(1, width // 4)


def factor(size: tuple[int, int], limit: int) -> float:
    """How much an image of (h, w) is enlarged (a whole number) or shrunk to fit into `limit`."""
    longest = max(size)
    return float(max(1, limit // longest)) if longest <= limit else limit / longest


def fitted(image: np.ndarray, limit: int) -> np.ndarray:
    """(h, w, b) uint8 to (h', w') or (h', w', 3) uint8 whose longer side fits into `limit`.

    Small images grow by whole pixels without smoothing, large ones are smoothed down. One row grows
    to the strip that `size_of` speaks of.
    """
    from PIL import Image

    pixels = shown(image)
    rows, columns = image.shape[:2]
    scale = factor((rows, columns), limit)
    if scale >= 1:
        pixels = np.repeat(np.repeat(pixels, int(scale), axis=0), int(scale), axis=1)
    else:
        sides = (max(1, round(columns * scale)), max(1, round(rows * scale)))
        pixels = np.asarray(Image.fromarray(pixels).resize(sides, Image.Resampling.LANCZOS))
    if rows == 1:
        height = max(1, round(_strip_height(columns) * scale))
        pixels = np.repeat(pixels[:1], height, axis=0)
    return pixels


def strip(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Equal images, row by row, as one picture without gaps."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)


def exact(size: tuple[int, int]) -> bool:
    """Whether an input of (h, w) is small enough for its pixels to be told apart."""
    return max(size) <= TILE // 2


def webp(picture: np.ndarray, lossless: bool) -> bytes:
    """One picture, (h, w) or (h, w, 3) uint8."""
    return _encoded([picture], lossless)


def animation(frames: Sequence[np.ndarray], lossless: bool) -> bytes:
    """Frames as an endless animation; the last one stays longest."""
    durations = [_FRAME_MILLISECONDS] * (len(frames) - 1) + [_LAST_MILLISECONDS]
    return _encoded(
        frames, lossless, save_all=True, duration=durations, loop=0, minimize_size=False
    )


def _encoded(frames: Sequence[np.ndarray], lossless: bool, **options: Any) -> bytes:
    from PIL import Image

    # Method 0 is the fast one. On enlarged pixels it is also as small as the slow ones.
    quality = {"lossless": True, "quality": 20} if lossless else {"quality": 80}
    first, *others = (Image.fromarray(frame) for frame in frames)
    if others:
        options["append_images"] = others
    stream = io.BytesIO()
    first.save(stream, "WEBP", method=0, **quality, **options)
    return stream.getvalue()


def cell_of(size: tuple[int, int]) -> tuple[int, int, bool]:
    """(h, w) of a tile in a sheet for an input of (h, w), and whether it is kept to the pixel."""
    lossless = exact(size)
    scale = 1.0 if lossless else min(1.0, TILE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale)), lossless


def fitted_cell(image: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """(h, w, b) uint8 as a tile of a sheet."""
    if image.shape[:2] == cell:
        return shown(image)
    return fitted(image, max(cell))


def with_rows(images: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Images of an input of `shape`, lines (..., length, bands) as one row: (..., h, w, bands)."""
    return images[..., None, :, :] if len(shape) == 2 else images
