"""Killed at any moment, a run goes on and ends with the same files."""

import os
import signal
import threading
import time
from contextlib import suppress

import numpy as np
import pytest


def command(model, out, steps=20):
    arguments = ["reconstruct", model, "second", "--out", out, "--quiet"]
    return [*arguments, "--starts", "2", "--steps", steps, "--screened", "32"]


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_kill_9_at_random_moments(commands, small_file, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    started = time.monotonic()
    assert commands.end(commands.begin(*command(small_file, whole))) == 0
    seconds = time.monotonic() - started
    random = np.random.default_rng(0)
    for share in (0.97, *random.uniform(0.5, 1.0, 4)):
        process = commands.begin(*command(small_file, killed))
        time.sleep(share * seconds)
        with suppress(ProcessLookupError):  # it was done before
            os.kill(process, signal.SIGKILL)
        commands.end(process)
    assert commands.end(commands.begin(*command(small_file, killed))) == 0
    left = {name: text for name, text in contents(killed).items() if "writing" not in name.name}
    assert left == contents(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_one_line_and_exit_1(commands, small_file, tmp_path, number):
    arguments = command(small_file, tmp_path / "run", steps=100000)
    arguments += ["--set", "patience=100000"]  # no image retires before the interrupt
    process = commands.begin(*arguments, stderr=tmp_path / "remarks")
    try:
        deadline = time.monotonic() + 100
        while not (tmp_path / "run" / "run.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1.0)
        os.kill(process, number)
    finally:
        end_at_last = threading.Timer(60, os.kill, (process, signal.SIGKILL))
        end_at_last.start()
        status = commands.end(process)
        end_at_last.cancel()
    assert status == 1
    text = (tmp_path / "remarks").read_text()
    assert text.strip() == "oip: interrupted. Finished work is kept; the same command continues it."
