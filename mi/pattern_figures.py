"""Patterns drawn: images of a class on the maps that count, with the points that count framed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from oip.core import plots
from oip.core.errors import SettingsError, expected

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mi.common_points import CommonPatterns
    from mi.pattern_cases import Cases
    from mi.separation import Separation
    from oip.network.response_pictures import Panel

OWN, ALSO = plots.PALETTE[1], plots.PALETTE[5]
"""Frames: vermilion for points of the class, or that respond more to the first; sky blue for the
other ones."""


def common_figure(found: CommonPatterns, most: int, colour: str) -> Figure:
    """See `CommonPatterns.plot`: shares and examples above, others' shares and hard cases below."""
    from oip.network.map_grids import colour_map
    from oip.network.response_pictures import Panel, arranged, as_planes, scaled

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
    from oip.network.map_grids import colour_map
    from oip.network.response_pictures import OWN_LABEL, Panel, arranged, as_planes, scaled

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
    from oip.network.response_pictures import Panel

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
