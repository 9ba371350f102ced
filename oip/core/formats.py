"""The files that the program writes: their fields and their schema numbers.

Here are `run.json`, the training record, a batch, a match of two networks, a model's sidecar
and a gallery's list of pictures; the files of a run's layers are in `oip.core.layer_formats`.

`RankingFile.read(path)` gives a checked record and `record.write(path)` writes it, whole or not at
all; see `oip.core.records`. Information is in bits, shares and probabilities are from 0 to 1. A
number that is not known is null in JSON and NaN in an array. File names come from indices, never
from names of layers.
"""

from __future__ import annotations

import sys
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np

from oip.core.records import (
    ArrayFile,
    JsonFile,
    Number,
    Parameters,
    Part,
    PartialPart,
    Shape,
    check_lengths,
    check_rows,
)

# run.json: the model, its input and what was done.


def _check_numbers(std: list[float] | None, low: Number, high: Number) -> None:
    """Raise a ValueError for a deviation or a range that no input has."""
    if std is not None and not all(value > 0 for value in std):
        raise ValueError(f"not standard deviations above 0: {std}")
    if low is not None and high is not None and not low < high:
        raise ValueError(f"not a range from low to high: {low}, {high}")


class ModelRecord(Part, frozen=True, kw_only=True):
    """A model file."""

    name: str
    """File name, without its folder."""
    sha256: str


class InputRecord(PartialPart, frozen=True, kw_only=True):
    """The input that the model is fed with; of b bands."""

    name: str | None = None
    """Of several inputs, the one that takes the images."""
    shape: list[int]
    """(h, w, b), or (w, b) of lines."""
    mean: list[float]
    """(b,), in the model's input units, as std, low and high."""
    std: list[float]
    low: Number
    high: Number
    source: str
    """Origin of these numbers, such as `sidecar` or `preprocess caffe`."""
    bgr: bool

    def __post_init__(self) -> None:
        if len(self.shape) not in (2, 3) or min(self.shape) < 1:
            raise ValueError(f"not the shape of an input: {self.shape}")
        check_lengths(self.shape[-1], {"mean": self.mean, "std": self.std})
        _check_numbers(self.std, self.low, self.high)


UnitKind = Literal["maps", "units", "tokens", "heads", "directions"]
"""What the channels of an output are: maps with spatial axes as the image has them, units without
any, channels of tokens, attention heads, or directions over the maps of another layer."""
UNIT_NOUNS: dict[UnitKind, str] = {
    "maps": "map",
    "units": "unit",
    "tokens": "token channel",
    "heads": "head",
    "directions": "direction",
}
"""One of them."""


class LayerRecord(PartialPart, frozen=True, kw_only=True):
    """A layer, as `oip layers --json` prints it; or the objectives, after the last with maps."""

    index: int
    name: str = msgspec.field(name="layer")
    layer_class: str = msgspec.field(name="class")
    kind: UnitKind = "maps"
    """What its channels are."""
    maps: int
    size: list[int]
    """Nodes along each spatial axis."""
    receptive_field: list[int | float] | None
    """Input pixels along each axis, as jump and offset; None where it is not known."""
    jump: list[int | float] | None
    offset: list[int | float] | None
    activation: str | None = None
    objectives: list[str] | None = None
    """Expressions that images were grown for; `maps` are their numbers."""

    @property
    def noun(self) -> str:
        """One of its channels, such as a map, a unit or a direction; or an objective."""
        return "objective" if self.objectives is not None else UNIT_NOUNS[self.kind]

    @property
    def sees_everything(self) -> bool:
        """Whether its nodes have no receptive field smaller than the image."""
        is_one_node = bool(self.size) and set(self.size or ()) == {1}  # after a global pooling
        return self.receptive_field is None and (self.kind != "maps" or is_one_node)

    def __post_init__(self) -> None:
        if self.index < 0 or self.maps < 0:
            raise ValueError(f"not a layer: index {self.index}, {self.maps} maps")
        # A default is left out of the file where it is the same object, as a text read is not.
        msgspec.structs.force_setattr(self, "kind", sys.intern(self.kind))


class RankingSettings(Part, frozen=True, kw_only=True):
    """Settings of the last ranking."""

    estimators: dict[str, Parameters] = msgspec.field(default_factory=dict)
    samples: int = 2000
    at: str = "response"
    seed: int = 0
    with_input: bool = False
    about: str = "label"
    """`label`, `input`, `direction` or `none`, see `mi.rank_without_labels`."""


class RunSettings(PartialPart, frozen=True, kw_only=True):
    """Settings by the command that used them."""

    reconstruct: Parameters | None = None
    """Fields of `AscentSettings`."""
    preset: str | None = None
    """The preset that these differ least from."""
    start: str | None = None
    """SHA-256 of the image, as the model is fed, that the ascent began with in place of noise."""
    data: DataRecord | None = None
    """Of the OIPs, if the ranking is of others; without a source where they were grown without."""
    rank: RankingSettings | None = None


class LoadingRecord(PartialPart, frozen=True, kw_only=True):
    """Arguments that the model was loaded with."""

    imports: list[str] | None = None
    """Modules that register custom layers."""
    input_size: list[int] | None = None
    """Height and width, of a model that takes any."""


ARRAYS = "arrays"
"""The source of images that were given as arrays; that of files names a part, too."""


class DataRecord(PartialPart, frozen=True, kw_only=True):
    """The images that were used."""

    source: str
    """As `--data` takes it."""
    images: int | None = None
    """How many there are."""
    resize: str | None = None
    """How some of them were brought to the size of the model's input."""


class RunFile(JsonFile, frozen=True, kw_only=True, omit_defaults=True):
    """`run.json`."""

    CONTENT: ClassVar[str] = "a run"
    COPIED: ClassVar[bool] = True
    KIND: ClassVar[str] = "oip-run"

    model: ModelRecord
    input: InputRecord | None = None
    layers: list[LayerRecord]
    settings: RunSettings = RunSettings()
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    """Of Python and the packages that make the numbers."""
    loading: LoadingRecord | None = None
    classes: list[str] | None = None
    data: DataRecord | None = None
    accuracy: Number = None
    """Share of test images that the model classifies rightly, where its sidecar says so."""
    made: dict[str, list[str]] | None = None
    """Folder of a layer, such as `003` -> the rankings and the like that commands wrote there, so
    that a lost one is missed."""

    def __post_init__(self) -> None:
        if len({layer.index for layer in self.layers}) < len(self.layers):
            raise ValueError("two layers of one index")


class FinishedCommand(Part, frozen=True, kw_only=True):
    """A command that has done its work."""

    request: str
    """Key of all that it was given: model, data, options, versions."""
    arguments: str | None = None
    """The same without the data, to be compared before these are read."""
    result: Parameters
    """Plain values that it prints."""
    files: dict[str, str]
    """Name of each file of its layers within the run -> its SHA-256; empty where none was there."""


class FinishedFile(JsonFile, frozen=True, kw_only=True):
    """`finished.json`: the last command of each kind that has done all its work."""

    CONTENT: ClassVar[str] = "a list of finished commands"

    commands: dict[str, FinishedCommand]


# record/: information during training.


class RecordedLayerPart(Part, frozen=True, kw_only=True):
    """A layer during training, a number for each recorded step."""

    index: int
    layer: str
    maps: int = 0
    """Maps that were recorded one by one; 0 where only the whole layer was."""
    input: list[Number]
    """I(X;T) of the whole layer."""
    label: list[Number]
    """I(T;Y) of the whole layer."""


class TrainingRecordFile(JsonFile, frozen=True, kw_only=True):
    """`record/record.json`: layers during training."""

    CONTENT: ClassVar[str] = "a training record"
    OPTIONAL: ClassVar[tuple[str, ...]] = ("at", "accuracy")

    key: str = ""
    """Of images, labels, layers and settings."""
    estimator: str
    name_shown: str
    parameters: Parameters = msgspec.field(default_factory=dict)
    samples: int
    seed: int = 0
    split: str
    unit: str = "bits"
    classes: list[str] = msgspec.field(default_factory=list)
    label_ceiling: Number
    """H(Y)."""
    class_ceilings: list[Number] = msgspec.field(default_factory=list)
    input_ceiling: Number
    """log n; None where the estimator does not tell what a response knows of the input."""
    layers: list[RecordedLayerPart]
    at: str | None = None
    """`block`, where it is not the response."""
    steps: list[int]
    """Batches that were learned from, rising."""
    accuracy: list[float] | None = None
    """Share of the images whose class is predicted, at each step."""

    def __post_init__(self) -> None:
        for layer in self.layers:
            lists = {"input": layer.input, "label": layer.label}
            check_lengths(len(self.steps), lists)


class RecordedMapsFile(ArrayFile, frozen=True, kw_only=True):
    """`record/layer-000.npz`: m maps of a layer over t recorded steps, of c classes."""

    CONTENT: ClassVar[str] = "a layer's training record"
    OPTIONAL: ClassVar[tuple[str, ...]] = ("per_class",)

    maps: Annotated[np.ndarray, Shape("iu", "m")]
    steps: Annotated[np.ndarray, Shape("iu", "t")]
    label: Annotated[np.ndarray, Shape("f", "t m")]
    """Of the map's response about the label."""
    per_class: Annotated[np.ndarray | None, Shape("f", "t m c")] = None
    """About being of a class or not."""


def step_array(index: int, kind: str) -> str:
    """Return the name of an array of `record/steps/000000469.npz`, one step of all layers.

    Args:
        index: of the layer.
        kind: `label` (m,) and `per_class` (m, c), of each map; `layer` (2,), I(X;T) and I(T;Y) of
            the whole layer. `accuracy` () stands beside them without an index.
    """
    return f"layer-{index:03d}-{kind}"


# A batch.


class BatchLayer(Part, frozen=True, kw_only=True):
    """A layer of a batch's run."""

    index: int
    layer: str
    maps: str
    """Map numbers as the command line takes them, such as `0-15,20`."""


class BatchRun(Part, frozen=True, kw_only=True):
    """One run of a batch: a model with its settings."""

    run: str
    """Its folder in `runs`."""
    model: str
    """The model's file name."""
    sha256: str
    key: str
    """Of its shards; a run is found by it."""
    settings: Parameters
    layers: list[BatchLayer]
    ranked: bool

    def __post_init__(self) -> None:
        if not self.run.isdecimal():
            raise ValueError(f"not the name of a run, such as 0000: {self.run!r}")


class BatchFile(JsonFile, frozen=True, kw_only=True):
    """`batch.json`: the runs of a batch."""

    CONTENT: ClassVar[str] = "a batch"
    COPIED: ClassVar[bool] = True
    KIND: ClassVar[str] = "oip-batch"

    runs: list[BatchRun]


class LogLine(Part, frozen=True, kw_only=True):
    """A line of a batch's `log.jsonl`: one try at a piece of work."""

    schema: int = 1
    time: str
    """When it ended: ISO 8601, UTC."""
    run: str
    layer: int
    step: str
    file: str
    maps: int
    """How many."""
    attempt: int
    """The first is 1."""
    ending: str
    seconds: float
    worker: str
    """`host:process`."""
    error: str


class FailureFile(JsonFile, frozen=True, kw_only=True):
    """`shard-0000.error.json`: work that failed for good, in the place of its file."""

    CONTENT: ClassVar[str] = "a failure"

    error: str
    attempts: int
    maps: list[int] = msgspec.field(default_factory=list)


# Beside runs: the match of two networks.


class UnitMatch(Part, frozen=True, kw_only=True):
    """A unit of the first network and its partner in the second."""

    map: int
    partner: int | None = None
    correlation: Number = None
    """Of their responses, -1 to 1, over images that did not choose the pair."""
    low: Number = None
    high: Number = None
    """Ends of its 95 % interval over these images."""
    p_value: Number = None
    p_adjusted: Number = None
    has_partner: bool = False
    """The correlation reaches the threshold, and is not by chance."""
    similarity: Number = None
    """Of their OIPs, -1 to 1: the largest normalized cross-correlation over small shifts."""
    percentile: Number = None
    """0 to 100: of `similarity` among those of the unit and the partners of other units."""
    partner_percentile: Number = None
    """The same of the partner: among those of it and other units of the first layer."""


PARTNERS = ("partners.npz", *(f"partners-{number}.npz" for number in range(1, 8)))
"""Names of the files of a layer's partners, one for each other network."""


class PartnersFile(ArrayFile, frozen=True, kw_only=True):
    """`partners.npz` of a run's layer: the partners of its m units in another network.

    Those in further networks are in `partners-1.npz` and so on.
    """

    CONTENT: ClassVar[str] = "partners in another network"
    OPTIONAL: ClassVar[tuple[str, ...]] = ("other_sha256",)

    other: str
    """File name of the other model, or name of its run."""
    other_sha256: str = ""
    """Of the other model; empty in files of earlier versions."""
    layer: str
    """The other network's layer."""
    split: str
    """The images, as `--data` takes them."""
    threshold: float
    """Correlation from which a unit has a partner."""
    maps: Annotated[np.ndarray, Shape("i", "m")]
    """Units with a partner."""
    partners: Annotated[np.ndarray, Shape("i", "m")]
    correlation: Annotated[np.ndarray, Shape("f", "m")]
    low: Annotated[np.ndarray, Shape("f", "m")]
    high: Annotated[np.ndarray, Shape("f", "m")]
    """Ends of its 95 % interval."""
    percentile: Annotated[np.ndarray, Shape("f", "m")]
    """Of the likeness of the two OIPs among those to other units."""
    has_picture: Annotated[np.ndarray, Shape("b", "m")]
    pictures: Annotated[np.ndarray, Shape("u", "m ...")]
    """(m, h, w) or (m, h, w, 3): the partners' OIPs as tiles; 0 where there is none."""

    def __post_init__(self) -> None:
        shape = self.pictures.shape[1:]
        if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)) or 0 in shape:
            raise ValueError(f"expected pictures (h, w) or (h, w, 3), received {shape}")


class LayerMatchRecord(Part, frozen=True, kw_only=True):
    """A layer of the first network and one of the second, unit by unit."""

    layer: str
    second_layer: str
    by: str
    """`aligned`: responses place by place; `pooled`: their means."""
    grid: list[int]
    """Cells that were compared along each axis; empty for means."""
    samples: int
    """Images: one half chose the pairs, the other half measured them."""
    second_units: int
    """Units of the second layer."""
    share: float
    """Of the units, those that have a partner."""
    share_low: float
    share_high: float
    """Ends of its 95 % interval over units."""
    ceiling: float
    """The largest share that can be."""
    threshold: float
    """Correlation from which a unit has a partner."""
    median: Number = None
    """Of the correlations."""
    null: Number = None
    """Correlation that 95 % of the pairs with shuffled images stay under."""
    maps: list[UnitMatch]


class UnitCauses(Part, frozen=True, kw_only=True):
    """Units of an earlier layer that feed a unit, and outputs that it moves; the largest first.

    Effects are those of silencing, means over images, with 95 % intervals.
    """

    unit: int
    response: Number
    """The unit's mean response."""
    source: str
    source_index: int
    """The earlier layer."""
    silenced_to: str
    samples: int
    split: str = ""
    agreement: Number = None
    """Spearman's correlation with the increase of the network's loss."""
    units: list[int]
    share: list[Number]
    """Of the unit's mean response; below 0 it inhibits."""
    low: list[Number]
    high: list[Number]
    outputs: list[int]
    classes: list[str]
    logit_effect: list[Number]
    logit_low: list[Number]
    logit_high: list[Number]

    def __post_init__(self) -> None:
        check_lengths(len(self.units), {"share": self.share, "low": self.low, "high": self.high})
        names = ("classes", "logit_effect", "logit_low", "logit_high")
        check_lengths(len(self.outputs), {name: getattr(self, name) for name in names})


class CausesFile(JsonFile, frozen=True, kw_only=True):
    """`causes.json` of a run's layer: the causes of some of its units."""

    CONTENT: ClassVar[str] = "causes of units"

    layer: str
    index: int
    units: list[UnitCauses]


class DecompositionFile(ArrayFile, frozen=True, kw_only=True):
    """`decomposition.npz` of a run's layer: OIPs of m maps as sums; see `oip.Decompositions`."""

    CONTENT: ClassVar[str] = "sums of OIPs"

    key: str
    """Of model and settings."""
    layer: str
    index: int
    copies: str
    nodes: int
    maps: Annotated[np.ndarray, Shape("i", "m")]
    share: Annotated[np.ndarray, Shape("f", "m")]
    low: Annotated[np.ndarray, Shape("f", "m")]
    high: Annotated[np.ndarray, Shape("f", "m")]
    null: Annotated[np.ndarray, Shape("f", "m")]
    """Median over other maps."""
    n_null: Annotated[np.ndarray, Shape("i", "m")]
    p_value: Annotated[np.ndarray, Shape("f", "m")]
    images: Annotated[np.ndarray, Shape("f", "m ...")]
    node_images: Annotated[np.ndarray, Shape("f", "m ...")]
    sums: Annotated[np.ndarray, Shape("f", "m ...")]

    def __post_init__(self) -> None:
        shapes = {array.shape for array in (self.images, self.node_images, self.sums)}
        if len(shapes) > 1:
            raise ValueError(f"expected images of one shape, received {sorted(shapes)}")


class MatchFile(JsonFile, frozen=True, kw_only=True):
    """`match.json`: the units of two networks, matched by their responses to the same images."""

    CONTENT: ClassVar[str] = "a match of two networks"

    first: str
    second: str
    """File names of the models, or names of their runs."""
    first_sha256: str = ""
    second_sha256: str = ""
    split: str
    """The images, as `--data` takes them."""
    seed: int
    paired_by: str
    """How layers were paired: `name`, `cka` or `given`."""
    layers: list[str]
    """Of the first network, the rows of the tables."""
    second_layers: list[str]
    """Of the second network, the columns."""
    cka: list[list[Number]]
    """Linear centered kernel alignment, debiased, 1 at most."""
    cka_low: list[list[Number]]
    cka_high: list[list[Number]]
    """Ends of its 95 % interval over batches of images."""
    cka_null: list[list[Number]]
    """What 95 % of the shuffles of the images stay under."""
    matches: list[LayerMatchRecord]

    def __post_init__(self) -> None:
        size = {len(self.second_layers)}
        for name in ("cka", "cka_low", "cka_high", "cka_null"):
            table = getattr(self, name)
            if len(table) != len(self.layers) or {len(row) for row in table} - size:
                raise ValueError(f"'{name}' is not a table of layers and second_layers")


# Beside a model; in a gallery.


class SidecarInput(PartialPart, frozen=True, kw_only=True):
    """The input of a model, in the model's input units."""

    name: str | None = None
    shape: list[int] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    low: Number = None
    high: Number = None
    source: str | None = None
    bgr: bool | None = None

    def __post_init__(self) -> None:
        _check_numbers(self.std, self.low, self.high)


class SidecarFile(JsonFile, frozen=True, kw_only=True, omit_defaults=True):
    """`MODEL.oip.json`, beside a model: its input, its classes, how it was trained."""

    CONTENT: ClassVar[str] = "a model's sidecar"
    KIND: ClassVar[str] = "oip-model"
    READS: ClassVar[tuple[int, ...]] = (0, 1)

    model: str | None = None
    """File name."""
    sha256: str | None = None
    """Of the model; a sidecar of another file is not used."""
    input: SidecarInput | None = None
    classes: list[str | int] | None = None
    data: str | None = None
    """The training images, as `--data` takes them."""
    recipe: str | None = None
    options: Parameters | None = None
    """Of the recipe."""
    settings: Parameters | None = None
    """Of the training."""
    start: Parameters | None = None
    """Kernels drawn for an entropy: their deviation, and the entropy in bits that they gave."""
    accuracy: Number = None
    """Share of the test images that it classifies rightly."""
    confusion: list[list[int]] | None = None
    """Test images by true class (rows) and predicted class."""
    losses: list[float] | None = None
    """Mean loss of each epoch, nats."""
    seconds: Number = None
    """Of the training."""
    pruned: Parameters | None = None
    """Of a pruned model: the whole one and the settings."""

    def __post_init__(self) -> None:
        check_rows("'confusion'", self.confusion or ())


class GalleryMarker(JsonFile, frozen=True, kw_only=True):
    """The head of `gallery/maps.json`, by which a folder is known as a gallery."""

    CONTENT: ClassVar[str] = "a table of maps"
    KIND: ClassVar[str | None] = "oip-gallery"


class DrawnFile(JsonFile, frozen=True, kw_only=True):
    """`gallery/drawn.json`: keys of what each picture was drawn from."""

    CONTENT: ClassVar[str] = "a list of pictures"

    drawn: dict[str, str]
    """Key by the picture's name."""
    files: dict[str, str] = msgspec.field(default_factory=dict)
    """SHA-256 of each file of the gallery by its name."""
    title: str = ""
    """As a person gave it; empty for the model's name."""
