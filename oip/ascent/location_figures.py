"""Pictures of where maps respond: images with the receptive field drawn on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import plots
from oip.core.figures import plain, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from oip.ascent.locations import Locations

_ROOM = 1.15
"""Inches of a picture with its title."""
WIDE = 4.8
"""Inches that a line over the whole figure takes."""


def locations_figure(found: Locations, most: int) -> Figure:
    """See `Locations.plot`."""
    rows = max(1, min(most, len(found)))
    first = 0 if found.patterns is None else 1
    columns = first + found.images.shape[1]
    drawing, panels = picture_grid(rows, columns)
    for axes in panels.flat:
        axes.set_axis_off()
    for row in range(rows):
        if found.patterns is not None and np.isfinite(found.patterns.scores[row, 0]):
            pattern = found.patterns.displayed(found.patterns.images[row, 0])
            title = f"{found.layer}:{found.maps[row]}, one node"
            plots.image(panels[row, 0], shown(pattern), title)
        for place in np.flatnonzero(found.images[row] >= 0).tolist():
            axes = panels[row, first + place]
            picture = plain(found.pixels[row, place])
            plots.image(axes, shown(picture[..., ::-1] if found.bgr else picture))
            axes.set_title(_title(found, row, place), fontsize=plots.SMALL, pad=3)
            boxed(axes, found.boxes[row, place])
        if found.images[row, 0] < 0:
            broken = found.maps[row] in found.unusable
            told = "responses are not finite" if broken else "no image excites it"
            text = f"map {found.maps[row]}: {told}"
            panels[row, first].set_title(text, fontsize=plots.SMALL, loc="left")
    told = "image (class), response" + (", similarity to the node's OIP" if first else "")
    title = f"{found.layer}: strongest responses of {found.searched} images"
    drawing.suptitle(f"{plots.printable(title)}\n{told}", fontsize=plots.FONT)
    return drawing


def picture_grid(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    """A figure for pictures below two lines of text."""
    size = max(WIDE, _ROOM * columns), 0.5 + (_ROOM + 0.2) * rows
    return plots.figure(*size, rows=rows, columns=columns)


def short_number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"


def _title(found: Locations, row: int, place: int) -> str:
    """Image and class above the response and how far the node's OIP is there."""
    first = f"{found.images[row, place]}"
    if found.labels is not None:
        first += f" ({found.labels[row, place][:14]})"
    second = f"{found.responses[row, place]:.3g}"
    if found.match is not None and np.isfinite(found.match[row, place]):
        second += f", {found.match[row, place]:.2f}"
    return f"{plots.printable(first)}\n{second}"


def boxed(axes: Any, box: np.ndarray, colour: str = plots.PALETTE[1]) -> None:
    """Draws a receptive field on an image.

    Args:
        axes: with the image.
        box: (2, 2): first pixel and end along rows and columns; along columns alone for (1, 2).
    """
    from matplotlib.patches import Rectangle

    (top, bottom), (left, right) = box if len(box) == 2 else (np.array([0.0, 1.0]), box[0])
    corner = (left - 0.5, top - 0.5)
    axes.add_patch(
        Rectangle(corner, right - left, bottom - top, fill=False, lw=1.2, ec=colour, clip_on=True)
    )
