"""From numbers to what a report says of them: agreement, differences beside their spread."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from mi.estimators.results import SATURATED
from oip.studies.frame import Agreement

TOO_SHORT = 5_000
"""Iterations under which nothing is said about the late training."""
RISING = 0.5
"""Rank correlation with the iteration above which something rises."""
LATE = 0.75
"""Share of a training after which it is late."""
_SPREADS = 2.0


def agreement(outcomes: Iterable[bool | None]) -> Agreement:
    """Of several looks at one finding: all for it, all against it, or else partly.

    Args:
        outcomes: True, False, or None where a look does not decide. Where none does, within
            their spread or at the ceiling, nothing was tested.
    """
    told = [None if one is None else bool(one) for one in outcomes]
    if all(one is None for one in told):
        return "not tested"
    if all(told):
        return "yes"
    return "no" if all(one is False for one in told) else "partly"


def larger(first: float, second: float, spread: float) -> bool | None:
    """Whether `first` is the larger one.

    None where the difference is within two spreads, or one of them is unknown.
    """
    difference = first - second
    if not np.isfinite([difference, spread]).all() or abs(difference) <= _SPREADS * spread:
        return None
    return bool(difference > 0)


def all_of(outcomes: Iterable[bool | None]) -> bool | None:
    """Of a finding in several parts: True if all hold, False if one does not, else None."""
    told = list(outcomes)
    if any(one is False for one in told):
        return False
    return None if not told or any(one is None for one in told) else True


def at_ceiling(value: float, ceiling: float) -> bool:
    """Whether an estimate is so near to the most there can be that it says nothing of an order."""
    return bool(value >= SATURATED * ceiling)


def late(values: np.ndarray, steps: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over the last quarter of a training.

    Args:
        values: (t,), one a record.
        steps: (t,) rising iterations of the records; of one record alone the deviation is 0.
    """
    last = np.asarray(values, float)[steps >= LATE * steps[-1]]
    return float(last.mean()), float(last.std(ddof=1)) if len(last) > 1 else 0.0


def trend(values: np.ndarray) -> float:
    """Spearman's correlation with the order of the records."""
    from mi.agreement import spearman

    return spearman(np.arange(len(values), dtype=float), np.asarray(values, float))


def drift(values: np.ndarray, steps: np.ndarray) -> tuple[float, float]:
    """Rise of the straight line through some records, and their standard deviation about it.

    Args:
        values: (t,), one a record.
        steps: (t,) rising iterations of the records.

    Returns:
        Rise from the first to the last record, and the deviation; NaN of fewer than three records,
        of which nothing could be told.
    """
    if len(values) < 3:
        return math.nan, math.nan
    times = (steps - steps[0]) / (steps[-1] - steps[0])
    slope, start = np.polyfit(times, np.asarray(values, float), 1)
    about = np.asarray(values, float) - (start + slope * times)
    return float(slope), float(np.sqrt((about**2).sum() / (len(values) - 2)))


def second_half(values: np.ndarray, steps: np.ndarray) -> tuple[float, float]:
    """The `drift` of the records from the middle of a training on."""
    some = steps >= steps[-1] / 2
    return drift(np.asarray(values)[some], steps[some])


def rises_all_along(
    values: np.ndarray, steps: np.ndarray, ceiling: float
) -> tuple[bool | None, bool | None]:
    """Whether something rises in order with the iterations; and whether in the second half too.

    Records are denser at first, so that an order over all of them could be that of the start alone.
    None where a rise is within its spread, and for both where the end is at the ceiling.
    """
    if at_ceiling(values[-1], ceiling):
        return None, None
    end, spread = late(values, steps)
    rise, about = second_half(values, steps)
    whole = all_of([larger(end, values[0], spread), larger(trend(values), RISING, 0.0)])
    return whole, larger(rise, 0.0, about)


def peak(values: np.ndarray) -> tuple[float, int]:
    """The highest mean of three records in a row, and the place of the middle one.

    The highest single record of a noisy curve lies above its end by chance alone.
    """
    if len(values) < 3:
        return math.nan, 0
    means = np.convolve(np.asarray(values, float), np.full(3, 1 / 3), "valid")
    place = int(np.argmax(means))
    return float(means[place]), place + 1


def shown(value: float, form: str = ".2f") -> str:
    """A number as text; what could not be computed, of too few records, is unknown."""
    return format(value, form) if np.isfinite(value) else "unknown"


def by_width(texts: dict[str, str]) -> str:
    """One text for each width of the kernels; said once where they are the same."""
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{width} width: {text}" for width, text in texts.items())
