"""The calls of a model of any kind."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from oip.core.errors import ModelError
from oip.network import tracing
from oip.network.forward import run_to, selected_maps
from oip.network.network import Network


def tensors(network, layer, images):
    before, after = run_to(network.model, network.feed(images), layer.response)
    return before.numpy(), after.numpy()


def test_the_model_is_as_it_was(small_model):
    before = [weight.numpy().copy() for weight in small_model.weights]
    states = [set(vars(layer)) for layer in small_model.layers]
    activation = small_model.get_layer("first").activation
    network = Network(small_model)
    tensors(network, network.find("first"), np.zeros((1, 16, 16, 1), "float32"))
    with pytest.raises(Exception, match=r".+"):
        tensors(network, network.find("second"), np.zeros((1, 5, 5), "float32"))
    assert [set(vars(layer)) for layer in small_model.layers] == states
    assert small_model.get_layer("first").activation is activation
    for old, weight in zip(before, small_model.weights, strict=True):
        assert np.array_equal(old, weight.numpy())


def test_subclassed_models_are_seen_through():
    import keras
    from keras import layers

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Conv2D(3, 3, activation="relu", name="one")
            self.two = layers.Conv2D(4, 3, name="two")

        def call(self, x):
            x = self.first(x)
            return self.two(x + 1.0)

    called = Own()
    called(np.zeros((1, 12, 12, 1), "float32"))
    for network in (Network(Own(), input_shape=(12, 12, 1)), Network(called)):
        assert [(layer.name, layer.size) for layer in network.layers] == [
            ("one", (10, 10)),
            ("two", (8, 8)),
        ]
        assert network.layers[1].receptive_field == (5, 5)
    with pytest.raises(ModelError, match="knows its input"):
        Network(Own())


def test_other_threads_call_the_model_as_it_is():
    """One watches the layers, the other calls them meanwhile."""
    import keras

    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)])
    images = np.ones((1, 8, 8, 1), "float32")
    expected, calls = model(images).numpy(), []

    def watched(layer, call):
        def recorded(*args, **kwargs):
            calls.append(layer)
            return call(*args, **kwargs)

        return recorded

    with tracing.shadowed(model.layers, watched), ThreadPoolExecutor(1) as other:
        assert np.array_equal(other.submit(lambda: model(images).numpy()).result(), expected)
        assert not calls
        model(images)
    assert len(calls) == 1


def test_an_input_too_small_for_a_kernel_says_so():
    import keras
    from keras import layers

    model = keras.Sequential(
        [layers.Input((None, None, 1)), layers.MaxPooling2D(), layers.Conv2D(2, 5, name="conv")]
    )
    with pytest.raises(ModelError, match=r"'conv'.*receptive field.*5 x 5.*received 3 x 4"):
        _ = Network(model, input_shape=(6, 8)).layers


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype("float32")


def ended(*rest):
    """Return a model with a convolution and these layers."""
    import keras
    from keras import layers

    first = layers.Conv2D(4, 3, activation="relu", name="first")
    return keras.Sequential([layers.Input((8, 8, 1)), first, *rest])


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize(
    "kind", ["int8", "float8", "lora", "bidirectional", "time", "lstm", "spectral"]
)
def test_the_output_of_layers_that_run_in_other_ways(kind, pixels):
    from keras import layers

    last = layers.Dense(5, name="last")
    model = {
        "bidirectional": lambda: ended(
            layers.Reshape((6, 24)), layers.Bidirectional(layers.LSTM(3)), last
        ),
        "time": lambda: ended(layers.TimeDistributed(layers.Conv1D(2, 3)), layers.Flatten(), last),
        "lstm": lambda: ended(layers.Reshape((6, 24)), layers.LSTM(5, name="last")),
        "spectral": lambda: ended(
            layers.SpectralNormalization(layers.Conv2D(3, 3)), layers.Flatten(), last
        ),
    }.get(kind, lambda: ended(layers.Flatten(), last))()
    if kind in ("int8", "float8"):
        model(pixels)
        model.quantize(kind)
    if kind == "lora":
        last.enable_lora(2)
        last.lora_kernel_b.assign(np.ones((2, 5)))
    head = Network(model).class_layer()
    assert (head.name, head.maps) == ("last", 5)
    _, after = tensors(Network(model), head, pixels)
    np.testing.assert_allclose(after, model(pixels), atol=1e-4)


def test_an_output_that_no_layer_gives_is_no_class_and_hidden_layers_are_refused(pixels):
    import keras
    from keras import layers

    class Hidden(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = layers.Conv2D(3, 3, name="inner")

        def build(self, shape):
            self.inner.build(shape)

        def call(self, x):
            return keras.ops.conv(x, self.inner.kernel)

    with pytest.raises(ModelError, match=r"inner' \(Conv2D\).*without it"):
        Network(ended(Hidden())).find("first")
    body = ended(layers.Flatten(), layers.Dense(5, name="last"))
    network = Network(keras.Model(body.inputs, -body.outputs[0]))
    assert [layer.name for layer in network.layers] == ["first"]
    with pytest.raises(ModelError, match="Neg after 'last'"):
        network.class_layer()
    soft = Network(keras.Model(body.inputs, keras.ops.softmax(body.outputs[0])))
    np.testing.assert_allclose(
        tensors(soft, soft.class_layer(), pixels)[0], body(pixels), atol=1e-5
    )


def test_names_that_no_graph_takes(pixels):
    import keras
    from keras import layers

    names = ["a\\b", "c d\\1", "\\e"]
    parts = [layers.Conv2D(3, 3, name=names[0]), layers.Conv2D(3, 3, name=names[1])]
    parts += [layers.Flatten(), layers.Dense(2, name=names[2])]
    model = keras.Sequential([layers.Input((8, 8, 1)), *parts])
    network = Network(model)
    assert [network.find(name).name for name in names[:2]] == names[:2]
    compiled = selected_maps(network, network.class_layer().response)
    np.testing.assert_allclose(compiled(pixels, [0, 1])[..., 0], model(pixels), atol=1e-5)
    assert [parts[row].name for row in (0, 1, 3)] == names


def test_operations_within_functions_are_seen():
    import keras
    import tensorflow as tf
    from keras import layers

    class Nested(layers.Layer):
        def call(self, values):
            noisy = tf.function(lambda given: given + tf.random.normal(tf.shape(given)))
            return noisy(values)

    parts = [layers.Input((8, 8, 2)), layers.Conv2D(4, 3, groups=2)]
    assert not any("Random" in kind for kind in operations_of(keras.Sequential(parts)))
    assert "RandomStandardNormal" in operations_of(keras.Sequential([*parts, Nested()]))


def operations_of(model):
    return Network(model).recording.operations


def test_layers_of_one_name_have_names_of_their_own():
    import keras
    from keras import layers

    class Twins(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Conv2D(3, 3, name="conv")
            self.second = layers.Conv2D(3, 3, name="conv_1", padding="same")
            self.third = layers.Conv2D(4, 3, name="conv")
            self.heads = [layers.MultiHeadAttention(2, 3, name="heads") for _ in range(2)]

        def call(self, images):
            values = self.third(self.second(self.second(self.first(images))))
            for heads in self.heads:
                values = heads(values, values)
            return values

    model = Twins()
    model(np.zeros((1, 9, 9, 1), np.float32))
    network = Network(model)
    names = ["conv", "conv_1", "conv_1#1", "conv_2"]
    assert [layer.name for layer in network.layers] == names
    assert [network.find(name).index for name in names] == [0, 1, 2, 3]
    every = [layer.name for layer in network.other_layers]
    assert len(set(every)) == len(every) > 0
