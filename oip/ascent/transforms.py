"""Random transforms of the image that the model receives: moved, scaled, turned, blurred.

An image whose score holds under small changes has fewer accidents of single pixels. The transform
is inside the gradient only: the image itself is never moved. All images of a step are transformed
in the same way, drawn from the seed and the number of the step alone, so that the grouping of
images changes nothing; every second step takes the opposite of the one before, so that moves and
turns have mean zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from oip.ascent.regularizers import blur_radius, blurred
from oip.ascent.settings import AscentSettings
from oip.core.errors import SettingsError
from oip.core.frameworks import Tensor, tf

Transform: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
"""(images, step) -> images, in the graph; images have mean 0."""


def transform_of(
    settings: AscentSettings,
    shape: tuple[int, ...],
    seed: int | Tensor,
    size: tuple[int, ...] | None = None,
) -> Transform | None:
    """Return the transform of some settings, None where nothing is transformed.

    Args:
        settings: `jitter`, `scale`, `rotation`, `crop`, `soften`.
        shape: (h, w, b) or (t, b).
        size: (h', w', b) of what the model receives; as the images if None.

    Raises:
        SettingsError: scale, rotation or crop of images with one spatial axis.
    """
    parts: list[Transform] = []
    size = shape if size is None else size
    if settings.scale > 0 or settings.rotation > 0 or settings.crop < 1 or size != shape:
        if len(shape) != 3:
            raise SettingsError("scale, rotation and crop", "two spatial axes", f"{shape}")
        parts.append(_rotation(settings, shape, size, seed))
    if settings.jitter > 0:
        parts.append(_shift(shift_in_pixels(settings.jitter, size), size, seed))
    if settings.soften > 0:
        radius = blur_radius(settings.soften)
        parts.append(lambda images, step: blurred(images, settings.soften, radius))
    if not parts:
        return None

    def transform(images: Tensor, step: Tensor) -> Tensor:
        for part in parts:
            images = part(images, step)
        return images

    return transform


def shift_in_pixels(jitter: float, shape: tuple[int, ...]) -> int:
    """Return the largest shift of images (h, w, b): below 1 it is a share of the shorter side.

    >>> shift_in_pixels(0.07, (224, 224, 3)), shift_in_pixels(8, (224, 224, 3))
    (16, 8)
    """
    side = min(shape[:-1])
    pixels = jitter if jitter >= 1 else max(1.0, jitter * side)
    return min(round(pixels), side - 1)


def _draws(step: Tensor, seed: int | Tensor, purpose: int, count: int) -> Tensor:
    """Return (count,) numbers from -1 to 1; at odd steps the opposite of the step before."""
    key = tf.stack([tf.convert_to_tensor(seed, tf.int32) * 4 + purpose, step // 2])
    values = tf.random.stateless_uniform([count], key, -1.0, 1.0)
    return values * tf.where(tf.math.floormod(step, 2) == 0, 1.0, -1.0)


def _shift(most: int, shape: tuple[int, ...], seed: int | Tensor) -> Transform:
    """Return a transform that moves images by up to `most` pixels each way."""
    axes = len(shape) - 1

    def shift(images: Tensor, step: Tensor) -> Tensor:
        room = [[0, 0], *[[most, most]] * axes, [0, 0]]
        move = tf.cast(tf.round(_draws(step, seed, 0, axes) * (most + 0.499)), tf.int32)
        begin = tf.concat([[0], most + move, [0]], 0)
        part = tf.slice(tf.pad(images, room), begin, [-1, *shape[:-1], -1])
        return tf.ensure_shape(part, (None, *shape))

    return shift


def _rotation(
    settings: AscentSettings, shape: tuple[int, ...], size: tuple[int, ...], seed: int | Tensor
) -> Transform:
    """Return a transform that turns and scales images about their center, or that of a crop."""
    height, width = size[:2]
    steps = shape[0] / height, shape[1] / width  # pixels of the image from one to the next
    center = (shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0
    largest = np.log1p(settings.scale)
    side = float(np.sqrt(settings.crop))

    def rotate(images: Tensor, step: Tensor) -> Tensor:
        draws = _draws(step, seed, 1, 2)
        angle = draws[0] * float(np.deg2rad(settings.rotation))
        zoom = tf.exp(draws[1] * float(largest)) / side
        off = (1.0 - side) / 2.0 * _draws(step, seed, 2, 2) * [float(side) for side in shape[:2]]
        cosine, sine = tf.cos(angle) / zoom, tf.sin(angle) / zoom
        middle = (width - 1) / 2.0 * steps[1], (height - 1) / 2.0 * steps[0]
        right = center[0] + off[1] - cosine * middle[0] + sine * middle[1]
        down = center[1] + off[0] - sine * middle[0] - cosine * middle[1]
        zero, (tall, wide) = tf.zeros([]), steps
        matrix = tf.stack(
            [cosine * wide, -sine * tall, right, sine * wide, cosine * tall, down, zero, zero]
        )
        rotated = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=matrix[None],
            output_shape=tf.constant([height, width]),
            fill_value=0.0,
            interpolation="BILINEAR",
        )
        return tf.ensure_shape(rotated, (None, *size))

    return rotate
