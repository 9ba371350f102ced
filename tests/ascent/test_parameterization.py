import tracemalloc

import numpy as np
import pytest

import oip
from oip.ascent.parameterization import (
    DataStatistics,
    Linear,
    Phases,
    bound_of,
    frequencies,
    parameterization_of,
)
from oip.ascent.settings import ascent_settings
from oip.core.errors import SettingsError
from oip.network.inputs import InputSpec

QUICK = {"steps": 40, "screened": 32, "starts": 2}


def power_above(images, frequency):
    spectrum = np.abs(np.fft.fft2(np.asarray(images, float)[..., 0])) ** 2
    lines = [np.abs(np.fft.fftfreq(side)) for side in images.shape[-3:-1]]
    high = np.maximum(lines[0][:, None], lines[1][None]) > frequency
    return (spectrum * high).sum() / spectrum.sum()


@pytest.mark.parametrize("shape", [(3, 8, 6, 2), (3, 7, 9, 1), (3, 12, 2), (3, 9, 1)])
def test_a_fourier_step_is_the_gradient_with_respect_to_scaled_coefficients(shape):
    """Brute force: x = L theta with L = F^-1 S F, so that a step in theta moves x along L L^T g."""
    import tensorflow as tf

    random = np.random.default_rng(0)
    images, slope = random.normal(size=shape), random.normal(size=shape)
    sides = shape[1:-1]
    gain = frequencies(sides) ** -1.0
    moved = Linear(gain=gain).step(
        tf.constant(images, tf.float32), tf.constant(slope, tf.float32), tf.ones(3)
    )
    axes = tuple(range(1, len(shape) - 1))
    full = np.sqrt(sum(f**2 for f in np.meshgrid(*map(np.fft.fftfreq, sides), indexing="ij")))
    full = np.maximum(full, 1 / max(sides)) ** -1.0
    expected = np.fft.ifftn(np.fft.fftn(slope, axes=axes) * full[..., None], axes=axes).real
    expected /= np.sqrt((expected**2).mean(axis=tuple(range(1, len(shape))), keepdims=True))
    np.testing.assert_allclose(moved.numpy() - images, expected, atol=1e-4)


def test_phases_keep_the_magnitudes_and_follow_the_gradient():
    import tensorflow as tf

    random = np.random.default_rng(1)
    data = random.normal(size=(20, 12, 10, 2))
    terms = parameterization_of(
        ascent_settings(parameterization="phase"), (12, 10, 2), DataStatistics.of(data)
    )
    assert isinstance(terms, Phases)
    images = terms.begin(tf.constant(random.normal(size=(4, 12, 10, 2)), tf.float32))
    np.testing.assert_allclose(images.numpy().std((1, 2, 3)), 1, rtol=1e-3)
    magnitude = np.abs(np.fft.rfft2(images.numpy(), axes=(1, 2)))
    slope = tf.constant(random.normal(size=(4, 12, 10, 2)), tf.float32)
    moved = terms.step(images, slope, tf.fill([4], 0.05))
    after = np.abs(np.fft.rfft2(moved.numpy(), axes=(1, 2)))
    np.testing.assert_allclose(after, magnitude, atol=0.02 * magnitude.max())
    gained = ((moved - images).numpy() * slope.numpy()).sum((1, 2, 3))
    assert np.all(gained > 0)


def test_bands_that_go_together_in_the_data_move_together():
    import tensorflow as tf

    random = np.random.default_rng(2)
    common = random.normal(size=(50, 8, 8, 1))
    data = np.concatenate([common, common, random.normal(size=(50, 8, 8, 1)) * 0.1], -1)
    terms = parameterization_of(
        ascent_settings(decorrelate=True), (8, 8, 3), DataStatistics.of(data)
    )
    slope = np.zeros((1, 8, 8, 3), np.float32)
    slope[..., 0] = 1.0
    moved = terms.step(tf.zeros((1, 8, 8, 3)), tf.constant(slope), tf.ones(1)).numpy()[0]
    assert moved[..., 1].mean() == pytest.approx(moved[..., 0].mean(), rel=0.05)
    assert abs(moved[..., 2].mean()) < 0.05 * moved[..., 0].mean()


def test_phases_of_uncorrelated_bands_give_images_the_colors_of_the_data():
    import tensorflow as tf

    random = np.random.default_rng(3)
    root = np.array([[1.0, 0.9, 0.7], [0.3, -0.2, -0.1], [0.0, 0.1, -0.2]])
    smooth = np.fft.irfft2(
        np.fft.rfft2(random.normal(size=(60, 16, 16, 3)), axes=(1, 2))
        * frequencies((16, 16))[..., None] ** -1.0,
        axes=(1, 2),
    )
    data = smooth @ root
    statistics = DataStatistics.of(data)
    settings = ascent_settings(parameterization="phase", decorrelate=True)
    terms = parameterization_of(settings, (16, 16, 3), statistics)
    begun = terms.begin(tf.constant(random.normal(size=(200, 16, 16, 3)), tf.float32))
    slope = tf.constant(random.normal(size=(200, 16, 16, 3)), tf.float32)
    moved = terms.step(begun, slope, tf.fill([200], 0.5))
    expected = statistics.covariance / np.trace(statistics.covariance) * 3
    for images in (begun.numpy(), moved.numpy()):
        assert images.std() == pytest.approx(1.0, rel=0.02)
        flat = images.reshape(-1, 3)
        np.testing.assert_allclose(flat.T @ flat / len(flat), expected, atol=0.06)
    gained = ((moved - begun).numpy() * slope.numpy()).sum((1, 2, 3))
    assert np.all(gained > 0)
    photographs = DataStatistics.of_photographs((16, 16, 3), np.array([58.0, 57.0, 58.0]), False)
    begun = parameterization_of(settings, (16, 16, 3), photographs).begin(begun).numpy()
    assert np.corrcoef(begun.reshape(-1, 3).T)[0, 1] > 0.8  # without: random hues


@pytest.mark.parametrize("settings", [{"parameterization": "phase"}, {"decorrelate": True}])
def test_statistics_of_data_are_asked_for(settings):
    with pytest.raises(SettingsError, match="images of the data"):
        parameterization_of(ascent_settings(**settings), (8, 8, 3), None)


def test_the_fourier_preset_does_without_data_once_bands_stay_as_they_are():
    with pytest.raises(SettingsError, match="decorrelate=false"):
        parameterization_of(ascent_settings("fourier"), (8, 8, 3), None)
    parameterization_of(ascent_settings("fourier"), (8, 8, 1), None)
    parameterization_of(ascent_settings("fourier", decorrelate=False), (8, 8, 3), None)


def test_presets_do_what_they_are_for(small_model, small_images):
    data = small_images[0]
    result = {
        preset: oip.reconstruct(
            small_model, "second", maps=range(12), data=data, preset=preset, **QUICK
        )
        for preset in ("default", "author", "fourier", "maco")
    }
    for preset, oips in result.items():
        view = oips.images[:, 0].astype(float)[:, oips.visible]
        np.testing.assert_allclose(view.std((1, 2)), 1, rtol=0.01)
        alive = oips.scores[:, 0] > 0
        if preset != "maco":  # which keeps its last image
            assert np.all(oips.scores[alive, 0] >= oips.screened_scores[alive] * 0.99)
    power = {name: power_above(oips.images[:, 0], 0.25) for name, oips in result.items()}
    assert power["fourier"] < 0.5 * power["author"]
    assert power["default"] < power["author"]
    spectra = np.abs(np.fft.fft2(result["maco"].images[:, 0, ..., 0].astype(float)))
    spread = spectra.std(0) / spectra.mean(0)
    assert np.median(spread) < 0.2  # all of them have the magnitudes of the data
    wide = np.abs(np.fft.fft2(result["default"].images[:, 0, ..., 0].astype(float)))
    assert np.median(wide.std(0) / wide.mean(0)) > 0.3


def test_statistics_of_photographs_are_those_of_the_bands():
    std = np.array([58.4, 57.1, 57.4])
    rgb = DataStatistics.of_photographs((16, 16, 3), std, bgr=False)
    bgr = DataStatistics.of_photographs((16, 16, 3), std[::-1], bgr=True)
    np.testing.assert_allclose(rgb.covariance, bgr.covariance[::-1, ::-1])
    np.testing.assert_allclose(rgb.covariance, rgb.covariance.T)
    np.testing.assert_allclose(
        rgb.covariance * np.outer(std, std),
        [[0.0805, 0.0702, 0.0634], [0.0702, 0.0764, 0.0722], [0.0634, 0.0722, 0.0839]],
        atol=1e-4,
    )
    assert rgb.magnitude.shape == (16, 9, 3)
    np.testing.assert_allclose(rgb.magnitude[0, 8] / rgb.magnitude[0, 4], 2**-1.2)


def spec_of(shape, mean, std, low=float("nan"), high=float("nan")):
    bands = shape[-1]
    given = np.full(bands, mean, np.float32), np.full(bands, std, np.float32)
    return InputSpec(shape, *given, low, high, "given")


@pytest.mark.parametrize("count", [0, 3])
def test_few_color_images_leave_the_statistics_of_photographs(count):
    spec = spec_of((8, 8, 3), 0.5, 0.25)
    images = np.random.default_rng(0).uniform(size=(count, 8, 8, 3)) if count else None
    own = DataStatistics.for_input(spec, images)
    general = DataStatistics.of_photographs((8, 8, 3), spec.std, bgr=False)
    np.testing.assert_allclose(own.covariance, general.covariance)
    assert DataStatistics.for_input(spec_of((8, 8, 2), 0.5, 0.25), None) is None


def test_bound_keeps_pixels_inside_the_range_and_the_middle_as_it_is():
    spec = spec_of((4, 4, 3), 100.0, 50.0, 0.0, 255.0)
    bound = bound_of(ascent_settings("natural"), spec)
    values = np.linspace(-40, 40, 1001, dtype=np.float32)[:, None, None, None] * np.ones(3, "f")
    pixels = bound.bounded(values).numpy() * 50 + 100
    assert pixels.min() >= -1e-3 and pixels.max() <= 255 + 1e-3
    assert np.all(np.diff(pixels[:, 0, 0, 0]) > -1e-3)
    middle = np.full((1, 1, 1, 3), 27.5 / 50, np.float32)
    np.testing.assert_allclose(bound.bounded(middle).numpy(), middle, atol=1e-6)
    rounded = bound.rounded(bound.bounded(values)).numpy() * 50 + 100
    np.testing.assert_allclose(rounded, np.round(pixels), atol=2e-3)
    assert bound_of(ascent_settings("default"), spec) is None


def test_statistics_of_many_images_take_the_memory_of_some():
    spec = spec_of((32, 32, 3), 127.0, 60.0)
    images = np.random.default_rng(0).integers(0, 256, (2400, 32, 32, 3), np.uint8)
    tracemalloc.start()
    few = DataStatistics.of(images, spec.standardized, byte_budget=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * images.size  # one copy of all in float32
    rows = np.linspace(0, 2399, 2000, dtype=int)
    whole = DataStatistics.of(spec.standardized(images[rows]))
    for name in ("magnitude", "covariance", "uncorrelated"):
        np.testing.assert_allclose(getattr(few, name), getattr(whole, name), 1e-9, 1e-12)
        own = getattr(DataStatistics.for_input(spec, images), name)
        np.testing.assert_array_equal(own, getattr(whole, name))
