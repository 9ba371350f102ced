"""Several labels of an image: each is estimated alone, and their bits are added up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from oip.core.errors import DataError
from oip.mi.estimators.results import MapEstimates
from oip.mi.validation import check_distinct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oip.mi.estimators.base import LabelEstimator

_FEWEST = 5
"""Fewest images with a tag, and without it."""


def usable_tags(tags: np.ndarray) -> np.ndarray:
    """Return (k,) bool: tags that at least 5 images have, and 5 have not."""
    have = tags.sum(axis=0, dtype=np.int64)
    return np.minimum(have, len(tags) - have) >= _FEWEST


def tag_names(count: int, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of tags, their numbers if they have none.

    Raises:
        DataError: another number of names, or one that comes twice.
    """
    names = tuple(classes or (str(tag) for tag in range(count)))
    if len(names) != count:
        raise DataError("classes", f"{count}, one per tag", len(names))
    check_distinct(names)
    return names


def tag_notices(tags: np.ndarray, names: Sequence[str]) -> tuple[str, ...]:
    """Return remarks that a reader of the numbers needs.

    Raises:
        DataError: no tag that can be used.
    """
    usable = usable_tags(tags)
    if not usable.any():
        hint = "A tag needs 5 images that have it, and 5 that do not."
        raise DataError("labels", "a tag that some images have and others lack", "none", hint)
    text = (
        f"Images have several labels: the bits are those about each of {usable.sum()} tags by "
        "itself, added up; information that tags share is counted more than once."
    )
    unused = [name for name, is_used in zip(names, usable, strict=True) if not is_used]
    if not unused:
        return (text,)
    listed = ", ".join(unused[:8]) + (", ..." if len(unused) > 8 else "")
    return text, f"Tags of fewer than 5 images, or of all but 5, were left out: {listed}."


def over_tags(
    estimator: LabelEstimator,
    responses: np.ndarray,
    tags: np.ndarray,
    seed: int,
    shuffles: int,
    draws: int,
) -> MapEstimates:
    """Estimate the information about each tag for every map, and their sum.

    Args:
        estimator: of the information about one label.
        responses: (n, m, d), finite.
        tags: (n, k) zeros and ones.
        seed, shuffles, draws: as for `over_maps`.

    Returns:
        In nats: the sums of m maps, and by tag as by class (NaN for tags of too few images). The
        spread of a sum is that of tags which are related as they are among the images, at least.
    """
    usable = usable_tags(tags)
    columns = tags[:, usable].astype(np.int64)
    by_tag = [
        estimator.over_maps(
            responses, column, seed, shuffles, draws, one_vs_rest=False, distinct=True
        )
        for column in columns.T
    ]
    shape = (responses.shape[1], tags.shape[1])
    values, p = np.full(shape, np.nan), np.full(shape, np.nan)
    intervals, ceilings = np.full((*shape, 2), np.nan), np.zeros(shape[1])
    for tag, estimates in zip(np.flatnonzero(usable), by_tag, strict=True):
        values[:, tag] = estimates.raw
        intervals[:, tag] = np.stack([estimates.low, estimates.high], axis=1)
        ceilings[tag] = float(np.nanmax(estimates.ceiling))
        if shuffles:
            p[:, tag] = estimates.p_value
    related = np.abs(np.corrcoef(columns, rowvar=False).reshape(len(by_tag), len(by_tag)))
    raw = np.sum([estimates.raw for estimates in by_tag], axis=0)
    spread = _added(np.stack([estimates.draws for estimates in by_tag]), related)
    return replace(
        by_tag[0],
        raw=raw,
        ceiling=np.sum([estimates.ceiling for estimates in by_tag], axis=0),
        per_class_raw=values,
        class_ceiling=ceilings,
        draws=raw + spread - spread.mean(axis=0) if len(spread) else spread,
        null=_added(np.stack([estimates.null for estimates in by_tag]), related),
        per_class_ends=intervals if draws else None,
        per_class_p=p if shuffles else None,
    )


def _added(draws: np.ndarray, related: np.ndarray) -> np.ndarray:
    """Return the sums over tags of draws (k, draws, m), as wide as related tags make them.

    Each tag has draws of its own, as if they were independent; where they are not, the sum varies
    more: its variance is made to be at least the sum of |r| s s' over pairs of tags.
    """
    total = draws.sum(axis=0)
    if len(total) < 2:
        return total
    deviations = draws.std(axis=1)
    variance = np.einsum("jm,jk,km->m", deviations, related, deviations)
    total_variance = total.var(axis=0)
    factor = np.sqrt(
        np.maximum(1.0, variance / np.where(total_variance > 0, total_variance, np.inf))
    )
    middle = total.mean(axis=0)
    return middle + factor * (total - middle)
