"""Some images of a data set: which, and in what shares."""

import numpy as np
import pytest

from oip.models.datasets import dataset
from oip.studies.data import fair_order, in_random_order, limited


def data(labels):
    pixels = np.arange(len(labels), dtype=np.float32)[:, None, None] * np.ones((1, 2, 2))
    known = None if labels is None else np.asarray(labels)
    return dataset(pixels, known, tuple("abcd"), "planted")


def numbers(found):
    return found.images[:, 0, 0, 0].astype(int)


def test_the_first_images_of_a_random_order_are_kept():
    labels = np.random.default_rng(0).integers(0, 4, 2000)
    found = limited(data(labels), 300)
    assert numbers(found).tolist() == list(range(300))
    assert found.source == "planted, the first 300"
    whole = data(labels)
    assert limited(whole, None) is whole and limited(whole, 5000) is whole


def test_images_that_come_by_class_are_drawn_in_the_shares_of_the_classes():
    labels = np.repeat(np.arange(4), (400, 200, 200, 40))
    found = limited(data(labels), 168)
    assert np.bincount(found.labels).tolist() == [80, 40, 40, 8]
    assert len(set(numbers(found))) == 168
    assert (labels[numbers(found)] == found.labels).all()
    again = limited(data(labels), 168)
    assert (numbers(again) == numbers(found)).all()
    # Any number of first images has the shares, also where all are taken.
    whole = limited(data(labels), None)
    assert sorted(numbers(whole)) == list(range(840))
    for count in (21, 42, 210):
        part = np.bincount(whole.labels[:count], minlength=4) / count
        assert np.abs(part - np.array([400, 200, 200, 40]) / 840).max() < 0.06


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
