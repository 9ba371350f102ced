import numpy as np
import pytest

from oip.mi.validation import check_codes, check_side, one_hot

ONES = np.array([1, 0, 2, 1])


@pytest.mark.parametrize(
    ("given", "label_of_y", "label_of_x"),
    [
        (ONES, True, False),
        (ONES[:, None], True, False),
        (ONES > 0, True, False),
        (np.array(["a", "b", "a", "b"]), True, True),
        (["a", "b", "a", "b"], True, True),
        (np.array(["a", "b", "a", "b"], object), True, True),
        (np.eye(3)[ONES], True, False),
        (np.eye(3, dtype=int)[ONES], True, False),
        (ONES * 1.0, False, False),
        (np.array([1.0, 1.0, 1.0, 1.0])[:, None], False, False),
        (np.stack([ONES, ONES], axis=1), False, False),
        (np.array([[1, 1], [0, 1], [1, 0], [0, 0]]), False, False),
    ],
)
def test_what_is_taken_as_a_label(given, label_of_y, label_of_x):
    assert check_side("y", given, None, True).is_label == label_of_y
    assert check_side("x", given, None, False).is_label == label_of_x


def test_both_can_be_said():
    assert check_side("y", ONES * 1.5, True, True).is_label
    side = check_side("y", ONES, False, True)
    assert not side.is_label
    assert side.values.dtype == np.float64
    assert side.values.shape == (4, 1)
    assert (len(side), side.d) == (4, 1)


def test_numbers_of_a_label_are_one_hot():
    side = check_side("y", ["b", "a", "c", "b"], None, True)
    assert side.values.tolist() == [1, 0, 2, 1]
    assert (side.numbers == np.eye(3)[ONES]).all()
    assert (one_hot(ONES).argmax(axis=1) == ONES).all()
    assert side.d == 1


def test_codes_are_in_the_order_of_the_values():
    assert check_codes("y", [30, -2, 30, 7], 4).tolist() == [2, 0, 2, 1]
    assert check_codes("y", np.eye(5)[[4, 0, 4, 2]], 4).tolist() == [2, 0, 2, 1]
    assert check_codes("y", [0.5, -1.0], 2, discrete=True).tolist() == [1, 0]
