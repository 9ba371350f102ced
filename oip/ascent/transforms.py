"""How the model looks at an image while it climbs: moved, scaled, turned, blurred, by chance.

An image whose score holds when it is looked at a little differently has fewer accidents of single
pixels. The transform is inside the gradient only: the image itself is never moved. All images of a
step are looked at in the same way, drawn from the seed and the number of the step alone, so that
the grouping of images changes nothing; every second step takes the opposite of the one before, so
that moves and turns have mean zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from oip.ascent.regularizers import blurred, reach_of
from oip.ascent.settings import AscentSettings
from oip.core.errors import SettingsError, expected

Look = Callable[[Any, Any], Any]
"""(images, step) -> images, in the graph; images have mean 0."""


def transform_of(settings: AscentSettings, shape: tuple[int, ...], seed: int) -> Look | None:
    """The transform of some settings, None where nothing is transformed.

    Args:
        settings: `jitter`, `scale`, `rotation`, `soften`.
        shape: (h, w, b) or (t, b).
        seed: what the draws depend on besides the step.

    Raises:
        SettingsError: scale or rotation of images with one spatial axis.
    """
    parts: list[Look] = []
    if settings.scale > 0 or settings.rotation > 0:
        if len(shape) != 3:
            raise SettingsError(
                expected("scale and rotation", "images with two spatial axes", f"{shape}")
            )
        parts.append(_turned(settings, shape, seed))
    if settings.jitter > 0:
        parts.append(_moved(min(settings.jitter, min(shape[:-1]) - 1), shape, seed))
    if settings.soften > 0:
        reach = reach_of(settings.soften)
        parts.append(lambda images, step: blurred(images, settings.soften, reach))
    if not parts:
        return None

    def look(images: Any, step: Any) -> Any:
        for part in parts:
            images = part(images, step)
        return images

    return look


def _drawn(step: Any, seed: int, purpose: int, count: int) -> Any:
    """(count,) in -1 to 1; at odd steps the opposite of the step before."""
    import tensorflow as tf

    key = tf.stack([tf.constant(seed * 4 + purpose, tf.int32), step // 2])
    values = tf.random.stateless_uniform([count], key, -1.0, 1.0)
    return values * tf.where(step % 2 == 0, 1.0, -1.0)


def _moved(reach: int, shape: tuple[int, ...], seed: int) -> Look:
    axes = len(shape) - 1

    def moved(images: Any, step: Any) -> Any:
        import tensorflow as tf

        room = [[0, 0], *[[reach, reach]] * axes, [0, 0]]
        move = tf.cast(tf.round(_drawn(step, seed, 0, axes) * (reach + 0.499)), tf.int32)
        begin = tf.concat([[0], reach + move, [0]], 0)
        part = tf.slice(tf.pad(images, room), begin, [-1, *shape[:-1], -1])
        return tf.ensure_shape(part, (None, *shape))

    return moved


def _turned(settings: AscentSettings, shape: tuple[int, ...], seed: int) -> Look:
    height, width = shape[:2]
    largest = np.log1p(settings.scale)

    def turned(images: Any, step: Any) -> Any:
        import tensorflow as tf

        drawn = _drawn(step, seed, 1, 2)
        angle = drawn[0] * float(np.deg2rad(settings.rotation))
        zoom = tf.exp(drawn[1] * float(largest))
        cosine, sine = tf.cos(angle) / zoom, tf.sin(angle) / zoom
        middle = ((width - 1) / 2.0, (height - 1) / 2.0)
        right = middle[0] - cosine * middle[0] + sine * middle[1]
        down = middle[1] - sine * middle[0] - cosine * middle[1]
        zero = tf.zeros([])
        matrix = tf.stack([cosine, -sine, right, sine, cosine, down, zero, zero])
        answer = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=matrix[None],
            output_shape=tf.constant([height, width]),
            fill_value=0.0,
            interpolation="BILINEAR",
        )
        return tf.ensure_shape(answer, (None, *shape))

    return turned
