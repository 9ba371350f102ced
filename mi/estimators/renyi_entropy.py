"""Entropies of Gram matrices and labels, of order alpha, in nats.

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

from collections.abc import Callable, Sequence

import numpy as np

from oip.mi.backend import eigenvalues
from oip.mi.estimators.gram import cut


def matrix_entropy(a: np.ndarray, alpha: float) -> np.ndarray:
    """Return S_alpha (...,), 0 to ln n, of symmetric, positive semidefinite matrices (..., n, n).

    Each is divided by its own trace; alpha is above 0.
    """
    trace = np.trace(a, axis1=-2, axis2=-1)
    if alpha == 2:
        flat = a.reshape(*a.shape[:-2], -1)
        return np.maximum(2 * np.log(trace) - np.log(np.einsum("...i,...i->...", flat, flat)), 0.0)
    return spectral_entropy(eigenvalues(a) / trace[..., None], alpha)


def spectral_entropy(shares: np.ndarray, alpha: float) -> np.ndarray:
    """Return S_alpha (...,), 0 to ln n, of eigenvalues or probabilities (..., n) of sum 1.

    Shares that rounding made negative count as 0.
    """
    from scipy.special import entr

    n = shares.shape[-1]
    shares = np.where(shares > n * np.finfo(np.float64).eps, shares, 0.0)
    if abs(alpha - 1) < 1e-8:
        value = entr(shares).sum(axis=-1)
    else:
        # 0^alpha is 0; near alpha 1 the logarithm of the sum keeps the digits that matter. The
        # largest share is taken out, so that the sum is 1 or more for any alpha.
        largest = shares.max(axis=-1)
        powers = ((shares / largest[..., None]) ** alpha).sum(axis=-1)
        value = (np.log(powers) + alpha * np.log(largest)) / (1 - alpha)
    return np.clip(value, 0.0, np.log(n))


def hadamard(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Return the elementwise product of Gram matrices (n, n): that of their variables together."""
    joint = matrices[0].copy()
    for matrix in matrices[1:]:
        joint *= matrix
    return joint


def class_entropy(a: np.ndarray, codes: np.ndarray, alpha: float) -> float:
    """Return S_alpha of a o L with L the Gram matrix of a label, 1 for two samples of one class.

    In the order of the classes it is made of blocks, whose eigenvalues are those of the whole.
    The diagonal of a (n, n) is constant.
    """
    members = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    blocks = [cut(a, own) for own in members]
    trace = sum(float(np.trace(block)) for block in blocks)
    if alpha == 2:
        squares = sum(float((block * block).sum()) for block in blocks)
        return max(0.0, float(2 * np.log(trace) - np.log(squares)))
    shares = np.concatenate([eigenvalues(block) for block in blocks]) / trace
    return float(spectral_entropy(shares, alpha))


def cached_entropies(
    matrix: np.ndarray, entropy: Callable[[np.ndarray], float]
) -> Callable[[np.ndarray | None], float]:
    """Return the entropy of the part of some samples of a matrix by their indices, cached."""
    cache: dict[bytes, float] = {}

    def of_part(indices: np.ndarray | None) -> float:
        key = b"" if indices is None else indices.tobytes()
        if key not in cache:
            cache[key] = entropy(cut(matrix, indices))
        return cache[key]

    return of_part


def renyi_label_entropy(codes: np.ndarray, alpha: float) -> float:
    """Return S_alpha of a label's Gram matrix: the Renyi entropy of its class shares, in nats."""
    return float(spectral_entropy(np.bincount(codes) / len(codes), alpha))
