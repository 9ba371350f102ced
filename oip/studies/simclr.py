"""SimCLR: a network that learns from images without labels, by contrasting random views."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    from tensorflow import Tensor

_TEMPERATURE = 0.5
_PROJECTED = 64
_SHIFT, _ZOOM, _CONTRAST, _NOISE = 0.15, 0.2, 0.4, 0.05


def contrastive(encoder: keras.Model, high: float, seed: int) -> keras.Model:
    """Return a Keras model whose `fit(images)` teaches the encoder without labels.

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
    width = int(encoder.outputs[0].shape[-1])
    projection = keras.Sequential(
        [layers.Input((width,)), layers.Dense(width, activation="relu"), layers.Dense(_PROJECTED)]
    )

    class Contrastive(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.views, self.projection = encoder, views, projection

        def compile(self, optimizer: keras.Optimizer, **_options: object) -> None:
            """Set the optimizer; the loss is the model's own."""
            super().compile(optimizer=optimizer, jit_compile=False)

        def call(self, images: Tensor, training: bool | None = None) -> Tensor:
            return self.encoder(images, training=training)

        def train_step(self, data: tuple[Tensor, ...] | Tensor) -> dict[str, Tensor]:
            images = tf.cast(data[0] if isinstance(data, tuple) else data, tf.float32)

            def project() -> Tensor:
                views = self.views(images, training=True)
                return self.projection(self.encoder(views, training=True), training=True)

            with tf.GradientTape() as tape:
                loss = contrast(tf.concat([project(), project()], axis=0), _TEMPERATURE)
            weights = [*self.encoder.trainable_weights, *self.projection.trainable_weights]
            slopes = tape.gradient(loss, weights)
            self.optimizer.apply_gradients(zip(slopes, weights, strict=True))
            # Of "loss" alone Keras would report its own tracker, which is empty here.
            return {"loss": loss, "contrast": loss}

    return Contrastive()


def contrast(views: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy of finding each row's partner among the rest, in nats.

    Args:
        views: (2 n, d); rows i and n + i belong together.
        temperature: by which cosines are divided.
    """
    import tensorflow as tf

    unit = tf.math.l2_normalize(views, axis=1)
    count = tf.shape(unit)[0]
    scores = tf.matmul(unit, unit, transpose_b=True) / temperature
    scores = tf.linalg.set_diag(scores, tf.fill([count], -1e9))
    partner = tf.roll(tf.range(count), count // 2, 0)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(partner, scores))
