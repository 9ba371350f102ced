"""The log-determinant of the covariance of samples."""

from __future__ import annotations

import math

import numpy as np

from oip.core.errors import DataError, expected

DIGITS = 1e-12
"""Share of a coordinate's variance under which what others leave of it is rounding."""


def log_determinant(x: np.ndarray) -> float:
    """ln|S| of samples x (n, d), none of whose coordinates is constant; unbiased for Gaussians.

    Raises:
        DataError: not more samples than coordinates + 1.
    """
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
    logs = 2 * np.log(np.maximum(left, math.sqrt(DIGITS))) + 2 * np.log(spread)
    return float(logs.sum() - bias(n, d))


def bias(n: int, d: int) -> float:
    """E ln|M| of d Gaussian coordinates of covariance I, M the sum of squares about the mean of n.

    sum_i psi((n - i) / 2) + d ln 2.
    """
    from scipy.special import digamma

    return float(digamma((n - np.arange(1, d + 1)) / 2).sum() + d * math.log(2))


def varied(x: np.ndarray) -> np.ndarray:
    """The columns of x that are not constant."""
    return x[:, np.ptp(x, axis=0) > 8 * np.finfo(x.dtype).eps * np.abs(x).max(axis=0)]
