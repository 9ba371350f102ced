"""Matrix-based Renyi information: entropies of Gram matrices, no density in between."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from oip.core.checks import check_choice, check_number, check_whole
from oip.core.records import Parameters
from oip.mi.backend import thread_map
from oip.mi.estimators.base import Abilities, LabelEstimator, RawEstimate
from oip.mi.estimators.gram import Bandwidth, cut, gram, label_gram, matrix_bytes
from oip.mi.estimators.registry import TABLE
from oip.mi.estimators.renyi_entropy import (
    cached_entropies,
    class_entropy,
    hadamard,
    matrix_entropy,
    renyi_label_entropy,
    spectral_entropy,
)
from oip.mi.estimators.results import SATURATED, LabelledResponses, MapEstimates
from oip.mi.measurement import Measurement
from oip.mi.resampling import Prepared, over_prepared, shuffled
from oip.mi.validation import check_responses, check_same_length, check_side, checked_maps

if TYPE_CHECKING:
    from oip.mi.estimators.renyi_pairs import Pairs
    from oip.mi.estimators.results import Estimate

GROUPS = ("plain", "tempered", "tensor")


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
    abilities: ClassVar[Abilities] = TABLE["renyi"].abilities
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
        return RawEstimate(value, ceiling=math.log(len(x)), notices=_saturated("X", value, len(x)))

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
        joint = thread_map(
            lambda order: self._entropy(a * cut(b, order)),
            shuffled(np.arange(len(y)), seed, shuffles),
            self.working_bytes(len(y)),
        )
        return single - np.array(joint)

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
        return RawEstimate(
            total - joint,
            ceiling=total - float(single.max()),
            notices=_saturated("all columns", joint, len(x)),
        )

    def group_entropy(self, responses: np.ndarray) -> Estimate:
        """Estimate S of the joint matrix of all maps (`group`); at most ln n.

        Args:
            responses: (n, maps, d), finite.

        Returns:
            The estimate, without interval and p-value.

        Raises:
            DataError: responses that cannot be used.

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
        notices = _saturated("the maps together", joint, n)
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
        """Estimate I({T^1, ..., T^C}; Y) of all maps together: S(G) + S(B) - S(G o B).

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

        References:
            S. Yu et al. (2021), eq. 7.
        """
        values = check_responses(responses)
        side = check_side("y", y, discrete, labels_first=True)
        n, maps, d = values.shape
        check_same_length("y", len(side), n)
        seed = check_whole("seed", seed, 0)
        b = label_gram(side.values) if side.is_label else gram(side.values, self.width)
        g = self._group_gram(values)
        everyone = np.arange(n)

        def information(rows: np.ndarray, columns: np.ndarray) -> RawEstimate:
            return self._shared(cut(g, rows), cut(b, columns), ("the maps together", "Y"))

        def null_of(shuffles: int) -> np.ndarray:
            orders = shuffled(everyone, seed, shuffles)
            memory = self.working_bytes(n)
            return np.array(
                thread_map(lambda order: information(everyone, order).nats, orders, memory)
            )

        return Measurement(
            quantity="I(T^1, ..., T^C;Y)",
            estimator=self,
            arrays=(everyone,),
            d=maps * d,
            seed=seed,
            estimate_on=lambda rows: information(rows, rows),
            null_of=null_of,
        ).estimate(null, draws)

    def pairs(self, responses: np.ndarray, labels: ArrayLike) -> Pairs:
        """Estimate the information of every two maps about a label: redundancy and synergy.

        At alpha 2 all pairs are two matrix products; other alphas need eigenvalues for each.

        Args:
            responses: (n, maps, d), finite.
            labels: (n,) whole numbers, booleans or names, or one-hot rows.

        Raises:
            DataError: responses or labels that cannot be used.

        Example:
            >>> import numpy as np
            >>> from oip import mi
            >>> responses = np.random.default_rng(0).normal(size=(60, 3, 5))
            >>> mi.estimator("renyi", alpha=2).pairs(responses, np.arange(60) % 2).joint.shape
            (3, 3)
        """
        from oip.mi.estimators.renyi_pairs import pairs

        values, codes = checked_maps(responses, labels)
        return pairs(values, codes, self.alpha, self.width)

    def _over_maps(self, samples: LabelledResponses) -> MapEstimates:
        """See `LabelEstimator._over_maps`; ceilings are Renyi entropies of the label."""

        def prepare(x: np.ndarray) -> Prepared | None:
            a = gram(x, self.width)
            entropy_of = cached_entropies(a, self._entropy)
            if entropy_of(None) == 0.0:
                return None

            def information(labels: np.ndarray, indices: np.ndarray | None) -> float:
                of_label = renyi_label_entropy(labels, self.alpha)
                joint = class_entropy(cut(a, indices), labels, self.alpha)
                return entropy_of(indices) + of_label - joint

            return Prepared(information, _saturated("X", entropy_of(None), len(x)))

        codes = samples.codes
        size = self.working_bytes(len(codes))
        estimates = over_prepared(prepare, samples, size, expensive=True)
        classes = [
            renyi_label_entropy(codes == code, self.alpha) for code in range(codes.max() + 1)
        ]
        return replace(
            estimates,
            ceiling=np.full(samples.maps, renyi_label_entropy(codes, self.alpha)),
            class_ceiling=np.array(classes),
        )

    def _entropy(self, a: np.ndarray) -> float:
        return float(matrix_entropy(a, self.alpha))

    def _shared(self, a: np.ndarray, b: np.ndarray, names: tuple[str, str]) -> RawEstimate:
        single = self._entropy(a), self._entropy(b)
        notices = _saturated(names[0], single[0], len(a)) or _saturated(names[1], single[1], len(a))
        return RawEstimate(sum(single) - self._entropy(a * b), ceiling=min(single), notices=notices)

    def _conditional(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> RawEstimate:
        of_ac, of_bc, of_c = self._entropy(a * c), self._entropy(b * c), self._entropy(c)
        value = of_ac + of_bc - of_c - self._entropy(hadamard([a, b, c]))
        notices = _saturated("X and Z", of_ac, len(a)) + _saturated("Y and Z", of_bc, len(a))
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


def _saturated(variables: str, entropy: float, n: int) -> tuple[str, ...]:
    share = entropy / math.log(n)
    if share < SATURATED:
        return ()
    effect = "samples hardly overlap at this width"
    return (f"Saturated: S of {variables} is {share:.1%} of log n; {effect}.",)
