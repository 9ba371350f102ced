"""Images as WebP: small ones enlarged by whole pixels and kept exact, large ones at quality 80."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oip.core.figures import shown

TILE = 96
"""Longest side of a tile, in pixels."""
COLUMNS = 16
"""Tiles in a row of a sheet."""
PER_SHEET = 256
FULL = 224
"""Longest side of an image on a map's page; small inputs are enlarged to about half of it."""
MOST_IN_A_ROW = 16
_FRAME_MILLISECONDS = 350
_LAST_MILLISECONDS = 1500


def factor(size: tuple[int, int], limit: int) -> float:
    """How much an image of (h, w) is enlarged (a whole number) or shrunk to fit into `limit`."""
    longest = max(size)
    return float(max(1, limit // longest)) if longest <= limit else limit / longest


def fitted(image: np.ndarray, limit: int) -> np.ndarray:
    """(h, w, b) uint8 to (h', w') or (h', w', 3) uint8 whose longer side fits into `limit`.

    Small images grow by whole pixels without smoothing, large ones are smoothed down.
    """
    from PIL import Image

    pixels = shown(image)
    scale = factor(image.shape[:2], limit)
    if scale >= 1:
        return np.repeat(np.repeat(pixels, int(scale), axis=0), int(scale), axis=1)
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def strip(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Equal images, row by row, as one picture without gaps."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)


def exact(size: tuple[int, int]) -> bool:
    """Whether an input of (h, w) is small enough for its pixels to be told apart."""
    return max(size) <= TILE // 2


def webp(path: Path, picture: np.ndarray, lossless: bool) -> None:
    """Writes one picture."""
    path.write_bytes(_encoded([picture], lossless))


def animation(path: Path, frames: Sequence[np.ndarray], lossless: bool) -> None:
    """Writes frames as an endless animation; the last one stays longest."""
    durations = [_FRAME_MILLISECONDS] * (len(frames) - 1) + [_LAST_MILLISECONDS]
    path.write_bytes(
        _encoded(frames, lossless, save_all=True, duration=durations, loop=0, minimize_size=False)
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


class Sheets:
    """Tiles in the order in which they come, 256 to a file `sheet-000.webp`.

    Small inputs are kept at their own size (the page enlarges them by whole pixels), so that the
    sheets of 10,000 maps of 28 x 28 pixels take 32 MB in a browser instead of 300.
    """

    def __init__(self, folder: Path, size: tuple[int, int]):
        self.lossless = exact(size)
        scale = 1.0 if self.lossless else min(1.0, TILE / max(size))
        self.cell = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        """(h, w) of a tile in the file."""
        self._folder = folder
        self._waiting: list[np.ndarray | None] = []
        self._written = 0

    def add(self, image: np.ndarray | None) -> None:
        """The next tile: (h, w, b) uint8, or None for a place that stays empty."""
        self._waiting.append(None if image is None else fitted_cell(image, self.cell))
        if len(self._waiting) == PER_SHEET:
            self.flush()

    def flush(self) -> None:
        """Writes what is waiting."""
        if not self._waiting:
            return
        height, width = self.cell
        depth = next((tile.shape[2:] for tile in self._waiting if tile is not None), ())
        rows = -(-len(self._waiting) // COLUMNS)
        sheet = np.full((rows * height, COLUMNS * width, *depth), 128, np.uint8)
        for place, tile in enumerate(self._waiting):
            if tile is not None:
                top, left = place // COLUMNS * height, place % COLUMNS * width
                sheet[top : top + height, left : left + width] = tile
        webp(self._folder / f"sheet-{self._written:03d}.webp", sheet, self.lossless)
        self._written += 1
        self._waiting = []


def fitted_cell(image: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """(h, w, b) uint8 as a tile of a sheet."""
    if image.shape[:2] == cell:
        return shown(image)
    return fitted(image, max(cell))
