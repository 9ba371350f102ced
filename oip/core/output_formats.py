"""The files of `oip locate`, `oip patterns`, `oip study` and `oip export`, and a gallery's table.

Shares are from 0 to 1, shifts and fields in pixels of the input, responses in the layer's own
units. A field without a value in the file was not measured; null is a number that is not known.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from oip.core.errors import RunError
from oip.core.files import Json
from oip.core.formats import GalleryMarker, UnitKind
from oip.core.records import (
    ArrayFile,
    JsonFile,
    NamedArraysFile,
    Number,
    Parameters,
    Part,
    Shape,
)

# locations.json


class LocatedImage(Part, frozen=True, kw_only=True):
    """The node of an image that responds most."""

    image: int
    """Number of the image."""
    node: list[int]
    field: list[list[int | float]]
    """First pixel and end of its receptive field along each axis."""
    response: float
    label: str | UnsetType = UNSET
    """Class of the image."""
    match: Number | UnsetType = UNSET
    """Similarity of the map's OIP and the pixels in the field, -1 to 1."""
    match_percentile: Number | UnsetType = UNSET
    """0 to 100: of `match` among other images."""


class LocatedMap(Part, frozen=True, kw_only=True):
    """The images that excite a map most."""

    map: int
    excited: Number
    """Share of the images with a response above zero."""
    where: Number | list[Number | list[Number | list[Number]]]
    """Share of these whose strongest response is at each node; null if a response is not finite."""
    images: list[LocatedImage] = msgspec.field(name="places")


class TranslatedNode(Part, frozen=True, kw_only=True):
    """The OIPs of a node, compared with those of the reference; see `oip.Translations`."""

    score: Number
    """Response."""
    shift: list[Number]
    """Pixels from the reference's OIP."""
    agreement: Number
    """Share of the pairs of starts at the expected shift."""
    unmoved: Number
    aligned: Number
    best: Number
    """Similarity without a shift, at the expected and at the best one, -1 to 1."""
    percentile: Number
    """0 to 100: of `aligned` among different maps."""


class TranslatedMap(Part, frozen=True, kw_only=True):
    """The OIPs of the nodes of a map."""

    map: int
    n_null: int
    """Other maps that it is compared with."""
    nodes: list[TranslatedNode]


class LayerTranslation(Part, frozen=True, kw_only=True):
    """How far the OIPs of a layer's nodes are shifted copies of one OIP."""

    layer: str
    index: int
    nodes: list[list[int]]
    reference: list[int]
    expected: list[list[int | float]]
    """Pixels between each node and the reference."""
    maps: list[TranslatedMap]


class DecomposedMap(Part, frozen=True, kw_only=True):
    """The OIP of a map as a sum of copies; see `oip.Decompositions`."""

    map: int
    share: Number
    """Of the variance of the OIP, of pixels that nothing was fitted to."""
    low: Number
    high: Number
    """Ends of its 95 % interval."""
    fitted: Number
    """The same of the pixels of the fit."""
    null: Number
    """Median over as many copies of other maps."""
    p_value: Number
    n_null: int
    starts: list[Number]
    """`share` of each start."""
    weights: list[list[Number]]
    """Of each node's copies, one for each angle."""


class LayerDecomposition(Part, frozen=True, kw_only=True):
    """The OIPs of a layer's maps as sums."""

    layer: str
    index: int
    copies: str
    """`shifted` or `grown`."""
    nodes: list[list[int]]
    angles: list[int | float]
    """Degrees."""
    maps: list[DecomposedMap]


class LocatedLayer(Part, frozen=True, kw_only=True):
    """Where the patterns of a layer's maps are in images."""

    layer: str
    index: int
    searched: int
    """Images."""
    maps: list[LocatedMap]
    kind: UnitKind
    translation: LayerTranslation | UnsetType = UNSET
    decomposition: LayerDecomposition | UnsetType = UNSET


class LocationsFile(JsonFile, frozen=True, kw_only=True):
    """`locations.json` of `oip locate`."""

    CONTENT: ClassVar[str] = "locations of patterns"

    data: str
    """The images, as `--data` takes them."""
    layers: list[LocatedLayer]


# patterns.json


class ShownCase(Part, frozen=True, kw_only=True):
    """An image of a class: an example, or a hard case."""

    image: int
    label: str = msgspec.field(name="class")
    hard: bool
    predicted: str | None
    p_own: Number
    """Probability that the network gives its class."""
    nearer_second: Number | UnsetType = UNSET
    """Share of the separating nodes whose response is nearer to the second class's mean."""


class CommonPoint(Part, frozen=True, kw_only=True):
    """A node that responds to most images of a class."""

    map: int
    node: list[int]
    share: float
    other_share: float
    """Of the images of the class and of other classes: those that it responds to."""
    p_value: float
    own: bool
    """It does not respond to most images of other classes."""


class ClassPoints(Part, frozen=True, kw_only=True):
    """The common points of a class; see `mi.CommonPatterns`."""

    layer: str
    index: int
    at: str
    """`response` or `block`."""
    class_name: str = msgspec.field(name="class")
    images: int
    other_images: int
    level: float
    """Quantile of a map's responses above which a node responds."""
    most: float
    """Share of the images from which a node is a common point."""
    shuffles: int
    common: int
    own: int
    nodes: int
    """Numbers of nodes."""
    points: list[CommonPoint]
    cases: list[ShownCase]
    notices: list[str]


class SeparatingMap(Part, frozen=True, kw_only=True):
    """A map's difference between two classes."""

    map: int
    effect: Number
    """Cliff's delta of the strongest node, -1 to 1; above 0 the first class responds more."""
    node: list[int]
    mean_effect: Number
    """The same of the map's mean."""
    p_value: Number
    p_adjusted: Number
    strong_nodes: list[list[int]]


class ClassSeparation(Part, frozen=True, kw_only=True):
    """The maps and nodes that separate two classes; see `mi.Separation`."""

    layer: str
    index: int
    at: str
    first: str
    second: str
    images: list[int]
    """Of both classes."""
    shuffles: int
    effect: str
    """Name of the measure."""
    separating_nodes: int
    strong_nodes: int
    separating_maps: int
    maps: list[SeparatingMap]
    cases: list[ShownCase]
    notices: list[str]


class NodeNumber(Part, frozen=True, kw_only=True):
    """A node of a map."""

    map: int
    node: list[int]


class SilencedNodes(Part, frozen=True, kw_only=True):
    """The network without some nodes; losses in bits. See `mi.NodeAblation`."""

    points: str
    """`common`, `own` or `chosen`."""
    class_name: str = msgspec.field(name="class")
    nodes: list[NodeNumber]
    layer: str
    index: int
    to: str
    loss: Number
    loss_increase: Number
    loss_low: Number
    loss_high: Number
    loss_p: Number
    logit: Number
    logit_fall: Number
    logit_low: Number
    logit_high: Number
    logit_p: Number
    accuracy: Number
    accuracy_drop: Number
    samples: int
    split: str
    loss_null: list[Number]
    logit_null: list[Number]
    """Without as many random nodes."""


class PatternsFile(JsonFile, frozen=True, kw_only=True):
    """`patterns.json` of `oip patterns`."""

    CONTENT: ClassVar[str] = "patterns of classes"

    data: str
    """The images, as `--data` takes them."""
    separation: ClassSeparation | UnsetType = UNSET
    common: ClassPoints
    common_against: ClassPoints | UnsetType = msgspec.field(default=UNSET, name="common-against")
    silenced: list[SilencedNodes] | UnsetType = UNSET


# Exported images; a step of a training record


class ExportedImagesFile(ArrayFile, frozen=True, kw_only=True):
    """The `.npz` of `oip export`: the best start of each of m maps."""

    CONTENT: ClassVar[str] = "exported images"
    READS: ClassVar[tuple[int, ...]] = (0, 1)
    OPTIONAL: ClassVar[tuple[str, ...]] = ("objectives",)

    maps: Annotated[np.ndarray, Shape("iu", "m")]
    images: Annotated[np.ndarray, Shape("f", "m ...")]
    """(m, h, w, b), in the model's input units."""
    scores: Annotated[np.ndarray, Shape("f", "m")]
    verdicts: Annotated[np.ndarray, Shape("U", "m")]
    objectives: Annotated[np.ndarray | None, Shape("U", "m")] = None
    """Their expressions, where the images are of objectives; `maps` are then their numbers."""


class TrainingStepFile(NamedArraysFile, frozen=True, kw_only=True):
    """`record/steps/000000469.npz`: one step of all layers; `step_array` gives the names."""

    CONTENT: ClassVar[str] = "a step of a training record"

    accuracy: float
    """Share of the images whose class is predicted; NaN where the model gives no classes."""


# gallery/maps.json


class GalleryModel(Part, frozen=True, kw_only=True):
    """The model of a gallery."""

    name: str
    sha256: str


class GalleryLayer(Part, frozen=True, kw_only=True):
    """A layer of a gallery."""

    index: int
    layer: str
    shown: int
    """Maps in the gallery."""
    layer_class: str = msgspec.field(name="class")
    kind: UnitKind
    noun: str
    about: str | None
    """What the information is about, as in `ranking.json`."""
    maps: int | None
    """In the model."""
    size: list[int] | None
    receptive_field: list[int | float] | None
    jump: list[int | float] | None
    objectives: dict[str, str | None] | UnsetType = UNSET
    """Expressions by number, of a layer of objectives."""
    pages: int
    """Of the grid."""
    measure: str | None
    """Key of the estimator of the default order."""
    judge: str | None
    """Of the legibility."""
    notices: list[str]
    said: dict[str, list[str]]
    """Notices by key of the estimator."""
    unordered: list[str]
    """Keys of estimators whose ranks are no order."""


class GalleryInformation(Part, frozen=True, kw_only=True):
    """An estimator's numbers for a map; see `MapInformation`."""

    estimator: str
    unit: str
    mi: Number
    low: Number
    high: Number
    rank: int | None
    rank_low: int | None
    rank_high: int | None
    p_value: Number
    p_adjusted: Number
    saturated: bool
    best_class: str | None


class GalleryLegibility(Part, frozen=True, kw_only=True):
    """The legibility of a map; see `MapLegibility`."""

    share: Number
    low: Number
    high: Number
    reference: Number
    reference_same_count: Number
    control: Number
    judge: str | None


class GalleryMap(Part, frozen=True, kw_only=True):
    """A map of a gallery: its verdict, with the evidence that `MapEvidence` describes."""

    layer: str
    index: int
    map: int
    objective: str | None
    verdict: str | None
    """None without an OIP, as the evidence."""
    converged: bool | None
    provably_dead: bool | None
    saturated: bool | None
    score: Number
    pre_score: Number
    data_score: Number
    data_active: Number
    white_score: Number
    screened_score: Number
    stability: Number
    null_percentile: Number
    n_null: int | None
    steps: int | None
    reason: str | None
    redundancy: Number
    """The largest value that it shares with another map of the layer."""
    legibility: GalleryLegibility | None
    information: list[GalleryInformation]


class GalleryFile(GalleryMarker, frozen=True, kw_only=True):
    """`gallery/maps.json`: all maps in the order of the default view."""

    model: GalleryModel
    classes: list[str]
    layers: list[GalleryLayer]
    maps: list[GalleryMap]


# A study's folder


class StudyPartsFile(JsonFile, frozen=True, kw_only=True):
    """`parts/of.json`: the study that computed parts belong to."""

    CONTENT: ClassVar[str] = "a study"

    study: str
    settings: Parameters

    def text(self) -> str:
        """Return the study with its options, such as `rbig (quick True)`."""
        options = [f"{name} {value}" for name, value in self.settings.items() if value]
        return f"{self.study} ({', '.join(options) or 'as it is'})"


class StudyPartFile(NamedArraysFile, frozen=True, kw_only=True):
    """`parts/NAME.npz`: arrays of a study that are computed once."""

    CONTENT: ClassVar[str] = "a part of a study"

    digest: str = msgspec.field(name="_digest")
    """Of the study, its settings, data and models."""


class NumbersFile(JsonFile, frozen=True, kw_only=True):
    """`numbers.json`: every plotted number, a table for each figure."""

    CONTENT: ClassVar[str] = "the numbers of figures"
    READS: ClassVar[tuple[int, ...]] = (0, 1)

    figures: dict[str, dict[str, object]]
    """Numbers, or text, by figure and by name; units are in the names and captions."""

    @classmethod
    def of(cls, values: dict[str, Json]) -> Self:
        head_names = ("schema", "checksum")
        return msgspec.convert(
            {"figures": {name: value for name, value in values.items() if name not in head_names}},
            cls,
        )

    def to_dict(self) -> dict[str, Any]:
        return dict(self.figures)


class CostFile(JsonFile, frozen=True, kw_only=True):
    """`parts/took.json`: the sum over all calls that a study needed."""

    CONTENT: ClassVar[str] = "the cost of a study"
    READS: ClassVar[tuple[int, ...]] = (0, 1)

    seconds: float = 0.0
    peak_bytes: int | None = None
    """None where the system does not report it."""
    calls: int = 0

    def text(self) -> str:
        """Return the cost as text, such as "312 s, 1.4 GiB in 2 calls"."""
        memory = "" if self.peak_bytes is None else f", {self.peak_bytes / 2**30:.1f} GiB"
        calls = f" in {self.calls} calls" if self.calls > 1 else ""
        return f"{self.seconds:.0f} s{memory}{calls}"


class FindingValue(Part, frozen=True, kw_only=True):
    """A number of a finding with the ends of its interval, in the unit that its name says."""

    group: str
    name: str
    value: Json
    low: Json
    high: Json


class FindingRecord(Part, frozen=True, kw_only=True):
    """A claim of a paper and what the study found."""

    paper: str
    """Its sentence."""
    figure: str
    reported: str
    ours: str = msgspec.field(name="found")
    values: list[FindingValue]
    agrees: str
    """The verdict."""
    basis: str = msgspec.field(name="sure")
    """`n` and `settings`."""
    n: str
    settings: str


class FigureRecord(Part, frozen=True, kw_only=True):
    """A figure of a report."""

    name: str
    caption: str
    width: int
    height: int
    """As it is shown, in pixels."""


class StudyFile(JsonFile, frozen=True, kw_only=True):
    """`study.json`: the results of a study."""

    CONTENT: ClassVar[str] = "the results of a study"

    study: str
    title: str
    source: str
    """The paper."""
    settings: Parameters
    versions: dict[str, str]
    date: str
    """ISO 8601."""
    took: CostFile | None
    claims: list[FindingRecord]
    notes: list[str]
    figures: list[FigureRecord]


class StudyTrainingFile(JsonFile, frozen=True, kw_only=True):
    """`training.json`: the training of a study that a folder belongs to."""

    CONTENT: ClassVar[str] = "a training of a study"

    seed: int
    recorded: int
    """Images whose information is recorded."""
    widths: dict[str, Parameters]
    """Kernel widths of the estimator, by name of the record."""
    train: list[str]
    """Source and digest of the images."""
    test: list[str]
    recipe: str
    blocks: list[str]
    """Layers whose maps are recorded."""
    dense: list[str]
    """Layers that are recorded as a whole."""
    options: list[tuple[str, Json]]
    """Of the recipe."""
    batch: int
    learning_rate: float


class ModelStateFile(NamedArraysFile, frozen=True, kw_only=True):
    """`weights-000600.npz` and `last.npz` of a training: `weight-0`, `optimizer-0` and so on."""

    CONTENT: ClassVar[str] = "a saved state of a model"

    iterations: int | None = None
    """Batches that were learned from; None without the state of the optimizer."""

    def variables(self, kind: str, count: int) -> list[np.ndarray]:
        """Return the arrays of a kind, `weight` or `optimizer`, in their order.

        Raises:
            RunError: the file holds fewer.
        """
        names = [f"{kind}-{index}" for index in range(count)]
        missing = [name for name in names if name not in self.named]
        if missing:
            raise RunError(self.CONTENT, f"{count} arrays of kind '{kind}'", f"no '{missing[0]}'")
        return [self.named[name] for name in names]

    def arrays(self) -> dict[str, np.ndarray]:
        arrays = super().arrays()
        if self.iterations is None:
            del arrays["iterations"]
        return arrays


class TrainingEndFile(JsonFile, frozen=True, kw_only=True):
    """`end-000600.json`: a network of a study after its last iteration."""

    CONTENT: ClassVar[str] = "the end of a training"
    READS: ClassVar[tuple[int, ...]] = (0, 1)

    accuracy: float
    """Share of the test images."""
