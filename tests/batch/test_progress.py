"""Progress of a batch and its log."""

from __future__ import annotations

import json
import sys
import threading

import pytest

from oip.ascent.settings import AscentSettings
from oip.batch import progress as showing
from oip.batch.progress import Watcher, log_attempt, watched
from oip.batch.worker import ModelJob, Outcome, Task
from oip.core.progress import duration
from oip.workflows.inputs import ModelInput

JOB = ModelJob("m", ModelInput(), (), (), None, None, AscentSettings(), None)


def task(block=0, step="grow", maps=64, cost=1.0):
    return Task(step, JOB, "runs/0000", "k", "d", 0, "conv", tuple(range(maps)), block, cost)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(showing.time, "monotonic", lambda: now[0])
    return now


def test_rates_and_time_left_go_by_cost(clock):
    watcher = Watcher()
    clock[0] += 50.0  # reading models is no part of the rate
    watcher.planned([task(0), task(1, cost=3.0), task(step="stability", cost=0.0)])
    assert watcher.seconds_left is None
    clock[0] += 8.0
    watcher.ended(task(0), Outcome("done", 8.0, "w"))
    assert watcher.rate == pytest.approx(8.0)
    assert watcher.seconds_left == pytest.approx(24.0)
    assert watcher.sentence() == "1/3 pieces, 64/128 maps, 8.0 maps/s, about 24 s left"
    watcher.ended(task(1, cost=3.0), Outcome("failed", 1.0, "w", "bad luck"))
    watcher.ended(task(step="stability", cost=0.0), Outcome("done", 1.0, "w"))
    assert watcher.sentence() == "3/3 pieces, 128/128 maps, 16.0 maps/s, 1 failed"


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_on_a_terminal_and_lines_elsewhere(monkeypatch, capfd, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with watched() as watcher:
        watcher.prepared("models read", 1, 1)
        watcher.planned([task()])
        watcher.ended(task(), Outcome("done", 1.0, "w"))
    out, err = capfd.readouterr()
    assert out == ""
    assert "models read" in err
    assert "1/1 pieces, 64/64 maps" in err
    with watched(quiet=True) as watcher:
        watcher.planned([task()])
    assert capfd.readouterr() == ("", "")


def test_several_write_to_one_log(tmp_path):
    path = tmp_path / "log.jsonl"

    def write(block):
        for attempt in range(50):
            log_attempt(path, task(block), Outcome("again", 0.5, "w", "bad\nluck"), attempt)

    threads = [threading.Thread(target=write, args=(block,)) for block in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 200
    assert {line["file"] for line in lines} == {f"shard-000{block}.npz" for block in range(4)}


def test_durations():
    assert [duration(s) for s in (7, 600, 9000)] == ["7 s", "10 min", "2.5 h"]
