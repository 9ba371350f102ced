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
def found(model):
    return oip.translation(model, "maps", maps=[3, 7], **QUICK)


def test_oips_move_with_their_node_by_the_jump(found):
    assert found.nodes.shape == (9, 2)
    assert found.nodes[found.reference].tolist() == [3, 3]
    wanted = (found.nodes - found.nodes[found.reference]) * 2
    assert np.array_equal(found.expected, wanted)
    assert np.array_equal(found.shift[0], wanted)
    assert np.array_equal(found.shift[1], wanted)
    others = np.arange(9) != found.reference
    assert (found.agreement == 1.0).all()
    assert found.aligned.min() > 0.9
    assert found.unmoved[:, others].max() < 0.6
    assert (found.percentile == 100.0).all()
    assert np.isfinite(found.null).sum(1).tolist() == [11, 11]


def test_images_are_zero_where_the_node_does_not_look(found):
    for place, box in enumerate(found.boxes.astype(int)):
        inside = np.zeros((20, 20), bool)
        inside[box[0, 0] : box[0, 1], box[1, 0] : box[1, 1]] = True
        assert not found.images[:, place][:, :, ~inside].any()
        assert found.images[:, place][:, :, inside].any()


def test_named_nodes_begin_with_the_reference(model):
    told = oip.translation(model, "maps", maps=[3], nodes=[(0, 0), (0, 5)], **QUICK)
    assert told.reference == 0
    assert told.shift[0].tolist() == [[0, 0], [0, 10]]


def test_a_dead_map_has_no_shift(model):
    import keras

    dead = keras.models.clone_model(model)
    kernel, bias = model.get_layer("maps").get_weights()
    kernel[..., 1], bias[1] = 0.0, -1.0
    dead.get_layer("maps").set_weights([kernel, bias])
    told = oip.translation(dead, "maps", maps=[1], most=1, **QUICK)
    assert np.isnan(told.shift).all()
    assert np.isnan(told.aligned).all()
    assert told.to_dict()["maps"][0]["nodes"][0]["aligned"] is None
    assert told._repr_html_().count("<td>-</td>") == 5
    assert told.plot().axes[0].get_title() == "1 @ 3,3, reference\nstarts -"


def test_few_maps_give_no_percentile():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    few = keras.Sequential([layers.Input((10, 10, 1)), layers.Conv2D(2, 3, name="maps")])
    told = oip.translation(few, "maps", maps=[0], most=4, **QUICK)
    assert np.isnan(told.percentile).all()
    assert told.null.shape == (1, 1)


def test_results_show_themselves_and_names_stay_text(found):
    page = replace(found, layer=HOSTILE)._repr_html_()
    assert HOSTILE not in page
    assert "&lt;img" in page
    assert len(found[7].plot().axes) == 9
    assert [one.maps[0] for one in found] == [3, 7]
    told = found.to_dict()
    assert told["maps"][1]["map"] == 7
    assert told["maps"][0]["n_null"] == 11
    with pytest.raises(SettingsError, match="map of"):
        found[0]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"layer": "none"}, ModelError, "one of"),
        ({"maps": [12]}, SettingsError, "0 to 11"),
        ({"nodes": [(9, 9)]}, SettingsError, "7 x 7"),
        ({"most": 0}, SettingsError, "most"),
        ({"starts": "4"}, SettingsError, "starts"),
        ({"stepz": 3}, SettingsError, "Did you mean"),
    ],
)
def test_bad_input_is_named(model, change, error, words):
    asked = {"layer": "maps", "maps": [0], **QUICK, **change}
    with pytest.raises(error, match=words):
        oip.translation(model, asked.pop("layer"), **asked)


def test_translations_have_a_short_representation_and_a_table(found):
    assert repr(found).startswith("Translations('maps': 2 maps, 9 nodes, ")
    table = found.to_pandas()
    assert len(table) == 2 * 9
    assert table["aligned"].tolist() == pytest.approx(found.aligned.ravel().tolist(), nan_ok=True)
