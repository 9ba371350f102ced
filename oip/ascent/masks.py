"""Images held to the pixels that are seen: mean 0, deviation 1 and lengths over these alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oip.ascent.noise import Noise
from oip.ascent.objectives import Targets
from oip.core.errors import ModelError, SettingsError, expected
from oip.network.forward import batch_rows, compiled_for_images
from oip.network.layers import LayerInfo
from oip.network.network import Network

_TINY = 1e-12


@dataclass(frozen=True)
class Seen:
    """The pixels that count for each image of a batch, in the graph being traced."""

    mask: Any
    """(h, w, b) for all images alike, or (n, h, w, b): 1 where pixels are seen, else 0."""
    count: Any
    """Scalar or (n,): values that are seen."""

    def restored(self, images: Any) -> Any:
        """Mean 0 and deviation 1 over the pixels that are seen, 0 elsewhere."""
        import tensorflow as tf

        axes = _axes(images)
        mean = tf.reduce_sum(images * self.mask, axes) / self.count
        centred = (images - each(mean, images)) * self.mask
        spread = tf.sqrt(tf.reduce_sum(tf.square(centred), axes) / self.count)
        return centred / each(tf.maximum(spread, _TINY), images)

    def unit(self, direction: Any) -> Any:
        """RMS 1 over the pixels that are seen; zero stays zero."""
        import tensorflow as tf

        square = tf.reduce_sum(tf.square(direction) * self.mask, _axes(direction))
        size = tf.sqrt(square / self.count)
        return direction / each(tf.where(size > 0, size, 1.0), direction)

    def share(self, shape: tuple[int, ...]) -> Any:
        """Scalar or (n,): root of the part of an image (h, w, b) that is seen."""
        import tensorflow as tf

        return tf.sqrt(self.count / float(np.prod(shape)))


class Fields:
    """The pixels that each item of a targets sees."""

    def __init__(self, visible: np.ndarray, shape: tuple[int, ...]):
        """Keeps each different field once.

        Args:
            visible: bool, of the image's sides for all items alike, or (items, *sides).
            shape: of an image, bands last.
        """
        sides = shape[:-1]
        masks, self._of = np.unique(
            visible.reshape(-1, int(np.prod(sides))), axis=0, return_inverse=True
        )
        bands = np.ones(shape[-1], np.float32)
        self._masks = masks.reshape(-1, *sides)[..., None] * bands
        self._counts = np.maximum(1.0, self._masks.sum(axis=tuple(range(1, len(shape) + 1))))

    def of(self, items: Any) -> Seen:
        """Of the images of a batch.

        Args:
            items: (n,) int32: the item that each image is for.
        """
        import tensorflow as tf

        if len(self._masks) == 1:
            return Seen(tf.constant(self._masks[0]), tf.constant(self._counts[0], tf.float32))
        rows = tf.gather(tf.constant(self._of.reshape(-1), tf.int32), items)
        counts = tf.constant(self._counts, tf.float32)
        return Seen(tf.gather(tf.constant(self._masks), rows), tf.gather(counts, rows))


def each(values: Any, images: Any) -> Any:
    """(n,) values in a shape that goes with images (n, h, w, b)."""
    import tensorflow as tf

    return tf.reshape(values, [-1, *[1] * (len(images.shape) - 1)])


def _axes(images: Any) -> list[int]:
    return list(range(1, len(images.shape)))


_GRADIENT_BUDGET = 256 << 20
_PROBES = 32


def visible_masks(network: Network, targets: Targets, seed: int) -> np.ndarray:
    """(1, h, w) bool for the maps of a layer, (items, h, w) for objectives: pixels that count.

    A pixel is seen if the gradient of a random combination of the nodes that an item is read from
    is not zero there for at least one of several noise images. Where all of them leave an item
    without any gradient, nothing is known and every pixel counts as seen.

    Raises:
        ModelError: no gradient leads from what is read to the image input at all.
    """
    import tensorflow as tf

    def influence(images: Any, probe: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            totals = []
            for place, tensor in enumerate(targets.probes(_fed(network, images))):
                mixed = tf.random.stateless_normal(tf.shape(tensor), (seed, targets.index + place))
                totals.append(tf.reduce_sum(tensor * mixed))
            total = tf.gather(tf.stack(totals), probe) if len(totals) > 1 else totals[0]
        gradient = tape.gradient(total, images)
        if gradient is None:
            raise ModelError(
                expected(
                    f"'{targets.name}'",
                    "something whose response has a gradient with respect to the image input",
                    "none (the input is of integers, or the layer belongs to another input)",
                )
            )
        return tf.reduce_any(gradient != 0, axis=[0, -1])

    graph = compiled_for_images(network, influence, tf.TensorSpec((), tf.int32))
    fields = np.zeros((targets.looks.shape[1], *network.inputs.shape[:-1]), bool)
    for probe, field in enumerate(fields):
        for images in _probing(network, targets, seed):
            field |= graph(tf.constant(images), tf.constant(probe)).numpy()
            if field.all():
                break
    seen = np.stack([fields[used].any(0) for used in targets.looks])
    seen[~seen.reshape(len(seen), -1).any(1)] = True
    return seen


def refuse_constant(
    network: Network, targets: Targets, items: np.ndarray, count: int, seed: int
) -> None:
    """Refuses objectives that gave one value for all images and have no gradient either.

    Args:
        items: (c,) bool: objectives that gave one value.
        count: images that they were tried on, for the message.

    Raises:
        SettingsError: one of them has no gradient with respect to any pixel.
    """
    import tensorflow as tf

    if not items.any():
        return

    def moved(images: Any, item: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            owners = tf.fill([tf.shape(images)[0]], item)
            always, never = tf.constant(True), tf.constant(False)
            reading = targets.own(_fed(network, images), owners, always, never, True)
        gradient = tape.gradient(reading.climbed, images)
        return tf.constant(False) if gradient is None else tf.reduce_any(gradient != 0)

    graph = compiled_for_images(network, moved, tf.TensorSpec((), tf.int32))
    for item in np.flatnonzero(items):
        tried = _probing(network, targets, seed)
        if not any(graph(tf.constant(images), tf.constant(item, tf.int32)) for images in tried):
            raise SettingsError(
                expected(
                    f"objective '{targets.labels[item]}'",
                    "one that depends on the image input",
                    f"one value for all {count} images, and no gradient",
                    "Its weights may be zero, what leads to it may be shut, or it belongs to "
                    "another input of the model.",
                )
            )


def _fed(network: Network, images: Any) -> Any:
    """What the model is fed for standardised images."""
    return network.feed(images * network.inputs.std + network.inputs.mean)


def _probing(network: Network, targets: Targets, seed: int) -> Any:
    """Noise images, as many at a time as fit the budget."""
    noise = Noise(network.inputs.shape, "equal")
    size = 4 * targets.bytes_per_image
    for rows in batch_rows(_PROBES, size, _GRADIENT_BUDGET, _PROBES):
        starts = np.arange(rows.start, rows.stop)
        yield noise.images(seed, targets.index, starts, "probe")[0]


def field_boxes(layer: LayerInfo, nodes: np.ndarray, sides: Sequence[int]) -> np.ndarray:
    """First pixel and end of the receptive field of each node, along each axis.

    Args:
        layer: whose nodes.
        nodes: (..., axes) int: places of the nodes.
        sides: of the image, in pixels.

    Returns:
        (..., axes, 2) float, in pixels from the image's first edge; fields may reach beyond the
        image where it was padded. The whole image where the layer has no known geometry.
    """
    nodes = np.asarray(nodes)
    boxes = np.empty((*nodes.shape, 2))
    if layer.receptive_field is None or layer.jump is None or layer.offset is None:
        boxes[..., 0], boxes[..., 1] = 0, np.asarray(sides)
        return boxes
    field = np.array(layer.receptive_field)
    boxes[..., 0] = np.array(layer.offset) + nodes * np.array(layer.jump) - (field - 1) / 2
    boxes[..., 1] = boxes[..., 0] + field
    return boxes


def box_pixels(box: np.ndarray, sides: Sequence[int]) -> tuple[slice, ...]:
    """The part of a box (axes, 2) that lies on the image, as whole pixels; one pixel at least."""
    cut = []
    for (low, high), side in zip(box, sides, strict=True):
        first = min(max(0, math.floor(low)), side - 1)
        cut.append(slice(first, max(first + 1, min(side, math.ceil(high)))))
    return tuple(cut)


def central_node(layer: LayerInfo) -> tuple[int, ...]:
    """The node in the middle of a layer; the one before it where there are two.

    >>> from types import SimpleNamespace
    >>> central_node(SimpleNamespace(size=(3, 4)))
    (1, 1)
    """
    return tuple((side - 1) // 2 for side in layer.size)


def spread_nodes(layer: LayerInfo, most: int) -> np.ndarray:
    """Up to `most` nodes evenly over a layer, as many on each axis; from 3 on each, the corners
    among them.

    Args:
        most: nodes in all; a layer of so many or fewer gives all of its own.

    Returns:
        (p, axes) int, row by row; the central node is among them.
    """
    axes = len(layer.size)
    if int(np.prod(layer.size)) <= most:
        lines = [np.arange(side) for side in layer.size]
    else:
        each = max(1, math.floor(most ** (1 / axes) + 1e-9))
        lines = [
            np.unique(np.round(np.linspace(0, side - 1, each)).astype(int))
            if each > 1
            else np.array([middle])
            for side, middle in zip(layer.size, central_node(layer), strict=True)
        ]
    found = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, axes)
    centre = np.array([central_node(layer)])
    if not (found == centre).all(1).any():
        nearest = int(np.abs(found - centre).sum(1).argmin())
        found[nearest] = centre
    return found


def checked_nodes(layer: LayerInfo, nodes: object) -> np.ndarray:
    """Nodes that the layer has, as (p, axes) int.

    Raises:
        SettingsError: none, or not of this layer.
    """
    size = " x ".join(map(str, layer.size))
    wanted = f"nodes (row, column) of its {size}"
    try:
        found = np.asarray(nodes)
    except ValueError:
        found = np.empty(0)
    fits = found.ndim == 2 and found.dtype.kind in "iu" and len(found) > 0
    fits = fits and found.shape[-1] == len(layer.size)
    if not fits or (found < 0).any() or (found >= np.array(layer.size)).any():
        raise SettingsError(expected(f"nodes of layer '{layer.name}'", wanted, nodes))
    return found.astype(np.int64)
