"""The behaviour of activations: measured by trying them, since any function may be one.

A model may also apply functions outside its layers: `keras.ops.relu(conv(x))` is no layer, only the
traced graph shows it. `Elementwise` is such a function, read from the graph: it takes one tensor,
works value by value, and can be applied to other tensors.
"""

from __future__ import annotations

import heapq
import inspect
import math
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from oip.core.frameworks import Tensor, keras, tf

_REACH = 4.0
_POINTS = 65
_TRIED = np.linspace(-_REACH, _REACH, _POINTS, dtype=np.float32)
_FAR = np.array([1e25, 1e28, 1e30], np.float32)
_FLAT = 3
"""Neighboring points at zero that make a flat stretch."""
_BENT = 1e-3
MIXING = ("softmax", "log_softmax", "sparsemax")
"""Functions that do not work value by value."""


class _Trial(NamedTuple):
    """A function at p points, of c channels."""

    values: np.ndarray
    """(p, c)"""
    slopes: np.ndarray
    """(p, c)"""


def activation_can_be_zero(function: Callable | None) -> bool:
    """Return whether a function has a stretch of zeros, where no gradient leads out, such as ReLU.

    It is tried between -4 and 4; a function that only comes near zero there, as GELU, is not
    silent.
    """
    if function is None or getattr(function, "__name__", "") in MIXING:
        return False
    if type(function).__name__ == "PReLU":
        return bool(np.any(np.asarray(getattr(function, "alpha")) == 0))  # noqa: B009
    trial = _try_values(function)
    if trial is None:
        return False
    flat = (trial.values == 0) & (trial.slopes == 0)
    runs = np.lib.stride_tricks.sliding_window_view(flat, _FLAT, axis=0)
    return bool(runs.all(-1).any())


def upper_limit(function: Callable | None) -> float:
    """Return the value that a function reaches, and keeps without any slope; infinity if none.

    Such are 6 of `relu6`, 1 of the sigmoids. Maps with different limits count as without.
    """
    if function is None or getattr(function, "__name__", "") in MIXING:
        return math.inf
    trial = _try_values(function, _FAR)
    if trial is None or np.ptp(trial.values) > 0 or np.any(trial.slopes != 0):
        return math.inf
    limit = float(trial.values.max())
    return limit if limit > 0 else math.inf


def is_nonlinear(function: Callable) -> bool:
    """Return whether a function is no straight line: more than a factor and an offset."""
    trial = _try_values(function)
    if trial is None:
        return False
    values = trial.values
    line = np.linspace(values[0], values[-1], len(values))
    return bool(np.any(np.abs(values - line) > _BENT * (np.abs(values).max() + 1e-9)))


def _try_values(function: Callable, points: np.ndarray = _TRIED) -> _Trial | None:
    """Try a function on single values; None where it is not made for them."""
    with tf.init_scope():  # another function may be traced at the moment
        tensor = tf.constant(points.reshape(-1, 1, 1, 1))
        try:
            with tf.GradientTape() as tape:
                tape.watch(tensor)
                output = function(tensor)
            gradient = tape.gradient(output, tensor)
            values = np.asarray(output, np.float64).reshape(len(points), -1)
        except Exception:  # a user's function may fail in any way on what it was not made for
            return None
        slopes = np.zeros(len(points)) if gradient is None else np.asarray(gradient, np.float64)
    if not np.isfinite(values).all():
        return None
    return _Trial(values, np.broadcast_to(slopes.reshape(-1, 1), values.shape))


def value_range(function: Callable | None) -> tuple[float, float] | None:
    """Return the lowest and highest value that an activation gives, None where that is uncertain.

    It is certain for Keras' own functions and layers and for single operations of TensorFlow; not
    for a function of the user's, whatever its name.
    """
    ranges = {
        "hard_sigmoid": (0.0, 1.0),
        "relu": (0.0, math.inf),
        "relu6": (0.0, 6.0),
        "sigmoid": (0.0, 1.0),
        "softmax": (0.0, 1.0),
        "softplus": (0.0, math.inf),
        "softsign": (-1.0, 1.0),
        "tanh": (-1.0, 1.0),
    }
    if isinstance(function, keras.layers.Activation):
        function = function.activation
    if type(function) is keras.layers.ReLU:
        top = math.inf if function.max_value is None else float(function.max_value)
        return (0.0, top) if not function.negative_slope else None
    if isinstance(function, Elementwise):
        return ranges.get(function.name)
    for name, bounds in ranges.items():
        if function is getattr(keras.activations, name):
            return bounds
    return None


def closed_below_zero(function: Callable | None) -> bool:
    """Return whether a function is certainly zero at and below zero: ReLU in any Keras form."""
    if isinstance(function, keras.layers.Activation):
        function = function.activation
    if type(function) is keras.layers.ReLU:
        return not function.negative_slope and float(function.threshold or 0) >= 0
    if isinstance(function, Elementwise):
        return function.name in ("relu", "relu6")
    return function is keras.activations.relu or function is keras.activations.relu6


COPIES = frozenset({"Cast", "Identity", "IdentityN", "StopGradient"})
OPERATIONS = COPIES | frozenset(
    "Abs Add AddV2 ClipByValue Elu Erf Erfc Exp Expm1 Greater GreaterEqual LeakyRelu Less "
    "LessEqual Log1p LogicalAnd LogicalNot LogicalOr Maximum Minimum Mul Neg OnesLike Pow RealDiv "
    "Relu Relu6 Rsqrt Select SelectV2 Selu Sigmoid Sign Softplus Softsign Sqrt Square Sub Tanh "
    "ZerosLike".split()
)
_NAMES = {"LeakyRelu": "leaky_relu"} | {
    name: name.lower() for name in "Elu Relu Relu6 Selu Sigmoid Softplus Softsign Tanh".split()
}


@dataclass(frozen=True)
class _Step:
    """One operation of a traced graph."""

    kind: str
    """Name in `tf.raw_ops`."""
    inputs: tuple[str, ...]
    output: str
    settings: dict[str, Any]


class Elementwise:
    """A function y = f(x), value by value; its constants may differ from map to map.

    Args:
        source: name of the tensor x.
        target: name of the tensor y.
        steps: the operations that lead from x to y, in their order.
        constants: their other inputs, by the names of the tensors.
    """

    def __init__(
        self, source: str, target: str, steps: list[_Step], constants: Mapping[str, np.ndarray]
    ) -> None:
        self._source, self.target = source, target
        self._steps, self._constants = steps, constants

    @property
    def name(self) -> str:
        """The Keras name of its one operation; `function` for several."""
        kinds = [step.kind for step in self._steps if step.kind not in COPIES]
        return _NAMES.get(kinds[0], "function") if len(kinds) == 1 else "function"

    def __call__(self, tensor: Tensor) -> Tensor:
        tensors = {self._source: tensor}
        for step in self._steps:
            operation: Callable = getattr(tf.raw_ops, step.kind)
            inputs = [
                tensors[name] if name in tensors else tf.constant(self._constants[name])
                for name in step.inputs
            ]
            if step.kind == "IdentityN":
                tensors[step.output] = tf.identity(inputs[0])
                continue
            names = [name for name in inspect.signature(operation).parameters if name != "name"]
            free = [name for name in names if name not in step.settings]
            settings = {name: step.settings[name] for name in names if name in step.settings}
            tensors[step.output] = operation(**dict(zip(free, inputs, strict=True)), **settings)
        return tensors[self.target]


def elementwise_after(
    begin: Tensor, operations: Mapping[str, int], results: Set[str]
) -> Elementwise | None:
    """Return the function that turns a tensor of a traced graph into the one used in its stead.

    Args:
        begin: the tensor.
        operations: names of operations that may take part, each with its number in the graph.
        results: names of tensors that are used beside those that other operations read.

    Returns:
        None where the tensor itself is used, or more than one tensor that is made of it.
    """
    derived = _Derived(begin, operations)
    names = {derived.original(tensor).name for tensor in derived.used(results)}
    return derived.function(names.pop()) if len(names) == 1 else None


def elementwise_between(
    begin: Tensor, end: Tensor, operations: Mapping[str, int]
) -> Elementwise | None:
    """Return the function from one tensor to another, if these operations work value by value."""
    return _Derived(begin, operations).function(end.name)


class _Derived:
    """All tensors that some operations make of one tensor, alone or with constants."""

    def __init__(self, begin: Tensor, operations: Mapping[str, int]):
        self._begin = begin
        self._tensors: dict[str, Tensor] = {begin.name: begin}
        self._steps: dict[str, _Step] = {}
        self._constants: dict[str, np.ndarray] = {}
        waiting: list[tuple[int, str, tf.Operation]] = []

        def wait(tensor: Tensor) -> None:
            for reader in tensor.consumers():
                if reader.type in OPERATIONS and reader.name in operations:
                    heapq.heappush(waiting, (operations[reader.name], reader.name, reader))

        wait(begin)
        while waiting:
            _, name, operation = heapq.heappop(waiting)
            if name not in self._steps and self._take(operation):
                wait(operation.outputs[0])

    def _take(self, operation: tf.Operation) -> bool:
        for tensor in operation.inputs:
            if tensor.name not in self._tensors and tensor.name not in self._constants:
                value = tf.get_static_value(tensor)
                if value is None:
                    return False
                self._constants[tensor.name] = value
        output = operation.outputs[0]
        self._tensors[output.name] = output
        self._steps[operation.name] = _Step(
            operation.type,
            tuple(tensor.name for tensor in operation.inputs),
            output.name,
            {name: operation.get_attr(name) for name in operation.node_def.attr},
        )
        return True

    def used(self, results: Set[str]) -> list[Tensor]:
        """List the tensors that something beside these operations needs."""
        return [
            tensor
            for tensor in self._tensors.values()
            if tensor.name in results
            or any(reader.name not in self._steps for reader in tensor.consumers())
        ]

    def original(self, tensor: Tensor) -> Tensor:
        """Return the tensor that a tensor is a copy of."""
        while tensor is not self._begin and tensor.op.type in COPIES:
            tensor = self._tensors[tensor.op.inputs[0].name]
        return tensor

    def function(self, end: str) -> Elementwise | None:
        """Return the function from the first tensor to another; None where that is not derived."""
        if end not in self._tensors or self._tensors[end] is self._begin:
            return None
        if self._tensors[end].shape.rank != self._begin.shape.rank:
            return None
        needed = {end}
        steps = []
        for step in reversed(self._steps.values()):
            if step.output in needed:
                needed |= set(step.inputs)
                steps.append(step)
        constants = {name: value for name, value in self._constants.items() if name in needed}
        return Elementwise(self._begin.name, end, steps[::-1], constants)
