"""Regularizers of the ascent: against roughness, extreme pixels, and starts that are alike.

All are directions for images of mean 0 and deviation 1, to be weighed against a gradient whose root
mean square is 1, so that their weights have no unit and mean the same for every model.
"""

from __future__ import annotations

import numpy as np

from oip.core.frameworks import Tensor, tf

_SMOOTH = 1e-3
_MIXTURES = 64
"""Random mixtures of maps that stand for the maps of wider layers."""
_TINY = 1e-12


def variation_slope(images: Tensor) -> Tensor:
    """Return the gradient of the total variation, the summed absolute differences of neighbors.

    Args:
        images: (n, *sides, b).

    References:
        Rudin, Osher, Fatemi, "Nonlinear total variation based noise removal algorithms", 1992;
        Mahendran, Vedaldi, "Understanding deep image representations by inverting them", 2015.
    """
    rank = len(images.shape)
    total = tf.zeros_like(images)
    for axis in range(1, rank - 1):
        upper, lower = [slice(None)] * rank, [slice(None)] * rank
        upper[axis], lower[axis] = slice(1, None), slice(None, -1)
        step = images[tuple(upper)] - images[tuple(lower)]
        sign = step / tf.sqrt(tf.square(step) + _SMOOTH)
        total += tf.pad(sign, _padding(rank, axis, 1, 0)) - tf.pad(sign, _padding(rank, axis, 0, 1))
    return total


def norm_slope(images: Tensor, power: float | Tensor) -> Tensor:
    """Return the gradient of the sum of |x|^p / p over an image.

    With mean and deviation fixed, p = 2 is constant; larger powers reduce single bright pixels.
    """
    return tf.sign(images) * tf.pow(tf.abs(images), power - 1.0)


def likeness(features: Tensor, groups: Tensor) -> Tensor:
    """Return (n,): the similarity of each image to the rest of its group, in the layer's features.

    The mean cosine between Gram matrices over the nodes, which do not change when a pattern moves;
    of layers with more than 64 maps, between Gram matrices of 64 fixed random mixtures of maps.

    Args:
        features: (n, nodes, maps).
        groups: (n,) int: the item that each image is for.

    References:
        Olah, Mordvintsev, Schubert, "Feature Visualization", Distill 2017 (diversity).
    """
    maps = int(features.shape[-1] or 0)
    if maps > _MIXTURES:
        mixing = tf.random.stateless_normal((maps, _MIXTURES), (maps, 1)) / maps**0.5
        features = tf.einsum("npc,ck->npk", features, mixing)
    gram = tf.matmul(features, features, transpose_a=True)  # (n, k, k) for k maps or mixtures
    flat = tf.reshape(gram, [tf.shape(gram)[0], -1])  # (n, k k)
    flat = flat / (tf.norm(flat, axis=1, keepdims=True) + _TINY)
    peers = tf.cast(groups[:, None] == groups[None], tf.float32)  # (n, n)
    peers = tf.linalg.set_diag(peers, tf.zeros(tf.shape(groups)[:1]))
    sums = tf.reduce_sum(tf.matmul(flat, flat, transpose_b=True) * peers, 1)
    return sums / tf.maximum(tf.reduce_sum(peers, 1), 1.0)


def blur_radius(sigma: float) -> int:
    """Return the pixels to each side that a blur of this deviation covers.

    >>> blur_radius(0.5)
    2
    """
    return max(1, int(np.ceil(3 * sigma)))


def blurred(images: Tensor, sigma: float | Tensor, radius: int) -> Tensor:
    """Return images (n, h, w, b), or (n, t, b), blurred along each spatial axis.

    Args:
        images: a tensor of known sides.
        sigma: in pixels; a number or a scalar tensor; 0 leaves the images as they are.
        radius: pixels to each side; sides that are not longer are not blurred.
    """
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    width = tf.maximum(tf.cast(sigma, tf.float32), 1e-3)
    kernel = tf.exp(-0.5 * tf.square(offsets / width))
    weights = tf.unstack(kernel / tf.reduce_sum(kernel), 2 * radius + 1)
    rank = len(images.shape)
    for axis in range(1, rank - 1):
        if int(images.shape[axis] or 0) <= radius:
            continue
        shape = tf.constant([-1, *(int(side or 0) for side in images.shape[1:])])
        padded = tf.pad(images, _padding(rank, axis, radius, radius), "SYMMETRIC")
        begins = (np.eye(rank, dtype=np.int32)[axis] * offset for offset in range(2 * radius + 1))
        shifted = (tf.slice(padded, begin, shape) for begin in begins)
        images = tf.add_n([weight * image for weight, image in zip(weights, shifted, strict=True)])
    return images


def _padding(rank: int, axis: int, before: int, after: int) -> list[list[int]]:
    return [[before, after] if number == axis else [0, 0] for number in range(rank)]
