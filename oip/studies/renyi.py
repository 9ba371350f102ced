"""Matrix Renyi information in networks: inequalities, pairs of maps, width, planes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from oip.core.files import sha256
from oip.core.plots import QUIET, figure, printable
from oip.core.units import plural
from oip.studies import panels
from oip.studies import renyi_measures as measures
from oip.studies.data import Images, every_source
from oip.studies.findings import (
    AT_CEILING,
    CHANGE,
    Agreement,
    CurveShape,
    Finding,
    Value,
    Values,
    agreement,
    curve_shape,
    finding,
    graded,
    joined,
    named_values,
    rank_agreement,
    saturates,
    violations,
)
from oip.studies.renyi_measures import (
    KERNELS,
    ORDINALS,
    SHARES,
    KernelWidth,
    NetworkPlan,
    RenyiSize,
    inequality,
    stages,
    train_and_measure,
    widths_and_orders,
)
from oip.studies.renyi_selection import (
    MapSelection,
    draw_selection,
    map_selection,
    pruning_finding,
    width_finding,
)
from oip.studies.report import Arrays, Folder
from oip.studies.trained import over_steps

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
PAPER_DATA = (
    ("hasy", "HASYv2", "oip study renyi --data FOLDER/hasy-data-labels.csv"),
    ("fruits", "Fruits 360", "oip study renyi --data FOLDER/fruits-360, with train and test in it"),
    ("cifar10", "CIFAR-10 by VGG-16", "oip study renyi --data cifar10"),
)
"""In the name of a source, the data, and the command that uses them."""
_NAMED_WIDTH = 0.2
"""Of kernels, as a share of the median distance: the most that the paper names."""
_CUBIC = 0.5  # by which a power may differ from 3
_NEAR = 0.02  # share of a ceiling within which a value is at it, or at zero
_UPRIGHT = 8  # layers of a figure above which their names stand upright
_TITLES = dict(zip(SHARES, ("redundancy less synergy", "weighted non-redundant"), strict=True))


def run(folder: Folder, size: RenyiSize | None = None) -> None:
    """Run the study on each source of images, in a size in place of that of the settings.

    Images of 32 x 32 pixels and more, such as HASYv2 and Fruits 360, are learned by the
    AlexNet-like network; `cifar10` by VGG-16.

    Raises:
        MissingData: no images at all are available.
    """
    size = size or (measures.QUICK if folder.settings.quick else measures.FULL)
    for source_index, images in enumerate(every_source(folder)):
        _run_source(folder, images, size, source_index == 0)
    seconds = {
        n: folder.part(f"seconds-{n}", partial(measures.entropy_seconds, n, folder.settings.seed))
        for n in size.timed
    }
    folder.add(time_finding(seconds))
    folder.not_given(PAPER_DATA)
    for name in ("kernel_widths", "learning_rates", "ceilings"):
        folder.note(folder.text(name, **measures.RATES))


def _run_source(folder: Folder, images: Images, size: RenyiSize, is_first_source: bool) -> None:
    """Train the networks on one source; draw figures and add findings in the paper's order."""
    key, seed = images.name, folder.settings.seed
    images = images.limited(size.images, size.tested)
    plans = measures.plans_for(key, images.train.images.shape[1:], seed, size, is_first_source)
    if any(plan.recipe == "vgg16-cifar" for plan in plans["planes"]):
        # VGG-16 has 4,224 maps, each with two Gram matrices a batch.
        size = replace(size, batches=2, records=4)
    varied = measures.varied_layers(plans)
    train = partial(train_and_measure, images=images, size=size, folder=folder)
    arrays = folder.parts("trainings", varied, partial(train, varied=varied), images.digest)
    arrays = {plan: measures.of_informative(several) for plan, several in arrays.items()}

    def networks(purpose: str, layer: int = 0) -> MeasuredNetworks:
        purpose_arrays = {plan: arrays[plan] for plan in plans[purpose]}
        return MeasuredNetworks(key, purpose_arrays, setting, label_entropy, layer)

    plan = plans["planes"][0]
    batches, tested = arrays[plan]["paper input"].shape[1], len(images.test)
    setting = (
        f"{len(images.train):,} images learned from for {plan.epochs} epochs, {batches} batches of "
        f"{min(measures.BATCH, tested)} test images, alpha 1.01"
    )
    label_entropy = measures.mean_label_entropy(images.test.required_labels(), size.batches, seed)
    planes = networks("planes")
    # These are measured whole, also the one that is among the widths.
    chain_plans = {plan: None for plan in plans["inequalities"] if plan not in plans["planes"]}
    compute = partial(train, varied=chain_plans)
    chains = arrays | folder.parts("inequalities", chain_plans, compute, images.digest)
    chains = {plan: chains[plan] for plan in plans["inequalities"]}
    inequalities = replace(planes, trainings=chains)
    for kernel in KERNELS:
        draw_inequalities(folder, inequalities, kernel)
    folder.add(*(inequality_finding(inequalities, forward) for forward in (True, False)))
    compared = [networks(name, layer) for layer, name in enumerate(ORDINALS) if plans[name]]
    for several in compared:
        draw_amounts(folder, several)
        draw_amounts_over_training(folder, several)
        judges = amount_finding, amount_in_training_finding, accuracy_finding
        folder.add(*(judge(several) for judge in judges))
    for several in compared:
        draw_pairs(folder, several)
        folder.add(redundancy_finding(several), synergy_finding(several))
    candidates = {plan: arrays[plan] for plan in plans["selection"]}
    pruned = _add_selections(folder, images, size, candidates, setting)
    for kernel in KERNELS:
        draw_planes(folder, planes, kernel)
    folder.add(plane_finding(planes), compression_finding(planes))
    plan = plans["planes"][0]
    model = folder.file(f"models/{plan.name}.keras")
    if model.is_file():  # none of a training that diverged
        sweep = partial(widths_and_orders, model, images, size, seed)
        swept = folder.part(f"widths/{plan.name}", sweep, f"{images.digest} {sha256(model)}")
        folder.add(widths_finding(f"{plan.label} on {key}", swept))
    folder.add(*pruned)


def _add_selections(
    folder: Folder,
    images: Images,
    size: RenyiSize,
    trainings: Mapping[NetworkPlan, Arrays],
    setting: str,
) -> list[Finding]:
    """Choose maps of each network; return the findings on pruning, which come last in the paper."""
    pruned = []
    for plan, arrays in trainings.items():
        if not np.isfinite(arrays["accuracy"]):
            folder.note(f"{plan.name}: the training diverged, no maps were chosen from.")
            continue
        model = folder.file(f"models/{plan.name}.keras")
        select = partial(map_selection, model, images, size, folder.settings.seed)
        digest = f"{images.digest} {sha256(model)}"
        stored = folder.part(f"selections/{plan.name}", select, digest)
        selection, tested = MapSelection.of(stored), len(images.test)
        draw_selection(folder, images.name, selection, setting)
        subject = f"{selection.layer} of {plan.recipe} on {images.name}"
        folder.add(width_finding(subject, selection, tested))
        pruned.append(pruning_finding(subject, selection, tested))
    return pruned


@dataclass(frozen=True, eq=False)
class MeasuredNetworks:
    """Measured networks of one experiment on one source."""

    source: str
    trainings: dict[NetworkPlan, Arrays]
    setting: str = ""  # how they were trained and measured
    label_entropy: float = math.nan  # S(Y) of the batches in bits, the most that I(T;Y) can be
    layer: int = 0  # the convolution whose filters are varied

    @property
    def by_filters(self) -> dict[int, list[Arrays]]:
        """The trainings by the number of filters of the varied convolution."""
        grouped: dict[int, list[Arrays]] = {}
        for plan, arrays in self.trainings.items():
            count = plan.filters[self.layer] if plan.filters else 0
            grouped.setdefault(count, []).append(arrays)
        return grouped

    def over_filters(self, name: str, record: int = -1) -> list[Value]:
        """Return a measure of the input, or the convolution, at a record: means of trainings."""

        def mean(arrays: Arrays) -> float:
            values = arrays[name][record]
            return float((values[:, self.layer] if values.ndim > 1 else values).mean())

        return [
            Value.mean_of(np.array([*map(mean, rows)]), plural(count, "filter"))
            for count, rows in self.by_filters.items()
        ]

    @property
    def texts(self) -> dict[str, object]:
        """Values for the names in braces of findings and captions."""
        count = max(map(len, self.by_filters.values()))
        filters = next(iter(self.trainings)).filters
        fixed = [str(number) for layer, number in enumerate(filters) if layer != self.layer]
        beside = f"{', '.join(fixed)} filters in the other convolution{'s' * (len(fixed) > 1)}"
        return {
            "key": self.source,
            "setting": self.setting,
            "label_entropy": self.label_entropy,
            "ordinal": ORDINALS[self.layer],
            "number": self.layer + 1,
            "trainings": f"{count} training{'s' if count > 1 else ''} of each network",
            "beside": beside,
            "batches": next(iter(self.trainings.values()))[f"{KERNELS[0].name} input"].shape[1],
            "change": CHANGE,
            "near": _NEAR,
        }

    def finding(
        self, name: str, verdict: Agreement, values: Values, **constants: object
    ) -> Finding:
        """Return a row of the report about these networks."""
        return finding(NAME, name, verdict, values, **self.texts, **constants)


def inequality_finding(networks: MeasuredNetworks, forward: bool) -> Finding:
    """Return whether the data processing inequality holds, forward or backward."""
    values, verdicts = {}, []
    for kernel in KERNELS:
        violated, steps, values[kernel.label] = 0, 0, []
        for plan, arrays in networks.trainings.items():
            for stage, record in stages(arrays):
                bad, count = violations(inequality(arrays, kernel, record, forward), forward)
                violated, steps = violated + bad, steps + count
                name = f"{plan.label} {stage}"
                values[kernel.label].append(Value(name, bad, form=".0f", remark=f"of {count}"))
        verdicts.append(graded(1 - violated / max(steps, 1), 0.75, 0.5))
    return networks.finding("forward" if forward else "backward", joined(verdicts), values)


Curves = dict[str, tuple[list[CurveShape], int]]
"""Activation -> curves of the layers that can move, and how many cannot."""


def _plane_curves(networks: MeasuredNetworks, kind: str) -> dict[str, Curves]:
    """Return `Curves` by side and kernel; one at its ceiling, or at zero, all along cannot move."""
    groups: dict[str, Curves] = {}
    for kernel in KERNELS:
        for side, measure in (("X", "input"), ("Y", "label")):
            group = groups[f"{side}, {kernel.label}"] = {}
            for plan, arrays in networks.trainings.items():
                of_input = arrays[f"{kernel.name} x"].mean()
                ceiling = networks.label_entropy if side == "Y" else of_input
                rows = np.moveaxis(arrays[f"{kernel.name} {kind}{measure}"], 2, 0)
                rows = [row for row in rows if np.isfinite(row).all()]
                moving = [row for row in rows if not _is_constant(row.mean(axis=1) / ceiling)]
                shapes = [curve_shape(row) for row in moving]
                curves, constant = group.get(plan.activation, ([], 0))
                group[plan.activation] = curves + shapes, constant + len(rows) - len(moving)
    return groups


def _is_constant(shares: np.ndarray) -> bool:
    return bool((shares >= 1 - CHANGE).all() or (np.abs(shares) <= _NEAR).all())


def widths_finding(subject: str, swept: Arrays) -> Finding:
    """Return whether the paper's widths leave hidden layers of a network below the ceiling."""
    values, outcomes = {}, []
    for order, by_width in zip(measures.ORDERS, swept["input"].swapaxes(0, 1), strict=True):
        group = values[f"alpha {order:g}"] = []
        for share, information in zip(measures.WIDTHS, by_width, strict=True):
            means, ceiling = information.mean(axis=0), math.log2(measures.BATCH)
            against, steps = violations(information, True)
            by_layer = ", ".join(f"{mean:.2f}" for mean in means)
            name = f"sigma {share:.0%} of the median"
            group.append(Value(name, against, form=".0f", remark=f"of {steps}; {by_layer} bits"))
            if share <= _NAMED_WIDTH:
                outcomes.append(bool((means[:-1] < (1 - _NEAR) * ceiling).any()))
    constants = {"where_found": subject, "batches": swept["input"].shape[2], "near": _NEAR}
    return finding(NAME, "widths", agreement(outcomes), values, **constants)


def time_finding(seconds: Mapping[int, Arrays]) -> Finding:
    """Return the power of the number of samples with which an entropy's time grows, by order."""
    counts = np.array(sorted(seconds))
    values, powers = {}, {}
    for alpha in seconds[counts[0]]:
        times = np.array([float(seconds[count][alpha]) for count in counts])
        powers[alpha] = float(np.polyfit(np.log(counts[-3:]), np.log(times[-3:]), 1)[0])
        values[f"alpha {alpha}"] = [
            *named_values((f"{count:,} samples" for count in counts), 1000 * times, ".3g"),
            Value("power of the last three", powers[alpha]),
        ]
    verdict = graded(-abs(powers[f"{measures.ALPHA:g}"] - 3), -_CUBIC, -2 * _CUBIC)
    return finding(NAME, "time", verdict, values, cubic=_CUBIC)


def plane_finding(networks: MeasuredNetworks) -> Finding:
    """Return whether information about X and Y rises without compression."""
    values, verdicts = {}, []
    for group, by_activation in _plane_curves(networks, "").items():
        values[group], steady = [], []
        for activation, (curves, constant) in by_activation.items():
            rises = sum(curve.rises for curve in curves)
            falls = sum(curve.falls for curve in curves)
            remark = f"of {len(curves)}, {constant} cannot move"
            rise = Value(f"{activation} rise", rises, form=".0f", remark=remark)
            values[group] += [rise, Value(f"{activation} fall back", falls, form=".0f")]
            steady += [curve.rises and not curve.falls for curve in curves]
        verdicts.append(graded(float(np.mean(steady)), 0.75, 0.4) if steady else "not tested")
    return networks.finding("plane", joined(verdicts), values)


def compression_finding(networks: MeasuredNetworks) -> Finding:
    """Return whether non-redundant information is compressed."""
    values, verdicts = {}, []
    for group, by_activation in _plane_curves(networks, "plane ").items():
        values[group], drops = [], {}
        for activation, (curves, _) in by_activation.items():
            drop, remark = math.nan, "none can move"
            if curves:
                falls = sum(curve.falls for curve in curves)
                drop = float(np.mean([max(curve.drop, 0.0) for curve in curves]))
                drops[activation] = falls / len(curves), drop
                remark = f"{falls} of {len(curves)} fall back"
            values[group].append(Value(activation, 100 * drop, form=".0f", remark=remark))
        verdicts.append(_compressed(drops))
    return networks.finding("compression", joined(verdicts), values)


def _compressed(drops: dict[str, tuple[float, float]]) -> Agreement:
    """Return the verdict over the share of curves that fall and their mean drop, by activation."""
    if not drops:
        return "not tested"
    if not any(share for share, _ in drops.values()):
        return "no"
    often = float(np.mean([share for share, _ in drops.values()])) >= 0.5
    more_for_sigmoid = len(drops) > 1 and drops.get("sigmoid", ()) > drops.get("relu", ())
    return "yes" if often and more_for_sigmoid else "partly"


def amount_finding(networks: MeasuredNetworks) -> Finding:
    """Return whether information grows with the filters of a convolution and is soon maximal."""
    values, outcomes = {}, []
    for kernel in KERNELS:
        ceilings = _numbers(networks.over_filters(f"{kernel.name} x"))
        for record, name in ((-1, kernel.label), (0, f"{kernel.label}, untrained")):
            row = networks.over_filters(f"{kernel.name} input", record)
            remarks = np.where(_numbers(row) >= (1 - _NEAR) * ceilings, AT_CEILING, "").tolist()
            values[name] = [
                value.named(value.name, remark=remark)
                for value, remark in zip(row, remarks, strict=True)
            ]
            if record == -1:
                outcomes.append(saturates(_numbers(row), ceilings, _NEAR))
                values[name].append(Value("ceiling", float(ceilings.mean())))
    return networks.finding("amount", agreement(outcomes), values)


def _numbers(values: Iterable[Value]) -> np.ndarray:
    return np.array([value.value for value in values])


def amount_in_training_finding(networks: MeasuredNetworks) -> Finding:
    """Return when in the training information of a convolution reaches its ceiling."""
    values, outcomes = {}, []
    for kernel in KERNELS:
        values[kernel.label], full = [], {}
        for count, several in networks.by_filters.items():
            steps, rows = over_steps(several, f"{kernel.name} input")
            ceiling = measures.input_entropy(several, kernel)
            mean = rows[..., networks.layer].mean(axis=(0, 2))
            rising_steps = np.flatnonzero(mean < (1 - _NEAR) * ceiling)
            full[count] = not len(rising_steps) or rising_steps[-1] < len(mean) - 1
            share = (
                100 * steps[rising_steps[-1] + 1] / steps[-1]
                if len(rising_steps) and full[count]
                else 0.0
            )
            remark = "" if len(rising_steps) else "from the start"
            end, remark = (share, remark) if full[count] else (math.nan, "not at the ceiling")
            values[kernel.label].append(
                Value(plural(count, "filter"), end, form=".0f", remark=remark)
            )
            if count == min(networks.by_filters):
                grows = bool(len(rising_steps))
        small_counts = [count for count in full if count <= max(full) / 2]
        outcomes.append(any(full[count] for count in small_counts) if grows else None)
    return networks.finding("amount_in_training", agreement(outcomes), values)


def accuracy_finding(networks: MeasuredNetworks) -> Finding:
    """Return whether more filters of a convolution raise accuracy at first, and later do not."""
    grouped = networks.by_filters
    accuracies = [np.array([arrays["accuracy"] for arrays in rows]) for rows in grouped.values()]
    tested = int(next(iter(networks.trainings.values()))["tested"])
    scores = [row[np.isfinite(row)] for row in accuracies]
    means = np.array([row.mean() if len(row) else np.nan for row in scores])
    errors = [row.std(ddof=1) / math.sqrt(len(row)) if len(row) > 1 else 0.0 for row in scores]
    half = 1.96 * np.sqrt(np.maximum(means * (1 - means), 1e-4) / tested + np.square(errors))
    best = int(np.nanargmax(means))
    falls = means[-1] + half[-1] < means[best] - half[best]
    rises = means[best] - half[best] > means[0] + half[0]
    diverged = len(networks.trainings) - sum(map(len, scores))
    remarks = {
        f"Best with {list(grouped)[best]}.": True,
        f"{diverged} trainings diverged.": diverged,
        "The best is significantly better than the most filters.": falls,
        "No difference is beyond sampling.": not rises,
    }
    verdict = "no" if falls and not best else "not tested"
    if rises:  # a best before the last within its interval is no decline
        verdict = "yes" if falls else "partly"
    values = [
        Value("", mean, mean - side, mean + side).percent(plural(count, "filter"), ".1f")
        for count, mean, side in zip(grouped, means, half, strict=True)
    ]
    remark = " ".join(remark for remark, holds in remarks.items() if holds)
    return networks.finding("accuracy", verdict, values, remarks=remark, tested=tested)


def _pair_networks(networks: MeasuredNetworks) -> MeasuredNetworks:
    """Return the networks with two maps or more in the varied convolution."""
    trainings = networks.trainings.items()
    pairs = {plan: arrays for plan, arrays in trainings if plan.filters[networks.layer] > 1}
    return replace(networks, trainings=pairs)


def redundancy_finding(networks: MeasuredNetworks) -> Finding:
    """Return whether redundancy gives way to synergy with more filters."""
    networks = _pair_networks(networks)
    counts = list(networks.by_filters)
    values, trends = {}, []
    for kernel in KERNELS:
        for name in SHARES:
            row = networks.over_filters(f"{kernel.name} {name}")
            group = values[f"{kernel.label}, {name}"] = [
                value.percent(value.name, ".0f") for value in row
            ]
            if name == "redundant":
                ranked = np.stack([counts, _numbers(row)], axis=1)
                trends.append(np.nan_to_num(rank_agreement(ranked)))
                group.append(Value("rank correlation with filters", trends[-1], form="+.2f"))
    verdict = "yes" if max(trends) < -0.5 else "partly" if min(trends) < -0.5 else "no"
    return networks.finding("redundancy", verdict, values)


def synergy_finding(networks: MeasuredNetworks) -> Finding:
    """Return whether redundancy stays above synergy in every network."""
    networks = _pair_networks(networks)
    values, outcomes = [], []
    for kernel in KERNELS:
        row = networks.over_filters(f"{kernel.name} redundant")
        lowest = min(row, key=lambda value: value.value)
        values.append(lowest.percent(kernel.label, ".1f").named(kernel.label, remark=lowest.name))
        limits = [end for end in (lowest.low, lowest.high) if math.isfinite(end)] or [lowest.value]
        outcomes.append(True if min(limits) > 0 else False if max(limits) < 0 else None)
    return networks.finding("synergy", agreement(outcomes), values)


def draw_inequalities(folder: Folder, networks: MeasuredNetworks, kernel: KernelWidth) -> None:
    """Draw information with the input, forward, and with the output's error, backward (fig. 2)."""
    rows = len(networks.trainings)
    drawing, grid = figure(6.8, 2.1 * rows + 0.3, rows, 3, sharey=True)
    numbers = {}
    for row, (plan, arrays) in zip(grid, networks.trainings.items(), strict=True):
        names = [_short(name) for name in arrays["names"]]
        for axes, (stage, record) in zip(row, stages(arrays), strict=True):
            forward, backward = (inequality(arrays, kernel, record, way) for way in (True, False))
            panels.error_bars(axes, range(len(names)), forward, 0, "I(X;T), forward")
            label = "I(last error; error), backward"
            panels.error_bars(axes, range(len(names) - 1), backward, 2, label)
            numbers[f"{plan.name} {stage} input"] = forward
            numbers[f"{plan.name} {stage} backward"] = backward
            panels.ceiling(axes, math.log2(min(measures.BATCH, int(arrays["tested"]))), ":")
            rotation = 90 if len(names) > _UPRIGHT else 40 if len(names) > 4 else 0
            axes.set_xticks(range(len(names)), names, rotation=rotation)
            axes.set_title(f"{plan.label}, {stage}")
        row[0].set_ylabel("bits")
    panels.legend_below(drawing, grid[0, 0], 2)
    caption = folder.caption("inequalities", networks.source, kernel=kernel.label, **networks.texts)
    folder.figure(f"dpi-{networks.source}-{kernel.name}", drawing, caption, numbers)


def draw_planes(folder: Folder, networks: MeasuredNetworks, kernel: KernelWidth) -> None:
    """Draw the information plane, and the one of non-redundant information (fig. 7)."""
    trainings = networks.trainings
    drawing, grid = figure(6.0, 2.5 * len(trainings) + 0.3, len(trainings), 2)
    numbers: dict[str, np.ndarray | float] = {"S(Y)": networks.label_entropy}
    norm = panels.step_norm(max(int(arrays["steps"][-1]) for arrays in trainings.values()))
    names = {}
    for row, (plan, arrays) in zip(grid, trainings.items(), strict=True):
        numbers[f"{plan.name} steps"] = arrays["steps"]
        for axes, kind in zip(row, ("", "plane "), strict=True):
            about = [
                arrays[f"{kernel.name} {kind}{side}"].mean(axis=1) for side in ("input", "label")
            ]
            for index, name in enumerate(arrays["names"]):
                x, y = (values[:, index] for values in about)
                if np.isfinite(x).all():
                    points = panels.plane(axes, x, y, arrays["steps"], norm, index)
                    names[_short(name)] = index
                    key = f"{plan.name} {name} {kind}"
                    numbers |= {f"{key}input": x, f"{key}label": y}
            axes.set(xlabel="non-redundant, about X (bits)", ylabel="about Y (bits)")
            axes.set_title(f"{plan.label}: {'modified' if kind else 'information'} plane")
        panels.ceiling(row[0], arrays[f"{kernel.name} x"].mean(), ":", upright=True)
        panels.ceiling(row[0], networks.label_entropy, ":")
        row[0].set(xlabel="I(X;T) (bits)", ylabel="I(T;Y) (bits)")
    panels.side_color_bar(drawing, points, list(grid.flat), "iterations", 0.7)
    for name, index in names.items():
        grid[0, 0].plot([], [], panels.marker(index), color=QUIET, mfc="none", label=name)
    columns = min(4 if len(names) > _UPRIGHT else 6, len(names))
    panels.legend_below(drawing, grid[0, 0], columns)
    caption = folder.caption("planes", networks.source, kernel=kernel.label, **networks.texts)
    folder.figure(f"planes-{networks.source}-{kernel.name}", drawing, caption, numbers)


def draw_amounts(folder: Folder, networks: MeasuredNetworks) -> None:
    """Draw information of a convolution, and accuracy, over its number of filters (fig. 4)."""
    grouped = networks.by_filters
    counts, measured = list(grouped), networks.trainings.values()
    drawing, ((axes, accuracy_panel),) = figure(6.4, 2.5, 1, 2)
    numbers: dict[str, np.ndarray | float] = {"filters": np.array(counts)}
    for index, kernel in enumerate(KERNELS):
        for record, label, line in ((-1, kernel.label, "o-"), (0, "before training", "--")):
            values = _numbers(networks.over_filters(f"{kernel.name} input", record))
            axes.plot(counts, values, line, color=panels.color(index), label=label)
            numbers[f"{kernel.name} {'end' if record else 'start'}"] = values
        ceiling = measures.input_entropy(networks.trainings.values(), kernel)
        axes.axhline(ceiling, color="black", lw=0.8, ls=(0, (1, 1 + index)))
        numbers[f"{kernel.name} entropy of the input"] = ceiling
    axes.set_ylabel("I(X;T) (bits)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    shares = [np.array([arrays["accuracy"] for arrays in rows]) for rows in grouped.values()]
    tested = min(int(arrays["tested"]) for arrays in measured)
    for count, share in zip(counts, shares, strict=True):
        half = 196 * np.sqrt(share * (1 - share) / tested)
        style = {"color": panels.color(1), "alpha": 0.5, "capsize": 2}
        accuracy_panel.errorbar([count] * len(share), 100 * share, half, fmt="o", **style)
    accuracy_panel.plot(
        counts, [100 * np.nanmean(share) for share in shares], color=panels.color(1)
    )
    accuracy_panel.set_ylabel("accuracy (%)")
    numbers["accuracy (%)"] = 100 * np.array(shares)
    ordinal = ORDINALS[networks.layer]
    for panel in (axes, accuracy_panel):
        panel.set_xlabel(f"filters of the {ordinal} convolution")
        panel.set_xscale("log", base=2)
        panel.set_xticks(counts, map(str, counts))
    caption = folder.caption("amounts", networks.source, **networks.texts)
    folder.figure(f"mmi-{networks.source}-{ordinal}", drawing, caption, numbers)


def draw_amounts_over_training(folder: Folder, networks: MeasuredNetworks) -> None:
    """Draw information of every convolution over training, by network (fig. 4, 11)."""
    grouped = networks.by_filters
    filters = max((plan.filters for plan in networks.trainings), key=len)
    names = [f"conv {number}" for number in range(1, min(len(filters), len(ORDINALS)) + 1)]
    size = 2.3 * len(names) + 0.4, 4.4
    drawing, grid = figure(*size, len(KERNELS), len(names), sharex=True, sharey="row")
    colors = panels.sequence_colors(len(grouped))
    numbers: dict[str, np.ndarray | float] = {}
    for row, kernel in zip(grid, KERNELS, strict=True):
        ceiling = measures.input_entropy(networks.trainings.values(), kernel)
        numbers[f"{kernel.name} entropy of the input"] = ceiling
        for layer, (axes, name) in enumerate(zip(row, names, strict=True)):
            for (count, several), shade in zip(grouped.items(), colors, strict=True):
                steps, values = over_steps(several, f"{kernel.name} input")
                mean = values[..., layer].mean(axis=(0, 2))
                axes.plot(steps, mean, marker="o", ms=3, color=shade, label=str(count))
                key = f"{kernel.name} {name}, {count} filters"
                numbers |= {key: mean, f"steps, {count} filters": steps}
            axes.axhline(ceiling, color="black", lw=0.8)
            axes.set_title(f"{name} ({kernel.name})")
            panels.step_axis(axes, "iterations" if kernel is KERNELS[-1] else "")
        row[0].set(ylabel="I(X;T) (bits)", ylim=(0, 1.05 * ceiling))
    ordinal = ORDINALS[networks.layer]
    panels.legend_below(drawing, grid[0, 0], 6, f"filters of the {ordinal} convolution")
    first, second = (kernel.label for kernel in KERNELS)
    caption = folder.caption(
        "amounts_over_training", networks.source, first=first, second=second, **networks.texts
    )
    folder.figure(f"mmi-training-{networks.source}-{ordinal}", drawing, caption, numbers)


def draw_pairs(folder: Folder, networks: MeasuredNetworks) -> None:
    """Draw redundancy less synergy, and non-redundant information, over training (fig. 5)."""
    grouped = networks.by_filters
    drawing, grid = figure(6.4, 4.4, 2, 2, sharex=True)
    numbers = {}
    for row, kernel in zip(grid, KERNELS, strict=True):
        for axes, name in zip(row, SHARES, strict=True):
            colors = panels.sequence_colors(len(grouped))
            for (count, several), shade in zip(grouped.items(), colors, strict=True):
                steps, values = over_steps(several, f"{kernel.name} {name}")
                mean = 100 * values[..., networks.layer].mean(axis=(0, 2))
                if np.isfinite(mean).all():
                    axes.plot(steps, mean, marker="o", ms=3, color=shade, label=str(count))
                    numbers |= {f"{kernel.name} {name} {count} filters (%)": mean, "steps": steps}
            panels.step_axis(axes, "iterations" if kernel is KERNELS[-1] else "")
            axes.set_title(f"{_TITLES[name]} ({kernel.name})")
            axes.set_ylabel("% of I(X; both)")
    panels.legend_below(drawing, grid[0, 0], 6, "filters")
    first, second = (kernel.label for kernel in KERNELS)
    caption = folder.caption("pairs", networks.source, first=first, second=second, **networks.texts)
    name = f"pairs-{networks.source}-{ORDINALS[networks.layer]}"
    folder.figure(name, drawing, caption, numbers)


def _short(name: object) -> str:
    return printable(name).replace("Conv2D_", "conv ").replace("Dense_", "dense ")
