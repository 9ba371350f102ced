"""The same work for many maps, a map a thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`work` of every item, in their order.

    The matrix products of one map are small. Threads over maps use the cores better than threads
    inside each product, so those are kept to one while this runs.
    """
    from threadpoolctl import threadpool_limits

    items = list(items)
    if not items:
        return []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(cores) as pool:
        return list(pool.map(work, items))


def in_turn(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The same, one after the other, for what is inside `each` itself."""
    return [work(item) for item in items]
