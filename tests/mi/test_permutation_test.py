import numpy as np

from oip.mi.permutation_test import ENOUGH, adjusted, p_values


def test_benjamini_hochberg_by_hand():
    # p m / rank is .04 .12 .053 .04; from the largest p downward the smallest so far is kept.
    p = np.array([0.01, 0.03, np.nan, 0.04, 0.04])
    assert np.allclose(adjusted(p), [0.04, 0.04, np.nan, 0.04, 0.04], equal_nan=True)
    assert np.allclose(adjusted(np.array([0.5, 0.001, 0.02, 0.9])), [2 / 3, 0.004, 0.04, 0.9])


def test_adjusted_is_monotone_not_smaller_and_at_most_one():
    p = np.random.default_rng(0).uniform(size=50)
    result = adjusted(p)
    order = np.argsort(p)
    assert (np.diff(result[order]) >= 0).all()
    assert (result >= p - 1e-15).all()
    assert result.max() <= 1


def test_without_shuffles_nothing_is_known():
    assert np.isnan(p_values(np.array([1.0, 2.0]), np.empty((0, 2)))).all()


def test_own_shuffles_are_counted():
    null = np.linspace(0, 1, ENOUGH)[:, None]
    assert p_values(np.array([2.0]), null)[0] == 1 / (ENOUGH + 1)
    assert p_values(np.array([-1.0]), null)[0] == 1.0
    assert p_values(np.array([null[-100, 0]]), null)[0] == 101 / (ENOUGH + 1)


def test_pooled_nulls_reach_smaller_p_values_and_do_not_depend_on_scale():
    rng = np.random.default_rng(0)
    null = rng.normal(size=(40, 30))
    values = np.full(30, 9.0)
    assert np.allclose(p_values(values, null), 1 / (40 * 30 + 1))
    values = rng.normal(size=30)
    scale, shift = rng.uniform(0.1, 10, 30), rng.normal(size=30)
    moved = p_values(values * scale + shift, null * scale + shift)
    assert np.allclose(moved, p_values(values, null), atol=2 / 1200)


def test_pooled_p_values_are_uniform_under_the_null():
    rng = np.random.default_rng(1)
    p = p_values(rng.normal(size=2000), rng.normal(size=(40, 2000)))
    for level in (0.05, 0.2, 0.5):
        assert abs((p <= level).mean() - level) < 0.03


def test_a_longer_null_than_that_of_other_maps_counts():
    rng = np.random.default_rng(4)
    shares = []
    for _ in range(1000):
        null, values = rng.normal(size=(125, 16)), rng.normal(size=16)
        null[:, :4], values[:4] = rng.exponential(size=(125, 4)) ** 2, rng.exponential(size=4) ** 2
        shares.append(p_values(values, null)[:4] <= 0.01)
    assert np.mean(shares) < 0.022  # by the pooled null alone .031


def test_few_pooled_shuffles_do_not_make_small_p_values():
    rng = np.random.default_rng(2)
    p = p_values(rng.normal(size=4000), rng.normal(size=(10, 4000)))
    assert (p <= 0.01).mean() < 0.015
    assert (p <= 0.001).mean() < 0.003


def test_constant_maps_are_never_significant_and_nan_stays():
    null = np.zeros((10, 3))
    null[:, 1] = np.arange(10)
    values = np.array([0.0, 100.0, np.nan])
    p = p_values(values, null)
    assert p[0] == 1.0
    assert p[1] == 1 / 11
    assert np.isnan(p[2])
