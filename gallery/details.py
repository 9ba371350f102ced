"""What a map's page shows beyond its tile; a script for 64 maps, read when one is opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gallery.again import command
from gallery.data_images import DataImages
from gallery.layers import LayerEntry, MapEntry
from gallery.parts import best_images, evidence_parts, histograms, shared_parts
from gallery.pictures import MOST_IN_A_ROW
from gallery.text import number
from gallery.words import patience_of, sentences
from oip.ascent.results import REASONS

PER_SCRIPT = 64
_TRACE_POINTS = 61
_ALL_CLASSES = 20
_SOME_CLASSES = 12
"""Classes shown where there are more than `_ALL_CLASSES`."""


def layer_details(
    layer: LayerEntry, info: dict[str, Any], run_name: str, data: DataImages | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the pages of a layer's maps show, 64 maps at a time.

    Args:
        layer: the layer.
        info: what run.json says.
        run_name: name of the run's folder.
        data: writer of data images, None where they are not to be shown.

    Yields:
        Name of the script, and what it says.
    """
    points = _trace_points(layer)
    shared = {
        "layer": layer.index,
        "steps": points.tolist(),
        "stages": [] if layer.oips is None else layer.oips.snapshot_steps.tolist()[-MOST_IN_A_ROW:],
        "measures": [
            {
                "key": one.key,
                "parameters": one.parameters,
                "ceiling": one.ceiling,
                "samples": one.samples,
                "split": one.split,
            }
            for one in layer.estimators
        ],
        **shared_parts(layer),
    }
    entries = sorted(layer.maps, key=lambda entry: entry.map)
    for block in sorted({entry.map // PER_SCRIPT for entry in entries}):
        maps = {
            str(entry.map): _map(layer, entry, points, info, run_name, data)
            for entry in entries
            if entry.map // PER_SCRIPT == block
        }
        yield f"detail-{layer.index:03d}-{block:04d}", {**shared, "maps": maps}


def _trace_points(layer: LayerEntry) -> np.ndarray:
    if layer.oips is None:
        return np.array([], np.int64)
    length = layer.oips.traces.shape[-1]
    return np.unique(np.linspace(0, length - 1, min(length, _TRACE_POINTS)).astype(int))


def _map(
    layer: LayerEntry,
    entry: MapEntry,
    points: np.ndarray,
    info: dict[str, Any],
    run_name: str,
    data: DataImages | None,
) -> dict[str, Any]:
    classes = _classes(entry)
    found: dict[str, Any] = {
        "sentences": sentences(entry.evidence, patience_of(info)),
        "measures": [
            None
            if one is None
            else {
                "p": one.p_value,
                "ranks": [one.rank_low, one.rank_high],
                "raw": one.raw,
            }
            for one in entry.information
        ],
        "command": command(info, run_name, layer.info, entry.map),
        **_grown(layer, entry, points),
        **_about_classes(entry, classes),
        **histograms(layer, entry.map, classes, _ALL_CLASSES),
        **evidence_parts(layer, entry),
    }
    if data is not None:
        found["best"] = best_images(layer, entry.map, data)
    return found


def _grown(layer: LayerEntry, entry: MapEntry, points: np.ndarray) -> dict[str, Any]:
    """Starts, their traces, and what the score is held against."""
    oips, row = layer.oips, entry.row
    if oips is None or row is None:
        return {}
    starts = [
        {
            "score": number(oips.scores[row, place]),
            "noise": int(oips.starts[row, place]),
            "octaves": [number(weight, 2) for weight in oips.amplitudes[row, place]],
            "steps": int(oips.steps[row, place]),
            "reason": REASONS[oips.reasons[row, place]],
            "cluster": int(oips.clusters[row, place]),
            "medoid": bool(oips.medoids[row, place]),
        }
        for place in range(min(oips.scores.shape[1], MOST_IN_A_ROW))
    ]
    traces = oips.traces[row, :MOST_IN_A_ROW][:, points]
    return {
        "starts": starts,
        "traces": [[number(value) for value in trace] for trace in traces],
        "data_score": number(oips.data_scores[row]),
        "white_score": number(oips.white_scores[row]),
        "screened_score": number(oips.screened_scores[row]),
    }


def _classes(entry: MapEntry) -> np.ndarray | None:
    """The classes to show: all of them, or those that the map tells most about."""
    known = [one.per_class for one in entry.information if one and one.per_class is not None]
    if not known:
        return None
    if len(known[0]) <= _ALL_CLASSES:
        return np.arange(len(known[0]))
    return np.argsort(-np.nan_to_num(known[0], nan=-1.0), kind="stable")[:_SOME_CLASSES]


def _about_classes(entry: MapEntry, classes: np.ndarray | None) -> dict[str, Any]:
    """Bits about each class by every estimator, with intervals and p-values where known."""
    if classes is None:
        return {}

    def chosen(values: np.ndarray | None, digits: int) -> list[float | None] | None:
        if values is None:
            return None
        return [number(values[place], digits) if place < len(values) else None for place in classes]

    return {
        "classes": classes.tolist(),
        "per_class": [
            None
            if one is None or one.per_class is None
            else {
                "mi": chosen(one.per_class, 3),
                "low": chosen(one.class_low, 3),
                "high": chosen(one.class_high, 3),
                "p": chosen(one.class_p, 2),
            }
            for one in entry.information
        ],
    }
