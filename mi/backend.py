"""Large matrix products and eigenvalues: by NumPy, or on a GPU through TensorFlow.

To import TensorFlow takes seconds, so that it is done only where it is in use already, as it is
once a network was loaded, or where the machine shows signs of a GPU: a device file of its driver,
or `nvidia-smi` or `rocm-smi` among the commands. `OIP_DEVICE=cpu` keeps everything on the
processor, as `CUDA_VISIBLE_DEVICES=-1` does; `OIP_DEVICE=gpu` looks for one whatever the signs.

Types stay as they are (float64 where logarithms are taken of the result), so that both ways agree
up to rounding. What is small, or does not fit in the memory of the GPU, is done by NumPy.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from oip.core.errors import SettingsError, expected

Item = TypeVar("Item")
Result = TypeVar("Result")

_BUDGET = 1 << 30
"""Bytes that the work of all threads together may take."""


def thread_map(
    work: Callable[[Item], Result], items: Iterable[Item], bytes_each: int = 0
) -> list[Result]:
    """`work` of every item, in their order.

    The matrix products of one map are small. Threads over maps use the cores better than threads
    inside each product, so those are kept to one while this runs.

    Args:
        work: of one item.
        items: in their order.
        bytes_each: memory that the work of one item takes, about; 0 of little. There are no more
            threads than 1 GiB holds, but one always.
    """
    from threadpoolctl import threadpool_limits

    items = list(items)
    if not items:
        return []
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(workers(bytes_each)) as pool:
        return list(pool.map(work, items))


def workers(bytes_each: int = 0) -> int:
    """Threads for work that takes some memory each: one a core, as far as the memory goes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, _BUDGET // max(1, bytes_each)))


def in_turn(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The same, one after the other, for what is inside `each` itself."""
    return [work(item) for item in items]


_PRODUCTS_WORTH = 1 << 24
"""Multiplications of a product that are worth the way to a GPU and back."""
_ELEMENTS_WORTH = 1 << 18
"""Elements of matrices whose eigenvalues are worth it: one of 512, or 16 of 128 at once."""
_PARTS = 16
_BYTES = 256 << 20
"""Of matrices whose eigenvalues are found at once."""


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b of matrices (n, k) and (k, m) of one floating type."""
    if a.shape[0] * a.shape[1] * b.shape[1] < _PRODUCTS_WORTH:
        return a @ b
    return _either(lambda: a @ b, lambda tf: tf.matmul(tf.constant(a), tf.constant(b)))


def eigenvalues(matrices: np.ndarray) -> np.ndarray:
    """Eigenvalues of symmetric matrices, in rising order.

    Args:
        matrices: (..., n, n).

    Returns:
        (..., n)
    """
    n = matrices.shape[-1]
    flat = matrices.reshape(-1, n, n)
    if matrices.size < _ELEMENTS_WORTH:
        return _here(flat).reshape(matrices.shape[:-1])
    room = max(1, _BYTES // (flat.itemsize * n * n))
    parts = [flat[start : start + room] for start in range(0, len(flat), room)]
    found = [
        _either(lambda p=part: _here(p), lambda tf, p=part: tf.linalg.eigvalsh(p)) for part in parts
    ]
    return np.concatenate(found).reshape(matrices.shape[:-1])


def _here(matrices: np.ndarray) -> np.ndarray:
    """Eigenvalues (m, n) of matrices (m, n, n) by NumPy.

    Many small ones are shared out to threads: with threads inside each of them, those wait for one
    another most of the time.
    """
    if len(matrices) < 2:
        return np.linalg.eigvalsh(matrices)
    parts = np.array_split(matrices, min(len(matrices), _PARTS))
    return np.concatenate(thread_map(np.linalg.eigvalsh, parts))


def _either(here: Callable[[], np.ndarray], there: Callable[[Any], Any]) -> np.ndarray:
    """What `there` gives on the GPU, if there is one with room for it, else what `here` gives."""
    tf = _tensorflow()
    place = None if tf is None else _gpu(tf)
    if tf is None or place is None:
        return here()
    try:
        with tf.device(place):
            return there(tf).numpy()
    except tf.errors.ResourceExhaustedError:
        return here()


def _tensorflow() -> Any:
    """TensorFlow, if it may have a GPU: it is imported for that where there are signs of one."""
    wanted = os.environ.get("OIP_DEVICE", "")
    if wanted not in ("", "cpu", "gpu"):
        raise SettingsError(expected("OIP_DEVICE", "cpu or gpu", f"'{wanted}'"))
    if wanted == "cpu":
        return None
    if wanted != "gpu" and "tensorflow" not in sys.modules and not _signs_of_gpu():
        return None
    try:
        return importlib.import_module("tensorflow")  # waits for a thread that has begun to
    except ImportError:
        return None


@lru_cache(maxsize=1)
def _signs_of_gpu() -> bool:
    """Files and commands of a driver; nothing is started or imported."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    files = ("nvidiactl", "nvidia0", "dxg", "kfd")
    return any(Path("/dev", name).exists() for name in files) or any(
        shutil.which(command) for command in ("nvidia-smi", "rocm-smi")
    )


def _gpu(tf: Any) -> str | None:
    """The first GPU that TensorFlow may use, None without one; looking does not set it up."""
    return "/GPU:0" if tf.config.get_visible_devices("GPU") else None
