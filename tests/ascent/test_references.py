import numpy as np
import pytest

import oip
from oip.ascent.references import AlignedLayer, Context, References, captured, nearness_slope
from oip.ascent.targets import MapTargets
from oip.core.errors import SettingsError
from oip.core.frameworks import keras, tf
from oip.network.network import Network

QUICK = {"steps": 12, "screened": 8, "starts": 1, "coarse": 0.0}


@pytest.fixture(scope="module")
def color_model():
    keras.utils.set_random_seed(3)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((20, 20, 3)),
            layers.Conv2D(6, 3, activation="relu", name="first"),
            layers.MaxPooling2D(),
            layers.Conv2D(8, 3, activation="relu", name="second"),
            layers.Conv2D(5, 3, activation="relu", name="third"),
        ]
    )


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).normal(size=(60, 20, 20, 3)).astype(np.float32).cumsum(1)


def distance(features, values, weights):
    """The distance as it is defined: sorted values of each map, largest first."""
    ordered = -np.sort(-features.reshape(len(features), -1, features.shape[-1]), axis=1)
    square = np.square(ordered.transpose(0, 2, 1) - values).mean(2)
    return (square * weights).sum(1)


def test_slope_of_alignment_is_the_gradient_of_the_distance_between_sorted_values():
    draw = np.random.default_rng(1)
    features = draw.normal(size=(2, 3, 4, 5)).astype(np.float32)
    values = -np.sort(-draw.normal(size=(2, 5, 12)).astype(np.float32))
    weights = draw.uniform(size=(2, 5)).astype(np.float32)
    slope = AlignedLayer(tf.constant(values), tf.constant(weights)).slope(tf.constant(features))
    for index in [(0, 0, 0, 0), (0, 2, 3, 4), (1, 1, 2, 3)]:
        moved = [features.astype(np.float64) for _ in range(2)]
        moved[0][index] -= 1e-5
        moved[1][index] += 1e-5
        low, high = (distance(part, values, weights)[index[0]] for part in moved)
        assert slope.numpy()[index] == pytest.approx(-(high - low) / 2e-5, rel=1e-3, abs=1e-6)


def test_features_of_the_same_distribution_are_left_as_they_are():
    draw = np.random.default_rng(2)
    values = -np.sort(-draw.normal(size=(1, 4, 9)).astype(np.float32))
    shuffled = np.stack([draw.permutation(row) for row in values[0]], 1)[None].reshape(1, 3, 3, 4)
    layer = AlignedLayer(tf.constant(values), tf.ones((1, 4)))
    np.testing.assert_allclose(layer.slope(tf.constant(shuffled)), 0, atol=1e-7)


def test_slope_of_nearness_is_the_gradient_of_the_mean_distance():
    draw = np.random.default_rng(3)
    features = tf.constant(draw.normal(size=(2, 3, 3, 4)), tf.float32)
    origin = tf.constant(draw.normal(size=(2, 3, 3, 4)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(features)
        lengths = tf.norm(features - origin, axis=-1)
        own = tf.reduce_mean(tf.norm(origin, axis=-1), [1, 2], keepdims=True)
        total = tf.reduce_sum(tf.reduce_mean(lengths / own, [1, 2]))
    expected = -tape.gradient(total, features)
    np.testing.assert_allclose(nearness_slope(features, origin), expected, rtol=1e-4)


def test_captured_tensors_are_the_outputs_and_layers_are_left_as_they_were(color_model, data):
    network = Network(color_model)
    outputs = [layer.response for layer in network.layers]
    before = {layer.name: dict(vars(layer)) for layer in color_model.layers}
    with captured(outputs) as tensors:
        expected = color_model(data[:2])
    assert sorted(tensors) == [0, 1, 2]
    np.testing.assert_array_equal(tensors[2], expected)
    assert {layer.name: dict(vars(layer)) for layer in color_model.layers} == before


def test_relevance_passes_through_normalizations_to_the_convolution_that_they_read():
    keras.utils.set_random_seed(4)
    layers = keras.layers
    entry = layers.Input((9, 8, 3))
    first = layers.Conv2D(5, 3, name="first")(entry)
    branches = [layers.BatchNormalization()(first) for _ in range(2)]
    last = layers.Conv2D(4, 3, activation="relu", name="last")(layers.Add()(branches))
    model = keras.Model(entry, last)
    network = Network(model)
    images = np.random.default_rng(2).normal(size=(3, 9, 8, 3)).astype(np.float32)
    targets = MapTargets(network, network.find("last"))
    references = References(network, targets, images, np.tile(np.arange(3), (4, 1)), ["align"])
    assert [layer.name for layer in references.layers] == ["first"]
    ((aligned,), _) = references.arrays(np.array([2]))
    values = tf.Variable(keras.Model(entry, first)(images))
    with tf.GradientTape() as tape:
        score = tf.reduce_mean(keras.Model(first, last)(values)[..., 2], (1, 2))
    slope = tape.gradient(score, values)
    relevance = np.abs(np.sum(values * slope, (1, 2))).mean(0)
    np.testing.assert_allclose(
        aligned.weights[0] / aligned.weights[0].sum(), relevance / relevance.sum(), rtol=1e-4
    )


def features_of(model, name, images):
    layer = keras.Model(model.inputs, model.get_layer(name).output)
    values = layer(images, training=False).numpy()
    return -np.sort(-values.reshape(len(values), -1, values.shape[-1]), axis=1)


def test_alignment_brings_features_nearer_to_those_of_the_images_that_excite_a_map(
    color_model, data
):
    scores = color_model(data, training=False).numpy().mean((1, 2))
    best = np.argsort(-scores, axis=0, kind="stable")[:8].T  # (maps, 8)
    target = features_of(color_model, "second", data[best.ravel()])
    target = target.reshape(*best.shape, *target.shape[1:]).mean(1)
    quick = QUICK | {"data": data, "preset": "aligned"}
    near, free = (oip.reconstruct(color_model, "third", align=a, **quick) for a in (30.0, 0.0))

    def distances(oips):
        pictures = np.asarray(oips.pixels[:, 0], np.float32)
        return np.square(features_of(color_model, "second", pictures) - target).mean((1, 2))

    assert np.sum(distances(near) < distances(free)) >= 4
    alone = oip.reconstruct(color_model, "third", [3], align=30.0, **quick)
    np.testing.assert_allclose(near.images[3], alone.images[0], atol=2e-2)


@pytest.mark.parametrize("shape", [(2, 6), (2, 3, 4, 6)])
def test_slope_of_the_context_is_the_gradient_of_the_cosine_about_the_mean(shape):
    draw = np.random.default_rng(4)
    features = tf.constant(draw.normal(size=shape), tf.float32)
    directions = draw.normal(size=(2, 6)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    mean, spread = (draw.uniform(0.5, 2, 6).astype(np.float32) for _ in range(2))
    with tf.GradientTape() as tape:
        tape.watch(features)
        means = tf.reduce_mean(features, list(range(1, len(shape) - 1)))
        off = tf.linalg.l2_normalize((means - mean) / spread, axis=1)
        total = tf.reduce_sum(off * directions)
    slope = Context(*map(tf.constant, (directions, mean, spread))).slope(features)
    np.testing.assert_allclose(slope, tape.gradient(total, features), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("has_classes", [True, False])
def test_a_context_brings_the_last_features_nearer_to_those_of_the_best_images(
    color_model, data, has_classes
):
    inputs = keras.Input((20, 20, 3))
    maps = inputs
    for layer in color_model.layers:
        maps = type(layer).from_config(layer.get_config())(maps)
    received = keras.layers.Flatten()(maps)
    model = keras.Model(inputs, keras.layers.Dense(4)(received))
    last = keras.Model(inputs, received)
    if not has_classes:
        model, last = color_model, keras.Model(color_model.inputs, color_model.outputs)

    def features(images):
        values = last(images, training=False).numpy()
        return values.mean((1, 2)) if values.ndim == 4 else values

    first = keras.Model(model.inputs, model.get_layer("first").output)
    scores = first(data, training=False).numpy().mean((1, 2))
    best = np.argsort(-scores, axis=0, kind="stable")[:8].T  # (maps, 8)
    data_features = features(data)
    mean, spread = (
        data_features.mean(0),
        np.maximum(data_features.std(0), 0.1 * data_features.std(0).mean()),
    )

    def directions(images):
        off = (features(images) - mean) / spread
        return off / np.linalg.norm(off, axis=1, keepdims=True)

    aims = directions(data[best.ravel()]).reshape(*best.shape, -1).mean(1)
    quick = QUICK | {"data": data, "preset": "context"}
    near, free = (oip.reconstruct(model, "first", context=c, **quick) for c in (30.0, 0.0))
    likeness = [
        (directions(np.asarray(oips.pixels[:, 0], np.float32)) * aims).sum(1)
        for oips in (near, free)
    ]
    assert np.sum(likeness[0] > likeness[1]) >= 5
    alone = oip.reconstruct(model, "first", [3], context=30.0, **quick)
    np.testing.assert_allclose(near.images[3], alone.images[0], atol=2e-2)


def test_fidelity_keeps_features_nearer_to_those_of_the_image_it_began_with(color_model, data):
    quick = QUICK | {"start": data[0], "rate": 0.3}
    layer = keras.Model(color_model.inputs, color_model.get_layer("second").output)
    distances = []
    for fidelity in (30.0, 0.0):
        oips = oip.reconstruct(color_model, "third", [0, 2], fidelity=fidelity, **quick)
        begun, grown = oips.snapshots[0, 0].astype(np.float32), oips.pixels[:, 0]
        origin = layer((begun * oips.std + oips.mean)[None], training=False).numpy()
        lengths = np.linalg.norm(layer(grown, training=False).numpy() - origin, axis=-1)
        distances.append(lengths.mean())
    assert distances[0] < distances[1]


def test_what_terms_need_is_told(color_model, data):
    for preset in ("aligned", "context"):
        with pytest.raises(SettingsError, match="images of the data, whose features count"):
            oip.reconstruct(color_model, "third", [0], preset=preset, **QUICK)
    with pytest.raises(SettingsError, match="an image to begin with"):
        oip.reconstruct(color_model, "third", [0], fidelity=1.0, **QUICK)
    with pytest.raises(SettingsError, match="coarse=0"):
        coarse = QUICK | {"coarse": 0.5}
        oip.reconstruct(color_model, "third", [0], preset="aligned", data=data, **coarse)


def test_references_of_one_model_in_two_sizes():
    import keras
    from keras import layers

    first = layers.Conv2D(3, 3, activation="relu", name="first")
    model = keras.Sequential(
        [layers.Input((None, None, 1)), first, layers.Conv2D(16, 3, name="second")]
    )
    network = Network(model, input_shape=(12, 12))
    for side in (12, 14):
        images = np.random.default_rng(0).uniform(size=(4, side, side, 1)).astype("float32")
        settings = {"align": 1.0, "starts": 1, "steps": 3, "screened": 4, "references": 2}
        oips = oip.reconstruct(
            network.fitted_to(images), "second", maps=[0], data=images, **settings
        )
        assert oips.images.shape[2:] == (side, side, 1)


def test_features_of_few_items_are_kept(color_model, data):
    network = Network(color_model)
    targets = MapTargets(network, network.find("third"))
    best = np.tile(np.arange(3), (len(targets.can_be_inactive), 1))
    whole = References(network, targets, data, best, ["align"])
    small = References(network, targets, data, best, ["align"], 2 * whole.bytes_per_image)
    for items in ([0, 1, 2, 3], [3, 0]):
        pairs = zip(*(kept.arrays(np.array(items)) for kept in (whole, small)), strict=True)
        for all_kept, few_kept in pairs:
            tf.nest.map_structure(np.testing.assert_array_equal, all_kept, few_kept)
    assert (len(whole._activations), len(small._activations)) == (4, 2)
