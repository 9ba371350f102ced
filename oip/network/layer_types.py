"""Which Keras layers are what: convolutions, activations, normalisation, dropout, pooling."""

from __future__ import annotations

from typing import Any


def is_convolution(layer: Any) -> bool:
    """A layer with maps of its own, made by kernels."""
    from keras import layers

    return isinstance(
        layer,
        (
            layers.Conv1D,
            layers.Conv2D,
            layers.DepthwiseConv1D,
            layers.DepthwiseConv2D,
            layers.SeparableConv1D,
            layers.SeparableConv2D,
            layers.Conv1DTranspose,
            layers.Conv2DTranspose,
        ),
    )


def is_batch_normalization(layer: Any) -> bool:
    """Batch normalisation: affine for each map when not in training."""
    from keras import layers

    return isinstance(layer, layers.BatchNormalization)


def is_normalization(layer: Any) -> bool:
    """Normalisation of any kind: over the batch, groups of maps, all maps, ..."""
    from keras import layers

    kinds = (layers.BatchNormalization, layers.GroupNormalization, layers.LayerNormalization)
    return isinstance(layer, (*kinds, layers.RMSNormalization, layers.UnitNormalization))


def levels_maps(layer: Any) -> bool:
    """Normalisation of each map by itself: its mean is the same for all images, no way leads up."""
    from keras import layers

    if not isinstance(layer, layers.GroupNormalization):
        return False
    channels = layer.gamma.shape[0] if layer.gamma is not None else None
    return layer.groups in (-1, channels)


def is_dropout(layer: Any) -> bool:
    """A layer that does nothing when not in training."""
    from keras import layers

    kinds = (layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.GaussianNoise)
    return isinstance(layer, (*kinds, layers.GaussianDropout, layers.ActivityRegularization))


def is_activation(layer: Any) -> bool:
    """A layer that is an activation and nothing else."""
    from keras import layers

    return isinstance(
        layer, (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU)
    )


def is_softmax(layer: Any) -> bool:
    """A layer that is a softmax and nothing else."""
    from keras import layers

    return isinstance(layer, layers.Softmax)


def is_max_pooling(layer: Any) -> bool:
    """Local max pooling in any number of dimensions."""
    from keras import layers

    return isinstance(layer, (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D))


def is_pooling(layer: Any) -> bool:
    """Local pooling in one or two dimensions."""
    from keras import layers

    kinds = (layers.MaxPooling1D, layers.MaxPooling2D)
    return isinstance(layer, (*kinds, layers.AveragePooling1D, layers.AveragePooling2D))


def activation_name(layer: Any) -> str:
    """The name of a layer's activation function; `linear` where there is none."""
    function = getattr(layer, "activation", None)
    if function is not None and hasattr(function, "call"):
        return activation_name(function)  # a layer in the place of a function
    if function is not None:
        return getattr(function, "__name__", type(function).__name__)
    return {"ReLU": "relu", "LeakyReLU": "leaky_relu", "PReLU": "prelu", "ELU": "elu"}.get(
        type(layer).__name__, "linear"
    )
