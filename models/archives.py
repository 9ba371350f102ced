"""An `.npz` file with the arrays `images` and `labels`, and names in `classes` if it likes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.datasets import Dataset, chosen, dataset, split
from oip.core import files
from oip.core.errors import DataError, RunError, expected


def load_archive(path: Path, part: str | None, source: str) -> Dataset:
    """The images of an `.npz` file.

    Shapes: `images` (n, h, w) or (n, h, w, bands); `labels` (n,), whole numbers from 0 or names;
    `classes` (k,) names. `labels` may be missing. Labels that are names become the numbers of the
    sorted names. A part is a fixed, stratified share (`models.datasets.split`).

    Raises:
        DataError: damaged, pickled objects, no `images`, or arrays that do not fit.
    """
    try:
        arrays = files.read_arrays(path)
    except RunError as error:
        if "allow_pickle" not in str(error):
            raise DataError(expected(source, "a whole .npz file", error.__cause__)) from error
        raise DataError(
            expected(source, "arrays of numbers or text", "pickled objects, which are never read")
        ) from error
    if "images" not in arrays:
        held = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(expected(source, "the arrays 'images' and 'labels'", held))
    labels, classes = arrays.get("labels"), _names(arrays.get("classes"), source)
    if labels is not None:
        labels, classes = _numbered(labels, classes, source)
    data = dataset(arrays["images"], labels, classes, source)
    if part is None:
        return data
    indices = split(data.labels, len(data), part)
    if not len(indices):
        raise DataError(expected(f"{source}: images to split", "2 or more a class", len(data)))
    return chosen(data, indices, source)


def _names(classes: np.ndarray | None, source: str) -> tuple[str, ...]:
    if classes is None:
        return ()
    if classes.ndim != 1 or classes.dtype.kind not in "Uiu":
        raise DataError(
            expected(f"{source}: classes", "names, (k,)", f"{classes.dtype} of {classes.shape}")
        )
    return tuple(str(name) for name in classes)


def _numbered(
    labels: np.ndarray, classes: tuple[str, ...], source: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as numbers, with a name for each."""
    if labels.dtype.kind == "U":
        classes = classes or tuple(np.unique(labels).tolist())
        number_of = {name: label for label, name in enumerate(classes)}
        if unknown := set(labels.ravel().tolist()) - set(classes):
            raise DataError(expected(f"{source}: labels", "names in 'classes'", min(unknown)))
        return np.vectorize(number_of.__getitem__, otypes=[np.int64])(labels), classes
    if not classes and labels.dtype.kind in "biu" and labels.size:
        classes = tuple(str(label) for label in range(max(int(labels.max()), 0) + 1))
    return labels, classes
