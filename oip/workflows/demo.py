"""The whole line, from images to a gallery: what `oip demo` does."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oip.ascent.settings import of_input, requested_settings
from oip.core.errors import DataError, RunError
from oip.core.files import check_writable
from oip.core.formats import SidecarFile
from oip.core.progress import Progress, automatic
from oip.network.inputs import read_sidecar
from oip.network.network import Network
from oip.run.reconstruct import reconstruct_layers
from oip.run.run import Run
from oip.run.shards import layer_oips
from oip.workflows.inputs import select_maps
from oip.workflows.rank import RankingOptions, rank_layers

if TYPE_CHECKING:
    from oip.models import Dataset

RECIPE = "conv-stack"
SOURCE = "mnist-sample"


def run_demo(
    data: str = SOURCE,
    out: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    size: tuple[int, int] | None = None,
    resize: str | None = None,
    seed: int = 0,
    progress: Progress = automatic,
) -> dict[str, Any]:
    """Train a small network, reconstruct and rank all of its maps, and build a gallery.

    The same call goes on where it was stopped.

    Args:
        data: a source of images with labels, without a part: both parts are used.
        out: the folder of the run; `runs/demo`, or `runs/demo-SOURCE`, if None.
        data_dir: folder searched for data files before they are downloaded.
        size, resize: (h, w) that images are brought to, and how, as for `models.load`.
        seed: of the training, the ascent and the ranking.
        progress: called with the progress of each step.

    Returns:
        A dictionary of `run` and `gallery` (paths), `accuracy` on the test images, `seconds` of
        each step, and `layers`: the layer's name and index, the number of its maps, verdicts, maps
        whose OIP is above the best image, and the maps with the most and the least information.

    Raises:
        DataError: a source that cannot be used.
        RunError: a folder with another demo in it, or one that cannot be written.

    >>> oip.run_demo(out="runs/demo")["accuracy"]  # doctest: +SKIP
    0.967
    """
    from oip import gallery, models

    began = time.monotonic()
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
    seconds["total"] = round(time.monotonic() - began, 1)
    return {"seconds": seconds, "run": str(folder), "gallery": str(page), **demo_summary(run)}


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


def demo_summary(run: Run) -> dict[str, Any]:
    """Return the accuracy, and verdicts, best and worst map of each layer."""
    run = Run.open(run.path)
    layers = []
    for index in run.reconstructed():
        oips = layer_oips(run, index)
        ranking = run.ranking(index)
        ranked: dict[str, Any] = {}
        if ranking is not None:
            best = ranking.estimators[0]
            maps = [row for row in best.maps if row.mi is not None]
            ranked = {
                "estimator": best.estimator,
                "name_shown": best.name_shown,
                "most": {"map": maps[0].map, "bits": maps[0].mi},
                "least": {"map": maps[-1].map, "bits": maps[-1].mi},
            }
        excitable = oips.data_active > 0
        layers.append(
            {
                "layer": oips.layer,
                "index": index,
                "maps": len(oips),
                "verdicts": dict(Counter(oips.verdicts)),
                "excitable": int(excitable.sum()),
                "above_best_image": int((oips.scores[:, 0] > oips.data_scores)[excitable].sum()),
                **ranked,
            }
        )
    return {"accuracy": run.record.accuracy, "layers": layers}


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Put the wall time of a step into `seconds`."""
    began = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - began, 1)
