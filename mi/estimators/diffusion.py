"""Diffusion spectral entropy and mutual information: how many structures samples have."""

from __future__ import annotations

import hashlib
import math
import threading
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from oip.core import seeds
from oip.core.checks import check_choice, check_flag, check_number, check_whole
from oip.core.records import Parameters
from oip.mi.backend import eigenvalues
from oip.mi.estimators.base import Estimator, LabelEstimator, RawEstimate
from oip.mi.estimators.binning import equal_bins
from oip.mi.estimators.gram import (
    Bandwidth,
    cut,
    distance_quantile,
    exponential,
    gram,
    matrix_bytes,
    squared_distances,
)
from oip.mi.estimators.renyi import saturation, spectral_entropy
from oip.mi.estimators.results import LabelledResponses, MapEstimates
from oip.mi.resampling import Prepared, joint_null, over_prepared, widening
from oip.mi.validation import label_entropy

Normalization = Literal["symmetric", "row"]
NORMALIZATIONS = ("symmetric", "row")


def diffusion_entropy(g: np.ndarray, time: float, normalization: Normalization) -> float:
    """Return -sum_i p_i ln p_i, p_i = |lambda_i|^t / sum_j |lambda_j|^t, in nats, 0 to ln n.

    The eigenvalues are those of
        `symmetric`: K = Q^-1/2 G Q^-1/2, Q the row sums of G (n, n); also those of Q^-1 G;
        `row`: the diffusion matrix P = R^-1 K, R the row sums of K, whose rows are distributions.
    """
    k = _normalized(g)
    if normalization == "row":
        # R^-1 K has the eigenvalues of R^-1/2 K R^-1/2, which is symmetric.
        k = _normalized(k)
    sizes = np.abs(eigenvalues(k))
    # The largest is 1 for either matrix; rounding errors would count at small t.
    sizes[sizes < len(g) * np.finfo(np.float64).eps * sizes.max()] = 0.0
    powers = (sizes / sizes.max()) ** time  # one is 1, however large t is
    return float(spectral_entropy(powers / powers.sum(), 1.0))


def _normalized(matrix: np.ndarray) -> np.ndarray:
    root = 1.0 / np.sqrt(matrix.sum(axis=1))
    return matrix * root[:, None] * root[None, :]


REFERENCE_SIGMA = 10.0
_NEIGHBORS = 10
"""Of the graph whose clusters the reference code takes."""
SUBSETS = 5
"""Random subsets of a class's size that the reference code compares the class with."""


@dataclass(frozen=True)
class _Diffusion(Estimator):
    """The settings of both estimators."""

    rate: ClassVar[float] = 0.25
    """Measured at n = 50 to 400: .1 to .4."""

    quantile: float = 0.05
    """Sigma of the kernel exp(-D / 2 sigma^2) is this quantile of the distances, so that a sample
    meets about this share of the others, whatever clusters they are in."""
    relative: float | None = None
    """2 sigma^2 as a share of the median squared distance, in place of `quantile`."""
    sigma: float | None = None
    """In the samples' own units, in place of both."""
    time: float = 1.0
    """Diffusion time t: small eigenvalues fade as it grows."""
    normalization: Normalization = "symmetric"
    """`symmetric`, as the reference code has it, or `row`, the row-stochastic diffusion matrix."""
    reference: bool = False
    """As in the reference code: sigma 10 unless `sigma` is given, and its own difference (DSMI)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(f"{self.name}: quantile", self.quantile, maximum=1.0)
        self._bandwidth.check(self.name)
        check_number(f"{self.name}: time", self.time)
        check_choice(f"{self.name}: normalization", self.normalization, NORMALIZATIONS)
        check_flag(f"{self.name}: reference", self.reference)

    @property
    def parameters(self) -> Parameters:
        """The width in use, time, matrix."""
        if self._sigma is not None:
            width = {"sigma": self._sigma}
        elif self.relative is not None:
            width = {"relative": self.relative}
        else:
            width = {"quantile": self.quantile}
        settings = {**width, "time": self.time, "normalization": self.normalization}
        return {**settings, "reference": True} if self.reference else settings

    @property
    def _sigma(self) -> float | None:
        return REFERENCE_SIGMA if self.reference and self.sigma is None else self.sigma

    @property
    def _bandwidth(self) -> Bandwidth:
        relative = 1.0 if self.relative is None else self.relative
        return Bandwidth(relative, sigma=self._sigma)

    def working_bytes(self, n: int) -> int:
        """See `Estimator.working_bytes`: distances, two Gram matrices, eigenvalues."""
        return 5 * matrix_bytes(n)

    def _gram(self, distances: np.ndarray, d: int) -> np.ndarray:
        """Return the Gram matrix (n, n) of samples (n, d) from their squared distances."""
        if not distances.any():
            return np.ones_like(distances)
        if self._sigma is not None or self.relative is not None:
            scale = self._bandwidth.doubled_square(distances, d)
        else:
            scale = 2 * distance_quantile(distances, self.quantile)
        return exponential(distances.copy(), scale)

    def _entropy(self, g: np.ndarray) -> float:
        return diffusion_entropy(g, self.time, self.normalization)


@dataclass(frozen=True)
class Dse(_Diffusion):
    """Diffusion spectral entropy: S = -sum p ln p of the spectrum of a diffusion matrix.

    From G = exp(-D / 2 sigma^2), Q its row sums and K = Q^-1/2 G Q^-1/2 (`symmetric`, the reference
    code), or P = R^-1 K with the row sums R of K (`row`, the paper's diffusion matrix); the two
    have different eigenvalues lambda. p_i = |lambda_i|^t / sum.

    It counts structures: ln k for k distant clusters, once t is large enough for all smaller
    eigenvalues to fade; 0 for one point; ln n, its ceiling, for samples without overlap. It is no
    estimate of Shannon's entropy. With the reference's sigma 10 it depends on the scale of the
    data; else it does not, and compares shapes. A width relative to the median of all distances
    hides clusters (`relative=0.2`: of 10, two or three are left at t = 20, one at t = 100); the
    default finds up to some 10 of equal size, at t = 5 in many dimensions, in two from t = 20.
    Points along a line count as several. It follows that S does not grow with the dimension of one
    cluster, as it does with a fixed sigma: the width grows, too. Time grows as n^3.

    Use it for layers over training, at one n and width. Not to order maps: it does not look at a
    label.

    Units:
        Nats inside, bits where it is shown.

    References:
        D. Liao et al.: Assessing neural network representations during training using noise-
        resilient diffusion spectral entropy. CISS 2024 (DSE).

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> x = np.repeat([[0.0], [100.0], [200.0]], 20, axis=0)
        >>> x += np.random.default_rng(0).normal(size=(60, 1))
        >>> one = mi.entropy(x, "dse", quantile=0.1, time=50, draws=0)
        >>> round(np.exp(one.nats))  # three clusters
        3
    """

    name: ClassVar[str] = "dse"
    name_shown: ClassVar[str] = "diffusion spectral entropy"

    def entropy(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Return S of the diffusion matrix; at most ln n."""
        g = self._gram(squared_distances(x), x.shape[1])
        return RawEstimate(self._entropy(g), ceiling=math.log(len(x)))

    def input_information(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Return S: given a sample nothing is left to diffuse, so that I(X;M) is the entropy."""
        return self.entropy(x, seed)


@dataclass(frozen=True)
class Dsmi(_Diffusion, LabelEstimator):
    """Diffusion spectral mutual information: I(X;Y) = S(P_X) - sum_y p_y S(P_X|y).

    S is the diffusion spectral entropy (see `Dse`); the matrices of the classes are cut out of one
    Gram matrix, with the width of all samples. With `reference` the term S(P_X) is the mean over
    the classes, as they are weighted, of the mean of five random subsets of the class's size, as
    in the published code: that removes the smaller S of fewer samples.

    Numbers Y are made a label: a scalar by ten equal bins, a vector by ten spectral clusters of a
    Gaussian kernel; with `reference` of the graph of ten nearest neighbors, as in the published
    code. The two agree by half (adjusted Rand index about .45).

    As published it is larger the fewer samples classes have: some of it is there for any label.
    Look at the p-value, or use `reference`. Mathematically H(Y) is no ceiling; values above it are
    clipped all the same, with a remark. Its error falls more slowly than 1 / sqrt(n): intervals
    are for 1 / sqrt(sqrt(n)).

    Use it to compare wide responses at one n and width. Not as Shannon's information.

    Units:
        Nats inside, bits where it is shown.

    References:
        D. Liao et al.: Assessing neural network representations during training using noise-
        resilient diffusion spectral entropy. CISS 2024 (DSMI).

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> y = np.arange(120) % 2
        >>> x = np.random.default_rng(0).normal(size=(120, 50)) + 2 * y[:, None]
        >>> mi.mutual_information(x, y, "dsmi", null=19, draws=0).p_value
        0.05
    """

    name: ClassVar[str] = "dsmi"
    name_shown: ClassVar[str] = "diffusion spectral mutual information"
    shuffles: ClassVar[int] = 100
    resamples: ClassVar[int] = 20
    map_draws: ClassVar[int] = 20

    groups: int = 10
    """Bins or clusters of a Y of numbers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("dsmi: groups", self.groups, 2)

    def information(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Return I(X; group of Y); at most the entropy of the groups."""
        codes = grouped(y, self.groups, seed, self.reference)
        if not codes.any():
            return RawEstimate(0.0, ceiling=0.0)
        prepared = self._prepared(x, seed)
        if prepared is None:
            return RawEstimate(0.0, ceiling=label_entropy(codes))
        value = prepared.information(codes, None)
        return RawEstimate(value, ceiling=label_entropy(codes), notices=prepared.notices)

    def information_null(
        self, x: np.ndarray, y: np.ndarray, shuffles: int, seed: int
    ) -> np.ndarray:
        """See `Estimator.information_null`; groups and the Gram matrix are computed once."""
        codes = grouped(y, self.groups, seed, self.reference)
        if not codes.any():
            return np.zeros(shuffles)
        prepared = self._prepared(x, seed)
        if prepared is None:
            return np.zeros(shuffles)
        memory = self.working_bytes(len(x))
        return joint_null(
            lambda labels: prepared.information(labels, None), codes, shuffles, seed, memory
        )

    def _map_estimates(self, samples: LabelledResponses) -> MapEstimates:
        """See `LabelEstimator._map_estimates`."""
        estimates = over_prepared(
            lambda x: self._prepared(x, samples.seed),
            samples,
            self.working_bytes(len(samples.codes)),
            expensive=True,
        )
        return estimates.widened(widening(self.rate))

    def _prepared(self, x: np.ndarray, seed: int) -> Prepared | None:
        """Return I(X;Y) as a function of labels, from one Gram matrix; None for a constant x.

        Other samples would have another width, and so has a half of these.
        """
        distances, d = squared_distances(x), x.shape[1]
        if not distances.any():
            return None
        g = self._gram(distances, d)
        entropy = self._entropy(g)
        means: dict[int, float] = {}

        def subsets(matrix: np.ndarray, size: int) -> float:
            """Return the mean S of random subsets, the same for all labels of all samples."""
            if len(matrix) == len(g) and size in means:
                return means[size]
            draw = seeds.generator(seed, "dsmi subsets", len(matrix), size)
            rows = [draw.permutation(len(matrix))[:size] for _ in range(SUBSETS)]
            mean = float(np.mean([self._entropy(cut(matrix, row)) for row in rows]))
            if len(matrix) == len(g):
                means[size] = mean
            return mean

        halves: dict[bytes, float] = {}

        def entropy_of_half(gram: np.ndarray, indices: np.ndarray) -> float:
            key = indices.tobytes()
            if key not in halves:
                halves[key] = self._entropy(gram)
            return halves[key]

        def information(labels: np.ndarray, indices: np.ndarray | None) -> float:
            matrix = g if indices is None else self._gram(cut(distances, indices), d)
            if self.reference:
                value = 0.0
            else:
                value = entropy if indices is None else entropy_of_half(matrix, indices)
            for code in np.unique(labels):
                members = np.flatnonzero(labels == code)
                subset = subsets(matrix, len(members)) if self.reference else 0.0
                value += len(members) / len(labels) * (subset - self._entropy(cut(matrix, members)))
            return value

        effect = ", and any label seems predictable"
        notices = () if self.reference else saturation("X", entropy, len(g), effect)
        return Prepared(information, notices)


def grouped(y: np.ndarray, groups: int, seed: int, reference: bool = False) -> np.ndarray:
    """Return the group (n,) int from 0 of every row of y (n, d), without gaps.

    One column is cut into equal bins from its smallest to its largest value; several go through
    spectral clustering, of the kernel with 2 sigma^2 = median squared distance, or, as the
    `reference` has it, of the graph of nearest neighbors, with labels by pivoted QR.
    """
    if not np.ptp(y, axis=0).any():
        return np.zeros(len(y), int)
    if y.shape[1] == 1:
        labels = equal_bins(y[:, 0], y.min(), np.ptp(y), groups)
    else:
        labels = _recent_clusters.of(y, min(groups, len(y) - 1), seed, reference)
    return np.unique(labels, return_inverse=True)[1]


class _RecentClusters:
    """Spectral clusters of the last Y, since one Y meets many X; of Y itself only a digest stays.

    Threads may use it; two that ask for the same at once compute it twice.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._clusters: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, y: np.ndarray, groups: int, seed: int, reference: bool) -> np.ndarray:
        """Return `spectral_clusters` of these arguments."""
        digest = hashlib.sha256(np.ascontiguousarray(y).data).hexdigest()
        key = digest, y.shape, groups, seed, reference
        with self._lock:
            if key in self._clusters:
                self._clusters.move_to_end(key)
                return self._clusters[key]
        clusters = spectral_clusters(y, groups, seed, reference)
        with self._lock:
            self._clusters[key] = clusters
            while len(self._clusters) > self._limit:
                self._clusters.popitem(last=False)
        return clusters


_recent_clusters = _RecentClusters(8)


def spectral_clusters(y: np.ndarray, groups: int, seed: int, reference: bool) -> np.ndarray:
    """Return the spectral cluster (n,) of every row of y (n, d) float64, see `grouped`."""
    from sklearn.cluster import SpectralClustering

    state = seeds.derived_seed(seed, "dsmi clusters")
    if not reference:
        rule = SpectralClustering(groups, affinity="precomputed", random_state=state)
        return rule.fit_predict(gram(y, Bandwidth()))
    neighbor_count = min(_NEIGHBORS, len(y))
    rule = SpectralClustering(
        groups,
        affinity="nearest_neighbors",
        n_neighbors=neighbor_count,
        assign_labels="cluster_qr",
        random_state=state,
    )
    with warnings.catch_warnings():
        # Of groups that are far apart, and of data with as many columns as rows.
        warnings.simplefilter("ignore", UserWarning)
        return rule.fit_predict(y)
