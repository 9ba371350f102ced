"""Responses of a layer drawn: one image's maps as one picture, images side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from oip.core import plots
from oip.core.errors import SettingsError, expected
from oip.core.figures import plain, shown
from oip.network.map_grids import MapGrid, colour_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from oip.network.shown_responses import Responses

Scale = Literal["shared", "own"]
SCALES = ("shared", "own")
MARKED = plots.PALETTE[1]
"""Colour of the frame around a marked node."""
ACROSS = 4
"""Images side by side, at the most."""
OWN_LABEL = "response, share of the map's largest"
_PANEL, _LARGE = 2.3, 4.6
"""Inches that the maps of one image are wide, beside others and alone."""
_IMAGE = 0.8
"""Inches that an image is high."""


def limits(planes: np.ndarray, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and largest response of the scale, (m, 1, 1) each; the lowest is 0 or below.

    Args:
        planes: (n, m, rows, columns).
        scale: `shared` by all maps, or each map's `own` over these images; units and maps of one
            node share theirs in any case, on one of its own each would be as bright as the next.

    Raises:
        SettingsError: another scale.
    """
    if scale not in SCALES:
        raise SettingsError(expected("scale", " or ".join(SCALES), f"'{scale}'"))
    finite = np.isfinite(planes)
    axes = (0, 2, 3) if scale == "own" and planes[0, 0].size > 1 else None
    low = np.min(planes, axis=axes, where=finite, initial=0.0, keepdims=True)
    high = np.max(planes, axis=axes, where=finite, initial=0.0, keepdims=True)
    shape = (1, planes.shape[1], 1, 1)
    return np.broadcast_to(low, shape)[0], np.broadcast_to(high, shape)[0]


def scaled(planes: np.ndarray, scale: str) -> np.ndarray:
    """Responses (n, m, rows, columns) as shares of their scale, 0 to 1; NaN where not finite."""
    low, high = limits(planes, scale)
    span = np.where(high > low, high - low, 1.0)
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(planes), (planes - low) / span, np.nan)


def picture(
    responses: Responses,
    image: int,
    rows: np.ndarray,
    colour: str,
    scale: str,
    columns: int | None,
) -> np.ndarray:
    """See `Responses.picture`; `rows` (k,) are those of the maps to draw, in order.

    Raises:
        SettingsError: no such image.
    """
    if not 0 <= image < len(responses):
        raise SettingsError(expected("image", f"0 to {len(responses) - 1}", image))
    values = scaled(responses.planes[:, rows], scale)[image]
    table = MapGrid.of(len(rows), values.shape[1:], columns).table(values)
    return colour_map(colour)(np.ma.masked_invalid(table), bytes=True)[..., :3]


@dataclass(frozen=True, eq=False)
class Panel:
    """Maps of one image, with the image above them."""

    title: str
    values: np.ndarray
    """(k, rows, columns): from 0 to 1; NaN stays empty."""
    image: np.ndarray | None = None
    """(h, w, b), in any units."""
    bgr: bool = False


def drawn(
    responses: Responses,
    rows: np.ndarray,
    colour: str,
    scale: str,
    columns: int | None,
    marks: np.ndarray | None,
    across: int | None,
) -> Figure:
    """See `Responses.plot`; `rows` (k,) are those of the maps to draw, in order."""
    planes = responses.planes[:, rows]
    values = scaled(planes, scale)
    framed = None if marks is None else marked_planes(responses, marks)[rows]
    figure, panels = arranged(
        [
            Panel(title, values[place], responses.images[place], responses.bgr)
            for place, title in enumerate(responses.titles)
        ],
        responses.maps[rows],
        across=min(len(responses), across or ACROSS),
        columns=columns,
        colour=colour,
        marks=[] if framed is None else [(framed, MARKED)],
    )
    own = scale == "own" and planes[0, 0].size > 1
    ends = (0.0, 1.0) if own else tuple(end[0].item() for end in limits(planes, scale))
    label = OWN_LABEL if own else "response (in the layer's own units)"
    plots.colour_bar(figure, panels, colour_map(colour), ends, label)
    plots.titled(figure, f"{responses.layer}: {len(rows)} {responses.what}")
    return figure


def arranged(
    shown_panels: Sequence[Panel | None],
    numbers: np.ndarray,
    *,
    across: int,
    columns: int | None = None,
    colour: str = "grey",
    marks: Sequence[tuple[np.ndarray, str]] = (),
) -> tuple[Figure, np.ndarray]:
    """A figure of panels, row by row, each an image over its maps.

    Args:
        shown_panels: all of the same maps; None leaves a place empty.
        numbers: (k,) of the maps.
        across: panels a row.
        columns: maps a row; about as many as there are rows if None.
        colour: see `oip.network.map_grids.COLOURS`.
        marks: (k, rows, columns) bool and a colour: nodes that are framed in every panel.

    Returns:
        The figure and its axes.
    """
    size = next(panel.values.shape[1:] for panel in shown_panels if panel is not None)
    down = -(-len(shown_panels) // across)
    side = _LARGE if across == 1 else _PANEL
    grid = MapGrid.of(len(numbers), size, columns, side)
    tall = float(np.clip(side * grid.shape[0] / grid.shape[1], 0.4, 2 * side))
    titles = max(panel.title.count("\n") + 1 for panel in shown_panels if panel is not None)
    figure, axes = plots.figure(
        across * (side + 0.1) + 0.3,
        down * (tall + _IMAGE + 0.15 + 0.13 * titles + 0.1 * grid.over) + 0.9,
        2 * down,
        across,
        height_ratios=(_IMAGE + 0.1, tall) * down,
    )
    for one in axes.flat:
        one.set_axis_off()
    for place, panel in enumerate(shown_panels):
        if panel is None:
            continue
        above, below = axes[place // across * 2 :, place % across][:2]
        if panel.image is None:
            text = plots.printable_lines(panel.title)
            above.text(0.5, 0.5, text, ha="center", va="center", fontsize=plots.FONT)
        else:
            show_image(above, panel.image, panel.title, panel.bgr)
        grid.draw(below, panel.values, colour)
        if grid.over or place % across == 0:
            grid.number(below, numbers)
        for framed, edge in marks:
            grid.mark(below, framed, edge)
    return figure, axes


def marked_planes(responses: Responses, marks: np.ndarray) -> np.ndarray:
    """Marks (m, *nodes) as (m, rows, columns) bool.

    Raises:
        SettingsError: they are of other maps or nodes.
    """
    given = np.asarray(marks)
    if given.shape != responses.values.shape[1:]:
        raise SettingsError(expected("marks", f"shape {responses.values.shape[1:]}", given.shape))
    return as_planes(given.astype(bool)[None])[0]


def as_planes(values: np.ndarray) -> np.ndarray:
    """(n, m, *nodes) as (n, m, rows, columns): one row for lines, one node for units."""
    size = values.shape[2:]
    return values.reshape(*values.shape[:2], *(1,) * (2 - len(size)), *size)


def show_image(axes: Axes, image: np.ndarray, title: str = "", bgr: bool = False) -> None:
    """Draws an image (h, w, b) in any units, from its lowest value to its largest."""
    rendered = plain(image)
    plots.image(axes, shown(rendered[..., ::-1] if bgr else rendered), title)
