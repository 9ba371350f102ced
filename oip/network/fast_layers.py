"""Layers that run faster on a CPU than as Keras runs them, forward and back, for the same values.

A first layer has one or three bands in and many maps out. TensorFlow's gradient with respect to its
input is then much slower than the arithmetic requires. As one matrix product (maps by taps and
bands), whose columns are shifted and added, it is two to three times faster.

TensorFlow's gradient of max pooling searches every window again and costs more than the convolution
before it. Where windows do not overlap, comparing the input with its own maximum, repeated over the
window, is several times faster. The two differ only in windows with several equal maxima: here all
of them receive the gradient, there the first. Behind a ReLU such ties are zeros, whose gradient is
zero either way.

Batch normalization at inference is a product and a sum for each map, which the kernels and the
offsets of the convolution before it take in.

A few numbers, one per band, broadcast slowly; repeated along the rows of an image they do not.

An ascent climbs one map per image. Where the last layer on the way is a plain convolution, its
other maps need not be computed at all: that saves most of a wide layer, forward and backward.

The gradient of Keras' dense layers in float8 fails in a graph; it is that of the layer as it was
before, which is what those layers are trained with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from oip.core.frameworks import Tensor, keras, tf
from oip.network.layer_types import why_not_plain
from oip.network.tracing import shadowed

_FEW = 32
"""Most taps times bands."""
_BY_VALUE = (
    "elu exponential gelu hard_sigmoid hard_tanh leaky_relu linear log_sigmoid mish relu relu6 "
    "selu sigmoid silu softplus softsign swish tanh"
).split()
"""Activations that work value by value."""


def has_fast_convolution(layer: keras.Layer) -> bool:
    """Return whether a layer is a plain 2-D convolution of stride 1 with few taps and bands.

    A class of the user's may convolve in another way, whose gradient is its own. One of a single
    tap is a matrix product anyway, and faster without the way around.
    """
    kernel = getattr(layer, "kernel", None)
    if not isinstance(layer, keras.layers.Conv2D) or kernel is None:
        return False
    rows, columns, bands = (int(side) for side in kernel.shape[:3])
    return (
        1 < rows * columns <= _FEW // bands
        and type(layer).convolution_op is keras.layers.Conv2D.convolution_op
        and tuple(layer.strides) == tuple(layer.dilation_rate) == (1, 1)
        and layer.groups == 1
        and layer.padding in ("valid", "same")
        and layer.data_format == "channels_last"
    )


def fast_convolution(layer: keras.Layer, convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the layer's `convolution_op` with the fast gradient; values are the layer's own."""
    rows, columns = layer.kernel_size
    has_same_padding = layer.padding == "same"
    top, left = ((rows - 1) // 2, (columns - 1) // 2) if has_same_padding else (0, 0)

    def convolved(images: Tensor, kernel: tf.Variable) -> Tensor:
        weights = tf.convert_to_tensor(kernel)  # (rows, columns, bands, maps)
        bands = int(weights.shape[2] or 0)

        @tf.custom_gradient
        def run(images: Tensor) -> Any:
            output = convolve(images, weights)  # (n, h, w, maps)

            def gradient(upstream: Tensor) -> Tensor:
                flat = tf.reshape(upstream, [-1, upstream.shape[-1]])  # (n h w, maps)
                taps = tf.reshape(weights, [rows * columns * bands, -1])  # (taps bands, maps)
                spread = tf.reshape(  # (taps, bands, n, h, w)
                    tf.matmul(taps, flat, transpose_b=True),
                    [rows * columns, bands, -1, upstream.shape[1], upstream.shape[2]],
                )
                shares = [
                    _shifted(share, *divmod(tap, columns), rows, columns)
                    for tap, share in enumerate(tf.unstack(spread))
                ]
                padded = tf.transpose(tf.add_n(shares), [1, 2, 3, 0])  # (n, h', w', bands)
                high, wide = (int(side or 0) for side in images.shape[1:3])
                return padded[:, top : top + high, left : left + wide]

            return output, gradient

        return run(images)

    return convolved


def _shifted(values: Tensor, row: int, column: int, rows: int, columns: int) -> Tensor:
    """Return values (bands, n, h, w) of a tap at their place among those of all taps."""
    return tf.pad(values, [[0, 0], [0, 0], [row, rows - 1 - row], [column, columns - 1 - column]])


def has_own_convolution(layer: keras.Layer) -> bool:
    """Return whether a layer can run one map for each image, and needs less memory for it.

    It has to be a plain 2-D convolution whose activation looks at single values. The taps of all
    pixels must take no more memory than all maps would.
    """
    return bool(
        type(layer) is keras.layers.Conv2D
        and np.prod(layer.kernel_size) * np.prod(layer.strides) <= layer.filters
        and why_not_plain(layer) is None
        and layer.groups == 1
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.compute_dtype == "float32"
        and any(layer.activation is getattr(keras.activations, name, 0) for name in _BY_VALUE)
    )


def own_convolution(layer: keras.Layer, images: Tensor, maps: Tensor) -> Tensor:
    """Convolve each image (n, h, w, bands) with the kernels of one map (n,): (n, rows, columns, 1).

    One product gives what each tap of the kernel sees at each pixel; a convolution with a kernel of
    zeros and ones adds the taps up where they meet.
    """
    kernel = tf.convert_to_tensor(layer.kernel)  # (*window, bands, maps)
    rows, columns, bands, count = (int(side or 0) for side in kernel.shape)
    high, wide = (int(side or 0) for side in images.shape[1:3])
    taps = tf.transpose(tf.reshape(kernel, [rows * columns, bands, count]), [2, 1, 0])
    own_taps = tf.gather(taps, maps)  # (n, bands, taps)
    offsets = None if layer.bias is None else tf.gather(tf.convert_to_tensor(layer.bias), maps)
    meeting = tf.constant(np.eye(rows * columns, dtype=np.float32).reshape(rows, columns, -1, 1))
    strides, padding = [1, *layer.strides, 1], layer.padding.upper()

    @tf.custom_gradient
    def run(images: Tensor) -> Any:
        flat = tf.reshape(images, [-1, high * wide, bands])  # (n, h w, bands)
        products = tf.reshape(tf.matmul(flat, own_taps), [-1, high, wide, rows * columns])
        output = tf.nn.conv2d(products, meeting, strides, padding)
        if offsets is not None:
            output += tf.reshape(offsets, [-1, 1, 1, 1])

        def gradient(upstream: Tensor) -> Tensor:
            spread = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(products),
                filter=meeting,
                out_backprop=upstream,
                strides=strides,
                padding=padding,
            )
            spread = tf.reshape(spread, [-1, high * wide, rows * columns])
            slopes = tf.matmul(spread, own_taps, transpose_b=True)  # (n, h w, bands)
            return tf.reshape(slopes, [-1, high, wide, bands])

        return output, gradient

    return run(images)


def has_fast_pooling(layer: keras.Layer) -> bool:
    """Return whether a layer is 2-D max pooling with windows side by side and no padding."""
    return (
        isinstance(layer, keras.layers.MaxPooling2D)
        and type(layer).call is keras.layers.MaxPooling2D.call
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
            inner = images[:, : high * rows, : wide * columns]  # (n, h rows, w columns, maps)
            windows = tf.reshape(inner, [-1, high, rows, wide, columns, maps])
            spread = [-1, high, 1, wide, 1, maps]
            is_top = tf.cast(tf.equal(windows, tf.reshape(top, spread)), upstream.dtype)
            routed = tf.math.multiply_no_nan(tf.reshape(upstream, spread), is_top)
            routed = tf.reshape(routed, tf.shape(inner))
            margins = [images.shape[1] - high * rows, images.shape[2] - wide * columns]
            return (
                tf.pad(routed, [[0, 0], [0, margins[0]], [0, margins[1]], [0, 0]])
                if any(margins)
                else routed
            )

        return top, gradient

    return pooled


@contextmanager
def normalization_folded(layers: Sequence[keras.Layer]) -> Iterator[None]:
    """Let batch normalization be one with the convolution whose output it receives, in the block.

    Kernels k, offsets b, a normalization x s + t of each map: kernels k s, offsets b s + t. Whoever
    else reads the convolution's output gets it as it is. In a graph the convolution itself is
    dropped where nobody does; outside of graphs nothing is folded.
    """
    outputs: dict[int, tuple[keras.Layer, Tensor, Tensor]] = {}  # by id: layer, input, output

    def remembered(layer: keras.Layer, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def convolved(images: Tensor, *args: object, **kwargs: object) -> Tensor:
            output = call(images, *args, **kwargs)
            outputs[id(output)] = layer, images, output
            return output

        return convolved

    def folded(layer: keras.Layer, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def normalized(values: Tensor, *args: object, **kwargs: object) -> Tensor:
            plain = not args and not kwargs.get("training") and kwargs.get("mask") is None
            if not plain or id(values) not in outputs:
                return call(values, *args, **kwargs)
            convolution, images, _ = outputs[id(values)]
            return _normalized_convolution(convolution, images, layer)

        return normalized

    with (
        shadowed([layer for layer in layers if _is_linear_convolution(layer)], remembered),
        shadowed([layer for layer in layers if _is_batch_normalization(layer)], folded),
    ):
        yield


def _is_linear_convolution(layer: keras.Layer) -> bool:
    """Return whether a layer is a plain 2-D convolution, maybe depthwise, without activation.

    It is not watched, either: whoever watches it may take a gradient by what it returns.
    """
    return (
        type(layer) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
        and "call" not in vars(layer)
        and why_not_plain(layer) is None
        and layer.activation is keras.activations.linear
        and layer.compute_dtype == "float32"
        and layer.data_format == "channels_last"
    )


def _is_batch_normalization(layer: keras.Layer) -> bool:
    """Return whether a layer is batch normalization of maps in the last axis, not watched."""
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.axis in (-1, 3)
        and layer.compute_dtype == "float32"
        and "call" not in vars(layer)  # whoever watches it wants to see it called
    )


def _normalized_convolution(
    convolution: keras.Layer, images: Tensor, normalization: keras.Layer
) -> Tensor:
    """Return (n, h, w, maps): images, convolved and normalized."""
    mean, variance = (
        tf.convert_to_tensor(value)
        for value in (normalization.moving_mean, normalization.moving_variance)
    )
    scale = tf.math.rsqrt(variance + normalization.epsilon)
    if normalization.gamma is not None:
        scale *= tf.convert_to_tensor(normalization.gamma)
    offset = -mean * scale
    if normalization.beta is not None:
        offset += tf.convert_to_tensor(normalization.beta)
    if convolution.bias is not None:
        offset += tf.convert_to_tensor(convolution.bias) * scale
    kernel = tf.convert_to_tensor(convolution.kernel)  # (*window, bands, maps)
    output: Any
    if isinstance(convolution, keras.layers.Conv2D):
        output = convolution.convolution_op(images, kernel * scale)
    else:  # (*window, bands, multiplier)
        output = keras.ops.depthwise_conv(
            images,
            kernel * tf.reshape(scale, kernel.shape[-2:]),
            strides=convolution.strides,
            padding=convolution.padding,
            data_format=convolution.data_format,
            dilation_rate=convolution.dilation_rate,
        )
    return tf.nn.bias_add(output, offset)


def along_rows(values: np.ndarray, images: Tensor) -> np.ndarray:
    """Return numbers (b,) of the bands of images (n, h, w, b) as (w, b), where w is known."""
    width = images.shape[-2]
    return values if width is None else np.broadcast_to(values, (width, len(values)))


def has_fast_standardization(layer: keras.Layer) -> bool:
    """Return whether a layer subtracts and divides by one number for each band of images."""
    mean = getattr(layer, "mean", None)
    return (
        type(layer) is keras.layers.Normalization
        and not layer.invert
        and mean is not None
        and tuple(mean.shape) == (1, 1, 1, mean.shape[-1])
        and layer.compute_dtype == "float32"
    )


def fast_standardization(layer: keras.Layer, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the layer's `call` with its numbers along the rows of images."""

    def standardized(images: Tensor) -> Tensor:
        statistics = (np.asarray(values)[0, 0, 0] for values in (layer.mean, layer.variance))
        mean, variance = (along_rows(values, images) for values in statistics)
        return (images - mean) / np.maximum(np.sqrt(variance), keras.config.epsilon())

    return standardized


def is_float8(layer: keras.Layer) -> bool:
    """Return whether Keras runs a layer in float8."""
    return getattr(layer, "quantization_mode", None) == "float8"


def straight_through(layer: keras.Layer, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the run of a layer in float8 with the gradient that it has without."""
    attributes = layer.__dict__

    def run(values: Tensor, *args: object, **kwargs: object) -> Tensor:
        activation = attributes["activation"]
        attributes["activation"] = None
        try:
            plain = layer.call(values)
            result = plain + tf.stop_gradient(call(values, *args, **kwargs) - plain)
        finally:
            attributes["activation"] = activation
        return result if activation is None else activation(result)

    return run
