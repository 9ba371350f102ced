"""Rankings of maps, kernels and pairs of maps in a run; what is finished is not done again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
import numpy as np

from oip.core import files, html, plots
from oip.core.errors import DataError, OipError, SettingsError
from oip.core.formats import RankingSettings, RunSettings
from oip.core.images import is_whole_picture
from oip.core.layer_formats import (
    AblationFile,
    EstimatorRecord,
    KernelsFile,
    KeyedFile,
    MapKernels,
    RankCorrelation,
    RankingFile,
    RedundancyArrays,
    RedundancyFile,
    ResponsesFile,
)
from oip.core.progress import Progress, automatic, silent
from oip.core.records import finished
from oip.core.units import finite_or_none
from oip.core.warnings import notice
from oip.mi.ablation import ablate
from oip.mi.estimators.base import LabelEstimator, label_estimator
from oip.mi.kernel_ranking import check_plain, rank_kernels
from oip.mi.layer_sample import NoFiniteResponses
from oip.mi.ranking import DEFAULT_ESTIMATORS, rank, spearman
from oip.mi.redundancies import redundancy
from oip.network.channel_graph import convolution_call
from oip.network.layer_spec import map_numbers
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.run.run import Run, RunFolder, own_files, run_record
from oip.run.shards import data_digest, key_of
from oip.workflows.inputs import Selection, opened, select_maps

if TYPE_CHECKING:
    import pandas as pd

    from oip.models import Dataset
    from oip.workflows.inputs import Images, Layers, Model

MOST_FOR_PAIRS = 500
"""Images for kernels and redundancy: each kernel and map has a matrix of all pairs of images."""


@dataclass(frozen=True)
class RankingOptions:
    """Settings of a ranking, as `oip rank` takes them."""

    estimators: Sequence[str | LabelEstimator] = ()
    """The first one gives the order; `predictive` and `kde` if there are none."""
    samples: int = 2000
    """Images at most."""
    at: Literal["response", "block"] = "response"
    """After the activation, or after the pooling that follows it."""
    seed: int = 0
    with_input: bool = False
    """Also what each map knows about the input."""
    kernels: bool = False
    """Also the ranking of the kernels of each map."""
    redundancy: bool = False
    """Also what maps share."""
    ablate: bool = False
    """Also the loss of the network without each map."""
    silenced_to: Literal["zero", "mean"] = "zero"
    """The value that ablation sets a map to."""

    def label_estimators(self) -> list[LabelEstimator]:
        """Return the estimators; a SettingsError names one that does not exist."""
        return [
            label_estimator(name) if isinstance(name, str) else name
            for name in self.estimators or DEFAULT_ESTIMATORS
        ]


@dataclass(frozen=True, eq=False)
class RankedLayer:
    """The ranking of one layer, with what was measured beside it."""

    layer: LayerInfo
    ranking: RankingFile
    ablation: AblationFile | None = None
    kernels: KernelsFile | None = None
    redundancy: RedundancyFile | None = None

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
        for name in ("ablation", "kernels", "redundancy"):
            record = getattr(self, name)
            if record is not None:
                result[name] = record.public_dict()
        return result

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
        best = ", ".join(f"map {row.map} ({row.mi:.2f} bits)" for row in rows)
        return (
            f"RankedLayer {self.layer.name}: {len(self.best.maps)} maps by {self.best.estimator}; "
            f"best {best}"
        )

    def _repr_html_(self) -> str:
        rows = [(row.rank, row.map, row.mi, row.low, row.high) for row in self.best.maps[:10]]
        title = f"{self.layer.name} by {self.best.estimator}, {self.best.samples} images"
        return html.block(title, html.table(("rank", "map", "bits", "low", "high"), rows))


def rank_into(
    out: str | Path,
    model: Model,
    layers: Layers = None,
    *,
    data: Images,
    labels: np.ndarray | None = None,
    resize: str | None = None,
    progress: Progress = automatic,
    **options: Any,
) -> list[RankedLayer]:
    """Rank the maps of layers by what they know about the label, and write that into a run.

    The same call goes on where it was stopped.

    Args:
        out: the run's folder; new, empty, or a run of the same model.
        model: a file, a Keras model or a `Network`.
        layers: `"Conv2D_3:0-15"` or several of these; every convolutional layer if None.
        data: a source of images with labels, or images (n, h, w, bands).
        labels: (n,) whole numbers or names, for images that are an array.
        resize: how images get the model's size, `crop`, `fit` or `stretch`; image files are cropped
            if None, and others have to fit.
        progress: called with the progress of each layer.
        options: fields of `RankingOptions`: `estimators` (the first one gives the order),
            `samples` (images at most, 2000), `at` (`response` or `block`), `seed`, and what else
            is measured: `with_input`, `kernels`, `redundancy`, `ablate`, with `silenced_to`.

    Returns:
        A result for each layer. Layers without finite responses are left out, with a notice.

    Raises:
        DataError: no labels, images that do not fit the model, or no finite responses at all.
        RunError: the folder cannot be used.

    >>> oip.rank_into("runs/mine", "model.keras", data="mnist-sample")  # doctest: +SKIP
    [RankedLayer Conv2D_1: 32 maps by predictive; best map 4 (1.21 bits), ...]
    """
    settings = RankingOptions(**options)
    settings.label_estimators()  # an unknown name is refused before any work
    network, images = opened(model, data, labels, resize=resize)
    selections = select_maps(network, layers)
    errors: list[OipError] = []
    ranked = list(rank_layers(out, network, selections, images, settings, progress, errors))
    for error in errors:
        notice(str(error))
    return ranked


def rank_layers(
    out: str | Path,
    network: Network,
    selections: Sequence[Selection],
    data: Dataset,
    options: RankingOptions = RankingOptions(),
    progress: Progress = silent,
    errors: list[OipError] | None = None,
) -> Iterator[RankedLayer]:
    """Rank the maps of layers one after the other, into a run.

    The run is begun with the first result, so that bad input leaves nothing behind. Maps of the
    layer that the run holds already are ranked together with those that are selected, and stay.

    Args:
        out: the run's folder.
        network: the model, its input statistics set.
        selections: layers and map numbers.
        data: images with labels.
        options: of the ranking.
        progress: called with the progress of each layer.
        errors: takes the errors of layers without finite responses, which are left out; without
            it, or if no layer has any, such an error is raised.

    Yields:
        The result of each layer: the selected maps, ranked among all that the run holds.

    Raises:
        DataError: no labels, or images, labels or responses that cannot be used.
        ModelError: kernels that cannot be ranked, or no classes to ablate for.
        SettingsError: no pooling follows a layer that is to be ranked after it.
    """
    data.required_labels()
    _check_pooling(selections, options.at)
    if options.ablate:
        check_classes(network, data)
    if options.kernels:
        for layer, _ in selections:
            check_plain(convolution_call(network, layer), layer)
    estimators = options.label_estimators()
    run = _RunOfRankings(out, network, data, estimators, options)
    more: dict[str, Any] = {"data": data, "samples": options.samples, "seed": options.seed}
    for layer, maps in selections:
        try:
            ranking = _rows_of(run.rank(layer, maps, progress), maps)
        except NoFiniteResponses as error:
            if errors is None:
                raise
            errors.append(error)
            if len(errors) == len(selections):
                raise
            continue
        maps = sorted(RankedLayer(layer, ranking).maps)
        ablation = kernels = redundancies = None
        if options.ablate:
            to = options.silenced_to
            ablation = ablate_into(out, network, ranking, silenced_to=to, progress=progress, **more)
        if options.kernels:
            by = estimators[0]
            kernels = kernels_into(
                out, network, layer, maps, estimator=by, progress=progress, **more
            )
        if options.redundancy:
            redundancies = redundancy_into(out, network, layer, maps, at=options.at, **more)
        yield RankedLayer(layer, ranking, ablation, kernels, redundancies)


class _RunOfRankings:
    """The run that rankings of one model, data and settings are written to."""

    def __init__(
        self,
        out: str | Path,
        network: Network,
        data: Dataset,
        estimators: list[LabelEstimator],
        options: RankingOptions,
    ):
        self.out, self.network, self.data = out, network, data
        self.settings: dict[str, Any] = {
            "estimators": estimators,
            "samples": options.samples,
            "at": options.at,
            "seed": options.seed,
            "with_input": options.with_input,
        }
        parameters = {estimator.name: estimator.settings for estimator in estimators}
        settings = {**self.settings, "estimators": parameters}
        record = msgspec.convert(msgspec.to_builtins(settings), RankingSettings)
        self.record = run_record(network, RunSettings(rank=record), data)
        self.beside = own_files(out, network.path)
        self._key = {**_content_key(network, data), "settings": settings}
        self._run: Run | None = None
        Run.check(out, self.record, self.beside)

    def rank(self, layer: LayerInfo, maps: np.ndarray, progress: Progress) -> RankingFile:
        """Return the ranking of these maps of a layer and all that the run holds of it."""
        folder = RunFolder(self.out).folder(layer.index)
        responses = folder / "responses.npz"

        def key(numbers: list[int]) -> str:
            return key_of({**self._key, "layer": layer.index, "maps": numbers})

        def make(numbers: list[int]) -> tuple[RankingFile, ResponsesFile]:
            ranking = rank(
                self.network,
                self.data.images,
                self.data.labels,
                layer,
                maps=numbers,
                progress=progress,
                classes=self.data.classes,
                split=self.data.source,
                **self.settings,
            )
            self._begin()
            record = ranking.to_file(key(numbers), self._key["images"])
            return record, ResponsesFile(maps=ranking.maps, **ranking.responses)

        path = folder / "ranking.json"
        record = _of_all_maps(path, RankingFile, (responses, ResponsesFile), layer, maps, key, make)
        self._begin().note_made(layer.index, path.name)
        return record

    def _begin(self) -> Run:
        """Begin the run, or go on with it, once."""
        if self._run is None:
            self._run = Run.begin(self.out, self.record, self.beside)
        return self._run


Record = TypeVar("Record", bound=KeyedFile)
Arrays = TypeVar("Arrays", ResponsesFile, RedundancyArrays)


def _of_all_maps(
    path: Path,
    kind: type[Record],
    beside: tuple[Path, type[Arrays]] | None,
    layer: LayerInfo,
    maps: Iterable[int],
    key: Callable[[list[int]], str],
    make: Callable[[list[int]], tuple[Record, Arrays | None]],
) -> Record:
    """Return the record of maps that are measured together, and write it where it is not there.

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
        there = {*(record.numbers() if record else ()), *(arrays.maps.tolist() if arrays else ())}
        there = {number for number in there if 0 <= number < layer.maps}
        return sorted(there.union(int(number) for number in numbers))

    numbers = with_those_there(maps)
    while True:
        record = finished(path, key(numbers), kind, dict([beside] if beside is not None else ()))
        if record is not None:
            return record
        record, arrays = make(numbers)
        with files.locked(path.parent):
            more = with_those_there(numbers)
            if more == numbers:  # no other process has written further maps meanwhile
                if arrays is not None and beside is not None:
                    arrays.write(beside[0])
                record.write(path)
                return record
        numbers = more


def _rows_of(ranking: RankingFile, maps: Iterable[int]) -> RankingFile:
    """Return a ranking with the rows of some maps only, their ranks among all that there are.

    Raises:
        NoFiniteResponses: none of them has a number.
    """
    numbers = {int(number) for number in maps}
    tables = [
        msgspec.structs.replace(by, maps=[row for row in by.maps if row.map in numbers])
        for by in ranking.estimators
    ]
    if all(row.mi is None for row in tables[0].maps):
        raise NoFiniteResponses.of(ranking.layer)
    return msgspec.structs.replace(ranking, estimators=tables)


def kernels_into(
    out: str | Path,
    model: Model,
    layer: str | LayerInfo,
    maps: Iterable[int] | None = None,
    *,
    data: Images,
    labels: np.ndarray | None = None,
    resize: str | None = None,
    estimator: str | LabelEstimator = "predictive",
    samples: int = MOST_FOR_PAIRS,
    seed: int = 0,
    progress: Progress = automatic,
) -> KernelsFile:
    """Rank the kernels of maps, and write `kernels.json` and `kernels-0017.png` for each map.

    Maps that were done before stay in the file, and are done again only if it was in another way.

    Args:
        out: the folder of a run that exists.
        model: a file, a Keras model or a `Network`.
        layer: the layer, or its name.
        maps: numbers of its maps; all if None.
        data, labels, resize: as for `rank_into`.
        estimator: of the information about the label.
        samples: images at most; no more than 500 are used.
        seed: of the sample and the null.
        progress: called with the number of maps that are done.

    Returns:
        The kernels of these maps, in their order.

    Raises:
        ModelError: a layer without plain kernels, such as a depthwise one.
        RunError: no run in the folder.

    >>> oip.kernels_into(
    ...     "runs/mine", "model.keras", "Conv2D_3", [17], data="mnist-sample"
    ... )  # doctest: +SKIP
    """
    network, images, layer, numbers = _of_layer(model, data, labels, resize, layer, maps)
    by = label_estimator(estimator) if isinstance(estimator, str) else estimator
    used = min(samples, MOST_FOR_PAIRS)
    key = _key(network, images, [layer.index, by.name, by.settings, used, seed])
    run = Run.open(out)
    folder = run.folder(layer.index)
    path = folder / "kernels.json"
    rows: dict[int, MapKernels] = {}

    def add_those_there() -> list[int]:
        """Take the rows that were made in the same way; return the maps of all that are there."""
        record = KernelsFile.read_if_whole(path)
        if record is not None and record.key == key:
            rows.update({row.map: row for row in record.maps if row.map not in rows})
        return [] if record is None else record.numbers()

    there = [number for number in add_those_there() if 0 <= number < layer.maps]
    every = [*numbers, *sorted(set(there) - set(numbers))]
    label = f"{layer.name}: kernels"
    progress(label, 0, len(every))
    for done, number in enumerate(every, 1):
        picture = folder / f"kernels-{number:04d}.png"
        if number not in rows or not is_whole_picture(picture):
            kernels = rank_kernels(
                network,
                images.images,
                images.labels,
                layer,
                number,
                estimator=by,
                samples=used,
                seed=seed,
                classes=images.classes,
                split=images.source,
            )
            rows[number] = kernels.to_part()
            plots.save(kernels.plot(), picture)
            with files.locked(folder):
                add_those_there()
                record = KernelsFile(
                    key=key,
                    estimator=kernels.ranking.estimator,
                    name_shown=kernels.ranking.name_shown,
                    samples=kernels.samples,
                    split=kernels.split,
                    ceiling=kernels.ranking.ceiling,
                    maps=[rows[name] for name in sorted(rows)],
                )
                record.write(path)
        progress(label, done, len(every))
    if not numbers:
        raise SettingsError("maps", "at least one", "none")
    record = KernelsFile.read(path)
    run.note_made(layer.index, path.name)
    return msgspec.structs.replace(record, maps=[rows[number] for number in numbers])


def redundancy_into(
    out: str | Path,
    model: Model,
    layer: str | LayerInfo,
    maps: Iterable[int] | None = None,
    *,
    data: Images,
    labels: np.ndarray | None = None,
    resize: str | None = None,
    samples: int = MOST_FOR_PAIRS,
    at: Literal["response", "block"] = "response",
    seed: int = 0,
) -> RedundancyFile:
    """Measure what maps share, and write `redundancy.npz` and `redundancy.json`.

    Args:
        out, model, layer, maps, data, labels, resize, samples, seed: as for `kernels_into`.
        at: the response, or the block output after the pooling that follows.

    Returns:
        Neighbors, clusters and groups of these maps and all that the file holds already.

    Raises:
        RunError: no run in the folder.

    >>> oip.redundancy_into(
    ...     "runs/mine", "model.keras", "Conv2D_3", data="mnist-sample"
    ... ).clusters  # doctest: +SKIP
    """
    network, images, layer, numbers = _of_layer(model, data, labels, resize, layer, maps)
    used = min(samples, MOST_FOR_PAIRS)
    content = _content_key(network, images)

    def key(maps: list[int]) -> str:
        return key_of({**content, "settings": [layer.index, used, at, seed, maps]})

    def make(maps: list[int]) -> tuple[RedundancyFile, RedundancyArrays]:
        shared = redundancy(
            network,
            images.images,
            images.labels,
            layer,
            maps=maps,
            samples=used,
            at=at,
            seed=seed,
            split=images.source,
        )
        return shared.to_file(key(maps)), shared.to_arrays()

    run = Run.open(out)
    folder = run.folder(layer.index)
    beside = (folder / "redundancy.npz", RedundancyArrays)
    path = folder / "redundancy.json"
    record = _of_all_maps(path, RedundancyFile, beside, layer, numbers, key, make)
    run.note_made(layer.index, path.name)
    return record


def ablate_into(
    out: str | Path,
    model: Model,
    ranking: RankingFile | RankedLayer,
    *,
    data: Images,
    labels: np.ndarray | None = None,
    resize: str | None = None,
    silenced_to: Literal["zero", "mean"] = "zero",
    samples: int = 2000,
    seed: int = 0,
    progress: Progress = automatic,
) -> AblationFile:
    """Silence the maps of a ranking one by one, and write `ablation.json` of the layer.

    Args:
        out: the folder of a run that exists.
        model: a file, a Keras model or a `Network`.
        ranking: the ranking of the layer, as `rank_into` returns it.
        data, labels, resize: as for `rank_into`.
        silenced_to: the value that a map is set to: `zero` or `mean`.
        samples, seed: as for `mi.ablate`.
        progress: called with the number of maps that are done.

    Returns:
        The loss increase without each map, with `agreement`: Spearman's correlation of it with the
        information by each estimator, None where there is no order.

    Raises:
        ModelError: the model does not end in classes.
        DataError: no labels, or another number of classes than the model's.
        RunError: no run in the folder.

    >>> ranked = oip.rank_into("runs/mine", "model.keras", data="mnist-sample")  # doctest: +SKIP
    >>> oip.ablate_into(
    ...     "runs/mine", "model.keras", ranked[0], data="mnist-sample"
    ... )  # doctest: +SKIP
    """
    if isinstance(ranking, RankedLayer):
        ranking = ranking.ranking
    network, images = opened(model, data, labels, resize=resize)
    check_classes(network, images)
    layer = network.convolutional[ranking.index]
    maps = {row.map for row in ranking.estimators[0].maps if row.mi is not None}
    run = Run.open(out)
    path = run.folder(layer.index) / "ablation.json"
    content = _content_key(network, images)

    def key(numbers: list[int]) -> str:
        settings = [silenced_to, samples, seed, layer.index, numbers]
        return key_of({**content, "settings": settings})

    def make(numbers: list[int]) -> tuple[AblationFile, None]:
        there = AblationFile.read_if_whole(path)
        if there is not None and there.key != key(there.numbers()):
            there = None  # of other settings
        rows = {row.map: row for row in there.maps} if there is not None else {}
        ablation = ablate(
            network,
            images.images,
            images.labels,
            layer,
            maps=[number for number in numbers if number not in rows],
            to=silenced_to,
            samples=samples,
            seed=seed,
            split=images.source,
            progress=progress,
        )
        record = ablation.to_file(key(numbers))
        rows |= {row.map: row for row in record.maps}
        return msgspec.structs.replace(record, maps=[rows[name] for name in sorted(rows)]), None

    record = _of_all_maps(path, AblationFile, None, layer, maps, key, make)
    agreement = agreement_with(
        RankingFile.read_if_whole(path.parent / "ranking.json") or ranking, record
    )
    if record.agreement != agreement:
        record = msgspec.structs.replace(record, agreement=agreement)
        record.write(path)
    run.note_made(layer.index, path.name)
    return msgspec.structs.replace(record, maps=[row for row in record.maps if row.map in maps])


def agreement_with(ranking: RankingFile, ablation: AblationFile) -> list[RankCorrelation]:
    """Return Spearman's correlation of the loss increase with each estimator's information."""
    effects = {row.map: row.loss_increase for row in ablation.maps}
    correlations = []
    for by in ranking.estimators:
        pairs = [(row.mi, effects.get(row.map)) for row in by.maps]
        information, effect = np.array(pairs, dtype=float).reshape(-1, 2).T
        value = finite_or_none(spearman(information, effect)) if by.ordered else None
        correlations.append(RankCorrelation(estimator=by.estimator, spearman=value))
    return correlations


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


def without_pooling(selections: Iterable[Selection]) -> list[str]:
    """Return the names of layers that no pooling follows."""
    return [layer.name for layer, _ in selections if layer.block_size is None]


def _check_pooling(selections: Iterable[Selection], at: str) -> None:
    if at == "block" and (names := without_pooling(selections)):
        named = ", ".join(names[:8])
        raise SettingsError("at", "layers that pooling follows, for 'block'", named)


def _of_layer(
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
    info = network.find(layer) if isinstance(layer, str) else layer
    numbers = list(range(info.maps)) if maps is None else [int(number) for number in maps]
    map_numbers(info, numbers)
    return network, images, info, numbers


def _content_key(network: Network, data: Dataset) -> dict[str, Any]:
    labels = data_digest(data.required_labels())
    return {"model": network.digest, "images": data_digest(data.images), "labels": labels}


def _key(network: Network, data: Dataset, settings: list[Any]) -> str:
    return key_of({**_content_key(network, data), "settings": settings})
