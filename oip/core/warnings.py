"""Notices for users of the Python interface."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import threading
import warnings
from contextlib import suppress
from types import ModuleType

from oip.core.processors import allowed_cores, usable_cores

_shutting = threading.RLock()
"""Held while stderr is shut: a second thread would take the shut one for the process's own."""


class Notice(UserWarning):
    """An assumption that was made, and the way to change it."""


def notice(text: str) -> None:
    """Warn, once for each line of the user's own code that leads to it."""
    level = 1
    frame = inspect.currentframe()
    while (
        frame is not None
        and frame.f_back is not None
        and _is_ours(frame.f_globals.get("__name__", ""))
    ):
        frame = frame.f_back
        level += 1
    warnings.warn(text, Notice, stacklevel=level)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "oip" or module == "functools"  # cached properties


def import_quietly(name: str) -> ModuleType:
    """Import a module while the process's stderr is shut, for native code that ignores settings.

    TensorFlow's native parts report missing GPUs before any logging level applies. Errors of the
    import itself are raised as ever. TensorFlow has no more threads than `usable_cores`.
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
