"""Screening: the noise and data images that each item reacts to before any ascent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from oip.ascent.masks import refuse_constant, visible_masks
from oip.ascent.noise import Noise, NoiseCache
from oip.ascent.settings import AscentSettings
from oip.ascent.targets import Targets
from oip.core.frameworks import tf
from oip.core.progress import Progress, silent
from oip.network.forward import batch_rows, image_batches
from oip.network.network import Network

Reactions = Callable[[np.ndarray], list[np.ndarray]]
"""Takes images in input units; returns post, pre and peak of all items, each (n, items)."""
_BYTE_BUDGET, _MOST_IMAGES = 256 << 20, 256
_WHITE_STARTS = 64
_ALIKE = 0.5
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class Screening:
    """Reactions of all c items of the targets to s screened starts, white noise, and data."""

    post: np.ndarray
    """(s, c): spatial mean of the response."""
    pre: np.ndarray
    """(s, c): spatial mean of the pre-activation."""
    pre_peak: np.ndarray
    """(s, c): largest pre-activation."""
    white: np.ndarray
    """(c,): best response to white noise."""
    data_scores: np.ndarray
    """(c,): best response to a data image at the input's mean and deviation; NaN without data."""
    data_active: np.ndarray
    """(c,): share of the data images, as they are, that excite the item; NaN without data."""
    data_best: np.ndarray
    """(c, r) int: the data images that, as they are, excite the item most, best first; -1 without
    data. One of them, or with `align` or `context` the setting `references`."""
    masks: np.ndarray
    """(1, h, w) bool: pixels with any influence on the layer; (c, h, w): on each objective."""

    @property
    def visible(self) -> np.ndarray:
        """(h, w) bool: pixels with influence on any item."""
        return np.asarray(self.masks.any(0))

    @property
    def broken(self) -> np.ndarray:
        """(c,) bool: items whose response to some start is not finite."""
        return np.asarray(~(np.isfinite(self.post) & np.isfinite(self.pre)).all(0))

    def ranked_starts(self, item: int) -> np.ndarray:
        """Return all starts for one item, best first: by response, ties by pre-activation."""
        return np.lexsort((-self.pre_peak[:, item], -self.pre[:, item], -self.post[:, item]))


def screen(
    network: Network,
    targets: Targets,
    settings: AscentSettings,
    data: np.ndarray | None = None,
    progress: Progress = silent,
    starts: NoiseCache | None = None,
) -> Screening:
    """Try all items of the targets on the same noise, with one forward pass for all of them.

    Args:
        data: images (n, h, w, b) in input units, already checked; or None.
        starts: those of the targets, where they are kept for the ascent.

    Raises:
        ModelError: no gradient leads from the targets to the image input.
        SettingsError: an objective does not depend on the image input.
    """
    spec = network.inputs
    label = f"{targets.name}: screening"
    whites = min(_WHITE_STARTS, settings.screened)
    total = settings.screened + whites + (0 if data is None else len(data))
    progress(label, 0, total)
    masks = visible_masks(network, targets, settings.seed)

    def reactions(images: np.ndarray) -> list[np.ndarray]:
        return [values.numpy() for values in targets.all_activations(tf.constant(images))]

    def white(numbers: np.ndarray) -> np.ndarray:
        return Noise(spec.shape, "white").images(settings.seed, targets.index, numbers, "white")[0]

    def on_noise(
        draw: Callable[[np.ndarray], np.ndarray], count: int, offset: int
    ) -> list[np.ndarray]:
        batches = []
        for rows in batch_rows(count, targets.bytes_per_image, _BYTE_BUDGET, _MOST_IMAGES):
            images = draw(np.arange(rows.start, rows.stop))
            batches.append(reactions((images * spec.std + spec.mean).astype(np.float32)))
            progress(label, offset + rows.stop, total)
        return [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]

    if starts is None:
        noise = Noise(spec.shape, settings.noise)
        starts = NoiseCache(noise, settings.seed, targets.index)
    post, pre, peak = on_noise(starts.images, settings.screened, 0)
    white_post = on_noise(white, whites, settings.screened)[0]
    broken = ~(np.isfinite(post) & np.isfinite(pre)).all(0)

    def report(count: int) -> None:
        progress(label, settings.screened + whites + count, total)

    top = 1
    if settings.reference_terms and data is not None:
        top = min(settings.references, len(data))
    on_data = _data_reactions(reactions, network, targets, data, masks, report, top)
    if targets.refuses_constants:
        values = np.stack([post, pre])
        constant = _constant(values.min(1), values.max(1)) & ~on_data.varied & ~broken
        count = settings.screened + (0 if data is None else len(data))
        refuse_constant(network, targets, constant, count, settings.seed)
    return Screening(
        post=post,
        pre=pre,
        pre_peak=peak,
        white=white_post.max(0),
        data_scores=np.where(broken, np.nan, on_data.scores),
        data_active=np.where(broken, np.nan, on_data.active),
        data_best=on_data.best,
        masks=masks,
    )


def choose_starts(images: np.ndarray, count: int) -> np.ndarray:
    """Return the best images that are not alike, then the best of the rest.

    Args:
        images: (r, h, w, b), best first, each of mean 0 and deviation 1.

    Returns:
        Rows of `images` in ascending order, `count` of them or as many as there are.
    """
    flat = images.reshape(len(images), int(np.prod(images.shape[1:])))
    distinct: list[int] = []
    for row in range(len(images)):
        if len(distinct) == count:
            break
        if np.all(np.abs(flat[distinct] @ flat[row]) < _ALIKE * flat.shape[1]):
            distinct.append(row)
    similar = [row for row in range(len(images)) if row not in distinct]
    return np.sort(np.array(distinct + similar[: count - len(distinct)], np.int64))


def standardize_as_input(images: np.ndarray, network: Network, visible: np.ndarray) -> np.ndarray:
    """Give each image (h, w, b) the input's mean and standard deviation.

    Args:
        images: (n, h, w, b) in the model's input units.
        visible: (h, w) bool: the pixels whose mean and deviation count, over all bands.
    """
    spec = network.inputs
    standardized = spec.standardized(images)
    pixels = standardized[:, visible].reshape(len(images), -1)
    shape = (-1, *[1] * (standardized.ndim - 1))
    standardized -= pixels.mean(axis=1).reshape(shape)
    spread = pixels.std(axis=1).reshape(shape)
    standardized /= np.where(spread > 0, spread, 1.0)
    return (standardized * spec.std + spec.mean).astype(np.float32)


class _OnData(NamedTuple):
    """Reactions of c items to images of the data: as in `Screening`, and which items vary."""

    scores: np.ndarray
    active: np.ndarray
    best: np.ndarray
    varied: np.ndarray
    """(c,) bool: not the same value for all images."""


def _data_reactions(
    reactions: Reactions,
    network: Network,
    targets: Targets,
    data: np.ndarray | None,
    masks: np.ndarray,
    report: Callable[[int], None],
    top: int,
) -> _OnData:
    count = len(targets.can_be_inactive)
    if data is None:
        unknown = np.full(count, np.nan)
        return _OnData(unknown, unknown.copy(), np.full((count, top), -1), np.zeros(count, bool))
    excited = np.zeros(count)
    strongest = np.full((top, count), -np.inf, np.float32)
    best = np.zeros((top, count), np.int64)
    scores = np.full(count, -np.inf)
    low = np.full((2, count), np.inf, np.float32)
    high = -low
    different, mask_of = np.unique(masks.reshape(len(masks), -1), axis=0, return_inverse=True)
    mask_of = np.broadcast_to(mask_of.reshape(-1), count)
    size = targets.bytes_per_image
    for rows, images in image_batches(data, size, _BYTE_BUDGET, _MOST_IMAGES):
        post, pre, _ = reactions(images)
        pair = np.stack([post, pre])
        low, high = np.minimum(low, pair.min(1)), np.maximum(high, pair.max(1))
        excited += (post > 0).sum(0)
        numbers = np.repeat(np.arange(rows.start, rows.stop)[:, None], count, 1)
        strongest = np.concatenate([strongest, np.nan_to_num(post, nan=-np.inf)])
        order = np.argsort(-strongest, axis=0, kind="stable")[:top]
        best = np.take_along_axis(np.concatenate([best, numbers]), order, 0)
        strongest = np.take_along_axis(strongest, order, 0)
        for mask_index, mask in enumerate(different):
            mask_image = standardize_as_input(images, network, mask.reshape(masks.shape[1:]))
            in_mask = mask_of == mask_index
            scores[in_mask] = np.fmax(scores[in_mask], reactions(mask_image)[0].max(0)[in_mask])
        report(rows.stop)
    return _OnData(scores, excited / len(data), best.T, ~_constant(low, high))


def _constant(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return (items,) bool: values from `low` to `high`, (2, items), differ only by rounding."""
    with np.errstate(invalid="ignore"):
        is_constant = high - low <= _ROUNDING * np.maximum(abs(low), abs(high))
    return np.asarray(is_constant.all(0))
