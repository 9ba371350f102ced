"""The OIPs of a layer, shard by shard: numbers of all, images of one shard at a time."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oip.ascent.results import PER_MAP, SHARED, Oips, joined
from oip.core.errors import RunError, expected
from oip.run.directory import Run

PICTURES = ("images", "snapshots")
"""What `numbers` leaves out."""


@dataclass(frozen=True)
class Block:
    """A shard of a layer."""

    layer: int
    number: int
    path: Path
    maps: tuple[int, ...]
    content: str
    """Changes with the shard's content."""

    @property
    def name(self) -> str:
        """Its name among all blocks."""
        return f"{self.layer:03d}-{self.number:04d}"


def read_numbers(run: Run, index: int) -> tuple[Oips | None, tuple[Block, ...]]:
    """All that a layer's shards say but for images and snapshots, which have no pixels here.

    Raises:
        RunError: a damaged shard.
    """
    parts, blocks = [], []
    for path in run.shards(index):
        number = int(path.stem.rpartition("-")[2])
        part = _numbers(path)
        maps = tuple(part.maps.tolist())
        blocks.append(Block(index, number, path, maps, _content(path)))
        parts.append(part)
    return (joined(parts) if parts else None), tuple(blocks)


def best_images(block: Block) -> np.ndarray:
    """(m, h, w, b) float16: the best start of each map of a block.

    Raises:
        RunError: a damaged shard.
    """
    with _archive(block.path) as archive:
        return archive["images"][:, 0]


def _numbers(path: Path) -> Oips:
    with _archive(path) as archive:
        names = {*SHARED, *PER_MAP}.difference(PICTURES).intersection(archive.files)
        values: dict[str, Any] = {name: _plain(archive[name]) for name in names}
        count = len(values["maps"])
        if any(values[name].shape[:1] != (count,) for name in names.intersection(PER_MAP)):
            raise RunError(expected(f"'{path}'", "arrays of one length", "others"))
        return Oips(**values, **dict.fromkeys(PICTURES, np.zeros((count, 0, 0, 0, 0))))


def _plain(array: np.ndarray) -> Any:
    """A single value or words as Python has them, other arrays as they are."""
    if array.ndim == 0:
        return array.item()
    return tuple(array.tolist()) if array.dtype.kind == "U" else array


def _content(path: Path) -> str:
    """A key of a shard's content, out of the checksums that its archive keeps of each array."""
    with zipfile.ZipFile(path) as archive:
        told = [(one.filename, one.CRC, one.file_size) for one in archive.infolist()]
    return hashlib.sha256(json.dumps(sorted(told)).encode()).hexdigest()


@contextmanager
def _archive(path: Path) -> Iterator[Any]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            yield archive
    except RunError:
        raise
    except Exception as error:  # damaged in any of many ways
        raise RunError(expected(f"'{path}'", "a whole shard", error)) from error
