from pathlib import Path

import numpy as np
import pytest

from oip.core.errors import DataError
from oip.models.datasets import dataset
from oip.studies.data import (
    data_key,
    every_source,
    fair_order,
    in_random_order,
    limited,
    load_images,
    one_of_each_class,
    study_data,
)
from oip.studies.report import Folder, MissingData, StudySettings


def data(labels):
    pixels = np.arange(len(labels), dtype=np.float32)[:, None, None] * np.ones((1, 2, 2))
    codes = None if labels is None else np.asarray(labels)
    return dataset(pixels, codes, tuple("abcd"), "planted")


def numbers(images):
    return images.images[:, 0, 0, 0].astype(int)


def test_the_first_images_of_a_random_order_are_kept():
    labels = np.random.default_rng(0).integers(0, 4, 2000)
    part = limited(data(labels), 300)
    assert numbers(part).tolist() == list(range(300))
    assert part.source == "planted, the first 300"
    whole = data(labels)
    assert limited(whole, None) is whole and limited(whole, 5000) is whole


def test_images_that_come_by_class_are_drawn_in_the_shares_of_the_classes():
    labels = np.repeat(np.arange(4), (400, 200, 200, 40))
    part = limited(data(labels), 168)
    assert np.bincount(part.labels).tolist() == [80, 40, 40, 8]
    assert len(set(numbers(part))) == 168
    assert (labels[numbers(part)] == part.labels).all()
    second = limited(data(labels), 168)
    assert (numbers(second) == numbers(part)).all()
    # Any number of first images has the shares, also where all are taken.
    whole = limited(data(labels), None)
    assert sorted(numbers(whole)) == list(range(840))
    for count in (21, 42, 210):
        share = np.bincount(whole.labels[:count], minlength=4) / count
        assert np.abs(share - np.array([400, 200, 200, 40]) / 840).max() < 0.06


@pytest.mark.parametrize("period", [1, 7])
def test_an_order_that_turns_around_the_classes_is_fair(period):
    labels = np.arange(2100) // period % 3
    assert in_random_order(labels, 500)


def test_a_class_that_comes_late_is_seen():
    labels = np.concatenate([np.random.default_rng(0).integers(0, 3, 900), np.full(300, 3)])
    assert not in_random_order(labels, 500)
    assert np.bincount(limited(data(labels), 400).labels)[3] == 100


def test_images_without_labels_are_drawn():
    order = fair_order(None, 50)
    assert sorted(order) == list(range(50)) and (np.diff(order) != 1).any()
    assert not in_random_order(None, 10)
    plain = data(np.zeros(50, int))
    unknown = dataset(plain.images, None, (), "unlabelled")
    assert len(set(numbers(limited(unknown, 20)))) == 20


def test_the_digest_of_data_is_that_of_images_and_labels(tmp_path: Path) -> None:
    values = np.arange(20 * 4 * 4, dtype=np.uint8).reshape(20, 4, 4) % 250
    labels = np.arange(20) % 2
    folder, settings = Folder(tmp_path / "out", "rbig", StudySettings()), StudySettings()
    digests = []
    for number, (pixels, codes) in enumerate(
        [(values, labels), (values, labels), (values + 1, labels), (values, 1 - labels)]
    ):
        path = tmp_path / f"{number}.npz"
        np.savez(path, images=pixels, labels=codes)
        digests.append(load_images(folder, str(path)).digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    bare = study_data(tmp_path / "0.npz", settings)
    assert len(data_key(bare)) == 64


def test_missing_data_say_where_they_were_looked_for(tmp_path: Path) -> None:
    settings = StudySettings(data_dir=tmp_path)
    with pytest.raises(MissingData, match="nothing in") as caught:
        study_data("mnist", settings, "no-such-part")
    assert str(tmp_path) in caught.value.looked and "Keras" in caught.value.looked
    assert "mnist" in caught.value.needs
    with pytest.raises(MissingData, match="nothing in") as caught:
        study_data("somewhere/nope.npz", settings)
    assert caught.value.looked == f"'{Path('somewhere/nope.npz').absolute()}'"
    assert "'nope.npz'" in caught.value.needs
    assert len(study_data("binary-12", settings, "test")) == 819


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_source_of_one_part_is_refused(tmp_path: Path, part: str) -> None:
    settings = StudySettings(data=(f"mnist-sample:{part}",))
    with pytest.raises(DataError, match=r"both parts.*Use mnist-sample"):
        every_source(Folder(tmp_path, "kernels", settings))


def test_data_without_labels_are_left_out_and_the_rest_used(tmp_path: Path) -> None:
    path = tmp_path / "bare.npz"
    np.savez(
        path, images=np.zeros((20, 4, 4), np.uint8) + np.arange(20, dtype=np.uint8)[:, None, None]
    )
    settings = StudySettings(data=(str(path), "mnist-sample"))
    folder = Folder(tmp_path / "out", "kernels", settings)
    assert [data.name for data in every_source(folder)] == ["mnist-sample"]
    assert [row.verdict for row in folder.findings] == ["not tested"]
    assert "labels of the data 'bare.npz'" in folder.lacking[0]
    alone = StudySettings(data=(str(path),))
    with pytest.raises(MissingData, match="labels"):
        every_source(Folder(tmp_path / "alone", "kernels", alone))


def test_digits_that_replace_mnist_are_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(source, settings, part):
        if source != "mnist-sample":
            raise MissingData(source, "nowhere", "Fetch it.")
        return study_data(source, settings, part)

    monkeypatch.setattr("oip.studies.data.study_data", nowhere)
    folder = Folder(tmp_path, "kernels", StudySettings())
    assert [data.name for data in every_source(folder)] == ["mnist-sample"]
    load_images(folder, "mnist")
    assert len(folder.notes) == 1
    assert ["replace it" in text for text in folder.lacking] == [True, False]


def test_one_image_of_each_class_that_has_one():
    assert one_of_each_class(data([3, 0, 3, 0, 1, 1]))[:, 0, 0, 0].astype(int).tolist() == [1, 4, 0]
