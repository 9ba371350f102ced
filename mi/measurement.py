"""One driver for every quantity: from samples to an estimate with interval, null and notices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from oip.core.checks import check_drawn, python_number
from oip.core.errors import DataError
from oip.mi.backend import thread_map
from oip.mi.estimators.base import Estimator, LabelEstimator, RawEstimate
from oip.mi.estimators.results import Estimate, interval_ends
from oip.mi.permutation_test import p_values
from oip.mi.resampling import halves, paired_draws, widening
from oip.mi.validation import FEWEST_HELD_OUT

_FEWEST_HALVED = 4
"""Samples in a half under which a half tells nothing about the whole."""
_FEW = 20
"""Samples of a class under which the bias of an estimate is larger than its interval."""
_NO_INTERVAL = "No interval: half of the samples are too few for one."


class Resampled(NamedTuple):
    """A raw estimate with those of resampled and of shuffled samples, in nats."""

    value: RawEstimate
    draws: np.ndarray | None
    """(draws,): of the estimate; empty where halves are too small, None if none were requested."""
    null: np.ndarray | None
    """(shuffles,): estimates of shuffled samples; None if there are none."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Measurement:
    """A quantity of given samples, and the ways to estimate it on others like them."""

    quantity: str
    """Such as `I(X;Y)`."""
    estimator: Estimator
    arrays: tuple[np.ndarray, ...]
    """The samples: numbers (n, d) or codes (n,) each; the first one is X."""
    d: int
    """Dimensions of X, as they are shown."""
    seed: int
    estimate_on: Callable[..., RawEstimate]
    """The raw estimate of samples like `arrays`."""
    null_of: Callable[[int], np.ndarray] | None = None
    """Number of shuffles -> (shuffles,) estimates of shuffled samples; None: there is no null."""
    paired: bool = True
    """The rows of all arrays belong together. If not, each array is a sample by itself."""
    floor: float | None = 0.0
    """Smallest value that the quantity can have; None if there is none."""
    notices: tuple[str, ...] = ()
    """What a reader has to know of the samples."""

    def estimate(self, null: int | None = 0, draws: int | None = None) -> Estimate:
        """Return the estimate with all that belongs to it.

        `null` shuffles for the p-value and `draws` random halves for the interval, the estimator's
        own numbers if None; a SettingsError for other than whole numbers from 0, or more than
        memory holds.
        """
        estimator, n = self.estimator, sum(self.sizes)
        default_shuffles = estimator.alone_shuffles
        own_null = estimator.shuffles if default_shuffles is None else default_shuffles
        shuffles = own_null if null is None else check_drawn("null", null, n)
        count = estimator.resamples if draws is None else check_drawn("draws", draws, n)
        return self._finish(self.resampled(shuffles, count))

    @property
    def sizes(self) -> list[int]:
        """The sizes of the sets of samples: one if the arrays are paired."""
        return [len(array) for array in self.arrays[: 1 if self.paired else None]]

    @property
    def too_few_for_halves(self) -> bool:
        """Whether half of the samples are too few to judge the whole."""
        return min(self.sizes) // 2 < max(_FEWEST_HALVED, self.estimator.fewest)

    def resampled(self, shuffles: int, draws: int) -> Resampled:
        """Return the raw estimate with its draws and its null."""
        value = self.estimate_on(*self.arrays)
        resampled_values = self._half_draws(value.nats, draws) if draws else None
        null = self.null_of(shuffles) if shuffles and self.null_of else None
        return Resampled(value, resampled_values, null)

    def _half_draws(self, value: float, draws: int) -> np.ndarray:
        """Return (draws,) of the estimate, by halves; none where these are too small."""
        if self.too_few_for_halves:
            return np.empty(0)
        sizes = self.sizes
        sets = [halves(size, self.seed + index, draws) for index, size in enumerate(sizes)]
        if self.paired:
            sets *= len(self.arrays)

        def estimate(draw: int) -> float:
            pairs = zip(self.arrays, sets, strict=True)
            return self.estimate_on(*(array[rows[draw]] for array, rows in pairs)).nats

        memory = self.estimator.working_bytes(sum(sizes) // 2)
        try:
            values = thread_map(estimate, range(len(sets[0])), memory)
        except DataError:  # the whole was estimated, so that its halves are too small
            return np.empty(0)
        half_draws = paired_draws(value, np.array(values))
        return value + widening(self.estimator.rate) * (half_draws - value)

    def _biased(self) -> tuple[str, ...]:
        """Return a notice where the bias is likely larger than the interval."""
        estimator, name = self.estimator, self.estimator.name
        numbers = sum(array.shape[1] for array in self.arrays if array.ndim > 1)
        if estimator.biased_from is not None and numbers >= estimator.biased_from:
            several = f" in {numbers} dimensions" if numbers > 1 else ""
            cause = f"the bias of {name}{several}"
        else:
            counts = [np.bincount(array).min() for array in self.arrays if array.ndim == 1]
            if estimator.abilities.held_out or not numbers or min(counts, default=_FEW) >= _FEW:
                return ()
            cause = f"the bias by a class of {min(counts)} samples"
        return (f"The interval leaves out {cause}, which is often larger.",)

    def _unsure_p(self) -> tuple[str, ...]:
        """Return a notice where the p-value can be too small."""
        kinds = self.estimator.abilities
        fewest = min(
            (np.bincount(a).min() for a in self.arrays if a.ndim == 1), default=FEWEST_HELD_OUT
        )
        if fewest >= FEWEST_HELD_OUT or not (kinds.held_out and kinds.cheap_null):
            return ()
        return (
            f"A class of {fewest} samples: with fewer than {FEWEST_HELD_OUT} the p-value can be "
            "too small where x has heavy tails.",
        )

    def _finish(self, result: Resampled) -> Estimate:
        """Clip the value and its interval, compare it with its null, and describe it."""
        value, draws, null = result
        clips = self.estimator.clips
        minimum = -np.inf if self.floor is None or not clips else self.floor
        largest = np.inf if value.ceiling is None or not clips else value.ceiling
        clipped = float(np.clip(value.nats, minimum, largest))
        low = high = p = chance = None
        notices = self.notices + value.notices
        if draws is not None and draws.size > 1:
            interval = interval_ends(value.nats, draws)
            low = float(np.clip(interval[0], minimum, clipped))
            high = float(np.clip(interval[1], clipped, largest))
            notices += self._biased()
        elif draws is not None and not draws.size:
            notices += (_NO_INTERVAL,)
        if null is not None and null.size:
            p = float(p_values(np.array([value.nats]), null[:, None])[0])
            chance = max(minimum, float(null.mean()))
            notices += self._unsure_p()
        parameters = self.estimator.settings
        return Estimate(
            quantity=self.quantity,
            estimator=self.estimator.name,
            parameters={name: python_number(setting) for name, setting in parameters.items()},
            nats=clipped,
            n=len(self.arrays[0]),
            d=self.d,
            ceiling=value.ceiling,
            low=low,
            high=high,
            p_value=p,
            chance=chance,
            raw=None if value.nats == clipped else value.nats,
            seed=self.seed,
            notices=notices,
            least=value.least,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelMeasurement(Measurement):
    """I(X;Y) of numbers and a label, with draws and null from the estimator of many maps."""

    estimator: LabelEstimator

    def resampled(self, shuffles: int, draws: int) -> Resampled:
        """Return the raw estimate with its draws and its null, as one map of a layer."""
        x, codes = self.arrays
        halved = 0 if codes.any() and self.too_few_for_halves else draws
        return label_estimate(self.estimator, x, codes, self.seed, shuffles, halved, bool(draws))


def label_estimate(
    estimator: LabelEstimator,
    x: np.ndarray,
    codes: np.ndarray,
    seed: int,
    shuffles: int = 0,
    draws: int = 0,
    with_draws: bool = False,
) -> Resampled:
    """Return I(X;Y) of x (n, d) and codes (n,): one map's part of `over_maps`."""
    maps = estimator.over_maps(
        x[:, None, :], codes, seed, shuffles, draws, one_vs_rest=False, distinct=True
    )
    notices = maps.notices[0] if maps.notices else ()
    value = RawEstimate(float(maps.raw[0]), ceiling=float(maps.ceiling[0]), notices=notices)
    return Resampled(value, maps.draws[:, 0] if with_draws else None, maps.null[:, 0])
