"""From numbers to what a report says of them: agreement, differences beside their spread."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from oip.studies.frame import Agreement

TOO_SHORT = 5_000
"""Iterations under which nothing is said about the late training."""
LATE = 0.75
"""Share of a training after which it is late."""
_SPREADS = 2.0


def agreement(outcomes: Iterable[bool | None]) -> Agreement:
    """Of several looks at one finding: all for it, all against it, or else partly.

    Args:
        outcomes: True, False, or None where a look does not decide.
    """
    told = [None if one is None else bool(one) for one in outcomes]
    if not told:
        return "not tested"
    if all(told):
        return "yes"
    return "no" if all(one is False for one in told) else "partly"


def larger(first: float, second: float, spread: float) -> bool | None:
    """Whether `first` is the larger one; None where the difference is within two spreads."""
    difference = first - second
    if not np.isfinite(difference) or abs(difference) <= _SPREADS * spread:
        return None
    return bool(difference > 0)


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


def shown(value: float, form: str = ".2f") -> str:
    """A number as text; what could not be computed, of too few records, is unknown."""
    return format(value, form) if np.isfinite(value) else "unknown"


def by_width(texts: dict[str, str]) -> str:
    """One text for each width of the kernels; said once where they are the same."""
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{width} width: {text}" for width, text in texts.items())
