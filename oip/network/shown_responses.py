"""The responses of a layer to some images, as a user asks for them and sees them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core.errors import DataError, SettingsError, expected
from oip.network.outputs import At, Output, find_output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from oip.network.map_grids import Colour
    from oip.network.response_pictures import Scale

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
        from oip.network.response_pictures import as_planes

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
        from oip.network.response_pictures import picture

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
        from oip.network.response_pictures import drawn

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
        from oip.core import notebook

        count = f"{len(self.maps)} {self.what}, {len(self)} image{'s' if len(self) > 1 else ''}"
        more = [f"and {len(self) - _SHOWN} more images"] if len(self) > _SHOWN else []
        picture = notebook.drawn(self.first(_SHOWN).plot(), f"{self.layer}: responses")
        return notebook.block(
            f"{self.layer}: {count}", picture, *(notebook.paragraph(text) for text in more)
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
    from oip.network.selection import map_numbers
    from oip.network.view import Network

    given = np.asarray(images)
    network = Network.of(model, images=given)
    if given.ndim == len(network.inputs.shape):
        given = given[None]
        network = network if isinstance(model, Network) else network.fitted_to(given)
    pixels = check_images(network.inputs, given)
    output = find_output(network, layer, at)
    numbers = map_numbers(output, maps)
    names = [str(place) for place in range(len(pixels))] if titles is None else list(titles)
    if len(names) != len(pixels):
        raise SettingsError(expected("titles", f"{len(pixels)}, one an image", len(names)))
    return Responses(
        layer=output.name,
        index=output.index,
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
    output: Output,
    maps: np.ndarray,
    byte_budget: int = _BYTES,
) -> np.ndarray:
    """(n, m, *nodes) float32: responses of some maps, a batch of images at a time.

    Raises:
        SettingsError: they would take more than the budget.
        DataError: none of them is finite.
    """
    from oip.network.responses import batch_size, chosen_maps

    check_budget(output, len(images), len(maps), byte_budget)
    forward = chosen_maps(network, output.place, output.channels_first)
    values = np.empty((len(images), len(maps), *output.size), np.float32)
    batch = batch_size(network)
    for first in range(0, len(images), batch):
        part = forward(images[first : first + batch], maps)
        values[first : first + batch] = part.reshape(len(part), len(maps), *output.size)
    if not np.isfinite(values).any():
        hint = "Look for NaN in the model's weights."
        what = f"responses of layer '{output.name}'"
        raise DataError(expected(what, "finite numbers", "NaN or infinity", hint))
    return values


def check_budget(output: Output, images: int, maps: int, byte_budget: int = _BYTES) -> None:
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
