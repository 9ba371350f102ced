"""The pages that need no script: index.html, the layers' pages, about.html."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import jinja2

from gallery.catalogue import PER_PAGE, Catalogue
from gallery.images import MapImages
from gallery.layers import ABOVE_NULL, LayerEntry, MapEntry
from gallery.text import number, plain_name
from gallery.words import MEANINGS, NO_OIP, command

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy of every page."""


class Pages:
    """Writes the pages; gathers for about.html while the layers go by."""

    def __init__(self, folder: Path, info: dict[str, Any], run_name: str, classes: list[str]):
        self._folder = folder
        self._info = info
        self._run_name = run_name
        self._classes = classes
        self._told: list[dict[str, Any]] = []
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            policy=POLICY, model=plain_name(info["model"]["name"]), run=plain_name(run_name)
        )

    def add(self, layer: LayerEntry, images: MapImages) -> None:
        """Writes a layer's pages and remembers what about.html says of it."""
        height, width = images.tile
        count = -(-len(layer.maps) // PER_PAGE)
        for page in range(count):
            part = layer.maps[page * PER_PAGE : (page + 1) * PER_PAGE]
            self._write(
                f"layers/{layer.index:03d}-p{page + 1}.html",
                "layer.html",
                layer=layer.name,
                index=layer.index,
                page=page + 1,
                pages=count,
                width=width,
                height=height,
                shown=[self._line(layer, entry) for entry in part],
                measure=layer.estimators[0].label if layer.estimators else None,
                notices=_notices(layer),
            )
        verdicts = Counter(entry.verdict or "no OIP" for entry in layer.maps)
        known = {"class": "", "maps": len(layer.maps), "receptive_field": None, **layer.info}
        self._told.append(
            {
                "index": layer.index,
                "layer": layer.name,
                "class": plain_name(known["class"]),
                "maps": plain_name(known["maps"]),
                "shown": len(layer.maps),
                "pages": count,
                "field": _times(known["receptive_field"]),
                "verdicts": verdicts,
                "failed": [one.map for one in layer.maps if one.verdict == "failed"],
                "estimators": layer.estimators,
                "notices": _notices(layer),
                "again": command(self._info, self._run_name, layer.info, layer.maps[0].map),
            }
        )

    def write_index(self, catalogue: Catalogue) -> None:
        """Writes index.html."""
        self._write(
            "index.html", "index.html", layers=self._told, count=catalogue.count, line=self._line_of
        )

    def write_about(self) -> None:
        """Writes about.html."""
        info = self._info
        verdicts = sum((layer["verdicts"] for layer in self._told), Counter())
        data = info.get("data") or {}
        inputs = info.get("input") or {}
        self._write(
            "about.html",
            "about.html",
            digest=plain_name(info["model"].get("sha256", "")),
            accuracy=number(info.get("accuracy")),
            data=plain_name(data["source"]) if data.get("source") else None,
            images=data.get("images"),
            classes=self._classes,
            inputs={plain_name(key): _shown(value) for key, value in inputs.items()},
            settings={
                plain_name(name): _flat(value)
                for name, value in (info.get("settings") or {}).items()
            },
            versions={
                plain_name(key): plain_name(value)
                for key, value in (info.get("versions") or {}).items()
            },
            layers=self._told,
            columns=[word for word in (*MEANINGS, "no OIP") if verdicts[word]],
            meanings={**MEANINGS, "no OIP": NO_OIP},
        )

    def _line(self, layer: LayerEntry, entry: MapEntry) -> dict[str, Any]:
        first = entry.first
        best = None if first is None or first.best is None else first.best
        return {
            "map": entry.map,
            "picture": entry.row is not None,
            "verdict": entry.verdict or "no OIP",
            "rank": first.rank if first else None,
            "bits": None if first is None or first.mi is None else f"{first.mi:.2f}",
            "low": None if first is None or first.low is None else f"{first.low:.2f}",
            "high": None if first is None or first.high is None else f"{first.high:.2f}",
            "best": None if best is None else self._class(best),
            "remarks": remarks(entry),
        }

    def _class(self, place: int) -> str:
        return self._classes[place] if place < len(self._classes) else str(place)

    def _line_of(self) -> str:
        """The model's line under the title."""
        data = (self._info.get("data") or {}).get("source")
        accuracy = number(self._info.get("accuracy"))
        parts = [plain_name(data)] if data else []
        if accuracy is not None:
            parts.append(f"accuracy {100 * accuracy:.3g} %")
        return " · ".join(parts)

    def _write(self, path: str, template: str, **values: Any) -> None:
        text = self._templates.get_template(template).render(**values)
        (self._folder / path).write_text(text, "utf-8")


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


def _notices(layer: LayerEntry) -> list[str]:
    return [*layer.notices, *(text for one in layer.estimators for text in one.notices)]


def _times(values: Any) -> str:
    return " × ".join(_shown(value) for value in values) if values else "unknown"


def _flat(value: Any) -> dict[str, str]:
    if isinstance(value, dict):
        return {plain_name(key): _shown(one) for key, one in value.items()}
    return {"": _shown(value)}


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_shown(one) for one in value)
    return "not known" if value is None else plain_name(value)
