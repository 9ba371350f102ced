"""A pool of processes of this machine, one a GPU, or several that share the processor's cores.

Processes are spawned, and each has its device set before TensorFlow is imported in it. One that
dies is replaced; the piece of work it had comes back as `WorkerLost`. A process ends when the one
that began it is gone, killed or not.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from oip.batch.engines import Engine
from oip.batch.jobs import EngineSettings
from oip.core.errors import OipError

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
