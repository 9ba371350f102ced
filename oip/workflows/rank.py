"""Rankings of maps, kernels and pairs of maps in a run; what is finished is not done again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec
import numpy as np

from oip.core import files, plots
from oip.core.errors import OipError, RunError, SettingsError, logged, notice
from oip.core.formats import RankingSettings, RunSettings
from oip.core.images import is_whole_picture, preprocess_in
from oip.core.layer_formats import (
    EstimatorRecord,
    KernelsFile,
    LegibilityFile,
    MapKernels,
    RankingFile,
    RedundancyArrays,
    RedundancyFile,
    ResponsesFile,
)
from oip.core.progress import Progress, automatic, silent
from oip.core.units import finite_list
from oip.mi.estimators.base import LabelEstimator, label_estimator
from oip.mi.kernel_ranking import check_plain, rank_kernels
from oip.mi.label_free import About, check_about, rank_without_labels
from oip.mi.layer_sample import NoFiniteResponses
from oip.mi.ranking import DEFAULT_ESTIMATORS, Ranking, rank
from oip.mi.redundancies import redundancy
from oip.network.channel_graph import kernel_call
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.run.run import Run, RunFolder, own_files, run_record
from oip.run.shards import key_of
from oip.workflows.directions import with_run_directions
from oip.workflows.inputs import Selection, in_order_of_outputs, opened, select_maps
from oip.workflows.layer_records import (
    RankedLayer,
    check_classes,
    content_key,
    layer_key,
    opened_layer,
    record_of_all_maps,
)
from oip.workflows.silencing import ablate_into

if TYPE_CHECKING:
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
    about: Literal["label", "input", "direction", "none"] = "label"
    """What the order is about: labels, or something else, see `mi.rank_without_labels`."""
    target: np.ndarray | None = None
    """Of `direction`: (n,) numbers, or an array of the shape of an image."""

    def check_about(self) -> None:
        """Check what the order is about.

        Raises:
            SettingsError: another word, a direction without a target or a target without it, or
                something beside it that is only about labels.
        """
        if self.about == "label" and self.target is None:
            return
        check_about(self.about, self.target is not None)
        names = ("kernels", "redundancy", "ablate", "with_input")
        if self.about == "none" and self.estimators:
            raise SettingsError("about none", "no estimators", ", ".join(map(str, self.estimators)))
        if other_measures := [name for name in names if getattr(self, name)]:
            received = ", ".join(other_measures)
            raise SettingsError(f"about {self.about}", "the order alone", received)

    def label_estimators(self) -> list[LabelEstimator]:
        """Return the estimators; a SettingsError names one that does not exist."""
        return [
            label_estimator(name) if isinstance(name, str) else name
            for name in self.estimators or DEFAULT_ESTIMATORS
        ]


FORM = 2
"""Raised when rankings and their responses hold more: those that are there are made again."""


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

    The same call continues interrupted work.

    Args:
        out: the run's folder; new, empty, or a run of the same model.
        model: a file, a Keras model or a `Network`.
        layers: `"Conv2D_3:0-15"` or several of these; every convolutional layer if None.
        data: a source of images with labels, or images (n, h, w, bands).
        labels: (n,) whole numbers or names, or (n, k) zeros and ones of images with several labels,
            for images that are an array.
        resize: how images get the model's size, `crop`, `fit` or `stretch`; image files are cropped
            if None, and others have to fit.
        progress: called with the progress of each layer.
        options: fields of `RankingOptions`: `estimators` (the first one gives the order),
            `samples` (images at most, 2000), `at` (`response` or `block`), `seed`, and what else
            is measured: `with_input`, `kernels`, `redundancy`, `ablate`, with `silenced_to`. An
            order that needs no labels is `about` something else, see `mi.rank_without_labels`.

    Returns:
        A result for each layer. Layers without finite responses are left out, with a notice; so
        are those that no pooling follows, if `at` is `block` and no layer is named.

    Raises:
        DataError: no labels, images that do not fit the model, or no finite responses at all.
        RunError: the folder cannot be used.

    >>> oip.rank_into("runs/mine", "model.keras", data="mnist-sample")  # doctest: +SKIP
    [RankedLayer Conv2D_1: 32 maps by predictive; best map 4 (1.21 bits), ...]
    """
    settings = RankingOptions(**options)
    settings.label_estimators()  # an unknown name is refused before any work
    network, images = opened(model, data, labels, resize=resize)
    network = with_run_directions(network, out)
    selections = maps_to_rank(network, layers, settings.at)
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
    options.check_about()
    data = in_order_of_outputs(network, data)
    if options.about == "label":
        data.required_targets()
    for name in ("ablate", "kernels", "redundancy"):
        if getattr(options, name):
            data.required_labels()
    _check_pooling(selections, options.at)
    if options.ablate:
        check_classes(network, data)
    if options.kernels:
        for layer, _ in selections:
            check_plain(kernel_call(network, layer), layer)
    estimators = options.label_estimators()
    layers = [layer for layer, _ in selections]
    run = _RunOfRankings(out, network, data, estimators, options, layers)
    sampling: dict[str, Any] = {"data": data, "samples": options.samples, "seed": options.seed}
    for layer, maps in selections:
        try:
            ranking = _select_rows(run.rank(layer, maps, progress), maps)
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
            ablation = ablate_into(
                out, network, ranking, to=options.silenced_to, progress=progress, **sampling
            )
        if options.kernels:
            by = estimators[0]
            kernels = kernels_into(
                out, network, layer, maps, estimator=by, progress=progress, **sampling
            )
        if options.redundancy:
            redundancies = redundancy_into(out, network, layer, maps, at=options.at, **sampling)
        path = RunFolder(out).folder(layer.index) / "legibility.json"
        legibility = LegibilityFile.read_if_whole(path)
        yield RankedLayer(layer, ranking, ablation, kernels, redundancies, legibility)


def _check_prepared(run: Run, network: Network, data: Dataset) -> None:
    """Refuse whole pixels of 0 to 255 as they are, where the run's model is fed with others."""
    source = run.record.input.source if run.record.input is not None else ""
    mode = preprocess_in(source)
    if mode is None or data.images.dtype != np.uint8 or preprocess_in(network.inputs.source):
        return
    expected = f"images as '{source}' makes them, as in this run"
    hint = f"Give --preprocess {mode}, or choose another folder."
    raise RunError(f"'{run.path}'", expected, f"pixels of {data.source} as they are", hint)


class _RunOfRankings:
    """The run that rankings of one model, data and settings are written to."""

    def __init__(
        self,
        out: str | Path,
        network: Network,
        data: Dataset,
        estimators: list[LabelEstimator],
        options: RankingOptions,
        layers: Sequence[LayerInfo],
    ):
        self.out, self.network, self.data = out, network, data
        self.settings: dict[str, Any] = {
            "estimators": estimators,
            "samples": options.samples,
            "at": options.at,
            "seed": options.seed,
            "with_input": options.with_input,
        }
        self.options = options
        parameters = {estimator.name: estimator.settings for estimator in estimators}
        settings = {**self.settings, "estimators": parameters}
        if options.about != "label":
            settings["about"] = options.about
        record = msgspec.convert(msgspec.to_builtins(settings), RankingSettings)
        self.record = run_record(network, RunSettings(rank=record), data, layers=layers)
        self.beside = own_files(out, network.path)
        content = content_key(network, data, options.about == "label", options.target)
        self._key = {**content, "settings": settings, "form": FORM}
        if options.about == "label":
            self._key["classes"] = list(data.classes)
        self._run: Run | None = None
        existing = Run.check(out, self.record, self.beside)
        if existing is not None:
            _check_prepared(existing, network, data)

    def rank(self, layer: LayerInfo, maps: np.ndarray, progress: Progress) -> RankingFile:
        """Return the ranking of these maps of a layer and all that the run holds of it."""
        folder = RunFolder(self.out).folder(layer.index)
        responses = folder / "responses.npz"
        about, judged = self.options.about, None
        if about == "none":
            judged = LegibilityFile.read_if_whole(folder / "legibility.json")

        def key(numbers: list[int]) -> str:
            values = {**self._key, "layer": layer_key(layer), "maps": numbers}
            return key_of(values if judged is None else {**values, "judged": judged.public_dict()})

        def make(numbers: list[int]) -> tuple[RankingFile, ResponsesFile]:
            with logged("%s: ranked %d maps", layer.name, len(numbers)):
                reading = {"maps": numbers, "progress": progress, "split": self.data.source}
                if about == "label":
                    ranking = rank(
                        self.network,
                        self.data.images,
                        self.data.targets,
                        layer,
                        classes=self.data.classes,
                        **reading,
                        **self.settings,
                    )
                else:
                    ranking = self._rank_without_labels(layer, judged, reading)
            self._begin()
            record = ranking.to_file(key(numbers), self._key["images"])
            return record, ResponsesFile(maps=ranking.maps, **ranking.responses)

        path = folder / "ranking.json"
        record = record_of_all_maps(
            path, RankingFile, (responses, ResponsesFile), layer, maps, key, make
        )
        self._begin().note_made(layer.index, path.name)
        return record

    def _rank_without_labels(
        self, layer: LayerInfo, judged: LegibilityFile | None, reading: dict[str, Any]
    ) -> Ranking:
        """Return the ranking of a layer about something else than labels."""
        settings = {name: value for name, value in self.settings.items() if name != "with_input"}
        options = self.options
        if options.about == "none":
            settings.pop("estimators")
        if judged is not None:
            rows = ((row.map, (row.share, row.low, row.high)) for row in judged.maps)
            settings["legibility"] = {
                map_index: tuple(np.nan if value is None else value for value in values)
                for map_index, values in rows
            }
        about = cast(About, options.about)
        images = self.data.images
        return rank_without_labels(
            self.network, images, layer, about, target=options.target, **settings, **reading
        )

    def _begin(self) -> Run:
        """Begin the run, or go on with it, once."""
        if self._run is None:
            self._run = Run.begin(self.out, self.record, self.beside)
        return self._run


def _select_rows(ranking: RankingFile, maps: Iterable[int]) -> RankingFile:
    """Return a ranking with the rows of some maps only; ranks stay those among all maps.

    Raises:
        NoFiniteResponses: none of them has a number.
    """
    numbers = {int(map_index) for map_index in maps}

    def selected(by: EstimatorRecord) -> EstimatorRecord:
        rows = [row for row in by.maps if row.map in numbers]
        if len(rows) == len(by.maps):
            return by
        return msgspec.structs.replace(by, maps=rows, class_medians=finite_list(by.medians))

    tables = [selected(by) for by in ranking.estimators]
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
    network, images, layer, numbers = opened_layer(model, data, labels, resize, layer, maps)
    estimator = label_estimator(estimator) if isinstance(estimator, str) else estimator
    samples = min(samples, MOST_FOR_PAIRS)
    settings = [layer_key(layer), estimator.name, estimator.settings, samples, seed]
    key = key_of({**content_key(network, images), "settings": settings})
    run = Run.open(out)
    folder = run.folder(layer.index)
    path = folder / "kernels.json"
    by_map, recorded = _recorded_kernels(path, key)
    # A picture alone is of a map that a call with other settings did not come to before it ended.
    names = (picture.stem.removeprefix("kernels-") for picture in folder.glob("kernels-*.png"))
    recorded += [int(name) for name in names if name.isdecimal()]
    existing = {map_index for map_index in recorded if 0 <= map_index < layer.maps}
    all_maps = [*numbers, *sorted(existing - set(numbers))]
    label = f"{layer.name}: kernels"
    progress(label, 0, len(all_maps))
    for count, map_index in enumerate(all_maps, 1):
        picture = folder / f"kernels-{map_index:04d}.png"
        if map_index not in by_map or not is_whole_picture(picture):
            kernels = rank_kernels(
                network,
                images.images,
                images.labels,
                layer,
                map_index,
                estimator=estimator,
                samples=samples,
                seed=seed,
                classes=images.classes,
                split=images.source,
            )
            plots.save(kernels.plot(), picture)
            with files.locked(folder):  # another process may have added others
                by_map = _recorded_kernels(path, key)[0] | by_map | {map_index: kernels.to_part()}
                kernels.to_file(key, [by_map[name] for name in sorted(by_map)]).write(path)
        progress(label, count, len(all_maps))
    record = KernelsFile.read(path)
    run.note_made(layer.index, path.name)
    return msgspec.structs.replace(record, maps=[by_map[map_index] for map_index in numbers])


def _recorded_kernels(path: Path, key: str) -> tuple[dict[int, MapKernels], list[int]]:
    """Return the kernels in a file that were ranked in the same way, and all maps in the file."""
    record = KernelsFile.read_if_whole(path)
    if record is None:
        return {}, []
    by_map = {row.map: row for row in record.maps} if record.key == key else {}
    return by_map, record.numbers()


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
    network, images, layer, numbers = opened_layer(model, data, labels, resize, layer, maps)
    samples = min(samples, MOST_FOR_PAIRS)
    content = content_key(network, images)
    if len(network.inputs.std) > 1:  # weighs the bands where images are compared
        content["std"] = network.inputs.std.tolist()

    def key(maps: list[int]) -> str:
        return key_of({**content, "settings": [layer_key(layer), samples, at, seed, maps]})

    def make(maps: list[int]) -> tuple[RedundancyFile, RedundancyArrays]:
        shared = redundancy(
            network,
            images.images,
            images.labels,
            layer,
            maps=maps,
            samples=samples,
            at=at,
            seed=seed,
            split=images.source,
        )
        return shared.to_file(key(maps)), shared.to_arrays()

    run = Run.open(out)
    folder = run.folder(layer.index)
    beside = (folder / "redundancy.npz", RedundancyArrays)
    path = folder / "redundancy.json"
    record = record_of_all_maps(path, RedundancyFile, beside, layer, numbers, key, make)
    run.note_made(layer.index, path.name)
    return record


def maps_to_rank(network: Network, layers: Layers, at: str) -> list[Selection]:
    """Return the layers and maps that a caller names, see `select_maps`.

    Where none is named, layers that cannot be ranked at their block are left out, with a notice.
    """
    selections = select_maps(network, layers)
    lacking = _unpooled_layers(selections) if at == "block" and not layers else []
    if not lacking or len(lacking) == len(selections):
        return selections  # what cannot be ranked is refused there
    notice(f"left out, because no pooling follows them: {', '.join(lacking)}")
    return [pair for pair in selections if pair[0].name not in lacking]


def _unpooled_layers(selections: Iterable[Selection]) -> list[str]:
    """Return the names of layers that no pooling follows."""
    return [layer.name for layer, _ in selections if layer.block_size is None]


def _check_pooling(selections: Iterable[Selection], at: str) -> None:
    if at == "block" and (names := _unpooled_layers(selections)):
        listing = ", ".join(names[:8])
        raise SettingsError("at", "layers that pooling follows, for 'block'", listing)
