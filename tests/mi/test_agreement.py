import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oip.mi.ranking_result import kendall, spearman


@settings(deadline=None)
@given(st.permutations(range(7)))
def test_kendall_counts_pairs_in_the_same_order(order):
    values = np.arange(7)
    signs = [np.sign(order[j] - order[i]) for i, j in combinations(range(7), 2)]
    assert kendall(values, np.array(order)) == pytest.approx(np.mean(signs))


@settings(deadline=None)
@given(st.permutations(range(6)))
def test_spearman_is_the_correlation_of_ranks_and_sees_order_alone(order):
    values = np.array(order, float)
    wanted = np.corrcoef(np.arange(6), values)[0, 1]
    assert spearman(np.arange(6), values) == pytest.approx(wanted)
    assert spearman(np.arange(6), np.exp(values)) == pytest.approx(wanted)


def test_ties_and_maps_without_a_number():
    first = np.array([1.0, 2.0, 3.0, np.nan, 5.0])
    assert spearman(first, np.array([1.0, 2.0, 2.0, 9.0, 4.0])) == pytest.approx(
        np.corrcoef([0, 1, 2, 3], [0, 1.5, 1.5, 3])[0, 1]
    )
    assert kendall(first, -first) == -1
    assert math.isnan(kendall(first, np.ones(5)))
    assert math.isnan(spearman(first[:2], first[:2]))
