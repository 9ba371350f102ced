from __future__ import annotations

import numpy as np
import pytest

from oip.core.errors import DataError, SettingsError
from oip.models import RECIPES, build, recipe
from oip.models.recipes import Recipe
from oip.models.training_settings import LEARNING_RATES


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("bands", [1, 3])
def test_every_recipe_gives_probabilities_down_to_its_least_size(recipe, bands: int) -> None:
    side = recipe.least_side
    model = recipe.build((side, side + 3, bands), 4)
    answer = model(np.ones((2, side, side + 3, bands), np.uint8), training=False).numpy()
    assert answer.shape == (2, 4)
    np.testing.assert_allclose(answer.sum(axis=1), 1.0, rtol=1e-5)
    with pytest.raises(DataError, match=f"{side} x {side}"):
        recipe.build((side - 1, side, bands), 4)


def test_the_conv_stack_has_its_layers() -> None:
    model = build("conv-stack", (28, 28, 1), 10)
    maps = {f"Conv2D_{number}": model.get_layer(f"Conv2D_{number}").output for number in (1, 2, 3)}
    shapes = {name: tuple(output.shape[1:]) for name, output in maps.items()}
    assert shapes == {"Conv2D_1": (26, 26, 32), "Conv2D_2": (11, 11, 64), "Conv2D_3": (3, 3, 128)}
    # 9 * maps_in * maps_out + maps_out, then dense; the Normalization's three are not trained.
    expected = 320 + 18_496 + 73_856 + (1152 * 100 + 100) + (100 * 10 + 10)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == expected


def shapes(name: str, *layers: str, side: int = 28, **options) -> list[tuple[int, ...]]:
    model = build(name, (side, side, 1), 10, **options)
    return [tuple(model.get_layer(layer).output.shape[1:]) for layer in layers]


def test_the_papers_networks_have_their_layers() -> None:
    pooled = ("MaxPooling2D_1", "MaxPooling2D_2", "Dense_1", "classes")
    assert shapes("lenet", *pooled) == [(14, 14, 24), (7, 7, 48), (1024,), (10,)]
    assert shapes("lenet", "Conv2D_1", *pooled[:2], stride=2) == [
        (14, 14, 24),
        (7, 7, 24),
        (3, 3, 48),
    ]
    blocks = ("MaxPooling2D_1", "AveragePooling2D_1", "AveragePooling2D_2")
    assert shapes("densenet", *blocks) == [(14, 14, 24), (7, 7, 12), (3, 3, 12)]
    # Four bottlenecks add 12 maps each to the 24 of the first block and the 12 of a transition.
    joined = shapes("densenet", "Concatenate_1_4", "Concatenate_2_4")
    assert joined == [(14, 14, 72), (7, 7, 60)]
    dense = [f"Dense_{number}" for number in (1, 2, 3)]
    assert shapes("relu-mlp", *dense) == [(1024,), (256,), (128,)]
    narrow = [*dense, "Dense_4"]
    assert shapes("ip-mlp", *narrow) == [(1024,), (20,), (20,), (20,)]
    tanh = build("tanh-mlp", (3, 4, 1), 2)
    widths = [layer.units for layer in tanh.layers if hasattr(layer, "units")]
    assert widths == [10, 7, 5, 4, 3, 2]
    assert {layer.activation.__name__ for layer in tanh.layers if hasattr(layer, "units")} == {
        "tanh",
        "softmax",
    }
    five = ("Conv2D_1", "MaxPooling2D_2")
    assert shapes("lenet5", *five) == [(24, 24, 6), (4, 4, 12)]
    assert shapes("resnet-small", "Add_3", "GlobalAveragePooling2D") == [(28, 28, 16), (64,)]


def test_the_cores_of_the_densenet_are_after_relu() -> None:
    """The input of a transition is never negative; its output can be."""
    import keras

    model = build("densenet", (28, 28, 1), 10, np.array([100.0]), np.array([50.0]))
    names = ("ReLU_10", "AveragePooling2D_1")
    part = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1)).astype(np.float32)
    before, after = (values.numpy() for values in part(images, training=False))
    assert before.min() == 0
    assert after.min() < 0


def test_a_stride_leaves_less_and_says_so() -> None:
    with pytest.raises(DataError, match="10 x 10"):
        build("lenet", (9, 9, 1), 2, stride=3)
    assert build("lenet", (10, 10, 1), 2, stride=3).output.shape == (None, 2)


def test_options_are_told_as_text_or_as_they_are() -> None:
    plain = recipe("lenet5")
    assert plain.options == {"filters": (6, 12), "activation": "relu"}
    record = plain.configured(filters="6, 32", activation="sigmoid")
    assert record == plain.configured(filters=[6, 32], activation="sigmoid")
    assert record.options == {"filters": (6, 32), "activation": "sigmoid"}
    assert plain.configured(filters=None, activation="") == plain
    assert recipe("relu-mlp").configured(units="7").options["units"] == (7,)
    assert recipe("lenet").configured(stride="2").options["stride"] == 2
    model = build("lenet5", (16, 16, 1), 2, filters="2,3", activation="sigmoid")
    layer = model.get_layer("Conv2D_2")
    assert (layer.filters, layer.activation.__name__) == (3, "sigmoid")


@pytest.mark.parametrize(
    ("name", "record", "message"),
    [
        ("lenet5", {"units": "3"}, "expected filters, activation; received units"),
        ("vgg16-cifar", {"filters": "3"}, "expected none; received filters"),
        ("lenet5", {"filters": "6"}, "2 numbers, one per layer"),
        ("lenet5", {"filters": "6,-1"}, "whole numbers from 1"),
        ("lenet5", {"filters": (6, 0)}, "whole numbers from 1"),
        ("lenet5", {"filters": "six"}, "whole numbers from 1"),
        ("lenet5", {"filters": "6,99999999999999999999"}, "whole numbers from 1 to 100000"),
        ("lenet5", {"activation": "step"}, "relu, tanh, sigmoid"),
        ("lenet", {"stride": "1,2"}, "a whole number from 1"),
        ("relu-mlp", {"units": ()}, "whole numbers from 1"),
    ],
)
def test_options_that_cannot_be_are_told(name: str, record: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        recipe(name).configured(**record)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_recipe_has_settings_for_many_and_for_few(recipe: Recipe) -> None:
    for_many, few = recipe.settings(60_000), recipe.settings(50)
    assert few.batch <= for_many.batch
    assert recipe.settings(60_000, epochs=2).epochs == 2


def test_pixels_are_standardised_inside() -> None:
    mean, std = np.array([10.0, 20.0, 30.0]), np.array([1.0, 2.0, 4.0])
    model = build("conv-stack", (20, 20, 3), 2, mean, std)
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3), np.uint8)
    answer = np.array(model.get_layer("standardised")(images.astype(np.float32)))
    np.testing.assert_allclose(answer, (images - mean) / std, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "layer"), [("conv-stack", "Conv2D_1"), ("vit", "Attention_1")])
def test_the_penalty_is_the_sum_of_squared_kernels(name: str, layer: str) -> None:
    plain, penalised = (build(name, (18, 18, 1), 2, l2=l2) for l2 in (0.0, 0.5))
    assert plain.losses == []
    kernels = [weight for weight in penalised.weights if weight.path.endswith("kernel")]
    expected = 0.5 * sum(float(np.square(kernel.numpy()).sum()) for kernel in kernels)
    assert float(sum(penalised.losses)) == pytest.approx(expected, rel=1e-4)
    assert "L2" in str(penalised.get_layer(layer).get_config()["kernel_regularizer"])


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'conv-stack'"):
        recipe("conv_stack")


def test_one_class_is_too_few() -> None:
    with pytest.raises(DataError, match="2 classes"):
        build("conv-stack", (28, 28, 1), 1)


def test_shapes_and_numbers_of_classes_that_are_none() -> None:
    for shape, classes in (((28, 28), 2), (None, 2), ((28, 28, 1.5), 2), ((28, 28, 1), 2.5)):
        with pytest.raises(DataError, match="the recipe conv-stack"):
            build("conv-stack", shape, classes)  # type: ignore[arg-type]


def test_settings_follow_the_data_and_what_is_told() -> None:
    conv = recipe("conv-stack")
    few, for_many = conv.settings(500), conv.settings(60_000)
    assert few.epochs > for_many.epochs
    assert few.batch < for_many.batch
    sgd = conv.settings(60_000, optimizer="sgd", epochs=None, seed=3)
    assert (sgd.learning_rate, sgd.momentum, sgd.seed) == (LEARNING_RATES["sgd"], 0.9, 3)
    assert sgd.epochs == for_many.epochs
    assert conv.settings(60_000, optimizer="sgd", momentum=0.0).momentum == 0.0
    with pytest.raises(SettingsError, match="optimizer"):
        conv.settings(60_000, optimizer="adagrad")


def test_patches_that_do_not_divide_the_image_are_padded() -> None:
    model = build("vit-pooled", (10, 13, 1), classes=2, width=8, heads=2, blocks=1)
    assert model.get_layer("Patches").output.shape[1:3] == (3, 4)
    image = np.zeros((1, 10, 13, 1), np.float32)
    image[0, -1, -1] = 1.0
    blank, corner = model(np.concatenate([0 * image, image]), training=False).numpy()
    assert np.abs(blank - corner).max() > 0
