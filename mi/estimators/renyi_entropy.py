"""Entropy of a normalised Gram matrix, in nats.

A is positive semidefinite with trace 1; S_alpha(A) = ln(sum_i lambda_i^alpha) / (1 - alpha), and
-sum_i lambda_i ln lambda_i (von Neumann) for alpha 1. At alpha 2 no eigenvalue is needed:
S_2(A) = -ln |A|^2, the squared Frobenius norm.

References:
    L. G. Sanchez Giraldo, M. Rao, J. C. Principe: Measures of entropy from data using infinitely
    divisible kernels. IEEE Transactions on Information Theory 61 (2015) 535. S. Yu et al.:
    Multivariate extension of matrix-based Renyi's alpha-order entropy functional. IEEE TPAMI 42
    (2020) 2960.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oip.core.checks import check_number
from oip.mi.backend import eigenvalues
from oip.mi.estimators.gram import Distances, median_squared_distance, squared_distances


def matrix_entropy(a: np.ndarray, alpha: float) -> np.ndarray:
    """S_alpha of matrices.

    Args:
        a: (..., n, n), symmetric, positive semidefinite, of any positive trace: each is divided by
            its own.
        alpha: above 0.

    Returns:
        (...,) in nats, 0 to ln n.
    """
    trace = np.trace(a, axis1=-2, axis2=-1)
    if alpha == 2:
        flat = a.reshape(*a.shape[:-2], -1)
        return np.maximum(2 * np.log(trace) - np.log(np.einsum("...i,...i->...", flat, flat)), 0.0)
    return spectral_entropy(eigenvalues(a) / trace[..., None], alpha)


def spectral_entropy(shares: np.ndarray, alpha: float) -> np.ndarray:
    """S_alpha of eigenvalues, or of the probabilities of a discrete variable.

    Args:
        shares: (..., n), of sum 1; what rounding made negative counts as 0.
        alpha: above 0.

    Returns:
        (...,) in nats, 0 to ln n.
    """
    n = shares.shape[-1]
    shares = np.where(shares > n * np.finfo(np.float64).eps, shares, 0.0)
    if abs(alpha - 1) < 1e-8:
        value = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=-1)
    else:
        # 0^alpha is 0; near alpha 1 the logarithm of the sum keeps the digits that matter. The
        # largest share is taken out, so that the sum is 1 or more for any alpha.
        largest = shares.max(axis=-1)
        powers = ((shares / largest[..., None]) ** alpha).sum(axis=-1)
        value = (np.log(powers) + alpha * np.log(largest)) / (1 - alpha)
    return np.clip(value, 0.0, np.log(n))


def hadamard(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Hadamard product of matrices (n, n): the joint Gram matrix of what each belongs to."""
    joint = matrices[0].copy()
    for other in matrices[1:]:
        joint *= other
    return joint


def class_entropy(a: np.ndarray, codes: np.ndarray, alpha: float) -> float:
    """S_alpha of a o L with L the Gram matrix of a label, 1 for two samples of one class.

    In the order of the classes it is made of blocks, whose eigenvalues are those of the whole.

    Args:
        a: (n, n) with a constant diagonal.
        codes: (n,) int.
        alpha: above 0.
    """
    members = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    blocks = [a[np.ix_(own, own)] for own in members]
    trace = sum(float(np.trace(block)) for block in blocks)
    if alpha == 2:
        squares = sum(float((block * block).sum()) for block in blocks)
        return max(0.0, float(2 * np.log(trace) - np.log(squares)))
    shares = np.concatenate([eigenvalues(block) for block in blocks]) / trace
    return float(spectral_entropy(shares, alpha))


def renyi_label_entropy(codes: np.ndarray, alpha: float) -> float:
    """S_alpha of the Gram matrix of a label: the Renyi entropy of its class shares, in nats."""
    return float(spectral_entropy(np.bincount(codes) / len(codes), alpha))


@dataclass(frozen=True)
class Bandwidth:
    """How wide the kernel K = exp(-D / 2 sigma^2) is, D being squared distances.

    The first that is given of
        sigma: in the samples' own units;
        silverman: h in sigma = h n^(-1 / (4 + d)), in the samples' own units, too (the paper has
            h = 5 for responses and .1 for errors);
        relative: 2 sigma^2 as a share of the median squared distance, free of scale.
    """

    relative: float = 1.0
    silverman: float | None = None
    sigma: float | None = None

    def check(self, who: str) -> None:
        """Raises SettingsError for what is no number above 0."""
        check_number(f"{who}: relative", self.relative)
        for name in ("silverman", "sigma"):
            if getattr(self, name) is not None:
                check_number(f"{who}: {name}", getattr(self, name))

    def doubled_square(self, distances: np.ndarray | Distances, d: int) -> float:
        """2 sigma^2 for squared distances of n samples with d coordinates, (n, n) or in blocks."""
        if self.sigma is not None:
            return 2 * self.sigma**2
        if self.silverman is not None:
            return 2 * (self.silverman * len(distances) ** (-1 / (4 + d))) ** 2
        if isinstance(distances, Distances):
            return self.relative * distances.median
        return self.relative * median_squared_distance(distances)


def gram(x: np.ndarray, width: Bandwidth) -> np.ndarray:
    """(n, n) float64, 1 on the diagonal, of samples x (n, d); all 1 for a constant x."""
    return kernel(squared_distances(x), x.shape[1], width)


def kernel(distances: np.ndarray, d: int, width: Bandwidth) -> np.ndarray:
    """The Gram matrix of squared distances (n, n), which are overwritten."""
    if not distances.any():
        distances[:] = 1.0
        return distances
    return exponential(distances, width.doubled_square(distances, d))


def exponential(distances: np.ndarray, scale: float) -> np.ndarray:
    """exp(-distance / scale) of pairs, in the place of their distances."""
    with np.errstate(over="ignore"):  # infinitely far is 0
        distances /= -scale
    return np.exp(distances, out=distances)


def label_gram(codes: np.ndarray) -> np.ndarray:
    """(n, n): 1 for two samples of one class, else 0."""
    return (codes[:, None] == codes[None, :]).astype(np.float64)
