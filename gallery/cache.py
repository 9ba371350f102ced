"""A gallery in the making: what the old one already holds is linked, the rest is written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

from oip.core import files
from oip.core.errors import RunError


class Store:
    """Files of a new folder beside the old one that it will replace."""

    def __init__(self, fresh: Path, old: Path | None):
        self.path = fresh
        self.old = old
        """The gallery that will be replaced, None where there is none."""
        self._folders: set[Path] = set()
        self._lock = threading.Lock()
        self.written: list[str] = []
        """Names of the files that were new or had changed."""
        self.kept = 0
        """Files that were taken over."""

    def write(self, name: str, content: bytes | str) -> None:
        """Puts a file in its place; threads may do so at the same time."""
        data = content.encode() if isinstance(content, str) else content
        if self._same(name, data) and self.keep(name):
            return
        place = self._place(name)
        place.unlink(missing_ok=True)  # never through a link into the old folder
        place.write_bytes(data)
        with self._lock:
            self.written.append(name)

    def has(self, name: str) -> bool:
        """Whether the old folder holds a file of this name."""
        return self._of_old(name) is not None

    def keep(self, name: str) -> bool:
        """Takes over a file of the old folder; False where it has none of this name."""
        old = self._of_old(name)
        if old is None:
            return False
        place = self._place(name)
        try:
            os.link(old, place)
        except OSError:  # a disk without links
            shutil.copy2(old, place)
        with self._lock:
            self.kept += 1
        return True

    def _of_old(self, name: str) -> Path | None:
        if self.old is None:
            return None
        path = self.old / name
        return path if path.is_file() and not path.is_symlink() else None

    def _same(self, name: str, data: bytes) -> bool:
        old = self._of_old(name)
        return old is not None and old.stat().st_size == len(data) and old.read_bytes() == data

    def _place(self, name: str) -> Path:
        path = self.path / name
        with self._lock:
            if path.parent not in self._folders:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._folders.add(path.parent)
        return path


NAME = "drawn.json"
SCHEMA = 1
STYLE = 1
"""Raised when pictures are drawn in another way, here or in `oip.core.images`."""


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
