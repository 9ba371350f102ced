"""How many maps of a layer are needed: conditional information, and the bottleneck's objective."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core.units import bits
from oip.studies.renyi_measures import ALPHA, KERNELS, batches, informations, map_grams
from oip.studies.renyi_probe import Probe, accuracy, forward

if TYPE_CHECKING:
    from oip.network.view import Network

BETA = 2.0
"""Of the objective I(X;T) - beta I(T;Y), as in the paper."""
LINE = 0.55
"""Share of the maps above the paper's line, which are said to be needed little."""
MANY = 500
"""Samples with which a width is looked for once more, at alpha 2 and the median distance."""
_BATCHES = 3
_CALIBRATION = 2_000


@dataclass(frozen=True)
class Pruning:
    """What is removed."""

    shares: tuple[float, ...]
    """Of the layer's maps."""
    chances: int
    """Random orders."""


def widths(path: Path, data: tuple[Any, Any], pruning: Pruning, seed: int) -> dict[str, np.ndarray]:
    """What the maps of a network's last convolution are worth.

    Args:
        path: the trained model.
        data: images to choose maps by, and others to judge by.
        pruning: what is removed.
        seed: of batches, permutations and chance.

    Returns:
        `accuracy` of the whole network; of each kernel K `K objective` (maps,) in bits,
        `K width` (-1 where none can be told), `K p` and `K gain` (bits) of the maps that were
        tried one after the other, `K kept` the accuracy with only those that add something (NaN
        without any); `many width` and `many kept` of 500 samples and alpha 2; `shares`, `methods`,
        and `pruned` (methods, shares, draws), accuracies, NaN where a method has fewer draws.
    """
    import mi
    from mi.greedy import conditional_width
    from oip.network.view import Network

    data_train, data_test = data
    network = Network(path)
    probe = Probe(network.model)
    place = max(number for number, maps in enumerate(probe.maps) if maps > 1)
    layer = probe.names[place]
    found: dict[str, np.ndarray] = {"layer": np.array(layer)}
    found["accuracy"] = np.array(accuracy(forward(network.model), data_test))
    some = batches(data_train.images, data_train.labels, data_train.high, _BATCHES, seed)
    orders: dict[str, list[np.ndarray]] = {}
    for kernel in KERNELS:
        objectives = []
        for number, batch in enumerate(some):
            values = probe.read(batch.images, batch.codes).responses[place]
            grams = map_grams(values, kernel.forward)
            whole = map_grams(batch.pixels[:, None], kernel.forward)[0]
            about, label = informations(grams, whole, batch.codes)
            objectives.append(about - BETA * label)
            if number == 0:
                told = conditional_width(grams, batch.codes, ALPHA, seed)
                enough = -1 if told.width is None else told.width
                tried = told.order[: len(told.p_values)]
                found[f"{kernel.name} width"] = np.array(enough)
                found[f"{kernel.name} p"] = told.p_values
                found[f"{kernel.name} gain"] = bits(told.scores[tried])
                kept = np.nan
                if 0 < enough < len(told.order):
                    left = _left(network, layer, told.order[:enough])
                    kept = accuracy(forward(left), data_test)
                found[f"{kernel.name} kept"] = np.array(kept)
        objective = np.mean(objectives, axis=0)
        found[f"{kernel.name} objective"] = bits(objective)
        orders[f"IB, {kernel.label}"] = [np.argsort(objective, kind="stable")]
    images, labels = data_train.images[:_CALIBRATION], data_train.labels[:_CALIBRATION]
    for method, label in (("apoz", "APoZ"), ("l1", "L1 norm"), ("elimination", "elimination")):
        orders[label] = [mi.select(network, images, labels, layer, method=method, seed=seed).order]
    told = mi.select(
        network, images, labels, layer, method="cmi", samples=MANY, alpha=2.0, seed=seed
    )
    enough = -1 if told.width is None else told.width
    found["many width"] = np.array(enough)
    kept = np.nan
    if 0 < enough < len(told.order):
        kept = accuracy(forward(_left(network, layer, told.order[:enough])), data_test)
    found["many kept"] = np.array(kept)
    orders["random"] = [
        mi.select(network, images, labels, layer, method="random", seed=seed + number).order
        for number in range(pruning.chances)
    ]
    pruned = np.full((len(orders), len(pruning.shares), pruning.chances), np.nan)
    for row, draws in enumerate(orders.values()):
        for column, share in enumerate(pruning.shares):
            for number, order in enumerate(draws):
                count = max(1, round((1 - share) * len(order)))
                left = _left(network, layer, order[:count])
                pruned[row, column, number] = accuracy(forward(left), data_test)
    return {
        **found,
        "shares": np.array(pruning.shares),
        "methods": np.array(list(orders)),
        "pruned": pruned,
    }


def _left(network: Network, layer: str, kept: np.ndarray) -> Any:
    """The model with only some maps of a layer."""
    from oip.network.surgery import without

    every = np.arange(network.find(layer).maps)
    return without(network, {layer: np.setdiff1d(every, kept)})
