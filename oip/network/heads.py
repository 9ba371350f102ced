"""Layers without places: the units of a dense layer, the classes of the model's output."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

from oip.core.errors import ModelError, expected
from oip.network import kinds
from oip.network.layers import Place, activated
from oip.network.tracing import Call
from oip.network.view import Network


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
    before = "input" if kinds.is_softmax(end.layer) else "fused"
    width = int(end.output_shape[-1] or 0)
    return Head(_name(end), width, False, Place(end.layer, end.use, before))


def _is_end(call: Call, network: Network) -> bool:
    return not any(call.number in other.sources for other in network.calls)


def _name(call: Call) -> str:
    return f"{call.path}#{call.use}" if call.use else call.path
