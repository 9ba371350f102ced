"""Reads every file of a run and says which are whole and fit together; says what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oip.ascent.reconstruction import SHARD
from oip.ascent.results import REASONS, VERDICTS, Oips
from oip.core import files, formats, layer_formats
from oip.core.errors import RunError
from oip.core.formats import FailureFile, LayerRecord
from oip.core.progress import Progress, silent
from oip.core.records import FileRecord
from oip.run.run import Run, RunFolder
from oip.run.shards import maps_in_shards, read_shard, stability_file

_KINDS: dict[str, type[FileRecord]] = {
    "run.json": formats.RunFile,
    "record.json": formats.TrainingRecordFile,
    "stability.json": layer_formats.StabilityFile,
    "softmax.npz": layer_formats.ClassProbabilitiesFile,
    "ranking.json": layer_formats.RankingFile,
    "responses.npz": layer_formats.ResponsesFile,
    "kernels.json": layer_formats.KernelsFile,
    "redundancy.json": layer_formats.RedundancyFile,
    "redundancy.npz": layer_formats.RedundancyArrays,
    "ablation.json": layer_formats.AblationFile,
}


@dataclass(frozen=True)
class Checked:
    """The result of checking one file of a run."""

    file: str
    """Its path within the run."""
    problem: str
    """The reason why it cannot be used; empty if it can."""
    read: bool = True
    """It was read; other kinds of files are only listed."""


def verify_run(run: Run, progress: Progress = silent) -> list[Checked]:
    """Check every file of a run: that it can be read whole, and that it fits the run.

    Shards are compared with run.json and each other: their layer, their block, the maps in it, the
    shapes and one key for all. One shard is in memory at a time. Nothing is changed.
    """
    paths = sorted(path for path in run.path.rglob("*") if path.is_file())
    layers = {run.folder(layer.index): layer for layer in run.layers}
    keys: dict[bool, str] = {}  # of shards of maps, and of objectives: the first that can be read
    results = []
    for done, path in enumerate(paths, 1):
        results.append(_checked(run, path, layers.get(path.parent), keys))
        progress("files", done, len(paths))
    return results


def _checked(run: Run, path: Path, layer: LayerRecord | None, keys: dict[bool, str]) -> Checked:
    name = path.relative_to(run.path).as_posix()
    if path.suffix not in (".npz", ".json") or path.name.startswith(files.UNFINISHED):
        return Checked(name, "", read=False)
    problems: list[str] = []
    try:
        if layer is not None and path.name.startswith("shard-") and path.suffix == ".npz":
            problems += _shard(run, path, layer, keys)
        elif path.name not in _KINDS:
            (files.read_arrays if path.suffix == ".npz" else files.read_json)(path)
        else:
            problems += _fits_layer(run, _KINDS[path.name].read(path), layer)
    except RunError as error:
        problems = [str(error)]
    return Checked(name, "; ".join(problems))


def _shard(run: Run, path: Path, layer: LayerRecord, keys: dict[bool, str]) -> Iterator[str]:
    oips, key = read_shard(path)
    if key != keys.setdefault(layer.objectives is not None, key):
        yield "made in another way than the shards before it"
    if (oips.index, oips.layer) != (layer.index, layer.name):
        yield f"of layer @{oips.index} '{oips.layer}', not @{layer.index} '{layer.name}'"
    maps = oips.maps
    number = path.stem.removeprefix("shard-")
    if not number.isdecimal() or not np.all(maps // SHARD == int(number)):
        yield "maps of another block"
    if not np.all(np.diff(maps) > 0):
        yield "maps out of order"
    if len(maps) and maps.max() >= layer.maps:
        yield f"map {maps.max()} of a layer of {layer.maps}"
    if run.record.input is not None:
        yield from _images(oips, tuple(run.record.input.shape))
    for codes, names in ((oips.verdict_codes, VERDICTS), (oips.reasons, REASONS)):
        if codes.size and not (codes.min() >= 0 and codes.max() < len(names)):
            yield "unknown verdicts or reasons"
    alive = np.isfinite(oips.scores[:, 0])
    if not np.isfinite(oips.images[alive, 0].astype(np.float32)).all():
        yield "images that are not finite"


def _images(oips: Oips, shape: tuple[int, ...]) -> Iterator[str]:
    if oips.images.shape[2:] != shape:
        yield f"images of shape {oips.images.shape[2:]}, not {shape}"
    if oips.snapshots.shape[2:] != shape:
        yield "snapshots of another shape"


def _fits_layer(run: Run, record: FileRecord, layer: LayerRecord | None) -> Iterator[str]:
    if layer is None:
        return
    if isinstance(record, layer_formats.RankingFile) and record.index != layer.index:
        yield f"of layer @{record.index}"
    if isinstance(record, layer_formats.StabilityFile):
        try:
            if record.maps != maps_in_shards(run, layer.index).tolist():
                renewed = "the command that made the run renews it"
                yield f"measured for other maps than are there; {renewed}"
        except RunError:
            return  # the shard's own problem


ERROR = ".error.json"
"""The end of the names of files that say what failed."""


def run_status(run: Run) -> dict[str, Any]:
    """Return what there is of every layer of a run's model, as plain values.

    Only the small arrays of the shards are read; `verify_run` reads all.

    Returns:
        run, model, and layers: index, layer, maps (in the model), oips (maps with an OIP), verdicts
        (how many of each), shards, damaged (names of shards that cannot be read), stability (it is
        known for these maps), ranked, failed (file, error, attempts of what failed).
    """
    return {
        "run": str(run.path),
        "model": run.record.model.name,
        "layers": [layer_status(run, layer.index, layer.name, layer.maps) for layer in run.layers],
    }


def failures(folder: Path) -> list[dict[str, Any]]:
    """Return what failed in a layer's folder and is still missing: file, error, attempts."""
    result = []
    for path in sorted(folder.glob(f"*{ERROR}")):
        name = path.name.removesuffix(ERROR)
        record = FailureFile.read_if_whole(path) or FailureFile(
            error="unknown: the record of the failure is damaged", attempts=0
        )
        result.append(
            {
                "file": name + (".npz" if name.startswith("shard-") else ".json"),
                "error": record.error,
                "attempts": record.attempts,
            }
        )
    return result


def failure_file(run: RunFolder, index: int, file: str) -> Path:
    """Return the path of the record of a failure, of a file of a layer that is missing."""
    return run.folder(index) / f"{Path(file).stem}{ERROR}"


def layer_status(run: RunFolder, index: int, name: str, in_model: int | None) -> dict[str, Any]:
    """Return what there is of a layer, as `run_status` does it; nothing if the run never began."""
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
    return {
        "index": index,
        "layer": name,
        "maps": in_model,
        "oips": len(np.unique(maps)),
        "verdicts": {verdict: codes[code] for code, verdict in enumerate(VERDICTS) if codes[code]},
        "shards": len(paths),
        "damaged": damaged,
        "stability": bool(maps) and not damaged and stability_file(run, index) is not None,
        "ranked": (run.folder(index) / "ranking.json").is_file(),
        "failed": failures(run.folder(index)),
    }
