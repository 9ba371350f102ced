import json
import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oip import mi
from oip.core.errors import DataError, ModelError, SettingsError
from oip.mi.estimators.kde import Kde
from oip.mi.estimators.results import MapEstimates
from oip.mi.layer_sample import NoFiniteResponses
from oip.mi.ranking import (
    EstimatorRanking,
    kendall,
    rank_intervals,
    ranks,
    spearman,
)


def block_model(bias=None):
    """Four maps that see: the left half, the right half, nothing, everything."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((4, 8, 1)),
            layers.Conv2D(4, (4, 4), strides=(4, 4), activation="relu", name="halves"),
            layers.MaxPooling2D((1, 2), name="pool"),
        ]
    )
    kernel = np.ones((4, 4, 1, 4), np.float32) / 16
    kernel[..., 2] = -1.0
    model.get_layer("halves").set_weights([kernel, np.zeros(4) if bias is None else bias])
    return model


@pytest.fixture(scope="module")
def halves():
    """200 images of 3 classes: dark, bright on the left, bright on the right; noise on top."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 3
    images = rng.uniform(0, 0.5, (200, 4, 8, 1)).astype(np.float32)
    images[labels == 1, :, :4] += 0.5
    images[labels == 2, :, 4:] += 0.5
    return images, labels


@pytest.fixture(scope="module")
def ranking(halves):
    return mi.rank(block_model(), *halves, "halves", classes=["dark", "left", "right"], split="x:y")


def test_what_a_map_sees_is_what_it_knows(ranking):
    record = ranking.to_dict()
    assert [estimator["estimator"] for estimator in record["estimators"]] == ["predictive", "kde"]
    assert record["estimators"][0]["name_shown"] == "usable information (a lower bound)"
    for estimator in record["estimators"]:
        maps = estimator["maps"]
        assert [entry["rank"] for entry in maps] == [1, 1, 1, 4]
        assert maps[-1]["map"] == 2
        assert maps[-1]["mi"] == pytest.approx(0.0, abs=1e-12)
        assert maps[-1]["p_adjusted"] == 1.0
        assert maps[0]["mi"] > 0.9 * estimator["ceiling"]
        # 0, 1 and 3 respond alike, so none of them is surely first.
        assert all((entry["rank_low"], entry["rank_high"]) == (1, 3) for entry in maps[:3])
        assert all(entry["p_adjusted"] < 0.01 for entry in maps[:3])


def test_the_json_has_the_agreed_keys_and_plain_finite_values(ranking):
    record = ranking.to_dict()
    json.dumps(record, allow_nan=False)
    assert {"layer", "index", "classes", "estimators"} <= set(record)
    assert record["classes"] == ["dark", "left", "right"]
    for estimator in record["estimators"]:
        assert {
            "estimator",
            "name_shown",
            "parameters",
            "unit",
            "samples",
            "split",
            "ceiling",
            "saturated_share",
            "maps",
        } <= set(estimator)
        assert (estimator["unit"], estimator["samples"], estimator["split"]) == ("bits", 200, "x:y")
        assert estimator["ceiling"] == pytest.approx(np.log2(3), abs=1e-3)
        for entry in estimator["maps"]:
            assert set(entry) == {
                "map",
                "rank",
                "rank_low",
                "rank_high",
                "mi",
                "low",
                "high",
                "p_value",
                "p_adjusted",
                "chance",
                "saturated",
                "raw",
                "per_class",
                "per_class_share",
                "per_class_low",
                "per_class_high",
                "per_class_p",
                "input",
            }
            assert entry["low"] <= entry["mi"] <= entry["high"] <= estimator["ceiling"] + 1e-9
            assert len(entry["per_class"]) == 3
            ends = [entry[name] for name in ("per_class_low", "per_class_high", "per_class_p")]
            low, high, p = map(np.array, ends)
            assert (low <= entry["per_class"]).all() and (high >= entry["per_class"]).all()
            assert ((p > 0) & (p <= 1)).all()
            shares = np.array(entry["per_class"]) / estimator["class_ceilings"]
            assert entry["per_class_share"] == pytest.approx(shares.tolist())
            assert entry["input"] is None


def test_responses_point_into_the_given_images(ranking, halves):
    images, _ = halves
    responses = ranking.responses
    left, right = images[:, :, :4].mean((1, 2, 3)), images[:, :, 4:].mean((1, 2, 3))
    whole = (left + right) / 2
    assert (responses["best_images"][0] == np.argsort(-whole)[:9]).all()
    assert np.allclose(responses["best_scores"][0], np.sort(whole)[::-1][:9], atol=1e-5)
    best = responses["best_images"][0]
    assert (responses["best_positions"][0, :, 1] == (right > left)[best]).all()
    assert responses["active"].tolist() == [1.0, 1.0, 0.0, 1.0]
    assert (responses["histogram"].sum(axis=(1, 2)) == 200).all()


def test_tables_figures_and_html(ranking):
    table = ranking.to_pandas()
    assert len(table) == 8
    assert table["map"][:4].tolist() == ranking.order.tolist()
    assert {"rank", "mi", "low", "high", "p_adjusted", "raw", "mi:left"} <= set(table.columns)
    figure = ranking.plot()
    assert len(figure.axes) == 2
    assert [patch.get_height() for patch in figure.axes[0].patches] == pytest.approx(
        ranking.by("predictive").mi[ranking.by("predictive").order].tolist()
    )
    figure.canvas.draw()
    for axes, by in zip(figure.axes, ranking.estimators, strict=True):
        heights = [line.get_ydata().tolist() for line in axes.lines if len(line.get_ydata()) == 4]
        expected = [by.chance[by.order].tolist()] if (by.chance > 0.05).any() else []
        assert heights == expected, "ranks are by what is above chance"
    page = ranking._repr_html_()
    assert "usable information" in page and page.count("data:image/png") == 1
    for heading in ("information, bits", "95 % interval", "p-value, adjusted", "best for"):
        assert f"<th>{heading}</th>" in page
    with pytest.raises(SettingsError, match="predictive, kde"):
        ranking.by("ksg")


def test_maps_that_are_not_above_shuffled_labels_are_best_for_nothing(ranking):
    from dataclasses import replace

    best = [f"<td>{name}</td>" for name in ranking.classes]
    assert any(cell in ranking._repr_html_() for cell in best)
    by_chance = replace(ranking.estimators[0], p_adjusted=np.full(len(ranking), 0.2))
    page = replace(ranking, estimators=(by_chance,))._repr_html_()
    assert not any(cell in page for cell in best)


def test_names_are_shown_as_text(ranking):
    from dataclasses import replace

    bad = replace(ranking, layer="<b>$x</b>", split="<i>")
    assert "<b>$x" not in bad._repr_html_()
    bad.plot().canvas.draw()


def test_same_seed_same_result_whatever_the_blocks(halves, ranking):
    names = ["dark", "left", "right"]
    repeated = mi.rank(block_model(), *halves, "@0", classes=names, split="x:y", byte_budget=1)
    assert repeated.order.tolist() == ranking.order.tolist()
    for estimator, other in zip(repeated.estimators, ranking.estimators, strict=True):
        for name in ("raw", "low", "high", "p_value", "p_adjusted", "per_class"):
            assert np.allclose(getattr(estimator, name), getattr(other, name), atol=1e-12), name
        for name in ("rank", "rank_low", "rank_high", "saturated"):
            assert (getattr(estimator, name) == getattr(other, name)).all()
    for name, values in ranking.responses.items():
        assert np.array_equal(values, repeated.responses[name], equal_nan=True)


def test_some_maps_some_samples_and_the_block_output(halves):
    images, labels = halves
    ranking = mi.rank(block_model(), images, labels, "halves", maps=[0, 2], samples=60, at="block")
    assert ranking.maps.tolist() == [0, 2]
    assert ranking.samples == 60
    assert (ranking.responses["best_positions"][0] == 0).all()
    assert ranking.responses["best_images"].max() < 200
    # Which side was bright is lost by the pooling.
    assert ranking.by("predictive").mi[0] < 0.8 * ranking.by("predictive").ceiling


def test_saturated_layers_are_not_given_as_an_order(halves):
    tight = Kde(noise=1e-9)
    result = mi.rank(block_model(), *halves, "halves", estimators=[tight, "decoder"])
    kde = result.to_dict()["estimators"][0]
    assert kde["saturated_share"] == 0.75
    assert kde["ordered"] is False
    assert "their order is noise" in kde["notices"][0]
    assert [entry["map"] for entry in kde["maps"]] == [0, 1, 3, 2]
    # Shuffled labels are at the ceiling, too: nothing is above chance.
    assert [entry["rank_low"] for entry in kde["maps"]] == [1, 1, 1, 1]
    assert [entry["rank_high"] for entry in kde["maps"]] == [4, 4, 4, 4]
    assert result.by("decoder").ordered
    assert any("'predictive'" in text for text in result.all_notices)
    assert np.isnan(result.agreement[0][2])


def test_maps_that_are_not_finite_are_last_and_the_others_go_on(halves, ranking):
    # Some processors' fused convolution turns NaN into 0 in a ReLU; infinity stays.
    bias = np.array([0, np.inf, 0, 0], np.float32)
    result = mi.rank(block_model(bias), *halves, "halves")
    for estimator in result.to_dict()["estimators"]:
        last = estimator["maps"][-1]
        assert (last["map"], last["rank"], last["mi"], last["per_class"]) == (1, 4, None, None)
        json.dumps(estimator, allow_nan=False)
    assert "not finite" in result.notices[0]
    kept = [0, 2, 3]
    assert (result.by("predictive").mi[kept] == ranking.by("predictive").mi[kept]).all()
    result.plot().canvas.draw()
    result._repr_html_()
    with pytest.raises(NoFiniteResponses, match="weights"):
        mi.rank(block_model(np.full(4, np.inf)), *halves, "halves")


def test_a_label_seen_once_is_left_out(halves):
    images, labels = halves
    labels = labels.copy()
    labels[7] = 9
    result = mi.rank(block_model(), images, labels, "halves", estimators="kde")
    assert result.classes == ("0", "1", "2")
    assert result.samples == 199
    assert "seen once" in result.notices[0]
    assert 7 not in result.responses["best_images"]


@pytest.mark.parametrize(
    ("changed", "error", "word"),
    [
        ({"layer": "thirds"}, ModelError, "halves"),
        ({"maps": [4]}, SettingsError, "0 to 3"),
        ({"estimators": ["nobody"]}, SettingsError, "decoder or predictive or kde"),
        ({"estimators": []}, SettingsError, "at least one"),
        ({"estimators": ["decoder"], "with_input": True}, SettingsError, "kde"),
        ({"estimators": ["kde", "kde"]}, SettingsError, "once"),
        ({"samples": 5}, SettingsError, "samples"),
        ({"at": "before"}, SettingsError, "response or block"),
        ({"labels": np.zeros(200)}, DataError, "floats"),
        ({"labels": np.zeros(200, int)}, DataError, "two classes"),
        ({"labels": np.arange(100) % 2}, DataError, "200"),
        ({"images": np.zeros((200, 9, 9, 1))}, DataError, "shape"),
        ({"images": np.full((200, 4, 8, 1), np.nan)}, DataError, "finite"),
    ],
)
def test_bad_input(halves, changed, error, word):
    images, labels = halves
    arguments = {"images": images, "labels": labels, "layer": "halves", **changed}
    with pytest.raises(error, match=word):
        mi.rank(block_model(), **arguments)


def test_digits_are_known_better_than_by_chance():
    import keras
    from keras import layers

    from oip import models

    data = models.load("mnist-sample:test")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 5, strides=3, activation="relu", name="random"),
        ]
    )
    result = mi.rank(model, data.images, data.labels, "random", samples=300, classes=data.classes)
    for estimator in result.estimators:
        informative = estimator.mi > 0
        assert informative.any()
        assert (estimator.p_adjusted[informative] < 0.01).all()
        assert (estimator.mi < estimator.ceiling).all()
    assert result.by("predictive").mi.max() > 1.0


def test_every_family_for_labels_ranks(halves):
    names = ["predictive", "ksg", "gaussian", "vme", "binning"]
    result = mi.rank(block_model(), *halves, "halves", estimators=names, samples=100)
    for estimator in result.estimators:
        assert set(estimator.rank) == {1, 4}
        assert estimator.mi[2] == pytest.approx(0.0, abs=1e-9)
        assert estimator.rank[2] == 4
        assert (estimator.p_adjusted[[0, 1, 3]] < 0.05).all()
    json.dumps(result.to_dict(), allow_nan=False)


def test_an_estimator_without_null_and_halves_ranks(halves):
    class Quick(Kde):
        name = "quick"
        shuffles = 0
        map_draws = 0

    result = mi.rank(block_model(), *halves, "halves", estimators=[Quick()])
    entry = result.to_dict()["estimators"][0]["maps"][0]
    assert (entry["p_value"], entry["p_adjusted"], entry["low"], entry["high"]) == (None,) * 4
    assert (entry["rank_low"], entry["rank_high"]) == (1, 4)
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_map_that_shuffled_labels_saturate_is_not_the_first(halves):
    images, labels = halves
    model = block_model()
    kernel, bias = model.get_layer("halves").get_weights()
    kernel[..., [1, 3]] *= 1e-4  # for a fixed variance they tell next to nothing
    model.get_layer("halves").set_weights([kernel, bias])
    sharp = Kde(noise=1e-7)
    result = mi.rank(model, images, labels, "halves", estimators=[sharp])
    kde = result.by("kde")
    assert kde.ordered
    assert kde.saturated.tolist() == [True, False, False, False]
    alone = mi.rank(model, images, labels, "halves", maps=[0, 1, 2], estimators=[sharp]).by("kde")
    assert alone.chance[0] > 0.98 * alone.ceiling
    assert alone.rank[0] > 1
    assert any("share the first rank" in text for text in result.all_notices)
    assert any("ranks are by the bits above chance" in text for text in result.all_notices)


def test_saturated_maps_above_chance_share_the_first_places():
    given = replace(estimates([0.5, 0.985, 0.99]), null=np.full((20, 3), 0.2))
    assert ranks(given, False).tolist() == [3, 1, 1]


def test_orders_agree_as_kendall_counts_it(halves):
    from scipy.stats import kendalltau

    result = mi.rank(block_model(), *halves, "halves", estimators=["predictive", "decoder"])
    first, second = result.estimators
    expected = kendalltau(first.mi, second.mi)[0]
    assert result.agreement == [("predictive", "decoder", pytest.approx(expected))]
    assert result.to_dict()["agreement"] == [
        {"estimators": ["predictive", "decoder"], "kendall": pytest.approx(expected)}
    ]


def test_what_maps_tell_of_the_input_where_asked(halves):
    from oip.network.forward import map_blocks
    from oip.network.network import Network

    images, labels = halves
    bias = np.array([0, np.inf, 0, 0], np.float32)
    options = {"estimators": ["kde", "decoder"], "with_input": True}
    result = mi.rank(block_model(bias), images, labels, "halves", **options)
    network = Network(block_model())
    (_, values), *_ = map_blocks(network, images, network.find("halves"))
    records = result.to_dict()["estimators"]
    assert records[0]["input_ceiling"] == pytest.approx(np.log2(200))
    assert records[1]["input_ceiling"] is None
    information = {entry["map"]: entry["input"] for entry in records[0]["maps"]}
    assert information[1] is None
    assert information[2] == pytest.approx(0.0, abs=1e-9)
    assert information[3] == pytest.approx(mi.input_information(values[:, 3], "kde").bits, rel=1e-5)


def estimates(raw, spread=0.01, draws=200, ceiling=1.0):
    raw = np.array(raw, float)
    noise = np.random.default_rng(0).normal(size=(draws, len(raw))) * spread
    return MapEstimates(
        raw=raw,
        ceiling=np.full(len(raw), ceiling),
        per_class_raw=np.zeros((len(raw), 2)),
        class_ceiling=np.ones(2),
        draws=raw + noise,
        null=np.zeros((10, len(raw))),
    )


def test_clear_orders_have_ranks_without_doubt():
    given = estimates([0.2, 0.8, 0.5])
    low, high = rank_intervals(given, True)
    assert ranks(given, True).tolist() == [3, 1, 2]
    assert low.tolist() == high.tolist() == [3, 1, 2]


def test_intervals_hold_the_rank_and_widen_where_maps_are_alike():
    given = estimates([0.5, 0.501, 0.502, 0.1], spread=0.05)
    low, high = rank_intervals(given, True)
    own = ranks(given, True)
    assert ((low <= own) & (own <= high)).all()
    assert low[:3].tolist() == [1, 1, 1]
    assert high[:3].tolist() == [3, 3, 3]
    assert (low[3], high[3]) == (4, 4)


def test_equal_maps_share_their_places():
    given = estimates([0.5, 0.5, 0.1], spread=0.0)
    low, high = rank_intervals(given, True)
    assert ranks(given, True).tolist() == [1, 1, 3]
    assert low.tolist() == [1, 1, 3]
    assert high.tolist() == [2, 2, 3]


def test_estimates_under_zero_are_no_worse_than_zero():
    given = estimates([-0.2, 0.0, 0.5], spread=0.0)
    low, high = rank_intervals(given, True)
    assert ranks(given, True).tolist() == [2, 2, 1]
    assert low.tolist() == [2, 2, 1]
    assert high.tolist() == [3, 3, 1]


def test_maps_without_a_number_come_last():
    given = estimates([np.nan, -0.5, 0.3, np.nan])
    low, high = rank_intervals(given, True)
    assert ranks(given, True).tolist() == [3, 2, 1, 3]
    assert (low[0], high[0]) == (low[3], high[3]) == (3, 4)


def test_at_the_ceiling_there_is_no_order():
    given = estimates([0.99, 1.0, 0.995, 0.3], spread=0.0)
    low, high = rank_intervals(given, False)
    assert ranks(given, False).tolist() == [1, 1, 1, 4]
    assert low.tolist() == [1, 1, 1, 4]
    assert high.tolist() == [3, 3, 3, 4]
    assert ranks(given, True).tolist() == [3, 1, 2, 4]


def test_ranks_go_by_what_is_above_chance():
    given = estimates([0.9, 0.5, 0.3])
    given = replace(given, null=np.random.default_rng(0).normal([0.9, 0.1, 0.0], 0.01, (200, 3)))
    assert ranks(given, True).tolist() == [3, 1, 2]
    low, high = rank_intervals(given, True)
    assert low.tolist() == high.tolist() == [3, 1, 2]


def test_chance_under_zero_or_not_sure_changes_no_order():
    given = estimates([0.31, 0.3, 0.2])
    null = np.random.default_rng(0).normal([-0.5, 0.0, -0.4], 0.05, (200, 3))
    assert ranks(replace(given, null=null), True).tolist() == [1, 2, 3]


def test_a_ceiling_that_shuffled_labels_reach_is_no_first_place():
    given = estimates([1.0, 0.5], spread=0.0)
    null = np.stack([np.full(50, 1.0), np.full(50, 0.01)], axis=1)
    assert ranks(replace(given, null=null), False).tolist() == [2, 1]


def test_noise_of_many_nodes_is_behind_a_clean_bit():
    random = np.random.default_rng(0)
    codes = np.arange(200) % 10
    responses = random.normal(size=(200, 2, 60))
    responses[:, 1] = 0.05 * responses[:, 1] + 10.0 * (codes % 2)[:, None]
    given = mi.estimator("kde").over_maps(responses, codes, 0, 100, 20)
    assert given.bits[0] > given.bits[1] > 0.95
    assert given.p_value[0] > 0.05 > given.p_value[1]
    assert abs(given.chance[0] - given.raw[0]) < 0.1
    assert ranks(given, False).tolist() == [2, 1]


def test_without_draws_every_place_is_possible():
    estimates = MapEstimates(
        raw=np.array([0.1, 0.5, 0.3]),
        ceiling=np.ones(3),
        per_class_raw=np.zeros((3, 2)),
        class_ceiling=np.ones(2),
        draws=np.empty((0, 3)),
        null=np.empty((0, 3)),
    )
    low, high = rank_intervals(estimates, True)
    assert (low.tolist(), high.tolist()) == ([1, 1, 1], [3, 3, 3])


@settings(deadline=None)
@given(st.permutations(range(7)))
def test_kendall_counts_pairs_in_the_same_order(order):
    values = np.arange(7)
    signs = [np.sign(order[j] - order[i]) for i, j in combinations(range(7), 2)]
    assert kendall(values, np.array(order)) == pytest.approx(np.mean(signs))


@settings(deadline=None)
@given(st.permutations(range(6)))
def test_spearman_is_the_correlation_of_ranks_and_sees_order_alone(order):
    values = np.array(order, float)
    expected = np.corrcoef(np.arange(6), values)[0, 1]
    assert spearman(np.arange(6), values) == pytest.approx(expected)
    assert spearman(np.arange(6), np.exp(values)) == pytest.approx(expected)


def test_ties_and_maps_without_a_number():
    first = np.array([1.0, 2.0, 3.0, np.nan, 5.0])
    assert spearman(first, np.array([1.0, 2.0, 2.0, 9.0, 4.0])) == pytest.approx(
        np.corrcoef([0, 1, 2, 3], [0, 1.5, 1.5, 3])[0, 1]
    )
    assert kendall(first, -first) == -1
    assert math.isnan(kendall(first, np.ones(5)))
    assert math.isnan(spearman(first[:2], first[:2]))


def test_short_forms_name_the_three_best():
    from oip import mi

    given = EstimatorRanking.of(mi.estimator("kde"), estimates([0.2, 0.8, 0.5, 0.1]))
    ranking = mi.Ranking(
        layer="first",
        index=0,
        maps=np.arange(4) + 10,
        classes=("a", "b"),
        estimators=(given,),
        samples=40,
        split="x:test",
        at="response",
        seed=0,
        responses={},
    )
    assert repr(ranking) == (
        "Ranking(first: 4 maps, 40 images, x:test; "
        "best by kde: map 11 (1.15 bits), 12 (0.721 bits), 10 (0.289 bits))"
    )
    assert repr(given) == "EstimatorRanking(kde: 4 maps)"
    file = ranking.to_file("k", "d")
    assert (file.key, file.data_sha256, file.estimators[0].held_out) == ("k", "d", False)
    assert file.public_dict() == ranking.to_dict()
