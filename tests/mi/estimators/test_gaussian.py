import math

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError
from oip.mi.estimators.gaussian import Gaussian, log_determinant


def test_determinants_are_those_of_the_covariance_less_their_bias():
    from scipy.special import digamma

    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 4)) * 1e3
    plain = np.linalg.slogdet(np.cov(x.T))[1]
    bias = sum(digamma((30 - i) / 2) - math.log(29 / 2) for i in range(1, 5))
    assert math.isclose(log_determinant(x), plain - bias, rel_tol=1e-9)


def test_informations_are_nearly_those_of_determinants():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 5)) @ rng.normal(size=(5, 5))
    a, b, c = x[:, :2], x[:, 2:4], x[:, 4:]

    def h(*parts):
        return 0.5 * np.linalg.slogdet(np.atleast_2d(np.cov(np.concatenate(parts, axis=1).T)))[1]

    one = Gaussian()
    # The bias is d^2 / n at the most.
    assert math.isclose(one.information(a, b, 0).nats, h(a) + h(b) - h(a, b), abs_tol=5e-3)
    found = one.conditional_information(a, b, c, 0).nats
    assert math.isclose(found, h(a, c) + h(b, c) - h(a, b, c) - h(c), abs_tol=5e-3)
    single = sum(h(x[:, [k]]) for k in range(5))
    assert math.isclose(one.total_correlation(x, 0).nats, single - h(x), abs_tol=5e-3)


def test_few_samples_are_unbiased():
    rng = np.random.default_rng(0)
    found = [
        (
            Gaussian().information(*(rng.normal(size=(15, 3)) for _ in range(2)), 0).nats,
            Gaussian().divergence(rng.normal(size=(15, 2)), rng.normal(size=(20, 2)), 0).nats,
        )
        for _ in range(500)
    ]
    # Plain determinants would give .4 and .3; the means of 500 are known to .02.
    assert np.abs(np.mean(found, axis=0)).max() < 0.06


def test_labels_are_told_by_means_and_by_covariances(two_gaussians):
    rng = np.random.default_rng(0)
    y = np.arange(2000) % 2
    wide = rng.normal(size=2000) * np.where(y == 1, 3.0, 1.0)
    # 1/2 ln((1 + 9) / 2) - 1/2 (0 + ln 9) / 2
    wanted = 0.5 * math.log(5) - 0.25 * math.log(9)
    assert Gaussian().over_maps(wide[:, None, None], y).raw[0] == pytest.approx(wanted, abs=0.04)


def test_wide_responses_are_reduced_and_small_classes_tell_nothing():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = rng.normal(size=(60, 200)) * 0.1
    x[:, 0] += 4 * y
    result = Gaussian().over_maps(x[:, None], y, 0, 40, 20)
    assert np.isfinite(result.draws).all()
    assert result.mi[0] > 0.9 * math.log(3)
    assert result.p_value[0] < 0.05
    pairs = np.repeat(np.arange(5), 2)
    assert Gaussian().over_maps(x[:10, None], pairs).raw[0] == 0.0


def test_what_others_determine_is_at_the_ceiling():
    x = np.random.default_rng(0).normal(size=(100, 2))
    one = mi.mutual_information(x, x @ [[1.0, 2.0], [3.0, -1.0]], "gaussian")
    assert one.saturated
    assert one.ceiling == pytest.approx(2 * 0.5 * math.log(1e12))
    assert mi.total_correlation(np.concatenate([x, x], axis=1), "gaussian").nats > 20


def test_what_has_no_determinant_is_refused():
    x = np.random.default_rng(0).normal(size=(10, 12))
    with pytest.raises(DataError, match="at least 14 samples for 12 columns"):
        Gaussian().entropy(x, 0)
    x[:, 0] = 3.0
    for call in (
        lambda: Gaussian().entropy(x, 0),
        lambda: Gaussian().divergence(x[:, :2], x[:, 1:3], 0),
        lambda: Gaussian().divergence(x[:, 1:3], x[:, :2], 0),
    ):
        with pytest.raises(DataError, match="constant"):
            call()
