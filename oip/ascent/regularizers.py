"""What an image is held back from while it climbs: roughness, extremes, likeness to its fellows.

All are directions for images of mean 0 and deviation 1, to be weighed against a gradient whose root
mean square is 1, so that their weights have no unit and mean the same for every model.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_SMOOTH = 1e-3
_FEW = 64
_TINY = 1e-12


def variation_slope(images: Any) -> Any:
    """Gradient of the total variation, the summed absolute differences between neighbours.

    Args:
        images: (n, *sides, b).

    References:
        Rudin, Osher, Fatemi, "Nonlinear total variation based noise removal algorithms", 1992;
        Mahendran, Vedaldi, "Understanding deep image representations by inverting them", 2015.
    """
    import tensorflow as tf

    rank = len(images.shape)
    total = tf.zeros_like(images)
    for axis in range(1, rank - 1):
        upper, lower = [slice(None)] * rank, [slice(None)] * rank
        upper[axis], lower[axis] = slice(1, None), slice(None, -1)
        step = images[tuple(upper)] - images[tuple(lower)]
        sign = step / tf.sqrt(tf.square(step) + _SMOOTH)
        front = [[1, 0] if place == axis else [0, 0] for place in range(rank)]
        back = [[0, 1] if place == axis else [0, 0] for place in range(rank)]
        total += tf.pad(sign, front) - tf.pad(sign, back)
    return total


def norm_slope(images: Any, power: float) -> Any:
    """Gradient of the sum of |x|^p / p over an image.

    With mean and deviation held, p = 2 is constant; larger powers hold back single bright pixels.
    """
    import tensorflow as tf

    return tf.sign(images) * tf.pow(tf.abs(images), power - 1.0)


def likeness(features: Any, groups: Any) -> Any:
    """(n,): how like each image is to the others of its group, by what the layer says of them.

    The mean cosine between Gram matrices over the nodes, which do not change when a pattern moves;
    of layers with more than 64 maps, between Gram matrices of 64 fixed random mixtures of maps.

    Args:
        features: (n, nodes, maps).
        groups: (n,) int: the item that each image is for.

    References:
        Olah, Mordvintsev, Schubert, "Feature Visualization", Distill 2017 (diversity).
    """
    import tensorflow as tf

    maps = int(features.shape[-1])
    if maps > _FEW:
        mixing = tf.random.stateless_normal((maps, _FEW), (maps, 1)) / maps**0.5
        features = tf.einsum("npc,ck->npk", features, mixing)
    gram = tf.matmul(features, features, transpose_a=True)
    flat = tf.reshape(gram, [tf.shape(gram)[0], -1])
    flat = flat / (tf.norm(flat, axis=1, keepdims=True) + _TINY)
    fellows = tf.cast(groups[:, None] == groups[None], tf.float32)
    fellows = tf.linalg.set_diag(fellows, tf.zeros(tf.shape(groups)[:1]))
    alike = tf.reduce_sum(tf.matmul(flat, flat, transpose_b=True) * fellows, 1)
    return alike / tf.maximum(tf.reduce_sum(fellows, 1), 1.0)


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
