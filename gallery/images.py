"""The image files of maps. Names come from indices only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from gallery.drawn import Drawn
from gallery.grown import Block, best_images
from gallery.layers import LayerEntry
from gallery.pictures import (
    FULL,
    MOST_IN_A_ROW,
    STAGE,
    TILE,
    animation,
    cell_of,
    exact,
    factor,
    fitted,
    size_of,
    strip,
    webp,
    with_rows,
)
from gallery.sheets import Sheets
from gallery.store import Store
from oip.core.figures import enhanced, plain
from oip.core.progress import Progress, silent
from oip.run.shards import read_shard


class MapImages:
    """The sheets and, for each map, a tile, its starts and its evolution.

    One shard is in memory at a time; pictures of a shard that has not changed are taken over.
    """

    def __init__(
        self, store: Store, drawn: Drawn, info: dict[str, Any], layers: Sequence[LayerEntry]
    ):
        self._size = size_of(info)
        self._shape = tuple(info["input"]["shape"])
        self._swap = bool(info["input"].get("bgr"))
        self._store, self._drawn = store, drawn
        self.lossless = exact(self._size)
        self.limit = FULL // 2 if self.lossless else min(FULL, max(self._size))
        scale = factor(self._size, TILE)
        self.tile = (max(1, round(self._size[0] * scale)), max(1, round(self._size[1] * scale)))
        """(h, w) of a tile in a file of its own."""
        contents = {
            (layer.index, number): block.content
            for layer in layers
            for block in layer.blocks
            for number in block.maps
        }
        order = [(layer.index, entry.map) for layer in layers for entry in layer.maps]
        self.sheets = Sheets(
            store, drawn, cell_of(self._size), [(*one, contents.get(one)) for one in order]
        )
        self._places = {one: place for place, one in enumerate(order)}

    def write(self, layer: LayerEntry, progress: Progress = silent) -> None:
        """Writes the images of a layer's maps; is told of layers in the order of the gallery."""
        label = f"gallery: maps of {layer.name}"
        total = len(layer.maps)
        done = total - sum(len(block.maps) for block in layer.blocks)
        progress(label, done, total)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for block in layer.blocks:
                same = self._drawn.note(f"block-{block.name}", self._drawn.key(block.content))
                if not (same and self._kept(layer, block)):
                    self._draw(block, pool)
                else:
                    self._fill(block)
                done += len(block.maps)
                progress(label, done, total)
        self.sheets.write_finished(max(self._places[layer.index, one.map] for one in layer.maps))

    def _kept(self, layer: LayerEntry, block: Block) -> bool:
        """Takes over all pictures of a block; False if one is missing."""
        moving = layer.oips is not None and len(layer.oips.snapshot_steps) > 0
        paths = [path for number in block.maps for path in _paths(block.layer, number, moving)]
        return all(map(self._store.has, paths)) and all(map(self._store.keep, paths))

    def _draw(self, block: Block, pool: ThreadPoolExecutor) -> None:
        oips, _ = read_shard(block.path)

        def one(row: int) -> None:
            number = int(oips.maps[row])
            grown = self._bands(oips.images[row, :MOST_IN_A_ROW])
            bright = enhanced(grown)
            tile, full, moving, still = _paths(block.layer, number, True)
            self._store.write(tile, webp(fitted(bright[0], TILE), self.lossless))
            rows = [self._fitted(plain(grown)), self._fitted(bright)]
            self._store.write(full, webp(strip(rows), self.lossless))
            self.sheets.put(self._places[block.layer, number], bright[0])
            if len(oips.snapshot_steps):
                stages = enhanced(self._bands(oips.snapshots[row]))
                frames = [fitted(stage, min(self.limit, STAGE)) for stage in stages]
                self._store.write(moving, animation(frames, self.lossless))
                self._store.write(still, webp(strip([frames[-MOST_IN_A_ROW:]]), self.lossless))

        list(pool.map(one, range(len(oips.maps))))

    def _fill(self, block: Block) -> None:
        """Draws the tiles of a block that new sheets need."""
        places = [self._places[block.layer, number] for number in block.maps]
        wanted = [row for row, place in enumerate(places) if self.sheets.wants(place)]
        if wanted:
            images = best_images(block)
            for row in wanted:
                self.sheets.put(places[row], enhanced(self._bands(images[row])))

    def _bands(self, images: np.ndarray) -> np.ndarray:
        found = with_rows(images.astype(np.float32), self._shape)
        return found[..., ::-1] if self._swap and found.shape[-1] == 3 else found

    def _fitted(self, images: np.ndarray) -> list[np.ndarray]:
        return [fitted(image, self.limit) for image in images]


def _paths(layer: int, number: int, moving: bool) -> list[str]:
    name = f"{layer:03d}/{number:04d}"
    found = [f"img/tile/{name}.webp", f"img/full/{name}.webp"]
    if moving:
        found += [f"img/evolution/{name}.webp", f"img/evolution/{name}-still.webp"]
    return found
