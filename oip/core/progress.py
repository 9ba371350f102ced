"""What long work tells about itself: a label, how much is done, how much there is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as `progress(label, done, total)`; a label is reported from 0 to its total."""


def silent(label: str, done: int, total: int) -> None:
    """The progress nobody watches."""
