"""The model cut at a layer: run up to there, in the graph that is being traced, no further."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from oip.network.layers import Place
from oip.network.pooling import can_be_quick, quick_pooling
from oip.network.tracing import leaf_layers, shadowed


class _Reached(BaseException):
    """Carries the tensors out of the model; Keras wraps what derives from Exception."""

    def __init__(self, before: Any, after: Any):
        self.tensors = (before, after)


def run_to(
    model: Any,
    inputs: Sequence[Any],
    place: Place,
    channels_first: bool,
    instead: Sequence[tuple[Any, Any]] = (),
    for_gradient: bool = False,
) -> tuple[Any, Any]:
    """Pre-activation and response at a place, both float32 with the channels last.

    To be called while a `tf.function` is traced: what comes after the place is never part of the
    graph. The model's layers are left as they were.

    Args:
        model: the Keras model.
        inputs: one tensor for each of the model's inputs.
        place: where to stop.
        channels_first: the layout of the tensor there.
        instead: (variable, tensor) that the run is to read in its place.
        for_gradient: the gradient with respect to the inputs will be asked for, many times.

    Returns:
        Two tensors of shape (n, *nodes, maps).
    """
    import keras
    import tensorflow as tf

    count = 0

    def stop(layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count - 1 != place.use:
                return call(*args, **kwargs)
            if place.before_activation == "input":
                after = call(*args, **kwargs)
                raise _Reached(args[0] if args else next(iter(kwargs.values())), after)
            if place.before_activation == "fused":
                raise _Reached(*_around_activation(layer, call, args, kwargs))
            after = call(*args, **kwargs)
            raise _Reached(after, after)

        return counted

    try:
        scope = keras.StatelessScope(state_mapping=list(instead)) if instead else nullcontext()
        pools = [layer for _, layer in leaf_layers(model) if for_gradient and can_be_quick(layer)]
        pools = [layer for layer in pools if layer is not place.layer]
        with shadowed(pools, quick_pooling), shadowed([place.layer], stop), scope:
            model(list(inputs) if len(inputs) > 1 else inputs[0], training=False)
    except _Reached as reached:
        before, after = (tf.cast(tensor, tf.float32) for tensor in reached.tensors)
        if channels_first:
            axes = [0, *range(2, len(before.shape)), 1]
            before, after = tf.transpose(before, axes), tf.transpose(after, axes)
        return before, after
    raise RuntimeError(f"the model ran without calling {place!r}")


def _around_activation(
    layer: Any, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Any]:
    """What a layer's own activation receives and returns."""
    activation = layer.activation
    received: list[Any] = []

    def noted(value: Any) -> Any:
        received.append(value)
        return activation(value)

    vars(layer)["activation"] = noted
    try:
        after = call(*args, **kwargs)
    finally:
        vars(layer)["activation"] = activation
    return received[-1], after
