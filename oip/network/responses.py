"""The responses of a layer to some images: their values, pictures and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.core import html, plots
from oip.core.checks import check_whole
from oip.core.errors import LOOK_FOR_NAN, DataError, SettingsError
from oip.core.formats import UNIT_NOUNS, UnitKind
from oip.network.forward import run_in_batches, selected_maps
from oip.network.inputs import check_images, image_array
from oip.network.layer_spec import map_numbers
from oip.network.layers import UNLISTED, At, LayerInfo
from oip.network.network import Network
from oip.network.response_plots import (
    ACROSS,
    FLAT,
    MARKED,
    NUMBERED,
    OWN_LABEL,
    Color,
    MapGrid,
    Panel,
    Scale,
    as_planes,
    color_map,
    panel_figure,
    scale_limits,
    scaled,
    show_image,
)

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike
    from pandas import DataFrame

BYTE_BUDGET = 1 << 30
MOST = 16
"""Most layers on one page."""
_SHOWN = 4
"""Images that a notebook shows by itself."""
_WIDTH, _IMAGE = 6.8, 0.9
"""Inches of an overview: width of the maps, height of the image."""


@dataclass(frozen=True, eq=False, repr=False)
class Responses:
    """The responses of a layer's maps, or of a dense layer's units, to some images.

    Example:
        >>> result = oip.responses("model.keras", images[:3], "Conv2D_3")  # doctest: +SKIP
        >>> result.values.shape  # doctest: +SKIP
        (3, 128, 3, 3)
        >>> result.plot(order=ranking, color="viridis", scale="own")  # doctest: +SKIP
    """

    layer: str
    index: int | None
    """Of the layer whose maps these are, as `oip layers` prints it; None for others."""
    layer_class: str
    """Class of the layer, such as `Conv2D`."""
    maps: np.ndarray
    """(m,) int: numbers of the maps or units."""
    values: np.ndarray
    """(n, m, *nodes) float32: the responses; (n, m) of units; not finite where weights are not."""
    images: np.ndarray
    """(n, h, w, b): the images, as the model is fed with them."""
    titles: tuple[str, ...]
    """(n,): the text over each image."""
    bgr: bool = False
    """The bands are blue, green and red; pictures show them the other way round."""
    kind: UnitKind = "maps"
    """What the channels of the layer are."""
    patches: tuple[int, ...] = ()
    """Rows and columns of the patches that all tokens but the first are; else empty."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def planes(self) -> np.ndarray:
        """The values as (n, m, rows, columns): one row for lines, one node for units.

        A class token stands in a row of its own above the patches, beside NaN.
        """
        return as_planes(self.values, self.patches)

    @property
    def nouns(self) -> str:
        """`maps`, `units`, `token channels` or `heads`."""
        return f"{UNIT_NOUNS[self.kind]}s"

    @property
    def unusable(self) -> np.ndarray:
        """Numbers of the maps with responses that are not finite; they are drawn as empty."""
        nodes = tuple(range(2, self.values.ndim))
        return self.maps[~np.isfinite(self.values).all(axis=(0, *nodes))]

    def ordered(self, order: object = None) -> np.ndarray:
        """Return the rows of `maps` in an order, (k,) int.

        Args:
            order: None or "index" for that of the numbers; map numbers, which may be some of them;
                or a result with an `order` of map numbers: a ranking, a separation.

        Raises:
            SettingsError: an order of another layer, or of maps that are not here.
        """
        if order is None or (isinstance(order, str) and order == "index"):
            return np.arange(len(self.maps))
        index = getattr(order, "index", None)
        if isinstance(index, int) and self.index is not None and index != self.index:
            layer_name = f"layer '{getattr(order, 'layer', index)}'"
            raise SettingsError("order", f"one of layer '{self.layer}'", f"one of {layer_name}")
        try:
            numbers = np.asarray(getattr(order, "order", order))
            if numbers.dtype == bool:  # a mask
                raise TypeError("not numbers")
            numbers = numbers.astype(np.int64, casting="safe")
        except (TypeError, ValueError) as error:
            orders = "index, map numbers, or a ranking of the layer"
            raise SettingsError("order", orders, repr(order)) from error
        row_of = {int(map_index): row for row, map_index in enumerate(self.maps)}
        missing = [
            int(map_index) for map_index in np.ravel(numbers) if int(map_index) not in row_of
        ]
        if missing or not numbers.size or numbers.ndim != 1:
            numbers_here = f"maps of {self.maps.min()} to {self.maps.max()}"
            raise SettingsError("order", numbers_here, missing[0] if missing else "none")
        return np.array([row_of[int(map_index)] for map_index in numbers])

    def picture(
        self,
        image: int = 0,
        *,
        order: object = None,
        color: Color = "grey",
        scale: Scale = "shared",
        columns: int | None = None,
    ) -> np.ndarray:
        """Return all maps for one image, one pixel a node, as a plain picture.

        Args:
            image: index of the image.
            order, color, scale, columns: as for `plot`.

        Returns:
            (h, w, 3) uint8; maps are one pixel apart.

        Raises:
            SettingsError: no such image; as for `plot`.
        """
        rows = self.ordered(order)
        if not 0 <= image < len(self):
            raise SettingsError("image", f"0 to {len(self) - 1}", image)
        values = scaled(self.planes[:, rows], scale)[image]
        table = MapGrid.of(len(rows), values.shape[1:], columns).table(values)
        return color_map(color)(np.ma.masked_invalid(table), bytes=True)[..., :3]

    def plot(
        self,
        *,
        order: object = None,
        color: Color = "grey",
        scale: Scale = "shared",
        columns: int | None = None,
        marks: np.ndarray | None = None,
        across: int | None = None,
    ) -> Figure:
        """Draw all maps as one picture for each image, side by side, the images above them.

        Args:
            order: "index", map numbers, or a ranking of the layer; see `ordered`.
            color: `grey`, `viridis`, or `jet`, which has no even steps.
            scale: `shared`: one scale for all; `own`: one for each map over these images. Both
                begin at 0, or at the lowest response below it.
            columns: maps per row; about as many as there are rows if None.
            marks: (m, *nodes) bool: nodes to frame, in the order of `maps`.
            across: images side by side; four at the most if None.

        Returns:
            A matplotlib figure.

        Raises:
            SettingsError: an unknown order, color or scale; no column, no image side by side.
        """
        if across is not None:
            across = check_whole("images side by side", across)
        rows = self.ordered(order)
        planes = self.planes[:, rows]
        values = scaled(planes, scale)
        figure, panels = panel_figure(
            [
                Panel(title, values[index], self.images[index], self.bgr)
                for index, title in enumerate(self.titles)
            ],
            self.maps[rows],
            across=min(len(self), across or ACROSS),
            columns=columns,
            color=color,
            marks=[] if marks is None else [(self._marked(marks)[rows], MARKED)],
        )
        low, high = (end[0].item() for end in scale_limits(planes, scale))
        if scale == "own" and planes[0, 0].size > 1:
            limits, label = (-1.0 if low < 0 else 0.0, 1.0), OWN_LABEL
        else:
            limits, label = (low, high), "response (in the layer's own units)"
        if planes.shape[2] == 1 < planes.shape[3]:
            time = f"time to the right, {planes.shape[3]} nodes"
            text = f"{label},\nfrom {limits[0]:z.3g} to {limits[1]:z.3g}; {time}"
            figure.supxlabel(text, fontsize=plots.FONT)
        else:
            plots.color_bar(figure, panels, color_map(color), limits, label)
        plots.titled(figure, f"{self.layer}: {len(rows)} {self.nouns}")
        return figure

    def _marked(self, marks: np.ndarray) -> np.ndarray:
        """Return marks (m, *nodes) as (m, rows, columns) bool."""
        nodes = np.asarray(marks)
        if nodes.shape != self.values.shape[1:]:
            raise SettingsError("marks", f"shape {self.values.shape[1:]}", nodes.shape)
        return as_planes(nodes.astype(bool)[None], self.patches)[0]

    @property
    def lowest(self) -> float:
        """The lowest response that is finite."""
        return float(np.nanmin(np.where(np.isfinite(self.values), self.values, np.nan)))

    @property
    def largest(self) -> float:
        """The largest response that is finite."""
        return float(np.nanmax(np.where(np.isfinite(self.values), self.values, np.nan)))

    def to_dict(self) -> dict[str, object]:
        """Return layer, class, size, maps and images, without the values."""
        return {
            "layer": self.layer,
            "index": self.index,
            "class": self.layer_class,
            "kind": self.kind,
            "maps" if self.values.ndim > 2 else "units": len(self.maps),
            "size": list(self.values.shape[2:]),
            "images": list(self.titles),
            "lowest": self.lowest,
            "largest": self.largest,
            "not_finite": self.unusable.tolist(),
        }

    def to_pandas(self) -> DataFrame:
        """Return a row for each image and map: its largest and its mean response over nodes."""
        import pandas

        count, maps = self.values.shape[:2]
        values = self.values.reshape(count, maps, -1)
        head = {"image": np.repeat(self.titles, maps), "map": np.tile(self.maps, count)}
        return pandas.DataFrame(
            {**head, "largest": values.max(axis=2).ravel(), "mean": values.mean(axis=2).ravel()}
        )

    def __repr__(self) -> str:
        peaks = np.nan_to_num(self.planes, nan=-np.inf).max(axis=(0, 2, 3))
        best = [f"{self.maps[row]} ({peaks[row]:z.3g})" for row in np.argsort(-peaks)[:3]]
        return (
            f"Responses('{self.layer}', {self._count}, largest of {self.nouns} {', '.join(best)})"
        )

    @property
    def _count(self) -> str:
        return f"{len(self.maps)} {self.nouns}, {len(self)} image{'s' if len(self) > 1 else ''}"

    def _repr_html_(self) -> str:
        left_out_notes = [f"and {len(self) - _SHOWN} more images"] if len(self) > _SHOWN else []
        picture = html.embedded_figure(self.first(_SHOWN).plot(), f"{self.layer}: responses")
        texts = (html.paragraph(text) for text in left_out_notes)
        return html.block(f"{self.layer}: {self._count}", picture, *texts)

    def first(self, count: int) -> Responses:
        """Return the responses to the first images only."""
        return replace(
            self, values=self.values[:count], images=self.images[:count], titles=self.titles[:count]
        )


def responses(
    model: keras.Model | str | Path | Network,
    images: ArrayLike,
    layer: str,
    *,
    maps: str | Iterable[int] | int | None = None,
    at: At = "response",
    titles: Sequence[str] | None = None,
    byte_budget: int = BYTE_BUDGET,
) -> Responses:
    """Compute the responses of all maps of a layer to images.

    Args:
        model: a Keras model, the path of one, or an `oip.Network`.
        images: (n, h, w, bands), as the model is fed with them; one image may come alone.
        layer: name of a layer that gives maps (convolution, pooling, ...) or units (dense, ...), or
            `@index` as `oip layers` prints it.
        maps: numbers of the maps or units; all if None.
        at: `block` takes a convolution after the pooling that follows.
        titles: one for each image; their indices if None.
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
    pixels = image_array(images)
    network = Network.of(model, images=pixels)
    axes, is_gray = len(network.inputs.shape), network.inputs.shape[-1] == 1
    is_one = pixels.ndim == axes and not (is_gray and pixels.shape[-1] != 1)  # else (n, h, w)
    if is_one or (is_gray and pixels.ndim == axes - 1):
        pixels = pixels[None]
        network = network if isinstance(model, Network) else network.fitted_to(pixels)
    pixels = check_images(network.inputs, pixels)
    info = network.find_output(layer, at)
    numbers = map_numbers(info, maps)
    names = [str(index) for index in range(len(pixels))] if titles is None else list(titles)
    if len(names) != len(pixels):
        raise SettingsError("titles", f"{len(pixels)}, one per image", len(names))
    return Responses(
        layer=info.name,
        index=None if info.index == UNLISTED else info.index,
        layer_class=info.layer_class,
        maps=numbers,
        values=output_values(network, pixels, info, numbers, byte_budget),
        images=pixels,
        titles=tuple(str(name) for name in names),
        bgr=network.inputs.bgr,
        kind=info.kind,
        patches=info.patches,
    )


def output_values(
    network: Network,
    images: np.ndarray,
    layer: LayerInfo,
    maps: np.ndarray,
    byte_budget: int = BYTE_BUDGET,
) -> np.ndarray:
    """Compute the responses of some maps, a batch of images at a time: (n, m, *nodes) float32.

    Raises:
        SettingsError: they would take more than the budget.
        DataError: none of them is finite.
    """
    check_budget(layer, len(images), len(maps), byte_budget)
    graph = selected_maps(network, layer.response)
    values = np.empty((len(images), len(maps), *layer.size), np.float32)
    map_indices = np.asarray(maps, np.int32)
    for rows, batch in run_in_batches(graph, images, network.activation_bytes(), map_indices):
        values[rows] = batch.reshape(len(batch), len(maps), *layer.size)
    if not np.isfinite(values).any():
        subject = f"responses of layer '{layer.name}'"
        raise DataError(subject, "finite numbers", "NaN or infinity", LOOK_FOR_NAN)
    return values


def check_budget(layer: LayerInfo, images: int, maps: int, byte_budget: int = BYTE_BUDGET) -> None:
    """Refuse responses that would take more than the budget.

    Raises:
        SettingsError: they would.
    """
    needed = 4 * images * maps * math.prod(layer.size)
    if needed > byte_budget:
        raise SettingsError(
            f"responses of layer '{layer.name}'",
            f"at most {byte_budget >> 20} MiB",
            f"{needed >> 20} MiB for {images} images and {maps} maps",
            "Ask for fewer images or maps.",
        )


def overview(
    layers: Sequence[Responses], orders: Sequence[object], color: str = "grey", scale: str = "own"
) -> Figure:
    """Draw an image and below it the responses of one layer after the other.

    Args:
        layers: of each layer, its responses to the same image, their first one.
        orders: of each layer's maps, see `Responses.ordered`.
        color: `grey`, `viridis` or `jet`.
        scale: `own` of each map, or `shared` by the maps of a layer.

    Raises:
        SettingsError: no layer or more than 16; an unknown order, color or scale.
    """
    if not 1 <= len(layers) <= MOST:
        raise SettingsError("layers of one page", f"1 to {MOST}", len(layers))
    pairs = zip(layers, orders, strict=True)
    rows_of_layers = [(layer, layer.ordered(order)) for layer, order in pairs]
    grids = [_wide_grid(layer, layer.maps[rows]) for layer, rows in rows_of_layers]
    heights = [max(0.3, _WIDTH * grid.shape[0] / grid.shape[1]) for grid in grids]
    figure, panels = plots.figure(
        _WIDTH + 0.4,
        _IMAGE + sum(heights) + 0.38 * len(layers) + 1.1,
        1 + len(layers),
        height_ratios=(_IMAGE, *heights),
    )
    first_layer = layers[0]
    panels[0, 0].set_axis_off()
    show_image(panels[0, 0], first_layer.images[0], first_layer.titles[0], first_layer.bgr)
    for axes, (layer, rows), grid in zip(panels[1:, 0], rows_of_layers, grids, strict=True):
        grid.draw(axes, scaled(layer.planes[:1, rows], scale)[0], color)
        grid.number(axes, layer.maps[rows])
        nodes = " x ".join(str(side) for side in layer.values.shape[2:])
        size = f" of {nodes}" if nodes else ""
        text = plots.printable(f"{layer.layer}: {len(rows)} {layer.nouns}{size}")
        axes.set_title(text, fontsize=plots.FONT, loc="left", pad=9 if grid.over else 3)
    of_layer = "response, from the layer's lowest (at most 0) to its largest"
    label = f"{OWN_LABEL}; of units, of the layer's" if scale == "own" else of_layer
    color_limits = (0.0, 1.0)
    limits = [scale_limits(layer.planes[:1, rows], scale)[0] for layer, rows in rows_of_layers]
    if scale == "own" and any(low.min() < 0 for low in limits):
        color_limits, label = (-1.0, 1.0), f"{label}; from 0 where a layer has none below"
    plots.color_bar(figure, panels, color_map(color), color_limits, label)
    return figure


def _wide_grid(layer: Responses, numbers: np.ndarray) -> MapGrid:
    """Twice as wide as the maps of one panel, so that layers fit below each other."""
    size, count = layer.planes.shape[2:], len(numbers)
    if size == (1, 1):
        return MapGrid.of(count, size, None, _WIDTH)
    tall = 4 * FLAT * size[1] if size[0] == 1 else 4 * size[0]
    wide = plots.grid_columns(count, (round(tall), size[1]))
    if np.any(np.diff(numbers) != 1):  # in an order of their own, each has its number
        wide = min(wide, int(_WIDTH / NUMBERED))
    return MapGrid.of(count, size, wide, _WIDTH)
