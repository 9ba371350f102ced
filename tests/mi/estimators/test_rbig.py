import math

import numpy as np
import pytest
from scipy.stats import norm

from oip import mi
from oip.core.errors import DataError, SettingsError
from oip.mi.estimators.rbig import Rbig
from oip.mi.permutation_test import p_values


@pytest.mark.parametrize(("nu", "d"), [(3, 10), (5, 10)])
def test_total_correlation_of_t_in_ten_dimensions(student_t, nu, d):
    truth = student_t(nu, d, mixed=True)
    value = Rbig().total_correlation(truth.samples(5_000, 1), 0).nats
    # What is symmetric under rotations is found slowly, so that it comes out under the truth.
    assert 0.8 < value / truth.total_correlation < 1.05


@pytest.mark.parametrize("nu", [3, 5])
@pytest.mark.parametrize("mixed", [True, False])
def test_three_dimensions_are_within_what_the_paper_has(student_t, nu, mixed):
    truth = student_t(nu, 3, mixed=mixed)
    value = Rbig().total_correlation(truth.samples(10_000, 0), 0).nats
    assert 0.2 < value / truth.total_correlation < 1.5


@pytest.mark.parametrize(("nu", "tabled"), [(3, 0.11047), (5, 0.04649)])
def test_total_correlation_of_t_in_three_dimensions(student_t, nu, tabled):
    truth = student_t(nu, 3)
    assert truth.total_correlation == pytest.approx(tabled, abs=1e-5)
    values = [Rbig().total_correlation(truth.samples(10_000, seed), 0).nats for seed in range(3)]
    # Sampling error of one run is about .012, and a sixth is not found.
    assert abs(np.mean(values) - tabled) < 0.03


def test_information_of_t_is_found_in_part(student_t):
    # The known hard case: blocks that share their scale alone.
    truth = student_t(3, 20)
    x = truth.samples(3000, 0)
    assert truth.information(10) == pytest.approx(0.51946, abs=1e-5)
    value = Rbig().information(x[:, :10], x[:, 10:], 0).nats
    assert -0.15 < value < 0.4


@pytest.mark.parametrize(
    ("nu", "d", "tabled", "least", "most"),
    # One run has an error of .03 nats; lighter tails share less of a scale.
    [(3, 3, 0.17871, 0.3, 1.2), (5, 3, 0.08902, 0.3, 1.5), (5, 10, 0.32883, -0.1, 0.6)],
)
def test_information_of_t_by_tails_and_dimensions(student_t, nu, d, tabled, least, most):
    truth = student_t(nu, 2 * d)
    x = truth.samples(3000, 0)
    assert truth.information(d) == pytest.approx(tabled, abs=1e-5)
    assert least < Rbig().information(x[:, :d], x[:, d:], 0).nats / tabled < most


@pytest.mark.parametrize(("nats", "d"), [(0.41333, 1), (1.0, 2), (2.0, 5)])
def test_information_of_gaussians(correlated, nats, d):
    x, y = correlated(nats, 3000, d)
    assert Rbig().information(x, y, 0).nats == pytest.approx(nats, rel=0.12)


def test_bijections_of_each_side_do_not_matter(correlated):
    x, y = correlated(1.0, 2000, 1)
    value = Rbig().information(x, y, 0).nats
    assert Rbig().information(np.exp(x), -(y**3), 0).nats == pytest.approx(value, abs=0.06)


def test_an_independent_coordinate_adds_nothing(correlated):
    x, y = correlated(1.0, 3000, 1)
    more = np.concatenate([x, np.random.default_rng(9).normal(size=(3000, 1))], axis=1)
    value = Rbig().information(x, y, 0).nats
    assert Rbig().information(more, y, 0).nats == pytest.approx(value, abs=0.1)


def test_the_order_of_samples_and_scales_do_not_matter():
    rng = np.random.default_rng(0)
    x, codes = rng.normal(size=(150, 3)), np.arange(150) % 3
    y = x[:, :2] + rng.normal(size=(150, 2))
    order, scale = rng.permutation(150), np.array([1e-3, 1, 1e3])
    estimator = Rbig()
    for call in (
        lambda rows, by: estimator.total_correlation(by * x[rows], 0).nats,
        lambda rows, by: estimator.information(by * x[rows], y[rows], 0).nats,
        lambda rows, by: estimator.over_maps(by.mean() * x[rows, None], codes[rows]).raw[0],
    ):
        value = call(np.arange(150), np.ones(3))
        assert call(order, np.ones(3)) == pytest.approx(value, rel=1e-6)
        assert call(np.arange(150), scale) == pytest.approx(value, rel=1e-6)


def test_independent_samples_are_inside_the_null():
    rng = np.random.default_rng(0)
    p = []
    for seed in range(5):
        x = rng.normal(size=(300, 3))
        p.append(mi.total_correlation(x, "rbig", null=9, draws=0, seed=seed).p_value)
        estimate = mi.mutual_information(x, rng.normal(size=(300, 2)), "rbig", null=9, draws=0)
        p.append(estimate.p_value)
    assert 0.35 < np.mean(p) < 0.75
    estimate = mi.mutual_information(x, x[:, :1] + x[:, 1:2], "rbig", null=19, draws=0)
    assert estimate.p_value == pytest.approx(0.05)


def test_the_null_of_total_correlation_is_that_of_permuted_columns():
    x = np.random.default_rng(0).exponential(size=(400, 3))
    estimator, rng = Rbig(), np.random.default_rng(1)
    null = estimator.total_correlation_null(x, 19, 0)
    assert null.shape == (19,)
    assert abs(null[:6].mean()) < 1e-12  # of which the mean is subtracted
    single = [estimator.total_correlation(rng.permuted(x, axis=0), 0).nats for _ in range(19)]
    assert 0.4 < null.std() / np.std(single) < 2.5
    flat = np.concatenate([x[:, :1], np.ones((400, 1))], axis=1)
    assert not estimator.total_correlation_null(flat, 3, 0).any()


def test_p_values_are_there_by_default():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 200, 2))
    settings = {"layers": 3, "block_layers": 3, "class_layers": 2, "permutations": 2, "draws": 0}
    assert mi.total_correlation(x + x[:, ::-1] / 3, "rbig", **settings).p_value == 1 / 20
    assert mi.mutual_information(x, x + y, "rbig", **settings).p_value == 1 / 20
    assert mi.mutual_information(x, x[:, 0] > 0, "rbig", **settings).p_value == 1 / 20
    assert mi.total_correlation(x, "rbig", null=0, **settings).p_value is None


def test_the_null_of_blocks_is_that_of_new_runs(correlated):
    x, y = correlated(0.5, 400, 2)
    shared = Rbig().information_null(x, y, 15, 0)
    rng = np.random.default_rng(0)
    single = [Rbig().information(x, rng.permutation(y), 0).nats for _ in range(15)]
    assert abs(shared.mean() - np.mean(single)) < 4 * np.std(single) / math.sqrt(7)


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (lambda rng: rng.normal(size=(5000, 1)), 1.41894),
        (lambda rng: rng.exponential(size=(5000, 1)), 1.0),
        (lambda rng: rng.normal(size=(5000, 3)) @ np.diag([1, 2, 4]), 3 * 1.41894 + math.log(8)),
    ],
)
def test_entropies(draw, truth):
    assert abs(Rbig().entropy(draw(np.random.default_rng(0)), 0).nats - truth) < 0.06


def test_entropy_of_a_sheared_square_is_a_little_too_large():
    # Corners are hard to turn into a Gaussian, so that some total correlation is not found.
    x = np.random.default_rng(0).uniform(size=(5000, 2)) @ np.array([[1, 1], [0, 1]])
    assert 0 < Rbig().entropy(x, 0).nats < 0.12


def test_entropies_of_far_samples_are_said_to_be_too_large():
    rng = np.random.default_rng(0)
    near = rng.normal(size=2000)
    far = np.append(near[1:], 1e4)
    for x in (far, rng.standard_cauchy(2000)):
        for quantity in (mi.entropy, mi.negentropy):
            assert "too large" in quantity(x, "rbig", draws=0).notices[0]
    for x in (near, rng.laplace(size=2000), rng.exponential(size=2000), near[:60]):
        assert mi.entropy(x, "rbig", draws=0).notices == ()


def test_negentropy():
    rng = np.random.default_rng(0)
    gaussian = 0.5 * math.log(2 * math.pi * math.e)
    exponential = Rbig().negentropy(rng.exponential(size=5000)).nats
    assert exponential == pytest.approx(gaussian - 1, abs=0.04)
    mixed = rng.normal(size=(5000, 3)) @ rng.normal(size=(3, 3))
    assert abs(Rbig().negentropy(mixed).nats) < 0.08
    with pytest.raises(DataError, match=r"full rank"):
        Rbig().negentropy(np.repeat(rng.normal(size=(50, 1)), 2, axis=1))
    for seed in range(8):  # rounding gives a singular covariance a determinant of either sign
        a, b = np.random.default_rng(seed).normal(size=(2, 200))
        with pytest.raises(DataError, match=r"full rank"):
            mi.negentropy(np.stack([a, 1e6 * b, a + b], axis=1))


def test_divergences():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5000, 1))
    assert Rbig().divergence(a + 1, b, 0).nats == pytest.approx(0.5, abs=0.06)
    assert abs(Rbig().divergence(a, b, 0).nats) < 0.02
    a, b = rng.normal(size=(2, 5000, 3))
    truth = 0.5 * 3 * (0.25 + 0.25 - 1 - math.log(0.25))
    assert Rbig().divergence(0.5 * a + 0.5, b, 0).nats == pytest.approx(truth, rel=0.08)
    a[:, 1] += a[:, 0]
    b[:, 1] -= b[:, 0]
    assert Rbig().divergence(a, b, 0).nats == pytest.approx(2.0, rel=0.12)


@pytest.mark.parametrize(
    ("mu", "truth"), [(0.5, 0.11142), (1, 0.33683), (2, 0.63272), (4, 0.69305)]
)
def test_two_gaussians(two_gaussians, mu, truth):
    x, y = two_gaussians(mu, 2000)
    estimate = mi.mutual_information(x, y, "rbig", draws=0)
    # Sampling error is about .015; histograms blur the classes a little.
    assert abs(estimate.nats - truth) < 0.035
    assert estimate.nats <= math.log(2)


def test_labels_in_several_dimensions():
    rng = np.random.default_rng(0)
    y = np.arange(900) % 3
    x = rng.normal(size=(900, 3, 12))
    x[:, 1] += 3 * rng.normal(size=(3, 12))[y]
    x[:, 2] = 1.0
    estimates = Rbig(permutations=3).over_maps(x, y, 0, 9, 5)
    assert estimates.mi[1] > 0.9 * math.log(3)
    assert estimates.mi[0] < 0.25 * math.log(3)
    assert estimates.raw[2] == 0.0
    assert estimates.null.shape == (9, 3)
    assert estimates.p_value[1] == pytest.approx(1 / 19)
    # Seven deviations of the null, and two: the smallest p-value of 18 shuffles is soon reached.
    distance = (estimates.raw - estimates.null.mean(axis=0))[:2] / estimates.null.std(axis=0)[:2]
    assert distance[1] > 7
    assert abs(distance[0]) < 4
    assert "8 principal components of 12" in estimates.notices[0][0]
    assert estimates.notices[2] == ()


def test_names_of_classes_of_other_sizes_do_not_matter():
    y = np.arange(120) % 3 > 0
    x = np.random.default_rng(0).normal(size=(120, 1, 3)) + y[:, None, None]
    rbig = Rbig(permutations=2, class_layers=3)
    estimates = rbig.over_maps(x, y)
    assert estimates.per_class_raw[0] == pytest.approx(estimates.raw[0], rel=1e-9)
    assert rbig.over_maps(x, ~y).raw[0] == pytest.approx(estimates.raw[0], rel=1e-9)


def test_small_classes_are_said():
    rng = np.random.default_rng(0)
    few, large_sample = rng.normal(size=(80, 2)), rng.normal(size=(700, 2))
    settings = {"null": 0, "draws": 0, "permutations": 1, "class_layers": 2}

    def notices_of(x):
        return mi.mutual_information(x, np.arange(len(x)) % 2, "rbig", **settings).notices

    assert "class of 40 samples" in notices_of(few)[0]
    assert notices_of(large_sample) == notices_of(few[:, 0]) == ()
    assert notices_of(np.maximum(large_sample, 0)) == ()


def test_zeros_of_a_relu_are_worth_what_they_tell():
    rng = np.random.default_rng(0)
    means = np.where(np.arange(2000)[:, None] % 2, 0.0, -1.0) + np.zeros(3)
    x = np.maximum(0.0, means + rng.normal(size=(2000, 3)))
    # Both classes by their probabilities: the truth is the mean over these samples.
    logs = [
        np.where(x > 0, norm.logpdf(x, mean), norm.logcdf(-mean)).sum(axis=1)
        for mean in (-1.0, 0.0)
    ]
    own = np.where(np.arange(2000) % 2, logs[1], logs[0])
    truth = (own - np.logaddexp(*logs) + math.log(2)).mean()
    estimates = Rbig().over_maps(x[:, None], np.arange(2000) % 2, one_vs_rest=False)
    assert estimates.raw[0] == pytest.approx(
        truth, abs=0.05
    )  # .19; equal values that stay equal are far over it
    order = rng.permutation(2000)
    positive = (x > 0).any(axis=1)
    reordered = Rbig().over_maps(x[order][:, None], order % 2, one_vs_rest=False)
    assert positive.mean() < 0.9  # many rows are alike: their order is chance
    assert reordered.raw[0] == pytest.approx(estimates.raw[0], abs=0.02)


def test_constant_columns_and_sides_know_nothing():
    x = np.random.default_rng(0).normal(size=(100, 1))
    flat = np.concatenate([x, np.ones((100, 2))], axis=1)
    assert Rbig().total_correlation(flat, 0).nats == 0.0
    assert Rbig().information(x, np.ones((100, 2)), 0).nats == 0.0
    for call in (Rbig().entropy, Rbig().negentropy):
        with pytest.raises(DataError, match=r"rbig: x.*constant"):
            call(flat, 0)
    with pytest.raises(DataError, match=r"rbig: y.*constant"):
        Rbig().divergence(flat, flat, 0)


def test_the_rule_of_the_paper(student_t):
    truth = student_t(3, 3, mixed=True)
    estimator = Rbig(stopping="paper", rotation="random")
    estimate = estimator.total_correlation(truth.samples(5000, 0), 0)
    assert 0.2 < estimate.nats / truth.total_correlation < 1.5
    x = truth.samples(2000, 1)
    assert estimator.information(x[:, :1], x[:, 1:], 0).nats >= 0
    assert estimator.parameters["stopping"] == "paper"
    assert "permutations" not in estimator.parameters


def test_estimates_carry_an_interval_and_are_the_same_again(student_t):
    x = student_t(3, 5, mixed=True).samples(600, 0)
    first, second = (mi.total_correlation(x, "rbig") for _ in range(2))
    assert first == second
    assert first.nats == Rbig(layers=30).total_correlation(x, 0).nats
    assert first.low <= first.nats <= first.high
    assert first.p_value == 1 / 20
    assert first.parameters["layers"] == "by dimensions and samples, 150 at the most"


@pytest.mark.parametrize(
    "name", ["layers", "block_layers", "class_layers", "permutations", "components"]
)
def test_settings_that_make_no_sense(name):
    for value in (0, 1.5, "3", True):
        with pytest.raises(SettingsError, match=rf"rbig: {name}"):
            Rbig(**{name: value})


def test_words_that_make_no_sense():
    with pytest.raises(SettingsError, match=r"rbig: rotation.*pca or ica or random"):
        Rbig(rotation="qr")
    with pytest.raises(SettingsError, match=r"rbig: stopping.*fixed or paper"):
        Rbig(stopping="soon")


def test_sparse_maps_have_valid_p_values():
    """Every order of the labels is as probable: each in turn is the value, the rest its null."""
    rng = np.random.default_rng([100, 1, 2])
    codes = rng.permutation(np.repeat([0, 1], [90, 10]))
    x = np.maximum(0.0, rng.normal(size=(100, 100, 1)) - 1.0)
    result = Rbig().over_maps(x, codes, 0, 20, 0, one_vs_rest=False, distinct=True)
    orders = np.concatenate([result.raw[None], result.null])
    p = np.stack([p_values(order, np.delete(orders, i, 0)) for i, order in enumerate(orders)])
    assert (p <= 0.01).mean() < 0.015  # .027 where a class of zeros alone is an atom
    assert (p <= 0.05).mean() < 0.06


@pytest.mark.parametrize(("angle", "least"), [(None, 0.8), (np.pi / 12, 0.12)])
def test_two_columns_are_not_turned_between_the_diagonals_alone(angle, least):
    # Two circles, of 1.12 bits: .61 by the diagonals alone; a square turned by 15 degrees, .29: 0.
    rng = np.random.default_rng(0)
    if angle is None:
        radius = rng.choice([1.0, 2.0], 2000) + 0.1 * rng.normal(size=2000)
        turns = rng.uniform(0, 2 * np.pi, 2000)
        x = np.stack([radius * np.cos(turns), radius * np.sin(turns)], axis=1)
    else:
        cos, sin = np.cos(angle), np.sin(angle)
        x = rng.uniform(-1, 1, (2000, 2)) @ np.array([[cos, sin], [-sin, cos]])
    assert least < Rbig().total_correlation(x, 0).nats / np.log(2) < 1.12
