"""The runs of a job: finished work and work that is left."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from oip.ascent.reconstruction import aligned_blocks
from oip.ascent.settings import of_input, requested_settings, stored_settings
from oip.batch.job import Job, ModelSource, data_source
from oip.batch.keras_applications import application_file, application_name
from oip.batch.worker import LayerInspection, ModelInspection, ModelJob, Step, Task
from oip.core import files
from oip.core.checks import check_path
from oip.core.errors import ModelError, OipError, RunError, SettingsError, notice
from oip.core.formats import BatchFile, BatchLayer, BatchRun
from oip.core.images import preprocess_of
from oip.core.progress import Progress, silent
from oip.core.records import Part, copy_of, is_there
from oip.network.layer_spec import map_text
from oip.run.check import Checked, RunStatus, layer_status
from oip.run.class_probabilities import is_finished
from oip.run.run import Run, RunFolder
from oip.run.shards import maps_in_shards, open_blocks, refuse_other_shards
from oip.workflows.directions import copy_directions
from oip.workflows.inputs import ModelInput

NAME = "batch.json"
LOG = "log.jsonl"

Inspected = list[tuple[ModelJob, ModelInspection]]
Refused = list[tuple[ModelJob, OipError]]


@dataclass(frozen=True)
class PlannedRun:
    """One run of a batch."""

    number: int
    folder: Path
    job: ModelJob
    inspection: ModelInspection

    def tasks(self) -> list[Task]:
        """Return all shards of the run, layer by layer, done or not."""
        return [
            self._task("grow", layer, tuple(maps.tolist()), block_index)
            for layer in self.inspection.layers
            for block_index, maps in aligned_blocks(np.array(layer.maps))
        ]

    def after(self, step: Step, layer: LayerInspection) -> Task:
        """Return the next task of a layer whose shards are finished."""
        return self._task(step, layer, layer.maps)

    def maps_there(self, layer: LayerInspection) -> list[int]:
        """Return the maps in a layer's shards; none where one of them is damaged."""
        try:
            return maps_in_shards(RunFolder(self.folder), layer.index).tolist()
        except RunError:
            return []

    def is_finished(self, layer: LayerInspection) -> bool:
        """Return whether the files made from a layer's shards are finished, for the same maps."""
        return is_finished(RunFolder(self.folder), layer.index)

    def _task(
        self, step: Step, layer: LayerInspection, maps: tuple[int, ...], block: int = 0
    ) -> Task:
        return Task(
            step=step,
            job=self.job,
            run=str(self.folder),
            key=layer.key,
            digest=self.inspection.digest,
            layer=layer.index,
            name=layer.name,
            maps=maps,
            block=block,
            cost=layer.cost * len(maps) if step == "grow" else 0.0,
        )


def model_jobs(
    job: Job, applications: Path, new_applications: Path | None = None
) -> list[ModelJob]:
    """Return every model with every setting.

    Args:
        job: the job.
        applications: folder for the files of keras.applications networks.
        new_applications: folder for those that do not exist yet; `applications` if None.

    Raises:
        ModelError: a path that is not there, a pattern that fits nothing, no such application.
    """
    variants = [requested_settings(**table) for table in job.variants()]
    call = uuid.uuid4().hex
    jobs: dict[ModelJob, None] = {}
    for source in job.sources():
        model_input = ModelInput(
            source.imports,
            source.input_size,
            source.input,
            source.input_mean,
            source.input_std,
            source.input_range,
            source.preprocess or preprocess_of(source.application),
        )
        for path in _paths(source, applications, new_applications or applications):
            for settings in variants:
                model_job = ModelJob(
                    path=str(path.absolute()),
                    input=model_input,
                    layers=job.layers if source.layers is None else source.layers,
                    objectives=job.objectives,
                    data=data_source(job.data, Path.cwd()),
                    data_dir=None if job.data_dir is None else str(Path(job.data_dir).absolute()),
                    requested=settings,
                    rank=job.rank,
                    resize=job.resize,
                    directions=source.directions and str(Path(source.directions).absolute()),
                    call=call,
                )
                jobs[model_job] = None
    return list(jobs)


def check_folder(out: Path) -> None:
    """Raise a RunError unless a batch is in a folder or could begin there."""
    files.check_writable(out)
    if out.is_dir() and not is_there(out / NAME):
        ours = ("models", "slurm")
        names = [path.name for path in out.iterdir()]
        if any(not name.startswith(files.UNFINISHED) and name not in ours for name in names):
            received = "a folder of other files"
            raise RunError(f"'{out}'", "a batch or an empty folder", received)


def read_batch(out: Path) -> BatchFile:
    """Return the content of batch.json; a RunError where there is none, or of something else."""
    return BatchFile.read_either(out / NAME)


def plan_runs(out: Path, inspected: Inspected) -> list[PlannedRun]:
    """Give every model's job its run; nothing is written. Raises as `begin` does."""
    return _numbered(out, inspected, _existing(out))


def begin(out: Path, inspected: Inspected) -> list[PlannedRun]:
    """Give every model's job its run, and write batch.json and each run.json.

    A run is recognized by the key of its shards, whatever the job file says by now.

    Raises:
        RunError: a run's folder holds another model, or shards that were made in another way.
    """
    with files.locked(out):
        existing = _existing(out)
        planned = _numbered(out, inspected, existing)
        records = {run.run: run for run in existing}
        records |= {run.folder.name: _record(run) for run in planned}
        batch = BatchFile(runs=[records[name] for name in sorted(records)])
        if not batch.is_at(out / NAME):
            batch.write(out / NAME)
    for run in planned:
        new_run = Run.begin(run.folder, run.inspection.record)
        if run.job.directions is not None:
            copy_directions(run.job.directions, new_run)
    return planned


def unfinished(
    runs: list[PlannedRun], part: tuple[int, int] = (0, 1), progress: Progress = silent
) -> list[Task]:
    """Return the shards that are missing or not valid.

    Args:
        runs: of the batch.
        part: (k, n): only every n-th shard of the whole plan, from the k-th on.
        progress: called with the number of shards that have been checked.
    """
    tasks = [task for run in runs for task in run.tasks()][part[0] :: part[1]]
    open_tasks = []
    for count, task in enumerate(tasks, 1):
        run = RunFolder(task.run)
        blocks = dict(open_blocks(run, task.layer, np.array(task.maps), task.key))
        if task.block in blocks:
            open_tasks.append(replace(task, maps=tuple(blocks[task.block].tolist())))
        progress("shards checked", count, len(tasks))
    return open_tasks


def inspect_all(
    jobs: list[ModelJob],
    inspect: Callable[[ModelJob], ModelInspection],
    progress: Progress = silent,
) -> tuple[Inspected, Refused]:
    """Inspect every model's job; warn of those whose model, layers or data cannot be used.

    Returns:
        The jobs with their inspections, and those that cannot be used with their errors.

    Raises:
        OipError: none can be used; that of the first.
    """
    inspected: Inspected = []
    refused: Refused = []
    for count, job in enumerate(jobs, 1):
        try:
            inspected.append((job, inspect(job)))
        except OipError as error:
            refused.append((job, error))
        progress("models read", count, len(jobs))
    if refused and not inspected:
        raise refused[0][1]
    for text in dict.fromkeys(f"'{job.path}' is left out: {error}" for job, error in refused):
        notice(text)
    return inspected, refused


def _existing(out: Path) -> list[BatchRun]:
    return read_batch(out).runs if is_there(out / NAME) else []


def _numbered(out: Path, inspected: Inspected, existing: list[BatchRun]) -> list[PlannedRun]:
    """Give every model's job the number of its existing run, or the next free one."""
    numbers = {run.key: int(run.run) for run in existing}
    free = max(numbers.values(), default=-1) + 1
    runs: dict[str, PlannedRun] = {}
    for job, inspection in inspected:
        if inspection.key in runs:
            earlier_job = runs[inspection.key].job
            if earlier_job.directions != job.directions:
                form = "the same run for each model and setting"
                raise SettingsError("directions", form, f"two for '{inspection.name}'")
            continue  # the same model under two names
        if inspection.key not in numbers:
            numbers[inspection.key] = free
            free += 1
        run_number = numbers[inspection.key]
        folder = out / "runs" / f"{run_number:04d}"
        Run.check(folder, inspection.record)
        keys = {layer.index: layer.key for layer in inspection.layers}
        refuse_other_shards(
            RunFolder(folder),
            inspection.key,
            keys,
            inspection.objectives_index,
            inspection.record,
        )
        if inspection.record.input is not None:
            shape = tuple(inspection.record.input.shape)
            job = replace(job, requested=of_input(job.requested, shape))
        runs[inspection.key] = PlannedRun(run_number, folder, job, inspection)
    return list(runs.values())


def _record(run: PlannedRun) -> BatchRun:
    """Return a run as batch.json holds it: no paths, only names."""
    inspection = run.inspection
    return BatchRun(
        run=run.folder.name,
        model=inspection.name,
        sha256=inspection.digest,
        key=inspection.key,
        settings=stored_settings(run.job.settings),
        layers=[
            BatchLayer(index=layer.index, layer=layer.name, maps=map_text(layer.maps))
            for layer in inspection.layers
        ],
        ranked=run.job.rank is not None,
    )


def _paths(source: ModelSource, applications: Path, new_applications: Path) -> list[Path]:
    if source.application is not None:
        path = applications / application_name(source)
        return [path if path.is_file() else application_file(source, new_applications)]
    text = source.path or ""
    path = Path(text)
    if path.exists():
        return [path]
    if not any(sign in text for sign in "*?["):
        raise ModelError(f"model '{text}'", "a .keras or .h5 file", "no such file")
    paths = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
    if not paths:
        raise ModelError(f"models '{text}'", "files that fit the pattern", "none")
    return paths


def runs_of(path: Path, tidy: bool = True) -> list[Run]:
    """Return the run that a folder is, or those of a batch that have begun.

    Args:
        path: the folder.
        tidy: as for `Run.open`.

    Raises:
        RunError: neither, or a damaged run.json.
    """
    if not is_there(path / NAME):
        return [Run.open(path, tidy)]
    folders = [path / "runs" / run.run for run in read_batch(path).runs]
    return [Run.open(folder, tidy) for folder in folders if folder.exists()]


def verify_batch(path: Path) -> list[Checked]:
    """Check batch.json, its copy and the log; nothing is checked where the folder is no batch."""
    if not is_there(path / NAME):
        return []
    results = []
    for name in (path / NAME, copy_of(path / NAME)):
        try:
            BatchFile.read(name)
            results.append(Checked(name.name, ""))
        except RunError as error:
            results.append(Checked(name.name, str(error)))
    log = path / LOG
    if log.is_file():
        damaged = [str(n) for n, line in enumerate(_lines(log), 1) if not _is_whole(line, log)]
        lines = ", ".join(damaged[:8]) + (", ..." if len(damaged) > 8 else "")
        text = f"damaged in line {lines}; --repair leaves that out" if damaged else ""
        results.append(Checked(LOG, text))
    return results


def _lines(log: Path) -> list[bytes]:
    files.check_regular(log)
    return log.read_bytes().splitlines(keepends=True)


def _is_whole(line: bytes, log: Path) -> bool:
    try:
        files.parse_json(line, log)
    except RunError:
        return False
    return line.endswith(b"\n")


def repair_batch(path: Path) -> list[str]:
    """Write batch.json from its copy, or the other way around, and the log without damaged lines.

    Returns:
        The names of the files that were written.
    """
    if not is_there(path / NAME):
        return []
    names = []
    record = read_batch(path)
    if not record.is_at(path / NAME):
        record.write(path / NAME)
        names.append(NAME)
    log = path / LOG
    lines = _lines(log) if log.is_file() else []
    whole_lines = [line for line in lines if _is_whole(line, log)]
    if len(whole_lines) < len(lines):
        files.write_bytes(log, b"".join(whole_lines))
        names.append(LOG)
    return names


class BatchStatus(Part, frozen=True, kw_only=True):
    """The status of every run of a batch, of the layers that were requested."""

    batch: str
    runs: list[RunStatus]


def batch_status(out: str | Path) -> BatchStatus:
    """Return the status of every run of a batch, and how many maps were requested.

    Args:
        out: the folder of the batch.

    Raises:
        RunError: no batch in the folder, or one that is damaged.

    >>> oip.batch.batch_status("runs/batch").runs  # doctest: +SKIP
    """
    out, runs = check_path("folder of the batch", out), []
    for run in read_batch(out).runs:
        folder = RunFolder(out / "runs" / run.run)
        run_layers = Run.open(folder.path).layers if folder.path.exists() else []
        maps = {layer.index: layer.maps for layer in run_layers}
        layers = [
            msgspec.structs.replace(
                layer_status(folder, layer.index, layer.layer, maps.get(layer.index)),
                requested=_map_count(out, layer),
            )
            for layer in sorted(run.layers, key=lambda layer: layer.index)
        ]
        runs.append(RunStatus(run=str(folder.path), model=run.model, layers=layers))
    return BatchStatus(batch=str(out), runs=runs)


def _map_count(out: Path, layer: BatchLayer) -> int:
    """Return how many maps a text such as `0-15,20` names."""
    total = 0
    try:
        for map_range in layer.maps.split(","):
            low, _, high = map_range.partition("-")
            total += int(high or low) - int(low) + 1
    except ValueError as error:
        raise RunError(f"'{out / NAME}'", "map numbers", f"'{layer.maps}'") from error
    return total
