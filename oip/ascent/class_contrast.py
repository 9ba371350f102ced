"""Class contrast: the OIPs of the maps that separate two classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from oip.ascent.localization import WIDE, captioned, draw_box, node_oips
from oip.ascent.masks import field_boxes
from oip.ascent.reconstruction import reconstruct
from oip.ascent.results import Oips, best_three
from oip.core import html, plots
from oip.core.checks import check_whole, described
from oip.core.errors import SettingsError
from oip.core.images import displayable
from oip.core.progress import Progress, automatic, piece_of
from oip.core.units import finite_or_none
from oip.network.network import Network

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure
    from pandas import DataFrame


class SeparatingMaps(Protocol):
    """Maps of a layer that separate two classes, such as `mi.separating` finds them.

    Names of the layer and of the classes; `at`: `response` or `block`. Of m maps, the most
    separating first: numbers, effects (above 0 where the first class responds more), p-values
    adjusted for the number of maps, and (m, axes) the node of each that separates most.
    """

    @property
    def layer(self) -> str: ...
    @property
    def at(self) -> str: ...
    @property
    def first(self) -> str: ...
    @property
    def second(self) -> str: ...
    @property
    def maps(self) -> np.ndarray: ...
    @property
    def effect(self) -> np.ndarray: ...
    @property
    def p_adjusted(self) -> np.ndarray: ...
    @property
    def nodes(self) -> np.ndarray: ...


@dataclass(frozen=True, eq=False, repr=False)
class SeparatingOips:
    """The OIPs of the maps that separate two classes, the most separating map first.

    Shapes: m maps, k starts (best first), (h, w, b) the model's input.
    """

    first: str
    """Name of the first class."""
    second: str
    """Name of the second class."""
    maps: np.ndarray
    """(m,) int: map numbers."""
    effect: np.ndarray
    """(m,): -1 to 1, above 0 where `first` responds more."""
    p_value: np.ndarray
    """(m,): adjusted for the number of maps of the layer."""
    nodes: np.ndarray
    """(m, axes) int: the node of the map that separates most."""
    oips: Oips
    """Of the whole maps, in the order of `maps`."""
    node_images: np.ndarray
    """(m, k, h, w, b) float16: the OIPs of the nodes, standardized over their receptive fields, 0
    elsewhere."""
    node_scores: np.ndarray
    """(m, k): response of the node."""
    boxes: np.ndarray
    """(m, axes, 2): the receptive field of the node."""

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def favored(self) -> list[str]:
        """Of each map the class that it responds to more."""
        return [self.first if value > 0 else self.second for value in self.effect]

    def _records(self) -> list[dict[str, object]]:
        return [
            {
                "map": int(self.maps[row]),
                "effect": float(self.effect[row]),
                "p_adjusted": float(self.p_value[row]),
                "node": self.nodes[row].tolist(),
                "responds_to": favored,
                "score": finite_or_none(self.oips.scores[row, 0]),
            }
            for row, favored in enumerate(self.favored)
        ]

    def to_dict(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "layer": self.oips.layer,
            "index": self.oips.index,
            "first": self.first,
            "second": self.second,
            "maps": self._records(),
        }

    def to_pandas(self) -> DataFrame:
        """Return a table with a row for each map."""
        import pandas

        return pandas.DataFrame(self._records())

    def plot(self, most: int = 8) -> Figure:
        """Draw the OIPs of up to `most` maps, above those of the nodes that separate."""
        columns = max(1, min(most, len(self)))
        drawing, panels = plots.figure(max(WIDE, 1.2 * columns), 3.5, rows=2, columns=columns)
        for column in range(columns):
            oip_panel, image_panel = panels[:, column]
            plots.image(oip_panel, displayable(self.oips.displayed(self.oips.images[column, 0])))
            title = plots.printable(f"{self.maps[column]}: {self.favored[column][:14]}")
            effect = f"{self.effect[column]:+z.2f}"
            oip_panel.set_title(f"{title}\n{effect}", fontsize=plots.SMALL, pad=3)
            image = self.node_images[column, 0].astype(np.float32)
            plots.image(image_panel, displayable(self.oips.displayed(image)))
            node = ",".join(map(str, self.nodes[column]))
            image_panel.set_title(f"node {node}", fontsize=plots.SMALL, pad=3)
            draw_box(image_panel, self.boxes[column], image)
        title = f"{self.oips.layer}: maps that separate {self.first} and {self.second}"
        text = "map: class that it responds to more, effect; below, the node that separates most"
        return captioned(drawing, title, text)

    def __repr__(self) -> str:
        sizes = f"{len(self)} maps that separate '{self.first}' and '{self.second}'"
        best = best_three(self.maps, np.abs(self.effect))
        return f"SeparatingOips('{self.oips.layer}': {sizes}{best})"

    def _repr_html_(self) -> str:
        title = f"{self.oips.layer}: OIPs of maps that separate {self.first} and {self.second}"
        headings = {
            "map": "map",
            "responds_to": "responds more to",
            "effect": "effect",
            "p_adjusted": "p (adjusted)",
            "score": "score of the OIP",
        }
        table = html.frame(self.to_pandas(), headings, len(self))
        return html.block(title, table, html.embedded_figure(self.plot(), title))


def separating_oips(
    model: keras.Model | str | Path | Network,
    separation: SeparatingMaps,
    count: int = 8,
    *,
    starts: int = 4,
    seed: int = 0,
    data: np.ndarray | None = None,
    progress: Progress = automatic,
    **settings: Any,
) -> SeparatingOips:
    """Grow the OIPs of the maps that separate two classes, and of the node of each that does.

    Args:
        model: a Keras model, the path of one, or a `Network`; the one that `separation` is of.
        separation: the result of `mi.separating`, at the response.
        count: maps, the most separating first; those without a finite effect are left out.
        starts, seed, settings: of the ascent, see `oip.reconstruct`.
        data: images to compare the OIPs of the maps with.
        progress: receives reports of the work.

    Raises:
        SettingsError: a separation of pooled responses, whose nodes are not the map's own; no map.
        ModelError: the model has no such layer.

    Example:
        >>> result = mi.separating("m.keras", images, labels, "Conv2D_3", 4, 9)  # doctest: +SKIP
        >>> oip.separating_oips("m.keras", result).plot()  # doctest: +SKIP
    """
    if not hasattr(separation, "effect"):
        hint = "Make one by mi.separating."
        raise SettingsError("separation", "the separation of classes", described(separation), hint)
    if separation.at != "response":
        raise SettingsError("separation", "one at the response", separation.at)
    count = check_whole("count", count)
    network = Network.of(model, images=data)
    layer = network.find(separation.layer)
    rows = np.flatnonzero(np.isfinite(separation.effect))[:count]
    if not rows.size:
        raise SettingsError("separation", "maps with a finite effect", "none")
    maps, nodes = separation.maps[rows], separation.nodes[rows]
    ascent = {"starts": starts, "seed": seed, **settings}
    oips = reconstruct(network, layer.name, maps=maps, data=data, progress=progress, **ascent)
    images = np.zeros((len(maps), starts, *network.inputs.shape), np.float16)
    scores = np.full((len(maps), starts), np.nan)
    different, node_of = np.unique(nodes, axis=0, return_inverse=True)
    for node_index, node in enumerate(different):
        indices = np.flatnonzero(node_of.reshape(-1) == node_index)
        node_progress = piece_of(progress, f"{layer.name}: nodes", node_index, len(different))
        grown = node_oips(network, layer, maps[indices], node, node_progress, **ascent)
        images[indices] = grown.images * grown.visible[..., None]
        scores[indices] = grown.scores
    return SeparatingOips(
        first=separation.first,
        second=separation.second,
        maps=maps,
        effect=separation.effect[rows],
        p_value=separation.p_adjusted[rows],
        nodes=nodes,
        oips=oips.rows(np.searchsorted(oips.maps, maps)),
        node_images=images,
        node_scores=scores,
        boxes=field_boxes(layer, nodes, network.inputs.shape[:-1]),
    )
