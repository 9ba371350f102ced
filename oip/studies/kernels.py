"""Information of single kernels while networks are trained: box plots, responses, heat maps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from oip.core import plots
from oip.core.units import bits
from oip.mi.estimators.results import SATURATED
from oip.studies import findings, kernel_redundancy, panels, trained
from oip.studies.data import CLOTHES, DIGITS, Images, every_source, one_of_each_class
from oip.studies.findings import AT_CEILING, Finding, Value, agreement, all_of, finding
from oip.studies.oip_arms import high_power
from oip.studies.report import Arrays, Folder, slug
from oip.studies.trained import DENSENET, LENET, WIDTHS, Outcome, RecordedTraining, Trainings

NAME = "kernels"
SOURCE = trained.SOURCE
TITLE = "Information of single kernels about the label during training"
MINUTES = 3
TAKES = ("data", "iterations")
SCHEMA = 1
_SHOWN = 4  # kernels with the highest and with the lowest information whose responses are shown
_LENET, _DENSENET = LENET.title, DENSENET.title
_SETTLED = 50  # iterations before which everything moves
_EARLY = 0.1  # share of a training that is early
_ALIKE = ("T-shirt/top", "Pullover", "Dress", "Coat", "Shirt")
_CONSISTENT = 0.8  # mean rank correlation from which classes rank kernels alike
_ORDER = 0.5  # rank correlation from which there is an order that is kept, or that can be lost
_VARIANCES = {
    "relative": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    "fixed": (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0),
}
"""Of the Gaussian kernels, by width: shares of the median squared distance, or plain numbers."""
_REPORTED = (0.46, 1.07)
"""Median of DenseNet's second block at the start and at the end of the training on MNIST, bits."""
_MET = 0.1  # bits within which a reported value is met
_HARDLY = 0.1  # bits under which a median gains hardly any information
_LITTLE = 0.005  # share of the test part under which two accuracies differ little

_BOXES = 16
_UNRANKED = "#cccccc"
_WIDTH_NAMES = {"relative": "width relative to the responses", "fixed": "fixed width"}
_CONSTANTS = {
    "over_kernels": "intervals of two spreads over kernels drawn with replacement; "
    "one training each",
    "rising": findings.RISING,
    "consistent": _CONSISTENT,
    "order": _ORDER,
    "hardly": _HARDLY,
}


def run(folder: Folder) -> None:
    """Train LeNet and DenseNet on every data set, draw what their kernels know, and compare."""
    trained.add_notes(folder)
    by_source: dict[str, Trainings] = {}
    for data in every_source(folder):
        networks = dict.fromkeys((LENET, DENSENET, trained.STRIDED), data)
        trainings = trained.study_trainings(folder, networks)
        pair = {name: trainings[name] for name in (_LENET, _DENSENET)}
        for width in WIDTHS:
            draw_boxes(folder, data, pair, width)
        block_responses = {name: first_block_responses(folder, data, pair[name]) for name in pair}
        for name, responses in block_responses.items():
            draw_responses(folder, data, name, responses)
        for (name, training), width in itertools.product(pair.items(), WIDTHS):
            draw_heat_maps(folder, data, name, training, width)
        sweeps = {name: variance_sweep(folder, data, training) for name, training in pair.items()}
        draw_variances(folder, data, pair, sweeps)
        add_kernel_findings(folder, data, trainings)
        folder.add(blur_finding(data.name, block_responses))
        kernel_redundancy.add_redundancy(folder, data, pair)
        if data.name == DIGITS:
            folder.add(variance_finding(sweeps[_DENSENET], pair[_DENSENET]))
        by_source[data.name] = trainings
    add_gains_by_source(folder, by_source)


class Block:
    """The kernels of one block over a training, by one width of the kernel estimate."""

    def __init__(self, training: RecordedTraining, width: str, block_index: int):
        record = training.records[width]
        layer = record[training.network.blocks[block_index]]
        self.early = _EARLY * training.iterations
        self.name = f"{training.network.title}, {trained.BLOCK_NAMES[block_index]}"
        self.steps = record.steps  # (t,)
        self.label = layer.label  # (t, m) bits about the label
        self.per_class = layer.per_class  # (t, m, classes) bits about being of a class or not
        self.medians = np.median(self.label, axis=1)  # (t,)
        self.ceiling: float = record.label_ceiling

    def full(self, record: int = -1) -> bool:
        """Return whether half of the kernels are so near to the ceiling that no order counts."""
        return findings.at_ceiling(self.medians[record], self.ceiling)

    @property
    def remark(self) -> str:
        """A remark on its values where nothing can be said of them."""
        return AT_CEILING * self.full()

    def early_gain(self) -> Value:
        """Return the rise of the median over the first tenth of a training; bits."""
        until = int(np.flatnonzero(self.steps <= self.early)[-1])
        return self._gain(self.label[until : until + 1])

    def gain(self) -> Value:
        """Return the rise of the median from the start to the last quarter; bits."""
        return self._gain(self.label[self.steps >= findings.LATE * self.steps[-1]])

    def _gain(self, last: np.ndarray) -> Value:
        start = self.label[0]

        def rise(rows: np.ndarray) -> np.ndarray:
            return np.median(last[:, rows], axis=-1).mean(axis=0) - np.median(start[rows], axis=-1)

        return findings.over_kernels(rise, len(start))

    def roughness(self) -> Value:
        """Return the standard deviation of the mean's rate between settled records.

        In bits per 1,000 iterations: records are farther apart later.
        """
        settled = self.steps >= _SETTLED
        values = self.label[settled]
        if len(values) < 3:
            return Value("", np.nan)

        return findings.over_kernels(
            lambda rows: rates(values[:, rows].mean(axis=-1), self.steps[settled]).std(axis=0),
            values.shape[1],
        )

    def order_kept(self) -> Value:
        """Return Spearman's correlation of the kernels at the start and at the end."""
        pair = self.label[[0, -1]].T
        return findings.over_kernels(lambda rows: findings.rank_agreement(pair[rows]), len(pair))

    def consistency(self, record: int) -> Value:
        """Return the mean rank correlation between the classes' orders of the kernels."""
        table = self.per_class[record]
        return findings.over_kernels(lambda rows: findings.rank_agreement(table[rows]), len(table))

    def consistency_lost(self) -> Value:
        """Return by how much `consistency` fell from the start to the end."""
        first, last = self.per_class[[0, -1]]
        return findings.over_kernels(
            lambda rows: findings.rank_agreement(first[rows]) - findings.rank_agreement(last[rows]),
            len(first),
        )

    def high_for_all(self, record: int) -> Value:
        """Return how many kernels are in the upper half of the block for every class."""
        from scipy.stats import rankdata

        ranks = rankdata(-self.per_class[record], axis=0)  # (m, classes)
        count = len(ranks)
        high = int((ranks <= count / 2).all(axis=1).sum())
        return Value(self.name, high, form=".0f", remark=f"of {count}")

    def ends(self) -> list[Value]:
        """Return the median at the start and at the end."""
        first, last = (float(value) for value in self.medians[[0, -1]])
        start = Value(f"{self.name}, start", first)
        return [start, Value(f"{self.name}, end", last, remark=self.remark)]


def rates(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the change of records (t, ...) from one to the next, per 1,000 iterations."""
    gaps = np.diff(steps).reshape(-1, *(1,) * (values.ndim - 1))
    return 1000 * np.diff(values, axis=0) / gaps


def _blocks(trainings: Trainings, width: str) -> list[list[Block]]:
    """Return both blocks of LeNet, and both of DenseNet."""
    networks = (trainings[_LENET], trainings[_DENSENET])
    return [[Block(network, width, block_index) for block_index in (0, 1)] for network in networks]


def _rank_sum(lenet: Block, dense: Block) -> tuple[Value, bool | None]:
    """Return the p-value that two blocks' kernels end alike, and whether LeNet's end higher."""
    from scipy.stats import mannwhitneyu

    chance = float(mannwhitneyu(lenet.label[-1], dense.label[-1]).pvalue)
    value = Value("rank-sum test over kernels at the end, p", chance, form=".2g")
    if chance >= 0.05 or lenet.full() or dense.full():
        return value, None
    return value, bool(lenet.medians[-1] > dense.medians[-1])


def first_blocks(trainings: Trainings, width: str) -> Outcome:
    """Measure whether LeNet's first block gains early, and ends above DenseNet's."""
    lenet, dense = _blocks(trainings, width)
    early = lenet[0].early_gain()
    chance, higher = _rank_sum(lenet[0], dense[0])
    gained = early.named(f"{_LENET}, first tenth", "+.2f")
    values = [*lenet[0].ends(), gained, *dense[0].ends(), chance]
    return values, [None if lenet[0].full() else early.above(), higher]


def steadiness(trainings: Trainings, width: str) -> Outcome:
    """Measure whether the mean over kernels moves more steadily in DenseNet."""
    lenet, dense = _blocks(trainings, width)
    values, outcomes = [], []
    for first, second in zip(lenet, dense, strict=True):
        rough, smooth = first.roughness(), second.roughness()
        values.append(rough.named(first.name, ".3f", first.remark))
        values.append(smooth.named(second.name, ".3f", second.remark))
        outcomes.append(None if first.full() or second.full() else rough.above(smooth))
    return values, outcomes


def second_block_of_densenet(trainings: Trainings, width: str) -> Outcome:
    """Measure whether the median of DenseNet's second block rises all along."""
    _, (_, block) = _blocks(trainings, width)
    values = [
        *block.ends(),
        Value("Spearman with the iteration", findings.trend(block.medians), form="+.2f"),
        findings.second_half(block.medians, block.steps).named("rise in the second half", "+.3f"),
    ]
    return values, list(findings.rises_all_along(block.medians, block.steps, block.ceiling))


def second_block_of_lenet(trainings: Trainings, width: str) -> Outcome:
    """Measure whether LeNet's second block falls late."""
    (_, block), _ = _blocks(trainings, width)
    median, steps = block.medians, block.steps
    end, half = findings.late(median, steps), findings.second_half(median, steps)
    middle = median[(steps >= steps[-1] / 4) & (steps < steps[-1] / 2)]
    middle_median = float(middle.mean()) if len(middle) else np.nan
    values = [
        Value("median in the second quarter", middle_median),
        end.named("in the last", remark=block.remark),
        half.named("rise in the second half", "+.2f"),
    ]
    fell = [
        findings.larger(middle_median, end.value, end.spread),
        findings.larger(-half.value, 0.0, half.spread),
    ]
    return values, [None if block.full() else all_of(fell)]


def low_kernels(trainings: Trainings, width: str) -> Outcome:
    """Measure whether LeNet's second block has more kernels that know little."""
    lenet, dense = _blocks(trainings, width)
    chance, higher = _rank_sum(lenet[1], dense[1])
    values = [lenet[1].ends()[1], dense[1].ends()[1], chance]
    return values, [None if higher is None else not higher]


def classes_rank_alike(trainings: Trainings, width: str) -> Outcome:
    """Measure whether all classes rank LeNet's first block alike, and its second less."""
    lenet, _ = _blocks(trainings, width)
    first, second = (
        block.consistency(-1).named(block.name, remark=block.remark) for block in lenet
    )
    outcome = all_of([first.above(_CONSISTENT), first.above(second)])
    return [first, second], [None if any(block.full() for block in lenet) else outcome]


def high_for_all_classes(trainings: Trainings, width: str) -> Outcome:
    """Measure what LeNet's kernels know of the classes before training."""
    (first, second), _ = _blocks(trainings, width)
    counts = [block.high_for_all(0) for block in (first, second)]
    highest = float(second.label[0].max())
    outcomes = [
        None if block.full(0) else count.value > 0
        for block, count in zip((first, second), counts, strict=True)
    ]
    name = f"{second.name}, highest information in bits"
    return [*counts, Value(name, highest)], [*outcomes, highest < second.ceiling / 2]


def _common_order_lost(blocks: Iterable[Block]) -> Outcome:
    """Measure whether the classes' orders of the kernels are less alike at the end."""
    values, outcomes = [], []
    for block in blocks:
        start, full = block.consistency(0), block.full() or block.full(0)
        end = block.consistency(-1).named(f"{block.name}, end", remark=AT_CEILING * full)
        values += [start.named(f"{block.name}, start"), end]
        ordered = start.above(_ORDER) and not full
        outcomes.append(block.consistency_lost().above() if ordered else None)
    return values, outcomes


def specialization(trainings: Trainings, width: str) -> Outcome:
    """Measure whether DenseNet's kernels become specialized to classes."""
    return _common_order_lost(_blocks(trainings, width)[1])


def specialization_of_lenet(trainings: Trainings, width: str) -> Outcome:
    """Measure whether the kernels of LeNet's second block become specialized to classes."""
    return _common_order_lost(_blocks(trainings, width)[0][1:])


def order_over_training(trainings: Trainings, width: str) -> Outcome:
    """Measure whether LeNet keeps the order of its first block's kernels."""
    lenet, dense = _blocks(trainings, width)
    blocks = {_LENET: lenet[0], _DENSENET: dense[0]}
    first, second = (
        block.order_kept().named(name, remark=block.remark) for name, block in blocks.items()
    )
    outcome = all_of([first.above(_ORDER), first.above(second)])
    return [first, second], [None if any(block.full() for block in blocks.values()) else outcome]


_MEASURES: tuple[Callable[[Trainings, str], Outcome], ...] = (
    first_blocks,
    steadiness,
    second_block_of_densenet,
    second_block_of_lenet,
    low_kernels,
    high_for_all_classes,
    classes_rank_alike,
    specialization_of_lenet,
    specialization,
    order_over_training,
)
"""Findings about one data set, by width of the kernel estimate."""


def add_kernel_findings(folder: Folder, data: Images, trainings: Trainings) -> None:
    """Add one row to the table for each finding about one data set."""
    for measure in _MEASURES:
        folder.add(trained.finding_by_width(NAME, measure, trainings, data.name, **_CONSTANTS))
    folder.add(_stride(data.name, trainings, len(data.test)))
    if set(_ALIKE) <= set(data.test.classes):
        folder.add(_similar_classes(data.name, trainings, data.test.classes))


def _stride(source: str, trainings: Trainings, tested: int) -> Finding:
    names = {"stride 1": _LENET, "stride 2": trained.STRIDED.title, _DENSENET: _DENSENET}
    accuracies = [trainings[network].percent(name, tested) for name, network in names.items()]
    values = {"accuracy, %": accuracies}
    plain, strided = trainings[_LENET], trainings[trained.STRIDED.title]
    for width in WIDTHS:
        records = [training.records[width] for training in (plain, strided)]
        late_values = [
            findings.late(record["classes"].whole_label, record.steps).value for record in records
        ]
        group = f"information of the last layer, bits, {width} width"
        values[group] = findings.named_values(("stride 1", "stride 2"), late_values)
    close = abs(plain.accuracy - strided.accuracy) < _LITTLE
    verdict = "not tested" if plain.iterations < findings.TOO_SHORT else agreement([close])
    sizes = {"iterations": plain.iterations, "tested": tested}
    return finding(NAME, "stride", verdict, values, source, **sizes)


def _similar_classes(source: str, trainings: Trainings, classes: Sequence[str]) -> Finding:
    names = np.array(classes)
    texts, outcomes = [], []
    for width, name in itertools.product(WIDTHS, (_LENET, _DENSENET)):
        block = Block(trainings[name], width, 1)
        order = names[np.argsort(block.per_class[-1].mean(axis=0))]
        lowest = [set(order[:5]) == set(_ALIKE), order[0] == "Shirt"]
        outcomes += [None, None] if block.full() else lowest
        remark = f" ({block.remark})" if block.full() else ""
        texts.append(f"{name}, {width} width: {', '.join(order[:5])}{remark}")
    constants = {
        "recorded": trained.RECORDED,
        "a_class": trained.RECORDED // len(names),
        "order": "; ".join(texts),
    }
    verdict = agreement(outcomes)
    return finding(NAME, "classes_that_look_alike", verdict, (), source, **constants)


def add_gains_by_source(folder: Folder, by_source: Mapping[str, Trainings]) -> None:
    """Add the finding on Fashion-MNIST beside MNIST."""
    if not {DIGITS, CLOTHES} <= set(by_source):
        texts = "Needs both data sets.", "one data set only"
        folder.add(findings.untested(NAME, "gain_by_source", *texts, **_CONSTANTS))
        return
    values, outcomes = {}, []
    for width in WIDTHS:
        group = values[f"{width} width"] = []
        for name in (_LENET, _DENSENET):
            blocks = [Block(by_source[source][name], width, 0) for source in (CLOTHES, DIGITS)]
            on_clothes, on_digits = (
                Value("", np.nan) if block.full() else block.gain() for block in blocks
            )
            group.append(on_clothes.named(f"{name}, {CLOTHES}", "+.2f", blocks[0].remark))
            group.append(on_digits.named(f"{name}, {DIGITS}", "+.2f", blocks[1].remark))
            little = findings.larger(_HARDLY, on_clothes.value, on_clothes.spread)
            full = any(block.full() for block in blocks)
            outcomes.append(None if full else all_of([little, on_digits.above(on_clothes)]))
    folder.add(finding(NAME, "gain_by_source", agreement(outcomes), values, **_CONSTANTS))


def draw_boxes(folder: Folder, data: Images, trainings: Trainings, width: str) -> None:
    """Draw the kernels' information over training as boxes, and the mean's first difference."""
    drawing, axes = plots.figure(7.2, 6.6, 4, len(trainings), sharey="row")
    numbers: dict[str, np.ndarray] = {}
    for column, (name, training) in enumerate(trainings.items()):
        record = training.records[width]
        indices = np.unique(np.linspace(0, len(record) - 1, _BOXES).round().astype(int))
        ticks = [
            f"{step / 1000:g}k" if step >= 1000 else str(step) for step in record.steps[indices]
        ]
        for block_index, (layer, block) in enumerate(
            zip(training.network.blocks, trained.BLOCK_NAMES, strict=False)
        ):
            values = record[layer].label
            change = rates(values.mean(axis=1), record.steps)
            box_panel, rate_panel = axes[2 * block_index, column], axes[2 * block_index + 1, column]
            panels.boxes(box_panel, list(values[indices]), ticks)
            panels.ceiling(box_panel, record.label_ceiling)
            box_panel.set_title(f"{name}, {block}: {values.shape[1]} kernels")
            rate_panel.axhline(0, color=plots.QUIET, lw=0.6)
            rate_panel.plot(record.steps[1:], change, marker="o", ms=2)
            panels.step_axis(rate_panel)
            rate_panel.set_yscale("symlog", linthresh=0.1)
            if not column:
                box_panel.set_ylabel("MI with the label, bits")
                rate_panel.set_ylabel("rate of the mean, bits\nper 1,000 iterations")
            numbers[f"{name}, {block}: bits by iteration and kernel"] = values
            numbers[f"{name}, {block}: rate of the mean, bits per 1,000 iterations"] = change
        numbers[f"{name}: iterations"] = record.steps
    settings = {"width": _WIDTH_NAMES[width], "recorded": trained.RECORDED}
    caption = folder.caption("boxes", data.name, source=data.test.source, **settings)
    folder.figure(f"boxes-{width}-{slug(data.name)}", drawing, caption, numbers)


def draw_heat_maps(
    folder: Folder, data: Images, name: str, training: RecordedTraining, width: str
) -> None:
    """Draw kernel by class: one-vs-rest information and rank orders, at the kept iterations.

    An estimate at its ceiling has no rank: it is gray, and the caption says how many there are.
    """
    from scipy.stats import rankdata

    record = training.records[width]
    rows = np.searchsorted(record.steps, training.saved_iterations)
    size = min(1.4 + 1.9 * len(rows), 13.0), 6.4
    drawing, axes = plots.figure(*size, 4, len(rows), sharey=True)
    classes = [plots.printable(label[:16]) for label in data.test.classes]
    numbers: dict[str, np.ndarray | list[str]] = {
        "iterations": np.array(training.saved_iterations),
        "classes": list(data.test.classes),
    }
    ceilings = []
    for block_index, (layer, block) in enumerate(
        zip(training.network.blocks, trained.BLOCK_NAMES, strict=False)
    ):
        order = np.argsort(-record[layer].label[0], kind="stable")
        tables = record[layer].per_class[rows][:, order]
        ranks = rankdata(-tables, method="average", axis=1)
        full = tables >= SATURATED * np.array(record.file.class_ceilings)
        ceilings.append(f"{block} " + ", ".join(f"{share:.0%}" for share in full.mean((1, 2))))
        ranked = np.ma.masked_array(ranks, full)
        kinds = (
            ("MI, bits", tables, (0, float(tables.max())), plots.SEQUENTIAL),
            ("rank among the kernels", ranked, (1, len(order)), f"{plots.SEQUENTIAL}_r"),
        )
        for line, (label, values, (low, high), colors) in zip(
            axes[2 * block_index : 2 * block_index + 2], kinds, strict=True
        ):
            for panel, table, step in zip(line, values, training.saved_iterations, strict=True):
                panel.set_facecolor(_UNRANKED)
                look = {"aspect": "auto", "interpolation": "nearest", "cmap": colors}
                image = panel.imshow(table.T, vmin=low, vmax=high, **look)
                panel.set_xticks([])
                if label == "MI, bits" and not block_index:
                    panel.set_title(f"iteration {step:,}")
                elif label != "MI, bits":
                    panel.set_xlabel(f"{block}: {len(order)} kernels")
            line[0].set_yticks(range(len(classes)), classes, fontsize=plots.SMALL - 1)
            bar = panels.side_color_bar(drawing, image, line, label)
            if label != "MI, bits":
                bar.invert_yaxis()
        numbers[f"{block}: kernels in this order"] = order
        numbers[f"{block}: bits by iteration, kernel and class"] = tables
        numbers[f"{block}: ranks by iteration, kernel and class"] = ranks
        numbers[f"{block}: at the ceiling, by iteration, kernel and class"] = full
    caption = folder.caption(
        "classes",
        f"{data.name} {name}",
        source=data.test.source,
        network=name,
        most=max(filter(None, record.file.class_ceilings)),
        ceilings="; ".join(ceilings),
        width=_WIDTH_NAMES[width],
        recorded=trained.RECORDED,
    )
    folder.figure(f"classes-{width}-{slug(data.name)}-{name.lower()}", drawing, caption, numbers)


class ShownResponses(NamedTuple):
    """Responses of the first block's best and worst kernels to one image of each class."""

    images: np.ndarray  # (classes, h, w, bands), as they are stored
    kernels: np.ndarray
    """(2 k,): numbers of the kernels, the k with the highest information first, then the lowest."""
    information: np.ndarray  # (2 k,) bits
    values: np.ndarray  # (2 k, classes, h', w') block output


def first_block_responses(
    folder: Folder, data: Images, training: RecordedTraining
) -> ShownResponses:
    """Return responses of the first block's kernels at the end of a training."""
    block = training.network.blocks[0]
    information = training.records["relative"][block].label[-1]
    order = np.argsort(-information, kind="stable")
    kernels = np.concatenate([order[:_SHOWN], order[-_SHOWN:]])

    def compute() -> dict[str, np.ndarray]:
        from oip.network.forward import map_blocks
        from oip.network.network import Network

        images = one_of_each_class(data.test)
        network = Network(training.model(training.iterations))
        info = network.find(block)
        blocks = [
            responses
            for _, responses in map_blocks(network, images, info, kernels.tolist(), "block")
        ]
        values = np.moveaxis(np.concatenate(blocks, axis=1), 1, 0)
        size: Sequence[int] = info.block_size or info.size
        return {"images": images, "values": values.reshape(-1, len(images), *size)}

    arrays = folder.part(f"responses-{training.path.name}-{training.iterations}", compute)
    return ShownResponses(arrays["images"], kernels, information[kernels], arrays["values"])


def draw_responses(folder: Folder, data: Images, name: str, responses: ShownResponses) -> None:
    """Draw block outputs of the kernels with the highest and the lowest information."""
    half = len(responses.kernels) // 2
    shape = 1 + len(responses.kernels), len(responses.images)
    drawing, axes = plots.figure(7.2, 7.4, *shape, gridspec_kw={"hspace": 0, "wspace": 0})
    for panel, picture, label in zip(axes[0], responses.images, data.test.classes, strict=False):
        pixels = picture[..., 0] if picture.shape[-1] == 1 else picture.astype(np.uint8)
        plots.image(panel, pixels, label[:16])
    for row, (line, values) in enumerate(zip(axes[1:], responses.values, strict=True)):
        top = max(float(values.max()), 1e-9)
        for panel, response in zip(line, values, strict=True):
            plots.image(panel, response, vmin=0, vmax=top, cmap=plots.SEQUENTIAL)
        text = f"{'highest' if row < half else 'lowest'}\nkernel {responses.kernels[row]}\n"
        text += f"{responses.information[row]:.2f} bits"
        text_place = {"transform": line[0].transAxes, "ha": "right", "va": "center"}
        line[0].text(-0.12, 0.5, text, fontsize=6, **text_place)
    subject = f"{data.name} {name}"
    folder.figure(
        f"responses-{slug(data.name)}-{name.lower()}",
        drawing,
        folder.caption("responses", subject, source=data.test.source, network=name),
        {
            "kernels": responses.kernels,
            "information, bits": responses.information,
            "block outputs by kernel and class": responses.values,
        },
    )


def blur_finding(source: str, block_responses: Mapping[str, ShownResponses]) -> Finding:
    """Return whether the shown responses of DenseNet have less power at high frequencies."""
    values = []
    for name, responses in block_responses.items():
        shares = np.ma.masked_invalid(high_power(responses.values[..., None])).mean(axis=1)
        values.append(Value.mean_of(shares.compressed()).percent(name, ".0f"))
    lenet, dense = values
    return finding(NAME, "blur", agreement([lenet.above(dense)]), values, source)


def variance_sweep(folder: Folder, data: Images, training: RecordedTraining) -> Arrays:
    """Return information of the second block's kernels at the start and the end, by variance.

    Returns:
        `relative` and `fixed` (2, variances, kernels) in bits, see `_VARIANCES`.
    """
    block = training.network.blocks[1]

    def compute() -> dict[str, np.ndarray]:
        from oip import mi
        from oip.mi.layer_sample import labeled_subset
        from oip.network.forward import map_blocks
        from oip.network.network import Network

        labels = data.test.required_labels()
        subset = labeled_subset(labels, len(labels), trained.RECORDED, folder.settings.seed)
        images = data.test.images[subset.indices]
        values = []
        for iteration in (training.saved_iterations[0], training.saved_iterations[-1]):
            network = Network(training.model(iteration))
            info = network.find(block)
            blocks = [responses for _, responses in map_blocks(network, images, info, at="block")]
            responses = np.concatenate(blocks, axis=1)
            kde = mi.estimator("kde")
            relative, fixed = _VARIANCES.values()
            nats = kde.over_variances(responses, subset.codes, relative, fixed)  # type: ignore[attr-defined]
            values.append(bits(nats))
        rows = np.array(values)
        return {"relative": rows[:, : len(relative)], "fixed": rows[:, len(relative) :]}

    return folder.part(f"variances-{training.path.name}-{training.iterations}", compute)


def variance_finding(sweep: Arrays, training: RecordedTraining) -> Finding:
    """Return the variance whose medians of DenseNet's second block come nearest to the paper's."""
    values, gaps = {}, []
    for width, variances in _VARIANCES.items():
        medians = np.median(sweep[width], axis=2)  # (2, variances)
        distances = np.abs(medians - np.array(_REPORTED)[:, None]).max(axis=0)
        best = int(distances.argmin())
        gaps.append(float(distances[best]))
        names = ("start", "end")
        values[f"{width} width, variance {variances[best]:g}"] = findings.named_values(
            names, medians[:, best]
        )
    verdict = agreement([min(gaps) <= _MET])
    constants = {"iterations": training.iterations, "met": _MET}
    return finding(NAME, "variance", verdict, values, DIGITS, **constants)


def draw_variances(
    folder: Folder, data: Images, trainings: Trainings, sweeps: Mapping[str, Arrays]
) -> None:
    """Draw the median of the second block's kernels at the start and the end, by variance."""
    drawing, axes = plots.figure(6.4, 4.4, len(trainings), len(_VARIANCES), sharey=True)
    numbers: dict[str, np.ndarray | float] = {}
    for line, (name, training) in zip(axes, trainings.items(), strict=True):
        ceiling = next(iter(training.records.values())).label_ceiling
        for panel, (width, variances) in zip(line, _VARIANCES.items(), strict=True):
            for index, (end, row) in enumerate(
                zip(("start", "end"), sweeps[name][width], strict=True)
            ):
                middle, low, high = np.quantile(row, (0.5, 0.25, 0.75), axis=1)
                panels.line_with_band(panel, variances, middle, low, high, index, end)
                numbers[f"{name}, {width} width, {end}: bits by variance and kernel"] = row
            panels.ceiling(panel, ceiling)
            if name == _DENSENET and data.name == DIGITS:
                for value, index in zip(_REPORTED, (0, 1), strict=True):
                    panel.axhline(value, color=panels.color(index), ls=":", lw=0.8)
            panel.set_xscale("log")
            unit = "/ median squared distance" if width == "relative" else "(responses' own units)"
            panel.set(title=f"{name}, {width} width", xlabel=f"variance {unit}")
            numbers[f"{width} variances"] = np.array(variances)
        line[0].set_ylabel("MI with the label, bits")
        numbers[f"{name}: H(Y), bits"] = ceiling
    panels.legend_below(drawing, axes[0, 0], 2)
    caption = folder.text("variances", source=data.test.source, recorded=trained.RECORDED)
    folder.figure(f"variances-{slug(data.name)}", drawing, caption, numbers)
