"""All maps as columns: what the grid is made of, and the tables maps.json and maps.csv."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oip.gallery.escape import number, plain_name, table
from oip.gallery.read_run import Information, LayerEntry, MapEntry

SCHEMA = 1
KIND = "oip-gallery"
PER_PAGE = 256
_EVIDENCE = (
    "converged",
    "provably_dead",
    "saturated",
    "score",
    "pre_score",
    "data_score",
    "data_active",
    "white_score",
    "screened_score",
    "stability",
    "null_percentile",
    "n_null",
    "steps",
    "reason",
)
_NUMBERS = ("mi", "low", "high", "rank", "rank_low", "rank_high", "p_value", "p_adjusted")


class Catalogue:
    """Takes the layers in the order of the default view and keeps what the tables need of them."""

    def __init__(self, info: dict[str, Any], classes: list[str]):
        self._info = info
        self.classes = classes
        self._layers: list[dict[str, Any]] = []
        self._estimators: dict[str, dict[str, Any]] = {}
        self._maps: list[tuple[int, MapEntry, dict[str, Information]]] = []

    @property
    def layers(self) -> list[dict[str, Any]]:
        """What the page knows of each layer, deepest first."""
        return self._layers

    @property
    def estimators(self) -> list[dict[str, Any]]:
        """key, label, held_out of every estimator of any layer."""
        return list(self._estimators.values())

    @property
    def count(self) -> int:
        """Maps in all."""
        return len(self._maps)

    def add(self, layer: LayerEntry) -> None:
        """Takes over a layer; its arrays of images are not kept."""
        told = {"index": layer.index, "layer": layer.name, "shown": len(layer.maps)}
        for key in ("class", "maps", "size", "receptive_field", "jump"):
            value = layer.info.get(key)
            told[key] = plain_name(value) if isinstance(value, str) else value or None
        if any(entry.objective for entry in layer.maps):
            told["objectives"] = {str(one.map): one.objective for one in layer.maps}
        told["pages"] = -(-len(layer.maps) // PER_PAGE)
        told["measure"] = layer.estimators[0].key if layer.estimators else None
        told["notices"] = list(layer.notices)
        told["said"] = {one.key: list(one.notices) for one in layer.estimators}
        told["unordered"] = [one.key for one in layer.estimators if not one.ordered]
        self._layers.append(told)
        for one in layer.estimators:
            self._estimators.setdefault(
                one.key, {"key": one.key, "label": one.label, "held_out": one.held_out}
            )
        keys = [one.key for one in layer.estimators]
        for entry in layer.maps:
            known = {
                key: one
                for key, one in zip(keys, entry.information, strict=True)
                if one is not None
            }
            self._maps.append((len(self._layers) - 1, entry, known))

    def scripts(self, about: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
        """What the page reads: for each class the bits about it, for each estimator that no layer
        is ordered by its numbers, and all maps with the other estimators' numbers at last.

        Args:
            about: further things that the page is told.

        Yields:
            Name of the file without ending, name that the page knows it by, content.
        """
        for place in range(self._told_classes()):
            bits = {key: self._about(key, place) for key in self._estimators}
            yield f"class-{place:03d}", f"class-{place}", bits
        first = {layer["measure"] for layer in self._layers}
        for place, key in enumerate(self._estimators):
            if key not in first:
                yield f"by-{place:02d}", f"by-{place}", self._columns(key)
        entries = [entry for _, entry, _ in self._maps]
        verdicts = sorted({entry.verdict or "" for entry in entries})
        shared = [entry.redundancy for entry in entries]
        content = {
            **about,
            "classes": self.classes,
            "layers": self._layers,
            "estimators": self.estimators,
            "verdicts": verdicts,
            "columns": {
                "layer": [place for place, _, _ in self._maps],
                "map": [entry.map for entry in entries],
                "verdict": [verdicts.index(entry.verdict or "") for entry in entries],
                "open": [int(_is_open(entry)) for entry in entries],
                "proved": [int(bool(entry.evidence.get("provably_dead"))) for entry in entries],
                "score": [number(entry.evidence.get("score"), 3) for entry in entries],
                "stability": [number(entry.evidence.get("stability"), 3) for entry in entries],
                "redundancy": None if all(one is None for one in shared) else shared,
            },
            "information": {key: self._columns(key) for key in self._estimators if key in first},
        }
        yield "maps", "maps", content

    def _columns(self, key: str) -> dict[str, list[Any]]:
        """What an estimator says of all maps; whole thousandths of a bit, which pack well."""
        told = [known.get(key) for _, _, known in self._maps]
        mi = [None if one is None else _thousandths(one.mi) for one in told]
        return {
            "mi": mi,
            "below": [
                _between(one and one.low, bits, -1) for one, bits in zip(told, mi, strict=True)
            ],
            "above": [
                _between(one and one.high, bits, 1) for one, bits in zip(told, mi, strict=True)
            ],
            "rank": [None if one is None else one.rank for one in told],
            "p_adjusted": [None if one is None else number(one.p_adjusted, 2) for one in told],
            "best": [None if one is None else one.best for one in told],
            "saturated": [int(one is not None and one.saturated) for one in told],
        }

    def _told_classes(self) -> int:
        """Classes of which any map's bits are known and that have a name."""
        known = [
            len(one.per_class)
            for _, _, told in self._maps
            for one in told.values()
            if one.per_class is not None
        ]
        return min(max(known, default=0), len(self.classes))

    def _about(self, key: str, place: int) -> list[float | None]:
        found: list[float | None] = []
        for _, _, known in self._maps:
            bits = known[key].per_class if key in known else None
            found.append(None if bits is None or place >= len(bits) else number(bits[place], 3))
        return found

    def json(self) -> dict[str, Any]:
        """Content of maps.json: every map in the order of the default view; also the marker by
        which a gallery is known."""
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "model": {key: plain_name(value) for key, value in self._info["model"].items()},
            "classes": self.classes,
            "layers": self._layers,
            "maps": [
                {
                    "layer": self._layers[place]["layer"],
                    "index": self._layers[place]["index"],
                    "map": entry.map,
                    "objective": entry.objective,
                    "verdict": entry.verdict,
                    **{key: entry.evidence.get(key) for key in _EVIDENCE},
                    "redundancy": entry.redundancy,
                    "information": [
                        {
                            "estimator": key,
                            "unit": "bits",
                            **{name: getattr(one, name) for name in _NUMBERS},
                            "saturated": one.saturated,
                            "best_class": self._class(one.best),
                        }
                        for key, one in known.items()
                    ],
                }
                for place, entry, known in self._maps
            ],
        }

    def csv(self) -> str:
        """The same as a table, one row a map."""
        columns = ["layer", "index", "map", "objective", "verdict", *_EVIDENCE, "redundancy"]
        for key in self._estimators:
            columns += [f"{key} {_with_unit(name)}" for name in _NUMBERS]
            columns += [f"{key} saturated", f"{key} best class"]
        return table(columns, (self._row(*one) for one in self._maps))

    def _row(self, place: int, entry: MapEntry, known: dict[str, Information]) -> list[Any]:
        layer = self._layers[place]
        cells = [layer["layer"], layer["index"], entry.map, entry.objective, entry.verdict]
        cells += [entry.evidence.get(key) for key in _EVIDENCE]
        cells.append(entry.redundancy)
        for key in self._estimators:
            one = known.get(key)
            if one is None:
                cells += [None] * (len(_NUMBERS) + 2)
            else:
                cells += [getattr(one, name) for name in _NUMBERS]
                cells += [one.saturated, self._class(one.best)]
        return cells

    def _class(self, place: int | None) -> str | None:
        if place is None:
            return None
        return self.classes[place] if place < len(self.classes) else str(place)


def _is_open(entry: MapEntry) -> bool:
    """An OIP that might still have grown."""
    return entry.verdict not in (None, "dead", "failed") and not entry.evidence["converged"]


def _thousandths(bits: float | None) -> int | None:
    return None if bits is None else round(1000 * round(bits, 3))


def _between(end: float | None, middle: int | None, side: int) -> int | None:
    """How far an end of an interval is from its middle."""
    return None if end is None or middle is None else side * (round(1000 * end) - middle)


def _with_unit(name: str) -> str:
    return f"{name} (bits)" if name in ("mi", "low", "high") else name
