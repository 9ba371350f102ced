"""Renderings of images."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from oip.core.images import (
    LINE_SIZE,
    as_input,
    batches_of,
    displayable,
    enhanced,
    is_line,
    line_picture,
    picture_ends,
    picture_of,
    plain,
    png,
    stretches,
    true_colors,
)


def test_renderings_use_the_full_range_and_stand_nan():
    image = np.random.default_rng(0).normal(size=(8, 8, 1))
    assert (plain(image).min(), plain(image).max()) == (0, 255)
    assert (enhanced(image) == 0).sum() >= 2
    assert plain(np.full((4, 4, 1), np.nan)).shape == (4, 4, 1)
    assert np.ptp(plain(np.ones((4, 4, 3)))) == 0


def test_any_number_of_bands_can_be_shown():
    for bands, shape in ((1, (5, 4)), (2, (5, 4, 3)), (3, (5, 4, 3)), (7, (5, 4, 3))):
        assert displayable(np.zeros((5, 4, bands), np.uint8)).shape == shape
    assert png(np.zeros((5, 4, 1), np.uint8), 50).startswith(b"\x89PNG")


CAFFE = np.array([103.939, 116.779, 123.68])


@pytest.mark.parametrize(
    ("mean", "std", "bgr", "ends"),
    [
        ([124.0, 116.0, 104.0], [58.0, 57.0, 57.0], False, (0.0, 255.0)),
        ([0.48, 0.46, 0.41], [0.23, 0.22, 0.23], False, (0.0, 1.0)),
        ([0.0, 0.0, 0.0], [0.5, 0.5, 0.5], False, (-1.0, 1.0)),
        ([0.0, 0.0, 0.0], [57.4, 57.1, 58.4], True, (-CAFFE, 255 - CAFFE)),
        ([5.0, 5.0, 5.0], [2.0, 2.0, 2.0], False, None),
        ([0.45], [0.2], False, None),
    ],
)
def test_mean_and_deviation_say_what_black_and_white_are(mean, std, bgr, ends):
    computed = picture_ends(np.array(mean), np.array(std), bgr)
    if ends is None:
        assert computed is None
    else:
        np.testing.assert_allclose(computed, [np.broadcast_to(end, 3) for end in ends])


def test_known_ranges_are_taken_as_they_are():
    low, high = picture_ends(np.array([0.1]), np.array([0.3]), low=0.0, high=1.0)
    np.testing.assert_array_equal([low, high], [[0.0], [1.0]])


def test_true_colors_are_the_pixels_of_the_picture():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3))
    mean, std = np.array([124.0, 116.0, 104.0]), np.array([58.0, 57.0, 57.0])
    standardized = ((pixels - mean) / std).astype(np.float16)
    np.testing.assert_array_equal(true_colors(standardized, mean, std), pixels)
    assert true_colors(standardized * 2, mean, std) is None
    assert true_colors(standardized[..., :1], mean[:1], std[:1]) is None


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_a_stretch_of_what_is_seen_gives_the_enhanced_picture(factor):
    mean, std = np.array([120.0, 110.0, 100.0]), np.array([60.0, 62.0, 64.0])
    pixels = np.random.default_rng(2).integers(20, 200, (30, 30, 3))
    image = (pixels - mean) / std * factor
    true = true_colors(image, mean, std)
    assert (true is None) == (factor > 1)
    shown = (plain(image) if true is None else true) / 255
    slopes, intercepts = stretches(image, mean, std)
    stretched = np.clip(shown * slopes + intercepts, 0, 1) * 255
    assert np.abs(stretched - enhanced(image)).max() < 2
    flat = stretches(np.zeros((4, 4, 3)), mean, std)
    assert flat.tolist() == [[0.0] * 3, [0.5] * 3]


def test_a_line_is_drawn_over_time_and_not_as_a_barcode():
    ramp = np.linspace(0.0, 1.0, 50)[:, None]
    picture = line_picture(ramp, 300, has_letters=False)
    assert picture.shape == (200, 300, 3) and picture.dtype == np.uint8
    dark = picture[:190, :, 0] < 128
    rows = np.array([np.flatnonzero(dark[:, column]).mean() for column in range(5, 295)])
    assert (np.diff(rows) <= 0).all() and rows[0] > 170 and rows[-1] < 20
    spike = np.zeros((5000, 1))
    spike[1234] = 1.0
    columns = np.flatnonzero((line_picture(spike, 300)[:20, :, 0] < 200).any(axis=0))
    assert columns.size and abs(columns.mean() - 1234.5 / 5000 * 300) < 2, "no sample is left out"


def test_bands_have_colors_lanes_or_rows():
    random = np.random.default_rng(0)
    for bands in (1, 3, 8, 9, 32, 33, 200):
        picture = line_picture(random.normal(size=(40, bands)), 240)
        assert picture.shape == (160, 240, 3) and np.ptp(picture) > 100
    three = line_picture(random.normal(size=(40, 3)))
    assert len(np.unique(three.reshape(-1, 3), axis=0)) > 3
    flat = line_picture(np.full((40, 1), np.nan))
    assert np.ptp(flat) > 100


def test_lines_are_exported_in_the_size_that_was_asked_for():
    line = np.random.default_rng(0).integers(0, 256, (64, 2)).astype(np.uint8)
    assert picture_of(line, 300).size == picture_of(line[None], 300).size == (300, 200)
    assert displayable(line).shape == (*LINE_SIZE, 3)
    assert is_line(line) and is_line(line[None]) and not is_line(line[:, None])


@pytest.mark.parametrize("bgr", [False, True])
def test_pictures_become_an_input_in_batches(bgr):
    pictures = np.random.default_rng(0).integers(0, 256, (400, 96, 96, 3), np.uint8)
    black, white = np.array([-1.0, -2.0, 0.0]), np.array([1.0, 3.0, 9.0])
    tracemalloc.start()
    images = as_input(pictures, black, white, bgr)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * images.nbytes  # all at once they take five times as much
    few = [as_input(picture, black, white, bgr) for picture in pictures[::133]]
    np.testing.assert_array_equal(images[::133], few)
    assert images.dtype == np.float32


def test_batches_are_all_rows_within_a_budget():
    images = np.zeros((10, 8, 8, 2), np.uint8)
    for budget, size in ((8 * 128 * 3, 3), (1, 1), (1 << 30, 10)):
        rows = [np.arange(10)[rows] for rows in batches_of(images, budget)]
        assert np.concatenate(rows).tolist() == list(range(10))
        assert len(rows[0]) == size
