"""What could not be done, recorded beside the place where its file should be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from oip.batch.work import Task
from oip.core import files
from oip.run.directory import Run
from oip.run.status import ERROR, FAILURE_SCHEMA


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
    told = {"error": failure.error, "attempts": failure.attempts, "maps": list(task.maps)}
    files.write_json(_path(task), {"schema": FAILURE_SCHEMA, **told})


def clear_failure(task: Task) -> None:
    """Takes back what was recorded of an earlier try."""
    _path(task).unlink(missing_ok=True)


def _path(task: Task) -> Path:
    folder = Run(Path(task.run), {}).folder(task.layer)
    return folder / f"{Path(task.file).stem}{ERROR}"
