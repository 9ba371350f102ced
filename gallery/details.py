"""What a map's page shows beyond its tile; one script a layer, read when a map is opened."""

from __future__ import annotations

from typing import Any

import numpy as np

from gallery.images import DataImages
from gallery.layers import LayerEntry, MapEntry
from gallery.pictures import MOST_IN_A_ROW
from gallery.text import number
from gallery.words import command, sentences

_TRACE_POINTS = 61
_ALL_CLASSES = 20
_SOME_CLASSES = 12
"""Classes shown where there are more than `_ALL_CLASSES`."""


def layer_details(
    layer: LayerEntry, info: dict[str, Any], run_name: str, data: DataImages | None
) -> dict[str, Any]:
    """Everything that the pages of a layer's maps show.

    Args:
        layer: the layer.
        info: what run.json says.
        run_name: name of the run's folder.
        data: writer of data images, None where they are not to be shown.
    """
    oips = layer.oips
    points = np.array([], np.int64)
    if oips is not None:
        length = oips.traces.shape[-1]
        points = np.unique(np.linspace(0, length - 1, min(length, _TRACE_POINTS)).astype(int))
    stages = [] if oips is None else oips.snapshot_steps.tolist()[-MOST_IN_A_ROW:]
    return {
        "layer": layer.index,
        "steps": points.tolist(),
        "stages": stages,
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
        "maps": {
            str(entry.map): _map(layer, entry, points, info, run_name, data) for entry in layer.maps
        },
    }


def _map(
    layer: LayerEntry,
    entry: MapEntry,
    points: np.ndarray,
    info: dict[str, Any],
    run_name: str,
    data: DataImages | None,
) -> dict[str, Any]:
    oips = layer.oips
    found: dict[str, Any] = {
        "sentences": sentences(entry.evidence),
        "p": [None if one is None else one.p_value for one in entry.information],
        "command": command(info, run_name, layer.info, entry.map),
    }
    if oips is not None and entry.row is not None:
        traces = oips.traces[entry.row, :MOST_IN_A_ROW][:, points]
        found["traces"] = [[number(value) for value in trace] for trace in traces]
        found["scores"] = [number(value) for value in oips.scores[entry.row, :MOST_IN_A_ROW]]
        found["data_score"] = number(oips.data_scores[entry.row])
    classes = _classes(entry)
    if classes is not None:
        found["classes"] = classes.tolist()
        found["per_class"] = [
            None
            if one is None or one.per_class is None
            else [number(one.per_class[place], 3) for place in classes]
            for one in entry.information
        ]
    found |= _responses(layer, entry, classes)
    if data is not None:
        found["best"] = _best(layer, entry, data)
    return found


def _classes(entry: MapEntry) -> np.ndarray | None:
    """The classes to show: all of them, or those that the map tells most about."""
    known = [one.per_class for one in entry.information if one and one.per_class is not None]
    if not known:
        return None
    if len(known[0]) <= _ALL_CLASSES:
        return np.arange(len(known[0]))
    return np.argsort(-np.nan_to_num(known[0], nan=-1.0), kind="stable")[:_SOME_CLASSES]


def _responses(layer: LayerEntry, entry: MapEntry, classes: np.ndarray | None) -> dict[str, Any]:
    told, row = layer.responses, _row(layer, entry)
    if told is None or row is None or not {"edges", "histogram"} <= told.keys():
        return {}
    if not np.isfinite(told["edges"][row]).all():
        return {}
    histogram = told["histogram"][row]
    shown = np.arange(len(histogram)) if classes is None else classes[classes < len(histogram)]
    shown = shown[:_ALL_CLASSES]
    return {
        "edges": [number(edge) for edge in told["edges"][row][[0, -1]]],
        "histogram": [[int(place), histogram[place].astype(int).tolist()] for place in shown],
    }


def _best(layer: LayerEntry, entry: MapEntry, data: DataImages) -> list[dict[str, Any]]:
    told, row = layer.responses, _row(layer, entry)
    if told is None or row is None or "best_images" not in told:
        return []
    found = []
    for place, index in enumerate(told["best_images"][row].tolist()):
        if index >= 0 and data.write(index):
            one: dict[str, Any] = {"image": index, "caption": data.caption(index)}
            one["score"] = number(told["best_scores"][row][place], 3)
            field = _field(layer.info, told["best_positions"][row][place].tolist())
            if field is not None:
                one["field"] = field
            found.append(one)
    return found


def _row(layer: LayerEntry, entry: MapEntry) -> int | None:
    """The map's row in responses.npz, if it has one."""
    if layer.responses is None:
        return None
    rows = np.flatnonzero(layer.responses["maps"] == entry.map)
    return int(rows[0]) if rows.size else None


def _field(info: dict[str, Any], position: list[int]) -> list[float] | None:
    """Left, top, width and height, in input pixels, of what a node looks at."""
    size, jump, offset = (info.get(key) for key in ("receptive_field", "jump", "offset"))
    if not (size and jump and offset) or len(size) != 2 or min(position) < 0:
        return None
    top, left = (
        offset[axis] + jump[axis] * position[axis] - (size[axis] - 1) / 2 for axis in (0, 1)
    )
    return [float(left), float(top), float(size[1]), float(size[0])]
