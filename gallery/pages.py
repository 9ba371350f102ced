"""The pages that need no script: index.html, about.html, model.html, the layers' pages."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from oip.gallery.cache import Store
from oip.gallery.charts import boxes, distribution, plane
from oip.gallery.escape import number, plain_lines, plain_name
from oip.gallery.images import MapImages, matrix_picture, webp
from oip.gallery.map_table import PER_PAGE
from oip.gallery.prune_advice import suggestion
from oip.gallery.read_run import ABOVE_NULL, Estimator, LayerEntry, MapEntry
from oip.gallery.rerun_command import command
from oip.gallery.verdict_text import MEANINGS, NO_OIP, patience_of

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


@dataclass(frozen=True)
class FolderLinks:
    """Links of a page that lies `depth` folders deep in a gallery."""

    depth: int
    single: bool = False

    @property
    def root(self) -> str:
        """The way to the gallery's folder."""
        return "../" * self.depth

    def source(self, name: str) -> str:
        """An image file's address."""
        return self.root + name

    def grid(self, fragment: str = "") -> str:
        """The grid in a state."""
        return f"{self.root}index.html{'#' if fragment else ''}{fragment}"

    def layer(self, index: int) -> str:
        """A layer's page."""
        return f"{self.root}layers/{index:03d}.html"

    def tiles(self, index: int, page: int) -> str:
        """A page of a layer's tiles."""
        return f"{self.root}layers/{index:03d}-p{page}.html"


@dataclass(frozen=True)
class SingleLinks:
    """Links within one file; images are part of the page."""

    folder: Path
    single: bool = True

    def source(self, name: str) -> str:
        """An image as a data address."""
        return data_address(self.folder / name)

    def grid(self, fragment: str = "") -> str:
        """The grid in a state."""
        return f"#{fragment}"

    def layer(self, index: int) -> str:
        """The grid of a layer: its page is a part of this one."""
        return f"#layer={index}"

    def tiles(self, index: int, page: int) -> str:
        """The grid of a layer."""
        return f"#layer={index}"


Links = FolderLinks | SingleLinks


def data_address(path: Path) -> str:
    """A WebP file as an address that holds its content."""
    return f"data:image/webp;base64,{base64.b64encode(path.read_bytes()).decode()}"


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
