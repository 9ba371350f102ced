import math
import subprocess
import sys

import numpy as np
import pytest

import mi
from oip.core.errors import DataError, SettingsError


@pytest.mark.parametrize("estimator", ["kde", "decoder"])
@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0, 4.0])
def test_two_gaussians_of_numbers_and_names(two_gaussians, estimator, mu):
    truth = {0.5: 0.11142, 1.0: 0.33683, 2.0: 0.63272, 4.0: 0.69305}[mu]
    x, y = two_gaussians(mu, 1000)
    one = mi.mutual_information(x[:, 0], y, estimator)
    assert abs(one.nats - truth) < 0.06
    assert one.p_value == 1 / 1001
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


def test_continuous_y_is_refused_unless_it_is_said_to_be_a_label(two_gaussians):
    x, y = two_gaussians(1.0, 100)
    with pytest.raises(SettingsError, match="decoder, kde"):
        mi.mutual_information(x, y.astype(float))
    with pytest.raises(SettingsError, match="continuous"):
        mi.mutual_information(x, y, discrete=False)
    told = mi.mutual_information(x, y.astype(float), discrete=True)
    assert told.nats == mi.mutual_information(x, y).nats


@pytest.mark.parametrize(
    ("x", "word"),
    [
        (np.full(40, np.nan), "NaN"),
        (np.zeros((40, 2, 2)), "shape"),
        (np.zeros((40, 0)), "shape"),
        (np.zeros(39), "39"),
        (np.zeros(10), "at least 20"),
        (np.array(["a"] * 40), "numbers"),
    ],
)
def test_x_that_cannot_be_used(x, word):
    with pytest.raises(DataError, match=word):
        mi.mutual_information(x, np.arange(40) % 2)


def test_labels_that_cannot_be_used():
    with pytest.raises(DataError, match="only"):
        mi.mutual_information(np.zeros(40), np.zeros(40, int))
    with pytest.raises(DataError, match="different lengths"):
        mi.mutual_information(np.zeros(40), [[1], [1, 2]] * 20)


def test_input_information_runs_from_nothing_to_log_n():
    x = np.arange(32.0)
    assert mi.input_information(x, noise=1e-6).saturated
    assert math.isclose(mi.input_information(x, noise=1e-6).bits, 5.0)
    assert mi.input_information(x, noise=1e6).bits < 0.01
    assert mi.input_information(np.ones(32)).nats == 0.0
    assert mi.input_information(x).quantity == "I(X;M)"


def test_entropy_of_gaussians():
    x = np.random.default_rng(0).normal(size=(1000, 1))
    truth = 0.5 * math.log(2 * math.pi * math.e * 1.02)
    lower, upper = (mi.entropy(x, noise=0.02, bound=bound).nats for bound in ("lower", "upper"))
    assert lower < truth < upper
    assert mi.entropy(x / 100, noise=1e-5).nats < 0
    assert mi.entropy(x).ceiling is None
    with pytest.raises(SettingsError, match="kde"):
        mi.entropy(x, "decoder")


def test_importing_brings_nothing_heavy():
    code = (
        "import sys, mi; from mi.estimators.choice import estimator;"
        "heavy = ('tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib', 'pandas');"
        "print([name for name in heavy if name in sys.modules], len(dir(mi)) > 8)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[] True"


def test_every_public_name_is_there():
    for name in mi.__all__:
        assert getattr(mi, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        mi.nothing  # noqa: B018
