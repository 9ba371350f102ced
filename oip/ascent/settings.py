"""What can be set for an ascent, and the named presets."""

from __future__ import annotations

import difflib
from typing import Any

import msgspec

from oip.core.errors import SettingsError, expected

PARAMETERISATIONS = ("pixels", "fourier", "phase")


class AscentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of one reconstruction. Images are standardised inside, so `rate` has no unit."""

    starts: int = 4
    """Images grown for each map."""
    steps: int = 120
    """Steps of the ascent at most."""
    screened: int = 256
    """Noise images that all maps of the layer are tried on before the ascent."""
    noise: str = "equal"
    """`equal`, `white`, `no-white`, `single:GRID`, `tilt:BETA`, `dirichlet`, or
    `weights:1,0.5,0,0`: one for each octave, the shortest wavelength first."""
    rate: float = 1.5
    """Length of the first step, as the RMS change of the image in standard deviations (of phases,
    in radians)."""
    rate_up: float = 1.1
    """What an image's rate is multiplied by when its last step raised what it climbs."""
    rate_down: float = 0.6
    """What it is multiplied by when the last step did not; 1 with `rate_up` 1 keeps it constant."""
    warmup: int = 8
    """Steps that climb the pre-activation; after them only silent maps go on with it."""
    climb_silent: bool = True
    """Climb the pre-activation of a map whose response is zero (and so has no gradient)."""
    blur: float = 0.5
    """Sigma, in pixels, of the blur of the image at the first step; 0 for none."""
    blur_end: float | None = None
    """The same at the last step, changing evenly on the way; None for no change."""
    blur_every: int = 4
    """Steps from one blur to the next."""
    parameterisation: str = "pixels"
    """`pixels`; `fourier`: its coefficients, preconditioned; `phase`: only their phases, with the
    magnitudes of the data."""
    decay: float = 1.0
    """Of `fourier`: steps of the coefficients weigh as frequency ** -decay."""
    decorrelate: bool = False
    """Climb uncorrelated mixtures of the bands, as the data have them; nothing for one band.
    It takes images of the data, as `phase` does."""
    jitter: int = 0
    """Pixels that the model's look at the image moves by at most, each way."""
    scale: float = 0.0
    """Share that the look is enlarged or shrunk by at most."""
    rotation: float = 0.0
    """Degrees that the look is turned by at most, each way."""
    soften: float = 0.0
    """Sigma, in pixels, of the blur of the look."""
    total_variation: float = 0.0
    """Weight of the total variation's gradient, against a gradient of RMS 1."""
    norm: float = 0.0
    """Weight of the gradient of the sum of |x| ** norm_power / norm_power."""
    norm_power: float = 6.0
    diversity: float = 0.0
    """Weight, at full likeness, of what makes the starts of one map unlike each other."""
    patience: int = 10
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
            "rate_up": (1.0, 10.0),
            "rate_down": (0.01, 1.0),
            "blur": (0.0, 20.0),
            "decay": (0.0, 4.0),
            "jitter": (0, 1024),
            "scale": (0.0, 1.0),
            "rotation": (0.0, 180.0),
            "soften": (0.0, 20.0),
            "total_variation": (0.0, 100.0),
            "norm": (0.0, 100.0),
            "norm_power": (1.0, 16.0),
            "diversity": (0.0, 100.0),
            "tolerance": (0.0, 1.0),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(expected(name, f"{low:g} to {high:g}", value))
        if self.blur_end is not None and not 0.0 <= self.blur_end <= 20.0:
            raise SettingsError(expected("blur_end", "0 to 20", self.blur_end))
        if self.parameterisation not in PARAMETERISATIONS:
            known = ", ".join(PARAMETERISATIONS)
            raise SettingsError(expected("parameterisation", known, f"'{self.parameterisation}'"))
        if self.screened < self.starts:
            raise SettingsError(
                expected("screened", f"at least the {self.starts} starts", self.screened)
            )
        return self


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "author": {
        "rate": 0.1,
        "rate_up": 1.0,
        "rate_down": 1.0,
        "warmup": 0,
        "climb_silent": False,
        "blur": 0.0,
        "patience": 20,
    },
    "fourier": {
        "parameterisation": "fourier",
        "decorrelate": True,
        "blur": 0.0,
        "jitter": 2,
        "scale": 0.05,
        "rotation": 5.0,
    },
    "maco": {
        "parameterisation": "phase",
        "decorrelate": False,
        "blur": 0.0,
        "jitter": 2,
        "scale": 0.1,
    },
}
"""`author` is the setting of the articles that OIPs come from: the response alone is climbed, no
warm-up, no blur. `fourier` follows Olah et al. 2017; for several bands it needs images of the data,
but with `decorrelate=False`. `maco` follows Fel et al. 2023 and always needs them."""


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
