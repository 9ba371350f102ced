"""Kernel estimators: responses as a mixture of Gaussians, one at each sample.

With noise of variance s^2 added to the responses M, the entropy of the mixture lies between two
bounds that need only the distances between samples.

References:
    A. Kolchinsky, B. D. Tracey: Estimating mixture entropy with pairwise distances. Entropy 19
    (2017) 361, eq. 10 with the Kullback-Leibler (upper) and Bhattacharyya (lower) distances.
    A. Kolchinsky, B. D. Tracey, D. H. Wolpert: Nonlinear information bottleneck. Entropy 21 (2019)
    1181.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from mi.estimators.base import LabelEstimator, MapEstimates
from mi.estimators.threads import each
from mi.gram import median_squared_distance, squared_distances
from mi.labels import class_entropies, label_entropy
from oip.core import seeds
from oip.core.errors import SettingsError, expected

_NULL_BUDGET = 128 << 20


@dataclass(frozen=True)
class Kde(LabelEstimator):
    """Pairwise-distance estimates with Gaussian kernels.

    I(Y;M) = H(M) - sum_y p_y H(M|y) is a difference of bounds and itself none; it is at most H(Y).
    I(X;M) = H(M) - H(M|X) is the information that the noisy response keeps of the sample; its
    bounds are true ones, of the mixture, and at most log n.

    A constant map has information 0 whatever the variance.
    """

    name: ClassVar[str] = "kde"
    name_shown: ClassVar[str] = "mutual information (kernel estimate)"
    held_out: ClassVar[bool] = False
    cheap_null: ClassVar[bool] = False

    relative: float = 0.1
    """Variance of the noise as a share of the map's median squared distance."""
    noise: float | None = None
    """Variance of the noise in the responses' own units, in place of `relative`."""
    bound: Literal["upper", "lower"] = "upper"
    """Which bound of the entropies is used."""

    def __post_init__(self) -> None:
        for name, value in (("relative", self.relative), ("noise", self.noise)):
            wrong = isinstance(value, bool) or not isinstance(value, (int, float))
            if value is not None and (wrong or not 0 < value < math.inf):
                raise SettingsError(expected(f"kde: {name}", "a number above 0", value))
        if self.relative is None:
            raise SettingsError(expected("kde: relative", "a number above 0", None))
        if self.bound not in ("upper", "lower"):
            raise SettingsError(expected("kde: bound", "upper or lower", f"'{self.bound}'"))

    @property
    def parameters(self) -> dict[str, Any]:
        """The variance and the bound."""
        variance = {"relative": self.relative} if self.noise is None else {"noise": self.noise}
        return {**variance, "bound": self.bound}

    def over_maps(
        self, responses: np.ndarray, codes: np.ndarray, seed: int, shuffles: int, draws: int
    ) -> MapEstimates:
        """See `LabelEstimator.over_maps`.

        Intervals are from stratified subsamples of half the samples without replacement. About
        their mean they vary as the estimate itself does over new samples, and unlike a bootstrap
        they hold no point twice, of which a kernel would see a distance of 0.
        """
        plan = _Plan.of(codes, seed, shuffles, draws)
        parts = each(lambda place: self._one(responses[:, place], plan), range(responses.shape[1]))
        raw, per_class, drawn, null = ([part[place] for part in parts] for place in range(4))
        return MapEstimates(
            raw=np.array(raw),
            ceiling=np.full(len(raw), label_entropy(codes)),
            per_class_raw=np.array(per_class),
            class_ceiling=class_entropies(codes),
            draws=np.stack(drawn, axis=1),
            null=np.stack(null, axis=1),
        )

    def input_information(self, x: np.ndarray) -> float:
        """I(X;M) in nats of responses x (n, d), when M is x with the noise added."""
        kernel = self._kernel(squared_distances(x))
        return 0.0 if kernel is None else float(-np.log(kernel.mean(axis=1)).mean())

    def entropy(self, x: np.ndarray) -> float:
        """H(M) in nats of responses x (n, d) with the noise added.

        Raises:
            SettingsError: x is constant and the variance is relative to it.
        """
        distances = squared_distances(x)
        variance = self._variance(distances)
        if variance == 0:
            hint = "Give a variance of its own, such as noise=0.1."
            raise SettingsError(expected("kde: x", "samples that differ", "a constant", hint))
        noise_entropy = 0.5 * x.shape[1] * (math.log(2 * math.pi * variance) + 1)
        return noise_entropy + self.input_information(x)

    def _variance(self, distances: np.ndarray) -> float:
        if self.noise is not None:
            return float(self.noise)
        return self.relative * median_squared_distance(distances)

    def _kernel(self, distances: np.ndarray) -> np.ndarray | None:
        """exp(-distance of the pair), computed in place; None if all samples are the same."""
        if not distances.any():
            return None
        variance = self._variance(distances)
        distances /= -(2.0 if self.bound == "upper" else 8.0) * variance
        return np.exp(distances, out=distances)

    def _one(self, x: np.ndarray, plan: _Plan) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Estimate, one-vs-rest (classes,), draws and null of one map's responses (n, d)."""
        kernel = self._kernel(squared_distances(x[plan.order]))
        if kernel is None:
            still = np.zeros(len(plan.counts)), np.zeros(plan.halves.shape[1])
            return 0.0, *still, np.zeros(len(plan.shuffled))
        sums = np.add.reduceat(kernel, plan.starts, axis=1)
        everything = sums.sum(axis=1)
        own = sums[np.arange(len(x)), plan.codes] / plan.counts[plan.codes]
        value = float(np.log(own * len(x) / everything).mean())
        halves = _halves(kernel, plan)
        drawn = value + halves - halves.mean() if halves.size else halves
        return value, _one_vs_rest(sums, everything, plan), drawn, _null(kernel, everything, plan)


@dataclass(frozen=True, eq=False)
class _Plan:
    """What all maps share: samples in the order of their classes, half samples, shuffled labels."""

    order: np.ndarray
    codes: np.ndarray
    counts: np.ndarray
    starts: np.ndarray
    halves: np.ndarray
    """(n, draws): 1 for the samples of a draw."""
    shuffled: np.ndarray
    """(shuffles, n)"""

    @classmethod
    def of(cls, codes: np.ndarray, seed: int, shuffles: int, draws: int) -> _Plan:
        order = np.argsort(codes, kind="stable")
        codes = codes[order]
        counts = np.bincount(codes)
        starts = np.cumsum(counts) - counts
        draw = seeds.generator(seed, "kde halves")
        halves = np.zeros((len(codes), draws))
        for start, count in zip(starts, counts, strict=True):
            for place in range(draws):
                halves[start + draw.permutation(count)[: count // 2], place] = 1.0
        mix = seeds.generator(seed, "kde null")
        shuffled = np.tile(codes, (shuffles, 1))
        return cls(order, codes, counts, starts, halves, mix.permuted(shuffled, axis=1))


def _one_vs_rest(sums: np.ndarray, everything: np.ndarray, plan: _Plan) -> np.ndarray:
    n, classes = sums.shape
    result = np.empty(classes)
    for code in range(classes):
        count = plan.counts[code]
        rest = everything - sums[:, code]
        own = np.where(plan.codes == code, sums[:, code] / count, rest / (n - count))
        # A sample is in its own kernel sum, so own is 1 / n or more but for rounding.
        result[code] = np.log(np.maximum(own, 1.0 / n) * n / everything).mean()
    return result


def _halves(kernel: np.ndarray, plan: _Plan) -> np.ndarray:
    """(draws,): the estimate from each half of the samples."""
    everything = kernel @ plan.halves
    own = np.empty_like(everything)
    share = np.empty_like(everything)
    sizes = plan.halves.sum(axis=0)
    for start, count in zip(plan.starts, plan.counts, strict=True):
        rows = slice(start, start + count)
        own[rows] = kernel[rows, rows] @ plan.halves[rows]
        share[rows] = sizes / plan.halves[rows].sum(axis=0)
    # Outside the half a kernel sum may be 0; there the logarithm is not asked for.
    ratio = np.divide(own * share, everything, out=np.ones_like(own), where=plan.halves > 0)
    return np.log(ratio).sum(axis=0) / sizes


def _null(kernel: np.ndarray, everything: np.ndarray, plan: _Plan) -> np.ndarray:
    """(shuffles,): the estimate from shuffled labels; single precision will do for a null."""
    n, classes = len(plan.codes), len(plan.counts)
    small = kernel.astype(np.float32)
    room = max(1, _NULL_BUDGET // (8 * n * classes))
    values = np.empty(len(plan.shuffled))
    rows = np.arange(n)[None, :]
    for start in range(0, len(values), room):
        codes = plan.shuffled[start : start + room]
        columns = np.arange(len(codes))[:, None]
        onehot = np.zeros((n, len(codes), classes), np.float32)
        onehot[rows, columns, codes] = 1.0
        sums = (small @ onehot.reshape(n, -1)).reshape(onehot.shape)
        own = sums[rows, columns, codes] / plan.counts[codes]
        values[start : start + room] = np.log(own * (n / everything)).mean(axis=1)
    return values
