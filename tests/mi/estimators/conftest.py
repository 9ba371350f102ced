"""Samples of distributions whose information is known in closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import gammaln, psi


class StudentT:
    """Multivariate t with scatter S: samples, and its information in nats."""

    def __init__(self, scatter: np.ndarray, nu: float) -> None:
        self.scatter, self.nu = scatter, nu

    def samples(self, n: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        normal = rng.normal(size=(n, len(self.scatter))) @ np.linalg.cholesky(self.scatter).T
        return normal / np.sqrt(rng.chisquare(self.nu, n) / self.nu)[:, None]

    def _unit(self, d: int) -> float:
        nu = self.nu
        tail = (nu + d) / 2 * (psi((nu + d) / 2) - psi(nu / 2))
        return gammaln(nu / 2) - gammaln((nu + d) / 2) + d / 2 * np.log(nu * np.pi) + tail

    @property
    def total_correlation(self) -> float:
        d, log_det = len(self.scatter), np.linalg.slogdet(self.scatter)[1]
        spread = np.log(np.diagonal(self.scatter)).sum() - log_det
        return 0.5 * spread + d * self._unit(1) - self._unit(d)

    def information(self, dx: int) -> float:
        d = len(self.scatter)
        logs = [
            np.linalg.slogdet(part)[1]
            for part in (self.scatter[:dx, :dx], self.scatter[dx:, dx:], self.scatter)
        ]
        gaussian = 0.5 * (logs[0] + logs[1] - logs[2])
        return gaussian + self._unit(dx) + self._unit(d - dx) - self._unit(d)


@pytest.fixture
def student_t() -> Callable[..., StudentT]:
    """A t distribution of d dimensions; `mixed` has the scatter 10 I + A A', unit diagonal."""

    def make(nu: float, d: int, mixed: bool = False, seed: int = 0) -> StudentT:
        scatter = np.eye(d)
        if mixed:
            a = np.random.default_rng(seed).uniform(size=(d, d))
            scatter = 10 * scatter + a @ a.T
            scale = np.sqrt(np.diagonal(scatter))
            scatter = scatter / scale[:, None] / scale
        return StudentT(scatter, nu)

    return make


@pytest.fixture
def correlated() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """x and y (n, d), Gaussian, of a given information in nats."""

    def make(nats: float, n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        rho = np.sqrt(1 - np.exp(-2 * nats / d))
        x, noise = np.random.default_rng(seed).normal(size=(2, n, d))
        return x, rho * x + np.sqrt(1 - rho**2) * noise

    return make
