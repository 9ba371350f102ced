"""Quantities of one variable, and the divergence of two distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from oip.core import seeds
from oip.core.checks import check_whole
from oip.core.errors import DataError, expected
from oip.mi.backend import thread_map
from oip.mi.estimators.base import Estimator, RawEstimate
from oip.mi.estimators.registry import estimator_of
from oip.mi.measurement import Measurement
from oip.mi.validation import check_numbers, check_side

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from oip.mi.estimators.results import Estimate


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
        seed: of draws.
        draws: random halves for the interval, 0 for none.
        parameters: of the estimator, such as `bound="lower"`.

    Returns:
        The estimate with its interval; there is no null.

    Raises:
        DataError: x cannot be used.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.

    Units:
        Nats inside, bits where it is shown.

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
        return _of_one("H(X)", of_label, of_label.label_entropy, side.values, seed, draws)
    name = "kde" if estimator is None else estimator
    of_numbers = estimator_of("entropy", "entropy", name, parameters)
    return _of_one("H(X)", of_numbers, of_numbers.entropy, side.values, seed, draws, floor=None)


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
        estimator: a name, or an estimator.
        seed: of draws.
        draws: random halves for the interval, 0 for none.
        parameters: of the estimator.

    Returns:
        The estimate with its interval; there is no null.

    Raises:
        DataError: x cannot be used.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.

    Units:
        Nats inside, bits where it is shown.

    References:
        P. Comon: Independent component analysis, a new concept? Signal Processing 36 (1994) 287.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> x = np.random.default_rng(0).exponential(size=5000)
        >>> round(mi.negentropy(x, draws=0).nats, 1)  # 1/2 ln(2 pi e) - 1
        0.4
    """
    chosen = estimator_of("negentropy", "negentropy", estimator, parameters)
    return _of_one("J(X)", chosen, chosen.negentropy, check_numbers("x", x), seed, draws)


def input_information(
    x: ArrayLike,
    estimator: str | Estimator = "kde",
    *,
    seed: int = 0,
    draws: int | None = None,
    **parameters: object,
) -> Estimate:
    """Estimate I(X;M): how well x with a little noise, M, tells which sample it came from.

    For the responses of a network, which follow from the input, it is the information about the
    input; it is made by the noise, the bin or the kernel, and infinite without it.

    Args:
        x: (n,) or (n, d) numbers, finite.
        estimator: a name, or an estimator.
        seed: of draws.
        draws: random halves for the interval, 0 for none.
        parameters: of the estimator.

    Returns:
        The estimate with its interval; its ceiling is log n. There is no null.

    Raises:
        DataError: x cannot be used.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.

    Units:
        Nats inside, bits where it is shown.

    References:
        A. M. Saxe et al.: On the information bottleneck theory of deep learning. ICLR 2018 (why the
        noise makes the number).

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> mi.input_information(np.arange(64.0) * 1000, noise=1.0).saturated
        True
    """
    quantity = "the information about the input"
    chosen = estimator_of(quantity, "input_information", estimator, parameters)
    return _of_one("I(X;M)", chosen, chosen.input_information, check_numbers("x", x), seed, draws)


def _of_one(
    quantity: str,
    estimator: Estimator,
    estimate_on: Callable[[np.ndarray, int], RawEstimate],
    values: np.ndarray,
    seed: int,
    draws: int | None,
    floor: float | None = 0.0,
) -> Estimate:
    """Estimate a quantity of one variable, numbers (n, d) or codes (n,); there is no null."""
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
        >>> import numpy as np
        >>> from oip import mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 2000))
        >>> round(mi.total_correlation(np.stack([a, a + b], axis=1), "gaussian").bits, 1)
        0.5
    """
    values = check_numbers("x", x)
    if values.shape[1] < 2:
        raise DataError(expected("x", "two columns or more", "one"))
    chosen = estimator_of("total correlation", "total_correlation", estimator, parameters)
    seed = check_whole("seed", seed, 0)
    return Measurement(
        quantity="T(X)",
        estimator=chosen,
        arrays=(values,),
        d=values.shape[1],
        seed=seed,
        estimate_on=lambda x: chosen.total_correlation(x, seed),
        null_of=lambda shuffles: chosen.total_correlation_null(values, shuffles, seed),
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
        >>> import numpy as np
        >>> from oip import mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 4000))
        >>> round(mi.kl_divergence(a + 1, b, "gaussian").nats, 1)
        0.5
    """
    first, second = check_numbers("x", x), check_numbers("y", y)
    if first.shape[1] != second.shape[1]:
        columns = f"{first.shape[1]} columns, as many as x has"
        raise DataError(expected("y", columns, second.shape[1]))
    chosen = estimator_of("KL divergence", "divergence", estimator, parameters)
    seed = check_whole("seed", seed, 0)

    def null_of(shuffles: int) -> np.ndarray:
        n, pool = len(first), np.concatenate([first, second])
        draw = seeds.generator(seed, "null")
        orders = [draw.permutation(len(pool)) for _ in range(shuffles)]
        values = thread_map(
            lambda order: chosen.divergence(pool[order[:n]], pool[order[n:]], seed).nats,
            orders,
            pool.nbytes + chosen.working_bytes(len(pool)),
        )
        return np.array(values)

    return Measurement(
        quantity="KL(X||Y)",
        estimator=chosen,
        arrays=(first, second),
        d=first.shape[1],
        seed=seed,
        estimate_on=lambda p, q: chosen.divergence(p, q, seed),
        null_of=null_of,
        paired=False,
    ).estimate(null, draws)
