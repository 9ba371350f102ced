"""Progress on stderr: bars on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from oip.cli.tables import plain_text
from oip.core.progress import Progress, silent

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def shown(quiet: bool = False) -> Iterator[Progress]:
    """Yields a progress to hand to the work; it is taken down at the end."""
    if quiet:
        yield silent
    elif sys.stderr.isatty():
        with _bars() as progress:
            yield progress
    else:
        yield _lines()


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks = {}

        def progress(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(escape(plain_text(label)), total=total)
            bars.update(tasks[label], completed=done, total=total)

        yield progress


def _lines() -> Progress:
    last: dict[str, float] = {}

    def progress(label: str, done: int, total: int) -> None:
        now = time.monotonic()
        first = label not in last
        if done >= total or now - last.get(label, now) >= _SECONDS_BETWEEN_LINES:
            print(plain_text(f"{label}: {done}/{total}"), file=sys.stderr, flush=True)
            last[label] = now
        elif first:
            last[label] = now

    return progress
