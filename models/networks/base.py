"""What every recipe of a network has: layers, options, and settings of its training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from oip.core.errors import DataError, SettingsError, expected
from oip.models.training_settings import LEARNING_RATES, OPTIMIZERS, TrainSettings

ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "gelu", "silu", "leaky_relu", "softplus")
"""Names that Keras knows."""
_MANY_IMAGES = 20_000
_SGD_MOMENTUM = 0.9


@dataclass(frozen=True)
class Recipe(ABC):
    """A kind of network. A new one gives its name, what it is, and its layers.

    A recipe is a frozen dataclass; its fields are the options that `oip train` takes, and their
    types are those of the defaults: whole numbers, a row of them, or the name of an activation.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    """One line for `oip train --help`."""
    least_side: ClassVar[int]
    """The smallest height and width in pixels that the layers leave something of, by default."""
    any_depth: ClassVar[bool] = False
    """A row of numbers may be of any length, one a layer; if not, it is as long as the default."""
    many: ClassVar[TrainSettings] = TrainSettings(epochs=4, batch=128)
    """How it is trained on 20,000 images and more."""

    def __post_init__(self) -> None:
        for name, value in self.options.items():
            self._check(name, value)

    @abstractmethod
    def layers(self, inputs: Any, classes: int) -> Any:
        """The Keras tensor of class probabilities (n, classes) made from standardised `inputs`."""

    @property
    def least(self) -> int:
        """The smallest height and width that these options leave something of."""
        return self.least_side

    @property
    def options(self) -> dict[str, Any]:
        """Every option by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def configured(self, **told: Any) -> Recipe:
        """The same recipe with other options; None, or an empty text, counts as not told.

        Args:
            told: values of the option's type, or as text: `filters="6,12"`.

        Raises:
            SettingsError: an option that the recipe does not have, or a value it cannot be.
        """
        given = {name: value for name, value in told.items() if value not in (None, "")}
        known = self.options
        for name in given:
            if name not in known:
                wanted = ", ".join(known) or "none"
                raise SettingsError(expected(f"options of the recipe {self.name}", wanted, name))
        return replace(self, **{name: _read(known[name], value) for name, value in given.items()})

    def defaults(self, images: int) -> TrainSettings:
        """What to train with on so many images: many epochs of small batches where they are few."""
        if images >= _MANY_IMAGES:
            return self.many
        epochs = round(min(max(500 / max(images, 1) ** 0.5, 4), 60))
        return replace(self.many, epochs=epochs, batch=64 if images >= 1_000 else 16)

    def settings(self, images: int, **told: Any) -> TrainSettings:
        """The defaults for so many images, with what is told put in their place.

        A value of None counts as not told. The learning rate and the momentum follow the optimizer
        where they are not told themselves.

        Raises:
            SettingsError: a value outside what it may be.
        """
        given = {name: value for name, value in told.items() if value is not None}
        values = self.defaults(images).to_dict()
        optimizer = given.get("optimizer", values["optimizer"])
        if optimizer != values["optimizer"] and optimizer in OPTIMIZERS:
            values["learning_rate"] = LEARNING_RATES[optimizer]
            values["momentum"] = _SGD_MOMENTUM if optimizer == "sgd" else 0.0
        return TrainSettings(**{**values, **given})

    def build(
        self,
        shape: tuple[int, int, int],
        classes: int,
        mean: np.ndarray | None = None,
        std: np.ndarray | None = None,
        l2: float = 0.0,
    ) -> Any:
        """A new, uncompiled Keras model that takes plain pixels; see `models.build`."""
        import keras

        height, width, bands = shape
        if min(height, width) < self.least:
            wanted = f"images of {self.least} x {self.least} pixels and more"
            raise DataError(expected(f"the recipe {self.name}", wanted, f"{height} x {width}"))
        if classes < 2:
            raise DataError(expected(f"the recipe {self.name}", "2 classes and more", classes))
        centre = np.zeros(bands) if mean is None else np.broadcast_to(mean, bands)
        spread = np.ones(bands) if std is None else np.broadcast_to(std, bands)
        inputs = keras.Input(shape, name="image")
        standardised = keras.layers.Normalization(
            axis=-1, mean=centre.tolist(), variance=np.square(spread).tolist(), name="standardised"
        )(inputs)
        name = self.name.replace("-", "_")
        model = keras.Model(inputs, self.layers(standardised, classes), name=name)
        if l2:
            _penalise(model, l2)
        return model

    def _check(self, name: str, value: Any) -> None:
        """Raises a SettingsError if an option cannot be of this value."""
        what = f"{name} of the recipe {self.name}"
        default = type(self).__dataclass_fields__[name].default
        if isinstance(default, str):
            if value not in ACTIVATIONS:
                raise SettingsError(expected(what, ", ".join(ACTIVATIONS), f"'{value}'"))
            return
        many = isinstance(default, tuple)
        numbers = list(value) if isinstance(value, tuple) else [value]
        whole = all(isinstance(one, int) and one > 0 for one in numbers)
        if not whole or isinstance(value, tuple) != many or not numbers:
            wanted = "whole numbers from 1, such as 6,12" if many else "a whole number from 1"
            raise SettingsError(expected(what, wanted, f"'{value}'"))
        if many and not self.any_depth and len(numbers) != len(default):
            received = ",".join(str(one) for one in numbers)
            wanted = f"{len(default)} numbers, one a layer"
            raise SettingsError(expected(what, wanted, received))


def _read(default: Any, value: Any) -> Any:
    """An option as its default is, from what a user said; what cannot be read stays as it is."""
    if isinstance(value, str) and not isinstance(default, str):
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isdecimal() for part in parts):
            return value
        numbers = [int(part) for part in parts]
        return tuple(numbers) if isinstance(default, tuple) or len(numbers) > 1 else numbers[0]
    return tuple(value) if isinstance(value, list) else value


def _penalise(model: Any, l2: float) -> None:
    """Adds the squared kernels of all layers to the loss, as if each had been made with it."""
    import keras

    for layer in model.layers:
        if hasattr(layer, "kernel"):
            layer.kernel_regularizer = keras.regularizers.L2(l2)
            layer.kernel.regularizer = layer.kernel_regularizer
