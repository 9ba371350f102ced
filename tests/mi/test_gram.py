import numpy as np
import pytest

import mi.gram as gram
from oip.core.errors import SettingsError


def brute_force(x):
    return np.array([[np.sum((a - b) ** 2) for b in x] for a in x])


def test_distances_are_those_of_a_double_loop():
    x = np.random.default_rng(0).normal(size=(20, 5))
    assert np.allclose(gram.squared_distances(x), brute_force(x), atol=1e-12)


def test_distances_are_symmetric_not_negative_and_zero_between_equal_rows():
    x = np.random.default_rng(0).normal(size=(30, 400)).astype(np.float32) * 1e3
    x[7] = x[21]
    distances = gram.squared_distances(x)
    assert (distances == distances.T).all()
    assert (distances >= 0).all()
    assert (np.diagonal(distances) == 0).all()
    assert distances[7, 21] == 0
    assert (distances > 0).sum() == 30 * 29 - 2


def test_a_large_offset_costs_no_precision():
    x = np.random.default_rng(0).normal(size=(20, 5))
    assert np.allclose(gram.squared_distances(x + 1e6), brute_force(x), rtol=1e-6, atol=1e-7)


def test_columns_at_a_time_give_the_same(monkeypatch):
    x = np.random.default_rng(0).normal(size=(20, 50))
    whole = gram.squared_distances(x)
    monkeypatch.setattr(gram, "_COLUMN_BUDGET", 8 * 20 * 7)
    assert np.allclose(gram.squared_distances(x), whole, rtol=1e-13, atol=1e-12)


def test_the_median_leaves_out_the_diagonal_and_is_zero_for_constants_only():
    x = np.array([[0.0], [1.0], [3.0]])
    assert gram.median_squared_distance(brute_force(x)) == 4.0
    mostly_silent = np.zeros((20, 1))
    mostly_silent[0] = 3.0
    assert gram.median_squared_distance(brute_force(mostly_silent)) == 9.0
    assert gram.median_squared_distance(np.zeros((5, 5))) == 0.0


def test_too_many_samples_are_refused():
    with pytest.raises(SettingsError, match="at most 11585"):
        gram.squared_distances(np.zeros((12_000, 1)))
