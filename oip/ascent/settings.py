"""Settings of an ascent, and the named presets."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from oip.core.errors import SettingsError, did_you_mean, notice
from oip.core.files import Json

PARAMETERIZATIONS = ("pixels", "fourier", "phase")
KEPT = ("best", "last")
OLD_NAMES = {"parameterisation": "parameterization", "climb_silent": "climb_inactive"}
"""Names that settings had before; files keep them, so that the runs of all versions are alike."""
_STORED_NAMES = {new: old for old, new in OLD_NAMES.items()}


class AscentSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename=_STORED_NAMES.get
):
    """Settings of one reconstruction. Images are standardized inside, so `rate` has no unit."""

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
    """Factor of an image's rate when its last step raised the score."""
    rate_down: float = 0.6
    """Factor when the last step did not; 1 with `rate_up` 1 keeps the rate constant."""
    rate_end: float | None = None
    """Share of a constant rate that is left at the last step; it falls evenly over the second half
    of the ascent. None for no change."""
    fade: float = 0.0
    """Share of the steps, the first ones, in which the noise that the image began with is taken out
    of it, evenly; after them it is made of steps alone. 0 keeps it."""
    warmup: int = 8
    """First steps that climb the pre-activation; after them only inactive maps go on with it."""
    climb_inactive: bool = True
    """Climb the pre-activation of a map whose response is zero (and so has no gradient)."""
    blur: float = 0.5
    """Sigma, in pixels, of the blur of the image at the first step; 0 for none."""
    blur_end: float | None = None
    """The same at the last step, changing evenly on the way; None for no change."""
    blur_every: int = 4
    """Steps from one blur to the next."""
    parameterization: str = "pixels"
    """`pixels`; `fourier`: its coefficients, preconditioned; `phase`: only their phases, with the
    magnitudes of the data."""
    decay: float = 1.0
    """Of `fourier`: steps of the coefficients weigh as frequency ** -decay."""
    decorrelate: bool = False
    """Climb uncorrelated mixtures of the bands, as the data have them, or photographs where there
    are no data and three bands; nothing for one band."""
    bound: bool = False
    """Keep pixels inside the range of the input, by a smooth bound; nothing where it is unknown."""
    free_mean: bool = False
    """Keep images at RMS 1 in all, so that they can become bright, dark or plainly colored; else
    at mean 0 and deviation 1. Nothing for `phase`."""
    looks: int = 1
    """Transformed images in every step, whose gradients are averaged."""
    coarse: float = 0.0
    """Share of the steps, the first ones, in which the model receives images of `coarse_size`, if
    it takes them; only where `keep` is `last`."""
    coarse_size: float = 0.5
    """Their side, as a share of the input's."""
    alpha: bool = False
    """Keep the size of the gradient at each pixel, summed over the steps: a mask of what counts."""
    keep: str = "best"
    """`best`: the image that scored highest; `last`: that of the last step. It is then the only one
    that is scored as it is, before it transformed images are scored, and no image stops early."""
    jitter: int | float = 0
    """Largest random shift of the image that the model receives: in pixels, or below 1 as a share
    of its shorter side."""
    scale: float = 0.0
    """Largest random change of its size, as a share."""
    rotation: float = 0.0
    """Largest random rotation, in degrees."""
    mirror: bool | str = False
    """Mirror every second image that the model receives, left to right. `classes`: only for classes
    and other units of dense layers, as maps may tell left from right."""
    drop_path: float = 0.0
    """Largest share of the steps in which a residual block adds nothing, at random for each look;
    it rises evenly from the first such block to the last. Nothing in networks without them."""
    branch_gradient: float = 1.0
    """Share of its gradient that the branch of a residual block passes on: below 1 the way past
    the blocks counts more. Nothing in networks without them."""
    crop: float = 1.0
    """Share of the image, of its area, that the model receives, enlarged, at a random position."""
    soften: float = 0.0
    """Sigma, in pixels, of a blur of the image that the model receives."""
    total_variation: float = 0.0
    """Weight of the total variation's gradient, against a gradient of RMS 1."""
    norm: float = 0.0
    """Weight of the gradient of the sum of |x| ** norm_power / norm_power."""
    norm_power: float = 6.0
    diversity: float = 0.0
    """Weight, at full similarity, of the term that makes the starts of one map differ."""
    align: float = 0.0
    """Weight, beside the response in shares of the data's best, of the distance of the features'
    distribution in some layers from that of the `references`; needs images of the data."""
    context: float = 0.0
    """Weight, beside the logarithm of the response, of the cosine between what the network's last
    layer receives and the mean of that for the `references`, in deviations from the mean of the
    data; needs images of the data."""
    references: int = 8
    """Images of the data that excite a unit most: those that `align` and `context` take features
    from."""
    fidelity: float = 0.0
    """Weight of the distance of early features from those of the image that the ascent begins
    with, in shares of their size; only with such an image."""
    patience: int = 10
    """An image stops when it gained less than `tolerance` over so many steps."""
    tolerance: float = 1e-3
    """As a share of its score."""
    snapshots: int = 8
    """Images that are kept of the way of each map's best start, its noise and the last among them:
    at most 8, or 0 for none. They change nothing else."""
    seed: int = 0

    def checked(self) -> AscentSettings:
        """Return the same settings; raise a SettingsError for a value that is out of range."""
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise SettingsError(name, f"{low:g} to {high:g}", value)
        if self.parameterization not in PARAMETERIZATIONS:
            names, received = ", ".join(PARAMETERIZATIONS), f"'{self.parameterization}'"
            raise SettingsError("parameterization", names, received)
        if self.keep not in KEPT:
            raise SettingsError("keep", " or ".join(KEPT), f"'{self.keep}'")
        if self.mirror not in (True, False, "classes"):
            raise SettingsError("mirror", "true, false or classes", f"'{self.mirror}'")
        if self.snapshots == 1:
            raise SettingsError("snapshots", "0, or 2 to 8", 1)
        if self.coarse > 0 and self.keep != "last":
            raise SettingsError("coarse", "keep=last as well", f"keep={self.keep}")
        for name in ("align", "context"):
            if self.coarse > 0 and getattr(self, name) > 0:
                raise SettingsError(name, "coarse=0 as well", f"coarse={self.coarse:g}")
        if self.screened < self.starts:
            raise SettingsError("screened", f"at least the {self.starts} starts", self.screened)
        return self

    def for_items(self, are_units: bool) -> AscentSettings:
        """Return the settings as they are for units of dense layers, or for maps."""
        return msgspec.structs.replace(self, mirror=are_units) if self.mirror == "classes" else self

    @property
    def reference_terms(self) -> list[str]:
        """The settings that are on and take features from the `references`."""
        return [name for name in ("align", "context") if getattr(self, name) > 0]


_RANGES: dict[str, tuple[float, float]] = {
    "starts": (1, 64),
    "steps": (1, 100_000),
    "screened": (1, 65_536),
    "warmup": (0, 100_000),
    "blur_every": (1, 100_000),
    "patience": (1, 100_000),
    "snapshots": (0, 8),
    "seed": (0, 2**31 - 1),
    "rate": (1e-6, 100.0),
    "rate_end": (0.0, 1.0),
    "fade": (0.0, 1.0),
    "align": (0.0, 1000.0),
    "context": (0.0, 1000.0),
    "references": (1, 256),
    "fidelity": (0.0, 1000.0),
    "looks": (1, 64),
    "coarse": (0.0, 1.0),
    "coarse_size": (0.1, 1.0),
    "rate_up": (1.0, 10.0),
    "rate_down": (0.01, 1.0),
    "blur": (0.0, 20.0),
    "blur_end": (0.0, 20.0),
    "decay": (0.0, 4.0),
    "jitter": (0, 1024),
    "scale": (0.0, 1.0),
    "rotation": (0.0, 180.0),
    "drop_path": (0.0, 0.9),
    "branch_gradient": (0.0, 1.0),
    "crop": (0.01, 1.0),
    "soften": (0.0, 20.0),
    "total_variation": (0.0, 100.0),
    "norm": (0.0, 100.0),
    "norm_power": (1.0, 16.0),
    "diversity": (0.0, 100.0),
    "tolerance": (0.0, 1.0),
}

_NATURAL: dict[str, object] = {
    "starts": 2,
    "steps": 64,
    "screened": 16,
    "rate": 0.4,
    "rate_up": 1.0,
    "rate_down": 1.0,
    "rate_end": 0.1,
    "warmup": 0,
    "blur": 0.0,
    "parameterization": "fourier",
    "decay": 1.75,
    "decorrelate": True,
    "bound": True,
    "looks": 2,
    "fade": 0.5,
    "keep": "last",
    "jitter": 0.07,
    "scale": 0.15,
    "rotation": 10.0,
    "mirror": "classes",
    "drop_path": 0.2,
    "branch_gradient": 0.6,
}
PRESETS: dict[str, dict[str, object]] = {
    "default": {},
    "author": {  # The source gives none of these numbers: they are ours.
        "rate": 0.1,
        "rate_up": 1.0,
        "rate_down": 1.0,
        "warmup": 0,
        "climb_inactive": False,
        "blur": 0.0,
        "patience": 20,
    },
    "fourier": {
        "parameterization": "fourier",
        "decorrelate": True,
        "blur": 0.0,
        "jitter": 2,
        "scale": 0.05,
        "rotation": 5.0,
    },
    "natural": _NATURAL,
    "aligned": {**_NATURAL, "branch_gradient": 1.0, "align": 3.0},
    "context": {**_NATURAL, "context": 2.0},
    "accentuate": {
        **_NATURAL,
        "branch_gradient": 1.0,
        "starts": 1,
        "rate": 0.06,
        "fade": 0.0,
        "fidelity": 1.0,
    },
    "maco": {
        "starts": 1,
        "steps": 128,
        "screened": 16,
        "rate": 0.3,
        "rate_up": 1.0,
        "rate_down": 1.0,
        "rate_end": 0.1,
        "warmup": 0,
        "blur": 0.0,
        "parameterization": "phase",
        "decorrelate": True,
        "bound": True,
        "looks": 4,
        "crop": 0.25,
        "coarse": 0.5,
        "alpha": True,
        "keep": "last",
    },
}
"""`author` is the setting of the articles that OIPs come from: the response alone is climbed, by a
normalized gradient, and the image standardized after each step; no warm-up. The articles give no
numbers: step, patience, steps and starts are ours, and so is the missing blur ("some tricks to
avoid a over-exaggeration of small scale components"; what they are is not said). `fourier` follows
Olah et al. 2017. `natural` is for networks of photographs: the same with a steeper spectrum, a
constant rate, two looks a step, for classes one of them mirrored, each without some residual blocks
(Li et al. 2020), whose branches pass on less of the gradient (Wu et al. 2020), and pixels that stay
inside their range; the starting noise, whose grain so few steps would leave, fades in the first
half.
`aligned` adds the distribution of features (after Görgün et al. 2025) and needs images of the data;
so does `context`, for units inside: what a unit is excited by, in surroundings that the network
takes for those of its best images.
`accentuate` is the same as `natural` in small steps, from an image, whose early features are kept
(Hamblin et al. 2024); branches pass on all of the gradient in these two. `maco` follows Fel
et al. 2023: several random crops a step, of a quarter of the image, and a mask of what counted; how
many crops, and the steps, are fewer than theirs. All but `natural` and `accentuate` need images of
the data for bands other than one or three."""
AUTO, ACCENTUATE = "auto", "accentuate"
"""In place of a preset: `natural` for color images, `default` for all others."""
_COLOR_BANDS = 3
_ADDED: tuple[str, ...] = (
    *("rate_end", "bound", "looks", "coarse", "coarse_size", "crop", "alpha", "keep"),
    *("snapshots", "fade", "align", "references", "fidelity", "mirror", "drop_path"),
    *("branch_gradient", "context", "free_mean"),
)
"""Settings that files name only where they differ from their defaults, as those of earlier versions
do not have them: the keys of finished work stay as they were."""


class AutoSettings(msgspec.Struct, frozen=True):
    """Settings of the preset `auto`, until the model's input is known."""

    default: AscentSettings
    natural: AscentSettings

    def of_input(self, shape: tuple[int, ...]) -> AscentSettings:
        """Return the settings for images (h, w, b), or (t, b) of lines."""
        return self.natural if self.is_color(shape) else self.default

    @staticmethod
    def is_color(shape: tuple[int, ...]) -> bool:
        """Return whether images (h, w, b) have the bands of color images."""
        return len(shape) == 3 and shape[-1] == _COLOR_BANDS


def auto_reason(shape: tuple[int, ...], from_image: bool = False) -> str:
    """Return the preset that `auto` takes for images (h, w, b), and why, as a sentence."""
    if from_image:
        return f"preset {ACCENTUATE}, as the ascent begins with an image"
    if AutoSettings.is_color(shape):
        return "preset natural, as the images have colors"
    kind = f"images have {shape[-1]} band" + "s" * (shape[-1] > 1)
    return f"preset default, as the {kind if len(shape) == 3 else 'input is lines, not images'}"


def of_input(settings: AscentSettings | AutoSettings, shape: tuple[int, ...]) -> AscentSettings:
    """Return settings for images (h, w, b), which decide where the preset is `auto`."""
    return settings.of_input(shape) if isinstance(settings, AutoSettings) else settings


def requested_settings(
    preset: str = AUTO, from_image: bool = False, **changes: object
) -> AscentSettings | AutoSettings:
    """Return the settings of a preset or of `auto` with changes, as `ascent_settings` does it.

    Args:
        from_image: the ascent begins with an image of the user's; `auto` is then `accentuate`.
    """
    preset = ACCENTUATE if from_image and preset == AUTO else preset
    if preset != AUTO:
        return ascent_settings(preset, **changes)
    default, natural = (ascent_settings(name, **changes) for name in ("default", "natural"))
    return AutoSettings(default, natural)


def stored_settings(settings: AscentSettings) -> dict[str, Json]:
    """Return settings as files hold them."""
    values = msgspec.to_builtins(settings)
    defaults = msgspec.to_builtins(AscentSettings())
    return {
        name: value
        for name, value in values.items()
        if name not in _ADDED or value != defaults[name]
    }


def nearest_preset(settings: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """Return the preset that settings differ least from, and what differs; the seed is left out.

    Args:
        settings: by their names of today; those that are missing do not differ.
    """
    all_settings = {name: getattr(AscentSettings(), name) for name in _ADDED} | dict(settings)
    defaults = {
        name: getattr(AscentSettings(), name)
        for name in AscentSettings.__struct_fields__
        if name != "seed"
    }

    def changes(preset: str) -> dict[str, object]:
        values = defaults | PRESETS[preset]
        return {
            name: all_settings[name]
            for name in values
            if name in all_settings and all_settings[name] != values[name]
        }

    nearest = min(PRESETS, key=lambda preset: len(changes(preset)))
    return nearest, changes(nearest)


def ascent_settings(preset: str = "default", **changes: object) -> AscentSettings:
    """Return the settings of a preset with changes; those that are None stay as in the preset.

    Raises:
        SettingsError: an unknown preset or setting, or a value out of range.
    """
    if preset not in PRESETS:
        hint = did_you_mean(preset, PRESETS)
        raise SettingsError("preset", ", ".join((AUTO, *PRESETS)), f"'{preset}'", hint)
    for name in OLD_NAMES.keys() & changes.keys():
        notice(f"The setting '{name}' is called '{OLD_NAMES[name]}' now; please rename it.")
    values = dict(PRESETS[preset])
    values |= {key: value for key, value in current_names(changes).items() if value is not None}
    screened, starts = PRESETS[preset].get("screened"), values.get("starts")
    if changes.get("screened") is None and isinstance(screened, int) and isinstance(starts, int):
        values["screened"] = max(screened, starts)
    values = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in values.items()
    }
    stored = {field.name: field.encode_name for field in msgspec.structs.fields(AscentSettings)}
    for name in values:
        if name not in stored:
            names, hint = ", ".join(stored), did_you_mean(name, stored)
            raise SettingsError("setting", f"one of {names}", f"'{name}'", hint)
    try:
        settings = msgspec.convert({stored[key]: values[key] for key in values}, AscentSettings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings: {error}") from error
    return settings.checked()


def current_names(settings: Mapping[str, object]) -> dict[str, object]:
    """Return settings, such as those of a run's file, under the names that they have today."""
    return {OLD_NAMES.get(name, name): value for name, value in settings.items()}
