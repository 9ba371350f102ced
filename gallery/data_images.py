"""The data images that maps react to most, each in one file."""

from __future__ import annotations

from typing import Any

import numpy as np

from gallery.drawn import Drawn
from gallery.pictures import FULL, exact, fitted, size_of, webp, with_rows
from gallery.store import Store
from gallery.text import number
from oip.core.errors import DataError, expected
from oip.network.inputs import with_bands


class DataImages:
    """Writes data images as `img/data/00012.webp`, each once."""

    def __init__(
        self,
        store: Store,
        drawn: Drawn,
        info: dict[str, Any],
        images: np.ndarray,
        labels: np.ndarray | None,
        classes: list[str],
        digest: str | None = None,
    ):
        """
        Args:
            store: where to.
            drawn: what the old pictures were drawn from.
            info: what run.json says.
            images: (n, h, w, bands); (n, length, bands) of lines.
            labels: (n,), for captions.
            classes: their names.
            digest: SHA-256 of the images; without it all are written again.

        Raises:
            DataError: images or labels of the wrong shape.
        """
        shape = info["input"]["shape"]
        images = with_rows(with_bands(images, tuple(shape)), shape)
        if images.ndim != 4:
            wanted = "(n, h, w, bands)" if len(shape) == 3 else "(n, length, bands)"
            raise DataError(expected("data_images", wanted, images.shape))
        if labels is not None and len(labels) != len(images):
            raise DataError(expected("data_labels", f"{len(images)} labels", len(labels)))
        self._images, self._labels, self._classes = images, labels, classes
        self._range = _range(images, info["input"])
        self.height = size_of(info)[0]
        """Pixels that an image is shown high, of an input's own width."""
        self._store = store
        self._same = digest is not None and drawn.note("data", drawn.key(digest, self._range))
        self._written: set[int] = set()
        self.lossless = exact(size_of(info))

    def write(self, index: int) -> bool:
        """Writes an image unless it has been written; False where there is no such image."""
        if not 0 <= index < len(self._images):
            return False
        if index not in self._written:
            self._written.add(index)
            name = f"img/data/{index:05d}.webp"
            if not (self._same and self._store.keep(name)):
                self._store.write(name, self._drawn(index))
        return True

    def _drawn(self, index: int) -> bytes:
        low, high = self._range
        values = (self._images[index].astype(np.float32) - low) / (high - low)
        pixels = (np.clip(values, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
        limit = FULL // 2 if self.lossless else min(FULL, max(pixels.shape[:2]))
        return webp(fitted(pixels, limit), self.lossless)

    def caption(self, index: int) -> str:
        """The image's label in words, empty without labels."""
        if self._labels is None:
            return ""
        label = self._labels[index]
        if isinstance(label, int | np.integer) and 0 <= label < len(self._classes):
            return self._classes[int(label)]
        return str(label)


def _range(images: np.ndarray, told: dict[str, Any]) -> tuple[float, float]:
    if images.dtype == np.uint8:
        return 0.0, 255.0
    low, high = number(told.get("low"), 15), number(told.get("high"), 15)
    if low is None or high is None or not high > low:
        low, high = float(np.min(images)), float(np.max(images))
    return (low, high) if high > low else (low, low + 1.0)
