"""Starts of a training at a chosen entropy of the layer before the head."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np

from oip.core import seeds
from oip.core.checks import check_number
from oip.core.errors import ModelError, SettingsError
from oip.core.frameworks import keras

_LEAST, _MOST = 1e-4, 10.0
"""Deviations of the kernels that are searched."""
_FACTOR = 2.0
_HALVINGS = 12
_CLOSE = 0.01  # share of the entropy by which the search may miss it
_BATCH = 512


class RawEntropy(Protocol):
    """An entropy."""

    @property
    def nats(self) -> float:
        """Its value."""
        ...


class EntropyEstimator(Protocol):
    """An estimator as `mi.estimator` returns it."""

    def entropy(self, x: np.ndarray, seed: int) -> RawEntropy:
        """Return the entropy of samples (n, d)."""
        ...


class Start(NamedTuple):
    """Kernels that a training begins with."""

    deviation: float
    """Standard deviation of the kernels, whose mean is 0."""
    entropy: float
    """Of the layer before the head, in bits."""


def initialize(
    model: keras.Model,
    images: np.ndarray,
    estimator: EntropyEstimator,
    entropy: float = 0.05,
    seed: int = 0,
) -> Start:
    """Draw a model's kernels so that the layer before its head begins at a chosen entropy.

    Kernels are drawn once from N(0, 1); their common deviation is the smallest one at which the
    entropy of the head's input is reached. Kernels of all convolutions are drawn; of a model
    without any, those of its dense layers but the head. Biases of these layers become 0, other
    layers stay as they are.

    Args:
        model: a classifier that ends in a dense layer; its weights are changed.
        images: plain pixels, some hundreds are enough.
        estimator: one that sees the scale of the responses, such as `mi.estimator("dse",
            reference=True)`, whose kernel has the width that the reference uses.
        entropy: to begin at, in bits. Low is near 0, high near log2 of the number of images.
        seed: of the kernels.

    Shapes:
        images (n, h, w, bands).

    Raises:
        ModelError: a model without a dense layer at its end, or without other kernels.
        SettingsError: no deviation from 0.0001 to 10 gives that entropy, as with an estimator that
            does not see the scale.

    References:
        D. Liao et al.: Assessing neural network representations during training using
        noise-resilient diffusion spectral entropy. CISS 2024, figure 9.
    """
    check_number("entropy", entropy)
    encoder = before_head(model)

    def reached(deviation: float) -> float:
        scale_kernels(model, deviation, seed)
        parts = [
            encoder(images[i : i + _BATCH], training=False) for i in range(0, len(images), _BATCH)
        ]
        z = np.concatenate([np.asarray(part, np.float64) for part in parts])
        return (
            float(estimator.entropy(z, seed).nats) / math.log(2)
            if np.isfinite(z).all()
            else math.inf
        )

    low, high = _LEAST, _LEAST
    lowest = value = reached(high)
    while value < entropy and high < _MOST:
        low, high = high, _FACTOR * high
        value = reached(high)
    if value < entropy or lowest > entropy:
        between = f"{lowest:.3g} to {value:.3g} bits, which these images and this estimator allow"
        hint = "The estimator has to see the scale of the responses, as dse with a sigma does."
        raise SettingsError("entropy at the start", between, entropy, hint)
    for _ in range(_HALVINGS):
        if abs(value - entropy) <= _CLOSE * entropy:
            break
        middle = math.sqrt(low * high)
        own = reached(middle)
        low, high, value = (middle, high, value) if own < entropy else (low, middle, own)
    return Start(high, reached(high))


def before_head(model: keras.Model) -> keras.Model:
    """Return the model from its input to the input Z (n, d) of its last dense layer.

    Raises:
        ModelError: there is no dense layer, or none with one input.
    """
    head = _head(model)
    try:
        images = model.inputs[0] if len(model.inputs) == 1 else model.inputs
        return keras.Model(images, head.input)
    except (AttributeError, ValueError) as error:
        path = "one path from the images to the head"
        raise ModelError(f"'{model.name}'", path, error) from error


def _head(model: keras.Model) -> keras.layers.Layer:
    for layer in reversed(getattr(model, "layers", [])):
        if isinstance(layer, keras.layers.Dense):
            return layer
    raise ModelError(f"'{model.name}'", "a dense layer at its end", "none")


def scale_kernels(model: keras.Model, deviation: float, seed: int) -> None:
    """Draw kernels from N(0, deviation^2), see `initialize`; biases become 0.

    The same seed draws the same numbers for every deviation.

    Raises:
        ModelError: there are no such kernels.
    """
    kinds = keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D
    layers = [(n, layer) for n, layer in enumerate(model.layers) if isinstance(layer, kinds)]
    if not layers:
        dense = keras.layers.Dense
        layers = [(n, layer) for n, layer in enumerate(model.layers) if isinstance(layer, dense)]
        layers = [(n, layer) for n, layer in layers if layer is not _head(model)]
    if not layers:
        raise ModelError(f"'{model.name}'", "convolutions or hidden dense layers", "none")
    for number, layer in layers:
        rng = seeds.generator(seed, "kernels of a convolution", number)
        first, *rest = layer.get_weights()
        kernel = deviation * rng.standard_normal(first.shape)
        layer.set_weights([kernel, *(np.zeros(weight.shape) for weight in rest)])
