from dataclasses import replace

import numpy as np
import pytest

import oip
from oip.ascent.reconstruction import Ascent, aligned_blocks, grow_oips
from oip.ascent.settings import ascent_settings
from oip.ascent.targets import MapTargets, objective_targets
from oip.ascent.verdicts import converged, looks_converged
from oip.core.errors import DataError, ModelError, OipError, SettingsError
from oip.network.network import Network

QUICK = {"steps": 24, "screened": 48}


def test_every_map_of_a_layer_has_an_oip_with_evidence(small_model, small_images):
    oips = oip.reconstruct(small_model, "second", data=small_images[0], **QUICK)
    assert oips.images.shape == (70, 4, 16, 16, 1)
    assert oips.maps.tolist() == list(range(70))
    assert np.all(np.diff(oips.scores, axis=1) <= 0)
    for item in oips:
        record = item.evidence()
        assert record["verdict"] == item.verdict
        assert (record["score"] > 0) == (item.verdict != "dead")
        if item.verdict == "reachable-only":
            assert record["data_active"] == 0
    excitable = oips.data_active > 0
    assert np.mean(oips.scores[excitable, 0] > oips.data_scores[excitable]) > 0.95


def test_pixels_are_in_the_models_units(small_model, small_network):
    oips = oip.reconstruct(small_network, "first", maps=[1], **QUICK)
    np.testing.assert_allclose(oips.pixels.mean(), 40, atol=2)
    np.testing.assert_allclose(oips.pixels.std(), 80, atol=2)
    plain = small_model.layers[1]((oips.pixels[0, 0][None] - 40) / 80)
    np.testing.assert_allclose(plain[..., 1].numpy().mean(), oips.scores[0, 0], rtol=5e-3)


def test_a_part_agrees_with_the_whole(small_network):
    whole = oip.reconstruct(small_network, "second", maps=range(64, 70), **QUICK)
    repeated = oip.reconstruct(small_network, "second", maps=range(64, 70), **QUICK)
    part = oip.reconstruct(small_network, "second", maps=[66, 69], **QUICK)
    assert np.array_equal(whole.images, repeated.images)
    for number in (66, 69):
        assert part[number].verdict == whole[number].verdict
        assert part[number].score == pytest.approx(whole[number].score, rel=0.01)


def test_a_map_is_converged_when_its_last_steps_gain_little():
    steps = np.arange(61)
    rising, flat, zero = steps / 60.0, 1 - 0.5 ** (steps / 2), 0.0 * steps
    retired = np.where(steps < 40, flat, np.nan)
    traces = np.stack([rising, flat, zero, retired])
    result = converged(traces, np.array([60, 60, 60, 40]), 20, np.ones(4, bool))
    assert result.tolist() == [False, True, False, True]
    assert not converged(traces[:, :11], np.full(4, 10), 20, np.ones(4, bool)).any()


def test_scores_of_looks_converge_when_the_last_are_no_higher_than_those_before():
    random = np.random.default_rng(0)
    noise = random.normal(size=(4, 61)).astype(np.float32)
    level = np.full(61, 10.0)
    rising = np.linspace(0, 100, 61)
    traces = np.stack([level, rising, level, np.zeros(61)]) + noise * [[1], [1], [1], [0]]
    steps = np.array([60, 60, 40, 60])
    result = looks_converged(traces, steps, 10, np.ones(4, bool))
    assert result.tolist() == [True, False, False, False]
    assert not looks_converged(traces[:, :12], np.full(4, 11), 10, np.ones(4, bool)).any()


def test_shards_are_aligned():
    result = dict(aligned_blocks(np.array([0, 5, 63, 64, 200])))
    assert {number: maps.tolist() for number, maps in result.items()} == {
        0: [0, 5, 63],
        1: [64],
        3: [200],
    }


def test_verdicts_of_planted_maps(plant):
    model = plant([0.0, -9.0, -0.5, 0.0], scale=8.0, negative=(1, 2))
    kernel, bias = model.get_layer("maps").get_weights()
    kernel[..., 3] = np.nan
    model.get_layer("maps").set_weights([kernel, bias])
    oips = oip.reconstruct(model, "maps", **QUICK)
    assert oips.verdicts == ["responsive", "dead", "dead", "failed"]
    assert oips.provably_dead.tolist() == [False, True, True, False]
    assert np.isnan(oips.stability[3])


def standard(model):
    """A view of a model that is told mean 0 and deviation 1, whatever the data."""
    network = Network(model)
    network.inputs = network.inputs.with_statistics(mean=(0.0,), std=(1.0,))
    return network


def test_a_map_that_no_image_excites_is_reachable_only(plant):
    model = standard(plant([-30.0, 0.0], scale=40.0))
    dark = np.random.default_rng(0).uniform(0.0, 0.01, (30, 12, 12, 1)).astype("float32")
    oips = oip.reconstruct(model, "maps", data=dark, **QUICK)
    assert oips.verdicts[0] == "reachable-only"
    without = oip.reconstruct(model, "maps", **QUICK)
    assert without.verdicts[0] == "revived"


def test_a_map_that_only_bright_images_excite_is_not_called_dead(plant):
    """Data excite it, but no image of the input's mean and deviation can."""
    import keras
    from keras import layers

    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(1, 1, activation="relu")])
    model.layers[0].set_weights([np.ones((1, 1, 1, 1), "float32"), np.array([-60.0], "float32")])
    bright = np.random.default_rng(0).uniform(70, 80, (12, 8, 8, 1)).astype("float32")
    model = standard(model)
    oips = oip.reconstruct(model, "@0", data=bright, **QUICK)
    assert oips.data_active[0] == 1.0
    assert oips.verdicts == ["not reached"]
    assert oip.reconstruct(model, "@0", **QUICK).verdicts == ["dead"]


def test_a_map_that_starts_do_not_reach_grows_from_the_data():
    """Its pre-activation is flat but near one pattern, behind a layer that is shut for noise."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(1, 8, activation="relu", name="gate"),
            layers.Conv2D(1, 1, activation="relu", name="map"),
        ]
    )
    pattern = np.random.default_rng(1).normal(size=(8, 8)).astype("float32")
    pattern = (pattern - pattern.mean()) / pattern.std()
    item = np.ones((1, 1, 1, 1), "float32")
    model.get_layer("gate").set_weights([pattern[..., None, None], np.array([-50.0], "float32")])
    model.get_layer("map").set_weights([item, np.array([-0.1], "float32")])
    oips = oip.reconstruct(model, "map", data=pattern[None, ..., None], **QUICK)
    assert oips.scores[0, 0] > 0
    assert (oips.starts == -1).all()
    assert oips.amplitudes.max() == 0
    assert oips.verdicts == ["revived"]


def test_no_negative_copy_proves_death():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    inputs = layers.Input((10, 10, 1))
    negated = -layers.Conv2D(3, 3, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Conv2D(2, 3, activation="relu", name="last")(negated))
    kernel, bias = model.get_layer("last").get_weights()
    model.get_layer("last").set_weights([-np.abs(kernel), bias])
    oips = oip.reconstruct(model, "last", **QUICK)
    assert not oips.provably_dead.any()


def test_small_images_deep_layers_and_few_starts_do_not_stumble():
    import keras
    from keras import layers

    parts = [layers.Conv2D(2, 3, strides=2, padding="same") for _ in range(4)]
    deep = keras.Sequential([layers.Input((8, 8, 1)), *parts])
    assert len(oip.reconstruct(deep, "@3", starts=2, steps=3, screened=2)) == 2
    silent = keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(1, 3, activation="relu")])
    kernel, _ = silent.layers[0].get_weights()
    silent.layers[0].set_weights([kernel, np.array([-90.0], "float32")])
    assert oip.reconstruct(silent, "@0", starts=4, steps=3, screened=4).verdicts == ["dead"]


@pytest.mark.parametrize("form", ("functional", "sequential", "nested"))
def test_models_that_take_integers_climb_as_those_that_take_floats(form):
    import keras
    from keras import layers

    def model(dtype):
        keras.utils.set_random_seed(0)
        images = layers.Input((8, 8, 1), dtype=dtype)
        parts = [layers.Rescaling(1 / 255), layers.Conv2D(2, 3, name="conv"), layers.Flatten()]
        if form == "sequential":
            return keras.Sequential([images, *parts])
        outputs = images
        for layer in parts:
            outputs = layer(outputs)
        inner = keras.Model(images, outputs)
        if form == "functional":
            return inner
        outer = layers.Input((8, 8, 1), dtype=dtype)
        return keras.Model(outer, layers.Dense(3)(inner(outer)))

    integers = model("uint8")
    steps = {"starts": 1, "steps": 6, "preset": "natural", "data": None}
    oips = oip.reconstruct(integers, "@0", **steps)
    floats = oip.reconstruct(model("float32"), "@0", **steps)
    np.testing.assert_allclose(oips.scores, floats.scores, rtol=0.02)
    assert oips.verdicts == floats.verdicts
    assert np.corrcoef(oips.images.ravel(), floats.images.ravel())[0, 1] > 0.99
    assert integers.inputs[0].dtype == "uint8"
    assert integers(np.zeros((1, 8, 8, 1), np.uint8)).dtype == "float32"


def test_an_input_without_gradient_is_named():
    import keras
    from keras import layers

    inputs = layers.Input((8, 8, 1), dtype="uint8")
    embedded = layers.Reshape((8, 8, 3))(layers.Embedding(256, 3)(inputs))
    coarse = keras.ops.bitwise_and(inputs, keras.ops.cast(240, "uint8"))
    for values in (embedded, keras.ops.cast(coarse, "float32") / 255):
        model = keras.Model(inputs, layers.Conv2D(2, 3)(values))
        with pytest.raises(ModelError, match="gradient"):
            oip.reconstruct(model, "@0", **QUICK)


def test_activations_without_a_flat_part_are_never_silent():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    for activation in ("tanh", "sigmoid", "gelu", "linear"):
        parts = [layers.Input((10, 10, 3)), layers.Conv2D(3, 3, activation=activation)]
        oips = oip.reconstruct(keras.Sequential(parts), "@0", **QUICK)
        assert oips.verdicts == ["never silent"] * 3
        assert np.all(oips.scores[:, 0] > oips.screened_scores)


def test_a_saturated_sigmoid_is_flagged():
    import keras
    from keras import layers

    model = keras.Sequential([layers.Input((10, 10, 1)), layers.Conv2D(1, 3, activation="sigmoid")])
    kernel, _ = model.layers[0].get_weights()
    model.layers[0].set_weights([kernel, np.array([9.0], "float32")])
    assert oip.reconstruct(model, "@0", **QUICK).saturated.all()


def test_the_limit_of_sums_and_of_negative_terms():
    import keras
    from keras import layers

    parts = [layers.Conv2D(2, 3, activation="sigmoid", name="a"), layers.Conv2D(2, 3, name="b")]
    network = Network(keras.Sequential([layers.Input((10, 10, 1)), *parts]))
    objectives = ["map:0 + 2 * map:1", "map:0 - map:1", "-map:0"]
    assert objective_targets(network, objectives, "a").upper_limit.tolist() == [3, np.inf, np.inf]
    assert not oip.reconstruct(network, "b", objective=["-map:0"], **QUICK).saturated.any()


CAPS = {"relu6": 6.0, "hard_sigmoid": 1.0, "hard_tanh": 1.0, "relu_layer": 2.0}


@pytest.mark.parametrize("kind", CAPS)
def test_the_pre_activation_climbs_on_where_all_nodes_are_at_the_limit(kind):
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    fused = kind if kind != "relu_layer" else "linear"
    parts = [layers.Input((10, 10, 1)), layers.Conv2D(2, 3, activation=fused)]
    parts += [layers.ReLU(max_value=2.0)] if kind == "relu_layer" else []
    model = keras.Sequential(parts)
    kernel, _ = model.layers[0].get_weights()
    bias = 4 * CAPS[kind] if kind != "hard_sigmoid" else 12.0
    model.layers[0].set_weights([kernel, np.array([bias, bias - 1], "float32")])
    quick = {"steps": 24, "screened": 8, "starts": 1, "warmup": 0, "rate": 0.1}
    for climbed in (
        oip.reconstruct(model, "@0", **quick),
        oip.reconstruct(model, "@0", objective=["map:0", "map:1"], **quick),
    ):
        assert climbed.saturated.all()
        assert np.allclose(climbed.scores, CAPS[kind])
        assert not (climbed.steps < 2).any()  # the gradient does not end at the limit
    first = oip.reconstruct(model, "@0", **(quick | {"steps": 1}))
    last = oip.reconstruct(model, "@0", **(quick | {"keep": "last"}))
    assert np.all(climbed.pre_scores > first.pre_scores + 0.1)
    assert np.all(last.pre_scores > first.pre_scores + 0.1)
    assert climbed[0].evidence()["saturated"]


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"layer": "none"}, ModelError, "one of"),
        ({"maps": [70]}, SettingsError, "0 to 69"),
        ({"maps": [0.7]}, SettingsError, "whole numbers"),
        ({"maps": ["3"]}, SettingsError, "whole numbers"),
        ({"steps": 0}, SettingsError, "steps"),
        ({"starts": 9, "screened": 8}, SettingsError, "screened"),
        ({"noise": "pink"}, SettingsError, "noise"),
        ({"preset": "mine"}, SettingsError, "preset"),
        ({"stepz": 3}, SettingsError, "Did you mean"),
        ({"steps": "many"}, SettingsError, "settings"),
        ({"data": np.zeros((2, 5, 5, 1))}, DataError, "shape"),
        ({"model": "none.keras"}, ModelError, "no such file"),
    ],
)
def test_bad_input_is_named(small_model, change, error, word):
    arguments = {"model": small_model, "layer": "second", "maps": [1], **change}
    with pytest.raises(error, match=word):
        oip.reconstruct(arguments.pop("model"), arguments.pop("layer"), **arguments)
    assert issubclass(error, OipError)


def test_more_images_than_memory_holds_are_refused_before_any_work(small_model):
    network = Network(small_model)
    ascent = Ascent(network, MapTargets(network, network.find("second")), ascent_settings(**QUICK))
    with pytest.raises(SettingsError, match="oip batch"):
        grow_oips(ascent, np.arange(70), byte_limit=2 * 70 * (4 + 5) * 256 - 1)
    assert "screening" not in vars(ascent)
    oips = grow_oips(ascent, np.array([3]), byte_limit=2 * 1 * (4 + 5) * 256)
    assert oips.images.nbytes + oips.snapshots.nbytes == 2 * 1 * (4 + 5) * 256


def test_results_show_themselves(small_network):
    oips = oip.reconstruct(small_network, "first", **QUICK)
    assert "data:image/png" in oips._repr_html_()
    assert oips.unseen_pixels == 0
    assert "pixels" not in oips._repr_html_()
    dark = oips.visible.copy()
    dark[12:] = False
    part = replace(oips, visible=dark)
    assert part.unseen_pixels == 64
    assert "sees 192 of 256 pixels" in part._repr_html_()
    assert oips[2].show().size == (16, 16)
    assert len(oips.plot().axes) == 6
    assert oips[2].plot().axes
    with pytest.raises(SettingsError, match="one of 6 from 0 to 5"):
        oips[6]


def test_bands_in_blue_green_red_are_shown_the_other_way_round():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Input((10, 10, 3)), layers.Conv2D(2, 3)])
    network = Network(model)
    network.inputs = network.inputs.with_statistics(preprocess="caffe")
    swapped = oip.reconstruct(network, "@0", **QUICK)
    assert swapped.bgr
    picture = np.asarray(swapped[0].show())
    pixels = swapped[0].image * network.inputs.std + [103.939, 116.779, 123.68]
    np.testing.assert_allclose(picture, pixels[..., ::-1], atol=1)
    stretched = np.asarray(swapped[0].show(enhance=True))
    assert not np.array_equal(stretched, picture)


def test_a_network_is_used_as_it_is(small_model):
    network = Network(small_model)
    oips = oip.reconstruct(network, "first", maps=0, **QUICK)
    assert oips.index == 0
    assert ascent_settings("author").climb_inactive is False


def test_results_have_a_short_representation_and_a_table(small_network):
    oips = oip.reconstruct(small_network, "first", maps=range(4), starts=2, **QUICK)
    text = repr(oips)
    assert text.startswith("Oips('first': 4 maps, 2 starts of 16 x 16 x 1; ")
    best = int(oips.maps[oips.scores[:, 0].argmax()])
    assert f"best: {best} (" in text
    assert len(text) < 200
    assert repr(oips[2]).startswith("MapOip('first': map 2, ")
    table = oips.to_pandas()
    assert table["map"].tolist() == [0, 1, 2, 3]
    assert table["score"].tolist() == pytest.approx(oips.scores[:, 0])
    assert table["verdict"].tolist() == oips.verdicts
