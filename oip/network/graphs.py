"""Functions compiled once, for signatures that are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def compiled(function: Callable[..., Any], *signature: Any) -> Callable[..., Any]:
    """`function` as one TensorFlow graph.

    The graph is traced here and never again, whatever the batch size; calling it does not pass
    through TensorFlow's count of retraced functions, which takes one function for each layer for
    a mistake.

    Args:
        function: takes and returns tensors.
        signature: a `tf.TensorSpec` for each argument.
    """
    import tensorflow as tf

    graph = tf.function(function, input_signature=signature, autograph=False)
    return graph.get_concrete_function()
