"""Convolution of each image with the kernels of one map alone, its own.

An ascent climbs one map an image. Where the last layer on the way is a plain convolution, its other
maps need not be computed at all: that saves most of a wide layer, forward and backward.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from oip.core.frameworks import Tensor, keras, tf
from oip.network.forward import LayerActivations, run_to_all
from oip.network.layer_types import why_not_plain
from oip.network.layers import LayerOutput
from oip.network.network import Network

_BY_VALUE = (
    "elu exponential gelu hard_sigmoid hard_tanh leaky_relu linear log_sigmoid mish relu relu6 "
    "selu sigmoid silu softplus softsign swish tanh"
).split()
"""Activations that work value by value."""


def has_own_maps(network: Network, output: LayerOutput) -> bool:
    """Return whether a layer's output is that of a plain 2-D convolution, activated by value.

    And whether it pays: the taps of all pixels take no more memory than all maps would.
    """
    layer = output.layer
    return bool(
        type(layer) is keras.layers.Conv2D
        and np.prod(layer.kernel_size) * np.prod(layer.strides) <= layer.filters
        and why_not_plain(layer) is None
        and not network.spoiled
        and output.then is None
        and output.projection is None
        and output.pre_activation in ("fused", "same")
        and not output.channels_first
        and layer.groups == 1
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.compute_dtype == "float32"
        and any(layer.activation is getattr(keras.activations, name, 0) for name in _BY_VALUE)
    )


def run_to_own(
    network: Network, inputs: list[Tensor], output: LayerOutput, maps: Tensor
) -> LayerActivations:
    """Run a model up to one map of a layer for each image, while a graph is traced or at once.

    Args:
        inputs: one tensor for each of the model's inputs.
        output: of a layer that `has_own_maps`.
        maps: (n,) int32: the map of each image.

    Returns:
        Pre-activation and response (n, rows, columns, 1).
    """
    source = LayerOutput(output.layer, output.use, "input")
    received = run_to_all(network.model, inputs, [source], for_gradient=True, enter=False)[0]
    before = _convolved(output.layer, received.pre_activation, maps)
    after = output.layer.activation(before)
    return LayerActivations(after if output.pre_activation == "same" else before, after)


def _convolved(layer: keras.Layer, images: Tensor, maps: Tensor) -> Tensor:
    """Return (n, rows, columns, 1) of images (n, h, w, bands).

    One product gives what each tap of the kernel sees at each pixel; a convolution with a kernel of
    zeros and ones adds the taps up where they meet.
    """
    kernel = tf.convert_to_tensor(layer.kernel)  # (*window, bands, maps)
    rows, columns, bands, count = (int(side or 0) for side in kernel.shape)
    high, wide = (int(side or 0) for side in images.shape[1:3])
    taps = tf.transpose(tf.reshape(kernel, [rows * columns, bands, count]), [2, 1, 0])
    own = tf.gather(taps, maps)  # (n, bands, taps)
    offsets = None if layer.bias is None else tf.gather(tf.convert_to_tensor(layer.bias), maps)
    meeting = tf.constant(np.eye(rows * columns, dtype=np.float32).reshape(rows, columns, -1, 1))
    strides, padding = [1, *layer.strides, 1], layer.padding.upper()

    @tf.custom_gradient
    def run(images: Tensor) -> Any:
        flat = tf.reshape(images, [-1, high * wide, bands])
        products = tf.reshape(tf.matmul(flat, own), [-1, high, wide, rows * columns])
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
            slopes = tf.matmul(spread, own, transpose_b=True)
            return tf.reshape(slopes, [-1, high, wide, bands])

        return output, gradient

    return run(images)
