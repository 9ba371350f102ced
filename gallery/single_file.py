"""A gallery in one file: script, style, data and images within the page."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from markupsafe import Markup

from oip.core import files
from oip.core.errors import SettingsError
from oip.gallery.escape import script
from oip.gallery.pages import Pages, SingleLinks, data_address

_FOLDER = Path(__file__).parent / "assets"
_SCRIPTS = (
    "data state order elements charts tile grid pictures numbers evidence dialog controls compare "
    "export main"
)
_STYLES = "base grid dialog pages"


MOST_MAPS = 300
"""A single file holds no more: all of it is read before anything is seen."""
_MARK = '<meta name="generator" content="oip gallery">'
_HEAD = f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{_MARK}\n'
"""How a page begins."""


def app_script() -> str:
    """Return app.js: a classic script in one function, because modules do not load from file://."""
    parts = "\n".join(_read(f"{name}.js") for name in _SCRIPTS.split())
    return f'(function () {{\n"use strict";\n\n{parts}}})();\n'


def app_style() -> str:
    """Return app.css."""
    return "\n".join(_read(f"{name}.css") for name in _STYLES.split())


def _read(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def check_map_count(maps: int) -> None:
    """Raise a SettingsError when there are too many maps for one file."""
    if maps > MOST_MAPS:
        hint = "Leave --single-file out: a folder shows any number of maps."
        raise SettingsError("a single file", f"at most {MOST_MAPS} maps", maps, hint)


def is_single_page(path: Path) -> bool:
    """Return whether a file is a gallery in one file, also one that is damaged or cut short."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(files.PAGE_HEAD)
    if _MARK.encode() in head or _HEAD.encode().startswith(head[: len(_HEAD)]):
        return True
    return files.ends_in_checksum(path)


def single_page(folder: Path, pages: Pages) -> str:
    """Return the page that holds all of a finished gallery's folder.

    Script and style stand in the page, and the policy allows just these two, by their SHA-256.
    """
    data = sorted(path for path in (folder / "data").glob("*.js") if path.name != "maps.js")
    images = {
        path.relative_to(folder).as_posix(): data_address(path)
        for path in sorted((folder / "img").rglob("*.webp"))
        if path.relative_to(folder).parts[1] not in ("redundancy", "tile")
    }
    parts = [app_script(), script("images", images)]
    parts += [path.read_text("utf-8") for path in (*data, folder / "data/maps.js")]
    code, style = "".join(parts), app_style()
    policy = (
        f"default-src 'none'; script-src {_hash(code)}; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    context = pages.everything() | {
        "policy": policy,
        "checksum_mark": Markup(files.PAGE_MARK),
        "style": Markup(style),
        "script": Markup(code),
    }
    return files.page_with_checksum(pages.rendered("single.html", SingleLinks(folder), **context))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
