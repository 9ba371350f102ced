"""Renderings of images in standardized pixels.

Two documented renderings of an OIP: `plain` maps its own minimum to black and maximum to white;
`enhanced` does the same with the 2nd and 98th percentile, one stretch for all bands.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.core.files import check_regular

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
"""Formats of pillow that are read, whatever a file's name; others, such as EPS, run programs."""
_COLOR_BANDS = 3
_OUTSIDE = 0.004
"""Share of the range that rounding puts pixels outside it."""
_GRAY, _OPAQUE = 128.0, 1.5
"""Behind what counts little in a picture; a mask shows all of what has two thirds of its top."""
_CAFFE_MEAN = np.array([103.939, 116.779, 123.68])
_TORCH_MEAN, _TORCH_STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
STRETCH = (2.0, 98.0)
"""Percentiles of the contrast-enhanced rendering."""


def plain(image: np.ndarray) -> np.ndarray:
    """Return (..., h, w, bands), or (w, bands) of lines, as uint8 of the same shape, full range."""
    return _stretched(image, 0.0, 100.0)


def enhanced(image: np.ndarray) -> np.ndarray:
    """Return the same from the 2nd to the 98th percentile."""
    return _stretched(image, *STRETCH)


def _stretched(image: np.ndarray, low: float, high: float) -> np.ndarray:
    values = np.nan_to_num(np.asarray(image, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    axes = tuple(range(max(0, values.ndim - 3), values.ndim))
    bottom, top = np.percentile(values, [low, high], axis=axes, keepdims=True)
    span = np.where(top > bottom, top - bottom, 1.0)
    flat = np.where(top > bottom, (values - bottom) / span, 0.5)
    return (np.clip(flat, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def picture_ends(
    mean: np.ndarray,
    std: np.ndarray,
    bgr: bool = False,
    low: float = float("nan"),
    high: float = float("nan"),
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return black and white of an input, each (bands,) in its units; None where nobody knows.

    For color images the mean and the deviation say what pixels the model takes: 0 to 255, 0 to 1,
    -1 to 1, or what `keras.applications` makes of them.

    Args:
        mean, std: (bands,) of the input.
        bgr: the bands are blue, green, red.
        low, high: the range of plain pixels, where it is known.
    """
    color = len(mean) == _COLOR_BANDS
    if color and bgr and np.all(np.abs(mean) < 1.0) and np.all((std > 40.0) & (std < 80.0)):
        return -_CAFFE_MEAN, 255.0 - _CAFFE_MEAN
    if color and np.all(np.abs(mean) < 0.3) and np.all((std > 0.7) & (std < 1.3)):
        return -_TORCH_MEAN / _TORCH_STD, (1.0 - _TORCH_MEAN) / _TORCH_STD
    if np.isfinite([low, high]).all():
        return np.full(len(mean), low), np.full(len(mean), high)
    for bottom, top in ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0)) if color else ():
        center, spread = (mean - bottom) / (top - bottom), std / (top - bottom)
        if np.all((center > 0.2) & (center < 0.8) & (spread > 0.1) & (spread < 0.4)):
            return np.full(len(mean), bottom), np.full(len(mean), top)
    return None


def true_colors(
    image: np.ndarray, mean: np.ndarray, std: np.ndarray, bgr: bool = False
) -> np.ndarray | None:
    """Return standardized color images as the pictures that they are, uint8 of the same shape.

    None for images of other bands, or with pixels outside the range that pictures have.

    Args:
        image: (..., h, w, 3).
        mean, std, bgr: of the input, as for `picture_ends`.
    """
    ends = picture_ends(mean, std, bgr) if np.shape(image)[-1] == _COLOR_BANDS else None
    if ends is None:
        return None
    low, high = ends
    share = (np.asarray(image, np.float32) * std + mean - low) / (high - low)
    if not (share.min() > -_OUTSIDE and share.max() < 1.0 + _OUTSIDE):
        return None
    return (np.clip(share, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def stretches(
    image: np.ndarray, mean: np.ndarray, std: np.ndarray, bgr: bool = False
) -> np.ndarray:
    """Return what makes a picture `enhanced`: slope and intercept of each band, (2, b).

    The picture is the image in its true colors, or `plain` without them; its pixels are from 0 to
    1, and are cut to this range afterwards.

    Args:
        image: (h, w, b), standardized.
        mean, std, bgr: of the input, as for `picture_ends`.
    """
    values = np.asarray(image, np.float32)
    low, high = np.percentile(values, STRETCH)
    if true_colors(image, mean, std, bgr) is None:
        black, white = np.full(len(mean), values.min()), np.full(len(mean), values.max())
    else:
        black, white = ((end - mean) / std for end in picture_ends(mean, std, bgr) or (mean, std))
    if not high > low:
        return np.stack([np.zeros(len(mean)), np.full(len(mean), 0.5)])
    return np.stack([white - black, black - low]) / (high - low)


def faded(pictures: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return pictures (..., h, w, bands) uint8 with gray where a mask (..., h, w) uint8 is low.

    The mask is blurred by a hundredth of the sides.
    """
    from scipy.ndimage import gaussian_filter

    sigma = (*(0,) * (alpha.ndim - 2), *(side / 100 for side in alpha.shape[-2:]))
    share = gaussian_filter(alpha.astype(np.float32), sigma)
    top = share.max(axis=(-2, -1), keepdims=True)
    share = np.clip(_OPAQUE * share / np.where(top > 0, top, 1.0), 0.0, 1.0)[..., None]
    return (_GRAY + (pictures - _GRAY) * share + 0.5).astype(np.uint8)


def shown(image: np.ndarray) -> np.ndarray:
    """Return (h, w, bands) uint8 as pillow takes it: (h, w) for one band, RGB for two and more.

    Two bands show as red and green, more than three by their first three; a line (w, bands) as one
    row.
    """
    image = image[None] if image.ndim == 2 else image
    if image.shape[-1] == 1:
        return image[..., 0]
    if image.shape[-1] == 2:
        return np.concatenate([image, np.zeros_like(image[..., :1])], axis=-1)
    return image[..., :3]


def is_whole_picture(path: Path) -> bool:
    """Return whether a PNG is there and its checksums are right."""
    try:
        with open_picture(path) as picture:
            picture.verify()
    except (OSError, SyntaxError, ValueError):  # a broken PNG is a SyntaxError to Pillow
        return False
    return True


def png(image: np.ndarray, size: int | None = None) -> bytes:
    """Return the PNG of a (h, w, bands) uint8 image, enlarged to a longer side of `size`."""
    from PIL import Image

    picture = Image.fromarray(shown(image))
    if size is not None:
        picture = scaled_to(picture, size)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def scaled_to(picture: Picture, size: int) -> Picture:
    """Return a picture enlarged or reduced to a longer side of `size`."""
    from PIL import Image

    factor = size / max(picture.size)
    sides = [max(1, round(side * factor)) for side in picture.size]
    kind = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS
    return picture.resize(sides, kind)


def open_picture(path: Path) -> Picture:
    """Open an image file of one of the `FORMATS`; its pixels are not yet read.

    Raises:
        OSError: no such file, not a plain one, or none of these formats; decoders raise others.
    """
    from PIL import Image

    check_regular(path)
    return Image.open(path, formats=FORMATS)


def plain_range(images: np.ndarray) -> tuple[float, float]:
    """Return the range that pixels are meant to have: 0 to 255, 0 to 1, or their own.

    Args:
        images: numbers of any shape, at least one.
    """
    if images.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(images.min()), float(images.max())
    if low >= 0.0 and high <= 1.0:
        return 0.0, 1.0
    if low >= 0.0 and high <= 255.0:
        return 0.0, 255.0
    return low, high
