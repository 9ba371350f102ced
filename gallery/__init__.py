"""A run as a folder of static files that a browser opens by double click.

>>> from oip import gallery
>>> gallery.build("runs/mnist")  # doctest: +SKIP
PosixPath('runs/mnist/gallery/index.html')
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oip.core.frameworks import lazy_names

if TYPE_CHECKING:
    from oip.gallery.site import build, show

__all__ = ["build", "show"]

__getattr__, __dir__ = lazy_names(__name__)
