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
        folder.text("inequalities", key=key, kernel=kernel.label, setting=setting),
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
            x, y = (
                arrays[f"{kernel.name} {kind}{name}"].mean(axis=1) for name in ("input", "label")
            )
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
        folder.text(
            "planes",
            key=key,
            kernel=kernel.label,
            label_entropy=label_entropy,
            other_filters=other_filters(trainings),
            setting=setting,
        ),
        numbers,
    )


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
    caption = folder.text("amounts", key=key, ordinal=ORDINALS[layer], setting=setting)
    folder.figure(f"mmi-{key}-{ORDINALS[layer]}", drawing, caption, numbers)


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
    kernels = {"first": KERNELS[0].label, "second": KERNELS[1].label}
    caption = folder.text("pairs", key=key, ordinal=ORDINALS[layer], setting=setting, **kernels)
    folder.figure(f"pairs-{key}-{ORDINALS[layer]}", drawing, caption, numbers)


def draw_selection(folder: Folder, key: str, selection: Arrays, setting: str) -> None:
    """Draw the bottleneck's objective, conditional information, and accuracy without maps."""
    drawing, ((left, right), (tests, accuracies)) = figure(7.0, 4.6, 2, 2)
    longest = max(len(selection[f"{kernel.name} p"]) for kernel in KERNELS)
    for index, (kernel, axes) in enumerate(zip(KERNELS, (left, right), strict=True)):
        objective, p = selection[f"{kernel.name} objective"], selection[f"{kernel.name} p"]
        axes.hist(objective, 24, color=PALETTE[0])
        axes.axvline(np.quantile(objective, 1 - LINE), color=PALETTE[1], ls="--")
        axes.set(xlabel="I(X;T) - 2 I(T;Y) (bits)", ylabel="" if index else "maps")
        axes.set_title(f"objective, {kernel.label}")
        style = {"mfc": "none", "ms": 4 + 3 * index, "ls": ("-", "--")[index]}
        style |= {"marker": marker(index), "color": color(index), "label": kernel.label}
        tests.plot(np.arange(1, len(p) + 1), p, **style)
    ceiling(tests, 0.05, ":")
    tests.set_xticks(range(1, longest + 1, max(1, longest // 8)))
    tests.set(xlabel="maps chosen", ylabel="p-value of the next map", title="CMI-permutation")
    tests.legend(frameon=False)
    shares = 100 * selection["shares"]
    for index, name in enumerate(selection["methods"]):
        error_bars(accuracies, shares, 100 * selection["pruned"][index].T, index, name)
    ceiling(accuracies, 100 * float(selection["accuracy"]), ":")
    labels = {"xlabel": "maps removed (%)", "ylabel": "accuracy (%)"}
    accuracies.set(title="without retraining", **labels)
    accuracies.legend(frameon=False, fontsize=SMALL - 1)
    layer = printable(selection["layer"])
    caption = folder.text("selection", key=key, layer=layer, line=LINE, setting=setting)
    folder.figure(f"width-{key}", drawing, caption, selection)


def _short(name: object) -> str:
    return printable(name).replace("Conv2D_", "conv ").replace("Dense_", "dense ")
