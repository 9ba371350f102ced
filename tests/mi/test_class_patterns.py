"""A network whose common points are planted: its maps are the image, its negative, and a part."""

import io
import json

import numpy as np
import pytest

from oip import mi
from oip.core import plots
from oip.core.errors import DataError, ModelError, RunError, SettingsError
from oip.mi.class_images import class_name

A, B, BOTH, RARE = (1, 2), (5, 4), (3, 3), (0, 5)
"""Pixels that are bright in class a, class b, all classes, half of the images of a."""


@pytest.fixture(scope="module")
def planted():
    """Map 0 is the image, map 1 silent, map 2 the image moved up by one; classes by A and B."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((7, 7, 1)),
            layers.Conv2D(3, 2, padding="same", activation="relu", name="maps"),
            layers.MaxPooling2D(7, name="pool"),
            layers.Conv2D(2, 1, name="plain"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="classes"),
        ]
    )
    kernel = np.zeros((2, 2, 1, 3))
    kernel[0, 0, 0, 0] = 1.0
    kernel[0, 0, 0, 1] = -1.0
    kernel[1, 0, 0, 2] = 1.0
    model.get_layer("maps").set_weights([kernel, np.zeros(3)])
    return model


@pytest.fixture(scope="module")
def judging():
    """Tells class a from b by the very pixels; the third class is what has neither."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((7, 7, 1)),
            layers.Conv2D(1, 1, activation="relu", name="maps"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="classes"),
        ]
    )
    model.get_layer("maps").set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    weights = np.zeros((49, 3))
    weights[A[0] * 7 + A[1], 0] = weights[B[0] * 7 + B[1], 1] = 1.0
    model.get_layer("classes").set_weights([weights, np.array([0.0, 0.0, 3.0])])
    return model


@pytest.fixture(scope="module")
def images():
    """300 images of noise in three classes, the first two with their pixels; and their labels."""
    draw = np.random.default_rng(0)
    labels = np.arange(300) % 3
    pixels = draw.uniform(0.0, 1.0, (300, 7, 7, 1)) * (draw.random((300, 7, 7, 1)) < 0.3)
    pixels[:, *BOTH] = 8.0
    pixels[labels == 0, *A] = 9.0
    pixels[labels == 1, *B] = 9.0
    pixels[np.flatnonzero(labels == 0)[::2], *RARE] = 9.0
    return pixels.astype(np.float32), labels


def _mixed_up(images):
    """The same with two images of a that look like b, and one of them that is nearly both."""
    pixels, labels = images[0].copy(), images[1]
    pixels[[3, 9], *A] = 0.0
    pixels[[3, 9], *B] = 9.0
    pixels[12, *B] = 8.5
    return pixels, labels


def test_the_planted_points_are_found(planted, images):
    patterns = mi.common_patterns(planted, *images, "maps", 0)
    assert patterns.share.shape == (3, 7, 7)
    assert [tuple(point) for point in np.argwhere(patterns.common[0])] == [A, BOTH]
    assert [tuple(point) for point in np.argwhere(patterns.own[0])] == [A]
    assert not patterns.common[1].any()
    assert [tuple(point) for point in np.argwhere(patterns.own[2])] == [(A[0] - 1, A[1])]
    assert patterns.share[0][A] == 1.0
    assert patterns.other_share[0][A] < 0.2
    assert patterns.share[0][RARE] == pytest.approx(0.5, abs=0.1)
    assert patterns.p_value[0][A] == pytest.approx(1 / 1001)
    assert patterns.p_value[0][BOTH] == 1.0
    assert patterns.p_value[0][B] > 0.5
    assert (patterns.images, patterns.other_images) == (100, 200)
    assert patterns.order[2] == 1
    assert 0 < patterns.threshold[0] < 1 and patterns.threshold[1] == 0


def test_a_lower_share_takes_in_the_rare_point(planted, images):
    patterns = mi.common_patterns(planted, *images, "maps", 0, most=0.45)
    assert patterns.own[0][RARE]
    assert (
        mi.common_patterns(planted, *images, "maps", 0, most=0.45, level=0.0).share[0][RARE]
        > (patterns.share[0][RARE])
    )


def test_the_separating_nodes_are_found(planted, images):
    separation = mi.separating(planted, *images, "maps", 0, 1)
    assert separation.maps.tolist() == [0, 2, 1]
    assert [tuple(node) for node in separation.nodes[:2]] in (
        [A, (A[0] - 1, A[1])],
        [B, (B[0] - 1, B[1])],
    )
    assert separation.node_effect[0][A] == pytest.approx(1.0)
    assert separation.node_effect[0][B] == pytest.approx(-1.0)
    assert separation.node_effect[0][BOTH] == 0.0
    assert separation.node_effect[0][RARE] > 0.3
    assert set(map(tuple, np.argwhere(separation.strong[0]))) == {A, B} | (
        {RARE} if abs(separation.node_effect[0][RARE]) >= 0.474 else set()
    )
    assert np.abs(separation.effect[:2]).tolist() == pytest.approx([1.0, 1.0])
    assert (separation.effect[2], separation.p_value[2]) == (0.0, 1.0)
    assert separation.p_value[0] == pytest.approx(1 / 1001)
    assert np.all(separation.p_adjusted >= separation.p_value)
    assert separation.images == (100, 100)
    assert separation.first_mean[0][A] == pytest.approx(9.0)
    assert np.array_equal(separation.order, separation.maps)


def test_the_other_way_round_is_the_same_with_another_sign(planted, images):
    separation = mi.separating(planted, *images, "maps", 0, 1)
    other = mi.separating(planted, *images, "maps", 1, 0)
    assert np.allclose(separation.node_effect, -other.node_effect)
    assert np.allclose(separation.mean_effect, -other.mean_effect)
    assert np.array_equal(separation.first_mean, other.second_mean)


def test_classes_without_a_difference(planted, images):
    pixels, labels = images
    rest = pixels[labels == 2]
    drawn = np.random.default_rng(1).integers(0, 2, len(rest))
    separation = mi.separating(planted, rest, drawn, "maps", 0, 1)
    assert not separation.separating.any()
    assert (separation.p_adjusted > 0.05).all()
    assert np.isnan(separation.nearer_second).all()
    assert not mi.common_patterns(planted, rest, drawn, "maps", 0).own.any()


def test_the_order_of_images_and_the_blocks_of_maps_do_not_matter(planted, images):
    whole = mi.separating(planted, *images, "maps", 0, 1)
    turned = mi.separating(planted, images[0][::-1], images[1][::-1], "maps", 0, 1)
    assert np.allclose(whole.node_effect, turned.node_effect)
    parts = mi.separating(planted, *images, "maps", 0, 1, byte_budget=1)
    assert np.array_equal(whole.node_p_value, parts.node_p_value)
    assert np.array_equal(whole.cases.values, parts.cases.values)
    separation = mi.separating(planted, *images, "maps", 0, 1, maps=[1, 2])
    assert separation.maps.tolist() == [2, 1]


def test_names_numbers_and_one_hot_rows_are_the_same_classes(planted, images):
    pixels, labels = images
    names = np.array(["cat", "dog", "eel"])
    by_number = mi.separating(planted, pixels, labels, "maps", 0, 1, classes=list(names))
    by_name = mi.separating(planted, pixels, names[labels], "maps", "cat", "dog")
    one_hot = mi.separating(planted, pixels, np.eye(3)[labels], "maps", "0", "1")
    for other in (by_name, one_hot):
        assert np.array_equal(by_number.node_effect, other.node_effect)
    assert (by_number.first, by_number.second) == (by_name.first, by_name.second) == ("cat", "dog")
    assert class_name("eel", names) == class_name(2, names, list(names)) == "eel"
    assert class_name("1", ["1", "2"], ["1", "2"]) == "1"


def test_hard_cases_are_the_images_that_the_network_confuses(judging, images):
    pixels, labels = _mixed_up(images)
    separation = mi.separating(judging, pixels, labels, "maps", 0, 1, classes=["a", "b", "c"])
    cases = separation.cases
    hard = cases.hard
    assert cases.indices[hard].tolist() == [3, 9, 12]
    assert cases.labels[hard].tolist() == ["a", "a", "a"]
    assert cases.predicted[hard].tolist() == ["b", "b", "a"]
    assert (cases.own[hard][:2] < 0.01).all() and 0.5 < cases.own[hard][2] < 0.9
    assert not np.isin([3, 9, 12], cases.indices[~hard]).any()
    assert cases.predicted[~hard].tolist() == ["a"] * 3 + ["b"] * 3
    assert (separation.nearer_second[hard][:2] > 0.5).all()
    assert ((separation.nearer_second[~hard] > 0.5) == [0, 0, 0, 1, 1, 1]).all()
    patterns = mi.common_patterns(judging, pixels, labels, "maps", "a", classes=["a", "b", "c"])
    assert patterns.cases.indices[patterns.cases.hard].tolist() == [3, 9, 12]
    assert not patterns.notices


def test_values_of_the_cases_are_their_responses(judging, images):
    separation = mi.separating(judging, *images, "maps", 0, 1)
    assert np.allclose(separation.cases.values[:, 0], separation.cases.images[..., 0], atol=1e-6)
    assert np.array_equal(separation.cases.images, images[0][separation.cases.indices])


@pytest.mark.parametrize("case", ["two classes of three", "names nobody knows"])
def test_without_the_networks_classes_there_are_no_hard_cases(judging, images, case):
    pixels, labels = images
    classes = ["a", "b"] if case == "two classes of three" else None
    kept = labels < 2
    shown = labels[kept] if classes else np.array(["x", "y"])[labels[kept]]
    expected = ("a", "b") if classes else ("x", "y")
    separation = mi.separating(judging, pixels[kept], shown, "maps", *expected, classes=classes)
    assert not separation.cases.hard.any()
    assert np.isnan(separation.cases.own).all()
    assert "No hard cases" in separation.notices[0]
    separation.plot()


def test_a_single_sigmoid_and_plain_logits_judge_too(images):
    import keras
    from keras import layers

    pixels, labels = _mixed_up(images)
    kept = labels < 2
    for units, activation in ((1, "sigmoid"), (1, None), (2, None)):
        model = keras.Sequential(
            [
                layers.Input((7, 7, 1)),
                layers.Conv2D(1, 1, name="maps"),
                layers.Flatten(),
                layers.Dense(units, activation=activation),
            ]
        )
        weights = np.zeros((49, units))
        weights[A[0] * 7 + A[1], 0] = 1.0 if units == 2 else -1.0
        weights[B[0] * 7 + B[1], -1] = 1.0
        model.layers[0].set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
        model.layers[-1].set_weights([weights, np.zeros(units)])
        cases = mi.separating(model, pixels[kept], labels[kept], "maps", 0, 1).cases
        assert cases.predicted[cases.hard].tolist() == ["1", "1", "0"]
        assert cases.own[cases.hard][2] == pytest.approx(1 / (1 + np.exp(-0.5)), abs=0.02)


def test_sure_logits_are_probabilities_without_a_warning(images):
    import keras
    from keras import layers

    pixels, labels = images
    kept = labels < 2
    model = keras.Sequential(
        [
            layers.Input((7, 7, 1)),
            layers.Conv2D(1, 1, name="maps"),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    model.layers[-1].set_weights([np.zeros((49, 1)), np.array([-1000.0])])
    cases = mi.separating(model, pixels[kept], labels[kept], "maps", 0, 1).cases
    assert set(cases.predicted.tolist()) == {"0"}
    assert set(cases.own.tolist()) == {0.0, 1.0}


def test_block_output_has_its_own_nodes(planted, images):
    separation = mi.separating(planted, *images, "maps", 0, 1, at="block")
    assert separation.node_effect.shape == (3, 1, 1)
    with pytest.raises(SettingsError, match="pooling"):
        mi.separating(planted, *images, "plain", 0, 1, at="block")


def test_maps_that_are_not_finite_come_last_and_all_of_them_are_an_error(planted, images):
    import keras

    model = keras.models.clone_model(planted)
    kernel, bias = planted.get_layer("maps").get_weights()
    bias = bias.copy()
    bias[0] = np.nan
    model.get_layer("maps").set_weights([kernel, bias])
    separation = mi.separating(model, *images, "maps", 0, 1)
    assert separation.maps.tolist() == [2, 1, 0]
    assert np.isnan(separation.effect[2]) and np.isnan(separation.node_p_value[2]).all()
    assert separation.unusable.tolist() == [0]
    assert "not finite" in separation.notices[-1]
    assert separation.to_dict()["maps"][2]["p_adjusted"] is None
    patterns = mi.common_patterns(model, *images, "maps", 0)
    assert (patterns.order[-1], patterns.unusable.tolist()) == (0, [0])
    separation.plot(), patterns.plot()
    # The model's own output is NaN: it takes no image for anything.
    assert {case["predicted"] for case in separation.to_dict()["cases"]} == {None}
    assert {case["p_own"] for case in separation.to_dict()["cases"]} == {None}
    model.get_layer("maps").set_weights([kernel, bias * np.nan])
    with pytest.raises(DataError, match="finite numbers"):
        mi.separating(model, *images, "maps", 0, 1)


def test_what_is_saved_comes_back(judging, images, tmp_path):
    for result in (
        mi.separating(judging, *_mixed_up(images), "maps", 0, 1),
        mi.common_patterns(judging, *_mixed_up(images), "maps", 0),
    ):
        path = result.save(tmp_path / "new" / "found.npz")
        loaded = type(result).load(path)
        assert loaded.to_dict() == result.to_dict()
        assert np.array_equal(loaded.cases.values, result.cases.values)
        assert loaded.images == result.images
        other_kind = mi.Separation if isinstance(result, mi.CommonPatterns) else mi.CommonPatterns
        with pytest.raises(RunError, match="another file"):
            other_kind.load(path)
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    np.savez(tmp_path / "number.npz", told=np.array("5"))
    for name in ("other.npz", "number.npz", "none.npz"):
        with pytest.raises(RunError):
            mi.Separation.load(tmp_path / name)


def test_files_of_the_old_schema_still_open(judging, images, tmp_path):
    result = mi.common_patterns(judging, *_mixed_up(images), "maps", 0)
    path = result.save(tmp_path / "new.npz")
    with np.load(path) as archive:
        arrays = dict(archive)
    record = json.loads(str(arrays.pop("record")))
    record["others"] = record.pop("other_images")
    arrays["cases.places"] = arrays.pop("cases.indices")
    np.savez(tmp_path / "old.npz", **arrays, told=json.dumps({**record, "schema": 1}))
    assert mi.CommonPatterns.load(tmp_path / "old.npz").to_dict() == result.to_dict()


def test_short_forms_and_tables(judging, images):
    separation = mi.separating(judging, *_mixed_up(images), "maps", 0, 1)
    assert repr(separation).startswith("Separation(maps: 0 against 1: 1 map,")
    assert separation.to_pandas()["effect"].tolist() == separation.effect.tolist()
    common = mi.common_patterns(judging, *_mixed_up(images), "maps", 0)
    assert "common points of class 0" in repr(common)
    assert len(common.to_pandas()) == common.common.sum()
    assert repr(common.cases) == "Cases(6 images, 3 of them hard)"


def test_responses_are_shown_in_the_order_of_a_separation(planted, images):
    import oip

    separation = mi.separating(planted, *images, "maps", 0, 1)
    responses = oip.responses(planted, images[0][:1], "maps")
    assert responses.maps[responses.ordered(separation)].tolist() == separation.maps.tolist()
    common = mi.common_patterns(planted, *images, "maps", 0)
    assert responses.maps[responses.ordered(common)].tolist() == common.order.tolist()


def test_pictures_frame_the_points(judging, images):
    from PIL import Image

    from oip.mi.class_pattern_results import ALSO, OWN

    def shown(figure):
        pixels = np.asarray(Image.open(io.BytesIO(plots.encoded(figure))).convert("RGB"))
        return {
            name: (np.abs(pixels.astype(int) - np.array(bytearray.fromhex(name[1:]))) <= 2)
            .all(axis=2)
            .sum()
            for name in (OWN, ALSO)
        }

    both = shown(mi.separating(judging, *images, "maps", 0, 1).plot())
    assert min(both.values()) > 300  # the legend alone has about 200
    pixels, labels = images
    patterns = mi.common_patterns(judging, *images, "maps", 0)
    assert min(shown(patterns.plot()).values()) > 300
    none = mi.common_patterns(judging, pixels * 0 + 1e-3, labels, "maps", 0, level=0.9)
    assert max(shown(none.plot()).values()) < min(both.values())
    with pytest.raises(SettingsError, match="maps that are drawn"):
        patterns.plot(0)
    with pytest.raises(SettingsError, match="jet"):
        patterns.plot(color="hot")


def test_notebooks_show_names_as_text(planted, images):
    names = ["<script>a", "b", "c"]
    for result in (
        mi.separating(planted, *images, "maps", 0, 1, classes=names),
        mi.common_patterns(planted, *images, "maps", 0, classes=names),
    ):
        shown = result._repr_html_()
        assert "<script>" not in shown and "&lt;script&gt;a" in shown
        assert shown.count("<tr>") > 2


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        ({"first": 7}, DataError, "one of 0, 1, 2; received '7'"),
        ({"second": 0}, DataError, "'0' twice"),
        ({"second": "x"}, DataError, "received 'x'"),
        ({"layer": "mapps"}, ModelError, "mapps"),
        ({"maps": [3]}, SettingsError, "0 to 2"),
        ({"shuffles": 5}, SettingsError, "from 19"),
        ({"samples": 10}, SettingsError, "20 or more"),
        ({"at": "start"}, SettingsError, "response or block"),
        ({"labels": np.zeros(300, int)}, DataError, "two classes"),
        ({"labels": np.arange(3)}, DataError, "300"),
        ({"images": np.zeros((300, 5, 5, 1))}, DataError, "shape"),
    ],
)
def test_bad_input(planted, images, change, kind, word):
    arguments = {"images": images[0], "labels": images[1], "layer": "maps", "first": 0, "second": 1}
    arguments |= change
    with pytest.raises(kind, match=word):
        mi.separating(planted, **arguments)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"level": 1.0}, "level"),
        ({"level": -0.1}, "level"),
        ({"most": 0.0}, "most"),
        ({"most": 1.2}, "most"),
        ({"samples": 20}, "at least 22"),
        ({"of": "9"}, "received '9'"),
    ],
)
def test_bad_settings_of_common_patterns(planted, images, change, word):
    with pytest.raises((SettingsError, DataError), match=word):
        mi.common_patterns(planted, *images, **{"layer": "maps", "of": 0, **change})


def test_a_sample_holds_half_of_the_class_at_the_most(planted, images):
    patterns = mi.common_patterns(planted, *images, "maps", 0, samples=100)
    assert (patterns.images, patterns.other_images) == (50, 50)
    assert patterns.own[0][A]
    patterns = mi.common_patterns(planted, *images, "maps", 0, samples=280)
    assert (patterns.images, patterns.other_images) == (100, 180)
