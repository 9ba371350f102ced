"""Silencing: how a later layer changes when parts of a layer take another value.

The layers before the part run once for every batch of images; those after it run for many silenced
parts at once. The model is not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from oip.core.errors import ModelError
from oip.core.progress import Progress, silent
from oip.mi.layer_sample import BYTE_BUDGET, LayerSample

if TYPE_CHECKING:
    from tensorflow import Tensor, TensorSpec

    from oip.network.forward import LayerActivations
    from oip.network.layers import LayerInfo, LayerOutput
    from oip.network.network import Network

_BATCH = 256
_Z = 1.959964
"""Half the width of a 95 % interval, in standard errors."""


class ImageNumbers(NamedTuple):
    """Numbers of each image that silencing may change."""

    output: LayerOutput
    """Of the later layer that they are made of."""
    numbers: Callable[[LayerActivations, Tensor], Tensor]
    """Its activations and the images' codes (n,) int64 -> (n, c) float32, in a graph."""


class SilencingEffects(NamedTuple):
    """Effects of k silenced parts on c numbers, over the images."""

    whole: np.ndarray
    """(c,): mean of the numbers with nothing silenced."""
    mean: np.ndarray
    """(k, c): mean of the numbers without the part less those with it."""
    margin: np.ndarray
    """(k, c): half the width of the mean's 95 % interval (paired, normal)."""


class Silenced(Protocol):
    """Parts of a layer's output that are silenced one after another."""

    layer: LayerInfo
    intact: np.ndarray
    """(1, ...): the code of silencing nothing."""

    @property
    def spec(self) -> TensorSpec:
        """The signature of codes (k, ...)."""
        ...

    def __len__(self) -> int: ...

    def codes(self, start: int, count: int) -> np.ndarray:
        """Return the codes of some parts, (k, ...)."""
        ...

    def replaced(self, response: Tensor, values: Tensor, codes: Tensor) -> Tensor:
        """Return the layer's own output with each of k parts silenced, in a graph.

        Args:
            response: (k * n, *nodes, channels), channels last.
            values: (n, *size, maps): the responses to the images.
            codes: (k, ...).
        """
        ...


class SilencedMaps:
    """Maps of a layer that are silenced one at a time.

    Args:
        layer: of the maps.
        maps: (k,) int: their numbers.
        fill: (*size, maps), whose mean over nodes a map of the layer takes when it is silenced.
    """

    intact = np.array([-1], np.int32)

    def __init__(self, layer: LayerInfo, maps: np.ndarray, fill: np.ndarray):
        self.layer, self._maps = layer, maps.astype(np.int32)
        self._fill = fill.reshape(-1, layer.maps).mean(axis=0)

    @property
    def spec(self) -> TensorSpec:
        """The signature of numbers of maps (k,); -1 silences none."""
        import tensorflow as tf

        return tf.TensorSpec((None,), tf.int32)

    def __len__(self) -> int:
        return len(self._maps)

    def codes(self, start: int, count: int) -> np.ndarray:
        """Return the numbers of some maps, (k,)."""
        return self._maps[start : start + count]

    def replaced(self, response: Tensor, values: Tensor, codes: Tensor) -> Tensor:
        """Return the layer's own output with each of the maps silenced."""
        import tensorflow as tf

        layer, axes, count = self.layer, len(self.layer.size), tf.shape(codes)[0]
        fill = tf.constant(self._fill, tf.float32)
        if layer.response.projection is None:
            mask = tf.reshape(tf.one_hot(codes, layer.maps), [-1, 1, *[1] * axes, layer.maps]) > 0
            return tf.reshape(tf.where(mask, fill, values[None]), tf.shape(response))
        # The part of the output along the direction, and no other, takes the new value.
        rows = tf.constant(layer.response.projection.weights)
        indices = tf.maximum(codes, 0)
        weights = tf.reshape(tf.gather(rows, indices), [count, 1, *[1] * axes, rows.shape[1]])
        level = tf.reshape(tf.gather(fill, indices), [count, 1, *[1] * axes, 1])
        tokens = tf.reshape(response, [count, -1, *layer.size, rows.shape[1]])  # (k, n, *nodes, m)
        along = tf.reduce_sum(tokens * weights, axis=-1, keepdims=True)
        is_any = tf.reshape(codes >= 0, [count, 1, *[1] * axes, 1])
        return tf.reshape(
            tf.where(is_any, tokens - (along - level) * weights, tokens), tf.shape(response)
        )


class SilencedNodeSets:
    """Sets of nodes of a layer's maps that are silenced one set at a time.

    Args:
        layer: of the nodes.
        sets: arrays (q, 1 + axes) int: map and node of each that is silenced.
        fill: (*size, maps): the value that each node of the layer takes when it is silenced.
    """

    def __init__(self, layer: LayerInfo, sets: Sequence[np.ndarray], fill: np.ndarray):
        self.layer, self._sets, self._fill = layer, sets, fill
        self.intact = np.zeros((1, *fill.shape), bool)

    @property
    def spec(self) -> TensorSpec:
        """The signature of masks (k, *size, maps)."""
        import tensorflow as tf

        return tf.TensorSpec((None, *self._fill.shape), tf.bool)

    def __len__(self) -> int:
        return len(self._sets)

    def codes(self, start: int, count: int) -> np.ndarray:
        """Return masks of some sets, (k, *size, maps) bool."""
        sets = self._sets[start : start + count]
        masks = np.zeros((len(sets), *self._fill.shape), bool)
        for mask, nodes in zip(masks, sets, strict=True):
            mask[(*nodes[:, 1:].T, nodes[:, 0])] = True
        return masks

    def replaced(self, response: Tensor, values: Tensor, codes: Tensor) -> Tensor:
        """Return the layer's own output with each of the sets silenced."""
        import tensorflow as tf

        fill = tf.constant(self._fill, tf.float32)
        return tf.reshape(tf.where(codes[:, None], fill, values[None]), tf.shape(response))


def fill_values(
    sample: LayerSample, layer: LayerInfo, to: str, byte_budget: int = BYTE_BUDGET
) -> np.ndarray:
    """Return (*size, maps) float64: the values of silenced nodes.

    They are 0, or for `mean` each node's mean response over the images of a sample.
    """
    import tensorflow as tf

    from oip.network.forward import image_batches, layer_graph

    total = np.zeros((*layer.size, layer.maps))
    if to == "mean":
        graph = layer_graph(sample.network, layer.response)
        size = sample.network.activation_bytes()
        for _, images in image_batches(sample.images, size, byte_budget, _BATCH):
            response = graph(tf.constant(images))[0].response.numpy()
            total += response.sum(axis=0, dtype=np.float64) / len(sample)
    return total


def silencing_effects(
    sample: LayerSample,
    silenced: Silenced,
    image_numbers: ImageNumbers,
    label: str = "",
    progress: Progress = silent,
    byte_budget: int = BYTE_BUDGET,
) -> SilencingEffects:
    """Silence one part of a layer after another, and measure how a later layer changes.

    Args:
        sample: the images, and their codes if the numbers need any.
        silenced: the parts.
        image_numbers: measured with and without each part.
        label, progress: `progress` is called with the label and the number of parts that are done,
            over all batches.
        byte_budget: of activations in memory at a time.
    """
    import tensorflow as tf

    from oip.network.forward import batch_size, compiled_for_images, image_batches, layer_graph

    network, layer, count = sample.network, silenced.layer, len(sample)
    units = np.zeros(count, np.int64) if sample.subset.codes is None else sample.subset.codes

    def run_without(images: Tensor, values: Tensor, true: Tensor, codes: Tensor) -> Tensor:
        """Return (k, n, c): the numbers of n images without each of k parts."""
        sets = tf.shape(codes)[0]

        def changed(response: Tensor) -> Tensor:
            return silenced.replaced(response, values, codes)

        activations = _run_changed(network, layer, images, sets, changed, image_numbers.output)
        numbers = image_numbers.numbers(activations, tf.tile(true, sets[None]))
        return tf.reshape(numbers, [sets, tf.shape(images)[0], -1])

    graph = layer_graph(network, layer.response)
    run = compiled_for_images(
        network,
        run_without,
        tf.TensorSpec((None, *layer.size, layer.maps), tf.float32),
        tf.TensorSpec((None,), tf.int64),
        silenced.spec,
    )
    size = network.activation_bytes()
    batch = batch_size(size, byte_budget, _BATCH)
    room = max(1, byte_budget // (size * min(batch, count)))
    total_output = sums = squares = 0.0
    finished_count, total = 0, len(silenced) * -(-count // batch)
    progress(label, finished_count, total)
    for rows, batch_images in image_batches(sample.images, size, byte_budget, _BATCH):
        images, true = tf.constant(batch_images), tf.constant(units[rows], tf.int64)
        values = graph(images)[0].response
        intact = run(images, values, true, tf.constant(silenced.intact)).numpy().astype(np.float64)
        changes = []
        for start in range(0, len(silenced), room):
            codes = silenced.codes(start, room)
            changes.append(run(images, values, true, tf.constant(codes)).numpy() - intact)
            finished_count += len(codes)
            progress(label, finished_count, total)
        change = np.concatenate(changes)
        total_output = total_output + intact[0].sum(axis=0)
        sums = sums + change.sum(axis=1)
        squares = squares + np.square(change).sum(axis=1)
    mean = np.asarray(sums) / count
    with np.errstate(invalid="ignore"):
        variance = np.maximum(np.asarray(squares) / count - mean**2, 0.0)
    return SilencingEffects(np.asarray(total_output) / count, mean, _Z * np.sqrt(variance / count))


def _run_changed(
    network: Network,
    layer: LayerInfo,
    images: Tensor,
    count: Tensor,
    changed: Callable[[Tensor], Tensor],
    output: LayerOutput,
) -> LayerActivations:
    """Run images (n, h, w, bands) `count` times to a later layer, with a layer's output changed.

    Args:
        changed: of the layer's own output (count * n, *nodes, maps), in that shape.
    """
    import tensorflow as tf

    from oip.network.forward import channels_last, run_to

    axes = len(layer.size)
    if layer.response.form != "activated":
        received = "heads" if layer.response.form == "heads" else "the logits of a softmax"
        expected = "maps, units, channels or directions"
        raise ModelError(f"silencing of '{layer.name}'", expected, received)

    def silence(response: Tensor) -> Tensor:
        result = changed(channels_last(response, layer.response))
        if layer.channels_first:
            result = tf.transpose(result, [0, axes + 1, *range(1, axes + 1)])
        return tf.cast(tf.reshape(result, tf.shape(response)), response.dtype)

    # What the model makes of the images before the map is no part of the result: TensorFlow leaves
    # it out, save where it leads past the map.
    repeated = tf.tile(images, tf.stack([count, *[1] * (len(images.shape) - 1)]))
    with changed_response(layer, silence):
        return run_to(network.model, network.feed(repeated), output)


@contextmanager
def changed_response(layer: LayerInfo, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Trace runs of the model in the block with the layer's response replaced by a change of it.

    The response is that of one use of a Keras layer, in the layout of the model.
    """
    from oip.network.tracing import shadowed

    uses = 0

    def wrap(_layer: object, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def changed(*args: object, **kwargs: object) -> Tensor:
            nonlocal uses
            response = call(*args, **kwargs)
            is_response = uses == layer.response.use
            uses += 1
            return change(response) if is_response else response

        return changed

    with shadowed([layer.response.layer], wrap):
        yield
