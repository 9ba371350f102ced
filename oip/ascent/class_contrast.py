"""The OIPs of the maps that separate two classes: from responses that differ to patterns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from oip.ascent.localization import node_oips
from oip.ascent.masks import field_boxes
from oip.ascent.reconstruction import reconstruct
from oip.ascent.results import Oips
from oip.core import html
from oip.core.errors import SettingsError, expected
from oip.core.images import enhanced
from oip.core.progress import Progress, automatic
from oip.network.network import Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Separated(Protocol):
    """Maps of a layer that separate two classes, such as `mi.separating` finds them."""

    @property
    def layer(self) -> str:
        """Name of the layer."""
        ...

    @property
    def at(self) -> str:
        """`response` or `block`."""
        ...

    @property
    def first(self) -> str:
        """Name of the first class."""
        ...

    @property
    def second(self) -> str:
        """Name of the second class."""
        ...

    @property
    def maps(self) -> np.ndarray:
        """(m,) int: map numbers, the most separating first."""
        ...

    @property
    def effect(self) -> np.ndarray:
        """(m,): above 0 where the first class responds more."""
        ...

    @property
    def p_adjusted(self) -> np.ndarray:
        """(m,): for the number of maps."""
        ...

    @property
    def nodes(self) -> np.ndarray:
        """(m, axes) int: place of each map's best node."""
        ...


@dataclass(frozen=True, eq=False)
class SeparatingOips:
    """What the maps react to that separate two classes, the most separating map first.

    Shapes: m maps, k starts (best first), (h, w, b) the model's input.
    """

    first: str
    second: str
    maps: np.ndarray
    """(m,) int: map numbers."""
    effect: np.ndarray
    """(m,): -1 to 1, above 0 where `first` responds more."""
    p_value: np.ndarray
    """(m,): adjusted for the number of maps of the layer."""
    nodes: np.ndarray
    """(m, axes) int: the node of the map that separates most."""
    oips: Oips = field(repr=False)
    """Of the whole maps, in the order of `maps`."""
    node_images: np.ndarray = field(repr=False)
    """(m, k, h, w, b) float16: the OIPs of the nodes, standardised over the pixels that they see,
    0 elsewhere."""
    node_scores: np.ndarray = field(repr=False)
    """(m, k): response of the node."""
    boxes: np.ndarray = field(repr=False)
    """(m, axes, 2): the receptive field of the node."""

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def favoured(self) -> list[str]:
        """Of each map the class that it responds to more."""
        return [self.first if value > 0 else self.second for value in self.effect]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        rows = zip(self.maps, self.effect, self.p_value, self.nodes, self.favoured, strict=True)
        return {
            "layer": self.oips.layer,
            "index": self.oips.index,
            "first": self.first,
            "second": self.second,
            "maps": [
                {
                    "map": int(number),
                    "effect": float(effect),
                    "p_adjusted": float(p),
                    "node": node.tolist(),
                    "responds_to": favoured,
                    "score": float(score) if np.isfinite(score) else None,
                }
                for (number, effect, p, node, favoured), score in zip(
                    rows, self.oips.scores[:, 0], strict=True
                )
            ],
        }

    def plot(self, most: int = 8) -> Figure:
        """Above the OIPs of up to `most` maps, below those of the nodes that separate."""
        from oip.ascent.localization import WIDE, boxed
        from oip.core import plots
        from oip.core.images import shown

        columns = max(1, min(most, len(self)))
        drawing, panels = plots.figure(max(WIDE, 1.2 * columns), 3.5, rows=2, columns=columns)
        for column in range(columns):
            above, below = panels[:, column]
            plots.image(above, shown(self.oips.displayed(self.oips.images[column, 0])))
            told = f"{self.maps[column]}: {self.favoured[column][:14]}"
            text = f"{plots.printable(told)}\n{self.effect[column]:+.2f}"
            above.set_title(text, fontsize=plots.SMALL, pad=3)
            node = enhanced(self.node_images[column, 0].astype(np.float32))
            plots.image(below, shown(node[..., ::-1] if self.oips.bgr else node))
            place = ",".join(map(str, self.nodes[column]))
            below.set_title(f"node {place}", fontsize=plots.SMALL, pad=3)
            boxed(below, self.boxes[column])
        title = f"{self.oips.layer}: maps that separate {self.first} and {self.second}"
        told = "map: class that it responds to more, effect; below, the node that separates most"
        drawing.suptitle(f"{plots.printable(title)}\n{told}", fontsize=plots.FONT)
        return drawing

    def _repr_html_(self) -> str:
        told = self.to_dict()["maps"]
        rows = [
            (
                one["map"],
                one["responds_to"],
                one["effect"],
                f"{one['p_adjusted']:.2g}",
                one["score"],
            )
            for one in told
        ]
        title = f"{self.oips.layer}: OIPs of maps that separate {self.first} and {self.second}"
        headings = ("map", "responds more to", "effect", "p (adjusted)", "score of the OIP")
        return html.block(title, html.table(headings, rows), html.drawn(self.plot(), title))


def separating_oips(
    model: Any,
    separation: Separated,
    count: int = 8,
    *,
    starts: int = 4,
    seed: int = 0,
    data: np.ndarray | None = None,
    progress: Progress = automatic,
    **settings: Any,
) -> SeparatingOips:
    """Grows the OIPs of the maps that separate two classes, and of the node of each that does.

    Args:
        model: a Keras model, the path of one, or a `Network`; the one that `separation` is of.
        separation: what `mi.separating` found, at the response.
        count: maps, the most separating first; those without a finite effect are left out.
        starts, seed, settings: of the ascent, see `oip.reconstruct`.
        data: images to hold the OIPs of the maps against.
        progress: is told what has been done.

    Raises:
        SettingsError: a separation of pooled responses, whose nodes are not the map's own; no map.
        ModelError: the model has no such layer.

    Example:
        >>> apart = mi.separating("model.keras", images, labels, "Conv2D_3", 4, 9)  # doctest: +SKIP
        >>> oip.separating_oips("model.keras", apart).plot()  # doctest: +SKIP
    """
    if separation.at != "response":
        raise SettingsError(expected("separation", "one at the response", separation.at))
    if not isinstance(count, (int, np.integer)) or count < 1:
        raise SettingsError(expected("count", "a whole number from 1", count))
    network = Network.of(model, images=data)
    layer = network.find(separation.layer)
    rows = np.flatnonzero(np.isfinite(separation.effect))[:count]
    if not rows.size:
        raise SettingsError(expected("separation", "maps with a finite effect", "none"))
    maps, nodes = separation.maps[rows], separation.nodes[rows]
    ascent: dict[str, Any] = {"starts": starts, "seed": seed, **settings}
    whole = reconstruct(network, layer.name, maps=maps, data=data, progress=progress, **ascent)
    images = np.zeros((len(maps), starts, *network.inputs.shape), np.float16)
    scores = np.full((len(maps), starts), np.nan)
    places, groups = np.unique(nodes, axis=0, return_inverse=True)
    groups = groups.reshape(-1)
    for number, place in enumerate(places):
        mine = np.flatnonzero(groups == number)
        grown = node_oips(network, layer, maps[mine], place, **ascent)
        images[mine] = grown.images * grown.visible[..., None]
        scores[mine] = grown.scores
        progress(f"{layer.name}: nodes", number + 1, len(places))
    return SeparatingOips(
        first=separation.first,
        second=separation.second,
        maps=maps,
        effect=separation.effect[rows],
        p_value=separation.p_adjusted[rows],
        nodes=nodes,
        oips=whole.rows(np.searchsorted(whole.maps, maps)),
        node_images=images,
        node_scores=scores,
        boxes=field_boxes(layer, nodes, network.inputs.shape[:-1]),
    )
