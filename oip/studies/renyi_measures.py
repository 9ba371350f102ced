"""Matrix Renyi information of one batch: layers, single maps, and pairs of maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mi.estimators.renyi_entropy import class_entropy, label_entropy, matrix_entropy, product
from mi.estimators.renyi_gram import Width, gram
from oip.core import seeds
from oip.core.units import bits
from oip.studies.renyi_probe import Reading

ALPHA = 1.01
BATCH = 128
"""Samples of a batch, as in the paper."""
MEASURES = ("input", "label", "entropy", "backward")
"""Of a layer: I(X;T), I(T;Y), S(T), I(error of the last layer; error)."""
SHARES = ("redundant", "non-redundant")
"""Of pairs: redundancy less synergy, and weighted non-redundant information, of I_ij."""


@dataclass(frozen=True)
class Kernel:
    """How wide the Gaussian kernels of Gram matrices are."""

    name: str
    label: str
    forward: Width
    backward: Width


KERNELS = (
    Kernel("paper", "the paper's width", Width(silverman=5.0), Width(silverman=0.1)),
    Kernel("relative", "the median distance", Width(1.0), Width(1.0)),
)
"""The paper's, in the units of the responses; and one that has no units."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Images (n, h, w, bands) with their labels."""

    images: np.ndarray
    codes: np.ndarray
    pixels: np.ndarray
    """(n, d): the images from 0 to 1, as the Gram matrix of the input sees them."""


def batches(
    images: np.ndarray, labels: np.ndarray, high: float, count: int, seed: int
) -> list[Batch]:
    """Disjoint random batches of 128.

    Args:
        images: (n, h, w, bands), values from 0 to `high`.
        labels: (n,) int.
        high: of the pixels.
        count: as many as there are images for, at the most.
        seed: of the draw.
    """
    order = seeds.generator(seed, "renyi batches").permutation(len(images))
    found = []
    for place in range(min(count, max(1, len(images) // BATCH))):
        rows = order[place * BATCH : (place + 1) * BATCH]
        pixels = images[rows].reshape(len(rows), -1).astype(np.float64) / high
        found.append(Batch(images[rows], labels[rows].astype(np.int64), pixels))
    return found


def label_ceiling(labels: np.ndarray, count: int, seed: int) -> float:
    """Mean S(Y) in bits of the batches that `batches` draws, the most that I(T;Y) can be."""
    codes = np.unique(labels, return_inverse=True)[1]
    still = np.zeros((len(codes), 1, 1, 1), np.uint8)
    drawn = batches(still, codes, 1.0, count, seed)
    return float(np.mean([bits(label_entropy(batch.codes, ALPHA)) for batch in drawn]))


def measure(
    batch: Batch, reading: Reading, kernel: Kernel, most_pairs: int, seed: int
) -> dict[str, np.ndarray]:
    """Everything of one batch, in bits.

    Args:
        batch: the images.
        reading: what the layers made of them.
        kernel: the widths.
        most_pairs: of maps, drawn at random.
        seed: of the draw.

    Returns:
        Each of `MEASURES`, (layers,); `x`, the entropy of the input; and of pairs (layers,), NaN
        of layers of one map: each of `SHARES` about the input, and `plane input`, `plane label`,
        the weighted non-redundant information itself.
    """
    whole = gram(batch.pixels, kernel.forward)
    own = float(matrix_entropy(whole, ALPHA))
    last = _joint(reading.errors[-1], kernel.backward)
    last_own = float(matrix_entropy(last, ALPHA))
    layers = len(reading.responses)
    names = (*MEASURES, *SHARES, "plane input", "plane label")
    found = {name: np.full(layers, np.nan) for name in names}
    for place, (values, errors) in enumerate(zip(reading.responses, reading.errors, strict=True)):
        grams = map_grams(values, kernel.forward)
        joint = product(list(grams))
        entropy = float(matrix_entropy(joint, ALPHA))
        found["entropy"][place] = entropy
        found["input"][place] = own + entropy - float(matrix_entropy(joint * whole, ALPHA))
        found["label"][place] = about_label(joint[None], batch.codes, np.array([entropy]))[0]
        error = _joint(errors, kernel.backward)
        both = float(matrix_entropy(last * error, ALPHA))
        found["backward"][place] = last_own + float(matrix_entropy(error, ALPHA)) - both
        if len(grams) > 1:
            rng = seeds.generator(seed, "renyi pairs", place)
            parts = pair_measures(
                grams, whole, batch.codes, chosen_pairs(len(grams), most_pairs, rng)
            )
            for name, value in parts.items():
                found[name][place] = value
    result = {name: bits(one) for name, one in found.items() if name not in SHARES}
    return {**result, **{name: found[name] for name in SHARES}, "x": np.array(bits(own))}


def chosen_pairs(maps: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """(pairs, 2) int: different maps; all pairs, or `most` of them drawn at random."""
    every = np.stack(np.triu_indices(maps, 1), axis=1)
    return every if len(every) <= most else every[np.sort(rng.permutation(len(every))[:most])]


def pair_measures(
    grams: np.ndarray, whole: np.ndarray, codes: np.ndarray, pairs: np.ndarray
) -> dict[str, float]:
    """Means over pairs of maps.

    Args:
        grams: (maps, n, n).
        whole: (n, n): of the input.
        codes: (n,) int.
        pairs: (p, 2) int.

    Returns:
        `redundant` and `non-redundant`: (I_i + I_j - I_ij) / I_ij and (2 I_ij - I_i - I_j) / I_ij
        about the input, shares; `plane input`, `plane label`: 2 I_ij - I_i - I_j in nats.

    References:
        S. Yu et al. (arXiv:1804.06537), eq. 11 and 12.
    """
    used, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(pairs.shape)
    single = np.array(informations(grams[used], whole, codes))
    joint = np.array(informations(grams[pairs[:, 0]] * grams[pairs[:, 1]], whole, codes))
    alone = single[:, places[:, 0]] + single[:, places[:, 1]]
    about = np.maximum(joint[0], 1e-12)
    return {
        "redundant": float(((alone[0] - joint[0]) / about).mean()),
        "non-redundant": float(((2 * joint[0] - alone[0]) / about).mean()),
        "plane input": float((2 * joint[0] - alone[0]).mean()),
        "plane label": float((2 * joint[1] - alone[1]).mean()),
    }


def informations(
    grams: np.ndarray, whole: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """I(X;T_i) and I(T_i;Y) of each Gram matrix (m, n, n), in nats."""
    entropies = matrix_entropy(grams, ALPHA)
    own = float(matrix_entropy(whole, ALPHA))
    about = own + entropies - matrix_entropy(grams * whole, ALPHA)
    return about, about_label(grams, codes, entropies)


def about_label(grams: np.ndarray, codes: np.ndarray, entropies: np.ndarray) -> np.ndarray:
    """(m,): I(T;Y) in nats of Gram matrices (m, n, n) with their entropies (m,)."""
    known = label_entropy(codes, ALPHA)
    return np.array(
        [
            entropy + known - class_entropy(one, codes, ALPHA)
            for one, entropy in zip(grams, entropies, strict=True)
        ]
    )


def map_grams(values: np.ndarray, width: Width) -> np.ndarray:
    """(maps, n, n): Gram matrices of responses (n, maps, nodes)."""
    return np.stack([gram(values[:, place], width) for place in range(values.shape[1])])


def _joint(values: np.ndarray, width: Width) -> np.ndarray:
    return product(list(map_grams(values, width)))
