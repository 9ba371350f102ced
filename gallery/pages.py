"""The pages that need no script: index.html, about.html, model.html, the layers' pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from gallery.again import command
from gallery.catalogue import PER_PAGE
from gallery.images import MapImages
from gallery.layers import LayerEntry, MapEntry
from gallery.links import FolderLinks, Links
from gallery.overview import layer_overview, model_overview, notices, remarks, times
from gallery.pictures import webp
from gallery.store import Store
from gallery.text import number, plain_lines, plain_name
from gallery.words import MEANINGS, NO_OIP, patience_of

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy of every page of a folder."""


class Pages:
    """What the pages say, gathered while the layers go by; writes them as files of a folder."""

    def __init__(
        self,
        store: Store,
        info: dict[str, Any],
        run_name: str,
        classes: list[str],
        citation: str,
    ):
        """`citation`: BibTeX of what made the run."""
        self._store = store
        self._citation = plain_lines(citation)
        self._info = info
        self._run_name = run_name
        self._classes = classes
        self._layers: list[dict[str, Any]] = []
        self._tiles: list[dict[str, Any]] = []
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            model=plain_name(info["model"]["name"]), run=plain_name(run_name)
        )

    def add(self, layer: LayerEntry, images: MapImages) -> None:
        """Takes a layer over and writes its pages."""
        count = -(-len(layer.maps) // PER_PAGE)
        for page in range(count):
            part = layer.maps[page * PER_PAGE : (page + 1) * PER_PAGE]
            told = {
                "layer": layer.name,
                "index": layer.index,
                "page": page + 1,
                "pages": count,
                "size": images.tile,
                "shown": [self._line(entry) for entry in part],
                "measure": layer.estimators[0].label if layer.estimators else None,
                "notices": notices(layer),
            }
            self._tiles.append(told)
            self._write(f"layers/{layer.index:03d}-p{page + 1}.html", "tiles.html", **told)
        told = self._told(layer, count)
        told["overview"] = layer_overview(layer, self._picture) | {"size": images.tile}
        self._layers.append(told)
        self._write(f"layers/{layer.index:03d}.html", "layer.html", **told)

    def write_rest(self, layers: Sequence[LayerEntry], record: dict[str, Any] | None) -> None:
        """Writes index.html, model.html and about.html.

        Args:
            layers: all of them, as they are shown.
            record: what record/record.json says.
        """
        self._model = model_overview(layers, record)
        for name in ("index", "model", "about"):
            self._write(f"{name}.html", f"{name}.html", **self.everything())

    def everything(self) -> dict[str, Any]:
        """What the pages of the whole gallery are told."""
        info = self._info
        verdicts = sum((layer["verdicts"] for layer in self._layers), Counter())
        data = info.get("data") or {}
        return {
            "line": self._line_of(),
            "overview": self._model,
            "digest": plain_name(info["model"].get("sha256", "")),
            "accuracy": number(info.get("accuracy")),
            "data": plain_name(data["source"]) if data.get("source") else None,
            "images": data.get("images"),
            "classes": self._classes,
            "inputs": {
                plain_name(key): _shown(value) for key, value in (info.get("input") or {}).items()
            },
            "settings": {
                plain_name(name): _flat(value)
                for name, value in (info.get("settings") or {}).items()
            },
            "versions": {
                plain_name(key): plain_name(value)
                for key, value in (info.get("versions") or {}).items()
            },
            "citation": self._citation,
            "layers": self._layers,
            "tiles": self._tiles,
            "columns": [word for word in (*MEANINGS, "no OIP") if verdicts[word]],
            "patience": patience_of(info),
            "meanings": {**MEANINGS, "no OIP": NO_OIP},
        }

    def rendered(self, template: str, links: Links, **values: Any) -> str:
        """A page as text."""
        told = {"policy": POLICY, "to": links, **values}
        return self._templates.get_template(template).render(**told)

    def _told(self, layer: LayerEntry, pages: int) -> dict[str, Any]:
        known = {"class": "", "maps": len(layer.maps), "receptive_field": None, **layer.info}
        return {
            "index": layer.index,
            "layer": layer.name,
            "class": plain_name(known["class"]),
            "maps": plain_name(known["maps"]),
            "shown": len(layer.maps),
            "pages": pages,
            "field": times(known["receptive_field"]),
            "verdicts": Counter(entry.verdict or "no OIP" for entry in layer.maps),
            "failed": [one.map for one in layer.maps if one.verdict == "failed"],
            "estimators": layer.estimators,
            "notices": notices(layer),
            "again": command(self._info, self._run_name, layer.info, layer.maps[0].map),
        }

    def _line(self, entry: MapEntry) -> dict[str, Any]:
        first = entry.first
        best = None if first is None or first.best is None else first.best
        return {
            "map": entry.map,
            "objective": entry.objective,
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

    def _picture(self, name: str, picture: np.ndarray) -> None:
        self._store.write(f"{name}.webp", webp(picture, lossless=True))

    def _write(self, path: str, template: str, **values: Any) -> None:
        links = FolderLinks(path.count("/"))
        self._store.write(path, self.rendered(template, links, **values))


def _flat(value: Any) -> dict[str, str]:
    if isinstance(value, dict):
        return {plain_name(key): _shown(one, "none") for key, one in value.items()}
    return {"": _shown(value, "none")}


def _shown(value: Any, nothing: str = "not known") -> str:
    """A value in words; settings in settings as `name value`, in brackets where they lie deeper."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        parts = ((plain_name(key), one, _shown(one, nothing)) for key, one in value.items())
        return ", ".join(
            f"{key} ({told})" if isinstance(one, dict) else f"{key} {told}"
            for key, one, told in parts
        )
    if isinstance(value, list | tuple):
        return ", ".join(_shown(one, nothing) for one in value)
    return nothing if value is None else plain_name(value)
