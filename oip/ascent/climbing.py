"""Some steps of the ascent as one compiled graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from oip.ascent.parameterisation import DataStatistics, parameterisation_of
from oip.ascent.readouts import Reading, Readout
from oip.ascent.regularisers import likeness, norm_slope, variation_slope
from oip.ascent.seen import Fields, Seen, each
from oip.ascent.settings import AscentSettings
from oip.ascent.smoothing import blurred, reach_of
from oip.ascent.transforms import look_of
from oip.network.graphs import compiled
from oip.network.view import Network

Focus = Literal["mean", "peak"]


class Segment:
    """A stretch of steps for any number of images, for one readout and one kind of settings."""

    def __init__(
        self,
        network: Network,
        readout: Readout,
        settings: AscentSettings,
        visible: np.ndarray,
        data: DataStatistics | None,
    ):
        self._network = network
        self._readout = readout
        self._settings = settings
        shape = network.inputs.shape
        self._fields = Fields(visible, shape)
        self._axes = list(range(1, len(shape) + 1))
        self._look = look_of(settings, shape, settings.seed)
        self._terms = parameterisation_of(settings, shape, data)
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

        image = tf.TensorSpec((None, *self._network.inputs.shape), tf.float32)
        return compiled(begin, image, tf.TensorSpec((None,), tf.int32))

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
        return compiled(segment, image, image, three, three, items, number, number, flag)

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
