"""The details of a map's page beyond its tile: one script for 64 maps, read when one is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from oip.ascent.results import REASONS
from oip.ascent.settings import PRESETS
from oip.core.formats import DecompositionFile, LayerRecord, PartnersFile, RunFile, UnitCauses
from oip.core.layer_formats import ClustersFile, MapAblation, MapKernels, PresetChoice
from oip.core.units import of_noun
from oip.gallery.atlas import alike_maps
from oip.gallery.escape import PageValues, plain_name, rounded
from oip.gallery.images import MOST_IN_A_ROW, ShownData, line_length
from oip.gallery.read_run import LayerEntry, MapEntry
from oip.gallery.rerun_command import rerun_command
from oip.gallery.verdict_text import (
    headline,
    legibility_sentence,
    patience_of,
    preset_sentences,
    sentences,
)

PER_SCRIPT = 64
_MOST_KERNELS = 24
_MOST_NEIGHBORS = 8
_MOST_CLASSES = 10
_MOST_CAUSES, _MOST_EXAMPLES = 8, 2
"""Units in a row, and images that stand for a cluster."""
_TRACE_POINTS = 61
_ALL_CLASSES = 20
_SOME_CLASSES = 12
"""Classes shown where there are more than `_ALL_CLASSES`."""


class MapArrays(Protocol):
    """Arrays with a row, or a column, for each of some maps."""

    @property
    def maps(self) -> np.ndarray: ...


def layer_details(
    layer: LayerEntry,
    run: RunFile,
    run_name: str,
    data: ShownData | None,
    stretches: Mapping[tuple[int, int], list[list[list[float]]]] | None = None,
) -> Iterator[tuple[str, PageValues]]:
    """Yield the details of a layer's maps, 64 maps at a time.

    Args:
        data: writer of data images, None where they are not to be shown.
        stretches: of `MapImages`.

    Yields:
        Name of the script, and its content.
    """
    points = trace_points(layer)
    oips = layer.oips
    shared = {
        "layer": layer.index,
        "steps": points.tolist(),
        "stages": [] if oips is None else oips.snapshot_steps.tolist()[-MOST_IN_A_ROW:],
        "measures": [
            {
                "key": column.key,
                "parameters": column.parameters,
                "ceiling": column.ceiling,
                "samples": column.samples,
                "split": column.split,
                **({"few": list(column.rare)} if column.rare else {}),
            }
            for column in layer.estimators
        ],
        **_shared_evidence(layer),
    }
    entries = sorted(layer.maps, key=lambda entry: entry.map)
    neighbors = alike_maps(layer)
    for block in sorted({entry.map // PER_SCRIPT for entry in entries}):
        maps = {
            str(entry.map): _map_details(layer, entry, points, run, run_name, data)
            for entry in entries
            if entry.map // PER_SCRIPT == block
        }
        for map_index, details in maps.items():
            if int(map_index) in neighbors:
                details["alike"] = neighbors[int(map_index)]
            if stretches is not None and (layer.index, int(map_index)) in stretches:
                details["stretches"] = stretches[layer.index, int(map_index)]
        yield f"detail-{layer.index:03d}-{block:04d}", {**shared, "maps": maps}


def trace_points(layer: LayerEntry) -> np.ndarray:
    """Return the steps (p,) at which scores are shown, the first and the last among them."""
    if layer.oips is None:
        return np.array([], np.int64)
    length = layer.oips.traces.shape[-1]
    return np.unique(np.linspace(0, length - 1, min(length, _TRACE_POINTS)).astype(int))


def _map_details(
    layer: LayerEntry,
    entry: MapEntry,
    points: np.ndarray,
    run: RunFile,
    run_name: str,
    data: ShownData | None,
) -> PageValues:
    classes = _shown_classes(layer, entry)
    is_line = run.input is not None and line_length(run.input.shape) > 0

    def fitting(text: str) -> str:
        text = of_noun(text, layer.info.noun)
        return text.replace("image", "window").replace("contrast", "deviation") if is_line else text

    texts = sentences(entry.evidence, patience_of(run))
    texts += preset_sentences(layer.evidence.presets, _preset_choice(layer, entry.map))
    details: PageValues = {
        "headline": fitting(headline(entry.evidence)),
        "sentences": [fitting(text) for text in texts],
        "measures": [
            None
            if estimate is None
            else {
                "p": estimate.p_value,
                "ranks": [estimate.rank_low, estimate.rank_high],
                "raw": estimate.raw,
                "chance": estimate.chance,
            }
            for estimate in entry.information
        ],
        "command": rerun_command(run, run_name, layer.info, entry.map),
        **ascent_details(layer, entry, points),
        **({"masks": True} if _has_masks(layer, entry.map, run) else {}),
        **_class_information(entry, classes),
        **histograms(layer, entry.map, classes, _ALL_CLASSES),
        **_evidence(layer, entry.map, data, len(run.classes or ())),
    }
    if data is not None:
        details["best"] = best_data_images(layer, entry.map, data)
    return details


def _preset_choice(layer: LayerEntry, map_index: int) -> PresetChoice | None:
    rows = layer.evidence.presets.maps if layer.evidence.presets is not None else ()
    return next((row for row in rows if row.map == map_index), None)


def _has_masks(layer: LayerEntry, map_index: int, run: RunFile) -> bool:
    """Return whether a map's pictures have a mask of what counts, as its preset keeps one."""
    if not any(block.has_masks for block in layer.blocks if map_index in block.maps):
        return False
    choice = _preset_choice(layer, map_index)
    if choice is None or (run.settings.reconstruct or {}).get("alpha"):
        return True
    return bool(PRESETS.get(choice.preset, {}).get("alpha"))


def ascent_details(layer: LayerEntry, entry: MapEntry, points: np.ndarray) -> PageValues:
    """Return the starts, their traces, and the scores to compare with."""
    oips, row = layer.oips, entry.row
    if oips is None or row is None:
        return {}
    starts = [
        {
            "score": rounded(oips.scores[row, start], 3),
            "noise": int(oips.starts[row, start]),
            "octaves": [rounded(weight, 2) for weight in oips.amplitudes[row, start]],
            "steps": int(oips.steps[row, start]),
            "reason": REASONS[oips.reasons[row, start]],
            "cluster": int(oips.clusters[row, start]),
            "medoid": bool(oips.medoids[row, start]),
        }
        for start in range(min(oips.scores.shape[1], MOST_IN_A_ROW))
    ]
    # The largest score since the point before, so that the best one is on the line.
    since = np.concatenate([[0], points[:-1] + 1])
    traces = np.fmax.reduceat(oips.traces[row, :MOST_IN_A_ROW], since, axis=1)
    return {
        "starts": starts,
        "traces": [[rounded(value, 7) for value in trace] for trace in traces],
        "data_score": rounded(oips.data_scores[row], 3),
        "white_score": rounded(oips.white_scores[row], 3),
        "screened_score": rounded(oips.screened_scores[row], 3),
    }


def _shown_classes(layer: LayerEntry, entry: MapEntry) -> np.ndarray | None:
    """Return all classes that have images, or those that the map is best for."""
    for column, estimate in zip(layer.estimators, entry.information, strict=True):
        if estimate is None or estimate.per_class is None:
            continue
        has_images = np.isfinite(estimate.per_class)
        if not has_images.any():
            continue
        has_images[list(column.rare)] = True
        indices = np.flatnonzero(has_images)
        if len(indices) <= _ALL_CLASSES:
            return indices
        numbers = np.nan_to_num(estimate.per_class)
        if estimate.usual is not None:
            numbers = np.where(numbers > 0, numbers - estimate.usual, -np.inf)
        return indices[np.argsort(-numbers[indices], kind="stable")[:_SOME_CLASSES]]
    return None


def _class_information(entry: MapEntry, classes: np.ndarray | None) -> PageValues:
    """Return bits about each class by every estimator, with intervals and p-values if known."""
    if classes is None:
        return {}

    def of_classes(values: np.ndarray | None, digits: int) -> list[float | None] | None:
        if values is None:
            return None
        return [rounded(values[k], digits) if k < len(values) else None for k in classes]

    return {
        "classes": classes.tolist(),
        "per_class": [
            None
            if estimate is None or estimate.per_class is None
            else {
                "mi": of_classes(estimate.per_class, 3),
                "usual": of_classes(estimate.usual, 3),
                "low": of_classes(estimate.class_low, 3),
                "high": of_classes(estimate.class_high, 3),
                "p": of_classes(estimate.class_p, 2),
            }
            for estimate in entry.information
        ],
    }


def histograms(
    layer: LayerEntry, map_index: int, classes: np.ndarray | None, max_classes: int
) -> PageValues:
    """Return the response's histogram for each class.

    Args:
        classes: the classes to show, all if None.
    """
    responses, row = layer.responses, _map_row(layer.responses, map_index)
    if responses is None or row is None or not np.isfinite(responses.edges[row]).all():
        return {}
    positions = layer.class_positions or range(responses.histogram.shape[1])
    by_class = dict(zip(positions, responses.histogram[row], strict=False))
    indices = list(by_class) if classes is None else [k for k in classes.tolist() if k in by_class]
    return {
        "edges": [rounded(edge) for edge in responses.edges[row][[0, -1]]],
        "histogram": [[k, by_class[k].astype(int).tolist()] for k in indices[:max_classes]],
    }


def best_data_images(layer: LayerEntry, map_index: int, data: ShownData) -> list[PageValues]:
    """Write the data images that excite a map most and return their descriptions."""
    responses, row = layer.responses, _map_row(layer.responses, map_index)
    if responses is None or row is None:
        return []
    images = []
    for position, image in enumerate(responses.best_images[row].tolist()):
        if image >= 0 and data.write(image):
            description: PageValues = {"image": image, "caption": data.caption(image)}
            description["score"] = rounded(responses.best_scores[row, position], 3)
            node = responses.best_positions[row, position].tolist()
            field = _receptive_field(layer.info, node, data)
            if field is not None:
                description["field"] = field
            images.append(description)
    return images


def _map_row(arrays: MapArrays | None, map_index: int) -> int | None:
    """Return a map's row in arrays of some maps, if there are any and it has one."""
    rows = [] if arrays is None else np.flatnonzero(np.asarray(arrays.maps) == map_index)
    return int(rows[0]) if len(rows) else None


def _receptive_field(info: LayerRecord, node: list[int], data: ShownData) -> list[float] | None:
    """Return left, top, width and height, in shown pixels, of a node's receptive field.

    A node of a one-dimensional layer covers the full height of the picture.
    """
    size, jump, offset = info.receptive_field, info.jump, info.offset
    if not (size and jump and offset) or len(size) not in (1, 2) or min(node) < 0:
        return None
    starts = [
        start + step * index - (side - 1) / 2
        for start, step, index, side in zip(offset, jump, node[-len(size) :], size, strict=True)
    ]
    if data.scale == 1.0 and len(size) == 2:
        return [float(starts[-1]), float(starts[0]), float(size[-1]), float(size[0])]
    left, wide = data.scale * starts[-1], data.scale * size[-1]
    return [round(left, 2), 0.0, round(wide, 2), float(data.height)]


def _shared_evidence(layer: LayerEntry) -> PageValues:
    """Return what the evidence of all maps of a layer has in common."""
    evidence = layer.evidence
    shared: PageValues = {}
    if evidence.kernels is not None:
        kernels = evidence.kernels
        shared["kernels"] = {
            "name": plain_name(kernels.name_shown or kernels.estimator),
            "samples": kernels.samples,
            "split": plain_name(kernels.split),
            "ceiling": rounded(kernels.ceiling),
        }
    if evidence.ablation is not None:
        ablation = evidence.ablation
        shared["ablation"] = {
            "samples": ablation.samples,
            "split": plain_name(ablation.split),
            "loss": rounded(ablation.loss),
            "accuracy": rounded(ablation.accuracy),
        }
    if evidence.redundancy is not None:
        shared["redundancy"] = {
            "names": [plain_name(name) for name in evidence.redundancy.names],
            "units": [plain_name(unit) for unit in evidence.redundancy.units],
        }
    if evidence.record is not None:
        shared["record"] = {"steps": evidence.record.steps.astype(int).tolist()}
    return shared


def _evidence(
    layer: LayerEntry, map_index: int, data: ShownData | None, classes: int
) -> PageValues:
    """Return the evidence about a map beyond its OIP and its rank, where there is a file of it.

    `classes` is how many names of classes the run has.
    """
    evidence = layer.evidence
    details = {
        "kernels": _kernels(evidence.kernels_of(map_index)),
        "neighbours": _neighbors(layer, map_index),
        "softmax": _softmax(evidence.softmax.get(map_index), classes),
        "ablation": _ablation(evidence.ablation_of(map_index)),
        "record": _record(layer, map_index),
        "legibility": _legibility(layer, map_index),
        "causes": _causes(evidence.causes_of(map_index)),
        "parts": _directions(layer, map_index),
        "sum": _sum(evidence.decomposition, map_index),
        "partners": [
            _partner(partners, map_index, address)
            for partners, address in zip(evidence.partners, evidence.partner_addresses, strict=True)
        ]
        or None,
        "kinds": _kinds(evidence.clusters, map_index, data),
    }
    return {name: value for name, value in details.items() if value is not None}


def _kernels(table: MapKernels | None) -> PageValues | None:
    if table is None or not table.kernels:
        return None
    names = ("mi", "low", "high", "p_adjusted", "with_map")
    kernels = [
        {
            "input": kernel.input,
            **{name: rounded(getattr(kernel, name), 3) for name in names},
            "weights": scaled_weights(kernel.weights),
        }
        for kernel in table.kernels[:_MOST_KERNELS]
    ]
    return {"of": table.of, "shown": kernels}


def scaled_weights(rows: list[list[float]] | None) -> list[list[float]] | None:
    """Return a kernel's weights divided by the largest of them; None if there is no kernel."""
    if not rows or len({len(row) for row in rows}) != 1:
        return None
    values = np.array(rows, np.float64)
    if values.ndim != 2 or not values.size or values.size > 1024 or not np.isfinite(values).all():
        return None
    scale = np.abs(values).max() or 1.0
    return [[round(float(value), 2) for value in row] for row in values / scale]


def _neighbors(layer: LayerEntry, map_index: int) -> list[PageValues] | None:
    """Return the other maps that share most with a map, by the first measure."""
    redundancy = layer.evidence.redundancy
    row = _map_row(redundancy, map_index)
    if redundancy is None or row is None:
        return None
    shared = redundancy.pairs[0, row].astype(np.float64)
    shared[row] = np.nan
    order = np.argsort(np.where(np.isnan(shared), np.inf, -shared), kind="stable")
    return [
        {
            "map": int(redundancy.maps[neighbor]),
            "values": [rounded(value, 3) for value in redundancy.pairs[:, row, neighbor]],
        }
        for neighbor in order[:_MOST_NEIGHBORS]
        if np.isfinite(shared[neighbor])
    ]


def _softmax(probabilities: np.ndarray | None, classes: int) -> list[list[float | str]] | None:
    """Return pairs [class, probability], the greatest first.

    Names of another number of classes than the model has outputs are those of data; then the
    outputs have numbers.
    """
    if probabilities is None or not np.isfinite(probabilities).all():
        return None
    order = np.argsort(-probabilities, kind="stable")[:_MOST_CLASSES].tolist()
    is_named = classes == len(probabilities)
    return [[k if is_named else f"output {k}", round(float(probabilities[k]), 4)] for k in order]


def _ablation(row: MapAblation | None) -> PageValues | None:
    if row is None:
        return None
    names = ("loss_increase", "low", "high", "accuracy_drop")
    return {name: rounded(getattr(row, name), 3) for name in names}


def _legibility(layer: LayerEntry, map_index: int) -> PageValues | None:
    """Return how legible a map is: the sentence, and the share with its interval."""
    legibility, row = layer.evidence.legibility, layer.evidence.legibility_of(map_index)
    if legibility is None or row is None:
        return None
    names = ("share", "low", "high", "reference", "control")
    numbers = {name: rounded(getattr(row, name), 3) for name in names}
    sentence = of_noun(legibility_sentence(legibility, row), layer.info.noun)
    return {"sentence": sentence, **numbers}


def _record(layer: LayerEntry, map_index: int) -> list[float | None] | None:
    record = layer.evidence.record
    row = _map_row(record, map_index)
    if record is None or row is None:
        return None
    return [rounded(value, 3) for value in record.label[:, row]]


def _causes(causes: UnitCauses | None) -> PageValues | None:
    """Return the units that feed a unit as cells of a row, and the outputs that it moves."""
    if causes is None:
        return None
    cells = []
    for unit, share, low, high in zip(
        causes.units[:_MOST_CAUSES], causes.share, causes.low, causes.high, strict=False
    ):
        value = "–" if share is None else _signed(share)
        interval = "" if low is None or high is None else f" ({_signed(low)} to {_signed(high)})"
        cells.append([causes.source_index, unit, value, f"share of the response {value}{interval}"])
    columns = (causes.classes, causes.logit_effect, causes.logit_low, causes.logit_high)
    moves = [
        [plain_name(name), rounded(effect, 3), rounded(low, 3), rounded(high, 3)]
        for name, effect, low, high in zip(*columns, strict=True)
        if effect is not None
    ]
    text = (
        f"Share of its mean response that is lost when a unit of {plain_name(causes.source)} is "
        f"silenced to {causes.silenced_to}, over {causes.samples} images; below 0 that unit "
        "inhibits it."
    )
    if causes.agreement is not None:
        text += f" Rank correlation with the loss of the whole network: {causes.agreement:z.2f}."
    return {"cells": cells, "text": text, "moves": moves[:_MOST_CAUSES]}


def _signed(share: float) -> str:
    return f"{100 * share:+z.0f} %".replace("+0 ", "0 ").replace("-", "−")


def _directions(layer: LayerEntry, map_index: int) -> list[PageValues] | None:
    """Return the directions that a map takes part in, or the maps that a direction is made of."""
    rows = []
    own_directions = layer.evidence.own_directions
    if own_directions is not None and map_index < len(own_directions.weights):
        weights = own_directions.weights[map_index]
        cells = _weighted(own_directions.base, weights, len(weights))
        base = plain_name(own_directions.layer)
        text = f"Weights of the maps of {base}; all squares add up to 1."
        title = "Maps with the largest weights in this direction"
        rows.append({"title": title, "cells": cells, "text": text})
    for directions in layer.evidence.directions:
        parts = directions.record.parts
        if map_index < parts.shape[1]:
            cells = _weighted(directions.index, parts[:, map_index], parts.shape[1])
            text = f"Weights of this map in the directions of {directions.name}."
            title = "Directions that it takes part in"
            rows.append({"title": title, "cells": cells, "text": text})
    return [row for row in rows if row["cells"]] or None


def _weighted(index: int, weights: np.ndarray, maps: int) -> list[list[int | str]]:
    """Return cells of the largest weights, those above that of equal weights of all maps."""
    order = np.argsort(-np.abs(weights), kind="stable")[:_MOST_CAUSES]
    cells: list[list[int | str]] = []
    for row in order[np.abs(weights[order]) > maps**-0.5]:
        text = f"{weights[row]:z.2f}".replace("-", "−")
        cells.append([index, int(row), text, f"weight {text}"])
    return cells


def _sum(decomposition: DecompositionFile | None, map_index: int) -> PageValues | None:
    """Return how much of a map's OIP is a sum of its nodes' OIPs."""
    row = _map_row(decomposition, map_index)
    if decomposition is None or row is None:
        return None
    share, low, high, null, p_value = (
        float(getattr(decomposition, name)[row])
        for name in ("share", "low", "high", "null", "p_value")
    )
    if not np.isfinite(share):
        return None
    copied = "one node's pattern, shifted to" if decomposition.copies == "shifted" else "those of"
    text = (
        f"The sum of {copied} {decomposition.nodes} nodes explains {100 * share:z.0f} % of the "
        f"variance of held-out pixels (95 %: {100 * low:z.0f} to "
        f"{100 * high:z.0f} %)"
    )
    if np.isfinite(null):
        count = int(decomposition.n_null[row])
        text += f"; nodes of {count} other maps {100 * null:z.0f} % (median), p {p_value:z.2g}"
    return {"text": f"{text}."}


def _partner(partners: PartnersFile, map_index: int, address: str | None) -> PageValues:
    """Return the partner of a unit in another network; `address` is that of its layer's maps."""
    row = _map_row(partners, map_index)
    model_name, name = plain_name(partners.other), plain_name(partners.layer)
    if row is None:
        text = f"No unit of {name} in {model_name} is its partner: no unit that"
        text += f" is left for it correlates by {partners.threshold:g} or more."
        return {"text": text, "picture": None}
    partner = int(partners.partners[row])
    values = [float(getattr(partners, field)[row]) for field in ("correlation", "low", "high")]
    text = (
        f": its responses to images of {plain_name(partners.split)} correlate by {values[0]:z.2f} "
        f"({values[1]:z.2f} to {values[2]:z.2f})"
    )
    percentile = float(partners.percentile[row])
    if np.isfinite(percentile):
        text += f"; the pictures are more similar than those of {percentile:.0f} % of other pairs"
    picture = partners.pictures.shape[1:3] if partners.has_picture[row] else None
    return {
        "name": f"{name}:{partner} of {model_name}",
        "text": f"{text}.",
        "picture": None if picture is None else list(picture),
        "address": address and f"{address}.{partner}",
    }


def _kinds(
    clusters: ClustersFile | None, map_index: int, data: ShownData | None
) -> PageValues | None:
    """Return how many kinds of images excite a unit, with examples where they may be shown."""
    rows = () if clusters is None else clusters.maps
    row = next((entry for entry in rows if entry.map == map_index and entry.clusters), None)
    if clusters is None or row is None:
        return None
    judge = plain_name(clusters.judge)
    text = f"By features of {judge}, the {row.images} images that excite it most "
    if row.explained is None or row.expected is None or row.p_adjusted is None:
        text += "were counted by an earlier version of oip. Run 'oip judge --clusters' again."
    elif row.clusters == 1:
        text += "form no clusters that are more distinct than in images of one kind."
    else:
        text += (
            f"fall into {row.clusters} clusters, which explain {100 * row.explained:.0f} % of "
            f"their spread; in images of one kind that vary as much they explain "
            f"{100 * row.expected:.0f} % (p {row.p_adjusted:.2g}, adjusted)."
        )
    if row.variety is not None and row.variety_p_adjusted is not None:
        text += (
            f" They vary {row.variety:.2f} times as much as all images "
            f"(p {row.variety_p_adjusted:.2g} that random images vary so little, adjusted)."
        )
    kinds = [name for name in ("selective", "polysemantic") if getattr(row, name)]
    if kinds:
        text = f"{' and '.join(kinds).capitalize()}. {text}"
    examples: list[PageValues] = []
    if data is not None and data.digest and data.digest == clusters.images_sha256:
        for size, images in zip(row.sizes, row.examples, strict=False):
            examples += [
                {"image": image, "caption": data.caption(image), "size": size}
                for image in images[:_MOST_EXAMPLES]
                if data.write(image)
            ]
    return {"text": text, "examples": examples}
