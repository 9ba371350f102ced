"""Matrix Renyi information in networks: inequalities, pairs of maps, width, planes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from oip.core import seeds
from oip.core.files import sha256
from oip.core.plots import PALETTE, QUIET, SMALL, figure, printable
from oip.core.progress import Progress
from oip.studies import panels
from oip.studies.data import Images, every_source, limited
from oip.studies.findings import (
    Agreement,
    Finding,
    Value,
    agreement,
    finding,
    graded,
    joined,
    named_values,
)
from oip.studies.renyi_measures import (
    BATCH,
    FULL,
    KERNELS,
    LINE,
    MANY,
    ORDINALS,
    QUICK,
    RATES,
    SHARES,
    KernelWidth,
    RenyiSize,
    Trainings,
    by_filters,
    earlier_errors,
    map_selection,
    mean_label_entropy,
    other_filters,
    plans_for,
    stages,
    train_and_measure,
)
from oip.studies.report import Folder, StudySettings
from oip.studies.trained import Arrays, complete

NAME = "renyi"
TITLE = "Matrix Renyi information: data processing, redundancy and synergy, width, planes"
SOURCE = (
    "S. Yu, K. Wickstrom, R. Jenssen, J. C. Principe: Understanding convolutional neural networks "
    "with information theory: an initial exploration. arXiv:1804.06537; IEEE TNNLS 32 (2021) 435."
)
MINUTES = 5
TAKES = ("data",)
SCHEMA = 2
"""1 had the paper's rate of 0.1 for networks of ReLU, too."""
_TITLES = dict(zip(SHARES, ("redundancy less synergy", "weighted non-redundant"), strict=True))
PAPER_DATA = (
    ("hasy", "HASYv2", "oip study renyi --data FOLDER/hasy-data-labels.csv"),
    ("fruits", "Fruits 360", "oip study renyi --data FOLDER/fruits-360, with train and test in it"),
    ("cifar10", "CIFAR-10 by VGG-16", "oip study renyi --data cifar10"),
)
"""In the name of a source, the data, and the command that uses them."""
NEAR = 0.02
"""Share of a ceiling within which a value is at it, or at zero."""
_CHANGE = 0.05
"""Share of a curve's largest value that counts as a rise or as a compression."""
_DRAWS, _LEVEL = 1000, 0.025


def run(
    folder: Folder, settings: StudySettings, progress: Progress, size: RenyiSize | None = None
) -> None:
    """Run the study on each source of images, in a size in place of that of the settings.

    Images of 32 x 32 pixels and more, such as HASYv2 and Fruits 360, are learned by the
    AlexNet-like network; `cifar10` by VGG-16.

    Raises:
        MissingData: no images at all are available.
    """
    size = size or (QUICK if settings.quick else FULL)
    for number, images in enumerate(every_source(folder, settings)):
        _run_on(folder, images, settings.seed, size, progress, number == 0)
    folder.not_given(PAPER_DATA)
    for name in ("kernel_widths", "learning_rates", "ceilings"):
        folder.note(folder.text(name, **RATES))


def _run_on(
    folder: Folder, images: Images, seed: int, size: RenyiSize, progress: Progress, first: bool
) -> None:
    """Train the networks on one source; draw their figures and add their findings."""
    key = images.name
    data = limited(images.train, size.images), limited(images.test, size.tested)
    plans = plans_for(key, data[0].images.shape[1:], seed, size, first)
    if any(plan.recipe == "vgg16-cifar" for plan in plans["planes"]):
        # VGG-16 has 4,224 maps, each with two Gram matrices a batch.
        size = replace(size, batches=2, records=4)
    arrays = {}
    for plan in dict.fromkeys(plan for group in plans.values() for plan in group):
        arguments = plan, data, size, folder.file(f"models/{plan.name}.keras"), progress
        name = f"trainings/{plan.name}"
        arrays[plan] = folder.part(name, train_and_measure, *arguments, of=images.digest)
    networks = {plan: arrays[plan] for plan in plans["planes"]}
    plan, measured = next(iter(networks.items()))
    setting = (
        f"{len(data[0])} images learned from for {plan.epochs} epochs, "
        f"{measured['paper input'].shape[1]} batches of {min(BATCH, len(data[1]))} test images, "
        "alpha 1.01"
    )
    label_entropy = mean_label_entropy(data[1].required_labels(), size.batches, seed)
    for kernel in KERNELS:
        draw_inequalities(folder, key, networks, kernel, setting)
        draw_planes(folder, key, networks, kernel, label_entropy, setting)
    folder.add(
        inequality_finding(key, networks, forward=True),
        inequality_finding(key, networks, forward=False),
        plane_finding(key, networks, label_entropy),
        compression_finding(key, networks, label_entropy),
    )
    for layer, group in enumerate(ORDINALS):
        varied = {plan: arrays[plan] for plan in plans[group]}
        if varied:
            draw_amounts(folder, key, varied, layer, setting)
            draw_pairs(folder, key, varied, layer, setting)
            for judge in (amount_finding, accuracy_finding, redundancy_finding, synergy_finding):
                folder.add(judge(key, varied, layer))
    for plan in plans["selection"]:
        if not np.isfinite(arrays[plan]["accuracy"]):
            folder.note(f"{plan.name}: the training diverged, no maps were chosen from.")
            continue
        model = folder.file(f"models/{plan.name}.keras")
        name, of = f"selections/{plan.name}", f"{images.digest} {sha256(model)}"
        selection = folder.part(name, map_selection, model, data, size, seed, of=of)
        draw_selection(folder, key, selection, setting)
        where = f"{selection['layer']} of {plan.recipe} on {key}"
        tested = len(data[1])
        folder.add(
            width_finding(where, selection, tested), pruning_finding(where, selection, tested)
        )


def inequality_finding(key: str, trainings: Trainings, forward: bool) -> Finding:
    """Return whether the data processing inequality holds, forward or backward."""
    values, verdicts = {}, []
    for kernel in KERNELS:
        wrong, steps, values[kernel.label] = 0, 0, []
        for plan, arrays in trainings.items():
            for stage, record in stages(arrays):
                curve = arrays[f"{kernel.name} input"][record]
                curve = curve if forward else earlier_errors(arrays, kernel, record)
                bad, count = violations(curve, forward)
                wrong, steps = wrong + bad, steps + count
                name = f"{plan.activation} {stage}"
                values[kernel.label].append(Value(name, bad, form=".0f", remark=f"of {count}"))
        verdicts.append(graded(1 - wrong / max(steps, 1), 0.75, 0.5))
    name, verdict = "forward" if forward else "backward", joined(verdicts)
    return finding(NAME, name, verdict, values, key=key, batches=_batches(trainings.values()))


def violations(values: np.ndarray, forward: bool, seed: int = 0) -> tuple[int, int]:
    """Return the steps between layers that go against the inequality, and how many there are.

    Args:
        values: (batches, layers): I with the input, that may not rise (`forward`); or with the
            last layer's error, that may not fall.
        forward: which of them.
        seed: of the bootstrap over batches.

    Returns:
        Steps of which 97.5 % of the bootstrap means are on the wrong side, and all steps.
    """
    wrong = np.diff(values, axis=1) if forward else -np.diff(values, axis=1)
    rows = seeds.generator(seed, "renyi bootstrap").integers(0, len(wrong), (_DRAWS, len(wrong)))
    low = np.quantile(wrong[rows].mean(axis=1), _LEVEL, axis=0)
    # Eigenvalues carry rounding; less than a millionth of a bit is none.
    return int((low > 1e-6).sum()), wrong.shape[1]


@dataclass(frozen=True)
class CurveShape:
    """The course of one quantity of a layer over a training."""

    rises: bool
    """It ends above its start."""
    falls: bool
    """It ends below its largest value."""
    drop: float
    """By what share of it."""


def curve_shape(values: np.ndarray) -> CurveShape:
    """Return the course of a curve (t, batches), beyond 5 % of its peak and two standard errors."""
    mean = values.mean(axis=1)
    top = int(np.argmax(mean))
    highest = max(float(mean[top]), 1e-12)

    def clear(change: np.ndarray) -> bool:
        error = change.std(ddof=1) / np.sqrt(len(change)) if len(change) > 1 else 0.0
        return bool(change.mean() > max(_CHANGE * highest, 2 * float(error)))

    fall = values[top] - values[-1]
    return CurveShape(clear(values[-1] - values[0]), clear(fall), float(fall.mean() / highest))


def _plane_curves(
    trainings: Trainings, label_entropy: float, kind: str
) -> dict[str, dict[str, tuple[list[CurveShape], int]]]:
    """Return curves of layers that can move, and how many cannot, by side, kernel and activation.

    A curve that is at its ceiling, or at zero, all the time cannot move.
    """
    groups = {}
    for kernel in KERNELS:
        for side, measure in (("X", "input"), ("Y", "label")):
            group = groups[f"{side}, {kernel.label}"] = {}
            for plan, arrays in trainings.items():
                most = label_entropy if side == "Y" else float(arrays[f"{kernel.name} x"].mean())
                rows = np.moveaxis(arrays[f"{kernel.name} {kind}{measure}"], 2, 0)
                rows = [row for row in rows if np.isfinite(row).all()]
                moving = [row for row in rows if not _still(row.mean(axis=1) / most)]
                shapes = [curve_shape(row) for row in moving]
                group[plan.activation] = shapes, len(rows) - len(moving)
    return groups


def _still(shares: np.ndarray) -> bool:
    return bool((shares >= 1 - _CHANGE).all() or (np.abs(shares) <= NEAR).all())


def plane_finding(key: str, trainings: Trainings, label_entropy: float) -> Finding:
    """Return whether information about X and Y rises without compression; S(Y) is in bits."""
    values, verdicts = {}, []
    for group, networks in _plane_curves(trainings, label_entropy, "").items():
        values[group], steady = [], []
        for activation, (curves, still) in networks.items():
            rises = sum(curve.rises for curve in curves)
            falls = sum(curve.falls for curve in curves)
            remark = f"of {len(curves)}, {still} cannot move"
            rise = Value(f"{activation} rise", rises, form=".0f", remark=remark)
            values[group] += [rise, Value(f"{activation} fall back", falls, form=".0f")]
            steady += [curve.rises and not curve.falls for curve in curves]
        verdicts.append(graded(float(np.mean(steady)), 0.75, 0.4) if steady else "not tested")
    return _plane_row("plane", key, trainings, joined(verdicts), values)


def _plane_row(
    name: str, key: str, trainings: Trainings, verdict: Agreement, values: dict[str, list[Value]]
) -> Finding:
    """Return a finding about curves over training, with the rule by which they are judged."""
    constants = {"key": key, "other_filters": other_filters(trainings), "change": _CHANGE}
    constants |= {"near": NEAR, "batches": _batches(trainings.values())}
    return finding(NAME, name, verdict, values, **constants)


def compression_finding(key: str, trainings: Trainings, label_entropy: float) -> Finding:
    """Return whether non-redundant information is compressed; S(Y) is in bits."""
    values, verdicts = {}, []
    for group, networks in _plane_curves(trainings, label_entropy, "plane ").items():
        values[group], drops = [], {}
        for activation, (curves, _) in networks.items():
            drop, remark = math.nan, "none can move"
            if curves:
                falls = sum(curve.falls for curve in curves)
                drop = float(np.mean([max(curve.drop, 0.0) for curve in curves]))
                drops[activation] = falls / len(curves), drop
                remark = f"{falls} of {len(curves)} fall back"
            values[group].append(Value(activation, 100 * drop, form=".0f", remark=remark))
        verdicts.append(_compressed(drops))
    return _plane_row("compression", key, trainings, joined(verdicts), values)


def _compressed(drops: dict[str, tuple[float, float]]) -> Agreement:
    """Return the verdict over the share of curves that fall and their mean drop, by activation."""
    if not drops:
        return "not tested"
    if not any(share for share, _ in drops.values()):
        return "no"
    often = float(np.mean([share for share, _ in drops.values()])) >= 0.5
    more = len(drops) > 1 and drops.get("sigmoid", ()) > drops.get("relu", ())
    return "yes" if often and more else "partly"


def amount_finding(key: str, trainings: Trainings, layer: int) -> Finding:
    """Return whether information grows with the filters of a convolution and is soon maximal."""
    grouped = by_filters(trainings, layer)
    values, outcomes = {}, []
    for kernel in KERNELS:
        most = _means(grouped, f"{kernel.name} x", ())
        for record, name in ((-1, kernel.label), (0, f"{kernel.label}, untrained")):
            row = _means(grouped, f"{kernel.name} input", (record, slice(None), layer))
            remarks = np.where(row >= (1 - NEAR) * most, "at the ceiling", "")
            values[name] = [
                Value(f"{count} filters", value, remark=str(remark))
                for count, value, remark in zip(grouped, row, remarks, strict=True)
            ]
            if record == -1:
                outcomes.append(saturates(row, most))
                values[name].append(Value("ceiling", float(most.mean())))
    undecided = all(outcome is None for outcome in outcomes)
    verdict = "not tested" if undecided else agreement(outcomes)
    return _filters_row("amount", key, grouped, layer, verdict, values)


def _filters_row(
    name: str,
    key: str,
    grouped: dict[int, list[Arrays]],
    layer: int,
    verdict: Agreement,
    values: dict[str, list[Value]] | list[Value],
    **constants: object,
) -> Finding:
    """Return a finding about networks of different numbers of filters in one convolution."""
    count = max(len(several) for several in grouped.values())
    constants |= {"key": key, "ordinal": ORDINALS[layer], "number": layer + 1}
    constants["trainings"] = f"{count} training{'s' if count > 1 else ''} of each network"
    constants["batches"] = _batches(next(iter(grouped.values())))
    return finding(NAME, name, verdict, values, **constants)


def saturates(values: np.ndarray, most: np.ndarray) -> bool | None:
    """Return whether information grows and is at its ceiling before the most filters.

    Args:
        values: (counts,) bits, from few filters to many.
        most: (counts,): the ceilings.

    Returns:
        None where the fewest filters are at the ceiling: nothing is left to grow.
    """
    full = values >= (1 - NEAR) * most
    if full[0]:
        return None
    grows = bool(np.all(np.diff(values) > -0.05 * most[1:])) and values[-1] > values[0]
    return bool(grows and full[:-1].any())


def accuracy_finding(key: str, trainings: Trainings, layer: int) -> Finding:
    """Return whether more filters of a convolution raise accuracy at first, and later do not."""
    grouped = by_filters(trainings, layer)
    scores = [np.array([arrays["accuracy"] for arrays in rows]) for rows in grouped.values()]
    tested = int(next(iter(trainings.values()))["tested"])
    means = np.array([np.nanmean(row) if np.isfinite(row).any() else np.nan for row in scores])
    half = 1.96 * np.sqrt(np.maximum(means * (1 - means), 1e-4) / tested)
    best = int(np.nanargmax(means))
    falls = means[-1] + half[-1] < means[best] - half[best]
    rises = means[best] - half[best] > means[0] + half[0]
    diverged = sum(int((~np.isfinite(row)).sum()) for row in scores)
    remarks = {
        f"Best with {list(grouped)[best]}.": True,
        f"{diverged} trainings diverged.": diverged,
        "The best is significantly better than the most filters.": falls,
        "No difference is beyond sampling.": not rises,
    }
    verdict = "yes" if rises and (falls or best < len(means) - 1) else "partly" if best else "no"
    values = [
        Value(f"{count} filters", 100 * mean, 100 * (mean - side), 100 * (mean + side), ".1f")
        for count, mean, side in zip(grouped, means, half, strict=True)
    ]
    remark = " ".join(remark for remark, holds in remarks.items() if holds)
    constants = {"remarks": remark, "tested": tested}
    return _filters_row("accuracy", key, grouped, layer, verdict, values, **constants)


def redundancy_finding(key: str, trainings: Trainings, layer: int) -> Finding:
    """Return whether redundancy gives way to synergy with more filters."""
    grouped = _several_maps(trainings, layer)
    values, trends = {}, []
    for kernel in KERNELS:
        for name in SHARES:
            row = _means(grouped, f"{kernel.name} {name}", (-1, slice(None), layer))
            names = [f"{count} filters" for count in grouped]
            group = values[f"{kernel.label}, {name}"] = named_values(names, 100 * row, ".0f")
            if name == "redundant":
                trends.append(_trend(list(grouped), row))
                group.append(Value("rank correlation with filters", trends[-1], form="+.2f"))
    verdict = "yes" if max(trends) < -0.5 else "partly" if min(trends) < -0.5 else "no"
    return _filters_row("redundancy", key, grouped, layer, verdict, values)


def synergy_finding(key: str, trainings: Trainings, layer: int) -> Finding:
    """Return whether redundancy stays above synergy in every network."""
    grouped = _several_maps(trainings, layer)
    networks = [arrays for rows in grouped.values() for arrays in rows]
    values = []
    for kernel in KERNELS:
        ends = [arrays[f"{kernel.name} redundant"][-1, :, layer].mean() for arrays in networks]
        values.append(Value(kernel.label, 100 * min(ends), form=".1f"))
    verdict = agreement(least.value > 0 for least in values)
    return _filters_row("synergy", key, grouped, layer, verdict, values)


def width_finding(where: str, selection: Arrays, tested: int) -> Finding:
    """Return how many maps are enough by CMI-permutation, and whether they are too few.

    `where` names layer, network and source, which are not always the paper's.
    """
    whole = 100 * float(selection["accuracy"])
    maps = len(selection[f"{KERNELS[0].name} objective"])
    labels = {kernel.name: f"{kernel.label}, 128 samples" for kernel in KERNELS}
    labels["many"] = f"the median distance, {MANY} samples, alpha 2"
    values, short = {}, []
    for name, label in labels.items():
        enough, kept = int(selection[f"{name} width"]), 100 * float(selection[f"{name} kept"])
        remark = f"accuracy {kept:.1f} % with these alone" if np.isfinite(kept) else ""
        if enough >= 0:
            short.append(enough < 0.3 * maps and kept < whole - 1)
        else:
            enough, remark = math.nan, "no conclusion, the maps together are soon at log2 n"
        values[label] = [Value("maps", enough, form=".0f", remark=remark)]
    constants = {"where_found": where, "maps": maps, "whole": whole, "tested": tested}
    return finding(NAME, "width", agreement(short), values, **constants)


def pruning_finding(where: str, selection: Arrays, tested: int) -> Finding:
    """Return whether maps with a high objective can be removed; see `width_finding`."""
    nearest = int(np.argmin(np.abs(selection["shares"] - LINE)))
    losses = {
        str(name): 100 * float(selection["accuracy"] - np.nanmean(values[nearest]))
        for name, values in zip(selection["methods"], selection["pruned"], strict=True)
    }
    return finding(
        NAME,
        "pruning",
        agreement(losses[f"IB, {kernel.label}"] < 1 for kernel in KERNELS),
        named_values(losses, losses.values(), "+.1f"),
        where_found=where,
        share=selection["shares"][nearest],
        tested=tested,
        orders=selection["pruned"].shape[2],
    )


def _several_maps(trainings: Trainings, layer: int) -> dict[int, list[Arrays]]:
    """Return the trainings by number of filters, without those of one filter."""
    return {count: rows for count, rows in by_filters(trainings, layer).items() if count > 1}


def _means(grouped: dict[int, list[Arrays]], name: str, part: tuple) -> np.ndarray:
    """Return the mean (groups,) of a part of an array over the trainings of each group."""
    return np.array(
        [np.mean([arrays[name][part].mean() for arrays in rows]) for rows in grouped.values()]
    )


def _trend(counts: list[int], values: np.ndarray) -> float:
    """Return the rank correlation of values with the number of filters; 0 where there is none."""
    from scipy.stats import spearmanr

    if len(counts) < 2 or not np.ptp(values):
        return 0.0
    return float(np.array(spearmanr(counts, values))[0])


def _batches(trainings: Iterable[Arrays]) -> int:
    return next(iter(trainings))[f"{KERNELS[0].name} input"].shape[1]


def draw_inequalities(
    folder: Folder, key: str, trainings: Trainings, kernel: KernelWidth, setting: str
) -> None:
    """Draw information with the input, forward, and with the output's error, backward (fig. 2)."""
    rows = len(trainings)
    drawing, grid = figure(6.8, 2.1 * rows + 0.3, rows, 3, sharey=True)
    numbers = {}
    for row, (plan, arrays) in zip(grid, trainings.items(), strict=True):
        names = [_short(name) for name in arrays["names"]]
        for axes, (stage, record) in zip(row, stages(arrays), strict=True):
            forward = arrays[f"{kernel.name} input"][record]
            backward = earlier_errors(arrays, kernel, record)
            panels.error_bars(axes, range(len(names)), forward, 0, "I(X;T), forward")
            label = "I(last error; error), backward"
            panels.error_bars(axes, range(len(names) - 1), backward, 2, label)
            numbers[f"{plan.name} {stage} input"] = forward
            numbers[f"{plan.name} {stage} backward"] = backward
            panels.ceiling(axes, math.log2(min(BATCH, int(arrays["tested"]))), ":")
            axes.set_xticks(range(len(names)), names, rotation=40 if len(names) > 4 else 0)
            axes.set_title(f"{plan.activation}, {stage}")
        row[0].set_ylabel("bits")
    panels.legend_below(drawing, grid[0, 0], 2)
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
    drawing, grid = figure(6.0, 2.5 * len(trainings) + 0.3, len(trainings), 2)
    numbers: dict[str, np.ndarray | float] = {"S(Y)": label_entropy}
    norm = panels.step_norm(max(int(arrays["steps"][-1]) for arrays in trainings.values()))
    names = {}
    for row, (plan, arrays) in zip(grid, trainings.items(), strict=True):
        numbers[f"{plan.name} steps"] = arrays["steps"]
        for axes, kind in zip(row, ("", "plane "), strict=True):
            x, y = (
                arrays[f"{kernel.name} {kind}{name}"].mean(axis=1) for name in ("input", "label")
            )
            for index, name in enumerate(arrays["names"]):
                if np.isfinite(x[:, index]).all():
                    points = panels.plane(
                        axes, x[:, index], y[:, index], arrays["steps"], norm, index
                    )
                    names[_short(name)] = index
                    numbers[f"{plan.name} {name} {kind}input"] = x[:, index]
                    numbers[f"{plan.name} {name} {kind}label"] = y[:, index]
            axes.set(xlabel="non-redundant, of X (bits)", ylabel="of Y (bits)")
            axes.set_title(f"{plan.activation}: {'modified' if kind else 'information'} plane")
        panels.ceiling(row[0], arrays[f"{kernel.name} x"].mean(), ":", upright=True)
        panels.ceiling(row[0], label_entropy, ":")
        row[0].set(xlabel="I(X;T) (bits)", ylabel="I(T;Y) (bits)")
    panels.side_color_bar(drawing, points, list(grid.flat), "iterations", 0.7)
    for name, index in names.items():
        grid[0, 0].plot([], [], panels.marker(index), color=QUIET, mfc="none", label=name)
    panels.legend_below(drawing, grid[0, 0], min(6, len(names)))
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
    drawing, grid = figure(6.4, 2.5, 1, 2)
    numbers: dict[str, np.ndarray | float] = {"filters": np.array(counts)}
    axes = grid[0, 0]
    for index, kernel in enumerate(KERNELS):
        for record, label, line in ((-1, kernel.label, "o-"), (0, "before training", "--")):
            name = f"{kernel.name} input"
            several = [[row[name][record, :, layer] for row in rows] for rows in grouped.values()]
            values = np.array([np.mean(parts) for parts in several])
            axes.plot(counts, values, line, color=panels.color(index), label=label)
            numbers[f"{kernel.name} {'end' if record else 'start'}"] = values
        most = float(np.mean([arrays[f"{kernel.name} x"].mean() for arrays in trainings.values()]))
        axes.axhline(most, color="black", lw=0.8, ls=(0, (1, 1 + index)))
        numbers[f"{kernel.name} entropy of the input"] = most
    axes.set_ylabel("I(X;T) (bits)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    axes = grid[0, 1]
    shares = [np.array([arrays["accuracy"] for arrays in rows]) for rows in grouped.values()]
    tested = min(int(arrays["tested"]) for arrays in trainings.values())
    for count, share in zip(counts, shares, strict=True):
        half = 196 * np.sqrt(share * (1 - share) / tested)
        style = {"color": panels.color(1), "alpha": 0.5, "capsize": 2}
        axes.errorbar([count] * len(share), 100 * share, half, fmt="o", **style)
    axes.plot(counts, [100 * np.nanmean(share) for share in shares], color=panels.color(1))
    axes.set_ylabel("accuracy (%)")
    numbers["accuracy (%)"] = 100 * np.array(shares)
    for axes in grid[0]:
        axes.set_xlabel(f"filters of the {ORDINALS[layer]} convolution")
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [str(count) for count in counts])
    caption = folder.text("amounts", key=key, ordinal=ORDINALS[layer], setting=setting)
    folder.figure(f"mmi-{key}-{ORDINALS[layer]}", drawing, caption, numbers)


def draw_pairs(folder: Folder, key: str, trainings: Trainings, layer: int, setting: str) -> None:
    """Draw redundancy less synergy, and non-redundant information, over training (fig. 5)."""
    grouped = by_filters(trainings, layer)
    drawing, grid = figure(6.4, 4.4, 2, 2, sharex=True)
    numbers = {}
    for row, kernel in zip(grid, KERNELS, strict=True):
        for axes, name in zip(row, SHARES, strict=True):
            colors = panels.sequence_colors(len(grouped))
            for (count, several), shade in zip(grouped.items(), colors, strict=True):
                whole = complete(several)
                steps = whole[0]["steps"]
                values = [arrays[f"{kernel.name} {name}"][:, :, layer] for arrays in whole]
                mean = 100 * np.mean(values, axis=(0, 2))
                if np.isfinite(mean).all():
                    axes.plot(steps, mean, marker="o", color=shade, label=str(count))
                    numbers |= {f"{kernel.name} {name} {count} filters (%)": mean, "steps": steps}
            panels.step_axis(axes, "iterations" if row is grid[1] else "")
            axes.set_title(f"{_TITLES[name]} ({kernel.name})")
            axes.set_ylabel("% of I(X; both)")
    panels.legend_below(drawing, grid[0, 0], 6, "filters")
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
        style |= {
            "marker": panels.marker(index),
            "color": panels.color(index),
            "label": kernel.label,
        }
        tests.plot(np.arange(1, len(p) + 1), p, **style)
    panels.ceiling(tests, 0.05, ":")
    tests.set_xticks(range(1, longest + 1, max(1, longest // 8)))
    tests.set(xlabel="maps chosen", ylabel="p-value of the next map", title="CMI-permutation")
    tests.legend(frameon=False)
    shares = 100 * selection["shares"]
    for index, name in enumerate(selection["methods"]):
        panels.error_bars(accuracies, shares, 100 * selection["pruned"][index].T, index, name)
    panels.ceiling(accuracies, 100 * float(selection["accuracy"]), ":")
    labels = {"xlabel": "maps removed (%)", "ylabel": "accuracy (%)"}
    accuracies.set(title="without retraining", **labels)
    accuracies.legend(frameon=False, fontsize=SMALL - 1)
    layer = printable(selection["layer"])
    caption = folder.text("selection", key=key, layer=layer, line=LINE, setting=setting)
    folder.figure(f"width-{key}", drawing, caption, selection)


def _short(name: object) -> str:
    return printable(name).replace("Conv2D_", "conv ").replace("Dense_", "dense ")
