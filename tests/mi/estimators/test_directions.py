import math

import numpy as np
import pytest

from oip import mi
from oip.core.errors import SettingsError
from oip.mi.estimators.directions import canonical_directions, fisher_directions


def plain(x, y, **settings):
    return mi.mutual_information(x, y, "ksg", null=0, draws=0, **settings)


@pytest.fixture
def hidden(two_gaussians):
    """One coordinate that knows of y, among eight of noise: for a label, .33683 nats."""
    x, y = two_gaussians(1.0, 1000)
    return np.concatenate([np.random.default_rng(1).normal(size=(1000, 8)), x], axis=1), y


def test_noise_beside_what_is_known_costs_little_along_directions(hidden):
    # Sampling errors: .025 of the label's, .04 of the number's.
    x, y = hidden
    assert plain(x, y).nats < plain(x[:, 8], y).nats - 0.02
    along = plain(x, y, reduction="directions")
    assert along.parameters["reduction"] == "directions"
    assert abs(along.nats - 0.33683) < 0.06
    noise, number = np.random.default_rng(2).normal(size=(1000, 8)), np.random.default_rng(3)
    z = number.normal(size=1000)
    wide = np.concatenate([noise, z[:, None]], axis=1)
    y = 0.75 * z + math.sqrt(1 - 0.75**2) * number.normal(size=1000)
    assert plain(wide, y).nats < 0.41333 - 0.1
    assert abs(plain(wide, y, reduction="directions").nats - 0.41333) < 0.08


def test_directions_of_noise_tell_nothing(hidden):
    x, y = hidden
    shuffled = np.random.default_rng(0).permutation(y)
    for other in (shuffled, x[:, 8]):
        one = mi.mutual_information(
            x[:, :8],
            other,
            "ksg",
            null=19,
            draws=0,
            discrete=other is shuffled,
            reduction="directions",
        )
        assert abs(one.nats) < 0.06
        assert one.p_value > 0.05


def test_the_order_of_samples_does_not_matter(hidden):
    x, y = hidden
    order = np.random.default_rng(0).permutation(1000)
    one = plain(x, y, reduction="directions").nats
    assert plain(x[order], y[order], reduction="directions").nats == pytest.approx(one, abs=1e-9)


def test_directions_are_those_of_the_formulas(hidden):
    x, y = hidden
    axes = fisher_directions(x, y, 3)
    assert axes.shape == (9, 1)
    assert abs(axes[8, 0]) / np.linalg.norm(axes) > 0.97
    left, right = canonical_directions(x, x[:, [8, 0]] * [5.0, 0.1], 2)
    scores = x @ left
    assert np.allclose(np.corrcoef(scores.T), np.eye(2), atol=0.01)
    assert right.shape == (2, 2)
    for axis in left.T:
        assert np.linalg.norm(axis[[0, 8]]) / np.linalg.norm(axis) > 0.97
    with pytest.raises(SettingsError, match="reduction"):
        mi.estimator("ksg", reduction="lda")
