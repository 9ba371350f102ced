"""Numbers that the study of the noise's spectrum rests on: shares, pairs, intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from oip.core.seeds import generator

DRAWS = 2000
LEVEL = 0.95
ALIKE = 0.5
"""Similarity from which images are one pattern; clusters of starts are cut there, too."""


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, scale: float = 1.0, unit: str = "", digits: int = 1) -> str:
        """`3.1 (2.0 to 4.2) %`; in words where there was nothing to measure."""
        if not np.isfinite(self.value):
            return "unknown (nothing to measure)"
        value, low, high = (
            f"{scale * one:.{digits}f}" for one in (self.value, self.low, self.high)
        )
        return f"{value} ({low} to {high}){unit}"


def share_found(opened: np.ndarray, tried: int, starts: int) -> np.ndarray:
    """Probability that at least one of some starts opens a map.

    The starts are drawn without replacement from those that were tried: 1 less the hypergeometric
    probability that none of them is among the `opened`.

    Args:
        opened: (...,) int: how many of the tried starts open the map.
        tried: starts in all.
        starts: how many are drawn, up to `tried`.

    >>> share_found(np.array([0, 1, 2]), 2, 1).tolist()
    [0.0, 0.5, 1.0]
    """
    opened = np.asarray(opened, float)
    closed = tried - opened
    none = np.ones(opened.shape)
    for place in range(starts):
        none *= np.clip(closed - place, 0, None) / (tried - place)
    return 1.0 - none


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """Exact McNemar test of two paired outcomes.

    Args:
        first, second: (n,) bool.

    Returns:
        Pairs of which only the first is true, pairs of which only the second is, two-sided p.

    References:
        McNemar, Psychometrika 12 (1947) 153; the exact form is a binomial test of the discordant.
    """
    from scipy.stats import binomtest

    only_first = int(np.sum(first & ~second))
    only_second = int(np.sum(~first & second))
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return only_first, only_second, p


def holm(values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, by Holm's step-down rule.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(values, kind="stable")
    found = np.empty(len(values))
    largest = 0.0
    for place, row in enumerate(order):
        largest = max(largest, (len(values) - place) * values[row])
        found[row] = min(1.0, largest)
    return [round(float(one), 12) for one in found]


def bootstrap(
    groups: Sequence[np.ndarray],
    statistic: Callable[[np.ndarray], float],
    seed: int,
    draws: int = DRAWS,
) -> Interval:
    """A statistic of all rows with its percentile interval, rows drawn within their groups.

    Args:
        groups: one array a network, (maps, ...): a row belongs to one map, whatever was repeated
            with it, so that repetitions do not pass for independent maps.
        statistic: of the joined rows; may be NaN where nothing is left.
        seed: of the draws.
        draws: that are made.
    """
    groups = [group for group in groups if len(group)]
    if not groups:
        return Interval(float("nan"), float("nan"), float("nan"))
    random = generator(seed, "bootstrap")
    found = np.array(
        [
            statistic(
                np.concatenate([one[random.integers(len(one), size=len(one))] for one in groups])
            )
            for _ in range(draws)
        ]
    )
    found = found[np.isfinite(found)]
    value = float(statistic(np.concatenate(groups)))
    if not len(found):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def high_power(images: np.ndarray, above: float = 0.25) -> np.ndarray:
    """Share of an image's power at spatial frequencies above a limit; its mean is left out.

    Args:
        images: (..., h, w, b).
        above: cycles a pixel, along the diagonal of both frequencies (radius).

    Returns:
        (...,): 0 to 1; NaN for an image without any variation.
    """
    height, width = images.shape[-3:-1]
    spectrum = np.abs(np.fft.fft2(np.asarray(images, np.float64), axes=(-3, -2))) ** 2
    spectrum = spectrum.sum(-1)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    spectrum[..., 0, 0] = 0.0
    total = spectrum.sum((-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (spectrum * (radius > above)).sum((-2, -1)) / total, np.nan)


def steps_to(traces: np.ndarray, share: float = 0.95) -> np.ndarray:
    """Step at which the best score so far first reaches a share of the final one.

    Args:
        traces: (n, t + 1): score over steps, NaN after the end.
        share: of the best score of all.

    Returns:
        (n,) float; NaN where no score is above zero.
    """
    best = np.fmax.accumulate(np.where(np.isfinite(traces), traces, -np.inf), axis=1)
    final = best[:, -1:]
    reached = (best >= share * final).argmax(1).astype(float)
    return np.where(final[:, 0] > 0, reached, np.nan)
