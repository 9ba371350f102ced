"""The study of diffusion spectra: planted cases, and the whole of it on few digits."""

import math
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers
from scipy.stats import spearmanr

from oip import mi
from oip.core.output_formats import NumbersFile
from oip.core.progress import silent
from oip.mi.estimators.base import label_estimator
from oip.studies import diffusion, diffusion_toy, diffusion_training
from oip.studies.data import Images
from oip.studies.diffusion_toy import BlobSize, ToySize
from oip.studies.diffusion_training import (
    METHODS,
    QUANTITIES,
    SCALES,
    SmallNetwork,
    TrainingPlan,
    contrast,
    contrastive,
    correlation,
    corrupted,
    corrupted_information,
    measured_training,
    representation_information,
    trained_small_network,
)
from oip.studies.findings import grown, kept
from oip.studies.report import Folder, StudySettings
from oip.studies.trained import ImageBatch


def test_corrupted_labels():
    codes = np.arange(1000) % 5
    rng = np.random.default_rng(0)
    assert (corrupted(codes, 0.0, rng) == codes).all()
    assert (corrupted(codes, 1.0, rng) == codes).mean() == pytest.approx(0.2, abs=0.05)
    assert (corrupted(codes, 0.5, rng) == codes).mean() == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_information_of_corrupted_labels(classes):
    assert corrupted_information(classes, 0.0) == pytest.approx(np.log2(classes))
    assert corrupted_information(classes, 1.0) == pytest.approx(0.0, abs=1e-12)
    table = np.full((classes, classes), 0.3 / classes**2) + np.eye(classes) * 0.7 / classes
    brute = (table * np.log2(table * classes**2)).sum()
    assert corrupted_information(classes, 0.3) == pytest.approx(brute)


def test_clusters_are_counted():
    """Four far points, forty samples each: two bits of entropy, all of it about the label."""
    codes = np.arange(160) % 4
    z = 1000.0 * np.eye(4)[codes] + 0.1 * np.random.default_rng(1).normal(size=(160, 4))
    pixels = z + np.random.default_rng(0).normal(size=z.shape)
    arrays = representation_information(z, ImageBatch(pixels, codes, pixels), 0)
    # Random subsets of forty points hold ten of each cluster but for chance.
    assert arrays["reference entropy"] == pytest.approx(2.0, abs=0.01)
    assert arrays["reference label"] == pytest.approx(2.0, abs=0.1) == arrays["reference input"]
    # A kernel that 5 % of the pairs are within sees some of what is inside a cluster at t = 1.
    assert 2.0 < arrays["relative entropy"] < np.log2(160)
    assert arrays["relative label"] == pytest.approx(2.0, abs=0.1)
    constant = representation_information(np.ones((160, 3)), ImageBatch(z, codes, z), 0)
    assert all(abs(value) < 1e-9 for value in constant.values())


def test_matrices_and_manifolds():
    rng = np.random.default_rng(0)
    matrix = diffusion_toy.random_positive(20, rng)
    assert np.trace(matrix) == pytest.approx(20) and np.linalg.eigvalsh(matrix).min() > 0
    x = diffusion_toy.manifold("normal", 3, 400, rng)
    sizes = np.linalg.eigvalsh((x - x.mean(0)) @ (x - x.mean(0)).T)[::-1]
    assert x.shape == (400, diffusion_toy.WIDE) and sizes[2] > 100 * sizes[3]
    points, codes = diffusion_toy.tree(5, 100, rng)
    assert points.shape == (100, 20) and np.bincount(codes).tolist() == [20] * 5


def test_the_authors_width_of_blobs_is_the_root_of_their_dimensions():
    x, codes, _ = diffusion_toy.blobs("spread", 1000, 150, np.random.default_rng(0))
    value = {
        label: diffusion_training.class_information(estimator, x, codes, 0)
        for label, estimator in diffusion_toy.blob_estimators(1, 1000).items()
        if label.startswith("DSMI")
    }
    sigma_10 = mi.estimator("dsmi", reference=True)
    assert abs(diffusion_training.class_information(sigma_10, x, codes, 0)) < 0.05
    assert value["DSMI, sigma sqrt(d), as in the authors' code"] > 0.3
    classic = diffusion_toy.classic_estimators()
    assert [classic[name].count for name in diffusion_toy.CLASSIC] == [2, 5, 10, 100]
    assert {estimator.by for estimator in classic.values()} == {"minmax"}


def test_entropy_of_clusters_goes_to_their_logarithm():
    for count in diffusion_toy.CLUSTERS:
        x = diffusion_toy.clusters(count, 150, np.random.default_rng(0))
        for scale in SCALES:
            late = replace(scale.entropy, time=100).entropy(x, 0).nats
            assert late == pytest.approx(np.log(count), abs=0.05)


def test_information_of_clusters_and_noise_about_them():
    size = ToySize(500, (5,), (0.0,), (1,), (0.0,), runs=1, times=(100,), deviations=(0.5, 30.0))
    run = diffusion_toy._clusters_run(size, 0, 0)
    arrays = {name: np.stack([row, row]) for name, row in run.items()}
    for judge, verdicts in (("_cluster_labels", [True] * 8), ("_cluster_noise", [True, False] * 2)):
        outcomes, values = getattr(diffusion_toy, judge)(arrays, size)
        assert outcomes == verdicts and list(values) == ["sigma 10", "no units"]
    assert values["sigma 10"][0].text() == "deviation 0.5 2.32 (2.32 to 2.32)"


def test_blobs_keep_their_information_in_all_dimensions():
    truths = []
    for d in (2, 300):
        x, codes, centers = diffusion_toy.blobs("noise", d, 2000, np.random.default_rng(5))
        assert x.shape == (2000, d) and set(codes) == set(range(3))
        truths.append(diffusion_toy.blob_truth(x, centers, 0.0))
        assert diffusion_toy.blob_truth(x, centers, 1.0) == pytest.approx(0.0, abs=1e-9)
    x, _, centers = diffusion_toy.blobs("spread", 300, 200, np.random.default_rng(5))
    assert diffusion_toy.blob_truth(x, centers, 0.0) == pytest.approx(np.log(3), abs=1e-6)
    assert truths[0] == pytest.approx(truths[1], abs=0.08) and 0.5 < truths[0] <= np.log(3)


def test_contrast_against_its_definition():
    both = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    unit = both / np.linalg.norm(both, axis=1, keepdims=True)
    scores = np.exp(unit @ unit.T / 0.5)
    partner = np.roll(np.arange(6), 3)
    brute = [
        -np.log(scores[row, partner[row]] / (scores[row].sum() - scores[row, row]))
        for row in range(6)
    ]
    assert float(contrast(both, 0.5)) == pytest.approx(np.mean(brute), rel=1e-5)


def test_clusters_of_a_representation_at_long_times():
    codes = np.arange(160) % 4
    z = 1000.0 * np.eye(4)[codes] + 0.1 * np.random.default_rng(1).normal(size=(160, 4))
    rows = diffusion_training.entropy_over_times(z, 0)
    assert rows["reference over t"].shape == (5,) and set(rows) == {
        f"{scale.name} over t" for scale in SCALES
    }
    assert rows["relative over t"][-1] == pytest.approx(2.0, abs=0.05)
    assert (np.diff(rows["relative over t"]) <= 1e-9).all()


def test_views_are_told_apart_better_after_some_steps():
    keras.utils.set_random_seed(0)
    coarse = np.random.default_rng(0).integers(0, 256, (32, 3, 3, 1)).astype(np.uint8)
    images = coarse.repeat(4, axis=1).repeat(4, axis=2)
    encoder = keras.Sequential(
        [layers.Input((12, 12, 1)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(16)]
    )
    learner = contrastive(keras.Model(encoder.inputs[0], encoder.outputs[0]), 255.0, 0)
    learner.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    losses = learner.fit(images, batch_size=32, epochs=40, verbose=0).history["contrast"]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1


def test_correlations():
    rng = np.random.default_rng(0)
    values = rng.normal(size=40)
    whole = correlation(values, np.exp(values), 0)
    assert whole.spearman == pytest.approx(1.0) and whole.low > 0.9
    chance = correlation(values, rng.normal(size=40), 0)
    assert chance.spearman_p > 0.01 and chance.low < 0 < chance.high
    constant = correlation(np.ones(5), np.arange(5.0), 0)
    assert np.isnan(constant.spearman) and constant.spearman_p == constant.pearson_p == 1.0


@pytest.mark.parametrize(
    ("scores", "p"), [([1, 2, 3], 2 / 6), ([1, 3, 2], 1.0), ([1, 2, 3, 4], 2 / 24)]
)
def test_few_networks_have_the_p_value_of_their_permutations_and_no_interval(scores, p):
    values = np.arange(float(len(scores)))
    measured = correlation(values, np.array(scores, float), 0)
    assert measured.spearman_p == pytest.approx(p)
    assert np.isnan(measured.low) and np.isnan(measured.high)


def test_an_exact_p_value_is_near_that_of_many_networks():
    rng = np.random.default_rng(0)
    values, scores = rng.normal(size=(2, diffusion_training.FEWEST))
    nine = correlation(values, scores, 0)
    eight = correlation(values[1:], scores[1:], 0)
    assert np.isfinite(nine.low) and np.isnan(eight.low)
    assert eight.spearman_p == pytest.approx(spearmanr(values[1:], scores[1:]).pvalue, abs=0.05)


def test_three_networks_decide_nothing():
    names = [f"{scale.name} {quantity}" for scale in SCALES for quantity in QUANTITIES]
    networks = {str(n): dict.fromkeys(names, n) | {"accuracy": n / 3} for n in range(3)}
    findings = diffusion.network_findings(networks, "3 networks", 0)
    assert [finding.verdict for finding in findings] == ["not tested"] * 4
    assert "rank +1.00 (p 0.33)" in findings[0].ours


def test_changes_beside_their_spread():
    assert grown(np.array([1.0, 1.1])) is True
    assert grown(np.array([-1.0, -1.1])) is False
    assert grown(np.array([1.0, -0.5])) is None
    assert diffusion_toy.rising(np.array([0.0, 1.0, 1.0, 2.0]))
    assert not diffusion_toy.rising(np.array([0.0, 1.0, 0.5, 2.0]))
    arrays = {"steps": np.array([0, 10, 20]), "accuracy": np.array([0.0, 1.0, 1.0])}
    assert diffusion_training.mean_accuracy(arrays) == pytest.approx(0.75)


def test_names_hold_nothing_of_a_path():
    assert "/" not in TrainingPlan("a/b:test", "lenet5", "SimCLR", 1, 0, 0.5).name


TINY = diffusion.DiffusionSize(
    ToySize(60, (5,), (0.0, 1.0), (1, 4), (0.0, 1.0), runs=1),
    BlobSize(200, (0.0, 1.0), (2, 20), runs=1, steps=5, timings=1),
    images=150,
    tested=80,
    measured=60,
    recipes=("lenet5",),
    epochs=1,
    records=3,
    seeds=1,
    deviations=(0.05, 0.5),
    start_recipe="lenet5",
    start_epochs=1,
    entropy_recipes=("lenet5",),
    networks=tuple(SmallNetwork("relu-mlp", count, 1, 0) for count in (20, 50, 100)),
)


@pytest.fixture(scope="module")
def digits():
    from oip import models
    from oip.models.datasets import take_images

    train, test = (
        take_images(models.load(f"mnist-sample:{part}"), np.arange(100), part)
        for part in ("train", "test")
    )
    return Images("digits", train, test)


@pytest.mark.parametrize("method", METHODS)
def test_a_training_is_measured_on_its_way(digits, method):
    plan = TrainingPlan("digits", "lenet5", method, 2, 0, 0.1)
    arrays = measured_training(plan, digits, 30, 3, silent)
    assert arrays["steps"].tolist() == [0, 1, 2] and arrays["reference label"].shape == (3,)
    assert ("fitted" in arrays) == (method != "SimCLR")
    assert np.isnan(arrays["accuracy"]).all() == (method == "SimCLR")
    moved = arrays["relative entropy"]
    assert np.isfinite(moved).all() and np.ptp(moved) > 0


def test_a_small_network_of_more_images_than_there_are(digits):
    network = SmallNetwork("relu-mlp", 500, 1, 0)
    batch = diffusion_training.measured_images(digits.test, 30, 0)
    arrays = trained_small_network(network, digits, batch, 0)
    assert 0 <= arrays["accuracy"] <= 1 and arrays["size"] > 1000
    repeated = trained_small_network(network, digits, batch, 0)
    assert repeated["relative entropy"] == pytest.approx(
        float(arrays["relative entropy"]), abs=1e-6
    )


def made_up_training(plan, images, count, records, progress):
    """A training whose every quantity rises, without a network."""
    rise = np.linspace(0.5, 1.0, 4) + 0.001 * plan.seed + (plan.deviation or 0)
    names = [f"{scale.name} {quantity}" for scale in SCALES for quantity in QUANTITIES]
    arrays = {name: rise for name in names} | {"steps": np.arange(4), "accuracy": rise / 2}
    arrays |= {f"{scale.name} over t": np.outer(np.arange(4), np.ones(5)) for scale in SCALES}
    return arrays | {"fitted": np.array(1.0)}


def made_up_network(network, images, batch, seed):
    names = [f"{scale.name} {quantity}" for scale in SCALES for quantity in QUANTITIES]
    share = network.images / 200
    return {"accuracy": np.array(share), "size": np.array(100)} | dict.fromkeys(names, share)


def test_the_whole_study_on_made_up_trainings(drawn_figures, tmp_path, monkeypatch):
    settings = StudySettings(quick=True, data=("mnist-sample", "no-such-images"))
    calls = []

    def stops(plan, **options):
        calls.append(plan.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return made_up_training(plan, **options)

    monkeypatch.setattr(diffusion_training, "measured_training", stops)
    monkeypatch.setattr(diffusion_training, "trained_small_network", made_up_network)
    labels = diffusion_toy.blob_estimators(1, 2)
    quick = dict.fromkeys(labels, mi.estimator("binning"))
    monkeypatch.setattr(diffusion_toy, "blob_estimators", lambda *arguments: quick)
    folder = Folder(tmp_path, diffusion.NAME, settings)
    with pytest.raises(KeyboardInterrupt):
        diffusion.run(folder, TINY)
    folder = Folder(tmp_path, diffusion.NAME, settings)
    diffusion.run(folder, TINY)
    # Three ways to train (one of them is a start, too), five other starts; one was stopped.
    assert len(calls) == 8 + 1 and len(set(calls)) == 8
    assert folder.finish(diffusion.TITLE, diffusion.SOURCE).is_file()
    numbers = NumbersFile.read(tmp_path / "numbers.json").figures
    assert set(numbers) == {
        "clusters", "toys", "blobs",
        "trainings-mnist-sample-lenet5", "starts-mnist-sample", "networks",
        "entropies-mnist-sample-lenet5", "times-mnist-sample-lenet5",
        "over-accuracy-mnist-sample-lenet5",
    }  # fmt: skip
    missing = [finding.paper for finding in folder.findings if finding.verdict == "not tested"]
    assert any("no-such-images" in text for text in missing)
    assert any("STL-10" in text for text in missing)
    assert len(folder.findings) == 7 + 4 + 4 + 1 + 2 + 2 + 4 + 3


def test_a_rise_that_is_lost_again_is_none():
    spread = np.array([[0.0], [0.02]])
    assert kept(np.array([0.2, 1.0, 0.9]) + spread) is True
    assert kept(np.array([0.2, 1.0, 0.5]) + spread) is False


def test_a_peak_is_a_rise_and_a_fall():
    curve = np.array([0.2, 1.0, 0.7, 0.5])
    spread = np.array([[0.0], [0.01]])
    peaked = diffusion.peaked
    assert peaked(curve + spread) is True
    assert peaked(curve[::-1] + spread) is True
    assert peaked(np.sort(curve) + spread) is False
    assert peaked(np.sort(curve)[::-1] + spread) is False
    assert peaked(np.array([0.2, 1.0, 0.99, 0.98]) + spread) is False
    assert peaked(np.array([curve, [0.2, 1.0, 0.9, 0.99]])) is None


def grown_like(values):
    """Two seeds of trainings whose every quantity goes as `values`."""
    names = [f"{scale.name} {quantity}" for scale in SCALES for quantity in QUANTITIES]
    rows = [np.array(values) + 0.001 * seed for seed in range(2)]
    steps = np.arange(len(values))
    return [{"steps": steps, "fitted": np.array(1.0), **dict.fromkeys(names, row)} for row in rows]


@pytest.mark.parametrize(
    ("source", "values", "verdict"),
    [
        ("mnist", [0.2, 1.0, 1.5], "yes"),
        ("mnist-sample", [1.5, 1.0, 0.2], "no"),
        ("cifar10", [0.2, 1.0, 1.5], "no"),
        ("stl10", [0.2, 1.0, 0.5], "yes"),
        ("fashion-mnist", [0.2, 1.0, 1.5], "not tested"),
    ],
)
def test_the_paper_s_statement_on_the_input_depends_on_the_data(source, values, verdict):
    trainings = {method: grown_like(values) for method in METHODS}
    findings = diffusion.training_findings(source, f"net, {source}", trainings)
    first, second = (finding for finding in findings if "I_D(Z;X)" in finding.paper)
    assert first.verdict == verdict and "overfitting" not in first.paper
    assert second.verdict == ("yes" if values[-1] > values[0] else "no")
    assert ("does not treat" in first.ours) == (verdict == "not tested")


@pytest.mark.parametrize(
    ("proper", "by_chance", "verdict"),
    [
        ([0.2, 1.0, 1.5], [0.2, 0.2, 0.2], "yes"),
        ([0.2, 1.5, 0.5], [0.2, 0.2, 0.2], "partly"),  # most of the rise is lost
        ([0.2, 1.0, 1.5], [0.2, 1.0, 1.5], "partly"),
        ([1.5, 1.0, 0.2], [0.2, 1.0, 1.5], "no"),
    ],
)
def test_information_about_the_label_rises_in_proper_training_alone(proper, by_chance, verdict):
    trainings = {method: grown_like(proper) for method in METHODS}
    trainings["random labels"] = grown_like(by_chance)
    findings = diffusion.training_findings("mnist", "net, mnist", trainings)
    (finding,) = (finding for finding in findings if "I_D(Z;Y)" in finding.paper)
    assert finding.verdict == verdict and "Supervised it is largest: sigma 10" in finding.ours


def test_figures_over_accuracy_leave_out_what_has_none_and_tell_kinds_apart(
    tmp_path, drawn_figures, monkeypatch
):
    drawings = {}
    folder = Folder(tmp_path, diffusion.NAME, StudySettings())
    kept_figure = folder.figure

    def keep(name, drawing, caption, numbers):
        drawings[name] = drawing
        kept_figure(name, drawing, caption, numbers)

    monkeypatch.setattr(folder, "figure", keep)
    trainings = {method: grown_like([0.2, 1.0]) for method in METHODS}
    for method, several in trainings.items():
        for arrays in several:
            arrays["accuracy"] = np.array([0.1, np.nan if method == "SimCLR" else 0.9])
    diffusion_training.draw_over_accuracy(folder, "mnist", trainings, "net")
    assert folder.figures[0].caption.startswith("As figures 6, 7 and 8 of the paper.")
    assert not any("SimCLR" in name for name in folder.numbers["over-accuracy-mnist"])
    names = [f"{scale.name} {quantity}" for scale in SCALES for quantity in QUANTITIES]
    networks = {
        str(n): dict.fromkeys([*names, "size"], 1.0 + n) | {"accuracy": n / 4} for n in range(4)
    }
    diffusion_training.draw_networks(folder, "networks", networks, "4", ["a", "b", "a", "b"])
    (legend,) = drawings["networks"].legends
    assert [text.get_text() for text in legend.texts] == ["a", "b"]


def test_random_labels_that_were_not_learned_decide_nothing_about_overfitting():
    trainings = {method: grown_like([0.2, 1.0, 1.5]) for method in METHODS}

    def verdicts(share):
        for arrays in trainings["random labels"]:
            arrays["fitted"] = np.array(share)
        findings = diffusion.training_findings("mnist", "net, mnist", trainings)
        return [finding.verdict for finding in findings]

    # S(Z), which the paper says to rise whatever is learned, I(Z;Y), I(Z;X), and I(Z;X) by chance.
    assert verdicts(0.8) == ["yes", "partly", "yes", "yes"]
    assert verdicts(0.2) == ["yes", "partly", "yes", "not tested"]
    trainings["random labels"] = grown_like([0.2, 0.2, 0.2])
    assert verdicts(0.8)[1] == "yes" and verdicts(0.2)[1] == "partly"


def test_information_as_the_difference_from_random_subsets():
    rng = np.random.default_rng(0)
    codes = np.arange(400) % 2
    x = codes[:, None] + 0.01 * rng.normal(size=(400, 1))
    coarse, fine = (
        label_estimator("binning", by="minmax", count=n, corrected=False) for n in (2, 99)
    )
    # Of a class alone the bins are as narrow as its noise: they tell it apart no better than all.
    assert diffusion_training.subset_information(coarse, x, codes, rng) == pytest.approx(
        0, abs=0.05
    )
    x = np.stack([codes, rng.integers(0, 2, 400)], axis=1).astype(float)
    assert diffusion_training.subset_information(coarse, x, codes, rng) == pytest.approx(
        math.log(2), abs=0.02
    )
    x = rng.normal(size=(400, 20))
    assert diffusion_training.subset_information(fine, x, codes, rng) == pytest.approx(
        0.0, abs=1e-9
    )


def test_classic_information_follows_corruption_by_one_form_and_not_by_the_other():
    spread = np.array([[[-0.01]], [[0.01]]])
    kept_whole = np.array([[1.0, 1.0]] * 3) + spread  # (runs, branches, corruptions)
    arrays = {f"tree {name}": kept_whole for name in diffusion_toy.CLASSIC}
    arrays |= {f"subsets {name}": 0.0 * kept_whole for name in diffusion_toy.CLASSIC}
    outcomes, values = diffusion_toy._classic_tree(arrays, TINY.toys)
    assert len(outcomes) == 24 and all(outcomes)
    arrays["subsets binned 2"] = np.array([[0.5, 0.0]] * 3) + spread
    outcomes, values = diffusion_toy._classic_tree(arrays, TINY.toys)
    assert outcomes.count(False) == 3
    assert (
        values["classic, 2 bins, from random subsets, bits"][0]
        .text()
        .startswith("2 branches from 0.50")
    )


def test_information_that_no_method_loses_does_not_decay():
    names = [*(scale.label for scale in SCALES), "theirs"]

    def finding(*rows):
        runs = np.stack([np.array(rows, float)] * 2)
        arrays = {"methods": np.array(names), "noise dimension": runs}
        arrays["noise dimension truth"] = runs[:, 0]
        return diffusion_toy._decay_finding(arrays, TINY.blobs, "noise", np.ones(3, bool))

    assert finding([1.0, 0.9], [1.0, 0.8], [1.0, 0.5]).verdict == "yes"
    assert finding([1.0, 1.5], [1.0, 0.8], [1.2, 1.3]).verdict == "partly"
    assert finding([1.0, 1.5], [1.0, 1.4], [1.2, 1.3]).verdict == "not tested"


def test_starts_and_networks_as_the_paper_has_them():
    trainings = {deviation: grown_like([deviation, 1.0]) for deviation in (0.1, 0.2, 0.4)}
    for deviation, several in trainings.items():
        for arrays in several:
            arrays["accuracy"] = np.array([0.1, 1.0 - deviation])
    first, second = diffusion.start_findings("net", trainings)
    assert first.verdict == second.verdict == "yes"
    assert "deviation 0.4 60.0 (60.0 to 60.0)" in second.ours
    low, high = (first.values[SCALES[0].short][0].low, first.values[SCALES[0].short][0].high)
    assert low < 0.1 < high
    starts = {"low": grown_like([0.05, 0.5, 1.0]), "high": grown_like([5.0, 4.0, 4.5])}
    for name, several in starts.items():
        for arrays in several:
            arrays["accuracy"] = np.array([0.1, 0.8, 0.9 if name == "low" else 0.8])
    first, second = diffusion.entropy_findings("net", starts)
    assert first.verdict == second.verdict == "yes"
    assert "low 90.0" in first.ours and "least 4.00" in second.ours
    first, second = diffusion.entropy_findings("net", dict(low=starts["high"], high=starts["low"]))
    assert (first.verdict, second.verdict) == ("no", "partly")
    names = [f"{scale.name} {quantity}" for scale in SCALES for quantity in QUANTITIES]
    networks = {}
    for number, noise in enumerate(np.random.default_rng(0).normal(size=30)):
        networks[str(number)] = dict.fromkeys(names, noise) | {"accuracy": number / 30}
        networks[str(number)] |= {name: number for name in names if name.endswith("label")}
    findings = diffusion.network_findings(networks, "30 networks", 0)
    assert [finding.verdict for finding in findings] == ["yes", "yes", "yes", "yes"]
    assert "of 8 chosen, among the 8 best 8" in findings[3].ours
    assert findings[1].groups["sigma 10"][2].low > 0
    # A quantity that is nearly as good: the difference is within its spread.
    for number, network in enumerate(networks.values()):
        network |= {name: number + (number % 2) * 1.5 for name in names if name.endswith("input")}
        network |= {name: number - (number % 2) * 1.4 for name in names if name.endswith("label")}
    assert diffusion.network_findings(networks, "30 networks", 0)[1].verdict == "partly"
    assert findings[0].groups["sigma 10"][1].text().startswith("rank +1.00 (+1.00 to +1.00, p 0")


def test_all_methods_near_zero_is_judged_by_all():
    values = np.array([[[2.0, 0.05], [2.0, 0.1]], [[1.0, -0.01], [1.0, 0.05]]])
    finding = diffusion_toy.corruption_finding
    runs = np.stack([values - 0.01, values + 0.01])
    first = finding(["ours", "theirs"], runs, TINY.blobs)
    assert first.verdict == "yes" and "from 2.00 (1.98 to 2.02)" in first.ours
    runs[:, 1, 1, 1] = 0.9
    assert finding(["ours", "theirs"], runs, TINY.blobs).verdict == "partly"


def test_estimators_of_blobs():
    x, codes, _ = diffusion_toy.blobs("noise", 2, 60, np.random.default_rng(0))
    for label, estimator in diffusion_toy.blob_estimators(5, 2).items():
        assert np.isfinite(diffusion_training.class_information(estimator, x, codes, 0)), label


def test_toys_and_blobs_go_on_where_they_were_stopped(tmp_path, monkeypatch):
    size = BlobSize(100, (0.0, 1.0), (2, 20), runs=2, steps=5, timings=1)
    monkeypatch.setattr(
        diffusion_toy, "blob_estimators", lambda *arguments: {"binned": mi.estimator("binning")}
    )
    blob_information = diffusion_toy.blob_information
    whole = blob_information(Folder(tmp_path / "a", "x", StudySettings()), size)
    original, calls = diffusion_toy.class_information, []

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(diffusion_toy, "class_information", stops)
    folder = Folder(tmp_path / "b", "x", StudySettings())
    with pytest.raises(KeyboardInterrupt):
        blob_information(folder, size)
    arrays = blob_information(folder, size)
    # Two runs of two panels and two kinds, two values each; the fifth part was stopped at once.
    assert len(calls) == 16 + 1
    for name in set(whole) - {"seconds"}:
        assert (arrays[name] == whole[name]).all(), name
    assert arrays["corruption"].shape == (2, 2, 1, 2)
    assert arrays["noise dimension"].shape == (2, 1, 2)
    toys = ToySize(100, (5,), (0.0, 1.0), (1,), (0.0, 1.0), runs=2)
    arrays = diffusion_toy.toy_information(folder, toys)
    assert arrays["identity"].shape == (2, 1, 2) and arrays["tree binned 10"].shape == (2, 3, 2)
    names = sorted(path.name for path in folder.file("toys").iterdir())
    assert names == [f"{part}-{n}.npz" for part in ("clusters", "run", "subsets") for n in (0, 1)]


def test_sizes_of_the_study():
    assert diffusion.QUICK.toys.dimensions == (1, 4, 16, 64, 256, 1024)
    assert diffusion.QUICK.toys.weights == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert diffusion.FULL.blobs.corruptions == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert len(diffusion.FULL.networks) == 6 * 4 * 2 * 3 and len(diffusion.QUICK.networks) == 12
