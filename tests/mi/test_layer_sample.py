"""The sample of a layer: checked, drawn and read once for all measures."""

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, ModelError, SettingsError
from oip.core.progress import silent
from oip.mi.layer_sample import (
    BEST,
    BINS,
    LayerSample,
    NoFiniteResponses,
    ResponseSummaries,
    check_at,
    output_subset,
    output_units,
    response_components,
    summarize_responses,
)


@pytest.mark.parametrize(("count", "tiny"), [(3, True), (5, False)])
def test_tiny_classes_make_p_values_unsure(small_model, small_images, count, tiny):
    images, labels = small_images
    rows = np.r_[np.flatnonzero(labels == 0)[:count], np.flatnonzero(labels != 0)]
    notices = (
        LayerSample.of(small_model, images[rows], "first").draw(labels[rows]).few_images_notices
    )
    assert ("fewer than 5, p-values of predictive can be too small" in notices[0]) == tiny


def test_a_sample_is_stratified_and_points_into_the_images(small_model, small_images):
    images, labels = small_images
    sample = LayerSample.of(small_model, images, "first", seed=3).draw(labels, 24)
    assert len(sample) == 24
    assert (np.bincount(sample.codes) == 6).all()
    assert (labels[sample.indices] == sample.codes).all()
    assert np.array_equal(sample.images, images[sample.indices])
    assert sample.classes == ("0", "1", "2", "3")
    assert (sample.maps == np.arange(6)).all()
    repeated = LayerSample.of(small_model, images, "@0", seed=3).draw(labels, 24)
    assert np.array_equal(repeated.indices, sample.indices)


def test_copies_of_images_are_left_out_but_not_with_another_label(small_model, small_images):
    images, labels = small_images
    twice = np.concatenate([images, images, images[:4]])
    other = np.concatenate([labels, labels, (labels[:4] + 1) % 4])
    sample = LayerSample.of(small_model, twice, "first").draw(other, 500)
    assert sample.indices.tolist() == [*range(40), *range(80, 84)]
    assert (sample.codes == other[sample.indices]).all()
    assert sample.notices == ("40 of 84 samples are copies of others and were left out.",)
    with pytest.raises(DataError, match="at least 20"):
        LayerSample.of(small_model, np.tile(images[:10], (4, 1, 1, 1)), "first").draw(
            np.tile(labels[:10], 4)
        )


def test_without_labels_images_are_drawn_at_random(small_model, small_images):
    images = small_images[0]
    sample = LayerSample.of(small_model, images, "first").draw(None, 10, label_free=True)
    assert (np.diff(sample.indices) > 0).all()
    assert len(sample) == 10
    with pytest.raises(DataError, match="labels"):
        _ = sample.codes
    with pytest.raises(DataError, match=r"labels: .*none"):
        LayerSample.of(small_model, images, "first").draw(None)
    with pytest.raises(DataError, match="two or more"):
        LayerSample.of(small_model, images[:1], "first").draw(None, label_free=True)


@pytest.mark.parametrize("at", ["response", "block"])
def test_responses_are_the_same_in_blocks_of_any_size(small_model, small_images, at):
    sample = LayerSample.of(small_model, small_images[0], "first", maps=[1, 4, 5], at=at)
    assert sample.size == ((14, 14) if at == "response" else (7, 7))
    reports = []
    (whole,) = sample.responses(progress=lambda *report: reports.append(report), task="work")
    assert reports == [("first: work", 0, 3), ("first: work", 3, 3)]
    assert whole.values.shape == (40, 3, int(np.prod(sample.size)))
    parts = list(sample.responses(byte_budget=1))
    assert [part.maps.tolist() for part in parts] == [[1], [4], [5]]
    values = np.concatenate([part.values for part in parts], axis=1)
    np.testing.assert_allclose(values, whole.values, atol=1e-5)
    assert whole.finite.all()


def test_a_layer_without_finite_responses_is_an_error_after_its_last_block(
    small_model, small_images
):
    import keras

    model = keras.models.clone_model(small_model)
    kernel, bias = small_model.get_layer("first").get_weights()
    model.get_layer("first").set_weights([kernel, np.where(np.arange(6) == 2, np.inf, bias)])
    sample = LayerSample.of(model, small_images[0], "first")
    (block,) = sample.responses()
    assert block.finite.tolist() == [True, True, False, True, True, True]
    with pytest.raises(
        NoFiniteResponses, match=r"'first': .*NaN or infinity in every map.*weights"
    ):
        list(LayerSample.of(model, small_images[0], "first", maps=2).responses())


def test_labels_as_units_of_the_output(small_model, small_images):
    from oip.network.network import Network

    network = Network(small_model)
    labels = small_images[1]
    assert np.array_equal(output_units(network, np.eye(4)[labels], 40), labels)
    subset = output_subset(network, labels + 0, 40, 24, 0)
    assert np.array_equal(subset.codes, labels[subset.indices])
    with pytest.raises(DataError, match=r"from 0 to 3.*received 1 to 4"):
        output_units(network, labels + 1, 40)
    with pytest.raises(DataError, match="whole numbers from 0 to 3"):
        output_units(network, labels.astype(str), 40)
    with pytest.raises(DataError, match="40, one per image"):
        output_units(network, labels[:-1], 40)


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"layer": "frist"}, ModelError, "first"),
        ({"maps": [6]}, SettingsError, "0 to 5"),
        ({"at": "input"}, SettingsError, "response or block"),
        ({"samples": 1}, SettingsError, "samples: .*2 or more"),
        ({"samples": True}, SettingsError, "samples"),
        ({"images": np.zeros((40, 9, 9, 1))}, DataError, "shape"),
        ({"labels": np.zeros(40)}, DataError, "floats"),
        ({"classes": ["a", "b"]}, DataError, "0 to 1"),
    ],
)
def test_bad_input(small_model, small_images, change, error, word):
    images, labels = small_images
    given = {"images": images, "layer": "first", "labels": labels, **change}
    drawn = {name: given.pop(name) for name in ("labels", "samples", "classes") if name in given}
    with pytest.raises(error, match=word):
        LayerSample.of(small_model, **given).draw(**drawn)
    check_at("block")


CODES = np.arange(30) % 3
PLACES = np.arange(30) * 2 + 1


def made(values, size):
    members = np.arange(len(CODES)), CODES
    return summarize_responses(values.astype(np.float32), size, members, 3, PLACES)


def test_best_images_scores_and_positions():
    values = np.zeros((30, 2, 6))
    values[4, 0, 5] = 6.0
    values[17, 0, 2] = 12.0
    result = made(values, (2, 3))
    assert result["best_images"][0].tolist() == [35, 9] + [-1] * (BEST - 2)
    assert result["best_scores"][0, :2].tolist() == [2.0, 1.0]
    assert np.isnan(result["best_scores"][0, 2:]).all()
    assert result["best_positions"][0, :2].tolist() == [[0, 2], [1, 2]]
    assert (result["best_positions"][0, 2:] == -1).all()
    assert np.allclose(result["active"], [2 / 30, 0])
    assert (result["best_images"][1] == -1).all()


def test_histograms_count_every_image_once_in_its_class():
    values = np.random.default_rng(0).normal(size=(30, 4, 9))
    result = made(values, (3, 3))
    assert (result["histogram"].sum(axis=2) == 10).all()
    means = values.astype(np.float32).mean(axis=2)
    for row in range(4):
        for code in range(3):
            class_means = means[code == CODES, row]
            expected, _ = np.histogram(
                class_means, np.linspace(means[:, row].min(), means[:, row].max(), 25)
            )
            assert np.abs(result["histogram"][row, code] - expected).sum() <= 2
    assert (np.diff(result["edges"]) > 0).all()
    assert result["edges"].shape == (4, BINS + 1)


def test_summaries_keep_means_of_as_many_images_as_they_are_for(small_model, small_images):
    sample = LayerSample.of(small_model, small_images[0], "second")
    every, few = ResponseSummaries(sample, len(sample)), ResponseSummaries(sample, 3)
    for summaries in (every, few):
        values = np.concatenate(
            [block.values for block in summaries.blocks(10_000, silent)], axis=1
        )
        assert summaries.usable.tolist() == [True] * len(sample.maps)
    means = values.mean(axis=2, dtype=np.float64)
    np.testing.assert_array_equal(every.means, means)
    np.testing.assert_array_equal(few.means, means[:3])


def test_a_constant_map_and_one_that_is_not_finite():
    values = np.zeros((30, 2, 4))
    values[:, 0] = 3.0
    values[3, 1, 0] = np.nan
    result = made(values, (4,))
    assert (np.diff(result["edges"][0]) > 0).all()
    assert result["histogram"][0].sum() == 30
    assert result["active"][0] == 1.0
    assert (result["best_positions"][0] == [0, 0]).all()
    assert (result["best_images"][1] == -1).all()
    assert result["histogram"][1].sum() == 0
    assert np.isnan(result["active"][1])


def test_likeness_holds_the_correlations_of_responses():
    random = np.random.default_rng(0)
    means = random.normal(size=(60, 3)) @ random.normal(size=(3, 8)) + 5.0
    means[:, 6] = 2.0
    means[3, 7] = np.nan
    rows = response_components(means)
    assert rows.dtype == np.float32 and rows.shape == (8, 8)
    assert rows[:6] @ rows[:6].T == pytest.approx(np.corrcoef(means[:, :6].T), abs=1e-4)
    assert (rows[6] == 0).all() and np.isnan(rows[7]).all()
    assert (rows[:6] == response_components(means)[:6]).all()


def test_results_about_units_do_not_speak_of_maps(small_model, small_images):
    dense = next(layer.name for layer in small_model.layers if "dense" in layer.name)
    images, labels = small_images
    results = [
        mi.rank(small_model, images, labels, dense, estimators="binning"),
        mi.redundancy(small_model, images, labels, dense),
        mi.select(small_model, images, labels, dense, method="mi", estimator="binning"),
        mi.separating(small_model, images, labels, dense, "0", "1", shuffles=19),
    ]
    for result in results:
        texts = repr(result) + result._repr_html_()
        assert "4 units" in texts and "4 maps" not in texts, texts
        assert ">unit</th>" in texts and ">map</th>" not in texts, texts
    maps = mi.rank(small_model, images, labels, "first", estimators="binning")
    assert "6 maps" in repr(maps) and ">map</th>" in maps._repr_html_()
