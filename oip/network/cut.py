"""The model cut at one layer or several: run up to there, in the graph being traced, no further."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from oip.network.layers import Place
from oip.network.narrow import can_be_narrow, narrow_convolution
from oip.network.pooling import can_be_quick, quick_pooling
from oip.network.spoiled import nan_kept
from oip.network.tracing import arranged, leaf_layers, shadowed


class _Reached(BaseException):
    """Leaves the model when all places are reached; Keras wraps what derives from Exception."""


def run_to(
    model: Any,
    inputs: Sequence[Any],
    place: Place,
    channels_first: bool,
    instead: Sequence[tuple[Any, Any]] = (),
    for_gradient: bool = False,
    spoiled: bool = False,
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
        spoiled: weights hold NaN or infinity, which must not be lost on the way.

    Returns:
        Two tensors of shape (n, *nodes, maps).
    """
    places = [(place, channels_first)]
    return run_to_all(model, inputs, places, instead, for_gradient, spoiled)[0]


def run_to_all(
    model: Any,
    inputs: Sequence[Any],
    places: Sequence[tuple[Place, bool]],
    instead: Sequence[tuple[Any, Any]] = (),
    for_gradient: bool = False,
    spoiled: bool = False,
) -> list[tuple[Any, Any]]:
    """Pre-activation and response at several places of one run, in their order.

    Args:
        places: each with whether the channels come first there.
        model, inputs, instead, for_gradient, spoiled: as for `run_to`.
    """
    import keras

    found: dict[int, tuple[Any, Any]] = {}
    counts: dict[int, int] = {}

    def stop(layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        mine = [number for number, (place, _) in enumerate(places) if place.layer is layer]

        def counted(*args: Any, **kwargs: Any) -> Any:
            use = counts.get(id(layer), 0)
            counts[id(layer)] = use + 1
            here = [number for number in mine if places[number][0].use == use]
            if not here:
                return call(*args, **kwargs)
            before, given = _around_activation(layer, call, args, kwargs)
            for number in here:
                place = places[number][0]
                after = given if place.then is None else place.then(given)
                if place.before_activation == "input":
                    found[number] = (args[0] if args else next(iter(kwargs.values())), after)
                else:
                    found[number] = (before if place.before_activation == "fused" else given, after)
            if len(found) == len(places):
                raise _Reached
            return given

        return counted

    ends = list({id(place.layer): place.layer for place, _ in places}.values())
    others = [layer for _, layer in leaf_layers(model) if not any(layer is end for end in ends)]
    with ExitStack() as stack:
        if instead:
            stack.enter_context(keras.StatelessScope(state_mapping=list(instead)))
        if for_gradient:
            pools = [layer for layer in others if can_be_quick(layer)]
            narrow = [layer for layer in others if can_be_narrow(layer)]
            stack.enter_context(shadowed(pools, quick_pooling))
            stack.enter_context(shadowed(narrow, narrow_convolution, "convolution_op"))
        if spoiled and not instead:
            stack.enter_context(nan_kept([*others, *ends]))
        stack.enter_context(shadowed(ends, stop))
        try:
            model(arranged(model, inputs), training=False)
        except _Reached:
            return [_plain(*found[number], first) for number, (_, first) in enumerate(places)]
    missed = [place for number, (place, _) in enumerate(places) if number not in found]
    raise RuntimeError(f"the model ran without calling {missed!r}")


def _plain(before: Any, after: Any, channels_first: bool) -> tuple[Any, Any]:
    """Both as float32 with the channels last; one tensor stays one tensor."""
    import tensorflow as tf

    def plain(tensor: Any) -> Any:
        tensor = tf.cast(tensor, tf.float32)
        if channels_first:
            tensor = tf.transpose(tensor, [0, *range(2, len(tensor.shape)), 1])
        return tensor

    if before is after:
        both = plain(after)
        return both, both
    return plain(before), plain(after)


def _around_activation(
    layer: Any, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Any]:
    """What a layer's own activation receives and returns; twice the output where it has none."""
    activation = vars(layer).get("activation")
    if not callable(activation):
        after = call(*args, **kwargs)
        return after, after
    received: list[Any] = []

    def noted(value: Any) -> Any:
        received.append(value)
        return activation(value)

    vars(layer)["activation"] = noted
    try:
        after = call(*args, **kwargs)
    finally:
        vars(layer)["activation"] = activation
    return (received[-1] if received else after), after
