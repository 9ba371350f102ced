"""A small densely connected network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from oip.core.frameworks import keras
from oip.models.networks.base import Recipe
from oip.models.networks.convolutional import convolved
from oip.models.networks.dense import classified
from oip.models.training_settings import TrainSettings

if TYPE_CHECKING:
    from keras import KerasTensor

_GROWTH = 12
_WIDE = 48
_BOTTLENECKS = 4
_BLOCKS = 2


@dataclass(frozen=True)
class DenseNet(Recipe):
    """A convolution of 7 x 7, two dense blocks of four bottlenecks, and global average pooling.

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
    description: ClassVar[str] = (
        "A convolution of 24 maps, 7x7; two dense blocks of four bottlenecks; global pooling."
    )
    least_side: ClassVar[int] = 7
    many: ClassVar[TrainSettings] = TrainSettings(epochs=16, batch=64, learning_rate=0.003)

    stride: int = 2
    """Of the first convolution."""

    @property
    def least(self) -> int:
        """The smallest side: four nodes after the first convolution, which are pooled twice."""
        return 3 * self.stride + 1

    def layers(self, inputs: KerasTensor, classes: int) -> KerasTensor:
        values = convolved(inputs, 1, 24, 7, "relu", self.stride)
        values = keras.layers.MaxPooling2D(2, 1, "same", name="MaxPooling2D_1")(values)
        number = 1
        for block in range(1, _BLOCKS + 1):
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


def _after_relu(values: KerasTensor, number: int, maps: int, size: int) -> KerasTensor:
    active = keras.layers.ReLU(name=f"ReLU_{number}")(values)
    return convolved(active, number, maps, size, None)
