"""Classifiers that are fitted many times to parts of the same samples, all fits at once.

By hand, since scikit-learn and Keras fit one at a time: a ranking needs thousands of small fits.
"""

from __future__ import annotations

import numpy as np

from oip.core import seeds


def fit_logistic(
    features: np.ndarray,
    onehot: np.ndarray,
    used: np.ndarray,
    penalties: np.ndarray,
    tolerance: float = 2e-5,
    steps: int = 400,
    byte_budget: int = 64 << 20,
) -> np.ndarray:
    """Return the weights (classes, fits, r + 1) of multinomial logistic regressions, for every fit.

    They minimize cross-entropy + penalty / 2 |weights|^2 by accelerated gradient steps (Nesterov;
    restarts after O'Donoghue and Candès, 2015), scaled by the bound on the curvature of Böhning
    (1992), so that there is no step size to choose. The bound is taken as diagonal: features (n, r)
    must be centered and uncorrelated over all n, as principal components are. The last weight is
    the intercept.

    Args:
        features, onehot, used: (n, r), (classes, n), and (fits, n) bool: the samples of each fit.
        penalties: (fits,), above 0; the intercept has none.
        tolerance: squared length of the scaled step, in nats a sample, at which a fit ends. The
            default leaves the cross-entropy within a few thousandths of a nat.
        steps: at most.
        byte_budget: bytes of the probabilities of the fits that are done at once.
    """
    count = max(1, byte_budget // (onehot.size * features.itemsize))
    parts = [slice(start, start + count) for start in range(0, len(used), count)]
    return np.concatenate(
        [
            _fit_at_once(features, onehot, used[part], penalties[part], tolerance, steps)
            for part in parts
        ],
        axis=1,
    )


def _fit_at_once(
    features: np.ndarray,
    onehot: np.ndarray,
    used: np.ndarray,
    penalties: np.ndarray,
    tolerance: float,
    steps: int,
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
    for _ in range(steps):
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


def logistic_log_probabilities(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return log-probabilities (classes, fits, n) float64, from weights of `fit_logistic`."""
    from scipy.special import log_softmax

    odds = weights[..., :-1].astype(np.float64) @ features.T.astype(np.float64)
    return log_softmax(odds + weights[..., -1:], axis=0)


UNITS = 16
"""In the hidden layer."""
STEPS = 150
PRIOR = 1.0
"""Prior variance of every weight; the intercepts of the classes have none."""
_SPREAD = 1.5
"""Deviation of a hidden unit's input at the start, for a sample of typical size."""
_RATE = 0.08
_DECAYS = (0.9, 0.98)
_FLOOR = 1e-7


def network_log_probabilities(
    features: np.ndarray,
    onehot: np.ndarray,
    used: np.ndarray,
    seed: int,
    units: int = UNITS,
    steps: int = STEPS,
    byte_budget: int = 128 << 20,
) -> np.ndarray:
    """Return log-probabilities (classes, fits, n) float32, by a small network for each fit.

    p(y|x) = softmax(V tanh(W x + b) + c). All fits start at the same W and b, and at V = 0; they
    minimize the cross-entropy of their samples with a Gaussian prior of the weights by 150 steps of
    Adam (Kingma and Ba, 2015), each on all samples, the last ones shorter. The fits do not depend
    on one another.

    Args:
        features: (n, r) float32, centered, of a mean squared norm of 1.
        onehot, used: (classes, n) bool, and (fits, n) bool: the samples of each fit.
        seed: of the start.
        units, steps: in the hidden layer; of Adam.
        byte_budget: bytes of the activations of the fits that are done at once.
    """
    upright = _upright(features)
    count = max(1, byte_budget // (4 * len(features) * (3 * units + 4 * len(onehot))))
    parts = [used[start : start + count] for start in range(0, len(used), count)]
    return np.concatenate(
        [_train_at_once(upright, onehot, part, seed, units, steps) for part in parts], axis=1
    )


def _train_at_once(
    features: np.ndarray,
    onehot: np.ndarray,
    used: np.ndarray,
    seed: int,
    units: int,
    steps: int,
) -> np.ndarray:
    n, r = features.shape
    fits, classes = len(used), len(onehot)
    inputs = np.concatenate([features, np.ones((n, 1), np.float32)], axis=1)
    across = np.ascontiguousarray(inputs.T)
    draw = seeds.generator(seed, "small network").normal(size=(units, r + 1)) * _SPREAD
    first = np.tile(draw.astype(np.float32), (fits, 1, 1))
    last = np.zeros((fits, classes, units + 1), np.float32)
    share = (used / used.sum(axis=1, keepdims=True)).astype(np.float32)
    pull = (1 / (PRIOR * used.sum(axis=1))).astype(np.float32)[:, None, None]
    target = onehot[None].astype(np.float32) * share[:, None]
    active = np.ones((fits, units + 1, n), np.float32)
    movers = _Adam(first), _Adam(last)
    for step in range(steps + 1):
        inside = active[:, :units]
        np.tanh((first.reshape(-1, r + 1) @ across).reshape(inside.shape), out=inside)
        odds = last @ active
        odds -= odds.max(axis=1, keepdims=True)
        if step == steps:
            break
        np.exp(odds, out=odds)
        odds *= (share / odds.sum(axis=1))[:, None]
        odds -= target
        slope_last = odds @ active.transpose(0, 2, 1)
        slope_last[..., :units] += pull * last[..., :units]
        back = last[..., :units].transpose(0, 2, 1) @ odds
        back *= 1 - inside * inside
        slope_first = (back.reshape(-1, n) @ inputs).reshape(first.shape) + pull * first
        rate = _RATE * (1 - step / steps)
        movers[0].move(first, slope_first, rate)
        movers[1].move(last, slope_last, rate)
    odds -= np.log(np.exp(odds).sum(axis=1, keepdims=True))
    return odds.transpose(1, 0, 2)


class _Adam:
    """Adam's moments of the slopes of some weights."""

    def __init__(self, weights: np.ndarray) -> None:
        self.mean, self.square = np.zeros_like(weights), np.zeros_like(weights)
        self.steps = 0

    def move(self, weights: np.ndarray, slope: np.ndarray, rate: float) -> None:
        """Do one step, in place."""
        self.steps += 1
        first, second = _DECAYS
        self.mean += (1 - first) * (slope - self.mean)
        self.square += (1 - second) * (slope * slope - self.square)
        size = np.sqrt(self.square / (1 - second**self.steps)) + _FLOOR
        weights -= (rate / (1 - first**self.steps)) * self.mean / size


def _upright(features: np.ndarray) -> np.ndarray:
    """Turn the longer tail of every column upward: principal components have no sign."""
    tails = (features.astype(np.float64) ** 3).sum(axis=0)
    return features * np.where(tails < 0, -1, 1).astype(features.dtype)
