"""What the kernel of a convolution or dense layer is multiplied with, as a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from oip.core.errors import ModelError, expected


def has_patches(layer: Any) -> bool:
    """A plain convolution in one or two dimensions, or a dense layer, with the channels last."""
    kind = type(layer).__name__
    if kind == "Dense":
        return True
    return (
        kind in ("Conv1D", "Conv2D")
        and layer.groups == 1
        and layer.data_format == "channels_last"
        and layer.padding in ("valid", "same")
    )


def kernel_matrix(layer: Any) -> np.ndarray:
    """(taps, channels, maps) float64; one tap for a dense layer."""
    kernel = np.asarray(layer.get_weights()[0], np.float64)
    return kernel.reshape(-1, *kernel.shape[-2:])


def patches(layer: Any, inputs: Any) -> Any:
    """A layer's input around each of its nodes, in the graph being traced or at once.

    Args:
        layer: for which `has_patches` holds.
        inputs: (n, *spatial, channels) tensor.

    Returns:
        (n, nodes, taps, channels) tensor; times `kernel_matrix`, over taps and channels, it is the
        layer's pre-activation without its bias.

    Raises:
        ModelError: another kind of layer.
    """
    import tensorflow as tf

    kind = type(layer).__name__
    if not has_patches(layer):
        wanted = "a convolution without groups, or a dense layer"
        raise ModelError(expected(f"layer '{layer.name}'", wanted, kind))
    channels = inputs.shape[-1]
    if kind == "Dense":
        nodes = int(np.prod(inputs.shape[1:-1]))
        return tf.reshape(inputs, [-1, nodes, 1, channels])
    if kind == "Conv1D":
        inputs = inputs[:, None]
    sides = [(1, *side)[-2:] for side in (layer.kernel_size, layer.strides, layer.dilation_rate)]
    found = tf.image.extract_patches(
        inputs, *([1, *side, 1] for side in sides), padding=layer.padding.upper()
    )
    nodes = found.shape[1] * found.shape[2]
    return tf.reshape(found, [-1, nodes, int(np.prod(sides[0])), channels])
