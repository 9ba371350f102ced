from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from oip.core.errors import DataError
from oip.models import load
from oip.models.sources import read_idx


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 5, 4), np.uint8)


@pytest.fixture
def folder(tmp_path: Path, images: np.ndarray) -> Path:
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.array([0, 1, 2, 0, 1, 2])))
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[:2])))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([1, 3]))))
    return folder


def test_both_parts_and_their_classes(folder: Path, images: np.ndarray) -> None:
    train, test, every = load(f"{folder}:train"), load(f"{folder}:test"), load(folder)
    np.testing.assert_array_equal(train.images[..., 0], images)
    assert train.labels is not None and train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert train.classes == test.classes == ("0", "1", "2", "3")
    assert len(every) == 8
    assert (train.source, every.source) == ("digits:train", "digits")


def test_a_part_that_is_not_there_is_named(folder: Path) -> None:
    for name in folder.glob("t10k-*"):
        name.unlink()
    assert len(load(folder)) == 6
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte"):
        load(f"{folder}:test")


def test_labels_that_are_missing_or_too_few(folder: Path) -> None:
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(idx(np.zeros(5)))
    with pytest.raises(DataError, match="6, one an image; received 5"):
        load(f"{folder}:train")
    path.unlink()
    with pytest.raises(DataError, match="train-labels"):
        load(f"{folder}:train")


def test_a_named_set_is_taken_from_the_data_folder(
    folder: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.rename(folder.parent / "fashion-mnist")
    told = load("fashion-mnist:train", data_dir=folder.parent)
    monkeypatch.setenv("OIP_DATA", str(folder.parent))
    found = load("fashion-mnist", part="train")
    for data in (told, found):
        np.testing.assert_array_equal(data.images[..., 0], images)
        assert data.classes[9] == "Ankle boot"
        assert data.source == "fashion-mnist:train"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "IDX file"),
        (b"\x89PNG and more", "IDX file"),
        (b"\0\0\x0d\x03" + bytes(12), "type 0x0d"),
        (b"\0\0\x08\x01" + struct.pack(">I", 4) + bytes(4), "in 1 dimensions"),
        (b"\0\0\x08\x03\0\0", "16 bytes"),
        (b"\0\0\x08\x03" + struct.pack(">3I", 2, 3, 3) + bytes(17), "18 bytes"),
        (b"\0\0\x08\x03" + struct.pack(">3I", 2, 3, 3) + bytes(19), "18 bytes"),
        (b"\0\0\x08\x03" + struct.pack(">3I", *[2**32 - 1] * 3), "received 0"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, message: str) -> None:
    for name, written in (("x", content), ("x.gz", gzip.compress(content))):
        path = tmp_path / name
        path.write_bytes(written)
        with pytest.raises(DataError, match=message):
            read_idx(path, (3,))


@pytest.mark.parametrize("cut", [0, 1, 10, 60])
def test_a_gzip_file_that_is_cut(tmp_path: Path, images: np.ndarray, cut: int) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(idx(images))[:cut])
    with pytest.raises(DataError, match=r"IDX file"):
        read_idx(path, (3,))


def test_a_gzip_file_with_a_wrong_byte(tmp_path: Path, images: np.ndarray) -> None:
    content = bytearray(gzip.compress(idx(images)))
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "x.gz"
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="whole IDX file"):
        read_idx(path, (3,))


@pytest.mark.skipif(
    not (Path(os.environ.get("OIP_DATA", "/nowhere")) / "mnist").is_dir(), reason="needs OIP_DATA"
)
def test_the_real_digits() -> None:
    data = load("mnist:test")
    assert data.images.shape == (10_000, 28, 28, 1)
    assert data.labels is not None and data.labels[:5].tolist() == [7, 2, 1, 0, 4]
