"""The causes of a unit drawn as a row of OIPs: what feeds it, and what it moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from oip.core import plots
from oip.core.errors import RunError
from oip.core.images import shown
from oip.run.shards import layer_parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from oip.mi.circuits import Causes
    from oip.run.run import Run

_WIDTH, _ROW = 7.2, 1.35
"""Inches."""
_SHOWN = 8
"""Units of the earlier layer, and outputs."""


def causes_figure(causes: Causes, run: Run, count: int = _SHOWN) -> Figure:
    """Draw a unit's OIP, those of the units that feed it most, and the outputs that it moves.

    Args:
        causes: of the unit.
        run: holds the OIPs of both layers, or of one of them.
        count: units of the earlier layer.

    Raises:
        RunError: the run has OIPs of neither layer.
    """
    numbers = [int(number) for number in causes.order[:count]]
    fed = _pictures(run, causes.source, numbers)
    own = _pictures(run, causes.layer, [causes.unit])
    if not fed and not own:
        layers = f"OIPs of '{causes.source}' or '{causes.layer}'"
        raise RunError(f"'{run.path}'", layers, "none", "Grow them with 'oip reconstruct'.")
    columns = max(count, 4)
    figure, panels = plots.figure(_WIDTH, 2 * _ROW + 1.6, 3, columns, height_ratios=(1, 1, 1))
    for axes in panels.flat:
        axes.set_axis_off()
    title = f"{causes.layer}:{causes.unit}"
    _show(panels[0, 0], own.get(causes.unit), title)
    shares = dict(zip(causes.maps.tolist(), causes.share, strict=True))
    for axes, number in zip(panels[1], numbers, strict=False):
        _show(axes, fed.get(number), f"{number}: {100 * shares[number]:+.0f} %")
    if causes.classes:
        _bars(figure, panels[2], causes)
    low = "silenced to zero" if causes.to == "zero" else "silenced to their mean"
    text = f"{title}: change of its response without units of {causes.source}, {low}"
    plots.titled(figure, text)
    return figure


def _bars(figure: Figure, row: np.ndarray, causes: Causes) -> None:
    """Draw what the unit does to the logits, with intervals."""
    rows = causes.outputs[:_SHOWN]
    grid = row[0].get_gridspec()
    axes = figure.add_subplot(grid[2, :])
    values = causes.logit_effect[rows]
    ends = np.abs(np.stack([causes.logit_low[rows], causes.logit_high[rows]]) - values)
    names = [plots.printable(causes.classes[output]) for output in rows]
    colors = [plots.PALETTE[0] if value >= 0 else plots.PALETTE[1] for value in values]
    axes.bar(np.arange(len(rows)), values, color=colors, yerr=ends, width=0.7)
    axes.axhline(0.0, color=plots.QUIET, linewidth=0.6)
    axes.set_xticks(np.arange(len(rows)), names)
    axes.set_ylabel("effect on the logit", fontsize=plots.FONT)
    axes.tick_params(labelsize=plots.SMALL, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _show(axes: Axes, picture: np.ndarray | None, title: str) -> None:
    axes.set_title(title, fontsize=plots.SMALL, pad=2)
    if picture is not None:
        axes.imshow(picture, cmap=plots.GRAY, vmin=0, vmax=255, interpolation="nearest")
    else:
        axes.text(0.5, 0.5, "no OIP", ha="center", va="center", fontsize=plots.SMALL)


def _pictures(run: Run, name: str, numbers: Sequence[int]) -> dict[int, np.ndarray]:
    """Return the best OIPs of some units of a layer, uint8, of those that have one."""
    layer = run.reconstructed_layer(name)
    pictures: dict[int, np.ndarray] = {}
    if layer is None:
        return pictures
    for oips in layer_parts(run, layer.index, snapshots=False):
        for row in np.flatnonzero(oips.alive):
            if int(oips.maps[row]) in numbers:
                image = oips.displayed(oips.images[row, 0])
                pictures[int(oips.maps[row])] = shown(image)
    return pictures
