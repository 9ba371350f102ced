"""Reads every file of a run and says which are whole and fit together."""

from __future__ import annotations

from collections import Counter
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
from oip.run.run import Run
from oip.run.shards import held_maps, read_shard
from oip.run.stability import known_stability

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


ERROR = ".error.json"
"""How the names of files end that say what failed."""
FAILURE_SCHEMA = 1


def run_status(run: Run) -> dict[str, Any]:
    """Every layer of a run's model: what is there of it.

    Only the small arrays of the shards are read; `oip verify` reads all.

    Returns:
        run, model, and layers: index, layer, maps (in the model), oips (maps with an OIP), verdicts
        (how many of each), shards, damaged (names of shards that cannot be read), stability (it is
        known for these maps), ranked, failed (file, error, attempts of what failed).
    """
    return {
        "run": str(run.path),
        "model": run.info["model"]["name"],
        "layers": [_layer(run, layer) for layer in run.layers],
    }


def failures(folder: Path) -> list[dict[str, Any]]:
    """What failed in a layer's folder and is still not there: file, error, attempts."""
    found = []
    for path in sorted(folder.glob(f"*{ERROR}")):
        name = path.name.removesuffix(ERROR)
        name += ".npz" if name.startswith("shard-") else ".json"
        try:
            told = files.read_json(path)
            error, attempts = str(told["error"]), int(told["attempts"])
        except (RunError, KeyError, TypeError, ValueError):
            error, attempts = "unknown: the record of the failure is damaged", 0
        found.append({"file": name, "error": error, "attempts": attempts})
    return found


def _layer(run: Run, layer: dict[str, Any]) -> dict[str, Any]:
    index = layer["index"]
    maps: list[int] = []
    codes: Counter[int] = Counter()
    damaged = []
    paths = run.shards(index)
    for path in paths:
        try:
            numbers = files.read_array(path, "maps")
            codes.update(files.read_array(path, "verdict_codes").tolist())
            maps += numbers.tolist()
        except RunError:
            damaged.append(path.name)
    known = known_stability(run, index)
    return {
        "index": index,
        "layer": layer["layer"],
        "maps": layer.get("maps"),
        "oips": len(np.unique(maps)),
        "verdicts": {word: codes[code] for code, word in enumerate(VERDICTS) if codes[code]},
        "shards": len(paths),
        "damaged": damaged,
        "stability": bool(maps) and known is not None and known["maps"] == maps,
        "ranked": (run.folder(index) / "ranking.json").is_file(),
        "failed": failures(run.folder(index)),
    }
