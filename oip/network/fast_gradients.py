"""Convolution of few bands whose gradient is quick on a CPU.

A first layer has one or three bands in and many maps out. TensorFlow's gradient with respect to its
input is then much slower than the arithmetic asks for. As one matrix product (maps by taps and
bands), whose columns are shifted and added, it is two to three times faster.

Max pooling whose gradient is quick on a CPU.

TensorFlow's gradient of max pooling looks every window up again and costs more than the convolution
before it. Where windows do not overlap, comparing the input with its own maximum, spread over the
window, is several times faster. The two differ only in windows with several equal maxima: here all
of them receive the gradient, there the first. Behind a ReLU such ties are zeros, whose gradient is
zero either way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_FEW = 32
"""Taps times bands, at most."""


def can_be_narrow(layer: Any) -> bool:
    """Plain convolution in two dimensions, stride 1, with few taps and bands."""
    from keras import layers

    kernel = getattr(layer, "kernel", None)
    if not isinstance(layer, layers.Conv2D) or kernel is None:
        return False
    rows, columns, bands = (int(side) for side in kernel.shape[:3])
    return (
        rows * columns * bands <= _FEW
        and tuple(layer.strides) == tuple(layer.dilation_rate) == (1, 1)
        and layer.groups == 1
        and layer.padding in ("valid", "same")
        and layer.data_format == "channels_last"
    )


def narrow_convolution(layer: Any, convolve: Callable[..., Any]) -> Callable[..., Any]:
    """The layer's `convolution_op` with the quick gradient; values are the layer's own."""
    import tensorflow as tf

    rows, columns = layer.kernel_size
    same = layer.padding == "same"
    above, left = ((rows - 1) // 2, (columns - 1) // 2) if same else (0, 0)

    def convolved(images: Any, kernel: Any) -> Any:
        weights = tf.convert_to_tensor(kernel)
        bands = int(weights.shape[2] or 0)

        @tf.custom_gradient
        def run(images: Any) -> Any:
            answer = convolve(images, weights)

            def gradient(upstream: Any) -> Any:
                flat = tf.reshape(upstream, [-1, upstream.shape[-1]])
                taps = tf.reshape(weights, [rows * columns * bands, -1])
                spread = tf.reshape(
                    tf.matmul(taps, flat, transpose_b=True),
                    [rows * columns, bands, -1, upstream.shape[1], upstream.shape[2]],
                )
                back = [
                    _shifted(spread[place], *divmod(place, columns), rows, columns)
                    for place in range(rows * columns)
                ]
                whole = tf.transpose(tf.add_n(back), [1, 2, 3, 0])
                high, wide = images.shape[1], images.shape[2]
                return whole[:, above : above + high, left : left + wide]

            return answer, gradient

        return run(images)

    return convolved


def _shifted(values: Any, row: int, column: int, rows: int, columns: int) -> Any:
    """(b, n, h, w) moved to where a tap looked, in the whole that all taps cover."""
    import tensorflow as tf

    return tf.pad(values, [[0, 0], [0, 0], [row, rows - 1 - row], [column, columns - 1 - column]])


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
