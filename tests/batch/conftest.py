"""A batch small enough to be done many times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oip.ascent.settings import ascent_settings
from oip.network.layer_spec import parse_selections
from oip.network.network import Network
from oip.run.reconstruct import reconstruct_layers

SETTINGS = {"starts": 2, "steps": 6, "screened": 8}


@pytest.fixture(scope="session")
def plain_file(tmp_path_factory):
    """A model of one convolution with 150 maps on 8 x 8 pixels: three shards."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(150, 3, activation="relu", name="conv")]
    )
    path = tmp_path_factory.mktemp("plain") / "plain.keras"
    model.save(path)
    return path


@pytest.fixture
def job(plain_file, tmp_path):
    """A job as plain values: three shards."""
    return {"models": [str(plain_file)], "out": str(tmp_path / "batch"), "settings": SETTINGS}


@pytest.fixture(scope="session")
def whole(plain_file, tmp_path_factory):
    """The run of the job, made without a batch."""
    out = tmp_path_factory.mktemp("whole") / "run"
    network = Network(plain_file)
    settings = ascent_settings(**SETTINGS)
    reconstruct_layers(out, network, parse_selections(network, ()), settings)
    return out


@pytest.fixture(scope="session")
def labelled(small_images, tmp_path_factory):
    """Enough labelled images for a ranking, as an .npz source without parts of its own."""
    images, labels = small_images
    random = np.random.default_rng(1)
    rows = random.integers(0, len(images), 120)
    path = tmp_path_factory.mktemp("labelled") / "bars.npz"
    np.savez(path, images=images[rows], labels=labels[rows])
    return f"{path}:train"


@pytest.fixture(scope="session")
def contents():
    """A function that reads every finished file below a folder."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".writing-")
        }

    return read
