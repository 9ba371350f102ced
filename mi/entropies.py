"""Quantities of one variable: entropy, negentropy, and what is left of its identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mi.estimation import check_asked, counts, estimate, resampled
from mi.estimators.base import (
    EntropyEstimator,
    Estimator,
    InputEstimator,
    LabelEntropyEstimator,
    NegentropyEstimator,
    Value,
)
from mi.estimators.choice import estimator_of
from mi.estimators.results import Estimate
from mi.samples import check_numbers, check_side


def entropy(
    x: Any,
    estimator: str | Estimator | None = None,
    *,
    discrete: bool | None = None,
    seed: int = 0,
    draws: int | None = None,
    **parameters: Any,
) -> Estimate:
    """H(X) of numbers or of a label.

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
        >>> import numpy as np, mi
        >>> x = np.random.default_rng(0).normal(size=2000)
        >>> upper, lower = (mi.entropy(x, noise=0.05, bound=b).nats for b in ("upper", "lower"))
        >>> lower < 1.4433 < upper  # of N(0, 1.05)
        True
    """
    side = check_side("x", x, discrete, labels_first=False)
    if side.is_label:
        name = "binning" if estimator is None else estimator
        one = estimator_of("entropy of a label", LabelEntropyEstimator, name, parameters)
        estimated = one.label_entropy
    else:
        name = "kde" if estimator is None else estimator
        one = estimator_of("entropy", EntropyEstimator, name, parameters)
        estimated = one.entropy
    seed, _, draws = check_asked(len(side), seed, None, draws)
    _, drawn = counts(one, 0, draws)
    value = estimated(side.values, seed)
    halved = resampled(
        one, lambda parts: estimated(side.values[parts[0]], seed).nats, [len(side)], drawn, seed
    )
    least = 0.0 if side.is_label else None
    return estimate("H(X)", one, value, n=len(side), d=side.d, seed=seed, draws=halved, floor=least)


def negentropy(
    x: Any,
    estimator: str | Estimator = "rbig",
    *,
    seed: int = 0,
    draws: int | None = None,
    **parameters: Any,
) -> Estimate:
    """H(G) - H(X), G Gaussian with the mean and covariance of X: how far x is from Gaussian.

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
        >>> import numpy as np, mi
        >>> x = np.random.default_rng(0).exponential(size=5000)
        >>> round(mi.negentropy(x, draws=0).nats, 1)  # 1/2 ln(2 pi e) - 1
        0.4
    """
    one = estimator_of("negentropy", NegentropyEstimator, estimator, parameters)
    return _with_interval("J(X)", one, one.negentropy, check_numbers("x", x), seed, draws)


def input_information(
    x: Any,
    estimator: str | Estimator = "kde",
    *,
    seed: int = 0,
    draws: int | None = None,
    **parameters: Any,
) -> Estimate:
    """I(X;M): what x with a little noise, M, still tells of which sample it came from.

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
        >>> import numpy as np, mi
        >>> mi.input_information(np.arange(64.0) * 1000, noise=1.0).saturated
        True
    """
    one = estimator_of("the information about the input", InputEstimator, estimator, parameters)
    return _with_interval("I(X;M)", one, one.input_information, check_numbers("x", x), seed, draws)


def _with_interval(
    quantity: str,
    one: Estimator,
    estimated: Callable[[np.ndarray, int], Value],
    values: np.ndarray,
    seed: int,
    draws: int | None,
) -> Estimate:
    """A quantity of values (n, d), with the interval that halves of the samples give."""
    n, d = values.shape
    seed, _, draws = check_asked(n, seed, None, draws)
    value = estimated(values, seed)
    halved = resampled(
        one,
        lambda parts: estimated(values[parts[0]], seed).nats,
        [n],
        counts(one, 0, draws)[1],
        seed,
    )
    return estimate(quantity, one, value, n=n, d=d, seed=seed, draws=halved)
