import math
import subprocess
import sys

import numpy as np
import pytest

from oip import mi
from oip.core.errors import SettingsError
from oip.mi.estimators.base import Estimator
from oip.mi.estimators.registry import able, estimator_class


class _Nothing(Estimator):
    name = "nothing"
    name_shown = "nothing"


@pytest.mark.parametrize("estimator", ["kde", "decoder"])
@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0, 4.0])
def test_two_gaussians_of_numbers_and_names(two_gaussians, estimator, mu):
    truth = {0.5: 0.11142, 1.0: 0.33683, 2.0: 0.63272, 4.0: 0.69305}[mu]
    x, y = two_gaussians(mu, 1000)
    one = mi.mutual_information(x[:, 0], y, estimator)
    assert abs(one.nats - truth) < 0.06
    assert one.p_value == {"kde": 1 / 201, "decoder": 1 / 1001}[estimator]
    assert (one.n, one.d, one.ceiling) == (1000, 1, math.log(2))
    named = mi.mutual_information(x, np.where(y == 1, "up", "down"), estimator)
    assert math.isclose(named.nats, one.nats, rel_tol=1e-5)


@pytest.mark.parametrize("estimator", ["kde", "decoder"])
def test_independent_is_inside_the_null(estimator):
    rng = np.random.default_rng(0)
    y = np.arange(100) % 2
    p = [mi.mutual_information(rng.normal(size=(100, 3)), y, estimator).p_value for _ in range(15)]
    assert np.median(p) > 0.15
    assert min(p) < 1


def test_a_clipped_value_says_so():
    rng = np.random.default_rng(2)
    found = [
        mi.mutual_information(rng.normal(size=60), np.arange(60) % 2, "decoder") for _ in range(10)
    ]
    clipped = [one for one in found if one.raw is not None]
    assert clipped
    assert all(one.nats == 0 and one.raw < 0 and "clipped" in str(one) for one in clipped)


def test_numbers_are_a_label_where_it_is_said_and_a_label_numbers(two_gaussians):
    x, y = two_gaussians(1.0, 100)
    told = mi.mutual_information(x, y.astype(float), discrete=True)
    assert told.nats == mi.mutual_information(x, y).nats
    assert (told.estimator, told.ceiling) == ("kde", math.log(2))
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
        one = mi.mutual_information(x, y, estimator)
        assert mi.mutual_information(names, x, estimator).nats == pytest.approx(one.nats, rel=1e-9)
        hot = mi.mutual_information(x, np.eye(2)[y], estimator)
        assert hot.nats == pytest.approx(one.nats, rel=1e-9)


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
        found = mi.conditional_mutual_information(x, x[:, 0], x[:, 1], name, null=3, draws=0)
        assert found.p_value in quarters


def test_the_same_seed_gives_the_same(two_gaussians):
    x, y = two_gaussians(1.0, 100)
    for other in (y, x[::-1].copy()):
        one, again, changed = (mi.mutual_information(x, other, seed=s) for s in (3, 3, 4))
        assert one == again
        assert one.interval != changed.interval


@pytest.mark.parametrize("estimator", ["ksg", "gaussian", "vme"])
def test_intervals_have_the_width_of_new_samples(estimator):
    values, widths = [], []
    for seed in range(30):
        x, noise = np.random.default_rng(seed).normal(size=(2, 150))
        one = mi.mutual_information(x, x + noise, estimator, null=0, draws=60)
        values.append(one.bits)
        widths.append((one.interval[1] - one.interval[0]) / 3.92)
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
    one = mi.input_information(x, draws=20)
    assert one.low < one.nats < one.high <= math.log(100)
    assert mi.input_information(x, draws=0).interval is None
    assert mi.input_information(x, seed=3) == mi.input_information(x, seed=3)


def test_negentropy_is_that_of_the_exponential_and_none_of_a_gaussian():
    rng = np.random.default_rng(0)
    one = mi.negentropy(rng.exponential(size=5000), draws=10)
    assert one.nats == pytest.approx(0.5 * math.log(2 * math.pi * math.e) - 1, abs=0.03)
    assert (one.quantity, one.estimator, one.p_value) == ("J(X)", "rbig", None)
    assert one.low <= one.nats <= one.high
    assert mi.negentropy(rng.normal(size=(3000, 2)), draws=0).nats < 0.05
    with pytest.raises(SettingsError, match="negentropy: expected rbig; received 'kde'"):
        mi.negentropy(rng.normal(size=30), "kde")


def test_entropy_of_gaussians():
    x = np.random.default_rng(0).normal(size=(1000, 1))
    truth = 0.5 * math.log(2 * math.pi * math.e * 1.02)
    lower, upper = (mi.entropy(x, noise=0.02, bound=bound).nats for bound in ("lower", "upper"))
    assert lower < truth < upper
    assert mi.entropy(x / 100, noise=1e-5).nats < 0
    one = mi.entropy(x)
    noise = 0.5 * math.log(
        2 * math.pi * math.e * 0.1 * np.median((x - x.T)[~np.eye(1000, dtype=bool)] ** 2)
    )
    assert one.ceiling == pytest.approx(noise + math.log(1000))
    assert one.share == pytest.approx((one.nats - noise) / math.log(1000))
    assert one.p_value is None
    assert not one.saturated
    # The noise's entropy is under 0 here, and so is the ceiling.
    narrow = mi.entropy(x, noise=1e-12)
    assert narrow.ceiling < 0
    assert narrow.saturated
    assert "Saturated" in narrow.notices[0]
    with pytest.raises(SettingsError, match="kde, binning, ksg, gaussian, vme"):
        mi.entropy(x, "decoder")


def test_importing_brings_nothing_heavy():
    code = (
        "import sys; from oip import mi; from oip.mi.estimators.registry import estimator;"
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
