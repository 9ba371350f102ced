import math

import numpy as np
import pytest
from scipy.special import digamma

from oip import mi
from oip.core.errors import DataError
from oip.mi.estimators.gaussian import (
    Gaussian,
    LabelInformation,
    log_determinant,
)


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

    estimator = Gaussian()
    # The bias is d^2 / n at the most.
    assert math.isclose(estimator.information(a, b, 0).nats, h(a) + h(b) - h(a, b), abs_tol=5e-3)
    value = estimator.conditional_information(a, b, c, 0).nats
    assert math.isclose(value, h(a, c) + h(b, c) - h(a, b, c) - h(c), abs_tol=5e-3)
    single = sum(h(x[:, [k]]) for k in range(5))
    assert math.isclose(estimator.total_correlation(x, 0).nats, single - h(x), abs_tol=5e-3)


def test_few_samples_are_unbiased():
    rng = np.random.default_rng(0)
    values = [
        (
            Gaussian().information(*(rng.normal(size=(15, 3)) for _ in range(2)), 0).nats,
            Gaussian().divergence(rng.normal(size=(15, 2)), rng.normal(size=(20, 2)), 0).nats,
        )
        for _ in range(500)
    ]
    # Plain determinants would give .4 and .3; the means of 500 are known to .02.
    assert np.abs(np.mean(values, axis=0)).max() < 0.06


def test_labels_are_told_by_means_and_by_covariances(two_gaussians):
    rng = np.random.default_rng(0)
    y = np.arange(2000) % 2
    wide = rng.normal(size=2000) * np.where(y == 1, 3.0, 1.0)
    # 1/2 ln((1 + 9) / 2) - 1/2 (0 + ln 9) / 2
    expected = 0.5 * math.log(5) - 0.25 * math.log(9)
    assert Gaussian().over_maps(wide[:, None, None], y).raw[0] == pytest.approx(expected, abs=0.04)


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


def test_units_of_the_columns_do_not_matter_about_a_label():
    y = np.arange(400) % 2
    x = np.random.default_rng(0).normal(size=(400, 2))
    x[:, 1] += 1.5 * y
    value = mi.mutual_information(x, y, "gaussian", null=0, draws=0).nats
    assert value > 0.2
    for unit in (1e7, 1e12, 1e-12):
        estimate = mi.mutual_information(x * [unit, 1.0], y, "gaussian", null=0, draws=0)
        assert estimate.nats == pytest.approx(value, rel=1e-9)
    both = np.concatenate([x, x @ [[1.0], [1.0]]], axis=1)  # what follows from others adds nothing
    assert mi.mutual_information(both, y, "gaussian", null=0, draws=0).nats == pytest.approx(value)


def test_what_others_determine_is_at_the_ceiling():
    x = np.random.default_rng(0).normal(size=(100, 2))
    estimate = mi.mutual_information(x, x @ [[1.0, 2.0], [3.0, -1.0]], "gaussian")
    assert estimate.saturated
    assert estimate.ceiling == pytest.approx(2 * 0.5 * math.log(1e12))
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


def test_divergence_of_what_follows_from_others_is_refused():
    a, b, c, d = np.random.default_rng(0).normal(size=(4, 200))
    flat, full = np.stack([a, 1e-6 * b, a + b], axis=1), np.stack([a, b, c], axis=1)
    other = np.stack([c, 1e-6 * d, c + d], axis=1)
    for x, y, name in ((full, flat, "y"), (flat, full, "x"), (flat, other, "x")):
        with pytest.raises(DataError, match=f"^gaussian: {name}: .*full rank.*singular"):
            mi.kl_divergence(x, y, "gaussian")
    # Columns of very different units are no singular covariance.
    units = np.array([1e-9, 1.0, 1e9])
    shown = [
        mi.kl_divergence(s * full + 0.5 * s, s * full[::-1], "gaussian", null=0, draws=0).nats
        for s in (np.ones(3), units)
    ]
    assert shown[1] == pytest.approx(shown[0], rel=1e-9)


def unbiased(x):
    """ln|S| of samples (n, d), as entropies of Gaussians have it."""
    n, d = x.shape
    bias = sum(digamma((n - i) / 2) - math.log((n - 1) / 2) for i in range(1, d + 1))
    return np.linalg.slogdet(np.atleast_2d(np.cov(x.T)))[1] - bias


@pytest.mark.parametrize(("n", "d"), [(60, 1), (60, 3)])
def test_classes_with_light_tails_are_those_of_determinants(n, d):
    # Even samples have less than Gaussian tails: nothing is drawn anywhere.
    rng = np.random.default_rng(0)
    codes = np.arange(n) % 2
    x = rng.uniform(-1, 1, size=(n, d)) * (1 + 0.3 * codes[:, None]) + 0.2 * codes[:, None]
    classes = [x[codes == code] for code in (0, 1)]
    expected = 0.5 * (unbiased(x) - sum(unbiased(own) for own in classes) / 2)
    assert LabelInformation(x)(codes) == pytest.approx(expected, abs=1e-9)


def test_heavy_classes_are_drawn_as_in_loops():
    rng = np.random.default_rng(1)
    codes = np.arange(50) % 2
    x = rng.standard_t(2, size=(50, 2))
    inner = np.concatenate([x[codes == c] - x[codes == c].mean(axis=0) for c in (0, 1)])
    pooled = inner.T @ inner / 50
    turn = np.linalg.inv(np.linalg.cholesky(pooled)).T
    spreads = []
    for code in (0, 1):
        own = (x[codes == code] - x[codes == code].mean(axis=0)) @ turn
        spreads.append(own.T @ own / 25)
    fourth = np.mean([(z @ z) ** 2 for z in inner @ turn])
    heavy = fourth - np.mean([np.trace(s) ** 2 + 2 * (s * s).sum() for s in spreads])
    assert heavy > 0
    total = unbiased(x)
    level = total - np.linalg.slogdet(np.cov(x.T) * 49 / 50)[1]
    value = 0.0
    inverse = np.linalg.inv(np.cov(x.T) * 49 / 50)
    for code, spread in enumerate(spreads):
        drawn = heavy / 25 / (heavy / 25 + ((spread - np.eye(2)) ** 2).sum())
        mixed = (1 - drawn) * spread + drawn * np.eye(2)
        own = x[codes == code]
        alone = unbiased(own) - np.linalg.slogdet(np.cov(own.T) * 24 / 25)[1]
        logs = np.linalg.slogdet(mixed)[1] + np.linalg.slogdet(pooled)[1]
        logs += (1 - drawn) ** 2 * alone + (1 - (1 - drawn) ** 2) * level
        far = np.mean([(row @ inverse @ row) for row in own - x.mean(axis=0)])
        value += 0.5 * min(0.5 * (far - 2 + total - logs), math.log(2))
    assert LabelInformation(x)(codes) == pytest.approx(value, abs=1e-9)


def test_one_image_tells_next_to_nothing():
    x = np.zeros((100, 4))
    x[17, 2] = 1.0
    codes = np.arange(100) % 4
    assert abs(LabelInformation(x)(codes)) < 0.1
    estimate = mi.mutual_information(x, codes, "gaussian")
    assert not estimate.saturated
    assert np.isfinite(estimate.interval).all()
    assert estimate.p_value > 0.5


def test_a_class_that_is_silent_tells_of_itself_alone():
    rng = np.random.default_rng(0)
    codes = np.arange(400) % 4
    x = np.where(codes == 0, 0.0, rng.uniform(size=400))[:, None] * rng.uniform(size=4)
    expected = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    values = LabelInformation(x)(codes)
    assert 0.6 * expected < values < expected
    assert values < 0.5 * math.log(4)


def test_no_class_tells_more_than_its_share_lets_it():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [100, 60, 40])
    far = 1e4 * codes[:, None] + rng.normal(size=(200, 1))
    shares = np.array([0.5, 0.3, 0.2])
    assert LabelInformation(far)(codes) == pytest.approx(-(shares * np.log(shares)).sum())


def test_what_is_constant_or_too_few_knows_nothing():
    codes = np.arange(20) % 2
    assert LabelInformation(np.ones((20, 3)))(codes) == 0.0
    x = np.random.default_rng(0).normal(size=(20, 2))
    flat = np.concatenate([x, np.ones((20, 1))], axis=1)
    assert LabelInformation(flat)(codes) == LabelInformation(x)(codes)
    assert LabelInformation(x[:3])(codes[:3]) == 0.0
    assert LabelInformation(x[:6])(codes[:6]) == 0.0


def test_many_labels_together_are_labels_alone():
    rng = np.random.default_rng(3)
    x = rng.standard_t(3, size=(90, 4))
    x[:, 3] = np.where(np.arange(90) == 5, 1.0, 0.0)  # varies in halves with one sample only
    codes = np.arange(90) % 3
    halves = [np.sort(rng.permutation(90)[:45]) for _ in range(8)]
    labels = [(rng.permutation(codes), None) for _ in range(8)]
    labels += [((rng.permutation(codes) == 1).astype(int), None) for _ in range(2)]
    labels += [(codes[half], half) for half in halves]
    information = LabelInformation(x)
    alone = [LabelInformation(x if half is None else x[half])(own) for own, half in labels]
    for byte_budget in (1 << 20, 1):
        together = information.together(iter(labels), byte_budget)
        assert together == pytest.approx(alone, abs=1e-9)
