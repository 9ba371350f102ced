import json

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, ModelError
from oip.core.layer_formats import ClustersFile
from oip.mi import polysemanticity
from oip.mi.polysemanticity import clusters_of_units

KINDS = 8
FEW = {"references": 39, "draws": 4}


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
    result = clusters_of_units(responses, features, **FEW)
    assert result.clusters[:3].tolist() == [1, 2, 3]
    assert result.clusters[3] >= 4
    assert result.clusters[4:].tolist() == [0, 0]
    assert result.p_value[0] > 0.05
    assert result.p_value[1:4].max() < 0.02
    assert np.isnan(result.p_value[4:]).all()
    assert np.isnan(result.silhouette[0]) and result.silhouette[1] > 0.3
    assert result.images.tolist() == [64, 64, 64, 64, 0, 12]
    assert result.random.min() >= 4
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


def test_points_of_one_normal_distribution_are_one_kind():
    random = np.random.default_rng(1)
    features = random.normal(size=(300, 12)) @ random.normal(size=(12, 12))
    result = clusters_of_units(random.normal(size=(300, 12)), features, False, **FEW)
    assert (result.clusters > 1).mean() <= 0.1
    assert (result.images == 30).all()
    assert result.random.mean() < 1.5


def test_k_means_agrees_with_scikit_learn():
    from sklearn.cluster import KMeans

    random = np.random.default_rng(0)
    sets = random.normal(size=(3, 40, 2)) + 4 * random.integers(0, 2, (3, 40, 1))
    spread, labels = polysemanticity._k_means(sets, 2, random)
    for points, total, own in zip(sets, spread, labels, strict=True):
        fitted = KMeans(2, n_init=10, random_state=0).fit(points)
        assert total == pytest.approx(fitted.inertia_, rel=0.02)
        agree = np.mean(own == fitted.labels_)
        assert max(agree, 1 - agree) > 0.9


def test_equal_points_are_one_kind(planted):
    result = clusters_of_units(planted[0][:, :1], np.ones((640, 3)), **FEW)
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
    own = mi.image_clusters(network(1), images, "maps", maps=[0, 2], split="noise", **FEW)
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
    judged = mi.image_clusters(network(1), images, "maps", maps=0, judge=network(2), **FEW)
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
    counted = clusters_of_units(responses, features, **FEW)
    result = mi.ImageClusters(
        *("layer", 0, np.arange(6), "judge", ""), samples=640, **counted._asdict()
    )
    # All kinds are several clusters, but those of any images.
    assert result.selective.tolist() == [True, True, True, False, False, False]
    assert result.polysemantic.tolist() == [False, True, True, False, False, False]
    assert np.all(np.diff(result.variety[:4]) > 0) and 0.8 < result.variety[3] < 1.2
    assert np.isnan(result.variety[4:]).all()
    assert result.order[0] == 3 and set(result.order[-2:]) == {4, 5}
    rows = result.to_file("key").maps
    assert [row.polysemantic for row in rows] == result.polysemantic.tolist()
    assert [row.selective for row in rows] == result.selective.tolist()
    assert rows[1].sizes and len(rows[1].examples) == 2
    assert rows[4].p_value is None and rows[4].examples == []


def test_features_that_are_not_finite_are_refused(planted):
    with pytest.raises(DataError, match="finite"):
        clusters_of_units(planted[0], np.full((640, 3), np.nan))
