"""Von Mises expansions: kernel densities, with each sample left out of its own density."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from oip.core.checks import check_number, check_whole
from oip.mi.backend import matmul
from oip.mi.estimators.base import LabelEstimator, RawEstimate
from oip.mi.estimators.gram import BLOCK_BUDGET, Distances, block_bytes, exponential
from oip.mi.estimators.results import LabelledResponses, MapEstimates
from oip.mi.resampling import Prepared, joint_null, over_prepared
from oip.mi.validation import check_varied, heavy_tails

_LEAST = math.log(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Vme(LabelEstimator):
    """First-order von Mises estimates with leave-one-out kernel densities f_-i.

    - H(X) = -<ln f_-i(x_i)>: in expectation at least the entropy.
    - I(X;Y) = <ln f_-i(x_i, y_i) - ln f_-i(x_i) - ln f_-i(y_i)>; with a label
      <ln f_-i(x_i | y_i) - ln f_-i(x_i)>; T(X) and I(X;Y|Z) in the same way.
    - KL(P||Q) = <ln f_-i(x_i) - ln g(x_i)> - <f(y_j) / g(y_j)> + 1; y_j stays in its own density,
      so that the ratio is finite.

    The kernel is Gaussian. Its width in each coordinate is `bandwidth` times Silverman's,
    (4 / (d + 2) n)^(1 / (d + 4)) standard deviations, d the dimensions of all variables together;
    all densities of one information share it, so that its bias mostly cancels. Responses about a
    label have one width for the map, Silverman's for at most 8 dimensions, times half the median
    distance.

    Converges as 1 / n for smooth densities of few dimensions (d < 4 for a Gaussian kernel). A
    sample far from all others has a density of e^-708 at least.

    Use it for numbers of one to three dimensions with smooth densities. Not for many dimensions,
    heavy tails, or data with ties.

    Units:
        Nats inside, bits where it is shown.

    References:
        K. Kandasamy et al.: Nonparametric von Mises estimators for entropies, divergences and
        mutual informations. NIPS 2015, the leave-one-out estimator.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 1000))
        >>> round(mi.mutual_information(a, a + b, "vme", null=0, draws=0).nats, 1)  # ln(2) / 2
        0.3
    """

    name: ClassVar[str] = "vme"
    name_shown: ClassVar[str] = "mutual information (von Mises expansion)"
    biased_from: ClassVar[int | None] = 2
    map_draws: ClassVar[int] = 40

    bandwidth: float = 1.0
    """The kernel's width as a multiple of Silverman's."""
    byte_budget: int = field(default=BLOCK_BUDGET, repr=False)
    """Bytes of a block of distances; the value does not depend on it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("vme: bandwidth", self.bandwidth)
        check_whole("vme: byte_budget", self.byte_budget)

    def working_bytes(self, n: int) -> int:
        """See `Estimator.working_bytes`: a block of distances, and half of it for their median."""
        return 2 * block_bytes(n, self.byte_budget)

    def _map_estimates(self, samples: LabelledResponses) -> MapEstimates:
        """See `LabelEstimator._map_estimates`; one kernel matrix a map serves all labels."""
        size = 3 * block_bytes(len(samples.codes), self.byte_budget)
        return over_prepared(self._prepare, samples, size)

    def _prepare(self, x: np.ndarray) -> Prepared | None:
        distances = self._distances(x)
        if distances.constant:
            return None
        n, d = x.shape
        # For Gaussian samples the median squared distance is 2 d variances.
        spread = math.sqrt(distances.median / (2 * min(d, 8)))
        unit = self.bandwidth * spread
        width = unit * _silverman(n, min(d, 8))
        full_kernel = (
            _leave_one_out_kernel(next(distances.blocks()), width) if distances.whole else None
        )

        def times(other: np.ndarray, indices: np.ndarray | None) -> np.ndarray:
            """Return the kernel of some samples, as wide as for so many, times `other` (k, m)."""
            bandwidth = unit * _silverman(n if indices is None else len(indices), min(d, 8))
            if full_kernel is not None:
                kernel = full_kernel if indices is None else full_kernel[np.ix_(indices, indices)]
                return matmul(
                    kernel if indices is None else kernel ** ((width / bandwidth) ** 2), other
                )
            blocks = self._distances(x if indices is None else x[indices]).blocks()
            return np.concatenate(
                [matmul(_leave_one_out_kernel(block, bandwidth), other) for block in blocks]
            )

        def information(codes: np.ndarray, indices: np.ndarray | None) -> float:
            classes, labels = np.unique(codes, return_inverse=True)
            counts = np.bincount(labels)
            if len(classes) < 2 or counts.max() < 2:
                return 0.0
            sums = times(np.eye(len(classes))[labels], indices)
            class_means = sums[np.arange(len(labels)), labels] / np.maximum(counts[labels] - 1, 1)
            of_all = sums.sum(axis=1) / (len(labels) - 1)
            gains = _log(class_means) - _log(of_all)
            return float(np.where(counts[labels] > 1, gains, 0.0).mean())

        return Prepared(information, _heavy(x=x))

    def information(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Return <ln f_-i(x_i, y_i) - ln f_-i(x_i) - ln f_-i(y_i)>."""
        joint, width = self._standardized(x, y)
        split = x.shape[1]
        joint_logs = self._logs(joint, width)
        value = (
            joint_logs - self._logs(joint[:, :split], width) - self._logs(joint[:, split:], width)
        )
        notices = (*_alone(joint_logs), *_heavy(x=x, y=y))
        return RawEstimate(float(value.mean()), notices=notices)

    def information_null(
        self, x: np.ndarray, y: np.ndarray, shuffles: int, seed: int
    ) -> np.ndarray:
        """See `Estimator.information_null`; the terms of one side alone are computed once."""
        joint, width = self._standardized(x, y)
        first, second = joint[:, : x.shape[1]], joint[:, x.shape[1] :]
        alone = float((self._logs(first, width) + self._logs(second, width)).mean())

        def together(other: np.ndarray) -> float:
            shuffled = np.concatenate([first, other], axis=1)
            return float(self._logs(shuffled, width).mean()) - alone

        return joint_null(together, second, shuffles, seed, self.working_bytes(len(x)))

    def conditional_information(
        self, x: np.ndarray, y: np.ndarray, given: np.ndarray, seed: int
    ) -> RawEstimate:
        """Return I(X;Y|Z), the mean of a sum of logarithms of densities.

        It is <ln f_-i(x_i, y_i, z_i) + ln f_-i(z_i) - ln f_-i(x_i, z_i) - ln f_-i(y_i, z_i)>.
        """
        joint, width = self._standardized(x, given, y)
        first, last = x.shape[1], x.shape[1] + given.shape[1]
        of_joint = self._logs(joint, width)
        value = of_joint + self._logs(joint[:, first:last], width)
        value -= self._logs(joint[:, :last], width) + self._logs(joint[:, first:], width)
        notices = (*_alone(of_joint), *_heavy(x=x, y=y, given=given))
        return RawEstimate(float(value.mean()), notices=notices)

    def total_correlation(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Return <ln f_-i(x_i) - sum_k ln f_-i(x_ik)>."""
        joint, width = self._standardized(x)
        of_joint = self._logs(joint, width)
        value = of_joint.copy()
        for column in joint.T:
            value -= self._logs(column[:, None], width)
        notices = (*_alone(of_joint), *_heavy(x=x))
        return RawEstimate(float(value.mean()), notices=notices)

    def entropy(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Return -<ln f_-i(x_i)>."""
        check_varied("vme: x", x)
        joint, width = self._standardized(x)
        logs = self._logs(joint, width)
        norm = x.shape[1] * math.log(width * math.sqrt(2 * math.pi))
        value = norm + float(np.log(x.std(axis=0)).sum()) - float(logs.mean())
        return RawEstimate(value, notices=_alone(logs))

    def divergence(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Return <ln f_-i(x_i) - ln g(x_i)> - <f(y_j) / g(y_j)> + 1, f of x and g of y."""
        pooled = np.concatenate([x, y])
        check_varied("vme: x and y", pooled)
        n, d = x.shape
        width = self.bandwidth * _silverman(min(n, len(y)), d)
        first, second = np.empty(len(pooled)), np.empty(len(pooled))
        for rows, block in self._distances(pooled / pooled.std(axis=0)).blocks():
            of_x = np.arange(rows.start, min(rows.stop, n))
            kernel = exponential(block, 2 * width**2)
            kernel[of_x - rows.start, of_x] = 0.0
            first[rows] = _log(kernel[:, :n].sum(axis=1))
            second[rows] = _log(kernel[:, n:].sum(axis=1)) - math.log(len(y))
        log_densities = first[:n] - math.log(n - 1)
        ratio = np.exp(first[n:] - math.log(n) - second[n:])
        value = float((log_densities - second[:n]).mean() - ratio.mean() + 1.0)
        return RawEstimate(value, notices=_alone(np.minimum(log_densities, second[:n])))

    def _distances(self, x: np.ndarray) -> Distances:
        return Distances(x, self.byte_budget)

    def _logs(self, x: np.ndarray, width: float) -> np.ndarray:
        """Return ln f_-i(x_i) (n,) without the kernel's norm, which cancels in informations."""
        sums = [
            _leave_one_out_kernel(block, width).sum(axis=1) for block in self._distances(x).blocks()
        ]
        return _log(np.concatenate(sums)) - math.log(len(x) - 1)

    def _standardized(self, *sides: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the parts side by side, by their deviations, and the width of the kernel."""
        joint = np.concatenate(sides, axis=1)
        spread = joint.std(axis=0)
        return joint / np.where(spread > 0, spread, 1.0), self.bandwidth * _silverman(*joint.shape)


def _silverman(n: int, d: int) -> float:
    return (4.0 / ((d + 2) * n)) ** (1.0 / (d + 4))


def _leave_one_out_kernel(block: tuple[slice, np.ndarray], width: float) -> np.ndarray:
    """Return the kernel of a block of rows, 0 between a sample and itself."""
    rows, distances = block
    kernel = exponential(distances, 2 * width**2)
    indices = np.arange(rows.start, rows.stop)
    kernel[indices - rows.start, indices] = 0.0
    return kernel


def _log(values: np.ndarray) -> np.ndarray:
    """Return logarithms, -708 at the least."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(values), _LEAST)


def _alone(logs: np.ndarray) -> tuple[str, ...]:
    """Return a notice where the least density, not the data, makes a part of the number."""
    share = float((logs <= _LEAST).mean())
    if not share:
        return ()
    return (
        f"{share:.1%} of the samples have no other within reach of the kernel; the number depends "
        "on the density of e^-708 that they are given. Use a larger bandwidth.",
    )


def _heavy(**sides: np.ndarray) -> tuple[str, ...]:
    effect = "a few samples make the kernel too wide for the others, and the estimate too low"
    return heavy_tails(effect, **sides)
