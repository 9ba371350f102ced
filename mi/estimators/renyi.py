"""Matrix-based Renyi information: entropies of Gram matrices, no density in between.

Of order alpha, in nats. A is positive semidefinite with trace 1; S_alpha(A) =
ln(sum_i lambda_i^alpha) / (1 - alpha), and -sum_i lambda_i ln lambda_i (von Neumann) for alpha 1.
At alpha 2 no eigenvalue is needed: S_2(A) = -ln |A|^2, the squared Frobenius norm.

References:
    L. G. Sanchez Giraldo, M. Rao, J. C. Principe: Measures of entropy from data using infinitely
    divisible kernels. IEEE Transactions on Information Theory 61 (2015) 535. S. Yu et al.:
    Multivariate extension of matrix-based Renyi's alpha-order entropy functional. IEEE TPAMI 42
    (2020) 2960. S. Yu, K. Wickstrom, R. Jenssen, J. C. Principe: Understanding convolutional neural
    networks with information theory: an initial exploration. IEEE TNNLS 32 (2021) 435 (pairs).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from oip.core.checks import check_choice, check_number, check_whole
from oip.core.records import Parameters
from oip.mi.backend import eigenvalues, matmul, thread_map
from oip.mi.estimators.base import LabelEstimator, RawEstimate
from oip.mi.estimators.gram import (
    Bandwidth,
    Distances,
    block_bytes,
    cut,
    gram,
    label_gram,
    matrix_bytes,
)
from oip.mi.estimators.results import SATURATED, LabelledResponses, MapEstimates
from oip.mi.measurement import Measurement
from oip.mi.resampling import Prepared, joint_null, over_prepared
from oip.mi.validation import check_responses, check_same_length, check_side, checked_maps

if TYPE_CHECKING:
    from oip.mi.estimators.results import Estimate

GROUPS = ("plain", "tempered", "tensor")
PAIRS_BUDGET = 512 << 20
"""Bytes of Gram matrices that are kept at once."""
_BEST = 3


def matrix_entropy(a: np.ndarray, alpha: float) -> np.ndarray:
    """Return S_alpha (...,), 0 to ln n, of symmetric, positive semidefinite matrices (..., n, n).

    Each is divided by its own trace; alpha is above 0.
    """
    trace = np.trace(a, axis1=-2, axis2=-1)
    if alpha == 2:
        flat = a.reshape(*a.shape[:-2], -1)
        return np.maximum(2 * np.log(trace) - np.log(np.einsum("...i,...i->...", flat, flat)), 0.0)
    return spectral_entropy(eigenvalues(a) / trace[..., None], alpha)


def spectral_entropy(shares: np.ndarray, alpha: float) -> np.ndarray:
    """Return S_alpha (...,), 0 to ln n, of eigenvalues or probabilities (..., n) of sum 1.

    Shares that rounding made negative count as 0.
    """
    from scipy.special import entr

    n = shares.shape[-1]
    shares = np.where(shares > n * np.finfo(np.float64).eps, shares, 0.0)
    if abs(alpha - 1) < 1e-8:
        value = entr(shares).sum(axis=-1)
    else:
        # 0^alpha is 0; near alpha 1 the logarithm of the sum keeps the digits that matter. The
        # largest share is taken out, so that the sum is 1 or more for any alpha.
        largest = shares.max(axis=-1)
        powers = ((shares / largest[..., None]) ** alpha).sum(axis=-1)
        value = (np.log(powers) + alpha * np.log(largest)) / (1 - alpha)
    return np.clip(value, 0.0, np.log(n))


def hadamard(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Return the elementwise product of Gram matrices (n, n): that of their variables together."""
    joint = matrices[0].copy()
    for matrix in matrices[1:]:
        joint *= matrix
    return joint


def class_entropy(a: np.ndarray, codes: np.ndarray, alpha: float) -> np.ndarray:
    """Return S_alpha (...,) of a o L, L the Gram matrix of a label: 1 for two of one class.

    In the order of the classes it is made of blocks, whose eigenvalues are those of the whole.
    The diagonals of a (..., n, n) are constant.
    """
    members = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    blocks = [a[..., indices[:, None], indices] for indices in members]
    trace = np.sum([np.trace(block, axis1=-2, axis2=-1) for block in blocks], axis=0)
    if alpha == 2:
        squares = np.sum([(block * block).sum(axis=(-2, -1)) for block in blocks], axis=0)
        return np.maximum(2 * np.log(trace) - np.log(squares), 0.0)
    shares = np.concatenate([eigenvalues(block) for block in blocks], axis=-1)
    return spectral_entropy(shares / trace[..., None], alpha)


def cached_entropies(
    matrix: np.ndarray, entropy: Callable[[np.ndarray], float]
) -> Callable[[np.ndarray | None], float]:
    """Return the entropy of the part of some samples of a matrix by their indices, cached."""
    cache: dict[bytes, float] = {}

    def of_part(indices: np.ndarray | None) -> float:
        key = b"" if indices is None else indices.tobytes()
        if key not in cache:
            cache[key] = entropy(cut(matrix, indices))
        return cache[key]

    return of_part


def renyi_label_entropy(codes: np.ndarray, alpha: float) -> float:
    """Return S_alpha of a label's Gram matrix: the Renyi entropy of its class shares, in nats."""
    return float(spectral_entropy(np.bincount(codes) / len(codes), alpha))


@dataclass(frozen=True, eq=False, repr=False)
class Pairs:
    """Information of maps and of pairs of maps about one label, in nats."""

    single: np.ndarray
    """(m,): I(T^i; Y)."""
    joint: np.ndarray
    """(m, m): I({T^i, T^j}; Y), symmetric; on the diagonal that of a map with itself, whose joint
    matrix is narrower than its own."""

    @property
    def redundancy(self) -> np.ndarray:
        """(m, m): redundancy less synergy, I_i + I_j - I_ij."""
        return self.single[:, None] + self.single[None, :] - self.joint

    @property
    def non_redundant(self) -> np.ndarray:
        """(m, m): weighted non-redundant information, 2 I_ij - I_i - I_j."""
        return 2 * self.joint - self.single[:, None] - self.single[None, :]

    def share(self, values: np.ndarray) -> np.ndarray:
        """Return `redundancy` or `non_redundant` (m, m) as a share of I_ij; 0 where I_ij is 0."""
        positive = self.joint > 0
        return np.divide(values, self.joint, out=np.zeros_like(values), where=positive)

    def __repr__(self) -> str:
        best = np.argsort(-np.nan_to_num(self.single), kind="stable")[:_BEST]
        listed = ", ".join(f"{row} ({self.single[row]:z.3g} nats)" for row in best)
        return f"<Pairs: {len(self.single)} maps; best alone: {listed}>"


def pairs(
    responses: np.ndarray,
    codes: np.ndarray,
    alpha: float,
    width: Bandwidth,
    byte_budget: int = PAIRS_BUDGET,
) -> Pairs:
    """Estimate the information of all pairs of maps of one layer, from responses (n, m, d).

    At alpha 2, |A_i o A_j|^2 = <A_i^2, A_j^2> with squares of elements, so that all pairs are two
    products of (m, n^2) matrices, without and with the label's matrix. `byte_budget` is for the
    Gram matrices that are kept at once.
    """
    maps = responses.shape[1]
    of_label = renyi_label_entropy(codes, alpha)
    if alpha == 2:
        totals, labelled = _squares(responses, codes, width, byte_budget)
        # S_2(A_i, A_j) is ln n^2 - ln |A_i o A_j|^2 for unit diagonals, with the label and without.
        values = np.log(labelled) - np.log(totals) + of_label
        return Pairs(values[:maps, maps], values[:maps, :maps])
    single, joint = np.zeros(maps), np.zeros((maps, maps))
    size = matrix_bytes(len(codes))
    step = max(1, byte_budget // size)

    def information(a: np.ndarray) -> float:
        return float(matrix_entropy(a, alpha) + of_label - class_entropy(a, codes, alpha))

    for start in range(0, maps, step):
        grams = [gram(x, width) for x in responses[:, start : start + step].swapaxes(0, 1)]

        def column(index: int, start: int = start, grams: list[np.ndarray] = grams) -> None:
            is_in_block = index < start + len(grams)
            a = grams[index - start] if is_in_block else gram(responses[:, index], width)
            if is_in_block:
                single[index] = information(a)
            for row, b in enumerate(grams[: index - start + 1], start):
                joint[row, index] = joint[index, row] = information(a * b)

        thread_map(column, range(start, maps), 5 * size)
    return Pairs(single, joint)


def _squares(
    responses: np.ndarray, codes: np.ndarray, width: Bandwidth, byte_budget: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return sums (m + 1, m + 1) of A_i^2 A_j^2 over all pairs of samples, and over one class.

    The last map is constant, so that its column belongs to single maps. Some rows of all matrices
    are made at a time.
    """
    n, maps, d = responses.shape
    scales = np.array(
        thread_map(
            lambda index: width.doubled_square(Distances(responses[:, index]), d),
            range(maps),
            2 * block_bytes(n),
        )
    )
    totals = np.zeros((maps + 1, maps + 1))
    labelled = np.zeros_like(totals)
    step = max(1, byte_budget // (16 * n * (maps + 1)))
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        block = np.ones((maps + 1, rows.stop - start, n))

        def fill(index: int, rows: slice = rows, block: np.ndarray = block) -> None:
            if scales[index] > 0:  # 0 for a constant map
                distances = Distances(responses[:, index]).between(rows)
                np.exp(distances / (-0.5 * scales[index]), out=block[index])

        thread_map(fill, range(maps))
        sums = added_squares(block, codes[rows, None] == codes)
        totals += sums[0]
        labelled += sums[1]
    return totals, labelled


def added_squares(block: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (m, m) sums of A_i^2 A_j^2 over pairs of samples, and over those of one class.

    From squares of elements A_i^2 (m, rows, n); `mask` (rows, n) says which pairs are of one class.
    """
    flat = block.reshape(len(block), -1)
    return matmul(flat, flat.T), matmul(flat * mask.reshape(-1), flat.T)


@dataclass(frozen=True)
class Renyi(LabelEstimator):
    """Entropies of normalized Gram matrices A = K / n with K = exp(-D / 2 sigma^2).

        S(A) = ln(sum_i lambda_i^alpha) / (1 - alpha); alpha 1 is von Neumann's entropy
        S(A, B) = S(A o B / tr(A o B)), o the elementwise product
        I(X;Y) = S(A) + S(B) - S(A, B)
        I(X;Y|Z) = S(A, C) + S(B, C) - S(C) - S(A, B, C)
        T(X) = sum_d S(A_d) - S(A_1, ..., A_D), columns as variables
        I(X;M) = S(A), the information that a response keeps of the sample

    S(A, B) is at least S(A) and S(B) for every alpha. It is at most their sum for alpha 1, but not
    for every alpha: at 2 it can be some hundredths of a nat more, and I that much under 0.

    A label has the Gram matrix 1[y_i = y_j], so that S is the Renyi entropy of the class shares and
    I(X;Y) at most that. 0 <= S <= ln n. These are no estimates of Shannon's quantities of X: S(A)
    grows with n and falls with the width. They compare what is measured at one n and one width.

    It saturates by construction. With a narrow kernel, or with the product over many maps, all
    samples lose their overlap, S goes to ln n and I(X;Y) to S(Y), whatever X is. From 98 % of ln n
    a notice says so. `group` offers other joint matrices of many variables (T, and the methods
    `group_entropy` and `group_information`):
        `plain`: the product A_1 o ... o A_C, as published;
        `tempered`: (A_1 o ... o A_C)^(1/C), as wide as one of them is;
        `tensor`: one kernel of all variables side by side.

    It needs no density, in any dimension. Use it for wide responses, orders between maps of one
    width, and the information of many maps together. Not across n, layers or widths. The cost is
    n^3 for eigenvalues; alpha 2 needs none.

    Units:
        Nats inside, bits where it is shown.

    References:
        S. Yu, K. Wickstrom, R. Jenssen, J. C. Principe: Understanding convolutional neural networks
        with information theory: an initial exploration. IEEE TNNLS 32 (2021) 435, eq. 2 to 7. L. G.
        Sanchez Giraldo, M. Rao, J. C. Principe: Measures of entropy from data using infinitely
        divisible kernels. IEEE Transactions on Information Theory 61 (2015) 535.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> y = np.arange(120) % 2
        >>> x = np.random.default_rng(0).normal(size=(120, 50)) + 2 * y[:, None]
        >>> 0 < mi.mutual_information(x, y, "renyi", alpha=2, null=0, draws=0).bits < 1
        True
    """

    name: ClassVar[str] = "renyi"
    name_shown: ClassVar[str] = "mutual information (matrix Renyi)"
    map_draws: ClassVar[int] = 20

    alpha: float = 1.01
    relative: float = 1.0
    """2 sigma^2 as a share of the median squared distance."""
    silverman: float | None = None
    """h in sigma = h n^(-1 / (4 + d)), in place of `relative`; the paper has 5 for responses."""
    sigma: float | None = None
    """Of the kernel, in the samples' own units, in place of both."""
    group: Literal["plain", "tempered", "tensor"] = "plain"
    """The joint matrix of many variables."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("renyi: alpha", self.alpha)
        self.width.check("renyi")
        check_choice("renyi: group", self.group, GROUPS)

    @property
    def width(self) -> Bandwidth:
        """The width of the kernel."""
        return Bandwidth(self.relative, self.silverman, self.sigma)

    @property
    def parameters(self) -> Parameters:
        """Alpha, the width in use, the joint matrix."""
        if self.sigma is not None:
            width = {"sigma": self.sigma}
        elif self.silverman is not None:
            width = {"silverman": self.silverman}
        else:
            width = {"relative": self.relative}
        return {"alpha": self.alpha, **width, "group": self.group}

    def working_bytes(self, n: int) -> int:
        """See `Estimator.working_bytes`: Gram matrices of both sides, their product, its copies."""
        return 5 * matrix_bytes(n)

    def entropy(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Return S(A); at most ln n."""
        value = self._entropy(gram(x, self.width))
        return RawEstimate(value, ceiling=math.log(len(x)), notices=saturation("X", value, len(x)))

    def label_entropy(self, codes: np.ndarray, seed: int) -> RawEstimate:
        """Return S of the shares of the classes."""
        return RawEstimate(renyi_label_entropy(codes, self.alpha))

    def input_information(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Return S(A): of I(X;M) = S(identity) + S(A) - S(identity o A) nothing else is left."""
        return self.entropy(x, seed)

    def information(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Return S(A) + S(B) - S(A, B); at most the smaller of S(A) and S(B)."""
        a, b = gram(x, self.width), gram(y, self.width)
        return self._shared(a, b, ("X", "Y"))

    def information_null(
        self, x: np.ndarray, y: np.ndarray, shuffles: int, seed: int
    ) -> np.ndarray:
        """See `Estimator.information_null`; Gram matrices are computed once."""
        a, b = gram(x, self.width), gram(y, self.width)
        single = self._entropy(a) + self._entropy(b)
        return single - joint_null(
            lambda order: self._entropy(a * cut(b, order)),
            np.arange(len(y)),
            shuffles,
            seed,
            self.working_bytes(len(y)),
        )

    def discrete_information(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Return S of the shares of x, plus of y, less of the pairs."""
        pairs = np.unique(np.stack([x, y]), axis=1, return_counts=True)[1]
        single = renyi_label_entropy(x, self.alpha), renyi_label_entropy(y, self.alpha)
        joint = float(spectral_entropy(pairs / len(x), self.alpha))
        return RawEstimate(sum(single) - joint, ceiling=min(single))

    def conditional_information(
        self, x: np.ndarray, y: np.ndarray, given: np.ndarray, seed: int
    ) -> RawEstimate:
        """Return S(A, C) + S(B, C) - S(C) - S(A, B, C)."""
        return self._conditional(*(gram(side, self.width) for side in (x, y, given)))

    def conditional_label_information(
        self, x: np.ndarray, codes: np.ndarray, given: np.ndarray, seed: int
    ) -> RawEstimate:
        """Return the same with B the Gram matrix of the label; and A, where x is a label, too."""
        a = label_gram(x) if x.ndim == 1 else gram(x, self.width)
        return self._conditional(a, label_gram(codes), gram(given, self.width))

    def total_correlation(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Return sum_d S(A_d) - S of the joint matrix of the columns (`group`)."""
        columns = x.T[:, :, None]
        single = np.array([self._entropy(gram(column, self.width)) for column in columns])
        joint = self._entropy(self._group_gram(x[:, :, None]))
        total = float(single.sum())
        notices = saturation("all columns", joint, len(x))
        return RawEstimate(total - joint, ceiling=total - float(single.max()), notices=notices)

    def group_entropy(self, responses: np.ndarray) -> Estimate:
        """Estimate S of the joint matrix (`group`) of all maps (n, maps, d), finite; at most ln n.

        There is no interval and no p-value. A DataError says that responses cannot be used.

        Example:
            >>> import numpy as np
            >>> from oip import mi
            >>> responses = np.random.default_rng(0).normal(size=(128, 16, 5))
            >>> mi.estimator("renyi").group_entropy(responses).saturated
            True
        """
        values = check_responses(responses)
        n, maps, d = values.shape
        joint = self._entropy(self._group_gram(values))
        notices = saturation("the maps together", joint, n)
        return Measurement(
            quantity="H(T^1, ..., T^C)",
            estimator=self,
            arrays=(values,),
            d=maps * d,
            seed=0,
            estimate_on=lambda _: RawEstimate(joint, ceiling=math.log(n), notices=notices),
        ).estimate(0, 0)

    def group_information(
        self,
        responses: np.ndarray,
        y: ArrayLike,
        discrete: bool | None = None,
        seed: int = 0,
        null: int = 0,
        draws: int = 0,
    ) -> Estimate:
        """Estimate I({T^1, ..., T^C}; Y) of all maps together: S(G) + S(B) - S(G o B) (eq. 7).

        Args:
            responses: (n, maps, d), finite.
            y: a label, or numbers (n,) or (n, d) such as the input.
            discrete: y is a label; decided by what it holds if None.
            seed: of shuffles and draws.
            null: shuffles of y for the p-value; the joint matrix is computed once.
            draws: random halves for the interval, at the kernel width of all samples.

        Returns:
            The estimate; its ceiling is the smaller of S(G) and S(B).

        Raises:
            DataError: arrays that cannot be used.
            SettingsError: seed, null or draws that are no whole numbers of 0 or more.
        """
        values = check_responses(responses)
        side = check_side("y", y, discrete, labels_first=True)
        n, maps, d = values.shape
        check_same_length("y", len(side), n)
        seed = check_whole("seed", seed, 0)
        b = label_gram(side.values) if side.is_label else gram(side.values, self.width)
        g = self._group_gram(values)
        all_rows = np.arange(n)

        def information(rows: np.ndarray, columns: np.ndarray) -> RawEstimate:
            return self._shared(cut(g, rows), cut(b, columns), ("the maps together", "Y"))

        def null_of(shuffles: int) -> np.ndarray:
            memory = self.working_bytes(n)
            return joint_null(
                lambda order: information(all_rows, order).nats, all_rows, shuffles, seed, memory
            )

        return Measurement(
            quantity="I(T^1, ..., T^C;Y)",
            estimator=self,
            arrays=(all_rows,),
            d=maps * d,
            seed=seed,
            estimate_on=lambda rows: information(rows, rows),
            null_of=null_of,
        ).estimate(null, draws)

    def pairs(self, responses: np.ndarray, labels: ArrayLike) -> Pairs:
        """Estimate the information of every two maps about a label: redundancy and synergy.

        At alpha 2 all pairs are two matrix products; other alphas need eigenvalues for each.
        Responses (n, maps, d) and labels (n,) are those of `over_maps`, and the errors.

        Example:
            >>> import numpy as np
            >>> from oip import mi
            >>> responses = np.random.default_rng(0).normal(size=(60, 3, 5))
            >>> mi.estimator("renyi", alpha=2).pairs(responses, np.arange(60) % 2).joint.shape
            (3, 3)
        """
        values, codes = checked_maps(responses, labels)
        return pairs(values, codes, self.alpha, self.width)

    def _map_estimates(self, samples: LabelledResponses) -> MapEstimates:
        """See `LabelEstimator._map_estimates`; ceilings are Renyi entropies of the label."""

        def prepare(x: np.ndarray) -> Prepared | None:
            a = gram(x, self.width)
            entropy_of = cached_entropies(a, self._entropy)
            if entropy_of(None) == 0.0:
                return None

            def information(labels: np.ndarray, indices: np.ndarray | None) -> float:
                of_label = renyi_label_entropy(labels, self.alpha)
                joint = float(class_entropy(cut(a, indices), labels, self.alpha))
                return entropy_of(indices) + of_label - joint

            return Prepared(information, saturation("X", entropy_of(None), len(x)))

        codes = samples.codes
        size = self.working_bytes(len(codes))
        estimates = over_prepared(prepare, samples, size, expensive=True)
        of_classes = [renyi_label_entropy(codes == code, self.alpha) for code in np.unique(codes)]
        return replace(
            estimates,
            ceiling=np.full(samples.maps, renyi_label_entropy(codes, self.alpha)),
            class_ceiling=np.array(of_classes),
        )

    def _entropy(self, a: np.ndarray) -> float:
        return float(matrix_entropy(a, self.alpha))

    def _shared(self, a: np.ndarray, b: np.ndarray, names: tuple[str, str]) -> RawEstimate:
        single = self._entropy(a), self._entropy(b)
        notices = saturation(names[0], single[0], len(a)) or saturation(names[1], single[1], len(a))
        return RawEstimate(sum(single) - self._entropy(a * b), ceiling=min(single), notices=notices)

    def _conditional(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> RawEstimate:
        of_ac, of_bc, of_c = self._entropy(a * c), self._entropy(b * c), self._entropy(c)
        value = of_ac + of_bc - of_c - self._entropy(hadamard([a, b, c]))
        notices = saturation("X and Z", of_ac, len(a)) + saturation("Y and Z", of_bc, len(a))
        return RawEstimate(value, ceiling=min(of_ac, of_bc) - of_c, notices=notices)

    def _group_gram(self, responses: np.ndarray) -> np.ndarray:
        """Return the joint matrix (n, n) of maps (n, maps, d)."""
        n, maps, d = responses.shape
        if self.group == "tensor":
            return gram(responses.reshape(n, maps * d), self.width)
        joint = np.ones((n, n))
        for index in range(maps):
            joint *= gram(responses[:, index], self.width)
        return joint ** (1 / maps) if self.group == "tempered" else joint


def saturation(variables: str, entropy: float, n: int, ending: str = "") -> tuple[str, ...]:
    """Return a notice where S of some variables is at ln n; `ending` ends the sentence."""
    share = entropy / math.log(n)
    if share < SATURATED:
        return ()
    effect = f"samples hardly overlap at this width{ending}"
    return (f"Saturated: S of {variables} is {share:.1%} of log n; {effect}.",)
