"""Gaussian blobs: several estimators over dimension and label corruption, and their run time."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import seeds
from oip.core.progress import Progress
from oip.core.units import bits
from oip.studies.diffusion_measures import SCALES, corrupted
from oip.studies.diffusion_toy import information

if TYPE_CHECKING:
    from oip.studies.frame import Folder

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


def blobs(one: Blobs, seed: int, progress: Progress, folder: Folder) -> dict[str, np.ndarray]:
    """All of figures 4 and 5; every estimator in every panel of every run is a part of the folder.

    Returns:
        `methods`; `corruption` (runs, panels, methods, corruptions) and of each kind K of blobs
        `K dimension` (runs, methods, dimensions) in bits, and with ` truth` after the name, of the
        same shapes without methods; `seconds` (methods, dimensions).
    """
    labels = list(methods(one.steps))
    work = list(itertools.product(range(one.runs), range(len(labels))))
    parts: dict[tuple[int, int, int | str], dict[str, np.ndarray]] = {}
    progress("blobs", 0, len(work))
    for done, (run, row) in enumerate(work, 1):
        name = f"blobs/run-{run}-method-{row}"
        for d in SHOWN:
            parts[run, row, d] = folder.part(
                f"{name}-corrupted-{d}",
                lambda d=d, run=run, row=row: _corrupted(one, labels[row], d, run, seed),
            )
        for kind in KINDS:
            parts[run, row, kind] = folder.part(
                f"{name}-{kind}",
                lambda kind=kind, run=run, row=row: _over(one, labels[row], kind, run, seed),
            )
        progress("blobs", done, len(work))

    def every(panel: int | str, what: str) -> np.ndarray:
        """(runs, methods, ...)."""
        return np.array(
            [
                [parts[run, row, panel][what] for row in range(len(labels))]
                for run in range(one.runs)
            ]
        )

    found = {
        "methods": np.array(labels),
        "corruption": np.stack([every(d, "value") for d in SHOWN], axis=1),
        "corruption truth": np.stack([every(d, "truth")[:, 0] for d in SHOWN], axis=1),
        "seconds": np.min([every(kind, "seconds").min(axis=0) for kind in KINDS], axis=0),
    }
    for kind in KINDS:
        found[f"{kind} dimension"] = every(kind, "value")
        found[f"{kind} dimension truth"] = every(kind, "truth")[:, 0]
    return found


def _corrupted(one: Blobs, label: str, d: int, run: int, seed: int) -> dict[str, np.ndarray]:
    """`value` and `truth` (corruptions,) in bits, of one estimator."""
    estimator = methods(one.steps)[label]
    rng = seeds.generator(seed, "blobs", run)
    x, codes, centres = sample("noise", d, one.samples, rng)
    value, truth = np.zeros(len(one.corruptions)), np.zeros(len(one.corruptions))
    for column, share in enumerate(one.corruptions):
        known = corrupted(codes, share, rng)
        value[column] = information(estimator, x, known, seed)
        truth[column] = held_information(x, centres, share)
    return {"value": bits(value), "truth": bits(truth)}


def _over(one: Blobs, label: str, kind: str, run: int, seed: int) -> dict[str, np.ndarray]:
    """`value` and `truth` in bits and the shortest of `seconds`, (dimensions,), of one estimator.

    The first run of the first kind is timed several times.
    """
    estimator = methods(one.steps)[label]
    times = one.timings if run == 0 and kind == next(iter(KINDS)) else 1
    value, truth = np.zeros(len(one.dimensions)), np.zeros(len(one.dimensions))
    seconds = np.full(len(one.dimensions), np.inf)
    for column, d in enumerate(one.dimensions):
        # The same plane of centres for all dimensions: it is drawn first.
        x, codes, centres = sample(kind, d, one.samples, seeds.generator(seed, "blobs", run))
        for _ in range(times):
            began = time.perf_counter()
            value[column] = information(estimator, x, codes, seed)
            seconds[column] = min(seconds[column], time.perf_counter() - began)
        truth[column] = held_information(x, centres, 0.0)
    return {"value": bits(value), "truth": bits(truth), "seconds": seconds}


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
