"""Information theory in density destructors: circles destroyed, and estimates beside truths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core import seeds
from oip.core.progress import Progress
from oip.core.units import bits
from oip.mi.estimators.density_destructor import Rotation
from oip.studies.report import Folder, StudySettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from oip.mi import Destructor

NAME = "rbig"
TITLE = "Density destructors: circles, total correlation and mutual information of t distributions"
SOURCE = (
    "J. E. Johnson, V. Laparra, R. Santos-Rodriguez, G. Camps-Valls, J. Malo: Information theory "
    "in density destructors. ICML workshop on invertible neural networks and normalizing flows, "
    "2019."
)
MINUTES = 5
TAKES = ()


def run(folder: Folder, settings: StudySettings, progress: Progress) -> None:
    """Both experiments of the paper; no data are needed.

    Args:
        folder: for what is computed and drawn.
        settings: `quick` has fewer samples and trials.
        progress: told circles and trials.
    """
    run_rbig_circles(folder, settings, progress)
    run_rbig_student(folder, settings, progress)


ROTATIONS: dict[Rotation, str] = {"pca": "PCA", "random": "random rotations"}
"""The paper's choice, and one that it names beside it."""
RADII = (0.5, 1.0)
NOISE = 0.05
"""Standard deviation around the circles, in each coordinate."""
_SAMPLES, _QUICK_SAMPLES = 20_000, 5_000
_LAYERS, _QUICK_LAYERS = 200, 100
_SHOWN = 3_000
_CHANCE = 6
"""Runs on permuted columns, for what layers remove by chance."""
_GRID = 700
_CELLS = 8
"""Cells along a side of the unit square, for how even it is."""


def run_rbig_circles(folder: Folder, settings: StudySettings, progress: Progress) -> None:
    """The six panels, and how well each step does what the paper says of it, by rotation."""
    samples = _QUICK_SAMPLES if settings.quick else _SAMPLES
    layers = _QUICK_LAYERS if settings.quick else _LAYERS
    progress("circles", 0, len(ROTATIONS))
    for done, (rotation, name) in enumerate(ROTATIONS.items(), 1):
        found = folder.part(
            f"circles-{rotation}",
            lambda rotation=rotation: destroyed(samples, layers, rotation, settings.seed),
        )
        progress("circles", done, len(ROTATIONS))
        folder.figure(
            f"circles-{rotation}",
            drawn(found),
            f"Density of concentric circles by RBIG with {name}, {samples} samples, {layers} "
            "layers. The layers end in a Gaussian; its distribution function takes it to the unit "
            "square. Grey: mean and range of the sum for columns that were permuted, which have no "
            "total correlation. Dashed: the true total correlation, summed over a grid.",
            {name: values for name, values in found.items() if values.ndim < 2},
        )
        _claims(folder, found, samples, name)


def circles(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2): points on one of two circles, with Gaussian noise."""
    angle = rng.uniform(0.0, 2 * math.pi, count)
    radius = rng.choice(RADII, count)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points + NOISE * rng.standard_normal((count, 2))


def true_total_correlation() -> float:
    """T of `circles` in nats, by sums over a grid.

    p(x) = mean over the radii r of exp(-(|x|^2 + r^2) / 2 s^2) I_0(|x| r / s^2) / (2 pi s^2).
    """
    from scipy.special import i0e

    edge = max(RADII) + 6 * NOISE
    side = np.linspace(-edge, edge, _GRID)
    cell = (side[1] - side[0]) ** 2
    length = np.hypot(side[:, None], side[None, :])
    density = np.zeros((_GRID, _GRID))
    for radius in RADII:
        density += (
            np.exp(-((length - radius) ** 2) / (2 * NOISE**2)) * i0e(length * radius / NOISE**2)
        ) / (2 * math.pi * NOISE**2 * len(RADII))
    density /= density.sum() * cell
    marginal = density.sum(axis=0) * math.sqrt(cell)
    return 2 * _entropy(marginal, math.sqrt(cell)) - _entropy(density, cell)


def destroyed(samples: int, layers: int, rotation: Rotation, seed: int) -> dict[str, np.ndarray]:
    """The circles there and back, and what the layers removed; information in bits.

    Args:
        samples: points that the destructor is fitted to, and as many that it has not seen.
        layers: of the destructor.
        rotation: of every layer.
        seed: of points and samples.
    """
    from oip import mi

    x = circles(samples, seeds.generator(seed, "circles"))
    fresh = circles(samples, seeds.generator(seed, "circles", 1))
    again = circles(samples, seeds.generator(seed, "circles", 2))
    destructor = mi.Destructor(layers, rotation, seed=seed).fit(x)
    base = to_square(destructor.transform(x))
    back = destructor.inverse(to_gaussian(base))
    uniform = seeds.generator(seed, "circles base").random((samples, 2))
    generated = destructor.inverse(to_gaussian(uniform))
    chance = []
    for place in range(_CHANCE):
        rng = seeds.generator(seed, "circles chance", place)
        mixed = np.stack([rng.permutation(column) for column in x.T], axis=1)
        removed = mi.Destructor(layers, rotation, seed=seed).fit(mixed).removed
        chance.append(np.cumsum(removed))
    return {
        "data": x[:_SHOWN],
        "base": base[:_SHOWN],
        "inverse": back[:_SHOWN],
        "uniform": uniform[:_SHOWN],
        "generated": generated[:_SHOWN],
        "inverse_error": np.array(np.abs(back - x).max()),
        "cumulative": bits(np.cumsum(destructor.removed)),
        "chance": bits(np.array(chance)),
        "truth": np.array(bits(true_total_correlation())),
        "by_jacobian": np.array(bits(by_jacobian(destructor, x))),
        "radius_generated": np.array(_apart(_radius(generated), _radius(fresh))),
        "radius_data": np.array(_apart(_radius(again), _radius(fresh))),
        "evenness": np.array(evenness(to_square(destructor.transform(fresh)))),
        "evenness_chance": np.array(evenness(uniform)),
    }


def by_jacobian(destructor: Destructor, x: np.ndarray) -> float:
    """What all layers removed by eq. 6, in nats, with the sign that makes it T(x) - T(z).

    sum_d (H(x_d) - H(z_d)) + <log |det dD/dx|>, entropies being those of histograms.

    Args:
        destructor: fitted to x.
        x: (n, d).
    """
    from oip.mi.estimators.density_destructor import sorted_entropies

    before, after = (
        sorted_entropies(np.sort(values.T, axis=1)).sum() for values in (x, destructor.transform(x))
    )
    return float(before - after + destructor.log_jacobian(x).mean())


def to_square(z: np.ndarray) -> np.ndarray:
    """Gaussian coordinates to the unit square, by the Gaussian distribution function."""
    from scipy.special import ndtr

    return ndtr(z)


def to_gaussian(u: np.ndarray) -> np.ndarray:
    """The unit square to Gaussian coordinates."""
    from scipy.special import ndtri

    return ndtri(u)


def evenness(points: np.ndarray) -> float:
    """Chi-square a degree of freedom of counts in equal cells: about 1 for a uniform square.

    Args:
        points: (n, 2) in the unit square.
    """
    counts = np.histogram2d(*points.T, bins=_CELLS, range=[[0, 1], [0, 1]])[0]
    mean = len(points) / _CELLS**2
    return float(((counts - mean) ** 2).sum() / mean / (_CELLS**2 - 1))


def drawn(found: dict[str, np.ndarray]) -> Figure:
    """The panels (a) to (f) of figure 1."""
    from oip.core.plots import PALETTE, QUIET, figure

    drawing, panels = figure(6.5, 4.4, 2, 3)
    shown = (
        ("data", "(a) data"),
        ("base", "(b) unit square"),
        ("inverse", "(c) inverse of b"),
        ("uniform", "(d) uniform samples"),
        ("generated", "(e) inverse of d"),
    )
    for axes, (name, title) in zip(panels.flat, shown, strict=False):
        axes.scatter(*found[name].T, s=0.6, color=PALETTE[0], linewidths=0, rasterized=True)
        axes.set_title(title)
        axes.set_aspect("equal")
        if name not in ("base", "uniform"):
            axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3))
    axes = panels[1, 2]
    layer = np.arange(1, len(found["cumulative"]) + 1)
    low, high = found["chance"].min(axis=0), found["chance"].max(axis=0)
    axes.fill_between(layer, low, high, color=QUIET, alpha=0.3, lw=0)
    axes.plot(layer, found["chance"].mean(axis=0), color=QUIET, label="permuted columns")
    axes.plot(layer, found["cumulative"], color=PALETTE[0], label="circles")
    axes.axhline(float(found["truth"]), color="black", ls="--", lw=0.8, label="truth")
    axes.set(xlabel="layer", ylabel="removed T (bits)", title="(f) sum over layers")
    axes.set_ylim(top=1.7 * float(found["truth"]))
    axes.legend(frameon=False, loc="upper left", fontsize=6)
    return drawing


def _claims(folder: Folder, found: dict[str, np.ndarray], samples: int, name: str) -> None:
    total, truth = float(found["cumulative"][-1]), float(found["truth"])
    chance = found["chance"]
    late = slice(3 * len(found["cumulative"]) // 4, None)
    own = float(found["cumulative"][-1] - found["cumulative"][late][0])
    by_chance = chance[:, -1] - chance[:, late][:, 0]
    bound = float(by_chance.max())
    removed = total - float(chance[:, -1].mean())
    converged = own <= bound + 0.01 * truth
    folder.claim(
        "The sum of the removed total correlation levels off: all redundancy is gone (fig. 1 f) "
        f"({name}).",
        f"The last quarter of the layers adds {own:.3f} bits, where permuted columns add "
        f"{by_chance.mean():.3f} ({by_chance.min():.3f} to {bound:.3f}). The sum is {total:.2f} "
        f"bits, {removed:.2f} above chance; the truth is {truth:.2f} bits, so that "
        f"{removed / truth:.0%} of it was found.",
        "yes"
        if converged and removed > 0.9 * truth
        else "partly"
        if removed > 0.75 * truth
        else "no",
        f"one set of {samples} points; the truth is a sum over a grid; chance from {_CHANCE} "
        "permuted sets",
    )
    error = float(found["inverse_error"])
    folder.claim(
        f"The destructor can be inverted (fig. 1 b to c) ({name}).",
        f"The largest difference in a coordinate is {error:.1e} after the way there and back.",
        "yes" if error < 1e-3 else "no",
        f"all {samples} points",
    )
    even, expected_ = float(found["evenness"]), float(found["evenness_chance"])
    apart, least = float(found["radius_generated"]), float(found["radius_data"])
    good = even < 2 * max(expected_, 1.0)
    near = apart < 2 * least
    folder.claim(
        "What comes out is close to a uniform square, and uniform samples through the inverse look "
        f"like the data (fig. 1 a, b, d, e) ({name}).",
        f"Points that were not fitted: chi-square {even:.2f} a degree of freedom over {_CELLS} x "
        f"{_CELLS} cells ({expected_:.2f} for uniform samples). Radii of generated points differ "
        f"from those of new data by {apart:.3f} (Kolmogorov-Smirnov), two sets of data by "
        f"{least:.3f}.",
        "yes" if good and near else "partly",
        f"{samples} points each; close by eye, judged here by twice what chance makes",
    )
    jacobian = float(found["by_jacobian"])
    gap = abs(jacobian - total)
    folder.claim(
        f"The sum over layers (eq. 7) is what the Jacobian tells (eq. 6) ({name}).",
        f"{total:.3f} bits by layers, {jacobian:.3f} by the Jacobian. As printed, eq. 6 is the "
        "change T(z) - T(x), the negative of it.",
        "yes" if gap < 0.05 * total else "partly" if gap < 0.15 * total else "no",
        "one fit; both rest on entropies of histograms, each biased by some hundredths of a bit",
    )


def _radius(points: np.ndarray) -> np.ndarray:
    return np.hypot(*points.T)


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    """Largest difference of two distribution functions (Kolmogorov and Smirnov)."""
    values = np.concatenate([first, second])
    parts = (np.searchsorted(np.sort(one), values, side="right") for one in (first, second))
    one, other = parts
    return float(np.abs(one / len(first) - other / len(second)).max())


def _entropy(density: np.ndarray, cell: float) -> float:
    positive = density[density > 0]
    return float(-(positive * np.log(positive)).sum() * cell)


@dataclass(frozen=True, eq=False)
class Student:
    """A multivariate t distribution about 0.

    References:
        J. L. Guerrero-Cusumano: Measures of dependence for the multivariate t distribution with
        applications to the stock market. Communications in Statistics, Theory and Methods 27
        (1998) 2985.
    """

    freedom: float
    """Degrees of freedom, nu."""
    scatter: np.ndarray
    """(d, d), positive definite."""

    def samples(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, d): Gaussian rows with covariance S, each over sqrt(chi-square / nu)."""
        d = len(self.scatter)
        rows = rng.standard_normal((n, d)) @ np.linalg.cholesky(self.scatter).T
        return rows / np.sqrt(rng.chisquare(self.freedom, (n, 1)) / self.freedom)

    @property
    def total_correlation(self) -> float:
        """T = 1/2 ln(prod S_ii / |S|) + d h(nu, 1) - h(nu, d), in nats."""
        d = len(self.scatter)
        linear = 0.5 * (np.log(np.diagonal(self.scatter)).sum() - _log_determinant(self.scatter))
        return float(linear + d * entropy(self.freedom, 1) - entropy(self.freedom, d))

    def information(self, first: int) -> float:
        """I of the first coordinates and the others, in nats.

        1/2 ln(|S_x| |S_y| / |S|) + h(nu, d_x) + h(nu, d_y) - h(nu, d_x + d_y).

        Args:
            first: d_x, how many coordinates x has.
        """
        d, s = len(self.scatter), self.scatter
        blocks = _log_determinant(s[:first, :first]) + _log_determinant(s[first:, first:])
        linear = 0.5 * (blocks - _log_determinant(s))
        alone = entropy(self.freedom, first) + entropy(self.freedom, d - first)
        return float(linear + alone - entropy(self.freedom, d))


def entropy(freedom: float, d: int) -> float:
    """h(nu, d): differential entropy of a d-dimensional t with unit scatter, in nats.

    ln Gamma(nu/2) - ln Gamma((nu+d)/2) + (d/2) ln(nu pi)
    + ((nu+d)/2) [psi((nu+d)/2) - psi(nu/2)].
    """
    from scipy.special import digamma, gammaln

    half, both = freedom / 2, (freedom + d) / 2
    return float(
        gammaln(half)
        - gammaln(both)
        + d / 2 * math.log(freedom * math.pi)
        + both * (digamma(both) - digamma(half))
    )


def scatter(d: int, rng: np.random.Generator) -> np.ndarray:
    """(d, d): 10 I + A A^T with A uniform in (0, 1), scaled to a unit diagonal."""
    a = rng.random((d, d))
    s = 10 * np.eye(d) + a @ a.T
    root = np.sqrt(np.diagonal(s))
    return s / root[:, None] / root[None, :]


def _log_determinant(matrix: np.ndarray) -> float:
    return float(np.linalg.slogdet(matrix)[1])


Quantity = Literal["total", "information"]
FREEDOMS = (3, 5)
DIMENSIONS = (3, 10, 50)
TRIALS, QUICK_TRIALS = 5, 3
_COUNTS = (500, 1_000, 5_000, 10_000, 50_000)
_QUICK_COUNTS = {3: (500, 2_000, 5_000), 10: (500, 2_000, 5_000), 50: (500, 1_000)}
_BYTES, _QUICK_BYTES = 4 << 30, 5 << 28
_CLOSE = 1.5
"""An error of up to so many times the smallest one counts as close to it."""


@dataclass(frozen=True)
class Method:
    """A way to estimate, as it is named in the figures."""

    label: str
    name: str
    parameters: tuple[tuple[str, Any], ...] = ()

    def estimator(self) -> Any:
        """The estimator of `mi`."""
        from oip import mi

        return mi.estimator(self.name, **dict(self.parameters))


METHODS = (
    Method("RBIG, null subtracted", "rbig"),
    Method("RBIG, the paper's stopping", "rbig", (("stopping", "paper"),)),
    Method("expF (Gaussian)", "gaussian"),
    Method("vME", "vme"),
    Method("kNN", "ksg"),
)
SHOWN: dict[Quantity, tuple[str, str]] = {
    "total": ("T", "total correlation of d coordinates"),
    "information": ("I", "mutual information of d and d coordinates"),
}


@dataclass(frozen=True)
class Case:
    """One panel's distribution."""

    freedom: int
    dimensions: int
    mixed: bool
    """The scatter of the authors' experiments; the identity if not."""

    @property
    def name(self) -> str:
        """In names of files and numbers."""
        kind = "" if self.mixed else "-identity"
        return f"nu{self.freedom}-d{self.dimensions}{kind}"

    def student(self, quantity: Quantity, seed: int) -> Student:
        """The distribution; its scatter is the same for all trials and degrees of freedom."""
        wide = self.dimensions * (2 if quantity == "information" else 1)
        if not self.mixed:
            return Student(self.freedom, np.eye(wide))
        return Student(self.freedom, scatter(wide, seeds.generator(seed, "scatter", wide)))

    def truth(self, quantity: Quantity, seed: int) -> float:
        """In nats."""
        student = self.student(quantity, seed)
        if quantity == "total":
            return student.total_correlation
        return student.information(self.dimensions)


def run_rbig_student(folder: Folder, settings: StudySettings, progress: Progress) -> None:
    """Every method on every distribution; a trial is kept as soon as it is there."""
    trials = QUICK_TRIALS if settings.quick else TRIALS
    room = _QUICK_BYTES if settings.quick else _BYTES
    cases = [Case(nu, d, mixed) for mixed in (True, False) for nu in FREEDOMS for d in DIMENSIONS]
    work = [
        (case, n, trial)
        for case in cases
        for n in counts(case, settings.quick)
        for trial in range(trials)
    ]
    progress("t distributions", 0, len(work))
    found: dict[tuple[Case, int], list[dict[str, np.ndarray]]] = {}
    for done, (case, n, trial) in enumerate(work, 1):
        part = folder.part(
            f"student/{case.name}-n{n}-trial{trial}",
            lambda case=case, n=n, trial=trial: measured(case, n, trial, settings.seed, room),
        )
        found.setdefault((case, n), []).append(part)
        progress("t distributions", done, len(work))
    for quantity in SHOWN:
        tables = {case: table(found, case, quantity, settings) for case in cases}
        _report(folder, quantity, tables, trials)
    folder.note(
        "The paper does not say how the scatter of the t distributions was made. Here it is 10 I + "
        "A A^T with A uniform in (0, 1), scaled to a unit diagonal, as in the authors' code; one "
        "draw for all trials. The identity, for which all dependence is of a kind that no "
        "covariance shows, is there beside it as the harder case. 'expF' is the maximum likelihood "
        "Gaussian."
    )
    folder.note(
        f"vME holds a matrix of n x n for every coordinate; it was left out where that needs more "
        f"than {room / 2**30:.2g} GiB. Values are shown as they come out, negative ones too; the "
        "paper left methods with negative values out."
    )


def counts(case: Case, quick: bool) -> tuple[int, ...]:
    """Numbers of samples; the identity has the largest that quick studies have."""
    some = _QUICK_COUNTS[case.dimensions]
    if not case.mixed:
        return some[-1:]
    return some if quick else _COUNTS


def measured(case: Case, n: int, trial: int, seed: int, room: int) -> dict[str, np.ndarray]:
    """All methods on one set of samples.

    Args:
        case: the distribution.
        n: samples.
        trial: its number.
        seed: of the study.
        room: bytes that the kernel matrices of a method may take.

    Returns:
        `total` and `information`, (methods,) in bits, NaN where a method was left out.
    """
    found: dict[str, np.ndarray] = {}
    d = case.dimensions
    for quantity in SHOWN:
        rng = seeds.generator(seed, quantity, case.freedom, d, int(case.mixed), n, trial)
        x = case.student(quantity, seed).samples(n, rng)
        values = []
        for method in METHODS:
            matrices = d + 3 if quantity == "total" else 5
            if method.name == "vme" and 8 * matrices * n * n > room:
                values.append(np.nan)
                continue
            one = method.estimator()
            if quantity == "total":
                values.append(one.total_correlation(x, seed).nats)
            else:
                values.append(one.information(x[:, :d], x[:, d:], seed).nats)
        found[quantity] = bits(np.array(values))
    return found


@dataclass(frozen=True, eq=False)
class Table:
    """One panel: a truth, and what every method found. In bits."""

    truth: float
    counts: np.ndarray
    """(counts,) samples."""
    values: np.ndarray
    """(counts, trials, methods)."""

    @property
    def errors(self) -> np.ndarray:
        """(counts, methods): root mean squared error over trials."""
        return np.sqrt(((self.values - self.truth) ** 2).mean(axis=1))

    def close(self) -> np.ndarray:
        """(counts, methods) bool: the best or an error up to 1.5 times that of the best.

        The two kinds of RBIG are each compared with the other methods, not with one another.
        """
        errors = self.errors
        others = np.nanmin(errors[:, 2:], axis=1)
        result = np.empty(errors.shape, bool)
        for place in range(errors.shape[1]):
            if place < 2:
                result[:, place] = errors[:, place] <= _CLOSE * others
            else:
                result[:, place] = errors[:, place] <= _CLOSE * np.nanmin(errors, axis=1)
        return result


def table(
    found: dict[tuple[Case, int], list[dict[str, np.ndarray]]],
    case: Case,
    quantity: Quantity,
    settings: StudySettings,
) -> Table:
    """The trials of one case."""
    samples = counts(case, settings.quick)
    return Table(
        truth=bits(case.truth(quantity, settings.seed)),
        counts=np.array(samples),
        values=np.array([[part[quantity] for part in found[case, n]] for n in samples]),
    )


def drawn_rbig_student(tables: dict[Case, Table], quantity: Quantity) -> Figure:
    """A panel for every number of degrees of freedom (rows) and dimensions (columns)."""
    from oip.core.plots import PALETTE, figure

    symbol, _ = SHOWN[quantity]
    drawing, panels = figure(7.0, 4.4, len(FREEDOMS), len(DIMENSIONS))
    for (case, one), axes in zip(tables.items(), panels.flat, strict=True):
        axes.axhline(one.truth, color="black", lw=1.0, label="analytic")
        for place, method in enumerate(METHODS):
            mean, spread = one.values[:, :, place].mean(1), one.values[:, :, place].std(1)
            axes.errorbar(
                one.counts,
                mean,
                spread,
                color=PALETTE[place],
                marker="os^Dv"[place],
                capsize=2,
                lw=1.0,
                label=method.label,
            )
        axes.set_xscale("log")
        axes.set_xticks(one.counts, [f"{n:,}" for n in one.counts])
        axes.minorticks_off()
        axes.set_title(f"nu = {case.freedom}, d = {case.dimensions}")
        axes.set(xlabel="samples", ylabel=f"{symbol} (bits)")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return drawing


def drawn_errors(tables: dict[Case, Table], quantity: Quantity) -> Figure:
    """Estimates as shares of the truth at the largest number of samples, identity scatter."""
    from oip.core.plots import PALETTE, figure

    symbol, _ = SHOWN[quantity]
    drawing, panels = figure(6.0, 2.8)
    axes = panels[0, 0]
    places = np.arange(len(tables))
    for place, method in enumerate(METHODS):
        shares = np.array([one.values[-1, :, place] / one.truth for one in tables.values()])
        axes.errorbar(
            places + 0.12 * (place - 2),
            shares.mean(1),
            shares.std(1),
            fmt="os^Dv"[place],
            color=PALETTE[place],
            capsize=2,
            label=method.label,
        )
    axes.axhline(1.0, color="black", lw=1.0, label="analytic")
    names = [f"nu {case.freedom}\nd {case.dimensions}\nn {one.counts[-1]}"
             for case, one in tables.items()]  # fmt: skip
    axes.set_xticks(places, names)
    axes.set_ylabel(f"{symbol} / truth")
    drawing.legend(loc="outside lower center", ncols=3, frameon=False)
    return drawing


def _report(folder: Folder, quantity: Quantity, tables: dict[Case, Table], trials: int) -> None:
    symbol, what = SHOWN[quantity]
    mixed = {case: one for case, one in tables.items() if case.mixed}
    plain = {case: one for case, one in tables.items() if not case.mixed}
    spread = f"mean and standard deviation of {trials} trials"
    folder.figure(
        quantity,
        drawn_rbig_student(mixed, quantity),
        f"{what.capitalize()} of multivariate t distributions with nu degrees of freedom, scatter "
        f"as in the authors' code; {spread}. Black: the analytic value.",
        _numbers(mixed),
    )
    folder.figure(
        f"{quantity}-identity",
        drawn_errors(plain, quantity),
        f"{what.capitalize()} with the identity as scatter, as a share of the analytic value; "
        f"{spread}.",
        _numbers(plain),
    )
    _claim(folder, symbol, mixed, f"{trials} trials a setting", "")
    _claim(folder, symbol, plain, f"{trials} trials a setting", " (identity as scatter)")
    under = [
        f"{method.label} at {case.name}, n {n}"
        for case, one in mixed.items()
        for row, n in enumerate(one.counts)
        for place, method in enumerate(METHODS)
        if (one.values[row, :, place] < 0).any()
    ]
    by_method = {
        method.label: sum(text.startswith(method.label) for text in under) for method in METHODS
    }
    told = ", ".join(f"{name}: {count}" for name, count in by_method.items() if count)
    folder.claim(
        f"Some methods had negative values of {symbol} and were left out of the figures.",
        f"Settings of {sum(len(one.counts) for one in mixed.values())} with a negative trial: "
        f"{told or 'none'}.",
        "yes" if under else "no",
        f"{trials} trials a setting; every value is shown here",
    )


def _claim(folder: Folder, symbol: str, tables: dict[Case, Table], sure: str, where: str) -> None:
    close = np.concatenate([one.close() for one in tables.values()])
    errors = np.concatenate([one.errors / one.truth for one in tables.values()])
    # Where a method was left out for want of memory it neither hit nor missed.
    measured = np.isfinite(errors)
    shares = close.sum(axis=0) / np.maximum(measured.sum(axis=0), 1)
    parts = [
        f"{method.label}: {hits.sum()} of {there.sum()}, median error {_median(error)}"
        for method, hits, there, error in zip(METHODS, close.T, measured.T, errors.T, strict=True)
    ]
    best = max(shares[0], shares[1])
    folder.claim(
        f"RBIG is always the best or close to the best for {symbol}{where}.",
        f"Settings in which a method is best, or has at most {_CLOSE} times the smallest error, "
        f"of those in which it could be measured, "
        f"and its error as a share of the truth: {'; '.join(parts)}.",
        "yes" if best == 1.0 else "partly" if best >= 0.5 else "no",
        f"{sure}; errors are root mean squares over trials",
    )


def _median(errors: np.ndarray) -> str:
    known = errors[np.isfinite(errors)]
    return f"{np.median(known):.0%}" if len(known) else "unknown"


def _numbers(tables: dict[Case, Table]) -> dict[str, Any]:
    told: dict[str, Any] = {"methods": np.array([method.label for method in METHODS])}
    for case, one in tables.items():
        told[f"{case.name} truth"] = one.truth
        told[f"{case.name} n"] = one.counts
        told[f"{case.name} values"] = one.values
    return told
