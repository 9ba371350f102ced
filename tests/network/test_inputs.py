"""The input of a model: statistics, shape, images that fit."""

import json
import warnings

import numpy as np
import pytest

import oip
from oip.core.errors import DataError, ModelError, Notice, SettingsError
from oip.core.images import plain_range
from oip.network.forward import run_to
from oip.network.inputs import InputSpec, check_images
from oip.network.network import Network
from oip.workflows.inputs import opened


def test_statistics_come_from_the_models_own_layers(small_model):
    spec = Network(small_model).inputs
    assert spec.is_known
    np.testing.assert_allclose([spec.mean[0], spec.std[0]], [40, 80])


def test_a_rescaling_layer_tells_the_range():
    import keras
    from keras import layers

    scalings = ((1 / 255, 0.0), (1 / 127.5, -1.0), (1 / 255, -0.5), (1 / 128, 0.0), (1 / 128, -1.0))
    for scale, offset in scalings:
        parts = [layers.Input((8, 8, 3)), layers.Rescaling(scale, offset), layers.Conv2D(2, 3)]
        spec = Network(keras.Sequential(parts)).inputs
        np.testing.assert_allclose([spec.low, spec.high], [0, 255])


def test_images_beyond_the_range_are_refused_with_both_ways_out():
    spec = InputSpec((4, 4, 1), np.zeros(1), np.ones(1), 0.0, 255.0, "")
    images = np.linspace(-82, 311, 32).reshape(2, 4, 4, 1)
    with pytest.raises(DataError, match=r"expected 0 to 255.* or clip patterns: np\.clip"):
        check_images(spec, images)
    with pytest.raises(DataError, match=r"Scale the images as the model was trained\.$"):
        check_images(spec, images / 1000)
    assert check_images(spec, np.clip(images, 0, 255)).max() == 255


@pytest.mark.parametrize(
    ("scale", "offset", "ends"),
    [
        (255.0, 0.0, (0.0, 1.0)),
        (127.5, 127.5, (-1.0, 1.0)),
        (255.0, -120.0, (0.0, 1.0)),
        (255.0, (-104.0, -117.0, -124.0), (0.0, 1.0)),
    ],
)
def test_a_rescaling_layer_that_makes_pixels_to_255_tells_the_range_before_it(scale, offset, ends):
    from keras import layers

    firsts = (
        preprocessed(lambda images: images, layers.Rescaling(scale, offset)),
        preprocessed(lambda images: images * scale + np.asarray(offset, "float32")),
    )
    for model in firsts:
        spec = Network(model).inputs
        np.testing.assert_allclose([spec.low, spec.high], ends, atol=1e-6)
        np.testing.assert_allclose(spec.std, np.ptp(ends) / 4, rtol=1e-5)
        mean = np.mean(ends) if np.min(offset) >= 0 else -np.array(offset) / 255
        np.testing.assert_allclose(spec.mean, np.broadcast_to(mean, 3), atol=1e-6)
        pictures = np.full((1, 16, 16, 3), 255, np.uint8)
        if spec.bounded:
            assert check_images(spec, pictures).max() == ends[1]


@pytest.mark.parametrize(
    ("mean", "high"), [([122.7, 116.7, 104.0], 255.0), ([0.48, 0.46, 0.41], 1.0)]
)
def test_a_layer_that_takes_off_a_mean_says_no_deviation(mean, high):
    import keras
    from keras import layers

    firsts = (
        layers.Normalization(mean=mean, variance=[1.0] * 3),
        layers.Rescaling(1.0, offset=[-value for value in mean]),
    )
    for first in firsts:
        parts = [layers.Input((8, 8, 3)), first, layers.Conv2D(2, 3)]
        spec = Network(keras.Sequential(parts)).inputs
        np.testing.assert_allclose(spec.mean, mean, rtol=1e-6)
        np.testing.assert_allclose(spec.std, high / 4)
        assert (spec.low, spec.high) == (0.0, high)


def preprocessed(scaled, *parts, shape=(16, 16, 3), batch=None, dtype="float32"):
    """A network whose images go through a function before its layers."""
    import keras
    from keras import layers

    images = layers.Input(shape, batch_size=batch, dtype=dtype)
    values = scaled(layers.RandomFlip()(images))
    for layer in (*parts, layers.ZeroPadding2D(), layers.Conv2D(2, 3)):
        values = layer(values)
    return keras.Model(images, values)


@pytest.mark.parametrize("changes", [{}, {"batch": 2}, {"dtype": "uint8"}, {"shape": (9, 12, 3)}])
def test_operations_before_the_first_layer_tell_the_statistics(changes):
    from keras import applications

    photograph_mean, photograph_std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    cases = [
        (applications.mobilenet_v2, [127.5] * 3, [63.75] * 3, (0, 255)),
        (applications.densenet, photograph_mean, photograph_std, None),
        (applications.vgg16, [123.68, 116.779, 103.939], [63.75] * 3, (0, 255)),
    ]
    for module, mean, std, ends in cases:
        spec = Network(preprocessed(module.preprocess_input, **changes)).inputs
        assert spec.source == "the model's preprocessing"
        np.testing.assert_allclose(spec.mean, mean, rtol=1e-4)
        np.testing.assert_allclose(spec.std, std, rtol=1e-4)
        assert ends is None or (spec.low, spec.high) == ends
        assert not spec.bgr


def test_a_layer_behind_operations_tells_the_statistics_of_what_comes_in():
    from keras import layers

    scaling = layers.Rescaling(1 / 255)
    spec = Network(preprocessed(lambda images: images * 255.0, scaling)).inputs
    np.testing.assert_allclose([spec.mean, spec.std], [[0.5] * 3, [0.25] * 3], rtol=1e-5)
    np.testing.assert_allclose([spec.low, spec.high], [0, 1], atol=1e-6)
    assert spec.bounded
    flipped = layers.Normalization(mean=[10, 20, 30], variance=[4, 9, 16])
    spec = Network(preprocessed(lambda images: images[..., ::-1] / 2 + 1, flipped)).inputs
    np.testing.assert_allclose([spec.mean, spec.std], [[58, 38, 18], [8, 6, 4]], rtol=1e-5)
    assert spec.source == "the model's Normalization layer"


def test_operations_before_a_flattened_or_a_repeated_image_tell_the_statistics():
    import keras
    from keras import layers

    images = layers.Input((8, 8, 3))
    flat = layers.Dense(2)(layers.Flatten()(images / 127.5 - 1))
    gray = layers.Input((8, 8, 1))
    repeated = keras.applications.vgg16.preprocess_input(layers.Concatenate()([gray] * 3))
    for model, mean in (
        (keras.Model(images, flat), [127.5] * 3),
        (keras.Model(gray, layers.Conv2D(2, 3)(repeated)), [114.799]),
    ):
        spec = Network(model).inputs
        np.testing.assert_allclose(spec.mean, mean, rtol=1e-4)
        assert (spec.source, spec.high) == ("the model's preprocessing", 255)


def test_many_bands_are_scaled_where_they_stand_and_rounding_is_no_offset():
    means = np.linspace(1, 9, 12).astype(np.float32)
    spec = Network(preprocessed(lambda images: (images - means) / 4, shape=(9, 9, 12))).inputs
    np.testing.assert_allclose(spec.mean, means, rtol=1e-4)
    np.testing.assert_allclose(spec.std, 4, rtol=1e-4)
    spec = Network(preprocessed(lambda images: images / 255 - 1e-7)).inputs
    assert (spec.low, spec.high) == (0, 255)
    assert not Network(preprocessed(lambda images: images + 1e-6)).inputs.is_known


def test_operations_that_do_not_scale_pixels_tell_nothing():
    import keras

    for scaled in (
        keras.ops.square,
        lambda images: images,
        lambda images: -images,
        lambda images: images - keras.ops.mean(images, axis=(1, 2, 3), keepdims=True),
        lambda images: keras.ops.mean(images, axis=-1, keepdims=True) + images,
    ):
        assert not Network(preprocessed(scaled)).inputs.is_known


def test_each_of_several_inputs_has_the_statistics_of_its_own_layers():
    import keras
    from keras import layers

    first, second = (layers.Input((8, 8, bands), name=f"of_{bands}") for bands in (3, 1))
    branches = [
        layers.Rescaling(1 / 255)(first),
        layers.Normalization(mean=5.0, variance=4.0)(second),
    ]
    maps = [layers.Flatten()(layers.Conv2D(2, 3)(branch)) for branch in branches]
    model = keras.Model([first, second], layers.Dense(2)(layers.Concatenate()(maps)))
    assert Network(model, input="of_3").inputs.high == 255
    spec = Network(model, input="of_1").inputs
    assert (spec.mean, spec.std, spec.source) == (5, 2, "the model's Normalization layer")


def test_names_of_applications_say_how_images_are_prepared():
    import keras
    from keras import layers

    def named(name, *parts):
        return keras.Sequential([layers.Input((8, 8, 3)), *parts, layers.Conv2D(2, 3)], name=name)

    for model, hint in (
        (named("mobilenetv2_1.00_8"), "MobileNetV2 of keras.applications: --preprocess tf"),
        (named("resnet50v2"), "ResNet50V2 of keras.applications: --preprocess tf"),
        (named("resnet50"), "ResNet50 of keras.applications: --preprocess caffe"),
        (named("own", named("nasnet_mobile")), "NASNetMobile of keras.applications: --pre"),
    ):
        with pytest.warns(Notice, match=hint):
            Network(model).inputs.warn_if_assumed()
    assert not Network(named("mobilenet_v3_small")).inputs.application
    assert not Network(named("vgg16", layers.Rescaling(1 / 255))).inputs.application


def test_rescaling_by_band_tells_mean_and_deviation():
    import keras
    from keras import layers

    std = np.array([58.4, 57.1, 57.4])
    first = layers.Rescaling((1 / std).tolist(), offset=(-np.array([124, 116, 104]) / std).tolist())
    parts = [layers.Input((8, 8, 3)), first, layers.Conv2D(2, 3)]
    spec = Network(keras.Sequential(parts)).inputs
    np.testing.assert_allclose(spec.mean, [124, 116, 104], rtol=1e-5)
    np.testing.assert_allclose(spec.std, std, rtol=1e-5)


def test_a_mean_alone_takes_a_quarter_of_the_range_as_deviation():
    import keras

    unknown = Network(keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]))
    assert unknown.inputs.with_statistics(mean=(33.0,)).std == 63.75
    assert unknown.inputs.with_statistics(mean=(0.1,)).std == 0.25
    assert unknown.inputs.with_statistics(mean=(0.1,), value_range=(-1.0, 1.0)).std == 0.5
    assert unknown.inputs.with_statistics(mean=(0.0,)).std == 1.0
    assert unknown.inputs.with_statistics(mean=(33.0,), std=(1.0,)).std == 1.0


def test_a_sidecar_comes_first_and_a_broken_one_is_an_error(small_file, tmp_path):
    path = tmp_path / "m.keras"
    path.write_bytes(small_file.read_bytes())
    record = {
        "kind": "oip-model",
        "input": {"mean": [1.0], "std": [2.0], "low": 0.0, "high": 9.0},
        "classes": ["a"],
    }
    (tmp_path / "m.oip.json").write_text(json.dumps(record))
    spec = Network(path).inputs
    assert (spec.mean[0], spec.std[0], spec.high, spec.source) == (1.0, 2.0, 9.0, "sidecar")
    assert spec.background[0] == -0.5
    (tmp_path / "m.oip.json").write_text(json.dumps({**record, "sha256": "0" * 64}))
    with pytest.warns(UserWarning, match="another model"):
        assert Network(path).inputs.mean[0] == 40.0
    (tmp_path / "m.oip.json").write_text(json.dumps({"kind": "oip-model", "input": {"low": 0.0}}))
    with pytest.raises(ModelError, match="sidecar"):
        Network(path)


def test_a_sidecar_without_the_input_leaves_it_to_the_model(small_file, tmp_path):
    path = tmp_path / "m.keras"
    path.write_bytes(small_file.read_bytes())
    (tmp_path / "m.oip.json").write_text(json.dumps({"kind": "oip-model", "classes": ["a"] * 4}))
    network = Network(path)
    assert network.inputs.mean[0] == 40.0
    assert network.classes == ("a",) * 4


def test_told_statistics_fit_the_bands(small_model):
    spec = Network(small_model).inputs
    assert spec.with_statistics(mean=(3.0,)).mean[0] == 3.0
    for statistics in (
        {"std": (0.0,)},
        {"mean": (1.0, 2.0)},
        {"value_range": (3.0, 1.0)},
        {"value_range": (0.0, float("inf"))},
        {"mean": (3.0,), "value_range": (0.0, 1.0)},
        {"mean": (float("nan"),)},
        {"preprocess": "caffe"},
    ):
        with pytest.raises(SettingsError, match="expected"):
            spec.with_statistics(**statistics)


def test_measured_statistics_are_those_of_the_images(small_model, small_images):
    images = small_images[0]
    spec = Network(small_model).inputs.measured(images, 0.0, 255.0, "data")
    np.testing.assert_allclose(spec.mean, images.mean(), rtol=1e-5)
    np.testing.assert_allclose(spec.std, images.std(), rtol=1e-5)


@pytest.mark.parametrize(
    ("images", "word"),
    [
        (np.zeros((3, 8, 8, 1)), "shape"),
        (np.zeros((0, 16, 16, 1)), "at least one"),
        (np.array([["a"]]), "numbers"),
        ("mnist-sample", r"oip\.models\.load"),
        (np.ma.masked_less(np.arange(256.0).reshape(1, 16, 16, 1), 9), "masked"),
        ((np.zeros((3, 16, 16, 1)), np.zeros(3)), "several shapes"),
        (np.full((2, 16, 16, 1), np.nan), "finite"),
        (np.random.default_rng(0).random((5, 16, 16, 1)), "range"),
        (np.full((2, 16, 16, 1), 4000.0), "range"),
    ],
)
def test_images_that_do_not_fit_are_refused(small_model, images, word):
    spec = Network(small_model).inputs.with_statistics(value_range=(0.0, 255.0))
    with pytest.raises(DataError, match=word):
        check_images(spec, images)


def test_a_missing_band_axis_is_added(small_model, small_images):
    spec = Network(small_model).inputs
    assert check_images(spec, small_images[0][..., 0]).shape == (40, 16, 16, 1)


def test_fractions_from_0_to_255_are_told_how_they_are_prepared():
    import keras
    from keras import layers

    images = np.linspace(0, 200, 2 * 8 * 8 * 3).reshape(2, 8, 8, 3)
    model = keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(2, 3)])
    spec = Network(model).inputs.with_statistics(preprocess="tf")
    with pytest.raises(DataError, match=r"received 0 to 200.*round\(\).astype\('uint8'\)"):
        check_images(spec, images)
    assert np.ptp(check_images(spec, images.round().astype("uint8"))) == pytest.approx(200 / 127.5)


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        (np.array([3, 9], np.uint8), (0.0, 255.0)),
        (np.array([0.1, 0.9]), (0.0, 1.0)),
        (np.array([0.0, 200.0]), (0.0, 255.0)),
        (np.array([-1.5, 2.5]), (-1.5, 2.5)),
    ],
)
def test_the_range_of_pixels_is_a_common_one_or_their_own(values, ends):
    assert plain_range(values) == ends


@pytest.mark.parametrize("images", [np.float32([0, 2]), np.uint8([0, 1])])
def test_pixels_of_a_small_part_of_a_common_range_have_their_own(images):
    images = np.resize(images, (3, 12, 12, 1)).repeat(2, axis=-1)
    network, data = opened(own_built(), images, [0, 1, 2])
    assert (network.inputs.low, network.inputs.high) == (0, images.max())
    check_images(network.inputs, data.images)


def own():
    import keras
    from keras import layers

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Conv2D(3, 3, name="one")

        def call(self, values):
            return self.first(values)

    return Own()


def test_bands_of_a_subclassed_model_are_those_it_was_built_on():
    called = own()
    called(np.zeros((1, 12, 12, 2), "float32"))
    assert Network(called, input_shape=(20, 15)).layers[0].size == (18, 13)
    assert Network(called, input_shape=(20, 15, 2)).inputs.shape == (20, 15, 2)
    for shape in ((20,), (0, 9), (1, 20, 15, 2)):
        with pytest.raises(ModelError, match="shape"):
            Network(called, input_shape=shape)
    with pytest.raises(ModelError, match=r"\(h, w, bands\)"):
        Network(own(), input_shape=(12, 12))


@pytest.mark.parametrize("as_dictionary", [False, True])
def test_any_input_can_take_the_images(two_inputs, as_dictionary):
    model = two_inputs(as_dictionary)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = Network(model)
        second = Network(model, input="b")
        assert [layer.name for layer in first.elsewhere] == ["right"]
        assert [layer.name for layer in second.elsewhere] == ["left"]
        assert (first.input_name, first.inputs.shape) == ("a", (9, 9, 1))
        assert second.inputs.to_dict()["name"] == "b"
        images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
        fed = second.feed(images)
        _, after = run_to(model, fed, second.find("right").response)
        np.testing.assert_allclose(after, model.get_layer("right")(images), atol=1e-5)
    assert Network(model, input="@1").input_name == "b"
    assert "name" not in Network(own_built()).inputs.to_dict()
    for name in ("n", "c", "@9"):
        with pytest.raises(ModelError, match=r"a \(@0\), b \(@1\)"):
            Network(model, input=name)


def own_built():
    model = own()
    model(np.zeros((1, 12, 12, 2), "float32"))
    return model


def test_the_other_input_is_climbed(two_inputs):
    oips = oip.reconstruct(Network(two_inputs(), input="b"), "right", steps=8, screened=8, starts=1)
    assert oips.images.shape == (4, 1, 8, 8, 3)
    assert np.all(oips.scores[:, 0] > oips.screened_scores)


def test_layers_that_do_nothing_at_inference_hide_no_statistics():
    import keras
    from keras import layers

    idle = [layers.Dropout(0.1), layers.GaussianNoise(1.0), layers.Identity(), layers.RandomFlip()]
    idle += [layers.RandomRotation(0.1), layers.SpatialDropout2D(0.1)]
    parts = [layers.Input((8, 8, 3)), *idle, layers.Rescaling(1 / 255), layers.Conv2D(2, 3)]
    spec = Network(keras.Sequential(parts)).inputs
    assert (spec.source, spec.low, spec.high) == ("the model's Rescaling layer", 0, 255)
    parts = [layers.Input((8, 8, 3)), layers.Conv2D(3, 3), layers.Rescaling(1 / 255)]
    assert not Network(keras.Sequential(parts)).inputs.is_known


def test_a_black_picture_is_prepared_alone_as_beside_others(small_model):
    """Whole pixels from 0 are no values of a range that begins below 0."""
    spec = Network(small_model).inputs.with_statistics((0.0,), (0.5,), (-1.0, 1.0))
    pictures = np.zeros((2, 16, 16, 1), np.uint8)
    pictures[1] = 255
    both, alone = check_images(spec, pictures), check_images(spec, pictures[:1])
    np.testing.assert_array_equal(alone, both[:1])
    assert (both.min(), both.max()) == (-1.0, 1.0)


def test_a_tower_that_two_inputs_share_is_no_preprocessing_of_the_second():
    """Its first call receives the other input; its second one these images, as they are."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    for scaling in (layers.Rescaling(1 / 255), layers.Activation("linear")):
        sides = [layers.Input((8, 8, 1), name=name) for name in "ab"]
        maps = layers.Conv2D(1, 3, activation="relu", kernel_initializer="ones")
        tower = keras.Sequential([layers.Input((8, 8, 1)), scaling, maps])
        joined = layers.Concatenate()([tower(side) for side in sides])
        model = keras.Model(sides, layers.Conv2D(2, 3)(joined))
        for name in "ab":
            spec = Network(model, input=name).inputs
            is_scaled = scaling.name.startswith("rescaling")
            assert spec.source == ("the model's Rescaling layer" if is_scaled else "assumed")
