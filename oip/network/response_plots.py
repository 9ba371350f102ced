"""Pictures of many maps of a layer: their layout, their scale of gray, figures of panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core import plots
from oip.core.checks import check_choice, check_whole
from oip.core.images import displayable, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

Color = Literal["grey", "viridis", "jet"]
COLORS = {"grey": plots.GRAY, "viridis": plots.SEQUENTIAL, "jet": "jet"}
Scale = Literal["shared", "own"]
SCALES = ("shared", "own")
OWN_LABEL = "response, share of the map's largest (of either sign)"
BETWEEN = "#c3d0e2"
"""Color between maps: neither gray nor in viridis or jet, so that no response looks like it."""
MARKED = plots.PALETTE[1]
"""Color of the frame around a marked node."""
ACROSS = 4
"""Most images side by side."""
_PANEL, _LARGE = 2.3, 4.6
"""Inches that the maps of one image are wide, beside others and alone."""
_HIGHEST = 40.0
"""Inches that maps in an order of their own are high at the most: each has its number."""
_IMAGE = 0.8
"""Inches that an image is high."""
NUMBERED = 0.3
"""Inches a map has to be wide for its number to stand over it."""
_POINTS = 5.5
_FINE = 10
"""Least pixels of the longer side of a small map, for gaps finer than a node."""
FLAT = 0.4
"""Height of a line of nodes as a share of its length."""


def color_map(color: str) -> Colormap:
    """Return the matplotlib color map of a name in `COLORS`; NaN is drawn as `BETWEEN`.

    Raises:
        SettingsError: another name.
    """
    import matplotlib

    check_choice("color", color, tuple(COLORS))
    return matplotlib.colormaps[COLORS[color]].with_extremes(bad=BETWEEN)


def scale_limits(planes: np.ndarray, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest (at most 0) and largest response of the scale, (m, 1, 1) each.

    Args:
        planes: (n, m, rows, columns).
        scale: `shared` by all maps, or each map's `own` over these images; units and maps of one
            node share theirs in any case: on one of its own each would be as bright as the next.
            Where there are responses below 0, an own scale has 0 in its middle.

    Raises:
        SettingsError: another scale.
    """
    check_choice("scale", scale, SCALES)
    finite = np.isfinite(planes)
    is_own = scale == "own" and planes[0, 0].size > 1
    axes = (0, 2, 3) if is_own else None
    low = np.min(planes, axis=axes, where=finite, initial=0.0, keepdims=True)
    high = np.max(planes, axis=axes, where=finite, initial=0.0, keepdims=True)
    if is_own and low.min() < 0:
        high = np.maximum(high, -low)
        low = -high
    shape = (1, planes.shape[1], 1, 1)
    return np.broadcast_to(low, shape)[0], np.broadcast_to(high, shape)[0]


def scaled(planes: np.ndarray, scale: str) -> np.ndarray:
    """Return responses (n, m, rows, columns) as shares of their scale, 0 to 1; NaN stays NaN.

    A map without any response is at the share of 0.
    """
    low, high = scale_limits(planes, scale)
    span = np.where(high > low, high - low, 1.0)
    silent = 0.5 if scale == "own" and low.min() < 0 else 0.0
    with np.errstate(invalid="ignore"):
        shares = np.where(high > low, (planes - low) / span, silent)
        return np.where(np.isfinite(planes), shares, np.nan)


def as_planes(values: np.ndarray, patches: tuple[int, ...] = ()) -> np.ndarray:
    """Return (n, m, *nodes) as (n, m, rows, columns): one row for lines, one node for units.

    Args:
        patches: rows and columns of the patches that all tokens but the first are; the first is
            then a row of its own above them, beside NaN, or False.
    """
    size = values.shape[2:]
    if patches and size == (1 + patches[0] * patches[1],):
        blank = False if values.dtype == bool else np.nan
        planes = np.full((*values.shape[:2], 1 + patches[0], patches[1]), blank, values.dtype)
        planes[:, :, 0, 0] = values[:, :, 0]
        planes[:, :, 1:] = values[:, :, 1:].reshape(*values.shape[:2], *patches)
        return planes
    return values.reshape(*values.shape[:2], *(1,) * (2 - len(size)), *size)


@dataclass(frozen=True)
class MapGrid:
    """Maps laid out row by row."""

    count: int
    """Number of maps."""
    size: tuple[int, int]
    """Nodes of a map, rows and columns."""
    columns: int
    """Maps per row."""
    zoom: int = 1
    """Pixels that a node is wide and high."""
    gap: int = 1
    """Pixels between maps."""
    inches: float = 0.0
    """Width on paper; 0 for a plain picture."""

    @property
    def over(self) -> bool:
        """Whether there is room over each map for its number."""
        return self.inches / self.columns >= NUMBERED

    @classmethod
    def of(
        cls,
        count: int,
        size: tuple[int, int],
        columns: int | None = None,
        inches: float = 0.0,
        max_columns: int | None = None,
    ) -> MapGrid:
        """Lay out some maps.

        Args:
            columns: maps per row; about as many as there are rows if None.
            inches: width on paper, 0 for a plain picture; it decides where numbers stand.
            max_columns: maps per row at the most, if `columns` is None.

        Raises:
            SettingsError: no column.
        """
        if columns is not None:
            columns = check_whole("columns", columns)
        is_line = size[0] == 1 < size[1]
        shape = (max(1, round(FLAT * size[1])), size[1]) if is_line else size
        shape = (4, 1) if size == (1, 1) else shape  # units in long rows, not as large squares
        wide = min(columns or min(plots.grid_columns(count, shape), max_columns or count), count)
        if not inches:
            return cls(count, size, wide)
        zoom = max(1, -(-_FINE // max(size)))
        gap = max(1, round(zoom * max(size) / _FINE))
        if inches / wide >= NUMBERED:  # the gap takes a line of text
            gap = max(gap, round(1.5 * _POINTS / 72 * wide / inches * size[1] * zoom))
        return cls(count, size, wide, zoom, gap, inches)

    @property
    def are_lines(self) -> bool:
        """Whether the maps are drawn as lines: of one row, on paper."""
        return self.inches > 0 and self.size[0] == 1 < self.size[1]

    @property
    def _tile(self) -> tuple[int, int]:
        """Pixels of a map, rows and columns."""
        height, width = self.size[0] * self.zoom, self.size[1] * self.zoom
        return (max(4, round(FLAT * width)) if self.are_lines else height), width

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels of the whole picture, rows and columns."""
        rows, (height, width) = -(-self.count // self.columns), self._tile
        return rows * (height + self.gap) - self.gap, self.columns * (width + self.gap) - self.gap

    @property
    def _corners(self) -> np.ndarray:
        return plots.corners(self.count, self._tile, self.columns, self.gap)

    def table(self, values: np.ndarray) -> np.ndarray:
        """Return maps (m, rows, columns) as one array of `shape`, NaN between them."""
        large = values.repeat(self.zoom, axis=1).repeat(self.zoom, axis=2)
        return plots.tiled(large, self.columns, self.gap)

    def cells(self, marked: np.ndarray) -> np.ndarray:
        """Return the first row and column in the picture of each marked node, (k, 2) int.

        Args:
            marked: (m, rows, columns) bool.
        """
        map_row, row, column = np.nonzero(marked)
        return self._corners[map_row] + np.stack([row, column], axis=1) * self.zoom

    def draw(self, axes: Axes, values: np.ndarray, color: str = "grey") -> None:
        """Draw maps (m, rows, columns) of values from 0 to 1; NaN stays empty.

        Maps of one row are drawn as lines, from 0 below to 1 above.
        """
        from matplotlib.patches import Rectangle

        height, width = self.shape
        colors = color_map("grey" if self.are_lines else color)
        scale: dict[str, Any] = {"cmap": colors, "vmin": 0.0, "vmax": 1.0, "aspect": 1.0}
        if self.are_lines:
            tiles = np.ones((self.count, *self._tile))
            table = plots.tiled(tiles, self.columns, self.gap)
            plots.image(axes, table, **scale)
            time = (np.arange(self.size[1]) + 0.5) * self.zoom - 0.5
            tall = self._tile[0] - 1
            for (top, left), line in zip(self._corners, values[:, 0], strict=True):
                look = {"color": plots.PALETTE[0], "linewidth": 0.7, "solid_joinstyle": "round"}
                axes.plot(left + time, top + tall * (0.97 - 0.94 * line), **look)
            axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        else:
            plots.image(axes, self.table(values), **scale)
        edge = {"fill": False, "edgecolor": BETWEEN, "linewidth": 0.6, "clip_on": False}
        axes.add_patch(Rectangle((-0.5, -0.5), width, height, **edge))

    def number(self, axes: Axes, numbers: Sequence[object] | np.ndarray) -> None:
        """Write each map's number over it, or before each row that of its first map."""
        height, width = self._tile
        for index, (top, left) in enumerate(self._corners):
            if self.over:
                middle = left + (width - 1) / 2
                spot = {"x": middle, "y": top - 0.7, "ha": "center", "va": "bottom"}
            elif index % self.columns == 0:
                middle = top + (height - 1) / 2
                spot = {"x": -0.5 - self.shape[1] / 60, "y": middle, "ha": "right", "va": "center"}
            else:
                continue
            axes.text(s=plots.printable(numbers[index]), fontsize=_POINTS, **spot)

    def mark(self, axes: Axes, marked: np.ndarray, color: str = MARKED) -> None:
        """Frame the marked nodes of (m, rows, columns); nodes side by side share one frame."""
        from matplotlib.collections import LineCollection

        side = self.zoom
        tall = self._tile[0] if self.are_lines else side
        lines = []
        for (top, left), is_open in zip(self.cells(marked) - 0.5, _open_sides(marked), strict=True):
            bottom, right = top + tall, left + side
            edges = (
                ((left, top), (right, top)),
                ((left, bottom), (right, bottom)),
                ((left, top), (left, bottom)),
                ((right, top), (right, bottom)),
            )
            lines += [edge for edge, is_edge in zip(edges, is_open, strict=True) if is_edge]
        points = 72 * self.inches / self.shape[1] * side
        width = float(np.clip(0.14 * points, 0.5, 1.1))
        axes.add_collection(LineCollection(lines, colors=color, linewidths=width))


def _open_sides(marked: np.ndarray) -> np.ndarray:
    """Return (k, 4) bool: no marked node lies above, below, left, right of each marked one."""
    around = np.pad(marked, ((0, 0), (1, 1), (1, 1)))
    neighbors = (
        around[:, :-2, 1:-1],
        around[:, 2:, 1:-1],
        around[:, 1:-1, :-2],
        around[:, 1:-1, 2:],
    )
    return np.stack([~neighbor[marked] for neighbor in neighbors], axis=1)


@dataclass(frozen=True, eq=False)
class Panel:
    """Maps of one image, with the image above them."""

    title: str
    values: np.ndarray
    """(k, rows, columns): from 0 to 1; NaN stays empty."""
    image: np.ndarray | None = None
    """(h, w, b), in any units."""
    bgr: bool = False


def panel_figure(
    panels: Sequence[Panel | None],
    numbers: np.ndarray,
    *,
    across: int,
    columns: int | None = None,
    color: str = "grey",
    marks: Sequence[tuple[np.ndarray, str]] = (),
) -> tuple[Figure, np.ndarray]:
    """Draw panels row by row, each an image over its maps.

    Args:
        panels: all of the same maps; None leaves a gap.
        numbers: (k,) of the maps.
        across: panels a row.
        columns: maps per row; about as many as there are rows if None.
        color: a name in `COLORS`.
        marks: (k, rows, columns) bool and a color: nodes that are framed in every panel.

    Returns:
        The figure and its axes.
    """
    size = next(panel.values.shape[1:] for panel in panels if panel is not None)
    down = -(-len(panels) // across)
    side = _LARGE if across == 1 else _PANEL
    grid = MapGrid.of(len(numbers), size, columns, side)
    highest = 2 * side
    if not grid.over and np.any(np.diff(numbers) != 1):  # then the first number of a row is no help
        side = max(_LARGE, (columns or 0) * NUMBERED)
        grid = MapGrid.of(len(numbers), size, columns, side, int(side / NUMBERED))
        highest = _HIGHEST
    tall = float(np.clip(side * grid.shape[0] / grid.shape[1], 0.4, highest))
    titles = max(panel.title.count("\n") + 1 for panel in panels if panel is not None)
    figure, axes = plots.figure(
        across * (side + 0.1) + 0.3,
        down * (tall + _IMAGE + 0.15 + 0.13 * titles + 0.1 * grid.over) + 0.9,
        2 * down,
        across,
        height_ratios=(_IMAGE + 0.1, tall) * down,
    )
    for drawing in axes.flat:
        drawing.set_axis_off()
    for index, panel in enumerate(panels):
        if panel is None:
            continue
        image_panel, map_panel = axes[index // across * 2 :, index % across][:2]
        if panel.image is None:
            text = plots.printable_lines(panel.title)
            image_panel.text(0.5, 0.5, text, ha="center", va="center", fontsize=plots.FONT)
        else:
            show_image(image_panel, panel.image, panel.title, panel.bgr)
        grid.draw(map_panel, panel.values, color)
        if grid.over or index % across == 0:
            grid.number(map_panel, numbers)
        for framed, edge in marks:
            grid.mark(map_panel, framed, edge)
    return figure, axes


def show_image(axes: Axes, image: np.ndarray, title: str = "", bgr: bool = False) -> None:
    """Draw an image (h, w, b) in any units, from its lowest value to its largest."""
    rendered = plain(image)
    plots.image(axes, displayable(rendered[..., ::-1] if bgr else rendered), title)
