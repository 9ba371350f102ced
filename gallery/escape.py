"""Escaping of untrusted text and numbers for scripts, tables and pages."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, SupportsFloat, TypeAlias

import numpy as np

PageValues: TypeAlias = dict[str, Any]
"""Plain values for a template, a script or a table."""
_ESCAPES = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}
_NUMBERS = (float, int, np.floating, np.integer, SupportsFloat)
"""The protocol is last: to look for it takes long."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def plain_name(text: object) -> str:
    """Return a name from a model or from data without control characters and lone surrogates."""
    plain = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text))
    return plain.encode("utf-8", "replace").decode()


def plain_lines(text: str) -> str:
    """Return lines of text, each as `plain_name` leaves it."""
    return "\n".join(plain_name(line) for line in text.split("\n"))


def rounded(value: object, digits: int = 4) -> float | None:
    """Return a finite number of `digits` significant digits; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):  # an array of several numbers
        return None
    return float(f"{number:.{digits}g}") if math.isfinite(number) else None


def shown_figure(value: float | None) -> str:
    """Return a number of three digits as the page's script writes it (`figure` in elements.js)."""
    number = rounded(value, 3)
    if number is None:
        return "–"
    if number and not 1e-3 <= abs(number) < 1e6:
        mantissa, exponent = f"{number:.2e}".split("e")
        return f"{mantissa}e{int(exponent):+d}"
    return str(int(number)) if number.is_integer() else str(number)


def shown_bits(value: float | None) -> str | None:
    """Return bits with two decimals as the page's script writes them (`bits` in elements.js).

    The script has thousandths; a tie goes away from zero.
    """
    if value is None:
        return None
    return f"{Decimal(round(value, 3)).quantize(Decimal('0.01'), ROUND_HALF_UP):z}"


def whole_number(value: object) -> int | None:
    """Return a whole number; None for anything else."""
    number = rounded(value, 15)
    return int(number) if number is not None and number.is_integer() else None


def script(name: str, content: object) -> str:
    """Return a script that hands `content` to the page: one call of one function.

    Whatever the content says, the text cannot end a script element or a line of a script.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return f"window.OIP.add({json.dumps(name)},{text});\n"


def guarded_cell(cell: object) -> object:
    """Return a cell; text that a spreadsheet would take for a formula gets an apostrophe."""
    if isinstance(cell, str) and cell.lstrip(" ").startswith(_FORMULA):
        return f"'{cell}"
    return cell


def csv_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV with guarded cells; None is an empty cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([guarded_cell(column) for column in columns])
    for row in rows:
        writer.writerow(["" if cell is None else guarded_cell(cell) for cell in row])
    return stream.getvalue()
