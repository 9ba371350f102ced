"""Redundant kernels: how alike those of a block respond, and what a network does without some."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from oip.core import seeds
from oip.studies import findings, trained
from oip.studies.data import Images
from oip.studies.findings import Finding, Value, agreement, all_of, finding
from oip.studies.report import Arrays, Folder
from oip.studies.trained import BLOCK_NAMES, DENSENET, LENET, WIDTHS, RecordedTraining

if TYPE_CHECKING:
    from oip.network.network import Network

STUDY = "kernels"
_HIGHLY = 0.8
"""Correlation of two kernels' responses from which they are highly correlated."""
_REMOVED = 0.25
_DRAWS = 19
"""Random quarters of the kernels that are removed beside those that know least."""
_TESTED, _QUICK_TESTED = 2_000, 500
"""Test images that a network classifies without some kernels."""
_LITTLE = 0.5  # points of accuracy


def add_redundancy(folder: Folder, data: Images, trainings: Mapping[str, RecordedTraining]) -> None:
    """Add the findings on redundant kernels of LeNet and DenseNet."""
    tested = _QUICK_TESTED if folder.settings.quick else _TESTED
    measured = {
        name: folder.part(
            f"redundancy-{training.path.name}-{training.iterations}",
            partial(measured_redundancy, training, data, tested, folder.settings.seed),
        )
        for name, training in trainings.items()
    }
    folder.add(alike_finding(data.name, measured[LENET.title]))
    folder.add(compact_finding(data.name, measured))
    folder.add(removal_finding(data.name, measured))


def measured_redundancy(training: RecordedTraining, data: Images, tested: int, seed: int) -> Arrays:
    """Measure the first two blocks of a trained network.

    Returns:
        Of each block K, `K correlations` (2, m, m): of the kernels' block outputs over nodes and
        500 test images, before and after training, NaN for silent ones. `K lost` (draws,) and, of
        each width W, `K W lost` (2,): points of accuracy on `tested` images that are lost without a
        quarter of the kernels: random ones, and those with the least and the most information.
    """
    from oip.mi.layer_sample import labeled_subset
    from oip.network.network import Network

    labels = data.test.required_labels()
    subset = labeled_subset(labels, len(labels), trained.RECORDED, seed)
    images = data.test.images[subset.indices]
    networks = [Network(training.model(training.saved_iterations[end])) for end in (0, -1)]
    arrays: Arrays = {}
    for index, (block, layer) in enumerate(zip(BLOCK_NAMES, training.network.blocks, strict=False)):
        correlations = [response_correlations(network, layer, images) for network in networks]
        arrays[f"{block} correlations"] = np.stack(correlations)
        information = [training.records[width][layer].label[-1] for width in WIDTHS]
        quarters = [quarter for row in information for quarter in extreme_quarters(row)]
        rng = seeds.generator(seed, "removed kernels", index)
        count, size = len(information[0]), len(quarters[0])
        quarters += [rng.permutation(count)[:size] for _ in range(_DRAWS)]
        losses = accuracy_lost(networks[-1], layer, quarters, data, tested, seed)
        ends_by_width, arrays[f"{block} lost"] = np.split(losses, [2 * len(WIDTHS)])
        for width, row in zip(WIDTHS, ends_by_width.reshape(-1, 2), strict=True):
            arrays[f"{block} {width} lost"] = row
    return arrays


def response_correlations(network: Network, layer: str, images: np.ndarray) -> np.ndarray:
    """Return Pearson's correlations (m, m) of the block outputs of a layer's maps, of all nodes."""
    from oip.network.forward import map_blocks

    blocks = map_blocks(network, images, network.find(layer), at="block")
    responses = np.concatenate([values for _, values in blocks], axis=1)
    columns = np.moveaxis(responses, 1, 0).reshape(responses.shape[1], -1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.atleast_2d(np.corrcoef(columns))


def extreme_quarters(information: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the quarters of the kernels (m,) with the least and with the most information."""
    order = np.argsort(information, kind="stable")
    count = max(1, round(_REMOVED * len(order)))
    return order[:count], order[-count:]


def accuracy_lost(
    network: Network,
    layer: str,
    sets: Iterable[np.ndarray],
    data: Images,
    tested: int,
    seed: int,
) -> np.ndarray:
    """Return the points of accuracy that are lost without each set of maps, which give 0 then."""
    from oip.mi.ablation import class_numbers, one_class_layer
    from oip.mi.layer_sample import LayerSample, labeled_subset
    from oip.mi.silencing import SilencedNodeSets, silencing_effects

    info, labels = network.find(layer), data.test.required_labels()
    full_sample = LayerSample.of(network, data.test.images, info)
    sample = full_sample.take(labeled_subset(labels, len(labels), tested, seed))
    nodes = np.indices(info.size).reshape(len(info.size), -1).T
    node_sets = [
        np.concatenate([np.insert(nodes, 0, map_index, axis=1) for map_index in maps])
        for maps in sets
    ]
    silenced = SilencedNodeSets(info, node_sets, np.zeros((*info.size, info.maps)))
    effects = silencing_effects(sample, silenced, class_numbers(one_class_layer(network)))
    return -100 * effects.mean[:, 2]


def mean_correlation(correlations: np.ndarray) -> Value:
    """Return the mean absolute correlation of two different kernels (m, m), silent ones left out.

    The interval is that of kernels drawn with replacement.
    """
    active = np.isfinite(np.diagonal(correlations))
    table = np.abs(correlations[np.ix_(active, active)])

    def mean(rows: np.ndarray) -> np.ndarray:
        """Return the mean over pairs (...) of different kernels among kernels (..., m)."""
        differ = rows[..., :, None] != rows[..., None, :]
        pairs = np.where(differ, table[rows[..., :, None], rows[..., None, :]], 0.0)
        return pairs.sum(axis=(-2, -1)) / np.maximum(differ.sum(axis=(-2, -1)), 1)

    return findings.over_kernels(mean, len(table))


def closest(correlations: np.ndarray) -> np.ndarray:
    """Return the largest correlation (m,) of each kernel with another one; NaN for silent ones."""
    table = correlations.copy()
    np.fill_diagonal(table, np.nan)
    silent = np.isnan(np.diagonal(correlations))
    return np.where(silent, np.nan, np.nan_to_num(table, nan=-1.0).max(axis=1))


def alike_finding(source: str, arrays: Arrays) -> Finding:
    """Return whether most kernels of LeNet's first block have one that is highly correlated."""
    values, shares = [], []
    for end, table in zip(("start", "end"), arrays["first block correlations"], strict=True):
        largest = closest(table)
        largest = largest[np.isfinite(largest)]
        shares.append(float((largest >= _HIGHLY).mean()))
        values.append(Value(f"{end}, with such a kernel, %", 100 * shares[-1], form=".0f"))
        values.append(Value(f"{end}, median of the largest correlation", float(np.median(largest))))
        silent = len(table) - len(largest)
        values.append(Value(f"{end}, silent", silent, form=".0f", remark=f"of {len(table)}"))
    verdict = findings.graded(shares[-1], 0.5, 0.1)
    return finding(STUDY, "correlated", verdict, values, source, highly=_HIGHLY)


def compact_finding(source: str, measured: Mapping[str, Arrays]) -> Finding:
    """Return whether kernels of DenseNet's dense block are less alike than those of LeNet's."""
    first, second = (
        mean_correlation(measured[name]["second block correlations"][-1]).named(name)
        for name in (LENET.title, DENSENET.title)
    )
    verdict = agreement([first.above(second)])
    return finding(STUDY, "compact", verdict, [first, second], source)


def removal_finding(source: str, measured: Mapping[str, Arrays]) -> Finding:
    """Return whether LeNet does without the kernels of its second block that know least."""
    values: dict[str, list[Value]] = {}
    for (name, arrays), block in itertools.product(measured.items(), BLOCK_NAMES):
        random_losses = arrays[f"{block} lost"]
        low, high = np.quantile(random_losses, [0.025, 0.975]).tolist()
        group = values[f"{name}, {block}"] = [
            Value("random", float(random_losses.mean()), low, high)
        ]
        for width in WIDTHS:
            names = (f"least informative by the {width} width", "most")
            group += findings.named_values(names, arrays[f"{block} {width} lost"])
    outcomes = []
    random_losses = measured[LENET.title][f"{BLOCK_NAMES[1]} lost"]
    for width in WIDTHS:
        loss = measured[LENET.title][f"{BLOCK_NAMES[1]} {width} lost"][0]
        outcomes.append(all_of([loss < _LITTLE, loss < np.median(random_losses)]))
    constants = {"little": _LITTLE, "draws": _DRAWS}
    return finding(STUDY, "removal", agreement(outcomes), values, source, **constants)
