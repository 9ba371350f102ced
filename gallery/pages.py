"""The pages that need no script: index.html, about.html, model.html, the layers' pages."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import ClassVar

import jinja2
import msgspec
import numpy as np
from jinja2.bccache import Bucket

from oip.ascent.results import VERDICT_MEANINGS, shown_verdict
from oip.ascent.settings import current_names
from oip.core.formats import ARRAYS, LayerRecord, RunFile, TrainingRecordFile
from oip.core.units import ABOVE_NULL, of_noun
from oip.gallery.cache import Store
from oip.gallery.charts import box_chart, distribution, plane_chart
from oip.gallery.escape import PageValues, plain_lines, plain_name, rounded, shown_bits
from oip.gallery.images import MapImages, redundancy_picture, webp
from oip.gallery.map_table import PER_PAGE
from oip.gallery.prune_advice import prune_advice
from oip.gallery.read_run import ABOUT, EstimatorColumn, LayerEntry, MapEntry
from oip.gallery.rerun_command import rerun_command
from oip.gallery.verdict_text import NO_OIP, patience_of, percent_text

_MOST_PAIRS = 8
_MOST_SHOWN = 12
_MOST_BOXES = 12
WritePicture = Callable[[str, np.ndarray], None]
"""Takes a name without ending and a picture, (h, w, 3) uint8."""


def layer_overview(layer: LayerEntry, write_picture: WritePicture) -> PageValues:
    """Return everything that a layer's page shows.

    Args:
        write_picture: receives the picture of the redundancies.
    """
    counts = Counter(entry.verdict or "no OIP" for entry in layer.maps)
    return {
        "index": layer.index,
        "layer": layer.name,
        "facts": _facts(layer),
        "about": ABOUT.get(layer.about),
        "noun": layer.info.noun,
        "notices": notices(layer),
        "verdicts": [
            {"word": word, "count": counts[word], "share": counts[word] / len(layer.maps)}
            for word in (*VERDICT_MEANINGS, "no OIP")
            if counts[word]
        ],
        "best": [entry.map for entry in layer.maps if entry.row is not None][:_MOST_SHOWN],
        "objectives": {entry.map: entry.objective for entry in layer.maps if entry.objective},
        "measures": [_measure(layer, position) for position in range(len(layer.estimators))],
        "redundancy": _redundancy(layer, write_picture),
        "training": _training(layer),
        "pruning": [
            {
                "text": reason.text,
                "maps": [
                    {"map": map_index, "substitute": reason.substitutes.get(map_index)}
                    for map_index in reason.maps
                ],
            }
            for reason in prune_advice(layer)
        ],
        "can_suggest": bool(layer.estimators or layer.evidence.redundancy),
    }


def model_overview(layers: Sequence[LayerEntry], record: TrainingRecordFile | None) -> PageValues:
    """Return information by depth, and the information plane where training was recorded.

    Args:
        layers: as they are shown, deepest first.
    """
    shallow_first = sorted(layers, key=lambda layer: layer.index)
    columns: dict[tuple[str, str], EstimatorColumn] = {}
    for layer in shallow_first:
        for column in layer.estimators:
            columns.setdefault((column.key, layer.subject), column)
    several = len({subject for _, subject in columns}) > 1
    panels = []
    for (key, subject), column in columns.items():
        groups = [
            (layer.name, _bits(layer, key) if layer.subject == subject else [])
            for layer in shallow_first
        ]
        chart = box_chart(groups, column.unit)
        if chart is not None:
            panels.append(
                {
                    "key": key,
                    "label": column.label,
                    "about": f" about {subject}" if several and subject else "",
                    "unit": column.unit,
                    "held_out": column.held_out,
                    "chart": chart,
                    "rows": [_quartiles(name, values) for name, values in groups if values],
                }
            )
    return {"panels": panels, "plane": _plane(record)}


def _plane(record: TrainingRecordFile | None) -> PageValues | None:
    if record is None:
        return None
    ceilings = (rounded(record.input_ceiling), rounded(record.label_ceiling))
    paths = [
        (
            plain_name(layer.layer),
            [rounded(value) for value in layer.input],
            [rounded(value) for value in layer.label],
        )
        for layer in record.layers
    ]
    chart = plane_chart(paths, record.steps, ceilings)
    if chart is None:
        return None
    return {
        "chart": chart,
        "label": plain_name(record.name_shown or record.estimator),
        "samples": record.samples,
        "split": plain_name(record.split),
    }


def notices(layer: LayerEntry) -> list[str]:
    """Return the notices of a layer's ranking."""
    return [*layer.notices, *(text for column in layer.estimators for text in column.notices)]


def times(values: Sequence[float] | None) -> str:
    """Return sides such as `3 × 3`."""
    return " × ".join(plain_name(value) for value in values) if values else "unknown"


def _facts(layer: LayerEntry) -> list[tuple[str, str]]:
    info = layer.info
    count = len(layer.maps)
    maps = info.maps
    if info.objectives:
        return [("Objectives", str(count)), *_legibility(layer)]
    has_nodes = bool(info.size) or info.kind == "maps"
    field = "everything" if info.sees_everything else _sides(info.receptive_field)
    nodes = "Nodes of a map" if info.kind == "maps" else "Nodes"
    nodes = "Tokens" if info.kind in ("tokens", "heads") else nodes
    return [
        ("Kind", plain_name(info.layer_class or "unknown")),
        (f"{info.noun.capitalize()}s", f"{count} of {maps} shown" if count != maps else str(maps)),
        *([(nodes, times(info.size))] * has_nodes),
        ("Receptive field", field),
        *([("Jump", _sides(info.jump))] * bool(info.jump or info.kind == "maps")),
        *_legibility(layer),
    ]


def _field(info: LayerRecord) -> str:
    return "everything" if info.sees_everything else times(info.receptive_field)


def _legibility(layer: LayerEntry) -> list[tuple[str, str]]:
    """Return the mean legibility of a layer, where it was judged."""
    record = layer.evidence.legibility
    if record is None or record.mean() is None:
        return []
    share, best, control_text = map(
        percent_text, map(record.mean, ("share", "reference", "control"))
    )
    control = f"other {layer.info.noun}s {control_text}"
    text = f"{share} of choices right (best images {best}, {control}, chance 50 %)"
    return [("Legibility", f"{text}, judge {plain_name(record.judge)}")]


def _sides(values: Sequence[float] | None) -> str:
    unit = "px" if values and len(values) > 1 else "samples"
    return f"{times(values)} {unit}" if values else "unknown"


def _is_ordered(layer: LayerEntry) -> bool:
    """Return whether the first estimator orders a layer; not where too many are at the ceiling."""
    return bool(layer.estimators) and layer.estimators[0].ordered


def _bits(layer: LayerEntry, key: str) -> list[float]:
    positions = [position for position, column in enumerate(layer.estimators) if column.key == key]
    if not positions:
        return []
    estimates = (entry.information[positions[0]] for entry in layer.maps)
    return [estimate.mi for estimate in estimates if estimate and estimate.mi is not None]


def _quartiles(name: str, values: Sequence[float]) -> PageValues:
    quartiles = np.percentile(values, [0, 25, 50, 75, 100])
    return {"layer": name, "maps": len(values), "bits": [f"{value:z.2f}" for value in quartiles]}


def _measure(layer: LayerEntry, position: int) -> PageValues:
    column = layer.estimators[position]
    estimates = [entry.information[position] for entry in layer.maps]
    finite = [
        estimate for estimate in estimates if estimate is not None and estimate.mi is not None
    ]
    tested = [estimate.p_adjusted for estimate in finite if estimate.p_adjusted is not None]
    return {
        "key": column.key,
        "label": column.label,
        "ordered": column.ordered,
        "samples": column.samples,
        "split": "" if column.split == ARRAYS else column.split,
        "chart": distribution(
            [estimate.mi for estimate in finite if estimate.mi is not None],
            column.ceiling,
            layer.info.noun,
            column.unit,
        ),
        "above": sum(p <= ABOVE_NULL for p in tested) if tested else None,
        "count": len(finite),
        "saturated": sum(estimate.saturated for estimate in finite),
    }


def _redundancy(layer: LayerEntry, write_picture: WritePicture) -> PageValues | None:
    redundancy = layer.evidence.redundancy
    if redundancy is None or len(redundancy.maps) < 2:
        return None
    picture, order, (low, high) = redundancy_picture(redundancy)
    name = f"img/redundancy/{layer.index:03d}"
    write_picture(name, picture)
    shared = np.triu(np.nan_to_num(redundancy.shared, nan=-np.inf), 1)
    shared[np.tril_indices(len(shared))] = -np.inf
    positions = np.argsort(-shared, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = [np.unravel_index(int(position), shared.shape) for position in positions]
    grown = {entry.map for entry in layer.maps if entry.row is not None}
    return {
        "picture": f"{name}.webp",
        "height": picture.shape[0],
        "width": picture.shape[1],
        "measure": plain_name(redundancy.names[0]),
        "unit": plain_name(redundancy.units[0]),
        "low": f"{low:z.2f}",
        "high": f"{high:z.2f}",
        "maps": len(order),
        "pairs": [
            {
                "maps": [int(redundancy.maps[first]), int(redundancy.maps[second])],
                "pictures": {int(redundancy.maps[first]), int(redundancy.maps[second])} <= grown,
                "value": f"{shared[first, second]:z.2f}",
            }
            for first, second in pairs
            if np.isfinite(shared[first, second])
        ],
    }


def _training(layer: LayerEntry) -> PageValues | None:
    """Return quartiles of the maps' information over training."""
    record = layer.evidence.record
    if record is None or not len(record.steps):
        return None
    count = len(record.steps)
    steps = np.unique(np.linspace(0, count - 1, min(count, _MOST_BOXES)).astype(int))
    return box_chart([(str(int(record.steps[step])), record.label[step]) for step in steps])


def remarks(entry: MapEntry) -> list[str]:
    """Return remarks that qualify a map's numbers."""
    information = entry.first_information
    possible = (
        ("not above null", information is not None and information.below_null),
        ("saturated", information is not None and information.saturated),
        ("not converged", entry.not_converged),
    )
    return [text for text, holds in possible if holds]


@dataclass(frozen=True)
class FolderLinks:
    """Links of a page that lies `depth` folders deep in a gallery."""

    depth: int
    single: bool = False

    @property
    def root(self) -> str:
        """The path to the gallery's folder."""
        return "../" * self.depth

    def source(self, name: str) -> str:
        """Return the address of an image file."""
        return self.root + name

    def grid(self, fragment: str = "") -> str:
        """Return the address of the grid in a state."""
        return f"{self.root}index.html{'#' if fragment else ''}{fragment}"

    def layer(self, index: int) -> str:
        """Return the address of a layer's page."""
        return f"{self.root}layers/{index:03d}.html"

    def tiles(self, index: int, page: int) -> str:
        """Return the address of a page of a layer's tiles."""
        return f"{self.root}layers/{index:03d}-p{page}.html"


@dataclass(frozen=True)
class SingleLinks:
    """Links within one file; images are part of the page."""

    folder: Path
    single: bool = True

    def source(self, name: str) -> str:
        """Return an image as a data address."""
        return data_address(self.folder / name)

    def grid(self, fragment: str = "") -> str:
        """Return the address of the grid in a state."""
        return f"#{fragment}"

    def layer(self, index: int) -> str:
        """Return the address of a layer's grid: its page is a part of this one."""
        return f"#layer={index}"

    def tiles(self, index: int, page: int) -> str:
        """Return the address of a layer's grid."""
        return f"#layer={index}"


Links = FolderLinks | SingleLinks


def data_address(path: Path) -> str:
    """Return a WebP file as an address that holds its content."""
    return f"data:image/webp;base64,{base64.b64encode(path.read_bytes()).decode()}"


POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy of every page of a folder."""


class _CompiledTemplates(jinja2.BytecodeCache):
    """The templates that this process has compiled."""

    _codes: ClassVar[dict[tuple[str, str], CodeType]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code is not None:
            self._codes[bucket.key, bucket.checksum] = bucket.code


def templates() -> jinja2.Environment:
    """Return the templates of all pages."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        bytecode_cache=_CompiledTemplates(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["verdict"] = shown_verdict
    return environment


class Pages:
    """The HTML pages of a gallery; layers are added one by one."""

    def __init__(
        self, store: Store, run: RunFile, run_name: str, classes: list[str], citation: str
    ):
        """Prepare the pages; `citation` is the BibTeX of the methods of the run."""
        self._store = store
        self._citation = plain_lines(citation)
        self._run = run
        self._run_name = run_name
        self._classes = classes
        self._layers: list[PageValues] = []
        self._tiles: list[PageValues] = []
        self._templates = templates()
        model = plain_name(run.model.name)
        self.title = plain_name(store.title) or model
        """Heading of the pages."""
        names = {"model": model, "run": plain_name(run_name), "title": self.title}
        self._templates.globals.update(names)

    def add(self, layer: LayerEntry, images: MapImages) -> None:
        """Add a layer and write its pages."""
        count = -(-len(layer.maps) // PER_PAGE)
        for page in range(count):
            entries = layer.maps[page * PER_PAGE : (page + 1) * PER_PAGE]
            page_values = {
                "layer": layer.name,
                "index": layer.index,
                "page": page + 1,
                "pages": count,
                "noun": layer.info.noun,
                "size": images.tile,
                "shown": [self._line(layer, entry) for entry in entries],
                "measure": layer.estimators[0].label if layer.estimators else None,
                "unit": layer.estimators[0].unit if layer.estimators else None,
                "ordered": _is_ordered(layer),
                "about": layer.about,
                "notices": notices(layer),
            }
            self._tiles.append(page_values)
            self._write(f"layers/{layer.index:03d}-p{page + 1}.html", "tiles.html", **page_values)
        page_values = self._layer_values(layer, count)
        page_values["overview"] = layer_overview(layer, self._picture) | {"size": images.tile}
        self._layers.append(page_values)
        self._write(f"layers/{layer.index:03d}.html", "layer.html", **page_values)

    def write_rest(self, layers: Sequence[LayerEntry], record: TrainingRecordFile | None) -> None:
        """Write index.html, model.html and about.html.

        Args:
            layers: all of them, as they are shown.
        """
        self._model = model_overview(layers, record)
        for name in ("index", "model", "about"):
            self._write(f"{name}.html", f"{name}.html", **self.page_values())

    def page_values(self) -> PageValues:
        """Return the values for the pages of the whole gallery."""
        run = self._run
        verdicts = sum((layer["verdicts"] for layer in self._layers), Counter())
        data = run.data
        nouns = {layer["noun"] for layer in self._layers if not layer["objective"]}
        nouns = nouns or {"objective"}
        noun = nouns.pop() if len(nouns) == 1 else "unit"
        meanings = {**VERDICT_MEANINGS, "no OIP": NO_OIP}
        return {
            "line": self._model_line(),
            "noun": noun,
            "overview": self._model,
            "digest": plain_name(run.model.sha256),
            "accuracy": rounded(run.accuracy),
            "origin": "a given image" if run.settings.start else "noise",
            "candidates": _candidates(run),
            "data": plain_name(data.source) if data is not None else None,
            "images": data.images if data is not None else None,
            "classes": self._classes,
            "inputs": {
                plain_name(key): _value_text(value)
                for key, value in msgspec.to_builtins(run.input).items()
                if value is not False
            },
            "settings": {
                plain_name(name): _flat(value) for name, value in _current_settings(run).items()
            },
            "versions": {plain_name(key): plain_name(value) for key, value in run.versions.items()},
            "citation": self._citation,
            "layers": self._layers,
            "tiles": self._tiles,
            "columns": [word for word in (*VERDICT_MEANINGS, "no OIP") if verdicts[word]],
            "patience": patience_of(run),
            "meanings": {word: of_noun(text, noun) for word, text in meanings.items()},
        }

    def rendered(self, template: str, links: Links, **values: object) -> str:
        """Return a page as text."""
        context = {"policy": POLICY, "to": links, **values}
        return self._templates.get_template(template).render(**context)

    def _layer_values(self, layer: LayerEntry, pages: int) -> PageValues:
        return {
            "index": layer.index,
            "layer": layer.name,
            "class": plain_name(layer.info.layer_class),
            "maps": layer.info.maps,
            "shown": len(layer.maps),
            "objective": layer.info.objectives is not None,
            "noun": layer.info.noun,
            "about": ABOUT.get(layer.about) if layer.estimators else "",
            "pages": pages,
            "field": _field(layer.info),
            "verdicts": Counter(entry.verdict or "no OIP" for entry in layer.maps),
            "failed": [entry.map for entry in layer.maps if entry.verdict == "failed"],
            "estimators": layer.estimators,
            "has_tags": layer.has_tags,
            "notices": notices(layer),
            "command": rerun_command(self._run, self._run_name, layer.info, layer.maps[0].map),
        }

    def _line(self, layer: LayerEntry, entry: MapEntry) -> PageValues:
        information = entry.first_information
        best = None if information is None else information.best
        if best is not None:
            best = self._classes[best] if best < len(self._classes) else str(best)
        unit = layer.estimators[0].unit if layer.estimators else ""
        return {
            "map": entry.map,
            "noun": layer.info.noun,
            "unit": f" {unit}" if unit else "",
            "objective": entry.objective,
            "picture": entry.row is not None,
            "verdict": entry.verdict or "no OIP",
            "rank": information.rank if information and _is_ordered(layer) else None,
            "bits": None if information is None else shown_bits(information.mi),
            "low": None if information is None else shown_bits(information.low),
            "high": None if information is None else shown_bits(information.high),
            "best": best,
            "legible": percent_text(entry.legibility.share)
            if entry.legibility is not None and entry.legibility.share is not None
            else None,
            "remarks": remarks(entry),
        }

    def _model_line(self) -> str:
        """Return the model's line under the title."""
        data, accuracy = self._run.data, rounded(self._run.accuracy)
        is_named = data is not None and data.source.partition(":")[0] != ARRAYS
        texts = [plain_name(data.source)] if data is not None and is_named else []
        if accuracy is not None:
            texts.append(f"accuracy {100 * accuracy:.3g} %")
        return " · ".join(texts)

    def _picture(self, name: str, picture: np.ndarray) -> None:
        self._store.write(f"{name}.webp", webp(picture, lossless=True))

    def _write(self, path: str, template: str, **values: object) -> None:
        links = FolderLinks(path.count("/"))
        self._store.write(path, self.rendered(template, links, **values))


def _current_settings(run: RunFile) -> PageValues:
    """Return the settings of a run under the names that they have today."""
    settings = msgspec.to_builtins(run.settings)
    if run.settings.data is not None:
        settings["data"] = run.settings.data.source or "none"
    grown = settings.get("reconstruct")
    return settings if grown is None else {**settings, "reconstruct": current_names(grown)}


def _candidates(run: RunFile) -> list[str]:
    """Return the presets of which the most legible one was kept for each unit, if several were."""
    best, _, names = (run.settings.preset or "").partition(":")
    return [plain_name(name) for name in names.split(",")] if best == "best" and names else []


def _flat(value: object) -> dict[str, str]:
    if isinstance(value, dict):
        return {plain_name(key): _value_text(setting, "none") for key, setting in value.items()}
    return {"": _value_text(value, "none")}


def _value_text(value: object, if_missing: str = "not known") -> str:
    """Return a value as text; settings within settings as `name value`, deeper ones in brackets."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        triples = (
            (plain_name(key), item, _value_text(item, if_missing)) for key, item in value.items()
        )
        return ", ".join(
            f"{key} ({text})" if isinstance(item, dict) else f"{key} {text}"
            for key, item, text in triples
        )
    if isinstance(value, list | tuple):
        return ", ".join(_value_text(item, if_missing) for item in value)
    return if_missing if value is None else plain_name(value)
