import numpy as np
import pytest


def planted(bias, scale=1.0, negative=()):
    """One 3 x 3 convolution whose maps are bars, with given biases."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            layers.Input((12, 12, 1)),
            layers.Conv2D(4, 3, activation="relu", name="edges"),
            layers.Conv2D(len(bias), 3, activation="relu", name="maps"),
        ]
    )
    kernel, _ = model.get_layer("maps").get_weights()
    for number in negative:
        kernel[..., number] = -np.abs(kernel[..., number])
    model.get_layer("maps").set_weights([kernel * scale, np.array(bias, "float32")])
    return model


@pytest.fixture(scope="session")
def plant():
    return planted
