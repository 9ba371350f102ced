"""Results in a notebook: their HTML, with all text escaped."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import oip
from oip import mi
from oip.batch.driver import BatchResult, Failure
from oip.run.compare import compare_runs
from oip.run.run import Run

HOSTILE = "<script>alert(1)</script>&'\""
QUICK = {"steps": 8, "screened": 16, "starts": 2}


def checked(result, *texts):
    """The page of a result: it holds these words and no markup from names."""
    page = result._repr_html_()
    assert page.startswith("<div>")
    assert page.endswith("</div>")
    assert "<script" not in page
    for word in texts:
        assert word in page
    return page


@pytest.fixture(scope="module")
def bars(small_images):
    images, labels = (np.tile(part, (3,) + (1,) * (part.ndim - 1)) for part in small_images)
    noise = np.random.default_rng(1).integers(0, 20, images.shape).astype(np.uint8)
    return images + noise, labels


def test_oips_and_one_map(small_model):
    oips = replace(oip.reconstruct(small_model, "first", **QUICK), layer=HOSTILE)
    checked(oips, "&lt;script&gt;", "6 maps", "responsive", "data:image/png")
    checked(oips[2], "&lt;script&gt;", "score of this image", "responsive")
    named = replace(oips, objectives=(HOSTILE,) * 6)
    checked(named, "6 objectives")
    checked(named[0], "&lt;script&gt;")
    plain = oips.rows(np.array([4, 1]))
    assert plain.maps.tolist() == [4, 1]
    assert np.array_equal(plain[4].image, oips[4].image)


def test_rankings_and_estimates(small_model, bars):
    images, labels = bars
    ranking = mi.rank(
        small_model, images, labels, "second", maps="0-24", classes=[HOSTILE, "b", "c", "d"]
    )
    shown = replace(ranking, layer=HOSTILE, split=HOSTILE, notices=(HOSTILE,))
    page = checked(shown, "&lt;script&gt;", "bits", "and 5 more")
    assert f"<td>{int(ranking.order[0])}</td>" in page
    assert ranking.plot().axes
    estimate = mi.mutual_information(labels, images[:, 3, 3, 0].astype(float), estimator="ksg")
    shown = replace(estimate, quantity=HOSTILE, estimator=HOSTILE, notices=(HOSTILE,), raw=-0.1)
    checked(shown, "value, bits", "clipped from", f"{estimate.bits:.3f}")


def test_kernels_ablation_selection_and_redundancy(small_model, bars):
    images, labels = bars
    kernels = mi.rank_kernels(small_model, images, labels, "second", 3, samples=60)
    checked(replace(kernels, layer=HOSTILE, notices=(HOSTILE,)), "6 kernels", "data:image/png")
    ablation = mi.ablate(small_model, images, labels, "second", maps="0-24")
    checked(replace(ablation, layer=HOSTILE, split=HOSTILE), "25 maps", "and 5 more", "accuracy")
    selection = mi.select(small_model, images, labels, "second", method="l1")
    shown = replace(selection, layer=HOSTILE, method=HOSTILE, notices=(HOSTILE,), width=7)
    checked(shown, "70 maps", "the first 7", "and 50 more")
    redundancy = mi.redundancy(small_model, images, labels, "second", maps="0-9", samples=60)
    checked(replace(redundancy, layer=HOSTILE, notices=(HOSTILE,)), "10 maps", "shares most with")


def test_networks_runs_and_comparisons(small_file, tmp_path):
    network = oip.Network(small_file)
    checked(network, "@1", "second", "16 x 16 x 1", "small.keras")
    network.name = HOSTILE
    checked(network, "&lt;script&gt;")
    from oip.ascent.settings import ascent_settings
    from oip.network.layer_spec import parse_selections

    network = oip.Network(small_file)
    chosen = parse_selections(network, ["first"])
    for name in ("a", "b"):
        oip.reconstruct_into(tmp_path / name, network, chosen, ascent_settings(**QUICK))
    runs = [Run.open(tmp_path / name) for name in ("a", "b")]
    checked(runs[0], "first", "shards of OIPs", "small.keras")
    status = oip.run_status(runs[0])
    checked(status, "first", "small.keras", "responsive")
    assert "6 maps with an OIP, 0 layers ranked" in repr(status)
    assert status.to_pandas()["oips"].tolist()[0] == 6
    comparison = compare_runs(*runs)
    checked(comparison, "the same model", "first")
    assert comparison.layers[0].median_similarity == pytest.approx(1.0, abs=1e-3)
    hostile = replace(comparison, layers=(replace(comparison.layers[0], layer=HOSTILE),))
    checked(hostile, "&lt;script&gt;")


def test_training_records(small_images, tmp_path):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((16, 16, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(3, 3, activation="relu", name="maps"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    images, labels = small_images
    recorder = mi.Recorder(images, labels, out=tmp_path)
    model.fit(images, labels, epochs=1, batch_size=20, verbose=0, callbacks=[recorder])
    record = mi.TrainingRecord.open(tmp_path)
    first = replace(record.layers[0], layer=HOSTILE)
    checked(replace(record, layers=(first,)), "&lt;script&gt;", "I(T;Y)", "training record")


def test_batches():
    failure = Failure("0000", 1, HOSTILE, "shard-0000.npz", 64, HOSTILE, 2)
    result = BatchResult(Path(HOSTILE), [], [failure], 3.0, 7)
    checked(result, "7 pieces of work", "&lt;script&gt;")
