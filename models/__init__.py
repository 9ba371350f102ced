"""What is looked at: data sources, the networks of the papers, and their training.

>>> import models
>>> data = models.load("mnist-sample:test")
>>> data.images.shape
(1000, 28, 28, 1)

The names are imported when they are used; `import models` imports no TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.datasets import Dataset
    from models.recipes import RECIPES, Recipe, build, recipe
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

_ROOMS = {
    "Dataset": "models.datasets",
    "RECIPES": "models.recipes",
    "Recipe": "models.recipes",
    "TrainResult": "models.training",
    "TrainSettings": "models.settings",
    "build": "models.recipes",
    "load": "models.sources",
    "recipe": "models.recipes",
    "split_source": "models.sources",
    "train": "models.training",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'models' has no attribute '{name}'")
    return getattr(importlib.import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
