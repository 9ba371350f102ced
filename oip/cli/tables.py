"""Tables on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from oip.cli.options import plain_text

_WIDTH = 120
"""Columns where stdout is no terminal."""


def print_table(
    columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]], title: str = ""
) -> None:
    """Prints a table.

    Args:
        columns: (heading, `left` or `right`).
        rows: cells. Here as in headings, text from models and data is shown as text, whatever is
            in it.
        title: above the table.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(plain_text(title)) if title else None, title_justify="left", box=box.SIMPLE_HEAD
    )
    for heading, side in columns:
        justify = "right" if side == "right" else "left"
        shown = Text(plain_text(heading))
        table.add_column(shown, justify=justify, overflow="fold", no_wrap=side == "right")
    for row in rows:
        table.add_row(*(Text(plain_text(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _WIDTH
    Console(file=sys.stdout, width=width).print(table)


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"
