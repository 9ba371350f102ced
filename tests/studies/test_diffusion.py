"""The study of diffusion spectra: planted cases, and the whole of it on few digits."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from oip import mi
from oip.core.errors import ModelError
from oip.core.progress import silent
from oip.studies import diffusion, diffusion_toy
from oip.studies.diffusion_toy import Blobs, Toys
from oip.studies.diffusion_training import (
    METHODS,
    QUANTITIES,
    SCALES,
    Kind,
    Learning,
    before_head,
    contrast,
    contrastive,
    correlations,
    corrupted,
    measure,
    scaled_start,
    true_information,
)
from oip.studies.report import Folder, StudySettings


def test_corrupted_labels():
    codes = np.arange(1000) % 5
    rng = np.random.default_rng(0)
    assert (corrupted(codes, 0.0, rng) == codes).all()
    assert (corrupted(codes, 1.0, rng) == codes).mean() == pytest.approx(0.2, abs=0.05)
    assert (corrupted(codes, 0.5, rng) == codes).mean() == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_true_information_of_corrupted_labels(classes):
    assert true_information(classes, 0.0) == pytest.approx(np.log2(classes))
    assert true_information(classes, 1.0) == pytest.approx(0.0, abs=1e-12)
    table = np.full((classes, classes), 0.3 / classes**2) + np.eye(classes) * 0.7 / classes
    brute = (table * np.log2(table * classes**2)).sum()
    assert true_information(classes, 0.3) == pytest.approx(brute)


def test_clusters_are_counted():
    """Four far points, forty samples each: two bits of entropy, all of it about the label."""
    codes = np.arange(160) % 4
    z = 1000.0 * np.eye(4)[codes]
    found = measure(z, codes, z + np.random.default_rng(0).normal(size=z.shape), 0)
    # Random subsets of forty points hold ten of each cluster but for chance.
    assert found["reference entropy"] == pytest.approx(2.0, abs=1e-3)
    assert found["reference label"] == pytest.approx(2.0, abs=0.1) == found["reference input"]
    # A kernel as wide as a share of the distances lets the clusters meet a little.
    assert found["relative entropy"] == pytest.approx(2.0, abs=0.1) == found["relative label"]
    still = measure(np.ones((160, 3)), codes, z, 0)
    assert all(abs(value) < 1e-9 for value in still.values())


def test_matrices_and_manifolds():
    rng = np.random.default_rng(0)
    matrix = diffusion_toy.random_positive(20, rng)
    assert np.trace(matrix) == pytest.approx(20) and np.linalg.eigvalsh(matrix).min() > 0
    x = diffusion_toy.manifold("normal", 3, 400, rng)
    sizes = np.linalg.eigvalsh((x - x.mean(0)) @ (x - x.mean(0)).T)[::-1]
    assert x.shape == (400, diffusion_toy.WIDE) and sizes[2] > 100 * sizes[3]
    points, codes = diffusion_toy.tree(5, 100, rng)
    assert points.shape == (100, 20) and np.bincount(codes).tolist() == [20] * 5


def test_blobs_keep_their_information_in_all_dimensions():
    held = []
    for d in (2, 300):
        x, codes, centres = diffusion_toy.sample("noise", d, 2000, np.random.default_rng(5))
        assert x.shape == (2000, d) and set(codes) == set(range(10))
        held.append(diffusion_toy.held_information(x, centres, 0.0))
        assert diffusion_toy.held_information(x, centres, 1.0) == pytest.approx(0.0, abs=1e-9)
    x, _, centres = diffusion_toy.sample("spread", 300, 200, np.random.default_rng(5))
    assert diffusion_toy.held_information(x, centres, 0.0) == pytest.approx(np.log(10), abs=1e-6)
    assert held[0] == pytest.approx(held[1], abs=0.08) and 0.5 < held[0] <= np.log(10)


def test_the_layer_before_the_head(net):
    images = np.random.default_rng(0).random((4, 12, 12, 1))
    hidden = before_head(net)(images)
    assert hidden.shape == (4, 7)
    assert np.allclose(net.layers[-1](hidden), net(images), atol=1e-6)
    with pytest.raises(ModelError, match="dense layer at its end"):
        before_head(keras.Sequential([layers.Input((4, 4, 1)), layers.Flatten()]))


def test_starts_have_their_deviation():
    model = keras.Sequential([layers.Input((9, 9, 3)), layers.Conv2D(64, 5), layers.Flatten()])
    scaled_start(model, 0.3, 0)
    kernel, bias = model.layers[0].get_weights()
    assert kernel.std() == pytest.approx(0.3, rel=0.05) and not bias.any()
    scaled_start(model, 0.6, 0)
    assert np.allclose(model.layers[0].get_weights()[0], 2 * kernel, atol=1e-6)


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
    found = correlations(values, np.exp(values), 0)
    assert found["spearman"] == pytest.approx(1.0) and found["low"] > 0.9
    chance = correlations(values, rng.normal(size=40), 0)
    assert chance["spearman p"] > 0.01 and chance["low"] < 0 < chance["high"]
    assert correlations(np.ones(5), np.arange(5.0), 0)["spearman"] == 0.0


def test_changes_beside_their_spread():
    assert diffusion.grown(np.array([1.0, 1.1])) is True
    assert diffusion.grown(np.array([-1.0, -1.1])) is False
    assert diffusion.grown(np.array([1.0, -0.5])) is None
    assert diffusion_toy.rising(np.array([0.0, 1.0, 1.0, 2.0]))
    assert not diffusion_toy.rising(np.array([0.0, 1.0, 0.5, 2.0]))
    one = {"steps": np.array([0, 10, 20]), "accuracy": np.array([0.0, 1.0, 1.0])}
    assert diffusion.area(one) == pytest.approx(0.75)


def test_names_hold_nothing_of_a_path():
    assert "/" not in Learning("a/b:test", "lenet5", "SimCLR", 0, 1, 0.5).name


TINY = diffusion.Size(
    toys=Toys((5,), (0.0, 1.0), (1, 4), (0.0, 1.0), 1),
    blobs=Blobs(200, (0.0, 1.0), (2, 20), 1, 5, 1),
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
    kinds=tuple(Kind("relu-mlp", count, 1, 0) for count in (20, 50, 100)),
)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(diffusion_toy, "SAMPLES", 60)


def test_the_whole_study(tmp_path, monkeypatch):
    settings = StudySettings(quick=True, data=("mnist-sample", "no-such-images"))
    original, calls = diffusion.learned, []

    def stops(*arguments):
        calls.append(arguments[0].name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(diffusion, "learned", stops)
    folder = Folder(tmp_path, diffusion.NAME, settings)
    with pytest.raises(KeyboardInterrupt):
        diffusion.run_sized(folder, settings, silent, TINY)
    folder = Folder(tmp_path, diffusion.NAME, settings)
    diffusion.run_sized(folder, settings, silent, TINY)
    # Three ways to train, two starts; one was stopped.
    assert len(calls) == 5 + 1 and len(set(calls)) == 5
    assert folder.finish(diffusion.TITLE, diffusion.SOURCE).is_file()
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert set(numbers) == {
        "toys", "blobs", "trainings-mnist-sample-lenet5", "starts-mnist-sample", "networks"
    }  # fmt: skip
    told = [claim.paper for claim in folder.claims if claim.agrees == "not tested"]
    assert any("no-such-images" in text for text in told) and any("STL-10" in text for text in told)


def test_a_peak_is_a_rise_and_a_fall():
    curve = np.array([0.2, 1.0, 0.7, 0.5])
    spread = np.array([[0.0], [0.01]])
    assert diffusion.peaked(curve + spread) is True
    assert diffusion.peaked(curve[::-1] + spread) is True
    assert diffusion.peaked(np.sort(curve) + spread) is False
    assert diffusion.peaked(np.sort(curve)[::-1] + spread) is False
    assert diffusion.peaked(np.array([0.2, 1.0, 0.99, 0.98]) + spread) is False
    assert diffusion.peaked(np.array([curve, [0.2, 1.0, 0.9, 0.99]])) is None


def grown_like(values):
    """Two seeds of trainings whose every quantity goes as `values`."""
    names = [f"{scale.name} {quantity}" for scale in SCALES for quantity in QUANTITIES]
    rows = [np.array(values) + 0.001 * seed for seed in range(2)]
    steps = np.arange(len(values))
    return [{"steps": steps, "fitted": np.array(1.0), **dict.fromkeys(names, row)} for row in rows]


@pytest.mark.parametrize(
    ("source", "values", "wanted"),
    [
        ("mnist", [0.2, 1.0, 1.5], "yes"),
        ("mnist-sample", [1.5, 1.0, 0.2], "no"),
        ("cifar10", [0.2, 1.0, 1.5], "no"),
        ("stl10", [0.2, 1.0, 0.5], "yes"),
        ("fashion-mnist", [0.2, 1.0, 1.5], "not tested"),
    ],
)
def test_what_the_paper_says_of_the_input_depends_on_the_data(tmp_path, source, values, wanted):
    folder = Folder(tmp_path, "diffusion", StudySettings())
    found = {method: grown_like(values) for method in METHODS}
    diffusion.trainings(folder, source, f"net, {source}", found)
    first, second = (one for one in folder.claims if "I(Z;X)" in one.paper)
    assert first.agrees == wanted and "random labels" not in first.paper
    assert second.agrees == ("yes" if values[-1] > values[0] else "no")


def test_all_methods_near_zero_is_judged_by_all(tmp_path):
    folder = Folder(tmp_path, "diffusion", StudySettings())
    values = np.array([[[2.0, 0.05], [2.0, 0.1]], [[1.0, -0.01], [1.0, 0.05]]])
    diffusion_toy._over_corruption(folder, ["one", "other"], values, TINY.blobs)
    values[1, 1, 1] = 0.9
    diffusion_toy._over_corruption(folder, ["one", "other"], values, TINY.blobs)
    assert [one.agrees for one in folder.claims] == ["yes", "partly"]


def test_toys_and_blobs_go_on_where_they_were_stopped(tmp_path, monkeypatch):
    sizes = Blobs(200, (0.0, 1.0), (2, 20), 2, 5, 1)
    monkeypatch.setattr(diffusion_toy, "methods", lambda steps: {"binned": mi.estimator("binning")})
    whole = diffusion_toy.blobs(sizes, 0, silent, Folder(tmp_path / "a", "x", StudySettings()))
    original, calls = diffusion_toy.information, []

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(diffusion_toy, "information", stops)
    folder = Folder(tmp_path / "b", "x", StudySettings())
    with pytest.raises(KeyboardInterrupt):
        diffusion_toy.blobs(sizes, 0, silent, folder)
    found = diffusion_toy.blobs(sizes, 0, silent, folder)
    # Two runs of two panels and two kinds, two values each; the fifth part was stopped at once.
    assert len(calls) == 16 + 1
    for name in set(whole) - {"seconds"}:
        assert (found[name] == whole[name]).all(), name
    assert found["corruption"].shape == (2, 2, 1, 2) and found["noise dimension"].shape == (2, 1, 2)
    monkeypatch.setattr(diffusion_toy, "SAMPLES", 200)
    toys = Toys((5,), (0.0, 1.0), (1,), (0.0, 1.0), 2)
    found = diffusion_toy.toys(toys, 0, silent, folder)
    assert found["identity"].shape == (2, 1, 2) and found["tree binned"].shape == (2, 3, 2)
    assert sorted(path.name for path in folder.file("toys").iterdir()) == ["run-0.npz", "run-1.npz"]
