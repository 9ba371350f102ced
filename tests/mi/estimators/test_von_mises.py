import math

import numpy as np
import pytest

from oip.core.errors import DataError
from oip.mi.estimators.von_mises import Vme


def density(x, rows, i, width):
    """Leave-one-out density of sample i by a Gaussian kernel, written out."""
    d = x.shape[1]
    total = sum(
        math.exp(-float(((x[i] - x[j]) ** 2).sum()) / (2 * width**2)) for j in rows if j != i
    )
    return total / (len([j for j in rows if j != i]) * (width * math.sqrt(2 * math.pi)) ** d)


@pytest.fixture
def few():
    rng = np.random.default_rng(0)
    both = rng.normal(size=(40, 3))
    both[:, 2] += both[:, 0]
    return (both - both.mean(axis=0)) / both.std(axis=0)


def silverman(n, d):
    return (4 / ((d + 2) * n)) ** (1 / (d + 4))


def test_entropy_and_total_correlation_are_those_of_double_loops(few):
    rows, width = range(40), 0.7 * silverman(40, 3)
    joint = np.mean([math.log(density(few, rows, i, width)) for i in rows])
    estimator = Vme(bandwidth=0.7)
    assert math.isclose(estimator.entropy(few, 0).nats, -joint, rel_tol=1e-10)
    assert math.isclose(
        estimator.entropy(few * [2, 3, 4] + 9, 0).nats, -joint + math.log(24), rel_tol=1e-9
    )
    single = sum(
        np.mean([math.log(density(few[:, [c]], rows, i, width)) for i in rows]) for c in range(3)
    )
    assert math.isclose(estimator.total_correlation(few, 0).nats, joint - single, rel_tol=1e-9)


def test_informations_are_those_of_double_loops(few):
    x, y, z = few[:, :1], few[:, 2:], few[:, 1:2]

    def logs(width, *parts):
        joined = np.concatenate(parts, axis=1)
        return np.mean([math.log(density(joined, range(40), i, width)) for i in range(40)])

    two, three = silverman(40, 2), silverman(40, 3)
    expected = logs(two, x, y) - logs(two, x) - logs(two, y)
    assert math.isclose(Vme().information(x, y, 0).nats, expected, rel_tol=1e-9)
    expected = logs(three, x, y, z) + logs(three, z) - logs(three, x, z) - logs(three, y, z)
    value = Vme().conditional_information(x, y, z, 0).nats
    assert math.isclose(value, expected, rel_tol=1e-9)


def test_a_label_is_that_of_double_loops(few):
    codes = np.arange(40) % 3
    squares = ((few[:, None] - few) ** 2).sum(axis=2)[np.triu_indices(40, 1)]
    width = silverman(40, 3) * math.sqrt(np.median(squares) / 6)
    total = 0.0
    for i in range(40):
        own = np.flatnonzero(codes == codes[i])
        total += math.log(density(few, own, i, width) / density(few, range(40), i, width))
    result = Vme().over_maps(few[:, None], codes, 0, 5, 5)
    assert math.isclose(result.raw[0], total / 40, rel_tol=1e-9)


def test_divergence_is_that_of_double_loops(few):
    y = np.random.default_rng(1).normal(size=(30, 3))
    spread = np.concatenate([few, y]).std(axis=0)
    both = np.concatenate([few, y]) / spread
    width = silverman(30, 3)
    first, second = range(40), range(40, 70)
    logs = [
        math.log(density(both, first, i, width) / density(both, second, i, width)) for i in first
    ]
    top = 1 / (width * math.sqrt(2 * math.pi)) ** 3
    ratios = [
        density(both, first, j, width) / ((density(both, second, j, width) * 29 + top) / 30)
        for j in second
    ]
    expected = np.mean(logs) - np.mean(ratios) + 1
    assert math.isclose(Vme().divergence(few, y, 0).nats, expected, rel_tol=1e-9)


def test_the_null_is_the_estimate_of_shuffled_samples(few):
    from oip.mi.estimators.base import Estimator

    x, y = few[:, :1], few[:, 2:]
    quick = Vme().information_null(x, y, 5, 3)
    assert np.allclose(quick, Estimator.information_null(Vme(), x, y, 5, 3), atol=1e-10)
    assert np.ptp(quick) > 0


def test_a_sample_that_is_far_from_all_is_bounded():
    x = np.concatenate([np.random.default_rng(0).normal(size=(30, 1)), [[1e9]]])
    assert math.isfinite(Vme().entropy(x, 0).nats)
    codes = np.arange(31) % 2
    assert math.isfinite(Vme().over_maps(x[:, None], codes).raw[0])
    assert math.isfinite(Vme().divergence(x, x[:20] + 1e12, 0).nats)


def test_constants_have_no_entropy():
    with pytest.raises(DataError, match="constant"):
        Vme().entropy(np.ones((20, 2)), 0)
    with pytest.raises(DataError, match="constant"):
        Vme().divergence(np.ones((20, 2)), np.ones((20, 2)), 0)


def test_blocks_of_rows_do_not_matter(few):
    few = few[:39]  # an odd number of pairs, whose median is one of them
    x, y = few[:, :1], few[:, 2:]
    codes = np.arange(39) % 3

    def all_values(estimator):
        maps = estimator.over_maps(few[:, None], codes, 0, 5, 5)
        numbers = [
            estimator.information(x, y, 0).nats,
            estimator.entropy(few, 0).nats,
            estimator.total_correlation(few, 0).nats,
            estimator.conditional_information(x, y, few[:, 1:2], 0).nats,
            estimator.divergence(few, few[:30] + 0.5, 0).nats,
        ]
        return [
            np.array(numbers),
            estimator.information_null(x, y, 4, 0),
            maps.raw,
            maps.draws,
            maps.null,
        ]

    pairs = zip(all_values(Vme()), all_values(Vme(byte_budget=8 * 39 * 7)), strict=True)
    for whole, in_blocks in pairs:
        assert np.allclose(in_blocks, whole, rtol=1e-5, atol=1e-7)


def test_columns_of_a_total_correlation_are_taken_one_at_a_time():
    import tracemalloc

    x = np.random.default_rng(0).normal(size=(500, 40))
    tracemalloc.start()
    Vme().total_correlation(x, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 8 * 500 * 500  # a matrix a column would be 40


def test_samples_without_another_in_reach_are_told():
    x = np.random.default_rng(0).normal(size=(50, 2))
    assert not Vme().entropy(x, 0).notices
    estimator = Vme(bandwidth=1e-9)
    y = np.random.default_rng(1).normal(size=(30, 2))
    for value in (
        estimator.entropy(x, 0),
        estimator.information(x[:, :1], x[:, 1:], 0),
        estimator.total_correlation(x, 0),
        estimator.divergence(x, y, 0),
    ):
        assert math.isfinite(value.nats)
        assert "100.0% of the samples have no other" in value.notices[0]
