import numpy as np
import pytest

from oip.core.errors import ModelError
from oip.network.forward import run_to
from oip.network.network import Network


def tensors(network, layer, images):
    before, after = run_to(network.model, network.feed(images), layer.response)
    return before.numpy(), after.numpy()


def test_layers_of_the_paper_have_its_geometry():
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(5, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(6, 3, activation="relu"),
        ]
    )
    found = Network(model).layers
    assert [layer.size for layer in found] == [(26, 26), (11, 11), (3, 3)]
    assert [layer.receptive_field for layer in found] == [(3, 3), (8, 8), (18, 18)]
    assert [layer.jump for layer in found] == [(1, 1), (2, 2), (4, 4)]
    assert [layer.block_size for layer in found] == [(13, 13), (5, 5), None]


def geometry_models():
    import keras
    from keras import layers

    def build(*parts, shape=(33, 27, 1)):
        return keras.Sequential([layers.Input(shape), *parts])

    ones = {"kernel_initializer": "ones", "bias_initializer": "zeros"}
    return {
        "strides": build(layers.Conv2D(1, 3, strides=2, **ones), layers.Conv2D(1, (3, 5), **ones)),
        "same": build(
            layers.Conv2D(1, 4, strides=2, padding="same", **ones),
            layers.AveragePooling2D(2, padding="same"),
            layers.Conv2D(1, 3, padding="same", **ones),
        ),
        "dilated": build(layers.Conv2D(1, 3, dilation_rate=3, **ones), layers.Conv2D(1, 2, **ones)),
        "padded": build(
            layers.ZeroPadding2D(((3, 1), (2, 0))),
            layers.Conv2D(1, 5, strides=2, **ones),
            layers.Cropping2D(1),
            layers.Conv2D(1, 3, **ones),
        ),
        "transposed": build(
            layers.Conv2D(1, 3, strides=2, **ones),
            layers.Conv2DTranspose(1, 4, strides=2, padding="same", **ones),
        ),
        "enlarged": build(
            layers.AveragePooling2D(2), layers.UpSampling2D(2), layers.Conv2D(1, 3, **ones)
        ),
    }


@pytest.mark.parametrize("name", ["strides", "same", "dilated", "padded", "transposed", "enlarged"])
def test_fields_hold_what_a_node_depends_on(name):
    """Brute force: the pixels with a gradient, for a node far from the edges."""
    import tensorflow as tf

    network = Network(geometry_models()[name])
    layer = network.layers[-1]
    images = tf.ones((1, 33, 27, 1))
    node = tuple(side // 2 for side in layer.size)
    with tf.GradientTape() as tape:
        tape.watch(images)
        before, _ = run_to(network.model, network.feed(images), layer.response)
        value = before[0, node[0], node[1], 0]
    seen = np.abs(tape.gradient(value, images).numpy()[0, ..., 0]) > 0
    for axis in (0, 1):
        line = np.flatnonzero(seen.any(1 - axis))
        centre = layer.offset[axis] + node[axis] * layer.jump[axis]
        half = (layer.receptive_field[axis] - 1) / 2
        slack = 2 if name in ("transposed", "enlarged") else 0  # a node's own field can be less
        assert centre - half - 0.51 <= line[0] <= centre - half + 0.51 + slack
        assert centre + half - 0.51 - slack <= line[-1] <= centre + half + 0.51


def test_a_layer_behind_batch_normalisation_answers_after_its_activation():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    inputs = layers.Input((10, 10, 2))
    convolved = layers.Conv2D(3, 3, name="conv")(inputs)
    normed = layers.BatchNormalization(moving_mean_initializer="random_normal")(convolved)
    out = layers.ReLU()(normed)
    pooled = layers.AveragePooling2D(2)(layers.Dropout(0.5)(out))
    model = keras.Model(inputs, layers.Flatten()(pooled))
    network = Network(model)
    (layer,) = network.layers
    assert layer.activation == "relu"
    assert layer.silent_possible
    assert layer.block_size == (4, 4)
    images = np.random.default_rng(0).normal(size=(2, 10, 10, 2)).astype("float32")
    before, after = tensors(network, layer, images)
    parts = keras.Model(inputs, [normed, out])(images, training=False)
    np.testing.assert_allclose(before, parts[0], atol=1e-5)
    np.testing.assert_allclose(after, parts[1], atol=1e-5)


def test_nested_models_and_layers_used_twice_have_names_of_their_own():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    shared = layers.Conv2D(2, 3, padding="same", activation="tanh", name="shared")
    inner = keras.Sequential([layers.Input((9, 9, 2)), shared, layers.MaxPooling2D()], name="inner")
    inputs = layers.Input((9, 9, 2))
    twice = shared(shared(inputs))
    network = Network(keras.Model(inputs, [inner(twice), layers.Conv2D(1, 1, name="head")(twice)]))
    names = [layer.name for layer in network.layers]
    assert names.count("head") == 1
    assert len(set(names)) == len(names) == 4
    assert [layer.response.use for layer in network.layers if "shared" in layer.name] == [0, 1, 2]
    images = np.random.default_rng(1).normal(size=(2, 9, 9, 2)).astype("float32")
    uses = [layer for layer in network.layers if "shared" in layer.name]
    expected = images
    for layer in uses:
        expected = np.asarray(shared(expected))
        np.testing.assert_allclose(tensors(network, layer, images)[1], expected, atol=1e-5)


def test_pre_activation_of_a_fused_activation_is_its_linear_part(small_model):
    import keras

    network = Network(small_model)
    layer = network.find("first")
    images = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 1)).astype("float32")
    before, after = tensors(network, layer, images)
    assert before.min() < 0
    np.testing.assert_allclose(np.maximum(before, 0), after)
    plain = keras.Model(small_model.inputs, small_model.get_layer("first").output)
    np.testing.assert_allclose(after, plain(images), atol=1e-5)


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
            self.one = layers.Conv2D(3, 3, activation="relu", name="one")
            self.two = layers.Conv2D(4, 3, name="two")

        def call(self, x):
            x = self.one(x)
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


@pytest.mark.parametrize("name", ["first", "@0"])
def test_layers_are_found_by_name_and_index(small_model, name):
    assert Network(small_model).find(name).index == 0


def test_unknown_layers_and_models_without_any_are_named(small_model):
    import keras

    network = Network(small_model)
    with pytest.raises(ModelError, match="Did you mean 'second'"):
        network.find("secnd")
    with pytest.raises(ModelError, match="@0 to @1"):
        network.find("@7")
    dense = keras.Sequential([keras.layers.Input((4, 4, 1)), keras.layers.Flatten()])
    with pytest.raises(ModelError, match="convolutional"):
        Network(dense).find("x")
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


def test_an_input_smaller_than_the_receptive_field_is_refused():
    with pytest.raises(ModelError, match="cannot call"):
        assert Network(free_model(), input_shape=(3, 3)).layers
