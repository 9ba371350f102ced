"""Images with labels, their parts, their statistics and their size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import html, seeds
from oip.core.checks import one_column, tag_columns
from oip.core.errors import DataError, notice
from oip.core.files import RefusedFile, check_content
from oip.core.formats import ARRAYS
from oip.core.images import plain_range

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.Image import Resampling

RESIZES = ("crop", "fit", "stretch")
"""How an image becomes one of another shape: its middle, all of it on black, or bent."""
_RESIZE_TEXTS = {
    "crop": "cropped to that shape in the middle (resize='crop')",
    "fit": "with black borders (resize='fit')",
    "stretch": "stretched to that shape (resize='stretch')",
}
ModelShape = Callable[[tuple[int, ...] | None], tuple[int, ...]]
"""From the (h, w, bands) of images, None where their sizes differ, to that of a model's input."""
MOST_CLASSES = 1 << 16
"""Whole numbers below this are numbers of classes; labels with larger ones are ids."""
TEST_SHARE = 0.2
"""Share of the images that is held out from a source without a test part."""
_SPLIT_SEED = 0
_MOST_BANDS_FIRST = 4


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images as they are stored, with their labels.

    Shapes: `images` (n, h, w, bands), uint8 or float32; `labels` (n,) int64, or None where there
    are none; `classes` names the label at each index; pixels lie between `low` and `high`. Images
    of several labels have `tags` (n, k), zeros and ones, in place of `labels`.
    """

    images: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...]
    source: str
    """What was loaded, such as "mnist-sample:test"; of files the base name only."""
    low: float
    high: float
    resize: str | None = None
    """How images were brought to the model's size; None where they had it."""
    tags: np.ndarray | None = None
    """(n, k) uint8; `classes` are the names of the k tags."""
    unusable: DataError | None = None
    """Why there are no labels, where labels were given."""

    def __len__(self) -> int:
        return len(self.images)

    def required_labels(self) -> np.ndarray:
        """Return the labels; a DataError if the data have none."""
        source = f"data '{self.source}'"
        if self.labels is not None:
            return self.labels
        if self.tags is not None:
            hint = "Only rankings by information take several, tag by tag."
            raise DataError(source, "one label per image", f"{self.tags.shape[1]} tags", hint)
        if self.unusable is not None:
            raise self.unusable
        raise DataError(source, "images with labels", "no labels", "Name a source that has labels.")

    @property
    def targets(self) -> np.ndarray | None:
        """The labels (n,), or the tags (n, k); None where there are none."""
        return self.tags if self.labels is None else self.labels

    def required_targets(self) -> np.ndarray:
        """Return the labels or the tags; a DataError if the data have neither."""
        return self.required_labels() if self.tags is None else self.tags

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.images.shape[1:]))
        labels = "no labels" if self.labels is None else f"{len(self.classes)} classes"
        labels = labels if self.tags is None else f"{len(self.classes)} tags"
        return f"Dataset {self.source}: {len(self)} images of {size}, {labels}"

    def _repr_html_(self) -> str:
        return html.paragraph(repr(self))


def dataset(
    images: np.ndarray, labels: np.ndarray | None, classes: tuple[str, ...], source: str
) -> Dataset:
    """Return a checked Dataset.

    Args:
        images: (n, h, w) or (n, h, w, bands), any type of number. Whole numbers from 0 to 255 are
            kept as uint8, all others as float32.
        labels: (n,) or (n, 1) whole numbers, or None.
        classes: names; label k belongs to `classes[k]`.

    Raises:
        DataError: no images, odd shapes or types, NaN, or labels that do not fit.
    """
    pixels = _pixels(np.asarray(images), source)
    if labels is not None:
        labels = _labels(np.asarray(labels), len(pixels), len(classes), source)
    low, high = plain_range(pixels)
    return Dataset(pixels, labels, tuple(classes), source, low, high)


def from_arrays(
    images: np.ndarray, labels: Sequence[int] | Sequence[str] | np.ndarray | None = None
) -> Dataset:
    """Return a checked Dataset of images and labels that a user has as arrays.

    Args:
        images: as for `dataset`.
        labels: (n,) or (n, 1) whole numbers from 0, or names; (n, k) zeros and ones of images with
            several labels; None where there are none.

    Raises:
        DataError: as for `dataset`.
    """
    return labeled(images, None if labels is None else np.asarray(labels), (), ARRAYS)


def labeled(
    images: np.ndarray, labels: np.ndarray | None, classes: tuple[str, ...], source: str
) -> Dataset:
    """Return a checked Dataset of labels of any kind.

    Labels that nothing can be ranked by (of pixels, fractions) are left out: what needs labels says
    why there are none.

    Raises:
        DataError: as for `dataset`.
    """
    if labels is None:
        return dataset(images, None, classes, source)
    if (tags := tag_columns(labels)) is not None:
        names = classes or tuple(str(tag) for tag in range(tags.shape[1]))
        if len(names) != tags.shape[1]:
            raise DataError(f"{source}: classes", f"{tags.shape[1]}, one per tag", len(names))
        data = dataset(images, None, names, source)
        if len(tags) != len(data):
            raise DataError(f"{source}: labels", f"{len(data)}, one row per image", len(tags))
        return replace(data, tags=tags)
    labels, classes = numbered(labels, classes, source)
    try:
        return dataset(images, labels, classes, source)
    except DataError as error:
        if np.shape(images)[:1] != np.shape(labels)[:1] or not _are_unusable(labels):
            raise
        return replace(dataset(images, None, (), source), unusable=error)


def _are_unusable(labels: np.ndarray) -> bool:
    """Return whether labels are of pixels or fractions, for another task than telling classes."""
    return labels.ndim > 1 or labels.dtype.kind == "f"


def numbered(
    labels: np.ndarray, classes: tuple[str, ...], source: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return labels (n,), or (n, 1), as numbers (n,), with a name for each number.

    Labels of `MOST_CLASSES` and more are ids: they become the numbers of the sorted ids, with a
    notice.

    Raises:
        DataError: a name that is not in `classes`.
    """
    labels = one_column(labels)
    if labels.dtype.kind == "U":
        classes = classes or sorted_names(labels.ravel().tolist())
        number_of = {name: label for label, name in enumerate(classes)}
        if unknown := set(labels.ravel().tolist()) - set(classes):
            raise DataError(f"{source}: labels", "names in 'classes'", min(unknown))
        return np.vectorize(number_of.__getitem__, otypes=[np.int64])(labels), classes
    if classes or labels.dtype.kind not in "biu" or not labels.size:
        return labels, classes
    largest = int(labels.max())
    if largest < MOST_CLASSES:
        return labels, tuple(str(label) for label in range(max(largest, 0) + 1))
    ids, codes = np.unique(labels, return_inverse=True)
    notice(
        f"{source}: labels up to {largest} are not class numbers; the {len(ids)} different ones "
        f"are taken as names, in their order."
    )
    return codes.reshape(labels.shape), tuple(str(value) for value in ids)


def sorted_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the different names, sorted: by value if all are whole numbers, else as text."""
    different = sorted(set(names))
    if all(name.removeprefix("-").isdecimal() for name in different):
        different.sort(key=Decimal)
    return tuple(different)


def parts_of(data: Dataset) -> tuple[Dataset, Dataset]:
    """Return the train part and the test part of data without parts, split as `split` does it."""
    train, test = (
        take_images(data, split(data.labels, len(data), part), f"{data.source}:{part}")
        for part in ("train", "test")
    )
    return train, test


def take_images(data: Dataset, indices: np.ndarray, source: str) -> Dataset:
    """Return the images at `indices`, in that order."""
    labels = None if data.labels is None else data.labels[indices]
    tags = None if data.tags is None else data.tags[indices]
    return replace(data, images=data.images[indices], labels=labels, tags=tags, source=source)


def split(labels: np.ndarray | None, count: int, part: str) -> np.ndarray:
    """Return the indices of one part of a source without parts.

    Every class gives the same share to the test part, at least one image if it has two. The order
    is shuffled with a fixed seed, so `:test` never holds an image of `:train`, in any command.

    Args:
        labels: (count,) of anything that can be compared, or None.
        part: "train" or "test".
    """
    order = seeds.generator(_SPLIT_SEED, "split").permutation(count)
    held_out = np.zeros(count, bool)
    groups = np.zeros(count, int) if labels is None else np.unique(labels, return_inverse=True)[1]
    for group in range(int(groups.max(initial=-1)) + 1):
        members = order[groups[order] == group]
        test_images = max(round(TEST_SHARE * len(members)), 1) if len(members) > 1 else 0
        held_out[members[:test_images]] = True
    return order[held_out[order] == (part == "test")]


def statistics(images: np.ndarray, byte_budget: int = 32 << 20) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each band, over all pixels of (n, h, w, bands).

    Args:
        byte_budget: of the float64 values that are held at a time.

    Raises:
        DataError: a band that is the same everywhere.
    """
    axes = (0, 1, 2)
    count = images[..., 0].size
    batch_rows = max(1, byte_budget // (8 * images[0].size))
    batches = [images[start : start + batch_rows] for start in range(0, len(images), batch_rows)]
    mean = np.sum([batch.sum(axis=axes, dtype=np.float64) for batch in batches], axis=0) / count
    squares = [((batch - mean) ** 2).sum(axis=axes) for batch in batches]
    std = np.sqrt(np.sum(squares, axis=0) / count)
    if not np.all(std > 0):
        raise DataError("the images", "bands that vary", f"deviations {std.tolist()}")
    return mean, std


def fitted(
    data: Dataset, size: tuple[int, int] | None, bands: int | None, resize: str = "crop"
) -> Dataset:
    """Return the same data with images of `size` (h, w) and of 1 or 3 `bands`.

    Args:
        data: the images.
        size: (h, w); that of the images if None.
        bands: 1 or 3; those of the images if None.
        resize: one of `RESIZES`.

    Raises:
        DataError: bands that cannot be made from those of the images.
    """
    height, width, image_bands = data.images.shape[1:]
    count = image_bands if bands is None else bands
    if (image_bands, count) not in {(image_bands, image_bands), (1, 3), (3, 1)}:
        hint = "Only 1 can become 3, and 3 can become 1."
        raise DataError(data.source, f"images of {count} bands", image_bands, hint)
    goal = (height, width) if size is None else size
    if goal == (height, width) and count == image_bands:
        return data
    check_room(data.source, (len(data), *goal, count), data.images.dtype.itemsize)
    if goal != (height, width):
        warn_of_sizes(data.source, len(data), len(data), f"{goal[0]} x {goal[1]}", resize)
    images = np.empty((len(data), *goal, count), data.images.dtype)
    for index, image in enumerate(_band_images(data.images, count)):
        is_so = goal == (height, width)
        images[index] = image if is_so else _resized(image, goal, resize, data.low)
    return replace(data, images=images)


def fitted_to_model(data: Dataset, resize: str | None, model_shape: ModelShape | None) -> Dataset:
    """Return the same data with images of the shape of a model's input, if `resize` is given."""
    check_resize(resize)
    image_shape = data.images.shape[1:]
    shape = image_shape if resize is None or model_shape is None else model_shape(image_shape)
    if shape == image_shape or len(shape) != len(image_shape):
        return data
    bands = shape[2] if shape[2] in (1, 3) else None
    return replace(fitted(data, (shape[0], shape[1]), bands, resize or ""), resize=resize)


def warn_of_sizes(source: str, changed: int, count: int, size: str, resize: str) -> None:
    """Warn that images were brought to another size, and how."""
    way = _RESIZE_TEXTS[resize]
    notice(f"{source}: {changed} of {count} images were brought to {size} pixels, {way}.")


def check_room(source: str, shape: tuple[int, ...], item: int = 1) -> None:
    """Raise a DataError where an array of images would be larger than files may be."""
    try:
        check_content(math.prod(shape) * item)
    except RefusedFile as error:
        raise DataError(f"{source}: images of shape {shape}", "fewer or smaller", error) from error


def brought_to(
    picture: Picture, size: tuple[int, int], resize: str, kind: Resampling, black: float = 0
) -> Picture:
    """Return a picture of `size` (h, w) in one of the `RESIZES`, antialiased.

    Args:
        black: of pictures of one band, the value of what `fit` adds.
    """
    from PIL import ImageOps

    goal = (size[1], size[0])
    if picture.size == goal:
        return picture
    if resize == "stretch":
        return picture.resize(goal, kind)
    if resize == "crop":
        return ImageOps.fit(picture, goal, kind)
    color: Any = black or None  # pillow's hint leaves out fractions
    return ImageOps.pad(picture, goal, kind, color=color)


def check_resize(resize: str | None) -> None:
    """Raise a DataError unless this is one of the `RESIZES` or None."""
    if resize is not None and resize not in RESIZES:
        raise DataError("resize", " or ".join(RESIZES), f"'{resize}'")


def _band_images(images: np.ndarray, bands: int) -> Iterator[np.ndarray]:
    # The weights of ITU-R BT.601, as pillow uses them for files.
    luminance = np.array([0.299, 0.587, 0.114])
    for image in images:
        if image.shape[-1] == bands:
            yield image
        elif bands == 3:
            yield np.repeat(image, 3, axis=-1)
        else:
            gray = (image @ luminance)[..., None]
            yield np.rint(gray).astype(np.uint8) if image.dtype == np.uint8 else gray


def _resized(image: np.ndarray, size: tuple[int, int], resize: str, black: float) -> np.ndarray:
    """Return an image (h, w, bands) of another size, between its lowest and its largest value."""
    from PIL import Image

    kind = Image.Resampling.BICUBIC
    bands = [
        np.asarray(brought_to(Image.fromarray(band.astype(np.float32)), size, resize, kind, black))
        for band in np.moveaxis(image, -1, 0)
    ]
    result = np.stack(bands, axis=-1)
    if image.dtype == np.uint8:
        return np.clip(np.rint(result), 0, 255)
    return np.clip(result, min(image.min(), black), image.max())


def _pixels(images: np.ndarray, source: str) -> np.ndarray:
    if images.dtype.kind not in "buif":
        raise DataError(f"{source}: images", "numbers", f"dtype {images.dtype}")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape[1:]:
        shapes = "shape (n, h, w) or (n, h, w, bands)"
        raise DataError(f"{source}: images", shapes, images.shape)
    if not len(images):
        raise DataError(f"{source}: images", "at least one", "none")
    height, side, last_side = images.shape[1:]
    if height <= _MOST_BANDS_FIRST < last_side and side == last_side:
        hint = "Move the bands to the end, such as by np.moveaxis(images, 1, -1)."
        raise DataError(f"{source}: images", "(n, h, w, bands), the bands last", images.shape, hint)
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind in "iu" and images.min() >= 0 and images.max() <= 255:
        return images.astype(np.uint8)
    with np.errstate(over="ignore"):
        pixels = images.astype(np.float32, copy=False)
    if not np.isfinite(pixels.sum(dtype=np.float64)):
        raise DataError(f"{source}: images", "finite pixels", "NaN or infinity")
    return pixels


def _labels(labels: np.ndarray, count: int, classes: int, source: str) -> np.ndarray:
    labels = one_column(labels)
    if labels.ndim != 1:
        one_hot = labels.ndim == 2 and labels.dtype.kind in "buif"
        one_hot = one_hot and np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()
        hint = "Labels of one column per class become numbers by labels.argmax(axis=1)."
        hint = hint if one_hot else "Several labels of an image, or one per pixel, cannot be used."
        raise DataError(f"{source}: labels", "one number per image", f"shape {labels.shape}", hint)
    if len(labels) != count:
        raise DataError(f"{source}: labels", f"{count}, one per image", len(labels))
    if labels.dtype.kind not in "biu":
        are_whole = labels.dtype.kind == "f" and np.array_equal(labels, np.round(labels))
        hint = "Numbers of classes become whole by labels.astype(int)." if are_whole else ""
        kinds = "whole numbers or names"
        raise DataError(f"{source}: labels", kinds, f"dtype {labels.dtype}", hint)
    labels = labels.astype(np.int64)
    if labels.min() < 0 or labels.max() >= classes:
        codes = f"0 to {classes - 1}, for {classes} classes"
        hint = "Names, as by labels.astype(str), may be any." if labels.min() < 0 else ""
        raise DataError(f"{source}: labels", codes, f"{labels.min()} to {labels.max()}", hint)
    return labels
