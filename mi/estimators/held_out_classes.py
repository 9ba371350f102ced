"""What held-out predictions tell of being of one class or not: value, interval, p-value."""

from __future__ import annotations

import numpy as np

from mi.estimators.results import quantile_ends
from mi.labels import class_entropies

_TIE = 1e-6
"""In nats; what is kept for the shuffles is of single precision."""


class OneVsRest:
    """The predictions of one map, one class against the rest; takes shuffled labels in parts.

    The value is the entropy of being of a class or not, less the cross-entropy of its probability.
    Its interval is from a bootstrap of the samples' contributions; it leaves out what another
    training sample would change. Its null are shuffled labels against the same predictions.
    """

    def __init__(self, odds: np.ndarray, codes: np.ndarray, weights: np.ndarray):
        """
        Args:
            odds: (classes, n) log-probabilities, held out.
            codes: (n,) int, the labels.
            weights: (draws, n) how often each sample is drawn.
        """
        classes, n = odds.shape
        rest = np.stack(
            [np.logaddexp.reduce(np.delete(odds, c, axis=0), axis=0) for c in range(classes)]
        )
        entropies = class_entropies(codes)
        gains = np.where(codes == np.arange(classes)[:, None], odds, rest) + entropies[:, None]
        self.raw = gains.mean(axis=1)
        """(classes,)"""
        self.ends = quantile_ends(weights @ gains.T / n)
        """(classes, 2): ends of the 95 % intervals, NaN without draws."""
        self._none = entropies + rest.mean(axis=1)
        self._more = ((odds - rest) / n).astype(np.float32)
        self._reached = np.zeros(classes)
        self._shuffles = 0

    def add(self, mixed: np.ndarray) -> None:
        """Holds the values against those of shuffled labels (shuffles, n)."""
        count, classes = len(mixed), len(self.raw)
        rows = np.arange(count)[:, None] * classes
        told = self._more[mixed, np.arange(mixed.shape[1])]
        sums = np.bincount((rows + mixed).ravel(), told.ravel(), count * classes)
        null = self._none + sums.reshape(count, classes)
        self._reached += (null >= self.raw - _TIE).sum(axis=0)
        self._shuffles += count

    @property
    def p_value(self) -> np.ndarray:
        """(classes,): one-sided, against the map's own shuffles; NaN without any."""
        if not self._shuffles:
            return np.full(len(self.raw), np.nan)
        return (1 + self._reached) / (1 + self._shuffles)
