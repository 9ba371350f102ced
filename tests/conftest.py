"""Small models that the tests share, and the order of the files."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import functools
import gc
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "steady", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # a busy machine is no fault of the code
settings.load_profile("steady")

LONGEST = (
    "ascent/test_model_kinds",
    "cli/test_demo",
    "test_readmes",
    "browser/test_grid",
    "studies/test_diffusion",
    "studies/test_trained",
    "workflows/test_demo",
    "browser/test_access",
    "browser/test_budget",
    "gallery/test_site",
    "mi/training/test_recorder",
    "batch/test_driver",
    "mi/estimators/test_neural",
    "network/test_surgery",
    "batch/test_slurm",
    "batch/test_executors",
    "batch/test_keras_applications",
    "studies/test_oip",
    "run/test_killed",
    "batch/test_killed",
)
"""Files that take longest begin first, so that no worker waits for another one at the end."""


def pytest_collection_modifyitems(items):
    """Put the longest files first; all others keep their order."""
    ranks = {f"tests/{name}.py": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))


@functools.cache
def freeze_objects():
    """Spare the collector the half million objects of TensorFlow, which it would walk each time."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item):
    """Freeze what there is at the first test after Keras was imported."""
    if "keras" in sys.modules:
        freeze_objects()


@pytest.fixture(scope="session")
def small_model():
    """Two convolutions with pooling between, on 16 x 16 pixels of 0 to 255."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            layers.Input((16, 16, 1)),
            layers.Normalization(mean=40.0, variance=80.0**2),
            layers.Conv2D(6, 3, activation="relu", name="first"),
            layers.MaxPooling2D(name="pool"),
            layers.Conv2D(70, 3, activation="relu", name="second"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )


@pytest.fixture(scope="session")
def small_network(small_model):
    """The small model, opened once: tests that ask for the same graph share it."""
    from oip.network.network import Network

    return Network(small_model)


@pytest.fixture
def figures_as_they_fall(monkeypatch):
    """Leave the parts of figures where they are: to lay them out takes longer than to draw them."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda engine, figure: None)


@pytest.fixture(scope="session")
def small_images():
    """40 images of 16 x 16 with bars, 0 to 255, and their labels."""
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (40, 16, 16, 1)).astype(np.uint8)
    labels = np.arange(40) % 4
    for image, label in zip(images, labels, strict=True):
        image[2 + 3 * label : 4 + 3 * label, 3:13] = 230
    return images, labels


@pytest.fixture(scope="session")
def small_file(small_model, tmp_path_factory):
    """The small model as a file."""
    path = tmp_path_factory.mktemp("model") / "small.keras"
    small_model.save(path)
    return path


@pytest.fixture(scope="session")
def small_data(small_images, tmp_path_factory):
    """The small images as an .npz source."""
    images, labels = small_images
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    np.savez(path, images=images, labels=labels)
    return path


_SERVER = """
import json, os, resource, signal, sys
sys.dont_write_bytecode = True  # a limit of file sizes would leave half of a compiled module
from oip.core.frameworks import import_quietly
import_quietly("keras")
import oip.batch.driver, oip.cli.batch, oip.cli.reconstruct
from oip.cli.main import run
print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        print(os.waitpid(request["wait"], 0)[1], flush=True)
        continue
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever was inherited
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(request["stderr"], os.O_WRONLY | os.O_CREAT), 2)
        if request["file_size"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"],) * 2)
        os._exit(run(request["arguments"]))
    print(child, flush=True)
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

    def begin(self, *arguments: object, stderr: object = os.devnull, file_size: int = 0) -> int:
        """Begins a command and gives the number of its process.

        Args:
            arguments: of the command.
            stderr: file for what it says there.
            file_size: bytes that it may write to a file; 0 for as many as it likes.
        """
        words = [str(argument) for argument in arguments]
        self._say({"arguments": words, "stderr": str(stderr), "file_size": file_size})
        return int(self._line())

    def end(self, process: int) -> int:
        """Waits for a command; minus the signal's number where it was killed."""
        self._say({"wait": process})
        return os.waitstatus_to_exitcode(int(self._line()))

    def close(self) -> None:
        self._server.communicate(timeout=60)

    def _say(self, request: dict[str, object]) -> None:
        assert self._server.stdin is not None
        print(json.dumps(request), file=self._server.stdin, flush=True)

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()


@pytest.fixture(scope="session")
def commands():
    """A `Commands`."""
    server = Commands()
    yield server
    server.close()
