"""Smaller models compute what is left, and are corrected."""

import numpy as np
import pytest

from oip.core.errors import ModelError, SettingsError
from oip.network.channel_graph import Channels
from oip.network.network import Network
from oip.network.surgery import (
    bytes_received,
    corrected,
    images_needed,
    kernel_matrix,
    masked,
    patches,
    received,
    removed_channels,
    without,
)
from oip.network.tracing import shadowed


def made_of(*parts, shape=(12, 12, 2)):
    import keras

    keras.utils.set_random_seed(1)
    return shaken(keras.Sequential([keras.layers.Input(shape), *parts]))


def shaken(model):
    """Every weight random, so that no bias and no normalisation is the neutral one."""
    draw = np.random.default_rng(0)
    model.set_weights(
        [weight + draw.uniform(0.1, 0.5, weight.shape) for weight in model.get_weights()]
    )
    return model


def plain():
    from keras import layers

    return made_of(
        layers.Normalization(mean=[3.0, 2.0], variance=[4.0, 1.0]),
        layers.Conv2D(6, 3, activation="relu", name="a"),
        layers.MaxPooling2D(),
        layers.Conv2D(8, 3, padding="same", strides=2, use_bias=False, name="b"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Dropout(0.3),
        layers.SeparableConv2D(5, 2, depth_multiplier=2, name="c"),
        layers.PReLU(shared_axes=[1, 2]),
        layers.Conv2DTranspose(4, 2, strides=2, name="d"),
        layers.DepthwiseConv2D(2, depth_multiplier=3, name="e"),
        layers.ZeroPadding2D(),
        layers.Flatten(),
        layers.Dense(7, activation="relu"),
        layers.Dense(3, activation="softmax", name="classes"),
    )


def residual():
    """A residual block with a gate, a branch that is concatenated, and an inner model."""
    import keras
    from keras import layers

    inner = keras.Sequential(
        [layers.Input((12, 12, 13)), layers.Conv2D(6, 1, name="inner"), layers.ReLU()], name="net"
    )
    given = layers.Input((12, 12, 2))
    stem = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(given)
    values = layers.Conv2D(8, 3, padding="same", activation="relu", name="one")(stem)
    values = layers.Conv2D(8, 3, padding="same", name="two")(values)
    values = layers.BatchNormalization()(values)
    gate = layers.GlobalAveragePooling2D()(values)
    gate = layers.Dense(4, activation="relu")(gate)
    gate = layers.Dense(8, activation="sigmoid", name="gate")(gate)
    values = layers.Multiply()([values, layers.Reshape((1, 1, 8))(gate)])
    values = layers.Activation("relu")(layers.Add()([stem, values]))
    branch = layers.Conv2D(5, 1, activation="relu", name="branch")(values)
    values = inner(layers.Concatenate()([branch, values]))
    values = layers.GlobalAveragePooling2D()(values)
    return shaken(keras.Model(given, layers.Dense(3, name="classes")(values)))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).normal(size=(5, 12, 12, 2)).astype(np.float32)


def silenced(network, removed, images):
    """The model's output with maps set to 0 after their activation, by another way."""
    import tensorflow as tf

    def wrap(layer, call):
        name = next(name for name in removed if network.find(name).response.layer is layer)
        gate = np.ones(network.find(name).maps, np.float32)
        gate[list(removed[name])] = 0
        return lambda *args, **kwargs: call(*args, **kwargs) * gate

    ends = [network.find(name).response.layer for name in removed]
    with shadowed(ends, wrap):
        return network.model(tf.constant(images), training=False).numpy()


@pytest.mark.parametrize(
    "removed",
    [{"a": [0, 3]}, {"b": [1, 2, 7]}, {"c": [4]}, {"a": [5], "b": [0], "c": [1, 2]}],
    ids=str,
)
def test_pruned_network_is_the_network_with_silenced_maps(images, removed):
    network = Network(plain())
    before = [weight.copy() for weight in network.model.get_weights()]
    smaller = without(network, removed)
    result = smaller(images, training=False).numpy()
    np.testing.assert_allclose(result, silenced(network, removed, images), rtol=1e-3, atol=1e-5)
    assert smaller.count_params() < network.model.count_params()
    layers = {layer.name: layer for layer in Network(smaller).layers}
    for name, maps in removed.items():
        assert layers[name].maps == network.find(name).maps - len(maps)
    for weight, was in zip(network.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, was)


@pytest.mark.parametrize("inner_kind", ["sequential", "functional"])
def test_a_model_that_begins_with_a_model(images, inner_kind):
    import keras
    from keras import layers

    inner = keras.Sequential(
        [layers.Input((12, 12, 2)), layers.Conv2D(6, 3, activation="relu", name="inner")]
    )
    if inner_kind == "functional":
        inner = keras.Model(inner.inputs[0], inner.outputs[0])
    inner.name = "net"
    top = [layers.GlobalAveragePooling2D(), layers.Dense(3)]
    network = Network(shaken(keras.Sequential([layers.Input((12, 12, 2)), inner, *top])))
    removed = {"net/inner": [1, 4]}
    result = without(network, removed)(images, training=False).numpy()
    np.testing.assert_allclose(result, silenced(network, removed, images), rtol=1e-3, atol=1e-5)


def test_what_is_added_goes_together_and_so_does_its_gate(images):
    network = Network(residual())
    channels = Channels.of(network)
    stem, two = (channels.of_layer(network, network.find(name)) for name in ("stem", "two"))
    np.testing.assert_array_equal(stem, two)
    assert not np.isin(channels.of_layer(network, network.find("one")), stem).any()
    smaller = without(network, {"stem": [1, 6]})
    sizes = {layer.name: layer.maps for layer in Network(smaller).layers}
    assert sizes == {"stem": 6, "one": 8, "two": 6, "branch": 5, "net/inner": 6}
    assert smaller.get_layer("gate").units == 6
    # The whole model with those maps silenced in both layers.
    removed = removed_channels(network, {"two": [1, 6]}, channels)
    np.testing.assert_allclose(
        smaller(images, training=False).numpy(),
        masked(network, channels, removed)(images).numpy(),
        rtol=1e-4,
    )


@pytest.mark.parametrize("removed", [{"branch": [0, 4]}, {"one": [2]}, {"net/inner": [5]}], ids=str)
def test_through_concatenation_addition_and_nested_models(images, removed):
    network = Network(residual())
    smaller = without(network, removed)
    np.testing.assert_allclose(
        smaller(images, training=False).numpy(), silenced(network, removed, images), rtol=1e-3
    )


def test_the_smaller_model_can_be_saved_and_read(images, tmp_path):
    smaller = without(Network(plain()), {"a": [1], "b": [2]})
    smaller.save(tmp_path / "smaller.keras")
    loaded = Network(tmp_path / "smaller.keras").model
    np.testing.assert_allclose(loaded(images).numpy(), smaller(images).numpy(), rtol=1e-5)


def test_normalisation_that_was_learned_keeps_its_statistics(images):
    import keras
    from keras import layers

    first = layers.Normalization()
    first.adapt(images)
    model = keras.Sequential(
        [layers.Input((12, 12, 2)), first, layers.Conv2D(4, 3, name="a"), layers.Flatten()]
    )
    model.add(layers.Dense(2))
    network = Network(model)
    result = without(network, {"a": [3]})(images).numpy()
    np.testing.assert_allclose(result, silenced(network, {"a": [3]}, images), rtol=1e-3, atol=1e-5)


def refusals():
    import keras
    from keras import layers

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Conv2D(4, 3, name="a")
            self.last = layers.Dense(2)

        def call(self, inputs):
            return self.last(keras.ops.mean(self.first(inputs), axis=(1, 2)))

    own = Own()
    own(np.zeros((1, 12, 12, 2), np.float32))
    given = layers.Input((12, 12, 2))
    image_added = layers.Conv2D(2, 3, padding="same", name="a")(given)
    image_added = layers.Flatten()(layers.Add()([given, image_added]))
    dense = layers.Dense(2)
    conv = layers.Conv2D
    return {
        "output": (made_of(conv(4, 3, name="a")), "output"),
        "groups": (made_of(conv(4, 3, name="a"), conv(4, 3, groups=2), layers.Flatten()), "groups"),
        "normalised": (
            made_of(conv(4, 3, name="a"), layers.LayerNormalization(), layers.Flatten(), dense),
            "LayerNormalization",
        ),
        "softmax": (
            made_of(conv(4, 3, name="a"), layers.Softmax(), layers.Flatten(), layers.Dense(2)),
            "Softmax",
        ),
        "image": (keras.Model(given, layers.Dense(2)(image_added)), "image"),
        "apart": (
            made_of(conv(4, 3, name="a"), layers.Permute((3, 1, 2)), layers.Flatten()),
            "Permute",
        ),
        "subclassed": (own, "functional Keras model|not followed"),
    }


@pytest.mark.parametrize(
    "kind", ["output", "groups", "normalised", "softmax", "image", "apart", "subclassed"]
)
def test_what_cannot_be_removed_is_refused_with_the_layer_that_wants_it(kind):
    model, word = refusals()[kind]
    network = Network(model)
    with pytest.raises(ModelError, match=word):
        without(network, {network.layers[0].name: [0]})


def test_depthwise_maps_and_bad_numbers_are_refused():
    network = Network(plain())
    with pytest.raises(ModelError, match="made here"):
        without(network, {"e": [0]})
    with pytest.raises(SettingsError, match="0 to 5"):
        without(network, {"a": [6]})
    with pytest.raises(SettingsError, match="all of them"):
        without(network, {"a": range(6)})
    with pytest.raises(ModelError, match="one of a, b"):
        without(network, {"conv": [0]})


def test_a_layer_that_is_used_twice_reads_the_same_channels():
    import keras
    from keras import layers

    given = layers.Input((8, 8, 1))
    shared = layers.Conv2D(3, 3, name="shared")
    parts = [layers.Conv2D(4, 1, name=name)(given) for name in "ab"]
    values = layers.Concatenate()([shared(part) for part in parts])
    model = keras.Model(given, layers.Dense(2)(layers.GlobalMaxPooling2D()(values)))
    network = Network(shaken(model))
    channels = Channels.of(network)
    a, b = (channels.of_layer(network, network.find(name)) for name in "ab")
    np.testing.assert_array_equal(a, b)
    smaller = without(network, {"a": [1], "shared": [0]})
    sizes = {layer.name: layer.maps for layer in Network(smaller).layers}
    assert sizes == {"a": 3, "b": 3, "shared": 2, "shared#1": 2}


def test_a_network_of_keras_applications_loses_maps_of_a_residual_stage():
    import keras

    model = keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), alpha=0.35, weights=None, classes=3
    )
    pooled = keras.layers.GlobalAveragePooling2D()(model.get_layer("block_6_project").output)
    model = keras.Model(model.inputs, keras.layers.Dense(3)(pooled))
    network = Network(model)
    channels = Channels.of(network)
    projections = [layer for layer in network.layers if layer.name.endswith("project")]
    first, second = projections[1:3]
    np.testing.assert_array_equal(
        channels.of_layer(network, first), channels.of_layer(network, second)
    )
    smaller = without(network, {second.name: [0, 3]}, channels)
    sizes = {layer.name: layer.maps for layer in Network(smaller).layers}
    assert sizes[first.name] == sizes[second.name] == second.maps - 2
    assert smaller.count_params() < model.count_params()


def noise(n=400, shape=(9, 9, 1), seed=0):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def stack(bias=True, last="relu"):
    """Map 5 of the first layer is map 1 and a half of map 2; 4 copies map 0."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(4)
    model = keras.Sequential(
        [
            layers.Input((9, 9, 1)),
            layers.Conv2D(6, 3, name="first"),
            layers.Conv2D(4, 3, activation=last, use_bias=bias, name="second"),
            layers.Flatten(),
            layers.Dense(3, name="classes"),
        ]
    )
    kernel, offset = model.get_layer("first").get_weights()
    offset += 0.3
    kernel[..., 4] = kernel[..., 0]
    kernel[..., 5] = kernel[..., 1] + 0.5 * kernel[..., 2]
    offset[5] = 0.45
    model.get_layer("first").set_weights([kernel, offset])
    return model


def pruned(model, removed, data, correct):
    network = Network(model)
    channels = Channels.of(network)
    dependent = removed_channels(network, removed, channels)
    smaller = without(network, removed, channels)
    left = corrected(network, smaller, channels, dependent, data) if correct else []
    return smaller, left


@pytest.mark.parametrize("bias", [True, False])
def test_what_others_hold_is_put_in_their_place(bias):
    model, data = stack(bias), noise()
    correct = model(noise(20, seed=9)).numpy()
    removed = {"first": [4, 5]}
    plain, _ = pruned(model, removed, data, False)
    smaller, left = pruned(model, removed, data, True)
    assert left == []
    result = smaller(noise(20, seed=9)).numpy()
    assert np.abs(plain(noise(20, seed=9)).numpy() - correct).max() > 0.05
    np.testing.assert_allclose(result, correct, atol=5e-3)


def test_the_fit_is_that_of_least_squares():
    model, data = stack(), noise(100)
    removed = {"first": [1, 2, 3, 5]}
    smaller, _ = pruned(model, removed, data, True)
    network = Network(model)
    old, new = model.get_layer("second"), smaller.get_layer("second")
    x = np.concatenate(list(received(Network(smaller), new, data)))
    kernel = kernel_matrix(old).reshape(-1, 4)
    y = np.concatenate(list(received(network, old, data))) @ kernel + old.get_weights()[1]
    design = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    best = np.linalg.lstsq(design, y, rcond=None)[0]
    residual = ((design @ best - y) ** 2).mean()
    solution = np.concatenate([kernel_matrix(new).reshape(-1, 4), new.get_weights()[1][None]])
    assert ((design @ solution - y) ** 2).mean() == pytest.approx(residual, rel=1e-3)


def test_later_layers_see_what_corrected_layers_before_them_give():
    model, data = stack(last="tanh"), noise(300)
    removed = {"first": [0, 2], "second": [3]}
    correct = model(data).numpy()
    plain, _ = pruned(model, removed, data, False)
    smaller, _ = pruned(model, removed, data, True)
    error = [((net(data).numpy() - correct) ** 2).mean() for net in (plain, smaller)]
    assert error[1] < 0.3 * error[0]


def test_depthwise_readers_are_left_and_named():
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((9, 9, 1)),
            layers.Conv2D(4, 3, name="first"),
            layers.DepthwiseConv2D(3, name="deep"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    smaller, left = pruned(model, {"first": [1]}, noise(30), True)
    assert left == ["deep"]
    np.testing.assert_array_equal(
        smaller.get_layer("deep").get_weights()[0],
        np.delete(model.get_layer("deep").get_weights()[0], 1, axis=2),
    )


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"padding": "same"}, (9, 8, 3)),
        ({"strides": (2, 1)}, (9, 8, 3)),
        ({"dilation_rate": 2}, (9, 8, 3)),
    ],
)
def test_patches_times_the_kernel_are_the_layers_output(settings, shape):
    from keras import layers

    data = noise(4, shape)
    layer = layers.Conv2D(5, (3, 2), **settings)
    correct = layer(data).numpy()
    result = np.einsum("npkc,kcm->npm", patches(layer, data), kernel_matrix(layer))
    np.testing.assert_allclose(result, correct.reshape(4, -1, 5), atol=1e-5)


def test_patches_in_one_dimension_of_dense_layers_and_of_others():
    from keras import layers

    line = layers.Conv1D(3, 4, strides=2)
    data = noise(4, (11, 2))
    correct = line(data).numpy()
    result = np.einsum("npkc,kcm->npm", patches(line, data), kernel_matrix(line))
    np.testing.assert_allclose(result, correct, atol=1e-5)
    dense = layers.Dense(3)
    correct = dense(data).numpy()
    result = np.einsum("npkc,kcm->npm", patches(dense, data), kernel_matrix(dense))
    np.testing.assert_allclose(result, correct, atol=1e-5)
    grouped = layers.Conv2D(4, 3, groups=2)
    grouped(noise(1, (9, 9, 2)))
    with pytest.raises(ModelError, match="groups"):
        patches(grouped, noise(1, (9, 9, 2)))


def test_pieces_do_not_change_what_is_received():
    network = Network(stack())
    layer, data = network.model.get_layer("second"), noise(30)
    size = bytes_received(network, layer)
    whole = np.concatenate(list(received(network, layer, data)))
    assert whole.shape == (30 * 25, 54)
    parts = list(received(network, layer, data, byte_budget=7 * size))
    assert len(parts) == 5
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)
    assert len(images_needed(network, layer, noise(600))) == 512
