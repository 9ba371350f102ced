"""Image files read into one array, at one size and with one number of bands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from oip.core.errors import DataError, expected

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_GREY = ("1", "L", "LA")
_EIGHT_BIT = (*_GREY, "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
_MODES = {1: "L", 3: "RGB"}


def is_picture(path: Path) -> bool:
    """Whether a file's name is that of an image, and not a hidden one."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")


def read_pictures(
    paths: list[Path], source: str, size: tuple[int, int] | None, bands: int | None
) -> np.ndarray:
    """Images as (n, h, w, bands) uint8; no more than one is held beside the result.

    Args:
        paths: the files, at least one.
        source: what to call them in messages.
        size: (h, w) to resize to (bilinear); without it all files must have one size.
        bands: 1 or 3; without it 1 if every file is grey and 3 otherwise.

    Raises:
        DataError: a file that is missing, damaged, of more than 8 bits, or of another size.
    """
    if bands is not None and bands not in _MODES:
        raise DataError(expected(f"{source}: bands of image files", "1 or 3", bands))
    grey, first_size = True, None
    for path in paths:
        with _opened(path) as picture:
            mode, found = picture.mode, (picture.height, picture.width)
        if mode not in _EIGHT_BIT:
            raise DataError(expected(f"'{path.name}'", "an image of 8 bits", f"mode {mode}"))
        grey = grey and mode in _GREY
        first_size = found if first_size is None else first_size
        if size is None and found != first_size:
            raise DataError(
                expected(
                    f"{source}: sizes",
                    f"{_text(first_size)} as of '{paths[0].name}'",
                    f"{_text(found)} of '{path.name}'",
                    "Ask for one size, or bring the files to one size.",
                )
            )
    goal = size if size is not None else first_size
    if goal is None:
        raise DataError(expected(source, "at least one image file", "none"))
    wanted = bands if bands is not None else (1 if grey else 3)
    images = np.empty((len(paths), *goal, wanted), np.uint8)
    for index, path in enumerate(paths):
        images[index] = _decoded(path, goal, wanted)
    return images


def _decoded(path: Path, size: tuple[int, int], bands: int) -> np.ndarray:
    from PIL import Image

    with _opened(path) as picture:
        try:
            plain = picture.convert(_MODES[bands])
        except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error
            raise DataError(expected(f"'{path.name}'", "a whole image file", error)) from error
    if (plain.height, plain.width) != size:
        plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(plain).reshape(*size, bands)


def _opened(path: Path) -> Any:
    from PIL import Image

    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise DataError(expected(f"'{path.name}'", "an image file", "no such file")) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error
        raise DataError(
            expected(f"'{path.name}'", "an image file", "something else, or a damaged one")
        ) from error


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
