"""Figures of the study of diffusion spectra; each is a name, a drawing, a caption, numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core.plots import PALETTE, QUIET, SEQUENTIAL, SMALL, figure
from oip.studies.diffusion_toy import BRANCHES, CLASSES, KINDS, SAMPLES, SHOWN, Blobs, Toys
from oip.studies.diffusion_toy import KINDS_DIFFUSION_BLOBS as BLOBS
from oip.studies.diffusion_training import QUANTITIES, SCALES, correlations, true_information

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Drawn = tuple[str, "Figure", str, dict[str, Any]]
Found = dict[str, np.ndarray]
SYMBOLS = {"entropy": "S(Z)", "label": "I(Z;Y)", "input": "I(Z;X)"}


def toys(found: Found, one: Toys) -> Drawn:
    """Entropy over the identity's weight and intrinsic dimension; information over corruption."""
    drawing, panels = figure(7.0, 4.6, 2, 3)
    axes = panels[0, 0]
    for place, size in enumerate(one.sizes):
        _banded(axes, one.weights, found["identity"][:, place], place, f"n = {size}")
        axes.axhline(math.log2(size), color=PALETTE[place], ls=":", lw=0.8)
    axes.set(xlabel="weight of the identity", ylabel="entropy (bits)", title="matrices")
    axes.legend(frameon=False, loc="lower right", fontsize=6)
    for axes, kind in zip(panels[0, 1:], KINDS, strict=True):
        for place, (name, label) in enumerate(_NAMES.items()):
            _banded(axes, one.dimensions, found[f"{kind} {name}"], place, label)
        axes.axhline(math.log2(SAMPLES), color=QUIET, ls=":", lw=0.8)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="intrinsic dimension", ylabel="entropy (bits)", title=f"{kind} in 2,048")
    for place_, (axes, branches) in enumerate(zip(panels[1], BRANCHES, strict=True)):
        for place, (name, label) in enumerate(_NAMES.items()):
            _banded(axes, one.corruptions, found[f"tree {name}"][:, place_], place, label)
        truth = [true_information(branches, share) for share in one.corruptions]
        axes.plot(one.corruptions, truth, color="black", ls="--", lw=0.8, label="truth")
        axes.set(xlabel="labels corrupted", ylabel="I(Z;Y) (bits)", title=f"{branches} branches")
    handles, labels = panels[1, 0].get_legend_handles_labels()
    drawing.legend(
        handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL
    )
    return (
        "toys",
        drawing,
        f"Toy data, {SAMPLES} samples, mean and standard deviation of {one.runs} runs. Top: "
        "entropy of a random positive matrix mixed with the identity; of points of an intrinsic "
        "dimension in 2,048 dimensions. Bottom: information of points on a tree about the branch, "
        "with labels replaced by random ones; dashed what branches that never meet would tell. "
        "Dotted: log2 n.",
        {"weights": np.array(one.weights), "dimensions": np.array(one.dimensions),
         "corruptions": np.array(one.corruptions), **found},
    )  # fmt: skip


_NAMES = {**{scale.name: scale.label for scale in SCALES}, "binned": "classic, binned"}


def over_blobs(found: Found, one: Blobs) -> Drawn:
    """Estimators over corruption and dimension, and their run time (figures 4 and 5)."""
    drawing, panels = figure(7.0, 4.6, 2, 3)
    methods = [str(name) for name in found["methods"]]
    for place, (axes, d) in enumerate(zip(panels[0], SHOWN, strict=False)):
        for row, label in enumerate(methods):
            _banded(axes, one.corruptions, found["corruption"][:, place, row], row, label)
        truth = found["corruption truth"][:, place].mean(axis=0)
        axes.plot(one.corruptions, truth, color="black", ls="--", lw=0.8, label="truth")
        axes.set(xlabel="labels corrupted", ylabel="I(X;Y) (bits)", title=f"{d} dimensions")
    for axes, (kind, title) in zip(panels[1], BLOBS.items(), strict=False):
        for row, label in enumerate(methods):
            _banded(axes, one.dimensions, found[f"{kind} dimension"][:, row], row, label)
        truth = found[f"{kind} dimension truth"].mean(axis=0)
        axes.plot(one.dimensions, truth, "--", color="black", lw=0.8)
        axes.axhline(math.log2(CLASSES), color=QUIET, ls=":", lw=0.8)
        axes.set(xlabel="dimensions", ylabel="I(X;Y) (bits)", xscale="log")
        axes.set_title(title, fontsize=7)
    axes = panels[1, 2]
    for row in range(len(methods)):
        axes.plot(one.dimensions, found["seconds"][row], marker=_MARKERS[row], color=PALETTE[row])
    axes.set(xlabel="dimensions", ylabel="seconds", title="run time", xscale="log", yscale="log")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    panels[0, 2].set_axis_off()
    panels[0, 2].legend(handles, labels, loc="center", frameon=False)
    return (
        "blobs",
        drawing,
        f"{CLASSES} Gaussian blobs, {one.samples} samples, mean and standard deviation of "
        f"{one.runs} runs; dashed the truth. The information is in two dimensions, others being "
        "noise; bottom middle in all of them. Run time: the shortest of "
        f"{one.timings + 2 * one.runs - 1}, on the machine of the study. Dotted: log2 {CLASSES}.",
        {"corruptions": np.array(one.corruptions), "dimensions": np.array(one.dimensions),
         **found},
    )  # fmt: skip


def trainings(key: str, found: dict[str, list[Found]], told: str) -> Drawn:
    """S(Z), I(Z;Y), I(Z;X) over training (figures 6 to 8)."""
    drawing, panels = figure(7.0, 4.4, len(SCALES), len(QUANTITIES), sharex=True)
    numbers: dict[str, Any] = {}
    for row, scale in zip(panels, SCALES, strict=True):
        for axes, quantity in zip(row, QUANTITIES, strict=True):
            for place, (method, several) in enumerate(found.items()):
                complete = _complete(several)
                values = np.array([one[f"{scale.name} {quantity}"] for one in complete])
                _banded(axes, complete[0]["steps"], values, place, method)
                numbers[f"{method} {scale.name} {quantity}"] = values
                numbers[f"{method} steps"] = complete[0]["steps"]
            axes.set_xscale("symlog", linthresh=1)
            axes.set_title(f"{SYMBOLS[quantity]}, {scale.name}")
        row[0].set_ylabel("bits")
    for axes in panels[-1]:
        axes.set_xlabel("iterations")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawing.legend(
        handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=SMALL
    )
    return (
        f"trainings-{key}",
        drawing,
        f"The layer before the head over training: {told}; mean and standard deviation of "
        f"{len(next(iter(found.values())))} seeds. Top: {SCALES[0].label}. Bottom: "
        f"{SCALES[1].label}. Y are the true labels, also of the training on random ones.",
        numbers,
    )


def starts(key: str, found: dict[float, list[Found]], told: str) -> Drawn:
    """Entropy at the start over the kernels' deviation, and accuracy over training (figure 9)."""
    from matplotlib import colormaps

    drawing, panels = figure(6.6, 2.6, 1, 2)
    deviations = np.array(list(found))
    numbers: dict[str, Any] = {"deviations": deviations}
    for place, scale in enumerate(SCALES):
        values = np.array(
            [[one[f"{scale.name} entropy"][0] for one in several] for several in found.values()]
        ).T
        _banded(panels[0, 0], deviations, values, place, scale.label)
        numbers[f"{scale.name} entropy at the start"] = values
    panels[0, 0].set(xscale="log", xlabel="deviation of the kernels", ylabel="S(Z) (bits)")
    panels[0, 0].set_title("before training")
    panels[0, 0].legend(frameon=False, loc="upper left", fontsize=6, bbox_to_anchor=(0.0, 0.86))
    colours = colormaps[SEQUENTIAL](np.linspace(0.0, 0.85, len(deviations)))
    for (deviation, several), colour in zip(found.items(), colours, strict=True):
        complete = _complete(several)
        values = 100 * np.array([one["accuracy"] for one in complete])
        steps = complete[0]["steps"]
        panels[0, 1].plot(steps, values.mean(axis=0), marker="o", color=colour, label=deviation)
        numbers[f"accuracy (%) {deviation:g}"] = values
        numbers[f"steps {deviation:g}"] = steps
    panels[0, 1].set_xscale("symlog", linthresh=1)
    panels[0, 1].set(xlabel="iterations", ylabel="accuracy (%)")
    panels[0, 1].legend(frameon=False, title="deviation", title_fontsize=SMALL)
    return (
        f"starts-{key}",
        drawing,
        f"Kernels that begin as Gaussian noise of different deviation: {told}. Left: entropy of "
        "the layer before the head, before training. Right: accuracy on test images.",
        numbers,
    )


def networks(name: str, found: dict[str, Found], told: str, seed: int) -> Drawn:
    """Each quantity beside the accuracy, a point a network (figure 10)."""
    drawing, panels = figure(7.0, 4.4, len(SCALES), len(QUANTITIES))
    accuracy = np.array([float(one["accuracy"]) for one in found.values()])
    sizes = np.array([float(one["size"]) for one in found.values()])
    numbers: dict[str, Any] = {"networks": np.array(list(found)), "accuracy": accuracy}
    area = 6 + 30 * np.sqrt(sizes / sizes.max())
    for row, scale in zip(panels, SCALES, strict=True):
        for axes, quantity in zip(row, QUANTITIES, strict=True):
            values = np.array([float(one[f"{scale.name} {quantity}"]) for one in found.values()])
            known = correlations(values, accuracy, seed)
            axes.scatter(values, 100 * accuracy, s=area, color=PALETTE[0], alpha=0.7, linewidths=0)
            axes.set_title(f"r {known['pearson']:.2f}, rank {known['spearman']:.2f}")
            axes.set_xlabel(f"{SYMBOLS[quantity]} (bits), {scale.name}")
            numbers[f"{scale.name} {quantity}"] = values
            numbers[f"{scale.name} {quantity} correlations"] = np.array(list(known.values()))
        row[0].set_ylabel("accuracy (%)")
    return (
        name,
        drawing,
        f"Accuracy beside quantities of the layer before the head: {told}; areas grow with the "
        "number of weights. r: Pearson's correlation, rank: Spearman's.",
        numbers,
    )


_MARKERS = "os^Dv<>"


def _banded(axes: Axes, x: Any, values: np.ndarray, place: int, label: str) -> None:
    """Mean of values (runs, x), with a band of one standard deviation."""
    mean, spread = values.mean(axis=0), values.std(axis=0)
    colour = PALETTE[place % len(PALETTE)]
    axes.plot(x, mean, marker=_MARKERS[place % 7], color=colour, label=label)
    axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.2, lw=0)


def _complete(several: list[Found]) -> list[Found]:
    """Those of which every step was measured."""
    longest = max(len(one["steps"]) for one in several)
    return [one for one in several if len(one["steps"]) == longest]
