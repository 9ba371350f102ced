"""The whole line, from images to a gallery, and a network of photographs: `oip demo`."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from oip.ascent.settings import of_input, requested_settings
from oip.ascent.targets import objective_targets
from oip.core import html
from oip.core.errors import DataError, RunError, SettingsError, notice
from oip.core.files import check_writable, sha256
from oip.core.formats import SidecarFile
from oip.core.progress import Progress, automatic
from oip.core.records import Part
from oip.network.inputs import read_sidecar
from oip.network.network import Network
from oip.run.reconstruct import reconstruct_layers
from oip.run.run import Run
from oip.run.shards import layer_oips
from oip.workflows.inputs import Selection, load_data, opened, select_maps
from oip.workflows.rank import RankingOptions, rank_layers

if TYPE_CHECKING:
    from pandas import DataFrame

    from oip.models import Dataset

RECIPE = "conv-stack"
SOURCE = "mnist-sample"


class MapBits(Part, frozen=True, kw_only=True):
    """A map and its information about the class, in bits."""

    map: int
    bits: float


class LayerSummary(Part, frozen=True, kw_only=True):
    """The verdicts of a layer's maps, and the maps with the most and the least information."""

    layer: str
    index: int
    maps: int
    verdicts: dict[str, int]
    """How many maps have each."""
    excitable: int
    """Maps that respond to images of the data."""
    above_best_image: int
    """Those whose OIP has a higher score than any image of the data."""
    estimator: str | UnsetType = UNSET
    """Unset without a ranking, as all that follow."""
    name_shown: str | UnsetType = UNSET
    most: MapBits | UnsetType = UNSET
    least: MapBits | UnsetType = UNSET


class DemoResult(Part, frozen=True, kw_only=True):
    """The result of a demo, as `oip demo --json` prints it."""

    seconds: dict[str, float]
    """Wall time of each step."""
    run: str
    gallery: str
    """Paths."""
    accuracy: float | None
    """Share of the test images; None where it is not known."""
    layers: list[LayerSummary]

    def to_pandas(self) -> DataFrame:
        """Return a row for each layer: its maps, verdicts, and maps above the best image."""
        import pandas

        names = ("layer", "maps", "excitable", "above_best_image")
        rows = [
            {**{name: getattr(layer, name) for name in names}, **layer.verdicts}
            for layer in self.layers
        ]
        return pandas.DataFrame(rows)

    def __repr__(self) -> str:
        accuracy = "" if self.accuracy is None else f", accuracy {self.accuracy:.3f}"
        maps = sum(layer.maps for layer in self.layers)
        return f"<DemoResult '{self.run}': {maps} maps of {len(self.layers)} layers{accuracy}>"

    def _repr_html_(self) -> str:
        return html.block(repr(self).strip("<>"), html.frame(self.to_pandas()))


def run_demo(
    data: str = SOURCE,
    out: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    size: tuple[int, int] | None = None,
    resize: str | None = None,
    seed: int = 0,
    progress: Progress = automatic,
) -> DemoResult:
    """Train a small network, reconstruct and rank all of its maps, and build a gallery.

    The same call continues interrupted work.

    Args:
        data: a source of images with labels, without a part: both parts are used.
        out: the folder of the run; `runs/demo`, or `runs/demo-SOURCE`, if None.
        data_dir: folder searched for data files before they are downloaded.
        size, resize: (h, w) that images are brought to, and how, as for `models.load`.
        seed: of the training, the ascent and the ranking.
        progress: called with the progress of each step.

    Returns:
        Paths of run and gallery, the accuracy on the test images, the seconds of each step, and a
        summary of each layer.

    Raises:
        DataError: a source that cannot be used.
        RunError: a folder with another demo in it, or one that cannot be written.

    >>> oip.run_demo(out="runs/demo").accuracy  # doctest: +SKIP
    0.967
    """
    from oip import gallery, models

    started = time.monotonic()
    seconds: dict[str, float] = {}
    if models.split_source(data)[1] is not None:
        reason = "a source without a part (the demo uses both)"
        raise DataError("data", reason, f"'{data}'")
    folder = Path(out) if out is not None else default_folder(data)
    check_writable(folder)
    test = models.load(data, data_dir, "test", size, resize=resize)
    with timed(seconds, "train"):
        load = functools.partial(models.load, data, data_dir, "train", size, resize=resize)
        model = _trained_model(load, test, folder, seed, progress)
    run = _measure(model, test, folder, seed, seconds, progress)
    with timed(seconds, "gallery"):
        page = gallery.build(
            run, data_images=test.images, data_labels=test.labels, progress=progress
        )
    return _result(run, page, seconds, started)


def _result(run: Run, page: Path, seconds: dict[str, float], started: float) -> DemoResult:
    run = Run.open(run.path)
    total = round(time.monotonic() - started, 1)
    return DemoResult(
        seconds={**seconds, "total": total},
        run=str(run.path),
        gallery=str(page),
        accuracy=run.record.accuracy,
        layers=[_layer_summary(run, index) for index in run.reconstructed()],
    )


def _layer_summary(run: Run, index: int) -> LayerSummary:
    oips = layer_oips(run, index)
    ranking = run.ranking(index)
    excitable = oips.data_active > 0
    summary = LayerSummary(
        layer=oips.layer,
        index=index,
        maps=len(oips),
        verdicts=dict(Counter(oips.verdicts)),
        excitable=int(excitable.sum()),
        above_best_image=int((oips.scores[:, 0] > oips.data_scores)[excitable].sum()),
    )
    if ranking is None:
        return summary
    best = ranking.estimators[0]
    maps = [MapBits(map=row.map, bits=row.mi) for row in best.maps if row.mi is not None]
    return msgspec.structs.replace(
        summary,
        estimator=best.estimator,
        name_shown=best.name_shown,
        most=maps[0],
        least=maps[-1],
    )


def default_folder(source: str) -> Path:
    """Return the folder of a demo for which none is named."""
    return Path("runs") / ("demo" if source == SOURCE else f"demo-{Path(source).stem}")


def _trained_model(
    load: Callable[[], Dataset],
    test: Dataset,
    folder: Path,
    seed: int,
    progress: Progress,
) -> Path:
    """Return the demo's model: the one in the folder if it has this data and seed, else a new one.

    Raises:
        RunError: the folder holds another demo.
    """
    from oip import models

    path = folder / "model.keras"
    if path.exists():
        sidecar = read_sidecar(path) or SidecarFile()
        expected_model = (RECIPE, f"{test.source.rpartition(':')[0]}:train", seed)
        model = (sidecar.recipe, sidecar.data, (sidecar.settings or {}).get("seed"))
        if model == expected_model:
            return path
        text = "recipe {}, data {}, seed {}"
        raise RunError(
            f"'{folder}' holds another demo",
            text.format(*expected_model),
            text.format(*model),
            "Choose another folder.",
        )
    train = load()
    recipe = models.recipe(RECIPE)
    settings = recipe.settings(len(train.images), seed=seed)
    models.train(recipe, train, test, settings, path, progress)
    return path


def _measure(
    model: Path,
    test: Dataset,
    folder: Path,
    seed: int,
    seconds: dict[str, float],
    progress: Progress,
) -> Run:
    """Put the OIPs and the rankings of all layers into the run."""
    network = Network(model)
    selections = select_maps(network, None)
    with timed(seconds, "reconstruct"):
        settings = of_input(requested_settings(seed=seed), network.inputs.shape)
        run = reconstruct_layers(folder, network, selections, settings, test, progress)
    with timed(seconds, "rank"):
        options = RankingOptions(seed=seed)
        list(rank_layers(folder, network, selections, test, options, progress))
    return run


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Put the wall time of a step into `seconds`."""
    started = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - started, 1)


UNITS = 8
"""Maps of each layer, and classes, that are shown by default."""
_LAYERS = ("block2a_expand", "block3b_expand", "head")
"""An early, a middle and a late one."""
_CLASSES = (
    *("goldfish", "bald eagle", "zebra", "tarantula"),
    *("German shepherd", "castle", "pineapple", "volcano"),
)


def run_pretrained_demo(
    network: str,
    data: str | None = None,
    out: str | Path | None = None,
    *,
    units: int = UNITS,
    data_dir: str | Path | None = None,
    resize: str | None = None,
    seed: int = 0,
    progress: Progress = automatic,
    **changes: Any,
) -> DemoResult:
    """Show what some maps and classes of a pretrained network react to, in a gallery.

    Maps of an early, a middle and a late layer, evenly spread over the layer, and some classes.
    With labels in the data, and enough images, the maps are ranked. The same call continues
    interrupted work.

    Args:
        network: as for `models.pretrained`, such as `efficientnet-lite0`.
        data: a source of images, for the scores and, with labels, the ranking; none are needed.
        out: the folder of the run; `runs/demo-NETWORK` if None.
        units: maps of each layer, and classes.
        data_dir, resize: as for `models.load`.
        seed: of the ascent and the ranking.
        progress: called with the progress of each step.
        changes: fields of `AscentSettings`, such as `starts=1`.

    Returns:
        As of `run_demo`; there is no accuracy, and a layer without a ranking has neither a map with
        the most information nor one with the least.

    Raises:
        SettingsError: an unknown network, or no units.
        DataError: the package of the network's weights is not installed, or data that do not fit.
        RunError: a folder with another demo in it, or one that cannot be written.

    >>> oip.run_pretrained_demo("efficientnet-lite0", units=4).gallery  # doctest: +SKIP
    'runs/demo-efficientnet-lite0/gallery/index.html'
    """
    from oip import gallery

    if units < 1:
        raise SettingsError("units", "a number from 1", units)
    started = time.monotonic()
    seconds: dict[str, float] = {}
    folder = Path(out) if out is not None else Path("runs") / f"demo-{network}"
    check_writable(folder)
    dataset = None if data is None else _load_data(network, data, data_dir, resize)
    with timed(seconds, "model"):
        path = _model(network, folder)
        if dataset is None:
            opened_network, images = Network(path), None
        else:
            opened_network, images = opened(path, dataset)
    selections: list[Selection] = []
    for name in _LAYERS:
        layer = opened_network.find(name)
        maps = np.unique(np.linspace(0, layer.maps - 1, min(units, layer.maps)).astype(int))
        selections.append((layer, maps))
    targets = objective_targets(opened_network, [f"class:{name}" for name in _classes(units)])
    with timed(seconds, "reconstruct"):
        settings = of_input(requested_settings(seed=seed, **changes), opened_network.inputs.shape)
        run = reconstruct_layers(
            folder, opened_network, selections, settings, images, progress, targets
        )
    if images is not None and images.labels is not None:
        with timed(seconds, "rank"):
            options = RankingOptions(seed=seed)
            try:
                list(rank_layers(folder, opened_network, selections, images, options, progress))
            except DataError as error:
                notice(f"the maps are not ranked. {error}")
    with timed(seconds, "gallery"):
        pictures = None if images is None else images.images
        page = gallery.build(run, data_images=pictures, progress=progress)
    return _result(run, page, seconds, started)


def _load_data(
    network: str, data: str, data_dir: str | Path | None, resize: str | None
) -> Dataset | None:
    """Load images in the size of a pretrained network, before its file is written."""
    from oip.models.imagenet import NETWORKS

    if network not in NETWORKS:
        return None  # which is told where its weights are asked for
    side = NETWORKS[network].pixels
    return load_data(data, None, "test", data_dir, resize, lambda _: (side, side, 3))


def _model(network: str, folder: Path) -> Path:
    """Return the model's file in the folder, after writing it if it is missing.

    Raises:
        RunError: the folder holds the demo of another network.
    """
    from oip import models
    from oip.network.inputs import read_sidecar

    path = folder / "model.keras"
    if path.exists():
        sidecar = read_sidecar(path)
        if sidecar is not None and sidecar.recipe == network and sidecar.sha256 == sha256(path):
            return path
        received = "another one" if sidecar is None else sidecar.recipe
        raise RunError(
            f"'{folder}' holds another demo", network, received, "Choose another folder."
        )
    models.pretrained(network, path)
    return path


def _classes(count: int) -> list[str]:
    """Return names of well-known classes; of more than eight, further ones evenly spread."""
    from oip.models.imagenet import imagenet_classes

    names = list(_CLASSES[:count])
    remaining = [name for name in imagenet_classes() if name not in names]
    further_count = min(count - len(names), len(remaining))
    return names + [
        remaining[row] for row in np.linspace(0, len(remaining) - 1, further_count).astype(int)
    ]
