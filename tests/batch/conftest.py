"""A batch small enough to be done many times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SETTINGS = {"starts": 2, "steps": 6, "screened": 8}

_SERVER = """
import json, os, sys
from oip.core.warnings import import_quietly
import_quietly("keras")
import oip.batch.driver, oip.batch.worker, oip.cli.batch
import oip.run.reconstruct, oip.network.layer_spec
from oip.cli.main import run
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = run(json.loads(line))
        os._exit(status)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Commands:
    """Runs commands of the program, each in a process of its own, without importing Keras again.

    The processes are forked from one that has imported everything and used nothing of it.
    """

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._line()

    def begin(self, *arguments: object) -> int:
        """Begins a command and gives the number of its process."""
        assert self._server.stdin is not None
        line = json.dumps([str(argument) for argument in arguments])
        print(line, file=self._server.stdin, flush=True)
        return int(self._line())

    def end(self) -> int:
        """Waits for the command; minus the signal's number where it was killed."""
        return os.waitstatus_to_exitcode(int(self._line()))

    def close(self) -> None:
        self._server.communicate(timeout=60)

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()


@pytest.fixture(scope="session")
def commands():
    """A `Commands`."""
    server = Commands()
    yield server
    server.close()


@pytest.fixture(scope="session")
def plain_file(tmp_path_factory):
    """A model of one convolution with 150 maps on 8 x 8 pixels: three shards."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(150, 3, activation="relu", name="conv")]
    )
    path = tmp_path_factory.mktemp("plain") / "plain.keras"
    model.save(path)
    return path


@pytest.fixture
def job(plain_file, tmp_path):
    """A job as plain values: three shards."""
    return {"models": [str(plain_file)], "out": str(tmp_path / "batch"), "settings": SETTINGS}


@pytest.fixture(scope="session")
def labelled(small_images, tmp_path_factory):
    """Enough labelled images for a ranking, as an .npz source without parts of its own."""
    images, labels = small_images
    random = np.random.default_rng(1)
    rows = random.integers(0, len(images), 120)
    path = tmp_path_factory.mktemp("labelled") / "bars.npz"
    np.savez(path, images=images[rows], labels=labels[rows])
    return f"{path}:train"


@pytest.fixture(scope="session")
def contents():
    """A function that reads every finished file below a folder."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".writing-")
        }

    return read
