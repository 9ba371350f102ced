"""Where work is done. One seam: `submit(function, *arguments)` gives something with `.result()`.

Any `concurrent.futures` executor fits. An engine of ours also says how much it takes at once, how
many shards it wants together, with how many threads each process shall work, and what to close.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from oip.batch.jobs import EngineSettings
from oip.core.errors import OipError, SettingsError, expected


class Pending(Protocol):
    """Work that was handed over."""

    def result(self) -> Any:
        """Waits, and gives what came out or raises what went wrong."""
        ...


class Seam(Protocol):
    """What any engine can do."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Pending:
        """Hands over a call of an importable function with arguments that can be pickled."""
        ...


class EngineLost(OipError):
    """The engine as a whole is gone; what was finished is kept."""

    exit_status = 1


class Engine:
    """An engine as the driver of a batch uses it; this one wraps any executor."""

    together = 1
    """Shards that are handed over at once."""
    threads: int | None = None
    """Threads of TensorFlow in one process; its own choice if None."""

    def __init__(self, seam: Seam, width: int = 1):
        self._seam = seam
        self._width = width

    @property
    def width(self) -> int:
        """Pieces of work that are worth handing over before one comes back."""
        return self._width

    @property
    def workers(self) -> int:
        """Pieces of work that are done at the same time."""
        return max(1, self.width)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Pending:
        """Hands work over."""
        return self._seam.submit(function, *arguments)

    def check(self) -> None:
        """Raises EngineLost where nothing can come back any more."""

    def close(self) -> None:
        """Gives back what the engine holds; work that is under way is given up."""


class _Here:
    """Does the work at once, in this process."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Pending:
        done: Future[Any] = Future()
        try:
            done.set_result(function(*arguments))
        except Exception as error:
            done.set_exception(error)
        return done


def in_process(settings: EngineSettings) -> Engine:
    """The engine that works in this process, one piece after the other."""
    engine = Engine(_Here())
    engine.threads = settings.threads
    return engine


def engine_of(settings: EngineSettings, folder: str | os.PathLike[str]) -> Engine:
    """The engine that a job asks for.

    Args:
        settings: of the job.
        folder: of the batch; Slurm keeps its own files there.

    Raises:
        SettingsError: a package that is not installed, or a scheduler that does not answer.
    """
    if settings.kind == "local":
        from oip.batch.pool import local_pool

        return local_pool(settings)
    if settings.kind == "dask":
        from oip.batch.dask_engine import dask_engine

        return dask_engine(settings)
    if settings.kind == "slurm":
        from oip.batch.slurm import slurm_engine

        return slurm_engine(settings, folder)
    return in_process(settings)


def wrapped(engine: Engine | Seam) -> Engine:
    """An engine as it is; an executor with as many pieces under way as it has workers."""
    if isinstance(engine, Engine):
        return engine
    return Engine(engine, int(getattr(engine, "_max_workers", 1)))


def missing(package: str, extra: str) -> SettingsError:
    """The error where an extra is not installed."""
    hint = f"Install it with: pip install 'oip[{extra}]'"
    return SettingsError(expected(f"engine {extra}", f"the package '{package}'", "none", hint))
