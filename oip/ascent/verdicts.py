"""What can be said of each map after screening and ascent, and on what grounds."""

from __future__ import annotations

import numpy as np

from oip.ascent.results import VERDICTS
from oip.ascent.screening import Screening
from oip.network import kinds
from oip.network.layers import LayerInfo
from oip.network.tracing import Call
from oip.network.view import Network

_LIMITS = {"sigmoid": 1.0, "tanh": 1.0, "hard_sigmoid": 1.0, "softsign": 1.0, "relu6": 6.0}
_NEAR_LIMIT = 0.98
_SETTLED = 0.01


def verdict_codes(
    maps: np.ndarray, scores: np.ndarray, screening: Screening, silent: np.ndarray
) -> np.ndarray:
    """(m,) indices into `VERDICTS`.

    *failed*: no finite score; or no OIP was found for a map that images of the data do excite.
    *dead*: no image of the data excites it, and the response stayed at zero for every start and
    for the ascent of the pre-activation (which the `author` preset leaves out).
    *reachable-only*: the ascent excites it, no image of the data does. *revived*: silent for white
    noise; several wavelengths or the ascent found it. *responsive*: white noise excites it already.

    Args:
        maps: (m,) numbers of the maps, or of the objectives.
        scores: (m,) best scores.
        screening: reactions of all of them.
        silent: (c,) bool: the response can rest at zero; without that no map is silent.
    """
    codes = np.empty(len(maps), np.int64)
    for row, number in enumerate(maps):
        if not np.isfinite(scores[row]):
            verdict = "failed"
        elif not silent[number]:
            verdict = "responsive"
        elif scores[row] <= 0:
            verdict = "failed" if screening.data_active[number] > 0 else "dead"
        elif screening.data_active[number] == 0:
            verdict = "reachable-only"
        elif screening.white[number] <= 0 or screening.post[:, number].max() <= 0:
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

    The layer's inputs lie between `lower` and `upper`; where b + sum of max(w, 0) upper +
    min(w, 0) lower is at or below zero the response is zero for all of them. Only a layer whose
    inputs come out of a ReLU has such bounds here: 0 and infinity (6 for relu6).
    """
    none = np.zeros(layer.maps, bool)
    call = network.calls[layer.last_call]
    conv = call.layer
    kernel = getattr(conv, "kernel", None)
    if not layer.silent_possible or layer.response.before_activation != "fused":
        return none
    if kernel is None or "Transpose" in type(conv).__name__ or kernel.shape[-1] != layer.maps:
        return none
    upper = _upper_bound(network.calls, call)
    if upper is None:
        return none
    weights = np.asarray(kernel.numpy(), np.float64).reshape(-1, layer.maps)
    bias = np.zeros(layer.maps) if conv.bias is None else np.asarray(conv.bias.numpy(), np.float64)
    positive = np.maximum(weights, 0.0).sum(0)
    with np.errstate(invalid="ignore"):  # NaN weights: nothing is proved
        highest = np.where(positive == 0, bias, bias + positive * upper)
        return np.asarray(highest <= 0)


def _upper_bound(calls: list[Call], call: Call) -> float | None:
    """The largest value that a call's inputs can take if none is below zero, else None."""
    while len(call.sources) == 1 and call.sources[0] >= 0 and call.direct:
        call = calls[call.sources[0]]
        if kinds.can_be_silent(call.layer):
            return _LIMITS.get(kinds.activation_name(call.layer), np.inf)
        if not (kinds.is_pooling(call.layer) or kinds.is_dropout(call.layer)):
            return None
    return None
