"""Progress of a batch: all shards, rate, time left; and a line in its log for each try."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from oip.batch.worker import Outcome, Task
from oip.core import files
from oip.core.formats import LogLine
from oip.core.progress import Reporter, duration, on_stderr


class Watcher:
    """Counts of a batch's work, which a reporter shows; the default shows nothing."""

    def __init__(self, report: Reporter | None = None) -> None:
        self._report = report or Reporter()
        self.pieces = self.done = self.failed = 0
        self.maps = self.maps_done = 0
        self._cost = self._cost_done = 0.0
        self._started = time.monotonic()

    def prepared(self, label: str, done: float, total: int) -> None:
        """Show the progress of the preparation: reading models, checking shards."""
        self._report(label, done, total)

    def planned(self, tasks: list[Task]) -> None:
        """Count further work."""
        if not self.pieces:
            self._started = time.monotonic()
        self.pieces += len(tasks)
        self.maps += sum(len(task.maps) for task in tasks if task.step == "grow")
        self._cost += sum(task.cost for task in tasks)
        self.show()

    def ended(self, task: Task, outcome: Outcome) -> None:
        """Count a piece of work that is over, well or not, and will not be tried another time."""
        self.done += 1
        self.failed += bool(outcome.error)
        self.maps_done += len(task.maps) if task.step == "grow" else 0
        self._cost_done += task.cost
        self.show()

    @property
    def rate(self) -> float:
        """Maps a second."""
        return self.maps_done / max(time.monotonic() - self._started, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Seconds by the cost of the layers; None before the first shard is done."""
        if not self._cost_done:
            return None
        passed = time.monotonic() - self._started
        return passed * (self._cost - self._cost_done) / self._cost_done

    def show(self) -> None:
        """Show the counts."""
        if self.pieces:
            self._report("batch", self.done, self.pieces, self.sentence())

    def sentence(self) -> str:
        """Return the counts as text."""
        seconds_left = self.seconds_left
        texts = [f"{self.done}/{self.pieces} pieces"]
        if self.maps:
            texts += [f"{self.maps_done}/{self.maps} maps", f"{self.rate:.1f} maps/s"]
        if self.failed:
            texts.append(f"{self.failed} failed")
        if seconds_left is not None and self.done < self.pieces:
            texts.append(f"about {duration(seconds_left)} left")
        return ", ".join(texts)


@contextmanager
def watched(quiet: bool = False) -> Iterator[Watcher]:
    """Yield a watcher that shows its counts on stderr, nothing if quiet."""
    with on_stderr(quiet) as report:
        yield Watcher(report)


def log_attempt(path: Path, task: Task, outcome: Outcome, attempt: int) -> None:
    """Append a line to a batch's `log.jsonl`, at once: one try at a piece of work."""
    line = LogLine(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        run=Path(task.run).name,
        layer=task.layer,
        step=task.step,
        file=task.file,
        maps=len(task.maps),
        attempt=attempt,
        ending=outcome.ending,
        seconds=outcome.seconds,
        worker=outcome.worker,
        error=outcome.error,
    )
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, files.json_text(msgspec.to_builtins(line), indent=None).encode())
    finally:
        os.close(handle)
