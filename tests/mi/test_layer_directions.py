"""Directions in the space of a layer's maps."""

from __future__ import annotations

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, ModelError, SettingsError
from oip.mi.sparse_autoencoder import Settings, fitted_autoencoder

MIXED = {0: {3: 0.8, 7: 0.6}, 1: {1: 0.6, 3: 0.8}, 2: {5: 1.0}}
"""Each hidden part: its maps and their weights."""
MAPS = 9


def parts():
    """(3, maps): the hidden parts at length 1."""
    rows = np.zeros((len(MIXED), MAPS))
    for row, maps in MIXED.items():
        for number, weight in maps.items():
            rows[row, number] = weight
    return rows


@pytest.fixture(scope="module")
def model():
    """A network whose maps are mixtures of three bands of its input, as `MIXED` says."""
    import keras

    image = keras.Input((4, 4, 3))
    layer = keras.layers.Conv2D(MAPS, 1, activation="relu", name="mixed")
    model = keras.Model(image, layer(image))
    layer.set_weights([parts()[None, None].astype(np.float32), np.zeros(MAPS, np.float32)])
    return model


@pytest.fixture(scope="module")
def images():
    """Images whose bands are seldom above 0, and of unlike strength."""
    random = np.random.default_rng(0)
    values = random.exponential(size=(120, 4, 4, 3)) * (random.random((120, 4, 4, 3)) < 0.3)
    return (values * [3.0, 2.0, 1.0]).astype(np.float32)


@pytest.mark.parametrize("method", ["nmf", "ica"])
def test_hidden_parts_are_found(model, images, method):
    result = mi.directions(model, images, "mixed", method=method, count=3)
    likeness = np.abs(result.parts @ parts().T)
    assert (likeness.max(axis=0) > 0.97).all(), likeness
    assert sorted(likeness.argmax(axis=0)) == [0, 1, 2]
    assert result.explained > 0.9 and result.low <= result.explained <= result.high
    assert result.chance < result.ceiling
    first = result.maps_of(0, 2)
    assert {number for number, _ in first} == {3, 7}  # of the strongest band
    assert [row for row, _ in result.of_map(5, 1)] == [int(likeness[:, 2].argmax())]


def test_principal_components_are_the_ceiling(model, images):
    result = mi.directions(model, images, "mixed", method="pca", count=2)
    assert result.explained == pytest.approx(result.ceiling, abs=1e-4)
    assert (np.diff(result.variance) <= 0).all()
    np.testing.assert_allclose(result.weights @ result.weights.T, np.eye(2), atol=1e-5)


def test_clusters_may_be_more_than_maps(model, images):
    result = mi.directions(model, images, "mixed", method="kmeans", count=12)
    assert len(result) == 12 and result.active == pytest.approx(1.0)
    assert 0.3 < result.explained < 1.0


def test_what_is_held_out_depends_on_the_seed_alone(model, images):
    first, second = (mi.directions(model, images, "mixed", count=3, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)
    assert first.explained == second.explained


def test_an_autoencoder_finds_more_parts_than_there_are_maps():
    random = np.random.default_rng(0)
    hidden = random.normal(size=(24, 16))
    hidden /= np.linalg.norm(hidden, axis=1, keepdims=True)
    codes = (1 + random.exponential(size=(6000, 24))) * (random.random((6000, 24)) < 0.05)
    samples = (codes @ hidden).astype(np.float32)
    model = fitted_autoencoder(samples, 48, Settings(active=3, steps=1500))
    likeness = (model.decoder @ hidden.T).max(axis=0)
    assert np.mean(likeness > 0.95) > 0.9
    computed = model.codes(samples)
    left = np.square(samples - model.rebuilt(computed)).sum()
    assert left < 0.15 * np.square(samples - samples.mean(axis=0)).sum()
    assert (computed > 0).sum(axis=1).max() <= 3
    np.testing.assert_allclose(np.linalg.norm(model.decoder, axis=1), 1.0, atol=1e-4)


def test_an_autoencoder_of_a_layer(model, images):
    result = mi.directions(model, images, "mixed", method="sae", count=20, active=2, steps=300)
    assert len(result) == 20 and result.explained > 0.8
    assert 1.0 <= result.active <= 2.0
    assert result.explained > result.chance
    assert "The autoencoder explains" not in " ".join(result.notices)
    untrained = mi.directions(model, images, "mixed", method="sae", count=20, active=2, steps=1)
    assert untrained.explained < result.explained
    assert "as it may use for a sample (2) explain" in " ".join(untrained.notices)
    notice = f"explains {untrained.explained:.0%} of the variance of held-out images after 1 step"
    assert f"{notice} of training; 2,000 are usual" in " ".join(untrained.notices)
    assert "are usual" not in " ".join(result.notices)


def test_an_autoencoder_that_was_hardly_trained_is_named():
    import keras

    random = np.random.default_rng(2)
    images = random.normal(size=(40, 2, 2, 60)).astype(np.float32)
    image = keras.Input((2, 2, 60))
    layer = keras.layers.Conv2D(60, 1, use_bias=False, name="noise")
    model = keras.Model(image, layer(image))
    layer.set_weights([np.eye(60, dtype=np.float32)[None, None]])
    result = mi.directions(model, images, "noise", method="sae", count=1, active=1, steps=1)
    assert result.low <= result.chance, result
    assert "Random directions explain as much" in " ".join(result.notices)


def test_results_show_themselves(model, images):
    result = mi.directions(model, images, "mixed", count=3)
    assert result.name == "mixed+nmf"
    assert "of the variance" in repr(result) and "random directions" in result._repr_html_()
    assert list(result.to_pandas()["direction"]) == [0, 1, 2]
    record = result.to_dict()
    assert record["count"] == len(record["directions"]) == 3
    with pytest.raises(SettingsError):
        result.maps_of(3)
    with pytest.raises(SettingsError):
        result.of_map(MAPS)


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (SettingsError, {"method": "umap"}),
        (SettingsError, {"count": 0}),
        (SettingsError, {"count": MAPS + 1}),
        (SettingsError, {"samples": 4}),
        (SettingsError, {"method": "sae", "active": 0}),
        (SettingsError, {"method": "sae", "steps": 0}),
        (ModelError, {"layer": "none"}),
        (DataError, {"images": 5}),
        (DataError, {"images": 8, "method": "kmeans", "count": 97}),
    ],
)
def test_bad_input(model, images, error, changes):
    pixels = images[: changes.pop("images", 40)]
    layer = changes.pop("layer", "mixed")
    with pytest.raises(error):
        mi.directions(model, pixels, layer, **changes)


def test_more_directions_than_maps_name_the_methods_for_them(model, images):
    with pytest.raises(
        SettingsError, match=f"at most {MAPS} by pca, for {MAPS} maps.*kmeans or sae"
    ):
        mi.directions(model, images, "mixed", method="pca", count=MAPS + 1)


def test_responses_that_no_method_can_take(model, images):
    import keras

    with pytest.raises(DataError, match="some that differ"):
        mi.directions(model, np.zeros_like(images), "mixed", count=2)
    linear = keras.models.clone_model(model)
    linear.set_weights(model.get_weights())
    linear.get_layer("mixed").activation = keras.activations.linear
    with pytest.raises(DataError, match="0 or more"):
        mi.directions(linear, images - 1.0, "mixed", count=2)
    broken = keras.models.clone_model(model)
    broken.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    with pytest.raises(DataError, match="NaN"):
        mi.directions(broken, images, "mixed", count=2)
