"""The image files of maps. Names come from indices only."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from oip.core.checks import one_column
from oip.core.errors import DataError
from oip.core.formats import InputRecord
from oip.core.frameworks import usable_cores
from oip.core.images import (
    LINE_SIZE,
    displayable,
    enhanced,
    faded,
    is_line,
    line_picture,
    plain,
    stretches,
    true_colors,
)
from oip.core.progress import Progress, silent
from oip.gallery.cache import PictureKeys, Store
from oip.gallery.escape import rounded
from oip.gallery.read_run import LayerEntry, Redundancy, ShardBlock
from oip.network.inputs import with_bands
from oip.run.shards import STAGE, read_best_images, read_shard

TILE = 96
"""Longest side of a tile, in pixels."""
FULL = 224
"""Longest side of an image on a map's page; small inputs are enlarged to about half of it."""
MOST_IN_A_ROW = 16
_SMALL_START, _SMALL_STAGE = 112, 96
"""The same of a single file, of all starts but the best, and of images on their way."""
_QUALITY, _SMALL_QUALITY = 75, 60
"""Of large pictures in WebP; and of a single file's images on their way, which are mostly noise."""


def size_of(shape: Sequence[int]) -> tuple[int, int]:
    """Return the (h, w) that a run's input is shown with.

    A line of numbers, (length, bands) or (1, length, bands), is shown as a drawing.
    """
    if line_length(shape):
        return LINE_SIZE
    height, width = (int(side) for side in shape[:-1])
    return height, width


def line_length(shape: Sequence[int]) -> int:
    """Return how many numbers an input has along time if it is a line, else 0."""
    *rows, length = (int(side) for side in shape[:-1])
    return length if length > 1 and rows in ([], [1]) else 0


def factor(size: tuple[int, int], limit: int) -> float:
    """Return how much an image of (h, w) is enlarged (a whole number) or shrunk to fit `limit`."""
    longest = max(size)
    return float(max(1, limit // longest)) if longest <= limit else limit / longest


def resized(image: np.ndarray, limit: int) -> np.ndarray:
    """Resize (h, w, b) uint8 to (h', w') or (h', w', 3) uint8 whose longer side fits into `limit`.

    Small images grow by whole pixels without smoothing, large ones are smoothed down. A line,
    (1, length, b), is drawn as wide as `limit`.
    """
    from PIL import Image

    if is_line(image):
        return line_picture(image, limit, has_letters=False)
    pixels = displayable(image)
    rows, columns = image.shape[:2]
    scale = factor((rows, columns), limit)
    if scale >= 1:
        pixels = np.repeat(np.repeat(pixels, int(scale), axis=0), int(scale), axis=1)
    else:
        sides = (max(1, round(columns * scale)), max(1, round(rows * scale)))
        pixels = np.asarray(Image.fromarray(pixels).resize(sides, Image.Resampling.LANCZOS))
    return pixels


def strip(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Join equal images, row by row, to one picture without gaps."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)


def exact(size: tuple[int, int]) -> bool:
    """Return whether an input of (h, w) is small enough to tell its pixels apart."""
    return max(size) <= TILE // 2


def webp(picture: np.ndarray, lossless: bool, quality: int = _QUALITY) -> bytes:
    """Encode one picture, (h, w) or (h, w, 3 or 4) uint8, without loss or at a quality to 100."""
    from PIL import Image

    # On enlarged pixels the fast method 0 is as small as the slow ones.
    options = {"lossless": True, "quality": 20, "method": 0}
    stream = io.BytesIO()
    image = Image.fromarray(picture)
    image.save(stream, "WEBP", **(options if lossless else {"quality": quality, "method": 4}))
    return stream.getvalue()


def cell_of(size: tuple[int, int]) -> tuple[int, int, bool]:
    """Return (h, w) of a tile in a sheet for an input of (h, w), and whether it is lossless."""
    lossless = exact(size)
    scale = 1.0 if lossless else min(1.0, TILE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale)), lossless


def fitted_cell(image: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """Return (h, w, b) uint8 as a tile of a sheet."""
    if image.shape[:2] == cell and not is_line(image):
        return displayable(image)
    return resized(image, max(cell))


def with_rows(images: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return images of an input of `shape` as (..., h, w, bands); lines become one row."""
    return images[..., None, :, :] if len(shape) == 2 else images


COLUMNS = 16
"""Tiles in a row of a sheet."""
PER_SHEET = 256
_EMPTY = 128


class Sheets:
    """Files `img/sheet-000.webp`; those whose tiles have not changed are kept.

    Small inputs are kept at their own size (the page enlarges them by whole pixels), so that the
    sheets of 10,000 maps of 28 x 28 pixels take 32 MB in a browser instead of 300.
    """

    def __init__(
        self, store: Store, keys: PictureKeys, cell: tuple[int, int, bool], tiles: Sequence[object]
    ):
        """
        Args:
            keys: what the old sheets were drawn from.
            cell: (h, w) of a tile in a file, and whether it is kept to the pixel.
            tiles: for each position, the content that its tile is drawn from.
        """
        self._store = store
        self.cell = cell[:2]
        self._lossless = cell[2]
        self._count = len(tiles)
        self._open: set[int] = set()
        self._pixels: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()
        for sheet in range(-(-len(tiles) // PER_SHEET)):
            sheet_tiles = tiles[sheet * PER_SHEET : (sheet + 1) * PER_SHEET]
            is_same = keys.note(f"sheet-{sheet:03d}", keys.key(*sheet_tiles))
            if not (is_same and store.keep(_name(sheet))):
                self._open.add(sheet)

    def wants(self, position: int) -> bool:
        """Return whether the sheet of a position has to be drawn."""
        return position // PER_SHEET in self._open

    def put(self, position: int, image: np.ndarray) -> None:
        """Draw a tile, (h, w, b) uint8, at its position; safe in threads."""
        sheet, cell_index = divmod(position, PER_SHEET)
        if sheet not in self._open:
            return
        height, width = self.cell
        tile = fitted_cell(image, self.cell)
        with self._lock:
            if sheet not in self._pixels:
                rows = -(-min(PER_SHEET, self._count - sheet * PER_SHEET) // COLUMNS)
                shape = (rows * height, COLUMNS * width, *tile.shape[2:])
                self._pixels[sheet] = np.full(shape, _EMPTY, np.uint8)
        top, left = cell_index // COLUMNS * height, cell_index % COLUMNS * width
        self._pixels[sheet][top : top + height, left : left + width] = tile

    def write_finished(self, last: int) -> None:
        """Write the sheets that are complete when all positions up to `last` are drawn."""
        for sheet in sorted(self._open):
            if last + 1 < min((sheet + 1) * PER_SHEET, self._count):
                break
            pixels = self._pixels.pop(sheet, None)
            if pixels is not None:
                self._store.write(_name(sheet), webp(pixels, self._lossless))
            self._open.discard(sheet)


def _name(sheet: int) -> str:
    return f"img/sheet-{sheet:03d}.webp"


class MapImages:
    """The sheets and, for each map, a tile, its best start, the others and its evolution.

    One shard is in memory at a time; pictures of a shard that has not changed are kept.
    """

    def __init__(
        self,
        store: Store,
        keys: PictureKeys,
        spec: InputRecord,
        layers: Sequence[LayerEntry],
        are_colors: bool = False,
        single: bool = False,
    ):
        """
        Args:
            keys: what the old pictures were drawn from.
            spec: the input of the run's model.
            are_colors: the images stay inside the range of color pictures, and are shown so.
            single: for a single file: large pictures have the size that they are shown at.
        """
        self.size = size_of(spec.shape)
        self._shape = tuple(spec.shape)
        self._swap = spec.bgr
        self._mean, self._std = np.array(spec.mean), np.array(spec.std)
        self.are_lines = line_length(spec.shape) > 0
        self.are_colors = are_colors and not self.are_lines
        self._store, self._keys = store, keys
        self.lossless = exact(self.size)
        self.limit = FULL // 2 if self.lossless else min(FULL, max(self.size))
        if self.are_lines:
            self.limit = max(self.size)
        is_small = single and not self.lossless
        self._start = min(self.limit, _SMALL_START if is_small else FULL)
        self._stage = min(self.limit, _SMALL_STAGE if is_small else STAGE)
        self._stage_quality = _SMALL_QUALITY if is_small else _QUALITY
        self.stretches: dict[tuple[int, int], list[list[list[float]]]] = {}
        """By layer and map, of each start: slopes and intercepts that enhance true colors."""
        scale = factor(self.size, TILE)
        self.tile = (max(1, round(self.size[0] * scale)), max(1, round(self.size[1] * scale)))
        """(h, w) of a tile in a file of its own."""
        contents = {
            (layer.index, map_index): block.content
            for layer in layers
            for block in layer.blocks
            for map_index in block.maps
        }
        order = [(layer.index, entry.map) for layer in layers for entry in layer.maps]
        self.sheets = Sheets(
            store, keys, cell_of(self.size), [(*key, contents.get(key)) for key in order]
        )
        self._positions = {key: position for position, key in enumerate(order)}

    def write(self, layer: LayerEntry, progress: Progress = silent) -> None:
        """Write the images of a layer's maps; layers come in the order of the gallery."""
        label = f"gallery: maps of {layer.name}"
        total = len(layer.maps)
        count = total - sum(len(block.maps) for block in layer.blocks)
        progress(label, count, total)
        with ThreadPoolExecutor(usable_cores()) as pool:
            for block in layer.blocks:
                is_same = self._keys.note(f"block-{block.name}", self._keys.key(block.content))
                if not (is_same and self._keep_pictures(layer, block)):
                    self._draw(block, pool)
                else:
                    self._fill(block)
                count += len(block.maps)
                progress(label, count, total)
        self.sheets.write_finished(
            max(self._positions[layer.index, entry.map] for entry in layer.maps)
        )

    def write_relations(self, layer: LayerEntry) -> None:
        """Write what maps are sums of (one node, the sum, the rest), and partners."""
        sums = layer.evidence.decomposition
        maps = {entry.map for entry in layer.maps}
        for row, map_index in enumerate([] if sums is None else sums.maps.tolist()):
            if sums is not None and map_index in maps:
                grown, total = (array[row].astype(np.float32) for array in (sums.images, sums.sums))
                panels = (sums.node_images[row], total, grown - total)
                tiles = [resized(self._pixels_of_oips(image), TILE) for image in panels]
                self._store.write(
                    _path("sum", layer.index, map_index), webp(strip([tiles]), self.lossless)
                )
        for position, partners in enumerate(layer.evidence.partners):
            kind = f"partner-{position}"
            for row, map_index in enumerate(partners.maps.tolist()):
                if map_index in maps and partners.has_picture[row]:
                    content = webp(partners.pictures[row], self.lossless)
                    self._store.write(_path(kind, layer.index, map_index), content)

    def _keep_pictures(self, layer: LayerEntry, block: ShardBlock) -> bool:
        """Keep all pictures of a block; return False if one is missing."""
        several = layer.oips is not None and layer.oips.scores.shape[1] > 1
        moves = layer.oips is not None and len(layer.oips.snapshot_steps) > 0
        kinds = ["tile", "full"] + ["starts"] * several + ["evolution"] * moves
        kinds += ["masks"] * block.has_masks
        paths = [_path(kind, block.layer, map_index) for map_index in block.maps for kind in kinds]
        if not (all(map(self._store.has, paths)) and all(map(self._store.keep, paths))):
            return False
        return not self.are_colors or self._keep_stretches(block)

    def _keep_stretches(self, block: ShardBlock) -> bool:
        text = self._keys.old_text(f"stretches-{block.name}")
        values = {} if text is None else json.loads(text)
        self.stretches |= {
            (block.layer, int(map_index)): value for map_index, value in values.items()
        }
        return set(values) == set(map(str, block.maps))

    def _draw(self, block: ShardBlock, pool: ThreadPoolExecutor) -> None:
        oips, _ = read_shard(block.path)

        def draw_map(row: int) -> None:
            map_index = int(oips.maps[row])
            images = oips.images[row, :MOST_IN_A_ROW]
            starts = self._bands(images)
            bright, true = enhanced(starts), self._true(images)
            best = bright[0] if true is None else true[0]
            rows = [plain(starts) if true is None else true]
            if self.are_lines:
                best = rows[0][0]
            elif self.are_colors:
                self.stretches[block.layer, map_index] = [self._stretch(image) for image in images]
            else:
                rows.append(bright)
            self._write("tile", block, map_index, [[resized(best, TILE)]])
            self._write("full", block, map_index, [[resized(row[0], self.limit)] for row in rows])
            if len(images) > 1:
                other_starts = [[resized(image, self._start) for image in row[1:]] for row in rows]
                self._write("starts", block, map_index, other_starts)
            if oips.alpha is not None:
                masked = faded(rows[0], oips.alpha[row, :MOST_IN_A_ROW])
                self._write("masks", block, map_index, [[resized(m, self._start) for m in masked]])
            self.sheets.put(self._positions[block.layer, map_index], best)
            if len(oips.snapshot_steps):
                stages = self._pixels_of_oips(oips.snapshots[row])[-MOST_IN_A_ROW:]
                shown_stages = [[resized(stage, self._stage) for stage in stages]]
                self._write("evolution", block, map_index, shown_stages, self._stage_quality)

        list(pool.map(draw_map, range(len(oips.maps))))
        if self.are_colors:
            values = {map_index: self.stretches[block.layer, map_index] for map_index in block.maps}
            self._keys.add(f"stretches-{block.name}", json.dumps(values))

    def _write(
        self,
        kind: str,
        block: ShardBlock,
        map_index: int,
        rows: Sequence[Sequence[np.ndarray]],
        quality: int = _QUALITY,
    ) -> None:
        """Write equal pictures of a map, row by row, as one."""
        content = webp(strip(rows), self.lossless, quality)
        self._store.write(_path(kind, block.layer, map_index), content)

    def _stretch(self, image: np.ndarray) -> list[list[float]]:
        values = stretches(image, self._mean, self._std, self._swap)
        return np.round(values[:, ::-1] if self._swap else values, 4).tolist()

    def _fill(self, block: ShardBlock) -> None:
        """Draw the tiles of a block that new sheets need."""
        positions = [self._positions[block.layer, map_index] for map_index in block.maps]
        rows = [row for row, position in enumerate(positions) if self.sheets.wants(position)]
        if rows:
            images = read_best_images(block.path)
            for row in rows:
                self.sheets.put(positions[row], self._pixels_of_oips(images[row]))

    def _pixels_of_oips(self, images: np.ndarray) -> np.ndarray:
        """Return images (..., h, w, b) as uint8: in true colors where they have them."""
        true = self._true(images)
        if true is not None:
            return true
        return (plain if self.are_lines else enhanced)(self._bands(images))

    def _true(self, images: np.ndarray) -> np.ndarray | None:
        true = true_colors(images, self._mean, self._std, self._swap) if self.are_colors else None
        return None if true is None else self._bands(true)

    def _bands(self, images: np.ndarray) -> np.ndarray:
        are_bytes = images.dtype == np.uint8
        bands = with_rows(images if are_bytes else images.astype(np.float32), self._shape)
        return bands[..., ::-1] if self._swap and bands.shape[-1] == 3 else bands


def _path(kind: str, layer: int, map_index: int) -> str:
    return f"img/{kind}/{layer:03d}/{map_index:04d}.webp"


def data_picture(index: int) -> str:
    """Return the name of a data image's file in a gallery."""
    return f"img/data/{index:05d}.webp"


class ShownData(Protocol):
    """Data images that a gallery shows."""

    digest: str | None
    height: int
    scale: float

    def write(self, index: int) -> bool: ...
    def caption(self, index: int) -> str: ...


class KeptDataImages:
    """The data images of the gallery that is replaced; those that it does not hold are missing."""

    def __init__(self, store: Store, keys: PictureKeys, spec: InputRecord, digest: str):
        """
        Args:
            store, keys, spec: as for `DataImages`.
            digest: SHA-256 of the images.
        """
        size, length = size_of(spec.shape), line_length(spec.shape)
        self.digest: str | None = digest
        self.height = size[0]
        self.scale = size[1] / length if length else 1.0
        self._store, self._keys = store, keys
        self._is_kept: dict[int, bool] = {}

    @classmethod
    def of(cls, store: Store, keys: PictureKeys, spec: InputRecord) -> KeptDataImages | None:
        """Return the images of the old gallery, None where it shows none."""
        digest = keys.old_text("data digest")
        if digest is None or keys.old_text("data") is None:
            return None
        return cls(store, keys, spec, digest)

    def write(self, index: int) -> bool:
        """Keep an image; return False where the old gallery has no such image."""
        if index not in self._is_kept:
            is_known = self._keys.old_text(f"caption of {index}") is not None
            self._is_kept[index] = is_known and self._store.keep(data_picture(index))
        return self._is_kept[index]

    @property
    def missing(self) -> int:
        """Number of images that were to be shown and are not in the old gallery."""
        return len(self._is_kept) - sum(self._is_kept.values())

    def caption(self, index: int) -> str:
        """Return the name of the image's class, empty without labels."""
        return self._keys.old_text(f"caption of {index}") or ""


class DataImages:
    """Writes data images as `img/data/00012.webp`, each once."""

    def __init__(
        self,
        store: Store,
        keys: PictureKeys,
        spec: InputRecord,
        images: np.ndarray,
        labels: np.ndarray | None,
        classes: list[str],
        digest: str | None = None,
    ):
        """
        Args:
            keys: what the old pictures were drawn from.
            spec: the input of the run's model.
            images: (n, h, w, bands); (n, length, bands) of lines.
            labels: (n,) or (n, 1), or tags (n, k), for captions.
            digest: SHA-256 of the images; without it all are written again.

        Raises:
            DataError: images or labels of the wrong shape.
        """
        shape = tuple(spec.shape)
        images = with_rows(with_bands(images, shape), shape)
        if images.ndim != 4:
            axes = "(n, h, w, bands)" if len(shape) == 3 else "(n, length, bands)"
            raise DataError("data_images", axes, images.shape)
        if labels is not None and len(labels) != len(images):
            raise DataError("data_labels", f"{len(images)} labels", len(labels))
        labels = None if labels is None else one_column(np.asarray(labels))
        self._images, self._labels, self._classes = images, labels, classes
        self._range = _range(images, spec)
        fits = len(spec.mean) == len(spec.std) == images.shape[-1]
        standards = (np.array(spec.mean), np.array(spec.std)) if fits else (0.0, 1.0)
        self._standards = standards if line_length(shape) else None
        size, length = size_of(spec.shape), line_length(spec.shape)
        self.digest = digest
        self.height = size[0]
        """Pixels that an image is shown high."""
        self.scale = size[1] / length if length else 1.0
        """Shown pixels an input pixel or sample."""
        self._store, self._keys = store, keys
        self._is_same = digest is not None and keys.note("data", keys.key(digest, self._range))
        if digest is not None:
            keys.add("data digest", digest)
        self._indices: set[int] = set()
        self.lossless = exact(size_of(spec.shape))

    def write(self, index: int) -> bool:
        """Write an image once; return False where there is no such image."""
        if not 0 <= index < len(self._images):
            return False
        if index not in self._indices:
            self._indices.add(index)
            name = data_picture(index)
            if not (self._is_same and self._store.keep(name)):
                self._store.write(name, self._encoded(index))
            self._keys.add(f"caption of {index}", self.caption(index))
        return True

    def _encoded(self, index: int) -> bytes:
        if self._standards is not None:
            middle, spread = self._standards
            line = plain((self._images[index].astype(np.float32) - middle) / spread)
            return webp(resized(line, FULL), False)
        low, high = self._range
        values = (self._images[index].astype(np.float32) - low) / (high - low)
        pixels = (np.clip(values, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
        limit = FULL // 2 if self.lossless else min(FULL, max(pixels.shape[:2]))
        return webp(resized(pixels, limit), self.lossless)

    def caption(self, index: int) -> str:
        """Return the name of the image's class, empty without labels."""
        if self._labels is None:
            return ""
        if self._labels.ndim == 2:
            tags = np.flatnonzero(self._labels[index]).tolist()
            return ", ".join(str(self._classes[tag]) for tag in tags if tag < len(self._classes))
        label = self._labels[index]
        if isinstance(label, int | np.integer) and 0 <= label < len(self._classes):
            return self._classes[int(label)]
        return str(label)


def _range(images: np.ndarray, spec: InputRecord) -> tuple[float, float]:
    if images.dtype == np.uint8:
        return 0.0, 255.0
    low, high = rounded(spec.low, 15), rounded(spec.high, 15)
    if low is None or high is None or not high > low:
        low, high = float(np.min(images)), float(np.max(images))
    return (low, high) if high > low else (low, low + 1.0)


_SIDE = 448
_RAMP = np.array(
    [(244, 246, 247), (176, 210, 220), (72, 152, 177), (11, 98, 125), (5, 42, 56)], np.float64
)
"""Little to much: lighter to darker, so that it reads without colour."""
_OWN = (214, 178, 120)
_UNKNOWN = (255, 255, 255)


def cluster_order(shared: np.ndarray) -> np.ndarray:
    """Return (m,) positions: maps that share much stand side by side (average-linkage clusters).

    Args:
        shared: (m, m) symmetric; NaN where unknown.
    """
    count = len(shared)
    if count < 3 or not np.isfinite(shared).any():
        return np.arange(count)
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    largest = np.nanmax(shared)
    distance = np.where(np.isfinite(shared), largest - shared, largest - np.nanmin(shared))
    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=count <= 300)
    return leaves_list(tree)


def redundancy_picture(
    redundancy: Redundancy,
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Draw the pairs by the first measure.

    Returns:
        (h, w, 3) uint8 of about 448 pixels, or one pixel a map; (m,) the maps in its order; the
        values of its lightest and its darkest tone.
    """
    shared = redundancy.shared
    order = cluster_order(shared)
    values = shared[np.ix_(order, order)]
    finite = np.isfinite(values)
    low, high = (
        (float(values[finite].min()), float(values[finite].max())) if finite.any() else (0, 0)
    )
    share = np.where(finite, (values - low) / ((high - low) or 1.0), 0.0)
    stops = np.linspace(0.0, 1.0, len(_RAMP))
    pixels = np.stack([np.interp(share, stops, _RAMP[:, band]) for band in range(3)], axis=-1)
    pixels[~finite] = _UNKNOWN
    diagonal = np.arange(len(order))
    pixels[diagonal, diagonal] = _OWN
    scale = max(1, _SIDE // max(len(order), 1))
    big = np.repeat(np.repeat(pixels, scale, axis=0), scale, axis=1)
    return (big + 0.5).astype(np.uint8), redundancy.maps[order], (low, high)
