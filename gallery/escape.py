"""Untrusted text and numbers on their way into scripts, tables and pages."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

_ESCAPES = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def plain_name(text: object) -> str:
    """A name from a model or from data without control characters and lone surrogates."""
    kept = "".join("\N{REPLACEMENT CHARACTER}" if _is_control(c) else c for c in str(text))
    return kept.encode("utf-8", "replace").decode()


def plain_lines(text: str) -> str:
    """Lines of text, each as `plain_name` leaves it."""
    return "\n".join(plain_name(line) for line in text.split("\n"))


def _is_control(character: str) -> bool:
    code = ord(character)
    return code < 32 or 127 <= code < 160


def number(value: Any, digits: int = 4) -> float | None:
    """A finite number of `digits` significant digits; None for anything else."""
    if value is None or isinstance(value, str | bool):
        return None
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def whole(value: Any) -> int | None:
    """A whole number; None for anything else."""
    found = number(value, 15)
    return int(found) if found is not None and found.is_integer() else None


def script(name: str, content: Any) -> str:
    """A script that hands `content` to the page: one call of one function.

    Whatever the content says, the text cannot end a script element or a line of a script.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return f"window.OIP.add({json.dumps(name)},{text});\n"


def guarded(cell: Any) -> Any:
    """A cell of a table: text that a spreadsheet would take for a formula gets an apostrophe."""
    if isinstance(cell, str) and cell.lstrip(" ").startswith(_FORMULA):
        return f"'{cell}"
    return cell


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV with guarded cells; None is an empty cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([guarded(column) for column in columns])
    for row in rows:
        writer.writerow(["" if cell is None else guarded(cell) for cell in row])
    return stream.getvalue()
