import numpy as np
import pytest

from oip.mi.estimators.gram import Bandwidth
from oip.mi.estimators.renyi import Renyi
from oip.mi.estimators.renyi_pairs import pairs


@pytest.fixture
def layer():
    rng = np.random.default_rng(0)
    codes = np.arange(48) % 3
    responses = rng.normal(size=(48, 5, 4))
    responses[:, 0] += np.eye(3, 4)[codes]
    responses[:, 1] = responses[:, 0]
    responses[:, 4] = 0.2
    return responses, codes


@pytest.mark.parametrize("alpha", [1.01, 2])
@pytest.mark.parametrize("width", [{}, {"silverman": 3.0}, {"sigma": 1.0}])
def test_pairs_are_groups_of_two(layer, alpha, width):
    responses, codes = layer
    one = Renyi(alpha=alpha, **width)
    found = one.pairs(responses, codes)
    assert np.allclose(found.single, one.over_maps(responses, codes).raw, atol=1e-9)
    for first in range(5):
        for second in range(5):
            group = one.group_information(responses[:, [first, second]], codes).nats
            assert found.joint[first, second] == pytest.approx(group, abs=1e-9)


@pytest.mark.parametrize(
    ("alpha", "budget"),
    [
        (2, 16 * 48 * 6 * 7),
        (1.01, 8 * 48 * 48),
        (1.01, 8 * 48 * 48 * 2),
        (1.01, 8 * 48 * 48 * 3),
    ],
)
def test_rows_and_gram_matrices_at_a_time_are_the_same(layer, alpha, budget):
    whole = pairs(*layer, alpha, Bandwidth())
    parts = pairs(*layer, alpha, Bandwidth(), byte_budget=budget)
    assert np.allclose(whole.joint, parts.joint, atol=1e-12)
    assert np.allclose(whole.single, parts.single, atol=1e-12)


def test_a_short_repr(layer):
    assert repr(Renyi(alpha=2).pairs(*layer)).startswith("<Pairs: 5 maps; best alone: 0 (")


def test_redundancy_and_what_is_not_redundant(layer):
    found = Renyi(alpha=2).pairs(*layer)
    i, j = found.single[0], found.single[2]
    assert found.redundancy[0, 2] == pytest.approx(i + j - found.joint[0, 2])
    assert found.non_redundant[0, 2] == pytest.approx(2 * found.joint[0, 2] - i - j)
    # A copy is redundant, a constant adds nothing.
    assert found.redundancy[0, 1] > found.redundancy[0, 2]
    assert found.joint[0, 4] == pytest.approx(found.single[0])
    share = found.share(found.redundancy)
    assert share[0, 1] == pytest.approx(found.redundancy[0, 1] / found.joint[0, 1])
    assert found.joint[4, 4] == pytest.approx(0, abs=1e-12)
    assert np.isfinite(share).all()
