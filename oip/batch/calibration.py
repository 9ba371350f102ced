"""What a batch would do, and about how long it would take: a few steps of a few maps are timed."""

from __future__ import annotations

import io
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from oip.ascent.gradient_ascent import snapshot_steps
from oip.ascent.results import PER_MAP, Oips
from oip.batch.executors import JOBS, found_gpus, processes
from oip.batch.job import Job
from oip.batch.plan import PlannedRun, check_folder, looked_at, planned, subjects, unfinished
from oip.batch.worker import Bench, LayerOutlook, ascent_of, outlook
from oip.core.progress import Progress, silent

_STEPS = 4
_OPERATIONS = 1e11
"""Of one trial, roughly."""
_FEWEST, _MOST = 4, 128
"""Images of a trial."""
_PASSES = 3
"""A step is worth so many forward passes."""
_WHITE = 64
"""Screened images of white noise."""


@dataclass(frozen=True)
class Pace:
    """What was measured of one layer."""

    cost: float
    """Of the layer; see `LayerOutlook`."""
    step: float
    """Seconds of one step of one image."""
    fixed: float
    """Seconds before the first step: compiling."""
    packed: float
    """Size of a shard's file against that of its arrays."""


def forecast(job: Job, progress: Progress = silent) -> dict[str, Any]:
    """The plan of a batch, with seconds and bytes; nothing is written.

    Three layers of each run are timed, the cheapest, the middle and the dearest; those between them
    are interpolated. Images that settle early make it quicker, silent maps that are tried again
    make it slower.

    Args:
        job: the job.
        progress: is told what has been looked at.

    Returns:
        shards, shards_left, maps_left, seconds (of the whole, at `workers` at once), bytes,
        workers, notices; and runs: run, model, layers (index, layer, maps, shards, shards_left,
        seconds of one worker, bytes).

    Raises:
        OipError: as the batch itself would.
    """
    out = Path(job.out)
    check_folder(out)
    bench = Bench()
    with tempfile.TemporaryDirectory() as spare:
        folder = out / "models"
        found = subjects(job, folder, Path(spare))
        looked = looked_at(found, lambda one: outlook(bench, one), progress)
        runs = planned(out, looked)
        left = unfinished(runs, progress=progress)
        told = []
        for done, run in enumerate(runs, 1):
            open_ = [task for task in left if task.run == str(run.folder)]
            told.append(_of_run(bench, run, open_))
            progress("runs calibrated", done, len(runs))
    workers = _at_once(job)
    layers = [layer for run in told for layer in run["layers"]]
    seconds = sum(layer["seconds"] for layer in layers)
    return {
        "shards": sum(layer["shards"] for layer in layers),
        "shards_left": len(left),
        "maps_left": sum(len(task.maps) for task in left),
        "seconds": round(seconds / workers, 1),
        "bytes": sum(layer["bytes"] for layer in layers),
        "workers": workers,
        "notices": [
            f"{run.outlook.name}: the input's mean and deviation are not known; 0 and 1 are taken."
            for run in runs
            if run.outlook.assumed
        ],
        "runs": told,
    }


def _of_run(bench: Bench, run: PlannedRun, left: list[Any]) -> dict[str, Any]:
    open_layers = {task.layer for task in left}
    timed = sorted(
        (one for one in run.outlook.layers if one.index in open_layers), key=lambda one: one.cost
    )
    if timed:
        chosen = {0, len(timed) // 2, len(timed) - 1}
        paces = [_pace(bench, run, timed[place]) for place in sorted(chosen)]
    else:
        paces = []
    layers = []
    for layer in run.outlook.layers:
        mine = [task for task in left if task.layer == layer.index]
        maps = sum(len(task.maps) for task in mine)
        seconds, size = _estimated(bench, run, layer, maps, paces) if maps else (0.0, 0)
        layers.append(
            {
                "index": layer.index,
                "layer": layer.name,
                "maps": len(layer.maps),
                "shards": sum(task.layer == layer.index for task in run.tasks()),
                "shards_left": len(mine),
                "seconds": round(seconds, 1),
                "bytes": size,
            }
        )
    return {"run": run.folder.name, "model": run.outlook.name, "layers": layers}


def _pace(bench: Bench, run: PlannedRun, layer: LayerOutlook) -> Pace:
    """Grows the same few maps twice: the second time is the climb alone."""
    network = bench.network(run.subject)
    asked = run.subject.settings
    starts = min(asked.starts, _FEWEST)
    images = int(np.clip(_OPERATIONS / (_PASSES * _STEPS * layer.cost), _FEWEST, _MOST))
    maps = np.array(layer.maps[: max(1, images // starts)])
    maps = maps[maps // 64 == maps[0] // 64]
    trial = msgspec.structs.replace(
        asked,
        starts=starts,
        steps=_STEPS,
        screened=max(2 * starts, 8),
        warmup=min(asked.warmup, _STEPS),
        climb_inactive=False,
    )
    ascent = ascent_of(network, run.subject, layer.index, trial, None)
    began = time.perf_counter()
    ascent.grow(maps)
    middle = time.perf_counter()
    grown = ascent.grow(maps)
    climb = time.perf_counter() - middle
    step = climb / (len(maps) * starts * (_STEPS + 1))
    return Pace(layer.cost, step, max(0.0, middle - began - climb), _packed(grown))


def _packed(grown: Oips) -> float:
    arrays = {name: getattr(grown, name) for name in PER_MAP}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return len(buffer.getvalue()) / sum(array.nbytes for array in arrays.values())


def _estimated(
    bench: Bench, run: PlannedRun, layer: LayerOutlook, maps: int, paces: list[Pace]
) -> tuple[float, int]:
    """Seconds of one worker, and bytes, of some maps of a layer."""
    settings = run.subject.settings
    costs = [pace.cost for pace in paces]
    step = float(np.interp(layer.cost, costs, [pace.step for pace in paces]))
    fixed = float(np.interp(layer.cost, costs, [pace.fixed for pace in paces]))
    packed = float(np.interp(layer.cost, costs, [pace.packed for pace in paces]))
    data = bench.data(run.subject)
    passes = settings.screened + _WHITE + (0 if data is None else 2 * len(data.images))
    seconds = fixed + step * (maps * settings.starts * (settings.steps + 1) + passes / _PASSES)
    pixels = int(np.prod(bench.network(run.subject).inputs.shape))
    pictures = (settings.starts + len(snapshot_steps(settings.steps))) * pixels * 2
    return seconds, int(packed * maps * (pictures + 4 * settings.starts * (settings.steps + 1)))


def _at_once(job: Job) -> int:
    """How much faster the engine is than one process of this machine with all its cores."""
    engine = job.engine
    if engine.kind == "slurm":
        return engine.workers or JOBS
    if engine.kind == "dask":
        return engine.workers or 1
    if engine.kind == "local" and (engine.gpus or (engine.gpus is None and found_gpus())):
        return len(processes(engine)[0])
    return 1
