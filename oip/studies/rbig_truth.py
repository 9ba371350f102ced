"""Multivariate t distributions: samples, and what they hold of information in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Student:
    """A multivariate t distribution about 0.

    References:
        J. L. Guerrero-Cusumano: Measures of dependence for the multivariate t distribution with
        applications to the stock market. Communications in Statistics, Theory and Methods 27
        (1998) 2985.
    """

    freedom: float
    """Degrees of freedom, nu."""
    scatter: np.ndarray
    """(d, d), positive definite."""

    def samples(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, d): Gaussian rows with covariance S, each over sqrt(chi-square / nu)."""
        d = len(self.scatter)
        rows = rng.standard_normal((n, d)) @ np.linalg.cholesky(self.scatter).T
        return rows / np.sqrt(rng.chisquare(self.freedom, (n, 1)) / self.freedom)

    @property
    def total_correlation(self) -> float:
        """T = 1/2 ln(prod S_ii / |S|) + d h(nu, 1) - h(nu, d), in nats."""
        d = len(self.scatter)
        linear = 0.5 * (np.log(np.diagonal(self.scatter)).sum() - _log_determinant(self.scatter))
        return float(linear + d * entropy(self.freedom, 1) - entropy(self.freedom, d))

    def information(self, first: int) -> float:
        """I of the first coordinates and the others, in nats.

        1/2 ln(|S_x| |S_y| / |S|) + h(nu, d_x) + h(nu, d_y) - h(nu, d_x + d_y).

        Args:
            first: d_x, how many coordinates x has.
        """
        d, s = len(self.scatter), self.scatter
        blocks = _log_determinant(s[:first, :first]) + _log_determinant(s[first:, first:])
        linear = 0.5 * (blocks - _log_determinant(s))
        alone = entropy(self.freedom, first) + entropy(self.freedom, d - first)
        return float(linear + alone - entropy(self.freedom, d))


def entropy(freedom: float, d: int) -> float:
    """h(nu, d): differential entropy of a d-dimensional t with unit scatter, in nats.

    ln Gamma(nu/2) - ln Gamma((nu+d)/2) + (d/2) ln(nu pi)
    + ((nu+d)/2) [psi((nu+d)/2) - psi(nu/2)].
    """
    from scipy.special import digamma, gammaln

    half, both = freedom / 2, (freedom + d) / 2
    return float(
        gammaln(half)
        - gammaln(both)
        + d / 2 * math.log(freedom * math.pi)
        + both * (digamma(both) - digamma(half))
    )


def scatter(d: int, rng: np.random.Generator) -> np.ndarray:
    """(d, d): 10 I + A A^T with A uniform in (0, 1), scaled to a unit diagonal."""
    a = rng.random((d, d))
    s = 10 * np.eye(d) + a @ a.T
    root = np.sqrt(np.diagonal(s))
    return s / root[:, None] / root[None, :]


def _log_determinant(matrix: np.ndarray) -> float:
    return float(np.linalg.slogdet(matrix)[1])
