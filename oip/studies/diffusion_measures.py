"""Diffusion spectral quantities of representations, in the ways that they are published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oip.core.units import bits


@dataclass(frozen=True)
class Scale:
    """How wide the diffusion kernel is, and how the difference is made."""

    name: str
    label: str
    settings: tuple[tuple[str, Any], ...]

    @property
    def entropy(self) -> Any:
        """The estimator of the entropy."""
        import mi

        return mi.estimator("dse", **dict(self.settings))

    @property
    def information(self) -> Any:
        """The estimator of the information."""
        import mi

        return mi.estimator("dsmi", **dict(self.settings))


SCALES = (
    Scale("reference", "sigma 10, as in the authors' code", (("reference", True),)),
    Scale("relative", "no units, as published", (("relative", 0.2),)),
)
"""The authors' code: sigma 10, less random subsets of a class's size. And eq. 4 and 5 with 2
sigma^2 = 0.2 of the median squared distance."""
QUANTITIES = ("entropy", "label", "input")
"""S(Z), I(Z;Y), I(Z;X)."""


def measure(z: np.ndarray, codes: np.ndarray, x: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """All quantities of a representation, in bits.

    Args:
        z: (n, d), finite.
        codes: (n,) int, classes.
        x: (n, pixels), the input, which is made ten spectral clusters.
        seed: of clusters and subsets.

    Returns:
        `K entropy`, `K label`, `K input` of each scale K; 0 of a constant z.
    """
    z = np.asarray(z, np.float64)
    found = {}
    for scale in SCALES:
        known = scale.information
        values = (
            scale.entropy.entropy(z, seed).nats,
            known.over_maps(z[:, None], codes, seed, one_vs_rest=False).raw[0],
            known.information(z, x, seed).nats,
        )
        for name, value in zip(QUANTITIES, values, strict=True):
            found[f"{scale.name} {name}"] = np.array(bits(float(value)))
    return found


def corrupted(codes: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Labels of which a share was replaced by random ones of the same classes."""
    result = codes.copy()
    places = rng.permutation(len(codes))[: round(share * len(codes))]
    result[places] = rng.integers(0, codes.max() + 1, len(places))
    return result


def true_information(classes: int, share: float) -> float:
    """I of a label of equal classes and the same label with a share replaced by chance, in bits.

    log2 k - H(1 - s + s/k, s/k, ..., s/k): what a representation that holds the label knows of the
    corrupted one.
    """
    wrong = share / classes
    odds = np.array([1 - share + wrong, *[wrong] * (classes - 1)])
    odds = odds[odds > 0]
    return float(np.log2(classes) + (odds * np.log2(odds)).sum())
