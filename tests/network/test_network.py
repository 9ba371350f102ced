import numpy as np
import pytest

from oip.core.errors import ModelError, SettingsError
from oip.network.network import Network


@pytest.fixture(scope="module")
def network(small_model):
    return Network(small_model)


def test_all_that_a_reader_wants_to_see_in_the_order_of_the_model(network):
    found = network.shown_layers()
    assert [(one.kind, one.maps, one.size, one.index) for one in found] == [
        ("Conv2D", 6, (14, 14), 0),
        ("MaxPooling2D", 6, (7, 7), 0),
        ("Conv2D", 70, (5, 5), 1),
        ("Dense", 4, (), -1),
    ]
    assert [one.last_call for one in found] == sorted(one.last_call for one in found)


def test_any_layer_is_found_by_its_name(network, small_model):
    assert network.find_output("@1") == network.find_output("second")
    assert network.find_output("first", "block") == network.find_output("pool")
    flat = next(layer.name for layer in small_model.layers if "flatten" in layer.name)
    one = network.find_output(flat)
    assert (one.maps, one.size, one.index) == (70 * 25, (), -1)


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
    names = [one.name for one in network.shown_layers()]
    assert names == ["inner/shared", "inner/shared#1"]
    assert network.find_output("sum").size == (8, 8)
    assert network.find_output("inner/after#1").maps == 3


def test_a_model_of_units_alone_is_shown_and_one_of_nothing_is_refused():
    import keras
    from keras import layers

    plain = keras.Sequential([layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3)])
    assert [one.maps for one in Network(plain).shown_layers()] == [3]
    empty = keras.Sequential([layers.Input((4, 4, 1)), layers.Flatten()])
    with pytest.raises(ModelError, match="convolutional"):
        Network(empty).shown_layers()


def test_values_are_those_of_the_model(network, small_model, small_images):
    import keras

    from oip.network.responses import output_values

    images = small_images[0][:3]
    for one, name in zip(network.shown_layers(), ["first", "pool", "second", None], strict=True):
        layer = small_model.layers[-1] if name is None else small_model.get_layer(name)
        wanted = np.asarray(keras.Model(small_model.inputs[0], layer.output)(images * 1.0))
        values = output_values(network, images, one, np.arange(one.maps))
        assert np.allclose(values, np.moveaxis(wanted, -1, 1), atol=1e-5)
