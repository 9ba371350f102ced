"""The networks that can be trained here: dense layers, stacks, DenseNet, ResNet, VGG-16, ViT."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np

from oip.core.errors import DataError, SettingsError, did_you_mean
from oip.core.frameworks import keras
from oip.models.training_settings import LEARNING_RATES, OPTIMIZERS, TrainSettings

Option: TypeAlias = int | str | tuple[int, ...]
"""A whole number, the name of an activation, or one number for each layer."""
Values: TypeAlias = Sequence[float] | np.ndarray

ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "gelu", "silu", "leaky_relu", "softplus")
"""Names that Keras knows."""
_MANY_IMAGES = 20_000
_SGD_MOMENTUM = 0.9
_LARGEST = 100_000
"""Of the numbers of a recipe."""


@dataclass(frozen=True)
class Recipe(ABC):
    """A kind of network. A new one gives its name and its layers; its docstring describes it.

    A recipe is a frozen dataclass; its fields are the options that `oip train` takes, and have the
    types of their defaults.
    """

    name: ClassVar[str]
    least_side: ClassVar[int]
    """The smallest height and width in pixels that leaves some nodes in the last layer."""
    any_depth: ClassVar[tuple[str, ...]] = ()
    """Options whose numbers may be of any count; of others, there are as many as by default."""
    large_data: ClassVar[TrainSettings] = TrainSettings(epochs=4, batch=128)
    """Settings for 20,000 images and more."""

    def __post_init__(self) -> None:
        for name, value in self.options.items():
            self._check(name, value)

    @abstractmethod
    def layers(self, inputs: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        """Return the class probabilities (n, classes) for standardized `inputs`."""

    @property
    def description(self) -> str:
        """One line for `oip train --help`."""
        return (type(self).__doc__ or "").partition("\n")[0]

    @property
    def least(self) -> int:
        """The smallest height and width that works with these options."""
        return self.least_side

    @property
    def options(self) -> dict[str, Option]:
        """Every option by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def configured(self, **options: Option | None) -> Recipe:
        """Return the same recipe with other options; None or an empty text changes nothing.

        Args:
            options: values of the option's type, or as text: `filters="6,12"`.

        Raises:
            SettingsError: an option that the recipe does not have, or a value out of its range.
        """
        changes = {name: value for name, value in options.items() if value not in (None, "")}
        defaults = self.options
        for name in changes:
            if name not in defaults:
                names = ", ".join(defaults) or "none"
                raise SettingsError(f"options of the recipe {self.name}", names, name)
        return replace(
            self, **{name: _read(defaults[name], value) for name, value in changes.items()}
        )

    def defaults(self, images: int) -> TrainSettings:
        """Return the settings for a number of images: for few, many epochs of small batches."""
        if images >= _MANY_IMAGES:
            return self.large_data
        epochs = round(min(max(500 / max(images, 1) ** 0.5, 4), 60))
        return replace(self.large_data, epochs=epochs, batch=64 if images >= 1_000 else 16)

    def settings(self, images: int, **changes: int | float | str | None) -> TrainSettings:
        """Return the settings for a number of images, with some of them changed.

        Args:
            changes: fields of `TrainSettings`; None changes nothing. Learning rate and momentum
                follow the optimizer unless they are given.

        Raises:
            SettingsError: a value out of its range.
        """
        received = {name: value for name, value in changes.items() if value is not None}
        values = self.defaults(images).to_dict()
        optimizer = received.get("optimizer", values["optimizer"])
        if optimizer != values["optimizer"] and optimizer in OPTIMIZERS:
            values["learning_rate"] = LEARNING_RATES[optimizer]
            values["momentum"] = _SGD_MOMENTUM if optimizer == "sgd" else 0.0
        return TrainSettings(**{**values, **received})

    def build(
        self,
        shape: tuple[int, int, int],
        classes: int,
        mean: Values | None = None,
        std: Values | None = None,
        l2: float = 0.0,
    ) -> keras.Model:
        """Return a new, uncompiled Keras model that takes plain pixels; see `models.build`."""
        if np.shape(shape) != (3,) or np.asarray(shape).dtype.kind not in "iu":
            raise DataError(f"images of the recipe {self.name}", "(h, w, bands)", shape)
        if not isinstance(classes, (int, np.integer)):
            raise DataError(f"classes of the recipe {self.name}", "a whole number", classes)
        height, width, _ = shape
        if min(height, width) < self.least:
            size = f"images of {self.least} x {self.least} pixels and more"
            raise DataError(f"the recipe {self.name}", size, f"{height} x {width}")
        if classes < 2:
            raise DataError(f"the recipe {self.name}", "2 classes and more", classes)
        layout = keras.config.image_data_format()  # of keras.json, which may be another one
        keras.config.set_image_data_format("channels_last")
        try:
            model = self._functional(shape, classes, mean, std)
        finally:
            keras.config.set_image_data_format(layout)
        if l2:  # as if each layer had been made with it
            for layer in model._flatten_layers():
                if hasattr(layer, "kernel"):
                    layer.kernel_regularizer = keras.regularizers.L2(l2)
                    layer.kernel.regularizer = layer.kernel_regularizer
                elif hasattr(layer, "_kernel_regularizer"):  # of attention, whose layers are inside
                    layer._kernel_regularizer = keras.regularizers.L2(l2)
        return model

    def _functional(
        self, shape: tuple[int, int, int], classes: int, mean: Values | None, std: Values | None
    ) -> keras.Model:
        bands = shape[-1]
        center = np.zeros(bands) if mean is None else np.broadcast_to(mean, bands)
        spread = np.ones(bands) if std is None else np.broadcast_to(std, bands)
        inputs = keras.Input(shape, name="image")
        standardized = keras.layers.Normalization(
            axis=-1, mean=center.tolist(), variance=np.square(spread).tolist(), name="standardised"
        )(inputs)
        name = self.name.replace("-", "_")
        return keras.Model(inputs, self.layers(standardized, classes), name=name)

    def _check(self, name: str, value: Option) -> None:
        """Raise a SettingsError for a value that an option cannot have."""
        option = f"{name} of the recipe {self.name}"
        default: Any = type(self).__dataclass_fields__[name].default
        if isinstance(default, str):
            if value not in ACTIVATIONS:
                raise SettingsError(option, ", ".join(ACTIVATIONS), f"'{value}'")
            return
        several = isinstance(default, tuple)
        numbers = list(value) if isinstance(value, tuple) else [value]
        are_whole = all(isinstance(number, int) and 0 < number <= _LARGEST for number in numbers)
        if not are_whole or isinstance(value, tuple) != several or not numbers:
            kind = "whole numbers from 1" if several else "a whole number from 1"
            kind += f" to {_LARGEST}" + ", such as 6,12" * several
            raise SettingsError(option, kind, f"'{value}'")
        if several and name not in self.any_depth and len(numbers) != len(default):
            received = ",".join(map(str, numbers))
            raise SettingsError(option, f"{len(default)} numbers, one per layer", received)


def _read(default: Option, value: Option | list[int] | None) -> Option | list[int] | None:
    """Return an option in the type of its default; a text if it cannot be read so."""
    if isinstance(value, str) and not isinstance(default, str):
        texts = [number.strip() for number in value.split(",")]
        if not all(number.isdecimal() for number in texts):
            return value
        numbers = [int(number) for number in texts]
        return tuple(numbers) if isinstance(default, tuple) or len(numbers) > 1 else numbers[0]
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Perceptron(Recipe):
    """Dense layers, one after the other."""

    least_side: ClassVar[int] = 1
    any_depth: ClassVar[tuple[str, ...]] = ("units",)

    units: tuple[int, ...] = (1024, 256, 128)
    activation: str = "relu"

    def layers(self, inputs: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        return classified(hidden(inputs, self.units, self.activation), classes)


@dataclass(frozen=True)
class ReluMlp(Perceptron):
    """Dense layers of 1,024, 256 and 128 with ReLU."""

    name: ClassVar[str] = "relu-mlp"
    large_data: ClassVar[TrainSettings] = TrainSettings(epochs=6, batch=128)


@dataclass(frozen=True)
class IpMlp(Perceptron):
    """Dense layers of 1,024, 20, 20 and 20 with ReLU.

    References:
        A. M. Saxe et al.: On the information bottleneck theory of deep learning. ICLR 2018.
    """

    name: ClassVar[str] = "ip-mlp"
    large_data: ClassVar[TrainSettings] = TrainSettings(epochs=6, batch=128)

    units: tuple[int, ...] = (1024, 20, 20, 20)


@dataclass(frozen=True)
class TanhMlp(Perceptron):
    """Dense layers of 10, 7, 5, 4 and 3 with tanh, for binary-12.

    References:
        R. Shwartz-Ziv, N. Tishby: Opening the black box of deep neural networks via information.
        arXiv:1703.00810, section 3.1.
    """

    name: ClassVar[str] = "tanh-mlp"

    units: tuple[int, ...] = (10, 7, 5, 4, 3)
    activation: str = "tanh"

    def defaults(self, images: int) -> TrainSettings:
        """Return small batches and many epochs: so narrow a network learns slowly."""
        if images < 100:
            return super().defaults(images)
        epochs = max(4, round(400_000 / images))
        return TrainSettings(epochs=min(epochs, 200), batch=32, learning_rate=0.01)


def hidden(values: keras.KerasTensor, units: tuple[int, ...], activation: str) -> keras.KerasTensor:
    """Add `Flatten` and dense layers called `Dense_1` and so on."""
    values = keras.layers.Flatten(name="Flatten")(values)
    for number, count in enumerate(units, 1):
        values = keras.layers.Dense(count, activation=activation, name=f"Dense_{number}")(values)
    return values


def classified(values: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Add the last layer: class probabilities (n, classes)."""
    return keras.layers.Dense(classes, activation="softmax", name="classes")(values)


_GROWTH, _WIDE = 12, 48
"""Maps that a bottleneck of the DenseNet adds, and that it holds before."""
_DENSE_BLOCKS, _BOTTLENECKS = 2, 4
_RESIDUAL_BLOCKS = 2
"""In each stage."""


@dataclass(frozen=True)
class ConvStack(Recipe):
    """Convolutions of 32, 64 and 128 maps, 3x3, with pooling; a dense layer of 100, or more."""

    name: ClassVar[str] = "conv-stack"
    least_side: ClassVar[int] = 18
    any_depth: ClassVar[tuple[str, ...]] = ("hidden",)

    filters: tuple[int, ...] = (32, 64, 128)
    activation: str = "relu"
    hidden: tuple[int, ...] = (100,)
    """Units of the hidden dense layers."""

    def layers(self, inputs: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        values = stacked(inputs, self.filters, 3, self.activation, padding="valid", unpooled=(3,))
        return classified(hidden(values, self.hidden, self.activation), classes)


@dataclass(frozen=True)
class LeNet(Recipe):
    """Convolutions of 24 and 48 maps, 7x7, with pooling; a dense layer of 1,024.

    References:
        H. Fang, V. Wang, M. Yamaguchi: Dissecting deep learning networks - visualizing mutual
        information. Entropy 20 (2018) 823, Figure 1a: 7x7x24 with stride 1, ReLU, max pooling;
        7x7x48, ReLU, max pooling; 1,024, ReLU; 10.
    """

    name: ClassVar[str] = "lenet"
    least_side: ClassVar[int] = 4
    large_data: ClassVar[TrainSettings] = TrainSettings(epochs=6, batch=128)

    filters: tuple[int, ...] = (24, 48)
    stride: int = 1
    """Of the first convolution."""
    activation: str = "relu"

    @property
    def least(self) -> int:
        """The smallest side: four nodes after the first convolution, which are pooled twice."""
        return 3 * self.stride + 1

    def layers(self, inputs: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        values = stacked(inputs, self.filters, 7, self.activation, self.stride)
        return classified(hidden(values, (1024,), self.activation), classes)


@dataclass(frozen=True)
class LeNet5(Recipe):
    """Convolutions of 6 and 12 maps, 5x5, with pooling; a dense layer of 120.

    References:
        S. Yu, K. Wickstrom, R. Jenssen, J. C. Principe: Understanding convolutional neural networks
        with information theory: an initial exploration. arXiv:1804.06537, section III.
    """

    name: ClassVar[str] = "lenet5"
    least_side: ClassVar[int] = 16
    large_data: ClassVar[TrainSettings] = TrainSettings(epochs=10, batch=128)

    filters: tuple[int, ...] = (6, 12)
    activation: str = "relu"

    def layers(self, inputs: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        values = stacked(inputs, self.filters, 5, self.activation, padding="valid")
        return classified(hidden(values, (120,), self.activation), classes)


@dataclass(frozen=True)
class AlexNetSmall(Recipe):
    """Convolutions of 16, 32, 64 and 128 maps, 3x3, with pooling; dense layers of 256 and 128.

    References:
        As of `LeNet5`: the network for HASYv2 and Fruits 360.
    """

    name: ClassVar[str] = "alexnet-small"
    least_side: ClassVar[int] = 8
    large_data: ClassVar[TrainSettings] = TrainSettings(epochs=15, batch=128)

    filters: tuple[int, ...] = (16, 32, 64, 128)
    activation: str = "relu"

    def layers(self, inputs: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        values = stacked(inputs, self.filters, 3, self.activation, unpooled=(3,))
        return classified(hidden(values, (256, 128), self.activation), classes)


@dataclass(frozen=True)
class DenseNet(Recipe):
    """A convolution of 24 maps, 7x7; two dense blocks of four bottlenecks; global pooling.

    The first pooling keeps the size: images of 28 x 28 become 14 x 14 nodes a map after the first
    convolution and 7 x 7 after the first dense block, as in the paper. The ReLU before it changes
    nothing for later layers: each of them begins with one, which commutes with the maximum.

    References:
        H. Fang, V. Wang, M. Yamaguchi: Dissecting deep learning networks - visualizing mutual
        information. Entropy 20 (2018) 823, Figure 1b: 7x7x24 with stride 2 and max pooling; dense
        blocks of 4 bottlenecks (ReLU, 1x1x48, ReLU, 3x3x12), each followed by ReLU, 1x1x12 and
        average pooling; global average pooling; 10.
        G. Huang et al.: Densely connected convolutional networks. arXiv:1608.06993.
    """

    name: ClassVar[str] = "densenet"
    least_side: ClassVar[int] = 7
    large_data: ClassVar[TrainSettings] = TrainSettings(epochs=16, batch=64, learning_rate=0.003)

    stride: int = 2
    """Of the first convolution."""

    @property
    def least(self) -> int:
        """The smallest side: four nodes after the first convolution, which are pooled twice."""
        return 3 * self.stride + 1

    def layers(self, inputs: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        values = convolved(inputs, 1, 24, 7, "relu", self.stride)
        values = keras.layers.MaxPooling2D(2, 1, "same", name="MaxPooling2D_1")(values)
        number = 1
        for block in range(1, _DENSE_BLOCKS + 1):
            for bottleneck in range(1, _BOTTLENECKS + 1):
                narrow = _relu_convolved(values, number + 1, _WIDE, 1)
                fresh = _relu_convolved(narrow, number + 2, _GROWTH, 3)
                values = keras.layers.Concatenate(name=f"Concatenate_{block}_{bottleneck}")(
                    [values, fresh]
                )
                number += 2
            number += 1
            values = _relu_convolved(values, number, _GROWTH, 1)
            values = keras.layers.AveragePooling2D(2, name=f"AveragePooling2D_{block}")(values)
        values = keras.layers.GlobalAveragePooling2D(name="GlobalAveragePooling2D")(values)
        return classified(values, classes)


def _relu_convolved(
    values: keras.KerasTensor, number: int, maps: int, size: int
) -> keras.KerasTensor:
    active = keras.layers.ReLU(name=f"ReLU_{number}")(values)
    return convolved(active, number, maps, size, None)


@dataclass(frozen=True)
class ResNetSmall(Recipe):
    """Stages of 16, 32 and 64 maps, each of two residual blocks, 3x3; global pooling.

    References:
        K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition.
        arXiv:1512.03385, section 4.2 (the networks for CIFAR-10, here with n = 2).
    """

    name: ClassVar[str] = "resnet-small"
    least_side: ClassVar[int] = 4
    any_depth: ClassVar[tuple[str, ...]] = ("filters",)
    large_data: ClassVar[TrainSettings] = TrainSettings(epochs=12, batch=128)

    filters: tuple[int, ...] = (16, 32, 64)
    """Of each stage; every stage after the first halves the size."""

    def layers(self, inputs: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        number = 1
        values = _normalized(inputs, number, self.filters[0], 3, 1)
        values = keras.layers.ReLU(name=f"ReLU_{number}")(values)
        for stage, maps in enumerate(self.filters):
            for block in range(_RESIDUAL_BLOCKS):
                stride = 2 if stage and not block else 1
                shortcut = values
                values = _normalized(values, number + 1, maps, 3, stride)
                values = keras.layers.ReLU(name=f"ReLU_{number + 1}")(values)
                values = _normalized(values, number + 2, maps, 3, 1)
                number += 2
                if shortcut.shape[-1] != maps or stride > 1:
                    number += 1
                    shortcut = _normalized(shortcut, number, maps, 1, stride)
                values = keras.layers.Add(name=f"Add_{number}")([values, shortcut])
                values = keras.layers.ReLU(name=f"ReLU_{number}")(values)
        values = keras.layers.GlobalAveragePooling2D(name="GlobalAveragePooling2D")(values)
        return classified(values, classes)


def _normalized(
    values: keras.KerasTensor, number: int, maps: int, size: int, stride: int
) -> keras.KerasTensor:
    values = convolved(values, number, maps, size, None, stride, bias=False)
    return keras.layers.BatchNormalization(name=f"BatchNormalization_{number}")(values)


@dataclass(frozen=True)
class Vgg16(Recipe):
    """The 13 convolutions of VGG-16 (keras.applications); a dense layer of 512.

    References:
        K. Simonyan, A. Zisserman: Very deep convolutional networks for large-scale image
        recognition. arXiv:1409.1556.
    """

    name: ClassVar[str] = "vgg16-cifar"
    least_side: ClassVar[int] = 32
    large_data: ClassVar[TrainSettings] = TrainSettings(epochs=30, batch=128, learning_rate=2e-4)

    def layers(self, inputs: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        body = keras.applications.VGG16(
            include_top=False,
            weights=None,  # type: ignore[arg-type]
            input_tensor=inputs,
        )
        values = hidden(body.output, (512,), "relu")  # type: ignore[arg-type]
        return classified(values, classes)


@dataclass(frozen=True)
class VisionTransformer(Recipe):
    """A vision transformer with a class token: patches of 4 x 4, two blocks of 4 heads.

    All layers are plain ones of Keras. An image whose sides are no multiples of the patch is padded
    with the data's mean. The position embedding is the bias of `Positions`; the class token is a
    token of zeros before it, to which that bias is added.

    References:
        A. Dosovitskiy et al.: An image is worth 16x16 words. arXiv:2010.11929.
    """

    name: ClassVar[str] = "vit"
    least_side: ClassVar[int] = 4
    large_data: ClassVar[TrainSettings] = TrainSettings(epochs=8, batch=128)
    class_token: ClassVar[bool] = True

    patch: int = 4
    width: int = 64
    """Channels of the tokens; a multiple of the heads."""
    heads: int = 4
    blocks: int = 2
    activation: str = "gelu"

    @property
    def least(self) -> int:
        """The smallest side: one patch."""
        return self.patch

    def layers(self, inputs: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        if self.width % self.heads:
            multiple = f"a multiple of the {self.heads} heads"
            raise SettingsError(f"width of the recipe {self.name}", multiple, self.width)
        layers, patch = keras.layers, self.patch
        patches = layers.Conv2D(self.width, patch, patch, "same", name="Patches")(inputs)
        count = int(np.prod([int(side or 0) for side in patches.shape[1:3]]))
        tokens = layers.Reshape((count, self.width), name="Tokens")(patches)
        if self.class_token:
            tokens = layers.ZeroPadding1D((1, 0), name="Class_token")(tokens)
            count += 1
        tokens = layers.EinsumDense(
            "btc,tc->btc",
            output_shape=(count, self.width),
            bias_axes="tc",
            kernel_initializer="ones",
            bias_initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="Positions",
        )(tokens)
        for number in range(1, self.blocks + 1):
            tokens = self._block(tokens, number)
        tokens = layers.LayerNormalization(name="LayerNormalization")(tokens)
        if self.class_token:
            tokens = layers.Cropping1D((0, count - 1), name="Cropped")(tokens)
            return classified(layers.Flatten(name="Flatten")(tokens), classes)
        return classified(layers.GlobalAveragePooling1D(name="Pooled")(tokens), classes)

    def _block(self, tokens: keras.KerasTensor, number: int) -> keras.KerasTensor:
        """Add attention and a perceptron, each after a normalization and around it a sum."""
        layers = keras.layers
        values = layers.LayerNormalization(name=f"LayerNormalization_{number}a")(tokens)
        attention = layers.MultiHeadAttention(
            self.heads, self.width // self.heads, name=f"Attention_{number}"
        )
        tokens = layers.Add(name=f"Add_{number}a")([tokens, attention(values, values)])
        values = layers.LayerNormalization(name=f"LayerNormalization_{number}b")(tokens)
        values = layers.Dense(2 * self.width, self.activation, name=f"Dense_{number}a")(values)
        values = layers.Dense(self.width, name=f"Dense_{number}b")(values)
        return layers.Add(name=f"Add_{number}b")([tokens, values])


@dataclass(frozen=True)
class PooledVisionTransformer(VisionTransformer):
    """A vision transformer whose tokens are averaged: patches of 4 x 4, two blocks of 4 heads."""

    name: ClassVar[str] = "vit-pooled"
    class_token: ClassVar[bool] = False


def stacked(
    values: keras.KerasTensor,
    filters: tuple[int, ...],
    size: int,
    activation: str,
    stride: int = 1,
    padding: str = "same",
    unpooled: Container[int] = (),
) -> keras.KerasTensor:
    """Add convolutions, the first of this stride; the maximum over 2 x 2 nodes follows each.

    Names are `Conv2D_1`, `MaxPooling2D_1` and so on; after the numbers `unpooled` none is pooled.
    """
    for number, maps in enumerate(filters, 1):
        step = stride if number == 1 else 1
        values = convolved(values, number, maps, size, activation, step, padding)
        if number not in unpooled:
            values = keras.layers.MaxPooling2D(2, name=f"MaxPooling2D_{number}")(values)
    return values


def convolved(
    values: keras.KerasTensor,
    number: int,
    maps: int,
    size: int,
    activation: str | None,
    stride: int = 1,
    padding: str = "same",
    bias: bool = True,
) -> keras.KerasTensor:
    """Add a convolution called `Conv2D_NUMBER`, of kernels `size` x `size`."""
    return keras.layers.Conv2D(
        maps, size, stride, padding, activation=activation, use_bias=bias, name=f"Conv2D_{number}"
    )(values)


RECIPES: tuple[Recipe, ...] = (
    ConvStack(),
    ReluMlp(),
    LeNet(),
    DenseNet(),
    LeNet5(),
    AlexNetSmall(),
    Vgg16(),
    ResNetSmall(),
    IpMlp(),
    TanhMlp(),
    VisionTransformer(),
    PooledVisionTransformer(),
)
"""All recipes, in the order in which they are listed."""


def recipe(name: str) -> Recipe:
    """Return the recipe with a name.

    Raises:
        SettingsError: no such recipe; the message names the nearest.
    """
    recipes = {candidate.name: candidate for candidate in RECIPES}
    if isinstance(name, str) and name in recipes:
        return recipes[name]
    hint = did_you_mean(name, recipes)
    raise SettingsError("recipe", ", ".join(recipes), f"'{name}'", hint)


def build(
    name: str,
    shape: tuple[int, int, int],
    classes: int,
    mean: Values | None = None,
    std: Values | None = None,
    l2: float = 0.0,
    **options: Option,
) -> keras.Model:
    """Return a new, untrained and uncompiled network.

    Args:
        name: of the recipe, such as "conv-stack".
        shape: (h, w, bands) of the images.
        classes: number of classes, 2 or more.
        mean: (bands,) of the training images, in plain pixels; 0 if None.
        std: (bands,) of the training images, in plain pixels; 1 if None.
        l2: weight of the squared kernels in the loss.
        options: of the recipe, such as `filters=(6, 12)`.

    Returns:
        A model from plain pixels (n, h, w, bands) to class probabilities (n, classes). It
        standardizes by `mean` and `std` itself.

    Raises:
        SettingsError: no such recipe, or no such option of it.
        DataError: images that are too small, or fewer than two classes.
    """
    return recipe(name).configured(**options).build(shape, classes, mean, std, l2)
