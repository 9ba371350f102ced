"""Gaussian blur of images, edges mirrored, in a graph."""

from __future__ import annotations

from typing import Any

import numpy as np


def reach_of(sigma: float) -> int:
    """Pixels to each side that a blur of this deviation takes in.

    >>> reach_of(0.5)
    2
    """
    return max(1, int(np.ceil(3 * sigma)))


def blurred(images: Any, sigma: Any, reach: int) -> Any:
    """Images (n, h, w, b), or (n, t, b), blurred along each spatial axis.

    Args:
        images: a tensor of known sides.
        sigma: in pixels; a number or a scalar tensor; 0 leaves the images as they are.
        reach: pixels to each side; sides that are not longer are not blurred along.
    """
    import tensorflow as tf

    places = tf.range(-reach, reach + 1, dtype=tf.float32)
    spread = tf.maximum(tf.cast(sigma, tf.float32), 1e-3)
    line = tf.exp(-0.5 * tf.square(places / spread))
    line = line / tf.reduce_sum(line)
    for axis in range(1, len(images.shape) - 1):
        if images.shape[axis] > reach:
            images = _along(images, axis, line, reach)
    return images


def _along(images: Any, axis: int, line: Any, reach: int) -> Any:
    import tensorflow as tf

    rank = len(images.shape)
    padding = [[reach, reach] if place == axis else [0, 0] for place in range(rank)]
    padded = tf.pad(images, padding, "SYMMETRIC")
    size = images.shape[axis]
    parts = []
    for place in range(2 * reach + 1):
        cut = [slice(None)] * rank
        cut[axis] = slice(place, place + size)
        parts.append(line[place] * padded[tuple(cut)])
    return tf.add_n(parts)
