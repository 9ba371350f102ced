"""Commands as a user calls them."""

from __future__ import annotations

import numpy as np
import pytest

from oip.cli.main import run


@pytest.fixture(autouse=True)
def quick_figures(figures_as_they_fall):
    """What figures look like is tested where they are made."""


@pytest.fixture
def call(capfd):
    """Runs a command and gives its exit status, stdout and stderr."""

    def command(*arguments):
        status = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return status, out, err

    return command


@pytest.fixture
def bars(small_images, tmp_path):
    """The small images with noise, three times, and a name that no terminal should be shown."""
    images, labels = (np.concatenate([part] * 3) for part in small_images)
    images = images + np.random.default_rng(0).integers(0, 20, images.shape).astype(np.uint8)
    path = tmp_path / "bars.npz"
    classes = np.array(["[b]\x1btop", "upper", "lower", "bottom"])
    np.savez(path, images=images, labels=labels, classes=classes)
    return f"{path}:train"


@pytest.fixture
def broken_file(small_model, tmp_path):
    """The small model as a file, map 4 of its first layer NaN."""
    import keras

    model = keras.models.clone_model(small_model)
    kernel, bias = small_model.get_layer("first").get_weights()
    model.get_layer("first").set_weights([kernel, np.where(np.arange(6) == 4, np.nan, bias)])
    model.save(tmp_path / "nan.keras")
    return tmp_path / "nan.keras"
