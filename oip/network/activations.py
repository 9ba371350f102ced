"""What an activation does, found by trying it: names say little, any function may be one.

Functions of one tensor, value by value, that a model applies outside its layers.

`keras.ops.relu(conv(x))` is no layer: only the traced graph shows it. What lies between a tensor
and the one tensor that the rest of the model makes use of instead is read from the graph, and can
then be applied to other tensors.
"""

from __future__ import annotations

import heapq
import inspect
import math
from collections.abc import Callable, Set
from dataclasses import dataclass
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
    from oip.network.layer_types import is_activation

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


def is_nonlinear(function: Callable[..., Any]) -> bool:
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

    if isinstance(function, layers.Activation):
        function = function.activation
    if type(function) is layers.ReLU:
        return not function.negative_slope and float(function.threshold or 0) >= 0
    if isinstance(function, Elementwise):
        return function.name in ("relu", "relu6")
    return function is activations.relu or function is activations.relu6


COPIES = frozenset({"Cast", "Identity", "IdentityN", "StopGradient"})
OPERATIONS = COPIES | frozenset(
    "Abs Add AddV2 ClipByValue Elu Erf Erfc Exp Expm1 Greater GreaterEqual LeakyRelu Less "
    "LessEqual Log1p LogicalAnd LogicalNot LogicalOr Maximum Minimum Mul Neg OnesLike Pow RealDiv "
    "Relu Relu6 Rsqrt Select SelectV2 Selu Sigmoid Sign Softplus Softsign Sqrt Square Sub Tanh "
    "ZerosLike".split()
)
_NAMES = {
    "Elu": "elu",
    "LeakyRelu": "leaky_relu",
    "Relu": "relu",
    "Relu6": "relu6",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
}


@dataclass(frozen=True)
class _Step:
    kind: str
    """Name in `tf.raw_ops`."""
    inputs: tuple[str, ...]
    output: str
    settings: dict[str, Any]


class Elementwise:
    """y = f(x), value by value; constants may differ from map to map."""

    def __init__(
        self, enters: str, leaves: str, steps: list[_Step], constants: dict[str, Any]
    ) -> None:
        self._enters, self._leaves = enters, leaves
        self._steps, self._constants = steps, constants

    @property
    def name(self) -> str:
        """Of the one operation that it is; `function` of several."""
        kinds = [step.kind for step in self._steps if step.kind not in COPIES]
        return _NAMES.get(kinds[0], "function") if len(kinds) == 1 else "function"

    def __call__(self, tensor: Any) -> Any:
        import tensorflow as tf

        values = {self._enters: tensor}
        for step in self._steps:
            operation: Callable[..., Any] = getattr(tf.raw_ops, step.kind)
            given = [
                values[name] if name in values else tf.constant(self._constants[name])
                for name in step.inputs
            ]
            if step.kind == "IdentityN":
                values[step.output] = tf.identity(given[0])
                continue
            names = [name for name in inspect.signature(operation).parameters if name != "name"]
            wanted = [name for name in names if name not in step.settings]
            settings = {name: step.settings[name] for name in names if name in step.settings}
            values[step.output] = operation(**dict(zip(wanted, given, strict=True)), **settings)
        return values[self._leaves]


def after(begin: Any, places: dict[str, int], results: Set[str]) -> Elementwise | None:
    """What turns a tensor of a traced graph into the one that is used in its place.

    Args:
        begin: the tensor.
        places: operations that may take part, by name, with their place in the graph.
        results: names of tensors that are used beside those that other operations read.

    Returns:
        None where the tensor itself is used, or more than one tensor that is made of it.
    """
    made = _Made(begin, places)
    ends = {made.original(tensor).name for tensor in made.tensors() if made.used(tensor, results)}
    return made.function(ends.pop()) if len(ends) == 1 else None


def inside(begin: Any, end: Any, places: dict[str, int]) -> Elementwise | None:
    """What turns a tensor into another one, if these operations do that value by value."""
    return _Made(begin, places).function(end.name)


class _Made:
    """All that some operations make of one tensor value by value, alone or with constants."""

    def __init__(self, begin: Any, places: dict[str, int]):
        self._begin = begin
        self._taken: dict[str, Any] = {begin.name: begin}
        self._steps: dict[str, _Step] = {}
        self._constants: dict[str, Any] = {}
        waiting: list[tuple[int, str, Any]] = []

        def wait(tensor: Any) -> None:
            for reader in tensor.consumers():
                if reader.type in OPERATIONS and reader.name in places:
                    heapq.heappush(waiting, (places[reader.name], reader.name, reader))

        wait(begin)
        while waiting:
            _, name, operation = heapq.heappop(waiting)
            if name not in self._steps and self._take(operation):
                wait(operation.outputs[0])

    def _take(self, operation: Any) -> bool:
        import tensorflow as tf

        for tensor in operation.inputs:
            if tensor.name not in self._taken and tensor.name not in self._constants:
                value = tf.get_static_value(tensor)
                if value is None:
                    return False
                self._constants[tensor.name] = value
        output = operation.outputs[0]
        self._taken[output.name] = output
        self._steps[operation.name] = _Step(
            operation.type,
            tuple(tensor.name for tensor in operation.inputs),
            output.name,
            {name: operation.get_attr(name) for name in operation.node_def.attr},
        )
        return True

    def tensors(self) -> list[Any]:
        """The first tensor and what is made of it."""
        return list(self._taken.values())

    def used(self, tensor: Any, results: Set[str]) -> bool:
        """Something beside these operations needs it."""
        readers = tensor.consumers()
        return tensor.name in results or any(one.name not in self._steps for one in readers)

    def original(self, tensor: Any) -> Any:
        """What a tensor is a copy of."""
        while tensor is not self._begin and tensor.op.type in COPIES:
            tensor = self._taken[tensor.op.inputs[0].name]
        return tensor

    def function(self, end: str) -> Elementwise | None:
        """From the first tensor to one of the others; None where that is none of them."""
        if end not in self._taken or self._taken[end] is self._begin:
            return None
        if self._taken[end].shape.rank != self._begin.shape.rank:
            return None
        wanted = {end}
        steps = []
        for step in reversed(self._steps.values()):
            if step.output in wanted:
                wanted |= set(step.inputs)
                steps.append(step)
        constants = {name: value for name, value in self._constants.items() if name in wanted}
        return Elementwise(self._begin.name, end, steps[::-1], constants)
