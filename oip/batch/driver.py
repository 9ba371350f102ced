"""Runs a batch: hands its work to an engine, tries again what failed, records what failed for good.

An engine's memory is never asked what is done: work is done when its file is there and valid.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from oip.batch.executors import Engine, EngineLost, Pending, Seam, engine_of, planner, wrapped
from oip.batch.job import Job, checked, job_of, read_job
from oip.batch.plan import (
    PlannedRun,
    begin,
    check_folder,
    looked_at,
    stable,
    subjects,
    there,
    unfinished,
)
from oip.batch.progress import Log, Watcher
from oip.batch.worker import LayerOutlook, Outcome, Outlook, Subject, Task, look, work
from oip.core import files, html
from oip.core.errors import PartlyFailed, SettingsError, expected
from oip.core.formats import FailureFile
from oip.run.check import failure_file
from oip.run.run import RunFolder


@dataclass(frozen=True)
class Failure:
    """A piece of work that failed for good."""

    run: str
    layer: int
    name: str
    """The layer's name."""
    file: str
    """The file that is missing."""
    maps: int
    error: str
    attempts: int

    @classmethod
    def of(cls, task: Task, error: str, attempts: int) -> Failure:
        """The failure of a task."""
        run = Path(task.run).name
        return cls(run, task.layer, task.name, task.file, len(task.maps), error, attempts)

    def to_dict(self) -> dict[str, Any]:
        """As `oip batch --json` prints it."""
        return asdict(self)


def write_failure(task: Task, failure: Failure) -> None:
    """Records a failure; `oip status` shows it until the file is there."""
    record = FailureFile(error=failure.error, attempts=failure.attempts, maps=list(task.maps))
    record.write(_path(task))


def clear_failure(task: Task) -> None:
    """Takes back what was recorded of an earlier try."""
    _path(task).unlink(missing_ok=True)


def _path(task: Task) -> Path:
    return failure_file(RunFolder(task.run), task.layer, task.file)


_SECONDS_BETWEEN_CHECKS = 5.0
_SHOWN = 20
"""Runs and failures that a notebook shows."""


@dataclass(frozen=True)
class BatchResult:
    """What a batch did."""

    out: Path
    runs: list[PlannedRun]
    failures: list[Failure]
    seconds: float
    pieces: int
    """Pieces of work that were done, not those that were there before."""

    def _repr_html_(self) -> str:
        rows = [(one.folder.name, Path(one.subject.path).name) for one in self.runs[:_SHOWN]]
        failures = [
            f"{one.run}, {one.name}, {one.file}: {one.error}" for one in self.failures[:_SHOWN]
        ]
        return html.block(
            f"batch '{self.out}': {self.pieces} pieces of work in {self.seconds:.0f} s",
            html.table(("run", "model"), rows, len(self.runs) - len(rows)),
            *(html.paragraph(f"failed: {text}") for text in failures),
        )


def run(
    job: Job | str | Path | Mapping[str, Any],
    *,
    engine: Engine | Seam | None = None,
    part: tuple[int, int] = (0, 1),
    watcher: Watcher | None = None,
) -> BatchResult:
    """Does a batch: reconstructions and rankings over many models, layers and settings.

    It can be stopped or killed at any time, and goes on when it is called again. What was finished
    is not done again, and the files are the same as those of a batch that was never stopped.

    Args:
        job: a `Job`, the path of a TOML file, or plain values as such a file holds them.
        engine: anything with `submit(function, *arguments)` whose result has `.result()`, such as
            an executor of `concurrent.futures`; the engine that the job names if None. It is not
            closed.
        part: (k, n): only every n-th shard from the k-th on; n calls with k from 0 to n - 1 do all.
        watcher: is told what is done.

    Returns:
        What was done and what failed. A piece of work that failed is recorded beside the place of
        its file, and is tried again by the next call.

    Raises:
        OipError: the job, a model or the data cannot be used; nothing was written but the files of
            keras.applications networks.
        PartlyFailed: nothing more can be written, or the engine is gone; what was finished is kept.

    Example:
        >>> result = oip.batch.run({"models": ["model.keras"], "out": "runs/b"})  # doctest: +SKIP
    """
    began = time.monotonic()
    chosen = _job(job)
    if not 0 <= part[0] < part[1]:
        raise SettingsError(expected("part", "(k, n) with k from 0 to n - 1", part))
    out = Path(chosen.out)
    watcher = watcher or Watcher()
    check_folder(out)
    found = subjects(chosen, out / "models")
    used = engine_of(chosen.engine, out) if engine is None else wrapped(engine)
    try:
        with _looking(used, chosen.engine.kind if engine is None else None) as look_at:
            looked = looked_at(found, look_at, watcher.prepared)
        runs = begin(out, looked)
        driver = _Driver(chosen, used, runs, part, watcher, Log(out / "log.jsonl"))
        driver.drive(unfinished(runs, part, watcher.prepared))
    finally:
        if engine is None:
            used.close()
    seconds = time.monotonic() - began
    return BatchResult(out, runs, driver.failures, round(seconds, 2), driver.done)


@contextmanager
def _looking(engine: Engine, kind: str | None) -> Iterator[Callable[[Subject], Outlook]]:
    """How models are looked at: where the work is done, if that is this machine; else in a process
    beside this one, so that this one takes no GPU.

    Args:
        engine: does the work.
        kind: of the job's own engine; None for one that was handed over.
    """
    if kind == "process":
        yield look
        return
    one = engine if kind == "local" else planner()
    try:
        yield lambda subject: one.submit(look, subject).result()
    finally:
        if one is not engine:
            one.close()


def _job(job: Job | str | Path | Mapping[str, Any]) -> Job:
    if isinstance(job, Job):
        return checked(job)
    return read_job(job) if isinstance(job, (str, Path)) else job_of(job)


@dataclass
class _Unit:
    """Tasks that are handed over together."""

    tasks: list[Task]
    attempt: int = 1


@dataclass
class _Layer:
    run: PlannedRun
    outlook: LayerOutlook
    left: int = 0
    """Shards that are not over yet."""


class _Driver:
    """One call of `run`: what is ready, what is under way, what comes after what."""

    def __init__(
        self,
        job: Job,
        engine: Engine,
        runs: list[PlannedRun],
        part: tuple[int, int],
        watcher: Watcher,
        log: Log,
    ):
        self.failures: list[Failure] = []
        self.done = 0
        self._job = job
        self._engine = engine
        self._part = part
        self._watcher = watcher
        self._log = log
        self._ready: deque[_Unit] = deque()
        self._back: queue.SimpleQueue[tuple[_Unit, Any]] = queue.SimpleQueue()
        self._layers = {
            (str(one.folder), layer.index): _Layer(one, layer)
            for one in runs
            for layer in one.outlook.layers
        }
        self._left_of_run = {str(one.folder): len(one.outlook.layers) for one in runs}
        self._stopped = ""

    def drive(self, found: list[Task]) -> None:
        """Does what is to be done, until nothing is under way any more.

        Raises:
            PartlyFailed: it had to stop before.
        """
        for task in found:
            self._layers[task.run, task.layer].left += 1
        self._add(_units(found, self._engine.together))
        for layer in self._layers.values():
            if not layer.left:
                self._layer_grown(layer)
        self._loop()
        if self._stopped:
            raise PartlyFailed(f"{self._stopped.rstrip('.')}. What was finished is kept.")

    def _loop(self) -> None:
        under_way = 0
        while True:
            while self._ready and not self._stopped and under_way < self._engine.width:
                under_way += self._handed_over(self._ready.popleft())
            if not under_way:
                return
            try:
                unit, answer = self._back.get(timeout=_SECONDS_BETWEEN_CHECKS)
            except queue.Empty:
                self._watcher.show()
                if self._is_lost():
                    return
                continue
            under_way -= 1
            if not (isinstance(answer, BaseException) and self._is_lost()):
                self._settle(unit, answer)

    def _is_lost(self) -> bool:
        try:
            self._engine.check()
        except EngineLost as error:
            self._stopped = str(error)
            return True
        return False

    def _handed_over(self, unit: _Unit) -> bool:
        try:
            pending = self._engine.submit(work, unit.tasks, self._engine.threads)
        except (EngineLost, RuntimeError) as error:  # RuntimeError: executors that are broken
            self._stopped = f"the engine takes no more work: {error}"
            return False
        self._await(unit, pending)
        return True

    def _await(self, unit: _Unit, pending: Pending) -> None:
        def come_back() -> None:
            try:
                answer: Any = pending.result()
            except (Exception, CancelledError) as error:
                answer = error
            self._back.put((unit, answer))

        if isinstance(pending, Future):
            pending.add_done_callback(lambda _: come_back())
        else:
            threading.Thread(target=come_back, daemon=True).start()

    def _settle(self, unit: _Unit, answer: Any) -> None:
        if isinstance(answer, BaseException):
            lost = Outcome("again", 0.0, "", f"{type(answer).__name__}: {answer}")
            answer = [lost] * len(unit.tasks)
        for task, outcome in zip(unit.tasks, answer, strict=False):
            try:
                self._ended(task, outcome, unit.attempt)
            except files.WriteError as error:
                self._stopped = str(error)
            except OSError as error:
                self._stopped = f"cannot write '{error.filename}': {error.strerror}"

    def _ended(self, task: Task, outcome: Outcome, attempt: int) -> None:
        self._log.write(task, outcome, attempt)
        if outcome.ending == "storage":
            self._stopped = outcome.error
            return
        if outcome.ending == "again" and attempt <= self._job.retries:
            self._ready.append(_Unit([task], attempt + 1))
            return
        if outcome.error:
            failure = Failure.of(task, outcome.error, attempt)
            self.failures.append(failure)
            write_failure(task, failure)
        else:
            clear_failure(task)
            self.done += 1
        self._watcher.ended(task, outcome)
        layer = self._layers[task.run, task.layer]
        if task.step == "grow":
            layer.left -= 1
            if not layer.left:
                self._layer_grown(layer)
        elif task.step == "stability":
            self._layer_done(layer)

    def _layer_grown(self, layer: _Layer) -> None:
        """All shards of a layer are over, or all of this part."""
        maps = set(there(layer.run, layer.outlook))
        if self._part[1] > 1 and not maps.issuperset(layer.outlook.maps):
            maps.clear()  # the part that finishes the layer measures its stability
        if maps and not stable(layer.run, layer.outlook):
            self._add([_Unit([layer.run.after("stability", layer.outlook)])], first=True)
        else:
            self._layer_done(layer)

    def _layer_done(self, layer: _Layer) -> None:
        folder = str(layer.run.folder)
        self._left_of_run[folder] -= 1
        if not self._left_of_run[folder] and self._job.rank is not None:
            layers = [one for one in layer.run.outlook.layers if not one.objectives]
            layers = layers[self._part[0] :: self._part[1]]
            self._add([_Unit([layer.run.after("rank", one)]) for one in layers])

    def _add(self, units: list[_Unit], first: bool = False) -> None:
        if first:
            self._ready.extendleft(units)
        else:
            self._ready.extend(units)
        self._watcher.planned([task for unit in units for task in unit.tasks])


def _units(tasks: list[Task], together: int) -> list[_Unit]:
    """Tasks in packets of one layer each."""
    found: list[_Unit] = []
    for task in tasks:
        last = found[-1].tasks if found else []
        alike = last and (last[0].run, last[0].layer) == (task.run, task.layer)
        if alike and len(last) < together:
            last.append(task)
        else:
            found.append(_Unit([task]))
    return found
