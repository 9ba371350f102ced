"""What one class has and another has not: the nodes and maps of a layer that separate the two.

`mi.separating(model, images, labels, layer, first, second)` gives a `Separation`. Others rely on

- `maps` (m,) int: numbers of the maps, the largest |effect| first; rows of all other arrays;
- `effect` (m,): Cliff's delta of the map's best node, -1 to 1, above 0 where `first` responds more;
- `p_value` (m,): of the map, by shuffled classes; `p_adjusted` (m,) for the number of maps;
- `nodes` (m, axes) int: that node's place in its map;
- `node_effect` and `node_p_value` (m, *nodes): of every node.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mi import pattern_files
from mi.common_points import ALPHA
from mi.pattern_cases import Cases
from oip.core import notebook

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGE = 0.474
"""|delta| that is called a large effect."""
_ROWS = 20


@dataclass(frozen=True, eq=False)
class Separation:
    """Nodes and maps of a layer that respond differently to two classes.

    The effect of a node is Cliff's delta: the probability that it responds more to an image of the
    first class than to one of the second, less that of the opposite; -1 to 1, 0 without difference.

    Shapes: m maps, the largest |effect| first, maps that are not finite last; `nodes` those of a
    map along each spatial axis.
    """

    layer: str
    index: int
    at: str
    """`response` or `block`."""
    first: str
    """Name of the first class."""
    second: str
    """Name of the second class."""
    maps: np.ndarray
    """(m,) int: map numbers."""
    effect: np.ndarray
    """(m,): that of the map's node with the largest |effect|. The node is chosen on the same
    images, which flatters it a little; the p-value takes the choice into account."""
    p_value: np.ndarray
    """(m,): that no node of the map separates the classes, by shuffled classes."""
    p_adjusted: np.ndarray
    """(m,): for the number of maps, by Benjamini and Hochberg."""
    nodes: np.ndarray
    """(m, axes) int: place of that node."""
    mean_effect: np.ndarray
    """(m,): Cliff's delta of the map's spatial mean."""
    node_effect: np.ndarray
    """(m, *nodes): Cliff's delta."""
    node_p_value: np.ndarray
    """(m, *nodes): by shuffled classes, for the family of all nodes of the layer."""
    first_mean: np.ndarray
    """(m, *nodes): mean response to the first class."""
    second_mean: np.ndarray
    """(m, *nodes): mean response to the second class."""
    images: tuple[int, int]
    """Of the first and of the second class."""
    shuffles: int
    cases: Cases = field(repr=False)
    """Examples and hard cases of both classes."""
    notices: tuple[str, ...] = ()

    @property
    def order(self) -> np.ndarray:
        """(m,) int: map numbers, the most separating first."""
        return self.maps

    @property
    def separating(self) -> np.ndarray:
        """(m, *nodes) bool: nodes whose p-value, for the family of all, is 0.05 or below."""
        return np.nan_to_num(self.node_p_value, nan=1.0) <= ALPHA

    @property
    def strong(self) -> np.ndarray:
        """(m, *nodes) bool: separating nodes of a large effect, |delta| 0.474 or above [1].

        [1] Romano et al., "Appropriate Statistics for Ordinal Level Data", Florida Association of
            Institutional Research 2006.
        """
        return self.separating & (np.abs(np.nan_to_num(self.node_effect)) >= LARGE)

    @property
    def nearer_second(self) -> np.ndarray:
        """(k,): for each of the cases, the share of the strong nodes whose response is nearer to
        the mean of the second class than to that of the first; NaN without such nodes."""
        where = self.strong
        values = self.cases.values[:, where]
        nearer = np.abs(values - self.second_mean[where]) < np.abs(values - self.first_mean[where])
        return nearer.mean(axis=1) if where.any() else np.full(len(self.cases), np.nan)

    @property
    def unusable(self) -> np.ndarray:
        """Numbers of the maps with responses that are not finite."""
        return self.maps[np.isnan(self.effect)]

    def __len__(self) -> int:
        return len(self.maps)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `oip patterns --json` prints them."""
        cases = self.cases.to_dicts()
        for case, nearer in zip(cases, self.nearer_second, strict=True):
            case["nearer_second"] = _number(nearer)
        return {
            "layer": self.layer,
            "index": self.index,
            "at": self.at,
            "first": self.first,
            "second": self.second,
            "images": list(self.images),
            "shuffles": self.shuffles,
            "effect": "Cliff's delta",
            "separating_nodes": int(self.separating.sum()),
            "strong_nodes": int(self.strong.sum()),
            "separating_maps": int(np.sum(np.nan_to_num(self.p_adjusted, nan=1.0) <= ALPHA)),
            "maps": [
                {
                    "map": int(self.maps[row]),
                    "effect": _number(self.effect[row]),
                    "node": self.nodes[row].tolist(),
                    "mean_effect": _number(self.mean_effect[row]),
                    "p_value": _number(self.p_value[row]),
                    "p_adjusted": _number(self.p_adjusted[row]),
                    "strong_nodes": np.argwhere(self.strong[row]).tolist(),
                }
                for row in range(len(self))
            ],
            "cases": cases,
            "notices": list(self.notices),
        }

    def plot(self, most: int = 24, colour: str = "grey") -> Figure:
        """Images of both classes, hard cases and mean responses on the maps that separate them.

        Strong nodes are framed, in one colour where the first class responds more, in another where
        the second does.

        Args:
            most: maps that are drawn, the most separating first.
            colour: `grey` or `viridis`.
        """
        from mi.pattern_figures import separation_figure

        return separation_figure(self, most, colour)

    def save(self, path: str | Path) -> Path:
        """Writes everything, example images included, as one `.npz`."""
        return pattern_files.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Separation:
        """Reads what `save` wrote.

        Raises:
            RunError: there is no such file, or it is another.
        """
        return pattern_files.load(cls, path)

    def _repr_html_(self) -> str:
        headings = ("map", "effect", "node", "effect of the mean", "p", "p (adjusted)")
        rows = [
            (
                int(self.maps[row]),
                float(self.effect[row]),
                ",".join(str(place) for place in self.nodes[row]),
                float(self.mean_effect[row]),
                float(self.p_value[row]),
                float(self.p_adjusted[row]),
            )
            for row in range(min(len(self), _ROWS))
        ]
        told = (
            f"{self.separating.sum()} of {self.separating.size} nodes separate them, "
            f"{self.strong.sum()} of them strongly; effect: "
            f"Cliff's delta of the best node, above 0 where {self.first} responds more; "
            f"{self.images[0]} and {self.images[1]} images"
        )
        return notebook.block(
            f"{self.layer}: {self.first} against {self.second}",
            notebook.paragraph(told),
            *(notebook.paragraph(text) for text in self.notices),
            notebook.table(headings, rows, len(self) - len(rows)),
        )


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
