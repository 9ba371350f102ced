"""Runs a batch: hands its work to an engine, retries what failed, records what failed for good.

The engine's memory does not decide what is done: work is done when its file is there and valid.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oip.batch.executors import Engine, EngineLost, Executor, Pending, Pool, engine_of, wrapped
from oip.batch.job import Job, checked_job
from oip.batch.plan import LOG, PlannedRun, begin, check_folder, inspect_all, model_jobs, unfinished
from oip.batch.progress import Watcher, log_attempt
from oip.batch.worker import (
    LayerInspection,
    ModelInspection,
    ModelJob,
    Outcome,
    Task,
    inspect,
    work,
)
from oip.core import files, html
from oip.core.errors import OipError, PartlyFailed, SettingsError
from oip.core.files import Json
from oip.core.formats import FailureFile
from oip.run.check import failure_file
from oip.run.run import RunFolder

if TYPE_CHECKING:
    from pandas import DataFrame

_SECONDS_BETWEEN_CHECKS = 5.0
_SHOWN = 20
"""Runs and failures that a notebook shows."""


@dataclass(frozen=True)
class Failure:
    """A piece of work that failed for good, or a model that cannot be used."""

    run: str | None
    """None of a model: it has no run."""
    layer: int | None
    name: str | None
    """The layer's name."""
    file: str
    """The file that is missing; of a model, its path."""
    maps: int
    error: str
    attempts: int

    @classmethod
    def of(cls, task: Task, error: str, attempts: int) -> Failure:
        """Return the failure of a task."""
        run = Path(task.run).name
        return cls(run, task.layer, task.name, task.file, len(task.maps), error, attempts)

    @classmethod
    def of_model(cls, job: ModelJob, error: OipError) -> Failure:
        """Return the failure of a model that cannot be used, or whose layers or data cannot."""
        return cls(None, None, None, job.path, 0, str(error), 1)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `oip batch --json` prints them."""
        return asdict(self)


@dataclass(frozen=True)
class BatchResult:
    """The work that a batch did."""

    out: Path
    runs: list[PlannedRun]
    failures: list[Failure]
    seconds: float
    pieces: int
    """Pieces of work that were done, without those that were there before."""

    def to_pandas(self) -> DataFrame:
        """Return a row for each run and layer: run, model, layer, maps, failures."""
        import pandas

        failed = [(failure.run, failure.layer) for failure in self.failures]
        rows = [
            (
                run.folder.name,
                run.inspection.name,
                layer.name,
                len(layer.maps),
                failed.count((run.folder.name, layer.index)),
            )
            for run in self.runs
            for layer in run.inspection.layers
        ]
        return pandas.DataFrame(rows, columns=["run", "model", "layer", "maps", "failures"])

    def __repr__(self) -> str:
        return (
            f"<BatchResult '{self.out}': {len(self.runs)} runs, {self.pieces} pieces of work in "
            f"{self.seconds:.0f} s, {len(self.failures)} failures>"
        )

    def _repr_html_(self) -> str:
        rows = [(run.folder.name, Path(run.job.path).name) for run in self.runs[:_SHOWN]]
        failures = [
            ", ".join(filter(None, (failure.run, failure.name, failure.file)))
            + f": {failure.error}"
            for failure in self.failures[:_SHOWN]
        ]
        return html.block(
            f"batch '{self.out}': {self.pieces} pieces of work in {self.seconds:.0f} s",
            html.table(("run", "model"), rows, len(self.runs) - len(rows)),
            *(html.paragraph(f"failed: {text}") for text in failures),
        )


def run(
    job: Job | str | Path | Mapping[str, Json],
    *,
    engine: Engine | Executor | None = None,
    part: tuple[int, int] = (0, 1),
    watcher: Watcher | None = None,
) -> BatchResult:
    """Do a batch: reconstructions and rankings over many models, layers and settings.

    It can be stopped or killed at any time, and goes on when it is called another time. What is
    finished is not done twice, and the files are those of a batch that was never stopped.

    Args:
        job: a `Job`, the path of a TOML file, or plain values as such a file holds them.
        engine: anything with `submit(function, *arguments)` whose result has `.result()`, such as
            an executor of `concurrent.futures`; the engine that the job names if None. It is not
            closed.
        part: (k, n): only every n-th shard from the k-th on; n calls with k from 0 to n - 1 do all.
        watcher: shows the progress.

    Returns:
        The runs and the failures. A piece of work that failed is recorded beside its file, and is
        tried by the next call; a model that cannot be used is a failure, and the others are done.

    Raises:
        OipError: the job, each of its models or the data cannot be used; nothing was written but
            the files of keras.applications networks.
        PartlyFailed: nothing more can be written, or the engine is gone; what was finished is kept.

    Example:
        >>> result = oip.batch.run({"models": ["model.keras"], "out": "runs/b"})  # doctest: +SKIP
    """
    started = time.monotonic()
    job = checked_job(job)
    if not 0 <= part[0] < part[1]:
        raise SettingsError("part", "(k, n) with k from 0 to n - 1", part)
    out = Path(job.out)
    watcher = watcher or Watcher()
    check_folder(out)
    jobs = model_jobs(job, out / "models")
    used_engine = engine_of(job.engine, out) if engine is None else wrapped(engine)
    try:
        with _inspection(used_engine, job.engine.kind if engine is None else None) as inspect_job:
            inspected, refused = inspect_all(jobs, inspect_job, watcher.prepared)
        runs = begin(out, inspected)
        driver = _Driver(job, used_engine, runs, part, watcher, out / LOG)
        driver.drive(unfinished(runs, part, watcher.prepared))
    finally:
        if engine is None:
            used_engine.close()
    seconds = time.monotonic() - started
    failures = dict.fromkeys(Failure.of_model(*pair) for pair in refused)
    return BatchResult(out, runs, [*failures, *driver.failures], round(seconds, 2), driver.done)


@contextmanager
def _inspection(
    engine: Engine, kind: str | None
) -> Iterator[Callable[[ModelJob], ModelInspection]]:
    """Yield a function that inspects models.

    It runs where the work is done, if that is this machine; else in a process beside this one, so
    that this one takes no GPU.
    """
    if engine.in_this_process:
        yield inspect
        return
    inspecting = engine if kind == "local" else Pool([""])
    try:
        yield lambda job: inspecting.submit(inspect, job).result()
    finally:
        if inspecting is not engine:
            inspecting.close()


@dataclass
class _Unit:
    """Tasks that are handed over together."""

    tasks: list[Task]
    attempt: int = 1


@dataclass
class _LayerProgress:
    """A layer of a run, and how much of it is left."""

    run: PlannedRun
    inspection: LayerInspection
    open_shards: int = 0
    """Shards that are neither done nor failed yet."""


_UnitResult = list[Outcome] | BaseException


@dataclass
class _Driver:
    """The state of one call of `run`: units that are ready and under way, and what follows them."""

    job: Job
    engine: Engine
    runs: list[PlannedRun]
    part: tuple[int, int]
    watcher: Watcher
    log: Path
    failures: list[Failure] = field(default_factory=list)
    done: int = 0
    stopped: str = ""
    """The reason why no more work is handed over."""
    ready: deque[_Unit] = field(default_factory=deque)
    results: queue.SimpleQueue[tuple[_Unit, _UnitResult]] = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        self.layers = {
            (str(run.folder), layer.index): _LayerProgress(run, layer)
            for run in self.runs
            for layer in run.inspection.layers
        }
        self.layers_left = {str(run.folder): len(run.inspection.layers) for run in self.runs}

    def drive(self, tasks: list[Task]) -> None:
        """Do the tasks and what follows them, until nothing is under way any more.

        Raises:
            PartlyFailed: it had to stop before.
        """
        for task in tasks:
            self.layers[task.run, task.layer].open_shards += 1
        self._add(_units(tasks, self.engine.together))
        for layer in self.layers.values():
            if not layer.open_shards:
                self._finish_shards(layer)
        self._loop()
        if self.stopped:
            raise PartlyFailed(f"{self.stopped.rstrip('.')}. What was finished is kept.")

    def _loop(self) -> None:
        running = 0
        while True:
            while self.ready and not self.stopped and running < self.engine.width:
                running += self._submit(self.ready.popleft())
            if not running:
                return
            try:
                unit, result = self.results.get(timeout=_SECONDS_BETWEEN_CHECKS)
            except queue.Empty:
                self.watcher.show()
                if self._is_lost():
                    return
                continue
            running -= 1
            if not (isinstance(result, BaseException) and self._is_lost()):
                self._handle_result(unit, result)

    def _is_lost(self) -> bool:
        try:
            self.engine.check()
        except EngineLost as error:
            self.stopped = str(error)
            return True
        return False

    def _submit(self, unit: _Unit) -> bool:
        try:
            pending = self.engine.submit(work, unit.tasks, self.engine.threads)
        except (EngineLost, RuntimeError) as error:  # RuntimeError: executors that are broken
            self.stopped = f"the engine takes no more work: {error}"
            return False
        self._collect(unit, pending)
        return True

    def _collect(self, unit: _Unit, pending: Pending) -> None:
        def put_result() -> None:
            try:
                result: _UnitResult = pending.result()
            except (Exception, CancelledError) as error:
                result = error
            self.results.put((unit, result))

        if isinstance(pending, Future):
            pending.add_done_callback(lambda _: put_result())
        else:
            threading.Thread(target=put_result, daemon=True).start()

    def _handle_result(self, unit: _Unit, result: _UnitResult) -> None:
        if isinstance(result, BaseException):
            repeat = Outcome("again", 0.0, "", f"{type(result).__name__}: {result}")
            result = [repeat] * len(unit.tasks)
        for task, outcome in zip(unit.tasks, result, strict=False):
            try:
                self._handle_outcome(task, outcome, unit.attempt)
            except files.WriteError as error:
                self.stopped = str(error)
            except OSError as error:
                self.stopped = f"cannot write '{error.filename}': {error.strerror}"

    def _handle_outcome(self, task: Task, outcome: Outcome, attempt: int) -> None:
        log_attempt(self.log, task, outcome, attempt)
        if outcome.ending == "storage":
            self.stopped = outcome.error
            return
        if outcome.ending == "again" and attempt <= self.job.retries:
            self.ready.append(_Unit([task], attempt + 1))
            return
        if outcome.error:
            self.failures.append(Failure.of(task, outcome.error, attempt))
            record = FailureFile(error=outcome.error, attempts=attempt, maps=list(task.maps))
            record.write(_failure_path(task))
        else:
            _failure_path(task).unlink(missing_ok=True)  # of an earlier try
            self.done += 1
        self.watcher.ended(task, outcome)
        layer = self.layers[task.run, task.layer]
        if task.step == "grow":
            layer.open_shards -= 1
            if not layer.open_shards:
                self._finish_shards(layer)
        elif task.step == "stability":
            self._finish_layer(layer)

    def _finish_shards(self, layer: _LayerProgress) -> None:
        """Go on with a layer whose shards, or those of this part, are done or failed."""
        maps = set(layer.run.maps_there(layer.inspection))
        if self.part[1] > 1 and not maps.issuperset(layer.inspection.maps):
            maps.clear()  # the part that finishes the layer measures its stability
        if maps and not layer.run.is_finished(layer.inspection):
            self._add([_Unit([layer.run.after("stability", layer.inspection)])], at_front=True)
        else:
            self._finish_layer(layer)

    def _finish_layer(self, layer: _LayerProgress) -> None:
        folder = str(layer.run.folder)
        self.layers_left[folder] -= 1
        if not self.layers_left[folder] and self.job.rank is not None:
            layers = [info for info in layer.run.inspection.layers if not info.objectives]
            layers = layers[self.part[0] :: self.part[1]]
            self._add([_Unit([layer.run.after("rank", info)]) for info in layers])

    def _add(self, units: list[_Unit], at_front: bool = False) -> None:
        if at_front:
            self.ready.extendleft(units)
        else:
            self.ready.extend(units)
        self.watcher.planned([task for unit in units for task in unit.tasks])


def _units(tasks: list[Task], together: int) -> list[_Unit]:
    """Group tasks of the same layer into units.

    Args:
        tasks: those of a layer follow each other.
        together: tasks of a unit at most.
    """
    units: list[_Unit] = []
    for task in tasks:
        last = units[-1].tasks if units else []
        same_layer = last and (last[0].run, last[0].layer) == (task.run, task.layer)
        if same_layer and len(last) < together:
            last.append(task)
        else:
            units.append(_Unit([task]))
    return units


def _failure_path(task: Task) -> Path:
    return failure_file(RunFolder(task.run), task.layer, task.file)
