"""Samples with a known answer."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def two_gaussians():
    """Makes samples (n, 1) and labels (n,) of Y = -1 or 1 in equal shares, X|Y ~ N(mu Y, 1)."""

    def make(mu: float, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        y = np.arange(n) % 2
        x = mu * (2 * y - 1) + np.random.default_rng(seed).normal(size=n)
        return x[:, None], y

    return make


@pytest.fixture
def layer_like():
    """Responses (n, 6, 8) and labels of 3 classes: maps 0 and 1 the same, 4 noise, 5 silent."""
    rng = np.random.default_rng(1)
    codes = np.arange(150) % 3
    centres = rng.normal(size=(3, 8))
    responses = rng.normal(size=(150, 6, 8))
    for index, strength in enumerate((1.5, 1.5, 0.8, 0.4)):
        responses[:, index] += strength * centres[codes]
    responses[:, 1] = responses[:, 0]
    responses[:, 5] = 0.7
    return responses.astype(np.float32), codes
