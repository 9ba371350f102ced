"""The parser of `LAYER[:MAPS]`, as people type it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from operator import index

import numpy as np

from oip.core.errors import ModelError, SettingsError, notice
from oip.network.layers import LayerInfo, check_input, input_names
from oip.network.network import Network

_MAPS = re.compile(r"all|\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*")

_OBJECTIVE = re.compile("(map|node|direction|unit|class):")


def parse_selections(network: Network, texts: Sequence[str]) -> list[tuple[LayerInfo, np.ndarray]]:
    """Parse layers and maps: `LAYER`, `LAYER:3`, `LAYER:0-15`, `LAYER:0,4,9`, `@2:all`.

    Args:
        texts: the selections; none means all maps of the convolutions, or all units of the dense
            layers of a network without, but for those of another input than the one that takes the
            images, with a notice.

    Returns:
        (layer, sorted map numbers), in the order of the model; a layer named twice is joined.

    Raises:
        ModelError, SettingsError: an unknown layer, one of another input, a map that the layer does
            not have.
    """
    if not texts:
        return [(layer, np.arange(layer.maps)) for layer in _layers_of_images(network)]
    maps_of: dict[int, set[int]] = {}
    for text in texts:
        layer, maps = _split(network, text)
        maps_of.setdefault(layer.index, set()).update(maps.tolist())
    return [
        (network.layer_at(index), np.array(sorted(maps_of[index]))) for index in sorted(maps_of)
    ]


def _layers_of_images(network: Network) -> list[LayerInfo]:
    """Return the default layers that depend on the images, and on nothing random.

    Others are left out with a notice.

    Raises:
        ModelError: there is no such layer.
    """
    default_layers = network.default_layers
    layers = [layer for layer in default_layers if network.image_input in layer.inputs]
    elsewhere = [layer for layer in default_layers if network.image_input not in layer.inputs]
    if not layers:
        check_input(elsewhere[0], network.image_input, network.input_names)
    if elsewhere:
        names = ", ".join(f"'{layer.name}'" for layer in elsewhere)
        notice(
            f"not of the input '{network.input_name}', and left out: {names}. Choose another "
            f"input for them: input='{input_names(elsewhere[0], network.input_names)}'."
        )
    repeatable = [layer for layer in layers if layer.last_call not in network.random]
    if not repeatable:
        network.check_repeatable(layers[0])
    if len(repeatable) < len(layers):
        names = ", ".join(f"'{layer.name}'" for layer in layers if layer not in repeatable)
        reasons = " and ".join(sorted(set(network.random.values())))
        notice(f"left out, because they depend on {reasons}: {names}.")
    return repeatable


def map_numbers(layer: LayerInfo, maps: str | Iterable[int] | int | None) -> np.ndarray:
    """Return map numbers of a layer from a text, a number, or any numbers; all of them for None.

    Returns:
        (m,) int, sorted, each once.

    Raises:
        SettingsError: no numbers, none at all, or one that the layer does not have.
    """
    if maps is None or (isinstance(maps, str) and maps == "all"):
        return np.arange(layer.maps)
    if isinstance(maps, str):
        values = _parsed_numbers(maps, layer.maps)
    else:
        values = _whole_numbers(maps, layer.maps)
    if not values:
        raise SettingsError("maps", "at least one", "none")
    if not 0 <= values[-1] < layer.maps:
        numbers = f"{layer.noun}s of layer '{layer.name}'"
        raise SettingsError(numbers, f"0 to {layer.maps - 1}", values[-1])
    return np.unique(np.array(values, np.int64))


def _parsed_numbers(text: str, count: int) -> list[int]:
    """Return the numbers of a text such as `0-15`, up to the first one from `count` on."""
    if not _MAPS.fullmatch(text):
        raise SettingsError("maps", "all, 3, 0-15 or 0,4,9", f"'{text}'")
    values: list[int] = []
    for map_range in text.split(","):
        first, _, last = map_range.partition("-")
        low, high = int(first), int(last or first)
        if high < low:
            raise SettingsError("maps", "a range from low to high", f"'{map_range}'")
        if high >= count:  # the range may be very long
            return [*values, high]
        values.extend(range(low, high + 1))
    return values


def _whole_numbers(maps: Iterable[int] | int, count: int) -> list[int]:
    """Return a number or several as a list, up to the first one below 0 or from `count` on."""
    values: list[int] = []
    try:
        for map_index in maps if isinstance(maps, Iterable) else [maps]:
            if isinstance(map_index, (bool, np.bool_)):
                hint = "Those of a mask are numpy.flatnonzero(mask)."
                raise SettingsError("maps", "whole numbers", maps, hint)
            values.append(index(map_index))
            if not 0 <= values[-1] < count:
                break  # the rest may be very long
    except TypeError as error:
        raise SettingsError("maps", "whole numbers", maps) from error
    return values


def map_text(maps: Iterable[int]) -> str:
    """Return map numbers as `map_numbers` takes them: `0-15,20`."""
    ranges: list[list[int]] = []
    for map_index in maps:
        if ranges and map_index == ranges[-1][1] + 1:
            ranges[-1][1] = map_index
        else:
            ranges.append([map_index, map_index])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def _split(network: Network, text: str) -> tuple[LayerInfo, np.ndarray]:
    head, colon, tail = text.rpartition(":")
    names = {layer.name for layer in (*network.layers, *network.other_layers)}
    if colon and _MAPS.fullmatch(tail) and (head in names or text not in names):
        layer = network.find(head)
        return layer, map_numbers(layer, tail)
    try:
        layer = network.find(text)
    except ModelError:
        if colon and head in names:
            raise SettingsError(
                f"maps after '{head}:'", "all, 3, 0-15 or 0,4,9", f"'{tail}'"
            ) from None
        if _OBJECTIVE.match(text):
            hint = f"Give it as an objective: --objective '{text}', or objective='{text}'."
            raise ModelError("layer", "the name of a layer", f"'{text}'", hint) from None
        raise
    return layer, map_numbers(layer, None)
