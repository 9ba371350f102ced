"""Gradient ascent: steps as one compiled graph, and the loop that runs them until images settle."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from oip.ascent.ascent_graph import (
    AscentGraph,
    AscentInputs,
    AscentState,
    BestSoFar,
    FeatureLayers,
    Numbers,
    StepState,
    graph_settings,
)
from oip.ascent.masks import PixelMask, PixelMasks
from oip.ascent.parameterization import DataStatistics, bound_of, parameterization_of
from oip.ascent.references import Context, References, fidelity_layer, reached_layers
from oip.ascent.results import REASONS
from oip.ascent.settings import AscentSettings
from oip.ascent.targets import Targets
from oip.core.frameworks import tf
from oip.network.forward import image_spec
from oip.network.graphs import Graph
from oip.network.network import Network

Focus = Literal["mean", "peak"]
"""The value that an inactive map climbs: the mean of its pre-activation, or its peak."""
Report = Callable[[float], None]
"""Receives how much of some work is done."""

_RUNNING = -1
_BUDGET, _CONVERGED, _STALLED, _FAILED, _SCHEDULE = range(len(REASONS))
_MOST_SNAPSHOTS = 8
_CHECK_STEPS = 5
"""Steps from one check of what has converged to the next, at least."""


@dataclass(eq=False, repr=False)
class AscentResult:
    """Images after the ascent, with the evidence for each. Fields as in `Oips`, one row per image.

    An array is (n, ...) of n images; of an `AscentByMap` it is (m, k, ...).
    """

    images: np.ndarray
    scores: np.ndarray
    pre_scores: np.ndarray
    traces: np.ndarray
    steps: np.ndarray
    reasons: np.ndarray
    snapshots: np.ndarray
    alpha: np.ndarray


class GradientAscent:
    """The ascent for some targets: compiled once, for any items and any number of images.

    Images are standardized (mean 0, deviation 1 over all bands of the visible pixels); the model is
    fed `image * std + mean`, so the same network fed in other units climbs the same way.

    Args:
        visible: bool, (h, w) or (1, h, w) for all items, or (items, h, w).
        references: of the settings `align` and `context`.
        origin: (h, w, b) as images climb, of the setting `fidelity`.

    Raises:
        SettingsError: settings that need one of them, and there is none.
    """

    def __init__(
        self,
        network: Network,
        targets: Targets,
        settings: AscentSettings,
        visible: np.ndarray,
        data: DataStatistics | None = None,
        references: References | None = None,
        origin: np.ndarray | None = None,
    ):
        self.network = network
        self.targets = targets
        self.settings = settings = settings.for_items(targets.are_units)
        self.visible = visible
        shape = network.inputs.shape
        self._references = references if settings.reference_terms else None
        self._features = self._feature_layers()
        self._origin = np.zeros((1, *self._noise_shape(settings.fidelity)), np.float32)
        if settings.fidelity > 0 and origin is not None:
            bound = bound_of(settings, network.inputs)
            start = tf.constant((origin - origin.mean()) / max(origin.std(), 1e-6), tf.float32)
            self._origin[0] = (start if bound is None else bound.bounded(start)).numpy()
        self._masks = PixelMasks(visible, shape)
        self._built_in = graph_settings(settings)
        self._parameterization = parameterization_of(settings, shape, data)
        self._arrays = {
            name: tf.constant(array) for name, array in self._parameterization.arrays.items()
        }
        self._numbers = Numbers.of(settings)
        self._target_arrays = tuple(tf.constant(array) for array in targets.arrays)
        self.seconds_in_graph = 1.0
        """The graph is left about as often, or after each step, to report progress."""
        self._seconds_per_image = 0.1
        """Of a step: measured at the last one, cautious before the first."""
        self._run = self._kept_graph()
        self._coarse_steps = min(round(settings.coarse * settings.steps), settings.steps - 1)
        self._coarse_run = self._coarse_graph() if self._coarse_steps else self._run

    def _feature_layers(self) -> FeatureLayers:
        aligned = () if self._references is None else tuple(self._references.outputs)
        faithful = None
        if self.settings.fidelity > 0:
            layer = fidelity_layer(reached_layers(self.network, self.targets))
            faithful = None if layer is None else layer.response
        last = None if self._references is None else self._references.last
        return FeatureLayers(aligned, faithful, last)

    def _coarse_graph(self) -> Graph:
        """Return the graph of coarse steps; that of others where the model takes one size only."""
        *sides, bands = self.network.inputs.shape
        size = (*(max(1, round(side * self.settings.coarse_size)) for side in sides), bands)
        if not self.targets.any_size or size == self.network.inputs.shape or len(sides) != 2:
            return self._run
        try:
            return self._kept_graph(size)
        except Exception:  # a layer may refuse other sizes in any way
            return self._run

    def _kept_graph(self, size: tuple[int, ...] | None = None) -> Graph:
        network = self.network
        spec = network.inputs
        image = image_spec(network)
        value, integer = tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.int32)
        best, step = BestSoFar(value, value, value), StepState(value, value, value, value)
        alpha = tf.TensorSpec((None, *self._alpha_sides), tf.float32)
        state = AscentState(image, image, image, best, step, alpha)
        pairs = zip(self.targets.array_shapes, self._target_arrays, strict=True)
        spec_of = tf.TensorSpec.from_tensor
        signatures: dict[str, Any] = {
            "items": tf.TensorSpec((None,), tf.int32),
            "can_be_inactive": tf.TensorSpec((None,), tf.bool),
            "mask": PixelMask._make((image, value)),
            "peak": tf.TensorSpec((), tf.bool),
            "numbers": tf.nest.map_structure(spec_of, self._numbers),
            "parameterization": tf.nest.map_structure(spec_of, self._arrays),
            "targets": tuple(tf.TensorSpec(shape, array.dtype) for shape, array in pairs),
            "noise": tf.TensorSpec((None, *self._noise_shape(self.settings.fade)), tf.float32),
            "references": () if self._references is None else self._references.specs,
            "context": self._context_specs,
            "usual": value,
            "origin": tf.TensorSpec(self._origin.shape, tf.float32),
        }
        inputs = AscentInputs(**signatures)
        key = (
            *("ascent", self._built_in, self.targets.key, tuple(self._arrays)),
            *(network.spoiled, size),
            *(output.key for output in self._features.outputs),
            *(() if self._features.last is None else (self._features.last[0].key,)),
            *(spec.shape, spec.mean.tobytes(), spec.std.tobytes()),
            None if spec.picture_ends is None else np.array(spec.picture_ends).tobytes(),
        )
        return network.graphs.cached(
            key,
            lambda state, inputs, first_step, count: self._graph(inputs, size).run(
                state, first_step, count
            ),
            state,
            inputs,
            integer,
            integer,
        )

    @property
    def _context_specs(self) -> Context[tf.TensorSpec]:
        return Context.specs(1) if self._references is None else self._references.context_specs()

    @property
    def _alpha_sides(self) -> tuple[int, ...]:
        sides = self.network.inputs.shape[:-1]
        return sides if self.settings.alpha else (1,) * len(sides)

    def _noise_shape(self, setting: float) -> tuple[int, ...]:
        """Return the shape of images, or ones where a setting is 0."""
        shape = self.network.inputs.shape
        return shape if setting > 0 else (1,) * len(shape)

    def _graph(self, inputs: AscentInputs, size: tuple[int, ...] | None = None) -> AscentGraph:
        kind = type(self._parameterization)
        features = self._features
        return AscentGraph(self.network, self.targets, self._built_in, kind, inputs, size, features)

    def _inputs(self, items: np.ndarray, noise: np.ndarray, focus: Focus) -> AscentInputs:
        references, usual = (), np.ones(len(items), np.float32)
        context = Context.none(len(items))
        if self._references is not None:
            references, usual = self._references.arrays(items)
            context = self._references.context(items)
        return AscentInputs(
            items=tf.constant(items, tf.int32),
            can_be_inactive=tf.constant(self.targets.can_be_inactive[items]),
            mask=self._masks.of(items),
            peak=tf.constant(focus == "peak"),
            numbers=self._numbers,
            parameterization=self._arrays,
            targets=self._target_arrays,
            noise=tf.constant(noise, tf.float32),
            references=tf.nest.map_structure(tf.constant, references),
            context=tf.nest.map_structure(tf.constant, context),
            usual=tf.constant(usual),
            origin=tf.constant(self._origin),
        )

    def bytes_per_image(self) -> int:
        """Return the memory of one image that climbs: forward, backward and its snapshots."""
        values = int(np.prod(self.network.inputs.shape))
        snapshots = 2 * len(snapshot_steps(self.settings.steps, self.settings.snapshots))
        activations = self.targets.bytes_per_image
        if self._features.last is not None:
            activations += self.network.activation_bytes()
        passes = 2 * self.settings.looks * activations
        aligned = 0 if self._references is None else self._references.bytes_per_image
        return passes + values * (16 + snapshots) + (1 + self.settings.looks) * aligned

    def climb(
        self,
        starts: np.ndarray,
        items: np.ndarray,
        focus: Focus = "mean",
        report: Report = lambda share: None,
        noise: np.ndarray | None = None,
    ) -> AscentResult:
        """Grow n images.

        Args:
            starts: (n, h, w, b): standardized starting images.
            items: (n,): the item that each image is for; with the setting `diversity`, all starts
                of an item climb together.
            report: receives the share of the work that is done, every second or step.
            noise: (n, h, w, b), the part of the starts that the setting `fade` takes out; all of
                them if None.
        """
        settings, count = self.settings, len(starts)
        if settings.fade == 0:
            noise = np.zeros((count, *self._noise_shape(0)))
        noise = starts if noise is None else noise
        kept_steps = snapshot_steps(settings.steps, settings.snapshots)
        state = self._start_state(starts, items)
        final = tf.nest.map_structure(np.copy, state)
        snapshots = np.zeros((count, len(kept_steps), *starts.shape[1:]), np.float16)
        snapshots[:, :1] = state.best_images[:, None]
        traces = np.full((count, settings.steps + 1), np.nan, np.float32)
        keys = np.full((count, settings.steps + 1), -np.inf, np.float32)
        reasons, steps = np.full(count, _RUNNING), np.zeros(count, np.int64)
        inputs = self._inputs(items, noise, focus)
        first_step, running = 0, np.arange(count)
        for last in _check_steps(settings, self._coarse_steps):
            evaluations = last - first_step + (last == settings.steps)

            def report_steps(
                steps_done: int, first_step: int = first_step, running: np.ndarray = running
            ) -> None:
                share = min(1.0, (first_step + steps_done) / settings.steps)
                report(1 - len(running) / count * (1 - share))

            state, trace, stuck = self._take_steps(
                state, inputs, first_step, evaluations, report_steps
            )
            traces[running, first_step : first_step + evaluations] = trace
            keys[running, last] = state.best.key
            steps[running] = last
            final.put(running, state)
            first_step = last
            if last in kept_steps:
                snapshots[running, kept_steps.index(last)] = state.standardized
            broken = ~np.isfinite(state.best.key) | ~np.isfinite(trace[:, -1])
            reasons[running] = self._reasons(
                last, keys[running], state.best, stuck, broken, items[running]
            )
            goes_on = reasons[running] == _RUNNING
            if goes_on.all():
                continue
            running = running[goes_on]
            if not running.size:
                break
            state = tf.nest.map_structure(lambda array, rows=goes_on: array[rows], state)
            inputs = self._inputs(items[running], noise[running], focus)
        for column, step in enumerate(kept_steps):
            late = steps < step
            snapshots[late, column] = final.best_images[late]
        snapshots[:, -1:] = final.best_images[:, None]
        scores = np.where(reasons == _FAILED, np.nan, final.best.score).astype(np.float32)
        return AscentResult(
            images=final.best_images,
            scores=scores,
            pre_scores=final.best.pre,
            traces=traces,
            steps=steps,
            reasons=reasons,
            snapshots=snapshots,
            alpha=_as_bytes(final.alpha),
        )

    def _reasons(
        self,
        last: int,
        keys: np.ndarray,
        best: BestSoFar[np.ndarray],
        stuck: np.ndarray,
        broken: np.ndarray,
        items: np.ndarray,
    ) -> np.ndarray:
        """Return why images end after a step, (n,) int; `_RUNNING` for those that go on.

        Args:
            last: number of the step.
            keys: (n, steps + 1), the best keys after each check of what has converged.
            stuck: (n,) bool, without a gradient.
            broken: (n,) bool, whose responses are not finite.
        """
        settings = self.settings
        reasons = np.full(len(items), _RUNNING)
        earlier = last - settings.patience
        if earlier >= settings.warmup and settings.keep == "best":
            reasons[self._settled(keys[:, earlier], best, items)] = _CONVERGED
        if last == settings.steps:
            is_planned = settings.keep == "last"
            reasons[reasons == _RUNNING] = _SCHEDULE if is_planned else _BUDGET
        if settings.keep == "best" or last == settings.steps:  # the last is what is scored
            reasons[stuck] = _STALLED
        reasons[broken] = _FAILED
        return _item_reasons(reasons, items) if settings.diversity > 0 else reasons

    def _settled(
        self, earlier: np.ndarray, best: BestSoFar[np.ndarray], items: np.ndarray
    ) -> np.ndarray:
        """Return (n,) bool: gained too little since the keys were `earlier`."""
        key, score = best.key, best.score
        with np.errstate(invalid="ignore"):
            little = key - earlier < self.settings.tolerance * np.abs(key)
        return little & ((score > 0) | ~self.targets.can_be_inactive[items])

    def _start_state(self, starts: np.ndarray, items: np.ndarray) -> AscentState[np.ndarray]:
        """Return the state of starting images (n, h, w, b) of items (n,)."""
        empty = np.zeros((len(items), *self._noise_shape(0)))
        graph = self._graph(self._inputs(items, empty, "mean"))
        images, standardized = graph.begin(tf.constant(starts, tf.float32))
        lowest = np.full(len(starts), -np.inf, np.float32)
        rate = np.full(len(starts), self.settings.rate, np.float32)
        best, step = BestSoFar(lowest, lowest, lowest), StepState(rate, lowest, lowest, 0 * rate)
        alpha = np.zeros((len(starts), *self._alpha_sides), np.float32)
        return AscentState(
            images.numpy(), standardized.numpy(), standardized.numpy(), best, step, alpha
        )

    def _take_steps(
        self,
        state: AscentState[np.ndarray],
        inputs: AscentInputs,
        first_step: int,
        count: int,
        report: Callable[[int], None],
    ) -> tuple[AscentState[np.ndarray], np.ndarray, np.ndarray]:
        """Take `count` steps from `first_step` on, for the n images of `inputs`.

        The graph is left every `seconds_in_graph`, to report the number of steps so far.

        Returns:
            The state, scores (n, count) before each step, and (n,) bool: images without a gradient.
        """
        traces, steps_done, images = [], 0, len(state.images)
        run = self._coarse_run if first_step < self._coarse_steps else self._run
        tensors = tf.nest.map_structure(tf.constant, state)
        stuck = tf.zeros(images, tf.bool)
        while steps_done < count:
            room = int(self.seconds_in_graph / max(self._seconds_per_image * images, 1e-9))
            chunk = min(count - steps_done, max(1, room))
            started = time.perf_counter()
            tensors, trace, stuck = run(
                tensors, inputs, tf.constant(first_step + steps_done), tf.constant(chunk)
            )
            traces.append(trace.numpy())
            self._seconds_per_image = (time.perf_counter() - started) / chunk / images
            steps_done += chunk
            report(steps_done)
        state = tf.nest.map_structure(lambda tensor: tensor.numpy(), tensors)
        return state, np.concatenate(traces).T, stuck.numpy()


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

    def replace(self, rows: np.ndarray, ascent: AscentByMap) -> None:
        """Take the maps of another result, for these rows, where they came further."""
        better = ascent.keys.max(1) > self.keys.max(1)[rows]
        for field in fields(self):
            getattr(self, field.name)[rows[better]] = getattr(ascent, field.name)[better]

    def order(self) -> None:
        """Put the best start first; of the snapshots keep only those of the best start."""
        order = np.argsort(-self.keys, axis=1, kind="stable")
        rows = np.arange(len(order))[:, None]
        for field in fields(self):
            if field.name != "can_be_inactive":
                setattr(self, field.name, getattr(self, field.name)[rows, order])
        self.snapshots = self.snapshots[:, 0]


def _as_bytes(alpha: np.ndarray) -> np.ndarray:
    """Return sizes (n, ...) as shares of each image's 99th percentile, uint8."""
    axes = tuple(range(1, alpha.ndim))
    largest = np.percentile(alpha, 99, axis=axes, keepdims=True)
    share = np.clip(alpha / np.where(largest > 0, largest, 1.0), 0.0, 1.0)
    return (share * 255 + 0.5).astype(np.uint8)


def snapshot_steps(steps: int, max_snapshots: int = _MOST_SNAPSHOTS) -> list[int]:
    """Return the steps at which an image is kept on its way: 0, log-spaced, the last; or none.

    >>> snapshot_steps(120)
    [0, 2, 4, 8, 15, 30, 60, 120]
    """
    steps_kept = {0, steps} if max_snapshots else set()
    step = steps
    while step > 3 and len(steps_kept) < max_snapshots:
        step = -(-step // 2)
        steps_kept.add(step)
    return sorted(steps_kept)


def _check_steps(settings: AscentSettings, coarse_steps: int = 0) -> list[int]:
    """Return the steps at which the compiled loop is left: for checks, snapshots, another size.

    Every check has another one `patience` steps before it. They are the same for any number of
    snapshots, so that these change nothing else.
    """
    checks = max(1, settings.patience // _CHECK_STEPS)
    stride = settings.patience // checks if settings.patience % checks == 0 else settings.patience
    snapshots = snapshot_steps(settings.steps)
    return sorted({*range(stride, settings.steps, stride), *snapshots, coarse_steps} - {0})


def _item_reasons(reasons: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Keep images of an item running until all of them have ended; failed ones leave at once."""
    running = np.unique(items[reasons == _RUNNING])
    return np.where(np.isin(items, running) & (reasons != _FAILED), _RUNNING, reasons)
