"""Remarks for users of the Python interface."""

from __future__ import annotations

import inspect
import warnings

_OURS = ("oip", "mi", "gallery", "models")


class Notice(UserWarning):
    """Something that was taken for granted, and what to do about it."""


def notice(text: str) -> None:
    """Warns of something, once for each line of the user's own code that leads to it."""
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
    return module.partition(".")[0] in _OURS
