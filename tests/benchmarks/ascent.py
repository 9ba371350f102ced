"""The ascent beside what else there is, in one process: seconds, silent maps, scores.

    python -m tests.benchmarks.ascent MODEL.keras --data mnist [--layer Conv2D_3] [--steps 128]

One start for each map of a layer, the same number of steps for everybody. Before it is scored every
image, of the data too, is brought to the input's mean and deviation: over the pixels that the layer
sees (`score`), and over the whole image (`whole`).

Two comparisons, each of like with like. *Cold*: from a loaded model to the images, all included
(for this project `oip.reconstruct`: it looks the model up, screens 256 starts, traces, climbs).
*Warm*: the same again, what can be kept being kept (for this project the climb from the screened
starts). Both also to the score at which a peer ends: after how many steps of the climb the mean is
as high, and the time for as many. A score that the screened starts have before any step is the
screening's, and has no warm time.

Run by hand, on a machine that does nothing else; figures are only comparable within one run. Peers
are left out where they are not installed (extra `bench`; Xplique where a user has it).
Deep networks are in `python -m tests.benchmarks --only deep`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError
from typing import Any

import numpy as np

from tests.benchmarks.ascent_contestants import Build, bare, climb, peers, prepared, whole

QUICK = 5.0
"""Seconds under which a time is the median of three, as a busy moment would double it."""
MEAN, BARE, SOONER = 4.3, 1.15, 30.0
"""What is wanted: mean score over the whole image, times the bare pass, times sooner."""


@dataclass(frozen=True)
class Measured:
    """A contestant's figures."""

    name: str
    cold: float
    warm: float
    silent: int = 0
    score: float = float("nan")
    whole: float = float("nan")
    above: int = 0


class AscentBenchmark:
    """One model, layer and number of steps."""

    def __init__(self, path: str, layer: str, steps: int, source: str):
        from oip import models
        from oip.ascent.screening import screen
        from oip.ascent.settings import ascent_settings
        from oip.ascent.targets import MapTargets
        from oip.network.network import Network

        self.path, self.steps = path, steps
        self.network = Network(path)
        self.layer = self.network.find(layer)
        data = models.load(source, part="test").images
        targets = MapTargets(self.network, self.layer)
        self.evidence = screen(self.network, targets, ascent_settings(screened=4), data)
        self.excitable = self.evidence.data_active > 0

    def peer(self, name: str, build: Build) -> Measured:
        """Anything that is built and then run."""
        cold, images = timed(lambda: build(self.network, self.layer, self.steps)())
        run = build(self.network, self.layer, self.steps)
        run()
        warm, _ = timed(run)
        return self.print_measured(name, cold, warm, images)

    def reconstruct(self, steps: int) -> tuple[float, np.ndarray]:
        """Seconds and images of `oip.reconstruct`, with nothing known of the loaded model."""
        from oip.network.network import Network

        return timed(lambda fresh: whole(fresh, self.layer.name, steps), lambda: Network(self.path))

    def print_measured(
        self, name: str, cold: float, warm: float, images: np.ndarray | None
    ) -> Measured:
        """Scores of the images, and a line."""
        if images is None:
            measured = Measured(name, cold, warm)
            print(f"{name:46s} {cold:7.2f} {warm:7.2f}")
            return measured
        visible = self.evidence.visible
        scores = self.scores(images, visible)
        measured = Measured(
            name,
            cold,
            warm,
            int(np.sum(~(scores > 0))),
            float(scores.mean()),
            float(self.scores(images, np.ones_like(visible)).mean()),
            int(np.sum((scores > self.evidence.data_scores)[self.excitable])),
        )
        print(
            f"{name:46s} {cold:7.2f} {warm:7.2f} {measured.silent:7d} {measured.score:7.3f}"
            f" {measured.whole:7.3f} {measured.above:5d} of {self.excitable.sum()}"
        )
        return measured

    def scores(self, images: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """(m,) score of each map's own image, all standardised alike."""
        from oip.ascent.screening import standardize_as_input
        from oip.network.forward import means_of_layers

        alike = standardize_as_input(images, self.network, visible)
        means = means_of_layers(self.network, alike, [self.layer])[0]
        return np.diagonal(means)

    def trace(self) -> np.ndarray:
        """(steps + 1,) mean of the best scores so far, of a climb that nobody retires from."""
        climber, noise, maps = prepared(self.network, self.layer, self.steps, tolerance=0.0)
        return np.fmax.accumulate(climber.climb(noise, maps).traces, axis=1).mean(0)

    def times_to(self, steps: int) -> tuple[float, float]:
        """Seconds of `oip.reconstruct` and of the climb alone for so many steps; NaN for none."""
        cold = self.reconstruct(max(1, steps))[0]
        if steps == 0:
            return cold, float("nan")
        run = climb(self.network, self.layer, steps, tolerance=0.0)
        run()
        return cold, timed(run)[0]


def timed(work: Callable[..., Any], before: Callable[[], Any] | None = None) -> tuple[float, Any]:
    """Seconds, the median of three where it is quick, and the first result.

    Args:
        work: what is timed; it is given what `before` made, outside the clock.
    """
    seconds, results = [], []
    while not seconds or (len(seconds) < 3 and seconds[0] < QUICK):
        prepared = () if before is None else (before(),)
        started = time.perf_counter()
        results.append(work(*prepared))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)), results[0]


def main() -> None:
    """Runs all contestants and prints what there is to say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--layer", default="Conv2D_3")
    parser.add_argument("--steps", type=int, default=128)
    options = parser.parse_args()
    bench = AscentBenchmark(options.model, options.layer, options.steps, options.data)
    layer = bench.layer
    print(
        f"{layer.name} of {bench.network.name}: {layer.maps} maps, {options.steps} steps, 1 start"
    )
    heading = f"{'':46s} {'cold s':>7s} {'warm s':>7s} {'silent':>7s} {'score':>7s}"
    print(f"{heading} {'whole':>7s} above best image")
    cold, images = bench.reconstruct(options.steps)
    run = climb(bench.network, layer, options.steps)
    run()
    warm, climbed = timed(run)
    delivered = bench.print_measured("oip.reconstruct (cold)", cold, float("nan"), images)
    alone = bench.print_measured("oip, the climb (warm)", float("nan"), warm, climbed)
    kept = bench.peer("oip, no image retires", partial(climb, tolerance=0.0))
    passes = bench.peer("bare forward and backward of the cut model", bare)
    results: list[tuple[Measured, float]] = []
    for contestant in peers():
        try:
            measured = bench.peer(contestant.name, contestant.build)
            results.append((measured, contestant.faster))
        except (PackageNotFoundError, ImportError) as error:
            print(f"{contestant.name:46s} left out: {error}")
    print_requirements(bench, delivered, alone, kept.warm / passes.warm)
    quicker(bench, delivered.cold, alone.warm, results)


def print_requirements(
    bench: AscentBenchmark, delivered: Measured, alone: Measured, times: float
) -> None:
    """Print what is required of the images and of a step, and whether it is so."""
    print("\nwanted")
    excitable = int(bench.excitable.sum())
    for result in (delivered, alone):
        print(f"{result.name}: silent {result.silent}, wanted 0: {met(result.silent == 0)}")
        print(f"  mean score, whole {result.whole:.3f}, wanted {MEAN}: {met(result.whole >= MEAN)}")
        text = f"  above the best image {result.above}, wanted {excitable}"
        print(f"{text}: {met(result.above == excitable)}")
    text = f"without retirement {times:.2f} times the bare pass, wanted at most {BARE}"
    print(f"{text}: {met(times <= BARE)}")


def quicker(
    bench: AscentBenchmark, cold: float, warm: float, results: list[tuple[Measured, float]]
) -> None:
    """How much faster this is: at equal steps, and to a peer's final mean score.

    Args:
        cold, warm: seconds of this project.
        results: peers, and how many times faster than each is wanted.
    """
    best = bench.trace()
    for peer, factor in results:
        print(f"\n{peer.name.strip()}")
        for name, ratio in (("cold", peer.cold / cold), ("warm", peer.warm / warm)):
            verdict = met(ratio >= factor)
            print(
                f"  equal steps, {name}: {ratio:.1f} times faster, wanted {factor:.0f}: {verdict}"
            )
        reached = np.flatnonzero(best >= peer.score)
        if not reached.size:
            print("  its score is not reached")
            continue
        steps = int(reached[0])
        ours = bench.times_to(steps)
        print(f"  its score {peer.score:.3f} is reached after {steps} steps")
        for name, own_seconds, theirs in zip(
            ("cold", "warm"), ours, (peer.cold, peer.warm), strict=True
        ):
            if np.isnan(own_seconds):
                print(f"  to its score, {name}: the screened starts have it before any step")
                continue
            ratio = theirs / own_seconds
            text = f"  to its score, {name}: {own_seconds:.3f} s, {ratio:.0f} times sooner"
            print(f"{text}, wanted {SOONER:.0f}: {met(ratio >= SOONER)}")


def met(true: bool) -> str:
    """In words."""
    return "met" if true else "NOT met"


if __name__ == "__main__":
    main()
