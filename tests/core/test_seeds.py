"""Random numbers by purpose and indices."""

from __future__ import annotations

import numpy as np

from oip.core.seeds import derived_seed, generator


def test_seeds_depend_on_purpose_and_indices_alone():
    first = generator(0, "start", 1, 2).random(4)
    generator(0, "start", 9, 9).random(100)
    assert np.array_equal(first, generator(0, "start", 1, 2).random(4))
    different = [
        generator(1, "start", 1, 2),
        generator(0, "white", 1, 2),
        generator(0, "start", 2, 1),
    ]
    for other in different:
        assert not np.array_equal(first, other.random(4))
    assert 0 <= derived_seed(5, "x") < 2**31
