"""One class against the rest, from held-out predictions: against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from oip import mi
from oip.mi.estimators.held_out import OneVsRest
from oip.mi.estimators.results import joined
from oip.mi.validation import class_entropies


@pytest.fixture
def predicted():
    """Log-probabilities of three classes that know a little of 60 labels."""
    random = np.random.default_rng(0)
    codes = np.sort(random.integers(0, 3, 60))
    odds = random.normal(size=(3, 60))
    odds[0] += 1.5 * (codes == 0)
    odds -= np.log(np.exp(odds).sum(axis=0))
    return odds, codes


def _value(odds, codes, labels, chosen):
    """Bits about class `chosen`, its probability being p or 1 - p."""
    p = np.exp(odds[chosen])
    return class_entropies(codes)[chosen] + np.log(np.where(labels == chosen, p, 1 - p)).mean()


def test_values_and_p_values_against_brute_force(predicted):
    odds, codes = predicted
    random = np.random.default_rng(1)
    mixed = np.array([random.permutation(codes) for _ in range(300)])
    one = OneVsRest(odds, codes, np.ones((1, 60)))
    for part in np.array_split(mixed, 4):
        one.add(part)
    for chosen in range(3):
        value = _value(odds, codes, codes, chosen)
        assert one.raw[chosen] == pytest.approx(value)
        null = np.array([_value(odds, codes, labels, chosen) for labels in mixed])
        assert one.p_value[chosen] == pytest.approx((1 + (null >= value).sum()) / 301)
    assert one.p_value[0] < 0.05 < one.p_value[1:].max()


def test_ends_are_those_of_the_draws(predicted):
    odds, codes = predicted
    random = np.random.default_rng(2)
    places = random.integers(0, 60, (100, 60))
    weights = np.array([np.bincount(row, minlength=60) for row in places])
    found = OneVsRest(odds, codes, weights).ends
    p = np.exp(odds[1])
    gains = class_entropies(codes)[1] + np.log(np.where(codes == 1, p, 1 - p))
    wanted = np.quantile(gains[places].mean(axis=1), [0.025, 0.975])
    assert found[1] == pytest.approx(wanted)


def test_without_shuffles_or_draws_nothing_is_said(predicted):
    one = OneVsRest(*predicted, np.empty((0, 60)))
    assert np.isnan(one.p_value).all() and np.isnan(one.ends).all()


def test_a_constant_map_is_never_above_its_null():
    codes = np.arange(40) % 4
    odds = np.log(np.full((4, 40), 0.25))
    one = OneVsRest(odds, codes, np.ones((1, 40)))
    one.add(np.array([np.random.default_rng(s).permutation(codes) for s in range(50)]))
    assert (one.p_value == 1).all() and one.raw == pytest.approx(np.zeros(4))


@pytest.fixture(scope="module")
def estimates():
    """Maps of which one knows the label, one knows class 0 only, and one nothing."""
    random = np.random.default_rng(3)
    codes = np.arange(240) % 3
    x = random.normal(size=(240, 3, 2))
    x[:, 0] += 4 * np.eye(3)[codes][:, :2]
    x[:, 1] += 4 * (codes == 0)[:, None]
    return mi.estimator("decoder").over_maps(x, codes, shuffles=200, draws=100)


def test_estimates_carry_them(estimates):
    low, high, p = estimates.per_class_low, estimates.per_class_high, estimates.per_class_p
    assert low.shape == high.shape == p.shape == (3, 3)
    assert (low <= estimates.per_class).all() and (estimates.per_class <= high).all()
    assert (p[0] < 0.01).all() and p[1, 0] < 0.01 and (p[2] > 0.01).all()
    assert low[0].min() > 0


def test_blocks_are_joined_and_spread_with_them(estimates):
    both = joined([estimates, estimates]).spread(np.array([True, False, *[True] * 5]))
    assert both.per_class_p.shape == (7, 3) and both.per_class_ends.shape == (7, 3, 2)
    assert np.isnan(both.per_class_p[1]).all() and np.isnan(both.per_class_low[1]).all()
    assert np.array_equal(both.per_class_p[4:], estimates.per_class_p)
    bare = mi.estimator("kde").over_maps(
        np.random.default_rng(0).normal(size=(60, 2, 2)), np.arange(60) % 2, one_vs_rest=False
    )
    assert joined([bare, bare]).per_class_low is bare.per_class_low
