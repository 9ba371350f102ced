"""What an activation does, found by trying it: names say little, any function may be one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

_REACH = 4.0
_POINTS = 65
_FLAT = 3
"""Neighbouring points at zero that make a flat stretch."""
_BENT = 1e-3
_MIXING = ("softmax", "log_softmax", "sparsemax")
"""Not value by value."""


def activation_of(layer: Any) -> Callable[..., Any] | None:
    """A layer's own activation, or the layer where it is one; None where it has none."""
    from oip.network.kinds import is_activation

    own = getattr(layer, "activation", None)
    if callable(own):
        return own
    return layer if is_activation(layer) else None


def can_be_silent(function: Callable[..., Any] | None) -> bool:
    """The function has a stretch of zeros, where no gradient leads out: ReLU, hard sigmoid, ...

    It is tried between -4 and 4; what only comes near zero there, as GELU, is not silent.
    """
    if function is None or getattr(function, "__name__", "") in _MIXING:
        return False
    if type(function).__name__ == "PReLU":
        return bool(np.any(np.asarray(function.alpha) == 0))  # type: ignore[attr-defined]
    found = _tried(function)
    if found is None:
        return False
    _, values, slopes = found
    resting = (values == 0) & (slopes == 0)
    runs = np.lib.stride_tricks.sliding_window_view(resting, _FLAT, axis=0)
    return bool(runs.all(-1).any())


def is_bent(function: Callable[..., Any]) -> bool:
    """The function is no straight line: an activation, and not only a factor and an offset."""
    found = _tried(function)
    if found is None:
        return False
    _, values, _ = found
    line = np.linspace(values[0], values[-1], len(values))
    return bool(np.any(np.abs(values - line) > _BENT * (np.abs(values).max() + 1e-9)))


def _tried(function: Callable[..., Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Points (p,), values and slopes (p, c) there; None where it is not made for single values."""
    import tensorflow as tf

    points = np.linspace(-_REACH, _REACH, _POINTS, dtype=np.float32)
    with tf.init_scope():  # it may be asked for while another function is traced
        given = tf.constant(points.reshape(-1, 1, 1, 1))
        try:
            with tf.GradientTape() as tape:
                tape.watch(given)
                values = function(given)
            slopes = tape.gradient(values, given)
            found = np.asarray(values, np.float64).reshape(_POINTS, -1)
        except Exception:  # a user's function may fail in any way on what it was not made for
            return None
        slopes = np.zeros(_POINTS) if slopes is None else np.asarray(slopes, np.float64)
    if not np.isfinite(found).all():
        return None
    return points, found, np.broadcast_to(slopes.reshape(-1, 1), found.shape)


def limits(function: Any) -> tuple[float, float] | None:
    """The lowest and highest value that an activation gives, where that is certain.

    Known are Keras' own functions and layers and single operations of TensorFlow; a function of
    the user's is not, whatever its name.
    """
    from keras import activations, layers

    from oip.network.elementwise import Elementwise

    bounds = {
        "hard_sigmoid": (0.0, 1.0),
        "relu": (0.0, math.inf),
        "relu6": (0.0, 6.0),
        "sigmoid": (0.0, 1.0),
        "softmax": (0.0, 1.0),
        "softplus": (0.0, math.inf),
        "softsign": (-1.0, 1.0),
        "tanh": (-1.0, 1.0),
    }
    if isinstance(function, layers.Activation):
        function = function.activation
    if type(function) is layers.ReLU:
        top = math.inf if function.max_value is None else float(function.max_value)
        return (0.0, top) if not function.negative_slope else None
    if isinstance(function, Elementwise):
        return bounds.get(function.name)
    for name, known in bounds.items():
        if function is getattr(activations, name):
            return known
    return None


def closed_below_zero(function: Any) -> bool:
    """Certainly zero for everything at or below zero: ReLU in any of Keras' forms."""
    from keras import activations, layers

    from oip.network.elementwise import Elementwise

    if isinstance(function, layers.Activation):
        function = function.activation
    if type(function) is layers.ReLU:
        return not function.negative_slope and float(function.threshold or 0) >= 0
    if isinstance(function, Elementwise):
        return function.name in ("relu", "relu6")
    return function is activations.relu or function is activations.relu6
