"""The image files of maps and of the data. Names come from indices only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gallery.layers import LayerEntry
from gallery.pictures import (
    FULL,
    MOST_IN_A_ROW,
    TILE,
    Sheets,
    animation,
    exact,
    factor,
    fitted,
    strip,
    webp,
)
from gallery.text import number
from oip.core.errors import DataError, expected
from oip.core.figures import enhanced, plain


class MapImages:
    """Writes the sheets and, for each map, a tile, its starts and its evolution."""

    def __init__(self, folder: Path, info: dict[str, Any]):
        shape = info["input"]["shape"]
        self._size = (int(shape[0]), int(shape[1]))
        self._swap = bool(info["input"].get("bgr"))
        self._folder = folder
        self.lossless = exact(self._size)
        self.limit = FULL // 2 if self.lossless else FULL
        scale = factor(self._size, TILE)
        self.tile = (max(1, round(self._size[0] * scale)), max(1, round(self._size[1] * scale)))
        """(h, w) of a tile in a file of its own."""
        folder.mkdir(parents=True)
        self.sheets = Sheets(folder, self._size)

    def write(self, layer: LayerEntry) -> None:
        """Writes the images of a layer's maps, in the order of `layer.maps`."""
        for kind in ("tile", "full", "evolution"):
            (self._folder / kind / f"{layer.index:03d}").mkdir(parents=True, exist_ok=True)
        for entry in layer.maps:
            if layer.oips is None or entry.row is None:
                self.sheets.add(None)
                continue
            grown = self._bands(layer.oips.images[entry.row, :MOST_IN_A_ROW])
            stages = enhanced(self._bands(layer.oips.snapshots[entry.row]))
            bright = enhanced(grown)
            self.sheets.add(bright[0])
            name = f"{layer.index:03d}/{entry.map:04d}"
            webp(self._folder / f"tile/{name}.webp", fitted(bright[0], TILE), self.lossless)
            rows = [self._fitted(plain(grown)), self._fitted(bright)]
            webp(self._folder / f"full/{name}.webp", strip(rows), self.lossless)
            if len(stages):
                frames = self._fitted(stages)
                animation(self._folder / f"evolution/{name}.webp", frames, self.lossless)
                still = strip([frames[-MOST_IN_A_ROW:]])
                webp(self._folder / f"evolution/{name}-still.webp", still, self.lossless)

    def _bands(self, images: np.ndarray) -> np.ndarray:
        found = images.astype(np.float32)
        return found[..., ::-1] if self._swap and found.shape[-1] == 3 else found

    def _fitted(self, images: np.ndarray) -> list[np.ndarray]:
        return [fitted(image, self.limit) for image in images]


class DataImages:
    """Writes the data images that maps react to most, each once, as `img/data/00012.webp`."""

    def __init__(
        self,
        folder: Path,
        info: dict[str, Any],
        images: np.ndarray,
        labels: np.ndarray | None,
        classes: list[str],
    ):
        if images.ndim != 4:
            raise DataError(expected("data_images", "(n, h, w, bands)", images.shape))
        if labels is not None and len(labels) != len(images):
            raise DataError(expected("data_labels", f"{len(images)} labels", len(labels)))
        self._images, self._labels, self._classes = images, labels, classes
        self._range = _range(images, info["input"])
        self._folder = folder
        self._written: set[int] = set()
        self.size = images.shape[1:3]
        self.lossless = exact(self.size)

    def write(self, index: int) -> bool:
        """Writes an image unless it has been written; False where there is no such image."""
        if not 0 <= index < len(self._images):
            return False
        if index not in self._written:
            self._folder.mkdir(parents=True, exist_ok=True)
            low, high = self._range
            values = (self._images[index].astype(np.float32) - low) / (high - low)
            pixels = (np.clip(values, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
            limit = FULL // 2 if self.lossless else FULL
            webp(self._folder / f"{index:05d}.webp", fitted(pixels, limit), self.lossless)
            self._written.add(index)
        return True

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
