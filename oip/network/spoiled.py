"""Models with NaN or infinity among their weights, so that it reaches what it reaches.

Some processors compute convolution and ReLU as one operation in which NaN becomes zero, and a
broken map then looks dead. Max pooling on them ignores NaN, and gives the lowest finite number
where there is nothing else. In the graphs of such models NaN is handed around both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from oip.network.kinds import is_activation, is_max_pooling
from oip.network.tracing import shadowed


@contextmanager
def nan_kept(layers: Sequence[Any]) -> Iterator[None]:
    """For the time of the block, activations and max pooling of these layers answer NaN for NaN."""
    fused = [layer for layer in layers if callable(vars(layer).get("activation"))]
    own = [vars(layer)["activation"] for layer in fused]
    pools = [layer for layer in layers if is_max_pooling(layer)]
    plain = [layer for layer in layers if is_activation(layer)]
    with shadowed(pools, _around_pooling), shadowed(plain, _around_call):
        try:
            for layer, activation in zip(fused, own, strict=True):
                vars(layer)["activation"] = _around(activation)
            yield
        finally:
            for layer, activation in zip(fused, own, strict=True):
                vars(layer)["activation"] = activation


def _around_call(_layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    return _around(call)


def _around_pooling(_layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    """NaN where the window holds one, minus infinity where it holds nothing else."""
    import tensorflow as tf

    def kept(values: Any, *args: Any, **kwargs: Any) -> Any:
        pooled = call(values, *args, **kwargs)
        if not values.dtype.is_floating:
            return pooled
        broken = call(tf.cast(tf.math.is_nan(values), values.dtype), *args, **kwargs) > 0
        infinite = tf.constant(-np.inf, values.dtype)
        pooled = tf.where(pooled > values.dtype.min, pooled, infinite)
        return tf.where(broken, tf.constant(np.nan, values.dtype), pooled)

    return kept


def _around(activation: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    def kept(values: Any, *args: Any, **kwargs: Any) -> Any:
        return tf.where(tf.math.is_nan(values), values, activation(values, *args, **kwargs))

    return kept
