"""Pictures of where maps respond: images with the receptive field drawn on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import plots
from oip.core.figures import enhanced, plain, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from oip.ascent.locations import Locations
    from oip.ascent.translations import Translations

_ROOM = 1.15
"""Inches of a picture with its title."""


def places(found: Locations, most: int) -> Figure:
    """See `Locations.plot`."""
    rows = max(1, min(most, len(found)))
    first = 0 if found.patterns is None else 1
    columns = first + found.images.shape[1]
    drawing, panels = plots.figure(
        _ROOM * columns, 0.35 + (_ROOM + 0.2) * rows, rows=rows, columns=columns
    )
    for axes in panels.flat:
        axes.set_axis_off()
    for row in range(rows):
        if found.patterns is not None:
            pattern = found.patterns.displayed(found.patterns.images[row, 0])
            title = f"{found.layer}:{found.maps[row]}, one node"
            plots.image(panels[row, 0], flat(pattern), title)
        for place in np.flatnonzero(found.images[row] >= 0).tolist():
            axes = panels[row, first + place]
            picture = plain(found.pixels[row, place])
            plots.image(axes, flat(picture[..., ::-1] if found.bgr else picture))
            axes.set_title(_title(found, row, place), fontsize=plots.SMALL, pad=3)
            boxed(axes, found.boxes[row, place])
        if found.images[row, 0] < 0:
            text = f"no image excites map {found.maps[row]}"
            panels[row, first].set_title(text, fontsize=plots.SMALL, loc="left")
    told = "image (class), response" + (", similarity to the node's OIP" if first else "")
    drawing.suptitle(
        plots.printable(f"{found.layer}: strongest responses of {found.searched} images; {told}"),
        fontsize=plots.FONT,
    )
    return drawing


def moved(found: Translations, most: int) -> Figure:
    """See `Translations.plot`."""
    rows, columns = max(1, min(most, len(found))), len(found.nodes)
    drawing, panels = plots.figure(
        _ROOM * columns, 0.35 + (_ROOM + 0.2) * rows, rows=rows, columns=columns
    )
    for row in range(rows):
        for place, node in enumerate(found.nodes):
            axes = panels[row, place]
            image = enhanced(found.images[row, place, 0].astype(np.float32))
            plots.image(axes, flat(image[..., ::-1] if found.bgr else image))
            axes.set_title(_moved_title(found, row, place, node), fontsize=plots.SMALL, pad=3)
            boxed(axes, found.boxes[place])
    text = "node; similarity to the reference at the expected shift, and without a shift"
    title = f"{found.layer}: OIPs of several nodes. Titles: {text}"
    drawing.suptitle(plots.printable(title), fontsize=plots.FONT)
    return drawing


def _moved_title(found: Translations, row: int, place: int, node: np.ndarray) -> str:
    first = f"{found.maps[row]} @ {','.join(map(str, node))}"
    if place == found.reference:
        return f"{first}, reference\nstarts {found.aligned[row, place]:.2f}"
    return f"{first}\n{found.aligned[row, place]:.2f} ({found.unmoved[row, place]:.2f})"


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


def flat(picture: np.ndarray) -> np.ndarray:
    """A uint8 picture (..., w, bands) as `imshow` takes it; one of one dimension as one row."""
    return shown(picture if picture.ndim == 3 else picture[None])
