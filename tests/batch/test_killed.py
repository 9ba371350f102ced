"""Killed at any moment, a batch goes on, repeats nothing finished, and ends with the same files."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress

import numpy as np

KILLS = 20


def shards(folder):
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("shard-*.npz")
    }


def test_kill_9_at_twenty_random_moments(commands, plain_file, contents, tmp_path):
    path = tmp_path / "job.toml"
    path.write_text(
        f"models = ['{plain_file}']\nout = 'unused'\n"
        "settings = { starts = 1, steps = 6, screened = 8 }\n"
    )
    whole = tmp_path / "whole"

    def begin(out):
        return commands.begin("batch", path, "--out", out, "--quiet")

    def check_whole(out):
        assert contents(out / "runs") == contents(whole / "runs")
        assert (out / "batch.json").read_bytes() == (whole / "batch.json").read_bytes()
        for line in (out / "log.jsonl").read_text().splitlines():
            json.loads(line)

    started = time.monotonic()
    assert commands.end(begin(whole)) == 0
    seconds = time.monotonic() - started
    random = np.random.default_rng(0)
    stopped = batches = 0
    while stopped < KILLS:
        out = tmp_path / f"killed-{batches}"
        before: dict[str, int] = {}
        status = -signal.SIGKILL
        while status == -signal.SIGKILL:
            process = begin(out)
            if stopped < KILLS:
                time.sleep(random.uniform(0.02, 1.0) * seconds)
                with suppress(ProcessLookupError):  # it was done before
                    os.kill(process, signal.SIGKILL)
            status = commands.end(process)
            stopped += status == -signal.SIGKILL
            after = shards(out)
            assert before.items() <= after.items()  # what was finished is not done again
            before = after
        assert status == 0
        check_whole(out)
        batches += 1
