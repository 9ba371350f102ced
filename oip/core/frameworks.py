"""TensorFlow and Keras, imported when they are first used: commands without them start at once."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from oip.core.warnings import import_quietly

if TYPE_CHECKING:
    import keras as keras
    import tensorflow as tf
    from tensorflow import Tensor
else:

    class _LazyModule(ModuleType):
        def __getattr__(self, name: str) -> Any:
            return getattr(import_quietly(self.__name__), name)

    keras, tf = _LazyModule("keras"), _LazyModule("tensorflow")
    Tensor = Any  # stands in annotations only

__all__ = ["Tensor", "keras", "tf"]
