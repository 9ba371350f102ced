"""The responses of a layer to some images, as a user asks for them and sees them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core import plots
from oip.core.errors import DataError, SettingsError, expected
from oip.core.images import plain, shown
from oip.network.layers import UNLISTED, At, LayerInfo
from oip.network.response_plots import MapGrid, colour_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from oip.network.response_plots import Colour

_BYTES = 1 << 30
_SHOWN = 4
"""Images that a notebook shows unasked."""


@dataclass(frozen=True, eq=False)
class Responses:
    """What the maps of a layer, or the units of a dense layer, give for some images.

    Example:
        >>> found = oip.responses("model.keras", images[:3], "Conv2D_3")  # doctest: +SKIP
        >>> found.values.shape  # doctest: +SKIP
        (3, 128, 3, 3)
        >>> found.plot(order=ranking, colour="viridis", scale="own")  # doctest: +SKIP
    """

    layer: str
    index: int | None
    """Of the layer whose maps these are, as `oip layers` prints it; None for others."""
    kind: str
    """Class of the layer, such as `Conv2D`."""
    maps: np.ndarray
    """(m,) int: numbers of the maps or units."""
    values: np.ndarray
    """(n, m, *nodes) float32: the responses; (n, m) of units; not finite where weights are not."""
    images: np.ndarray = field(repr=False)
    """(n, h, w, b): the images, as the model is fed with them."""
    titles: tuple[str, ...]
    """(n,): what is written over each image."""
    bgr: bool = False
    """The bands are blue, green and red; pictures show them the other way round."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def planes(self) -> np.ndarray:
        """(n, m, rows, columns): the same values; one row for lines, one node for units."""

        return as_planes(self.values)

    @property
    def what(self) -> str:
        """`maps`, or `units` of a layer without places."""
        return "maps" if self.values.ndim > 2 else "units"

    @property
    def unusable(self) -> np.ndarray:
        """Numbers of the maps with responses that are not finite; drawn as empty."""
        nodes = tuple(range(2, self.values.ndim))
        return self.maps[~np.isfinite(self.values).all(axis=(0, *nodes))]

    def ordered(self, order: Any = None) -> np.ndarray:
        """(k,) int: rows of `maps`, in an order.

        Args:
            order: None or "index" for that of the numbers; map numbers, which may be some of them;
                or what has an `order` of map numbers: a ranking, a separation.

        Raises:
            SettingsError: an order of another layer, or of maps that are not here.
        """
        if order is None or (isinstance(order, str) and order == "index"):
            return np.arange(len(self.maps))
        index = getattr(order, "index", None)
        if isinstance(index, int) and self.index is not None and index != self.index:
            where = f"layer '{getattr(order, 'layer', index)}'"
            raise SettingsError(
                expected("order", f"one of layer '{self.layer}'", f"one of {where}")
            )
        try:
            numbers = np.asarray(getattr(order, "order", order)).astype(np.int64, casting="safe")
        except (TypeError, ValueError) as error:
            wanted = "index, map numbers, or a ranking of the layer"
            raise SettingsError(expected("order", wanted, repr(order))) from error
        rows = {int(number): row for row, number in enumerate(self.maps)}
        missing = [int(number) for number in np.ravel(numbers) if int(number) not in rows]
        if missing or not numbers.size or numbers.ndim != 1:
            wanted = f"maps of {self.maps.min()} to {self.maps.max()}"
            raise SettingsError(expected("order", wanted, missing[0] if missing else "none"))
        return np.array([rows[int(number)] for number in numbers])

    def picture(
        self,
        image: int = 0,
        *,
        order: Any = None,
        colour: Colour = "grey",
        scale: Scale = "shared",
        columns: int | None = None,
    ) -> np.ndarray:
        """All maps for one image, one pixel a node, as a plain picture.

        Args:
            image: place of the image.
            order, colour, scale, columns: as for `plot`.

        Returns:
            (h, w, 3) uint8; maps are one pixel apart.
        """

        return picture(self, image, self.ordered(order), colour, scale, columns)

    def plot(
        self,
        *,
        order: Any = None,
        colour: Colour = "grey",
        scale: Scale = "shared",
        columns: int | None = None,
        marks: np.ndarray | None = None,
        across: int | None = None,
    ) -> Figure:
        """All maps as one picture for each image, side by side, the images above them.

        Args:
            order: "index", map numbers, or a ranking of the layer; see `ordered`.
            colour: `grey`, or `viridis`.
            scale: `shared`: one scale for all; `own`: one for each map over these images. Both
                begin at 0, or at the lowest response below it.
            columns: maps a row; about as many as there are rows if None.
            marks: (m, *nodes) bool: nodes to frame, in the order of `maps`.
            across: images side by side; four at the most if None.

        Returns:
            A matplotlib figure.

        Raises:
            SettingsError: an unknown order, colour or scale; no column, no image side by side.
        """

        if across is not None and across < 1:
            raise SettingsError(expected("images side by side", "a whole number from 1", across))
        return drawn(self, self.ordered(order), colour, scale, columns, marks, across)

    def to_dict(self) -> dict[str, Any]:
        """What was asked for, without the values: layer, class, size, maps, and the images."""
        finite = np.where(np.isfinite(self.values), self.values, np.nan)
        return {
            "layer": self.layer,
            "index": self.index,
            "class": self.kind,
            self.what: len(self.maps),
            "size": list(self.values.shape[2:]),
            "images": list(self.titles),
            "lowest": float(np.nanmin(finite)),
            "largest": float(np.nanmax(finite)),
            "not_finite": self.unusable.tolist(),
        }

    def _repr_html_(self) -> str:
        from oip.core import html

        count = f"{len(self.maps)} {self.what}, {len(self)} image{'s' if len(self) > 1 else ''}"
        more = [f"and {len(self) - _SHOWN} more images"] if len(self) > _SHOWN else []
        picture = html.drawn(self.first(_SHOWN).plot(), f"{self.layer}: responses")
        return html.block(
            f"{self.layer}: {count}", picture, *(html.paragraph(text) for text in more)
        )

    def first(self, count: int) -> Responses:
        """The same for the first images only."""
        return replace(
            self,
            values=self.values[:count],
            images=self.images[:count],
            titles=self.titles[:count],
        )


def responses(
    model: Any,
    images: np.ndarray,
    layer: str,
    *,
    maps: str | Iterable[int] | int | None = None,
    at: At = "response",
    titles: Sequence[str] | None = None,
    byte_budget: int = _BYTES,
) -> Responses:
    """The responses of all maps of a layer to images.

    Args:
        model: a Keras model, the path of one, or an `oip.Network`.
        images: (n, h, w, bands), as the model is fed with them; one image may come alone.
        layer: name of a layer that gives maps (convolution, pooling, ...) or units (dense, ...), or
            `@index` as `oip layers` prints it.
        maps: numbers of the maps or units; all if None.
        at: `block` takes a convolution after the pooling that follows.
        titles: one for each image; their places if None.
        byte_budget: most bytes that the result may take.

    Returns:
        Values (n, m, *nodes) with their images; `plot` draws them.

    Raises:
        ModelError: an unknown layer, or one that gives neither maps nor units.
        SettingsError: an unknown map, or more than the budget.
        DataError: images that do not fit the model; no response is finite.

    Example:
        >>> oip.responses("model.keras", images[:3], "Conv2D_3").plot()  # doctest: +SKIP
    """
    from oip.network.inputs import check_images
    from oip.network.layer_spec import map_numbers
    from oip.network.network import Network

    given = np.asarray(images)
    network = Network.of(model, images=given)
    if given.ndim == len(network.inputs.shape):
        given = given[None]
        network = network if isinstance(model, Network) else network.fitted_to(given)
    pixels = check_images(network.inputs, given)
    output = network.find_output(layer, at)
    numbers = map_numbers(output, maps)
    names = [str(place) for place in range(len(pixels))] if titles is None else list(titles)
    if len(names) != len(pixels):
        raise SettingsError(expected("titles", f"{len(pixels)}, one an image", len(names)))
    return Responses(
        layer=output.name,
        index=None if output.index == UNLISTED else output.index,
        kind=output.kind,
        maps=numbers,
        values=output_values(network, pixels, output, numbers, byte_budget),
        images=pixels,
        titles=tuple(str(name) for name in names),
        bgr=network.inputs.bgr,
    )


def output_values(
    network: Any,
    images: np.ndarray,
    output: LayerInfo,
    maps: np.ndarray,
    byte_budget: int = _BYTES,
) -> np.ndarray:
    """(n, m, *nodes) float32: responses of some maps, a batch of images at a time.

    Raises:
        SettingsError: they would take more than the budget.
        DataError: none of them is finite.
    """
    import tensorflow as tf

    from oip.network.forward import run_in_batches, selected_maps

    check_budget(output, len(images), len(maps), byte_budget)
    graph = selected_maps(network, output.response)
    values = np.empty((len(images), len(maps), *output.size), np.float32)
    chosen = tf.constant(maps, tf.int32)
    for rows, part in run_in_batches(graph, images, network.activation_bytes(), chosen):
        values[rows] = part.reshape(len(part), len(maps), *output.size)
    if not np.isfinite(values).any():
        hint = "Look for NaN in the model's weights."
        what = f"responses of layer '{output.name}'"
        raise DataError(expected(what, "finite numbers", "NaN or infinity", hint))
    return values


def check_budget(output: LayerInfo, images: int, maps: int, byte_budget: int = _BYTES) -> None:
    """Refuses responses that would take more than the budget.

    Args:
        output: of the layer.
        images, maps: how many.
        byte_budget: most bytes.

    Raises:
        SettingsError: they would.
    """
    wanted = 4 * images * maps * math.prod(output.size)
    if wanted > byte_budget:
        raise SettingsError(
            expected(
                f"responses of layer '{output.name}'",
                f"at most {byte_budget >> 20} MiB",
                f"{wanted >> 20} MiB for {images} images and {maps} maps",
                "Ask for fewer images or maps.",
            )
        )


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
        colour: see `oip.network.response_plots.COLOURS`.
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


MOST = 16
"""Layers that one page holds."""
_WIDTH = 6.8
_IMAGE_RESPONSE_OVERVIEW = 0.9


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
        _IMAGE_RESPONSE_OVERVIEW + sum(heights) + 0.38 * len(found) + 1.1,
        1 + len(found),
        height_ratios=(_IMAGE_RESPONSE_OVERVIEW, *heights),
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
