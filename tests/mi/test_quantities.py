import math
import subprocess
import sys

import numpy as np
import pytest

from oip import mi
from oip.core.errors import SettingsError
from oip.mi.estimators.base import Estimator, able, estimator_class


class _Nothing(Estimator):
    name = "nothing"
    name_shown = "nothing"


@pytest.mark.parametrize("estimator", ["kde", "decoder"])
@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0, 4.0])
def test_two_gaussians_of_numbers_and_names(two_gaussians, estimator, mu):
    truth = {0.5: 0.11142, 1.0: 0.33683, 2.0: 0.63272, 4.0: 0.69305}[mu]
    x, y = two_gaussians(mu, 1000)
    estimate = mi.mutual_information(x[:, 0], y, estimator)
    assert abs(estimate.nats - truth) < 0.06
    assert estimate.p_value == {"kde": 1 / 201, "decoder": 1 / 1001}[estimator]
    assert (estimate.n, estimate.d, estimate.ceiling) == (1000, 1, math.log(2))
    named = mi.mutual_information(x, np.where(y == 1, "up", "down"), estimator)
    assert math.isclose(named.nats, estimate.nats, rel_tol=1e-5)


@pytest.mark.parametrize("estimator", ["kde", "decoder"])
def test_independent_is_inside_the_null(estimator):
    rng = np.random.default_rng(0)
    y = np.arange(100) % 2
    p = [mi.mutual_information(rng.normal(size=(100, 3)), y, estimator).p_value for _ in range(15)]
    assert np.median(p) > 0.15
    assert min(p) < 1


def test_a_clipped_value_says_so():
    rng = np.random.default_rng(2)
    estimates = [
        mi.mutual_information(rng.normal(size=60), np.arange(60) % 2, "decoder") for _ in range(10)
    ]
    clipped = [estimate for estimate in estimates if estimate.raw is not None]
    assert clipped
    assert all(
        estimate.nats == 0 and estimate.raw < 0 and "clipped" in str(estimate)
        for estimate in clipped
    )


def test_numbers_are_a_label_where_it_is_said_and_a_label_numbers(two_gaussians):
    x, y = two_gaussians(1.0, 100)
    estimate = mi.mutual_information(x, y.astype(float), discrete=True)
    assert estimate.nats == mi.mutual_information(x, y).nats
    assert (estimate.estimator, estimate.ceiling) == ("kde", math.log(2))
    assert mi.mutual_information(x, y.astype(float)).estimator == "ksg"
    assert mi.mutual_information(x, y, discrete=False).estimator == "ksg"
    assert mi.mutual_information(y, y, discrete_x=True).estimator == "binning"
    with pytest.raises(SettingsError, match=r"discrete=True.*ksg, gaussian, vme"):
        mi.mutual_information(x, y.astype(float), "kde")
    with pytest.raises(SettingsError, match=r"discrete=False.*decoder, predictive, kde"):
        mi.mutual_information(x, y, _Nothing())


def test_a_label_may_be_on_either_side_and_one_hot(two_gaussians):
    x, y = two_gaussians(1.0, 200)
    names = np.where(y == 1, "up", "down")
    for estimator in ("kde", "ksg", "binning"):
        estimate = mi.mutual_information(x, y, estimator)
        assert mi.mutual_information(names, x, estimator).nats == pytest.approx(
            estimate.nats, rel=1e-9
        )
        hot = mi.mutual_information(x, np.eye(2)[y], estimator)
        assert hot.nats == pytest.approx(estimate.nats, rel=1e-9)


def test_as_many_shuffles_and_draws_as_are_asked_for(two_gaussians):
    x, y = two_gaussians(1.0, 100)
    assert mi.mutual_information(x, y, null=9).p_value == 0.1
    assert mi.mutual_information(x, y, null=0).p_value is None
    assert mi.mutual_information(x, y, draws=0).interval is None
    assert mi.mutual_information(x, x, null=9).p_value == 0.1
    assert mi.total_correlation(np.concatenate([x, x + y[:, None]], axis=1), null=9).p_value == 0.1
    assert mi.kl_divergence(x, x + 5, null=9, draws=0).p_value == 0.1
    with pytest.raises(SettingsError, match="null"):
        mi.mutual_information(x, y, null=-1)
    with pytest.raises(SettingsError, match="draws"):
        mi.entropy(x, draws=2.5)


@pytest.mark.parametrize("name", [n for n in able("information") if estimator_class(n).resamples])
def test_every_estimator_makes_the_shuffles_that_are_asked_for(name):
    x = np.random.default_rng(0).normal(size=(60, 2))
    quarters = (0.25, 0.5, 0.75, 1.0)
    assert mi.mutual_information(x, x[:, 0], name, null=3, draws=0).p_value in quarters
    assert mi.mutual_information(x, np.arange(60) % 2, name, null=3, draws=0).p_value in quarters
    assert mi.mutual_information(x, x[:, 0], name, null=0, draws=0).p_value is None
    if mi.estimator(name).can("total_correlation"):
        assert mi.total_correlation(x, name, null=3, draws=0).p_value in quarters
    if mi.estimator(name).can("conditional_information"):
        estimate = mi.conditional_mutual_information(x, x[:, 0], x[:, 1], name, null=3, draws=0)
        assert estimate.p_value in quarters


def test_the_same_seed_gives_the_same(two_gaussians):
    x, y = two_gaussians(1.0, 100)
    for other in (y, x[::-1].copy()):
        estimate, repeated, changed = (mi.mutual_information(x, other, seed=s) for s in (3, 3, 4))
        assert estimate == repeated
        assert estimate.interval != changed.interval


@pytest.mark.parametrize("estimator", ["ksg", "gaussian", "vme"])
def test_intervals_have_the_width_of_new_samples(estimator):
    values, widths = [], []
    for seed in range(30):
        x, noise = np.random.default_rng(seed).normal(size=(2, 150))
        estimate = mi.mutual_information(x, x + noise, estimator, null=0, draws=60)
        values.append(estimate.bits)
        widths.append((estimate.interval[1] - estimate.interval[0]) / 3.92)
    # A deviation from 30 samples is known to some 13 %, and halves are biased a little more.
    assert 0.6 < np.mean(widths) / np.std(values) < 1.6


def test_p_values_of_independent_numbers_are_spread_evenly():
    rng = np.random.default_rng(0)
    p = []
    for _ in range(60):
        x, y = rng.normal(size=(2, 40))
        p.append(mi.mutual_information(x, y, "gaussian", null=39, draws=0).p_value)
    assert 0.35 < np.mean(p) < 0.65
    assert np.mean(np.array(p) <= 0.1) < 0.25


def test_input_information_runs_from_nothing_to_log_n():
    x = np.arange(32.0)
    assert mi.input_information(x, noise=1e-6).saturated
    assert math.isclose(mi.input_information(x, noise=1e-6).bits, 5.0)
    assert mi.input_information(x, noise=1e6).bits < 0.01
    assert mi.input_information(np.ones(32)).nats == 0.0
    assert mi.input_information(x).quantity == "I(X;M)"


def test_input_information_has_an_interval():
    x = np.random.default_rng(0).normal(size=(100, 2))
    estimate = mi.input_information(x, draws=20)
    assert estimate.low < estimate.nats < estimate.high <= math.log(100)
    assert mi.input_information(x, draws=0).interval is None
    assert mi.input_information(x, seed=3) == mi.input_information(x, seed=3)


def test_negentropy_is_that_of_the_exponential_and_none_of_a_gaussian():
    rng = np.random.default_rng(0)
    estimate = mi.negentropy(rng.exponential(size=5000), draws=10)
    assert estimate.nats == pytest.approx(0.5 * math.log(2 * math.pi * math.e) - 1, abs=0.03)
    assert (estimate.quantity, estimate.estimator, estimate.p_value) == ("J(X)", "rbig", None)
    assert estimate.low <= estimate.nats <= estimate.high
    assert mi.negentropy(rng.normal(size=(3000, 2)), draws=0).nats < 0.05
    with pytest.raises(SettingsError, match="negentropy: expected rbig; received 'kde'"):
        mi.negentropy(rng.normal(size=30), "kde")


def test_the_entropy_of_numbers_that_look_like_a_label_says_so():
    """Class numbers are a label for `mutual_information`, and numbers for `entropy`."""
    classes = np.arange(300) % 3
    remark = "x has only 3 different values. If it is a label, say discrete=True."
    assert remark in mi.entropy(classes).notices and remark in mi.entropy(classes * 1.0).notices
    assert mi.entropy(classes, discrete=True).bits == pytest.approx(math.log2(3), abs=1e-6)
    numbers = np.random.default_rng(0).normal(size=300)
    for x in (numbers, np.arange(300), numbers.round(1), np.zeros((300, 2)) + numbers[:, None]):
        assert not any("discrete" in notice for notice in mi.entropy(x).notices)
    assert remark not in mi.entropy(classes, discrete=False).notices


def test_entropy_of_gaussians():
    x = np.random.default_rng(0).normal(size=(1000, 1))
    truth = 0.5 * math.log(2 * math.pi * math.e * 1.02)
    lower, upper = (mi.entropy(x, noise=0.02, bound=bound).nats for bound in ("lower", "upper"))
    assert lower < truth < upper
    assert mi.entropy(x / 100, noise=1e-5).nats < 0
    estimate = mi.entropy(x)
    noise = 0.5 * math.log(
        2 * math.pi * math.e * 0.1 * np.median((x - x.T)[~np.eye(1000, dtype=bool)] ** 2)
    )
    assert estimate.ceiling == pytest.approx(noise + math.log(1000))
    assert estimate.share == pytest.approx((estimate.nats - noise) / math.log(1000))
    assert estimate.p_value is None
    assert not estimate.saturated
    # The noise's entropy is under 0 here, and so is the ceiling.
    narrow = mi.entropy(x, noise=1e-12)
    assert narrow.ceiling < 0
    assert narrow.saturated
    assert "Saturated" in narrow.notices[0]
    with pytest.raises(SettingsError, match="kde, binning, ksg, gaussian, vme"):
        mi.entropy(x, "decoder")


def test_importing_brings_nothing_heavy():
    code = (
        "import sys; from oip import mi; from oip.mi.estimators.base import estimator;"
        "heavy = ('tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib', 'pandas');"
        "print([name for name in heavy if name in sys.modules], len(dir(mi)) > 12)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[] True"


def test_every_public_name_is_there():
    for name in mi.__all__:
        assert getattr(mi, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        mi.nothing  # noqa: B018


@pytest.fixture
def samples():
    """Numbers z (300,), x = z + noise, and a label of x alone or of z alone."""
    rng = np.random.default_rng(0)
    z, a, b = rng.normal(size=(3, 300))
    return z, z + 0.5 * a, z + 0.5 * b


def plain(x, y, given, estimator, **settings):
    return mi.conditional_mutual_information(
        x, y, given, estimator, null=0, draws=0, **settings
    ).nats


@pytest.mark.parametrize("name", ["ksg", "gaussian", "vme", "binning"])
def test_within_classes_it_is_the_mean_of_the_classes(samples, name):
    _, x, y = samples
    given = np.repeat([0, 1, 2], [150, 100, 50])
    expected = sum(
        (given == c).mean()
        * mi.mutual_information(x[given == c], y[given == c], name, null=0, draws=0).nats
        for c in range(3)
    )
    assert plain(x, y, given, name) == pytest.approx(expected, rel=1e-9)
    assert plain(x, y, np.array(["u", "v", "w"])[given], name) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["kde", "ksg", "decoder", "binning"])
def test_labels_on_either_side_within_classes(samples, name):
    z, x, _ = samples
    label, given = z > 0, np.arange(300) % 2
    estimate = mi.conditional_mutual_information(x, label, given, name, null=19, draws=10)
    assert estimate.p_value == 0.05
    assert estimate.nats > 0.15
    assert estimate.ceiling == pytest.approx(np.log(2), abs=0.02)
    assert estimate.interval[0] <= estimate.bits <= estimate.interval[1]
    assert plain(label, x, given, name, discrete_x=True) == pytest.approx(
        estimate.raw or estimate.nats
    )


@pytest.mark.parametrize("name", ["kde", "gaussian", "vme", "decoder"])
def test_a_label_given_numbers_follows_the_chain(samples, name):
    z, x, y = samples
    label = (y > 0).astype(int)
    both = mi.mutual_information(np.stack([x, z], axis=1), label, name, null=0, draws=0)
    alone = mi.mutual_information(z, label, name, null=0, draws=0)
    estimate = mi.conditional_mutual_information(x, label, z, name, null=19, draws=20)
    expected = (both.raw or both.nats) - (alone.raw or alone.nats)
    assert (estimate.raw if estimate.raw is not None else estimate.nats) == pytest.approx(
        expected, abs=1e-9
    )
    # z explains the label but for its own noise: x adds nothing.
    assert estimate.nats < 0.05
    assert estimate.p_value > 0.05
    # Given noise in place of z, x tells what it tells.
    noise = np.random.default_rng(9).normal(size=300)
    assert plain(x, label, noise, name) > 0.15


def test_two_labels_given_a_label():
    rng = np.random.default_rng(0)
    given = rng.integers(0, 2, 2000)
    x, y = (np.where(rng.uniform(size=2000) < 0.8, given, 1 - given) for _ in range(2))
    alone = mi.mutual_information(x, y, discrete_x=True)
    assert alone.nats > 0.05
    estimate = mi.conditional_mutual_information(x, y, given, discrete_x=True)
    assert estimate.estimator == "binning"
    assert estimate.nats < 0.005
    assert estimate.p_value > 0.01


@pytest.mark.parametrize("name", ["ksg", "gaussian", "binning"])
def test_the_null_keeps_what_z_explains(samples, name):
    # A free permutation of x would call this common cause an influence.
    z, x, y = samples
    estimate = mi.conditional_mutual_information(x, y, z, name, null=39, draws=0)
    assert estimate.p_value > 0.05
    more = mi.conditional_mutual_information(x, y + 0.5 * (x - z), z, "gaussian", null=39, draws=0)
    assert more.p_value == 1 / 40


def test_given_nothing_it_is_the_information(samples):
    _, x, y = samples
    same = np.zeros(300, int)
    for name in ("ksg", "gaussian", "vme", "binning"):
        value = mi.mutual_information(x, y, name, null=0, draws=0).nats
        assert plain(x, y, same, name) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("alpha", [1.01, 1, 2])
@pytest.mark.parametrize("given_label", [False, True])
def test_renyi_of_a_label_given_numbers_is_that_of_joint_matrices(samples, alpha, given_label):
    z, x, y = (side[:60] for side in samples)
    label = (y > 0).astype(int)
    left = (x > 0.2).astype(int) if given_label else x

    def gram(values):
        squares = (values[:, None] - values[None]) ** 2
        return np.exp(-squares / np.median(squares[np.triu_indices(60, 1)]))

    def entropy(*matrices):
        shares = np.linalg.eigvalsh(np.prod(matrices, axis=0) / 60)
        shares = shares[shares > 1e-12]
        if alpha == 1:
            return -(shares * np.log(shares)).sum()
        return np.log((shares**alpha).sum()) / (1 - alpha)

    a = 1.0 * (left[:, None] == left) if given_label else gram(x)
    b, c = 1.0 * (label[:, None] == label), gram(z)
    expected = entropy(a, c) + entropy(b, c) - entropy(c) - entropy(a, b, c)
    estimate = mi.conditional_mutual_information(
        left, label, z, "renyi", alpha=alpha, null=9, draws=9, discrete_x=given_label
    )
    assert estimate.nats == pytest.approx(expected, abs=1e-8)
    assert estimate.ceiling == pytest.approx(
        min(entropy(a, c), entropy(b, c)) - entropy(c), abs=1e-8
    )
    assert estimate.p_value is not None
    assert estimate.interval is not None


def test_what_is_told_of_the_parts_is_told_of_the_whole(samples):
    z, x, y = samples
    label = y > 0
    wide = np.random.default_rng(0).normal(size=(300, 40))
    estimate = mi.conditional_mutual_information(x, label, wide, "ksg", null=0, draws=0)
    assert any("41 dimensions" in notice for notice in estimate.notices)
    assert any("40 dimensions" in notice for notice in estimate.notices)
    settings = {"sigma": 0.01, "null": 0, "draws": 0}
    narrow = mi.conditional_mutual_information(x, label, z, "renyi", **settings)
    assert any("S of X and Z" in notice for notice in narrow.notices)


@pytest.mark.parametrize("estimator", ["ksg", "gaussian", "vme", "rbig"])
def test_columns_of_which_one_varies_have_no_total_correlation_to_the_last_digit(estimator):
    x = np.random.default_rng(0).normal(size=(200, 1))
    for columns in (np.full((200, 3), 0.1), np.hstack([x, np.full((200, 1), 0.1)])):
        estimate = mi.total_correlation(columns, estimator, null=0)
        assert (estimate.nats, *estimate.interval) == (0.0, 0.0, 0.0)
