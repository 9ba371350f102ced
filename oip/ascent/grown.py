"""Climbed images in rows: which start of a map came furthest."""

from __future__ import annotations

import numpy as np

from oip.ascent.loop import Climbed
from oip.ascent.results import REASONS


class Grown:
    """Climbed images by map and start: every array (m, k, ...)."""

    def __init__(self, arrays: dict[str, np.ndarray], can_be_silent: np.ndarray):
        self._arrays = arrays
        self._can_be_silent = can_be_silent

    def __getattr__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    @classmethod
    def of(cls, starts: list[np.ndarray], climbed: Climbed, silent: np.ndarray) -> Grown:
        shape = (len(starts), len(starts[0]))
        arrays = {
            name: value.reshape(*shape, *value.shape[1:]) for name, value in vars(climbed).items()
        }
        return cls({**arrays, "starts": np.stack(starts)}, silent)

    @property
    def silent(self) -> np.ndarray:
        """(m,) bool: no start found a response above zero."""
        with np.errstate(invalid="ignore"):
            quiet = np.all(~(self.scores > 0), axis=1) & self._can_be_silent
        return quiet & np.isfinite(self.scores).any(1)

    @property
    def keys(self) -> np.ndarray:
        """(m, k): what starts are ordered by: the score, of silent ones the pre-activation."""
        heard = (self.scores > 0) | ~self._can_be_silent[:, None]
        keys = np.where(heard, self.scores, self.pre_scores)
        keys = np.where(np.isfinite(self.scores), keys, -np.inf)
        return np.nan_to_num(keys, nan=-np.inf, posinf=np.inf, neginf=-np.inf)

    def fail(self, rows: np.ndarray) -> None:
        """Maps (m,) bool whose own response is not finite."""
        self.scores[rows] = np.nan
        self.reasons[rows] = REASONS.index("failed")

    def replace(self, rows: np.ndarray, other: Grown) -> None:
        """Takes the other's maps where they came further."""
        better = other.keys.max(1) > self.keys.max(1)[rows]
        for name, value in self._arrays.items():
            value[rows[better]] = getattr(other, name)[better]

    def order(self) -> None:
        """Best start first; of the snapshots only those of the best start are kept."""
        order = np.argsort(-self.keys, axis=1, kind="stable")
        rows = np.arange(len(order))[:, None]
        self._arrays = {name: value[rows, order] for name, value in self._arrays.items()}
        self._arrays["snapshots"] = self._arrays["snapshots"][:, 0]
