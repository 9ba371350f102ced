"""Data sets of the studies: both parts of a source, fair subsets, and data that are missing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.core import seeds
from oip.core.errors import DataError
from oip.studies.report import Folder, MissingData, StudySettings, base_name

if TYPE_CHECKING:
    from oip.models import Dataset

DIGITS, CLOTHES = "mnist", "fashion-mnist"
_SAMPLE = "mnist-sample"
PHOTOGRAPHS = "imagenet-sample"
"""In the folder of the data: photographs without labels."""
_CHECKED = (200, 500, 1000, 2000)
"""Numbers of first images whose class shares are checked; studies use some of them undrawn."""
_DEVIATIONS = 4.0


@dataclass(frozen=True, eq=False)
class Images:
    """One data set, in its two parts, both with labels."""

    name: str
    """Of a path the last part."""
    train: Dataset
    test: Dataset
    digest: str = ""
    """SHA-256 of both parts as a whole, for `Folder.part` and for names of what is made of them."""

    def limited(self, train: int | None, test: int | None) -> Images:
        """Return up to a number of images of each part, in the shares of its classes."""
        return replace(self, train=limited(self.train, train), test=limited(self.test, test))


def every_source(folder: Folder, sources: Sequence[str] | None = None) -> list[Images]:
    """Return the available data sets: those that the user named, else MNIST and Fashion-MNIST.

    `sources` are those of the user, all that the settings name if None. Where MNIST is not
    available, the embedded digits replace it, and a note says so.

    Raises:
        DataError: a source names one part.
        MissingData: none of them is available.
    """
    available, last = [], None
    sources = folder.settings.data if sources is None else sources
    for source in sources or (DIGITS, CLOTHES):
        try:
            available.append(load_images(folder, source))
        except MissingData as error:
            last = error
            folder.missing(f"What is said of {base_name(source)}.", error)
    if not available and last is not None:
        raise last
    return available


def load_images(folder: Folder, source: str) -> Images:
    """Return both parts of a data set.

    Raises:
        DataError: the source names one part.
        MissingData: it is not available, or has no labels.
    """
    check_both_parts(source)
    try:
        return _both_parts(source, folder.settings)
    except MissingData as error:
        if source != DIGITS:
            raise
        sample = _both_parts(_SAMPLE, folder.settings)
        text = f"MNIST is not available; {len(sample.train):,} embedded digits replace it."
        if text not in folder.notes:
            folder.note(text)
        folder.lacks(f"{text} {error}")
        return sample


def check_both_parts(source: str) -> None:
    """Refuse a source that names one part: studies train on one and judge by the other.

    Raises:
        DataError: the source is that of one part.
    """
    from oip import models

    name, part = models.split_source(source)
    if part is not None:
        raise DataError("option 'data'", "a source in both parts", source, f"Use {name}.")


def _both_parts(source: str, settings: StudySettings) -> Images:
    train, test = (study_data(source, settings, part) for part in ("train", "test"))
    name = base_name(source)
    if train.labels is None or test.labels is None:
        hint = "Studies measure information about them: add `labels`, or name other data."
        raise MissingData(f"labels of the data '{name}'", f"'{source}'", hint)
    data_keys = f"{data_key(train)} {data_key(test)}"
    return Images(name, train, test, hashlib.sha256(data_keys.encode()).hexdigest())


def study_data(
    source: str | Path,
    settings: StudySettings,
    part: str | None = None,
    size: tuple[int, int] | None = None,
    bands: int | None = None,
) -> Dataset:
    """Return a data set; the arguments are those of `models.load`.

    Raises:
        MissingData: the source is not there, cannot be downloaded, or is damaged.
    """
    from oip import models

    try:
        image_size = size or settings.size
        return models.load(source, settings.data_dir, part, image_size, bands, settings.resize)
    except DataError as error:
        needs = f"the data '{base_name(source)}'"
        raise MissingData(needs, _looked(source, settings), str(error)) from error


def is_photographs(source: str) -> bool:
    """Return whether a source is a folder of image files that are not sorted into classes."""
    from oip.models.images_on_disk import ENDINGS

    path = Path(source)
    if is_known(source) or not path.is_dir():
        return False
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    pictures = any(entry.suffix.lower() in ENDINGS for entry in entries)
    return pictures and not any(entry.is_dir() for entry in entries)


def photographs(settings: StudySettings) -> str:
    """Return the folder of photographs among the user's data, else that beside the data sets.

    Raises:
        MissingData: there is none.
    """
    root = settings.data_dir or os.environ.get("OIP_DATA")
    beside = [] if root is None else [str(Path(root) / PHOTOGRAPHS)]
    for source in (*settings.data, *beside):
        if is_photographs(source):
            return source
    provide = f"Name a folder of photographs as data, or put one, {PHOTOGRAPHS}, beside the others."
    raise MissingData("a folder of photographs", _looked(PHOTOGRAPHS, settings), provide)


def _looked(source: str | Path, settings: StudySettings) -> str:
    """Where a source was looked for: a path where it points, a name in the folder of the data."""
    if not is_known(str(source)):
        return f"'{Path(source).absolute()}'"
    folder = settings.data_dir or os.environ.get("OIP_DATA")
    searched = f"'{folder}'" if folder else "a folder (none was named, and OIP_DATA is not set)"
    return f"{searched}, then what Keras can download"


def is_known(source: str) -> bool:
    """Return whether a source is a name that `models` knows, and not a path."""
    from oip import models
    from oip.models.sources import NAMES

    return models.split_source(source)[0] in NAMES


def data_key(data: Dataset) -> str:
    """Return the SHA-256 of the images and labels, in hexadecimal."""
    result = hashlib.sha256(np.ascontiguousarray(data.images).tobytes())
    if data.labels is not None:
        result.update(data.labels.tobytes())
    return result.hexdigest()


def limited(data: Dataset, count: int | None) -> Dataset:
    """Return up to a number of images of a data set, in the shares of its classes.

    The first images, in their order, where that is random. Otherwise, as of class folders, whose
    images come class by class, or of images without labels, a draw with a fixed seed of which any
    number of first images has the classes' shares.
    """
    from oip.models.datasets import take_images

    count = len(data) if count is None else min(count, len(data))
    if in_random_order(data.labels, count):
        if count == len(data):
            return data
        return take_images(data, np.arange(count), f"{data.source}, the first {count}")
    indices = fair_order(data.labels, len(data))[:count]
    return take_images(data, indices, f"{data.source}, {count} drawn in the shares of the classes")


def in_random_order(labels: np.ndarray | None, count: int) -> bool:
    """Return whether the first images, up to `count`, hold every class in about its share.

    No class may be off by more than four standard deviations and one. Images without labels count
    as ordered.
    """
    if labels is None:
        return False
    codes = np.unique(labels, return_inverse=True)[1]
    shares = np.bincount(codes) / len(codes)
    for end in sorted({*(checked for checked in _CHECKED if checked < count), count}):
        means = end * shares
        off = np.abs(np.bincount(codes[:end], minlength=len(shares)) - means)
        if (off > _DEVIATIONS * np.sqrt(means * (1 - shares)) + 1).any():
            return False
    return True


def fair_order(labels: np.ndarray | None, count: int) -> np.ndarray:
    """Return an order (count,) of images whose first ones, however many, have the classes' shares.

    Images are shuffled with a fixed seed, and sorted by their rank in their class as a share of it.
    """
    order = seeds.generator(0, "study subset").permutation(count)
    if labels is None:
        return order
    shuffled = np.asarray(labels)[order]
    share = np.empty(count)
    for label in np.unique(shuffled):
        indices = np.flatnonzero(shuffled == label)
        share[indices] = (np.arange(len(indices)) + 0.5) / len(indices)
    return order[np.argsort(share, kind="stable")]


def one_of_each_class(data: Dataset) -> np.ndarray:
    """Return the first image of each class that has one, in the order of the classes."""
    firsts = [np.flatnonzero(data.labels == label)[:1] for label in range(len(data.classes))]
    return data.images[np.concatenate(firsts)]
