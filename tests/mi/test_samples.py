"""Samples that are not what they seem: copies, constant columns, tails, few for many dimensions."""

import math

import numpy as np
import pytest

from oip import mi
from oip.core.errors import SettingsError
from oip.mi.estimators.base import label_estimator
from oip.mi.validation import first_of_copies, normal_marginals


def plain(*arrays, **settings):
    return mi.mutual_information(*arrays, null=0, draws=0, **settings)


@pytest.fixture
def noise():
    """Noise (100, 1) and labels of two classes that it knows nothing of."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(100, 1)), rng.permutation(np.arange(100) % 2)


@pytest.mark.parametrize("name", ["decoder", "predictive", "ksg", "kde"])
def test_copies_of_noise_know_nothing(noise, name):
    x, y = noise
    once = mi.mutual_information(x, y, name, null=99, draws=0)
    tenfold = mi.mutual_information(np.tile(x, (10, 1)), np.tile(y, 10), name, null=99, draws=0)
    assert (tenfold.nats, tenfold.p_value, tenfold.n) == (once.nats, once.p_value, 100)
    assert tenfold.notices[0].startswith("900 of 1000 samples are copies")
    maps = label_estimator(name).over_maps(np.tile(x[:, None], (10, 1, 1)), np.tile(y, 10))
    assert maps.n == 100
    assert "900 of 1000" in maps.notices[0][0]


def test_copies_of_numbers(noise):
    x, z = noise[0][:, 0], noise[0][:, 0] + np.random.default_rng(1).normal(size=100)
    for repeat in (lambda v: np.tile(v, 5), lambda v: np.repeat(v, 5)):
        assert plain(repeat(x), repeat(z)).nats == pytest.approx(plain(x, z).nats)
    both = np.stack([x, z], axis=1)
    total = mi.total_correlation(np.tile(both, (5, 1)), null=0, draws=0)
    assert total.nats == mi.total_correlation(both, null=0, draws=0).nats
    divergence = mi.kl_divergence(np.tile(x, 5), np.tile(z, 5), null=0, draws=0)
    assert divergence.nats == mi.kl_divergence(x, z, null=0, draws=0).nats


def test_equal_rows_that_are_no_copies():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(500, 1))
    codes = np.arange(500) % 2
    for x in (values, np.maximum(values, 0), np.clip(values, -1, 1), np.round(values, 2)):
        assert first_of_copies(x, (x[:, 0] > 0.5).astype(int)) is None
    # The same numbers with another label are another sample, not a copy.
    assert first_of_copies(np.repeat(values[:250], 2, axis=0), codes) is None
    kept = first_of_copies(np.repeat(values[:250], 2, axis=0), codes * 0)
    assert kept is not None
    assert kept.tolist() == list(range(0, 500, 2))


@pytest.mark.parametrize("kind", ["half precision", "three decimals"])
def test_numbers_of_few_digits_are_no_copies_where_the_label_follows_from_them(kind):
    x = np.random.default_rng(0).normal(size=5000)
    x = x.astype(np.float16) if kind == "half precision" else np.round(100 * x, 3)
    label = np.abs(x) > 0.2 * x.std()
    estimate = plain(x, label, estimator="binning")
    assert estimate.notices == ()
    # H(Y) of all samples, not of the values that differ.
    share = label.mean()
    truth = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert estimate.ceiling == pytest.approx(truth)
    several = np.repeat(x[:50, None] + np.arange(3.0) / 7, 2, axis=0)
    assert len(first_of_copies(several, np.zeros(100, int))) == 50


@pytest.mark.parametrize(
    "name", ["ksg", "vme", "binning", "rbig", "gaussian", "renyi", "dsmi", "kde"]
)
def test_constant_columns_never_count(name):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 150))
    more = np.stack([x, *np.full((30, 150), 0.3)], axis=1)
    for other in (y > x, x + y):
        if name == "kde" and other.dtype == float:
            continue
        alone, beside = (plain(side, other, estimator=name) for side in (x, more))
        assert beside.nats == pytest.approx(alone.nats, abs=1e-9)
        assert beside.notices == alone.notices


NUMBERS = ("ksg", "gaussian", "vme", "binning", "rbig", "renyi", "dsmi")


@pytest.mark.parametrize("name", NUMBERS)
def test_ranks_do_not_see_monotone_maps(name):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 150))
    y += x
    settings = {"estimator": name, "marginals": "ranks"}
    if name == "rbig":
        settings["permutations"] = 1
    estimate = plain(x, y, **settings)
    assert plain(np.exp(5 * x), y**3, **settings).nats == pytest.approx(estimate.nats, abs=1e-9)
    assert estimate.parameters["marginals"] == "ranks"
    about = plain(x, y > 0, **settings).nats
    assert plain(np.exp(5 * x), y > 0, **settings).nats == pytest.approx(about, abs=1e-9)


@pytest.mark.parametrize("name", ["gaussian", "vme"])
def test_heavy_tails_are_told_and_ranks_do_not_have_them(name):
    # exp(3 a) and exp(3 b), a and b of correlation .6: -1/2 ln(1 - .36) nats.
    a, b = np.random.default_rng(1).normal(size=(2, 1000))
    x, y = np.exp(3 * a), np.exp(3 * (0.6 * a + 0.8 * b))
    estimate = plain(x, y, estimator=name)
    assert abs(estimate.nats - 0.22314) > 0.04
    assert any("heavy tails" in notice for notice in estimate.notices)
    about_label = plain(x, y > np.median(y), estimator="vme")
    assert any("heavy tails" in notice for notice in about_label.notices)
    right = plain(x, y, estimator=name, marginals="ranks")
    assert abs(right.nats - 0.22314) < 0.05  # sampling: .026
    assert right.notices == ()


def test_ranks_have_no_entropy_and_equal_values_one_rank():
    with pytest.raises(SettingsError, match="marginals"):
        mi.entropy(np.arange(9.0), "ksg", marginals="ranks")
    with pytest.raises(SettingsError, match="marginals"):
        mi.estimator("kde", marginals="copula")
    normals = normal_marginals(np.array([[0.0], [0.0], [5.0], [9.0]]))[:, 0]
    assert normals[0] == normals[1] < 0 < normals[2] < normals[3]


def test_gaussianization_about_a_label_does_not_see_monotone_maps():
    y = np.arange(900) % 3
    x = np.random.default_rng(0).normal(size=900) + 2 * y
    values = [plain(f, y, estimator="rbig").nats for f in (x, np.exp(x), np.exp(2 * x))]
    assert values == pytest.approx([values[0]] * 3, abs=1e-9)
    # By integration: 1/3 sum KL(N(2 y, 1) || mixture).
    grid = np.linspace(-8, 12, 20001)
    density = np.exp(-((grid[:, None] - 2 * np.arange(3)) ** 2) / 2) / math.sqrt(2 * math.pi)
    mean = density.mean(axis=1)
    truth = (density * np.log(density / mean[:, None])).sum() * (grid[1] - grid[0]) / 3
    assert abs(values[0] - truth) < 0.06


def test_few_samples_for_a_gaussianization_are_told():
    x, y = np.random.default_rng(0).normal(size=(2, 3))
    for estimate in (
        plain(x, y, estimator="rbig"),
        mi.entropy(x, "rbig", draws=0),
        mi.kl_divergence(x, y, "rbig", null=0, draws=0),
        mi.total_correlation(np.stack([x, y], axis=1), "rbig", null=0, draws=0),
    ):
        assert "3 samples" in estimate.notices[0]


def test_bins_of_several_columns_are_few():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 1000, 3))
    assert plain(x, y, estimator="binning").nats < 0.04
    codes = np.arange(300) % 2
    wide = rng.normal(size=(300, 5))
    estimate = mi.mutual_information(wide, codes, "binning", null=200, draws=0)
    assert abs(estimate.raw or estimate.nats) < 0.05
    assert estimate.p_value is not None and estimate.p_value < 1
    wide[:, 0] += codes
    informed = mi.mutual_information(wide, codes, "binning", null=200, draws=0)
    assert informed.p_value is not None and informed.p_value < 0.01
    ten = mi.mutual_information(wide, codes, "binning", count=10, null=99, draws=0)
    assert ten.p_value == 1.0
    assert "cell to themselves" in ten.notices[0]
