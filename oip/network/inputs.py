"""A model's images: mean and deviation, range; and whether images fit it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from oip.core import files
from oip.core.errors import DataError, ModelError, RunError, SettingsError, notice
from oip.core.formats import SidecarFile
from oip.core.frameworks import keras
from oip.core.images import (
    PREPROCESS,
    application_of,
    as_input,
    batches_of,
    picture_ends,
    plain_range,
    preprocess_hint,
    preprocess_in,
)
from oip.core.records import ForeignFile
from oip.network import layer_types

_FAINT = 0.02
"""Share of the range that pixels may have: images of less are not scaled as they should be."""
_FIRST = 4
"""Layers that preprocessing is among, such as a change of size before it."""
_SWAPPED = 4
"""Bands at the most that may change places; of more, each is taken to stay where it is."""
_ENLARGED = 100
"""Factor from which on pixels become those from 0 to 255, as networks inside a model take them."""


@dataclass(frozen=True)
class InputSpec:
    """Statistics of the model's image input, in the units that the model is fed.

    `mean` and `std` have one number per band. `low` and `high` are the range of plain pixels, NaN
    where it is not known.
    """

    shape: tuple[int, ...]
    """Without the batch axis and with the bands last, whatever the model's layout: (h, w, b)."""
    mean: np.ndarray
    std: np.ndarray
    low: float
    high: float
    source: str
    """Where the numbers come from, in words."""
    bgr: bool = False
    bounded: bool = False
    """`low` and `high` hold for all images, as the user or the model says; not only for some."""
    name: str | None = None
    """The input's name in a model with several inputs."""
    application: str | None = None
    """The network of keras.applications that names of models say, where the numbers are assumed."""

    @property
    def is_known(self) -> bool:
        """Whether the statistics were given or measured, not assumed."""
        return self.source != "assumed"

    @property
    def background(self) -> np.ndarray:
        """The standardized value (b,) of unseen pixels: the range's low end, or the mean."""
        if not np.isfinite(self.low):
            return np.zeros_like(self.mean)
        return (self.low - self.mean) / self.std

    @property
    def picture_ends(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Black and white, each (b,) in input units; None where they are not known."""
        if not self.is_known:
            return None
        return picture_ends(self.mean, self.std, self.bgr, self.low, self.high)

    def takes_pictures(self, images: np.ndarray) -> bool:
        """Return whether images are whole pixels of 0 to 255, and the model is fed with others."""
        if images.dtype != np.uint8 or not images.size:
            return False
        is_beyond = self.bounded and (self.low < 0 or float(images.max()) > self.high)
        return is_beyond or preprocess_in(self.source) is not None

    def prepared(self, images: np.ndarray) -> np.ndarray:
        """Return images in input units: pictures (n, h, w, b) are brought to them, float32."""
        if not self.takes_pictures(images):
            return images
        black, white = self.picture_ends or (0 * self.mean + self.low, 0 * self.mean + self.high)
        return as_input(images, black, white, self.bgr)

    def to_dict(self) -> dict[str, object]:
        """Return the input as run.json holds it."""
        name_entry: dict[str, object] = {} if self.name is None else {"name": self.name}
        return name_entry | {
            "shape": list(self.shape),
            "mean": [float(value) for value in self.mean],
            "std": [float(value) for value in self.std],
            "low": float(self.low) if np.isfinite(self.low) else None,
            "high": float(self.high) if np.isfinite(self.high) else None,
            "source": self.source,
            "bgr": self.bgr,
        }

    def standardized(self, images: np.ndarray) -> np.ndarray:
        """Return images (n, h, w, b) in input units as float32, each band standardized."""
        return ((images.astype(np.float32) - self.mean) / self.std).astype(np.float32)

    def with_statistics(
        self,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        value_range: tuple[float, float] | None = None,
        preprocess: str | None = None,
    ) -> InputSpec:
        """Return the same input with statistics that the user gives.

        Args:
            mean, std: one number, or one per band. Where no deviation is known, a mean of plain
                pixels, from 0 to 255 or to 1, takes a quarter of the range as the deviation.
            value_range: lowest and highest value of a pixel.
            preprocess: `caffe`, `torch` or `tf`: as `keras.applications` prepares images.

        Raises:
            SettingsError: numbers that do not fit the bands, or a deviation that is not positive.
        """
        spec = self
        if preprocess is not None:
            if preprocess not in PREPROCESS:
                raise SettingsError("preprocess", ", ".join(PREPROCESS), preprocess)
            statistics = PREPROCESS[preprocess]
            if len(self.mean) != len(statistics.std):
                bands = f"{len(self.mean)} for '{preprocess}'"
                raise SettingsError("preprocess", "a model of 3 bands", bands)
            spec = replace(
                spec,
                mean=np.zeros(len(statistics.std), np.float32),
                std=np.array(statistics.std, np.float32),
                low=statistics.low,
                high=statistics.high,
                source=f"preprocess {preprocess}",
                bgr=preprocess == "caffe",
                bounded=True,
            )
        if mean is not None:
            spec = replace(spec, mean=self._bands("input mean", mean), source="told")
        if std is not None:
            deviations = self._bands("input std", std)
            if not np.all(deviations > 0):
                raise SettingsError("input std", "numbers above 0", std)
            spec = replace(spec, std=deviations, source="told")
        if value_range is not None:
            low, high = value_range
            if not (low < high and np.isfinite([low, high]).all()):
                raise SettingsError("input range", "LOW below HIGH", value_range)
            spec = replace(spec, low=low, high=high, bounded=True)
            if spec.is_known and not np.all((low <= spec.mean) & (spec.mean <= high)):
                numbers = f"{low:g} to {high:g}, the range of the pixels"
                raise SettingsError("input mean", numbers, spec.mean.tolist())
        is_mean_only = mean is not None and std is None and not (preprocess or self.is_known)
        return spec._with_plain_deviation() if is_mean_only else spec

    def _with_plain_deviation(self) -> InputSpec:
        """Return the same input with a quarter of the pixels' range as deviation.

        The range follows from the mean where it is not known.
        """
        low, high = self.low, self.high
        if not np.isfinite([low, high]).all():
            if self.mean.min() < 0 or self.mean.max() == 0:
                return self
            low, high = 0.0, 255.0 if self.mean.max() > 1 else 1.0
        return replace(self, std=np.full_like(self.mean, (high - low) / 4), low=low, high=high)

    def measured(self, images: np.ndarray, low: float, high: float, source: str) -> InputSpec:
        """Return the same input with the statistics of images (n, h, w, b)."""
        axes = tuple(range(images.ndim - 1))
        total, squares = np.zeros((2, images.shape[-1]))
        for rows in batches_of(images):
            batch = images[rows].astype(np.float64)
            total += batch.sum(axis=axes)
            squares += (batch**2).sum(axis=axes)
        count = images[..., 0].size
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
        if not np.all(std > 0):
            raise DataError("the images", "a deviation above 0 in each band", std.tolist())
        return replace(
            self,
            mean=mean.astype(np.float32),
            std=std.astype(np.float32),
            low=low,
            high=high,
            source=source,
            bounded=False,
        )

    def measured_if_new(
        self, images: ArrayLike, source: str = "data given", ends: tuple[float, float] | None = None
    ) -> InputSpec:
        """Return the input with the statistics of images, where none are known yet.

        Images that do not fit leave everything as it is; `check_images` says what is wrong.

        Args:
            images: (n, h, w, b), not yet checked.
            source: where the statistics come from, in words.
            ends: the range of plain pixels; `plain_range` of the images if None.

        Raises:
            DataError: images without any deviation.
        """
        values = image_array(images)
        if self.is_known or values.dtype.kind not in "buif" or not values.size:
            return self
        values = with_bands(values, self.shape)
        if values.shape[1:] != self.shape or not np.isfinite(values.sum(dtype=np.float64)):
            return self
        values = self.prepared(values)
        low, high = (self.low, self.high) if self.bounded else ends or plain_range(values)
        bounds = float(values.min()), float(values.max())
        if not self.bounded and bounds[1] - bounds[0] < _FAINT * (high - low):
            low, high = bounds
        return replace(self.measured(values, low, high, source), bounded=self.bounded)

    def warn_if_assumed(self) -> None:
        """Warn where mean and deviation are neither known nor measured."""
        if not self.is_known:
            text = "the input's mean and standard deviation are not known; 0 and 1 are used. Give"
            text += " images of the model's data (data=...), or set Network.inputs."
            notice(f"{text} {preprocess_hint(self.application)}".rstrip())

    def _bands(self, name: str, values: tuple[float, ...]) -> np.ndarray:
        bands = len(self.mean)
        if len(values) not in (1, bands):
            numbers = "1 number" if bands == 1 else f"1 or {bands} numbers"
            raise SettingsError(name, numbers, len(values))
        if not np.isfinite(values).all():
            raise SettingsError(name, "finite numbers", values)
        return np.resize(np.array(values, np.float32), bands)


def sidecar_path(model: Path) -> Path:
    """Return the path of the file beside a model that describes its input."""
    return model.with_suffix(".oip.json")


def read_sidecar(model: Path) -> SidecarFile | None:
    """Read the file beside a model, if it belongs to it; None where there is none.

    Raises:
        ModelError: the file cannot be read.
    """
    path = sidecar_path(model)
    if not path.is_file():
        return None
    try:
        record = SidecarFile.read(path)
    except ForeignFile:
        return None
    except RunError as error:
        raise ModelError(str(error)) from error
    if record.sha256 is not None and record.sha256 != files.sha256(model):
        notice(f"'{path.name}' is of another model file; it is not used.")
        return None
    return record


def input_spec(
    shape: tuple[int, ...],
    layers: Sequence[keras.Layer],
    sidecar: SidecarFile | None,
    received: Callable[[np.ndarray, Sequence[keras.Layer]], np.ndarray | None],
    models: Sequence[str] = (),
) -> InputSpec:
    """Describe a model's input, from its sidecar or its own preprocessing where they say it.

    Args:
        shape: (h, w, b).
        layers: of the model; Normalization and Rescaling before all others with weights count,
            behind any number of layers that do nothing at inference, and operations that scale
            pixels, such as those of `keras.applications`' `preprocess_input`.
        sidecar: content of the file beside the model.
        received: (images, layers): what the first of some layers to be called receives (n, ..., c)
            for images (n, h, w, b) in input units; None where nothing can be said.
        models: names of the model and of those inside it.
    """
    bands = shape[-1]
    zeros, ones = np.zeros(bands, np.float32), np.ones(bands, np.float32)
    assumed = InputSpec(shape, zeros, ones, float("nan"), float("nan"), "assumed")
    statistics = sidecar.input if sidecar is not None else None
    if statistics is None:  # also where a sidecar says other things, such as the accuracy
        spec = _described_input(assumed, layers, received)
        return spec if spec.is_known else replace(spec, application=application_of(models))
    form = f"mean and std of {bands} bands"
    if statistics.mean is None or statistics.std is None:
        raise ModelError("the model's sidecar", form, "none")
    try:
        stated = assumed.with_statistics(tuple(statistics.mean), tuple(statistics.std))
    except SettingsError as error:
        raise ModelError("the model's sidecar", form, error) from error
    low, high = (float("nan") if end is None else end for end in (statistics.low, statistics.high))
    return replace(
        stated, low=low, high=high, source="sidecar", bounded=bool(np.isfinite([low, high]).all())
    )


class _Scaling(NamedTuple):
    """Each band of an image times a number, plus a number; bands may change places."""

    scale: np.ndarray
    """(b,), above 0."""
    offset: np.ndarray
    """(b,)"""
    band: np.ndarray
    """(b,) int: the band that each band of the image becomes."""

    @property
    def changes(self) -> bool:
        """Whether it does anything but to order bands."""
        return not (
            np.allclose(self.scale, 1, atol=1e-3) and np.allclose(self.offset, 0, atol=1e-3)
        )


def _described_input(
    spec: InputSpec,
    layers: Sequence[keras.Layer],
    received: Callable[[np.ndarray, Sequence[keras.Layer]], np.ndarray | None],
) -> InputSpec:
    """Return the input as the model's preprocessing says it, by a layer, by operations or both."""
    described = _layer_description(spec, layers)
    first = [described.layer] if described else [layer for layer in layers if layer.weights]
    scaling = _scaling(spec.shape, lambda images: received(images, first))
    if scaling is None or not scaling.changes:
        return described.spec if described else spec
    if described is None:
        return _scaled(spec, scaling.scale, scaling.offset, "the model's preprocessing")
    return _input_before_scaling(described.spec, scaling)


def _scaling(
    shape: tuple[int, ...], received: Callable[[np.ndarray], np.ndarray | None]
) -> _Scaling | None:
    """Return how pixels are scaled on their way, found by images of one color; None if otherwise.

    What comes out counts in the middle half of the sides: zeros may stand around it.
    """
    bands = shape[-1]
    mixed = 20 + 150 * np.arange(1, bands + 1) / bands
    single = 100 * np.eye(bands) if bands <= _SWAPPED else np.full((1, bands), 100.0)
    colors = np.vstack([np.zeros(bands), single, mixed])
    images = np.ones((len(colors), *shape), np.float32)
    images *= colors.reshape(len(colors), *[1] * (len(shape) - 1), bands)
    values = received(images)
    if values is None:
        return None
    if values.shape == (len(images), images[0].size):  # flattened
        values = values.reshape(images.shape)
    if bands == 1:  # it may be repeated
        values = values.mean(-1, keepdims=True)
    if values.ndim != images.ndim or values.shape[-1] != bands:
        return None
    middle = tuple(slice(side // 4, side - side // 4) for side in values.shape[1:-1])
    values = values[(slice(None), *middle)].reshape(len(colors), -1, bands).astype(np.float64)
    offset = values[0, 0]
    slopes = (values[1:-1, 0] - offset) / 100
    matrix = slopes if bands <= _SWAPPED else np.diag(slopes[0])  # (bands in, bands out)
    band = matrix.argmax(1)
    scale = matrix[np.arange(bands), band]
    if not np.all(scale > 0) or len(set(band)) < bands:
        return None
    expected = offset + colors[:, np.argsort(band)] * scale[np.argsort(band)]
    tolerance = 0.01 * np.ptp(values)
    is_so = np.allclose(values, expected[:, None], rtol=0, atol=tolerance)
    return _Scaling(scale, offset[band], band) if is_so else None


def _input_before_scaling(spec: InputSpec, scaling: _Scaling) -> InputSpec:
    """Return the input of a model that scales images before the layer that describes them."""

    def unscaled(values: np.ndarray | float) -> np.ndarray:
        numbers = np.broadcast_to(np.asarray(values, np.float64), scaling.band.shape)
        return (numbers[scaling.band] - scaling.offset) / scaling.scale

    low, high = unscaled(spec.low), unscaled(spec.high)
    is_one = bool(np.ptp(low) + np.ptp(high) <= 0.01 * np.ptp([low, high]))  # not of NaN either
    return replace(
        spec,
        mean=unscaled(spec.mean).astype(np.float32),
        std=(spec.std[scaling.band] / scaling.scale).astype(np.float32),
        low=float(low[0]) if is_one else float("nan"),
        high=float(high[0]) if is_one else float("nan"),
        bounded=spec.bounded and is_one,
    )


class _Described(NamedTuple):
    spec: InputSpec
    layer: keras.Layer
    """That says it."""


def _layer_description(spec: InputSpec, layers: Sequence[keras.Layer]) -> _Described | None:
    active = [layer for layer in layers if not layer_types.is_dropout(layer)]
    for layer in active[:_FIRST]:
        kind = type(layer).__name__
        source = f"the model's {kind} layer"
        if kind == "Normalization" and not getattr(layer, "invert", False):
            mean, variance = getattr(layer, "mean", None), getattr(layer, "variance", None)
            if mean is None or variance is None:
                continue
            center = np.asarray(keras.ops.convert_to_numpy(mean)).ravel()
            spread = np.sqrt(np.asarray(keras.ops.convert_to_numpy(variance)).ravel())
            if center.size in (1, len(spec.mean)) and np.all(spread > 0):
                return _Described(_standardizing(spec, center, spread, source), layer)
        if kind == "Rescaling":
            scale, offset = np.broadcast_arrays(layer.scale, layer.offset)
            if scale.size in (1, len(spec.mean)) and np.all(scale > 0):
                return _Described(_scaled(spec, scale.ravel(), offset.ravel(), source), layer)
        if layer.weights and kind != "Normalization":
            break
    return None


def _scaled(spec: InputSpec, scale: np.ndarray, offset: np.ndarray, source: str) -> InputSpec:
    """Return the input of a model that scales pixels, each array (b,) or (1,).

    Where all bands are scaled alike to 0 to 1, -0.5 to 0.5, -1 to 1 or 0 to 255, pixels have that
    range; divided by over 100, they are bytes.
    """
    is_alike = np.ptp(scale) <= 1e-4 * scale.max() and np.ptp(offset) <= 1e-4
    bottom = round(float(offset[0]), 4)
    is_enlarged = bool(scale.min() >= _ENLARGED)
    if is_enlarged and not (is_alike and bottom >= 0.0):  # a mean of 0 to 255 is taken off
        return replace(spec.with_statistics(tuple((-offset / scale).tolist())), source=source)
    if not is_alike or not (is_enlarged or -1.0 <= bottom <= 0.0):
        return _standardizing(spec, -offset / scale, 1 / scale, source)
    limits = (0.0, 255.0) if is_enlarged else (bottom, -bottom if bottom < 0 else 1.0)
    low, high = (round((end - bottom) / float(scale[0]), 4) for end in limits)
    high = 255.0 if low == 0 and 100 < high <= 256 else high
    stated = spec.with_statistics(((low + high) / 2,), ((high - low) / 4,))
    return replace(stated, low=low, high=high, source=source, bounded=True)


def _standardizing(spec: InputSpec, mean: np.ndarray, std: np.ndarray, source: str) -> InputSpec:
    """Return the input of a layer that takes off `mean` and divides by `std`, each (b,) or (1,).

    A deviation of 1 is none: then only a mean is taken off.
    """
    deviations = None if np.allclose(std, 1, atol=1e-5) and np.any(mean) else tuple(std.tolist())
    stated = spec.with_statistics(tuple(mean.tolist()), deviations)
    return replace(stated, source=source)


def with_bands(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Give images the axes of a model's input.

    A missing band axis is added for models of one band. Lines, (n, length, bands), may come as
    files of images hold them: with one more axis of 1 at the end.
    """
    if images.ndim == len(shape) and shape[-1] == 1:
        return images[..., None]
    if len(shape) == 2 and images.ndim == 4 and images.shape[-1] == 1:
        return images[..., 0]
    return images


def image_array(images: ArrayLike, name: str = "images") -> np.ndarray:
    """Return images as an array, not yet checked; a DataError if they are none."""
    if np.ma.is_masked(images):
        raise DataError(name, "pixels that are all there", "masked ones", "Fill them.")
    try:
        return np.asarray(images)
    except ValueError as error:  # such as a tuple of images and labels
        raise DataError(
            name, "an array of images of one shape", "parts of several shapes"
        ) from error


def check_images(spec: InputSpec, images: ArrayLike, name: str = "images") -> np.ndarray:
    """Return images as the model can be fed with them: (n, h, w, b), numeric, finite, in range.

    Missing and surplus axes of 1 are mended as `with_bands` does it; pictures are prepared.

    Raises:
        DataError: anything else.
    """
    values = image_array(images, name)
    if values.dtype == object or values.dtype.kind not in "buif":
        hint = "" if values.ndim else "oip.models.load(SOURCE).images reads images from files."
        raise DataError(name, "an array of numbers", f"dtype {values.dtype}", hint)
    values = with_bands(values, spec.shape)
    if values.ndim != len(spec.shape) + 1 or values.shape[1:] != spec.shape:
        shape = "(n, " + ", ".join(str(side) for side in spec.shape) + ")"
        can_be_resized = values.ndim == 4 and {values.shape[-1], spec.shape[-1]} <= {1, 3}
        hint = "Load them with resize='crop' (or fit, stretch)." if can_be_resized else ""
        raise DataError(name, f"shape {shape}", f"{np.shape(images)}", hint)
    if not len(values):
        raise DataError(name, "at least one", "none")
    if values.dtype.kind == "f" and not np.isfinite(values.sum(dtype=np.float64)):
        raise DataError(name, "finite pixels", "NaN or infinity")
    values = spec.prepared(values)
    low, high = float(values.min()), float(values.max())
    if np.isfinite(spec.low) and np.isfinite(spec.high):
        span = spec.high - spec.low
        is_outside = low < spec.low - 0.01 * span or high > spec.high + 0.01 * span
        is_faint = len(values) > 1 and high - low < _FAINT * span
        if is_outside or is_faint:
            advice = f", or clip patterns: np.clip(images, {spec.low:g}, {spec.high:g})"
            hint = f"Scale the images as the model was trained{advice * is_outside}."
            if preprocess_in(spec.source) and 0 <= low and spec.high < high <= 255:
                hint = "Whole pixels from 0 to 255 are prepared: images.round().astype('uint8')."
            expected = f"{spec.low:g} to {spec.high:g} (as in training)"
            raise DataError(f"{name}: the range of pixels", expected, f"{low:g} to {high:g}", hint)
    return values
