"""What the paper says about single kernels, beside what was found here."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from mi.estimators.results import SATURATED
from oip.studies.networks import CLOTHES, DENSENET, DIGITS, LENET, SHOWN, STRIDED
from oip.studies.training import Trained
from oip.studies.verdicts import TOO_SHORT, agreement, by_width, larger, late, shown, trend
from oip.studies.watched import RECORDED, WIDTHS

if TYPE_CHECKING:
    from oip.studies.frame import Folder
    from oip.studies.networks import Images

_LENET, _DENSENET, _STRIDED = SHOWN[LENET], SHOWN[DENSENET], SHOWN[STRIDED]
_ALIKE = ("T-shirt/top", "Pullover", "Dress", "Coat", "Shirt")
_CONSISTENT = 0.8
_RISING = 0.5
"""Rank correlation with the iteration above which something rises all along."""
_LITTLE = 0.005
"""Share of the test part under which two accuracies differ little."""
_SETTLED = 50
"""Iterations before which everything moves."""


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


def gains(networks: dict[str, Trained]) -> dict[str, float]:
    """Network -> by how many bits the median of its first block rose (relative width)."""
    found = {}
    for name, one in networks.items():
        median = _medians(one, "relative", 0)
        steps = one.records["relative"].steps
        found[name] = float(late(median, steps)[0] - median[0])
    return found


def compare_sources(folder: Folder, gained: dict[str, dict[str, float]]) -> None:
    """Fashion-MNIST beside MNIST."""
    paper = "On Fashion-MNIST the first blocks' kernels gain hardly any information; on MNIST more."
    if not {DIGITS, CLOTHES} <= set(gained):
        folder.claim(paper, "Needs both data sets.", "not tested", "one data set only")
        return
    digits, clothes = gained[DIGITS], gained[CLOTHES]
    text = ", ".join(
        f"{name} {clothes[name]:+.2f} against {digits[name]:+.2f} bits" for name in digits
    )
    outcomes = [clothes[name] < digits[name] for name in digits]
    folder.claim(paper, f"Gain of the median: {text}.", agreement(outcomes), "one training each")


def _first_blocks(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    texts, outcomes, chances = {}, [], []
    for width in WIDTHS:
        lenet, dense = (_medians(networks[name], width, 0) for name in (_LENET, _DENSENET))
        chance, above = _rank_sum(networks, width, 0)
        texts[width] = (
            f"LeNet's median {lenet[0]:.2f} to {lenet[-1]:.2f} bits, DenseNet's {dense[0]:.2f} to "
            f"{dense[-1]:.2f}"
        )
        outcomes += [bool(lenet[-1] > lenet[0]), above if chance < 0.05 else None]
        if _saturated(networks[_LENET], width, 0):
            outcomes[-2:] = [None, None]
            texts[width] += " (at the ceiling)"
        chances.append(chance)
    folder.claim(
        f"{data.name}: the kernels of LeNet's first block gain information early, and end above "
        f"those of DenseNet's first block.",
        by_width(texts) + ".",
        agreement(outcomes),
        f"rank-sum test over kernels at the end: p {_chances(chances)}; one training each",
    )


def _steadiness(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    texts, outcomes = {}, []
    for width in WIDTHS:
        told = []
        for block in (0, 1):
            rough = {}
            for name in (_LENET, _DENSENET):
                record = networks[name].records[width]
                values = record[networks[name].watched.blocks[block]].label.mean(axis=1)
                changes = np.diff(values[record.steps >= _SETTLED])
                rough[name] = float(changes.std()) if len(changes) > 1 else np.nan
            outcomes.append(larger(rough[_LENET], rough[_DENSENET], 0.0))
            told.append(f"{shown(rough[_LENET], '.3f')} and {shown(rough[_DENSENET], '.3f')}")
        texts[width] = f"{told[0]} in the first block, {told[1]} in the second"
    folder.claim(
        f"{data.name}: the mean information of kernels moves more steadily in DenseNet than in "
        f"LeNet.",
        f"Standard deviation of the change between records from iteration {_SETTLED} on, in bits, "
        f"LeNet and DenseNet: {by_width(texts)}.",
        agreement(outcomes),
        "one training each",
    )


def _second_block_of_densenet(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    texts, outcomes = {}, []
    for width in WIDTHS:
        median = _medians(networks[_DENSENET], width, 1)
        end, spread = late(median, networks[_DENSENET].records[width].steps)
        texts[width] = (
            f"median {median[0]:.2f} to {median[-1]:.2f} bits, Spearman with the iteration "
            f"{shown(trend(median), '+.2f')}"
        )
        outcomes += [larger(end, median[0], spread), larger(trend(median), _RISING, 0.0)]
    folder.claim(
        f"{data.name}: the median over the kernels of DenseNet's second block rises all along "
        f"(0.46 to 1.07 bits there, on MNIST).",
        by_width(texts) + ".",
        agreement(outcomes),
        f"the rise beside twice the spread of the last quarter, the correlation above {_RISING}; "
        f"absolute values hang on the width",
    )


def _second_block_of_lenet(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    texts, outcomes = {}, []
    one = networks[_LENET]
    for width in WIDTHS:
        record = one.records[width]
        median = _medians(one, width, 1)
        top = int(np.argmax(median))
        end, spread = late(median, record.steps)
        second = median[record.steps >= one.iterations / 2]
        texts[width] = (
            f"median highest at iteration {record.steps[top]:,} ({median[top]:.2f} bits), "
            f"{end:.2f} at the end; Spearman over the second half {shown(trend(second), '+.2f')}"
        )
        outcomes += [larger(float(median[top]), end, spread), larger(-trend(second), 0.0, 0.0)]
    short = one.iterations < TOO_SHORT
    folder.claim(
        f"{data.name}: in LeNet's second block the kernels' information falls late in the training "
        f"(after 20,000 of 50,000 iterations there).",
        by_width(texts) + ".",
        "not tested" if short else agreement(outcomes),
        f"{one.iterations:,} iterations, fewer than in the paper"
        if one.iterations < 50_000
        else "fall beside twice the spread of the last quarter",
    )


def _low_kernels(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    texts, outcomes, chances = {}, [], []
    for width in WIDTHS:
        lenet, dense = (_medians(networks[name], width, 1)[-1] for name in (_LENET, _DENSENET))
        chance, above = _rank_sum(networks, width, 1)
        texts[width] = f"{lenet:.2f} and {dense:.2f} bits"
        known = chance < 0.05 and not _saturated(networks[_LENET], width, 1)
        outcomes.append(not above if known else None)
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
        first, second = (_consistency(networks[_LENET], width, block, -1) for block in (0, 1))
        texts[width] = f"{shown(first)} in the first block, {shown(second)} in the second"
        outcomes += [larger(first, _CONSISTENT, 0.0), larger(first, second, 0.0)]
    folder.claim(
        f"{data.name}: kernels of LeNet's first block rank alike for all classes; those of the "
        f"second block less so.",
        f"Mean Spearman correlation between the classes' orders at the end: {by_width(texts)}.",
        agreement(outcomes),
        f"'alike' is above {_CONSISTENT}; one-vs-rest values share their images",
    )
    texts, outcomes = {}, []
    for width in WIDTHS:
        told = []
        for block in (0, 1):
            start, end = (_consistency(networks[_DENSENET], width, block, at) for at in (0, -1))
            told.append(f"{shown(start)} to {shown(end)}")
            outcomes.append(larger(start, end, 0.0))
        texts[width] = f"{told[0]} in the first block, {told[1]} in the second"
    folder.claim(
        f"{data.name}: DenseNet's kernels become specialised to classes during training.",
        f"Mean Spearman correlation between the classes' orders, start to end: {by_width(texts)}.",
        agreement(outcomes),
        "12 kernels in the second block: few for a rank correlation",
    )


def _orders_over_training(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    from mi.agreement import spearman

    texts, outcomes = {}, []
    for width in WIDTHS:
        kept = {}
        for name in (_LENET, _DENSENET):
            known = networks[name].records[width][networks[name].watched.blocks[0]].label
            kept[name] = spearman(known[0], known[-1])
        texts[width] = f"LeNet {shown(kept[_LENET])}, DenseNet {shown(kept[_DENSENET])}"
        outcomes.append(larger(kept[_LENET], kept[_DENSENET], 0.0))
    folder.claim(
        f"{data.name}: the order of the first block's kernels changes little in LeNet, more in "
        f"DenseNet.",
        f"Spearman correlation of the kernels' information at the start and at the end: "
        f"{by_width(texts)}.",
        agreement(outcomes),
        "24 kernels each; one training each",
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
            outcomes += [set(order[:5]) == set(_ALIKE), order[0] == "Shirt"]
            told.append(f"{name}: {', '.join(order[:5])}")
        texts[width] = "; ".join(told)
    folder.claim(
        f"{data.name}: T-shirt, pullover, dress, coat and shirt have the lowest information in the "
        f"second block of both networks, shirt the very lowest.",
        f"Lowest first, mean over kernels at the end: {by_width(texts)}.",
        agreement(outcomes),
        f"{RECORDED} images, about {RECORDED // len(names)} a class",
    )


def _medians(one: Trained, width: str, block: int) -> np.ndarray:
    """(t,): median over the kernels of a block, in bits."""
    return np.median(one.records[width][one.watched.blocks[block]].label, axis=1)


def _saturated(one: Trained, width: str, block: int) -> bool:
    """Half of the kernels are so near to the most there can be that their order means nothing."""
    ceiling = one.records[width].told["label_ceiling"]
    return bool(_medians(one, width, block)[-1] >= SATURATED * ceiling)


def _consistency(one: Trained, width: str, block: int, at: int) -> float:
    """Mean rank correlation between the orders of the kernels for each two classes."""
    from mi.agreement import spearman

    table = one.records[width][one.watched.blocks[block]].per_class[at]
    pairs = combinations(range(table.shape[1]), 2)
    found = np.array([spearman(table[:, a], table[:, b]) for a, b in pairs])
    return float(found[np.isfinite(found)].mean()) if np.isfinite(found).any() else np.nan


def _rank_sum(networks: dict[str, Trained], width: str, block: int) -> tuple[float, bool]:
    """p-value that LeNet's and DenseNet's kernels know alike, and whether LeNet's know more."""
    from scipy.stats import mannwhitneyu

    lenet, dense = (
        networks[name].records[width][networks[name].watched.blocks[block]].label[-1]
        for name in (_LENET, _DENSENET)
    )
    return float(mannwhitneyu(lenet, dense).pvalue), bool(np.median(lenet) > np.median(dense))


def _chances(values: list[float]) -> str:
    return " and ".join("< 0.001" if value < 0.001 else f"{value:.3f}" for value in values)
