"""What is looked at: data sources, the networks of the papers, and their training.

>>> import models
>>> data = models.load("mnist-sample:test")
>>> data.images.shape
(1000, 28, 28, 1)

The names are imported when they are used; `import models` imports no TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oip.core.lazy import lazy_names

if TYPE_CHECKING:
    from models.datasets import Dataset
    from models.networks.base import Recipe
    from models.recipes import RECIPES, build, recipe
    from models.settings import TrainSettings
    from models.sources import load, split_source
    from models.training import TrainResult, train

__all__ = [
    "RECIPES",
    "Dataset",
    "Recipe",
    "TrainResult",
    "TrainSettings",
    "build",
    "load",
    "recipe",
    "split_source",
    "train",
]

_PLACES = {
    "Dataset": "models.datasets",
    "RECIPES": "models.recipes",
    "Recipe": "models.networks.base",
    "TrainResult": "models.training",
    "TrainSettings": "models.settings",
    "build": "models.recipes",
    "load": "models.sources",
    "recipe": "models.recipes",
    "split_source": "models.sources",
    "train": "models.training",
}

__getattr__, __dir__ = lazy_names(__name__, _PLACES)
