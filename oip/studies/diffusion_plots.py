"""Figures of the study of diffusion spectra."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from oip.core.plots import figure
from oip.studies.callbacks import Arrays, complete
from oip.studies.diffusion_toy import (
    BRANCHES,
    CENTERS,
    CLASSES,
    CORRUPTED_DIMENSIONS,
    MANIFOLDS,
    BlobSize,
    ToySize,
)
from oip.studies.diffusion_training import (
    QUANTITIES,
    SCALES,
    correlation,
    corrupted_information,
)
from oip.studies.panels import (
    ceiling,
    color,
    legend_below,
    marker,
    runs,
    sequence_colors,
    step_axis,
)
from oip.studies.report import Folder

_NAMES = {**{scale.name: scale.label for scale in SCALES}, "binned": "classic, binned"}


def draw_toys(folder: Folder, arrays: Arrays, size: ToySize) -> None:
    """Draw entropy over the identity's weight and dimension; information over corruption."""
    drawing, panels = figure(7.0, 4.6, 2, 3)
    axes = panels[0, 0]
    for index, n in enumerate(size.sizes):
        runs(axes, size.weights, arrays["identity"][:, index], index, f"n = {n}")
        axes.axhline(math.log2(n), color=color(index), ls=":", lw=0.8)
    axes.set(xlabel="weight of the identity", ylabel="entropy (bits)", title="matrices")
    axes.legend(frameon=False, loc="lower right", fontsize=6)
    for axes, kind in zip(panels[0, 1:], MANIFOLDS, strict=True):
        for index, (name, label) in enumerate(_NAMES.items()):
            runs(axes, size.dimensions, arrays[f"{kind} {name}"], index, label)
        ceiling(axes, math.log2(size.samples), ":")
        axes.set_xscale("log", base=2)
        axes.set(xlabel="intrinsic dimension", ylabel="entropy (bits)", title=f"{kind} in 2,048")
    for row, (axes, branches) in enumerate(zip(panels[1], BRANCHES, strict=True)):
        for index, (name, label) in enumerate(_NAMES.items()):
            runs(axes, size.corruptions, arrays[f"tree {name}"][:, row], index, label)
        truth = [corrupted_information(branches, share) for share in size.corruptions]
        axes.plot(size.corruptions, truth, color="black", ls="--", lw=0.8, label="truth")
        axes.set(xlabel="labels corrupted", ylabel="I(Z;Y) (bits)", title=f"{branches} branches")
    legend_below(drawing, panels[1, 0], 2)
    axes_of_toys = ("weights", "dimensions", "corruptions")
    settings = {name: np.array(getattr(size, name)) for name in axes_of_toys}
    folder.figure(
        "toys",
        drawing,
        folder.text("toys", samples=size.samples, runs=size.runs),
        settings | arrays,
    )


def draw_blobs(folder: Folder, arrays: Arrays, size: BlobSize) -> None:
    """Draw estimators over corruption and dimension, and their run time (figures 4 and 5)."""
    drawing, panels = figure(7.0, 4.6, 2, 3)
    methods = [str(name) for name in arrays["methods"]]
    for panel, (axes, d) in enumerate(zip(panels[0], CORRUPTED_DIMENSIONS, strict=False)):
        for row, label in enumerate(methods):
            runs(axes, size.corruptions, arrays["corruption"][:, panel, row], row, label)
        truth = arrays["corruption truth"][:, panel].mean(axis=0)
        axes.plot(size.corruptions, truth, color="black", ls="--", lw=0.8, label="truth")
        axes.set(xlabel="labels corrupted", ylabel="I(X;Y) (bits)", title=f"{d} dimensions")
    for axes, (kind, title) in zip(panels[1], CENTERS.items(), strict=False):
        for row, label in enumerate(methods):
            runs(axes, size.dimensions, arrays[f"{kind} dimension"][:, row], row, label)
        truth = arrays[f"{kind} dimension truth"].mean(axis=0)
        axes.plot(size.dimensions, truth, "--", color="black", lw=0.8)
        ceiling(axes, math.log2(CLASSES), ":")
        axes.set(xlabel="dimensions", ylabel="I(X;Y) (bits)", xscale="log")
        axes.set_title(title, fontsize=7)
    axes = panels[1, 2]
    for row, seconds in enumerate(arrays["seconds"]):
        axes.plot(size.dimensions, seconds, marker=marker(row), color=color(row))
    axes.set(xlabel="dimensions", ylabel="seconds", title="run time", xscale="log", yscale="log")
    panels[0, 2].set_axis_off()
    panels[0, 2].legend(*panels[0, 0].get_legend_handles_labels(), loc="center", frameon=False)
    settings = {name: np.array(getattr(size, name)) for name in ("corruptions", "dimensions")}
    folder.figure(
        "blobs",
        drawing,
        folder.text(
            "blobs",
            classes=CLASSES,
            samples=size.samples,
            runs=size.runs,
            repetitions=size.timings + 2 * size.runs - 1,
        ),
        settings | arrays,
    )


def draw_trainings(
    folder: Folder, key: str, trainings: Mapping[str, list[Arrays]], setting: str
) -> None:
    """Draw S(Z), I(Z;Y), I(Z;X) over training, by method (figures 6 to 8)."""
    drawing, panels = figure(7.0, 4.4, len(SCALES), len(QUANTITIES), sharex=True)
    numbers = {}
    for row, scale in zip(panels, SCALES, strict=True):
        for axes, (quantity, symbol) in zip(row, QUANTITIES.items(), strict=True):
            for index, (method, several) in enumerate(trainings.items()):
                whole = complete(several)
                steps = whole[0]["steps"]
                values = np.array([arrays[f"{scale.name} {quantity}"] for arrays in whole])
                runs(axes, steps, values, index, method)
                numbers[f"{method} {scale.name} {quantity}"] = values
                numbers[f"{method} steps"] = steps
            step_axis(axes, "iterations" if row is panels[-1] else "")
            axes.set_title(f"{symbol}, {scale.name}")
        row[0].set_ylabel("bits")
    legend_below(drawing, panels[0, 0], 3)
    top, bottom = (scale.label for scale in SCALES)
    count = len(next(iter(trainings.values())))
    caption = folder.text("trainings", setting=setting, seeds=count, top=top, bottom=bottom)
    folder.figure(f"trainings-{key}", drawing, caption, numbers)


def draw_starts(
    folder: Folder, key: str, trainings: Mapping[float, list[Arrays]], setting: str
) -> None:
    """Draw entropy at the start over the kernels' deviation, and accuracy (figure 9)."""
    drawing, panels = figure(6.6, 2.6, 1, 2)
    deviations = np.array(list(trainings))
    numbers = {"deviations": deviations}
    before, after = panels[0]
    for index, scale in enumerate(SCALES):
        name = f"{scale.name} entropy"
        values = np.array([[row[name][0] for row in rows] for rows in trainings.values()]).T
        runs(before, deviations, values, index, scale.label)
        numbers[f"{name} at the start"] = values
    before.set(xscale="log", xlabel="deviation of the kernels", ylabel="S(Z) (bits)")
    before.set_title("before training")
    before.legend(frameon=False, loc="upper left", fontsize=6, bbox_to_anchor=(0.0, 0.86))
    colors = sequence_colors(len(deviations))
    for (deviation, several), shade in zip(trainings.items(), colors, strict=True):
        whole = complete(several)
        values = 100 * np.array([arrays["accuracy"] for arrays in whole])
        steps = whole[0]["steps"]
        after.plot(steps, values.mean(axis=0), marker="o", color=shade, label=f"{deviation:g}")
        numbers |= {f"accuracy (%) {deviation:g}": values, f"steps {deviation:g}": steps}
    step_axis(after, "iterations")
    after.set_ylabel("accuracy (%)")
    after.legend(frameon=False, title="deviation", title_fontsize=7)
    folder.figure(f"starts-{key}", drawing, folder.text("starts", setting=setting), numbers)


def draw_networks(
    folder: Folder, name: str, networks: Mapping[str, Arrays], setting: str, seed: int
) -> None:
    """Draw each quantity beside the accuracy, a point a network (figure 10)."""
    drawing, panels = figure(7.0, 4.4, len(SCALES), len(QUANTITIES))
    accuracy = np.array([float(arrays["accuracy"]) for arrays in networks.values()])
    sizes = np.array([float(arrays["size"]) for arrays in networks.values()])
    numbers = {"networks": np.array(list(networks)), "accuracy": accuracy}
    area = 6 + 30 * np.sqrt(sizes / sizes.max())
    for row, scale in zip(panels, SCALES, strict=True):
        for axes, (quantity, symbol) in zip(row, QUANTITIES.items(), strict=True):
            key = f"{scale.name} {quantity}"
            values = np.array([float(arrays[key]) for arrays in networks.values()])
            correlated = correlation(values, accuracy, seed)
            axes.scatter(values, 100 * accuracy, s=area, color=color(0), alpha=0.7, linewidths=0)
            axes.set_title(f"r {correlated.pearson:.2f}, rank {correlated.spearman:.2f}")
            axes.set_xlabel(f"{symbol} (bits), {scale.name}")
            numbers |= {
                key: values,
                f"{key} correlations": np.array(list(vars(correlated).values())),
            }
        row[0].set_ylabel("accuracy (%)")
    folder.figure(name, drawing, folder.text("networks", setting=setting), numbers)
