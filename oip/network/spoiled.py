"""Models with NaN or infinity among their weights, so that it reaches what it reaches.

Some processors compute convolution and ReLU as one operation in which NaN becomes zero, and a
broken map then looks dead. In the graphs of such models NaN is handed around every activation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from oip.network.kinds import is_activation
from oip.network.tracing import shadowed


@contextmanager
def nan_kept(layers: Sequence[Any]) -> Iterator[None]:
    """For the time of the block, activations of these layers answer NaN for NaN."""
    fused = [layer for layer in layers if callable(vars(layer).get("activation"))]
    own = [vars(layer)["activation"] for layer in fused]
    with shadowed([layer for layer in layers if is_activation(layer)], _around_call):
        try:
            for layer, activation in zip(fused, own, strict=True):
                vars(layer)["activation"] = _around(activation)
            yield
        finally:
            for layer, activation in zip(fused, own, strict=True):
                vars(layer)["activation"] = activation


def _around_call(_layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    return _around(call)


def _around(activation: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    def kept(values: Any, *args: Any, **kwargs: Any) -> Any:
        return tf.where(tf.math.is_nan(values), values, activation(values, *args, **kwargs))

    return kept
