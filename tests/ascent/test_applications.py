"""Networks that people have: keras.applications, without weights."""

import numpy as np
import pytest

import oip

SIDES = {
    "VGG16": 32,
    "ResNet50": 32,
    "MobileNetV2": 32,
    "EfficientNetB0": 32,
    "DenseNet121": 32,
    "Xception": 71,
    "ConvNeXtTiny": 32,
}


def flat(model):
    """All layers, also those of nested models."""
    for layer in model.layers:
        yield from flat(layer) if hasattr(layer, "layers") else [layer]


@pytest.mark.parametrize("name", list(SIDES))
def test_networks_of_keras_are_listed_and_climbed(name):
    import keras

    keras.utils.set_random_seed(1)
    side = SIDES[name]
    model = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=7)
    network = oip.Network(model)
    kernels = (
        keras.layers.Conv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.SeparableConv2D,
    )
    wanted = [layer.name for layer in flat(model) if isinstance(layer, kernels)]
    assert sorted(layer.name.split("/")[-1] for layer in network.layers) == sorted(wanted)
    for index in (0, len(network.layers) // 2, len(network.layers) - 1):
        layer = network.layers[index]
        oips = oip.reconstruct(
            network, layer.name, maps=[0, layer.maps - 1], starts=1, steps=12, screened=6
        )
        assert set(oips.verdicts) <= {"responsive", "revived", "dead"}
        live = np.array([verdict != "dead" for verdict in oips.verdicts])
        assert np.all(oips.scores[live, 0] > oips.screened_scores[live])
