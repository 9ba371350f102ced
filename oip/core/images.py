"""Renderings of images in standardized pixels, and how keras.applications prepares images.

Two documented renderings of an OIP: `plain` maps its own minimum to black and maximum to white;
`enhanced` does the same with the 2nd and 98th percentile, one stretch for all bands. A line of
numbers, (length, bands), is drawn as one: time from left to right, a color for each band.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from oip.core.files import check_regular
from oip.core.plots import PALETTE

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
LINE_SIZE = (280, 420)
"""(h, w) of the drawing of a line, in pixels."""
_GROUND, _AXIS, _INK = 255.0, 176, (70, 76, 82)
_LETTERS = 200
"""Least width of a drawing with numbers on its axis."""
_OVERLAID, _LANES = 8, 32
"""Most bands that share one axis, and that have lanes of their own; more are shown as an image."""
_AT_ONCE = 16 << 20
"""Bytes in float64 of the pictures that are made an input together."""
_BAND_COLORS = [tuple(int(color[k : k + 2], 16) for k in (1, 3, 5)) for color in PALETTE]


Preprocess = Literal["caffe", "torch", "tf"]
APPLICATIONS: dict[Preprocess, tuple[str, ...]] = {
    "caffe": ("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152"),
    "torch": ("DenseNet121", "DenseNet169", "DenseNet201"),
    "tf": (
        *("InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2", "NASNetLarge"),
        *("NASNetMobile", "ResNet50V2", "ResNet101V2", "ResNet152V2", "Xception"),
    ),
}
"""Preparation of images for each application; the others prepare them in their own layers."""


class Preprocessing(NamedTuple):
    """Statistics of images after `keras.applications` preprocessed them."""

    std: tuple[float, float, float]
    low: float
    high: float


PREPROCESS = {
    "caffe": Preprocessing((57.4, 57.1, 58.4), -123.68, 151.061),
    "torch": Preprocessing((1.0, 1.0, 1.0), -2.118, 2.64),
    "tf": Preprocessing((0.5, 0.5, 0.5), -1.0, 1.0),
}


def preprocess_hint(application: str | None) -> str:
    """Return how to name an application's preparation on the command line; empty for None."""
    kind = preprocess_of(application)
    return "" if kind is None else f"For {application} of keras.applications: --preprocess {kind}."


def preprocess_in(source: str) -> str | None:
    """Return the preparation that the source of an input's statistics names; None for others."""
    return source.removeprefix("preprocess ") if source.startswith("preprocess ") else None


def preprocess_of(application: str | None) -> Preprocess | None:
    """Return `caffe`, `torch` or `tf`; None where an application has its own preprocessing."""
    return next((kind for kind, names in APPLICATIONS.items() if application in names), None)


def application_of(models: Iterable[str]) -> str | None:
    """Return the network of keras.applications that the first such name of a model is of.

    The name of such a network may end in numbers: `mobilenetv2_1.00_224`.
    """
    spellings = {name.lower(): name for names in APPLICATIONS.values() for name in names}
    for model in models:
        plain = re.sub("[^a-z0-9]", "", model.lower())
        fitting = [name for name in spellings if re.fullmatch(rf"{name}\d*", plain)]
        if fitting:
            return spellings[max(fitting, key=len)]
    return None


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


def as_input(
    pictures: np.ndarray, black: np.ndarray, white: np.ndarray, bgr: bool = False
) -> np.ndarray:
    """Return pictures of 0 to 255 (..., bands) in the units of an input, float32.

    Args:
        black, white, bgr: (bands,) of the input, as `picture_ends` returns them.
    """
    result = np.empty(pictures.shape, np.float32)
    for rows in batches_of(pictures, _AT_ONCE):
        part = pictures[rows]
        share = (part[..., ::-1] if bgr else part) / np.float32(255)
        result[rows] = black + (white - black) * share
    return result


def batches_of(images: np.ndarray, byte_budget: int = 128 << 20) -> Iterator[slice]:
    """Yield the rows of images (n, ...), as many at a time as fit the budget in float64."""
    step = int(np.clip(byte_budget // max(8 * images[:1].size, 1), 1, 1024))
    return (slice(begin, begin + step) for begin in range(0, len(images), step))


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


def is_line(image: np.ndarray) -> bool:
    """Return whether an image is a line of numbers: (length, bands), or (1, length, bands)."""
    return image.ndim == 2 or (image.shape[0] == 1 and image.shape[1] > 1)


def line_picture(
    line: np.ndarray, width: int = LINE_SIZE[1], has_letters: bool = True
) -> np.ndarray:
    """Draw a line of numbers, time from left to right; sample t is at (t + 0.5) / length.

    Args:
        line: (length, bands) or (1, length, bands), numbers of any kind, drawn from the lowest to
            the largest. Up to 8 bands share an axis, each in a color of `PALETTE`; up to 32 have
            lanes of their own below each other; more are shown as gray, the first band above.
        width: in pixels; the height has the proportion of `LINE_SIZE`.
        has_letters: write the numbers of the samples below the axis, where there is room.

    Returns:
        (h, w, 3) uint8.
    """
    values = np.nan_to_num(np.asarray(line, np.float32)).reshape(-1, line.shape[-1])
    length, bands = values.shape
    height = max(8, round(width * LINE_SIZE[0] / LINE_SIZE[1]))
    has_letters = has_letters and width >= _LETTERS
    base = height - round(width / 15 if has_letters else max(3, width / 80))  # row of the axis
    low, high = float(values.min()), float(values.max())
    shares = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
    canvas = np.full((height, width, 3), _GROUND, np.float32)
    if bands > _LANES:
        rows = np.arange(base) * bands // base
        columns = np.arange(width) * length // width
        canvas[:base] = 255.0 * shares[columns][:, rows].T[..., None]
    else:
        lanes = 1 if bands <= _OVERLAID else bands
        tall, stroke = base / lanes, max(1.3, width / 120)
        for band in range(bands):
            top = tall * (band if lanes > 1 else 0)
            heights = top + 0.06 * tall + 0.88 * tall * (1.0 - shares[:, band])
            cover = _stroke_cover(heights, width, base, min(stroke, tall / 3))[..., None]
            color = (11, 106, 134) if bands == 1 or lanes > 1 else _BAND_COLORS[band]
            top_row = int(max(0, heights.min() - stroke))
            lane = canvas[top_row : min(base, int(heights.max() + stroke) + 1)]
            lane += cover[top_row : top_row + len(lane)] * (np.array(color, np.float32) - lane)
    picture = (canvas + 0.5).astype(np.uint8)
    picture[base] = _AXIS
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        picture[base : base + max(3, round(width / 100)), round(share * (width - 1))] = _AXIS
    return _write_numbers(picture, length, base) if has_letters else picture


def _stroke_cover(heights: np.ndarray, width: int, tall: int, stroke: float) -> np.ndarray:
    """Return how much of each pixel a line covers, (tall, width) from 0 to 1.

    Args:
        heights: (length,) of the samples, in pixels from above.
    """
    length = len(heights)
    fine = 4 * max(1, -(-length // width))  # points a column, so that no sample falls between two
    at = (np.arange(width * fine + 1) / fine) * length / width - 0.5
    points = np.interp(at, np.arange(length), heights).astype(np.float32)
    columns = np.lib.stride_tricks.sliding_window_view(points, fine + 1)[::fine]
    top, bottom = columns.min(axis=1) - stroke / 2, columns.max(axis=1) + stroke / 2
    row = np.arange(tall, dtype=np.float32)[:, None]
    return np.clip(np.minimum(bottom, row + 1) - np.maximum(top, row), 0.0, 1.0)


def _write_numbers(picture: np.ndarray, length: int, base: int) -> np.ndarray:
    """Write the numbers of the first, middle and last sample below the axis."""
    from PIL import Image, ImageDraw, ImageFont

    image, width = Image.fromarray(picture), picture.shape[1]
    draw = ImageDraw.Draw(image)
    draw.font = ImageFont.load_default(width / 25)
    last = f"{length - 1} samples"
    for share, text in ((0.0, "0"), (0.5, str(length // 2)), (1.0, last)):
        left = share * (width - draw.textlength(text))
        draw.text((left, base + width / 100), text, fill=_INK)
    return np.asarray(image)


def displayable(image: np.ndarray) -> np.ndarray:
    """Return (h, w, bands) uint8 as pillow takes it: (h, w) for one band, RGB for two and more.

    Two bands show as red and green, more than three by their first three. A line, (length, bands)
    or (1, length, bands), is drawn by `line_picture`.
    """
    if is_line(image):
        return line_picture(image)
    if image.shape[-1] == 1:
        return image[..., 0]
    if image.shape[-1] == 2:
        return np.concatenate([image, np.zeros_like(image[..., :1])], axis=-1)
    return image[..., :3]


def picture_of(image: np.ndarray, size: int | None = None) -> Picture:
    """Return (h, w, bands) uint8 as a pillow image, resized to a longer side of `size`."""
    from PIL import Image

    if is_line(image):
        return Image.fromarray(line_picture(image, size or LINE_SIZE[1]))
    picture = Image.fromarray(displayable(image))
    return picture if size is None else scaled_to(picture, size)


def is_whole_picture(path: Path) -> bool:
    """Return whether a PNG exists and its checksums are right."""
    try:
        with open_picture(path) as picture:
            picture.verify()
    except (OSError, SyntaxError, ValueError):  # a broken PNG is a SyntaxError to Pillow
        return False
    return True


def png(image: np.ndarray, size: int | None = None) -> bytes:
    """Return the PNG of a (h, w, bands) uint8 image, enlarged to a longer side of `size`."""
    stream = io.BytesIO()
    picture_of(image, size).save(stream, "PNG", optimize=True)
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
