from __future__ import annotations

import numpy as np
import pytest

from oip.studies.verdicts import agreement, by_width, larger, late, shown, trend


@pytest.mark.parametrize(
    ("outcomes", "wanted"),
    [
        ([], "not tested"),
        ([True, True], "yes"),
        ([np.True_, True], "yes"),
        ([False, False], "no"),
        ([True, False], "partly"),
        ([True, None], "partly"),
        ([None], "partly"),
        ([False, None], "partly"),
    ],
)
def test_agreement(outcomes: list[bool | None], wanted: str) -> None:
    assert agreement(outcomes) == wanted


def test_a_difference_counts_beyond_two_spreads() -> None:
    assert larger(1.0, 0.5, 0.2) is True
    assert larger(0.5, 1.0, 0.2) is False
    assert larger(1.0, 0.7, 0.2) is None
    assert larger(1.0, 1.0, 0.0) is None
    assert larger(float("nan"), 1.0, 0.0) is None


def test_late_and_trend() -> None:
    mean, spread = late(np.array([9.0, 8, 7, 0, 2, 4]), np.array([0, 1, 74, 75, 90, 100]))
    assert mean == pytest.approx(2.0)
    assert spread == pytest.approx(2.0)
    assert late(np.array([9.0, 8]), np.array([0, 500])) == (8.0, 0.0)
    assert trend(np.arange(5.0) ** 3) == pytest.approx(1.0)
    assert trend(-np.arange(5.0)) == pytest.approx(-1.0)


def test_what_is_unknown_says_so() -> None:
    assert shown(1 / 3) == "0.33"
    assert shown(0.5, "+.1f") == "+0.5"
    assert shown(float("nan")) == "unknown"


def test_what_both_widths_say_is_said_once() -> None:
    assert by_width({"a": "same", "b": "same"}) == "same"
    assert by_width({"a": "one", "b": "two"}) == "a width: one; b width: two"
