"""Estimates beside known information: tasks with a truth, and a planted layer with a true order.

    python -m tests.benchmarks.truth [tasks | layer | intervals | checks] [--estimators NAME ...]
        [--samples N] [--seeds N] [--nodes N]

`tasks` prints the mean estimate of every task in nats, by every estimator that can, by scikit-learn
and by NPEET where they are installed. `layer` ranks 60 maps of six kinds of code, of each ten
strengths, and compares their order with the true one. `intervals` counts how many of `--seeds`
samples have a 95 % interval that holds the estimator's own mean over them. `checks` prints single
cases: chance, copies, monotone maps, heavy tails, far samples, order and names, clusters. Truths
are closed forms or integrals over densities that are known, of 200,000 draws.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats
from scipy.special import digamma, gammaln, ive

from oip import mi
from oip.mi.estimators.base import able, label_estimator
from oip.mi.ranking import ranks, spearman

DRAWS = 200_000
Sampler = Callable[[np.ndarray, np.random.Generator], np.ndarray]
LogDensity = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Code:
    """Responses that tell a label: how they are drawn, and their density given each class."""

    shares: tuple[float, ...]
    draw: Sampler
    """Labels (n,) -> responses (n, d)."""
    log_density: LogDensity
    """ln p(x|y) of responses (n, d), (n,), up to a part that all classes share."""
    noise: int = 0
    """Further coordinates that know nothing."""

    def sample(self, n: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return n responses and labels."""
        y = random.choice(len(self.shares), size=n, p=self.shares)
        x = self.draw(y, random)
        return np.concatenate([x, random.normal(size=(n, self.noise))], axis=1), y

    @property
    def truth(self) -> float:
        """I(X;Y) in nats."""
        random = np.random.default_rng(0)
        y = random.choice(len(self.shares), size=DRAWS, p=self.shares)
        x = self.draw(y, random)
        logs = np.stack([self.log_density(x, label) for label in range(len(self.shares))])
        both = logs + np.log(self.shares)[:, None]
        own = logs[y, np.arange(DRAWS)]
        return max(0.0, float((own - np.logaddexp.reduce(both, axis=0)).mean()))


def gaussians(
    means: np.ndarray, deviations: float | np.ndarray = 1.0
) -> tuple[Sampler, LogDensity]:
    """Return classes that are Gaussian, means (classes, d), with one deviation each."""
    means = np.atleast_2d(means)
    spread = np.broadcast_to(deviations, len(means))

    def draw(y: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return means[y] + spread[y, None] * random.normal(size=(len(y), means.shape[1]))

    def log_density(x: np.ndarray, label: int) -> np.ndarray:
        return stats.norm.logpdf(x, means[label], spread[label]).sum(axis=1)

    return draw, log_density


def clusters(centers: np.ndarray, deviation: float) -> tuple[Sampler, LogDensity]:
    """Return classes of several Gaussian clusters each, centers (classes, clusters, d)."""

    def draw(y: np.ndarray, random: np.random.Generator) -> np.ndarray:
        component = random.integers(0, centers.shape[1], len(y))
        return centers[y, component] + deviation * random.normal(size=(len(y), centers.shape[2]))

    def log_density(x: np.ndarray, label: int) -> np.ndarray:
        logs = [stats.norm.logpdf(x, center, deviation).sum(axis=1) for center in centers[label]]
        return np.logaddexp.reduce(logs, axis=0)

    return draw, log_density


def rings(radii: np.ndarray, deviation: float) -> tuple[Sampler, LogDensity]:
    """Return classes on rings (classes,) in the plane, with Gaussian noise."""

    def draw(y: np.ndarray, random: np.random.Generator) -> np.ndarray:
        angle = random.uniform(0, 2 * math.pi, len(y))
        points = radii[y, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return points + deviation * random.normal(size=points.shape)

    def log_density(x: np.ndarray, label: int) -> np.ndarray:
        far, radius = np.linalg.norm(x, axis=1), radii[label]
        return -((far - radius) ** 2) / (2 * deviation**2) + np.log(
            ive(0, far * radius / deviation**2)
        )

    return draw, log_density


def heavy(centers: np.ndarray, freedom: float) -> tuple[Sampler, LogDensity]:
    """Return classes of Student's t about centers (classes,), one coordinate."""

    def draw(y: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return (centers[y] + random.standard_t(freedom, size=len(y)))[:, None]

    def log_density(x: np.ndarray, label: int) -> np.ndarray:
        return stats.t.logpdf(x[:, 0] - centers[label], freedom)

    return draw, log_density


def sparse(means: np.ndarray) -> tuple[Sampler, LogDensity]:
    """Return Gaussians of deviation 1 after a ReLU, means (classes, d)."""
    means = np.atleast_2d(means)

    def draw(y: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return np.maximum(0.0, means[y] + random.normal(size=(len(y), means.shape[1])))

    def log_density(x: np.ndarray, label: int) -> np.ndarray:
        silent = np.broadcast_to(stats.norm.logcdf(-means[label]), x.shape)
        return np.where(x > 0, stats.norm.logpdf(x, means[label]), silent).sum(axis=1)

    return draw, log_density


def exponentials(code: tuple[Sampler, LogDensity], factor: float) -> tuple[Sampler, LogDensity]:
    """Return exp(factor x) of another code, which tells the same."""
    draw, log_density = code
    return (
        lambda y, random: np.exp(factor * draw(y, random)),
        lambda x, label: log_density(np.log(x) / factor, label),
    )


def equal_shares(classes: int) -> tuple[float, ...]:
    """Return equal shares."""
    return (1.0 / classes,) * classes


def line(*points: float) -> np.ndarray:
    """Return points (classes, 1) on a line."""
    return np.array(points)[:, None]


RING = np.stack([np.cos(np.arange(10) * math.pi / 5), np.sin(np.arange(10) * math.pi / 5)], axis=1)
XOR = np.array([[[1, 1], [-1, -1]], [[1, -1], [-1, 1]]]) * 1.5

LABEL_TASKS = {
    "two Gaussians, 1 apart": Code(equal_shares(2), *gaussians(line(-0.5, 0.5))),
    "two Gaussians, 2 apart": Code(equal_shares(2), *gaussians(line(-1, 1))),
    "two Gaussians, 4 apart": Code(equal_shares(2), *gaussians(line(-2, 2))),
    "three on a line": Code(equal_shares(3), *gaussians(line(0, 2, 4))),
    "ten on a circle": Code(equal_shares(10), *gaussians(2.5 * RING)),
    "nine to one": Code((0.9, 0.1), *gaussians(line(0, 2))),
    "two spreads": Code(equal_shares(2), *gaussians(line(0, 0), np.array([1.0, 3.0]))),
    "exclusive or": Code(equal_shares(2), *clusters(XOR, 0.8)),
    "two rings": Code(equal_shares(2), *rings(np.array([1.0, 2.0]), 0.25)),
    "five of ten coordinates": Code(
        equal_shares(2), *gaussians(np.array([[0.0] * 5, [0.6] * 5])), noise=5
    ),
    "one of nine coordinates": Code(equal_shares(2), *gaussians(line(-1, 1)), noise=8),
    "heavy tails": Code(equal_shares(2), *heavy(np.array([0.0, 2.0]), 2)),
    "after a ReLU, five nodes": Code(equal_shares(2), *sparse(np.array([[-1.0] * 5, [-0.2] * 5]))),
    "exp of two Gaussians": Code(equal_shares(2), *exponentials(gaussians(line(-1, 1)), 3)),
    "nothing, five coordinates": Code(equal_shares(2), *gaussians(np.zeros((2, 5)))),
}


def correlated(rho: float, n: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return n pairs of Gaussian numbers of this correlation."""
    x, noise = random.normal(size=(2, n))
    return x[:, None], (rho * x + math.sqrt(1 - rho**2) * noise)[:, None]


def student_entropy(freedom: float, d: int) -> float:
    """Return the entropy in nats of Student's t in d dimensions with unit scatter."""
    half = (freedom + d) / 2
    gap = digamma(half) - digamma(freedom / 2)
    constant = gammaln(freedom / 2) - gammaln(half) + d / 2 * math.log(freedom * math.pi)
    return float(constant + half * gap)


def student(n: int, random: np.random.Generator, freedom: float, d: int) -> list[np.ndarray]:
    """Return x (n, d) and y (n, d), together Student's t with unit scatter."""
    joint = random.normal(size=(n, 2 * d))
    joint /= np.sqrt(random.chisquare(freedom, size=(n, 1)) / freedom)
    return [joint[:, :d], joint[:, d:]]


def curve(function: Callable[[np.ndarray], np.ndarray], noise: float) -> tuple[Callable, float]:
    """Return y = f(x) + noise of uniform x in -1..1, and its truth: h(Y) - h(noise)."""

    def sample(n: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = random.uniform(-1, 1, size=n)
        return x[:, None], (function(x) + noise * random.normal(size=n))[:, None]

    means = function(np.linspace(-1, 1, 4001))
    grid = np.linspace(means.min() - 6 * noise, means.max() + 6 * noise, 2001)
    density = stats.norm.pdf(grid[:, None], means, noise).mean(axis=1)
    entropy = -np.trapezoid(density * np.log(np.maximum(density, 1e-300)), grid)
    return sample, float(entropy) - 0.5 * math.log(2 * math.pi * math.e * noise**2)


def _monotone(n: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x, y = correlated(0.6, n, random)
    return np.exp(3 * x), np.exp(3 * y)


def _beside_noise(n: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x, y = correlated(0.75, n, random)
    return np.concatenate([x, random.normal(size=(n, 8))], axis=1), y


def _independent(n: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return random.normal(size=(n, 3)), random.normal(size=(n, 3))


def gaussian_information(rho: float) -> float:
    """Return I(X;Y) of two Gaussian numbers of correlation rho, in nats."""
    return -0.5 * math.log(1 - rho**2)


NUMBER_TASKS = {
    "Gaussians, rho .3": (lambda n, r: correlated(0.3, n, r), gaussian_information(0.3)),
    "Gaussians, rho .75": (lambda n, r: correlated(0.75, n, r), gaussian_information(0.75)),
    "rho .75, beside eight of noise": (_beside_noise, gaussian_information(0.75)),
    "exp of Gaussians, rho .6": (_monotone, gaussian_information(0.6)),
    "Student's t, 3 degrees, 1 + 1": (
        lambda n, r: student(n, r, 3, 1),
        2 * student_entropy(3, 1) - student_entropy(3, 2),
    ),
    "Student's t, 3 degrees, 3 + 3": (
        lambda n, r: student(n, r, 3, 3),
        2 * student_entropy(3, 3) - student_entropy(3, 6),
    ),
    "sine and noise": curve(lambda x: np.sin(6 * x), 0.3),
    "parabola and noise": curve(lambda x: x**2, 0.1),
    "nothing, 3 + 3": (_independent, 0.0),
}

LABEL_NAMES = (
    *("predictive", "decoder", "ksg", "kde", "vme", "gaussian", "binning", "renyi", "dsmi", "rbig"),
)
SLOW = ("renyi", "dsmi", "rbig")
"""Ordered by their values, not by what is above chance."""
NUMBER_NAMES = ("ksg", "ksg ranks", "ksg directions", "gaussian", "gaussian ranks", "vme")
NUMBER_NAMES += ("vme ranks", "binning", "rbig")


def by_name(name: str, x: np.ndarray, y: np.ndarray) -> float:
    """Return the value of one of our estimators, `ranks` and `directions` being options of it."""
    kind, _, option = name.partition(" ")
    settings = {"ranks": {"marginals": "ranks"}, "directions": {"reduction": "directions"}}
    chosen = mi.estimator(kind, **settings.get(option, {}))
    estimate = mi.mutual_information(x, y, chosen, null=0, draws=0)
    return estimate.nats if estimate.raw is None else estimate.raw


def peers(x: np.ndarray, y: np.ndarray, label: bool) -> dict[str, float]:
    """Return the values of other packages that are installed and can do this."""
    from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

    values = {}
    if x.shape[1] == 1 and (label or y.shape[1] == 1):
        theirs = mutual_info_classif if label else mutual_info_regression
        values["scikit-learn"] = float(theirs(x, y if label else y[:, 0], random_state=0)[0])
    for module in ("npeet.entropy_estimators", "npeet_plus"):
        try:
            npeet = importlib.import_module(module)
        except ImportError:
            continue
        if label and hasattr(npeet, "micd"):
            values["NPEET"] = float(npeet.micd(x.tolist(), y[:, None].tolist(), base=math.e))
        elif not label:
            values["NPEET"] = float(npeet.mi(x.tolist(), y.tolist(), base=math.e))
        break
    return values


def print_table(
    tasks: dict[str, tuple[Callable, float]],
    names: tuple[str, ...],
    n: int,
    seeds: int,
    label: bool,
) -> None:
    """Print truth and mean estimates of every task, and each estimator's mean error."""
    columns = [*names, "scikit-learn", "NPEET"]
    print(f"| task | truth | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}", flush=True)
    errors: dict[str, list[float]] = {name: [] for name in columns}
    for task, (sample, truth) in tasks.items():
        values: dict[str, list[float]] = {name: [] for name in columns}
        for seed in range(seeds):
            x, y = sample(n, np.random.default_rng([seed, 7]))
            for name in names:
                values[name].append(by_name(name, x, y))
            for name, value in peers(x, y, label).items():
                values[name].append(value)
        cells = []
        for name in columns:
            mean = float(np.mean(values[name])) if values[name] else math.nan
            cells.append("-" if math.isnan(mean) else f"{mean:.3f}")
            if values[name]:
                errors[name].append(abs(mean - truth))
        print(f"| {task} | {truth:.3f} | {' | '.join(cells)} |", flush=True)
    cells = [f"{np.mean(errors[name]):.3f}" if errors[name] else "-" for name in columns]
    print(f"| **mean error** | | {' | '.join(cells)} |", flush=True)


STRENGTHS = np.linspace(0.1, 1.0, 10)
CLASSES = 4
STRIPES = np.arange(CLASSES)[:, None, None] + np.arange(0, 3 * CLASSES, CLASSES)[:, None]
"""Classes take turns along a line, three times."""
PARITIES = np.array(
    [
        [
            [a, b, a * b * (-1) ** (label % 2), c, c * (-1) ** (label // 2)]
            for a, b, c in itertools.product((-1, 1), repeat=3)
        ]
        for label in range(CLASSES)
    ]
)
"""One bit of the label is the sign of the product of three coordinates, the other that of two."""
KINDS: dict[str, Callable[[float], tuple[Sampler, LogDensity]]] = {
    "shift": lambda s: gaussians(2.5 * s * np.arange(CLASSES)[:, None]),
    "spread": lambda s: gaussians(np.zeros((CLASSES, 1)), np.exp(1.5 * s * np.arange(CLASSES))),
    "sparse": lambda s: sparse(3.0 * s * np.arange(CLASSES)[:, None] - 1.0),
    "rings": lambda s: rings(1.0 + 2.5 * s * np.arange(CLASSES), 0.6),
    "parities": lambda s: clusters(3.0 * s * PARITIES, 1.0),
    "stripes": lambda s: clusters(STRIPES, 0.02 + 0.125 / s),
}


@dataclass(frozen=True, eq=False)
class PlantedLayer:
    """Responses (n, 60, nodes) with known information about a label of four classes."""

    responses: np.ndarray
    labels: np.ndarray
    truth: np.ndarray
    """(60,) nats."""
    kinds: np.ndarray
    """(60,) names of the kinds of code."""


@cache
def planted_truths() -> dict[str, list[float]]:
    """Return the information of every kind at every strength, in nats."""
    return {
        kind: [Code(equal_shares(CLASSES), *make(strength)).truth for strength in STRENGTHS]
        for kind, make in KINDS.items()
    }


def planted_layer(n: int, seed: int, nodes: int = 8) -> PlantedLayer:
    """Return six kinds of code, each of ten strengths, turned among nodes of noise.

    Sparse codes stay in one node, beside others that are sparse, too.
    """
    random = np.random.default_rng([seed, 60])
    labels = random.permutation(np.arange(n) % CLASSES)
    maps = []
    for kind, make in KINDS.items():
        for strength in STRENGTHS:
            own = make(strength)[0](labels, random)
            noise = random.normal(size=(n, nodes - own.shape[1]))
            if kind == "sparse":
                maps.append(np.concatenate([own, np.maximum(0.0, noise - 1.0)], axis=1))
                continue
            turn = np.linalg.qr(random.normal(size=(nodes, nodes)))[0]
            maps.append(np.concatenate([own, noise], axis=1) @ turn)
    truth = np.concatenate([planted_truths()[kind] for kind in KINDS])
    kinds = np.repeat(list(KINDS), len(STRENGTHS))
    return PlantedLayer(np.stack(maps, axis=1), labels, truth, kinds)


def layer_scores(name: str, layer: PlantedLayer) -> dict[str, float]:
    """Return how an estimator orders a planted layer.

    `pairs` is the share of pairs more than .3 bit apart that are in the wrong order, `above` that
    of maps whose estimate is above the truth + .1 bit.
    """
    estimator = label_estimator(name)
    shuffles = 0 if name in SLOW else 40
    estimates = estimator.over_maps(layer.responses, layer.labels, 0, shuffles, 0, False)
    order = -ranks(estimates, estimator.abilities.held_out).astype(float)
    bit = math.log(2)
    distinct = layer.truth[:, None] - layer.truth > 0.3 * bit
    share_reversed = (order[:, None] < order)[distinct].mean()
    scores = {"all": spearman(order, layer.truth), "pairs": float(share_reversed)}
    scores["above"] = float((estimates.mi > layer.truth + 0.1 * bit).mean())
    for kind in KINDS:
        own = layer.kinds == kind
        scores[kind] = spearman(order[own], layer.truth[own])
    return scores


def print_layer(names: tuple[str, ...], n: int, seeds: int, nodes: int) -> None:
    """Print the mean scores of every estimator over several layers."""
    spread = ", ".join(
        f"{kind} {min(values) / math.log(2):.2f}-{max(values) / math.log(2):.2f}"
        for kind, values in planted_truths().items()
    )
    print(f"bits: {spread}\n")
    heads = ["all", "pairs", "above", *KINDS]
    print(f"| | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}", flush=True)
    for name in names:
        scores = [layer_scores(name, planted_layer(n, seed, nodes)) for seed in range(seeds)]
        means = {head: float(np.mean([score[head] for score in scores])) for head in heads}
        print(f"| {name} | {' | '.join(f'{means[head]:.3f}' for head in heads)} |", flush=True)


UNEVEN = Code((0.6, 0.3, 0.1), *gaussians(np.array([[0.0] * 3, [0.8] * 3, [1.6, 0.0, 0.0]])))
INTERVAL_TASKS = {
    "one column": LABEL_TASKS["two Gaussians, 2 apart"].sample,
    "three columns, uneven": UNEVEN.sample,
    "numbers": NUMBER_TASKS["Gaussians, rho .75"][0],
}


def print_coverage(names: tuple[str, ...], n: int, seeds: int) -> None:
    """Print how often intervals hold the mean of the values, and their mean width in deviations.

    Of Gaussian estimates a 95 % interval is 3.92 deviations wide.
    """
    for name, (task, sample) in itertools.product(names, INTERVAL_TASKS.items()):
        if task == "numbers" and name not in able("information"):
            continue
        results = []
        for seed in range(seeds):
            x, y = sample(n, np.random.default_rng([seed, n]))
            results.append(mi.mutual_information(x, y, name, null=0))
        values = np.array([result.nats for result in results])
        low, high = np.array([(result.low, result.high) for result in results], float).T
        mean = values.mean()
        covers, deviation = (low <= mean) & (mean <= high), values.std()
        print(
            f"{name}, {task}, n {n}, {seeds} samples: {covers.mean():.3f}, "
            f"below {(high < mean).mean():.3f}, mean {mean:.3f}, deviation {deviation:.4f}, "
            f"width {(high - low).mean() / deviation:.2f}",
            flush=True,
        )


def show(case: str, estimate: mi.Estimate, truth: float | None = None) -> None:
    """Print the value of a case, with its null and its notices."""
    value = estimate.nats if estimate.raw is None else estimate.raw
    parts = [f"{value:.3f} nats"]
    parts += [] if truth is None else [f"truth {truth:.3f}"]
    if estimate.p_value is not None:
        parts.append(f"chance {estimate.chance:.3f}, p {estimate.p_value:.3f}")
    parts += [f"notice: {notice}" for notice in estimate.notices]
    print(f"- {case}: {'; '.join(parts)}", flush=True)


def print_label_checks() -> None:
    """Print cases of information about a label."""
    random = np.random.default_rng(0)
    codes = random.permutation(np.arange(400) % 4)
    noise = random.normal(size=(400, 5, 121))
    clean = np.broadcast_to((codes // 2)[:, None, None] + 0.1 * noise[:, :1], (400, 1, 121))
    for name in ("kde", "predictive"):
        estimator = label_estimator(name)
        maps = estimator.over_maps(np.concatenate([noise, clean], axis=1), codes, 0, 200, 0, False)
        order = ranks(maps, estimator.abilities.held_out)
        print(
            f"- five maps of noise and one of a bit, 121 nodes, {name}: bits {maps.bits.round(2)}, "
            f"chance {(maps.chance / math.log(2)).round(2)}, ranks {order}",
            flush=True,
        )
    x, y = LABEL_TASKS["two Gaussians, 4 apart"].sample(1000, np.random.default_rng(0))
    for name, values in {"x": x, "exp x": np.exp(x), "x^3": x**3, "exp 3x": np.exp(3 * x)}.items():
        estimate = mi.mutual_information(values, y, "rbig", null=0, draws=0)
        show(f"rbig, {name}", estimate, LABEL_TASKS["two Gaussians, 4 apart"].truth)
    far = x.copy()
    far[:3] = 1e6
    for name in ("decoder", "predictive"):
        for case, values in {"all near": x, "three samples at 1e6": far}.items():
            show(f"{name}, {case}", mi.mutual_information(values, y, name, null=0, draws=0))
    few = random.normal(size=(100, 1))
    two = np.arange(100) % 2
    for times in (1, 10):
        both = np.tile(few, (times, 1)), np.tile(two, times)
        estimate = mi.mutual_information(*both, "predictive", draws=0)
        show(f"predictive, 100 samples of noise, {times} times", estimate)
    x, y = UNEVEN.sample(300, np.random.default_rng(0))
    order = random.permutation(300)
    for name in ("predictive", "decoder"):
        cases = (x, y), (x[order], y[order]), (x, np.array(["b", "c", "a"])[y])
        values = [mi.mutual_information(*case, name, null=0, draws=0).nats for case in cases]
        print(f"- {name}, as it is, in another order, with other names: {values}", flush=True)


def print_number_checks() -> None:
    """Print cases of numbers."""
    random = np.random.default_rng(0)
    x, y = _independent(1000, random)
    show("binning, 3 + 3 that are independent", mi.mutual_information(x, y, "binning"), 0.0)
    a, b = correlated(0.75, 500, random)
    constant = np.concatenate([a, np.ones((500, 8))], axis=1)
    for case, side in {"alone": a, "beside eight constants": constant}.items():
        estimate = mi.mutual_information(side, b, "vme", null=0, draws=0)
        show(f"vme, rho .75, {case}", estimate, gaussian_information(0.75))
    show("rbig, three samples", mi.mutual_information(a[:3], b[:3], "rbig", null=0, draws=0))
    factor = random.uniform(size=(10, 10))
    scatter = 10 * np.eye(10) + factor @ factor.T
    joint = np.concatenate(student(5000, random, 3, 5), axis=1) @ np.linalg.cholesky(scatter).T
    truth = 0.5 * (np.log(np.diag(scatter)).sum() - np.linalg.slogdet(scatter)[1])
    truth += 10 * student_entropy(3, 1) - student_entropy(3, 10)
    estimate = mi.total_correlation(joint, "rbig", stopping="paper", null=0, draws=0)
    show("rbig, the paper's stopping, total correlation of t, nu 3, d 10, n 5000", estimate, truth)
    for count in (1, 2, 5, 10):
        centers = random.normal(size=(count, 10)) * 30
        x = centers[np.arange(500) % count] + random.normal(size=(500, 10))
        own = mi.entropy(x, "dse", time=100, draws=0).bits
        print(f"- dse, t 100, {count} clusters: {own:.2f} of {math.log2(count):.2f} bits")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("tasks", "layer", "intervals", "checks"))
    parser.add_argument("--estimators", nargs="+")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=8, help="of a map of the layer")
    options = parser.parse_args()
    n, seeds = options.samples, options.seeds
    if options.part == "layer":
        print_layer(tuple(options.estimators or LABEL_NAMES), n, seeds, options.nodes)
        return
    if options.part == "checks":
        print_label_checks()
        print_number_checks()
        return
    if options.part == "intervals":
        print_coverage(tuple(options.estimators or LABEL_NAMES), n, seeds)
        return
    labels = {name: (code.sample, code.truth) for name, code in LABEL_TASKS.items()}
    about_label = able("label_information")
    names = options.estimators or LABEL_NAMES
    own = tuple(name for name in names if name.split()[0] in about_label)
    print_table(labels, own, n, seeds, label=True)
    print()
    able_pair = able("information")
    names = options.estimators or NUMBER_NAMES
    own = tuple(name for name in names if name.split()[0] in able_pair)
    print_table(NUMBER_TASKS, own, n, seeds, label=False)


if __name__ == "__main__":
    main()
