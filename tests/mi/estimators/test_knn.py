import math

import numpy as np
import pytest
from scipy.special import digamma

from oip import mi
from oip.core.errors import SettingsError
from oip.mi.estimators import knn
from oip.mi.estimators.knn import Ksg, canonical_directions, fisher_directions, ross_information


def far(x, i, j):
    return np.abs(x[i] - x[j]).max()


def radius(x, i, k):
    return sorted(far(x, i, j) for j in range(len(x)) if j != i)[k - 1]


def nearer(x, i, r):
    return sum(far(x, i, j) < r for j in range(len(x)) if j != i)


@pytest.fixture(params=[(1, 1), (2, 3), (6, 6)])
def few(request):
    """Standardised x and y (45, dx), (45, dy): by a line, a tree and by force."""
    dx, dy = request.param
    rng = np.random.default_rng(0)
    both = rng.normal(size=(45, dx + dy)) @ rng.normal(size=(dx + dy, dx + dy))
    both = (both - both.mean(axis=0)) / both.std(axis=0)
    return both[:, :dx], both[:, dx:]


def test_algorithm_1_is_that_of_a_double_loop(few):
    x, y = few
    z, total = np.concatenate([x, y], axis=1), 0.0
    for i in range(45):
        r = radius(z, i, 3)
        total += digamma(nearer(x, i, r) + 1) + digamma(nearer(y, i, r) + 1)
    expected = digamma(3) + digamma(45) - total / 45
    assert math.isclose(Ksg().information(x, y, 0).nats, expected, abs_tol=1e-12)


def test_algorithm_2_is_that_of_a_double_loop(few):
    x, y = few
    z, total = np.concatenate([x, y], axis=1), 0.0
    for i in range(45):
        near = sorted((j for j in range(45) if j != i), key=lambda j: far(z, i, j))[:4]
        for side in (x, y):
            reach = max(far(side, i, j) for j in near)
            total += digamma(sum(far(side, i, j) <= reach for j in range(45) if j != i))
    expected = digamma(4) - 1 / 4 + digamma(45) - total / 45
    value = Ksg(k=4, algorithm=2).information(x, y, 0).nats
    assert math.isclose(value, expected, abs_tol=1e-12)


def test_conditional_information_is_that_of_a_double_loop(few):
    x, y = few
    z = np.random.default_rng(1).normal(size=(45, 2))
    xz, yz = np.concatenate([x, z], axis=1), np.concatenate([y, z], axis=1)
    total = 0.0
    for i in range(45):
        r = radius(np.concatenate([x, y, z], axis=1), i, 3)
        total += digamma(nearer(z, i, r) + 1)
        total -= digamma(nearer(xz, i, r) + 1) + digamma(nearer(yz, i, r) + 1)
    value = Ksg(standardize=False).conditional_information(x, y, z, 0).nats
    assert math.isclose(value, digamma(3) + total / 45, abs_tol=1e-12)


def test_total_correlation_is_that_of_a_double_loop(few):
    x = np.concatenate(few, axis=1)
    total = 0.0
    for i in range(45):
        r = radius(x, i, 3)
        total += sum(digamma(nearer(x[:, [c]], i, r) + 1) for c in range(x.shape[1]))
    expected = digamma(3) + (x.shape[1] - 1) * digamma(45) - total / 45
    assert math.isclose(Ksg().total_correlation(x, 0).nats, expected, abs_tol=1e-11)


def test_entropy_and_divergence_are_those_of_double_loops(few):
    x, _ = few
    n, d = x.shape
    logs = [math.log(2 * radius(x, i, 3)) for i in range(n)]
    expected = digamma(n) - digamma(3) + d * np.mean(logs)
    assert math.isclose(Ksg().entropy(x, 0).nats, expected, abs_tol=1e-11)
    assert math.isclose(
        Ksg().entropy(x * 5, 0).nats, expected + d * math.log(5), rel_tol=1e-9, abs_tol=1e-9
    )
    y = np.random.default_rng(1).normal(size=(30, d))
    total = 0.0
    for i in range(n):
        other = sorted(np.abs(x[i] - y[j]).max() for j in range(30))[2]
        total += math.log(other / radius(x, i, 3))
    expected = d * total / n + math.log(30 / (n - 1))
    assert math.isclose(Ksg(standardize=False).divergence(x, y, 0).nats, expected, abs_tol=1e-11)


def ross_by_loops(x, y, k):
    kept = [i for i in range(len(x)) if np.sum(y == y[i]) > 1]
    x, y = x[kept], y[kept]
    total = digamma(len(x))
    for i in range(len(x)):
        same = sorted(far(x, i, j) for j in range(len(x)) if j != i and y[j] == y[i])
        count = min(k, len(same))
        inside = 1 + nearer(x, i, same[count - 1])
        parts = digamma(count) - digamma(len(same) + 1) - digamma(inside)
        total += parts / len(x)
    return total


@pytest.mark.parametrize("rarity", [None, 1.0, 4.0])
def test_ross_is_that_of_a_double_loop_for_any_label_of_any_samples(few, rarity):
    x, _ = few
    rng = np.random.default_rng(3)
    information = ross_information(x, 3, rarity)
    for _ in range(4):
        codes = rng.choice(5, 45, p=[0.5, 0.3, 0.1, 0.06, 0.04])
        expected = ross_by_loops(x, codes, 3)
        assert math.isclose(information(codes, None), expected, abs_tol=1e-12)
        rows = np.sort(rng.permutation(45)[:22])
        expected = ross_by_loops(x[rows], codes[rows], 3)
        assert math.isclose(information(codes[rows], rows), expected, abs_tol=1e-12)


def test_ross_without_two_of_a_class_is_nothing():
    x = np.random.default_rng(0).normal(size=(5, 1))
    assert ross_information(x, 3, 1.0)(np.arange(5), None) == 0.0


@pytest.mark.parametrize("k", [1, 3, 7])
def test_ross_and_algorithm_1_are_those_of_scikit_learn(k, two_gaussians):
    from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

    x, y = two_gaussians(1.0, 300)
    value = Ksg(k=k).over_maps(x[:, None], y).raw[0]
    expected = mutual_info_classif(x, y, n_neighbors=k, random_state=0)[0]
    assert math.isclose(max(value, 0.0), expected, abs_tol=1e-6)
    other = x[:, 0] + np.random.default_rng(1).normal(size=300)
    value = Ksg(k=k).information(x, other[:, None], 0).nats
    expected = mutual_info_regression(x, other, n_neighbors=k, random_state=0)[0]
    assert math.isclose(max(value, 0.0), expected, abs_tol=1e-6)


def test_counts_on_a_line_are_exact_at_the_edges():
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1.0, 1e6):
        x = rng.normal(size=(60, 1)) + scale
        distances = np.abs(x - x.T)
        for column in (1, 5, 59):
            r = np.sort(distances, axis=1)[:, column]
            assert (knn.count_within(x, r) == (distances <= r[:, None]).sum(axis=1)).all()
            below = np.nextafter(r, 0)
            assert (knn.count_within(x, below) == (distances < r[:, None]).sum(axis=1)).all()


@pytest.mark.parametrize("d", [2, 3, 25])
def test_neighbors_and_counts_are_those_of_all_distances(d, monkeypatch):
    monkeypatch.setattr(knn, "COMPARED_ELEMENTS", 20 * 8 * d)  # several blocks
    x = np.random.default_rng(0).normal(size=(70, d))
    x[:30] = np.round(x[:30], 1)  # distances that are equal
    distances = np.abs(x[:, None] - x).max(axis=2)
    radius, neighbors = knn.nearest(x, 4)
    assert (radius == np.sort(distances, axis=1)[:, 4]).all()
    rows = np.arange(70)[:, None]
    assert (distances[rows, neighbors] == np.sort(distances, axis=1)[:, 1:5]).all()
    assert (knn.count_within(x, radius) == (distances <= radius[:, None]).sum(axis=1)).all()
    below = np.nextafter(radius, 0)
    assert (knn.count_within(x, below) == (distances < radius[:, None]).sum(axis=1)).all()
    assert (knn.nearest_of(x[:20], x, 3) == np.sort(distances[:, :20], axis=1)[:, 2]).all()


def test_ties_are_broken_by_the_seed_and_said(two_gaussians):
    x, y = two_gaussians(1.0, 200)
    silent = np.maximum(x, 0)
    value, repeated, other = (
        Ksg().over_maps(silent[:, None], y, seed).raw[0] for seed in (0, 0, 1)
    )
    assert value == repeated != other
    assert abs(value - other) < 0.1
    assert "ties" in Ksg().over_maps(silent[:, None], y).notices[0][0]
    assert "ties" in Ksg().information(x, silent, 0).notices[0]
    assert Ksg().information(x, x + 1, 0).notices == ()
    # Nothing is moved where nothing is tied.
    assert Ksg().information(x, x**3, 0).nats == Ksg().information(x, x**3, 1).nats


def test_sparse_maps_of_a_layer_do_not_err_together():
    # With one jitter for all maps, their values varied half as much as those of shuffles.
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=(300, 40, 1)) - 1.6, 0)
    maps = mi.estimator("ksg").over_maps(x, rng.integers(0, 5, 300), 0, 20, 0, one_vs_rest=False)
    assert maps.raw.std() > 0.8 * maps.null.std(axis=0).mean()


def test_an_offset_does_not_make_the_noise_that_breaks_ties_large():
    # Times in seconds: at 1.7e9 the noise was .17, at 1e12 100.
    x, noise = np.round(np.random.default_rng(0).normal(size=(2, 500)), 2)
    plain = Ksg(standardize=False)
    y, value = x + noise, plain.information(x[:, None], (x + noise)[:, None], 0).nats
    assert abs(value - 0.5 * math.log(2)) < 0.15
    for offset in (1.7e9, 1e12):
        moved = plain.information(x[:, None] + offset, y[:, None], 0).nats
        assert moved == pytest.approx(value, abs=0.06)  # ties are broken in other ways


@pytest.mark.parametrize("far", [1e4, 1e15, 1e36])
def test_one_far_sample_leaves_the_others_their_digits(far):
    y = np.arange(400) % 2
    x = np.random.default_rng(0).normal(size=400) + 2 * y
    z = x + np.random.default_rng(1).normal(size=400)
    near = mi.mutual_information(x, y, "ksg", null=0, draws=0)
    assert mi.mutual_information(x, z, "ksg", null=0, draws=0).notices == ()
    x[7] = far
    about_label = mi.mutual_information(x, y, "ksg", null=0, draws=0)
    assert about_label.nats == pytest.approx(near.nats, abs=0.05)
    # On the scale of the far sample all others are at one place, next to the spread of z.
    for estimate in (
        mi.mutual_information(x, z, "ksg", null=0, draws=0),
        mi.total_correlation(np.stack([x, z], axis=1), "ksg", null=0, draws=0),
        mi.conditional_mutual_information(x, z, y + 0.5 * z, "ksg", null=0, draws=0),
    ):
        assert "x: heavy tails (kurtosis 398" in estimate.notices[0]
        assert "too low" in estimate.notices[0]
    ranks = mi.mutual_information(x, z, "ksg", marginals="ranks", null=0, draws=0)
    assert ranks.nats > 0.5
    assert ranks.notices == ()


def test_a_far_sample_in_one_of_several_columns_about_a_label_is_told():
    y = np.repeat(np.arange(4), 100)
    x = np.random.default_rng(0).normal(size=(400, 2)) + 2 * np.stack([y % 2, y // 2], axis=1)
    near = mi.mutual_information(x, y, "ksg", null=0, draws=0)
    assert near.notices == ()
    x[7, 0] = 1e4
    far = mi.mutual_information(x, y, "ksg", null=0, draws=0)
    assert far.nats < 0.75 * near.nats
    assert "x: heavy tails (kurtosis 398" in far.notices[0] and "too low" in far.notices[0]
    ranks = mi.mutual_information(x, y, "ksg", marginals="ranks", null=0, draws=0)
    assert ranks.nats == pytest.approx(near.nats, abs=0.1) and ranks.notices == ()


def test_many_dimensions_are_said_and_reduced_for_labels():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = rng.normal(size=(200, 60)) * 0.1
    x[:, 0] += 3 * y
    assert "8 principal components" in Ksg().over_maps(x[:, None], y).notices[0][0]
    assert Ksg().over_maps(x[:, None], y).raw[0] > 0.6
    assert "too small" in Ksg().information(x[:, :15], x[:, 15:30], 0).notices[0]
    assert Ksg().information(x[:, :10], x[:, 10:20], 0).notices == ()
    # The known failure: 14.4 nats at 2 x 100 coordinates with rho = .5 come out as nearly nothing.
    left = rng.normal(size=(500, 100))
    right = 0.5 * left + math.sqrt(0.75) * rng.normal(size=(500, 100))
    assert 100 * -0.5 * math.log(0.75) > 14
    assert Ksg().information(left, right, 0).nats < 3


def test_both_sides_are_reduced_on_request():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 30)) * 0.01
    y = rng.normal(size=(500, 30)) * 0.01
    x[:, 0] += rng.normal(size=500)
    y[:, 3] += x[:, 0] + 0.5 * rng.normal(size=500)
    truth = 0.5 * math.log(1 + 1 / 0.25)
    assert Ksg().information(x, y, 0).nats < 0.4 * truth
    estimate = Ksg(components=1).information(x, y, 0)
    assert estimate.nats == pytest.approx(truth, abs=0.1)
    assert [notice for notice in estimate.notices if "1 principal components" in notice] == list(
        estimate.notices
    )
    assert len(estimate.notices) == 2
    narrow = Ksg(components=5).information(x[:, :2], y[:, 3:5], 0)
    assert narrow.nats == Ksg().information(x[:, :2], y[:, 3:5], 0).nats
    assert narrow.notices == ()


def test_a_value_above_what_the_label_has_is_said():
    y = np.arange(60) % 2
    x = 100.0 * y + np.random.default_rng(0).normal(size=60)
    estimate = mi.mutual_information(x, y, "ksg", null=0, draws=0)
    assert estimate.nats > estimate.ceiling
    assert "Above H(Y)" in estimate.notices[0]
    clipped = mi.mutual_information(x, y, "ksg", clip=True, null=0, draws=0)
    assert clipped.nats == clipped.ceiling
    assert clipped.raw == estimate.nats
    assert clipped.notices == ()
    assert mi.mutual_information(x * 0 + np.arange(60), y, "ksg", null=0, draws=0).notices == ()


def test_signed_unless_clipped():
    from oip import mi

    rng = np.random.default_rng(0)
    estimates = [mi.mutual_information(*rng.normal(size=(2, 50)), "ksg") for _ in range(8)]
    below = [index for index, estimate in enumerate(estimates) if estimate.nats < 0]
    assert below
    assert all(estimate.raw is None for estimate in estimates)
    rng = np.random.default_rng(0)
    clipped = [mi.mutual_information(*rng.normal(size=(2, 50)), "ksg", clip=True) for _ in range(8)]
    for index in below:
        assert clipped[index].nats == 0.0
        assert clipped[index].raw == estimates[index].nats


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
        estimate = mi.mutual_information(
            x[:, :8],
            other,
            "ksg",
            null=19,
            draws=0,
            discrete=other is shuffled,
            reduction="directions",
        )
        assert abs(estimate.nats) < 0.06
        assert estimate.p_value > 0.05


def test_the_order_of_samples_does_not_matter(hidden):
    x, y = hidden
    order = np.random.default_rng(0).permutation(1000)
    value = plain(x, y, reduction="directions").nats
    assert plain(x[order], y[order], reduction="directions").nats == pytest.approx(value, abs=1e-9)


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
