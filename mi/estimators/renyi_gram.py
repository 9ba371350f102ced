"""Gaussian Gram matrices of samples; the convention of the width is in one place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mi.estimators.settings import check_number
from mi.gram import Distances, median_squared_distance, squared_distances


@dataclass(frozen=True)
class Width:
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


def gram(x: np.ndarray, width: Width) -> np.ndarray:
    """(n, n) float64, 1 on the diagonal, of samples x (n, d); all 1 for a constant x."""
    return kernel(squared_distances(x), x.shape[1], width)


def kernel(distances: np.ndarray, d: int, width: Width) -> np.ndarray:
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
