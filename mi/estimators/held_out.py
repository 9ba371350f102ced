"""What all held-out predictors share: folds, guarded probabilities, gains, intervals and nulls."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from mi.estimators.base import LabelEstimator
from mi.estimators.map_samples import MapSamples
from mi.estimators.results import MapEstimates
from mi.estimators.threads import each
from mi.labels import class_entropies, label_entropy
from oip.core import seeds

FOLDS = 5
_SHUFFLES_AT_ONCE = 250


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

    def _over_maps(self, samples: MapSamples) -> MapEstimates:
        """See `LabelEstimator._over_maps`; intervals and null as `estimates` has them."""

        def predict(x: np.ndarray, folds: np.ndarray) -> np.ndarray:
            return self._held_out(x, samples.codes, folds, samples.seed)

        return estimates(predict, samples)


Predictor = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""`predict(x, folds)`: log-probabilities (classes, n) of a map's responses x (n, d), those of every
fold from predictors that have not seen the labels of it."""


def estimates(predict: Predictor, samples: MapSamples) -> MapEstimates:
    """H(Y) less the cross-entropy of held-out predictions, of every map.

    Intervals are from a bootstrap of the held-out samples' contributions; nothing is fitted again,
    so that they leave out what another training sample would change. The null shuffles labels
    against the held-out predictions, within each fold.

    Args:
        predict: of one map.
        samples: of all maps.
    """
    codes, seed, draws = samples.codes, samples.seed, samples.draws
    folds = folds_of(codes, seed)
    parts = each(lambda place: predict(samples.responses[:, place], folds), range(samples.maps))
    share = np.log(np.bincount(codes) / len(codes))
    gains = np.stack([own_class(part, codes) - share[codes] for part in parts], axis=1)
    raw = gains.mean(axis=0)
    single = np.full((len(raw), len(parts[0])), np.nan)
    if samples.one_vs_rest:
        single = np.stack([class_gains(part, codes) for part in parts])
    draw = seeds.generator(seed, "held-out draws")
    weights = draw.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), size=draws)
    return MapEstimates(
        raw=raw,
        ceiling=np.full(len(raw), label_entropy(codes)),
        per_class_raw=single,
        class_ceiling=class_entropies(codes),
        draws=weights @ gains / len(codes),
        null=_null(parts, codes, folds, samples.shuffles, seed) - share[codes].mean(),
    )


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


def class_gains(odds: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(classes,): entropy of being of a class or not, less the cross-entropy of its probability."""
    entropies = class_entropies(codes)
    result = np.empty(len(odds))
    for code in range(len(odds)):
        others = np.logaddexp.reduce(np.delete(odds, code, axis=0), axis=0)
        result[code] = entropies[code] + np.where(codes == code, odds[code], others).mean()
    return result


def _null(
    parts: list[np.ndarray], codes: np.ndarray, folds: np.ndarray, shuffles: int, seed: int
) -> np.ndarray:
    """(shuffles, maps): mean log-probability of labels that are shuffled within their folds."""
    draw = seeds.generator(seed, "held-out null")
    members = [np.flatnonzero(folds == fold) for fold in range(FOLDS)]
    result = np.empty((shuffles, len(parts)))
    columns = np.arange(len(codes))
    for start in range(0, shuffles, _SHUFFLES_AT_ONCE):
        count = min(_SHUFFLES_AT_ONCE, shuffles - start)
        mixed = np.tile(codes, (count, 1))
        for places in members:
            mixed[:, places] = draw.permuted(mixed[:, places], axis=1)
        means = each(lambda part, mixed=mixed: part[mixed, columns].mean(axis=1), parts)
        result[start : start + count] = np.stack(means, axis=1)
    return result
