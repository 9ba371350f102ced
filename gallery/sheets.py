"""Sheets: the tiles of the grid, 256 to a file, in the order of the default view."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from gallery.drawn import Drawn
from gallery.pictures import fitted_cell, webp
from gallery.store import Store

COLUMNS = 16
"""Tiles in a row of a sheet."""
PER_SHEET = 256
_EMPTY = 128


class Sheets:
    """Files `img/sheet-000.webp`; those whose tiles have not changed are taken over.

    Small inputs are kept at their own size (the page enlarges them by whole pixels), so that the
    sheets of 10,000 maps of 28 x 28 pixels take 32 MB in a browser instead of 300.
    """

    def __init__(
        self, store: Store, drawn: Drawn, cell: tuple[int, int, bool], tiles: Sequence[Any]
    ):
        """
        Args:
            store: where to.
            drawn: what the old sheets were drawn from.
            cell: (h, w) of a tile in a file, and whether it is kept to the pixel.
            tiles: for each place what its tile is drawn from.
        """
        self._store = store
        self.cell = cell[:2]
        self._lossless = cell[2]
        self._count = len(tiles)
        self._open: set[int] = set()
        self._pixels: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()
        for number in range(-(-len(tiles) // PER_SHEET)):
            part = tiles[number * PER_SHEET : (number + 1) * PER_SHEET]
            same = drawn.note(f"sheet-{number:03d}", drawn.key(*part))
            if not (same and store.keep(_name(number))):
                self._open.add(number)

    def wants(self, place: int) -> bool:
        """Whether a place's sheet has to be drawn."""
        return place // PER_SHEET in self._open

    def put(self, place: int, image: np.ndarray) -> None:
        """Draws a tile, (h, w, b) uint8, at its place; threads may do so at the same time."""
        number, spot = divmod(place, PER_SHEET)
        if number not in self._open:
            return
        height, width = self.cell
        tile = fitted_cell(image, self.cell)
        with self._lock:
            if number not in self._pixels:
                rows = -(-min(PER_SHEET, self._count - number * PER_SHEET) // COLUMNS)
                shape = (rows * height, COLUMNS * width, *tile.shape[2:])
                self._pixels[number] = np.full(shape, _EMPTY, np.uint8)
        top, left = spot // COLUMNS * height, spot % COLUMNS * width
        self._pixels[number][top : top + height, left : left + width] = tile

    def write_finished(self, last: int) -> None:
        """Writes the sheets that are full, or that end, when all places up to `last` are drawn."""
        for number in sorted(self._open):
            if last + 1 < min((number + 1) * PER_SHEET, self._count):
                break
            pixels = self._pixels.pop(number, None)
            if pixels is not None:
                self._store.write(_name(number), webp(pixels, self._lossless))
            self._open.discard(number)


def _name(number: int) -> str:
    return f"img/sheet-{number:03d}.webp"
