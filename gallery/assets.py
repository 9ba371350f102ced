"""The page's script and style: parts that are read in this order and joined into one file each."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "assets"
_SCRIPTS = (
    "data.js",
    "state.js",
    "order.js",
    "elements.js",
    "charts.js",
    "tile.js",
    "grid.js",
    "pictures.js",
    "numbers.js",
    "evidence.js",
    "dialog.js",
    "controls.js",
    "compare.js",
    "export.js",
    "main.js",
)
_STYLES = ("base.css", "grid.css", "dialog.css", "pages.css")


def app_script() -> str:
    """app.js: a classic script in one function, because modules do not load from file://."""
    parts = "\n".join(_read(name) for name in _SCRIPTS)
    return f'(function () {{\n"use strict";\n\n{parts}}})();\n'


def app_style() -> str:
    """app.css."""
    return "\n".join(_read(name) for name in _STYLES)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")
