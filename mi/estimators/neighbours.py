"""Nearest-neighbour estimates: densities from the distances to the k-th neighbour."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mi.estimators import balls
from mi.estimators.base import (
    ConditionalEstimator,
    DivergenceEstimator,
    EntropyEstimator,
    LabelEstimator,
    PairEstimator,
    TotalCorrelationEstimator,
    Value,
)
from mi.estimators.components import principal
from mi.estimators.map_samples import MapSamples
from mi.estimators.resampling import Prepared, over_prepared
from mi.estimators.results import MapEstimates
from mi.estimators.ross import prepared
from mi.estimators.settings import check_flag, check_whole
from mi.samples import TIED, tied_share
from oip.core import seeds
from oip.core.errors import DataError, SettingsError, expected

MOST_DIMENSIONS = 20
"""Above it neighbours are all equally far, and estimates far too small."""
_JITTER = 1e-10
_COMPONENTS = 8
_ABOVE = "Above H(Y), which no information about Y exceeds: by the error of the estimate."


@dataclass(frozen=True)
class Ksg(
    LabelEstimator,
    PairEstimator,
    ConditionalEstimator,
    EntropyEstimator,
    TotalCorrelationEstimator,
    DivergenceEstimator,
):
    """Kozachenko and Leonenko, Kraskov, Stoegbauer and Grassberger, and Ross.

    With the Chebyshev distance r_i of sample i to its k-th neighbour (in the joint space), psi the
    digamma function and <> the mean over samples:

    - H(X) = psi(n) - psi(k) + d <ln 2 r_i>.
    - I(X;Y), algorithm 1: psi(k) + psi(n) - <psi(n_x + 1) + psi(n_y + 1)>, n_x the samples nearer
      than r_i in x. Algorithm 2: psi(k) - 1/k + psi(n) - <psi(n_x) + psi(n_y)>, n_x those within
      the k neighbours' largest distance in x.
    - T(X): the same with a term a coordinate and (d - 1) psi(n).
    - I(X;Y|Z) = psi(k) + <psi(n_z + 1) - psi(n_xz + 1) - psi(n_yz + 1)>.
    - Label: psi(n) + <psi(k_i)> - <psi(N_y)> - <psi(m_i)>, k_i = min(k, N_y - 1) the neighbours
      looked for among the N_y samples of i's class, m_i the samples (i itself among them) nearer
      than the last of these. Classes of one sample are left out.
    - KL(P||Q) = d <ln s_i / r_i> + ln m / (n - 1), s_i the distance to the k-th of m samples of Q.

    Coordinates are standardised first unless `standardise` is False (entropies are given in the
    units of x all the same); coordinates with equal values are moved by a seeded 1e-10. Values are
    signed, and shown so unless `clip`. Consistent for continuous X of few dimensions with a smooth
    density, nearly unbiased for independent ones. Above some 20 dimensions far too small (14.4 nats
    at d = 100 come out as .4), and of no meaning where many values are equal, as after a ReLU: both
    are said in a notice, as is a value above H(Y), which error alone can make. Responses with more
    than 20 nodes are reduced to 8 principal components for information about a label, which can
    only lose some; with `components` they are reduced to as many, and so are both sides of I(X;Y).
    Of many maps at once the signed values are `raw`, and `mi` is clipped.

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
        >>> import numpy as np, mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 2000))
        >>> round(mi.mutual_information(a, a + b, "ksg", k=5, null=0).nats, 1)  # ln(2) / 2
        0.3
    """

    name: ClassVar[str] = "ksg"
    name_shown: ClassVar[str] = "mutual information (nearest neighbours)"
    map_draws: ClassVar[int] = 100

    k: int = 3
    """Neighbours."""
    algorithm: int = 1
    """1 or 2 of Kraskov et al., for numbers and numbers."""
    standardise: bool = True
    """Divide every coordinate by its standard deviation."""
    clip: bool = False
    """Show information under 0 as 0."""
    components: int | None = None
    """Most principal components of responses about a label, and of both sides of I(X;Y). If None,
    8 of responses of more than 20 nodes; I(X;Y) is then of all coordinates."""

    def __post_init__(self) -> None:
        check_whole("ksg: k", self.k)
        if self.algorithm not in (1, 2):
            raise SettingsError(expected("ksg: algorithm", "1 or 2", self.algorithm))
        check_flag("ksg: standardise", self.standardise)
        check_flag("ksg: clip", self.clip)
        if self.components is not None:
            check_whole("ksg: components", self.components)

    @property
    def fewest(self) -> int:
        """k neighbours and the sample itself."""
        return self.k + 1

    @property
    def clips(self) -> bool:
        """Signed values are shown unless clipping was asked for."""
        return self.clip

    def _over_maps(self, samples: MapSamples) -> MapEstimates:
        """See `LabelEstimator._over_maps`; one list of neighbours a map serves all labels."""
        self._check_k(len(samples.codes))
        most = int(np.bincount(samples.codes).max())

        def prepare(x: np.ndarray) -> Prepared | None:
            if not np.ptp(x, axis=0).any():
                return None
            told = _ties("x", x)
            wide = x.shape[1] > MOST_DIMENSIONS
            room = self.components or (_COMPONENTS if wide else x.shape[1])
            ready, reduced = self._reduced("x", np.asarray(x, np.float64), room, samples.seed)
            return Prepared(prepared(ready, self.k, len(samples.codes) / most), (*told, *reduced))

        found = over_prepared(prepare, samples)
        if self.clip:
            return found
        above = found.raw > found.ceiling
        told = [
            (*text, _ABOVE) if high else text
            for text, high in zip(found.notices, above, strict=True)
        ]
        return replace(found, notices=tuple(told))

    def _reduced(
        self, name: str, x: np.ndarray, room: int, seed: int
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """x (n, d) without ties and ready, of `room` principal components if d is more."""
        if x.shape[1] <= room:
            return self._ready(x, seed), ()
        scores = principal(x, room, seeds.generator(seed, "ksg projection")).astype(np.float64)
        told = f"{name} has {x.shape[1]} dimensions: {room} principal components were used."
        return self._jittered(scores / (scores.std() or 1.0), seed), (told,)

    def information(self, x: np.ndarray, y: np.ndarray, seed: int) -> Value:
        """Algorithm 1 or 2 of Kraskov et al."""
        told = _ties("x", x) + _ties("y", y)
        parts = []
        for place, (name, side) in enumerate((("x", x), ("y", y))):
            room = self.components or side.shape[1]
            ready, reduced = self._reduced(name, side, room, seed + place)
            parts.append(ready)
            told += reduced
        return Value(self._joint(parts), notices=told + _wide(*parts))

    def total_correlation(self, x: np.ndarray, seed: int) -> Value:
        """Algorithm 1 or 2 of Kraskov et al. for as many variables as x has columns."""
        ready = self._ready(x, seed)
        return Value(
            self._joint([column[:, None] for column in ready.T]), notices=self._notices(x=x)
        )

    def conditional_information(
        self, x: np.ndarray, y: np.ndarray, given: np.ndarray, seed: int
    ) -> Value:
        """Frenzel and Pompe."""
        from scipy.special import digamma

        told = self._notices(x=x, y=y, given=given)
        self._check_k(len(x))
        x, y, z = (self._ready(side, seed + i) for i, side in enumerate((x, y, given)))
        radius, _ = balls.nearest(np.concatenate([x, y, z], axis=1), self.k)
        near = np.nextafter(radius, 0)
        counts = [
            digamma(balls.within(side, near))
            for side in (z, np.concatenate([x, z], axis=1), np.concatenate([y, z], axis=1))
        ]
        nats = digamma(self.k) + (counts[0] - counts[1] - counts[2]).mean()
        return Value(float(nats), notices=told)

    def entropy(self, x: np.ndarray, seed: int) -> Value:
        """Kozachenko and Leonenko, in the units of x.

        Raises:
            DataError: a constant coordinate, whose entropy is minus infinity.
        """
        from scipy.special import digamma

        n, d = x.shape
        self._check_k(n)
        if not np.ptp(x, axis=0).all():
            raise DataError(expected("ksg: x", "coordinates that vary", "a constant one"))
        scale = x.std(axis=0) if self.standardise else np.ones(d)
        radius, _ = balls.nearest(self._ready(x, seed), self.k)
        nats = digamma(n) - digamma(self.k) + d * np.log(2 * radius).mean() + np.log(scale).sum()
        return Value(float(nats), notices=self._notices(x=x))

    def divergence(self, x: np.ndarray, y: np.ndarray, seed: int) -> Value:
        """Wang, Kulkarni and Verdu, with one k for both."""
        self._check_k(min(len(x), len(y)))
        told = self._notices(x=x, y=y)
        both = self._ready(np.concatenate([x, y]), seed)
        first, second = both[: len(x)], both[len(x) :]
        own, _ = balls.nearest(first, self.k)
        other = balls.nearest_of(second, first, self.k)
        nats = x.shape[1] * np.log(other / own).mean() + math.log(len(y) / (len(x) - 1))
        return Value(float(nats), notices=told)

    def _joint(self, parts: list[np.ndarray]) -> float:
        """The information of variables (n, d_i) that are standardised and without ties."""
        from scipy.special import digamma

        n, variables = len(parts[0]), len(parts)
        self._check_k(n)
        radius, places = balls.nearest(np.concatenate(parts, axis=1), self.k)
        if self.algorithm == 1:
            near = np.nextafter(radius, 0)
            counts = [digamma(balls.within(part, near)).mean() for part in parts]
            return float(digamma(self.k) + (variables - 1) * digamma(n) - sum(counts))
        counts = []
        for part in parts:
            reach = np.abs(part[places] - part[:, None]).max(axis=(1, 2))
            # The sample itself is not counted.
            counts.append(digamma(balls.within(part, np.nextafter(reach, np.inf)) - 1).mean())
        shift = digamma(self.k) - (variables - 1) / self.k
        return float(shift + (variables - 1) * digamma(n) - sum(counts))

    def _check_k(self, n: int) -> None:
        if self.k >= n:
            raise SettingsError(expected("ksg: k", f"under the number of samples, {n}", self.k))

    def _ready(self, x: np.ndarray, seed: int) -> np.ndarray:
        """Standardised unless told otherwise, and without ties."""
        if self.standardise:
            spread = x.std(axis=0)
            x = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        return self._jittered(x, seed)

    def _jittered(self, x: np.ndarray, seed: int) -> np.ndarray:
        ordered = np.sort(x, axis=0)
        tied = (ordered[1:] == ordered[:-1]).any(axis=0)
        if not tied.any():
            return x
        size = _JITTER * np.maximum(np.abs(x).mean(axis=0), 1.0 if self.standardise else 0.0)
        return x + seeds.generator(seed, "ksg ties").normal(size=x.shape) * np.where(tied, size, 0)

    def _notices(self, **sides: np.ndarray) -> tuple[str, ...]:
        told = tuple(text for name, side in sides.items() for text in _ties(name, side))
        return told + _wide(*sides.values())


def _wide(*sides: np.ndarray) -> tuple[str, ...]:
    """A notice where neighbours are sought in too many dimensions."""
    d = sum(side.shape[1] for side in sides)
    if d <= MOST_DIMENSIONS:
        return ()
    return (f"{d} dimensions: above {MOST_DIMENSIONS} neighbour estimates are too small.",)


def _ties(name: str, x: np.ndarray) -> tuple[str, ...]:
    """A notice where many samples share a value of a coordinate."""
    share = tied_share(x)
    if share <= TIED:
        return ()
    return (f"{name}: {share:.0%} of the values of a coordinate are ties, broken at random.",)
