"""The study of matrix Renyi information: planted cases, and the whole of it on few digits."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from oip.core.errors import ModelError
from oip.core.progress import silent
from oip.mi.estimators.gram import Bandwidth, gram
from oip.studies import renyi, renyi_measures, renyi_plots
from oip.studies.renyi_measures import (
    ALPHA,
    KERNELS,
    Amount,
    Batch,
    Plan,
    Probe,
    Pruning,
    Reading,
    forward,
    measure,
)
from oip.studies.report import Folder, StudySettings


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(3, 3, activation="relu", name="conv"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(5, activation="sigmoid", name="hidden"),
            layers.Dense(4, activation="softmax", name="classes"),
        ]
    )


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    images = rng.random((40, 8, 8, 1))
    return Batch(images, np.arange(40) % 4, images.reshape(40, -1))


def test_errors_are_derivatives_of_the_loss(net, batch):
    probe = Probe(net)
    assert probe.names == ["conv", "hidden", "classes"] and probe.maps == [3, 1, 1]
    read = probe.read(batch.images, batch.codes)
    assert [one.shape for one in read.responses] == [(40, 3, 36), (40, 1, 5), (40, 1, 4)]
    assert [one.shape for one in read.errors] == [one.shape for one in read.responses]
    # The derivative by a bias is the sum of errors over images and nodes.
    import tensorflow as tf

    with tf.GradientTape() as tape:
        out = net(batch.images)
        loss = -tf.reduce_sum(tf.math.log(tf.gather(out, batch.codes, batch_dims=1)))
    slopes = tape.gradient(loss, [net.get_layer(name).bias for name in probe.names])
    sums = [read.errors[0].sum((0, 2)), read.errors[1].sum((0, 1)), read.errors[2].sum((0, 1))]
    for slope, total in zip(slopes, sums, strict=True):
        assert np.allclose(slope.numpy(), total, atol=1e-3)


def test_an_activation_without_a_known_derivative_is_told():
    model = keras.Sequential(
        [layers.Input((4, 4, 1)), layers.Conv2D(2, 3, activation="gelu"), layers.Flatten(),
         layers.Dense(2, activation="softmax")]
    )  # fmt: skip
    with pytest.raises(ModelError, match="relu, sigmoid, tanh or linear"):
        Probe(model)


def test_forward_sees_weights_as_they_are(net):
    images = np.ones((3, 8, 8, 1))
    run = forward(net)
    before = run(images)
    weights = net.get_weights()
    net.set_weights([weight + 0.5 for weight in weights])
    after = run(images)
    net.set_weights(weights)
    assert np.allclose(before, net(images)) and not np.allclose(before, after)


def reading(*responses):
    return Reading(list(responses), list(responses))


def test_planted_layers(batch):
    """A layer that is the label, one that is constant, one of two copies of a map."""
    one_hot = 100.0 * np.eye(4)[batch.codes][:, None]
    still = np.ones((40, 1, 6))
    twins = np.repeat(one_hot, 2, axis=1)
    found = measure(batch, reading(one_hot, still, twins), KERNELS[0], 10, 0)
    assert found["label"][0] == pytest.approx(2.0, abs=1e-6)  # log2 of four equal classes
    assert found["entropy"][0] == pytest.approx(2.0, abs=1e-6)
    assert found["label"][1] == pytest.approx(0.0, abs=1e-6) == found["input"][1]
    # Blocks of ones times themselves stay what they are: a copy tells nothing more.
    assert found["redundant"][2] == pytest.approx(1.0, abs=1e-6)
    assert found["non-redundant"][2] == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(found["redundant"][:2]).all()
    assert found["backward"][2] == pytest.approx(2.0, abs=1e-6)  # with itself: its entropy


def test_many_maps_are_at_the_ceiling(batch):
    noise = np.random.default_rng(1).normal(size=(40, 64, 30))
    found = measure(batch, reading(noise), KERNELS[1], 10, 0)
    assert found["input"][0] == pytest.approx(float(found["x"]), abs=1e-3)
    assert found["entropy"][0] == pytest.approx(np.log2(40), abs=1e-3)


def test_pairs_beside_the_estimator(batch):
    from oip import mi

    values = np.random.default_rng(2).normal(size=(40, 4, 3))
    grams = renyi_measures.map_grams(values, Bandwidth())
    pairs = renyi_measures.chosen_pairs(4, 100, np.random.default_rng(0))
    assert len(pairs) == 6
    found = renyi_measures.pair_measures(grams, gram(batch.pixels, Bandwidth()), batch.codes, pairs)
    known = mi.estimator("renyi", alpha=ALPHA).pairs(values, batch.codes)
    upper = np.triu_indices(4, 1)
    assert found["plane label"] == pytest.approx(known.non_redundant[upper].mean(), abs=1e-9)
    some = renyi_measures.chosen_pairs(9, 5, np.random.default_rng(0))
    assert len(some) == 5 == len(np.unique(some, axis=0)) and (some[:, 0] < some[:, 1]).all()


def test_violations_are_counted_beyond_the_spread():
    rng = np.random.default_rng(0)
    falling = np.array([5.0, 4.0, 3.0, 2.0]) + 0.01 * rng.normal(size=(8, 4))
    assert renyi.violations(falling, True) == (0, 3)
    assert renyi.violations(falling, False) == (3, 3)
    mixed = np.array([5.0, 4.0, 4.5, 4.5]) + rng.normal(size=(8, 1))
    assert renyi.violations(mixed, True) == (1, 3)
    noise = 1.0 + rng.normal(size=(8, 2))
    assert renyi.violations(noise, True)[0] == 0


def test_curves_rise_and_fall_beyond_their_spread():
    rise = np.linspace(0, 1, 6)[:, None] + np.zeros(3)
    assert renyi.curve(rise) == renyi.Curve(True, False, 0.0)
    back = rise.copy()
    back[-1] = 0.5
    assert renyi.curve(back) == renyi.Curve(True, True, pytest.approx(0.375))
    noisy = back + np.array([-3.0, 0.0, 3.0]) * np.eye(6)[-1][:, None]
    found = renyi.curve(noisy)
    assert not found.falls and not found.rises
    assert renyi.curve(rise[::-1]) == renyi.Curve(False, True, 1.0)
    still = 1 + 0.01 * rise
    assert renyi.curve(still) == renyi.Curve(False, False, 0.0)


PLANES = Plan("x", "lenet5", (6, 12), "relu", 0.1, 1, 0)
OTHER = Plan("x", "lenet5", (6, 12), "sigmoid", 0.1, 1, 0)


def planted(about_x, about_y, pair_x=(1.0, 1.0), pair_y=(1.0, 1.0)):
    """Two layers: a convolution whose curves are at the ceiling, and one from a value to one."""
    t = np.linspace(0, 1, 5)[:, None, None]

    def rows(first, last):
        moving = first + (last - first) * t + np.zeros((5, 3, 1))
        return moving

    found = {"steps": np.arange(5), "epoch": np.array(1), "tested": np.array(400)}
    found["names"] = np.array(["conv", "dense"])
    for kernel in KERNELS:
        at_top = np.full((5, 3, 1), 6.0)
        found[f"{kernel.name} x"] = np.full((5, 3), 6.0)
        found[f"{kernel.name} input"] = np.concatenate([at_top, rows(*about_x)], axis=2)
        found[f"{kernel.name} label"] = np.concatenate([at_top / 2, rows(*about_y)], axis=2)
        for name, ends in (("plane input", pair_x), ("plane label", pair_y)):
            gone = np.full((5, 3, 1), np.nan)
            found[f"{kernel.name} {name}"] = np.concatenate([rows(*ends), gone], axis=2)
    return found


@pytest.mark.parametrize(
    ("about_x", "about_y", "wanted"),
    [
        ((1.0, 2.0), (1.0, 2.0), "yes"),
        ((2.5, 1.8), (1.0, 2.0), "partly"),
        ((2.5, 1.8), (2.0, 1.0), "no"),
        ((2.0, 2.0), (1.0, 1.0), "no"),
        ((6.0, 6.0), (3.0, 3.0), "not tested"),
    ],
)
def test_both_must_rise_in_the_plane_and_what_is_at_the_ceiling_does_not_count(
    tmp_path, about_x, about_y, wanted
):
    folder = Folder(tmp_path, "renyi", StudySettings())
    renyi.planes(folder, "x", {PLANES: planted(about_x, about_y)}, 3.0)
    assert folder.claims[0].agrees == wanted
    assert "6 and 32" in folder.claims[1].found


@pytest.mark.parametrize(
    ("relu", "sigmoid", "wanted"),
    [
        ((2.0, 2.0), (2.0, 1.0), "yes"),
        ((2.0, 1.0), (2.0, 2.0), "partly"),
        ((1.0, 2.0), (1.0, 2.0), "no"),
        ((0.0, 0.01), (0.0, 0.0), "not tested"),
    ],
)
def test_the_modified_plane(tmp_path, relu, sigmoid, wanted):
    folder = Folder(tmp_path, "renyi", StudySettings())
    nets = {
        PLANES: planted((1.0, 2.0), (1.0, 2.0), relu, relu),
        OTHER: planted((1.0, 2.0), (1.0, 2.0), sigmoid, sigmoid),
    }
    renyi.planes(folder, "x", nets, 3.0)
    assert folder.claims[1].agrees == wanted


def test_the_last_error_with_itself_is_no_step(tmp_path):
    """Falling backward, but for the entropy at the end: one step of two goes against it."""
    found = planted((1.0, 2.0), (1.0, 2.0))
    rows = np.array([3.0, 1.0, 2.0, 0.5])
    for kernel in KERNELS:
        found[f"{kernel.name} input"] = np.tile(rows[::-1], (5, 3, 1))
        found[f"{kernel.name} backward"] = np.tile(rows, (5, 3, 1))
    found["names"] = np.array(["conv", "b", "c", "classes"])
    folder = Folder(tmp_path, "renyi", StudySettings())
    renyi.inequalities(folder, "x", {PLANES: found})
    assert "3 of 6" in folder.claims[1].found and "of 9" in folder.claims[0].found
    _, _, _, numbers = renyi_plots.inequalities("x", {PLANES: found}, KERNELS[0], "")
    assert numbers[f"{PLANES.name} end backward"].shape == (3, 3)
    assert numbers[f"{PLANES.name} end input"].shape == (3, 4)


def test_information_that_is_at_the_ceiling_from_the_start_does_not_grow():
    most = np.full(3, 6.0)
    saturates = renyi.saturates
    assert saturates(np.array([6.0, 6.0, 6.0]), most) is None
    assert saturates(np.array([4.0, 5.95, 6.0]), most) is True
    assert saturates(np.array([4.0, 5.0, 6.0]), most) is False  # only with the most of them
    assert saturates(np.array([5.0, 4.0, 3.0]), most) is False


def test_amounts_of_saturated_networks_are_not_tested(tmp_path):
    swept = {}
    for count in (2, 4, 8):
        found = planted((1.0, 2.0), (1.0, 2.0)) | {"accuracy": np.array(0.9)}
        swept[Plan("x", "lenet5", (count, 12), "relu", 0.1, 1, 0)] = found
    folder = Folder(tmp_path, "renyi", StudySettings())
    renyi.amounts(folder, "x", swept, 0)
    assert folder.claims[0].agrees == "not tested"
    assert "from 2 on" in folder.claims[0].found


def test_the_ceiling_of_the_label_is_that_of_the_batches(tmp_path):
    labels = np.arange(3000) % 30
    assert renyi_measures.label_ceiling(labels[:60], 3, 0) == pytest.approx(np.log2(30))
    known = renyi_measures.label_ceiling(labels, 3, 0)
    assert 4.5 < known < np.log2(30)
    told = renyi_plots.planes("x", {PLANES: planted((1, 2), (1, 2))}, KERNELS[0], known, "")
    assert f"S(Y), {known:.2f} bits" in told[2] and told[3]["S(Y)"] == known
    drawn = [line.get_ydata()[0] for line in told[1].axes[0].lines if line.get_linestyle() == ":"]
    assert known in drawn and np.log2(10) not in drawn


def test_steps_that_are_recorded():
    steps = renyi_measures.recorded_steps(10, 100, 6)
    assert {0, 1, 10, 100} <= set(steps) and steps == sorted(steps) and len(steps) <= 7
    assert renyi_measures.recorded_steps(5, 5, 4)[-1] == 5


def test_networks_by_source():
    plans = renyi.plans_for("mnist", (28, 28, 1), 0, renyi.FULL, False)
    assert {plan.activation for plan in plans["watched"]} == {"relu", "sigmoid"}
    assert len(plans["first"]) == 10 * len(renyi.FULL.first)
    assert renyi.plans_for("mnist", (28, 28, 1), 0, renyi.QUICK, False)["first"] == []
    large = renyi.plans_for("fruits", (100, 100, 3), 0, renyi.FULL, False)["watched"][0]
    assert (large.recipe, large.rate, large.epochs) == ("alexnet-small", 0.01, 15)
    assert "/" not in large.name
    assert renyi.plans_for("cifar10", (32, 32, 3), 0, renyi.FULL, True)["chosen"][0].recipe == (
        "vgg16-cifar"
    )


TINY = renyi.Size(
    first=(2, 3),
    second=(3, 4),
    wide=5,
    images=200,
    tested=150,
    epochs=1,
    seeds=1,
    amount=Amount(batches=2, pairs=3, steps=4),
    pruning=Pruning(shares=(0.5,), chances=2),
)


def test_the_whole_study(tmp_path, monkeypatch):
    settings = StudySettings(quick=True, data=("mnist-sample", "no-such-images"))
    original, calls = renyi.trained, []

    def stops(*arguments):
        calls.append(arguments[0].name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(renyi, "trained", stops)
    folder = Folder(tmp_path, renyi.NAME, settings)
    with pytest.raises(KeyboardInterrupt):
        renyi.run_sized(folder, settings, silent, TINY)
    folder = Folder(tmp_path, renyi.NAME, settings)
    renyi.run_sized(folder, settings, silent, TINY)
    # Two watched, four of the widths, one to choose from, of which one was stopped.
    assert len(calls) == 7 + 1 and len(set(calls)) == 7
    assert folder.finish(renyi.TITLE, renyi.SOURCE).is_file()
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert {"dpi-mnist-sample-paper", "planes-mnist-sample-relative", "width-mnist-sample",
            "mmi-mnist-sample-first", "pairs-mnist-sample-second"} <= set(numbers)  # fmt: skip
    told = [claim for claim in folder.claims if claim.agrees == "not tested"]
    assert any("no-such-images" in claim.paper for claim in told)
    assert any("Fruits 360" in claim.paper for claim in told)
    assert len(folder.claims) - len(told) >= 11
