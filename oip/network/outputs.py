"""Any layer of a model whose output can be shown: maps of it, or units without places."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Literal

from oip.core.errors import ModelError, SettingsError, expected
from oip.network import layer_types
from oip.network.layers import LayerInfo, Place, activated
from oip.network.network import Network
from oip.network.tracing import Call

At = Literal["response", "block"]


@dataclass(frozen=True)
class Output:
    """What one layer gives for an image."""

    name: str
    """Of the layer, `outer/name` in nested models, `name#1` for its second use."""
    kind: str
    maps: int
    """Maps, or units of a layer without places."""
    size: tuple[int, ...]
    """Nodes along each spatial axis; empty for units."""
    index: int | None
    """Of the layer whose maps these are, as `oip layers` prints it; the pooling after a layer has
    that layer's maps. None if they are nobody's in particular."""
    call: int
    """Number of the call, by which outputs are in the order of the model."""
    place: Place = field(repr=False)
    channels_first: bool = field(repr=False)


def find_output(network: Network, name: str, at: At = "response") -> Output:
    """The output of a layer.

    Args:
        network: the model.
        name: of any layer that gives maps or units, or `@index` of one with kernels. Layers with
            kernels and dense layers are taken after their activation, all others as they are.
        at: `block` takes a layer with kernels after the pooling that follows.

    Raises:
        ModelError: there is none of that name, or its output is neither; the nearest is named.
        SettingsError: `block` where no pooling follows, or another `at`.
    """
    if at not in ("response", "block"):
        raise SettingsError(expected("at", "response or block", f"'{at}'"))
    if name.startswith("@") and name[1:].isdecimal():
        return _of_maps(network, network.find(name), at)
    for layer in network.layers:
        if layer.name == name:
            return _of_maps(network, layer, at)
    known = {_name(call): call for call in network.calls if _shows(network, call)}
    if name not in known:
        near = difflib.get_close_matches(name, list(known), 1)
        hint = f"Did you mean '{near[0]}'?" if near else ""
        listed = ", ".join(known) or "none in this model"
        raise ModelError(
            expected("layer with maps or units", f"one of {listed}", f"'{name}'", hint)
        )
    if at == "block":
        raise SettingsError(
            expected(f"at block for layer '{name}'", "a layer with kernels", known[name].layer)
        )
    return _of_call(network, known[name])


def shown_outputs(network: Network) -> list[Output]:
    """What a reader wants to see of a model: its maps, what pooling leaves of them, dense layers.

    Raises:
        ModelError: the model has none of these.
    """
    found = []
    for layer in network.layers:
        found.append(_of_maps(network, layer, "response"))
        if layer.block is not None:
            found.append(_of_maps(network, layer, "block"))
    dense = [call for call in network.calls if _is_dense(call) and len(call.output_shape) == 2]
    found += [_of_call(network, call) for call in dense]
    if not found:
        kinds = sorted({type(call.layer).__name__ for call in network.calls})
        wanted = "a model with convolutional or dense layers"
        raise ModelError(expected(f"'{network.name}'", wanted, ", ".join(kinds)))
    return sorted(found, key=lambda output: output.call)


def _of_maps(network: Network, layer: LayerInfo, at: At) -> Output:
    if at == "response":
        return Output(
            layer.name,
            layer.kind,
            layer.maps,
            layer.size,
            layer.index,
            layer.last_call,
            layer.response,
            layer.channels_first,
        )
    if layer.block is None or layer.block_size is None:
        raise SettingsError(
            expected(f"at block for layer '{layer.name}'", "a pooling layer after it", "none")
        )
    return _of_call(network, _call_of(network, layer.block))


def _of_call(network: Network, call: Call) -> Output:
    if len(call.output_shape) == 2:
        end, place = call, Place(call.layer, call.use, "same")
        if _is_dense(call):
            answer = activated(call, network.calls)
            end, place = answer.call, answer.place
        size, maps, first = (), call.output_shape[1], False
    else:
        end = call
        first = _channels_first(network, call)
        place = Place(call.layer, call.use, "same")
        size = call.output_shape[2:] if first else call.output_shape[1:-1]
        maps = call.output_shape[1 if first else -1]
    return Output(
        name=_name(call),
        kind=type(call.layer).__name__,
        maps=int(maps or 0),
        size=tuple(int(side or 0) for side in size),
        index=_owner(network, call),
        call=end.number,
        place=place,
        channels_first=first,
    )


def _owner(network: Network, call: Call) -> int | None:
    """The layer with kernels whose maps a pooling layer pools."""
    for layer in network.layers:
        block = layer.block
        if block is not None and block.layer is call.layer and block.use == call.use:
            return layer.index
    return None


def _call_of(network: Network, place: Place) -> Call:
    return next(
        call for call in network.calls if call.layer is place.layer and call.use == place.use
    )


def _shows(network: Network, call: Call) -> bool:
    return len(call.output_shape) in (2, len(network.inputs.shape) + 1)


def _is_dense(call: Call) -> bool:
    from keras import layers

    return isinstance(call.layer, layers.Dense)


def _channels_first(network: Network, call: Call) -> bool:
    layout = getattr(call.layer, "data_format", None)
    return network.channels_first if layout is None else layout == "channels_first"


def _name(call: Call) -> str:
    return f"{call.path}#{call.use}" if call.use else call.path


@dataclass(frozen=True)
class Head:
    """Numbers without spatial axes that a run of the model gives."""

    name: str
    units: int
    silent_possible: bool
    place: Place = field(repr=False)


def dense_layer(network: Network, name: str) -> Head:
    """The units of a layer whose output is (n, units), such as `Dense`, after its activation.

    Args:
        network: the model.
        name: of the layer, `outer/name` in nested models, `name#1` for its second use.

    Raises:
        ModelError: there is none of that name; the message names the nearest.
    """
    heads = {_name(call): call for call in network.calls if len(call.output_shape) == 2}
    if name in heads:
        call = heads[name]
        answer = activated(call, network.calls)
        units = int(call.output_shape[-1] or 0)
        return Head(name, units, answer.silent_possible, answer.place)
    near = difflib.get_close_matches(name, list(heads), 1)
    hint = f"Did you mean '{near[0]}'?" if near else ""
    listed = ", ".join(heads) or "none in this model"
    raise ModelError(expected("layer of units", f"one of {listed}", f"'{name}'", hint))


def classes(network: Network) -> Head:
    """The model's output (n, classes); its pre-activation is the logits, before softmax or sigmoid.

    Raises:
        ModelError: the model does not end in a vector.
    """
    vectors = [call for call in network.calls if len(call.output_shape) == 2]
    ends = [call for call in vectors if _is_end(call, network)]
    if not ends:
        last = network.calls[-1].output_shape
        raise ModelError(
            expected("class: the model's output", "a vector of classes", f"shape {last}")
        )
    end = ends[-1]
    before = "input" if layer_types.is_softmax(end.layer) else "fused"
    width = int(end.output_shape[-1] or 0)
    return Head(_name(end), width, False, Place(end.layer, end.use, before))


def _is_end(call: Call, network: Network) -> bool:
    return not any(call.number in other.sources for other in network.calls)
