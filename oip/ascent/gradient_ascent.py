"""Gradient ascent: steps as one compiled graph, and the loop that runs them until images settle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Generic, Literal, NamedTuple, TypeVar

import numpy as np

from oip.ascent.masks import PixelMask, PixelMasks, expand_like, image_axes
from oip.ascent.objectives import Activations, Stage, Targets
from oip.ascent.parameterization import DataStatistics, parameterization_of
from oip.ascent.regularizers import blur_radius, blurred, likeness, norm_slope, variation_slope
from oip.ascent.results import REASONS
from oip.ascent.settings import AscentSettings
from oip.ascent.transforms import transform_of
from oip.core.frameworks import Tensor, tf
from oip.network.forward import compiled, compiled_for_images
from oip.network.network import Network

Array = TypeVar("Array")
Focus = Literal["mean", "peak"]
"""The value that an inactive map climbs: the mean of its pre-activation, or its peak."""

_RUNNING = -1
_BUDGET, _CONVERGED, _STALLED, _FAILED = (
    REASONS.index(reason) for reason in ("budget", "converged", "stalled", "failed")
)
_CHECK_STEPS = 5
"""Steps from one check of what has converged to the next, at least."""


class BestSoFar(NamedTuple, Generic[Array]):
    """Values of the best that each of n images has been, each (n,) float32."""

    key: Array
    """The score where it is above zero, else the pre-activation: decides which image is best."""
    score: Array
    pre: Array
    """The pre-activation."""


class StepState(NamedTuple, Generic[Array]):
    """State of n images that the next step needs, each (n,) float32."""

    rate: Array
    """Length of the last step."""
    value: Array
    """Score before the last step."""
    pre: Array
    """Pre-activation before the last step."""


class AscentState(NamedTuple, Generic[Array]):
    """n images on their way: tensors in the graph, arrays outside of it."""

    images: Array
    """(n, h, w, b): as they climb."""
    shown: Array
    """(n, h, w, b): as they are scored, standardized over the visible pixels."""
    best_images: Array
    """(n, h, w, b): the best that each has been, as it is scored."""
    best: BestSoFar[Array]
    step: StepState[Array]

    def put(
        self: AscentState[np.ndarray], rows: np.ndarray, other: AscentState[np.ndarray]
    ) -> None:
        """Replace some of the images by those of another state."""
        for own, new in zip(tf.nest.flatten(self), tf.nest.flatten(other), strict=True):
            own[rows] = new


@dataclass(eq=False, repr=False)
class AscentResult:
    """Images after the ascent, with the evidence for each. Fields as in `Oips`, one row an image.

    An array is (n, ...) of n images; of an `AscentByMap` it is (m, k, ...).
    """

    images: np.ndarray
    scores: np.ndarray
    pre_scores: np.ndarray
    traces: np.ndarray
    steps: np.ndarray
    reasons: np.ndarray
    snapshots: np.ndarray


class GradientAscent:
    """The ascent for some targets: compiled once, for any items and any number of images.

    Images are standardized (mean 0, deviation 1 over all bands of the visible pixels); the model is
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
        shape = network.inputs.shape
        self._masks = PixelMasks(visible, shape)
        self._transform = transform_of(settings, shape, settings.seed)
        self._parameterization = parameterization_of(settings, shape, data)
        self._blurs = settings.blur > 0 or (settings.blur_end or 0.0) > 0
        image = tf.TensorSpec((None, *shape), tf.float32)
        value, item = tf.TensorSpec((None,), tf.float32), tf.TensorSpec((None,), tf.int32)
        number, flag = tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.bool)
        best, step = BestSoFar(value, value, value), StepState(value, value, value)
        state = AscentState(image, image, image, best, step)
        self._run = compiled(self._run_graph, state, item, number, number, flag)
        self._begin = compiled_for_images(network, self._begin_graph, item)

    def bytes_per_image(self) -> int:
        """Return the memory of one image that climbs: forward, backward and its snapshots."""
        values = int(np.prod(self.network.inputs.shape))
        snapshots = 2 * len(snapshot_steps(self.settings.steps))
        return 2 * self.targets.bytes_per_image + values * (16 + snapshots)

    def climb(self, starts: np.ndarray, items: np.ndarray, focus: Focus = "mean") -> AscentResult:
        """Grow n images.

        Args:
            starts: (n, h, w, b): standardized starting images.
            items: (n,): the item that each image is for; with the setting `diversity`, all starts
                of an item climb together.
        """
        settings, count = self.settings, len(starts)
        kept_steps = snapshot_steps(settings.steps)
        state = self._begun(starts, items)
        final = tf.nest.map_structure(np.copy, state)
        snapshots = np.zeros((count, len(kept_steps), *starts.shape[1:]), np.float16)
        snapshots[:, 0] = state.best_images
        traces = np.full((count, settings.steps + 1), np.nan, np.float32)
        keys = np.full((count, settings.steps + 1), -np.inf, np.float32)
        reasons = np.full(count, _RUNNING)
        steps = np.zeros(count, np.int64)
        running = np.arange(count)
        first = 0
        for last in _check_steps(settings, kept_steps):
            evaluations = last - first + (last == settings.steps)
            state, trace, stuck = self._take_steps(state, items[running], first, evaluations, focus)
            traces[running, first : first + evaluations] = trace
            keys[running, last] = state.best.key
            steps[running] = last
            final.put(running, state)
            first = last
            if last in kept_steps:
                snapshots[running, kept_steps.index(last)] = state.shown
            ended = np.full(len(running), _RUNNING)
            earlier = last - settings.patience
            if earlier >= settings.warmup:
                ended[self._settled(keys[running, earlier], state.best, items[running])] = (
                    _CONVERGED
                )
            if last == settings.steps:
                ended[ended == _RUNNING] = _BUDGET
            ended[stuck] = _STALLED
            ended[~np.isfinite(state.best.key) | ~np.isfinite(trace[:, -1])] = _FAILED
            if settings.diversity > 0:
                ended = _ended_together(ended, items[running])
            reasons[running] = ended
            rows = ended == _RUNNING
            running = running[rows]
            state = tf.nest.map_structure(lambda array, rows=rows: array[rows], state)
            if not running.size:
                break
        for column, step in enumerate(kept_steps):
            late = steps < step
            snapshots[late, column] = final.best_images[late]
        snapshots[:, -1] = final.best_images
        scores = np.where(reasons == _FAILED, np.nan, final.best.score).astype(np.float32)
        return AscentResult(
            images=final.best_images,
            scores=scores,
            pre_scores=final.best.pre,
            traces=traces,
            steps=steps,
            reasons=reasons,
            snapshots=snapshots,
        )

    def _settled(
        self, earlier: np.ndarray, best: BestSoFar[np.ndarray], items: np.ndarray
    ) -> np.ndarray:
        """Return (n,) bool: gained too little since the keys were `earlier`."""
        key, score = best.key, best.score
        with np.errstate(invalid="ignore"):
            little = key - earlier < self.settings.tolerance * np.abs(key)
        return little & ((score > 0) | ~self.targets.can_be_inactive[items])

    def _begun(self, starts: np.ndarray, items: np.ndarray) -> AscentState[np.ndarray]:
        """Return the state of starting images (n, h, w, b) of items (n,)."""
        images, shown = self._begin(tf.constant(starts, tf.float32), tf.constant(items, tf.int32))
        lowest = np.full(len(starts), -np.inf, np.float32)
        rate = np.full(len(starts), self.settings.rate, np.float32)
        best, step = BestSoFar(lowest, lowest, lowest), StepState(rate, lowest, lowest)
        return AscentState(images.numpy(), shown.numpy(), shown.numpy(), best, step)

    def _take_steps(
        self,
        state: AscentState[np.ndarray],
        items: np.ndarray,
        first: int,
        count: int,
        focus: Focus,
    ) -> tuple[AscentState[np.ndarray], np.ndarray, np.ndarray]:
        """Take `count` steps from step `first` on, for images of items (n,).

        Returns:
            The state, scores (n, count) before each step, and (n,) bool: images without a gradient.
        """
        end, trace, stuck = self._run(
            tf.nest.map_structure(tf.constant, state),
            tf.constant(items, tf.int32),
            tf.constant(first),
            tf.constant(count),
            tf.constant(focus == "peak"),
        )
        state = tf.nest.map_structure(lambda tensor: tensor.numpy(), end)
        return state, trace.numpy().T, stuck.numpy()

    def _begin_graph(self, starts: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        mask = self._masks.of(items)
        images = self._parameterization.begin(mask.restored(starts))
        return images, self._shown(images, mask)

    def _run_graph(
        self, state: AscentState[Tensor], items: Tensor, first: Tensor, count: Tensor, peak: Tensor
    ) -> tuple[AscentState[Tensor], Tensor, Tensor]:
        """Return the state after the steps, scores (count, n), and (n,) bool: no gradient."""
        can_be_inactive = tf.gather(tf.constant(self.targets.can_be_inactive), items)
        mask = self._masks.of(items)

        def body(
            step: Tensor,
            images: Tensor,
            best_images: Tensor,
            best: BestSoFar[Tensor],
            before: StepState[Tensor],
            _stuck: Tensor,
            trace: tf.TensorArray,
        ) -> tuple[object, ...]:
            moved, shown, after, stuck = self._step(images, before, items, step, peak, mask)
            active = tf.logical_or(after.value > 0, tf.logical_not(can_be_inactive))
            new = BestSoFar(tf.where(active, after.value, after.pre), after.value, after.pre)
            better = new.key > best.key
            best_images = tf.where(expand_like(better, images), shown, best_images)
            pairs = zip(new, best, strict=True)
            best = BestSoFar(*(tf.where(better, now, then) for now, then in pairs))
            trace = trace.write(step - first, after.value)
            return step + 1, moved, best_images, best, after, stuck, trace

        trace = tf.TensorArray(tf.float32, size=count, element_shape=[None])
        stuck = tf.zeros(tf.shape(items), tf.bool)
        values = (first, state.images, state.best_images, state.best, state.step, stuck, trace)
        _, images, best_images, best, after, stuck, trace = tf.while_loop(
            lambda step, *_: step < first + count, body, values, parallel_iterations=1
        )
        shown = self._shown(images, mask)
        return AscentState(images, shown, best_images, best, after), trace.stack(), stuck

    def _step(
        self,
        images: Tensor,
        before: StepState[Tensor],
        items: Tensor,
        step: Tensor,
        peak: Tensor,
        mask: PixelMask,
    ) -> tuple[Tensor, Tensor, StepState[Tensor], Tensor]:
        """Take one step.

        Returns:
            Images after it, images before it as they are scored, the step's state, and (n,) bool:
            images without a gradient, which stay as they are.
        """
        settings = self.settings
        stage = Stage(step < settings.warmup, peak, settings.climb_inactive)
        shown = self._shown(images, mask)
        with tf.GradientTape(persistent=settings.diversity > 0) as tape:
            tape.watch(shown)
            received = shown if self._transform is None else self._transform(shown, step)
            activations = self._activations(received, items, stage)
            alike = likeness(activations.features, items) if settings.diversity > 0 else None
        slope = tf.ensure_shape(tape.gradient(activations.climbed, shown), images.shape)
        alike_slope = None
        if alike is not None:
            alike_slope = tf.ensure_shape(tape.gradient(alike, shown), images.shape)
        if self._transform is not None:
            activations = self._activations(shown, items, stage)
        size = tf.reduce_max(tf.abs(slope), image_axes(images))
        stuck = tf.logical_not(size > 0)
        direction = mask.unit(slope / expand_like(tf.where(stuck, 1.0, size), slope))
        if settings.total_variation > 0:
            direction -= settings.total_variation * variation_slope(shown) * mask.mask
        if settings.norm > 0:
            direction -= settings.norm * norm_slope(shown, settings.norm_power) * mask.mask
        if alike is not None and alike_slope is not None:
            weight = settings.diversity * expand_like(alike, alike_slope)
            direction -= weight * mask.unit(alike_slope)
        rates = self._rates(activations, before, step)
        lengths = rates * mask.root_share(self.network.inputs.shape)
        moved = self._parameterization.step(images, mask.unit(direction), lengths)
        moved = self._blurred(moved, step)
        if not self._parameterization.keeps_spectrum:
            moved = mask.restored(moved)
        moved = tf.where(expand_like(stuck, images), images, moved)
        return moved, shown, StepState(rates, activations.post, activations.pre), stuck

    def _activations(self, images: Tensor, items: Tensor, stage: Stage) -> Activations:
        spec = self.network.inputs
        inputs = self.network.feed(images * spec.std + spec.mean)
        return self.targets.own_items(inputs, items, stage)

    def _rates(self, activations: Activations, before: StepState[Tensor], step: Tensor) -> Tensor:
        """Return rates (n,): up where the last step helped; as they are after a blur."""
        settings = self.settings
        if settings.rate_up == settings.rate_down == 1.0:
            return before.rate
        by_pre = tf.logical_or(step < settings.warmup, activations.post <= 0)
        rose = tf.where(by_pre, activations.pre > before.pre, activations.post > before.value)
        rates = before.rate * tf.where(rose, settings.rate_up, settings.rate_down)
        unchanged = tf.equal(step, 0)
        if self._blurs:
            unchanged = tf.logical_or(
                unchanged, tf.equal(tf.math.floormod(step, settings.blur_every), 0)
            )
        return tf.where(unchanged, before.rate, rates)

    def _blurred(self, images: Tensor, step: Tensor) -> Tensor:
        settings = self.settings
        if not self._blurs:
            return images
        end = settings.blur if settings.blur_end is None else settings.blur_end
        share = tf.cast(step, tf.float32) / max(1, settings.steps)
        sigma = settings.blur + (end - settings.blur) * share
        radius = blur_radius(max(settings.blur, end))
        due = tf.equal(tf.math.floormod(step, settings.blur_every), settings.blur_every - 1)
        return tf.cond(due, lambda: blurred(images, sigma, radius), lambda: images)

    def _shown(self, images: Tensor, mask: PixelMask) -> Tensor:
        return mask.restored(images) if self._parameterization.keeps_spectrum else images


@dataclass(eq=False, repr=False)
class AscentByMap(AscentResult):
    """Results of an ascent by map and start: every array (m, k, ...)."""

    starts: np.ndarray
    """(m, k) int: number of the screened start."""
    can_be_inactive: np.ndarray
    """(m,) bool: the response can rest at zero."""

    @classmethod
    def of(
        cls, starts: Sequence[np.ndarray], result: AscentResult, can_be_inactive: np.ndarray
    ) -> AscentByMap:
        """Return a result of the starts (k,) of each map, one after the other."""
        shape = (len(starts), len(starts[0]))
        arrays = {
            name: array.reshape(*shape, *array.shape[1:]) for name, array in vars(result).items()
        }
        return cls(**arrays, starts=np.stack(starts), can_be_inactive=can_be_inactive)

    @property
    def inactive(self) -> np.ndarray:
        """(m,) bool: no start found a response above zero."""
        with np.errstate(invalid="ignore"):
            inactive = np.all(~(self.scores > 0), axis=1) & self.can_be_inactive
        return inactive & np.isfinite(self.scores).any(1)

    @property
    def keys(self) -> np.ndarray:
        """(m, k): order of the starts: the score, or the pre-activation of inactive ones."""
        active = (self.scores > 0) | ~self.can_be_inactive[:, None]
        keys = np.where(active, self.scores, self.pre_scores)
        keys = np.where(np.isfinite(self.scores), keys, -np.inf)
        return np.nan_to_num(keys, nan=-np.inf, posinf=np.inf, neginf=-np.inf)

    def fail(self, rows: np.ndarray) -> None:
        """Mark maps (m,) bool as failed: their own response is not finite."""
        self.scores[rows] = np.nan
        self.reasons[rows] = _FAILED

    def replace(self, rows: np.ndarray, other: AscentByMap) -> None:
        """Take the maps of another result, for these rows, where they came further."""
        better = other.keys.max(1) > self.keys.max(1)[rows]
        for field in fields(self):
            getattr(self, field.name)[rows[better]] = getattr(other, field.name)[better]

    def order(self) -> None:
        """Put the best start first; of the snapshots keep only those of the best start."""
        order = np.argsort(-self.keys, axis=1, kind="stable")
        rows = np.arange(len(order))[:, None]
        for field in fields(self):
            if field.name != "can_be_inactive":
                setattr(self, field.name, getattr(self, field.name)[rows, order])
        self.snapshots = self.snapshots[:, 0]


def snapshot_steps(steps: int) -> list[int]:
    """Return the steps at which an image is kept on its way: 0, log-spaced, the last.

    >>> snapshot_steps(120)
    [0, 2, 4, 8, 15, 30, 60, 120]
    """
    kept = {0, steps}
    step = steps
    while step > 3 and len(kept) < 8:
        step = -(-step // 2)
        kept.add(step)
    return sorted(kept)


def _check_steps(settings: AscentSettings, kept_steps: list[int]) -> list[int]:
    """Return the steps at which the compiled loop is left: for checks and for snapshots.

    Every check has another one `patience` steps before it.
    """
    parts = max(1, settings.patience // _CHECK_STEPS)
    stride = settings.patience // parts if settings.patience % parts == 0 else settings.patience
    return sorted({*range(stride, settings.steps, stride), *kept_steps} - {0})


def _ended_together(ended: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Keep images of an item running until all of them have ended; failed ones leave at once."""
    running = np.unique(items[ended == _RUNNING])
    return np.where(np.isin(items, running) & (ended != _FAILED), _RUNNING, ended)
