import numpy as np
import pytest

import oip
from oip.ascent.regularizers import blur_radius, blurred, likeness, norm_slope, variation_slope

QUICK = {"steps": 40, "screened": 32, "starts": 2}


@pytest.mark.parametrize("shape", [(2, 6, 5, 2), (2, 9, 1)])
def test_slopes_are_gradients(shape):
    """Against automatic differentiation of the quantities themselves."""
    import tensorflow as tf

    images = tf.constant(np.random.default_rng(0).normal(size=shape), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        rough = tf.zeros([])
        for axis in range(1, len(shape) - 1):
            step = tf.experimental.numpy.diff(images, axis=axis)
            rough += tf.reduce_sum(tf.sqrt(tf.square(step) + 1e-3))
        extreme = tf.reduce_sum(tf.abs(images) ** 6) / 6
    np.testing.assert_allclose(
        variation_slope(images).numpy(), tape.gradient(rough, images).numpy(), atol=1e-5
    )
    np.testing.assert_allclose(
        norm_slope(images, 6.0).numpy(), tape.gradient(extreme, images).numpy(), rtol=1e-3
    )


def test_likeness_is_one_for_moved_copies_and_less_for_others():
    random = np.random.default_rng(0)
    item, other = (np.abs(random.normal(size=(1, 12, 5))) for _ in range(2))
    other[..., :3] = 0
    moved = np.roll(item, 3, axis=1)
    features = np.concatenate([item, moved, other, item]).astype("float32")
    alike = likeness(features, np.array([0, 0, 1, 2])).numpy()
    assert alike[:2] == pytest.approx([1, 1], abs=1e-5)
    assert alike[2:] == pytest.approx([0, 0])  # alone in their group
    assert likeness(features, np.array([0, 1, 0, 1])).numpy()[0] < 0.9


def test_regularisers_do_what_they_are_for(small_network):
    def grown(**settings):
        oips = oip.reconstruct(
            small_network, "second", maps=range(10), blur=0.0, **QUICK, **settings
        )
        return oips, oips.images[:, 0].astype(float)

    _, plain = grown()
    _, smooth_image = grown(total_variation=0.5)
    _, bounded = grown(norm=0.3)

    def roughness(images):
        return sum(np.abs(np.diff(images, axis=axis)).mean() for axis in (1, 2))

    assert roughness(smooth_image) < 0.8 * roughness(plain)
    peaks = [np.abs(images).max((1, 2, 3)).mean() for images in (bounded, plain)]
    assert peaks[0] < 0.8 * peaks[1]


def test_diversity_makes_starts_differ(small_model):
    import tensorflow as tf

    from oip.ascent.targets import MapTargets, Stage
    from oip.network.network import Network

    network = Network(small_model)
    targets = MapTargets(network, network.find("second"))

    def mean_likeness(diversity):
        oips = oip.reconstruct(
            network, "second", maps=range(10), **{**QUICK, "starts": 4}, diversity=diversity
        )
        assert oips.scores[:, 0].max() > 0
        items = np.repeat(np.arange(10), 4)
        images = oips.pixels.reshape(-1, 16, 16, 1)
        inputs, stage = network.feed(tf.constant(images)), Stage(warming=False)
        activations = targets.own_activations(inputs, tf.constant(items, tf.int32), stage, (), True)
        return likeness(activations.features, tf.constant(items)).numpy().mean()

    assert mean_likeness(2.0) < mean_likeness(0.0) - 0.05


@pytest.mark.parametrize("sigma", [0.5, 1.3])
def test_blur_is_scipys(sigma):
    from scipy.ndimage import gaussian_filter

    images = np.random.default_rng(0).normal(size=(2, 14, 11, 3)).astype("float32")
    result = blurred(images, sigma, blur_radius(sigma)).numpy()
    expected = gaussian_filter(
        images, (0, sigma, sigma, 0), mode="reflect", radius=blur_radius(sigma)
    )
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_blur_of_nothing_and_of_short_sides_leaves_images_as_they_are():
    images = np.random.default_rng(0).normal(size=(2, 2, 11, 1)).astype("float32")
    np.testing.assert_allclose(blurred(images, 0.0, 2).numpy(), images, atol=1e-6)
    visible = blurred(images, 0.5, 2).numpy()
    np.testing.assert_allclose(visible.mean(2), images.mean(2), atol=0.2)


def test_a_blur_that_ends_leaves_finer_images(small_network):
    common = {**QUICK, "maps": range(6), "tolerance": 0.0}
    kept = oip.reconstruct(small_network, "second", blur=0.8, **common)
    ended = oip.reconstruct(small_network, "second", blur=0.8, blur_end=0.0, **common)
    assert ended.scores[:, 0].mean() > kept.scores[:, 0].mean()
