"""TensorFlow and Keras, imported when they are first used: commands without them start at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oip.core.lazy import lazy_module

if TYPE_CHECKING:
    import keras as keras
    import tensorflow as tf
    from tensorflow import Tensor
else:
    keras, tf = lazy_module("keras"), lazy_module("tensorflow")
    Tensor = Any  # stands in annotations only

__all__ = ["Tensor", "keras", "tf"]
