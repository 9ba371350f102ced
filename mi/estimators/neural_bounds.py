"""Variational bounds of information from a critic's scores, in nats.

Scores f (b, b) are of b pairs: f[i, i] of x_i with its own y_i, f[i, j] of x_i with the y of
another pair, which stands for an independent one. Two forms of each: an objective in TensorFlow
whose gradient trains the critic, and a value in NumPy.

References:
    M. I. Belghazi et al.: Mutual information neural estimation. ICML 2018. X. Nguyen, M. J.
    Wainwright, M. I. Jordan: Estimating divergence functionals and the likelihood ratio by convex
    risk minimization. IEEE Transactions on Information Theory 56 (2010) 5847. A. van den Oord, Y.
    Li, O. Vinyals: Representation learning with contrastive predictive coding. 2018. J. Song, S.
    Ermon: Understanding the limitations of variational mutual information estimators. ICLR 2020.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_NOTHING = -1e9


def donsker_varadhan(scores: np.ndarray, clip: float | None = None) -> float:
    """E_p[f] - ln E_q[exp f].

    Args:
        scores: (b, b), b 2 or more.
        clip: tau; f under the logarithm is held within -tau and tau (SMILE), which bounds the
            variance and makes it a bound no longer.
    """
    own, others = _split(scores)
    if clip is not None:
        others = np.clip(others, -clip, clip)
    return float(own.mean() - _log_mean_exp(others, None))


def nwj(scores: np.ndarray) -> float:
    """E_p[f] - E_q[exp(f - 1)]."""
    own, others = _split(scores)
    return float(own.mean() - math.exp(_log_mean_exp(others, None) - 1.0))


def infonce(scores: np.ndarray) -> float:
    """E[f_ii - ln mean_j exp f_ij]; at most ln b."""
    return float((np.diagonal(scores) - _log_mean_exp(scores, 1)).mean())


def mine_objective(scores: Any, average: Any, keep: float) -> tuple[Any, Any]:
    """What training raises for MINE, and the moving average of E_q[exp f].

    The gradient of the logarithm is divided by the moving average in place of the batch's own mean,
    whose reciprocal is biased.

    Args:
        scores: (b, b) tensor.
        average: scalar tensor, 0 before the first step.
        keep: share of the old average that is kept.
    """
    import tensorflow as tf

    own, others, pairs = _split_tensor(scores)
    mean = tf.reduce_sum(tf.exp(others)) / pairs
    fresh = tf.stop_gradient(mean)
    moved = tf.where(average > 0, keep * average + (1 - keep) * fresh, fresh)
    return tf.reduce_mean(own) - mean / moved, moved


def nwj_objective(scores: Any) -> Any:
    """E_p[f] - E_q[exp(f - 1)]."""
    import tensorflow as tf

    own, others, pairs = _split_tensor(scores)
    return tf.reduce_mean(own) - tf.reduce_sum(tf.exp(others - 1.0)) / pairs


def infonce_objective(scores: Any) -> Any:
    """E[f_ii - ln sum_j exp f_ij]."""
    import tensorflow as tf

    own = tf.linalg.diag_part(scores)
    return tf.reduce_mean(own - tf.reduce_logsumexp(scores, axis=1))


def jensen_shannon_objective(scores: Any) -> Any:
    """E_p[-softplus(-f)] - E_q[softplus f], whose best critic is the log-ratio of densities."""
    import tensorflow as tf

    own, others, pairs = _split_tensor(scores)
    apart = tf.reduce_sum(tf.nn.softplus(others)) / pairs
    return -tf.reduce_mean(tf.nn.softplus(-own)) - apart


def _split(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.diagonal(scores), scores[~np.eye(len(scores), dtype=bool)]


def _split_tensor(scores: Any) -> tuple[Any, Any, Any]:
    """Scores of own pairs (b,), all with own ones made too low to count, the number of others."""
    import tensorflow as tf

    own = tf.linalg.diag_part(scores)
    size = tf.cast(tf.shape(scores)[0], scores.dtype)
    nothing = tf.fill(tf.shape(own), tf.cast(_NOTHING, scores.dtype))
    return own, tf.linalg.set_diag(scores, nothing), size * (size - 1)


def _log_mean_exp(values: np.ndarray, axis: int | None) -> Any:
    top = values.max(axis=axis, keepdims=True)
    total = np.log(np.exp(values - top).mean(axis=axis, keepdims=True)) + top
    return total.item() if axis is None else total.squeeze(axis)
