"""Sheets against the tiles that went in, and what is drawn again."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from oip.gallery.cache import Drawn, Store
from oip.gallery.images import Sheets


@pytest.fixture
def tiles():
    """300 images of 12 x 10 pixels, each of a brightness of its own."""
    values = np.arange(300, dtype=np.uint32) * 83 % 256
    return np.broadcast_to(values[:, None, None, None].astype(np.uint8), (300, 12, 10, 1)).copy()


def _sheets(folder, tiles, cell=(12, 10, True), old=None, keys=None):
    store = Store(folder, old)
    drawn = Drawn(old, "test")
    sheets = Sheets(store, drawn, cell, [[key] for key in keys or range(len(tiles))])
    for place, tile in enumerate(tiles):
        if tile is not None:
            sheets.put(place, tile)
        sheets.write_finished(place)
    drawn.write(store)
    return store, sheets


def test_sheet_holds_every_tile_in_its_place(tmp_path, tiles):
    given = [None if place == 257 else tile for place, tile in enumerate(tiles)]
    _sheets(tmp_path, given)
    found = sorted(path.name for path in (tmp_path / "img").iterdir())
    assert found == ["sheet-000.webp", "sheet-001.webp"]
    pixels = [np.asarray(Image.open(tmp_path / "img" / name).convert("L")) for name in found]
    assert pixels[0].shape == (16 * 12, 16 * 10)
    assert pixels[1].shape == (3 * 12, 16 * 10)
    for place, tile in enumerate(tiles):
        sheet, spot = divmod(place, 256)
        top, left = spot // 16 * 12, spot % 16 * 10
        cell = pixels[sheet][top : top + 12, left : left + 10]
        assert np.all(cell == (128 if place == 257 else tile[0, 0, 0]))


def test_large_tiles_shrink_to_their_cell(tmp_path):
    _sheets(tmp_path, [np.full((120, 240, 3), 200, np.uint8)], (48, 96, False))
    with Image.open(tmp_path / "img/sheet-000.webp") as found:
        assert found.size == (16 * 96, 48)
        assert abs(np.asarray(found)[:48, :96].mean() - 200) < 4


def test_only_sheets_of_changed_tiles_are_drawn(tmp_path, tiles):
    _sheets(tmp_path / "old", tiles)
    keys = [*range(299), "new"]
    store = Store(tmp_path / "new", tmp_path / "old")
    sheets = Sheets(store, Drawn(tmp_path / "old", "test"), (12, 10, True), [[key] for key in keys])
    assert [sheets.wants(place) for place in (0, 255, 256, 299)] == [False, False, True, True]
    assert (tmp_path / "new/img/sheet-000.webp").samefile(tmp_path / "old/img/sheet-000.webp")


def test_a_place_without_any_tile_leaves_no_sheet(tmp_path):
    store, _ = _sheets(tmp_path, [None, None])
    assert not list(tmp_path.glob("img/*")) and store.written == ["drawn.json"]
