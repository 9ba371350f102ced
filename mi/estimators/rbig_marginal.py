"""One coordinate at a time: its entropy, and the map that makes it Gaussian."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

GAUSSIAN_ENTROPY = 0.5 * math.log(2 * math.pi * math.e)
"""Of N(0, 1), in nats."""
_TAIL = 10
"""Samples in the first and the last piece of a marginal map."""
_APART = 1e-9
"""Least distance of two knots, as a share of the range."""


def sorted_entropies(rows: np.ndarray) -> np.ndarray:
    """Differential entropy of every row, in nats.

    A histogram of about sqrt(n) equal bins between the extremes:
    H = -sum_k p_k ln p_k + (K - 1) / 2n + ln(width), the second term for K bins that are occupied.

    Args:
        rows: (d, n), each sorted; finite.

    Returns:
        (d,); minus infinity for a constant row.

    References:
        G. A. Miller: Note on the bias of information estimates. Information theory in psychology,
        1955.
    """
    n = rows.shape[1]
    bins = bin_count(n)
    result = np.empty(len(rows))
    for place, row in enumerate(rows):
        width = (row[-1] - row[0]) / bins
        if width <= 0:
            result[place] = -np.inf
            continue
        edges = row[0] + width * np.arange(1, bins)
        counts = np.diff(np.searchsorted(row, edges), prepend=0, append=n)
        result[place] = histogram_entropy(counts, width)
    return result


def histogram_entropy(counts: np.ndarray, width: float) -> float:
    """Differential entropy in nats of a histogram: counts (bins,), bins of one width above 0."""
    n = counts.sum()
    share = counts[counts > 0] / n
    occupied = (len(share) - 1) / (2 * n)
    return float(-(share * np.log(share)).sum() + occupied + math.log(width))


def bin_count(n: int) -> int:
    """Bins of the histogram of n samples."""
    return max(2, round(math.sqrt(n)))


@lru_cache(maxsize=8)
def normal_scores(n: int) -> np.ndarray:
    """(n,), not to be written to: the normal quantiles at (i + 1/2) / n, in order."""
    from scipy.special import ndtri

    scores = ndtri((np.arange(n) + 0.5) / n)
    scores.flags.writeable = False
    return scores


@dataclass(frozen=True, eq=False)
class Marginal:
    """A rising piecewise linear map from a coordinate to a standard Gaussian one, and back.

    About 1.5 n^(1/3) pieces of equal width in the Gaussian coordinate, with at least ten samples in
    the first and the last, so that tails are described. Beyond the extremes the line goes on, no
    steeper than that of a Gaussian with the same deviation: new samples are mapped, too, and every
    value has an inverse. Between knots the density is that of a Gaussian, stretched.

    The pieces fit noise as well. Where they describe a coordinate better than a Gaussian does by
    less than they would by chance (Akaike: pieces / n nats a sample), it is a line: centred and
    scaled. Without that, every layer would find structure anew, and call it total correlation.
    """

    places: np.ndarray
    """(knots,): values of the coordinate, rising."""
    scores: np.ndarray
    """(knots,): what they are mapped to, rising."""

    @classmethod
    def of(cls, row: np.ndarray) -> Marginal:
        """The map of a sorted coordinate (n,) that takes two values or more.

        Equal samples, such as the zeros of a ReLU, share a knot: an atom stays an atom.
        """
        n = len(row)
        known = normal_scores(n)
        pieces = max(3, round(1.5 * n ** (1 / 3)))
        tail = min(_TAIL, n // 4)
        even = np.linspace(known[tail], known[n - 1 - tail], pieces - 1)
        inner = np.searchsorted(known, even).clip(1, max(1, n - 2))
        picked = np.unique(np.concatenate([[0], inner, [n - 1]]))
        places, group = np.unique(row[picked], return_inverse=True)
        scores = np.bincount(group, known[picked]) / np.bincount(group)
        # Knots closer than rounding would make a slope that cannot be undone.
        apart = np.diff(places, prepend=-np.inf) > _APART * (places[-1] - places[0])
        apart[0] = apart[-1] = True
        places, scores = places[apart], scores[apart]
        middle, deviation = float(row.mean()), float(row.std())
        own = cls(places, scores)
        mapped = own.transform(row)
        gain = own.log_slope(row).mean() - 0.5 * (mapped * mapped).mean()
        if gain + math.log(deviation) + 0.5 < pieces / n:
            ends = np.array([-1.0, 1.0])
            return cls(middle + deviation * ends, ends)
        slopes = np.minimum((np.diff(scores) / np.diff(places))[[0, -1]], 1 / deviation)
        return cls(
            np.concatenate([[places[0] - deviation], places, [places[-1] + deviation]]),
            np.concatenate(
                [[scores[0] - deviation * slopes[0]], scores, [scores[-1] + deviation * slopes[1]]]
            ),
        )

    def transform(self, values: np.ndarray) -> np.ndarray:
        """(n,) of the coordinate -> (n,) of the Gaussian one."""
        return _along(values, self.places, self.scores)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """(n,) of the Gaussian coordinate -> (n,) of the coordinate."""
        return _along(values, self.scores, self.places)

    def log_slope(self, values: np.ndarray) -> np.ndarray:
        """(n,): logarithm of the derivative of `transform`."""
        piece = _pieces(values, self.places)
        return np.log(np.diff(self.scores) / np.diff(self.places))[piece]


def _pieces(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(knots, values, side="right") - 1, 0, len(knots) - 2)


def _along(values: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    piece = _pieces(values, start)
    slope = np.diff(end) / np.diff(start)
    return end[piece] + (values - start[piece]) * slope[piece]
