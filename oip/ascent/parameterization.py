"""Parameterizations of an image: its pixels, its Fourier coefficients, or only their phases.

For a linear parameterization x = L theta, a gradient step in theta moves x along L L^T g. So
pixels, preconditioned Fourier coefficients and decorrelated bands are the same ascent over images,
with the gradient g passed through L L^T; nothing else needs to know of them. Phases are not linear
and have a step of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from oip.ascent.masks import expand_like, image_axes
from oip.ascent.settings import AscentSettings
from oip.core.errors import SettingsError
from oip.core.frameworks import Tensor, tf
from oip.network.fast_layers import along_rows
from oip.network.inputs import InputSpec

_TINY = 1e-12
_INSIDE = 0.98
"""Share of the range that a bound leaves to images of the user's."""
_PHOTOGRAPH_BANDS = 3
_FEWEST_IMAGES = 50
"""Of which statistics are taken; of fewer color images those of photographs in general count."""
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
"""Of the covariance of red, green and blue, 0 to 1, over the pixels of ImageNet; columns."""
_SLOPE = 1.2
"""Magnitudes of photographs fall with the frequency to this power."""


@dataclass(frozen=True, eq=False, repr=False)
class DataStatistics:
    """Statistics of data images, standardized as in the ascent, that parameterizations need."""

    magnitude: np.ndarray
    """(h, w // 2 + 1, b) or (t // 2 + 1, b): mean magnitude of the Fourier coefficients."""
    covariance: np.ndarray
    """(b, b): of the bands."""
    uncorrelated: np.ndarray
    """Mean magnitude, of the same shape, of the images in uncorrelated bands; see `mixing_root`."""

    @classmethod
    def of(
        cls,
        images: np.ndarray,
        standardized: Callable[[np.ndarray], np.ndarray] = np.asarray,
        most: int = 2000,
        byte_budget: int = 32 << 20,
    ) -> DataStatistics:
        """Compute the statistics of images (n, *sides, b), in batches.

        Args:
            standardized: makes standardized images of some of them.
            most: images at most, evenly over all.
            byte_budget: of a batch in float64, of which there are a few at a time.
        """
        axes = tuple(range(1, images.ndim - 1))
        count = min(len(images), most)
        rows = np.linspace(0, len(images) - 1, count, dtype=int)
        room = int(np.clip(byte_budget // (8 * images[0].size), 1, 256))

        def batches() -> Iterator[np.ndarray]:
            for begin in range(0, count, room):
                batch_images = images[rows[begin : begin + room]]
                batch = np.asarray(standardized(batch_images), np.float64)
                yield batch - batch.mean(axis=axes, keepdims=True)

        flat = (batch.reshape(-1, batch.shape[-1]) for batch in batches())
        covariance = np.asarray(sum(pixels.T @ pixels for pixels in flat))
        covariance = covariance / (count * (images[0].size // images.shape[-1]))
        unmixing = np.linalg.pinv(mixing_root(covariance))
        total, uncorrelated = 0.0, 0.0
        for batch in batches():
            total = total + np.abs(np.fft.rfftn(batch, axes=axes)).sum(0)
            spectrum = np.fft.rfftn(batch @ unmixing, axes=axes)
            uncorrelated = uncorrelated + np.abs(spectrum).sum(0)
        return cls(np.asarray(total) / count, covariance, np.asarray(uncorrelated) / count)

    @classmethod
    def of_photographs(cls, shape: tuple[int, ...], std: np.ndarray, bgr: bool) -> DataStatistics:
        """Return statistics of photographs in general, for images (h, w, 3).

        Args:
            std: (3,) standard deviations of the bands of the input.
            bgr: the bands are blue, green, red.

        References:
            Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural
            networks", 2012 (principal components of the colors; the numbers are those that
            fb.resnet.torch publishes); Tolhurst, Tadmor, Chao, "Amplitude spectra of natural
            images", 1992 (the slope of the spectrum).
        """
        vectors = np.array(_EIGENVECTORS)[:: -1 if bgr else 1]
        covariance = vectors * _EIGENVALUES @ vectors.T / np.outer(std, std)
        magnitude = frequencies(shape[:-1]) ** -_SLOPE
        magnitude = np.repeat(magnitude[..., None], shape[-1], axis=-1)
        return cls(magnitude, covariance, magnitude)

    @classmethod
    def for_input(cls, spec: InputSpec, images: np.ndarray | None) -> DataStatistics | None:
        """Return the statistics that an ascent takes; None where there are none.

        Args:
            spec: of the model's input.
            images: (n, h, w, b) of the data, in input units; or None. Of fewer than 50 color
                images, those of photographs in general are taken.
        """
        is_color = len(spec.shape) == 3 and spec.shape[-1] == _PHOTOGRAPH_BANDS
        if is_color and (images is None or len(images) < _FEWEST_IMAGES):
            return cls.of_photographs(spec.shape, spec.std, spec.bgr)
        return None if images is None else cls.of(images, spec.standardized)


class Parameterization(ABC):
    """The way in which images take a step, in the graph. Images are standardized."""

    arrays: Mapping[str, np.ndarray | Tensor]
    """The arguments, which may be tensors of a graph."""
    keeps_spectrum = False
    """Images have a magnitude spectrum of their own, which restoring the deviation would change."""

    def begin(self, images: Tensor) -> Tensor:
        """Return images (n, *sides, b) as the first step receives them."""
        return images

    @abstractmethod
    def step(self, images: Tensor, direction: Tensor, rates: Tensor) -> Tensor:
        """Return images one step further.

        Args:
            images: (n, *sides, b).
            direction: (n, *sides, b): the gradient, RMS 1 over the visible pixels.
            rates: (n,): length of the step.
        """


class Linear(Parameterization):
    """x + rate * L L^T g, at the step's length: pixels, Fourier coefficients, mixtures of bands.

    References:
        Olah, Mordvintsev, Schubert, "Feature Visualization", Distill 2017 (1/f Fourier basis,
        decorrelated colors).

    Args:
        arrays: `gain` of the Fourier coefficients, `mixing` (b, b) of the bands; either or none.
    """

    def __init__(self, **arrays: np.ndarray | Tensor):
        self.arrays = arrays

    def step(self, images: Tensor, direction: Tensor, rates: Tensor) -> Tensor:
        if "gain" in self.arrays:
            # (h, w // 2 + 1, 1)
            gain = tf.cast(tf.expand_dims(self.arrays["gain"], -1), tf.complex64)
            direction = _inverse(_spectrum(direction) * gain, images)
        if "mixing" in self.arrays:
            direction = tf.einsum("...b,bc->...c", direction, self.arrays["mixing"])
        return images + expand_like(rates, images) * _unit(direction)


class Phases(Parameterization):
    """Only the phases climb; the magnitude spectrum stays that of the data.

    Args:
        magnitude: of uncorrelated bands, or of the bands themselves.
        mixing, unmixing: (b, b), from uncorrelated bands to those of images and back; or none.

    References:
        Fel et al., "Unlocking Feature Visualization for Deep Networks with MAgnitude Constrained
        Optimization" (MaCo), NeurIPS 2023.
    """

    keeps_spectrum = True

    def __init__(self, magnitude: np.ndarray | Tensor, **mixing: np.ndarray | Tensor):
        self.arrays = {"magnitude": magnitude, **mixing}

    def begin(self, images: Tensor) -> Tensor:
        return self._mixed("mixing", _inverse(self._set_magnitude(_spectrum(images)), images))

    def step(self, images: Tensor, direction: Tensor, rates: Tensor) -> Tensor:
        # (n, h, w // 2 + 1, b), as slope and turn
        spectrum = _spectrum(self._mixed("unmixing", images))
        along = self._mixed("mixing", direction, transposed=True)  # (n, h, w, b)
        slope = tf.math.imag(_spectrum(along) * tf.math.conj(spectrum))
        turn = expand_like(rates, slope) * _unit(slope)
        turned = spectrum * tf.exp(tf.complex(tf.zeros_like(turn), turn))
        return self._mixed("mixing", _inverse(self._set_magnitude(turned), images))

    def _mixed(self, name: str, images: Tensor, transposed: bool = False) -> Tensor:
        """Return images (n, *sides, b) with their bands mixed, where they are."""
        if name not in self.arrays:
            return images
        return tf.einsum(
            "...b,cb->...c" if transposed else "...b,bc->...c", images, self.arrays[name]
        )

    def _set_magnitude(self, spectrum: Tensor) -> Tensor:
        size = tf.maximum(tf.abs(spectrum), _TINY)
        return spectrum * tf.cast(self.arrays["magnitude"] / size, tf.complex64)


class Bound:
    """A smooth bound that keeps pixels inside the range of the input.

    A standardized pixel z becomes c + h tanh((z - c) / h), for a range from c - h to c + h: nearly
    itself in the middle of the range, and never outside.
    """

    def __init__(self, spec: InputSpec, picture_ends: tuple[np.ndarray, np.ndarray]):
        low, high = (((end - spec.mean) / spec.std).astype(np.float32) for end in picture_ends)
        self._center, self._half = (low + high) / 2, (high - low) / 2

    def bounded(self, images: Tensor) -> Tensor:
        """Return standardized images (n, h, w, b) inside the range."""
        # (b,) or (w, b)
        center, half = (along_rows(values, images) for values in (self._center, self._half))
        return tf.tanh((images - center) / half) * half + center

    def undone(self, images: np.ndarray) -> np.ndarray:
        """Return images that the bound turns into images (n, h, w, b), but for the ends."""
        bounded = np.clip((images - self._center) / self._half, -_INSIDE, _INSIDE)
        return (np.arctanh(bounded) * self._half + self._center).astype(np.float32)

    def rounded(self, images: Tensor) -> Tensor:
        """Return bounded images with the nearest of the 256 values that a picture has."""
        center, half = (along_rows(values, images) for values in (self._center, self._half))
        share = (images - center) / (2 * half) + 0.5
        return (tf.round(share * 255) * (2 / 255) - 1.0) * half + center


def bound_of(settings: AscentSettings, spec: InputSpec) -> Bound | None:
    """Return the bound of an input, None where the settings want none or its range is not known."""
    picture_ends = spec.picture_ends
    return Bound(spec, picture_ends) if settings.bound and picture_ends is not None else None


def parameterization_of(
    settings: AscentSettings, shape: tuple[int, ...], data: DataStatistics | None
) -> Parameterization:
    """Return the parameterization of some settings.

    Args:
        settings: `parameterization`, `decay`, `decorrelate`.
        shape: (h, w, b) or (t, b).
        data: statistics of data images; None without data.

    Raises:
        SettingsError: the settings need images of the data and there are none.
    """
    phase = settings.parameterization == "phase"
    decorrelate = settings.decorrelate and shape[-1] > 1
    if data is None and (phase or decorrelate):
        name = "phase" if phase else "decorrelate"
        hint = "Give data=... for them" + ("." if phase else ", or set decorrelate=false.")
        raise SettingsError(f"'{name}'", "images of the data to take statistics from", "none", hint)
    if phase and data is not None and not decorrelate:
        return Phases(_standard(data.magnitude, shape).astype(np.float32))
    if phase and data is not None:
        root = mixing_root(data.covariance)
        root *= np.sqrt(len(root) / np.square(root).sum())
        bands = np.moveaxis(data.uncorrelated[..., None], -2, 0)
        magnitude = np.concatenate([_standard(b, (*shape[:-1], 1)) for b in bands], -1)
        mixing = {"mixing": root, "unmixing": np.linalg.pinv(root)}
        mixing = {name: array.astype(np.float32) for name, array in mixing.items()}
        return Phases(magnitude.astype(np.float32), **mixing)
    arrays = {}
    if settings.parameterization == "fourier":
        arrays["gain"] = frequencies(shape[:-1]) ** -settings.decay
    if decorrelate and data is not None:
        arrays["mixing"] = data.covariance / np.trace(data.covariance) * len(data.covariance)
    return Linear(**{name: array.astype(np.float32) for name, array in arrays.items()})


def mixing_root(covariance: np.ndarray) -> np.ndarray:
    """Return (b, b): uncorrelated bands, as rows u, make u @ root bands of this covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T


def frequencies(sides: tuple[int, ...]) -> np.ndarray:
    """Return cycles per pixel of a real Fourier transform's coefficients, the constant as 1 / side.

    >>> frequencies((4,)).tolist()
    [0.25, 0.25, 0.5]
    """
    lines = [np.fft.fftfreq(side) for side in sides[:-1]] + [np.fft.rfftfreq(sides[-1])]
    grid = np.meshgrid(*lines, indexing="ij")
    return np.maximum(np.sqrt(sum(line**2 for line in grid)), 1.0 / max(sides))


def _standard(magnitude: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the magnitudes without a mean, scaled to images of deviation 1."""
    values = np.array(magnitude, np.float64)
    values[(0,) * (len(shape) - 1)] = 0.0
    twice = np.full(values.shape[-2], 2.0)  # a real transform leaves out what mirrors these
    twice[0] = 1.0
    if shape[-2] % 2 == 0:
        twice[-1] = 1.0
    power = (values**2 * twice[:, None]).sum() / np.prod(shape[:-1]) ** 2 / shape[-1]
    return values / np.sqrt(power if power > 0 else 1.0)


def _spectrum(images: Tensor) -> Tensor:
    """Return the Fourier transform over the spatial axes; the bands stay last."""
    if len(images.shape) == 3:
        return tf.transpose(tf.signal.rfft(tf.transpose(images, [0, 2, 1])), [0, 2, 1])
    return tf.transpose(tf.signal.rfft2d(tf.transpose(images, [0, 3, 1, 2])), [0, 2, 3, 1])


def _inverse(spectrum: Tensor, images: Tensor) -> Tensor:
    """Return images from their Fourier transform, in the shape of images (n, *sides, b)."""
    sides = [int(side or 0) for side in images.shape[1:-1]]
    if len(sides) == 1:
        lines = tf.signal.irfft(tf.transpose(spectrum, [0, 2, 1]), sides)  # (n, b, t)
        return tf.transpose(lines, [0, 2, 1])
    planes = tf.signal.irfft2d(tf.transpose(spectrum, [0, 3, 1, 2]), sides)  # (n, b, h, w)
    return tf.transpose(planes, [0, 2, 3, 1])


def _unit(values: Tensor) -> Tensor:
    """Return values (n, ...) at RMS 1."""
    # (n, 1, ...)
    size = tf.sqrt(tf.reduce_mean(tf.square(values), image_axes(values), keepdims=True))
    return values / tf.maximum(size, _TINY)
