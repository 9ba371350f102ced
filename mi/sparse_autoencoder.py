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
            thresholds = -np.partition(-values, self.active - 1, axis=1)[:, self.active - 1]
            values = np.where(values >= thresholds[:, None], values, 0.0)
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
    import tensorflow as tf

    random = seeds.generator(seed, "sparse autoencoder")
    middle = _geometric_median(samples)
    # About 0, where most samples are, and of mean square 1: one rate suits all layers.
    scale = float(np.sqrt(np.square(samples - middle, dtype=np.float64).mean())) or 1.0
    active = min(settings.active, count)
    training = _AutoencoderTraining(_start_rows(samples - middle, count, random), active, settings)
    label = "sparse autoencoder"
    progress(label, 0, settings.steps)
    for index in range(settings.steps):
        rows = random.integers(0, len(samples), min(settings.batch, len(samples)))
        training.step(tf.constant((samples[rows] - middle) / scale))
        if index % _SHOWN == 0:
            progress(label, index, settings.steps)
    progress(label, settings.steps, settings.steps)
    return SparseAutoencoder(
        encoder=training.encoder.numpy(),
        bias=training.bias.numpy() * scale,
        decoder=training.decoder.numpy(),
        center=middle + scale * training.center.numpy(),
        active=active,
    )


class _AutoencoderTraining:
    """The weights of an autoencoder while they are trained, on samples about 0.

    Args:
        initial: (k, m): the directions to begin with.
        active: codes that a sample keeps.
    """

    def __init__(self, initial: np.ndarray, active: int, settings: Settings) -> None:
        import keras
        import tensorflow as tf

        self._count, width = initial.shape
        self._active, self._most_dead = active, min(self._count, max(1, width // 2))
        self.encoder, self.decoder = (tf.Variable(tf.constant(initial)) for _ in range(2))  # (k, m)
        self.bias = tf.Variable(tf.zeros(self._count))
        self._idle = tf.Variable(tf.zeros(self._count, tf.int32))  # batches without use
        self.center = tf.Variable(tf.zeros(width))
        self._weights = [self.encoder, self.decoder, self.bias, self.center]
        rate: Any = keras.optimizers.schedules.PolynomialDecay(settings.rate, settings.steps, 0.0)
        self._adam = keras.optimizers.Adam(rate)
        self._adam.build(self._weights)
        self.step = tf.function(self._step, autograph=False)

    def _step(self, batch: Tensor) -> None:
        """Take a step of Adam on a batch (n, m)."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            codes = tf.matmul(batch - self.center, self.encoder, transpose_b=True) + self.bias
            largest, numbers = tf.math.top_k(codes, self._active)  # (n, active)
            active_codes = _spread(tf.nn.relu(largest), numbers, self._count)  # (n, k)
            residuals = batch - self.center - tf.matmul(active_codes, self.decoder)
            is_dead = self._idle > _DEAD_AFTER
            loss = tf.reduce_mean(tf.square(residuals)) + tf.cond(
                tf.reduce_any(is_dead),
                lambda: _DEAD_SHARE * self._unexplained(residuals, codes, is_dead),
                lambda: tf.constant(0.0),
            )
        self._adam.apply(tape.gradient(loss, self._weights), self._weights)
        self.decoder.assign(tf.math.l2_normalize(self.decoder, axis=1))
        is_used = tf.reduce_any(active_codes > 0, axis=0)
        self._idle.assign(tf.where(is_used, tf.zeros_like(self._idle), self._idle + 1))

    def _unexplained(self, residuals: Tensor, codes: Tensor, is_dead: Tensor) -> Tensor:
        """Return the mean square of what dead directions leave of the residuals."""
        import tensorflow as tf

        hidden = tf.where(is_dead, codes, tf.fill(tf.shape(codes), codes.dtype.min))
        largest, numbers = tf.math.top_k(hidden, self._most_dead)
        revived = _spread(tf.nn.relu(largest), numbers, self._count)
        left_out = tf.stop_gradient(residuals) - tf.matmul(revived, self.decoder)
        return tf.reduce_mean(tf.square(left_out))


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


def _start_rows(centered: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return rows (count, m) of length 1 to begin with: samples about the mean, then noise."""
    lengths = np.linalg.norm(centered, axis=1)
    usable = np.flatnonzero(lengths > 1e-6 * max(1e-30, lengths.max()))
    rows = centered[random.permutation(usable)[:count]]
    noise = random.normal(size=(count - len(rows), centered.shape[1]))
    values = np.concatenate([rows, noise]) + 1e-3 * random.normal(size=(count, centered.shape[1]))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
