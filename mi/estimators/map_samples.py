"""What the maps of a layer are measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class MapSamples:
    """Responses and labels that are checked, and what is asked of every map."""

    responses: np.ndarray
    """(n, m, d) float32 or float64, finite."""
    codes: np.ndarray
    """(n,) int, 0 to classes - 1; two classes or more, every one seen twice or more."""
    seed: int = 0
    shuffles: int = 0
    """Of the labels, for the null."""
    draws: int = 0
    """For the intervals."""
    one_vs_rest: bool = True
    """The information about being of each class or not is asked for, too."""

    @property
    def maps(self) -> int:
        """How many maps there are."""
        return self.responses.shape[1]
