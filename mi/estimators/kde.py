"""Kernel estimators: responses as a mixture of Gaussians, one at each sample."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from oip.core.checks import check_choice, check_number, check_whole
from oip.core.errors import DataError
from oip.core.records import Parameters
from oip.mi.backend import matmul, thread_map
from oip.mi.estimators.base import LabelEstimator, RawEstimate
from oip.mi.estimators.gram import BLOCK_BUDGET, Distances, block_bytes, exponential
from oip.mi.estimators.results import SATURATED, LabelledResponses, MapEstimates, interval_ends
from oip.mi.permutation_test import class_p_values
from oip.mi.resampling import class_halves, paired_draws, shuffled
from oip.mi.validation import checked_maps, class_entropies, label_entropy

_CLASS_DRAWS = 40
"""Halves for the intervals of single classes, of which each takes as long as all classes."""
_KEPT_MEMBERS = 1 << 22
"""Numbers of `KernelPlan.shuffle_parts` up to which they are kept for the next maps."""
_KEPT_DRAWS = 1 << 20
"""Samples of all halves and shuffles up to which they are kept for the next maps."""


@dataclass(frozen=True, eq=False)
class KernelPlan:
    """The part that all maps share: samples in the order of their classes, halves, shuffles."""

    order: np.ndarray
    """(n,) int: the samples, class by class."""
    codes: np.ndarray
    """(n,) int, in that order as all that follows."""
    counts: np.ndarray
    """(classes,): samples of each class."""
    starts: np.ndarray
    """(classes,): where each class begins."""
    halves: np.ndarray
    """(n, draws): 1 for the samples of a draw."""
    shuffled: np.ndarray
    """(shuffles, n)"""
    one_vs_rest: bool
    """Halves and shuffles are used for single classes, too."""
    byte_budget: int
    """Bytes of a block of the kernel; the sums of shuffles take half of it at a time, those of
    halves an eighth."""

    @classmethod
    def of(cls, samples: LabelledResponses, byte_budget: int = BLOCK_BUDGET) -> KernelPlan:
        """Return the plan for the samples of all maps."""
        arguments = (samples.codes.tobytes(), samples.codes.dtype, samples.seed, samples.draws)
        arguments += (samples.shuffles, samples.one_vs_rest, byte_budget)
        small = len(samples.codes) * (samples.draws + samples.shuffles) <= _KEPT_DRAWS
        return _plan(*arguments) if small else _plan.__wrapped__(*arguments)

    @classmethod
    def drawn(
        cls,
        given: np.ndarray,
        seed: int,
        draws: int,
        shuffles: int,
        one_vs_rest: bool,
        byte_budget: int,
    ) -> KernelPlan:
        """Return the plan for labels (n,), its draws and shuffles."""
        order = np.argsort(given, kind="stable")
        codes = given[order]
        counts = np.bincount(codes)
        index_sets = class_halves(given, seed, draws)
        halves = np.zeros((len(codes), len(index_sets)), np.float32)
        for column, indices in enumerate(index_sets):
            halves[indices, column] = 1.0
        return cls(
            order=order,
            codes=codes,
            counts=counts,
            starts=np.cumsum(counts) - counts,
            halves=halves[order],
            shuffled=shuffled(given, seed, shuffles)[:, order],
            one_vs_rest=one_vs_rest,
            byte_budget=byte_budget,
        )

    @property
    def class_draws(self) -> int:
        """The draws that are used for single classes."""
        return min(_CLASS_DRAWS, self.halves.shape[1]) if self.one_vs_rest else 0

    @cached_property
    def half_counts(self) -> np.ndarray:
        """(classes, draws): samples of each class in each half."""
        return np.add.reduceat(self.halves, self.starts, axis=0)

    @cached_property
    def half_sizes(self) -> np.ndarray:
        """(draws,): samples of each half."""
        return self.half_counts.sum(axis=0)

    @cached_property
    def first_halves(self) -> np.ndarray:
        """(n, draws / 2): of each pair of halves the first; the second is the rest."""
        return np.ascontiguousarray(self.halves[:, ::2])

    def class_slices(self, rows: slice) -> Iterator[tuple[int, slice, slice]]:
        """Yield for every class its code, its samples, and those of them that are in `rows`.

        The latter are counted from the first of `rows`; there may be none.
        """
        for code, (start, count) in enumerate(zip(self.starts, self.counts, strict=True)):
            first, last = max(start, rows.start), min(start + count, rows.stop)
            block_rows = slice(first - rows.start, max(first, last) - rows.start)
            yield code, slice(start, start + count), block_rows

    @property
    def shuffle_parts(self) -> Iterable[tuple[slice, np.ndarray]]:
        """Shuffles that are worked on at once, and their classes (n, shuffles * classes) float32.

        The latter are 1 where a shuffle puts a sample into a class, else 0.
        """
        numbers = len(self.codes) * len(self.counts) * len(self.shuffled)
        return self._kept_parts if numbers <= _KEPT_MEMBERS else self._parts()

    @cached_property
    def _kept_parts(self) -> list[tuple[slice, np.ndarray]]:
        return list(self._parts())

    def _parts(self) -> Iterator[tuple[slice, np.ndarray]]:
        n, classes, count = len(self.codes), len(self.counts), len(self.shuffled)
        step = max(1, self.byte_budget // 2 // (8 * n * classes))
        for start in range(0, count, step):
            shuffles = slice(start, min(start + step, count))
            codes = self.shuffled[shuffles]
            members = np.zeros((n, len(codes), classes), np.float32)
            members[np.arange(n)[None, :], np.arange(len(codes))[:, None], codes] = 1.0
            yield shuffles, members.reshape(n, -1)

    @property
    def working_bytes(self) -> int:
        """Bytes for one map: a block of its kernel, one in single precision, and their sums."""
        n, draws = self.halves.shape
        block = block_bytes(n, self.byte_budget)
        rows = -(-block // (8 * n))
        classes = len(self.counts)
        of_null = min(self.byte_budget // 2, 8 * n * classes * len(self.shuffled))
        of_halves = 24 * rows * draws + min(self.byte_budget // 8, 2 * classes * rows * draws)
        return 2 * block + of_halves + of_null


@lru_cache(maxsize=1)
def _plan(content: bytes, kind: np.dtype, *arguments: Any) -> KernelPlan:
    return KernelPlan.drawn(np.frombuffer(content, kind), *arguments)


@dataclass(frozen=True, eq=False)
class KernelSums:
    """Information from the kernel of one map, in nats."""

    information: float
    """I(Y;M)"""
    per_class: np.ndarray
    """(classes,): about being of each class or not."""
    draws: np.ndarray
    """(draws,): I(Y;M) as its interval has it, see `paired_draws`."""
    null: np.ndarray
    """(shuffles,): I(Y;M) of shuffled labels."""
    class_draws: np.ndarray
    """(some draws, classes): the same of `per_class`; none without `one_vs_rest`."""
    class_null: np.ndarray
    """(shuffles, classes): `per_class` of shuffled labels; 0 without `one_vs_rest`."""


class KernelAccumulator:
    """The sums of one map's kernel, which is added a block of rows at a time.

    `add` comes first, then the others for the same rows. A map whose samples are all the same adds
    no rows and has no information.
    """

    def __init__(self, plan: KernelPlan) -> None:
        self._plan = plan
        self._over_classes = np.ones((len(plan.codes), len(plan.counts))) * plan.counts
        self._all_classes = self._over_classes.sum(axis=1)
        classes, draws, shuffles = len(plan.counts), plan.halves.shape[1], len(plan.shuffled)
        self._half_logs = np.zeros(draws)
        self._mixed = np.zeros(shuffles)
        self._drawn_classes = np.zeros((plan.class_draws, classes))
        self._mixed_classes = np.zeros((shuffles, classes))

    def add(self, rows: slice, kernel: np.ndarray) -> None:
        """Add the sums over the classes of some rows of the kernel (rows, n)."""
        over_classes = np.add.reduceat(kernel, self._plan.starts, axis=1)
        self._over_classes[rows] = over_classes
        self._all_classes[rows] = over_classes.sum(axis=1)

    def add_halves(self, rows: slice, kernel: np.ndarray) -> None:
        """Add to the estimate from each half of the samples, and to that about single classes.

        Of the kernel in single precision, which will do for an interval.
        """
        plan = self._plan
        if not plan.halves.shape[1]:
            return
        step = max(1, plan.byte_budget // 8 // (2 * len(plan.counts) * plan.halves.shape[1]))
        for start in range(rows.start, rows.stop, step):
            block = slice(start, min(start + step, rows.stop))
            self._add_half_rows(block, kernel[start - rows.start : block.stop - rows.start])

    def _add_half_rows(self, rows: slice, kernel: np.ndarray) -> None:
        """Do `add_halves` for some rows."""
        plan = self._plan
        slices, sizes, halves = list(plan.class_slices(rows)), plan.half_sizes, plan.halves[rows]
        of_classes = self._over_classes[rows].astype(np.float32)
        # Over each class in the first of each pair of halves: (classes, rows, pairs).
        first_halves = np.stack(
            [matmul(kernel[:, samples], plan.first_halves[samples]) for _, samples, _ in slices]
        )
        all_classes = _pair_sums(first_halves.sum(axis=0), of_classes.sum(axis=1))
        own_sums = np.empty_like(halves)
        for code, _, block_rows in slices:
            own_sums[block_rows] = _pair_sums(
                first_halves[code, block_rows], of_classes[block_rows, code]
            )
            own_sums[block_rows] *= sizes / plan.half_counts[code]
        # Outside the half a kernel sum may be 0; its logarithm is not needed.
        for values in (own_sums, all_classes):
            values *= halves
            values += 1.0 - halves
        own_sums /= all_classes
        self._half_logs += np.log(own_sums).sum(axis=0, dtype=np.float64) / sizes
        if plan.class_draws:
            of_draws = _pair_sums(first_halves[..., : plan.class_draws // 2], of_classes.T)
            self._add_class_halves(rows, of_draws, all_classes, own_sums)

    def _add_class_halves(
        self, rows: slice, sums: np.ndarray, all_classes: np.ndarray, own_sums: np.ndarray
    ) -> None:
        """Do `add_halves` for single classes.

        From sums over each class (classes, rows, some draws), which are changed, and what all
        classes have (rows, draws).
        """
        plan, draws = self._plan, slice(self._plan.class_draws)
        sizes, counts = plan.half_sizes[draws], plan.half_counts[:, draws]
        sums *= sizes / all_classes[:, draws]
        _sum_of_rest(sums, sizes)
        other_counts = sizes - counts
        for code, _, block_rows in plan.class_slices(rows):
            sums[code, block_rows] = own_sums[block_rows, draws] * other_counts[code]
        halves = plan.halves[rows, draws]
        logs = np.einsum("crd,rd->dc", np.log(sums, out=sums), halves)
        logs -= halves.sum(axis=0)[:, None] * np.log(other_counts).T
        self._drawn_classes += logs / sizes[:, None]

    def add_null(self, rows: slice, kernel: np.ndarray) -> None:
        """Add to the estimate from shuffled labels, and to that about single classes.

        Of the kernel in single precision, which will do for a null, and is changed.
        """
        plan = self._plan
        if not len(plan.shuffled):
            return
        n, classes = len(plan.codes), len(plan.counts)
        kernel *= (n / self._all_classes[rows]).astype(np.float32)[:, None]
        other_counts = (n - plan.counts).astype(np.float32)
        row_indices = np.arange(len(kernel))[None, :]
        for shuffles, members in plan.shuffle_parts:
            mixed = plan.shuffled[shuffles, rows]
            columns = np.arange(len(mixed))[:, None]
            sums = matmul(kernel, members).reshape(len(kernel), -1, classes)
            class_means = sums[row_indices, columns, mixed] / plan.counts[mixed]
            self._mixed[shuffles] += np.log(class_means).sum(axis=1) / n
            if plan.one_vs_rest:
                _sum_of_rest(sums, n)
                sums[row_indices, columns, mixed] = class_means * other_counts[mixed]
                logs = np.log(sums, out=sums).sum(axis=0, dtype=np.float64)
                self._mixed_classes[shuffles] += (logs - len(kernel) * np.log(other_counts)) / n

    @property
    def information(self) -> float:
        """I(Y;M) in nats."""
        plan = self._plan
        n = len(plan.codes)
        class_means = self._over_classes[np.arange(n), plan.codes] / plan.counts[plan.codes]
        return float(np.log(class_means * n / self._all_classes).mean())

    @property
    def per_class(self) -> np.ndarray:
        """(classes,): information about being of each class or not."""
        plan, sums = self._plan, self._over_classes
        n, classes = sums.shape
        result = np.empty(classes)
        for code in range(classes):
            count = plan.counts[code]
            other_sums = self._all_classes - sums[:, code]
            class_means = np.where(
                plan.codes == code, sums[:, code] / count, other_sums / (n - count)
            )
            # A sample is in its own kernel sum, so own is 1 / n or more but for rounding.
            result[code] = np.log(np.maximum(class_means, 1.0 / n) * n / self._all_classes).mean()
        return result

    @property
    def result(self) -> KernelSums:
        """The information, from the sums over all rows."""
        value, single = self.information, self.per_class
        return KernelSums(
            information=value,
            per_class=single,
            draws=paired_draws(value, self._half_logs),
            null=self._mixed,
            class_draws=paired_draws(single, self._drawn_classes),
            class_null=self._mixed_classes.astype(np.float32),
        )


def _pair_sums(first_halves: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return sums (..., draws) over halves, from those over the first of each pair (..., pairs).

    The second is the rest of the total (...).
    """
    half_sums = np.empty((*first_halves.shape, 2), np.float32)
    half_sums[..., 0] = first_halves
    np.subtract(total[..., None], first_halves, out=half_sums[..., 1])
    return half_sums.reshape(*first_halves.shape[:-1], 2 * first_halves.shape[-1])


def _sum_of_rest(sums: np.ndarray, total: float | np.ndarray) -> None:
    """Replace the sum over each class by that over all other classes; all have the sum `total`.

    A sample is in the kernel sum of its own class, so that for any other class this is 1 or more
    but for rounding. The elements of its own class are to be filled by the caller.
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

    The number depends on the noise: with little of it no two samples overlap, and all estimates are
    at their ceilings. `relative` follows the scale of each map; one variance for all of them (.1,
    .05 and .001 are published) does not. Only distances count, so that rotations and offsets of x
    do not matter. Time grows as n^2, memory does not.

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
    biased_from: ClassVar[int | None] = 1
    shuffles: ClassVar[int] = 200

    relative: float = 0.1
    """Variance of the noise as a share of the map's median squared distance."""
    noise: float | None = None
    """Variance of the noise in the responses' own units, in place of `relative`."""
    bound: Literal["upper", "lower"] = "upper"
    """Which bound of the entropies is used."""
    byte_budget: int = field(default=BLOCK_BUDGET, repr=False)
    """Bytes of a block of distances; the value does not depend on it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("kde: relative", self.relative)
        if self.noise is not None:
            check_number("kde: noise", self.noise)
        check_choice("kde: bound", self.bound, ("upper", "lower"))
        check_whole("kde: byte_budget", self.byte_budget)

    @property
    def parameters(self) -> Parameters:
        """The variance and the bound."""
        variance = {"relative": self.relative} if self.noise is None else {"noise": self.noise}
        return {**variance, "bound": self.bound}

    def _map_estimates(self, samples: LabelledResponses) -> MapEstimates:
        """See `LabelEstimator._map_estimates`; intervals are from pairs of halves."""
        plan = KernelPlan.of(samples, self.byte_budget)
        x, single_classes = samples.responses, samples.one_vs_rest
        sums = thread_map(
            lambda index: self.kernel_sums(x[:, index], plan),
            range(samples.maps),
            plan.working_bytes,
        )
        single = np.stack([of_map.per_class for of_map in sums])
        single_null = np.stack([of_map.class_null for of_map in sums], axis=1)
        intervals = np.stack(
            [interval_ends(of_map.per_class, of_map.class_draws) for of_map in sums]
        )
        return MapEstimates(
            raw=np.array([of_map.information for of_map in sums]),
            ceiling=np.full(len(sums), label_entropy(plan.codes)),
            class_ceiling=class_entropies(plan.codes),
            draws=np.stack([of_map.draws for of_map in sums], axis=1),
            null=np.stack([of_map.null for of_map in sums], axis=1),
            per_class_raw=single if single_classes else np.full_like(single, np.nan),
            per_class_ends=intervals if single_classes else None,
            per_class_p=class_p_values(single, single_null) if single_classes else None,
        )

    def kernel_sums(self, x: np.ndarray, plan: KernelPlan) -> KernelSums:
        """Return the information from one map's responses x (n, d)."""
        accumulator = KernelAccumulator(plan)
        distances = self._distances(x[plan.order])
        if not distances.constant:
            scale = self._scale(distances)
            for rows, block in distances.blocks():
                kernel = exponential(block, scale)
                accumulator.add(rows, kernel)
                small = kernel.astype(np.float32)
                accumulator.add_halves(rows, small)
                accumulator.add_null(rows, small)
        return accumulator.result

    def over_variances(
        self,
        responses: np.ndarray,
        labels: ArrayLike,
        relative: Sequence[float] = (),
        noise: Sequence[float] = (),
    ) -> np.ndarray:
        """Estimate I(Y;M) of every map for many variances, from one distance matrix a map.

        Args:
            responses, labels: as for `over_maps`, and the errors.
            relative: variances as shares of each map's median squared distance.
            noise: variances in the responses' own units.

        Returns:
            (variances, m) in nats, `relative` before `noise`, not clipped.

        Example:
            >>> import numpy as np
            >>> from oip import mi
            >>> x = np.random.default_rng(0).normal(size=(60, 2, 3))
            >>> mi.estimator("kde").over_variances(x, x[:, 0, 0] > 0, noise=(1, 0.1)).shape
            (2, 2)
        """
        variants = [replace(self, relative=share, noise=None) for share in relative]
        variants += [replace(self, noise=variance) for variance in noise]
        responses, codes = checked_maps(responses, labels)
        plan = KernelPlan.of(LabelledResponses(responses, codes), self.byte_budget)

        def of_map(index: int) -> list[float]:
            distances = self._distances(responses[plan.order, index])
            if distances.constant:
                return [0.0] * len(variants)
            scales = [variant._scale(distances) for variant in variants]
            accumulators = [KernelAccumulator(plan) for _ in variants]
            for rows, block in distances.blocks():
                for scale, accumulator in zip(scales, accumulators, strict=True):
                    accumulator.add(rows, exponential(block.copy(), scale))
            return [accumulator.information for accumulator in accumulators]

        maps = responses.shape[1]
        values = thread_map(of_map, range(maps), self.working_bytes(len(codes)))
        return np.array(values).reshape(maps, len(variants)).T

    def working_bytes(self, n: int) -> int:
        """See `Estimator.working_bytes`: a block of distances, and half of it for their median."""
        return 2 * block_bytes(n, self.byte_budget)

    def input_information(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Estimate I(X;M) of responses x (n, d), M being x with the noise added; at most log n."""
        return RawEstimate(self._sample_information(self._distances(x)), ceiling=math.log(len(x)))

    def entropy(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Estimate H(M) of responses x (n, d) with the noise added: from H(N) to H(N) + log n.

        A DataError says that x is constant and the variance relative to it.
        """
        distances = self._distances(x)
        variance = self._variance(distances)
        if variance == 0:
            hint = "Give a variance of its own, such as noise=0.1."
            raise DataError("kde: x", "samples that differ", "a constant", hint)
        of_noise = 0.5 * x.shape[1] * (math.log(2 * math.pi * variance) + 1)
        of_sample, ceiling = self._sample_information(distances), math.log(len(x))
        notices = ()
        if of_sample >= SATURATED * ceiling:
            notices = ("Saturated: at this variance hardly two samples overlap.",)
        return RawEstimate(
            of_noise + of_sample, ceiling=of_noise + ceiling, least=of_noise, notices=notices
        )

    def _sample_information(self, distances: Distances) -> float:
        """Return I(X;M) of the sample, in nats."""
        if distances.constant:
            return 0.0
        scale = self._scale(distances)
        total = sum(
            float(np.log(exponential(block, scale).mean(axis=1)).sum())
            for _, block in distances.blocks()
        )
        return -total / len(distances)

    def _distances(self, x: np.ndarray) -> Distances:
        return Distances(x, self.byte_budget)

    def _variance(self, distances: Distances) -> float:
        return self.relative * distances.median if self.noise is None else float(self.noise)

    def _scale(self, distances: Distances) -> float:
        """Return the squared distance at which the kernel is 1 / e."""
        return (2.0 if self.bound == "upper" else 8.0) * self._variance(distances)
