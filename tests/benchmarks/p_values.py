"""p-values of responses that know nothing, and of some that do: how often they are small.

    python -m tests.benchmarks.p_values [ESTIMATOR ...] [--maps N] [--samples N ...]

Labels of 2 or 10 classes, balanced or nine to one; responses of 1 or 5 nodes that are Gaussian,
heavy-tailed (Student's t, 2 degrees of freedom) or sparse as after a ReLU. A valid p-value is at or
under .05 in 5 % of the maps or fewer. `power` is the same share where the first node is .6 higher
for every other class.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np

from oip.mi.estimators.base import label_estimator
from oip.mi.permutation_test import ENOUGH

BLOCK = 100
SHIFT = 0.6


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
    others = 1 + np.arange(n - first) % (classes - 1)
    return random.permutation(np.concatenate([np.zeros(first, int), others]))


def main() -> None:
    """Print one line for every estimator and kind of sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("estimators", nargs="*", default=["decoder", "predictive", "kde"])
    parser.add_argument("--maps", type=int, default=2000)
    parser.add_argument("--samples", type=int, nargs="+", default=[100, 300])
    options = parser.parse_args()
    kinds = itertools.product(
        *(options.estimators, ("gauss", "heavy", "relu"), options.samples),
        *((1, 5), (2, 10), (True, False)),
    )
    for name, kind, n, d, classes, balanced in kinds:
        if not balanced and (n - round(0.9 * n)) < 2 * (classes - 1):
            continue  # a class would be seen once
        estimator = label_estimator(name)
        shuffles = ENOUGH if estimator.abilities.cheap_null else 40
        random = np.random.default_rng([n, d, classes])
        measured: dict[float, list[np.ndarray]] = {0.0: [], SHIFT: []}
        for shift, count in ((0.0, options.maps // BLOCK), (SHIFT, 1)):
            for seed in range(count):
                codes = labels(n, classes, balanced, random)
                x = responses(kind, n, d, random)
                x[:, :, 0] += shift * (codes % 2)[:, None]
                found = estimator.over_maps(x, codes, seed, shuffles, 0, False, distinct=True)
                measured[shift].append(found.p_value)
        nothing, something = (np.concatenate(parts) for parts in measured.values())
        shares = [f"p <= {level}: {np.mean(nothing <= level):.4f}" for level in (0.05, 0.01, 0.001)]
        balance = "even" if balanced else "90/10"
        print(
            f"{name}, {kind}, n {n}, d {d}, {classes} classes {balance}: {', '.join(shares)}; "
            f"power {np.mean(something <= 0.05):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
