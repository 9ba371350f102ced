"""Threads over maps; large matrix products and eigenvalues, by NumPy or on a GPU.

A GPU is used through TensorFlow. To import that takes seconds, so it is done only where TensorFlow
is in use already, as it is once a network was loaded, or where the machine shows signs of a GPU: a
device file of its driver, or `nvidia-smi` or `rocm-smi` among the commands. `OIP_DEVICE=cpu` keeps
everything on the processor, as `CUDA_VISIBLE_DEVICES=-1` does; `OIP_DEVICE=gpu` looks for a GPU
whatever the signs.

Types stay as they are (float64 where logarithms are taken of the result), so that both ways agree
up to rounding. Small work, and work that does not fit in the memory of the GPU, is done by NumPy.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from oip.core.errors import SettingsError
from oip.core.frameworks import usable_cores

if TYPE_CHECKING:
    from tensorflow import Tensor
    from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")

MEMORY_BUDGET = 1 << 30
"""Bytes that the work of all threads together may take."""


def thread_map(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    bytes_each: int = 0,
    byte_budget: int = MEMORY_BUDGET,
) -> list[Result]:
    """Return `work` of every item, in their order; see `iterate_in_threads`."""
    return list(iterate_in_threads(work, items, bytes_each, byte_budget))


def iterate_in_threads(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    bytes_each: int = 0,
    byte_budget: int = MEMORY_BUDGET,
) -> Iterator[Result]:
    """Yield `work` of every item, in their order, as threads finish it.

    The matrix products of one map are small. Threads over maps use the cores better than threads
    inside each product, so those are kept to one while this runs. There are no more threads than
    cores that this process may use (`oip.core.frameworks`), nor than `byte_budget` holds, at
    `bytes_each` for the work of one item, but at least one; inside of such a thread no more.
    """
    items = list(items)
    if not items:
        return
    threads = 1 if getattr(_thread, "of_a_map", False) else workers(bytes_each, byte_budget)
    with one_blas_thread():
        if threads == 1:
            yield from map(work, items)
            return
        with ThreadPoolExecutor(min(threads, len(items)), initializer=_mark_thread) as pool:
            yield from pool.map(work, items)


_thread = threading.local()


def _mark_thread() -> None:
    _thread.of_a_map = True


@lru_cache(maxsize=1)
def _blas_libraries(modules: int) -> ThreadpoolController:
    """Return the libraries that are loaded; to look takes milliseconds, so once for `modules`."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _BlasLimit:
    """The one limit of all blocks that ask for it, at any time and in any thread."""

    lock = threading.Lock()
    users = 0
    limit = ExitStack()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep matrix products to one thread, until the last of all threads that ask for it is done."""
    with _BlasLimit.lock:
        if not _BlasLimit.users:
            libraries = _blas_libraries(len(sys.modules))
            _BlasLimit.limit.enter_context(libraries.limit(limits=1, user_api="blas"))
        _BlasLimit.users += 1
    try:
        yield
    finally:
        with _BlasLimit.lock:
            _BlasLimit.users -= 1
            if not _BlasLimit.users:
                _BlasLimit.limit.close()


def workers(bytes_each: int = 0, byte_budget: int = MEMORY_BUDGET) -> int:
    """Return the number of threads: one per usable core, as far as the memory goes."""
    return max(1, min(usable_cores(), byte_budget // max(1, bytes_each)))


LEAST_MULTIPLICATIONS = 1 << 24
"""Multiplications from which a product is worth the way to a GPU and back."""
LEAST_ELEMENTS = 1 << 18
"""Elements of matrices from which their eigenvalues are: one of 512, or 16 of 128 at once."""
_PARTS = 16


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a @ b of matrices (n, k) and (k, m) of one floating type."""
    if a.shape[0] * a.shape[1] * b.shape[1] < LEAST_MULTIPLICATIONS:
        return a @ b
    return _device_result(lambda: a @ b, lambda tf: tf.matmul(tf.constant(a), tf.constant(b)))


def eigenvalues(matrices: np.ndarray, byte_budget: int = 256 << 20) -> np.ndarray:
    """Return the eigenvalues (..., n) of symmetric matrices (..., n, n), in rising order.

    `byte_budget` is for the matrices that go to a GPU at once.
    """
    n = matrices.shape[-1]
    flat = matrices.reshape(-1, n, n)
    if matrices.size < LEAST_ELEMENTS:
        return _numpy_eigenvalues(flat).reshape(matrices.shape[:-1])
    step = max(1, byte_budget // (flat.itemsize * n * n))
    blocks = [flat[start : start + step] for start in range(0, len(flat), step)]
    values = [
        _device_result(
            lambda p=block: _numpy_eigenvalues(p), lambda tf, p=block: tf.linalg.eigvalsh(p)
        )
        for block in blocks
    ]
    return np.concatenate(values).reshape(matrices.shape[:-1])


def _numpy_eigenvalues(matrices: np.ndarray) -> np.ndarray:
    """Return eigenvalues (m, n) of matrices (m, n, n).

    Many small ones are shared out to threads: threads inside each of them would wait for one
    another most of the time.
    """
    if len(matrices) < 2:
        return np.linalg.eigvalsh(matrices)
    blocks = np.array_split(matrices, min(len(matrices), _PARTS))
    return np.concatenate(thread_map(np.linalg.eigvalsh, blocks))


def _device_result(
    on_cpu: Callable[[], np.ndarray], on_gpu: Callable[[ModuleType], Tensor]
) -> np.ndarray:
    """Return the result of the GPU, if there is one with room for it, else that of NumPy."""
    tf = _tensorflow()
    device = None if tf is None else gpu_device(tf)
    if tf is None or device is None:
        return on_cpu()
    try:
        with _whole_floats(tf), tf.device(device):
            return on_gpu(tf).numpy()
    except tf.errors.ResourceExhaustedError:
        return on_cpu()


class _RoundedFloats:
    """Whether TensorFlow rounds float32 for products, and how many blocks forbid it now."""

    lock = threading.Lock()
    users = 0
    allowed = True


@contextmanager
def _whole_floats(tf: ModuleType) -> Iterator[None]:
    """Keep all bits of float32 in products: GPUs with TensorFloat-32 leave out 13 of 23."""
    precision = tf.config.experimental
    with _RoundedFloats.lock:
        if not _RoundedFloats.users:
            _RoundedFloats.allowed = precision.tensor_float_32_execution_enabled()
            precision.enable_tensor_float_32_execution(False)
        _RoundedFloats.users += 1
    try:
        yield
    finally:
        with _RoundedFloats.lock:
            _RoundedFloats.users -= 1
            if not _RoundedFloats.users:
                precision.enable_tensor_float_32_execution(_RoundedFloats.allowed)


def _tensorflow() -> ModuleType | None:
    """Return TensorFlow, if it may have a GPU."""
    choice = os.environ.get("OIP_DEVICE", "")
    if choice not in ("", "cpu", "gpu"):
        raise SettingsError("OIP_DEVICE", "cpu or gpu", f"'{choice}'")
    if choice == "cpu":
        return None
    if choice != "gpu" and "tensorflow" not in sys.modules and not signs_of_gpu():
        return None
    try:
        return importlib.import_module("tensorflow")  # waits for a thread that imports it already
    except ImportError:
        return None


@lru_cache(maxsize=1)
def signs_of_gpu() -> bool:
    """Return whether there are files or commands of a driver; nothing is started or imported."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    files = ("nvidiactl", "nvidia0", "dxg", "kfd")
    return any(Path("/dev", name).exists() for name in files) or any(
        shutil.which(command) for command in ("nvidia-smi", "rocm-smi")
    )


def gpu_device(tf: ModuleType) -> str | None:
    """Return the first GPU that TensorFlow may use, None without one; this does not set it up."""
    return "/GPU:0" if tf.config.get_visible_devices("GPU") else None
