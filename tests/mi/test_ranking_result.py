import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oip.mi.estimators.results import MapEstimates
from oip.mi.ranking_result import kendall, rank_intervals, ranks, spearman


def estimates(raw, spread=0.01, draws=200, ceiling=1.0):
    raw = np.array(raw, float)
    noise = np.random.default_rng(0).normal(size=(draws, len(raw))) * spread
    return MapEstimates(
        raw=raw,
        ceiling=np.full(len(raw), ceiling),
        per_class_raw=np.zeros((len(raw), 2)),
        class_ceiling=np.ones(2),
        draws=raw + noise,
        null=np.zeros((10, len(raw))),
    )


def test_clear_orders_have_ranks_without_doubt():
    given = estimates([0.2, 0.8, 0.5])
    low, high = rank_intervals(given, True)
    assert ranks(given, True).tolist() == [3, 1, 2]
    assert low.tolist() == high.tolist() == [3, 1, 2]


def test_intervals_hold_the_rank_and_widen_where_maps_are_alike():
    given = estimates([0.5, 0.501, 0.502, 0.1], spread=0.05)
    low, high = rank_intervals(given, True)
    own = ranks(given, True)
    assert ((low <= own) & (own <= high)).all()
    assert low[:3].tolist() == [1, 1, 1]
    assert high[:3].tolist() == [3, 3, 3]
    assert (low[3], high[3]) == (4, 4)


def test_equal_maps_share_their_places():
    given = estimates([0.5, 0.5, 0.1], spread=0.0)
    low, high = rank_intervals(given, True)
    assert ranks(given, True).tolist() == [1, 2, 3]
    assert low.tolist() == [1, 1, 3]
    assert high.tolist() == [2, 2, 3]


def test_estimates_under_zero_are_no_worse_than_zero():
    given = estimates([-0.2, 0.0, 0.5], spread=0.0)
    low, high = rank_intervals(given, True)
    assert ranks(given, True).tolist() == [2, 3, 1]
    assert low.tolist() == [2, 2, 1]
    assert high.tolist() == [3, 3, 1]


def test_maps_without_a_number_come_last():
    given = estimates([np.nan, -0.5, 0.3, np.nan])
    low, high = rank_intervals(given, True)
    assert ranks(given, True).tolist() == [3, 2, 1, 4]
    assert (low[0], high[0]) == (low[3], high[3]) == (3, 4)


def test_at_the_ceiling_there_is_no_order():
    given = estimates([0.99, 1.0, 0.995, 0.3], spread=0.0)
    low, high = rank_intervals(given, False)
    assert ranks(given, False).tolist() == [1, 2, 3, 4]
    assert low.tolist() == [1, 1, 1, 4]
    assert high.tolist() == [3, 3, 3, 4]
    assert ranks(given, True).tolist() == [3, 1, 2, 4]


def test_without_draws_every_place_is_possible():
    estimates = MapEstimates(
        raw=np.array([0.1, 0.5, 0.3]),
        ceiling=np.ones(3),
        per_class_raw=np.zeros((3, 2)),
        class_ceiling=np.ones(2),
        draws=np.empty((0, 3)),
        null=np.empty((0, 3)),
    )
    low, high = rank_intervals(estimates, True)
    assert (low.tolist(), high.tolist()) == ([1, 1, 1], [3, 3, 3])


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


def test_short_forms_name_the_three_best():
    from oip import mi
    from oip.mi.ranking_result import EstimatorRanking

    given = EstimatorRanking.of(mi.estimator("kde"), estimates([0.2, 0.8, 0.5, 0.1]))
    ranking = mi.Ranking(
        layer="first",
        index=0,
        maps=np.arange(4) + 10,
        classes=("a", "b"),
        estimators=(given,),
        samples=40,
        split="x:test",
        at="response",
        seed=0,
        responses={},
    )
    assert repr(ranking) == (
        "Ranking(first: 4 maps, 40 images, x:test; "
        "best by kde: map 11 (1.15 bits), 12 (0.721 bits), 10 (0.289 bits))"
    )
    assert repr(given) == "EstimatorRanking(kde: 4 maps)"
    file = ranking.to_file("k", "d")
    assert (file.key, file.data_sha256, file.estimators[0].held_out) == ("k", "d", False)
    assert file.public_dict() == ranking.to_dict()
