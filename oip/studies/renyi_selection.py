"""How many maps of a layer are enough: the objective of the information bottleneck, and a test."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from oip.core.errors import ModelError
from oip.core.plots import PALETTE, SMALL, figure, printable
from oip.core.units import bits
from oip.mi.estimators.gram import gram
from oip.studies import panels, trained
from oip.studies.data import Images
from oip.studies.findings import Finding, Value, agreement, finding, named_values
from oip.studies.renyi_measures import (
    ALPHA,
    BATCH,
    KERNELS,
    Probe,
    RenyiSize,
    information,
    map_grams,
)
from oip.studies.report import Arrays, Folder, record_of
from oip.studies.trained import probe_batches

STUDY = "renyi"
BETA = 2.0
"""Of the objective I(X;T) - beta I(T;Y), as in the paper."""
MANY = 500
"""Samples with which a width is looked for once more, at alpha 2 and the median distance."""
LINE = 0.55
"""Share of the maps above the paper's line, which are said to be needed little."""
_OBJECTIVE_BATCHES = 3
_CALIBRATION = 2_000


class EnoughMaps(NamedTuple):
    """The maps that are enough by one kernel, stored as `KERNEL width` and so on."""

    width: np.ndarray  # number of maps, -1 where there is no conclusion
    kept: np.ndarray  # accuracy with these only, NaN without any
    objective: np.ndarray = np.zeros(0)  # (maps,) in bits
    p: np.ndarray = np.zeros(0)  # (tried,): of the maps that were tried one after the other


class MapSelection(NamedTuple):
    """The maps of a trained network's last convolution that are needed."""

    layer: np.ndarray  # its name
    accuracy: np.ndarray  # of the whole network
    shares: np.ndarray  # (shares,) of the maps that are removed
    methods: np.ndarray  # (methods,) names
    pruned: np.ndarray  # (methods, shares, draws) accuracies, NaN where a method has fewer draws
    kernels: Mapping[str, EnoughMaps] = {}
    """By the name of a kernel, and `many`: of 500 samples and alpha 2, without an objective."""
    arrays: Mapping[str, np.ndarray] = {}
    """All of them, as they are stored."""

    @classmethod
    def of(cls, arrays: Arrays) -> MapSelection:
        """Return the record of stored arrays."""
        names = (*(kernel.name for kernel in KERNELS), "many")
        kernels = {name: record_of(EnoughMaps, arrays, f"{name} ") for name in names}
        return record_of(cls, arrays)._replace(kernels=kernels, arrays=arrays)


def map_selection(path: Path, images: Images, size: RenyiSize, seed: int) -> Arrays:
    """Measure the `MapSelection` of a network.

    The `elimination` is left out where it cannot fit the next layer.
    """
    from oip import mi
    from oip.mi.selection import conditional_width
    from oip.network.network import Network
    from oip.network.surgery import without

    network = Network(path)
    probe = Probe(network.model)
    index = max(index for index, maps in enumerate(probe.maps) if maps > 1)
    layer, maps = probe.names[index], probe.maps[index]
    bytes_per_image = network.activation_bytes()

    def accuracy_with(stay: np.ndarray) -> float:
        smaller = without(network, {layer: np.setdiff1d(np.arange(maps), stay)})
        return trained.accuracy(trained.predictor(smaller, bytes_per_image), images.test)

    def width(name: str, enough: int | None, order: np.ndarray) -> Arrays:
        count = -1 if enough is None else enough
        reached = accuracy_with(order[:count]) if 0 < count < len(order) else math.nan
        return {f"{name} width": np.array(count), f"{name} kept": np.array(reached)}

    accuracy = trained.accuracy(trained.network_predictor(network), images.test)
    result = {"layer": np.array(layer), "accuracy": np.array(accuracy)}
    batches = probe_batches(images.train, _OBJECTIVE_BATCHES, BATCH, seed)
    responses = [probe.read(batch.images, batch.codes).responses[index] for batch in batches]
    orders: dict[str, list[np.ndarray]] = {}
    for kernel in KERNELS:
        grams, objectives = [map_grams(values, kernel.forward) for values in responses], []
        for matrices, batch in zip(grams, batches, strict=True):
            about = information(matrices, gram(batch.pixels, kernel.forward), batch.codes)
            objectives.append(about[1] - BETA * about[2])
        objective = np.mean(objectives, axis=0)
        orders[f"IB, {kernel.label}"] = [np.argsort(objective, kind="stable")]
        by_test = conditional_width(grams[0], batches[0].codes, ALPHA, seed)
        tried = by_test.order[: len(by_test.p_values)]
        result |= width(kernel.name, by_test.width, by_test.order)
        result[f"{kernel.name} objective"] = bits(objective)
        result[f"{kernel.name} p"] = by_test.p_values
        result[f"{kernel.name} gain"] = bits(by_test.scores[tried])
    train, labels = images.train.images, images.train.required_labels()
    sample = network, train[:_CALIBRATION], labels[:_CALIBRATION], layer

    def order(method: str, draw: int = 0) -> np.ndarray:
        return mi.select(*sample, method=method, seed=seed + draw).order

    for method, label in (("apoz", "APoZ"), ("l1", "L1 norm")):
        orders[label] = [order(method)]
    with suppress(ModelError):  # the next kernel has too many inputs, as of images of 100 pixels
        orders["elimination"] = [order("elimination")]
    orders["random"] = [order("random", draw) for draw in range(size.random_orders)]
    selection = mi.select(*sample, method="cmi", samples=MANY, alpha=2.0, seed=seed)
    result |= width("many", selection.width, selection.order)
    pruned = _pruned(orders, size, accuracy_with)
    methods = np.array(list(orders))
    return {**result, "shares": np.array(size.removed), "methods": methods, "pruned": pruned}


def _pruned(
    orders: Mapping[str, Sequence[np.ndarray]],
    size: RenyiSize,
    accuracy_with: Callable[[np.ndarray], float],
) -> np.ndarray:
    """Return accuracies (methods, shares, draws) without the last maps of each order."""
    pruned = np.full((len(orders), len(size.removed), size.random_orders), np.nan)
    for row, draws in enumerate(orders.values()):
        for column, share in enumerate(size.removed):
            for draw, ranking in enumerate(draws):
                count = max(1, round((1 - share) * len(ranking)))
                pruned[row, column, draw] = accuracy_with(ranking[:count])
    return pruned


def width_finding(subject: str, selection: MapSelection, tested: int) -> Finding:
    """Return how many maps of a layer are enough by CMI-permutation, or too few."""
    full_accuracy = 100 * float(selection.accuracy)
    maps = len(selection.kernels[KERNELS[0].name].objective)
    rows = {f"{kernel.label}, 128 samples": selection.kernels[kernel.name] for kernel in KERNELS}
    rows[f"the median distance, {MANY} samples, alpha 2"] = selection.kernels["many"]
    values, short = {}, []
    for label, row in rows.items():
        enough, accuracy = int(row.width), 100 * float(row.kept)
        remark = f"accuracy {accuracy:.1f} % with these alone" if np.isfinite(accuracy) else ""
        if enough >= 0:
            short.append(enough < 0.3 * maps and accuracy < full_accuracy - 1)
        else:
            enough, remark = math.nan, "no conclusion: together the maps soon reach log2 n"
        values[label] = [Value("maps", enough, form=".0f", remark=remark)]
    constants = {"where_found": subject, "maps": maps, "whole": full_accuracy, "tested": tested}
    return finding(STUDY, "width", agreement(short), values, **constants)


def pruning_finding(subject: str, selection: MapSelection, tested: int) -> Finding:
    """Return whether maps with a high objective can be removed; see `width_finding`."""
    nearest = int(np.argmin(np.abs(selection.shares - LINE)))
    losses = {
        str(name): 100 * float(selection.accuracy - np.nanmean(values[nearest]))
        for name, values in zip(selection.methods, selection.pruned, strict=True)
    }
    verdict = agreement(losses[f"IB, {kernel.label}"] < 1 for kernel in KERNELS)
    constants = {"share": selection.shares[nearest], "orders": selection.pruned.shape[2]}
    values = named_values(losses, losses.values(), "+.1f")
    constants |= {"where_found": subject, "tested": tested}
    return finding(STUDY, "pruning", verdict, values, **constants)


def draw_selection(folder: Folder, key: str, selection: MapSelection, setting: str) -> None:
    """Draw the bottleneck's objective, conditional information, and accuracy without maps."""
    rows = [selection.kernels[kernel.name] for kernel in KERNELS]
    drawing, ((left, right), (tests, accuracies)) = figure(7.0, 4.6, 2, 2)
    longest = max(len(row.p) for row in rows)
    for index, (kernel, row, axes) in enumerate(zip(KERNELS, rows, (left, right), strict=True)):
        axes.hist(row.objective, 24, color=PALETTE[0])
        axes.axvline(np.quantile(row.objective, 1 - LINE), color=PALETTE[1], ls="--")
        axes.set(xlabel="I(X;T) - 2 I(T;Y) (bits)", ylabel="" if index else "maps")
        axes.set_title(f"objective, {kernel.label}")
        style = {"mfc": "none", "ms": 4 + 3 * index, "ls": ("-", "--")[index]}
        style |= {"marker": panels.marker(index), "color": panels.color(index)}
        tests.plot(np.arange(1, len(row.p) + 1), row.p, label=kernel.label, **style)
    panels.ceiling(tests, 0.05, ":")
    tests.set(xticks=range(1, longest + 1, max(1, longest // 8)), ylim=(-0.004, None))
    tests.set(xlabel="map, in the order tried", ylabel="p-value", title="CMI-permutation")
    tests.legend(frameon=False)
    for index, (name, pruned) in enumerate(
        zip(selection.methods, 100 * selection.pruned, strict=True)
    ):
        panels.error_bars(accuracies, 100 * selection.shares, pruned.T, index, name)
    panels.ceiling(accuracies, 100 * float(selection.accuracy), ":")
    accuracies.set(xlabel="maps removed (%)", ylabel="accuracy (%)", title="without retraining")
    accuracies.legend(frameon=False, fontsize=SMALL - 1)
    layer = printable(selection.layer)
    caption = folder.caption("selection", key, key=key, layer=layer, line=LINE, setting=setting)
    folder.figure(f"width-{key}", drawing, caption, selection.arrays)
