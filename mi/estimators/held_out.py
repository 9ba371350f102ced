"""What all held-out predictors share: folds, guarded probabilities, gains, intervals and nulls."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from oip.core import seeds
from oip.core.checks import check_whole
from oip.mi.backend import thread_map
from oip.mi.estimators import batch_classifiers
from oip.mi.estimators.base import Abilities, LabelEstimator
from oip.mi.estimators.components import principal_components
from oip.mi.estimators.gram import median_squared_distance, squared_distances
from oip.mi.estimators.registry import TABLE
from oip.mi.estimators.results import LabelledResponses, MapEstimates, quantile_ends
from oip.mi.validation import class_entropies, label_entropy

_TIE = 1e-6
"""In nats; what is kept for the shuffles is of single precision."""


class OneVsRest:
    """The predictions of one map, one class against the rest; takes shuffled labels in parts.

    The value is the entropy of being of a class or not, less the cross-entropy of its probability.
    Its interval is from a bootstrap of the samples' contributions; it leaves out what another
    training sample would change. Its null are shuffled labels against the same predictions.
    """

    def __init__(self, odds: np.ndarray, codes: np.ndarray, weights: np.ndarray):
        """
        Args:
            odds: (classes, n) log-probabilities, held out.
            codes: (n,) int, the labels.
            weights: (draws, n) how often each sample is drawn.
        """
        classes, n = odds.shape
        rest = np.stack(
            [np.logaddexp.reduce(np.delete(odds, c, axis=0), axis=0) for c in range(classes)]
        )
        entropies = class_entropies(codes)
        gains = np.where(codes == np.arange(classes)[:, None], odds, rest) + entropies[:, None]
        self.raw = gains.mean(axis=1)
        """(classes,)"""
        self.ends = quantile_ends(weights @ gains.T / n)
        """(classes, 2): ends of the 95 % intervals, NaN without draws."""
        self._none = entropies + rest.mean(axis=1)
        self._more = ((odds - rest) / n).astype(np.float32)
        self._reached = np.zeros(classes)
        self._shuffles = 0

    def add(self, mixed: np.ndarray) -> None:
        """Holds the values against those of shuffled labels (shuffles, n)."""
        count, classes = len(mixed), len(self.raw)
        rows = np.arange(count)[:, None] * classes
        told = self._more[mixed, np.arange(mixed.shape[1])]
        sums = np.bincount((rows + mixed).ravel(), told.ravel(), count * classes)
        null = self._none + sums.reshape(count, classes)
        self._reached += (null >= self.raw - _TIE).sum(axis=0)
        self._shuffles += count

    @property
    def p_value(self) -> np.ndarray:
        """(classes,): one-sided, against the map's own shuffles; NaN without any."""
        if not self._shuffles:
            return np.full(len(self.raw), np.nan)
        return (1 + self._reached) / (1 + self._shuffles)


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

    def _over_maps(self, samples: LabelledResponses) -> MapEstimates:
        """See `LabelEstimator._over_maps`; intervals and null as `estimates` has them."""

        def predict(x: np.ndarray, folds: np.ndarray) -> Predictions:
            return self._predictions(x, samples.codes, folds, samples.seed)

        return estimates(predict, samples, self.working_bytes(len(samples.codes)))


Predictor = Callable[[np.ndarray, np.ndarray], Predictions]
"""`predict(x, folds)`: of a map's responses x (n, d)."""


def estimates(predict: Predictor, samples: LabelledResponses, bytes_each: int = 0) -> MapEstimates:
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
    told = thread_map(
        lambda place: predict(samples.responses[:, place], folds), range(samples.maps), bytes_each
    )
    parts = [one.odds for one in told]
    share = np.log(np.bincount(codes) / len(codes))
    gains = np.stack([own_class(part, codes) - share[codes] for part in parts], axis=1)
    raw = gains.mean(axis=0)
    draw = seeds.generator(seed, "held-out draws")
    weights = draw.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), size=draws)
    asked = parts if samples.one_vs_rest else ()
    single = thread_map(lambda part: OneVsRest(part, codes, weights), asked)
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


def _shuffled(
    codes: np.ndarray, folds: np.ndarray, samples: LabelledResponses
) -> Iterator[np.ndarray]:
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
        means = thread_map(lambda part, mixed=mixed: part[mixed, columns].mean(axis=1), parts)
        thread_map(lambda one, mixed=mixed: one.add(mixed), single)
        found.append(np.stack(means, axis=1))
    return np.concatenate(found)


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
        >>> import numpy as np
        >>> from oip import mi
        >>> y = np.arange(300) % 2
        >>> x = np.random.default_rng(0).normal(size=300) + 4 * y
        >>> 0.7 < mi.mutual_information(x, y, "decoder").bits <= 1
        True
    """

    name: ClassVar[str] = "decoder"
    abilities: ClassVar[Abilities] = TABLE["decoder"].abilities

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
        features = principal_components(np.asarray(x), self.components, rng)
        onehot = codes == np.arange(codes.max() + 1)[:, None]
        if not features.any():
            return class_shares(codes)
        outer = folds != np.arange(FOLDS)[:, None]
        check = np.roll(np.arange(FOLDS), -1)
        inner = outer & (folds != check[:, None])
        tried = len(VARIANCES)
        weights = batch_classifiers.fit(
            features,
            onehot,
            np.repeat(inner, tried, axis=0),
            np.tile(1.0 / np.array(VARIANCES), FOLDS),
        )
        odds = batch_classifiers.log_probabilities(features, weights)
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
            weights = batch_classifiers.fit(features, onehot, outer[fitted], 1.0 / chosen)
        for fold in range(FOLDS):
            there = ~outer[fold]
            known = np.log(shares(codes[outer[fold]], len(onehot)))
            if best[fold] == 0:
                result[:, there] = known[:, None]
                continue
            place = int(np.searchsorted(fitted, fold))
            odds = batch_classifiers.log_probabilities(
                features[there], weights[:, place : place + 1]
            )
            result[:, there] = guarded(odds[:, 0], known, outer[fold].sum())
        return result


VARIANCES_PREDICTIVE = (1.0, 8.0, 64.0)
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
        >>> import numpy as np
        >>> from oip import mi
        >>> y = np.arange(300) % 2
        >>> x = np.random.default_rng(0).normal(size=300) + 4 * y
        >>> 0.7 < mi.mutual_information(x, y, "predictive").bits <= 1
        True
    """

    name: ClassVar[str] = "predictive"
    abilities: ClassVar[Abilities] = TABLE["predictive"].abilities

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
            "prior_variances": list(VARIANCES_PREDICTIVE),
            "network_units": batch_classifiers.UNITS,
            "network_steps": batch_classifiers.STEPS,
            "network_prior_variance": batch_classifiers.PRIOR,
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
        features = principal_components(
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
    tried = len(VARIANCES_PREDICTIVE)
    weights = batch_classifiers.fit(
        features,
        onehot,
        np.tile(used, (tried, 1)),
        np.repeat(1.0 / np.array(VARIANCES_PREDICTIVE), len(_PAIRS)),
    )
    odds = batch_classifiers.log_probabilities(features, weights).astype(np.float32)
    odds = odds.reshape(len(onehot), tried, len(_PAIRS), len(codes)).transpose(1, 0, 2, 3)
    network = batch_classifiers.log_probabilities_small_network(features, onehot, used, seed)
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
