"""The figures that `python -m tests.benchmarks` makes, each a function that yields rows."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.benchmarks.ascent_contestants import tf_keras_vis, tutorial
from tests.benchmarks.ascent_deep import step_ratio

_MAPS, _STEPS = 128, 128


class Figure(NamedTuple):
    """One number, and what it should be."""

    name: str
    value: float
    unit: str
    target: str = ""
    note: str = ""


class Seconds(NamedTuple):
    """Of some work in this process."""

    processor: float
    wall: float

    @classmethod
    def of(cls, work: Callable[[], object]) -> Seconds:
        """Return the seconds that some work takes."""
        started = time.perf_counter(), time.process_time()
        work()
        return cls(time.process_time() - started[1], time.perf_counter() - started[0])


def cpu(work: Callable[[], object]) -> float:
    """Return the processor seconds of some work in this process."""
    return Seconds.of(work).processor


def digits(maps: int = _MAPS) -> Any:
    """Return a network of the size of the demo's, untrained."""
    import keras
    from keras import layers

    from oip.network.network import Network

    keras.utils.set_random_seed(0)
    parts: list[Any] = [layers.Input((28, 28, 1)), layers.Rescaling(1 / 255)]
    for number, count in enumerate((32, 64, maps), 1):
        parts += [layers.Conv2D(count, 3, activation="relu", name=f"Conv2D_{number}")]
        parts += [layers.MaxPooling2D()] if number < 3 else []
    parts += [layers.Flatten(), layers.Dense(10, activation="softmax")]
    return Network(keras.Sequential(parts))


def ascent() -> Iterator[Figure]:
    """A first and a second call of `oip.reconstruct` beside other tools."""
    import oip

    network = digits()
    layer = network.find("Conv2D_3")

    def grow(seed: int) -> None:
        oip.reconstruct(network, "Conv2D_3", starts=1, steps=_STEPS, seed=seed)

    first = Seconds.of(lambda: grow(0))
    calls = [Seconds.of(partial(grow, seed)) for seed in range(1, 8)]
    second = Seconds(*map(statistics.median, zip(*calls, strict=True)))
    yield Figure(
        "first call", first.processor, "s", note=f"{_MAPS} maps, {_STEPS} steps, one start"
    )
    yield Figure("second call, another seed", second.processor, "s", note="median of 7")
    yield from _ratios(
        "the tutorial's loop, by a first call", tutorial(network, layer, _STEPS), first
    )
    with contextlib.suppress(ImportError):
        other = tf_keras_vis(network, layer, _STEPS)
        yield from _ratios("tf-keras-vis in one batch, by a second call", other, second)


def _ratios(name: str, work: Callable[[], object], by: Seconds) -> Iterator[Figure]:
    """Yield how many times as long some work takes; wall times mean nothing on a busy machine."""
    seconds = Seconds.of(work)
    for kind in Seconds._fields:
        value, base = getattr(seconds, kind), getattr(by, kind)
        yield Figure(
            f"{name}, {kind}", value / base, "times", ">= 15", f"{value:.2f} and {base:.2f} s"
        )


def deep() -> Iterator[Figure]:
    """A step on deep networks beside the bare forward and backward pass at the same batch."""
    import keras

    from oip import models
    from oip.network.network import Network

    keras.utils.set_random_seed(0)
    untrained: Any = keras.applications.ResNet50
    cases = [("ResNet50", lambda: untrained(weights=None), "conv4_block3_2_conv")]
    cases += [("EfficientNet-Lite0", lambda: models.pretrained("efficientnet-lite0"), "@24")]
    for name, build, layer in cases:
        with contextlib.suppress(ImportError):
            ratio, images = step_ratio(Network(build()), layer)
            note = f"{images} images at a time"
            yield Figure(f"{name}, {layer}", ratio, "times", "<= 1.1", note)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    yield Figure("peak memory of both", peak, "GiB")


def ranking() -> Iterator[Figure]:
    """`mi.rank` with its defaults on 224 maps and 1,000 images."""
    from oip import mi, models

    network = digits()
    data = models.load("mnist-sample:test")
    labels = data.required_labels()[:1000]

    def rank() -> None:
        for layer in network.layers:
            mi.rank(network, data.images[:1000], labels, layer=layer.name)

    started = time.perf_counter()
    seconds = cpu(rank)
    wall = time.perf_counter() - started
    yield Figure("224 maps, 1,000 images", wall, "s (wall)", "<= 8", f"processor {seconds:.1f} s")


def load() -> Iterator[Figure]:
    """A ranking and a training beside four busy processes, by the same without any."""
    from tests.benchmarks.load import SPIN, ranking, training

    works = {"ranking": ranking(), "training": training()}

    def seconds(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    alone = {name: min(seconds(work) for _ in range(2)) for name, work in works.items()}
    busy = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(4)]
    try:
        beside = {name: seconds(work) / alone[name] for name, work in works.items()}
    finally:
        for process in busy:
            process.kill()
    yield Figure("ranking slows down by", beside["ranking"], "times", "as training")
    yield Figure("training slows down by", beside["training"], "times")


def estimators() -> Iterator[Figure]:
    """`ksg` beside NPEET, and `gaussian` on 224 maps."""
    from oip import mi
    from tests.benchmarks.estimators import ranker

    random = np.random.default_rng(0)
    npeet = None
    with contextlib.suppress(ImportError):
        npeet = importlib.import_module("npeet.entropy_estimators")
    for d in (1, 3, 5, 10):
        x = random.normal(size=(1000, d))
        y = x + random.normal(size=(1000, d))
        work = partial(mi.mutual_information, x, y, "ksg", null=0, draws=0)
        ours = statistics.median(cpu(work) for _ in range(3))
        name = f"ksg, {d} + {d} dimensions"
        if npeet is None:
            yield Figure(name, ours, "s")
        else:
            other = cpu(partial(npeet.mi, x, y))
            yield Figure(f"NPEET by {name}", other / ours, "times", ">= 1", f"{ours:.3f} s")
    yield Figure("gaussian, 224 maps", cpu(ranker("gaussian")(1)), "s", "<= 10")


def disk() -> Iterator[Figure]:
    """Bytes of units of 224 color pixels in a run, and of a gallery of 80 of them in one file."""
    import keras
    from keras import layers

    import oip
    from oip import gallery

    keras.utils.set_random_seed(0)
    norm = layers.Normalization(mean=[120.0] * 3, variance=[60.0**2] * 3)
    parts = [layers.Conv2D(16, 7, strides=4, activation="relu"), layers.Conv2D(80, 3, strides=4)]
    model = keras.Sequential([layers.Input((224, 224, 3)), norm, *parts])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        run = oip.reconstruct_into(Path(folder) / "run", path, "@1", steps=8)
        size = sum(shard.stat().st_size for shard in run.shards(1))
        yield Figure("a unit, two starts and its evolution", size / 80e3, "kB", "<= 350")
        page = gallery.build(run, single_file=True)
        yield Figure("80 maps in one file", page.stat().st_size / 1e6, "MB", "<= 6")


def commands() -> Iterator[Figure]:
    """Processor seconds, and memory, of whole commands."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.keras"
        digits().model.save(model)
        more = [model, "Conv2D_3:0-15", "--data", "mnist-sample", "--out", folder / "run", "-q"]
        for command in (["reconstruct", *more], ["rank", *more, "--samples", "500"]):
            _command(*command)
            seconds, wall, memory = _command(*command)
            note = f"processor {seconds:.1f} s, {memory:.0f} MB"
            yield Figure(f"oip {command[0]}, all done", wall, "s (wall)", "<= 4", note)
        with contextlib.suppress(ImportError):
            from oip import models

            models.pretrained("efficientnet-lite0", folder / "lite0.keras")
            seconds, wall, memory = _command("layers", folder / "lite0.keras")
            note = f"processor {seconds:.1f} s"
            yield Figure("oip layers of EfficientNet-Lite0", wall, "s (wall)", "<= 5", note)
            yield Figure("its memory", memory, "MB", "<= 600", "TensorFlow's import: 550")
        seconds, wall, memory = _command("demo", "--out", folder / "demo", "-q")
        note = f"processor {seconds:.1f} s, {memory:.0f} MB"
        yield Figure("oip demo", wall, "s (wall)", "<= 32", note)


_MEASURED = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
seconds = usage.ru_utime + usage.ru_stime, time.perf_counter() - began
print(json.dumps([status, *seconds, usage.ru_maxrss * 1024 / 1e6]))
"""
"""A process counts the memory of the one that started it, too, so that must be a small one."""


def _command(*arguments: object) -> tuple[float, float, float]:
    """Return processor seconds, wall seconds and MB of a command that succeeds."""
    command = [sys.executable, "-m", "oip", *map(str, arguments)]
    measured = subprocess.check_output([sys.executable, "-c", _MEASURED, *command], text=True)
    status, seconds, wall, memory = json.loads(measured)
    if status:
        raise RuntimeError(f"{' '.join(command)} failed")
    return seconds, wall, memory


def progress() -> Iterator[Figure]:
    """The longest time without a sign of life, of a reconstruction and of a ranking."""
    import oip
    from oip import models

    network = digits()
    data = models.load("mnist-sample:test")
    times: list[float] = []

    def report(*_: object) -> None:
        times.append(time.perf_counter())

    def gap(work: Callable[[], object]) -> float:
        times[:] = [time.perf_counter()]
        with contextlib.redirect_stderr(io.StringIO()):
            work()
        report()
        return float(np.diff(times).max())

    with tempfile.TemporaryDirectory() as folder:
        yield Figure(
            "reconstruct, 128 maps",
            gap(lambda: oip.reconstruct(network, "Conv2D_3", progress=report)),
            "s (wall)",
            "<= 3",
        )
        into = Path(folder) / "run"
        yield Figure(
            "rank, 224 maps",
            gap(lambda: oip.rank_into(into, network, data=data, samples=1000, progress=report)),
            "s (wall)",
            "<= 3",
        )


FIGURES: dict[str, Callable[[], Iterator[Figure]]] = {
    function.__name__: function
    for function in (ascent, deep, ranking, load, estimators, disk, commands, progress)
}
"""By name, in the order in which they are made."""
