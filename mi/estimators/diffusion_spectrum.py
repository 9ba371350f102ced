"""Diffusion spectral entropy of a Gaussian Gram matrix.

References:
    D. Liao et al.: Assessing neural network representations during training using noise-resilient
    diffusion spectral entropy. CISS 2024.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from mi.device import eigenvalues
from mi.estimators.renyi_entropy import spectral_entropy

Normalisation = Literal["symmetric", "row"]
NORMALISATIONS = ("symmetric", "row")


def diffusion_entropy(g: np.ndarray, time: float, normalisation: Normalisation) -> float:
    """-sum_i p_i ln p_i, with p_i = |lambda_i|^t / sum_j |lambda_j|^t.

    The eigenvalues are those of
        `symmetric`: K = Q^-1/2 G Q^-1/2, Q the row sums of G; also those of Q^-1 G;
        `row`: the diffusion matrix P = R^-1 K, R the row sums of K, whose rows are distributions.

    Args:
        g: (n, n), symmetric, 1 on the diagonal, 0 or more.
        time: t, the diffusion time, above 0.
        normalisation: the matrix.

    Returns:
        In nats, 0 to ln n; 0 for one sample.
    """
    k = _normalised(g)
    if normalisation == "row":
        # R^-1 K has the eigenvalues of R^-1/2 K R^-1/2, which is symmetric.
        k = _normalised(k)
    sizes = np.abs(eigenvalues(k))
    # The largest is 1 for either matrix; what is rounding would count at small t.
    sizes[sizes < len(g) * np.finfo(np.float64).eps * sizes.max()] = 0.0
    powers = (sizes / sizes.max()) ** time  # one is 1, however large t is
    return float(spectral_entropy(powers / powers.sum(), 1.0))


def _normalised(matrix: np.ndarray) -> np.ndarray:
    root = 1.0 / np.sqrt(matrix.sum(axis=1))
    return matrix * root[:, None] * root[None, :]
