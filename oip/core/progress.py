"""Progress of long work: a label, how much is done, how much there is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from oip.core.errors import plain_text
from oip.core.html import kernel_shell, paragraph

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

Progress = Callable[[str, int, int], None]
"""Called as `progress(label, done, total)`; the last report of a label is its total."""
_SECONDS_BETWEEN = 0.1
_SECONDS_BETWEEN_LINES = 10.0


def silent(label: str, done: int, total: int) -> None:
    """Show nothing."""


def automatic(label: str, done: int, total: int) -> None:
    """Show bars below a notebook's cell, nothing anywhere else; the default of public functions."""
    shell = kernel_shell()
    if shell is not None:
        _bars_of(shell)(label, done, total)


class Reporter:
    """A progress with a text beside the numbers; this one shows nothing."""

    def __call__(self, label: str, done: int, total: int, text: str = "") -> None:
        """Show how much is done; `text` stands in place of the numbers."""


@contextmanager
def on_stderr(quiet: bool = False) -> Iterator[Reporter]:
    """Yield a reporter: bars on a terminal, lines elsewhere, nothing if quiet."""
    if quiet:
        yield Reporter()
    elif sys.stderr.isatty():
        with _rich_bars() as bars:
            yield _TerminalBars(bars)
    else:
        yield _Lines()


class _Lines(Reporter):
    """A line for each label at its end, and every ten seconds."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, label: str, done: int, total: int, text: str = "") -> None:
        now = time.monotonic()
        last = self._last.setdefault(label, now)
        if done >= total or now - last >= _SECONDS_BETWEEN_LINES:
            line = plain_text(f"{label}: {text or f'{done}/{total}'}")
            print(line, file=sys.stderr, flush=True)
            self._last[label] = now


class _TerminalBars(Reporter):
    def __init__(self, bars: RichProgress):
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, label: str, done: int, total: int, text: str = "") -> None:
        from rich.markup import escape

        shown = escape(text) or f"{done}/{total}"
        if label not in self._tasks:
            name = escape(plain_text(label))
            self._tasks[label] = self._bars.add_task(name, total=total, text=shown)
        self._bars.update(self._tasks[label], completed=done, total=total, text=shown)


def _rich_bars() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return RichProgress(*columns, console=Console(stderr=True))


class DisplayHandle(Protocol):
    """A piece of a notebook's output that can be changed."""

    def update(self, page: object, /) -> None:
        """Replace it."""
        ...


class NotebookBars:
    """Bars below a notebook's cell, one a label; they need no widgets and no thread.

    Args:
        show: `IPython.display.display`.
        html: `IPython.display.HTML`.
    """

    def __init__(self, show: Callable[..., DisplayHandle], html: Callable[[str], object]):
        self._show = show
        self._html = html
        self._handle: DisplayHandle | None = None
        self._counts: dict[str, tuple[int, int]] = {}
        self._drawn = 0.0

    def __call__(self, label: str, done: int, total: int) -> None:
        new = label not in self._counts
        self._counts[label] = (done, total)
        now = time.monotonic()
        if not new and done < total and now - self._drawn < _SECONDS_BETWEEN:
            return
        self._drawn = now
        page = self._html("".join(_bar(label, *counts) for label, counts in self._counts.items()))
        if self._handle is None:
            self._handle = self._show(page, display_id=True)
        else:
            self._handle.update(page)


def _bar(label: str, done: int, total: int) -> str:
    share = 100 * min(done, total) / total if total > 0 else 100
    line = (
        "<div style='height:4px;width:300px;background:#ccc'>"
        f"<div style='height:4px;width:{share:.0f}%;background:#0072b2'></div></div>"
    )
    return f"{paragraph(f'{label}: {done} of {total}')}{line}"


_current: tuple[tuple[int, int], NotebookBars] | None = None


def _bars_of(shell: Any) -> NotebookBars:
    """Return the bars of the cell that runs now."""
    global _current
    cell = (id(shell), shell.execution_count)
    if _current is None or _current[0] != cell:
        from IPython.display import HTML, display  # type: ignore[import-not-found]

        _current = (cell, NotebookBars(display, HTML))
    return _current[1]
