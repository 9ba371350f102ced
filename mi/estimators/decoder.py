"""Usable information: what a decoder, trained on other samples, can tell of the label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mi.estimators import logistic
from mi.estimators.components import principal
from mi.estimators.held_out import FOLDS, HeldOut, class_shares, guarded, own_class, shares
from mi.estimators.settings import check_whole
from oip.core import seeds

VARIANCES = (1.0, 4.0, 16.0, 64.0)
"""Prior variances of the log-odds that the inner folds choose from, besides 0 (class shares)."""
COMPONENTS = 100


@dataclass(frozen=True)
class Decoder(HeldOut):
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

        I(T;Y) >= H(Y) + 1/n sum_i ln q_-i(y_i | t_i), q_-i fitted without the fold of sample i

    Use it for orders of maps where many have to be compared quickly, and where a number has to be a
    bound that anyone can check. Not for what is told by other than linear means, of which it sees
    nothing (`predictive` does), nor as mutual information: it is usable information, and too small.

    Units:
        Nats inside, bits where it is shown. At most H(Y).

    References:
        Y. Xu et al.: A theory of usable information under computational constraints. ICLR 2020.
        D. Barber, F. Agakov: The IM algorithm. NIPS 2003 (the bound).

    Example:
        >>> import numpy as np, mi
        >>> y = np.arange(300) % 2
        >>> x = np.random.default_rng(0).normal(size=300) + 4 * y
        >>> 0.7 < mi.mutual_information(x, y, "decoder").bits <= 1
        True
    """

    name: ClassVar[str] = "decoder"

    components: int = COMPONENTS
    """Most principal components of the response."""

    def __post_init__(self) -> None:
        check_whole("decoder: components", self.components)

    @property
    def parameters(self) -> dict[str, Any]:
        """What the decoder is made of."""
        return {
            "predictor": "logistic",
            "folds": FOLDS,
            "components": self.components,
            "prior_variances": [0.0, *VARIANCES],
        }

    def _held_out(
        self, x: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int
    ) -> np.ndarray:
        """(classes, n): log-probabilities from decoders that have not seen the sample's label."""
        rng = seeds.generator(seed, "decoder projection")
        features = principal(np.asarray(x), self.components, rng)
        onehot = codes == np.arange(codes.max() + 1)[:, None]
        if not features.any():
            return class_shares(codes)
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
            if not there.size:  # fewer samples than folds: the class shares
                continue
            known = np.log(shares(codes[inner[fold]], len(onehot)))
            scores = [known[codes[there]].mean()]
            for place in range(fold * tried, (fold + 1) * tried):
                mixed = guarded(odds[:, place, there], known, inner[fold].sum())
                scores.append(own_class(mixed, codes[there]).mean())
            best[fold] = int(np.argmax(scores))
        fitted = np.flatnonzero(best)
        result = np.empty((len(onehot), len(codes)))
        if fitted.size:
            chosen = np.array(VARIANCES)[best[fitted] - 1]
            weights = logistic.fit(features, onehot, outer[fitted], 1.0 / chosen)
        for fold in range(FOLDS):
            there = ~outer[fold]
            known = np.log(shares(codes[outer[fold]], len(onehot)))
            if best[fold] == 0:
                result[:, there] = known[:, None]
                continue
            place = int(np.searchsorted(fitted, fold))
            odds = logistic.log_probabilities(features[there], weights[:, place : place + 1])
            result[:, there] = guarded(odds[:, 0], known, outer[fold].sum())
        return result
