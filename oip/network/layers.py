"""The layers of a model that have maps, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from oip.network import geometry, layer_types
from oip.network.activations import Elementwise, activation_of, can_be_silent, is_bent
from oip.network.tracing import Call


@dataclass(frozen=True)
class Place:
    """Where in a run of the model a tensor is to be taken."""

    layer: Any = field(repr=False)
    use: int
    before_activation: str
    """`fused`: as the layer's own activation receives it; `input`: what the layer receives; `same`:
    the pre-activation is the output."""
    then: Elementwise | None = field(default=None, repr=False)
    """An activation that follows outside all layers."""


@dataclass(frozen=True)
class Answer:
    """Where a call's response is, after its activation if it has one."""

    call: Call
    """The last layer on the way."""
    place: Place
    activation: str
    silent_possible: bool


@dataclass(frozen=True)
class LayerInfo:
    """One convolutional layer in one place of the model.

    Its response is taken after the activation, whether that is fused, or follows as a layer of its
    own with or without batch normalisation in between.
    """

    index: int
    name: str
    """`name`, `outer/name` in nested models, `name#1` for the second use of a layer."""
    kind: str
    maps: int
    size: tuple[int, ...]
    """Nodes along each spatial axis, of the response."""
    receptive_field: tuple[int, ...] | None
    jump: tuple[float, ...] | None
    offset: tuple[float, ...] | None
    activation: str
    silent_possible: bool
    """The response can be flat zero (ReLU), where no gradient leads out."""
    channels_first: bool
    response: Place = field(repr=False)
    block: Place | None = field(repr=False)
    """The pooling layer that follows, if one does."""
    block_size: tuple[int, ...] | None
    last_call: int
    """Number of the call whose output is the response."""
    inputs: frozenset[int] = frozenset({0})
    """Places of the model's inputs that it depends on."""

    def to_dict(self) -> dict[str, Any]:
        """What `oip layers --json` prints for the layer."""
        return {
            "index": self.index,
            "layer": self.name,
            "class": self.kind,
            "maps": self.maps,
            "size": list(self.size),
            "receptive_field": _plain(self.receptive_field),
            "jump": _plain(self.jump),
            "offset": _plain(self.offset),
            "activation": self.activation,
        }


def layers_with_maps(calls: list[Call], axes: int) -> list[LayerInfo]:
    """Every call of a convolutional layer, with what follows it up to its activation and pooling.

    Args:
        calls: one run of the model.
        axes: spatial axes of the model's input.
    """
    places = geometry.geometries(calls, axes)
    reached = _inputs_reached(calls)
    used_again = {id(call.layer) for call in calls if call.use > 0}
    found: list[LayerInfo] = []
    for call in calls:
        if not layer_types.is_convolution(call.layer) or len(call.output_shape) != axes + 2:
            continue
        first = getattr(call.layer, "data_format", "channels_last") == "channels_first"
        answer = activated(call, calls)
        end = answer.call
        pool = _pooled(end, calls)
        where = places[end.number]
        name = f"{call.path}#{call.use}" if id(call.layer) in used_again and call.use else call.path
        found.append(
            LayerInfo(
                index=len(found),
                name=name,
                kind=type(call.layer).__name__,
                maps=int(call.output_shape[1 if first else -1] or 0),
                size=_size(end.output_shape, first),
                receptive_field=tuple(axis.field for axis in where) if where else None,
                jump=tuple(axis.jump for axis in where) if where else None,
                offset=tuple(axis.offset for axis in where) if where else None,
                activation=answer.activation,
                silent_possible=answer.silent_possible,
                channels_first=first,
                response=answer.place,
                block=Place(pool.layer, pool.use, "same") if pool else None,
                block_size=_size(pool.output_shape, first) if pool else None,
                last_call=end.number,
                inputs=reached[end.number],
            )
        )
    return found


def _inputs_reached(calls: list[Call]) -> list[frozenset[int]]:
    """The places of the model's inputs that each call depends on."""
    found: list[frozenset[int]] = []
    for call in calls:
        parts = [frozenset({-1 - one}) if one < 0 else found[one] for one in call.sources]
        found.append(frozenset().union(*parts))
    return found


def activated(call: Call, calls: list[Call]) -> Answer:
    """Where a call's response is, and how its pre-activation is reached.

    The activation is the layer's own, or what follows with nothing but normalisation and dropout
    between: a layer that is one, or operations outside all layers such as `keras.ops.relu`.
    """
    if layer_types.activation_name(call.layer) != "linear":
        return _answer(call, "fused", activation_of(call.layer))
    end = rest = call
    while True:
        if end.then is not None and is_bent(end.then):
            return _answer(end, "same", end.then)
        following = _only_follower(end, calls)
        if following is None:
            break
        if layer_types.is_activation(following.layer):
            before = "same" if layer_types.levels_maps(end.layer) else "input"
            return _answer(following, before, activation_of(following.layer))
        if following.own is not None and is_bent(following.own):
            return _answer(following, "input", following.own)
        if not (_passes(following.layer) or layer_types.is_normalization(following.layer)):
            break
        rest = following if rest is end and _passes(following.layer) else rest
        end = following
    return _answer(rest, "same", None)


def _answer(end: Call, before: str, function: Callable[..., Any] | None) -> Answer:
    then = function if function is end.then else None
    name = "linear" if function is None else layer_types.activation_name(end.layer)
    if isinstance(function, Elementwise):
        name = function.name
    place = Place(end.layer, end.use, before, then)  # type: ignore[arg-type]
    return Answer(end, place, name, can_be_silent(function))


def _passes(layer: Any) -> bool:
    """Each map stays what it is: normalised over the batch, or left alone."""
    return layer_types.is_batch_normalization(layer) or layer_types.is_dropout(layer)


def _pooled(call: Call, calls: list[Call]) -> Call | None:
    following = _only_follower(call, calls)
    while following is not None and _passes(following.layer):
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


def _plain(values: tuple[float, ...] | None) -> list[float] | None:
    if values is None:
        return None
    return [int(value) if float(value).is_integer() else float(value) for value in values]
