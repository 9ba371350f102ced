"""What feeds a unit, and which outputs it moves."""

from __future__ import annotations

import numpy as np
import pytest

from oip import mi
from oip.core.errors import ModelError, SettingsError
from oip.network.channel_graph import Channels
from oip.network.network import Network


@pytest.fixture(scope="module")
def model():
    """A planted circuit: unit 1 of `second` is 2 maps 0, less half of map 3; class 2 reads it."""
    import keras

    image = keras.Input((6, 6, 4))
    first = keras.layers.Conv2D(4, 1, activation="relu", use_bias=False, name="first")
    second = keras.layers.Conv2D(3, 1, activation="relu", use_bias=False, name="second")
    classes = keras.layers.Dense(3, activation="softmax", use_bias=False, name="classes")
    mean = keras.layers.GlobalAveragePooling2D()
    model = keras.Model(image, classes(mean(second(first(image)))))
    first.set_weights([np.eye(4, dtype=np.float32)[None, None]])
    kernel = np.zeros((1, 1, 4, 3), np.float32)
    kernel[0, 0, :, 1] = [2.0, 0.0, 0.0, -0.5]
    kernel[0, 0, 1, 0] = kernel[0, 0, 2, 2] = 1.0
    second.set_weights([kernel])
    weights = np.zeros((3, 3), np.float32)
    weights[1] = [0.0, -1.0, 3.0]
    classes.set_weights([weights])
    return model


@pytest.fixture(scope="module")
def images():
    """Images of numbers from 1 to 2, so that the circuit never falls silent."""
    return np.random.default_rng(0).uniform(1, 2, size=(60, 6, 6, 4)).astype(np.float32)


def test_a_planted_circuit_is_traced(model, images):
    result = mi.causes(model, images, "second", 1)
    whole = (2 * images[..., 0] - 0.5 * images[..., 3]).mean()
    assert result.response == pytest.approx(whole, rel=1e-5)
    effect = [whole, 0.0, 0.0, -0.5 * images[..., 3].mean()]  # without map 0 nothing is above 0
    np.testing.assert_allclose(result.effect, effect, atol=1e-5)
    np.testing.assert_allclose(result.share, np.array(effect) / whole, atol=1e-5)
    assert (result.low <= result.effect).all() and (result.effect <= result.high).all()
    np.testing.assert_allclose(result.kernel, [2.0, 0.0, 0.0, 0.5])
    assert list(result.order[:2]) == [0, 3]
    assert result.source == "first"
    np.testing.assert_allclose(result.logit_effect, [0.0, -whole, 3 * whole], rtol=1e-4, atol=1e-5)
    assert result.outputs[0] == 2


def test_a_mean_keeps_the_level(model, images):
    result = mi.causes(model, images, "second", 1, to="mean")
    np.testing.assert_allclose(result.effect, 0.0, atol=1e-4)  # linear: only the spread is lost


def test_a_layer_that_does_not_feed_the_unit_is_passed_over(images):
    import keras

    image = keras.Input((6, 6, 4))
    left = keras.layers.Conv2D(2, 1, activation="relu", name="left")(image)
    right = keras.layers.Conv2D(2, 1, activation="relu", name="right")(image)
    end = keras.layers.Conv2D(2, 1, name="end")(left)
    tail = keras.layers.Conv2D(2, 1, name="tail")(right)
    model = keras.Model(image, keras.layers.Concatenate()([end, tail]))
    result = mi.causes(model, images, "end", 0)
    assert result.source == "left"
    assert result.classes == () and result.logit_effect.size == 0
    assert not mi.causes(model, images, "end", 0, source="right").effect.any()


def test_a_direction_is_silenced_along_itself(model, images):
    from oip.network.layers import DirectionSet
    from oip.network.network import Network

    weights = np.zeros((2, 4), np.float32)
    weights[0, [0, 3]] = [0.6, 0.8]
    weights[1, 2] = 1.0
    network = Network(model)
    network = network.with_directions([DirectionSet("first", "first+nmf", 9, weights)])
    result = mi.causes(network, images, "second", 1, source="first+nmf")
    along = 0.6 * images[..., 0] + 0.8 * images[..., 3]
    left = 2 * (images[..., 0] - 0.6 * along) - 0.5 * (images[..., 3] - 0.8 * along)
    whole = 2 * images[..., 0] - 0.5 * images[..., 3]
    expected = (whole - np.maximum(0.0, left)).mean()
    np.testing.assert_allclose(result.effect, [expected, 0.0], rtol=1e-4, atol=1e-5)
    own = np.eye(3, dtype=np.float32)[[1]]
    network = network.with_directions([DirectionSet("second", "second+nmf", 9, own)])
    same, unit = (mi.causes(network, images, *of) for of in (("second+nmf", 0), ("second", 1)))
    np.testing.assert_allclose(same.effect, unit.effect, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(same.logit_effect, unit.logit_effect, rtol=1e-4, atol=1e-5)


def test_a_silent_unit_says_so(model, images):
    result = mi.causes(model, -images, "second", 1)
    assert np.isnan(result.share).all() and not result.effect.any()
    assert "does not respond to these images" in result.notices[0]
    assert "-0" not in repr(result)


def test_effects_are_compared_with_the_loss_of_the_network(model, images):
    labels = np.full(60, 2)
    labels[::4] = 1
    labels_shown = set()
    result = mi.causes(
        model,
        images,
        "second",
        1,
        labels=labels,
        progress=lambda label, *_: labels_shown.add(label),
    )
    assert "first: ablation" in labels_shown
    whole = mi.ablate(model, images, labels, "first", samples=500)
    assert whole.loss_increase[[1, 2]] == pytest.approx(0.0, abs=1e-5)
    assert -1.0 <= result.agreement <= 1.0
    assert "agreement with the loss" in result._repr_html_()
    assert result.to_dict()["agreement"] == pytest.approx(result.agreement)
    assert mi.causes(model, images, "second", 1).to_dict()["agreement"] is None


def test_results_show_themselves(model, images):
    result = mi.causes(model, images, "second", 1, classes=["cat", "dog", "owl"])
    assert "fed by first" in repr(result) and "owl" in repr(result)
    assert "effect on the logit" in result._repr_html_()
    assert list(result.to_pandas()["map"][:2]) == [0, 3]
    assert result.outputs_to_pandas()["class"][0] == "owl"
    record = result.to_dict()
    assert [unit["map"] for unit in record["units"][:2]] == [0, 3]
    assert record["outputs"][0]["class"] == "owl"


def test_heads_are_not_silenced(images):
    import keras

    image = keras.Input((6, 6, 4))
    patches = keras.layers.Conv2D(8, 3, strides=3, name="patches")(image)
    tokens = keras.layers.Reshape((4, 8))(patches)
    attention = keras.layers.MultiHeadAttention(2, 4, name="attention")(tokens, tokens)
    mean = keras.layers.GlobalAveragePooling1D()(attention)
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax", name="classes")(mean))
    result = mi.causes(model, images, "attention", 0)
    assert result.source == "patches" and result.effect.any()
    for layer in ("attention/heads", "classes"):
        with pytest.raises(ModelError, match="silencing"):
            mi.ablate(model, images, np.arange(60) % 3, layer)
    assert mi.causes(model, images, "classes", 0).source == "patches"
    result = mi.causes(model, images, "attention/heads", 1)  # fed, and what it moves left out
    assert result.source == "patches" and result.effect.any()
    assert result.classes == () and "outputs that they move" in result.notices[0]
    assert result.to_dict()["outputs"] == []


@pytest.mark.parametrize(
    ("error", "layer", "unit", "changes"),
    [
        (SettingsError, "second", 3, {}),
        (SettingsError, "second", True, {}),
        (SettingsError, "second", 0, {"to": "noise"}),
        (SettingsError, "second", 0, {"samples": 0}),
        (SettingsError, "first", 0, {"source": "second"}),
        (ModelError, "second", 0, {"source": "none"}),
        (ModelError, "none", 0, {}),
        (ModelError, "first", 0, {}),
    ],
)
def test_bad_input(model, images, error, layer, unit, changes):
    with pytest.raises(error):
        mi.causes(model, images, layer, unit, **changes)


def test_the_source_is_searched_among_recurrent_layers_too():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    steps = [layers.Input((8, 8, 1)), layers.Conv2D(3, 3, name="conv"), layers.Reshape((6, 18))]
    steps += [layers.LSTM(5, name="memory"), layers.Dense(4, name="hidden"), layers.Dense(2)]
    network = Network(keras.Sequential(steps))
    images = np.random.default_rng(0).random((24, 8, 8, 1), np.float32)
    assert mi.causes(network, images, "hidden", 0, samples=20).source == "memory"
    reason = Channels.of(network).why_whole(network, network.find("memory"))
    assert reason == "recurrent layers are not made smaller"
