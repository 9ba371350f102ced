from __future__ import annotations

import numpy as np
import pytest

from oip.studies.findings import (
    drift,
    larger,
    late,
    peak,
    rises_all_along,
    second_half,
    trend,
)

STEPS = np.array([0, 1, 2, 5, 10, 20, 50, 100, 200, *range(500, 10_001, 500)])


def test_drift_is_that_of_a_line_and_the_spread_about_it() -> None:
    steps = np.array([0, 10, 20, 40, 100])
    rise, spread = drift(3 + 0.02 * steps, steps)
    assert rise == pytest.approx(2.0)
    assert spread == pytest.approx(0.0, abs=1e-12)
    noise = np.random.default_rng(0).standard_normal(2000)
    rise, spread = drift(noise, np.arange(2000))
    assert spread == pytest.approx(1.0, abs=0.05)
    assert abs(rise) < 0.3
    assert np.isnan(drift(np.zeros(2), np.array([0, 1]))).all()
    assert second_half(np.where(STEPS < 5000, 9.0, 2.0), STEPS) == pytest.approx((0.0, 0.0))


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
        end, spread = late(values, np.arange(30))
        count += larger(peak(values)[0], end, spread) is True
    assert count < 0.1 * 200
    assert peak(np.array([0.0, 3, 3, 3, 0, 0])) == (3.0, 2)
    assert np.isnan(peak(np.zeros(2))[0])


def test_late_and_trend() -> None:
    mean, spread = late(np.array([9.0, 8, 7, 0, 2, 4]), np.array([0, 1, 74, 75, 90, 100]))
    assert mean == pytest.approx(2.0)
    assert spread == pytest.approx(2.0)
    assert late(np.array([9.0, 8]), np.array([0, 500])) == (8.0, 0.0)
    assert trend(np.arange(5.0) ** 3) == pytest.approx(1.0)
    assert trend(-np.arange(5.0)) == pytest.approx(-1.0)
