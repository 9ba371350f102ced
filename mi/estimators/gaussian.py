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
from mi.estimators.map_samples import MapSamples
from mi.estimators.resampling import Prepared, over_prepared
from mi.estimators.results import MapEstimates
from mi.estimators.settings import check_whole
from oip.core import seeds
from oip.core.errors import DataError, expected

_DIGITS = 1e-12
"""Share of a coordinate's variance under which what others leave of it is rounding."""


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

    With a label I(X;Y) = H(X) - sum_y p_y H(X|y), each entropy as of a Gaussian. Since H(X) is that
    of a mixture it is taken too large: the value exceeds I(X;Y) where classes are Gaussian, may
    exceed H(Y), and says nothing of classes that differ otherwise. Wide responses are reduced to
    their leading principal components: `components`, fewer where a class has few samples. A class
    of too few samples for that counts as the others do: it tells nothing.

    Exact for Gaussian samples, a lower bound of I(X;Y) for Gaussian X and Y that are joined in
    another way; else an index of linear dependence. Needs more samples than coordinates.

    Coordinates that others determine leave 1e-12 of their variance by convention, so that identical
    samples have 13.8 nats a coordinate, the ceiling. Constant coordinates know nothing.

    References:
        N. A. Ahmed, D. V. Gokhale: Entropy expressions and their estimators for multivariate
        distributions. IEEE Transactions on Information Theory 35 (1989) 688.
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
            scores = _varied(scores.astype(np.float64))

            def information(labels: np.ndarray, places: np.ndarray | None) -> float:
                return _of_label(scores if places is None else scores[places], labels)

            return Prepared(information) if scores.shape[1] else None

        return over_prepared(prepare, samples)

    def information(self, x: np.ndarray, y: np.ndarray, seed: int) -> Value:
        """1/2 ln(|S_x| |S_y| / |S|)."""
        x, y = _varied(x), _varied(y)
        ceiling = -0.5 * math.log(_DIGITS) * min(x.shape[1], y.shape[1])
        if not x.shape[1] or not y.shape[1]:
            return Value(0.0, ceiling=ceiling)
        return Value(_sum((1, [x]), (1, [y]), (-1, [x, y])), ceiling=ceiling)

    def conditional_information(
        self, x: np.ndarray, y: np.ndarray, given: np.ndarray, seed: int
    ) -> Value:
        """1/2 ln(|S_xz| |S_yz| / |S_xyz| |S_z|)."""
        x, y, z = _varied(x), _varied(y), _varied(given)
        ceiling = -0.5 * math.log(_DIGITS) * min(x.shape[1], y.shape[1])
        if not x.shape[1] or not y.shape[1]:
            return Value(0.0, ceiling=ceiling)
        return Value(_sum((1, [x, z]), (1, [y, z]), (-1, [x, y, z]), (-1, [z])), ceiling=ceiling)

    def entropy(self, x: np.ndarray, seed: int) -> Value:
        """1/2 ln det(2 pi e S).

        Raises:
            DataError: a constant coordinate, whose entropy is minus infinity; too few samples.
        """
        if _varied(x).shape[1] < x.shape[1]:
            raise DataError(expected("gaussian: x", "coordinates that vary", "a constant one"))
        return Value(0.5 * x.shape[1] * (math.log(2 * math.pi) + 1) + 0.5 * log_determinant(x))

    def total_correlation(self, x: np.ndarray, seed: int) -> Value:
        """1/2 ln(prod S_ii / |S|)."""
        x = _varied(x)
        if x.shape[1] < 2:
            return Value(0.0)
        single: list[tuple[int, list[np.ndarray]]] = [(1, [column[:, None]]) for column in x.T]
        return Value(_sum(*single, (-1, [x])), ceiling=-0.5 * math.log(_DIGITS) * (x.shape[1] - 1))

    def divergence(self, x: np.ndarray, y: np.ndarray, seed: int) -> Value:
        """KL of the Gaussian of x from that of y.

        1/2 [tr(S_y^-1 S_x) + (m_y - m_x)' S_y^-1 (m_y - m_x) - d + ln|S_y| - ln|S_x|].
        """
        for name, side in (("x", x), ("y", y)):
            if _varied(side).shape[1] < side.shape[1]:
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


def _of_label(x: np.ndarray, codes: np.ndarray) -> float:
    total = log_determinant(x)
    known = 0.0
    for code, count in enumerate(np.bincount(codes)):
        if count >= x.shape[1] + 2:
            inside = x[codes == code]
            own = log_determinant(inside) if _varied(inside).shape[1] == x.shape[1] else -np.inf
            known += count / len(x) * (total - max(own, total + math.log(_DIGITS) * x.shape[1]))
    return 0.5 * known


def _sum(*terms: tuple[int, Sequence[np.ndarray]]) -> float:
    """Half the sum of signed log-determinants of blocks that are joined."""
    return 0.5 * sum(
        sign * log_determinant(np.concatenate(blocks, axis=1))
        for sign, blocks in terms
        if sum(block.shape[1] for block in blocks)
    )


def log_determinant(x: np.ndarray) -> float:
    """ln|S| of samples x (n, d), none of whose coordinates is constant; unbiased for Gaussians.

    Raises:
        DataError: not more samples than coordinates + 1.
    """
    from scipy.special import digamma

    n, d = x.shape
    if n < d + 2:
        hint = "Use fewer columns, such as principal components."
        wanted = f"at least {d + 2} samples for {d} columns"
        raise DataError(expected("gaussian: samples", wanted, n, hint))
    centred = x - x.mean(axis=0)
    spread = np.sqrt((centred * centred).sum(axis=0))
    centred /= spread
    # The diagonal of R is what a coordinate has beside those before it.
    left = np.abs(np.diagonal(np.linalg.qr(centred, mode="r")))
    logs = 2 * np.log(np.maximum(left, math.sqrt(_DIGITS))) + 2 * np.log(spread)
    bias = digamma((n - np.arange(1, d + 1)) / 2) + math.log(2)
    return float((logs - bias).sum())


def _varied(x: np.ndarray) -> np.ndarray:
    """The columns of x that are not constant."""
    return x[:, np.ptp(x, axis=0) > 8 * np.finfo(x.dtype).eps * np.abs(x).max(axis=0)]
