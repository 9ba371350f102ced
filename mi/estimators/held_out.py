"""Bounds from held-out predictions: the gain of a predictor of the label over class shares."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import ClassVar, NamedTuple

import numpy as np

from oip.core import seeds
from oip.core.checks import check_whole
from oip.core.records import Parameters
from oip.mi.backend import thread_map
from oip.mi.estimators import batch_classifiers
from oip.mi.estimators.base import LabelEstimator
from oip.mi.estimators.batch_classifiers import FOLDS, Arrangement, drawn_in
from oip.mi.estimators.gram import (
    median_squared_distance,
    principal_components,
    squared_distances,
)
from oip.mi.estimators.results import LabelledResponses, MapEstimates, interval_ends
from oip.mi.permutation_test import TIE
from oip.mi.validation import class_entropies, label_entropy

_SHUFFLES_AT_ONCE = 250


@dataclass(frozen=True, eq=False)
class Predictions:
    """Held-out predictions of the label from one map."""

    odds: np.ndarray
    """(classes, n): log-probabilities, those of a fold from a fit without its labels."""
    without: np.ndarray | None = None
    """(FOLDS,): mean log-probability of the labels outside a fold, from fits without the fold and
    without the sample's own; None where nothing is fitted without two folds."""


class HeldOut(LabelEstimator):
    """H(Y) - held-out cross-entropy of a predictor of one map's response."""

    name_shown: ClassVar[str] = "usable information (a lower bound)"
    shuffles: ClassVar[int] = 1000
    resamples: ClassVar[int] = 200
    spread: ClassVar[float] = 1.15
    null_width: ClassVar[float] = 1.0
    """Deviation of the null over that of labels shuffled against fixed predictions.

    A chance agreement of two folds counts twice in the estimate: the first fold's labels gain in
    the second, and the second's in the first. Shuffles against fixed predictions draw each gain
    alone, which for a predictor that follows its training labels closely makes their sum up to
    sqrt(2) too narrow, and hardly for one that falls back on the class shares. Measured against
    fits to shuffled labels, n 100 to 1000, d 1 and 5: `tests/benchmarks/README.md`."""
    components: int

    def predict(
        self, x: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int
    ) -> Predictions:
        """Predict the label of every sample without the labels of its fold.

        Args:
            x: (n, d) responses of one map; reduced to its principal components.
            codes: (n,) int, the labels.
            folds: (n,) int, 0 to 4.
            seed: of random draws.
        """
        rng = seeds.generator(seed, f"{self.name} projection")
        arrangement = Arrangement.of(x, codes, seed)
        order = arrangement.order
        features = principal_components(drawn_in(np.asarray(x)[order]), self.components, rng)
        if not features.any():
            return Predictions(class_shares(codes))
        predictions = self._predict(features, arrangement.codes, folds[order], seed)
        odds = np.empty_like(predictions.odds)
        odds[arrangement.classes[:, None], order] = predictions.odds
        return Predictions(odds, predictions.without)

    @abstractmethod
    def _predict(
        self, features: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int
    ) -> Predictions:
        """Do `predict` from principal components (n, r) that are not constant."""

    def _over_maps(self, samples: LabelledResponses) -> MapEstimates:
        """See `LabelEstimator._over_maps`.

        Intervals are from a bootstrap of the held-out samples' contributions, to which is added the
        change by another training sample: the jackknife of five groups, of the estimates that leave
        one fold out altogether. The null shuffles labels against the held-out predictions, within
        each fold, and is as wide as if each shuffle were fitted again: see `null_width`.
        """
        given, seed, draws, n = samples.codes, samples.seed, samples.draws, len(samples.codes)

        def arranged_predictions(index: int) -> tuple[Arrangement, Predictions]:
            x = samples.responses[:, index]
            arrangement = Arrangement.of(x, given, seed)
            predictions = self.predict(x, given, arrangement.folds, seed)
            odds = predictions.odds[arrangement.classes[:, None], arrangement.order]
            return arrangement, replace(predictions, odds=odds)

        pairs = thread_map(arranged_predictions, range(samples.maps), self.working_bytes(n))
        arrangements, predictions = zip(*pairs, strict=True)
        # Samples and classes are from here on in each map's own order, in which labels and folds
        # are the same for all maps.
        codes, folds = arrangements[0].codes, np.arange(n) % FOLDS
        odds = [of_map.odds for of_map in predictions]
        share = np.log(np.bincount(codes) / n)
        gains = np.stack([own_class(of_map, codes) - share[codes] for of_map in odds], axis=1)
        raw = gains.mean(axis=0)
        draw = seeds.generator(seed, "held-out draws")
        weights = draw.multinomial(n, np.full(n, 1 / n), size=draws)
        drawn = [
            weights[:, of_map.order] @ gains[:, index] / n
            for index, of_map in enumerate(arrangements)
        ]
        single = thread_map(
            lambda pair: OneVsRest(
                pair[0], codes, folds, weights[:, pair[1].order], self.null_width
            ),
            list(zip(odds, arrangements, strict=True)) if samples.one_vs_rest else (),
        )
        class_rows = [np.argsort(of_map.classes) for of_map in arrangements]

        def of_classes(name: str) -> np.ndarray:
            """Return an attribute (classes, ...) of all maps, the classes in the order given."""
            pairs = zip(single, class_rows, strict=True)
            return np.stack([getattr(of_map, name)[rows] for of_map, rows in pairs])

        null = _null(odds, single, _shuffled(codes, folds, samples))
        by_fold = shares_by_fold(codes, folds)
        middle = np.array([(of_map * by_fold).sum(axis=0).mean() for of_map in odds])
        null = middle + self.null_width * (null - middle)
        unknown = np.full((len(raw), len(odds[0])), np.nan)
        return MapEstimates(
            raw=raw,
            ceiling=np.full(len(raw), label_entropy(codes)),
            per_class_raw=of_classes("raw") if single else unknown,
            per_class_ends=of_classes("ends") if single else None,
            per_class_p=of_classes("p_value") if single else None,
            class_ceiling=class_entropies(given),
            draws=np.stack(drawn, axis=1) + _training(predictions, gains, folds, seed, draws),
            null=null - share[codes].mean(),
        )


class OneVsRest:
    """The predictions of one map, one class against the rest.

    The value is the entropy of being of a class or not, less the cross-entropy of its probability.
    The interval leaves out the change by another training sample.
    """

    def __init__(
        self,
        odds: np.ndarray,
        codes: np.ndarray,
        folds: np.ndarray,
        weights: np.ndarray,
        null_width: float = 1.0,
    ):
        """Take log-probabilities (classes, n), labels and folds (n,), and weights (draws, n)."""
        classes, n = odds.shape
        rest = np.stack(
            [np.logaddexp.reduce(np.delete(odds, c, axis=0), axis=0) for c in range(classes)]
        )
        entropies = class_entropies(codes)
        gains = np.where(codes == np.arange(classes)[:, None], odds, rest) + entropies[:, None]
        self.raw = gains.mean(axis=1)
        """(classes,)"""
        self.ends = interval_ends(self.raw, weights @ gains.T / n)
        """(classes, 2): ends of the 95 % intervals, NaN without draws."""
        self._none = entropies + rest.mean(axis=1)
        self.more = (odds - rest) / n
        """(classes, n): what a sample adds to a value if it is of the class."""
        middle = self._none + (self.more * shares_by_fold(codes, folds)).sum(axis=1)
        self._reaches = middle + (self.raw - middle) / null_width - TIE
        """(classes,): the sum of a shuffle that is as large, in the widened null, as the value."""
        self._reached = np.zeros(classes)
        self._shuffles = 0

    def add(self, sums: np.ndarray) -> None:
        """Compare the values with those of shuffled labels: sums of `more` (shuffles, classes)."""
        self._reached += (self._none + sums >= self._reaches).sum(axis=0)
        self._shuffles += len(sums)

    @property
    def p_value(self) -> np.ndarray:
        """(classes,): one-sided, against the map's own shuffles; NaN without any."""
        if not self._shuffles:
            return np.full(len(self.raw), np.nan)
        return (1 + self._reached) / (1 + self._shuffles)


def _training(
    predictions: Sequence[Predictions], gains: np.ndarray, folds: np.ndarray, seed: int, draws: int
) -> np.ndarray:
    """Return how estimates vary with the training samples, in draws (draws, maps) of mean 0.

    With e_b the change of the mean over the other folds by leaving fold b out of the training, the
    jackknife has the variance (FOLDS - 1) / FOLDS sum_b (e_b - <e>)^2 (Efron and Stein, 1981). Draw
    i is the same combination of the folds for all maps.
    """
    draw = seeds.generator(seed, "held-out training").standard_normal((draws, FOLDS))
    result = np.zeros((draws, len(predictions)))
    outside = [folds != fold for fold in range(FOLDS)]
    for index, of_map in enumerate(predictions):
        if of_map.without is None:
            continue
        changes = of_map.without - [gains[rows, index].mean() for rows in outside]
        result[:, index] = draw @ (changes - changes.mean()) * np.sqrt((FOLDS - 1) / FOLDS)
    return result


def _shuffled(
    codes: np.ndarray, folds: np.ndarray, samples: LabelledResponses
) -> Iterator[np.ndarray]:
    """Yield labels (some, n) that are shuffled within their folds, `samples.shuffles` in all."""
    draw = seeds.generator(samples.seed, "held-out null")
    members = [np.flatnonzero(folds == fold) for fold in range(FOLDS)]
    for start in range(0, samples.shuffles, _SHUFFLES_AT_ONCE):
        mixed = np.tile(codes, (min(_SHUFFLES_AT_ONCE, samples.shuffles - start), 1))
        for indices in members:
            mixed[:, indices] = draw.permuted(mixed[:, indices], axis=1)
        yield mixed


def _null(
    odds: list[np.ndarray], single: list[OneVsRest], shuffled: Iterator[np.ndarray]
) -> np.ndarray:
    """Return the mean log-probability (shuffles, maps) of shuffled labels; add them to `single`."""
    step = max(1, _MAP_BYTES // odds[0].nbytes)
    groups = [slice(start, start + step) for start in range(0, len(odds), step)]
    parts = [np.empty((0, len(odds)))]
    for mixed in shuffled:

        def of_group(maps: slice, mixed: np.ndarray = mixed) -> np.ndarray:
            if single:
                sums = label_sums(mixed, [of_map.more for of_map in single[maps]])
                for index, of_map in enumerate(single[maps]):
                    of_map.add(sums[..., index])
            return label_sums(mixed, odds[maps]).sum(axis=1) / mixed.shape[1]

        parts.append(np.concatenate(thread_map(of_group, groups), axis=1))
    return np.concatenate(parts)


def label_sums(labels: np.ndarray, values: Sequence[np.ndarray]) -> np.ndarray:
    """Return sums over the samples of each class of their values for it.

    Args:
        labels: (shuffles, n) int.
        values: (classes, n) of every map.

    Returns:
        (shuffles, classes, maps)
    """
    from scipy.sparse import csr_array

    shuffles, n = labels.shape
    classes = len(values[0])
    rows = np.arange(shuffles)[:, None] * classes + labels
    columns = labels * n + np.arange(n)
    shape = shuffles * classes, classes * n
    members = csr_array((np.ones(labels.size), (rows.ravel(), columns.ravel())), shape=shape)
    sums = members @ np.stack([of_map.ravel() for of_map in values], axis=1)
    return sums.reshape(shuffles, classes, len(values))


def class_shares(codes: np.ndarray) -> np.ndarray:
    """Return logarithms of the class shares (classes, n): the prediction of a constant response."""
    share = np.log(np.bincount(codes) / len(codes))
    return np.repeat(share[:, None], len(codes), axis=1)


def shares_by_fold(codes: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return for every class and sample (classes, n) the share of the class in the sample's fold.

    It is the probability that the sample has the class when labels are shuffled within folds.
    """
    counts = np.zeros((codes.max() + 1, FOLDS))
    np.add.at(counts, (codes, folds), 1.0)
    return (counts / np.maximum(counts.sum(axis=0), 1.0))[:, folds]


def shares(codes: np.ndarray, classes: int) -> np.ndarray:
    """Return class shares with half a sample added to each, so that none is 0."""
    counts = np.bincount(codes, minlength=classes) + 0.5
    return counts / counts.sum()


def guarded(odds: np.ndarray, log_shares: np.ndarray, samples: int) -> np.ndarray:
    """Return log-probabilities mixed with the class shares as one sample in `samples`.

    A sample far from all others then costs a bounded number of nats, and so does a class that the
    training folds do not contain.
    """
    trust = samples / (samples + 1.0)
    return np.logaddexp(odds + np.log(trust), log_shares[:, None] + np.log(1.0 - trust))


def own_class(odds: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the log-probability (n,) of each sample's own class, from (classes, n)."""
    return odds[codes, np.arange(len(codes))]


DECODER_VARIANCES = (1.0, 4.0, 16.0, 64.0)
"""Prior variances of the log-odds that the inner folds choose from, besides 0 (class shares)."""
_REFITTED = 15
"""Over n, what other fits add to the spread; measured from n = 100 to 1,000."""


@dataclass(frozen=True)
class Decoder(HeldOut):
    """H(Y) - held-out cross-entropy of multinomial logistic regression on one map's response.

    A lower bound of I(T;Y) in expectation, whatever the decoder does, as long as a sample's own
    label has no part in its prediction. It may be under 0 for maps without information, and is then
    shown as 0. A constant response has 0.

    Up to 100 principal components of the response are used, on one scale, since its nodes share the
    kernel's unit. The weights have a Gaussian prior; its variance is that of the log-odds of a
    typical sample, so that one small grid serves every number of nodes. For each of 5 folds the
    variance is chosen on a fold of the other four, with the class shares alone as one of the
    choices, and the decoder is fitted again on all four.

        I(T;Y) >= H(Y) + 1/n sum_i ln q_-i(y_i | t_i), q_-i fitted without the fold of sample i

    Use it for orders of maps where many have to be compared quickly, and where a number has to be a
    bound that anyone can check. Not for information that is not linear, which it misses
    (`predictive` does not), nor as mutual information: it is usable information, and too small.

    Units:
        Nats inside, bits where it is shown. At most H(Y).

    References:
        Y. Xu et al.: A theory of usable information under computational constraints. ICLR 2020.
        D. Barber, F. Agakov: The IM algorithm. NIPS 2003 (the bound).

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> y = np.arange(300) % 2
        >>> x = np.random.default_rng(0).normal(size=300) + 4 * y
        >>> 0.7 < mi.mutual_information(x, y, "decoder").bits <= 1
        True
    """

    name: ClassVar[str] = "decoder"

    components: int = 100
    """Most principal components of the response."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("decoder: components", self.components)

    def spread_at(self, n: int, d: int) -> float:
        """See `Estimator.spread_at`: with few samples other fits move the estimate, too."""
        return self.spread * (1 + _REFITTED / n)

    @property
    def parameters(self) -> Parameters:
        """The parts of the decoder."""
        return {
            "predictor": "logistic",
            "folds": FOLDS,
            "components": self.components,
            "prior_variances": [0.0, *DECODER_VARIANCES],
        }

    def _predict(
        self, features: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int
    ) -> Predictions:
        onehot = codes == np.arange(codes.max() + 1)[:, None]
        outer = folds != np.arange(FOLDS)[:, None]
        check = np.roll(np.arange(FOLDS), -1)
        inner = outer & (folds != check[:, None])
        variances = np.array(DECODER_VARIANCES)
        weights = batch_classifiers.fit_logistic(
            features, onehot, inner, np.tile(1.0 / variances, (FOLDS, 1))
        )
        odds = batch_classifiers.logistic_log_probabilities(features, weights)
        best = np.zeros(FOLDS, int)  # the chosen variance of each fold, from 1; 0: class shares
        for fold in range(FOLDS):
            checked = np.flatnonzero(folds == check[fold])
            if not checked.size:  # fewer samples than folds: the class shares
                continue
            log_shares = np.log(shares(codes[inner[fold]], len(onehot)))
            scores = [log_shares[codes[checked]].mean()]
            for of_variance in odds[fold]:
                mixed = guarded(of_variance[:, checked], log_shares, inner[fold].sum())
                scores.append(own_class(mixed, codes[checked]).mean())
            best[fold] = int(np.argmax(scores))
        fitted = np.flatnonzero(best)
        result = np.empty((len(onehot), len(codes)))
        if fitted.size:
            weights = batch_classifiers.fit_logistic(
                features, onehot, outer[fitted], 1.0 / variances[best[fitted] - 1, None]
            )
        for fold in range(FOLDS):
            inside = ~outer[fold]
            log_shares = np.log(shares(codes[outer[fold]], len(onehot)))
            if best[fold] == 0:
                result[:, inside] = log_shares[:, None]
                continue
            fit = int(np.searchsorted(fitted, fold))
            odds = batch_classifiers.logistic_log_probabilities(features[inside], weights[fit, 0])
            result[:, inside] = guarded(odds, log_shares, outer[fold].sum())
        return Predictions(result)


MEMBER_VARIANCES = (1.0, 8.0, 64.0)
"""Prior variances of the log-odds, for the logistic members."""
WIDTHS = (0.01, 0.025, 0.06, 0.15)
"""Kernel variances as shares of the median squared distance, for the kernel members."""
NEIGHBORS = (8, 24, 72)
"""Samples in a neighborhood, for the neighbor members."""
LEADING, LEADING_NEIGHBORS = (1, 3), (8, 24)
"""Leading components, and samples in a neighborhood along them alone."""
_PAIRS = tuple(combinations(range(FOLDS), 2))
_ROUNDS = 60
_KERNEL_BYTES, _MAP_BYTES = 1 << 19, 8 << 20
"""Of a kernel of some samples, and of values of some maps, that are worked on at once."""
_PRIOR = 0.5


@dataclass(frozen=True)
class Predictive(HeldOut):
    """H(Y) - held-out cross-entropy of a weighted mixture of predictors of one map's response.

    A lower bound of I(T;Y) in expectation, as `decoder`, but also of what is not linear: the
    members are multinomial logistic regressions with three priors, a network of one hidden layer of
    16 units, kernel densities of the classes with four widths, the classes' shares among 8, 24 and
    72 nearest samples, among 8 and 24 along the first and along the three leading principal
    components alone, and the class shares alone.

    A fold's predictions come from members that were fitted without the labels of the fold, mixed
    with weights that were, too: the weights maximize the likelihood of the labels of the other
    folds, predicted by members that were trained without these in turn. Trained members are fitted
    once for every pair of folds that is left out; those without a fold are averaged. The response
    is reduced to up to 60 principal components on one scale. The value may be under 0 for maps
    without information, and is then shown as 0.

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
        >>> import numpy as np
        >>> from oip import mi
        >>> y = np.arange(300) % 2
        >>> x = np.random.default_rng(0).normal(size=300) + 4 * y
        >>> 0.7 < mi.mutual_information(x, y, "predictive").bits <= 1
        True
    """

    name: ClassVar[str] = "predictive"
    null_width: ClassVar[float] = 1.3

    components: int = 60
    """Most principal components of the response."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("predictive: components", self.components)

    def working_bytes(self, n: int) -> int:
        """See `Estimator.working_bytes`: distances twice, part of them ordered, a kernel."""
        return 24 * n * n

    @property
    def parameters(self) -> Parameters:
        """The parts of the mixture."""
        return {
            "predictor": "mixture",
            "folds": FOLDS,
            "components": self.components,
            "prior_variances": list(MEMBER_VARIANCES),
            "network_units": batch_classifiers.UNITS,
            "network_steps": batch_classifiers.STEPS,
            "network_prior_variance": batch_classifiers.PRIOR,
            "kernel_variances": list(WIDTHS),
            "neighbours": list(NEIGHBORS),
            "leading_components": list(LEADING),
            "leading_neighbours": list(LEADING_NEIGHBORS),
        }

    def _predict(
        self, features: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int
    ) -> Predictions:
        groups = (
            _trained_members(features, codes, folds, seed),
            untrained_members(features, codes, folds),
        )
        every = np.concatenate([members.every for members in groups])
        own = np.concatenate([members.own for members in groups], axis=1)
        result = np.empty(every.shape[1:])
        without = np.zeros(FOLDS)
        for fold in range(FOLDS):
            inside = folds == fold
            outside = codes[~inside]
            share = shares(outside, len(result))
            trust = outside.size / (outside.size + 1.0)  # see `guarded`
            alone = np.concatenate(
                [trust * own[fold][:, ~inside] + (1 - trust) * share[outside], [share[outside]]]
            )
            weights = mixture(alone)
            without[fold] = np.log(weights @ alone).mean()
            mixed = np.tensordot(weights[:-1], every[..., inside].astype(np.float64), 1)
            rest = (1 - trust) * weights[:-1].sum() + weights[-1]
            result[:, inside] = np.log(trust * mixed + rest * share[:, None])
        return Predictions(result, without)


class Members(NamedTuple):
    """Probabilities by several predictors, each without the labels of the fold in question."""

    every: np.ndarray
    """(members, classes, n): of every class, without the labels of the sample's own fold."""
    own: np.ndarray
    """(FOLDS, members, n): of the sample's own class, without the labels of this fold and of the
    sample's own."""


def mixture(probabilities: np.ndarray) -> np.ndarray:
    """Return weights (members,) that maximize the mean log of the mixture's probabilities, sum 1.

    From probabilities (members, n) of each sample's own class, by steps of expectation and
    maximization from equal weights. A prior of half a sample a member leaves none at 0.
    """
    count, n = probabilities.shape
    weights = np.full(count, 1.0 / count)
    for _ in range(_ROUNDS):
        responsible = weights * (probabilities @ (1.0 / (weights @ probabilities)))
        weights = (responsible + _PRIOR) / (n + _PRIOR * count)
    return weights


def _trained_members(
    features: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int
) -> Members:
    """Return probabilities by the logistic members and the network.

    They are fitted without each pair of folds. Without one fold: the mean over its pairs.
    """
    onehot = codes == np.arange(codes.max() + 1)[:, None]
    used = np.stack([(folds != a) & (folds != b) for a, b in _PAIRS])
    penalties = np.tile(1.0 / np.array(MEMBER_VARIANCES), (len(_PAIRS), 1))
    weights = batch_classifiers.fit_logistic(features, onehot, used, penalties)
    network = batch_classifiers.network_log_probabilities(features, onehot, used, seed)
    count = len(MEMBER_VARIANCES) + 1
    every = np.zeros((count, *onehot.shape), np.float32)
    own = np.zeros((FOLDS, count, len(codes)), np.float32)
    for pair, fit, odds in zip(_PAIRS, weights, network, strict=True):
        for fold, other in (pair, pair[::-1]):
            rows = np.flatnonzero(folds == fold)
            logs = batch_classifiers.logistic_log_probabilities(features[rows], fit)
            members = np.exp([*logs, odds[:, rows]])
            every[..., rows] += members / (FOLDS - 1)
            own[other][:, rows] = members[:, codes[rows], np.arange(len(rows))]
    return Members(every, own)


def untrained_members(features: np.ndarray, codes: np.ndarray, folds: np.ndarray) -> Members:
    """Return probabilities by the neighbor and kernel members.

    Those of all components are followed by neighbors along the leading ones alone.
    """
    sums = [_class_sums(features, codes, folds, NEIGHBORS, WIDTHS)]
    for count in LEADING:
        if count < features.shape[1]:
            leading = features[:, :count]
            sums.append(_class_sums(leading, codes, folds, LEADING_NEIGHBORS, ()))
    return _members_of_sums(np.concatenate(sums), codes, folds)


def _class_sums(
    features: np.ndarray,
    codes: np.ndarray,
    folds: np.ndarray,
    neighbors: Sequence[int],
    widths: Sequence[float],
) -> np.ndarray:
    """Return how much of each class in each fold is near a sample, (members, n, FOLDS, classes)."""
    n, classes = len(codes), codes.max() + 1
    squares = squared_distances(features)
    middle = median_squared_distance(squares) if widths else 1.0
    np.fill_diagonal(squares, np.inf)
    distances = squares.astype(np.float32)
    del squares
    neighbors = [k for k in neighbors if k < n - 1] or [n - 1]
    onehot = np.zeros((n, FOLDS * classes), np.float32)
    label = folds * classes + codes
    onehot[np.arange(n), label] = 1.0
    sums = np.empty((len(neighbors) + len(widths), n, FOLDS, classes), np.float32)
    step = max(1, _KERNEL_BYTES // (4 * n))
    for start in range(0, n, step):
        block = distances[start : start + step]
        near = np.sort(np.partition(block, neighbors[-1] - 1, axis=1)[:, : neighbors[-1]], axis=1)
        row, column = np.divmod(np.flatnonzero(block <= near[:, -1:]), n)
        values, classes_of = block[row, column], row * onehot.shape[1] + label[column]
        for member, k in enumerate(neighbors):
            inside = classes_of[values <= near[row, k - 1]]
            counted = np.bincount(inside, minlength=block.shape[0] * onehot.shape[1])
            sums[member, start : start + step] = counted.reshape(-1, FOLDS, classes)
        # Every row is scaled so that its nearest sample counts 1: only ratios matter.
        block -= near[:, :1]
        for member, width in enumerate(widths, len(neighbors)):
            kernel = np.exp(block * np.float32(-0.5 / (width * middle)))
            sums[member, start : start + step] = (kernel @ onehot).reshape(-1, FOLDS, classes)
    return sums


def _members_of_sums(sums: np.ndarray, codes: np.ndarray, folds: np.ndarray) -> Members:
    """Return shares of the classes, from their sums (members, n, FOLDS, classes) in each fold.

    One more sample counts that is of every class as often as those that are used.
    """
    members, n, _, classes = sums.shape
    rows = np.arange(n)
    counts = np.stack([np.bincount(codes[folds == f], minlength=classes) for f in range(FOLDS)])
    left = sums.sum(axis=2) - sums[:, rows, folds]
    total = left.sum(axis=2)
    own = np.empty((FOLDS, members, n))
    for fold in range(FOLDS):
        used = np.maximum(counts.sum(axis=0) - counts - counts[fold], 0) + 0.5
        added = (used / used.sum(axis=1, keepdims=True))[folds, codes]
        part = sums[:, :, fold]
        reached = np.maximum(left[:, rows, codes] - part[:, rows, codes], 0.0) + added
        own[fold] = reached / (np.maximum(total - part.sum(axis=2), 0.0) + 1.0)
    used = counts.sum(axis=0) - counts + 0.5
    every = np.maximum(left, 0.0) + (used / used.sum(axis=1, keepdims=True))[folds]
    every /= every.sum(axis=2, keepdims=True)
    return Members(every.transpose(0, 2, 1).astype(np.float32), own.astype(np.float32))
