"""The ascent on small models of every kind that Keras knows."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

import oip
from oip.ascent.results import REASONS
from oip.core.errors import ModelError, Notice

QUICK = {"steps": 24, "screened": 16, "starts": 2}
SHAPE = (17, 14, 2)


def build(name):
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)
    relu = {"activation": "relu"}
    first = layers.Conv2D(6, 3, **relu)
    lasts = {
        "plain": layers.Conv2D(5, 3, name="last", **relu),
        "depthwise": layers.DepthwiseConv2D(3, depth_multiplier=2, name="last", **relu),
        "separable": layers.SeparableConv2D(5, 3, name="last", **relu),
        "grouped": layers.Conv2D(6, 3, groups=3, name="last", **relu),
        "dilated": layers.Conv2D(5, 3, dilation_rate=2, name="last", **relu),
        "strided": layers.Conv2D(5, 3, strides=2, padding="same", name="last", **relu),
        "transposed": layers.Conv2DTranspose(5, 3, strides=2, name="last", **relu),
        "no bias": layers.Conv2D(5, 3, use_bias=False, name="last", **relu),
        **{
            name: layers.Conv2D(5, 3, activation=name, name="last")
            for name in ("sigmoid", "tanh", "elu", "gelu", "swish", "leaky_relu", "relu6")
        },
    }
    if name in lasts:
        return keras.Sequential([layers.Input(SHAPE), first, lasts[name]])
    plain = lasts["plain"]
    inputs = layers.Input(SHAPE)
    if name == "prelu":
        return keras.Sequential(
            [inputs, first, layers.Conv2D(5, 3, name="last"), layers.PReLU(shared_axes=[1, 2])]
        )
    if name == "batch norm":
        convolved = layers.Conv2D(5, 3, name="last")(first(inputs))
        out = layers.ReLU()(layers.BatchNormalization()(convolved))
        return keras.Model(inputs, out)
    if name == "nested":
        inner = keras.Sequential([layers.Input(SHAPE), first, plain], name="inner")
        return keras.Model(inputs, layers.GlobalAveragePooling2D()(inner(inputs)))
    if name == "two inputs":
        number = layers.Input((3,))
        flat = layers.Flatten()(plain(first(inputs)))
        return keras.Model([inputs, number], layers.Concatenate()([flat, number]))
    if name == "two outputs":
        out = first(inputs)
        return keras.Model(inputs, [layers.Flatten()(out), plain(out)])
    if name == "used twice":
        shared = layers.Conv2D(2, 3, padding="same", name="last", **relu)
        return keras.Model(inputs, shared(shared(inputs)))
    if name == "free size":
        free = layers.Input((None, None, 2))
        return keras.Model(free, plain(first(free)))
    if name == "subclassed":
        return subclassed()
    if name == "half precision":
        half = keras.mixed_precision.DTypePolicy("mixed_float16")
        parts = [
            layers.Conv2D(6, 3, dtype=half, **relu),
            layers.Conv2D(5, 3, name="last", dtype=half, **relu),
        ]
        return keras.Sequential([layers.Input(SHAPE), *parts])
    raise KeyError(name)


def subclassed():
    import keras
    from keras import layers

    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Conv2D(6, 3, activation="relu")
            self.last = layers.Conv2D(5, 3, activation="relu", name="last")
            self.head = layers.Dense(3)

        def call(self, images):
            return self.head(layers.Flatten()(self.last(self.first(images))))

    model = Mine()
    model(np.zeros((1, *SHAPE), "float32"))
    return model


KINDS = (
    "plain depthwise separable grouped dilated strided transposed sigmoid tanh elu gelu swish "
    "leaky_relu relu6 prelu nested subclassed"
).split()
KINDS += [
    "no bias",
    "batch norm",
    "two inputs",
    "two outputs",
    "used twice",
    "free size",
    "half precision",
]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_is_climbed_and_left_as_it_was(name):
    model = build(name)
    before = [np.array(weight) for weight in model.get_weights()]
    network = oip.Network(model, input_shape=SHAPE if name == "free size" else None)
    layer = next(item for item in reversed(network.layers) if "last" in item.name)
    oips = oip.reconstruct(network, layer.name, **QUICK)
    assert len(oips) == layer.maps
    assert set(oips.verdicts) <= {"responsive", "revived", "never silent", "dead"}
    assert np.isfinite(oips.scores).all()
    live = np.array([verdict != "dead" for verdict in oips.verdicts])
    assert live.any()
    assert np.all(oips.scores[live, 0] > oips.screened_scores[live])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("kind", "Conv1D SeparableConv1D DepthwiseConv1D Conv1DTranspose".split())
def test_lines_are_climbed(kind):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    sizes = {"kernel_size": 3} if kind == "DepthwiseConv1D" else {"filters": 6, "kernel_size": 3}
    model = keras.Sequential(
        [
            layers.Input((40, 3)),
            layers.Conv1D(6, 5, activation="relu"),
            layers.MaxPooling1D(),
            getattr(layers, kind)(activation="relu", name="last", **sizes),
        ]
    )
    oips = oip.reconstruct(model, "last", **QUICK)
    assert oips.images.shape == (6, 2, 40, 3)
    live = np.array([verdict != "dead" for verdict in oips.verdicts])
    assert live.any()
    assert np.all(oips.scores[live, 0] > oips.screened_scores[live])


def test_channels_first_is_the_same_network():
    import keras
    import tensorflow as tf
    from keras import layers

    def build(shape, layout):
        record = {"activation": "relu", "data_format": layout}
        return keras.Sequential(
            [
                layers.Input(shape),
                layers.Conv2D(4, 3, **record),
                layers.MaxPooling2D(data_format=layout),
                layers.Conv2D(4, 3, name="last", **record),
            ]
        )

    keras.utils.set_random_seed(0)
    plain = build((12, 15, 2), "channels_last")
    first = build((2, 12, 15), "channels_first")
    first.set_weights(plain.get_weights())
    try:
        first(np.zeros((1, 2, 12, 15), "float32"))
    except (tf.errors.OpError, NotImplementedError):
        pytest.skip("this TensorFlow convolves channels first on other devices only")
    result = [oip.reconstruct(model, "last", **QUICK) for model in (plain, first)]
    assert result[0].images.shape == result[1].images.shape == (4, 2, 12, 15, 2)
    np.testing.assert_allclose(result[1].scores, result[0].scores, rtol=1e-3)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_maps_with_a_broken_gradient_fail_and_the_others_go_on(broken):
    """All weights and responses are finite; the gradient of the first map is not."""
    import keras
    import tensorflow as tf
    from keras import layers

    class Broken(layers.Layer):
        def call(self, values):
            @tf.custom_gradient
            def same(given):
                mask = np.array([1.0, 0.0, 0.0], "float32")

                def gradient(up):
                    return tf.where((mask > 0) & (up != 0), broken, up)

                return tf.identity(given), gradient

            return same(values)

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((10, 10, 1)),
            layers.Conv2D(3, 3),
            Broken(),
            layers.DepthwiseConv2D(3, activation="relu", name="last"),
        ]
    )
    oips = oip.reconstruct(model, "last", **QUICK)
    assert oips.verdicts[0] == "failed"
    assert set(oips.verdicts[1:]) <= {"responsive", "revived"}
    assert np.all(oips.scores[1:, 0] > oips.screened_scores[1:])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files_never_called_are_climbed(small_model, tmp_path, suffix, small_network):
    path = tmp_path / f"model{suffix}"
    small_model.save(path)
    oips = oip.reconstruct(path, "second", maps=[0, 1], **QUICK)
    same = oip.reconstruct(small_network, "second", maps=[0, 1], **QUICK)
    np.testing.assert_allclose(oips.scores, same.scores, rtol=1e-4)


def test_three_ranges_of_one_network_give_the_same_pictures():
    """0 to 255, 0 to 1 and standardised inputs, with first kernels to match."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(4)
    kernel = np.random.default_rng(0).normal(size=(3, 3, 1, 6)).astype("float32")
    result = []
    for scale, centre in ((255.0, 0.3 * 255), (1.0, 0.3), (1 / 0.2, 0.0)):
        model = keras.Sequential(
            [layers.Input((15, 15, 1)), layers.Conv2D(6, 3, activation="relu", name="last")]
        )
        model.layers[0].set_weights([kernel / scale, np.zeros(6, "float32")])
        network = oip.Network(model)
        spread = (0.2 * scale,)
        network.inputs = network.inputs.with_statistics((centre,), spread)
        shift = (centre / scale) * kernel.sum((0, 1, 2))
        model.layers[0].set_weights([kernel / scale, -shift.astype("float32")])
        result.append(oip.reconstruct(network, "last", **QUICK))
    for other in result[1:]:
        np.testing.assert_allclose(other.scores, result[0].scores, rtol=5e-3)
        left, right = (
            item.images[:, 0].astype(float).reshape(6, -1) for item in (result[0], other)
        )
        assert ((left * right).mean(1)).min() > 0.99


def test_data_alone_settle_mean_and_deviation():
    """The same net for 0 to 1, 0 to 255 and standardised pixels, each told by `data` only."""
    import keras
    from keras import layers

    random = np.random.default_rng(0)
    kernel = random.normal(size=(3, 3, 1, 4)).astype("float32")
    base = random.random((40, 12, 12, 1)).astype("float32")
    base *= np.linspace(0, 1, 12, dtype="float32")[:, None]
    result = []
    for scale, centre in ((1.0, 0.0), (255.0, 0.0), (5.0, 0.3)):
        model = keras.Sequential(
            [layers.Input((12, 12, 1)), layers.Conv2D(4, 3, activation="relu", name="last")]
        )
        bias = centre * kernel.sum((0, 1, 2)) - 0.3
        model.layers[0].set_weights([kernel / scale, bias])
        data = (base - centre) * scale
        result.append(oip.reconstruct(model, "last", data=data, **QUICK))
    for oips in result:
        assert oips.verdicts == result[0].verdicts
        assert "failed" not in oips.verdicts
        np.testing.assert_allclose(oips.scores, result[0].scores, rtol=5e-3)
        np.testing.assert_allclose(oips.data_scores, result[0].data_scores, rtol=5e-3)
        left, right = (item.images[:, 0].astype(float).reshape(4, -1) for item in (result[0], oips))
        assert ((left * right).mean(1)).min() > 0.99


def test_a_model_whose_input_is_not_known_says_so(small_model):
    with pytest.warns(Notice, match="not known"):
        oip.reconstruct(build("plain"), "last", maps=0, **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        oip.reconstruct(small_model, "first", maps=0, **QUICK)


def test_a_layer_that_belongs_to_another_input_is_refused():
    import keras
    from keras import layers

    pictures, rest = layers.Input((9, 9, 1)), layers.Input((9, 9, 1))
    left = layers.Conv2D(2, 3, name="left")(pictures)
    right = layers.Conv2D(2, 3, name="right")(rest)
    model = keras.Model([pictures, rest], layers.Concatenate()([left, right]))
    assert len(oip.reconstruct(model, "left", **QUICK)) == 2
    with pytest.raises(ModelError, match="one that depends on the input"):
        oip.reconstruct(model, "right", **QUICK)


def resident():
    """MB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read as on Linux")
def test_memory_does_not_grow_with_the_maps():
    """Four hundred maps after the first hundred: less than 25 MB more than those."""
    import gc

    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [layers.Input((7, 7, 1)), layers.Conv2D(576, 3, activation="relu", name="last")]
    )
    network = oip.Network(model)
    from oip.ascent.reconstruction import Ascent
    from oip.ascent.settings import ascent_settings
    from oip.ascent.targets import MapTargets

    targets = MapTargets(network, network.find("last"))
    ascent = Ascent(network, targets, ascent_settings(steps=4, screened=16))
    memory = []
    for first in range(0, 576, 64):
        ascent.grow(np.arange(first, first + 64))
        gc.collect()
        memory.append(resident())
    assert max(memory[2:]) - memory[1] < 25


APPLICATIONS = {
    "VGG16": (32, None),
    "ResNet50": (32, "conv2_block3_out"),
    "MobileNetV2": (32, "block_4_add"),
    "EfficientNetB0": (32, "block3b_add"),
    "DenseNet121": (32, "conv3_block2_concat"),
    "Xception": (71, "block4_sepconv2_bn"),
    "ConvNeXtTiny": (32, "convnext_tiny_stage_1_block_1_identity"),
}
"""The side of the images, and the last layer before the head; behind it all repeats itself."""


def application(name):
    """A network of Keras, its repeated blocks left out."""
    import keras
    from keras import layers

    side, last = APPLICATIONS[name]
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(side, side, 3), classes=7)
    if last is None:
        return model
    pooled = layers.GlobalAveragePooling2D()(model.get_layer(last).output)
    return keras.Model(model.inputs, layers.Dense(7, activation="softmax")(pooled))


def flat(model):
    """All layers, also those of nested models."""
    for layer in model.layers:
        yield from flat(layer) if hasattr(layer, "layers") else [layer]


def kinds_before(network, layer):
    """Classes of all layers that run before one."""
    return {type(call.layer) for call in network.calls[: layer.last_call]}


@pytest.mark.parametrize("name", list(APPLICATIONS))
def test_networks_of_keras_are_listed_and_climbed(name):
    import keras

    keras.utils.set_random_seed(1)
    model = application(name)
    network = oip.Network(model)
    kernels = (
        keras.layers.Conv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.SeparableConv2D,
    )
    every_kind = kinds_before(network, network.layers[-1])
    expected = [layer.name for layer in flat(model) if isinstance(layer, kernels)]
    assert sorted(layer.name.split("/")[-1] for layer in network.layers) == sorted(expected)
    layer = next(layer for layer in network.layers if kinds_before(network, layer) == every_kind)
    oips = oip.reconstruct(network, layer.name, maps=[0, 1], starts=1, steps=8, screened=6)
    assert set(oips.verdicts) <= {"responsive", "revived", "never silent", "dead"}
    live = np.array([verdict != "dead" for verdict in oips.verdicts])
    assert np.all(oips.scores[live, 0] > oips.screened_scores[live])


@pytest.mark.parametrize("size", [1e-3, 1.0, 3e3])
def test_gradients_are_held_by_float16(size):
    """Small ones would vanish in it, as those of pixels from 0 to 255 do; large ones overflow."""
    import keras
    from keras import layers

    def grown(policy):
        kinds = {"dtype": policy}
        maps = layers.Conv2D(4, 3, activation="relu", name="maps", **kinds)
        model = keras.Sequential(
            [layers.Input((24, 24, 1)), layers.Rescaling(1 / 255, **kinds), maps]
        )
        kernel = size * np.random.default_rng(0).normal(size=(3, 3, 1, 4))
        maps.set_weights([kernel, np.zeros(4)])
        settings = {"starts": 1, "steps": 12, "screened": 4, "diversity": 1.0}
        return oip.reconstruct(model, "maps", **settings)

    whole, half = grown("float32"), grown("mixed_float16")
    assert REASONS.index("stalled") not in half.reasons
    np.testing.assert_allclose(half.scores, whole.scores, rtol=0.05)
