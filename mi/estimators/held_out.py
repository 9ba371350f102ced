"""What all held-out predictors share: folds, guarded probabilities, gains, intervals and nulls."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mi.estimators.base import LabelEstimator
from mi.estimators.held_out_classes import OneVsRest
from mi.estimators.map_samples import MapSamples
from mi.estimators.results import MapEstimates
from mi.estimators.threads import each
from mi.labels import class_entropies, label_entropy
from oip.core import seeds

FOLDS = 5
_SHUFFLES_AT_ONCE = 250


@dataclass(frozen=True, eq=False)
class Predictions:
    """Of one map, held out."""

    odds: np.ndarray
    """(classes, n): log-probabilities, those of a fold from what has not seen its labels."""
    without: np.ndarray | None = None
    """(FOLDS,): mean log-probability of the labels outside a fold, from what has seen neither the
    fold nor the sample's own; None where nothing is fitted without two folds."""


class HeldOut(LabelEstimator):
    """H(Y) - held-out cross-entropy of a predictor of one map's response."""

    name_shown: ClassVar[str] = "usable information (a lower bound)"
    held_out: ClassVar[bool] = True
    cheap_null: ClassVar[bool] = True
    shuffles: ClassVar[int] = 1000
    resamples: ClassVar[int] = 200

    @abstractmethod
    def _held_out(
        self, x: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int
    ) -> np.ndarray:
        """(classes, n): log-probabilities from what has not seen the labels of the sample's fold.

        Args:
            x: (n, d) responses of one map.
            codes: (n,) int, the labels.
            folds: (n,) int, 0 to 4.
            seed: of whatever is drawn.
        """

    def _predictions(
        self, x: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int
    ) -> Predictions:
        """What `_held_out` gives, and what a training sample without a fold makes of it."""
        return Predictions(self._held_out(x, codes, folds, seed))

    def _over_maps(self, samples: MapSamples) -> MapEstimates:
        """See `LabelEstimator._over_maps`; intervals and null as `estimates` has them."""

        def predict(x: np.ndarray, folds: np.ndarray) -> Predictions:
            return self._predictions(x, samples.codes, folds, samples.seed)

        return estimates(predict, samples, self.working_bytes(len(samples.codes)))


Predictor = Callable[[np.ndarray, np.ndarray], Predictions]
"""`predict(x, folds)`: of a map's responses x (n, d)."""


def estimates(predict: Predictor, samples: MapSamples, bytes_each: int = 0) -> MapEstimates:
    """H(Y) less the cross-entropy of held-out predictions, of every map.

    Intervals are from a bootstrap of the held-out samples' contributions, to which is added what
    another training sample would change: the jackknife of five groups, of the estimates that leave
    one fold out altogether. Without these the intervals leave that part out. The null shuffles
    labels against the held-out predictions, within each fold.

    Args:
        predict: of one map.
        samples: of all maps.
        bytes_each: memory that a prediction takes, about.
    """
    codes, seed, draws = samples.codes, samples.seed, samples.draws
    folds = folds_of(codes, seed)
    told = each(
        lambda place: predict(samples.responses[:, place], folds), range(samples.maps), bytes_each
    )
    parts = [one.odds for one in told]
    share = np.log(np.bincount(codes) / len(codes))
    gains = np.stack([own_class(part, codes) - share[codes] for part in parts], axis=1)
    raw = gains.mean(axis=0)
    draw = seeds.generator(seed, "held-out draws")
    weights = draw.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), size=draws)
    asked = parts if samples.one_vs_rest else ()
    single = each(lambda part: OneVsRest(part, codes, weights), asked)
    null = _null(parts, single, _shuffled(codes, folds, samples))
    return MapEstimates(
        raw=raw,
        ceiling=np.full(len(raw), label_entropy(codes)),
        per_class_raw=np.stack([one.raw for one in single])
        if single
        else np.full((len(raw), len(parts[0])), np.nan),
        per_class_ends=np.stack([one.ends for one in single]) if single else None,
        per_class_p=np.stack([one.p_value for one in single]) if single else None,
        class_ceiling=class_entropies(codes),
        draws=weights @ gains / len(codes) + _training(told, gains, folds, seed, draws),
        null=null - share[codes].mean(),
    )


def _training(
    told: list[Predictions], gains: np.ndarray, folds: np.ndarray, seed: int, draws: int
) -> np.ndarray:
    """(draws, maps): how estimates vary with the training samples, in draws of mean 0.

    With e_b what leaving fold b out of the training changes of the mean over the other folds, the
    jackknife has the variance (FOLDS - 1) / FOLDS sum_b (e_b - <e>)^2. Draw i is the same
    combination of the folds for all maps.

    References:
        B. Efron, C. Stein: The jackknife estimate of variance. Annals of Statistics 9 (1981) 586.
    """
    draw = seeds.generator(seed, "held-out training").standard_normal((draws, FOLDS))
    result = np.zeros((draws, len(told)))
    there = [folds != fold for fold in range(FOLDS)]
    for place, one in enumerate(told):
        if one.without is None:
            continue
        changes = one.without - [gains[rows, place].mean() for rows in there]
        result[:, place] = draw @ (changes - changes.mean()) * np.sqrt((FOLDS - 1) / FOLDS)
    return result


def class_shares(codes: np.ndarray) -> np.ndarray:
    """(classes, n): logarithms of the class shares, what is predicted of a constant response."""
    share = np.log(np.bincount(codes) / len(codes))
    return np.repeat(share[:, None], len(codes), axis=1)


def folds_of(codes: np.ndarray, seed: int) -> np.ndarray:
    """(n,): a fold for each sample; every class is spread over the folds as evenly as it goes."""
    draw = seeds.generator(seed, "folds")
    order = np.concatenate(
        [draw.permutation(np.flatnonzero(codes == code)) for code in range(codes.max() + 1)]
    )
    folds = np.empty(len(codes), int)
    folds[order] = np.arange(len(codes)) % FOLDS
    return folds


def shares(codes: np.ndarray, classes: int) -> np.ndarray:
    """Class shares with half a sample added to each, so that none is 0."""
    counts = np.bincount(codes, minlength=classes) + 0.5
    return counts / counts.sum()


def guarded(odds: np.ndarray, known: np.ndarray, samples: int) -> np.ndarray:
    """Log-probabilities mixed with the class shares as one sample in `samples`.

    A sample far from all others then costs a bounded number of nats, and so does a class that the
    training folds do not hold.
    """
    trust = samples / (samples + 1.0)
    return np.logaddexp(odds + np.log(trust), known[:, None] + np.log(1.0 - trust))


def own_class(odds: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(n,): the log-probability of each sample's own class, from (classes, n)."""
    return odds[codes, np.arange(len(codes))]


def _shuffled(codes: np.ndarray, folds: np.ndarray, samples: MapSamples) -> Iterator[np.ndarray]:
    """Labels (some, n) that are shuffled within their folds, as many as asked for in all."""
    draw = seeds.generator(samples.seed, "held-out null")
    members = [np.flatnonzero(folds == fold) for fold in range(FOLDS)]
    for start in range(0, samples.shuffles, _SHUFFLES_AT_ONCE):
        mixed = np.tile(codes, (min(_SHUFFLES_AT_ONCE, samples.shuffles - start), 1))
        for places in members:
            mixed[:, places] = draw.permuted(mixed[:, places], axis=1)
        yield mixed


def _null(
    parts: list[np.ndarray], single: list[OneVsRest], shuffled: Iterator[np.ndarray]
) -> np.ndarray:
    """(shuffles, maps): mean log-probability of shuffled labels; `single` are told of them, too."""
    columns = np.arange(parts[0].shape[1])
    found = [np.empty((0, len(parts)))]
    for mixed in shuffled:
        means = each(lambda part, mixed=mixed: part[mixed, columns].mean(axis=1), parts)
        each(lambda one, mixed=mixed: one.add(mixed), single)
        found.append(np.stack(means, axis=1))
    return np.concatenate(found)
