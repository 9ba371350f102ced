"""Where work is done. One seam: `submit(function, *arguments)` gives something with `.result()`.

Any `concurrent.futures` executor fits. An engine of ours also says how much it takes at once, how
many shards it wants together, with how many threads each process shall work, and what to close.

A pool of processes of this machine, one a GPU, or several that share the processor's cores.

Processes are spawned, and each has its device set before TensorFlow is imported in it. One that
dies is replaced; the piece of work it had comes back as `WorkerLost`. A process ends when the one
that began it is gone, killed or not.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from oip.batch.job import EngineSettings
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
        return local_pool(settings)
    if settings.kind == "dask":
        return dask_engine(settings)
    if settings.kind == "slurm":
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


_SECONDS_TO_END = 5.0
_MOST_PROCESSES = 4
"""Where nothing is said: each of them holds a model and TensorFlow itself."""


class WorkerLost(OipError):
    """A worker process ended in the middle of its work."""


class Pool:
    """Processes behind `submit`. `result()` raises what the function raised, or WorkerLost.

    Args:
        devices: for each process the value of CUDA_VISIBLE_DEVICES; empty for none, None to leave
            it as it is.
        threads: of each process, for the libraries beneath NumPy; None for their own choice.
    """

    def __init__(self, devices: list[str | None], threads: int | None = None):
        self._slots: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        self._all = [_Slot(device, threads) for device in devices]
        for slot in self._all:
            self._slots.put(slot)
        self._callers = ThreadPoolExecutor(len(devices), "oip-pool")
        self._closed = threading.Event()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Hands over a call of an importable function; the next free process takes it."""
        return self._callers.submit(self._call, pickle.dumps((function, arguments)))

    def close(self) -> None:
        """Ends all processes, whatever they do."""
        self._closed.set()
        self._callers.shutdown(wait=False, cancel_futures=True)
        for slot in self._all:
            slot.end()

    def _call(self, asked: bytes) -> Any:
        if self._closed.is_set():
            raise WorkerLost("the pool is closed")
        slot = self._slots.get()
        try:
            worked, value = slot.call(asked)
        finally:
            self._slots.put(slot)
        if worked:
            return value
        raise value


class _Slot:
    """One process at a time, begun when it is first needed."""

    def __init__(self, device: str | None, threads: int | None):
        self._device = device
        self._threads = threads
        self._held: tuple[BaseProcess, Connection] | None = None

    def call(self, asked: bytes) -> tuple[bool, Any]:
        held = self._held
        if held is None or not held[0].is_alive():
            held = self._begin()
        process, pipe = held
        try:
            pipe.send_bytes(asked)
            return pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError) as error:
            process.join(_SECONDS_TO_END)
            code = process.exitcode
            self.end()
            why = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
            raise WorkerLost(
                f"the worker process ended in the middle of its work ({why})"
            ) from error

    def end(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            process, pipe = held
            process.kill()
            process.join(_SECONDS_TO_END)
            pipe.close()

    def _begin(self) -> tuple[BaseProcess, Connection]:
        self.end()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, self._device, self._threads), daemon=True
        )
        process.start()
        theirs.close()
        self._held = (process, ours)
        return self._held


def _serve(pipe: Connection, device: str | None, threads: int | None) -> None:
    """What a process of the pool does: calls until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who began it ends it
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = str(threads)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    while True:
        try:
            asked = pipe.recv_bytes()
        except EOFError:
            return
        answer: tuple[bool, Any]
        try:
            function, arguments = pickle.loads(asked)
            answer = (True, function(*arguments))
        except Exception as error:
            answer = (False, error)
        try:
            content = pickle.dumps(answer)
        except Exception as error:  # a result or an error that cannot be sent
            content = pickle.dumps((False, OipError(f"{type(error).__name__}: {error}")))
        pipe.send_bytes(content)


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


class _PoolEngine(Engine):
    def __init__(self, pool: Pool, workers: int, threads: int | None):
        super().__init__(pool, 2 * workers)  # the next piece waits where the last one is done
        self._pool = pool
        self._workers = workers
        self.threads = threads

    @property
    def workers(self) -> int:
        return self._workers

    def close(self) -> None:
        self._pool.close()


def local_pool(settings: EngineSettings) -> Engine:
    """The pool that a job asks for."""
    devices, threads = processes(settings)
    return _PoolEngine(Pool(devices, threads), len(devices), threads)


def processes(settings: EngineSettings) -> tuple[list[str | None], int]:
    """The device of each process and the threads of all: one a GPU, else N that share the cores."""
    gpus = found_gpus() if settings.gpus is None else [str(number) for number in settings.gpus]
    cores = usable_cores()
    fair = cores // settings.threads if settings.threads else min(cores, _MOST_PROCESSES)
    count = settings.workers or len(gpus) or max(1, fair)
    devices: list[str | None] = [gpus[place % len(gpus)] if gpus else "" for place in range(count)]
    return devices, settings.threads or max(1, cores // count)


def planner() -> Engine:
    """One process of this machine that leaves the GPUs alone, to look at models."""
    return _PoolEngine(Pool([""]), 1, None)


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def found_gpus() -> list[str]:
    """Numbers of the GPUs of this machine, without TensorFlow: as told, or as nvidia-smi says."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [part.strip() for part in told.split(",") if part.strip() not in ("", "-1")]
    asked = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return answer.stdout.split()


JOBS = 16
"""At once, where nothing is said."""
_TOGETHER = 4


class _SlurmEngine(Engine):
    """Every piece of work is a job of the cluster."""

    def __init__(self, executor: Any, settings: EngineSettings):
        super().__init__(executor, settings.workers or JOBS)
        self.together = settings.together or _TOGETHER
        self.threads = settings.threads or 1
        self._jobs: list[Any] = []

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Pending:
        job = self._seam.submit(function, *arguments)
        self._jobs = [one for one in self._jobs if not one.done()]
        self._jobs.append(job)
        return job

    def close(self) -> None:
        for job in self._jobs:
            if not job.done():
                job.cancel()


def slurm_engine(settings: EngineSettings, folder: str | os.PathLike[str]) -> Engine:
    """The cluster that a job asks for; its scripts and outputs are in `slurm` of the batch."""
    try:
        import submitit
    except ImportError as error:
        raise missing("submitit", "slurm") from error
    executor = submitit.AutoExecutor(folder=Path(folder) / "slurm", cluster=settings.cluster)
    executor.update_parameters(**_asked(settings))
    return _SlurmEngine(executor, settings)


def _asked(settings: EngineSettings) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "name": "oip",
        "timeout_min": settings.minutes,
        "mem_gb": settings.memory_gb,
        "cpus_per_task": settings.threads or 1,
    }
    if settings.gpus is not None:
        asked["gpus_per_node"] = len(settings.gpus)
    if settings.partition is not None and settings.cluster == "slurm":
        asked["slurm_partition"] = settings.partition
    return asked


def sbatch_script(job: Path, settings: EngineSettings, changes: tuple[str, ...]) -> str:
    """A script for `sbatch`: an array of jobs that each do a part of the batch in process.

    The parts share nothing but the batch's folder; one that is killed can be submitted again.

    Args:
        job: the job file.
        settings: of its engine.
        changes: what `--set` was given.
    """
    count = settings.workers or JOBS
    asked = {
        "job-name": f"oip-{job.stem}",
        "array": f"0-{count - 1}",
        "ntasks": 1,
        "cpus-per-task": settings.threads or 1,
        "mem": f"{settings.memory_gb}G",
        "time": settings.minutes,
        "output": "oip-%A-%a.log",
    }
    if settings.partition is not None:
        asked["partition"] = settings.partition
    if settings.gpus is not None:
        asked["gres"] = f"gpu:{len(settings.gpus)}"
    options = "".join(f"#SBATCH --{name}={value}\n" for name, value in asked.items())
    words = ["oip", "batch", str(job.resolve()), "--engine", "process"]
    for change in (*changes, f"engine.threads={settings.threads or 1}"):
        words += ["--set", change]
    command = " ".join(shlex.quote(word) for word in words)
    return (
        f"#!/bin/bash\n{options}\n"
        "# The same command goes on where it was stopped.\n"
        f'srun {command} --part "$SLURM_ARRAY_TASK_ID/{count}"\n'
    )


_SECONDS_TO_ANSWER = 10


class _DaskEngine(Engine):
    """A Dask client. Work of a worker that dies is given to another one by the scheduler."""

    def __init__(self, client: Any, settings: EngineSettings):
        super().__init__(client)
        self._client = client
        self.together = settings.together or 1
        self.threads = settings.threads or min(self._client.nthreads().values(), default=None)

    @property
    def workers(self) -> int:
        return max(1, len(self._client.nthreads()))

    @property
    def width(self) -> int:
        return 2 * self.workers  # the next piece waits where the last one is done

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Pending:
        self.check()
        return self._client.submit(function, *arguments, pure=False)

    def check(self) -> None:
        if self._client.status != "running":
            raise EngineLost("the Dask scheduler is gone; what was finished is kept.")

    def close(self) -> None:
        self._client.close()


def dask_engine(settings: EngineSettings) -> Engine:
    """Connects to the scheduler of a job."""
    try:
        from distributed import Client
    except ImportError as error:
        raise missing("distributed", "dask") from error
    try:
        client = Client(settings.scheduler, timeout=_SECONDS_TO_ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        address = f"a scheduler at '{settings.scheduler}'"
        raise SettingsError(expected("engine dask", address, "no answer")) from error
    return _DaskEngine(client, settings)
