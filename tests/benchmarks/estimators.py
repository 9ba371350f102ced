"""How long the estimators take, beside scikit-learn and plain loops; run by hand.

    python tests/benchmarks/estimators.py [ROW...]

Every row is measured once; the seconds that cores spent on it tell what a busy machine added (not
for scikit-learn on several cores, which works in other processes). The loops do the same work as
the estimators in the way one writes it first: a distance matrix a map by `scipy.spatial`, one
exponential, sums over classes; they too shuffle labels on the kernel that is there.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from oip import mi


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    description: str
    limit: float | None
    """Seconds it may take on two cores; None where nothing was promised."""
    make: Callable[[int], Callable[[], object]]
    """Size divided by this -> the work to be measured, its data ready."""


def layer(n: int, maps: int, d: int, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """ReLU-like responses (n, maps, d) that know something of their labels (n,)."""
    rng = np.random.default_rng(0)
    codes = np.arange(n) % classes
    centres = 0.4 * rng.normal(size=(classes, maps, d))
    responses = np.maximum(rng.normal(size=(n, maps, d)) + centres[codes], 0)
    return responses.astype(np.float32), codes


def kde_layer(small: int) -> Callable[[], object]:
    """128 maps with a null of 100 shuffles and no intervals."""
    responses, codes = layer(2000 // small, 128 // small, 121)
    return lambda: mi.estimator("kde").over_maps(responses, codes, shuffles=100)


def kde_loop(small: int) -> Callable[[], object]:
    """The same by `pdist`, map by map and shuffle by shuffle; 8 of the 128 maps."""
    from scipy.spatial.distance import pdist, squareform

    responses, codes = layer(2000 // small, 8, 121)

    def information(kernel: np.ndarray, labels: np.ndarray) -> float:
        entropy = np.log(kernel.mean(axis=1)).mean()
        within = 0.0
        for code in range(10):
            inside = labels == code
            own = kernel[np.ix_(inside, inside)].mean(axis=1)
            within += inside.mean() * np.log(own).mean()
        return within - entropy

    def run() -> list[list[float]]:
        rng = np.random.default_rng(0)
        informations = []
        for index in range(responses.shape[1]):
            distances = pdist(responses[:, index].astype(np.float64), "sqeuclidean")
            kernel = np.exp(squareform(distances) / (-2 * 0.1 * np.median(distances)))
            values = [information(kernel, codes)]
            values += [information(kernel, rng.permutation(codes)) for _ in range(100)]
            informations.append(values)
        return informations

    return run


def kde_intervals(small: int) -> Callable[[], object]:
    """128 maps with 200 halves and no null."""
    responses, codes = layer(2000 // small, 128 // small, 121)
    return lambda: mi.estimator("kde").over_maps(responses, codes, draws=200)


def kde_sweep(small: int) -> Callable[[], object]:
    """16 variances of 32 maps."""
    responses, codes = layer(2000 // small, 32 // small, 121)
    noise = tuple(np.geomspace(1e-3, 10, 16))
    return lambda: mi.estimator("kde").over_variances(responses, codes, noise=noise)


def ranker(name: str) -> Callable[[int], Callable[[], object]]:
    """A network's 224 maps as `rank` asks for them: 1000 samples, null and intervals."""

    def make(small: int) -> Callable[[], object]:
        shapes = ((32, 676), (64, 121), (128, 9))
        layers = [layer(1000 // small, max(1, maps // small), d) for maps, d in shapes]
        estimator = mi.estimator(name)
        shuffles = 1000 if estimator.abilities.cheap_null else 40

        def run() -> list[object]:
            return [
                estimator.over_maps(x, codes, 0, shuffles, estimator.map_draws)
                for x, codes in layers
            ]

        return run

    return make


def ross(small: int) -> Callable[[], object]:
    """1000 single numbers and a label, values alone."""
    responses, codes = layer(2000 // small, 1000 // small, 1)
    return lambda: mi.estimator("ksg").over_maps(responses, codes)


def ross_sklearn(small: int) -> Callable[[], object]:
    """The same by scikit-learn, on one core and on all."""
    from sklearn.feature_selection import mutual_info_classif

    responses, codes = layer(2000 // small, 1000 // small, 1)
    return lambda: mutual_info_classif(responses[:, :, 0], codes, n_jobs=-1, random_state=0)


def ksg(small: int) -> Callable[[], object]:
    """100 pairs of single numbers, values alone."""
    x, y = np.random.default_rng(0).normal(size=(2, 100, 5000 // small, 1))
    estimator = mi.estimator("ksg")
    return lambda: [estimator.information(a, a + b, 0) for a, b in zip(x, y, strict=True)]


def ksg_sklearn(small: int) -> Callable[[], object]:
    """The same by scikit-learn, a pair a call."""
    from sklearn.feature_selection import mutual_info_regression

    x, y = np.random.default_rng(0).normal(size=(2, 100, 5000 // small, 1))
    return lambda: [
        mutual_info_regression(a, (a + b)[:, 0], random_state=0) for a, b in zip(x, y, strict=True)
    ]


def rbig(small: int) -> Callable[[], object]:
    """T of 10 columns with its correction, nothing kept from a run before."""
    from oip.mi.estimators.density_destructor import expected_sum

    x = np.random.default_rng(0).standard_t(3, size=(10_000 // small, 10))

    def run() -> object:
        expected_sum.cache_clear()
        return mi.estimator("rbig").total_correlation(x, 0)

    return run


def grams(small: int) -> Callable[[], object]:
    """Gram matrices of 128 maps and their entropies, alpha 1.01."""
    from oip.mi.estimators.gram import Bandwidth, gram
    from oip.mi.estimators.renyi import matrix_entropy

    responses, _ = layer(128, 128 // small, 49)

    def run() -> object:
        made = np.stack([gram(x, Bandwidth()) for x in responses.swapaxes(0, 1)])
        return matrix_entropy(made, 1.01)

    return run


def grams_loop(small: int) -> Callable[[], object]:
    """The same by `pdist` and `eig`, map by map."""
    from scipy.spatial.distance import pdist, squareform

    responses, _ = layer(128, 128 // small, 49)

    def run() -> list[float]:
        informations = []
        for x in responses.swapaxes(0, 1):
            distances = pdist(x.astype(np.float64), "sqeuclidean")
            matrix = np.exp(-squareform(distances) / np.median(distances)) / len(x)
            values = np.abs(np.linalg.eig(matrix)[0])
            informations.append(float(np.log((values**1.01).sum()) / -0.01))
        return informations

    return run


def pairs(small: int) -> Callable[[], object]:
    """All pairs of 128 maps at alpha 2, from their responses."""
    responses, codes = layer(128, 128 // small, 49)
    return lambda: mi.estimator("renyi", alpha=2).pairs(responses, codes)


def kernels(small: int) -> tuple[np.ndarray, np.ndarray]:
    """Something like Gram matrices (maps, n, n) of 128 maps, and which samples are of one class."""
    responses, codes = layer(128, 128 // small, 49)
    x = responses.swapaxes(0, 1).astype(np.float64)
    return np.exp(-np.abs(x @ x.swapaxes(1, 2))), codes[:, None] == codes


def pair_products(small: int) -> Callable[[], object]:
    """The part of it that pairs take: two matrix products."""
    from oip.mi.estimators.renyi import added_squares

    made, same = kernels(small)
    return lambda: added_squares(made * made, same)


def pairs_loop(small: int) -> Callable[[], object]:
    """Entropies of all pairs at alpha 2, a pair at a time, from Gram matrices that are there."""
    made, same = kernels(small)
    label = same.astype(np.float64)

    def run() -> list[float]:
        values = []
        for first in range(len(made)):
            for second in range(first + 1, len(made)):
                joint = made[first] * made[second]
                with_label = joint * label
                values.append(float(np.log((with_label**2).sum() / (joint**2).sum())))
        return values

    return run


def dsmi(small: int) -> Callable[[], object]:
    """The value of one map, no null, no interval, no single classes."""
    responses, codes = layer(2000 // small, 1, 121)
    return lambda: mi.mutual_information(responses[:, 0], codes, "dsmi", null=0, draws=0)


def dsmi_null(small: int) -> Callable[[], object]:
    """The same as one asks for it: null of 100, interval from 20 halves."""
    responses, codes = layer(2000 // small, 1, 121)
    return lambda: mi.mutual_information(responses[:, 0], codes, "dsmi")


def dsmi_classes(small: int) -> Callable[[], object]:
    """The value of one map and of its ten classes against the rest."""
    responses, codes = layer(2000 // small, 1, 121)
    return lambda: mi.estimator("dsmi").over_maps(responses, codes)


def dsmi_loop(small: int) -> Callable[[], object]:
    """The same by `pdist` and `eig`, distances made anew for every class."""
    from scipy.spatial.distance import pdist, squareform

    responses, codes = layer(2000 // small, 1, 121)
    x = responses[:, 0].astype(np.float64)
    scale = 0.2 * np.median(pdist(x, "sqeuclidean"))

    def entropy(rows: np.ndarray) -> float:
        kernel = np.exp(-squareform(pdist(rows, "sqeuclidean")) / scale)
        root = np.diag(kernel.sum(axis=1) ** -0.5)
        values = np.abs(np.linalg.eig(root @ kernel @ root)[0])
        share = values / values.sum()
        share = share[share > 0]
        return float(-(share * np.log(share)).sum())

    return lambda: entropy(x) - sum(entropy(x[codes == code]) / 10 for code in range(10))


ROWS = [
    Row("kde", "128 maps, n 2000, d 121, 10 classes, null of 100", 20.0, kde_layer),
    Row("kde-loop", "8 of these maps by pdist, null of 100", None, kde_loop),
    Row("kde-intervals", "the same 128 maps, 200 halves, no null", None, kde_intervals),
    Row("kde-sweep", "32 of these maps, 16 variances", None, kde_sweep),
    *(
        Row(f"rank-{name}", "224 maps, n 1000, d 676, 121, 9, null, intervals", limit, ranker(name))
        for name, limit in (
            ("decoder", None),
            ("predictive", 60.0),
            ("kde", None),
            ("ksg", None),
            ("gaussian", None),
            ("binning", None),
        )
    ),
    Row("ross", "1000 numbers and a label, n 2000", None, ross),
    Row("ross-sklearn", "the same, mutual_info_classif, all cores", None, ross_sklearn),
    Row("ksg", "100 pairs of numbers, n 5000", None, ksg),
    Row("ksg-sklearn", "the same, mutual_info_regression", None, ksg_sklearn),
    Row("rbig", "total correlation, n 10,000, d 10", 3.0, rbig),
    Row("grams", "128 Grams with eigenvalues, n 128, d 49", 0.6, grams),
    Row("grams-loop", "the same by pdist and eig", None, grams_loop),
    Row("pairs", "8,128 pairs of 128 maps, alpha 2, n 128, d 49, from responses", None, pairs),
    Row("pair-products", "the same, from Gram matrices that are there", 0.1, pair_products),
    Row("pairs-loop", "the same from these, pair by pair", None, pairs_loop),
    Row("dsmi", "one map, n 2000, d 121, 10 classes", 2.0, dsmi),
    Row("dsmi-null", "the same, null of 100, 20 halves", None, dsmi_null),
    Row("dsmi-classes", "the same, and every class against the rest", None, dsmi_classes),
    Row("dsmi-loop", "the value by pdist and eig", None, dsmi_loop),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=" ".join(r.name for r in ROWS))
    names = parser.parse_args().rows
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f}, NumPy {np.__version__}")
    for row in ROWS:
        if names and row.name not in names:
            continue
        row.make(10)()  # a warm-up on little data
        work = row.make(1)
        started, used = time.perf_counter(), time.process_time()
        work()
        seconds, used = time.perf_counter() - started, time.process_time() - used
        promised = "" if row.limit is None else f"  of {row.limit:g} s"
        text = f"{row.name:18s} {seconds:8.2f} s, {used:8.2f} s of cores{promised:12s}"
        print(f"{text}  {row.description}", flush=True)


if __name__ == "__main__":
    main()
