"""Standardized images as small files: pixels of 8 bits in WebP, lossless or at a quality.

Sizes are compared with the expected ones before anything is decoded.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from oip.core.files import check_content

_LEAST_VALUES = 64 * 64 * 3
"""Values of an image up to which it is no larger as it is."""
_LONGEST = 16383
"""Pixels of a side that WebP can have."""
_LEVELS = 255
_HALF_STEP = 0.5 / _LEVELS
_COLOR_BANDS = 3
_LOSSLESS = {"lossless": True, "method": 1, "quality": 20}
_METHOD = 4
"""Of pictures at a quality; both methods were measured on OIPs of 224 pixels."""


class PackedImages(NamedTuple):
    """Images (..., h, w, b) as WebP files, one of three bands, or one for each band."""

    pictures: np.ndarray
    """(bytes,) uint8: the files, one after the other."""
    sizes: np.ndarray
    """(..., p) int64: bytes of each file."""
    ends: np.ndarray
    """(..., 2, b) float32: the values that pixels of 0 and 255 stand for; NaN for an image that is
    not finite."""

    @classmethod
    def of(
        cls,
        images: np.ndarray,
        ends: tuple[np.ndarray, np.ndarray] | None = None,
        quality: int | None = None,
        side: int | None = None,
    ) -> PackedImages:
        """Pack images; the same images give the same bytes.

        Args:
            images: (..., h, w, b) float, of a shape that `is_packed` accepts.
            ends: (b,) values of black and white, for images that stay between them; images that do
                not are kept from their own smallest to their own largest value in each band.
            quality: of WebP, 1 to 100; lossless if None.
            side: longest side; larger images are reduced to it.
        """
        lead, (height, width, bands) = images.shape[:-3], images.shape[-3:]
        files: list[bytes] = []
        every_end = []
        for image in images.reshape(-1, height, width, bands):
            low, high = _ends(image, ends)
            every_end.append((low, high))
            files += [_file(plane, quality, side) for plane in _planes(_pixels(image, low, high))]
        planes = 1 if bands == _COLOR_BANDS else bands
        return cls(
            np.frombuffer(b"".join(files), np.uint8),
            np.array([len(file) for file in files], np.int64).reshape(*lead, planes),
            np.array(every_end, np.float32).reshape(*lead, 2, bands),
        )

    def first_images(self) -> PackedImages:
        """Return the first image of each row, (m, 1, h, w, b) of (m, k, h, w, b)."""
        begins, sizes = self._begins()[:, 0, 0], self.sizes[:, :1]
        files = [
            self.pictures[begin : begin + size]
            for begin, size in zip(begins, sizes.sum((1, 2)), strict=True)
        ]
        pictures = np.concatenate(files) if files else self.pictures
        return PackedImages(pictures, sizes, self.ends[:, :1])

    def unpacked(self, shape: Sequence[int], enlarge: bool = False) -> np.ndarray:
        """Return images (..., h, w, b) as float16.

        Args:
            shape: (h, w, b).
            enlarge: images that were reduced; otherwise they are damaged.

        Raises:
            ValueError, OSError: they are damaged, of another shape (h, w, b), or too many.
        """
        height, width, bands = shape
        lead, count = self.sizes.shape[:-1], math.prod(self.sizes.shape[:-1])
        planes = 1 if bands == _COLOR_BANDS else bands
        if self.sizes.shape[-1] != planes or self.ends.shape != (*lead, 2, bands):
            raise ValueError(f"pictures of another shape than {tuple(shape)}")
        check_content(count * math.prod(shape) * np.dtype(np.float16).itemsize)
        content, begins = self.pictures.tobytes(), self._begins().reshape(-1, planes)
        sizes, ends = self.sizes.reshape(-1, planes), self.ends.reshape(-1, 2, bands)
        images = np.zeros((count, height, width, bands), np.float16)
        for row in range(count):
            files = [
                _read(content[begin : begin + size], (width, height), enlarge)
                for begin, size in zip(begins[row], sizes[row], strict=True)
            ]
            pixels = files[0] if bands == _COLOR_BANDS else np.stack([p[..., 1] for p in files], -1)
            low, high = ends[row]
            images[row] = low + pixels * ((high - low) / np.float32(_LEVELS))
        return images.reshape(*lead, height, width, bands)

    def _begins(self) -> np.ndarray:
        """Return (..., p) offsets of the files; raise a ValueError unless they fill the array."""
        sizes = self.sizes.ravel()
        if (sizes.size and sizes.min() < 0) or int(sizes.sum()) != len(self.pictures):
            raise ValueError("pictures of other sizes than are noted")
        return (np.cumsum(sizes) - sizes).reshape(self.sizes.shape)


def is_packed(shape: Sequence[int]) -> bool:
    """Return whether images of a shape get smaller: large ones (h, w, b), not lines (t, b)."""
    return len(shape) == 3 and math.prod(shape) > _LEAST_VALUES and max(shape[:2]) <= _LONGEST


def _ends(
    image: np.ndarray, ends: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the values (b,) of an image (h, w, b) that its darkest and lightest pixels have."""
    low, high = (np.asarray(getattr(image, name)((0, 1)), np.float32) for name in ("min", "max"))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return np.full_like(low, np.nan), np.full_like(high, np.nan)
    if ends is not None:
        black, white = (np.asarray(end, np.float32) for end in ends)
        room = (white - black) * _HALF_STEP
        if np.all(low > black - room) and np.all(high < white + room):
            return black, white
    return low, high


def _pixels(image: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return an image (h, w, b) as uint8 between its ends; 0 where they are one or not finite."""
    if not np.isfinite(low).all():
        return np.zeros(image.shape, np.uint8)
    span = np.where(high > low, high - low, 1.0).astype(np.float32)
    share = (image.astype(np.float32) - low) / span
    return np.rint(np.clip(share, 0.0, 1.0) * _LEVELS).astype(np.uint8)


def _planes(pixels: np.ndarray) -> list[np.ndarray]:
    """Return (h, w, b) as pictures: one of three bands, or one (h, w) for each band."""
    if pixels.shape[-1] == _COLOR_BANDS:
        return [pixels]
    return [np.ascontiguousarray(pixels[..., band]) for band in range(pixels.shape[-1])]


def _file(plane: np.ndarray, quality: int | None, side: int | None) -> bytes:
    from PIL import Image

    picture = Image.fromarray(plane)
    if side is not None and side < max(picture.size):
        factor = side / max(picture.size)
        sizes = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        picture = picture.resize(sizes, Image.Resampling.LANCZOS)
    options = _LOSSLESS if quality is None else {"quality": quality, "method": _METHOD}
    stream = io.BytesIO()
    picture.save(stream, "WEBP", **options)
    return stream.getvalue()


def _read(content: bytes, size: tuple[int, int], enlarge: bool) -> np.ndarray:
    """Return the pixels (h, w, 3) of a file of (w, h) pixels, or of fewer that are enlarged."""
    from PIL import Image

    total_size = _size(content)
    if total_size != size and (not enlarge or total_size[0] > size[0] or total_size[1] > size[1]):
        raise ValueError(f"a picture of {total_size} pixels, not {size}")
    stream = io.BytesIO(content)
    with Image.open(stream, formats=("WEBP",)) as picture:
        colors = picture.convert("RGB")
    if colors.size != total_size:
        raise ValueError(f"a picture of {colors.size} pixels, not {total_size}")
    return np.asarray(
        colors if total_size == size else colors.resize(size, Image.Resampling.BICUBIC)
    )


def _size(content: bytes) -> tuple[int, int]:
    """Return (width, height) from the head of a WebP file of one picture (RFC 9649)."""
    kind = content[12:16]
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP" and len(content) >= 30:
        if kind == b"VP8L":
            bits = int.from_bytes(content[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        if kind == b"VP8 ":
            sides = (int.from_bytes(content[at : at + 2], "little") for at in (26, 28))
            width, height = (side & 0x3FFF for side in sides)
            return width, height
    raise ValueError("not a picture in WebP")
