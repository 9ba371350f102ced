"""Usable information: what a decoder, trained on other samples, can tell of the label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mi.estimators import logistic
from mi.estimators.base import LabelEstimator, MapEstimates
from mi.estimators.threads import each
from mi.labels import class_entropies, label_entropy
from oip.core import seeds
from oip.core.errors import SettingsError, expected

FOLDS = 5
VARIANCES = (1.0, 4.0, 16.0, 64.0)
"""Prior variances of the log-odds that the inner folds choose from, besides 0 (class shares)."""
COMPONENTS = 100
_SHUFFLES_AT_ONCE = 250


@dataclass(frozen=True)
class Decoder(LabelEstimator):
    """H(Y) - held-out cross-entropy of multinomial logistic regression on one map's response.

    A lower bound of I(T;Y) in expectation, whatever the decoder does, as long as a sample's own
    label has no part in its prediction. It may come out under 0 for maps that know nothing, and is
    then shown as 0. A constant response has 0.

    The response is centred and divided by one scale for the map, since its nodes share the kernel's
    unit; up to 100 principal components of it are used. All samples have a part in that, which
    needs no label. The weights have a Gaussian prior; its variance is that of the log-odds of a
    typical sample, so that one small grid serves every number of nodes. For each of 5 folds the
    variance is chosen on a fold of the other four, with the class shares alone as one of the
    choices, and the decoder is fitted again on all four.

    References:
        Y. Xu et al.: A theory of usable information under computational constraints. ICLR 2020.
        D. Barber, F. Agakov: The IM algorithm. NIPS 2003 (the bound).
    """

    name: ClassVar[str] = "decoder"
    name_shown: ClassVar[str] = "usable information (a lower bound)"
    held_out: ClassVar[bool] = True
    cheap_null: ClassVar[bool] = True

    components: int = COMPONENTS
    """Most principal components of the response."""

    def __post_init__(self) -> None:
        if isinstance(self.components, bool) or not isinstance(self.components, int):
            raise SettingsError(expected("decoder: components", "a whole number", self.components))
        if self.components < 1:
            raise SettingsError(expected("decoder: components", "1 or more", self.components))

    @property
    def parameters(self) -> dict[str, Any]:
        """What the decoder is made of."""
        return {
            "predictor": "logistic",
            "folds": FOLDS,
            "components": self.components,
            "prior_variances": [0.0, *VARIANCES],
        }

    def over_maps(
        self, responses: np.ndarray, codes: np.ndarray, seed: int, shuffles: int, draws: int
    ) -> MapEstimates:
        """See `LabelEstimator.over_maps`.

        Intervals are from a bootstrap of the held-out samples' contributions; nothing is fitted
        again, so that they leave out what another training sample would change. The null shuffles
        labels against the held-out predictions, within each fold.
        """
        folds = _folds(codes, seed)
        parts = each(
            lambda place: self._held_out(responses[:, place], codes, folds, seed),
            range(responses.shape[1]),
        )
        share = np.log(np.bincount(codes) / len(codes))
        gains = np.stack([_own(part, codes) - share[codes] for part in parts], axis=1)
        raw = gains.mean(axis=0)
        draw = seeds.generator(seed, "decoder draws")
        weights = draw.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), size=draws)
        null = _null(parts, codes, folds, shuffles, seed) - share[codes].mean()
        drawn = weights @ gains / len(codes)
        return MapEstimates(
            raw=raw,
            ceiling=np.full(len(raw), label_entropy(codes)),
            per_class_raw=np.stack([_one_vs_rest(part, codes) for part in parts]),
            class_ceiling=class_entropies(codes),
            draws=drawn,
            null=null,
        )

    def _held_out(
        self, x: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int
    ) -> np.ndarray:
        """(classes, n): log-probabilities from decoders that have not seen the sample's label."""
        rng = seeds.generator(seed, "decoder projection")
        features = logistic.principal(np.asarray(x), self.components, rng)
        onehot = codes == np.arange(codes.max() + 1)[:, None]
        if not features.any():
            return np.repeat(np.log(onehot.mean(axis=1))[:, None], len(codes), axis=1)
        outer = folds != np.arange(FOLDS)[:, None]
        check = np.roll(np.arange(FOLDS), -1)
        inner = outer & (folds != check[:, None])
        tried = len(VARIANCES)
        weights = logistic.fit(
            features,
            onehot,
            np.repeat(inner, tried, axis=0),
            np.tile(1.0 / np.array(VARIANCES), FOLDS),
        )
        odds = logistic.log_probabilities(features, weights)
        best = np.zeros(FOLDS, int)
        for fold in range(FOLDS):
            there = np.flatnonzero(folds == check[fold])
            known = np.log(_shares(codes[inner[fold]], len(onehot)))
            scores = [known[codes[there]].mean()]
            for place in range(fold * tried, (fold + 1) * tried):
                mixed = _guarded(odds[:, place, there], known, inner[fold].sum())
                scores.append(_own(mixed, codes[there]).mean())
            best[fold] = int(np.argmax(scores))
        fitted = np.flatnonzero(best)
        result = np.empty((len(onehot), len(codes)))
        if fitted.size:
            chosen = np.array(VARIANCES)[best[fitted] - 1]
            weights = logistic.fit(features, onehot, outer[fitted], 1.0 / chosen)
        for fold in range(FOLDS):
            there = ~outer[fold]
            known = np.log(_shares(codes[outer[fold]], len(onehot)))
            if best[fold] == 0:
                result[:, there] = known[:, None]
                continue
            place = int(np.searchsorted(fitted, fold))
            odds = logistic.log_probabilities(features[there], weights[:, place : place + 1])
            result[:, there] = _guarded(odds[:, 0], known, outer[fold].sum())
        return result


def _folds(codes: np.ndarray, seed: int) -> np.ndarray:
    """(n,): a fold for each sample; every class is spread over the folds as evenly as it goes."""
    draw = seeds.generator(seed, "decoder folds")
    order = np.concatenate(
        [draw.permutation(np.flatnonzero(codes == code)) for code in range(codes.max() + 1)]
    )
    folds = np.empty(len(codes), int)
    folds[order] = np.arange(len(codes)) % FOLDS
    return folds


def _shares(codes: np.ndarray, classes: int) -> np.ndarray:
    """Class shares with half a sample added to each, so that none is 0."""
    counts = np.bincount(codes, minlength=classes) + 0.5
    return counts / counts.sum()


def _guarded(odds: np.ndarray, known: np.ndarray, samples: int) -> np.ndarray:
    """Log-probabilities mixed with the class shares as one sample in `samples`.

    A sample far from all others then costs a bounded number of nats, and so does a class that the
    training folds do not hold.
    """
    trust = samples / (samples + 1.0)
    return np.logaddexp(odds + np.log(trust), known[:, None] + np.log(1.0 - trust))


def _own(odds: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(n,): the log-probability of each sample's own class, from (classes, n)."""
    return odds[codes, np.arange(len(codes))]


def _one_vs_rest(odds: np.ndarray, codes: np.ndarray) -> np.ndarray:
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
    draw = seeds.generator(seed, "decoder null")
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
