"""Responses and errors of every layer of a network for a batch of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_READ = ("Conv2D", "Dense")
_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Reading:
    """One batch. A dense layer counts as one map with a node for every unit."""

    responses: list[np.ndarray]
    """A layer each: (n, maps, nodes), after the activation; class probabilities come last."""
    errors: list[np.ndarray]
    """A layer each, of the same shape: derivative of an image's loss by the pre-activation."""


def forward(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The model as a function of images (n, h, w, bands) of any number, in batches of 512.

    Weights are seen as they are when it is called.
    """
    import tensorflow as tf

    from oip.network.graphs import compiled

    shape = model.inputs[0].shape[1:]
    graph = compiled(
        lambda images: model(images, training=False), tf.TensorSpec((None, *shape), tf.float32)
    )

    def run(images: np.ndarray) -> np.ndarray:
        parts = (images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE))
        return np.concatenate(
            [graph(tf.constant(np.asarray(p, np.float32))).numpy() for p in parts]
        )

    return run


def accuracy(run: Callable[[np.ndarray], np.ndarray], data: Any) -> float:
    """Share of the images of a data set whose class is the largest output of `run`."""
    return float((run(data.images).argmax(axis=1) == data.labels).mean())


class Probe:
    """Reads the convolutional and dense layers of a model that is being trained, again and again.

    Args:
        model: a functional Keras model of plain layers that ends in a softmax of classes, as the
            recipes make them. The weights are seen as they are when it is read.
    """

    def __init__(self, model: Any):
        import keras

        self._layers = [layer for layer in model.layers if type(layer).__name__ in _READ]
        self._model = keras.Model(model.inputs, [layer.output for layer in self._layers])
        self._graph = self._compiled()

    @property
    def names(self) -> list[str]:
        """Of the layers, first to last."""
        return [layer.name for layer in self._layers]

    @property
    def maps(self) -> list[int]:
        """Of each layer; 1 for a dense one."""
        convolutional = [type(layer).__name__ == "Conv2D" for layer in self._layers]
        return [
            int(layer.output.shape[-1]) if maps else 1
            for layer, maps in zip(self._layers, convolutional, strict=True)
        ]

    def read(self, images: np.ndarray, labels: np.ndarray) -> Reading:
        """Responses and errors of all layers.

        Args:
            images: (n, h, w, bands), as the model is fed with them.
            labels: (n,) int: places of the classes in the output.
        """
        import tensorflow as tf

        outputs, slopes = self._graph(
            tf.constant(np.asarray(images, np.float32)), tf.constant(labels, tf.int32)
        )
        return Reading(
            [_as_maps(one.numpy()) for one in outputs], [_as_maps(one.numpy()) for one in slopes]
        )

    def _compiled(self) -> Any:
        import tensorflow as tf

        from oip.network.graphs import compiled

        def read(images: Any, labels: Any) -> tuple[list[Any], list[Any]]:
            with tf.GradientTape() as tape:
                tape.watch(images)
                outputs = self._model(images, training=False)
                true = tf.gather(outputs[-1], labels, batch_dims=1)
                loss = -tf.reduce_sum(tf.math.log(true + 1e-12))
            slopes = tape.gradient(loss, outputs[:-1])
            found = [
                slope * _derivative(layer, output)
                for layer, output, slope in zip(self._layers, outputs, slopes, strict=False)
            ]
            last = outputs[-1] - tf.one_hot(labels, outputs[-1].shape[-1])
            return outputs, [*found, last]

        image = tf.TensorSpec((None, *self._model.inputs[0].shape[1:]), tf.float32)
        return compiled(read, image, tf.TensorSpec((None,), tf.int32))


def _derivative(layer: Any, output: Any) -> Any:
    """Of the layer's activation, from what it gave."""
    import tensorflow as tf

    from oip.core.errors import ModelError, expected

    name = getattr(layer.activation, "__name__", "")
    if name == "relu":
        return tf.cast(output > 0, output.dtype)
    if name == "sigmoid":
        return output * (1.0 - output)
    if name == "tanh":
        return 1.0 - output * output
    if name == "linear":
        return tf.ones_like(output)
    raise ModelError(
        expected(f"activation of '{layer.name}'", "relu, sigmoid, tanh or linear", f"'{name}'")
    )


def _as_maps(values: np.ndarray) -> np.ndarray:
    """(n, h, w, maps) to (n, maps, h w); (n, units) to (n, 1, units)."""
    if values.ndim == 2:
        return values[:, None]
    return np.moveaxis(values.reshape(len(values), -1, values.shape[-1]), 1, 2)
