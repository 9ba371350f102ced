"""Rankings without labels, and rankings of units, with planted truth."""

import json

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, SettingsError
from oip.mi.label_free import direction_target, input_target, read_target, response_orders

QUIET = {"progress": lambda *_: None, "seed": 1}


@pytest.fixture(scope="module")
def model():
    """Four units: of the left half, of the right half, of a single pixel, of nothing."""
    import keras
    from keras import layers

    network = keras.Sequential(
        [layers.Input((4, 8, 1)), layers.Flatten(), layers.Dense(4, name="units")]
    )
    kernel = np.zeros((4, 8, 4), np.float32)
    kernel[:, :4, 0] = kernel[:, 4:, 1] = 1 / 16
    kernel[0, 7, 2] = 1.0
    network.get_layer("units").set_weights([kernel.reshape(32, 4), np.zeros(4)])
    return network


@pytest.fixture(scope="module")
def images():
    """300 images: the left half is bright or dark together, and most of what differs."""
    rng = np.random.default_rng(0)
    pixels = rng.normal(0, 0.1, (300, 4, 8, 1))
    pixels[:, :, :4] += 2.0 * rng.normal(size=(300, 1, 1, 1))
    pixels[:, :, 4:] += 0.4 * rng.normal(size=(300, 1, 1, 1))
    pixels[::40, 0, 7] += 9.0
    return pixels.astype(np.float32)


def test_dense_units_are_ranked_by_what_they_know_about_the_label(model, images):
    labels = (images[:, :, 4:].mean((1, 2, 3)) > 0).astype(int)
    ranking = mi.rank(model, images, labels, "units", estimators=["kde"], **QUIET)
    assert ranking.order[0] == 1
    assert ranking.responses["best_positions"].shape == (4, 9, 2)


def test_a_unit_that_sums_up_a_component_knows_it(model, images):
    ranking = mi.rank_without_labels(model, images, "units", "input", estimators=["kde"], **QUIET)
    assert ranking.order[-1] == 3
    assert (ranking.about, ranking.tags) == ("input", True)
    assert ranking.classes[0].startswith("component 1 (")
    first = ranking.estimators[0]
    assert first.per_class[0].argmax() == 0 and first.per_class[0, 0] > 0.5
    assert first.per_class[1, 0] < 0.2
    assert first.mi[3] == pytest.approx(0.0, abs=1e-6)
    assert first.ceiling <= len(ranking.classes)
    assert "principal components" in ranking.notices[0]
    assert ranking.responses["histogram"].shape[1] == 0
    assert ranking.to_dict()["about"] == "input"


def test_a_direction_is_a_number_an_image_or_an_array_of_an_image(model, images):
    right = np.zeros((4, 8, 1))
    right[:, 4:] = 1.0
    numbers = (images * right).sum((1, 2, 3))
    rankings = [
        mi.rank_without_labels(
            model, images, "units", "direction", target=target, estimators=["kde"], **QUIET
        )
        for target in (right, right[..., 0], numbers, numbers[:, None])
    ]
    for ranking in rankings:
        assert ranking.order[0] == 1 and len(ranking.classes) == 8
        assert ranking.estimators[0].ceiling == pytest.approx(3.0, abs=0.01)
        np.testing.assert_allclose(ranking.estimators[0].mi, rankings[0].estimators[0].mi)


def test_ranges_of_close_numbers_have_names_of_their_own(model, images):
    target = 1.6e9 + np.arange(len(images)) / 4
    names = direction_target(images, target).names
    assert len(set(names)) == 8 and names[0] == "1600000000 to 1600000009.2"
    table = mi.rank_without_labels(
        model, images, "units", "direction", target=target, estimators=["kde"], **QUIET
    ).to_pandas()
    assert sum(name.startswith("mi:") for name in table.columns) == 8
    assert direction_target(images, np.arange(len(images)) % 2 / 3).names == ("0", "0.3333")


def test_images_that_differ_in_one_way_have_one_component(model):
    bright = np.random.default_rng(2).normal(size=200)
    images = np.broadcast_to(bright[:, None, None, None], (200, 4, 8, 1)).astype(np.float32)
    ranking = mi.rank_without_labels(model, images, "units", "input", estimators=["kde"], **QUIET)
    assert ranking.classes == tuple(
        f"component 1 (100% of variance), {half}" for half in ("to its median", "above")
    )
    assert ranking.estimators[0].ceiling == pytest.approx(1.0)
    assert ranking.estimators[0].mi[:3] == pytest.approx(0.85, abs=0.05)
    assert ranking.estimators[0].mi[3] == pytest.approx(0.0, abs=1e-6)


def test_orders_by_the_response_alone(model, images):
    ranking = mi.rank_without_labels(model, images, "units", "none", **QUIET)
    entropy, kurtosis = ranking.by("entropy"), ranking.by("kurtosis")
    assert entropy.mi[3] == 0.0 and entropy.rank[3] == 4
    assert kurtosis.order[0] == 2 and np.isnan(kurtosis.mi[3]) and kurtosis.rank[3] == 4
    assert (entropy.unit, kurtosis.unit) == ("bits", "")
    assert np.all(entropy.low[:3] <= entropy.mi[:3]) and np.all(entropy.mi[:3] <= entropy.high[:3])
    assert "1 units always respond alike" in " ".join(ranking.notices)
    assert "shown as 0" not in " ".join(ranking.all_notices)
    record = json.loads(json.dumps(ranking.to_dict()))
    assert record["about"] == "none" and record["estimators"][0]["parameters"]["width"] > 0
    assert "width" in ranking.estimators[0].name_shown
    assert len(ranking.to_pandas()) == 8 and ranking.plot() is not None
    assert "<script>" not in ranking._repr_html_()


def test_entropy_and_kurtosis_are_those_of_known_distributions():
    rng = np.random.default_rng(3)
    means = np.stack([rng.normal(size=5000), rng.uniform(-1, 1, 5000), np.ones(5000)], axis=1)
    legibility = np.array([[0.9, np.nan, 0.5], [0.8, np.nan, 0.4], [0.95, np.nan, 0.6]])
    entropy, kurtosis, judged = response_orders(means, legibility=legibility)
    width = entropy.parameters["width"]
    normal = 0.5 * np.log2(2 * np.pi * np.e) - np.log2(width)
    assert entropy.mi[0] == pytest.approx(normal, abs=0.03)
    assert entropy.mi[1] == pytest.approx(np.log2(2 / width), abs=0.15)
    assert kurtosis.mi[:2] == pytest.approx([0.0, -1.2], abs=0.15)
    assert judged.order.tolist() == [0, 2, 1] and judged.unit == "share"
    scaled = response_orders(7 * means)
    np.testing.assert_allclose(scaled[0].mi, entropy.mi, atol=1e-9)


def test_components_are_those_of_large_images_too():
    rng = np.random.default_rng(1)
    bright = rng.normal(size=60)
    images = np.broadcast_to(bright[:, None, None, None], (60, 70, 90, 3)).astype(np.float32)
    images = images + rng.normal(0, 0.01, images.shape)
    target = input_target(images)
    same = target.values[:, 0] == (bright > np.median(bright))
    assert same.all() or not same.any()
    with pytest.raises(DataError, match="images that differ"):
        input_target(np.ones((10, 4, 4, 1)))
    with pytest.raises(DataError, match="10 or more"):
        input_target(images[:9])


@pytest.mark.parametrize(
    ("target", "word"),
    [
        (np.arange(9), r"\(300,\), one number per image"),
        (np.full(300, np.nan), "finite"),
        (np.ones(300), "numbers that differ"),
        (np.array(["a"] * 300), "dtype"),
        (np.zeros((8, 4)), "shape"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(images, target, word):
    with pytest.raises(DataError, match=word):
        direction_target(images, target)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"about": "label"}, "input or direction or none"),
        ({"about": "direction"}, "a target"),
        ({"about": "input", "target": np.zeros(300)}, "'direction', beside a target"),
        ({"about": "none", "estimators": ["kde"]}, "response alone"),
    ],
)
def test_settings_that_do_not_fit_are_refused(model, images, options, word):
    with pytest.raises(SettingsError, match=word):
        mi.rank_without_labels(model, images, "units", **options)


def test_numbers_are_read_from_files(tmp_path):
    values = np.arange(5.0)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "b.npz", first=values, second=-values)
    (tmp_path / "c.csv").write_text("age,dose\n" + "".join(f"{v},{2 * v}\n" for v in values))
    (tmp_path / "d.csv").write_text("\n".join(map(str, values)))
    np.testing.assert_array_equal(read_target(tmp_path / "a.npy"), values)
    np.testing.assert_array_equal(read_target(f"{tmp_path}/b.npz:second"), -values)
    np.testing.assert_array_equal(read_target(f"{tmp_path}/c.csv:dose"), 2 * values)
    np.testing.assert_array_equal(read_target(tmp_path / "d.csv"), values)
    (tmp_path / "mark.csv").write_bytes(b"\xef\xbb\xbfdose,age\n1,2\n3,4\n")
    np.testing.assert_array_equal(read_target(f"{tmp_path}/mark.csv:dose"), [1, 3])
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "short.csv").write_text("age,dose\n1,2\n3\n")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04cut")
    for name, word in [
        ("empty.csv", "a column of numbers; received an empty file"),
        ("short.csv:dose", "row 2 of the data: expected 2 columns"),
        ("cut.npz", "received another file"),
        ("b.npz", "FILE:NAME of first, second; received no name"),
        ("c.csv", "FILE:NAME of age, dose"),
        ("c.csv:size", "FILE:NAME of age, dose"),
        ("e.npy", "no such file"),
    ]:
        with pytest.raises(DataError, match=word):
            read_target(f"{tmp_path}/{name}")


def test_copies_of_an_image_beside_another_have_no_components():
    images = np.full((20, 4, 4, 1), 200, np.uint8)
    images[3] = 0
    with pytest.raises(DataError, match="copies of one"):
        for turned in (images, 200 - images):  # the sign of a component is free
            input_target(turned)
