"""The compiled graph of the ascent: steps of many images at once.

A graph depends on the kind of the targets and on what settings switch on. All else is an input:
which items the images are for, masks, numbers, the seed. So one graph serves all calls of a layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np

from oip.ascent.masks import PixelMask, expand_like, image_axes, images_where
from oip.ascent.parameterization import Parameterization, bound_of
from oip.ascent.references import AlignedLayer, Context, captured, nearness_slope
from oip.ascent.regularizers import blur_radius, blurred, likeness, norm_slope, variation_slope
from oip.ascent.settings import AscentSettings
from oip.ascent.targets import OwnActivations, Stage, Targets
from oip.ascent.transforms import residual_blocks, thinned, transform_of
from oip.core.frameworks import Tensor, tf
from oip.network.fast_layers import along_rows
from oip.network.forward import channels_last, run_to, run_to_all
from oip.network.layers import LayerOutput
from oip.network.network import Network
from oip.network.tracing import any_size

Array = TypeVar("Array")
_RAISED, _TINY = 16.0, 1e-30
"""Size that gradients begin with in float16: far from its least number and from its largest."""


class BestSoFar(NamedTuple, Generic[Array]):
    """Values of the best that each of n images has been, each (n,) float32."""

    key: Array
    """Decides which image is best: the score where it is above zero, else the pre-activation; both
    where the score cannot rise any more."""
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
    capped: Array
    """1 where the score was at the upper limit of the activation, else 0."""


class AscentState(NamedTuple, Generic[Array]):
    """n images on their way: tensors in the graph, arrays outside of it."""

    images: Array
    """(n, h, w, b): as they climb."""
    standardized: Array
    """(n, h, w, b): as they are scored, standardized over the visible pixels."""
    best_images: Array
    """(n, h, w, b): the best that each has been, as it is scored."""
    best: BestSoFar[Array]
    step: StepState[Array]
    alpha: Array
    """(n, h, w): size of the gradient, summed over the steps; (n, 1, 1) where it is not kept."""

    def put(
        self: AscentState[np.ndarray], rows: np.ndarray, rows_state: AscentState[np.ndarray]
    ) -> None:
        """Replace some of the images by those of another state."""
        for field, new in zip(tf.nest.flatten(self), tf.nest.flatten(rows_state), strict=True):
            field[rows] = new


class Numbers(NamedTuple):
    """Settings that the graph receives as scalars, see `AscentSettings`."""

    warmup: Tensor
    climb_inactive: Tensor
    rate: Tensor
    rate_end: Tensor
    rate_up: Tensor
    rate_down: Tensor
    blur: Tensor
    blur_end: Tensor
    blur_every: Tensor
    steps: Tensor
    total_variation: Tensor
    norm: Tensor
    norm_power: Tensor
    diversity: Tensor
    fade: Tensor
    align: Tensor
    context: Tensor
    fidelity: Tensor
    drop_path: Tensor
    seed: Tensor

    @classmethod
    def of(cls, settings: AscentSettings) -> Numbers:
        """Return the numbers of some settings."""
        end = settings.blur if settings.blur_end is None else settings.blur_end
        share = 1.0 if settings.rate_end is None else settings.rate_end
        numbered = msgspec.structs.replace(settings, blur_end=end, rate_end=share)
        kinds = {"climb_inactive": tf.bool}
        kinds |= {name: tf.int32 for name in ("warmup", "blur_every", "steps", "seed")}
        pairs = ((getattr(numbered, name), kinds.get(name, tf.float32)) for name in cls._fields)
        return cls(*(tf.constant(value, kind) for value, kind in pairs))


class AscentInputs(NamedTuple):
    """The images of a graph, their targets and the settings: the same for all steps."""

    items: Tensor
    """(n,) int32: the item that each image is for."""
    can_be_inactive: Tensor
    """(n,) bool: of each image's item."""
    mask: PixelMask
    peak: Tensor
    """Bool scalar, see `Stage`."""
    numbers: Numbers
    parameterization: Mapping[str, Tensor]
    """The arrays of the parameterization."""
    targets: tuple[Tensor, ...]
    """The arrays of the targets."""
    noise: Tensor
    """(n, h, w, b): the noise that the images began with; (n, 1, 1, 1) where it does not fade."""
    references: tuple[AlignedLayer[Tensor], ...]
    """Features that images are aligned with, layer by layer."""
    context: Context[Tensor]
    """What the last features of images are drawn to."""
    usual: Tensor
    """(n,): the item's response to its reference images; 1 without."""
    origin: Tensor
    """(1, h, w, b): the image that the ascent begins with; (1, 1, 1, 1) without `fidelity`."""


_SWITCHES = (
    *("total_variation", "norm", "diversity", "fade"),
    *("align", "context", "fidelity", "drop_path"),
)
_OUTSIDE = (
    *("starts", "screened", "noise", "patience", "tolerance", "decay"),
    *("coarse", "coarse_size", "snapshots", "references"),
)


def graph_settings(settings: AscentSettings) -> AscentSettings:
    """Return only what a graph is made for; graph code must not read more of the settings.

    Numbers that the graph receives are None, or infinity where the graph depends on whether they
    are above zero; a blur is its radius.
    """
    sigma = max(settings.blur, settings.blur_end or 0.0)
    constant = settings.rate_up == settings.rate_down == 1.0
    values: dict[str, Any] = dict.fromkeys((*Numbers._fields, *_OUTSIDE))
    values |= {name: math.inf if getattr(settings, name) > 0 else 0.0 for name in _SWITCHES}
    values |= {"rate_up": 1.0 if constant else math.inf, "rate_down": 1.0 if constant else math.inf}
    values["blur"] = blur_radius(sigma) if sigma > 0 else 0
    return msgspec.structs.replace(settings, **values)


class FeatureLayers(NamedTuple):
    """The layers whose features are drawn to those of reference images, see `references`."""

    aligned: tuple[LayerOutput, ...] = ()
    faithful: LayerOutput | None = None
    last: tuple[LayerOutput, bool] | None = None
    """Of `context`: a layer, and whether its output is meant or what it receives."""

    @property
    def outputs(self) -> list[LayerOutput]:
        """All of them, the one of `fidelity` last."""
        return [*self.aligned, *([] if self.faithful is None else [self.faithful])]


class AscentGraph:
    """Steps of the ascent for one kind of targets.

    Images are standardized (mean 0, deviation 1 over all bands of the visible pixels); the model is
    fed `image * std + mean`, so the same network fed in other units climbs the same way.

    Args:
        settings: see `graph_settings`.
        inputs: tensors, of the graph that is being traced or not.
        size: (h', w', b) of what the model receives, in coarse steps.
        features: the layers whose features count beside the items.
    """

    def __init__(
        self,
        network: Network,
        targets: Targets,
        settings: AscentSettings,
        parameterization: type[Parameterization],
        inputs: AscentInputs,
        size: tuple[int, ...] | None = None,
        features: FeatureLayers = FeatureLayers(),  # noqa: B008 - immutable
    ):
        self.network = network
        self.targets = targets
        self.settings = settings
        self.inputs = inputs
        self._features = features
        self._parameterization = parameterization(**inputs.parameterization)
        self._bound = bound_of(settings, network.inputs)
        self._coarse = size is not None
        self._transform = transform_of(settings, network.inputs.shape, inputs.numbers.seed, size)
        changed = settings.drop_path > 0 or settings.branch_gradient < 1
        self._blocks = residual_blocks(network.calls) if changed else []
        thins = settings.drop_path > 0 and bool(self._blocks)
        self._as_it_is = self._transform is None and not thins
        self._count = 1 if self._as_it_is else settings.looks
        kinds = {getattr(call.layer, "compute_dtype", None) for call in network.calls}
        self._is_half = "float16" in kinds

    def begin(self, starts: Tensor) -> tuple[Tensor, Tensor]:
        """Return starts (n, h, w, b) as the first step receives them, and as they are scored."""
        images = self._parameterization.begin(self.inputs.mask.restored(starts))
        return images, self._scored_images(images)

    def run(
        self, state: AscentState[Tensor], first_step: Tensor, count: Tensor
    ) -> tuple[AscentState[Tensor], Tensor, Tensor]:
        """Take `count` steps from `first_step` on.

        Returns:
            The state after the steps, scores (count, n) before each, and (n,) bool: no gradient.
        """

        def body(
            step: Tensor,
            images: Tensor,
            best_images: Tensor,
            best: BestSoFar[Tensor],
            state_before: StepState[Tensor],
            alpha: Tensor,
            _stuck: Tensor,
            trace: tf.TensorArray,
        ) -> tuple[object, ...]:
            moved, standardized, state_after, size, stuck = self._step(images, state_before, step)
            if self.settings.alpha:
                alpha += tf.where(self._is_last(step), 0.0, size)  # no step follows the last
            active = tf.logical_or(
                state_after.value > 0, tf.logical_not(self.inputs.can_be_inactive)
            )
            key = tf.where(active, state_after.value, state_after.pre)
            key += state_after.capped * tf.maximum(state_after.pre, 0.0)
            new = BestSoFar(key, state_after.value, state_after.pre)
            better = new.key > best.key
            if self.settings.keep == "last":
                better = tf.ones_like(better)
            best_images = images_where(better, standardized, best_images)
            pairs = zip(new, best, strict=True)
            best = BestSoFar(*(tf.where(better, *pair) for pair in pairs))
            trace = trace.write(step - first_step, state_after.value)
            return step + 1, moved, best_images, best, state_after, alpha, stuck, trace

        trace = tf.TensorArray(tf.float32, size=count, element_shape=[None])
        stuck = tf.zeros_like(self.inputs.can_be_inactive)
        pictures = (first_step, state.images, state.best_images)
        values = (*pictures, state.best, state.step, state.alpha, stuck, trace)
        _, images, best_images, best, state_after, alpha, stuck, trace = tf.while_loop(
            lambda step, *_: step < first_step + count, body, values, parallel_iterations=1
        )
        standardized = self._scored_images(images)
        return (
            AscentState(images, standardized, best_images, best, state_after, alpha),
            trace.stack(),
            stuck,
        )

    def _step(
        self, images: Tensor, state_before: StepState[Tensor], step: Tensor
    ) -> tuple[Tensor, Tensor, StepState[Tensor], Tensor, Tensor]:
        """Take one step.

        Returns:
            Images after it, images before it as they are scored, the step's state, the size (n, h,
            w) of the gradient at RMS 1, and (n,) bool: images without a gradient, which stay as
            they are.
        """
        settings, numbers, mask = self.settings, self.inputs.numbers, self.inputs.mask
        diverse = settings.diversity > 0
        visible = self._restored(images)  # (n, h, w, b)
        several = diverse or self._is_half
        with tf.GradientTape(persistent=several, watch_accessed_variables=False) as tape:
            tape.watch(visible)
            standardized = self._bounded(visible)
            # (looks n, h', w', b) and (looks n,)
            received, items = self._received(standardized, step)
            with self._thinned(step):
                with captured(self._features.outputs) as features:
                    activations = self._activations(received, items, step)
                activations = self._add_features(activations, features, step)
            activations = self._add_context(activations, received, step)
            similarity = likeness(activations.features, items) if diverse else None
        slope = self._gradient(tape, activations.tensors, visible, activations.slopes)
        similarity_slope = None
        if similarity is not None:
            similarity_slope = self._gradient(
                tape, [similarity], visible, [tf.ones_like(similarity)]
            )
            similarity = similarity[: tf.shape(images)[0]]  # (n,)
        standardized, post, pre, capped = self._scored(standardized, activations, step)
        size = tf.reduce_max(tf.abs(slope), image_axes(images))  # (n,)
        stuck = tf.logical_not(size > 0)
        direction = mask.unit(slope / expand_like(tf.where(stuck, 1.0, size), slope))
        absolute = tf.reduce_mean(tf.abs(direction), -1)  # (n, h, w)
        if settings.total_variation > 0:
            direction -= numbers.total_variation * variation_slope(standardized) * mask.mask
        if settings.norm > 0:
            direction -= numbers.norm * norm_slope(standardized, numbers.norm_power) * mask.mask
        if similarity is not None and similarity_slope is not None:
            weight = numbers.diversity * expand_like(similarity, similarity_slope)
            direction -= weight * mask.unit(similarity_slope)
        rates = self._rates(StepState(state_before.rate, post, pre, capped), state_before, step)
        lengths = rates * mask.root_share(self.network.inputs.shape)
        moved = self._parameterization.step(images, mask.unit(direction), lengths)
        moved = self._blurred(self._faded(moved, step), step)
        if not self._parameterization.keeps_spectrum:
            moved = mask.restored(moved, settings.free_mean)
        moved = images_where(stuck, images, moved)
        return moved, standardized, StepState(rates, post, pre, capped), absolute, stuck

    def _gradient(
        self,
        tape: tf.GradientTape,
        tensors: Sequence[Tensor],
        images: Tensor,
        slopes: list[Tensor],
    ) -> Tensor:
        """Return the gradient (n, h, w, b) of a sum of tensors with slopes (looks n, ...).

        Of networks that compute in float16, which knows nothing below 6e-8, each image's is a power
        of two larger; its direction is all that counts. It is as it is where that is too large.
        """

        def gradient(slopes: list[Tensor]) -> Tensor:
            return tf.ensure_shape(tape.gradient(tensors, images, slopes), images.shape)

        if not self._is_half:
            return gradient(slopes)
        sizes = [tf.reduce_max(tf.abs(slope), image_axes(slope)) for slope in slopes]  # (looks n,)
        largest = tf.reduce_max(tf.stack([tf.cast(size, tf.float32) for size in sizes]), 0)
        largest = tf.reduce_max(tf.reshape(largest, [self._count, -1]), 0)  # (n,)
        power = tf.math.log(_RAISED / tf.maximum(largest, _TINY)) / math.log(2.0)
        factor = tf.tile(tf.pow(2.0, tf.floor(power)), [self._count])
        raised = gradient([s * expand_like(tf.cast(factor, s.dtype), s) for s in slopes])
        finite = tf.reduce_all(tf.math.is_finite(raised), image_axes(raised))
        return tf.cond(
            tf.reduce_all(finite),
            lambda: raised,
            lambda: images_where(finite, raised, gradient(slopes)),
        )

    def _received(self, standardized: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images that the model receives, look by look, and the item of each.

        They are the images as they are kept, where the last step is what is kept.
        """
        looks, items = self._looks(standardized, step)
        if self.settings.keep == "best" or self._coarse:
            return looks, items
        plain = self._as_pictures(standardized)  # (n, h, w, b)
        plain = tf.tile(plain, [self._count, *[1] * (len(standardized.shape) - 1)])
        return images_where(self._is_last(step), plain, looks), items

    def _looks(self, standardized: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images that the model receives, look by look, and the item of each."""
        if self._as_it_is:
            return standardized, self.inputs.items
        count, transform = self._count, self._transform
        looks = [
            standardized if transform is None else transform(standardized, step * count + look)
            for look in range(count)
        ]
        return tf.concat(looks, 0), tf.tile(self.inputs.items, [count])

    def _thinned(self, step: Tensor) -> AbstractContextManager[None]:
        """Return a block of code in which the model leaves out residual blocks at random.

        It has all of them where what it receives is the images as they are kept. Their branches
        pass on the share `branch_gradient` of the gradient.
        """
        if not self._blocks:
            return nullcontext()
        numbers = self.inputs.numbers
        rate = numbers.drop_path
        if self.settings.keep == "last" and not self._coarse:
            rate = tf.where(self._is_last(step), 0.0, rate)
        share = self.settings.branch_gradient
        return thinned(self._blocks, rate, self._count, numbers.seed, step, share)

    def _add_features(
        self, activations: OwnActivations, features: Mapping[int, Tensor], step: Tensor
    ) -> OwnActivations:
        """Return the activations with what draws features to those of reference images.

        The response counts in shares of that to the reference images; distances have no unit.
        """
        settings, inputs, outputs = self.settings, self.inputs, self._features.outputs
        if not outputs:
            return activations
        count = self._count
        slopes = [
            slope / expand_like(tf.tile(inputs.usual, [count]), slope)
            for slope in activations.slopes
        ]
        tensors = list(activations.tensors)
        for index, layer in enumerate(inputs.references):
            layer = AlignedLayer(
                *(tf.tile(array, [count, *[1] * (len(array.shape) - 1)]) for array in layer)
            )
            tensor, output = features[index], outputs[index]  # (looks n, ...): as in the layer
            slope = inputs.numbers.align * layer.slope(channels_last(tensor, output))
            tensors.append(tensor)
            slopes.append(_as_layer(slope, tensor, output))
        if settings.fidelity > 0 and self._features.faithful is not None:
            output, tensor = outputs[-1], features[len(outputs) - 1]
            origins, _ = self._looks(inputs.origin, step)  # (looks, h', w', b)
            model_inputs = self._feed(origins)
            with captured([output]) as recorded:
                run_to(self.network.model, model_inputs, output, self.network.finite_weights)
            origin = tf.repeat(channels_last(recorded[0], output), tf.size(inputs.items), axis=0)
            slope = nearness_slope(channels_last(tensor, output), tf.stop_gradient(origin))
            tensors.append(tensor)
            slopes.append(_as_layer(inputs.numbers.fidelity * slope, tensor, output))
        return activations._replace(tensors=tensors, slopes=slopes)

    def _add_context(
        self, activations: OwnActivations, received: Tensor, step: Tensor
    ) -> OwnActivations:
        """Return the activations with what draws the last features to those of reference images.

        The response counts by its logarithm from the response to these images on.
        """
        if self._features.last is None:
            return activations
        network, (output, enter) = self.network, self._features.last
        with self._thinned(step):
            last = run_to_all(  # (looks n, *nodes, d)
                network.model,
                self._feed(received),
                [output],
                for_gradient=True,
                spoiled=network.spoiled,
                enter=enter,
            )[0].response
        context, count = self.inputs.context, self._count
        context = context._replace(directions=tf.tile(context.directions, [count, 1]))
        slopes = list(activations.slopes)
        if not self._features.outputs:  # else they count in shares of that response already
            response = tf.maximum(activations.post, tf.tile(self.inputs.usual, [count]))
            slopes = [slope / expand_like(response, slope) for slope in slopes]
        slopes.append(tf.cast(self.inputs.numbers.context * context.slope(last), last.dtype))
        return activations._replace(tensors=[*activations.tensors, last], slopes=slopes)

    def _scored(
        self, standardized: Tensor, activations: OwnActivations, step: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return images as they are kept; the response, the pre-activation and `capped` (n,).

        Args:
            activations: of what the model received at this step, the first look first.
        """
        if self.settings.keep == "last":
            if not self._coarse:
                last = self._is_last(step)
                standardized = tf.cond(
                    last, lambda: self._as_pictures(standardized), lambda: standardized
                )
        elif not self._as_it_is:
            activations = self._activations(standardized, self.inputs.items, step)
        count = tf.shape(standardized)[0]
        capped = tf.cast(activations.capped, tf.float32)
        return standardized, activations.post[:count], activations.pre[:count], capped[:count]

    def _is_last(self, step: Tensor) -> Tensor:
        return step >= self.inputs.numbers.steps

    def _as_pictures(self, standardized: Tensor) -> Tensor:
        """Return images with the values that a picture has; the gradient goes through."""
        bound = self._bound
        if bound is None:
            return standardized
        return tf.grad_pass_through(bound.rounded)(standardized)

    def _activations(self, images: Tensor, items: Tensor, step: Tensor) -> OwnActivations:
        numbers = self.inputs.numbers
        stage = Stage(step < numbers.warmup, self.inputs.peak, numbers.climb_inactive)
        inputs = self._feed(images)
        all_maps = self.settings.diversity > 0
        with any_size(self.network.model) if self._coarse else nullcontext():
            return self.targets.own_activations(inputs, items, stage, self.inputs.targets, all_maps)

    def _feed(self, standardized: Tensor) -> list[Tensor]:
        """Return the model's inputs for standardized images, which a gradient goes through."""
        return self.network.feed(_unstandardized(standardized, self.network), for_gradient=True)

    def _rates(
        self, state: StepState[Tensor], state_before: StepState[Tensor], step: Tensor
    ) -> Tensor:
        """Return rates (n,): up where the last step helped; as they are after a blur.

        Constant rates fall over the second half, to the share `rate_end` at the last step.
        """
        settings, numbers = self.settings, self.inputs.numbers
        if settings.rate_up == settings.rate_down == 1.0:
            share = tf.cast(step, tf.float32) / tf.cast(numbers.steps, tf.float32)
            late = tf.maximum(0.0, 2.0 * share - 1.0)
            rate = numbers.rate * (1.0 - (1.0 - numbers.rate_end) * late)
            return tf.fill(tf.shape(state_before.rate), rate)
        by_pre = (
            (step < numbers.warmup) | (state.value <= 0) | (state.capped * state_before.capped > 0)
        )
        rose = tf.where(by_pre, state.pre > state_before.pre, state.value > state_before.value)
        rates = state_before.rate * tf.where(rose, numbers.rate_up, numbers.rate_down)
        unchanged = tf.equal(step, 0)
        if settings.blur > 0:
            unchanged |= tf.equal(tf.math.floormod(step, numbers.blur_every), 0)
        return tf.where(unchanged, state_before.rate, rates)

    def _faded(self, images: Tensor, step: Tensor) -> Tensor:
        """Return images with less of the noise that they began with; none after the share `fade`.

        Their part along that noise is what is left of it: what grows is hardly like it.
        """
        if not self.settings.fade:
            return images
        numbers, noise = self.inputs.numbers, self.inputs.noise
        last = numbers.fade * tf.cast(numbers.steps, tf.float32)
        share = 1.0 / tf.maximum(1.0, last - tf.cast(step, tf.float32))
        axes = image_axes(images)
        power = tf.maximum(tf.reduce_sum(tf.square(noise), axes), 1e-6)
        along = tf.reduce_sum(images * noise, axes) / power
        return images - expand_like(share * along, images) * noise

    def _blurred(self, images: Tensor, step: Tensor) -> Tensor:
        radius, numbers = self.settings.blur, self.inputs.numbers
        if not radius:
            return images
        share = tf.cast(step, tf.float32) / tf.cast(numbers.steps, tf.float32)
        sigma = numbers.blur + (numbers.blur_end - numbers.blur) * share
        due = tf.equal(tf.math.floormod(step, numbers.blur_every), numbers.blur_every - 1)
        return tf.cond(due, lambda: blurred(images, sigma, int(radius)), lambda: images)

    def _scored_images(self, images: Tensor) -> Tensor:
        """Return images as they are scored."""
        return self._bounded(self._restored(images))

    def _restored(self, images: Tensor) -> Tensor:
        keeps = self._parameterization.keeps_spectrum
        return self.inputs.mask.restored(images) if keeps else images

    def _bounded(self, images: Tensor) -> Tensor:
        return images if self._bound is None else self._bound.bounded(images)


def _as_layer(slope: Tensor, tensor: Tensor, output: LayerOutput) -> Tensor:
    """Return a gradient (n, *nodes, maps) in the layout and kind of a layer's tensor."""
    axes = [0, len(slope.shape) - 1, *range(1, len(slope.shape) - 1)]
    slope = tf.transpose(slope, axes) if output.channels_first else slope
    return tf.cast(slope, tensor.dtype)


def _unstandardized(images: Tensor, network: Network) -> Tensor:
    """Return standardized images as the model is fed; the gradient takes two operations."""
    spec = network.inputs
    constants = (along_rows(values, images) for values in (spec.mean, spec.std))
    mean, std = (tf.constant(values, tf.float32) for values in constants)

    @tf.custom_gradient
    def run(images: Tensor) -> Any:
        return images * std + mean, lambda upstream: upstream * std

    return run(images)
