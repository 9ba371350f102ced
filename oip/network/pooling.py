"""Max pooling whose gradient is quick on a CPU.

TensorFlow's gradient of max pooling looks every window up again and costs more than the convolution
before it. Where windows do not overlap, comparing the input with its own maximum, spread over the
window, is several times faster. The two differ only in windows with several equal maxima: here all
of them receive the gradient, there the first. Behind a ReLU such ties are zeros, whose gradient is
zero either way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def can_be_quick(layer: Any) -> bool:
    """Max pooling in two dimensions with windows side by side and nothing padded."""
    from keras import layers

    return (
        isinstance(layer, layers.MaxPooling2D)
        and tuple(layer.strides) == tuple(layer.pool_size)
        and layer.padding == "valid"
        and layer.data_format == "channels_last"
    )


def quick_pooling(layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    """The layer's `call` with the quick gradient; values are the layer's own."""
    import tensorflow as tf

    rows, columns = layer.pool_size

    @tf.custom_gradient
    def pooled(images: Any) -> Any:
        top = call(images)

        def gradient(upstream: Any) -> Any:
            high, wide, maps = top.shape[1], top.shape[2], top.shape[3]
            inner = images[:, : high * rows, : wide * columns]
            windows = tf.reshape(inner, [-1, high, rows, wide, columns, maps])
            spread = [-1, high, 1, wide, 1, maps]
            chosen = tf.equal(windows, tf.reshape(top, spread))
            back = tf.where(chosen, tf.reshape(upstream, spread), tf.zeros((), upstream.dtype))
            back = tf.reshape(back, tf.shape(inner))
            left = [images.shape[1] - high * rows, images.shape[2] - wide * columns]
            return tf.pad(back, [[0, 0], [0, left[0]], [0, left[1]], [0, 0]]) if any(left) else back

        return top, gradient

    return pooled
