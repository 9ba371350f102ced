import numpy as np
import pytest

from oip import mi
from oip.core.errors import ModelError


def data(n=300, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 8, 8, 1)).astype(np.float32)


def model_of(kernel, read, bias=True):
    """One layer of maps by `kernel` (3, 3, 1, m), read by a 1 x 1 layer with weights (m, o)."""
    import keras
    from keras import layers

    maps, outputs = kernel.shape[-1], read.shape[-1]
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(maps, 3, name="first"),
            layers.Conv2D(outputs, 1, use_bias=bias, name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.get_layer("first").set_weights([kernel, np.full(maps, 0.2)])
    model.get_layer("second").set_weights(
        [read[None, None], *([np.zeros(outputs)] if bias else [])]
    )
    return model


@pytest.mark.parametrize("bias", [True, False])
def test_the_order_is_that_of_refitting_by_brute_force(bias):
    draw = np.random.default_rng(1)
    kernel = draw.normal(size=(3, 3, 1, 6)).astype(np.float32)
    kernel[..., 3] = kernel[..., 0] + 0.1 * kernel[..., 3]
    model = model_of(kernel, draw.normal(size=(6, 3)).astype(np.float32), bias)
    images = data()
    found = mi.select(model, images, None, "first", method="elimination")
    x = model.layers[0](images).numpy().reshape(-1, 6).astype(float)
    if bias:
        x -= x.mean(axis=0)
    target = x @ model.get_layer("second").get_weights()[0][0, 0]
    left, order = list(range(6)), []
    while left:
        errors = []
        for row in left:
            others = [one for one in left if one != row]
            fit = x[:, others] @ np.linalg.lstsq(x[:, others], target, rcond=None)[0]
            errors.append(((fit - target) ** 2).sum())
        order.append(left.pop(int(np.argmin(errors))))
    assert found.order.tolist() == order[::-1]


def test_a_copy_and_a_map_that_nothing_reads_go_first():
    draw = np.random.default_rng(3)
    kernel = draw.normal(size=(3, 3, 1, 5)).astype(np.float32)
    kernel[..., 4] = kernel[..., 1]
    read = draw.normal(size=(5, 4)).astype(np.float32)
    read[2] = 0
    found = mi.select(model_of(kernel, read), data(), None, "first")
    assert found.method == "elimination"
    assert found.order[-1] == 2
    assert found.order[-2] in (1, 4)
    assert found.scores[2] == pytest.approx(0, abs=1e-9)
    assert found.keep(0.6).tolist() == sorted(found.order[:3])


def test_layers_that_nothing_plain_follows_are_refused():
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(3, 3, name="first"),
            layers.DepthwiseConv2D(3, name="deep"),
            layers.GlobalMaxPooling2D(),
        ]
    )
    with pytest.raises(ModelError, match="Choose another method"):
        mi.select(model, data(40), None, "first")
    with pytest.raises(ModelError, match="made here"):
        mi.select(model, data(40), None, "deep")
