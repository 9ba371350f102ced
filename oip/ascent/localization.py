"""Localization: the nodes of real images to which a map responds most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from oip.ascent.masks import box_pixels, central_node, field_boxes
from oip.ascent.objectives import Objective, Term
from oip.ascent.reconstruction import ATTEMPTS, Ascent, grow_oips
from oip.ascent.results import ByMap, Oips, check_memory
from oip.ascent.settings import AUTO, AutoSettings, of_input, requested_settings
from oip.ascent.similarity import image_similarity, shift_reach
from oip.ascent.targets import objective_targets
from oip.core import html, plots
from oip.core.checks import check_whole, one_column
from oip.core.errors import DataError
from oip.core.frameworks import keras, tf
from oip.core.images import LINE_SIZE, displayable, is_line, plain
from oip.core.progress import Progress, automatic, silent
from oip.core.seeds import generator
from oip.core.units import finite_or_none
from oip.network.forward import layer_graph, run_in_batches
from oip.network.geometry import node_indices
from oip.network.inputs import check_images
from oip.network.layer_spec import map_numbers
from oip.network.layers import LayerInfo
from oip.network.network import Network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from tensorflow import Tensor

_NULL = 256
"""Other images whose pixels at the same node are compared with the pattern."""
_COLOR_STEPS = 64
"""Of a node's OIP, where they are not given: half of those of `natural`."""
_MOST_SIDE = 64
"""Pixels along a side of fields that are compared; of larger ones several are averaged to one."""
_NO_IMAGE = -1
_MOST_ROWS = 16
_CELL = 1.15
"""Inches of a picture with its title."""
WIDE = 4.8
"""Inches of a line of text over the whole figure."""


@dataclass(frozen=True, eq=False, repr=False)
class Locations(ByMap):
    """The nodes of images to which maps respond most, one per image, the strongest first.

    Shapes: m maps, k images, a spatial axes, (h, w, b) the model's input.
    """

    PER_MAP = (
        *("maps", "images", "nodes", "responses", "boxes", "excited", "where", "pixels", "labels"),
        *("patterns", "match", "match_percentile"),
    )

    images: np.ndarray
    """(m, k) int: number of the image; -1 where fewer than k images excite the map."""
    nodes: np.ndarray
    """(m, k, a) int: the node of the image that responds most."""
    responses: np.ndarray
    """(m, k): its response; NaN where there is no image."""
    boxes: np.ndarray
    """(m, k, a, 2): first pixel and end of the node's receptive field along each axis of the image;
    it may reach beyond the image where that was padded."""
    excited: np.ndarray
    """(m,): share of all images with a response above zero anywhere; NaN for maps with responses
    that are not finite, which have no images."""
    where: np.ndarray
    """(m, *nodes): of these images, the share whose strongest response is at the node; NaN as
    above."""
    searched: int
    """Number of images that were searched."""
    pixels: np.ndarray
    """(m, k, h, w, b) float32: these images, in the model's input units; 0 without image."""
    mean: np.ndarray
    """(b,): the input's mean, in the model's input units."""
    std: np.ndarray
    """(b,): the input's standard deviation."""
    bgr: bool = False
    """The bands are blue, green and red."""
    labels: np.ndarray | None = None
    """(m, k) text: the images' classes, where they were given; empty without image."""
    patterns: Oips | None = None
    """The OIPs of the layer's central node, one objective a map; None if they were not grown, and
    where no image excites any of the maps."""
    match: np.ndarray | None = None
    """(m, k): similarity (-1 to 1) of the pixels in the field and the node's OIP, the best of its
    starts and of shifts of up to one pooled cell; NaN without image or OIP."""
    match_percentile: np.ndarray | None = None
    """(m, k): percentile (0 to 100) of `match` among other images at the same node."""

    @property
    def unusable(self) -> np.ndarray:
        """Numbers of the maps with responses that are not finite."""
        return self.maps[np.isnan(self.excited)]

    def to_dict(self) -> dict[str, object]:
        """Return plain values as `oip locate --json` prints them for a layer."""
        return {
            "layer": self.layer,
            "index": self.index,
            "searched": self.searched,
            "maps": [
                {
                    "map": int(self.maps[row]),
                    "excited": finite_or_none(self.excited[row]),
                    "where": self.where[row].tolist() if np.isfinite(self.excited[row]) else None,
                    "places": [self._record(row, rank) for rank in self._ranks(row)],
                }
                for row in range(len(self))
            ],
        }

    def _ranks(self, row: int) -> list[int]:
        """Return the columns of a map that hold an image."""
        return np.flatnonzero(self.images[row] != _NO_IMAGE).tolist()

    def _record(self, row: int, rank: int) -> dict[str, object]:
        record: dict[str, object] = {
            "image": int(self.images[row, rank]),
            "node": self.nodes[row, rank].tolist(),
            "field": self.boxes[row, rank].tolist(),
            "response": float(self.responses[row, rank]),
        }
        if self.labels is not None:
            record["label"] = str(self.labels[row, rank])
        if self.match is not None and self.match_percentile is not None:
            record["match"] = finite_or_none(self.match[row, rank])
            record["match_percentile"] = finite_or_none(self.match_percentile[row, rank])
        return record

    def to_pandas(self) -> DataFrame:
        """Return a table with a row for each map and image, the strongest of a map first."""
        import pandas

        return pandas.DataFrame(
            {"map": int(self.maps[row]), "rank": rank + 1, **self._record(row, rank)}
            for row in range(len(self))
            for rank in self._ranks(row)
        )

    def plot(self, most: int = 8) -> Figure:
        """Draw a row for each map: the node's OIP where it was grown, and images with the field.

        Args:
            most: maps that are drawn.
        """
        rows = max(1, min(most, len(self)))
        column = 0 if self.patterns is None else 1
        drawing, panels = picture_grid(rows, column + self.images.shape[1])
        for axes in panels.flat:
            axes.set_axis_off()
        for row in range(rows):
            if self.patterns is not None and np.isfinite(self.patterns.scores[row, 0]):
                pattern = self.patterns.displayed(self.patterns.images[row, 0])
                title = f"{self.layer}:{self.maps[row]}, one node"
                plots.image(panels[row, 0], displayable(pattern), title)
            for rank in self._ranks(row):
                axes = panels[row, column + rank]
                picture = plain(self.pixels[row, rank])
                plots.image(axes, displayable(picture[..., ::-1] if self.bgr else picture))
                axes.set_title(self._title(row, rank), fontsize=plots.SMALL, pad=3)
                draw_box(axes, self.boxes[row, rank], picture)
            if not self._ranks(row):
                broken = self.maps[row] in self.unusable
                reason = "responses are not finite" if broken else "no image gets a response"
                text = f"{self.noun} {self.maps[row]}: {reason}"
                panels[row, column].set_title(text, fontsize=plots.SMALL, loc="left")
        image = "image" if self.labels is None else "image (class)"
        text = f"{image}, response" + (", similarity to the node's OIP" if column else "")
        title = f"{self.layer}: strongest responses of {self.searched} images"
        return captioned(drawing, title, text)

    def _title(self, row: int, rank: int) -> str:
        """Return image and class above the response and the similarity."""
        image, response = f"{self.images[row, rank]}", f"{self.responses[row, rank]:z.3g}"
        if self.labels is not None:
            image += f" ({self.labels[row, rank][:14]})"
        if self.match is not None and np.isfinite(self.match[row, rank]):
            response += f", {self.match[row, rank]:z.2f}"
        return f"{plots.printable(image)}\n{response}"

    def __repr__(self) -> str:
        sizes = f"{self._counted}, {self.images.shape[1]} of {self.searched} images each"
        best = self.responses[:, 0] if self.images.shape[1] else np.full(len(self), np.nan)
        return self.described(sizes, best)

    def _repr_html_(self) -> str:
        title = f"{self.layer}: where {self._counted} respond most, of {self.searched} images"
        rows = []
        for row in range(min(len(self), _MOST_ROWS)):
            best = f"image {self.images[row, 0]}" if self._ranks(row) else None
            excited = self.excited[row]
            share = f"{excited:.1%}" if np.isfinite(excited) else "not finite"
            rows.append((int(self.maps[row]), share, best, self.responses[row, 0]))
        headings = (self.noun, "images with a response", "strongest in", "response")
        table = html.table(headings, rows, len(self) - len(rows))
        return html.block(title, table, html.embedded_figure(self.plot(4), title))


def locate(
    model: keras.Model | str | Path | Network,
    images: np.ndarray,
    layer: str,
    maps: Iterable[int] | str | int | None = None,
    *,
    count: int = 8,
    labels: np.ndarray | Sequence[int] | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    patterns: bool = True,
    starts: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    progress: Progress = automatic,
    **settings: Any,
) -> Locations:
    """Find the nodes of images to which maps respond most, and compare them with the maps' OIPs.

    Of every image the node with the largest response counts; the `count` images with the largest
    are kept. The layer's central node has an OIP of its own (the image to which one node, not the
    whole map, reacts most); it is compared with the pixels in the node's receptive field, and with
    the pixels at the same node of 256 other images. Of maps that no image excites it is grown once,
    beside others, without the further attempts of `oip.reconstruct`; of such maps alone it is not.

    Args:
        model: a Keras model, the path of one, or a `Network`. It is not changed.
        images: (n, h, w, b), as the model is fed.
        layer: name of a convolutional layer, or `@index`.
        maps: numbers of maps, `"0-15"`, or None for all.
        count: images of each map.
        labels: (n,) or (n, 1) whole numbers or names, shown with the images.
        classes: names for whole numbers.
        patterns: grow the node's OIP and compare it with the images, fields of more than 64 pixels
            a side with whole pixels averaged.
        starts, steps, seed, settings: of that ascent, see `oip.reconstruct`; of color images one
            start of 64 steps if None. The seed also draws the other images.
        progress: receives reports of the work.

    Raises:
        ModelError, SettingsError, DataError: the arguments do not fit the model, or the images of
            the result would take more than 1 GiB.

    Example:
        >>> locations = oip.locate("model.keras", images, "Conv2D_3", maps=[17])  # doctest: +SKIP
        >>> locations[17].plot()  # doctest: +SKIP
    """
    network = Network.of(model, images=images)
    pixels = check_images(network.inputs, images)
    info = network.find(layer)
    numbers = map_numbers(info, maps)
    count = min(check_whole("count", count), len(pixels))
    check_memory("locations", (len(numbers), count), network.inputs.shape, 4)
    names = None if labels is None else _class_names(labels, classes, len(pixels))
    best = _strongest(network, info, pixels, numbers, count, progress)
    sides = network.inputs.shape[:-1]
    nodes = node_indices(np.maximum(best.nodes, 0), info.size)
    missing = best.images == _NO_IMAGE
    best_pixels = pixels[np.maximum(best.images, 0)].astype(np.float32)
    best_pixels[missing] = 0.0
    shares = best.counts / np.maximum(best.excited, 1)[:, None]
    locations = Locations(
        layer=info.name,
        index=info.index,
        noun=info.noun,
        maps=numbers,
        images=best.images,
        nodes=nodes,
        responses=np.where(missing, np.nan, best.values),
        boxes=field_boxes(info, nodes, sides),
        excited=np.where(best.broken, np.nan, best.excited / len(pixels)),
        where=np.where(best.broken[:, None], np.nan, shares).reshape(-1, *info.size),
        searched=len(pixels),
        pixels=best_pixels,
        mean=network.inputs.mean,
        std=network.inputs.std,
        bgr=network.inputs.bgr,
        labels=None if names is None else np.where(missing, "", names[best.images]),
    )
    if not patterns or (best.images == _NO_IMAGE).all():
        return locations
    node = central_node(info)
    if AutoSettings.is_color(network.inputs.shape):
        starts = 1 if starts is None else starts
        steps = _COLOR_STEPS if steps is None else steps
    settings |= {"starts": starts, "steps": steps, "seed": seed, "attempts": 1}
    oips = node_oips(network, info, numbers, node, progress, **settings)
    return _matched(locations, oips, info, pixels, seed, progress)


def node_oips(
    network: Network,
    layer: LayerInfo,
    maps: np.ndarray,
    node: Sequence[int] | np.ndarray,
    progress: Progress = silent,
    *,
    data: np.ndarray | None = None,
    preset: str = AUTO,
    attempts: int = ATTEMPTS,
    **settings: Any,
) -> Oips:
    """Grow the OIPs of one node of several maps, in the order of `maps`.

    A map that nothing excites has the verdict that it has among all maps of its layer.

    Args:
        network: the model, its input settled.
        maps: (m,) numbers of the maps; objective i is of `maps[i]`.
        node: its index along each axis.
        data, preset, settings: of the ascent, as for `oip.reconstruct`.
        attempts: climbs of a map that stays inactive, each from other starts.
    """
    ascent_settings = of_input(requested_settings(preset, **settings), network.inputs.shape)
    if data is not None:
        data = check_images(network.inputs, data, "data")
    network.inputs.warn_if_assumed()
    indices = tuple(int(index) for index in node)
    objectives = [Objective(((1.0, Term("node", int(map_index), indices)),)) for map_index in maps]
    targets = objective_targets(network, objectives, layer.name)
    targets.refuses_constants = False
    ascent = Ascent(network, targets, ascent_settings, data, progress, attempts=attempts)
    return grow_oips(ascent, np.arange(len(objectives)), progress)


class _Strongest(NamedTuple):
    """The strongest responses of m maps."""

    values: np.ndarray
    """(m, k): responses."""
    images: np.ndarray
    """(m, k) int."""
    nodes: np.ndarray
    """(m, k) int: flat index of the node."""
    excited: np.ndarray
    """(m,) int: number of images that excite the map."""
    counts: np.ndarray
    """(m, nodes) int: number of those with their strongest response at the node."""
    broken: np.ndarray
    """(m,) bool: responses that are not finite."""


def _strongest(
    network: Network,
    layer: LayerInfo,
    images: np.ndarray,
    maps: np.ndarray,
    count: int,
    progress: Progress,
) -> _Strongest:
    """Return the strongest responses to all images; of each batch only those are kept."""
    graph = layer_graph(network, layer.response)

    def strongest(batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values = tf.gather(graph(batch)[0].response, tf.constant(maps, tf.int32), axis=-1)
        values = tf.reshape(values, [tf.shape(values)[0], -1, len(maps)])
        finite = tf.reduce_all(tf.math.is_finite(values), [0, 1])
        return tf.reduce_max(values, 1), tf.argmax(values, 1, output_type=tf.int32), ~finite

    shape = (len(maps), count)
    best = _Strongest(
        values=np.full(shape, -np.inf, np.float32),
        images=np.full(shape, _NO_IMAGE),
        nodes=np.zeros(shape, np.int64),
        excited=np.zeros(len(maps), np.int64),
        counts=np.zeros((len(maps), int(np.prod(layer.size))), np.int64),
        broken=np.zeros(len(maps), bool),
    )
    for batch, outputs in run_in_batches(strongest, images, network.activation_bytes(layer)):
        values, nodes, broken = (output.T for output in outputs)
        best.broken[:] |= broken
        values[best.broken] = -np.inf
        rows, columns = np.nonzero(values > 0)
        best.excited[:] += (values > 0).sum(1)
        np.add.at(best.counts, (rows, nodes[rows, columns]), 1)
        active = values > 0 if layer.can_be_inactive else np.isfinite(values)
        numbers = np.broadcast_to(np.arange(batch.start, batch.stop), values.shape)
        candidates = np.concatenate([best.values, np.where(active, values, -np.inf)], 1)
        order = np.argsort(-candidates, axis=1, kind="stable")[:, :count]
        best.values[:] = np.take_along_axis(candidates, order, 1)
        for old, new in ((best.images, np.where(active, numbers, _NO_IMAGE)), (best.nodes, nodes)):
            old[:] = np.take_along_axis(np.concatenate([old, new], 1), order, 1)
        progress(f"{layer.name}: images", batch.stop, len(images))
    best.images[best.broken] = _NO_IMAGE
    return best


def _matched(
    locations: Locations,
    oips: Oips,
    layer: LayerInfo,
    images: np.ndarray,
    seed: int,
    progress: Progress,
) -> Locations:
    """Return locations compared with the node's OIP, against other images at the same node."""
    sides = images.shape[1:-1]
    reach = shift_reach(layer.jump, sides)
    box = field_boxes(layer, np.array(central_node(layer)), sides)
    null_rows = generator(seed, "elsewhere", layer.index).permutation(len(images))[:_NULL]
    match = np.full(locations.images.shape, np.nan)
    percentile = np.full(locations.images.shape, np.nan)
    usable = np.isfinite(oips.scores[:, 0])
    for row in range(len(locations)):
        patterns = oips.images[row][np.isfinite(oips.scores[row])].astype(np.float32)
        for rank in np.flatnonzero((locations.images[row] != _NO_IMAGE) & usable[row]):
            own_part, other_part = _shared_pixels(box, locations.boxes[row, rank], sides)
            pattern = _centered(patterns[(slice(None), *own_part)])
            other_images = null_rows[null_rows != locations.images[row, rank]]
            size = [cut.stop - cut.start for cut in other_part]
            factor = -(-max(size) // _MOST_SIDE)
            max_shift = tuple(
                min(-(-step // factor), max(0, side // factor - 1))
                for step, side in zip(reach, size, strict=True)
            )
            pixels = locations.pixels[row, rank][other_part][None]
            both_images = (pixels, images[(other_images, *other_part)])
            patches = np.concatenate([reduced(image, factor) for image in both_images])
            pattern = reduced(pattern, factor)
            similarities = image_similarity(_centered(patches), pattern, max_shift).max(1)
            match[row, rank] = similarities[0]
            if len(other_images):
                percentile[row, rank] = 100.0 * np.mean(similarities[1:] < similarities[0])
        progress(f"{layer.name}: places", row + 1, len(locations))
    return replace(locations, patterns=oips, match=match, match_percentile=percentile)


def _shared_pixels(
    box: np.ndarray, other_box: np.ndarray, sides: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the pixels that two fields both have on the image, in each of them."""
    own_part, other_part = [], []
    for (low, high), (other_low, _), side in zip(box, other_box, sides, strict=True):
        step = round(float(other_low - low))
        cut = box_pixels(np.array([[low, high]]), (side,))[0]
        start = max(cut.start, -step)
        stop = max(start + 1, min(cut.stop, side - step))
        own_part.append(slice(start, stop))
        other_part.append(slice(start + step, stop + step))
    return tuple(own_part), tuple(other_part)


def reduced(patches: np.ndarray, factor: int) -> np.ndarray:
    """Return patches (n, *sides, b) with so many pixels along each side averaged to one."""
    for axis in range(1, patches.ndim - 1) if factor > 1 else ():
        step = min(factor, patches.shape[axis])
        count = patches.shape[axis] // step
        patches = patches[(slice(None),) * axis + (slice(count * step),)]
        shape = (*patches.shape[:axis], count, step, *patches.shape[axis + 1 :])
        patches = patches.reshape(shape).mean(axis + 1, dtype=np.float32)
    return patches


def _centered(patches: np.ndarray) -> np.ndarray:
    patches = np.asarray(patches, np.float32)
    return patches - patches.mean(axis=tuple(range(1, patches.ndim)), keepdims=True)


def _class_names(
    labels: np.ndarray | Sequence[int] | Sequence[str], classes: Sequence[str] | None, count: int
) -> np.ndarray:
    """Return the class of every image as text; raise a DataError for labels that do not fit."""
    values = one_column(np.asarray(labels))
    if values.shape != (count,):
        raise DataError("labels", f"one for each of {count} images", values.shape)
    if classes is None:
        return values.astype(str)
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= len(classes):
        raise DataError("labels", f"whole numbers of {len(classes)} classes", values.dtype)
    return np.array(classes, dtype=str)[values]


def picture_grid(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    """Return a figure for pictures below two lines of text."""
    size = max(WIDE, _CELL * columns), 0.5 + (_CELL + 0.2) * rows
    return plots.figure(*size, rows=rows, columns=columns)


def captioned(drawing: Figure, title: str, text: str) -> Figure:
    """Write a title and a line of text over a figure; return the figure."""
    drawing.suptitle(f"{plots.printable(title)}\n{text}", fontsize=plots.FONT)
    return drawing


def draw_box(axes: Axes, box: np.ndarray, image: np.ndarray) -> None:
    """Draw a receptive field on an image.

    Args:
        box: (2, 2): first pixel and end along rows and columns; along columns alone for (1, 2).
        image: (h, w, b), or (w, b), that `displayable` drew.
    """
    from matplotlib.patches import Rectangle

    (top, bottom), (left, right) = box if len(box) == 2 else (np.array([0.0, 1.0]), box[0])
    if is_line(image):  # drawn in a size of its own
        bottom, across = LINE_SIZE[0] - 0.5, LINE_SIZE[1] / image.shape[-2]
        left, right = left * across, right * across
    corner, color = (left - 0.5, top - 0.5), plots.PALETTE[1]
    axes.add_patch(
        Rectangle(corner, right - left, bottom - top, fill=False, lw=1.2, ec=color, clip_on=True)
    )
