"""Image files on disk: folders named by class, or a table of paths and labels."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.core.errors import DataError
from oip.models.datasets import Dataset, dataset, split

if TYPE_CHECKING:
    from PIL import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_GRAY = ("1", "L", "LA")
_EIGHT_BIT = (*_GRAY, "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
_MODES = {1: "L", 3: "RGB"}


def is_picture(path: Path) -> bool:
    """Return whether a file name is that of an image that is not hidden."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")


def read_pictures(
    paths: list[Path], source: str, size: tuple[int, int] | None, bands: int | None
) -> np.ndarray:
    """Return images as (n, h, w, bands) uint8, reading one file at a time.

    Args:
        size: (h, w) to resize to (bilinear); without it all files must have one size.
        bands: 1 or 3; without it 1 if every file is grey and 3 otherwise.

    Raises:
        DataError: a file that is missing, damaged, of more than 8 bits, or of another size.
    """
    if bands is not None and bands not in _MODES:
        raise DataError(f"{source}: bands of image files", "1 or 3", bands)
    gray, first_size = True, None
    for path in paths:
        with _opened(path) as picture:
            mode, size_here = picture.mode, (picture.height, picture.width)
        if mode not in _EIGHT_BIT:
            raise DataError(f"'{path.name}'", "an image of 8 bits", f"mode {mode}")
        gray = gray and mode in _GRAY
        first_size = size_here if first_size is None else first_size
        if size is None and size_here != first_size:
            raise DataError(
                f"{source}: sizes",
                f"{_text(first_size)} as of '{paths[0].name}'",
                f"{_text(size_here)} of '{path.name}'",
                "Ask for one size, or bring the files to one size.",
            )
    goal = size if size is not None else first_size
    if goal is None:
        raise DataError(source, "at least one image file", "none")
    count = bands if bands is not None else (1 if gray else 3)
    images = np.empty((len(paths), *goal, count), np.uint8)
    for index, path in enumerate(paths):
        images[index] = _decoded(path, goal, count)
    return images


def _decoded(path: Path, size: tuple[int, int], bands: int) -> np.ndarray:
    from PIL import Image

    with _opened(path) as picture:
        try:
            plain = picture.convert(_MODES[bands])
        except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error
            raise DataError(f"'{path.name}'", "a whole image file", error) from error
    if (plain.height, plain.width) != size:
        plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(plain).reshape(*size, bands)


def _opened(path: Path) -> Image.Image:
    from PIL import Image

    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise DataError(f"'{path.name}'", "an image file", "no such file") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error
        raise DataError(
            f"'{path.name}'", "an image file", "something else, or a damaged one"
        ) from error


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


_PARTS = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation")}
"""Names of the folders of a part, in any case; the first one that exists is used."""
TABLES = ("hasy-data-labels.csv",)
"""Names of tables in the folder of a data set."""


def load_class_folders(
    folder: Path,
    part: str | None,
    source: str,
    size: tuple[int, int] | None = None,
    bands: int | None = None,
) -> Dataset:
    """Load images of `folder/CLASS/*.png`, or of `folder/train/CLASS` and `folder/test/CLASS`.

    The parts' folders may also be called `Training` and `Test`, as in Fruits 360; without a test
    folder, `val` is the test part, as in Imagenette. Classes are the sorted names of the folders
    of both parts. A folder that holds image files itself has no labels. Without folders of parts,
    a part is a fixed, stratified share (`datasets.split`). Without a part, images are in the order
    of classes and names.

    Raises:
        DataError: no images, or images that do not fit together.
    """
    parts = _part_folders(folder)
    own_parts = len(parts) == len(_PARTS)
    every_root = list(parts.values()) if own_parts else [folder]
    roots = every_root if part is None or not own_parts else [parts[part]]
    folders = [path for root in every_root for path in root.iterdir() if _pictures(path)]
    classes = tuple(sorted({path.name for path in folders}))
    paths: list[Path] = []
    labels: list[int] = []
    for root in roots:
        for label, name in enumerate(classes):
            pictures = _pictures(root / name)
            paths += pictures
            labels += [label] * len(pictures)
    codes: np.ndarray | None = np.array(labels, np.int64)
    if not classes and not own_parts:
        paths, codes = _pictures(folder), None
    if not paths:
        hint = "Put image files into one folder for each class."
        raise DataError(source, "image files in folders", "none", hint)
    if part is not None and not own_parts:
        paths, codes = _part(paths, codes, part, source)
    return dataset(read_pictures(paths, source, size, bands), codes, classes, source)


def load_table(
    table: Path,
    part: str | None,
    source: str,
    size: tuple[int, int] | None = None,
    bands: int | None = None,
) -> Dataset:
    """Load images of a CSV file of paths and labels; relative paths count from its folder.

    The columns are those named `path` and `label`, else the first other ones (in the table of
    HASYv2, `symbol_id` is the label). A first row whose path is a file is not a header. Labels are
    names; the classes are sorted, by value if all are whole numbers.

    Raises:
        DataError: not such a table, or images that are missing or do not fit together.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(source, "a CSV file in UTF-8", error) from error
    if not rows:
        raise DataError(source, "rows of a path and a label", "an empty file")
    path_column, label_column = 0, 1
    if not (table.parent / rows[0][0]).is_file():
        path_column, label_column = _columns(rows.pop(0))
    least = max(path_column, label_column) + 1
    for number, row in enumerate(rows, 1):
        if len(row) < least:
            row_name = f"{source}: row {number} of the data"
            raise DataError(row_name, f"{least} columns and more", len(row))
    if not rows:
        raise DataError(source, "rows of a path and a label", "a header only")
    paths = [table.parent / row[path_column] for row in rows]
    names = [row[label_column].strip() for row in rows]
    classes = _sorted_names(names)
    number_of = {name: label for label, name in enumerate(classes)}
    labels: np.ndarray | None = np.array([number_of[name] for name in names], np.int64)
    if part is not None:
        paths, labels = _part(paths, labels, part, source)
    return dataset(read_pictures(paths, source, size, bands), labels, classes, source)


def _part_folders(folder: Path) -> dict[str, Path]:
    """Return the folders of the parts that exist; a name in lower case goes before others."""
    folders = {}
    for part, names in _PARTS.items():
        fitting = [path for path in folder.iterdir() if path.name.lower() in names]
        fitting = [path for path in fitting if path.is_dir()]
        if fitting:
            order = [(names.index(p.name.lower()), p.name.lower() != p.name, p) for p in fitting]
            folders[part] = min(order)[-1]
    return folders


def _part(
    paths: list[Path], labels: np.ndarray | None, part: str, source: str
) -> tuple[list[Path], np.ndarray | None]:
    indices = split(labels, len(paths), part)
    if not len(indices):
        raise DataError(f"{source}: images to split", "2 or more a class", len(paths))
    return [paths[index] for index in indices], None if labels is None else labels[indices]


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if is_picture(path))


def _columns(header: list[str]) -> tuple[int, int]:
    names = [name.strip().lower() for name in header]
    path = names.index("path") if "path" in names else 0
    rest = [column for column in range(len(names)) if column != path]
    return path, names.index("label") if "label" in names else (rest[0] if rest else path + 1)


def _sorted_names(names: list[str]) -> tuple[str, ...]:
    different = set(names)
    if all(name.lstrip("-").isdecimal() for name in different):
        return tuple(sorted(different, key=int))
    return tuple(sorted(different))
