"""What is compared of single kernels, and how far it would be elsewhere with other kernels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from oip.core import seeds
from oip.studies.training import Trained
from oip.studies.verdicts import LATE, at_ceiling

_DRAWS = 400
_SETTLED = 50
"""Iterations before which everything moves."""
_EARLY = 0.1
"""Share of a training that is early."""


def medians(one: Trained, width: str, block: int) -> np.ndarray:
    """(t,): median over the kernels of a block, in bits."""
    return np.median(known(one, width, block), axis=1)


def known(one: Trained, width: str, block: int) -> np.ndarray:
    """(t, m): what each kernel of a block knows of the label, in bits."""
    return one.records[width][one.watched.blocks[block]].label


def saturated(one: Trained, width: str, block: int, at: int = -1) -> bool:
    """Half of the kernels are so near to the most there can be that their order means nothing."""
    return at_ceiling(medians(one, width, block)[at], one.records[width].told["label_ceiling"])


def early_gain(one: Trained, width: str, block: int) -> tuple[float, float]:
    """Rise of the median over the first tenth of a training, and its spread over kernels; bits."""
    values, steps = known(one, width, block), one.records[width].steps
    until = int(np.flatnonzero(steps <= _EARLY * one.iterations)[-1])

    def rise(some: np.ndarray) -> np.ndarray:
        return np.median(values[until, some], axis=-1) - np.median(values[0, some], axis=-1)

    return _with_spread(rise, values.shape[1])


def gain(one: Trained, width: str, block: int) -> tuple[float, float]:
    """Rise of the median from the start to the last quarter, and its spread over kernels; bits."""
    values, steps = known(one, width, block), one.records[width].steps
    last = values[steps >= LATE * steps[-1]]

    def rise(some: np.ndarray) -> np.ndarray:
        return np.median(last[:, some], axis=-1).mean(axis=0) - np.median(values[0, some], axis=-1)

    return _with_spread(rise, values.shape[1])


def roughness(one: Trained, width: str, block: int) -> tuple[float, float]:
    """Standard deviation of the mean's change between settled records, and its spread; bits."""
    values = known(one, width, block)[one.records[width].steps >= _SETTLED]
    if len(values) < 3:
        return np.nan, np.nan

    def rough(some: np.ndarray) -> np.ndarray:
        return np.diff(values[:, some].mean(axis=-1), axis=0).std(axis=0)

    return _with_spread(rough, values.shape[1])


def order_kept(one: Trained, width: str, block: int) -> tuple[float, float]:
    """Spearman's correlation of the kernels at the start and at the end, and its spread."""
    ends = known(one, width, block)[[0, -1]].T
    return _with_spread(lambda some: alike(ends[some]), len(ends))


def consistency(one: Trained, width: str, block: int, at: int) -> tuple[float, float]:
    """Mean rank correlation between the classes' orders of the kernels, and its spread."""
    table = one.records[width][one.watched.blocks[block]].per_class[at]
    return _with_spread(lambda some: alike(table[some]), len(table))


def consistency_lost(one: Trained, width: str, block: int) -> tuple[float, float]:
    """By how much `consistency` fell from the start to the end, and the fall's spread."""
    tables = one.records[width][one.watched.blocks[block]].per_class
    first, last = tables[0], tables[-1]
    return _with_spread(lambda some: alike(first[some]) - alike(last[some]), len(first))


def alike(table: np.ndarray) -> np.ndarray:
    """Mean of Spearman's correlations between each two columns.

    Args:
        table: (..., m, classes); equal values share their mean rank.

    Returns:
        (...), -1 to 1; NaN where no two columns have an order.
    """
    from scipy.stats import rankdata

    ranks = rankdata(table, axis=-2)
    ranks -= ranks.mean(axis=-2, keepdims=True)
    length = np.sqrt((ranks**2).sum(axis=-2, keepdims=True))
    ordered = length[..., 0, :] > 0
    ranks /= np.where(length > 0, length, 1.0)
    # The mean over pairs follows from the sum of all columns: |sum|^2 = columns + 2 * pairs' sum.
    columns = ordered.sum(axis=-1)
    pairs = columns * (columns - 1) / 2
    total = ((ranks.sum(axis=-1) ** 2).sum(axis=-1) - columns) / 2
    return np.where(pairs > 0, total / np.maximum(pairs, 1), np.nan)


def rank_sum(first: Trained, second: Trained, width: str, block: int) -> tuple[float, bool]:
    """p-value that the kernels of two networks know alike at the end; whether the first's more."""
    from scipy.stats import mannwhitneyu

    ends = [known(one, width, block)[-1] for one in (first, second)]
    return float(mannwhitneyu(*ends).pvalue), bool(np.median(ends[0]) > np.median(ends[1]))


def _with_spread(statistic: Callable[[np.ndarray], np.ndarray], count: int) -> tuple[float, float]:
    """A statistic of kernels, and its standard deviation over kernels drawn with replacement.

    Args:
        statistic: of (..., m) places of kernels, (...) values.
        count: of kernels.
    """
    rng = seeds.generator(0, "study-kernels-bootstrap", count)
    drawn = np.asarray(statistic(rng.integers(0, count, (_DRAWS, count))))
    finite = drawn[np.isfinite(drawn)]
    spread = float(finite.std(ddof=1)) if len(finite) > 1 else np.nan
    return float(statistic(np.arange(count))), spread
