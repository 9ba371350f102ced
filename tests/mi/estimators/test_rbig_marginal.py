import math

import numpy as np
import pytest

from oip.mi.estimators.density_destructor import Marginal, normal_scores, sorted_entropies


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (lambda rng: rng.normal(size=20_000), 1.41894),
        (lambda rng: rng.laplace(size=20_000), 1.69315),
        (lambda rng: rng.exponential(size=20_000), 1.0),
        (lambda rng: rng.standard_t(5, size=20_000), 1.62750),
        (lambda rng: rng.uniform(0, 4, size=20_000), math.log(4)),
    ],
)
def test_entropies_are_those_of_the_distributions(draw, truth):
    # The histogram's bins are narrow beside the densities; sampling error is about .01.
    row = np.sort(draw(np.random.default_rng(0)))
    assert abs(sorted_entropies(row[None])[0] - truth) < 0.03


def test_entropies_move_with_the_logarithm_of_the_scale():
    row = np.sort(np.random.default_rng(0).normal(size=500))
    one, ten = sorted_entropies(np.stack([row, 10 * row]))
    assert math.isclose(ten - one, math.log(10), rel_tol=1e-9)
    assert sorted_entropies(np.zeros((1, 10)))[0] == -np.inf


@pytest.mark.parametrize(
    "row",
    [
        np.random.default_rng(0).exponential(size=1000),
        np.random.default_rng(0).standard_t(2, size=1000),
        np.maximum(np.random.default_rng(0).normal(size=300), 0),
        np.array([0.0, 1.0]),
        np.array([0.0, 0.0, 0.0, 1.0]),
        1e9 + np.random.default_rng(0).uniform(size=50),
    ],
)
def test_maps_rise_and_are_undone_everywhere(row):
    one = Marginal.of(np.sort(row))
    assert (np.diff(one.places) > 0).all()
    assert (np.diff(one.scores) > 0).all()
    span = np.ptp(row)
    values = np.concatenate([row, np.linspace(row.min() - 5 * span, row.max() + 5 * span, 101)])
    back = one.inverse(one.transform(values))
    assert np.allclose(back, values, rtol=1e-9, atol=1e-9 * span)


def test_skewed_samples_become_gaussian_and_gaussian_ones_are_only_scaled():
    rng = np.random.default_rng(0)
    row = np.sort(rng.exponential(size=4000))
    assert np.abs(Marginal.of(row).transform(row) - normal_scores(4000)).max() < 0.6
    assert np.abs(Marginal.of(row).transform(row) - normal_scores(4000)).mean() < 0.02
    row = np.sort(3 + 2 * rng.normal(size=4000))
    line = Marginal.of(row)
    assert len(line.places) == 2
    assert np.allclose(line.transform(row), (row - row.mean()) / row.std())


def test_slopes_are_those_of_differences():
    row = np.sort(np.random.default_rng(0).exponential(size=500))
    one = Marginal.of(row)
    at = (one.places[1:] + one.places[:-1]) / 2
    step = 1e-6 * np.diff(one.places)
    slope = (one.transform(at + step) - one.transform(at - step)) / (2 * step)
    assert np.allclose(np.log(slope), one.log_slope(at), atol=1e-6)
