import json

import numpy as np
import pytest

from oip.core.errors import DataError, ModelError, SettingsError
from oip.core.images import plain_range
from oip.network.forward import map_blocks, spatial_means, standardize_as_input
from oip.network.inputs import check_images
from oip.network.layer_spec import map_numbers, parse_selections
from oip.network.network import Network


def test_statistics_come_from_the_models_own_layers(small_model):
    spec = Network(small_model).inputs
    assert spec.is_known
    np.testing.assert_allclose([spec.mean[0], spec.std[0]], [40, 80])


def test_a_rescaling_layer_tells_the_range():
    import keras
    from keras import layers

    for scale, offset in ((1 / 255, 0.0), (1 / 127.5, -1.0), (1 / 255, -0.5)):
        parts = [layers.Input((8, 8, 3)), layers.Rescaling(scale, offset), layers.Conv2D(2, 3)]
        spec = Network(keras.Sequential(parts)).inputs
        np.testing.assert_allclose([spec.low, spec.high], [0, 255])


def test_a_sidecar_comes_first_and_a_broken_one_is_an_error(small_file, tmp_path):
    path = tmp_path / "m.keras"
    path.write_bytes(small_file.read_bytes())
    told = {
        "kind": "oip-model",
        "input": {"mean": [1.0], "std": [2.0], "low": 0.0, "high": 9.0},
        "classes": ["a"],
    }
    (tmp_path / "m.oip.json").write_text(json.dumps(told))
    spec = Network(path).inputs
    assert (spec.mean[0], spec.std[0], spec.high, spec.source) == (1.0, 2.0, 9.0, "sidecar")
    assert spec.background[0] == -0.5
    (tmp_path / "m.oip.json").write_text(json.dumps({**told, "sha256": "0" * 64}))
    with pytest.warns(UserWarning, match="another model"):
        assert Network(path).inputs.mean[0] == 40.0
    (tmp_path / "m.oip.json").write_text(json.dumps({"kind": "oip-model"}))
    with pytest.raises(ModelError, match="sidecar"):
        Network(path)


def test_told_statistics_fit_the_bands(small_model):
    spec = Network(small_model).inputs
    assert spec.with_statistics(mean=(3.0,)).mean[0] == 3.0
    for wrong in (
        {"std": (0.0,)},
        {"mean": (1.0, 2.0)},
        {"value_range": (3.0, 1.0)},
        {"value_range": (0.0, float("inf"))},
        {"mean": (float("nan"),)},
        {"preprocess": "caffe"},
    ):
        with pytest.raises(SettingsError, match="expected"):
            spec.with_statistics(**wrong)


def test_measured_statistics_are_those_of_the_images(small_model, small_images):
    images = small_images[0]
    spec = Network(small_model).inputs.measured(images, 0.0, 255.0, "data")
    np.testing.assert_allclose(spec.mean, images.mean(), rtol=1e-5)
    np.testing.assert_allclose(spec.std, images.std(), rtol=1e-5)


@pytest.mark.parametrize(
    ("images", "word"),
    [
        (np.zeros((3, 8, 8, 1)), "shape"),
        (np.zeros((0, 16, 16, 1)), "at least one"),
        (np.array([["a"]]), "numbers"),
        (np.full((2, 16, 16, 1), np.nan), "finite"),
        (np.random.default_rng(0).random((5, 16, 16, 1)), "range"),
        (np.full((2, 16, 16, 1), 4000.0), "range"),
    ],
)
def test_images_that_do_not_fit_are_refused(small_model, images, word):
    spec = Network(small_model).inputs.with_statistics(value_range=(0.0, 255.0))
    with pytest.raises(DataError, match=word):
        check_images(spec, images)


def test_a_missing_band_axis_is_added(small_model, small_images):
    spec = Network(small_model).inputs
    assert check_images(spec, small_images[0][..., 0]).shape == (40, 16, 16, 1)


def test_selections_are_parsed_as_documented(small_model):
    network = Network(small_model)
    chosen = parse_selections(network, ["second:0-2,7", "@0:all", "second:69"])
    assert [layer.name for layer, _ in chosen] == ["first", "second"]
    assert chosen[1][1].tolist() == [0, 1, 2, 7, 69]
    assert [len(maps) for _, maps in parse_selections(network, [])] == [6, 70]
    assert map_numbers(network.find("first"), range(2)).tolist() == [0, 1]
    for text, word in (
        ("first:6", "0 to 5"),
        ("first:3-1", "low to high"),
        ("first:x", "0-15"),
        ("frst", "Did you mean"),
    ):
        with pytest.raises((SettingsError, ModelError), match=word):
            parse_selections(network, [text])
    for wrong in ([-1], [], ["a"], 99):
        with pytest.raises(SettingsError):
            map_numbers(network.find("first"), wrong)


@pytest.mark.parametrize("at", ["response", "block"])
def test_responses_are_the_models_own_whatever_the_budget(small_model, small_images, at):
    import keras

    network = Network(small_model)
    layer = network.find("first")
    images = small_images[0]
    name = "first" if at == "response" else "pool"
    plain = keras.Model(small_model.inputs, small_model.get_layer(name).output)
    wanted = plain(images.astype("float32")).numpy().reshape(40, -1, 6).transpose(0, 2, 1)
    for budget in (1, 1 << 17, 1 << 30):
        blocks = list(map_blocks(network, images, layer, at=at, byte_budget=budget))
        assert np.concatenate([maps for maps, _ in blocks]).tolist() == list(range(6))
        found = np.concatenate([values for _, values in blocks], axis=1)
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_block_needs_a_pooling_layer(small_model, small_images):
    network = Network(small_model)
    with pytest.raises(SettingsError, match="pooling"):
        list(map_blocks(network, small_images[0], network.find("second"), at="block"))


def test_images_are_brought_to_the_inputs_statistics(small_model, small_images):
    network = Network(small_model)
    visible = np.ones((16, 16), bool)
    visible[:, 12:] = False
    alike = standardize_as_input(small_images[0], network, visible)[:, :, :12]
    np.testing.assert_allclose(alike.mean((1, 2, 3)), 40, rtol=1e-4)
    np.testing.assert_allclose(alike.std((1, 2, 3)), 80, rtol=1e-4)
    means = np.concatenate(list(spatial_means(network, small_images[0], network.find("first"))))
    assert means.shape == (40, 6)


def test_given_images_settle_what_is_not_known_and_change_no_network(small_model, small_images):
    import keras
    from keras import layers

    plain = keras.Sequential([layers.Input((16, 16, 1)), layers.Conv2D(2, 3)])
    images = small_images[0]
    mine = Network(plain)
    for network in (Network.of(plain, images=images), Network.of(mine, images=images[..., 0])):
        spec = network.inputs
        np.testing.assert_allclose(spec.mean, images.mean(), rtol=1e-5)
        assert (spec.low, spec.high, spec.source) == (0.0, 255.0, "data given")
        assert not spec.bounded
    assert not mine.inputs.is_known
    assert Network.of(mine) is mine
    told = Network(plain)
    told.inputs = told.inputs.with_statistics(value_range=(0.0, 300.0))
    assert Network.of(told, images=images).inputs.high == 300.0
    told.inputs = told.inputs.with_statistics(mean=(1.0,))
    assert Network.of(told, images=images) is told
    known = Network(small_model)
    assert Network.of(known, images=images) is known


@pytest.mark.parametrize(
    "images", [np.zeros((3, 16, 16, 1)), np.ones((3, 4, 4, 1)), np.full((2, 16, 16, 1), np.nan), []]
)
def test_images_that_say_nothing_settle_nothing(images):
    import keras
    from keras import layers

    plain = keras.Sequential([layers.Input((16, 16, 1)), layers.Conv2D(2, 3)])
    assert not Network.of(plain, images=images).inputs.is_known


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        (np.array([3, 9], np.uint8), (0.0, 255.0)),
        (np.array([0.1, 0.9]), (0.0, 1.0)),
        (np.array([0.0, 200.0]), (0.0, 255.0)),
        (np.array([-1.5, 2.5]), (-1.5, 2.5)),
    ],
)
def test_the_range_of_pixels_is_a_common_one_or_their_own(values, ends):
    assert plain_range(values) == ends
