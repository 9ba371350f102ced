from __future__ import annotations

import numpy as np
import pytest

from models import RECIPES, build, recipe
from models.settings import LEARNING_RATES
from oip.core.errors import DataError, SettingsError


@pytest.mark.parametrize("each", RECIPES, ids=lambda each: each.name)
@pytest.mark.parametrize("bands", [1, 3])
def test_every_recipe_gives_probabilities_down_to_its_least_size(each, bands: int) -> None:
    side = each.least_side
    model = each.build((side, side + 3, bands), 4)
    answer = model.predict(np.ones((2, side, side + 3, bands), np.uint8), verbose=0)
    assert answer.shape == (2, 4)
    np.testing.assert_allclose(answer.sum(axis=1), 1.0, rtol=1e-5)
    with pytest.raises(DataError, match=f"{side} x {side}"):
        each.build((side - 1, side, bands), 4)


def test_the_conv_stack_has_its_layers() -> None:
    model = build("conv-stack", (28, 28, 1), 10)
    maps = {f"Conv2D_{number}": model.get_layer(f"Conv2D_{number}").output for number in (1, 2, 3)}
    shapes = {name: tuple(output.shape[1:]) for name, output in maps.items()}
    assert shapes == {"Conv2D_1": (26, 26, 32), "Conv2D_2": (11, 11, 64), "Conv2D_3": (3, 3, 128)}
    # 9 * maps_in * maps_out + maps_out, then dense; the Normalization's three are not trained.
    wanted = 320 + 18_496 + 73_856 + (1152 * 100 + 100) + (100 * 10 + 10)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == wanted


def test_pixels_are_standardised_inside() -> None:
    mean, std = np.array([10.0, 20.0, 30.0]), np.array([1.0, 2.0, 4.0])
    model = build("conv-stack", (20, 20, 3), 2, mean, std)
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3), np.uint8)
    answer = np.array(model.get_layer("standardised")(images.astype(np.float32)))
    np.testing.assert_allclose(answer, (images - mean) / std, rtol=1e-5, atol=1e-5)


def test_the_penalty_is_the_sum_of_squared_kernels() -> None:
    plain, penalised = (build("conv-stack", (18, 18, 1), 2, l2=l2) for l2 in (0.0, 0.5))
    assert plain.losses == []
    kernels = [layer.kernel for layer in penalised.layers if hasattr(layer, "kernel")]
    wanted = 0.5 * sum(float(np.square(kernel.numpy()).sum()) for kernel in kernels)
    assert float(sum(penalised.losses)) == pytest.approx(wanted, rel=1e-4)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'conv-stack'"):
        recipe("conv_stack")


def test_one_class_is_too_few() -> None:
    with pytest.raises(DataError, match="2 classes"):
        build("conv-stack", (28, 28, 1), 1)


def test_settings_follow_the_data_and_what_is_told() -> None:
    conv = recipe("conv-stack")
    few, many = conv.settings(500), conv.settings(60_000)
    assert few.epochs > many.epochs
    assert few.batch < many.batch
    sgd = conv.settings(60_000, optimizer="sgd", epochs=None, seed=3)
    assert (sgd.learning_rate, sgd.momentum, sgd.seed) == (LEARNING_RATES["sgd"], 0.9, 3)
    assert sgd.epochs == many.epochs
    assert conv.settings(60_000, optimizer="sgd", momentum=0.0).momentum == 0.0
    with pytest.raises(SettingsError, match="optimizer"):
        conv.settings(60_000, optimizer="adagrad")
