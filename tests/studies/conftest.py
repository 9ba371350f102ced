"""A folder of tiny data, and trainings of a few iterations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oip.core import plots


@pytest.fixture(scope="session")
def bars(tmp_path_factory):
    """An .npz of 150 images of 12 x 12 with a bar, in three classes of places."""
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (150, 12, 12)).astype(np.uint8)
    labels = np.arange(150) % 3
    for image, label in zip(images, labels, strict=True):
        image[1 + 4 * label : 4 + 4 * label, 2:10] = 230
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    np.savez(path, images=images, labels=labels, classes=np.array(["high", "middle", "low"]))
    return path


@pytest.fixture(scope="session")
def net():
    """A small network of 12 x 12 pixels and three classes."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((12, 12, 1)),
            layers.Conv2D(2, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(7, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.fixture
def laid_out_figures(monkeypatch):
    """Figures that are drawn and laid out, but not written as pixels and paths."""

    def save(drawing, path):
        if Path(path).suffix == ".png":
            drawing.draw_without_rendering()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
        return Path(path)

    monkeypatch.setattr(plots, "save", save)
