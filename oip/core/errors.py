"""One root for every error that the tool raises on purpose; notices; the library's log.

A message says what was expected, what was received, and what to do. The shell shows the message
alone and leaves with `exit_status`.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import re
import shlex
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

LOG = logging.getLogger("oip")
"""INFO: pieces of work and how long they took. DEBUG: every file and graph."""
LOG.addHandler(logging.NullHandler())

LOOK_FOR_NAN = "Look for NaN in the model's weights."
"""The hint where the responses or the loss of a network are not finite numbers."""
_LONG_WORD = re.compile(r"(\S{80})\S{160,}")
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class OipError(Exception):
    """Root of all errors of `oip`, `mi`, `models` and `gallery`.

    Args:
        message: the whole message, or the subject of one that `expected` makes.
        values, received, hint: as for `expected`; None and nothing beside a whole message.
    """

    exit_status = 2

    def __init__(
        self, message: object, values: object = None, received: object = None, hint: str = ""
    ):
        super().__init__(message if values is None else expected(message, values, received, hint))


class ModelError(OipError):
    """A model that cannot be read, is unsafe to read, or lacks a requested part."""


class DataError(OipError):
    """Images or labels that are missing, malformed or do not fit the model."""


class RunError(OipError):
    """A run directory that is missing, damaged, unwritable or made from something else."""

    path: Path | None = None
    """The file that cannot be used, if it is one that was read."""

    @classmethod
    def of_file(cls, path: Path, values: object, received: object, hint: str = "") -> Self:
        """Return the error of a file that was read, with a message as of `expected`."""
        error = cls(f"'{path}'", values, received, hint)
        error.path = Path(path)
        return error


class SettingsError(OipError):
    """A setting with a value that is not allowed."""


class PartlyFailed(OipError):
    """Work that was done in part: what could be finished is written, the rest is named."""

    exit_status = 1


def plain_text(text: object) -> str:
    """Return untrusted text (names of layers, classes) without control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def shell_command(*arguments: object) -> str:
    """Return a command line for bash; control characters in it, and bytes of no text, are escaped.

    >>> shell_command("oip", "status", "a run")
    "oip status 'a run'"
    """
    return " ".join(map(_quoted, arguments))


def _quoted(argument: object) -> str:
    text = str(argument)
    if text.isprintable():
        return shlex.quote(text)
    escaped = (c if c.isprintable() and c not in "\\'" else _escaped(c) for c in text)
    return f"$'{''.join(escaped)}'"


def _escaped(character: str) -> str:
    is_byte = "\udc80" <= character <= "\udcff"  # of a file name that is no UTF-8
    content = character.encode("utf-8", "surrogateescape" if is_byte else "replace")
    return "".join(f"\\x{byte:02x}" for byte in content)


def expected(subject: object, values: object, received: object, hint: str = "") -> str:
    """Return an error message: the subject, the expected values, the received one, the way out."""
    end = str(received).rstrip(".")  # Keras' own messages have one
    text = _LONG_WORD.sub(r"\1...", f"{subject}: expected {values}; received {end}.")
    return f"{text} {hint}" if hint else text


def did_you_mean(name: object, choices: Iterable[str], prefix: str = "") -> str:
    """Return the hint that names the choice nearest to a misspelt name, empty without one.

    Args:
        name: as it was given.
        choices: the names that there are.
        prefix: stands before the choice, such as `rank.`.
    """
    matches = difflib.get_close_matches(str(name), list(choices), 1)
    return f"Did you mean '{prefix}{matches[0]}'?" if matches else ""


def reason_of(error: BaseException) -> str:
    """Return the line of an error's text that says what was wrong.

    Keras puts a heading first, or whole configurations before the error that it met.
    """
    text = _TERMINAL_CODES.sub("", str(error)).strip().rpartition("Exception encountered:")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Exception encountered")] or lines
    return (lines[0] if lines else type(error).__name__)[:300]


class Notice(UserWarning):
    """An assumption that was made, and the way to change it."""


def notice(text: str) -> None:
    """Warn, once for each line of the user's own code that leads to it."""
    level = 1
    frame = inspect.currentframe()
    while (
        frame is not None
        and frame.f_back is not None
        and _is_ours(frame.f_globals.get("__name__", ""))
    ):
        frame = frame.f_back
        level += 1
    warnings.warn(text, Notice, stacklevel=level)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "oip" or module == "functools"  # cached properties


@contextmanager
def logged(text: str, *arguments: object, level: int = logging.INFO) -> Iterator[None]:
    """Log a piece of work that did not fail, with its seconds.

    Args:
        text: as for `logging`, with `%s` for each of the arguments.
        arguments: of the text.
        level: of the log.
    """
    started = time.perf_counter()
    yield
    LOG.log(level, f"{text}: %.2f s", *arguments, time.perf_counter() - started)
