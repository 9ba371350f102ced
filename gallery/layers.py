"""What there is to show of a run's layer: its OIPs and its ranking, map by map, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gallery.evidence import Evidence, layer_evidence, understood
from gallery.grown import Block, read_numbers
from gallery.responses import layer_responses
from gallery.text import number, plain_name, whole
from oip.core.errors import RunError, expected
from oip.run.directory import Run

if TYPE_CHECKING:
    from oip.ascent.results import Oips

ABOVE_NULL = 0.05
"""Adjusted p-value up to which an estimate is called above its null."""
HELD_OUT = ("decoder", "predictive")
"""Estimators that are held-out predictive bounds: only these order maps across layers."""


@dataclass(frozen=True)
class Information:
    """What one estimator says of one map, in bits; None where it says nothing."""

    rank: int | None
    rank_low: int | None
    rank_high: int | None
    mi: float | None
    low: float | None
    high: float | None
    p_value: float | None
    p_adjusted: float | None
    saturated: bool
    raw: float | None
    """Before an estimate under 0 is shown as 0, where it was noted."""
    best: int | None
    """The class that the map tells most about."""
    per_class: np.ndarray | None
    """(classes,) bits, one against the rest."""
    class_low: np.ndarray | None
    class_high: np.ndarray | None
    """(classes,) ends of the 95 % intervals."""
    class_p: np.ndarray | None
    """(classes,) adjusted p-values."""


@dataclass(frozen=True)
class Estimator:
    """One estimator of a layer's ranking."""

    key: str
    label: str
    parameters: str
    unit: str
    held_out: bool
    samples: int | None
    split: str
    ceiling: float | None
    saturated_share: float | None
    ordered: bool
    """The ranks are an order, not noise among maps at the ceiling."""
    notices: tuple[str, ...]
    maps: dict[int, Information]


@dataclass(frozen=True)
class MapEntry:
    """One map: its row in the layer's OIPs, the evidence for its verdict, what is known of it."""

    map: int
    row: int | None
    evidence: dict[str, Any]
    """Empty where there is no OIP."""
    information: tuple[Information | None, ...]
    """One for each of the layer's estimators."""
    redundancy: float | None
    """The largest value that it shares with another map of the layer."""
    objective: str | None = None
    """The expression that was climbed, where it is not a map's response."""

    @property
    def verdict(self) -> str | None:
        """The verdict, None where there is no OIP."""
        return self.evidence.get("verdict")

    @property
    def first(self) -> Information | None:
        """What the layer's first estimator says."""
        return self.information[0] if self.information else None


@dataclass(frozen=True)
class LayerEntry:
    """One layer; `maps` stand in the order of the default view."""

    index: int
    name: str
    info: dict[str, Any]
    oips: Oips | None
    """Without the pixels of images and snapshots."""
    blocks: tuple[Block, ...]
    """The shards."""
    estimators: tuple[Estimator, ...]
    responses: dict[str, np.ndarray] | None
    evidence: Evidence
    data_digest: str | None
    """SHA-256 of the images that `responses` refers to, where it was noted."""
    notices: tuple[str, ...]
    maps: tuple[MapEntry, ...]


def shown_layers(run: Run) -> list[int]:
    """Indices of the layers that have OIPs or a ranking, deepest first.

    Raises:
        RunError: there are none.
    """
    found = sorted({*run.reconstructed(), *run.ranked()}, reverse=True)
    if not found:
        hint = "Use 'oip reconstruct' or 'oip rank' with this --out first."
        raise RunError(expected(f"'{run.path}'", "a run with OIPs or a ranking", "neither", hint))
    return found


def class_names(run: Run, indices: list[int]) -> list[str]:
    """Names of the classes, from run.json or the first ranking that knows them; else empty."""
    told = run.info.get("classes")
    for index in indices:
        ranking = run.ranking(index)
        told = told or (ranking.get("classes") if isinstance(ranking, dict) else None)
    return [plain_name(name) for name in told] if isinstance(told, list) else []


def read_layer(run: Run, index: int) -> LayerEntry:
    """Reads one layer of a run.

    Order: by the rank of the first estimator; maps of which it says nothing come last, by number.

    Raises:
        RunError: a damaged file.
    """
    info = next(layer for layer in run.layers if layer["index"] == index)
    oips, blocks = read_numbers(run, index)
    stability = run.stability(index)
    if oips is not None and stability is not None:
        with understood(run.folder(index) / "stability.json", "what oip reconstruct writes"):
            oips = _stable(oips, stability)
    told = run.ranking(index)
    with understood(run.folder(index) / "ranking.json", "a ranking as oip rank writes it"):
        estimators = _estimators(told) if told else ()
        notices = tuple(plain_name(text) for text in (told or {}).get("notices", ()))
    rows = {} if oips is None else {int(one): row for row, one in enumerate(oips.maps)}
    numbers = sorted(set(rows).union(*(estimator.maps for estimator in estimators)))
    known = layer_evidence(run, index)
    shared = {} if known.redundancy is None else known.redundancy.most
    objectives = info.get("objectives") or ()
    if objectives and numbers and len(objectives) <= numbers[-1]:
        wanted = f"{numbers[-1] + 1} objectives of layer {index}"
        raise RunError(expected(f"'{run.path / 'run.json'}'", wanted, len(objectives)))
    evidence = {} if oips is None else {one.map: one.evidence() for one in oips}
    maps = [
        MapEntry(
            map=one,
            row=rows.get(one),
            evidence=evidence.get(one, {}),
            information=tuple(estimator.maps.get(one) for estimator in estimators),
            redundancy=number(shared.get(one), 3),
            objective=plain_name(objectives[one]) if one < len(objectives) else None,
        )
        for one in numbers
    ]
    return LayerEntry(
        index=index,
        name=plain_name(info["layer"]),
        info=info,
        oips=oips,
        blocks=blocks,
        estimators=estimators,
        responses=layer_responses(run, index),
        evidence=known,
        data_digest=(told or {}).get("data_sha256"),
        notices=notices,
        maps=tuple(sorted(maps, key=_place)),
    )


def _stable(oips: Oips, told: dict[str, Any]) -> Oips:
    """OIPs with what was measured of their starts, where it is of these maps."""
    if told["maps"] != oips.maps.tolist():
        return oips
    within, percentile = (
        np.array([np.nan if value is None else value for value in told[name]], float)
        for name in ("within", "percentile")
    )
    n_null = np.array(told["n_null"], np.int64)
    clusters, medoids = np.array(told["clusters"], np.int64), np.array(told["medoids"], bool)
    if {one.shape for one in (within, percentile, n_null)} != {oips.maps.shape} or (
        {one.shape for one in (clusters, medoids)} != {oips.scores.shape}
    ):
        raise ValueError(f"numbers of other than {len(oips.maps)} maps")
    return oips.with_stability(within, percentile, n_null, clusters, medoids)


def _place(entry: MapEntry) -> tuple[float, int]:
    first = entry.first
    known = first is not None and first.mi is not None and first.rank is not None
    return (first.rank if first and known and first.rank is not None else np.inf, entry.map)


def _estimators(told: dict[str, Any]) -> tuple[Estimator, ...]:
    found: list[Estimator] = []
    for one in told["estimators"]:
        name = plain_name(one["estimator"])
        key, again = name, 1
        while key in [estimator.key for estimator in found]:
            again += 1
            key = f"{name}-{again}"
        found.append(
            Estimator(
                key=key,
                label=plain_name(one.get("name_shown") or name),
                parameters=_words(one.get("parameters")),
                unit=plain_name(one.get("unit", "bits")),
                held_out=name in HELD_OUT,
                samples=whole(one.get("samples")),
                split=plain_name(one.get("split") or ""),
                ceiling=number(one.get("ceiling")),
                saturated_share=number(one.get("saturated_share")),
                ordered=one.get("ordered", True) is not False,
                notices=tuple(plain_name(text) for text in one.get("notices") or ()),
                maps={int(entry["map"]): _information(entry) for entry in one["maps"]},
            )
        )
    return tuple(found)


def _information(entry: dict[str, Any]) -> Information:
    per_class = _array(entry.get("per_class"))
    return Information(
        rank=whole(entry.get("rank")),
        rank_low=whole(entry.get("rank_low")),
        rank_high=whole(entry.get("rank_high")),
        mi=number(entry.get("mi")),
        low=number(entry.get("low")),
        high=number(entry.get("high")),
        p_value=number(entry.get("p_value"), 3),
        p_adjusted=number(entry.get("p_adjusted"), 3),
        saturated=entry.get("saturated") is True,
        raw=number(entry.get("raw")),
        best=_most(per_class) if _tells(entry) else None,
        per_class=per_class,
        class_low=_beside(entry.get("per_class_low"), per_class),
        class_high=_beside(entry.get("per_class_high"), per_class),
        class_p=_beside(entry.get("per_class_p"), per_class),
    )


def _tells(entry: dict[str, Any]) -> bool:
    """The map tells anything at all: more than nothing, and more than shuffled labels give."""
    p, mi = entry.get("p_adjusted"), entry.get("mi")
    return mi is not None and mi > 0 and (p is None or p <= ABOVE_NULL)


def _array(values: Any) -> np.ndarray | None:
    if not isinstance(values, list) or not values:
        return None
    plain = [number(value) for value in values]
    return np.array([np.nan if value is None else value for value in plain], np.float32)


def _beside(values: Any, per_class: np.ndarray | None) -> np.ndarray | None:
    """Values of the same classes; None where they are others."""
    found = _array(values)
    if found is None or per_class is None or len(found) != len(per_class):
        return None
    return found


def _most(per_class: np.ndarray | None) -> int | None:
    if per_class is None:
        return None
    values = np.nan_to_num(per_class, nan=-1.0)
    return int(values.argmax()) if values.max() > 0 else None


def _words(parameters: Any) -> str:
    if not isinstance(parameters, dict):
        return ""
    return plain_name(", ".join(f"{key} {value}" for key, value in parameters.items()))
