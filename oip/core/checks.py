"""Checks of the settings of estimators: what was expected, what came."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from oip.core.errors import SettingsError, expected

LARGEST = 1e100
"""Of a number that is squared or divided by; with the responses' own limits nothing overflows."""
_MOST_DRAWN = 1 << 27
"""Samples of all shuffles, or of all draws, together."""


def check_number(what: str, value: Any, above: float = 0.0, most: float = math.inf) -> None:
    """A number above `above`, and `most` at the most; one that is not 0 from 1e-100 to 1e100.

    Args:
        what: estimator and parameter, such as "kde: noise".
        value: of Python or of NumPy.
        above: it is larger than this.
        most: it is no larger than this.

    Raises:
        SettingsError: anything else.
    """
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not above < value <= most:
        upward = f" and {most:g} or less" if math.isfinite(most) else ""
        raise SettingsError(expected(what, f"a number above {above:g}{upward}", _shown(value)))
    if value and not 1 / LARGEST <= abs(value) <= LARGEST:
        wanted = f"a number from {1 / LARGEST:g} to {LARGEST:g}"
        raise SettingsError(expected(what, wanted, _shown(value)))


def check_whole(what: str, value: Any, least: int = 1) -> int:
    """A whole number, `least` or more, of Python or of NumPy; as one of Python.

    Raises:
        SettingsError: anything else.
    """
    number = plain(value)
    if isinstance(number, int) and not isinstance(number, bool) and number >= least:
        return number
    raise SettingsError(expected(what, f"a whole number, {least} or more", _shown(value)))


def check_drawn(what: str, value: Any, n: int) -> int:
    """How often n samples are drawn or shuffled: a whole number, 0 or more, that memory holds.

    Raises:
        SettingsError: anything else.
    """
    count = check_whole(what, value, 0)
    most = _MOST_DRAWN // n
    if count > most:
        raise SettingsError(expected(what, f"at most {most} for {n} samples", count))
    return count


def check_choice(what: str, value: Any, choices: Sequence[str]) -> None:
    """One of some words.

    Raises:
        SettingsError: anything else.
    """
    if not isinstance(value, str) or value not in choices:
        raise SettingsError(expected(what, " or ".join(choices), _shown(value)))


def check_flag(what: str, value: Any) -> None:
    """True or False.

    Raises:
        SettingsError: anything else.
    """
    if not isinstance(value, bool):
        raise SettingsError(expected(what, "True or False", _shown(value)))


def plain(value: Any) -> Any:
    """A NumPy number as one of Python, so that it is shown and stored as such."""
    item = getattr(value, "item", None)
    return item() if item is not None and getattr(value, "ndim", None) == 0 else value


def _shown(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else f"{value}"
