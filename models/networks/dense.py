"""Networks of dense layers, and the dense end of the other networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from oip.core.frameworks import keras
from oip.models.networks.base import Recipe
from oip.models.training_settings import TrainSettings


@dataclass(frozen=True)
class Perceptron(Recipe):
    """Dense layers, one after the other."""

    least_side: ClassVar[int] = 1
    any_depth: ClassVar[bool] = True

    units: tuple[int, ...] = (1024, 256, 128)
    activation: str = "relu"

    def layers(self, inputs: keras.KerasTensor, classes: int) -> keras.KerasTensor:
        return classified(hidden(inputs, self.units, self.activation), classes)


@dataclass(frozen=True)
class ReluMlp(Perceptron):
    """Dense layers of 1,024, 256 and 128 with ReLU."""

    name: ClassVar[str] = "relu-mlp"
    many: ClassVar[TrainSettings] = TrainSettings(epochs=6, batch=128)


@dataclass(frozen=True)
class IpMlp(Perceptron):
    """Dense layers of 1,024, 20, 20 and 20 with ReLU.

    References:
        A. M. Saxe et al.: On the information bottleneck theory of deep learning. ICLR 2018.
    """

    name: ClassVar[str] = "ip-mlp"
    many: ClassVar[TrainSettings] = TrainSettings(epochs=6, batch=128)

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
