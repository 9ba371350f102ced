import json

import numpy as np
import pytest

from oip import mi
from oip.core import seeds
from oip.core.errors import DataError, ModelError, SettingsError
from oip.mi.estimators.gram import Bandwidth, cut, gram, label_gram
from oip.mi.estimators.renyi import matrix_entropy
from oip.mi.selection import METHODS, conditional_width, kept_count, relevance_less_redundancy


def planted():
    """Maps: 0 half the label, 1 a copy of 0, 2 the other half, 3 and 4 noise, 5 silent."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((4, 4, 1)),
            layers.Conv2D(6, 4, activation="relu", name="planted"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax", name="classes"),
        ]
    )
    kernel = np.zeros((4, 4, 1, 6), np.float32)
    for index, row in enumerate((0, 0, 1, 2, 3)):
        kernel[row, :, 0, index] = 0.25
    kernel[2, :, 0, 3], kernel[3, :, 0, 4] = 1.0, 2.0
    model.get_layer("planted").set_weights([kernel, np.array([0, 0, 0, 0, 0, -1.0])])
    weights = np.array(
        [[4, 4, 0, 0], [0, 0, 0, 0], [4, 0, 4, 0], [0, 0, 0, 0], [0.1, 0, 0, 0], [1, 2, 3, 4]]
    )
    model.get_layer("classes").set_weights([weights, np.array([-6.0, -2.0, -2.0, 0.0])])
    return model


@pytest.fixture(scope="module")
def data():
    """Rows 0 and 1 of an image tell the two bits of its label, the others are noise."""
    draw = np.random.default_rng(0)
    labels = np.arange(240) % 4
    images = draw.uniform(0, 1, (240, 4, 4, 1)).astype(np.float32)
    images[:, 0] = np.isin(labels, (0, 1)).astype(np.float32)[:, None, None]
    images[:, 1] = np.isin(labels, (0, 2)).astype(np.float32)[:, None, None]
    images[:, :2] += draw.normal(scale=0.02, size=(240, 2, 4, 1)).astype(np.float32) + 0.1
    return images, labels


@pytest.fixture(scope="module")
def chosen(data):
    model = planted()
    return {name: mi.select(model, *data, "planted", method=name) for name in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_orders_every_map_once(chosen, method):
    selection = chosen[method]
    assert sorted(selection.order.tolist()) == list(range(6))
    assert selection.maps.tolist() == list(range(6))
    assert selection.scores.shape == (6,)
    assert selection.keep(0.5).tolist() == sorted(selection.order[:3])
    assert len(selection.keep(0.01)) == 1
    json.dumps(selection.to_dict(), allow_nan=False)


def test_what_copies_the_label_first_then_what_completes_it_then_the_rest(chosen):
    for method in ("mrmr", "cmi"):
        order = chosen[method].order.tolist()
        assert order[0] in (0, 1, 2)
        # Not the copy: the map with the other half.
        assert {order[0], order[1]} in ({0, 2}, {1, 2})
    assert set(chosen["mi"].order[:3].tolist()) == {0, 1, 2}
    assert chosen["mi"].order[-1] in (3, 4, 5)


def test_conditional_width_stops_where_nothing_is_added(chosen):
    selection = chosen["cmi"]
    # The copy narrows the kernel and may count; noise and the silent map never do.
    assert selection.width in (2, 3)
    assert set(selection.order[: selection.width].tolist()) <= {0, 1, 2}
    assert selection.notices == ()
    assert selection.scores[selection.order[0]] == pytest.approx(np.log(2), abs=0.15)
    assert chosen["mi"].width is None


def test_bottleneck_objective_is_what_it_says(data, chosen):
    pairs = mi.redundancy(planted(), *data, "planted", samples=500)
    for beta in (2.0, 0.0):
        selection = mi.select(planted(), *data, "planted", method="ib", beta=beta)
        expected = beta * pairs.label.single - pairs.input.single
        np.testing.assert_allclose(selection.scores, expected, atol=1e-6)
    np.testing.assert_array_equal(selection.order, np.argsort(pairs.input.single, kind="stable"))


def test_baselines_are_what_they_say(data, chosen):
    images, labels = data
    model = planted()
    responses = model.layers[0](images).numpy().reshape(240, 6)
    np.testing.assert_allclose(chosen["apoz"].scores, (responses > 0).mean(axis=0))
    np.testing.assert_allclose(chosen["mean"].scores, responses.mean(axis=0), rtol=1e-5)
    kernel = model.layers[0].get_weights()[0]
    np.testing.assert_allclose(chosen["l1"].scores, np.abs(kernel).sum(axis=(0, 1, 2)), rtol=1e-6)
    weights, bias = model.get_layer("classes").get_weights()
    logits = responses @ weights + bias
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    gradient = (odds - np.eye(4)[labels]) @ weights.T
    expected = np.abs(gradient * responses).mean(axis=0)
    np.testing.assert_allclose(chosen["taylor"].scores, expected, rtol=1e-4, atol=1e-6)
    selection = mi.select(model, images, None, "planted", method="random")
    np.testing.assert_array_equal(selection.order, chosen["random"].order)
    other = mi.select(model, images, None, "planted", method="random", seed=1)
    assert other.order.tolist() != selection.order.tolist()


def test_width_is_refused_where_samples_are_strangers():
    draw = np.random.default_rng(0)
    codes = np.arange(60) % 2
    narrow = Bandwidth(sigma=1e-3)
    grams = np.stack([gram(draw.normal(size=(60, 3)), narrow) for _ in range(4)])
    width = conditional_width(grams, codes, 2.0, 0)
    assert width.width is None
    assert "Saturated after 0 maps" in width.notices[0]
    assert sorted(width.order.tolist()) == [0, 1, 2, 3]


def test_noise_alone_is_enough_with_no_map():
    draw = np.random.default_rng(2)
    codes = draw.integers(0, 2, 200)
    grams = np.stack([gram(draw.normal(size=(200, 1)), Bandwidth()) for _ in range(3)])
    for alpha in (2.0, 1.01):
        width = conditional_width(grams, codes, alpha, 1, level=0.01, shuffles=120)
        assert width.width == 0
        assert len(width.p_values) == 1


def test_conditional_width_is_that_of_algorithm_1():
    # I(Tr - t; Y | Ts, t) against the same with t permuted in both terms, by its four entropies.
    draw = np.random.default_rng(3)
    codes = draw.integers(0, 3, 60)
    columns = [draw.normal(size=60) + 0.4 * codes for _ in range(3)]
    grams = np.stack([gram(column[:, None], Bandwidth(3.0)) for column in columns])
    label = label_gram(codes)

    def conditional(rest, given):
        a, b = rest * given, given
        parts = (a, b * label, b, a * label)
        return np.dot([matrix_entropy(part, 1.01) for part in parts], [1, 1, -1, -1])

    result = conditional_width(grams, codes, 1.01, 0, shuffles=20)
    chosen, left = np.ones((60, 60)), [0, 1, 2]
    for step, p_value in enumerate(result.p_values):
        row = result.order[step]
        left.remove(row)
        rest = np.prod(grams[left], axis=0)
        orders = seeds.generator(0, "null", step)
        null = [
            conditional(rest, chosen * cut(grams[row], orders.permutation(60))) for _ in range(20)
        ]
        own = conditional(rest, chosen * grams[row])
        assert p_value == pytest.approx(np.mean(np.array(null) <= own + 1e-12))
        chosen = chosen * grams[row]


def test_greedy_relevance_is_that_of_its_definition():
    draw = np.random.default_rng(0)
    responses = draw.normal(size=(80, 7, 2))
    labels = (responses[:, 0, 0] > 0).astype(int)
    pairs = mi.estimator("renyi", alpha=2).pairs(responses, labels)
    order, scores = relevance_less_redundancy(pairs)
    chosen = [int(np.argmax(pairs.single))]
    while len(chosen) < 7:
        left = [row for row in range(7) if row not in chosen]
        worth = [pairs.single[row] - pairs.redundancy[row, chosen].mean() for row in left]
        chosen.append(left[int(np.argmax(worth))])
        assert scores[chosen[-1]] == pytest.approx(max(worth))
    assert order.tolist() == chosen


def test_maps_without_finite_responses_come_last(data):
    model = planted()
    kernel, bias = model.layers[0].get_weights()
    bias[2] = np.nan
    model.layers[0].set_weights([kernel, bias])
    for method in ("mrmr", "mi", "mean", "cmi"):
        selection = mi.select(model, *data, "planted", method=method)
        assert selection.order[-1] == 2
        assert selection.to_dict()["scores"][2]["score"] is None
    for method in ("elimination", "taylor"):
        with pytest.raises(ModelError, match="NaN"):
            mi.select(model, *data, "planted", method=method)


def test_bad_input(data):
    images, labels = data
    model = planted()
    with pytest.raises(SettingsError, match="mrmr"):
        mi.select(model, images, labels, "planted", method="mrmrr")
    with pytest.raises(SettingsError, match="beta"):
        mi.select(model, images, labels, "planted", method="ib", beta=-1)
    for method in ("mrmr", "taylor", "mi"):
        with pytest.raises(DataError, match="labels"):
            mi.select(model, images, None, "planted", method=method)
    with pytest.raises(DataError, match="0 to 3"):
        mi.select(model, images, labels + 2, "planted", method="taylor")
    with pytest.raises(DataError, match="0 to 3"):
        mi.select(model, images, labels.astype(str), "planted", method="taylor")
    with pytest.raises(ModelError, match="planted"):
        mi.select(model, images, labels, "plantd")
    selection = mi.select(model, images, None, "planted", method="l1")
    for share in (0, 1.5, True, "half"):
        with pytest.raises(SettingsError, match="keep"):
            selection.keep(share)
    assert [kept_count(5, share) for share in (0.01, 0.5, 1.0)] == [1, 2, 5]


def test_short_form_and_table(chosen):
    result = chosen["cmi"]
    assert repr(result).startswith("Selection(planted: 6 maps by cmi; keep first: map ")
    assert result.to_pandas()["map"].tolist() == result.order.tolist()
    assert f"enough: the first {result.width}" in result._repr_html_()


def normal_images(n=300, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 8, 8, 1)).astype(np.float32)


def model_of(kernel, read, bias=True):
    """One layer of maps by `kernel` (3, 3, 1, m), read by a 1 x 1 layer with weights (m, o)."""
    import keras
    from keras import layers

    maps, outputs = kernel.shape[-1], read.shape[-1]
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(maps, 3, name="first"),
            layers.Conv2D(outputs, 1, use_bias=bias, name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.get_layer("first").set_weights([kernel, np.full(maps, 0.2)])
    model.get_layer("second").set_weights(
        [read[None, None], *([np.zeros(outputs)] if bias else [])]
    )
    return model


@pytest.mark.parametrize("bias", [True, False])
def test_the_order_is_that_of_refitting_by_brute_force(bias):
    draw = np.random.default_rng(1)
    kernel = draw.normal(size=(3, 3, 1, 6)).astype(np.float32)
    kernel[..., 3] = kernel[..., 0] + 0.1 * kernel[..., 3]
    model = model_of(kernel, draw.normal(size=(6, 3)).astype(np.float32), bias)
    images = normal_images()
    selection = mi.select(model, images, None, "first", method="elimination")
    x = model.layers[0](images).numpy().reshape(-1, 6).astype(float)
    if bias:
        x -= x.mean(axis=0)
    target = x @ model.get_layer("second").get_weights()[0][0, 0]
    left, order = list(range(6)), []
    while left:
        errors = []
        for row in left:
            candidates = [candidate for candidate in left if candidate != row]
            fit = x[:, candidates] @ np.linalg.lstsq(x[:, candidates], target, rcond=None)[0]
            errors.append(((fit - target) ** 2).sum())
        order.append(left.pop(int(np.argmin(errors))))
    assert selection.order.tolist() == order[::-1]


def test_a_copy_and_a_map_that_nothing_reads_go_first():
    draw = np.random.default_rng(3)
    kernel = draw.normal(size=(3, 3, 1, 5)).astype(np.float32)
    kernel[..., 4] = kernel[..., 1]
    read = draw.normal(size=(5, 4)).astype(np.float32)
    read[2] = 0
    selection = mi.select(model_of(kernel, read), normal_images(), None, "first")
    assert selection.method == "elimination"
    assert selection.order[-1] == 2
    assert selection.order[-2] in (1, 4)
    assert selection.scores[2] == pytest.approx(0, abs=1e-9)
    assert selection.keep(0.6).tolist() == sorted(selection.order[:3])


def test_layers_that_nothing_plain_follows_are_refused():
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(3, 3, name="first"),
            layers.DepthwiseConv2D(3, name="deep"),
            layers.GlobalMaxPooling2D(),
        ]
    )
    with pytest.raises(ModelError, match="Choose another method"):
        mi.select(model, normal_images(40), None, "first")
    with pytest.raises(ModelError, match="made here"):
        mi.select(model, normal_images(40), None, "deep")
