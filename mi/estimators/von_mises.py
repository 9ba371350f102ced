"""Von Mises expansions: kernel densities, each sample left out of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mi.estimators.base import (
    ConditionalEstimator,
    DivergenceEstimator,
    EntropyEstimator,
    LabelEstimator,
    PairEstimator,
    TotalCorrelationEstimator,
    Value,
)
from mi.estimators.map_samples import MapSamples
from mi.estimators.resampling import Prepared, over_prepared, shuffled
from mi.estimators.results import MapEstimates
from mi.estimators.settings import check_number
from mi.estimators.threads import each
from mi.gram import median_squared_distance, squared_distances
from oip.core.errors import DataError, expected

_LEAST = math.log(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Vme(
    LabelEstimator,
    PairEstimator,
    ConditionalEstimator,
    EntropyEstimator,
    TotalCorrelationEstimator,
    DivergenceEstimator,
):
    """First-order von Mises estimates with leave-one-out kernel densities f_-i.

    - H(X) = -<ln f_-i(x_i)>: in expectation at least the entropy.
    - I(X;Y) = <ln f_-i(x_i, y_i) - ln f_-i(x_i) - ln f_-i(y_i)>; with a label
      <ln f_-i(x_i | y_i) - ln f_-i(x_i)>; T(X) and I(X;Y|Z) in the same way.
    - KL(P||Q) = <ln f_-i(x_i) - ln g(x_i)> - <f(y_j) / g(y_j)> + 1; y_j stays in its own density,
      so that the ratio is finite.

    The kernel is Gaussian. Its width in each coordinate is `bandwidth` times Silverman's,
    (4 / (d + 2) n)^(1 / (d + 4)) standard deviations, d the dimensions of all that is looked at
    together; all densities of one information share it, so that its bias mostly cancels. Responses
    about a label have one width for the map, Silverman's for at most 8 dimensions, times half the
    median distance.

    Converges as 1 / n for smooth densities of few dimensions (d < 4 for a Gaussian kernel). Not for
    many dimensions, heavy tails, or data with ties. A sample far from all others has a density of
    e^-708 at least.

    References:
        K. Kandasamy et al.: Nonparametric von Mises estimators for entropies, divergences and
        mutual informations. NIPS 2015, the leave-one-out estimator.
    """

    name: ClassVar[str] = "vme"
    name_shown: ClassVar[str] = "mutual information (von Mises expansion)"
    map_draws: ClassVar[int] = 40

    bandwidth: float = 1.0
    """The kernel's width as a multiple of Silverman's."""

    def __post_init__(self) -> None:
        check_number("vme: bandwidth", self.bandwidth)

    def _over_maps(self, samples: MapSamples) -> MapEstimates:
        """See `LabelEstimator._over_maps`; one kernel matrix a map serves all labels."""
        return over_prepared(self._prepare, samples)

    def _prepare(self, x: np.ndarray) -> Prepared | None:
        distances = squared_distances(x)
        middle = median_squared_distance(distances)
        if not middle:
            return None
        n, d = x.shape
        # For Gaussian samples the median squared distance is 2 d variances.
        width = self.bandwidth * _silverman(n, min(d, 8)) * math.sqrt(middle / (2 * min(d, 8)))
        kernel = np.exp(distances / (-2 * width**2))
        np.fill_diagonal(kernel, 0.0)

        def information(codes: np.ndarray, places: np.ndarray | None) -> float:
            part = kernel if places is None else kernel[np.ix_(places, places)]
            known, found = np.unique(codes, return_inverse=True)
            counts = np.bincount(found)
            if len(known) < 2 or counts.max() < 2:
                return 0.0
            sums = part @ np.eye(len(known))[found]
            own = sums[np.arange(len(found)), found] / np.maximum(counts[found] - 1, 1)
            everything = sums.sum(axis=1) / (len(found) - 1)
            gains = _log(own) - _log(everything)
            return float(np.where(counts[found] > 1, gains, 0.0).mean())

        return Prepared(information)

    def information(self, x: np.ndarray, y: np.ndarray, seed: int) -> Value:
        """<ln f_-i(x_i, y_i) - ln f_-i(x_i) - ln f_-i(y_i)>."""
        first, second = self._logs([x, y])
        return Value(_density(first + second) - _density(first) - _density(second))

    def information_null(
        self, x: np.ndarray, y: np.ndarray, shuffles: int, seed: int
    ) -> np.ndarray:
        """See `PairEstimator.information_null`; the two kernel matrices are made once."""
        first, second = self._logs([x, y])
        alone = _density(first) + _density(second)
        orders = shuffled(np.arange(len(x)), seed, shuffles)
        return np.array(each(lambda o: _density(first + second[np.ix_(o, o)]) - alone, orders))

    def conditional_information(
        self, x: np.ndarray, y: np.ndarray, given: np.ndarray, seed: int
    ) -> Value:
        """<ln f_-i(x_i, y_i, z_i) + ln f_-i(z_i) - ln f_-i(x_i, z_i) - ln f_-i(y_i, z_i)>."""
        a, b, c = self._logs([x, y, given])
        return Value(_density(a + b + c) + _density(c) - _density(a + c) - _density(b + c))

    def total_correlation(self, x: np.ndarray, seed: int) -> Value:
        """<ln f_-i(x_i) - sum_k ln f_-i(x_ik)>."""
        parts = self._logs([column[:, None] for column in x.T])
        return Value(_density(np.sum(parts, axis=0)) - sum(_density(part) for part in parts))

    def entropy(self, x: np.ndarray, seed: int) -> Value:
        """-<ln f_-i(x_i)>.

        Raises:
            DataError: a constant coordinate, whose entropy is minus infinity.
        """
        spread = x.std(axis=0)
        if not np.ptp(x, axis=0).all():
            raise DataError(expected("vme: x", "coordinates that vary", "a constant one"))
        (logs,) = self._logs([x])
        return Value(self._volume(*x.shape) + float(np.log(spread).sum()) - _density(logs))

    def divergence(self, x: np.ndarray, y: np.ndarray, seed: int) -> Value:
        """<ln f_-i(x_i) - ln g(x_i)> - <f(y_j) / g(y_j)> + 1, f of x and g of y."""
        both = np.concatenate([x, y])
        spread = both.std(axis=0)
        if not np.ptp(both, axis=0).all():
            raise DataError(expected("vme: x and y", "coordinates that vary", "a constant one"))
        n, d = x.shape
        width = self.bandwidth * _silverman(min(n, len(y)), d)
        logs = squared_distances(both / spread) / (-2 * width**2)
        ratio = np.exp(_mean(logs[n:, :n], n) - _mean(logs[n:, n:], len(y)))
        np.fill_diagonal(logs, -np.inf)
        own, other = _mean(logs[:n, :n], n - 1), _mean(logs[:n, n:], len(y))
        return Value(float((own - other).mean() - ratio.mean() + 1.0))

    def _logs(self, parts: list[np.ndarray]) -> list[np.ndarray]:
        """(n, n) logarithms of each part's kernel, without its norm; -inf on the diagonal.

        The norms cancel in informations.
        """
        n, d = len(parts[0]), sum(part.shape[1] for part in parts)
        width = self.bandwidth * _silverman(n, d)
        result = []
        for part in parts:
            spread = part.std(axis=0)
            logs = squared_distances(part / np.where(spread > 0, spread, 1.0)) / (-2 * width**2)
            np.fill_diagonal(logs, -np.inf)
            result.append(logs)
        return result

    def _volume(self, n: int, d: int) -> float:
        """Logarithm of the kernel's norm in standardised coordinates."""
        return d * math.log(self.bandwidth * _silverman(n, d) * math.sqrt(2 * math.pi))


def _silverman(n: int, d: int) -> float:
    return (4.0 / ((d + 2) * n)) ** (1.0 / (d + 4))


def _density(logs: np.ndarray) -> float:
    """<ln f_-i(x_i)> without the kernel's norm, from logarithms of the kernel (n, n)."""
    return float(_mean(logs, len(logs) - 1).mean())


def _mean(logs: np.ndarray, count: int) -> np.ndarray:
    """(n,): logarithm of the sum of each row's exponentials, divided by `count`."""
    return _log(np.exp(logs).sum(axis=1)) - math.log(count)


def _log(values: np.ndarray) -> np.ndarray:
    """Logarithms, e^-708 at the least."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(values), _LEAST)
