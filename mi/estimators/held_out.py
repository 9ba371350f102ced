"""Bounds from held-out predictions: the gain of a predictor of the label over class shares."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from oip.core import seeds
from oip.core.checks import check_whole
from oip.core.records import Parameters
from oip.mi.backend import thread_map
from oip.mi.estimators import batch_classifiers
from oip.mi.estimators.base import LabelEstimator
from oip.mi.estimators.batch_classifiers import FOLDS, Arrangement, drawn_in, mixtures
from oip.mi.estimators.gram import principal_components
from oip.mi.estimators.results import LabelledResponses, MapEstimates, interval_ends
from oip.mi.permutation_test import TIE
from oip.mi.validation import class_entropies, label_entropy

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_SHUFFLES_AT_ONCE = 250
_KEPT_DRAWS = 1 << 22
"""Samples of all shuffles or draws up to which they are kept."""


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
    """Deviation of estimates of new samples over that of the draws of one; measured."""
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
        arrangement = Arrangement.of(x, codes, seed)
        predictions = self.arranged(x, arrangement, folds[arrangement.order], seed)
        odds = np.empty_like(predictions.odds)
        odds[arrangement.classes[:, None], arrangement.order] = predictions.odds
        return replace(predictions, odds=odds)

    def arranged(
        self, x: np.ndarray, arrangement: Arrangement, folds: np.ndarray, seed: int
    ) -> Predictions:
        """Do `predict` with samples, folds and classes in an arrangement of them."""
        rng = seeds.generator(seed, f"{self.name} projection")
        features = drawn_in(np.asarray(x)[arrangement.order])
        features = principal_components(features, self.components, rng)
        if not features.any():
            return Predictions(class_shares(arrangement.codes))
        return self._predict(features, arrangement.codes, folds, seed)

    def spread_at(self, n: int) -> float:
        """Return `spread` for n samples."""
        return self.spread

    @abstractmethod
    def _predict(
        self, features: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int
    ) -> Predictions:
        """Do `predict` from principal components (n, r) that are not constant."""

    def _map_estimates(self, samples: LabelledResponses) -> MapEstimates:
        """See `LabelEstimator._map_estimates`.

        Intervals are from a bootstrap of the held-out samples' contributions, to which is added the
        change by another training sample: the jackknife of five groups, of the estimates that leave
        one fold out altogether. The null shuffles labels against the held-out predictions, within
        each fold, and is as wide as if each shuffle were fitted again: see `null_width`.
        """
        labels, seed, draws, n = samples.codes, samples.seed, samples.draws, len(samples.codes)
        folds = np.arange(n) % FOLDS

        def arranged_predictions(index: int) -> tuple[Arrangement, Predictions]:
            x = samples.responses[:, index]
            arrangement = Arrangement.of(x, labels, seed)
            return arrangement, self.arranged(x, arrangement, folds, seed)

        pairs = thread_map(arranged_predictions, range(samples.maps), self.working_bytes(n))
        arrangements, predictions = zip(*pairs, strict=True)
        # Samples and classes are from here on in each map's own order, in which labels and folds
        # are the same for all maps.
        codes = arrangements[0].codes
        odds = [of_map.odds for of_map in predictions]
        share = np.log(np.bincount(codes) / n)
        gains = np.stack([own_class(of_map, codes) - share[codes] for of_map in odds], axis=1)
        raw = gains.mean(axis=0)
        weights, shuffled = _resamples(codes, samples)
        as_given = np.empty_like(gains)
        for index, of_map in enumerate(arrangements):
            as_given[of_map.order, index] = gains[:, index]
        single = thread_map(
            lambda pair: OneVsRest(pair[0], codes, folds, weights, self.null_width, pair[1].order),
            list(zip(odds, arrangements, strict=True)) if samples.one_vs_rest else (),
        )
        class_rows = [np.argsort(of_map.classes) for of_map in arrangements]

        def of_classes(name: str) -> np.ndarray:
            """Return an attribute (classes, ...) of all maps, the classes in the order given."""
            pairs = zip(single, class_rows, strict=True)
            return np.stack([getattr(of_map, name)[rows] for of_map, rows in pairs])

        null = _null(odds, single, shuffled)
        by_fold = shares_by_fold(codes, folds)
        middle = np.array([(of_map * by_fold).sum(axis=0).mean() for of_map in odds])
        null = middle + self.null_width * (null - middle)
        unknown = np.full((len(raw), len(odds[0])), np.nan)
        training = _training(predictions, gains, folds, seed, draws)
        estimates = MapEstimates(
            raw=raw,
            ceiling=np.full(len(raw), label_entropy(codes)),
            per_class_raw=of_classes("raw") if single else unknown,
            per_class_ends=of_classes("ends") if single else None,
            per_class_p=of_classes("p_value") if single else None,
            class_ceiling=class_entropies(labels),
            draws=weights @ as_given / n + training,
            null=null - share[codes].mean(),
        )
        return estimates.widened(self.spread_at(n))


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
        order: np.ndarray | slice = slice(None),
    ):
        """Take log-probabilities (classes, n), labels and folds (n,), and weights (draws, n).

        Weights are of samples in another order, in which those of the others are at `order` (n,).
        """
        classes, n = odds.shape
        shares = np.exp(odds)
        other_odds = np.log(np.maximum(shares.sum(axis=0) - shares, np.finfo(float).tiny))
        entropies = class_entropies(codes)
        # Over the share of the class or of the rest, not over the entropy: the same mean, but drawn
        # samples of a class more often make it less of a surprise, too.
        share = np.bincount(codes, minlength=classes)[:, None] / n
        with np.errstate(divide="ignore"):
            gain, gain_of_rest = odds - np.log(share), other_odds - np.log1p(-share)
        gains = np.where(codes == np.arange(classes)[:, None], gain, gain_of_rest)
        self.raw = gains.mean(axis=1)
        """(classes,)"""
        sorted_gains = np.empty_like(gains.T)
        sorted_gains[order] = gains.T
        self.ends = interval_ends(self.raw, weights @ sorted_gains / n)
        """(classes, 2): ends of the 95 % intervals, NaN without draws."""
        self._other_gains = entropies + other_odds.mean(axis=1)
        self.contributions = (odds - other_odds) / n
        """(classes, n): what a sample adds to a value if it is of the class."""
        middle = self._other_gains + (self.contributions * shares_by_fold(codes, folds)).sum(axis=1)
        self._reaches = middle + (self.raw - middle) / null_width - TIE
        """(classes,): the sum of a shuffle that is as large, in the widened null, as the value."""
        self._reached = np.zeros(classes)
        self._shuffles = 0

    def add(self, sums: np.ndarray) -> None:
        """Compare the values with those of shuffled labels: sums of `more` (shuffles, classes)."""
        self._reached += (self._other_gains + sums >= self._reaches).sum(axis=0)
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
    training_rows = [folds != fold for fold in range(FOLDS)]
    for index, of_map in enumerate(predictions):
        if of_map.without is None:
            continue
        changes = of_map.without - [gains[rows, index].mean() for rows in training_rows]
        result[:, index] = draw @ (changes - changes.mean()) * np.sqrt((FOLDS - 1) / FOLDS)
    return result


def _resamples(
    codes: np.ndarray, samples: LabelledResponses
) -> tuple[np.ndarray, tuple[csr_array, ...]]:
    """Return how often each draw has a sample (draws, n), and labels shuffled within the folds.

    The latter are in parts, see `label_members`. They are kept for the next maps of a layer, as
    long as that takes little memory.
    """
    arguments = (codes.tobytes(), codes.dtype, samples.seed, samples.shuffles, samples.draws)
    small = len(codes) * max(samples.shuffles, samples.draws) <= _KEPT_DRAWS
    return _draws(*arguments) if small else _draws.__wrapped__(*arguments)


@lru_cache(maxsize=1)
def _draws(
    content: bytes, kind: np.dtype, seed: int, shuffles: int, draws: int
) -> tuple[np.ndarray, tuple[csr_array, ...]]:
    codes = np.frombuffer(content, kind)
    n, classes = len(codes), int(codes.max()) + 1
    draw = seeds.generator(seed, "held-out draws")
    weights = draw.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)
    draw = seeds.generator(seed, "held-out null")
    members = []
    for start in range(0, shuffles, _SHUFFLES_AT_ONCE):
        mixed = np.tile(codes, (min(_SHUFFLES_AT_ONCE, shuffles - start), 1))
        for fold in range(FOLDS):
            mixed[:, fold::FOLDS] = draw.permuted(mixed[:, fold::FOLDS], axis=1)
        members.append(label_members(mixed, classes))
    return weights, tuple(members)


def _null(
    odds: list[np.ndarray], single: list[OneVsRest], shuffled: tuple[csr_array, ...]
) -> np.ndarray:
    """Return the mean log-probability (shuffles, maps) of shuffled labels; add them to `single`."""
    n = odds[0].shape[1]

    def of_members(members: csr_array) -> tuple[np.ndarray, np.ndarray]:
        null = label_sums(members, odds)
        contributions = (
            label_sums(members, [of_map.contributions for of_map in single]) if single else null
        )
        return null.sum(axis=1) / n, contributions

    nulls = thread_map(of_members, shuffled)
    for _, contributions in nulls:
        for index, of_map in enumerate(single):
            of_map.add(contributions[..., index])
    return np.concatenate([np.empty((0, len(odds))), *(null for null, _ in nulls)])


def label_members(labels: np.ndarray, classes: int) -> csr_array:
    """Return which samples labels (shuffles, n) put into each class.

    (shuffles * classes, classes * n): 1 where sample i is of class c, in column c n + i.
    """
    from scipy.sparse import csr_array

    shuffles, n = labels.shape
    columns = (np.argsort(labels, axis=1, kind="stable")).astype(np.int32)
    columns += np.take_along_axis(labels, columns, axis=1).astype(np.int32) * n
    rows = np.arange(shuffles)[:, None] * classes + labels
    sizes = np.bincount(rows.ravel(), minlength=shuffles * classes)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    shape = shuffles * classes, classes * n
    return csr_array((np.ones(labels.size), columns.ravel(), offsets), shape=shape)


def label_sums(members: csr_array, values: Sequence[np.ndarray]) -> np.ndarray:
    """Return sums over the samples of each class of their values for it.

    Args:
        members: of shuffles, see `label_members`.
        values: (classes, n) of every map.

    Returns:
        (shuffles, classes, maps)
    """
    classes = len(values[0])
    step = max(1, _MAP_BYTES // values[0].nbytes)
    products = [
        members @ np.stack([of_map.ravel() for of_map in values[start : start + step]], axis=1)
        for start in range(0, len(values), step)
    ]
    return np.concatenate(products, axis=1).reshape(-1, classes, len(values))


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
    null_width: ClassVar[float] = 1.05

    components: int = 100
    """Most principal components of the response."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("decoder: components", self.components)

    def spread_at(self, n: int) -> float:
        """See `HeldOut.spread_at`: with few samples other fits move the estimate, too."""
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
            rows = ~outer[fold]
            log_shares = np.log(shares(codes[outer[fold]], len(onehot)))
            if best[fold] == 0:
                result[:, rows] = log_shares[:, None]
                continue
            fit = int(np.searchsorted(fitted, fold))
            odds = batch_classifiers.logistic_log_probabilities(features[rows], weights[fit, 0])
            result[:, rows] = guarded(odds, log_shares, outer[fold].sum())
        return Predictions(result)


NEIGHBORS = (8, 72)
"""Samples in a neighborhood, for the neighbor members."""
LEADING_NEIGHBORS = {1: (24,), 3: (8, 24)}
"""The same along some leading components alone, by their number."""
_PAIRS = tuple(combinations(range(FOLDS), 2))
_MAP_BYTES = 8 << 20
"""Of values of some maps that are worked on at once."""


@dataclass(frozen=True)
class Predictive(HeldOut):
    """H(Y) - held-out cross-entropy of a weighted mixture of predictors of one map's response.

    A lower bound of I(T;Y) in expectation, as `decoder`, but also of what is not linear: the
    members are linear discriminants with three shrinkages, a network of one hidden layer of 24
    units, the classes' shares among the 8 and the 72 nearest samples, among 24 along the first and
    8 and 24 along the three leading principal components alone, and the class shares alone.

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
        """See `Estimator.working_bytes`: blocks of distances, and what a fit sees."""
        return 3 * max(batch_classifiers.BLOCK_BYTES, 8 * n) + 2000 * n

    @property
    def parameters(self) -> Parameters:
        """The parts of the mixture."""
        return {
            "predictor": "mixture",
            "folds": FOLDS,
            "components": self.components,
            "shrinkages": list(batch_classifiers.SHRINKAGES),
            "network_units": batch_classifiers.UNITS,
            "network_steps": batch_classifiers.STEPS,
            "network_components": batch_classifiers.NETWORK_COMPONENTS,
            "network_prior_variance": batch_classifiers.PRIOR,
            "neighbours": list(NEIGHBORS),
            "leading_neighbours": {str(r): list(k) for r, k in LEADING_NEIGHBORS.items()},
        }

    def _predict(
        self, features: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int
    ) -> Predictions:
        groups = (
            _trained_members(features, codes, folds, seed),
            neighbor_members(features, codes, folds),
        )
        all_classes = np.concatenate([members.all_classes for members in groups])
        own_odds = np.concatenate([members.own_class for members in groups], axis=1)
        count = len(codes)
        training_rows = folds != np.arange(FOLDS)[:, None]
        share = np.stack([shares(codes[rows], all_classes.shape[1]) for rows in training_rows])
        trust = training_rows.sum(axis=1) / (training_rows.sum(axis=1) + 1.0)  # see `guarded`
        alone = np.empty((FOLDS, own_odds.shape[1] + 1, count))
        alone[:, -1] = share[:, codes]
        np.multiply(own_odds, trust[:, None, None], out=alone[:, :-1])
        alone[:, :-1] += (1 - trust)[:, None, None] * alone[:, -1:]
        weights = mixtures(alone, training_rows)
        logs = np.log((weights[:, None] @ alone)[:, 0])
        result = np.empty(all_classes.shape[1:])
        for fold, rows in enumerate(training_rows):
            test = ~rows
            mixed = np.tensordot(weights[fold, :-1], all_classes[..., test].astype(np.float64), 1)
            prior_weight = (1 - trust[fold]) * weights[fold, :-1].sum() + weights[fold, -1]
            result[:, test] = np.log(trust[fold] * mixed + prior_weight * share[fold, :, None])
        return Predictions(result, (logs * training_rows).sum(axis=1) / training_rows.sum(axis=1))


class Members(NamedTuple):
    """Probabilities by several predictors, each without the labels of the fold in question."""

    all_classes: np.ndarray
    """(members, classes, n): of every class, without the labels of the sample's own fold."""
    own_class: np.ndarray
    """(FOLDS, members, n): of the sample's own class, without the labels of this fold and of the
    sample's own."""


def _trained_members(
    features: np.ndarray, codes: np.ndarray, folds: np.ndarray, seed: int
) -> Members:
    """Return probabilities by the linear discriminants and the network.

    They are fitted without each pair of folds. Without one fold: the mean over its pairs.
    """
    onehot = codes == np.arange(codes.max() + 1)[:, None]
    is_training = np.array([[fold not in pair for fold in range(FOLDS)] for pair in _PAIRS])
    discriminants = batch_classifiers.fit_discriminants(features, codes, folds, is_training)
    leading = features[:, : batch_classifiers.NETWORK_COMPONENTS]
    network = batch_classifiers.Networks(leading, onehot, is_training[:, folds], seed)
    count = discriminants.shape[1] + 1
    all_classes = np.zeros((count, *onehot.shape), np.float32)
    own_odds = np.zeros((FOLDS, count, len(codes)), np.float32)
    for fold in range(FOLDS):
        rows = np.flatnonzero(folds == fold)
        fits = np.flatnonzero(~is_training[:, fold])
        weights = discriminants[fits]
        odds = weights[..., :-1] @ features[rows].T + weights[..., -1:]
        odds = np.concatenate([odds, network.log_odds(fits, rows)[:, None]], axis=1)
        members = batch_classifiers.softmax(odds)
        all_classes[..., rows] = members.mean(axis=0)
        for fit, of_fit in zip(fits, members, strict=True):
            other_fold = sum(_PAIRS[fit]) - fold
            own_odds[other_fold][:, rows] = of_fit[:, codes[rows], np.arange(len(rows))]
    return Members(all_classes, own_odds)


def neighbor_members(features: np.ndarray, codes: np.ndarray, folds: np.ndarray) -> Members:
    """Return probabilities by the neighbors, those along the leading components alone last."""
    n, classes = len(codes), codes.max() + 1
    label = np.zeros((n, FOLDS * classes), np.float32)
    label[np.arange(n), folds * classes + codes] = 1.0
    sums = [batch_classifiers.neighbor_sums(features, label, NEIGHBORS)]
    for count, neighbors in LEADING_NEIGHBORS.items():
        if count < features.shape[1]:
            sums.append(batch_classifiers.neighbor_sums(features[:, :count], label, neighbors))
    return _members_of_sums(np.concatenate(sums).reshape(-1, n, FOLDS, classes), codes, folds)


def _members_of_sums(sums: np.ndarray, codes: np.ndarray, folds: np.ndarray) -> Members:
    """Return shares of the classes, from their sums (members, n, FOLDS, classes) in each fold.

    One more sample counts that is of every class as often as those that are used.
    """
    members, n, _, classes = sums.shape
    rows = np.arange(n)
    counts = np.stack([np.bincount(codes[folds == f], minlength=classes) for f in range(FOLDS)])
    without_fold = sums.sum(axis=2) - sums[:, rows, folds]
    total = without_fold.sum(axis=2)
    own_odds = np.empty((FOLDS, members, n))
    for fold in range(FOLDS):
        other_counts = np.maximum(counts.sum(axis=0) - counts - counts[fold], 0) + 0.5
        added = (other_counts / other_counts.sum(axis=1, keepdims=True))[folds, codes]
        of_fold = sums[:, :, fold]
        reached = np.maximum(without_fold[:, rows, codes] - of_fold[:, rows, codes], 0.0) + added
        own_odds[fold] = reached / (np.maximum(total - of_fold.sum(axis=2), 0.0) + 1.0)
    other_counts = counts.sum(axis=0) - counts + 0.5
    all_classes = (
        np.maximum(without_fold, 0.0)
        + (other_counts / other_counts.sum(axis=1, keepdims=True))[folds]
    )
    all_classes /= all_classes.sum(axis=2, keepdims=True)
    return Members(all_classes.transpose(0, 2, 1).astype(np.float32), own_odds.astype(np.float32))
