import numpy as np
import pytest

import oip
from oip.ascent import localization
from oip.core.errors import DataError, ModelError, SettingsError
from oip.network.forward import map_blocks
from oip.network.network import Network

QUICK = {"steps": 20, "screened": 32, "starts": 2}
HOSTILE = "<img src=x onerror=alert(1)>"
PATTERN = np.array([[1, -1, 1], [-1, 2, -1], [1, -1, 1]], "float32")


@pytest.fixture(scope="module")
def planted():
    """Map 0 reacts to a pattern, map 1 to nothing, map 2 to the negative pattern."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [layers.Input((14, 12, 1)), layers.Conv2D(3, 3, activation="relu", name="maps")]
    )
    kernel = np.stack([PATTERN, np.zeros((3, 3)), -PATTERN], -1)[:, :, None]
    model.get_layer("maps").set_weights([kernel, np.array([-2.0, -1.0, -2.0], "float32")])
    return model


@pytest.fixture(scope="module")
def images():
    """Faint noise; images 4 and 7 hold the pattern, 4 the stronger one."""
    outcome = np.random.default_rng(0).normal(0, 0.05, (20, 14, 12, 1)).astype("float32")
    outcome[4, 2:5, 6:9, 0] += 3 * PATTERN
    outcome[7, 9:12, 1:4, 0] += 2 * PATTERN
    return outcome


def test_the_planted_pattern_is_found_where_it_is(planted, images):
    outcome = oip.locate(
        planted, images, "maps", count=3, labels=np.arange(20)[:, None] % 2, **QUICK
    )
    assert outcome.images[0].tolist() == [4, 7, -1]
    assert outcome.nodes[0, :2].tolist() == [[2, 6], [9, 1]]
    assert outcome.boxes[0, 0].tolist() == [[2, 5], [6, 9]]
    assert outcome.excited.tolist() == pytest.approx([0.1, 0.0, 0.1])
    assert outcome.where[0, 2, 6] == outcome.where[0, 9, 1] == 0.5
    assert np.isnan(outcome.responses[0, 2])
    assert outcome.images[1].tolist() == [-1, -1, -1]
    assert outcome.labels[0].tolist() == ["0", "1", ""]
    assert outcome.match[0, 0] > 0.9
    assert outcome.match_percentile[0, 0] == 100.0
    assert np.isnan(outcome.match[1]).all()
    np.testing.assert_array_equal(outcome.pixels[0, 0], images[4])


def test_nothing_is_grown_where_no_image_excites_any_map(planted, images, monkeypatch):
    monkeypatch.setattr(localization, "node_oips", None)
    outcome = oip.locate(planted, images, "maps", [1], count=2, **QUICK)
    assert outcome.patterns is None and outcome.match is None
    assert outcome.excited.tolist() == [0.0]
    assert outcome.to_dict()["maps"][0]["places"] == []
    titles = [axes.get_title(loc="left") for axes in outcome.plot().axes]
    assert "map 1: no image gets a response" in titles


def test_the_strongest_are_those_of_all_responses(small_model, small_images, small_network):
    images = small_images[0]
    outcome = oip.locate(small_network, images, "second", "0-20", count=5, patterns=False)
    network = Network(small_model)
    layer = network.find("second")
    values = np.concatenate([part for _, part in map_blocks(network, images, layer)], 1)
    for row, number in enumerate(outcome.maps):
        best = values[:, number].max(1)
        expected = np.argsort(-best, kind="stable")[:5]
        expected = [item if best[item] > 0 else -1 for item in expected]
        assert outcome.images[row].tolist() == expected
        for index, image in enumerate(expected):
            if image >= 0:
                node = np.unravel_index(values[image, number].argmax(), layer.size)
                assert tuple(outcome.nodes[row, index]) == node
        assert outcome.excited[row] == pytest.approx((best > 0).mean())
        total = outcome.where[row].sum()
        assert total == pytest.approx(1.0 if (best > 0).any() else 0.0)


def test_batches_do_not_change_what_is_found(small_network, small_images, monkeypatch):
    whole = oip.locate(small_network, small_images[0], "second", count=4, patterns=False)
    monkeypatch.setattr(Network, "activation_bytes", lambda network, layer: 18 << 20)
    parts = oip.locate(small_network, small_images[0], "second", count=4, patterns=False)
    assert np.array_equal(whole.images, parts.images)
    assert np.array_equal(whole.nodes, parts.nodes)
    np.testing.assert_allclose(whole.responses, parts.responses, rtol=1e-5)


def test_maps_that_are_never_silent_have_places_below_zero():
    import keras
    from keras import layers

    model = keras.Sequential([layers.Input((6, 6, 1)), layers.Conv2D(1, 3, name="maps")])
    model.get_layer("maps").set_weights(
        [np.ones((3, 3, 1, 1), "float32"), np.array([-99.0], "float32")]
    )
    outcome = oip.locate(
        model, np.random.default_rng(0).random((4, 6, 6, 1)), "maps", count=2, **QUICK
    )
    assert (outcome.images >= 0).all()
    assert (outcome.responses < 0).all()
    assert outcome.excited[0] == 0.0


def test_results_show_themselves_and_names_stay_text(planted, images):
    outcome = oip.locate(
        planted, images, "maps", count=2, labels=[0] * 20, classes=[HOSTILE], **QUICK
    )
    from dataclasses import replace

    page = replace(outcome, layer=HOSTILE)._repr_html_()
    assert HOSTILE not in page
    assert "&lt;img" in page
    assert "data:image/png" in page
    assert len(outcome[2].plot().axes) == 3
    assert [item.maps[0] for item in outcome] == [0, 1, 2]
    record = outcome.to_dict()
    assert record["maps"][0]["places"][0]["image"] == 4
    assert record["maps"][1]["places"] == []
    with pytest.raises(SettingsError, match="map of"):
        outcome[9]


def test_maps_that_are_not_finite_are_no_silent_ones(planted, images):
    import keras

    model = keras.models.clone_model(planted)
    kernel, bias = planted.get_layer("maps").get_weights()
    model.get_layer("maps").set_weights([kernel, np.array([bias[0], bias[1], np.nan])])
    outcome = oip.locate(model, images, "maps", count=2, **QUICK)
    assert outcome.unusable.tolist() == [2]
    assert np.isnan(outcome.excited).tolist() == [False, False, True]
    assert outcome.images.tolist() == [[4, 7], [-1, -1], [-1, -1]]
    record = outcome.to_dict()["maps"][2]
    assert (record["excited"], record["where"], record["places"]) == (None, None, [])
    assert "not finite" in outcome._repr_html_()
    titles = [axes.get_title(loc="left") for axes in outcome.plot().axes]
    assert {"map 1: no image gets a response", "map 2: responses are not finite"} <= set(titles)
    titles = [axes.get_title() for axes in outcome.plot().axes]
    assert [f"maps:{number}, one node" in titles for number in range(3)] == [True, True, False]


def test_lines_have_places_and_oips_of_nodes(lines):
    model, data = lines
    outcome = oip.locate(model, data, "maps", [0, 1], count=2, **QUICK)
    assert outcome.boxes.shape == (2, 2, 1, 2)
    assert len(outcome.plot().axes) == 6
    assert "data:image/png" in outcome._repr_html_()
    assert "data:image/png" in outcome.patterns._repr_html_()
    moved = oip.translation(model, "maps", [0], most=3, **QUICK)
    assert len(moved.plot().axes) == 3
    for drawing in (outcome.plot(), moved.plot()):
        drawing.draw_without_rendering()
        for axes in drawing.axes:  # high enough to be seen
            assert axes.get_window_extent().height > 0.2 * axes.get_window_extent().width
        record = drawing.get_suptitle()
        assert record.count("\n") == 1
        text = next(item for item in drawing.texts if item.get_text() == record)
        extent = text.get_window_extent()
        assert extent.x0 >= 0 and extent.x1 <= drawing.bbox.width


@pytest.fixture(scope="module")
def lines():
    """A model of lines of 24 points with two bands, and such lines."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [layers.Input((24, 2)), layers.Conv1D(4, 5, activation="relu", name="maps")]
    )
    return model, np.random.default_rng(0).normal(size=(9, 24, 2)).astype("float32")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layer": "none"}, ModelError, "one of"),
        ({"maps": [3]}, SettingsError, "0 to 2"),
        ({"count": 0}, SettingsError, "count"),
        ({"images": np.zeros((2, 5, 5, 1))}, DataError, "shape"),
        ({"labels": [1, 2]}, DataError, "one for each"),
        ({"labels": np.full(20, 7), "classes": ["a"]}, DataError, "classes"),
        ({"steps": 0}, SettingsError, "steps"),
    ],
)
def test_bad_input_is_named(planted, images, change, error, message):
    arguments = {"images": images, "layer": "maps", **QUICK, **change}
    with pytest.raises(error, match=message):
        oip.locate(planted, arguments.pop("images"), arguments.pop("layer"), **arguments)


def test_more_images_than_fit_are_refused():
    """The same image 100 times, for maps of a wide layer: 1.1 GiB of images."""
    import keras
    from keras import layers

    model = keras.Sequential([layers.Input((64, 64, 1)), layers.Conv2D(700, 1, name="maps")])
    images = np.broadcast_to(np.zeros((1, 64, 64, 1), "float32"), (100, 64, 64, 1))
    with pytest.raises(SettingsError, match=r"at most 1024 MiB; .*fewer maps"):
        oip.locate(model, images, "maps", count=100, patterns=False)


def test_locations_have_a_short_representation_and_a_table(planted, images):
    result = oip.locate(planted, images, "maps", count=3, patterns=False)
    assert repr(result) == "Locations('maps': 3 maps, 3 of 20 images each; best: 0 (33.7), 2 (22))"
    table = result.to_pandas()
    assert table["map"].tolist() == [0, 0, 2, 2]
    assert table["image"].tolist()[:2] == [4, 7]
    assert table["rank"].tolist() == [1, 2, 1, 2]


def test_large_fields_are_compared_with_pixels_averaged():
    import keras
    from keras import layers

    random = np.random.default_rng(0)
    images = random.integers(0, 255, (12, 160, 160, 3)).astype(np.float32)
    cells = random.integers(0, 255, (12, 4, 4, 3))
    images[:, 40:120, 40:120] = np.kron(cells, np.ones((20, 20, 1)))
    keras.utils.set_random_seed(0)
    parts = [layers.Input((160, 160, 3)), layers.Rescaling(1 / 127.5, -1)]
    parts += [layers.Conv2D(2, 120, strides=20, name="maps")]
    outcome = oip.locate(keras.Sequential(parts), images, "maps", [0], count=3, steps=24)
    assert outcome.match is not None and outcome.patterns is not None
    assert outcome.patterns.images.shape[1] == 1
    assert np.isfinite(outcome.match).all() and np.abs(outcome.match).max() > 0.01
    patches = random.normal(size=(2, 9, 5, 1))
    reduced = localization.reduced(patches, 4)
    assert reduced.shape == (2, 2, 1, 1)
    np.testing.assert_allclose(reduced[1, 1, 0, 0], patches[1, 4:8, :4].mean(), rtol=1e-5)


@pytest.mark.parametrize("setting", ["starts", "steps"])
def test_none_of_starts_or_steps_is_refused_for_color_images_too(setting):
    import keras
    from keras import layers

    model = keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(2, 3, name="maps")])
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")
    with pytest.raises(SettingsError, match=f"{setting}: expected 1 to"):
        oip.locate(model, images, "maps", **{setting: 0})
