import msgspec
import pytest

from oip.ascent.settings import PRESETS, AscentSettings, ascent_settings, current_names
from oip.core.errors import SettingsError
from oip.core.warnings import Notice


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
