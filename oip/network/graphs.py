"""Compiled graphs that are kept with a network, so that nothing is traced twice.

A graph reads the model's weights when it runs, and does not refer to the network that it was traced
for. What it is traced from has to be in its key; whatever else a call needs is an input.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from oip.core.errors import ModelError, logged
from oip.core.frameworks import tf

if TYPE_CHECKING:
    from tensorflow.core.framework.node_def_pb2 import NodeDef

Graph = Callable[..., Any]
_BYTES_PER_NODE = 6_000
"""Memory of one operation of a graph that has run, beside the constants in it."""


class _Entry(NamedTuple):
    graph: Graph
    bytes: int


class Graphs:
    """Graphs of one model by their keys; the least recently used leave first.

    Args:
        byte_budget: most bytes of all graphs; the newest one is always kept.
    """

    def __init__(self, byte_budget: int = 256 << 20):
        self.byte_budget = byte_budget
        self.traced = 0
        """How many graphs were made."""
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._entries)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse `pickle` and `copy.deepcopy`, of a network, too: no graph can be copied."""
        hint = "Open it where it is needed, by oip.Network(path)."
        raise ModelError("copy of a Network", "the path of its model", "a Network", hint)

    @property
    def bytes(self) -> int:
        """The estimated memory of all graphs."""
        return sum(entry.bytes for entry in self._entries.values())

    def cached(
        self,
        key: Hashable,
        function: Callable,
        *signature: tf.TensorSpec | tuple,
    ) -> Graph:
        """Return the graph of a key; it is traced the first time.

        Args:
            key: equal for functions that give the same graph.
            function, signature: as for `compiled`.
        """
        with self._lock:
            if key not in self._entries:
                self._entries[key] = _traced(function, signature)
                self.traced += 1
            self._entries.move_to_end(key)
            while len(self._entries) > 1 and self.bytes > self.byte_budget:
                self._entries.popitem(last=False)
            return self._entries[key].graph


def compiled(function: Callable, *signature: tf.TensorSpec | tuple) -> Graph:
    """Compile a function to one TensorFlow graph, which is freed when nothing refers to it.

    The graph is traced here and never again, whatever the batch size; calling it does not pass
    through TensorFlow's count of retraced functions, which takes one function for each layer for
    a mistake. Gradients are taken inside `function` or not at all.

    Args:
        function: takes and returns tensors.
        signature: a `tf.TensorSpec`, or a tuple of them, for each argument.
    """
    return _traced(function, signature).graph


def _traced(function: Callable, signature: tuple[tf.TensorSpec | tuple, ...]) -> _Entry:
    graph = tf.function(function, input_signature=signature, autograph=False)
    with logged("traced %s", function.__qualname__, level=logging.DEBUG):
        concrete = graph.get_concrete_function()
    definition = concrete.graph.as_graph_def()
    nodes = [*definition.node]
    for inner in definition.library.function:
        nodes.extend(inner.node_def)
    _forget_gradients(nodes)
    return _Entry(concrete, definition.ByteSize() + _BYTES_PER_NODE * len(nodes))


def _forget_gradients(nodes: Iterable[NodeDef]) -> None:
    """Remove the custom gradients in a traced graph from TensorFlow's registry.

    The registry never releases one, nor the graph that it was traced in: some MiB for
    every layer of a network, also where only a Keras activation brings one along.
    """
    from tensorflow.python.framework import ops

    registry = getattr(getattr(ops, "gradient_registry", None), "_registry", None)
    if not isinstance(registry, dict):
        return  # another TensorFlow: its graphs stay, results are the same
    for node in nodes:
        if "_gradient_op_type" in node.attr:
            name = node.attr["_gradient_op_type"].s.decode()
            if name.startswith("CustomGradient-"):
                registry.pop(name, None)
