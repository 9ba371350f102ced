"""In what terms an image is changed: its pixels, its Fourier coefficients, or only their phases.

For a linear parameterisation x = L theta, a gradient step in theta moves x along L L^T g. So
pixels, preconditioned Fourier coefficients and decorrelated bands are the same ascent over images,
with the gradient g passed through L L^T; nothing else needs to know of them. Phases are not linear
and have a step of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from oip.ascent.settings import AscentSettings
from oip.core.errors import SettingsError, expected

_TINY = 1e-12


@dataclass(frozen=True)
class DataStatistics:
    """What parameterisations take from images of the data, standardised as the ascent does it."""

    magnitude: np.ndarray
    """(h, w // 2 + 1, b) or (t // 2 + 1, b): mean magnitude of the Fourier coefficients."""
    covariance: np.ndarray
    """(b, b): of the bands."""

    @classmethod
    def of(cls, images: np.ndarray) -> DataStatistics:
        """Statistics of standardised images (n, *sides, b), a part at a time.

        Args:
            images: at most a few thousand are needed.
        """
        axes = tuple(range(1, images.ndim - 1))
        total, products, pixels = 0.0, 0.0, 0
        for first in range(0, len(images), 256):
            part = np.asarray(images[first : first + 256], np.float64)
            part = part - part.mean(axis=axes, keepdims=True)
            total = total + np.abs(np.fft.rfftn(part, axes=axes)).sum(0)
            flat = part.reshape(-1, part.shape[-1])
            products = products + flat.T @ flat
            pixels += len(flat)
        return cls(np.asarray(total) / len(images), np.asarray(products) / pixels)


class Parameterization(ABC):
    """How images in the graph take a step. Images are standardised; directions have RMS 1."""

    def begun(self, images: Any) -> Any:
        """Images as the first step finds them."""
        return images

    @abstractmethod
    def moved(self, images: Any, direction: Any, rates: Any) -> Any:
        """Images one step further.

        Args:
            images: (n, *sides, b).
            direction: (n, *sides, b): the gradient, RMS 1, where the layer sees pixels.
            rates: (n,): length of the step.
        """

    keeps_spectrum = False
    """Images have a magnitude spectrum of their own, which restoring the deviation would change."""


class Linear(Parameterization):
    """x + rate * L L^T g, at the step's length: pixels, Fourier coefficients, mixtures of bands.

    References:
        Olah, Mordvintsev, Schubert, "Feature Visualization", Distill 2017 (1/f Fourier basis,
        decorrelated colours).
    """

    def __init__(self, gain: np.ndarray | None, mixing: np.ndarray | None):
        self._gain = gain
        self._mixing = mixing

    def moved(self, images: Any, direction: Any, rates: Any) -> Any:
        import tensorflow as tf

        if self._gain is not None:
            gain = tf.constant(self._gain[..., None], tf.float32)
            direction = _inverse(_spectrum(direction) * tf.cast(gain, tf.complex64), images.shape)
        if self._mixing is not None:
            direction = tf.einsum("...b,bc->...c", direction, tf.constant(self._mixing, tf.float32))
        return images + _each(rates, images) * _unit(direction)


class Phases(Parameterization):
    """Only the phases climb; the magnitude spectrum stays that of the data.

    References:
        Fel et al., "Unlocking Feature Visualization for Deep Networks with MAgnitude Constrained
        Optimization" (MaCo), NeurIPS 2023.
    """

    keeps_spectrum = True

    def __init__(self, magnitude: np.ndarray):
        self._magnitude = magnitude

    def begun(self, images: Any) -> Any:
        return _inverse(self._with_phases(_spectrum(images)), images.shape)

    def moved(self, images: Any, direction: Any, rates: Any) -> Any:
        import tensorflow as tf

        spectrum = _spectrum(images)
        slope = tf.math.imag(_spectrum(direction) * tf.math.conj(spectrum))
        turn = _each(rates, slope) * _unit(slope)
        turned = spectrum * tf.exp(tf.complex(tf.zeros_like(turn), turn))
        return _inverse(self._with_phases(turned), images.shape)

    def _with_phases(self, spectrum: Any) -> Any:
        import tensorflow as tf

        size = tf.maximum(tf.abs(spectrum), _TINY)
        return spectrum * tf.cast(tf.constant(self._magnitude, tf.float32) / size, tf.complex64)


def parameterization_of(
    settings: AscentSettings, shape: tuple[int, ...], data: DataStatistics | None
) -> Parameterization:
    """The parameterisation of some settings.

    Args:
        settings: `parameterisation`, `decay`, `decorrelate`.
        shape: (h, w, b) or (t, b).
        data: what images of the data say; None without data.

    Raises:
        SettingsError: what is asked for needs images and there are none.
    """
    needs = settings.parameterisation == "phase" or (settings.decorrelate and shape[-1] > 1)
    if needs and data is None:
        phase = settings.parameterisation == "phase"
        what = "phase" if phase else "decorrelate"
        wanted = "images of the data to take statistics from (--data)"
        hint = "" if phase else "Without images, set decorrelate to false: --set decorrelate=false."
        raise SettingsError(expected(f"'{what}'", wanted, "none", hint))
    if settings.parameterisation == "phase" and data is not None:
        return Phases(_standard(data.magnitude, shape))
    gain = None
    if settings.parameterisation == "fourier":
        gain = frequencies(shape[:-1]) ** -settings.decay
    mixing = None
    if settings.decorrelate and shape[-1] > 1 and data is not None:
        mixing = data.covariance / np.trace(data.covariance) * len(data.covariance)
    return Linear(gain, mixing)


def frequencies(sides: tuple[int, ...]) -> np.ndarray:
    """Cycles per pixel of the coefficients of a real Fourier transform, the constant as 1 / side.

    >>> frequencies((4,)).tolist()
    [0.25, 0.25, 0.5]
    """
    lines = [np.fft.fftfreq(side) for side in sides[:-1]] + [np.fft.rfftfreq(sides[-1])]
    grid = np.meshgrid(*lines, indexing="ij")
    return np.maximum(np.sqrt(sum(line**2 for line in grid)), 1.0 / max(sides))


def _standard(magnitude: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The magnitudes without a mean, scaled to images of deviation 1."""
    values = np.array(magnitude, np.float64)
    values[(0,) * (len(shape) - 1)] = 0.0
    twice = np.full(values.shape[-2], 2.0)  # a real transform leaves out what mirrors these
    twice[0] = 1.0
    if shape[-2] % 2 == 0:
        twice[-1] = 1.0
    power = (values**2 * twice[:, None]).sum() / np.prod(shape[:-1]) ** 2 / shape[-1]
    return values / np.sqrt(power if power > 0 else 1.0)


def _spectrum(images: Any) -> Any:
    """Fourier transform over the spatial axes; the bands stay last."""
    import tensorflow as tf

    if len(images.shape) == 3:
        return tf.transpose(tf.signal.rfft(tf.transpose(images, [0, 2, 1])), [0, 2, 1])
    return tf.transpose(tf.signal.rfft2d(tf.transpose(images, [0, 3, 1, 2])), [0, 2, 3, 1])


def _inverse(spectrum: Any, shape: Any) -> Any:
    import tensorflow as tf

    sides = [int(side) for side in shape[1:-1]]
    if len(sides) == 1:
        lines = tf.signal.irfft(tf.transpose(spectrum, [0, 2, 1]), sides)
        return tf.transpose(lines, [0, 2, 1])
    planes = tf.signal.irfft2d(tf.transpose(spectrum, [0, 3, 1, 2]), sides)
    return tf.transpose(planes, [0, 2, 3, 1])


def _unit(values: Any) -> Any:
    import tensorflow as tf

    size = tf.sqrt(tf.reduce_mean(tf.square(values), _axes(values), keepdims=True))
    return values / tf.maximum(size, _TINY)


def _each(values: Any, images: Any) -> Any:
    import tensorflow as tf

    return tf.reshape(values, [-1, *[1] * (len(images.shape) - 1)])


def _axes(values: Any) -> list[int]:
    return list(range(1, len(values.shape)))
