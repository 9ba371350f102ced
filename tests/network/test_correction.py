import numpy as np
import pytest

from oip.core.errors import ModelError
from oip.network.channel_graph import Channels
from oip.network.network import Network
from oip.network.surgery import (
    bytes_received,
    corrected,
    images_needed,
    kernel_matrix,
    patches,
    received,
    removed_channels,
    without,
)


def images(n=400, shape=(9, 9, 1), seed=0):
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
    known = Channels.of(network)
    gone = removed_channels(network, removed, known)
    smaller = without(network, removed, known)
    left = corrected(network, smaller, known, gone, data) if correct else []
    return smaller, left


@pytest.mark.parametrize("bias", [True, False])
def test_what_others_hold_is_put_in_their_place(bias):
    model, data = stack(bias), images()
    wanted = model(images(20, seed=9)).numpy()
    removed = {"first": [4, 5]}
    plain, _ = pruned(model, removed, data, False)
    smaller, left = pruned(model, removed, data, True)
    assert left == []
    found = smaller(images(20, seed=9)).numpy()
    assert np.abs(plain(images(20, seed=9)).numpy() - wanted).max() > 0.05
    np.testing.assert_allclose(found, wanted, atol=5e-3)


def test_the_fit_is_that_of_least_squares():
    model, data = stack(), images(100)
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
    mine = np.concatenate([kernel_matrix(new).reshape(-1, 4), new.get_weights()[1][None]])
    assert ((design @ mine - y) ** 2).mean() == pytest.approx(residual, rel=1e-3)


def test_later_layers_see_what_corrected_layers_before_them_give():
    model, data = stack(last="tanh"), images(300)
    removed = {"first": [0, 2], "second": [3]}
    wanted = model(data).numpy()
    plain, _ = pruned(model, removed, data, False)
    smaller, _ = pruned(model, removed, data, True)
    error = [((one(data).numpy() - wanted) ** 2).mean() for one in (plain, smaller)]
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
    smaller, left = pruned(model, {"first": [1]}, images(30), True)
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

    data = images(4, shape)
    layer = layers.Conv2D(5, (3, 2), **settings)
    wanted = layer(data).numpy()
    found = np.einsum("npkc,kcm->npm", patches(layer, data), kernel_matrix(layer))
    np.testing.assert_allclose(found, wanted.reshape(4, -1, 5), atol=1e-5)


def test_patches_in_one_dimension_of_dense_layers_and_of_others():
    from keras import layers

    line = layers.Conv1D(3, 4, strides=2)
    data = images(4, (11, 2))
    wanted = line(data).numpy()
    found = np.einsum("npkc,kcm->npm", patches(line, data), kernel_matrix(line))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    dense = layers.Dense(3)
    wanted = dense(data).numpy()
    found = np.einsum("npkc,kcm->npm", patches(dense, data), kernel_matrix(dense))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    grouped = layers.Conv2D(4, 3, groups=2)
    grouped(images(1, (9, 9, 2)))
    with pytest.raises(ModelError, match="groups"):
        patches(grouped, images(1, (9, 9, 2)))


def test_pieces_do_not_change_what_is_received():
    network = Network(stack())
    layer, data = network.model.get_layer("second"), images(30)
    size = bytes_received(network, layer)
    whole = np.concatenate(list(received(network, layer, data)))
    assert whole.shape == (30 * 25, 54)
    parts = list(received(network, layer, data, byte_budget=7 * size))
    assert len(parts) == 5
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)
    assert len(images_needed(network, layer, images(600))) == 512
