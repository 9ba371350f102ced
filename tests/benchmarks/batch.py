"""What a batch costs beside the bare ascent, and whether it stays within its memory.

    python tests/benchmarks/batch.py overhead            in process, against the bare ascent
    python tests/benchmarks/batch.py dask                two Dask workers, against two processes
    python tests/benchmarks/batch.py memory [--maps N]   N maps of an untrained VGG16 at 64 pixels
    python tests/benchmarks/batch.py gallery             all 17,056 maps of an untrained MobileNetV2
                                                         at 64 pixels, opened in the gallery

Run by hand, on a machine that does nothing else; figures are only comparable within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = str(Path(__file__).resolve().parents[2])
ENVIRONMENT = {**os.environ, "PYTHONPATH": ROOT}
SETTINGS = {"starts": 4, "steps": 60, "screened": 64}
LAYER = "second"


def main() -> None:
    """Runs one benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["overhead", "dask", "memory", "gallery", "plain"])
    parser.add_argument("--maps", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", default="0/2", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    options = parser.parse_args()
    SETTINGS["steps"] = options.steps
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "plain":
            k, n = map(int, options.part.split("/"))
            plain(Path(options.model), k, n)
        elif options.what == "overhead":
            overhead(Path(folder), options.rounds)
        elif options.what == "dask":
            with_dask(Path(folder), options.rounds)
        elif options.what == "memory":
            memory(Path(folder), options.maps)
        else:
            in_gallery(Path(folder))


def network_file(folder: Path, *maps: int, side: int = 28) -> Path:
    """An untrained network of 3 x 3 convolutions, pooled after the first."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    parts = [layers.Input((side, side, 1))]
    for index, count in enumerate(maps):
        name = ("first", "second")[index] if index < 2 else f"conv-{index}"
        parts.append(layers.Conv2D(count, 3, activation="relu", padding="same", name=name))
        if index == 0:
            parts.append(layers.MaxPooling2D())
    path = folder / "model.keras"
    keras.Sequential(parts).save(path)
    return path


def overhead(folder: Path, rounds: int) -> None:
    """A batch in process beside `oip.reconstruct`, which writes no files."""
    import oip

    path = network_file(folder, 32, 128)

    def bare() -> None:
        network = oip.Network(path)
        for layer in network.layers:
            oip.reconstruct(network, layer.name, **SETTINGS)

    def batch(out: Path) -> None:
        oip.batch.run({"models": [str(path)], "out": str(out), "settings": SETTINGS})

    bare()
    pairs: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for number in range(rounds):
        pairs.append((both(bare), both(lambda n=number: batch(folder / str(n)))))
        (wall, cpu), (batch_wall, batch_cpu) = pairs[-1]
        print(
            f"bare {wall:6.2f} s, {cpu:6.2f} of CPU   batch {batch_wall:6.2f} s, {batch_cpu:6.2f}"
        )
    for index, name in enumerate(("wall time", "CPU time")):
        ratios = [second[index] / first[index] for first, second in pairs]
        print(f"overhead in {name}: median {100 * (statistics.median(ratios) - 1):+.1f} %")


def both(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of a call, and of the processor: the latter bears with a machine that is shared."""
    started = time.process_time()
    wall = timed(work)
    return wall, time.process_time() - started


def plain(path: Path, k: int, n: int) -> None:
    """Every n-th shard of the large layer with one thread; prints seconds without imports."""
    import numpy as np
    import tensorflow as tf

    import oip
    from oip.ascent.reconstruction import Ascent, aligned_blocks
    from oip.ascent.settings import ascent_settings
    from oip.ascent.targets import MapTargets

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    network = oip.Network(path)
    layer = network.find(LAYER)
    ascent = Ascent(network, MapTargets(network, layer), ascent_settings(**SETTINGS))
    for _, maps in list(aligned_blocks(np.arange(layer.maps)))[k::n]:
        ascent.grow(maps)
    print(time.perf_counter() - started, flush=True)


def with_dask(folder: Path, rounds: int) -> None:
    """Throughput of two workers of one thread, against two processes that share nothing.

    Time runs from when all have imported TensorFlow: in both cases it holds the reading of the
    model, screening, compiling and the ascent; with Dask also its messages and the files that are
    written.
    """
    import oip
    from oip.batch.executors import dask_engine
    from oip.batch.job import EngineSettings
    from oip.batch.progress import Watcher

    class Clock(Watcher):
        """Seconds from when the work is handed over to when the last shard is there."""

        started = seconds = 0.0

        def planned(self, tasks: list[Any]) -> None:
            self.started = self.started or time.perf_counter()

        def ended(self, task: Any, outcome: Any) -> None:
            if task.step == "grow":
                self.seconds = time.perf_counter() - self.started

    path = network_file(folder, 16, 256)
    address, begun = cluster(folder)
    engine = dask_engine(EngineSettings(kind="dask", scheduler=address))
    while engine.workers < 2:
        time.sleep(0.2)
    other = folder / "other.keras"  # so that no worker has read the model before its time runs
    other.write_bytes(path.read_bytes())
    warm = {"models": [str(other)], "settings": {"steps": 1}, "out": str(folder / "warm")}
    oip.batch.run(warm, engine=engine)  # all workers have imported everything
    ratios = []
    for number in range(rounds):
        alone = max(two_processes(path))
        out = folder / str(number)
        fresh = folder / f"model-{number}.keras"  # which no worker has read yet
        fresh.write_bytes(path.read_bytes())
        job = {"models": [{"path": str(fresh), "layers": [LAYER]}]}
        settings = {**SETTINGS, "seed": number}
        requested = {**job, "out": str(out), "settings": settings}
        clock = Clock()
        oip.batch.run(requested, engine=engine, watcher=clock)
        ratios.append(alone / clock.seconds)
        times = f"two processes {alone:6.2f} s   two workers {clock.seconds:6.2f} s"
        print(f"{times}   ratio {100 * ratios[-1]:.0f} %", flush=True)
    print(f"throughput of the workers: median {100 * statistics.median(ratios):.0f} %")
    engine.close()
    for process in begun:
        process.kill()


def two_processes(path: Path) -> list[float]:
    """Seconds of each of two processes that do half of the shards each, at the same time."""
    steps = str(SETTINGS["steps"])
    command = [sys.executable, __file__, "plain", "--model", str(path), "--steps", steps, "--part"]
    begun = [
        subprocess.Popen(
            [*command, f"{k}/2"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        for k in range(2)
    ]
    for process in begun:
        assert process.stdout is not None
        process.stdout.readline()
    for process in begun:
        assert process.stdin is not None
        print(file=process.stdin, flush=True)
    return [float(process.communicate()[0]) for process in begun]


def cluster(folder: Path) -> tuple[str, list[Any]]:
    """A scheduler and two workers of one thread each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, "-m"]
    scheduler = [*dask, "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
    worker = [*dask, "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    quiet |= {"env": ENVIRONMENT, "cwd": folder}
    begun = [subprocess.Popen([*scheduler, "--port", str(port), "--no-dashboard"], **quiet)]
    time.sleep(5)
    begun += [subprocess.Popen([*worker, "--no-dashboard"], **quiet) for _ in range(2)]
    return address, begun


def memory(folder: Path, maps: int) -> None:
    """Maps of an untrained VGG16 at 64 pixels, layer by layer, in one process."""
    import oip
    from oip.batch.executors import Engine, in_process
    from oip.batch.job import EngineSettings

    class Watched(Engine):
        """Notes the memory of this process after every piece of work."""

        def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
            done = super().submit(function, *arguments)
            task = arguments[0][0]
            usage.append(resident())
            print(f"{task.name:14s} {task.file:18s} {usage[-1]:7.0f} MiB", flush=True)
            return done

    usage: list[float] = []
    sizes = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    layers, left = [], maps
    for index, size in enumerate(sizes):
        if left > 0:
            layers.append(f"@{index}:0-{min(size, left) - 1}")
            left -= size
    source = {"application": "VGG16", "weights": "none", "size": [64, 64], "layers": layers}
    settings = {**SETTINGS, "starts": 1, "screened": 16}
    requested = {"models": [source], "out": str(folder / "batch"), "settings": settings}
    seconds = timed(lambda: oip.batch.run(requested, engine=Watched(in_process(EngineSettings()))))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{maps} maps in {seconds:.0f} s: peak {peak:.0f} MiB, after the first quarter "
          f"{max(usage[: len(usage) // 4]):.0f} MiB, at the end {usage[-1]:.0f} MiB")  # fmt: skip


def in_gallery(folder: Path) -> None:
    """All maps of a network through a batch into a gallery, opened in Chromium if there is one."""
    import oip
    from oip import gallery

    source = {"application": "MobileNetV2", "weights": "none", "size": [64, 64]}
    settings = {"starts": 1, "steps": 8, "screened": 16}
    requested = {"models": [source], "out": str(folder / "batch"), "settings": settings}
    seconds = timed(lambda: oip.batch.run(requested))
    run = folder / "batch/runs/0000"
    built = timed(lambda: gallery.build(run))
    record = json.loads((run / "gallery/maps.json").read_text())
    print(f"{len(record['maps'])} maps: batch {seconds:.0f} s, gallery {built:.0f} s")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("not opened: playwright is not installed")
        return
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        started = time.perf_counter()
        page.goto((run / "gallery/index.html").resolve().as_uri())
        page.wait_for_selector("a.tile")
        opened = time.perf_counter() - started
        print(f"opened in {opened:.2f} s: {page.text_content('#count')}")
        browser.close()


def timed(work: Callable[[], Any]) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def resident() -> float:
    """Memory of this process now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
