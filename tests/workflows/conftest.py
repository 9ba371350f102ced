"""A model that knows its input, and images with labels."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def quick_figures(figures_as_they_fall):
    """What figures look like is tested where they are made."""


@pytest.fixture(scope="session")
def bars(small_images):
    """The small images with noise, three times, and their labels."""
    images, labels = (np.concatenate([part] * 3) for part in small_images)
    return images + np.random.default_rng(0).integers(0, 20, images.shape).astype(np.uint8), labels


def judged_network(seed: int, name: str):
    """Two convolutions on 16 x 16 pixels of 0 to 255, and four classes."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            layers.Input((16, 16, 1)),
            layers.Rescaling(1 / 255.0),
            layers.Conv2D(5, 3, activation="relu", name="first"),
            layers.MaxPooling2D(),
            layers.Conv2D(70, 3, activation="relu", name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, activation="softmax"),
        ],
        name=name,
    )


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory):
    """A function that makes a folder with a model, a judge and so many images; and the images."""

    def make(count: int):
        folder = tmp_path_factory.mktemp("judged")
        for seed, name in ((5, "model"), (2, "judge")):
            judged_network(seed, name).save(folder / f"{name}.keras")
        images = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 1), np.uint8)
        np.savez(folder / "images.npz", images=images)
        return folder, images

    return make
