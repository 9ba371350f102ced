"""The sample that a layer is measured on: a network, one of its layers, images and labels.

`LayerSample` is the one place that takes a model, images, labels, a layer, maps, a number of
samples and a seed, and gives them back checked and drawn. The responses of its maps are read in
blocks, and summarized for a gallery: the best images of a map, histograms, what tells maps alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from oip.core import html, seeds
from oip.core.checks import check_choice, check_whole, tag_columns
from oip.core.errors import LOOK_FOR_NAN, DataError
from oip.core.layer_formats import FEW_IMAGES
from oip.core.progress import Progress, silent
from oip.core.units import plural
from oip.mi import validation
from oip.mi.tags import tag_names, tag_notices
from oip.mi.validation import FEWEST_HELD_OUT, copies_notice, label_column

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeAlias

    import keras
    from numpy.typing import ArrayLike
    from pandas import DataFrame

    from oip.network.layers import LayerInfo
    from oip.network.network import Network

    ModelLike: TypeAlias = str | Path | keras.Model | Network

At = Literal["response", "block"]
BYTE_BUDGET = 256 << 20
"""Of responses that are in memory at a time."""
BEST = 9
"""Images that are kept of each map, those that excite it most."""
BINS = 24
"""Of the histograms of responses."""
_COMPONENTS = 24
"""Principal components of the responses that are kept to tell alike maps."""
_SMALL_P = f" With fewer than {FEWEST_HELD_OUT}, p-values of predictive can be too small."
_LIKENESS = 500
"""Images whose responses tell alike maps."""
_ROWS = 20


@dataclass(frozen=True, eq=False)
class LayerResult:
    """A result about the maps of one layer."""

    layer: str
    index: int
    maps: np.ndarray
    """(m,) int: map numbers; the rows of all arrays."""
    noun: str = field(default="map", kw_only=True)
    """A unit of the layer: `map`, `unit`, `token channel`, `head` or `direction`."""

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def _counted(self) -> str:
        """Number and kind of the units, such as `32 maps`."""
        return plural(len(self), self.noun)

    def to_pandas(self) -> DataFrame:
        """Return the result as a table."""
        raise NotImplementedError

    def _block(self, title: str, texts: Iterable[str], headings: dict[str, str]) -> str:
        """Return a title, remarks, and the first rows of the table as HTML."""
        table = html.frame(self.to_pandas(), headings, _ROWS)
        return html.block(title, *map(html.paragraph, texts), table)


class NoFiniteResponses(DataError):
    """Every map of a layer gives NaN or infinity."""

    @classmethod
    def of(cls, layer: str) -> NoFiniteResponses:
        """Return the error for a layer of this name."""
        received = "NaN or infinity in every map"
        return cls(f"responses of layer '{layer}'", "finite numbers", received, LOOK_FOR_NAN)


@dataclass(frozen=True, eq=False)
class ImageSubset:
    """The images that are used, and their classes."""

    indices: np.ndarray
    """(n,) int, sorted: indices into the images given."""
    codes: np.ndarray | None = None
    """(n,) int: classes of the images; None without labels."""
    classes: tuple[str, ...] = ()
    """Names of the codes."""
    notices: tuple[str, ...] = ()
    """Samples that were left out, and why."""
    tags: np.ndarray | None = None
    """(n, k) of zeros and ones where images have several labels, whose names `classes` are."""


class ResponseBlock(NamedTuple):
    """Responses of some maps of a layer to all images of a sample."""

    maps: np.ndarray
    """(m,) int: map numbers."""
    values: np.ndarray
    """(n, m, d) float32."""
    finite: np.ndarray
    """(m,) bool: maps whose responses are all finite."""


@dataclass(frozen=True, eq=False)
class LayerSample:
    """Some maps of a layer and the images that they are measured on."""

    network: Network
    layer: LayerInfo
    maps: np.ndarray
    """(m,) int: map numbers."""
    images: np.ndarray
    """(n, h, w, bands): the images of the sample."""
    subset: ImageSubset
    """Which of the images given these are, and their classes."""
    at: At = "response"
    seed: int = 0

    @classmethod
    def of(
        cls,
        model_or_path: ModelLike,
        images: np.ndarray,
        layer: str | LayerInfo,
        *,
        maps: str | Iterable[int] | int | None = None,
        at: At = "response",
        seed: int = 0,
    ) -> LayerSample:
        """Return a sample of all images, without classes; `take` draws from it.

        Arguments are those of `mi.rank`; the seed is that of whatever is drawn later.

        Raises:
            ModelError, SettingsError: an unknown layer or map, another `at`.
            DataError: images that do not fit the model.
        """
        from oip.network.inputs import check_images
        from oip.network.layer_spec import map_numbers
        from oip.network.network import Network

        check_at(at)
        network = Network.of(model_or_path, images=images)
        info = network.find(layer)
        numbers = map_numbers(info, maps)
        pixels = check_images(network.inputs, images)
        return cls(network, info, numbers, pixels, ImageSubset(np.arange(len(pixels))), at, seed)

    def draw(
        self,
        labels: ArrayLike | None,
        samples: int = 500,
        classes: Sequence[str] | None = None,
        label_free: bool = False,
        with_tags: bool = False,
    ) -> LayerSample:
        """Return a sample of some images: stratified by labels, else at random.

        Copies of an image with the same label are left out: what one tells of another, held out or
        near by, is no knowledge.

        Arguments are those of `mi.rank`; with `label_free`, labels may be None, and with
        `with_tags`, images may have several labels each.

        Raises:
            SettingsError: too few samples.
            DataError: labels that cannot be used, no labels where they are needed.
        """
        samples = check_whole("samples", samples, validation.FEWEST)
        if labels is None and label_free:
            return self.take(unlabeled_subset(len(self), samples, self.seed))
        if with_tags and (tags := tag_columns(labels)) is not None:
            return self.take(self._tagged(tags, samples, classes))
        subset = labeled_subset(labels, len(self), samples, self.seed, classes)
        unique_images = first_image_of_copies(self.images, subset)
        if len(unique_images) < len(subset.indices):
            label_values = label_column("labels", labels)[unique_images]
            labeled = labeled_subset(label_values, len(unique_images), samples, self.seed, classes)
            notice = copies_notice(len(subset.indices), len(unique_images))
            notices = tuple(dict.fromkeys((*subset.notices, *labeled.notices, notice)))
            subset = replace(labeled, indices=unique_images[labeled.indices], notices=notices)
        return self.take(subset)

    def _tagged(self, tags: np.ndarray, samples: int, classes: Sequence[str] | None) -> ImageSubset:
        """Draw from images of several labels, at random and without copies."""
        if len(tags) != len(self):
            raise DataError("labels", f"{len(self)}, one row per image", len(tags))
        names = tag_names(tags.shape[1], classes)
        groups = np.unique(tags, axis=0, return_inverse=True)[1].ravel()
        distinct_images = first_image_of_copies(
            self.images, ImageSubset(np.arange(len(self)), groups)
        )
        indices = seeds.subset(distinct_images, samples, self.seed, "samples")
        row_tags = tags[indices]
        notices = tag_notices(row_tags, names)
        if len(distinct_images) < len(self):
            notices = (*notices, copies_notice(len(self), len(distinct_images)))
        return ImageSubset(indices, None, names, notices, row_tags)

    def take(self, subset: ImageSubset) -> LayerSample:
        """Return the sample that consists of some of these images."""
        return replace(self, images=self.images[subset.indices], subset=subset)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def codes(self) -> np.ndarray:
        """(n,) int: the classes of the images.

        Raises:
            DataError: no labels were given.
        """
        if self.subset.codes is None:
            raise DataError("labels", "one per image", "none")
        return self.subset.codes

    @property
    def tags(self) -> np.ndarray | None:
        """(n, k) zeros and ones where images have several labels."""
        return self.subset.tags

    @property
    def members(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of images and the classes that they are of, once for each of their labels."""
        if self.tags is not None:
            rows, columns = np.nonzero(self.tags)
            return rows, columns
        if self.subset.codes is None:
            return np.zeros(0, int), np.zeros(0, int)
        return np.arange(len(self)), self.codes

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the codes, or of the tags."""
        return self.subset.classes

    @property
    def indices(self) -> np.ndarray:
        """(n,) int: indices into the images given."""
        return self.subset.indices

    @property
    def notices(self) -> tuple[str, ...]:
        """Samples that were left out, and why."""
        return self.subset.notices

    @property
    def few_images_notices(self) -> list[str]:
        """A remark on classes, or tags, of few images, if there are any."""
        counts = np.bincount(self.members[1], minlength=len(self.classes)).tolist()
        pairs = zip(self.classes, counts, strict=True)
        small_classes = [f"{name} ({count})" for name, count in pairs if count < FEW_IMAGES]
        if not small_classes:
            return []
        kind = "Classes" if self.tags is None else "Tags"
        names = ", ".join(small_classes[:8])
        if len(small_classes) > 8:
            names += f" and {len(small_classes) - 8} more"
        tiny = self.tags is None and any(0 < count < FEWEST_HELD_OUT for count in counts)
        return [
            f"{kind} of fewer than {FEW_IMAGES} images: {names}. Their "
            f"bits are not reliable; use more images of them.{_SMALL_P if tiny else ''}"
        ]

    @property
    def size(self) -> tuple[int, ...]:
        """The nodes of a map along each spatial axis."""
        return self.layer.size if self.at == "response" else self.layer.block_size or ()

    def responses(
        self, byte_budget: int = BYTE_BUDGET, progress: Progress = silent, task: str = "responses"
    ) -> Iterator[ResponseBlock]:
        """Yield the responses of the maps, as many maps at a time as the budget allows.

        `progress` is called with the name of the task and the number of maps done.

        Raises:
            SettingsError: `block` for a layer that no pooling follows.
            NoFiniteResponses: after the last block, if no map had finite responses.
        """
        from oip.network.forward import map_blocks

        label, count, finite_maps = f"{self.layer.name}: {task}", 0, 0
        progress(label, count, len(self.maps))
        for maps, values in map_blocks(
            self.network, self.images, self.layer, self.maps, self.at, byte_budget
        ):
            finite = np.asarray(np.isfinite(values).all(axis=(0, 2)))
            finite_maps += int(finite.sum())
            yield ResponseBlock(maps, values, finite)
            count += len(maps)
            progress(label, count, len(self.maps))
        if not finite_maps:
            raise NoFiniteResponses.of(self.layer.name)


def check_at(at: str) -> None:
    """Raise a SettingsError for another place than `response` and `block`."""
    check_choice("at", at, ("response", "block"))


def labeled_subset(
    labels: ArrayLike | None,
    count: int,
    samples: int,
    seed: int,
    classes: Sequence[str] | None = None,
) -> ImageSubset:
    """Draw from labeled images, in the shares of their classes; classes seen once are left out.

    Raises DataError for labels that cannot be used, SettingsError for too few samples for the
    classes.
    """
    checked = validation.check_labels(labels, count, classes)
    rows = validation.stratified(checked.codes, samples, seed)
    return ImageSubset(checked.indices[rows], checked.codes[rows], checked.classes, checked.notices)


def first_image_of_copies(images: np.ndarray, subset: ImageSubset) -> np.ndarray:
    """Return the indices of a labeled subset without copies of images of the same label."""
    first_indices: dict[tuple[bytes, int], int] = {}
    codes = np.zeros(len(subset.indices), int) if subset.codes is None else subset.codes
    for index, code in zip(subset.indices.tolist(), codes.tolist(), strict=True):
        digest = hashlib.blake2b(images[index].tobytes(), digest_size=16).digest()
        first_indices.setdefault((digest, code), index)
    return np.array(list(first_indices.values()))


def unlabeled_subset(count: int, samples: int, seed: int) -> ImageSubset:
    """Draw from images without labels, two or more."""
    if count < validation.FEWEST:
        raise DataError("images", "two or more", count)
    return ImageSubset(seeds.subset(count, samples, seed, "samples"))


def output_subset(
    network: Network, labels: ArrayLike | None, count: int, samples: int, seed: int
) -> ImageSubset:
    """Draw from images whose labels are units of the model's output, in the classes' shares.

    Errors are those of `output_units`, and a SettingsError for too few samples for the classes.
    """
    units = output_units(network, labels, count)
    codes = np.unique(units, return_inverse=True)[1]
    rows = validation.stratified(codes, samples, seed)
    return ImageSubset(rows, units[rows])


def output_units(network: Network, labels: ArrayLike | None, count: int | None) -> np.ndarray:
    """Return labels (count,) int, whole numbers or one-hot, as the units of the model's output.

    Raises:
        ModelError: the model does not end in classes.
        DataError: another number of labels (any will do for a count of None), or labels that are no
            whole numbers from 0 to the number of the model's classes.
    """
    classes = max(2, network.class_layer().maps)
    values = validation.label_column("labels", labels)
    if count is not None and len(values) != count:
        raise DataError("labels", f"{count}, one per image", len(values))
    classes_text = f"whole numbers from 0 to {classes - 1}, the classes of the model's output"
    if values.dtype.kind not in "bui":
        raise DataError("labels", classes_text, f"'{values[0]}'")
    units = values.astype(np.int64)
    if units.min(initial=0) < 0 or units.max(initial=0) >= classes:
        raise DataError("labels", classes_text, f"{units.min()} to {units.max()}")
    return units


def response_components(means: np.ndarray) -> np.ndarray:
    """Return (m, p) float32, of which inner products are the correlations of responses.

    These are the first principal components of the standardized responses; each row has length 1
    but for what the components leave out.

    Args:
        means: (n, m): the spatial mean of each map's response to each image. Maps that are always
            the same have zeros, maps that are not finite NaN.
    """
    finite = np.isfinite(means).all(axis=0)
    values = np.where(finite, means, 0.0)
    values = values - values.mean(axis=0)
    length = np.linalg.norm(values, axis=0)
    floor = 1e-6 * np.abs(np.where(finite, means, 0.0)).max(axis=0) * np.sqrt(len(means))
    varies = length > floor
    values = np.where(varies, values / np.where(varies, length, 1.0), 0.0)
    shares, directions = np.linalg.eigh(values @ values.T)
    leading = np.argsort(-shares, kind="stable")[: min(_COMPONENTS, *means.shape)]
    directions = directions[:, leading]
    largest = np.abs(directions).argmax(axis=0)
    signs = np.sign(directions[largest, np.arange(len(leading))])
    rows = values.T @ (directions * signs)
    rows[~finite] = np.nan
    return rows.astype(np.float32)


def summarize_responses(
    values: np.ndarray,
    size: tuple[int, ...],
    members: tuple[np.ndarray, np.ndarray],
    classes: int,
    indices: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return the best images and the histograms of some maps, from their responses (n, m, d).

    An image excites a map if the spatial mean of the map's response to it is above 0. `size` has
    the nodes along each spatial axis, `members` rows of images and their classes, and `indices`
    (n,) the index of each image among those given by the user.

    Returns:
        The arrays of `ResponsesFile` but `maps`. A map with responses that are not finite has no
        best images, NaN edges, an empty histogram and NaN as its share of exciting images.
    """
    maps = values.shape[1]
    means = values.mean(axis=2, dtype=np.float64)
    shape = (*(1,) * (2 - len(size)), *size)
    result = {
        "best_images": np.full((maps, BEST), -1, np.int64),
        "best_scores": np.full((maps, BEST), np.nan, np.float32),
        "best_positions": np.full((maps, BEST, 2), -1, np.int32),
        "edges": np.full((maps, BINS + 1), np.nan, np.float32),
        "histogram": np.zeros((maps, classes, BINS), np.int32),
        "active": np.full(maps, np.nan, np.float32),
    }
    for row in range(maps):
        scores = means[:, row]
        if not np.isfinite(scores).all():
            continue
        best = np.argsort(-scores, kind="stable")[:BEST]
        best = best[scores[best] > 0]
        strongest = np.unravel_index(values[best, row].argmax(axis=1), shape)
        result["best_images"][row, : len(best)] = indices[best]
        result["best_scores"][row, : len(best)] = scores[best]
        result["best_positions"][row, : len(best)] = np.stack(strongest[-2:], axis=1)
        edges = np.linspace(scores.min(), scores.max(), BINS + 1)
        if edges[0] == edges[-1]:
            edges = edges[0] + np.linspace(0.0, max(1.0, abs(edges[0])), BINS + 1)
        bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, BINS - 1)
        np.add.at(result["histogram"][row], (members[1], bins[members[0]]), 1)
        result["edges"][row] = edges
        result["active"][row] = (scores > 0).mean()
    return result


class ResponseSummaries:
    """The responses of a sample's maps block by block, and what a gallery shows of them all.

    Args:
        sample: the maps and the images.
        images: how many of them, the first ones, have `means`; as many as `arrays` needs if None.
    """

    def __init__(self, sample: LayerSample, images: int | None = None):
        self.sample = sample
        self._images = _LIKENESS if images is None else images
        self._parts: list[dict[str, np.ndarray]] = []
        self._means: list[np.ndarray] = []
        self._finite: list[np.ndarray] = []

    def blocks(
        self, byte_budget: int, progress: Progress, task: str = "responses"
    ) -> Iterator[ResponseBlock]:
        """Yield the blocks of `LayerSample.responses`, and keep a summary of each."""
        sample = self.sample
        for block in sample.responses(byte_budget, progress, task):
            self._parts.append(
                summarize_responses(
                    block.values, sample.size, sample.members, len(sample.classes), sample.indices
                )
            )
            self._means.append(block.values[: self._images].mean(axis=2, dtype=np.float64))
            self._finite.append(block.finite)
            yield block

    @property
    def means(self) -> np.ndarray:
        """(images, m): the spatial mean of each map's response to each image."""
        return np.concatenate(self._means, axis=1)

    @property
    def usable(self) -> np.ndarray:
        """(m,) bool: maps whose responses are all finite."""
        return np.concatenate(self._finite)

    @property
    def unusable_notices(self) -> list[str]:
        """A remark on maps whose responses are not finite, if there are any."""
        maps = self.sample.maps[~self.usable]
        if not maps.size:
            return []
        listed = ", ".join(map(str, maps[:8])) + (", ..." if maps.size > 8 else "")
        return [f"{maps.size} maps have responses that are not finite and rank last: {listed}."]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of `ResponsesFile` but `maps`."""
        arrays = {
            name: np.concatenate([block[name] for block in self._parts]) for name in self._parts[0]
        }
        return {**arrays, "likeness": response_components(self.means[:_LIKENESS])}
