"""Estimates beside closed forms. Every tolerance says whether it is of bias or of sampling."""

import math

import numpy as np
import pytest
from scipy.special import digamma, gammaln

from oip import mi
from oip.mi.estimators.kde import Kde


def student_entropy(nu, d):
    """Entropy of the d-dimensional t with unit scatter."""
    half = (nu + d) / 2
    return (
        gammaln(nu / 2)
        - gammaln(half)
        + d / 2 * math.log(nu * math.pi)
        + half * (digamma(half) - digamma(nu / 2))
    )


def student(nu, d, n, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) / np.sqrt(rng.chisquare(nu, size=(n, 1)) / nu)


def plain(quantity, *arrays, **settings):
    return quantity(*arrays, null=0, draws=0, **settings).nats


@pytest.mark.parametrize(
    ("nu", "d", "total", "pair"),
    [
        (3, 3, 0.11047, 0.17871),
        (5, 3, 0.04649, 0.08902),
        (3, 10, 0.88467, 0.51946),
        (5, 10, 0.42686, 0.32883),
        (3, 50, 6.96475, 1.20256),
        (5, 50, 3.84097, 0.93269),
    ],
)
def test_the_truths_themselves(nu, d, total, pair):
    assert d * student_entropy(nu, 1) - student_entropy(nu, d) == pytest.approx(total, abs=1e-5)
    both = 2 * student_entropy(nu, d) - student_entropy(nu, 2 * d)
    assert both == pytest.approx(pair, abs=1e-5)


@pytest.mark.parametrize("algorithm", [1, 2])
@pytest.mark.parametrize(("nu", "total", "pair"), [(3, 0.11047, 0.17871), (5, 0.04649, 0.08902)])
def test_neighbours_on_student_t(algorithm, nu, total, pair):
    # Heavy tails are hard for neighbours: at n = 3000 they lose up to .05 nats in 3 dimensions and
    # two thirds of I in 3 + 3, always to the small side.
    settings = {"estimator": "ksg", "algorithm": algorithm}
    x = student(nu, 6, 3000, seed=0)
    mean = np.mean([plain(mi.total_correlation, x[:, i : i + 3], **settings) for i in (0, 3)])
    assert abs(mean - total) < 0.05
    mean = plain(mi.mutual_information, x[:, :3], x[:, 3:], **settings)
    assert -0.02 < pair - mean < 0.14


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        # Sampling error at n = 2000: (1 - rho^2 ...) some .02 for all; bias of bins and kernels.
        ({"estimator": "ksg"}, 0.06),
        ({"estimator": "ksg", "algorithm": 2}, 0.06),
        ({"estimator": "ksg", "k": 10}, 0.06),
        ({"estimator": "gaussian"}, 0.04),
        ({"estimator": "vme"}, 0.06),
        ({"estimator": "binning", "count": 12}, 0.08),
    ],
)
def test_correlated_gaussians(settings, tolerance):
    for rho, truth in ((0.0, 0.0), (0.75, 0.41333), (-0.75, 0.41333)):
        x, noise = np.random.default_rng(0).normal(size=(2, 2000))
        y = rho * x + math.sqrt(1 - rho**2) * noise
        assert abs(plain(mi.mutual_information, x, y, **settings) - truth) < tolerance
        both = np.stack([x, y], axis=1)
        assert abs(plain(mi.total_correlation, both, **settings) - truth) < tolerance


@pytest.mark.parametrize("name", ["decoder", "predictive", "kde", "binning", "ksg", "vme"])
@pytest.mark.parametrize(
    ("mu", "truth"), [(0.5, 0.11142), (1, 0.33683), (2, 0.63272), (4, 0.69305)]
)
def test_two_gaussians(two_gaussians, name, mu, truth):
    # Sampling error at n = 1200 is .02 at the most.
    assert (
        abs(plain(mi.mutual_information, *two_gaussians(mu, 1200), estimator=name) - truth) < 0.05
    )


def test_two_gaussians_by_their_covariance_are_too_much(two_gaussians):
    # H(X) is taken as of a Gaussian of variance 1 + mu^2.
    for mu in (0.5, 1.0):
        estimate = mi.mutual_information(*two_gaussians(mu, 2000), "gaussian", null=0, draws=0)
        assert abs((estimate.raw or estimate.nats) - 0.5 * math.log(1 + mu**2)) < 0.04


@pytest.mark.parametrize(
    ("name", "tolerance"),
    # The kernel widens densities: heavy tails and edges cost vme up to .15 nats at n = 3000.
    [("ksg", 0.06), ("vme", 0.16)],
)
def test_entropies(name, tolerance):
    rng = np.random.default_rng(0)
    for x, truth in (
        (rng.normal(size=3000), 1.41894),
        (rng.laplace(size=3000), 1.69315),
        (rng.standard_t(3, size=3000), 1.77348),
        (rng.standard_t(5, size=3000), 1.62750),
        (rng.exponential(size=3000), 1.0),
    ):
        assert abs(mi.entropy(x, name, draws=0).nats - truth) < tolerance
        # In the units of x.
        assert abs(mi.entropy(x / 50, name, draws=0).nats - truth + math.log(50)) < tolerance


def test_entropy_of_gaussians_by_their_covariance():
    rng = np.random.default_rng(0)
    values = [mi.entropy(rng.normal(size=(12, 5)), "gaussian", draws=0).nats for _ in range(400)]
    # Unbiased even where samples are few: the mean of 400 is known to .05.
    assert abs(np.mean(values) - 5 * 1.41894) < 0.15


@pytest.mark.parametrize("name", ["gaussian", "ksg", "vme"])
def test_a_linear_map_with_noise(name):
    rng = np.random.default_rng(0)
    weights = np.array([[1.0, 0.5], [-0.3, 0.8]])
    truth = 0.5 * math.log(np.linalg.det(np.eye(2) + weights @ weights.T / 0.25))
    x = rng.normal(size=(3000, 2))
    y = x @ weights.T + 0.5 * rng.normal(size=(3000, 2))
    estimate = plain(mi.mutual_information, x, y, estimator=name)
    # Four dimensions: vme's kernel blurs a fifth of it away.
    assert abs(estimate - truth) < {"gaussian": 0.05, "ksg": 0.12, "vme": 0.4}[name]


def test_a_linear_map_with_noise_lies_between_the_kernel_bounds():
    weights = np.array([[1.0, 0.5], [-0.3, 0.8]])
    truth = 0.5 * math.log(np.linalg.det(np.eye(2) + weights @ weights.T / 0.25))
    m = np.random.default_rng(0).normal(size=(1500, 2)) @ weights.T
    lower, upper = (
        mi.input_information(m, noise=0.25, bound=bound).nats for bound in ("lower", "upper")
    )
    assert lower < truth < upper


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("noise", [0.02, 0.3, 2.0])
def test_kernel_bounds_enclose_the_entropy_of_a_mixture(d, noise):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(30, d)) + 2.0 * rng.integers(0, 2, (30, 1))
    points = centres[rng.integers(0, 30, 20_000)] + math.sqrt(noise) * rng.normal(size=(20_000, d))
    squares = ((points[:, None] - centres) ** 2).sum(axis=2)
    density = np.exp(squares / (-2 * noise)).mean(axis=1) / (2 * math.pi * noise) ** (d / 2)
    truth = -np.log(density).mean()
    # The truth is of 20,000 draws: known to .02.
    lower, upper = (
        Kde(noise=noise, bound=bound).entropy(centres, 0).nats for bound in ("lower", "upper")
    )
    assert lower - 0.02 < truth < upper + 0.02


@pytest.mark.parametrize(("name", "tolerance"), [("ksg", 0.1), ("gaussian", 0.06), ("vme", 0.12)])
def test_divergence_of_gaussians(name, tolerance):
    # 1/2 (trace + distance - d - ln det), here of N((1, 0), I) from N(0, 1.5^2 I).
    truth = 0.5 * (2 / 2.25 + 1 / 2.25 - 2 + 2 * math.log(2.25))
    rng = np.random.default_rng(0)
    x, y = rng.normal((1, 0), size=(3000, 2)), 1.5 * rng.normal(size=(2500, 2))
    assert abs(plain(mi.kl_divergence, x, y, estimator=name) - truth) < tolerance
    assert plain(mi.kl_divergence, x[:1500], x[1500:], estimator=name) < tolerance


@pytest.mark.parametrize(
    ("name", "tolerance"), [("ksg", 0.08), ("gaussian", 0.04), ("vme", 0.12), ("binning", 0.14)]
)
def test_conditional_information_of_gaussians(name, tolerance):
    rng = np.random.default_rng(0)
    z, a, b, c = rng.normal(size=(4, 2000))
    settings = {"estimator": name}
    if name == "binning":
        settings["count"] = 6
    # Kernels and bins blur in 3 dimensions. A common cause explains everything; a common effect
    # makes what was independent dependent.
    common = plain(mi.conditional_mutual_information, z + a, z + b, z, **settings)
    assert abs(common) < tolerance
    effect = plain(mi.conditional_mutual_information, a, b, a + b + 0.5 * c, **settings)
    # Var(a|s) = 1 - 1/2.25; Var(a|b,s) = 1/5.
    assert abs(effect - 0.5 * math.log((1 - 1 / 2.25) / 0.2)) < (
        {"binning": 0.25, "vme": 0.2}.get(name, tolerance)
    )
