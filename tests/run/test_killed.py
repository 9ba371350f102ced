"""Killed at any moment, a run goes on and ends with the same files."""

import os
import signal
import subprocess
import sys
import time

import numpy as np

CODE = """
import sys
from oip.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def command(model, out):
    arguments = ["reconstruct", str(model), "second", "--out", str(out), "--quiet"]
    small = ["--starts", "2", "--steps", "20", "--screened", "32"]
    return [sys.executable, "-c", CODE, *arguments, *small]


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_kill_9_at_random_moments(small_file, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    began = time.monotonic()
    subprocess.run(command(small_file, whole), check=True)
    seconds = time.monotonic() - began
    random = np.random.default_rng(0)
    for share in (0.97, *random.uniform(0.5, 1.0, 4)):
        process = subprocess.Popen(command(small_file, killed), start_new_session=True)
        time.sleep(share * seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command(small_file, killed), check=True)
    left = {name: text for name, text in contents(killed).items() if "writing" not in name.name}
    assert left == contents(whole)


def test_an_interrupt_is_one_line_and_exit_1(small_file, tmp_path):
    arguments = command(small_file, tmp_path / "run")
    arguments[arguments.index("--steps") + 1] = "100000"
    arguments += ["--set", "patience=100000"]  # no image retires before the interrupt
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (tmp_path / "run" / "run.json").exists():
        time.sleep(0.1)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "interrupted" in err
    assert "Traceback" not in err
