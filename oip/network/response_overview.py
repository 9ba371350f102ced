"""One image on all layers of a model: what convolutions and pooling make of it, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from oip.core import plots
from oip.core.errors import SettingsError, expected
from oip.network.map_grids import MapGrid, colour_map
from oip.network.response_pictures import OWN_LABEL, scaled, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from oip.network.shown_responses import Responses

MOST = 16
"""Layers that one page holds."""
_WIDTH = 6.8
_IMAGE = 0.9


def overview(
    found: Sequence[Responses], orders: Sequence[Any], colour: str = "grey", scale: str = "own"
) -> Figure:
    """An image and below it the responses of one layer after the other.

    Args:
        found: of each layer, to the same image: its first one.
        orders: of each layer's maps, see `Responses.ordered`.
        colour: `grey` or `viridis`.
        scale: `own` of each map, or `shared` by the maps of a layer.

    Raises:
        SettingsError: no layer or more than 16; an unknown order, colour or scale.
    """
    if not 1 <= len(found) <= MOST:
        raise SettingsError(expected("layers of one page", f"1 to {MOST}", len(found)))
    rows = [one.ordered(order) for one, order in zip(found, orders, strict=True)]
    grids = [_grid(one, len(kept)) for one, kept in zip(found, rows, strict=True)]
    heights = [max(0.3, _WIDTH * grid.shape[0] / grid.shape[1]) for grid in grids]
    figure, panels = plots.figure(
        _WIDTH + 0.4,
        _IMAGE + sum(heights) + 0.38 * len(found) + 1.1,
        1 + len(found),
        height_ratios=(_IMAGE, *heights),
    )
    first = found[0]
    panels[0, 0].set_axis_off()
    show_image(panels[0, 0], first.images[0], first.titles[0], first.bgr)
    for axes, one, kept, grid in zip(panels[1:, 0], found, rows, grids, strict=True):
        grid.draw(axes, scaled(one.planes[:1, kept], scale)[0], colour)
        grid.number(axes, one.maps[kept])
        nodes = " x ".join(str(side) for side in one.values.shape[2:])
        size = f" of {nodes}" if nodes else ""
        text = plots.printable(f"{one.layer}: {len(kept)} {one.what}{size}")
        axes.set_title(text, fontsize=plots.FONT, loc="left", pad=9 if grid.over else 3)
    of_layer = "response, share of the layer's largest"
    label = f"{OWN_LABEL}; of units, of the layer's" if scale == "own" else of_layer
    plots.colour_bar(figure, panels, colour_map(colour), (0.0, 1.0), label)
    return figure


def _grid(found: Responses, count: int) -> MapGrid:
    """Twice as wide as the maps of one panel, so that layers fit below each other."""
    size = found.planes.shape[2:]
    wide = plots.grid_columns(count, (4 * size[0], size[1]))
    return MapGrid.of(count, size, None if size == (1, 1) else wide, _WIDTH)
