"""A forecast of a batch: a few steps of a few maps are timed, nothing is written."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

import msgspec
import numpy as np

from oip.ascent.gradient_ascent import snapshot_steps
from oip.ascent.results import PER_MAP, Oips
from oip.batch.executors import JOBS, available_gpus, processes
from oip.batch.job import Job, checked_job
from oip.batch.plan import PlannedRun, check_folder, inspect_all, model_jobs, plan_runs, unfinished
from oip.batch.worker import LayerInspection, Task, WorkerCache, ascent_of, inspect_model
from oip.core.files import Json
from oip.core.progress import Progress, silent
from oip.core.records import Part
from oip.run.shards import Ends, shard_record

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
class LayerTiming:
    """Measurements of one layer."""

    cost: float
    """Of the layer; see `LayerInspection`."""
    step: float
    """Seconds of one step of one image."""
    fixed: float
    """Seconds before the first step: compiling."""
    packed: float
    """Size of a shard's file against that of its arrays."""


class LayerForecast(Part, frozen=True, kw_only=True):
    """The work on a layer of a run."""

    index: int
    layer: str
    maps: int
    shards: int
    shards_left: int
    seconds: float
    """Of one worker."""
    bytes: int


class RunForecast(Part, frozen=True, kw_only=True):
    """The work on a run."""

    run: str
    model: str
    layers: list[LayerForecast]


class Forecast(Part, frozen=True, kw_only=True):
    """The work on a batch, as `oip batch --dry-run --json` prints it."""

    shards: int
    shards_left: int
    maps_left: int
    seconds: float
    """Of the whole, with `workers` at once."""
    bytes: int
    workers: int
    notices: list[str]
    runs: list[RunForecast]
    refused: list[str]
    """Models that cannot be used, with the reason; the batch leaves them out."""

    def __repr__(self) -> str:
        return (
            f"<Forecast: {self.shards_left} of {self.shards} shards to do in {len(self.runs)} "
            f"runs, {self.seconds:.0f} s, {self.bytes} bytes>"
        )


def forecast(job: Job | str | Path | Mapping[str, Json], progress: Progress = silent) -> Forecast:
    """Return the plan of a batch, with seconds and bytes; nothing is written.

    Three layers of each run are timed, the cheapest, the middle and the most expensive; those
    between them are interpolated. Images that settle early make it quicker, inactive maps that are
    tried several times make it slower.

    Args:
        job: as for `oip.batch.run`.
        progress: called with what has been read.

    Raises:
        OipError: as the batch itself would.

    >>> oip.batch.forecast("job.toml").seconds  # doctest: +SKIP
    """
    job = checked_job(job)
    out = Path(job.out)
    check_folder(out)
    cache = WorkerCache()
    with tempfile.TemporaryDirectory() as folder:
        jobs = model_jobs(job, out / "models", Path(folder))
        inspected, refused = inspect_all(
            jobs, lambda model_job: inspect_model(cache, model_job), progress
        )
        runs = plan_runs(out, inspected)
        open_tasks = unfinished(runs, progress=progress)
        forecasts = []
        for count, run in enumerate(runs, 1):
            forecasts.append(
                _run_forecast(
                    cache, run, [task for task in open_tasks if task.run == str(run.folder)]
                )
            )
            progress("runs calibrated", count, len(runs))
    workers = _speedup(job)
    layers = [layer for forecast in forecasts for layer in forecast.layers]
    seconds = sum(layer.seconds for layer in layers)
    return Forecast(
        shards=sum(layer.shards for layer in layers),
        shards_left=len(open_tasks),
        maps_left=sum(len(task.maps) for task in open_tasks),
        seconds=round(seconds / workers, 1),
        bytes=sum(layer.bytes for layer in layers),
        workers=workers,
        notices=[
            f"{run.inspection.name}: the input's mean and standard deviation are not known; 0 and "
            f"1 are taken. {run.inspection.preprocess_hint}".rstrip()
            for run in runs
            if run.inspection.assumed
        ],
        runs=forecasts,
        refused=list(dict.fromkeys(f"'{model_job.path}': {error}" for model_job, error in refused)),
    )


def _run_forecast(cache: WorkerCache, run: PlannedRun, open_tasks: list[Task]) -> RunForecast:
    """Return the work on one run, from timings of three of its layers."""
    open_layers = {task.layer for task in open_tasks}
    by_cost = sorted(
        (layer for layer in run.inspection.layers if layer.index in open_layers),
        key=lambda layer: layer.cost,
    )
    timed_rows = sorted({0, len(by_cost) // 2, len(by_cost) - 1}) if by_cost else []
    timings = [_timing(cache, run, by_cost[index]) for index in timed_rows]
    layers = []
    for layer in run.inspection.layers:
        tasks = [task for task in open_tasks if task.layer == layer.index]
        maps = sum(len(task.maps) for task in tasks)
        seconds, size = _estimate(cache, run, layer, maps, timings) if maps else (0.0, 0)
        layers.append(
            LayerForecast(
                index=layer.index,
                layer=layer.name,
                maps=len(layer.maps),
                shards=sum(task.layer == layer.index for task in run.tasks()),
                shards_left=len(tasks),
                seconds=round(seconds, 1),
                bytes=size,
            )
        )
    return RunForecast(run=run.folder.name, model=run.inspection.name, layers=layers)


def _timing(cache: WorkerCache, run: PlannedRun, layer: LayerInspection) -> LayerTiming:
    """Grow the same few maps twice: the second time is the ascent alone."""
    network = cache.network(run.job)
    settings = run.job.settings
    starts = min(settings.starts, _FEWEST)
    images = int(np.clip(_OPERATIONS / (_PASSES * _STEPS * layer.cost), _FEWEST, _MOST))
    maps = np.array(layer.maps[: max(1, images // starts)])
    maps = maps[maps // 64 == maps[0] // 64]
    trial = msgspec.structs.replace(
        settings,
        starts=starts,
        steps=_STEPS,
        screened=max(2 * starts, 8),
        warmup=min(settings.warmup, _STEPS),
        climb_inactive=False,
    )
    ascent = ascent_of(network, run.job, layer.index, trial, None)
    started = time.perf_counter()
    ascent.grow(maps)
    middle = time.perf_counter()
    oips = ascent.grow(maps)
    seconds = time.perf_counter() - middle
    step = seconds / (len(maps) * starts * (_STEPS + 1))
    packed = _packed(oips, ascent.picture_ends)
    return LayerTiming(layer.cost, step, max(0.0, middle - started - seconds), packed)


def _packed(oips: Oips, picture_ends: Ends) -> float:
    """Return the bytes of a shard as a share of those of its arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **shard_record(oips, "", picture_ends).arrays())
    arrays = (getattr(oips, name) for name in PER_MAP)
    return len(buffer.getvalue()) / sum(array.nbytes for array in arrays if array is not None)


def _estimate(
    cache: WorkerCache,
    run: PlannedRun,
    layer: LayerInspection,
    maps: int,
    timings: list[LayerTiming],
) -> tuple[float, int]:
    """Return the seconds that one worker takes for some maps of a layer, and their bytes."""
    settings = run.job.settings
    costs, *measured = zip(*map(astuple, timings), strict=True)
    step, fixed, packed = (float(np.interp(layer.cost, costs, values)) for values in measured)
    data = cache.data(run.job)
    passes = settings.screened + _WHITE + (0 if data is None else 2 * len(data.images))
    seconds = fixed + step * (maps * settings.starts * (settings.steps + 1) + passes / _PASSES)
    pixels = int(np.prod(cache.network(run.job).inputs.shape))
    images = (
        (settings.starts + len(snapshot_steps(settings.steps, settings.snapshots))) * pixels * 2
    )
    return seconds, int(packed * maps * (images + 4 * settings.starts * (settings.steps + 1)))


def _speedup(job: Job) -> int:
    """Return how much faster the engine is than one process of this machine with all its cores."""
    engine = job.engine
    if engine.kind == "slurm":
        return engine.workers or JOBS
    if engine.kind == "dask":
        return engine.workers or 1
    if engine.kind == "local" and (engine.gpus or (engine.gpus is None and available_gpus())):
        return len(processes(engine)[0])
    return 1
