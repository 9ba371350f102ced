"""Kernel estimators: responses as a mixture of Gaussians, one at each sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from oip.core.checks import check_choice, check_number
from oip.core.errors import SettingsError, expected
from oip.mi.backend import matmul, thread_map
from oip.mi.estimators.base import Abilities, LabelEstimator, RawEstimate
from oip.mi.estimators.gram import Distances, block_bytes
from oip.mi.estimators.registry import TABLE
from oip.mi.estimators.renyi_entropy import exponential
from oip.mi.estimators.results import SATURATED, LabelledResponses, MapEstimates, quantile_ends
from oip.mi.permutation_test import class_p_values
from oip.mi.resampling import centered, class_halves, shuffled
from oip.mi.validation import checked_maps, class_entropies, label_entropy

_NULL_BUDGET = 32 << 20
_HALVES_BUDGET = 8 << 20
"""Bytes of the sums over each class of each half, for some rows at a time."""


@dataclass(frozen=True, eq=False)
class KernelPlan:
    """What all maps share: samples in the order of their classes, half samples, shuffled labels."""

    order: np.ndarray
    codes: np.ndarray
    counts: np.ndarray
    starts: np.ndarray
    halves: np.ndarray
    """(n, draws): 1 for the samples of a draw."""
    shuffled: np.ndarray
    """(shuffles, n)"""
    one_vs_rest: bool
    """Halves and shuffles are asked about single classes, too."""

    @classmethod
    def of(cls, samples: LabelledResponses) -> KernelPlan:
        """For the samples of all maps."""
        given, seed = samples.codes, samples.seed
        order = np.argsort(given, kind="stable")
        codes = given[order]
        counts = np.bincount(codes)
        starts = np.cumsum(counts) - counts
        halves = np.zeros((len(codes), samples.draws))
        for column, places in enumerate(class_halves(given, seed, samples.draws)):
            halves[places, column] = 1.0
        mixed = shuffled(given, seed, samples.shuffles)[:, order]
        return cls(order, codes, counts, starts, halves[order], mixed, samples.one_vs_rest)

    @cached_property
    def half_counts(self) -> np.ndarray:
        """(classes,): samples of each class in a half, the same in all."""
        first = self.halves[:, 0] if self.halves.shape[1] else np.zeros(len(self.codes))
        return np.bincount(self.codes, first)

    @cached_property
    def half_size(self) -> float:
        """Samples of a half."""
        return float(self.half_counts.sum())

    def parts(self, rows: slice) -> Iterator[tuple[int, slice, slice]]:
        """Of every class: its code, its samples, and those of `rows` (counted from their first)
        that belong to it, none perhaps."""
        for code, (start, count) in enumerate(zip(self.starts, self.counts, strict=True)):
            first, last = max(start, rows.start), min(start + count, rows.stop)
            here = slice(first - rows.start, max(first, last) - rows.start)
            yield code, slice(start, start + count), here

    @property
    def working_bytes(self) -> int:
        """Of the sums of one map: a block of its kernel, one in single precision, what is made of
        them."""
        n, draws = self.halves.shape
        block = block_bytes(n)
        rows = -(-block // (8 * n))
        classes = len(self.counts)
        of_null = min(_NULL_BUDGET, 8 * n * classes * len(self.shuffled))
        of_halves = 24 * rows * draws
        if self.one_vs_rest:
            of_halves += min(_HALVES_BUDGET, 4 * classes * rows * draws)
        return 2 * block + of_halves + of_null


@dataclass(frozen=True, eq=False)
class KernelSums:
    """What the kernel of one map tells, in nats."""

    information: float
    """I(Y;M)"""
    per_class: np.ndarray
    """(classes,): about being of each class or not."""
    draws: np.ndarray
    """(draws,): I(Y;M) of halves, centred on it."""
    null: np.ndarray
    """(shuffles,): I(Y;M) of shuffled labels."""
    class_draws: np.ndarray
    """(draws, classes): `per_class` of halves, centred on it; constant if it was not asked for."""
    class_null: np.ndarray
    """(shuffles, classes): `per_class` of shuffled labels; 0 if it was not asked for."""


class KernelAccumulator:
    """What the kernel of one map tells: each row of it, and so each block of rows, by itself.

    `add` comes first, then the others for the same rows. A map whose samples are all the same adds
    no rows, and knows nothing.
    """

    def __init__(self, plan: KernelPlan) -> None:
        self._plan = plan
        self._over_classes = np.ones((len(plan.codes), len(plan.counts))) * plan.counts
        self._everything = self._over_classes.sum(axis=1)
        classes, draws, shuffles = len(plan.counts), plan.halves.shape[1], len(plan.shuffled)
        self._drawn = np.zeros(draws)
        self._mixed = np.zeros(shuffles)
        self._drawn_classes = np.zeros((draws, classes))
        self._mixed_classes = np.zeros((shuffles, classes))

    def add(self, rows: slice, kernel: np.ndarray) -> None:
        """Sums over the classes; kernel is (rows, n)."""
        over_classes = np.add.reduceat(kernel, self._plan.starts, axis=1)
        self._over_classes[rows] = over_classes
        self._everything[rows] = over_classes.sum(axis=1)

    def add_halves(self, rows: slice, kernel: np.ndarray) -> None:
        """The estimate from each half of the samples, and that about single classes."""
        plan = self._plan
        draws = plan.halves.shape[1]
        if not draws:
            return
        if not plan.one_vs_rest:
            self._drawn += np.log(self._half_ratio(rows, kernel)).sum(axis=0) / plan.half_size
            return
        room = max(1, _HALVES_BUDGET // (4 * len(plan.counts) * draws))
        for start in range(rows.start, rows.stop, room):
            some = slice(start, min(start + room, rows.stop))
            self._add_half_classes(some, kernel[start - rows.start : some.stop - rows.start])

    def _half_ratio(self, rows: slice, kernel: np.ndarray) -> np.ndarray:
        """(rows, draws): mean over the own class in a half over the mean over all of it, 1 for
        samples that are not in the half."""
        plan = self._plan
        everything = matmul(kernel, plan.halves)
        own = np.empty_like(everything)
        for code, columns, here in plan.parts(rows):
            if here.start < here.stop:
                mean = matmul(kernel[here, columns], plan.halves[columns]) / plan.half_counts[code]
                own[here] = mean * plan.half_size
        # Outside the half a kernel sum may be 0; there the logarithm is not asked for.
        return np.divide(own, everything, out=np.ones_like(own), where=plan.halves[rows] > 0)

    def _add_half_classes(self, rows: slice, kernel: np.ndarray) -> None:
        """`add_halves` from the sums over every class, kept in single precision."""
        plan = self._plan
        size, within = plan.half_size, plan.halves[rows]
        sums = np.empty((len(plan.counts), *within.shape), np.float32)
        everything, own = np.zeros(within.shape), np.empty(within.shape)
        for code, columns, here in plan.parts(rows):
            part = matmul(kernel[:, columns], plan.halves[columns])
            everything += part
            sums[code] = part
            own[here] = part[here] * (size / plan.half_counts[code])
        inside = within > 0
        ratio = np.divide(own, everything, out=np.ones_like(own), where=inside)
        self._drawn += np.log(ratio).sum(axis=0) / size
        sums *= np.divide(size, everything, out=np.zeros_like(own), where=inside).astype(np.float32)
        _one_vs_rest(sums, size)
        others = size - plan.half_counts
        for code, _, here in plan.parts(rows):
            sums[code, here] = ratio[here] * others[code]
        told = np.einsum("crd,rd->dc", np.log(sums, out=sums), within.astype(np.float32))
        self._drawn_classes += (told - within.sum(axis=0)[:, None] * np.log(others)) / size

    def add_null(self, rows: slice, kernel: np.ndarray) -> None:
        """The estimate from shuffled labels, and that about single classes; single precision will
        do for a null."""
        plan = self._plan
        if not len(plan.shuffled):
            return
        n, classes = len(plan.codes), len(plan.counts)
        small = kernel.astype(np.float32)
        small *= (n / self._everything[rows]).astype(np.float32)[:, None]
        others = (n - plan.counts).astype(np.float32)
        room = max(1, _NULL_BUDGET // (8 * n * classes))
        here, everywhere = np.arange(len(kernel))[None, :], np.arange(n)[None, :]
        for start in range(0, len(plan.shuffled), room):
            codes = plan.shuffled[start : start + room]
            columns = np.arange(len(codes))[:, None]
            onehot = np.zeros((n, len(codes), classes), np.float32)
            onehot[everywhere, columns, codes] = 1.0
            sums = matmul(small, onehot.reshape(n, -1)).reshape(-1, *onehot.shape[1:])
            mixed = codes[:, rows]
            own = sums[here, columns, mixed] / plan.counts[mixed]
            self._mixed[start : start + room] += np.log(own).sum(axis=1) / n
            if plan.one_vs_rest:
                _one_vs_rest(sums, n)
                sums[here, columns, mixed] = own * others[mixed]
                told = np.log(sums, out=sums).sum(axis=0, dtype=np.float64)
                self._mixed_classes[start : start + room] += (
                    told - len(kernel) * np.log(others)
                ) / n

    @property
    def information(self) -> float:
        """I(Y;M) in nats."""
        plan = self._plan
        n = len(plan.codes)
        own = self._over_classes[np.arange(n), plan.codes] / plan.counts[plan.codes]
        return float(np.log(own * n / self._everything).mean())

    @property
    def per_class(self) -> np.ndarray:
        """(classes,): information about being of each class or not."""
        plan, sums = self._plan, self._over_classes
        n, classes = sums.shape
        result = np.empty(classes)
        for code in range(classes):
            count = plan.counts[code]
            rest = self._everything - sums[:, code]
            own = np.where(plan.codes == code, sums[:, code] / count, rest / (n - count))
            # A sample is in its own kernel sum, so own is 1 / n or more but for rounding.
            result[code] = np.log(np.maximum(own, 1.0 / n) * n / self._everything).mean()
        return result

    @property
    def told(self) -> KernelSums:
        """All of it, without the sums."""
        value, single = self.information, self.per_class
        return KernelSums(
            information=value,
            per_class=single,
            draws=centered(value, self._drawn),
            null=self._mixed,
            class_draws=centered(single, self._drawn_classes),
            class_null=self._mixed_classes.astype(np.float32),
        )


def _one_vs_rest(sums: np.ndarray, total: float) -> None:
    """Writes the sum over all other classes in the place of each, where all have the sum `total`.

    A sample is in the kernel sum of its own class, so that for another class than its own this is
    1 or more but for rounding. The places of its own class are to be filled by the caller.
    """
    np.subtract(total, sums, out=sums)
    np.maximum(sums, 1.0, out=sums)


@dataclass(frozen=True)
class Kde(LabelEstimator):
    """Pairwise-distance estimates with Gaussian kernels.

    M is the response with noise N of variance s^2 added to every coordinate: a mixture of n
    Gaussians, one at each sample m_i. With D_ij = |m_i - m_j|^2 its entropy has two bounds:

        `upper`: H(M) <= H(N) - 1/n sum_i ln 1/n sum_j exp(-D_ij / 2 s^2)
        `lower`: H(M) >= H(N) - 1/n sum_i ln 1/n sum_j exp(-D_ij / 8 s^2)
        H(N) = d/2 ln(2 pi e s^2)
        I(X;M) = H(M) - H(N)
        I(Y;M) = H(M) - sum_y p_y H(M|y)

    I(X;M) is the information that the noisy response keeps of the sample; its bounds are true ones,
    of the mixture, and at most ln n. I(Y;M) is a difference of bounds and itself none; it is at
    most H(Y). A constant map has information 0 whatever the variance.

    The noise makes the number: with little of it no two samples overlap, and all estimates are at
    their ceilings whatever x knows. `relative` follows the scale of each map; a variance for all of
    them (.1, .05 and .001 are published) does not. Only distances count, so that rotations and
    offsets of x do not matter. They are found in float64 from centred data, never under 0, and 0
    from a sample to itself: a published code in float32 without that gives -14.2 for 6.91 nats.
    Time grows with n^2, memory does not.

    Use it for wide responses about a label or the input, and for orders of maps by them. Not where
    the estimate is saturated, nor to compare numbers of different variances, n or d; not for I(X;Y)
    of numbers.

    Units:
        Nats inside, bits where it is shown.

    References:
        A. Kolchinsky, B. D. Tracey: Estimating mixture entropy with pairwise distances. Entropy 19
        (2017) 361, eq. 10 with the Kullback-Leibler (upper) and Bhattacharyya (lower) distances.
        A. Kolchinsky, B. D. Tracey, D. H. Wolpert: Nonlinear information bottleneck. Entropy 21
        (2019) 1181.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> y = np.arange(300) % 2
        >>> x = np.random.default_rng(0).normal(size=300) + 4 * y
        >>> 0.7 < mi.mutual_information(x, y, "kde", relative=0.05).bits <= 1
        True
    """

    name: ClassVar[str] = "kde"
    name_shown: ClassVar[str] = "mutual information (kernel estimate)"
    abilities: ClassVar[Abilities] = TABLE["kde"].abilities
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

    def _over_maps(self, samples: LabelledResponses) -> MapEstimates:
        """See `LabelEstimator._over_maps`.

        Intervals are from stratified subsamples of half the samples without replacement. About
        their mean they vary as the estimate itself does over new samples, and unlike a bootstrap
        they hold no point twice, of which a kernel would see a distance of 0.
        """
        plan = KernelPlan.of(samples)
        x = samples.responses
        found = thread_map(
            lambda place: self._one(x[:, place], plan), range(samples.maps), plan.working_bytes
        )
        single = np.stack([one.per_class for one in found])
        single_null = np.stack([one.class_null for one in found], axis=1)
        asked = samples.one_vs_rest
        return MapEstimates(
            raw=np.array([one.information for one in found]),
            ceiling=np.full(len(found), label_entropy(plan.codes)),
            class_ceiling=class_entropies(plan.codes),
            draws=np.stack([one.draws for one in found], axis=1),
            null=np.stack([one.null for one in found], axis=1),
            per_class_raw=single if asked else np.full_like(single, np.nan),
            per_class_ends=np.stack([quantile_ends(one.class_draws) for one in found])
            if asked
            else None,
            per_class_p=class_p_values(single, single_null) if asked else None,
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
            >>> import numpy as np
            >>> from oip import mi
            >>> x = np.random.default_rng(0).normal(size=(60, 2, 3))
            >>> mi.estimator("kde").over_variances(x, x[:, 0, 0] > 0, noise=(1, 0.1)).shape
            (2, 2)
        """
        swept = [replace(self, relative=share, noise=None) for share in relative]
        swept += [replace(self, noise=variance) for variance in noise]
        responses, codes = checked_maps(responses, labels)
        plan = KernelPlan.of(LabelledResponses(responses, codes))

        def one(place: int) -> list[float]:
            distances = Distances(responses[plan.order, place])
            if distances.constant:
                return [0.0] * len(swept)
            scales = [other._scale(distances) for other in swept]
            sums = [KernelAccumulator(plan) for _ in swept]
            for rows, block in distances.blocks():
                for scale, several in zip(scales, sums, strict=True):
                    several.add(rows, exponential(block.copy(), scale))
            return [several.information for several in sums]

        found = thread_map(one, range(responses.shape[1]), 2 * block_bytes(len(codes)))
        return np.array(found).reshape(responses.shape[1], len(swept)).T

    def working_bytes(self, n: int) -> int:
        """See `Estimator.working_bytes`: a block of distances, and half of it for their median."""
        return 2 * block_bytes(n)

    def input_information(self, x: np.ndarray, seed: int) -> RawEstimate:
        """I(X;M) of responses x (n, d), when M is x with the noise added; at most log n."""
        return RawEstimate(self._of_sample(Distances(x)), ceiling=math.log(len(x)))

    def entropy(self, x: np.ndarray, seed: int) -> RawEstimate:
        """H(M) of responses x (n, d) with the noise added, from H(N) of the noise to H(N) + log n.

        Raises:
            SettingsError: x is constant and the variance is relative to it.
        """
        distances = Distances(x)
        variance = self._variance(distances)
        if variance == 0:
            hint = "Give a variance of its own, such as noise=0.1."
            raise SettingsError(expected("kde: x", "samples that differ", "a constant", hint))
        of_noise = 0.5 * x.shape[1] * (math.log(2 * math.pi * variance) + 1)
        known, most = self._of_sample(distances), math.log(len(x))
        told = ()
        if known >= SATURATED * most:
            told = ("Saturated: at this variance hardly two samples overlap.",)
        return RawEstimate(of_noise + known, ceiling=of_noise + most, least=of_noise, notices=told)

    def _of_sample(self, distances: Distances) -> float:
        if distances.constant:
            return 0.0
        scale = self._scale(distances)
        total = sum(
            float(np.log(exponential(block, scale).mean(axis=1)).sum())
            for _, block in distances.blocks()
        )
        return -total / len(distances)

    def _variance(self, distances: Distances) -> float:
        return self.relative * distances.median if self.noise is None else float(self.noise)

    def _scale(self, distances: Distances) -> float:
        """Squared distance at which the kernel is 1 / e."""
        return (2.0 if self.bound == "upper" else 8.0) * self._variance(distances)

    def _one(self, x: np.ndarray, plan: KernelPlan) -> KernelSums:
        """What is told by one map's responses (n, d)."""
        sums = KernelAccumulator(plan)
        distances = Distances(x[plan.order])
        if not distances.constant:
            scale = self._scale(distances)
            for rows, block in distances.blocks():
                kernel = exponential(block, scale)
                sums.add(rows, kernel)
                sums.add_halves(rows, kernel)
                sums.add_null(rows, kernel)
        return sums.told
