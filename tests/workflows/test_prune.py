import numpy as np
import pytest

import oip
from oip.core.errors import DataError, ModelError, SettingsError


def test_a_smaller_model_is_returned_and_written(small_file, bars, tmp_path):
    images, labels = bars
    out = tmp_path / "smaller.keras"
    options = {"data": images, "labels": labels, "method": "l1", "samples": 40}
    pruned = oip.prune(small_file, out=out, keep=0.5, **options)
    assert {name: len(maps) for name, maps in pruned.kept.items()} == {"first": 3, "second": 35}
    assert list(pruned.stages) == ["pruned", "corrected"]
    assert pruned.quality.parameters < pruned.before.parameters
    assert repr(pruned).startswith("PrunedModel by l1: ")
    assert pruned.to_pandas().index.tolist() == ["before", "pruned", "corrected"]
    assert "arrays:test" in pruned._repr_html_()
    network = oip.Network(out)
    assert network.digest != oip.Network(small_file).digest
    np.testing.assert_allclose(
        network.model(images[:4], training=False).numpy(),
        pruned.model(images[:4], training=False).numpy(),
        rtol=1e-5,
    )


def test_named_layers_only_and_nothing_is_written(small_model, bars, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, labels = bars
    pruned = oip.prune(
        small_model, "first", data=images, labels=labels, method="random", correct=False
    )
    assert set(pruned.kept) == {"first"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"out": "smaller.h5"}, SettingsError, ".keras"),
        ({"method": "tailor"}, SettingsError, "taylor"),
        ({"keep": 0.0}, SettingsError, "keep"),
        ({"labels": None}, DataError, "labels"),
        ({"layers": "third"}, ModelError, "first, second"),
    ],
)
def test_bad_input(small_model, bars, options, kind, text):
    images, labels = bars
    with pytest.raises(kind, match=text):
        oip.prune(small_model, **{"data": images, "labels": labels, **options})


def test_weights_that_are_not_finite_are_refused(small_model, bars):
    import keras

    model = keras.models.clone_model(small_model)
    kernel, bias = small_model.get_layer("first").get_weights()
    model.get_layer("first").set_weights([kernel, bias * np.nan])
    images, labels = bars
    with pytest.raises(ModelError, match="finite"):
        oip.prune(model, data=images, labels=labels, method="l1")


@pytest.fixture(scope="module")
def several():
    """A model body of two convolutions, as (input, first, flat)."""
    from keras import layers

    inputs = layers.Input((16, 16, 1))
    first = layers.Conv2D(6, 5, strides=2, activation="relu", name="first")(inputs)
    second = layers.Conv2D(6, 3, strides=2, activation="relu", name="second")(first)
    return inputs, first, layers.Flatten()(second)


def pruned(model, bars, **options):
    images, labels = bars
    settings = {"data": images, "labels": labels, "samples": 40, "method": "l1", **options}
    return oip.prune(model, **settings)


@pytest.mark.parametrize("kind", ["list", "dict", "features"])
def test_models_of_several_outputs(kind, several, bars):
    import keras
    from keras import layers

    inputs, first, flat = several
    box = layers.Dense(2, name="box")(flat)
    classes = layers.Dense(4, activation="softmax", name="classes")(flat)
    outputs = {
        "list": [box, classes],
        "dict": {"box": box, "classes": classes},
        "features": [first, classes],
    }[kind]
    result = pruned(keras.Model(inputs, outputs), bars)
    parts = keras.tree.flatten(result.model(bars[0][:3]))
    assert [part.shape[-1] for part in parts] == [6 if kind == "features" else 2, 4]
    named = result.model(bars[0])
    predicted = np.argmax(named["classes"] if kind == "dict" else named[1], axis=1)
    test = result.model  # the accuracy is that of the classes, not of the boxes
    assert test is not None and 0 <= result.quality.accuracy <= 1
    assert abs((predicted == bars[1]).mean() - result.quality.accuracy) < 0.5
    assert result.kept.keys() == ({"second"} if kind == "features" else {"first", "second"})


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize(
    ("kind", "method", "whole", "reason"),
    [
        ("lora", "l1", {"first", "middle"}, "more weights than kernel"),
        ("spectral", "l1", {"first", "spectral/middle"}, "inside another layer"),
        ("transposed", "elimination", {"first"}, "layer after it"),
    ],
)
def test_a_layer_that_cannot_be_pruned_stays_whole_and_is_named(kind, method, whole, reason, bars):
    import keras
    from keras import layers

    middle = layers.Conv2D(6, 3, name="middle")
    if kind == "transposed":
        middle = layers.Conv2DTranspose(6, 3, name="middle")
    if kind == "spectral":
        middle = layers.SpectralNormalization(middle, name="spectral")
    model = keras.Sequential(
        [
            layers.Input((16, 16, 1)),
            layers.Conv2D(6, 5, strides=2, name="first"),
            middle,
            layers.Conv2D(4, 3, strides=2, name="last"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )
    if kind == "lora":
        middle.enable_lora(2)
        middle.lora_kernel_b.assign(np.ones((2, 6)))
    result = pruned(model, bars, method=method)
    assert result.kept.keys() == {"first", "middle", "last"} - whole - (
        {"middle"} if kind == "spectral" else set()
    )
    (notice,) = (text for text in result.notices if "not pruned" in text)
    assert all(f"'{name}'" in notice for name in whole) and reason in notice
    with pytest.raises(ModelError, match=reason):
        pruned(model, bars, method=method, layers=[*whole])


@pytest.mark.parametrize("kind", ["list", "dict", "inputs"])
def test_models_of_any_inputs_and_outputs_are_fine_tuned(kind, bars):
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    inputs = layers.Input((16, 16, 1), name="image")
    scaled = layers.Rescaling(1 / 255)(inputs)
    conv = layers.Conv2D(8, 5, strides=2, activation="relu", name="first")(scaled)
    flat = layers.Flatten()(conv)
    box = layers.Dense(2, name="box")(flat)
    logits = layers.Dense(4, name="classes")(flat)
    if kind == "inputs":
        other = layers.Input((3,), name="other")
        logits = layers.Add()([logits, layers.Dense(4)(other)])
        model = keras.Model([inputs, other], layers.Activation("softmax")(logits))
    else:
        classes = keras.ops.softmax(logits)
        outputs = {"list": [box, classes], "dict": {"box": box, "classes": classes}}
        model = keras.Model(inputs, outputs.get(kind, classes))
    before = [weight.copy() for weight in model.get_weights()]
    result = pruned(model, bars, correct=False, epochs=150, seed=1)
    assert list(result.stages) == ["pruned", "fine-tuned"]
    assert result.quality.accuracy > max(0.6, result.stages["pruned"].accuracy)
    for weight, same in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, same)
    if kind in ("list", "dict"):
        whole, small = (
            keras.tree.flatten(network(bars[0]))[0] for network in (model, result.model)
        )
        untrained = pruned(model, bars, correct=False).model
        bare = keras.tree.flatten(untrained(bars[0]))[0]
        assert np.mean((small - whole) ** 2) < 0.5 * np.mean((bare - whole) ** 2)


def test_fine_tuning_leaves_the_random_numbers_of_the_caller(small_model, bars):
    import random

    import keras

    keras.utils.set_random_seed(7)
    numpys = np.random.get_state()[1].tolist()  # noqa: NPY002
    first = pruned(small_model, bars, correct=False, epochs=1, seed=1).model
    pythons = random.getstate()
    second = pruned(small_model, bars, correct=False, epochs=1, seed=1).model
    assert np.random.get_state()[1].tolist() == numpys  # noqa: NPY002
    assert random.getstate() != pythons, "Keras draws from it, and no call sets it back"
    for weight, same in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, same)
