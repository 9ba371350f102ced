"""What images of one class have in common: the nodes of a layer that respond for most of them.

What one class has and another has not: the nodes and maps of a layer that separate the two.

`mi.separating(model, images, labels, layer, first, second)` gives a `Separation`. Others rely on

- `maps` (m,) int: numbers of the maps, the largest |effect| first; rows of all other arrays;
- `effect` (m,): Cliff's delta of the map's best node, -1 to 1, above 0 where `first` responds more;
- `p_value` (m,): of the map, by shuffled classes; `p_adjusted` (m,) for the number of maps;
- `nodes` (m, axes) int: that node's place in its map;
- `node_effect` and `node_p_value` (m, *nodes): of every node.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from oip.core import files, html, plots
from oip.core.errors import RunError, SettingsError, expected
from oip.mi.class_images import Cases

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from oip.mi.class_images import Cases
    from oip.network.responses import Panel

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

        return common_figure(self, most, colour)

    def save(self, path: str | Path) -> Path:
        """Writes everything, example images included, as one `.npz`."""
        return save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> CommonPatterns:
        """Reads what `save` wrote.

        Raises:
            RunError: there is no such file, or it is another.
        """
        return load(cls, path)

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
        return html.block(
            title,
            html.paragraph(told),
            *(html.paragraph(text) for text in self.notices),
            html.table(headings, rows, len(points) - len(rows)),
        )


LARGE = 0.474
"""|delta| that is called a large effect."""


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

        return separation_figure(self, most, colour)

    def save(self, path: str | Path) -> Path:
        """Writes everything, example images included, as one `.npz`."""
        return save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Separation:
        """Reads what `save` wrote.

        Raises:
            RunError: there is no such file, or it is another.
        """
        return load(cls, path)

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
        return html.block(
            f"{self.layer}: {self.first} against {self.second}",
            html.paragraph(told),
            *(html.paragraph(text) for text in self.notices),
            html.table(headings, rows, len(self) - len(rows)),
        )


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


SCHEMA = 1
_CASES = "cases."
Result = TypeVar("Result")


def save(result: Any, path: str | Path) -> Path:
    """Writes a dataclass of arrays, plain values and `cases`, whole or not at all.

    Returns:
        `path`.

    Raises:
        WriteError: it cannot be written.
    """
    told: dict[str, Any] = {"schema": SCHEMA, "kind": type(result).__name__}
    arrays: dict[str, np.ndarray] = {}
    for one in fields(result):
        value = getattr(result, one.name)
        if isinstance(value, Cases):
            parts = {part.name: getattr(value, part.name) for part in fields(Cases)}
            arrays |= {_CASES + name: np.asarray(part) for name, part in parts.items()}
        elif isinstance(value, np.ndarray):
            arrays[one.name] = value
        else:
            told[one.name] = value
    files.write_arrays(Path(path), {**arrays, "told": np.array(json.dumps(told))})
    return Path(path)


def load(kind: type[Result], path: str | Path) -> Result:
    """Reads what `save` wrote of a result of this kind.

    Raises:
        RunError: there is no such file, it is damaged, or holds something else.
    """
    arrays = files.read_arrays(Path(path))
    wanted = f"a saved {kind.__name__}"
    try:
        told = json.loads(str(arrays.pop("told")))
        if told.pop("kind") != kind.__name__ or told.pop("schema") != SCHEMA:
            raise RunError(expected(f"'{path}'", f"{wanted} of schema {SCHEMA}", "another file"))
        parts: dict[str, Any] = {
            name.removeprefix(_CASES): arrays.pop(name)
            for name in list(arrays)
            if name.startswith(_CASES)
        }
        plain = {
            name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
        }
        parts["bgr"] = bool(parts["bgr"])
        parts |= {"indices": parts.pop("places")} if "places" in parts else {}  # of schema 1
        values: dict[str, Any] = {**arrays, **plain, "cases": Cases(**parts)}
        return kind(**values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(expected(f"'{path}'", wanted, error)) from error


OWN, ALSO = plots.PALETTE[1], plots.PALETTE[5]
"""Frames: vermilion for points of the class, or that respond more to the first; sky blue for the
other ones."""


def common_figure(found: CommonPatterns, most: int, colour: str) -> Figure:
    """See `CommonPatterns.plot`: shares and examples above, others' shares and hard cases below."""
    from oip.network.response_plots import colour_map
    from oip.network.responses import Panel, arranged, as_planes, scaled

    rows = np.searchsorted(found.maps, found.order[: _checked(most)])
    values = scaled(as_planes(found.cases.values)[:, rows], "own")
    shares = as_planes(np.stack([found.share, found.other_share]))[:, rows]
    across = 1 + max(1, _most_in_a_row(found.cases))
    panels: list[Panel | None] = []
    for hard, share, title in (
        (False, shares[0], f"share of {found.images}\nimages of {found.class_name}"),
        (True, shares[1], f"share of {found.others}\nimages of other classes"),
    ):
        panels.append(Panel(title, share))
        panels += _case_panels(found.cases, values, (found.class_name,), hard, across - 1)
    common = as_planes(found.common[None])[0, rows]
    own = as_planes(found.own[None])[0, rows]
    figure, axes = arranged(
        panels,
        found.maps[rows],
        across=across,
        colour=colour,
        marks=[(common & ~own, ALSO), (own, OWN)],
    )
    label = "share of the map's largest response; first column: share of images that respond"
    plots.colour_bar(figure, axes, colour_map(colour), (0.0, 1.0), label)
    _frames(figure, (OWN, "common, its own"), (ALSO, "common, of other classes, too"))
    plots.titled(
        figure,
        f"{found.layer}: common points of class {found.class_name}, "
        f"{len(rows)} of {len(found)} maps",
    )
    return figure


def separation_figure(found: Separation, most: int, colour: str) -> Figure:
    """See `Separation.plot`: a row a class, mean response first; below them the hard cases."""
    from oip.network.response_plots import colour_map
    from oip.network.responses import OWN_LABEL, Panel, arranged, as_planes, scaled

    rows = np.arange(len(found))[: _checked(most)]
    means = np.stack([found.first_mean, found.second_mean]).astype(np.float32)
    values = np.concatenate([as_planes(found.cases.values), as_planes(means)])
    values = scaled(values[:, rows], "own")
    across = 1 + max(1, _most_in_a_row(found.cases))
    panels: list[Panel | None] = []
    for place, (name, count) in enumerate(
        zip((found.first, found.second), found.images, strict=True)
    ):
        panels.append(Panel(f"mean of {count}\nimages of {name}", values[place - 2]))
        panels += _case_panels(found.cases, values, (name,), False, across - 1)
    for name in (found.first, found.second):
        if (found.cases.hard & (found.cases.labels == name)).any():
            panels.append(None)
            panels += _case_panels(found.cases, values, (name,), True, across - 1)
    strong = as_planes(found.strong[None])[0, rows]
    more = as_planes(np.nan_to_num(found.node_effect)[None])[0, rows] > 0
    figure, axes = arranged(
        panels,
        found.maps[rows],
        across=across,
        colour=colour,
        marks=[(strong & ~more, ALSO), (strong & more, OWN)],
    )
    plots.colour_bar(figure, axes, colour_map(colour), (0.0, 1.0), OWN_LABEL)
    _frames(figure, (OWN, f"more for {found.first}"), (ALSO, f"more for {found.second}"))
    plots.titled(
        figure,
        f"{found.layer}: {found.first} against {found.second}, "
        f"{len(rows)} of {len(found)} maps, the most separating first",
    )
    return figure


def _most_in_a_row(cases: Cases) -> int:
    counts = [
        int(np.sum((cases.labels == name) & (cases.hard == hard)))
        for name in np.unique(cases.labels)
        for hard in (False, True)
    ]
    return max(counts, default=0)


def _case_panels(
    cases: Cases, values: np.ndarray, names: tuple[str, ...], hard: bool, count: int
) -> list[Panel | None]:
    """`count` panels of the examples or hard cases of some classes, filled up with None."""
    from oip.network.responses import Panel

    rows = np.flatnonzero(np.isin(cases.labels, names) & (cases.hard == hard))[:count]
    titles = cases.titles
    found: list[Panel | None] = [
        Panel(titles[row], values[row], cases.images[row], cases.bgr) for row in rows
    ]
    return found + [None] * (count - len(found))


def _frames(figure: Figure, *kinds: tuple[str, str]) -> None:
    """A legend of what the frames mean, below the figure."""
    from matplotlib.patches import Patch

    figure.legend(
        handles=[
            Patch(facecolor="none", edgecolor=colour, label=plots.printable(text))
            for colour, text in kinds
        ],
        loc="outside lower center",
        ncols=len(kinds),
        fontsize=plots.SMALL,
        frameon=False,
    )


def _checked(most: int) -> int:
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise SettingsError(expected("maps that are drawn", "a whole number from 1", most))
    return most
