from dataclasses import replace

import numpy as np
import pytest

import oip
from oip.core.errors import ModelError, SettingsError

QUICK = {"steps": 30, "screened": 32, "starts": 2}
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def model():
    """12 random 5 x 5 patterns behind a pooling: a jump of 2."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)
    made = keras.Sequential(
        [
            layers.Input((20, 20, 1)),
            layers.AveragePooling2D(2, name="pool"),
            layers.Conv2D(12, 4, activation="relu", name="maps"),
        ]
    )
    kernel = np.random.default_rng(0).normal(size=(4, 4, 1, 12))
    made.get_layer("maps").set_weights([kernel, np.zeros(12)])
    return made


@pytest.fixture(scope="module")
def result(model):
    return oip.translation(model, "maps", maps=[3, 7], **QUICK)


def test_oips_move_with_their_node_by_the_jump(result):
    assert result.nodes.shape == (9, 2)
    assert result.nodes[result.reference].tolist() == [3, 3]
    truth = (result.nodes - result.nodes[result.reference]) * 2
    assert np.array_equal(result.expected, truth)
    assert np.array_equal(result.shift[0], truth)
    assert np.array_equal(result.shift[1], truth)
    rest = np.arange(9) != result.reference
    assert (result.agreement == 1.0).all()
    assert result.aligned.min() > 0.9
    assert result.unmoved[:, rest].max() < 0.6
    assert (result.percentile == 100.0).all()
    assert np.isfinite(result.null).sum(1).tolist() == [11, 11]


def test_images_are_zero_where_the_node_does_not_look(result):
    for index, box in enumerate(result.boxes.astype(int)):
        inside = np.zeros((20, 20), bool)
        inside[box[0, 0] : box[0, 1], box[1, 0] : box[1, 1]] = True
        assert not result.images[:, index][:, :, ~inside].any()
        assert result.images[:, index][:, :, inside].any()


def test_named_nodes_begin_with_the_reference(model):
    record = oip.translation(model, "maps", maps=[3], nodes=[(0, 0), (0, 5)], **QUICK)
    assert record.reference == 0
    assert record.shift[0].tolist() == [[0, 0], [0, 10]]


def test_a_dead_map_has_no_shift(model):
    import keras

    dead = keras.models.clone_model(model)
    kernel, bias = model.get_layer("maps").get_weights()
    kernel[..., 1], bias[1] = 0.0, -1.0
    dead.get_layer("maps").set_weights([kernel, bias])
    record = oip.translation(dead, "maps", maps=[1], most=1, **QUICK)
    assert np.isnan(record.shift).all()
    assert np.isnan(record.aligned).all()
    assert record.to_dict()["maps"][0]["nodes"][0]["aligned"] is None
    assert record._repr_html_().count("<td>-</td>") == 5
    assert record.plot().axes[0].get_title() == "1 @ 3,3, reference\nstarts -"


def test_few_maps_give_no_percentile():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    few = keras.Sequential([layers.Input((10, 10, 1)), layers.Conv2D(2, 3, name="maps")])
    record = oip.translation(few, "maps", maps=[0], most=4, **QUICK)
    assert np.isnan(record.percentile).all()
    assert record.null.shape == (1, 1)


def test_results_show_themselves_and_names_stay_text(result):
    page = replace(result, layer=HOSTILE)._repr_html_()
    assert HOSTILE not in page
    assert "&lt;img" in page
    assert len(result[7].plot().axes) == 9
    assert [item.maps[0] for item in result] == [3, 7]
    record = result.to_dict()
    assert record["maps"][1]["map"] == 7
    assert record["maps"][0]["n_null"] == 11
    with pytest.raises(SettingsError, match="map of"):
        result[0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layer": "none"}, ModelError, "one of"),
        ({"maps": [12]}, SettingsError, "0 to 11"),
        ({"nodes": [(9, 9)]}, SettingsError, "7 x 7"),
        ({"most": 0}, SettingsError, "most"),
        ({"starts": "4"}, SettingsError, "starts"),
        ({"stepz": 3}, SettingsError, "Did you mean"),
    ],
)
def test_bad_input_is_named(model, change, error, message):
    arguments = {"layer": "maps", "maps": [0], **QUICK, **change}
    with pytest.raises(error, match=message):
        oip.translation(model, arguments.pop("layer"), **arguments)


def test_translations_have_a_short_representation_and_a_table(result):
    assert repr(result).startswith("Translations('maps': 2 maps, 9 nodes, ")
    table = result.to_pandas()
    assert len(table) == 2 * 9
    assert table["aligned"].tolist() == pytest.approx(result.aligned.ravel().tolist(), nan_ok=True)
