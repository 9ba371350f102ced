from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oip.core.errors import DataError, Notice
from oip.models.datasets import (
    dataset,
    fitted,
    from_arrays,
    labeled,
    split,
    statistics,
    take_images,
)

CLASSES = ("a", "b", "c")


def pixels(count: int = 6, side: int = 4, bands: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, bands), np.uint8)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_the_parts_are_disjoint_whole_and_stratified(labels: list[int]) -> None:
    values = np.array(labels)
    train, test = (split(values, len(values), part) for part in ("train", "test"))
    assert sorted([*train, *test]) == list(range(len(values)))
    for label in set(labels):
        count = labels.count(label)
        expected = max(round(0.2 * count), 1) if count > 1 else 0
        assert (values[test] == label).sum() == expected


def test_the_split_is_the_same_every_time_and_shuffled() -> None:
    labels = np.repeat([0, 1], 50)
    first, second = split(labels, 100, "train"), split(labels, 100, "train")
    np.testing.assert_array_equal(first, second)
    assert (np.diff(labels[first]) != 0).sum() > 10


def test_a_split_without_labels_holds_out_a_fifth() -> None:
    assert len(split(None, 50, "test")) == 10
    assert len(split(None, 50, "train")) == 40


@pytest.mark.parametrize("bands", [1, 3])
def test_statistics_are_those_of_all_pixels(bands: int) -> None:
    images = pixels(7, 5, bands)
    mean, std = statistics(images, byte_budget=8 * images[0].size * 3)
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(std, images.std(axis=(0, 1, 2)))


def test_a_band_that_is_the_same_everywhere_is_refused() -> None:
    images = pixels(bands=3)
    images[..., 1] = 9
    with pytest.raises(DataError, match="bands that vary"):
        statistics(images)


@pytest.mark.parametrize(
    ("images", "dtype", "low", "high"),
    [
        (np.full((2, 4, 4), 7, np.int64), np.uint8, 0.0, 255.0),
        (np.full((2, 4, 4), 300, np.int64), np.float32, 300.0, 300.0),
        (np.array([[[0.0, 1.0]], [[0.5, 0.5]]]), np.float32, 0.0, 1.0),
        (np.array([[[0.0, 100.0]], [[0.5, 0.5]]]), np.float32, 0.0, 255.0),
        (np.array([[[-2.0, 100.0]], [[0.5, 0.5]]]), np.float32, -2.0, 100.0),
        (np.ones((2, 4, 4), bool), np.float32, 0.0, 1.0),
    ],
)
def test_pixels_are_kept_as_bytes_or_floats_with_their_range(
    images: np.ndarray, dtype: type, low: float, high: float
) -> None:
    data = dataset(images, None, (), "x")
    assert data.images.dtype == dtype
    assert data.images.shape == (*images.shape, 1)
    np.testing.assert_array_equal(data.images[..., 0], images)
    assert (data.low, data.high) == (low, high)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (pixels()[:0], None, "at least one"),
        (pixels()[0, 0], None, "shape"),
        (np.full((2, 4, 4, 1), np.nan), None, "finite"),
        (np.array([[["x"]]]), None, "numbers"),
        (np.zeros((2, 3, 8, 8)), None, "bands last"),
        (pixels(), np.zeros(5, int), "one per image"),
        (pixels(), np.zeros(6), "whole numbers"),
        (pixels(), np.eye(3, dtype=int)[[0, 1, 2, 0, 1, 2]], "argmax"),
        (pixels(), np.full((6, 3), 2), "Several labels of an image"),
        (pixels(), np.full(6, 3), "0 to 2"),
        (pixels(), np.full(6, -1), "0 to 2"),
    ],
)
def test_what_does_not_fit_is_refused(
    images: np.ndarray, labels: np.ndarray | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        dataset(images, labels, CLASSES, "x")


def test_resizing_keeps_a_flat_image_flat_and_the_type() -> None:
    data = dataset(np.full((2, 4, 6, 3), 77, np.uint8), None, (), "x")
    larger = fitted(data, (9, 5), None)
    assert larger.images.shape == (2, 9, 5, 3)
    assert larger.images.dtype == np.uint8
    assert (larger.images == 77).all()


def test_grey_becomes_colour_and_back() -> None:
    data = dataset(pixels(), None, (), "x")
    colour = fitted(data, None, 3)
    assert colour.images.shape[-1] == 3
    np.testing.assert_array_equal(fitted(colour, None, 1).images, data.images)


def test_bands_that_cannot_be_made_are_refused() -> None:
    with pytest.raises(DataError, match="2 bands"):
        fitted(dataset(pixels(), None, (), "x"), None, 2)


def test_several_labels_of_an_image_are_tags():
    tags = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1], [1, 0, 0]])
    data = labeled(pixels(), tags, ("a", "b", "c"), "x")
    assert data.labels is None and data.tags.tolist() == tags.tolist()
    assert data.classes == ("a", "b", "c") and data.targets is data.tags
    assert data.required_targets() is data.tags and "3 tags" in repr(data)
    assert take_images(data, np.array([3, 0]), "x").tags.tolist() == tags[[3, 0]].tolist()
    with pytest.raises(DataError, match=r"one label per image.*3 tags"):
        data.required_labels()
    with pytest.raises(DataError, match="one per tag"):
        labeled(pixels(), tags, ("a",), "x")
    with pytest.raises(DataError, match="one row per image"):
        labeled(pixels(), tags[:3], (), "x")
    with pytest.raises(DataError, match="argmax"):
        labeled(pixels(), np.eye(6, dtype=int), (), "x").required_labels()


def test_labels_for_another_task_are_left_out_until_they_are_needed():
    for labels in (np.zeros((6, 8, 8), int), np.linspace(0.0, 1.0, 6)):
        data = labeled(pixels(), labels, (), "x")
        assert data.targets is None and len(data) == 6
        with pytest.raises(DataError, match="x: labels"):
            data.required_targets()
    with pytest.raises(DataError, match="one per image"):
        labeled(pixels(), np.zeros(5, int), (), "x")


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (-3.0, 300.0)])
def test_fractions_in_another_size_stay_in_their_range_and_have_black_beside_them(
    low: float, high: float
) -> None:
    images = np.full((2, 4, 8, 3), low, np.float32)
    images[:, :, 4:] = high  # an edge, beyond which bicubic weights lead
    data = from_arrays(images)
    for resize in ("crop", "fit", "stretch"):
        with pytest.warns(Notice):
            other = fitted(data, (16, 16), None, resize)
        assert other.images.min() == low == other.low
        assert other.images.max() == np.float32(high)
        if resize == "fit":
            assert (other.images[:, [0, -1]] == low).all()
            assert (other.images[:, 8, -1] == np.float32(high)).all()
