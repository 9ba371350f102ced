"""Reads every file of a run and says which are whole and fit together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oip.ascent.reconstruction import SHARD
from oip.ascent.results import REASONS, VERDICTS, Oips
from oip.core import files
from oip.core.errors import RunError
from oip.core.progress import Progress, silent
from oip.run.directory import Run
from oip.run.shards import held_maps, read_shard

_READ = (".npz", ".json")


@dataclass(frozen=True)
class Checked:
    """One file of a run."""

    file: str
    """Its path within the run."""
    problem: str
    """What is wrong with it; empty if nothing is."""
    read: bool = True
    """It was read; other kinds of files are only listed."""


def verify_run(run: Run, progress: Progress = silent) -> list[Checked]:
    """Checks every file of a run: that it can be read whole, and that it fits the run.

    Shards are held against run.json and each other: their layer, their block, the maps in it, the
    shapes and one key for all. One shard is in memory at a time. Nothing is changed.

    Args:
        run: the run.
        progress: is told how many files have been checked.
    """
    paths = sorted(path for path in run.path.rglob("*") if path.is_file())
    layers = {run.folder(layer["index"]): layer for layer in run.layers}
    key = _Key()
    found = []
    for done, path in enumerate(paths, 1):
        found.append(_checked(run, path, layers.get(path.parent), key))
        progress("files", done, len(paths))
    return found


class _Key:
    """The key that all shards of maps share, and that of objectives: the first that can be read."""

    def __init__(self) -> None:
        self._first: dict[bool, str] = {}

    def problems(self, key: str, objectives: bool) -> Iterator[str]:
        if key != self._first.setdefault(objectives, key):
            yield "made in another way than the shards before it"


def _checked(run: Run, path: Path, layer: dict[str, Any] | None, key: _Key) -> Checked:
    name = path.relative_to(run.path).as_posix()
    if path.name.startswith(files.UNFINISHED):
        return Checked(name, "", read=False)
    try:
        if layer is not None and path.name.startswith("shard-") and path.suffix == ".npz":
            problems = list(_shard(run, path, layer, key))
        elif layer is not None and path.name == "stability.json":
            problems = list(_stability(run, layer))
        elif path.suffix == ".npz":
            files.read_arrays(path)
            problems = []
        elif path.suffix == ".json":
            told = files.read_json(path)
            problems = list(_ranking(told, layer)) if path.name == "ranking.json" else []
        else:
            return Checked(name, "", read=False)
    except RunError as error:
        problems = [str(error)]
    return Checked(name, "; ".join(problems))


def _shard(run: Run, path: Path, layer: dict[str, Any], key: _Key) -> Iterator[str]:
    oips, own = read_shard(path)
    yield from key.problems(own, "objectives" in layer)
    if (oips.index, oips.layer) != (layer["index"], layer["layer"]):
        yield f"of layer @{oips.index} '{oips.layer}', not @{layer['index']} '{layer['layer']}'"
    maps = oips.maps
    number = path.stem.removeprefix("shard-")
    if not number.isdecimal() or not np.all(maps // SHARD == int(number)):
        yield "maps of another block"
    if not np.all(np.diff(maps) > 0):
        yield "maps out of order"
    if len(maps) and isinstance(layer.get("maps"), int) and maps.max() >= layer["maps"]:
        yield f"map {maps.max()} of a layer of {layer['maps']}"
    yield from _content(oips, tuple(run.info["input"]["shape"]))


def _content(oips: Oips, shape: tuple[int, ...]) -> Iterator[str]:
    count, starts = oips.scores.shape[:2]
    if oips.images.shape != (count, starts, *shape):
        yield f"images of shape {oips.images.shape[2:]}, not {shape}"
    if oips.snapshots.shape[1:] != (len(oips.snapshot_steps), *shape):
        yield "snapshots of another shape"
    for codes, words in ((oips.verdict_codes, VERDICTS), (oips.reasons, REASONS)):
        if codes.size and not (codes.min() >= 0 and codes.max() < len(words)):
            yield "unknown verdicts or reasons"
    alive = np.isfinite(oips.scores[:, 0])
    if not np.isfinite(oips.images[alive, 0].astype(np.float32)).all():
        yield "images that are not finite"


def _stability(run: Run, layer: dict[str, Any]) -> Iterator[str]:
    told = run.stability(layer["index"])
    names = ("maps", "within", "percentile", "n_null", "clusters", "medoids")
    if not isinstance(told, dict) or not all(isinstance(told.get(name), list) for name in names):
        yield "no whole record of stability"
        return
    if len({len(told[name]) for name in names}) != 1:
        yield "lists of different lengths"
    try:
        if told["maps"] != held_maps(run, layer["index"]).tolist():
            yield "measured for other maps than are there; the command that made the run renews it"
    except RunError:
        return  # the shard's own problem


def _ranking(told: Any, layer: dict[str, Any] | None) -> Iterator[str]:
    if not isinstance(told, dict) or not isinstance(told.get("estimators"), list):
        yield "no whole ranking"
    elif layer is not None and told.get("index") != layer["index"]:
        yield f"of layer @{told.get('index')}"
