"""The cache of a gallery: files that have not changed are linked from the old one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from pathlib import Path

from oip.core import files
from oip.core.formats import DrawnFile

NAME = "drawn.json"
STYLE = 3
"""Raised when pictures are drawn in another way, here or in `oip.core.images`."""


class Store:
    """Files of a new folder beside the old one that it will replace."""

    def __init__(self, fresh: Path, old: Path | None):
        self.path = fresh
        self.old = old
        """The gallery that will be replaced, None where there is none."""
        record = None if old is None else DrawnFile.read_if_whole(old / NAME)
        self._old_digests = {} if record is None else record.files
        self.title = "" if record is None else record.title
        """Of the gallery, as a person gave it."""
        self._folders: set[Path] = set()
        self._lock = threading.Lock()
        self.digests: dict[str, str] = {}
        """SHA-256 of each file of the new folder by its name."""
        self.written: list[str] = []
        """Names of the files that were new or had changed."""
        self.unchanged = 0
        """Number of files that were kept."""

    def write(self, name: str, content: bytes | str) -> None:
        """Write a file, or keep the old one if it is the same; safe in threads."""
        data = content.encode() if isinstance(content, str) else content
        self.digests[name] = hashlib.sha256(data).hexdigest()
        old = self._old_file(name)
        if old is not None and old.stat().st_size == len(data) and old.read_bytes() == data:
            self._link(name, old)
            return
        path = self._new_path(name)
        path.unlink(missing_ok=True)  # never through a link into the old folder
        path.write_bytes(data)
        with self._lock:
            self.written.append(name)

    def has(self, name: str) -> bool:
        """Return whether the old folder holds a file of this name that is whole."""
        old = self._old_file(name)
        if old is None:
            return False
        if name not in self.digests:
            self.digests[name] = files.sha256(old)
        return self._old_digests.get(name, self.digests[name]) == self.digests[name]

    def keep(self, name: str) -> bool:
        """Keep a file of the old folder; return False where it has no whole one of this name."""
        old = self._old_file(name)
        if old is None or not self.has(name):
            return False
        self._link(name, old)
        return True

    def _link(self, name: str, old: Path) -> None:
        path = self._new_path(name)
        try:
            os.link(old, path)
        except OSError:  # a disk without links
            shutil.copy2(old, path)
        with self._lock:
            self.unchanged += 1

    def _old_file(self, name: str) -> Path | None:
        if self.old is None:
            return None
        path = self.old / name
        return path if path.is_file() and not path.is_symlink() else None

    def _new_path(self, name: str) -> Path:
        path = self.path / name
        with self._lock:
            if path.parent not in self._folders:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._folders.add(path.parent)
        return path


class PictureKeys:
    """Keys of pictures: those of the old gallery, and those of the new one."""

    def __init__(self, old: Path | None, common: object):
        """Read the old keys; `common` is what all pictures depend on."""
        self._common = [STYLE, common]
        record = None if old is None else DrawnFile.read_if_whole(old / NAME)
        self._old = {} if record is None else record.drawn
        self._new: dict[str, str] = {}

    def key(self, *values: object) -> str:
        """Return a key of what a picture is drawn from."""
        return hashlib.sha256(json.dumps([self._common, *values]).encode()).hexdigest()

    def note(self, name: str, key: str) -> bool:
        """Note the key of a picture or block; return whether the old gallery has the same."""
        self._new[name] = key
        return self._old.get(name) == key

    def add(self, name: str, text: str) -> None:
        """Add a text that belongs to pictures."""
        self._new[name] = text

    def old_text(self, name: str) -> str | None:
        """Return a text of the old gallery and keep it; None where it has none."""
        text = self._old.get(name)
        if text is not None:
            self.add(name, text)
        return text

    def write(self, store: Store) -> None:
        """Write drawn.json, which lists all other files; it comes last."""
        digests = {name: value for name, value in sorted(store.digests.items()) if name != NAME}
        keys = dict(sorted(self._new.items()))
        record = DrawnFile(drawn=keys, files=digests, title=store.title)
        store.write(NAME, files.json_text(record.content(), indent=0))
