"""Bits, nats and numbers that are not finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oip.core.units import (
    best_class,
    bits,
    class_medians,
    finite_list,
    finite_or_none,
    nats,
    percent,
    three_best,
    usual_bits,
)


@given(st.floats(-1e6, 1e6))
def test_units_go_there_and_back(value):
    assert nats(bits(value)) == pytest.approx(value)


def test_a_fair_coin_is_one_bit():
    assert bits(math.log(2)) == pytest.approx(1.0)


def test_json_has_no_nan_and_no_infinity():
    assert finite_or_none(np.float32(0.5)) == 0.5
    assert finite_list(np.array([1.0, np.nan, np.inf])) == [1.0, None, None]


def test_percentages_have_the_digits_that_tell_something():
    shares = (0.0, 0.0004, 0.001, 0.0213, 0.0996, 0.256, 0.999, 1.0)
    texts = ("0 %", "< 0.1 %", "0.1 %", "2.1 %", "10 %", "26 %", "100 %", "100 %")
    assert tuple(map(percent, shares)) == texts


def test_nothing_is_minus_zero():
    assert str(finite_or_none(-0.0)) == "0.0"
    assert three_best("ab", [-0.0, -1e-9]) == "a (0), b (-1e-09)"


def test_the_easiest_class_is_not_the_best_of_all_maps():
    easy = np.array([0.4, 0.2, 0.2])
    more, weak = [0.0, 0.02, 0.0], [0.0, 0.0, 0.01]
    rows = [easy, 0.5 * easy, 0.5 * easy, easy + more, 0.1 * easy + weak, 0 * easy]
    medians = class_medians(rows)
    assert medians == pytest.approx(0.5 * easy)
    assert usual_bits(easy, medians) == pytest.approx(easy)
    assert [best_class(row, medians) for row in rows[3:]] == [1, 2, None]
    alone = [0.4, None, 0.1]
    assert class_medians([alone]).tolist() == [0, 0, 0]
    assert best_class(alone, class_medians([alone])) == 0
    assert best_class([None, 0.1, 0.11], medians) == 2
