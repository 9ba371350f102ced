"""Shards, each the OIPs of an aligned block of 64 maps of one layer in one `.npz`; and stability.

A shard is valid if the whole file can be read (checksums included), has this schema, and carries
the key that is expected: the same model, input, settings and data give the same key. The stability
of a layer is measured when its shards are there, and kept beside them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from oip.ascent.gradient_ascent import Report
from oip.ascent.reconstruction import SHARD, Ascent, aligned_blocks
from oip.ascent.results import PER_MAP, SHARED, Oips, join_oips
from oip.ascent.settings import AscentSettings, stored_settings
from oip.ascent.similarity import shift_reach, start_stability
from oip.core import files
from oip.core.checks import check_whole
from oip.core.errors import RunError, logged
from oip.core.formats import RunFile
from oip.core.layer_formats import ClassProbabilitiesFile, ShardFile, StabilityFile
from oip.core.packed_images import PackedImages, is_packed
from oip.core.progress import Progress, silent
from oip.core.units import finite_list
from oip.network.network import Network
from oip.run.run import NAME, Run, RunFolder, other_way

STAGE = 128
"""Longest side, in pixels, of an image on its way, in packed shards and on pages."""
_STAGE_QUALITY = 85
"""Of WebP: 44 to 65 kB for the seven stages of a network of photographs; their colors, not the
codec's quality, are then what differs most from the original."""
_EXACT = 1e-3
"""Largest error of a best image, as a share and in standard deviations: what float16 leaves out."""
Ends: TypeAlias = tuple[np.ndarray, np.ndarray] | None
"""Black and white of an input, (b,) each in its units; None where they are not known."""


def key_of(values: Mapping[str, object]) -> str:
    """Return a hexadecimal key for what determines a file's content."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def data_digest(images: np.ndarray | None) -> str | None:
    """Return the SHA-256 of images or labels, None for none."""
    if images is None:
        return None
    digest = hashlib.sha256(f"{images.shape}{images.dtype}".encode())
    for begin in range(0, len(images), 4096):
        digest.update(np.ascontiguousarray(images[begin : begin + 4096]).tobytes())
    return digest.hexdigest()


def write_shard(path: Path, oips: Oips, key: str, picture_ends: Ends = None) -> None:
    """Write a shard at once; the same OIPs give the same bytes. See `shard_record`."""
    shard_record(oips, key, picture_ends).write(path)


def shard_record(oips: Oips, key: str, picture_ends: Ends = None) -> ShardFile:
    """Return OIPs as a shard holds them.

    Args:
        oips: up to 64 maps; small images and lines are kept as float16, larger images with 8 bits,
            but for best images that have more, and their evolution at the size of a page and with
            the losses of a picture.
        key: see `ascent_key`.
        ends: black and white of the input, (b,) in its units; images between them, which the
            setting `bound` rounds to the 256 values of a picture, are kept exactly.
    """
    values = {name: getattr(oips, name) for name in (*SHARED, *PER_MAP)}
    if not is_packed(oips.images.shape[2:]):
        for name in ("images", "snapshots"):
            values[name] = values[name].astype(np.float16)
        return ShardFile(**values, key=key)
    images, snapshots = values.pop("images"), values.pop("snapshots")
    if picture_ends is not None:
        picture_ends = (
            (picture_ends[0] - oips.mean) / oips.std,
            (picture_ends[1] - oips.mean) / oips.std,
        )
    if _ends_in_best(images, snapshots):
        snapshots = snapshots[:, :-1]
    packed = PackedImages.of(images, picture_ends)
    best = packed.first_images().unpacked(images.shape[2:])[:, 0]
    is_kept = np.isclose(best, images[:, 0], _EXACT, _EXACT, equal_nan=True).all((1, 2, 3))
    rows = np.flatnonzero(~is_kept)
    if rows.size:
        values |= {"best_rows": rows, "best_images": images[rows, 0].astype(np.float16)}
        images = images.copy()
        images[rows, 0] = 0
        packed = PackedImages.of(images, picture_ends)
    stages = PackedImages.of(snapshots, picture_ends, _STAGE_QUALITY, STAGE)
    return ShardFile(
        **values,
        **{f"image_{name}": array for name, array in packed._asdict().items()},
        **{f"snapshot_{name}": array for name, array in stages._asdict().items()},
        key=key,
    )


def _ends_in_best(images: np.ndarray, snapshots: np.ndarray) -> bool:
    return snapshots.shape[1] > 0 and np.array_equal(snapshots[:, -1], images[:, 0], equal_nan=True)


def read_shard(path: Path, snapshots: bool = True) -> tuple[Oips, str]:
    """Read a shard and its key.

    Args:
        path: the file.
        snapshots: read the snapshots, too; without them `snapshots` has none.

    Raises:
        RunError: missing, damaged, of another schema, or not a shard.
    """
    left_out = () if snapshots else ("snapshots", "snapshot_pictures")
    record = ShardFile.read(path, left_out)
    values = {name: getattr(record, name) for name in (*SHARED, *PER_MAP)}
    images = values["images"] = _shard_images(record, path)
    if not snapshots:
        values["snapshots"] = np.zeros((len(images), 0, *images.shape[2:]), np.float16)
    elif record.snapshots is None:
        stages = _unpacked(record, "snapshot", path)
        if stages.shape[1] == len(record.snapshot_steps) - 1:
            stages = np.concatenate([stages, images[:, :1]], axis=1)
        values["snapshots"] = stages
    if snapshots and values["snapshots"].shape[1] != len(record.snapshot_steps):
        raise files.DamagedFile.of_file(path, "a snapshot of each of its steps", "others")
    return Oips(**values), record.key


def read_best_images(path: Path) -> np.ndarray:
    """Read the best start of each map of a shard, (m, h, w, b) float16; a RunError if damaged."""
    record = ShardFile.read(path, ("snapshots", "snapshot_pictures"))
    return _shard_images(record, path, best=True)[:, 0]


def _shard_images(record: ShardFile, path: Path, best: bool = False) -> np.ndarray:
    """Return the images (m, k, h, w, b) of a shard, or (m, 1, h, w, b) of the best starts."""
    if record.images is not None:
        return record.images[:, :1] if best else record.images
    images = _unpacked(record, "image", path, best)
    rows, best_images = record.best_rows, record.best_images
    if rows is not None or best_images is not None:
        with files.reading(path, "a whole shard"):
            if (
                rows is None
                or best_images is None
                or best_images.shape != (len(rows), *images.shape[2:])
            ):
                raise ValueError("best images of another shape")
            images[rows, 0] = best_images
    return images


def _unpacked(record: ShardFile, kind: str, path: Path, best: bool = False) -> np.ndarray:
    with files.reading(path, "a whole shard"):
        arrays = [getattr(record, f"{kind}_{name}") for name in PackedImages._fields]
        if any(array is None for array in arrays):
            raise ValueError("no images")
        packed = PackedImages(*arrays)
        shape = (*record.visible.shape, len(record.mean))
        return (packed.first_images() if best else packed).unpacked(
            shape, enlarge=kind == "snapshot"
        )


def finished_maps(path: Path, key: str) -> np.ndarray:
    """Return the numbers of the maps in a valid shard of this key; none of any other file."""
    record = ShardFile.read_if_whole(path)
    return np.array([], np.int64) if record is None or record.key != key else record.maps


def shard_key(path: Path) -> str | None:
    """Return the key of a shard without reading its images; None where the file is damaged."""
    try:
        return str(files.read_array(path, "key"))
    except RunError:
        return None


def maps_in_shards(run: RunFolder, index: int) -> np.ndarray:
    """Return the numbers of the maps in a layer's shards, in order; nothing else is read."""
    maps = [files.read_array(path, "maps") for path in run.shards(index)]
    return np.concatenate(maps) if maps else np.array([], np.int64)


def ascent_key(
    network: Network,
    settings: AscentSettings,
    images: np.ndarray | None,
    objectives: Sequence[str] = (),
    start: np.ndarray | None = None,
) -> str:
    """Return the key of all shards of a model, its input, the settings, the data and the start.

    The shards of objectives have a key of their own, with the identity of the objectives.
    """
    values: dict[str, object] = {
        "model": network.digest,
        "input": network.inputs.to_dict(),
        "settings": stored_settings(settings),
        "data": data_digest(images),
    }
    if objectives:
        values["objectives"] = list(objectives)
    if start is not None:
        values["start"] = data_digest(start)
    return key_of(values)


def open_blocks(
    run: RunFolder, index: int, maps: np.ndarray, key: str
) -> list[tuple[int, np.ndarray]]:
    """Return the unfinished blocks of a layer, with the maps that their shard shall hold.

    Only valid files of this key count as finished. Maps of damaged shards, as far as the files
    beside them tell which these were, are to be grown again, too.
    """
    damaged = {_block_number(path) for path in run.shards(index) if shard_key(path) is None}
    maps_of_blocks: dict[int, np.ndarray] = {}
    for block_index, _ in aligned_blocks(maps):
        record = ShardFile.read_if_whole(run.shard(index, block_index))
        if record is None:
            damaged.add(block_index)
        elif record.key == key:
            maps_of_blocks[block_index] = record.maps
    if damaged:
        recorded = recorded_maps(run, index)
        damaged_maps = recorded[np.isin(recorded // SHARD, list(damaged))]
        maps = np.union1d(maps, damaged_maps).astype(np.int64)
    blocks = []
    for block_index, requested in aligned_blocks(maps):
        existing = maps_of_blocks.get(block_index, np.array([], np.int64))
        if not np.isin(requested, existing).all():
            blocks.append((block_index, np.union1d(requested, existing).astype(np.int64)))
    return blocks


def _block_number(path: Path) -> int:
    """Return the number of the block of a shard's file."""
    block = path.stem.removeprefix("shard-")
    return int(block) if block.isdecimal() else -1


def recorded_maps(run: RunFolder, index: int) -> np.ndarray:
    """Return the maps of a layer's shards, from the shards and the files beside them."""
    stability = StabilityFile.read_if_whole(stability_path(run, index))
    classes = ClassProbabilitiesFile.read_if_whole(run.folder(index) / "softmax.npz")
    numbers = [*(stability.maps if stability else ()), *(classes.maps.tolist() if classes else ())]
    for path in run.shards(index):
        with suppress(RunError):
            numbers += files.read_array(path, "maps").tolist()
    return np.unique(np.array(numbers, np.int64))


def grow_block(
    run: RunFolder,
    index: int,
    ascent: Ascent,
    block_index: int,
    maps: np.ndarray,
    key: str,
    report: Report = lambda done: None,
) -> Oips | None:
    """Grow a block of maps and write its shard.

    Where another process has written maps to the same shard meanwhile, the shard ends with those
    of both: all of them are grown together, because a shard is grown as a whole. `report` receives
    how many are grown, as for `Ascent.grow`.

    Returns:
        The OIPs that were written, or None where a valid shard held these maps already.
    """
    path = run.shard(index, block_index)
    requested = np.asarray(maps, np.int64)
    while True:
        existing = finished_maps(path, key)
        if np.isin(requested, existing).all():
            return None
        requested = np.union1d(requested, existing).astype(np.int64)
        with logged("%s: grew %d maps", path, len(requested)):
            oips = ascent.grow(requested, report)
        with files.locked(path.parent):
            existing = finished_maps(path, key)
            if np.isin(existing, requested).all():
                if len(existing) < len(requested):
                    write_shard(path, oips, key, ascent.picture_ends)
                return oips


def refuse_other_shards(
    run: RunFolder,
    key: str,
    keys: Mapping[int, str] | None = None,
    objectives: int | None = None,
    record: RunFile | None = None,
) -> None:
    """Raise a RunError where a run holds shards of another key; damaged ones have none.

    Args:
        run: the run.
        key: of the maps of layers.
        keys: of some indices by themselves.
        objectives: the index of objectives; their shards are looked at only where `keys` has it.
        record: of the run as it was asked for; the error names the settings that differ.
    """
    keys = keys or {}
    for path in sorted(run.path.glob("layers/*/shard-*.npz")):
        index = int(path.parent.name)
        if index == objectives and index not in keys:
            continue
        if shard_key(path) not in (None, keys.get(index, key)):
            raise other_way(run, RunFile.read_if_whole(run.path / NAME), record)


def layer_oips(run: str | Path | Run, index: int) -> Oips:
    """Return all OIPs of a layer that a run holds, with their stability where it was measured.

    The whole layer is in memory; `layer_parts` gives it shard by shard.

    Args:
        run: a run, or its folder.
        index: of the layer, as `oip layers` prints it.

    Raises:
        RunError: no such run, no OIPs of the layer in it, or a damaged shard.
    """
    index = check_whole("index of the layer", index, 0)
    return join_oips(list(layer_parts(Run.of(run), index)))


def layer_parts(run: Run, index: int, snapshots: bool = True) -> Iterator[Oips]:
    """Return the OIPs of a layer, one shard at a time, with their stability where it was measured.

    Snapshots are read or not, as by `read_shard`.

    Raises:
        RunError: the run has no OIPs of the layer, or a shard is damaged.
    """
    paths = run.shards(index)
    if not paths:
        layers = ", ".join(str(layer_index) for layer_index in run.reconstructed()) or "none"
        raise RunError(f"OIPs of layer {index} in '{run.path}'", f"one of {layers}", index)
    return _parts(run, index, paths, snapshots)


def _parts(run: Run, index: int, paths: list[Path], snapshots: bool) -> Iterator[Oips]:
    record = run.stability(index)
    if record is not None and record.maps != maps_in_shards(run, index).tolist():
        record = None
    begin = 0
    for path in paths:
        oips, _ = read_shard(path, snapshots)
        rows = slice(begin, begin + len(oips))
        begin += len(oips)
        if record is not None:
            record.check_starts(oips.scores.shape[1], stability_path(run, index))
        oips = replace(oips, noun=run.layer(index).noun)
        yield oips if record is None else with_stability(oips, record, rows)


def with_stability(oips: Oips, record: StabilityFile, rows: slice = slice(None)) -> Oips:
    """Return OIPs with the stability that some rows of a record have of them."""
    return oips.with_stability(
        np.array(record.within[rows], float),
        np.array(record.percentile[rows], float),
        np.array(record.n_null[rows], np.int64),
        np.array(record.clusters[rows], np.int64),
        np.array(record.medoids[rows], bool),
    )


def stability_file(run: RunFolder, index: int) -> StabilityFile | None:
    """Return the stability of the maps in a layer's shards.

    None where it was measured for other maps, or where there is no file or a damaged one.
    """
    record = StabilityFile.read_if_whole(stability_path(run, index))
    if record is None or record.maps != maps_in_shards(run, index).tolist():
        return None
    return record if record.starts in (None, *_starts_in_shards(run, index)) else None


def stability_path(run: RunFolder, index: int) -> Path:
    """Return the path of a layer's stability."""
    return run.folder(index) / "stability.json"


def _starts_in_shards(run: RunFolder, index: int) -> set[int]:
    return {files.read_array(path, "starts").shape[-1] for path in run.shards(index)}


def measure_stability(run: Run, index: int, seed: int, progress: Progress = silent) -> None:
    """Measure the stability of a layer and write it, unless it is known for the same maps.

    One shard is read at a time, without its snapshots; the images of the layer are kept as float16.
    """
    while stability_file(run, index) is None:
        maps = maps_in_shards(run, index)
        images, alive = _layer_images(run, index, len(maps))
        reach = shift_reach(run.layer(index).jump, images.shape[2:-1])
        report = partial(progress, f"{run.layer(index).name}: stability")
        stability = start_stability(images, alive, reach, seed, index, report)
        record = StabilityFile(
            maps=maps.tolist(),
            within=finite_list(stability.within),
            percentile=finite_list(stability.percentile),
            n_null=stability.n_null.tolist(),
            clusters=stability.clusters.tolist(),
            medoids=stability.medoids.tolist(),
        )
        with files.locked(run.folder(index)):
            if maps_in_shards(run, index).tolist() == record.maps:
                record.write(stability_path(run, index))
                return


def _layer_images(run: Run, index: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (m, k, h, w, b) of a layer, and which of its maps (m,) are alive."""
    images = np.zeros((0,), np.float16)
    alive = np.zeros(count, bool)
    begin = 0
    for path in run.shards(index):
        oips, _ = read_shard(path, snapshots=False)
        if not begin:
            images = np.zeros((count, *oips.images.shape[1:]), np.float16)
        rows = slice(begin, begin + len(oips))
        images[rows] = oips.images
        alive[rows] = oips.alive
        begin += len(oips)
    return images, alive
