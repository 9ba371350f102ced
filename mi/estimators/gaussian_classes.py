"""What Gaussian classes tell of their label, where some of them may hardly vary."""

from __future__ import annotations

import math

import numpy as np

from mi.estimators.gaussian_determinant import DIGITS, bias, varied


def label_information(x: np.ndarray, codes: np.ndarray) -> float:
    """I(X;Y) = sum_y p_y KL(N_y||N) of the Gaussian of each class and that of all samples.

    KL(N_y||N) = 1/2 [<(x - m)' S^-1 (x - m)>_y - d + ln|S| - ln|S_y|], which sums to H(X) - H(X|Y)
    and is held to -ln p_y: a mixture p has p(x) >= p_y p(x|y). Log-determinants are unbiased for
    Gaussian samples.

    With z all samples about their class's mean, turned so that their covariance W is I, heavy tails
    leave S_y uncertain by b^2 = (<|z|^4> - sum_y p_y [(tr S_y)^2 + 2 tr S_y^2]) / n_y more than
    Gaussian classes would. S_y is drawn to W by b^2 / (b^2 + |S_y - W|^2), after Ledoit and Wolf: a
    map that one image excites has not told of the classes in which it is silent, while classes that
    are Gaussian stay as they are.

    Args:
        x: (n, d) float64. Columns that are constant here are left out; n may be too small for d.
        codes: (n,) int; classes of fewer than d + 2 samples tell nothing.

    Returns:
        In nats; 0 where no column is left.

    References:
        O. Ledoit, M. Wolf: A well-conditioned estimator for large-dimensional covariance matrices.
        Journal of Multivariate Analysis 88 (2004) 365.
    """
    x = varied(x)
    n, d = x.shape
    if d == 0 or n < d + 2:
        return 0.0
    white = _whitened(x - x.mean(axis=0), n)
    d = white.shape[1]
    counts = np.bincount(codes)
    used = [(code, count) for code, count in enumerate(counts) if count >= d + 2]
    if not used:
        return 0.0
    inner = [white[codes == code] - white[codes == code].mean(axis=0) for code, _ in used]
    within = np.concatenate(inner)
    squares, axes = np.linalg.eigh(within.T @ within / len(within))
    squares = np.maximum(squares, DIGITS)
    turned = [part @ (axes / np.sqrt(squares)) for part in inner]
    own = np.stack([part.T @ part / len(part) for part in turned])
    traces = np.trace(own, axis1=1, axis2=2)
    fourth = [((part * part).sum(axis=1) ** 2).sum() for part in turned]
    gaussian = [count for _, count in used] * (traces**2 + 2 * (own * own).sum(axis=(1, 2)))
    heavy = max(0.0, float(np.sum(fourth) - gaussian.sum()) / len(within))
    total = d * math.log(n) - bias(n, d)
    known = 0.0
    for (code, count), spread in zip(used, own, strict=True):
        away = float(((spread - np.eye(d)) ** 2).sum())
        drawn = heavy / (heavy + count * away) if heavy else 0.0
        sizes = np.linalg.eigvalsh((1 - drawn) * spread + drawn * np.eye(d))
        logs = np.log(np.maximum(sizes, DIGITS)).sum() + np.log(squares).sum()
        # What was drawn to W has the small bias of W, not that of a class.
        alone = (1 - drawn) ** 2
        logs += alone * (d * math.log(count) - bias(count, d)) + (1 - alone) * total
        far = float((white[codes == code] ** 2).sum(axis=1).mean()) - d
        known += count / n * min(0.5 * (far + total - logs), -math.log(count / n))
    return known


def _whitened(centred: np.ndarray, n: int) -> np.ndarray:
    """(n, r): the directions in which samples vary, with covariance I."""
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, sizes > math.sqrt(DIGITS) * sizes[0]] * math.sqrt(n)
