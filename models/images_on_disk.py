"""Image files on disk: folders named by class, or a table of paths and labels."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.core.errors import DataError, notice
from oip.core.files import RefusedFile, check_regular
from oip.core.images import FORMATS, open_picture
from oip.models.datasets import (
    RESIZES,
    Dataset,
    ModelShape,
    brought_to,
    check_room,
    dataset,
    sorted_names,
    split,
    warn_of_sizes,
)

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_GRAY = ("1", "L", "LA")
_EIGHT_BIT = (*_GRAY, "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
_MODES = {1: "L", 3: "RGB"}
_FEW = 5
"""Names that a notice lists."""


@dataclass(frozen=True)
class Sizing:
    """The size that images are brought to, and how."""

    size: tuple[int, int] | None = None
    """(h, w); without it all files must have one size."""
    bands: int | None = None
    """1 or 3; without it 1 if every file is gray and 3 otherwise."""
    resize: str | None = None
    """One of `RESIZES`; None is `crop` for files, and leaves arrays as they are for a model."""
    model_shape: ModelShape | None = None
    """Returns the (h, w, bands) of a model's input, given those of the images, None where their
    sizes differ."""
    as_shown: bool = False
    """Turn pictures as their EXIF says, and lay transparent ones on white, as viewers do; Keras
    does neither where it reads data."""


def read_pictures(
    paths: list[Path], source: str, sizing: Sizing = Sizing()
) -> tuple[np.ndarray, str | None]:
    """Read images as (n, h, w, bands) uint8, one file at a time.

    Returns:
        The images, and the way (one of `RESIZES`) in which some were brought to a model's size;
        None if all had it, or there is no model.

    Raises:
        DataError: a file that is missing, damaged, of more than 8 bits, or of another size; all
            those that cannot be read are named at once.
    """
    if sizing.bands is not None and sizing.bands not in _MODES:
        raise DataError(f"{source}: bands of image files", "1 or 3", sizing.bands)
    with_folder = len({path.parent for path in paths}) > 1  # files can have the same name
    sizes, are_gray = _sizes_and_color(paths, with_folder)
    if not paths:
        raise DataError(source, "at least one image file", "none")
    size, bands = _target_shape(paths, sizes, are_gray, source, sizing)
    resize = sizing.resize or RESIZES[0]
    check_room(source, (len(paths), *size, bands))
    images = np.empty((len(paths), *size, bands), np.uint8)
    unreadable = _Unreadable()
    for index, path in enumerate(paths):
        with unreadable.collected(_file_label(path, with_folder)):
            images[index] = _decoded(path, size, bands, resize, sizing.as_shown, with_folder)
    unreadable.check()
    changed = sum(file_size != size for file_size in sizes)
    if not changed:
        return images, None
    for_model = sizing.model_shape is not None
    shown_size = f"the model's {_text(size)}" if for_model else _text(size)
    warn_of_sizes(source, changed, len(paths), shown_size, resize)
    return images, resize if for_model else None


def _sizes_and_color(paths: list[Path], with_folder: bool) -> tuple[list[tuple[int, int]], bool]:
    """Return the (h, w) of each file, and whether all are gray; pixels are not read.

    Raises:
        DataError: files that cannot be read, or have more than 8 bits; all are named at once.
    """
    sizes: list[tuple[int, int]] = []
    are_gray = True
    unreadable = _Unreadable()
    for path in paths:
        name = _file_label(path, with_folder)
        with unreadable.collected(name):
            with _opened(path, with_folder) as picture:
                mode = picture.mode
                sizes.append((picture.height, picture.width))
            if mode not in _EIGHT_BIT:
                hint = "Save it with 8 bits a band."
                raise DataError(name, "an image of 8 bits", f"mode {mode}", hint)
            are_gray = are_gray and mode in _GRAY
    unreadable.check()
    return sizes, are_gray


def _target_shape(
    paths: list[Path],
    sizes: list[tuple[int, int]],
    are_gray: bool,
    source: str,
    sizing: Sizing,
) -> tuple[tuple[int, int], int]:
    """Return the (h, w) and the bands that all images are brought to.

    Raises:
        DataError: files of several sizes, and none that they are to have.
    """
    odd_index = next((index for index, size in enumerate(sizes) if size != sizes[0]), None)
    bands = sizing.bands or (1 if are_gray else 3)
    if sizing.size is not None:
        return sizing.size, bands
    size = sizes[0] if odd_index is None else None
    if sizing.model_shape is not None:
        shape = sizing.model_shape(None if size is None else (*size, bands))
        if len(shape) == 3:
            size = (shape[0], shape[1])
            bands = shape[2] if shape[2] in _MODES else bands
    if size is None:
        raise DataError(
            f"{source}: sizes",
            f"{_text(sizes[0])} as of '{paths[0].name}'",
            f"{_text(sizes[odd_index or 0])} of '{paths[odd_index or 0].name}'",
            "Ask for one size: size=(h, w).",
        )
    return size, bands


class _Unreadable:
    """Files that cannot be read, which are all looked at before the first one's error is raised."""

    def __init__(self) -> None:
        self._errors: dict[str, DataError] = {}

    @contextmanager
    def collected(self, name: str) -> Iterator[None]:
        """Keep the error of a file of this name."""
        try:
            yield
        except DataError as error:
            self._errors[name] = error

    def check(self) -> None:
        """Raise the first file's error, with the names of the others."""
        if not self._errors:
            return
        (_, error), *further = self._errors.items()
        if not further:
            raise error
        names = ", ".join(name for name, _ in further[:_FEW])
        names += ", ..." * (len(further) > _FEW)
        raise DataError(f"{error} Nor can {len(further)} more be used: {names}.") from error


def _decoded(
    path: Path,
    size: tuple[int, int],
    bands: int,
    resize: str,
    as_shown: bool,
    with_folder: bool,
) -> np.ndarray:
    from PIL import Image, ImageOps

    with _opened(path, with_folder) as picture:
        try:
            upright = _flattened(ImageOps.exif_transpose(picture)) if as_shown else picture
            plain = upright.convert(_MODES[bands])
        except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error
            raise DataError(_file_label(path, with_folder), "a whole image file", error) from error
    plain = brought_to(plain, size, resize, Image.Resampling.BILINEAR)
    return np.asarray(plain).reshape(*size, bands)


def _flattened(picture: Picture) -> Picture:
    if not picture.has_transparency_data:
        return picture
    from PIL import Image

    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)


def _opened(path: Path, with_folder: bool) -> Picture:
    subject, reason = _file_label(path, with_folder), "something else, or a damaged one"
    try:
        return open_picture(path)
    except FileNotFoundError as error:
        raise DataError(subject, "an image file", "no such file") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error
        is_clear = isinstance(error, RefusedFile) or "decompression bomb" in str(error)
        formats = f"an image file ({', '.join(FORMATS)})"
        raise DataError(subject, formats, error if is_clear else reason) from error


def _file_label(path: Path, with_folder: bool) -> str:
    """Return how a message names a file, with its folder if there are files of several."""
    return f"'{Path(path.parent.name, path.name)}'" if with_folder else f"'{path.name}'"


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


_PARTS = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation")}
"""Names of the folders of a part, in any case; the first one that exists is used."""
TABLES = ("hasy-data-labels.csv",)
"""Names of tables in the folder of a data set."""


def load_class_folders(
    folder: Path, part: str | None, source: str, sizing: Sizing = Sizing()
) -> Dataset:
    """Load images of `folder/CLASS/*.png`, or of `folder/train/CLASS` and `folder/test/CLASS`.

    The parts' folders may also be called `Training` and `Test`, as in Fruits 360; without a test
    folder, `val` is the test part, as in Imagenette. Classes and images are those of
    `keras.utils.image_dataset_from_directory`: each folder is a class, in the order of the sorted
    names, also without an image; images may lie in folders inside it. Classes that the test folder
    alone has come last. Hidden files and folders are left out; a notice names everything that was.
    A folder without class folders has no labels. Without folders of parts, or with the class
    folders in one such folder alone, a part is a fixed, stratified share (`datasets.split`).

    Raises:
        DataError: no images, or images that do not fit together.
    """
    folders_of_parts = _part_folders(folder)
    own_parts = len(folders_of_parts) == len(_PARTS)
    if len(folders_of_parts) == 1:
        (only,) = folders_of_parts.values()
        folder = only if _class_names(folder) == [only.name] and _class_names(only) else folder
    every_root = list(folders_of_parts.values()) if own_parts else [folder]
    roots = every_root if part is None or not own_parts else [folders_of_parts[part]]
    left_out: list[str] = []
    names = [name for root in every_root for name in _class_names(root)]
    classes = tuple(dict.fromkeys(names))
    paths: list[Path] = []
    labels: list[int] = []
    for root in roots:
        for label, name in enumerate(classes):
            pictures = _pictures(root / name, left_out)
            paths += pictures
            labels += [label] * len(pictures)
    codes: np.ndarray | None = np.array(labels, np.int64)
    if not paths and not own_parts:
        paths, codes, classes = _pictures(folder, left_out, deep=False), None, ()
    if not paths:
        hint = "Put image files into one folder for each class."
        raise DataError(source, "image files in folders", "none", hint)
    if codes is not None:
        for root in roots:  # beside the class folders
            left_out += [path.name for path in _pictures(root, left_out, deep=False)]
    present = set(labels)
    empty = [name for label, name in enumerate(classes) if label not in present]
    _warn_of_ignored(source, empty, left_out)
    if part is not None and not own_parts:
        paths, codes = _part(paths, codes, part, source)
    images, resize = read_pictures(paths, source, sizing)
    return replace(dataset(images, codes, classes, source), resize=resize)


def _class_names(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _pictures(folder: Path, left_out: list[str], deep: bool = True) -> list[Path]:
    """Return image files in the order of Keras; add other files and hidden ones to `left_out`."""
    pictures = []
    for root, folders, names in sorted(os.walk(folder)) if deep else [next(os.walk(folder))]:
        hidden = [name for name in Path(root).relative_to(folder).parts if name.startswith(".")]
        if hidden:
            continue
        left_out += [f"{name}/" for name in folders if name.startswith(".")]
        for name in sorted(names):
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                pictures.append(Path(root) / name)
            else:
                left_out.append(name)
    return pictures


def _warn_of_ignored(source: str, empty: list[str], left_out: list[str]) -> None:
    """Warn of classes without images, and of files and folders that are not read."""
    rows = (("classes without images", empty), ("left out", left_out))
    texts = [
        f"{reason}: {', '.join(names[:_FEW])}{', ...' if len(names) > _FEW else ''} ({len(names)})"
        for reason, names in rows
        if names
    ]
    if texts:
        notice(f"{source}: {'; '.join(texts)}.")


def load_table(table: Path, part: str | None, source: str, sizing: Sizing = Sizing()) -> Dataset:
    """Load images of a CSV file of paths and labels; relative paths count from its folder.

    The columns are those named `path` and `label`, else the first other ones (in the table of
    HASYv2, `symbol_id` is the label). A first row whose path is a file, or named as an image, is
    not a header. Labels are names; the classes are sorted, by value if all are whole numbers.

    Raises:
        DataError: not such a table, or images that are missing or do not fit together.
    """
    try:
        check_regular(table)
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(source, "a CSV file in UTF-8", error) from error
    if not rows:
        raise DataError(source, "rows of a path and a label", "an empty file")
    path_column, label_column = 0, 1
    first = rows[0][0]
    if not (first.lower().endswith(ENDINGS) or _is_file(table.parent / first)):
        path_column, label_column = _columns(rows.pop(0), source)
    minimum = max(path_column, label_column) + 1
    for row_number, row in enumerate(rows, 1):
        if len(row) < minimum:
            row_name = f"{source}: row {row_number} of the data"
            raise DataError(row_name, f"{minimum} columns and more", len(row))
    if not rows:
        raise DataError(source, "rows of a path and a label", "a header only")
    paths = [table.parent / row[path_column] for row in rows]
    names = [row[label_column].strip() for row in rows]
    if "" in names:
        row_name = f"{source}: row {names.index('') + 1} of the data"
        raise DataError(row_name, "a label", "none", "Leave out images without a label.")
    classes = sorted_names(names)
    number_of = {name: label for label, name in enumerate(classes)}
    labels: np.ndarray | None = np.array([number_of[name] for name in names], np.int64)
    if part is not None:
        paths, labels = _part(paths, labels, part, source)
    images, resize = read_pictures(paths, source, sizing)
    return replace(dataset(images, labels, classes, source), resize=resize)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long a name
        return False


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


def _columns(header: list[str], source: str) -> tuple[int, int]:
    """Return the columns of paths and labels; a notice says where it had to choose one."""
    names = [name.strip().lower() for name in header]
    path = names.index("path") if "path" in names else 0
    other_columns = [column for column in range(len(names)) if column != path]
    if len(other_columns) > 1 and not {"label", "symbol_id"} & set(names):
        label = header[other_columns[0]].strip()
        notice(f"{source}: no column is named 'label'; labels are taken from '{label}'.")
    return path, names.index("label") if "label" in names else (
        other_columns[0] if other_columns else path + 1
    )
