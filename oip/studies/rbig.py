"""Information theory in density destructors: circles, and estimates beside the truth."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from oip.core import seeds
from oip.core.plots import figure
from oip.core.units import bits
from oip.studies.findings import Finding, Value, agreement, finding, graded, named_values
from oip.studies.panels import error_bars, legend_below
from oip.studies.rbig_circles import add_both_ways, add_circles
from oip.studies.report import Arrays, Folder

NAME = "rbig"
TITLE = "Density destructors: circles, total correlation and mutual information of t distributions"
SOURCE = (
    "J. E. Johnson, V. Laparra, R. Santos-Rodriguez, G. Camps-Valls, J. Malo: Information theory "
    "in density destructors. ICML workshop on invertible neural networks and normalizing flows, "
    "2019."
)
MINUTES = 5
TAKES = ()
SCHEMA = 2
"""1 had another stopping rule, and no sums of nearest-neighbor entropies."""
Quantity = Literal["total", "information"]
FREEDOMS = (3, 5)
METHODS: dict[str, tuple[str, dict[str, str]]] = {
    "RBIG, null subtracted": ("rbig", {}),
    "RBIG, the paper's stopping": ("rbig", {"stopping": "paper"}),
    "expF (Gaussian)": ("gaussian", {}),
    "vME": ("vme", {}),
    "kNN entropies (Goria)": ("entropies", {}),
    "kNN (KSG)": ("ksg", {}),
}
"""Label in figures -> name and settings of the estimator; the two kinds of RBIG come first.
`entropies` are sums of `neighbor_entropy`, the paper's kNN."""
_PAPER = list(METHODS).index("RBIG, the paper's stopping")  # the method that a verdict is about
_OMITTED = list(METHODS).index("kNN entropies (Goria)")  # in no legend of the paper's figures
_NEIGHBORS = 3
QUANTITIES: dict[Quantity, tuple[str, str]] = {
    "total": ("T", "total correlation of d coordinates"),
    "information": ("I", "mutual information of d and d coordinates"),
}
_CLOSE = 1.5  # an error of up to so many times the smallest one counts as close to it


@dataclass(frozen=True)
class RbigSize:
    """Numbers of samples, layers and trials of the study; by default the paper's."""

    samples: int = 20_000  # of the circles
    layers: int = 200
    counts: Mapping[int, tuple[int, ...]] = field(  # samples of t distributions, by dimension
        default_factory=lambda: dict.fromkeys((3, 10, 50), (500, 1_000, 5_000, 10_000, 50_000))
    )
    identity_counts: Mapping[int, int] = field(  # the same with the identity as scatter
        default_factory=lambda: {3: 5_000, 10: 5_000, 50: 1_000}
    )
    both_ways: tuple[int, ...] = (200, 500, 1_000, 2_000, 5_000, 20_000)
    """Points of the circles whose T is taken by eq. 6 and by eq. 7."""
    trials: int = 5
    room: int = 4 << 30  # bytes that the kernel matrices of a method may take


FULL = RbigSize()
_FEW = (500, 2_000, 5_000)
QUICK = RbigSize(
    samples=5_000,
    layers=100,
    counts={3: _FEW, 10: _FEW, 50: (500, 1_000)},
    both_ways=_FEW,
    trials=3,
    room=5 << 28,
)


def run(folder: Folder, size: RbigSize | None = None) -> None:
    """Run both experiments of the paper, in a size in place of that of the settings."""
    size = size or (QUICK if folder.settings.quick else FULL)
    add_circles(folder, size.samples, size.layers)
    add_both_ways(folder, size.both_ways, size.trials, size.layers)
    _run_student(folder, size, folder.settings.seed)


@dataclass(frozen=True, eq=False)
class StudentT:
    """A multivariate t distribution about 0."""

    freedom: float  # degrees of freedom, nu
    scatter: np.ndarray  # (d, d), positive definite

    def samples(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return samples (n, d): Gaussian with covariance S, each over sqrt(chi-square / nu)."""
        rows = rng.standard_normal((n, len(self.scatter))) @ np.linalg.cholesky(self.scatter).T
        return rows / np.sqrt(rng.chisquare(self.freedom, (n, 1)) / self.freedom)

    def entropy(self, columns: slice) -> float:
        """Return the entropy of some coordinates in nats."""
        from scipy.stats import multivariate_t

        student: Any = multivariate_t  # whose hints are wrong
        return float(student(shape=self.scatter[columns, columns], df=self.freedom).entropy())

    def information(self, *borders: int) -> float:
        """Return the sum of the entropies of groups of coordinates less that of all, in nats.

        Groups end before the coordinates `borders`; two make it I, and as many as coordinates T.
        """
        groups = map(slice, (0, *borders), (*borders, None))
        return sum(map(self.entropy, groups)) - self.entropy(slice(None))

    @property
    def total_correlation(self) -> float:
        """T in nats."""
        return self.information(*range(1, len(self.scatter)))


def scatter(d: int, rng: np.random.Generator) -> np.ndarray:
    """Return (d, d): 10 I + A A^T with A uniform in (0, 1), scaled to a unit diagonal."""
    a = rng.random((d, d))
    s = 10 * np.eye(d) + a @ a.T
    root = np.sqrt(np.diagonal(s))
    return s / root[:, None] / root[None, :]


@dataclass(frozen=True)
class Case:
    """The distribution of one panel."""

    freedom: int
    dimensions: int
    mixed: bool  # the scatter of the authors' experiments; the identity if not

    @property
    def name(self) -> str:
        """The name of its files and numbers."""
        return f"nu{self.freedom}-d{self.dimensions}{'' if self.mixed else '-identity'}"

    def student(self, quantity: Quantity, seed: int) -> StudentT:
        """Return the distribution; trials and degrees of freedom share its scatter."""
        d = self.dimensions * (2 if quantity == "information" else 1)
        rng = seeds.generator(seed, "scatter", d)
        return StudentT(self.freedom, scatter(d, rng) if self.mixed else np.eye(d))

    def truth(self, quantity: Quantity, seed: int) -> float:
        """Return the analytic value in nats."""
        student, total = self.student(quantity, seed), quantity == "total"
        return student.total_correlation if total else student.information(self.dimensions)

    def counts(self, size: RbigSize) -> tuple[int, ...]:
        """Return the numbers of samples."""
        d = self.dimensions
        return size.counts[d] if self.mixed else (size.identity_counts[d],)


@dataclass(frozen=True)
class Trial:
    """One set of samples of a distribution."""

    case: Case
    samples: int
    number: int

    @property
    def name(self) -> str:
        """The name of its files."""
        return f"{self.case.name}-n{self.samples}-trial{self.number}"


def _run_student(folder: Folder, size: RbigSize, seed: int) -> None:
    """Measure every method on every distribution; each trial is a part of the folder."""
    kinds = {
        mixed: [Case(nu, d, mixed) for nu in FREEDOMS for d in size.counts]
        for mixed in (True, False)
    }
    work = [
        Trial(case, n, number)
        for case in (*kinds[True], *kinds[False])
        for n in case.counts(size)
        for number in range(size.trials)
    ]
    trials: dict[Case, list[Arrays]] = defaultdict(list)
    compute = partial(estimates, seed=seed, room=size.room)
    for trial, arrays in folder.parts("student", work, compute, digest="").items():
        trials[trial.case].append(arrays)

    def table(case: Case, quantity: Quantity) -> MethodTable:
        counts = np.array(case.counts(size))
        values = np.array([row[quantity] for row in trials[case]])
        shape = len(counts), size.trials, len(METHODS)
        return MethodTable(bits(case.truth(quantity, seed)), counts, values.reshape(shape))

    for quantity, (symbol, _) in QUANTITIES.items():
        mixed, identity = (
            {case: table(case, quantity) for case in cases} for cases in kinds.values()
        )
        _draw_student(folder, quantity, mixed, size.trials)
        _draw_identity(folder, quantity, identity, size.trials)
        folder.add(
            best_finding(symbol, mixed, size.trials),
            best_finding(f"{symbol} (identity as scatter)", identity, size.trials),
            negative_finding(symbol, mixed, size.trials),
        )
    folder.note(folder.text("scatter"))
    folder.note(folder.text("room", room=size.room / 2**30))


def estimates(trial: Trial, seed: int, room: int) -> Arrays:
    """Return `total` and `information` (methods,) in bits, estimated from one set of samples.

    A method whose kernel matrices would take more than `room` bytes is left out: NaN.
    """
    from oip import mi

    case, n = trial.case, trial.samples
    result, d = {}, case.dimensions
    for quantity in QUANTITIES:
        rng = seeds.generator(seed, quantity, case.freedom, d, int(case.mixed), n, trial.number)
        x = case.student(quantity, seed).samples(n, rng)
        too_large = 8 * (d + 3 if quantity == "total" else 5) * n * n > room
        values = []
        for name, parameters in METHODS.values():
            if name == "entropies":
                values.append(by_entropies(x, d, quantity))
            elif name == "vme" and too_large:
                values.append(np.nan)
            elif quantity == "total":
                values.append(mi.estimator(name, **parameters).total_correlation(x, seed).nats)
            else:
                estimator = mi.estimator(name, **parameters)
                values.append(estimator.information(x[:, :d], x[:, d:], seed).nats)
        result[quantity] = bits(np.array(values))
    return result


def by_entropies(x: np.ndarray, d: int, quantity: Quantity) -> float:
    """Return T of all columns of x, or I of the first d and the rest, in nats: sums of entropies.

    T = sum_i H(X_i) - H(X), I = H(X) + H(Y) - H(X, Y), each by `neighbor_entropy`, whose errors do
    not cancel in many dimensions.
    """
    variables = list(x.T[:, :, None]) if quantity == "total" else [x[:, :d], x[:, d:]]
    return sum(map(neighbor_entropy, variables)) - neighbor_entropy(x)


def neighbor_entropy(x: np.ndarray) -> float:
    """Return H in nats from Euclidean distances r_i of samples (n, d) to their third neighbors.

    ln(n - 1) - psi(k) + ln V_d + d <ln r_i>, V_d the volume of the unit ball.

    References:
        M. Goria, N. Leonenko, V. Mergel, P. Novi Inverardi: A new class of random vector entropy
        estimators. Journal of Nonparametric Statistics 17 (2005) 277.
    """
    from scipy.special import digamma, gammaln
    from sklearn.neighbors import NearestNeighbors

    n, d = x.shape
    radius = NearestNeighbors(n_neighbors=_NEIGHBORS).fit(x).kneighbors()[0][:, -1]
    ball = d / 2 * math.log(math.pi) - gammaln(d / 2 + 1)
    return float(math.log(n - 1) - digamma(_NEIGHBORS) + ball + d * np.log(radius).mean())


@dataclass(frozen=True, eq=False)
class MethodTable:
    """The truth of one panel beside the estimates of every method, in bits."""

    truth: float
    counts: np.ndarray  # (counts,) samples
    values: np.ndarray  # (counts, trials, methods)

    @property
    def errors(self) -> np.ndarray:
        """(counts, methods): root mean squared error over trials."""
        return np.sqrt(((self.values - self.truth) ** 2).mean(axis=1))

    def close(self) -> np.ndarray:
        """Return whether errors (counts, methods) are at most 1.5 times that of the best method.

        The two kinds of RBIG are each compared with the methods of other kinds only.
        """
        best = np.nanmin(self.errors, axis=1, keepdims=True)
        best_other = np.nanmin(self.errors[:, 2:], axis=1, keepdims=True)
        rbig = np.arange(len(METHODS)) < 2
        return self.errors <= _CLOSE * np.where(rbig, best_other, best)


Tables = Mapping[Case, MethodTable]


def _draw_student(folder: Folder, quantity: Quantity, tables: Tables, trials: int) -> None:
    """Draw a panel for every number of degrees of freedom (rows) and dimensions (columns)."""
    from matplotlib.ticker import EngFormatter

    symbol, name = QUANTITIES[quantity]
    drawing, panels = figure(7.0, 4.4, len(FREEDOMS), len(tables) // len(FREEDOMS))
    for (case, table), axes in zip(tables.items(), panels.flat, strict=True):
        axes.axhline(table.truth, color="black", lw=1.0, label="analytic")
        for index, label in enumerate(METHODS):
            error_bars(axes, table.counts, table.values[:, :, index].T, index, label)
        axes.set_xscale("log")
        axes.set_xticks(table.counts)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 50k
        axes.minorticks_off()
        axes.set_title(f"nu = {case.freedom}, d = {case.dimensions}")
        axes.set(xlabel="samples", ylabel=f"{symbol} (bits)")
    legend_below(drawing, panels[0, 0], 3)
    caption = folder.caption("student", quantity, name=name.capitalize(), trials=trials)
    folder.figure(quantity, drawing, caption, _numbers(tables))


def _draw_identity(folder: Folder, quantity: Quantity, tables: Tables, trials: int) -> None:
    """Draw estimates as shares of the truth, for the identity as scatter."""
    symbol, name = QUANTITIES[quantity]
    drawing, panels = figure(6.0, 2.8)
    axes, x = panels[0, 0], np.arange(len(tables))
    for index, label in enumerate(METHODS):
        shares = [table.values[-1, :, index] / table.truth for table in tables.values()]
        offsets = x + 0.12 * (index - len(METHODS) // 2)
        error_bars(axes, offsets, np.transpose(shares), index, label, line="")
    axes.axhline(1.0, color="black", lw=1.0, label="analytic")
    names = [f"nu {case.freedom}\nd {case.dimensions}" for case in tables]
    samples = [f"n {table.counts[-1]}" for table in tables.values()]
    axes.set_xticks(x, map("\n".join, zip(names, samples, strict=True)))
    axes.set_ylabel(f"{symbol} / truth")
    legend_below(drawing, axes, 3)
    caption = folder.text("identity", name=name.capitalize(), trials=trials)
    folder.figure(f"{quantity}-identity", drawing, caption, _numbers(tables))


def best_finding(quantity: str, tables: Tables, trials: int) -> Finding:
    """Return whether RBIG, stopped as in the paper, is always the best method or close to it."""
    close = np.concatenate([table.close() for table in tables.values()])
    errors = np.concatenate([table.errors / table.truth for table in tables.values()])
    values, shares = {}, []
    for label, hits, error in zip(METHODS, close.sum(axis=0), errors.T, strict=True):
        # A method that was left out for want of memory neither hit nor missed.
        error = error[np.isfinite(error)]
        median = 100 * float(np.median(error)) if len(error) else math.nan
        shares.append(hits / max(len(error), 1))
        hit = Value("close", hits, form=".0f", remark=f"of {len(error)}")
        values[label] = [hit, Value("median error", median, form=".0f")]
    verdict = graded(shares[_PAPER], 1.0, 0.5)
    constants = {"quantity": quantity, "trials": trials, "close": _CLOSE}
    return finding(NAME, "best", verdict, values, **constants)


def negative_finding(quantity: str, tables: Tables, trials: int) -> Finding:
    """Return in how many settings a method had a negative trial: kNN, which the paper omits?"""
    negative = np.concatenate([(table.values < 0).any(axis=1) for table in tables.values()])
    values = named_values(METHODS, negative.sum(axis=0), ".0f")
    constants = {"quantity": quantity, "trials": trials, "count": len(negative)}
    return finding(NAME, "negative", agreement(negative[:, _OMITTED]), values, **constants)


def _numbers(tables: Tables) -> dict[str, np.ndarray | float]:
    numbers: dict[str, np.ndarray | float] = {"methods": np.array(list(METHODS))}
    for case, table in tables.items():
        numbers[f"{case.name} truth"] = table.truth
        numbers[f"{case.name} n"] = table.counts
        numbers[f"{case.name} values"] = table.values
    return numbers
