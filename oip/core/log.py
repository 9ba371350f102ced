"""The log of the library, `oip` of Python's `logging`: what is done, and how long it takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOG = logging.getLogger("oip")
"""INFO: pieces of work and how long they took. DEBUG: every file and graph."""
LOG.addHandler(logging.NullHandler())


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
