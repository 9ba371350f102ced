import math

import numpy as np
import pytest

from oip.mi.estimators import neural


@pytest.fixture
def scores():
    return np.random.default_rng(0).normal(size=(6, 6)) + 2 * np.eye(6)


def both(scores):
    own = [scores[i, i] for i in range(6)]
    others = [scores[i, j] for i in range(6) for j in range(6) if i != j]
    return np.array(own), np.array(others)


def test_values_are_their_definitions(scores):
    own, others = both(scores)
    donsker_varadhan = own.mean() - math.log(np.exp(others).mean())
    assert neural.donsker_varadhan(scores) == pytest.approx(donsker_varadhan)
    clipped = own.mean() - math.log(np.exp(np.clip(others, -0.5, 0.5)).mean())
    assert neural.donsker_varadhan(scores, 0.5) == pytest.approx(clipped)
    assert neural.nwj(scores) == pytest.approx(own.mean() - np.exp(others - 1).mean())
    rows = [own[i] - math.log(np.exp(scores[i]).mean()) for i in range(6)]
    assert neural.infonce(scores) == pytest.approx(np.mean(rows))


def test_large_scores_overflow_nothing(scores):
    assert math.isfinite(neural.donsker_varadhan(1e4 * scores))
    assert neural.infonce(1e4 * np.eye(6)) == pytest.approx(math.log(6))


def test_infonce_is_at_most_the_logarithm_of_the_batch():
    rng = np.random.default_rng(0)
    for size in (2, 5, 20):
        for scale in (1, 100):
            drawn = scale * (rng.normal(size=(size, size)) + np.eye(size))
            assert neural.infonce(drawn) <= math.log(size) + 1e-12


def test_objectives_are_what_the_values_say(scores):
    import tensorflow as tf

    own, others = both(scores)
    tensor = tf.constant(scores)
    assert float(neural.nwj_objective(tensor)) == pytest.approx(neural.nwj(scores))
    shifted = float(neural.infonce_objective(tensor)) + math.log(6)
    assert shifted == pytest.approx(neural.infonce(scores))
    apart = -np.log1p(np.exp(-own)).mean() - np.log1p(np.exp(others)).mean()
    assert float(neural.jensen_shannon_objective(tensor)) == pytest.approx(apart)


def test_gradients_of_mine_use_the_moving_average(scores):
    import tensorflow as tf

    tensor = tf.Variable(scores)
    mean = np.exp(both(scores)[1]).mean()
    for before, after in ((0.0, mean), (3.0, 0.9 * 3.0 + 0.1 * mean)):
        with tf.GradientTape() as tape:
            raised, moved = neural.mine_objective(tensor, tf.constant(before, tf.float64), 0.9)
        assert float(moved) == pytest.approx(after)
        wanted = -np.exp(scores) / (30 * after)
        np.fill_diagonal(wanted, 1 / 6)
        assert np.allclose(tape.gradient(raised, tensor), wanted)
