"""Random numbers by purpose and indices."""

from __future__ import annotations

import numpy as np

from oip.core.seeds import derived_seed, generator, subset


def test_a_subset_is_in_order_and_of_the_items():
    items = np.array([9, 4, 7, 1])
    drawn = subset(items, 3, 0, "images")
    assert drawn.tolist() == sorted(drawn.tolist()) and set(drawn) < set(items)
    assert subset(4, 9, 0, "images").tolist() == [0, 1, 2, 3]
    assert np.array_equal(drawn, np.sort(generator(0, "images").permutation(items)[:3]))


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
