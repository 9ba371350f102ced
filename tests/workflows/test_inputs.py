import keras
import numpy as np
import pytest

import oip
from oip.core.errors import DataError, SettingsError
from oip.core.progress import silent
from oip.network.inputs import check_images
from oip.workflows.inputs import (
    ModelInput,
    load_both_parts,
    load_data,
    open_network,
    opened,
    opened_with_parts,
    select_maps,
)


def test_data_are_a_source_a_dataset_or_arrays(small_data, bars):
    images, labels = bars
    data = load_data(f"{small_data}:train")
    assert load_data(data) is data
    arrays = load_data(images, labels)
    assert arrays.classes == ("0", "1", "2", "3") and arrays.images is images
    names = load_data(images[:2], ["b", "a"])
    assert (names.classes, names.labels.tolist()) == (("a", "b"), [1, 0])
    assert load_data(images).labels is None
    assert load_data(small_data).source.endswith(":test")
    with pytest.raises(DataError, match="one per image"):
        load_data(images, labels[:-1])


def test_both_parts_are_those_of_the_source_or_a_stratified_split(small_data, bars):
    for arguments in ((small_data,), bars):
        train, test = load_both_parts(*arguments)
        assert set(train.labels) == set(test.labels) == {0, 1, 2, 3}
        assert len(train) == 4 * len(test)
    assert [part.source for part in load_both_parts(*bars)] == ["arrays:train", "arrays:test"]
    with pytest.raises(DataError, match="without a part"):
        load_both_parts(f"{small_data}:test")


def test_a_network_stays_and_other_models_are_opened(small_file, small_model, bars):
    network = open_network(small_file)
    assert open_network(network).model is network.model
    assert [layer.name for layer in open_network(small_model).layers] == ["first", "second"]


def test_a_network_takes_nothing_of_data_into_the_next_call(bars):
    images, labels = bars
    layers = [keras.layers.Input(images.shape[1:]), keras.layers.Conv2D(2, 3)]
    network = oip.Network(keras.Sequential(layers))
    inputs = network.inputs
    dark, bright = (load_data(images // divisor, labels) for divisor in (4, 1))
    means = [float(open_network(network, data).inputs.mean[0]) for data in (dark, bright)]
    assert means == pytest.approx([data.images.mean() for data in (dark, bright)], rel=1e-4)
    assert network.inputs is inputs and network.classes is None


def network_of_brightness() -> oip.Network:
    """A network whose outputs are dark, middle and bright images."""
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(2, 1, kernel_initializer="ones", name="maps"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    rows = [[-5.0, 0.0, 5.0], [-5.0, 0.0, 5.0]]
    model.layers[-1].set_weights([np.array(rows), np.array([3.0, 0.0, -7.0])])
    return oip.Network(model).with_classes(["dark", "middle", "bright"])


@pytest.mark.parametrize("present", [("dark", "middle", "bright"), ("middle", "bright")])
def test_labels_are_the_outputs_that_the_model_has_for_their_names(present, tmp_path):
    network = network_of_brightness()
    names = np.array(present * 40)
    levels = {"dark": 0.02, "middle": 0.4, "bright": 0.95}
    noise = np.random.default_rng(0).random((len(names), 6, 6, 1)) / 20
    images = noise + np.array([levels[name] for name in names])[:, None, None, None]
    data = load_data(images.astype(np.float32), names)
    assert data.classes == tuple(sorted(present))
    opened_data = opened(network, data)[1]
    assert opened_data.classes == network.classes
    assert [opened_data.classes[label] for label in opened_data.labels] == names.tolist()
    options = {"estimators": ["kde"], "ablate": True, "samples": 60, "progress": silent}
    (ranked,) = oip.rank_into(tmp_path, network, "maps", data=data, **options)
    assert ranked.ablation.accuracy == 1.0
    assert ranked.ranking.classes == [name for name in network.classes if name in present]
    pruned = oip.prune(network, "maps", data=data, method="l1", progress=silent)
    assert pruned.before.accuracy == 1.0
    assert opened(network.with_classes(["x", "y", "z"]), data)[1] is data
    assert opened(network.with_classes([*"ab", *present]), data)[1].labels.max() > 1


def test_statistics_are_given_or_known_or_measured(small_model, bars):
    data = load_data(*bars)
    network = open_network(small_model, data)
    assert network.inputs.mean.tolist() == [40.0]
    given = ModelInput(mean=(1.0,), std=(2.0,), value_range=(0.0, 255.0))
    spec = open_network(network, data, given).inputs
    assert (spec.mean.tolist(), spec.std.tolist(), spec.low, spec.high) == ([1.0], [2.0], 0, 255)
    with pytest.raises(SettingsError) as caught:
        open_network(network, data, ModelInput(std=(0.0,)))
    assert "--" not in str(caught.value), "a library does not name options"


PREPARED = {"caffe": "vgg16", "torch": "densenet", "tf": "mobilenet_v2"}


@pytest.mark.parametrize("kind", PREPARED)
def test_pictures_are_prepared_as_keras_applications_does_it(kind):
    pictures = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3)).astype(np.uint8)
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    with pytest.warns(UserWarning, match=f"are brought to those of the model .preprocess {kind}"):
        network, data = opened(model, pictures, model_input=ModelInput(preprocess=kind))
    module = getattr(keras.applications, PREPARED[kind])
    fed = module.preprocess_input(pictures.astype(np.float32))
    received = check_images(network.inputs, data.images)
    np.testing.assert_allclose(received, fed, atol=1e-3)
    assert data.images is pictures, "the gallery shows pictures as they are"
    assert check_images(network.inputs, received) is received


def test_pictures_are_brought_to_a_range_that_leaves_them_out():
    pictures = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3)).astype(np.uint8)
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    with pytest.warns(UserWarning, match="are brought to those of the model .0 to 1"):
        network, data = opened(model, pictures, model_input=ModelInput(value_range=(0.0, 1.0)))
    received = check_images(network.inputs, data.images)
    np.testing.assert_allclose(received, pictures / 255, atol=1e-6)
    np.testing.assert_allclose(network.inputs.mean, received.mean((0, 1, 2)), rtol=1e-5)
    levels = (pictures > 99).astype(np.uint8)
    network, data = opened(model, levels, model_input=ModelInput(value_range=(0.0, 1.0)))
    assert check_images(network.inputs, data.images).max() == 1


def test_a_network_named_as_one_of_keras_applications_says_how_it_is_fed():
    pictures = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3)).astype(np.uint8)
    layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)]
    model = keras.Sequential(layers, name="resnet50v2")
    with pytest.warns(UserWarning, match="fed with pixels from 0 to 255. For ResNet50V2"):
        opened(model, pictures)


def test_layers_are_texts_or_pairs(small_model):
    network = oip.Network(small_model)
    assert [(layer.name, len(maps)) for layer, maps in select_maps(network, None)] == [
        ("first", 6),
        ("second", 70),
    ]
    ((layer, maps),) = select_maps(network, "second:3,5")
    assert (layer.name, maps.tolist()) == ("second", [3, 5])
    assert select_maps(network, [(layer, maps)]) == [(layer, maps)]
    assert len(select_maps(network, layer)[0][1]) == 70
    assert len(select_maps(network, ["first", "second:0"])) == 2


def test_a_dataset_has_a_short_repr(bars):
    data = load_data(*bars)
    assert repr(data) == "Dataset arrays: 120 images of 16 x 16 x 1, 4 classes"
    assert np.shares_memory(data.images, bars[0])


def test_arrays_get_the_size_of_a_model_if_that_is_asked(small_model, bars):
    images, labels = bars
    wide = np.repeat(images, 2, axis=2)
    network, data = opened(small_model, wide, labels[:, None], resize="stretch")
    assert (data.images.shape[1:], data.resize) == ((16, 16, 1), "stretch")
    assert data.labels.tolist() == labels.tolist()
    assert network.inputs.shape == (16, 16, 1)
    _, train, test = opened_with_parts(small_model, wide, labels, resize="crop")
    assert train.images.shape[1:] == test.images.shape[1:] == (16, 16, 1)
    assert opened(small_model, wide, labels)[1].images.shape[1:] == (16, 32, 1)
    assert opened(small_model, images, labels, resize="crop")[1].resize is None
    with pytest.raises(DataError, match="resize"):
        opened(small_model, images, labels, resize="bend")
