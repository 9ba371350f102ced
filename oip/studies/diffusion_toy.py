"""Toy data: spectra of matrices, manifolds of known dimension, trees with branches (figure 3)."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import seeds
from oip.core.progress import Progress
from oip.core.units import bits
from oip.studies.diffusion_training import SCALES, corrupted
from oip.studies.report import Folder, agreement

if TYPE_CHECKING:
    from oip.studies.report import Folder

WIDE = 2_048
"""Dimensions that the manifolds lie in."""
SAMPLES = 500
BRANCHES = (2, 5, 10)
TREE_DIMENSIONS = 20
NOISE = 0.01
"""Standard deviation in every one of the wide dimensions."""
KINDS = ("uniform", "normal")


@dataclass(frozen=True)
class Toys:
    """How much of them."""

    sizes: tuple[int, ...]
    """Of the matrices."""
    weights: tuple[float, ...]
    """Of the identity."""
    dimensions: tuple[int, ...]
    """Of the manifolds."""
    corruptions: tuple[float, ...]
    runs: int


def toys(one: Toys, seed: int, progress: Progress, folder: Folder) -> dict[str, np.ndarray]:
    """All of figure 3, in bits; every run is a part of the study's folder.

    Returns:
        `identity` (runs, sizes, weights); of each kind K of manifold and scale S `K S`, and `K
        binned`, (runs, dimensions); of each scale S `tree S`, and `tree binned`, (runs, branches,
        corruptions).
    """
    progress("toy data", 0, one.runs)
    rows = []
    for run in range(one.runs):
        rows.append(folder.part(f"toys/run-{run}", lambda run=run: _one_run(one, seed, run)))
        progress("toy data", run + 1, one.runs)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _one_run(one: Toys, seed: int, run: int) -> dict[str, np.ndarray]:
    """What `toys` returns, of one run."""
    from oip import mi
    from oip.mi.estimators.renyi_entropy import matrix_entropy

    binned: Any = mi.estimator("binning", corrected=False)
    names = [*(scale.name for scale in SCALES), "binned"]
    identity = np.zeros((len(one.sizes), len(one.weights)))
    spaces = {f"{kind} {name}": np.zeros(len(one.dimensions)) for kind in KINDS for name in names}
    trees = {f"tree {name}": np.zeros((len(BRANCHES), len(one.corruptions))) for name in names}
    rng = seeds.generator(seed, "toys", run)
    for row, size in enumerate(one.sizes):
        matrix = random_positive(size, rng)
        for column, weight in enumerate(one.weights):
            mixed = weight * np.eye(size) + (1 - weight) * matrix
            identity[row, column] = matrix_entropy(mixed, 1.0)
    for kind in KINDS:
        for place, d in enumerate(one.dimensions):
            x = manifold(kind, d, SAMPLES, rng)
            for scale in SCALES:
                spaces[f"{kind} {scale.name}"][place] = scale.entropy.entropy(x, seed).nats
            spaces[f"{kind} binned"][place] = binned.entropy(x, seed).nats
    for row, branches in enumerate(BRANCHES):
        x, codes = tree(branches, SAMPLES, rng)
        for column, share in enumerate(one.corruptions):
            known = corrupted(codes, share, rng)
            for scale in SCALES:
                value = information(scale.information, x, known, seed)
                trees[f"tree {scale.name}"][row, column] = value
            trees["tree binned"][row, column] = information(binned, x, known, seed)
    found = {"identity": identity, **spaces, **trees}
    return {name: bits(values) for name, values in found.items()}


def information(estimator: Any, x: np.ndarray, codes: np.ndarray, seed: int) -> float:
    """I of numbers x (n, d) and a label, in nats, as it comes out."""
    return float(estimator.over_maps(x[:, None], codes, seed, one_vs_rest=False).raw[0])


def random_positive(size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, size): a random symmetric positive definite matrix with a trace of its size.

    A A^T with A uniform in (0, 1), so that its elements are positive, as a diffusion matrix's are.
    """
    a = rng.random((size, size))
    matrix = a @ a.T
    return matrix * size / np.trace(matrix)


def manifold(kind: str, d: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2048): d coordinates in a random linear subspace, with noise in all dimensions.

    Args:
        kind: `uniform` in [-1, 1], or `normal`.
        d: dimension of the subspace.
        count: of samples.
        rng: for all of it.
    """
    inner = rng.uniform(-1, 1, (count, d)) if kind == "uniform" else rng.normal(size=(count, d))
    axes = np.linalg.qr(rng.normal(size=(WIDE, d)))[0]
    return inner @ axes.T + NOISE * rng.normal(size=(count, WIDE))


def tree(branches: int, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points (count, 20) along branches that leave the origin, and the number of each one's branch.

    Every branch is a path of four straight pieces in random directions.
    """
    codes = np.arange(count) % branches
    x = np.zeros((count, TREE_DIMENSIONS))
    for branch in range(branches):
        own = np.flatnonzero(codes == branch)
        steps = rng.normal(size=(4, TREE_DIMENSIONS))
        steps += 2 * rng.normal(size=TREE_DIMENSIONS)  # away from the origin on the whole
        corners = np.concatenate([np.zeros((1, TREE_DIMENSIONS)), np.cumsum(steps, axis=0)])
        along = rng.uniform(0, 4, len(own))
        piece = np.minimum(along.astype(int), 3)
        x[own] = corners[piece] + (along - piece)[:, None] * steps[piece]
    return x + 0.1 * rng.normal(size=x.shape), codes


CLASSES = 10
KINDS_DIFFUSION_BLOBS = {
    "noise": "information in two of the dimensions",
    "spread": "information in all of them",
}
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
    from oip import mi

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
        for kind in KINDS_DIFFUSION_BLOBS:
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
        "seconds": np.min(
            [every(kind, "seconds").min(axis=0) for kind in KINDS_DIFFUSION_BLOBS], axis=0
        ),
    }
    for kind in KINDS_DIFFUSION_BLOBS:
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
    times = one.timings if run == 0 and kind == next(iter(KINDS_DIFFUSION_BLOBS)) else 1
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


BLOBS = KINDS_DIFFUSION_BLOBS

Found = dict[str, np.ndarray]
_NEAR = 0.05
"""Share of a whole that counts as nothing."""
_GONE = 0.1
"""Share of the clean value under which information of random labels is near zero."""


def toys_diffusion_toy_claims(folder: Folder, found: Found, one: Toys) -> None:
    """Toy data: entropy over dimension and the identity's weight, information over corruption."""
    runs = f"{one.runs} runs"
    rises = [rising(found["identity"][:, row].mean(axis=0)) for row in range(len(one.sizes))]
    ends = found["identity"][:, :, [0, -1]].mean(axis=0)
    folder.claim(
        "The entropy of a positive matrix rises as it nears the identity, where it is largest "
        "(fig. 3 A).",
        f"It rises at every step for {sum(rises)} of {len(rises)} sizes: "
        + ", ".join(
            f"n {size}: {low:.2f} to {high:.2f} bits"
            for size, (low, high) in zip(one.sizes, ends, strict=True)
        )
        + ".",
        agreement(rises),
        runs,
    )
    parts, outcomes = [], []
    for scale in SCALES:
        for kind in KINDS:
            mean = found[f"{kind} {scale.name}"].mean(axis=0)
            outcomes.append(rising(mean))
            parts.append(f"{scale.name} {kind}: {mean[0]:.2f} to {mean[-1]:.2f} bits"
                         f"{'' if outcomes[-1] else ', not at every step'}")  # fmt: skip
    classic = np.array([found[f"{kind} binned"].mean(axis=0) for kind in KINDS])
    flat = bool((classic >= (1 - 1e-3) * np.log2(SAMPLES)).all())
    folder.claim(
        "Diffusion entropy rises with the intrinsic dimension; classic entropy is at log n (fig. "
        "3 A).",
        f"From dimension {one.dimensions[0]} to {one.dimensions[-1]}: {'; '.join(parts)}. Classic: "
        f"{classic.min():.2f} to {classic.max():.2f} of {np.log2(SAMPLES):.2f} bits.",
        agreement([*outcomes, flat]),
        f"{runs} of {SAMPLES} points",
    )
    parts, outcomes = [], []
    for scale in SCALES:
        values = found[f"tree {scale.name}"].mean(axis=0)
        for row, branches in enumerate(BRANCHES):
            falls = rising(-values[row])
            gone = abs(values[row, -1]) < _NEAR * max(values[row, 0], 1e-12)
            outcomes.append(falls and gone)
            parts.append(f"{scale.name} {branches}: {values[row, 0]:.2f} to {values[row, -1]:.2f}")
    folder.claim(
        "Diffusion information falls as labels are corrupted, and is zero for random labels (fig. "
        "3 B).",
        f"Bits by number of branches, from clean labels to random ones: {'; '.join(parts)}.",
        agreement(outcomes),
        f"{runs}; zero is less than {_NEAR:.0%} of the clean value. By the published equation what "
        "few samples of a class lack is there for any labels; the authors' code takes it out",
    )
    values = found["tree binned"].mean(axis=0)
    kept = values[:, -1] / np.maximum(values[:, 0], 1e-12)
    folder.claim(
        "Classic information does not follow the corruption of labels (fig. 3 B).",
        "With random labels it has "
        + ", ".join(
            f"{share:.0%} ({branches} branches)"
            for share, branches in zip(kept, BRANCHES, strict=True)
        )
        + " of what it has with clean ones.",
        agreement([bool(share > 0.9) for share in kept]),
        f"{runs}; ten bins of equal shares in each of 20 dimensions",
    )


def over_blobs(folder: Folder, found: Found, one: Blobs) -> None:
    """Blobs: estimators over dimension, and their time."""
    names = [str(name) for name in found["methods"]]
    _over_corruption(folder, names, found["corruption"].mean(axis=0), one)
    mean = found["corruption"].mean(axis=0)[-1]
    chance = mean[:, -1]
    usable = chance < 0.2 * mean[:, 0]
    blind = [name for name, able in zip(names, usable, strict=True) if not able]
    for kind, where in BLOBS.items():
        values = found[f"{kind} dimension"].mean(axis=0)
        truth = found[f"{kind} dimension truth"].mean(axis=0)
        told = "; ".join(
            f"{name} {row[0]:.2f} to {row[-1]:.2f}" for name, row in zip(names, values, strict=True)
        )
        kept = np.where(usable, values[:, -1] / np.maximum(values[:, 0], 1e-12), -np.inf)
        others = kept[len(SCALES) :].max()
        folder.claim(
            "Diffusion information decays more slowly with the dimension of the data than classic "
            f"information, neighbours and MINE (fig. 4) ({where}).",
            f"Bits from {one.dimensions[0]} to {one.dimensions[-1]} dimensions: {told}; truth "
            f"{truth[0]:.2f} to {truth[-1]:.2f}. Left out, since random labels in {SHOWN[-1]} "
            "dimensions have a fifth or more of what clean ones have, a value that stays for its "
            f"ceiling: {', '.join(blind) or 'none'}.",
            agreement([bool(one_ > others) for one_ in kept[: len(SCALES)]]),
            f"{one.runs} runs of {one.samples} samples; compared by the share of the first value "
            "that is left, as the scale of diffusion information is not Shannon's",
        )
    seconds = found["seconds"]
    grows = seconds[:, -1] / seconds[:, 0]
    best = [bool(value <= grows[len(SCALES) :].min()) for value in grows[: len(SCALES)]]
    slow = [bool(value > seconds[len(SCALES) :, 0].min()) for value in seconds[: len(SCALES), 0]]
    folder.claim(
        "The run time of diffusion information grows least with the dimension; at few dimensions "
        "it is not the quickest (fig. 5).",
        f"Seconds from {one.dimensions[0]} to {one.dimensions[-1]} dimensions: "
        + "; ".join(
            f"{name} {row[0]:.3f} to {row[-1]:.3f} (times {grow:.1f})"
            for name, row, grow in zip(names, seconds, grows, strict=True)
        )
        + ".",
        agreement([*best, *slow]),
        "shortest of some runs on a machine that may do other things; this project's own code",
    )


def _over_corruption(folder: Folder, names: list[str], values: np.ndarray, one: Blobs) -> None:
    """Whether information (panels, methods, corruptions) goes to zero with corrupted labels."""
    clean = np.maximum(values[..., 0], 1e-12)
    near = np.abs(values[..., -1]) < _GONE * clean
    told = "; ".join(
        f"{name} "
        + ", ".join(
            f"{row[place, 0]:.2f} to {row[place, -1]:.2f} ({d} dimensions)"
            for place, d in enumerate(SHOWN)
        )
        for name, row in zip(names, values.swapaxes(0, 1), strict=True)
    )
    folder.claim(
        "All methods gradually approach zero when the labels are corrupted (fig. 4, left panels).",
        f"Bits from clean labels to random ones: {told}.",
        agreement(bool(near[:, row].all()) for row in range(len(names))),
        f"{one.runs} runs of {one.samples} samples; near zero is less than {_GONE:.0%} of the "
        "clean value in both panels; the paper does not say what its blobs are",
    )


def rising(values: np.ndarray) -> bool:
    """Whether values rise at every step, but for 1 % of their span."""
    return bool((np.diff(values) > -0.01 * max(np.ptp(values), 1e-12)).all() and np.ptp(values) > 0)
