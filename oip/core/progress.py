"""Progress of long work: a label, how much is done, how much there is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from oip.core.html import kernel_shell, paragraph

Progress = Callable[[str, int, int], None]
"""Called as `progress(label, done, total)`; the last report of a label is its total."""
_SECONDS_BETWEEN = 0.1


def silent(label: str, done: int, total: int) -> None:
    """Show nothing."""


def automatic(label: str, done: int, total: int) -> None:
    """Show bars below a notebook's cell, nothing anywhere else; the default of public functions."""
    shell = kernel_shell()
    if shell is not None:
        _bars_of(shell)(label, done, total)


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
