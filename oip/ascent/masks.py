"""Masks of visible pixels: mean 0, deviation 1 and lengths over the pixels that count alone.

Also the receptive fields of nodes, as boxes on the image.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from oip.ascent.noise import Noise
from oip.ascent.targets import MapTargets, Stage, Targets
from oip.core.errors import ModelError, SettingsError
from oip.core.frameworks import Tensor, tf
from oip.network.forward import batch_rows
from oip.network.layers import LayerInfo
from oip.network.network import Network

_TINY = 1e-12
_GRADIENT_BUDGET = 256 << 20
_FIRST_PROBES, _PROBE_IMAGES = 4, 32


class PixelMask(NamedTuple):
    """The pixels that count for each image of a batch; arrays, or tensors in a graph."""

    mask: Tensor
    """(1, h, w, b) for all images alike, or (n, h, w, b): 1 where pixels are visible, else 0."""
    count: Tensor
    """(1,) or (n,): values that are visible."""

    def restored(self, images: Tensor, free_mean: bool = False) -> Tensor:
        """Return images with mean 0 and deviation 1 over the visible pixels, 0 elsewhere.

        With a free mean they have RMS 1.
        """
        if free_mean:
            return self.unit(images * self.mask)
        axes = image_axes(images)
        mean = tf.reduce_sum(images * self.mask, axes) / self.count
        centered = (images - expand_like(mean, images)) * self.mask
        deviation = tf.sqrt(tf.reduce_sum(tf.square(centered), axes) / self.count)
        return centered / expand_like(tf.maximum(deviation, _TINY), images)

    def unit(self, direction: Tensor) -> Tensor:
        """Return a direction at RMS 1 over the visible pixels; zero stays zero."""
        square = tf.reduce_sum(tf.square(direction) * self.mask, image_axes(direction))
        size = tf.sqrt(square / self.count)
        return direction / expand_like(tf.where(size > 0, size, 1.0), direction)

    def root_share(self, shape: tuple[int, ...]) -> Tensor:
        """Return (1,) or (n,): the root of the visible share of an image (h, w, b)."""
        return tf.sqrt(self.count / float(np.prod(shape)))


class PixelMasks:
    """The visible pixels of each item; each different mask is kept once.

    Args:
        visible: bool, of the image's sides for all items alike, or (items, *sides).
        shape: of an image, bands last.
    """

    def __init__(self, visible: np.ndarray, shape: tuple[int, ...]):
        sides = shape[:-1]
        masks, self._rows = np.unique(
            visible.reshape(-1, int(np.prod(sides))), axis=0, return_inverse=True
        )
        bands = np.ones(shape[-1], np.float32)
        self._masks = masks.reshape(-1, *sides)[..., None] * bands
        counts = self._masks.sum(axis=tuple(range(1, len(shape) + 1)))
        self._counts = np.maximum(1.0, counts).astype(np.float32)

    def of(self, items: np.ndarray) -> PixelMask:
        """Return the mask of a batch of images, by the item (n,) that each is for."""
        rows = slice(None) if len(self._masks) == 1 else self._rows.reshape(-1)[items]
        return PixelMask(tf.constant(self._masks[rows]), tf.constant(self._counts[rows]))


def expand_like(values: Tensor, images: Tensor) -> Tensor:
    """Return values (n,) in a shape that broadcasts with images (n, h, w, b)."""
    return tf.reshape(values, [-1, *[1] * (len(images.shape) - 1)])


def images_where(condition: Tensor, images: Tensor, replacement: Tensor) -> Tensor:
    """Return images (n, h, w, b) where a condition holds, and of the replacement elsewhere.

    `tf.where` broadcasts the condition, (n,) or of no axis, to every pixel, which takes ten times
    as long.
    """
    return tf.raw_ops.Select(condition=condition, x=images, y=replacement)


def image_axes(images: Tensor) -> list[int]:
    """Return the axes of one image in a batch."""
    return list(range(1, len(images.shape)))


def visible_masks(network: Network, targets: Targets, seed: int) -> np.ndarray:
    """Return the pixels that count: (1, h, w) bool of a layer, (items, h, w) of objectives.

    A pixel is visible if the gradient of a random combination of the nodes that an item is computed
    from is not zero there for at least one of several noise images, of which there are no more than
    it takes to see all pixels, or all in a layer's receptive fields if no other one is seen, as
    through a gate. If none of them gives an item a gradient, nothing can be said, and every pixel
    counts as visible.

    Raises:
        ModelError: no gradient leads from the items to the image input at all.
    """

    def influence(images: Tensor, probe: int) -> np.ndarray | None:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            try:
                tensor = targets.probes(_inputs(network, images))[probe]
            except Exception:
                if network.takes_integers:  # its first operations may take nothing else
                    return None
                raise
            mixed = tf.random.stateless_normal(tf.shape(tensor), (seed, targets.index + probe))
            total = tf.reduce_sum(tensor * mixed)
        gradient = tape.gradient(total, images)
        return None if gradient is None else tf.reduce_any(gradient != 0, axis=[0, -1]).numpy()

    masks = np.zeros((targets.uses_probe.shape[1], *network.inputs.shape[:-1]), bool)
    reached = reached_pixels(targets.layer if isinstance(targets, MapTargets) else None, masks[0])
    connected = False
    for probe, mask in enumerate(masks):
        for images in _noise_batches(network, targets, seed):
            influences = influence(tf.constant(images), probe)
            if influences is None:
                break
            connected = True
            mask |= influences
            if mask.all() or np.array_equal(mask, reached):
                break
    if not connected:
        raise ModelError(
            f"'{targets.name}'",
            "something whose response has a gradient with respect to the image input",
            "none (the input is of integers, or the layer belongs to another input)",
        )
    visible = np.stack([masks[probes].any(0) for probes in targets.uses_probe])
    visible[~visible.reshape(len(visible), -1).any(1)] = True
    return visible


def refuse_constant(
    network: Network, targets: Targets, items: np.ndarray, count: int, seed: int
) -> None:
    """Raise a SettingsError for objectives with one value for all images, and no gradient.

    Args:
        items: (c,) bool: objectives that gave one value.
        count: images that they were tried on, for the message.
    """
    if not items.any():
        return

    arrays = [tf.constant(array) for array in targets.arrays]

    def has_gradient(images: Tensor, item: int) -> bool:
        owners = tf.fill([len(images)], item)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            inputs = _inputs(network, images)
            activations = targets.own_activations(inputs, owners, Stage(warming=True), arrays)
        gradient = tape.gradient(activations.tensors, images, activations.slopes)
        return gradient is not None and bool(tf.reduce_any(gradient != 0))

    for item in np.flatnonzero(items):
        batches = _noise_batches(network, targets, seed)
        if not any(has_gradient(tf.constant(images), int(item)) for images in batches):
            raise SettingsError(
                f"objective '{targets.labels[item]}'",
                "one that depends on the image input",
                f"one value for all {count} images, and no gradient",
                "Its weights may be zero, an earlier layer may be silent, or it belongs to "
                "another input of the model.",
            )


def _inputs(network: Network, images: Tensor) -> list[Tensor]:
    """Return the model's inputs for standardized images."""
    return network.feed(images * network.inputs.std + network.inputs.mean, for_gradient=True)


def _noise_batches(network: Network, targets: Targets, seed: int) -> Iterator[np.ndarray]:
    """Yield noise images, as many at a time as fit the byte budget."""
    noise = Noise(network.inputs.shape, "equal")
    size = 4 * targets.bytes_per_image
    for first, last in ((0, _FIRST_PROBES), (_FIRST_PROBES, _PROBE_IMAGES)):
        for rows in batch_rows(last - first, size, _GRADIENT_BUDGET, _PROBE_IMAGES):
            starts = np.arange(first + rows.start, first + rows.stop)
            yield noise.images(seed, targets.index, starts, "probe")[0]


def reached_pixels(layer: LayerInfo | None, image: np.ndarray) -> np.ndarray:
    """Return the pixels of an image (h, w) in the receptive field of some node, bool (h, w).

    All of them without a layer, or where it has no known geometry.
    """
    if layer is None or layer.receptive_field is None or len(layer.size) != image.ndim:
        return np.ones(image.shape, bool)
    axes = [np.zeros(side, bool) for side in image.shape]
    for axis, pixels in enumerate(axes):
        nodes = np.zeros((layer.size[axis], len(axes)), int)
        nodes[:, axis] = np.arange(len(nodes))
        for low, high in field_boxes(layer, nodes, image.shape)[:, axis]:
            pixels[max(0, math.floor(low)) : max(0, math.ceil(high))] = True
    return functools.reduce(np.logical_and.outer, axes)


def field_boxes(layer: LayerInfo, nodes: np.ndarray, sides: Sequence[int]) -> np.ndarray:
    """Return the first pixel and the end of the receptive field of each node, along each axis.

    Args:
        nodes: (..., axes) int: indices of the nodes.
        sides: of the image.

    Returns:
        (..., axes of the image, 2) float, in pixels from the image's first edge; fields may reach
        beyond the image where it was padded. The whole image where the layer has no known geometry.
    """
    nodes = np.asarray(nodes)
    boxes = np.empty((*nodes.shape[:-1], len(sides), 2))
    if layer.receptive_field is None or layer.jump is None or layer.offset is None:
        boxes[..., 0], boxes[..., 1] = 0, np.asarray(sides)
        return boxes
    field = np.array(layer.receptive_field)
    boxes[..., 0] = np.array(layer.offset) + nodes * np.array(layer.jump) - (field - 1) / 2
    boxes[..., 1] = boxes[..., 0] + field
    return boxes


def box_pixels(box: np.ndarray, sides: Sequence[int]) -> tuple[slice, ...]:
    """Return the part of a box (axes, 2) on the image, in whole pixels; at least one pixel."""
    cut = []
    for (low, high), side in zip(box, sides, strict=True):
        begin = min(max(0, math.floor(low)), side - 1)
        cut.append(slice(begin, max(begin + 1, min(side, math.ceil(high)))))
    return tuple(cut)


def central_node(layer: LayerInfo) -> tuple[int, ...]:
    """Return the node in the middle of a layer; the one before it where there are two.

    >>> from types import SimpleNamespace
    >>> central_node(SimpleNamespace(size=(3, 4)))
    (1, 1)
    """
    return tuple((side - 1) // 2 for side in layer.size)


def spread_nodes(layer: LayerInfo, max_nodes: int) -> np.ndarray:
    """Return up to `max_nodes` nodes evenly over a layer, as many on each axis.

    From 3 on each axis, the corners are among them; the central node always is.

    Args:
        max_nodes: nodes in all; a layer of so many or fewer gives all of its own.

    Returns:
        (p, axes) int, row by row.
    """
    axes = len(layer.size)
    center = np.array(central_node(layer))
    if int(np.prod(layer.size)) <= max_nodes:
        lines = [np.arange(side) for side in layer.size]
    else:
        count = max(1, math.floor(max_nodes ** (1 / axes) + 1e-9))
        lines = [
            np.unique(np.round(np.linspace(0, side - 1, count)).astype(int))
            if count > 1
            else np.array([middle])
            for side, middle in zip(layer.size, center, strict=True)
        ]
    nodes = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, axes)
    if not (nodes == center).all(1).any():
        nodes[int(np.abs(nodes - center).sum(1).argmin())] = center
    return nodes


def check_receptive_field(layer: LayerInfo) -> None:
    """Raise a ModelError unless the receptive field of a layer's nodes is known."""
    if layer.jump is None or layer.receptive_field is None:
        form = "a layer whose receptive field is known"
        raise ModelError(f"layer '{layer.name}'", form, "one that mixes all nodes")


def checked_nodes(layer: LayerInfo, nodes: object) -> np.ndarray:
    """Return nodes as (p, axes) int.

    Raises:
        SettingsError: none, or not of this layer.
    """
    size = " x ".join(map(str, layer.size))
    form = f"nodes (row, column) of its {size}"
    try:
        values = np.asarray(nodes)
    except ValueError:
        values = np.empty(0)
    fits = values.ndim == 2 and values.dtype.kind in "iu" and len(values) > 0
    fits = fits and values.shape[-1] == len(layer.size)
    if not fits or (values < 0).any() or (values >= np.array(layer.size)).any():
        raise SettingsError(f"nodes of layer '{layer.name}'", form, nodes)
    return values.astype(np.int64)
