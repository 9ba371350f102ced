"""Measuring a network at some steps of its training: the Keras callback, steps, predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import keras

    from oip.models.datasets import Dataset

Arrays = dict[str, np.ndarray]


class ImageBatch(NamedTuple):
    """Images (n, h, w, bands), their classes (n,), and their pixels (n, d) from 0 to 1."""

    images: np.ndarray
    codes: np.ndarray
    pixels: np.ndarray


class StepRecorder:
    """Measurements of a model at some steps of its training.

    Args:
        steps: numbers of batches that were learned from; 0 is the start, which is always measured.
        prepare: takes the model when training begins and returns the measurement, which returns
            None where there is nothing to record, as of a model that diverged.
    """

    def __init__(
        self, steps: Iterable[int], prepare: Callable[[keras.Model], Callable[[], Arrays | None]]
    ):
        import keras

        self._steps, self._prepare = set(steps), prepare
        self._done = 0
        self._records: list[tuple[int, Arrays]] = []
        self.callback = keras.callbacks.LambdaCallback(
            on_train_begin=self._begin, on_train_batch_end=self._learn
        )

    def rows(self) -> Arrays:
        """Return `steps` (t,) and every measured quantity, (t, ...)."""
        steps, rows = zip(*self._records, strict=True) if self._records else ((), ({},))
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        return {"steps": np.array(steps), **columns}

    def _begin(self, logs: object) -> None:
        self._measure = self._prepare(self.callback.model)  # pyright: ignore[reportArgumentType]
        self._record()

    def _learn(self, batch: int, logs: object) -> None:
        self._done += 1
        if self._done in self._steps:
            self._record()

    def _record(self) -> None:
        row = self._measure()
        if row is not None:
            self._records.append((self._done, row))


def recorded_steps(an_epoch: int, total: int, count: int) -> list[int]:
    """Return 0, the end of the first epoch, the end, and steps between that grow in even ratios."""
    between = np.rint(np.geomspace(1, total, max(2, count - 2))).astype(int)
    return sorted({0, min(an_epoch, total), total, *between.tolist()})


def complete(several: list[Arrays]) -> list[Arrays]:
    """Return the trainings of which every step was measured."""
    longest = max(len(arrays["steps"]) for arrays in several)
    return [arrays for arrays in several if len(arrays["steps"]) == longest]


def predictor(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Return the model as a function of images (n, h, w, bands), run in batches of 512.

    The function uses the weights that the model has when it is called.
    """
    import tensorflow as tf

    from oip.network.forward import run_in_batches
    from oip.network.graphs import compiled

    batches = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)
    graph = compiled(lambda batch: model(batch, training=False), batches)
    return lambda images: np.concatenate([part for _, part in run_in_batches(graph, images, 1)])


def accuracy(predict: Callable[[np.ndarray], np.ndarray], data: Dataset) -> float:
    """Return the share of the images whose class has the largest output."""
    return float((predict(data.images).argmax(axis=1) == data.labels).mean())
