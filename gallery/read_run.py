"""Reading a run: for each layer its OIPs, its ranking and its further evidence, map by map.

Each file is shown where it is there; its fields are defined in `oip.core.formats` and
`oip.core.layer_formats`. Numbers of information are in bits.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec
import numpy as np

from oip.ascent.results import PER_MAP, SHARED, WITHOUT_PATTERN, MapEvidence, Oips, join_oips
from oip.core import files
from oip.core.errors import RunError
from oip.core.formats import (
    PARTNERS,
    CausesFile,
    DecompositionFile,
    InputRecord,
    LayerRecord,
    PartnersFile,
    RecordedMapsFile,
    TrainingRecordFile,
    UnitCauses,
)
from oip.core.layer_formats import (
    AblationFile,
    ClassProbabilitiesFile,
    ClustersFile,
    DirectionsFile,
    EstimatorRecord,
    KernelsFile,
    LegibilityFile,
    MapAblation,
    MapInformation,
    MapKernels,
    MapLegibility,
    PresetsFile,
    RankingFile,
    RedundancyArrays,
    ResponsesFile,
    ShardFile,
)
from oip.core.units import ABOVE_NULL, best_class, is_informative, usual_bits
from oip.gallery.escape import PageValues, plain_name, rounded
from oip.mi.estimators.base import NAMES, estimator
from oip.run.run import Run
from oip.run.shards import with_stability

ABOUT = {"label": "the class", "input": "the input", "direction": "the number of each image"}
"""The subject of a ranking's bits; orders by the response alone have none."""
_MOST_PARAMETERS = 4
_PICTURES = ("images", "snapshots")
_NOT_READ = (*_PICTURES, "image_pictures", "snapshot_pictures", "best_images", "alpha")


@dataclass(frozen=True)
class ShardBlock:
    """A shard of a layer."""

    layer: int
    number: int
    path: Path
    maps: tuple[int, ...]
    content: str
    """Key that changes with the shard's content."""
    has_masks: bool
    """Some of its images have a mask of what counts in them."""

    @property
    def name(self) -> str:
        """Its name among all blocks."""
        return f"{self.layer:03d}-{self.number:04d}"


@dataclass(frozen=True)
class Redundancy:
    """How much the maps of a layer share, pair by pair."""

    maps: np.ndarray
    """(m,) int."""
    names: tuple[str, ...]
    units: tuple[str, ...]
    pairs: np.ndarray
    """(r, m, m) float32, by r measures."""

    @property
    def shared(self) -> np.ndarray:
        """(m, m) float32 by the first measure; the diagonal is NaN."""
        shared = self.pairs[0].astype(np.float32)
        np.fill_diagonal(shared, np.nan)
        return shared

    @property
    def largest_shared(self) -> dict[int, float]:
        """The largest value that each map shares with another one, by the first measure."""
        shared = np.where(np.isnan(self.shared), -np.inf, self.shared)
        largest = shared.max(axis=1, initial=-np.inf)
        pairs = zip(self.maps.tolist(), largest.tolist(), strict=True)
        return {map_index: value for map_index, value in pairs if np.isfinite(value)}

    def share(self) -> np.ndarray:
        """Return the part of each map's own value (rows) that another one shares, (m, m).

        1 means that the map of the row holds nothing that the other one does not hold; NaN is not
        known.
        """
        own_information = np.diagonal(self.pairs[0])
        return self.shared / np.where(own_information > 0, own_information, np.nan)[:, None]


@dataclass(frozen=True)
class LayerDirections:
    """Directions over the maps of a layer, which are a layer of their own."""

    index: int
    name: str
    record: DirectionsFile


@dataclass(frozen=True)
class Evidence:
    """The files of a layer beside OIPs and ranking; None or empty where there is no such file."""

    kernels: KernelsFile | None
    ablation: AblationFile | None
    redundancy: Redundancy | None
    softmax: dict[int, np.ndarray]
    """Map -> (classes,) probabilities of its OIP."""
    record: RecordedMapsFile | None
    legibility: LegibilityFile | None = None
    presets: PresetsFile | None = None
    """Where the most legible of several was kept for each map."""
    clusters: ClustersFile | None = None
    causes: CausesFile | None = None
    decomposition: DecompositionFile | None = None
    partners: tuple[PartnersFile, ...] = ()
    """In other networks, one for each."""
    partner_addresses: tuple[str | None, ...] = ()
    """Beginnings of the addresses of partners in the galleries of their runs; see `map_address`."""
    own_directions: DirectionsFile | None = None
    """What the units are, where they are directions."""
    directions: tuple[LayerDirections, ...] = ()
    """Layers of directions over the maps."""

    def causes_of(self, map_index: int) -> UnitCauses | None:
        """Return the causes and the effects of a unit."""
        units = self.causes.units if self.causes is not None else ()
        return next((unit for unit in units if unit.unit == map_index), None)

    def kernels_of(self, map_index: int) -> MapKernels | None:
        """Return the kernels of a map."""
        tables = self.kernels.maps if self.kernels is not None else ()
        return next((table for table in tables if table.map == map_index), None)

    def ablation_of(self, map_index: int) -> MapAblation | None:
        """Return the effect of silencing a map."""
        rows = self.ablation.maps if self.ablation is not None else ()
        return next((row for row in rows if row.map == map_index), None)

    def legibility_of(self, map_index: int) -> MapLegibility | None:
        """Return how legible the OIPs of a map are."""
        rows = self.legibility.maps if self.legibility is not None else ()
        return next((row for row in rows if row.map == map_index), None)


@dataclass(frozen=True)
class Information:
    """Information of one map by one estimator, in bits; None where there is no number."""

    rank: int | None
    rank_low: int | None
    rank_high: int | None
    mi: float | None
    low: float | None
    high: float | None
    p_value: float | None
    p_adjusted: float | None
    chance: float | None
    """Mean of shuffled labels."""
    saturated: bool
    raw: float | None
    """Before an estimate under 0 is shown as 0, where it was noted."""
    best: int | None
    """The class that the map stands out for among those of its layer; see `best_class`."""
    per_class: np.ndarray | None
    """(classes,) bits, one against the rest; NaN for a class of few images, as its ends and p."""
    usual: np.ndarray | None
    """(classes,) bits that maps of the layer with as much information usually know."""
    class_low: np.ndarray | None
    class_high: np.ndarray | None
    """(classes,) ends of the 95 % intervals."""
    class_p: np.ndarray | None
    """(classes,) adjusted p-values."""

    @classmethod
    def of(
        cls, entry: MapInformation, medians: np.ndarray, rare: Sequence[int] = ()
    ) -> Information:
        """Return the information of an entry of ranking.json, rounded.

        Args:
            medians: (classes,) of the maps of the layer, see `class_medians`.
            rare: classes of few images.
        """
        per_class = _class_values(entry.per_class, rare)

        def beside(values: Sequence[float | None] | None) -> np.ndarray | None:
            """Return values of the same classes; None where they are of others."""
            array = _class_values(values, rare)
            fits = array is not None and per_class is not None and len(array) == len(per_class)
            return array if fits else None

        of_all = per_class if per_class is not None and len(per_class) == len(medians) else None
        informative = is_informative(entry.mi, entry.p_adjusted)
        return cls(
            rank=entry.rank,
            rank_low=entry.rank_low,
            rank_high=entry.rank_high,
            mi=rounded(entry.mi),
            low=rounded(entry.low),
            high=rounded(entry.high),
            p_value=rounded(entry.p_value, 3),
            p_adjusted=rounded(entry.p_adjusted, 3),
            chance=rounded(entry.chance),
            saturated=entry.saturated,
            raw=rounded(entry.raw),
            best=best_class(of_all, medians) if informative and of_all is not None else None,
            per_class=per_class,
            usual=usual_bits(of_all, medians) if of_all is not None and medians.any() else None,
            class_low=beside(entry.per_class_low),
            class_high=beside(entry.per_class_high),
            class_p=beside(entry.per_class_p),
        )

    @property
    def below_null(self) -> bool:
        """Whether the estimate is not above its null."""
        return self.p_adjusted is not None and self.p_adjusted > ABOVE_NULL


@dataclass(frozen=True)
class EstimatorColumn:
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
    rare: tuple[int, ...] = ()
    """Classes of few images, of which no bits are shown."""

    @classmethod
    def of(cls, record: EstimatorRecord, key: str, about: str = "label") -> EstimatorColumn:
        """Return the column of an estimator of ranking.json.

        Only numbers about labels stand by class.
        """
        if about != "label":
            rows = [msgspec.structs.replace(row, per_class=None) for row in record.maps]
            record = msgspec.structs.replace(record, maps=rows, class_ceilings=None)
        parameters = _parameter_text(record)
        medians = record.medians
        classes = min(len(medians), len(record.class_ceilings or ()))
        ceilings = record.class_ceilings or ()
        rare = tuple(  # a class without a ceiling has no images at all
            code for code in range(classes) if ceilings[code] is not None and record.is_rare(code)
        )
        return cls(
            key=key,
            label=plain_name(record.name_shown or record.estimator),
            parameters=plain_name(parameters),
            unit=plain_name(record.unit),
            held_out=record.held_out,
            samples=record.samples,
            split=plain_name(record.split),
            ceiling=rounded(record.ceiling),
            saturated_share=rounded(record.saturated_share),
            ordered=record.ordered,
            rare=rare,
            notices=tuple(plain_name(text) for text in record.notices),
            maps={entry.map: Information.of(entry, medians, rare) for entry in record.maps},
        )


@dataclass(frozen=True)
class MapEntry:
    """One map: its row in the layer's OIPs, the evidence for its verdict, its information."""

    map: int
    row: int | None
    evidence: MapEvidence | None
    """None where there is no OIP."""
    information: tuple[Information | None, ...]
    """One for each of the layer's estimators."""
    redundancy: float | None
    """The largest value that it shares with another map of the layer."""
    objective: str | None = None
    """The expression that was climbed, where it is not a map's response."""
    legibility: MapLegibility | None = None

    @property
    def verdict(self) -> str | None:
        """The verdict, None where there is no OIP."""
        return None if self.evidence is None else self.evidence.verdict

    @property
    def not_converged(self) -> bool:
        """Whether the OIP might still have grown."""
        evidence = self.evidence
        if evidence is None or evidence.verdict in WITHOUT_PATTERN or evidence.reason == "schedule":
            return False
        return not evidence.converged

    @property
    def first_information(self) -> Information | None:
        """The information by the layer's first estimator."""
        return self.information[0] if self.information else None

    @property
    def order(self) -> tuple[float, int]:
        """Key of the default order: by rank of the first estimator, maps without one last."""
        information = self.first_information
        rank = None if information is None or information.mi is None else information.rank
        return (np.inf if rank is None else rank, self.map)


@dataclass(frozen=True)
class LayerEntry:
    """One layer; `maps` stand in the default order."""

    index: int
    name: str
    info: LayerRecord
    oips: Oips | None
    """Without the pixels of images and snapshots."""
    blocks: tuple[ShardBlock, ...]
    """The shards."""
    estimators: tuple[EstimatorColumn, ...]
    responses: ResponsesFile | None
    evidence: Evidence
    data_digest: str | None
    """SHA-256 of the images that `responses` refers to, where it was noted."""
    notices: tuple[str, ...]
    maps: tuple[MapEntry, ...]
    has_tags: bool = False
    """Images have several labels: classes are tags, and bits are added up over them."""
    about: str = "label"
    """What its ranking is about, see `RankingFile`."""
    class_positions: tuple[int, ...] = ()
    """Of the classes of `responses` among those of the gallery."""

    @property
    def subject(self) -> str:
        """The thing that its numbers are about; those about different things are not compared."""
        return "the tags" if self.has_tags else ABOUT.get(self.about, "")


def input_record(run: Run) -> InputRecord:
    """Return the input of a run's model.

    Raises:
        RunError: run.json does not describe it; nothing could be shown.
    """
    if run.record.input is None:
        path = run.path / "run.json"
        raise RunError(f"'{path}'", "an 'input' with its shape", "none")
    return run.record.input


def shown_layers(run: Run) -> list[int]:
    """Return the indices of the layers that have OIPs or a ranking, deepest first.

    Raises:
        RunError: there are none.
    """
    indices = sorted({*run.reconstructed(), *run.ranked()}, reverse=True)
    if not indices:
        hint = "Use 'oip reconstruct' or 'oip rank' with this folder as --out first."
        raise RunError(f"'{run.path}'", "a run with OIPs or a ranking", "neither", hint)
    return indices


def class_positions(classes: Sequence[str], names: list[str]) -> list[int]:
    """Return the position of each class of a ranking among names, to which lacking ones are added.

    A ranking has the classes of its images: some of the names, or others.
    """
    names += [name for name in dict.fromkeys(classes) if name not in names]
    positions: list[int] = []
    for name in classes:
        begin = positions[-1] + 1 if positions else 0  # a name may be there twice
        positions.append(names.index(name, begin if name in names[begin:] else 0))
    return positions


def training_record(run: Run) -> TrainingRecordFile | None:
    """Read record/record.json, None where there is none.

    Raises:
        RunError: the file is damaged.
    """
    return TrainingRecordFile.read_if_there(run.path / "record" / "record.json")


def read_layer(run: Run, index: int, classes: list[str] | None = None) -> LayerEntry:
    """Read one layer of a run.

    Args:
        run: the run.
        index: of the layer.
        classes: names of classes, whose positions stand for them; others that the ranking is about
            are added. Those of run.json if None.

    Raises:
        RunError: a damaged file.
    """
    info = run.layer(index)
    oips, blocks = _oips_without_pixels(run, index)
    stability = run.stability(index)
    if oips is not None and stability is not None and stability.maps == oips.maps.tolist():
        stability.check_starts(oips.scores.shape[1], run.folder(index) / "stability.json")
        oips = with_stability(oips, stability)
    ranking = run.ranking(index)
    positions: list[int] = []
    if ranking is not None and ranking.about == "label":
        names = list(run.record.classes or ()) if classes is None else classes
        positions = class_positions(ranking.classes or (), names)
    estimators = _estimator_columns(ranking, positions) if ranking is not None else ()
    row_of = (
        {} if oips is None else {int(map_index): row for row, map_index in enumerate(oips.maps)}
    )
    map_indices = sorted(set(row_of).union(*(column.maps for column in estimators)))
    objectives = info.objectives or ()
    if objectives and map_indices and len(objectives) <= map_indices[-1]:
        path, count = run.path / "run.json", map_indices[-1] + 1
        wording = f"{count} objectives of layer {index}"
        raise RunError(f"'{path}'", wording, len(objectives))
    evidence = layer_evidence(run, index)
    shared = {} if evidence.redundancy is None else evidence.redundancy.largest_shared
    verdicts = {} if oips is None else {entry.map: entry.grounds for entry in oips}
    maps = [
        MapEntry(
            map=map_index,
            row=row_of.get(map_index),
            evidence=verdicts.get(map_index),
            information=tuple(column.maps.get(map_index) for column in estimators),
            redundancy=rounded(shared.get(map_index), 3),
            objective=plain_name(objectives[map_index]) if map_index < len(objectives) else None,
            legibility=evidence.legibility_of(map_index),
        )
        for map_index in map_indices
    ]
    return LayerEntry(
        index=index,
        name=plain_name(info.name),
        info=info,
        oips=oips,
        blocks=blocks,
        estimators=estimators,
        responses=run.responses(index),
        evidence=evidence,
        data_digest=None if ranking is None else ranking.data_sha256,
        notices=() if ranking is None else tuple(plain_name(text) for text in ranking.notices),
        maps=tuple(sorted(maps, key=lambda entry: entry.order)),
        has_tags=ranking is not None and ranking.tags and ranking.about == "label",
        class_positions=tuple(positions),
        about="label" if ranking is None else plain_name(ranking.about),
    )


def _decomposition(run: Run, index: int) -> DecompositionFile | None:
    """Return the sums of OIPs of a layer, if they are of the size of the run's input."""
    record = DecompositionFile.read_if_there(run.folder(index) / "decomposition.npz")
    shape = () if run.record.input is None else tuple(run.record.input.shape)
    return record if record is not None and record.images.shape[1:] == shape else None


def layer_evidence(run: Run, index: int) -> Evidence:
    """Read the files of a layer beside its OIPs and its ranking.

    Raises:
        RunError: a damaged file.
    """
    folder = run.folder(index)
    arrays = RedundancyArrays.read_if_there(folder / "redundancy.npz")
    redundancy = None
    if arrays is not None:
        names, units = tuple(arrays.names.tolist()), tuple(arrays.units.tolist())
        redundancy = Redundancy(arrays.maps, names, units, arrays.pairs)
    softmax = ClassProbabilitiesFile.read_if_there(folder / "softmax.npz")
    probabilities: dict[int, np.ndarray] = {}
    if softmax is not None and softmax.probabilities.shape[1]:
        probabilities = dict(zip(softmax.maps.tolist(), softmax.probabilities, strict=True))
    directions: list[LayerDirections] = []
    for layer in run.layers:
        file = DirectionsFile.read_if_there(run.folder(layer.index) / "directions.npz")
        if file is not None:
            directions.append(LayerDirections(layer.index, plain_name(layer.name), file))
    partner_files = (PartnersFile.read_if_there(folder / name) for name in PARTNERS)
    partners = tuple(entry for entry in partner_files if entry is not None)
    return Evidence(
        kernels=KernelsFile.read_if_there(folder / "kernels.json"),
        ablation=AblationFile.read_if_there(folder / "ablation.json"),
        redundancy=redundancy,
        softmax=probabilities,
        record=RecordedMapsFile.read_if_there(run.path / f"record/layer-{index:03d}.npz"),
        legibility=LegibilityFile.read_if_there(folder / "legibility.json"),
        presets=PresetsFile.read_if_there(folder / "presets.json"),
        clusters=ClustersFile.read_if_there(folder / "clusters.json"),
        causes=CausesFile.read_if_there(folder / "causes.json"),
        decomposition=_decomposition(run, index),
        partners=partners,
        partner_addresses=tuple(_partner_address(run, entry) for entry in partners),
        own_directions=next((entry.record for entry in directions if entry.index == index), None),
        directions=tuple(entry for entry in directions if entry.record.base == index),
    )


def gallery_address(folder: Path, run: Run) -> str | None:
    """Return the address of a run's gallery from a page in a folder, None where there is none."""
    if not (run.path / "gallery/index.html").is_file():
        return None
    return quote(f"{path_from(folder, run)}/gallery/index.html")


def path_from(folder: Path, run: Run) -> str:
    """Return the path of a run from a folder, with `/` on every system."""
    return Path(os.path.relpath(run.path.resolve(), folder.resolve())).as_posix()


def map_address(folder: Path, run: Run, name: str) -> str | None:
    """Return the address of a layer's maps in the gallery of their run, without `.NUMBER`."""
    gallery, layer = gallery_address(folder, run), run.reconstructed_layer(name)
    return None if gallery is None or layer is None else f"{gallery}#m={layer.index}"


def _partner_address(run: Run, partners: PartnersFile) -> str | None:
    """Return `map_address` of the partners' layer if their run is beside this run."""
    path = run.path.absolute()
    if not (partners.other_sha256 and files.is_plain_path(partners.other)) or "/" in partners.other:
        return None
    try:
        partner_run = Run.open(path.parent / partners.other)
    except RunError:
        return None
    if partner_run.record.model.sha256 != partners.other_sha256:
        return None
    if partner_run.path.samefile(path):
        layer = run.reconstructed_layer(partners.layer)
        return None if layer is None else f"#m={layer.index}"
    return map_address(path / "gallery", partner_run, partners.layer)


def _oips_without_pixels(run: Run, index: int) -> tuple[Oips | None, tuple[ShardBlock, ...]]:
    oips, blocks = [], []
    for path in run.shards(index):
        shard = ShardFile.read(path, _NOT_READ)
        values: PageValues = {name: getattr(shard, name) for name in (*SHARED, *PER_MAP)}
        maps = tuple(shard.maps.tolist())
        pixels = np.zeros((len(maps), 0, 0, 0, 0))
        values.update(dict.fromkeys(_PICTURES, pixels))
        values["alpha"] = None
        oips.append(Oips(**values))
        block_index = int(path.stem.rpartition("-")[2])
        key, has_masks = _content_key(path)
        blocks.append(ShardBlock(index, block_index, path, maps, key, has_masks))
    return (join_oips(oips) if oips else None), tuple(blocks)


def _content_key(path: Path) -> tuple[str, bool]:
    """Return a key of a shard's content, from the checksums of its archive; and if it has masks."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename, entry.CRC, entry.file_size) for entry in archive.infolist()]
    digest = hashlib.sha256(json.dumps(sorted(entries)).encode()).hexdigest()
    return digest, any(name == "alpha.npy" for name, *_ in entries)


def _estimator_columns(
    ranking: RankingFile, positions: Sequence[int]
) -> tuple[EstimatorColumn, ...]:
    columns: dict[str, EstimatorColumn] = {}
    for record in ranking.estimators:
        record = _placed(record, positions)
        name = plain_name(record.estimator)
        key, count = name, 1
        while key in columns:
            count += 1
            key = f"{name}-{count}"
        columns[key] = EstimatorColumn.of(record, key, ranking.about)
    return tuple(columns.values())


_BY_CLASS = ("per_class", "per_class_low", "per_class_high", "per_class_p")


def _parameter_text(record: EstimatorRecord) -> str:
    """Return the parameters of an estimator; where there are many, those without their default."""
    parameters = record.parameters
    if len(parameters) > _MOST_PARAMETERS and record.estimator in NAMES:
        plain = msgspec.to_builtins(estimator(record.estimator).settings, str_keys=True)
        parameters = {key: value for key, value in parameters.items() if plain.get(key) != value}
    return ", ".join(f"{name} {value}" for name, value in parameters.items())


def _placed(record: EstimatorRecord, positions: Sequence[int]) -> EstimatorRecord:
    """Return an estimator with its numbers of classes at their positions, None between them."""
    if list(positions) == list(range(len(positions))):
        return record

    def placed(values: Sequence[float | None] | None) -> list[float | None] | None:
        if values is None or len(values) != len(positions):
            return None if values is None else list(values)
        at: list[float | None] = [None] * (max(positions) + 1)
        for position, value in zip(positions, values, strict=True):
            at[position] = value
        return at

    rows = [
        msgspec.structs.replace(row, **{name: placed(getattr(row, name)) for name in _BY_CLASS})
        for row in record.maps
    ]
    ceilings = placed(record.class_ceilings)
    return msgspec.structs.replace(record, maps=rows, class_ceilings=ceilings)


def _class_values(values: Sequence[float | None] | None, rare: Sequence[int]) -> np.ndarray | None:
    if not values:
        return None
    numbers = [None if code in rare else rounded(value) for code, value in enumerate(values)]
    return np.array([np.nan if item is None else item for item in numbers], np.float32)
