"""The kinds of Keras layers: convolutions, activations, normalization, dropout, pooling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

from oip.core.frameworks import keras


def is_convolution(layer: keras.Layer) -> bool:
    """Return whether the layer has maps of its own, made by kernels."""
    names = "Conv1D Conv2D Conv1DTranspose Conv2DTranspose DepthwiseConv1D DepthwiseConv2D"
    return _is_one_of(layer, f"{names} SeparableConv1D SeparableConv2D")


def is_dense(layer: keras.Layer) -> bool:
    """Return whether the layer is a dense one."""
    return _is_one_of(layer, "Dense")


def is_attention(layer: keras.Layer) -> bool:
    """Return whether the layer is attention of several heads."""
    return _is_one_of(layer, "MultiHeadAttention GroupQueryAttention")


def is_addition(layer: keras.Layer) -> bool:
    """Return whether the layer adds its inputs."""
    return _is_one_of(layer, "Add")


def is_batch_normalization(layer: keras.Layer) -> bool:
    """Return whether the layer normalizes over the batch: affine for each map after training."""
    return _is_one_of(layer, "BatchNormalization")


def is_normalization(layer: keras.Layer) -> bool:
    """Return whether the layer normalizes, over the batch, groups of maps, all maps, ..."""
    names = "BatchNormalization GroupNormalization LayerNormalization RMSNormalization"
    return _is_one_of(layer, f"{names} UnitNormalization")


def levels_maps(
    layer: keras.Layer, shape: tuple[int | None, ...], channels_first: bool = False
) -> bool:
    """Return whether the layer normalizes each map separately.

    The mean of a map is then the same for all images, and no gradient leads up.

    Args:
        shape: of what it receives, and gives.
        channels_first: the layout of that.
    """
    if _is_one_of(layer, "GroupNormalization"):
        return layer.groups in (-1, shape[layer.axis])
    if not _is_one_of(layer, "LayerNormalization"):
        return False
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    channels = 1 if channels_first else len(shape) - 1
    return channels not in {axis % len(shape) for axis in axes}


def is_dropout(layer: keras.Layer) -> bool:
    """Return whether the layer does nothing when not in training: dropout, noise, augmentation."""
    return _is_one_of(layer, _dropouts())


@cache
def _dropouts() -> str:
    names = "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout Identity"
    noise_and_augmentation = (
        "GaussianDropout GaussianNoise ActivityRegularization AugMix CutMix MixUp RandAugment"
    )
    random = (name for name in dir(keras.layers) if name.startswith("Random"))
    return " ".join(
        [names, noise_and_augmentation, *(name for name in random if name != "RandomCrop")]
    )


def is_keras_own(layer: keras.Layer) -> bool:
    """Return whether the layer's class is one of Keras' own."""
    return type(layer).__module__.partition(".")[0] == "keras"


def why_not_plain(layer: keras.Layer) -> str | None:
    """Return why a layer with kernels is not the one of Keras that its weights alone describe."""
    if not is_keras_own(layer):
        return "its class is none of Keras' own"
    if getattr(layer, "quantization_mode", None) is not None:
        return f"it is quantized ({layer.quantization_mode})"
    kernels = 2 if _is_one_of(layer, "SeparableConv1D SeparableConv2D") else 1
    if len(layer.weights) > kernels + (getattr(layer, "bias", None) is not None):
        return "it has more weights than kernel and bias, such as those of an adapter"
    return None


def is_activation(layer: keras.Layer) -> bool:
    """Return whether the layer is an activation and nothing else."""
    return _is_one_of(layer, "Activation ReLU LeakyReLU PReLU ELU")


def is_softmax(layer: keras.Layer) -> bool:
    """Return whether the layer is a softmax and nothing else."""
    return _is_one_of(layer, "Softmax")


def is_max_pooling(layer: keras.Layer) -> bool:
    """Return whether the layer is local max pooling, in any number of dimensions."""
    return _is_one_of(layer, "MaxPooling1D MaxPooling2D MaxPooling3D")


def is_pooling(layer: keras.Layer) -> bool:
    """Return whether the layer is local pooling, in one or two dimensions."""
    return _is_one_of(layer, "MaxPooling1D MaxPooling2D AveragePooling1D AveragePooling2D")


def is_recurrent(layer: keras.Layer) -> bool:
    """Return whether a layer is recurrent, such as LSTM, or runs one in both directions."""
    return _is_one_of(layer, "RNN Bidirectional")


def keeps_zero(layer: keras.Layer) -> bool:
    """Return whether the layer moves or pools values, so that zeros stay zeros."""
    names = "Flatten Reshape Permute ZeroPadding1D ZeroPadding2D Cropping1D Cropping2D"
    names += " UpSampling1D UpSampling2D GlobalAveragePooling1D GlobalAveragePooling2D"
    names += " GlobalMaxPooling1D GlobalMaxPooling2D"
    return is_pooling(layer) or is_dropout(layer) or _is_one_of(layer, names)


def spatial_sides(shape: tuple[int | None, ...], layer: keras.Layer) -> tuple[int | None, ...]:
    """Return the sides of a layer's input or output along its spatial axes."""
    return tuple(shape[2:] if is_channels_first(layer) else shape[1:-1])


def is_channels_first(layer: keras.Layer) -> bool:
    """Return whether the layer itself has its channels on the first axis after the batch."""
    return getattr(layer, "data_format", "channels_last") == "channels_first"


_MOST_BANDS = 4


def moves_bands_last(layer: keras.Layer, shape: tuple[int | None, ...]) -> bool:
    """Return whether a layer gets images (b, h, w) and gives (h, w, b), as converted models begin.

    Args:
        shape: (b, h, w) of its input. More than 4 bands are taken for a side of the image.
    """
    if not _is_one_of(layer, "Permute") or tuple(layer.dims) != (2, 3, 1) or len(shape) != 3:
        return False
    bands, *sides = (math.inf if side is None else side for side in shape)
    return bands <= _MOST_BANDS and bands < min(sides)


def lacks_bands(layers: Sequence[keras.Layer], shape: tuple[int | None, ...]) -> bool:
    """Return whether a model gets gray images (h, w), to which it gives the axis of bands itself.

    Its first convolution is of two dimensions and takes one band; or it has none, and flattens
    squares.

    Args:
        layers: of the model, in their order.
        shape: of its input. Lines have such a shape, too, (length, bands).
    """
    if len(shape) != 2:
        return False
    first = next((layer for layer in layers if is_convolution(layer)), None)
    if first is not None:
        weights = getattr(first, "weights", ())
        bands = [weight.shape[-2] for weight in weights if len(weight.shape) == 4]
        return bands[:1] == [1] and "Transpose" not in type(first).__name__
    active = (layer for layer in layers if not (is_dropout(layer) or is_preprocessing(layer)))
    return shape[0] == shape[1] and _is_one_of(next(active, None), "Flatten")


def is_preprocessing(layer: keras.Layer) -> bool:
    """Return whether the layer scales pixels and does nothing else."""
    return _is_one_of(layer, "Rescaling Normalization")


def activation_of(layer: keras.Layer) -> Callable | None:
    """Return a layer's own activation, or the layer where it is one; None where it has none."""
    activation = getattr(layer, "activation", None)
    if callable(activation):
        return activation
    return layer if is_activation(layer) else None


def activation_name(layer: keras.Layer) -> str:
    """Return the name of a layer's activation function; `linear` where there is none."""
    function = getattr(layer, "activation", None)
    if function is not None and hasattr(function, "call"):
        return activation_name(function)  # a layer in the role of a function
    if function is not None:
        return getattr(function, "__name__", type(function).__name__)
    return {"ReLU": "relu", "LeakyReLU": "leaky_relu", "PReLU": "prelu", "ELU": "elu"}.get(
        type(layer).__name__, "linear"
    )


def _is_one_of(layer: keras.Layer | None, names: str) -> bool:
    return isinstance(layer, tuple(getattr(keras.layers, name) for name in names.split()))
