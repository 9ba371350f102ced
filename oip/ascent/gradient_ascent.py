"""Some steps of the ascent as one compiled graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from oip.ascent.masks import Fields, Seen, each
from oip.ascent.objectives import Reading, Targets
from oip.ascent.parameterization import DataStatistics, parameterization_of
from oip.ascent.regularizers import blurred, likeness, norm_slope, reach_of, variation_slope
from oip.ascent.results import REASONS
from oip.ascent.settings import AscentSettings
from oip.ascent.transforms import transform_of
from oip.network.forward import compiled_for_images
from oip.network.network import Network

Focus = Literal["mean", "peak"]


class AscentStep:
    """A stretch of steps for any number of images, for one targets and one kind of settings."""

    def __init__(
        self,
        network: Network,
        targets: Targets,
        settings: AscentSettings,
        visible: np.ndarray,
        data: DataStatistics | None,
    ):
        self._network = network
        self._readout = targets
        self._settings = settings
        shape = network.inputs.shape
        self._fields = Fields(visible, shape)
        self._axes = list(range(1, len(shape) + 1))
        self._look = transform_of(settings, shape, settings.seed)
        self._terms = parameterization_of(settings, shape, data)
        self._graph = self._compiled()
        self._begin = self._compiled_begin()

    def begun(self, starts: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Starting images (n, h, w, b) of items (n,), as they climb and as they are scored."""
        import tensorflow as tf

        images, shown = self._begin(tf.constant(starts, tf.float32), tf.constant(items, tf.int32))
        return images.numpy(), shown.numpy()

    def run(
        self,
        images: np.ndarray,
        best: np.ndarray,
        kept: np.ndarray,
        pace: np.ndarray,
        items: np.ndarray,
        first: int,
        count: int,
        focus: Focus,
    ) -> tuple[np.ndarray, ...]:
        """`count` steps from step `first` on.

        Args:
            images: (n, h, w, b) as they climb.
            best: (n, h, w, b): the best that each has been, as it is scored.
            kept: (3, n): key, score and pre-activation of the best.
            pace: (3, n): rate, and the last value and pre-activation.
            items: (n,).

        Returns:
            images, images as they are scored, best, kept, pace, stuck (n,) bool, trace (count, n).
        """
        import tensorflow as tf

        out = self._graph(
            tf.constant(images),
            tf.constant(best),
            tf.constant(kept),
            tf.constant(pace),
            tf.constant(items, tf.int32),
            tf.constant(first),
            tf.constant(count),
            tf.constant(focus == "peak"),
        )
        return tuple(part.numpy() for part in out)

    def _compiled_begin(self) -> Any:
        import tensorflow as tf

        def begin(starts: Any, items: Any) -> Any:
            seen = self._fields.of(items)
            images = self._terms.begun(seen.restored(starts))
            return images, self._shown(images, seen)

        return compiled_for_images(self._network, begin, tf.TensorSpec((None,), tf.int32))

    def _compiled(self) -> Any:
        import tensorflow as tf

        silences = tf.constant(self._readout.silent)

        def segment(
            images: Any,
            best: Any,
            kept: Any,
            pace: Any,
            items: Any,
            first: Any,
            count: Any,
            peak: Any,
        ) -> Any:
            silent = tf.gather(silences, items)
            seen = self._fields.of(items)

            def body(
                step: Any, images: Any, best: Any, kept: Any, pace: Any, _stuck: Any, trace: Any
            ) -> Any:
                moved = self._step(images, pace, items, step, peak, seen)
                reading = moved.reading
                open_ = tf.logical_or(reading.post > 0, tf.logical_not(silent))
                key = tf.where(open_, reading.post, reading.pre)
                better = key > kept[0]
                best = tf.where(each(better, images), moved.shown, best)
                kept = tf.where(better, tf.stack([key, reading.post, reading.pre]), kept)
                trace = trace.write(step - first, reading.post)
                return step + 1, moved.images, best, kept, moved.pace, moved.still, trace

            trace = tf.TensorArray(tf.float32, size=count, element_shape=[None])
            still = tf.zeros(tf.shape(items), tf.bool)
            state = (first, images, best, kept, pace, still, trace)
            _, images, best, kept, pace, stuck, trace = tf.while_loop(
                lambda step, *_: step < first + count, body, state, parallel_iterations=1
            )
            return images, self._shown(images, seen), best, kept, pace, stuck, trace.stack()

        image = tf.TensorSpec((None, *self._network.inputs.shape), tf.float32)
        three, number = tf.TensorSpec((3, None), tf.float32), tf.TensorSpec((), tf.int32)
        items = tf.TensorSpec((None,), tf.int32)
        flag = tf.TensorSpec((), tf.bool)
        signature = (image, three, three, items, number, number, flag)
        return compiled_for_images(self._network, segment, *signature)

    def _step(self, images: Any, pace: Any, items: Any, step: Any, peak: Any, seen: Seen) -> _Moved:
        """One step; the reading is of the images before it."""
        import tensorflow as tf

        settings = self._settings
        warming = step < settings.warmup
        shown = self._shown(images, seen)
        with tf.GradientTape(persistent=settings.diversity > 0) as tape:
            tape.watch(shown)
            looked = shown if self._look is None else self._look(shown, step)
            reading = self._read(looked, items, warming, peak)
            alike = likeness(reading.features, items) if settings.diversity > 0 else None
        slope = tf.ensure_shape(tape.gradient(reading.climbed, shown), images.shape)
        apart = None if alike is None else tape.gradient(alike, shown)
        if self._look is not None:
            reading = self._read(shown, items, warming, peak)
        size = tf.reduce_max(tf.abs(slope), self._axes)
        still = tf.logical_not(size > 0)
        direction = seen.unit(slope / each(tf.where(still, 1.0, size), slope))
        if settings.total_variation > 0:
            direction -= settings.total_variation * variation_slope(shown) * seen.mask
        if settings.norm > 0:
            direction -= settings.norm * norm_slope(shown, settings.norm_power) * seen.mask
        if apart is not None:
            direction -= settings.diversity * each(alike, apart) * seen.unit(apart)
        rates = self._rates(reading, pace, step)
        rate = rates * seen.share(self._network.inputs.shape)
        moved = self._terms.moved(images, seen.unit(direction), rate)
        moved = self._soft(moved, step)
        if not self._terms.keeps_spectrum:
            moved = seen.restored(moved)
        moved = tf.where(each(still, images), images, moved)
        return _Moved(moved, shown, tf.stack([rates, reading.post, reading.pre]), reading, still)

    def _read(self, shown: Any, items: Any, warming: Any, peak: Any) -> Reading:
        spec = self._network.inputs
        fed = self._network.feed(shown * spec.std + spec.mean)
        return self._readout.own(fed, items, warming, peak, self._settings.climb_silent)

    def _rates(self, reading: Reading, pace: Any, step: Any) -> Any:
        """Rates of the next step: up where the last one helped; as they are after a blur."""
        import tensorflow as tf

        settings = self._settings
        if settings.rate_up == settings.rate_down == 1.0:
            return pace[0]
        silent = tf.logical_or(step < settings.warmup, reading.post <= 0)
        rose = tf.where(silent, reading.pre > pace[2], reading.post > pace[1])
        rates = pace[0] * tf.where(rose, settings.rate_up, settings.rate_down)
        fresh = tf.equal(step, 0)
        if self._blurs:
            fresh = tf.logical_or(fresh, tf.equal(step % settings.blur_every, 0))
        return tf.where(fresh, pace[0], rates)

    @property
    def _blurs(self) -> bool:
        return self._settings.blur > 0 or (self._settings.blur_end or 0.0) > 0

    def _soft(self, images: Any, step: Any) -> Any:
        import tensorflow as tf

        settings = self._settings
        if not self._blurs:
            return images
        end = settings.blur if settings.blur_end is None else settings.blur_end
        share = tf.cast(step, tf.float32) / max(1, settings.steps)
        sigma = settings.blur + (end - settings.blur) * share
        reach = reach_of(max(settings.blur, end))
        due = tf.equal(step % settings.blur_every, settings.blur_every - 1)
        return tf.cond(due, lambda: blurred(images, sigma, reach), lambda: images)

    def _shown(self, images: Any, seen: Seen) -> Any:
        return seen.restored(images) if self._terms.keeps_spectrum else images


@dataclass(frozen=True)
class _Moved:
    """One step in the graph."""

    images: Any
    shown: Any
    pace: Any
    reading: Reading
    still: Any


_RUNNING = -1
_BUDGET, _CONVERGED, _STALLED, _FAILED = (
    REASONS.index(word) for word in ("budget", "converged", "stalled", "failed")
)
_CHECKS = 5
"""Steps from one look at what has converged to the next, at least."""


@dataclass(frozen=True)
class AscentResult:
    """What the ascent of n images left. Fields as in `Oips`, with one row an image."""

    images: np.ndarray
    scores: np.ndarray
    pre_scores: np.ndarray
    traces: np.ndarray
    steps: np.ndarray
    reasons: np.ndarray
    snapshots: np.ndarray


class GradientAscent:
    """The ascent for one targets: traced once, for any items and any number of images.

    Images are standardised (mean 0, deviation 1 over all bands of the visible pixels); the model is
    fed `image * std + mean`, so the same network fed in other units climbs the same way.

    Args:
        visible: bool, (h, w) or (1, h, w) for all items, or (items, h, w).
    """

    def __init__(
        self,
        network: Network,
        targets: Targets,
        settings: AscentSettings,
        visible: np.ndarray,
        data: DataStatistics | None = None,
    ):
        self.network = network
        self.targets = targets
        self.settings = settings
        self.visible = visible
        self._segment = AscentStep(network, targets, settings, visible, data)

    def bytes_per_image(self) -> int:
        """Memory that one image takes while it climbs: forward, backward and its snapshots."""
        own = int(np.prod(self.network.inputs.shape))
        return 2 * self.targets.bytes_per_image + own * (
            16 + 2 * len(snapshot_steps(self.settings.steps))
        )

    def climb(self, starts: np.ndarray, items: np.ndarray, focus: Focus = "mean") -> AscentResult:
        """Grows n images.

        Args:
            starts: (n, h, w, b): standardised starting images.
            items: (n,): the item of the targets that each image is for; where diversity is asked
                for, all starts of an item climb together.
            focus: what a silent map climbs: the mean of its pre-activation, or its peak.
        """
        settings, count = self.settings, len(starts)
        wanted = snapshot_steps(settings.steps)
        state = self._begun(starts, items)
        done = _State(**{name: value.copy() for name, value in vars(state).items()})
        snapshots = np.zeros((count, len(wanted), *starts.shape[1:]), np.float16)
        snapshots[:, 0] = state.best
        traces = np.full((count, settings.steps + 1), np.nan, np.float32)
        keys = np.full((count, settings.steps + 1), -np.inf, np.float32)
        reasons = np.full(count, _RUNNING)
        steps = np.zeros(count, np.int64)
        alive = np.arange(count)
        first = 0
        for last in _boundaries(settings, wanted):
            evaluations = last - first + (last == settings.steps)
            state, trace, stuck = self._run(state, items[alive], first, evaluations, focus)
            traces[alive, first : first + evaluations] = trace
            keys[alive, last] = state.keys
            steps[alive] = last
            done.put(alive, state)
            first = last
            if last in wanted:
                snapshots[alive, wanted.index(last)] = state.shown
            over = np.full(len(alive), _RUNNING)
            before = last - settings.patience
            if before >= settings.warmup:
                over[self._settled(keys[alive, before], state, items[alive])] = _CONVERGED
            if last == settings.steps:
                over[over == _RUNNING] = _BUDGET
            over[stuck] = _STALLED
            over[~np.isfinite(state.keys) | ~np.isfinite(trace[:, -1])] = _FAILED
            if settings.diversity > 0:
                over = _together(over, items[alive])
            reasons[alive] = over
            keep = over == _RUNNING
            alive, state = alive[keep], state.rows(keep)
            if not alive.size:
                break
        for place, step in enumerate(wanted):
            late = steps < step
            snapshots[late, place] = done.best[late]
        snapshots[:, -1] = done.best
        return AscentResult(
            images=done.best,
            scores=np.where(reasons == _FAILED, np.nan, done.scores).astype(np.float32),
            pre_scores=done.pres.astype(np.float32),
            traces=traces,
            steps=steps,
            reasons=reasons,
            snapshots=snapshots,
        )

    def _settled(self, before: np.ndarray, state: _State, items: np.ndarray) -> np.ndarray:
        """(n,) bool: gained too little since the keys were `before`."""
        with np.errstate(invalid="ignore"):
            little = state.keys - before < self.settings.tolerance * np.abs(state.keys)
        return little & ((state.scores > 0) | ~self.targets.silent[items])

    def _begun(self, starts: np.ndarray, items: np.ndarray) -> _State:
        images, shown = self._segment.begun(starts, items)
        low = np.full(len(starts), -np.inf, np.float32)
        return _State(
            images=images,
            shown=shown,
            best=shown.copy(),
            keys=low,
            scores=low.copy(),
            pres=low.copy(),
            rates=np.full(len(starts), self.settings.rate, np.float32),
            posts=low.copy(),
            fronts=low.copy(),
        )

    def _run(
        self, state: _State, items: np.ndarray, first: int, evaluations: int, focus: Focus
    ) -> tuple[_State, np.ndarray, np.ndarray]:
        images, shown, best, kept, pace, stuck, trace = self._segment.run(
            state.images,
            state.best,
            np.stack([state.keys, state.scores, state.pres]),
            np.stack([state.rates, state.posts, state.fronts]),
            items,
            first,
            evaluations,
            focus,
        )
        return _State(images, shown, best, *kept, *pace), trace.T, stuck


@dataclass
class _State:
    """Images on their way, with the best that each has been."""

    images: np.ndarray
    shown: np.ndarray
    """The images as they are scored, standardised over what the layer sees."""
    best: np.ndarray
    keys: np.ndarray
    """Score where it is above zero, else the pre-activation: what `best` is judged by."""
    scores: np.ndarray
    pres: np.ndarray
    rates: np.ndarray
    posts: np.ndarray
    """Value at the last step, and `fronts`, its pre-activation."""
    fronts: np.ndarray

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
    """Steps at which the compiled loop is left: to look who has converged, and for snapshots.

    Every look has another one `patience` steps before it.
    """
    parts = max(1, settings.patience // _CHECKS)
    stride = settings.patience // parts if settings.patience % parts == 0 else settings.patience
    checks = set(range(stride, settings.steps, stride))
    return sorted((checks | set(wanted)) - {0})


def _together(over: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Images of one item go on until all of them are over; failed ones leave at once."""
    going = np.unique(items[over == _RUNNING])
    return np.where(np.isin(items, going) & (over != _FAILED), _RUNNING, over)


class AscentByMap:
    """AscentResult images by map and start: every array (m, k, ...)."""

    def __init__(self, arrays: dict[str, np.ndarray], can_be_silent: np.ndarray):
        self._arrays = arrays
        self._can_be_silent = can_be_silent

    def __getattr__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    @classmethod
    def of(cls, starts: list[np.ndarray], climbed: AscentResult, silent: np.ndarray) -> AscentByMap:
        shape = (len(starts), len(starts[0]))
        arrays = {
            name: value.reshape(*shape, *value.shape[1:]) for name, value in vars(climbed).items()
        }
        return cls({**arrays, "starts": np.stack(starts)}, silent)

    @property
    def silent(self) -> np.ndarray:
        """(m,) bool: no start found a response above zero."""
        with np.errstate(invalid="ignore"):
            quiet = np.all(~(self.scores > 0), axis=1) & self._can_be_silent
        return quiet & np.isfinite(self.scores).any(1)

    @property
    def keys(self) -> np.ndarray:
        """(m, k): what starts are ordered by: the score, of silent ones the pre-activation."""
        heard = (self.scores > 0) | ~self._can_be_silent[:, None]
        keys = np.where(heard, self.scores, self.pre_scores)
        keys = np.where(np.isfinite(self.scores), keys, -np.inf)
        return np.nan_to_num(keys, nan=-np.inf, posinf=np.inf, neginf=-np.inf)

    def fail(self, rows: np.ndarray) -> None:
        """Maps (m,) bool whose own response is not finite."""
        self.scores[rows] = np.nan
        self.reasons[rows] = REASONS.index("failed")

    def replace(self, rows: np.ndarray, other: AscentByMap) -> None:
        """Takes the other's maps where they came further."""
        better = other.keys.max(1) > self.keys.max(1)[rows]
        for name, value in self._arrays.items():
            value[rows[better]] = getattr(other, name)[better]

    def order(self) -> None:
        """Best start first; of the snapshots only those of the best start are kept."""
        order = np.argsort(-self.keys, axis=1, kind="stable")
        rows = np.arange(len(order))[:, None]
        self._arrays = {name: value[rows, order] for name, value in self._arrays.items()}
        self._arrays["snapshots"] = self._arrays["snapshots"][:, 0]
