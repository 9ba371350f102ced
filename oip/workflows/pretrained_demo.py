"""A network of photographs in one command: what `oip demo --network` does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from oip.ascent.settings import of_input, requested_settings
from oip.ascent.targets import objective_targets
from oip.core.errors import RunError, SettingsError
from oip.core.files import check_writable, sha256
from oip.core.progress import Progress, automatic
from oip.network.network import Network
from oip.run.reconstruct import reconstruct_layers
from oip.workflows.demo import demo_summary, timed
from oip.workflows.inputs import Selection, opened
from oip.workflows.rank import RankingOptions, rank_layers

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
) -> dict[str, Any]:
    """Show what some maps and classes of a pretrained network react to, in a gallery.

    Maps of an early, a middle and a late layer, evenly spread over the layer, and some classes.
    With labels in the data the maps are ranked. The same call goes on where it was stopped.

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

    >>> oip.run_pretrained_demo("efficientnet-lite0", units=4)["gallery"]  # doctest: +SKIP
    'runs/demo-efficientnet-lite0/gallery/index.html'
    """
    from oip import gallery

    if units < 1:
        raise SettingsError("units", "a number from 1", units)
    began = time.monotonic()
    seconds: dict[str, float] = {}
    folder = Path(out) if out is not None else Path("runs") / f"demo-{network}"
    check_writable(folder)
    with timed(seconds, "model"):
        path = _model(network, folder)
        if data is None:
            opened_network, images = Network(path), None
        else:
            opened_network, images = opened(path, data, data_dir=data_dir, resize=resize)
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
            list(rank_layers(folder, opened_network, selections, images, options, progress))
    with timed(seconds, "gallery"):
        pictures = None if images is None else images.images
        page = gallery.build(run, data_images=pictures, progress=progress)
    seconds["total"] = round(time.monotonic() - began, 1)
    return {"seconds": seconds, "run": str(folder), "gallery": str(page), **demo_summary(run)}


def _model(network: str, folder: Path) -> Path:
    """Return the model's file in the folder, which is written if it is not there.

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
    more = min(count - len(names), len(remaining))
    return names + [remaining[row] for row in np.linspace(0, len(remaining) - 1, more).astype(int)]
