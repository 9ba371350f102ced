"""From a SOURCE on the command line to images and labels."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from models.archives import load_archive
from models.datasets import Dataset, fitted
from models.folders import TABLES, load_class_folders, load_table
from models.idx import is_idx_folder, load_idx_folder
from models.known import NAMES, load_known
from oip.core.errors import DataError, expected

PARTS = ("train", "test")
_KINDS = "a folder of IDX files or of class folders, an .npz or a .csv file"


def load(
    source: str | Path,
    data_dir: str | Path | None = None,
    part: str | None = None,
    size: tuple[int, int] | None = None,
    bands: int | None = None,
) -> Dataset:
    """Loads images and, where there are any, labels.

    Args:
        source: `mnist-sample` (embedded), `mnist`, `fashion-mnist`, `cifar10`, `binary-12` (made
            here), a folder of IDX files, class folders of images, the folder of HASYv2, an `.npz`
            with `images` and `labels`, or a CSV of paths and labels; `:train` or `:test` after it
            names a part. Where a source brings no parts of its own, a fifth of every class is the
            test part, always the same one.
        data_dir: folder searched for `mnist/`, `fashion-mnist/` and `cifar10/` before Keras
            downloads; `$OIP_DATA` if None.
        part: the part to load when the source names none; everything if None.
        size: (h, w) to resize to, bilinear.
        bands: 1 or 3.

    Returns:
        Dataset: images (n, h, w, bands) as stored, labels (n,). The parts of sources that bring
        none are shuffled; otherwise the order is that of the files, possibly by class.

    Raises:
        DataError: an unknown source, or one that is missing, damaged or does not fit together.

    >>> load("mnist-sample:test").images.shape
    (1000, 28, 28, 1)
    """
    name, named_part = split_source(str(source))
    part = named_part or part
    if part is not None and part not in PARTS:
        raise DataError(expected("part", " or ".join(PARTS), part))
    for what, sides in (("size", size or ()), ("bands", () if bands is None else (bands,))):
        if any(side < 1 for side in sides):
            raise DataError(expected(what, "numbers from 1", sides))
    if data_dir is None and os.environ.get("OIP_DATA"):
        data_dir = os.environ["OIP_DATA"]
    path = Path(name)
    label = (name if name in NAMES else path.resolve().name) + (f":{part}" if part else "")
    if name in NAMES:
        data = load_known(name, part, None if data_dir is None else Path(data_dir), label)
    elif path.is_dir():
        for table in TABLES:
            if (path / table).is_file():
                return load_table(path / table, part, label, size, bands)
        if not is_idx_folder(path):
            return load_class_folders(path, part, label, size, bands)
        data = load_idx_folder(path, part, label)
    elif path.is_file() and path.suffix.lower() == ".csv":
        return load_table(path, part, label, size, bands)
    elif path.is_file() and path.suffix.lower() == ".npz":
        data = load_archive(path, part, label)
    elif path.exists():
        raise DataError(expected(f"data '{name}'", _KINDS, f"a file of type '{path.suffix}'"))
    else:
        raise DataError(_unknown(name))
    return fitted(data, size, bands)


def split_source(source: str) -> tuple[str, str | None]:
    """A source and its part, None without one: `"mnist:test"` gives `("mnist", "test")`."""
    name, colon, part = source.rpartition(":")
    return (name, part) if colon and name and part in PARTS else (source, None)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, NAMES, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else ""
    return expected("data", f"{', '.join(NAMES)}, {_KINDS}", f"'{name}'", hint)
