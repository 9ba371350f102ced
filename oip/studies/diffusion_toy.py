"""Toy data: spectra of matrices, manifolds of a dimension, trees with branches, Gaussian blobs."""

from __future__ import annotations

import itertools
import math
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from oip.core import seeds
from oip.core.plots import figure
from oip.core.units import bits, plural
from oip.studies import panels
from oip.studies.diffusion_training import (
    SCALES,
    class_information,
    corrupted,
    corrupted_information,
    subset_information,
)
from oip.studies.findings import Finding, Value, agreement, finding, named_values
from oip.studies.report import Arrays, Folder

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
LABELS = 5
"""Classes of the random labels of a single cluster."""
_NOISY = 5
_NEAR = 0.05  # share of a whole that counts as nothing
_GONE = 0.1  # share of the clean value under which information of random labels is near zero
_BLIND = 0.2
"""Share of the clean value from which information of random labels is that of a ceiling."""
_SPREAD = 3.0  # deviation of the centers in every coordinate, that of a blob being 1
CLASSIC = {f"binned {count}": f"classic, {count} bins" for count in BINS}
"""Name in arrays -> label."""
_NAMES = {**{scale.name: scale.label for scale in SCALES}, **CLASSIC}
_ELEVEN, _SIX = (tuple(np.linspace(0, 1, n).round(1).tolist()) for n in (11, 6))
Judged = tuple[list[bool], dict[str, list[Value]]]
"""Outcomes of a finding, and its values."""


@dataclass(frozen=True)
class ToySize:
    """Numbers of the toy data of figures 2 and 3; by default the paper's."""

    samples: int = 500
    sizes: tuple[int, ...] = (50, 100, 200, 500)  # of the matrices
    weights: tuple[float, ...] = _ELEVEN  # of the identity
    dimensions: tuple[int, ...] = tuple(2**power for power in range(11))  # of the manifolds
    corruptions: tuple[float, ...] = _ELEVEN
    runs: int = 5
    times: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)  # of the diffusion of figure 2
    deviations: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # about 5 centers


FULL_TOYS = ToySize()
QUICK_TOYS = ToySize(
    sizes=(50, 100, 200),
    weights=_SIX,
    dimensions=ToySize.dimensions[::2],
    corruptions=(0.0, 0.25, 0.5, 0.75, 1.0),
    runs=3,
)


def texts_of(size: ToySize | BlobSize) -> dict[str, int]:
    """Return numbers of toys or blobs for the names in braces of findings and captions."""
    limits = {"least": size.dimensions[0], "most": size.dimensions[-1]}
    return {"runs": size.runs, "samples": size.samples, **limits}


def classic_estimators() -> dict[str, LabelEstimator]:
    """Return name in arrays -> classic entropy and information, of bins of equal width."""
    from oip.mi.estimators.base import label_estimator

    return {
        name: label_estimator("binning", by="minmax", count=count, corrected=False)
        for name, count in zip(CLASSIC, BINS, strict=True)
    }


def toy_information(folder: Folder, size: ToySize) -> Arrays:
    """Return the numbers of figures 2 and 3, in bits; every run is a part of the study's folder.

    Returns:
        `identity` (runs, sizes, weights); of each kind K of manifold and scale S, or classic
        estimator, `K S` (runs, dimensions); of each of them `tree S` (runs, branches, corruptions);
        of each scale `clusters S` (runs, numbers of clusters, times), and at the longest time
        `cluster labels S` (runs, numbers of clusters) and `cluster noise S` (runs, deviations); of
        each classic estimator C, from subsets, `subsets C` (runs, branches, corruptions).
    """
    seed = folder.settings.seed

    def measured(run: int) -> Arrays:
        row = folder.part(f"toys/run-{run}", partial(_toy_run, size, seed, run))
        row |= folder.part(f"toys/clusters-{run}", partial(_clusters_run, size, seed, run))
        return row | folder.part(f"toys/subsets-{run}", partial(_subsets_run, size, seed, run))

    rows = folder.results("toy data", range(size.runs), "toys/both-{}".format, measured)
    return {name: np.stack([row[name] for row in rows.values()]) for name in rows[0]}


def _toy_run(size: ToySize, seed: int, run: int) -> Arrays:
    from oip.mi.estimators.renyi import matrix_entropy

    entropies = {scale.name: scale.entropy for scale in SCALES} | classic_estimators()
    informations = {scale.name: scale.information for scale in SCALES} | classic_estimators()
    arrays: dict[str, list] = defaultdict(list)
    rng = seeds.generator(seed, "toys", run)
    for n in size.sizes:
        matrix = random_positive(n, rng)
        mixed = [weight * np.eye(n) + (1 - weight) * matrix for weight in size.weights]
        arrays["identity"].append([matrix_entropy(matrix, 1.0) for matrix in mixed])
    for kind, d in itertools.product(MANIFOLDS, size.dimensions):
        x = manifold(kind, d, size.samples, rng)
        for name, estimator in entropies.items():
            arrays[f"{kind} {name}"].append(estimator.entropy(x, seed).nats)
    for branches in BRANCHES:
        x, codes = tree(branches, size.samples, rng)
        labels = [corrupted(codes, share, rng) for share in size.corruptions]
        for name, estimator in informations.items():
            row = [class_information(estimator, x, label, seed) for label in labels]
            arrays[f"tree {name}"].append(row)
    for count in CLUSTERS:
        x = clusters(count, size.samples, rng)
        for scale in SCALES:
            row = [replace(scale.entropy, time=t).entropy(x, seed).nats for t in size.times]
            arrays[f"clusters {scale.name}"].append(row)
    return {name: bits(np.array(values)) for name, values in arrays.items()}


def _clusters_run(size: ToySize, seed: int, run: int) -> Arrays:
    from oip.mi.estimators.base import label_estimator

    arrays: dict[str, list] = defaultdict(list)
    rng = seeds.generator(seed, "clusters", run)
    for count in CLUSTERS:
        x = clusters(count, size.samples, rng)
        codes = np.arange(size.samples) % count
        codes = codes if count > 1 else rng.integers(0, LABELS, size.samples)
        for scale in SCALES:
            estimator = label_estimator("dsmi", **dict(scale.settings), time=size.times[-1])
            value = class_information(estimator, x, codes, seed)
            arrays[f"cluster labels {scale.name}"].append(value)
    for deviation in size.deviations:
        x = clusters(_NOISY, size.samples, seeds.generator(seed, "noise", run), deviation)
        for scale in SCALES:
            value = replace(scale.entropy, time=size.times[-1]).entropy(x, seed).nats
            arrays[f"cluster noise {scale.name}"].append(value)
    return {name: bits(np.array(values)) for name, values in arrays.items()}


def _subsets_run(size: ToySize, seed: int, run: int) -> Arrays:
    arrays: dict[str, list] = defaultdict(list)
    rng = seeds.generator(seed, "subsets", run)
    for branches in BRANCHES:
        x, codes = tree(branches, size.samples, rng)
        labels = [corrupted(codes, share, rng) for share in size.corruptions]
        for name, estimator in classic_estimators().items():
            row = [subset_information(estimator, x, label, rng) for label in labels]
            arrays[f"subsets {name}"].append(row)
    return {name: bits(np.array(values)) for name, values in arrays.items()}


def clusters(
    count: int, samples: int, rng: np.random.Generator, deviation: float = 1.0
) -> np.ndarray:
    """Return points (samples, 20) of so many Gaussians whose centers are far from each other."""
    centers = _FAR * rng.normal(size=(count, TREE_DIMENSIONS))
    noise = deviation * rng.normal(size=(samples, TREE_DIMENSIONS))
    return centers[np.arange(samples) % count] + noise


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
        rows = np.flatnonzero(codes == branch)
        steps = rng.normal(size=(4, TREE_DIMENSIONS))
        steps += 2 * rng.normal(size=TREE_DIMENSIONS)  # away from the origin on the whole
        corners = np.concatenate([np.zeros((1, TREE_DIMENSIONS)), np.cumsum(steps, axis=0)])
        along = rng.uniform(0, 4, len(rows))
        piece = np.minimum(along.astype(int), 3)
        x[rows] = corners[piece] + (along - piece)[:, None] * steps[piece]
    return x + 0.1 * rng.normal(size=x.shape), codes


@dataclass(frozen=True)
class BlobSize:
    """Numbers of the blobs of figures 4 and 5; by default the paper's."""

    samples: int = 5_000
    corruptions: tuple[float, ...] = _SIX
    dimensions: tuple[int, ...] = (2, 5, 10, 20, 50, 100, 250, 500, 1000, 2000)
    runs: int = 5
    steps: int = 1_500  # of the training of MINE
    timings: int = 3  # repetitions of which the shortest time counts


FULL_BLOBS = BlobSize()
QUICK_BLOBS = BlobSize(1_000, (0.0, 0.5, 1.0), (2, 10, 50, 250, 1000), 2, steps=400, timings=2)


def blob_estimators(steps: int, dimensions: int) -> dict[str, LabelEstimator]:
    """Return label -> estimator; the authors' kernel is as wide as blobs of so many dimensions."""
    from oip.mi.estimators.base import label_estimator

    reference = label_estimator("dsmi", reference=True, sigma=math.sqrt(dimensions))
    classic = classic_estimators()
    return {
        "DSMI, sigma sqrt(d), as in the authors' code": reference,
        f"DSMI, {SCALES[1].label}": SCALES[1].information,
        **{label: classic[name] for name, label in CLASSIC.items()},
        "neighbors (Ross)": label_estimator("ksg"),
        "MINE": label_estimator("mine", steps=steps),
    }


def blob_information(folder: Folder, size: BlobSize) -> Arrays:
    """Return the numbers of figures 4 and 5; each estimator of each panel and run is a part.

    Returns:
        `methods`; `corruption` (runs, panels, methods, corruptions) and of each kind K of blobs
        `K dimension` (runs, methods, dimensions) in bits, and with ` truth` after the name, of the
        same shapes without methods; `seconds` (methods, dimensions).
    """
    methods = list(blob_estimators(size.steps, CORRUPTED_DIMENSIONS[0]))
    panel_names = [*(f"corrupted-{d}" for d in CORRUPTED_DIMENSIONS), *CENTERS]
    measures = [*(partial(_corruption_estimates, d=d) for d in CORRUPTED_DIMENSIONS)]
    measures += [partial(_dimension_estimates, kind=kind) for kind in CENTERS]

    def file_name(item: tuple[int, int]) -> str:
        return "blobs/run-{}-method-{}".format(*item)

    def measured(item: tuple[int, int]) -> dict[str, Arrays]:
        run, row = item
        seed = folder.settings.seed
        return {
            panel: folder.part(
                f"{file_name(item)}-{panel}", partial(measure, size, methods[row], run, seed)
            )
            for panel, measure in zip(panel_names, measures, strict=True)
        }

    work = itertools.product(range(size.runs), range(len(methods)))
    by_panel = folder.results("blobs", work, file_name, measured)

    def stacked(name: str, panel: str) -> np.ndarray:
        """Return an array (runs, methods, ...)."""
        rows = np.array([arrays[panel][name] for arrays in by_panel.values()])
        return rows.reshape(size.runs, len(methods), *rows.shape[1:])

    corrupted_panels = panel_names[: len(CORRUPTED_DIMENSIONS)]
    values, truths = (
        np.stack([stacked(name, panel) for panel in corrupted_panels], axis=1)
        for name in ("value", "truth")
    )
    seconds = np.min([stacked("seconds", kind).min(axis=0) for kind in CENTERS], axis=0)
    arrays = {"methods": np.array(methods), "corruption": values, "seconds": seconds}
    arrays["corruption truth"] = truths[:, :, 0]
    for kind in CENTERS:
        arrays[f"{kind} dimension"] = stacked("value", kind)
        arrays[f"{kind} dimension truth"] = stacked("truth", kind)[:, 0]
    return arrays


def _corruption_estimates(size: BlobSize, method: str, run: int, seed: int, d: int) -> Arrays:
    """Return `value` and `truth` (corruptions,) in bits, of one estimator."""
    estimator = blob_estimators(size.steps, d)[method]
    rng = seeds.generator(seed, "blobs", run)
    x, codes, centers = blobs("noise", d, size.samples, rng)
    labels = [corrupted(codes, share, rng) for share in size.corruptions]
    values = [class_information(estimator, x, label, seed) for label in labels]
    truth = [blob_truth(x, centers, share) for share in size.corruptions]
    return {"value": bits(np.array(values)), "truth": bits(np.array(truth))}


def _dimension_estimates(size: BlobSize, method: str, run: int, seed: int, kind: str) -> Arrays:
    """Return `value` and `truth` in bits and the shortest of `seconds`, (dimensions,).

    The first run of the first kind is timed several times.
    """
    times = size.timings if run == 0 and kind == next(iter(CENTERS)) else 1
    rows = []
    for d in size.dimensions:
        estimator = blob_estimators(size.steps, d)[method]
        # The same plane of centers for all dimensions: it is drawn first.
        x, codes, centers = blobs(kind, d, size.samples, seeds.generator(seed, "blobs", run))
        seconds = []
        for _ in range(times):
            started = time.perf_counter()
            value = class_information(estimator, x, codes, seed)
            seconds.append(time.perf_counter() - started)
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
        noise_coordinates = _SPREAD * rng.normal(size=(CLASSES, d - 2))
        centers = np.concatenate([plane, noise_coordinates], axis=1)
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


def _ends(name: str, runs: np.ndarray, form: str = ".2f", remark: str = "") -> list[Value]:
    """Return the first and the last number of curves (runs, n), or of one (n,)."""
    first, last = (Value.mean_of(np.atleast_2d(runs)[:, end], form=form) for end in (0, -1))
    return [first.named(f"{name} from".strip()), last.named("to", remark=remark)]


def _mean_values(names: Iterable[object], runs: np.ndarray, form: str = ".2f") -> list[Value]:
    """Return the means of numbers (runs, n) of these names, with their intervals."""
    return [
        Value.mean_of(column, str(name), form) for name, column in zip(names, runs.T, strict=True)
    ]


def add_toys(folder: Folder, size: ToySize) -> None:
    """Measure toys, draw figures 2 and 3 and add their findings."""
    arrays = toy_information(folder, size)
    draw_clusters(folder, arrays, size)
    draw_toys(folder, arrays, size)
    constants = {**texts_of(size), "near": _NEAR, "time": size.times[-1]}
    for name, judge in {
        "clusters": _clusters,
        "cluster_labels": _cluster_labels,
        "cluster_noise": _cluster_noise,
        "identity": _identity,
        "dimension": _dimension,
        "tree": _tree,
        "classic_tree": _classic_tree,
    }.items():
        outcomes, values = judge(arrays, size)
        folder.add(finding(NAME, name, agreement(outcomes), values, **constants))


def _clusters(arrays: Arrays, size: ToySize) -> Judged:
    values, outcomes = {}, []
    for scale in SCALES:
        last = arrays[f"clusters {scale.name}"][..., -1]
        values[scale.short] = _mean_values((plural(count, "cluster") for count in CLUSTERS), last)
        is_near = np.abs(last.mean(axis=0) - np.log2(CLUSTERS)) < _NEAR
        outcomes.append(bool(is_near.all()))
    return outcomes, values


def _cluster_labels(arrays: Arrays, size: ToySize) -> Judged:
    values, outcomes = {}, []
    for scale in SCALES:
        runs = arrays[f"cluster labels {scale.name}"]
        names = ("1 cluster, random labels" if n == 1 else plural(n, "cluster") for n in CLUSTERS)
        values[scale.short] = _mean_values(names, runs)
        outcomes += (np.abs(runs.mean(axis=0) - np.log2(CLUSTERS)) < _NEAR).tolist()
    return outcomes, values


def _cluster_noise(arrays: Arrays, size: ToySize) -> Judged:
    values, outcomes = {}, []
    for scale in SCALES:
        runs = arrays[f"cluster noise {scale.name}"]
        names = (f"deviation {width:g}" for width in size.deviations)
        values[scale.short] = _mean_values(names, runs)
        outcomes += (np.abs(runs.mean(axis=0) - np.log2(_NOISY)) < _NEAR).tolist()
    return outcomes, values


def _identity(arrays: Arrays, size: ToySize) -> Judged:
    curves = dict(zip(size.sizes, arrays["identity"].swapaxes(0, 1), strict=True))
    values = {f"n {n}": _ends("", runs) for n, runs in curves.items()}
    return [rising(runs.mean(axis=0)) for runs in curves.values()], values


def _dimension(arrays: Arrays, size: ToySize) -> Judged:
    values, outcomes = {}, []
    for scale in SCALES:
        values[scale.short] = []
        for kind in MANIFOLDS:
            runs = arrays[f"{kind} {scale.name}"]
            outcomes.append(rising(runs.mean(axis=0)))
            remark = "" if outcomes[-1] else "not at every step"
            values[scale.short] += _ends(kind, runs, remark=remark)
    classic = np.array([arrays[f"{kind} {name}"] for kind in MANIFOLDS for name in CLASSIC])
    ceiling = float(np.log2(size.samples))
    values["classic"] = named_values(("least", "log n"), (classic.min(), ceiling))
    outcomes.append(bool((classic >= (1 - 1e-3) * ceiling).all()))
    return outcomes, values


def _tree(arrays: Arrays, size: ToySize) -> Judged:
    values, outcomes = {}, []
    for scale in SCALES:
        values[scale.short] = []
        curves = arrays[f"tree {scale.name}"].swapaxes(0, 1)
        for branches, runs in zip(BRANCHES, curves, strict=True):
            row = runs.mean(axis=0)
            vanished = abs(row[-1]) < _NEAR * max(row[0], 1e-12)
            outcomes.append(rising(-row) and bool(vanished))
            values[scale.short] += _ends(f"{branches} branches", runs)
    return outcomes, values


def _classic_tree(arrays: Arrays, size: ToySize) -> Judged:
    values, outcomes = {}, []
    for name, label in CLASSIC.items():
        runs = arrays[f"tree {name}"]
        share_kept = 100 * runs[..., -1] / np.maximum(runs[..., 0], 1e-12)
        values[label] = _mean_values((f"{n} branches" for n in BRANCHES), share_kept, ".0f")
        outcomes += (share_kept.mean(axis=0) > 90).tolist()
    for name, label in CLASSIC.items():
        group = values[f"{label}, from random subsets, bits"] = []
        for branches, runs in zip(BRANCHES, arrays[f"subsets {name}"].swapaxes(0, 1), strict=True):
            clean, random = _ends(f"{branches} branches", runs)
            outcomes.append(clean.above(random) is not True)
            group += [clean, random]
    return outcomes, values


def add_blobs(folder: Folder, size: BlobSize) -> None:
    """Measure blobs, draw figures 4 and 5 and add their findings."""
    arrays = blob_information(folder, size)
    draw_blobs(folder, arrays, size)
    names = arrays["methods"].tolist()
    last = arrays["corruption"].mean(axis=0)[-1]
    usable = last[:, -1] < _BLIND * last[:, 0]
    folder.add(
        corruption_finding(names, arrays["corruption"], size),
        *(_decay_finding(arrays, size, kind, usable) for kind in CENTERS),
        _time_finding(names, arrays["seconds"], size),
    )


def corruption_finding(names: list[str], information: np.ndarray, size: BlobSize) -> Finding:
    """Return whether information vanishes with corrupted labels.

    Args:
        names: of the methods.
        information: (runs, panels, methods, corruptions) in bits.
        size: of the blobs.
    """
    means = information.mean(axis=0)
    clean = np.maximum(means[..., 0], 1e-12)
    is_gone = np.all(np.abs(means[..., -1]) < _GONE * clean, axis=0).tolist()
    end_values: dict[str, list[Value]] = {name: [] for name in names}
    for panel, d in enumerate(CORRUPTED_DIMENSIONS):
        for row, name in enumerate(names):
            end_values[name] += _ends(f"{d} dimensions", information[:, panel, row])
    return finding(NAME, "corruption", agreement(is_gone), end_values, **texts_of(size), gone=_GONE)


def _decay_finding(arrays: Arrays, size: BlobSize, kind: str, usable: np.ndarray) -> Finding:
    """Return whether diffusion information decays least with the dimension of blobs of a kind."""
    names = arrays["methods"].tolist()
    runs = arrays[f"{kind} dimension"]
    rows = runs.mean(axis=0)
    share_kept = np.where(usable, rows[:, -1] / np.maximum(rows[:, 0], 1e-12), -np.inf)
    values = {name: _ends("", runs[:, row]) for row, name in enumerate(names)}
    values["truth"] = _ends("", arrays[f"{kind} dimension truth"])
    blind = [name for name, able in zip(names, usable, strict=True) if not able]
    count = len(SCALES)
    best_rival = share_kept[count:].max()
    slower = [
        None if min(share, best_rival) >= 1 else bool(share > best_rival)
        for share in share_kept[:count]
    ]
    constants = {"centers": CENTERS[kind], "corrupted": CORRUPTED_DIMENSIONS[-1]}
    constants["blind"] = ", ".join(blind) or "none"
    return finding(NAME, "decay", agreement(slower), values, **texts_of(size), **constants)


def _time_finding(names: list[str], seconds: np.ndarray, size: BlobSize) -> Finding:
    """Return whether the run time (methods, dimensions) of diffusion information grows least."""
    grows = seconds[:, -1] / seconds[:, 0]
    count = len(SCALES)
    fastest = (grows[:count] <= grows[count:].min()).tolist()
    slow = (seconds[:count, 0] > seconds[count:, 0].min()).tolist()
    values = {
        name: _ends("", row, ".3f", f"times {factor:.1f}")
        for name, row, factor in zip(names, seconds, grows, strict=True)
    }
    return finding(NAME, "run_time", agreement(fastest + slow), values, **texts_of(size))


def draw_clusters(folder: Folder, arrays: Arrays, size: ToySize) -> None:
    """Draw the entropy of clusters over the diffusion time, and information (figure 2 C and D)."""
    drawing, grid = figure(7.0, 2.6, 1, len(SCALES) + 1)
    numbers = {"times": np.array(size.times)}
    for axes, scale in zip(grid[0], SCALES, strict=False):
        rows = numbers[f"clusters {scale.name}"] = arrays[f"clusters {scale.name}"]
        series = {f"k = {count}": rows[:, index] for index, count in enumerate(CLUSTERS)}
        panels.curves(axes, size.times, series)
        for index, count in enumerate(CLUSTERS):
            axes.axhline(math.log2(count), color=panels.color(index), ls=":", lw=0.8)
        axes.set(xlabel="diffusion time t", ylabel="entropy (bits)", xscale="log")
        axes.set_title(scale.label, fontsize=7)
    grid[0, 0].legend(frameon=False, fontsize=6)
    axes, ticks = grid[0, -1], np.arange(len(CLUSTERS))
    axes.hlines(np.log2(CLUSTERS), ticks - 0.4, ticks + 0.4, "black", lw=0.8, label="log2 k")
    for index, scale in enumerate(SCALES):
        rows = numbers[f"information {scale.name}"] = arrays[f"cluster labels {scale.name}"]
        panels.error_bars(axes, ticks + 0.2 * index - 0.1, rows, index, scale.short, line="")
    axes.set_xticks(ticks, list(map(str, CLUSTERS)))
    axes.set(xlabel="clusters k", ylabel="I(X;Y) (bits)")
    axes.legend(frameon=False, fontsize=6)
    caption = folder.caption("clusters", "", time=size.times[-1], **texts_of(size))
    folder.figure("clusters", drawing, caption, numbers)


def draw_toys(folder: Folder, arrays: Arrays, size: ToySize) -> None:
    """Draw entropy over the identity's weight and dimension; information over corruption."""
    drawing, grid = figure(7.0, 4.6, 2, 3)
    axes = grid[0, 0]
    series = {f"n = {n}": arrays["identity"][:, index] for index, n in enumerate(size.sizes)}
    panels.curves(axes, size.weights, series)
    for index, n in enumerate(size.sizes):
        axes.axhline(math.log2(n), color=panels.color(index), ls=":", lw=0.8)
    axes.set(xlabel="weight of the identity", ylabel="entropy (bits)", title="matrices")
    axes.legend(frameon=False, loc="lower right", fontsize=6)
    for axes, kind in zip(grid[0, 1:], MANIFOLDS, strict=True):
        series = {label: arrays[f"{kind} {name}"] for name, label in _NAMES.items()}
        panels.curves(axes, size.dimensions, series)
        panels.ceiling(axes, math.log2(size.samples), ":")
        axes.set_xscale("log", base=2)
        axes.set(
            xlabel="intrinsic dimension",
            ylabel="entropy (bits)",
            title=f"{kind}, in 2,048 dimensions",
        )
    for row, (axes, branches) in enumerate(zip(grid[1], BRANCHES, strict=True)):
        series = {label: arrays[f"tree {name}"][:, row] for name, label in _NAMES.items()}
        truth = [corrupted_information(branches, share) for share in size.corruptions]
        panels.curves(axes, size.corruptions, series, truth)
        axes.set(xlabel="labels corrupted", ylabel="I(Z;Y) (bits)", title=f"{branches} branches")
    panels.legend_below(drawing, grid[1, 0], 2)
    axes_of_toys = ("weights", "dimensions", "corruptions")
    settings = {name: np.array(getattr(size, name)) for name in axes_of_toys}
    caption = folder.caption("toys", "", **texts_of(size))
    folder.figure("toys", drawing, caption, settings | arrays)


def draw_blobs(folder: Folder, arrays: Arrays, size: BlobSize) -> None:
    """Draw estimators over corruption and dimension, and their run time (figures 4 and 5)."""
    drawing, grid = figure(7.0, 4.6, 2, 3)

    def by_method(values: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(arrays["methods"].tolist(), values.swapaxes(0, 1), strict=True))

    for panel, (axes, d) in enumerate(zip(grid[0], CORRUPTED_DIMENSIONS, strict=False)):
        truth = arrays["corruption truth"][:, panel].mean(axis=0)
        panels.curves(axes, size.corruptions, by_method(arrays["corruption"][:, panel]), truth)
        axes.set(xlabel="labels corrupted", ylabel="I(X;Y) (bits)", title=f"{d} dimensions")
    for axes, (kind, title) in zip(grid[1], CENTERS.items(), strict=False):
        truth = arrays[f"{kind} dimension truth"].mean(axis=0)
        panels.curves(axes, size.dimensions, by_method(arrays[f"{kind} dimension"]), truth)
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
    repetitions = size.timings + 2 * size.runs - 1
    numbers = {"classes": CLASSES, "repetitions": repetitions}
    caption = folder.caption("blobs", "", **texts_of(size), **numbers)
    folder.figure("blobs", drawing, caption, settings | arrays)
