"""Checks of settings: numbers, words, and `NAME=VALUE` as people type it.

Each raises a SettingsError for anything else than it expects.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oip.core.errors import SettingsError

LARGEST = 1e100
"""Of a number that is squared or divided by; with the responses' own limits nothing overflows."""
_LONGEST_PATH = 120
"""Characters of a path in a message that refuses it."""
_MOST_DRAWN = 1 << 27
"""Samples of all shuffles, or of all draws, together."""


def check_number(name: str, value: object, above: float = 0.0, maximum: float = math.inf) -> None:
    """Check a number: above `above`, `maximum` at the most, and 0 or from 1e-100 to 1e100.

    Args:
        name: of estimator and parameter, such as "kde: noise".
        value: of Python or of NumPy.
        above: it is larger than this.
        maximum: it is no larger than this.
    """
    value = python_number(value)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not above < value <= maximum
    ):
        upward = f" and {maximum:g} or less" if math.isfinite(maximum) else ""
        raise SettingsError(name, f"a number above {above:g}{upward}", _value_text(value))
    if value and not 1 / LARGEST <= abs(value) <= LARGEST:
        limits = f"a number from {1 / LARGEST:g} to {LARGEST:g}"
        raise SettingsError(name, limits, _value_text(value))


def check_whole(name: str, value: object, minimum: int = 1) -> int:
    """Return a whole number of Python or NumPy, `minimum` or more, as a Python int."""
    number = python_number(value)
    if isinstance(number, int) and not isinstance(number, bool) and number >= minimum:
        return number
    raise SettingsError(name, f"a whole number, {minimum} or more", _value_text(value))


def check_drawn(name: str, value: object, n: int) -> int:
    """Return how often n samples are drawn or shuffled: 0 or more, as often as memory holds."""
    count = check_whole(name, value, 0)
    limit = _MOST_DRAWN // n
    if count > limit:
        raise SettingsError(name, f"at most {limit} for {n} samples", count)
    return count


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Check that a value is one of some words."""
    if not isinstance(value, str) or value not in choices:
        raise SettingsError(name, " or ".join(choices), _value_text(value))


def one_column(values: np.ndarray) -> np.ndarray:
    """Return labels (n, 1), as CIFAR has them, as (n,); other arrays unchanged."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def tag_columns(labels: object) -> np.ndarray | None:
    """Return labels (n, k) of zeros and ones as uint8; None for labels of any other kind.

    Rows with exactly one 1 each are one label, written in another way.
    """
    try:
        values = np.asarray(labels)
    except ValueError:
        return None
    if values.ndim != 2 or values.shape[1] < 2 or values.dtype.kind not in "buif":
        return None
    if not np.isin(values, (0, 1)).all() or (values.sum(axis=1) == 1).all():
        return None
    return values.astype(np.uint8)


def check_flag(name: str, value: object) -> None:
    """Check that a value is True or False."""
    if not isinstance(value, bool):
        raise SettingsError(name, "True or False", _value_text(value))


def check_path(name: str, value: object, form: str = "a path") -> Path:
    """Return a path of an argument; an empty text is none.

    Args:
        name: of the argument.
        value: a text or a path.
        form: of the argument, for the message.

    Raises:
        SettingsError: something else, or a path that the system does not look up.
    """
    if isinstance(value, (str, os.PathLike)) and (path := os.fspath(value)):
        if isinstance(path, str):
            if problem := path_problem(path):
                raise SettingsError(name, form, problem)
            return Path(path)
    raise SettingsError(name, form, described(value))


def path_problem(path: str | Path) -> str:
    """Return why the system does not look up a path, with the path; empty where it does.

    It may lead nowhere: a missing file is none of the reasons.
    """
    try:
        os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:  # of the system, and a NUL byte
        text = str(path)
        shown = text if len(text) <= _LONGEST_PATH else f"{text[:_LONGEST_PATH]}..."
        return f"'{shown}' ({getattr(error, 'strerror', None) or error})"
    return ""


def check_kind(name: str, value: object, kind: type, form: str, hint: str = "") -> None:
    """Check that an argument is of a class.

    Args:
        name: of the argument.
        value: of it.
        kind: the class.
        form: what such a thing is, with its article, for the message.
        hint: how to get one.
    """
    if not isinstance(value, kind):
        raise SettingsError(name, form, described(value), hint)


def described(value: object) -> str:
    """Return how a message names a value of a kind that is not expected."""
    if value is None or isinstance(value, (bool, int, float)):
        return f"{value}"
    if isinstance(value, str):
        return f"'{value}'" if value else "an empty text"
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def parse_assignments(
    texts: Iterable[str], source: str = "setting", tables: bool = False
) -> dict[str, Any]:
    """Return `NAME=VALUE` texts as names with values.

    A value is read as TOML, else as `True`, `False` or a number of Python, else it is a plain word.

    Args:
        texts: as people type them, such as `k=5`.
        source: where they were typed, for messages.
        tables: allow `TABLE.NAME`, and a name that comes twice; the last one counts.

    Raises:
        SettingsError: a text of another form, or a name that comes twice.
    """
    form = "NAME=VALUE or TABLE.NAME=VALUE" if tables else "NAME=VALUE, each name once"
    pattern = r"[^\W\d]\w*(\.[^\W\d]\w*)?" if tables else r"[^\W\d]\w*"
    values: dict[str, object] = {}
    for text in texts:
        name, _, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not re.fullmatch(pattern, name) or not value or (name in values and not tables):
            raise SettingsError(source, form, f"'{text}'")
        values[name] = _parsed(value)
    return values


def _parsed(text: str) -> object:
    """Return the value that a text stands for."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # no TOML, too many digits, nested too deeply
        pass
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def python_number(value: object) -> object:
    """Return a NumPy number as a Python number; other values unchanged."""
    if isinstance(value, (np.generic, np.ndarray)) and not value.ndim:
        return value.item()
    return value


def _value_text(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else f"{value}"
