"""Shuffles of x for the p-value of I(X;Y|Z) that keep what Z predicts of x.

Given a label, x is exchanged within the classes. Given numbers, the mean of x given Z is fitted and
what is left of x is exchanged among samples that are near in Z; a label x is drawn anew from its
fitted probabilities.

References:
    J. Runge: Conditional independence testing based on a nearest-neighbor estimator of conditional
    mutual information. AISTATS 2018 (exchange among the nearest).
    E. Candes, Y. Fan, L. Janson, J. Lv: Panning for gold: model-X knockoffs for high dimensional
    controlled variable selection. Journal of the Royal Statistical Society B 80 (2018) 551,
    appendix F (draws from the conditional distribution).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from oip.core import seeds
from oip.mi.backend import one_blas_thread, thread_map
from oip.mi.validation import Side, one_hot

_NEAREST = 4
"""Samples nearest in Z, its own among them; a sample exchanges its x with one of the others. That
is twice on average, and so as far as where one of 5 to 10 is taken (Runge)."""
_JOINT, _ADDITIVE = (0.125, 0.25, 0.5, 1.0, 2.0), (0.3, 0.6, 1.2)
"""Widths of the kernels: squared, in medians of the squared distance; in deviations of a column."""
_RIDGES = np.geomspace(1e-4, 10.0, 16)
"""Ridges, as shares of the largest eigenvalue of a kernel."""
_FOLDS, _RARE, _HARDLY_SHRUNK = 5, 1e-6, 10.0
"""Of the logistic regression: folds; the least probability; by what Z is multiplied beside the
directions of a kernel, so that the penalty leaves its coefficients."""
_SHARPER = 2.2
"""Deviations. Of labels that are functions of a plane with noise 19 in 20 are nearer."""
_ARRAYS_OF_A_FIT = 8
"""Arrays of a kernel's size that its fit takes."""
KERNEL_BYTES, _FEWEST_CENTERS = 256 << 20, 50
"""Of a kernel; its centers are fewer where there are more than 33,000 samples."""
_NONE = 1e-8
"""Share of the largest eigenvalue from which a direction counts."""


class ConditionalShuffles:
    """Samples of x as they could be if x told nothing about Y beside Z, each by its number.

    Args:
        x: n samples of numbers or of a label.
        given: the condition Z, numbers or a label.
        seed: of the draws.
    """

    def __init__(self, x: Side, given: Side, seed: int):
        self._x, self._condition, self._seed = x, given, seed
        if given.is_label:
            return
        if x.is_label:
            self._shares = class_probabilities(x.values, given.values)
        else:
            self._fit = ConditionalMean.fit(x.values, given.values)
            residual = np.abs(x.values - self._fit.mean).max(axis=0)
            # To exchange rounding errors would undo ties of x with Z, and look like a dependence.
            self._follows = residual <= _NONE * x.values.std(axis=0)
            self._nearest_samples = _nearest(given.values, _NEAREST).tolist()

    def __call__(self, shuffle: int) -> np.ndarray:
        """Return (n, d) numbers in the range of each column of x, or (n,) codes."""
        draw = seeds.generator(self._seed, "conditional null", shuffle)
        if self._condition.is_label:
            return self._x.values[_order_within_classes(self._condition.values, draw)]
        if self._x.is_label:
            return _drawn_codes(self._shares, draw)
        shuffled = (
            self._fit.mean + self._fit.residuals[_order_among_nearest(self._nearest_samples, draw)]
        )
        shuffled = np.where(self._follows, self._x.values, shuffled)
        return np.clip(shuffled, self._x.values.min(axis=0), self._x.values.max(axis=0))

    @property
    def blunt(self) -> bool:
        """Whether a label x follows Z more closely than draws from its probabilities do.

        That is so if its likelihood is by more than `_SHARPER` deviations above that of draws: the
        samples do not show how x changes with Z, and shuffles would hide what Z tells of it. A
        label that seems not to follow Z at all passes, even where it turns too fast to be seen.
        """
        if self._condition.is_label or not self._x.is_label:
            return False
        logs = np.log(np.clip(self._shares, _RARE, None))
        mean = (self._shares * logs).sum(axis=1)
        variance = (self._shares * logs**2).sum(axis=1) - mean**2
        excess = (logs[np.arange(len(logs)), self._x.values] - mean).sum()
        return bool(excess > _SHARPER * np.sqrt(variance.sum()))


def class_probabilities(codes: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return (n, classes): how probable each class is at Z (n, columns), by logistic regression.

    The features are Z and the directions of the kernel that suits least squares best; the penalty
    has the least cross-validated loss.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    fewest = int(np.bincount(codes).min())
    fit = ConditionalMean.fit(one_hot(codes), z, with_features=True)
    if fewest < 2 * _FOLDS:
        shares = np.clip(fit.mean, 0.0, None) + _RARE
        return shares / shares.sum(axis=1, keepdims=True)
    penalties = {"C": np.geomspace(1e-3, 100.0, 8)}
    model = LogisticRegression(solver="newton-cg", max_iter=1000)
    model = GridSearchCV(model, penalties, scoring="neg_log_loss", cv=_FOLDS)
    with one_blas_thread():
        return model.fit(fit.features, codes).predict_proba(fit.features)


def _drawn_codes(shares: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Draw codes (n,) with the probabilities (n, classes)."""
    upper = np.cumsum(shares, axis=1)
    levels = draw.uniform(size=(len(upper), 1)) * upper[:, -1:]
    return np.minimum((levels >= upper).sum(axis=1), upper.shape[1] - 1)


def _order_within_classes(codes: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    order = np.arange(len(codes))
    for code in range(codes.max() + 1):
        members = np.flatnonzero(codes == code)
        order[members] = draw.permutation(members)
    return order


def _order_among_nearest(nearest_samples: list[list[int]], draw: np.random.Generator) -> np.ndarray:
    """Let the samples, in a random order, exchange what they have with one of their nearest.

    No sample is there twice: equal values at almost equal Z would count as neighbors of each other,
    and make shuffled samples look more independent than new ones.
    """
    order = list(range(len(nearest_samples)))
    choices = draw.integers(1, len(nearest_samples[0]), len(nearest_samples)).tolist()
    for sample in draw.permutation(len(nearest_samples)).tolist():
        neighbor = nearest_samples[sample][choices[sample]]
        order[sample], order[neighbor] = order[neighbor], order[sample]
    return np.array(order)


def _nearest(z: np.ndarray, count: int) -> np.ndarray:
    """Return the samples (n, count) nearest to each, itself first, all columns on one scale."""
    from scipy.spatial import KDTree

    scaled = _standardized(z)
    _, nearest = KDTree(scaled).query(scaled, min(count, len(z)))
    return np.asarray(nearest).reshape(len(z), -1)


def _standardized(z: np.ndarray) -> np.ndarray:
    deviation = z.std(axis=0)
    return (z - z.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)


@dataclass
class ConditionalMean:
    """E(X|Z) at every sample, and the residual of x.

    A linear model with an intercept, and a kernel ridge regression of what it leaves: with a
    Gaussian kernel over all columns of Z, or with the sum of one over each. Kernel, width and ridge
    are those with the least leave-one-out error, for each column of x by itself; the linear model
    alone is one of the choices.

    A smoother H gives H x, whose own error has the variance s^2 tr(H H') / n for noise of variance
    s^2, and leaves (I - H) x. The residuals are scaled so that the variances of both add up to s^2:
    x put together from the mean and exchanged residuals is as noisy about its true mean as x is.

    Attributes:
        mean: (n, d).
        residuals: (n, d), x - mean, scaled.
        features: (n, k): Z, and the directions of the kernel with the least error over all columns;
            (n, 0) if they are not asked for.
    """

    mean: np.ndarray
    residuals: np.ndarray
    features: np.ndarray

    @classmethod
    def fit(
        cls, x: np.ndarray, z: np.ndarray, landmarks: int = 1000, with_features: bool = False
    ) -> ConditionalMean:
        """Fit the mean of x (n, d) given z (n, columns).

        Kernels are centered at `landmarks` samples at most, and at fewer of many samples, which
        bounds time and memory.
        """
        n, z = len(x), _standardized(z)
        plane = _Plane.fit(x, z)
        affordable = max(_FEWEST_CENTERS, KERNEL_BYTES // (8 * n))
        centers = np.linspace(0, n - 1, min(n, landmarks, affordable)).round().astype(int)
        squared, kernels = _kernels(z, centers)
        fits = thread_map(
            lambda kernel: _KernelFit.best(kernel(squared), centers, plane),
            kernels,
            _ARRAYS_OF_A_FIT * squared.nbytes,
        )
        errors = _left_out_error(plane.residuals, plane.leverage)
        freedom = plane.freedom
        mean, factor = plane.mean.copy(), np.full(x.shape[1], _noise_factor(n, freedom, freedom))
        for fit in fits:
            better = fit.error < errors
            errors[better] = fit.error[better]
            mean[:, better] = fit.mean[:, better]
            factor[better] = fit.factor[better]
        features = np.zeros((n, 0))
        if with_features:
            best = int(np.argmin([fit.total for fit in fits]))
            scaled = z
            if np.isfinite(fits[best].total):
                with one_blas_thread():
                    basis, values = _directions(kernels[best](squared), centers, plane.basis)
                scaled = basis * np.sqrt(values / values[-1])
            features = np.column_stack([_HARDLY_SHRUNK * z, scaled * np.sqrt(n)])
        return cls(mean, (x - mean) * factor, features)


class _Plane(NamedTuple):
    """A linear model with an intercept, and its residuals."""

    basis: np.ndarray
    """(n, rank), orthonormal."""
    mean: np.ndarray
    """(n, d)."""
    residuals: np.ndarray
    """(n, d): x - mean."""
    leverage: np.ndarray
    """(n,)."""

    @classmethod
    def fit(cls, x: np.ndarray, z: np.ndarray) -> _Plane:
        basis = _basis(np.column_stack([np.ones(len(z)), z]))
        mean = basis @ (basis.T @ x)
        return cls(basis, mean, x - mean, (basis**2).sum(axis=1))

    @property
    def freedom(self) -> float:
        return float(self.basis.shape[1])


class _KernelFit(NamedTuple):
    """Ridge regressions with one kernel of what the linear model leaves, the best of the ridges."""

    error: np.ndarray
    """(d,): mean squares of leave-one-out residuals, by the best ridge of each column."""
    mean: np.ndarray
    """(n, d)."""
    factor: np.ndarray
    """(d,): see `_noise_factor`."""
    total: float
    """The least sum of errors over all columns that one ridge has; infinite without directions."""

    @classmethod
    def best(cls, kernel: np.ndarray, centers: np.ndarray, plane: _Plane) -> _KernelFit:
        """Fit a kernel (n, centers)."""
        basis, values = _directions(kernel, centers, plane.basis)
        n, d = plane.residuals.shape
        errors, mean, factor, total = np.full(d, np.inf), np.zeros((n, d)), np.ones(d), np.inf
        coordinates, squares = basis.T @ plane.residuals, basis**2
        for ridge in _RIDGES * values[-1] if len(values) else ():
            shrinkage = values / (values + ridge)
            smooth = basis @ (shrinkage[:, None] * coordinates)
            error = _left_out_error(plane.residuals - smooth, plane.leverage + squares @ shrinkage)
            total = min(total, float(error.sum()))
            better = error < errors
            errors[better] = error[better]
            mean[:, better] = (plane.mean + smooth)[:, better]
            factor[better] = _noise_factor(
                n, plane.freedom + shrinkage.sum(), plane.freedom + (shrinkage**2).sum()
            )
        return cls(errors, mean, factor, total)


def _basis(columns: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis (n, rank) of columns (n, k)."""
    left, values, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, values > _NONE * values[0]]


def _left_out_error(residuals: np.ndarray, leverage: np.ndarray) -> np.ndarray:
    """Return the mean square (d,) of leave-one-out residuals (n, d), with their leverage (n,)."""
    return ((residuals / np.maximum(1.0 - leverage, 1e-3)[:, None]) ** 2).mean(axis=0)


def _noise_factor(n: int, trace: float, trace_of_squares: float) -> float:
    """Return by what to multiply what a smoother H leaves, from tr(H) and tr(H H')."""
    scale = max(n - trace_of_squares, 1.0)
    return float(np.sqrt(scale / max(n - 2 * trace + trace_of_squares, 1.0)))


def _kernels(
    z: np.ndarray, centers: np.ndarray
) -> tuple[np.ndarray, list[Callable[[np.ndarray], np.ndarray]]]:
    """Return squared distances (n, centers), and functions from them to kernels of that shape.

    The kernels are Gaussian: of all columns, and sums of one of each column.
    """
    from scipy.spatial.distance import cdist

    squared = cdist(z, z[centers], "sqeuclidean")
    median = np.median(squared[squared > 0]) if squared.any() else 1.0

    def joint(squared: np.ndarray, width: float) -> np.ndarray:
        return np.exp(-squared / (2 * width * median))

    def additive(squared: np.ndarray, width: float) -> np.ndarray:
        kernel = np.zeros_like(squared)
        for column in z.T:
            kernel += np.exp(-((column[:, None] - column[centers]) ** 2) / (2 * width**2))
        return kernel

    kernels = [partial(joint, width=width) for width in _JOINT]
    if z.shape[1] > 1:
        kernels += [partial(additive, width=width) for width in _ADDITIVE]
    return squared, kernels


def _directions(
    kernel: np.ndarray, centers: np.ndarray, plane: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvectors (n, k) of a kernel beside a plane (n, p), and their eigenvalues.

    `kernel` is (n, centers): with fewer centers than samples this is Nystroem's approximation.
    """
    values, vectors = _eigen(kernel[centers])
    features = kernel @ (vectors / np.sqrt(values))
    features -= plane @ (plane.T @ features)
    values, vectors = _eigen(features.T @ features)
    return features @ (vectors / np.sqrt(values)), values


def _eigen(square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues that count, in ascending order, and their eigenvectors."""
    from scipy.linalg import eigh

    values, vectors = eigh(square)
    counts = values > max(_NONE * values[-1], np.finfo(float).tiny)
    return values[counts], vectors[:, counts]
