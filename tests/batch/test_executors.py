"""Processes of this machine: devices, threads, those that die, those that are left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import oip
from oip.batch.executors import (
    Pool,
    WorkerLost,
    available_gpus,
    engine_of,
    in_process,
    processes,
    wrapped,
)
from oip.batch.job import EngineSettings, ModelSource
from oip.batch.keras_applications import build_command
from oip.core.errors import ModelError
from oip.network.loading import load_model

ABOUT = (
    "(__import__('os').getpid(), [__import__('os').environ.get(name) for name in "
    "('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS')], 'tensorflow' in __import__('sys').modules)"
)
DIE = "__import__('os').kill(__import__('os').getpid(), 9)"


def about(pool):
    """Eight answers, each from a process with its environment; builtins are all that it can do."""
    return [pool.submit(eval, ABOUT).result() for _ in range(8)]


@pytest.fixture(scope="module")
def pool():
    workers = Pool(["5", "7"], 3)
    yield workers
    workers.close()


def test_each_process_has_its_device_before_tensorflow_is_imported(pool):
    answers = about(pool)
    devices = {pid: environment for pid, environment, _ in answers}
    assert sorted(devices.values()) == [["5", "3"], ["7", "3"]]
    assert not any(imported for _, _, imported in answers)
    assert os.getpid() not in devices


def test_modules_of_the_working_directory_are_not_run(tmp_path, monkeypatch):
    for name in ("multiprocessing", "oip", "json", "pickle"):
        (tmp_path / f"{name}.py").write_text("open('run', 'w')")
    monkeypatch.chdir(tmp_path)
    workers = Pool([""], 1)
    try:
        environment = workers.submit(os.getenv, "PYTHONSAFEPATH").result()
    finally:
        workers.close()
    command = build_command(ModelSource(application="none"), tmp_path / "m.keras")
    assert subprocess.run([*command[:2], "-c", "import json"]).returncode == 0
    assert environment == "1" and "PYTHONSAFEPATH" not in os.environ
    assert not (tmp_path / "run").exists()


OWN = """import keras

@keras.saving.register_keras_serializable("mine_in_pool")
class Doubled(keras.layers.Layer):
    def call(self, values):
        return 2 * values
"""


def test_a_module_of_the_users_is_imported_in_a_process_of_the_pool(tmp_path, monkeypatch):
    import keras

    (tmp_path / "mine_in_pool.py").write_text(OWN)
    (tmp_path / "json.py").write_text("open('run', 'w')")  # the path comes last
    monkeypatch.chdir(tmp_path)
    names: dict[str, type] = {"__name__": "mine_in_pool"}
    exec(OWN, names)
    keras.Sequential([keras.Input((4, 4, 1)), names["Doubled"](name="own")]).save("m.keras")
    load = "__import__('oip.network.loading', fromlist=['']).load_model('m.keras', {})"
    workers = Pool([""], 1)
    try:
        names = f"[layer.name for layer in {load.format(['mine_in_pool'])}.layers]"
        assert workers.submit(eval, names).result() == ["own"]
        with pytest.raises(ModelError, match="import"):
            workers.submit(eval, load.format(["no_such_module"])).result()
    finally:
        workers.close()
    assert not (tmp_path / "run").exists()


@pytest.mark.alone
def test_errors_come_back_as_they_are(pool):
    with pytest.raises(ModelError, match="no such file"):
        pool.submit(load_model, "none.keras").result()
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result()
    with pytest.raises(Exception, match="pickle"):
        pool.submit(eval, "lambda: None").result()


def test_a_process_that_dies_is_replaced_and_the_others_live_on(pool):
    before = {pid for pid, _, _ in about(pool)}
    with pytest.raises(WorkerLost, match="signal 9"):
        pool.submit(eval, DIE).result()
    after = {pid for pid, _, _ in about(pool)}
    assert len(before & after) == 1
    assert len(after) == 2


def test_the_exit_status_is_known_where_another_thread_waits_first(monkeypatch):
    """The executor's thread has waited for the process and not yet noted how it ended."""
    workers, wait = Pool([""]), os.waitpid
    number = workers.submit(os.getpid).result()
    waited = threading.Event()

    def slow_to_note(pid, flag):
        if pid == number and not threading.current_thread().name.startswith("oip-pool"):
            status = wait(pid, 0)
            waited.set()
            time.sleep(0.5)
            return status
        if pid == number:
            waited.wait(5)
        return wait(pid, flag)

    monkeypatch.setattr(os, "waitpid", slow_to_note)
    try:
        with pytest.raises(WorkerLost, match="signal 9"):
            workers.submit(eval, DIE).result()
        assert waited.is_set()
    finally:
        workers.close()


def test_closing_ends_what_is_under_way():
    pool = Pool([""])
    pending = pool.submit(time.sleep, 600)
    time.sleep(1.0)
    pool.close()
    with pytest.raises(WorkerLost):
        pending.result(timeout=30)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at /proc")
def test_processes_end_with_the_one_that_began_them():
    code = (
        "import os, time; from oip.batch.executors import Pool\n"
        "if __name__ == '__main__':\n"
        "    pool = Pool(['']); print(pool.submit(os.getpid).result(), flush=True)\n"
        "    pool.submit(time.sleep, 600); time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(oip.__file__).parents[1])},
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(300):
        stat = Path(f"/proc/{child}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the process of the pool goes on")


def test_one_process_a_gpu_or_shares_of_the_cores(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    assert available_gpus() == ["0", "2"]
    assert processes(EngineSettings(kind="local"))[0] == ["0", "2"]
    assert processes(EngineSettings(kind="local", gpus=(1,)))[0] == ["1"]
    assert processes(EngineSettings(kind="local", workers=3))[0] == ["0", "2", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert available_gpus() == []
    monkeypatch.setattr("oip.batch.executors.usable_cores", lambda: 8)
    assert processes(EngineSettings(kind="local")) == ([""] * 4, 2)
    assert processes(EngineSettings(kind="local", threads=1)) == ([""] * 8, 1)
    assert processes(EngineSettings(kind="local", workers=2)) == ([""] * 2, 4)
    assert processes(EngineSettings(kind="local", gpus=(), workers=16)) == ([""] * 16, 1)


def test_the_engine_that_a_job_names(tmp_path):
    assert engine_of(EngineSettings(), tmp_path).submit(os.getpid).result() == os.getpid()
    with pytest.raises(ZeroDivisionError):
        in_process(EngineSettings()).submit(divmod, 1, 0).result()
    engine = engine_of(EngineSettings(kind="local", workers=2, gpus=()), tmp_path)
    try:
        assert (engine.workers, engine.width) == (2, 4)
        assert wrapped(engine) is engine
    finally:
        engine.close()


def test_a_batch_in_a_pool_of_which_one_dies(job, whole, contents, tmp_path, quick_pools):
    """Killed in the middle of its shard, a process loses nothing that was finished."""
    engine = engine_of(EngineSettings(kind="local", workers=2, gpus=()), tmp_path)
    killed = []
    submit = engine.submit

    def troubled(function, *arguments):
        if not killed:
            killed.append(submit(eval, DIE))
        return submit(function, *arguments)

    engine.submit = troubled  # type: ignore[method-assign]
    try:
        result = oip.batch.run(job, engine=engine)
    finally:
        engine.close()
    with pytest.raises(WorkerLost):
        killed[0].result()
    assert result.failures == []
    assert contents(result.out / "runs/0000") == contents(whole)
