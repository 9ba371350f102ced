import json

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, ModelError
from oip.core.layer_formats import ClustersFile
from oip.mi import polysemanticity
from oip.mi.polysemanticity import clusters_of_units

KINDS = 8
FEW = 39


@pytest.fixture(scope="module")
def planted():
    """Features of images of 8 kinds; units that answer to 1, 2, 3 and all of them, and to none."""
    random = np.random.default_rng(0)
    kinds = np.arange(640) % KINDS
    features = 3.0 * np.eye(KINDS)[kinds] + random.normal(0, 0.3, (640, KINDS))
    strength = random.uniform(0.5, 1.0, 640)
    answers = [(0,), (0, 5), (1, 4, 6), tuple(range(KINDS))]
    responses = [np.where(np.isin(kinds, own), strength, 0.0) for own in answers]
    responses.append(np.zeros(640))
    responses.append(np.where(np.arange(640) < 12, 1.0, 0.0))
    return np.array(responses).T, features, kinds


def test_kinds_are_counted(planted):
    responses, features, kinds = planted
    result = clusters_of_units(responses, features, references=FEW)
    assert result.clusters.tolist() == [1, 2, 3, 1, 0, 0]
    assert min(result.p_value[[0, 3]]) > 0.05
    assert result.p_value[1:3].max() < 0.02
    assert np.isnan(result.p_value[4:]).all() and np.isnan(result.explained[4:]).all()
    assert np.isnan(result.silhouette[0]) and result.silhouette[1] > 0.3
    assert result.images.tolist() == [64, 64, 64, 64, 0, 12]
    assert result.explained[1:3].min() > 0.85
    gains = result.explained - result.expected
    assert gains[1:3].min() > 0.3 and np.abs(gains[[0, 3]]).max() < 0.15
    assert (result.sizes.sum(1)[:4] == 64).all()
    for unit, own in ((1, (0, 5)), (2, (1, 4, 6))):
        examples = result.examples[unit, : len(own)]
        assert {kinds[row[0]] for row in examples} == set(own)
        assert (np.ptp(kinds[examples], axis=1) == 0).all()


def test_components_of_more_features_than_images_are_the_same():
    features = np.random.default_rng(2).normal(size=(30, 20)) ** 3
    wide = np.concatenate([features, np.zeros((30, 15))], axis=1)
    own, same = (polysemanticity._components(part.copy()) for part in (features, wide))
    np.testing.assert_allclose(np.abs(own), np.abs(same), atol=1e-8)


def test_images_about_one_image_or_random_ones_are_one_kind(planted):
    """Neither kind of unit has more distinct clusters than by chance: one in twenty."""
    random = np.random.default_rng(1)
    features = planted[1]
    centers = features[random.permutation(640)[:40]]
    squares = ((centers[:, None] - features) ** 2).sum(axis=2)
    width = np.geomspace(0.5, 30.0, 40)[:, None]
    narrow = -squares / width + random.gumbel(size=squares.shape)
    for responses in (narrow.T, random.normal(size=(640, 40))):
        result = clusters_of_units(responses, features, False, references=FEW)
        assert (result.p_value <= 0.05).mean() <= 0.15
        assert result.p_adjusted.min() > 0.05
        assert (result.images == 64).all()


def test_images_of_one_kind_have_the_variety_that_they_should(planted):
    features = planted[1]
    random = np.random.default_rng(0)
    sets = polysemanticity._ImagesOfOneKind.of(features, 40, random)
    for variety in (0.2, 0.5, 0.9):
        rows = sets.draw(variety, 50, random)
        assert rows.shape == (50, 40)
        assert all(len(set(row)) == 40 for row in rows.tolist())
        spread = [polysemanticity._variety(features, row) for row in rows]
        assert np.mean(spread) == pytest.approx(variety, abs=0.05)
    assert sets.draw(0.5, 1000, random).shape == (1000, 40)  # more than there are centers


def test_k_means_agrees_with_scikit_learn():
    from sklearn.cluster import KMeans

    random = np.random.default_rng(0)
    sets = random.normal(size=(3, 60, 2)) + 6 * random.integers(0, 3, (3, 60, 1))
    spread, labels = polysemanticity._k_means(sets, random)
    assert spread.shape == (7, 3) and labels.shape == (7, 60)
    fits = [
        [KMeans(count, random_state=0).set_params(n_init=10).fit(points) for points in sets]
        for count in range(2, 9)
    ]
    ratio = spread / [[fit.inertia_ for fit in row] for row in fits]
    assert ratio.min() > 0.97 and ratio.mean() < 1.1
    middles = [sets[0][labels[1] == label] for label in range(3)]
    within = sum(((part - part.mean(axis=0)) ** 2).sum() for part in middles)
    assert within == pytest.approx(spread[1, 0], rel=1e-6)  # of the same clusters


def test_distinctness_of_the_null_leaves_the_set_itself_out():
    random = np.random.default_rng(0)
    sets = random.normal(size=(12, 40, 3))
    part = polysemanticity._partition(sets, np.random.default_rng(1))
    within, _ = polysemanticity._k_means(
        sets - sets.mean(axis=1, keepdims=True), np.random.default_rng(1)
    )
    whole = ((sets - sets.mean(axis=1, keepdims=True)) ** 2).sum(axis=(1, 2))
    logs = np.log(within / whole)[:, 1:]
    for column in range(11):
        other_logs = np.delete(logs, column, axis=1)
        gap = (other_logs.mean(axis=1) - logs[:, column]) / other_logs.std(axis=1)
        assert part.null[column] == pytest.approx(gap.max())


def test_equal_points_are_one_kind(planted):
    result = clusters_of_units(planted[0][:, :1], np.ones((640, 3)), references=FEW)
    assert result.clusters.tolist() == [1]


def network(seed: int):
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu", name="maps"),
            layers.Flatten(),
            layers.Dense(6, activation="relu"),
            layers.Dense(4, activation="softmax"),
        ]
    )


@pytest.mark.filterwarnings("ignore:the judge")
def test_maps_of_a_network_and_a_judge():
    images = np.random.default_rng(0).normal(size=(200, 8, 8, 1)).astype(np.float32)
    own = mi.image_clusters(network(1), images, "maps", maps=[0, 2], split="noise", references=FEW)
    assert own.judge == "the network itself"
    assert own.maps.tolist() == [0, 2]
    assert (own.images == 20).all() and own.samples == 200
    record = own.to_dict()
    json.dumps(record, allow_nan=False)
    assert record["maps"][1]["map"] == 2 and record["split"] == "noise"
    assert ClustersFile.SCHEMA == record["schema"]
    assert repr(own).startswith("ImageClusters(maps: ")
    assert "polysemantic" in own._repr_html_()
    assert own.to_pandas()["map"].tolist() == own.order.tolist()
    judged = mi.image_clusters(network(1), images, "maps", maps=0, judge=network(2), references=FEW)
    assert judged.judge != own.judge
    model = network(1)
    with pytest.raises(ModelError, match="other weights"):
        mi.image_clusters(model, images, "maps", judge=model)
    with pytest.raises(DataError, match="160 or more"):
        mi.image_clusters(model, images[:100], "maps")
    with pytest.raises(ModelError, match="maps"):
        mi.image_clusters(model, images, "none")


def test_polysemantic_maps_have_an_adjusted_p_value(planted):
    responses, features, _ = planted
    counted = clusters_of_units(responses, features, references=FEW)
    result = mi.ImageClusters(
        *("layer", 0, np.arange(6), "judge", ""), samples=640, **counted._asdict()
    )
    assert result.selective.tolist() == [True, False, False, False, False, False]
    assert result.polysemantic.tolist() == [False, True, True, False, False, False]
    assert np.all(np.diff(result.variety[:4]) > 0) and 0.8 < result.variety[3] < 1.2
    assert np.isnan(result.variety[4:]).all()
    assert result.order[0] == 2 and set(result.order[-2:]) == {4, 5}
    rows = result.to_file("key").maps
    assert [row.polysemantic for row in rows] == result.polysemantic.tolist()
    assert [row.selective for row in rows] == result.selective.tolist()
    assert rows[1].sizes and len(rows[1].examples) == 2
    assert rows[4].p_value is None and rows[4].examples == []


def test_features_that_are_not_finite_are_refused(planted):
    with pytest.raises(DataError, match="finite"):
        clusters_of_units(planted[0], np.full((640, 3), np.nan))
