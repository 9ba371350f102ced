"""Multinomial logistic regression, many fits of the same samples at once."""

from __future__ import annotations

import numpy as np

_STEPS = 400
_BUDGET = 64 << 20


def fit(
    features: np.ndarray,
    onehot: np.ndarray,
    used: np.ndarray,
    penalties: np.ndarray,
    tolerance: float = 2e-5,
) -> np.ndarray:
    """Weights that minimise cross-entropy + penalty / 2 |weights|^2, for every fit.

    Accelerated gradient steps (Nesterov; restarts after O'Donoghue and Candès, 2015), scaled by the
    bound on the curvature of Böhning (1992), so that there is no step size to choose. The bound is
    taken as diagonal: features must be uncorrelated, as principal components are.

    Args:
        features: (n, r), float32 or float64, centred and uncorrelated over all n.
        onehot: (classes, n).
        used: (fits, n) bool: the samples of each fit.
        penalties: (fits,), above 0; the intercept has none.
        tolerance: squared length of the scaled step, in nats a sample, at which a fit ends. The
            usual one leaves the cross-entropy within a few thousandths of a nat.

    Returns:
        (classes, fits, r + 1); the last is the intercept.
    """
    room = max(1, _BUDGET // (onehot.size * features.itemsize))
    return np.concatenate(
        [
            _fit(
                features,
                onehot,
                used[start : start + room],
                penalties[start : start + room],
                tolerance,
            )
            for start in range(0, len(used), room)
        ],
        axis=1,
    )


def _fit(
    features: np.ndarray,
    onehot: np.ndarray,
    used: np.ndarray,
    penalties: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    kind = features.dtype
    n, r = features.shape
    fits, classes = len(used), len(onehot)
    inputs = np.concatenate([features, np.ones((n, 1), kind)], axis=1)
    across = np.ascontiguousarray(inputs.T)
    shrink = np.concatenate(
        [np.repeat(penalties[:, None], r, axis=1), np.zeros((fits, 1))], axis=1
    ).astype(kind)
    scale = (1.0 / (0.5 * (inputs * inputs).sum(axis=0) + shrink)).astype(kind)
    mask = used.astype(kind)
    samples = mask.sum(axis=1)
    target = onehot[:, None, :].astype(kind) * mask
    weights = np.zeros((classes, fits, r + 1), kind)
    ahead, momentum = weights.copy(), np.ones(fits, kind)
    finished = np.zeros(fits, bool)
    for _ in range(_STEPS):
        odds = (ahead.reshape(-1, r + 1) @ across).reshape(classes, fits, n)
        odds -= odds.max(axis=0)
        np.exp(odds, out=odds)
        odds *= mask / odds.sum(axis=0)
        odds -= target
        slope = (odds.reshape(-1, n) @ inputs).reshape(classes, fits, r + 1) + shrink * ahead
        # A fit that has ended stays as it is: it must not depend on when others end.
        step = np.where(finished[:, None], 0, scale * slope)
        finished |= (slope * step).sum(axis=(0, 2)) <= tolerance * samples
        moved = ahead - step
        onward = moved - weights
        overshot = (step * onward).sum(axis=(0, 2)) > 0
        momentum = np.where(overshot, 1.0, momentum)
        following = (1.0 + np.sqrt(1.0 + 4.0 * momentum * momentum)) / 2.0
        carry = np.where(overshot | finished, 0.0, (momentum - 1.0) / following).astype(kind)
        weights, ahead = moved, moved + carry[:, None] * onward
        momentum = following
        if finished.all():
            break
    return weights


def log_probabilities(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(classes, fits, n) float64: log-probabilities of every class for every sample.

    Args:
        features: (n, r).
        weights: (classes, fits, r + 1).
    """
    odds = weights[..., :-1].astype(np.float64) @ features.T.astype(np.float64)
    odds += weights[..., -1:]
    odds -= odds.max(axis=0)
    odds -= np.log(np.exp(odds).sum(axis=0))
    return odds
