"""The study of matrix Renyi information: planted cases, and the whole of it on few digits."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from oip.core.errors import ModelError
from oip.core.output_formats import NumbersFile
from oip.core.units import bits
from oip.mi.estimators.gram import Bandwidth, gram
from oip.studies import renyi, renyi_measures, renyi_selection
from oip.studies.data import Images
from oip.studies.findings import saturates, violations
from oip.studies.renyi import MeasuredNetworks
from oip.studies.renyi_measures import (
    ALPHA,
    KERNELS,
    LayerReadings,
    NetworkPlan,
    Probe,
    RenyiSize,
    batch_information,
    mean_label_entropy,
)
from oip.studies.report import Folder, StudySettings
from oip.studies.trained import ImageBatch, over_steps, predictor, recorded_steps


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
    return ImageBatch(images, np.arange(40) % 4, images.reshape(40, -1))


def test_errors_are_derivatives_of_the_loss(net, batch):
    probe = Probe(net)
    assert probe.names == ["conv", "hidden", "classes"] and probe.maps == [3, 1, 1]
    read = probe.read(batch.images, batch.codes)
    assert [values.shape for values in read.responses] == [(40, 3, 36), (40, 1, 5), (40, 1, 4)]
    assert [values.shape for values in read.errors] == [values.shape for values in read.responses]
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
    run = predictor(net)
    before = run(images)
    weights = net.get_weights()
    net.set_weights([weight + 0.5 for weight in weights])
    after = run(images)
    net.set_weights(weights)
    assert np.allclose(before, net(images)) and not np.allclose(before, after)


def reading(*responses):
    return LayerReadings(list(responses), list(responses))


def test_planted_layers(batch):
    """A layer that is the label, one that is constant, one of two copies of a map."""
    one_hot = 100.0 * np.eye(4)[batch.codes][:, None]
    constant = np.ones((40, 1, 6))
    twins = np.repeat(one_hot, 2, axis=1)
    arrays = batch_information(batch, reading(one_hot, constant, twins), KERNELS[0], 10, 0)
    assert arrays["label"][0] == pytest.approx(2.0, abs=1e-6)  # log2 of four equal classes
    assert arrays["entropy"][0] == pytest.approx(2.0, abs=1e-6)
    assert arrays["label"][1] == pytest.approx(0.0, abs=1e-6) == arrays["input"][1]
    # Blocks of ones times themselves stay what they are: a copy tells nothing more.
    assert arrays["redundant"][2] == pytest.approx(1.0, abs=1e-6)
    assert arrays["non-redundant"][2] == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(arrays["redundant"][:2]).all()
    assert arrays["backward"][2] == pytest.approx(2.0, abs=1e-6)  # with itself: its entropy


def test_many_maps_are_at_the_ceiling(batch):
    noise = np.random.default_rng(1).normal(size=(40, 64, 30))
    arrays = batch_information(batch, reading(noise), KERNELS[1], 10, 0)
    assert arrays["input"][0] == pytest.approx(float(arrays["x"]), abs=1e-3)
    assert arrays["entropy"][0] == pytest.approx(np.log2(40), abs=1e-3)


def test_what_the_experiments_do_not_draw_is_left_out(batch):
    rng = np.random.default_rng(3)
    read = reading(*(rng.normal(size=(40, maps, 5)) for maps in (3, 2, 1)))
    whole = batch_information(batch, read, KERNELS[1], 10, 0)
    of_second = batch_information(batch, read, KERNELS[1], 10, 0, [1])
    for name in ("input", "entropy", "x"):
        assert np.array_equal(of_second[name], whole[name])
    for name in ("redundant", "non-redundant", "plane input"):
        assert np.isfinite(whole[name]).tolist() == [True, True, False]
        assert np.array_equal(of_second[name], [np.nan, whole[name][1], np.nan], equal_nan=True)
    for name in ("label", "backward", "plane label"):
        assert np.isfinite(whole[name][:2]).all() and np.isnan(of_second[name]).all()


def test_pairs_beside_the_estimator(batch):
    from oip import mi

    values = np.random.default_rng(2).normal(size=(40, 4, 3))
    grams = renyi_measures.map_grams(values, Bandwidth())
    pairs = renyi_measures.drawn_pairs(4, 100, np.random.default_rng(0))
    assert len(pairs) == 6
    arrays = renyi_measures.pair_information(
        grams, gram(batch.pixels, Bandwidth()), batch.codes, pairs
    )
    expected_pairs = mi.estimator("renyi", alpha=ALPHA).pairs(values, batch.codes)
    upper = np.triu_indices(4, 1)
    assert arrays["plane label"] == pytest.approx(
        bits(expected_pairs.non_redundant[upper].mean()), abs=1e-9
    )
    drawn = renyi_measures.drawn_pairs(9, 5, np.random.default_rng(0))
    assert len(drawn) == 5 == len(np.unique(drawn, axis=0)) and (drawn[:, 0] < drawn[:, 1]).all()


def test_pairs_of_silent_maps_have_no_shares(batch):
    values = np.random.default_rng(2).normal(size=(40, 4, 3))
    values[:, 2:] = 0.0
    grams = renyi_measures.map_grams(values, Bandwidth())
    about = gram(batch.pixels, Bandwidth())
    pairs = renyi_measures.drawn_pairs(4, 100, np.random.default_rng(0))
    stored = {}
    for kernel in KERNELS:
        shares = renyi_measures.pair_information(grams, about, None, pairs)
        stored |= {f"{kernel.name} {name}": np.array(value) for name, value in shares.items()}
    assert stored["paper redundant"] + stored["paper non-redundant"] == pytest.approx(5 / 6)
    shares = renyi_measures.of_informative(stored)
    # The pair that knows something twice, and four whose second map is silent: no redundancy.
    both = renyi_measures.pair_information(grams, about, None, pairs[:1])
    assert shares["paper redundant"] == pytest.approx(both["redundant"] / 5)
    assert shares["paper redundant"] + shares["paper non-redundant"] == pytest.approx(1.0)
    assert shares["paper plane input"] == stored["paper plane input"]
    silent = renyi_measures.of_informative({name: np.zeros(2) for name in stored})
    assert (silent["relative redundant"] == 0).all()


def test_violations_are_counted_beyond_the_spread():
    rng = np.random.default_rng(0)
    falling = np.array([5.0, 4.0, 3.0, 2.0]) + 0.01 * rng.normal(size=(8, 4))
    assert violations(falling, True) == (0, 3)
    assert violations(falling, False) == (3, 3)
    mixed = np.array([5.0, 4.0, 4.5, 4.5]) + rng.normal(size=(8, 1))
    assert violations(mixed, True) == (1, 3)
    noise = 1.0 + rng.normal(size=(8, 2))
    assert violations(noise, True)[0] == 0


PLANES = NetworkPlan("x", "lenet5", (6, 12), "relu", 0.1, 1, 0)
OTHER = NetworkPlan("x", "lenet5", (6, 12), "sigmoid", 0.1, 1, 0)


def planted(about_x, about_y, pair_x=(1.0, 1.0), pair_y=(1.0, 1.0)):
    """Two layers: a convolution whose curves are at the ceiling, and one from a value to one."""
    t = np.linspace(0, 1, 5)[:, None, None]

    def rows(first, last):
        moving = first + (last - first) * t + np.zeros((5, 3, 1))
        return moving

    arrays = {"steps": np.arange(5), "epoch": np.array(1), "tested": np.array(400)}
    arrays["names"] = np.array(["conv", "dense"])
    for kernel in KERNELS:
        at_top = np.full((5, 3, 1), 6.0)
        arrays[f"{kernel.name} x"] = np.full((5, 3), 6.0)
        arrays[f"{kernel.name} input"] = np.concatenate([at_top, rows(*about_x)], axis=2)
        arrays[f"{kernel.name} label"] = np.concatenate([at_top / 2, rows(*about_y)], axis=2)
        for name, ends in (("plane input", pair_x), ("plane label", pair_y)):
            empty = np.full((5, 3, 1), np.nan)
            arrays[f"{kernel.name} {name}"] = np.concatenate([rows(*ends), empty], axis=2)
    return arrays


@pytest.mark.parametrize(
    ("about_x", "about_y", "verdict"),
    [
        ((1.0, 2.0), (1.0, 2.0), "yes"),
        ((2.5, 1.8), (1.0, 2.0), "partly"),
        ((2.5, 1.8), (2.0, 1.0), "no"),
        ((2.0, 2.0), (1.0, 1.0), "no"),
        ((6.0, 6.0), (3.0, 3.0), "not tested"),
    ],
)
def test_both_must_rise_in_the_plane_and_curves_at_the_ceiling_do_not_count(
    about_x, about_y, verdict
):
    nets = {PLANES: planted(about_x, about_y)}
    assert renyi.plane_finding(MeasuredNetworks("x", nets, label_entropy=3.0)).verdict == verdict
    wider = replace(PLANES, filters=(30, 60))
    both = MeasuredNetworks("x", {**nets, wider: planted(about_x, about_y)}, label_entropy=3.0)
    assert renyi.plane_finding(both).verdict == verdict
    assert "(0 of 2 fall back)" in renyi.compression_finding(both).ours


@pytest.mark.parametrize(
    ("relu", "sigmoid", "verdict"),
    [
        ((2.0, 2.0), (2.0, 1.0), "yes"),
        ((2.0, 1.0), (2.0, 2.0), "partly"),
        ((1.0, 2.0), (1.0, 2.0), "no"),
        ((0.0, 0.01), (0.0, 0.0), "not tested"),
    ],
)
def test_the_modified_plane(relu, sigmoid, verdict):
    nets = {
        PLANES: planted((1.0, 2.0), (1.0, 2.0), relu, relu),
        OTHER: planted((1.0, 2.0), (1.0, 2.0), sigmoid, sigmoid),
    }
    assert (
        renyi.compression_finding(MeasuredNetworks("x", nets, label_entropy=3.0)).verdict == verdict
    )


def test_the_last_error_with_itself_is_no_step(tmp_path):
    """Falling backward, but for the entropy at the end: one step of two goes against it."""
    arrays = planted((1.0, 2.0), (1.0, 2.0))
    rows = np.array([3.0, 1.0, 2.0, 0.5])
    for kernel in KERNELS:
        arrays[f"{kernel.name} input"] = np.tile(rows[::-1], (5, 3, 1))
        arrays[f"{kernel.name} backward"] = np.tile(rows, (5, 3, 1))
    arrays["names"] = np.array(["conv", "b", "c", "classes"])
    networks = MeasuredNetworks("x", {PLANES: arrays})
    finding = renyi.inequality_finding(networks, forward=False)
    assert all(value.text().endswith("1 (of 2)") for value in finding.groups[KERNELS[0].label])
    forward = renyi.inequality_finding(networks, forward=True)
    assert all("(of 3)" in value.text() for value in forward.groups[KERNELS[0].label])
    folder = Folder(tmp_path, "renyi", StudySettings())
    renyi.draw_inequalities(folder, networks, KERNELS[0])
    numbers = folder.numbers["dpi-x-paper"]
    assert np.shape(numbers[f"{PLANES.name} end backward"]) == (3, 3)
    assert np.shape(numbers[f"{PLANES.name} end input"]) == (3, 4)


def test_information_that_is_at_the_ceiling_from_the_start_does_not_grow():
    most = np.full(3, 6.0)
    assert saturates(np.array([6.0, 6.0, 6.0]), most, 0.02) is None
    assert saturates(np.array([4.0, 5.95, 6.0]), most, 0.02) is True
    assert saturates(np.array([4.0, 5.95, 6.0]), most, 0.001) is False
    assert saturates(np.array([4.0, 5.0, 6.0]), most, 0.02) is False  # only with the most of them
    assert saturates(np.array([5.0, 4.0, 3.0]), most, 0.02) is False


def widths(accuracies, redundant=(0.5, 0.4, 0.3)):
    """Trainings of 2, 4 and 8 filters whose accuracy and redundancy are given."""
    trainings = {}
    for count, accuracy, share in zip((2, 4, 8), accuracies, redundant, strict=True):
        arrays = planted((1.0, 2.0), (1.0, 2.0)) | {"accuracy": np.array(accuracy)}
        for kernel in KERNELS:
            arrays[f"{kernel.name} redundant"] = np.full((5, 3, 2), share)
            arrays[f"{kernel.name} non-redundant"] = np.full((5, 3, 2), 1 - share)
        trainings[NetworkPlan("x", "lenet5", (count, 12), "relu", 0.1, 1, 0)] = arrays
    return trainings


def test_amounts_of_saturated_networks_are_not_tested():
    finding = renyi.amount_finding(MeasuredNetworks("x", widths((0.9, 0.9, 0.9))))
    assert finding.verdict == "not tested"
    assert "2 filters 6.00 (at the ceiling)" in finding.ours


def test_intervals_over_the_trainings_of_a_network():
    trainings = widths((0.9, 0.9, 0.9))
    for seed in (1, 2):
        for plan, arrays in widths((0.8, 0.9, 0.9), (0.4 + seed / 10, 0.4, 0.3)).items():
            repeated = {**arrays, "steps": arrays["steps"][[0, -1]]}
            repeated |= {name: arrays[name][[0, -1]] for name in arrays if arrays[name].ndim == 3}
            trainings[replace(plan, seed=seed)] = repeated
    networks = MeasuredNetworks("x", trainings)
    value = networks.over_filters("paper redundant")[0]
    error = np.std([0.5, 0.5, 0.6], ddof=1) / np.sqrt(3)
    assert (value.value, value.high - value.value) == pytest.approx((1.6 / 3, 2 * error))
    finding = renyi.redundancy_finding(networks)
    assert "2 filters 53 (47 to 60), 4 filters 40 (40 to 40)" in finding.ours
    assert "30.0 (30.0 to 30.0, 8 filters)" in renyi.synergy_finding(networks).ours
    for seed, share in enumerate((-0.1, 0.2, 0.0)):  # a mean above 0, within its spread
        for plan, arrays in trainings.items():
            if plan.filters[0] == 8 and plan.seed == seed:
                arrays["paper redundant"] = np.full_like(arrays["paper redundant"], share)
    assert renyi.synergy_finding(networks).verdict == "partly"
    # Accuracies of three trainings, on ten images each: of both.
    for arrays in trainings.values():
        arrays["tested"] = np.array(10)
    mean, error = np.mean([0.9, 0.8, 0.8]), np.std([0.9, 0.8, 0.8], ddof=1) / np.sqrt(3)
    half = 196 * np.sqrt(mean * (1 - mean) / 10 + error**2)
    expected = f"2 filters {100 * mean:.1f} ({100 * mean - half:.1f} to {100 * mean + half:.1f})"
    assert expected in renyi.accuracy_finding(networks).ours


def test_amounts_over_a_training(tmp_path, unsaved_figures):
    trainings = widths((0.9, 0.9, 0.9))
    for (plan, arrays), most in zip(trainings.items(), (4.0, 6.0, 6.0), strict=True):
        rise = np.linspace(2.0, most, 5)[:, None, None] + np.zeros((5, 3, 3))
        for kernel in KERNELS:
            arrays[f"{kernel.name} input"] = rise if plan.filters[0] < 8 else rise * 0 + 6.0
    networks = MeasuredNetworks("x", trainings)
    finding = renyi.amount_in_training_finding(networks)
    assert finding.verdict == "yes"
    assert (
        "2 filters unknown (not at the ceiling), 4 filters 100, 8 filters 0 (from the start)"
        in (finding.ours)
    )
    folder = Folder(tmp_path, "renyi", StudySettings())
    renyi.draw_amounts_over_training(folder, networks)
    drawn = folder.numbers["mmi-training-x-first"]
    assert drawn["paper conv 1, 2 filters"] == [2.0, 2.5, 3.0, 3.5, 4.0]
    assert finding.n.endswith(", 12 filters in the other convolution")
    assert "first one (12 filters in the other convolution)" in folder.figures[0].caption
    pinned = widths((0.9, 0.9, 0.9))
    assert renyi.amount_in_training_finding(MeasuredNetworks("x", pinned)).verdict == "not tested"


@pytest.mark.parametrize(
    ("accuracies", "verdict", "remark"),
    [
        ((0.5, 0.9, 0.6), "yes", "significantly better than the most filters"),
        ((0.5, 0.8, 0.9), "partly", "Best with 8."),
        ((0.5, 0.9, 0.89), "partly", "Best with 4."),
        ((0.9, 0.9, 0.9), "not tested", "No difference is beyond sampling"),
        ((0.9, 0.8, 0.5), "no", "Best with 2."),
        ((0.5, np.nan, 0.9), "partly", "1 trainings diverged"),
    ],
)
def test_accuracy_over_filters(accuracies, verdict, remark):
    finding = renyi.accuracy_finding(MeasuredNetworks("x", widths(accuracies)))
    assert finding.verdict == verdict and remark in finding.remark


@pytest.mark.parametrize(
    ("redundant", "trend", "above"),
    [((0.5, 0.4, 0.3), "yes", "yes"), ((0.3, 0.4, 0.5), "no", "yes"),
     ((0.2, 0.1, -0.1), "yes", "no")],
)  # fmt: skip
def test_redundancy_over_filters(redundant, trend, above):
    networks = MeasuredNetworks("x", widths((0.9, 0.9, 0.9), redundant))
    assert renyi.redundancy_finding(networks).verdict == trend
    assert renyi.synergy_finding(networks).verdict == above


def test_widths_at_which_every_layer_is_at_the_ceiling():
    swept = made_up_widths("", None, None, 0)
    finding = renyi.widths_finding("a network", swept)
    assert finding.verdict == "yes" and "6.00, 6.00, 6.00 bits" in finding.ours
    swept["input"][:3] = 6.95
    finding = renyi.widths_finding("a network", swept)
    assert finding.verdict == "no" and "sigma 10% of the median 0 (of 2; 6.95" in finding.ours
    swept["input"][3, 0] = [6.0, 6.5, 6.0]
    finding = renyi.widths_finding("a network", swept)
    assert "sigma 50% of the median 1 (of 2; 6.00, 6.50, 6.00 bits)" in finding.ours


@pytest.mark.parametrize(
    ("power", "verdict"), [(3.0, "yes"), (2.6, "yes"), (2.1, "partly"), (1.0, "no")]
)
def test_the_power_with_which_time_grows(power, verdict):
    rows = {n: {"1.01": 1e-9 * n**power, "2": 1e-9 * n**2} for n in (10, 250, 500, 1000)}
    rows[10]["1.01"] = 1.0  # a start that costs more than the work
    finding = renyi.time_finding(rows)
    assert finding.verdict == verdict
    assert f"power of the last three {power:.2f}" in finding.ours
    assert "alpha 2" in finding.groups


def test_the_time_of_an_entropy_is_measured_by_order():
    seconds = renyi_measures.entropy_seconds(300, 0)
    assert set(seconds) == {"1.01", "2", "5"}
    assert 0 <= seconds["2"] < seconds["1.01"] < 1


def test_the_ceiling_of_the_label_is_that_of_the_batches(tmp_path):
    labels = np.arange(3000) % 30
    assert mean_label_entropy(labels[:60], 3, 0) == pytest.approx(np.log2(30))
    entropy = mean_label_entropy(labels, 3, 0)
    assert 4.5 < entropy < np.log2(30)
    folder = Folder(tmp_path, "renyi", StudySettings())
    nets = {PLANES: planted((1, 2), (1, 2))}
    renyi.draw_planes(folder, MeasuredNetworks("x", nets, label_entropy=entropy), KERNELS[0])
    assert f"S(Y), {entropy:.2f} bits" in folder.figures[0].caption
    assert folder.numbers["planes-x-paper"]["S(Y)"] == entropy


def test_steps_that_are_recorded():
    steps = recorded_steps(10, 100, 6)
    assert {0, 1, 10, 100} <= set(steps) and steps == sorted(steps) and len(steps) <= 7
    assert recorded_steps(5, 5, 4)[-1] == 5


def test_networks_by_source():
    plans_for, full = renyi_measures.plans_for, renyi_measures.FULL
    plans = plans_for("mnist", (28, 28, 1), 0, full, False)
    assert [plan.activation for plan in plans["planes"]] == ["relu", "sigmoid"]
    assert {plan.filters for plan in plans["planes"]} == {(6, 32)}
    assert {plan.filters for plan in plans["inequalities"]} == {(6, 12)}
    assert len(plans["first"]) == 10 * len(full.first)
    assert plans_for("mnist", (28, 28, 1), 0, renyi_measures.QUICK, False)["first"] == []
    large = plans_for("fruits", (100, 100, 3), 0, full, False)["planes"][0]
    assert (large.recipe, large.rate, large.epochs) == ("alexnet-small", 0.01, 15)
    assert "/" not in large.name
    varied = plans_for("fruits", (100, 100, 3), 0, full, False)
    assert varied["inequalities"] == varied["planes"]
    assert {plan.filters for plan in varied["planes"]} == {(16, 32, 64, 128), (30, 60, 90, 128)}
    assert {plan.filters[2] for plan in varied["third"]} == set(full.large[2])
    assert {plan.filters[:2] for plan in varied["third"]} == {(16, 32)}
    deep = plans_for("cifar10", (32, 32, 3), 0, full, True)
    assert deep["selection"][0].recipe == "vgg16-cifar"
    assert list(renyi_measures.varied_layers(deep).values()) == [None]
    layers = renyi_measures.varied_layers(plans)
    by_filters = {plan.filters: layers[plan] for plan in layers if plan not in plans["planes"]}
    assert by_filters[2, 12] == [0] and by_filters[6, 3] == [1] and by_filters[6, 12] == [0, 1]
    assert all(layers[plan] is None for plan in plans["planes"])


def test_trainings_of_which_every_step_was_measured():
    short, long = ({"steps": np.arange(count), "x": np.arange(count) + 0.5} for count in (2, 3))
    steps, values = over_steps([short, long, long], "x")
    assert steps.tolist() == [0, 1, 2] and values.tolist() == [[0.5, 1.5, 2.5]] * 2


TINY = RenyiSize(
    timed=(20, 40, 80),
    first=(2, 3),
    second=(3, 4),
    wide=5,
    images=200,
    tested=150,
    epochs=1,
    seeds=1,
    batches=2,
    pairs=3,
    records=4,
    removed=(0.5,),
    random_orders=2,
)


def test_a_network_is_trained_and_measured_and_its_maps_are_selected(tmp_path):
    from oip import models
    from oip.models.datasets import take_images

    parts = (
        take_images(models.load(f"mnist-sample:{name}"), np.arange(150), "some digits")
        for name in ("train", "test")
    )
    data = Images("digits", *parts)
    plan = NetworkPlan("digits", "lenet5", (2, 3), "relu", 0.02, 1, 0)
    folder = Folder(tmp_path, "renyi", StudySettings())
    path = folder.file(f"models/{plan.name}.keras")
    arrays = renyi_measures.train_and_measure(plan, data, TINY, folder, {plan: [1]})
    assert arrays["steps"].tolist() == [0, 1, 2] and arrays["names"][0] == "Conv2D_1"
    assert arrays["paper input"].shape == (3, 1, 4) and 0 <= arrays["accuracy"] <= 1
    # Pairs are of the maps of the convolution whose filters are varied.
    redundant = np.isfinite(arrays["relative redundant"]).all(axis=(0, 1))
    assert redundant.tolist() == [False, True, False, False]
    swept = renyi_measures.widths_and_orders(path, data, TINY, 0)
    assert swept["input"].shape == (6, 3, 1, 4) and swept["entropy"].shape == (6, 3, 1)
    # A share of sqrt(1/2) is the median squared distance as 2 sigma^2, the study's own width.
    ends = swept["input"][4, 0, 0], arrays["relative input"][-1, 0]
    assert ends[0] == pytest.approx(ends[1], rel=0.04)
    most = swept["entropy"][..., None]
    assert (swept["input"] <= most + 1e-9).all() and (np.diff(most, axis=0) < 0).all()
    selection = renyi_selection.map_selection(path, data, TINY, 0)
    assert selection["layer"] == "Conv2D_2" and selection["pruned"].shape == (6, 1, 2)
    assert np.isfinite(selection["pruned"][-1]).all()
    # Of a network's other trainings, little more than start and end.
    repeated = NetworkPlan("digits", "lenet5", (2, 3), "relu", 0.02, 8, 1)
    more = replace(TINY, records=9)
    arrays = renyi_measures.train_and_measure(repeated, data, more, folder, {repeated: [1]})
    assert arrays["steps"].tolist() == [0, 1, 2, 16]
    # A rate at which the training diverges: what was measured before is kept.
    wild = NetworkPlan("digits", "lenet5", (2, 3), "relu", 1e18, 2, 0)
    arrays = renyi_measures.train_and_measure(wild, data, TINY, folder, {wild: []})
    assert np.isnan(arrays["accuracy"]) and 1 <= len(arrays["steps"]) < 4


def made_up_training(plan, images, size, folder, varied):
    """A training with the arrays that the study needs, without a network."""
    rng, layers = np.random.default_rng(plan.seed), len(plan.filters)
    arrays = planted((1.0, 2.0), (1.0, 2.0)) | {"accuracy": np.array(0.9)}
    arrays["steps"] = np.arange(5)
    arrays["names"] = np.array([f"Conv2D_{number + 1}" for number in range(layers)])
    arrays["maps"] = np.array(plan.filters)
    of_layers = np.minimum(np.arange(layers), 1)
    for kernel in KERNELS:
        for name in ("input", "label", "plane input", "plane label"):
            key = f"{kernel.name} {name}"
            arrays[key] = arrays[key][..., of_layers]
        for name in ("entropy", "backward", "redundant", "non-redundant"):
            arrays[f"{kernel.name} {name}"] = rng.random((5, 3, layers))
    out = folder.file(f"models/{plan.name}.keras")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("a network")
    return arrays


def made_up_selection(path, data, size, seed):
    labels = [f"IB, {kernel.label}" for kernel in KERNELS]
    arrays = {"layer": np.array("Conv2D_2"), "accuracy": np.array(0.9), "shares": np.array([0.5])}
    arrays |= {"methods": np.array([*labels, "random"]), "pruned": np.full((3, 1, 2), 0.8)}
    for name in ("paper", "relative", "many"):
        arrays |= {f"{name} width": np.array(2), f"{name} kept": np.array(0.5)}
        arrays |= {f"{name} objective": np.arange(5.0), f"{name} p": np.array([0.0, 0.2])}
    return arrays


def made_up_widths(path, data, size, seed):
    shape = len(renyi_measures.WIDTHS), len(renyi_measures.ORDERS), 2
    return {"input": np.full((*shape, 3), 6.0), "entropy": np.full(shape, 7.0)}


def test_the_whole_study_on_made_up_trainings(drawn_figures, tmp_path, monkeypatch):
    settings = StudySettings(quick=True, data=("mnist-sample", "no-such-images"))
    calls = []

    def stops(plan, **options):
        calls.append(plan.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return made_up_training(plan, **options)

    monkeypatch.setattr(renyi, "train_and_measure", stops)
    monkeypatch.setattr(renyi, "map_selection", made_up_selection)
    monkeypatch.setattr(renyi, "widths_and_orders", made_up_widths)
    folder = Folder(tmp_path, renyi.NAME, settings)
    with pytest.raises(KeyboardInterrupt):
        renyi.run(folder, TINY)
    folder = Folder(tmp_path, renyi.NAME, settings)
    renyi.run(folder, TINY)
    # Two of the planes, four widths, one to choose from, of which one was stopped, two chains.
    assert len(calls) == 9 + 1 and len(set(calls)) == 9
    assert folder.finish(renyi.TITLE, renyi.SOURCE).is_file()
    numbers = NumbersFile.read(tmp_path / "numbers.json").figures
    assert {"dpi-mnist-sample-paper", "planes-mnist-sample-relative", "width-mnist-sample",
            "mmi-mnist-sample-first", "pairs-mnist-sample-second"} <= set(numbers)  # fmt: skip
    missing = [finding.paper for finding in folder.findings if finding.verdict == "not tested"]
    assert any("no-such-images" in paper for paper in missing)
    assert any("Fruits 360" in paper for paper in missing)
    assert len(folder.findings) == 4 + 1 + 2 * 5 + 2 + 4 + 1
    order = list(dict.fromkeys(finding.figure for finding in folder.findings if finding.figure))
    assert order == ["fig. 2", "fig. 4", "fig. 5", "fig. 6", "fig. 7", "sec. IV 3", "fig. 9"]
    captions = [figure.caption.partition(" of the paper")[0] for figure in folder.figures]
    order = ["As figure 2", "As figure 4", "As figure 5", "As figures 6 and 9", "As figure 7"]
    assert list(dict.fromkeys(captions)) == order


@pytest.fixture
def papers_folders(tmp_path):
    """Folders of a few images in the layouts of HASYv2 and of Fruits 360: their two sources."""
    from PIL import Image

    rng = np.random.default_rng(0)
    symbols, fruits = tmp_path / "HASYv2", tmp_path / "fruits-360"
    (symbols / "hasy-data").mkdir(parents=True)
    rows = ["path,symbol_id,latex,user_id"]
    for number in range(40):
        name = f"hasy-data/v2-{number:05d}.png"
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(symbols / name)
        rows.append(f"{name},{31 + number % 2},{'AB'[number % 2]},{number}")
    table = symbols / "hasy-data-labels.csv"
    table.write_text("\n".join(rows) + "\n")
    for part, count in (("Training", 12), ("Test", 4)):
        for fruit in ("Apple Braeburn", "Kiwi"):
            (fruits / part / fruit).mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(rng.integers(0, 256, (100, 100, 3), np.uint8))
                image.save(fruits / part / fruit / f"{number}_100.jpg")
    return str(table), str(fruits)


def test_the_papers_other_data_in_their_layouts(
    drawn_figures, tmp_path, monkeypatch, papers_folders
):
    trained = {}

    def training(plan, images, **options):
        shape, classes = images.train.images.shape[1:], images.train.classes
        trained[images.name] = plan.recipe, shape, len(classes)
        return made_up_training(plan, images, **options)

    monkeypatch.setattr(renyi, "train_and_measure", training)
    monkeypatch.setattr(renyi, "map_selection", made_up_selection)
    monkeypatch.setattr(renyi, "widths_and_orders", made_up_widths)
    settings = StudySettings(quick=True, data=papers_folders)
    folder = Folder(tmp_path / "out", renyi.NAME, settings)
    renyi.run(folder, TINY)
    assert trained == {
        "hasy-data-labels.csv": ("alexnet-small", (32, 32, 3), 2),
        "fruits-360": ("alexnet-small", (100, 100, 3), 2),
    }
    missing = [finding.paper for finding in folder.findings if finding.verdict == "not tested"]
    assert any("CIFAR-10" in paper for paper in missing)
    assert not any("HASYv2" in paper or "Fruits" in paper for paper in missing)
