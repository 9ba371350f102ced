"""The view of a model: layers by name, sizes, statistics of images."""

import copy
import pickle

import numpy as np
import pytest

from oip.core.errors import ModelError, Notice, SettingsError
from oip.network.network import Network


@pytest.fixture(scope="module")
def network(small_model):
    return Network(small_model)


def test_all_that_a_reader_wants_to_see_in_the_order_of_the_model(network):
    result = network.shown_layers()
    assert [(layer.layer_class, layer.maps, layer.size, layer.index) for layer in result] == [
        ("Conv2D", 6, (14, 14), 0),
        ("MaxPooling2D", 6, (7, 7), 0),
        ("Conv2D", 70, (5, 5), 1),
        ("Dense", 4, (), 6),
    ]
    assert [layer.last_call for layer in result] == sorted(layer.last_call for layer in result)


def test_any_layer_is_found_by_its_name(network, small_model):
    assert network.find_output("@1") == network.find_output("second")
    assert network.find_output("first", "block") == network.find_output("pool")
    flat = next(layer.name for layer in small_model.layers if "flatten" in layer.name)
    layer = network.find_output(flat)
    assert (layer.maps, layer.size, layer.index) == (70 * 25, (), 5)


@pytest.mark.parametrize(
    ("name", "at", "kind", "word"),
    [
        ("poool", "response", ModelError, "Did you mean 'pool'"),
        ("@7", "response", ModelError, "@0 to @1"),
        ("second", "block", SettingsError, "pooling layer after it"),
        ("pool", "block", SettingsError, "a layer with kernels"),
        ("first", "start", SettingsError, "response or block"),
    ],
)
def test_others_are_refused(network, name, at, kind, word):
    with pytest.raises(kind, match=word):
        network.find_output(name, at)


def test_nested_models_channels_first_and_second_uses():
    import keras
    from keras import layers

    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    inner = keras.Sequential(
        [layers.Input((8, 8, 3)), shared, layers.ReLU(name="after")], name="inner"
    )
    given = layers.Input((8, 8, 3))
    once = inner(given)
    twice = inner(once)
    network = Network(keras.Model(given, layers.Add(name="sum")([once, twice])))
    names = [layer.name for layer in network.shown_layers()]
    assert names == ["inner/shared", "inner/shared#1"]
    assert network.find_output("sum").size == (8, 8)
    assert network.find_output("inner/after#1").maps == 3


def test_a_model_that_turns_bands_last_itself_takes_pictures():
    import keras
    from keras import layers

    from oip.network.responses import output_values

    parts = [layers.Rescaling(1 / 255), layers.Conv2D(3, 3, name="first"), layers.MaxPooling2D()]
    plain = keras.Sequential([layers.Input((8, 10, 3)), *parts])
    turned = keras.Sequential([layers.Input((3, 8, 10)), layers.Permute((2, 3, 1)), *parts])
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 10, 3)).astype(np.uint8)
    expected, network = Network(plain), Network(turned)
    assert network.inputs.shape == (8, 10, 3) and network.inputs.high == expected.inputs.high == 255
    first, same = network.find("first"), expected.find("first")
    assert (first.receptive_field, first.jump) == (same.receptive_field, same.jump) != (None, None)
    values = output_values(network, images, first, np.arange(3))
    assert np.array_equal(values, output_values(expected, images, same, np.arange(3)))
    kernels = layers.Conv2D(3, 3)
    series = keras.Sequential([layers.Input((64, 8, 10)), layers.Permute((2, 3, 1)), kernels])
    assert Network(series).inputs.shape == (64, 8, 10)


def _gray(*parts):
    import keras

    return keras.Sequential([keras.Input((8, 8)), *parts])


def test_gray_images_without_bands_are_images_and_not_lines():
    import keras
    from keras import layers

    from oip.network.responses import output_values

    kernels = layers.Conv2D(3, 3, name="first")
    scaled = layers.Rescaling(1 / 255)
    plain = keras.Sequential([layers.Input((8, 8, 1)), scaled, kernels, layers.MaxPooling2D()])
    image = keras.Input((8, 8))
    outside = keras.Model(image, layers.MaxPooling2D()(kernels(keras.ops.expand_dims(image, -1))))
    models = [
        _gray(scaled, layers.Reshape((8, 8, 1)), kernels, layers.MaxPooling2D()),
        _gray(layers.Reshape((8, 8, 1)), scaled, kernels, layers.MaxPooling2D()),
        outside,
    ]
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1)).astype(np.uint8)
    same = Network(plain).find("first")
    for model in models:
        network = Network(model)
        assert network.inputs.shape == (8, 8, 1)
        assert model is outside or network.inputs.high == 255
        first = network.find("first")
        assert (first.size, first.receptive_field, first.jump) == (
            same.size,
            same.receptive_field,
            same.jump,
        )
        fed = images if model is not outside else images / np.float32(255)
        values = output_values(network, fed, first, np.arange(3))
        expected = output_values(Network(plain), images, same, np.arange(3))
        assert np.allclose(values, expected, atol=1e-6)
        assert not any(layer.kind == "tokens" for layer in network.other_layers)
    dense = _gray(layers.Flatten(), layers.Dense(3, name="units"))
    assert Network(dense).inputs.shape == (8, 8, 1)
    values = output_values(Network(dense), images, Network(dense).find("units"), np.arange(3))
    assert np.allclose(values, dense(images[..., 0].astype(np.float32)), rtol=1e-4)
    free = keras.Input((None, None))
    free = keras.Model(free, kernels(keras.ops.expand_dims(free, -1)))
    assert Network(free, input_shape=(9, 10)).inputs.shape == (9, 10, 1)
    assert Network.of(free, images=np.zeros((1, 9, 10))).inputs.shape == (9, 10, 1)


def test_lines_stay_lines():
    import keras
    from keras import layers

    lines = [
        _gray(layers.Conv1D(3, 3)),
        _gray(layers.LSTM(3)),
        _gray(layers.Dense(3), layers.Flatten()),
        keras.Sequential([keras.Input((16, 2)), layers.Flatten(), layers.Dense(2)]),
    ]
    assert [Network(model).inputs.shape for model in lines] == [(8, 8)] * 3 + [(16, 2)]
    vectors = keras.Sequential([keras.Input((784,)), layers.Dense(2)])
    with pytest.raises(ModelError, match=r"received \(784,\). Give it images: keras.Sequential"):
        Network(vectors)
    text_layers = [keras.Input((None,), dtype="int32"), layers.Embedding(9, 2), layers.Conv1D(2, 1)]
    with pytest.raises(ModelError, match=r"received \(None,\)\.$"):
        Network(keras.Sequential(text_layers))


def test_a_model_of_units_alone_is_shown_and_one_of_nothing_is_refused():
    import keras
    from keras import layers

    plain = keras.Sequential([layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3)])
    assert [layer.maps for layer in Network(plain).shown_layers()] == [3]
    empty = keras.Sequential([layers.Input((4, 4, 1)), layers.Flatten()])
    with pytest.raises(ModelError, match="convolutional"):
        Network(empty).shown_layers()


def test_values_are_those_of_the_model(network, small_model, small_images):
    import keras

    from oip.network.responses import output_values

    images = small_images[0][:3]
    for info, name in zip(network.shown_layers(), ["first", "pool", "second", None], strict=True):
        layer = small_model.layers[-1] if name is None else small_model.get_layer(name)
        correct = np.asarray(keras.Model(small_model.inputs[0], layer.output)(images * 1.0))
        values = output_values(network, images, info, np.arange(info.maps))
        assert np.allclose(values, np.moveaxis(correct, -1, 1), atol=1e-5)


@pytest.mark.parametrize("name", ["first", "@0"])
def test_layers_are_found_by_name_and_index(small_model, name):
    assert Network(small_model).find(name).index == 0


def test_unknown_layers_and_models_without_any_are_named(small_model):
    import keras

    network = Network(small_model)
    with pytest.raises(ModelError, match="Did you mean 'second'"):
        network.find("secnd")
    with pytest.raises(ModelError, match=r"one of first, second, .*pool.*; received 'x'"):
        network.find("x")
    assert network.find(network.find("second")) == network.find("second")
    with pytest.raises(ModelError, match=r"its name, .*; received .* type Conv2D"):
        network.find(network.model.get_layer("second"))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="@0 to @1"):
        network.find("@7")
    dense = keras.Sequential([keras.layers.Input((4, 4, 1)), keras.layers.Flatten()])
    with pytest.raises(ModelError, match="one of flatten"):
        Network(dense).find("x")
    with pytest.raises(ModelError, match="convolutional"):
        _ = Network(dense).default_layers
    flat = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ModelError, match="images"):
        Network(flat)
    with pytest.raises(ModelError, match="Keras model"):
        Network(42)


def free_model():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    return keras.Sequential([layers.Input((None, None, 2)), layers.Conv2D(3, 5, name="conv")])


def test_free_sides_are_told_or_those_of_the_images():
    network = Network(free_model(), input_shape=(20, 30))
    assert network.inputs.shape == (20, 30, 2)
    assert network.layers[0].size == (16, 26)
    fitted = network.fitted_to(np.zeros((4, 9, 12, 2)))
    assert fitted.layers[0].size == (5, 8)
    assert network.layers[0].size == (16, 26)
    assert fitted.fitted_to(np.zeros((1, 9, 12, 2))) is fitted
    fixed = Network(small())
    assert fixed.fitted_to(np.zeros((4, 30, 30, 1))) is fixed


def small():
    import keras
    from keras import layers

    return keras.Sequential([layers.Input((16, 16, 1)), layers.Conv2D(3, 5)])


@pytest.mark.parametrize("shape", [(20, 30, 3), (20,), (0, 30), (20, 30, 2, 1)])
def test_a_shape_that_the_model_does_not_take_is_refused(shape):
    with pytest.raises(ModelError, match="shape"):
        Network(free_model(), input_shape=shape)
    with pytest.raises(ModelError, match="shape"):
        Network(small(), input_shape=(20, 20))


def test_given_images_settle_what_is_not_known_and_change_no_network(small_model, small_images):
    import keras
    from keras import layers

    plain = keras.Sequential([layers.Input((16, 16, 1)), layers.Conv2D(2, 3)])
    images = small_images[0]
    own_network = Network(plain)
    for network in (
        Network.of(plain, images=images),
        Network.of(own_network, images=images[..., 0]),
    ):
        spec = network.inputs
        np.testing.assert_allclose(spec.mean, images.mean(), rtol=1e-5)
        assert (spec.low, spec.high, spec.source) == (0.0, 255.0, "data given")
        assert not spec.bounded
    assert not own_network.inputs.is_known
    assert Network.of(own_network) is own_network
    changed = Network(plain)
    changed.inputs = changed.inputs.with_statistics(value_range=(0.0, 300.0))
    assert Network.of(changed, images=images).inputs.high == 300.0
    changed.inputs = changed.inputs.with_statistics(mean=(1.0,))
    assert Network.of(changed, images=images) is changed
    given = Network(small_model)
    assert Network.of(given, images=images) is given


@pytest.mark.parametrize(
    "images", [np.zeros((3, 16, 16, 1)), np.ones((3, 4, 4, 1)), np.full((2, 16, 16, 1), np.nan), []]
)
def test_images_that_say_nothing_settle_nothing(images):
    import keras
    from keras import layers

    plain = keras.Sequential([layers.Input((16, 16, 1)), layers.Conv2D(2, 3)])
    assert not Network.of(plain, images=images).inputs.is_known


def test_an_input_smaller_than_the_receptive_field_is_refused():
    with pytest.raises(ModelError, match="cannot call"):
        assert Network(free_model(), input_shape=(3, 3)).layers


def test_a_short_text_names_the_model_its_input_and_its_layers(network):
    assert repr(network) == f"Network('{network.name}', input 16 x 16 x 1, 2 layers with maps)"


def test_layers_of_a_model_inside_are_found_by_the_end_of_their_path():
    import keras
    from keras import layers

    def backbone(name, *names):
        convolutions = [layers.Conv2D(2, 3, name=other) for other in names]
        return keras.Sequential([layers.Input((12, 12, 3)), *convolutions], name=name)

    image = layers.Input((12, 12, 3))
    ends = [backbone("left", "a", "b")(image), backbone("right", "a", "middle")(image)]
    network = Network(keras.Model(image, layers.Concatenate()(ends)))
    assert network.find("b").name == "left/b"
    assert network.find_output("right/a").name == "right/a"
    assert network.find("middle") == network.find("right/middle")
    with pytest.raises(ModelError, match="expected one of left/a, right/a; received 'a'"):
        network.find("a")
    with pytest.raises(ModelError, match="expected one of left/a, left/b, right/a, right/middle"):
        network.find("d")
    with pytest.raises(ModelError, match="Did you mean 'middle'"):
        network.find("midle")


def test_a_model_that_changed_has_another_digest(small_model):
    import keras

    model = keras.models.clone_model(small_model)
    model.set_weights(small_model.get_weights())
    trained = Network(model)
    before = trained.digest
    assert before == trained.digest
    model.set_weights([weight + 1 for weight in model.get_weights()])
    assert trained.digest == Network(model).digest != before


@pytest.mark.alone
def test_a_model_from_a_file_that_was_trained_on_is_not_the_file(small_model, tmp_path):
    path = tmp_path / "m.keras"
    small_model.save(path)
    network = Network(path)
    of_file = network.digest
    kernel = network.model.weights[0]
    kernel.assign(kernel + 1.0)
    assert network.digest == Network(network.model).digest != of_file
    assert Network(path).digest == of_file


def test_a_file_written_again_does_not_name_the_model_that_was_loaded(small_model, tmp_path):
    import keras

    path = tmp_path / "m.keras"
    small_model.save(path)
    loaded, early = Network(path), Network(path)
    kept = early.digest
    model = keras.models.clone_model(small_model)
    model.save(path)
    written = Network(path).digest
    assert early.digest == kept != written
    with pytest.warns(Notice, match="changed after it was loaded"):
        assert loaded.digest not in (kept, written)
    path.unlink()
    assert loaded.digest not in (kept, written)


@pytest.mark.parametrize("copy_of", [pickle.dumps, copy.deepcopy])
def test_a_network_is_opened_where_it_is_needed_and_never_copied_whole(small_network, copy_of):
    with pytest.raises(ModelError, match=r"received a Network\. Open it where"):
        copy_of(small_network)
