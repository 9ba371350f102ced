"""A sparse autoencoder: responses as sums of few learned directions out of many.

Each sample keeps its k largest codes (TopK [1]) and is put together again from as many rows of the
decoder, which have length 1. A direction that no sample has used for some batches is dead; the dead
ones learn to explain what the others leave [1], so that few stay dead.

References:
    [1] L. Gao et al.: Scaling and evaluating sparse autoencoders. ICLR 2025, sections 2.3 and A.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import seeds
from oip.core.progress import Progress, silent

if TYPE_CHECKING:
    from tensorflow import Tensor

_DEAD_AFTER = 40
"""Batches without use after which a direction is dead."""
_DEAD_SHARE = 1 / 32
"""Weight of what dead directions explain, in the loss."""
_SHOWN = 20
_FOR_MEDIAN, _ITERATIONS = 5000, 30


@dataclass(frozen=True)
class Settings:
    """How a sparse autoencoder is trained."""

    active: int
    """Directions that a sample is put together from."""
    steps: int = 2000
    batch: int = 256
    rate: float = 5e-3
    """Of Adam; it falls to 0 along a line."""


@dataclass(frozen=True, eq=False)
class SparseAutoencoder:
    """A trained one; samples are (n, m), directions k."""

    encoder: np.ndarray
    """(k, m): a direction's code is the inner product with its row, plus its bias."""
    bias: np.ndarray
    """(k,): of the codes."""
    decoder: np.ndarray
    """(k, m): rows of length 1."""
    center: np.ndarray
    """(m,): what a sample without any code is put together to."""
    active: int
    """Codes that a sample keeps."""

    def codes(self, samples: np.ndarray) -> np.ndarray:
        """Return the codes (n, k): the largest `active` of each sample, 0 or more, else 0."""
        values = np.maximum(0.0, (samples - self.center) @ self.encoder.T + self.bias)
        if self.active < values.shape[1]:
            least = -np.partition(-values, self.active - 1, axis=1)[:, self.active - 1]
            values = np.where(values >= least[:, None], values, 0.0)
        return values

    def rebuilt(self, codes: np.ndarray) -> np.ndarray:
        """Return samples (n, m) from codes (n, k)."""
        return codes @ self.decoder + self.center


def fitted_autoencoder(
    samples: np.ndarray,
    count: int,
    settings: Settings,
    seed: int = 0,
    progress: Progress = silent,
) -> SparseAutoencoder:
    """Train a sparse autoencoder on samples (n, m) float32.

    Args:
        samples: two or more, not all equal.
        count: of the directions.
        settings: of the training.
        seed: of the first directions and the batches.
        progress: called with the steps.
    """
    import keras
    import tensorflow as tf

    n, width = samples.shape
    random = seeds.generator(seed, "sparse autoencoder")
    middle = _geometric_median(samples)
    # About 0, where most samples are, and of mean square 1: one rate suits all layers.
    scale = float(np.sqrt(np.square(samples - middle, dtype=np.float64).mean())) or 1.0
    initial = _drawn(samples - middle, count, random)
    encoder, decoder = (tf.Variable(tf.constant(initial)) for _ in range(2))  # (k, m)
    bias, idle = tf.Variable(tf.zeros(count)), tf.Variable(tf.zeros(count, tf.int32))
    center = tf.Variable(tf.zeros(width))
    weights = [encoder, decoder, bias, center]
    falling: Any = keras.optimizers.schedules.PolynomialDecay(settings.rate, settings.steps, 0.0)
    adam = keras.optimizers.Adam(falling)
    adam.build(weights)
    active = min(settings.active, count)
    most_dead = min(count, max(1, width // 2))

    def unexplained(residuals: Tensor, codes: Tensor, is_dead: Tensor) -> Tensor:
        """Return the mean square of what dead directions leave of the residuals."""
        hidden = tf.where(is_dead, codes, tf.fill(tf.shape(codes), codes.dtype.min))
        largest, numbers = tf.math.top_k(hidden, most_dead)
        revived = _spread(tf.nn.relu(largest), numbers, count)
        return tf.reduce_mean(tf.square(tf.stop_gradient(residuals) - tf.matmul(revived, decoder)))

    @tf.function(autograph=False)
    def step(batch: Tensor) -> None:
        with tf.GradientTape() as tape:
            codes = tf.matmul(batch - center, encoder, transpose_b=True) + bias  # (n, k)
            largest, numbers = tf.math.top_k(codes, active)  # (n, active)
            active_codes = _spread(tf.nn.relu(largest), numbers, count)
            residuals = batch - center - tf.matmul(active_codes, decoder)
            is_dead = idle > _DEAD_AFTER
            loss = tf.reduce_mean(tf.square(residuals)) + tf.cond(
                tf.reduce_any(is_dead),
                lambda: _DEAD_SHARE * unexplained(residuals, codes, is_dead),
                lambda: tf.constant(0.0),
            )
        adam.apply(tape.gradient(loss, weights), weights)
        decoder.assign(tf.math.l2_normalize(decoder, axis=1))
        is_used = tf.reduce_any(active_codes > 0, axis=0)
        idle.assign(tf.where(is_used, tf.zeros_like(idle), idle + 1))

    label = "sparse autoencoder"
    progress(label, 0, settings.steps)
    for number in range(settings.steps):
        rows = random.integers(0, n, min(settings.batch, n))
        step(tf.constant((samples[rows] - middle) / scale))
        if number % _SHOWN == 0:
            progress(label, number, settings.steps)
    progress(label, settings.steps, settings.steps)
    return SparseAutoencoder(
        encoder=encoder.numpy(),
        bias=bias.numpy() * scale,
        decoder=decoder.numpy(),
        center=middle + scale * center.numpy(),
        active=active,
    )


def _spread(values: Tensor, numbers: Tensor, count: int) -> Tensor:
    """Return values (n, a) at their numbers (n, a) of rows (n, count), 0 elsewhere."""
    import tensorflow as tf

    rows = tf.repeat(tf.range(tf.shape(values)[0])[:, None], tf.shape(values)[1], axis=1)
    indices = tf.stack([rows, numbers], axis=-1)  # (n, a, 2)
    return tf.scatter_nd(indices, values, tf.stack([tf.shape(values)[0], count]))


def _geometric_median(samples: np.ndarray) -> np.ndarray:
    """Return the point (m,) whose distances to the samples have the least sum, by Weiszfeld."""
    values = samples[:: max(1, len(samples) // _FOR_MEDIAN)].astype(np.float64)
    point = values.mean(axis=0)
    for _ in range(_ITERATIONS):
        weights = 1.0 / np.maximum(np.linalg.norm(values - point, axis=1), 1e-9)
        point = weights @ values / weights.sum()
    return point.astype(np.float32)


def _drawn(centered: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return rows (count, m) of length 1 to begin with: samples about the mean, then noise."""
    lengths = np.linalg.norm(centered, axis=1)
    usable = np.flatnonzero(lengths > 1e-6 * max(1e-30, lengths.max()))
    rows = centered[random.permutation(usable)[:count]]
    more = random.normal(size=(count - len(rows), centered.shape[1]))
    values = np.concatenate([rows, more]) + 1e-3 * random.normal(size=(count, centered.shape[1]))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
