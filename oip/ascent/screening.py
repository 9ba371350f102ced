"""Which noise each map of a layer reacts to before any ascent, and which pixels the layer sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oip.ascent.noise import Noise
from oip.ascent.settings import AscentSettings
from oip.core.errors import ModelError, expected
from oip.core.progress import Progress, silent
from oip.network.cut import run_to
from oip.network.graphs import compiled
from oip.network.layers import LayerInfo
from oip.network.responses import spatial_means
from oip.network.view import Network

_FORWARD_BUDGET = 256 << 20
_PROBES = 32
_WHITE_STARTS = 64
_ALIKE = 0.5


@dataclass(frozen=True)
class Screening:
    """Reactions of all c maps of a layer to s screened starts, white noise, and data."""

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
    layer: LayerInfo,
    settings: AscentSettings,
    data: np.ndarray | None = None,
    progress: Progress = silent,
) -> Screening:
    """Tries all maps of a layer on the same noise, one forward pass for all of them.

    Args:
        data: images (n, h, w, b) in input units, already checked; or None.

    Raises:
        ModelError: no gradient leads from the layer to the image input.
    """
    import tensorflow as tf

    spec = network.inputs
    visible = visible_pixels(network, layer, settings.seed)
    noise = Noise(spec.shape, settings.noise)
    white = Noise(spec.shape, "white")

    def reactions(images: Any) -> Any:
        fed = network.feed(images * spec.std + spec.mean)
        before, after = run_to(network.model, fed, layer.response, layer.channels_first)
        axes = list(range(1, len(before.shape) - 1))
        return (
            tf.reduce_mean(after, axes),
            tf.reduce_mean(before, axes),
            tf.reduce_max(before, axes),
        )

    graph = compiled(reactions, tf.TensorSpec((None, *spec.shape), tf.float32))
    batch = int(np.clip(_FORWARD_BUDGET // network.activation_bytes(layer), 1, 256))

    whites = min(_WHITE_STARTS, settings.screened)

    def over(kind: Noise, count: int, purpose: str, before: int) -> list[np.ndarray]:
        found = []
        for first in range(0, count, batch):
            starts = np.arange(first, min(first + batch, count))
            images, _ = kind.images(settings.seed, layer.index, starts, purpose)
            found.append([part.numpy() for part in graph(tf.constant(images))])
            done = before + first + len(starts)
            progress(f"{layer.name}: screening", done, settings.screened + whites)
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    post, pre, peak = over(noise, settings.screened, "start", 0)
    white_post = over(white, whites, "white", settings.screened)[0]
    broken = ~(np.isfinite(post) & np.isfinite(pre)).all(0)
    scores, active, best = _on_data(network, layer, data, visible)
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


def visible_pixels(network: Network, layer: LayerInfo, seed: int) -> np.ndarray:
    """(h, w) bool: pixels on which any node of the layer depends.

    A pixel is seen if the gradient of a random combination of all nodes is not zero there for at
    least one of several noise images. Where all of them leave the layer without any gradient,
    nothing is known and every pixel counts as seen.

    Raises:
        ModelError: no gradient leads from the layer to the image input at all.
    """
    import tensorflow as tf

    spec = network.inputs
    batch = int(np.clip(_FORWARD_BUDGET // (4 * network.activation_bytes(layer)), 1, _PROBES))

    def influence(images: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            fed = network.feed(images * spec.std + spec.mean)
            before, _ = run_to(
                network.model,
                fed,
                layer.response,
                layer.channels_first,
                network.finite_weights,
            )
            mixed = tf.random.stateless_normal(tf.shape(before), (seed, layer.index))
            total = tf.reduce_sum(before * mixed)
        gradient = tape.gradient(total, images)
        if gradient is None:
            raise ModelError(
                expected(
                    f"layer '{layer.name}'",
                    "a layer whose response has a gradient with respect to the image input",
                    "none (the input is of integers, or the layer belongs to another input)",
                )
            )
        return tf.reduce_any(gradient != 0, axis=[0, -1])

    graph = compiled(influence, tf.TensorSpec((None, *spec.shape), tf.float32))
    seen = np.zeros(spec.shape[:-1], bool)
    noise = Noise(spec.shape, "equal")
    for first in range(0, _PROBES, batch):
        starts = np.arange(first, min(first + batch, _PROBES))
        images, _ = noise.images(seed, layer.index, starts, "probe")
        seen |= graph(tf.constant(images)).numpy()
        if seen.all():
            break
    return seen if seen.any() else ~seen


def _on_data(
    network: Network, layer: LayerInfo, data: np.ndarray | None, visible: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best score at the input's statistics, share of images that excite, best image as it is."""
    if data is None:
        unknown = np.full(layer.maps, np.nan)
        return unknown, unknown.copy(), np.full(layer.maps, -1)
    excited = np.zeros(layer.maps)
    strongest = np.full(layer.maps, -np.inf)
    best = np.zeros(layer.maps, np.int64)
    first = 0
    for part in spatial_means(network, data, layer):
        excited += (part > 0).sum(0)
        top = np.nan_to_num(part, nan=-np.inf).argmax(0)
        values = part[top, np.arange(layer.maps)]
        best = np.where(values > strongest, first + top, best)
        strongest = np.fmax(strongest, values)
        first += len(part)
    scores = np.full(layer.maps, -np.inf)
    for part in spatial_means(network, data, layer, visible):
        scores = np.maximum(scores, part.max(0))
    return scores, excited / len(data), best
