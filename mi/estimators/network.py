"""A small network, trained for many choices of training samples at once."""

from __future__ import annotations

import numpy as np

HIDDEN = 16
SNAPSHOTS = (25, 60, 120)
"""Steps after which predictions are taken: where to stop is for held-out samples to say."""
_RATE = 0.03
_DECAY = 1e-3
_SIZE = 4.0
_MOMENTS = (0.9, 0.99)


def predictions(
    features: np.ndarray, onehot: np.ndarray, used: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Log-probabilities from networks of one hidden layer (16 tanh units, softmax).

    Adam on the whole of the used samples' cross-entropy with weight decay; all networks begin with
    the same weights.

    Args:
        features: (n, r) float32, centred, mean squared norm of the rows 1.
        onehot: (classes, n).
        used: (fits, n) bool: the samples of each fit.
        rng: for the weights at the beginning.

    Returns:
        (snapshots, classes, fits, n) float32.

    References:
        D. P. Kingma, J. Ba: Adam: a method for stochastic optimization. ICLR 2015.
    """
    n, r = features.shape
    fits, classes = len(used), len(onehot)
    x = np.concatenate([features * np.float32(_SIZE), np.ones((n, 1), np.float32)], axis=1)
    first = rng.normal(size=(r + 1, HIDDEN)).astype(np.float32) / np.float32(_SIZE)
    second = rng.normal(size=(HIDDEN + 1, classes)).astype(np.float32) / np.float32(HIDDEN)
    weights = [np.tile(first, (1, fits)), np.repeat(second[None], fits, axis=0)]
    means = [np.zeros_like(one) for one in weights]
    squares = [np.zeros_like(one) for one in weights]
    mask = (used / used.sum(axis=1, keepdims=True)).astype(np.float32)[:, :, None]
    target = onehot.T.astype(np.float32)[None]
    hidden = np.ones((fits, n, HIDDEN + 1), np.float32)
    found = []
    for step in range(1, SNAPSHOTS[-1] + 1):
        odds = _forward(x, weights, hidden)
        np.exp(odds, out=odds)
        odds /= odds.sum(axis=2, keepdims=True)
        odds -= target
        odds *= mask
        back = odds @ weights[1][:, :-1].transpose(0, 2, 1)
        back *= 1.0 - hidden[:, :, :-1] ** 2
        slopes = [
            x.T @ back.transpose(1, 0, 2).reshape(n, fits * HIDDEN),
            hidden.transpose(0, 2, 1) @ odds,
        ]
        for place, slope in enumerate(slopes):
            slope += np.float32(_DECAY) * weights[place]
            means[place] += np.float32(1 - _MOMENTS[0]) * (slope - means[place])
            squares[place] += np.float32(1 - _MOMENTS[1]) * (slope * slope - squares[place])
            rate = _RATE * np.sqrt(1 - _MOMENTS[1] ** step) / (1 - _MOMENTS[0] ** step)
            weights[place] -= np.float32(rate) * means[place] / (np.sqrt(squares[place]) + 1e-8)
        if step in SNAPSHOTS:
            odds = _forward(x, weights, hidden)
            odds -= np.log(np.exp(odds).sum(axis=2, keepdims=True))
            found.append(odds.transpose(2, 0, 1))
    return np.stack(found)


def _forward(x: np.ndarray, weights: list[np.ndarray], hidden: np.ndarray) -> np.ndarray:
    """(fits, n, classes): log-odds, their largest 0; fills `hidden` (fits, n, hidden + 1)."""
    fits, n, width = hidden.shape
    inner = np.tanh(x @ weights[0]).reshape(n, fits, width - 1)
    hidden[:, :, :-1] = inner.transpose(1, 0, 2)
    odds = hidden @ weights[1]
    odds -= odds.max(axis=2, keepdims=True)
    return odds
