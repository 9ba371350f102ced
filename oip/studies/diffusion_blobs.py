"""Gaussian blobs: several estimators over dimension and label corruption, and their run time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from oip.core import seeds
from oip.core.progress import Progress
from oip.core.units import bits
from oip.studies.diffusion_measures import SCALES, corrupted
from oip.studies.diffusion_toy import information

CLASSES = 10
KINDS = {"noise": "information in two of the dimensions", "spread": "information in all of them"}
"""Where the centres lie: the paper does not say."""
SHOWN = (2, 20)
"""Dimensions of the two panels over corruption."""
_SPREAD = 3.0
"""Deviation of the centres in every coordinate, that of a blob being 1."""


@dataclass(frozen=True)
class Blobs:
    """How much of it."""

    samples: int
    corruptions: tuple[float, ...]
    dimensions: tuple[int, ...]
    runs: int
    steps: int
    """Of the training of MINE."""
    timings: int
    """Repetitions of which the shortest time counts."""


def methods(steps: int) -> dict[str, Any]:
    """Label -> estimator."""
    import mi

    return {
        **{f"DSMI, {scale.label}": scale.information for scale in SCALES},
        "classic, binned": mi.estimator("binning", corrected=False),
        "neighbours (Ross)": mi.estimator("ksg"),
        "MINE": mi.estimator("mine", steps=steps),
    }


def blobs(one: Blobs, seed: int, progress: Progress) -> dict[str, np.ndarray]:
    """All of figures 4 and 5.

    Returns:
        `methods`; `corruption` (runs, panels, methods, corruptions) and of each kind K of blobs
        `K dimension` (runs, methods, dimensions) in bits, and with ` truth` after the name, of the
        same shapes without methods; `seconds` (methods, dimensions).
    """
    chosen = methods(one.steps)
    labels = list(chosen)
    shape = (one.runs, len(SHOWN), len(chosen), len(one.corruptions))
    corruption, truth = np.zeros(shape), np.zeros((one.runs, len(SHOWN), len(one.corruptions)))
    over = np.zeros((len(KINDS), one.runs, len(chosen), len(one.dimensions)))
    over_truth = np.zeros((len(KINDS), one.runs, len(one.dimensions)))
    seconds = np.full((len(chosen), len(one.dimensions)), np.inf)
    work = one.runs * len(chosen)
    progress("blobs", 0, work)
    for run in range(one.runs):
        for row, label in enumerate(labels):
            estimator = chosen[label]
            for panel, d in enumerate(SHOWN):
                rng = seeds.generator(seed, "blobs", run)
                x, codes, centres = sample("noise", d, one.samples, rng)
                for column, share in enumerate(one.corruptions):
                    known = corrupted(codes, share, rng)
                    value = information(estimator, x, known, seed)
                    corruption[run, panel, row, column] = value
                    truth[run, panel, column] = held_information(x, centres, share)
            for place, kind in enumerate(KINDS):
                for column, d in enumerate(one.dimensions):
                    # The same plane of centres for all dimensions: it is drawn first.
                    x, codes, centres = sample(
                        kind, d, one.samples, seeds.generator(seed, "blobs", run)
                    )
                    for _ in range(one.timings if run == place == 0 else 1):
                        began = time.perf_counter()
                        over[place, run, row, column] = information(estimator, x, codes, seed)
                        took = time.perf_counter() - began
                        seconds[row, column] = min(seconds[row, column], took)
                    over_truth[place, run, column] = held_information(x, centres, 0.0)
            progress("blobs", run * len(chosen) + row + 1, work)
    found = {
        "methods": np.array(labels),
        "corruption": bits(corruption),
        "corruption truth": bits(truth),
        "seconds": seconds,
    }
    for place, kind in enumerate(KINDS):
        found[f"{kind} dimension"] = bits(over[place])
        found[f"{kind} dimension truth"] = bits(over_truth[place])
    return found


def sample(
    kind: str, d: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (count, d) of ten unit Gaussians, their classes, and the centres (10, d); d from 2.

    Args:
        kind: `noise`: the centres lie in a random plane, so that the information is the same in all
            dimensions, and what is added is noise; `spread`: each coordinate of a centre is drawn,
            so that the centres are farther apart in more dimensions.
        d: dimensions.
        count: of points.
        rng: for all of it.
    """
    codes = np.arange(count) % CLASSES
    plane = _SPREAD * rng.normal(size=(CLASSES, 2))
    if kind == "noise":
        centres = plane @ np.linalg.qr(rng.normal(size=(d, 2)))[0].T
    else:
        rest = _SPREAD * rng.normal(size=(CLASSES, d - 2))
        centres = np.concatenate([plane, rest], axis=1)
    return centres[codes] + rng.normal(size=(count, d)), codes, centres


def held_information(x: np.ndarray, centres: np.ndarray, share: float) -> float:
    """I(X;Y) in nats of the samples' distribution, with a share of the labels replaced by chance.

    H(Y) less the mean entropy of p(y|x), which is known: p(x|y) are Gaussians of equal weight.

    Args:
        x: (n, d) samples over which the mean is taken.
        centres: (classes, d).
        share: of the labels that are random.
    """
    logs = -0.5 * ((x[:, None] - centres[None]) ** 2).sum(axis=2)
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    odds = (1 - share) * odds + share / len(centres)
    odds = np.where(odds > 0, odds, 1.0)
    return float(np.log(len(centres)) + (odds * np.log(odds)).sum(axis=1).mean())
