"""Sums of a kernel over classes, over halves and over shuffled labels, by blocks of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mi.device import product
from mi.estimators.map_samples import MapSamples
from mi.estimators.resampling import centred, class_halves, shuffled
from mi.gram import block_bytes

_NULL_BUDGET = 32 << 20


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
        return cls(order, codes, counts, starts, halves[order], mixed)

    @property
    def working_bytes(self) -> int:
        """Of the sums of one map: a block of its kernel, one in single precision, what is made of
        them."""
        n, draws = self.halves.shape
        block = block_bytes(n)
        rows = -(-block // (8 * n))
        of_null = min(_NULL_BUDGET, 8 * n * len(self.counts) * len(self.shuffled))
        return 2 * block + 24 * rows * draws + of_null


class Sums:
    """What the kernel of one map tells: each row of it, and so each block of rows, by itself.

    `add` comes first, then the others for the same rows. A map whose samples are all the same adds
    no rows, and knows nothing.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._over_classes = np.ones((len(plan.codes), len(plan.counts))) * plan.counts
        self._everything = self._over_classes.sum(axis=1)
        self._drawn = np.zeros(plan.halves.shape[1])
        self._mixed = np.zeros(len(plan.shuffled))

    def add(self, rows: slice, kernel: np.ndarray) -> None:
        """Sums over the classes; kernel is (rows, n)."""
        over_classes = np.add.reduceat(kernel, self._plan.starts, axis=1)
        self._over_classes[rows] = over_classes
        self._everything[rows] = over_classes.sum(axis=1)

    def add_halves(self, rows: slice, kernel: np.ndarray) -> None:
        """The estimate from each half of the samples."""
        plan = self._plan
        if not plan.halves.shape[1]:
            return
        everything = product(kernel, plan.halves)
        own = np.empty_like(everything)
        share = np.empty_like(everything)
        sizes = plan.halves.sum(axis=0)
        for start, count in zip(plan.starts, plan.counts, strict=True):
            columns = slice(start, start + count)
            inside = slice(max(start, rows.start), min(start + count, rows.stop))
            if inside.start >= inside.stop:
                continue
            here = slice(inside.start - rows.start, inside.stop - rows.start)
            own[here] = product(kernel[here, columns], plan.halves[columns])
            share[here] = sizes / plan.halves[columns].sum(axis=0)
        # Outside the half a kernel sum may be 0; there the logarithm is not asked for.
        within = plan.halves[rows] > 0
        ratio = np.divide(own * share, everything, out=np.ones_like(own), where=within)
        self._drawn += np.log(ratio).sum(axis=0) / sizes

    def add_null(self, rows: slice, kernel: np.ndarray) -> None:
        """The estimate from shuffled labels; single precision will do for a null."""
        plan = self._plan
        if not len(plan.shuffled):
            return
        n, classes = len(plan.codes), len(plan.counts)
        small = kernel.astype(np.float32)
        room = max(1, _NULL_BUDGET // (8 * n * classes))
        here, everywhere = np.arange(len(kernel))[None, :], np.arange(n)[None, :]
        for start in range(0, len(plan.shuffled), room):
            codes = plan.shuffled[start : start + room]
            columns = np.arange(len(codes))[:, None]
            onehot = np.zeros((n, len(codes), classes), np.float32)
            onehot[everywhere, columns, codes] = 1.0
            sums = product(small, onehot.reshape(n, -1)).reshape(-1, *onehot.shape[1:])
            own = sums[here, columns, codes[:, rows]] / plan.counts[codes[:, rows]]
            gains = np.log(own * (n / self._everything[rows])).sum(axis=1)
            self._mixed[start : start + room] += gains / n

    @property
    def information(self) -> float:
        """I(Y;M) in nats."""
        plan = self._plan
        n = len(plan.codes)
        own = self._over_classes[np.arange(n), plan.codes] / plan.counts[plan.codes]
        return float(np.log(own * n / self._everything).mean())

    @property
    def draws(self) -> np.ndarray:
        """(draws,): centred on the information."""
        return centred(self.information, self._drawn)

    @property
    def null(self) -> np.ndarray:
        """(shuffles,): I(Y;M) of shuffled labels."""
        return self._mixed

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
