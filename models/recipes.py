"""The networks that can be trained here, by name."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from oip.core.errors import SettingsError, expected
from oip.models.networks.base import Recipe
from oip.models.networks.convolutional import AlexNetSmall, ConvStack, LeNet, LeNet5
from oip.models.networks.dense import IpMlp, ReluMlp, TanhMlp
from oip.models.networks.densenet import DenseNet
from oip.models.networks.resnet import ResNetSmall
from oip.models.networks.vgg import Vgg16

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
    **options: Any,
) -> Any:
    """A new, untrained and uncompiled network.

    Args:
        name: of the recipe, such as "conv-stack".
        shape: (h, w, bands) of the images.
        classes: number of classes, 2 or more.
        mean: (bands,) of the training images, in plain pixels; 0 if None.
        std: (bands,) of the training images, in plain pixels; 1 if None.
        l2: weight of the squared kernels in the loss.
        options: of the recipe, such as `filters=(6, 12)`.

    Returns:
        keras.Model: plain pixels (n, h, w, bands) to class probabilities (n, classes). It
        standardises by `mean` and `std` itself.

    Raises:
        SettingsError: no such recipe, or no such option of it.
        DataError: images that are too small, or fewer than two classes.
    """
    return recipe(name).configured(**options).build(shape, classes, mean, std, l2)
