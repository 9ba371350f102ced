"""Nearest-neighbor estimates: densities from the distances to the k-th neighbor."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from oip.core import seeds
from oip.core.checks import check_choice, check_flag, check_whole
from oip.core.errors import SettingsError
from oip.core.records import Parameters
from oip.mi.estimators.base import LabelEstimator, RawEstimate
from oip.mi.estimators.gram import principal_components
from oip.mi.estimators.results import LabelledResponses, MapEstimates
from oip.mi.resampling import Information, Prepared, over_prepared
from oip.mi.validation import TIED, check_varied, heavy_tails, tied_share

if TYPE_CHECKING:
    from sklearn.neighbors import KDTree

MOST_DIMENSIONS = 20
"""Above it neighbors are all equally far, and estimates far too small."""
_JITTER = 1e-10
_COMPONENTS, _BEFORE_DIRECTIONS = 8, 60
_ABOVE = "Above H(Y), which no information about Y exceeds: by the error of the estimate."


@dataclass(frozen=True)
class Ksg(LabelEstimator):
    """Kozachenko and Leonenko, Kraskov, Stoegbauer and Grassberger, and Ross.

    With the Chebyshev distance r_i of sample i to its k-th neighbor (in the joint space), psi the
    digamma function and <> the mean over samples:

    - H(X) = psi(n) - psi(k) + d <ln 2 r_i>.
    - I(X;Y), algorithm 1: psi(k) + psi(n) - <psi(n_x + 1) + psi(n_y + 1)>, n_x the samples nearer
      than r_i in x. Algorithm 2: psi(k) - 1/k + psi(n) - <psi(n_x) + psi(n_y)>, n_x those within
      the k neighbors' largest distance in x.
    - T(X): the same with a term a coordinate and (d - 1) psi(n).
    - I(X;Y|Z) = psi(k) + <psi(n_z + 1) - psi(n_xz + 1) - psi(n_yz + 1)>.
    - Label: psi(n) + <psi(k_i)> - <psi(N_y)> - <psi(m_i)>, k_i = min(k, N_y - 1) neighbors among
      the N_y samples of i's class, m_i the samples (i itself among them) nearer than the last of
      these. Classes of one sample are left out.
    - KL(P||Q) = d <ln s_i / r_i> + ln m / (n - 1), s_i the distance to the k-th of m samples of Q.

    Coordinates are standardized first unless `standardize` is False (entropies are in the units of
    x all the same); coordinates with equal values are moved by a seeded 1e-10. Values are signed,
    and shown so unless `clip`. Consistent for continuous X of few dimensions with a smooth density,
    nearly unbiased for independent ones. Above some 20 dimensions far too small (14.4 nats at d =
    100 come out as .4), and of no meaning where many values are equal, as after a ReLU. Both make a
    notice, as does a value above H(Y), which is an error of the estimate. Of many maps at once the
    signed values are `raw`, and `mi` is clipped.

    Use it for numbers of a few dimensions with smooth densities, and for independence. Not for wide
    responses, ties, or information far above ln n.

    Units:
        Nats inside, bits where it is shown.

    References:
        L. F. Kozachenko, N. N. Leonenko: Sample estimate of the entropy of a random vector.
        Problems of Information Transmission 23 (1987) 9.
        A. Kraskov, H. Stoegbauer, P. Grassberger: Estimating mutual information. Physical Review E
        69 (2004) 066138, eqs. 8, 9, 23, 24, 30.
        S. Frenzel, B. Pompe: Partial mutual information for coupling analysis of multivariate time
        series. Physical Review Letters 99 (2007) 204101.
        B. C. Ross: Mutual information between discrete and continuous data sets. PLoS ONE 9 (2014)
        e87357.
        Q. Wang, S. R. Kulkarni, S. Verdu: Divergence estimation for multidimensional densities via
        k-nearest-neighbor distances. IEEE Transactions on Information Theory 55 (2009) 2392.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 2000))
        >>> round(mi.mutual_information(a, a + b, "ksg", k=5, null=0).nats, 1)  # ln(2) / 2
        0.3
    """

    name: ClassVar[str] = "ksg"
    name_shown: ClassVar[str] = "mutual information (nearest neighbours)"
    biased_from: ClassVar[int | None] = 3
    map_draws: ClassVar[int] = 100

    k: int = 3
    """Neighbors."""
    algorithm: int = 1
    """1 or 2 of Kraskov et al., for numbers and numbers."""
    standardize: bool = True
    """Divide every coordinate by its standard deviation."""
    clip: bool = False
    """Show information under 0 as 0."""
    components: int | None = None
    """Most principal components of responses about a label, and of both sides of I(X;Y). If None,
    8 of responses of more than 20 nodes; I(X;Y) is then of all coordinates."""
    reduction: Literal["components", "directions"] = "components"
    """`directions`: of responses about a label and of I(X;Y), only the directions in which class
    means differ, or in which x and y correlate, `components` of them or 3. They are fitted to one
    half of the samples and used in the other, and miss what is not linear. For coordinates most of
    which are noise: 8 of these cost .06 to .17 of .34 to .41 nats (n = 1000), and .01 to .02 along
    directions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("ksg: k", self.k)
        if self.algorithm not in (1, 2):
            raise SettingsError("ksg: algorithm", "1 or 2", self.algorithm)
        check_flag("ksg: standardize", self.standardize)
        check_flag("ksg: clip", self.clip)
        if self.components is not None:
            check_whole("ksg: components", self.components)
        check_choice("ksg: reduction", self.reduction, ("components", "directions"))

    @property
    def parameters(self) -> Parameters:
        """The settings, without a reduction to components, which is by default."""
        settings = super().parameters
        if self.reduction == "components":
            del settings["reduction"]
        return settings

    @property
    def fewest(self) -> int:
        """k neighbors and the sample itself, twice for directions."""
        return (self.k + 1) * (2 if self.reduction == "directions" else 1)

    @property
    def clips(self) -> bool:
        """Whether signed values are clipped, as `clip` says."""
        return self.clip

    def _map_estimates(self, samples: LabelledResponses) -> MapEstimates:
        """See `LabelEstimator._map_estimates`; one list of neighbors a map serves all labels."""
        self._check_k(len(samples.codes))
        rarity = len(samples.codes) / int(np.bincount(samples.codes).max())
        alone = not (samples.shuffles or samples.draws or samples.one_vs_rest)

        def prepare(x: np.ndarray) -> Prepared | None:
            if not np.ptp(x, axis=0).any():
                return None
            if self.reduction == "directions":
                return self._directed_information(np.asarray(x, np.float64), rarity, samples.seed)
            wide = x.shape[1] > MOST_DIMENSIONS
            count = self.components or (_COMPONENTS if wide else x.shape[1])
            ready, notices = self._reduced("x", np.asarray(x, np.float64), count, samples.seed)
            information = ross_information(ready, self.k, None if alone else rarity)
            scaled = 1 < x.shape[1] <= count  # column by column; of one, no scale changes the order
            notices += self._heavy(x=x) if scaled else ()
            return Prepared(information, (*_ties("x", x), *notices))

        estimates = over_prepared(prepare, samples)
        if self.clip:
            return estimates
        is_above = estimates.raw > estimates.ceiling
        notices = [
            (*texts, _ABOVE) if high else texts
            for texts, high in zip(estimates.notices, is_above, strict=True)
        ]
        return replace(estimates, notices=tuple(notices))

    def _directed_information(self, x: np.ndarray, rarity: float, seed: int) -> Prepared:
        """Return the information along directions that are fitted again for any labels."""
        rng = seeds.generator(seed, "ksg projection")
        leading = principal_components(x, _BEFORE_DIRECTIONS, rng).astype(np.float64)
        notices = _ties("x", x)
        if x.shape[1] > _BEFORE_DIRECTIONS:
            text = f"x has {x.shape[1]} dimensions: directions are those of "
            notices += (f"{text}{_BEFORE_DIRECTIONS} principal components.",)

        def information(codes: np.ndarray, indices: np.ndarray | None) -> float:
            value, responses = 0.0, leading if indices is None else leading[indices]
            for rows, reduced, labels in crossfitted(responses, codes, self.components or MOST):
                labels = np.unique(labels, return_inverse=True)[1]
                if len(rows) > self.k:
                    of_half = ross_information(self._ready(reduced, seed), self.k, rarity)
                    value += len(rows) / len(responses) * of_half(labels, None)
            return value

        return Prepared(information, notices)

    def _reduced(
        self, name: str, x: np.ndarray, count: int, seed: int
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return x (n, d) ready, of `count` principal components if d is more, and a notice."""
        if x.shape[1] <= count:
            return self._ready(x, seed), ()
        rng = seeds.generator(seed, "ksg projection")
        scores = principal_components(x, count, rng).astype(np.float64)
        notice = f"{name} has {x.shape[1]} dimensions: {count} principal components were used."
        return self._jittered(scores / (scores.std() or 1.0), seed), (notice,)

    def information(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Estimate I(X;Y) by algorithm 1 or 2 of Kraskov et al.; 0 where a side is constant."""
        if not np.ptp(x, axis=0).any() or not np.ptp(y, axis=0).any():
            return RawEstimate(0.0)
        notices = _ties("x", x) + _ties("y", y)
        if self.reduction == "directions":
            value = 0.0
            for rows, *sides in crossfitted(x, y, self.components or MOST):
                ready = [self._ready(side, seed + index) for index, side in enumerate(sides)]
                value += len(rows) / len(x) * self._joint(ready)
            return RawEstimate(value, notices=notices)
        ready_sides = []
        for index, (name, side) in enumerate((("x", x), ("y", y))):
            ready, reduced = self._reduced(
                name, side, self.components or side.shape[1], seed + index
            )
            ready_sides.append(ready)
            notices += reduced
        notices += _wide(*ready_sides) + self._heavy(x=x, y=y)
        return RawEstimate(self._joint(ready_sides), notices=notices)

    def total_correlation(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Estimate T(X) by algorithm 1 or 2 of Kraskov et al. for as many variables as columns."""
        ready = self._ready(x, seed)
        columns = [column[:, None] for column in ready.T]
        nats = self._joint(columns) if len(columns) > 1 else 0.0  # exactly, not but for rounding
        return RawEstimate(nats, notices=_notices(x=x) + self._heavy(x=x))

    def conditional_information(
        self, x: np.ndarray, y: np.ndarray, given: np.ndarray, seed: int
    ) -> RawEstimate:
        """Estimate I(X;Y|Z) as Frenzel and Pompe do."""
        from scipy.special import digamma

        notices = _notices(x=x, y=y, given=given) + self._heavy(x=x, y=y, given=given)
        self._check_k(len(x))
        x, y, z = (self._ready(side, seed + i) for i, side in enumerate((x, y, given)))
        radius, _ = nearest(np.concatenate([x, y, z], axis=1), self.k)
        open_radius = np.nextafter(radius, 0)
        of_z, of_xz, of_yz = (
            digamma(count_within(side, open_radius))
            for side in (z, np.concatenate([x, z], axis=1), np.concatenate([y, z], axis=1))
        )
        nats = digamma(self.k) + (of_z - of_xz - of_yz).mean()
        return RawEstimate(float(nats), notices=notices)

    def entropy(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Estimate H(X) as Kozachenko and Leonenko do, in the units of x."""
        from scipy.special import digamma

        n, d = x.shape
        self._check_k(n)
        check_varied("ksg: x", x)
        scale = x.std(axis=0) if self.standardize else np.ones(d)
        radius, _ = nearest(self._ready(x, seed), self.k)
        nats = digamma(n) - digamma(self.k) + d * np.log(2 * radius).mean() + np.log(scale).sum()
        return RawEstimate(float(nats), notices=_notices(x=x))

    def divergence(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Estimate KL(P||Q) as Wang, Kulkarni and Verdu do, with one k for both."""
        self._check_k(min(len(x), len(y)))
        pooled = self._ready(np.concatenate([x, y]), seed)
        first, second = pooled[: len(x)], pooled[len(x) :]
        distances, _ = nearest(first, self.k)
        to_second = nearest_of(second, first, self.k)
        nats = x.shape[1] * np.log(to_second / distances).mean() + math.log(len(y) / (len(x) - 1))
        return RawEstimate(float(nats), notices=_notices(x=x, y=y))

    def _joint(self, samples: list[np.ndarray]) -> float:
        """Return the information of variables (n, d_i) that are standardized and without ties."""
        from scipy.special import digamma

        n, variables = len(samples[0]), len(samples)
        self._check_k(n)
        radius, neighbors = nearest(np.concatenate(samples, axis=1), self.k)
        if self.algorithm == 1:
            open_radius = np.nextafter(radius, 0)
            counts = [digamma(count_within(variable, open_radius)).mean() for variable in samples]
            return float(digamma(self.k) + (variables - 1) * digamma(n) - sum(counts))
        counts = []
        for variable in samples:
            reach = np.abs(variable[neighbors] - variable[:, None]).max(axis=(1, 2))
            # The sample itself is not counted.
            counts.append(digamma(count_within(variable, np.nextafter(reach, np.inf)) - 1).mean())
        shift = digamma(self.k) - (variables - 1) / self.k
        return float(shift + (variables - 1) * digamma(n) - sum(counts))

    def _heavy(self, **sides: np.ndarray) -> tuple[str, ...]:
        """Return a notice where deviations are those of a few samples, and no scale for others."""
        effect = "a few far samples put all others next to one another, and the estimate is too low"
        return heavy_tails(effect, **sides) if self.standardize else ()

    def _check_k(self, n: int) -> None:
        if self.k >= n:
            raise SettingsError("ksg: k", f"under the number of samples, {n}", self.k)

    def _ready(self, x: np.ndarray, seed: int) -> np.ndarray:
        """Return x without ties, standardized if `standardize`."""
        if self.standardize:
            # Next to the mean of a few far samples all others would lose their digits.
            spread = x.std(axis=0)
            x = (x - np.median(x, axis=0)) / np.where(spread > 0, spread, 1.0)
        return self._jittered(x, seed)

    def _jittered(self, x: np.ndarray, seed: int) -> np.ndarray:
        ordered = np.sort(x, axis=0)
        tied = (ordered[1:] == ordered[:-1]).any(axis=0)
        if not tied.any():
            return x
        size = np.abs(x - x.mean(axis=0)).mean(axis=0)
        size = _JITTER * np.maximum(size, 1.0 if self.standardize else 0.0)
        # Of x's own order, in any unit: with one jitter, all sparse maps would err together.
        order = zlib.crc32(np.argsort(x, axis=0, kind="stable").tobytes())
        jitter = seeds.generator(seed, "ksg ties", order).normal(size=x.shape)
        return x + jitter * np.where(tied, size, 0)


def _notices(**sides: np.ndarray) -> tuple[str, ...]:
    return tuple(text for name, side in sides.items() for text in _ties(name, side)) + _wide(
        *sides.values()
    )


def _wide(*sides: np.ndarray) -> tuple[str, ...]:
    """Return a notice where there are too many dimensions for neighbors."""
    d = sum(side.shape[1] for side in sides)
    if d <= MOST_DIMENSIONS:
        return ()
    return (f"{d} dimensions: above {MOST_DIMENSIONS} neighbour estimates are too small.",)


def _ties(name: str, x: np.ndarray) -> tuple[str, ...]:
    """Return a notice where many samples share a value of a coordinate."""
    share = tied_share(x)
    if share <= TIED:
        return ()
    text = f"{name}: {share:.0%} of the values of a coordinate are ties, broken at random."
    hint = " If it is a label, say discrete=True." if name == "y" and share > 0.95 else ""
    return (text + hint,)


_MARGIN = 6
"""The list holds as many neighbors as make k of a common class likely, times this."""
_ELEMENTS = 1 << 22
"""Of a matrix that is worked on at once."""


def ross_information(x: np.ndarray, k: int, rarity: float | None = None) -> Information:
    """Return Ross's estimate of I(X;Y) for any label of any of the samples x (n, d) without ties.

    The samples nearer than the k-th neighbor of a sample's own class are those before it in the
    list of its neighbors: once the list is made, a label only has to be looked up along it. The few
    samples whose list ends too early are looked up in trees. `rarity` is the number of samples for
    each one of a common class; without it there is no list, which is quickest for one label.
    Classes of one sample are left out.
    """
    if x.shape[1] == 1:
        return _ross_on_line(x[:, 0], k)
    n = len(x)
    length = 0 if rarity is None else int(min(n - 1, max(8, _MARGIN * (k + 1) * rarity)))
    neighbors = nearest(x, length)[1].astype(np.int32) if length else np.empty((n, 0), np.int32)

    def information(codes: np.ndarray, indices: np.ndarray | None) -> float:
        labels = np.full(n, -1, np.int32)
        labels[slice(None) if indices is None else indices] = codes
        counts = np.bincount(codes)
        labeled_rows = np.flatnonzero(labels >= 0)
        labeled_rows = labeled_rows[counts[labels[labeled_rows]] > 1]
        if not labeled_rows.size:
            return 0.0
        labels[np.setdiff1d(np.arange(n), labeled_rows)] = -1
        return _ross(x, neighbors, labels, labeled_rows, counts[labels[labeled_rows]], k)

    return information


def _ross_on_line(x: np.ndarray, k: int) -> Information:
    """Do the same on a line, where a class's neighbors are adjacent once it is sorted."""
    by_value = np.argsort(x)

    def information(codes: np.ndarray, indices: np.ndarray | None) -> float:
        order = by_value
        if indices is not None:
            labels = np.full(len(x), -1, np.int32)
            labels[indices] = codes
            order, codes = order[labels[order] >= 0], labels
        order = order[np.bincount(codes[order])[codes[order]] > 1]
        if not order.size:
            return 0.0
        order = order[np.argsort(codes[order], kind="stable")]
        values, classes = x[order], codes[order]
        sizes = np.bincount(classes)[classes]
        neighbor_distances = np.full((len(order), 2 * k), np.inf)
        for step in range(1, min(k, len(order) - 1) + 1):
            is_same_class = classes[step:] == classes[:-step]
            distances = np.where(is_same_class, values[step:] - values[:-step], np.inf)
            neighbor_distances[step:, step - 1] = distances
            neighbor_distances[:-step, k + step - 1] = distances
        ranks = np.minimum(k, sizes - 1)
        radius = np.take_along_axis(
            np.sort(neighbor_distances, axis=1), ranks[:, None] - 1, axis=1
        )[:, 0]
        counts = count_within(values[:, None], np.nextafter(radius, 0))
        return _ross_value(ranks, sizes, counts)

    return information


def _ross_value(ranks: np.ndarray, sizes: np.ndarray, counts: np.ndarray) -> float:
    """Return psi(n) + <psi(k_i)> - <psi(N_y)> - <psi(m_i)>."""
    from scipy.special import digamma

    value = digamma(len(ranks)) + digamma(ranks).mean()
    return float(value - digamma(sizes).mean() - digamma(counts).mean())


def _ross(
    x: np.ndarray,
    neighbors: np.ndarray,
    labels: np.ndarray,
    labeled_rows: np.ndarray,
    sizes: np.ndarray,
    k: int,
) -> float:
    """Return the estimate of the samples `kept`, with classes of `sizes`; other labels are -1."""
    ranks = np.minimum(k, sizes - 1)
    counts = np.zeros(len(labeled_rows), int)
    # Most samples reach their k-th soon; only the others go on along the list.
    lacking = np.arange(len(labeled_rows))
    for length in (neighbors.shape[1] // 4, neighbors.shape[1]):
        if length and lacking.size:
            counts[lacking] = _count_nearer(
                neighbors[:, :length], labels, labeled_rows[lacking], ranks[lacking]
            )
            lacking = lacking[counts[lacking] == 0]
    if lacking.size:
        points, classes = x[labeled_rows], labels[labeled_rows]
        radius = np.empty(len(lacking))
        for code in np.unique(classes[lacking]):
            lacking_rows = np.flatnonzero(classes[lacking] == code)
            rows = lacking[lacking_rows]
            # The sample itself is the first.
            radius[lacking_rows] = nearest_of(
                points[classes == code], points[rows], int(ranks[rows[0]]) + 1
            )
        counts[lacking] = _counts(points, points[lacking], np.nextafter(radius, 0))
    return _ross_value(ranks, sizes, counts)


def _count_nearer(
    neighbors: np.ndarray, labels: np.ndarray, rows: np.ndarray, ranks: np.ndarray
) -> np.ndarray:
    """Count the samples nearer than the one of a rank in the own class, itself among them.

    (rows,) int, 0 where that one is not in the list.
    """
    result = np.zeros(len(rows), int)
    all_labelled = bool((labels >= 0).all())
    step = max(1, _ELEMENTS // neighbors.shape[1])
    for start in range(0, len(rows), step):
        block = slice(start, start + step)
        classes = labels[neighbors[rows[block]]]
        counted = np.cumsum(classes == labels[rows[block], None], axis=1, dtype=np.int32)
        reached = counted >= ranks[block, None]
        end = reached.argmax(axis=1)
        counts = end + 1
        if not all_labelled:
            cumulative = np.cumsum(classes >= 0, axis=1, dtype=np.int32)
            counts = cumulative[np.arange(len(end)), end]
        result[block] = np.where(reached[:, -1], counts, 0)
    return result


_SCIPY_DIMENSIONS = 2
"""Up to which SciPy's trees find neighbors as quickly as those of scikit-learn, whose import takes
a second."""
_COMPARED_DIMENSIONS = 24
"""From which it is quicker to compare all samples than to search a tree: little for 2,000 samples
at 24, four times for 50,000 at 50."""
COMPARED_ELEMENTS, _ROWS, _MOST_ELEMENTS = 1 << 18, 64, 1 << 23
"""Of a block of distances, and the fewest rows of it, which may make it larger up to the last."""
_LOOKED_AT = 16
"""One point of so many is looked at to find about how far the nearest ones are."""


def nearest(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance (n,) to the k-th neighbor, and the indices (n, k) of all k by distance.

    A sample is no neighbor of its own; k is under n.
    """
    distances, neighbors = _query(x, x, k + 1)
    return distances[:, -1], neighbors[:, 1:]


def nearest_of(points: np.ndarray, x: np.ndarray, k: int) -> np.ndarray:
    """Return the distance (n,) of each row of x (n, d) to the k-th nearest of the points (m, d)."""
    return _query(points, x, k)[0][:, -1]


def _query(points: np.ndarray, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and indices (n, k) of the points (m, d) nearest to each row of x (n, d)."""
    if x.shape[1] >= _COMPARED_DIMENSIONS:
        return _query_compared(points, x, k)
    if x.shape[1] > _SCIPY_DIMENSIONS:
        return _tree(points).query(x, k)
    from scipy.spatial import KDTree

    distances, indices = KDTree(points).query(x, k, p=np.inf)
    return np.reshape(distances, (len(x), k)), np.reshape(indices, (len(x), k))


def count_within(x: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Count the samples (n,) at most `radius` (n,) from each, itself among them.

    To count those that are nearer than r, give the float before r.
    """
    return _count_on_line(x[:, 0], radius) if x.shape[1] == 1 else _counts(x, x, radius)


def _counts(points: np.ndarray, x: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Count the points (m, d) at most `radius` (n,) from each row of x (n, d)."""
    if x.shape[1] < _COMPARED_DIMENSIONS:
        return _tree(points).query_radius(x, radius, count_only=True)
    blocks = _compared(points, x)
    counts = [np.count_nonzero(block <= radius[rows, None], axis=1) for rows, block in blocks]
    return np.concatenate(counts)


def _query_compared(points: np.ndarray, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Do `_query` by all distances; the k nearest of some points leave few of the others."""
    step = max(1, min(_LOOKED_AT, len(points) // k))
    distances, indices = np.empty((len(x), k)), np.empty((len(x), k), np.intp)
    for rows, block in _compared(points, x):
        limit = np.partition(block[:, ::step], k - 1, axis=1)[:, k - 1 : k]
        row, column = np.nonzero(block <= limit)
        small_distances = block[row, column]
        order = np.lexsort((small_distances, row))
        nearest_of_row = np.searchsorted(row, np.arange(len(block)))[:, None] + np.arange(k)
        selected = order[nearest_of_row]
        distances[rows], indices[rows] = small_distances[selected], column[selected]
    return distances, indices


def _compared(points: np.ndarray, x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows of x (n, d), and their Chebyshev distances to all points (m, d)."""
    from scipy.spatial.distance import cdist

    elements = max(COMPARED_ELEMENTS, min(_ROWS * len(points), _MOST_ELEMENTS))
    step = max(1, elements // len(points))
    count = max(1, COMPARED_ELEMENTS // (8 * points.shape[1]))  # points that stay in the cache
    parts = [points[start : start + count] for start in range(0, len(points), count)]
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        yield rows, np.hstack([cdist(x[rows], part, "chebyshev") for part in parts])


def _tree(points: np.ndarray) -> KDTree:
    """Return the tree of Chebyshev distances, which are exact."""
    from sklearn.neighbors import KDTree

    leaf = 24 if points.shape[1] < 10 else 40  # measured from 1,000 to 3,000 samples
    return KDTree(points, leaf, metric="chebyshev")


def _count_on_line(x: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Do `count_within` on a line. x + radius is rounded: the ends are looked at once more."""
    ordered = np.concatenate([[-np.inf], np.sort(x), [np.inf]])
    high = np.searchsorted(ordered, x + radius, side="right") - 1
    high += ordered[np.minimum(high + 1, len(x) + 1)] - x <= radius
    high -= ordered[high] - x > radius
    low = np.searchsorted(ordered, x - radius, side="left")
    low -= x - ordered[np.maximum(low - 1, 0)] <= radius
    low += x - ordered[low] > radius
    return high - low + 1


MOST = 3
"""Directions that are kept by default."""
_RIDGE = 1e-3
"""Added to a covariance, as a share of its mean variance."""


def crossfitted(
    x: np.ndarray, y: np.ndarray, max_components: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield both halves of the samples, along directions that are fitted to the other half.

    Directions of x (n, d) are Fisher's for a label y (n,) int, canonical ones for numbers y (n,
    dy), which are projected, too. Since a half has no part in its own directions, they show nothing
    that is not there. The halves do not depend on y, nor on the order of samples.

    Yields:
        The samples of a half (k,) int, its x (k, r), and its y: labels, or numbers (k, r).
    """
    turns = np.argsort(np.lexsort(x.T), kind="stable") % 2
    for half in range(2):
        rows, fitted = np.flatnonzero(turns == half), np.flatnonzero(turns != half)
        if y.ndim == 1:
            axes = fisher_directions(x[fitted], y[fitted], max_components)
            yield rows, x[rows] @ axes, y[rows]
        else:
            left, right = canonical_directions(x[fitted], y[fitted], max_components)
            yield rows, x[rows] @ left, y[rows] @ right


def fisher_directions(x: np.ndarray, codes: np.ndarray, max_components: int) -> np.ndarray:
    """Return axes (d, r) along which class means differ most against the spread within classes.

    r is at most one less than there are classes (R. A. Fisher, Annals of Eugenics 7 (1936) 179).
    """
    from scipy.linalg import eigh

    labels = np.unique(codes, return_inverse=True)[1]
    counts = np.bincount(labels)
    means = np.stack([x[labels == label].mean(axis=0) for label in range(len(counts))])
    between = np.cov(means.T, fweights=counts, bias=True).reshape(x.shape[1], -1)
    axes = eigh(between, _covariance(x - means[labels]))[1]
    count = max(1, min(max_components, len(counts) - 1, x.shape[1]))
    return axes[:, ::-1][:, :count]


def canonical_directions(
    x: np.ndarray, y: np.ndarray, max_components: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return axes (dx, r) and (dy, r) along which x and y correlate most.

    (H. Hotelling, Biometrika 28 (1936) 321.)
    """
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    of_x, of_y = (np.linalg.inv(np.linalg.cholesky(_covariance(side))) for side in (x, y))
    left, _, right = np.linalg.svd(of_x @ (x.T @ y / len(x)) @ of_y.T, full_matrices=False)
    return of_x.T @ left[:, :max_components], of_y.T @ right[:max_components].T


def _covariance(centered: np.ndarray) -> np.ndarray:
    """Return the covariance (d, d) of centered samples with a ridge, so that it has an inverse."""
    squares = centered.T @ centered / len(centered)
    mean = float(np.trace(squares)) / len(squares)
    return squares + (_RIDGE * mean or 1.0) * np.eye(len(squares))
