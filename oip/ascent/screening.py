"""Which noise each item of a readout reacts to before any ascent, and which pixels it sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oip.ascent.noise import Noise
from oip.ascent.readouts import Readout
from oip.ascent.settings import AscentSettings
from oip.core.errors import ModelError, expected
from oip.core.progress import Progress, silent
from oip.network.graphs import compiled
from oip.network.responses import standardised_as_input
from oip.network.view import Network

_FORWARD_BUDGET = 256 << 20
_PROBES = 32
_WHITE_STARTS = 64
_ALIKE = 0.5


@dataclass(frozen=True)
class Screening:
    """Reactions of all c items of a readout to s screened starts, white noise, and data."""

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
    visible: np.ndarray
    """(h, w) bool: pixels with any influence on the layer."""

    @property
    def broken(self) -> np.ndarray:
        """(c,) bool: maps whose response to some start is not finite."""
        return np.asarray(~(np.isfinite(self.post) & np.isfinite(self.pre)).all(0))

    def ranked_starts(self, number: int) -> np.ndarray:
        """All starts for one map, best first: by response, ties by pre-activation."""
        return np.lexsort((-self.pre_peak[:, number], -self.pre[:, number], -self.post[:, number]))


def screen(
    network: Network,
    readout: Readout,
    settings: AscentSettings,
    data: np.ndarray | None = None,
    progress: Progress = silent,
) -> Screening:
    """Tries all items of a readout on the same noise, one forward pass for all of them.

    Args:
        data: images (n, h, w, b) in input units, already checked; or None.

    Raises:
        ModelError: no gradient leads from what is read to the image input.
    """
    spec = network.inputs
    visible = visible_pixels(network, readout, settings.seed)
    noise = Noise(spec.shape, settings.noise)
    white = Noise(spec.shape, "white")
    reactions = _Reactions(network, readout)
    whites = min(_WHITE_STARTS, settings.screened)

    def over(kind: Noise, count: int, purpose: str, before: int) -> list[np.ndarray]:
        found = []
        for first in range(0, count, reactions.batch):
            starts = np.arange(first, min(first + reactions.batch, count))
            images, _ = kind.images(settings.seed, readout.index, starts, purpose)
            found.append(reactions((images * spec.std + spec.mean).astype(np.float32)))
            done = before + first + len(starts)
            progress(f"{readout.name}: screening", done, settings.screened + whites)
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    post, pre, peak = over(noise, settings.screened, "start", 0)
    white_post = over(white, whites, "white", settings.screened)[0]
    broken = ~(np.isfinite(post) & np.isfinite(pre)).all(0)
    scores, active, best = _on_data(reactions, network, data, visible)
    return Screening(
        post=post,
        pre=pre,
        pre_peak=peak,
        white=white_post.max(0),
        data_scores=np.where(broken, np.nan, scores),
        data_active=np.where(broken, np.nan, active),
        data_best=best,
        visible=visible,
    )


class _Reactions:
    """Values of all items for images in input units: post, pre and peak, each (n, items)."""

    def __init__(self, network: Network, readout: Readout):
        import tensorflow as tf

        def everything(images: Any) -> Any:
            found = readout.everything(network.feed(images))
            return found.post, found.pre, found.peak

        self.batch = int(np.clip(_FORWARD_BUDGET // readout.bytes_per_image, 1, 256))
        self.items = len(readout.silent)
        self._graph = compiled(everything, tf.TensorSpec((None, *network.inputs.shape), tf.float32))

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


def visible_pixels(network: Network, readout: Readout, seed: int) -> np.ndarray:
    """(h, w) bool: pixels on which anything that is read depends.

    A pixel is seen if the gradient of a random combination of all nodes is not zero there for at
    least one of several noise images. Where all of them leave the readout without any gradient,
    nothing is known and every pixel counts as seen.

    Raises:
        ModelError: no gradient leads from what is read to the image input at all.
    """
    import tensorflow as tf

    spec = network.inputs
    batch = int(np.clip(_FORWARD_BUDGET // (4 * readout.bytes_per_image), 1, _PROBES))

    def influence(images: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            fed = network.feed(images * spec.std + spec.mean)
            total = tf.zeros([])
            for place, tensor in enumerate(readout.probes(fed)):
                mixed = tf.random.stateless_normal(tf.shape(tensor), (seed, readout.index + place))
                total += tf.reduce_sum(tensor * mixed)
        gradient = tape.gradient(total, images)
        if gradient is None:
            raise ModelError(
                expected(
                    f"'{readout.name}'",
                    "something whose response has a gradient with respect to the image input",
                    "none (the input is of integers, or the layer belongs to another input)",
                )
            )
        return tf.reduce_any(gradient != 0, axis=[0, -1])

    graph = compiled(influence, tf.TensorSpec((None, *spec.shape), tf.float32))
    seen = np.zeros(spec.shape[:-1], bool)
    noise = Noise(spec.shape, "equal")
    for first in range(0, _PROBES, batch):
        starts = np.arange(first, min(first + batch, _PROBES))
        images, _ = noise.images(seed, readout.index, starts, "probe")
        seen |= graph(tf.constant(images)).numpy()
        if seen.all():
            break
    return seen if seen.any() else ~seen


def _on_data(
    reactions: _Reactions, network: Network, data: np.ndarray | None, visible: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best score at the input's statistics, share of images that excite, best image as it is."""
    if data is None:
        unknown = np.full(reactions.items, np.nan)
        return unknown, unknown.copy(), np.full(reactions.items, -1)
    excited = np.zeros(reactions.items)
    strongest = np.full(reactions.items, -np.inf)
    best = np.zeros(reactions.items, np.int64)
    scores = np.full(reactions.items, -np.inf)
    for first in range(0, len(data), reactions.batch):
        images = np.asarray(data[first : first + reactions.batch], np.float32)
        part = reactions(images)[0]
        excited += (part > 0).sum(0)
        top = np.nan_to_num(part, nan=-np.inf).argmax(0)
        values = part[top, np.arange(reactions.items)]
        best = np.where(values > strongest, first + top, best)
        strongest = np.fmax(strongest, values)
        alike = standardised_as_input(images, network, visible)
        scores = np.fmax(scores, reactions(alike)[0].max(0))
    return scores, excited / len(data), best
