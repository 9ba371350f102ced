import msgspec
import numpy as np
import pytest

from oip.ascent.settings import (
    PRESETS,
    AscentSettings,
    ascent_settings,
    auto_reason,
    current_names,
    nearest_preset,
    of_input,
    requested_settings,
    stored_settings,
)
from oip.core.errors import Notice, SettingsError


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("parameterisation", "parameterization", "fourier"),
        ("climb_silent", "climb_inactive", False),
    ],
)
def test_old_names_are_accepted_with_a_notice(old, new, value):
    with pytest.warns(Notice, match=f"'{old}' is called '{new}'"):
        settings = ascent_settings(**{old: value})
    assert settings == ascent_settings(**{new: value})


@pytest.mark.parametrize("preset", PRESETS)
def test_files_keep_the_names_that_they_have(preset):
    settings = ascent_settings(preset)
    stored = msgspec.to_builtins(settings)
    assert {"parameterisation", "climb_silent"} < set(stored)
    assert msgspec.convert(stored, AscentSettings) == settings
    assert ascent_settings(**current_names(stored)) == settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parametrization": "fourier"}, "Did you mean 'parameterization'"),
        ({"parameterization": "wavelets"}, "pixels, fourier, phase"),
        ({"blur_end": 21.0}, "blur_end"),
        ({"rate": 0.0}, "rate"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(SettingsError, match=message):
        ascent_settings(**changes)


def test_numbers_of_numpy_are_numbers():
    changes = {"steps": np.int64(7), "rate": np.float32(0.5), "decorrelate": np.True_}
    assert ascent_settings(**changes) == ascent_settings(steps=7, rate=0.5, decorrelate=True)


def test_the_input_decides_between_natural_and_default():
    requested = requested_settings(starts=3, seed=7)
    assert requested.of_input((32, 32, 3)) == ascent_settings("natural", starts=3, seed=7)
    for shape in ((28, 28, 1), (100, 3), (32, 32, 4)):
        assert requested.of_input(shape) == ascent_settings("default", starts=3, seed=7)
    assert of_input(ascent_settings("author"), (32, 32, 3)) == ascent_settings("author")
    assert "natural" in auto_reason((8, 8, 3)) and "1 band" in auto_reason((8, 8, 1))


def test_more_starts_than_natural_screens_are_no_error():
    assert ascent_settings("natural", starts=40).screened == 40
    with pytest.raises(SettingsError, match="screened"):
        ascent_settings("natural", starts=40, screened=20)


def test_stored_settings_are_those_of_earlier_versions_where_nothing_new_is_used():
    stored = stored_settings(ascent_settings("author", seed=3))
    assert not {"bound", "keep", "looks", "rate_end"} & set(stored)
    assert ascent_settings(**current_names(stored)) == ascent_settings("author", seed=3)
    natural = stored_settings(ascent_settings("natural"))
    assert natural["bound"] is True and natural["keep"] == "last"
    assert isinstance(stored["jitter"], int)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_nearest_preset_is_that_of_the_settings(preset):
    settings = current_names(stored_settings(ascent_settings(preset, seed=9, steps=77)))
    assert nearest_preset(settings) == (preset, {"steps": 77})
