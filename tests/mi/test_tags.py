"""Rankings by several labels of an image: each tag is estimated by itself."""

from __future__ import annotations

import numpy as np
import pytest

from oip.core.checks import tag_columns
from oip.core.errors import DataError
from oip.mi.estimators.base import label_estimator
from oip.mi.tags import over_tags, tag_names, tag_notices


def _planted(n=300, seed=0):
    """Responses of four maps: to the first tag, to the second, to both, to nothing."""
    random = np.random.default_rng(seed)
    tags = random.integers(0, 2, (n, 3)).astype(np.uint8)
    noise = random.normal(size=(n, 4, 1))
    signal = np.stack([tags[:, 0], tags[:, 1], tags[:, 0] + 2.0 * tags[:, 1], 0 * tags[:, 0]], 1)
    return (6.0 * signal[..., None] + noise).astype(np.float32), tags


def test_only_rows_of_several_labels_are_tags():
    tags = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    assert tag_columns(tags).dtype == np.uint8
    assert tag_columns(tags.astype(float)) is not None and tag_columns(tags.tolist()) is not None
    for labels in (np.eye(3), tags[:, :1], tags[:, 0], 2 * tags, [["a", "b"]], [[0, 1], [1]], None):
        assert tag_columns(labels) is None


@pytest.mark.parametrize("name", ["predictive", "gaussian"])
def test_planted_tags_are_found_one_by_one_and_bits_add_up(name):
    responses, tags = _planted()
    result = over_tags(label_estimator(name), responses, tags, 0, 100, 20)
    bits = result.per_class / np.log(2)
    assert bits.shape == (4, 3)
    assert (bits[0, 0], bits[1, 1]) == pytest.approx((1.0, 1.0), abs=0.12)
    assert bits[2, :2].min() > 0.15
    assert bits[:, 2].max() < 0.05 and bits[3].max() < 0.05
    assert result.raw == pytest.approx(result.per_class_raw.sum(axis=1))
    assert result.ceiling == pytest.approx(result.class_ceiling.sum())
    assert (result.p_value[:3] < 0.05).all() and result.p_value[3] > 0.05
    assert (result.per_class_p[[0, 1], [0, 1]] < 0.05).all() and result.per_class_p[3].min() > 0.01
    assert (result.low <= result.mi).all() and (result.mi <= result.high).all()


def test_each_tag_has_the_numbers_of_a_ranking_by_it_alone():
    responses, tags = _planted()
    estimator = label_estimator("gaussian")
    result = over_tags(estimator, responses, tags, 3, 50, 10)
    for tag in range(3):
        alone = estimator.over_maps(responses, tags[:, tag].astype(int), 3, 50, 10, distinct=True)
        assert result.per_class_raw[:, tag] == pytest.approx(alone.raw)
        assert result.per_class_low[:, tag] == pytest.approx(alone.low)
        assert result.per_class_p[:, tag] == pytest.approx(alone.p_value)


def test_the_spread_of_a_sum_is_that_of_related_tags():
    responses, tags = _planted()
    estimator = label_estimator("gaussian")
    twice = over_tags(estimator, responses, tags[:, [0, 0]], 0, 0, 40)
    once = over_tags(estimator, responses, tags[:, [0]], 0, 0, 40)
    width = lambda estimate: estimate.high - estimate.low  # noqa: E731
    assert twice.raw == pytest.approx(2 * once.raw)
    assert width(twice)[1] == pytest.approx(2 * width(once)[1], rel=0.05)


def test_rare_tags_are_left_out_and_named():
    responses, tags = _planted()
    tags[:, 2] = 0
    tags[:4, 2] = 1
    result = over_tags(label_estimator("gaussian"), responses, tags, 0, 20, 10)
    assert np.isnan(result.per_class_raw[:, 2]).all() and result.class_ceiling[2] == 0
    assert np.isfinite(result.raw).all()
    several, left = tag_notices(tags, ("a", "b", "c"))
    assert "2 tags by itself" in several and left.endswith("were left out: c.")
    with pytest.raises(DataError, match="some images have and others lack"):
        tag_notices(tags[:, 2:], ("c",))
    with pytest.raises(DataError, match="one per tag"):
        tag_names(3, ("a", "b"))


def test_a_layer_is_ranked_by_tags(tmp_path):
    import keras

    from oip import mi

    random = np.random.default_rng(0)
    tags = random.integers(0, 2, (200, 2)).astype(np.uint8)
    images = random.normal(size=(200, 6, 6, 2)).astype(np.float32) * 0.2 + tags[:, None, None, :]
    model = keras.Sequential(
        [keras.Input((6, 6, 2)), keras.layers.Conv2D(2, 1, activation="relu", name="own")]
    )
    model.layers[0].set_weights([np.eye(2).reshape(1, 1, 2, 2), np.zeros(2)])
    ranking = mi.rank(model, images, tags, "own", estimators=["gaussian"], classes=("sea", "sky"))
    assert ranking.tags and ranking.classes == ("sea", "sky")
    by = ranking.estimators[0]
    assert by.per_class.argmax(axis=1).tolist() == [0, 1]
    assert by.ceiling == pytest.approx(2.0, abs=0.02)
    histogram = ranking.responses["histogram"]
    assert histogram.sum(axis=2).tolist() == [tags.sum(axis=0).tolist()] * 2
    record = ranking.to_file()
    assert record.tags and "several labels" in record.notices[0]
    assert "mi:sky" in ranking.to_pandas()
    repeated = mi.rank(model, images, tags.tolist(), "own", estimators=["gaussian"])
    assert repeated.classes == ("0", "1") and (repeated.estimators[0].mi == by.mi).all()
    with pytest.raises(DataError, match="one row per image"):
        mi.rank(model, images, tags[:50], "own")
