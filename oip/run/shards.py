"""A shard: the OIPs of an aligned block of 64 maps of one layer, in one `.npz`.

A shard is valid if the whole file can be read (checksums included), has this schema, and carries
the key of what was asked: the same model, input, settings and data give the same key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from oip.ascent.reconstruction import aligned_blocks
from oip.ascent.results import PER_MAP, SHARED, Oips, joined
from oip.ascent.settings import AscentSettings
from oip.core import files
from oip.core.errors import RunError, expected
from oip.network.network import Network
from oip.run.run import Run

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


class Grower(Protocol):
    """What grows maps of one layer, such as a `LayerAscent`."""

    def grow(self, maps: np.ndarray) -> Oips:
        """OIPs of some maps of one aligned block."""
        ...


def ascent_key(
    network: Network,
    settings: AscentSettings,
    images: np.ndarray | None,
    objectives: Sequence[str] = (),
) -> str:
    """The key of all shards of a model, its input, the settings and the data.

    Args:
        objectives: what tells the objectives from others, for their shards.
    """
    parts: dict[str, Any] = {
        "model": network.digest,
        "input": network.inputs.to_dict(),
        "settings": msgspec.to_builtins(settings),
        "data": data_digest(images),
    }
    if objectives:
        parts["objectives"] = list(objectives)
    return key_of(parts)


def open_blocks(run: Run, index: int, maps: np.ndarray, key: str) -> list[tuple[int, np.ndarray]]:
    """Blocks of a layer that are still to be done, with the maps that their shard shall hold.

    Only valid files of this key count as done.
    """
    found = []
    for number, wanted in aligned_blocks(maps):
        path = run.shard(index, number)
        have = finished_maps(path, key) if path.exists() else np.array([], np.int64)
        if not np.isin(wanted, have).all():
            found.append((number, np.union1d(wanted, have).astype(np.int64)))
    return found


def grow_block(
    run: Run, index: int, grower: Grower, number: int, maps: np.ndarray, key: str
) -> Oips | None:
    """Grows a block of maps and writes its shard.

    Where another process has written maps to the same shard meanwhile, the shard ends with those
    of both: it is grown again with all of them, because a shard is grown as a whole.

    Returns:
        What was written, or None where a valid shard held these maps already.
    """
    path = run.shard(index, number)
    wanted = np.asarray(maps, np.int64)
    while True:
        have = finished_maps(path, key) if path.exists() else np.array([], np.int64)
        if np.isin(wanted, have).all():
            return None
        wanted = np.union1d(wanted, have).astype(np.int64)
        grown = grower.grow(wanted)
        with files.locked(path.parent):
            have = finished_maps(path, key) if path.exists() else np.array([], np.int64)
            if np.isin(have, wanted).all():
                if len(have) < len(wanted):
                    write_shard(path, grown, key)
                return grown


def refuse_other_shards(
    run: Run, key: str, keys: Mapping[int, str] | None = None, layers: int | None = None
) -> None:
    """Raises a RunError where a run holds shards of another key; damaged ones have none.

    Args:
        key: of the maps of layers.
        keys: of some indices by themselves.
        layers: how many layers with maps there are; shards of later indices are of objectives, and
            are looked at only where `keys` has them.
    """
    for path in sorted(run.path.glob("layers/*/shard-*.npz")):
        index = int(path.parent.name)
        wanted = (keys or {}).get(index, key)
        other = layers is not None and index >= layers and index not in (keys or {})
        if not other and shard_key(path) not in (None, wanted):
            raise RunError(
                expected(
                    f"'{run.path}' holds OIPs made in another way",
                    "the same model, input, settings, seed and data",
                    "others",
                    "Choose another --out, or give the command that began it.",
                )
            )


def layer_oips(run: Run, index: int) -> Oips:
    """All OIPs of a layer that a run holds, with their stability where it was measured.

    The whole layer is held in memory; `layer_parts` gives it shard by shard.

    Args:
        run: the run.
        index: the layer's index.

    Raises:
        RunError: the run has no OIPs of the layer, or a shard is damaged.
    """
    return joined(list(layer_parts(run, index)))


def layer_parts(run: Run, index: int, snapshots: bool = True) -> Iterator[Oips]:
    """The OIPs of a layer, one shard at a time, with their stability where it was measured.

    Args:
        run: the run.
        index: the layer's index.
        snapshots: read the images on their way too; without them `snapshots` has none.

    Raises:
        RunError: the run has no OIPs of the layer, or a shard is damaged.
    """
    paths = run.shards(index)
    if not paths:
        have = ", ".join(str(number) for number in run.reconstructed()) or "none"
        raise RunError(expected(f"OIPs of layer {index} in '{run.path}'", f"one of {have}", index))
    return _parts(run, index, paths, snapshots)


def _parts(run: Run, index: int, paths: list[Path], snapshots: bool) -> Iterator[Oips]:
    told = run.stability(index)
    if told is not None and told["maps"] != held_maps(run, index).tolist():
        told = None
    first = 0
    for path in paths:
        oips, _ = read_shard(path, snapshots)
        rows = slice(first, first + len(oips))
        first += len(oips)
        if told is None:
            yield oips
        else:
            yield oips.with_stability(
                _numbers(told["within"][rows]),
                _numbers(told["percentile"][rows]),
                np.array(told["n_null"][rows], np.int64),
                np.array(told["clusters"][rows], np.int64),
                np.array(told["medoids"][rows], bool),
            )


def _numbers(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)
