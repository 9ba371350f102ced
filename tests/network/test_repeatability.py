"""Models that answer at random, by whatever class."""

import numpy as np
import pytest

import oip
from oip.core.errors import ModelError, Notice
from oip.network.layer_spec import parse_selections
from oip.network.network import Network


def noisy(kind):
    """Return a layer that is random at inference."""
    import keras
    import tensorflow as tf
    from keras import layers

    class Operation(layers.Layer):
        def call(self, x):
            return x + tf.random.normal(tf.shape(x))

    class Drawn(layers.Layer):
        def call(self, x):
            return x + np.random.normal()  # noqa: NPY002

    class Seeded(layers.Layer):
        def __init__(self, **settings):
            super().__init__(**settings)
            self.seed = keras.random.SeedGenerator(1)

        def call(self, x):
            return x + keras.random.normal(x.shape[1:], seed=self.seed)

    class Fixed(layers.Layer):
        def call(self, x):
            return x + keras.random.normal(x.shape[1:], seed=1)

    class MonteCarlo(layers.Dropout):
        def call(self, x, training=None):
            return super().call(x, training=True)

    class Scaled(layers.Dropout):
        def call(self, x, training=None):
            return 2 * x

    class Centered(layers.Layer):
        def call(self, x):
            return x - tf.reduce_mean(x, axis=0, keepdims=True)

    class Trained(layers.BatchNormalization):
        def call(self, x, training=None, mask=None):
            return super().call(x, training=True)

    class Shuffled(layers.Layer):
        def call(self, x):
            return tf.random.shuffle(x)

    own = {"MonteCarlo": MonteCarlo, "Scaled": Scaled}
    if kind in own:
        return own[kind](0.5, name="noisy")
    return locals()[kind](name="noisy")


def model(layer):
    import keras
    from keras import layers

    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(3, 3, name="first"),
            layer,
            layers.Conv2D(3, 3, name="second"),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )


@pytest.mark.parametrize("kind", ["Operation", "Drawn", "Seeded"])
def test_what_depends_on_chance_is_left_out_and_refused(kind):
    network = Network(model(noisy(kind)))
    assert network.find("first").maps == 3
    with pytest.raises(ModelError, match=f"chance since 'noisy' \\({kind}\\)"):
        network.find("second")
    with pytest.raises(ModelError, match="depends on chance"):
        network.class_layer()
    with pytest.warns(Notice, match="'second'"):
        assert [layer.name for layer, _ in parse_selections(network, [])] == ["first"]


@pytest.mark.parametrize("kind", ["Centered", "Trained", "Shuffled"])
def test_layers_that_mix_the_images_of_a_batch_are_refused(kind):
    network = Network(model(noisy(kind)))
    reason = "chance" if kind == "Shuffled" else "the other images of a batch"
    with pytest.raises(ModelError, match=f"depends on {reason} since 'noisy' \\({kind}\\)"):
        network.find("second")


def test_chance_before_a_saturated_output_is_seen_there_too():
    """Softmax of large logits is 0 and 1, whatever the noise; its logits are not."""
    import keras

    saturated = model(noisy("Operation"))
    kernel, _ = saturated.layers[-1].get_weights()
    saturated.layers[-1].set_weights([0 * kernel, np.array([1e4, 0, 0, 0])])
    network = Network(keras.Sequential([saturated, keras.layers.Softmax()]))
    with pytest.raises(ModelError, match=r"depends on chance since 'sequential.*/noisy'"):
        network.class_layer()


def test_dropout_that_stays_random_does_nothing_and_is_named():
    network = Network(model(noisy("MonteCarlo")))
    with pytest.warns(Notice, match="'noisy' \\(MonteCarlo\\)"):
        network.find("second")
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype("float32")
    first, second, last = network.model.layers[0], network.model.layers[2], network.model.layers[-1]
    result = np.asarray(second(first(images)))
    values = oip.responses(network, images, "second").values
    np.testing.assert_allclose(np.moveaxis(values, 1, -1), result, atol=1e-5)
    logits = last(result.reshape(3, -1))
    values = oip.responses(network, images, last.name).values
    np.testing.assert_allclose(values, logits, atol=1e-5)


def test_a_fixed_seed_is_no_chance_and_a_dropout_that_scales_is_refused():
    assert Network(model(noisy("Fixed"))).random == {}
    with pytest.raises(ModelError, match=r"noisy.*leaves its input"):
        Network(model(noisy("Scaled"))).find("first")


def test_models_of_keras_own_layers_are_not_asked_twice(small_model, monkeypatch):
    monkeypatch.setattr("oip.network.repeatability.leaf_layers", None)
    assert Network(small_model).random == {}


def test_a_layer_that_runs_in_another_way_when_it_is_recorded_is_refused():
    from keras import layers

    class Aware(layers.Layer):
        def call(self, x):
            return x

        def __call__(self, x, **more):
            own = "call" in vars(self)
            return super().__call__(x, **more) * (1.0 if own else 3.0)

    network = Network(model(Aware(name="aware")))
    assert network.layers  # they are listed
    with pytest.raises(ModelError, match="the same from its recorded layers and from the model"):
        network.find("second")


def test_outputs_that_are_not_finite_are_not_compared():
    from keras import layers

    network = Network(model(layers.Normalization(mean=[0.0], variance=[np.nan])))
    assert network.find("second").maps


def test_states_of_a_model_are_not_changed_by_looking_at_it():
    import keras
    from keras import layers

    class Counting(layers.Layer):
        def build(self, shape):
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x):
            self.count.assign_add(1.0)
            return x

    counting = Counting()
    counted = keras.Sequential([layers.Input((8, 8, 1)), counting, layers.Conv2D(2, 3, name="c")])
    before = float(counting.count)
    assert Network(counted).find("c").maps == 2
    oip.responses(counted, np.ones((3, 8, 8, 1), np.float32), "c")
    assert float(counting.count) == before


def brain_floats():
    """A network in bfloat16, whose graph rounds less often than Keras does."""
    import keras
    from keras import layers

    kinds = {"dtype": "bfloat16"}
    entry = values = layers.Input((16, 16, 3))
    for number in range(3):
        maps = layers.Conv2D(16, 3, activation="relu", name=f"maps_{number}", **kinds)
        values = layers.BatchNormalization(**kinds)(maps(values))
    pooled = layers.GlobalAveragePooling2D(**kinds)(values)
    model = keras.Model(entry, layers.Dense(5, **kinds)(pooled))
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(0.1 + np.abs(generator.normal(size=weight.shape)) * (-1) ** len(weight.shape))
    return model


def test_models_in_bfloat16_are_compared_as_it_rounds():
    assert Network(brain_floats()).random == {}


def test_what_is_not_finite_in_bfloat16_is_seen():
    model = brain_floats()
    maps = model.get_layer("maps_1")
    kernel = maps.kernel.numpy().astype(np.float32)
    kernel[..., 3] = np.nan
    maps.kernel.assign(kernel)
    ((variable, values),) = Network(model).finite_weights
    assert variable is maps.kernel
    np.testing.assert_array_equal(values, np.nan_to_num(kernel))
