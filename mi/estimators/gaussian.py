"""Gaussian estimates: information from covariances."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import ClassVar, NamedTuple

import numpy as np

from oip.core import seeds
from oip.core.checks import check_whole
from oip.core.errors import DataError
from oip.mi.estimators.base import LabelEstimator, RawEstimate
from oip.mi.estimators.gram import principal_components
from oip.mi.estimators.results import LabelledResponses, MapEstimates
from oip.mi.resampling import Labels, Prepared, over_prepared
from oip.mi.validation import check_full_rank, heavy_tails, varied

DIGITS = 1e-12
"""Share of a coordinate's variance under which the part that others leave of it is rounding."""


def log_determinant(x: np.ndarray) -> float:
    """Return ln|S| of samples x (n, d) without constant coordinates; unbiased for Gaussians.

    Raises:
        DataError: not more samples than coordinates + 1.
    """
    n, d = x.shape
    if n < d + 2:
        hint = "Use fewer columns, such as principal components."
        expected = f"at least {d + 2} samples for {d} columns"
        raise DataError("gaussian: samples", expected, n, hint)
    centered = x - x.mean(axis=0)
    spread = np.sqrt((centered * centered).sum(axis=0))
    centered /= spread
    # The diagonal of R is the part of a coordinate that those before it leave.
    residual_norms = np.abs(np.diagonal(np.linalg.qr(centered, mode="r")))
    logs = 2 * np.log(np.maximum(residual_norms, math.sqrt(DIGITS))) + 2 * np.log(spread)
    return float(logs.sum() - bias(n, d))


def bias(n: int | np.ndarray, d: int) -> np.ndarray:
    """Return E ln|M| (...) of n (...) samples of covariance I, M their squares about the mean.

    They are Gaussian: sum_i psi((n - i) / 2) + d ln 2 for d coordinates.
    """
    from scipy.special import digamma

    halves = (np.asarray(n)[..., None] - np.arange(1, d + 1)) / 2
    return digamma(halves).sum(axis=-1) + d * math.log(2)


class LabelInformation:
    """Information of one map and any labels of any of its samples: sum_y p_y KL(N_y||N) in nats.

    N_y is the Gaussian of a class, N that of all samples, and
    KL(N_y||N) = 1/2 [<(x - m)' S^-1 (x - m)>_y - d + ln|S| - ln|S_y|], which sums to H(X) - H(X|Y)
    and is limited to -ln p_y: a mixture p has p(x) >= p_y p(x|y). Log-determinants are unbiased for
    Gaussian samples. Columns of x (n, d) that are constant are left out; classes of fewer than d +
    2 samples add nothing.

    With z all samples about their class's mean, turned so that their covariance W is I, heavy tails
    leave S_y uncertain by b^2 = (<|z|^4> - sum_y p_y [(tr S_y)^2 + 2 tr S_y^2]) / n_y more than
    Gaussian classes would. S_y is drawn to W by b^2 / (b^2 + |S_y - W|^2), after O. Ledoit, M. Wolf
    (Journal of Multivariate Analysis 88 (2004) 365): a map that one image excites says nothing of
    the classes in which it is silent. Classes that are Gaussian stay as they are.
    """

    def __init__(self, x: np.ndarray) -> None:
        x = varied(x)
        if x.shape[1] and len(x) > 1:
            left, sizes, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
            x = left[:, sizes > math.sqrt(DIGITS) * sizes[0]] * math.sqrt(len(x))
        self._samples = _Products(x)

    def __call__(self, codes: np.ndarray, indices: np.ndarray | None = None) -> float:
        """Return the information of labels (k,) of the samples at `indices` (k,), or of all."""
        return float(self.together([(codes, indices)])[0])

    def together(self, labels: Iterable[Labels], byte_budget: int = 16 << 20) -> np.ndarray:
        """Return the information of many labels, as many at a time as the budget holds."""
        n, d = self._samples.x.shape
        values: list[np.ndarray] = []
        remaining = iter(labels)
        while pairs := list(islice(remaining, 1)):
            classes = int(pairs[0][0].max()) + 1
            step = max(1, byte_budget // (32 * (n + classes * d * d)))
            pairs += islice(remaining, step - 1)
            codes = np.full((len(pairs), n), -1)
            for row, (class_codes, indices) in zip(codes, pairs, strict=True):
                row[slice(None) if indices is None else indices] = class_codes
            values.append(_informations(self._samples, codes))
        return np.concatenate(values) if values else np.empty(0)


class _Moments(NamedTuple):
    """Moments of c classes in b labels."""

    counts: np.ndarray
    """(b, c): samples."""
    means: np.ndarray
    """(b, c, d)"""
    sums: np.ndarray
    """(b, c, d, d): of products about the mean."""

    @property
    def total(self) -> np.ndarray:
        """(b, d, d): covariance of all samples."""
        between = self.deviations * np.sqrt(self.counts)[..., None]
        sums = self.sums.sum(axis=1) + between.transpose(0, 2, 1) @ between
        return sums / np.maximum(self.counts.sum(axis=1), 1)[:, None, None]

    @property
    def deviations(self) -> np.ndarray:
        """(b, c, d): means about that of all samples."""
        weights = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        return self.means - (weights[:, None] @ self.means)

    def rows(self, rows: np.ndarray) -> _Moments:
        """Return those of some labels (b,) bool."""
        return _Moments(*(values[rows] for values in self))


class _Products:
    """Samples (n, d) about their mean, and products of their coordinates."""

    def __init__(self, x: np.ndarray) -> None:
        self.center = x.sum(axis=0) / max(1, len(x))
        """(d,)"""
        self.x = x - self.center
        d = x.shape[1]
        first, second = np.triu_indices(d)
        self.products = self.x[:, first] * self.x[:, second]
        """(n, d (d + 1) / 2): of every two coordinates."""
        self._once = np.where(first == second, 1.0, 2.0)
        self._number = np.empty((d, d), int)
        self._number[first, second] = self._number[second, first] = np.arange(len(first))
        self._pairs = first, second

    def sums(self, members: np.ndarray) -> np.ndarray:
        """Return the sums of products (b, d, d) over members (b, n), 1 or 0."""
        return (members @ self.products)[:, self._number]

    def norms(self, metric: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """Return |x - origin|^2 (k, n) in metrics (k, d, d), from origins (k, d)."""
        turned = (metric @ origin[..., None])[..., 0]
        squares = (metric[:, *self._pairs] * self._once) @ self.products.T
        squares -= 2 * turned @ self.x.T
        squares += np.einsum("kd,kd->k", turned, origin)[:, None]
        return squares


class _Classes:
    """The samples of each class in labels (b, n), -1 for samples that are left out.

    Each class is taken about the mean of all that are ever in it, so that sums of products keep
    their digits.
    """

    def __init__(self, samples: _Products, codes: np.ndarray) -> None:
        highest = codes.max(axis=0)
        classes = range(int(highest.max()) + 1)
        if ((codes == highest) | (codes < 0)).all():  # a sample has one class only
            rows = [np.flatnonzero(highest == code) for code in classes]
            self._samples = [_Products(samples.x[members]) for members in rows]
            self._codes = [codes[:, members] for members in rows]
        else:
            self._samples = [samples] * len(classes)
            self._codes = [codes] * len(classes)

    def _parts(self) -> Iterator[tuple[int, _Products, np.ndarray]]:
        """Yield code and samples of each class, and (b, n): 1 for those that are in it."""
        for code, (samples, codes) in enumerate(zip(self._samples, self._codes, strict=True)):
            yield code, samples, (codes == code).astype(np.float64)

    @cached_property
    def moments(self) -> _Moments:
        """The moments of every class."""
        moments = []
        for _, samples, members in self._parts():
            counts = members.sum(axis=1)
            means = members @ samples.x / np.maximum(counts, 1)[:, None]
            sums = samples.sums(members)
            sums -= (means * counts[:, None])[..., None] * means[:, None]
            moments.append((counts, means + samples.center, sums))
        return _Moments(*(np.stack(values, axis=1) for values in zip(*moments, strict=True)))

    def fourth(self, rows: np.ndarray, metric: np.ndarray, is_fitted: np.ndarray) -> np.ndarray:
        """Return the sum of |x - m|^4 (k,) over used classes, m the class's mean, in a metric.

        Args:
            rows: (b,) bool: k of the labels.
            metric: (k, d, d), which gives |x|^2 = x' metric x.
            is_fitted: (k, classes)
        """
        result = np.zeros(len(metric))
        for code, samples, members in self._parts():
            norms = samples.norms(metric, self.moments.means[rows, code] - samples.center)
            result += is_fitted[:, code] * np.einsum("kn,kn,kn->k", norms, norms, members[rows])
        return result


def _informations(samples: _Products, codes: np.ndarray) -> np.ndarray:
    """Return the information (b,) of labels (b, n), -1 for samples that are left out.

    The samples (n, d) have the covariance I, if all of them are used; directions in which only
    others vary are left out.
    """
    result = np.zeros(len(codes))
    if samples.x.shape[1] == 0:
        return result
    classes = _Classes(samples, codes)
    moments = classes.moments
    squares, axes = np.linalg.eigh(moments.total)
    dimensions = (squares > DIGITS * np.maximum(squares[:, -1:], 1.0)).sum(axis=1)
    for d in np.unique(dimensions):
        rows = (dimensions == d) & (moments.counts.sum(axis=1) >= d + 2)
        if d and rows.any():
            white = axes[rows][..., -d:] / np.sqrt(squares[rows, None, -d:])
            result[rows] = _moment_information(classes, rows, white)
    return result


def _moment_information(classes: _Classes, rows: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Return the information (k,) of k labels (b,) bool, in which white (k, ., d) turns to I."""
    moments = classes.moments.rows(rows)
    d = white.shape[2]
    counts, n = moments.counts, moments.counts.sum(axis=1)
    is_fitted = counts >= d + 2
    metric = white @ white.transpose(0, 2, 1)
    deviations = moments.deviations
    mean_square = np.einsum("kcij,kij->kc", moments.sums, metric) / np.maximum(counts, 1) - d
    mean_square += ((deviations @ metric) * deviations).sum(axis=2)
    scatter = (moments.sums * is_fitted[..., None, None]).sum(axis=1)
    samples = np.maximum((counts * is_fitted).sum(axis=1), 1)
    scatter = white.transpose(0, 2, 1) @ scatter @ white / samples[:, None, None]
    squares, axes = np.linalg.eigh(scatter)
    squares = np.maximum(squares, DIGITS)
    turn = white @ (axes / np.sqrt(squares)[:, None])
    sizes = np.where(is_fitted, counts, d + 2)
    second_moments = _turned(_turned(moments.sums, turn), turn) / sizes[..., None, None]
    traces = np.trace(second_moments, axis1=2, axis2=3)
    gaussian = (
        is_fitted * sizes * (traces**2 + 2 * (second_moments * second_moments).sum(axis=(2, 3)))
    ).sum(axis=1)
    fourth = classes.fourth(rows, turn @ turn.transpose(0, 2, 1), is_fitted)
    heavy = np.maximum(0.0, (fourth - gaussian) / samples)[:, None]
    distance = ((second_moments - np.eye(d)) ** 2).sum(axis=(2, 3))
    denominator = heavy + sizes * distance
    shrinkage = np.divide(heavy, denominator, out=np.zeros_like(distance), where=heavy > 0)
    mixed = (1 - shrinkage)[..., None, None] * second_moments + shrinkage[..., None, None] * np.eye(
        d
    )
    logs = _log_determinants(mixed) + np.log(squares).sum(axis=1)[:, None]
    # The part that was drawn to W has the small bias of W, not that of a class.
    alone = (1 - shrinkage) ** 2
    total = (d * np.log(n) - bias(n, d))[:, None]
    logs += alone * (d * np.log(sizes) - bias(sizes, d)) + (1 - alone) * total
    shares = sizes / n[:, None]
    values = shares * np.minimum(0.5 * (mean_square + total - logs), -np.log(shares))
    return (is_fitted * values).sum(axis=1)


def _turned(matrices: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return the transposes (k, c, d, i) of matrices (k, c, i, j) times turn (k, j, d)."""
    k, c, i, j = matrices.shape
    return (matrices.reshape(k, c * i, j) @ turn).reshape(k, c, i, -1).transpose(0, 1, 3, 2)


def _log_determinants(matrices: np.ndarray) -> np.ndarray:
    """Return ln|M| (...) of matrices (..., d, d) without negative eigenvalues, `DIGITS` at least.

    By elimination of all at once; by eigenvalues where one of them may be as small.
    """
    d = matrices.shape[-1]
    flat = matrices.reshape(-1, d, d)
    eliminated = np.ascontiguousarray(flat.transpose(1, 2, 0))
    for index in range(d - 1):
        factors = eliminated[index + 1 :, index] / np.maximum(eliminated[index, index], DIGITS)
        eliminated[index + 1 :, index + 1 :] -= factors[:, None] * eliminated[index, index + 1 :]
    pivots = eliminated[np.arange(d), np.arange(d)]
    logs = np.log(np.maximum(pivots, DIGITS)).sum(axis=0)
    # The least eigenvalue is |M| ((d - 1) / tr M)^(d - 1) at least.
    traces = np.maximum(np.trace(flat, axis1=1, axis2=2), DIGITS)
    bounds = logs + (d - 1) * np.log(max(d - 1, 1) / traces)
    small = ~(bounds > math.log(DIGITS)) | (pivots <= DIGITS).any(axis=0)
    if small.any():
        squares = np.maximum(np.linalg.eigvalsh(flat[small]), DIGITS)
        logs[small] = np.log(squares).sum(axis=1)
    return logs.reshape(matrices.shape[:-2])


@dataclass(frozen=True)
class Gaussian(LabelEstimator):
    """Quantities of the Gaussian that has the samples' covariance S.

    H = 1/2 ln det(2 pi e S); I(X;Y) = 1/2 ln(|S_x| |S_y| / |S|); T = 1/2 ln(prod S_ii / |S|);
    I(X;Y|Z) = 1/2 ln(|S_xz| |S_yz| / |S_xyz| |S_z|); KL of two Gaussians. Log-determinants are
    unbiased for Gaussian samples: E ln|S| = ln|Sigma| + sum_i psi((n - i) / 2) - d ln((n - 1) / 2).

    With a label I(X;Y) = H(X) - sum_y p_y H(X|y) = sum_y p_y KL(N_y||N), each entropy as of a
    Gaussian, and each class's KL limited to the -ln p_y that no mixture exceeds. Since H(X) is that
    of a mixture it is too large: the value exceeds I(X;Y) where classes are Gaussian, and misses
    classes that differ otherwise. A class's covariance is shrunk to that within all classes where
    tails are too heavy to estimate it. Wide responses are reduced to their leading
    principal components: `components`, fewer where a class has few samples. A class of too few
    samples for that adds nothing.

    Exact for Gaussian samples, a lower bound of I(X;Y) for Gaussian X and Y that are joined in
    another way; else an index of linear dependence. Needs more samples than coordinates.

    Coordinates that others determine leave 1e-12 of their variance by convention, so that identical
    samples have 13.8 nats a coordinate, the ceiling. Constant coordinates have no information.

    Use it where data are near Gaussian, as a quick index of linear dependence, and as the reference
    for other estimators. Not for dependence without correlation, nor for a bound with labels.

    Units:
        Nats inside, bits where it is shown.

    References:
        N. A. Ahmed, D. V. Gokhale: Entropy expressions and their estimators for multivariate
        distributions. IEEE Transactions on Information Theory 35 (1989) 688.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 2000))
        >>> round(mi.mutual_information(a, a + b, "gaussian").nats, 1)  # ln(2) / 2
        0.3
    """

    name: ClassVar[str] = "gaussian"
    name_shown: ClassVar[str] = "mutual information (Gaussian)"

    components: int = 8
    """Most principal components of responses, for information about a label."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("gaussian: components", self.components)

    def _map_estimates(self, samples: LabelledResponses) -> MapEstimates:
        """See `LabelEstimator._map_estimates`."""
        count = int(np.clip(np.bincount(samples.codes).min() // 2 - 2, 1, self.components))

        def prepare(x: np.ndarray) -> Prepared | None:
            if x.shape[1] > count:
                rng = seeds.generator(samples.seed, "gaussian projection")
                x = principal_components(x, count, rng)
            scores = varied(x.astype(np.float64))
            if not scores.shape[1]:
                return None
            scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
            information = LabelInformation(scores)
            return Prepared(information, _heavy(x=scores), information.together)

        return over_prepared(prepare, samples)

    def information(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Return 1/2 ln(|S_x| |S_y| / |S|)."""
        x, y = varied(x), varied(y)
        ceiling = -0.5 * math.log(DIGITS) * min(x.shape[1], y.shape[1])
        if not x.shape[1] or not y.shape[1]:
            return RawEstimate(0.0, ceiling=ceiling)
        nats = _sum((1, [x]), (1, [y]), (-1, [x, y]))
        return RawEstimate(nats, ceiling=ceiling, notices=_heavy(x=x, y=y))

    def conditional_information(
        self, x: np.ndarray, y: np.ndarray, given: np.ndarray, seed: int
    ) -> RawEstimate:
        """Return 1/2 ln(|S_xz| |S_yz| / |S_xyz| |S_z|)."""
        x, y, z = varied(x), varied(y), varied(given)
        ceiling = -0.5 * math.log(DIGITS) * min(x.shape[1], y.shape[1])
        if not x.shape[1] or not y.shape[1]:
            return RawEstimate(0.0, ceiling=ceiling)
        nats = _sum((1, [x, z]), (1, [y, z]), (-1, [x, y, z]), (-1, [z]))
        return RawEstimate(nats, ceiling=ceiling, notices=_heavy(x=x, y=y, given=z))

    def entropy(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Return 1/2 ln det(2 pi e S)."""
        _check_varied("x", x)
        return RawEstimate(
            0.5 * x.shape[1] * (math.log(2 * math.pi) + 1) + 0.5 * log_determinant(x)
        )

    def total_correlation(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Return 1/2 ln(prod S_ii / |S|)."""
        x = varied(x)
        if x.shape[1] < 2:
            return RawEstimate(0.0)
        single: list[tuple[int, list[np.ndarray]]] = [(1, [column[:, None]]) for column in x.T]
        ceiling = -0.5 * math.log(DIGITS) * (x.shape[1] - 1)
        return RawEstimate(_sum(*single, (-1, [x])), ceiling=ceiling, notices=_heavy(x=x))

    def divergence(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Return KL of the Gaussian of x from that of y.

        1/2 [tr(S_y^-1 S_x) + (m_y - m_x)' S_y^-1 (m_y - m_x) - d + ln|S_y| - ln|S_x|].
        """
        for name, side in (("x", x), ("y", y)):
            _check_varied(name, side)
        d = x.shape[1]
        logs = log_determinant(y) - log_determinant(x)
        for name, side in (("x", x), ("y", y)):
            check_full_rank(f"gaussian: {name}", side)
        first, second = np.atleast_2d(np.cov(x.T)), np.atleast_2d(np.cov(y.T))
        difference = y.mean(axis=0) - x.mean(axis=0)
        # E S^-1 = Sigma^-1 (m - 1) / (m - d - 2): the inverse covariance is too large.
        shrunk = max(1.0, len(y) - d - 2) / (len(y) - 1)
        solved = (
            np.linalg.solve(second, np.concatenate([first, difference[:, None]], axis=1)) * shrunk
        )
        trace = np.trace(solved[:, :d])
        distance = difference @ solved[:, d]
        distance -= shrunk * np.trace(np.linalg.solve(second, first)) / len(x)
        distance -= d / len(y)
        nats = 0.5 * float(trace + distance - d + logs)
        return RawEstimate(nats, notices=_heavy(x=x, y=y))


def _heavy(**sides: np.ndarray) -> tuple[str, ...]:
    return heavy_tails("a few samples make the covariance", **sides)


def _check_varied(name: str, x: np.ndarray) -> None:
    if varied(x).shape[1] < x.shape[1]:
        raise DataError(f"gaussian: {name}", "coordinates that vary", "a constant one")


def _sum(*terms: tuple[int, Sequence[np.ndarray]]) -> float:
    """Return half the sum of signed log-determinants of blocks that are joined."""
    return 0.5 * sum(
        sign * log_determinant(np.concatenate(blocks, axis=1))
        for sign, blocks in terms
        if sum(block.shape[1] for block in blocks)
    )
