"""Shuffles that keep what a condition tells."""

import numpy as np
import pytest

from oip import mi
from oip.mi.conditional_shuffles import (
    _NEAREST,
    ConditionalMean,
    ConditionalShuffles,
    _nearest,
    _order_among_nearest,
)
from oip.mi.validation import check_side


def side(values, label=None):
    return check_side("values", values, label, True)


def test_given_a_label_x_is_exchanged_within_its_classes():
    given, x = np.arange(60) % 3, np.arange(60.0)
    shuffles = ConditionalShuffles(side(x), side(given), 0)
    first, repeated, second = (shuffles(number)[:, 0] for number in (0, 0, 1))
    for label in range(3):
        assert set(first[given == label]) == set(x[given == label])
    assert (first == repeated).all()
    assert (first != second).any()
    assert (first != x).any()


def test_given_numbers_what_z_tells_is_kept_and_the_rest_exchanged():
    random = np.random.default_rng(0)
    z = random.normal(size=(300, 2))
    truth = z @ np.array([[1.0, 0.0], [0.5, 1.0]])
    x = np.maximum(truth + 0.3 * random.normal(size=(300, 2)), 0)
    shuffled = ConditionalShuffles(side(x), side(z), 3)(0)
    assert ((shuffled >= 0) & (shuffled <= x.max(axis=0))).all()
    assert (shuffled == 0).mean() > 0.2
    active = truth[:, 0] > 1
    kept = [np.corrcoef(values[active, 0], truth[active, 0])[0, 1] for values in (x, shuffled)]
    assert kept[1] == pytest.approx(kept[0], abs=0.1)
    noise = [(values - truth)[active, 0] for values in (x, shuffled)]
    assert abs(np.corrcoef(*noise)[0, 1]) < 0.4


@pytest.mark.parametrize("name", ["ksg", "gaussian", "vme", "renyi", "binning"])
def test_x_that_follows_from_z_has_nothing_beside_it(name):
    z, noise = np.random.default_rng(0).normal(size=(2, 150))
    for x in (z, 2 * z + 1, 0.0 * z):
        estimate = mi.conditional_mutual_information(x, z + noise, z, name, null=39, draws=0)
        assert estimate.p_value == 1.0
    both = np.stack([2 * z + 1, noise], axis=1)
    shuffled = ConditionalShuffles(side(both), side(z), 0)(0)
    assert (shuffled[:, 0] == both[:, 0]).all()
    assert (shuffled[:, 1] != noise).any()


def test_a_plane_is_fitted_exactly_and_so_are_constants():
    random = np.random.default_rng(0)
    z = random.normal(size=(150, 2)) * [1.0, 100.0]
    plane = z @ np.array([[2.0, 1.0], [-0.5, 0.0]]) + 7.0
    fit = ConditionalMean.fit(plane, z)
    assert np.allclose(fit.mean, plane, atol=1e-8 * plane.std())
    assert np.abs(fit.residuals).max() < 1e-7 * plane.std()
    assert np.allclose(ConditionalMean.fit(np.ones((50, 1)), z[:50]).mean, 1.0)
    assert np.allclose(ConditionalMean.fit(plane, np.zeros((150, 1))).mean, plane.mean(axis=0))
    few = ConditionalMean.fit(plane[:3], z[:3])
    assert np.isfinite(few.mean).all()
    assert np.isfinite(few.residuals).all()


@pytest.mark.parametrize("landmarks", [None, 60])
def test_smooth_functions_are_found_by_their_own_kernel(landmarks):
    random = np.random.default_rng(1)
    z = random.normal(size=(400, 3))
    truth = np.stack([z[:, 0] * z[:, 1], np.sin(2 * z[:, 0]) + z[:, 2] ** 2], axis=1)
    x = truth + 0.2 * random.normal(size=truth.shape)
    fit = ConditionalMean.fit(x, z, **({} if landmarks is None else {"landmarks": landmarks}))
    error = np.sqrt(((fit.mean - truth) ** 2).mean(axis=0))
    assert (error < 0.2).all()  # less than the noise


def test_mean_and_rest_together_are_as_noisy_as_x():
    random = np.random.default_rng(2)
    together = []
    for _ in range(12):
        z = random.normal(size=(150, 3))
        truth = z[:, :1] * z[:, 1:2]
        x = truth + 0.5 * random.normal(size=(150, 1))
        fit = ConditionalMean.fit(x, z)
        rebuilt = fit.mean + random.permutation(fit.residuals)
        together.append((rebuilt - truth).var())
    assert np.mean(together) == pytest.approx(0.25, rel=0.12)


def test_labels_are_drawn_from_what_z_tells():
    random = np.random.default_rng(3)
    z = random.normal(size=(2000, 1))
    codes = (z[:, 0] + 0.5 * random.normal(size=2000) > 0).astype(int)
    shuffled = ConditionalShuffles(side(codes, True), side(z), 0)(0)
    for low, high in ((-3, -1), (-0.5, 0.0), (0.0, 0.5), (1, 3)):
        inside = (z[:, 0] > low) & (z[:, 0] < high)
        assert shuffled[inside].mean() == pytest.approx(codes[inside].mean(), abs=0.1)
    middle = np.abs(z[:, 0]) < 0.3
    assert np.mean(shuffled[middle] == codes[middle]) < 0.65


def test_no_p_value_where_a_label_turns_faster_than_the_samples_show():
    random = np.random.default_rng(5)
    z = random.normal(size=(300, 3))
    x, y = (np.sin(2 * z[:, 0]) + 0.3 * random.normal(size=(2, 300)) > 0).astype(int)
    estimate = mi.conditional_mutual_information(x, y, z, "ksg", discrete_x=True, null=19, draws=0)
    slow = ConditionalShuffles(side((z[:, 0] > 0).astype(int), True), side(z), 0)
    assert not slow.blunt
    assert ConditionalShuffles(side(x, True), side(z), 0).blunt
    assert estimate.p_value is None
    assert "No p-value" in estimate.notices[-1]


@pytest.mark.parametrize("name", ["ksg", "vme"])
def test_a_common_cause_of_three_columns_is_no_influence(name):
    # With local planes alone `vme` had p <= .05 in half of such samples.
    random = np.random.default_rng(7)
    p_values = []
    for _ in range(10):
        z = random.normal(size=(300, 3))
        x, y = z.sum(axis=1) + 0.3 * random.normal(size=(2, 300))
        estimate = mi.conditional_mutual_information(x, y, z, name, null=19, draws=0)
        p_values.append(estimate.p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 2 / 10
    assert "3 columns" in estimate.notices[-1]
    y += x - z.sum(axis=1)
    influence = mi.conditional_mutual_information(x, y, z, name, null=19, draws=0)
    assert influence.p_value == 1 / 20


def test_what_is_left_is_exchanged_and_no_sample_is_there_twice():
    # Copies at almost equal Z are neighbors: taken twice, they made p <= .05 of ksg in .073 of 750.
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 3))
    near = _nearest(z, _NEAREST).tolist()
    orders = np.array([_order_among_nearest(near, rng) for _ in range(50)])
    assert (np.sort(orders, axis=1) == np.arange(200)).all()
    assert (orders == np.arange(200)).mean() < 0.3
    far = np.linalg.norm(z[:, None] - z, axis=2)
    assert far[np.arange(200), orders].mean() < far.mean() / 3


def test_kernels_of_many_samples_have_fewer_centers(monkeypatch):
    from scipy.spatial import distance

    from oip.mi import conditional_shuffles

    sizes, cdist = [], distance.cdist

    def counted(z, centers, metric):
        sizes.append(len(centers))
        return cdist(z, centers, metric)

    monkeypatch.setattr(distance, "cdist", counted)
    monkeypatch.setattr(conditional_shuffles, "KERNEL_BYTES", 8 * 2000 * 100)
    random = np.random.default_rng(0)
    for n in (1000, 2000, 4000):
        z = random.normal(size=(n, 1))
        fit = ConditionalMean.fit(np.sin(2 * z), z)
        assert np.abs(fit.mean - np.sin(2 * z)).mean() < 0.01
    assert sizes == [200, 100, 50]
