"""HTML of results in a notebook: small pieces, all text escaped.

Names of layers, classes and data come from files that nobody has checked; whatever is passed here
as text stays text.
"""

from __future__ import annotations

import base64
import html
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core.errors import plain_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

_DIGITS = 3


def block(title: str, *pieces: str) -> str:
    """Return a result: its title (text) above pieces of HTML made by this module."""
    return f"<div><strong>{_text(title)}</strong>{''.join(pieces)}</div>"


def paragraph(text: object) -> str:
    """Return a line of text."""
    return f"<p style='margin:2px 0'>{_text(text)}</p>"


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], left_out: int = 0) -> str:
    """Return a table; numbers with three digits after the point, `-` for None and NaN.

    Args:
        headings: of the columns.
        rows: cells, as text or numbers.
        left_out: how many rows there are beyond those; noted below.
    """
    head = "".join(f"<th>{_text(heading)}</th>" for heading in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{_text(_cell_text(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    left_out_note = paragraph(f"and {left_out} more") if left_out > 0 else ""
    return f"<table><tr>{head}</tr>{body}</table>{left_out_note}"


def frame(
    values: DataFrame, headings: Mapping[str, str] | None = None, max_rows: int | None = None
) -> str:
    """Return a pandas table: its first rows or all, some columns with their headings or all."""
    headings = {name: name for name in values} if headings is None else headings
    first = values.head(len(values) if max_rows is None else max_rows)
    rows = zip(*(first[name] for name in headings), strict=True)
    return table(list(headings.values()), rows, len(values) - len(first))


def picture(png: bytes, text: str, *captions: str, side: int | None = None) -> str:
    """Return a PNG inside the page.

    Args:
        png: the file's bytes.
        text: its content, for readers who cannot see it and as a tip.
        captions: lines below it.
        side: width of the captions, in pixels; that of the page if None.
    """
    code = base64.b64encode(png).decode()
    alternative = _text(text)
    lines = "<br>".join(map(_text, captions))
    caption = f"<figcaption>{lines}</figcaption>" if captions else ""
    width = "" if side is None else f"max-width:{side}px;overflow-wrap:anywhere;"
    return (
        f"<figure style='margin:3px;{width}font-size:11px;line-height:1.3' title='{alternative}'>"
        f"<img alt='{alternative}' style='max-width:100%' src='data:image/png;base64,{code}'>"
        f"{caption}</figure>"
    )


def framed(page: str, title: str, height: int) -> str:
    """Return a frame that holds a whole page; `height` in pixels."""
    style = f"width:100%;height:{height:d}px;border:1px solid #ccc;border-radius:4px"
    return f"<iframe title='{_text(title)}' style='{style}' srcdoc='{html.escape(page)}'></iframe>"


def row(pieces: Iterable[str]) -> str:
    """Return pieces of HTML side by side, as many a line as there is room for."""
    return f"<div style='display:flex;flex-wrap:wrap'>{''.join(pieces)}</div>"


def embedded_figure(figure: Figure, text: str) -> str:
    """Return a figure inside the page."""
    from oip.core.plots import encoded

    return picture(encoded(figure), text)


def kernel_shell() -> Any:
    """Return IPython's shell where this process is the kernel of a notebook, else None.

    IPython is never imported here: where it is not loaded there is no notebook.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if getattr(shell, "kernel", None) is not None else None


def _cell_text(cell: object) -> str:
    is_number = isinstance(cell, (float, np.floating))
    if cell is None or (is_number and cell != cell):
        return "-"
    if is_number:
        return f"{cell:z.{_DIGITS}g}" if 0 < abs(cell) < 10**-_DIGITS else f"{cell:z.{_DIGITS}f}"
    return str(cell)


def _text(text: object) -> str:
    return html.escape(plain_text(text))
