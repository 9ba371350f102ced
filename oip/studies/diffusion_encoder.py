"""Networks up to the layer before their head, and three ways to train them."""

from __future__ import annotations

from typing import Any

import numpy as np

from oip.core import seeds
from oip.core.errors import ModelError, expected

_TEMPERATURE = 0.5
_PROJECTED = 64
_SHIFT, _ZOOM, _CONTRAST, _NOISE = 0.15, 0.2, 0.4, 0.05


def before_head(model: Any) -> Any:
    """The model from its input to what its last dense layer receives: images to Z (n, d).

    Args:
        model: a Sequential or functional Keras model.

    Raises:
        ModelError: there is no dense layer, or none with one known input.
    """
    import keras

    for layer in reversed(getattr(model, "layers", [])):
        if isinstance(layer, keras.layers.Dense):
            try:
                images = model.inputs[0] if len(model.inputs) == 1 else model.inputs
                return keras.Model(images, layer.input)
            except (AttributeError, ValueError) as error:
                raise ModelError(
                    expected(f"'{model.name}'", "one path from the images to the head", error)
                ) from error
    raise ModelError(expected(f"'{model.name}'", "a dense layer at its end", "none"))


def scaled_start(model: Any, deviation: float, seed: int) -> None:
    """Draws the kernels of all convolutions from N(0, deviation^2); biases are 0."""
    import keras

    for number, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Conv2D):
            rng = seeds.generator(seed, "kernels of a convolution", number)
            first, *rest = layer.get_weights()
            kernel = deviation * rng.standard_normal(first.shape)
            layer.set_weights([kernel, *(np.zeros(weight.shape) for weight in rest)])


def contrastive(encoder: Any, high: float, seed: int) -> Any:
    """SimCLR: a Keras model whose `fit(images)` teaches the encoder without labels.

    Two random views of every image (shifted, zoomed, contrast and noise changed; not mirrored,
    since digits are not) go through the encoder and a small projection; the loss is the
    cross-entropy of telling an image's other view among all views of the batch, from cosines over a
    temperature of 0.5.

    Args:
        encoder: images to Z; its weights are changed.
        high: of the pixels.
        seed: of views and projection.

    References:
        T. Chen et al.: A simple framework for contrastive learning of visual representations. ICML
        2020.
    """
    import keras
    import tensorflow as tf
    from keras import layers

    views = keras.Sequential(
        [
            layers.RandomTranslation(_SHIFT, _SHIFT, fill_mode="constant", seed=seed),
            layers.RandomZoom((-_ZOOM, _ZOOM), fill_mode="constant", seed=seed + 1),
            layers.RandomContrast(_CONTRAST, value_range=(0.0, high), seed=seed + 2),
            layers.Rescaling(1.0 / high),  # the noise may not be more than 1
            layers.GaussianNoise(_NOISE, seed=seed + 3),
            layers.Rescaling(high),
        ]
    )
    wide = int(encoder.output.shape[-1])
    projection = keras.Sequential(
        [layers.Input((wide,)), layers.Dense(wide, activation="relu"), layers.Dense(_PROJECTED)]
    )

    class Contrastive(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.views, self.projection = encoder, views, projection

        def call(self, images: Any, training: Any = None) -> Any:
            return self.encoder(images, training=training)

        def train_step(self, data: Any) -> dict[str, Any]:
            images = tf.cast(data[0] if isinstance(data, tuple) else data, tf.float32)
            with tf.GradientTape() as tape:
                seen = [
                    self.projection(
                        self.encoder(self.views(images, training=True), training=True),
                        training=True,
                    )
                    for _ in range(2)
                ]
                loss = contrast(tf.concat(seen, axis=0), _TEMPERATURE)
            weights = [*self.encoder.trainable_weights, *self.projection.trainable_weights]
            slopes = tape.gradient(loss, weights)
            self.optimizer.apply_gradients(zip(slopes, weights, strict=True))
            return {"contrast": loss}

    return Contrastive()


def contrast(both: Any, temperature: float) -> Any:
    """Mean cross-entropy of finding each row's partner among the other rows, in nats.

    Args:
        both: (2 n, d) tensor; rows i and n + i belong together.
        temperature: by which cosines are divided.
    """
    import tensorflow as tf

    unit = tf.math.l2_normalize(both, axis=1)
    count = tf.shape(unit)[0]
    scores = tf.matmul(unit, unit, transpose_b=True) / temperature
    scores = tf.linalg.set_diag(scores, tf.fill([count], -1e9))
    partner = tf.roll(tf.range(count), count // 2, 0)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(partner, scores))
