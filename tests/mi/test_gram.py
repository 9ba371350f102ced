import numpy as np
import pytest

import oip.mi.estimators.gram as gram
from oip import mi
from oip.core.errors import SettingsError
from oip.mi.estimators.kde import Kde


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


@pytest.mark.parametrize("rows", [1, 7, 30, 100])
def test_blocks_of_rows_are_the_matrix(monkeypatch, rows):
    x = np.random.default_rng(0).normal(size=(30, 40)) + 5
    x[7] = x[21]
    whole = gram.squared_distances(x)
    monkeypatch.setattr(gram, "_BLOCK_BUDGET", 8 * 30 * rows)
    found = gram.Distances(x)
    assert found.whole == (rows >= 30)
    for _ in range(2):  # also after the median kept a block for the next reader
        blocks = list(found.blocks())
        assert [block.shape[0] for _, block in blocks][:-1] == [min(rows, 30)] * (len(blocks) - 1)
        joined = np.concatenate([block for _, block in blocks])
        assert np.allclose(joined, whole, rtol=1e-12, atol=1e-11)
        assert (joined == 0).sum() == 30 + 2
        assert found.median == pytest.approx(gram.median_squared_distance(whole), rel=0.02)


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).normal(size=(201, 3)),
        np.random.default_rng(0).normal(size=(201, 3)) * 1e-40,
        np.maximum(np.random.default_rng(0).normal(size=(201, 1)) - 1, 0),
        np.arange(201.0)[:, None] ** 9,
    ],
)
def test_the_median_of_blocks_is_the_median(monkeypatch, x):
    wanted = gram.Distances(x).median
    monkeypatch.setattr(gram, "_BLOCK_BUDGET", 8 * 201 * 50)
    # To a part in a million, but for the gap in the middle of an even number of pairs.
    order = np.sort(brute_force(x)[np.triu_indices(201, 1)])
    order = order[order > 0] if np.median(order) == 0 else order
    near = order[len(order) // 2 - 1 : len(order) // 2 + 1]
    found = gram.Distances(x).median
    assert near[0] * (1 - 1e-6) <= found <= near[1] * (1 + 1e-6)
    assert near[0] * (1 - 1e-9) <= wanted <= near[1] * (1 + 1e-9)


def test_constants_are_known_without_a_matrix(monkeypatch):
    monkeypatch.setattr(gram.Distances, "_block", None)
    same = gram.Distances(np.full((50, 3), 0.1))
    assert same.constant
    assert same.median == 0.0
    assert not gram.Distances(np.eye(50)).constant


def test_too_many_samples_are_refused_where_all_distances_are_needed(monkeypatch):
    with pytest.raises(SettingsError, match=r"at most 11585.*whole matrix"):
        gram.squared_distances(np.zeros((12_000, 1)))
    monkeypatch.setattr(gram, "_MATRIX_BUDGET", 8 * 40 * 40)
    monkeypatch.setattr(gram, "_BLOCK_BUDGET", 8 * 40 * 40)
    x = np.random.default_rng(0).normal(size=(90, 2))
    assert Kde().over_maps(x[:, None], np.arange(90) % 2, 0, 3, 3).raw.shape == (1,)
    for name in ("renyi", "dse"):
        with pytest.raises(SettingsError, match="at most 40 samples; received 90"):
            mi.entropy(x, name)


def test_what_differs_too_little_for_squares_is_constant():
    x = np.random.default_rng(0).normal(size=(20, 3))
    for scale in (1e-142, 1e-170, 1e-300):
        assert gram.Distances(x * scale).constant
        assert (gram.squared_distances(x * scale) == 0).all()
        found = Kde().over_maps(x[:, None] * scale, np.arange(20) % 2)
        assert found.raw[0] == 0.0
