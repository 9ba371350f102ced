"""Models that several tests look at."""

import pytest


@pytest.fixture(scope="session")
def two_inputs():
    """Build a model of two images and some numbers, from a list or a dictionary of inputs."""

    def build(as_dictionary=False):
        import keras
        from keras import layers

        keras.utils.set_random_seed(0)
        left, right = layers.Input((9, 9, 1), name="a"), layers.Input((8, 8, 3), name="b")
        number = layers.Input((2,), name="n")
        parts = [
            layers.Flatten()(layers.Conv2D(2, 3, name="left")(left)),
            layers.Flatten()(layers.Conv2D(4, 3, name="right")(right)),
            number,
        ]
        inputs = [left, right, number]
        if as_dictionary:
            inputs = {"n": number, "b": right, "a": left}
        return keras.Model(inputs, layers.Concatenate()(parts))

    return build
