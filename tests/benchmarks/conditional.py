"""p-values of I(X;Y|Z) where x and y have a common cause Z and nothing else, and where they have.

    python -m tests.benchmarks.conditional [--maps N] [--shuffles N] [--samples N] [--columns N]

x and y are functions of Z with noise; Z has normal columns. A valid p-value is at or under .05 in
5 % of the samples or fewer. `power` is the same share where the noise of y holds that of x, half of
its variance; `none` the share of samples without a p-value.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np

from oip import mi

Draw = Callable[[np.ndarray, np.ndarray], np.ndarray]

NUMBERS: dict[str, Draw] = {
    "sum, noise .3": lambda z, noise: z.sum(axis=1) + 0.3 * noise,
    "sum, noise 1": lambda z, noise: z.sum(axis=1) + noise,
    "tanh and squares": lambda z, noise: np.tanh(z.sum(axis=1)) + 0.3 * noise,
    "product": lambda z, noise: z[:, 0] * z[:, -1] + 0.5 * noise,
    "sine of a column": lambda z, noise: np.sin(2 * z[:, 0]) + 0.3 * noise,
    "noise grows": lambda z, noise: z.sum(axis=1) + 0.3 * (1 + np.abs(z[:, 0])) * noise,
    "noise vanishes": lambda z, noise: z.mean(axis=1) + 0.5 * np.abs(z[:, 0]) * noise,
    "rectified": lambda z, noise: np.maximum(z.mean(axis=1) + 0.5 * noise - 0.5, 0),
    "sine of twice the sum": lambda z, noise: np.sin(2 * z.sum(axis=1)) + 0.3 * noise,
}
"""x and y; where y is another function of Z, it is in `OTHER`."""
OTHER: dict[str, Draw] = {
    "tanh and squares": lambda z, noise: (z**2).mean(axis=1) + 0.3 * noise,
}
OF_NUMBERS, OF_LABELS = ("ksg", "vme", "gaussian", "binning", "renyi"), ("ksg", "kde", "decoder")


def sample(
    case: str, n: int, columns: int, common: bool, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x (n,), y (n,) and Z (n, columns)."""
    z = random.normal(size=(n, columns))
    first, second = random.normal(size=(2, n))
    if common:
        second = (first + second) / np.sqrt(2)
    return NUMBERS[case](z, first), OTHER.get(case, NUMBERS[case])(z, second), z


def measure(
    estimator: str, case: str, sides: str, options: argparse.Namespace, common: bool
) -> np.ndarray:
    """Return p-values; `sides` says which of x and y are made labels, by their median."""
    values = []
    for seed in range(options.maps if not common else max(options.maps // 4, 1)):
        random = np.random.default_rng([seed, common, options.columns])
        x, y, z = sample(case, options.samples, options.columns, common, random)
        if "x" in sides:
            x = (x > np.median(x)).astype(int)
        if "y" in sides:
            y = (y > np.median(y)).astype(int)
        estimate = mi.conditional_mutual_information(
            x, y, z, estimator, discrete_x="x" in sides, null=options.shuffles, draws=0, seed=seed
        )
        values.append(np.nan if estimate.p_value is None else estimate.p_value)
    return np.array(values)


def main() -> None:
    """Print one line for every case and estimator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=int, default=100)
    parser.add_argument("--shuffles", type=int, default=39)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--columns", type=int, default=3)
    parser.add_argument("--cases", nargs="+", default=list(NUMBERS))
    parser.add_argument("--numbers", nargs="*", default=list(OF_NUMBERS))
    parser.add_argument("--labels", nargs="*", default=list(OF_LABELS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for case in options.cases:
        todo = [(name, "") for name in options.numbers]
        todo += [(name, sides) for name in options.labels for sides in ("y", "xy")]
        for name, sides in todo:
            start = time.process_time()
            unrelated, something = (
                measure(name, case, sides, options, common) for common in (False, True)
            )
            of = {"": "numbers", "y": "y a label", "xy": "both labels"}[sides]
            shares = [f"p <= {level}: {np.mean(unrelated <= level):.3f}" for level in (0.05, 0.01)]
            print(
                f"{name}, {of}, {case}: {', '.join(shares)}; power "
                f"{np.mean(something <= 0.05):.2f}; none {np.isnan(unrelated).mean():.2f}; "
                f"{time.process_time() - start:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
