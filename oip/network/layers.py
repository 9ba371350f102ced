"""The layers of a model whose output has channels: maps, units, channels of tokens, heads."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from oip.core.errors import ModelError, SettingsError
from oip.core.formats import UNIT_NOUNS, UnitKind
from oip.core.frameworks import Tensor, keras, tf
from oip.network import geometry, layer_types
from oip.network.activations import (
    Elementwise,
    activation_can_be_zero,
    is_nonlinear,
    upper_limit,
)
from oip.network.tracing import Call, ModelOutput

At = Literal["response", "block"]
UNLISTED = -1
"""The index of a layer without a place in a run: the classes of a model, or its pooling."""
_ATTENTION_OUTPUT = "attention_output"
"""Name that Keras gives the output projection of an attention layer."""


class Projection:
    """Weights (k, m) of k directions over m maps; those of equal content are equal."""

    def __init__(self, weights: np.ndarray):
        self.weights = np.ascontiguousarray(weights, np.float32)
        self.digest = hashlib.sha256(self.weights.tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Projection) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __call__(self, values: Tensor) -> Tensor:
        """Return (..., k) of values (..., m)."""
        return tf.tensordot(values, tf.constant(self.weights), [[-1], [1]])


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
    form: Literal["activated", "logits", "heads"] = "activated"
    """The response: `activated`, after the activation; `logits`, the pre-activation, of a softmax;
    `heads`, the length of each vector (n, *nodes, heads, d) that is the pre-activation."""
    grid: tuple[int, ...] = ()
    """Rows and columns of the image's patches that tokens are arranged in."""
    projection: Projection | None = field(default=None, repr=False)
    """Directions over the maps, which take their place."""

    @property
    def key(self) -> tuple[Hashable, ...]:
        """Equal for outputs that are the same tensor of one model, also of two views of it."""
        tensor_key = id(self.layer), self.use, self.pre_activation, self.then is None
        return *tensor_key, self.channels_first, self.form, self.grid, self.projection


@dataclass(frozen=True)
class LayerInfo:
    """One layer in one place of the model, whose output has channels.

    The response of a convolution or dense layer is taken after its activation, whether that is
    fused, or follows as a layer of its own with or without batch normalization in between; a
    softmax is left out, so that the response is the logits. All other layers are taken as they are.
    """

    index: int
    """The index as `oip layers --all` prints it: first the layers with maps made by kernels, then
    one number for objectives, then all other layers."""
    name: str
    """`name`, `outer/name` in nested models, `name#1` for the second use of a layer, and
    `name/heads` for the heads of an attention layer."""
    layer_class: str
    """The layer's Keras class."""
    maps: int
    """How many maps, units, channels or heads there are."""
    size: tuple[int, ...]
    """Nodes along each spatial axis, of the response, or tokens; empty for units."""
    response: LayerOutput = field(repr=False)
    call: int
    """Number of the layer's own call."""
    last_call: int
    """Number of the call whose output is the response."""
    inputs: frozenset[int]
    """Indices of the model's inputs that it depends on."""
    activation: str = "linear"
    can_be_inactive: bool = False
    """The response can be flat zero (ReLU), where no gradient leads out."""
    upper_limit: float = math.inf
    """The response at which the activation has no slope any more, such as 6 of `relu6`."""
    receptive_field: tuple[int, ...] | None = None
    jump: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    block: LayerOutput | None = field(default=None, repr=False)
    """The output of the pooling layer that follows, if one does."""
    block_size: tuple[int, ...] | None = None
    kind: UnitKind = "maps"
    """What its channels are."""
    patches: tuple[int, ...] = ()
    """Rows and columns of the image's patches that all tokens but the first, of the class, are."""

    @property
    def channels_first(self) -> bool:
        """The layout of the response."""
        return self.response.channels_first

    @property
    def noun(self) -> str:
        """One of its channels: a map, a unit, a token channel, a head, a direction."""
        return UNIT_NOUNS[self.kind]

    @property
    def is_dense(self) -> bool:
        """Whether the layer is a dense one."""
        return layer_types.is_dense(self.response.layer) or self.layer_class == "Dense"

    @property
    def inner_name(self) -> str:
        """The name of the layer that gives the output, where `name` is that of one around it."""
        is_part = self.response.layer.name == _ATTENTION_OUTPUT and self.kind != "heads"
        return f"{self.name}/{_ATTENTION_OUTPUT}" if is_part else self.name

    def with_softmax(self) -> LayerInfo:
        """Return the layer with its output as the response, also that of a softmax."""
        if self.response.form != "logits":
            return self
        return replace(self, response=replace(self.response, form="activated"))

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
            "class": self.layer_class,
            "kind": self.kind,
            "maps": self.maps,
            "size": list(self.size),
            "receptive_field": _numbers(self.receptive_field),
            "jump": _numbers(self.jump),
            "offset": _numbers(self.offset),
            "activation": self.activation,
        }


def check_input(layer: LayerInfo, image_input: int, names: Sequence[str]) -> None:
    """Check that a layer depends on the input that takes the images.

    Args:
        names: of the model's inputs.

    Raises:
        ModelError: it depends on others alone, which are fed zeros.
    """
    if len(names) < 2 or image_input in layer.inputs:
        return
    other_input = input_names(layer, names)
    raise ModelError(
        f"layer '{layer.name}'",
        f"one that depends on the input '{names[image_input]}'",
        f"one of the input '{other_input}'",
        f"Choose that input: input='{other_input}'.",
    )


def input_names(layer: LayerInfo, names: Sequence[str]) -> str:
    """Return the names of the inputs that a layer depends on, as a text."""
    return ", ".join(names[index] for index in sorted(layer.inputs)) or "none"


def layers_with_maps(calls: list[Call], axes: int) -> list[LayerInfo]:
    """List every call of a convolution, with what follows it up to its activation and pooling.

    Args:
        calls: one run of the model.
        axes: spatial axes of the model's input.
    """
    located = geometry.geometries(calls, axes)
    layers: list[LayerInfo] = []
    for call in calls:
        if not is_listed(call, axes):
            continue
        is_channels_first = layer_types.is_channels_first(call.layer)
        layer = layer_of_call(call, calls, is_channels_first, True)
        pool = _pooling_after(calls[layer.last_call], calls)
        if pool is not None and _width(pool, is_channels_first) != layer.maps:
            pool = None
        layers.append(
            replace(
                _located(layer, located),
                index=len(layers),
                block=_plain_output(pool, is_channels_first) if pool else None,
                block_size=_size(pool.output_shape, is_channels_first) if pool else None,
            )
        )
    return layers


def is_listed(call: Call, axes: int) -> bool:
    """Return whether a call is that of a convolution, which `oip layers` lists.

    Args:
        axes: spatial axes of the model's input.
    """
    return layer_types.is_convolution(call.layer) and len(call.output_shape) == axes + 2


def other_layers(
    calls: list[Call], axes: int, channels_first: bool, first_index: int
) -> list[LayerInfo]:
    """List all calls whose output has channels, but for those that `layers_with_maps` lists.

    Tokens that are the patches of an image, no more and no less, are arranged as these are. An
    attention layer comes with its heads: the vectors that its output projection receives. The
    response of a head is the length of its vector, because the axes of that vector have no meaning:
    turned in any way, they give the same network, its projection turned back.

    Args:
        calls: one run of the model.
        axes: spatial axes of the model's input.
        channels_first: the layout of layers that have none of their own.
        first_index: of the first of these layers.
    """
    located = geometry.geometries(calls, axes)
    grids = geometry.token_grids(calls) if axes == 2 else [()] * len(calls)
    inactive, gray = _inactive_calls(calls), geometry.gray_images(calls, axes)
    layers: list[LayerInfo] = []
    for call in calls:
        role = _part_of_attention(call)
        kind = None if call.index in gray else _unit_kind(call, axes, located[call.index])
        if is_listed(call, axes) or kind is None or (role and role != _ATTENTION_OUTPUT):
            continue
        layout = getattr(call.layer, "data_format", None)
        is_channels_first = channels_first if layout is None else layout == "channels_first"
        is_channels_first = is_channels_first and (kind == "maps" or layout is not None)
        activated = is_activated(call)
        layer = replace(layer_of_call(call, calls, is_channels_first, activated), kind=kind)
        if not activated:
            layer = replace(layer, can_be_inactive=inactive[call.index])
        if kind == "tokens":
            layer = _arranged(layer, grids[call.index])
        heads = None
        if role:
            outer = call.path.rpartition("/")[0]
            uses = f"#{call.use}" if call.use else ""
            heads = _heads(replace(layer, name=f"{outer}/heads{uses}"), call)
            layer = replace(layer, name=f"{outer}{uses}")
            layer = replace(layer, layer_class=type(call.attention).__name__)
        for candidate in (layer, heads):
            if candidate is not None:
                index = first_index + len(layers)
                layers.append(replace(_located(candidate, located), index=index))
    return layers


def _unit_kind(call: Call, axes: int, position: geometry.Geometry | None) -> UnitKind | None:
    """Return what the channels of a call's output are; None where it has none."""
    shape = call.output_shape
    if len(shape) < 2 or any(side is None for side in shape[1:]):
        return None
    if len(shape) == 2:
        return "units"
    if len(shape) == axes + 2:  # of lines, positions that were mixed are tokens
        return "tokens" if axes == 1 and position is None else "maps"
    return "tokens" if len(shape) == 3 else None


def _part_of_attention(call: Call) -> str:
    """Return the name of a layer inside an attention layer; empty for others."""
    return "" if call.attention is None else call.layer.name


def is_activated(call: Call) -> bool:
    """Return whether a call's response is taken after the activation that follows it."""
    layer = call.layer
    is_kernel = layer_types.is_dense(layer) or layer_types.is_convolution(layer)
    is_kernel = is_kernel or isinstance(layer, keras.layers.EinsumDense)
    return is_kernel or layer_types.is_activation(layer)


def _inactive_calls(calls: list[Call]) -> list[bool]:
    """Return of each call whether its output can be flat zero, where no gradient leads out."""
    inactive: list[bool] = []
    for call in calls:
        keeps = call.direct and layer_types.keeps_zero(call.layer)
        is_inactive = keeps and all(source >= 0 and inactive[source] for source in call.sources)
        activation = call.then or call.own_function or layer_types.activation_of(call.layer)
        inactive.append(is_inactive or activation_can_be_zero(activation))
    return inactive


def _located(layer: LayerInfo, located: list[geometry.Geometry | None]) -> LayerInfo:
    """Return a layer with the geometry of its response, where it has one."""
    position = located[layer.last_call] if layer.size else None
    if not position:
        return layer
    fields, jumps, offsets = zip(*position, strict=True)
    if len(position) != len(layer.size):
        return replace(layer, receptive_field=fields)
    return replace(layer, receptive_field=fields, jump=jumps, offset=offsets)


def _arranged(layer: LayerInfo, grid: tuple[int, ...]) -> LayerInfo:
    """Return tokens in rows and columns, where they are the patches of an image."""
    if grid and math.prod(grid) + 1 == math.prod(layer.size):
        return replace(layer, patches=grid)
    if not grid or math.prod(grid) != math.prod(layer.size):
        return layer
    return replace(layer, size=grid, response=replace(layer.response, grid=grid))


def _heads(layer: LayerInfo, projection: Call) -> LayerInfo | None:
    """Return the heads of an attention layer, whose output is `layer`; None without them."""
    shape = projection.input_shapes[0] if projection.input_shapes else ()
    if len(shape) < 2 or len(shape) != len(projection.output_shape) + 1:
        return None
    heads = shape[-2]
    if heads is None:
        return None
    response = LayerOutput(projection.layer, projection.use, "input", form="heads")
    return replace(
        layer,
        layer_class=type(projection.attention).__name__,
        kind="heads",
        maps=heads,
        response=replace(response, grid=layer.response.grid),
        last_call=projection.index,
        activation="length",
        can_be_inactive=False,
        upper_limit=math.inf,
    )


def layer_of_call(
    call: Call, calls: list[Call], channels_first: bool, activated: bool
) -> LayerInfo:
    """Describe the output of any call, (n, units) or with spatial axes.

    Args:
        calls: the run of the model that it is one of.
        channels_first: the layout of its output.
        activated: take it after the activation that follows.
    """
    is_channels_first = channels_first and len(call.output_shape) > 2
    response = _Response(call, _plain_output(call, is_channels_first), "linear", False)
    if activated:
        response = _response(call, calls, is_channels_first)
        if response.activation == "softmax":
            response = response._replace(output=replace(response.output, form="logits"))
    return LayerInfo(
        index=UNLISTED,
        name=call.name,
        layer_class=type(call.layer).__name__,
        maps=int(call.output_shape[1 if is_channels_first else -1] or 0),
        size=_size(response.end.output_shape, is_channels_first),
        response=response.output,
        call=call.index,
        last_call=response.end.index,
        inputs=response.end.inputs,
        activation=response.activation,
        can_be_inactive=response.can_be_inactive,
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
    end_calls = [_end(output, calls) for output in vectors]
    softmax = [
        end is not None and ("Softmax" in output.changed_by or _is_softmax(end.layer))
        for output, end in zip(vectors, end_calls, strict=True)
    ]
    output_index = softmax.index(True) if any(softmax) else 0
    if not vectors:
        return None
    end = end_calls[output_index]
    if end is None:
        names = [calls[index].name for index in vectors[output_index].calls if index >= 0]
        changes = ", ".join(sorted(vectors[output_index].changed_by)) or "no layer"
        received = f"{changes} after '{', '.join(names)}'" if names else changes
        raise ModelError("class: the model's output", "the output of a layer", received)
    layer = layer_of_call(end, calls, False, False)
    pre_activation = "input" if layer_types.is_softmax(end.layer) else "fused"
    return replace(layer, response=LayerOutput(end.layer, end.use, pre_activation))


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
    can_be_inactive: bool
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
        return _Response(end, output, name, activation_can_be_zero(function), upper_limit(function))

    if layer_types.is_activation(call.layer):
        return response(call, "input", layer_types.activation_of(call.layer))
    if layer_types.activation_name(call.layer) != "linear":
        return response(call, "fused", layer_types.activation_of(call.layer))
    end = resting = call
    while True:
        if end.then is not None and is_nonlinear(end.then):
            return response(end, "same", end.then)
        following = _only_follower(end, calls)
        if following is None or _width(following, channels_first) != _width(call, channels_first):
            break
        levels = layer_types.levels_maps(end.layer, end.output_shape, channels_first)
        before = "same" if levels else "input"
        if layer_types.is_activation(following.layer):
            return response(following, before, layer_types.activation_of(following.layer))
        if following.own_function is not None and is_nonlinear(following.own_function):
            return response(following, before, following.own_function)
        if not (_keeps_maps(following.layer) or layer_types.is_normalization(following.layer)):
            break
        resting = following if resting is end and _keeps_maps(following.layer) else resting
        end = following
    return response(resting, "same", None)


def _width(call: Call, channels_first: bool) -> int | None:
    """Return the channels of a call's output; there may be more of them, where some are joined."""
    return call.output_shape[1 if channels_first else -1] if call.output_shape else None


def _plain_output(call: Call, channels_first: bool) -> LayerOutput:
    return LayerOutput(call.layer, call.use, channels_first=channels_first)


def _keeps_maps(layer: keras.Layer) -> bool:
    """Return whether a layer leaves each map as it is, or normalizes it over the batch."""
    return layer_types.is_batch_normalization(layer) or layer_types.is_dropout(layer)


def _pooling_after(call: Call, calls: list[Call]) -> Call | None:
    following = _only_follower(call, calls)
    while following is not None and _keeps_maps(following.layer):
        following = _only_follower(following, calls)
    return following if following is not None and layer_types.is_pooling(following.layer) else None


def _only_follower(call: Call, calls: list[Call]) -> Call | None:
    followers = [follower for follower in calls if call.index in follower.sources]
    if len(followers) == 1 and followers[0].sources == (call.index,) and followers[0].plain:
        return followers[0]
    return None


def _size(shape: tuple[int | None, ...], channels_first: bool) -> tuple[int, ...]:
    spatial = shape[2:] if channels_first else shape[1:-1]
    return tuple(int(side or 0) for side in spatial)


def _numbers(values: tuple[float, ...] | None) -> list[float] | None:
    if values is None:
        return None
    return [int(value) if float(value).is_integer() else float(value) for value in values]


@dataclass(frozen=True, eq=False)
class DirectionSet:
    """Directions over the maps of one layer."""

    layer: str
    """The layer whose maps they are over."""
    name: str
    """`LAYER+METHOD`."""
    index: int
    """In a run."""
    weights: np.ndarray
    """(k, m), rows of length 1."""


def direction_layers(layers: Iterable[LayerInfo], sets: Iterable[DirectionSet]) -> list[LayerInfo]:
    """Return a layer for each set of directions.

    Args:
        layers: of the network.
        sets: of directions over the maps of some of these.

    Raises:
        ModelError: a set is over a layer that is not there, or has another number of maps.
    """
    by_name = {layer.name: layer for layer in layers}
    result = []
    for directions in sets:
        base = by_name.get(directions.layer)
        if base is None or directions.weights.shape[1] != base.maps:
            received = "none" if base is None else f"one of {base.maps} maps"
            expected = f"a layer '{directions.layer}' of {directions.weights.shape[1]} maps"
            raise ModelError(f"directions '{directions.name}'", expected, received)
        response = replace(base.response, projection=Projection(directions.weights))
        is_positive = bool((np.asarray(directions.weights) >= 0).all())
        result.append(
            replace(
                base,
                index=directions.index,
                name=directions.name,
                layer_class="Directions",
                kind="directions",
                maps=len(directions.weights),
                response=response,
                activation="linear",
                can_be_inactive=base.can_be_inactive and is_positive,
                upper_limit=math.inf,
                block=None,
                block_size=None,
            )
        )
    return result
