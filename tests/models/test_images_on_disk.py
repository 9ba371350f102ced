from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oip.core.errors import DataError
from oip.models import load


def paint(path: Path, value: int | tuple[int, ...], size: tuple[int, int] = (6, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = "L" if isinstance(value, int) else "RGB"
    Image.new(mode, (size[1], size[0]), value).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(10):
        paint(tmp_path / "pets" / "dog" / f"{number}.png", number)
        paint(tmp_path / "pets" / "cat" / f"{number}.png", 100 + number)
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "pets" / "cat" / ".hidden.png").write_text("no image")
    return tmp_path / "pets"


def test_classes_are_sorted_folders_and_images_follow_them(folder: Path) -> None:
    data = load(folder)
    assert data.classes == ("cat", "dog")
    assert data.images.shape == (20, 6, 4, 1)
    assert data.images.dtype == np.uint8
    assert data.labels is not None
    np.testing.assert_array_equal(data.images[:, 0, 0, 0] < 100, data.labels == 1)


def test_the_parts_of_a_folder_without_parts(folder: Path) -> None:
    train, test = load(f"{folder}:train"), load(folder, part="test")
    assert train.labels is not None and test.labels is not None
    assert np.bincount(train.labels).tolist() == [8, 8]
    assert np.bincount(test.labels).tolist() == [2, 2]
    values = [*train.images[:, 0, 0, 0].tolist(), *test.images[:, 0, 0, 0].tolist()]
    assert sorted(values) == [*range(10), *range(100, 110)]
    assert test.source == "pets:test"


def test_the_parts_of_a_folder_with_parts_share_their_classes(tmp_path: Path) -> None:
    paint(tmp_path / "train" / "b" / "1.png", 1)
    paint(tmp_path / "train" / "c" / "2.png", 2)
    paint(tmp_path / "test" / "a" / "3.png", 3)
    train, test, every = load(f"{tmp_path}:train"), load(f"{tmp_path}:test"), load(tmp_path)
    assert train.classes == test.classes == ("a", "b", "c")
    assert train.labels is not None and train.labels.tolist() == [1, 2]
    assert test.labels is not None and test.labels.tolist() == [0]
    assert len(every) == 3


def test_images_without_class_folders_have_no_labels(tmp_path: Path) -> None:
    paint(tmp_path / "1.png", 1)
    paint(tmp_path / "2.png", 2)
    data = load(tmp_path)
    assert data.labels is None
    assert data.classes == ()
    assert data.images[:, 0, 0, 0].tolist() == [1, 2]


def test_different_sizes_need_a_size(folder: Path) -> None:
    paint(folder / "dog" / "large.png", 5, (12, 8))
    with pytest.raises(DataError, match=r"6 x 4 as of '0\.png'; received 12 x 8 of 'large\.png'"):
        load(folder)
    assert load(folder, size=(8, 8)).images.shape == (21, 8, 8, 1)


def test_colour_is_kept_and_grey_follows_it(folder: Path) -> None:
    paint(folder / "dog" / "red.png", (255, 0, 0))
    assert load(folder).images.shape[-1] == 3
    grey = load(folder, bands=1)
    assert grey.images.shape[-1] == 1
    assert grey.images.max() == 109


def test_damaged_and_deep_images(folder: Path) -> None:
    path = paint(folder / "dog" / "0.png", 7, (64, 64))
    whole = path.read_bytes()
    path.write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"0\.png"):
        load(folder)
    noise = np.random.default_rng(0).integers(0, 256, (6, 4), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match="whole image file"):
        load(folder)
    Image.fromarray(np.full((6, 4), 40_000, np.uint16)).save(path)
    with pytest.raises(DataError, match="8 bits"):
        load(folder)
    path.write_bytes(whole)


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    with pytest.raises(DataError, match="one folder for each class"):
        load(tmp_path)


@pytest.mark.parametrize("header", ["path,label", "label,path", "Path,symbol_id,latex", None])
def test_a_table(tmp_path: Path, header: str | None) -> None:
    names = ["10", "9", "10"]
    rows = [header] if header else []
    for number, name in enumerate(names):
        paint(tmp_path / "images" / f"{number}.png", number)
        pair = [f"images/{number}.png", name]
        rows.append(",".join(pair[::-1] if header == "label,path" else [*pair, "\\alpha"]))
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8-sig")
    data = load(table)
    assert data.classes == ("9", "10")
    assert data.labels is not None and data.labels.tolist() == [1, 0, 1]
    assert data.images[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert data.source == "labels.csv"


def test_the_parts_of_a_table(folder: Path) -> None:
    rows = [f"{path.parent.name}/{path.name},{path.parent.name}" for path in folder.glob("*/?.png")]
    table = folder / "all.csv"
    table.write_text("\n".join(["path,label", *rows]))
    train, test = load(f"{table}:train"), load(f"{table}:test")
    assert (len(train), len(test)) == (16, 4)
    assert test.classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("path,label\n", "header only"),
        ("path,label\nmissing.png,1\n", "missing.png"),
        ("path,label\nmissing.png\n", "row 1"),
        ("path\nmissing.png\n", "row 1"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=message):
        load(table)


def test_a_table_in_another_encoding(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_bytes(b"path,label\nx.png,\xff\xfe\n")
    with pytest.raises(DataError, match="UTF-8"):
        load(table)


def test_folders_of_parts_may_be_called_training_and_test(tmp_path: Path) -> None:
    paint(tmp_path / "Training" / "Apple Red" / "1.jpg", (200, 0, 0))
    paint(tmp_path / "Training" / "Lemon" / "2.jpg", (200, 200, 0))
    paint(tmp_path / "Test" / "Lemon" / "3.jpg", (190, 190, 0))
    paint(tmp_path / "papers" / "4.jpg", (0, 0, 0))
    train, test, every = load(f"{tmp_path}:train"), load(f"{tmp_path}:test"), load(tmp_path)
    assert train.classes == test.classes == ("Apple Red", "Lemon")
    assert (len(train), len(test), len(every)) == (2, 1, 3)
    # The exact name goes before another one.
    paint(tmp_path / "test" / "Apple Red" / "5.jpg", (100, 0, 0))
    assert load(f"{tmp_path}:test").labels.tolist() == [0]


def test_a_folder_val_is_the_test_part_unless_there_is_one(tmp_path: Path) -> None:
    paint(tmp_path / "train" / "dog" / "1.jpg", 1)
    paint(tmp_path / "val" / "dog" / "2.jpg", 2, (8, 8))
    paint(tmp_path / "val" / "cat" / "3.jpg", 3)
    train, test = load(f"{tmp_path}:train"), load(f"{tmp_path}:test", size=(5, 5))
    assert train.classes == test.classes == ("cat", "dog")
    assert (len(train), len(test)) == (1, 2) and test.images.shape[1:3] == (5, 5)
    paint(tmp_path / "Test" / "dog" / "4.jpg", 4)
    assert len(load(f"{tmp_path}:test")) == 1


def test_one_folder_of_a_part_alone_is_a_class(tmp_path: Path) -> None:
    paint(tmp_path / "Training" / "1.png", 1)
    paint(tmp_path / "rest" / "2.png", 2)
    assert load(tmp_path).classes == ("Training", "rest")


def test_the_table_of_hasy_beside_its_images(tmp_path: Path) -> None:
    rows = ["path,symbol_id,latex,user_id"]
    for number, symbol in enumerate((31, 31, 1400, 950, 950, 1400)):
        paint(tmp_path / "hasy-data" / f"v2-{number:05d}.png", 10 * number)
        rows.append(f'hasy-data/v2-{number:05d}.png,{symbol},"\\symbol{{,}}",16')
    (tmp_path / "hasy-data-labels.csv").write_text("\n".join(rows) + "\n")
    for source in (tmp_path, tmp_path / "hasy-data-labels.csv"):
        data = load(source)
        assert data.classes == ("31", "950", "1400")
        assert data.labels is not None
        assert data.labels.tolist() == [0, 0, 2, 1, 1, 2]
        assert data.images[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]
    assert len(load(f"{tmp_path}:test")) == 3
