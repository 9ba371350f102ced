"""Engines that do the work of a batch: this process, a pool of processes, Dask, Slurm.

An executor of `concurrent.futures` can be wrapped: `submit(function, *arguments)` returns something
with `.result()`. An `Engine` also says how much it takes at once, how many shards it takes
together, with how many threads each process works, and what to close.

Processes of the pool are spawned, and each has its device set before TensorFlow is imported in it.
One that dies is replaced; its piece of work comes back as `WorkerLost`. A process ends when the one
that began it is gone, killed or not.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from oip.batch.job import EngineSettings
from oip.core.errors import OipError, SettingsError
from oip.core.frameworks import hide_optional_packages, usable_cores

if TYPE_CHECKING:
    from submitit import AutoExecutor
    from submitit import Job as SlurmJob

Result = TypeVar("Result")


class Pending(Protocol):
    """Work that was handed over."""

    def result(self) -> Any:
        """Wait, and return the result or raise what went wrong."""
        ...


class Executor(Protocol):
    """An executor as `concurrent.futures` has them."""

    def submit(self, function: Callable[..., object], /, *arguments: object) -> Pending:
        """Hand over a call of an importable function with arguments that can be pickled."""
        ...


class EngineLost(OipError):
    """The engine as a whole is gone; what was finished is kept."""

    exit_status = 1


class Engine:
    """An engine as the driver of a batch uses it; this one wraps any executor.

    Args:
        executor: does the work.
        width: pieces of work that are worth handing over before one comes back.
        threads: of TensorFlow in one process; its own choice if None.
        together: shards that are handed over at once.
    """

    in_this_process = False
    """Whether it does its work in the process of the batch itself."""

    def __init__(
        self, executor: Executor, width: int = 1, threads: int | None = None, together: int = 1
    ):
        self._executor = executor
        self._width = width
        self.threads = threads
        self.together = together

    @property
    def width(self) -> int:
        """Pieces of work that are worth handing over before one comes back."""
        return self._width

    @property
    def workers(self) -> int:
        """Pieces of work that are done at the same time."""
        return max(1, self.width)

    def submit(self, function: Callable[..., object], /, *arguments: object) -> Pending:
        """Hand work over."""
        return self._executor.submit(function, *arguments)

    def check(self) -> None:
        """Raise EngineLost where nothing can come back any more."""

    def close(self) -> None:
        """Close the engine; work that is under way is given up."""


class _InProcess:
    """An executor that does the work at once, in this process."""

    def submit(self, function: Callable[..., object], *arguments: object) -> Pending:
        future: Future[object] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def in_process(settings: EngineSettings) -> Engine:
    """Return the engine that works in this process, one piece after the other."""
    engine = Engine(_InProcess(), threads=settings.threads)
    engine.in_this_process = True
    return engine


def engine_of(settings: EngineSettings, folder: str | os.PathLike[str]) -> Engine:
    """Return the engine that a job names.

    Args:
        settings: of the job.
        folder: of the batch; Slurm keeps its own files there.

    Raises:
        SettingsError: a package that is not installed, or a scheduler that does not answer.
    """
    if settings.kind == "local":
        return Pool(*processes(settings))
    if settings.kind == "dask":
        return dask_engine(settings)
    if settings.kind == "slurm":
        return slurm_engine(settings, folder)
    return in_process(settings)


def wrapped(engine: Engine | Executor) -> Engine:
    """Return an engine as it is; an executor as one with a piece under way for each worker."""
    if isinstance(engine, Engine):
        return engine
    return Engine(engine, int(getattr(engine, "_max_workers", 1)))


def missing(package: str, extra: str) -> SettingsError:
    """Return the error where an extra is not installed."""
    hint = f"Install it with: pip install 'oip[{extra}]'"
    return SettingsError(f"engine {extra}", f"the package '{package}'", "none", hint)


_SECONDS_TO_END = 5.0
_MOST_PROCESSES = 4
"""Without a setting: each of them holds a model and TensorFlow itself."""


class WorkerLost(OipError):
    """A worker process ended in the middle of its work."""


class Pool(Engine):
    """Processes of this machine. `result()` raises what the function raised, or WorkerLost.

    Each process is an executor of its own: one that dies takes no other with it, and a new one is
    begun for the next call.

    Args:
        devices: for each process the value of CUDA_VISIBLE_DEVICES; empty for none, None to leave
            it as it is.
        threads: of each process, also for the libraries beneath NumPy; None for their own choice.
    """

    def __init__(self, devices: list[str | None], threads: int | None = None):
        callers = ThreadPoolExecutor(len(devices), "oip-pool")
        super().__init__(callers, 2 * len(devices), threads)  # the next piece waits at its worker
        self._callers = callers
        self._workers = [_Worker(device, threads) for device in devices]
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._closed = threading.Event()

    @property
    def workers(self) -> int:
        return len(self._workers)

    def submit(self, function: Callable[..., Result], /, *arguments: object) -> Future[Result]:
        """Hand over a call of an importable function; the next free process takes it."""
        return self._callers.submit(self._call, function, arguments)

    def close(self) -> None:
        """End all processes, whatever they do."""
        self._closed.set()
        self._callers.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.closed = True
            worker.end()

    def _call(self, function: Callable[..., Result], arguments: tuple[object, ...]) -> Result:
        worker = self._free.get()
        try:
            if self._closed.is_set():
                raise WorkerLost("the pool is closed")
            return worker.call(function, arguments)
        finally:
            self._free.put(worker)


class _Worker:
    """One process at a time, begun when it is first needed."""

    def __init__(self, device: str | None, threads: int | None):
        self._environment = _environment(device, threads)
        self._executor: ProcessPoolExecutor | None = None
        self._process: BaseProcess | None = None
        self.closed = False

    def call(self, function: Callable[..., Result], arguments: tuple[object, ...]) -> Result:
        try:
            executor = self._executor or self._begin()
            if self.closed:
                raise CancelledError
            return executor.submit(function, *arguments).result()
        except (BrokenExecutor, CancelledError) as error:
            code = self.end()
            if code is None:
                reason = "exit status unknown"
            else:
                reason = f"signal {-code}" if code < 0 else f"exit status {code}"
            raise WorkerLost(
                f"the worker process ended in the middle of its work ({reason})"
            ) from error

    def end(self) -> int | None:
        """End the process; return its exit code as `multiprocessing` does, None if unknown."""
        executor, self._executor = self._executor, None
        process, self._process = self._process, None
        if executor is None or process is None:
            return None
        process.kill()
        executor.shutdown(wait=False, cancel_futures=True)
        return _exit_code(process)

    def _begin(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        with safe_path():
            executor = ProcessPoolExecutor(1, context, _prepare_process, (self._environment,))
            future = executor.submit(os.getpid)
        process_id = future.result()
        children = multiprocessing.active_children()
        self._process = next((child for child in children if child.pid == process_id), None)
        self._executor = executor
        return executor


def _exit_code(process: BaseProcess) -> int | None:
    """Wait some seconds for a process; return its exit code, None where it goes on.

    The executor's thread waits for it too. Whichever waits second is told at once that there is no
    such process, and has the code only when the first has noted it.
    """
    end = time.monotonic() + _SECONDS_TO_END
    process.join(_SECONDS_TO_END)
    while process.exitcode is None and time.monotonic() < end:
        time.sleep(0.01)
    return process.exitcode


_SAFE_PATH = "PYTHONSAFEPATH"
_ENVIRONMENT_LOCK = threading.Lock()


@contextmanager
def safe_path() -> Iterator[None]:
    """Let processes of Python that begin meanwhile take no module from the working directory.

    Modules that a model needs are still found there: `oip.network.loading` looks there last.
    """
    with _ENVIRONMENT_LOCK:
        old_value = os.environ.get(_SAFE_PATH)
        os.environ[_SAFE_PATH] = "1"
        try:
            yield
        finally:
            if old_value is None:
                del os.environ[_SAFE_PATH]
            else:
                os.environ[_SAFE_PATH] = old_value


def _environment(device: str | None, threads: int | None) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OIP_THREADS")
    variables = {} if threads is None else {name: str(threads) for name in names}
    return variables if device is None else {"CUDA_VISIBLE_DEVICES": device, **variables}


def _prepare_process(environment: dict[str, str]) -> None:
    """Set up a process before its first call; it ends when the one that began it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.update(environment)
    hide_optional_packages()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def processes(settings: EngineSettings) -> tuple[list[str | None], int]:
    """Return the device of each process, and the threads of one.

    There is a process for each GPU; without GPUs, they share the cores.
    """
    gpus = available_gpus() if settings.gpus is None else [str(index) for index in settings.gpus]
    cores = usable_cores()
    fair = cores // settings.threads if settings.threads else min(cores, _MOST_PROCESSES)
    count = settings.workers or len(gpus) or max(1, fair)
    devices: list[str | None] = [gpus[index % len(gpus)] if gpus else "" for index in range(count)]
    return devices, settings.threads or max(1, cores // count)


def available_gpus() -> list[str]:
    """Return the numbers of the GPUs by CUDA_VISIBLE_DEVICES, else by nvidia-smi."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return output.stdout.split()


JOBS = 16
"""At once, without a setting."""
_TOGETHER = 4


class _SlurmEngine(Engine):
    """Every piece of work is a job of the cluster."""

    def __init__(self, executor: AutoExecutor, settings: EngineSettings):
        together = settings.together or _TOGETHER
        super().__init__(executor, settings.workers or JOBS, settings.threads or 1, together)
        self._jobs: list[SlurmJob] = []

    def submit(self, function: Callable[..., object], /, *arguments: object) -> Pending:
        with safe_path():
            job: Any = super().submit(_call, sys.path, pickle.dumps((function, arguments)))
        self._jobs = [*(pending for pending in self._jobs if not pending.done()), job]
        return job

    def close(self) -> None:
        for job in self._jobs:
            if not job.done():
                job.cancel()


def _call(path: Sequence[str], call: bytes) -> object:
    """Call a function in a job; modules are looked for also where the submitter does, but last."""
    sys.path.extend(entry for entry in path if entry not in sys.path)
    function, arguments = pickle.loads(call)
    return function(*arguments)


def slurm_engine(settings: EngineSettings, folder: str | os.PathLike[str]) -> Engine:
    """Return the cluster that a job names; its scripts and outputs are in `slurm` of the batch."""
    try:
        import submitit
    except ImportError as error:
        raise missing("submitit", "slurm") from error
    _check_printable("folder of the batch", folder)
    executor = submitit.AutoExecutor(folder=Path(folder) / "slurm", cluster=settings.cluster)
    executor.update_parameters(
        name="oip",
        timeout_min=settings.minutes,
        mem_gb=settings.memory_gb,
        cpus_per_task=settings.threads or 1,
        gpus_per_node=None if settings.gpus is None else len(settings.gpus),
        slurm_partition=settings.partition,  # not looked at by other clusters
    )
    return _SlurmEngine(executor, settings)


def _check_printable(name: str, path: str | os.PathLike[str]) -> None:
    """Raise a SettingsError where a path would break a line of a script."""
    if not os.fspath(path).isprintable():
        raise SettingsError(name, "a path without control characters", repr(os.fspath(path)))


def sbatch_script(job: Path, settings: EngineSettings, changes: tuple[str, ...]) -> str:
    """Return a script for `sbatch`: an array of jobs that each do a part of the batch in process.

    The parts share nothing but the batch's folder; one that is killed can be submitted again.

    Args:
        job: the job file.
        settings: of its engine.
        changes: of the job, as `read_job` takes them.
    """
    path = job.resolve()
    _check_printable("job", path)
    count = settings.workers or JOBS
    values = {
        "job-name": re.sub(r"[^\w.-]+", "-", f"oip-{job.stem}"),
        "array": f"0-{count - 1}",
        "ntasks": 1,
        "cpus-per-task": settings.threads or 1,
        "mem": f"{settings.memory_gb}G",
        "time": settings.minutes,
        "output": "oip-%A-%a.log",
    }
    if settings.partition is not None:
        values["partition"] = settings.partition
    if settings.gpus is not None:
        values["gres"] = f"gpu:{len(settings.gpus)}"
    options = "".join(f"#SBATCH --{name}={value}\n" for name, value in values.items())
    arguments = ["oip", "batch", str(path), "--engine", "process"]
    for change in (*changes, f"engine.threads={settings.threads or 1}"):
        arguments += ["--set", change]
    command = shlex.join(arguments)
    return (
        f"#!/bin/bash\n{options}\n"
        "# If it is interrupted, the same command continues it.\n"
        f'srun {command} --part "$SLURM_ARRAY_TASK_ID/{count}"\n'
    )


class _DaskEngine(Engine):
    """A Dask client. Work of a worker that dies is given to another one by the scheduler."""

    def __init__(self, client: Any, settings: EngineSettings):
        threads = settings.threads or min(client.nthreads().values(), default=None)
        super().__init__(client, threads=threads, together=settings.together or 1)
        self._client = client

    @property
    def workers(self) -> int:
        return max(1, len(self._client.nthreads()))

    @property
    def width(self) -> int:
        return 2 * self.workers  # the next piece waits at its worker

    def submit(self, function: Callable[..., object], /, *arguments: object) -> Pending:
        self.check()
        return self._client.submit(function, *arguments, pure=False)

    def check(self) -> None:
        if self._client.status != "running":
            raise EngineLost("the Dask scheduler is gone; finished work is kept.")

    def close(self) -> None:
        self._client.close()


def dask_engine(settings: EngineSettings, timeout: float = 10) -> Engine:
    """Connect to the scheduler of a job, which has to answer within some seconds."""
    try:
        from distributed import Client
    except ImportError as error:
        raise missing("distributed", "dask") from error
    try:
        client = Client(settings.scheduler, timeout=timeout, set_as_default=False)
    except (OSError, ValueError) as error:
        address = f"a scheduler at '{settings.scheduler}'"
        raise SettingsError("engine dask", address, "no answer") from error
    return _DaskEngine(client, settings)
