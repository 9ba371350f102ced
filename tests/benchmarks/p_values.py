"""p-values of responses that know nothing, and of some that do: how often they are small.

    python -m tests.benchmarks.p_values [ESTIMATOR ...] [--maps N] [--samples N ...]

Labels of 2 or 10 classes, balanced or nine to one; responses of 1 or 5 nodes that are Gaussian,
heavy-tailed (Student's t, 2 degrees of freedom) or sparse as after a ReLU. A valid p-value is at or
under .05 in 5 % of the maps or fewer. `power` is the same share where the first node is .6 higher
for every other class. Kinds come in two halves, of which each has every factor as often.

`decoder` and `predictive` keep their predictions while labels are shuffled, so every map is fitted
anew. The others are estimated anew for every order of the labels: value and shuffles are the same
function of equally probable orders, so each of the orders in turn is the value and the rest are its
null. One layer of 100 maps and 40 shuffles gives 4,100 p-values, 20 shuffles 2,100, pooled over the
layer as in a ranking. `differ` is the largest difference, in nats, of shuffles from values of the
same labels.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from oip.mi.estimators.base import LabelEstimator, label_estimator
from oip.mi.permutation_test import TIE, p_values
from oip.mi.resampling import shuffled

BLOCK = 100
SHIFT = 0.6
OWN_SHUFFLES = 199
COMPARED = 3
"""Shuffles that are compared with values."""


class Kind(NamedTuple):
    """A kind of sample."""

    responses: str
    n: int
    d: int
    classes: int
    balanced: bool

    @property
    def estimable(self) -> bool:
        """Whether every class has two samples."""
        return self.balanced or self.n - round(0.9 * self.n) >= 2 * (self.classes - 1)

    def __str__(self) -> str:
        balance = "even" if self.balanced else "90/10"
        return f"{self.responses}, n {self.n}, d {self.d}, {self.classes} classes {balance}"


def kinds(samples: list[int]) -> Iterator[Kind]:
    """Yield every kind, first the half whose factors have an even number of second levels."""
    levels = [("gauss", "heavy", "relu"), samples, (1, 5), (2, 10), (True, False)]
    for half in range(2):
        for chosen in itertools.product(*(enumerate(values) for values in levels)):
            kind = Kind(*(value for _, value in chosen))
            if sum(index for index, _ in chosen[1:]) % 2 == half and kind.estimable:
                yield kind


def responses(kind: str, n: int, d: int, random: np.random.Generator) -> np.ndarray:
    """Return (n, BLOCK, d) responses."""
    if kind == "heavy":
        return random.standard_t(2, size=(n, BLOCK, d))
    values = random.normal(size=(n, BLOCK, d))
    return np.maximum(0.0, values - 1.0) if kind == "relu" else values


def labels(n: int, classes: int, balanced: bool, random: np.random.Generator) -> np.ndarray:
    """Return (n,) labels; if not balanced, the first class has nine in ten."""
    if balanced:
        return random.permutation(np.arange(n) % classes)
    first = round(0.9 * n)
    other_labels = 1 + np.arange(n - first) % (classes - 1)
    return random.permutation(np.concatenate([np.zeros(first, int), other_labels]))


def fitted(
    estimator: LabelEstimator, kind: Kind, shift: float, maps: int, random: np.random.Generator
) -> np.ndarray:
    """Return p-values of maps against shuffles of their own predictions, labels new every block."""
    parts = []
    for seed in range(-(-maps // BLOCK)):
        codes, x = sample(kind, shift, random)
        result = estimator.over_maps(x, codes, seed, OWN_SHUFFLES, 0, False, distinct=True)
        reached = (result.null >= result.raw - TIE).sum(axis=0)
        parts.append((1 + reached) / (1 + OWN_SHUFFLES))
    return np.concatenate(parts)


def exchanged(
    estimator: LabelEstimator, kind: Kind, maps: int, shuffles: int, random: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Return p-values of each order of the labels in turn, and by how much shuffles differ."""
    parts, differ = [], 0.0
    for seed in range(-(-maps // (BLOCK * (1 + shuffles)))):
        codes, x = sample(kind, 0.0, random)
        result = estimator.over_maps(x, codes, seed, shuffles, 0, False, distinct=True)
        for own, null in zip(shuffled(codes, seed, COMPARED), result.null, strict=False):
            value = estimator.over_maps(x, own, seed, 0, 0, False, distinct=True).raw
            differ = max(differ, float(np.abs(value - null).max()))
        orders = np.concatenate([result.raw[None], result.null])
        parts += [p_values(orders[i], np.delete(orders, i, axis=0)) for i in range(len(orders))]
    return np.concatenate(parts), differ


def sample(kind: Kind, shift: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (n,) and responses (n, BLOCK, d)."""
    codes = labels(kind.n, kind.classes, kind.balanced, random)
    x = responses(kind.responses, kind.n, kind.d, random)
    x[:, :, 0] += shift * (codes % 2)[:, None]
    return codes, x


def main() -> None:
    """Print one line for every estimator and kind of sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("estimators", nargs="*", default=["predictive", "ksg", "kde"])
    parser.add_argument("--maps", type=int, default=2000)
    parser.add_argument("--shuffles", type=int, default=40, help="where labels are exchanged")
    parser.add_argument("--samples", type=int, nargs="+", default=[100, 300])
    options = parser.parse_args()
    for name, kind in itertools.product(options.estimators, kinds(options.samples)):
        estimator = label_estimator(name)
        random = np.random.default_rng([kind.n, kind.d, kind.classes])
        differ = None
        if estimator.abilities.held_out:
            unrelated = fitted(estimator, kind, 0.0, options.maps, random)
            something = fitted(estimator, kind, SHIFT, BLOCK, random)
        else:
            unrelated, differ = exchanged(estimator, kind, options.maps, options.shuffles, random)
            codes, x = sample(kind, SHIFT, random)
            something = estimator.over_maps(
                x, codes, 0, options.shuffles, 0, False, distinct=True
            ).p_value
        shares = [
            f"p <= {level}: {np.mean(unrelated <= level):.4f}" for level in (0.05, 0.01, 0.001)
        ]
        power = f"power {np.mean(something <= 0.05):.2f}"
        ending = "" if differ is None else f"; differ {differ:.1e}"
        print(f"{name}, {kind}: {', '.join(shares)}; {power}{ending}", flush=True)


if __name__ == "__main__":
    main()
