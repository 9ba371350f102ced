"""What can be set for an ascent, and the named presets."""

from __future__ import annotations

import difflib
from typing import Any

import msgspec

from oip.core.errors import SettingsError, expected


class AscentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of one reconstruction. Images are standardised inside, so `rate` has no unit."""

    starts: int = 4
    """Images grown for each map."""
    steps: int = 120
    """Steps of the ascent at most."""
    screened: int = 256
    """Noise images that all maps of the layer are tried on before the ascent."""
    noise: str = "equal"
    """`equal`, `white`, `no-white`, `single:GRID`, `tilt:BETA`, `dirichlet`."""
    rate: float = 0.1
    """Length of a step, as the RMS change of the image in standard deviations."""
    warmup: int = 16
    """Steps that climb the pre-activation; after them only silent maps go on with it."""
    climb_silent: bool = True
    """Climb the pre-activation of a map whose response is zero (and so has no gradient)."""
    blur: float = 0.5
    """Sigma, in pixels, of the blur of the image; 0 for none."""
    blur_every: int = 4
    """Steps from one blur to the next."""
    patience: int = 20
    """An image retires when it gained less than `tolerance` over so many steps."""
    tolerance: float = 1e-3
    """As a share of its score."""
    seed: int = 0

    def checked(self) -> AscentSettings:
        """The same settings; a SettingsError names what is out of range."""
        ranges: dict[str, tuple[float, float]] = {
            "starts": (1, 64),
            "steps": (1, 100_000),
            "screened": (1, 65_536),
            "warmup": (0, 100_000),
            "blur_every": (1, 100_000),
            "patience": (1, 100_000),
            "seed": (0, 2**31 - 1),
            "rate": (1e-6, 100.0),
            "blur": (0.0, 20.0),
            "tolerance": (0.0, 1.0),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(expected(name, f"{low:g} to {high:g}", value))
        if self.screened < self.starts:
            raise SettingsError(
                expected("screened", f"at least the {self.starts} starts", self.screened)
            )
        return self


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "author": {"warmup": 0, "climb_silent": False, "blur": 0.0},
}
"""`author` is the setting of the articles that OIPs come from: the response alone is climbed, no
warm-up, no blur."""


def ascent_settings(preset: str = "default", **changes: Any) -> AscentSettings:
    """Settings of a preset with changes; those that are None are left as the preset has them.

    Raises:
        SettingsError: an unknown preset or setting, or a value out of range.
    """
    if preset not in PRESETS:
        raise SettingsError(expected("preset", ", ".join(PRESETS), f"'{preset}'"))
    wanted = {**PRESETS[preset], **{key: v for key, v in changes.items() if v is not None}}
    for name in wanted:
        if name not in AscentSettings.__struct_fields__:
            near = difflib.get_close_matches(name, AscentSettings.__struct_fields__, 1)
            hint = f"Did you mean '{near[0]}'?" if near else ""
            known = ", ".join(AscentSettings.__struct_fields__)
            raise SettingsError(expected("setting", f"one of {known}", f"'{name}'", hint))
    try:
        return msgspec.convert(wanted, AscentSettings).checked()
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings: {error}") from error
