"""Diffusion spectral quantities of the layer before the head, over trainings of three kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from oip.core import seeds
from oip.core.progress import Progress
from oip.studies.diffusion_encoder import before_head, contrastive, scaled_start
from oip.studies.diffusion_measures import measure
from oip.studies.frame import base_name, slug
from oip.studies.renyi_probe import accuracy, forward
from oip.studies.renyi_training import recorded_steps

METHODS = ("supervised", "SimCLR", "random labels")
LONGER = 4
"""Times the epochs for random labels, which are learned by heart."""
_RATE = 1e-3
_FITTED = 2_000
"""Images that were learned from, of which the share of given labels is told."""


@dataclass(frozen=True)
class Learning:
    """One training."""

    source: str
    recipe: str
    method: str
    seed: int
    epochs: int
    deviation: float | None = None
    """Of the first kernels of convolutions; Keras' own start if None."""

    @property
    def name(self) -> str:
        """For files, without anything of a path."""
        start = "" if self.deviation is None else f"-deviation{self.deviation:g}"
        words = (slug(part) for part in (base_name(self.source), self.recipe, self.method))
        return f"{'-'.join(words)}{start}-seed{self.seed}"


@dataclass(frozen=True, eq=False)
class Watched:
    """What representations are measured on."""

    images: np.ndarray
    codes: np.ndarray
    pixels: np.ndarray
    """(n, d) from 0 to 1."""

    @classmethod
    def of(cls, data: Any, count: int, seed: int) -> Watched:
        """Some images of a data set, in the shares of their classes, two of each at least."""
        from mi.labels import stratified

        codes = np.unique(data.labels, return_inverse=True)[1]
        places = stratified(codes, max(count, 2 * (int(codes.max()) + 1)), seed)
        images = data.images[places]
        pixels = images.reshape(len(images), -1).astype(np.float64) / data.high
        return cls(images, codes[places], pixels)


def learned(
    one: Learning, data: tuple[Any, Any], count: int, records: int, progress: Progress
) -> dict[str, np.ndarray]:
    """Trains a network and measures its representation on the way.

    Args:
        one: what is trained, by Adam in batches of 128.
        data: images to learn from, and those to measure and judge by.
        count: of images that are measured.
        records: of the training, about, growing in even ratios.
        progress: told batches.

    Returns:
        `steps` (t,), of each quantity of `measure` (t,), `accuracy` (t,) on all test images (NaN
        where nothing was learned of labels); with labels `fitted`, the share of the labels that it
        was given that it gives back.
    """
    import keras

    import models
    from models.datasets import statistics

    data_train, data_test = data
    keras.utils.set_random_seed(one.seed)
    mean, std = statistics(data_train.images)
    classes = len(data_train.classes)
    model = models.recipe(one.recipe).build(data_train.images.shape[1:], classes, mean, std)
    if one.deviation is not None:
        scaled_start(model, one.deviation, one.seed)
    encoder = before_head(model)
    watched = Watched.of(data_test, count, one.seed)
    labels = data_train.labels
    if one.method == "random labels":
        labels = seeds.generator(one.seed, "random labels").permutation(labels)
    an_epoch = -(-len(data_train) // 128)
    steps = recorded_steps(an_epoch, one.epochs * an_epoch, records)
    run = forward(model)
    judged = None if one.method == "SimCLR" else (lambda: accuracy(run, data_test))
    watcher: Any = _watcher(encoder, watched, set(steps), judged, one.seed, progress, max(steps))
    optimizer = keras.optimizers.Adam(_RATE)
    pixels = data_train.images
    fitting: dict[str, Any] = {"batch_size": 128, "verbose": 0, "callbacks": [watcher]}
    if one.method == "SimCLR":
        learner = contrastive(encoder, data_train.high, one.seed)
        learner.compile(optimizer=optimizer, jit_compile=False)
        learner.fit(pixels, epochs=one.epochs, **fitting)
        return watcher.found()
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(pixels, labels, epochs=one.epochs, **fitting)
    fitted = run(pixels[:_FITTED]).argmax(axis=1) == labels[:_FITTED]
    return {**watcher.found(), "fitted": np.array(float(fitted.mean()))}


def _watcher(
    encoder: Any,
    watched: Watched,
    wanted: set[int],
    judged: Callable[[], float] | None,
    seed: int,
    progress: Progress,
    total: int,
) -> Any:
    """A Keras callback that measures at some steps."""
    import keras

    class Watcher(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self._step = 0
            self._represent = forward(encoder)
            self._steps: list[int] = []
            self._rows: list[dict[str, np.ndarray]] = []

        def on_train_begin(self, logs: Any = None) -> None:
            progress("training", 0, total)
            self._measure()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._step += 1
            progress("training", self._step, total)
            if self._step in wanted:
                self._measure()

        def found(self) -> dict[str, np.ndarray]:
            names = self._rows[0]
            rows = {name: np.array([row[name] for row in self._rows]) for name in names}
            return {"steps": np.array(self._steps), **rows}

        def _measure(self) -> None:
            z = self._represent(watched.images)
            if not np.isfinite(z).all():
                return
            row = measure(z, watched.codes, watched.pixels, seed)
            row["accuracy"] = np.array(np.nan if judged is None else judged())
            self._steps.append(self._step)
            self._rows.append(row)

    return Watcher()
