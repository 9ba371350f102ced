"""Orders in which a map counts for what it adds to the maps before it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mi.estimators.renyi_entropy import class_entropy, label_entropy, matrix_entropy
from mi.estimators.renyi_pairs import Pairs
from mi.estimators.results import SATURATED
from mi.estimators.threads import each
from oip.core import seeds

Known = Callable[[np.ndarray], tuple[float, float]]


def relevance_less_redundancy(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the order in which they are chosen, and (m,) the score of each when it was.

    The next map is the one with the largest I_i less the mean, over the maps chosen before, of its
    redundancy less synergy with them about the label.

    References:
        H. Peng, F. Long, C. Ding: Feature selection based on mutual information: criteria of
        max-dependency, max-relevance, and min-redundancy. IEEE TPAMI 27 (2005) 1226. With synergy
        it is the criterion of H. Yang, J. Moody: Data visualization and feature selection. NIPS
        1999.
    """
    relevance, shared = pairs.single, pairs.redundancy
    scores = np.zeros(len(relevance))
    order: list[int] = []
    left = np.ones(len(relevance), bool)
    cost = np.zeros(len(relevance))
    while left.any():
        values = relevance - (cost / len(order) if order else 0.0)
        row = int(np.argmax(np.where(left, values, -np.inf)))
        scores[row] = values[row]
        order.append(row)
        left[row] = False
        cost += shared[row]
    return np.array(order), scores


@dataclass(frozen=True, eq=False)
class Width:
    """How many maps are enough, by conditional mutual information."""

    order: np.ndarray
    """(m,) int: rows; the chosen ones first, then the others by what they know alone."""
    scores: np.ndarray
    """(m,): I(T_i; Y | the maps before it) in nats of those that were tried; 0 for the others."""
    p_values: np.ndarray
    """Of the maps that were tried, in their order."""
    width: int | None
    """Maps that each add something; None where no conclusion can be drawn."""
    notices: tuple[str, ...]


def conditional_width(
    grams: np.ndarray,
    codes: np.ndarray,
    alpha: float,
    seed: int,
    level: float = 0.05,
    shuffles: int = 100,
) -> Width:
    """Adds maps while the next one tells more of the label than its own permutations would.

    The next map is the one with the largest I({chosen, T_i}; Y). Its conditional information
    I(T_i;Y|chosen) = S(A,B) + S(Y,B) - S(B) - S(A,B,Y) is compared with that of its Gram matrix A
    after rows and columns were put in random orders. Adding stops when its p-value is above the
    level. When S(A,B) is at log n no conclusion is drawn: samples are then strangers to each other,
    whatever the maps know. The product with a copy is a narrower kernel, so that a copy may seem to
    add a little where one kernel blurs the classes.

    Args:
        grams: (m, n, n), 1 on the diagonal.
        codes: (n,) int: the label.
        alpha: of the entropies; 2 needs no eigenvalues.
        seed: of the permutations.
        level: p-value up to which a map adds something.
        shuffles: permutations of each map.

    References:
        S. Yu, J. C. Principe: Simple stopping criteria for information theoretic feature selection.
        Entropy 21 (2019) 99. S. Yu et al.: IEEE TNNLS 32 (2021) 435, algorithm 1.
    """
    n, label = len(codes), label_entropy(codes, alpha)

    def known(a: np.ndarray) -> tuple[float, float]:
        """S(A) and I(A;Y)."""
        whole = float(matrix_entropy(a, alpha))
        return whole, whole + label - class_entropy(a, codes, alpha)

    alone = np.array(each(lambda one: known(one.astype(np.float64))[1], grams))
    chosen = np.ones((n, n))
    before = 0.0
    order: list[int] = []
    scores, p_values = np.zeros(len(grams)), []
    width: int | None = None
    notices: tuple[str, ...] = ()
    left = list(range(len(grams)))
    while left:
        values = _tried(known, chosen, grams, left)
        row = left[int(np.argmax([value for _, value in values]))]
        entropy, value = values[left.index(row)]
        if entropy >= SATURATED * math.log(n):
            notices = (
                f"Saturated after {len(order)} maps: S of the maps together is "
                f"{entropy / math.log(n):.1%} of log n; no width can be told. Use more samples or "
                "a wider kernel.",
            )
            break
        draw = seeds.generator(seed, "null", len(order))
        null = _permuted(known, chosen, grams[row], [draw.permutation(n) for _ in range(shuffles)])
        p = (1 + int(np.sum(null >= value - 1e-12))) / (1 + shuffles)
        scores[row] = value - before
        p_values.append(p)
        if p > level:
            width = len(order)
            break
        order.append(row)
        left.remove(row)
        chosen = chosen * grams[row]
        before = value
    else:
        width = len(order)
    rest = sorted(left, key=lambda row: -alone[row])
    return Width(np.array(order + rest), scores, np.array(p_values), width, notices)


def _tried(
    known: Known, chosen: np.ndarray, grams: np.ndarray, rows: list[int]
) -> list[tuple[float, float]]:
    """S and I of the chosen maps with each of some others."""
    return each(lambda row: known(chosen * grams[row]), rows)


def _permuted(
    known: Known, chosen: np.ndarray, one: np.ndarray, orders: list[np.ndarray]
) -> np.ndarray:
    """(shuffles,): I of the chosen maps with one whose samples are in other orders."""
    return np.array(each(lambda mix: known(chosen * one[np.ix_(mix, mix)])[1], orders))
