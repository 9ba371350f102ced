"""I(X;Y|Z) by what Z is: within the classes of a label, or as numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mi.estimation import counts, of_some, resampled
from mi.estimators.base import (
    ConditionalEstimator,
    ConditionalLabelEstimator,
    Estimator,
    LabelEstimator,
    Value,
)
from mi.estimators.choice import estimator_of
from mi.estimators.threads import each
from mi.pairs import paired
from mi.samples import Side, check_lengths, check_seen_twice, one_hot
from oip.core import seeds
from oip.core.errors import DataError, expected

_NEAR = 6
"""Samples nearest in Z, its own among them, from which a shuffle takes an x; Runge has 5 to 10."""

Estimated = Callable[[np.ndarray, np.ndarray, np.ndarray], Value]
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
) -> tuple[Estimator, Value]:
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
            each(
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
        direct = estimator_of(what, ConditionalEstimator, name or "ksg", parameters)
        return direct, lambda a, b, c: direct.conditional_information(a, b, c, seed)
    what = "I(X;Y|Z) of a label, given numbers"
    chain = estimator_of(what, LabelEstimator, name or "kde", parameters)
    check_seen_twice(y.name, y.values)

    if isinstance(chain, ConditionalLabelEstimator):
        return chain, lambda a, b, c: chain.conditional_label_information(a, b, c, seed)

    def estimated(left: np.ndarray, codes: np.ndarray, known: np.ndarray) -> Value:
        numbers = one_hot(left) if x.is_label else left
        both = of_some(chain, np.concatenate([numbers, known], axis=1), codes, seed)
        alone = of_some(chain, known, codes, seed)
        told = tuple(dict.fromkeys(both.notices + alone.notices))
        return Value(both.nats - alone.nats, ceiling=both.ceiling, notices=told)

    return chain, estimated


def _mean_within(
    information: Callable[[np.ndarray, np.ndarray], Value],
    fewest: int,
    x: np.ndarray,
    y: np.ndarray,
    given: np.ndarray,
) -> Value:
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
    return Value(nats, ceiling=ceiling if np.isfinite(ceiling) else None, notices=tuple(notices))


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
