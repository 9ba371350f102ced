import math
import subprocess
import sys

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, SettingsError
from oip.mi.estimators import neural
from oip.mi.estimators.neural import Critic, InfoNce, Mine, Nwj, Smile


@pytest.fixture
def scores():
    return np.random.default_rng(0).normal(size=(6, 6)) + 2 * np.eye(6)


def both(scores):
    own = [scores[i, i] for i in range(6)]
    other_scores = [scores[i, j] for i in range(6) for j in range(6) if i != j]
    return np.array(own), np.array(other_scores)


def test_values_are_their_definitions(scores):
    own, other_scores = both(scores)
    donsker_varadhan = own.mean() - math.log(np.exp(other_scores).mean())
    assert neural.donsker_varadhan(scores) == pytest.approx(donsker_varadhan)
    clipped = own.mean() - math.log(np.exp(np.clip(other_scores, -0.5, 0.5)).mean())
    assert neural.donsker_varadhan(scores, 0.5) == pytest.approx(clipped)
    assert neural.nwj(scores) == pytest.approx(own.mean() - np.exp(other_scores - 1).mean())
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


def test_tensorflow_says_nothing_where_a_critic_is_the_first_to_use_it():
    code = "from oip.mi.estimators.neural import Critic; Critic('joint', 1, 1, 1, 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_objectives_are_what_the_values_say(scores):
    import tensorflow as tf

    own, other_scores = both(scores)
    tensor = tf.constant(scores)
    assert float(neural.nwj_objective(tensor)) == pytest.approx(neural.nwj(scores))
    shifted = float(neural.infonce_objective(tensor)) + math.log(6)
    assert shifted == pytest.approx(neural.infonce(scores))
    objective = -np.log1p(np.exp(-own)).mean() - np.log1p(np.exp(other_scores)).mean()
    assert float(neural.jensen_shannon_objective(tensor)) == pytest.approx(objective)


def test_gradients_of_mine_use_the_moving_average(scores):
    import tensorflow as tf

    tensor = tf.Variable(scores)
    mean = np.exp(both(scores)[1]).mean()
    for before, after in ((0.0, mean), (3.0, 0.9 * 3.0 + 0.1 * mean)):
        with tf.GradientTape() as tape:
            raised, moved = neural.mine_objective(tensor, tf.constant(before, tf.float64), 0.9)
        assert float(moved) == pytest.approx(after)
        expected = -np.exp(scores) / (30 * after)
        np.fill_diagonal(expected, 1 / 6)
        assert np.allclose(tape.gradient(raised, tensor), expected)


ALL = (Mine, Smile, InfoNce, Nwj)
QUICK = {"steps": 300, "units": 32, "rate": 7e-3}
SLOWER = {"steps": 500, "units": 64, "rate": 3e-3}
SHORT = {"steps": 60, "units": 16, "batch": 64, "rate": 5e-3}


@pytest.mark.parametrize(
    ("kind", "seed", "settings"),
    [(InfoNce, 0, QUICK), (Mine, 0, QUICK), (Smile, 1, QUICK), (Nwj, 1, SLOWER)],
)
def test_two_nats_of_a_gaussian_in_five_dimensions(correlated, kind, seed, settings):
    x, y = correlated(2.0, 6000, 5, seed)
    assert kind(**settings).information(x, y, seed).nats == pytest.approx(2.0, rel=0.1)


def test_a_joint_critic_finds_it_too(correlated):
    x, y = correlated(0.5, 3000, 1)
    estimator = Smile(critic="joint", units=32, batch=64, steps=150, rate=1e-2)
    assert estimator.information(x, y, 0).nats == pytest.approx(0.5, rel=0.25)


@pytest.mark.parametrize("kind", ALL)
def test_independent_samples_have_nothing_on_held_out_pairs(kind):
    x, y = np.random.default_rng(0).normal(size=(2, 2000, 2))
    # Training fits noise; what it measures it has not seen.
    assert -0.35 < kind(**SHORT).information(x, y, 0).nats < 0.1


@pytest.mark.parametrize("kind", [Mine, InfoNce])
def test_seeds_make_it_the_same(kind):
    x = np.random.default_rng(0).normal(size=(200, 2))
    first, same, other = (kind(**SHORT).information(x, x, seed).nats for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_the_global_seed_of_keras_is_left_alone():
    import keras

    x = np.random.default_rng(0).normal(size=(60, 1))
    keras.utils.set_random_seed(5)
    expected = float(keras.random.uniform(()))
    keras.utils.set_random_seed(5)
    Smile(**SHORT).information(x, x, 0)
    assert float(keras.random.uniform(())) == expected


def test_infonce_has_the_ceiling_of_its_batch():
    x = np.random.default_rng(0).normal(size=(1000, 1))
    estimate = mi.mutual_information(x, x, "infonce", steps=1000, batch=8, rate=2e-3)
    assert estimate.ceiling == pytest.approx(math.log(8))
    assert 0.8 * math.log(8) < estimate.nats <= math.log(8)


def test_scale_and_offset_do_not_matter():
    x = np.random.default_rng(0).normal(size=(300, 2))
    value = Smile(**SHORT).information(x, x, 0).nats
    assert Smile(**SHORT).information(1e4 * x + 3, x, 0).nats == pytest.approx(value, abs=0.02)


def test_labels_and_what_is_only_on_request(two_gaussians):
    x, y = two_gaussians(3.0, 600)
    plain = mi.mutual_information(x, y, "smile", **SHORT)
    assert 0.5 < plain.nats <= math.log(2)
    assert plain.ceiling == pytest.approx(math.log(2))
    assert (plain.p_value, plain.interval) == (None, None)
    estimate = mi.mutual_information(x, y, "smile", null=1, draws=2, **{**SHORT, "steps": 50})
    assert estimate.p_value == 0.5
    assert estimate.low <= estimate.nats <= estimate.high
    estimates = Smile(**SHORT).over_maps(np.stack([x, np.ones_like(x)], axis=1), y)
    assert estimates.raw[1] == 0.0
    assert np.isnan(estimates.per_class_raw).all()


def test_scores_of_all_pairs():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 2)).astype("f4"), rng.normal(size=(4, 3)).astype("f4")
    for kind in ("separable", "joint"):
        critic = Critic(kind, 2, 3, 8, 0)
        whole = critic.scores(x, y)
        assert whole.shape == (5, 4)
        for i in range(5):
            for j in range(4):
                assert critic.scores(x[[i]], y[[j]])[0, 0] == pytest.approx(whole[i, j], abs=1e-5)


def test_constants_and_too_few_samples():
    x = np.random.default_rng(0).normal(size=(9, 1))
    assert Mine().information(np.ones((30, 1)), np.arange(30.0)[:, None], 0).nats == 0.0
    with pytest.raises(DataError, match=r"nwj: samples: expected at least 10; received 9"):
        mi.mutual_information(x, x, "nwj")


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    "settings", [{"critic": "none"}, {"units": 0}, {"steps": 0}, {"batch": 1}, {"rate": 0}]
)
def test_settings_that_make_no_sense(kind, settings):
    with pytest.raises(SettingsError, match=rf"{kind.name}: {next(iter(settings))}"):
        kind(**settings)


def test_settings_of_their_own():
    with pytest.raises(SettingsError, match=r"smile: tau"):
        Smile(tau=0)
    with pytest.raises(SettingsError, match=r"mine: average.*1 or less"):
        Mine(average=1.5)


def test_only_bounds_are_called_bounds():
    # SMILE may be too large, and InfoNCE has a ceiling of its own: at it, both are saturated.
    held_out = {kind.name: kind.abilities.held_out for kind in ALL}
    assert held_out == {"mine": True, "nwj": True, "smile": False, "infonce": False}
