"""Libraries that talk while they are imported."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress
from types import ModuleType


def import_quietly(name: str) -> ModuleType:
    """Imports a module while the process's stderr is shut, for native code that ignores settings.

    TensorFlow's native parts report missing GPUs before any logging level applies. Errors of the
    import itself are raised as ever.
    """
    if name in sys.modules:
        return sys.modules[name]
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
