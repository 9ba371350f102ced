"""WebP files against the pixels that went in."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from oip.gallery.cache import PictureKeys, Store
from oip.gallery.images import Sheets, cell_of, exact, factor, resized, strip, webp


@pytest.mark.parametrize(
    ("size", "limit", "expected"),
    [
        ((28, 28), 96, 3),
        ((32, 16), 96, 3),
        ((96, 96), 96, 1),
        ((60, 60), 96, 1),
        ((192, 4), 96, 0.5),
    ],
)
def test_factor(size, limit, expected):
    assert factor(size, limit) == expected


def test_small_images_grow_without_new_values():
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3)).astype(np.uint8)
    grown = resized(image, 24)
    assert grown.shape == (21, 15, 3)
    assert np.array_equal(grown[1::3, 1::3], image)
    assert np.array_equal(grown[::3, 2::3], image)


def test_large_images_shrink_to_the_limit():
    assert resized(np.zeros((300, 150, 3), np.uint8), 96).shape == (96, 48, 3)


def test_strip_and_lossless_webp_keep_pixels():
    images = np.random.default_rng(1).integers(0, 256, (4, 6, 5, 3)).astype(np.uint8)
    pixels = np.asarray(Image.open(io.BytesIO(webp(strip([images[:2], images[2:]]), True))))
    assert np.array_equal(pixels[6:, :5], images[2])
    assert np.array_equal(pixels[:6, 5:], images[1])


def test_exact():
    assert exact((28, 28)) and exact((48, 32)) and not exact((49, 10))


def test_cells_of_sheets():
    assert cell_of((28, 20)) == (28, 20, True)
    assert cell_of((240, 120)) == (96, 48, False)
    assert cell_of((60, 90)) == (60, 90, False)


@pytest.fixture
def tiles():
    """300 images of 12 x 10 pixels, each of a brightness of its own."""
    values = np.arange(300, dtype=np.uint32) * 83 % 256
    return np.broadcast_to(values[:, None, None, None].astype(np.uint8), (300, 12, 10, 1)).copy()


def _sheets(folder, tiles, cell=(12, 10, True), old=None, keys=None):
    store = Store(folder, old)
    drawn = PictureKeys(old, "test")
    sheets = Sheets(store, drawn, cell, [[key] for key in keys or range(len(tiles))])
    for index, tile in enumerate(tiles):
        if tile is not None:
            sheets.put(index, tile)
        sheets.write_finished(index)
    drawn.write(store)
    return store, sheets


def test_sheet_holds_every_tile_in_its_place(tmp_path, tiles):
    given = [None if index == 257 else tile for index, tile in enumerate(tiles)]
    _sheets(tmp_path, given)
    names = sorted(path.name for path in (tmp_path / "img").iterdir())
    assert names == ["sheet-000.webp", "sheet-001.webp"]
    pixels = [np.asarray(Image.open(tmp_path / "img" / name).convert("L")) for name in names]
    assert pixels[0].shape == (16 * 12, 16 * 10)
    assert pixels[1].shape == (3 * 12, 16 * 10)
    for index, tile in enumerate(tiles):
        sheet, spot = divmod(index, 256)
        top, left = spot // 16 * 12, spot % 16 * 10
        cell = pixels[sheet][top : top + 12, left : left + 10]
        assert np.all(cell == (128 if index == 257 else tile[0, 0, 0]))


def test_large_tiles_shrink_to_their_cell(tmp_path):
    _sheets(tmp_path, [np.full((120, 240, 3), 200, np.uint8)], (48, 96, False))
    with Image.open(tmp_path / "img/sheet-000.webp") as sheet:
        assert sheet.size == (16 * 96, 48)
        assert abs(np.asarray(sheet)[:48, :96].mean() - 200) < 4


def test_only_sheets_of_changed_tiles_are_drawn(tmp_path, tiles):
    _sheets(tmp_path / "old", tiles)
    keys = [*range(299), "new"]
    store = Store(tmp_path / "new", tmp_path / "old")
    sheets = Sheets(
        store, PictureKeys(tmp_path / "old", "test"), (12, 10, True), [[key] for key in keys]
    )
    assert [sheets.wants(position) for position in (0, 255, 256, 299)] == [False, False, True, True]
    assert (tmp_path / "new/img/sheet-000.webp").samefile(tmp_path / "old/img/sheet-000.webp")


def test_a_place_without_any_tile_leaves_no_sheet(tmp_path):
    store, _ = _sheets(tmp_path, [None, None])
    assert not list(tmp_path.glob("img/*")) and store.written == ["drawn.json"]
