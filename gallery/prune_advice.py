"""Advice on which maps of a layer could be pruned, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from oip.gallery.read_run import LayerEntry

SAME = 0.9
"""A map is redundant where another one shares at least this part of its own value."""


@dataclass(frozen=True)
class Reason:
    """Maps that could be pruned for one reason."""

    text: str
    maps: tuple[int, ...]
    substitutes: dict[int, int] = field(default_factory=dict)
    """Map -> the map that stays for it, where there is one."""


def prune_advice(layer: LayerEntry) -> list[Reason]:
    """Return maps that could be pruned, each under its strongest reason.

    Strongest first: the map is silent or constant; its information is not above the null; another
    map that knows more holds nearly all it holds (`SAME`); silencing it does not raise the loss.
    """
    reasons: list[Reason] = []
    listed: set[int] = set()

    def add(text: str, maps: Iterable[int], substitutes: dict[int, int] | None = None) -> None:
        fresh = tuple(map_index for map_index in maps if map_index not in listed)
        if fresh:
            listed.update(fresh)
            reasons.append(Reason(text, fresh, substitutes or {}))

    dead = [entry.map for entry in layer.maps if entry.verdict == "dead"]
    add("the response is zero, or always the same, for every input that was tried.", dead)
    below_null = [
        entry.map
        for entry in layer.maps
        if entry.first_information and entry.first_information.below_null
    ]
    add(f"no more information about {layer.subject} than with shuffled labels.", below_null)
    substitutes = _redundant(layer, listed)
    share = f"{100 * SAME:.0f} % of its information"
    add(f"another map, which stays, shares at least {share}.", substitutes, substitutes)
    harmless = set(_harmless(layer)).difference(substitutes.values())
    add("the loss does not rise when the map is silenced alone.", sorted(harmless))
    return reasons


def _redundant(layer: LayerEntry, pruned: set[int]) -> dict[int, int]:
    """Return, from the most informative map down, maps that a map which stays can replace."""
    redundancy = layer.evidence.redundancy
    if redundancy is None:
        return {}
    share = redundancy.share()
    row_of = {int(map_index): row for row, map_index in enumerate(redundancy.maps)}
    kept_rows: list[int] = []
    substitutes: dict[int, int] = {}
    for entry in layer.maps:
        if entry.map not in row_of or entry.map in pruned:
            continue
        row = row_of[entry.map]
        values = share[row, kept_rows] if kept_rows else np.array([])
        if values.size and np.nanmax(values, initial=-1.0) >= SAME:
            best = kept_rows[int(np.nanargmax(values))]
            substitutes[entry.map] = int(redundancy.maps[best])
        else:
            kept_rows.append(row)
    return substitutes


def _harmless(layer: LayerEntry) -> list[int]:
    ablation = layer.evidence.ablation
    rows = ablation.maps if ablation is not None else ()
    return [row.map for row in rows if (row.loss_increase if row.high is None else row.high) <= 0]
