import numpy as np
import pytest

from oip.ascent.noise import Noise, NoiseCache, octave_grids, octave_weights
from oip.core.errors import SettingsError


def power_above(images, frequency):
    spectrum = np.abs(np.fft.fft2(images[..., 0])) ** 2
    lines = [np.abs(np.fft.fftfreq(side)) for side in images.shape[1:3]]
    high = np.maximum(lines[0][:, None], lines[1][None]) > frequency
    return (spectrum * high).sum() / spectrum.sum()


def test_grids_halve_down_to_three():
    assert octave_grids(28) == (28, 14, 7, 3)
    assert octave_grids(224) == (224, 112, 56, 28)
    assert octave_grids(5) == (5,)


@pytest.mark.parametrize(
    "preset", ["equal", "white", "no-white", "single:7", "tilt:1", "dirichlet"]
)
def test_images_are_standardised_and_do_not_depend_on_the_others(preset):
    noise = Noise((28, 28, 3), preset)
    images, weights = noise.images(0, 2, np.arange(6))
    np.testing.assert_allclose(images.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(images.std((1, 2, 3)), 1, rtol=1e-4)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    alone, _ = noise.images(0, 2, np.array([4]))
    assert np.array_equal(alone[0], images[4])
    assert not np.array_equal(noise.images(1, 2, np.array([4]))[0], alone)


def test_noise_that_is_kept_is_the_same_noise_drawn_once(monkeypatch):
    noise = Noise((12, 12, 1), "dirichlet")
    images, weights = noise.images(3, 1, np.arange(6))
    drawn = []
    draw = Noise.images

    def counted(self, seed, layer, starts, *rest):
        drawn.extend(starts.tolist())
        return draw(self, seed, layer, starts, *rest)

    monkeypatch.setattr(Noise, "images", counted)
    arguments = np.array([5, 0, 5, 2, 0])
    for budget, times in ((1 << 20, 3), (2 * 4 * 144, 3 + 1), (1, 3 + 2)):
        kept = NoiseCache(noise, 3, 1, budget)
        drawn.clear()
        assert np.array_equal(kept.images(arguments), images[arguments])
        assert len(drawn) == 3
        assert np.array_equal(kept.images(arguments), images[arguments])
        assert len(drawn) == times
        assert np.array_equal(kept.weights(arguments), weights[arguments])
    assert len(NoiseCache(noise, 3, 1).images(np.array([], int))) == 0


def test_a_coarse_octave_has_long_waves_only():
    draw = {
        preset: Noise((28, 28, 1), preset).images(0, 0, np.arange(32))[0]
        for preset in ("white", "single:7", "single:3", "equal")
    }
    high = {preset: power_above(images, 0.25) for preset, images in draw.items()}
    assert high["white"] == pytest.approx(1 - (15 / 28) ** 2, abs=0.02)  # flat: a share of the area
    assert max(high["single:7"], high["single:3"]) < 0.06  # what the open edges leak
    assert 0.1 < high["equal"] < 0.4


def test_no_white_and_tilt_weigh_as_they_say():
    grids = (28, 14, 7, 3)
    random = np.random.default_rng(0)
    assert octave_weights("no-white", grids, random).tolist() == [0, 1 / 3, 1 / 3, 1 / 3]
    tilted = octave_weights("tilt:1", grids, random)
    np.testing.assert_allclose(tilted / tilted[0], [1, 2, 4, 28 / 3])
    np.testing.assert_allclose(octave_weights("tilt:0", grids, random), 0.25)


def test_weights_can_be_written_out():
    grids, random = (28, 14, 7, 3), np.random.default_rng(0)
    result = octave_weights("weights:1,0.5,0,0.5", grids, random)
    assert result.tolist() == [0.5, 0.25, 0.0, 0.25]
    assert octave_weights("weights:1e308,1e308,0,0", grids, random).tolist() == [0.5, 0.5, 0, 0]
    written = Noise((28, 28, 1), "weights:0,0,2,0").images(0, 0, np.arange(3))
    single = Noise((28, 28, 1), "single:7").images(0, 0, np.arange(3))
    for item, other in zip(written, single, strict=True):
        assert np.array_equal(item, other)


@pytest.mark.parametrize(
    "weights", ["", "1,2", "1,2,3,4,5", "0,0,0,0", "1,-1,1,1", "1,nan,1,1", "inf,1,1,1", "1,a,1,1"]
)
def test_weights_that_do_not_fit_are_named_with_the_octaves(weights):
    with pytest.raises(SettingsError, match="4 numbers from 0, not all zero, for the grids 28, 14"):
        Noise((28, 28, 1), f"weights:{weights}")


@pytest.mark.parametrize("preset", ["pink", "single:5", "single:", "tilt:x", "tilt:inf", "white:2"])
def test_unknown_presets_are_named(preset):
    with pytest.raises(SettingsError, match="noise"):
        Noise((28, 28, 1), preset)


def test_sides_may_differ():
    images, _ = Noise((20, 9, 2), "equal").images(0, 0, np.arange(2))
    assert images.shape == (2, 20, 9, 2)
