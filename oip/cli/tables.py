"""Results on stdout: plain text, tables and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import click

from oip.core.errors import plain_text

Record: TypeAlias = dict[str, Any]
"""A result as a command prints it with --json."""

USUAL = ("responsive", "revived", "reachable-only", "dead", "failed")
"""Verdicts that tables have, even if no map has them."""
_WIDTH = 120
"""Columns of a table where stdout is not a terminal."""


def print_text(text: object) -> None:
    """Print a line of untrusted text."""
    click.echo(plain_text(text))


def print_json(result: object) -> None:
    """Print a result as JSON; names from models and data stay text (ASCII only)."""
    click.echo(json.dumps(result, allow_nan=False))


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    title: str = "",
    *,
    left: Collection[str] = (),
) -> None:
    """Print a table; headings and cells are shown as plain text, whatever is in them.

    Args:
        headings: one for each column.
        rows: cells.
        title: printed above the table.
        left: headings of the columns that are aligned to the left; all others to the right.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(plain_text(title)) if title else None, title_justify="left", box=box.SIMPLE_HEAD
    )
    for heading in headings:
        justify = "left" if heading in left else "right"
        text = Text(plain_text(heading))
        table.add_column(text, justify=justify, overflow="fold", no_wrap=justify == "right")
    for row in rows:
        table.add_row(*(Text(plain_text(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _WIDTH
    Console(file=sys.stdout, width=width).print(table)


def verdict_headings(counts: Iterable[Mapping[str, int]]) -> list[str]:
    """Return the verdicts of a table: the usual ones, and those others that any row has."""
    from oip.ascent.results import VERDICTS

    rows = list(counts)
    return [word for word in VERDICTS if word in USUAL or any(row.get(word) for row in rows)]


def number(value: float | None, digits: int = 3) -> str:
    """Format a number for a table; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def p_value(value: float | None) -> str:
    """Format a p-value for a table; a dash where there is none."""
    return "-" if value is None else f"{value:.2g}"
