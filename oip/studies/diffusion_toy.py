"""Toy data: spectra of matrices, manifolds of a dimension, trees with branches, Gaussian blobs."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from oip.core import seeds
from oip.core.plots import figure
from oip.core.progress import Progress
from oip.core.units import bits
from oip.studies import panels
from oip.studies.diffusion_training import (
    SCALES,
    class_information,
    corrupted,
    corrupted_information,
)
from oip.studies.findings import Finding, Value, agreement, finding, named_values
from oip.studies.report import Folder, tracked
from oip.studies.trained import Arrays

if TYPE_CHECKING:
    from oip.mi.estimators.base import LabelEstimator

NAME = "diffusion"
WIDE = 2_048
"""Dimensions that the manifolds lie in."""
BRANCHES = (2, 5, 10)
TREE_DIMENSIONS = 20
NOISE = 0.01
"""Standard deviation in every one of the wide dimensions."""
MANIFOLDS = ("uniform", "normal")
CLASSES = 3
"""Blobs, as in the authors' script; their sigma is sqrt(d)."""
BINS = (2, 5, 10, 100)
"""Of each coordinate from its smallest to its largest value, in the authors' classic entropy."""
CLUSTERS = (1, 2, 5, 10)
_FAR = 60.0
"""Deviation of the centers of clusters in each of 20 dimensions, that of a cluster being 1."""
CENTERS = {"noise": "information in two of the dimensions", "spread": "information in all of them"}
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
CLASSIC = {f"binned {count}": f"classic, {count} bins" for count in BINS}
"""Name in arrays -> label."""
_NAMES = {**{scale.name: scale.label for scale in SCALES}, **CLASSIC}
Judged = tuple[list[bool], dict[str, list[Value]] | list[Value]]
"""Outcomes of a finding, and its values."""


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
    times: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)
    """Of the diffusion of figure 2."""


def classic_estimators() -> dict[str, LabelEstimator]:
    """Return name in arrays -> classic entropy and information, of bins of equal width."""
    from oip.mi.estimators.base import label_estimator

    return {
        name: label_estimator("binning", by="minmax", count=count, corrected=False)
        for name, count in zip(CLASSIC, BINS, strict=True)
    }


def toy_information(size: ToySize, seed: int, progress: Progress, folder: Folder) -> Arrays:
    """Return the numbers of figures 2 and 3, in bits; every run is a part of the study's folder.

    Returns:
        `identity` (runs, sizes, weights); of each kind K of manifold and scale S, or classic
        estimator, `K S` (runs, dimensions); of each of them `tree S` (runs, branches, corruptions);
        of each scale `clusters S` (runs, numbers of clusters, times).
    """
    rows = [
        folder.part(f"toys/run-{run}", _toy_run, size, seed, run)
        for run in tracked(progress, "toy data", range(size.runs))
    ]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _toy_run(size: ToySize, seed: int, run: int) -> Arrays:
    from oip.mi.estimators.renyi import matrix_entropy

    entropies = {scale.name: scale.entropy for scale in SCALES} | classic_estimators()
    informations = {scale.name: scale.information for scale in SCALES} | classic_estimators()
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
    for count in CLUSTERS:
        x = clusters(count, size.samples, rng)
        for scale in SCALES:
            row = [replace(scale.entropy, time=t).entropy(x, seed).nats for t in size.times]
            arrays.setdefault(f"clusters {scale.name}", []).append(row)
    return {name: bits(np.array(values)) for name, values in arrays.items()}


def clusters(count: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return points (samples, 20) of so many unit Gaussians that are far from each other."""
    centers = _FAR * rng.normal(size=(count, TREE_DIMENSIONS))
    return centers[np.arange(samples) % count] + rng.normal(size=(samples, TREE_DIMENSIONS))


def random_positive(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random symmetric positive definite matrix (size, size) with a trace of its size.

    A A^T with A uniform in (0, 1), so that its elements are positive, as a diffusion matrix's are.
    """
    a = rng.random((size, size))
    matrix = a @ a.T
    return matrix * size / np.trace(matrix)


def manifold(kind: str, d: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return points (count, 2048) of a random linear subspace of d dimensions, with noise in all.

    Their coordinates are `uniform` in [-1, 1], or `normal`.
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


def blob_estimators(steps: int, dimensions: int) -> dict[str, LabelEstimator]:
    """Return label -> estimator; the authors' kernel is as wide as blobs of so many dimensions."""
    from oip.mi.estimators.base import label_estimator

    reference = label_estimator("dsmi", reference=True, sigma=math.sqrt(dimensions))
    classic = classic_estimators()
    return {
        "DSMI, sigma sqrt(d), as in the authors' code": reference,
        f"DSMI, {SCALES[1].label}": SCALES[1].information,
        **{label: classic[name] for name, label in CLASSIC.items()},
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
    estimators = blob_estimators(size.steps, CORRUPTED_DIMENSIONS[0])
    work = list(itertools.product(range(size.runs), enumerate(estimators)))
    parts: dict[tuple[int, int, int | str], Arrays] = {}
    for run, (row, method) in tracked(progress, "blobs", work):
        name = f"blobs/run-{run}-method-{row}"
        for d in CORRUPTED_DIMENSIONS:
            arguments = size, method, d, run, seed
            parts[run, row, d] = folder.part(f"{name}-corrupted-{d}", _over_corruption, *arguments)
        for kind in CENTERS:
            arguments = size, method, kind, run, seed
            parts[run, row, kind] = folder.part(f"{name}-{kind}", _over_dimension, *arguments)

    def stacked(panel: int | str, name: str) -> np.ndarray:
        """Return an array (runs, methods, ...)."""
        rows = range(len(estimators))
        return np.array(
            [[parts[run, row, panel][name] for row in rows] for run in range(size.runs)]
        )

    arrays = {
        "methods": np.array(list(estimators)),
        "corruption": np.stack([stacked(d, "value") for d in CORRUPTED_DIMENSIONS], axis=1),
        "corruption truth": np.stack(
            [stacked(d, "truth")[:, 0] for d in CORRUPTED_DIMENSIONS], axis=1
        ),
        "seconds": np.min([stacked(kind, "seconds").min(axis=0) for kind in CENTERS], axis=0),
    }
    for kind in CENTERS:
        arrays[f"{kind} dimension"] = stacked(kind, "value")
        arrays[f"{kind} dimension truth"] = stacked(kind, "truth")[:, 0]
    return arrays


def _over_corruption(size: BlobSize, method: str, d: int, run: int, seed: int) -> Arrays:
    """Return `value` and `truth` (corruptions,) in bits, of one estimator."""
    estimator = blob_estimators(size.steps, d)[method]
    rng = seeds.generator(seed, "blobs", run)
    x, codes, centers = blobs("noise", d, size.samples, rng)
    labels = [corrupted(codes, share, rng) for share in size.corruptions]
    values = [class_information(estimator, x, label, seed) for label in labels]
    truth = [blob_truth(x, centers, share) for share in size.corruptions]
    return {"value": bits(np.array(values)), "truth": bits(np.array(truth))}


def _over_dimension(size: BlobSize, method: str, kind: str, run: int, seed: int) -> Arrays:
    """Return `value` and `truth` in bits and the shortest of `seconds`, (dimensions,).

    The first run of the first kind is timed several times.
    """
    times = size.timings if run == 0 and kind == next(iter(CENTERS)) else 1
    rows = []
    for d in size.dimensions:
        estimator = blob_estimators(size.steps, d)[method]
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
    """Return points (count, d) of three unit Gaussians, their classes, and the centers (3, d).

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
    """Return I(X;Y) in nats of blobs x (n, d), with a share of the labels replaced by chance.

    H(Y) less the mean entropy of p(y|x), as p(x|y) are Gaussians of equal weight.
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
    """Return the findings of figures 2 and 3."""
    constants = {"runs": size.runs, "samples": size.samples, "near": _NEAR}
    constants["time"] = size.times[-1]
    constants |= {"least": size.dimensions[0], "most": size.dimensions[-1]}
    return [
        finding(NAME, name, agreement(outcomes), values, **constants)
        for name, (outcomes, values) in {
            "clusters": _clusters(arrays, size),
            "identity": _identity(arrays, size),
            "dimension": _dimension(arrays, size),
            "tree": _tree(arrays),
            "classic_tree": _classic_tree(arrays),
        }.items()
    ]


def _identity(arrays: Arrays, size: ToySize) -> Judged:
    rows = arrays["identity"].mean(axis=0)
    values = {f"n {n}": _ends("", row) for n, row in zip(size.sizes, rows, strict=True)}
    return [rising(row) for row in rows], values


def _dimension(arrays: Arrays, size: ToySize) -> Judged:
    values, outcomes = {}, []
    for scale in SCALES:
        values[scale.name] = []
        for kind in MANIFOLDS:
            mean = arrays[f"{kind} {scale.name}"].mean(axis=0)
            outcomes.append(rising(mean))
            remark = "" if outcomes[-1] else "not at every step"
            values[scale.name] += _ends(kind, mean, remark=remark)
    classic = np.array(
        [arrays[f"{kind} {name}"].mean(axis=0) for kind in MANIFOLDS for name in CLASSIC]
    )
    most = float(np.log2(size.samples))
    values["classic"] = named_values(("least", "log n"), (classic.min(), most))
    outcomes.append(bool((classic >= (1 - 1e-3) * most).all()))
    return outcomes, values


def _tree(arrays: Arrays) -> Judged:
    values, outcomes = {}, []
    for scale in SCALES:
        rows = arrays[f"tree {scale.name}"].mean(axis=0)
        values[scale.name] = []
        for branches, row in zip(BRANCHES, rows, strict=True):
            gone = abs(row[-1]) < _NEAR * max(row[0], 1e-12)
            outcomes.append(rising(-row) and bool(gone))
            values[scale.name] += _ends(f"{branches} branches", row)
    return outcomes, values


def _classic_tree(arrays: Arrays) -> Judged:
    names = [f"{n} branches" for n in BRANCHES]
    values, outcomes = {}, []
    for name, label in CLASSIC.items():
        rows = arrays[f"tree {name}"].mean(axis=0)
        kept = 100 * rows[:, -1] / np.maximum(rows[:, 0], 1e-12)
        values[label] = named_values(names, kept, ".0f")
        outcomes += [bool(share > 90) for share in kept]
    return outcomes, values


def _clusters(arrays: Arrays, size: ToySize) -> Judged:
    values, outcomes = {}, []
    for scale in SCALES:
        last = arrays[f"clusters {scale.name}"].mean(axis=0)[:, -1]
        names = [f"{count} clusters" for count in CLUSTERS]
        values[scale.name] = named_values(names, last)
        outcomes.append(bool((np.abs(last - np.log2(CLUSTERS)) < _NEAR).all()))
    return outcomes, values


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
    ends = {
        name: [
            value
            for d, row in zip(CORRUPTED_DIMENSIONS, rows, strict=True)
            for value in _ends(f"{d} dimensions", row)
        ]
        for name, rows in zip(names, values.swapaxes(0, 1), strict=True)
    }
    verdict = agreement(np.atleast_1d(near).tolist())
    constants = {"runs": size.runs, "samples": size.samples, "gone": _GONE}
    return finding(NAME, "corruption", verdict, ends, **constants)


def _decay_finding(arrays: Arrays, size: BlobSize, kind: str, usable: np.ndarray) -> Finding:
    """Return whether diffusion information decays least with the dimension of blobs of a kind."""
    names = [str(name) for name in arrays["methods"]]
    rows = arrays[f"{kind} dimension"].mean(axis=0)
    kept = np.where(usable, rows[:, -1] / np.maximum(rows[:, 0], 1e-12), -np.inf)
    values = {name: _ends("", row) for name, row in zip(names, rows, strict=True)}
    values["truth"] = _ends("", arrays[f"{kind} dimension truth"].mean(axis=0))
    blind = [name for name, able in zip(names, usable, strict=True) if not able]
    own = len(SCALES)
    return finding(
        *(NAME, "decay", agreement(bool(share > kept[own:].max()) for share in kept[:own]), values),
        centers=CENTERS[kind],
        least=size.dimensions[0],
        most=size.dimensions[-1],
        corrupted=CORRUPTED_DIMENSIONS[-1],
        blind=", ".join(blind) or "none",
        runs=size.runs,
        samples=size.samples,
    )


def _time_finding(names: list[str], seconds: np.ndarray, size: BlobSize) -> Finding:
    """Return whether the run time (methods, dimensions) of diffusion information grows least."""
    grows = seconds[:, -1] / seconds[:, 0]
    own = len(SCALES)
    least = [bool(factor <= grows[own:].min()) for factor in grows[:own]]
    slow = [bool(value > seconds[own:, 0].min()) for value in seconds[:own, 0]]
    values = {
        name: _ends("", row, ".3f", f"times {factor:.1f}")
        for name, row, factor in zip(names, seconds, grows, strict=True)
    }
    constants = {"least": size.dimensions[0], "most": size.dimensions[-1]}
    return finding(NAME, "run_time", agreement([*least, *slow]), values, **constants)


def draw_toys(folder: Folder, arrays: Arrays, size: ToySize) -> None:
    """Draw entropy over the identity's weight and dimension; information over corruption."""
    drawing, grid = figure(7.0, 4.6, 2, 3)
    axes = grid[0, 0]
    for index, n in enumerate(size.sizes):
        panels.runs(axes, size.weights, arrays["identity"][:, index], index, f"n = {n}")
        axes.axhline(math.log2(n), color=panels.color(index), ls=":", lw=0.8)
    axes.set(xlabel="weight of the identity", ylabel="entropy (bits)", title="matrices")
    axes.legend(frameon=False, loc="lower right", fontsize=6)
    for axes, kind in zip(grid[0, 1:], MANIFOLDS, strict=True):
        for index, (name, label) in enumerate(_NAMES.items()):
            panels.runs(axes, size.dimensions, arrays[f"{kind} {name}"], index, label)
        panels.ceiling(axes, math.log2(size.samples), ":")
        axes.set_xscale("log", base=2)
        axes.set(xlabel="intrinsic dimension", ylabel="entropy (bits)", title=f"{kind} in 2,048")
    for row, (axes, branches) in enumerate(zip(grid[1], BRANCHES, strict=True)):
        for index, (name, label) in enumerate(_NAMES.items()):
            panels.runs(axes, size.corruptions, arrays[f"tree {name}"][:, row], index, label)
        truth = [corrupted_information(branches, share) for share in size.corruptions]
        axes.plot(size.corruptions, truth, color="black", ls="--", lw=0.8, label="truth")
        axes.set(xlabel="labels corrupted", ylabel="I(Z;Y) (bits)", title=f"{branches} branches")
    panels.legend_below(drawing, grid[1, 0], 2)
    axes_of_toys = ("weights", "dimensions", "corruptions")
    settings = {name: np.array(getattr(size, name)) for name in axes_of_toys}
    folder.figure(
        "toys",
        drawing,
        folder.text("toys", samples=size.samples, runs=size.runs),
        settings | arrays,
    )


def draw_clusters(folder: Folder, arrays: Arrays, size: ToySize) -> None:
    """Draw the entropy of clusters over the diffusion time (figure 2)."""
    drawing, grid = figure(6.0, 2.6, 1, len(SCALES))
    for axes, scale in zip(grid[0], SCALES, strict=True):
        rows = arrays[f"clusters {scale.name}"].swapaxes(0, 1)
        for index, (count, values) in enumerate(zip(CLUSTERS, rows, strict=True)):
            panels.runs(axes, size.times, values, index, f"k = {count}")
            axes.axhline(math.log2(count), color=panels.color(index), ls=":", lw=0.8)
        axes.set(xlabel="diffusion time t", ylabel="entropy (bits)", xscale="log")
        axes.set_title(scale.label, fontsize=7)
    grid[0, 0].legend(frameon=False, fontsize=6)
    caption = folder.text("clusters", samples=size.samples, runs=size.runs)
    numbers = {f"clusters {scale.name}": arrays[f"clusters {scale.name}"] for scale in SCALES}
    folder.figure("clusters", drawing, caption, {"times": np.array(size.times), **numbers})


def draw_blobs(folder: Folder, arrays: Arrays, size: BlobSize) -> None:
    """Draw estimators over corruption and dimension, and their run time (figures 4 and 5)."""
    drawing, grid = figure(7.0, 4.6, 2, 3)
    methods = [str(name) for name in arrays["methods"]]
    for panel, (axes, d) in enumerate(zip(grid[0], CORRUPTED_DIMENSIONS, strict=False)):
        for row, label in enumerate(methods):
            panels.runs(axes, size.corruptions, arrays["corruption"][:, panel, row], row, label)
        truth = arrays["corruption truth"][:, panel].mean(axis=0)
        axes.plot(size.corruptions, truth, color="black", ls="--", lw=0.8, label="truth")
        axes.set(xlabel="labels corrupted", ylabel="I(X;Y) (bits)", title=f"{d} dimensions")
    for axes, (kind, title) in zip(grid[1], CENTERS.items(), strict=False):
        for row, label in enumerate(methods):
            panels.runs(axes, size.dimensions, arrays[f"{kind} dimension"][:, row], row, label)
        truth = arrays[f"{kind} dimension truth"].mean(axis=0)
        axes.plot(size.dimensions, truth, "--", color="black", lw=0.8)
        panels.ceiling(axes, math.log2(CLASSES), ":")
        axes.set(xlabel="dimensions", ylabel="I(X;Y) (bits)", xscale="log")
        axes.set_title(title, fontsize=7)
    axes = grid[1, 2]
    for row, seconds in enumerate(arrays["seconds"]):
        axes.plot(size.dimensions, seconds, marker=panels.marker(row), color=panels.color(row))
    axes.set(xlabel="dimensions", ylabel="seconds", title="run time", xscale="log", yscale="log")
    grid[0, 2].set_axis_off()
    grid[0, 2].legend(*grid[0, 0].get_legend_handles_labels(), loc="center", frameon=False)
    settings = {name: np.array(getattr(size, name)) for name in ("corruptions", "dimensions")}
    folder.figure(
        "blobs",
        drawing,
        folder.text(
            "blobs",
            classes=CLASSES,
            samples=size.samples,
            runs=size.runs,
            repetitions=size.timings + 2 * size.runs - 1,
        ),
        settings | arrays,
    )
