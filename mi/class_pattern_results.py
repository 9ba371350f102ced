"""The results of class patterns: common points of one class, and the separation of two classes."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from oip.core import files, plots
from oip.core.checks import check_choice, check_whole
from oip.core.errors import RunError
from oip.core.units import finite_or_none, three_best
from oip.mi.class_images import Cases
from oip.mi.layer_sample import LayerResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from oip.core.files import Json
    from oip.network.response_plots import Panel

ALPHA = 0.05
"""p-value up to which a node counts."""
ELSEWHERE = 0.5
"""Share of the other classes' images below which a common point is the class's own."""
LARGE = 0.474
"""|delta| that is called a large effect."""
OWN, ALSO = plots.PALETTE[1], plots.PALETTE[5]
"""Frames: vermilion for points of the class, or with larger responses to the first class; sky blue
for the other ones."""
_SCHEMA = 2
_CASES = "cases."
_OLD_NAMES = {"cases.places": "cases.indices", "told": "record"}
"""Arrays of schema 1 by the names that they have now."""


@dataclass(frozen=True, eq=False)
class PatternResult(LayerResult):
    """A dataclass of arrays, plain values and `cases` that can be written to one `.npz`."""

    at: str
    """`response` or `block`."""

    def _plain(self, *names: str) -> dict[str, Any]:
        """Return fields that are plain values, by their names."""
        return {name: getattr(self, name) for name in names}

    def save(self, path: str | Path) -> Path:
        """Write everything, example images included, as one `.npz`, whole or not at all."""
        record: dict[str, Json] = {"schema": _SCHEMA, "kind": type(self).__name__}
        arrays: dict[str, np.ndarray] = {}
        for name in _names(type(self)):
            value = getattr(self, name)
            if isinstance(value, Cases):
                case_arrays = {name: getattr(value, name) for name in _names(Cases)}
                arrays |= {_CASES + name: np.asarray(array) for name, array in case_arrays.items()}
            elif isinstance(value, np.ndarray):
                arrays[name] = value
            else:
                record[name] = value
        files.write_arrays(Path(path), {**arrays, "record": np.array(json.dumps(record))})
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file that `save` wrote.

        Raises:
            RunError: there is no such file, it is damaged, or holds something else.
        """
        content = f"a saved {cls.__name__}"
        arrays = files.read_arrays(Path(path))
        arrays = {_OLD_NAMES.get(name, name): array for name, array in arrays.items()}
        try:
            record = json.loads(str(arrays.pop("record")))
            if record.pop("kind") != cls.__name__ or record.pop("schema") not in (1, _SCHEMA):
                text = f"{content} of schema {_SCHEMA}"
                raise RunError(f"'{path}'", text, "another file")
            if "others" in record:  # of schema 1
                record["other_images"] = record.pop("others")
            lists = {name: tuple(value) for name, value in record.items() if type(value) is list}
            names = [name for name in _names(Cases) if _CASES + name in arrays]
            case_arrays: dict[str, Any] = {name: arrays.pop(_CASES + name) for name in names}
            case_arrays["bgr"] = bool(case_arrays["bgr"])
            case_arrays["patches"] = tuple(int(side) for side in case_arrays.get("patches", ()))
            return cls(**{**arrays, **record, **lists, "cases": Cases(**case_arrays)})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RunError(f"'{path}'", content, error) from error


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


@dataclass(frozen=True, eq=False)
class CommonPatterns(PatternResult):
    """The common points of a class: its filter correlation pattern (FCP) in a layer.

    Shapes: m maps, `nodes` those of a map along each spatial axis. A node *responds* to an image if
    its response is above the threshold of its map.
    """

    class_name: str
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
    """Images of the class."""
    other_images: int
    """Images of other classes."""
    shuffles: int
    cases: Cases
    """Examples and hard cases of the class."""
    notices: tuple[str, ...] = ()

    def __repr__(self) -> str:
        best = three_best(self.order, self._excess_of_maps[np.searchsorted(self.maps, self.order)])
        return f"CommonPatterns({self._title}; largest excess of shares: {self.noun} {best})"

    @property
    def _title(self) -> str:
        return f"{self.layer}: {self.common.sum()} common points of class {self.class_name}"

    @property
    def common(self) -> np.ndarray:
        """(m, *nodes) bool: the common points: nodes that respond for most of the images."""
        return np.nan_to_num(self.share) >= self.most

    @property
    def own(self) -> np.ndarray:
        """(m, *nodes) bool: common points of this class alone.

        Their p-value is 0.05 at the most, and they respond to less than half of the other images.
        """
        elsewhere = np.nan_to_num(self.other_share, nan=1.0) < ELSEWHERE
        return self.common & elsewhere & (np.nan_to_num(self.p_value, nan=1.0) <= ALPHA)

    def node_numbers(self, kind: Literal["common", "own"] = "common") -> np.ndarray:
        """Return (q, 1 + axes) int: map and node of each common point, for `ablate_nodes`.

        Args:
            kind: `common`, or those of this class alone, `own`.
        """
        check_choice("kind", kind, ("common", "own"))
        rows = np.argwhere(self.own if kind == "own" else self.common)
        return np.column_stack([self.maps[rows[:, 0]], rows[:, 1:]])

    @property
    def excess(self) -> np.ndarray:
        """(m, *nodes): share among the class's images less that among others', -1 to 1."""
        return self.share - self.other_share

    @property
    def order(self) -> np.ndarray:
        """(m,) int: map numbers, first those whose common points are most the class's own.

        By the largest excess of a common point; maps without one last, by their largest share.
        """
        largest_share = np.nan_to_num(self.share, nan=-1.0).reshape(len(self), -1).max(axis=1)
        return self.maps[np.lexsort((self.maps, -largest_share, -self._excess_of_maps))]

    @property
    def _excess_of_maps(self) -> np.ndarray:
        """(m,): largest excess of a common point; -2 of maps without one."""
        return np.where(self.common, self.excess, -2.0).reshape(len(self), -1).max(axis=1)

    @property
    def unusable(self) -> np.ndarray:
        """Numbers of the maps with responses that are not finite."""
        return self.maps[np.isnan(self.threshold)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `oip patterns --json` prints them; only common points listed."""
        return {
            **self._plain("layer", "index", "at"),
            "class": self.class_name,
            **self._plain("images", "other_images", "level", "most", "shuffles"),
            "common": int(self.common.sum()),
            "own": int(self.own.sum()),
            "nodes": int(self.common.size),
            "points": self._points(),
            "cases": self.cases.to_dicts(),
            "notices": list(self.notices),
        }

    def to_pandas(self) -> DataFrame:
        """Return a row for each common point, the largest excess first."""
        import pandas

        columns = ["map", "node", "share", "other_share", "p_value", "own"]
        return pandas.DataFrame(self._points(), columns=columns)

    def plot(self, most: int = 24, color: str = "grey") -> Figure:
        """Draw the class's images on at most `most` maps with most of its own points, all framed.

        Shares and examples are above, the shares of other classes and hard cases below, in the
        colors `grey`, `viridis` or `jet`.
        """
        from oip.network.response_plots import Panel, as_planes, color_map, panel_figure, scaled

        patches = self.cases.patches
        rows = np.searchsorted(self.maps, self.order[: check_whole("maps that are drawn", most)])
        values = scaled(as_planes(self.cases.values, patches)[:, rows], "own")
        shares = as_planes(np.stack([self.share, self.other_share]), patches)[:, rows]
        count = _most_in_a_row(self.cases)
        panels: list[Panel | None] = []
        for hard, share, title in (
            (False, shares[0], f"share of {self.images}\nimages of {self.class_name}"),
            (True, shares[1], f"share of {self.other_images}\nimages of other classes"),
        ):
            panels.append(Panel(title, share))
            panels += _case_panels(self.cases, values, self.class_name, hard, count)
        common = as_planes(self.common[None], patches)[0, rows]
        own_planes = as_planes(self.own[None], patches)[0, rows]
        marks = [(common & ~own_planes, ALSO), (own_planes, OWN)]
        figure, axes = panel_figure(
            panels, self.maps[rows], across=1 + count, color=color, marks=marks
        )
        label = f"share of the {self.noun}'s largest response; first column: share of images that "
        label += "respond"
        plots.color_bar(figure, axes, color_map(color), (0.0, 1.0), label)
        _frame_legend(figure, (OWN, "common, its own"), (ALSO, "common, of other classes, too"))
        title = f"{self.layer}: common points of class {self.class_name}"
        plots.titled(figure, f"{title}, {len(rows)} of {self._counted}")
        return figure

    def _points(self) -> list[dict[str, Any]]:
        """Return the common points, the largest excess first."""
        points = np.argwhere(self.common)
        order = np.argsort(-self.excess[self.common], kind="stable")
        return [
            {
                "map": int(self.maps[point[0]]),
                "node": point[1:].tolist(),
                "share": float(self.share[tuple(point)]),
                "other_share": float(self.other_share[tuple(point)]),
                "p_value": float(self.p_value[tuple(point)]),
                "own": bool(self.own[tuple(point)]),
            }
            for point in points[order]
        ]

    def _repr_html_(self) -> str:
        headings = {
            **{"map": self.noun, "node": "node", "share": f"share of {self.class_name}"},
            **{"other_share": "share of others", "p_value": "p", "own": "own"},
        }
        text = (
            f"{self.own.sum()} of them its own; of {self.common.size} nodes, over {self.images} "
            f"images and {self.other_images} of other classes"
        )
        return self._block(self._title, (text, *self.notices), headings)


@dataclass(frozen=True, eq=False)
class Separation(PatternResult):
    """Nodes and maps of a layer that respond differently to two classes.

    The effect of a node is Cliff's delta: the probability that it responds more to an image of the
    first class than to one of the second, less that of the opposite; -1 to 1, 0 without difference.

    Shapes: m maps, the largest |effect| first, maps that are not finite last; `nodes` those of a
    map along each spatial axis.
    """

    first: str
    """Name of the first class."""
    second: str
    """Name of the second class."""
    effect: np.ndarray
    """(m,): that of the map's node with the largest |effect|. The node is chosen on the same
    images, which flatters it a little; the p-value takes the choice into account."""
    p_value: np.ndarray
    """(m,): that no node of the map separates the classes, by shuffled classes."""
    p_adjusted: np.ndarray
    """(m,): for the number of maps, by Benjamini and Hochberg."""
    nodes: np.ndarray
    """(m, axes) int: position of that node."""
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
    cases: Cases
    """Examples and hard cases of both classes."""
    notices: tuple[str, ...] = ()

    def __repr__(self) -> str:
        best = three_best(self.maps, self.effect)
        return (
            f"Separation({self._title}: {self._counted}, {sum(self.images)} images; "
            f"largest effect: {self.noun} {best})"
        )

    @property
    def _title(self) -> str:
        return f"{self.layer}: {self.first} against {self.second}"

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
        """(k,): for each case, the share of the strong nodes that respond as for the second class.

        Their response is nearer to the mean of the second class than to that of the first; NaN
        without strong nodes.
        """
        is_strong = self.strong
        values = self.cases.values[:, is_strong]
        nearer = np.abs(values - self.second_mean[is_strong]) < np.abs(
            values - self.first_mean[is_strong]
        )
        return nearer.mean(axis=1) if is_strong.any() else np.full(len(self.cases), np.nan)

    @property
    def unusable(self) -> np.ndarray:
        """Numbers of the maps with responses that are not finite."""
        return self.maps[np.isnan(self.effect)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `oip patterns --json` prints them."""
        cases = self.cases.to_dicts()
        for case, nearer in zip(cases, self.nearer_second, strict=True):
            case["nearer_second"] = finite_or_none(nearer)
        return {
            **self._plain("layer", "index", "at", "first", "second"),
            "images": list(self.images),
            "shuffles": self.shuffles,
            "effect": "Cliff's delta",
            "separating_nodes": int(self.separating.sum()),
            "strong_nodes": int(self.strong.sum()),
            "separating_maps": int(np.sum(np.nan_to_num(self.p_adjusted, nan=1.0) <= ALPHA)),
            "maps": [
                {
                    "map": int(self.maps[row]),
                    "effect": finite_or_none(self.effect[row]),
                    "node": self.nodes[row].tolist(),
                    "mean_effect": finite_or_none(self.mean_effect[row]),
                    "p_value": finite_or_none(self.p_value[row]),
                    "p_adjusted": finite_or_none(self.p_adjusted[row]),
                    "strong_nodes": np.argwhere(self.strong[row]).tolist(),
                }
                for row in range(len(self))
            ],
            "cases": cases,
            "notices": list(self.notices),
        }

    def to_pandas(self) -> DataFrame:
        """Return a row for each map, the largest effect first."""
        import pandas

        names = ("effect", "mean_effect", "p_value", "p_adjusted")
        columns = {name: getattr(self, name) for name in names}
        head = {"layer": self.layer, "map": self.maps, "node": self.nodes.tolist()}
        return pandas.DataFrame({**head, **columns})

    def plot(self, most: int = 24, color: str = "grey") -> Figure:
        """Draw images of both classes, hard cases and mean responses on the `most` best maps.

        A row per class, the mean response first; below them the hard cases. Strong nodes are
        framed, in one color where the first class responds more, in another where the second
        does. `color` is `grey`, `viridis` or `jet`.
        """
        from oip.network import response_plots
        from oip.network.response_plots import Panel, as_planes, color_map, panel_figure, scaled

        patches = self.cases.patches
        rows = np.arange(len(self))[: check_whole("maps that are drawn", most)]
        means = np.stack([self.first_mean, self.second_mean]).astype(np.float32)
        values = np.concatenate([as_planes(self.cases.values, patches), as_planes(means, patches)])
        values = scaled(values[:, rows], "own")
        count = _most_in_a_row(self.cases)
        panels: list[Panel | None] = []
        names = (self.first, self.second)
        for name, images, mean in zip(names, self.images, values[-2:], strict=True):
            panels.append(Panel(f"mean of {images}\nimages of {name}", mean))
            panels += _case_panels(self.cases, values, name, False, count)
        for name in names:
            if (self.cases.hard & (self.cases.labels == name)).any():
                panels += [None, *_case_panels(self.cases, values, name, True, count)]
        strong = as_planes(self.strong[None], patches)[0, rows]
        first_is_larger = as_planes(np.nan_to_num(self.node_effect)[None], patches)[0, rows] > 0
        marks = [(strong & ~first_is_larger, ALSO), (strong & first_is_larger, OWN)]
        figure, axes = panel_figure(
            panels, self.maps[rows], across=1 + count, color=color, marks=marks
        )
        plots.color_bar(figure, axes, color_map(color), (0.0, 1.0), response_plots.OWN_LABEL)
        _frame_legend(figure, (OWN, f"more for {self.first}"), (ALSO, f"more for {self.second}"))
        title = f"{self._title}, {len(rows)} of {self._counted}, the most separating first"
        plots.titled(figure, title)
        return figure

    def _repr_html_(self) -> str:
        headings = {"map": self.noun, "effect": "effect", "node": "node"}
        headings |= {"mean_effect": "effect of the mean", "p_value": "p"}
        headings["p_adjusted"] = "p (adjusted)"
        text = (
            f"{self.separating.sum()} of {self.separating.size} nodes separate them, "
            f"{self.strong.sum()} of them strongly; effect: "
            f"Cliff's delta of the best node, above 0 where {self.first} responds more; "
            f"{self.images[0]} and {self.images[1]} images"
        )
        return self._block(self._title, (text, *self.notices), headings)


def _most_in_a_row(cases: Cases) -> int:
    """Return the largest number of examples or hard cases of one class, at least 1."""
    counts = [
        int(np.sum((cases.labels == name) & (cases.hard == hard)))
        for name in np.unique(cases.labels)
        for hard in (False, True)
    ]
    return max([1, *counts])


def _case_panels(
    cases: Cases, values: np.ndarray, name: str, hard: bool, count: int
) -> list[Panel | None]:
    """Return `count` panels of the examples or hard cases of a class, filled up with None."""
    from oip.network.response_plots import Panel

    rows = np.flatnonzero((cases.labels == name) & (cases.hard == hard))[:count]
    titles = cases.titles
    panels: list[Panel | None] = [
        Panel(titles[row], values[row], cases.images[row], cases.bgr) for row in rows
    ]
    return panels + [None] * (count - len(panels))


def _frame_legend(figure: Figure, *kinds: tuple[str, str]) -> None:
    """Explain the frames (color, meaning) below the figure."""
    from matplotlib.patches import Patch

    figure.legend(
        handles=[
            Patch(facecolor="none", edgecolor=color, label=plots.printable(text))
            for color, text in kinds
        ],
        loc="outside lower center",
        ncols=len(kinds),
        fontsize=plots.SMALL,
        frameon=False,
    )
