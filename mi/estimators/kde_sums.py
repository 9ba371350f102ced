"""Sums of a kernel over classes, over halves and over shuffled labels, by blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mi.device import product
from mi.estimators.map_samples import MapSamples
from mi.estimators.resampling import centred, class_halves, shuffled
from mi.gram import block_bytes

_NULL_BUDGET = 32 << 20
_HALVES_BUDGET = 8 << 20
"""Bytes of the sums over each class of each half, for some rows at a time."""


@dataclass(frozen=True, eq=False)
class Plan:
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
    def of(cls, samples: MapSamples) -> Plan:
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
class Told:
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


class Sums:
    """What the kernel of one map tells: each row of it, and so each block of rows, by itself.

    `add` comes first, then the others for the same rows. A map whose samples are all the same adds
    no rows, and knows nothing.
    """

    def __init__(self, plan: Plan) -> None:
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
        everything = product(kernel, plan.halves)
        own = np.empty_like(everything)
        for code, columns, here in plan.parts(rows):
            if here.start < here.stop:
                mean = product(kernel[here, columns], plan.halves[columns]) / plan.half_counts[code]
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
            part = product(kernel[:, columns], plan.halves[columns])
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
            sums = product(small, onehot.reshape(n, -1)).reshape(-1, *onehot.shape[1:])
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
    def told(self) -> Told:
        """All of it, without the sums."""
        value, single = self.information, self.per_class
        return Told(
            information=value,
            per_class=single,
            draws=centred(value, self._drawn),
            null=self._mixed,
            class_draws=centred(single, self._drawn_classes),
            class_null=self._mixed_classes.astype(np.float32),
        )


def _one_vs_rest(sums: np.ndarray, total: float) -> None:
    """Writes the sum over all other classes in the place of each, where all have the sum `total`.

    A sample is in the kernel sum of its own class, so that for another class than its own this is
    1 or more but for rounding. The places of its own class are to be filled by the caller.
    """
    np.subtract(total, sums, out=sums)
    np.maximum(sums, 1.0, out=sums)
