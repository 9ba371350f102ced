"""Random halves of the samples for intervals, shuffled samples for nulls; the same for all maps.

Halves come in pairs without a sample in common: two independent samples of n / 2, so that half of
the squared difference of their estimates has the variance at n / 2 as its mean, whatever the
estimator and its bias, and a quarter that at n, if the variance falls with 1 / n. A half against
the whole is no such pair: what samples do together, as neighbors, kernels and cells do, would count
up to three times in place of once to twice. No sample is drawn twice, as in a bootstrap, where a
kernel or a neighbor would find a distance of 0.

References:
    P. J. McCarthy: Pseudo-replication: half samples. Review of the International Statistical
    Institute 37 (1969) 239. D. N. Politis, J. P. Romano: Large sample confidence regions based on
    subsamples under minimal assumptions. Annals of Statistics 22 (1994) 2031.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from oip.core import seeds
from oip.mi.backend import thread_map
from oip.mi.estimators.results import LabelledResponses, MapEstimates, interval_ends
from oip.mi.permutation_test import class_p_values
from oip.mi.validation import class_entropies, label_entropy, varied

_FEW = (12, 10)
"""Halves and shuffles for single classes: each half is an estimate a class, a shuffle one for all
classes of a size."""
_FEW_ALONE = (40, 39)
"""The same for a map by itself, without others to pool its shuffles with."""

Information = Callable[[np.ndarray, np.ndarray | None], float]
"""`information(codes, indices)`: I(X;Y) in nats of one map and the labels `codes` (k,) int of the
samples at `indices` (k,) int, sorted; None stands for all samples. Classes may be missing."""
Labels = tuple[np.ndarray, np.ndarray | None]
"""The arguments of an `Information`."""


@dataclass(frozen=True)
class Prepared:
    """One map, ready for any labels."""

    information: Information
    notices: tuple[str, ...] = ()
    """What a reader has to know before using the numbers of this map."""
    together: Callable[[Iterable[Labels]], np.ndarray] | None = None
    """`information` of many labels, where that is quicker than one after the other."""


def halves(n: int, seed: int, draws: int) -> list[np.ndarray]:
    """Return sorted indices of random halves of n samples, without replacement.

    They are pairs without a sample in common, one after the other; an odd number is rounded up.
    """
    return class_halves(np.zeros(n, int), seed, draws)


def class_halves(codes: np.ndarray, seed: int, draws: int) -> list[np.ndarray]:
    """Return `halves`, with a sample of every class at least; a single one is in both of a pair.

    The classes' shares vary as in any random half, since they do in new samples, too.
    """
    draw = seeds.generator(seed, "halves")
    members = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    counts = np.array([len(indices) for indices in members])
    halves = []
    for _ in range(-(-draws // 2)):
        sizes = draw.multivariate_hypergeometric(counts, len(codes) // 2)
        sizes = np.clip(sizes, 1, np.maximum(1, counts - 1))
        orders = [draw.permutation(indices) for indices in members]
        first = [order[:size] for order, size in zip(orders, sizes, strict=True)]
        second = [
            order[min(size, len(order) - 1) :] for order, size in zip(orders, sizes, strict=True)
        ]
        halves += [np.sort(np.concatenate(first)), np.sort(np.concatenate(second))]
    return halves


def shuffled(codes: np.ndarray, seed: int, shuffles: int) -> np.ndarray:
    """Return the labels in random orders, (shuffles, n)."""
    draw = seeds.generator(seed, "null")
    return draw.permuted(np.tile(codes, (shuffles, 1)), axis=1)


def joint_null(
    estimate: Callable[[np.ndarray], float],
    y: np.ndarray,
    shuffles: int,
    seed: int,
    bytes_each: int = 0,
) -> np.ndarray:
    """Return the estimate of y with its rows in random orders, (shuffles,)."""
    orders = shuffled(np.arange(len(y)), seed, shuffles)
    return np.array(thread_map(lambda order: estimate(y[order]), orders, bytes_each))


def paired_draws(value: float | np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Return draws of the estimate, from those of pairs of halves: value +- half their difference.

    The estimate is a number and those of halves are (halves,), or (k,) numbers and (halves, k).
    """
    first, second = estimates[::2], estimates[1::2]
    draws = np.empty_like(estimates, dtype=np.float64)
    draws[::2], draws[1::2] = value + (first - second) / 2, value + (second - first) / 2
    return draws


def widening(rate: float) -> float:
    """Return what draws are multiplied with if the deviation falls as n^-rate, not as n^-1/2."""
    return 2 ** (0.5 - rate)


def over_prepared(
    prepare: Callable[[np.ndarray], Prepared | None],
    samples: LabelledResponses,
    bytes_each: int = 0,
    expensive: bool = False,
) -> MapEstimates:
    """Estimate every map from an array computed once for it, such as its Gram matrix.

    Args:
        prepare: (n, d) responses of a map, without constant nodes -> its information about any
            labels of any samples; None for a map without information.
        samples: of all maps.
        bytes_each: memory that the work on one map takes, about; 0 for little.
        expensive: single classes have half as many halves and shuffles.
    """
    codes, maps, classes = samples.codes, samples.maps, samples.codes.max() + 1
    half_sets = class_halves(codes, samples.seed, samples.draws)
    mixed = shuffled(codes, samples.seed, samples.shuffles)
    counts = np.bincount(codes)
    # A map without information keeps its zeros.
    single = np.full((maps, classes), 0.0 if samples.one_vs_rest else np.nan)
    raw, half_draws = np.zeros(maps), np.zeros((len(half_sets), maps))
    null = np.zeros((samples.shuffles, maps))
    few_halves, few_shuffles = _draw_counts(samples, expensive)
    few_sets, few_mixed = half_sets[:few_halves], mixed[:few_shuffles]
    single_drawn = np.zeros((len(few_sets), maps, classes))
    single_null = np.zeros((len(few_mixed), maps, classes))
    # Several maps have a thread each.
    several = partial(_label_information, in_threads=maps == 1, bytes_each=bytes_each)

    def estimate_map(index: int) -> tuple[str, ...]:
        x = varied(samples.responses[:, index])
        prepared = prepare(x) if x.shape[1] else None
        if prepared is None:
            return ()
        raw[index] = prepared.information(codes, None)
        half_draws[:, index] = paired_draws(
            raw[index], several(prepared, ((codes[half], half) for half in half_sets))
        )
        null[:, index] = several(prepared, ((labels, None) for labels in mixed))
        if not samples.one_vs_rest:
            return prepared.notices
        single[index] = several(prepared, ((_is_class(codes, c), None) for c in range(classes)))
        of_halves = several(
            prepared,
            ((_is_class(codes[half], c), half) for half in few_sets for c in range(classes)),
        )
        single_drawn[:, index] = paired_draws(single[index], of_halves.reshape(-1, classes))
        # Shuffled, classes of one size are alike.
        sizes, size_of = np.unique(counts, return_inverse=True)
        representatives = [int(np.argmax(counts == size)) for size in sizes]
        values = several(
            prepared,
            ((_is_class(labels, code), None) for labels in few_mixed for code in representatives),
        )
        single_null[:, index] = values.reshape(-1, len(sizes))[:, size_of]
        return prepared.notices

    notices = thread_map(estimate_map, range(maps), bytes_each)
    return MapEstimates(
        raw=raw,
        ceiling=np.full(maps, label_entropy(codes)),
        per_class_raw=single,
        per_class_ends=interval_ends(single, single_drawn) if samples.one_vs_rest else None,
        per_class_p=class_p_values(single, single_null) if samples.one_vs_rest else None,
        class_ceiling=class_entropies(codes),
        draws=half_draws,
        null=null,
        notices=tuple(notices),
    )


def _draw_counts(samples: LabelledResponses, expensive: bool) -> tuple[int, int]:
    """Return how many halves and shuffles there are for single classes."""
    if not samples.one_vs_rest:
        return 0, 0
    halves, shuffles = _FEW_ALONE if samples.maps == 1 else _FEW
    return (halves // 4 * 2, shuffles // 2) if expensive else (halves, shuffles)


def _label_information(
    prepared: Prepared, labels: Iterable[Labels], in_threads: bool, bytes_each: int
) -> np.ndarray:
    """Return the information about each of several labels."""
    if prepared.together is not None:
        return prepared.together(labels)
    if not in_threads:
        return np.array([prepared.information(*pair) for pair in labels])
    return np.array(thread_map(lambda pair: prepared.information(*pair), labels, bytes_each))


def _is_class(codes: np.ndarray, code: int) -> np.ndarray:
    """Return the label of being of a class: 1 or 0."""
    return (codes == code).astype(int)
