"""WebP files against the pixels that went in."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from oip.gallery.images import animation, cell_of, exact, factor, fitted, strip, webp


@pytest.mark.parametrize(
    ("size", "limit", "wanted"),
    [
        ((28, 28), 96, 3),
        ((32, 16), 96, 3),
        ((96, 96), 96, 1),
        ((60, 60), 96, 1),
        ((192, 4), 96, 0.5),
    ],
)
def test_factor(size, limit, wanted):
    assert factor(size, limit) == wanted


def test_small_images_grow_without_new_values():
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3)).astype(np.uint8)
    grown = fitted(image, 24)
    assert grown.shape == (21, 15, 3)
    assert np.array_equal(grown[1::3, 1::3], image)
    assert np.array_equal(grown[::3, 2::3], image)


def test_large_images_shrink_to_the_limit():
    assert fitted(np.zeros((300, 150, 3), np.uint8), 96).shape == (96, 48, 3)


def test_animation_shows_every_stage_and_holds_the_last():
    frames = [np.full((8, 8), value, np.uint8) for value in (0, 120, 250)]
    with Image.open(io.BytesIO(animation(frames, True))) as found:
        assert found.n_frames == 3
        shown, durations = [], []
        for place in range(3):
            found.seek(place)
            found.load()
            shown.append(int(np.asarray(found.convert("L")).mean()))
            durations.append(found.info["duration"])
    assert shown == [0, 120, 250]
    assert durations[-1] > durations[0] == durations[1]


def test_strip_and_lossless_webp_keep_pixels():
    images = np.random.default_rng(1).integers(0, 256, (4, 6, 5, 3)).astype(np.uint8)
    found = np.asarray(Image.open(io.BytesIO(webp(strip([images[:2], images[2:]]), True))))
    assert np.array_equal(found[6:, :5], images[2])
    assert np.array_equal(found[:6, 5:], images[1])


def test_exact():
    assert exact((28, 28)) and exact((48, 32)) and not exact((49, 10))


def test_cells_of_sheets():
    assert cell_of((28, 20)) == (28, 20, True)
    assert cell_of((240, 120)) == (96, 48, False)
    assert cell_of((60, 90)) == (60, 90, False)
