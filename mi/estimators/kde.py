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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from mi.device import product
from mi.estimators.base import EntropyEstimator, InputEstimator, LabelEstimator, Value
from mi.estimators.map_samples import MapSamples
from mi.estimators.resampling import centred, class_halves, shuffled
from mi.estimators.results import SATURATED, MapEstimates
from mi.estimators.settings import check_choice, check_number
from mi.estimators.threads import each
from mi.gram import median_squared_distance, squared_distances
from mi.labels import class_entropies, label_entropy
from mi.samples import checked_maps
from oip.core.errors import SettingsError, expected

_NULL_BUDGET = 128 << 20


@dataclass(frozen=True)
class Kde(LabelEstimator, EntropyEstimator, InputEstimator):
    """Pairwise-distance estimates with Gaussian kernels.

    I(Y;M) = H(M) - sum_y p_y H(M|y) is a difference of bounds and itself none; it is at most H(Y).
    I(X;M) = H(M) - H(M|X) is the information that the noisy response keeps of the sample; its
    bounds are true ones, of the mixture, and at most log n.

    A constant map has information 0 whatever the variance.
    """

    name: ClassVar[str] = "kde"
    name_shown: ClassVar[str] = "mutual information (kernel estimate)"
    shuffles: ClassVar[int] = 200

    relative: float = 0.1
    """Variance of the noise as a share of the map's median squared distance."""
    noise: float | None = None
    """Variance of the noise in the responses' own units, in place of `relative`."""
    bound: Literal["upper", "lower"] = "upper"
    """Which bound of the entropies is used."""

    def __post_init__(self) -> None:
        check_number("kde: relative", self.relative)
        if self.noise is not None:
            check_number("kde: noise", self.noise)
        check_choice("kde: bound", self.bound, ("upper", "lower"))

    @property
    def parameters(self) -> dict[str, Any]:
        """The variance and the bound."""
        variance = {"relative": self.relative} if self.noise is None else {"noise": self.noise}
        return {**variance, "bound": self.bound}

    def _over_maps(self, samples: MapSamples) -> MapEstimates:
        """See `LabelEstimator._over_maps`.

        Intervals are from stratified subsamples of half the samples without replacement. About
        their mean they vary as the estimate itself does over new samples, and unlike a bootstrap
        they hold no point twice, of which a kernel would see a distance of 0.
        """
        plan = _Plan.of(samples)
        x = samples.responses
        parts = each(lambda place: self._one(x[:, place], plan), range(samples.maps))
        raw, single, drawn, null = ([part[place] for part in parts] for place in range(4))
        return MapEstimates(
            raw=np.array(raw),
            ceiling=np.full(len(raw), label_entropy(plan.codes)),
            per_class_raw=np.array(single) if samples.one_vs_rest else np.full_like(single, np.nan),
            class_ceiling=class_entropies(plan.codes),
            draws=np.stack(drawn, axis=1),
            null=np.stack(null, axis=1),
        )

    def over_variances(
        self,
        responses: np.ndarray,
        labels: Any,
        relative: Sequence[float] = (),
        noise: Sequence[float] = (),
    ) -> np.ndarray:
        """I(Y;M) of every map for many variances of the noise, from one distance matrix a map.

        Args:
            responses: (n, m, d), finite.
            labels: (n,), as for `over_maps`.
            relative: variances as shares of each map's median squared distance.
            noise: variances in the responses' own units.

        Returns:
            (variances, m) in nats, `relative` before `noise`, as they come out.

        Raises:
            DataError: responses or labels that cannot be used.
            SettingsError: a variance that is not above 0.

        Example:
            >>> import numpy as np, mi
            >>> x = np.random.default_rng(0).normal(size=(60, 2, 3))
            >>> mi.estimator("kde").over_variances(x, x[:, 0, 0] > 0, noise=(1, 0.1)).shape
            (2, 2)
        """
        swept = [replace(self, relative=share, noise=None) for share in relative]
        swept += [replace(self, noise=variance) for variance in noise]
        responses, codes = checked_maps(responses, labels)
        plan = _Plan.of(MapSamples(responses, codes))

        def one(place: int) -> list[float]:
            distances = squared_distances(responses[plan.order, place])
            kernels = (other._kernel(distances) for other in swept)
            return [0.0 if kernel is None else _information(kernel, plan)[2] for kernel in kernels]

        found = each(one, range(responses.shape[1]))
        return np.array(found).reshape(responses.shape[1], len(swept)).T

    def input_information(self, x: np.ndarray, seed: int) -> Value:
        """I(X;M) of responses x (n, d), when M is x with the noise added; at most log n."""
        return Value(self._of_sample(squared_distances(x)), ceiling=math.log(len(x)))

    def entropy(self, x: np.ndarray, seed: int) -> Value:
        """H(M) of responses x (n, d) with the noise added.

        Raises:
            SettingsError: x is constant and the variance is relative to it.
        """
        distances = squared_distances(x)
        variance = self._variance(distances)
        if variance == 0:
            hint = "Give a variance of its own, such as noise=0.1."
            raise SettingsError(expected("kde: x", "samples that differ", "a constant", hint))
        noise_entropy = 0.5 * x.shape[1] * (math.log(2 * math.pi * variance) + 1)
        known = self._of_sample(distances)
        told = ()
        if known >= SATURATED * math.log(len(x)):
            told = ("Saturated: at this variance hardly two samples overlap.",)
        return Value(noise_entropy + known, notices=told)

    def _of_sample(self, distances: np.ndarray) -> float:
        kernel = self._kernel(distances)
        return 0.0 if kernel is None else float(-np.log(kernel.mean(axis=1)).mean())

    def _variance(self, distances: np.ndarray) -> float:
        if self.noise is not None:
            return float(self.noise)
        return self.relative * median_squared_distance(distances)

    def _kernel(self, distances: np.ndarray) -> np.ndarray | None:
        """exp(-distance of the pair); None if all samples are the same."""
        if not distances.any():
            return None
        kernel = distances / (-(2.0 if self.bound == "upper" else 8.0) * self._variance(distances))
        return np.exp(kernel, out=kernel)

    def _one(self, x: np.ndarray, plan: _Plan) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Estimate, one-vs-rest (classes,), draws and null of one map's responses (n, d)."""
        kernel = self._kernel(squared_distances(x[plan.order]))
        if kernel is None:
            still = np.zeros(len(plan.counts)), np.zeros(plan.halves.shape[1])
            return 0.0, *still, np.zeros(len(plan.shuffled))
        sums, everything, value = _information(kernel, plan)
        drawn = centred(value, _halves(kernel, plan))
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
    def of(cls, samples: MapSamples) -> _Plan:
        given, seed = samples.codes, samples.seed
        order = np.argsort(given, kind="stable")
        codes = given[order]
        counts = np.bincount(codes)
        starts = np.cumsum(counts) - counts
        halves = np.zeros((len(codes), samples.draws))
        for column, places in enumerate(class_halves(given, seed, samples.draws)):
            halves[places, column] = 1.0
        mixed = shuffled(given, seed, samples.shuffles)[:, order]
        return cls(order, codes, counts, starts, halves[order], mixed)


def _information(kernel: np.ndarray, plan: _Plan) -> tuple[np.ndarray, np.ndarray, float]:
    """Kernel sums over each class (n, classes) and over all (n,), and I(Y;M)."""
    sums = np.add.reduceat(kernel, plan.starts, axis=1)
    everything = sums.sum(axis=1)
    own = sums[np.arange(len(sums)), plan.codes] / plan.counts[plan.codes]
    return sums, everything, float(np.log(own * len(sums) / everything).mean())


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
    everything = product(kernel, plan.halves)
    own = np.empty_like(everything)
    share = np.empty_like(everything)
    sizes = plan.halves.sum(axis=0)
    for start, count in zip(plan.starts, plan.counts, strict=True):
        rows = slice(start, start + count)
        own[rows] = product(kernel[rows, rows], plan.halves[rows])
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
        sums = product(small, onehot.reshape(n, -1)).reshape(onehot.shape)
        own = sums[rows, columns, codes] / plan.counts[codes]
        values[start : start + room] = np.log(own * (n / everything)).mean(axis=1)
    return values
