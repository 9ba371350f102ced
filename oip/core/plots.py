"""One style for all figures: readable at print size, safe for the color-blind, reproducible.

Figures are plain matplotlib `Figure` objects, shown by a notebook and written by `save`; pyplot and
its global state are never used. Sizes are those on paper: text of 8 points stays 8 points.

Sources: the colors are those of Okabe and Ito, "Color Universal Design" (2008); numbers are shown
with viridis, which grows evenly in lightness and prints well in gray.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import files
from oip.core.checks import check_path
from oip.core.errors import SettingsError, plain_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.legend import Legend
    from matplotlib.text import Text

PALETTE = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
    *("#e69f00", "#56b4e9", "#000000", "#f0e442"),
)
"""Blue, vermilion, green, purple, orange, sky blue, black, yellow: one color a kind of thing."""
SEQUENTIAL = "viridis"
"""Color map of numbers from little to much."""
DIVERGING = "PuOr"
"""Color map of numbers on both sides of zero."""
GRAY = "gray"
"""Color map of images, and of numbers without color."""
QUIET = "#777777"
"""Lines that are there to compare with: zero, a ceiling, a null."""
DPI = 200
"""Dots an inch of a PNG."""
FONT, SMALL = 8.0, 7.0
"""Points of titles and labels, and of ticks and legends."""
_FINE = 200
"""Most pixels along the longer side of a picture whose pixels are shown one by one."""
_KINDS = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
_STYLE = {
    "font.size": FONT,
    "axes.titlesize": FONT,
    "axes.labelsize": FONT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.titlesize": FONT + 1,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "legend.fontsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


def figure(
    width: float = 6.0, height: float = 4.0, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, np.ndarray]:
    """Return an empty figure and its panels.

    Args:
        width, height: in inches, as it is printed.
        rows, columns: of panels.
        options: for `Figure.subplots`, such as `sharex=True` or `height_ratios=(1, 3)`.

    Returns:
        The figure, and its axes as an array (rows, columns), also of one panel. Lines take the
        colors of `PALETTE` in turn.

    Example:
        >>> drawing, panels = figure(3.4, 2.4)
        >>> panels[0, 0].plot([0, 1], [0, 1])  # doctest: +SKIP
    """
    import matplotlib
    from cycler import cycler

    style: Any = {**_STYLE, "axes.prop_cycle": cycler(color=PALETTE)}
    kind, panel = _kinds()
    options["subplot_kw"] = {"axes_class": panel, **options.get("subplot_kw", {})}
    with matplotlib.rc_context(style):
        drawing = kind(figsize=(width, height), layout="constrained", dpi=DPI / 2)
        panels = drawing.subplots(rows, columns, squeeze=False, **options)
    for axes in panels.flat:
        axes.tick_params(labelsize=SMALL, width=0.6, length=2.5)
    return drawing, panels


@cache
def _kinds() -> tuple[type[Figure], type[Axes]]:
    """Return the class of figures, which notebooks show without pyplot, and that of their axes."""
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    class Drawing(Figure):
        """A figure that is its own PNG."""

        def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
            width, height = (round(float(side) * DPI / 2) for side in self.get_size_inches())
            return encoded(self), {"width": width, "height": height}

    class Panel(Axes):
        """Axes whose titles and legends have the style's sizes, which matplotlib looks up late."""

        def set_title(self, label: str, *args: object, **options: object) -> Text:
            options = {"fontsize": FONT, **options}
            return super().set_title(label, *args, **options)  # pyright: ignore[reportArgumentType]

        def legend(self, *args: object, **options: object) -> Legend:
            return super().legend(*args, **{"fontsize": SMALL, **options})

    return Drawing, Panel


def save(drawing: Figure, path: str | Path) -> Path:
    """Write a figure as PNG or SVG, whichever `path` ends in, whole or not at all.

    Neither dates nor random names are in the file: the same figure gives the same bytes.

    Returns:
        `path`.

    Raises:
        SettingsError: the path ends in something else.
        WriteError: the file cannot be written.
    """
    path = check_path("path of the figure", path)
    files.write_bytes(path, encoded(drawing, path.suffix))
    return path


def encoded(drawing: Figure, kind: str = ".png") -> bytes:
    """Return a figure as the bytes of a `.png` or `.svg` file.

    Raises:
        SettingsError: `kind` is something else.
    """
    import matplotlib

    kind = checked_kind(kind)
    # Laying out again starts from the last layout and drifts by a hair: what was laid out stays.
    # A figure with an engine, be it "none", would be drawn twice: the first time for the layout.
    engine = drawing.get_layout_engine()
    if engine is not None:
        engine.execute(drawing)
    stream = io.BytesIO()
    with matplotlib.rc_context(
        {
            "svg.hashsalt": "oip",
            "figure.autolayout": False,
            "figure.constrained_layout.use": False,
        }
    ):
        drawing.set_layout_engine(None)
        drawing.savefig(stream, format=kind[1:], metadata=_KINDS[kind], dpi=DPI)
    return stream.getvalue()


def checked_kind(ending: str) -> str:
    """Return `.png` or `.svg`.

    Raises:
        SettingsError: the ending of a file is something else.
    """
    kind = ending.lower()
    if kind not in _KINDS:
        raise SettingsError("format of a figure", " or ".join(_KINDS), f"'{kind}'")
    return kind


def printable(text: object) -> str:
    """Return a name from a model or data as text: no control characters, no formulas."""
    return plain_text(text).replace("$", r"\$")


def printable_lines(text: str) -> str:
    """Return the same for text of several lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


def titled(drawing: Figure, text: str) -> None:
    """Write a title over a whole figure, as it is, see `printable`."""
    drawing.suptitle(printable(text), fontsize=FONT + 1)


def color_bar(
    drawing: Figure,
    panels: np.ndarray,
    colors: str | Colormap,
    ends: tuple[float, float],
    label: str,
) -> None:
    """Draw a color bar below the panels.

    Args:
        drawing, panels: the figure, and the axes that the bar belongs to.
        colors: name of a matplotlib color map, or one.
        ends: numbers that its first and last color stand for.
        label: of the numbers, with their unit.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = Normalize(ends[0], ends[1] if ends[1] > ends[0] else ends[0] + 1.0)
    mappable, axes = ScalarMappable(scale, colors), list(panels.flat)
    bar = drawing.colorbar(mappable, ax=axes, location="bottom", aspect=40, shrink=0.6, pad=0.03)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.set_label(label, fontsize=FONT)
    bar.ax.tick_params(labelsize=SMALL, width=0.6, length=2.5)
    bar.ax.xaxis.get_offset_text().set_fontsize(SMALL)


def image(axes: Axes, pixels: np.ndarray, title: str = "", **options: Any) -> AxesImage:
    """Draw an image or a table of numbers with sharp pixels, without ticks and frame.

    Pictures of more than 200 pixels are smoothed where they are drawn smaller.

    Args:
        axes: of the panel.
        pixels: (h, w) numbers, or (h, w, 3) uint8. A single row is drawn a quarter as high as it
            is wide, unless `aspect` is given.
        title: shown as it is, see `printable`.
        options: for `Axes.imshow`, such as `cmap`, `vmin`, `vmax`; gray if there are none.

    Returns:
        The drawn image, which a color bar is made for.
    """
    tall = max(1.0, pixels.shape[1] / 4) if pixels.shape[0] == 1 else 1.0
    kind = "antialiased" if max(pixels.shape[:2]) > _FINE and pixels.ndim == 3 else "nearest"
    look = {"cmap": GRAY, "interpolation": kind, "aspect": tall, **options}
    artist = axes.imshow(pixels, **look)
    axes.set_axis_off()
    if title:
        axes.set_title(printable_lines(title), fontsize=SMALL, pad=3)
    return artist


def tiled(
    tiles: np.ndarray, columns: int, gap: int = 1, between: float | Sequence[int] = np.nan
) -> np.ndarray:
    """Return many small images as one, row by row.

    Args:
        tiles: (n, h, w) or (n, h, w, b).
        columns: tiles a row.
        gap: pixels between them.
        between: value of the gaps and empty tiles.

    Returns:
        (rows h + (rows - 1) gap, columns w + (columns - 1) gap[, b]), of the type of `tiles`.
    """
    tiles = np.asarray(tiles)
    count, height, width = tiles.shape[:3]
    rows = -(-count // columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, *tiles.shape[3:])
    result = np.full(shape, between, tiles.dtype)
    for tile, (top, left) in zip(tiles, corners(count, (height, width), columns, gap), strict=True):
        result[top : top + height, left : left + width] = tile
    return result


def corners(count: int, size: tuple[int, int], columns: int, gap: int = 1) -> np.ndarray:
    """Return (n, 2) int: row and column of the first pixel of each tile of `tiled`."""
    tile = np.arange(count)
    return np.stack([tile // columns * (size[0] + gap), tile % columns * (size[1] + gap)], axis=1)


def grid_columns(count: int, shape: tuple[int, int] = (1, 1)) -> int:
    """Return the columns that lay `count` tiles of a shape out as a block about as wide as high.

    A number that leaves no tile empty is taken if it makes the block at most twice as wide.
    """
    square = max(1.0, np.sqrt(count * shape[0] / shape[1]))
    fewest = int(np.ceil(square - 1e-9))
    full = [columns for columns in range(fewest, int(2 * square) + 1) if count % columns == 0]
    return min(count, full[0] if full else fewest)
