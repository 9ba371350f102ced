"""Results with a row for each map, taken map by map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np

from oip.core.errors import SettingsError, expected


class ByMap:
    """What `len`, iteration and `[number]` are for a frozen dataclass of arrays."""

    PER_MAP: ClassVar[tuple[str, ...]]
    """Fields with a row for each map: arrays, what has `rows` of its own, or None."""
    layer: str
    maps: np.ndarray

    def __len__(self) -> int:
        return len(self.maps)

    def __iter__(self) -> Iterator[Self]:
        return (self.rows(np.array([row])) for row in range(len(self)))

    def __getitem__(self, number: int) -> Self:
        """What there is of map `number` alone.

        Raises:
            SettingsError: it is not among these maps.
        """
        rows = np.flatnonzero(self.maps == number)
        if not rows.size:
            have = f"one of {len(self)} from {self.maps.min()} to {self.maps.max()}"
            raise SettingsError(expected(f"map of '{self.layer}'", have, number))
        return self.rows(rows[:1])

    def rows(self, rows: np.ndarray) -> Self:
        """Some of the maps, by their rows here, in that order."""
        changed = {name: _rows(getattr(self, name), rows) for name in self.PER_MAP}
        this: Any = self
        return replace(this, **changed)


def _rows(value: Any, rows: np.ndarray) -> Any:
    if value is None:
        return None
    return value.rows(rows) if hasattr(value, "rows") else value[rows]
