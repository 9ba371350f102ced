"""What images of one class have in common: the nodes of a layer that respond for most of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mi import pattern_files
from mi.pattern_cases import Cases
from oip.core import notebook

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALPHA = 0.05
ELSEWHERE = 0.5
"""Share of the other classes' images below which a common point is the class's own."""
_ROWS = 20


@dataclass(frozen=True, eq=False)
class CommonPatterns:
    """The common points of a class: its filter correlation pattern (FCP) in a layer.

    Shapes: m maps, `nodes` those of a map along each spatial axis. A node *responds* to an image if
    its response is above the threshold of its map.
    """

    layer: str
    index: int
    at: str
    """`response` or `block`."""
    class_name: str
    maps: np.ndarray
    """(m,) int: map numbers, in their own order."""
    threshold: np.ndarray
    """(m,): the quantile `level` of the map's responses above zero, over nodes and images, all
    classes counting alike; 0 for a map without any. NaN for maps that are not finite."""
    share: np.ndarray
    """(m, *nodes): share of the class's images to which the node responds."""
    other_share: np.ndarray
    """(m, *nodes): the same of all other classes' images."""
    p_value: np.ndarray
    """(m, *nodes): that the node responds to no more of the class's images than to others', by
    shuffled classes, for the family of all nodes of the layer."""
    level: float
    most: float
    """Share of the class's images from which a node is a common point."""
    images: int
    """Of the class."""
    others: int
    """Images of other classes."""
    shuffles: int
    cases: Cases = field(repr=False)
    """Examples and hard cases of the class."""
    notices: tuple[str, ...] = ()

    @property
    def common(self) -> np.ndarray:
        """(m, *nodes) bool: the common points: nodes that respond for most of the images."""
        return np.nan_to_num(self.share) >= self.most

    @property
    def own(self) -> np.ndarray:
        """(m, *nodes) bool: common points of this class alone: p up to 0.05, and below half of the
        other classes' images."""
        elsewhere = np.nan_to_num(self.other_share, nan=1.0) < ELSEWHERE
        return self.common & elsewhere & (np.nan_to_num(self.p_value, nan=1.0) <= ALPHA)

    @property
    def excess(self) -> np.ndarray:
        """(m, *nodes): share among the class's images less that among others', -1 to 1."""
        return self.share - self.other_share

    @property
    def order(self) -> np.ndarray:
        """(m,) int: map numbers, first those whose common points are most the class's own: by the
        largest excess of a common point; maps without one last, by their largest share."""
        flat = np.where(self.common, self.excess, -2.0).reshape(len(self.maps), -1).max(axis=1)
        rest = np.nan_to_num(self.share, nan=-1.0).reshape(len(self.maps), -1).max(axis=1)
        return self.maps[np.lexsort((self.maps, -rest, -flat))]

    @property
    def unusable(self) -> np.ndarray:
        """Numbers of the maps with responses that are not finite."""
        return self.maps[np.isnan(self.threshold)]

    def __len__(self) -> int:
        return len(self.maps)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `oip patterns --json` prints them; only common points are listed."""
        return {
            "layer": self.layer,
            "index": self.index,
            "at": self.at,
            "class": self.class_name,
            "images": self.images,
            "other_images": self.others,
            "level": self.level,
            "most": self.most,
            "shuffles": self.shuffles,
            "common": int(self.common.sum()),
            "own": int(self.own.sum()),
            "nodes": int(self.common.size),
            "points": self._points(),
            "cases": self.cases.to_dicts(),
            "notices": list(self.notices),
        }

    def plot(self, most: int = 24, colour: str = "grey") -> Figure:
        """The class's images on the maps with most of its own, common points framed.

        Args:
            most: maps that are drawn.
            colour: `grey` or `viridis`.
        """
        from mi.pattern_figures import common_figure

        return common_figure(self, most, colour)

    def save(self, path: str | Path) -> Path:
        """Writes everything, example images included, as one `.npz`."""
        return pattern_files.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> CommonPatterns:
        """Reads what `save` wrote.

        Raises:
            RunError: there is no such file, or it is another.
        """
        return pattern_files.load(cls, path)

    def _points(self) -> list[dict[str, Any]]:
        """The common points, the largest excess first."""
        found = np.argwhere(self.common)
        order = np.argsort(-self.excess[self.common], kind="stable")
        return [
            {
                "map": int(self.maps[point[0]]),
                "node": [int(place) for place in point[1:]],
                "share": float(self.share[tuple(point)]),
                "other_share": float(self.other_share[tuple(point)]),
                "p_value": float(self.p_value[tuple(point)]),
                "own": bool(self.own[tuple(point)]),
            }
            for point in found[order]
        ]

    def _repr_html_(self) -> str:
        points = self._points()
        headings = ("map", "node", f"share of {self.class_name}", "share of others", "p", "own")
        rows = [
            (
                one["map"],
                ",".join(str(place) for place in one["node"]),
                one["share"],
                one["other_share"],
                one["p_value"],
                "yes" if one["own"] else "",
            )
            for one in points[:_ROWS]
        ]
        title = f"{self.layer}: {len(points)} common points of class {self.class_name}"
        told = (
            f"{self.own.sum()} of them its own; of {self.common.size} nodes, over {self.images} "
            f"images and {self.others} of other classes"
        )
        return notebook.block(
            title,
            notebook.paragraph(told),
            *(notebook.paragraph(text) for text in self.notices),
            notebook.table(headings, rows, len(points) - len(rows)),
        )
