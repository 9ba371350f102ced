"""Convolution of few bands, and max pooling, with gradients that are fast on a CPU.

A first layer has one or three bands in and many maps out. TensorFlow's gradient with respect to its
input is then much slower than the arithmetic requires. As one matrix product (maps by taps and
bands), whose columns are shifted and added, it is two to three times faster.

TensorFlow's gradient of max pooling searches every window again and costs more than the convolution
before it. Where windows do not overlap, comparing the input with its own maximum, repeated over the
window, is several times faster. The two differ only in windows with several equal maxima: here all
of them receive the gradient, there the first. Behind a ReLU such ties are zeros, whose gradient is
zero either way.

The gradient of Keras' dense layers in float8 fails in a graph; it is that of the layer as it was
before, which is what those layers are trained with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oip.core.frameworks import Tensor, keras, tf

_FEW = 32
"""Most taps times bands."""


def has_fast_convolution(layer: keras.Layer) -> bool:
    """Return whether a layer is a plain 2-D convolution of stride 1 with few taps and bands."""
    kernel = getattr(layer, "kernel", None)
    if not isinstance(layer, keras.layers.Conv2D) or kernel is None:
        return False
    rows, columns, bands = (int(side) for side in kernel.shape[:3])
    return (
        rows * columns * bands <= _FEW
        and tuple(layer.strides) == tuple(layer.dilation_rate) == (1, 1)
        and layer.groups == 1
        and layer.padding in ("valid", "same")
        and layer.data_format == "channels_last"
    )


def fast_convolution(layer: keras.Layer, convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the layer's `convolution_op` with the fast gradient; values are the layer's own."""
    rows, columns = layer.kernel_size
    same = layer.padding == "same"
    above, left = ((rows - 1) // 2, (columns - 1) // 2) if same else (0, 0)

    def convolved(images: Tensor, kernel: tf.Variable) -> Tensor:
        weights = tf.convert_to_tensor(kernel)
        bands = int(weights.shape[2] or 0)

        @tf.custom_gradient
        def run(images: Tensor) -> Any:
            output = convolve(images, weights)

            def gradient(upstream: Tensor) -> Tensor:
                flat = tf.reshape(upstream, [-1, upstream.shape[-1]])  # (n h w, maps)
                taps = tf.reshape(weights, [rows * columns * bands, -1])  # (taps bands, maps)
                spread = tf.reshape(
                    tf.matmul(taps, flat, transpose_b=True),
                    [rows * columns, bands, -1, upstream.shape[1], upstream.shape[2]],
                )
                shares = [
                    _shifted(part, *divmod(tap, columns), rows, columns)
                    for tap, part in enumerate(tf.unstack(spread))
                ]
                whole = tf.transpose(tf.add_n(shares), [1, 2, 3, 0])  # (n, h', w', bands)
                high, wide = (int(side or 0) for side in images.shape[1:3])
                return whole[:, above : above + high, left : left + wide]

            return output, gradient

        return run(images)

    return convolved


def _shifted(values: Tensor, row: int, column: int, rows: int, columns: int) -> Tensor:
    """(bands, n, h, w) moved to where a tap looked, in the whole that all taps cover."""
    return tf.pad(values, [[0, 0], [0, 0], [row, rows - 1 - row], [column, columns - 1 - column]])


def has_fast_pooling(layer: keras.Layer) -> bool:
    """Return whether a layer is 2-D max pooling with windows side by side and no padding."""
    return (
        isinstance(layer, keras.layers.MaxPooling2D)
        and tuple(layer.strides) == tuple(layer.pool_size)
        and layer.padding == "valid"
        and layer.data_format == "channels_last"
    )


def fast_pooling(layer: keras.Layer, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the layer's `call` with the fast gradient; values are the layer's own."""
    rows, columns = layer.pool_size

    @tf.custom_gradient
    def pooled(images: Tensor) -> Any:
        top = call(images)  # (n, h, w, maps)

        def gradient(upstream: Tensor) -> Tensor:
            high, wide, maps = top.shape[1], top.shape[2], top.shape[3]
            inner = images[:, : high * rows, : wide * columns]
            windows = tf.reshape(inner, [-1, high, rows, wide, columns, maps])
            spread = [-1, high, 1, wide, 1, maps]
            chosen = tf.cast(tf.equal(windows, tf.reshape(top, spread)), upstream.dtype)
            routed = tf.math.multiply_no_nan(tf.reshape(upstream, spread), chosen)
            routed = tf.reshape(routed, tf.shape(inner))
            left = [images.shape[1] - high * rows, images.shape[2] - wide * columns]
            return (
                tf.pad(routed, [[0, 0], [0, left[0]], [0, left[1]], [0, 0]])
                if any(left)
                else routed
            )

        return top, gradient

    return pooled


def is_float8(layer: keras.Layer) -> bool:
    """Return whether Keras runs a layer in float8."""
    return getattr(layer, "quantization_mode", None) == "float8"


def straight_through(layer: keras.Layer, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the run of a layer in float8 with the gradient that it has without."""
    own = layer.__dict__

    def run(values: Tensor, *args: object, **kwargs: object) -> Tensor:
        activation = own["activation"]
        own["activation"] = None
        try:
            plain = layer.call(values)
            result = plain + tf.stop_gradient(call(values, *args, **kwargs) - plain)
        finally:
            own["activation"] = activation
        return result if activation is None else activation(result)

    return run
