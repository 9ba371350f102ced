"""Imports at first use, of TensorFlow, Keras and public names: commands start at once."""

from __future__ import annotations

import ast
import importlib
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from oip.core.processors import allowed_cores, usable_cores

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

_shutting = threading.RLock()
"""Held while stderr is shut: a second thread would take the shut one for the process's own."""


def import_quietly(name: str) -> ModuleType:
    """Import a module while the process's stderr is shut, for native code that ignores settings.

    TensorFlow's native parts report missing GPUs before any logging level applies. Errors of the
    import itself are raised unchanged. TensorFlow has no more threads than `usable_cores`.
    """
    if name in sys.modules:  # perhaps another thread imports it now
        return importlib.import_module(name)
    if (cores := usable_cores()) < allowed_cores():  # TensorFlow knows only the latter
        for pool in ("INTRAOP", "INTEROP"):
            os.environ.setdefault(f"TF_NUM_{pool}_THREADS", str(cores))
    with _shutting:
        sys.stderr.flush()
        kept = None
        with suppress(OSError):
            kept = os.dup(2)
        if kept is None:
            return importlib.import_module(name)
        shut = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(shut, 2)
            return importlib.import_module(name)
        finally:
            os.dup2(kept, 2)
            os.close(shut)
            os.close(kept)


def lazy_names(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package, by its name, whose import costs nothing."""
    homes = public_modules(package)

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        module = importlib.import_module(homes[name])
        return module if homes[name] == f"{package}.{name}" else getattr(module, name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names


def public_modules(package: str) -> dict[str, str]:
    """Return the names that a package imports under `if TYPE_CHECKING:`, and their modules."""
    source = Path(str(sys.modules[package].__file__)).read_text(encoding="utf-8")
    blocks = [
        node.body
        for node in ast.parse(source).body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    imports = [node for block in blocks for node in block if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: f"{package}.{alias.name}" if node.module == package else str(node.module)
        for node in imports
        for alias in node.names
    }
