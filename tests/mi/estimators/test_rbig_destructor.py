import math

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, SettingsError
from oip.mi.estimators.density_destructor import ROTATIONS, gaussian_divergence, sorted_entropies


def circles(n, seed):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n)
    radius = np.where(rng.random(n) < 0.5, 1, 2) + 0.08 * rng.normal(size=n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def relu(n, seed):
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(size=(n, 4)) @ rng.normal(size=(4, 4)), 0)


@pytest.mark.parametrize("kind", ROTATIONS)
@pytest.mark.parametrize("make", [circles, relu])
def test_the_inverse_undoes_the_transform_of_training_data(kind, make):
    x = make(1000, 0)
    fitted = mi.Destructor(30, kind).fit(x)
    assert np.abs(fitted.inverse(fitted.transform(x)) - x).max() < 1e-6


def test_new_and_far_samples_have_an_inverse(student_t):
    fitted = mi.Destructor(30).fit(student_t(3, 3).samples(1000, 0))
    new = student_t(3, 3).samples(1000, 1) * 5
    assert np.abs(fitted.inverse(fitted.transform(new)) - new).max() < 1e-6 * np.abs(new).max()


@pytest.mark.parametrize("kind", ["random", "ica"])
def test_circles_become_a_gaussian_and_come_back(kind):
    fitted = mi.Destructor(60, kind).fit(circles(4000, 0))
    z = fitted.transform(circles(4000, 1))
    assert np.allclose(z.mean(axis=0), 0, atol=0.1)
    assert np.allclose(np.cov(z.T), np.eye(2), atol=0.12)
    angle = np.arctan2(z[:, 0], z[:, 1])
    assert np.abs(np.histogram(angle, 8)[0] / 500 - 1).max() < 0.3
    radius = np.hypot(*fitted.sample(4000, seed=2).T)
    for ring in (1, 2):
        assert 0.25 < (np.abs(radius - ring) < 0.25).mean() < 0.65
    assert (np.abs(radius - 1.5) < 0.2).mean() < 0.2  # .4 of even radii from 0 to 2


def test_the_two_forms_of_total_correlation_agree(student_t):
    # Eq. 6, with the expected log-Jacobian, and eq. 7, the sum over layers. They differ by what
    # histograms and pieces make of one marginal, some .001 a coordinate and layer.
    for x in (student_t(5, 3, mixed=True).samples(10_000, 0), circles(10_000, 0)):
        fitted = mi.Destructor(20, "random").fit(x)
        z = fitted.transform(x)
        change = sorted_entropies(np.sort(x.T)).sum() - sorted_entropies(np.sort(z.T)).sum()
        equation_6 = change + fitted.log_jacobian(x).mean()
        assert abs(equation_6 - fitted.total_correlation) < 0.03 * 20 / 10
        assert fitted.total_correlation == pytest.approx(fitted.removed.sum())


@pytest.mark.parametrize("kind", ["pca", "random"])
def test_the_two_forms_agree_in_ten_dimensions(student_t, kind):
    x = student_t(3, 10, mixed=True).samples(10_000, 1)
    fitted = mi.Destructor(50, kind).fit(x)
    z = fitted.transform(x)
    change = sorted_entropies(np.sort(x.T)).sum() - sorted_entropies(np.sort(z.T)).sum()
    equation_6 = change + fitted.log_jacobian(x).mean()
    # Pieces and histograms differ by some .0001 a coordinate and layer, all to one side.
    assert equation_6 == pytest.approx(fitted.total_correlation, rel=0.1)


def test_the_density_is_that_of_the_distribution(student_t):
    truth = student_t(5, 3)
    x, new = truth.samples(5000, 0), truth.samples(5000, 1)
    fitted = mi.Destructor(40).fit(x)
    constant = -truth._unit(3)  # of the mean log-density
    assert abs(fitted.log_density(new).mean() - constant) < 0.12
    outside = fitted.log_density(np.full((1, 3), 100.0))
    assert outside[0] < fitted.log_density(np.zeros((1, 3)))[0] - 5


def test_a_density_has_the_integral_one():
    fitted = mi.Destructor(10).fit(np.random.default_rng(0).exponential(size=(800, 1)))
    at = np.linspace(-40, 60, 400_001)
    density = np.exp(fitted.log_density(at[:, None]))
    assert np.trapezoid(density, at) == pytest.approx(1, abs=1e-3)


def test_gaussian_data_have_no_total_correlation_left_to_find():
    # A marginal map that fits noise would find some .01 a layer and coordinate.
    x = np.random.default_rng(0).normal(size=(3000, 5))
    assert abs(mi.Destructor(40, "random").fit(x).total_correlation) < 0.03


def test_the_rule_of_the_paper_stops_and_leaves_the_last_layers_out(student_t):
    x = student_t(3, 3, mixed=True).samples(2000, 0)
    fitted = mi.Destructor(500, "random", "paper").fit(x)
    assert fitted.stopped
    assert fitted.removed.size < 440
    assert fitted.removed.size == 0 or fitted.removed[-1] > 0
    assert (fitted.removed >= 0).all()
    assert not mi.Destructor(10, "random", "paper").fit(x).stopped
    assert np.abs(fitted.inverse(fitted.transform(x)) - x).max() < 1e-6


def test_seeds_make_it_the_same():
    x = circles(500, 0)
    first, same, other = (mi.Destructor(5, "random", seed=s).fit(x) for s in (1, 1, 2))
    assert np.array_equal(first.transform(x), same.transform(x))
    assert not np.array_equal(first.transform(x), other.transform(x))
    assert np.array_equal(first.sample(9, 4), same.sample(9, 4))


def test_divergence_of_rows_from_standard_gaussians():
    rows = np.random.default_rng(0).normal(size=(2, 20_000))
    rows[1] = 0.5 * rows[1] + 1
    truth = 0.5 * (0.25 + 1 - 1) - math.log(0.5)
    assert abs(gaussian_divergence(rows) - truth) < 0.03


def test_bad_input():
    one = mi.Destructor(3)
    with pytest.raises(DataError, match=r"Call fit"):
        one.transform(circles(10, 0))
    with pytest.raises(DataError, match=r"Call fit"):
        one.sample(3)
    with pytest.raises(DataError, match=r"column 1 constant"):
        one.fit(np.stack([np.arange(9.0), np.ones(9)], axis=1))
    with pytest.raises(DataError, match=r"NaN"):
        one.fit(np.full((9, 2), np.nan))
    one.fit(circles(100, 0))
    with pytest.raises(DataError, match=r"2 columns, as it was fitted to; received 3"):
        one.inverse(np.zeros((4, 3)))
    with pytest.raises(SettingsError, match=r"count"):
        one.sample(0)
    for settings in ({"layers": 0}, {"rotation": "none"}, {"stopping": "never"}, {"seed": -1}):
        with pytest.raises(SettingsError, match=rf"destructor: {next(iter(settings))}"):
            mi.Destructor(**settings)
