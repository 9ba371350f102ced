"""p-values from shuffled labels, and their adjustment for many maps.

Tests of many nodes at once by shuffled classes.

Of n images some are of the class in question. Every node has a number for each image; its score is
the sum of its numbers over the class's images, standardised by the mean and deviation that the sum
has over all ways to hand the class to as many images. With ranks this is the Wilcoxon-Mann-Whitney
statistic with its correction for ties, with zeros and ones the difference of two shares.

A node's p-value holds for the family of all nodes: it is the share of shuffles in which the largest
score of any node reaches the node's own [1]; a map's is that in which the largest score of the map
reaches its own. The class as it is counts as one of the shuffles [2].

[1] Westfall and Young, Resampling-Based Multiple Testing, Wiley 1993 (single-step maxT).
[2] Phipson and Smyth, Statistical Applications in Genetics and Molecular Biology 9 (2010) 39.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from oip.core import seeds
from oip.core.errors import SettingsError, expected

ENOUGH = 1000
"""Shuffles of one map from which its own null says enough; with fewer, nulls are pooled."""
_TIE = 1e-12


def p_values(values: np.ndarray, null: np.ndarray) -> np.ndarray:
    """One-sided p-values of estimates against estimates from shuffled labels.

    With `ENOUGH` shuffles or with one map, a map is compared with its own shuffles:
    (1 + #{shuffled >= value}) / (1 + shuffles). With fewer the nulls of all maps are pooled: each
    map's null is standardised by its own mean and deviation, and the map's standardised value is
    compared with the shuffles of all maps. A shuffle is standardised by the others of its map, as
    the value is, else ten of them would be nearer to their mean than any value. The smallest
    p-value is then 1 / (1 + shuffles x maps). This takes the nulls of a layer to have one shape up
    to location and scale.

    Args:
        values: (m,) estimates.
        null: (shuffles, m) estimates of the same maps from shuffled labels.

    Returns:
        (m,) in (0, 1]; NaN where the value is NaN, and everywhere if there are no shuffles.
    """
    values, null = np.asarray(values, np.float64), np.asarray(null, np.float64)
    known = np.isfinite(values)
    result = np.full(len(values), np.nan)
    if not known.any() or not len(null):
        return result
    values, null = values[known], null[:, known]
    shuffles, maps = null.shape
    if shuffles >= ENOUGH or maps == 1:
        reached = (null >= values - _TIE * np.maximum(1.0, np.abs(values))).sum(axis=0)
        result[known] = (1 + reached) / (1 + shuffles)
        return result
    centre, spread = null.mean(axis=0), null.std(axis=0)
    flat = spread <= _TIE
    scale = np.where(flat, 1.0, spread)
    distances = null - centre
    if shuffles > 2:
        squares = (distances**2).sum(axis=0)
        without = squares - distances**2 * shuffles / (shuffles - 1)
        others = np.sqrt(np.maximum(without, _TIE * squares) / (shuffles - 2))
        distances = distances * np.sqrt(shuffles / (shuffles - 1))
        scale = np.where(flat, 1.0, spread * np.sqrt((shuffles + 1) / (shuffles - 1)))
    else:
        others = scale
    pooled = np.sort((distances / np.where(flat, 1.0, others))[:, ~flat], axis=None)
    standing = (values - centre) / scale
    reached = pooled.size - np.searchsorted(pooled, standing - _TIE)
    below = flat & (values <= centre + _TIE)
    alone = flat & ~below
    p = (1 + reached) / (1 + pooled.size)
    p[below] = 1.0
    p[alone] = 1 / (1 + shuffles)
    result[known] = p
    return result


def class_p_values(values: np.ndarray, null: np.ndarray) -> np.ndarray:
    """`p_values` of every class by itself.

    Args:
        values: (m, classes) estimates.
        null: (shuffles, m, classes) estimates from shuffled labels.

    Returns:
        (m, classes)
    """
    return np.stack(
        [p_values(values[:, code], null[:, :, code]) for code in range(values.shape[1])], axis=1
    )


def adjusted(p: np.ndarray) -> np.ndarray:
    """p-values adjusted for their number by Benjamini and Hochberg (1995), false discovery rate.

    Args:
        p: (m,); NaN is left out and stays NaN.

    Returns:
        (m,): the smallest rate at which each would be called a discovery.
    """
    p = np.asarray(p, np.float64)
    result = np.full(p.shape, np.nan)
    places = np.flatnonzero(np.isfinite(p))
    if places.size:
        order = places[np.argsort(p[places], kind="stable")]
        steps = p[order] * places.size / np.arange(1, places.size + 1)
        result[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return result


_CHUNK, _BYTES = 256, 64 << 20
_FLAT = 1e-9
_TIE_SHUFFLED_CLASSES = 1e-4
"""Scores this near are equal: they are computed in single precision."""
FEWEST = 19
"""Shuffles from which a p-value of 0.05 can be reached."""


class ShuffleTest:
    """Takes nodes a block at a time; all blocks are tested with the same shuffles.

    Args:
        members: (n,) bool: the images of the class, some but not all.
        shuffles: how many.
        seed: of the shuffles.
        two_sided: a score under 0 is as good as one above.

    Raises:
        SettingsError: fewer than 19 shuffles.
    """

    def __init__(self, members: np.ndarray, shuffles: int, seed: int, two_sided: bool):
        if isinstance(shuffles, bool) or not isinstance(shuffles, int) or shuffles < FEWEST:
            raise SettingsError(expected("shuffles", f"a whole number from {FEWEST}", shuffles))
        self.members = np.asarray(members, bool)
        self.two_sided = two_sided
        draw = seeds.generator(seed, "shuffled classes")
        bits = np.packbits(self.members)
        self._packed = np.empty((shuffles, len(bits)), np.uint8)
        for row in self._packed:
            row[:] = np.packbits(draw.permutation(self.members))
        self._largest = np.full(shuffles, -np.inf)
        self._scores: list[np.ndarray] = []
        self._map_p: list[np.ndarray] = []

    def add(self, parts: Iterable[np.ndarray]) -> np.ndarray:
        """Takes m maps of d nodes, their numbers (n, m, k) for some nodes at a time.

        Returns:
            (m, d): the nodes' scores, 0 for a node whose numbers are all equal.
        """
        own: list[np.ndarray] = []
        largest = np.full((len(self._packed), 1), -np.inf, np.float32)
        for numbers in parts:
            scores, most = self._scored(numbers)
            own.append(scores)
            largest = np.maximum(largest, most)
        scores = np.concatenate(own, axis=1)
        reached = largest >= self._sided(scores).max(axis=1) - _TIE_SHUFFLED_CLASSES
        self._largest = np.maximum(self._largest, largest.max(axis=1))
        self._scores.append(scores)
        self._map_p.append((1 + reached.sum(axis=0)) / (1 + len(largest)))
        return scores

    def _scored(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores (m, k) of nodes, and (shuffles, m) the largest of each map in each shuffle."""
        count, maps, nodes = numbers.shape
        columns = _standardised(numbers.reshape(count, -1), int(self.members.sum()))
        own = self.members.astype(np.float32) @ columns
        largest = np.empty((len(self._packed), maps), np.float32)
        step = int(np.clip(_BYTES // (4 * maps * nodes), 1, _CHUNK))
        for start in range(0, len(self._packed), step):
            rows = slice(start, start + step)
            shuffled = np.unpackbits(self._packed[rows], axis=1, count=count).astype(np.float32)
            scores = self._sided(shuffled @ columns).reshape(-1, maps, nodes)
            largest[rows] = scores.max(axis=2)
        return own.reshape(maps, nodes), largest

    def map_p_values(self) -> np.ndarray:
        """(m,): of all maps that were taken, each for the best of its own nodes."""
        return np.concatenate(self._map_p)

    def node_p_values(self) -> np.ndarray:
        """(m, d): of all nodes that were taken, for the family of all of them."""
        scores = self._sided(np.concatenate(self._scores))
        largest = np.sort(self._largest)
        reached = len(largest) - np.searchsorted(largest, scores - _TIE_SHUFFLED_CLASSES)
        return (1 + reached) / (1 + len(largest))

    def _sided(self, scores: np.ndarray) -> np.ndarray:
        return np.abs(scores) if self.two_sided else scores


def _standardised(columns: np.ndarray, members: int) -> np.ndarray:
    """(n, k) float32: sums over `members` of n rows have mean 0 and deviation 1 over the shuffles.

    A sum over a of n numbers drawn without replacement has the variance
    a (n - a) / (n (n - 1)) sum (x - mean)^2.
    """
    count = len(columns)
    centred = columns - columns.mean(axis=0, dtype=np.float64)
    squares = np.einsum("ij,ij->j", centred, centred)
    flat = squares <= _FLAT * np.maximum(1.0, np.abs(columns).max(axis=0))
    deviation = np.sqrt(members * (count - members) / (count * (count - 1)) * squares)
    return np.where(flat, 0.0, centred / np.where(flat, 1.0, deviation)).astype(np.float32)
