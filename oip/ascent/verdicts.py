"""What can be said of each map after screening and ascent, and on what grounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from oip.ascent.results import REASONS, VERDICTS
from oip.ascent.screening import Screening
from oip.network import layer_types
from oip.network.activations import activation_of, closed_below_zero, limits
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.network.tracing import Call

_LIMITS = {"sigmoid": 1.0, "tanh": 1.0, "hard_sigmoid": 1.0, "softsign": 1.0, "relu6": 6.0}
_NEAR_LIMIT = 0.98
_SETTLED = 0.01


def verdict_codes(
    maps: np.ndarray,
    scores: np.ndarray,
    reasons: np.ndarray,
    screening: Screening,
    silent: np.ndarray,
) -> np.ndarray:
    """(m,) indices into `VERDICTS`.

    *failed*: no finite score; or no OIP was found for a map that images of the data do excite.
    *dead*: no image of the data excites it, and the response stayed at zero for every start and
    for the ascent of the pre-activation (which the `author` preset leaves out); or it stalled at
    or below zero, where an activation such as tanh is flat too.
    *reachable-only*: the ascent excites it, no image of the data does. *revived*: silent for white
    noise; several wavelengths or the ascent found it. *responsive*: white noise excites it already.

    Args:
        maps: (m,) numbers of the maps, or of the objectives.
        scores: (m,) best scores.
        reasons: (m,) why the best image was left, an index into `REASONS`.
        screening: reactions of all of them.
        silent: (c,) bool: the response can rest at zero; without that no map is silent.
    """
    stalled = reasons == REASONS.index("stalled")
    shut = (silent[maps] & (scores == 0)) | (stalled & (scores <= 0))
    codes = np.empty(len(maps), np.int64)
    for row, number in enumerate(maps):
        if not np.isfinite(scores[row]):
            verdict = "failed"
        elif shut[row]:
            verdict = "failed" if screening.data_active[number] > 0 else "dead"
        elif not silent[number]:
            verdict = "responsive"
        elif screening.data_active[number] == 0 and not screening.data_scores[number] < 0:
            verdict = "reachable-only"
        elif screening.white[number] == 0 or not screening.post[:, number].any():
            verdict = "revived"
        else:
            verdict = "responsive"
        codes[row] = VERDICTS.index(verdict)
    return codes


def settled(traces: np.ndarray, steps: np.ndarray, patience: int, silent: np.ndarray) -> np.ndarray:
    """(m,) bool: the best score rose by less than 1 % over the last `patience` steps.

    Args:
        traces: (m, t + 1) scores over steps, NaN after the end.
        steps: (m,) steps done.
        silent: (m,) bool: at zero and below the score says nothing.
    """
    best = np.fmax.accumulate(traces, axis=1)
    rows = np.arange(len(traces))
    last = best[rows, np.minimum(steps, traces.shape[1] - 1)]
    early = best[rows, np.maximum(steps - patience, 0)]
    with np.errstate(invalid="ignore"):
        rose = last - early <= _SETTLED * np.abs(last)
    return np.asarray(rose & ((last > 0) | ~silent) & (steps >= patience))


def saturated(layer: LayerInfo, scores: np.ndarray) -> np.ndarray:
    """(m,) bool: scores at the upper limit of an activation that has one."""
    limit = _LIMITS.get(layer.activation, np.inf)
    with np.errstate(invalid="ignore"):
        return np.asarray(scores >= _NEAR_LIMIT * limit)


def provably_dead(network: Network, layer: LayerInfo) -> np.ndarray:
    """(c,) bool: maps that no input can open, seen from the weights alone.

    The layer's inputs lie between `lower` and `upper`, channel by channel; where b + sum of
    max(w, 0) upper + min(w, 0) lower is at or below zero the response, a ReLU, is zero for all of
    them. The bounds are those of the activation before (0 to infinity, 0 to 6, 0 to 1, -1 to 1) or,
    of the first layer, the range that is declared for the model's input.
    """
    none = np.zeros(layer.maps, bool)
    call = _convolution(network, layer)
    kernel = getattr(call.layer, "kernel", None) if call is not None else None
    if call is None or kernel is None or "Transpose" in type(call.layer).__name__:
        return none
    if kernel.shape[-1] != layer.maps:
        return none
    bounds = _bounds(network, call)
    if bounds is None:
        return none
    conv = call.layer
    weights = np.asarray(kernel.numpy(), np.float64)
    inputs = weights.shape[-2]
    if any(len(one) not in (1, inputs) for one in bounds):  # groups: the widest of all channels
        bounds = bounds[0].min(keepdims=True), bounds[1].max(keepdims=True)
    lower, upper = (np.broadcast_to(one, inputs)[:, None] for one in bounds)
    bias = np.zeros(layer.maps) if conv.bias is None else np.asarray(conv.bias.numpy(), np.float64)
    with np.errstate(invalid="ignore"):  # NaN weights: nothing is proved
        most = np.where(weights > 0, weights * upper, np.where(weights < 0, weights * lower, 0.0))
        most = np.where(np.isnan(weights), np.nan, most)
        highest = bias + most.reshape(-1, layer.maps).sum(0)
        return np.asarray(highest <= 0)


def _convolution(network: Network, layer: LayerInfo) -> Call | None:
    """The convolution whose output a ReLU receives with nothing between; None of other layers."""
    call: Call = network.calls[layer.last_call]
    output = layer.response
    function = output.then or (activation_of(call.layer) if output.pre_activation != "same" else 0)
    if not function or not closed_below_zero(function):
        return None
    if output.pre_activation == "input":
        if len(call.sources) != 1 or call.sources[0] < 0 or not call.direct:
            return None
        call = network.calls[call.sources[0]]
        if layer_types.activation_name(call.layer) != "linear":
            return None
    return call if layer_types.is_convolution(call.layer) else None


def _bounds(network: Network, call: Call) -> tuple[np.ndarray, np.ndarray] | None:
    """(1,) or (channels,) each: lowest and highest values of a call's inputs; None if not known."""
    padded = getattr(call.layer, "padding", "valid") != "valid"
    before: list[Call] = []
    found = None
    while len(call.sources) == 1 and found is None:
        source = call.sources[0]
        if source < 0:
            spec = network.inputs
            if not (call.direct and spec.bounded and source == -1 - network.image_input):
                return None
            found = (float(spec.low), float(spec.high))
            break
        then = network.calls[source].then
        if not call.direct and then is None:
            return None
        call = network.calls[source]
        found = limits(then if then is not None else activation_of(call.layer))
        if found is None:
            if then is not None or not _keeps_or_scales(call.layer):
                return None
            before.append(call)
    if found is None:
        return None
    lower, upper = np.array([found[0]]), np.array([found[1]])
    for one in reversed(before):
        lower, upper = _through(one.layer, lower, upper)
    if padded or any("Padding" in type(one.layer).__name__ for one in before):
        lower, upper = np.minimum(lower, 0.0), np.maximum(upper, 0.0)
    return lower, upper


def _keeps_or_scales(layer: Any) -> bool:
    kind = type(layer).__name__
    if kind == "Normalization":
        return not layer.invert and layer.mean is not None
    if kind == "Rescaling":
        return np.ndim(layer.scale) == np.ndim(layer.offset) == 0
    return (
        layer_types.is_pooling(layer)
        or layer_types.is_dropout(layer)
        or kind.startswith("ZeroPadding")
    )


def _through(layer: Any, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bounds after a layer that leaves values in them, or scales them."""
    kind = type(layer).__name__
    if kind == "Normalization":
        mean = np.asarray(layer.mean, np.float64).ravel()
        spread = np.sqrt(np.asarray(layer.variance, np.float64).ravel())
        spread = np.maximum(spread, np.finfo(np.float32).eps)
        return (lower - mean) / spread, (upper - mean) / spread
    if kind == "Rescaling":
        ends = lower * layer.scale + layer.offset, upper * layer.scale + layer.offset
        return np.minimum(*ends), np.maximum(*ends)
    return lower, upper
