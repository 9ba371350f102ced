"""Usable information by whatever tells most: a cross-fitted stack of predictors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from mi.estimators import logistic, small_network
from mi.estimators.components import principal
from mi.estimators.held_out import (
    FOLDS,
    HeldOut,
    Predictions,
    class_shares,
    guarded,
    own_class,
    shares,
)
from mi.estimators.settings import check_whole
from mi.gram import median_squared_distance, squared_distances
from oip.core import seeds

VARIANCES = (1.0, 8.0, 64.0)
"""Prior variances of the log-odds, for the logistic members."""
WIDTHS = (0.01, 0.025, 0.06, 0.15)
"""Kernel variances as shares of the median squared distance, for the kernel members."""
NEIGHBOURS = (8, 24, 72)
"""Samples in a neighbourhood, for the neighbour members."""
_PAIRS = tuple(combinations(range(FOLDS), 2))
_ROUNDS = 60
_PRIOR = 0.5


@dataclass(frozen=True)
class Predictive(HeldOut):
    """H(Y) - held-out cross-entropy of a weighted mixture of predictors of one map's response.

    A lower bound of I(T;Y) in expectation, as `decoder`, but not only of what is linear: the
    members are multinomial logistic regressions with three priors, a network of one hidden layer of
    16 units, kernel densities of the classes with four widths, the classes' shares among 8, 24 and
    72 nearest samples, and the class shares alone.

    A fold's predictions come from members that have not seen the labels of the fold, mixed with
    weights that have not seen them either: the weights maximise the likelihood of the labels of the
    other folds, predicted by members that were trained without these in turn. Trained members are
    fitted once for every pair of folds that is left out; those without a fold are averaged. Of the
    kernel and neighbour members every choice of folds is a sum over one matrix.

    The response is reduced to up to 60 principal components on one scale, which needs no label. It
    may come out under 0 for maps that know nothing, and is then shown as 0.

        I(T;Y) >= H(Y) + 1/n sum_i ln sum_m w_m q_m(y_i | t_i), q_m and w_m without the fold of i

    Use it to compare maps whatever their shape; `decoder` is quicker. Not as mutual information: it
    is usable information, and too small, more so with few samples. Not for numbers Y.

    Units:
        Nats inside, bits where it is shown. At most H(Y).

    References:
        Y. Xu et al.: A theory of usable information under computational constraints. ICLR 2020.
        D. H. Wolpert: Stacked generalization. Neural Networks 5 (1992) 241.
        M. J. van der Laan, E. C. Polley, A. E. Hubbard: Super learner. Statistical Applications in
        Genetics and Molecular Biology 6 (2007) 25.

    Example:
        >>> import numpy as np, mi
        >>> y = np.arange(300) % 2
        >>> x = np.random.default_rng(0).normal(size=300) + 4 * y
        >>> 0.7 < mi.mutual_information(x, y, "predictive").bits <= 1
        True
    """

    name: ClassVar[str] = "predictive"

    components: int = 60
    """Most principal components of the response."""

    def __post_init__(self) -> None:
        check_whole("predictive: components", self.components)

    def working_bytes(self, n: int) -> int:
        """See `Estimator.working_bytes`: distances twice, part of them ordered, a kernel."""
        return 24 * n * n

    @property
    def parameters(self) -> dict[str, Any]:
        """What the mixture is made of."""
        return {
            "predictor": "mixture",
            "folds": FOLDS,
            "components": self.components,
            "prior_variances": list(VARIANCES),
            "network_units": small_network.UNITS,
            "network_steps": small_network.STEPS,
            "network_prior_variance": small_network.PRIOR,
            "kernel_variances": list(WIDTHS),
            "neighbours": list(NEIGHBOURS),
        }

    def _held_out(
        self, x: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int
    ) -> np.ndarray:
        """(classes, n): log-probabilities from mixtures that have not seen the sample's label."""
        return self._predictions(x, codes, folds, seed).odds

    def _predictions(
        self, x: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int
    ) -> Predictions:
        """See `HeldOut._predictions`: the members without a fold and another are there."""
        features = principal(
            np.asarray(x), self.components, seeds.generator(seed, "predictive projection")
        )
        if not features.any():
            return Predictions(class_shares(codes))
        members = np.concatenate(
            [
                _trained(features, codes, folds, seed),
                _untrained(features, codes, folds),
            ],
            axis=1,
        )
        result = np.empty((codes.max() + 1, len(codes)))
        without = np.zeros(FOLDS)
        for fold, tried in enumerate(members):
            inside = folds == fold
            known = np.log(shares(codes[~inside], len(result)))
            candidates = [
                guarded(one, known, int((~inside).sum())) for one in tried.astype(np.float64)
            ]
            candidates.append(np.repeat(known[:, None], len(codes), axis=1))
            told = np.exp([own_class(one, codes)[~inside] for one in candidates])
            shared = mixture(told)
            without[fold] = np.log(shared @ told).mean()
            weights = np.log(shared)
            result[:, inside] = np.logaddexp.reduce(
                [weight + one[:, inside] for weight, one in zip(weights, candidates, strict=True)]
            )
        return Predictions(result, without)


def mixture(told: np.ndarray) -> np.ndarray:
    """(members,): weights that maximise the mean log of the mixture's probabilities, sum 1.

    Steps of expectation and maximisation from equal weights, with a prior of half a sample for
    every member, so that none is 0.

    Args:
        told: (members, n) probability that each member gave to what came.
    """
    count, n = told.shape
    weights = np.full(count, 1.0 / count)
    for _ in range(_ROUNDS):
        blamed = weights * (told @ (1.0 / (weights @ told)))
        weights = (blamed + _PRIOR) / (n + _PRIOR * count)
    return weights


def _trained(features: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int) -> np.ndarray:
    """(folds, members, classes, n) log-probabilities of the logistic members and the network.

    Of fold f: for samples in it from fits without f, averaged; for others from the fit without f
    and without their own fold.
    """
    onehot = codes == np.arange(codes.max() + 1)[:, None]
    used = np.stack([(folds != a) & (folds != b) for a, b in _PAIRS])
    tried = len(VARIANCES)
    weights = logistic.fit(
        features,
        onehot,
        np.tile(used, (tried, 1)),
        np.repeat(1.0 / np.array(VARIANCES), len(_PAIRS)),
    )
    odds = logistic.log_probabilities(features, weights).astype(np.float32)
    odds = odds.reshape(len(onehot), tried, len(_PAIRS), len(codes)).transpose(1, 0, 2, 3)
    network = small_network.log_probabilities(features, onehot, used, seed)
    odds = np.concatenate([odds, network[None]])
    result = np.empty((FOLDS, len(odds), len(onehot), len(codes)), np.float32)
    for fold in range(FOLDS):
        fits = {b if a == fold else a: p for p, (a, b) in enumerate(_PAIRS) if fold in (a, b)}
        inside = folds == fold
        without = np.exp(odds[:, :, list(fits.values())][..., inside])
        result[fold][..., inside] = np.log(without.mean(axis=2))
        for other, place in fits.items():
            there = folds == other
            result[fold][..., there] = odds[:, :, place][..., there]
    return result


def _untrained(features: np.ndarray, codes: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """(folds, members, classes, n) log-probabilities of the kernel and neighbour members."""
    n, classes = len(codes), codes.max() + 1
    distances = squared_distances(features)
    middle = median_squared_distance(distances)
    kept = np.zeros((n, FOLDS * classes), np.float32)
    kept[np.arange(n), folds * classes + codes] = 1.0
    counts = np.stack([np.bincount(codes[folds == f], minlength=classes) for f in range(FOLDS)])
    np.fill_diagonal(distances, np.inf)
    small = distances.astype(np.float32)
    del distances
    counted = [k for k in NEIGHBOURS if k < n - 1] or [n - 1]
    reached = np.partition(small, [k - 1 for k in counted], axis=1)[:, [k - 1 for k in counted]]
    nearest = small.min(axis=1, keepdims=True)

    def kernels() -> Iterator[np.ndarray]:
        """(n, n) each, one after the other: they are large."""
        for farthest in reached.T:
            yield (small <= farthest[:, None]).astype(np.float32)
        for width in WIDTHS:
            # Every row is scaled so that its nearest sample counts 1: only ratios matter.
            yield np.exp((small - nearest) / np.float32(-2 * width * middle))

    result = np.empty((FOLDS, len(counted) + len(WIDTHS), classes, n), np.float32)
    own, own_fold = np.arange(n), np.arange(FOLDS)[:, None]
    for place, kernel in enumerate(kernels()):
        sums = (kernel @ kept).reshape(n, FOLDS, classes).astype(np.float64)
        others = sums.sum(axis=1) - sums[own, folds]
        for fold in range(FOLDS):
            left = others - np.where((folds == fold)[:, None], 0.0, sums[:, fold])
            known = counts.sum(axis=0) - counts - np.where(own_fold == fold, 0, counts[fold])
            known = (known + 0.5) / (known + 0.5).sum(axis=1, keepdims=True)
            # One more sample that is of every class as often as those that are seen.
            left = np.maximum(left, 0.0) + known[folds]
            result[fold, place] = np.log(left / left.sum(axis=1, keepdims=True)).T
    return result
