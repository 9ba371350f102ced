"""The networks that can be trained here, by name."""

from __future__ import annotations

from oip.core.errors import SettingsError, did_you_mean
from oip.core.frameworks import keras
from oip.models.networks.base import Option, Recipe, Values
from oip.models.networks.convolutional import (
    AlexNetSmall,
    ConvStack,
    DenseNet,
    LeNet,
    LeNet5,
    ResNetSmall,
    Vgg16,
)
from oip.models.networks.dense import IpMlp, ReluMlp, TanhMlp

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
)
"""All recipes, in the order in which they are listed."""


def recipe(name: str) -> Recipe:
    """Return the recipe with a name.

    Raises:
        SettingsError: no such recipe; the message names the nearest.
    """
    recipes = {candidate.name: candidate for candidate in RECIPES}
    if name in recipes:
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
