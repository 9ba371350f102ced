from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from oip.core.errors import SettingsError
from oip.mi.class_patterns import centered_ranks, cliffs_delta, quantile
from oip.mi.permutation_test import ShuffleTest


def _members(count, first):
    return np.arange(count) < first


def test_scores_are_those_of_mann_and_whitney_with_ties():
    values = np.random.default_rng(0).integers(0, 4, (30, 3, 2)).astype(float)
    members = _members(30, 11)
    test = ShuffleTest(members, 19, 0, two_sided=True)
    scores = test.add([centered_ranks(values)])
    for node in np.ndindex(3, 2):
        column = values[(slice(None), *node)]
        expected = stats.mannwhitneyu(
            column[members], column[~members], use_continuity=False, method="asymptotic"
        ).pvalue
        assert 2 * stats.norm.sf(abs(scores[node])) == pytest.approx(expected, rel=1e-4)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 10**6))
def test_delta_counts_the_pairs(first, second, seed):
    values = np.random.default_rng(seed).integers(0, 5, (first + second, 2, 3))
    members = _members(first + second, first)
    higher = np.sign(values[members][:, None] - values[~members][None])
    assert np.allclose(cliffs_delta(centered_ranks(values), members), higher.mean(axis=(0, 1)))


@given(st.integers(0, 10**6), st.integers(0, 100))
def test_the_threshold_is_a_quantile_of_what_is_above_zero(seed, step):
    level = (step + 0.5) / 101
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(20, 3))
    above = values[values > 0]
    plain = np.quantile(above, level, method="inverted_cdf")
    assert quantile(values, np.full(20, 0.05), level) == pytest.approx(plain)
    # An image of double weight is as good as the image twice.
    weights = draw.integers(1, 4, 20)
    repeated = np.repeat(values, weights, axis=0)
    assert quantile(values, weights.astype(float), level) == pytest.approx(
        np.quantile(repeated[repeated > 0], level, method="inverted_cdf")
    )


def test_a_map_without_responses_has_the_threshold_zero():
    assert quantile(np.full((5, 2), -1.0), np.ones(5), 0.5) == 0.0
    assert quantile(np.ones((5, 2)), np.ones(5), 0.0) == 0.0


def test_p_values_approach_those_of_all_ways_to_hand_out_the_class():
    numbers = np.random.default_rng(4).normal(size=(8, 2, 2))
    numbers[:4, 0, 1] += 1.5
    members = _members(8, 4)
    ways = [np.isin(np.arange(8), way) for way in combinations(range(8), 4)]
    centred = numbers - numbers.mean(axis=0)
    spread = np.sqrt(4 * 4 / (8 * 7) * (centred**2).sum(axis=0))
    scores = np.array([np.abs(centred[way].sum(axis=0) / spread) for way in ways])
    own = np.abs(centred[members].sum(axis=0) / spread)
    exact_node = (scores.max(axis=(1, 2))[:, None, None] >= own - 1e-9).mean(axis=0)
    exact_map = (scores.max(axis=2) >= own.max(axis=1) - 1e-9).mean(axis=0)
    test = ShuffleTest(members, 4000, 1, two_sided=True)
    for part in np.split(numbers, 2, axis=1):  # blocks share their shuffles
        test.add([part])
    assert np.allclose(test.node_p_values(), exact_node, atol=0.03)
    assert np.allclose(test.map_p_values(), exact_map, atol=0.03)


def test_one_block_or_many_are_the_same():
    numbers = np.random.default_rng(0).normal(size=(24, 6, 4))
    whole, parts = (ShuffleTest(_members(24, 9), 99, 3, two_sided=False) for _ in range(2))
    scores = whole.add([numbers])
    joined = np.concatenate(
        [parts.add(np.split(part, 2, axis=2)) for part in np.split(numbers, 3, axis=1)]
    )
    assert np.allclose(scores, joined, atol=1e-5)
    assert np.array_equal(whole.node_p_values(), parts.node_p_values())
    assert np.array_equal(whole.map_p_values(), parts.map_p_values())


def test_maps_without_a_difference_have_uniform_p_values():
    numbers = np.random.default_rng(2).normal(size=(40, 400, 3))
    test = ShuffleTest(_members(40, 15), 999, 0, two_sided=True)
    test.add([centered_ranks(numbers)])
    p = test.map_p_values()
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert p.min() >= 1 / 1000


def test_the_family_of_all_nodes_errs_in_one_case_of_twenty():
    def smallest(seed):
        # Sparse, and nodes of a map much alike, as responses are.
        draw = np.random.default_rng(seed)
        common = draw.normal(size=(30, 5, 1))
        numbers = np.maximum(common + draw.normal(size=(30, 5, 4)) - 0.5, 0.0)
        test = ShuffleTest(_members(30, 12), 99, seed, two_sided=True)
        test.add([centered_ranks(numbers)])
        return test.node_p_values().min()

    errs = sum(smallest(seed) <= 0.05 for seed in range(400))
    assert stats.binomtest(errs, 400, 0.05).pvalue > 0.001


def test_nodes_that_never_differ_have_score_zero_and_p_one():
    numbers = np.ones((20, 1, 2))
    numbers[:, 0, 1] = np.arange(20)
    test = ShuffleTest(_members(20, 10), 99, 0, two_sided=True)
    assert test.add([numbers])[0, 0] == 0.0
    assert test.node_p_values()[0].tolist() == [1.0, 0.01]


def test_one_sided_takes_no_notice_of_less():
    numbers = np.zeros((40, 1, 1))
    numbers[:20] = -1.0
    for two_sided, expected in ((True, 0.01), (False, 1.0)):
        test = ShuffleTest(_members(40, 20), 99, 0, two_sided=two_sided)
        test.add([numbers])
        assert test.node_p_values()[0, 0] == expected


@pytest.mark.parametrize("shuffles", [18, 0, True, 99.0])
def test_too_few_shuffles(shuffles):
    with pytest.raises(SettingsError, match="whole number from 19"):
        ShuffleTest(_members(10, 5), shuffles, 0, two_sided=True)
