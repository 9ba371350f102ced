"""The responses of layers to images, as values and as figures."""

import io

import numpy as np
import pytest

import oip
from oip.core import plots
from oip.core.errors import DataError, ModelError, SettingsError
from oip.network.network import Network
from oip.network.response_plots import BETWEEN, COLORS, MapGrid
from oip.network.responses import MOST, overview


@pytest.fixture(scope="module")
def result(small_model, small_images):
    return oip.responses(small_model, small_images[0][:3], "second", titles=["a", "b", "c"])


def _pixels(figure):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(plots.encoded(figure))).convert("RGB")).astype(int)


def _rgb(colour):
    from matplotlib.colors import to_rgb

    return np.round(np.array(to_rgb(colour)) * 255)


class _Order:
    """As a ranking has it."""

    layer = "other"

    def __init__(self, order, index):
        self.order = np.array(order)
        self.index = index


def test_shapes_and_names(result, small_model, small_images):
    assert result.values.shape == (3, 70, 5, 5)
    assert (result.layer, result.index, result.layer_class, result.nouns) == (
        "second",
        1,
        "Conv2D",
        "maps",
    )
    units = oip.responses(small_model, small_images[0][0], small_model.layers[-1].name)
    assert units.values.shape == (1, 4)
    assert units.planes.shape == (1, 4, 1, 1)
    assert units.nouns == "units"
    assert np.allclose(units.values.sum(), 1.0, atol=1e-5)
    responses = oip.responses(small_model, small_images[0][:3], "second", maps=[3, 60])
    assert np.allclose(responses.values, result.values[:, [3, 60]])
    pooled = oip.responses(small_model, small_images[0][:3], "first", at="block")
    assert pooled.layer == "pool"
    table = result.to_pandas()
    assert len(table) == 3 * 70
    row = table[table["map"] == result.maps[60]].iloc[2]
    assert row["image"] == result.titles[2]
    values = result.values[2, 60]
    assert np.allclose([row["largest"], row["mean"]], [values.max(), values.mean()])
    record = result.to_dict()
    assert (record["maps"], record["size"], record["images"]) == (70, [5, 5], ["a", "b", "c"])
    assert record["largest"] == pytest.approx(result.values.max())


def test_many_images_come_in_batches_and_equal_one_run(small_model, small_images, monkeypatch):
    images = np.concatenate([small_images[0]] * 2)
    whole = oip.responses(small_model, images, "second").values
    monkeypatch.setattr(Network, "activation_bytes", lambda network: 40 << 20)
    parts = oip.responses(small_model, images, "second").values
    assert np.allclose(whole, parts, atol=1e-5)


def test_orders(result):
    assert result.ordered().tolist() == list(range(70))
    assert result.ordered([60, 3]).tolist() == [60, 3]
    assert result.ordered(_Order([5, 0, 4], 1)).tolist() == [5, 0, 4]
    for order, word in (
        (_Order([5, 0, 4], 0), "layer 'other'"),
        ([0, 70], "70"),
        ([], "received"),
        ([0.5], "map numbers"),
        ([True] + [False] * 69, "map numbers"),
        ("mutual", "map numbers"),
        ([[1], [2]], "maps of 0 to 69"),
    ):
        with pytest.raises(SettingsError, match=word):
            result.ordered(order)


def test_the_picture_holds_every_node_in_its_place(result):
    order = np.random.default_rng(0).permutation(70)
    picture = result.picture(1, order=order, columns=9)
    grid = MapGrid.of(70, (5, 5), 9)
    assert picture.shape == (*grid.shape, 3)
    largest = result.values.max()
    assert result.values.min() == 0.0
    for index, number in enumerate(order):
        top, left = index // 9 * 6, index % 9 * 6
        correct = result.values[1, number] / largest * 255
        tile = picture[top : top + 5, left : left + 5].astype(float)
        assert np.abs(tile - correct[..., None]).max() < 2.0
    assert (picture[5, :] == _rgb(BETWEEN)).all()
    assert (picture[-1, -1] == _rgb(BETWEEN)).all()  # the last row is not full


@pytest.mark.parametrize("colour", list(COLORS))
def test_figures_show_the_colours_of_the_scale_and_the_marks(result, colour):
    from matplotlib import colormaps

    marks = np.zeros((70, 5, 5), bool)
    marks[3, 1, 2] = True
    few = result.first(1)
    shown = _pixels(few.plot(order=[3, 4], color=colour, scale="own", marks=marks))
    bare = _pixels(few.plot(order=[3, 4], color=colour, scale="own"))
    frame = (np.abs(shown - _rgb(plots.PALETTE[1])) <= 2).all(axis=2)
    assert frame.any()
    assert not (np.abs(bare - _rgb(plots.PALETTE[1])) <= 2).all(axis=2).any()
    top = np.array(colormaps[COLORS[colour]](1.0)[:3]) * 255
    assert (np.abs(bare - top) <= 2).all(axis=2).any()


def test_all_layers_on_one_page(small_model, small_images):
    parts = [oip.responses(small_model, small_images[0][:1], name) for name in ("first", "pool")]
    figure = overview(parts, [[2, 1], None], "viridis")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[1:3] == ["first: 2 maps of 14 x 14", "pool: 6 maps of 7 x 7"]
    assert len(np.unique(_pixels(figure) @ (1 << 16, 1 << 8, 1))) > 100  # colors
    for results in ([], parts * MOST):
        with pytest.raises(SettingsError, match="1 to 16"):
            overview(results, [None] * len(results))


def test_notebooks_show_names_as_text(result):
    from dataclasses import replace

    shown = replace(
        result, layer="<script>alert(1)</script>", titles=("<b>", "b", "c")
    )._repr_html_()
    assert "<script>" not in shown
    assert "data:image/png;base64," in shown


def test_maps_that_are_not_finite_are_empty_and_all_of_them_an_error(small_model, small_images):
    import keras

    model = keras.models.clone_model(small_model)
    model.set_weights(small_model.get_weights())
    kernel, bias = model.get_layer("first").get_weights()
    bias[2] = np.nan
    model.get_layer("first").set_weights([kernel, bias])
    result = oip.responses(model, small_images[0][:2], "first")
    assert result.unusable.tolist() == [2]
    assert result.to_dict()["not_finite"] == [2]
    assert (result.picture(0, columns=6)[:, 2 * 15 : 2 * 15 + 14] == _rgb(BETWEEN)).all()
    # Nor does pooling make numbers of NaN.
    for layer, at in (("pool", "response"), ("first", "block")):
        pooled = oip.responses(model, small_images[0][:2], layer, at=at)
        assert pooled.unusable.tolist() == [2]
        assert np.isfinite(pooled.values[:, pooled.maps != 2]).all()
    model.get_layer("first").set_weights([kernel, bias * np.nan])
    with pytest.raises(DataError, match="finite numbers"):
        oip.responses(model, small_images[0][:2], "first")


def test_gray_images_come_without_bands_as_keras_loads_them(small_model, small_images):
    images = small_images[0][:3]
    expected = oip.responses(small_model, images, "second").values
    assert np.array_equal(oip.responses(small_model, images[..., 0], "second").values, expected)
    for image in (images[0, ..., 0], images[0]):
        values = oip.responses(small_model, image, "second").values
        assert values.shape[0] == 1 and np.allclose(values, expected[:1], atol=1e-6)


def test_lines_of_any_length_come_alone_or_together():
    import keras
    from keras import layers

    model = keras.Sequential([layers.Input((None, 2)), layers.Conv1D(4, 5, name="maps")])
    lines = np.random.default_rng(0).normal(size=(3, 40, 2))
    result = oip.responses(model, lines, "maps")
    assert result.values.shape == (3, 4, 36)
    assert np.allclose(oip.responses(model, lines[1], "maps").values, result.values[1:2])
    assert result.plot().axes


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        ({"layer": "thrid"}, ModelError, "layer: expected one of first, second"),
        ({"maps": [70]}, SettingsError, "0 to 69"),
        ({"titles": ["one"]}, SettingsError, "one per image"),
        ({"byte_budget": 1000}, SettingsError, "fewer images"),
        ({"images": np.zeros((2, 9, 9, 1))}, DataError, "shape"),
        ({"images": np.full((2, 16, 16, 1), np.nan)}, DataError, "finite"),
        ({"images": (np.zeros((2, 16, 16, 1)), np.zeros(2))}, DataError, "of one shape"),
        ({"images": np.ma.masked_equal(np.zeros((2, 16, 16, 1)), 0)}, DataError, "masked"),
        ({"model": "a\0b"}, ModelError, "no such file"),
        ({"model": str}, ModelError, "a Keras model or a path; received type"),
    ],
)
def test_bad_input(small_model, small_images, change, kind, word):
    arguments = {"model": small_model, "images": small_images[0][:2], "layer": "second", **change}
    with pytest.raises(kind, match=word):
        oip.responses(**arguments)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"color": "hot"}, "jet"),
        ({"scale": "log"}, "shared or own"),
        ({"columns": 0}, "columns"),
        ({"across": 0}, "side by side"),
        ({"marks": np.zeros((2, 5, 5), bool)}, "marks"),
    ],
)
def test_bad_pictures(result, change, word):
    with pytest.raises(SettingsError, match=word):
        result.plot(**change)
    with pytest.raises(SettingsError, match="0 to 2"):
        result.picture(3)


def test_one_dimensional_models():
    import keras
    from keras import layers

    model = keras.Sequential([layers.Input((20, 2)), layers.Conv1D(3, 5, name="line")])
    result = oip.responses(model, np.random.default_rng(0).normal(size=(2, 20, 2)), "line")
    assert result.values.shape == (2, 3, 16)
    assert result.planes.shape == (2, 3, 1, 16)
    _pixels(result.plot(scale="own"))


def test_a_short_text_names_the_largest_maps(result):
    peaks = result.planes.max(axis=(0, 2, 3))
    text = repr(result)
    assert text.startswith("Responses('second', 70 maps, 3 images, largest of maps ")
    assert f"{peaks.argmax()} ({peaks.max():.3g})" in text
    assert len(text) < 120
