"""What a map's page shows beyond its tile; a script for 64 maps, read when one is opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from oip.ascent.results import REASONS
from oip.gallery.escape import number, plain_name, whole
from oip.gallery.images import MOST_IN_A_ROW, DataImages
from oip.gallery.read_run import LayerEntry, MapEntry
from oip.gallery.rerun_command import command
from oip.gallery.verdict_text import patience_of, sentences

_MOST_KERNELS = 24
_MOST_NEIGHBOURS = 8
_MOST_CLASSES = 10


def shared_parts(layer: LayerEntry) -> dict[str, Any]:
    """What the parts of all maps of a layer have in common."""
    known = layer.evidence
    found: dict[str, Any] = {}
    if known.kernels is not None:
        found["kernels"] = _measure(known.kernels)
    if known.ablation is not None:
        found["ablation"] = {
            "samples": whole(known.ablation.get("samples")),
            "split": plain_name(known.ablation.get("split") or ""),
            "loss": number(known.ablation.get("loss")),
            "accuracy": number(known.ablation.get("accuracy")),
        }
    if known.redundancy is not None:
        found["redundancy"] = {
            "names": [plain_name(name) for name in known.redundancy.names],
            "units": [plain_name(unit) for unit in known.redundancy.units],
        }
    if known.record is not None:
        found["record"] = {"steps": known.record.steps.astype(int).tolist()}
    return found


def evidence_parts(layer: LayerEntry, entry: MapEntry) -> dict[str, Any]:
    """What is known of a map beyond its OIP and its rank; nothing where there is no file."""
    known = layer.evidence
    found = {
        "kernels": _kernels(known.kernels, entry.map),
        "neighbours": _neighbours(layer, entry.map),
        "softmax": _softmax(known.softmax.get(entry.map)),
        "ablation": _ablation(known.ablation, entry.map),
        "record": _record(layer, entry.map),
    }
    return {name: part for name, part in found.items() if part is not None}


def _measure(told: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": plain_name(told.get("name_shown") or told.get("estimator") or ""),
        "samples": whole(told.get("samples")),
        "split": plain_name(told.get("split") or ""),
        "ceiling": number(told.get("ceiling")),
    }


def _row(told: dict[str, Any] | None, wanted: int) -> dict[str, Any] | None:
    rows = told["maps"] if told is not None else ()
    return next((row for row in rows if row.get("map") == wanted), None)


def _kernels(told: dict[str, Any] | None, wanted: int) -> dict[str, Any] | None:
    row = _row(told, wanted)
    if row is None or not row.get("kernels"):
        return None
    shown = [
        {
            "input": whole(one.get("input")),
            **{
                name: number(one.get(name), 3)
                for name in ("mi", "low", "high", "p_adjusted", "with_map")
            },
            "weights": _weights(one.get("weights")),
        }
        for one in row["kernels"][:_MOST_KERNELS]
    ]
    return {"of": whole(row.get("of")) or len(row["kernels"]), "shown": shown}


def _weights(rows: Any) -> list[list[float]] | None:
    """A kernel's weights divided by the largest of them, for its picture."""
    try:
        values = np.array(rows, np.float64)
    except (TypeError, ValueError):
        return None
    if values.ndim != 2 or not values.size or values.size > 1024 or not np.isfinite(values).all():
        return None
    scale = np.abs(values).max() or 1.0
    return [[round(float(value), 2) for value in row] for row in values / scale]


def _neighbours(layer: LayerEntry, wanted: int) -> list[dict[str, Any]] | None:
    """The other maps that share most with a map, by the first measure."""
    known = layer.evidence.redundancy
    if known is None or wanted not in known.maps:
        return None
    row = int(np.flatnonzero(known.maps == wanted)[0])
    shared = known.pairs[0, row].astype(np.float64)
    shared[row] = np.nan
    order = np.argsort(np.where(np.isnan(shared), np.inf, -shared), kind="stable")
    return [
        {
            "map": int(known.maps[other]),
            "values": [number(value, 3) for value in known.pairs[:, row, other]],
        }
        for other in order[:_MOST_NEIGHBOURS]
        if np.isfinite(shared[other])
    ]


def _softmax(probabilities: np.ndarray | None) -> list[list[float]] | None:
    """[class, probability], the greatest first."""
    if probabilities is None or not np.isfinite(probabilities).all():
        return None
    order = np.argsort(-probabilities, kind="stable")[:_MOST_CLASSES]
    return [[int(place), round(float(probabilities[place]), 4)] for place in order]


def _ablation(told: dict[str, Any] | None, wanted: int) -> dict[str, Any] | None:
    row = _row(told, wanted)
    if row is None:
        return None
    names = ("loss_increase", "low", "high", "accuracy_drop")
    return {name: number(row.get(name), 3) for name in names}


def _record(layer: LayerEntry, wanted: int) -> list[float | None] | None:
    known = layer.evidence.record
    if known is None or wanted not in known.maps:
        return None
    column = known.label[:, int(np.flatnonzero(known.maps == wanted)[0])]
    return [number(value, 3) for value in column]


def histograms(
    layer: LayerEntry, wanted: int, classes: np.ndarray | None, most: int
) -> dict[str, Any]:
    """The response's histogram for each of `classes` (the first `most` of them if None)."""
    told, row = layer.responses, _response_row(layer, wanted)
    if told is None or row is None or not {"edges", "histogram"} <= told.keys():
        return {}
    if not np.isfinite(told["edges"][row]).all():
        return {}
    histogram = told["histogram"][row]
    shown = np.arange(len(histogram)) if classes is None else classes[classes < len(histogram)]
    return {
        "edges": [number(edge) for edge in told["edges"][row][[0, -1]]],
        "histogram": [[int(one), histogram[one].astype(int).tolist()] for one in shown[:most]],
    }


def best_images(layer: LayerEntry, wanted: int, data: DataImages) -> list[dict[str, Any]]:
    """The data images that excite a map most; their files are written."""
    told, row = layer.responses, _response_row(layer, wanted)
    if told is None or row is None or "best_images" not in told:
        return []
    found = []
    for place, index in enumerate(told["best_images"][row].tolist()):
        if index >= 0 and data.write(index):
            one: dict[str, Any] = {"image": index, "caption": data.caption(index)}
            one["score"] = number(told["best_scores"][row][place], 3)
            field = _field(layer.info, told["best_positions"][row][place].tolist(), data.height)
            if field is not None:
                one["field"] = field
            found.append(one)
    return found


def _response_row(layer: LayerEntry, wanted: int) -> int | None:
    """A map's row in responses.npz, if it has one."""
    if layer.responses is None:
        return None
    rows = np.flatnonzero(layer.responses["maps"] == wanted)
    return int(rows[0]) if rows.size else None


def _field(info: dict[str, Any], position: list[int], height: int) -> list[float] | None:
    """Left, top, width and height, in shown pixels, of what a node looks at.

    A node of a line looks at the full `height` of the strip that the line is shown as.
    """
    size, jump, offset = (info.get(key) for key in ("receptive_field", "jump", "offset"))
    if not (size and jump and offset) or len(size) not in (1, 2) or min(position) < 0:
        return None
    starts = [
        start + step * node - (side - 1) / 2
        for start, step, node, side in zip(offset, jump, position[-len(size) :], size, strict=True)
    ]
    top, tall = (starts[0], size[0]) if len(size) == 2 else (0, height)
    return [float(starts[-1]), float(top), float(size[-1]), float(tall)]


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
