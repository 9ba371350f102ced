"""Toy data: spectra of matrices, manifolds of a dimension, trees with branches, Gaussian blobs."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from oip.core import seeds
from oip.core.progress import Progress
from oip.core.units import bits
from oip.studies.callbacks import Arrays
from oip.studies.diffusion_training import SCALES, class_information, corrupted
from oip.studies.report import Finding, Folder, Value, agreement

if TYPE_CHECKING:
    from oip.mi.estimators.base import LabelEstimator

WIDE = 2_048
"""Dimensions that the manifolds lie in."""
BRANCHES = (2, 5, 10)
TREE_DIMENSIONS = 20
NOISE = 0.01
"""Standard deviation in every one of the wide dimensions."""
MANIFOLDS = ("uniform", "normal")
CLASSES = 10
CENTERS = {
    "noise": "information in two of the dimensions",
    "spread": "information in all of them",
}
"""Where the centers of blobs lie, which the paper does not say."""
CORRUPTED_DIMENSIONS = (2, 20)
"""Of the two panels over corruption."""
_NEAR = 0.05
"""Share of a whole that counts as nothing."""
_GONE = 0.1
"""Share of the clean value under which information of random labels is near zero."""
_BLIND = 0.2
"""Share of the clean value from which information of random labels is that of a ceiling."""
_SPREAD = 3.0
"""Deviation of the centers in every coordinate, that of a blob being 1."""


@dataclass(frozen=True)
class ToySize:
    """Numbers of the toy data of figure 3."""

    samples: int
    sizes: tuple[int, ...]
    """Of the matrices."""
    weights: tuple[float, ...]
    """Of the identity."""
    dimensions: tuple[int, ...]
    """Of the manifolds."""
    corruptions: tuple[float, ...]
    runs: int


def toy_information(size: ToySize, seed: int, progress: Progress, folder: Folder) -> Arrays:
    """Return the numbers of figure 3, in bits; every run is a part of the study's folder.

    Returns:
        `identity` (runs, sizes, weights); of each kind K of manifold and scale S `K S`, and `K
        binned`, (runs, dimensions); of each scale S `tree S`, and `tree binned`, (runs, branches,
        corruptions).
    """
    progress("toy data", 0, size.runs)
    rows = []
    for run in range(size.runs):
        rows.append(folder.part(f"toys/run-{run}", lambda run=run: _toy_run(size, seed, run)))
        progress("toy data", run + 1, size.runs)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _toy_run(size: ToySize, seed: int, run: int) -> Arrays:
    from oip.mi.estimators.base import label_estimator
    from oip.mi.estimators.renyi import matrix_entropy

    binned = label_estimator("binning", corrected=False)
    entropies = {scale.name: scale.entropy for scale in SCALES} | {"binned": binned}
    informations = {scale.name: scale.information for scale in SCALES} | {"binned": binned}
    arrays: dict[str, list] = {"identity": []}
    rng = seeds.generator(seed, "toys", run)
    for n in size.sizes:
        matrix = random_positive(n, rng)
        mixed = [weight * np.eye(n) + (1 - weight) * matrix for weight in size.weights]
        arrays["identity"].append([matrix_entropy(matrix, 1.0) for matrix in mixed])
    for kind, d in itertools.product(MANIFOLDS, size.dimensions):
        x = manifold(kind, d, size.samples, rng)
        for name, estimator in entropies.items():
            arrays.setdefault(f"{kind} {name}", []).append(estimator.entropy(x, seed).nats)
    for branches in BRANCHES:
        x, codes = tree(branches, size.samples, rng)
        labels = [corrupted(codes, share, rng) for share in size.corruptions]
        for name, estimator in informations.items():
            row = [class_information(estimator, x, label, seed) for label in labels]
            arrays.setdefault(f"tree {name}", []).append(row)
    return {name: bits(np.array(values)) for name, values in arrays.items()}


def random_positive(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random symmetric positive definite matrix (size, size) with a trace of its size.

    A A^T with A uniform in (0, 1), so that its elements are positive, as a diffusion matrix's are.
    """
    a = rng.random((size, size))
    matrix = a @ a.T
    return matrix * size / np.trace(matrix)


def manifold(kind: str, d: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return points (count, 2048) of a random linear subspace, with noise in all dimensions.

    Args:
        kind: of the coordinates: `uniform` in [-1, 1], or `normal`.
        d: dimension of the subspace.
        count: of samples.
        rng: for all of it.
    """
    inner = rng.uniform(-1, 1, (count, d)) if kind == "uniform" else rng.normal(size=(count, d))
    axes = np.linalg.qr(rng.normal(size=(WIDE, d)))[0]
    return inner @ axes.T + NOISE * rng.normal(size=(count, WIDE))


def tree(branches: int, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return points (count, 20) along branches that leave the origin, and their branch numbers.

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


@dataclass(frozen=True)
class BlobSize:
    """Numbers of the blobs of figures 4 and 5."""

    samples: int
    corruptions: tuple[float, ...]
    dimensions: tuple[int, ...]
    runs: int
    steps: int
    """Of the training of MINE."""
    timings: int
    """Repetitions of which the shortest time counts."""


def blob_estimators(steps: int) -> dict[str, LabelEstimator]:
    """Return label -> estimator."""
    from oip.mi.estimators.base import label_estimator

    return {
        **{f"DSMI, {scale.label}": scale.information for scale in SCALES},
        "classic, binned": label_estimator("binning", corrected=False),
        "neighbours (Ross)": label_estimator("ksg"),
        "MINE": label_estimator("mine", steps=steps),
    }


def blob_information(size: BlobSize, seed: int, progress: Progress, folder: Folder) -> Arrays:
    """Return the numbers of figures 4 and 5; each estimator of each panel and run is a part.

    Returns:
        `methods`; `corruption` (runs, panels, methods, corruptions) and of each kind K of blobs
        `K dimension` (runs, methods, dimensions) in bits, and with ` truth` after the name, of the
        same shapes without methods; `seconds` (methods, dimensions).
    """
    estimators = blob_estimators(size.steps)
    work = list(itertools.product(range(size.runs), enumerate(estimators.values())))
    parts: dict[tuple[int, int, int | str], Arrays] = {}
    progress("blobs", 0, len(work))
    for done, (run, (row, estimator)) in enumerate(work, 1):
        name = f"blobs/run-{run}-method-{row}"
        for d in CORRUPTED_DIMENSIONS:
            parts[run, row, d] = folder.part(
                f"{name}-corrupted-{d}",
                lambda d=d, run=run, x=estimator: _over_corruption(size, x, d, run, seed),
            )
        for kind in CENTERS:
            parts[run, row, kind] = folder.part(
                f"{name}-{kind}",
                lambda kind=kind, run=run, x=estimator: _over_dimension(size, x, kind, run, seed),
            )
        progress("blobs", done, len(work))

    def stacked(panel: int | str, name: str) -> np.ndarray:
        """Return an array (runs, methods, ...)."""
        rows = range(len(estimators))
        return np.array(
            [[parts[run, row, panel][name] for row in rows] for run in range(size.runs)]
        )

    panels = CORRUPTED_DIMENSIONS
    arrays = {
        "methods": np.array(list(estimators)),
        "corruption": np.stack([stacked(d, "value") for d in panels], axis=1),
        "corruption truth": np.stack([stacked(d, "truth")[:, 0] for d in panels], axis=1),
        "seconds": np.min([stacked(kind, "seconds").min(axis=0) for kind in CENTERS], axis=0),
    }
    for kind in CENTERS:
        arrays[f"{kind} dimension"] = stacked(kind, "value")
        arrays[f"{kind} dimension truth"] = stacked(kind, "truth")[:, 0]
    return arrays


def _over_corruption(
    size: BlobSize, estimator: LabelEstimator, d: int, run: int, seed: int
) -> Arrays:
    """Return `value` and `truth` (corruptions,) in bits, of one estimator."""
    rng = seeds.generator(seed, "blobs", run)
    x, codes, centers = blobs("noise", d, size.samples, rng)
    labels = [corrupted(codes, share, rng) for share in size.corruptions]
    values = [class_information(estimator, x, label, seed) for label in labels]
    truth = [blob_truth(x, centers, share) for share in size.corruptions]
    return {"value": bits(np.array(values)), "truth": bits(np.array(truth))}


def _over_dimension(
    size: BlobSize, estimator: LabelEstimator, kind: str, run: int, seed: int
) -> Arrays:
    """Return `value` and `truth` in bits and the shortest of `seconds`, (dimensions,).

    The first run of the first kind is timed several times.
    """
    times = size.timings if run == 0 and kind == next(iter(CENTERS)) else 1
    rows = []
    for d in size.dimensions:
        # The same plane of centers for all dimensions: it is drawn first.
        x, codes, centers = blobs(kind, d, size.samples, seeds.generator(seed, "blobs", run))
        value, seconds = 0.0, []
        for _ in range(times):
            began = time.perf_counter()
            value = class_information(estimator, x, codes, seed)
            seconds.append(time.perf_counter() - began)
        rows.append((bits(value), bits(blob_truth(x, centers, 0.0)), min(seconds)))
    return dict(zip(("value", "truth", "seconds"), np.array(rows).T, strict=True))


def blobs(
    kind: str, d: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points (count, d) of ten unit Gaussians, their classes, and the centers (10, d).

    Args:
        kind: `noise`: the centers lie in a random plane, so that the information is the same in all
            dimensions, and the rest is noise; `spread`: each coordinate of a center is drawn, so
            that the centers are farther from each other in more dimensions.
        d: dimensions, 2 or more.
        count: of points.
        rng: for all of it.
    """
    codes = np.arange(count) % CLASSES
    plane = _SPREAD * rng.normal(size=(CLASSES, 2))
    if kind == "noise":
        centers = plane @ np.linalg.qr(rng.normal(size=(d, 2)))[0].T
    else:
        rest = _SPREAD * rng.normal(size=(CLASSES, d - 2))
        centers = np.concatenate([plane, rest], axis=1)
    return centers[codes] + rng.normal(size=(count, d)), codes, centers


def blob_truth(x: np.ndarray, centers: np.ndarray, share: float) -> float:
    """Return I(X;Y) in nats of the blobs, with a share of the labels replaced by chance.

    H(Y) less the mean entropy of p(y|x), as p(x|y) are Gaussians of equal weight.

    Args:
        x: (n, d) samples over which the mean is taken.
        centers: (classes, d).
        share: of the labels that are random.
    """
    from scipy.special import softmax, xlogy

    odds = softmax(-0.5 * ((x[:, None] - centers[None]) ** 2).sum(axis=2), axis=1)
    odds = (1 - share) * odds + share / len(centers)
    return float(np.log(len(centers)) + xlogy(odds, odds).sum(axis=1).mean())


def rising(values: np.ndarray) -> bool:
    """Return whether values rise at every step, but for 1 % of their span."""
    return bool((np.diff(values) > -0.01 * max(np.ptp(values), 1e-12)).all() and np.ptp(values) > 0)


def _ends(name: str, row: np.ndarray, form: str = ".2f", remark: str = "") -> list[Value]:
    """Return the first and the last number of a row."""
    last = Value("to", float(row[-1]), form=form, remark=remark)
    return [Value(f"{name} from".strip(), float(row[0]), form=form), last]


def toy_findings(arrays: Arrays, size: ToySize) -> list[Finding]:
    """Return the findings of figure 3."""
    return [
        _identity_finding(arrays, size),
        _dimension_finding(arrays, size),
        _tree_finding(arrays, size),
        _classic_tree_finding(arrays, size),
    ]


def _identity_finding(arrays: Arrays, size: ToySize) -> Finding:
    rows = arrays["identity"].mean(axis=0)
    paper = "The entropy of a positive matrix rises as it nears the identity, where it is largest."
    quantity = "Bits from weight 0 to 1 of the identity"
    values = {f"n {n}": _ends("", row) for n, row in zip(size.sizes, rows, strict=True)}
    verdict = agreement(rising(row) for row in rows)
    return Finding(paper, verdict, quantity, values, figure="fig. 3 A", n=f"{size.runs} runs")


def _dimension_finding(arrays: Arrays, size: ToySize) -> Finding:
    values, outcomes = {}, []
    for scale in SCALES:
        values[scale.name] = []
        for kind in MANIFOLDS:
            mean = arrays[f"{kind} {scale.name}"].mean(axis=0)
            outcomes.append(rising(mean))
            remark = "" if outcomes[-1] else "not at every step"
            values[scale.name] += _ends(kind, mean, remark=remark)
    classic = np.array([arrays[f"{kind} binned"].mean(axis=0) for kind in MANIFOLDS])
    most = float(np.log2(size.samples))
    values["classic"] = [Value("least", classic.min()), Value("log n", most)]
    outcomes.append(bool((classic >= (1 - 1e-3) * most).all()))
    return Finding(
        "Diffusion entropy rises with the intrinsic dimension; classic entropy is at log n.",
        agreement(outcomes),
        f"Bits from dimension {size.dimensions[0]} to {size.dimensions[-1]}",
        values,
        figure="fig. 3 A",
        n=f"{size.runs} runs of {size.samples} points",
    )


def _tree_finding(arrays: Arrays, size: ToySize) -> Finding:
    values, outcomes = {}, []
    for scale in SCALES:
        rows = arrays[f"tree {scale.name}"].mean(axis=0)
        values[scale.name] = []
        for branches, row in zip(BRANCHES, rows, strict=True):
            gone = abs(row[-1]) < _NEAR * max(row[0], 1e-12)
            outcomes.append(rising(-row) and bool(gone))
            values[scale.name] += _ends(f"{branches} branches", row)
    return Finding(
        "Diffusion information falls as labels are corrupted, and is zero for random labels.",
        agreement(outcomes),
        "Bits from clean labels to random ones",
        values,
        "By the published equation the deficit of few samples of a class is there for any labels; "
        "the authors' code takes it out.",
        "fig. 3 B",
        n=f"{size.runs} runs",
        settings=f"zero is less than {_NEAR:.0%} of the clean value",
    )


def _classic_tree_finding(arrays: Arrays, size: ToySize) -> Finding:
    rows = arrays["tree binned"].mean(axis=0)
    kept = 100 * rows[:, -1] / np.maximum(rows[:, 0], 1e-12)
    return Finding(
        "Classic information does not follow the corruption of labels.",
        agreement(bool(share > 90) for share in kept),
        "With random labels, in % of that with clean ones",
        [
            Value(f"{n} branches", share, form=".0f")
            for n, share in zip(BRANCHES, kept, strict=True)
        ],
        figure="fig. 3 B",
        n=f"{size.runs} runs",
        settings="ten bins of equal shares in each of 20 dimensions",
    )


def blob_findings(arrays: Arrays, size: BlobSize) -> list[Finding]:
    """Return the findings of figures 4 and 5."""
    names = [str(name) for name in arrays["methods"]]
    corruption = arrays["corruption"].mean(axis=0)
    usable = corruption[-1, :, -1] < _BLIND * corruption[-1, :, 0]
    decays = [_decay_finding(arrays, size, kind, usable) for kind in CENTERS]
    seconds = _time_finding(names, arrays["seconds"], size)
    return [corruption_finding(names, corruption, size), *decays, seconds]


def corruption_finding(names: list[str], values: np.ndarray, size: BlobSize) -> Finding:
    """Return whether information (panels, methods, corruptions) vanishes with corrupted labels."""
    clean = np.maximum(values[..., 0], 1e-12)
    near = (np.abs(values[..., -1]) < _GONE * clean).all(axis=0)
    rows = {
        name: [
            value
            for d, row in zip(CORRUPTED_DIMENSIONS, panels, strict=True)
            for value in _ends(f"{d} dimensions", row)
        ]
        for name, panels in zip(names, values.swapaxes(0, 1), strict=True)
    }
    return Finding(
        "All methods gradually approach zero when the labels are corrupted.",
        agreement(np.atleast_1d(near).tolist()),
        "Bits from clean labels to random ones",
        rows,
        figure="fig. 4, left panels",
        n=f"{size.runs} runs of {size.samples} samples",
        settings=f"near zero is less than {_GONE:.0%} of the clean value in both panels; the paper "
        "does not say what its blobs are",
    )


def _decay_finding(arrays: Arrays, size: BlobSize, kind: str, usable: np.ndarray) -> Finding:
    """Return whether diffusion information decays least with the dimension of blobs of a kind."""
    names = [str(name) for name in arrays["methods"]]
    rows = arrays[f"{kind} dimension"].mean(axis=0)
    kept = np.where(usable, rows[:, -1] / np.maximum(rows[:, 0], 1e-12), -np.inf)
    values = {name: _ends("", row) for name, row in zip(names, rows, strict=True)}
    values["truth"] = _ends("", arrays[f"{kind} dimension truth"].mean(axis=0))
    blind = [name for name, able in zip(names, usable, strict=True) if not able]
    return Finding(
        "Diffusion information decays more slowly with the dimension of data than classic "
        f"information, neighbors and MINE ({CENTERS[kind]}).",
        agreement(bool(share > kept[len(SCALES) :].max()) for share in kept[: len(SCALES)]),
        f"Bits from {size.dimensions[0]} to {size.dimensions[-1]} dimensions",
        values,
        f"Left out, since random labels in {CORRUPTED_DIMENSIONS[-1]} dimensions have a fifth or "
        "more of the information of clean ones, a value that stays for its ceiling: "
        f"{', '.join(blind) or 'none'}.",
        "fig. 4",
        n=f"{size.runs} runs of {size.samples} samples",
        settings="compared by the share of the first value that is left, as the scale of diffusion "
        "information is not Shannon's",
    )


def _time_finding(names: list[str], seconds: np.ndarray, size: BlobSize) -> Finding:
    """Return whether the run time (methods, dimensions) of diffusion information grows least."""
    grows = seconds[:, -1] / seconds[:, 0]
    own = len(SCALES)
    least = [bool(factor <= grows[own:].min()) for factor in grows[:own]]
    slow = [bool(value > seconds[own:, 0].min()) for value in seconds[:own, 0]]
    return Finding(
        "The run time of diffusion information grows least with the dimension; at few dimensions "
        "it is not the quickest.",
        agreement([*least, *slow]),
        f"Seconds from {size.dimensions[0]} to {size.dimensions[-1]} dimensions",
        {
            name: _ends("", row, ".3f", f"times {factor:.1f}")
            for name, row, factor in zip(names, seconds, grows, strict=True)
        },
        figure="fig. 5",
        n="shortest of some runs",
        settings="on a machine that may do other things; this project's own code",
    )
