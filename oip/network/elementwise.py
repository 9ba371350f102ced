"""Functions of one tensor, value by value, that a model applies outside its layers.

`keras.ops.relu(conv(x))` is no layer: only the traced graph shows it. What lies between a tensor
and the one tensor that the rest of the model makes use of instead is read from the graph, and can
then be applied to other tensors.
"""

from __future__ import annotations

import heapq
import inspect
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

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
