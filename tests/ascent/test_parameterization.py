import numpy as np
import pytest

import oip
from oip.ascent.parameterization import (
    DataStatistics,
    Linear,
    Phases,
    frequencies,
    parameterization_of,
)
from oip.ascent.settings import ascent_settings
from oip.core.errors import SettingsError

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
    for oips in result.values():
        view = oips.images[:, 0].astype(float)[:, oips.visible]
        np.testing.assert_allclose(view.std((1, 2)), 1, rtol=0.01)
        alive = oips.scores[:, 0] > 0
        assert np.all(oips.scores[alive, 0] >= oips.screened_scores[alive] * 0.99)
    power = {name: power_above(oips.images[:, 0], 0.25) for name, oips in result.items()}
    assert power["fourier"] < 0.5 * power["author"]
    assert power["default"] < power["author"]
    spectra = np.abs(np.fft.fft2(result["maco"].images[:, 0, ..., 0].astype(float)))
    spread = spectra.std(0) / spectra.mean(0)
    assert np.median(spread) < 0.2  # all of them have the magnitudes of the data
    wide = np.abs(np.fft.fft2(result["default"].images[:, 0, ..., 0].astype(float)))
    assert np.median(wide.std(0) / wide.mean(0)) > 0.3
