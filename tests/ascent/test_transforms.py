import numpy as np
import pytest

import oip
from oip.ascent.settings import ascent_settings
from oip.ascent.transforms import residual_blocks, thinned, transform_of
from oip.core.errors import SettingsError


def look(steps, shape=(20, 20, 1), **settings):
    """A delta in the middle as it is looked at over steps, and where it went."""
    import tensorflow as tf

    images = np.zeros((1, *shape), np.float32)
    images[(0, *(side // 2 for side in shape[:-1]))] = 1.0
    transform = transform_of(ascent_settings(**settings), shape, 3)
    assert transform is not None
    return np.stack(
        [transform(tf.constant(images), tf.constant(step)).numpy()[0] for step in range(steps)]
    )


def test_without_transforms_there_is_none():
    assert transform_of(ascent_settings(), (20, 20, 1), 0) is None


def test_jitter_has_mean_zero_and_reaches_its_bounds():
    visible = look(60, jitter=2)
    indices = np.array([np.unravel_index(item[..., 0].argmax(), (20, 20)) for item in visible]) - 10
    assert np.array_equal(indices[::2], -indices[1::2])
    assert indices.min() == -2
    assert indices.max() == 2
    assert np.allclose(visible.sum((1, 2, 3)), 1)


def test_jitter_of_lines_and_of_several_bands():
    assert look(4, shape=(20, 3), jitter=3).shape == (4, 20, 3)
    assert look(4, shape=(20, 9, 2), jitter=30).shape == (4, 20, 9, 2)


def test_turns_and_scales_are_about_the_middle_and_bounded():
    import tensorflow as tf

    images = np.zeros((1, 41, 41, 1), np.float32)
    images[0, 20, 35] = 1.0
    transform = transform_of(ascent_settings(rotation=10, scale=0.1), (41, 41, 1), 1)
    angles, radii = [], []
    for step in range(40):
        visible = transform(tf.constant(images), tf.constant(step)).numpy()[0, ..., 0]
        rows, columns = np.mgrid[:41, :41] - 20.0
        row, column = (
            (visible * rows).sum() / visible.sum(),
            (visible * columns).sum() / visible.sum(),
        )
        angles.append(np.rad2deg(np.arctan2(row, column)))
        radii.append(np.hypot(row, column))
    assert 4 < np.abs(angles).max() < 10.5
    assert 15 / 1.12 < min(radii) < 14.5
    assert 15.5 < max(radii) < 15 * 1.12
    assert np.mean(angles) == pytest.approx(0, abs=0.3)


def test_lines_cannot_be_turned():
    with pytest.raises(SettingsError, match="two spatial axes"):
        transform_of(ascent_settings(rotation=5), (20, 1), 0)


def test_the_score_is_of_the_image_itself_not_of_how_it_was_looked_at(small_model):
    oips = oip.reconstruct(
        small_model, "first", maps=[0, 1, 2], steps=30, screened=32, jitter=2, rotation=8.0
    )
    plain = small_model.layers[1]((oips.pixels[:, 0] - 40) / 80).numpy().mean((1, 2))
    alive = oips.scores[:, 0] > 0
    np.testing.assert_allclose(np.diagonal(plain)[alive], oips.scores[alive, 0], rtol=0.01)


def test_grouping_changes_little_with_transforms(small_network):
    settings = {"steps": 20, "screened": 32, "jitter": 2}
    whole = oip.reconstruct(small_network, "second", maps=range(8), **settings)
    part = oip.reconstruct(small_network, "second", maps=[3], **settings)
    assert part[3].score == pytest.approx(whole[3].score, rel=0.01)


def test_a_smaller_image_shows_the_same_part():
    import tensorflow as tf

    rows, columns = np.mgrid[:24, :40].astype(np.float32)
    images = np.stack([rows, columns], -1)[None]
    unmoved = transform_of(ascent_settings(), (24, 40, 2), 0, (12, 20, 2))
    assert unmoved is not None
    halved = unmoved(tf.constant(images), tf.constant(0)).numpy()[0]
    expected = rows[1:-1:2, 1:-1:2][:-1, :-1] + 1.5
    np.testing.assert_allclose(halved[1:-1, 1:-1, 0], expected, atol=0.01)
    np.testing.assert_allclose(halved[..., 1].mean(), columns.mean(), atol=0.6)
    turned = [
        transform_of(ascent_settings(rotation=20, scale=0.3), (24, 40, 2), 1, size)
        for size in (None, (12, 20, 2))
    ]
    whole, half = (part(tf.constant(images), tf.constant(4)).numpy()[0] for part in turned if part)
    inner = (slice(4, 8), slice(6, 14))
    coarse = whole.reshape(12, 2, 20, 2, 2).mean((1, 3))
    np.testing.assert_allclose(half[inner], coarse[inner], atol=0.02)


def test_crops_show_a_quarter_of_the_image_somewhere():
    visible = look(40, shape=(40, 40, 1), crop=0.25)
    plain = visible[:, 8:-8, 8:-8].sum((1, 2, 3))
    assert 0.2 < (plain > 1.0).mean() < 0.95  # a delta, enlarged twice, or outside of the crop
    assert np.allclose(visible.sum((1, 2, 3))[plain > 1.0].max(), 4.0, atol=0.5)
    with pytest.raises(SettingsError, match="two spatial axes"):
        transform_of(ascent_settings(crop=0.5), (20, 1), 0)


def test_every_second_look_is_mirrored():
    import tensorflow as tf

    images = np.random.default_rng(0).random((1, 6, 8, 2), np.float32)
    transform = transform_of(ascent_settings(mirror=True), (6, 8, 2), 5)
    assert transform is not None
    looks = [transform(tf.constant(images), tf.constant(step)).numpy() for step in range(12)]
    turned = [np.allclose(look, images[:, :, ::-1], atol=1e-6) for look in looks]
    plain = [np.allclose(look, images, atol=1e-6) for look in looks]
    assert np.array_equal(turned, ~np.array(plain))
    assert np.array_equal(turned[::2], plain[1::2])
    assert 0 < sum(turned[::2]) < 6
    with pytest.raises(SettingsError, match="two spatial axes"):
        transform_of(ascent_settings(mirror=True), (20, 1), 0)


def residual_network():
    """Two residual blocks that add 1 and 10 to their input, and an addition that is none."""
    import keras

    image = keras.Input((4, 4, 1))
    first = keras.layers.Rescaling(1.0, name="scaled")(image)
    residual = keras.layers.Add(name="one")([keras.layers.Rescaling(0.0, 1.0)(first), first])
    ten = keras.layers.Add(name="ten")([residual, keras.layers.Rescaling(0.0, 10.0)(residual)])
    both = [keras.layers.Rescaling(0.5)(ten), keras.layers.Rescaling(0.5)(ten)]
    return keras.Model(image, keras.layers.Add(name="halves")(both))


def test_residual_blocks_are_left_out_look_by_look():
    import tensorflow as tf

    model = residual_network()
    blocks = residual_blocks(oip.Network(model).calls)
    assert [(block.layer.name, block.branch, block.depth) for block in blocks] == [
        ("one", 0, 0.5),
        ("ten", 1, 1.0),
    ]
    responses = []
    for step in range(200):
        with thinned(blocks, tf.constant(0.4), 2, 3, tf.constant(step)):
            responses.append(model(np.zeros((6, 4, 4, 1), np.float32)).numpy()[:, 0, 0, 0])
    looks = np.array(responses).reshape(200, 2, 3)
    assert np.ptp(looks, axis=2).max() == 0  # the same blocks for all images of a look
    looks = looks[..., 0]
    expected = [0, 1 / 0.8, 10 / 0.6, 1 / 0.8 + 10 / 0.6]
    assert np.abs(looks[..., None] - expected).min(-1).max() < 1e-4
    assert looks.mean() == pytest.approx(11, abs=0.6)
    assert ((looks > 10).any(1)).all()  # not both looks without the same block
    assert model(np.zeros((1, 4, 4, 1), np.float32)).numpy()[0, 0, 0, 0] == 11


def test_branches_pass_on_a_share_of_their_gradient():
    import keras
    import tensorflow as tf

    image = keras.Input((2, 2, 1))
    first = keras.layers.Rescaling(1.0)(image)
    model = keras.Model(image, keras.layers.Add()([first, keras.layers.Rescaling(3.0)(first)]))
    blocks = residual_blocks(oip.Network(model).calls)
    images = tf.ones((1, 2, 2, 1))
    quiet = blocks, tf.constant(0.0), 1, 0, tf.constant(0)
    for share, slope in ((1.0, 4.0), (0.5, 2.5), (0.0, 1.0)):
        with tf.GradientTape() as tape, thinned(*quiet, share):
            tape.watch(images)
            values = model(images)
        assert values.numpy().tolist() == [[[[4.0]] * 2] * 2]
        assert np.asarray(tape.gradient(values, images)).ravel().tolist() == [slope] * 4


def test_an_ascent_without_some_blocks_scores_the_whole_network():
    import keras

    image = keras.Input((8, 8, 1))
    first = keras.layers.Conv2D(4, 3, padding="same", name="first")(image)
    branch = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(first)
    added = keras.layers.Add(name="added")([branch, first])
    model = keras.Model(image, keras.layers.Conv2D(4, 3, name="last")(added))
    options = {"steps": 6, "screened": 8, "starts": 1, "maps": [0, 1], "rate_up": 1.0}
    options |= {"rate_down": 1.0, "rate": 0.1, "looks": 2, "blur": 0.0}
    thin, whole = (
        oip.reconstruct(model, "last", keep=keep, drop_path=share, **options)
        for keep, share in (("last", 0.6), ("last", 0.0))
    )
    assert np.abs(thin.pixels - whole.pixels).max() > 1e-3
    best = oip.reconstruct(model, "last", drop_path=0.6, **options)
    for oips in (thin, best):
        own = model(oips.pixels[:, 0]).numpy().mean((1, 2))
        np.testing.assert_allclose(np.diagonal(own), oips.scores[:, 0], rtol=0.01)
