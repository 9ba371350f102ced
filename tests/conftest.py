"""Small models that the tests share, and the order of the files."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # there are more processes than cores
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import functools
import gc
import hashlib
import importlib.util
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.spawn
import sys
from collections import defaultdict
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

gc.disable()  # until all tests are collected: imports and collecting make hardly any garbage
settings.register_profile(
    "steady", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # a busy machine is no fault of the code
settings.load_profile("steady")

LONGEST = (
    "ascent/test_model_kinds",
    "browser/test_grid",
    "test_readmes",
    "cli/test_demo",
    "gallery/test_site",
    "workflows/test_demo",
    "mi/estimators/test_neural",
    "ascent/test_gradient_ascent",
    "ascent/test_reconstruction",
    "browser/test_access",
    "browser/test_dialog",
    "studies/test_oip",
    "studies/test_plane",
    "studies/test_diffusion",
    "studies/test_trained",
    "mi/training/test_recorder",
    "browser/test_budget",
    "batch/test_driver",
    "mi/test_quantities",
    "mi/test_class_patterns",
    "network/test_surgery",
    "workflows/test_prune",
    "workflows/test_judge",
    "cli/test_locate",
    "cli/test_tour",
    "test_tutorial",
    "batch/test_worker",
    "studies/test_kernels",
    "studies/test_renyi",
    "browser/test_safety",
    "batch/test_dask",
    "batch/test_executors",
    "batch/test_killed",
    "run/test_killed",
)
"""Files that take longest begin first, so that no worker waits for another one at the end."""
WAITING = (
    "tests/browser/",
    "tests/cli/test_demo",
    "tests/run/test_killed",
    "tests/batch/test_killed",
    "tests/batch/test_dask",
    "tests/batch/test_executors",
    "tests/batch/test_slurm",
    "tests/test_packaging",
)
"""Files that wait for browsers and for processes more than they compute."""


def _load_forked_python():
    """Load the module beside this file; tests are no package."""
    path = Path(__file__).parent / "forked_python.py"
    spec = importlib.util.spec_from_file_location("forked_python", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


forked_python = _load_forked_python()


def usable_cores():
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One more than there are cores, for the files of `WAITING`."""
    return usable_cores() + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Files of `WAITING` go to the worker beyond the cores first, others to the other workers.

    Where no file suits a worker, it takes any: all go on to the end, and no core is idle while a
    worker waits.
    """
    from xdist.scheduler import LoadFileScheduling

    class WaitingFilesApart(LoadFileScheduling):
        def _assign_work_unit(self, node):
            """Put the file that suits the worker first, if there is one."""
            file = self._next_file(waiting=self._waits(node))
            if file:
                self.workqueue.move_to_end(file, last=False)
            super()._assign_work_unit(node)

        def _waits(self, node):
            return node.gateway.id == f"gw{usable_cores()}"

        def _next_file(self, waiting):
            suitable = (file for file in self.workqueue if file.startswith(WAITING) == waiting)
            return next(suitable, None)

    return WaitingFilesApart(config, log)


def pytest_configure(config):
    """Begin the session of forked processes, which all workers share."""
    if not hasattr(config, "workerinput"):
        forked_python.begin_session()


def pytest_unconfigure(config):
    """End it."""
    if not hasattr(config, "workerinput"):
        forked_python.end_session()


def pytest_collection_modifyitems(items):
    """Put the longest files first; all others keep their order. Let garbage be collected."""
    gc.enable()
    ranks = {f"tests/{name}.py": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))


@functools.cache
def freeze_objects():
    """Spare the collector the half million objects of TensorFlow, which it would walk each time.

    What is traced makes many objects and few circles: it comes less often, too.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class SharedModels:
    """Models of small files, opened once for all tests, and graphs that were traced of any model.

    A test that changes a model, or counts what is opened or traced, has the marker `alone`. That
    no other test changed a shared model is checked at its end.
    """

    def __init__(self):
        from oip.network import loading, tracing
        from oip.network.graphs import Graphs
        from oip.network.network import Network

        self._models, self._recordings = {}, {}
        self._graphs = WeakKeyDictionary()
        self._before, self._used = {}, set()
        originals = loading.load_model, tracing.record_calls, Network.__init__

        def load_model(path, imports=()):
            path = Path(path)
            if imports or not path.is_file() or path.stat().st_size > 1 << 20:
                return originals[0](path, imports)
            key = (path.suffix, hashlib.sha256(path.read_bytes()).digest())
            if key not in self._models:
                model = self._models[key] = originals[0](path)
                self._before[id(model)] = model, model.get_weights()
            self._used.add(id(self._models[key]))
            return self._models[key]

        def record_calls(model, specs):
            key = (id(model), tuple(specs))
            if id(model) not in self._before:
                return originals[1](model, specs)
            if key not in self._recordings:
                self._recordings[key] = originals[1](model, specs)
            return self._recordings[key]

        @functools.wraps(originals[2])
        def init(network, *args, **options):
            originals[2](network, *args, **options)
            graphs = self._graphs.setdefault(network.model, defaultdict(Graphs))
            network.graphs = graphs[tuple(network.specs), network.image_input]

        self._replaced = [
            (loading, "load_model", originals[0], load_model),
            (tracing, "record_calls", originals[1], record_calls),
            (Network, "__init__", originals[2], init),
        ]

    def use(self, shared):
        """Share models, or do not."""
        for owner, name, original, sharing in self._replaced:
            setattr(owner, name, sharing if shared else original)

    def check(self):
        """Check that models that were opened since the last check have their weights."""
        while self._used:
            model, before = self._before[self._used.pop()]
            for weights, then in zip(model.get_weights(), before, strict=True):
                assert np.array_equal(weights, then, equal_nan=True), "a test without `alone`"


shared_models = functools.cache(SharedModels)


def pytest_runtest_setup(item):
    """Freeze what there is at the first test after Keras was imported; share small models."""
    if "keras" in sys.modules:
        freeze_objects()
    if "oip.network.network" in sys.modules:
        shared_models().use(item.get_closest_marker("alone") is None)


def pytest_runtest_teardown(item):
    """Check the shared models."""
    if "oip.network.network" in sys.modules:
        shared_models().check()


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


@pytest.fixture
def few_steps(monkeypatch):
    """The ascent takes four steps from the best of eight starts where nothing else is set."""
    from oip.ascent.settings import PRESETS

    for preset in PRESETS.values():
        for name, value in {"steps": 4, "screened": 8}.items():
            monkeypatch.setitem(preset, name, value)


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


class Commands:
    """Runs commands of the program, each in a process of its own, see `forked_python`."""

    def __init__(self) -> None:
        self._folder = str(forked_python.server_folder())
        self._processes: dict[int, forked_python.Forked] = {}

    def begin(self, *arguments: object, stderr: object = os.devnull, file_size: int = 0) -> int:
        """Begin a command and return the number of its process.

        Args:
            arguments: of the command.
            stderr: file for what it says there.
            file_size: bytes that it may write to a file; 0 for as many as it likes.
        """
        code = "import sys; from oip.cli.main import run; sys.exit(run(sys.argv[1:]))"
        return self.begin_python("-c", code, *arguments, stderr=stderr, file_size=file_size)

    def begin_python(
        self, *arguments: object, stderr: object = os.devnull, file_size: int = 0
    ) -> int:
        """As `begin`, with arguments of `python`."""
        texts = [str(argument) for argument in arguments]
        with Path(os.devnull).open("r+") as null, Path(str(stderr)).open("a") as errors:
            files = {0: null.fileno(), 1: null.fileno(), 2: errors.fileno()}
            process = forked_python.Forked(texts, files, self._folder, file_size=file_size)
        self._processes[process.pid] = process
        return process.pid

    def end(self, process: int) -> int:
        """Wait for a command; return its exit code, minus the signal's number if it was killed."""
        return self._processes.pop(process).wait()


@pytest.fixture(scope="session")
def commands():
    """A `Commands`."""
    return Commands()


@pytest.fixture(scope="session")
def quick_python():
    """The path of a `python` that has imported Keras already."""
    return str(forked_python.server_folder() / "python")


@pytest.fixture
def quick_processes(quick_python, monkeypatch):
    """Processes of Python that a test begins have imported Keras."""
    monkeypatch.setattr(sys, "executable", quick_python)


@pytest.fixture
def quick_pools(quick_python, monkeypatch):
    """Processes of pools are forked from a Python that has imported Keras."""
    context = multiprocessing.get_context("forkserver")
    before = multiprocessing.spawn.get_executable()
    multiprocessing.set_executable(quick_python)
    monkeypatch.setattr(multiprocessing, "get_context", lambda kind: context)
    yield
    multiprocessing.set_executable(before)
    multiprocessing.forkserver._forkserver._stop()
