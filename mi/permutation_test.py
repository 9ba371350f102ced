"""p-values from shuffled labels, their adjustment for many maps, and tests of many nodes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from oip.core import seeds
from oip.core.errors import SettingsError

ENOUGH = 1000
"""Shuffles of one map from which its own null is enough; with fewer, nulls are pooled."""
_ENOUGH_OF_OWN = 40
"""Shuffles of one map whose share that reaches its value says something."""
_LEAST = 1e-12
"""Share of the sum of squares that is left at least without one shuffle."""
TIE = 1e-6
"""Nats within which a shuffle's estimate is as large as the value: nulls are partly computed in
single precision, and of sparse responses many shuffles give the value itself."""


def p_values(values: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Return one-sided p-values (m,) of estimates against those of shuffled labels (shuffles, m).

    With `ENOUGH` shuffles or with one map, a map is compared with its own shuffles: (1 + #{shuffled
    >= value}) / (1 + shuffles). With fewer the nulls of all maps are pooled: each map's null is
    standardized by its own mean and deviation, and the map's standardized value is compared with
    the shuffles of all maps. A shuffle is standardized by the other shuffles of its map, as the
    value is, else ten of them would be nearer to their mean than any value. The smallest p-value is
    then 1 / (1 + shuffles x maps). Pooling assumes that the nulls of a layer have one shape up to
    location and scale. Those of maps that few images excite are longer than others: from 40
    shuffles on, no p-value is under the share of the map's own shuffles that reach its value.
    NaN where the value is NaN, and everywhere if there are no shuffles.
    """
    values, null = np.asarray(values, np.float64), np.asarray(null, np.float64)
    finite = np.isfinite(values)
    result = np.full(len(values), np.nan)
    if not finite.any() or not len(null):
        return result
    values, null = values[finite], null[:, finite]
    shuffles, maps = null.shape
    if shuffles >= ENOUGH or maps == 1:
        reached = (null >= values - TIE).sum(axis=0)
        result[finite] = (1 + reached) / (1 + shuffles)
        return result
    center, spread = null.mean(axis=0), null.std(axis=0)
    flat = spread <= TIE
    scale = np.where(flat, 1.0, spread)
    distances = null - center
    if shuffles > 2:
        squares = (distances**2).sum(axis=0)
        without = squares - distances**2 * shuffles / (shuffles - 1)
        spread_without = np.sqrt(np.maximum(without, _LEAST * squares) / (shuffles - 2))
        distances = distances * np.sqrt(shuffles / (shuffles - 1))
        scale = np.where(flat, 1.0, spread * np.sqrt((shuffles + 1) / (shuffles - 1)))
    else:
        spread_without = scale
    pooled = np.sort((distances / np.where(flat, 1.0, spread_without))[:, ~flat], axis=None)
    reached = pooled.size - np.searchsorted(pooled, (values - TIE - center) / scale)
    p = (1 + reached) / (1 + pooled.size)
    if shuffles >= _ENOUGH_OF_OWN:
        p = np.maximum(p, (null >= values - TIE).mean(axis=0))
    not_above = values <= center + TIE
    p[flat & not_above] = 1.0
    p[flat & ~not_above] = 1 / (1 + shuffles)
    result[finite] = p
    return result


def class_p_values(values: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Return `p_values` (m, classes) of every class, from (shuffles, m, classes)."""
    pairs = zip(values.T, null.transpose(2, 0, 1), strict=True)
    return np.stack([p_values(*pair) for pair in pairs], axis=1)


def adjusted(p: np.ndarray) -> np.ndarray:
    """Return p-values (m,) adjusted for their number, NaN left out: the false discovery rate [1].

    [1] Y. Benjamini, Y. Hochberg: Controlling the false discovery rate. Journal of the Royal
        Statistical Society B 57 (1995) 289.
    """
    from scipy.stats import false_discovery_control

    result = np.full(np.shape(p), np.nan)
    finite = np.isfinite(p)
    result[finite] = false_discovery_control(np.asarray(p, np.float64)[finite])
    return result


_FLAT = 1e-9
_SINGLE_TIE = 1e-4
"""Scores this near are equal: they are computed in single precision."""
_MOST_AT_ONCE, _BYTES = 256, 64 << 20
"""Shuffles that are scored at once, and bytes of their scores, at most."""
FEWEST = 19
"""Shuffles from which a p-value of 0.05 can be reached."""


class ShuffleTest:
    """A test of many nodes at once by shuffled classes.

    Of n images some are of the class in question. Every node has a number for each image; its score
    is the sum of its numbers over the class's images, standardized by the mean and deviation that
    the sum has over all ways to hand the class to as many images. With ranks this is the
    Wilcoxon-Mann-Whitney statistic with its correction for ties, with zeros and ones the difference
    of two shares.

    A node's p-value holds for the family of all nodes: it is the share of shuffles in which the
    largest score of any node reaches the node's own [1]; a map's is that in which the largest score
    of the map reaches its own. The class as it is counts as one of the shuffles [2]. Nodes are
    added a block at a time; all blocks are tested with the same shuffles.

    Args:
        members: (n,) bool: the images of the class, some but not all.
        shuffles, seed: 19 or more, else a SettingsError; their seed.
        two_sided: a score under 0 counts as much as one above.

    References:
        [1] P. H. Westfall, S. S. Young: Resampling-based multiple testing. Wiley 1993 (single-step
        maxT). [2] B. Phipson, G. K. Smyth: Permutation p-values should never be zero. Statistical
        Applications in Genetics and Molecular Biology 9 (2010) 39.
    """

    def __init__(self, members: np.ndarray, shuffles: int, seed: int, two_sided: bool):
        if isinstance(shuffles, bool) or not isinstance(shuffles, int) or shuffles < FEWEST:
            raise SettingsError("shuffles", f"a whole number from {FEWEST}", shuffles)
        self.members = np.asarray(members, bool)
        self.two_sided = two_sided
        draw = seeds.generator(seed, "shuffled classes")
        self._packed = np.stack(
            [np.packbits(draw.permutation(self.members)) for _ in range(shuffles)]
        )
        self._largest = np.full(shuffles, -np.inf)
        self._scores: list[np.ndarray] = []
        self._map_p: list[np.ndarray] = []

    def add(self, blocks: Iterable[np.ndarray]) -> np.ndarray:
        """Add m maps of d nodes, as numbers (n, m, k) of some nodes at a time; return their scores.

        (m, d): 0 for a node whose numbers are all equal.
        """
        parts_of_scores: list[np.ndarray] = []
        largest = np.full((len(self._packed), 1), -np.inf, np.float32)
        for numbers in blocks:
            scores, part_largest = self._scored(numbers)
            parts_of_scores.append(scores)
            largest = np.maximum(largest, part_largest)
        scores = np.concatenate(parts_of_scores, axis=1)
        reached = largest >= self._sided(scores).max(axis=1) - _SINGLE_TIE
        self._largest = np.maximum(self._largest, largest.max(axis=1))
        self._scores.append(scores)
        self._map_p.append((1 + reached.sum(axis=0)) / (1 + len(largest)))
        return scores

    def _scored(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the nodes' scores (m, k), and each map's largest in each shuffle (shuffles, m)."""
        count, maps, nodes = numbers.shape
        columns = _standardized(numbers.reshape(count, -1), int(self.members.sum()))
        member_sums = self.members.astype(np.float32) @ columns
        largest = np.empty((len(self._packed), maps), np.float32)
        step = int(np.clip(_BYTES // (4 * maps * nodes), 1, _MOST_AT_ONCE))
        for start in range(0, len(self._packed), step):
            rows = slice(start, start + step)
            shuffled = np.unpackbits(self._packed[rows], axis=1, count=count).astype(np.float32)
            scores = self._sided(shuffled @ columns).reshape(-1, maps, nodes)
            largest[rows] = scores.max(axis=2)
        return member_sums.reshape(maps, nodes), largest

    def map_p_values(self) -> np.ndarray:
        """Return the p-value (m,) of every map, for the best of its own nodes."""
        return np.concatenate(self._map_p)

    def node_p_values(self) -> np.ndarray:
        """Return the p-value (m, d) of every node, for the family of all nodes."""
        scores = self._sided(np.concatenate(self._scores))
        largest = np.sort(self._largest)
        reached = len(largest) - np.searchsorted(largest, scores - _SINGLE_TIE)
        return (1 + reached) / (1 + len(largest))

    def _sided(self, scores: np.ndarray) -> np.ndarray:
        return np.abs(scores) if self.two_sided else scores


def _standardized(columns: np.ndarray, members: int) -> np.ndarray:
    """Return columns (n, k) float32 whose sums over `members` rows have mean 0 and deviation 1.

    That is over all shuffles. A sum over a of n numbers drawn without replacement has the variance
    a (n - a) / (n (n - 1)) sum (x - mean)^2.
    """
    count = len(columns)
    centered = columns - columns.mean(axis=0, dtype=np.float64)
    squares = np.einsum("ij,ij->j", centered, centered)
    flat = squares <= _FLAT * np.maximum(1.0, np.abs(columns).max(axis=0))
    deviation = np.sqrt(members * (count - members) / (count * (count - 1)) * squares)
    return np.where(flat, 0.0, centered / np.where(flat, 1.0, deviation)).astype(np.float32)
