import dataclasses
import functools

import numpy as np
import pytest

import oip
from oip.ascent.gradient_ascent import GradientAscent, snapshot_steps
from oip.ascent.masks import visible_masks
from oip.ascent.noise import Noise
from oip.ascent.parameterization import DataStatistics
from oip.ascent.reconstruction import Ascent, images_at_once, reconstruct
from oip.ascent.results import REASONS
from oip.ascent.screening import screen
from oip.ascent.settings import ascent_settings
from oip.ascent.targets import MapTargets
from oip.core.errors import Notice, SettingsError
from oip.network.forward import map_blocks
from oip.network.network import Network

QUICK = {"steps": 24, "screened": 48}


def visible_pixels(network, targets):
    """(h, w) bool: pixels with influence on the layer."""
    return visible_masks(network, targets, 0).any(0)


def climber(network, layer, **settings):
    network = network if isinstance(network, Network) else Network(network)
    info = network.find(layer)
    targets = MapTargets(network, info)
    visible = visible_pixels(network, targets)
    statistics = DataStatistics.for_input(network.inputs, None)
    return GradientAscent(network, targets, ascent_settings(**settings), visible, statistics)


def starts(count, shape=(16, 16, 1)):
    return Noise(shape).images(0, 0, np.arange(count))[0]


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 120, 1000])
def test_snapshots_begin_at_the_noise_and_end_at_the_last_step(steps):
    result = snapshot_steps(steps)
    assert (result[0], result[-1]) == (0, steps)
    assert result == sorted(set(result))
    assert len(result) <= 8


def test_scores_rise_and_the_best_image_is_the_one_that_is_kept(small_network):
    climbing = climber(small_network, "second", steps=60, tolerance=0.0)
    result = climbing.climb(starts(10), np.arange(10))
    assert np.all(result.scores > result.traces[:, 0])
    np.testing.assert_allclose(result.scores, np.nanmax(result.traces, 1), rtol=1e-6)
    repeated = climbing.climb(result.images, np.arange(10))
    np.testing.assert_allclose(repeated.traces[:, 0], result.scores, rtol=2e-3)
    assert np.array_equal(result.snapshots[:, -1], result.images.astype(np.float16))


def test_images_keep_mean_and_deviation_over_visible_pixels(small_network):
    climbing = climber(small_network, "second", steps=20)
    result = climbing.climb(starts(4), np.arange(4))
    view = result.images[:, climbing.visible]
    np.testing.assert_allclose(view.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(view.std((1, 2)), 1, rtol=1e-4)


def test_pixels_that_the_layer_never_sees_are_found(small_model):
    network = Network(small_model)
    first = visible_pixels(network, MapTargets(network, network.find("first")))
    second = visible_pixels(network, MapTargets(network, network.find("second")))
    assert first.all()
    assert second.all()  # 16 -> 14 -> 7 -> 5: all rows are seen

    import keras
    from keras import layers

    parts = [layers.Input((15, 15, 1)), layers.Conv2D(2, 3), layers.MaxPooling2D()]
    odd = Network(keras.Sequential([*parts, layers.Conv2D(2, 3)]))
    view = visible_pixels(
        odd, MapTargets(odd, odd.layers[-1])
    )  # 15 -> 13 -> 6: pooling drops a row
    assert view[:14, :14].all()
    assert not view[14:].any()
    assert not view[:, 14:].any()


def test_images_do_not_mix(small_network):
    climbing = climber(small_network, "second", steps=25)
    together = climbing.climb(starts(6), np.array([3, 9, 3, 64, 0, 1]))
    alone = climbing.climb(starts(6)[1:2], np.array([9]))
    np.testing.assert_allclose(alone.traces[0], together.traces[1], rtol=1e-3)


def test_a_climb_repeats_bit_by_bit(small_network):
    climbing = climber(small_network, "second", steps=40)
    first = climbing.climb(starts(8), np.arange(8))
    second = climbing.climb(starts(8), np.arange(8))
    for name, value in vars(first).items():
        assert np.array_equal(value, vars(second)[name], equal_nan=True), name


def test_images_retire_when_they_gain_no_more(small_network):
    climbing = climber(small_network, "first", steps=400, blur=0.0, tolerance=0.01)
    result = climbing.climb(starts(12), np.arange(12) % 6)
    ended = result.reasons == REASONS.index("converged")
    assert ended.any()
    assert np.all(result.steps[ended] < 400)
    for row in np.flatnonzero(ended):
        assert np.isnan(result.traces[row, result.steps[row] :]).all()
        assert np.isfinite(result.traces[row, : result.steps[row]]).all()
    full = climber(small_network, "first", steps=400, blur=0.0, tolerance=0.0)
    longer = full.climb(starts(12), np.arange(12) % 6)
    assert np.all(result.scores >= 0.95 * longer.scores)


def test_a_map_without_gradient_stalls_and_nan_fails(plant):
    model = plant([0.0, 0.0, 0.0])
    kernel, bias = model.get_layer("maps").get_weights()
    kernel[..., 1] = 0.0
    kernel[..., 2] = np.nan
    model.get_layer("maps").set_weights([kernel, bias])
    climbing = climber(model, "maps", steps=30)
    result = climbing.climb(starts(3, (12, 12, 1)), np.arange(3))
    message = [REASONS[code] for code in result.reasons]
    assert message[1] == "stalled"
    assert message[0] in ("budget", "converged")
    assert np.isfinite(result.scores[0])
    oips = reconstruct(model, "maps", steps=30, screened=16)
    assert oips.verdicts == ["responsive", "dead", "failed"]


def test_inactive_maps_are_reached_by_their_pre_activation_only(plant):
    model = plant([-30.0, 0.0], scale=40.0)
    network = Network(model)
    settings = ascent_settings(screened=32)
    screening = screen(network, MapTargets(network, network.find("maps")), settings)
    assert screening.post[:, 0].max() == 0
    first = starts(4, (12, 12, 1))
    default = climber(model, "maps", steps=60).climb(first, np.zeros(4, int))
    author = climber(model, "maps", steps=60, preset="author").climb(first, np.zeros(4, int))
    assert default.scores.max() > 0
    assert author.scores.max() == 0


@pytest.mark.alone
def test_a_batch_that_shrinks_is_not_traced_again(small_model):
    network = Network(small_model)
    targets = MapTargets(network, network.find("first"))
    settings = ascent_settings(steps=400, blur=0.0, tolerance=0.01)
    climber = GradientAscent(network, targets, settings, np.ones((16, 16), bool))
    once = network.graphs.traced
    assert once > 0
    noise, _ = Noise((16, 16, 1)).images(0, 0, np.arange(12))
    result = climber.climb(noise, np.arange(12) % 6)
    assert len(np.unique(result.steps)) > 2
    assert (result.reasons == REASONS.index("converged")).any()
    climber.climb(noise[:5], np.arange(5), "peak")
    assert network.graphs.traced == once


@pytest.mark.alone
def test_a_layer_is_traced_once_whatever_it_is_climbed_with(small_model, small_images):
    """One forward graph, one of the ascent."""
    network = Network(small_model)
    oip.reconstruct(network, "second", maps=[3], **QUICK)
    assert network.graphs.traced == 2
    more = {"starts": 2, "rate": 0.7, "rate_up": 1.3, "rate_down": 0.5, "warmup": 3, "seed": 5}
    more |= {"blur": 0.4, "blur_end": 0.2, "blur_every": 3, "climb_inactive": False}
    more |= {"patience": 5, "tolerance": 0.01, "steps": 9, "screened": 32, "noise": "white"}
    oip.reconstruct(network, "second", maps=range(5), **more)
    oip.responses(network, small_images[0][:3], "second")
    oip.locate(network, small_images[0], "second", maps=[1], patterns=False)
    next(map_blocks(network, small_images[0].astype("float32"), network.find("second")))
    assert network.graphs.traced == 2
    network.inputs = dataclasses.replace(network.inputs, low=float("nan"), high=float("nan"))
    oip.reconstruct(network, "second", maps=[3], **QUICK)
    assert network.graphs.traced == 2  # a range that is not known is the same one
    oip.reconstruct(network, "second", maps=[3], total_variation=0.1, **QUICK)
    oip.reconstruct(network, "second", maps=[3], total_variation=0.2, **QUICK)
    assert network.graphs.traced == 3


@pytest.mark.alone
@pytest.mark.parametrize(
    "first, second",
    [
        (("node:4@1,2", "node:5@0,0 - node:1@1,1"), ("node:60@3,2", "node:1@1,1")),
        (("class:1 - class:2", "-class:3"), ("0.5*class:0 + class:1",)),
    ],
)
def test_objectives_of_one_kind_share_a_graph(small_model, first, second):
    network = Network(small_model)
    oip.reconstruct(network, "second", objective=first, **QUICK)
    once = network.graphs.traced
    oip.reconstruct(network, "second", objective=second, seed=1, **QUICK)
    assert network.graphs.traced == once == 2


@pytest.mark.alone
def test_a_kept_graph_gives_what_a_new_one_gives(small_model):
    settings = {"maps": range(4), "rate": 0.7, "blur_end": 0.0, "seed": 3, **QUICK}
    network = Network(small_model)
    oip.reconstruct(network, "second", **QUICK)
    kept = oip.reconstruct(network, "second", **settings)
    new = oip.reconstruct(Network(small_model), "second", **settings)
    np.testing.assert_array_equal(kept.images, new.images)
    np.testing.assert_array_equal(kept.traces, new.traces)


def test_progress_moves_within_a_layer_and_ends_once(small_network):
    reports = []

    def progress(label, done, total):
        reports.append((label, done, total))

    settings = {**QUICK, "starts": 2, "steps": 40, "tolerance": 0.0}
    oip.reconstruct(small_network, "second", maps=range(12), progress=progress, **settings)
    screening = [done for label, done, _ in reports if label == "second: screening"]
    assert screening[0] == 0
    assert screening[-1] == QUICK["screened"] * 2
    maps = [done for label, done, total in reports if (label, total) == ("second: maps", 12)]
    assert maps == sorted(maps)
    assert maps[0] == 0
    assert maps[-1] == 12
    assert maps.count(12) == 1
    assert len(np.unique(maps)) > 8  # by step: the check after every fifth, and the first
    assert np.diff(maps).max() < 4


def test_a_slow_graph_is_left_between_checks_and_gives_the_same(small_network):
    climbing = climber(small_network, "second", steps=40)
    whole, halves = [], []
    at_once = climbing.climb(starts(8), np.arange(8), report=whole.append)
    climbing.seconds_in_graph = 0.0
    step_by_step = climbing.climb(starts(8), np.arange(8), report=halves.append)
    assert len(halves) > 2 * len(whole)
    for name, value in vars(at_once).items():
        assert np.array_equal(value, vars(step_by_step)[name], equal_nan=True), name


def test_a_chunk_has_as_many_images_as_the_budget_holds(small_model):
    network = Network(small_model)
    targets = MapTargets(network, network.find("second"))
    climber = GradientAscent(network, targets, ascent_settings(), np.ones((16, 16), bool))
    for budget, room in ((1, 1), (5 * climber.bytes_per_image(), 5), (1 << 40, 128)):
        assert images_at_once(climber, budget) == room


def test_one_map_at_a_time_is_what_all_of_them_together_are(small_model, monkeypatch):
    network, maps = Network(small_model), np.arange(40, 64)
    settings = ascent_settings(starts=2, **QUICK)
    layer = network.find("second")
    together = Ascent(network, MapTargets(network, layer), settings).grow(maps)
    climbs = []
    climb = GradientAscent.climb

    def counted(climber, starts, *arguments):
        climbs.append(len(starts))
        return climb(climber, starts, *arguments)

    monkeypatch.setattr(GradientAscent, "climb", counted)
    alone = Ascent(network, MapTargets(network, layer), settings, byte_budget=1).grow(maps)
    assert len(climbs) >= 24
    assert max(climbs) == 2  # the starts of one map stay together
    assert alone.verdicts == together.verdicts
    np.testing.assert_allclose(alone.scores[:, 0], together.scores[:, 0], rtol=0.01)


@functools.cache
def color_network():
    import keras

    keras.utils.set_random_seed(3)
    inputs = keras.Input((12, 12, 3))
    values = keras.layers.Rescaling(1 / 255)(inputs)
    values = keras.layers.Conv2D(4, 3, activation="relu", name="first")(values)
    return Network(keras.Model(inputs, values))


def color_climber(**settings):
    return climber(color_network(), "first", preset="natural", **settings)


def test_natural_images_are_pictures_and_scored_as_these():
    climbing = color_climber(steps=12)
    items = np.array([0, 1, 3, 3])
    result = climbing.climb(starts(4, (12, 12, 3)), items)
    spec = climbing.network.inputs
    pixels = result.images * spec.std + spec.mean
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-3)
    assert pixels.min() > -1e-3 and pixels.max() < 255 + 1e-3
    response = climbing.network.model(np.round(pixels)).numpy().mean((1, 2))
    np.testing.assert_allclose(result.scores, response[np.arange(4), items], rtol=1e-4)
    np.testing.assert_allclose(result.traces[:, -1], result.scores)
    assert np.all(result.steps == 12) and np.all(result.scores > result.traces[:, 0])


def test_classes_alone_are_climbed_in_mirrored_looks():
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    inputs = keras.Input((12, 12, 3))
    values = layers.Conv2D(4, 3, activation="relu", name="conv")(layers.Rescaling(1 / 255)(inputs))
    units = layers.Dense(3, activation="relu", name="units")(layers.Flatten()(values))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(units))

    def pixels(mirror, *layer, **chosen):
        settings = {"preset": "natural", "steps": 4, "starts": 1, "screened": 2, "mirror": mirror}
        return oip.reconstruct(model, *layer, **chosen, **settings).pixels

    for mirrored, layer, objective in (
        (False, ["conv", [1]], {}),
        (False, [], {"objective": "map:conv:1 + class:0"}),
        (True, ["units", [1]], {}),
        (True, [], {"objective": "class:1"}),
    ):
        images = {value: pixels(value, *layer, **objective) for value in ("classes", True, False)}
        assert np.array_equal(images["classes"], images[mirrored])
        assert not np.array_equal(images["classes"], images[not mirrored])
    with pytest.raises(SettingsError, match="mirror: expected true, false or classes"):
        pixels("always", "conv", [1])


def test_rate_falls_over_the_second_half_of_the_ascent():
    noise, items = starts(4, (12, 12, 3)), np.arange(4)
    constant, falling = (
        color_climber(steps=40, rate_end=end).climb(noise, items) for end in (None, 0.0)
    )
    half, last = snapshot_steps(40).index(20), -1
    np.testing.assert_array_equal(constant.snapshots[:, half], falling.snapshots[:, half])
    moved = [
        np.square(result.snapshots[:, last] - result.snapshots[:, half].astype(float)).mean()
        for result in (constant, falling)
    ]
    assert moved[1] < moved[0]


def test_several_looks_are_the_mean_of_their_gradients():
    unmoved = {"steps": 1, "scale": 0.0, "rotation": 0.0}
    climber = color_climber(jitter=0, looks=1, **unmoved)
    two = color_climber(jitter=0.07, looks=2, **unmoved)
    noise, items = starts(4, (12, 12, 3)), np.arange(4)
    assert two.bytes_per_image() > climber.bytes_per_image()
    result = two.climb(noise, items)
    assert result.images.shape == (4, 12, 12, 3) and np.isfinite(result.scores).all()
    # opposite shifts of a step and the next: two looks in climber step, and the mean of both
    single = color_climber(jitter=0.07, looks=1, **unmoved).climb(noise, items)
    assert not np.array_equal(result.images, single.images)


def test_coarse_steps_are_taken_where_the_model_takes_smaller_images():
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)
    parts = [layers.Input((24, 24, 1)), layers.Conv2D(4, 3, activation="relu", name="conv")]
    free = keras.Sequential([*parts, layers.GlobalAveragePooling2D(), layers.Dense(3)])
    fixed = keras.Sequential([*parts, layers.Flatten(), layers.Dense(3)])
    quick = {"steps": 20, "screened": 4, "starts": 1, "keep": "last", "rate": 0.1}
    for model, objective, differs in (
        (free, "class:1", True),
        (fixed, "class:1", False),
        (free, "node:1@20,20", False),
        (fixed, "map:1", True),
    ):
        whole, coarse = (
            oip.reconstruct(model, "conv", objective=objective, coarse=share, **quick)
            for share in (0.0, 0.5)
        )
        assert (whole.images != coarse.images).any() == differs
        assert coarse.scores[0, 0] > whole.scores[0, 0] - 0.15
        assert np.isfinite(coarse.traces).all()
    spec = free.input_spec
    assert spec is None or free(np.zeros((1, 24, 24, 1), np.float32)).shape == (1, 3)
    with pytest.raises(SettingsError, match="keep=last"):
        oip.reconstruct(free, "conv", coarse=0.5)


def test_images_without_a_gradient_are_scored_as_they_are_kept():
    import keras
    from keras import layers

    import oip

    normalization = layers.Normalization(mean=[120.0] * 3, variance=[60.0**2] * 3)
    flat = layers.Conv2D(1, 3, kernel_initializer="zeros", bias_initializer="ones")
    model = keras.Sequential([layers.Input((12, 12, 3)), normalization, flat])
    oips = oip.reconstruct(model, "@0", preset="natural", steps=12)
    assert oips.steps.tolist() == [[12, 12]]
    levels = oips.pixels.astype(float)
    assert np.abs(levels - np.round(levels)).max() < 0.1
    assert oips.scores.tolist() == [[1.0, 1.0]]


def test_noise_that_fades_leaves_no_trace(small_network):
    noise = starts(6)
    for fade, least, most in ((0.0, 0.2, 1.0), (0.5, 0.0, 0.1)):
        climbing = climber(
            small_network, "second", steps=24, keep="last", fade=fade, rate=0.1, warmup=0, blur=0.0
        )
        images = climbing.climb(noise, np.arange(6)).images
        left = np.abs((images * noise).mean((1, 2, 3)))
        assert least <= left.mean() <= most


def test_images_keep_what_does_not_fade(small_network):
    noise = starts(3)
    climbing = climber(small_network, "second", steps=12, keep="last", fade=0.5, rate=0.05)
    kept = climbing.climb(noise, np.arange(3), noise=np.zeros_like(noise)).images
    assert np.all((kept * noise).mean((1, 2, 3)) > 0.5)


def test_a_graph_knows_how_pictures_are_seen():
    """Mean 0 and deviation 1 that are told are those of prepared photographs, which have ends."""
    import keras
    from keras import layers

    network = Network(keras.Sequential([layers.Input((12, 12, 3)), layers.Conv2D(2, 3, name="c")]))
    natural = {"maps": [0], "preset": "natural", "steps": 6, "starts": 1}
    with pytest.warns(Notice):
        assumed = oip.reconstruct(network, "c", **natural)
    network.inputs = network.inputs.with_statistics((0.0,), (1.0,))
    stated = oip.reconstruct(network, "c", **natural)
    once = Network(network.model)
    once.inputs = network.inputs
    np.testing.assert_array_equal(stated.images, oip.reconstruct(once, "c", **natural).images)
    assert not np.array_equal(stated.images, assumed.images)
