"""Leftovers of killed processes in a run: files that were never finished, half-built galleries.

A gallery is built in a folder of its own beside the old one, which is locked as long as the build
lives. Nothing of a process that lives is touched.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

from oip.core import files

UNFINISHED_GALLERY = ".gallery-"
"""How the names of folders begin in which a gallery is built."""
OLD_GALLERY = "-old"
"""The end of the name of a gallery that is being replaced."""
_STALE_SECONDS = 3600


def leftovers(folder: Path) -> list[Path]:
    """Return the files and folders in a run that no living process will finish."""
    paths = []
    for path in folder.rglob(f"{files.UNFINISHED}*"):
        with suppress(OSError):  # another process has just finished it
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                paths.append(path)
    return paths + _builds(folder)


def clear_leftovers(folder: Path, every: bool = True) -> list[Path]:
    """Remove the leftovers in a run; a gallery that a build had moved away comes back.

    Args:
        folder: of the run; not locked by this process.
        every: also unfinished files, for which all folders are looked through.

    Returns:
        The paths that were removed or moved back.
    """
    if not (leftovers(folder) if every else _builds(folder)):
        return []
    cleared = []
    with suppress(OSError, files.WriteError), files.locked(folder):  # a run that may only be read
        for path in leftovers(folder) if every else _builds(folder):
            if path.name.endswith(OLD_GALLERY) and not (folder / "gallery").exists():
                path.rename(folder / "gallery")
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            cleared.append(path)
    return cleared


def _builds(folder: Path) -> list[Path]:
    """Return the folders of galleries whose build was killed."""
    paths = sorted(path for path in folder.glob(f"{UNFINISHED_GALLERY}*") if path.is_dir())
    return [
        path
        for path in paths
        if not files.is_locked(path.with_name(path.name.removesuffix(OLD_GALLERY)))
    ]
