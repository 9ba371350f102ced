"""Kernel estimators: responses as a mixture of Gaussians, one at each sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from mi.estimators.base import EntropyEstimator, InputEstimator, LabelEstimator, Value
from mi.estimators.kde_sums import Plan, Sums, Told
from mi.estimators.map_samples import MapSamples
from mi.estimators.renyi_gram import exponential
from mi.estimators.results import SATURATED, MapEstimates, quantile_ends
from mi.estimators.settings import check_choice, check_number
from mi.estimators.threads import each
from mi.gram import Distances, block_bytes
from mi.labels import class_entropies, label_entropy
from mi.nulls import class_p_values
from mi.samples import checked_maps
from oip.core.errors import SettingsError, expected


@dataclass(frozen=True)
class Kde(LabelEstimator, EntropyEstimator, InputEstimator):
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
        >>> import numpy as np, mi
        >>> y = np.arange(300) % 2
        >>> x = np.random.default_rng(0).normal(size=300) + 4 * y
        >>> 0.7 < mi.mutual_information(x, y, "kde", relative=0.05).bits <= 1
        True
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
        plan = Plan.of(samples)
        x = samples.responses
        found = each(
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
            >>> import numpy as np, mi
            >>> x = np.random.default_rng(0).normal(size=(60, 2, 3))
            >>> mi.estimator("kde").over_variances(x, x[:, 0, 0] > 0, noise=(1, 0.1)).shape
            (2, 2)
        """
        swept = [replace(self, relative=share, noise=None) for share in relative]
        swept += [replace(self, noise=variance) for variance in noise]
        responses, codes = checked_maps(responses, labels)
        plan = Plan.of(MapSamples(responses, codes))

        def one(place: int) -> list[float]:
            distances = Distances(responses[plan.order, place])
            if distances.constant:
                return [0.0] * len(swept)
            scales = [other._scale(distances) for other in swept]
            sums = [Sums(plan) for _ in swept]
            for rows, block in distances.blocks():
                for scale, several in zip(scales, sums, strict=True):
                    several.add(rows, exponential(block.copy(), scale))
            return [several.information for several in sums]

        found = each(one, range(responses.shape[1]), 2 * block_bytes(len(codes)))
        return np.array(found).reshape(responses.shape[1], len(swept)).T

    def working_bytes(self, n: int) -> int:
        """See `Estimator.working_bytes`: a block of distances, and half of it for their median."""
        return 2 * block_bytes(n)

    def input_information(self, x: np.ndarray, seed: int) -> Value:
        """I(X;M) of responses x (n, d), when M is x with the noise added; at most log n."""
        return Value(self._of_sample(Distances(x)), ceiling=math.log(len(x)))

    def entropy(self, x: np.ndarray, seed: int) -> Value:
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
        return Value(of_noise + known, ceiling=of_noise + most, least=of_noise, notices=told)

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

    def _one(self, x: np.ndarray, plan: Plan) -> Told:
        """What is told by one map's responses (n, d)."""
        sums = Sums(plan)
        distances = Distances(x[plan.order])
        if not distances.constant:
            scale = self._scale(distances)
            for rows, block in distances.blocks():
                kernel = exponential(block, scale)
                sums.add(rows, kernel)
                sums.add_halves(rows, kernel)
                sums.add_null(rows, kernel)
        return sums.told
