"""A run as a folder of static files that a browser opens by double click.

>>> import gallery
>>> gallery.build("runs/mnist")  # doctest: +SKIP
PosixPath('runs/mnist/gallery/index.html')
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gallery.site import build

__all__ = ["build"]

_PLACES = {"build": "gallery.site"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'gallery' has no attribute '{name}'")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
