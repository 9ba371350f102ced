"""Circles through a density destructor and back, and their total correlation."""

from functools import cache

import numpy as np
import pytest

from oip import mi
from oip.studies import rbig_circles
from oip.studies.report import record_of


def test_the_truth_of_circles_is_that_of_samples():
    x = rbig_circles.circles(4000, np.random.default_rng(0))
    estimate = mi.total_correlation(x, null=0, draws=0).nats
    assert rbig_circles.circle_total_correlation() == pytest.approx(estimate, abs=0.06)


@cache
def destroyed(rotation):
    return rbig_circles.destroy_circles(1000, 40, rotation, seed=0)


@pytest.mark.parametrize(("rotation", "least"), [("pca", 0.6), ("ica", 0.4), ("random", 0.6)])
def test_circles_there_and_back(rotation, least):
    arrays = destroyed(rotation)
    assert arrays["inverse_error"] < 1e-5
    assert arrays["cumulative"][-1] > arrays["chance"][:, -1].max()
    # The rest of rings after some layers is the same in all directions.
    assert least < arrays["cumulative"][-1] / arrays["truth"] < 1.0
    assert arrays["by_jacobian"] == pytest.approx(arrays["cumulative"][-1], rel=0.1)


@pytest.mark.parametrize(
    ("evenness", "radius", "verdict"),
    [(1.5, 0.015, "yes"), (3.0, 0.015, "partly"), (1.5, 0.04, "partly"), (3.0, 0.2, "no")],
)
def test_points_far_from_uniform_or_from_the_data_are_said(evenness, radius, verdict):
    numbers = record_of(rbig_circles.Circles, destroyed("pca"))._replace(
        evenness=np.array(evenness),
        evenness_chance=np.array(1.1),
        radius_generated=np.array(radius),
        radius_data=np.array(0.01),
    )
    assert rbig_circles.circle_findings(numbers, 1000, "PCA")[2].verdict == verdict


def test_evenness_of_even_and_uneven_points():
    rng = np.random.default_rng(0)
    assert rbig_circles.evenness(rng.random((20_000, 2))) == pytest.approx(1.0, abs=0.6)
    assert rbig_circles.evenness(rng.random((20_000, 2)) ** 2) > 50


def test_the_cube_of_histograms_has_an_inverse_and_even_margins():
    z = np.random.default_rng(0).normal(size=(1000, 2))
    cube = rbig_circles.marginal_histograms(z)
    base = rbig_circles.to_cube(cube, z)
    assert np.abs(rbig_circles.from_cube(cube, base) - z).max() < 1e-9
    assert base.min() == 0.0 and base.max() == 1.0
    assert np.histogram(base[:, 0], 4)[0] == pytest.approx(np.full(4, 250), abs=20)
    assert rbig_circles.to_cube(cube, z + 99).min() == 1.0


def test_both_ways_to_the_total_correlation_are_near_the_truth():
    arrays = rbig_circles.both_ways(rbig_circles.CircleFit(1000, 0), 40, seed=0)
    truth = rbig_circles.circle_total_correlation() / np.log(2)
    assert 0.5 < arrays["by_layers"] / truth < 1.0
    assert arrays["by_jacobian"] == pytest.approx(arrays["by_layers"], rel=0.1)
    assert arrays["fit_seconds"] > 0 and arrays["jacobian_seconds"] >= 0


@pytest.mark.parametrize(
    ("farther", "seconds", "verdict"),
    [(0.2, 2.0, "yes"), (0.2, 0.1, "partly"), (-0.2, 0.1, "no"), (-0.2, 2.0, "partly")],
)
def test_the_two_ways_are_judged_by_their_errors_and_their_time(farther, seconds, verdict):
    truth = rbig_circles.circle_total_correlation() / np.log(2)
    noise = np.random.default_rng(0).normal(0, 0.01, (2, 5))
    ways = {
        rbig_circles.CircleFit(count, trial): {
            "by_layers": np.array(truth - 0.4),
            "by_jacobian": np.array(truth - 0.4 - farther + noise[row, trial]),
            "fit_seconds": np.array(1.0),
            "jacobian_seconds": np.array(seconds),
        }
        for row, count in enumerate((500, 100))
        for trial in range(5)
    }
    finding = rbig_circles.ways_finding(ways, 5)
    assert finding.verdict == verdict
    assert next(iter(finding.groups)) == "100 points, error in %"
