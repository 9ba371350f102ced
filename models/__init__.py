"""Sources of images, the networks of the papers, and their training.

>>> from oip import models
>>> data = models.load("mnist-sample:test")
>>> data.images.shape
(1000, 28, 28, 1)

The names are imported when they are used; `from oip import models` imports no TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oip.core.frameworks import lazy_names

if TYPE_CHECKING:
    from oip.models.datasets import Dataset
    from oip.models.imagenet import pretrained
    from oip.models.recipes import RECIPES, Recipe, build, recipe
    from oip.models.sources import load, split_source
    from oip.models.training import Start, TrainResult, initialize, train
    from oip.models.training_settings import TrainSettings

__all__ = [
    "RECIPES",
    "Dataset",
    "Recipe",
    "Start",
    "TrainResult",
    "TrainSettings",
    "build",
    "initialize",
    "load",
    "pretrained",
    "recipe",
    "split_source",
    "train",
]

__getattr__, __dir__ = lazy_names(__name__)
