"""Figures of the study of the noise's spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from oip.core import plots
from oip.studies.oip_arms import EQUAL, POST, RED, WARM, WHITE, Sizes, arms, noises
from oip.studies.oip_statistics import bootstrap, share_found

if TYPE_CHECKING:
    from oip.studies.frame import Folder
    from oip.studies.oip import Measured

_DRAWS = 400
MEASURES = ("scores", "steps", "power", "stability")
_UNITS = {
    "scores": "final score",
    "steps": "steps to 95 %\nof the final score",
    "power": "power above\n0.25 cycles/px",
    "stability": "similarity of\na map's starts",
}


def name_of(noise: str, side: int) -> str:
    """How a kind of noise is called in figures.

    >>> name_of("single:7", 28)
    '8 px and more'
    """
    if noise.startswith("single:"):
        return f"{2 * side / int(noise.split(':')[1]):.3g} px and more"
    return {WHITE: "white", EQUAL: "octaves, equal", RED: "octaves, red"}[noise]


def draw(folder: Folder, name: str, one: Measured, sizes: Sizes, seed: int) -> None:
    """Draws both figures of one source."""
    _found(folder, name, one, sizes, seed)
    _grown(folder, name, one, sizes, seed)


def counts_of(screened: int) -> list[int]:
    """1, 2, 4, ... up to so many starts.

    >>> counts_of(8)
    [1, 2, 4, 8]
    """
    return [2**power for power in range(int(np.log2(screened)) + 1)]


def found_shares(
    one: Measured, index: int, kind: int, screened: int, starts: int
) -> list[np.ndarray]:
    """Of each network (maps,): probability that `starts` starts excite the map, mean over seeds."""
    return [
        share_found(part["opened"][kind][:, part["excitable"]], screened, starts).mean(0)
        for part in one.found[index]
    ]


def _found(folder: Folder, name: str, one: Measured, sizes: Sizes, seed: int) -> None:
    """Share of the excitable maps that are excited, against the number of starts."""
    counts = counts_of(sizes.screened)
    kinds = noises(one.side)
    drawing, panels = plots.figure(2.5 * len(one.layers), 3.0, columns=len(one.layers), sharey=True)
    lowest = 1.0
    numbers: dict[str, np.ndarray] = {"starts": np.array(counts)}
    for axes, layer in zip(panels[0], one.layers, strict=True):
        for row, kind in enumerate(kinds):
            shares = [
                bootstrap(
                    found_shares(one, layer.index, row, sizes.screened, count), mean, seed, _DRAWS
                )
                for count in counts
            ]
            values = np.array([[each.value, each.low, each.high] for each in shares]).T
            colour = plots.PALETTE[row]
            label = name_of(kind, one.side)
            axes.plot(counts, values[0], color=colour, marker="o", ms=3, lw=1.2, label=label)
            axes.fill_between(counts, values[1], values[2], color=colour, alpha=0.15, lw=0)
            numbers[f"{layer.name}: {kind}"] = values
            lowest = min(lowest, float(np.nanmin(values)))
        axes.set_xscale("log", base=2)
        axes.set_xlabel("starts")
        axes.set_title(plots.printable(layer.name), fontsize=plots.FONT)
    panels[0, 0].set_ylim(lowest - 0.02, 1.01)
    panels[0, 0].set_ylabel("share of excitable maps")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawing.legend(
        handles, labels, loc="outside lower center", ncols=6, fontsize=plots.SMALL, frameon=False
    )
    folder.figure(
        f"starts-{name}",
        drawing,
        f"{one.source}: share of the maps that some test image excites and that at least one of so "
        f"many starts excites before any ascent, by the noise of the start. Mean of "
        f"{len(one.accuracy)} networks and {sizes.seeds} seeds; bands are 95 % intervals over "
        "maps. Numbers: value, lower end, upper end by number of starts.",
        numbers,
    )


def _grown(folder: Folder, name: str, one: Measured, sizes: Sizes, seed: int) -> None:
    """What the ascent makes of every arm, in the last layer and in the control."""
    chosen = arms(one.side)
    layers = (one.layers[0], one.layers[-1])
    drawing, panels = plots.figure(7.4, 4.6, rows=2, columns=len(MEASURES), sharey=True)
    labels = [f"{name_of(noise, one.side)}, {objective}" for noise, objective in chosen]
    numbers: dict[str, np.ndarray | str] = {"arms": np.array(labels)}
    places = np.arange(len(chosen))[::-1]
    for line, layer in zip(panels, layers, strict=True):
        for axes, measure in zip(line, MEASURES, strict=True):
            found = [
                bootstrap(per_map(one, layer.index, arm, measure), mean, seed, _DRAWS)
                for arm in range(len(chosen))
            ]
            values = np.array([[each.value, each.low, each.high] for each in found])
            colours = [plots.PALETTE[objective == WARM] for _, objective in chosen]
            axes.hlines(places, values[:, 1], values[:, 2], color=colours, lw=1.2)
            axes.scatter(values[:, 0], places, c=colours, s=12, zorder=3)
            axes.set_yticks(places, labels)
            axes.grid(axis="x", lw=0.3)
            axes.set_xlabel(_UNITS[measure])
            numbers[f"{layer.name}: {measure}"] = values
        line[0].set_title(plots.printable(layer.name), fontsize=plots.FONT, loc="left")
    folder.figure(
        f"arms-{name}",
        drawing,
        f"{one.source}: images grown from {sizes.starts} starts a seed in every arm, means over "
        "the maps of which at least one start lives, with 95 % intervals over maps. Above: the "
        "control, below: the last layer. Blue: the response alone is climbed (post); orange: with "
        "warm-up. Numbers: value, lower end, upper end by arm.",
        numbers,
    )


def mean(values: np.ndarray) -> float:
    """Mean of what is finite; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def per_map(one: Measured, index: int, arm: int, measure: str) -> list[np.ndarray]:
    """Of each network (maps,): a measure of an arm, mean over seeds and live starts."""
    found = []
    for part in one.found[index]:
        values = part[measure][arm].astype(float)
        if measure == "scores":
            values = np.where(values > 0, values, np.nan)
        axes = (0, 2) if values.ndim == 3 else (0,)
        known = np.isfinite(values)
        total = np.where(known, values, 0.0).sum(axes)
        with np.errstate(invalid="ignore"):
            found.append(np.where(known.any(axes), total / np.maximum(known.sum(axes), 1), np.nan))
    return found


def arm_row(side: int, noise: str, objective: str = POST) -> int:
    """The row of an arm."""
    return arms(side).index((noise, objective))
