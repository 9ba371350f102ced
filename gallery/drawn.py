"""What the pictures of a gallery were drawn from: the next build draws only what changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from gallery.store import Store
from oip.core import files
from oip.core.errors import RunError

NAME = "drawn.json"
SCHEMA = 1
STYLE = 1
"""Raised when pictures are drawn in another way, here or in `oip.core.figures`."""


class Drawn:
    """Keys of pictures: those of the old gallery, and those of the one in the making."""

    def __init__(self, old: Path | None, common: Any):
        """`common`: what all pictures depend on."""
        self._common = [STYLE, common]
        self._old = _read(old / NAME) if old is not None else {}
        self._new: dict[str, str] = {}

    def key(self, *parts: Any) -> str:
        """A key of what a picture is drawn from."""
        return hashlib.sha256(json.dumps([self._common, *parts]).encode()).hexdigest()

    def note(self, name: str, key: str) -> bool:
        """Notes the key of a picture or a block of them; True if the old gallery has the same."""
        self._new[name] = key
        return self._old.get(name) == key

    def write(self, store: Store) -> None:
        """Writes drawn.json."""
        told = {"schema": SCHEMA, "drawn": dict(sorted(self._new.items()))}
        store.write(NAME, json.dumps(told, indent=0) + "\n")


def _read(path: Path) -> dict[str, str]:
    try:
        told = files.read_json(path)
    except RunError:
        return {}
    if not isinstance(told, dict) or told.get("schema") != SCHEMA:
        return {}
    drawn = told.get("drawn")
    return drawn if isinstance(drawn, dict) else {}
