"""What the page of a layer and the page of the model say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gallery.charts import boxes, distribution, plane
from gallery.layers import ABOVE_NULL, Estimator, LayerEntry, MapEntry
from gallery.matrix import matrix_picture
from gallery.pruning import suggestion
from gallery.text import number, plain_name
from gallery.words import MEANINGS

_MOST_PAIRS = 8
_MOST_SHOWN = 12
_MOST_BOXES = 12

WritePicture = Callable[[str, np.ndarray], None]
"""Takes a name without ending and a picture, (h, w, 3) uint8."""


def layer_overview(layer: LayerEntry, write_picture: WritePicture) -> dict[str, Any]:
    """Everything that a layer's page shows.

    Args:
        layer: the layer.
        write_picture: is given the picture of the redundancies.
    """
    counts = Counter(entry.verdict or "no OIP" for entry in layer.maps)
    return {
        "index": layer.index,
        "layer": layer.name,
        "facts": _facts(layer),
        "notices": notices(layer),
        "verdicts": [
            {"word": word, "count": counts[word], "share": counts[word] / len(layer.maps)}
            for word in (*MEANINGS, "no OIP")
            if counts[word]
        ],
        "best": [entry.map for entry in layer.maps if entry.row is not None][:_MOST_SHOWN],
        "measures": [_measure(layer, place) for place in range(len(layer.estimators))],
        "redundancy": _redundancy(layer, write_picture),
        "training": _training(layer),
        "pruning": [
            {
                "words": reason.words,
                "maps": [{"map": one, "instead": reason.instead.get(one)} for one in reason.maps],
            }
            for reason in suggestion(layer)
        ],
        "can_suggest": bool(layer.estimators or layer.evidence.redundancy),
    }


def model_overview(layers: Sequence[LayerEntry], record: dict[str, Any] | None) -> dict[str, Any]:
    """Information by depth, and the information plane where training was recorded.

    Args:
        layers: as they are shown, deepest first.
        record: what record/record.json says.
    """
    shallow_first = sorted(layers, key=lambda layer: layer.index)
    first: dict[str, Estimator] = {}
    for layer in shallow_first:
        for one in layer.estimators:
            first.setdefault(one.key, one)
    panels = []
    for key, one in first.items():
        groups = [(layer.name, _bits(layer, key)) for layer in shallow_first]
        chart = boxes(groups)
        if chart is not None:
            panels.append(
                {
                    "key": key,
                    "label": one.label,
                    "held_out": one.held_out,
                    "chart": chart,
                    "rows": [_quartiles(name, values) for name, values in groups if values],
                }
            )
    return {"panels": panels, "plane": _plane(record)}


def _plane(record: dict[str, Any] | None) -> dict[str, Any] | None:
    if record is None:
        return None
    ceilings = (number(record.get("input_ceiling")), number(record.get("label_ceiling")))
    paths = [
        (
            plain_name(layer.get("layer", "")),
            [number(value) for value in layer["input"]],
            [number(value) for value in layer["label"]],
        )
        for layer in record["layers"]
    ]
    chart = plane(paths, record["steps"], ceilings)
    if chart is None:
        return None
    return {
        "chart": chart,
        "label": plain_name(record.get("name_shown") or record.get("estimator") or ""),
        "samples": record.get("samples"),
        "split": plain_name(record.get("split") or ""),
    }


def notices(layer: LayerEntry) -> list[str]:
    """What the ranking of a layer says of itself."""
    return [*layer.notices, *(text for one in layer.estimators for text in one.notices)]


def times(values: Any) -> str:
    """Sides such as `3 × 3`."""
    return " × ".join(plain_name(value) for value in values) if values else "unknown"


def _facts(layer: LayerEntry) -> list[tuple[str, str]]:
    told = layer.info
    shown = len(layer.maps)
    maps = told.get("maps", shown)
    return [
        ("Kind", plain_name(told.get("class") or "unknown")),
        ("Maps", f"{shown} of {maps} shown" if shown != maps else str(maps)),
        ("Nodes of a map", times(told.get("size"))),
        ("Receptive field", _pixels(told.get("receptive_field"))),
        ("Jump", _pixels(told.get("jump"))),
    ]


def _pixels(values: Any) -> str:
    return f"{times(values)} px" if values else "unknown"


def _bits(layer: LayerEntry, key: str) -> list[float]:
    places = [place for place, one in enumerate(layer.estimators) if one.key == key]
    if not places:
        return []
    told = (entry.information[places[0]] for entry in layer.maps)
    return [one.mi for one in told if one is not None and one.mi is not None]


def _quartiles(name: str, values: Sequence[float]) -> dict[str, Any]:
    found = np.percentile(values, [0, 25, 50, 75, 100])
    return {"layer": name, "maps": len(values), "bits": [f"{value:.2f}" for value in found]}


def _measure(layer: LayerEntry, place: int) -> dict[str, Any]:
    one = layer.estimators[place]
    told = [entry.information[place] for entry in layer.maps]
    known = [each for each in told if each is not None and each.mi is not None]
    tested = [each.p_adjusted for each in known if each.p_adjusted is not None]
    return {
        "key": one.key,
        "label": one.label,
        "ordered": one.ordered,
        "samples": one.samples,
        "split": one.split,
        "chart": distribution([each.mi for each in known if each.mi is not None], one.ceiling),
        "above": sum(p <= ABOVE_NULL for p in tested) if tested else None,
        "count": len(known),
        "saturated": sum(each.saturated for each in known),
    }


def _redundancy(layer: LayerEntry, write_picture: WritePicture) -> dict[str, Any] | None:
    known = layer.evidence.redundancy
    if known is None or len(known.maps) < 2:
        return None
    picture, order, (low, high) = matrix_picture(known)
    name = f"img/redundancy/{layer.index:03d}"
    write_picture(name, picture)
    shared = np.triu(np.nan_to_num(known.shared, nan=-np.inf), 1)
    shared[np.tril_indices(len(shared))] = -np.inf
    places = np.argsort(-shared, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = [np.unravel_index(int(place), shared.shape) for place in places]
    grown = {entry.map for entry in layer.maps if entry.row is not None}
    return {
        "picture": f"{name}.webp",
        "height": picture.shape[0],
        "width": picture.shape[1],
        "measure": plain_name(known.names[0]),
        "unit": plain_name(known.units[0]),
        "low": f"{low:.2f}",
        "high": f"{high:.2f}",
        "maps": len(order),
        "pairs": [
            {
                "maps": [int(known.maps[first]), int(known.maps[second])],
                "pictures": {int(known.maps[first]), int(known.maps[second])} <= grown,
                "value": f"{shared[first, second]:.2f}",
            }
            for first, second in pairs
            if np.isfinite(shared[first, second])
        ],
    }


def _training(layer: LayerEntry) -> dict[str, Any] | None:
    """Quartiles of the maps' information over training."""
    known = layer.evidence.record
    if known is None or not len(known.steps):
        return None
    count = len(known.steps)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _MOST_BOXES)).astype(int))
    return boxes([(str(int(known.steps[place])), known.label[place]) for place in chosen])


def remarks(entry: MapEntry) -> list[str]:
    """What qualifies a map's numbers, in words."""
    found = []
    first = entry.first
    if first is not None and first.p_adjusted is not None and first.p_adjusted > ABOVE_NULL:
        found.append("not above null")
    if first is not None and first.saturated:
        found.append("saturated")
    if entry.verdict not in (None, "dead", "failed") and not entry.evidence["converged"]:
        found.append("not converged")
    return found
