import numpy as np
import pytest

from oip.mi.estimators.density_destructor import (
    ROTATIONS,
    expected_sums,
    gaussianized,
    normal_scores,
    rotation,
)


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
    found = rotation("ica", turned, np.random.default_rng(0)) @ turned
    assert (np.abs(np.corrcoef(found, sources)[:2, 2:]).max(axis=1) > 0.99).all()


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
    known = expected_sums(400, 3, 15, "pca", 30, 0)
    permuted = [run(rng.permuted(x, axis=0), 15, seed=s)[0] for s in range(30)]
    error = np.sqrt((known.var() + np.var(permuted)) / 30)
    assert abs(known.mean() - np.mean(permuted)) < 4 * error
    assert run(x, 15)[0] > known.max()


def test_equal_values_are_put_in_a_random_order():
    x = np.stack([np.zeros(2000), np.arange(2000.0)], axis=1)
    removed = run(x, 5)[0]
    known = expected_sums(2000, 2, 5, "pca", 20, 0)
    assert abs(removed - known.mean()) < 5 * known.std()


def test_more_runs_go_on_where_fewer_ended():
    few, many = (expected_sums(200, 2, 5, "pca", runs, 0) for runs in (3, 6))
    assert (many[:3] == few).all()
    assert len(set(many.tolist())) == 6


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

    wanted = sum(entropy(scores[:, c]) - entropy(turned[:, c]) for c in range(2))
    # A value beside an edge may be rounded over it.
    assert run(x, 1)[0] == pytest.approx(wanted, abs=0.01)
