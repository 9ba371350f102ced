"""Circles that a density destructor takes to a Gaussian, and back (figure 1 of `rbig`)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from oip.core import seeds
from oip.core.plots import PALETTE, QUIET, figure
from oip.core.units import bits
from oip.mi.estimators.density_destructor import Rotation, bin_count, sorted_entropies
from oip.studies.findings import Finding, Value, agreement, finding, graded, named_values
from oip.studies.report import Arrays, Folder, record_of

if TYPE_CHECKING:
    from scipy.stats import rv_histogram

    from oip.mi import Destructor

STUDY = "rbig"
ROTATIONS: dict[Rotation, str] = {
    "pca": "PCA",
    "ica": "independent components",
    "random": "random rotations",
}
"""The paper's choice, and those that it names beside it."""
RADII = (0.5, 1.0)
NOISE = 0.05
"""Standard deviation around the circles, in each coordinate."""
_SHOWN = 3_000
_PERMUTED = 6  # runs on permuted columns, for the information that layers remove by chance
_GRID = 700
_CELLS = 8  # cells along a side of the unit square, for how even it is
_LONG = 1.0  # times a fit above which what comes on top of it takes long
_ALIKE = 0.1  # largest difference of distribution functions at which radii are alike by eye


def add_circles(folder: Folder, samples: int, layers: int) -> None:
    """Destroy so many points of the circles with every rotation, and judge each."""

    def destroyed(rotation: Rotation) -> Arrays:
        compute = partial(destroy_circles, samples, layers, rotation, folder.settings.seed)
        return folder.part(f"circles-{rotation}", compute)

    measured = folder.results("circles", ROTATIONS, "circles-{}".format, destroyed)
    for rotation, arrays in measured.items():
        _draw_circles(folder, arrays, rotation, samples, layers)
        circles_found = record_of(Circles, arrays)
        folder.add(*circle_findings(circles_found, samples, ROTATIONS[rotation]))


def add_both_ways(folder: Folder, counts: Sequence[int], trials: int, layers: int) -> None:
    """Compare the two ways to T, eq. 6 and eq. 7, over the number of points."""
    fits = [CircleFit(count, trial) for count in counts for trial in range(trials)]
    compute = partial(both_ways, layers=layers, seed=folder.settings.seed)
    folder.add(ways_finding(folder.parts("ways", fits, compute, digest=""), trials))


def circles(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return points (count, 2) on one of two circles, with Gaussian noise."""
    angle = rng.uniform(0.0, 2 * math.pi, count)
    radius = rng.choice(RADII, count)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points + NOISE * rng.standard_normal((count, 2))


def circle_total_correlation() -> float:
    """Return T of `circles` in nats, by sums over a grid.

    p(x) = mean over the radii r of exp(-(|x|^2 + r^2) / 2 s^2) I_0(|x| r / s^2) / (2 pi s^2).
    """
    from scipy.special import entr, i0e

    edge = max(RADII) + 6 * NOISE
    side = np.linspace(-edge, edge, _GRID)
    step = side[1] - side[0]
    length = np.hypot(side[:, None], side[None, :])
    density = np.zeros((_GRID, _GRID))
    for radius in RADII:
        bessel = i0e(length * radius / NOISE**2)
        density += np.exp(-((length - radius) ** 2) / (2 * NOISE**2)) * bessel
    density /= density.sum() * step**2
    marginal = density.sum(axis=0) * step
    return float(2 * entr(marginal).sum() * step - entr(density).sum() * step**2)


def destroy_circles(samples: int, layers: int, rotation: Rotation, seed: int) -> Arrays:
    """Return the circles there and back, and the information that layers removed, in bits.

    The destructor is fitted to `samples` points and judged by as many fresh ones.
    """
    from scipy.stats import ks_2samp

    from oip import mi

    x = circles(samples, seeds.generator(seed, "circles"))
    fresh, fresher = (circles(samples, seeds.generator(seed, "circles", n)) for n in (1, 2))
    destructor = mi.Destructor(layers, rotation, seed=seed).fit(x)
    z = destructor.transform(x)
    cube = marginal_histograms(z)
    base = to_cube(cube, z)
    inverse = destructor.inverse(from_cube(cube, base))
    uniform = seeds.generator(seed, "circles base").random((samples, 2))
    generated = destructor.inverse(from_cube(cube, uniform))
    chance = []
    for permutation in range(_PERMUTED):
        rng = seeds.generator(seed, "circles chance", permutation)
        mixed = np.stack([rng.permutation(column) for column in x.T], axis=1)
        chance.append(np.cumsum(mi.Destructor(layers, rotation, seed=seed).fit(mixed).removed))
    radii = [np.hypot(*points.T) for points in (fresh, generated, fresher)]
    point_sets = {"data": x, "base": base, "inverse": inverse}
    point_sets |= {"uniform": uniform, "generated": generated}
    return {
        **{name: points[:_SHOWN] for name, points in point_sets.items()},
        "inverse_error": np.array(np.abs(inverse - x).max()),
        "cumulative": bits(np.cumsum(destructor.removed)),
        "chance": bits(np.array(chance)),
        "truth": np.array(bits(circle_total_correlation())),
        "by_jacobian": np.array(bits(removed_by_jacobian(destructor, x))),
        "radius_generated": np.array(ks_2samp(radii[1], radii[0], method="asymp")[0]),
        "radius_data": np.array(ks_2samp(radii[2], radii[0], method="asymp")[0]),
        "evenness": np.array(evenness(to_cube(cube, destructor.transform(fresh)))),
        "evenness_chance": np.array(evenness(uniform)),
    }


def marginal_histograms(z: np.ndarray) -> list[rv_histogram]:
    """Return the distribution of each coordinate's histogram; samples are (n, d).

    Empty bins are joined to the one before, so that distribution functions rise and have inverses.
    """
    from scipy.stats import rv_histogram

    distributions = []
    for column in z.T:
        counts, edges = np.histogram(column, bin_count(len(column)))
        nonempty = counts > 0
        bins = counts[nonempty], edges[np.append(nonempty, True)]
        distributions.append(rv_histogram(bins, density=False))
    return distributions


def to_cube(distributions: list[rv_histogram], z: np.ndarray) -> np.ndarray:
    """Return samples (n, d) in the unit cube, by their distribution functions."""
    return np.stack([d.cdf(column) for d, column in zip(distributions, z.T, strict=True)], axis=1)


def from_cube(distributions: list[rv_histogram], u: np.ndarray) -> np.ndarray:
    """Return points (n, d) of the unit cube, mapped back."""
    return np.stack([d.ppf(column) for d, column in zip(distributions, u.T, strict=True)], axis=1)


def removed_by_jacobian(destructor: Destructor, x: np.ndarray) -> float:
    """Return T(x) - T(z) in nats of all layers by eq. 6, from entropies of histograms.

    sum_d (H(x_d) - H(z_d)) + <log |det dD/dx|>.
    """
    entropy_before, entropy_after = (
        sorted_entropies(np.sort(values.T, axis=1)).sum() for values in (x, destructor.transform(x))
    )
    return float(entropy_before - entropy_after + destructor.log_jacobian(x).mean())


def evenness(points: np.ndarray) -> float:
    """Return chi-square a degree of freedom of points (n, 2) in equal cells, about 1 if uniform."""
    from scipy.stats import chisquare

    counts = np.histogram2d(*points.T, bins=_CELLS, range=[[0, 1], [0, 1]])[0].ravel()
    return float(chisquare(counts).statistic / (len(counts) - 1))


class Circles(NamedTuple):
    """Numbers of `destroy_circles` that findings and the last panel show, in bits."""

    cumulative: np.ndarray
    """(layers,): T that the first layers removed."""
    chance: np.ndarray
    """(permutations, layers): the same of permuted columns."""
    truth: np.ndarray
    by_jacobian: np.ndarray
    inverse_error: np.ndarray
    evenness: np.ndarray
    evenness_chance: np.ndarray
    radius_generated: np.ndarray
    radius_data: np.ndarray


def _draw_circles(
    folder: Folder, arrays: Arrays, rotation: Rotation, samples: int, layers: int
) -> None:
    """Draw the panels (a) to (f) of figure 1."""
    drawing, panels = figure(6.5, 4.4, 2, 3)
    titles = {
        "data": "(a) data",
        "base": "(b) unit square",
        "inverse": "(c) inverse of b",
        "uniform": "(d) uniform samples",
        "generated": "(e) inverse of d",
    }
    for axes, (name, title) in zip(panels.flat, titles.items(), strict=False):
        axes.scatter(*arrays[name].T, s=0.6, color=PALETTE[0], linewidths=0, rasterized=True)
        axes.set_title(title)
        axes.set_aspect("equal")
        if name not in ("base", "uniform"):
            axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3))
    numbers = record_of(Circles, arrays)
    axes, truth, chance = panels[1, 2], float(numbers.truth), numbers.chance
    layer = np.arange(1, len(numbers.cumulative) + 1)
    axes.fill_between(layer, chance.min(0), chance.max(0), color=QUIET, alpha=0.3, lw=0)
    axes.plot(layer, chance.mean(axis=0), color=QUIET, label="permuted columns")
    axes.plot(layer, numbers.cumulative, color=PALETTE[0], label="circles")
    axes.axhline(truth, color="black", ls="--", lw=0.8, label="truth")
    axes.set(xlabel="layer", ylabel="removed T (bits)", title="(f) sum over layers")
    axes.set_ylim(top=1.7 * truth)
    axes.legend(frameon=False, loc="upper left", fontsize=6)
    sizes = {"samples": samples, "layers": layers}
    caption = folder.caption("circles", rotation, rotation=ROTATIONS[rotation], **sizes)
    plotted = {name: values for name, values in arrays.items() if values.ndim < 2}
    folder.figure(f"circles-{rotation}", drawing, caption, plotted)


def circle_findings(circles: Circles, samples: int, name: str) -> list[Finding]:
    """Return the findings of figure 1 with the rotation of a name."""
    row = partial(finding, STUDY, name=name, samples=samples, permuted=_PERMUTED)
    total, truth = float(circles.cumulative[-1]), float(circles.truth)
    jacobian = float(circles.by_jacobian)
    chance, quarter = circles.chance, 3 * len(circles.cumulative) // 4
    added = total - float(circles.cumulative[quarter])
    by_chance = chance[:, -1] - chance[:, quarter]
    share = (total - float(chance[:, -1].mean())) / truth
    level = added <= by_chance.max() + 0.01 * truth
    levels_off = "yes" if level and share > 0.9 else "partly" if share > 0.75 else "no"
    sums = [
        *named_values(("sum", "truth"), (total, truth)),
        Value("added by the last quarter of the layers", added, form=".3f"),
        Value("by chance", by_chance.mean(), by_chance.min(), by_chance.max(), ".3f"),
    ]
    difference = Value("in a coordinate", float(circles.inverse_error), form=".1e")
    evenness = float(circles.evenness), float(circles.evenness_chance)
    radius = float(circles.radius_generated), float(circles.radius_data)
    close = evenness[0] < 2 * max(evenness[1], 1.0) and radius[0] < 2 * radius[1]
    cells = f"chi-square a degree of freedom over {_CELLS} x {_CELLS} cells"
    of_radii = ("generated points", "another set of data")
    distances = {
        cells: named_values(("fresh points", "uniform samples"), evenness),
        "radii, Kolmogorov-Smirnov": named_values(of_radii, radius, ".3f"),
    }
    fits = named_values(("by layers", "by Jacobian"), (total, jacobian), ".3f")
    return [
        row("level", levels_off, sums, share=share),
        row("inverse", "yes" if difference.value < 1e-3 else "no", [difference]),
        row("uniform", "yes" if close else "partly" if radius[0] < _ALIKE else "no", distances),
        row("jacobian", graded(-abs(jacobian - total), -0.05 * total, -0.15 * total), fits),
    ]


@dataclass(frozen=True)
class CircleFit:
    """A destructor that is fitted to so many points of the circles."""

    samples: int
    trial: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.samples}-{self.trial}"


def both_ways(fit: CircleFit, layers: int, seed: int) -> Arrays:
    """Return T of the circles in bits by eq. 7 and by eq. 6, and seconds of the processor.

    The sum of eq. 7 comes with the fit; what eq. 6 takes comes on top of it.
    """
    from oip import mi

    x = circles(fit.samples, seeds.generator(seed, "circles both ways", fit.samples, fit.trial))
    start = time.process_time()
    destructor = mi.Destructor(layers, seed=seed).fit(x)
    fitted = time.process_time()
    jacobian = removed_by_jacobian(destructor, x)
    return {
        "by_layers": np.array(bits(destructor.total_correlation)),
        "by_jacobian": np.array(bits(jacobian)),
        "fit_seconds": np.array(fitted - start),
        "jacobian_seconds": np.array(time.process_time() - fitted),
    }


def ways_finding(ways: Mapping[CircleFit, Arrays], trials: int) -> Finding:
    """Return the finding on the points and the time that eq. 6 takes, beside eq. 7."""
    truth = bits(circle_total_correlation())
    errors, seconds = {}, {}
    outcomes = []
    for count in sorted({fit.samples for fit in ways}):
        rows = [arrays for fit, arrays in ways.items() if fit.samples == count]
        numbers = {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}
        layers, jacobian = (
            100 * np.abs(numbers[key] / truth - 1) for key in ("by_layers", "by_jacobian")
        )
        excess = Value.mean_of(jacobian - layers, "more by eq. 6", "+.0f")
        key = f"{count:,} points"
        errors[f"{key}, error in %"] = [
            *named_values(("eq. 7", "eq. 6"), (layers.mean(), jacobian.mean()), ".0f"),
            excess,
        ]
        outcomes.append(excess.above())
        seconds[count] = numbers["jacobian_seconds"].sum() / numbers["fit_seconds"].sum()
    longest = max(seconds.values())
    shares = [
        Value(f"{count:,} points", 100 * share, form=".0f") for count, share in seconds.items()
    ]
    values = {**errors, "time of eq. 6 in % of the fit": shares}
    verdict = agreement([*outcomes, longest > _LONG])
    return finding(STUDY, "both_ways", verdict, values, trials=trials)
