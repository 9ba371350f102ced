"""The layers of a model whose output can be read: maps of it, or units without spatial axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from oip.core.errors import ModelError, SettingsError
from oip.core.frameworks import keras
from oip.network import geometry, layer_types
from oip.network.activations import (
    Elementwise,
    can_be_silent,
    is_nonlinear,
    upper_limit,
)
from oip.network.tracing import Call, ModelOutput

At = Literal["response", "block"]
UNLISTED = -1
"""The index of a layer that `Network.layers` does not list."""


@dataclass(frozen=True)
class LayerOutput:
    """The tensor that one use of a layer gives, before and after its activation."""

    layer: keras.Layer = field(repr=False)
    use: int = 0
    """0 for the layer's first call, 1 for its second, ..."""
    pre_activation: Literal["fused", "input", "same"] = "same"
    """Where the pre-activation is: `fused`, what the layer's own activation receives; `input`, what
    the layer receives; `same`, the output itself."""
    then: Elementwise | None = field(default=None, repr=False)
    """An activation that follows outside all layers."""
    channels_first: bool = False
    """The layout of the tensor."""

    @property
    def key(self) -> tuple[Hashable, ...]:
        """Equal for outputs that are the same tensor of one model, also of two views of it."""
        return id(self.layer), self.use, self.pre_activation, self.then is None, self.channels_first


@dataclass(frozen=True)
class LayerInfo:
    """One layer in one place of the model, whose output has channels: maps or units.

    The response of a convolution or dense layer is taken after its activation, whether that is
    fused, or follows as a layer of its own with or without batch normalization in between.
    """

    index: int
    """The index among the layers with maps, as `oip layers` prints it. Pooling has the index of the
    layer before it, whose maps it pools; all other layers have `UNLISTED`."""
    name: str
    """`name`, `outer/name` in nested models, `name#1` for the second use of a layer."""
    kind: str
    """The layer's Keras class."""
    maps: int
    """Maps, or units of a layer without spatial axes."""
    size: tuple[int, ...]
    """Nodes along each spatial axis, of the response; empty for units."""
    response: LayerOutput = field(repr=False)
    last_call: int
    """Number of the call whose output is the response."""
    inputs: frozenset[int]
    """Indices of the model's inputs that it depends on."""
    activation: str = "linear"
    silent_possible: bool = False
    """The response can be flat zero (ReLU), where no gradient leads out."""
    upper_limit: float = math.inf
    """The response at which the activation has no slope any more, such as 6 of `relu6`."""
    receptive_field: tuple[int, ...] | None = None
    jump: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    block: LayerOutput | None = field(default=None, repr=False)
    """The output of the pooling layer that follows, if one does."""
    block_size: tuple[int, ...] | None = None

    @property
    def channels_first(self) -> bool:
        """The layout of the response."""
        return self.response.channels_first

    def at(self, at: At) -> LayerInfo:
        """Return the layer with its response (`response`), or the pooled one (`block`), as such.

        Raises:
            SettingsError: `block` where no pooling follows.
        """
        if at == "response":
            return self
        if self.block is None or self.block_size is None:
            raise SettingsError(
                f"at block for layer '{self.name}'", "a pooling layer after it", "none"
            )
        return replace(self, response=self.block, size=self.block_size, block=None, block_size=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the layer as `oip layers --json` prints it."""
        return {
            "index": self.index,
            "layer": self.name,
            "class": self.kind,
            "maps": self.maps,
            "size": list(self.size),
            "receptive_field": _numbers(self.receptive_field),
            "jump": _numbers(self.jump),
            "offset": _numbers(self.offset),
            "activation": self.activation,
        }


def layers_with_maps(calls: list[Call], axes: int) -> list[LayerInfo]:
    """List every call of a convolution, with what follows it up to its activation and pooling.

    Args:
        calls: one run of the model.
        axes: spatial axes of the model's input.
    """
    located = geometry.geometries(calls, axes)
    layers: list[LayerInfo] = []
    for call in calls:
        if not layer_types.is_convolution(call.layer) or len(call.output_shape) != axes + 2:
            continue
        first = layer_types.is_channels_first(call.layer)
        layer = layer_of_call(call, calls, first, True)
        pool = _pooling_after(calls[layer.last_call], calls)
        where = located[layer.last_call]
        fields, jumps, offsets = zip(*where, strict=True) if where else (None, None, None)
        layers.append(
            replace(
                layer,
                index=len(layers),
                receptive_field=fields,
                jump=jumps,
                offset=offsets,
                block=_as_it_is(pool, first) if pool else None,
                block_size=_size(pool.output_shape, first) if pool else None,
            )
        )
    return layers


def layer_of_call(
    call: Call, calls: list[Call], channels_first: bool, activated: bool
) -> LayerInfo:
    """Describe the output of any call, (n, units) or with spatial axes.

    Args:
        calls: the run of the model that it is one of.
        channels_first: the layout of its output.
        activated: take it after the activation that follows.
    """
    first = channels_first and len(call.output_shape) > 2
    response = _Response(call, _as_it_is(call, first), "linear", False)
    if activated:
        response = _response(call, calls, first)
    return LayerInfo(
        index=UNLISTED,
        name=call.name,
        kind=type(call.layer).__name__,
        maps=int(call.output_shape[1 if first else -1] or 0),
        size=_size(response.end.output_shape, first),
        response=response.output,
        last_call=response.end.number,
        inputs=response.end.inputs,
        activation=response.activation,
        silent_possible=response.silent_possible,
        upper_limit=response.upper_limit,
    )


def class_layer(calls: list[Call], outputs: list[ModelOutput]) -> LayerInfo | None:
    """Describe the model's output (n, classes); None where no output is a vector of classes.

    Of several outputs it is the first that ends in softmax, else the first vector. Its
    pre-activation is the logits, before softmax or sigmoid.

    Raises:
        ModelError: the output is computed outside all layers from what layers give.
    """
    vectors = [output for output in outputs if len(output.shape) == 2]
    ends = [_end(output, calls) for output in vectors]
    softmax = [
        end is not None and ("Softmax" in output.changed_by or _is_softmax(end.layer))
        for output, end in zip(vectors, ends, strict=True)
    ]
    chosen = softmax.index(True) if any(softmax) else 0
    if not vectors:
        return None
    end = ends[chosen]
    if end is None:
        names = [calls[number].name for number in vectors[chosen].calls if number >= 0]
        changes = ", ".join(sorted(vectors[chosen].changed_by)) or "no layer"
        received = f"{changes} after '{', '.join(names)}'" if names else changes
        raise ModelError("class: the model's output", "the output of a layer", received)
    layer = layer_of_call(end, calls, False, False)
    before = "input" if layer_types.is_softmax(end.layer) else "fused"
    return replace(layer, response=LayerOutput(end.layer, end.use, before))


def _end(output: ModelOutput, calls: list[Call]) -> Call | None:
    """Return the call whose output a model returns, as it is or after softmax or sigmoid."""
    monotone = output.direct or output.changed_by <= {"Softmax", "Sigmoid"}
    if not monotone or len(output.calls) != 1 or output.calls[0] < 0:
        return None
    end = calls[output.calls[0]]
    return (
        end if end.output_shape[-1:] == output.shape[-1:] and len(end.output_shape) == 2 else None
    )


def _is_softmax(layer: keras.Layer) -> bool:
    return layer_types.is_softmax(layer) or layer_types.activation_name(layer) == "softmax"


class _Response(NamedTuple):
    """Where a call's response is, after its activation if it has one."""

    end: Call
    """The last call on the way."""
    output: LayerOutput
    activation: str
    silent_possible: bool
    upper_limit: float = math.inf


def _response(call: Call, calls: list[Call], channels_first: bool) -> _Response:
    """Follow a call to its activation.

    The activation is the layer's own, or what follows with nothing but normalization and dropout
    between: a layer that is one, or operations outside all layers such as `keras.ops.relu`.
    """

    def response(
        end: Call, pre_activation: Literal["fused", "input", "same"], function: Callable | None
    ) -> _Response:
        then = end.then if function is end.then else None
        name = "linear" if function is None else layer_types.activation_name(end.layer)
        if isinstance(function, Elementwise):
            name = function.name
        output = LayerOutput(end.layer, end.use, pre_activation, then, channels_first)
        return _Response(end, output, name, can_be_silent(function), upper_limit(function))

    if layer_types.activation_name(call.layer) != "linear":
        return response(call, "fused", layer_types.activation_of(call.layer))
    end = rest = call
    while True:
        if end.then is not None and is_nonlinear(end.then):
            return response(end, "same", end.then)
        following = _only_follower(end, calls)
        if following is None:
            break
        if layer_types.is_activation(following.layer):
            before = "same" if layer_types.levels_maps(end.layer) else "input"
            return response(following, before, layer_types.activation_of(following.layer))
        if following.own is not None and is_nonlinear(following.own):
            return response(following, "input", following.own)
        if not (_keeps_maps(following.layer) or layer_types.is_normalization(following.layer)):
            break
        rest = following if rest is end and _keeps_maps(following.layer) else rest
        end = following
    return response(rest, "same", None)


def _as_it_is(call: Call, channels_first: bool) -> LayerOutput:
    return LayerOutput(call.layer, call.use, channels_first=channels_first)


def _keeps_maps(layer: keras.Layer) -> bool:
    """Each map stays what it is: normalized over the batch, or left alone."""
    return layer_types.is_batch_normalization(layer) or layer_types.is_dropout(layer)


def _pooling_after(call: Call, calls: list[Call]) -> Call | None:
    following = _only_follower(call, calls)
    while following is not None and _keeps_maps(following.layer):
        following = _only_follower(following, calls)
    return following if following is not None and layer_types.is_pooling(following.layer) else None


def _only_follower(call: Call, calls: list[Call]) -> Call | None:
    followers = [other for other in calls if call.number in other.sources]
    if len(followers) == 1 and followers[0].sources == (call.number,) and followers[0].plain:
        return followers[0]
    return None


def _size(shape: tuple[int | None, ...], channels_first: bool) -> tuple[int, ...]:
    spatial = shape[2:] if channels_first else shape[1:-1]
    return tuple(int(side or 0) for side in spatial)


def _numbers(values: tuple[float, ...] | None) -> list[float] | None:
    if values is None:
        return None
    return [int(value) if float(value).is_integer() else float(value) for value in values]
