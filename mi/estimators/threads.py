"""The same work for many maps, a map a thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_BUDGET = 1 << 30
"""Bytes that the work of all threads together may take."""


def each(
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
