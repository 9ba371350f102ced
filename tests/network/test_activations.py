"""Activations are tried, whatever their names."""

import math

import numpy as np
import pytest

from oip.network.activations import (
    activation_can_be_zero,
    closed_below_zero,
    is_nonlinear,
    upper_limit,
    value_range,
)

SILENT = "relu relu6 hard_sigmoid hard_silu soft_shrink hard_shrink sparse_plus".split()


NEVER = "linear sigmoid tanh elu selu gelu silu softplus leaky_relu mish celu softmax".split()


@pytest.mark.parametrize("name", [*SILENT, *NEVER])
def test_activations_with_a_stretch_of_zeros_can_be_silent(name):
    from keras import activations

    assert activation_can_be_zero(getattr(activations, name)) == (name in SILENT)


def test_layers_and_the_users_functions_are_tried_like_any_other():
    import keras
    from keras import layers

    def relu(values):  # a name proves nothing
        return 2.0 * values

    def broken(values):
        raise ValueError(values.shape)

    assert activation_can_be_zero(layers.ReLU())
    assert activation_can_be_zero(lambda values: keras.ops.relu(values))
    assert activation_can_be_zero(layers.ReLU(max_value=3))
    assert not activation_can_be_zero(layers.ReLU(negative_slope=0.1))
    assert not activation_can_be_zero(layers.LeakyReLU())
    assert not activation_can_be_zero(relu)
    assert not activation_can_be_zero(broken)
    assert not activation_can_be_zero(None)
    for initial, silent in (("zeros", True), ("ones", False)):
        rectified = layers.PReLU(alpha_initializer=initial, shared_axes=[1, 2])
        rectified.build((None, 5, 5, 3))
        assert activation_can_be_zero(rectified) == silent


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


def test_upper_limits_are_values_that_a_function_keeps_without_slope():
    import keras
    from keras import activations, layers

    limits = {"relu6": 6.0, "hard_sigmoid": 1.0, "hard_tanh": 1.0, "sigmoid": 1.0, "tanh": 1.0}
    assert {name: upper_limit(getattr(activations, name)) for name in limits} == limits
    assert upper_limit(layers.ReLU(max_value=3)) == 3.0
    assert upper_limit(lambda values: keras.ops.clip(values, 0.0, 2.0)) == 2.0
    for name in ("relu", "gelu", "linear", "softplus", "softmax", "elu"):
        assert upper_limit(getattr(activations, name)) == math.inf
    assert upper_limit(None) == upper_limit(lambda values: keras.ops.zeros_like(values)) == math.inf
