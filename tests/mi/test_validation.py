import warnings

import numpy as np
import pytest

from oip.core.errors import DataError, Notice, SettingsError
from oip.mi.tags import tag_names
from oip.mi.validation import (
    check_codes,
    check_labels,
    check_numbers,
    check_side,
    class_entropies,
    label_entropy,
    one_hot,
    stratified,
)

CODES = np.arange(40) % 4


def test_numbers_booleans_strings_columns_and_one_hot_are_the_same_labels():
    names = np.array(["a", "b", "c", "d"])
    for given in (
        CODES,
        CODES.astype(np.uint8),
        CODES * 10 - 7,
        CODES[:, None],
        names[CODES],
        names[CODES].astype("S"),
        list(names[CODES]),
        names[CODES].astype(object),
        np.eye(4)[CODES],
        np.eye(4, dtype=bool)[CODES],
    ):
        checked = check_labels(given, 40)
        assert (checked.codes == CODES).all()
        assert (checked.indices == np.arange(40)).all()
        assert checked.notices == ()
    assert check_labels(CODES > 1, 40).classes == ("False", "True")
    assert check_labels(CODES * 10 - 7, 40).classes == ("-7", "3", "13", "23")


def test_names_are_those_given_also_where_a_class_is_missing():
    checked = check_labels(np.where(CODES == 1, 3, CODES), 40, classes=["w", "x", "y", "z"])
    assert checked.classes == ("w", "y", "z")
    assert (np.bincount(checked.codes) == [10, 10, 20]).all()


def test_classes_of_one_name_are_refused_where_both_are_there():
    names = ["crane", "crane", "x", "y"]
    assert check_labels(np.where(CODES == 1, 0, CODES), 40, names).classes == ("crane", "x", "y")
    with pytest.raises(DataError, match="a name of its own for each; received 'crane' twice"):
        check_labels(CODES, 40, names)
    with pytest.raises(DataError, match="'a' twice"):
        tag_names(2, ("a", "a"))


def test_labels_seen_once_are_left_out_with_a_notice():
    given = CODES.copy()
    given[5] = 77
    checked = check_labels(given, 40)
    assert 5 not in checked.indices
    assert len(checked.codes) == 39
    assert "77" in checked.notices[0]


@pytest.mark.parametrize(
    ("labels", "word"),
    [
        (None, "none"),
        (CODES / 2, "floats"),
        (np.where(CODES == 1, np.nan, 1.0), "NaN"),
        (CODES[:-1], "39"),
        (np.zeros(40, int), "two classes"),
        (np.arange(40), "hardly repeat"),
        ((np.eye(4) + np.roll(np.eye(4), 1, 1))[CODES], "several labels"),
        (np.full((40, 3), 0.3), "not one-hot"),
        (np.zeros((40, 5, 5), int), "shape"),
        ([[1], [1, 2]] * 20, "different lengths"),
        ([None, "a"] * 20, "NoneType"),
        (CODES + 1j, "complex"),
        (np.array([1, 2.5] * 20, object), "floats"),
    ],
)
def test_labels_that_cannot_be_used(labels, word):
    with pytest.raises(DataError, match=word):
        check_labels(labels, 40)


def test_too_few_samples_and_too_few_names():
    with pytest.raises(DataError, match="at least 20"):
        check_labels(CODES[:19], 19)
    with pytest.raises(DataError, match="3 classes"):
        check_labels(CODES, 40, classes=["a", "b", "c"])
    with pytest.raises(DataError, match="whole numbers"):
        check_labels(CODES / 2, 40, classes=["a", "b"], discrete=True)


def test_whole_numbers_of_a_table_are_labels():
    column = CODES.astype(object)
    assert check_labels(column, 40).classes == ("0", "1", "2", "3")
    assert (check_labels(column, 40).codes == CODES).all()
    assert check_labels(column > 1, 40).classes == ("False", "True")


def test_floats_are_labels_where_it_is_said():
    assert check_labels(CODES / 2, 40, discrete=True).classes == ("0.0", "0.5", "1.0", "1.5")


def test_subsamples_keep_the_shares_and_the_rare():
    codes = np.repeat([0, 1, 2], [700, 297, 3])
    rows = stratified(codes, 100, seed=0)
    assert len(rows) == len(set(rows)) == 100
    assert (np.diff(rows) > 0).all()
    counts = np.bincount(codes[rows])
    assert counts[2] == 2
    assert abs(counts[0] - 70) <= 1
    assert (rows == stratified(codes, 100, seed=0)).all()
    assert (rows != stratified(codes, 100, seed=1)).any()
    assert (stratified(codes, 5000, seed=0) == np.arange(1000)).all()
    with pytest.raises(SettingsError, match="at least 20"):
        stratified(codes, 10, seed=0)


def test_entropies():
    codes = np.repeat([0, 1], [75, 25])
    expected = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert np.isclose(label_entropy(codes), expected)
    assert np.allclose(class_entropies(codes), expected)
    assert np.isclose(label_entropy(CODES), np.log(4))
    assert np.allclose(class_entropies(np.arange(100) % 10) / np.log(2), 0.468996)


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
        (ONES.astype(object), True, False),
        (ONES * 1.0, False, False),
        ((ONES * 1.0).astype(object), False, False),
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
    assert (one_hot(side.values) == np.eye(3)[ONES]).all()
    assert (one_hot(ONES).argmax(axis=1) == ONES).all()
    assert side.d == 1


def test_codes_are_in_the_order_of_the_values():
    assert check_codes("y", [30, -2, 30, 7], 4).tolist() == [2, 0, 2, 1]
    assert check_codes("y", np.eye(5)[[4, 0, 4, 2]], 4).tolist() == [2, 0, 2, 1]
    assert check_codes("y", [0.5, -1.0], 2, discrete=True).tolist() == [1, 0]


def test_whole_numbers_that_lose_digits_are_told_and_labels_keep_theirs():
    large = 2**60 + np.arange(20) % 2
    with pytest.warns(Notice, match=r"x: whole numbers above 2\^53 are rounded to 16 digits"):
        assert not np.ptp(check_numbers("x", large))
    assert check_codes("y", large, None).tolist() == (np.arange(20) % 2).tolist()
    assert check_codes("y", large.astype(np.uint64) + 2**63, None).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.ptp(check_numbers("x", large - large.min())) == 1
        check_numbers("x", np.array([2**53, -(2**53)]))
