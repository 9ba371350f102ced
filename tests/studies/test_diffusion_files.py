"""The networks of a user: those that can be measured, and those that are left out."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from oip.core.errors import ModelError, OipError, SettingsError
from oip.studies import diffusion, diffusion_toy, diffusion_training
from oip.studies.diffusion import compare_files
from oip.studies.diffusion_training import file_network
from oip.studies.report import Folder, MissingData, StudySettings, model_files
from oip.studies.runner import run_study

TINY = replace(diffusion.QUICK, measured=60)


def digits(shape, bands):
    from oip import models

    return models.load("mnist-sample:test", None, None, shape, bands)


def test_networks_from_files(net, tmp_path):
    for number in range(3):
        net.save(tmp_path / f"net-{number}.keras")
    files = model_files(str(tmp_path / "*.keras"))
    assert [path.name for path in files] == [f"net-{number}.keras" for number in range(3)]
    few = StudySettings(models=str(tmp_path / "net-0*"))
    with pytest.raises(SettingsError, match="3 model files"):
        diffusion.run(Folder(tmp_path / "out", "diffusion", few), TINY)
    with pytest.raises(SettingsError, match="3 model files"):
        run_study("diffusion", tmp_path / "new", few, lambda *_: None)
    assert not (tmp_path / "new").exists()
    # Three classes, ten in the data, no sidecar: nothing to correlate with.
    with pytest.raises(ModelError, match="3 classes"):
        file_network(files[0], digits, 40, 0)
    wider = keras.Sequential([*net.layers[:-1], layers.Dense(10, activation="softmax")])
    wider.build((None, 12, 12, 1))
    wider.save(tmp_path / "wider.keras")
    arrays = file_network(tmp_path / "wider.keras", digits, 40, 0)
    assert 0 <= float(arrays["accuracy"]) <= 1 and "relative label" in arrays
    (tmp_path / "broken.keras").write_bytes(b"no model")
    with pytest.raises(OipError, match=r"broken\.keras"):
        file_network(tmp_path / "broken.keras", digits, 40, 0)


def odd_networks():
    """Networks that cannot be measured, and what is said of them."""
    image = keras.Input((12, 12, 1))
    other = keras.Input((3,))
    flat = layers.Flatten()(image)
    ten = layers.Dense(10)(flat)
    yield (
        "one input",
        keras.Model([image, other], layers.Dense(10)(layers.concatenate([flat, other]))),
    )
    yield "and 2 outputs", keras.Model(image, [ten, layers.Dense(2)(flat)])
    yield r"output \(n, classes\)", keras.Model(image, layers.Dense(10)(image))
    yield (
        "images of 1 or 3 bands",
        keras.Sequential([keras.Input((12, 12, 2)), layers.Flatten(), layers.Dense(10)]),
    )
    broken = keras.Model(image, layers.Dense(10)(layers.Dense(4)(flat)))
    broken.layers[-1].bias.assign(np.full(10, np.nan))
    yield "finite weights", broken
    large = keras.Model(image, layers.Dense(10)(layers.Dense(4)(layers.Dense(4)(flat))))
    for layer in large.layers[-3:-1]:
        layer.kernel.assign(np.full(layer.kernel.shape, 1e30))
    yield "finite responses", large


def test_odd_networks_are_left_out_with_the_reason(tmp_path):
    for number, (reason, model) in enumerate(odd_networks()):
        path = tmp_path / f"{number}.keras"
        model.save(path)
        with pytest.raises(ModelError, match=reason):
            file_network(path, digits, 40, 0)


def test_a_convolution_of_one_node_is_a_head(tmp_path):
    # As in MobileNet of keras.applications: pooling, a 1 x 1 convolution, Reshape, softmax.
    image = keras.Input((12, 12, 1))
    maps = layers.Conv2D(4, 3, activation="relu")(image)
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(maps)
    kernel = layers.Conv2D(10, 1)
    classes = layers.Softmax()(layers.Flatten()(kernel(pooled)))
    keras.Model(image, classes).save(tmp_path / "convolution.keras")
    flat = layers.Dense(10, activation="softmax")
    dense = keras.Model(image, flat(layers.Flatten()(pooled)))
    flat.set_weights([kernel.kernel.numpy()[0, 0], kernel.bias.numpy()])
    dense.save(tmp_path / "dense.keras")
    files = [tmp_path / name for name in ("convolution.keras", "dense.keras")]
    measures = [file_network(path, digits, 40, 0) for path in files]
    for key in ("accuracy", "relative label", "relative entropy"):
        np.testing.assert_allclose(*(arrays[key] for arrays in measures), rtol=1e-5)


def test_missing_data_are_no_fault_of_a_network(net, tmp_path):
    net.save(tmp_path / "net.keras")

    def load(shape, bands):
        raise MissingData("the data", "nowhere", "")

    with pytest.raises(MissingData):
        file_network(tmp_path / "net.keras", load, 40, 0)


@pytest.fixture
def without_toys(monkeypatch):
    """The study of files alone; the names of the figures that are drawn."""
    monkeypatch.setattr(diffusion_toy, "add_toys", lambda *arguments: None)
    monkeypatch.setattr(diffusion_toy, "add_blobs", lambda *arguments: None)
    drawn = []
    monkeypatch.setattr(Folder, "figure", lambda self, name, *rest: drawn.append(name))
    return drawn


def test_the_study_of_files_on_class_folders_of_images_of_any_size(
    without_toys, tmp_path, monkeypatch
):
    from PIL import Image

    rng = np.random.default_rng(0)
    data = tmp_path / "imagenette"
    for part, count in (("train", 2), ("val", 15)):
        for name in ("n01", "n02"):
            (data / part / name).mkdir(parents=True)
            for number in range(count):
                sides = (*rng.integers(20, 60, 2), 3)
                bright = 0 if name == "n01" else 120
                pixels = rng.integers(bright, bright + 100, sides).astype(np.uint8)
                Image.fromarray(pixels).save(data / part / name / f"{number}.JPEG")
    for number, side in enumerate((16, 24, 32, 16)):
        keras.utils.set_random_seed(number)
        parts = [layers.Input((side, side, 3)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3)]
        head = layers.Dense(2 if number < 3 else 5, activation="softmax")
        model = keras.Sequential([*parts, layers.GlobalAveragePooling2D(), layers.Dense(6), head])
        model.save(tmp_path / f"net-{number}.keras")
    settings = StudySettings(
        quick=True, data=(str(data), "no-such-images"), models=str(tmp_path / "*.keras")
    )
    folder = Folder(tmp_path / "out", diffusion.NAME, settings)
    diffusion.run(folder, TINY)
    assert without_toys == ["networks-imagenette"]
    text = "1 of 4 models were left out on imagenette. net-3.keras: "
    assert any(note.startswith(text) for note in folder.notes)
    assert any("Nothing was trained" in text for text in folder.notes)
    rows = [
        finding for finding in folder.findings if "strong positive correlation" in finding.paper
    ]
    assert "3 models on imagenette" in rows[0].n and rows[-1].verdict == "not tested"
    assert len(folder.lacking) == 2  # the model that was left out, and the data that are not there
    parts = sorted(folder.file("models").iterdir())
    assert len(parts) == 3  # what was left out is looked at again another time

    def fail(*arguments):
        raise AssertionError("measured again")

    monkeypatch.setattr(diffusion_training, "measure_network", fail)
    (tmp_path / "net-3.keras").unlink()
    repeated = Folder(tmp_path / "out", diffusion.NAME, settings)
    diffusion.run(repeated, TINY)
    assert [row.ours for row in repeated.findings] == [row.ours for row in folder.findings]
    # Other images: measured anew.
    (data / "val" / "n01" / "0.JPEG").unlink()
    monkeypatch.undo()
    monkeypatch.setattr(diffusion_training, "measure_network", stopped)
    with pytest.raises(KeyboardInterrupt):
        compare_files(repeated, str(data), 60, model_files(settings.models or ""))


def stopped(*arguments):
    raise KeyboardInterrupt
