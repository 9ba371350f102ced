"""Functions compiled once, for signatures that are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def compiled(function: Callable[..., Any], *signature: Any) -> Callable[..., Any]:
    """`function` as one TensorFlow graph, which is given back when nobody holds it any more.

    The graph is traced here and never again, whatever the batch size; calling it does not pass
    through TensorFlow's count of retraced functions, which takes one function for each layer for
    a mistake. Gradients are taken inside `function` or not at all.

    Args:
        function: takes and returns tensors.
        signature: a `tf.TensorSpec` for each argument.
    """
    import tensorflow as tf

    graph = tf.function(function, input_signature=signature, autograph=False)
    concrete = graph.get_concrete_function()
    _forget_gradients(concrete.graph)
    return concrete


def _forget_gradients(graph: Any) -> None:
    """Takes the custom gradients of a traced graph out of TensorFlow's registry.

    The registry holds each for ever, and with it the graph that it was traced in: some MiB for
    every layer of a network, also where only a Keras activation brings one along.
    """
    from tensorflow.python.framework import ops

    registry = getattr(getattr(ops, "gradient_registry", None), "_registry", None)
    if not isinstance(registry, dict):
        return  # another TensorFlow: its graphs stay, results are the same
    definition = graph.as_graph_def()
    nodes = [*definition.node]
    for part in definition.library.function:
        nodes.extend(part.node_def)
    for node in nodes:
        if "_gradient_op_type" in node.attr:
            name = node.attr["_gradient_op_type"].s.decode()
            if name.startswith("CustomGradient-"):
                registry.pop(name, None)
