"""Checks of the settings of estimators: what was expected, what came."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from oip.core.errors import SettingsError, expected


def check_number(what: str, value: Any, above: float = 0.0, most: float = math.inf) -> None:
    """A finite number above `above`, and `most` at the most.

    Args:
        what: estimator and parameter, such as "kde: noise".

    Raises:
        SettingsError: anything else.
    """
    wrong = isinstance(value, bool) or not isinstance(value, (int, float))
    if wrong or not math.isfinite(value) or not above < value <= most:
        upward = f" and {most:g} or less" if math.isfinite(most) else ""
        raise SettingsError(expected(what, f"a number above {above:g}{upward}", _shown(value)))


def check_whole(what: str, value: Any, least: int = 1) -> None:
    """A whole number, `least` or more.

    Raises:
        SettingsError: anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SettingsError(expected(what, f"a whole number, {least} or more", _shown(value)))


def check_choice(what: str, value: Any, choices: Sequence[str]) -> None:
    """One of some words.

    Raises:
        SettingsError: anything else.
    """
    if value not in choices:
        raise SettingsError(expected(what, " or ".join(choices), _shown(value)))


def check_flag(what: str, value: Any) -> None:
    """True or False.

    Raises:
        SettingsError: anything else.
    """
    if not isinstance(value, bool):
        raise SettingsError(expected(what, "True or False", _shown(value)))


def _shown(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else f"{value}"
