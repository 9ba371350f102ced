"""Which maps of a layer could go, by what is known of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oip.gallery.read_run import ABOVE_NULL, LayerEntry

SAME = 0.9
"""Of a pair that shares at least this part of the smaller own value, one says what both say."""


@dataclass(frozen=True)
class Reason:
    """Maps that could go for one reason."""

    words: str
    maps: tuple[int, ...]
    instead: dict[int, int]
    """Map -> the map that stays for it, where there is one."""


def suggestion(layer: LayerEntry) -> list[Reason]:
    """Maps that could be pruned, each under its strongest reason.

    Strongest first: the map responds to nothing; its information is not above the null; another map
    that knows more holds nearly all it holds (`SAME`); silencing it does not raise the loss.
    """
    found: list[Reason] = []
    taken: set[int] = set()

    def add(words: str, maps: list[int], instead: dict[int, int] | None = None) -> None:
        fresh = tuple(one for one in maps if one not in taken)
        if fresh:
            taken.update(fresh)
            found.append(Reason(words, fresh, instead or {}))

    add("excited by no input that was tried.", [e.map for e in layer.maps if e.verdict == "dead"])
    add(
        "information about the label not above the null.",
        [e.map for e in layer.maps if e.first and _above(e.first.p_adjusted)],
    )
    instead = _redundant(layer, taken)
    add(
        f"another map, which stays, shares at least {100 * SAME:.0f} % of what is held.",
        list(instead),
        instead,
    )
    harmless = [one for one in _harmless(layer) if one not in instead.values()]
    add("no rise of the loss when silenced alone.", harmless)
    return found


def _above(p: float | None) -> bool:
    return p is not None and p > ABOVE_NULL


def _redundant(layer: LayerEntry, taken: set[int]) -> dict[int, int]:
    """From the most informative map down: a map goes if one that stays holds what it holds."""
    known = layer.evidence.redundancy
    if known is None:
        return {}
    share = known.share()
    rows = {int(number): row for row, number in enumerate(known.maps)}
    kept: list[int] = []
    instead: dict[int, int] = {}
    for entry in layer.maps:
        if entry.map not in rows or entry.map in taken:
            continue
        row = rows[entry.map]
        values = share[row, kept] if kept else np.array([])
        if values.size and np.nanmax(values, initial=-1.0) >= SAME:
            best = kept[int(np.nanargmax(values))]
            instead[entry.map] = int(known.maps[best])
        else:
            kept.append(row)
    return instead


def _harmless(layer: LayerEntry) -> list[int]:
    told = layer.evidence.ablation
    if told is None:
        return []
    found = []
    for row in told["maps"]:
        rise, high = row.get("loss_increase"), row.get("high")
        least = high if isinstance(high, int | float) else rise
        if isinstance(least, int | float) and least <= 0 and isinstance(row.get("map"), int):
            found.append(row["map"])
    return sorted(found)
