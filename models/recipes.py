"""The networks that can be trained here, and the settings each is trained with by default."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from models.settings import LEARNING_RATES, OPTIMIZERS, TrainSettings
from oip.core.errors import DataError, SettingsError, expected

_MANY_IMAGES = 20_000
_SGD_MOMENTUM = 0.9


class Recipe(ABC):
    """A kind of network. A new one gives its name, what it is, and its layers."""

    name: str
    description: str
    """One line for `oip train --help`."""
    least_side: int
    """The smallest height and width in pixels that the layers leave something of."""

    @abstractmethod
    def layers(self, inputs: Any, classes: int, l2: float) -> Any:
        """The Keras tensor of class probabilities (n, classes) made from standardised `inputs`."""

    def defaults(self, images: int) -> TrainSettings:
        """What to train with on so many images: many epochs of small batches where they are few."""
        if images >= _MANY_IMAGES:
            return TrainSettings(epochs=4, batch=128)
        epochs = round(min(max(500 / max(images, 1) ** 0.5, 4), 60))
        return TrainSettings(epochs=epochs, batch=64 if images >= 1_000 else 16)

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
        if min(height, width) < self.least_side:
            wanted = f"images of {self.least_side} x {self.least_side} pixels and more"
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
        return keras.Model(inputs, self.layers(standardised, classes, l2), name=name)


class ConvStack(Recipe):
    """Convolutions of 32, 64 and 128 maps with pooling between, and one hidden dense layer."""

    name = "conv-stack"
    description = "Convolutions of 32, 64 and 128 maps, 3x3, with pooling; a dense layer of 100."
    least_side = 18

    def layers(self, inputs: Any, classes: int, l2: float) -> Any:
        from keras import layers, regularizers

        def penalty() -> Any:
            return regularizers.L2(l2) if l2 else None

        values = inputs
        for number, maps in enumerate((32, 64, 128), 1):
            values = layers.Conv2D(
                maps, 3, activation="relu", kernel_regularizer=penalty(), name=f"Conv2D_{number}"
            )(values)
            if number < 3:
                values = layers.MaxPooling2D(2, name=f"MaxPooling2D_{number}")(values)
        values = layers.Flatten(name="Flatten")(values)
        values = layers.Dense(100, activation="relu", kernel_regularizer=penalty(), name="Dense_1")(
            values
        )
        return layers.Dense(
            classes, activation="softmax", kernel_regularizer=penalty(), name="classes"
        )(values)


RECIPES: tuple[Recipe, ...] = (ConvStack(),)
"""All recipes, in the order in which they are shown."""


def recipe(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        SettingsError: no such recipe.
    """
    for candidate in RECIPES:
        if candidate.name == name:
            return candidate
    names = [candidate.name for candidate in RECIPES]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else ""
    raise SettingsError(expected("recipe", ", ".join(names), f"'{name}'", hint))


def build(
    name: str,
    shape: tuple[int, int, int],
    classes: int,
    mean: np.ndarray | None = None,
    std: np.ndarray | None = None,
    l2: float = 0.0,
) -> Any:
    """A new, untrained and uncompiled network.

    Args:
        name: of the recipe, such as "conv-stack".
        shape: (h, w, bands) of the images.
        classes: number of classes, 2 or more.
        mean: (bands,) of the training images, in plain pixels; 0 if None.
        std: (bands,) of the training images, in plain pixels; 1 if None.
        l2: weight of the squared kernels in the loss.

    Returns:
        keras.Model: plain pixels (n, h, w, bands) to class probabilities (n, classes). It
        standardises by `mean` and `std` itself.

    Raises:
        SettingsError: no such recipe.
        DataError: images that are too small, or fewer than two classes.
    """
    return recipe(name).build(shape, classes, mean, std, l2)
