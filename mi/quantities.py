"""Quantities of samples: information, also given a third variable, entropies, divergence.

Every argument is numbers (n,) or (n, d), finite, or a label where one makes sense: `discrete=True`
takes any values as a label, `discrete=False` takes numbers as numbers. Estimates are in nats inside
and in bits where they are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from oip.core import seeds
from oip.core.checks import check_whole
from oip.core.errors import DataError, SettingsError
from oip.mi.backend import thread_map
from oip.mi.conditional_shuffles import ConditionalShuffles
from oip.mi.estimators.base import (
    Estimator,
    LabelEstimator,
    Quantity,
    RawEstimate,
    estimator_of,
    label_estimator,
)
from oip.mi.measurement import LabelMeasurement, Measurement, label_estimate
from oip.mi.resampling import joint_null
from oip.mi.validation import (
    FEWEST,
    Side,
    check_numbers,
    check_same_length,
    check_seen_twice,
    check_side,
    copies_notice,
    first_of_copies,
    one_hot,
    varied,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from oip.mi.estimators.results import Estimate

_ASSUMED = (
    "The p-value assumes that {count} samples in {columns} columns show how x changes with the "
    "condition."
)
_REFUSED = "No p-value: the samples are too few to show how the label x changes with the condition."


def mutual_information(
    x: ArrayLike,
    y: ArrayLike,
    estimator: str | Estimator | None = None,
    *,
    discrete: bool | None = None,
    discrete_x: bool | None = None,
    seed: int = 0,
    null: int | None = None,
    draws: int | None = None,
    **parameters: object,
) -> Estimate:
    """Estimate I(X;Y) of numbers or a label and numbers or a label.

    A y of whole numbers, booleans or names, or of one-hot rows, is a label; all other numbers are
    numbers, several columns a vector. An x is a label if it is names or if `discrete_x` says so.

    Args:
        x: (n,) or (n, d) numbers, finite; or a label.
        y: (n,) or (n, d) numbers, finite; or a label: (n,) or one-hot rows.
        estimator: a name, or an estimator. If None, `kde` for numbers and a label, `ksg` for
            numbers, `binning` for two labels.
        discrete: True takes any y as a label, False takes numbers as numbers.
        discrete_x: the same for x.
        seed: of folds, draws and shuffles.
        null: shuffles of y for the p-value, 0 for none. If None, the estimator's own number: none
            where shuffles are expensive.
        draws: random halves for the interval, 0 for none. If None, the estimator's own number.
        parameters: of the estimator, such as `relative=0.05`.

    Returns:
        The estimate, `nats` and `bits`, with its interval, p-value, chance level and ceiling. It is
        0 for a label of one class.

    Raises:
        DataError: arrays that cannot be used.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.

    References:
        T. M. Cover, J. A. Thomas: Elements of information theory. 2nd ed. Wiley 2006, ch. 2 and 8.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> y = np.arange(200) % 2
        >>> x = y + np.random.default_rng(0).normal(size=200) / 10
        >>> round(mi.mutual_information(x, y).bits, 2)
        1.0
    """
    left = check_side("x", x, discrete_x, labels_first=False)
    right = check_side("y", y, discrete, labels_first=True)
    seed = check_whole("seed", seed, 0)
    check_same_length("y", len(right), len(left))
    (left, right), notices = _distinct(left, right)
    measurement = _Choice(estimator, parameters, seed).pair(left, right, len(left))
    return replace(measurement, notices=notices).estimate(null, draws)


def conditional_mutual_information(
    x: ArrayLike,
    y: ArrayLike,
    given: ArrayLike,
    estimator: str | Estimator | None = None,
    *,
    discrete: bool | None = None,
    discrete_x: bool | None = None,
    discrete_given: bool | None = None,
    seed: int = 0,
    null: int | None = None,
    draws: int | None = None,
    **parameters: object,
) -> Estimate:
    """Estimate I(X;Y|Z), the information of X about Y given Z.

    Given a label it is the mean of I(X;Y) within its classes, weighted by their shares. Given
    numbers, for a label y, it is I((X,Z);Y) - I(Z;Y): a difference, and no bound even where both
    are. For numbers throughout the estimator has a way of its own, and `renyi` for a label, too.

    Args:
        x, y, discrete, discrete_x, seed, draws, parameters: as for `mutual_information`.
        given: (n,) or (n, d) numbers, or a label as y may be one.
        estimator: a name, or an estimator. If None, as for `mutual_information`.
        discrete_given: as `discrete`.
        null: shuffles of x for the p-value, within the classes of Z. Given numbers, E(X|Z) is
            fitted, and what is left of x is exchanged among samples with Z nearby (if both x
            and y are labels, x is drawn from its fitted probabilities; no p-value where they
            do not follow Z closely enough). That assumes that n samples show how E(X|Z)
            changes, and that the rest of x is spread alike nearby.

    Returns:
        The estimate with its interval and p-value.

    Raises:
        DataError: arrays that cannot be used.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.

    References:
        J. Runge: Conditional independence testing based on a nearest-neighbor estimator of
        conditional mutual information. AISTATS 2018 (the null).

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> z, a, b = np.random.default_rng(0).normal(size=(3, 500))
        >>> mi.conditional_mutual_information(z + a, z + b, z, "gaussian").bits < 0.02
        True
    """
    left = check_side("x", x, discrete_x, labels_first=False)
    right = check_side("y", y, discrete, labels_first=True)
    condition = check_side("given", given, discrete_given, labels_first=True)
    seed = check_whole("seed", seed, 0)
    check_same_length("y", len(right), len(left))
    check_same_length("given", len(condition), len(left))
    (left, right, condition), notices = _distinct(left, right, condition)
    d = left.d
    if left.is_label and not right.is_label:
        left, right = right, left
    estimator, estimate_on = _Choice(estimator, parameters, seed).given(left, right, condition)
    sides = (left, right, condition)
    arrays = tuple(
        side.values if side.is_label else estimator.with_marginals(side.values) for side in sides
    )

    @cache
    def fitted() -> ConditionalShuffles:
        x, z = replace(left, values=arrays[0]), replace(condition, values=arrays[2])
        return ConditionalShuffles(x, z, seed)

    def null_of(shuffles: int) -> np.ndarray:
        shuffled = fitted()
        if shuffled.blunt:
            return np.empty(0)
        values = thread_map(
            lambda shuffle: estimate_on(shuffled(shuffle), *arrays[1:]).nats,
            range(shuffles),
            estimator.working_bytes(len(left)),
        )
        return np.array(values)

    estimate = Measurement(
        quantity="I(X;Y|Z)",
        estimator=estimator,
        arrays=arrays,
        d=d,
        seed=seed,
        estimate_on=estimate_on,
        null_of=null_of,
        notices=notices,
    ).estimate(null, draws)
    if estimate.p_value is None:
        refused = null != 0 and left.is_label and not condition.is_label and fitted().blunt
        return replace(estimate, notices=(*estimate.notices, _REFUSED)) if refused else estimate
    if condition.is_label or condition.d == 1:
        return estimate
    assumed = _ASSUMED.format(count=len(left), columns=condition.d)
    return replace(estimate, notices=(*estimate.notices, assumed))


def entropy(
    x: ArrayLike,
    estimator: str | Estimator | None = None,
    *,
    discrete: bool | None = None,
    seed: int = 0,
    draws: int | None = None,
    **parameters: object,
) -> Estimate:
    """Estimate H(X) of numbers or of a label.

    Of numbers it is a differential entropy where the estimator has no bins, and may be negative.

    Args:
        x: (n,) or (n, d) numbers, finite; or a label, if it is names or if `discrete` says so.
        estimator: a name, or an estimator. If None, `kde` for numbers, which bounds the entropy of
            x with noise added, and `binning` for a label.
        discrete: True takes any x as a label, False takes numbers as numbers.
        seed, draws, parameters: as for `mutual_information`.

    Returns:
        The estimate with its interval; there is no null.

    Raises:
        DataError, SettingsError: as for `mutual_information`.

    References:
        C. E. Shannon: A mathematical theory of communication. Bell System Technical Journal 27
        (1948) 379, 623.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> x = np.random.default_rng(0).normal(size=2000)
        >>> upper, lower = (mi.entropy(x, noise=0.05, bound=b).nats for b in ("upper", "lower"))
        >>> lower < 1.4433 < upper  # of N(0, 1.05)
        True
    """
    side = check_side("x", x, discrete, labels_first=False)
    if side.is_label:
        name = "binning" if estimator is None else estimator
        of_label = estimator_of("entropy of a label", "label_entropy", name, parameters)
        return _estimate("H(X)", of_label, of_label.label_entropy, side.values, seed, draws)
    name = "kde" if estimator is None else estimator
    estimator = estimator_of("entropy", "entropy", name, parameters)
    estimate = _estimate("H(X)", estimator, estimator.entropy, side.values, seed, draws, floor=None)
    label_notices = side.label_notice() if discrete is None else ()
    return replace(estimate, notices=(*estimate.notices, *label_notices))


def negentropy(
    x: ArrayLike,
    estimator: str | Estimator = "rbig",
    *,
    seed: int = 0,
    draws: int | None = None,
    **parameters: object,
) -> Estimate:
    """Estimate H(G) - H(X), G Gaussian with the covariance of X: how far x is from Gaussian.

    It does not change under any invertible linear map of x.

    Args:
        x: (n,) or (n, d) numbers, finite.
        estimator, seed, draws, parameters: as for `mutual_information`.

    Returns:
        The estimate with its interval; there is no null.

    Raises:
        DataError, SettingsError: as for `mutual_information`.

    References:
        P. Comon: Independent component analysis, a new concept? Signal Processing 36 (1994) 287.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> x = np.random.default_rng(0).exponential(size=5000)
        >>> round(mi.negentropy(x, draws=0).nats, 1)  # 1/2 ln(2 pi e) - 1
        0.4
    """
    estimator = estimator_of("negentropy", "negentropy", estimator, parameters)
    return _estimate("J(X)", estimator, estimator.negentropy, check_numbers("x", x), seed, draws)


def input_information(
    x: ArrayLike,
    estimator: str | Estimator = "kde",
    *,
    seed: int = 0,
    draws: int | None = None,
    **parameters: object,
) -> Estimate:
    """Estimate I(X;M), with M = X plus a little noise: how well samples are told from one another.

    For the responses of a network, which follow from the input, it is the information about the
    input; it is made by the noise, the bin or the kernel, and infinite without it.

    Args:
        x: (n,) or (n, d) numbers, finite.
        estimator, seed, draws, parameters: as for `mutual_information`.

    Returns:
        The estimate with its interval; its ceiling is log n. There is no null.

    Raises:
        DataError, SettingsError: as for `mutual_information`.

    References:
        A. M. Saxe et al.: On the information bottleneck theory of deep learning. ICLR 2018 (why the
        noise makes the number).

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> mi.input_information(np.arange(64.0) * 1000, noise=1.0).saturated
        True
    """
    quantity, x = "the information about the input", check_numbers("x", x)
    estimator = estimator_of(quantity, "input_information", estimator, parameters)
    return _estimate("I(X;M)", estimator, estimator.input_information, x, seed, draws)


def total_correlation(
    x: ArrayLike,
    estimator: str | Estimator = "ksg",
    *,
    seed: int = 0,
    null: int | None = None,
    draws: int | None = None,
    **parameters: object,
) -> Estimate:
    """Estimate T(X) = sum_i H(X_i) - H(X): how far the columns of x are from independent.

    Args:
        x: (n, d) numbers, finite, d 2 or more.
        estimator, seed, draws, parameters: as for `mutual_information`.
        null: shuffles of each column by itself for the p-value, 0 for none.

    Returns:
        The estimate with its interval and p-value.

    Raises:
        DataError, SettingsError: as for `mutual_information`.

    References:
        S. Watanabe: Information theoretical analysis of multivariate correlation. IBM Journal 4
        (1960) 66.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 2000))
        >>> round(mi.total_correlation(np.stack([a, a + b], axis=1), "gaussian").bits, 1)
        0.5
    """
    values = check_numbers("x", x)
    if values.shape[1] < 2:
        raise DataError("x", "two columns or more", "one")
    estimator = estimator_of("total correlation", "total_correlation", estimator, parameters)
    seed = check_whole("seed", seed, 0)
    (side,), notices = _distinct(Side("x", values, False))
    estimator = estimator.of_samples(len(side.values))
    values = estimator.with_marginals(side.values)
    return Measurement(
        quantity="T(X)",
        estimator=estimator,
        arrays=(values,),
        d=values.shape[1],
        seed=seed,
        estimate_on=lambda x: estimator.total_correlation(x, seed),
        null_of=lambda shuffles: estimator.total_correlation_null(values, shuffles, seed),
        notices=notices,
    ).estimate(null, draws)


def kl_divergence(
    x: ArrayLike,
    y: ArrayLike,
    estimator: str | Estimator = "ksg",
    *,
    seed: int = 0,
    null: int | None = None,
    draws: int | None = None,
    **parameters: object,
) -> Estimate:
    """Estimate KL(P||Q), P the distribution of x and Q that of y: the mean of log p/q over P.

    Args:
        x: (n,) or (n, d) numbers, finite: samples of P.
        y: (m,) or (m, d) numbers, finite: samples of Q.
        estimator, seed, draws, parameters: as for `mutual_information`.
        null: splits of the pooled samples for the p-value, 0 for none.

    Returns:
        The estimate with its interval and p-value.

    Raises:
        DataError, SettingsError: as for `mutual_information`, or other columns.

    References:
        S. Kullback, R. A. Leibler: On information and sufficiency. Annals of Mathematical
        Statistics 22 (1951) 79.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 4000))
        >>> round(mi.kl_divergence(a + 1, b, "gaussian").nats, 1)
        0.5
    """
    first, second = check_numbers("x", x), check_numbers("y", y)
    if first.shape[1] != second.shape[1]:
        columns = f"{first.shape[1]} columns, as many as x has"
        raise DataError("y", columns, second.shape[1])
    estimator = estimator_of("KL divergence", "divergence", estimator, parameters)
    seed = check_whole("seed", seed, 0)
    (first,), notices = _drop_copies(first)
    (second,), second_notices = _drop_copies(second)
    pooled = np.concatenate([first, second])
    estimator = estimator.of_samples(min(len(first), len(second)))
    first, second = np.split(estimator.with_marginals(_varied_or_first(pooled)), [len(first)])

    def null_of(shuffles: int) -> np.ndarray:
        n, pool = len(first), np.concatenate([first, second])
        draw = seeds.generator(seed, "null")
        orders = [draw.permutation(len(pool)) for _ in range(shuffles)]
        values = thread_map(
            lambda order: estimator.divergence(pool[order[:n]], pool[order[n:]], seed).nats,
            orders,
            pool.nbytes + estimator.working_bytes(len(pool)),
        )
        return np.array(values)

    return Measurement(
        quantity="KL(X||Y)",
        estimator=estimator,
        arrays=(first, second),
        d=first.shape[1],
        seed=seed,
        estimate_on=lambda p, q: estimator.divergence(p, q, seed),
        null_of=null_of,
        paired=False,
        notices=(*notices, *second_notices),
    ).estimate(null, draws)


def _estimate(
    quantity: str,
    estimator: Estimator,
    estimate_on: Callable[[np.ndarray, int], RawEstimate],
    values: np.ndarray,
    seed: int,
    draws: int | None,
    floor: float | None = 0.0,
) -> Estimate:
    """Estimate a quantity of one variable, numbers (n, d) or codes (n,); there is no null.

    It depends on the units of numbers, so that ranks in their place are a SettingsError.
    """
    if estimator.marginals == "ranks":
        hint = f"{quantity} depends on the units of x, which ranks do not keep."
        raise SettingsError("marginals", "values", "'ranks'", hint)
    seed = check_whole("seed", seed, 0)
    return Measurement(
        quantity=quantity,
        estimator=estimator,
        arrays=(values,),
        d=1 if values.ndim == 1 else values.shape[1],
        seed=seed,
        estimate_on=lambda x: estimate_on(x, seed),
        floor=floor,
    ).estimate(0, draws)


@dataclass(frozen=True)
class _Choice:
    """An estimator by its name, its parameters, and the seed of random draws.

    Methods raise DataError for lengths that differ and a class that is seen once, SettingsError for
    an estimator or parameter that is unknown or cannot do this.
    """

    estimator: str | Estimator | None
    """None: the default of each quantity."""
    parameters: dict[str, object]
    seed: int

    def able(self, quantity: Quantity, description: str, default: str) -> Estimator:
        """Return the estimator, which can estimate a quantity."""
        name = default if self.estimator is None else self.estimator
        return estimator_of(description, quantity, name, self.parameters)

    def about_label(self, description: str) -> LabelEstimator:
        """Return the estimator, which can estimate the information about a label."""
        name = "kde" if self.estimator is None else self.estimator
        return label_estimator(name, description, **self.parameters)

    def pair(self, x: Side, y: Side, n: int) -> Measurement:
        """Return I(X;Y) of two sides of one length, a label second; settings are for n samples."""
        seed = self.seed
        measurement = partial(
            Measurement, quantity="I(X;Y)", arrays=(x.values, y.values), d=x.d, seed=seed
        )
        if x.is_label and y.is_label:
            discrete = self.able("discrete_information", "I(X;Y) of two labels", "binning")

            def of_labels(left: np.ndarray, right: np.ndarray) -> RawEstimate:
                return discrete.discrete_information(left, right, seed)

            def null_of(shuffles: int) -> np.ndarray:
                memory = discrete.working_bytes(len(y))
                return joint_null(
                    lambda right: of_labels(x.values, right).nats, y.values, shuffles, seed, memory
                )

            return measurement(estimator=discrete, estimate_on=of_labels, null_of=null_of)
        if not x.is_label and not y.is_label:
            description = "I(X;Y) of numbers and numbers (say discrete=True if y is a label)"
            pair = self.able("information", description, "ksg").of_samples(n)
            sides = (pair.with_marginals(x.values), pair.with_marginals(y.values))
            return measurement(
                estimator=pair,
                arrays=sides,
                estimate_on=lambda left, right: pair.information(left, right, seed),
                null_of=lambda shuffles: pair.information_null(*sides, shuffles, seed),
            )
        numbers, label = (y, x) if x.is_label else (x, y)
        about_label = self.about_label(
            f"I(X;Y) of numbers and a label (say discrete=False if {label.name} is numbers)"
        )
        if label.values.any():
            check_seen_twice(label.name, label.values)
        return LabelMeasurement(
            quantity="I(X;Y)",
            d=x.d,
            seed=seed,
            estimator=about_label,
            arrays=(numbers.values, label.values),
            estimate_on=lambda left, codes: _part_information(about_label, left, codes, seed),
        )

    def given(self, x: Side, y: Side, given: Side) -> tuple[Estimator, Callable[..., RawEstimate]]:
        """Return an estimator of I(X;Y|Z) and the raw estimate of x, y and given.

        A label, if one of x and y is one, is y.
        """
        seed = self.seed
        if given.is_label:
            return self._class_mean(x, y, given)
        if not y.is_label:
            description = "I(X;Y|Z) of numbers"
            direct = self.able("conditional_information", description, "ksg").of_samples(len(y))
            return direct, lambda a, b, c: direct.conditional_information(a, b, c, seed)
        chain = self.about_label("I(X;Y|Z) of a label, given numbers")
        check_seen_twice(y.name, y.values)
        if chain.can("conditional_label_information"):
            return chain, lambda a, b, c: chain.conditional_label_information(a, b, c, seed)

        def by_chain_rule(left: np.ndarray, codes: np.ndarray, z: np.ndarray) -> RawEstimate:
            numbers = one_hot(left) if x.is_label else left
            joint = np.concatenate([numbers, z], axis=1)
            total = _part_information(chain, joint, codes, seed)
            alone = _part_information(chain, z, codes, seed)
            notices = tuple(dict.fromkeys(total.notices + alone.notices))
            return RawEstimate(total.nats - alone.nats, ceiling=total.ceiling, notices=notices)

        return chain, by_chain_rule

    def _class_mean(
        self, x: Side, y: Side, given: Side
    ) -> tuple[Estimator, Callable[..., RawEstimate]]:
        """Do `given` of a label Z, by the mean over its classes; none may have few samples."""
        counts = np.bincount(given.values)
        pairs = [self.pair(x, y, int(count)) for count in counts]
        if y.is_label and not x.is_label:
            cells = np.unique(np.stack([y.values, given.values]), axis=1, return_inverse=True)[1]
            check_seen_twice(f"{y.name} within the classes of given", cells.reshape(-1))
        estimator, sparse = pairs[0].estimator, int(counts.min())
        fewest = estimator.fewest
        if sparse < fewest:
            raise DataError("given", f"{fewest} samples a class or more", sparse)

        def mean_of_classes(left: np.ndarray, right: np.ndarray, codes: np.ndarray) -> RawEstimate:
            """Weight the classes by their shares; classes with too few samples have 0."""
            nats, ceiling = 0.0, 0.0
            notices: dict[str, None] = {}
            for code, count in enumerate(np.bincount(codes)):
                if count < fewest:
                    continue
                is_member = codes == code
                value = pairs[code].estimate_on(left[is_member], right[is_member])
                share = count / len(codes)
                nats += share * value.nats
                ceiling += share * (np.inf if value.ceiling is None else value.ceiling)
                notices.update(dict.fromkeys(value.notices))
            return RawEstimate(
                nats, ceiling=ceiling if np.isfinite(ceiling) else None, notices=(*notices,)
            )

        return estimator, mean_of_classes


def _part_information(
    estimator: LabelEstimator, x: np.ndarray, codes: np.ndarray, seed: int
) -> RawEstimate:
    """Return I(X;Y) of a part of the samples, without classes of which one sample is left."""
    repeated_classes = np.bincount(codes)[codes] > 1
    if repeated_classes.sum() < FEWEST:
        return RawEstimate(0.0)
    codes = np.unique(codes[repeated_classes], return_inverse=True)[1]
    return label_estimate(estimator, x[repeated_classes], codes, seed).value


def _distinct(*sides: Side) -> tuple[list[Side], tuple[str, ...]]:
    """Return the sides without copies of samples and without constant columns, and notices."""
    arrays, notices = _drop_copies(*(side.values for side in sides))
    pairs = zip(sides, arrays, strict=True)
    distinct = [replace(s, values=v if s.is_label else _varied_or_first(v)) for s, v in pairs]
    return distinct, notices


def _drop_copies(*arrays: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[str, ...]]:
    unique_rows = first_of_copies(*arrays)
    if unique_rows is None:
        return arrays, ()
    notices = (copies_notice(len(arrays[0]), len(unique_rows)),)
    return tuple(array[unique_rows] for array in arrays), notices


def _varied_or_first(x: np.ndarray) -> np.ndarray:
    """Return the columns of x (n, d) that are not constant, the first if all are."""
    columns = varied(x)
    return columns if columns.shape[1] else x[:, :1]
