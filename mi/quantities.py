"""Quantities of one variable: entropy, negentropy, and what is left of its identity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from oip.core import seeds
from oip.core.checks import check_drawn, check_whole, plain
from oip.core.errors import DataError, expected
from oip.mi.backend import thread_map
from oip.mi.estimators.base import Estimator, LabelEstimator, RawEstimate
from oip.mi.estimators.registry import estimator_of
from oip.mi.estimators.results import LEVEL, Estimate
from oip.mi.permutation_test import p_values
from oip.mi.resampling import centered, halves, joint_null
from oip.mi.validation import (
    FEWEST,
    Side,
    check_lengths,
    check_numbers,
    check_seen_twice,
    check_side,
    one_hot,
)

_FEWEST_HALVED = 4
"""Samples in a half under which it says nothing of the whole."""

_NO_INTERVAL = "No interval: half of the samples are too few for one."

Again = Callable[[list[np.ndarray]], float]
"""The estimate in nats of other samples: those at the places given, one array of places a sample
set."""


def check_asked(
    n: int, seed: int, null: int | None, draws: int | None
) -> tuple[int, int | None, int | None]:
    """Seed, shuffles and draws for n samples, as whole numbers of Python.

    Raises:
        SettingsError: others than whole numbers of 0 or more; more than memory holds.
    """
    seed = check_whole("seed", seed, 0)
    null = None if null is None else check_drawn("null", null, n)
    return seed, null, None if draws is None else check_drawn("draws", draws, n)


def counts(one: Estimator, null: int | None, draws: int | None) -> tuple[int, int]:
    """Shuffles and draws: as many as were asked for, else as the family has them."""
    own = one.shuffles if one.alone_shuffles is None else one.alone_shuffles
    return own if null is None else null, one.resamples if draws is None else draws


def of_label(
    one: LabelEstimator, x: np.ndarray, codes: np.ndarray, shuffles: int, draws: int, seed: int
) -> RawEstimate:
    """I(X;Y) of x (n, d) and a label: one map's part of `over_maps`.

    No draws where halves are too small.
    """
    asked = draws
    if codes.any() and _too_few(one, len(codes)):
        draws = 0
    found = one.over_maps(x[:, None, :], codes, seed, shuffles, draws, one_vs_rest=False)
    return RawEstimate(
        float(found.raw[0]),
        ceiling=float(found.ceiling[0]),
        draws=found.draws[:, 0] if asked else None,
        null=found.null[:, 0],
        notices=found.notices[0] if found.notices else (),
    )


def of_some(one: LabelEstimator, x: np.ndarray, codes: np.ndarray, seed: int) -> RawEstimate:
    """I(X;Y) of a part of the samples, without those of its classes that are left with one."""
    kept = np.bincount(codes)[codes] > 1
    if kept.sum() < FEWEST:
        return RawEstimate(0.0)
    codes = np.unique(codes[kept], return_inverse=True)[1]
    return of_label(one, x[kept], codes, 0, 0, seed)


def _too_few(one: Estimator, n: int) -> bool:
    """Half of n samples say nothing of the whole."""
    return n // 2 < max(_FEWEST_HALVED, one.fewest)


def resampled(
    one: Estimator, again: Again, sizes: Sequence[int], draws: int, seed: int
) -> np.ndarray | None:
    """(draws,): the estimate from random halves of each of the sample sets.

    None if none was asked for, and no draws where halves are too small.
    """
    if not draws:
        return None
    if _too_few(one, min(sizes)):
        return np.empty(0)
    sets = [halves(size, seed + place, draws) for place, size in enumerate(sizes)]
    return np.array(
        thread_map(
            lambda row: again([part[row] for part in sets]),
            range(draws),
            one.working_bytes(sum(sizes) // 2),
        )
    )


def estimate(
    quantity: str,
    one: Estimator,
    value: RawEstimate,
    *,
    n: int,
    d: int,
    seed: int,
    draws: np.ndarray | None = None,
    null: np.ndarray | None = None,
    floor: float | None = 0.0,
) -> Estimate:
    """What leaves the house.

    Args:
        quantity, n, d, seed: as they are shown.
        one: the family.
        value: its number.
        draws: the estimate under resampling, of any centre; those of `value` if None.
        null: the estimate from shuffled samples; that of `value` if None.
        floor: the smallest value the quantity can have; None if there is none.
    """
    raw = value.nats
    least = -np.inf if floor is None or not one.clips else floor
    most = np.inf if value.ceiling is None or not one.clips else value.ceiling
    shown = float(np.clip(raw, least, most))
    drawn = value.draws if draws is None else draws
    against = value.null if null is None else null
    low = high = p = None
    notices = value.notices
    if drawn is not None and not drawn.size:
        notices += (_NO_INTERVAL,)
    elif drawn is not None:
        ends = np.quantile(centered(raw, drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        low = float(np.clip(ends[0], least, shown))
        high = float(np.clip(ends[1], shown, most))
    if against is not None and against.size:
        p = float(p_values(np.array([raw]), against[:, None])[0])
    return Estimate(
        quantity=quantity,
        estimator=one.name,
        parameters={name: plain(setting) for name, setting in one.parameters.items()},
        nats=shown,
        n=n,
        d=d,
        ceiling=value.ceiling,
        low=low,
        high=high,
        p_value=p,
        raw=None if raw == shown else raw,
        seed=seed,
        notices=notices,
        least=value.least,
    )


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
        one = estimator_of("entropy of a label", "label_entropy", name, parameters)
        estimated = one.label_entropy
    else:
        name = "kde" if estimator is None else estimator
        one = estimator_of("entropy", "entropy", name, parameters)
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
        >>> import numpy as np
        >>> from oip import mi
        >>> x = np.random.default_rng(0).exponential(size=5000)
        >>> round(mi.negentropy(x, draws=0).nats, 1)  # 1/2 ln(2 pi e) - 1
        0.4
    """
    one = estimator_of("negentropy", "negentropy", estimator, parameters)
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
        >>> import numpy as np
        >>> from oip import mi
        >>> mi.input_information(np.arange(64.0) * 1000, noise=1.0).saturated
        True
    """
    one = estimator_of(
        "the information about the input", "input_information", estimator, parameters
    )
    return _with_interval("I(X;M)", one, one.input_information, check_numbers("x", x), seed, draws)


def _with_interval(
    quantity: str,
    one: Estimator,
    estimated: Callable[[np.ndarray, int], RawEstimate],
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


@dataclass(frozen=True, eq=False)
class Pairing(ABC):
    """Two sides and an estimator that can do them.

    `left` and `right` are numbers (n, d) or codes (n,); the information is the same from either
    side, so that a label, where there is one, is on the right.
    """

    one: Any
    left: np.ndarray
    right: np.ndarray
    seed: int

    @abstractmethod
    def value(self, left: np.ndarray, right: np.ndarray) -> RawEstimate:
        """I of samples like these, without interval and null."""

    def whole(self, shuffles: int, draws: int) -> RawEstimate:
        """I of all samples, with interval and null."""
        value = self.value(self.left, self.right)
        null = self.null(shuffles) if shuffles else None
        return replace(value, draws=self.drawn(draws), null=null)

    def drawn(self, draws: int) -> np.ndarray | None:
        """(draws,): the estimate from random halves."""
        return resampled(
            self.one,
            lambda parts: self.value(self.left[parts[0]], self.right[parts[0]]).nats,
            [len(self.left)],
            draws,
            self.seed,
        )

    def null(self, shuffles: int) -> np.ndarray:
        """(shuffles,): the estimate after the right side was put in random orders."""
        return joint_null(
            lambda right: self.value(self.left, right).nats,
            self.right,
            shuffles,
            self.seed,
            self.one.working_bytes(len(self.right)),
        )


class _Numbers(Pairing):
    def value(self, left: np.ndarray, right: np.ndarray) -> RawEstimate:
        return self.one.information(left, right, self.seed)

    def null(self, shuffles: int) -> np.ndarray:
        return self.one.information_null(self.left, self.right, shuffles, self.seed)


class _Label(Pairing):
    def value(self, left: np.ndarray, right: np.ndarray) -> RawEstimate:
        return of_some(self.one, left, right, self.seed)

    def whole(self, shuffles: int, draws: int) -> RawEstimate:
        return of_label(self.one, self.left, self.right, shuffles, draws, self.seed)


class _Labels(Pairing):
    def value(self, left: np.ndarray, right: np.ndarray) -> RawEstimate:
        return self.one.discrete_information(left, right, self.seed)


def paired(
    x: Side, y: Side, name: str | Estimator | None, parameters: dict[str, Any], seed: int
) -> Pairing:
    """The two sides with an estimator of the information between them.

    Args:
        x, y: of one length.
        name: `kde` for numbers and a label, `ksg` for numbers, `binning` for labels, if None.
        parameters: of the estimator.
        seed: of whatever is drawn.

    Raises:
        DataError: lengths that differ; a class that is seen once.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.
    """
    check_lengths(y.name, len(y), len(x))
    if x.is_label and y.is_label:
        what = "I(X;Y) of two labels"
        one = estimator_of(
            what, "discrete_information", "binning" if name is None else name, parameters
        )
        return _Labels(one, x.values, y.values, seed)
    if not x.is_label and not y.is_label:
        what = "I(X;Y) of numbers and numbers (say discrete=True if y is a label)"
        one = estimator_of(what, "information", "ksg" if name is None else name, parameters)
        return _Numbers(one, x.values, y.values, seed)
    numbers, label = (y, x) if x.is_label else (x, y)
    what = f"I(X;Y) of numbers and a label (say discrete=False if {label.name} is numbers)"
    one = estimator_of(what, "label_information", "kde" if name is None else name, parameters)
    if label.values.any():
        check_seen_twice(label.name, label.values)
    return _Label(one, numbers.values, label.values, seed)


_NEAR = 6
"""Samples nearest in Z, its own among them, from which a shuffle takes an x; Runge has 5 to 10."""

Estimated = Callable[[np.ndarray, np.ndarray, np.ndarray], RawEstimate]
"""I(X;Y|Z) of x, y and given (n, ...), without interval and null."""


def conditioned(
    x: Side,
    y: Side,
    given: Side,
    name: str | Estimator | None,
    parameters: dict[str, Any],
    seed: int,
    null: int | None,
    draws: int | None,
) -> tuple[Estimator, RawEstimate]:
    """The estimator of I(X;Y|Z), and its value with interval and null.

    Raises:
        DataError: lengths that differ; a class, also within one of `given`, that is seen once.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.
    """
    check_lengths("y", len(y), len(x))
    check_lengths("given", len(given), len(x))
    if x.is_label and not y.is_label:
        x, y = y, x
    one, estimated = _way(x, y, given, name, parameters, seed)
    sides = [side.values for side in (x, y, given)]
    value = estimated(*sides)
    shuffles, drawn = counts(one, null, draws)
    halved = resampled(
        one,
        lambda parts: estimated(*(side[parts[0]] for side in sides)).nats,
        [len(x)],
        drawn,
        seed,
    )
    against = None
    if shuffles:
        orders = local_orders(given, shuffles, seed)
        against = np.array(
            thread_map(
                lambda order: estimated(sides[0][order], *sides[1:]).nats,
                orders,
                one.working_bytes(len(x)),
            )
        )
    return one, replace(value, draws=halved, null=against)


def _way(
    x: Side,
    y: Side,
    given: Side,
    name: str | Estimator | None,
    parameters: dict[str, Any],
    seed: int,
) -> tuple[Estimator, Estimated]:
    """An estimator and how it is used; a label, if there is one of the two, is y."""
    if given.is_label:
        pair = paired(x, y, name, parameters, seed)
        if y.is_label and not x.is_label:
            both = np.unique(np.stack([y.values, given.values]), axis=1, return_inverse=True)[1]
            check_seen_twice(f"{y.name} within the classes of given", both.reshape(-1))
        fewest = pair.one.fewest
        sparse = int(np.bincount(given.values).min())
        if sparse < fewest:
            raise DataError(expected("given", f"{fewest} samples a class or more", sparse))
        return pair.one, lambda a, b, c: _mean_within(pair.value, fewest, a, b, c)
    if not y.is_label:
        what = "I(X;Y|Z) of numbers"
        direct = estimator_of(what, "conditional_information", name or "ksg", parameters)
        return direct, lambda a, b, c: direct.conditional_information(a, b, c, seed)
    what = "I(X;Y|Z) of a label, given numbers"
    chain = estimator_of(what, "label_information", name or "kde", parameters)
    check_seen_twice(y.name, y.values)

    if chain.can("conditional_label_information"):
        return chain, lambda a, b, c: chain.conditional_label_information(a, b, c, seed)

    def estimated(left: np.ndarray, codes: np.ndarray, known: np.ndarray) -> RawEstimate:
        numbers = one_hot(left) if x.is_label else left
        both = of_some(chain, np.concatenate([numbers, known], axis=1), codes, seed)
        alone = of_some(chain, known, codes, seed)
        told = tuple(dict.fromkeys(both.notices + alone.notices))
        return RawEstimate(both.nats - alone.nats, ceiling=both.ceiling, notices=told)

    return chain, estimated


def _mean_within(
    information: Callable[[np.ndarray, np.ndarray], RawEstimate],
    fewest: int,
    x: np.ndarray,
    y: np.ndarray,
    given: np.ndarray,
) -> RawEstimate:
    """The mean of the classes' information, by their shares; 0 of classes with fewer samples."""
    nats, ceiling = 0.0, 0.0
    notices: dict[str, None] = {}
    for code, count in enumerate(np.bincount(given)):
        if count < fewest:
            continue
        inside = given == code
        found = information(x[inside], y[inside])
        share = count / len(given)
        nats += share * found.nats
        ceiling += share * (np.inf if found.ceiling is None else found.ceiling)
        notices.update(dict.fromkeys(found.notices))
    return RawEstimate(
        nats, ceiling=ceiling if np.isfinite(ceiling) else None, notices=tuple(notices)
    )


def local_orders(given: Side, shuffles: int, seed: int) -> np.ndarray:
    """(shuffles, n) int: places of the samples, each put where Z is the same or near.

    Within a class of Z any order is taken. Given numbers, the samples in a random order take one of
    their nearest in Z that none has taken yet, where there is one, so that I(X;Z) is kept and what
    is left of I(X;Y|Z) is destroyed.
    """
    draw = seeds.generator(seed, "conditional null")
    n = len(given)
    result = np.tile(np.arange(n), (shuffles, 1))
    if given.is_label:
        for code in range(given.values.max() + 1):
            places = np.flatnonzero(given.values == code)
            result[:, places] = draw.permuted(result[:, places], axis=1)
        return result
    from scipy.spatial import KDTree

    tree = KDTree(given.values)
    near = np.atleast_2d(tree.query(given.values, min(_NEAR, n))[1]).tolist()
    for row in result:
        taken = np.zeros(n, bool)
        for place in draw.permutation(n):
            choices = draw.permutation(near[place])
            free = choices[~taken[choices]]
            row[place] = free[0] if free.size else choices[-1]
            taken[row[place]] = True
    return result


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
        >>> import numpy as np
        >>> from oip import mi
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
        >>> import numpy as np
        >>> from oip import mi
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
        >>> import numpy as np
        >>> from oip import mi
        >>> a, b = np.random.default_rng(0).normal(size=(2, 2000))
        >>> round(mi.total_correlation(np.stack([a, a + b], axis=1), "gaussian").bits, 1)
        0.5
    """
    values = check_numbers("x", x)
    if values.shape[1] < 2:
        raise DataError(expected("x", "two columns or more", "one"))
    one = estimator_of("total correlation", "total_correlation", estimator, parameters)
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
    one = estimator_of("KL divergence", "divergence", estimator, parameters)
    seed, null, draws = check_asked(len(first) + len(second), seed, null, draws)
    shuffles, drawn = counts(one, null, draws)
    value = one.divergence(first, second, seed)
    n, pool = len(first), np.concatenate([first, second])
    draw = seeds.generator(seed, "null")
    against = None
    if shuffles:
        orders = [draw.permutation(len(pool)) for _ in range(shuffles)]
        against = np.array(
            thread_map(
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
