"""Curves over a training: their end, trend, drift and peak."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from oip.studies.report import Value, all_of, at_ceiling, larger

TOO_SHORT = 5_000
"""Iterations under which nothing is said about the late training."""
RISING = 0.5
"""Rank correlation with the iteration above which something rises."""
LATE = 0.75
"""Share of a training after which it is late."""


class MeasuredValue(NamedTuple):
    """A number and its standard deviation."""

    value: float
    spread: float

    def above(self, least: float | MeasuredValue = 0.0) -> bool | None:
        """Return whether it is above a number or another estimate, see `larger`."""
        if isinstance(least, MeasuredValue):
            return larger(self.value, least.value, float(np.hypot(self.spread, least.spread)))
        return larger(self.value, least, self.spread)

    def named(self, name: str, form: str = ".2f", remark: str = "") -> Value:
        """Return it as a value of a finding, with an interval of two spreads."""
        return Value.spread(name, self.value, self.spread, form, remark)


def late(values: np.ndarray, steps: np.ndarray) -> MeasuredValue:
    """Return mean and standard deviation over the last quarter of a training.

    Args:
        values: (t,), one a record.
        steps: (t,) rising iterations of the records; of one record alone the deviation is 0.
    """
    last = np.asarray(values, float)[steps >= LATE * steps[-1]]
    return MeasuredValue(float(last.mean()), float(last.std(ddof=1)) if len(last) > 1 else 0.0)


def settled(values: np.ndarray, steps: np.ndarray) -> MeasuredValue:
    """Return the mean of the last quarter, and the spread about a line through it.

    What still rises there is no noise, and must not hide that nothing fell.
    """
    last = steps >= LATE * steps[-1]
    return MeasuredValue(
        late(values, steps).value, drift(np.asarray(values)[last], steps[last]).spread
    )


def trend(values: np.ndarray) -> float:
    """Return Spearman's correlation with the order of the records."""
    from oip.mi.ranking_result import spearman

    return spearman(np.arange(len(values), dtype=float), np.asarray(values, float))


def drift(values: np.ndarray, steps: np.ndarray) -> MeasuredValue:
    """Return the rise of a straight line through some records, and their deviation about it.

    Args:
        values: (t,), one a record.
        steps: (t,) rising iterations of the records.

    Returns:
        Rise from the first to the last record, and the standard deviation; NaN of fewer than three
        records.
    """
    if len(values) < 3:
        return MeasuredValue(math.nan, math.nan)
    times = (steps - steps[0]) / (steps[-1] - steps[0])
    slope, start = np.polyfit(times, np.asarray(values, float), 1)
    about = np.asarray(values, float) - (start + slope * times)
    return MeasuredValue(float(slope), float(np.sqrt((about**2).sum() / (len(values) - 2))))


def second_half(values: np.ndarray, steps: np.ndarray) -> MeasuredValue:
    """Return the `drift` of the records from the middle of a training on."""
    some = steps >= steps[-1] / 2
    return drift(np.asarray(values)[some], steps[some])


def rises_all_along(
    values: np.ndarray, steps: np.ndarray, ceiling: float
) -> tuple[bool | None, bool | None]:
    """Return whether something rises in order with the iterations, and in the second half too.

    Records are denser at first, so that an order over all of them could be that of the start alone.
    None where a rise is within its spread, and for both where the end is at the ceiling.
    """
    if at_ceiling(values[-1], ceiling):
        return None, None
    whole = all_of([late(values, steps).above(values[0]), larger(trend(values), RISING, 0.0)])
    return whole, second_half(values, steps).above()


def peak(values: np.ndarray) -> tuple[float, int]:
    """Return the highest mean of three records in a row, and the index of the middle one.

    The highest single record of a noisy curve lies above its end by chance alone.
    """
    if len(values) < 3:
        return math.nan, 0
    means = np.convolve(np.asarray(values, float), np.full(3, 1 / 3), "valid")
    index = int(np.argmax(means))
    return float(means[index]), index + 1
