"""Bits, nats and numbers that are not finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oip.core.units import bits, finite_list, finite_or_none, nats, percent, three_best


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
