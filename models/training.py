"""Training of a recipe, or of any Keras model; the model is written with a sidecar."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import files, html, seeds
from oip.core.errors import DataError, SettingsError
from oip.core.formats import SidecarFile
from oip.core.frameworks import keras
from oip.core.progress import Progress, automatic
from oip.models.datasets import Dataset, statistics
from oip.models.recipes import Recipe
from oip.models.recipes import recipe as recipe_of
from oip.models.training_settings import TrainSettings, keras_optimizer

if TYPE_CHECKING:
    import pandas as pd

_ENDING = ".keras"
_PREDICTION_BATCH = 512


class TrainingDiverged(SettingsError):
    """A training whose loss or weights are no longer finite."""


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A trained model and its quality.

    Shapes: `confusion` (classes, classes): images of the test part by true class (rows) and by
    predicted class (columns). `losses`: mean training loss of each epoch, penalties included, in
    nats.
    """

    path: Path
    accuracy: float
    """Share of the test part's images whose class is predicted, 0 to 1."""
    confusion: np.ndarray
    losses: tuple[float, ...]
    seconds: float
    """Wall time of the training itself."""
    classes: tuple[str, ...]
    sidecar: dict[str, Any]
    """The content of the file beside the model, `<name>.oip.json`."""

    def __repr__(self) -> str:
        count = int(self.confusion.sum())
        return (
            f"TrainResult '{self.path.name}': accuracy {self.accuracy:.4f} on {count} images of "
            f"{len(self.classes)} classes, {len(self.losses)} epochs in {self.seconds:.1f} s"
        )

    def _repr_html_(self) -> str:
        mistakes = self.confusion.sum(axis=1) - np.diag(self.confusion)
        rows = list(zip(self.classes, self.confusion.sum(axis=1), mistakes, strict=True))
        return html.block(repr(self), html.table(("class", "images", "wrong"), rows))

    def to_pandas(self) -> pd.DataFrame:
        """Return the confusion matrix: rows are true classes, columns predicted ones."""
        import pandas as pd

        return pd.DataFrame(self.confusion, index=self.classes, columns=self.classes)


def train(
    recipe: str | Recipe,
    data_train: Dataset,
    data_test: Dataset,
    settings: TrainSettings | None = None,
    out: str | Path = "model.keras",
    progress: Progress = automatic,
    record: keras.callbacks.Callback | None = None,
    prepare: Callable[[keras.Model], object] | None = None,
) -> TrainResult:
    """Train a network on plain pixels and write it, with its sidecar beside it.

    The same seed gives the same start, order of images and, on one machine with the same versions
    and number of threads, usually the same weights; TensorFlow does not promise the last, and other
    machines differ by rounding. The global seeds of Python, NumPy and Keras are set on the way.

    Args:
        recipe: a recipe or its name.
        data_train: images and labels to learn from; every class must be there.
        data_test: images and labels that the model is evaluated on.
        settings: the recipe's own for so many images if None.
        out: the file to write, ending in `.keras`; an existing file is replaced at the end.
        progress: called with "training" and the number of batches.
        record: a Keras callback that watches the training, such as `mi.Recorder`.
        prepare: called with the untrained model, to change its weights, as `models.initialize`
            does.

    Raises:
        SettingsError: no such recipe, or an `out` of another ending.
        TrainingDiverged: the loss is not finite at the end.
        DataError: data that do not fit the recipe or each other.
        RunError: `out` cannot be written.
    """
    chosen = recipe_of(recipe) if isinstance(recipe, str) else recipe
    out = Path(out)
    check_model_path(out)
    labels_test = _checked_labels(data_train, data_test)
    settings = chosen.settings(len(data_train)) if settings is None else settings
    mean, std = statistics(data_train.images)

    keras.utils.set_random_seed(settings.seed)
    model = chosen.build(
        data_train.images.shape[1:], len(data_train.classes), mean, std, settings.l2
    )
    if prepare is not None:
        prepare(model)
    began = time.perf_counter()
    callbacks = [] if record is None else [record]
    losses = fit(model, data_train, settings, progress, callbacks)
    seconds = time.perf_counter() - began
    confusion = confusion_of(model, data_test.images, labels_test, len(data_test.classes))
    accuracy = float(np.trace(confusion) / confusion.sum())
    sidecar = {
        "input": {
            "shape": list(data_train.images.shape[1:]),
            "mean": mean.tolist(),
            "std": std.tolist(),
            "low": data_train.low,
            "high": data_train.high,
        },
        "classes": list(data_train.classes),
        "data": data_train.source,
        "recipe": chosen.name,
        "options": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in chosen.options.items()
        },
        "settings": settings.to_dict(),
        "accuracy": accuracy,
        "confusion": confusion.tolist(),
        "losses": list(losses),
        "seconds": round(seconds, 3),
    }
    return TrainResult(
        path=out,
        accuracy=accuracy,
        confusion=confusion,
        losses=losses,
        seconds=seconds,
        classes=data_train.classes,
        sidecar=write_model(model, out, sidecar),
    )


def fit(
    model: keras.Model,
    data: Dataset,
    settings: TrainSettings,
    progress: Progress = automatic,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[float, ...]:
    """Train a Keras model on plain pixels and labels.

    Args:
        model: maps images to class probabilities, or has a `train_step` of its own whose result
            holds the "loss". It is compiled here.
        data: images and labels to learn from.
        settings: optimizer, epochs and batches; the seed is that of the model's builder.
        progress: called with "training" and the number of batches.
        callbacks: Keras callbacks that watch the training.

    Returns:
        The mean loss of each epoch, penalties included, in nats.

    Raises:
        TrainingDiverged: a loss or a weight is not finite at the end.
        DataError: there are no labels.
    """
    labels = data.required_labels()
    steps = settings.epochs * math.ceil(len(data) / settings.batch)
    model.compile(
        optimizer=keras_optimizer(settings, steps),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        # XLA compiles for longer than such a network trains, and is no faster on a CPU.
        jit_compile=False,  # type: ignore[arg-type]
    )
    _make_variables(model, data)
    # The pixels stay as they are stored; Keras makes floats of one batch at a time.
    history = model.fit(
        data.images,
        labels,
        batch_size=settings.batch,
        epochs=settings.epochs,
        callbacks=[_progress_callback(progress, steps), *callbacks],
        verbose=0,  # type: ignore[arg-type]
    )
    losses = tuple(float(loss) for loss in history.history["loss"])
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        losses = (*losses[:-1], math.nan)
    if not math.isfinite(losses[-1]):
        hint = "Lower the learning rate; nothing was written."
        raise TrainingDiverged("training diverged: the loss", "a number", losses[-1], hint)
    return losses


def _make_variables(model: keras.Model, data: Dataset) -> None:
    """Make the variables of a compiled model's optimizer and metrics before its training.

    Keras makes them within the graph of a step, and traces that graph a second time without.
    """
    if type(model).train_step is not keras.Model.train_step:
        return
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    outputs = model(data.images[:1].astype(np.float32))
    model.compute_metrics(None, data.required_labels()[:1], outputs)
    model.reset_metrics()


def confusion_of(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, classes: int
) -> np.ndarray:
    """Return (classes, classes) counts of images by true (rows) and predicted class (columns)."""
    outputs = model.predict(images, batch_size=_PREDICTION_BATCH, verbose=0)  # type: ignore[arg-type]
    predicted = outputs.argmax(axis=1)
    counts = np.bincount(labels * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes)


def write_model(model: keras.Model, out: Path, sidecar: dict[str, Any]) -> dict[str, Any]:
    """Write the model and its sidecar; return the sidecar's content.

    Args:
        out: a file that ends in .keras.
        sidecar: fields of `SidecarFile` but for the model's name and digest.
    """
    with files.replacing(out, _ENDING) as temporary:
        model.save(temporary)
        digest = files.sha256(temporary)
        record = SidecarFile.of({"model": out.name, "sha256": digest, **sidecar})
        # Written before the model replaces `out`: after a crash in between, the sidecar fits no
        # model and is not used; otherwise a model would have no sidecar.
        record.write(out.with_suffix(".oip.json"))
    return record.content()


def _progress_callback(progress: Progress, steps: int) -> keras.callbacks.Callback:
    """Return a callback that reports batches and stops when the loss is not finite."""

    class TrainingProgress(keras.callbacks.Callback):
        done = 0

        def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
            progress("training", 0, steps)

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            self.done += 1
            progress("training", self.done, steps)

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            if not math.isfinite((logs or {}).get("loss", 0.0)) and self.model is not None:
                self.model.stop_training = True

    return TrainingProgress()


def check_model_path(out: Path) -> None:
    """Raise a SettingsError or RunError if no model can be written to `out`."""
    if out.suffix != _ENDING:
        raise SettingsError("the model to write", f"a name ending in {_ENDING}", out.name)
    files.check_replaceable(out)
    files.check_writable(out.parent)


def _checked_labels(train_: Dataset, test: Dataset) -> np.ndarray:
    """Return the labels of the test part, which have to fit those of the train part."""
    labels, labels_test = train_.required_labels(), test.required_labels()
    if train_.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            "images of the test part",
            f"{train_.images.shape[1:]} as in the train part",
            test.images.shape[1:],
        )
    if train_.classes != test.classes:
        raise DataError(
            "classes of the test part",
            f"the {len(train_.classes)} of the train part",
            f"{len(test.classes)}, or others",
        )
    present = np.bincount(labels, minlength=len(train_.classes)) > 0
    if not present.all():
        absent = train_.classes[int(np.argmin(present))]
        hint = "Leave that class out: its folder, or its name in 'classes'."
        what = f"{train_.source}: labels"
        raise DataError(what, "images of every class", f"none of '{absent}'", hint)
    return labels_test


def train_batches(
    model: keras.Model,
    data: Dataset,
    iterations: int,
    batch: int,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Train a compiled model until it has learned from so many batches.

    Batch number k depends on the seed and on k alone: a model that `load_state` has restored goes
    on as if it had never been stopped.

    Args:
        model: compiled; its optimizer counts the batches that it has learned from.
        data: images with labels.
        iterations: batches in all, those that it has learned from before included.
        batch: images of each.
        callbacks: receive one epoch, from the first missing batch to the last.
    """
    done = batches_done(model)
    batches = Batches(len(data), batch, seed)
    labels = data.required_labels()

    class MissingBatches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return iterations - done

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rows = batches.at(done + index)
            return data.images[rows].astype(np.float32), labels[rows]

    if done < iterations:
        _make_variables(model, data)
        model.fit(MissingBatches(), shuffle=False, verbose=0, callbacks=list(callbacks))  # type: ignore[arg-type]
        return
    for callback in callbacks:  # Keras refuses an epoch without batches.
        callback.set_model(model)
        callback.on_train_begin(None)
        callback.on_train_end(None)


def batches_done(model: keras.Model) -> int:
    """Return the batches that a compiled model has learned from."""
    return int(model.optimizer.iterations.value.numpy())


class Batches:
    """Indices of images, each once a pass; which ones depends on the number of the batch alone."""

    def __init__(self, count: int, batch: int, seed: int):
        self._count, self._batch, self._seed = count, batch, seed
        self._pass, self._order = -1, np.zeros(0, np.int32)

    def at(self, done: int) -> np.ndarray:
        """Return the (batch,) int32 indices of the batch that follows `done` others."""
        number, position = divmod(done, max(1, self._count // self._batch))
        if number != self._pass:
            drawn = seeds.generator(self._seed, "study-batches", number).permutation(self._count)
            self._pass, self._order = number, drawn.astype(np.int32)
        # Of fewer images than a batch some come twice.
        return np.resize(self._order[position * self._batch :][: self._batch], self._batch)


def save_state(path: Path, model: keras.Model, with_optimizer: bool = True) -> None:
    """Write a model's weights, and by default the state of its optimizer, as an `.npz`."""
    arrays = {f"weight-{index}": value for index, value in enumerate(model.get_weights())}
    if with_optimizer:
        for index, variable in enumerate(model.optimizer.variables):
            arrays[f"optimizer-{index}"] = variable.value.numpy()
        arrays["iterations"] = np.array(batches_done(model))
    files.write_arrays(path, arrays, compressed=False)  # weights hardly become smaller


def load_state(path: Path, model: keras.Model) -> None:
    """Restore the weights, and the state of the optimizer where it was saved.

    Args:
        path: a file of `save_state`.
        model: of the same layers; compiled, with its optimizer built, to restore the latter.

    Raises:
        RunError: the file is not there, or damaged.
    """
    saved = files.read_arrays(path)
    model.set_weights([saved[f"weight-{index}"] for index in range(len(model.weights))])
    if "iterations" in saved:
        for index, variable in enumerate(model.optimizer.variables):
            variable.assign(saved[f"optimizer-{index}"])
