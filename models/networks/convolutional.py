"""Networks of convolutions: plain stacks, a densely connected and a residual network, VGG-16."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import ClassVar

from oip.core.frameworks import keras
from oip.models.networks.base import Recipe
from oip.models.networks.dense import classified, hidden
from oip.models.training_settings import TrainSettings

_GROWTH, _WIDE = 12, 48
"""Maps that a bottleneck of the DenseNet adds, and that it holds before."""
_DENSE_BLOCKS, _BOTTLENECKS = 2, 4
_RESIDUAL_BLOCKS = 2
"""In each stage."""


@dataclass(frozen=True)
class ConvStack(Recipe):
    """Convolutions of 32, 64 and 128 maps, 3x3, with pooling; a dense layer of 100."""

    name: ClassVar[str] = "conv-stack"
    least_side: ClassVar[int] = 18

    filters: tuple[int, ...] = (32, 64, 128)
    activation: str = "relu"

    def layers(self, inputs: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        values = stacked(inputs, self.filters, 3, self.activation, padding="valid", unpooled=(3,))
        return classified(hidden(values, (100,), self.activation), classes)


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
    many: ClassVar[TrainSettings] = TrainSettings(epochs=6, batch=128)

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
    many: ClassVar[TrainSettings] = TrainSettings(epochs=10, batch=128)

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
    many: ClassVar[TrainSettings] = TrainSettings(epochs=15, batch=128)

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
    many: ClassVar[TrainSettings] = TrainSettings(epochs=16, batch=64, learning_rate=0.003)

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
                narrow = _after_relu(values, number + 1, _WIDE, 1)
                fresh = _after_relu(narrow, number + 2, _GROWTH, 3)
                values = keras.layers.Concatenate(name=f"Concatenate_{block}_{bottleneck}")(
                    [values, fresh]
                )
                number += 2
            number += 1
            values = _after_relu(values, number, _GROWTH, 1)
            values = keras.layers.AveragePooling2D(2, name=f"AveragePooling2D_{block}")(values)
        values = keras.layers.GlobalAveragePooling2D(name="GlobalAveragePooling2D")(values)
        return classified(values, classes)


def _after_relu(values: keras.KerasTensor, number: int, maps: int, size: int) -> keras.KerasTensor:
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
    any_depth: ClassVar[bool] = True
    many: ClassVar[TrainSettings] = TrainSettings(epochs=12, batch=128)

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
    many: ClassVar[TrainSettings] = TrainSettings(epochs=30, batch=128, learning_rate=2e-4)

    def layers(self, inputs: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        body = keras.applications.VGG16(
            include_top=False,
            weights=None,  # type: ignore[arg-type]
            input_tensor=inputs,
        )
        values = hidden(body.output, (512,), "relu")  # type: ignore[arg-type]
        return classified(values, classes)


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
