"""Gaussian estimates: what covariances tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from mi.estimators.components import principal
from mi.estimators.gaussian_classes import label_information
from mi.estimators.gaussian_determinant import DIGITS, log_determinant, varied
from mi.estimators.map_samples import MapSamples
from mi.estimators.resampling import Prepared, over_prepared
from mi.estimators.results import MapEstimates
from mi.estimators.settings import check_whole
from oip.core import seeds
from oip.core.errors import DataError, expected


@dataclass(frozen=True)
class Gaussian(
    LabelEstimator,
    PairEstimator,
    ConditionalEstimator,
    EntropyEstimator,
    TotalCorrelationEstimator,
    DivergenceEstimator,
):
    """Quantities of the Gaussian that has the samples' covariance S.

    H = 1/2 ln det(2 pi e S); I(X;Y) = 1/2 ln(|S_x| |S_y| / |S|); T = 1/2 ln(prod S_ii / |S|);
    I(X;Y|Z) = 1/2 ln(|S_xz| |S_yz| / |S_xyz| |S_z|); KL of two Gaussians. Log-determinants are
    unbiased for Gaussian samples: E ln|S| = ln|Sigma| + sum_i psi((n - i) / 2) - d ln((n - 1) / 2).

    With a label I(X;Y) = H(X) - sum_y p_y H(X|y) = sum_y p_y KL(N_y||N), each entropy as of a
    Gaussian, and each class's KL held to the -ln p_y that no mixture exceeds. Since H(X) is that of
    a mixture it is taken too large: the value exceeds I(X;Y) where classes are Gaussian, and says
    nothing of classes that differ otherwise. A class's covariance is drawn to that within all
    classes where tails are too heavy to tell it. Wide responses are reduced to their leading
    principal components: `components`, fewer where a class has few samples. A class of too few
    samples for that counts as the others do: it tells nothing.

    Exact for Gaussian samples, a lower bound of I(X;Y) for Gaussian X and Y that are joined in
    another way; else an index of linear dependence. Needs more samples than coordinates.

    Coordinates that others determine leave 1e-12 of their variance by convention, so that identical
    samples have 13.8 nats a coordinate, the ceiling. Constant coordinates know nothing.

    Use it where data are near Gaussian, as a quick index of linear dependence, and as the reference
    for other estimators. Not for what depends without being correlated, nor for a bound with
    labels.

    Units:
        Nats inside, bits where it is shown.

    References:
        N. A. Ahmed, D. V. Gokhale: Entropy expressions and their estimators for multivariate
        distributions. IEEE Transactions on Information Theory 35 (1989) 688.

    Example:
        >>> import numpy as np, mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 2000))
        >>> round(mi.mutual_information(a, a + b, "gaussian").nats, 1)  # ln(2) / 2
        0.3
    """

    name: ClassVar[str] = "gaussian"
    name_shown: ClassVar[str] = "mutual information (Gaussian)"

    components: int = 8
    """Most principal components of responses, for information about a label."""

    def __post_init__(self) -> None:
        check_whole("gaussian: components", self.components)

    def _over_maps(self, samples: MapSamples) -> MapEstimates:
        """See `LabelEstimator._over_maps`."""

        room = int(np.clip(np.bincount(samples.codes).min() // 2 - 2, 1, self.components))

        def prepare(x: np.ndarray) -> Prepared | None:
            scores = principal(x, room, seeds.generator(samples.seed, "gaussian projection"))
            scores = varied(scores.astype(np.float64))

            def information(labels: np.ndarray, places: np.ndarray | None) -> float:
                return label_information(scores if places is None else scores[places], labels)

            return Prepared(information) if scores.shape[1] else None

        return over_prepared(prepare, samples)

    def information(self, x: np.ndarray, y: np.ndarray, seed: int) -> Value:
        """1/2 ln(|S_x| |S_y| / |S|)."""
        x, y = varied(x), varied(y)
        ceiling = -0.5 * math.log(DIGITS) * min(x.shape[1], y.shape[1])
        if not x.shape[1] or not y.shape[1]:
            return Value(0.0, ceiling=ceiling)
        return Value(_sum((1, [x]), (1, [y]), (-1, [x, y])), ceiling=ceiling)

    def conditional_information(
        self, x: np.ndarray, y: np.ndarray, given: np.ndarray, seed: int
    ) -> Value:
        """1/2 ln(|S_xz| |S_yz| / |S_xyz| |S_z|)."""
        x, y, z = varied(x), varied(y), varied(given)
        ceiling = -0.5 * math.log(DIGITS) * min(x.shape[1], y.shape[1])
        if not x.shape[1] or not y.shape[1]:
            return Value(0.0, ceiling=ceiling)
        return Value(_sum((1, [x, z]), (1, [y, z]), (-1, [x, y, z]), (-1, [z])), ceiling=ceiling)

    def entropy(self, x: np.ndarray, seed: int) -> Value:
        """1/2 ln det(2 pi e S).

        Raises:
            DataError: a constant coordinate, whose entropy is minus infinity; too few samples.
        """
        if varied(x).shape[1] < x.shape[1]:
            raise DataError(expected("gaussian: x", "coordinates that vary", "a constant one"))
        return Value(0.5 * x.shape[1] * (math.log(2 * math.pi) + 1) + 0.5 * log_determinant(x))

    def total_correlation(self, x: np.ndarray, seed: int) -> Value:
        """1/2 ln(prod S_ii / |S|)."""
        x = varied(x)
        if x.shape[1] < 2:
            return Value(0.0)
        single: list[tuple[int, list[np.ndarray]]] = [(1, [column[:, None]]) for column in x.T]
        return Value(_sum(*single, (-1, [x])), ceiling=-0.5 * math.log(DIGITS) * (x.shape[1] - 1))

    def divergence(self, x: np.ndarray, y: np.ndarray, seed: int) -> Value:
        """KL of the Gaussian of x from that of y.

        1/2 [tr(S_y^-1 S_x) + (m_y - m_x)' S_y^-1 (m_y - m_x) - d + ln|S_y| - ln|S_x|].
        """
        for name, side in (("x", x), ("y", y)):
            if varied(side).shape[1] < side.shape[1]:
                raise DataError(
                    expected(f"gaussian: {name}", "coordinates that vary", "a constant one")
                )
        d = x.shape[1]
        logs = log_determinant(y) - log_determinant(x)
        first, second = np.atleast_2d(np.cov(x.T)), np.atleast_2d(np.cov(y.T))
        away = y.mean(axis=0) - x.mean(axis=0)
        # E S^-1 = Sigma^-1 (m - 1) / (m - d - 2): the inverse covariance is too large.
        shrunk = max(1.0, len(y) - d - 2) / (len(y) - 1)
        solved = np.linalg.solve(second, np.concatenate([first, away[:, None]], axis=1)) * shrunk
        trace = np.trace(solved[:, :d])
        distance = away @ solved[:, d] - shrunk * np.trace(np.linalg.solve(second, first)) / len(x)
        distance -= d / len(y)
        return Value(0.5 * float(trace + distance - d + logs))


def _sum(*terms: tuple[int, Sequence[np.ndarray]]) -> float:
    """Half the sum of signed log-determinants of blocks that are joined."""
    return 0.5 * sum(
        sign * log_determinant(np.concatenate(blocks, axis=1))
        for sign, blocks in terms
        if sum(block.shape[1] for block in blocks)
    )
