"""Gradient ascent on many images at once, each for its own map, in one compiled loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from oip.ascent.results import REASONS
from oip.ascent.settings import AscentSettings
from oip.network.cut import run_to
from oip.network.graphs import compiled
from oip.network.layers import LayerInfo
from oip.network.view import Network

Focus = Literal["mean", "peak"]
_RUNNING = -1
_BUDGET, _CONVERGED, _STALLED, _FAILED = (
    REASONS.index(word) for word in ("budget", "converged", "stalled", "failed")
)


@dataclass(frozen=True)
class Climbed:
    """What the ascent of n images left. Fields as in `Oips`, with one row an image."""

    images: np.ndarray
    scores: np.ndarray
    pre_scores: np.ndarray
    traces: np.ndarray
    steps: np.ndarray
    reasons: np.ndarray
    snapshots: np.ndarray


class Climber:
    """The ascent for one layer: traced once, for any maps and any number of images.

    Images are standardised (mean 0, deviation 1 over the visible pixels and all bands); the model
    is fed `image * std + mean`, so the same network fed in other units climbs the same way.
    """

    def __init__(
        self, network: Network, layer: LayerInfo, settings: AscentSettings, visible: np.ndarray
    ):
        self.network = network
        self.layer = layer
        self.settings = settings
        self.visible = visible
        self._segment = self._compiled()

    def bytes_per_image(self) -> int:
        """Memory that one image takes while it climbs: forward, backward and its snapshots."""
        own = int(np.prod(self.network.inputs.shape))
        return 4 * self.network.activation_bytes(self.layer) + own * (
            16 + 2 * len(snapshot_steps(self.settings.steps))
        )

    def climb(self, starts: np.ndarray, maps: np.ndarray, focus: Focus = "mean") -> Climbed:
        """Grows n images.

        Args:
            starts: (n, h, w, b): standardised starting images.
            maps: (n,): the map that each image is for.
            focus: what a silent map climbs: the mean of its pre-activation, or its peak.
        """
        settings, count = self.settings, len(starts)
        wanted = snapshot_steps(settings.steps)
        images = self._restored(starts)
        snapshots = np.zeros((count, len(wanted), *starts.shape[1:]), np.float16)
        snapshots[:, 0] = images
        traces = np.full((count, settings.steps + 1), np.nan, np.float32)
        state = _State.begin(images)
        done = _State.begin(images)
        reasons = np.full(count, _RUNNING)
        steps = np.zeros(count, np.int64)
        alive = np.arange(count)
        before = np.full(count, -np.inf)
        first = 0
        for last in _boundaries(settings, wanted):
            evaluations = last - first + (last == settings.steps)
            state, trace, stuck = self._run(state, maps[alive], first, evaluations, focus)
            traces[alive, first : first + evaluations] = trace
            steps[alive] = last
            done.put(alive, state)
            first = last
            if last in wanted:
                snapshots[alive, wanted.index(last)] = state.images
            over = np.full(len(alive), _RUNNING)
            if last % settings.patience == 0 and last > settings.warmup:
                gain = state.keys - before[alive]
                over[(gain < settings.tolerance * np.abs(state.keys)) & (state.scores > 0)] = (
                    _CONVERGED
                )
            if last % settings.patience == 0:
                before[alive] = state.keys
            if last == settings.steps:
                over[over == _RUNNING] = _BUDGET
            over[stuck] = _STALLED
            over[~np.isfinite(state.keys) | ~np.isfinite(trace[:, -1])] = _FAILED
            reasons[alive] = over
            keep = over == _RUNNING
            alive, state = alive[keep], state.rows(keep)
            if not alive.size:
                break
        for place, step in enumerate(wanted):
            late = steps < step
            snapshots[late, place] = done.best[late]
        snapshots[:, -1] = done.best
        return Climbed(
            images=done.best,
            scores=np.where(reasons == _FAILED, np.nan, done.scores).astype(np.float32),
            pre_scores=done.pres.astype(np.float32),
            traces=traces,
            steps=steps,
            reasons=reasons,
            snapshots=snapshots,
        )

    def _run(
        self, state: _State, maps: np.ndarray, first: int, evaluations: int, focus: Focus
    ) -> tuple[_State, np.ndarray, np.ndarray]:
        import tensorflow as tf

        out = self._segment(
            tf.constant(state.images),
            tf.constant(state.best),
            tf.constant(np.stack([state.keys, state.scores, state.pres])),
            tf.constant(maps, tf.int32),
            tf.constant(first),
            tf.constant(evaluations),
            tf.constant(focus == "peak"),
        )
        images, best, kept, stuck, trace = (part.numpy() for part in out)
        return _State(images, best, *kept), trace.T, stuck

    def _restored(self, images: np.ndarray) -> np.ndarray:
        seen = self.visible[..., None] & np.ones(images.shape[-1], bool)
        values = images[:, seen]
        values = values - values.mean(1, keepdims=True)
        spread = values.std(1, keepdims=True)
        restored = np.zeros(images.shape, np.float32)
        restored[:, seen] = values / np.where(spread > 0, spread, 1.0)
        return restored

    def _compiled(self) -> Any:
        import tensorflow as tf

        network, layer, settings = self.network, self.layer, self.settings
        spec = network.inputs
        mean, std = tf.constant(spec.mean), tf.constant(spec.std)
        mask = tf.constant(self.visible[..., None] * np.ones(spec.shape[-1]), tf.float32)
        seen = float(max(1, self.visible.sum() * spec.shape[-1]))
        axes = list(range(1, len(spec.shape) + 1))
        blur = _blur(settings.blur, spec.shape)
        silence = layer.silent_possible

        def per_image(value: Any) -> Any:
            return tf.reshape(value, [-1, *[1] * len(axes)])

        def objective(images: Any, maps: Any, step: Any, peak: Any) -> tuple[Any, Any, Any]:
            fed = network.feed(images * std + mean)
            before, after = run_to(
                network.model,
                fed,
                layer.response,
                layer.channels_first,
                network.finite_weights,
                for_gradient=True,
            )
            nodes = list(range(1, len(before.shape) - 1))
            post = tf.gather(tf.reduce_mean(after, nodes), maps, batch_dims=1)
            if before is after:
                return post, post, post
            pre = tf.gather(tf.reduce_mean(before, nodes), maps, batch_dims=1)
            if not settings.climb_silent:
                return post, post, pre
            climbed = pre
            if silence:
                top = tf.cond(
                    peak,
                    lambda: tf.gather(tf.reduce_max(before, nodes), maps, batch_dims=1),
                    lambda: pre,
                )
                climbed = tf.where(post > 0, pre, top)
            warming = step < settings.warmup
            early = (
                tf.logical_or(warming, post <= 0) if silence else tf.fill(tf.shape(post), warming)
            )
            return tf.where(early, climbed, post), post, pre

        def restore(images: Any) -> Any:
            centred = (images - per_image(tf.reduce_sum(images * mask, axes) / seen)) * mask
            spread = tf.sqrt(tf.reduce_sum(tf.square(centred), axes) / seen)
            return centred / per_image(tf.maximum(spread, 1e-12))

        def move(images: Any, maps: Any, step: Any, peak: Any) -> tuple[Any, Any, Any, Any]:
            with tf.GradientTape() as tape:
                tape.watch(images)
                climbed, post, pre = objective(images, maps, step, peak)
            gradient = tape.gradient(climbed, images)
            size = tf.reduce_max(tf.abs(gradient), axes)
            still = tf.logical_not(size > 0)
            unit = gradient / per_image(tf.where(still, 1.0, size))
            rms = tf.sqrt(tf.reduce_sum(tf.square(unit) * mask, axes) / seen)
            moved = images + settings.rate * unit / per_image(tf.where(rms > 0, rms, 1.0))
            if blur is not None:
                soften = tf.equal(step % settings.blur_every, settings.blur_every - 1)
                moved = tf.cond(soften, lambda: blur(moved), lambda: moved)
            return tf.where(per_image(still), images, restore(moved)), post, pre, still

        def segment(
            images: Any, best: Any, kept: Any, maps: Any, first: Any, count: Any, peak: Any
        ) -> Any:
            def body(step: Any, images: Any, best: Any, kept: Any, stuck: Any, trace: Any) -> Any:
                moved, post, pre, still = move(images, maps, step, peak)
                key = tf.where(post > 0, post, pre) if silence else post
                better = key > kept[0]
                best = tf.where(per_image(better), images, best)
                kept = tf.where(better, tf.stack([key, post, pre]), kept)
                return step + 1, moved, best, kept, still, trace.write(step - first, post)

            trace = tf.TensorArray(tf.float32, size=count, element_shape=[None])
            state = (first, images, best, kept, tf.zeros(tf.shape(maps), tf.bool), trace)
            _, images, best, kept, stuck, trace = tf.while_loop(
                lambda step, *_: step < first + count, body, state, parallel_iterations=1
            )
            return images, best, kept, stuck, trace.stack()

        image = tf.TensorSpec((None, *spec.shape), tf.float32)
        number = tf.TensorSpec((), tf.int32)
        signature = [
            image,
            image,
            tf.TensorSpec((3, None), tf.float32),
            tf.TensorSpec((None,), tf.int32),
            number,
            number,
            tf.TensorSpec((), tf.bool),
        ]
        return compiled(segment, *signature)


@dataclass
class _State:
    """Images on their way, with the best that each has been."""

    images: np.ndarray
    best: np.ndarray
    keys: np.ndarray
    """Score where it is above zero, else the pre-activation: what `best` is judged by."""
    scores: np.ndarray
    pres: np.ndarray

    @classmethod
    def begin(cls, images: np.ndarray) -> _State:
        low = np.full(len(images), -np.inf, np.float32)
        return cls(
            images.astype(np.float32), images.astype(np.float32), low, low.copy(), low.copy()
        )

    def put(self, rows: np.ndarray, other: _State) -> None:
        for name, value in vars(other).items():
            getattr(self, name)[rows] = value

    def rows(self, keep: np.ndarray) -> _State:
        return _State(**{name: value[keep] for name, value in vars(self).items()})


def snapshot_steps(steps: int) -> list[int]:
    """Steps at which an image is kept on its way: 0, log-spaced, the last.

    >>> snapshot_steps(120)
    [0, 2, 4, 8, 15, 30, 60, 120]
    """
    found = {0, steps}
    late = steps
    while late > 3 and len(found) < 8:
        late = -(-late // 2)
        found.add(late)
    return sorted(found)


def _boundaries(settings: AscentSettings, wanted: list[int]) -> list[int]:
    checks = set(range(settings.patience, settings.steps, settings.patience))
    return sorted((checks | set(wanted)) - {0})


def _blur(sigma: float, shape: tuple[int, ...]) -> Any:
    """A function that blurs images (n, h, w, b) by a Gaussian, edges mirrored; None for sigma 0."""
    import tensorflow as tf

    if sigma <= 0:
        return None
    reach = max(1, int(np.ceil(3 * sigma)))
    if any(side <= reach for side in shape[:-1]):
        return None
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    line /= line.sum()

    def along(images: Any, axis: int) -> Any:
        padding = [[reach, reach] if place == axis else [0, 0] for place in range(len(shape) + 1)]
        padded = tf.pad(images, padding, "SYMMETRIC")
        size = shape[axis - 1]
        parts = []
        for place, weight in enumerate(line):
            begin = [place if dimension == axis else 0 for dimension in range(len(shape) + 1)]
            extent = [size if dimension == axis else -1 for dimension in range(len(shape) + 1)]
            parts.append(float(weight) * tf.slice(padded, begin, extent))
        return tf.add_n(parts)

    def blurred(images: Any) -> Any:
        for axis in range(1, len(shape)):
            images = along(images, axis)
        return images

    return blurred
