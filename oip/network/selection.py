"""`LAYER[:MAPS]`, as people type it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from oip.core.errors import ModelError, SettingsError, expected
from oip.network.layers import LayerInfo
from oip.network.view import Network

_MAPS = re.compile(r"all|\d+(-\d+)?(,\d+(-\d+)?)*")


class Mapped(Protocol):
    """What has numbered maps: a layer, or an output of one."""

    @property
    def name(self) -> str:
        """As `oip layers` prints it."""
        ...

    @property
    def maps(self) -> int:
        """How many."""
        ...


def parse_selections(network: Network, texts: Sequence[str]) -> list[tuple[LayerInfo, np.ndarray]]:
    """Layers and maps from `LAYER`, `LAYER:3`, `LAYER:0-15`, `LAYER:0,4,9`, `@2:all`.

    Args:
        network: the model.
        texts: what was typed; nothing means all convolutional layers with all their maps.

    Returns:
        (layer, sorted map numbers), in the order of the model; a layer named twice is joined.

    Raises:
        ModelError, SettingsError: an unknown layer, a map that the layer does not have.
    """
    if not texts:
        return [(layer, np.arange(layer.maps)) for layer in network.convolutional]
    chosen: dict[int, set[int]] = {}
    for text in texts:
        layer, maps = _split(network, text)
        chosen.setdefault(layer.index, set()).update(maps.tolist())
    return [(network.layers[index], np.array(sorted(chosen[index]))) for index in sorted(chosen)]


def map_numbers(layer: Mapped, maps: str | Iterable[int] | int | None) -> np.ndarray:
    """Map numbers of a layer from a text, a number, or any numbers; all of them for None.

    Returns:
        (m,) int, sorted, each once.

    Raises:
        SettingsError: no numbers, none at all, or one that the layer does not have.
    """
    if maps is None or (isinstance(maps, str) and maps == "all"):
        return np.arange(layer.maps)
    if isinstance(maps, str):
        if not _MAPS.fullmatch(maps):
            raise SettingsError(expected("maps", "all, 3, 0-15 or 0,4,9", f"'{maps}'"))
        wanted: list[int] = []
        for part in maps.split(","):
            first, _, last = part.partition("-")
            if last and int(last) < int(first):
                raise SettingsError(expected("maps", "a range from low to high", f"'{part}'"))
            if int(last or first) >= layer.maps:
                wanted.append(int(last or first))
                break
            wanted.extend(range(int(first), int(last or first) + 1))
    else:
        try:
            wanted = [int(maps)] if isinstance(maps, (int, np.integer)) else [int(m) for m in maps]
        except (TypeError, ValueError) as error:
            raise SettingsError(expected("maps", "whole numbers", maps)) from error
    numbers = np.unique(np.array(wanted, np.int64))
    if not numbers.size:
        raise SettingsError(expected("maps", "at least one", "none"))
    if numbers[0] < 0 or numbers[-1] >= layer.maps:
        wrong = numbers[0] if numbers[0] < 0 else numbers[-1]
        raise SettingsError(
            expected(f"maps of layer '{layer.name}'", f"0 to {layer.maps - 1}", int(wrong))
        )
    return numbers


def _split(network: Network, text: str) -> tuple[LayerInfo, np.ndarray]:
    head, colon, tail = text.rpartition(":")
    if colon and _MAPS.fullmatch(tail):
        layer = network.find(head)
        return layer, map_numbers(layer, tail)
    try:
        layer = network.find(text)
    except ModelError:
        if colon and any(layer.name == head for layer in network.layers):
            raise SettingsError(
                expected(f"maps after '{head}:'", "all, 3, 0-15 or 0,4,9", f"'{tail}'")
            ) from None
        raise
    return layer, map_numbers(layer, None)
