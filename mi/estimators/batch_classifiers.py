"""Classifiers that are fitted to many folds of the same samples, all fits at once; the folds.

By hand, since scikit-learn and Keras fit one at a time: a ranking needs thousands of small fits.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from oip.core import seeds

BYTE_BUDGET = 24 << 20
"""Bytes of the samples of fits that are done at once; one fit may take more."""
_MEMORY = 4
"""Pairs of steps and changes of slope that the curvature is estimated from."""
_ENOUGH, _SHORTER, _ROUNDING = 1e-4, 0.35, 1e-7
"""Share of the expected fall that a step must reach; length of the next try if it does not; what
losses in single precision are uncertain by."""

Objective = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(fits, weights) -> the loss of every fit (fits,), and its slope (fits, weights)."""


def fit_logistic(
    features: np.ndarray,
    onehot: np.ndarray,
    masks: np.ndarray,
    penalties: np.ndarray,
    tolerance: float = 5e-4,
    steps: int = 60,
    byte_budget: int = BYTE_BUDGET,
) -> np.ndarray:
    """Return the weights (fits, k, classes, r + 1) of multinomial logistic regressions.

    Each minimizes the mean cross-entropy + penalty / (2 samples) |weights|^2, see `_minimize`. The
    last weight is the intercept. Features should be centered and uncorrelated over all n, as
    principal components are: their variances are the curvature to begin with.

    Args:
        features, onehot, masks: (n, r), (classes, n), and (fits, n) bool: the samples of each fit.
        penalties: (fits, k), above 0; the intercept has none. A fit begins each time at its
            solution for the penalty before, so that falling ones are quickest.
        tolerance: expected fall of the loss by a step, in nats a sample, at which a fit ends. The
            default leaves the cross-entropy within a few thousandths of a nat.
        steps: evaluations of the loss for each penalty, at most.
        byte_budget: bytes of the samples of fits that are done at once.
    """
    classes, width = len(onehot), features.shape[1] + 1
    result = np.empty((*penalties.shape, classes, width), features.dtype)
    for fits, samples in _sample_blocks(features, onehot, masks, byte_budget):
        weights = np.zeros((len(samples), classes * width), features.dtype)
        for index, penalty in enumerate(penalties[fits].T):
            pull = samples.pull(penalty, (classes, width))
            scale = 1 / (np.tile(samples.squares, (1, classes)) / classes + pull)
            objective = _logistic_loss(samples, pull, (-1, classes, width))
            weights = _minimize(objective, weights, scale.__mul__, tolerance, steps)
            result[fits, index] = weights.reshape(-1, classes, width)
    return result


def _logistic_loss(samples: _Samples, pull: np.ndarray, shape: tuple[int, ...]) -> Objective:
    def objective(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slope = pull * flat
        odds = flat.reshape(shape) @ samples.inputs
        loss = 0.5 * _dot(slope, flat) + samples.cross_entropy(odds)
        slope.reshape(shape)[:] += odds @ samples.inputs.transpose(0, 2, 1)
        return loss, slope

    return objective


def logistic_log_probabilities(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return log-probabilities (..., classes, n) from (n, r) and weights of `fit_logistic`."""
    return _log_softmax(weights[..., :-1] @ features.T + weights[..., -1:])


def _log_softmax(odds: np.ndarray) -> np.ndarray:
    """Replace odds (..., classes, n) by log-probabilities."""
    odds -= odds.max(axis=-2, keepdims=True)
    odds -= np.log(np.exp(odds).sum(axis=-2, keepdims=True))
    return odds


def softmax(odds: np.ndarray) -> np.ndarray:
    """Replace log-odds (..., classes, n) by probabilities; in place, which SciPy's does not."""
    odds -= odds.max(axis=-2, keepdims=True)
    np.exp(odds, out=odds)
    odds /= odds.sum(axis=-2, keepdims=True)
    return odds


_ROUNDS, _MEMBER_PRIOR = 60, 0.5
"""Steps to the weights of a mixture; samples that are added to each member."""


def mixtures(probabilities: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return weights (k, members) that maximize the mean log of k mixtures' probabilities, sum 1.

    By steps of expectation and maximization from equal weights. A prior of half a sample a member
    leaves none at 0.

    Args:
        probabilities: (k, members, n) of each sample's own class.
        masks: (k, n) bool: the samples of each mixture.
    """
    k, members, _ = probabilities.shape
    share = masks[:, None].astype(np.float64)
    weights = np.full((k, 1, members), 1.0 / members)
    total = share.sum(axis=2, keepdims=True) + _MEMBER_PRIOR * members
    turned = probabilities.transpose(0, 2, 1)
    for _ in range(_ROUNDS):
        responsible = weights * ((share / (weights @ probabilities)) @ turned)
        weights = (responsible + _MEMBER_PRIOR) / total
    return weights[:, 0]


SHRINKAGES = (0.02, 0.1, 0.5)
"""Shares of a covariance without directions in that of the classes, for discriminants."""
_MEAN_PRIOR, _SHARE_PRIOR, _LEAST = 1.0, 0.5, 1e-7
"""Samples that the mean of all classes counts in that of one, and that are added to each class;
least variance, of features whose squares sum to 1."""


def fit_discriminants(
    features: np.ndarray, codes: np.ndarray, folds: np.ndarray, masks: np.ndarray
) -> np.ndarray:
    """Return the weights (fits, k, classes, r + 1) of linear discriminants, the intercept last.

    Classes are Gaussians of one covariance. With S the covariance within classes and s its mean
    variance it is (1 - g) S + g s I, for each g of `SHRINKAGES` (J. H. Friedman: Regularized
    discriminant analysis. Journal of the American Statistical Association 84 (1989) 165). All fits
    come from the same sums over each class of each fold.

    Args:
        features: (n, r) float32, of a mean squared norm of about 1.
        codes, folds: (n,) int.
        masks: (fits, folds) bool: the folds of each fit.
    """
    count, classes, r = masks.shape[1], int(codes.max()) + 1, features.shape[1]
    member = np.zeros((count, classes, len(codes)), np.float32)
    member[folds, codes, np.arange(len(codes))] = 1.0
    weight = masks.astype(np.float32)

    def of_fits(sums: np.ndarray) -> np.ndarray:
        return np.tensordot(weight, sums, 1)

    by_fold = [features[folds == fold] for fold in range(count)]
    squares = of_fits(np.stack([samples.T @ samples for samples in by_fold]))
    sums, sizes = of_fits(member @ features), of_fits(member.sum(axis=2))
    total = np.maximum(sizes.sum(axis=1), 1)[:, None]
    grand = _MEAN_PRIOR * sums.sum(axis=1, keepdims=True) / total[..., None]
    means = (sums + grand) / (sizes + _MEAN_PRIOR)[..., None]
    share = np.log((sizes + _SHARE_PRIOR) / (total + _SHARE_PRIOR * classes))
    centers = sums / np.sqrt(np.maximum(sizes, 1))[..., None]
    freedom = np.maximum(total - classes, 1)[..., None]
    scatter = (squares - centers.transpose(0, 2, 1) @ centers) / freedom
    size = np.trace(scatter, axis1=1, axis2=2)[:, None, None] / r * np.eye(r, dtype=np.float32)
    result = np.empty((len(masks), len(SHRINKAGES), classes, r + 1), np.float32)
    for index, shrinkage in enumerate(SHRINKAGES):
        covariance = (1 - shrinkage) * scatter + shrinkage * size
        covariance += _LEAST * np.eye(r, dtype=np.float32)
        slopes = np.linalg.solve(covariance, means.transpose(0, 2, 1)).transpose(0, 2, 1)
        result[:, index, :, :-1] = slopes
        result[:, index, :, -1] = share - 0.5 * (means * slopes).sum(axis=2)
    return result


UNITS = 24
"""In the hidden layer."""
STEPS = 16
NETWORK_COMPONENTS = 24
"""Leading features that a network sees."""
PRIOR = 1.0
"""Prior variance of every weight; the intercepts of the classes have none."""
_SPREAD = 1.5
"""Deviation of a hidden unit's input at the start, for a sample of typical size."""
_CURVATURE = 0.15
"""Curvature of the loss along a weight of the hidden layer, over the variance of its input."""
_FLOOR = 1e-4
"""Least curvature along the weights of the classes."""


class Networks:
    """A small network for each fit: p(y|x) = softmax(V tanh(W x + b) + c).

    All fits start at the same W and b, and at V = 0; they minimize the cross-entropy of their
    samples with a Gaussian prior of the weights, in at most so many evaluations of it, see
    `_minimize`. The fits do not depend on one another.

    Args:
        features: (n, r) float32, centered, of a mean squared norm of about 1.
        onehot, masks: (classes, n) bool, and (fits, n) bool: the samples of each fit.
        seed: of the start.
        units, steps: in the hidden layer; evaluations of the loss.
        byte_budget: bytes of the samples of fits that are done at once.
    """

    def __init__(
        self,
        features: np.ndarray,
        onehot: np.ndarray,
        masks: np.ndarray,
        seed: int,
        units: int = UNITS,
        steps: int = STEPS,
        byte_budget: int = BYTE_BUDGET,
    ):
        self._inputs = _upright(features)
        draw = seeds.generator(seed, "small network").normal(size=(units, features.shape[1] + 1))
        start = (_SPREAD * draw).astype(np.float32)
        fits = [
            _trained_network(block_of_samples, start, len(onehot), steps)
            for _, block_of_samples in _sample_blocks(self._inputs, onehot, masks, byte_budget)
        ]
        self._first, self._last = (np.concatenate(weights) for weights in zip(*fits, strict=True))

    def log_odds(self, fits: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return log-odds (fits, classes, k) of k samples."""
        first, last = self._first[fits], self._last[fits]
        hidden = np.tanh(first[..., :-1] @ self._inputs[rows].T + first[..., -1:])
        return last[..., :-1] @ hidden + last[..., -1:]


def _trained_network(
    samples: _Samples, start: np.ndarray, classes: int, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (fits, units, r + 1) and (fits, classes, units + 1), thresholds last."""
    fits, (units, width), cut = len(samples), start.shape, start.size
    penalty = np.full(fits, 1 / PRIOR)
    pull = np.concatenate(
        [
            np.repeat(samples.pull(penalty, (1, 2))[:, :1], cut, axis=1),
            samples.pull(penalty, (classes, units + 1)),
        ],
        axis=1,
    )
    active = np.ones((fits, units + 1, samples.share.shape[1]), np.float32)
    hidden = active[:, :units]

    def layers(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, last = flat[:, :cut], flat[:, cut:]
        return first.reshape(-1, units, width), last.reshape(-1, classes, units + 1)

    def objective(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slope = pull * flat
        first, last = layers(flat)
        np.tanh(first @ samples.inputs, out=hidden)
        odds = last @ active
        loss = 0.5 * _dot(slope, flat) + samples.cross_entropy(odds)
        inner_slope = last[..., :units].transpose(0, 2, 1) @ odds
        inner_slope *= 1 - hidden * hidden
        slope_first, slope_last = layers(slope)
        slope_first += inner_slope @ samples.inputs.transpose(0, 2, 1)
        slope_last += odds @ active.transpose(0, 2, 1)
        return loss, slope

    flat = np.zeros(pull.shape, np.float32)
    layers(flat)[0][:] = start
    np.tanh(start @ samples.inputs, out=hidden)
    inverse = (active * samples.share[:, None]) @ active.transpose(0, 2, 1) / classes
    diagonal = np.arange(units + 1)
    inverse[:, diagonal, diagonal] += pull[:, cut : cut + units + 1] + _FLOOR
    inverse = np.linalg.inv(inverse)
    across = 1 / (_CURVATURE * samples.squares + pull[:, :1])[:, None]

    def precondition(slope: np.ndarray) -> np.ndarray:
        result = np.empty_like(slope)
        ahead, (first, last) = layers(result), layers(slope)
        np.multiply(first, across, out=ahead[0])
        ahead[1][:] = last @ inverse
        return result

    return layers(_minimize(objective, flat, precondition, 0.0, steps))


BLOCK_BYTES = 1 << 20
"""Of distances of some samples that are worked on at once."""
_FEW = 4
"""Features up to which distances are summed one by one: products of matrices are slower."""
_SORTED = 512
"""Numbers of a row that NumPy sorts in a third of the time that longer rows take a number."""
_SUM_BASE = 1 << 12
"""Samples up to which two counts fit in one number of single precision."""


def neighbor_sums(features: np.ndarray, label: np.ndarray, neighbors: Sequence[int]) -> np.ndarray:
    """Return the sums (k, n, width) of labels (n, width) over the nearest others of each sample.

    Samples as far as the last neighbor are neighbors, too. Labels are 0 or 1. Of rising numbers of
    neighbors, those that n samples do not have are left out, but one.
    """
    n = len(features)
    neighbors = [k for k in neighbors if k < n - 1] or [n - 1]
    if features.shape[1] == 1:
        return np.stack([_line_sums(features[:, 0], label, k) for k in neighbors])
    sums = np.empty((len(neighbors), *label.shape), np.float32)
    for start, block in _distances(features):
        smallest_distances = _smallest(block, neighbors[-1])
        limits = [smallest_distances[:, k - 1 : k] for k in neighbors]
        rows = slice(start, start + len(block))
        if len(neighbors) == 2 and n < _SUM_BASE:
            weights = (block <= limits[0]).astype(np.float32)
            weights *= _SUM_BASE
            weights += block <= limits[1]
            packed_sums = weights @ label
            np.floor(packed_sums / _SUM_BASE, out=sums[0, rows])
            np.subtract(packed_sums, _SUM_BASE * sums[0, rows], out=sums[1, rows])
            continue
        for member, limit in enumerate(limits):
            np.matmul((block <= limit).astype(np.float32), label, out=sums[member, rows])
    return sums


def _smallest(block: np.ndarray, count: int) -> np.ndarray:
    """Return the smallest numbers (rows, count) of every row, rising."""
    sorted_blocks = [
        np.sort(block[:, start : start + _SORTED], axis=1)[:, :count]
        for start in range(0, block.shape[1], _SORTED)
    ]
    return np.sort(np.concatenate(sorted_blocks, axis=1), axis=1)[:, :count]


def _line_sums(values: np.ndarray, label: np.ndarray, k: int) -> np.ndarray:
    """Return the sums (n, width) of labels (n, width) over the k nearest of numbers (n,)."""
    order = np.argsort(values, kind="stable")
    rising = values[order].astype(np.float64)
    infinities = np.full(k, np.inf)
    around = np.lib.stride_tricks.sliding_window_view(
        np.concatenate([-infinities, rising, infinities]), len(rising)
    )
    radius = np.maximum(rising - around[: k + 1], around[k:] - rising).min(axis=0)
    cumulative = np.concatenate([np.zeros((1, label.shape[1])), np.cumsum(label[order], axis=0)])
    last = np.searchsorted(rising, rising + radius, side="right")
    sums = np.empty_like(label)
    sums[order] = cumulative[last] - cumulative[np.searchsorted(rising, rising - radius)]
    return sums - label


def _distances(features: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first of some samples, and float32 (some, n) that rise with the distances to all.

    They are squared distances, less the own squared norm where there are many features; infinity
    for the sample itself. Equal samples are equally far. A block is overwritten by the next one.
    """
    n, r = features.shape
    is_narrow = r <= _FEW
    step = min(n, max(1, BLOCK_BYTES // (16 * n if is_narrow else 8 * n)))
    blocks, work = np.empty((step, n), np.float32), np.empty((step, n), "f4" if is_narrow else "f8")
    if is_narrow:
        columns = np.ascontiguousarray(features.T)
    else:
        wide = features.astype(np.float64)
        turned = np.concatenate([-2 * wide, (wide * wide).sum(axis=1, keepdims=True)], axis=1).T
        wide = np.concatenate([wide, np.ones((n, 1))], axis=1)
    for start in range(0, n, step):
        count = min(step, n - start)
        block, buffer = blocks[:count], work[:count]
        if is_narrow:
            block[:] = 0.0
            for column in columns:
                np.subtract(column[start : start + count, None], column, out=buffer)
                block += np.multiply(buffer, buffer, out=buffer)
        else:
            block[:] = np.matmul(wide[start : start + count], turned, out=buffer)
        rows = np.arange(count)
        block[rows, start + rows] = np.inf
        yield start, block


class _Samples:
    """The samples of some fits, side by side."""

    def __init__(self, features: np.ndarray, onehot: np.ndarray, masks: np.ndarray, width: int):
        """Take the samples of `masks` (fits, n) bool of all, up to `width` a fit."""
        kind = features.dtype
        counts = masks.sum(axis=1)[:, None]
        rows = np.zeros((len(masks), width), int)
        for row, mask in zip(rows, masks, strict=True):
            members = np.flatnonzero(mask)
            row[: len(members)] = members
        self._sample_share = 1 / np.maximum(counts, 1)
        self.share = np.where(np.arange(width) < counts, self._sample_share, 0).astype(kind)
        """(fits, width): shares of the samples, 0 behind the last."""
        self.inputs = np.ones((len(rows), features.shape[1] + 1, width), kind)
        """(fits, r + 1, width): features and 1."""
        self.inputs[:, :-1] = features[rows].transpose(0, 2, 1)
        self.squares = ((self.inputs * self.inputs) @ self.share[..., None])[..., 0]
        """(fits, r + 1): mean squares of the inputs."""
        self._target = onehot.T[rows].transpose(0, 2, 1) * self.share[:, None]

    def __len__(self) -> int:
        return len(self.share)

    def pull(self, penalties: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Return the penalties (fits,) of weights of a shape, a sample; none of a row's last.

        (fits, weights).
        """
        result = np.zeros((len(self), *shape), self.share.dtype)
        result[..., :-1] = (penalties[:, None] * self._sample_share)[..., None]
        return result.reshape(len(self), -1)

    def cross_entropy(self, odds: np.ndarray) -> np.ndarray:
        """Return the mean cross-entropy (fits,) of odds (fits, classes, width).

        The odds are replaced by its slope.
        """
        odds -= odds.max(axis=1, keepdims=True)
        class_odds = _dot(odds.reshape(len(odds), -1), self._target.reshape(len(odds), -1))
        np.exp(odds, out=odds)
        total = odds.sum(axis=1)
        loss = np.einsum("fn,fn->f", self.share, np.log(total)) - class_odds
        odds *= (self.share / total)[:, None]
        odds -= self._target
        return loss


def _sample_blocks(
    features: np.ndarray, onehot: np.ndarray, masks: np.ndarray, byte_budget: int
) -> Iterator[tuple[slice, _Samples]]:
    """Yield fits and their samples, as many as the budget holds."""
    width = max(1, int(masks.sum(axis=1).max()))
    numbers = features.shape[1] + 1 + len(onehot)
    count = max(1, byte_budget // (features.itemsize * width * numbers))
    for start in range(0, len(masks), count):
        fits = slice(start, start + count)
        yield fits, _Samples(features, onehot, masks[fits], width)


def _minimize(
    objective: Objective,
    start: np.ndarray,
    precondition: Callable[[np.ndarray], np.ndarray],
    tolerance: float,
    steps: int,
) -> np.ndarray:
    """Return weights (fits, weights) of a small loss, from those at the start, by L-BFGS.

    J. Nocedal: Updating quasi-Newton matrices with limited storage. Mathematics of Computation 35
    (1980) 773. Every fit has its own curvature and lengths of steps, and stays where it is once it
    has ended: it does not depend on the others.

    Args:
        objective, start: the losses, each a mean over samples; the weights to begin with.
        precondition: slope -> slope over a fixed estimate of the curvature.
        tolerance: fall of the loss that a step promises, at which a fit ends.
        steps: evaluations of the objective, at most.
    """
    kind, weights = start.dtype, start
    value, slope = objective(weights)
    direction = -precondition(slope)
    length, scale = np.ones(len(weights)), np.ones(len(weights))
    is_finished = np.zeros(len(weights), bool)
    pairs: deque[tuple[np.ndarray, np.ndarray, np.ndarray]] = deque(maxlen=_MEMORY)
    for _ in range(steps - 1):
        fall = _dot(slope, direction)
        is_finished |= fall >= -2 * tolerance
        if is_finished.all():
            break
        step = np.where(is_finished, 0.0, length)[:, None].astype(kind) * direction
        tried = weights + step
        next_value, next_slope = objective(tried)
        better = ~is_finished & (next_value <= value + _ENOUGH * length * fall + _ROUNDING)
        change = next_slope - slope
        curvature, shape = _dot(step, change), _dot(change, precondition(change))
        is_update = better & (curvature > 0)
        pairs.append(
            (step, change, np.where(is_update, 1 / np.where(is_update, curvature, 1.0), 0.0))
        )
        scale = np.where(is_update, curvature / np.where(is_update, shape, 1.0), scale)
        weights = _rows_of_both(better, tried, weights)
        value = np.where(better, next_value, value)
        slope = _rows_of_both(better, next_slope, slope)
        direction = _rows_of_both(better, _direction(slope, pairs, precondition, scale), direction)
        length = np.where(better, 1.0, _SHORTER * length)
    return weights


def _direction(
    slope: np.ndarray,
    pairs: deque[tuple[np.ndarray, np.ndarray, np.ndarray]],
    precondition: Callable[[np.ndarray], np.ndarray],
    scale: np.ndarray,
) -> np.ndarray:
    """Return minus the slope over the curvature: the two loops of L-BFGS."""
    kind, result, factors = slope.dtype, slope.copy(), []
    for step, change, inverse in reversed(pairs):
        factors.append(inverse * _dot(step, result))
        result -= factors[-1][:, None].astype(kind) * change
    result = scale[:, None].astype(kind) * precondition(result)
    for step, change, inverse in pairs:
        factor = factors.pop() - inverse * _dot(change, result)
        result += factor[:, None].astype(kind) * step
    return -result


def _rows_of_both(rows: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return some rows of the first array, the others of the second."""
    return first if rows.all() else np.where(rows[:, None], first, second)


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the products (fits,) of rows."""
    return (first[:, None] @ second[:, :, None])[:, 0, 0].astype(np.float64)


def _upright(features: np.ndarray) -> np.ndarray:
    """Turn the longer tail of every column upward: principal components have no sign."""
    wide = features.astype(np.float64)
    tails = (wide * wide * wide).sum(axis=0)  # a power takes ten times as long
    return features * np.where(tails < 0, -1, 1).astype(features.dtype)


FOLDS = 5
_FAR = 8.0
"""Median distances from the middle beyond which samples are drawn in."""


@dataclass(frozen=True, eq=False)
class Arrangement:
    """An order of samples and classes that follows from the responses of one map.

    Samples are sorted by a random combination of their coordinates, class by class, and then put in
    a random order; classes are sorted by size, then by the mean place of their samples. So it does
    not matter in which order samples are given, what classes are called, nor the unit of x. In this
    order, samples go to the folds in turns, so that every class is spread evenly over them.
    """

    order: np.ndarray
    """(n,) int: samples, those of a class one after the other."""
    classes: np.ndarray
    """(classes,) int: codes of the classes."""
    codes: np.ndarray
    """(n,) int: for each sample of `order` the place of its class in `classes`; the same for all
    maps of one label."""

    @classmethod
    def of(cls, x: np.ndarray, codes: np.ndarray, seed: int) -> Arrangement:
        """Return the arrangement of responses x (n, d) and labels (n,) int."""
        x = np.asarray(x)
        mix = seeds.generator(seed, "fold order").standard_normal(x.shape[1])
        ranks = np.unique((x * mix).sum(axis=1, dtype=np.float64), return_inverse=True)[1]
        counts = np.bincount(codes)
        classes = np.lexsort((np.bincount(codes, ranks) / counts, counts))
        ordinals = np.argsort(classes)[codes]
        by_rank = np.lexsort((ordinals, ranks))
        # One order of ranks for all maps would favor or harm all of them together.
        content = ordinals[by_rank].astype(np.int32).tobytes()
        digest = hashlib.blake2b(content, digest_size=6).digest()
        random = seeds.generator(seed, "folds", int.from_bytes(digest, "little"))
        members = [by_rank[ordinals[by_rank] == ordinal] for ordinal in range(len(classes))]
        order = np.concatenate([random.permutation(indices) for indices in members])
        return cls(order, classes, np.repeat(np.arange(len(classes)), counts[classes]))

    @property
    def folds(self) -> np.ndarray:
        """(n,) int: the fold of each sample as it was given, 0 to 4."""
        folds = np.empty(len(self.order), int)
        folds[self.order] = np.arange(len(self.order)) % FOLDS
        return folds


def drawn_in(x: np.ndarray) -> np.ndarray:
    """Return x (n, d) with samples that are very far from all others drawn in.

    Directions from the median stay; a distance r beyond c = 8 median distances becomes
    c (2 - c / r), under 2 c. A few samples would else fix the scale on which all others are the
    same. x is returned as it is where no sample is that far.
    """
    largest = np.abs(x).max(initial=0.0)
    if largest == 0 or not _far_rows(x / largest - (x / largest).mean(axis=0)).any():
        return x
    deviations = np.asarray(x, np.float64) / largest
    deviations -= np.median(deviations, axis=0)
    is_far = _far_rows(deviations)
    if not is_far.any():
        return x
    ratio = _norms(deviations[is_far]) / (_FAR * _median_norm(deviations))
    deviations[is_far] *= ((2.0 - 1.0 / ratio) / ratio)[:, None]
    return deviations


def _far_rows(deviations: np.ndarray) -> np.ndarray:
    """Return (n,) bool: rows that are much longer than the median one."""
    return _norms(deviations) > _FAR * _median_norm(deviations)


def _median_norm(deviations: np.ndarray) -> float:
    """Return the median length of the rows that are not 0."""
    norms = _norms(deviations)
    return float(np.median(norms[norms > 0])) if norms.any() else 0.0


def _norms(deviations: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->i", deviations, deviations))
