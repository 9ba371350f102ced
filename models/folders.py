"""Image files on disk: folders named by class, or a table of paths and labels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from models.datasets import Dataset, dataset, split
from models.pictures import is_picture, read_pictures
from oip.core.errors import DataError, expected

_PARTS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation"),
}
"""Names of the folders of a part, in any case; the first of those that there are is taken."""
TABLES = ("hasy-data-labels.csv",)
"""Tables that stand beside the folder of their images."""


def load_class_folders(
    folder: Path,
    part: str | None,
    source: str,
    size: tuple[int, int] | None = None,
    bands: int | None = None,
) -> Dataset:
    """Images of `folder/CLASS/*.png` and the like, or of `folder/train/CLASS` and `.../test/...`.

    The parts' folders may also be called `Training` and `Test`, as those of Fruits 360; without a
    test folder `val` is the test part, as that of Imagenette. Classes are the sorted names of the
    folders, those of both parts taken together. A folder that holds image files itself has no
    labels. Without folders of parts a part is a fixed, stratified share (`models.datasets.split`).
    Without a part, images come in the order of classes and names.

    Raises:
        DataError: no images, or images that do not fit together.
    """
    parts = _part_folders(folder)
    own_parts = len(parts) == len(_PARTS)
    every_root = list(parts.values()) if own_parts else [folder]
    roots = every_root if part is None or not own_parts else [parts[part]]
    classes = tuple(sorted({name for root in every_root for name in _class_names(root)}))
    paths: list[Path] = []
    labels: list[int] = []
    for root in roots:
        for label, name in enumerate(classes):
            found = _pictures(root / name)
            paths += found
            labels += [label] * len(found)
    known: np.ndarray | None = np.array(labels, np.int64)
    if not classes and not own_parts:
        paths, known = _pictures(folder), None
    if not paths:
        hint = "Put image files into one folder for each class."
        raise DataError(expected(source, "image files in folders", "none", hint))
    if part is not None and not own_parts:
        paths, known = _part(paths, known, part, source)
    return dataset(read_pictures(paths, source, size, bands), known, classes, source)


def load_table(
    table: Path,
    part: str | None,
    source: str,
    size: tuple[int, int] | None = None,
    bands: int | None = None,
) -> Dataset:
    """Images of a CSV file of paths and labels; relative paths count from its folder.

    The columns are those named `path` and `label`, else the first that are left (so that
    `symbol_id` is the label in the table of HASYv2). A first row whose
    path is a file is no header. Labels are names; the classes are sorted, by value where all are
    whole numbers.

    Raises:
        DataError: not such a table, or images that are missing or do not fit together.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(expected(source, "a CSV file in UTF-8", error)) from error
    if not rows:
        raise DataError(expected(source, "rows of a path and a label", "an empty file"))
    path_column, label_column = 0, 1
    if not (table.parent / rows[0][0]).is_file():
        path_column, label_column = _columns(rows.pop(0))
    least = max(path_column, label_column) + 1
    for number, row in enumerate(rows, 1):
        if len(row) < least:
            wanted = f"{least} columns and more"
            raise DataError(expected(f"{source}: row {number} of the data", wanted, len(row)))
    if not rows:
        raise DataError(expected(source, "rows of a path and a label", "a header only"))
    paths = [table.parent / row[path_column] for row in rows]
    names = [row[label_column].strip() for row in rows]
    classes = _sorted_names(names)
    number_of = {name: label for label, name in enumerate(classes)}
    labels: np.ndarray | None = np.array([number_of[name] for name in names], np.int64)
    if part is not None:
        paths, labels = _part(paths, labels, part, source)
    return dataset(read_pictures(paths, source, size, bands), labels, classes, source)


def _part_folders(folder: Path) -> dict[str, Path]:
    """The folders of the parts, of those that there are; exact names go before others."""
    found = {}
    for part, names in _PARTS.items():
        fitting = [path for path in folder.iterdir() if path.name.lower() in names]
        fitting = [path for path in fitting if path.is_dir()]
        if fitting:
            rank = {name: place for place, name in enumerate(names)}
            found[part] = min(
                fitting,
                key=lambda path, rank=rank: (
                    rank[path.name.lower()],
                    path.name.lower() != path.name,
                ),
            )
    return found


def _part(
    paths: list[Path], labels: np.ndarray | None, part: str, source: str
) -> tuple[list[Path], np.ndarray | None]:
    indices = split(labels, len(paths), part)
    if not len(indices):
        raise DataError(expected(f"{source}: images to split", "2 or more a class", len(paths)))
    return [paths[index] for index in indices], None if labels is None else labels[indices]


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if is_picture(path))


def _class_names(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.is_dir() and _pictures(path)]


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
