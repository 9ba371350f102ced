"""The best maps of each layer: what `oip reconstruct --top N --by NAME` reconstructs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.core import html
from oip.core.checks import check_whole
from oip.core.errors import DataError, OipError, SettingsError
from oip.core.progress import Progress, automatic, silent
from oip.core.units import plural
from oip.mi.class_patterns import separating
from oip.workflows.inputs import opened, select_maps
from oip.workflows.rank import RankingOptions, rank_layers

if TYPE_CHECKING:
    import pandas as pd

    from oip.models import Dataset
    from oip.network.layers import LayerInfo
    from oip.network.network import Network
    from oip.workflows.inputs import Images, Layers, Model, Selection

    Ordered = tuple[list[tuple[LayerInfo, list[int]]], list[str]]
    """Layers with their maps, best first; remarks."""


@dataclass(frozen=True, eq=False)
class TopMaps:
    """The best maps of some layers.

    Iteration yields the layers in the order of the model, each with its maps, best first.
    """

    layers: tuple[LayerInfo, ...]
    maps: tuple[list[int], ...]
    """The best maps of each layer, best first."""
    by: str
    notices: tuple[str, ...] = ()
    """Layers that were left out, orders that are saturated, and similar remarks."""

    @property
    def selections(self) -> list[Selection]:
        """Each layer with its maps in the order of their numbers."""
        return [(layer, np.sort(np.array(maps, np.int64))) for layer, maps in self]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self):
        return iter(zip(self.layers, self.maps, strict=True))

    def to_pandas(self) -> pd.DataFrame:
        """Return a row for each map: layer, map, rank."""
        import pandas as pd

        rows = [
            (layer.name, map_index, rank)
            for layer, maps in self
            for rank, map_index in enumerate(maps, 1)
        ]
        return pd.DataFrame(rows, columns=["layer", "map", "rank"])

    def __repr__(self) -> str:
        texts = [
            f"{layer.name}: {plural(len(maps), layer.noun)}, best {', '.join(map(str, maps[:3]))}"
            for layer, maps in self
        ]
        return f"TopMaps by {self.by}; " + "; ".join(texts)

    def _repr_html_(self) -> str:
        rows = [(layer.name, ", ".join(map(str, maps))) for layer, maps in self]
        return html.block(f"best maps by {self.by}", html.table(("layer", "best first"), rows))


def top_maps(
    out: str | Path,
    model: Model,
    layers: Layers = None,
    *,
    data: Images,
    labels: np.ndarray | None = None,
    resize: str | None = None,
    top: int = 16,
    by: str = "mi",
    seed: int = 0,
    progress: Progress = automatic,
) -> TopMaps:
    """Find the best maps of each layer, as `oip reconstruct --top` does it.

    Args:
        out: the folder of the run that the rankings are written to.
        model: a file, a Keras model or a `Network`.
        layers: `"Conv2D_3:0-15"` or several of these; every convolutional layer if None.
        data: a source of images with labels, or images (n, h, w, bands).
        labels: (n,), for images that are an array.
        resize: how images get the model's size, `crop`, `fit` or `stretch`; image files are cropped
            if None, and others have to fit.
        top: how many maps of each layer.
        by: `mi`, the information about the label, or `separates:CLASS,CLASS`.
        seed: of the ranking.
        progress: called with the progress of each layer.

    Raises:
        DataError: no labels, an unknown class, or no layer with finite responses.
        SettingsError: an unknown `by`, or no whole number of maps.

    >>> oip.top_maps("runs/best", "model.keras", data="mnist-sample", top=3)  # doctest: +SKIP
    TopMaps by mi; Conv2D_1: 3 maps, best 4, 17, 30; ...
    """
    check_whole("top", top)
    parse_by(by)
    network, images = opened(model, data, labels, resize=resize)
    selections = select_maps(network, layers)
    return find_top_maps(
        out, network, selections, images, top=top, by=by, seed=seed, progress=progress
    )


def find_top_maps(
    out: str | Path,
    network: Network,
    selections: Sequence[Selection],
    data: Dataset,
    *,
    top: int,
    by: str = "mi",
    seed: int = 0,
    progress: Progress = silent,
) -> TopMaps:
    """Find the best maps of each layer of an open network; arguments as for `top_maps`."""
    top = check_whole("top", top)
    pair = parse_by(by)
    if pair is None:
        ranked, notices = _order_by_information(out, network, selections, data, seed, progress)
    else:
        ranked, notices = _order_by_separation(network, selections, data, pair, seed, progress)
    layers, maps = zip(*ranked, strict=True)
    return TopMaps(layers, tuple(order[:top] for order in maps), by, tuple(notices))


def parse_by(text: str) -> tuple[str, str] | None:
    """Return the two classes of `separates:FIRST,SECOND`; None for `mi`.

    Raises:
        SettingsError: anything else.
    """
    if text == "mi":
        return None
    kind, _, classes = text.partition(":")
    first, comma, second = classes.partition(",")
    if kind != "separates" or not comma or not first or not second:
        raise SettingsError("by", "mi or separates:CLASS,CLASS", f"'{text}'")
    return first, second


def _order_by_information(
    out: str | Path,
    network: Network,
    selections: Sequence[Selection],
    data: Dataset,
    seed: int,
    progress: Progress,
) -> Ordered:
    """Order the maps of each layer by what they know about the label; rankings go into the run."""
    errors: list[OipError] = []
    options = RankingOptions(seed=seed)
    ranked = list(rank_layers(out, network, selections, data, options, progress, errors))
    notices = [
        f"{result.layer.name}: {' '.join(result.best.notices)}"
        for result in ranked
        if not result.best.ordered
    ]
    layers = {layer.index: layer for layer, _ in selections}
    ordered: list[tuple[LayerInfo, list[int]]] = [
        (layers[result.layer.index], result.maps) for result in ranked
    ]
    return ordered, notices + list(map(str, errors))


def _order_by_separation(
    network: Network,
    selections: Sequence[Selection],
    data: Dataset,
    pair: tuple[str, str],
    seed: int,
    progress: Progress,
) -> Ordered:
    """Order the maps of each layer by how well they separate two classes."""
    labels = data.required_labels()
    ranked: list[tuple[LayerInfo, list[int]]] = []
    notices: list[str] = []
    errors: list[DataError] = []
    for layer, maps in selections:
        try:
            separation = separating(
                network,
                data.images,
                labels,
                layer,
                *pair,
                maps=maps,
                seed=seed,
                classes=data.classes,
                progress=progress,
            )
        except DataError as error:
            errors.append(error)
            continue
        rows = np.flatnonzero(np.isfinite(separation.effect))
        best = ", ".join(
            f"{separation.maps[row]} ({separation.effect[row]:+z.2f})" for row in rows[:5]
        )
        first, second = pair
        notices.append(f"{layer.name}: maps that separate {first} (+) and {second} (-): {best}")
        ranked.append((layer, separation.maps[rows].tolist()))
    if not ranked:
        raise errors[-1]
    return ranked, notices + [str(error) for error in errors]
