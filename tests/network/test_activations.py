import numpy as np
import pytest

from oip.core.errors import ModelError
from oip.network.activations import can_be_silent, closed_below_zero, is_nonlinear, value_range
from oip.network.forward import run_to
from oip.network.network import Network

SILENT = "relu relu6 hard_sigmoid hard_silu soft_shrink hard_shrink sparse_plus".split()
NEVER = "linear sigmoid tanh elu selu gelu silu softplus leaky_relu mish celu softmax".split()


@pytest.mark.parametrize("name", [*SILENT, *NEVER])
def test_activations_with_a_stretch_of_zeros_can_be_silent(name):
    from keras import activations

    assert can_be_silent(getattr(activations, name)) == (name in SILENT)


def test_layers_and_the_users_functions_are_tried_like_any_other():
    import keras
    from keras import layers

    def relu(values):  # a name proves nothing
        return 2.0 * values

    def broken(values):
        raise ValueError(values.shape)

    assert can_be_silent(layers.ReLU())
    assert can_be_silent(lambda values: keras.ops.relu(values))
    assert can_be_silent(layers.ReLU(max_value=3))
    assert not can_be_silent(layers.ReLU(negative_slope=0.1))
    assert not can_be_silent(layers.LeakyReLU())
    assert not can_be_silent(relu)
    assert not can_be_silent(broken)
    assert not can_be_silent(None)
    for initial, silent in (("zeros", True), ("ones", False)):
        rectified = layers.PReLU(alpha_initializer=initial, shared_axes=[1, 2])
        rectified.build((None, 5, 5, 3))
        assert can_be_silent(rectified) == silent


def test_lines_are_no_activations():
    from keras import activations

    assert not is_nonlinear(lambda values: 3.0 * values - 2.0)
    assert all(is_nonlinear(getattr(activations, name)) for name in ("relu", "tanh", "gelu"))


@pytest.mark.parametrize("name", "hard_sigmoid relu relu6 sigmoid softplus softsign tanh".split())
def test_limits_hold_and_only_keras_own_functions_have_any(name):
    from keras import activations, layers

    function = getattr(activations, name)
    low, high = value_range(function)
    values = np.asarray(function(np.linspace(-50, 50, 1001, dtype="float32")))
    assert low <= values.min() < low + 0.05
    assert values.max() <= high
    assert high == np.inf or values.max() > high - 0.05
    assert value_range(layers.Activation(name)) == (low, high)
    assert value_range(lambda values: function(values)) is None
    assert closed_below_zero(function) == (name in ("relu", "relu6"))


def test_limits_of_a_relu_layer_are_its_own():
    from keras import layers

    assert value_range(layers.ReLU(max_value=2.5)) == (0.0, 2.5)
    assert value_range(layers.ReLU(negative_slope=0.5)) is None
    assert not closed_below_zero(layers.ReLU(negative_slope=0.5))


def forms():
    """Convolutions followed by a ReLU in every form, by name: what makes the response of them."""
    import keras
    from keras import layers

    class Rectified(layers.Layer):
        def call(self, values):
            return keras.ops.maximum(values, 0.0)

    return {
        "layer as activation": lambda values: values,
        "operation": keras.ops.relu,
        "several operations": lambda values: keras.ops.maximum(2.0 * values, 0.0) / 2.0,
        "layer of the user's": Rectified(),
        "operation, then a sum": lambda values: keras.ops.relu(values + 0.0),
        "group normalisation": lambda values: layers.ReLU()(layers.GroupNormalization(1)(values)),
        "batch normalisation": lambda v: keras.ops.relu(layers.BatchNormalization()(v)),
    }


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("name", list(range(7)))
def test_responses_are_taken_after_a_relu_in_any_form(name, last):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    made = list(forms().values())[name]
    own = layers.ReLU() if name == 0 else None
    inputs = layers.Input((9, 8, 2))
    convolved = layers.Conv2D(3, 3, activation=own, name="conv")(inputs)
    rectified = made(convolved)
    output = rectified if last else layers.MaxPooling2D()(rectified)
    network = Network(keras.Model(inputs, output))
    (layer,) = network.layers
    assert layer.silent_possible
    assert layer.block_size == (None if last else (3, 3))
    images = np.random.default_rng(0).normal(size=(2, 9, 8, 2)).astype("float32")
    before, after = run_to(network.model, network.feed(images), layer.response)
    wanted = keras.Model(inputs, rectified)(images)
    assert np.asarray(before).min() < 0
    np.testing.assert_allclose(after, wanted, atol=1e-5)


def test_subclassed_models_with_operations_and_two_readers_of_the_raw_tensor():
    import keras
    import tensorflow as tf
    from keras import layers

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.one = layers.Conv2D(3, 3, padding="same", name="one")
            self.two = layers.Conv2D(3, 3, name="two")
            self.raw = layers.Conv2D(3, 3, padding="same", name="raw")

        def call(self, values):
            raw = self.raw(tf.nn.relu(self.one(values)))
            return keras.ops.silu(self.two(keras.ops.relu(raw))) + raw[:, 1:-1, 1:-1]

    model = Own()
    model(np.zeros((1, 12, 12, 1), "float32"))
    one, raw, two = Network(model).layers
    assert (one.activation, one.silent_possible) == ("relu", True)
    assert (two.activation, two.silent_possible) == ("function", False)
    assert (raw.activation, raw.silent_possible) == ("linear", False)  # both are used


def test_an_input_too_small_for_a_kernel_says_so():
    import keras
    from keras import layers

    model = keras.Sequential(
        [layers.Input((None, None, 1)), layers.MaxPooling2D(), layers.Conv2D(2, 5, name="conv")]
    )
    with pytest.raises(ModelError, match=r"'conv'.*receptive field.*5 x 5.*received 3 x 4"):
        _ = Network(model, input_shape=(6, 8)).layers
