import math

import numpy as np
import pytest

from oip.core.errors import SettingsError
from oip.mi.estimators.renyi_entropy import Bandwidth, gram


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(25, 4))


def by_loop(x, sigma):
    return np.array([[math.exp(-((a - b) ** 2).sum() / (2 * sigma**2)) for b in x] for a in x])


def test_sigma_is_that_of_the_gaussian(x):
    assert np.allclose(gram(x, Bandwidth(sigma=1.7)), by_loop(x, 1.7))


def test_silverman_has_h_n_and_d(x):
    assert np.allclose(gram(x, Bandwidth(silverman=5.0)), by_loop(x, 5.0 * 25 ** (-1 / 8)))


def test_relative_is_a_share_of_the_median_squared_distance(x):
    pairs = [((a - b) ** 2).sum() for i, a in enumerate(x) for b in x[i + 1 :]]
    sigma = math.sqrt(0.3 * np.median(pairs) / 2)
    assert np.allclose(gram(x, Bandwidth(relative=0.3)), by_loop(x, sigma))
    assert np.allclose(gram(1e4 * x, Bandwidth(relative=0.3)), by_loop(x, sigma))


def test_sigma_goes_before_silverman_before_relative(x):
    both = gram(x, Bandwidth(relative=9.0, silverman=2.0, sigma=0.5))
    assert np.allclose(both, gram(x, Bandwidth(sigma=0.5)))
    assert np.allclose(
        gram(x, Bandwidth(relative=9.0, silverman=2.0)), gram(x, Bandwidth(silverman=2.0))
    )


def test_constants_are_all_alike():
    for width in (Bandwidth(), Bandwidth(sigma=1e-3)):
        assert (gram(np.full((5, 2), 0.3), width) == 1).all()


@pytest.mark.parametrize("name", ["relative", "silverman", "sigma"])
def test_widths_that_make_no_sense(name):
    for value in (0, -1.0, math.nan, "wide", True):
        with pytest.raises(SettingsError, match=rf"who: {name}"):
            Bandwidth(**{name: value}).check("who")
