"""What single kernels know while networks are trained: box plots, responses, class heat maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from oip.core import seeds
from oip.core.progress import Progress
from oip.studies import kernels_plots
from oip.studies.curves import (
    LATE,
    RISING,
    TOO_SHORT,
    by_width,
    late,
    rises_all_along,
    second_half,
    trend,
)
from oip.studies.report import (
    Folder,
    StudySettings,
    agreement,
    all_of,
    at_ceiling,
    larger,
    shown,
)
from oip.studies.trained import (
    CLOTHES,
    DENSENET,
    DIGITS,
    LENET,
    RECORDED,
    SHOWN,
    SOURCE,
    STRIDED,
    WIDTHS,
    Images,
    Trained,
    every_source,
    how_trained,
    watched_training,
)

if TYPE_CHECKING:
    from oip.studies.report import Folder
    from oip.studies.trained import Images

NAME = "kernels"
TITLE = "What single kernels know about the label during training"
MINUTES = 3
TAKES = ("data", "iterations")
SCHEMA = 1
SHOWN_KERNELS = 4
"""Highest and lowest, whose responses are shown."""

__all__ = ["MINUTES", "NAME", "SCHEMA", "SOURCE", "TAKES", "TITLE", "run"]


@dataclass(frozen=True, eq=False)
class Responses:
    """What the first block's best and worst kernels answer to one image of each class."""

    images: np.ndarray
    """(classes, h, w, bands), as they are stored."""
    kernels: np.ndarray
    """(2 k,): numbers of the kernels, the k with the highest information first, then the lowest."""
    information: np.ndarray
    """(2 k,) bits."""
    values: np.ndarray
    """(2 k, classes, h', w') block output."""


def run(folder: Folder, settings: StudySettings, progress: Progress) -> None:
    """Trains LeNet and DenseNet on every data set, draws what their kernels know, and compares."""
    folder.note(
        f"Information of a kernel is that of its block output (after ReLU and pooling) about the "
        f"label: a kernel estimate in bits from {RECORDED} images of the test part. It is shown "
        f"for two widths of the Gaussian kernels: 'relative', variance 0.1 of the kernel's median "
        f"squared distance, which no scaling of the responses changes; and 'fixed', variance 0.1 "
        f"in the responses' own units, as is usual where the paper took its estimator from. The "
        f"paper names neither its variance nor how it scaled pixels (here to 0 to 1) and weights, "
        f"so that its absolute values can be met by chance only; orders and trends can be "
        f"compared. A finding agrees if it does for both widths."
    )
    folder.note(how_trained(settings))
    gains_by_source: dict[str, Gains] = {}
    for data in every_source(folder, settings):
        networks = {
            SHOWN[network]: watched_training(folder, network, data, settings, progress)
            for network in (LENET, DENSENET, STRIDED)
        }
        _draw(folder, data, networks)
        compare(folder, data, networks)
        gains_by_source[data.name] = gains(shown_of(networks))
    compare_sources(folder, gains_by_source)


def _draw(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    shown = shown_of(networks)
    for width in WIDTHS:
        kernels_plots.boxes(folder, data, shown, width)
    for name, one in shown.items():
        for width in WIDTHS:
            kernels_plots.heat_maps(folder, data, name, one, width)
        kernels_plots.responses(folder, data, name, responses(folder, data, one))


def shown_of(networks: dict[str, Trained]) -> dict[str, Trained]:
    """The two networks that the paper shows."""
    return {name: networks[name] for name in (SHOWN[LENET], SHOWN[DENSENET])}


def responses(folder: Folder, data: Images, one: Trained) -> Responses:
    """Responses of the first block's kernels at the end of a training."""
    block = one.watched.blocks[0]
    known = one.records["relative"][block].label[-1]
    order = np.argsort(-known, kind="stable")
    kernels = np.concatenate([order[:SHOWN_KERNELS], order[-SHOWN_KERNELS:]])

    def compute() -> dict[str, np.ndarray]:
        from oip.network.forward import map_blocks
        from oip.network.network import Network

        images = _one_a_class(data.test.images, data.test.labels, len(data.test.classes))
        network = Network(one.model(one.iterations))
        info = network.find(block)
        told = list(map_blocks(network, images, info, kernels.tolist(), "block"))
        values = np.concatenate([part for _, part in told], axis=1)
        size: Sequence[int] = info.block_size or info.size
        return {
            "images": images,
            "values": np.moveaxis(values, 1, 0).reshape(-1, len(images), *size),
        }

    name = f"responses-{one.path.name}-{one.iterations}"
    found = folder.part(name, compute)
    return Responses(found["images"], kernels, known[kernels], found["values"])


def _one_a_class(images: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The first image of each class that has one."""
    firsts = [np.flatnonzero(labels == label) for label in range(classes)]
    return images[[places[0] for places in firsts if len(places)]]


_DRAWS = 400
_SETTLED = 50
"""Iterations before which everything moves."""
_EARLY = 0.1
"""Share of a training that is early."""


def medians(one: Trained, width: str, block: int) -> np.ndarray:
    """(t,): median over the kernels of a block, in bits."""
    return np.median(known(one, width, block), axis=1)


def known(one: Trained, width: str, block: int) -> np.ndarray:
    """(t, m): what each kernel of a block knows of the label, in bits."""
    return one.records[width][one.watched.blocks[block]].label


def saturated(one: Trained, width: str, block: int, at: int = -1) -> bool:
    """Half of the kernels are so near to the most there can be that their order means nothing."""
    return at_ceiling(medians(one, width, block)[at], one.records[width].label_ceiling)


def early_gain(one: Trained, width: str, block: int) -> tuple[float, float]:
    """Rise of the median over the first tenth of a training, and its spread over kernels; bits."""
    values, steps = known(one, width, block), one.records[width].steps
    until = int(np.flatnonzero(steps <= _EARLY * one.iterations)[-1])

    def rise(some: np.ndarray) -> np.ndarray:
        return np.median(values[until, some], axis=-1) - np.median(values[0, some], axis=-1)

    return _with_spread(rise, values.shape[1])


def gain(one: Trained, width: str, block: int) -> tuple[float, float]:
    """Rise of the median from the start to the last quarter, and its spread over kernels; bits."""
    values, steps = known(one, width, block), one.records[width].steps
    last = values[steps >= LATE * steps[-1]]

    def rise(some: np.ndarray) -> np.ndarray:
        return np.median(last[:, some], axis=-1).mean(axis=0) - np.median(values[0, some], axis=-1)

    return _with_spread(rise, values.shape[1])


def roughness(one: Trained, width: str, block: int) -> tuple[float, float]:
    """Standard deviation of the mean's change between settled records, and its spread; bits."""
    values = known(one, width, block)[one.records[width].steps >= _SETTLED]
    if len(values) < 3:
        return np.nan, np.nan

    def rough(some: np.ndarray) -> np.ndarray:
        return np.diff(values[:, some].mean(axis=-1), axis=0).std(axis=0)

    return _with_spread(rough, values.shape[1])


def order_kept(one: Trained, width: str, block: int) -> tuple[float, float]:
    """Spearman's correlation of the kernels at the start and at the end, and its spread."""
    ends = known(one, width, block)[[0, -1]].T
    return _with_spread(lambda some: alike(ends[some]), len(ends))


def consistency(one: Trained, width: str, block: int, at: int) -> tuple[float, float]:
    """Mean rank correlation between the classes' orders of the kernels, and its spread."""
    table = one.records[width][one.watched.blocks[block]].per_class[at]
    return _with_spread(lambda some: alike(table[some]), len(table))


def consistency_lost(one: Trained, width: str, block: int) -> tuple[float, float]:
    """By how much `consistency` fell from the start to the end, and the fall's spread."""
    tables = one.records[width][one.watched.blocks[block]].per_class
    first, last = tables[0], tables[-1]
    return _with_spread(lambda some: alike(first[some]) - alike(last[some]), len(first))


def alike(table: np.ndarray) -> np.ndarray:
    """Mean of Spearman's correlations between each two columns.

    Args:
        table: (..., m, classes); equal values share their mean rank.

    Returns:
        (...), -1 to 1; NaN where no two columns have an order.
    """
    from scipy.stats import rankdata

    ranks = rankdata(table, axis=-2)
    ranks -= ranks.mean(axis=-2, keepdims=True)
    length = np.sqrt((ranks**2).sum(axis=-2, keepdims=True))
    ordered = length[..., 0, :] > 0
    ranks /= np.where(length > 0, length, 1.0)
    # The mean over pairs follows from the sum of all columns: |sum|^2 = columns + 2 * pairs' sum.
    columns = ordered.sum(axis=-1)
    pairs = columns * (columns - 1) / 2
    total = ((ranks.sum(axis=-1) ** 2).sum(axis=-1) - columns) / 2
    return np.where(pairs > 0, total / np.maximum(pairs, 1), np.nan)


def rank_sum(first: Trained, second: Trained, width: str, block: int) -> tuple[float, bool]:
    """p-value that the kernels of two networks know alike at the end; whether the first's more."""
    from scipy.stats import mannwhitneyu

    ends = [known(one, width, block)[-1] for one in (first, second)]
    return float(mannwhitneyu(*ends).pvalue), bool(np.median(ends[0]) > np.median(ends[1]))


def _with_spread(statistic: Callable[[np.ndarray], np.ndarray], count: int) -> tuple[float, float]:
    """A statistic of kernels, and its standard deviation over kernels drawn with replacement.

    Args:
        statistic: of (..., m) places of kernels, (...) values.
        count: of kernels.
    """
    rng = seeds.generator(0, "study-kernels-bootstrap", count)
    drawn = np.asarray(statistic(rng.integers(0, count, (_DRAWS, count))))
    finite = drawn[np.isfinite(drawn)]
    spread = float(finite.std(ddof=1)) if len(finite) > 1 else np.nan
    return float(statistic(np.arange(count))), spread


_LENET, _DENSENET, _STRIDED = SHOWN[LENET], SHOWN[DENSENET], SHOWN[STRIDED]
_ALIKE = ("T-shirt/top", "Pullover", "Dress", "Coat", "Shirt")
_CONSISTENT = 0.8
"""Mean rank correlation from which classes rank kernels alike."""
_ORDER = 0.5
"""Rank correlation from which there is an order that is kept, or that can be lost."""
_HARDLY = 0.1
"""Bits under which a median gains hardly any information."""
_LITTLE = 0.005
"""Share of the test part under which two accuracies differ little."""
_LONG = 50_000
_OVER_KERNELS = "beside twice the spread over kernels drawn with replacement; one training each"
_AT_CEILING = " (at the ceiling)"

Gains = Mapping[str, Mapping[str, "tuple[float, float] | None"]]
"""By width and network: by how many bits the median of the first block rose, and the spread of
that; None at the ceiling."""


def compare(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    """One row of the table for each finding about one data set."""
    _first_blocks(folder, data, networks)
    _steadiness(folder, data, networks)
    _second_block_of_densenet(folder, data, networks)
    _second_block_of_lenet(folder, data, networks)
    _low_kernels(folder, data, networks)
    _across_classes(folder, data, networks)
    _orders_over_training(folder, data, networks)
    _stride(folder, data, networks)
    if set(_ALIKE) <= set(data.test.classes):
        _alike_classes(folder, data, networks)


def gains(networks: dict[str, Trained]) -> Gains:
    """What the first blocks gained, see `Gains`."""
    return {
        width: {
            name: None if saturated(one, width, 0) else gain(one, width, 0)
            for name, one in networks.items()
        }
        for width in WIDTHS
    }


def compare_sources(folder: Folder, gained: Mapping[str, Gains]) -> None:
    """Fashion-MNIST beside MNIST."""
    paper = "On Fashion-MNIST the first blocks' kernels gain hardly any information; on MNIST more."
    if not {DIGITS, CLOTHES} <= set(gained):
        folder.claim(paper, "Needs both data sets.", "not tested", "one data set only")
        return
    texts, outcomes = {}, []
    for width, digits in gained[DIGITS].items():
        told = []
        for name, there in digits.items():
            here = gained[CLOTHES][width][name]
            told.append(f"{name} {_gained(here)} against {_gained(there)}")
            if here is None or there is None:
                outcomes.append(None)
                continue
            spread = float(np.hypot(here[1], there[1]))
            little = larger(_HARDLY, here[0], here[1])
            outcomes.append(all_of([little, larger(there[0], here[0], spread)]))
        texts[width] = ", ".join(told)
    folder.claim(
        paper,
        f"Gain of the median: {by_width(texts)}.",
        agreement(outcomes),
        f"'hardly any' is under {_HARDLY} bits; {_OVER_KERNELS}",
    )


def _gained(value: tuple[float, float] | None) -> str:
    return "unknown (at the ceiling)" if value is None else f"{value[0]:+.2f} bits"


def _ceiling(networks: dict[str, Trained], width: str, block: int) -> str:
    """A remark where nothing can be said, as half of a network's kernels are at the ceiling."""
    both = [networks[name] for name in (_LENET, _DENSENET)]
    return _AT_CEILING if any(saturated(one, width, block) for one in both) else ""


def _first_blocks(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    texts, outcomes, chances = {}, [], []
    for width in WIDTHS:
        lenet, dense = (medians(networks[name], width, 0) for name in (_LENET, _DENSENET))
        chance, above = rank_sum(networks[_LENET], networks[_DENSENET], width, 0)
        early, spread = early_gain(networks[_LENET], width, 0)
        ceiling = _ceiling(networks, width, 0)
        texts[width] = (
            f"LeNet's median {lenet[0]:.2f} to {lenet[-1]:.2f} bits ({early:+.2f} in the first "
            f"tenth), DenseNet's {dense[0]:.2f} to {dense[-1]:.2f}{ceiling}"
        )
        own = saturated(networks[_LENET], width, 0)
        outcomes.append(None if own else larger(early, 0.0, spread))
        outcomes.append(above if chance < 0.05 and not ceiling else None)
        chances.append(chance)
    folder.claim(
        f"{data.name}: the kernels of LeNet's first block gain information early, and end above "
        f"those of DenseNet's first block.",
        by_width(texts) + ".",
        agreement(outcomes),
        f"rank-sum test over kernels at the end: p {_chances(chances)}; the gain {_OVER_KERNELS}",
    )


def _steadiness(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    texts, outcomes = {}, []
    for width in WIDTHS:
        told = []
        for block in (0, 1):
            (lenet, one), (dense, other) = (
                roughness(networks[name], width, block) for name in (_LENET, _DENSENET)
            )
            ceiling = _ceiling(networks, width, block)
            spread = float(np.hypot(one, other))
            outcomes.append(None if ceiling else larger(lenet, dense, spread))
            told.append(f"{shown(lenet, '.3f')} and {shown(dense, '.3f')}{ceiling}")
        texts[width] = f"{told[0]} in the first block, {told[1]} in the second"
    folder.claim(
        f"{data.name}: the mean information of kernels moves more steadily in DenseNet than in "
        f"LeNet.",
        f"Standard deviation of the change between records after the first iterations, in bits, "
        f"LeNet and DenseNet: {by_width(texts)}.",
        agreement(outcomes),
        f"difference {_OVER_KERNELS}",
    )


def _second_block_of_densenet(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    texts, outcomes = {}, []
    one = networks[_DENSENET]
    for width in WIDTHS:
        median, record = medians(one, width, 1), one.records[width]
        ceiling = _AT_CEILING if saturated(one, width, 1) else ""
        rise, spread = second_half(median, record.steps)
        texts[width] = (
            f"median {median[0]:.2f} to {median[-1]:.2f} bits, Spearman with the iteration "
            f"{shown(trend(median), '+.2f')}, in the second half {shown(rise, '+.3f')} bits "
            f"(spread {shown(spread, '.3f')}){ceiling}"
        )
        outcomes += rises_all_along(median, record.steps, record.label_ceiling)
    folder.claim(
        f"{data.name}: the median over the kernels of DenseNet's second block rises all along "
        f"(0.46 to 1.07 bits there, on MNIST).",
        by_width(texts) + ".",
        agreement(outcomes),
        f"'all along': a rise beside twice the spread of the last quarter, a correlation above "
        f"{RISING}, and a line through the second half that rises by twice the spread about it; "
        f"absolute values hang on the width",
    )


def _second_block_of_lenet(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    texts, outcomes = {}, []
    one = networks[_LENET]
    for width in WIDTHS:
        median, steps = medians(one, width, 1), one.records[width].steps
        ceiling = _AT_CEILING if saturated(one, width, 1) else ""
        end, spread = late(median, steps)
        middle = median[(steps >= steps[-1] / 4) & (steps < steps[-1] / 2)]
        before = float(middle.mean()) if len(middle) else np.nan
        rise, about = second_half(median, steps)
        texts[width] = (
            f"median {shown(before)} bits in the second quarter, {end:.2f} in the last; in the "
            f"second half {shown(rise, '+.2f')} bits (spread {shown(about)}){ceiling}"
        )
        fell = [larger(before, end, spread), larger(-rise, 0.0, about)]
        outcomes.append(None if ceiling else all_of(fell))
    short = one.iterations < TOO_SHORT
    folder.claim(
        f"{data.name}: in LeNet's second block the kernels' information falls late in the training "
        f"(after 20,000 of 50,000 iterations there).",
        by_width(texts) + ".",
        "not tested" if short else agreement(outcomes),
        f"beside twice the spread of the last quarter, and about a line through the second half; "
        f"{one.iterations:,} iterations" + (", fewer than there" if one.iterations < _LONG else ""),
    )


def _low_kernels(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    texts, outcomes, chances = {}, [], []
    for width in WIDTHS:
        lenet, dense = (medians(networks[name], width, 1)[-1] for name in (_LENET, _DENSENET))
        chance, above = rank_sum(networks[_LENET], networks[_DENSENET], width, 1)
        ceiling = _ceiling(networks, width, 1)
        texts[width] = f"{lenet:.2f} and {dense:.2f} bits{ceiling}"
        outcomes.append(not above if chance < 0.05 and not ceiling else None)
        chances.append(chance)
    folder.claim(
        f"{data.name}: LeNet's second block has many kernels that know little; DenseNet's fewer.",
        f"Median at the end, LeNet and DenseNet: {by_width(texts)}.",
        agreement(outcomes),
        f"rank-sum test over kernels: p {_chances(chances)}",
    )


def _across_classes(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    texts, outcomes = {}, []
    for width in WIDTHS:
        (first, one), (second, other) = (
            consistency(networks[_LENET], width, block, -1) for block in (0, 1)
        )
        ends = [saturated(networks[_LENET], width, block) for block in (0, 1)]
        marks = [_AT_CEILING if end else "" for end in ends]
        texts[width] = (
            f"{shown(first)} in the first block{marks[0]}, {shown(second)} in the second{marks[1]}"
        )
        parts = [
            larger(first, _CONSISTENT, one),
            larger(first, second, float(np.hypot(one, other))),
        ]
        outcomes.append(None if any(ends) else all_of(parts))
    folder.claim(
        f"{data.name}: kernels of LeNet's first block rank alike for all classes; those of the "
        f"second block less so.",
        f"Mean Spearman correlation between the classes' orders at the end: {by_width(texts)}.",
        agreement(outcomes),
        f"'alike' is above {_CONSISTENT}; one-vs-rest values share their images; {_OVER_KERNELS}",
    )
    texts, outcomes = {}, []
    for width in WIDTHS:
        told = []
        for block in (0, 1):
            one = networks[_DENSENET]
            start, spread = consistency(one, width, block, 0)
            end, _ = consistency(one, width, block, -1)
            lost = larger(*_beside(consistency_lost(one, width, block)))
            ceiling = any(saturated(one, width, block, at) for at in (0, -1))
            told.append(f"{shown(start)} to {shown(end)}{_AT_CEILING if ceiling else ''}")
            ordered = larger(start, _ORDER, spread)
            outcomes.append(lost if ordered and not ceiling else None)
        texts[width] = f"{told[0]} in the first block, {told[1]} in the second"
    folder.claim(
        f"{data.name}: DenseNet's kernels become specialised to classes during training.",
        f"Mean Spearman correlation between the classes' orders, start to end: {by_width(texts)}.",
        agreement(outcomes),
        f"counts where there is a common order to lose, above {_ORDER} at the start; 12 kernels in "
        f"the second block: few for a rank correlation; {_OVER_KERNELS}",
    )


def _orders_over_training(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    texts, outcomes = {}, []
    for width in WIDTHS:
        (lenet, one), (dense, other) = (
            order_kept(networks[name], width, 0) for name in (_LENET, _DENSENET)
        )
        ceiling = _ceiling(networks, width, 0)
        texts[width] = f"LeNet {shown(lenet)}, DenseNet {shown(dense)}{ceiling}"
        more = larger(lenet, dense, float(np.hypot(one, other)))
        outcomes.append(None if ceiling else all_of([larger(lenet, _ORDER, one), more]))
    folder.claim(
        f"{data.name}: the order of the first block's kernels changes little in LeNet, more in "
        f"DenseNet.",
        f"Spearman correlation of the kernels' information at the start and at the end: "
        f"{by_width(texts)}.",
        agreement(outcomes),
        f"'little' is a correlation above {_ORDER}; 24 kernels each; {_OVER_KERNELS}",
    )


def _stride(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    plain, strided = networks[_LENET], networks[_STRIDED]
    count = len(data.test)
    error = float(
        np.sqrt(sum(one.accuracy * (1 - one.accuracy) / count for one in (plain, strided)))
    )
    known = {}
    for width in WIDTHS:
        ends = []
        for record in (one.records[width] for one in (plain, strided)):
            ends.append(f"{late(record['classes'].whole_label, record.steps)[0]:.2f}")
        known[width] = f"{ends[0]} and {ends[1]} bits"
    difference = plain.accuracy - strided.accuracy
    folder.claim(
        f"{data.name}: the stride of the first layer matters little to the end (there: LeNet with "
        f"stride 1 beside DenseNet with stride 2).",
        f"The same LeNet with stride 1 and 2: accuracy {100 * plain.accuracy:.2f} and "
        f"{100 * strided.accuracy:.2f} %; information of the last layer {by_width(known)}. "
        f"DenseNet: {100 * networks[_DENSENET].accuracy:.2f} %.",
        "not tested" if plain.iterations < TOO_SHORT else agreement([abs(difference) < _LITTLE]),
        f"difference {100 * difference:+.2f} points, standard error {100 * error:.2f}; 'little' is "
        f"under half a point; one training each",
    )


def _alike_classes(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    names = np.array(data.test.classes)
    texts, outcomes = {}, []
    for width in WIDTHS:
        told = []
        for name in (_LENET, _DENSENET):
            layer = networks[name].watched.blocks[1]
            values = networks[name].records[width][layer].per_class[-1].mean(axis=0)
            order = names[np.argsort(values)]
            ceiling = saturated(networks[name], width, 1)
            lowest = [set(order[:5]) == set(_ALIKE), order[0] == "Shirt"]
            outcomes += [None, None] if ceiling else lowest
            told.append(f"{name}: {', '.join(order[:5])}{_AT_CEILING if ceiling else ''}")
        texts[width] = "; ".join(told)
    folder.claim(
        f"{data.name}: T-shirt, pullover, dress, coat and shirt have the lowest information in the "
        f"second block of both networks, shirt the very lowest.",
        f"Lowest first, mean over kernels at the end: {by_width(texts)}.",
        agreement(outcomes),
        f"{RECORDED} images, about {RECORDED // len(names)} a class",
    )


def _beside(value: tuple[float, float]) -> tuple[float, float, float]:
    """A difference and its spread, as `larger` takes them to tell it from none."""
    return value[0], 0.0, value[1]


def _chances(values: list[float]) -> str:
    return " and ".join("< 0.001" if value < 0.001 else f"{value:.3f}" for value in values)
