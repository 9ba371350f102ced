from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oip.core.errors import DataError
from oip.models import load

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 4, 4), np.uint8)
LABELS = np.repeat([0, 2], 5)


def write(tmp_path: Path, **arrays: Any) -> Path:
    path = tmp_path / "shapes.npz"
    np.savez(path, **arrays)
    return path


def test_everything_is_loaded_as_it_stands(tmp_path: Path) -> None:
    data = load(write(tmp_path, images=IMAGES, labels=LABELS))
    np.testing.assert_array_equal(data.images[..., 0], IMAGES)
    np.testing.assert_array_equal(data.labels, LABELS)
    assert data.classes == ("0", "1", "2")
    assert data.source == "shapes.npz"


def test_the_parts_are_a_stratified_split(tmp_path: Path) -> None:
    path = write(tmp_path, images=IMAGES, labels=LABELS)
    train, test = load(f"{path}:train"), load(f"{path}:test")
    assert train.labels is not None and test.labels is not None
    assert np.bincount(train.labels).tolist() == [4, 0, 4]
    assert np.bincount(test.labels).tolist() == [1, 0, 1]
    assert train.classes == test.classes
    rows = np.concatenate([train.images, test.images]).reshape(10, -1)
    assert {row.tobytes() for row in rows} == {row.tobytes() for row in IMAGES.reshape(10, -1)}


def test_names_become_sorted_classes(tmp_path: Path) -> None:
    names = np.array(["round", "flat"] * 5)
    data = load(write(tmp_path, images=IMAGES, labels=names))
    assert data.classes == ("flat", "round")
    assert data.labels is not None and data.labels.tolist() == [1, 0] * 5
    told = load(write(tmp_path, images=IMAGES, labels=names, classes=np.array(["round", "flat"])))
    assert told.labels is not None and told.labels.tolist() == [0, 1] * 5


def test_labels_may_be_missing(tmp_path: Path) -> None:
    data = load(f"{write(tmp_path, images=IMAGES)}:test")
    assert data.labels is None
    assert len(data) == 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES}, "'images'"),
        ({"images": IMAGES, "labels": LABELS[:9]}, "one an image"),
        ({"images": IMAGES, "labels": LABELS + 0.5}, "whole numbers"),
        ({"images": IMAGES, "labels": LABELS - 1}, "-1 to 1"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(["a", "b"])}, "0 to 1"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array([["a"]])}, "names"),
        ({"images": IMAGES, "labels": np.array(["c"] * 10), "classes": np.array(["a"])}, "'?c"),
        ({"images": IMAGES, "labels": np.array([None] * 10)}, "pickled objects"),
        ({"images": np.full((2, 4, 4), np.nan)}, "finite"),
        ({"images": IMAGES[:0]}, "at least one"),
    ],
)
def test_archives_that_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(write(tmp_path, **arrays))


def test_a_damaged_archive(tmp_path: Path) -> None:
    path = write(tmp_path, images=IMAGES, labels=LABELS)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"whole \.npz file"):
        load(path)
