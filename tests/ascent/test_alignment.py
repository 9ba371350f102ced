import numpy as np
import pytest

from oip.ascent.similarity import correlations, peak, peak_near


def brute(left, right):
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
    np.testing.assert_allclose(correlations(left, right), brute(left, right), atol=1e-10)


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-4, 5)])
def test_the_peak_is_the_shift(shift):
    image = np.zeros((16, 16, 1))
    image[6:9, 5:9, 0] = np.random.default_rng(1).normal(size=(3, 4))
    moved = np.roll(image, shift, (0, 1))
    surface = correlations(image, moved)
    value, found = peak(surface)
    assert value == pytest.approx(1.0)
    assert tuple(found) == shift
    assert peak_near(surface, np.array(shift) + 1, 1) == pytest.approx(1.0)
    assert peak_near(surface, np.array(shift) + 3, 1) < 0.99


def test_nothing_is_like_nothing_and_far_shifts_have_no_value():
    empty = np.zeros((4, 4, 1))
    assert not correlations(empty, np.ones((4, 4, 1))).any()
    assert np.isnan(peak_near(correlations(empty, empty), np.array([99, 0])))


def test_large_images_in_half_precision_are_like_themselves():
    image = np.random.default_rng(0).normal(size=(300, 300, 1)).astype(np.float16)
    value, shift = peak(correlations(image, image))
    assert value == pytest.approx(1.0)
    assert shift.tolist() == [0, 0]


def test_lines_of_one_dimension_are_aligned_too():
    line = np.zeros((12, 1))
    line[3:5, 0] = (1.0, -2.0)
    assert peak(correlations(line, np.roll(line, 4, 0)))[1].tolist() == [4]
