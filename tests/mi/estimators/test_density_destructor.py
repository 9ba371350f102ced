import math

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, SettingsError
from oip.mi.estimators.density_destructor import (
    ROTATIONS,
    Marginal,
    expected_sums,
    gaussian_divergence,
    gaussianized,
    normal_scores,
    rotation,
    sorted_entropies,
)


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
    unscaled, ten = sorted_entropies(np.stack([row, 10 * row]))
    assert math.isclose(ten - unscaled, math.log(10), rel_tol=1e-9)
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
    marginal = Marginal.of(np.sort(row))
    assert (np.diff(marginal.knots) > 0).all()
    assert (np.diff(marginal.scores) > 0).all()
    span = np.ptp(row)
    values = np.concatenate([row, np.linspace(row.min() - 5 * span, row.max() + 5 * span, 101)])
    undone = marginal.inverse(marginal.transform(values))
    assert np.allclose(undone, values, rtol=1e-9, atol=1e-9 * span)


def test_skewed_samples_become_gaussian_and_gaussian_ones_are_only_scaled():
    rng = np.random.default_rng(0)
    row = np.sort(rng.exponential(size=4000))
    assert np.abs(Marginal.of(row).transform(row) - normal_scores(4000)).max() < 0.6
    assert np.abs(Marginal.of(row).transform(row) - normal_scores(4000)).mean() < 0.02
    row = np.sort(3 + 2 * rng.normal(size=4000))
    line = Marginal.of(row)
    assert len(line.knots) == 2
    assert np.allclose(line.transform(row), (row - row.mean()) / row.std())


def test_slopes_are_those_of_differences():
    row = np.sort(np.random.default_rng(0).exponential(size=500))
    marginal = Marginal.of(row)
    at = (marginal.knots[1:] + marginal.knots[:-1]) / 2
    step = 1e-6 * np.diff(marginal.knots)
    slope = (marginal.transform(at + step) - marginal.transform(at - step)) / (2 * step)
    assert np.allclose(np.log(slope), marginal.log_slope(at), atol=1e-6)


def run(x, layers=20, kind="pca", seed=0):
    return gaussianized(x, layers, kind, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ROTATIONS)
@pytest.mark.parametrize("d", [1, 2, 5])
def test_rotations_are_orthogonal(kind, d):
    rows = np.random.default_rng(0).laplace(size=(d, 400))
    turn = rotation(kind, rows, np.random.default_rng(1))
    assert np.allclose(turn @ turn.T, np.eye(d), atol=1e-10)


def test_principal_axes_take_correlation_away():
    rows = np.random.default_rng(0).normal(size=(2, 500))
    rows[1] += rows[0]
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= rows.std(axis=1, keepdims=True)
    first, second = rotation("pca", rows, np.random.default_rng(0)) @ rows
    assert abs((first * second).mean()) < 1e-10


def test_independent_components_are_found():
    sources = np.random.default_rng(0).uniform(-1, 1, size=(2, 3000))
    angle = 0.5
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ sources
    components = rotation("ica", turned, np.random.default_rng(0)) @ turned
    assert (np.abs(np.corrcoef(components, sources)[:2, 2:]).max(axis=1) > 0.99).all()


def test_what_is_left_are_normal_scores_of_every_coordinate():
    left = run(np.random.default_rng(0).exponential(size=(300, 3)))[1]
    assert np.allclose(np.sort(left, axis=0), normal_scores(300)[:, None])


def test_ranks_alone_count():
    x = np.random.default_rng(0).normal(size=(500, 3))
    x[:, 1] += x[:, 0]
    removed, left = run(x)
    changed = run(np.stack([np.exp(x[:, 0]), x[:, 1] ** 3, 2 * x[:, 2] + 5], axis=1))
    assert changed[0] == removed
    assert np.array_equal(changed[1], left)
    assert run(x**2)[0] != removed


def test_one_column_has_nothing_to_remove():
    assert run(np.random.default_rng(0).normal(size=(50, 1)))[0] == 0.0


def test_expected_sums_are_those_of_permuted_columns():
    rng = np.random.default_rng(3)
    x = rng.exponential(size=(400, 3))
    x[:, 1] += x[:, 0]
    sums = expected_sums(400, 3, 15, "pca", 30, 0)
    permuted = [run(rng.permuted(x, axis=0), 15, seed=s)[0] for s in range(30)]
    error = np.sqrt((sums.var() + np.var(permuted)) / 30)
    assert abs(sums.mean() - np.mean(permuted)) < 4 * error
    assert run(x, 15)[0] > sums.max()


def test_equal_values_are_put_in_a_random_order():
    x = np.stack([np.zeros(2000), np.arange(2000.0)], axis=1)
    removed = run(x, 5)[0]
    sums = expected_sums(2000, 2, 5, "pca", 20, 0)
    assert abs(removed - sums.mean()) < 5 * sums.std()


def test_more_runs_go_on_where_fewer_ended():
    few, many_runs = (expected_sums(200, 2, 5, "pca", runs, 0) for runs in (3, 6))
    assert (many_runs[:3] == few).all()
    assert len(set(many_runs.tolist())) == 6


def test_one_layer_is_that_of_loops():
    # Normal scores of ranks, their principal axes, and histograms before and after the rotation.
    from scipy.special import ndtri

    x = np.random.default_rng(0).normal(size=(60, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    scores = np.empty((60, 2))
    for column in range(2):
        for row in range(60):
            rank = sum(x[other, column] < x[row, column] for other in range(60))
            scores[row, column] = ndtri((rank + 0.5) / 60)
    turned = scores @ np.linalg.eigh(np.corrcoef(scores.T))[1]

    def entropy(values):
        low, wide = min(values), (max(values) - min(values)) / 8
        counts = [0] * 8
        for value in values:
            counts[min(7, int((value - low) / wide))] += 1
        shares = [count / 60 for count in counts if count]
        plain = -sum(share * np.log(share) for share in shares)
        return plain + (len(shares) - 1) / 120 + np.log(wide)

    expected = sum(entropy(scores[:, c]) - entropy(turned[:, c]) for c in range(2))
    # A value beside an edge may be rounded over it.
    assert run(x, 1)[0] == pytest.approx(expected, abs=0.01)


def circles(n, seed):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n)
    radius = np.where(rng.random(n) < 0.5, 1, 2) + 0.08 * rng.normal(size=n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def relu(n, seed):
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(size=(n, 4)) @ rng.normal(size=(4, 4)), 0)


@pytest.mark.parametrize("kind", ROTATIONS)
@pytest.mark.parametrize("make", [circles, relu])
def test_the_inverse_undoes_the_transform_of_training_data(kind, make):
    x = make(1000, 0)
    fitted = mi.Destructor(30, kind).fit(x)
    assert np.abs(fitted.inverse(fitted.transform(x)) - x).max() < 1e-6


def test_new_and_far_samples_have_an_inverse(student_t):
    fitted = mi.Destructor(30).fit(student_t(3, 3).samples(1000, 0))
    new = student_t(3, 3).samples(1000, 1) * 5
    assert np.abs(fitted.inverse(fitted.transform(new)) - new).max() < 1e-6 * np.abs(new).max()


@pytest.mark.parametrize("kind", ROTATIONS)
def test_circles_become_a_gaussian_and_come_back(kind):
    fitted = mi.Destructor(60, kind).fit(circles(4000, 0))
    z = fitted.transform(circles(4000, 1))
    assert np.allclose(z.mean(axis=0), 0, atol=0.1)
    assert np.allclose(np.cov(z.T), np.eye(2), atol=0.12)
    angle = np.arctan2(z[:, 0], z[:, 1])
    assert np.abs(np.histogram(angle, 8)[0] / 500 - 1).max() < 0.3
    radius = np.hypot(*fitted.sample(4000, seed=2).T)
    for ring in (1, 2):
        assert 0.25 < (np.abs(radius - ring) < 0.25).mean() < 0.65
    assert (np.abs(radius - 1.5) < 0.2).mean() < 0.2  # .4 of even radii from 0 to 2


def test_principal_axes_of_two_coordinates_are_not_always_the_diagonals():
    # Turned to and fro between the diagonals, circles kept a half of their total correlation.
    x = circles(4000, 0)
    totals = [mi.Destructor(60, kind, seed=1).fit(x).total_correlation for kind in ROTATIONS]
    assert totals[ROTATIONS.index("pca")] > 0.9 * max(totals)
    # Gaussian, and of one variance to the last bit: there are no principal axes.
    square = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).repeat(10, axis=0)
    turns = [mi.Destructor(1, seed=seed).fit(square)._fitted[0].turn for seed in (0, 1)]
    assert not np.allclose(*np.abs(turns))


def test_the_two_forms_of_total_correlation_agree(student_t):
    # Eq. 6, with the expected log-Jacobian, and eq. 7, the sum over layers. They differ by what
    # histograms and pieces make of one marginal, some .001 a coordinate and layer.
    for x in (student_t(5, 3, mixed=True).samples(10_000, 0), circles(10_000, 0)):
        fitted = mi.Destructor(20, "random").fit(x)
        z = fitted.transform(x)
        change = sorted_entropies(np.sort(x.T)).sum() - sorted_entropies(np.sort(z.T)).sum()
        equation_6 = change + fitted.log_jacobian(x).mean()
        assert abs(equation_6 - fitted.total_correlation) < 0.03 * 20 / 10
        assert fitted.total_correlation == pytest.approx(fitted.removed.sum())


@pytest.mark.parametrize("kind", ["pca", "random"])
def test_the_two_forms_agree_in_ten_dimensions(student_t, kind):
    x = student_t(3, 10, mixed=True).samples(10_000, 1)
    fitted = mi.Destructor(50, kind).fit(x)
    z = fitted.transform(x)
    change = sorted_entropies(np.sort(x.T)).sum() - sorted_entropies(np.sort(z.T)).sum()
    equation_6 = change + fitted.log_jacobian(x).mean()
    # Pieces and histograms differ by some .0001 a coordinate and layer, all to one side.
    assert equation_6 == pytest.approx(fitted.total_correlation, rel=0.1)


def test_the_density_is_that_of_the_distribution(student_t):
    truth = student_t(5, 3)
    x, new = truth.samples(5000, 0), truth.samples(5000, 1)
    fitted = mi.Destructor(40).fit(x)
    constant = -truth._unit(3)  # of the mean log-density
    assert abs(fitted.log_density(new).mean() - constant) < 0.12
    outside = fitted.log_density(np.full((1, 3), 100.0))
    assert outside[0] < fitted.log_density(np.zeros((1, 3)))[0] - 5


def test_a_density_has_the_integral_one():
    fitted = mi.Destructor(10).fit(np.random.default_rng(0).exponential(size=(800, 1)))
    at = np.linspace(-40, 60, 400_001)
    density = np.exp(fitted.log_density(at[:, None]))
    assert np.trapezoid(density, at) == pytest.approx(1, abs=1e-3)


def test_gaussian_data_have_no_total_correlation_left_to_find():
    # A marginal map that fits noise would find some .01 a layer and coordinate.
    x = np.random.default_rng(0).normal(size=(3000, 5))
    assert abs(mi.Destructor(40, "random").fit(x).total_correlation) < 0.03


def test_the_rule_of_the_paper_stops_and_leaves_the_last_layers_out(student_t):
    x = student_t(3, 3, mixed=True).samples(2000, 0)
    fitted = mi.Destructor(500, "random", "paper").fit(x)
    assert fitted.stopped
    assert fitted.removed.size < 440
    assert fitted.removed.size == 0 or fitted.removed[-1] > 0
    assert (fitted.removed >= 0).all()
    assert not mi.Destructor(10, "random", "paper").fit(x).stopped
    assert np.abs(fitted.inverse(fitted.transform(x)) - x).max() < 1e-6


def test_the_rule_of_the_paper_goes_on_as_the_authors_code_does(student_t):
    # Half a tolerance, that is linear in n: without the half, in log n, three of these stopped at 0
    # and the last at .906 bits.
    for samples, bits in ((student_t(3, 3), 0.159), (student_t(5, 3), 0.067)):
        x = samples.samples(5000, 0)
        value = mi.Destructor(1000, stopping="paper").fit(x).total_correlation / math.log(2)
        assert 0.3 * bits < value < bits


def test_non_gaussianity_is_the_divergence_from_a_standard_gaussian():
    # A layer of independent Gaussians turns data, but for noise: T and J_m change, not their sum.
    rng = np.random.default_rng(0)
    fitted = mi.Destructor(1).fit(rng.normal(size=(4000, 2)))
    x = rng.normal(size=(4000, 2)) @ np.array([[1.0, 1.5], [0.0, 2.0]])
    covariance = np.array([[1.0, 1.5], [1.5, 6.25]])
    truth = 0.5 * (np.trace(covariance) - 2 - np.linalg.slogdet(covariance)[1])
    result = fitted.non_gaussianity(x)
    assert result.nats == pytest.approx(truth, rel=0.08)
    assert result.nats == result.total_correlation + result.marginals
    assert 0 < result.total_correlation < result.marginals
    column = mi.Destructor(3).fit(x[:, :1]).non_gaussianity(2 * x[:, :1])
    assert column.total_correlation == 0.0
    assert column.nats == pytest.approx(0.5 * (4 - 1 - math.log(4)), abs=0.2)


def test_non_gaussianity_falls_from_layer_to_layer():
    x, new = circles(4000, 0), circles(4000, 1)
    values = [mi.Destructor(n, "random").fit(x).non_gaussianity(new).nats for n in (1, 8, 60)]
    assert values[0] > values[1] > values[2]
    assert values[2] < 0.3 * values[0]


def test_the_loss_of_a_flow_is_total_correlation_but_for_a_constant():
    x = np.random.default_rng(0).normal(size=(4000, 2)).astype(np.float32)
    mixed = x @ np.array([[1.0, 0.8], [0.0, 0.6]], np.float32)
    loss = mi.total_correlation_loss
    entropy = 2 * 0.5 * math.log(2 * math.pi * math.e)
    assert float(loss(x, 0.0)) == pytest.approx(entropy, abs=0.05)
    jacobian = np.full(4000, math.log(0.6), np.float32)
    difference = float(loss(mixed, jacobian)) - float(loss(x, 0.0))
    assert difference == pytest.approx(-0.5 * math.log(1 - 0.8**2), abs=0.02)
    with pytest.raises(DataError, match="two samples"):
        loss(x[:1], 0.0)
    for jacobian, message in (
        (None, "a tensor of numbers; received None"),
        ("abc", "real numbers; received dtype string"),
        ([[0.0], [0.0, 1.0]], "a tensor of numbers; received list"),
        (np.zeros(3999, np.float32), r"shape \(\) or \(4000,\); received \(3999,\)"),
        (np.zeros((4000, 2), np.float32), r"received \(4000, 2\)"),
    ):
        with pytest.raises(DataError, match=f"log_jacobian: expected .*{message}"):
            loss(x, jacobian)
    assert np.isfinite(float(loss(np.zeros((9, 2), np.float32), 0.0)))


def test_a_flow_that_is_trained_by_the_loss_finds_independent_coordinates():
    import keras
    import tensorflow as tf

    sources = np.random.default_rng(0).uniform(-1.7, 1.7, (1000, 2)).astype(np.float32)
    x = sources @ np.array([[1.0, 0.6], [-0.4, 1.0]], np.float32)
    weights, optimizer = keras.Variable(np.eye(2, dtype="float32")), keras.optimizers.Adam(0.03)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = mi.total_correlation_loss(tf.matmul(x, weights), tf.linalg.slogdet(weights)[1])
        optimizer.apply(tape.gradient(loss, [weights]), [weights])
        return loss

    optimizer.build([weights])
    losses = [float(step()) for _ in range(150)]
    # T(x), summed over a fine grid, is .280 nats.
    assert losses[0] - losses[-1] == pytest.approx(0.28, abs=0.06)
    z = x @ weights.numpy()
    correlations = np.abs(np.corrcoef(z.T, sources.T)[:2, 2:])
    assert (correlations.max(axis=0) > 0.99).all()


def test_seeds_make_it_the_same():
    x = circles(500, 0)
    first, same, other = (mi.Destructor(5, "random", seed=s).fit(x) for s in (1, 1, 2))
    assert np.array_equal(first.transform(x), same.transform(x))
    assert not np.array_equal(first.transform(x), other.transform(x))
    assert np.array_equal(first.sample(9, 4), same.sample(9, 4))


def test_divergence_of_rows_from_standard_gaussians():
    rows = np.random.default_rng(0).normal(size=(2, 20_000))
    rows[1] = 0.5 * rows[1] + 1
    truth = 0.5 * (0.25 + 1 - 1) - math.log(0.5)
    assert abs(gaussian_divergence(rows) - truth) < 0.03


def test_bad_input():
    destructor = mi.Destructor(3)
    with pytest.raises(DataError, match=r"Call fit"):
        destructor.transform(circles(10, 0))
    with pytest.raises(DataError, match=r"Call fit"):
        destructor.sample(3)
    with pytest.raises(DataError, match=r"column 1 constant"):
        destructor.fit(np.stack([np.arange(9.0), np.ones(9)], axis=1))
    with pytest.raises(DataError, match=r"NaN"):
        destructor.fit(np.full((9, 2), np.nan))
    destructor.fit(circles(100, 0))
    with pytest.raises(DataError, match=r"2 columns, as it was fitted to; received 3"):
        destructor.inverse(np.zeros((4, 3)))
    with pytest.raises(SettingsError, match=r"count"):
        destructor.sample(0)
    for settings in ({"layers": 0}, {"rotation": "none"}, {"stopping": "never"}, {"seed": -1}):
        with pytest.raises(SettingsError, match=rf"destructor: {next(iter(settings))}"):
            mi.Destructor(**settings)
