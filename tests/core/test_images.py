"""Renderings of images."""

from __future__ import annotations

import numpy as np

from oip.core.images import enhanced, plain, png, shown


def test_renderings_use_the_full_range_and_stand_nan():
    image = np.random.default_rng(0).normal(size=(8, 8, 1))
    assert (plain(image).min(), plain(image).max()) == (0, 255)
    assert (enhanced(image) == 0).sum() >= 2
    assert plain(np.full((4, 4, 1), np.nan)).shape == (4, 4, 1)
    assert np.ptp(plain(np.ones((4, 4, 3)))) == 0


def test_any_number_of_bands_can_be_shown():
    for bands, shape in ((1, (5, 4)), (2, (5, 4, 3)), (3, (5, 4, 3)), (7, (5, 4, 3))):
        assert shown(np.zeros((5, 4, bands), np.uint8)).shape == shape
    assert png(np.zeros((5, 4, 1), np.uint8), 50).startswith(b"\x89PNG")
