"""VGG-16 of keras.applications."""

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
class Vgg16(Recipe):
    """The 13 convolutions of VGG-16 from `keras.applications`, untrained, and a dense end of 512.

    References:
        K. Simonyan, A. Zisserman: Very deep convolutional networks for large-scale image
        recognition. arXiv:1409.1556.
    """

    name: ClassVar[str] = "vgg16-cifar"
    description: ClassVar[str] = (
        "The 13 convolutions of VGG-16 (keras.applications); a dense layer of 512."
    )
    least_side: ClassVar[int] = 32
    many: ClassVar[TrainSettings] = TrainSettings(epochs=30, batch=128, learning_rate=2e-4)

    def layers(self, inputs: KerasTensor, classes: int) -> KerasTensor:
        body = keras.applications.VGG16(
            include_top=False,
            weights=None,  # type: ignore[arg-type]
            input_tensor=inputs,
        )
        values = hidden(body.output, (512,), "relu")  # type: ignore[arg-type]
        return classified(values, classes)
