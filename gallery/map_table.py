"""The table of all maps: the columns behind the grid, and the files maps.json and maps.csv."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from oip.core.formats import ModelRecord
from oip.core.output_formats import (
    GalleryFile,
    GalleryInformation,
    GalleryLayer,
    GalleryLegibility,
    GalleryMap,
    GalleryModel,
)
from oip.gallery.escape import PageValues, csv_table, plain_name, rounded
from oip.gallery.read_run import Information, LayerEntry, MapEntry

PER_PAGE = 256
_EVIDENCE = (
    *("converged", "provably_dead", "saturated", "score", "pre_score", "data_score", "data_active"),
    *("white_score", "screened_score", "stability", "null_percentile", "n_null", "steps", "reason"),
)
_NUMBERS = ("mi", "low", "high", "rank", "rank_low", "rank_high", "p_value", "p_adjusted")
_LEGIBILITY = ("share", "low", "high", "reference", "reference_same_count", "control")
_WITH_UNIT = ("mi", "low", "high")


@dataclass(frozen=True)
class _Row:
    """A map, the position of its layer, and what each estimator says of it."""

    layer: int
    entry: MapEntry
    information: dict[str, Information]


class MapTable:
    """All maps in the order of the default view; keeps of each layer only what the files need."""

    def __init__(self, model: ModelRecord, classes: list[str]):
        self._model = model
        self.classes = classes
        self.layers: list[GalleryLayer] = []
        """A summary of each layer, deepest first."""
        self._estimators: dict[str, PageValues] = {}
        """Key of every estimator of any layer -> its description for the pages."""
        self._rows: list[_Row] = []

    @property
    def count(self) -> int:
        """Number of maps."""
        return len(self._rows)

    def add(self, layer: LayerEntry) -> None:
        """Add a layer; its arrays of images are not kept."""
        columns = layer.estimators
        objectives = {str(entry.map): entry.objective for entry in layer.maps}
        judge = layer.evidence.legibility
        position = len(self.layers)
        self.layers.append(
            GalleryLayer(
                index=layer.index,
                layer=layer.name,
                shown=len(layer.maps),
                layer_class=plain_name(layer.info.layer_class),
                kind=layer.info.kind,
                noun=layer.info.noun,
                about=layer.about,
                maps=layer.info.maps or None,
                size=layer.info.size or None,
                receptive_field=layer.info.receptive_field or None,
                jump=layer.info.jump or None,
                objectives=objectives if any(objectives.values()) else UNSET,
                pages=-(-len(layer.maps) // PER_PAGE),
                measure=columns[0].key if columns else None,
                judge=judge and plain_name(judge.judge),
                notices=list(layer.notices),
                said={column.key: list(column.notices) for column in columns},
                unordered=[column.key for column in columns if not column.ordered],
            )
        )
        for column in columns:
            names = ("key", "label", "held_out", "unit")
            description = {name: getattr(column, name) for name in names}
            self._estimators.setdefault(column.key, description)
        keys = [column.key for column in columns]
        for entry in layer.maps:
            pairs = zip(keys, entry.information, strict=True)
            information = {key: estimate for key, estimate in pairs if estimate is not None}
            self._rows.append(_Row(position, entry, information))

    def scripts(self, about: PageValues) -> Iterator[tuple[str, str, object]]:
        """Yield the data files of the page.

        One file per class with the bits about it, if there are any, one per estimator that orders
        no layer, and last one with all maps and the numbers of the other estimators.

        Args:
            about: further entries of the last file.

        Yields:
            Name of the file without ending, name that the page knows it by, content.
        """
        for class_index in range(self._class_count()):
            bits = {key: self._class_bits(key, class_index) for key in self._estimators}
            yield f"class-{class_index:03d}", f"class-{class_index}", bits
        measures = {layer.measure for layer in self.layers}
        for position, key in enumerate(self._estimators):
            if key not in measures:
                yield f"by-{position:02d}", f"by-{position}", self._columns(key)
        entries = [row.entry for row in self._rows]
        verdicts = sorted({entry.verdict or "" for entry in entries})
        shared = [entry.redundancy for entry in entries]
        legible = [rounded(entry.legibility and entry.legibility.share, 3) for entry in entries]
        content = {
            **about,
            "classes": self.classes,
            "layers": [layer.to_dict() for layer in self.layers],
            "estimators": list(self._estimators.values()),
            "verdicts": verdicts,
            "columns": {
                "layer": [row.layer for row in self._rows],
                "map": [entry.map for entry in entries],
                "verdict": [verdicts.index(entry.verdict or "") for entry in entries],
                "open": [int(entry.not_converged) for entry in entries],
                "proved": [int(bool(_evidence(entry, "provably_dead"))) for entry in entries],
                "score": [rounded(_evidence(entry, "score"), 3) for entry in entries],
                "stability": [rounded(_evidence(entry, "stability"), 3) for entry in entries],
                "redundancy": None if all(value is None for value in shared) else shared,
                "legibility": None if all(value is None for value in legible) else legible,
            },
            "information": {key: self._columns(key) for key in self._estimators if key in measures},
        }
        yield "maps", "maps", content

    def _columns(self, key: str) -> dict[str, list[object]]:
        """One estimator's numbers for all maps, in whole thousandths of a bit, which pack well."""
        estimates = [row.information.get(key) for row in self._rows]
        columns: dict[str, list[object]] = {
            name: [] for name in ("mi", "below", "above", "rank", "p_adjusted", "best", "saturated")
        }
        for estimate in estimates:
            bits = None if estimate is None else estimate.mi
            mi = None if bits is None else round(1000 * round(bits, 3))
            columns["mi"].append(mi)
            columns["below"].append(_distance(estimate and estimate.low, mi, -1))
            columns["above"].append(_distance(estimate and estimate.high, mi, 1))
            columns["rank"].append(estimate and estimate.rank)
            columns["p_adjusted"].append(estimate and rounded(estimate.p_adjusted, 2))
            columns["best"].append(estimate and estimate.best)
            columns["saturated"].append(int(estimate is not None and estimate.saturated))
        return columns

    def _class_count(self) -> int:
        """Return the number of classes, none where there are no bits about any."""
        estimates = (estimate for row in self._rows for estimate in row.information.values())
        is_known = any(estimate.per_class is not None for estimate in estimates)
        return len(self.classes) if is_known else 0

    def _class_bits(self, key: str, class_index: int) -> list[float | None]:
        column: list[float | None] = []
        for row in self._rows:
            bits = row.information[key].per_class if key in row.information else None
            if bits is None or class_index >= len(bits):
                column.append(None)
            else:
                column.append(rounded(bits[class_index], 3))
        return column

    def file(self) -> GalleryFile:
        """Return maps.json: every map in the order of the default view."""
        return GalleryFile(
            model=GalleryModel(
                name=plain_name(self._model.name), sha256=plain_name(self._model.sha256)
            ),
            classes=self.classes,
            layers=self.layers,
            maps=[self._map(row) for row in self._rows],
        )

    def csv(self) -> str:
        """Return the content of maps.csv: the same as a table, one row per map."""
        columns = ["layer", "index", "map", "objective", "verdict", *_EVIDENCE, "redundancy"]
        columns += [f"legibility {name}" for name in (*_LEGIBILITY, "judge")]
        for key, described in self._estimators.items():
            unit = f" ({described['unit']})" if described["unit"] else ""
            columns += [f"{key} {name}{unit if name in _WITH_UNIT else ''}" for name in _NUMBERS]
            columns += [f"{key} saturated", f"{key} best class"]
        return csv_table(columns, (self._cells(row) for row in self._rows))

    def _map(self, row: _Row) -> GalleryMap:
        layer, entry = self.layers[row.layer], row.entry
        return GalleryMap(
            layer=layer.layer,
            index=layer.index,
            map=entry.map,
            objective=entry.objective,
            verdict=entry.verdict,
            **{name: _evidence(entry, name) for name in _EVIDENCE},
            redundancy=entry.redundancy,
            legibility=self._legibility(row),
            information=[
                GalleryInformation(
                    estimator=key,
                    unit=self._estimators[key]["unit"],
                    **{name: getattr(estimate, name) for name in _NUMBERS},
                    saturated=estimate.saturated,
                    best_class=self._class_name(estimate.best),
                )
                for key, estimate in row.information.items()
            ],
        )

    def _cells(self, row: _Row) -> list[object]:
        layer, entry, legibility = self.layers[row.layer], row.entry, self._legibility(row)
        cells = [layer.layer, layer.index, entry.map, entry.objective, entry.verdict]
        cells += [_evidence(entry, name) for name in _EVIDENCE]
        cells += [entry.redundancy]
        cells += [getattr(legibility, name, None) for name in (*_LEGIBILITY, "judge")]
        for key in self._estimators:
            estimate = row.information.get(key)
            if estimate is None:
                cells += [None] * (len(_NUMBERS) + 2)
            else:
                cells += [getattr(estimate, name) for name in _NUMBERS]
                cells += [estimate.saturated, self._class_name(estimate.best)]
        return cells

    def _legibility(self, row: _Row) -> GalleryLegibility | None:
        """Return how legible a map is, and to whom."""
        legibility = row.entry.legibility
        if legibility is None:
            return None
        numbers = {name: rounded(getattr(legibility, name)) for name in _LEGIBILITY}
        return GalleryLegibility(**numbers, judge=self.layers[row.layer].judge)

    def _class_name(self, class_index: int | None) -> str | None:
        if class_index is None:
            return None
        is_named = class_index < len(self.classes)
        return self.classes[class_index] if is_named else str(class_index)


def _evidence(entry: MapEntry, name: str) -> Any:
    """Return a field of the evidence for a map's verdict; None without an OIP."""
    return getattr(entry.evidence, name, None)


def _distance(end: float | None, middle: int | None, side: int) -> int | None:
    """Return how far an end of an interval is from its middle, in thousandths."""
    return None if end is None or middle is None else side * (round(1000 * end) - middle)
