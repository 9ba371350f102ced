import numpy as np
import pytest

from oip.ascent.similarity import (
    correlation_peak,
    correlations,
    image_similarity,
    peak_near,
    start_stability,
)


def brute(left, right, reach):
    best = -1.0
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            total = 0.0
            for y in range(left.shape[0]):
                for x in range(left.shape[1]):
                    if 0 <= y + dy < left.shape[0] and 0 <= x + dx < left.shape[1]:
                        total += float((left[y, x] * right[y + dy, x + dx]).sum())
            best = max(best, total)
    return best / np.sqrt((left**2).sum() * (right**2).sum())


def test_similarity_is_that_of_the_plain_loops():
    random = np.random.default_rng(0)
    left, right = random.normal(size=(3, 7, 6, 2)), random.normal(size=(2, 7, 6, 2))
    result = image_similarity(left, right, (2, 2))
    for row in range(3):
        for column in range(2):
            expected = brute(left[row], right[column], 2)
            assert result[row, column] == pytest.approx(expected, abs=1e-5)


def test_far_shifts_are_all_tried_and_agree_with_the_plain_loops():
    random = np.random.default_rng(0)
    left, right = random.normal(size=(2, 3, 11, 9, 2)), random.normal(size=(2, 4, 11, 9, 2))
    result = image_similarity(left, right, (7, 5))
    assert result.shape == (2, 3, 4)
    for group, row, column in np.ndindex(result.shape):
        shifted = [
            (np.pad(left[group, row], ((7, 7), (5, 5), (0, 0)))[y : y + 11, x : x + 9])
            for y in range(15)
            for x in range(11)
        ]
        norms = np.linalg.norm(left[group, row]) * np.linalg.norm(right[group, column])
        expected = max(float((item * right[group, column]).sum()) for item in shifted) / norms
        assert result[group, row, column] == pytest.approx(expected, abs=1e-5)


def test_a_patch_moved_by_any_shift_within_a_far_reach_is_the_same_patch():
    image = np.zeros((1, 96, 96, 1), "float32")
    image[0, 30:60, 30:60] = np.random.default_rng(0).normal(size=(30, 30, 1))
    for axis in (1, 2):
        moved = np.concatenate([np.roll(image, step, axis) for step in range(18)])
        result = image_similarity(image, moved, (16, 16))[0]
        assert result[:17].min() > 0.99
        assert result[17] < 0.5
    assert image_similarity(image, np.roll(image, (-13, 16), (1, 2)), (16, 16))[0, 0] > 0.99


def test_far_shifts_of_lines_and_of_images_that_are_empty():
    line = np.random.default_rng(0).normal(size=(3, 40, 2))
    line[:, 30:] = 0.0
    result = image_similarity(line, np.roll(line, 7, 1), (9,))
    np.testing.assert_allclose(np.diagonal(result), 1.0, atol=1e-5)
    assert image_similarity(line, np.zeros_like(line), (9,)).max() == 0.0


def test_the_number_of_images_compared_at_a_time_changes_nothing():
    images = np.random.default_rng(1).normal(size=(7, 20, 20, 1))
    whole = image_similarity(images, images, (6, 6))
    parts = image_similarity(images, images, (6, 6), byte_budget=1)
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_similarity_knows_shifts_and_itself():
    image = np.zeros((1, 12, 12, 1))
    image[0, 4:7, 3:9] = 1.0
    moved = np.roll(image, (2, -1), (1, 2))
    assert image_similarity(image, image, (0, 0))[0, 0] == pytest.approx(1.0)
    assert image_similarity(image, moved, (2, 2))[0, 0] == pytest.approx(1.0)
    assert image_similarity(image, moved, (1, 0))[0, 0] < 0.9
    assert image_similarity(image, np.zeros_like(image), (1, 1))[0, 0] == 0.0


def test_stable_maps_stand_out_from_the_null_and_unstable_ones_do_not():
    random = np.random.default_rng(1)
    images = random.normal(size=(20, 4, 10, 10, 1)).astype("float32")
    images[0] = images[0, :1] + 0.1 * images[0]
    images[1, 2:] = images[1, 2] + 0.05 * images[1, 2:]
    alive = np.ones(20, bool)
    alive[7] = False
    result = start_stability(images, alive, (1, 1), seed=0, layer=0)
    assert result.within[0] > 0.9
    assert result.percentile[0] == 100.0
    assert 20 < np.median(result.percentile[2:][alive[2:]]) <= 100
    assert result.within[2:][alive[2:]].max() < 0.5
    assert np.isnan(result.within[7])
    assert result.n_null.tolist() == [18 if item else 0 for item in alive]
    assert result.clusters[0].tolist() == [0, 0, 0, 0]
    assert result.clusters[1][2] == result.clusters[1][3] == 0
    assert result.medoids[0].sum() == 1
    few = start_stability(images[:5], alive[:5], (1, 1), seed=0, layer=0)
    assert np.isnan(few.percentile).all()
    single = start_stability(images[:, :1], alive, (1, 1), seed=0, layer=0)
    assert np.isnan(single.within).all()


def test_one_start_is_compared_with_nothing():
    images = np.random.default_rng(0).normal(size=(12, 1, 6, 6, 1))
    alive = np.arange(12) > 0
    result = start_stability(images, alive, (1, 1), 0, 0)
    assert np.isnan(result.within).all()
    assert np.isnan(result.percentile).all()
    assert not result.n_null.any()
    assert result.clusters[:, 0].tolist() == [-1] + [0] * 11
    assert result.medoids[:, 0].tolist() == alive.tolist()


def brute_surface(left, right):
    height, width = left.shape[:2]
    surface = np.zeros((2 * height - 1, 2 * width - 1))
    for dy in range(-height + 1, height):
        for dx in range(-width + 1, width):
            total = 0.0
            for y in range(height):
                for x in range(width):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        total += float((left[y, x] * right[y + dy, x + dx]).sum())
            surface[dy + height - 1, dx + width - 1] = total
    return surface / (np.linalg.norm(left) * np.linalg.norm(right))


def test_correlations_are_those_of_the_plain_loops():
    random = np.random.default_rng(0)
    left, right = random.normal(size=(2, 6, 5, 2))
    np.testing.assert_allclose(correlations(left, right), brute_surface(left, right), atol=1e-10)


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-4, 5)])
def test_the_peak_is_the_shift(shift):
    image = np.zeros((16, 16, 1))
    image[6:9, 5:9, 0] = np.random.default_rng(1).normal(size=(3, 4))
    moved = np.roll(image, shift, (0, 1))
    surface = correlations(image, moved)
    value, result = correlation_peak(surface)
    assert value == pytest.approx(1.0)
    assert tuple(result) == shift
    assert peak_near(surface, np.array(shift) + 1, 1) == pytest.approx(1.0)
    assert peak_near(surface, np.array(shift) + 3, 1) < 0.99


def test_nothing_is_like_nothing_and_far_shifts_have_no_value():
    empty = np.zeros((4, 4, 1))
    assert not correlations(empty, np.ones((4, 4, 1))).any()
    assert np.isnan(peak_near(correlations(empty, empty), np.array([99, 0])))


def test_large_images_in_half_precision_are_like_themselves():
    image = np.random.default_rng(0).normal(size=(300, 300, 1)).astype(np.float16)
    value, shift = correlation_peak(correlations(image, image))
    assert value == pytest.approx(1.0)
    assert shift.tolist() == [0, 0]


def test_lines_of_one_dimension_are_aligned_too():
    line = np.zeros((12, 1))
    line[3:5, 0] = (1.0, -2.0)
    assert correlation_peak(correlations(line, np.roll(line, 4, 0)))[1].tolist() == [4]
