"""Silencing, in a run: the loss of a model without each map, and the causes of a unit as OIPs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from oip.core import plots
from oip.core.checks import check_kind
from oip.core.errors import OipError, RunError, SettingsError
from oip.core.formats import CausesFile
from oip.core.images import displayable
from oip.core.layer_formats import AblationFile, RankCorrelation, RankingFile
from oip.core.progress import Progress, automatic
from oip.core.units import finite_or_none
from oip.mi.ablation import ablate, one_class_layer
from oip.mi.circuits import Causes, causes
from oip.mi.ranking import spearman
from oip.network.layer_spec import parse_selections
from oip.run.run import Run
from oip.run.shards import key_of, layer_parts
from oip.workflows.directions import with_directions_of
from oip.workflows.inputs import opened
from oip.workflows.layer_records import (
    RankedLayer,
    check_classes,
    content_key,
    layer_key,
    record_of_all_maps,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from oip.models import Dataset
    from oip.network.layers import LayerInfo
    from oip.network.network import Network
    from oip.workflows.inputs import Images, Model

CAUSES = "causes.json"
_WIDTH, _ROW = 7.2, 1.35
"""Inches."""
SHOWN = 8
"""Units of the earlier layer, and outputs."""
_SMALL = 64
"""Pixels of pictures that are drawn larger than they are."""


def ablate_into(
    out: str | Path,
    model: Model,
    ranking: RankingFile | RankedLayer,
    *,
    data: Images,
    labels: np.ndarray | None = None,
    resize: str | None = None,
    to: Literal["zero", "mean"] = "zero",
    samples: int = 2000,
    seed: int = 0,
    progress: Progress = automatic,
    silenced_to: Literal["zero", "mean"] | None = None,
) -> AblationFile:
    """Silence the maps of a ranking one by one, and write `ablation.json` of the layer.

    Args:
        out: the folder of a run that exists.
        model: a file, a Keras model or a `Network`.
        ranking: the ranking of the layer, as `rank_into` returns it.
        data, labels, resize: as for `rank_into`.
        to: the value that a map is set to: `zero` or `mean`.
        samples, seed: as for `mi.ablate`.
        progress: called with the number of maps that are done.
        silenced_to: the name of `to` in earlier versions.

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
    to = silenced_to or to
    if isinstance(ranking, RankedLayer):
        ranking = ranking.ranking
    network, images = opened(model, data, labels, resize=resize)
    check_classes(network, images)
    layer = network.layer_at(ranking.index)
    maps = {row.map for row in ranking.estimators[0].maps if row.mi is not None}
    run = Run.open(out)
    path = run.folder(layer.index) / "ablation.json"
    content = content_key(network, images)

    def key(map_indices: list[int]) -> str:
        settings = [to, samples, seed, layer_key(layer), map_indices]
        return key_of({**content, "settings": settings})

    def make(map_indices: list[int]) -> tuple[AblationFile, None]:
        existing = AblationFile.read_if_whole(path)
        if existing is not None and existing.key != key(existing.numbers()):
            existing = None  # of other settings
        by_map = {row.map: row for row in existing.maps} if existing is not None else {}
        ablation = ablate(
            network,
            images.images,
            images.labels,
            layer,
            maps=[map_index for map_index in map_indices if map_index not in by_map],
            to=to,
            samples=samples,
            seed=seed,
            split=images.source,
            progress=progress,
        )
        record = ablation.to_file(key(map_indices))
        by_map |= {row.map: row for row in record.maps}
        return msgspec.structs.replace(record, maps=[by_map[name] for name in sorted(by_map)]), None

    record = record_of_all_maps(path, AblationFile, None, layer, maps, key, make)
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


def trace_into(
    out: str | Path,
    model: Model,
    unit: str,
    *,
    data: Images,
    labels: np.ndarray | None = None,
    resize: str | None = None,
    data_dir: str | Path | None = None,
    source_layer: str | None = None,
    to: Literal["zero", "mean"] = "zero",
    samples: int = 500,
    seed: int = 0,
    progress: Progress = automatic,
) -> Causes:
    """Measure which units of the layer before feed a unit and which outputs it moves, into a run.

    The map's page in the run's gallery then shows them.

    Args:
        out: the folder of a run of the model that has OIPs, or a ranking, of the unit's layer.
        model: a file, a Keras model or a `Network`.
        unit: a layer and the number of one of its units, such as `Conv2D_3:17`.
        data: a source, or images (n, h, w, bands). With labels, effects are compared with the loss
            of the whole network.
        labels, resize: as for `rank_into`.
        data_dir: as for `models.load`.
        source_layer: the earlier layer whose units are silenced; the nearest that feeds the unit if
            None.
        to: the value that a unit is set to: `zero`, or its `mean` over the images.
        samples, seed: as for `mi.causes`.
        progress: called with the number of units that are done.

    Returns:
        The causes, which `causes.json` of the layer keeps, and `causes_figure` draws.

    Raises:
        RunError: no run in the folder, or one that does not show the layer.
        ModelError, DataError, SettingsError: as for `mi.causes`.

    >>> oip.trace_into("runs/mine", "model.keras", "Conv2D_3:17", data="mnist")  # doctest: +SKIP
    """
    run = Run.open(out)
    network, images = opened(model, data, labels, data_dir=data_dir, resize=resize)
    if not network.direction_layers:
        network = with_directions_of(network, out)
    layer, unit_index = one_unit(network, unit)
    run.check_unit_layer(network, layer.name)
    result = unit_causes(
        network,
        images,
        layer,
        unit_index,
        source=source_layer,
        to=to,
        samples=samples,
        seed=seed,
        progress=progress,
    )
    save_causes(run, result)
    return result


def one_unit(network: Network, text: str) -> tuple[LayerInfo, int]:
    """Return the layer and the number of a unit, such as `Conv2D_3:17`.

    Raises:
        SettingsError: the text names no unit, or several.
        ModelError: an unknown layer.
    """
    ((layer, units), *further_selections) = parse_selections(network, [text])
    if further_selections or len(units) != 1:
        raise SettingsError("unit", "one unit of a layer, such as Conv2D_3:17", f"'{text}'")
    return layer, int(units[0])


def unit_causes(
    network: Network, images: Dataset, layer: LayerInfo, unit: int, **arguments: Any
) -> Causes:
    """Return the causes of a unit, with labels where they are the classes that the network gives.

    Args:
        network, images, layer, unit: the unit, and images that it responds to.
        arguments: further ones of `mi.causes`.
    """
    return causes(
        network,
        images.images,
        layer,
        unit,
        labels=_usable_labels(network, images),
        classes=images.classes if network.classes is None else network.classes,
        split=images.source,
        **arguments,
    )


def _usable_labels(network: Network, images: Dataset) -> np.ndarray | None:
    """Return the labels of images if they are the one class that the network gives, else None."""
    try:
        one_class_layer(network)
        check_classes(network, images)
    except OipError:
        return None
    return images.labels


def save_causes(run: Run, causes: Causes) -> None:
    """Save the causes of a unit in `causes.json` of its layer, beside those of other units."""

    def added(path: Path) -> CausesFile:
        existing = CausesFile.read_if_whole(path)
        units = {unit.unit: unit for unit in existing.units} if existing is not None else {}
        units[causes.unit] = causes.to_file()
        ordered = [units[unit_index] for unit_index in sorted(units)]
        return CausesFile(layer=causes.layer, index=causes.index, units=ordered)

    run.change(causes.index, CAUSES, added)


def check_figure(run: Run, network: Network, unit: str, source: str | None = None) -> None:
    """Refuse to draw the causes of a unit where the run has no OIPs that they could show.

    Args:
        run: holds OIPs.
        network: of the run.
        unit: as for `trace_into`.
        source: the earlier layer, any if None.

    Raises:
        RunError: no OIP of the unit and none of the earlier layer, or of any before the unit's.
        SettingsError, ModelError: as for `one_unit`.
    """
    layer, unit_index = one_unit(network, unit)
    if source is None:
        indices = [index for index in run.reconstructed() if index < layer.index]
    else:
        indices = [network.find_output(source).index]
    names = [run.layer(index).name for index in indices if index in run.reconstructed()]
    if not any(run.reconstructed_layer(name) for name in names):
        if not _pictures(run, layer.name, [unit_index]):
            units = f"OIPs of '{layer.name}:{unit_index}' or of a layer that feeds it"
            raise RunError(f"'{run.path}'", units, "none", "Grow them with 'oip reconstruct'.")


def causes_figure(causes: Causes, run: str | Path | Run, count: int = SHOWN) -> Figure:
    """Draw a unit's OIP, those of the units that feed it most, and the outputs that it moves.

    Args:
        causes: of the unit.
        run: holds the OIPs of both layers, or of one of them.
        count: units of the earlier layer.

    Raises:
        RunError: the run has OIPs of none of these units.
    """
    check_kind("causes", causes, Causes, "the effects on a unit", "Measure them by mi.causes.")
    run = Run.of(run)
    map_indices = [int(map_index) for map_index in causes.order[:count]]
    fed = _pictures(run, causes.source, map_indices)
    unit_pictures = _pictures(run, causes.layer, [causes.unit])
    if not fed and not unit_pictures:
        feeding = f"{causes.source}:{','.join(map(str, map_indices))}"
        units = f"OIPs of '{causes.layer}:{causes.unit}' or of '{feeding}', which feed it most"
        raise RunError(f"'{run.path}'", units, "none", "Grow them with 'oip reconstruct'.")
    columns = max(count, 4)
    figure, panels = plots.figure(_WIDTH, 2 * _ROW + 1.6, 3, columns, height_ratios=(1, 1, 1))
    for axes in panels.flat:
        axes.set_axis_off()
    title = f"{causes.layer}:{causes.unit}"
    _show(panels[0, 0], unit_pictures.get(causes.unit), title)
    shares = dict(zip(causes.maps.tolist(), causes.share, strict=True))
    for axes, map_index in zip(panels[1], map_indices, strict=False):
        _show(axes, fed.get(map_index), f"{map_index}: {100 * shares[map_index]:+z.0f} %")
    if causes.classes:
        _bars(figure, panels[2], causes)
    low = "silenced to zero" if causes.to == "zero" else "silenced to their mean"
    text = f"{title}: change of its response without units of {causes.source}, {low}"
    plots.titled(figure, text)
    return figure


def _bars(figure: Figure, row: np.ndarray, causes: Causes) -> None:
    """Draw what the unit does to the logits, with intervals."""
    rows = causes.outputs[:SHOWN]
    grid = row[0].get_gridspec()
    axes = figure.add_subplot(grid[2, :])
    values = causes.logit_effect[rows]
    errors = np.abs(np.stack([causes.logit_low[rows], causes.logit_high[rows]]) - values)
    names = [plots.printable(causes.classes[output]) for output in rows]
    colors = [plots.PALETTE[0] if value >= 0 else plots.PALETTE[1] for value in values]
    axes.bar(np.arange(len(rows)), values, color=colors, yerr=errors, width=0.7)
    axes.axhline(0.0, color=plots.QUIET, linewidth=0.6)
    axes.set_xticks(np.arange(len(rows)), names)
    axes.set_ylabel("effect on the logit", fontsize=plots.FONT)
    axes.tick_params(labelsize=plots.SMALL, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _show(axes: Axes, picture: np.ndarray | None, title: str) -> None:
    axes.set_title(title, fontsize=plots.SMALL, pad=2)
    if picture is not None:
        interpolation = "nearest" if max(picture.shape[:2]) <= _SMALL else "antialiased"
        axes.imshow(picture, cmap=plots.GRAY, vmin=0, vmax=255, interpolation=interpolation)
    else:
        axes.text(0.5, 0.5, "no OIP", ha="center", va="center", fontsize=plots.SMALL)


def _pictures(run: Run, name: str, map_indices: Sequence[int]) -> dict[int, np.ndarray]:
    """Return the best OIPs of some units of a layer, uint8, of those that have one."""
    layer = run.reconstructed_layer(name)
    pictures: dict[int, np.ndarray] = {}
    if layer is None:
        return pictures
    for oips in layer_parts(run, layer.index, snapshots=False):
        for row in np.flatnonzero(oips.alive):
            if int(oips.maps[row]) in map_indices:
                image = oips.displayed(oips.images[row, 0])
                pictures[int(oips.maps[row])] = displayable(image)
    return pictures
