"""Verdicts on each map after screening and ascent, and their grounds."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

from oip.ascent.results import REASONS, VERDICTS
from oip.ascent.screening import Screening
from oip.core.frameworks import keras
from oip.network import layer_types
from oip.network.activations import closed_below_zero, value_range
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.network.tracing import Call

Bounds: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Lowest and highest values, (1,) or (channels,)."""
_NEAR_LIMIT = 0.98
_LEAST_GAIN = 0.01
_ROUNDING = 1e-6
"""Share of a response that is rounding."""


def verdict_codes(
    maps: np.ndarray,
    scores: np.ndarray,
    reasons: np.ndarray,
    screening: Screening,
    can_be_inactive: np.ndarray,
    climbed: bool = True,
) -> np.ndarray:
    """Return the verdict of each map, (m,) indices into `VERDICTS`.

    *failed*: no finite score. *dead*: no image of the data excites it, and the response stayed at
    zero for every start and for the ascent of the pre-activation; or it is the same for every
    start and image, whatever its value. *not reached*: nothing excited it, but images of the data
    do, or the pre-activation was not climbed (`author`), or it cannot be (a tanh that is flat).
    *never silent*: the response does not rest at zero, as that of a linear map or an objective; so
    that the other verdicts, which ask whether it leaves zero, have no meaning.
    *reachable-only*: the ascent excites it, no image of the data does. *revived*: inactive for
    white noise; several wavelengths or the ascent found it. *responsive*: white noise excites it
    already.

    Args:
        maps: (m,) numbers of the maps, or of the objectives.
        scores: (m,) best scores.
        reasons: (m,) why the best image stopped, an index into `REASONS`.
        can_be_inactive: (c,) bool: the response can rest at zero.
        climbed: the pre-activation of inactive maps was climbed.
    """
    stalled = reasons == REASONS.index("stalled")
    shut = (can_be_inactive[maps] & (scores == 0)) | (stalled & (scores <= 0))
    codes = np.empty(len(maps), np.int64)
    for row, map_index in enumerate(maps):
        constant = stalled[row] and _constant(scores[row], screening, map_index)
        by_data = screening.data_active[map_index] > 0
        if not np.isfinite(scores[row]):
            verdict = "failed"
        elif constant or (shut[row] and can_be_inactive[map_index] and not by_data):
            verdict = "dead" if climbed else "not reached"
        elif shut[row]:
            verdict = "not reached"
        elif not can_be_inactive[map_index]:
            verdict = "never silent"
        elif screening.data_active[map_index] == 0 and not screening.data_scores[map_index] < 0:
            verdict = "reachable-only"
        elif screening.white[map_index] == 0 or not screening.post[:, map_index].any():
            verdict = "revived"
        else:
            verdict = "responsive"
        codes[row] = VERDICTS.index(verdict)
    return codes


def _constant(score: float, screening: Screening, map_index: int) -> bool:
    """Return whether a map's response is the same for all starts, white noise and data."""
    values = np.array([*screening.post[:, map_index], screening.white[map_index], score])
    data_score = screening.data_scores[map_index]
    values = values if np.isnan(data_score) else np.append(values, data_score)
    return bool(np.ptp(values) <= _ROUNDING * np.abs(values).max())


def converged(
    traces: np.ndarray, steps: np.ndarray, patience: int, can_be_inactive: np.ndarray
) -> np.ndarray:
    """Return (m,) bool: the best score rose by less than 1 % over the last `patience` steps.

    Args:
        traces: (m, t + 1) scores over steps, NaN after the end.
        steps: (m,) steps done.
        can_be_inactive: (m,) bool: a score at or below zero says nothing.
    """
    best = np.fmax.accumulate(traces, axis=1)
    rows = np.arange(len(traces))
    last = best[rows, np.minimum(steps, traces.shape[1] - 1)]
    early = best[rows, np.maximum(steps - patience, 0)]
    with np.errstate(invalid="ignore"):
        settled = last - early <= _LEAST_GAIN * np.abs(last)
    return np.asarray(settled & ((last > 0) | ~can_be_inactive) & (steps >= patience))


def looks_converged(
    traces: np.ndarray, steps: np.ndarray, patience: int, can_be_inactive: np.ndarray
) -> np.ndarray:
    """Return (m,) bool: transformed images scored no more in the last steps than in those before.

    The mean over the last `patience` steps is less than 1 % above that over the `patience` before,
    or less than two standard errors, which random transforms leave.

    Args:
        traces: (m, t + 1) scores over steps; the last one is of the image as it is, and left out.
        steps, can_be_inactive: as for `converged`.
    """
    last, earlier = traces[:, -1 - patience : -1], traces[:, -1 - 2 * patience : -1 - patience]
    if earlier.shape[1] < max(patience, 2):
        return np.zeros(len(traces), bool)
    rise = last.mean(1) - earlier.mean(1)
    error = np.sqrt((last.var(1, ddof=1) + earlier.var(1, ddof=1)) / patience)
    with np.errstate(invalid="ignore"):
        settled = rise <= np.maximum(_LEAST_GAIN * np.abs(last.mean(1)), 2 * error)
    is_done = (steps == traces.shape[1] - 1) & ((traces[:, -1] > 0) | ~can_be_inactive)
    return np.asarray(settled & is_done)


def saturated(limits: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return (m,) bool: scores at, or within 2 % of, the upper limits (m,) of their activation."""
    with np.errstate(invalid="ignore"):
        return np.asarray(scores >= _NEAR_LIMIT * limits)


def provably_dead(network: Network, layer: LayerInfo) -> np.ndarray:
    """Return (c,) bool: maps that no input can excite, by the weights alone.

    The layer's inputs lie between `lower` and `upper`, channel by channel; where b + sum of
    max(w, 0) upper + min(w, 0) lower is at or below zero the response, a ReLU, is zero for all of
    them. The bounds are those of the activation before (0 to infinity, 0 to 6, 0 to 1, -1 to 1) or,
    of the first layer, the range that is declared for the model's input.
    """
    unproved = np.zeros(layer.maps, bool)
    call = _convolution(network, layer)
    kernel = getattr(call.layer, "kernel", None) if call is not None else None
    if call is None or kernel is None or "Transpose" in type(call.layer).__name__:
        return unproved
    bounds = _input_bounds(network, call)
    if kernel.shape[-1] != layer.maps or bounds is None:
        return unproved
    weights = np.asarray(kernel.numpy(), np.float64)
    inputs = weights.shape[-2]
    if any(len(bound) not in (1, inputs) for bound in bounds):  # groups: the widest of all channels
        bounds = bounds[0].min(keepdims=True), bounds[1].max(keepdims=True)
    lower, upper = (np.broadcast_to(bound, inputs)[:, None] for bound in bounds)
    bias = call.layer.bias
    bias = np.zeros(layer.maps) if bias is None else np.asarray(bias.numpy(), np.float64)
    with np.errstate(invalid="ignore"):  # NaN weights: nothing is proved
        peak = np.where(weights > 0, weights * upper, np.where(weights < 0, weights * lower, 0.0))
        peak = np.where(np.isnan(weights), np.nan, peak)
        highest = bias + peak.reshape(-1, layer.maps).sum(0)
        return np.asarray(highest <= 0)


def _convolution(network: Network, layer: LayerInfo) -> Call | None:
    """Return the convolution whose output a ReLU receives directly; None for other layers."""
    call: Call = network.calls[layer.last_call]
    output = layer.response
    function = output.then
    if not function and output.pre_activation != "same":
        function = layer_types.activation_of(call.layer)
    if not function or not closed_below_zero(function):
        return None
    if output.pre_activation == "input":
        if len(call.sources) != 1 or call.sources[0] < 0 or not call.direct:
            return None
        call = network.calls[call.sources[0]]
        if layer_types.activation_name(call.layer) != "linear":
            return None
    is_plain = layer_types.why_not_plain(call.layer) is None  # the weights say what it does
    return call if layer_types.is_convolution(call.layer) and is_plain else None


def _input_bounds(network: Network, call: Call) -> Bounds | None:
    """Return the lowest and highest inputs of a call, (1,) or (channels,); None if unknown."""
    is_padded = getattr(call.layer, "padding", "valid") != "valid"
    source = _bounded_source(network, call)
    if source is None:
        return None
    bounds: Bounds = np.array([source.low]), np.array([source.high])
    for layer in reversed(source.layers):
        following = _bounds_after(layer, *bounds)
        if following is None:
            return None
        bounds = following
    if is_padded or any("Padding" in type(layer).__name__ for layer in source.layers):
        return np.minimum(bounds[0], 0.0), np.maximum(bounds[1], 0.0)
    return bounds


class _BoundedSource(NamedTuple):
    """Values of a network whose bounds are known, and the way from them to a call."""

    low: float
    high: float
    layers: list[keras.Layer]
    """The layers between, the one next to the call first."""


def _bounded_source(network: Network, call: Call) -> _BoundedSource | None:
    """Follow a call back to the image or to an activation with bounds; None if there is none."""
    layers: list[keras.Layer] = []
    while len(call.sources) == 1:
        source = call.sources[0]
        if source < 0:
            spec = network.inputs
            is_image = call.direct and source == -1 - network.image_input
            if not (is_image and spec.bounded):
                return None
            return _BoundedSource(float(spec.low), float(spec.high), layers)
        if not (call.direct or call.reads_then):
            return None
        call = network.calls[source]
        if call.then is not None:
            bounds = value_range(call.then)
            return None if bounds is None else _BoundedSource(*bounds, layers)
        if not layer_types.is_keras_own(call.layer):
            return None
        bounds = value_range(layer_types.activation_of(call.layer))
        if bounds is not None:
            return _BoundedSource(*bounds, layers)
        layers.append(call.layer)
    return None


def _bounds_after(layer: keras.Layer, lower: np.ndarray, upper: np.ndarray) -> Bounds | None:
    """Return the bounds after a layer that keeps values inside them, or scales them; else None."""
    kind = type(layer).__name__
    if kind == "Normalization" and not layer.invert and layer.mean is not None:
        mean = np.asarray(layer.mean, np.float64).ravel()
        deviation = np.sqrt(np.asarray(layer.variance, np.float64).ravel())
        deviation = np.maximum(deviation, np.finfo(np.float32).eps)
        return (lower - mean) / deviation, (upper - mean) / deviation
    if kind == "Rescaling" and np.ndim(layer.scale) == np.ndim(layer.offset) == 0:
        limits = lower * layer.scale + layer.offset, upper * layer.scale + layer.offset
        return np.minimum(*limits), np.maximum(*limits)
    keeps = layer_types.is_pooling(layer) or layer_types.is_dropout(layer)
    return (lower, upper) if keeps or kind.startswith("ZeroPadding") else None
