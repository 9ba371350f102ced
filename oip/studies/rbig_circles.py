"""Concentric circles through a density destructor and back: figure 1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mi.estimators.rbig_layers import Rotation
from oip.core import seeds
from oip.core.progress import Progress
from oip.core.units import bits
from oip.studies.frame import Folder, StudySettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mi import Destructor

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


def run(folder: Folder, settings: StudySettings, progress: Progress) -> None:
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
    import mi

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
    from mi.estimators.rbig_marginal import sorted_entropies

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
