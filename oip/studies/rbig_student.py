"""Total correlation and mutual information of t distributions: figures 2 and 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core import seeds
from oip.core.progress import Progress
from oip.core.units import bits
from oip.studies.frame import Folder, StudySettings
from oip.studies.rbig_truth import Student, scatter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        import mi

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


def run(folder: Folder, settings: StudySettings, progress: Progress) -> None:
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


def drawn(tables: dict[Case, Table], quantity: Quantity) -> Figure:
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
        drawn(mixed, quantity),
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
