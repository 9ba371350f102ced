import json

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, ModelError, SettingsError


@pytest.fixture(scope="module")
def light():
    """80 dark and bright images of 4 x 4."""
    labels = np.arange(80) % 2
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (80, 4, 4, 1))
    return (labels[:, None, None, None] * 2.0 - 1 + noise).astype(np.float32), labels


def planted(units=2, last="softmax"):
    """Map 0 tells bright from dark; 1 is silent; 2 copies 0 but is not used; 3 has no weight."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((4, 4, 1)),
            layers.Conv2D(4, 4, name="seen"),
            layers.Flatten(),
            layers.Dense(units, activation=None if last == "apart" else last, name="told"),
            *([layers.Activation("sigmoid")] if last == "apart" else []),
        ]
    )
    kernel = np.zeros((4, 4, 1, 4), np.float32)
    kernel[..., 0] = kernel[..., 2] = 1 / 16
    kernel[0, 0, 0, 3] = 1
    model.get_layer("seen").set_weights([kernel, np.zeros(4)])
    weights = np.zeros((4, units), np.float32)
    weights[0] = [-2, 2] if units == 2 else [4]
    model.get_layer("told").set_weights([weights, np.zeros(units)])
    return model


@pytest.mark.parametrize("to", ["zero", "mean"])
@pytest.mark.parametrize(
    ("units", "last"), [(2, "softmax"), (2, None), (1, "sigmoid"), (1, None), (1, "apart")]
)
def test_only_the_map_that_is_used_is_missed(light, to, units, last):
    model = planted(units, last)
    before = [weight.copy() for weight in model.get_weights()]
    ablation = mi.ablate(model, *light, "seen", to=to, split="x:y")
    odds = 4 * light[0].mean(axis=(1, 2, 3)) * (2 * light[1] - 1)
    assert ablation.loss == pytest.approx(np.log2(1 + np.exp(-odds)).mean(), rel=1e-5)
    assert ablation.accuracy == 1.0
    # Without the map both classes are equally likely, up to what the mean of the noise adds.
    assert ablation.loss + ablation.loss_increase[0] == pytest.approx(
        1.0, abs=1e-6 if to == "zero" else 1e-3
    )
    assert ablation.accuracy_drop[0] == pytest.approx(0.5)
    assert np.abs(ablation.loss_increase[1:]).max() < 1e-6
    assert (ablation.accuracy_drop[1:] == 0).all()
    assert ablation.order[0] == 0
    assert ablation.low[0] < ablation.loss_increase[0] < ablation.high[0]
    assert all(
        (weights == other).all() for weights, other in zip(before, model.get_weights(), strict=True)
    )


def branching():
    """A residual path past the layer, normalisation before its activation, and pooling."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    images = keras.Input((16, 16, 1))
    first = layers.Conv2D(5, 3, padding="same", activation="relu", name="first")(images)
    values = layers.Conv2D(5, 3, padding="same", name="second")(first)
    values = layers.BatchNormalization(name="normal")(values)
    values = layers.Activation("relu", name="active")(values)
    values = layers.MaxPooling2D(4)(layers.Add()([values, first]))
    outputs = layers.Dense(4, activation="softmax")(layers.Flatten()(values))
    return keras.Model(images, outputs)


def loss_of(model, images, labels):
    probabilities = model(images, training=False).numpy()[np.arange(len(labels)), labels]
    return -np.log2(probabilities).mean()


@pytest.mark.parametrize("layer", ["first", "second"])
def test_it_is_the_loss_of_a_network_whose_weights_say_nothing(layer, small_images):
    images, labels = small_images
    images = images / 255.0
    model = branching()
    ablation = mi.ablate(model, images, labels, layer, maps=[0, 3])
    assert ablation.loss == pytest.approx(loss_of(model, images, labels), abs=1e-5)
    changed = model.get_layer("first" if layer == "first" else "normal")
    kept = changed.get_weights()
    for index, number in enumerate(ablation.maps):
        weights = [weight.copy() for weight in kept]
        for weight in weights[:2]:
            weight[..., number] = 0
        changed.set_weights(weights)
        expected = loss_of(model, images, labels) - ablation.loss
        assert ablation.loss_increase[index] == pytest.approx(expected, abs=1e-5)
    changed.set_weights(kept)


def test_blocks_and_batches_change_nothing(small_model, small_images):
    whole = mi.ablate(small_model, *small_images, "first", to="mean")
    single = mi.ablate(small_model, *small_images, "first", to="mean", byte_budget=1)
    assert np.allclose(whole.loss_increase, single.loss_increase, atol=1e-5)
    assert np.allclose(whole.low, single.low, atol=1e-4)


def test_the_file_is_plain_and_leaves_out_what_is_not_finite(small_model, small_images):
    from dataclasses import replace

    calls = []
    ablation = mi.ablate(
        small_model,
        *small_images,
        "@0",
        samples=24,
        split="bars",
        progress=lambda label, done, total: calls.append((done, total)),
    )
    assert calls[0] == (0, 6)
    assert calls[-1] == (6, 6)
    assert ablation.samples == 24
    values = ablation.loss_increase.copy()
    values[2] = np.nan
    kept = replace(ablation, loss_increase=values).to_dict()
    json.dumps(kept, allow_nan=False)
    assert [row["map"] for row in kept["maps"]] == [0, 1, 3, 4, 5]
    assert (kept["schema"], kept["split"], kept["silenced_to"]) == (1, "bars", "zero")
    assert replace(ablation, loss_increase=values).order[-1] == 2


@pytest.mark.parametrize(
    ("changed", "error", "word"),
    [
        ({"to": "noise"}, SettingsError, "zero or mean"),
        ({"layer": "heard"}, ModelError, "seen"),
        ({"maps": [9]}, SettingsError, "0 to 3"),
        ({"labels": np.arange(80) % 3}, DataError, "0 to 1"),
        ({"labels": np.array(["a", "b"] * 40)}, DataError, "whole numbers"),
        ({"labels": np.zeros(80)}, DataError, "floats"),
        ({"labels": np.arange(79) % 2}, DataError, "80"),
        ({"images": np.full((80, 4, 4, 1), np.nan)}, DataError, "finite"),
    ],
)
def test_bad_input(light, changed, error, word):
    arguments = {"images": light[0], "labels": light[1], "layer": "seen", **changed}
    with pytest.raises(error, match=word):
        mi.ablate(planted(), **arguments)


def test_models_without_classes_are_refused(light):
    import keras
    from keras import layers

    pictures = keras.Sequential([layers.Input((4, 4, 1)), layers.Conv2D(2, 3, name="seen")])
    with pytest.raises(ModelError, match="classes"):
        mi.ablate(pictures, *light, "seen")
    with pytest.raises(DataError, match="sigmoid"):
        mi.ablate(planted(2, "sigmoid"), *light, "seen")
    broken = planted()
    broken.get_layer("told").set_weights([np.full((4, 2), np.nan), np.zeros(2)])
    with pytest.raises(DataError, match="weights"):
        mi.ablate(broken, *light, "seen")


def test_short_form_and_table(light):
    result = mi.ablate(planted(), *light, "seen")
    assert repr(result).startswith("Ablation(seen: 4 maps, 80 images; largest increase of the loss")
    table = result.to_pandas()
    assert table["map"].tolist() == result.order.tolist()
    assert table["loss_increase"][0] == result.loss_increase[0]
    assert "without each of 4 maps" in result._repr_html_()
