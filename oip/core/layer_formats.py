"""The files of a run's layer, in `layers/NNN`: OIPs, rankings and what belongs to them.

As in `oip.core.formats`, information is in bits, shares and probabilities are from 0 to 1, and a
number that is not known is null in JSON and NaN in an array. Files may leave out maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

import msgspec
import numpy as np

from oip.core.errors import RunError
from oip.core.files import Json
from oip.core.records import (
    ArrayFile,
    JsonFile,
    Number,
    Parameters,
    Part,
    Shape,
    check_lengths,
    check_rows,
)
from oip.core.units import class_medians

HELD_OUT = ("decoder", "predictive")
"""Estimators that are held-out predictive bounds: only these may order maps across layers."""
ALPHA = 0.05
"""Of p-values, adjusted for the number of units."""
MOST_VARIETY, LEAST_SEPARATION = 0.5, 0.2
"""Of the images that excite a selective, a polysemantic unit."""
FEW_IMAGES = 20
"""Fewer images of a class do not tell how much a map knows about it."""


# A run's layer: shards, stability, class probabilities.


class ShardFile(ArrayFile, frozen=True, kw_only=True):
    """`shard-0000.npz`: OIPs of up to 64 maps, one aligned block of a layer.

    The fields are those of `oip.ascent.results.Oips`, which gives their meaning: m maps, k starts
    (best first), t steps, s snapshots, o octaves, b bands. Images are standardized: small ones are
    there as float16, large ones as `PackedImages`; of snapshots the last is then left out where it
    is the best image. Files of schema 2 have float16 only.
    """

    CONTENT: ClassVar[str] = "a shard"
    SCHEMA: ClassVar[int] = 3
    READS: ClassVar[tuple[int, ...]] = (2, 3)
    OPTIONAL: ClassVar[tuple[str, ...]] = (
        *("images", "image_pictures", "image_sizes", "image_ends", "best_rows", "best_images"),
        *("snapshots", "snapshot_pictures", "snapshot_sizes", "snapshot_ends"),
        "alpha",
    )

    layer: str
    index: int
    snapshot_steps: Annotated[np.ndarray, Shape("iu", "s")]
    visible: Annotated[np.ndarray, Shape("b", "...")]
    mean: Annotated[np.ndarray, Shape("f", "b")]
    std: Annotated[np.ndarray, Shape("f", "b")]
    bgr: bool
    objectives: tuple[str, ...]
    maps: Annotated[np.ndarray, Shape("iu", "m")]
    images: Annotated[np.ndarray | None, Shape("f", "m k ...")] = None
    alpha: Annotated[np.ndarray | None, Shape("u", "m k ...")] = None
    image_pictures: Annotated[np.ndarray | None, Shape("u", "i")] = None
    image_sizes: Annotated[np.ndarray | None, Shape("i", "m k p")] = None
    image_ends: Annotated[np.ndarray | None, Shape("f", "m k 2 b")] = None
    best_rows: Annotated[np.ndarray | None, Shape("i", "n")] = None
    """Maps whose best image has more than 256 values a band, as numbers of rows."""
    best_images: Annotated[np.ndarray | None, Shape("f", "n ...")] = None
    """These images, whose pictures are then empty."""
    scores: Annotated[np.ndarray, Shape("f", "m k")]
    pre_scores: Annotated[np.ndarray, Shape("f", "m k")]
    starts: Annotated[np.ndarray, Shape("iu", "m k")]
    amplitudes: Annotated[np.ndarray, Shape("f", "m k o")]
    traces: Annotated[np.ndarray, Shape("f", "m k t")]
    steps: Annotated[np.ndarray, Shape("iu", "m k")]
    reasons: Annotated[np.ndarray, Shape("iu", "m k")]
    snapshots: Annotated[np.ndarray | None, Shape("f", "m s ...")] = None
    snapshot_pictures: Annotated[np.ndarray | None, Shape("u", "j")] = None
    snapshot_sizes: Annotated[np.ndarray | None, Shape("i", "m r p")] = None
    snapshot_ends: Annotated[np.ndarray | None, Shape("f", "m r 2 b")] = None
    verdict_codes: Annotated[np.ndarray, Shape("iu", "m")]
    converged: Annotated[np.ndarray, Shape("b", "m")]
    provably_dead: Annotated[np.ndarray, Shape("b", "m")]
    saturated: Annotated[np.ndarray, Shape("b", "m")]
    white_scores: Annotated[np.ndarray, Shape("f", "m")]
    screened_scores: Annotated[np.ndarray, Shape("f", "m")]
    data_scores: Annotated[np.ndarray, Shape("f", "m")]
    data_active: Annotated[np.ndarray, Shape("f", "m")]
    stability: Annotated[np.ndarray, Shape("f", "m")]
    null_percentile: Annotated[np.ndarray, Shape("f", "m")]
    n_null: Annotated[np.ndarray, Shape("iu", "m")]
    clusters: Annotated[np.ndarray, Shape("iu", "m k")]
    medoids: Annotated[np.ndarray, Shape("b", "m k")]
    key: str
    """Of model, input, settings and data: shards of one layer fit together if theirs are equal."""

    def arrays(self) -> dict[str, np.ndarray]:
        arrays = super().arrays()
        return arrays | {name: arrays.pop(name) for name in ("schema", "key")}  # they come last


class StabilityFile(JsonFile, frozen=True, kw_only=True):
    """`stability.json`: likeness of each map's starts, a value or a row of k starts for each map.

    The fields are those of `oip.ascent.similarity.Stability`.
    """

    CONTENT: ClassVar[str] = "a stability"

    maps: list[int]
    within: list[Number]
    """Median similarity of the starts, -1 to 1."""
    percentile: list[Number]
    """Of `within` in the null, 0 to 100."""
    n_null: list[int]
    clusters: list[list[int]]
    medoids: list[list[bool]]

    def __post_init__(self) -> None:
        names = ("within", "percentile", "n_null", "clusters", "medoids")
        check_lengths(len(self.maps), {name: getattr(self, name) for name in names})
        check_rows("'clusters' and 'medoids'", self.clusters, self.medoids)

    @property
    def starts(self) -> int | None:
        """The starts of each map; None where there are no maps."""
        return len(self.clusters[0]) if self.clusters else None

    def check_starts(self, starts: int, path: Path) -> None:
        """Raise a RunError unless the file at a path is of OIPs with so many starts."""
        if self.starts not in (None, starts):
            hint = "The command that made the run makes it again."
            raise RunError(f"'{path}'", f"{starts} starts of each map", self.starts, hint)


class ClassProbabilitiesFile(ArrayFile, frozen=True, kw_only=True):
    """`softmax.npz`: the model's output for each map's best image."""

    CONTENT: ClassVar[str] = "class probabilities"

    maps: Annotated[np.ndarray, Shape("iu", "m")]
    probabilities: Annotated[np.ndarray, Shape("f", "m c")]


# A run's layer: rankings and what belongs to them.


class KeyedFile(JsonFile, frozen=True, kw_only=True):
    """A file that is made again where something that it depends on has changed."""

    PRIVATE: ClassVar[tuple[str, ...]] = ("key",)

    key: str = ""
    """Of model, images, labels, maps and settings."""

    def numbers(self) -> list[int]:
        """Return the numbers of its maps, in their order."""
        return sorted({row.map for row in self._rows()})

    def _rows(self) -> Sequence[MapRow]:
        raise NotImplementedError


class MapRow(Part, frozen=True, kw_only=True):
    """A row of a table, about one map."""

    map: int


class MapInformation(MapRow, frozen=True, kw_only=True):
    """An estimator's numbers for one map, in bits; lists are by class, one against the rest."""

    rank: int | None = None
    """1 is the most informative."""
    rank_low: int | None = None
    rank_high: int | None = None
    """First and last rank in 95 % of the draws: of this estimator's order, whatever its bias."""
    mi: Number = None
    low: Number = None
    high: Number = None
    """95 % interval of `mi`."""
    p_value: Number = None
    """Against shuffled labels."""
    p_adjusted: Number = None
    """For the number of maps."""
    chance: Number = None
    """Mean of shuffled labels; ranks go by what is above it, where it is surely above 0."""
    saturated: bool = False
    raw: Number = None
    """`mi` before an estimate under 0 is shown as 0."""
    per_class: list[Number] | None = None
    per_class_share: list[Number] | None = None
    """Of the class's ceiling, 0 to 1."""
    per_class_low: list[Number] | None = None
    per_class_high: list[Number] | None = None
    per_class_p: list[Number] | None = None
    """Adjusted for the number of maps and classes."""
    input: Number = None
    """About the input, where it was estimated."""


class EstimatorRecord(Part, frozen=True, kw_only=True):
    """The order of the maps by one estimator, the most informative first."""

    estimator: str
    name_shown: str = ""
    parameters: Parameters = msgspec.field(default_factory=dict)
    held_out: bool
    """A held-out predictive bound: maps of different layers may be compared."""
    unit: str = "bits"
    samples: int | None = None
    split: str = ""
    """The images, as `--data` takes them."""
    ceiling: Number = None
    """Entropy of the label."""
    class_ceilings: list[Number] | None = None
    input_ceiling: Number = None
    saturated_share: Number = None
    ordered: bool = True
    """The ranks are an order, not noise among maps at the ceiling."""
    notices: list[str] = msgspec.field(default_factory=list)
    class_medians: list[Number] | None = None
    """Of all maps of the layer, where `maps` are some of them only; see `oip.core.units`."""
    maps: list[MapInformation]

    @property
    def medians(self) -> np.ndarray:
        """(classes,) bits that the layer's maps know about each class, see `class_medians`."""
        if self.class_medians is not None:
            return np.array(self.class_medians, np.float64)
        longest = max((len(row.per_class or ()) for row in self.maps), default=0)
        rows = [row.per_class for row in self.maps if row.per_class]
        rows = [values for values in rows if len(values) == longest]
        return class_medians(rows) if rows else np.zeros(0)

    def is_rare(self, code: int) -> bool:
        """Return whether there are few images of a class, or of all others together."""
        share = FEW_IMAGES / self.samples if self.samples else 0.0
        if not self.class_ceilings or not 0 < share <= 0.5:
            return share > 0.5
        lowest = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
        return (self.class_ceilings[code] or 0.0) < lowest - 1e-9


class Agreement(Part, frozen=True, kw_only=True):
    """Kendall's tau-b of the orders by two estimators; None where one of them is no order."""

    estimators: list[str]
    kendall: Number


class RankingFile(KeyedFile, frozen=True, kw_only=True):
    """`ranking.json`, as `oip rank --json` prints it; schema 2 says which bounds are held out."""

    CONTENT: ClassVar[str] = "a ranking"
    SCHEMA: ClassVar[int] = 2
    READS: ClassVar[tuple[int, ...]] = (1, 2)
    PRIVATE: ClassVar[tuple[str, ...]] = ("key", "data_sha256")

    data_sha256: str | None = None
    """Of the images that `responses.npz` refers to."""
    layer: str
    index: int
    at: str = "response"
    classes: list[str] | None = None
    notices: list[str] = msgspec.field(default_factory=list)
    tags: bool = False
    """Images have several labels: `classes` are tags, `mi` is the sum over them."""
    about: str = "label"
    """What the information is about: `label`, `input` (tags are its components), `direction`
    (classes are ranges of a number), or `none`: `mi` is of an order by the response alone."""
    agreement: list[Agreement] = msgspec.field(default_factory=list)
    estimators: list[EstimatorRecord]
    """The first one gives the default order."""

    def _rows(self) -> Sequence[MapRow]:
        return self.estimators[0].maps if self.estimators else ()

    @classmethod
    def of(cls, values: dict[str, Json]) -> Self:
        tables = values.get("estimators")
        for table in tables if isinstance(tables, list) else ():
            if isinstance(table, dict):
                table.setdefault("held_out", table.get("estimator") in HELD_OUT)
        return super().of(values)


class ResponsesFile(ArrayFile, frozen=True, kw_only=True):
    """`responses.npz`: the data images that excite each map most, and histograms of its response.

    Of m maps, k best images, c classes and n bins.
    """

    CONTENT: ClassVar[str] = "responses"
    READS: ClassVar[tuple[int, ...]] = (0, 1)
    OPTIONAL: ClassVar[tuple[str, ...]] = ("likeness",)

    maps: Annotated[np.ndarray, Shape("iu", "m")]
    best_images: Annotated[np.ndarray, Shape("iu", "m k")]
    """Indices of data images; -1 where fewer excite the map."""
    best_scores: Annotated[np.ndarray, Shape("f", "m k")]
    """Spatial mean of the response to them."""
    best_positions: Annotated[np.ndarray, Shape("iu", "m k 2")]
    """Row and column of the strongest node; -1 where there is no image."""
    edges: Annotated[np.ndarray, Shape("f", "m e")]
    """(m, n + 1): of the histogram's bins."""
    histogram: Annotated[np.ndarray, Shape("iu", "m c n")]
    """Images by class and spatial mean of the response."""
    active: Annotated[np.ndarray, Shape("f", "m")]
    """Share of the images that excite the map."""
    likeness: Annotated[np.ndarray | None, Shape("f", "m p")] = None
    """Principal components of the maps' responses; inner products are their correlations. Zero for
    maps whose response is always the same, NaN where it is not finite."""


class KernelInformation(Part, frozen=True, kw_only=True):
    """A 2-D kernel, from one input channel to the map."""

    input: int
    """The input channel."""
    mi: float
    """Of its partial response about the label, with a 95 % interval from low to high."""
    low: Number = None
    high: Number = None
    p_adjusted: Number = None
    """For the number of kernels."""
    chance: Number = None
    """Mean of shuffled labels; the order goes by what is above it, where it is surely above 0."""
    with_map: Number = None
    """Of its partial response about the map's response."""
    weights: list[list[float]] | None = None
    """Rows."""

    def __post_init__(self) -> None:
        check_rows("'weights'", self.weights or ())


class MapKernels(MapRow, frozen=True, kw_only=True):
    """Kernels of one map, the most informative first."""

    of: int
    """How many kernels the map has."""
    kernels: list[KernelInformation]


class KernelsFile(KeyedFile, frozen=True, kw_only=True):
    """`kernels.json`: the kernels of some maps."""

    CONTENT: ClassVar[str] = "a ranking of kernels"

    estimator: str
    name_shown: str = ""
    samples: int
    split: str = ""
    ceiling: Number
    maps: list[MapKernels]

    def _rows(self) -> Sequence[MapRow]:
        return self.maps


class MapRedundancy(MapRow, frozen=True, kw_only=True):
    """Information of one map about the input and the label, and the maps nearest to it."""

    input: float
    label: Number
    nearest: list[int]


class JointInformation(Part, frozen=True, kw_only=True):
    """Information of the first maps together."""

    maps: int
    """How many."""
    input: float
    label: Number
    share_of_log_n: float
    """`input` as a share of its ceiling."""
    saturated: bool


class RedundancyFile(KeyedFile, frozen=True, kw_only=True):
    """`redundancy.json`: neighbors and groups of maps by what they share."""

    CONTENT: ClassVar[str] = "a redundancy"

    layer: str
    index: int
    parameters: Parameters
    unit: str
    samples: int
    split: str
    at: str
    notices: list[str]
    maps: list[MapRedundancy]
    clusters: list[list[int]]
    """Map numbers."""
    together: list[JointInformation]

    def _rows(self) -> Sequence[MapRow]:
        return self.maps


class RedundancyArrays(ArrayFile, frozen=True, kw_only=True):
    """`redundancy.npz`: how much pairs of m maps share, by r measures."""

    CONTENT: ClassVar[str] = "redundancy"

    maps: Annotated[np.ndarray, Shape("iu", "m")]
    names: Annotated[np.ndarray, Shape("U", "r")]
    """The measures; the first one gives order and neighbors."""
    units: Annotated[np.ndarray, Shape("U", "r")]
    """`bits`, or nothing for a coefficient."""
    pairs: Annotated[np.ndarray, Shape("f", "r m m")]
    """Symmetric; the diagonal is a map's own value (its entropy, or 1)."""


class MapAblation(MapRow, frozen=True, kw_only=True):
    """The change of the model's loss and accuracy when one map is silenced."""

    loss_increase: float
    """Bits, with a 95 % interval from low to high."""
    low: Number = None
    high: Number = None
    accuracy_drop: Number = None


class RankCorrelation(Part, frozen=True, kw_only=True):
    """Spearman's correlation of the loss increase with an estimator's information."""

    estimator: str
    spearman: Number


class AblationFile(KeyedFile, frozen=True, kw_only=True):
    """`ablation.json`: maps silenced one by one."""

    CONTENT: ClassVar[str] = "an ablation"
    OPTIONAL: ClassVar[tuple[str, ...]] = ("agreement",)

    samples: int
    split: str = ""
    silenced_to: str = "zero"
    loss: float
    """Of the whole model, bits."""
    accuracy: float
    """Of the whole model."""
    maps: list[MapAblation]
    agreement: list[RankCorrelation] | None = None

    def _rows(self) -> Sequence[MapRow]:
        return self.maps


class MapLegibility(MapRow, frozen=True, kw_only=True):
    """How often a judge, shown the OIPs of a unit, picks the image that excites it more.

    Shares are from 0 to 1, chance is 0.5; all are None where no question can be asked.
    """

    share: Number = None
    """Of right choices, with a 95 % interval from low to high, over images."""
    low: Number = None
    high: Number = None
    reference: Number = None
    """With the best data images, up to nine, in place of OIPs."""
    reference_same_count: Number = None
    """With as many of them as the unit has OIPs; None in earlier files."""
    control: Number = None
    """With OIPs of other units; None for a single unit."""
    pairs: int = 0
    """Pairs of images that the judge chooses between."""
    reason: str = ""
    """Why there is no share: `silent`, `no OIP`, `not finite`."""


class LegibilityFile(KeyedFile, frozen=True, kw_only=True):
    """`legibility.json`: the legibility of a layer's units, by one judge.

    Schema 2 has the second reference.
    """

    CONTENT: ClassVar[str] = "a legibility"
    SCHEMA: ClassVar[int] = 2
    READS: ClassVar[tuple[int, ...]] = (1, 2)

    layer: str
    index: int
    judge: str
    """`pixels`, or the name of a model's file."""
    judge_layer: str = ""
    """The layer whose features are compared; empty for the penultimate ones."""
    judge_sha256: str = ""
    samples: int
    """Images that pairs are taken from."""
    split: str = ""
    """The images, as `--data` takes them."""
    maps: list[MapLegibility]

    def _rows(self) -> Sequence[MapRow]:
        return self.maps

    def mean(self, name: str = "share") -> float | None:
        """Return the mean of a field over the units that have a share; None without any."""
        rows = (getattr(row, name) for row in self.maps if row.share is not None)
        values = [value for value in rows if value is not None]
        return sum(values) / len(values) if values else None


class MapClusters(MapRow, frozen=True, kw_only=True):
    """The clusters of different images that excite a unit."""

    clusters: int
    """1 where they are no more distinct than in images of one kind; 0 of too few images."""
    explained: Number = None
    """Share of the images' spread that the clusters explain; None in earlier files."""
    expected: Number = None
    """The same of images of one kind of the same variety."""
    p_value: Number = None
    """Probability of clusters as distinct in images of one kind."""
    p_adjusted: Number = None
    variety: Number = None
    """Spread of the images' features, as a part of that of all images; None in earlier files."""
    variety_p: Number = None
    """Probability of as little variety of as many random images."""
    variety_p_adjusted: Number = None
    silhouette: Number = None
    images: int
    """Images that excite the unit most, which are clustered."""
    sizes: list[int]
    """Images of each cluster, the largest first."""
    examples: list[list[int]]
    """Numbers of the images nearest to each cluster's middle."""

    @property
    def separation(self) -> float | None:
        """Share of the spread that the clusters explain, above that in images of one kind."""
        if self.explained is None or self.expected is None:
            return None
        return self.explained - self.expected

    @property
    def selective(self) -> bool:
        """Whether its images have at most half the variety of all images, and less than chance.

        Less than chance: an adjusted p-value of at most 0.05 against random images.
        """
        return _is_small(self.variety_p_adjusted) and (self.variety or 0.0) <= MOST_VARIETY

    @property
    def polysemantic(self) -> bool:
        """Whether the separation is 0.2 or more, with an adjusted p-value of 0.05 at most."""
        return _is_small(self.p_adjusted) and (self.separation or 0.0) >= LEAST_SEPARATION


def _is_small(p_value: float | None) -> bool:
    return p_value is not None and p_value <= ALPHA


class ClustersFile(KeyedFile, frozen=True, kw_only=True):
    """`clusters.json`: how many clusters of different images excite each unit of a layer."""

    CONTENT: ClassVar[str] = "clusters of images"
    SCHEMA: ClassVar[int] = 2
    READS: ClassVar[tuple[int, ...]] = (1, 2)

    layer: str
    index: int
    judge: str
    """Whose features: `pixels`, the name of a model's file, or `the network itself`."""
    judge_layer: str = ""
    samples: int
    """Images that the most exciting ones are taken from."""
    split: str = ""
    images_sha256: str = ""
    """Of all of them."""
    maps: list[MapClusters]

    def _rows(self) -> Sequence[MapRow]:
        return self.maps


class PresetChoice(MapRow, frozen=True, kw_only=True):
    """The preset that a unit's OIPs were grown with, out of several."""

    preset: str
    shares: dict[str, Number]
    """Right choices of the judge by preset, over the images that the choice was made with."""


class PresetsFile(KeyedFile, frozen=True, kw_only=True):
    """`presets.json`: the most legible preset of each unit, where several were grown."""

    CONTENT: ClassVar[str] = "a choice of presets"

    judge: str
    judge_layer: str = ""
    samples: int
    """Images that the choice was made with; `legibility.json` beside it is of other ones."""
    split: str = ""
    maps: list[PresetChoice]

    def _rows(self) -> Sequence[MapRow]:
        return self.maps


class DirectionsFile(ArrayFile, frozen=True, kw_only=True):
    """`directions.npz`: k directions over the m maps of a layer; see `oip.mi.Directions`."""

    CONTENT: ClassVar[str] = "a set of directions"

    key: str
    """Of model, images and settings."""
    layer: str
    """The layer whose maps they are over."""
    base: int
    """Its index."""
    method: str
    split: str
    """The images, as `--data` takes them."""
    weights: Annotated[np.ndarray, Shape("f", "k m")]
    parts: Annotated[np.ndarray, Shape("f", "k m")]
    variance: Annotated[np.ndarray, Shape("f", "k")]
    used: Annotated[np.ndarray, Shape("f", "k")]
    explained: float
    low: float
    high: float
    ceiling: float
    chance: float
    active: float
    samples: int
    images: int
    notices: tuple[str, ...] = ()
