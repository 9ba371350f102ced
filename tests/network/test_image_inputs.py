import warnings

import numpy as np
import pytest

import oip
from oip.core.errors import ModelError
from oip.core.warnings import Notice
from oip.network.forward import run_to
from oip.network.layer_spec import parse_selections
from oip.network.network import Network


def own():
    import keras
    from keras import layers

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.one = layers.Conv2D(3, 3, name="one")

        def call(self, values):
            return self.one(values)

    return Own()


def test_bands_of_a_subclassed_model_are_those_it_was_built_on():
    called = own()
    called(np.zeros((1, 12, 12, 2), "float32"))
    assert Network(called, input_shape=(20, 15)).layers[0].size == (18, 13)
    assert Network(called, input_shape=(20, 15, 2)).inputs.shape == (20, 15, 2)
    for wrong in ((20,), (0, 9), (1, 20, 15, 2)):
        with pytest.raises(ModelError, match="shape"):
            Network(called, input_shape=wrong)
    with pytest.raises(ModelError, match=r"\(h, w, bands\)"):
        Network(own(), input_shape=(12, 12))


def two(as_dictionary=False):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    left, right = layers.Input((9, 9, 1), name="a"), layers.Input((8, 8, 3), name="b")
    number = layers.Input((2,), name="n")
    parts = [
        layers.Flatten()(layers.Conv2D(2, 3, name="left")(left)),
        layers.Flatten()(layers.Conv2D(4, 3, name="right")(right)),
        number,
    ]
    inputs = [left, right, number]
    if as_dictionary:
        inputs = {"n": number, "b": right, "a": left}
    return keras.Model(inputs, layers.Concatenate()(parts))


@pytest.mark.parametrize("as_dictionary", [False, True])
def test_any_input_can_take_the_images(as_dictionary):
    model = two(as_dictionary)
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
    for wrong in ("n", "c", "@9"):
        with pytest.raises(ModelError, match=r"a \(@0\), b \(@1\)"):
            Network(model, input=wrong)


def own_built():
    model = own()
    model(np.zeros((1, 12, 12, 2), "float32"))
    return model


def test_layers_of_another_input_are_left_out_with_a_notice():
    network = Network(two())
    with pytest.warns(Notice, match=r"'right'.*input='b'"):
        chosen = parse_selections(network, [])
    assert [layer.name for layer, _ in chosen] == ["left"]
    with pytest.raises(ModelError, match=r"input='b'"):
        parse_selections(network, ["right"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [one.name for one, _ in parse_selections(network, ["left:0"])] == ["left"]


def test_the_other_input_is_climbed():
    oips = oip.reconstruct(Network(two(), input="b"), "right", steps=8, screened=8, starts=1)
    assert oips.images.shape == (4, 1, 8, 8, 3)
    assert np.all(oips.scores[:, 0] > oips.screened_scores)
