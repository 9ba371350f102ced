"""Information between two variables, also given a third one: numbers or labels on any side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from oip.core import seeds
from oip.core.checks import check_whole
from oip.core.errors import DataError, expected
from oip.mi.backend import thread_map
from oip.mi.estimators.base import Estimator, LabelEstimator, RawEstimate
from oip.mi.estimators.registry import estimator_of, label_estimator
from oip.mi.measurement import Measurement, Resampled
from oip.mi.resampling import joint_null
from oip.mi.validation import (
    FEWEST,
    Side,
    check_same_length,
    check_seen_twice,
    check_side,
    one_hot,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from oip.mi.estimators.results import Estimate

_NEAREST = 6
"""Samples nearest in Z, its own among them, from which a shuffle takes an x; Runge has 5 to 10."""


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
        The estimate with its interval, p-value and ceiling. It is 0 for a label of one class.

    Raises:
        DataError: arrays that cannot be used.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.

    Units:
        Nats inside, bits where it is shown.

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
    return _pair(left, right, estimator, parameters, seed).estimate(null, draws)


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
    """Estimate I(X;Y|Z): how much X tells about Y to an observer who knows Z.

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
    d = left.d
    if left.is_label and not right.is_label:
        left, right = right, left
    chosen, estimate_on = _given(left, right, condition, estimator, parameters, seed)
    arrays = (left.values, right.values, condition.values)

    def null_of(shuffles: int) -> np.ndarray:
        orders = local_orders(condition, shuffles, seed)
        memory = chosen.working_bytes(len(left))
        values = thread_map(
            lambda order: estimate_on(arrays[0][order], *arrays[1:]).nats, orders, memory
        )
        return np.array(values)

    return Measurement(
        quantity="I(X;Y|Z)",
        estimator=chosen,
        arrays=arrays,
        d=d,
        seed=seed,
        estimate_on=estimate_on,
        null_of=null_of,
    ).estimate(null, draws)


def _default(estimator: str | Estimator | None, name: str) -> str | Estimator:
    return name if estimator is None else estimator


def _pair(
    x: Side,
    y: Side,
    estimator: str | Estimator | None,
    parameters: dict[str, object],
    seed: int,
) -> Measurement:
    """Return I(X;Y) of two sides of one length, with an estimator that can do it.

    The information is the same from either side: a label, where there is one, is the second array.

    Args:
        x, y: the two sides.
        estimator: `kde` for numbers and a label, `ksg` for numbers, `binning` for labels, if None.
        parameters: of the estimator.
        seed: of whatever is drawn.

    Raises:
        DataError: lengths that differ; a class that is seen once.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.
    """
    check_same_length(y.name, len(y), len(x))
    measurement = partial(Measurement, quantity="I(X;Y)", d=x.d, seed=seed)
    if x.is_label and y.is_label:
        quantity, default = "I(X;Y) of two labels", _default(estimator, "binning")
        discrete = estimator_of(quantity, "discrete_information", default, parameters)

        def of_labels(left: np.ndarray, right: np.ndarray) -> RawEstimate:
            return discrete.discrete_information(left, right, seed)

        def null_of(shuffles: int) -> np.ndarray:
            memory = discrete.working_bytes(len(y))
            return joint_null(
                lambda right: of_labels(x.values, right).nats, y.values, shuffles, seed, memory
            )

        arrays = (x.values, y.values)
        return measurement(
            estimator=discrete, arrays=arrays, estimate_on=of_labels, null_of=null_of
        )
    if not x.is_label and not y.is_label:
        quantity = "I(X;Y) of numbers and numbers (say discrete=True if y is a label)"
        pair = estimator_of(quantity, "information", _default(estimator, "ksg"), parameters)
        return measurement(
            estimator=pair,
            arrays=(x.values, y.values),
            estimate_on=lambda left, right: pair.information(left, right, seed),
            null_of=lambda shuffles: pair.information_null(x.values, y.values, shuffles, seed),
        )
    numbers, label = (y, x) if x.is_label else (x, y)
    quantity = f"I(X;Y) of numbers and a label (say discrete=False if {label.name} is numbers)"
    default = _default(estimator, "kde")
    about_label = label_estimator(default, quantity, **parameters)
    if label.values.any():
        check_seen_twice(label.name, label.values)
    return _LabelMeasurement(
        quantity="I(X;Y)",
        d=x.d,
        seed=seed,
        estimator=about_label,
        arrays=(numbers.values, label.values),
        estimate_on=lambda left, codes: _of_classes_left(about_label, left, codes, seed),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _LabelMeasurement(Measurement):
    """I(X;Y) of numbers and a label, with draws and null from the estimator of many maps."""

    estimator: LabelEstimator

    def resampled(self, shuffles: int, draws: int) -> Resampled:
        """Return the raw estimate with its draws and its null, as one map of a layer."""
        x, codes = self.arrays
        halved = 0 if codes.any() and self.too_few_for_halves else draws
        return _of_label(self.estimator, x, codes, self.seed, shuffles, halved, bool(draws))


def _of_label(
    estimator: LabelEstimator,
    x: np.ndarray,
    codes: np.ndarray,
    seed: int,
    shuffles: int = 0,
    draws: int = 0,
    with_draws: bool = False,
) -> Resampled:
    """Return I(X;Y) of x (n, d) and codes (n,): one map's part of `over_maps`."""
    maps = estimator.over_maps(x[:, None, :], codes, seed, shuffles, draws, one_vs_rest=False)
    notices = maps.notices[0] if maps.notices else ()
    value = RawEstimate(float(maps.raw[0]), ceiling=float(maps.ceiling[0]), notices=notices)
    return Resampled(value, maps.draws[:, 0] if with_draws else None, maps.null[:, 0])


def _of_classes_left(
    estimator: LabelEstimator, x: np.ndarray, codes: np.ndarray, seed: int
) -> RawEstimate:
    """Return I(X;Y) of a part of the samples, without classes of which one sample is left."""
    kept = np.bincount(codes)[codes] > 1
    if kept.sum() < FEWEST:
        return RawEstimate(0.0)
    codes = np.unique(codes[kept], return_inverse=True)[1]
    return _of_label(estimator, x[kept], codes, seed).value


def _given(
    x: Side,
    y: Side,
    given: Side,
    estimator: str | Estimator | None,
    parameters: dict[str, object],
    seed: int,
) -> tuple[Estimator, Callable[..., RawEstimate]]:
    """Return an estimator of I(X;Y|Z) and the raw estimate of x, y and given.

    A label, if one of x and y is one, is y.

    Raises:
        DataError: a class, also within one of `given`, that is seen once.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.
    """
    if given.is_label:
        return _within_classes(x, y, given, estimator, parameters, seed)
    if not y.is_label:
        quantity = "I(X;Y|Z) of numbers"
        direct = estimator_of(
            quantity, "conditional_information", _default(estimator, "ksg"), parameters
        )
        return direct, lambda a, b, c: direct.conditional_information(a, b, c, seed)
    quantity = "I(X;Y|Z) of a label, given numbers"
    chain = label_estimator(_default(estimator, "kde"), quantity, **parameters)
    check_seen_twice(y.name, y.values)
    if chain.can("conditional_label_information"):
        return chain, lambda a, b, c: chain.conditional_label_information(a, b, c, seed)

    def by_chain_rule(left: np.ndarray, codes: np.ndarray, condition: np.ndarray) -> RawEstimate:
        numbers = one_hot(left) if x.is_label else left
        joint = np.concatenate([numbers, condition], axis=1)
        both = _of_classes_left(chain, joint, codes, seed)
        alone = _of_classes_left(chain, condition, codes, seed)
        notices = tuple(dict.fromkeys(both.notices + alone.notices))
        return RawEstimate(both.nats - alone.nats, ceiling=both.ceiling, notices=notices)

    return chain, by_chain_rule


def _within_classes(
    x: Side,
    y: Side,
    given: Side,
    estimator: str | Estimator | None,
    parameters: dict[str, object],
    seed: int,
) -> tuple[Estimator, Callable[..., RawEstimate]]:
    """Return an estimator of I(X;Y|Z) of a label Z, and the mean over the classes of Z."""
    pair = _pair(x, y, estimator, parameters, seed)
    if y.is_label and not x.is_label:
        both = np.unique(np.stack([y.values, given.values]), axis=1, return_inverse=True)[1]
        check_seen_twice(f"{y.name} within the classes of given", both.reshape(-1))
    fewest = pair.estimator.fewest
    sparse = int(np.bincount(given.values).min())
    if sparse < fewest:
        raise DataError(expected("given", f"{fewest} samples a class or more", sparse))

    def mean_of_classes(left: np.ndarray, right: np.ndarray, codes: np.ndarray) -> RawEstimate:
        """Weight the classes by their shares; classes with too few samples have 0."""
        nats, ceiling = 0.0, 0.0
        notices: dict[str, None] = {}
        for code, count in enumerate(np.bincount(codes)):
            if count < fewest:
                continue
            inside = codes == code
            value = pair.estimate_on(left[inside], right[inside])
            share = count / len(codes)
            nats += share * value.nats
            ceiling += share * (np.inf if value.ceiling is None else value.ceiling)
            notices.update(dict.fromkeys(value.notices))
        return RawEstimate(
            nats, ceiling=ceiling if np.isfinite(ceiling) else None, notices=(*notices,)
        )

    return pair.estimator, mean_of_classes


def local_orders(given: Side, shuffles: int, seed: int) -> np.ndarray:
    """Draw orders of the samples that put each where Z is the same or near.

    Within a class of Z any order is taken. Given numbers, the samples in a random order take one of
    their nearest in Z that none has taken yet, where there is one, so that I(X;Z) is kept and what
    is left of I(X;Y|Z) is destroyed.

    Returns:
        (shuffles, n) int: indices of samples.
    """
    draw = seeds.generator(seed, "conditional null")
    n = len(given)
    result = np.tile(np.arange(n), (shuffles, 1))
    if given.is_label:
        for code in range(given.values.max() + 1):
            members = np.flatnonzero(given.values == code)
            result[:, members] = draw.permuted(result[:, members], axis=1)
        return result
    from scipy.spatial import KDTree

    tree = KDTree(given.values)
    near = np.atleast_2d(tree.query(given.values, min(_NEAREST, n))[1]).tolist()
    for row in result:
        taken = np.zeros(n, bool)
        for sample in draw.permutation(n):
            choices = draw.permutation(near[sample])
            free = choices[~taken[choices]]
            row[sample] = free[0] if free.size else choices[-1]
            taken[row[sample]] = True
    return result
