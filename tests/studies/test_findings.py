from __future__ import annotations

import json

import numpy as np
import pytest

from oip.core.errors import RunError
from oip.studies.findings import (
    CurveShape,
    Finding,
    Value,
    agreement,
    all_of,
    at_ceiling,
    curve_shape,
    drift,
    finding,
    graded,
    joined,
    larger,
    late,
    named_values,
    peak,
    plain_numbers,
    rises_all_along,
    second_half,
    text_file,
    trend,
)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (np.float32(0.1), 0.1),
        (np.array([[0.1, -np.inf]], np.float32), [[0.1, None]]),
        (1 / 3, 1 / 3),
        (np.nan, None),
        (np.array([True, False]), [True, False]),
        (np.arange(2), [0, 1]),
        ([], []),
        (["a"], ["a"]),
        ("text", "text"),
    ],
)
def test_numbers_are_short_and_plain(given: object, plain: object) -> None:
    assert plain_numbers(given) == plain
    json.dumps(plain_numbers(given), allow_nan=False)


def test_numbers_of_another_kind_are_refused() -> None:
    with pytest.raises(RunError, match="complex"):
        plain_numbers(1j)


@pytest.mark.parametrize(
    ("outcomes", "result"),
    [
        ([], "not tested"),
        ([True, True], "yes"),
        ([np.True_, True], "yes"),
        ([False, False], "no"),
        ([True, False], "partly"),
        ([True, None], "partly"),
        ([None], "not tested"),
        ([None, None], "not tested"),
        ([False, None], "partly"),
    ],
)
def test_agreement(outcomes: list[bool | None], result: str) -> None:
    assert agreement(outcomes) == result


def test_a_difference_counts_beyond_two_spreads() -> None:
    assert larger(1.0, 0.5, 0.2) is True
    assert larger(0.5, 1.0, 0.2) is False
    assert larger(1.0, 0.7, 0.2) is None
    assert larger(1.0, 1.0, 0.0) is None
    assert larger(float("nan"), 1.0, 0.0) is None
    assert larger(2.0, 1.0, float("nan")) is None


@pytest.mark.parametrize(
    ("outcomes", "result"),
    [
        ([True, True], True),
        ([True, None], None),
        ([False, None], False),
        ([True, False], False),
        ([], None),
    ],
)
def test_a_finding_in_parts_holds_if_all_do(outcomes: list[bool | None], result: object) -> None:
    assert all_of(outcomes) is result


def test_the_ceiling_begins_two_percent_below_it() -> None:
    assert at_ceiling(0.98, 1.0) and not at_ceiling(0.979, 1.0)


def test_what_is_unknown_says_so() -> None:
    assert Value("a", 1 / 3).text() == "a 0.33"
    assert Value("a", 0.5, form="+.1f").text() == "a +0.5"
    assert Value("a", float("nan")).text() == "a unknown"


def test_values_as_text() -> None:
    value = Value("LeNet", 0.534, 0.5, 0.56)
    assert value.text() == "LeNet 0.53 (0.50 to 0.56)"
    assert value.percent("all", ".0f").text() == "all 53 (50 to 56)"
    assert Value("LeNet", 1.0, remark="at the ceiling").text() == "LeNet 1.00 (at the ceiling)"
    assert Value("LeNet", float("nan")).text() == "LeNet unknown"
    within = Value.within(1.0, 0.25, "a")
    assert within == Value.within(1.0, 0.25).named("a") and within.spread == 0.25
    assert within.text() == "a 1.00 (0.50 to 1.50)"


def test_a_finding_as_text_and_json() -> None:
    values = {"relative width": [Value("LeNet", 0.5), Value("DenseNet", 1.0, 0.9, 1.1)]}
    row = Finding("It rises.", "partly", "MI, bits", values, "Slowly.", n="3 nets", settings="s")
    assert row.ours == "MI, bits: relative width: LeNet 0.50, DenseNet 1.00 (0.90 to 1.10). Slowly."
    record = row.to_dict()
    assert (record["found"], record["agrees"], record["sure"]) == (row.ours, "partly", "3 nets; s")
    first = {"group": "relative width", "name": "LeNet", "value": 0.5, "low": None, "high": None}
    assert record["values"][0] == first
    assert Finding("a", "no", remark="b").ours == "b"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.02, 0.1, True), (0.0, 0.005, False), (0.0, 0.02, None), (np.nan, np.nan, None)],
)
def test_an_effect_is_judged_by_its_interval(low, high, expected) -> None:
    assert Value("x", 0.0, low, high).above(0.01) is expected


def test_verdicts_over_verdicts_and_shares() -> None:
    assert joined(["yes", "yes"]) == "yes"
    assert joined(["no", "not tested"]) == "no"
    assert joined(["yes", "not tested"]) == joined(["yes", "no"]) == "partly"
    assert joined([]) == joined(["not tested"]) == "not tested"
    assert [graded(share, 0.75, 0.5) for share in (0.8, 0.6, 0.2)] == ["yes", "partly", "no"]


def test_a_row_has_the_texts_of_the_file() -> None:
    values = named_values(("a", "b"), (1.0, 2.0), ".1f")
    row = finding("rbig", "inverse", "yes", values, "Here", name="PCA", samples=7, unused=1)
    assert row.paper == 'Here: "We also show the quality of the data inversion" (PCA).'
    assert (row.verdict, row.n, row.figure) == ("yes", "all 7 points", "fig. 1 b to c")
    assert row.ours.endswith(": a 1.0, b 2.0.")


def test_a_row_on_other_data_has_their_figure_and_says_of_which_data_the_paper_speaks() -> None:
    constants = {"over_kernels": "", "consistent": 0.8}
    rows = {
        data: finding("kernels", "classes_rank_alike", "yes", (), data, **constants)
        for data in ("mnist", "fashion-mnist", "mine.npz")
    }
    assert [row.figure for row in rows.values()] == ["fig. 9", "fig. 17", "fig. 9"]
    assert rows["mnist"].paper.startswith("mnist: of LeNet's first block")
    assert rows["fashion-mnist"].paper.startswith("fashion-mnist (said of mnist): of LeNet's")
    assert rows["mine.npz"].paper.startswith("mine.npz (said of mnist): of LeNet's")
    keys = ("mnist", "fashion-mnist", "hasy-data-labels.csv", "Fruits-360")
    figures = [
        finding("renyi", "plane", key=key, batches=1, change=0.05, near=0.02).figure for key in keys
    ]
    assert figures == ["fig. 7", "fig. 7", "fig. 13", "fig. 13"]


def test_every_row_names_fields_of_a_finding() -> None:
    fields = {"paper", "quantity", "remark", "figure", "reported", "n", "settings", "late"}
    fields |= {"said_of", "figure_on"}
    for study, rows in text_file("findings").items():
        for name, row in rows.items():
            assert set(row) <= fields and row["paper"], f"{study}.{name}"


STEPS = np.array([0, 1, 2, 5, 10, 20, 50, 100, 200, *range(500, 10_001, 500)])


def test_drift_is_that_of_a_line_and_the_spread_about_it() -> None:
    steps = np.array([0, 10, 20, 40, 100])
    rise = drift(3 + 0.02 * steps, steps)
    assert rise.value == pytest.approx(2.0)
    assert rise.spread == pytest.approx(0.0, abs=1e-12)
    noise = np.random.default_rng(0).standard_normal(2000)
    rise = drift(noise, np.arange(2000))
    assert rise.spread == pytest.approx(1.0, abs=0.05)
    assert abs(rise.value) < 0.3
    unknown = drift(np.zeros(2), np.array([0, 1]))
    assert np.isnan([unknown.value, unknown.spread]).all()
    flat = second_half(np.where(STEPS < 5000, 9.0, 2.0), STEPS)
    assert (flat.value, flat.spread) == pytest.approx((0.0, 0.0))


def test_a_rise_at_the_start_alone_is_not_all_along() -> None:
    early = np.minimum(np.log1p(STEPS) / np.log1p(2000), 1.0)
    early += 0.002 * np.random.default_rng(1).standard_normal(len(STEPS))
    # Its order over all records, a third of them before iteration 500, would pass.
    assert trend(early) > 0.7
    assert rises_all_along(early, STEPS, 3.0) == (True, None)
    assert rises_all_along(1 + STEPS / 10_000, STEPS, 3.0) == (True, True)
    assert rises_all_along(2 - STEPS / 10_000, STEPS, 3.0) == (False, False)
    assert rises_all_along(1 + STEPS / 10_000, STEPS, 2.0) == (None, None)


def test_the_peak_of_a_flat_noisy_curve_is_not_above_its_end() -> None:
    count = 0
    for seed in range(200):
        values = np.random.default_rng(seed).standard_normal(30)
        end = late(values, np.arange(30))
        count += larger(peak(values)[0], end.value, end.spread) is True
    assert count < 0.1 * 200
    assert peak(np.array([0.0, 3, 3, 3, 0, 0])) == (3.0, 2)
    assert np.isnan(peak(np.zeros(2))[0])


def test_late_and_trend() -> None:
    end = late(np.array([9.0, 8, 7, 0, 2, 4]), np.array([0, 1, 74, 75, 90, 100]))
    assert (end.value, end.spread) == pytest.approx((2.0, 2.0))
    assert late(np.array([9.0, 8]), np.array([0, 500])) == Value("", 8.0, 8.0, 8.0)
    assert trend(np.arange(5.0) ** 3) == pytest.approx(1.0)
    assert trend(-np.arange(5.0)) == pytest.approx(-1.0)


def test_curves_rise_and_fall_beyond_their_spread():
    rise = np.linspace(0, 1, 6)[:, None] + np.zeros(3)
    assert curve_shape(rise) == CurveShape(True, False, 0.0)
    falling = rise.copy()
    falling[-1] = 0.5
    assert curve_shape(falling) == CurveShape(True, True, pytest.approx(0.375))
    noisy = falling + np.array([-3.0, 0.0, 3.0]) * np.eye(6)[-1][:, None]
    arrays = curve_shape(noisy)
    assert not arrays.falls and not arrays.rises
    assert curve_shape(rise[::-1]) == CurveShape(False, True, 1.0)
    flat = 1 + 0.01 * rise
    assert curve_shape(flat) == CurveShape(False, False, 0.0)
