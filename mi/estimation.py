"""From a family's number to an `Estimate`: interval, null, ceiling, clipping, what was left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mi.estimators.base import Estimator, LabelEstimator, Value
from mi.estimators.resampling import centred, halves
from mi.estimators.results import LEVEL, Estimate
from mi.estimators.settings import check_drawn, check_whole, plain
from mi.estimators.threads import each
from mi.nulls import p_values
from mi.samples import FEWEST

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
) -> Value:
    """I(X;Y) of x (n, d) and a label: one map's part of `over_maps`.

    No draws where halves are too small.
    """
    asked = draws
    if codes.any() and _too_few(one, len(codes)):
        draws = 0
    found = one.over_maps(x[:, None, :], codes, seed, shuffles, draws, one_vs_rest=False)
    return Value(
        float(found.raw[0]),
        ceiling=float(found.ceiling[0]),
        draws=found.draws[:, 0] if asked else None,
        null=found.null[:, 0],
        notices=found.notices[0] if found.notices else (),
    )


def of_some(one: LabelEstimator, x: np.ndarray, codes: np.ndarray, seed: int) -> Value:
    """I(X;Y) of a part of the samples, without those of its classes that are left with one."""
    kept = np.bincount(codes)[codes] > 1
    if kept.sum() < FEWEST:
        return Value(0.0)
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
        each(
            lambda row: again([part[row] for part in sets]),
            range(draws),
            one.working_bytes(sum(sizes) // 2),
        )
    )


def estimate(
    quantity: str,
    one: Estimator,
    value: Value,
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
        ends = np.quantile(centred(raw, drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
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
