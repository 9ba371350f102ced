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

Progress = Callable[[str, float, int], None]
"""Called as `progress(label, done, total)`; the last report of a label is its total. A fraction is
work on the next piece."""
_SECONDS_BETWEEN = 0.1
_SECONDS_BETWEEN_LINES = 3.0


def silent(label: str, done: float, total: int) -> None:
    """Show nothing."""


def automatic(label: str, done: float, total: int) -> None:
    """Show bars below a notebook's cell, nothing anywhere else; the default of public functions."""
    shell = kernel_shell()
    if shell is not None:
        _notebook_bars(shell)(label, done, total)


def piece_of(progress: Progress, label: str, index: int, total: int) -> Progress:
    """Return a progress for one part of a larger piece of work."""

    def moved(own_label: str, done: float, own_total: int) -> None:
        progress(label, index + (done / own_total if own_label.endswith(": maps") else 0), total)

    return moved


class Reporter:
    """A progress with a text beside the numbers; this one shows nothing."""

    def __call__(self, label: str, done: float, total: int, text: str = "") -> None:
        """Show how much is done; `text` stands in place of the numbers and of the rate."""


class Pace:
    """The rate of each label since its first report, and the time that is left.

    What comes before the first steps of a long piece, such as tracing a model, counts once and not
    for each piece: from a first report of a fraction on, the rate is that since this report.
    """

    def __init__(self) -> None:
        self._first: dict[str, tuple[float, float]] = {}

    def text(self, label: str, done: float, total: int, now: float) -> str:
        """Return them as text, `4.2/s, 12 s left`; nothing where there is no rate yet."""
        started, first_done = self._first.setdefault(label, (now, done))
        if (
            done < first_done or first_done == 0 < done < 1
        ):  # from its beginning, or the first steps
            started, first_done = self._first[label] = (now, done)
        if done <= first_done or now <= started:
            return ""
        rate = (done - first_done) / (now - started)
        remaining = f", {duration((total - done) / rate)} left" if done < total else ""
        return rate_text(rate) + remaining


def rate_text(rate: float) -> str:
    """Return pieces a second as text.

    >>> rate_text(4.23), rate_text(0.05), rate_text(99.7)
    ('4.2/s', '3/min', '100/s')
    """
    if rate < 0.1:
        return f"{60 * rate:.2g}/min"
    return f"{rate:.2g}/s" if rate < 99.5 else f"{rate:.0f}/s"


def duration(seconds: float) -> str:
    """Return a time as `45 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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


@contextmanager
def waiting(text: str, quiet: bool = False) -> Iterator[None]:
    """Show on a terminal that something is under way whose end is not known; nothing if quiet."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(plain_text(text))):
        yield


class _Lines(Reporter):
    """A line for each label at its end, and every three seconds."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._pace = Pace()

    def __call__(self, label: str, done: float, total: int, text: str = "") -> None:
        now = time.monotonic()
        pace = self._pace.text(label, done, total, now)
        last = self._last.setdefault(label, now)
        if done >= total or now - last >= _SECONDS_BETWEEN_LINES:
            counts = f"{int(done)}/{total}" + (f", {pace}" if pace else "")
            print(plain_text(f"{label}: {text or counts}"), file=sys.stderr, flush=True)
            self._last[label] = now


class _TerminalBars(Reporter):
    def __init__(self, bars: RichProgress):
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, label: str, done: float, total: int, text: str = "") -> None:
        from rich.markup import escape

        if label not in self._tasks:
            name = escape(plain_text(label))
            self._tasks[label] = self._bars.add_task(name, total=total, text="")
        task_id = self._tasks[label]
        speed = self._bars.tasks[self._bars.task_ids.index(task_id)].speed
        rate = f", {rate_text(speed)}" if speed else ""
        counts = escape(text) or f"{int(done)}/{total}{rate}"
        self._bars.update(task_id, completed=done, total=total, text=counts)


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
    """Bars below a notebook's cell, one per label; they need no widgets and no thread.

    Args:
        show: `IPython.display.display`.
        html: `IPython.display.HTML`.
    """

    def __init__(self, show: Callable[..., DisplayHandle], html: Callable[[str], object]):
        self._show = show
        self._html = html
        self._handle: DisplayHandle | None = None
        self._counts: dict[str, tuple[float, int, str]] = {}
        self._pace = Pace()
        self._last_update = 0.0

    def __call__(self, label: str, done: float, total: int) -> None:
        new = label not in self._counts
        now = time.monotonic()
        self._counts[label] = (done, total, self._pace.text(label, done, total, now))
        if not new and done < total and now - self._last_update < _SECONDS_BETWEEN:
            return
        self._last_update = now
        page = self._html("".join(_bar(label, *counts) for label, counts in self._counts.items()))
        if self._handle is None:
            self._handle = self._show(page, display_id=True)
        else:
            self._handle.update(page)


def _bar(label: str, done: float, total: int, pace: str) -> str:
    share = 100 * min(done, total) / total if total > 0 else 100
    line = (
        "<div style='height:4px;width:300px;background:#ccc'>"
        f"<div style='height:4px;width:{share:.0f}%;background:#0072b2'></div></div>"
    )
    text = f"{label}: {int(done)} of {total}" + (f", {pace}" if pace else "")
    return f"{paragraph(text)}{line}"


_current: tuple[tuple[int, int], NotebookBars] | None = None


def _notebook_bars(shell: Any) -> NotebookBars:
    """Return the bars of the cell that runs now."""
    global _current
    cell = (id(shell), shell.execution_count)
    if _current is None or _current[0] != cell:
        from IPython.display import HTML, display  # type: ignore[import-not-found]

        _current = (cell, NotebookBars(display, HTML))
    return _current[1]
