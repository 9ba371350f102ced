"""Plain stacks of convolutions, pooling and dense layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from oip.core.frameworks import keras
from oip.models.networks.base import Recipe
from oip.models.networks.dense import classified, hidden
from oip.models.training_settings import TrainSettings

if TYPE_CHECKING:
    from keras import KerasTensor


@dataclass(frozen=True)
class ConvStack(Recipe):
    """Convolutions of 32, 64 and 128 maps with pooling between, and one hidden dense layer."""

    name: ClassVar[str] = "conv-stack"
    description: ClassVar[str] = (
        "Convolutions of 32, 64 and 128 maps, 3x3, with pooling; a dense layer of 100."
    )
    least_side: ClassVar[int] = 18

    filters: tuple[int, ...] = (32, 64, 128)
    activation: str = "relu"

    def layers(self, inputs: KerasTensor, classes: int) -> KerasTensor:
        values = inputs
        for number, maps in enumerate(self.filters, 1):
            values = convolved(values, number, maps, 3, self.activation, padding="valid")
            if number < 3:
                values = pooled(values, number)
        return classified(hidden(values, (100,), self.activation), classes)


@dataclass(frozen=True)
class LeNet(Recipe):
    """Two wide convolutions of 7 x 7 with pooling, and a dense layer of 1,024.

    References:
        H. Fang, V. Wang, M. Yamaguchi: Dissecting deep learning networks - visualizing mutual
        information. Entropy 20 (2018) 823, Figure 1a: 7x7x24 with stride 1, ReLU, max pooling;
        7x7x48, ReLU, max pooling; 1,024, ReLU; 10.
    """

    name: ClassVar[str] = "lenet"
    description: ClassVar[str] = (
        "Convolutions of 24 and 48 maps, 7x7, with pooling; a dense layer of 1,024."
    )
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

    def layers(self, inputs: KerasTensor, classes: int) -> KerasTensor:
        values = inputs
        for number, maps in enumerate(self.filters, 1):
            stride = self.stride if number == 1 else 1
            values = convolved(values, number, maps, 7, self.activation, stride)
            values = pooled(values, number)
        return classified(hidden(values, (1024,), self.activation), classes)


@dataclass(frozen=True)
class LeNet5(Recipe):
    """Two convolutions of 5 x 5 with pooling and two dense layers, after LeNet-5.

    References:
        S. Yu, K. Wickstrom, R. Jenssen, J. C. Principe: Understanding convolutional neural networks
        with information theory: an initial exploration. arXiv:1804.06537, section III.
    """

    name: ClassVar[str] = "lenet5"
    description: ClassVar[str] = (
        "Convolutions of 6 and 12 maps, 5x5, with pooling; a dense layer of 120."
    )
    least_side: ClassVar[int] = 16
    many: ClassVar[TrainSettings] = TrainSettings(epochs=10, batch=128)

    filters: tuple[int, ...] = (6, 12)
    activation: str = "relu"

    def layers(self, inputs: KerasTensor, classes: int) -> KerasTensor:
        values = inputs
        for number, maps in enumerate(self.filters, 1):
            values = convolved(values, number, maps, 5, self.activation, padding="valid")
            values = pooled(values, number)
        return classified(hidden(values, (120,), self.activation), classes)


@dataclass(frozen=True)
class AlexNetSmall(Recipe):
    """Four convolutions and three dense layers, after AlexNet, with fewer maps.

    References:
        As of `LeNet5`: the network for HASYv2 and Fruits 360.
    """

    name: ClassVar[str] = "alexnet-small"
    description: ClassVar[str] = (
        "Convolutions of 16, 32, 64 and 128 maps, 3x3, with pooling; dense layers of 256 and 128."
    )
    least_side: ClassVar[int] = 8
    many: ClassVar[TrainSettings] = TrainSettings(epochs=15, batch=128)

    filters: tuple[int, ...] = (16, 32, 64, 128)
    activation: str = "relu"

    def layers(self, inputs: KerasTensor, classes: int) -> KerasTensor:
        values = inputs
        for number, maps in enumerate(self.filters, 1):
            values = convolved(values, number, maps, 3, self.activation)
            if number != 3:
                values = pooled(values, number)
        return classified(hidden(values, (256, 128), self.activation), classes)


def convolved(
    values: KerasTensor,
    number: int,
    maps: int,
    size: int,
    activation: str | None,
    stride: int = 1,
    padding: str = "same",
    bias: bool = True,
) -> KerasTensor:
    """Add a convolution called `Conv2D_NUMBER`, of kernels `size` x `size`."""
    return keras.layers.Conv2D(
        maps,
        size,
        stride,
        padding,
        activation=activation,
        use_bias=bias,
        name=f"Conv2D_{number}",
    )(values)


def pooled(values: KerasTensor, number: int) -> KerasTensor:
    """Add the maximum over 2 x 2 nodes, a layer called `MaxPooling2D_NUMBER`."""
    return keras.layers.MaxPooling2D(2, name=f"MaxPooling2D_{number}")(values)
