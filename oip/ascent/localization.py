"""Where in real images a map's pattern is found: the places to which it responds most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.ascent.masks import box_pixels, central_node, field_boxes
from oip.ascent.objectives import Objective, Term
from oip.ascent.reconstruction import Ascent, grow_oips, objective_targets
from oip.ascent.results import ByMap, Oips, check_memory
from oip.ascent.settings import ascent_settings
from oip.ascent.similarity import image_similarity, shift_reach
from oip.core import html, plots
from oip.core.errors import DataError, SettingsError, expected
from oip.core.images import plain, shown
from oip.core.progress import Progress, automatic, silent
from oip.core.seeds import generator
from oip.network.forward import compiled_for_images, run_in_batches, run_to
from oip.network.inputs import check_images
from oip.network.layer_spec import map_numbers
from oip.network.layers import LayerInfo
from oip.network.network import Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def node_oips(
    network: Network,
    layer: LayerInfo,
    maps: np.ndarray,
    node: Sequence[int],
    progress: Progress = silent,
    *,
    data: np.ndarray | None = None,
    preset: str = "default",
    **settings: Any,
) -> Oips:
    """The OIPs of one node of several maps, in the order of `maps`.

    A map that nothing moves has the verdict that it has among all maps of its layer.

    Args:
        network: the model, its input settled.
        layer: whose node.
        maps: (m,) numbers of the maps; objective i is of `maps[i]`.
        node: its place along each axis.
        progress: is told what has been done.
        data, preset, settings: of the ascent, as for `oip.reconstruct`.
    """
    chosen = ascent_settings(preset, **settings)
    if data is not None:
        data = check_images(network.inputs, data, "data")
    network.inputs.warn_if_assumed()
    place = tuple(int(one) for one in node)
    objectives = [Objective(((1.0, Term("node", int(number), place)),)) for number in maps]
    targets = objective_targets(network, objectives, layer.name)
    targets.refuses_constants = False
    ascent = Ascent(network, targets, chosen, data, progress)
    return grow_oips(ascent, np.arange(len(objectives)), progress)


_NULL = 256
"""Other images whose same place is held against the pattern."""
_NOT_FOUND = -1
_SHOWN = 16


@dataclass(frozen=True, eq=False)
class Locations(ByMap):
    """The places of images to which maps respond most, one an image, the strongest first.

    Shapes: m maps, k places, a spatial axes, (h, w, b) the model's input.
    """

    PER_MAP = (
        "maps",
        "images",
        "nodes",
        "responses",
        "boxes",
        "excited",
        "where",
        "pixels",
        "labels",
        "patterns",
        "match",
        "match_percentile",
    )

    layer: str
    index: int
    maps: np.ndarray
    """(m,) int: the maps' numbers."""
    images: np.ndarray
    """(m, k) int: number of the image; -1 where fewer than k images excite the map."""
    nodes: np.ndarray
    """(m, k, a) int: the node of the image that responds most."""
    responses: np.ndarray
    """(m, k): its response; NaN where there is no image."""
    boxes: np.ndarray
    """(m, k, a, 2): first pixel and end of the node's receptive field along each axis; it may reach
    beyond the image where that was padded."""
    excited: np.ndarray
    """(m,): share of all images with a response above zero anywhere; NaN for maps with responses
    that are not finite, which have no places."""
    where: np.ndarray
    """(m, *nodes): of these images, the share whose strongest response is at the node; NaN as
    above."""
    searched: int
    """Images that were looked through."""
    pixels: np.ndarray = field(repr=False)
    """(m, k, h, w, b) float32: the images found, in the model's input units; 0 without image."""
    mean: np.ndarray = field(repr=False)
    std: np.ndarray = field(repr=False)
    bgr: bool = False
    labels: np.ndarray | None = None
    """(m, k) text: the images' classes, where they were told; empty without image."""
    patterns: Oips | None = field(default=None, repr=False)
    """The OIPs of the layer's central node, one objective a map; None if they were not grown."""
    match: np.ndarray | None = None
    """(m, k): similarity (-1 to 1) of the pixels in the field and the node's OIP, the best of its
    starts and of shifts of up to one pooled cell; NaN without image or OIP."""
    match_percentile: np.ndarray | None = None
    """(m, k): place (0 to 100) of `match` among the same place of other images."""

    @property
    def unusable(self) -> np.ndarray:
        """Numbers of the maps with responses that are not finite."""
        return self.maps[np.isnan(self.excited)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values as `oip locate --json` prints them for a layer."""
        return {
            "layer": self.layer,
            "index": self.index,
            "searched": self.searched,
            "maps": [self._told(row) for row in range(len(self))],
        }

    def _told(self, row: int) -> dict[str, Any]:
        places = []
        for place in np.flatnonzero(self.images[row] != _NOT_FOUND):
            told = {
                "image": int(self.images[row, place]),
                "node": self.nodes[row, place].tolist(),
                "field": self.boxes[row, place].tolist(),
                "response": float(self.responses[row, place]),
            }
            if self.labels is not None:
                told["label"] = str(self.labels[row, place])
            if self.match is not None and self.match_percentile is not None:
                told["match"] = _number(self.match[row, place])
                told["match_percentile"] = _number(self.match_percentile[row, place])
            places.append(told)
        return {
            "map": int(self.maps[row]),
            "excited": _number(self.excited[row]),
            "where": self.where[row].tolist() if np.isfinite(self.excited[row]) else None,
            "places": places,
        }

    def plot(self, most: int = 8) -> Figure:
        """A row for each map: the node's OIP where it was grown, and the images with the field.

        Args:
            most: maps that are drawn.
        """

        return locations_figure(self, most)

    def _repr_html_(self) -> str:
        title = f"{self.layer}: where {len(self)} maps respond most, of {self.searched} images"
        shown = self.rows(np.arange(min(len(self), _SHOWN)))
        rows = []
        for one in shown:
            best = f"image {one.images[0, 0]}" if one.images[0, 0] != _NOT_FOUND else None
            share = f"{one.excited[0]:.1%}" if not one.unusable.size else "not finite"
            rows.append((int(one.maps[0]), share, best, one.responses[0, 0]))
        told = html.table(
            ("map", "images that excite it", "strongest in", "response"),
            rows,
            len(self) - len(rows),
        )
        return html.block(title, told, html.drawn(shown.plot(4), title))


def locate(
    model: Any,
    images: np.ndarray,
    layer: str,
    maps: Iterable[int] | str | int | None = None,
    *,
    count: int = 8,
    labels: Any = None,
    classes: Sequence[str] | None = None,
    patterns: bool = True,
    starts: int = 4,
    seed: int = 0,
    progress: Progress = automatic,
    **settings: Any,
) -> Locations:
    """Finds the places of images to which maps respond most, and whether their OIP is there.

    Of every image the node with the largest response counts; the `count` images with the largest
    are kept. The layer's central node has an OIP of its own (what one node, not the whole map,
    reacts to); it is held against the pixels that the found node looks at, and against the pixels
    at the same place of 256 other images.

    Args:
        model: a Keras model, the path of one, or a `Network`. It is not changed.
        images: (n, h, w, b), as the model is fed.
        layer: name of a convolutional layer, or `@index`.
        maps: numbers of maps, `"0-15"`, or None for all.
        count: places of each map.
        labels: (n,) whole numbers or names, shown with the places; None if there are none.
        classes: names for whole numbers.
        patterns: grow the node's OIP and hold it against the places.
        starts, seed, settings: of that ascent, see `oip.reconstruct`; the seed also draws the
            images that the places are held against.
        progress: is told what has been done.

    Raises:
        ModelError, SettingsError, DataError: what was asked does not fit the model, or the images
            found would take more than 1 GiB.

    Example:
        >>> places = oip.locate("model.keras", images, "Conv2D_3", maps=[17])  # doctest: +SKIP
        >>> places[17].plot()  # doctest: +SKIP
    """
    network = Network.of(model, images=images)
    pixels = check_images(network.inputs, images)
    info = network.find(layer)
    numbers = map_numbers(info, maps)
    if not isinstance(count, (int, np.integer)) or not 1 <= count:
        raise SettingsError(expected("count", "a whole number from 1", count))
    count = min(int(count), len(pixels))
    check_memory("places", (len(numbers), count), network.inputs.shape, 4)
    names = None if labels is None else _names(labels, classes, len(pixels))
    found = _scanned(network, info, pixels, numbers, count, progress)
    sides = network.inputs.shape[:-1]
    places = np.stack(np.unravel_index(np.maximum(found.nodes, 0), info.size), -1)
    missing = found.images == _NOT_FOUND
    chosen = pixels[np.maximum(found.images, 0)].astype(np.float32)
    chosen[missing] = 0.0
    result = Locations(
        layer=info.name,
        index=info.index,
        maps=numbers,
        images=found.images,
        nodes=places,
        responses=np.where(missing, np.nan, found.values),
        boxes=field_boxes(info, places, sides),
        excited=np.where(found.broken, np.nan, found.excited / len(pixels)),
        where=np.where(
            found.broken[:, None], np.nan, found.counts / np.maximum(found.excited, 1)[:, None]
        ).reshape(-1, *info.size),
        searched=len(pixels),
        pixels=chosen,
        mean=network.inputs.mean,
        std=network.inputs.std,
        bgr=network.inputs.bgr,
        labels=None if names is None else np.where(missing, "", names[found.images]),
    )
    if not patterns:
        return result
    grown = node_oips(
        network, info, numbers, central_node(info), progress, starts=starts, seed=seed, **settings
    )
    return _matched(result, grown, info, pixels, seed, progress)


@dataclass
class _Found:
    """The strongest so far: (m, k) values, images and flat nodes; (m,) and (m, d) counts; (m,) bool
    of maps with responses that are not finite."""

    values: np.ndarray
    images: np.ndarray
    nodes: np.ndarray
    excited: np.ndarray
    counts: np.ndarray
    broken: np.ndarray


def _scanned(
    network: Network,
    layer: LayerInfo,
    images: np.ndarray,
    maps: np.ndarray,
    count: int,
    progress: Progress,
) -> _Found:
    """All images in batches; of each batch only what is among the strongest is kept."""
    import tensorflow as tf

    def strongest(part: Any) -> Any:
        fed = network.feed(part)
        _, after = run_to(network.model, fed, layer.response, spoiled=network.spoiled)
        values = tf.gather(after, tf.constant(maps, tf.int32), axis=-1)
        values = tf.reshape(values, [tf.shape(values)[0], -1, len(maps)])
        finite = tf.reduce_all(tf.math.is_finite(values), [0, 1])
        return tf.reduce_max(values, 1), tf.argmax(values, 1, output_type=tf.int32), ~finite

    graph = compiled_for_images(network, strongest)
    shape = (len(maps), count)
    found = _Found(
        values=np.full(shape, -np.inf, np.float32),
        images=np.full(shape, _NOT_FOUND),
        nodes=np.zeros(shape, np.int64),
        excited=np.zeros(len(maps), np.int64),
        counts=np.zeros((len(maps), int(np.prod(layer.size))), np.int64),
        broken=np.zeros(len(maps), bool),
    )
    size = network.activation_bytes(layer)
    for batch, outputs in run_in_batches(graph, images, size):
        values, nodes, broken = (output.T for output in outputs)
        found.broken |= broken
        values[found.broken] = -np.inf
        rows, columns = np.nonzero(values > 0)
        found.excited += (values > 0).sum(1)
        np.add.at(found.counts, (rows, nodes[rows, columns]), 1)
        heard = values > 0 if layer.silent_possible else np.isfinite(values)
        numbers = np.broadcast_to(np.arange(batch.start, batch.stop), values.shape)
        joined = np.concatenate([found.values, np.where(heard, values, -np.inf)], 1)
        order = np.argsort(-joined, axis=1, kind="stable")[:, :count]
        pairs = {"images": np.where(heard, numbers, _NOT_FOUND), "nodes": nodes}
        for name, new in pairs.items():
            both = np.concatenate([getattr(found, name), new], 1)
            setattr(found, name, np.take_along_axis(both, order, 1))
        found.values = np.take_along_axis(joined, order, 1)
        progress(f"{layer.name}: images", batch.stop, len(images))
    found.images[found.broken] = _NOT_FOUND
    return found


def _matched(
    found: Locations,
    grown: Oips,
    layer: LayerInfo,
    images: np.ndarray,
    seed: int,
    progress: Progress,
) -> Locations:
    """The same places with the node's OIP held against each, and against other images there."""
    sides = images.shape[1:-1]
    steps = shift_reach(layer.jump, sides)
    box = field_boxes(layer, np.array(central_node(layer)), sides)
    drawn = generator(seed, "elsewhere", layer.index).permutation(len(images))[:_NULL]
    match = np.full(found.images.shape, np.nan)
    percentile = np.full(found.images.shape, np.nan)
    usable = np.isfinite(grown.scores[:, 0])
    for row in range(len(found)):
        patterns = grown.images[row][np.isfinite(grown.scores[row])].astype(np.float32)
        for place in np.flatnonzero((found.images[row] != _NOT_FOUND) & usable[row]):
            here, there = _shared(box, found.boxes[row, place], sides)
            wanted = _centred(patterns[(slice(None), *here)])
            others = drawn[drawn != found.images[row, place]]
            near = tuple(
                min(step, max(0, one.stop - one.start - 1))
                for step, one in zip(steps, there, strict=True)
            )
            patches = np.concatenate(
                [found.pixels[row, place][there][None], images[(others, *there)]]
            )
            alike = image_similarity(_centred(patches), wanted, near).max(1)
            match[row, place] = alike[0]
            if len(others):
                percentile[row, place] = 100.0 * np.mean(alike[1:] < alike[0])
        progress(f"{layer.name}: places", row + 1, len(found))
    return replace(found, patterns=grown, match=match, match_percentile=percentile)


def _shared(
    box: np.ndarray, other: np.ndarray, sides: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The pixels of two fields that both have on the image, in the place of each."""
    here, there = [], []
    for (low, high), (first, _), side in zip(box, other, sides, strict=True):
        step = round(float(first - low))
        mine, yours = box_pixels(np.array([[low, high]]), (side,))[0], slice(0, side)
        start = max(mine.start, yours.start - step)
        stop = max(start + 1, min(mine.stop, yours.stop - step))
        here.append(slice(start, stop))
        there.append(slice(start + step, stop + step))
    return tuple(here), tuple(there)


def _centred(patches: np.ndarray) -> np.ndarray:
    patches = np.asarray(patches, np.float32)
    return patches - patches.mean(axis=tuple(range(1, patches.ndim)), keepdims=True)


def _names(labels: Any, classes: Sequence[str] | None, count: int) -> np.ndarray:
    """The class of every image as text.

    Raises:
        DataError: another number of labels, or numbers beyond the names.
    """
    values = np.asarray(labels)
    if values.shape != (count,):
        raise DataError(expected("labels", f"one for each of {count} images", values.shape))
    if classes is None:
        return values.astype(str)
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= len(classes):
        raise DataError(
            expected("labels", f"whole numbers of {len(classes)} classes", values.dtype)
        )
    return np.array(classes, dtype=str)[values]


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
