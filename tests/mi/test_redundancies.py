import json

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, SettingsError
from oip.mi import validation
from oip.mi.estimators.renyi import Renyi


def quarters(maps=6):
    """Maps that see: quarter 0, 0 again, 1, 2, 3, nothing."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((4, 4, 1)),
            layers.Conv2D(maps, 4, activation="relu", name="quarters"),
        ]
    )
    kernel = np.zeros((4, 4, 1, maps), np.float32)
    for index, (row, column) in enumerate(((0, 0), (0, 0), (0, 2), (2, 0), (2, 2))):
        kernel[row : row + 2, column : column + 2, 0, index] = 0.25
    model.get_layer("quarters").set_weights([kernel, np.zeros(maps, np.float32)])
    return model


@pytest.fixture(scope="module")
def images():
    """Quarters are independent; the label is whether quarters 1 and 2 are of one kind (XOR)."""
    draw = np.random.default_rng(0)
    bright = draw.integers(0, 2, (240, 2, 2))
    pixels = np.repeat(np.repeat(bright, 2, axis=1), 2, axis=2)[..., None].astype(np.float32)
    pixels += draw.uniform(0, 0.05, pixels.shape).astype(np.float32)
    return pixels, (bright[:, 0, 1] ^ bright[:, 1, 0])


@pytest.fixture(scope="module")
def redundancy(images):
    return mi.redundancy(quarters(), *images, "quarters", split="x:y")


def test_a_copy_is_redundant_and_independent_maps_are_not(redundancy):
    shared = redundancy.shared
    own = np.diagonal(shared)
    assert shared[0, 1] == pytest.approx(own[0], rel=1e-4)
    assert np.abs(shared[0, 2:5]).max() < 0.05 * own[0]
    np.testing.assert_allclose(shared[5], 0, atol=1e-6)
    nearest = redundancy.nearest(2)
    assert (nearest[0, 0], nearest[1, 0]) == (1, 0)
    assert (nearest[5] == -1).all()
    groups = redundancy.clusters()
    assert groups[0].tolist() == [0, 1]
    assert sorted(len(group) for group in groups) == [1, 1, 1, 1, 2]


def test_complementary_maps_are_synergistic_about_the_label(redundancy):
    label = redundancy.label
    assert label.single.max() < 0.05
    assert label.joint[2, 3] == pytest.approx(np.log(2), abs=0.05)
    assert label.redundancy[2, 3] < -0.5
    assert label.non_redundant[2, 3] == pytest.approx(2 * label.joint[2, 3], abs=0.1)
    assert label.joint[0, 4] < 0.05


@pytest.mark.parametrize("alpha", [2.0, 1.01])
def test_pairs_are_those_of_the_estimator(images, alpha):
    pixels, labels = images
    redundancy = mi.redundancy(quarters(), pixels, labels, "quarters", alpha=alpha, samples=60)
    network_input = pixels[:, :, :, 0]
    repeated = mi.redundancy(quarters(), pixels, labels, "quarters", alpha=alpha, samples=60)
    np.testing.assert_array_equal(redundancy.input.joint, repeated.input.joint)
    codes = validation.check_labels(labels, len(labels)).codes
    picked = validation.stratified(codes, 60, 0)
    model = quarters()
    responses = model(pixels[picked]).numpy().reshape(60, 1, 6).transpose(0, 2, 1)
    estimator = Renyi(alpha=alpha)
    expected = estimator.pairs(responses, labels[picked])
    np.testing.assert_allclose(redundancy.label.single, expected.single, atol=2e-4)
    np.testing.assert_allclose(redundancy.label.joint, expected.joint, atol=2e-4)
    flat = network_input[picked].reshape(60, -1).astype(np.float64)
    for index in (0, 3):
        value = estimator.information(flat, responses[:, index].astype(np.float64), 0).nats
        assert redundancy.input.single[index] == pytest.approx(value, abs=2e-4)


def test_a_sample_of_pairs_leaves_the_others_unknown(images):
    redundancy = mi.redundancy(quarters(), *images, "quarters", alpha=1.5, samples=40, pairs=4)
    finite = np.isfinite(redundancy.input.joint[np.triu_indices(6, 1)])
    assert finite.sum() == 4
    assert np.isfinite(np.diagonal(redundancy.input.joint)).all()
    assert sum(len(group) for group in redundancy.clusters()) == 6
    json.dumps(redundancy.to_dict(), allow_nan=False)


def test_groups_saturate_and_say_so(images):
    draw = np.random.default_rng(1)
    import keras
    from keras import layers

    model = keras.Sequential([layers.Input((4, 4, 1)), layers.Conv2D(64, 2, name="many")])
    model.get_layer("many").set_weights(
        [draw.normal(size=(2, 2, 1, 64)).astype(np.float32), np.zeros(64, np.float32)]
    )
    pixels = draw.normal(size=(100, 4, 4, 1)).astype(np.float32)
    redundancy = mi.redundancy(model, pixels, np.arange(100) % 2, "many").together
    assert redundancy.sizes.tolist() == [1, 2, 4, 8, 16, 32, 64]
    assert (np.diff(redundancy.share) > -1e-9).all()
    assert not redundancy.saturated[0]
    assert redundancy.saturated[-1]
    assert redundancy.label[-1] == pytest.approx(1.0, abs=0.02)


def test_without_labels_only_the_input_is_told(images):
    redundancy = mi.redundancy(quarters(), images[0], None, "quarters", maps="0-2")
    assert redundancy.label is None
    assert redundancy.together.label is None
    assert next(name for name, _, _ in redundancy.measures()).endswith("about the input")
    assert len(redundancy.measures()) == 5
    json.dumps(redundancy.to_dict(), allow_nan=False)


def test_measures_are_symmetric_with_own_values_on_the_diagonal(redundancy):
    measures = redundancy.measures()
    assert len({name for name, _, _ in measures}) == len(measures) == 10
    for _, unit, values in measures:
        assert unit in ("bits", "")
        assert values.shape == (6, 6)
        np.testing.assert_allclose(values, values.T, atol=1e-12)
    np.testing.assert_allclose(
        np.diagonal(measures[1][2]) * np.log(2), redundancy.input.single, atol=1e-12
    )
    record = redundancy.to_dict()
    json.dumps(record, allow_nan=False)
    assert (record["unit"], record["samples"], record["split"]) == ("bits", 240, "x:y")


def test_bad_input(images):
    model = quarters()
    with pytest.raises(SettingsError, match="alpha"):
        mi.redundancy(model, *images, "quarters", alpha=0)
    with pytest.raises(SettingsError, match="pairs"):
        mi.redundancy(model, *images, "quarters", alpha=1.5, pairs=0)
    with pytest.raises(SettingsError, match="samples"):
        mi.redundancy(model, *images, "quarters", samples=1)
    with pytest.raises(SettingsError, match="response or block"):
        mi.redundancy(model, *images, "quarters", at="start")
    with pytest.raises(DataError, match="shape"):
        mi.redundancy(model, images[0][:, :3], images[1], "quarters")
    kernel, bias = model.get_layer("quarters").get_weights()
    bias[1] = np.nan
    model.get_layer("quarters").set_weights([kernel, bias])
    redundancy = mi.redundancy(model, *images, "quarters")
    assert redundancy.maps.tolist() == [0, 2, 3, 4, 5]
    assert "not finite" in redundancy.notices[0]
    bias[:] = np.nan
    model.get_layer("quarters").set_weights([kernel, bias])
    with pytest.raises(DataError, match="finite"):
        mi.redundancy(model, *images, "quarters")


def test_short_form_and_table(redundancy):
    assert repr(redundancy).startswith(
        "Redundancies(quarters: 6 maps, 240 images; most about the input"
    )
    table = redundancy.to_pandas()
    assert table["map"].tolist() == list(range(6))
    assert table["nearest"][0] == 1
    assert "shared information of 6 maps" in redundancy._repr_html_()
    assert redundancy.to_arrays().pairs.shape == (10, 6, 6)
