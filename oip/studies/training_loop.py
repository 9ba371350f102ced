"""The loop of a watched training: batches, steps, records, saved states."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from oip.core import files, seeds
from oip.core.errors import SettingsError, expected
from oip.core.progress import Progress
from oip.core.quiet import import_quietly
from oip.studies.training_state import put, record_until, resumed, save, weights_file
from oip.studies.watched import (
    RECORDED,
    WIDTHS,
    Watched,
    built,
    is_saved,
    kept_at,
    recorded_at,
)


def train_to(
    path: Path,
    watched: Watched,
    train: Any,
    test: Any,
    iterations: int,
    seed: int,
    progress: Progress,
) -> float:
    """Trains to the end from what is saved; returns the accuracy on the whole test part."""
    import_quietly("keras")
    import keras

    import mi

    keras.utils.set_random_seed(seeds.derived_seed(seed, "study-training"))
    model = built(watched, train)
    optimizer = keras.optimizers.Adam(watched.learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
    optimizer.build(model.trainable_variables)
    done = resumed(path, model, optimizer)
    if done > iterations:
        return _accuracy_on_the_way(path, model, test, iterations, done)
    step = _step(model, optimizer, train, watched.batch)
    batches = Batches(len(train), watched.batch, seed)
    recorders = [
        _recorder(path / width, watched, test, seed, mi.estimator("kde", **parameters))
        for width, parameters in WIDTHS.items()
    ]
    label = f"{train.source.partition(':')[0]}: {watched.name}"
    progress(label, done, iterations)
    records, kept = set(recorded_at(iterations)), set(kept_at(iterations))
    for recorder in recorders:
        recorder.set_model(model)
        recorder.on_train_begin()
    while True:
        if done in kept:
            save(weights_file(path, done), model)
        if done >= iterations:
            break
        loss = step(batches.at(done))
        done += 1
        for recorder in recorders:
            recorder.on_train_batch_end(done)
        if done in records:
            if not math.isfinite(float(loss)):
                raise SettingsError(expected(f"training of {label}", "a finite loss", float(loss)))
            if is_saved(done, iterations):
                save(path / "last.npz", model, optimizer)
            progress(label, done, iterations)
    for recorder in recorders:
        recorder.on_train_end()
    return _accuracy(model, test)


def _accuracy(model: Any, test: Any) -> float:
    right = 0
    for first in range(0, len(test), RECORDED):
        some = slice(first, first + RECORDED)
        told = model(test.images[some].astype(np.float32), training=False)
        right += int((np.argmax(told, axis=1) == test.labels[some]).sum())
    return right / len(test)


def _accuracy_on_the_way(path: Path, model: Any, test: Any, iterations: int, done: int) -> float:
    """Of a training that is wanted up to a point which it has passed long since."""
    missing = [one for one in kept_at(iterations) if not weights_file(path, one).exists()]
    wanted = recorded_at(iterations)
    recorded = [record_until(path / width, iterations).steps.tolist() == wanted for width in WIDTHS]
    if missing or not all(recorded):
        hint = "Ask for as many, for a multiple of 5000, or choose another folder."
        there = f"{done} iterations, which were done already"
        raise SettingsError(expected("iterations", there, iterations, hint))
    put(model, files.read_arrays(weights_file(path, iterations)))
    return _accuracy(model, test)


def _recorder(path: Path, watched: Watched, test: Any, seed: int, estimator: Any) -> Any:
    import mi

    # The schedule holds no end, so that a longer training goes on with the same record.
    steps = recorded_at(10**6)
    return mi.Recorder(
        test.images,
        test.labels,
        steps,
        out=path,
        layers=watched.blocks,
        dense=watched.dense,
        at="block",
        estimator=estimator,
        samples=RECORDED,
        seed=seed,
        classes=test.classes,
        split=test.source,
    )


def _step(model: Any, optimizer: Any, data: Any, batch: int) -> Any:
    """One compiled step on the images at (batch,) places; gives the loss."""
    import keras
    import tensorflow as tf

    images = tf.constant(data.images)
    labels = tf.constant(data.labels)
    loss_of = keras.losses.SparseCategoricalCrossentropy()

    @tf.function(input_signature=[tf.TensorSpec((batch,), tf.int32)])
    def step(places: Any) -> Any:
        with tf.GradientTape() as tape:
            pixels = tf.cast(tf.gather(images, places), tf.float32)
            loss = loss_of(tf.gather(labels, places), model(pixels, training=True))
        target: Any = loss
        gradients = tape.gradient(target, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    return step


class Batches:
    """Places of images, each once a pass; which ones depends on the iteration alone."""

    def __init__(self, count: int, batch: int, seed: int):
        self._count, self._batch, self._seed = count, batch, seed
        self._pass, self._order = -1, np.zeros(0, np.int32)

    def at(self, done: int) -> np.ndarray:
        """(batch,) int32: of the iteration that follows `done` others."""
        number, place = divmod(done, max(1, self._count // self._batch))
        if number != self._pass:
            drawn = seeds.generator(self._seed, "study-batches", number).permutation(self._count)
            self._pass, self._order = number, drawn.astype(np.int32)
        # Of fewer images than a batch some come twice.
        return np.resize(self._order[place * self._batch :][: self._batch], self._batch)
