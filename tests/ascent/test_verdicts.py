"""Verdicts on maps that are shut, and proofs of death."""

from types import SimpleNamespace

import numpy as np
import pytest

import oip
from oip.ascent.results import REASONS, VERDICTS
from oip.ascent.verdicts import provably_dead, verdict_codes

QUICK = {"steps": 24, "screened": 16, "starts": 2}


def said(
    score,
    reason="budget",
    silent=True,
    active=np.nan,
    data=np.nan,
    white=0.0,
    post=0.0,
    climbed=True,
):
    screening = SimpleNamespace(
        post=np.array([[post]]),
        white=np.array([white]),
        data_active=np.array([active]),
        data_scores=np.array([data]),
    )
    reasons = np.array([REASONS.index(reason)])
    silent = np.array([silent])
    codes = verdict_codes(np.array([0]), np.array([score]), reasons, screening, silent, climbed)
    return VERDICTS[codes[0]]


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        ({"score": np.nan}, "failed"),
        ({"score": 0.0}, "dead"),
        ({"score": 0.0, "active": 0.5, "data": 1.0}, "not reached"),
        # Without the ascent of the pre-activation nothing is known of a map that stays at zero.
        ({"score": 0.0, "climbed": False}, "not reached"),
        ({"score": 0.0, "climbed": False, "active": 0.0, "data": 0.0}, "not reached"),
        ({"score": np.nan, "climbed": False}, "failed"),
        ({"score": 1.0, "climbed": False, "white": 2.0, "post": 2.0}, "responsive"),
        ({"score": 1.0, "active": 0.0, "data": 0.0}, "reachable-only"),
        ({"score": 1.0, "active": 0.0, "data": 0.5}, "reachable-only"),
        ({"score": 1.0}, "revived"),
        ({"score": 1.0, "post": 2.0}, "revived"),
        ({"score": 1.0, "white": 2.0}, "revived"),
        ({"score": 1.0, "white": 2.0, "post": 2.0}, "responsive"),
        # an activation that dips below zero answers there too
        ({"score": 1.0, "active": 0.0, "data": -0.1, "white": -0.1, "post": -0.1}, "responsive"),
        ({"score": -0.1, "white": -0.1, "post": -0.1}, "responsive"),
        # what cannot be silent is not excited by white noise: it has a value for anything
        ({"score": -1.0, "silent": False}, "never silent"),
        ({"score": 0.5, "silent": False, "reason": "stalled"}, "never silent"),
        ({"score": -1.0, "silent": False, "reason": "stalled"}, "not reached"),
        ({"score": 0.0, "silent": False, "reason": "stalled", "active": 0.2}, "dead"),
        ({"score": 0.0, "silent": False, "reason": "stalled", "post": -1.0}, "not reached"),
        # the same for all that was tried, whatever the value
        ({"score": 0.5, "reason": "stalled", "white": 0.5, "post": 0.5}, "dead"),
        ({"score": 0.5, "reason": "stalled", "white": 0.5, "post": 0.5, "silent": False}, "dead"),
        ({"score": 0.5, "reason": "stalled", "white": 0.5, "post": 0.5, "data": 0.7}, "responsive"),
    ],
)
def test_verdicts_follow_from_the_evidence(evidence, verdict):
    assert said(**evidence) == verdict


def shut(activation, after=None):
    """Two maps, the first of them shut by a bias of -30."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(5)
    inputs = layers.Input((12, 12, 1))
    hidden = layers.Conv2D(4, 3, activation="relu")(inputs)
    output = layers.Conv2D(2, 3, activation=activation, name="maps")(hidden)
    model = keras.Model(inputs, output if after is None else after(output))
    maps = model.get_layer("maps")
    kernel, _ = maps.get_weights()
    maps.set_weights([kernel * 40, np.array([-30, 0], "float32")])
    return model


def test_a_shut_map_is_revived_whatever_form_its_relu_has():
    import keras
    from keras import layers

    models = [
        shut("relu"),
        shut(layers.ReLU()),
        shut(lambda values: keras.ops.relu(values)),
        shut(None, keras.ops.relu),
    ]
    result = [oip.reconstruct(model, "maps", **QUICK) for model in models]
    for oips in result:
        assert oips.verdicts == ["revived", "responsive"]
        np.testing.assert_allclose(oips.scores, result[0].scores, rtol=1e-3)


@pytest.mark.parametrize("activation", ["hard_silu", "gelu", "tanh"])
def test_a_map_that_stalls_at_nothing_is_not_responsive(activation):
    oips = oip.reconstruct(shut(activation), "maps", **QUICK)
    assert (oips.verdicts[0] not in ("responsive", "never silent")) or oips.scores[0, 0] > 0
    assert oips.verdicts[1] == ("responsive" if activation == "hard_silu" else "never silent")


def proved(parts, shape=(9, 9, 2), value_range=None, weights=None):
    import keras
    from keras import layers

    model = keras.Sequential([layers.Input(shape), *parts])
    if weights is not None:
        model.get_layer("maps").set_weights(weights)
    network = oip.Network(model)
    if value_range is not None:
        network.inputs = network.inputs.with_statistics(value_range=value_range)
    return network, provably_dead(network, network.find("maps"))


def befores():
    from keras import layers

    return {
        "sigmoid": ([layers.Conv2D(3, 3, activation="sigmoid")], (0.0, 1.0)),
        "tanh": ([layers.Conv2D(3, 3, activation="tanh"), layers.MaxPooling2D()], (-1.0, 1.0)),
        "relu6": ([layers.Conv2D(3, 3), layers.Activation("relu6")], (0.0, 6.0)),
        "relu to 2": ([layers.Conv2D(3, 3), layers.ReLU(max_value=2.0)], (0.0, 2.0)),
        "relu": ([layers.Conv2D(3, 3, activation="relu")], (0.0, np.inf)),
    }


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu6", "relu to 2", "relu"])
def test_bounds_are_those_of_the_activation_before(name):
    """Biases just above and just below what the highest possible sum allows."""
    from keras import layers

    before, (low, high) = befores()[name]
    kernel = np.random.default_rng(1).normal(size=(3, 3, 3, 4)).astype("float32")
    if name == "relu":
        kernel = -np.abs(kernel)
    rows = kernel.reshape(-1, 4).astype(float)
    up = np.where(rows > 0, rows, 0).sum(0) * (high if np.isfinite(high) else 0.0)
    highest = up + np.minimum(rows, 0).sum(0) * low
    bias = -highest + np.array([-1e-3, 1e-3, -1e-3, 1e-3])
    maps = layers.Conv2D(4, 3, activation="relu", name="maps")
    _, result = proved([*before, maps], weights=[kernel, bias.astype("float32")])
    assert result.tolist() == [True, False, True, False]


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_the_first_layer_is_bound_by_the_declared_range(padding):
    """Brute force: images of the extremes reach the highest sum."""
    from keras import layers

    random = np.random.default_rng(0)
    kernel = random.normal(size=(3, 3, 2, 40)).astype("float32")
    bias = random.uniform(-30, 0, 40).astype("float32")
    low, high = 0.5, 3.0
    if padding == "same":  # zeros around the image count as well
        extremes = np.where(kernel > 0, high, 0.0)
    else:
        extremes = np.where(kernel > 0, high, low)
    highest = (kernel * extremes).sum((0, 1, 2)) + bias
    layer = layers.Conv2D(40, 3, padding=padding, activation="relu", name="maps")
    network, result = proved([layer], value_range=(low, high), weights=[kernel, bias])
    assert result.tolist() == (highest <= 0).tolist()
    assert 0 < result.sum() < 40
    images = random.uniform(low, high, (500, 9, 9, 2)).astype("float32")
    assert not np.asarray(network.model(images))[..., result].any()
    undeclared = layers.Conv2D(40, 3, activation="relu", name="maps")
    assert not proved([undeclared], weights=[kernel, bias])[1].any()


def test_range_and_normalisation_of_the_input_count():
    from keras import layers

    kernel = np.ones((1, 1, 2, 2), "float32")
    bias = np.array([-4.1, -3.9], "float32")
    for scale in (
        layers.Rescaling(2 / 255),
        layers.Normalization(mean=[0.0, 0.0], variance=[127.5**2, 127.5**2]),
    ):
        maps = layers.Conv2D(2, 1, activation="relu", name="maps")
        _, result = proved([scale, maps], value_range=(0.0, 255.0), weights=[kernel, bias])
        assert result.tolist() == [True, False]


def test_nothing_is_proved_of_other_activations_or_broken_weights():
    from keras import layers

    kernel = -np.ones((3, 3, 3, 2), "float32")
    bias = np.array([-1.0, -1.0], "float32")
    before = layers.Conv2D(3, 3, activation="relu")
    for activation, shift in (("gelu", 0.0), ("hard_sigmoid", 0.0), ("relu", np.nan)):
        maps = layers.Conv2D(2, 3, activation=activation, name="maps")
        broken = kernel.copy()
        broken[0, 0, 0, 0] += shift
        _, result = proved([before, maps], weights=[broken, bias])
        assert result.tolist() == ([False, True] if activation == "relu" else [False, False])
        before = layers.Conv2D(3, 3, activation="relu")


def test_a_preset_that_does_not_climb_the_pre_activation_calls_no_map_dead():
    model = shut("relu")
    author = oip.reconstruct(model, "maps", preset="author", **QUICK)
    assert author.verdicts == ["not reached", "responsive"]
    assert not author.alive[0]
    data = np.random.default_rng(0).normal(size=(8, 12, 12, 1)).astype("float32")
    beside = oip.reconstruct(model, "maps", preset="author", data=data, **QUICK)
    assert beside.verdicts == ["not reached", "responsive"]


def test_linear_maps_and_constants_are_not_called_responsive():
    model = shut(None)
    assert oip.reconstruct(model, "maps", **QUICK).verdicts == ["never silent"] * 2
    maps = model.get_layer("maps")
    kernel, _ = maps.get_weights()
    kernel[..., 0] = 0
    maps.set_weights([kernel, np.array([0.5, 0], "float32")])
    assert oip.reconstruct(model, "maps", **QUICK).verdicts == ["dead", "never silent"]


def test_nothing_is_proved_of_classes_of_the_users():
    """Their weights do not say what they give: here only deviations from the mean count."""
    from keras import layers, ops

    class Centered(layers.Conv2D):
        def convolution_op(self, inputs, kernel):
            kernel = ops.convert_to_tensor(kernel)
            return super().convolution_op(inputs, kernel - ops.mean(kernel))

    class Lowered(layers.Conv2D):
        def call(self, inputs):
            return super().call(inputs) - 5.0

    relu = {"activation": "relu"}
    negative = [-np.abs(np.random.default_rng(0).normal(size=(3, 3, 3, 2))), np.full(2, -0.1)]
    plain = layers.Conv2D(3, 3, **relu), layers.Conv2D(2, 3, name="maps", **relu)
    assert proved(plain, weights=negative)[1].all()
    for before, maps in ((plain[0], Centered), (Lowered(3, 3, **relu), layers.Conv2D)):
        network, dead = proved([before, maps(2, 3, name="maps", **relu)], weights=negative)
        images = np.random.default_rng(0).normal(size=(20, 9, 9, 2)).astype("float32")
        assert network.model(images).numpy().max() > 0
        assert not dead.any()


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_what_is_done_to_a_response_before_it_is_read_counts_in_a_proof(shift):
    import keras
    from keras import layers, ops

    class Shifted(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Conv2D(3, 3)
            self.shift = self.add_weight(shape=(3,), initializer="ones")
            self.maps = layers.Conv2D(2, 3, activation="relu", name="maps")

        def call(self, images):
            values = ops.relu(self.first(images))
            return self.maps(values - shift * self.shift if shift else values)

    model = Shifted()
    images = np.random.default_rng(0).normal(size=(20, 9, 9, 1)).astype("float32")
    model(images)
    kernel, _ = model.maps.get_weights()
    model.maps.set_weights([-np.abs(kernel), np.full(2, -0.1)])
    network = oip.Network(model)
    dead = provably_dead(network, network.find("maps"))
    assert dead.all() == (model(images).numpy().max() == 0) == (shift == 0)
