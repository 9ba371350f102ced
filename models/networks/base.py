"""A recipe of a network: its layers, its options, and the settings of its training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np

from oip.core.errors import DataError, SettingsError
from oip.core.frameworks import keras
from oip.models.training_settings import LEARNING_RATES, OPTIMIZERS, TrainSettings

Option: TypeAlias = int | str | tuple[int, ...]
"""A whole number, the name of an activation, or one number for each layer."""
Values: TypeAlias = Sequence[float] | np.ndarray

ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "gelu", "silu", "leaky_relu", "softplus")
"""Names that Keras knows."""
_MANY_IMAGES = 20_000
_SGD_MOMENTUM = 0.9


@dataclass(frozen=True)
class Recipe(ABC):
    """A kind of network. A new one gives its name and its layers; its docstring describes it.

    A recipe is a frozen dataclass; its fields are the options that `oip train` takes, and have the
    types of their defaults.
    """

    name: ClassVar[str]
    least_side: ClassVar[int]
    """The smallest height and width in pixels that leaves some nodes in the last layer."""
    any_depth: ClassVar[bool] = False
    """Numbers for each layer may be of any count; if not, as many as in the default."""
    many: ClassVar[TrainSettings] = TrainSettings(epochs=4, batch=128)
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
        given = {name: value for name, value in options.items() if value not in (None, "")}
        defaults = self.options
        for name in given:
            if name not in defaults:
                names = ", ".join(defaults) or "none"
                raise SettingsError(f"options of the recipe {self.name}", names, name)
        return replace(
            self, **{name: _read(defaults[name], value) for name, value in given.items()}
        )

    def defaults(self, images: int) -> TrainSettings:
        """Return the settings for a number of images: for few, many epochs of small batches."""
        if images >= _MANY_IMAGES:
            return self.many
        epochs = round(min(max(500 / max(images, 1) ** 0.5, 4), 60))
        return replace(self.many, epochs=epochs, batch=64 if images >= 1_000 else 16)

    def settings(self, images: int, **changes: int | float | str | None) -> TrainSettings:
        """Return the settings for a number of images, with some of them changed.

        Args:
            changes: fields of `TrainSettings`; None changes nothing. Learning rate and momentum
                follow the optimizer unless they are given.

        Raises:
            SettingsError: a value out of its range.
        """
        given = {name: value for name, value in changes.items() if value is not None}
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
        mean: Values | None = None,
        std: Values | None = None,
        l2: float = 0.0,
    ) -> keras.Model:
        """Return a new, uncompiled Keras model that takes plain pixels; see `models.build`."""
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
        if l2:
            for layer in model.layers:  # as if each had been made with it
                if hasattr(layer, "kernel"):
                    layer.kernel_regularizer = keras.regularizers.L2(l2)
                    layer.kernel.regularizer = layer.kernel_regularizer
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
        whole = all(isinstance(number, int) and number > 0 for number in numbers)
        if not whole or isinstance(value, tuple) != several or not numbers:
            kind = "whole numbers from 1, such as 6,12" if several else "a whole number from 1"
            raise SettingsError(option, kind, f"'{value}'")
        if several and not self.any_depth and len(numbers) != len(default):
            received = ",".join(map(str, numbers))
            raise SettingsError(option, f"{len(default)} numbers, one a layer", received)


def _read(default: Option, value: Option | list[int] | None) -> Option | list[int] | None:
    """Return an option in the type of its default; a text that cannot be read stays as it is."""
    if isinstance(value, str) and not isinstance(default, str):
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isdecimal() for part in parts):
            return value
        numbers = [int(part) for part in parts]
        return tuple(numbers) if isinstance(default, tuple) or len(numbers) > 1 else numbers[0]
    return tuple(value) if isinstance(value, list) else value
