import numpy as np
import pytest

from oip import mi
from oip.mi.estimators.arrangement import FOLDS, Arrangement, drawn_in


def test_folds_are_even_in_every_class():
    codes = np.repeat([0, 1, 2], [53, 31, 2])
    found = Arrangement.of(np.random.default_rng(0).normal(size=(86, 2)), codes, 0)
    assert (np.sort(found.order) == np.arange(86)).all()
    assert found.classes.tolist() == [2, 1, 0]
    assert (found.classes[found.codes] == codes[found.order]).all()
    for code in range(3):
        counts = np.bincount(found.folds[codes == code], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(found.folds)
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("name", ["decoder", "predictive"])
def test_orders_of_samples_and_names_of_classes_change_nothing(name):
    rng = np.random.default_rng(0)
    codes = np.arange(90) % 3
    x = np.maximum(0.0, rng.normal(size=(90, 4)) + np.eye(4)[codes])
    order = rng.permutation(90)
    given = mi.mutual_information(x, codes, name, null=99)
    turned = mi.mutual_information(x[order], np.array(["b", "a", "c"])[codes[order]], name, null=99)
    assert turned.nats == given.nats > 0.1
    assert turned.p_value == given.p_value
    maps = mi.estimator(name).over_maps(x[:, None], codes)
    renamed = mi.estimator(name).over_maps(x[order][:, None], 2 - codes[order])
    assert (renamed.per_class_raw == maps.per_class_raw[:, ::-1]).all()


@pytest.mark.parametrize("name", ["decoder", "predictive"])
def test_a_few_samples_far_away_hide_nothing(name):
    rng = np.random.default_rng(0)
    codes = np.arange(200) % 4
    x = 5 * np.eye(4)[codes] + rng.normal(size=(200, 4))
    given = mi.mutual_information(x, codes, name, null=0, draws=0).nats
    x[:3] *= 1e4
    assert mi.mutual_information(x, codes, name, null=0, draws=0).nats > 0.85 * given


def test_samples_that_are_not_far_stay_as_they_are():
    rng = np.random.default_rng(0)
    sparse = np.maximum(0.0, rng.normal(size=(300, 5)) - 2)
    for x in (rng.normal(size=(300, 3)), sparse, np.zeros((9, 2)), np.full((9, 2), 0.3)):
        assert drawn_in(x) is x
    x = rng.normal(size=(300, 2))
    x[7] = 3e100, -4e100
    found = drawn_in(x)
    assert np.corrcoef(np.delete(found, 7, 0)[:, 0], np.delete(x, 7, 0)[:, 0])[0, 1] > 0.999
    assert found[7] / np.linalg.norm(found[7]) == pytest.approx([0.6, -0.8])
