"""Units of two networks matched by their responses, layers compared by CKA."""

from __future__ import annotations

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, ModelError, Notice, SettingsError
from oip.core.formats import LayerMatchRecord

BANDS = 24


def picked(bands, size=(4, 4), weights=1.0, total=2 * BANDS, names=("layer",)):
    """A network whose units are bands of its input, each layer those of the layer before it."""
    import keras

    kernel = np.zeros((1, 1, total, len(bands)), np.float32)
    for unit, band in enumerate(bands):
        kernel[0, 0, band, unit] = np.broadcast_to(weights, len(bands))[unit]
    image = keras.Input((*size, total))
    layers = [keras.layers.Conv2D(len(bands), 1, use_bias=False, name=names[0])]
    output = layers[0](image)
    for name in names[1:]:
        layers.append(keras.layers.Conv2D(len(bands), 1, use_bias=False, name=name))
        output = layers[-1](output)
    model = keras.Model(image, output)
    layers[0].set_weights([kernel])
    for layer in layers[1:]:
        layer.set_weights([np.eye(len(bands), dtype=np.float32)[None, None]])
    return model


@pytest.fixture(scope="module")
def noise():
    """Images (300, 4, 4, 48) of independent numbers."""
    return np.random.default_rng(0).normal(size=(300, 4, 4, 2 * BANDS)).astype(np.float32)


@pytest.fixture(scope="module")
def pairs():
    """Images whose band 24 + k correlates by k / 24 with band k, and these correlations."""
    random = np.random.default_rng(1)
    left, rest = random.normal(size=(2, 600, 4, 4, BANDS))
    rho = np.arange(BANDS) / BANDS
    images = np.concatenate([left, rho * left + np.sqrt(1 - rho**2) * rest], axis=-1)
    return images.astype(np.float32), rho


def test_a_permuted_copy_matches_perfectly(small_model):
    import keras

    model = keras.models.clone_model(small_model)
    model.set_weights(small_model.get_weights())
    random = np.random.default_rng(0)
    orders = [random.permutation(6), random.permutation(70)]
    for name, before, order in (("first", [0], orders[0]), ("second", orders[0], orders[1])):
        kernel, bias = small_model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([kernel[:, :, before][..., order], bias[order]])
    images = np.random.default_rng(1).integers(0, 256, (80, 16, 16, 1)).astype(np.float32)
    result = mi.match(small_model, model, images)
    assert result.paired_by == "name"
    np.testing.assert_allclose(np.diag(result.cka), 1.0, atol=1e-6)
    for name, order in zip(("first", "second"), orders, strict=True):
        match = result[name]
        alive = np.isfinite(match.correlation)  # others never respond, or to no measuring image
        assert alive.sum() > 3
        np.testing.assert_array_equal(order[match.partners[alive]], match.maps[alive])
        np.testing.assert_allclose(match.correlation[alive], 1.0, atol=1e-5)
        assert match.has_partner[alive].all() and not match.has_partner[~alive].any()


def test_known_correlations_are_found_and_covered(pairs):
    images, rho = pairs
    result = mi.match(picked(range(BANDS)), picked(range(BANDS, 2 * BANDS)), images)["layer"]
    strong = rho > 0.15
    np.testing.assert_array_equal(result.partners[strong], result.maps[strong])
    np.testing.assert_allclose(result.correlation[strong], rho[strong], atol=0.05)
    covered = (result.low <= rho) & (rho <= result.high)
    assert covered[strong].mean() >= 0.85
    assert result.share == pytest.approx(np.mean(result.correlation >= 0.5))
    low, high = result.share_interval
    assert low < result.share < high
    assert result.order[0] == BANDS - 1


def test_independent_units_have_no_partner(noise):
    model, other = picked(range(BANDS)), picked(range(BANDS, 2 * BANDS))
    result = mi.match(model, other, noise, threshold=0.0)
    match = result["layer"]
    assert not match.has_partner.any()
    assert 0.2 < np.nanmean(match.p_value) < 0.8
    assert abs(result.cka[0, 0]) < 0.05
    assert result.cka_low[0, 0] < 0.02 and result.cka_null[0, 0] < 0.1
    assert match.null < 0.1


def test_cka_is_the_unbiased_one(noise):
    images = noise[:60]
    images = images + 0.7 * np.roll(images, BANDS, axis=-1)
    model, other = picked(range(BANDS)), picked(range(BANDS, 2 * BANDS))
    result = mi.match(model, other, images)
    n = len(images)
    grams = []
    for part in (images[..., :BANDS], images[..., BANDS:]):
        flat = part.reshape(n, -1).astype(np.float64)
        gram = flat @ flat.T
        np.fill_diagonal(gram, 0.0)
        grams.append(gram)
    ones = np.ones(n)

    def criterion(k, m):
        """Song et al. 2012, equation 5."""
        total = np.trace(k @ m) + ones @ k @ ones * (ones @ m @ ones) / ((n - 1) * (n - 2))
        return (total - 2 / (n - 2) * ones @ k @ m @ ones) / (n * (n - 3))

    k, m = grams
    expected = criterion(k, m) / np.sqrt(criterion(k, k) * criterion(m, m))
    assert result.cka[0, 0] == pytest.approx(expected, rel=1e-3)
    assert np.isnan(result.cka_low[0, 0])  # of one batch there is no interval


def test_places_count_where_they_are_compared(noise):
    shifted = np.roll(noise[..., :BANDS], 2, axis=1)
    images = noise.copy()
    images[..., BANDS:] = shifted
    model, other = picked(range(BANDS)), picked(range(BANDS, 2 * BANDS))
    aligned = mi.match(model, other, images)["layer"]
    pooled = mi.match(model, other, images, by="pooled")["layer"]
    assert pooled.share == 1.0 and pooled.grid == ()
    assert aligned.share == 0.0 and aligned.grid == (4, 4)


def test_constant_and_broken_units_and_too_few_others_have_no_partner(pairs):
    images, _ = pairs
    weights = np.ones(BANDS)
    weights[[3, 4]] = 0.0, np.nan
    with pytest.warns(Notice, match="1 of 24 maps"):
        both = mi.match(picked(range(BANDS), weights=weights), picked(range(10, 18)), images)
    result = both["layer"]
    assert result.ceiling == pytest.approx(8 / 24)
    assert (result.partners[[3, 4]] == -1).all()
    assert result.has_partner.sum() == 8
    assert (result.partners[10:18] == np.arange(8)).all()
    assert len(set(result.partners[result.partners >= 0])) == 8


def test_layers_without_a_name_in_common_are_paired_by_cka(noise):
    first = picked(range(BANDS), names=("a", "b"))
    second = picked(range(BANDS), names=("x", "y"))
    result = mi.match(first, second, noise)
    assert result.paired_by == "cka"
    assert all(match.share == 1.0 for match in result.matches)
    given = mi.match(first, second, noise, {"b": "x"})
    assert (given.paired_by, given.layers, given.second_layers) == ("given", ("b",), ("x",))


def test_each_network_has_its_own_size(noise):
    large = np.repeat(np.repeat(noise, 2, axis=1), 2, axis=2)
    models = picked(range(BANDS)), picked(range(BANDS), (8, 8))
    match = mi.match(*models, (noise, large))["layer"]
    assert match.grid == (4, 4)
    np.testing.assert_allclose(match.correlation, 1.0, atol=1e-5)


def test_results_show_themselves(pairs):
    images, _ = pairs
    result = mi.match(picked(range(BANDS)), picked(range(BANDS, 2 * BANDS)), images)
    assert len(result.to_pandas()) == BANDS
    assert "of 24" in repr(result) and "partner" in repr(result["layer"])
    assert "have a partner" in result._repr_html_()
    record = result["layer"].to_record()
    assert isinstance(record, LayerMatchRecord)
    assert sum(unit.has_partner for unit in record.maps) == result["layer"].has_partner.sum()
    with pytest.raises(SettingsError, match="one of layer"):
        result["none"]


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (DataError, {"count": 20}),
        (DataError, {"copies": True}),
        (DataError, {"fewer": True}),
        (ModelError, {"layers": "none"}),
        (SettingsError, {"layers": []}),
        (SettingsError, {"layers": {}}),
        (SettingsError, {"by": "shape"}),
        (SettingsError, {"samples": 8}),
        (SettingsError, {"threshold": 2.0}),
        (SettingsError, {"shuffles": -1}),
    ],
)
def test_bad_input(noise, error, changes):
    images = noise[: changes.pop("count", 100)]
    if changes.pop("copies", False):
        images = np.repeat(noise[:10], 10, axis=0)
    if changes.pop("fewer", False):
        images = (noise[:100], noise[:90])
    model = picked(range(BANDS))
    with pytest.raises(error):
        mi.match(model, model, images, **changes)


def test_images_in_the_order_of_their_classes_are_compared_as_in_any_order():
    """What two layers share is the class alone: batches of one class would not show it."""
    random = np.random.default_rng(0)
    images = random.normal(size=(512, 2, 2, 2 * BANDS)).astype(np.float32)
    images += 3.0 * (np.arange(512) >= 256)[:, None, None, None]
    first, second = picked(range(BANDS), (2, 2)), picked(range(BANDS, 2 * BANDS), (2, 2))
    tables = [
        mi.match(first, second, part, samples=512, shuffles=0).cka
        for part in (images, random.permutation(images))
    ]
    assert tables[0].item() == pytest.approx(tables[1].item(), abs=0.03)
    assert tables[0].item() > 0.8
