import threading
import time

import pytest

from oip.mi import backend
from oip.mi.backend import thread_map, workers


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(backend.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def test_as_many_threads_as_the_memory_holds(eight_cores, monkeypatch):
    monkeypatch.setattr(backend, "_BUDGET", 1000)
    assert [workers(size) for size in (0, 1, 125, 126, 400, 1000, 5000)] == [8, 8, 8, 7, 2, 1, 1]


@pytest.mark.parametrize(("bytes_each", "most"), [(0, 8), (300, 3), (2000, 1)])
def test_no_more_work_than_that_at_a_time(eight_cores, monkeypatch, bytes_each, most):
    monkeypatch.setattr(backend, "_BUDGET", 1000)
    lock, now, seen = threading.Lock(), [0], []

    def work(item):
        with lock:
            now[0] += 1
            seen.append(now[0])
        time.sleep(0.005)
        with lock:
            now[0] -= 1
        return item**2

    assert thread_map(work, range(16), bytes_each) == [item**2 for item in range(16)]
    assert 1 <= max(seen) <= most
