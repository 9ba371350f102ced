"""How a ranking and a training slow down beside busy processes.

    python -m tests.benchmarks.load [--busy 0 4 12]

Busy processes count in a loop. For each number of them, seconds of a ranking of 32 maps by
`predictive` and `kde` and of a training of the same length, and how many times as long as without
any. A ranking should slow down no more than a training does, which shares the cores as fairly as
the system does: more tells of threads that wait for one another, or spin.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from oip.core.frameworks import keras, usable_cores
from oip.mi.estimators.base import label_estimator
from tests.benchmarks.estimators import layer

SPIN = "while True: pass"


def ranking() -> Callable[[], object]:
    """Return a ranking of 32 maps of 9 nodes, as `rank` does it."""
    responses, codes = layer(1000, 32, 9)

    def run() -> None:
        for name, shuffles in (("predictive", 1000), ("kde", 40)):
            estimator = label_estimator(name)
            estimator.over_maps(responses, codes, 0, shuffles, estimator.map_draws)

    return run


def training() -> Callable[[], object]:
    """Return a training of a small network of convolutions."""
    images = np.random.default_rng(0).normal(size=(2000, 28, 28, 1)).astype(np.float32)
    labels = np.arange(2000) % 10
    layers = [
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(64, 3, activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(10),
    ]
    model = keras.Sequential([keras.Input((28, 28, 1)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return lambda: model.fit(images, labels, batch_size=64, epochs=3, verbose=0)


def main() -> None:
    """Print one line for every number of busy processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 4, 12])
    options = parser.parse_args()
    works = {"ranking": ranking(), "training": training()}
    for work in works.values():
        work()  # a warm-up
    alone: dict[str, float] = {}
    print(f"{usable_cores()} cores")
    for count in options.busy:
        processes = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
        try:
            cells = []
            for name, work in works.items():
                started, used = time.perf_counter(), time.process_time()
                work()
                seconds, used = time.perf_counter() - started, time.process_time() - used
                alone.setdefault(name, seconds)
                times = seconds / alone[name]
                cells.append(f"{name} {seconds:6.2f} s ({used:.2f} of cores), {times:.1f} times")
            print(f"{count:2d} busy: {'; '.join(cells)}", flush=True)
        finally:
            for process in processes:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
