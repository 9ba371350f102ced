"""A small residual network."""

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

_BLOCKS = 2


@dataclass(frozen=True)
class ResNetSmall(Recipe):
    """Three stages of two residual blocks with batch normalization, and global average pooling.

    References:
        K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition.
        arXiv:1512.03385, section 4.2 (the networks for CIFAR-10, here with n = 2).
    """

    name: ClassVar[str] = "resnet-small"
    description: ClassVar[str] = (
        "Stages of 16, 32 and 64 maps, each of two residual blocks, 3x3; global pooling."
    )
    least_side: ClassVar[int] = 4
    any_depth: ClassVar[bool] = True
    many: ClassVar[TrainSettings] = TrainSettings(epochs=12, batch=128)

    filters: tuple[int, ...] = (16, 32, 64)
    """Of each stage; every stage after the first halves the size."""

    def layers(self, inputs: KerasTensor, classes: int) -> KerasTensor:
        number = 1
        values = _normalized(inputs, number, self.filters[0], 3, 1)
        values = keras.layers.ReLU(name=f"ReLU_{number}")(values)
        for stage, maps in enumerate(self.filters):
            for block in range(_BLOCKS):
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


def _normalized(values: KerasTensor, number: int, maps: int, size: int, stride: int) -> KerasTensor:
    values = convolved(values, number, maps, size, None, stride, bias=False)
    return keras.layers.BatchNormalization(name=f"BatchNormalization_{number}")(values)
