"""Small models that the tests share."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import pytest


@pytest.fixture(scope="session")
def small_model():
    """Two convolutions with pooling between, on 16 x 16 pixels of 0 to 255."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            layers.Input((16, 16, 1)),
            layers.Normalization(mean=40.0, variance=80.0**2),
            layers.Conv2D(6, 3, activation="relu", name="first"),
            layers.MaxPooling2D(name="pool"),
            layers.Conv2D(70, 3, activation="relu", name="second"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )


@pytest.fixture(scope="session")
def small_images():
    """40 images of 16 x 16 with bars, 0 to 255, and their labels."""
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (40, 16, 16, 1)).astype(np.uint8)
    labels = np.arange(40) % 4
    for image, label in zip(images, labels, strict=True):
        image[2 + 3 * label : 4 + 3 * label, 3:13] = 230
    return images, labels


@pytest.fixture(scope="session")
def small_file(small_model, tmp_path_factory):
    """The small model as a file."""
    path = tmp_path_factory.mktemp("model") / "small.keras"
    small_model.save(path)
    return path


@pytest.fixture(scope="session")
def small_data(small_images, tmp_path_factory):
    """The small images as an .npz source."""
    images, labels = small_images
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    np.savez(path, images=images, labels=labels)
    return path
