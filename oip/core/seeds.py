"""Random numbers by their purpose and indices, never by the order in which they are drawn."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """Return a generator for one purpose, such as `generator(seed, "start", layer, start)`.

    Args:
        seed: the run's seed, 0 or more.
        purpose: a word that separates different uses of the same indices.
        indices: of layer, map, start and so on, each 0 or more.
    """
    return np.random.default_rng(_sequence(seed, purpose, indices))


def subset(
    items: int | np.ndarray, count: int, seed: int, purpose: str, *indices: int
) -> np.ndarray:
    """Return `count` of some numbers, or of 0 to `items`, at random and in order; all if fewer."""
    return np.sort(generator(seed, purpose, *indices).permutation(items)[:count])


def derived_seed(seed: int, purpose: str, *indices: int) -> int:
    """Return a 31-bit seed for libraries that take a number."""
    return int(_sequence(seed, purpose, indices).generate_state(1)[0] & 0x7FFFFFFF)


def _sequence(seed: int, purpose: str, indices: tuple[int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *indices])
