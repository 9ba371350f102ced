"""The information plane of whole blocks over training, and two uses of information."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps

import numpy as np

from oip.core import plots, seeds
from oip.core.progress import silent
from oip.core.units import bits
from oip.mi.training.record import TrainingRecord
from oip.studies import findings, panels, trained
from oip.studies.data import CLOTHES, DIGITS, Images, every_source, load_images
from oip.studies.findings import AT_CEILING, Finding, Value, agreement, all_of, finding, late
from oip.studies.report import Arrays, Folder, slug
from oip.studies.trained import (
    DENSENET,
    INPUT,
    LABEL,
    LENET,
    REGULARIZED_BATCH,
    RELU_MLP,
    WIDTHS,
    Outcome,
    RecordedTraining,
    Trainings,
    accuracy,
    number_of_each,
    predictor,
    regularized_model,
    train_until,
    untrained,
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


@dataclass(frozen=True)
class UseSize:
    """Numbers of trainings in which information is used: decisions, and regularized trainings."""

    seeds: int = 6
    images: int = 5_000  # that a network of the decisions learns from
    recipes: tuple[str, ...] = ("relu-mlp", "ip-mlp", "lenet5", "conv-stack")
    few: tuple[int, ...] = (500, 5_000)  # images of the regularized trainings
    batches: int = 400  # of each of those
    regularized: tuple[str, ...] = ("lenet5", "relu-mlp")
    weights: tuple[float, ...] = (0.02, 0.1)
    measured: int = 1_000  # test images of which information is measured
    groups: int = 20_000  # of images of one class that are decided together


FULL_USES = UseSize()
QUICK_USES = UseSize(
    seeds=3,
    images=2_000,
    few=(500,),
    batches=150,
    regularized=("relu-mlp",),
    weights=(0.05,),
    measured=500,
    groups=4_000,
)


def run(folder: Folder) -> None:
    """Train the paper's five networks, draw their planes, and compare, in the paper's order."""
    size = QUICK_USES if folder.settings.quick else FULL_USES
    trained.add_notes(folder)
    folder.note(folder.text("tanh"))
    sources = every_source(folder)
    by_source: dict[str, Trainings] = {}
    for data in sources:
        networks = dict.fromkeys((RELU_MLP, LENET, DENSENET), data)
        trainings = trained.study_trainings(folder, networks)
        draw_last_layers(folder, data.name, trainings)
        if data.name == DIGITS:
            folder.add(accuracies(trainings, len(data.test)))
        if data is sources[0]:
            add_older_networks(folder, data)
        draw_information_planes(folder, data.name, trainings)
        add_plane_findings(folder, data.name, trainings)
        by_source[data.name] = trainings
    add_bounds_by_source(folder, by_source)
    for data in sources:
        add_decisions(folder, data, size)
        add_regularized(folder, data, size)


def add_older_networks(folder: Folder, data: Images) -> None:
    """Train, draw and judge the two networks of the first information planes."""
    networks = {trained.TANH_MLP: load_images(folder, _BINARY), trained.IP_MLP: data}
    older = trained.study_trainings(folder, networks)
    draw_information_planes(folder, "older networks", older)
    add_older_findings(folder, older)


def add_plane_findings(folder: Folder, source: str, trainings: Trainings) -> None:
    """Add one row to the table for each finding about the planes of one data set."""
    training = next(iter(trainings.values()))
    span = {"first": _convergence_start(training), "last": training.iterations}
    for measure in (last_layer_ends_high, still_rises, layers_grow, fits_then_compresses):
        folder.add(trained.finding_by_width(NAME, measure, trainings, source, **span, **_CONSTANTS))


def accuracies(trainings: Trainings, tested: int) -> Finding:
    """Return the accuracies of so many test images beside the paper's."""
    iterations = next(iter(trainings.values())).iterations
    values = [training.percent(name, tested) for name, training in trainings.items()]
    verdict = agreement(value.value >= _REPORTED[value.name] - 0.5 for value in values)
    reported = ", ".join(f"{name} {percent}" for name, percent in _REPORTED.items())
    constants = {"reported": reported, "iterations": iterations, "tested": tested}
    verdict = "not tested" if iterations < findings.TOO_SHORT else verdict
    return finding(NAME, "accuracies", verdict, values, **constants)


def last_layer_ends_high(trainings: Trainings, width: str) -> Outcome:
    """Measure whether the last layer of DenseNet ends with the most information."""
    late_values = {name: _late(training.records[width]) for name, training in trainings.items()}
    full = {name: _full(training.records[width]) for name, training in trainings.items()}
    dense = DENSENET.title
    outcomes = [
        None
        if full[name] or full[dense]
        else findings.larger(
            late_values[dense].value, end.value, max(end.spread, late_values[dense].spread)
        )
        for name, end in late_values.items()
        if name != dense
    ]
    return [
        end.named(name, remark=AT_CEILING * full[name]) for name, end in late_values.items()
    ], outcomes


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
    full, is_late = _full(record), record.steps >= _convergence_start(training)
    rise = findings.drift(record.layers[-1].whole_label[is_late], record.steps[is_late])
    return [rise.named(name, "+.3f", AT_CEILING * full)], [None if full else rise.above()]


def _convergence_start(training: RecordedTraining) -> float:
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
    for layer_index, layer in enumerate(record.layers):
        curve, ceiling = layer.whole_label, record.label_ceiling
        remark = AT_CEILING * findings.at_ceiling(curve[-1], ceiling)
        label = f"{name}, {_layer_name(training, layer_index)}"
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
            own_gap, digits_gap = (_gap(net.records[width]) for net in (training, digits[name]))
            values += [own_gap.named(f"{name}, {CLOTHES}"), digits_gap.named(f"{name}, {DIGITS}")]
            outcomes.append(
                findings.larger(
                    own_gap.value, digits_gap.value, max(own_gap.spread, digits_gap.spread)
                )
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
    subject = "The older networks"
    folder.add(
        trained.finding_by_width(NAME, fits_then_compresses, trainings, subject, **_CONSTANTS)
    )


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


_TARGETS = {CLOTHES: 0.75}
"""Accuracy at which a training of the decisions ends."""
_TARGET = 0.85
_LOOKED = 1_000  # test images by which a training ends; the others are decided on
_TOGETHER = (1, 2, 3, 5)  # images of one class that are decided together
_JUDGED_BY = 3
_RULES = {"mean of the outputs": False, "product of the outputs": True}


@dataclass(frozen=True)
class DecisionNetwork:
    """A network that learns until it has an accuracy."""

    recipe: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its files."""
        return f"{self.recipe}-seed{self.seed}"


def decisions(network: DecisionNetwork, data: Images, size: UseSize) -> Arrays:
    """Train a network up to an accuracy, and decide on groups of images of one class.

    Returns:
        `accuracy` of single images; of each rule R `R` (groups of `_TOGETHER`,): share of the
        groups whose class has the largest combined output; of each width W `W features` and
        `W output`: information of the layer before the head, and of the outputs, in bits.
    """
    from oip.models.datasets import take_images
    from oip.models.training import before_head

    model = untrained(network.recipe, data, network.seed)
    target = _TARGETS.get(data.name, _TARGET)
    looked = np.arange(len(data.test)) < min(_LOOKED, len(data.test) // 2)
    some_test = take_images(data.test, np.flatnonzero(looked), data.test.source)
    count = min(size.images, len(data.train))
    some_train = take_images(data.train, np.arange(count), data.train.source)
    predict = predictor(model)
    train_until(model, some_train, network.seed, lambda: accuracy(predict, some_test), target)
    images, labels = data.test.images[~looked], data.test.required_labels()[~looked]
    outputs = predict(images)
    rng = seeds.generator(network.seed, "decisions")
    arrays = {"accuracy": np.array((outputs.argmax(axis=1) == labels).mean())}
    for rule, logarithmic in _RULES.items():
        arrays[rule] = np.array(
            [
                group_accuracy(outputs, labels, count, size.groups, logarithmic, rng)
                for count in _TOGETHER
            ]
        )
    rows = slice(size.measured)
    layers = {"features": predictor(before_head(model))(images[rows]), "output": outputs[rows]}
    for name, values in layers.items():
        for width in WIDTHS:
            arrays[f"{width} {name}"] = np.array(_label_bits(values, labels[rows], width))
    return arrays


def _label_bits(values: np.ndarray, labels: np.ndarray, width: str) -> float:
    """Return the kernel estimate of I(T;Y) of values (n, d) in bits."""
    from oip import mi

    settings = {"discrete": True, "null": 0, "draws": 0}
    estimator = mi.estimator("kde", **WIDTHS[width])
    return mi.mutual_information(values.astype(np.float64), labels, estimator, **settings).bits


def group_accuracy(
    outputs: np.ndarray,
    labels: np.ndarray,
    count: int,
    groups: int,
    logarithmic: bool,
    rng: np.random.Generator,
) -> float:
    """Return the share of groups of `count` images of one class that are decided right.

    Outputs (n, classes) are added up, or multiplied (`logarithmic`).
    """
    if count == 1:
        return float((outputs.argmax(axis=1) == labels).mean())
    values = np.log(np.maximum(outputs, 1e-12)) if logarithmic else outputs
    right = []
    for label in np.unique(labels):
        indices = np.flatnonzero(labels == label)
        if len(indices) <= count:
            continue
        share = max(1, groups // len(np.unique(labels)))
        rows = indices[rng.random((share, len(indices))).argpartition(count, axis=1)[:, :count]]
        right.append((values[rows].sum(axis=1).argmax(axis=1) == label).mean())
    return float(np.mean(right)) if right else math.nan


def _fitting(recipes: Sequence[str], data: Images) -> list[str]:
    """Return the recipes that take images of this size."""
    from oip import models

    side = min(data.train.images.shape[1:3])
    return [name for name in recipes if models.recipe(name).least <= side]


def add_decisions(folder: Folder, data: Images, size: UseSize) -> None:
    """Compare decisions from several images with information, at equal accuracy."""
    first_seed = folder.settings.seed
    networks = [
        DecisionNetwork(recipe, seed)
        for recipe in _fitting(size.recipes, data)
        for seed in range(first_seed, first_seed + size.seeds)
    ]
    label = f"decisions-{slug(data.name)}"
    compute = partial(decisions, data=data, size=size)
    measured = folder.parts(label, networks, compute, data.digest)
    draw_decisions(folder, data.name, measured)
    folder.add(decision_finding(data.name, measured, first_seed))


def decision_finding(source: str, rows: Mapping[DecisionNetwork, Arrays], seed: int) -> Finding:
    """Return the finding on decisions from several images, beside single ones."""
    single = number_of_each(rows, "accuracy")
    names = [f"{width} {layer}" for width in WIDTHS for layer in ("features", "output")]
    values: dict[str, list[Value]] = {}
    outcomes = []
    for rule in _RULES:
        shares = np.array([arrays[rule] for arrays in rows.values()])
        several = shares[:, _TOGETHER.index(_JUDGED_BY)]
        values[rule] = []
        for name in names:
            link = findings.partial_rank_correlation(
                number_of_each(rows, name), several, single, seed
            )
            values[rule].append(
                link.named(f"I(T;Y) of the {name.split()[1]}, {name.split()[0]} width")
            )
            outcomes.append(link.above())
        means = 100 * shares.mean(axis=0)
        values[f"{rule}, right decisions, %"] = findings.named_values(
            [f"of {count}" for count in _TOGETHER], means, ".1f"
        )
    spread = f"{100 * single.min():z.1f} to {100 * single.max():z.1f} %"
    constants = {"count": len(rows), "spread": spread, "images": _JUDGED_BY}
    return finding(NAME, "decisions", findings.weighed(outcomes), values, source, **constants)


def draw_decisions(folder: Folder, name: str, rows: Mapping[DecisionNetwork, Arrays]) -> None:
    """Draw right decisions on several images beside information and single images."""
    drawing, axes = plots.figure(7.4, 4.4, len(_RULES), 3, sharey="row")
    recipes = list(dict.fromkeys(network.recipe for network in rows))
    numbers: dict[str, np.ndarray | list[str]] = {"networks": [net.name for net in rows]}
    columns = {
        "single images right, %": 100 * number_of_each(rows, "accuracy"),
        "I(T;Y) before the head,\nrelative width, bits": number_of_each(rows, "relative features"),
        "I(T;Y) of the outputs,\nfixed width, bits": number_of_each(rows, "fixed output"),
    }
    for line_number, (line, rule) in enumerate(zip(axes, _RULES, strict=True), 1):
        shares = 100 * np.array([arrays[rule] for arrays in rows.values()])
        several = shares[:, _TOGETHER.index(_JUDGED_BY)]
        numbers[f"{rule}: right decisions (%) by network and images"] = shares
        for panel, (label, values) in zip(line, columns.items(), strict=True):
            for index, recipe in enumerate(recipes):
                of_recipe = np.array([network.recipe == recipe for network in rows])
                look = {"color": panels.color(index), "marker": panels.marker(index), "s": 14}
                panel.scatter(values[of_recipe], several[of_recipe], label=recipe, **look)
            panel.set_xlabel(label if line_number == len(axes) else "")
            numbers[label] = values
        line[0].set_ylabel(f"{rule},\n{_JUDGED_BY} images right, %")
    panels.legend_below(drawing, axes[0, 0], len(recipes))
    caption = folder.text("decisions", name=name, count=len(rows), images=_JUDGED_BY)
    folder.figure(f"decisions-{slug(name)}", drawing, caption, numbers)


@dataclass(frozen=True)
class RegularizedTraining:
    """A training by the cross-entropy and a term of information, each batch's own."""

    recipe: str
    images: int
    term: str  # `LABEL` or `INPUT`; none if empty
    weight: float
    seed: int

    @property
    def name(self) -> str:
        """The name of its files."""
        term = f"-{slug(self.term)}-{self.weight:g}" if self.term else ""
        return f"{self.recipe}-{self.images}{term}-seed{self.seed}"


def regularized(plan: RegularizedTraining, data: Images, size: UseSize) -> Arrays:
    """Train with a term of information in the loss.

    Returns:
        `accuracy` of the test part; `label` and `input`: I(T;Y) and I(X;T) of the layer before the
        head in bits, on test images.
    """
    from oip import mi
    from oip.models.datasets import take_images
    from oip.models.training import TrainSettings, before_head, fit, release

    model = untrained(plan.recipe, data, plan.seed)
    count = min(plan.images, len(data.train))
    some_train = take_images(data.train, np.arange(count), data.train.source)
    epochs = max(1, round(size.batches / math.ceil(count / REGULARIZED_BATCH)))
    settings = TrainSettings(epochs, REGULARIZED_BATCH, schedule="constant")
    learner = regularized_model(model, plan.term, plan.weight)
    fit(learner, some_train, settings, silent)
    rows = slice(size.measured)
    values = predictor(before_head(model))(data.test.images[rows]).astype(np.float64)
    estimator = mi.estimator("kde", **WIDTHS["relative"])
    about_input = estimator.input_information(values, plan.seed).nats  # type: ignore[attr-defined]
    labels = data.test.required_labels()[rows]
    reached = accuracy(predictor(model), data.test)
    release(learner)
    return {
        "accuracy": np.array(reached),
        "label": np.array(_label_bits(values, labels, "relative")),
        "input": np.array(bits(about_input)),
    }


def add_regularized(folder: Folder, data: Images, size: UseSize) -> None:
    """Train with and without information in the loss, and compare."""
    first_seed = folder.settings.seed
    arms = [("", 0.0), *itertools.product((LABEL, INPUT), size.weights)]
    plans = [
        RegularizedTraining(recipe, count, term, weight, seed)
        for recipe, count in itertools.product(_fitting(size.regularized, data), size.few)
        for term, weight in arms
        for seed in range(first_seed, first_seed + size.seeds)
    ]
    label = f"regularized-{slug(data.name)}"
    compute = partial(regularized, data=data, size=size)
    rows = folder.parts(label, plans, compute, data.digest)
    results: dict[str, dict[str, list[Arrays]]] = {}
    for plan, arrays in rows.items():
        subject = f"{plan.recipe}, {min(plan.images, len(data.train)):,} images"
        arm = f"{plan.weight:g} {plan.term}" if plan.term else "without"
        results.setdefault(subject, {}).setdefault(arm, []).append(arrays)
    draw_regularized(folder, data.name, results)
    folder.add(regularizer_finding(data.name, results, size))


def regularizer_finding(
    source: str, results: Mapping[str, Mapping[str, Sequence[Arrays]]], size: UseSize
) -> Finding:
    """Return the finding on information in the loss: accuracy less that without, by seed."""
    values, outcomes = {}, []
    for subject, arms in results.items():
        base = np.array([float(arrays["accuracy"]) for arrays in arms["without"]])
        values[subject] = [Value.mean_of(100 * base, "without")]
        for name, rows in arms.items():
            if name != "without":
                gains = np.array([float(arrays["accuracy"]) for arrays in rows]) - base
                gain = Value.mean_of(100 * gains, name, "+.2f")
                values[subject].append(gain)
                outcomes.append(gain.above())
    constants = {"seeds": size.seeds, "batches": size.batches}
    return finding(NAME, "regularizer", findings.weighed(outcomes), values, source, **constants)


def draw_regularized(
    folder: Folder, name: str, results: Mapping[str, Mapping[str, Sequence[Arrays]]]
) -> None:
    """Draw accuracy and information with and without a term of information in the loss."""
    drawing, axes = plots.figure(7.4, 0.6 + 1.5 * len(results), len(results), 3, sharey=True)
    numbers: dict[str, np.ndarray] = {}
    labels = {"accuracy": "accuracy, %", "label": "I(T;Y), bits", "input": "I(X;T), bits"}
    for line_number, (line, (subject, arms)) in enumerate(
        zip(axes, results.items(), strict=True), 1
    ):
        for panel, (key, label) in zip(line, labels.items(), strict=True):
            factor = 100 if key == "accuracy" else 1
            heights = np.arange(len(arms))[::-1]
            for height, (arm, rows) in zip(heights, arms.items(), strict=True):
                values = factor * np.array([float(arrays[key]) for arrays in rows])
                shade = panels.color(int(arm != "without") + int(INPUT in arm))
                panel.scatter(values, np.full(len(values), height), color=shade, s=10, alpha=0.6)
                panel.scatter(values.mean(), height, color=shade, marker="|", s=120)
                numbers[f"{subject}, {arm}: {label}"] = values
            panel.set_yticks(heights, list(arms))
            panel.set_ylim(-0.6, len(arms) - 0.4)
            panel.set_xlabel(label if line_number == len(axes) else "")
        line[0].set_title(subject, loc="left")
    folder.figure(
        f"regularized-{slug(name)}", drawing, folder.text("regularized", name=name), numbers
    )


def draw_information_planes(folder: Folder, name: str, trainings: Trainings) -> None:
    """Draw the information plane of each network; a row for each width (figures 3, 4, 12)."""
    norm = panels.step_norm(max(training.iterations for training in trainings.values()))
    size = 1.0 + 2.5 * len(trainings), 5.4
    drawing, axes = plots.figure(*size, len(WIDTHS), len(trainings))
    numbers: dict[str, np.ndarray | float] = {}
    for line, width in zip(axes, WIDTHS, strict=True):
        for panel, (network, training) in zip(line, trainings.items(), strict=True):
            record = training.records[width]
            for layer_index, layer in enumerate(record.layers):
                label = _layer_name(training, layer_index)
                way = layer.whole_input, layer.whole_label
                points = panels.plane(panel, *way, record.steps, norm, layer_index, label)
                key = f"{network}, {width} width, {label}"
                numbers[f"{key}: I(X;T), bits"], numbers[f"{key}: I(T;Y), bits"] = way
            panels.ceiling(panel, record.label_ceiling)
            panels.ceiling(panel, record.input_ceiling, ":", upright=True)
            panel.set(title=f"{network}, {width} width", xlabel="I(X;T), bits")
            # Left of the line at log2 of the images, and below the ways to the upper right.
            look = {"fontsize": plots.SMALL - 1, "frameon": False, "bbox_to_anchor": (0.94, 0)}
            panel.legend(loc="lower right", **look)
            numbers[f"{network}: iterations"] = record.steps
            numbers[f"{network}: H(Y), bits"] = record.label_ceiling
            numbers[f"{network}: log2 of the images"] = record.input_ceiling
        line[0].set_ylabel("I(T;Y), bits")
    panels.side_color_bar(drawing, points, list(axes.flat), "iteration", shrink=0.7)
    caption = folder.caption("planes", name, name=name, recorded=trained.RECORDED)
    folder.figure(f"plane-{slug(name)}", drawing, caption, numbers)


def draw_last_layers(folder: Folder, name: str, trainings: Trainings) -> None:
    """Draw the accuracy, and the last layer's information about the label, over training."""
    drawing, axes = plots.figure(7.2, 2.7, 1, 1 + len(WIDTHS))
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
    panels.legend_below(drawing, axes[0, 0], len(trainings))
    for panel in axes.flat:
        panels.step_axis(panel)
        panel.set_xlim(-0.2, 1.4 * max(training.iterations for training in trainings.values()))
    caption = folder.caption("last_layers", name, name=name, recorded=trained.RECORDED)
    folder.figure(f"last-layers-{slug(name)}", drawing, caption, numbers)


def _layer_name(training: RecordedTraining, layer_index: int) -> str:
    if layer_index < len(training.network.blocks):
        return f"block {layer_index + 1}"
    name = training.records[_FIRST].layers[layer_index].layer
    return "output" if name == "classes" else name.replace("Dense_", "dense ")
