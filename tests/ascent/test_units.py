"""OIPs of units of any layer, with planted truth."""

import numpy as np
import pytest

import oip
from oip import models
from oip.network.network import Network

QUICK = {"steps": 12, "screened": 8, "starts": 1, "snapshots": 0, "progress": lambda *_: None}


def patch_copier():
    """A vision transformer whose residual stream holds one patch: row 1, column 2."""
    model = models.build(
        "vit-pooled", (12, 16, 1), 3, patch=4, width=6, heads=2, blocks=1, mean=[0.0], std=[1.0]
    )
    scale, bias = model.get_layer("Positions").get_weights()
    scale[:] = 0.0
    scale[1 * 4 + 2] = 1.0
    model.get_layer("Positions").set_weights([scale, 0.0 * bias])
    for name in ("Attention_1", "Dense_1b"):
        layer = model.get_layer(name)
        layer.set_weights([0.0 * weight for weight in layer.get_weights()])
    return model


@pytest.mark.parametrize("name", ["Positions", "Add_1a", "Add_1b"])
def test_a_channel_that_copies_a_patch_has_its_pattern_there(name):
    oips = oip.reconstruct(Network(patch_copier()), name, [0], **QUICK)
    expected = np.zeros((12, 16), bool)
    expected[4:8, 8:12] = True
    np.testing.assert_array_equal(oips.visible, expected)
    assert oips.images[0, 0][expected].std() > 0
    assert not oips.images[0, 0][~expected].std()


def test_a_dense_unit_that_copies_pixels_has_its_pattern_there():
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(2, activation="relu", name="hidden"),
            layers.Dense(2, activation="softmax", name="classes"),
        ]
    )
    kernel = np.zeros((8, 8, 2), np.float32)
    kernel[2:4, 2:6, 0], kernel[4:6, 2:6, 0], kernel[2:6, 2:6, 1] = 1.0, -1.0, -1.0
    model.get_layer("hidden").set_weights([kernel.reshape(64, 2), np.zeros(2)])
    oips = oip.reconstruct(Network(model), "hidden", **QUICK)
    image = oips.images[0, 0, :, :, 0].astype(float)
    inside = np.zeros((8, 8), bool)
    inside[2:6, 2:6] = True
    np.testing.assert_array_equal(oips.visible, inside)
    assert image[2:4, 2:6].mean() > image[4:6, 2:6].mean() + 1
    assert (oips.layer, oips.scores.shape) == ("hidden", (2, 1))
    assert repr(oips).startswith("Oips('hidden': 2 units, ") and "unit 0" in repr(oips[0])
    assert "unit 1" in oips._repr_html_() and "map" not in oips._repr_html_()
    assert "map" not in oips[1]._repr_html_()
    top = oip.reconstruct(Network(model), "classes", [1], **QUICK)
    assert np.isfinite(top.scores).all()


def test_a_head_grows_what_it_writes():
    model = models.build("vit", (8, 8, 1), 3, patch=4, width=4, heads=2, blocks=1)
    attention = model.get_layer("Attention_1")
    value = attention._value_dense.kernel
    values = value.numpy().copy()
    values[:, 1] = 0.0  # the second head writes nothing, but for its bias, which is zero
    value.assign(values)
    oips = oip.reconstruct(Network(model), "Attention_1/heads", **QUICK)
    assert oips.scores[0, 0] > oips.screened_scores[0] > 0
    assert oips.scores[1, 0] == pytest.approx(0.0, abs=1e-5)


def test_units_are_located_as_wholes_and_tokens_by_their_index():
    network = Network(patch_copier())
    images = np.random.default_rng(0).normal(size=(6, 12, 16, 1)).astype(np.float32)
    tokens = oip.locate(network, images, "Add_1b", [0], count=2, patterns=False)
    assert tokens.nodes.shape == (1, 2, 2) and tokens.boxes.shape == (1, 2, 2, 2)
    units = oip.locate(network, images, "Pooled", [0, 3], count=2, patterns=True, starts=1, steps=4)
    assert units.nodes.shape == (2, 2, 0)
    np.testing.assert_array_equal(units.boxes[0, 0], [[0, 12], [0, 16]])
