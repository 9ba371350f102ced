"""The information plane of whole blocks over training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from oip.core import plots
from oip.core.progress import Progress
from oip.mi.training.record import TrainingRecord
from oip.studies import panels
from oip.studies.data import CLOTHES, DIGITS, every_source, load_images
from oip.studies.findings import (
    RISING,
    TOO_SHORT,
    Finding,
    MeasuredValue,
    Value,
    agreement,
    all_of,
    at_ceiling,
    drift,
    finding,
    larger,
    late,
    peak,
    rises_all_along,
    settled,
    trend,
)
from oip.studies.report import Folder, StudySettings, slug
from oip.studies.trained import (
    AT_CEILING,
    DENSENET,
    IP_MLP,
    LENET,
    RECORDED,
    RELU_MLP,
    SHOWN,
    SOURCE,
    TANH_MLP,
    WIDTHS,
    Outcome,
    RecordedTraining,
    Trainings,
    finding_by_width,
    how_trained,
    sampling_error,
    study_training,
)

NAME = "plane"
TITLE = "The information plane of whole layers during training"
MINUTES = 3
TAKES = ("data", "iterations")
SCHEMA = 1
__all__ = ["MINUTES", "NAME", "SCHEMA", "SOURCE", "TAKES", "TITLE", "run"]

_BINARY = "binary-12"
_REPORTED = {SHOWN[RELU_MLP]: 96.93, SHOWN[LENET]: 99.22, SHOWN[DENSENET]: 99.23}
"""Accuracy on MNIST in the paper, after 50,000 iterations, in percent."""
_USUAL = 10_000
"""Iterations after which the paper says that nothing has converged."""
_NOTABLE = 0.1
"""Bits above which a rise or a fall counts."""
_FIRST = next(iter(WIDTHS))
_CONSTANTS = {
    "too_short": TOO_SHORT,
    "by_line": f"above {_NOTABLE} bits, beside twice the spread about a line through the last "
    f"quarter; highest mean of three records in a row; one training each",
}


def run(folder: Folder, settings: StudySettings, progress: Progress) -> None:
    """Train the paper's five networks, draw their planes, and compare."""
    folder.note(folder.text("information", recorded=RECORDED))
    folder.note(how_trained(settings))
    by_source: dict[str, Trainings] = {}
    sources = every_source(folder, settings)
    for data in sources:
        trainings = {
            SHOWN[network]: study_training(folder, network, data, settings, progress)
            for network in (RELU_MLP, LENET, DENSENET)
        }
        draw_information_planes(folder, data.name, trainings)
        draw_last_layers(folder, data.name, trainings)
        add_plane_findings(folder, data.name, trainings, len(data.test))
        by_source[data.name] = trainings
    add_bounds_by_source(folder, by_source)
    folder.note(folder.text("tanh"))
    vectors = load_images(folder, _BINARY, settings)
    older = {
        SHOWN[network]: study_training(folder, network, data, settings, progress)
        for network, data in ((TANH_MLP, vectors), (IP_MLP, sources[0]))
    }
    draw_information_planes(folder, "older networks", older)
    add_older_findings(folder, older)


def last_layer_ends_high(trainings: Trainings, width: str) -> Outcome:
    """Measure whether the last layer of DenseNet ends with the most information."""
    ends = {name: _late(training, width) for name, training in trainings.items()}
    full = {name: _full(training, width) for name, training in trainings.items()}
    values = [end.named(name, remark=AT_CEILING * full[name]) for name, end in ends.items()]
    dense = SHOWN[DENSENET]
    outcomes = [
        None
        if full[name] or full[dense]
        else larger(ends[dense].value, end.value, max(end.spread, ends[dense].spread))
        for name, end in ends.items()
        if name != dense
    ]
    return values, outcomes


def still_rises(trainings: Trainings, width: str) -> Outcome:
    """Measure whether the last layer still gains information late."""
    values, outcomes = [], []
    for name, training in trainings.items():
        steps, full = training.records[width].steps, _full(training, width)
        some = steps >= _converged_from(training)
        rise = drift(_last(training, width)[some], steps[some])
        values.append(rise.named(name, "+.3f", AT_CEILING * full))
        outcomes.append(None if full else rise.above())
    return values, outcomes


def _converged_from(training: RecordedTraining) -> float:
    return _USUAL if training.iterations > _USUAL else training.iterations / 2


def layers_grow(trainings: Trainings, width: str) -> Outcome:
    """Measure how many layers end with more information about the label."""
    values, outcomes = [], []
    for name, training in trainings.items():
        record = training.records[width]
        curves = [
            layer.whole_label
            for layer in record.layers
            if not at_ceiling(layer.whole_label[0], record.label_ceiling)
        ]
        rises = [late(curve, record.steps).above(curve[0]) for curve in curves]
        pinned = len(record.layers) - len(curves)
        remark = f"{pinned} at the ceiling from the start" if pinned else ""
        count = sum(rise is True for rise in rises)
        values.append(Value(f"{name}, of {len(curves)}", count, form=".0f", remark=remark))
        outcomes.append(all_of(rises))
    return values, outcomes


def fits_then_compresses(trainings: Trainings, width: str) -> Outcome:
    """Measure whether the information about the input rises, then falls."""
    values, outcomes = [], []
    for name, training in trainings.items():
        record = training.records[width]
        curve = record.layers[-1].whole_input
        (top, index), end = peak(curve), settled(curve, record.steps)
        values += [
            Value(f"{name}, start", float(curve[0])),
            Value("highest", top, remark=f"about iteration {record.steps[index]:,}"),
            end.named("end"),
        ]
        rose = larger(top - curve[0], _NOTABLE, end.spread)
        fell = larger(top - end.value, _NOTABLE, end.spread)
        outcomes.append(None if training.iterations < TOO_SHORT else all_of([rose, fell]))
    return values, outcomes


def label_drops(trainings: Trainings, width: str) -> Outcome:
    """Measure whether the last layer loses information about the label."""
    values, outcomes = [], []
    for name, training in trainings.items():
        top, _ = peak(_last(training, width))
        end = settled(_last(training, width), training.records[width].steps)
        values += [Value(f"{name}, highest", top), end.named("end")]
        outcomes.append(larger(top - end.value, _NOTABLE, end.spread))
    return values, outcomes


def rises_consistently(trainings: Trainings, width: str) -> Outcome:
    """Measure whether the information of every layer rises in order."""
    values, outcomes = [], []
    for name, training in trainings.items():
        record = training.records[width]
        ceiling = record.label_ceiling
        for number, layer in enumerate(record.layers):
            remark = AT_CEILING * at_ceiling(layer.whole_label[-1], ceiling)
            label = f"{name}, {_layer_name(training, number)}"
            values.append(Value(label, trend(layer.whole_label), form="+.2f", remark=remark))
            outcomes += rises_all_along(layer.whole_label, record.steps, ceiling)
    return values, outcomes


def add_plane_findings(folder: Folder, source: str, trainings: Trainings, tested: int) -> None:
    """Add one row to the table for each finding about one data set of so many test images."""
    if source == DIGITS:
        folder.add(_accuracies(trainings, tested))
    first = next(iter(trainings.values()))
    span = {"first": _converged_from(first), "last": first.iterations}
    folder.add(finding_by_width(NAME, last_layer_ends_high, trainings, source))
    folder.add(finding_by_width(NAME, still_rises, trainings, source, **span))
    folder.add(finding_by_width(NAME, layers_grow, trainings, source))
    folder.add(finding_by_width(NAME, fits_then_compresses, trainings, source, **_CONSTANTS))


def add_bounds_by_source(folder: Folder, by_source: Mapping[str, Trainings]) -> None:
    """Add the findings on Fashion-MNIST beside MNIST."""
    if not {DIGITS, CLOTHES} <= set(by_source):
        paper = finding(NAME, "ends_farther").paper
        folder.add(Finding(paper, remark="Needs both data sets.", settings="one data set only"))
        return
    digits, clothes = by_source[DIGITS], by_source[CLOTHES]

    def ends_farther(trainings: Trainings, width: str) -> Outcome:
        values, outcomes = [], []
        for name, training in trainings.items():
            here, there = _gap(training, width), _gap(digits[name], width)
            values += [here.named(f"{name}, {CLOTHES}"), there.named(f"{name}, {DIGITS}")]
            outcomes.append(larger(here.value, there.value, max(here.spread, there.spread)))
        return values, outcomes

    folder.add(finding_by_width(NAME, ends_farther, clothes))
    folder.add(finding_by_width(NAME, label_drops, clothes, **_CONSTANTS))


def add_older_findings(folder: Folder, trainings: Trainings) -> None:
    """Add the findings on the two networks of the first information planes."""
    for name, training in trainings.items():
        row = finding_by_width(NAME, rises_consistently, {name: training}, name, rising=RISING)
        folder.add(replace(row, remark=f"Accuracy {100 * training.accuracy:.1f} %."))
    where = "The older networks"
    folder.add(finding_by_width(NAME, fits_then_compresses, trainings, where, **_CONSTANTS))


def _accuracies(trainings: Trainings, tested: int) -> Finding:
    iterations = next(iter(trainings.values())).iterations
    outcomes = [
        100 * training.accuracy >= _REPORTED[name] - 0.5 for name, training in trainings.items()
    ]
    values = [
        sampling_error(training, tested).named(name).named(name, 100)
        for name, training in trainings.items()
    ]
    return finding(
        NAME,
        "accuracies",
        "not tested" if iterations < TOO_SHORT else agreement(outcomes),
        values,
        reported=", ".join(f"{name} {percent}" for name, percent in _REPORTED.items()),
        iterations=iterations,
        tested=tested,
    )


def _last(training: RecordedTraining, width: str) -> np.ndarray:
    """(t,): information of the last layer about the label, in bits."""
    return training.records[width].layers[-1].whole_label


def _late(training: RecordedTraining, width: str) -> MeasuredValue:
    """Return the same over the last quarter of the training."""
    return late(_last(training, width), training.records[width].steps)


def _full(training: RecordedTraining, width: str) -> bool:
    """Whether the last layer ends at the most that it can know about the label."""
    return at_ceiling(_late(training, width).value, training.records[width].label_ceiling)


def _gap(training: RecordedTraining, width: str) -> MeasuredValue:
    """Bits from the last layer's information to H(Y) in the last quarter."""
    end = _late(training, width)
    return MeasuredValue(training.records[width].label_ceiling - end.value, end.spread)


def draw_information_planes(folder: Folder, name: str, trainings: Trainings) -> None:
    """Draw the information plane of each network; a row for each width."""
    norm = panels.step_norm(max(training.iterations for training in trainings.values()))
    size = 1.0 + 2.5 * len(trainings), 5.4
    drawing, axes = plots.figure(*size, len(WIDTHS), len(trainings))
    numbers: dict[str, np.ndarray | float] = {}
    for line, width in zip(axes, WIDTHS, strict=True):
        for panel, (network, training) in zip(line, trainings.items(), strict=True):
            record: TrainingRecord = training.records[width]
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
    caption = folder.text("planes", name=name, recorded=RECORDED)
    folder.figure(f"plane-{slug(name)}", drawing, caption, numbers)


def draw_last_layers(folder: Folder, name: str, trainings: Trainings) -> None:
    """Draw the accuracy, and the last layer's information about the label, over training."""
    drawing, axes = plots.figure(7.2, 2.5, 1, 1 + len(WIDTHS))
    numbers: dict[str, np.ndarray | float] = {}
    for network, training in trainings.items():
        for panel, width in zip(axes[0, 1:], WIDTHS, strict=True):
            record = training.records[width]
            curve = _last(training, width)
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
    axes[0, 0].set_ylabel(f"accuracy of {RECORDED} images, %")
    axes[0, 0].legend(frameon=False)
    for panel in axes.flat:
        panels.step_axis(panel)
        panel.set_xlim(left=-0.2)
    caption = folder.text("last_layers", name=name, recorded=RECORDED)
    folder.figure(f"last-layers-{slug(name)}", drawing, caption, numbers)


def _layer_name(training: RecordedTraining, number: int) -> str:
    if number < len(training.network.blocks):
        return f"block {number + 1}"
    name = training.records[_FIRST].layers[number].layer
    return "output" if name == "classes" else name.replace("Dense_", "dense ")
