"""Many maps of a layer as one picture: where each node lies in it, its frame, the maps' numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core import plots
from oip.core.errors import SettingsError, expected

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Colour = Literal["grey", "viridis"]
COLOURS = {"grey": plots.GREY, "viridis": plots.SEQUENTIAL}
BETWEEN = "#c3d0e2"
"""Colour between maps: neither grey nor in viridis, so that no response looks like it."""
_NUMBERED = 0.3
"""Inches a map has to be wide for its number to stand over it."""
_POINTS = 5.5
_FINE = 10
"""Pixels that the longer side of a small map is made of at least, for gaps finer than a node."""


def colour_map(colour: str) -> Any:
    """The matplotlib colour map of a name in `COLOURS`; what is no number is drawn as `BETWEEN`.

    Raises:
        SettingsError: another name.
    """
    import matplotlib

    if colour not in COLOURS:
        raise SettingsError(expected("colour", " or ".join(COLOURS), f"'{colour}'"))
    return matplotlib.colormaps[COLOURS[colour]].with_extremes(bad=BETWEEN)


@dataclass(frozen=True)
class MapGrid:
    """Maps laid out row by row."""

    count: int
    size: tuple[int, int]
    """Nodes of a map, rows and columns."""
    columns: int
    """Maps a row."""
    zoom: int = 1
    """Pixels that a node is wide and high."""
    gap: int = 1
    """Pixels between maps."""
    inches: float = 0.0
    """Width on paper; 0 for a plain picture."""

    @property
    def over(self) -> bool:
        """There is room over each map for its number."""
        return self.inches / self.columns >= _NUMBERED

    @classmethod
    def of(
        cls,
        count: int,
        size: tuple[int, int],
        columns: int | None = None,
        inches: float = 0.0,
    ) -> MapGrid:
        """A layout for some maps.

        Args:
            count: of the maps.
            size: nodes of a map, rows and columns.
            columns: maps a row; about as many as there are rows if None.
            inches: width on paper, 0 for a plain picture; it decides where numbers stand.

        Raises:
            SettingsError: no column.
        """
        if columns is not None and (isinstance(columns, bool) or columns < 1):
            raise SettingsError(expected("columns", "a whole number from 1", columns))
        shape = (4, 1) if size == (1, 1) else size  # units in long rows, not as large squares
        wide = min(columns or plots.grid_columns(count, shape), count)
        if not inches:
            return cls(count, size, wide)
        zoom = max(1, -(-_FINE // max(size)))
        gap = max(1, round(zoom * max(size) / _FINE))
        if inches / wide >= _NUMBERED:  # the gap takes a line of text
            gap = max(gap, round(1.5 * _POINTS / 72 * wide / inches * size[1] * zoom))
        return cls(count, size, wide, zoom, gap, inches)

    @property
    def _tile(self) -> tuple[int, int]:
        """Pixels of a map, rows and columns."""
        return self.size[0] * self.zoom, self.size[1] * self.zoom

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels of the whole picture, rows and columns."""
        rows, (height, width) = -(-self.count // self.columns), self._tile
        return rows * (height + self.gap) - self.gap, self.columns * (width + self.gap) - self.gap

    def table(self, values: np.ndarray) -> np.ndarray:
        """Maps (m, rows, columns) as one array of `shape`, NaN between them."""
        large = values.repeat(self.zoom, axis=1).repeat(self.zoom, axis=2)
        return plots.tiled(large, self.columns, self.gap)

    def cells(self, marked: np.ndarray) -> np.ndarray:
        """(k, 2) int: first row and column in the picture of the marked nodes of maps
        (m, rows, columns)."""
        number, row, column = np.nonzero(marked)
        return self._corners[number] + np.stack([row, column], axis=1) * self.zoom

    @property
    def _corners(self) -> np.ndarray:
        return plots.corners(self.count, self._tile, self.columns, self.gap)

    def draw(self, axes: Axes, values: np.ndarray, colour: str = "grey") -> None:
        """Draws maps (m, rows, columns) of values from 0 to 1; NaN stays empty."""
        from matplotlib.patches import Rectangle

        scale = {"cmap": colour_map(colour), "vmin": 0.0, "vmax": 1.0, "aspect": 1.0}
        plots.image(axes, self.table(values), **scale)
        height, width = self.shape
        edge = {"fill": False, "edgecolor": BETWEEN, "linewidth": 0.6, "clip_on": False}
        axes.add_patch(Rectangle((-0.5, -0.5), width, height, **edge))

    def number(self, axes: Axes, numbers: Sequence[Any] | np.ndarray) -> None:
        """Writes each map's number over it, or before each row that of its first map."""
        height, width = self._tile
        for place, (top, left) in enumerate(self._corners):
            if self.over:
                middle = left + (width - 1) / 2
                spot = {"x": middle, "y": top - 0.7, "ha": "center", "va": "bottom"}
            elif place % self.columns == 0:
                middle = top + (height - 1) / 2
                spot = {"x": -0.5 - self.shape[1] / 60, "y": middle, "ha": "right", "va": "center"}
            else:
                continue
            axes.text(s=plots.printable(numbers[place]), fontsize=_POINTS, **spot)

    def mark(self, axes: Axes, marked: np.ndarray, colour: str = plots.PALETTE[1]) -> None:
        """Frames the marked nodes of (m, rows, columns); nodes side by side share one frame."""
        from matplotlib.collections import LineCollection

        side = self.zoom
        lines = []
        for (top, left), inside in zip(self.cells(marked) - 0.5, _open_sides(marked), strict=True):
            bottom, right = top + side, left + side
            edges = (
                ((left, top), (right, top)),
                ((left, bottom), (right, bottom)),
                ((left, top), (left, bottom)),
                ((right, top), (right, bottom)),
            )
            lines += [edge for edge, drawn in zip(edges, inside, strict=True) if drawn]
        points = 72 * self.inches / self.shape[1] * side
        width = float(np.clip(0.14 * points, 0.5, 1.1))
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=width))


def _open_sides(marked: np.ndarray) -> np.ndarray:
    """(k, 4) bool: whether above, below, left and right of each marked node lies no other."""
    around = np.pad(marked, ((0, 0), (1, 1), (1, 1)))
    neighbours = (
        around[:, :-2, 1:-1],
        around[:, 2:, 1:-1],
        around[:, 1:-1, :-2],
        around[:, 1:-1, 2:],
    )
    return np.stack([~one[marked] for one in neighbours], axis=1)
