"""Panels that the studies' figures are made of: lines with bands, boxes, planes, color bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from oip.core import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import PathCollection
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

MARKERS = "os^Dv<>P"


def color(index: int) -> str:
    """Return the color of the thing with this index."""
    return plots.PALETTE[index % len(plots.PALETTE)]


def marker(index: int) -> str:
    """Return the marker of the thing with this index."""
    return MARKERS[index % len(MARKERS)]


def line_with_band(
    axes: Axes,
    x: ArrayLike,
    middle: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    index: int = 0,
    label: str = "",
) -> None:
    """Draw a line with markers, and a band from `low` to `high`, all (x,)."""
    axes.plot(x, middle, marker=marker(index), color=color(index), label=label)
    axes.fill_between(np.asarray(x), low, high, color=color(index), alpha=0.2, lw=0)


def runs(axes: Axes, x: ArrayLike, values: np.ndarray, index: int = 0, label: str = "") -> None:
    """Draw the mean of values (runs, x), with a band of one standard deviation."""
    mean, spread = values.mean(axis=0), values.std(axis=0)
    line_with_band(axes, x, mean, mean - spread, mean + spread, index, label)


def curves(
    axes: Axes, x: ArrayLike, series: Mapping[str, np.ndarray], truth: ArrayLike | None = None
) -> None:
    """Draw several `runs` (runs, x) by their labels, and the truth (x,) dashed."""
    for index, (label, values) in enumerate(series.items()):
        runs(axes, x, values, index, label)
    if truth is not None:
        axes.plot(np.asarray(x), truth, color="black", ls="--", lw=0.8, label="truth")


def error_bars(
    axes: Axes, x: ArrayLike, values: np.ndarray, index: int = 0, label: str = "", line: str = "-"
) -> None:
    """Draw the mean of values (runs, x), with bars of one standard deviation; NaN is left out."""
    finite = np.ma.masked_invalid(values)
    axes.errorbar(
        x,
        finite.mean(axis=0).filled(np.nan),
        finite.std(axis=0).filled(np.nan),
        marker=marker(index),
        color=color(index),
        ls=line,
        lw=1.0,
        capsize=2,
        label=label,
    )


def boxes(axes: Axes, columns: Sequence[np.ndarray], labels: Sequence[str]) -> None:
    """Draw a box of quartiles and median for each column, with its label below."""
    axes.boxplot(
        list(columns),
        widths=0.6,
        flierprops={"markersize": 2, "markeredgecolor": plots.QUIET},
        medianprops={"color": plots.PALETTE[1]},
    )
    axes.set_xticks(range(1, len(labels) + 1), labels, rotation=60, fontsize=plots.SMALL - 1)


def plane(
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    steps: np.ndarray,
    norm: Normalize,
    index: int = 0,
    label: str = "",
) -> PathCollection:
    """Draw a way (t,) through the information plane, colored by step; return its points."""
    axes.plot(x, y, color=plots.QUIET, lw=0.5, zorder=1)
    return axes.scatter(
        x,
        y,
        c=steps,
        norm=norm,
        cmap=plots.SEQUENTIAL,
        marker=marker(index),
        s=14,
        label=label,
        zorder=2,
    )


def step_norm(last_step: int) -> Normalize:
    """Return the color scale of iterations: from 0, logarithmic from 1 on."""
    from matplotlib.colors import SymLogNorm

    return SymLogNorm(1.0, vmin=0, vmax=last_step, base=10)


def step_axis(axes: Axes, label: str = "iteration") -> None:
    """Make the x axis one of iterations: from 0, logarithmic from 1 on."""
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlabel(label)


def ceiling(axes: Axes, value: float, style: str = "--", upright: bool = False) -> None:
    """Draw a quiet line at the largest value that there can be."""
    draw = axes.axvline if upright else axes.axhline
    draw(value, color=plots.QUIET, ls=style, lw=0.8)


def side_color_bar(
    drawing: Figure, image: ScalarMappable, panels: Sequence[Axes], label: str, shrink: float = 1.0
) -> Axes:
    """Add a color bar beside some panels; return its axes."""
    bar = drawing.colorbar(image, ax=list(panels), shrink=shrink)
    bar.set_label(label, fontsize=plots.FONT)
    bar.ax.tick_params(labelsize=plots.SMALL)
    return bar.ax


def legend_below(drawing: Figure, axes: Axes, columns: int, title: str | None = None) -> None:
    """Write the legend of one panel below the whole figure."""
    handles, labels = axes.get_legend_handles_labels()
    drawing.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        fontsize=plots.SMALL,
        frameon=False,
        title=title,
        title_fontsize=plots.SMALL,
    )


def sequence_colors(count: int) -> list[tuple[float, ...]]:
    """Return colors from dark to light, all of them readable on white."""
    from matplotlib import colormaps

    return [tuple(shade) for shade in colormaps[plots.SEQUENTIAL](np.linspace(0, 0.85, count))]
