"""Which noise each item of a targets reacts to before any ascent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oip.ascent.masks import refuse_constant, visible_masks
from oip.ascent.noise import Noise
from oip.ascent.objectives import Targets
from oip.ascent.settings import AscentSettings
from oip.core.progress import Progress, silent
from oip.network.forward import (
    batch_rows,
    compiled_for_images,
    image_batches,
    standardised_as_input,
)
from oip.network.network import Network

_BYTE_BUDGET, _MOST_IMAGES = 256 << 20, 256
_WHITE_STARTS = 64
_ALIKE = 0.5
_ROUNDING = 1e-6


@dataclass(frozen=True)
class _OnData:
    """Reactions of c items to images of the data."""

    scores: np.ndarray
    """(c,): the best at the input's mean and deviation over the pixels that the item sees."""
    active: np.ndarray
    """(c,): share of the images, as they are, that excite the item."""
    best: np.ndarray
    """(c,) int: the image that, as it is, excites it most."""
    varied: np.ndarray
    """(c,) bool: not the same value for all of them."""


@dataclass(frozen=True)
class Screening:
    """Reactions of all c items of a targets to s screened starts, white noise, and data."""

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
    """(c,): share of the data images, as they are, that excite the map; NaN without data."""
    data_best: np.ndarray
    """(c,) int: the data image that, as it is, excites the map most; -1 without data."""
    seen: np.ndarray
    """(1, h, w) bool: pixels with any influence on the layer; (c, h, w): on each objective."""

    @property
    def visible(self) -> np.ndarray:
        """(h, w) bool: pixels with influence on any item."""
        return np.asarray(self.seen.any(0))

    @property
    def broken(self) -> np.ndarray:
        """(c,) bool: maps whose response to some start is not finite."""
        return np.asarray(~(np.isfinite(self.post) & np.isfinite(self.pre)).all(0))

    def ranked_starts(self, number: int) -> np.ndarray:
        """All starts for one map, best first: by response, ties by pre-activation."""
        return np.lexsort((-self.pre_peak[:, number], -self.pre[:, number], -self.post[:, number]))


def screen(
    network: Network,
    targets: Targets,
    settings: AscentSettings,
    data: np.ndarray | None = None,
    progress: Progress = silent,
) -> Screening:
    """Tries all items of a targets on the same noise, one forward pass for all of them.

    Args:
        data: images (n, h, w, b) in input units, already checked; or None.

    Raises:
        ModelError: no gradient leads from what is read to the image input.
        SettingsError: an objective does not depend on the image input.
    """
    spec = network.inputs
    seen = visible_masks(network, targets, settings.seed)
    noise = Noise(spec.shape, settings.noise)
    white = Noise(spec.shape, "white")
    reactions = _Reactions(network, targets)
    whites = min(_WHITE_STARTS, settings.screened)

    def over(kind: Noise, count: int, purpose: str, before: int) -> list[np.ndarray]:
        found = []
        for rows in batch_rows(count, targets.bytes_per_image, _BYTE_BUDGET, _MOST_IMAGES):
            starts = np.arange(rows.start, rows.stop)
            images, _ = kind.images(settings.seed, targets.index, starts, purpose)
            found.append(reactions((images * spec.std + spec.mean).astype(np.float32)))
            total = settings.screened + whites
            progress(f"{targets.name}: screening", before + rows.stop, total)
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    post, pre, peak = over(noise, settings.screened, "start", 0)
    white_post = over(white, whites, "white", settings.screened)[0]
    broken = ~(np.isfinite(post) & np.isfinite(pre)).all(0)
    on_data = _on_data(reactions, network, data, seen)
    if targets.refuses_constants:
        same = _constant(_bounds([post, pre], [])) & ~on_data.varied & ~broken
        tried = settings.screened + (0 if data is None else len(data))
        refuse_constant(network, targets, same, tried, settings.seed)
    return Screening(
        post=post,
        pre=pre,
        pre_peak=peak,
        white=white_post.max(0),
        data_scores=np.where(broken, np.nan, on_data.scores),
        data_active=np.where(broken, np.nan, on_data.active),
        data_best=on_data.best,
        seen=seen,
    )


class _Reactions:
    """Values of all items for images in input units: post, pre and peak, each (n, items)."""

    def __init__(self, network: Network, targets: Targets):
        def everything(images: Any) -> Any:
            found = targets.everything(network.feed(images))
            return found.post, found.pre, found.peak

        self.items = len(targets.silent)
        self.bytes_per_image = targets.bytes_per_image
        self._graph = compiled_for_images(network, everything)

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        import tensorflow as tf

        return [part.numpy() for part in self._graph(tf.constant(images))]


def choose_starts(images: np.ndarray, count: int) -> np.ndarray:
    """Of images ranked best first, the best that are not alike, then the best of the rest.

    Args:
        images: (r, h, w, b), each of mean 0 and deviation 1.
        count: how many.

    Returns:
        Rows of `images` in ascending order, `count` of them or as many as there are.
    """
    flat = images.reshape(len(images), int(np.prod(images.shape[1:])))
    likeness = np.abs(flat @ flat.T) / flat.shape[1]
    kept: list[int] = []
    for row in range(len(images)):
        if len(kept) < count and all(likeness[row, other] < _ALIKE for other in kept):
            kept.append(row)
    for row in range(len(images)):
        if len(kept) < count and row not in kept:
            kept.append(row)
    return np.sort(np.array(kept, np.int64))


def visible_pixels(network: Network, targets: Targets, seed: int) -> np.ndarray:
    """(h, w) bool: pixels on which anything that is read depends; see `visible_masks`."""
    return np.asarray(visible_masks(network, targets, seed).any(0))


def _on_data(
    reactions: _Reactions, network: Network, data: np.ndarray | None, seen: np.ndarray
) -> _OnData:
    if data is None:
        unknown = np.full(reactions.items, np.nan)
        none = np.full(reactions.items, -1)
        return _OnData(unknown, unknown.copy(), none, np.zeros(reactions.items, bool))
    excited = np.zeros(reactions.items)
    strongest = np.full(reactions.items, -np.inf)
    best = np.zeros(reactions.items, np.int64)
    scores = np.full(reactions.items, -np.inf)
    bounds: list[np.ndarray] = []
    masks, of = np.unique(seen.reshape(len(seen), -1), axis=0, return_inverse=True)
    of = np.broadcast_to(of.reshape(-1), reactions.items)
    size = reactions.bytes_per_image
    for rows, images in image_batches(data, size, _BYTE_BUDGET, _MOST_IMAGES):
        part, before, _ = reactions(images)
        bounds = _bounds([part, before], bounds)
        excited += (part > 0).sum(0)
        top = np.nan_to_num(part, nan=-np.inf).argmax(0)
        values = part[top, np.arange(reactions.items)]
        best = np.where(values > strongest, rows.start + top, best)
        strongest = np.fmax(strongest, values)
        for number, mask in enumerate(masks):
            alike = standardised_as_input(images, network, mask.reshape(seen.shape[1:]))
            own = of == number
            scores[own] = np.fmax(scores[own], reactions(alike)[0].max(0)[own])
    return _OnData(scores, excited / len(data), best, ~_constant(bounds))


def _bounds(values: list[np.ndarray], before: list[np.ndarray]) -> list[np.ndarray]:
    """(2, items) smallest and largest of each of some values (n, items), and of those before."""
    found = [np.stack([one.min(0), one.max(0)]) for one in values]
    if not before:
        return found
    pairs = zip(found, before, strict=True)
    return [
        np.stack([np.minimum(new[0], old[0]), np.maximum(new[1], old[1])]) for new, old in pairs
    ]


def _constant(bounds: list[np.ndarray]) -> np.ndarray:
    """(items,) bool: nothing moved, but for what another batch size may change by rounding."""
    with np.errstate(invalid="ignore"):
        still = [high - low <= _ROUNDING * np.maximum(abs(low), abs(high)) for low, high in bounds]
    return np.asarray(np.logical_and.reduce(still))
