from __future__ import annotations

import os
import re
import warnings
import zlib
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oip.core.errors import DataError, Notice
from oip.models import load

ROOT = Path(__file__).parents[2]


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
    warnings.simplefilter("ignore", Notice)  # classes that one part has
    train, test, every = load(f"{tmp_path}:train"), load(f"{tmp_path}:test"), load(tmp_path)
    # Those of the train folder first: a model that Keras trained there has them as 0 and 1.
    assert train.classes == test.classes == ("b", "c", "a")
    assert train.labels is not None and train.labels.tolist() == [0, 1]
    assert test.labels is not None and test.labels.tolist() == [2]
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
    with pytest.raises(DataError, match=r"'dog/0\.png'"):
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


def test_all_files_that_cannot_be_read_are_named_at_once(folder: Path) -> None:
    wholes = {path: path.read_bytes() for path in sorted(folder.glob("dog/*.png"))[:3]}
    for path in wholes:
        path.write_bytes(b"not an image")
    names = [f"'dog/{path.name}'" for path in wholes]
    with pytest.raises(DataError) as caught:
        load(folder)
    assert str(caught.value).startswith(f"{names[0]}: expected an image file")
    assert str(caught.value).endswith(f"Nor can 2 more be used: {names[1]}, {names[2]}.")
    noise = np.random.default_rng(0).integers(0, 256, (6, 4), np.uint8)
    for path in wholes:
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:50])  # the header is whole
    with pytest.raises(DataError, match=r"a whole image file.* Nor can 2 more"):
        load(folder)
    for path, whole in wholes.items():
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


def test_a_table_says_which_of_several_columns_its_labels_are(tmp_path: Path) -> None:
    paint(tmp_path / "0.png", 0)
    table = tmp_path / "labels.csv"
    table.write_text("file,width,kind\n0.png,24,cat\n")
    with pytest.warns(Notice, match="no column is named 'label'; labels are taken from 'width'"):
        assert load(table).classes == ("24",)
    table.write_text("path,label\ngone.png,1\n")
    with pytest.raises(DataError, match=r"^'gone.png': expected an image file"), chdir(tmp_path):
        load("labels.csv")


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
        ("missing.png,1\nother.png,1\n", "missing.png"),
        ("a" * 5000, "header only"),
        ("path,label\nmissing.png\n", "row 1"),
        ("path\nmissing.png\n", "row 1"),
        ("path,label\nmissing.png,1\nother.png, \n", "row 2 .* a label"),
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
    warnings.simplefilter("ignore", Notice)
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
    warnings.simplefilter("ignore", Notice)
    train, test = load(f"{tmp_path}:train"), load(f"{tmp_path}:test", size=(5, 5))
    assert train.classes == test.classes == ("dog", "cat")
    assert (len(train), len(test)) == (1, 2) and test.images.shape[1:3] == (5, 5)
    paint(tmp_path / "Test" / "dog" / "4.jpg", 4)
    assert len(load(f"{tmp_path}:test")) == 1


def test_one_folder_of_a_part_alone_is_a_class(tmp_path: Path) -> None:
    paint(tmp_path / "Training" / "1.png", 1)
    paint(tmp_path / "rest" / "2.png", 2)
    assert load(tmp_path).classes == ("Training", "rest")


def test_class_folders_in_one_folder_of_a_part_alone_are_classes(tmp_path: Path) -> None:
    for number in range(4):
        paint(tmp_path / "train" / "dog" / f"{number}.png", number)
        paint(tmp_path / "train" / "cat" / f"{number}.png", number)
    train, test = load(f"{tmp_path}:train"), load(f"{tmp_path}:test")
    assert train.classes == test.classes == ("cat", "dog")
    assert (len(train), len(test)) == (6, 2)
    paint(tmp_path / "plane" / "1.png", 1)
    assert load(tmp_path).classes == ("plane", "train")


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


def test_classes_and_images_are_those_of_keras(tmp_path: Path) -> None:
    """Empty classes, folders in folders, hidden ones, and files that are no images."""
    from keras.utils import image_dataset_from_directory

    for number, path in enumerate(("b/2.png", "b/1.png", "d/x/3.png", "d/4.png", "d/a/5.PNG")):
        paint(tmp_path / path, 10 * number, (8, 8))
    for path in ("a", "c", "e/empty"):
        (tmp_path / path).mkdir(parents=True)
    paint(tmp_path / ".ipynb_checkpoints" / "1-checkpoint.png", 7)
    paint(tmp_path / "beside.png", 7)
    (tmp_path / "b" / "notes.txt").write_text("no image")
    with pytest.warns(Notice) as notices:
        data = load(tmp_path)
    reference = image_dataset_from_directory(
        tmp_path, image_size=(8, 8), color_mode="grayscale", shuffle=False, verbose=False
    )
    ((images, labels),) = list(reference)
    assert data.classes == tuple(reference.class_names) == ("a", "b", "c", "d", "e")
    assert data.labels is not None and data.labels.tolist() == labels.numpy().tolist()
    assert data.labels.tolist() == [1, 1, 3, 3, 3]
    np.testing.assert_array_equal(data.images, images.numpy())
    (text,) = (str(entry.message) for entry in notices)
    assert "classes without images: a, c, e (3)" in text
    assert all(name in text for name in (".ipynb_checkpoints/", "beside.png", "notes.txt", "(3)"))


def test_hidden_images_are_left_out(folder: Path) -> None:
    (folder / "cat" / ".hidden.png").write_text("no image")
    paint(folder / "cat" / ".cache" / "1.png", 3)
    with pytest.warns(Notice, match=r"left out: \.cache/, \.hidden\.png"):
        assert len(load(folder)) == 20


def test_images_of_many_sizes_become_those_of_a_model(folder: Path) -> None:
    picture = np.zeros((4, 8, 3), np.uint8)
    picture[:, 2:6] = (200, 100, 50)  # the middle, as high as wide
    Image.fromarray(picture).save(folder / "dog" / "wide.png")
    shapes = []

    def model_shape(own: tuple[int, ...] | None) -> tuple[int, ...]:
        shapes.append(own)
        return 4, 4, 3

    def wide(resize: str | None) -> np.ndarray:
        message = f"21 of 21 images were brought to the model's 4 x 4 .*resize='{resize or 'crop'}'"
        with pytest.warns(Notice, match=message):
            data = load(folder, resize=resize, model_shape=model_shape)
        assert (data.images.shape, data.resize) == ((21, 4, 4, 3), resize or "crop")
        return data.images[-1]

    assert (wide(None) == (200, 100, 50)).all()
    assert shapes == [None]
    fits, stretched = wide("fit"), wide("stretch")
    assert not fits[[0, 3]].any() and fits[1:3, 1:3].all()
    assert stretched[0, 0, 0] < 100 < stretched[0, 1, 0]
    with pytest.raises(DataError, match="crop or fit or stretch"):
        load(folder, resize="bend")


def test_images_of_many_sizes_in_a_table(tmp_path: Path) -> None:
    for number in range(3):
        paint(tmp_path / f"{number}.png", 50 * number, (4 + number, 9))
    (tmp_path / "rows.csv").write_text("path,label\n0.png,a\n1.png,b\n2.png,a\n")
    with pytest.raises(DataError, match=r"4 x 9 .*Ask for one size: size=\(h, w\)"):
        load(tmp_path / "rows.csv")
    with pytest.warns(Notice, match="rows.csv: 3 of 3 images were brought"):
        data = load(tmp_path / "rows.csv", model_shape=lambda own: (6, 6, 1))
    assert data.images.shape == (3, 6, 6, 1)
    assert data.images[:, 0, 0, 0].tolist() == [0, 50, 100]


def test_images_that_have_the_size_of_a_model_are_as_they_are(folder: Path) -> None:
    data = load(folder, model_shape=lambda own: own or (1, 1, 1))
    assert data.resize is None
    np.testing.assert_array_equal(data.images, load(folder).images)


def test_all_takes_every_image(folder: Path) -> None:
    data = load(f"{folder}:all", part="test")
    assert (len(data), data.source) == (20, "pets:all")
    assert len(load("mnist-sample:all")) == 5000


def test_an_image_of_another_format_is_refused_by_its_content(folder: Path) -> None:
    """Pillow hands PostScript to another program, whatever the file's name."""
    path = folder / "dog" / "0.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    match = r"'dog/0\.png': expected .*PNG, JPEG, WEBP, BMP, TIFF, GIF"
    with pytest.raises(DataError, match=match):
        load(folder)


def test_every_image_file_is_opened_with_a_list_of_formats() -> None:
    files = [p for room in ("oip", "mi", "models", "gallery") for p in (ROOT / room).rglob("*.py")]
    calls = [line for p in files for line in p.read_text().splitlines() if "Image.open(" in line]
    assert calls
    assert [line for line in calls if not re.search(r"Image\.open\([^)]*formats=", line)] == []


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "bomb"])
def test_no_image_file(folder: Path, kind: str) -> None:
    path = folder / "dog" / "x.png"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "bomb":
        head = b"\0\0\0\rIHDR" + (40_000).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0"
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + head + zlib.crc32(head[4:]).to_bytes(4, "big") + b"\0\0\0\4IDAT"
        )
    else:
        (folder / "rows.csv").write_text("path,label\ndog,1\n")
    source = folder / "rows.csv" if kind == "folder" else folder
    expected = {"fifo": "a FIFO", "folder": "a folder", "loop": r"x\.png", "bomb": "decompression"}
    with pytest.raises(DataError, match=expected[kind]):
        load(source)


def test_the_memory_that_images_take_is_bounded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OIP_READ_LIMIT", "0.5")
    with pytest.raises(DataError, match=r"0\.596 GiB .*limit of 0\.5 GiB.* OIP_READ_LIMIT"):
        load(folder, size=(4000, 8000))


def test_labels_of_many_digits(tmp_path: Path) -> None:
    paint(tmp_path / "x.png", 1)
    names = ["9" * 5000, "2", "-3", "1" * 5000]
    (tmp_path / "rows.csv").write_text("".join(f"x.png,{name}\n" for name in names))
    data = load(tmp_path / "rows.csv")
    assert data.classes == ("-3", "2", "1" * 5000, "9" * 5000)
    assert data.labels is not None and data.labels.tolist() == [3, 1, 0, 2]
    (tmp_path / "rows.csv").write_bytes(b"path,label\nx\0.png,1\n")
    with pytest.raises(DataError, match="NUL"):
        load(tmp_path / "rows.csv")
