"""Records of a ranked layer in a run: of maps on file, and of maps that are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from oip.core import files, html
from oip.core.errors import DataError
from oip.core.formats import LayerRecord
from oip.core.layer_formats import (
    AblationFile,
    EstimatorRecord,
    KernelsFile,
    KeyedFile,
    LegibilityFile,
    RankingFile,
    RedundancyArrays,
    RedundancyFile,
    ResponsesFile,
)
from oip.core.records import Part, finished
from oip.core.units import plural
from oip.network.layer_spec import map_numbers
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.run.run import Run
from oip.run.shards import data_digest
from oip.workflows.inputs import opened

if TYPE_CHECKING:
    import pandas as pd

    from oip.models import Dataset
    from oip.workflows.inputs import Images, Model

Record = TypeVar("Record", bound=KeyedFile)
Arrays = TypeVar("Arrays", ResponsesFile, RedundancyArrays)


class RankedContent(Part, frozen=True, kw_only=True, omit_defaults=True):
    """A ranked layer as `finished.json` keeps it."""

    ranking: RankingFile
    ablation: AblationFile | None = None
    kernels: KernelsFile | None = None
    redundancy: RedundancyFile | None = None


class FinishedRanking(Part, frozen=True, kw_only=True):
    """The result of `oip rank`, as `finished.json` keeps it."""

    layers: list[RankedContent]


@dataclass(frozen=True, eq=False)
class RankedLayer:
    """The ranking of one layer, with its other measures."""

    layer: LayerInfo | LayerRecord
    ranking: RankingFile
    ablation: AblationFile | None = None
    kernels: KernelsFile | None = None
    redundancy: RedundancyFile | None = None
    legibility: LegibilityFile | None = None
    """Of an earlier `oip.judge_into`."""

    @property
    def best(self) -> EstimatorRecord:
        """The order by the first estimator."""
        return self.ranking.estimators[0]

    @property
    def maps(self) -> list[int]:
        """Map numbers, best first, without maps whose responses are not finite."""
        return [row.map for row in self.best.maps if row.mi is not None]

    @property
    def unusable(self) -> list[int]:
        """Maps whose responses are not finite."""
        return [row.map for row in self.best.maps if row.mi is None]

    @property
    def notices(self) -> list[str]:
        """Remarks on the layer and on each estimator."""
        ranking = self.ranking
        return [*ranking.notices, *(text for by in ranking.estimators for text in by.notices)]

    def to_dict(self) -> dict[str, Any]:
        """Return the layer as `oip rank --json` prints it; information in bits."""
        result = self.ranking.public_dict()
        for name in ("ablation", "kernels", "redundancy", "legibility"):
            record = getattr(self, name)
            if record is not None:
                result[name] = record.public_dict()
        return result

    def content(self) -> RankedContent:
        """Return the records that `of_content` takes."""
        return RankedContent(
            ranking=self.ranking,
            ablation=self.ablation,
            kernels=self.kernels,
            redundancy=self.redundancy,
        )

    @classmethod
    def of_content(cls, run: Run, content: RankedContent) -> RankedLayer:
        """Return a ranked layer from its records, and the legibility that its run holds."""
        index = content.ranking.index
        return cls(
            layer=run.layer(index),
            ranking=content.ranking,
            ablation=content.ablation,
            kernels=content.kernels,
            redundancy=content.redundancy,
            legibility=LegibilityFile.read_if_whole(run.folder(index) / "legibility.json"),
        )

    def to_pandas(self) -> pd.DataFrame:
        """Return a row for each map and estimator, best first; information in bits."""
        import pandas as pd

        names = ("map", "rank", "rank_low", "rank_high", "mi", "low", "high", "p_adjusted")
        rows = [
            {"estimator": by.estimator, **{name: getattr(row, name) for name in names}}
            for by in self.ranking.estimators
            for row in by.maps
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        rows = [row for row in self.best.maps if row.mi is not None][:3]
        best = ", ".join(f"{self.layer.noun} {row.map} ({row.mi:.2f} bits)" for row in rows)
        return (
            f"RankedLayer {self.layer.name}: {plural(len(self.best.maps), self.layer.noun)} by "
            f"{self.best.estimator}; best {best}"
        )

    def _repr_html_(self) -> str:
        rows = [(row.rank, row.map, row.mi, row.low, row.high) for row in self.best.maps[:10]]
        title = f"{self.layer.name} by {self.best.estimator}, {self.best.samples} images"
        headings = ("rank", self.layer.noun, "information, bits", "from", "to, 95 %")
        return html.block(title, html.table(headings, rows))


def opened_layer(
    model: Model,
    data: Images,
    labels: np.ndarray | None,
    resize: str | None,
    layer: str | LayerInfo,
    maps: Iterable[int] | None,
) -> tuple[Network, Dataset, LayerInfo, list[int]]:
    """Return the open network, the data, the layer and its map numbers in the order given."""
    network, images = opened(model, data, labels, resize=resize)
    images.required_labels()
    info = network.find(layer)
    numbers = list(range(info.maps)) if maps is None else [int(map_index) for map_index in maps]
    map_numbers(info, numbers)
    return network, images, info, numbers


def check_classes(network: Network, data: Dataset) -> None:
    """Check that the model's output has one number for each class of the data.

    Raises:
        ModelError: the model does not end in classes.
        DataError: no labels, or another number of classes than the model's.
    """
    outputs = max(2, network.class_layer().maps)
    data.required_labels()
    if len(data.classes) != outputs:
        raise DataError(
            f"data '{data.source}'",
            f"the {outputs} classes of the model's output",
            f"{len(data.classes)} classes",
            "The loss without a map is that of the model's own classes.",
        )


def content_key(
    network: Network, data: Dataset, with_labels: bool = True, target: np.ndarray | None = None
) -> dict[str, Any]:
    """Return digests of the model, the images, and the labels or what stands in their place."""
    key: dict[str, Any] = {"model": network.digest, "images": data_digest(data.images)}
    if network.inputs.takes_pictures(data.images):
        key["prepared"] = str(network.inputs.to_dict())
    if network.inputs.name is not None:  # of several inputs, the one that takes the images
        key["input"] = network.inputs.name
    if with_labels:
        key["labels"] = data_digest(data.required_targets())
    elif target is not None:
        key["target"] = data_digest(target)
    return key


def layer_key(layer: LayerInfo) -> int | list[Any]:
    """Return the index of a layer, with the digest of its directions where it is made of some."""
    projection = layer.response.projection
    return layer.index if projection is None else [layer.index, projection.digest]


def record_of_all_maps(
    path: Path,
    kind: type[Record],
    beside: tuple[Path, type[Arrays]] | None,
    layer: LayerInfo,
    maps: Iterable[int],
    key: Callable[[list[int]], str],
    make: Callable[[list[int]], tuple[Record, Arrays | None]],
) -> Record:
    """Return the record of maps that are measured together, after writing it if it is missing.

    Maps that the file holds already, made in whatever way, are measured together with them.

    Args:
        path: of the record.
        kind: of the record.
        beside: the file of its arrays, which are of the same maps; None if it has none.
        layer: the layer.
        maps: those that are needed.
        key: of some maps.
        make: measures some maps.
    """

    def with_those_there(numbers: Iterable[int]) -> list[int]:
        record = kind.read_if_whole(path)
        arrays = beside[1].read_if_whole(beside[0]) if beside is not None else None
        existing = {
            *(record.numbers() if record else ()),
            *(arrays.maps.tolist() if arrays else ()),
        }
        existing = {map_index for map_index in existing if 0 <= map_index < layer.maps}
        return sorted(existing.union(int(map_index) for map_index in numbers))

    numbers = with_those_there(maps)
    while True:
        record = finished(path, key(numbers), kind, dict([beside] if beside is not None else ()))
        if record is not None:
            return record
        for file in (path, *(beside or ())[:1]):
            files.check_replaceable(file)  # before minutes of work
        record, arrays = make(numbers)
        with files.locked(path.parent):
            all_numbers = with_those_there(numbers)
            if all_numbers == numbers:  # no other process has written further maps meanwhile
                if arrays is not None and beside is not None:
                    with files.replacing(beside[0]) as temporary:
                        arrays.write(temporary)
                        path.unlink(missing_ok=True)  # a kill here must not pair it with these
                record.write(path)
                return record
        numbers = all_numbers
