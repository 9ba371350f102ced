"""Which pixels of the input each item of a readout depends on."""

from __future__ import annotations

from typing import Any

import numpy as np

from oip.ascent.noise import Noise
from oip.ascent.readouts import Readout
from oip.core.errors import ModelError, SettingsError, expected
from oip.network.graphs import compiled
from oip.network.view import Network

_GRADIENT_BUDGET = 256 << 20
_PROBES = 32


def seen_pixels(network: Network, readout: Readout, seed: int) -> np.ndarray:
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
            for place, tensor in enumerate(readout.probes(_fed(network, images))):
                mixed = tf.random.stateless_normal(tf.shape(tensor), (seed, readout.index + place))
                totals.append(tf.reduce_sum(tensor * mixed))
            total = tf.gather(tf.stack(totals), probe) if len(totals) > 1 else totals[0]
        gradient = tape.gradient(total, images)
        if gradient is None:
            raise ModelError(
                expected(
                    f"'{readout.name}'",
                    "something whose response has a gradient with respect to the image input",
                    "none (the input is of integers, or the layer belongs to another input)",
                )
            )
        return tf.reduce_any(gradient != 0, axis=[0, -1])

    graph = compiled(influence, _images(network), tf.TensorSpec((), tf.int32))
    fields = np.zeros((readout.looks.shape[1], *network.inputs.shape[:-1]), bool)
    for probe, field in enumerate(fields):
        for images in _probing(network, readout, seed):
            field |= graph(tf.constant(images), tf.constant(probe)).numpy()
            if field.all():
                break
    seen = np.stack([fields[used].any(0) for used in readout.looks])
    seen[~seen.reshape(len(seen), -1).any(1)] = True
    return seen


def refuse_constant(
    network: Network, readout: Readout, items: np.ndarray, count: int, seed: int
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
            reading = readout.own(_fed(network, images), owners, always, never, True)
        gradient = tape.gradient(reading.climbed, images)
        return tf.constant(False) if gradient is None else tf.reduce_any(gradient != 0)

    graph = compiled(moved, _images(network), tf.TensorSpec((), tf.int32))
    for item in np.flatnonzero(items):
        tried = _probing(network, readout, seed)
        if not any(graph(tf.constant(images), tf.constant(item, tf.int32)) for images in tried):
            raise SettingsError(
                expected(
                    f"objective '{readout.labels[item]}'",
                    "one that depends on the image input",
                    f"one value for all {count} images, and no gradient",
                    "Its weights may be zero, what leads to it may be shut, or it belongs to "
                    "another input of the model.",
                )
            )


def _fed(network: Network, images: Any) -> Any:
    """What the model is fed for standardised images."""
    return network.feed(images * network.inputs.std + network.inputs.mean)


def _images(network: Network) -> Any:
    import tensorflow as tf

    return tf.TensorSpec((None, *network.inputs.shape), tf.float32)


def _probing(network: Network, readout: Readout, seed: int) -> Any:
    """Noise images, as many at a time as fit the budget."""
    batch = int(np.clip(_GRADIENT_BUDGET // (4 * readout.bytes_per_image), 1, _PROBES))
    noise = Noise(network.inputs.shape, "equal")
    for first in range(0, _PROBES, batch):
        starts = np.arange(first, min(first + batch, _PROBES))
        yield noise.images(seed, readout.index, starts, "probe")[0]
