"""Random numbers that depend on what they are for, never on the order in which they are drawn."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """A generator for one purpose, such as `generator(seed, "start", layer, start)`.

    Args:
        seed: the run's seed, 0 or more.
        purpose: a word that keeps different uses of the same indices apart.
        indices: what the numbers belong to (layer, map, start, ...), each 0 or more.
    """
    return np.random.default_rng(_sequence(seed, purpose, indices))


def derived_seed(seed: int, purpose: str, *indices: int) -> int:
    """A 31-bit seed for libraries that take a number."""
    return int(_sequence(seed, purpose, indices).generate_state(1)[0] & 0x7FFFFFFF)


def _sequence(seed: int, purpose: str, indices: tuple[int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *indices])
