"""A real scheduler and two real worker processes, of which one is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

import oip
from oip.batch import executors
from oip.batch.executors import dask_engine
from oip.batch.job import EngineSettings
from oip.core.errors import SettingsError

pytest.importorskip("distributed")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def cluster(tmp_path, commands, monkeypatch):
    """Address of a scheduler, and the processes of its two workers of one thread each."""
    address = f"tcp://127.0.0.1:{free_port()}"
    host, _, port = address.removeprefix("tcp://").partition(":")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(oip.__file__).parents[1]))
    scheduler = ["-m", "distributed.cli.dask_scheduler", "--host", host]
    scheduler += ["--port", port, "--no-dashboard"]
    worker = ["-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
    worker += ["--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path)]
    begun = [commands.begin_python(*arguments) for arguments in (scheduler, worker, worker)]
    yield address, begun[1:]
    for process in begun:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def connected(address):
    for _ in range(60):
        try:
            return dask_engine(EngineSettings(kind="dask", scheduler=address))
        except SettingsError:
            time.sleep(1.0)
    pytest.fail("the scheduler does not answer")


def test_a_batch_of_which_one_worker_is_killed(cluster, commands, job, whole, contents):
    address, workers = cluster
    engine = connected(address)
    while engine.workers < 2:
        time.sleep(0.2)
    out = Path(job["out"])

    def kill():
        while not list(out.rglob("shard-*.npz")):
            time.sleep(0.05)
        os.kill(workers[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    request = {**job, "engine": {"kind": "dask", "scheduler": address}}
    try:
        assert engine.width == 4
        result = oip.batch.run(request)
    finally:
        engine.close()
    killer.join(10)
    assert commands.end(workers[0]) == -signal.SIGKILL
    assert result.failures == []
    assert contents(out / "runs/0000") == contents(whole)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    pids = {int(line["worker"].rpartition(":")[2]) for line in lines if line["worker"]}
    assert pids <= set(workers)
    assert workers[1] in pids


def test_a_scheduler_that_does_not_answer_is_bad_input(monkeypatch, job):
    address = f"tcp://127.0.0.1:{free_port()}"
    settings = EngineSettings(kind="dask", scheduler=address)
    dask_engine = executors.dask_engine
    monkeypatch.setattr(executors, "dask_engine", lambda _: dask_engine(settings, timeout=1))
    with pytest.raises(SettingsError, match="no answer"):
        oip.batch.run({**job, "engine": {"kind": "dask", "scheduler": address}})
    assert not Path(job["out"]).exists()
