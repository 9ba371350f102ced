"""OIPs into a run, from what a user names: a model, layers or objectives, and data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.ascent.objectives import Objective, parse_objectives
from oip.ascent.settings import AUTO, AscentSettings, of_input, requested_settings
from oip.ascent.targets import ObjectiveTargets, objective_targets
from oip.core.checks import check_whole
from oip.core.errors import SettingsError
from oip.core.progress import Progress, automatic
from oip.network.network import Network
from oip.run.reconstruct import reconstruct_layers
from oip.run.run import Run
from oip.workflows.directions import with_run_directions
from oip.workflows.inputs import Selection, load_start, open_network, opened, select_maps
from oip.workflows.top_maps import find_top_maps, parse_by

if TYPE_CHECKING:
    from oip.workflows.inputs import Images, Layers, Model


def reconstruct_into(
    out: str | Path,
    model: Model,
    layers: Layers = None,
    settings: AscentSettings | None = None,
    data: Images | None = None,
    progress: Progress = automatic,
    *,
    labels: np.ndarray | None = None,
    resize: str | None = None,
    objectives: Sequence[str] = (),
    top: int | None = None,
    by: str | None = None,
    start: np.ndarray | str | Path | None = None,
    preset: str = AUTO,
    **changes: object,
) -> Run:
    """Grow OIPs and write them into a run; the same call continues interrupted work.

    Args:
        out: the run's folder; new, empty, or a run of the same model and settings.
        model: a file, a Keras model or a `Network`.
        layers: `"Conv2D_3:0-15"` or several of these; every convolutional layer if None.
        settings: of the ascent; those of `preset` with `changes` if None.
        data: a source, or images (n, h, w, bands), that verdicts and scores are compared with;
            their statistics are used where those of the input are not known.
        progress: called with the progress of each layer.
        labels: (n,), for images that are an array; `top` needs labels.
        resize: how images get the model's size, `crop`, `fit` or `stretch`; image files are cropped
            if None, and others have to fit.
        objectives: grow images for these, such as `"class:4 - class:9"`, instead of maps; `layers`
            then names the layer of terms without one.
        top: only so many of the best maps of each layer; they are ranked first, into the same run.
        by: what the best maps are found by: `mi` or `separates:CLASS,CLASS`.
        start: an image file, or an image (h, w, b) as the model is fed, to begin with in place of
            noise.
        preset: `auto`, or one of `PRESETS`, as for `oip.reconstruct`.
        changes: fields of `AscentSettings`, such as `starts=2` or `seed=1`.

    Returns:
        The run; `oip.layer_oips(run, index)` reads the OIPs of a layer.

    Raises:
        RunError: the folder cannot be used, or holds OIPs of other settings.
        DataError: the images do not fit the model, or have no labels where they are needed.
        ModelError: no map has finite responses; nothing was written.
        SettingsError: settings that do not go together.

    >>> run = oip.reconstruct_into(
    ...     "runs/mine", "model.keras", "Conv2D_3:0-15", data="mnist-sample", steps=60
    ... )  # doctest: +SKIP
    """
    by = check_top(top, by, objectives, data is not None)
    expressions = parse_objectives(objectives) if objectives else []
    requested = settings or requested_settings(preset, start is not None, **changes)
    if data is None:
        network, images = open_network(model), None
    else:
        network, images = opened(model, data, labels, resize=resize)
    network = with_run_directions(network, out)
    network.inputs.warn_if_assumed()
    settings = of_input(requested, network.inputs.shape)
    selections, targets = select_targets(network, layers, expressions)
    if top is not None and by is not None and images is not None:
        selections = find_top_maps(
            out, network, selections, images, top=top, by=by, seed=settings.seed, progress=progress
        ).selections
    begin = None if start is None else load_start(network, start)
    return reconstruct_layers(out, network, selections, settings, images, progress, targets, begin)


def select_targets(
    network: Network, layers: Layers, objectives: Sequence[str | Objective]
) -> tuple[list[Selection], ObjectiveTargets | None]:
    """Return layers with their maps, or objectives: what `reconstruct_layers` takes.

    Args:
        network: the model.
        layers: as for `reconstruct_into`.
        objectives: expressions; maps are reconstructed if there are none.

    Raises:
        SettingsError: several layers beside objectives.
    """
    if not objectives:
        return select_maps(network, layers), None
    names = [layers] if isinstance(layers, str) else layers or ()
    if not isinstance(names, Sequence) or len(names) > 1:
        raise SettingsError("objective", "one layer as well", names)
    return [], objective_targets(network, objectives, *map(str, names))


def check_top(
    top: int | None, by: str | None, objectives: Sequence[str], has_data: bool
) -> str | None:
    """Return what the best maps are found by; None where all maps are reconstructed.

    Raises:
        SettingsError: `by` without `top`, objectives beside it, no data to rank the maps on, or a
            `top` that is no whole number of maps.
    """
    if top is None:
        if by is not None:
            raise SettingsError("by", "a number of top maps as well", "none")
        return None
    if objectives:
        raise SettingsError("top", "maps", "objectives")
    if not has_data:
        raise SettingsError("top", "data with labels, to rank the maps on", "none")
    check_whole("top", top)
    by = "mi" if by is None else by
    parse_by(by)
    return by
