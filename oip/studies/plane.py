"""The information plane of whole blocks over training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps

import numpy as np

from oip.core import plots
from oip.mi.training.record import TrainingRecord
from oip.studies import findings, panels, trained
from oip.studies.data import CLOTHES, DIGITS, every_source, load_images
from oip.studies.findings import AT_CEILING, Finding, Value, agreement, all_of, finding, late
from oip.studies.report import Folder, slug
from oip.studies.trained import (
    DENSENET,
    LENET,
    RELU_MLP,
    WIDTHS,
    Outcome,
    RecordedTraining,
    Trainings,
)

NAME = "plane"
SOURCE = trained.SOURCE
TITLE = "The information plane of whole layers during training"
MINUTES = 3
TAKES = ("data", "iterations")
SCHEMA = 1
_BINARY = "binary-12"
_REPORTED = {RELU_MLP.title: 96.93, LENET.title: 99.22, DENSENET.title: 99.23}
"""Accuracy on MNIST in the paper, after 50,000 iterations, in percent."""
_USUAL = 10_000  # iterations after which the paper says that nothing has converged
_NOTABLE = 0.1  # bits above which a rise or a fall counts
_FIRST = next(iter(WIDTHS))
_CONSTANTS = {
    "too_short": findings.TOO_SHORT,
    "by_line": f"above {_NOTABLE} bits, beside twice the spread about a line through the last "
    f"quarter; highest mean of three records in a row; one training each",
}


def run(folder: Folder) -> None:
    """Train the paper's five networks, draw their planes, and compare."""
    trained.add_notes(folder)
    sources = every_source(folder)
    by_source: dict[str, Trainings] = {}
    for data in sources:
        trainings = {
            network.title: trained.study_training(folder, network, data)
            for network in (RELU_MLP, LENET, DENSENET)
        }
        draw_information_planes(folder, data.name, trainings)
        draw_last_layers(folder, data.name, trainings)
        add_plane_findings(folder, data.name, trainings, len(data.test))
        by_source[data.name] = trainings
    add_bounds_by_source(folder, by_source)
    folder.note(folder.text("tanh"))
    networks = {trained.TANH_MLP: load_images(folder, _BINARY), trained.IP_MLP: sources[0]}
    older = {net.title: trained.study_training(folder, net, data) for net, data in networks.items()}
    draw_information_planes(folder, "older networks", older)
    add_older_findings(folder, older)


def add_plane_findings(folder: Folder, source: str, trainings: Trainings, tested: int) -> None:
    """Add one row to the table for each finding about one data set of so many test images."""
    if source == DIGITS:
        folder.add(_accuracies(trainings, tested))
    first = next(iter(trainings.values()))
    span = {"first": _converged_from(first), "last": first.iterations}
    for measure in (last_layer_ends_high, still_rises, layers_grow, fits_then_compresses):
        folder.add(trained.finding_by_width(NAME, measure, trainings, source, **span, **_CONSTANTS))


def _accuracies(trainings: Trainings, tested: int) -> Finding:
    iterations = next(iter(trainings.values())).iterations
    values = [training.percent(name, tested) for name, training in trainings.items()]
    verdict = agreement(value.value >= _REPORTED[value.name] - 0.5 for value in values)
    reported = ", ".join(f"{name} {percent}" for name, percent in _REPORTED.items())
    constants = {"reported": reported, "iterations": iterations, "tested": tested}
    verdict = "not tested" if iterations < findings.TOO_SHORT else verdict
    return finding(NAME, "accuracies", verdict, values, **constants)


def last_layer_ends_high(trainings: Trainings, width: str) -> Outcome:
    """Measure whether the last layer of DenseNet ends with the most information."""
    ends = {name: _late(training.records[width]) for name, training in trainings.items()}
    full = {name: _full(training.records[width]) for name, training in trainings.items()}
    dense = DENSENET.title
    outcomes = [
        None
        if full[name] or full[dense]
        else findings.larger(ends[dense].value, end.value, max(end.spread, ends[dense].spread))
        for name, end in ends.items()
        if name != dense
    ]
    return [end.named(name, remark=AT_CEILING * full[name]) for name, end in ends.items()], outcomes


def each_network(
    measure: Callable[[str, RecordedTraining, TrainingRecord], Outcome],
) -> Callable[[Trainings, str], Outcome]:
    """Return a measure of all networks from that of one, by its name, training and record."""

    @wraps(measure)
    def joined(trainings: Trainings, width: str) -> Outcome:
        values, outcomes = [], []
        for name, training in trainings.items():
            own_values, own_outcomes = measure(name, training, training.records[width])
            values += own_values
            outcomes += own_outcomes
        return values, outcomes

    return joined


@each_network
def still_rises(name: str, training: RecordedTraining, record: TrainingRecord) -> Outcome:
    """Measure whether the last layer still gains information late."""
    full, some = _full(record), record.steps >= _converged_from(training)
    rise = findings.drift(record.layers[-1].whole_label[some], record.steps[some])
    return [rise.named(name, "+.3f", AT_CEILING * full)], [None if full else rise.above()]


def _converged_from(training: RecordedTraining) -> float:
    return _USUAL if training.iterations > _USUAL else training.iterations / 2


@each_network
def layers_grow(name: str, training: RecordedTraining, record: TrainingRecord) -> Outcome:
    """Measure how many layers end with more information about the label."""
    curves = [layer.whole_label for layer in record.layers]
    free = [curve for curve in curves if not findings.at_ceiling(curve[0], record.label_ceiling)]
    rises = [late(curve, record.steps).above(curve[0]) for curve in free]
    pinned = len(curves) - len(free)
    remark = f"{pinned} at the ceiling from the start" if pinned else ""
    count = Value(f"{name}, of {len(free)}", rises.count(True), form=".0f", remark=remark)
    return [count], [all_of(rises)]


@each_network
def fits_then_compresses(name: str, training: RecordedTraining, record: TrainingRecord) -> Outcome:
    """Measure whether the information about the input rises, then falls."""
    curve = record.layers[-1].whole_input
    (top, index), end = findings.peak(curve), findings.settled(curve, record.steps)
    values = [
        Value(f"{name}, start", float(curve[0])),
        Value("highest", top, remark=f"about iteration {record.steps[index]:,}"),
        end.named("end"),
    ]
    moves = (top - curve[0], top - end.value)
    outcome = all_of(findings.larger(move, _NOTABLE, end.spread) for move in moves)
    return values, [None if training.iterations < findings.TOO_SHORT else outcome]


@each_network
def label_drops(name: str, training: RecordedTraining, record: TrainingRecord) -> Outcome:
    """Measure whether the last layer loses information about the label."""
    curve = record.layers[-1].whole_label
    (top, _), end = findings.peak(curve), findings.settled(curve, record.steps)
    drop = findings.larger(top - end.value, _NOTABLE, end.spread)
    return [Value(f"{name}, highest", top), end.named("end")], [drop]


@each_network
def rises_consistently(name: str, training: RecordedTraining, record: TrainingRecord) -> Outcome:
    """Measure whether the information of every layer rises in order."""
    values, outcomes = [], []
    for number, layer in enumerate(record.layers):
        curve, ceiling = layer.whole_label, record.label_ceiling
        remark = AT_CEILING * findings.at_ceiling(curve[-1], ceiling)
        label = f"{name}, {_layer_name(training, number)}"
        values.append(Value(label, findings.trend(curve), form="+.2f", remark=remark))
        outcomes += findings.rises_all_along(curve, record.steps, ceiling)
    return values, outcomes


def add_bounds_by_source(folder: Folder, by_source: Mapping[str, Trainings]) -> None:
    """Add the findings on Fashion-MNIST beside MNIST."""
    if not {DIGITS, CLOTHES} <= set(by_source):
        folder.add(
            findings.untested(NAME, "ends_farther", "Needs both data sets.", "one data set only")
        )
        return
    digits, clothes = by_source[DIGITS], by_source[CLOTHES]

    def ends_farther(trainings: Trainings, width: str) -> Outcome:
        values, outcomes = [], []
        for name, training in trainings.items():
            here, there = (_gap(net.records[width]) for net in (training, digits[name]))
            values += [here.named(f"{name}, {CLOTHES}"), there.named(f"{name}, {DIGITS}")]
            outcomes.append(
                findings.larger(here.value, there.value, max(here.spread, there.spread))
            )
        return values, outcomes

    folder.add(trained.finding_by_width(NAME, ends_farther, clothes))
    folder.add(trained.finding_by_width(NAME, label_drops, clothes, **_CONSTANTS))


def add_older_findings(folder: Folder, trainings: Trainings) -> None:
    """Add the findings on the two networks of the first information planes."""
    for name, training in trainings.items():
        row = trained.finding_by_width(
            NAME, rises_consistently, {name: training}, name, rising=findings.RISING
        )
        folder.add(replace(row, remark=f"Accuracy {100 * training.accuracy:.1f} %."))
    where = "The older networks"
    folder.add(trained.finding_by_width(NAME, fits_then_compresses, trainings, where, **_CONSTANTS))


def _late(record: TrainingRecord) -> Value:
    """Return the last layer's bits about the label over the last quarter of the training."""
    return late(record.layers[-1].whole_label, record.steps)


def _full(record: TrainingRecord) -> bool:
    """Whether the last layer ends at the most that it can know about the label."""
    return findings.at_ceiling(_late(record).value, record.label_ceiling)


def _gap(record: TrainingRecord) -> Value:
    """Bits from the last layer's information to H(Y) in the last quarter."""
    end = _late(record)
    return Value.within(record.label_ceiling - end.value, end.spread)


def draw_information_planes(folder: Folder, name: str, trainings: Trainings) -> None:
    """Draw the information plane of each network; a row for each width (figures 3, 4, 12)."""
    norm = panels.step_norm(max(training.iterations for training in trainings.values()))
    size = 1.0 + 2.5 * len(trainings), 5.4
    drawing, axes = plots.figure(*size, len(WIDTHS), len(trainings))
    numbers: dict[str, np.ndarray | float] = {}
    for line, width in zip(axes, WIDTHS, strict=True):
        for panel, (network, training) in zip(line, trainings.items(), strict=True):
            record = training.records[width]
            for number, layer in enumerate(record.layers):
                label = _layer_name(training, number)
                way = layer.whole_input, layer.whole_label
                points = panels.plane(panel, *way, record.steps, norm, number, label)
                key = f"{network}, {width} width, {label}"
                numbers[f"{key}: I(X;T), bits"], numbers[f"{key}: I(T;Y), bits"] = way
            panels.ceiling(panel, record.label_ceiling)
            panels.ceiling(panel, record.input_ceiling, ":", upright=True)
            panel.set(title=f"{network}, {width} width", xlabel="I(X;T), bits")
            panel.legend(fontsize=plots.SMALL - 1, loc="lower right", frameon=False)
            numbers[f"{network}: iterations"] = record.steps
            numbers[f"{network}: H(Y), bits"] = record.label_ceiling
            numbers[f"{network}: log2 of the images"] = record.input_ceiling
        line[0].set_ylabel("I(T;Y), bits")
    panels.side_color_bar(drawing, points, list(axes.flat), "iteration", shrink=0.7)
    caption = folder.text("planes", name=name, recorded=trained.RECORDED)
    folder.figure(f"plane-{slug(name)}", drawing, caption, numbers)


def draw_last_layers(folder: Folder, name: str, trainings: Trainings) -> None:
    """Draw the accuracy, and the last layer's information about the label, over training."""
    drawing, axes = plots.figure(7.2, 2.5, 1, 1 + len(WIDTHS))
    numbers: dict[str, np.ndarray | float] = {}
    for network, training in trainings.items():
        for panel, width in zip(axes[0, 1:], WIDTHS, strict=True):
            record = training.records[width]
            curve = record.layers[-1].whole_label
            panel.plot(record.steps, curve, marker="o", ms=2, label=network)
            panels.ceiling(panel, record.label_ceiling)
            panel.set(title=f"last layer, {width} width", ylabel="I(T;Y), bits")
            numbers[f"{network}, {width} width: I(T;Y) of the last layer, bits"] = curve
        record = training.records[_FIRST]
        if record.accuracy is not None:
            axes[0, 0].plot(record.steps, 100 * record.accuracy, marker="o", ms=2, label=network)
            numbers[f"{network}: accuracy of the recorded images"] = record.accuracy
        numbers[f"{network}: iterations"] = record.steps
        numbers[f"{network}: accuracy of the whole test part at the end"] = training.accuracy
    axes[0, 0].set_ylabel(f"accuracy of {trained.RECORDED} images, %")
    axes[0, 0].legend(frameon=False)
    for panel in axes.flat:
        panels.step_axis(panel)
        panel.set_xlim(left=-0.2)
    caption = folder.text("last_layers", name=name, recorded=trained.RECORDED)
    folder.figure(f"last-layers-{slug(name)}", drawing, caption, numbers)


def _layer_name(training: RecordedTraining, number: int) -> str:
    if number < len(training.network.blocks):
        return f"block {number + 1}"
    name = training.records[_FIRST].layers[number].layer
    return "output" if name == "classes" else name.replace("Dense_", "dense ")
