"""Information between plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from mi.conditional import conditioned
from mi.estimation import check_asked, counts, estimate, resampled
from mi.estimators.base import (
    DivergenceEstimator,
    Estimator,
    TotalCorrelationEstimator,
)
from mi.estimators.choice import estimator_of
from mi.estimators.results import Estimate
from mi.estimators.threads import each
from mi.pairs import paired
from mi.samples import check_numbers, check_side
from oip.core import seeds
from oip.core.errors import DataError, expected


def mutual_information(
    x: Any,
    y: Any,
    estimator: str | Estimator | None = None,
    *,
    discrete: bool | None = None,
    discrete_x: bool | None = None,
    seed: int = 0,
    null: int | None = None,
    draws: int | None = None,
    **parameters: Any,
) -> Estimate:
    """I(X;Y) of numbers or a label and numbers or a label.

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
            where shuffles are dear.
        draws: random halves for the interval, 0 for none. If None, the estimator's own number.
        parameters: of the estimator, such as `relative=0.05`.

    Returns:
        The estimate with its interval, p-value and ceiling. It is 0 for a label of one class.

    Raises:
        DataError: arrays that cannot be used.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.

    Units:
        Nats inside, bits where it is shown.

    References:
        T. M. Cover, J. A. Thomas: Elements of information theory. 2nd ed. Wiley 2006, ch. 2 and 8.

    Example:
        >>> import numpy as np, mi
        >>> y = np.arange(200) % 2
        >>> x = y + np.random.default_rng(0).normal(size=200) / 10
        >>> round(mi.mutual_information(x, y).bits, 2)
        1.0
    """
    left = check_side("x", x, discrete_x, labels_first=False)
    right = check_side("y", y, discrete, labels_first=True)
    seed, null, draws = check_asked(len(left), seed, null, draws)
    pair = paired(left, right, estimator, parameters, seed)
    value = pair.whole(*counts(pair.one, null, draws))
    return estimate("I(X;Y)", pair.one, value, n=len(left), d=left.d, seed=seed)


def conditional_mutual_information(
    x: Any,
    y: Any,
    given: Any,
    estimator: str | Estimator | None = None,
    *,
    discrete: bool | None = None,
    discrete_x: bool | None = None,
    discrete_given: bool | None = None,
    seed: int = 0,
    null: int | None = None,
    draws: int | None = None,
    **parameters: Any,
) -> Estimate:
    """I(X;Y|Z), what X tells of Y to who knows Z.

    Given a label it is the mean of I(X;Y) within its classes, weighted by their shares. Given
    numbers, for a label y, it is I((X,Z);Y) - I(Z;Y): a difference, and no bound even where both
    are. For numbers throughout the estimator has a way of its own, and `renyi` for a label, too.

    Args:
        x, y, discrete, discrete_x, seed, draws, parameters: as for `mutual_information`.
        given: (n,) or (n, d) numbers, or a label as y may be one.
        estimator: a name, or an estimator. If None, as for `mutual_information`.
        discrete_given: as `discrete`.
        null: shuffles of x for the p-value, among samples whose Z is the same or near.

    Returns:
        The estimate with its interval and p-value.

    Raises:
        DataError: arrays that cannot be used.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.

    Units:
        Nats inside, bits where it is shown.

    References:
        J. Runge: Conditional independence testing based on a nearest-neighbor estimator of
        conditional mutual information. AISTATS 2018 (the null).

    Example:
        >>> import numpy as np, mi
        >>> z, a, b = np.random.default_rng(0).normal(size=(3, 500))
        >>> mi.conditional_mutual_information(z + a, z + b, z, "gaussian").bits < 0.02
        True
    """
    left = check_side("x", x, discrete_x, labels_first=False)
    right = check_side("y", y, discrete, labels_first=True)
    known = check_side("given", given, discrete_given, labels_first=True)
    seed, null, draws = check_asked(len(left), seed, null, draws)
    one, value = conditioned(left, right, known, estimator, parameters, seed, null, draws)
    return estimate("I(X;Y|Z)", one, value, n=len(left), d=left.d, seed=seed)


def total_correlation(
    x: Any,
    estimator: str | Estimator = "ksg",
    *,
    seed: int = 0,
    null: int | None = None,
    draws: int | None = None,
    **parameters: Any,
) -> Estimate:
    """T(X) = sum_i H(X_i) - H(X): how far the columns of x are from independent.

    Args:
        x: (n, d) numbers, finite, d 2 or more.
        estimator: a name, or an estimator.
        seed: of draws and shuffles.
        null: shuffles of each column by itself for the p-value, 0 for none.
        draws: random halves for the interval, 0 for none.
        parameters: of the estimator.

    Returns:
        The estimate with its interval and p-value.

    Raises:
        DataError: x cannot be used.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.

    Units:
        Nats inside, bits where it is shown.

    References:
        S. Watanabe: Information theoretical analysis of multivariate correlation. IBM Journal 4
        (1960) 66.

    Example:
        >>> import numpy as np, mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 2000))
        >>> round(mi.total_correlation(np.stack([a, a + b], axis=1), "gaussian").bits, 1)
        0.5
    """
    values = check_numbers("x", x)
    if values.shape[1] < 2:
        raise DataError(expected("x", "two columns or more", "one"))
    one = estimator_of("total correlation", TotalCorrelationEstimator, estimator, parameters)
    seed, null, draws = check_asked(len(values), seed, null, draws)
    shuffles, drawn = counts(one, null, draws)
    value = one.total_correlation(values, seed)
    against = one.total_correlation_null(values, shuffles, seed) if shuffles else None
    halved = resampled(
        one,
        lambda parts: one.total_correlation(values[parts[0]], seed).nats,
        [len(values)],
        drawn,
        seed,
    )
    n, d = values.shape
    return estimate("T(X)", one, value, n=n, d=d, seed=seed, draws=halved, null=against)


def kl_divergence(
    x: Any,
    y: Any,
    estimator: str | Estimator = "ksg",
    *,
    seed: int = 0,
    null: int | None = None,
    draws: int | None = None,
    **parameters: Any,
) -> Estimate:
    """KL(P||Q) of the distribution of x from that of y: the mean of log p/q over P.

    Args:
        x: (n,) or (n, d) numbers, finite: samples of P.
        y: (m,) or (m, d) numbers, finite: samples of Q.
        estimator: a name, or an estimator.
        seed: of draws and shuffles.
        null: splits of the pooled samples for the p-value, 0 for none.
        draws: random halves for the interval, 0 for none.
        parameters: of the estimator.

    Returns:
        The estimate with its interval and p-value.

    Raises:
        DataError: x or y cannot be used, or they differ in their columns.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.

    Units:
        Nats inside, bits where it is shown.

    References:
        S. Kullback, R. A. Leibler: On information and sufficiency. Annals of Mathematical
        Statistics 22 (1951) 79.

    Example:
        >>> import numpy as np, mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 4000))
        >>> round(mi.kl_divergence(a + 1, b, "gaussian").nats, 1)
        0.5
    """
    first, second = check_numbers("x", x), check_numbers("y", y)
    if first.shape[1] != second.shape[1]:
        columns = f"{first.shape[1]} columns, as many as x has"
        raise DataError(expected("y", columns, second.shape[1]))
    one = estimator_of("KL divergence", DivergenceEstimator, estimator, parameters)
    seed, null, draws = check_asked(len(first) + len(second), seed, null, draws)
    shuffles, drawn = counts(one, null, draws)
    value = one.divergence(first, second, seed)
    n, pool = len(first), np.concatenate([first, second])
    draw = seeds.generator(seed, "null")
    against = None
    if shuffles:
        orders = [draw.permutation(len(pool)) for _ in range(shuffles)]
        against = np.array(
            each(
                lambda o: one.divergence(pool[o[:n]], pool[o[n:]], seed).nats,
                orders,
                pool.nbytes + one.working_bytes(len(pool)),
            )
        )
    halved = resampled(
        one,
        lambda parts: one.divergence(first[parts[0]], second[parts[1]], seed).nats,
        [n, len(second)],
        drawn,
        seed,
    )
    d = first.shape[1]
    return estimate("KL(X||Y)", one, value, n=n, d=d, seed=seed, draws=halved, null=against)
