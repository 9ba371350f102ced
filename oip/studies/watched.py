"""The trainings that studies watch: which networks, recorded when and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

RECORDED = 500
"""Images of the test part that tell what is known; a kernel estimate needs all their distances."""
_REGULAR = 500
_EARLY = (0, 1, 2, 5, 10, 20, 50, 100, 200)
_KEPT = 5_000
WIDTHS = {"relative": {"relative": 0.1}, "fixed": {"noise": 0.1}}
"""Variance of the Gaussian kernels: a tenth of the map's median squared distance, which does not
change with the scale of the responses; or 0.1 in their own units, as in the literature."""


@dataclass(frozen=True)
class Watched:
    """A network whose training is watched.

    Pixels are brought to 0 to 1. Adam at a constant rate, so that a training of more iterations
    begins with the same ones.
    """

    recipe: str
    blocks: tuple[str, ...]
    """Convolutions whose maps are recorded, of the block output after ReLU and pooling."""
    dense: tuple[str, ...]
    """Layers that are recorded as a whole only."""
    options: tuple[tuple[str, Any], ...] = ()
    """Of the recipe."""
    batch: int = 64
    learning_rate: float = 1e-3

    @property
    def name(self) -> str:
        """The recipe, with the options that were told."""
        return " ".join([self.recipe, *(f"{name} {value}" for name, value in self.options)])


def recorded_at(iterations: int) -> list[int]:
    """Iterations that are recorded: dense at first, then every 500, and the last one."""
    regular = range(_REGULAR, iterations, _REGULAR)
    return sorted({one for one in (*_EARLY, *regular, iterations) if one <= iterations})


def kept_at(iterations: int) -> list[int]:
    """Iterations whose weights are kept: every 5,000; start, middle and end of fewer."""
    if iterations >= _KEPT:
        return sorted({*range(0, iterations, _KEPT), iterations})
    middle = max(one for one in recorded_at(iterations) if one <= iterations / 2)
    return sorted({0, middle, iterations})


def is_saved(done: int, iterations: int) -> bool:
    """Whether a training that is stopped goes on from this recorded iteration."""
    return done >= _REGULAR or done == iterations


def built(watched: Watched, data: Any) -> Any:
    """The network, untrained; it takes pixels as they are stored and divides by their range."""

    from oip import models

    shape = data.images.shape[1:]
    low, high = (np.full(shape[-1], level) for level in (data.low, data.high))
    options = dict(watched.options)
    return models.build(watched.recipe, shape, len(data.classes), low, high - low, **options)
