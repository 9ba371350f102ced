"""Figures of the study of matrix Renyi information."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from oip.core.plots import PALETTE, QUIET, SMALL, figure, printable
from oip.studies.callbacks import Arrays, complete
from oip.studies.panels import (
    ceiling,
    color,
    error_bars,
    legend_below,
    marker,
    plane,
    sequence_colors,
    side_color_bar,
    step_axis,
    step_norm,
)
from oip.studies.renyi_measures import (
    BATCH,
    KERNELS,
    LINE,
    ORDINALS,
    SHARES,
    KernelWidth,
    Trainings,
    by_filters,
    earlier_errors,
    other_filters,
    stages,
)
from oip.studies.report import Folder

Numbers = dict[str, "ArrayLike | float"]
_TITLES = dict(zip(SHARES, ("redundancy less synergy", "weighted non-redundant"), strict=True))


def draw_inequalities(
    folder: Folder, key: str, trainings: Trainings, kernel: KernelWidth, setting: str
) -> None:
    """Draw information with the input, forward, and with the output's error, backward (fig. 2)."""
    rows = len(trainings)
    drawing, panels = figure(6.8, 2.1 * rows + 0.3, rows, 3, sharey=True)
    numbers = {}
    for row, (plan, arrays) in zip(panels, trainings.items(), strict=True):
        names = [_short(name) for name in arrays["names"]]
        for axes, (stage, record) in zip(row, stages(arrays), strict=True):
            forward = arrays[f"{kernel.name} input"][record]
            backward = earlier_errors(arrays, kernel, record)
            error_bars(axes, range(len(names)), forward, 0, "I(X;T), forward")
            label = "I(last error; error), backward"
            error_bars(axes, range(len(names) - 1), backward, 2, label)
            numbers[f"{plan.name} {stage} input"] = forward
            numbers[f"{plan.name} {stage} backward"] = backward
            ceiling(axes, math.log2(min(BATCH, int(arrays["tested"]))), ":")
            axes.set_xticks(range(len(names)), names, rotation=40 if len(names) > 4 else 0)
            axes.set_title(f"{plan.activation}, {stage}")
        row[0].set_ylabel("bits")
    legend_below(drawing, panels[0, 0], 2)
    folder.figure(
        f"dpi-{key}-{kernel.name}",
        drawing,
        f"{key}: data processing inequalities, kernels of {kernel.label}; mean and standard "
        f"deviation of the batches. Forward lines may not rise to the right, backward lines not to "
        f"the left; the last layer's error with itself is no step. Dotted: log2 n. {setting}.",
        numbers,
    )


def draw_planes(
    folder: Folder,
    key: str,
    trainings: Trainings,
    kernel: KernelWidth,
    label_entropy: float,
    setting: str,
) -> None:
    """Draw the information plane, and the one of non-redundant information (fig. 7).

    `label_entropy` is S(Y) of the batches in bits, the most that I(T;Y) can be.
    """
    drawing, panels = figure(6.0, 2.5 * len(trainings) + 0.3, len(trainings), 2)
    numbers: Numbers = {"S(Y)": label_entropy}
    norm = step_norm(max(int(arrays["steps"][-1]) for arrays in trainings.values()))
    names = {}
    for row, (plan, arrays) in zip(panels, trainings.items(), strict=True):
        numbers[f"{plan.name} steps"] = arrays["steps"]
        for axes, kind in zip(row, ("", "plane "), strict=True):
            x, y = (arrays[f"{kernel.name} {kind}{name}"].mean(axis=1) for name in _AXES)
            for index, name in enumerate(arrays["names"]):
                if np.isfinite(x[:, index]).all():
                    points = plane(axes, x[:, index], y[:, index], arrays["steps"], norm, index)
                    names[_short(name)] = index
                    numbers[f"{plan.name} {name} {kind}input"] = x[:, index]
                    numbers[f"{plan.name} {name} {kind}label"] = y[:, index]
            axes.set(xlabel="non-redundant, of X (bits)", ylabel="of Y (bits)")
            axes.set_title(f"{plan.activation}: {'modified' if kind else 'information'} plane")
        ceiling(row[0], arrays[f"{kernel.name} x"].mean(), ":", upright=True)
        ceiling(row[0], label_entropy, ":")
        row[0].set(xlabel="I(X;T) (bits)", ylabel="I(T;Y) (bits)")
    side_color_bar(drawing, points, list(panels.flat), "iterations", 0.7)
    for name, index in names.items():
        panels[0, 0].plot([], [], marker(index), color=QUIET, mfc="none", label=name)
    legend_below(drawing, panels[0, 0], min(6, len(names)))
    folder.figure(
        f"planes-{key}-{kernel.name}",
        drawing,
        f"{key}: information planes over training, kernels of {kernel.label}, means of the "
        "batches. Modified: the mean over pairs of maps of 2 I_ij - I_i - I_j. Dotted: S(X), and "
        f"S(Y), {label_entropy:.2f} bits. {other_filters(trainings)} {setting}.",
        numbers,
    )


_AXES = ("input", "label")


def draw_amounts(folder: Folder, key: str, trainings: Trainings, layer: int, setting: str) -> None:
    """Draw information of a convolution, and accuracy, over its number of filters (fig. 4)."""
    grouped = by_filters(trainings, layer)
    counts = list(grouped)
    drawing, panels = figure(6.4, 2.5, 1, 2)
    numbers: Numbers = {"filters": np.array(counts)}
    axes = panels[0, 0]
    for index, kernel in enumerate(KERNELS):
        for record, label, line in ((-1, kernel.label, "o-"), (0, "before training", "--")):
            values = [
                np.mean([arrays[f"{kernel.name} input"][record, :, layer] for arrays in several])
                for several in grouped.values()
            ]
            axes.plot(counts, values, line, color=color(index), label=label)
            numbers[f"{kernel.name} {'end' if record else 'start'}"] = values
        most = float(np.mean([arrays[f"{kernel.name} x"].mean() for arrays in trainings.values()]))
        axes.axhline(most, color="black", lw=0.8, ls=(0, (1, 1 + index)))
        numbers[f"{kernel.name} entropy of the input"] = most
    axes.set_ylabel("I(X;T) (bits)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    axes = panels[0, 1]
    shares = [np.array([arrays["accuracy"] for arrays in rows]) for rows in grouped.values()]
    tested = min(int(arrays["tested"]) for arrays in trainings.values())
    for count, share in zip(counts, shares, strict=True):
        half = 196 * np.sqrt(share * (1 - share) / tested)
        style = {"color": color(1), "alpha": 0.5, "capsize": 2}
        axes.errorbar([count] * len(share), 100 * share, half, fmt="o", **style)
    axes.plot(counts, [100 * np.nanmean(share) for share in shares], color=color(1))
    axes.set_ylabel("accuracy (%)")
    numbers["accuracy (%)"] = 100 * np.array(shares)
    for axes in panels[0]:
        axes.set_xlabel(f"filters of the {ORDINALS[layer]} convolution")
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [str(count) for count in counts])
    folder.figure(
        f"mmi-{key}-{ORDINALS[layer]}",
        drawing,
        f"{key}: information of the {ORDINALS[layer]} convolution's maps together about the input, "
        "and accuracy on test images (a point a training, with 95 % of the sampling of its test "
        "images; the line their mean). Black: the entropy of the input, the ceiling. "
        f"{setting}.",
        numbers,
    )


def draw_pairs(folder: Folder, key: str, trainings: Trainings, layer: int, setting: str) -> None:
    """Draw redundancy less synergy, and non-redundant information, over training (fig. 5)."""
    grouped = by_filters(trainings, layer)
    drawing, panels = figure(6.4, 4.4, 2, 2, sharex=True)
    numbers = {}
    for row, kernel in zip(panels, KERNELS, strict=True):
        for axes, name in zip(row, SHARES, strict=True):
            colors = sequence_colors(len(grouped))
            for (count, several), shade in zip(grouped.items(), colors, strict=True):
                whole = complete(several)
                steps = whole[0]["steps"]
                values = [arrays[f"{kernel.name} {name}"][:, :, layer] for arrays in whole]
                mean = 100 * np.mean(values, axis=(0, 2))
                if np.isfinite(mean).all():
                    axes.plot(steps, mean, marker="o", color=shade, label=str(count))
                    numbers |= {f"{kernel.name} {name} {count} filters (%)": mean, "steps": steps}
            step_axis(axes, "iterations" if row is panels[1] else "")
            axes.set_title(f"{_TITLES[name]} ({kernel.name})")
            axes.set_ylabel("% of I(X; both)")
    legend_below(drawing, panels[0, 0], 6, "filters")
    folder.figure(
        f"pairs-{key}-{ORDINALS[layer]}",
        drawing,
        f"{key}: pairs of maps of the {ORDINALS[layer]} convolution, means over pairs, batches and "
        f"trainings; top with {KERNELS[0].label}, bottom with {KERNELS[1].label}. {setting}.",
        numbers,
    )


def draw_selection(folder: Folder, key: str, selection: Arrays, setting: str) -> None:
    """Draw the bottleneck's objective, conditional information, and accuracy without maps."""
    drawing, panels = figure(7.0, 4.6, 2, 2)
    longest = 1
    for index, kernel in enumerate(KERNELS):
        objective, p = selection[f"{kernel.name} objective"], selection[f"{kernel.name} p"]
        axes = panels[0, index]
        axes.hist(objective, 24, color=PALETTE[0])
        axes.axvline(np.quantile(objective, 1 - LINE), color=PALETTE[1], ls="--")
        axes.set(xlabel="I(X;T) - 2 I(T;Y) (bits)", ylabel="" if index else "maps")
        axes.set_title(f"objective, {kernel.label}")
        style = {"mfc": "none", "ms": 4 + 3 * index, "ls": ("-", "--")[index]}
        style |= {"marker": marker(index), "color": color(index), "label": kernel.label}
        panels[1, 0].plot(np.arange(1, len(p) + 1), p, **style)
        longest = max(longest, len(p))
    ceiling(panels[1, 0], 0.05, ":")
    panels[1, 0].set_xticks(range(1, longest + 1, max(1, longest // 8)))
    labels = {"xlabel": "maps chosen", "ylabel": "p-value of the next map"}
    panels[1, 0].set(title="CMI-permutation", **labels)
    panels[1, 0].legend(frameon=False)
    axes = panels[1, 1]
    for index, name in enumerate(selection["methods"]):
        error_bars(axes, 100 * selection["shares"], 100 * selection["pruned"][index].T, index, name)
    ceiling(axes, 100 * float(selection["accuracy"]), ":")
    axes.set(xlabel="maps removed (%)", ylabel="accuracy (%)", title="without retraining")
    axes.legend(frameon=False, fontsize=SMALL - 1)
    folder.figure(
        f"width-{key}",
        drawing,
        f"{key}: maps of the layer {printable(selection['layer'])}. Top: the bottleneck's "
        f"objective of every map, low for maps to keep; {LINE:.0%} of them lie above the dashed "
        "line. Bottom left: p-value of the map that adds most to those chosen before. Bottom "
        "right: accuracy when maps with the worst score are removed; the bar at random is the "
        f"deviation over draws, dotted the whole network. {setting}.",
        selection,
    )


def _short(name: object) -> str:
    return printable(name).replace("Conv2D_", "conv ").replace("Dense_", "dense ")
