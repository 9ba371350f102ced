"""What there is to show of a run's layer: its OIPs and its ranking, map by map, in order.

What the gallery reads beside OIPs and ranking: each file is shown where it is there.

This page is the definition of the files. All of them say `schema` 1. Information is in bits; a
number that is not known is null in JSON and NaN in an array. Files may leave out maps, and
everything that is called optional. JSON:

`layers/NNN/kernels.json`, the 2-D kernels (input channel -> map) of some maps, each map's best
first:

    {"schema": 1,
     "estimator": "kde", "name_shown": str, "samples": int, "split": str, "ceiling": bits or null,
     "maps": [{"map": int,
               "of": int,                        how many kernels the map has
               "kernels": [{"input": int,        the input channel
                            "mi": bits,          partial response and label
                            "low": bits, "high": bits, "p_adjusted": number,    optional
                            "with_map": bits,    partial response and the map's; optional
                            "weights": [[number, ...], ...]}, ...]}, ...]}      optional, rows

`layers/NNN/ablation.json`, what the loss gains when a map is silenced:

    {"schema": 1,
     "samples": int, "split": str,
     "loss": bits, "accuracy": share,            of the whole model
     "maps": [{"map": int,
               "loss_increase": bits,
               "low": bits, "high": bits,        95 % interval; optional
               "accuracy_drop": share}, ...]}    optional

`record/record.json`, layers during training, one number for each of its steps:

    {"schema": 1,
     "estimator": str, "name_shown": str, "samples": int, "split": str,
     "label_ceiling": bits or null, "input_ceiling": bits or null,
     "steps": [int, ...],                        batches done
     "accuracy": [share, ...],                   optional
     "layers": [{"index": int, "layer": str,
                 "input": [bits, ...],           I(X;T), null where it was not asked for
                 "label": [bits, ...]}, ...]}    I(T;Y)

Arrays, of m maps:

`layers/NNN/redundancy.npz`, how much pairs of maps share, by r measures:

    maps   (m,) int           the maps' numbers
    names  (r,) str           the measures; the first one gives order and neighbours
    units  (r,) str           "bits", or "" for a coefficient
    pairs  (r, m, m) float    symmetric; the diagonal is a map's own value (its entropy, or 1)

`layers/NNN/softmax.npz`, the model's output for the best start at the input's own mean and
deviation:

    maps           (m,) int
    probabilities  (m, classes) float

`layers/NNN/responses.npz`, as `Run.responses` documents it (it has no schema).

`record/layer-NNN.npz`, maps during training:

    maps   (m,) int
    steps  (t,) int
    label  (t, m) float       bits of the map's response about the label

`ranking.json` may say more of a map than its total: `raw` (bits, before an estimate under 0 is
shown as 0), and `per_class_low`, `per_class_high`, `per_class_p` (adjusted), lists like
`per_class`.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.ascent.results import PER_MAP, SHARED, Oips, joined
from oip.core import files
from oip.core.errors import RunError, expected
from oip.gallery.escape import number, plain_name, whole
from oip.run.run import Run

if TYPE_CHECKING:
    from oip.ascent.results import Oips

PICTURES = ("images", "snapshots")
"""What `numbers` leaves out."""


@dataclass(frozen=True)
class Block:
    """A shard of a layer."""

    layer: int
    number: int
    path: Path
    maps: tuple[int, ...]
    content: str
    """Changes with the shard's content."""

    @property
    def name(self) -> str:
        """Its name among all blocks."""
        return f"{self.layer:03d}-{self.number:04d}"


def read_numbers(run: Run, index: int) -> tuple[Oips | None, tuple[Block, ...]]:
    """All that a layer's shards say but for images and snapshots, which have no pixels here.

    Raises:
        RunError: a damaged shard.
    """
    parts, blocks = [], []
    for path in run.shards(index):
        number = int(path.stem.rpartition("-")[2])
        part = _numbers(path)
        maps = tuple(part.maps.tolist())
        blocks.append(Block(index, number, path, maps, _content(path)))
        parts.append(part)
    return (joined(parts) if parts else None), tuple(blocks)


def best_images(block: Block) -> np.ndarray:
    """(m, h, w, b) float16: the best start of each map of a block.

    Raises:
        RunError: a damaged shard.
    """
    with _archive(block.path) as archive:
        return archive["images"][:, 0]


def _numbers(path: Path) -> Oips:
    with _archive(path) as archive:
        names = {*SHARED, *PER_MAP}.difference(PICTURES).intersection(archive.files)
        values: dict[str, Any] = {name: _plain(archive[name]) for name in names}
        count = len(values["maps"])
        if any(values[name].shape[:1] != (count,) for name in names.intersection(PER_MAP)):
            raise RunError(expected(f"'{path}'", "arrays of one length", "others"))
        return Oips(**values, **dict.fromkeys(PICTURES, np.zeros((count, 0, 0, 0, 0))))


def _plain(array: np.ndarray) -> Any:
    """A single value or words as Python has them, other arrays as they are."""
    if array.ndim == 0:
        return array.item()
    return tuple(array.tolist()) if array.dtype.kind == "U" else array


def _content(path: Path) -> str:
    """A key of a shard's content, out of the checksums that its archive keeps of each array."""
    with zipfile.ZipFile(path) as archive:
        told = [(one.filename, one.CRC, one.file_size) for one in archive.infolist()]
    return hashlib.sha256(json.dumps(sorted(told)).encode()).hexdigest()


@contextmanager
def _archive(path: Path) -> Iterator[Any]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            yield archive
    except RunError:
        raise
    except Exception as error:  # damaged in any of many ways
        raise RunError(expected(f"'{path}'", "a whole shard", error)) from error


SCHEMA = 1
_HINT = "Make it again with this version of oip, or remove it."


@dataclass(frozen=True)
class Redundancy:
    """How much the maps of a layer share, pair by pair."""

    maps: np.ndarray
    """(m,) int."""
    names: tuple[str, ...]
    units: tuple[str, ...]
    pairs: np.ndarray
    """(r, m, m) float32."""

    @property
    def shared(self) -> np.ndarray:
        """(m, m) float32 by the first measure; the diagonal is NaN."""
        found = self.pairs[0].astype(np.float32)
        np.fill_diagonal(found, np.nan)
        return found

    @property
    def most(self) -> dict[int, float]:
        """The largest value that each map shares with another one, by the first measure."""
        shared = np.where(np.isnan(self.shared), -np.inf, self.shared)
        most = shared.max(axis=1, initial=-np.inf)
        return {
            int(number): float(value)
            for number, value in zip(self.maps, most, strict=True)
            if np.isfinite(value)
        }

    def share(self) -> np.ndarray:
        """(m, m): what a pair shares, of the smaller own value of the two; NaN where unknown.

        1 says that one of the two holds nothing that the other one does not hold.
        """
        own = np.diagonal(self.pairs[0])
        smaller = np.minimum(own[:, None], own[None, :])
        return self.shared / np.where(smaller > 0, smaller, np.nan)


@dataclass(frozen=True)
class Record:
    """A layer's maps during training."""

    steps: np.ndarray
    """(t,) int."""
    maps: np.ndarray
    """(m,) int."""
    label: np.ndarray
    """(t, m) bits."""


@dataclass(frozen=True)
class Evidence:
    """What there is of one layer; None where there is no such file."""

    kernels: dict[str, Any] | None
    ablation: dict[str, Any] | None
    redundancy: Redundancy | None
    softmax: dict[int, np.ndarray]
    """Map -> (classes,)."""
    record: Record | None


def layer_evidence(run: Run, index: int) -> Evidence:
    """Reads the files of a layer.

    Raises:
        RunError: a file that is damaged or not as defined above.
    """
    folder = run.folder(index)
    kernels = _told(folder / "kernels.json", "maps")
    for row in (kernels or {}).get("maps", ()):
        shown = row.get("kernels", [])
        if not isinstance(shown, list) or not all(isinstance(one, dict) for one in shown):
            raise odd_file(
                folder / "kernels.json", "a list 'kernels' of tables for each map", shown
            )
    return Evidence(
        kernels=kernels,
        ablation=_told(folder / "ablation.json", "maps"),
        redundancy=_redundancy(folder / "redundancy.npz"),
        softmax=_softmax(folder / "softmax.npz"),
        record=_record(run.path / "record" / f"layer-{index:03d}.npz"),
    )


def training_record(run: Run) -> dict[str, Any] | None:
    """What record/record.json says, None where there is none.

    Raises:
        RunError: the file is damaged or not as defined above.
    """
    path = run.path / "record" / "record.json"
    told = _told(path, "layers")
    if told is None:
        return None
    steps = told.get("steps")
    if not isinstance(steps, list) or not all(whole(one) is not None for one in steps):
        raise odd_file(path, "a list 'steps' of whole numbers", steps)
    count = len(steps)
    for layer in told["layers"]:
        for name in ("input", "label"):
            values = layer.get(name) if isinstance(layer, dict) else None
            if not isinstance(values, list) or len(values) != count:
                raise odd_file(path, f"{count} numbers of '{name}' for each layer", values)
    return told


def check_input(run: Run) -> None:
    """Raises a RunError where run.json does not say what the model is fed, or no list of classes.

    These are needed to show anything; what else is missing is shown as not known.
    """
    path = run.path / "run.json"
    told = run.info.get("input")
    shape = told.get("shape") if isinstance(told, dict) else None
    if not isinstance(shape, list) or len(shape) not in (2, 3) or not all(map(_is_side, shape)):
        raise odd_file(path, "an 'input' with its shape", told)
    for name, kind in (("classes", list), ("settings", dict), ("versions", dict), ("data", dict)):
        if not isinstance(run.info.get(name), kind | None):
            raise odd_file(path, f"a {kind.__name__} '{name}', or none", run.info[name])


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _told(path: Path, table: str) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    told = files.read_json(path)
    if not isinstance(told, dict) or told.get("schema") != SCHEMA:
        raise odd_file(
            path, f"schema {SCHEMA}", told.get("schema") if isinstance(told, dict) else told
        )
    rows = told.get(table)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise odd_file(path, f"a list '{table}'", type(rows).__name__)
    return told


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray] | None:
    if not path.is_file():
        return None
    arrays = files.read_arrays(path)
    if arrays.get("schema", np.array(0)).tolist() != SCHEMA:
        raise odd_file(path, f"schema {SCHEMA}", arrays.get("schema"))
    missing = [name for name in names if name not in arrays]
    if missing:
        raise odd_file(path, f"arrays {', '.join(names)}", f"no {', '.join(missing)}")
    return arrays


def _redundancy(path: Path) -> Redundancy | None:
    arrays = _arrays(path, ("maps", "names", "units", "pairs"))
    if arrays is None:
        return None
    maps, pairs = _numbers_evidence(path, arrays), arrays["pairs"]
    wanted = (arrays["names"].size, len(maps), len(maps))
    named = arrays["names"].ndim == arrays["units"].ndim == 1
    if not named or pairs.shape != wanted or not wanted[0] or len(arrays["units"]) != wanted[0]:
        raise odd_file(path, f"pairs {wanted} and a unit for each name", pairs.shape)
    return Redundancy(
        maps=maps,
        names=tuple(arrays["names"].astype(str).tolist()),
        units=tuple(arrays["units"].astype(str).tolist()),
        pairs=pairs,
    )


def _softmax(path: Path) -> dict[int, np.ndarray]:
    arrays = _arrays(path, ("maps", "probabilities"))
    if arrays is None:
        return {}
    maps, told = _numbers_evidence(path, arrays), arrays["probabilities"]
    if told.ndim != 2 or len(told) != len(maps) or told.dtype.kind != "f":
        raise odd_file(path, f"probabilities ({len(maps)}, classes)", told.shape)
    return {int(number): row for number, row in zip(maps, told, strict=True)}


def _record(path: Path) -> Record | None:
    arrays = _arrays(path, ("maps", "steps", "label"))
    if arrays is None:
        return None
    steps, maps = _numbers_evidence(path, arrays, "steps"), _numbers_evidence(path, arrays)
    wanted = (len(steps), len(maps))
    if arrays["label"].shape != wanted or arrays["label"].dtype.kind != "f":
        raise odd_file(path, f"label {wanted}", arrays["label"].shape)
    return Record(steps, maps, arrays["label"])


def _numbers_evidence(path: Path, arrays: dict[str, np.ndarray], name: str = "maps") -> np.ndarray:
    """(m,) int64."""
    found = arrays[name]
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise odd_file(path, f"whole numbers '{name}'", f"{found.dtype} of {found.shape}")
    return found.astype(np.int64)


def odd_file(path: Path, wanted: str, received: object) -> RunError:
    """The error that names a file and what it should have said."""
    return RunError(expected(f"'{path}'", wanted, received, _HINT))


@contextmanager
def understood(path: Path, wanted: str) -> Iterator[None]:
    """Names the file where what it says cannot be understood."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise odd_file(path, wanted, repr(error)) from error


def layer_responses(run: Run, index: int) -> dict[str, np.ndarray] | None:
    """What `Run.responses` documents, None where there is no file.

    Raises:
        RunError: the file is damaged, or its arrays are not those of its maps.
    """
    record = run.responses(index)
    return None if record is None else record.arrays()


ABOVE_NULL = 0.05
"""Adjusted p-value up to which an estimate is called above its null."""


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
        told = told or (ranking.classes if ranking is not None else None)
    return [plain_name(name) for name in told] if isinstance(told, list) else []


def read_layer(run: Run, index: int) -> LayerEntry:
    """Reads one layer of a run.

    Order: by the rank of the first estimator; maps of which it says nothing come last, by number.

    Raises:
        RunError: a damaged file.
    """
    info = next(layer for layer in run.info["layers"] if layer["index"] == index)
    oips, blocks = read_numbers(run, index)
    stability = run.stability(index)
    if oips is not None and stability is not None:
        with understood(run.folder(index) / "stability.json", "what oip reconstruct writes"):
            oips = _stable(oips, stability.to_dict())
    ranking = run.ranking(index)
    told = None if ranking is None else ranking.to_dict()
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
                held_out=one["held_out"],
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
