import io

import numpy as np
import pytest

import oip
from oip.core import plots
from oip.core.errors import DataError, ModelError, SettingsError
from oip.network.network import Network
from oip.network.response_plots import BETWEEN, COLORS, MapGrid, scale_limits, scaled
from oip.network.responses import MOST, overview


@pytest.fixture(scope="module")
def found(small_model, small_images):
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


def test_shapes_and_names(found, small_model, small_images):
    assert found.values.shape == (3, 70, 5, 5)
    assert (found.layer, found.index, found.kind, found.what) == ("second", 1, "Conv2D", "maps")
    units = oip.responses(small_model, small_images[0][0], small_model.layers[-1].name)
    assert units.values.shape == (1, 4)
    assert units.planes.shape == (1, 4, 1, 1)
    assert units.what == "units"
    assert np.allclose(units.values.sum(), 1.0, atol=1e-5)
    some = oip.responses(small_model, small_images[0][:3], "second", maps=[3, 60])
    assert np.allclose(some.values, found.values[:, [3, 60]])
    pooled = oip.responses(small_model, small_images[0][:3], "first", at="block")
    assert pooled.layer == "pool"
    told = found.to_dict()
    assert (told["maps"], told["size"], told["images"]) == (70, [5, 5], ["a", "b", "c"])
    assert told["largest"] == pytest.approx(found.values.max())


def test_many_images_come_in_batches_and_equal_one_run(small_model, small_images, monkeypatch):
    images = np.concatenate([small_images[0]] * 2)
    whole = oip.responses(small_model, images, "second").values
    monkeypatch.setattr(Network, "activation_bytes", lambda network: 40 << 20)
    parts = oip.responses(small_model, images, "second").values
    assert np.allclose(whole, parts, atol=1e-5)


def test_orders(found):
    assert found.ordered().tolist() == list(range(70))
    assert found.ordered([60, 3]).tolist() == [60, 3]
    assert found.ordered(_Order([5, 0, 4], 1)).tolist() == [5, 0, 4]
    for wrong, word in (
        (_Order([5, 0, 4], 0), "layer 'other'"),
        ([0, 70], "70"),
        ([], "received"),
        ([0.5], "map numbers"),
        ("mutual", "map numbers"),
        ([[1], [2]], "maps of 0 to 69"),
    ):
        with pytest.raises(SettingsError, match=word):
            found.ordered(wrong)


def test_the_picture_holds_every_node_in_its_place(found):
    order = np.random.default_rng(0).permutation(70)
    picture = found.picture(1, order=order, columns=9)
    grid = MapGrid.of(70, (5, 5), 9)
    assert picture.shape == (*grid.shape, 3)
    largest = found.values.max()
    assert found.values.min() == 0.0
    for place, number in enumerate(order):
        top, left = place // 9 * 6, place % 9 * 6
        wanted = found.values[1, number] / largest * 255
        tile = picture[top : top + 5, left : left + 5].astype(float)
        assert np.abs(tile - wanted[..., None]).max() < 2.0
    assert (picture[5, :] == _rgb(BETWEEN)).all()
    assert (picture[-1, -1] == _rgb(BETWEEN)).all()  # the last row is not full


def test_scales():
    planes = np.zeros((2, 3, 2, 2))
    planes[0, 0, 0, 0] = 4.0
    planes[1, 1] = [[-1.0, 0.0], [1.0, 0.5]]
    low, high = scale_limits(planes, "own")
    assert low.ravel().tolist() == [0.0, -1.0, 0.0]
    assert high.ravel().tolist() == [4.0, 1.0, 0.0]
    assert scaled(planes, "own")[1, 1].tolist() == [[0.0, 0.5], [1.0, 0.75]]
    assert (scaled(planes, "own")[:, 2] == 0.0).all()
    assert scaled(planes, "shared")[1, 1].tolist() == [[0.0, 0.2], [0.4, 0.3]]
    units = np.array([[[[1.0]], [[4.0]]]])
    assert scaled(units, "own").ravel().tolist() == [0.25, 1.0]
    planes[0, 0, 0, 1] = np.nan
    planes[0, 0, 1, 1] = np.inf
    assert np.isnan(scaled(planes, "shared")[0, 0]).tolist() == [[False, True], [False, True]]
    assert scaled(planes, "shared")[0, 0, 0, 0] == 1.0


@pytest.mark.parametrize("colour", list(COLORS))
def test_figures_show_the_colours_of_the_scale_and_the_marks(found, colour):
    from matplotlib import colormaps

    marks = np.zeros((70, 5, 5), bool)
    marks[3, 1, 2] = True
    few = found.first(1)
    shown = _pixels(few.plot(order=[3, 4], color=colour, scale="own", marks=marks))
    bare = _pixels(few.plot(order=[3, 4], color=colour, scale="own"))
    frame = (np.abs(shown - _rgb(plots.PALETTE[1])) <= 2).all(axis=2)
    assert frame.any()
    assert not (np.abs(bare - _rgb(plots.PALETTE[1])) <= 2).all(axis=2).any()
    top = np.array(colormaps[COLORS[colour]](1.0)[:3]) * 255
    assert (np.abs(bare - top) <= 2).all(axis=2).any()


def test_a_frame_is_around_its_node_and_shared_by_neighbours():
    from matplotlib.figure import Figure

    def edges(marked):
        grid = MapGrid.of(2, (3, 4), 2, 1.0)
        axes = Figure().subplots()
        grid.mark(axes, marked)
        (lines,) = axes.collections
        return grid, np.array(lines.get_segments())

    marked = np.zeros((2, 3, 4), bool)
    marked[1, 2, 1] = True
    grid, found = edges(marked)
    assert len(found) == 4
    column, row = found.reshape(-1, 2).min(axis=0) + 0.5
    left = 4 * grid.zoom + grid.gap
    assert (row, column) == (2 * grid.zoom, left + grid.zoom)
    assert np.ptp(found.reshape(-1, 2), axis=0).tolist() == [grid.zoom, grid.zoom]
    marked[1, 2, 2] = True
    assert len(edges(marked)[1]) == 6


def test_numbers_stand_over_wide_maps_and_before_rows_of_narrow_ones():
    from matplotlib.figure import Figure

    for inches, wanted in ((4.0, ["7", "$x", "9", "1"]), (0.4, ["7", "9"])):
        axes = Figure().subplots()
        grid = MapGrid.of(4, (3, 3), 2, inches)
        grid.number(axes, ["7", "$x", "9", "1"])
        assert [text.get_text().replace("\\", "") for text in axes.texts] == wanted


def test_all_layers_on_one_page(small_model, small_images):
    parts = [oip.responses(small_model, small_images[0][:1], name) for name in ("first", "pool")]
    figure = overview(parts, [[2, 1], None], "viridis")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[1:3] == ["first: 2 maps of 14 x 14", "pool: 6 maps of 7 x 7"]
    assert len(np.unique(_pixels(figure).reshape(-1, 3), axis=0)) > 100
    for wrong in ([], parts * MOST):
        with pytest.raises(SettingsError, match="1 to 16"):
            overview(wrong, [None] * len(wrong))


def test_notebooks_show_names_as_text(found):
    from dataclasses import replace

    shown = replace(
        found, layer="<script>alert(1)</script>", titles=("<b>", "b", "c")
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
    found = oip.responses(model, small_images[0][:2], "first")
    assert found.unusable.tolist() == [2]
    assert found.to_dict()["not_finite"] == [2]
    assert (found.picture(0, columns=6)[:, 2 * 15 : 2 * 15 + 14] == _rgb(BETWEEN)).all()
    # Nor does pooling make numbers of NaN.
    for layer, at in (("pool", "response"), ("first", "block")):
        pooled = oip.responses(model, small_images[0][:2], layer, at=at)
        assert pooled.unusable.tolist() == [2]
        assert np.isfinite(pooled.values[:, pooled.maps != 2]).all()
    model.get_layer("first").set_weights([kernel, bias * np.nan])
    with pytest.raises(DataError, match="finite numbers"):
        oip.responses(model, small_images[0][:2], "first")


def test_lines_of_any_length_come_alone_or_together():
    import keras
    from keras import layers

    model = keras.Sequential([layers.Input((None, 2)), layers.Conv1D(4, 5, name="maps")])
    lines = np.random.default_rng(0).normal(size=(3, 40, 2))
    found = oip.responses(model, lines, "maps")
    assert found.values.shape == (3, 4, 36)
    assert np.allclose(oip.responses(model, lines[1], "maps").values, found.values[1:2])
    assert found.plot().axes


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        ({"layer": "thrid"}, ModelError, "layer with maps or units"),
        ({"maps": [70]}, SettingsError, "0 to 69"),
        ({"titles": ["one"]}, SettingsError, "one an image"),
        ({"byte_budget": 1000}, SettingsError, "fewer images"),
        ({"images": np.zeros((2, 9, 9, 1))}, DataError, "shape"),
        ({"images": np.full((2, 16, 16, 1), np.nan)}, DataError, "finite"),
    ],
)
def test_bad_input(small_model, small_images, change, kind, word):
    asked = {"model": small_model, "images": small_images[0][:2], "layer": "second", **change}
    with pytest.raises(kind, match=word):
        oip.responses(**asked)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"color": "jet"}, "grey or viridis"),
        ({"scale": "log"}, "shared or own"),
        ({"columns": 0}, "columns"),
        ({"across": 0}, "side by side"),
        ({"marks": np.zeros((2, 5, 5), bool)}, "marks"),
    ],
)
def test_bad_pictures(found, change, word):
    with pytest.raises(SettingsError, match=word):
        found.plot(**change)
    with pytest.raises(SettingsError, match="0 to 2"):
        found.picture(3)


def test_one_dimensional_models():
    import keras
    from keras import layers

    model = keras.Sequential([layers.Input((20, 2)), layers.Conv1D(3, 5, name="line")])
    found = oip.responses(model, np.random.default_rng(0).normal(size=(2, 20, 2)), "line")
    assert found.values.shape == (2, 3, 16)
    assert found.planes.shape == (2, 3, 1, 16)
    _pixels(found.plot(scale="own"))
