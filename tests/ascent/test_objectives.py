import os
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oip
from oip.ascent.objectives import Objective, objective, parse_objectives
from oip.ascent.reconstruction import Ascent
from oip.ascent.settings import ascent_settings
from oip.ascent.targets import MapTargets, ObjectiveTargets, objective_targets
from oip.core.errors import DataError, ModelError, Notice, SettingsError
from oip.models.datasets import dataset
from oip.network.network import Network

QUICK = {"steps": 24, "screened": 32, "starts": 2}


@pytest.fixture(scope="module")
def network(small_model):
    return Network(small_model)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (5, 16, 16, 1)).astype("float32")


def values(network, images, *expressions, layer=None):
    """(n, objectives) after the activation."""
    import tensorflow as tf

    targets = ObjectiveTargets(network, [objective(item) for item in expressions], layer)
    return targets.all_activations(tf.constant(images)).post.numpy()


@pytest.mark.parametrize(
    "text",
    [
        "map:17",
        "node:17@3,2",
        "unit:3",
        "class:4",
        "class:4 - class:9",
        "-map:3",
        "2*map:3 - 0.5*unit:dense:7 + class:1",
        "map:block1/conv2:17",
        "node:@3:17@3,2",
        "map:conv#1:4",
    ],
)
def test_what_is_written_is_what_is_read(text):
    assert str(objective(text)) == text
    assert str(objective(objective(text))) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "17",
        "maps:3",
        "map:",
        "map:x",
        "map:-3",
        "node:3",
        "node:3@a",
        "class:4 -",
        "class:4 * 3",
        "0*map:3",
        "map:3 + ",
        None,
        3,
    ],
)
def test_what_is_no_objective_is_refused_with_the_forms(text):
    for read in (objective, parse_objectives):
        with pytest.raises(SettingsError, match="objective"):
            read(text)


def test_a_sign_within_a_name_is_no_sign():
    read = objective("class:black - white - 2*class:cat + .5 * map:3")
    assert [weight for weight, _ in read.terms] == [1.0, -2.0, 0.5]
    assert [term.class_name for _, term in read.terms] == ["black - white", "cat", ""]
    assert str(objective(str(read))) == str(read)
    with pytest.raises(SettingsError, match=r"'maps:4' in 'map:3 - maps:4'"):
        objective("map:3 - maps:4")


@given(
    st.lists(
        st.tuples(st.floats(-8, 8).filter(lambda f: abs(f) > 1e-3), st.integers(0, 5)),
        min_size=1,
        max_size=4,
    ),
    st.floats(-4, 4),
)
def test_arithmetic_is_that_of_sums(parts, factor):
    total = sum((w * objective(f"map:{n}") for w, n in parts[1:]), parts[0][0] * objective("map:0"))
    scaled = factor * total
    assert [w for w, _ in scaled.terms] == pytest.approx([factor * w for w, _ in total.terms])
    assert [w for w, _ in (-total).terms] == [-w for w, _ in total.terms]
    assert [w for w, _ in (total - total).terms] == [w for w, _ in total.terms] + [
        -w for w, _ in total.terms
    ]


def test_sum_takes_objectives_and_other_things_are_no_operands():
    item, other = objective("map:1"), objective("map:2")
    assert str(sum([item, other])) == "map:1 + map:2"
    for operation in (
        lambda: item / "a",
        lambda: item - 1,
        lambda: 1 + item,
        lambda: item + "map:2",
    ):
        with pytest.raises(TypeError, match="unsupported operand"):
            operation()
    with pytest.raises(SettingsError, match="finite"):
        item * 1e308 * 10
    with pytest.raises(SettingsError, match="zero"):
        item / 0


def test_values_obey_the_identities(network, images):
    a, b, both, difference, twice, negative, half = values(
        network,
        images,
        "map:3",
        "map:5",
        "map:3 + map:5",
        "map:3 - map:5",
        "2*map:3",
        "-map:3",
        objective("map:3") / 2,
        layer="second",
    ).T
    np.testing.assert_allclose(both, a + b, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(difference, a - b, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(twice, 2 * a, rtol=1e-5)
    np.testing.assert_allclose(negative, -a, rtol=1e-5)
    np.testing.assert_allclose(half, a / 2, rtol=1e-5)


def test_terms_are_what_the_layers_say(network, images, small_model, tmp_path):
    import keras
    import tensorflow as tf

    second = keras.Model(small_model.inputs, small_model.get_layer("second").output)(images).numpy()
    weights = np.zeros(70)
    weights[4], weights[6] = 3.0, 4.0
    np.save(tmp_path / "d.npy", weights)
    result = values(
        network,
        images,
        "map:4",
        "node:4@2,1",
        f"direction:{tmp_path / 'd.npy'}",
        layer="second",
    )
    np.testing.assert_allclose(result[:, 0], second[..., 4].mean((1, 2)), rtol=1e-4)
    np.testing.assert_allclose(result[:, 1], second[:, 2, 1, 4], rtol=1e-4, atol=1e-4)
    along = 0.6 * second[..., 4] + 0.8 * second[..., 6]
    np.testing.assert_allclose(result[:, 2], along.mean((1, 2)), rtol=1e-4)
    all_responses = MapTargets(network, network.find("second")).all_activations(tf.constant(images))
    np.testing.assert_allclose(result[:, 0], all_responses.post.numpy()[:, 4], rtol=1e-5)


def test_softmax_is_undone_in_a_class_and_kept_in_a_unit(network, images, small_model):
    dense = small_model.layers[-1]
    logits = values(network, images, *(f"class:{k}" for k in range(4)))
    probabilities = values(network, images, *(f"unit:{k}" for k in range(4)), layer=dense.name)
    expected = small_model(images).numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(powers / powers.sum(1, keepdims=True), expected, atol=1e-5)


@pytest.mark.parametrize("end", ["softmax layer", "activation layer", "sigmoid", "linear"])
def test_logits_of_any_ending(end):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    tails = {
        "softmax layer": [layers.Dense(3), layers.Softmax()],
        "activation layer": [layers.Dense(3), layers.Activation("softmax")],
        "sigmoid": [layers.Dense(3, activation="sigmoid")],
        "linear": [layers.Dense(3)],
    }
    model = keras.Sequential([layers.Input((6, 6, 1)), layers.Flatten(), *tails[end]])
    batch = np.random.default_rng(0).normal(size=(4, 6, 6, 1)).astype("float32")
    dense = next(layer for layer in model.layers if isinstance(layer, layers.Dense))
    kernel, bias = dense.get_weights()
    expected = batch.reshape(4, -1) @ kernel + bias
    result = values(Network(model), batch, "class:0", "class:1", "class:2")
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_images_grow_for_objectives(small_model, small_images):
    data = small_images[0]
    result = oip.reconstruct(
        small_model,
        "second",
        objective=["map:3 - map:5", "class:1", "-class:1"],
        data=data,
        **QUICK,
    )
    assert result.objectives == ("map:3 - map:5", "class:1", "-class:1")
    assert result.images.shape == (3, 2, 16, 16, 1)
    assert result[1].label == "class:1"
    assert result[1].evidence()["objective"] == "class:1"
    assert np.all(result.scores[:, 0] > result.screened_scores)
    assert result.verdicts == ["never silent"] * 3
    network = Network(small_model)
    repeated = values(network, result.pixels[:, 0], *result.objectives, layer="second")
    np.testing.assert_allclose(np.diagonal(repeated), result.scores[:, 0], rtol=0.02, atol=0.02)


def test_what_is_not_finite_fails_alone(small_model, images):
    import keras

    broken = keras.models.clone_model(small_model)
    broken.set_weights(small_model.get_weights())
    kernel, bias = broken.get_layer("first").get_weights()
    for value in (np.nan, np.inf):
        bias[4] = value
        broken.get_layer("first").set_weights([kernel, bias])
        arguments = ("map:3", "map:4", "map:3 - map:4", "2 * map:5 + map:3")
        result = values(Network(broken), images, *arguments, layer="first")
        plain = values(Network(small_model), images, *arguments, layer="first")
        assert np.isnan(result[:, [1, 2]]).all()
        np.testing.assert_allclose(result[:, [0, 3]], plain[:, [0, 3]], rtol=1e-5)


def test_one_map_as_an_objective_is_that_map(small_model):
    """AscentByMap from the same noise, which goes by the index of what is read."""
    network = oip.Network(small_model)
    layer, settings = network.find("second"), ascent_settings(**QUICK)
    plain = Ascent(network, MapTargets(network, layer), settings).grow(np.array([7]))
    targets = objective_targets(network, "map:7", "second")
    targets.index = layer.index
    same = Ascent(network, targets, settings).grow(np.array([0]))
    np.testing.assert_array_equal(same.starts, plain.starts)
    np.testing.assert_allclose(same.scores, plain.scores, rtol=1e-3)
    np.testing.assert_allclose(same.images, plain.images, atol=0.02)


def test_minimising_ends_below_every_start(small_network):
    result = oip.reconstruct(small_network, "first", objective="-map:2", **QUICK)
    assert result.scores[0, 0] >= result.screened_scores[0]
    assert result.scores[0, 0] <= 0


@pytest.mark.parametrize(
    ("expression", "layer", "error", "message"),
    [
        ("map:3", None, SettingsError, "name of its layer"),
        ("map:70", "second", SettingsError, "0 to 69"),
        ("node:1@9,9", "second", SettingsError, "5 x 5"),
        ("node:1@2", "second", SettingsError, "5 x 5"),
        ("map:9", "pool", SettingsError, "maps of layer 'pool': expected 0 to 5"),
        ("map:1", "secnd", ModelError, "second"),
        ("unit:1", "nowhere", ModelError, "expected one of first, second"),
        ("class:4 class:9", None, ModelError, "4 class"),
        ("class:4", None, SettingsError, "0 to 3"),
        ("class:2-class:1", None, SettingsError, "spaces around"),
        ("map:3+0.5*map:4", "second", SettingsError, "spaces around"),
        ("node:1@0,0-node:2@0,0", "second", SettingsError, "spaces around"),
        ("map:3 - map:3", "second", SettingsError, "depends on the input"),
    ],
)
def test_objectives_that_do_not_fit_the_model(small_network, expression, layer, error, message):
    with pytest.raises(error, match=message):
        oip.reconstruct(small_network, layer, objective=expression, **QUICK)


def test_maps_beside_an_objective_and_nothing_at_all_are_refused(small_model, small_network):
    with pytest.raises(SettingsError, match="both"):
        oip.reconstruct(small_network, "second", maps=[1], objective="map:3")
    with pytest.raises(SettingsError, match="objective"):
        oip.reconstruct(small_model)
    with pytest.raises(SettingsError, match="at least one"):
        oip.reconstruct(small_network, objective=[])


@pytest.mark.parametrize(
    "weights",
    [np.zeros(70), np.full(70, np.nan), np.ones((70, 1)), np.array(["a"] * 70), np.array([])],
)
def test_directions_that_are_none(weights, tmp_path):
    with pytest.raises(DataError, match="direction"):
        Objective.direction(weights)


def test_a_direction_of_another_length_and_a_missing_file(small_network, tmp_path):
    with pytest.raises(SettingsError, match="70 numbers"):
        oip.reconstruct(small_network, "second", objective=Objective.direction(np.ones(3)), **QUICK)
    with pytest.raises(DataError, match="no such file"):
        objective(f"direction:{tmp_path / 'none.npy'}")


def test_a_direction_that_is_no_plain_file_and_a_number_of_many_digits(tmp_path):
    os.mkfifo(tmp_path / "x.npy")
    with pytest.raises(DataError, match="a FIFO"):
        objective(f"direction:{tmp_path / 'x.npy'}")
    with pytest.raises(SettingsError, match="class:NUMBER"):
        objective("class:" + "9" * 5000)


@pytest.mark.parametrize("end", ["sigmoid", "linear", "layer"])
def test_one_unit_is_two_classes(end):
    import keras
    from keras import layers

    rest = [layers.Dense(1, activation=None if end == "layer" else end)]
    rest += [layers.Activation("sigmoid")] if end == "layer" else []
    model = keras.Sequential([layers.Input((4, 4, 1)), layers.Flatten(), *rest])
    pixels = np.random.default_rng(0).normal(size=(5, 4, 4, 1)).astype("float32")
    outputs = np.asarray(model(pixels))[:, 0]
    logits = outputs if end == "linear" else np.log(outputs / (1 - outputs))
    network = Network(model)
    network.classes = ("cat", "tiger cat")
    columns = values(network, pixels, "class:0", "class:1", "class:0 - class:1", "class:tiger cat")
    correct = np.stack([-logits, logits, -2 * logits, logits], 1)
    np.testing.assert_allclose(columns, correct, atol=1e-4)
    with pytest.raises(SettingsError, match="0 to 1"):
        objective_targets(network, "class:2")


def test_names_of_classes_are_classes(network, images):
    network = Network(network.model)
    with pytest.raises(SettingsError, match="0 to 3, no names known"):
        objective_targets(network, "class:dog")
    network.classes = ("cat", "dog", "owl")
    with pytest.raises(SettingsError, match="names that are there are of 3 classes"):
        objective_targets(network, "class:dog")
    network.classes = ("cat", "dog", "crane", "crane")
    with pytest.raises(SettingsError, match="a number, 2 or 3; received 'crane'"):
        objective_targets(network, "class:crane")
    network.classes = ("cat", "dog", "T-shirt/top", "owl")
    named, numbered = (
        values(network, images, text)
        for text in ("class:T-shirt/top - 2*class:dog", "class:2 - 2*class:1")
    )
    assert np.array_equal(named, numbered)
    with pytest.raises(SettingsError, match="Did you mean 'owl'"):
        objective_targets(network, "class:owls")


def test_an_objective_is_parsed_before_the_model_is_opened(tmp_path):
    for text in ("clas:4", "map:", ["class:1", "node:3"], []):
        with pytest.raises(SettingsError, match="objective"):
            oip.reconstruct(tmp_path / "no-model.keras", objective=text)


def test_class_names_come_with_the_data_or_are_given(small_model, images):
    quick = {"steps": 2, "screened": 8, "starts": 1}
    network = Network(small_model)
    data = dataset(images, np.arange(5) % 4, ("cat", "dog", "owl", "elk"), "mine")
    by_number = oip.reconstruct(network, objective="class:1", data=images, **quick)
    for more in ({"data": data}, {"data": images, "classes": data.classes}):
        by_name = oip.reconstruct(network, objective="class:dog", **more, **quick)
        np.testing.assert_array_equal(by_name.images, by_number.images)
    assert network.classes is None
    with pytest.raises(SettingsError, match="no names known"):
        oip.reconstruct(network, objective="class:dog", data=images, **quick)


def test_a_number_that_is_the_name_of_another_class_is_told(network):
    """Folders called 1 to 4 are classes 0 to 3."""
    named = Network(network.model).with_classes("1234")
    with pytest.warns(Notice, match="'class:2' is .* called '3'; the one called '2' has number 1"):
        objective_targets(named, "class:2")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        objective_targets(named, "class:0")
        objective_targets(named.with_classes("0123"), "class:2")
