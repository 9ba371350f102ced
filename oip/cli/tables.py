"""Results on stdout: plain text, tables and JSON."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from oip.core.errors import plain_text
from oip.core.units import of_noun

if TYPE_CHECKING:
    from rich.text import Text

Record: TypeAlias = dict[str, Any]
"""A result as a command prints it with --json."""

USUAL = ("responsive", "revived", "reachable-only", "dead", "failed")
"""Verdicts that tables have, even if no map has them."""
MOST_ROWS = 20
"""Rows of a table that are printed without --all."""
ALL_ROWS = "oip.all_rows"
_LEGEND = "oip.legend"
"""Keys of what a command keeps while it runs."""
_WIDTH = 80
"""Characters of a line that is not printed on a terminal, if headings can be broken."""
_NAME = 16
"""Characters that a column of names keeps on a narrow terminal."""
_PADDING = {3: (0, 1, 0, 1), 2: (0, 1, 0, 0), 1: (0, 0, 0, 0)}
"""Space around cells, above, right, below and left, by the gap between columns."""


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
    legend: Mapping[str, str] | None = None,
) -> None:
    """Print a table; headings and cells are shown as plain text, whatever is in them.

    Words are never broken: on a terminal too narrow for a row, headings and texts go on in the next
    line, columns move together, and names lose their middle. Elsewhere, as in a file, texts stay in
    their line.

    Args:
        headings: one for each column.
        rows: cells; after the first `MOST_ROWS` they are counted, unless --all was given.
        title: printed above the table.
        left: headings of the columns that are aligned to the left; all others to the right.
        legend: heading -> meaning, printed below the first table of a command that has it.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[plain_text(cell) for cell in row] for row in rows]
    shown_rows = cells if all_rows() else cells[:MOST_ROWS]
    texts = [plain_text(heading) for heading in headings]
    console = Console(file=sys.stdout, highlight=False)
    is_left = [heading in left for heading in headings]
    is_terminal = sys.stdout.isatty()
    room = console.width if is_terminal else _WIDTH
    widths, gap = _widths(texts, shown_rows, is_left, room, is_terminal)
    console.width = max(console.width, _total(widths, gap))
    table = Table(box=box.SIMPLE_HEAD, padding=_PADDING[gap])
    for text, heading, width in zip(texts, headings, widths, strict=True):
        table.add_column(Text(text), justify="left" if heading in left else "right", width=width)
    for row in shown_rows:
        table.add_row(*map(_cell, row, widths))
    if title:
        click.echo("\n".join(_wrapped(plain_text(title), room if is_terminal else None)))
    console.print(table)
    if len(shown_rows) < len(cells):
        click.echo(f"  and {len(cells) - len(shown_rows)} more rows: --all prints them\n")
    for heading, meaning in _new_entries(legend or {}).items():
        lines = _wrapped(f"  {heading}: {meaning}", room if is_terminal else None)
        console.print(Text("\n".join(lines), style="dim"), soft_wrap=True)


def _wrapped(text: str, room: int | None) -> list[str]:
    """Return a text in lines that end between words, in one line without a room."""
    wrap_options = {
        "subsequent_indent": "    ",
        "break_long_words": False,
        "break_on_hyphens": False,
    }
    return [text] if room is None else textwrap.wrap(text, room, **wrap_options)


def all_rows() -> bool:
    """Return whether the command was given --all."""
    context = click.get_current_context(silent=True)
    return context is None or context.meta.get(ALL_ROWS, False)


def shortened(text: str, width: int) -> str:
    """Return a text that is at most so wide; a longer one loses its middle.

    >>> shortened("efficientnet/block6a_expand_conv", 16)
    'efficie...d_conv'
    """
    if len(text) <= width:
        return text
    tail = (width - 3) // 2
    return f"{text[: width - 3 - tail]}...{text[len(text) - tail :]}"


def _cell(cell: str, width: int) -> Text:
    """Return a cell that goes on in the next line; one of longer words loses its middle."""
    from rich.text import Text

    if _longest_word(cell) > width:
        return Text(shortened(cell, width), no_wrap=True)
    return Text(cell)


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def _widths(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: Sequence[bool],
    room: int,
    is_terminal: bool,
) -> tuple[list[int], int]:
    """Return the columns' widths and the gap between them.

    To fit a room, headings break at spaces and columns move together; on a terminal, texts to the
    left then break, too, and names are shortened at last. Where that is not enough, the terminal
    breaks the lines.
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(headings)
    cells = [max(map(len, column), default=0) for column in columns]
    widths = [max(width, len(text)) for width, text in zip(cells, headings, strict=True)]
    heading_words = list(map(_longest_word, headings))
    cell_words = [max(map(_longest_word, column), default=0) for column in columns]
    broken_headings = [max(pair) for pair in zip(cells, heading_words, strict=True)]
    broken_texts, shortened_names = list(broken_headings), list(broken_headings)
    for column in [column for column, is_left in enumerate(left) if is_left]:
        broken_texts[column] = max(cell_words[column], heading_words[column])
        shortened_names[column] = min(broken_texts[column], _NAME)
    least_widths = [broken_headings]
    if is_terminal:
        least_widths += [broken_texts, shortened_names]
    gaps = (gap for candidate in least_widths for gap in _PADDING if _total(candidate, gap) <= room)
    gap = next(gaps, min(_PADDING))
    for candidate in least_widths:
        widths = _narrowed(widths, candidate, _total(widths, gap) - room)
    return widths, gap


def _narrowed(widths: Sequence[int], minimum_widths: Sequence[int], excess: int) -> list[int]:
    """Return widths that are narrower by an excess in all, as far as the least widths allow."""
    narrowed = list(widths)
    while excess > 0:
        spare = [width - low for width, low in zip(narrowed, minimum_widths, strict=True)]
        widest = max(range(len(spare)), key=spare.__getitem__)
        if spare[widest] <= 0:
            break
        removed = min(spare[widest], excess)
        narrowed[widest] -= removed
        excess -= removed
    return narrowed


def _total(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * len(widths) + 1


def _new_entries(legend: Mapping[str, str]) -> Mapping[str, str]:
    """Return the entries of a legend that this command has not printed yet."""
    context = click.get_current_context(silent=True)
    if context is None:
        return legend
    printed = context.meta.setdefault(_LEGEND, set())
    new = {heading: text for heading, text in legend.items() if heading not in printed}
    printed.update(new)
    return new


VERDICT_LEGEND = {
    "responsive": "the map responds even to white noise",
    "revived": "it does not respond to white noise, but to coarser noise or to its pattern",
    "not seen in data": "it responds to its pattern, but to no image of the data",
    "dead": "it responds to nothing that was tried",
    "failed": "its response is not a finite number",
    "not reached": "it responded to no start, which does not make it dead",
    "never silent": "its response is not zero for any input",
}
"""Verdict, as shown -> its meaning in a line."""
ABOVE_BEST_IMAGE = {
    "above best image": "maps that respond to their own pattern more than to any image of the data"
}


def verdict_legend(counts: Iterable[Mapping[str, int]]) -> dict[str, str]:
    """Return the meaning of each verdict that any row has."""
    from oip.ascent.results import shown_verdict

    present = {shown_verdict(word) for row in counts for word, count in row.items() if count}
    return {word: text for word, text in VERDICT_LEGEND.items() if word in present}


def of_units(legend: Mapping[str, str], noun: str) -> dict[str, str]:
    """Return a legend that speaks of units, tokens, heads or directions where it says maps.

    >>> of_units({"score": "response of the map"}, "unit")
    {'score': 'response of the unit'}
    """
    return {heading: of_noun(text, noun) for heading, text in legend.items()}


def verdict_headings(counts: Iterable[Mapping[str, int]]) -> list[str]:
    """Return the verdicts of a table: the usual ones, and those others that any row has."""
    from oip.ascent.results import VERDICTS

    rows = list(counts)
    return [word for word in VERDICTS if word in USUAL or any(row.get(word) for row in rows)]


def without_empty(
    headings: Sequence[str], rows: Iterable[Sequence[object]]
) -> tuple[list[str], list[list[object]]]:
    """Return a table without the columns that are a dash in every row.

    >>> without_empty(("map", "stability"), [(3, "-"), (5, "-")])
    (['map'], [[3], [5]])
    """
    rows = list(rows)
    columns = [c for c in range(len(headings)) if any(row[c] != "-" for row in rows)]
    texts = [headings[column] for column in columns]
    return texts, [[row[column] for column in columns] for row in rows]


def number(value: float | None, digits: int = 3) -> str:
    """Format a number for a table; a dash where there is none.

    >>> number(0.25, 2), number(0.0004, 2), number(1.23e30), number(None)
    ('0.25', '0.0004', '1.23e+30', '-')
    """
    if value is None:
        return "-"
    if abs(value) >= 1e9:
        return f"{value:.{digits}g}"
    return f"{value:z.2g}" if 0 < abs(value) < 0.5 * 10**-digits else f"{value:z.{digits}f}"


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """Format the ends of an interval for a table; a dash where there are none.

    >>> interval(0.25, 0.5), interval(None, None)
    ('0.25 to 0.50', '-')
    """
    return "-" if low is None or high is None else f"{low:z.{digits}f} to {high:z.{digits}f}"


def p_value(value: float | None) -> str:
    """Format a p-value for a table; a dash where there is none."""
    return "-" if value is None else f"{value:.2g}"
