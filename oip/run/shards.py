"""A shard: the OIPs of an aligned block of 64 maps of one layer, in one `.npz`.

A shard is valid if the whole file can be read (checksums included), has this schema, and carries
the key of what was asked: the same model, input, settings and data give the same key.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from oip.ascent.results import PER_MAP, SHARED, Oips
from oip.core import files
from oip.core.errors import RunError, expected
from oip.run.directory import Run

SCHEMA = 2


def key_of(parts: dict[str, Any]) -> str:
    """A hexadecimal key for what determines a shard's content."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def data_digest(images: np.ndarray | None) -> str | None:
    """SHA-256 of the images that verdicts are held against."""
    if images is None:
        return None
    digest = hashlib.sha256(f"{images.shape}{images.dtype}".encode())
    for first in range(0, len(images), 4096):
        digest.update(np.ascontiguousarray(images[first : first + 4096]).tobytes())
    return digest.hexdigest()


def write_shard(path: Path, oips: Oips, key: str) -> None:
    """Writes a shard at once; the same OIPs give the same bytes. Images are kept as float16."""
    arrays: dict[str, np.ndarray] = {}
    for name in (*SHARED, *PER_MAP):
        value = getattr(oips, name)
        arrays[name] = np.array(value)
    for name in ("images", "snapshots"):
        arrays[name] = arrays[name].astype(np.float16)
    arrays["schema"] = np.array(SCHEMA)
    arrays["key"] = np.array(key)
    files.write_arrays(path, arrays)


def read_shard(path: Path, snapshots: bool = True) -> tuple[Oips, str]:
    """A shard and its key.

    Args:
        path: the file.
        snapshots: read the images on their way too; without them `snapshots` has none.

    Raises:
        RunError: missing, damaged, of another schema, or not a shard.
    """
    arrays = files.read_arrays(path, () if snapshots else ("snapshots",))
    if not snapshots and "images" in arrays:
        shape = arrays["images"].shape
        arrays["snapshots"] = np.zeros((shape[0], 0, *shape[2:]), np.float16)
    if arrays.get("schema", np.array(0)).tolist() != SCHEMA:
        raise RunError(expected(f"'{path.name}'", f"a shard of schema {SCHEMA}", "another file"))
    missing = [name for name in (*SHARED, *PER_MAP, "key") if name not in arrays]
    if missing:
        raise RunError(expected(f"'{path.name}'", "a whole shard", f"no {', '.join(missing)}"))
    values: dict[str, Any] = {name: arrays[name] for name in (*SHARED, *PER_MAP)}
    values["layer"] = str(arrays["layer"])
    values["index"] = int(arrays["index"].item())
    values["bgr"] = bool(arrays["bgr"].item())
    values["objectives"] = tuple(str(text) for text in arrays["objectives"])
    rows = {values[name].shape[:1] for name in PER_MAP}
    if len(rows) != 1:
        raise RunError(expected(f"'{path.name}'", "arrays of one length", sorted(rows)))
    return Oips(**values), str(arrays["key"])


def finished_maps(path: Path, key: str) -> np.ndarray:
    """Numbers of the maps that a valid shard of this key holds; none where it is damaged."""
    try:
        oips, found = read_shard(path)
    except RunError:
        return np.array([], np.int64)
    return oips.maps if found == key else np.array([], np.int64)


def shard_key(path: Path) -> str | None:
    """The key of a shard without reading its images; None where the file is damaged."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return str(archive["key"])
    except Exception:  # damaged in any of many ways
        return None


def held_maps(run: Run, index: int) -> np.ndarray:
    """Numbers of the maps in a layer's shards, in order; nothing else of them is read."""
    paths = run.shards(index)
    parts = [files.read_array(path, "maps") for path in paths]
    return np.concatenate(parts) if parts else np.array([], np.int64)
