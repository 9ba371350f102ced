"""Training of a recipe or of any Keras model, from its start to the file with its sidecar."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from oip.core import files, html, seeds
from oip.core.checks import check_kind, check_number, check_path
from oip.core.errors import DataError, ModelError, RunError, SettingsError
from oip.core.formats import SidecarFile
from oip.core.frameworks import keras
from oip.core.output_formats import ModelStateFile
from oip.core.progress import Progress, automatic
from oip.models.datasets import Dataset, statistics
from oip.models.recipes import Recipe
from oip.models.recipes import recipe as recipe_of
from oip.models.training_settings import TrainSettings, keras_optimizer

if TYPE_CHECKING:
    import pandas as pd

_ENDING = ".keras"
_PREDICTION_BATCH = 512
_LEAST, _MOST = 1e-4, 10.0
"""Deviations of the kernels that are searched for a start."""
_FACTOR = 2.0
_HALVINGS = 12
_CLOSE = 0.01
"""Share of the entropy by which the search may miss it."""


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
    prepare: Callable[[keras.Model], Start | None] | None = None,
) -> TrainResult:
    """Train a network on plain pixels and write it, with its sidecar beside it.

    The same seed gives the same start, order of images and, on one machine with the same versions
    and number of threads, usually the same weights; TensorFlow does not promise the last, and other
    machines differ by rounding. The global seeds of Python, NumPy and Keras are set on the way.

    Args:
        recipe: a recipe or its name.
        data_train: images and labels to learn from; every class must be there.
        data_test: images and labels that the model is evaluated on.
        settings: if None the recipe's own, by the number of images.
        out: the file to write, ending in `.keras`; an existing file is replaced at the end.
        progress: called with "training" and the number of batches.
        record: a Keras callback that watches the training, such as `mi.Recorder`.
        prepare: called with the untrained model, to change its weights, as `models.initialize`
            does; the start that it returns is noted in the sidecar.

    Raises:
        SettingsError: no such recipe, or an `out` of another ending.
        TrainingDiverged: the loss is not finite at the end.
        DataError: data that do not fit the recipe or each other.
        RunError: `out` cannot be written.
    """
    chosen_recipe = recipe_of(recipe) if isinstance(recipe, str) else recipe
    check_kind("recipe", chosen_recipe, Recipe, "a recipe or its name")
    for name, data in (("data_train", data_train), ("data_test", data_test)):
        check_kind(name, data, Dataset, "a Dataset", "Read one by models.load.")
    out = check_path("out", out, "the path of a .keras file")
    check_model_path(out)
    labels_test = _checked_labels(data_train, data_test)
    settings = chosen_recipe.settings(len(data_train)) if settings is None else settings
    mean, std = statistics(data_train.images)

    keras.utils.set_random_seed(settings.seed)
    model = chosen_recipe.build(
        data_train.images.shape[1:], len(data_train.classes), mean, std, settings.l2
    )
    start = None if prepare is None else prepare(model)
    started = time.perf_counter()
    callbacks = [] if record is None else [record]
    losses = fit(model, data_train, settings, progress, callbacks)
    seconds = time.perf_counter() - started
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
        "recipe": chosen_recipe.name,
        "options": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in chosen_recipe.options.items()
        },
        "settings": settings.to_dict(),
        "start": None if start is None else start._asdict(),
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


def release(model: keras.Model) -> None:
    """Give back the memory of a trained model that nobody needs any more; it is useless after this.

    TensorFlow 2.10 and later keep the numbers of a variable that a graph has assigned for as long
    as the process lives, also when nothing refers to the model: 33 MB for each training by Adam of
    2.4 million weights. So their place is taken by no numbers at all.
    """
    import tensorflow as tf

    optimizer = getattr(model, "optimizer", None)
    for variable in [*model.variables, *([] if optimizer is None else optimizer.variables)]:
        empty = tf.zeros([0], variable.dtype)
        tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=empty)


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
        finished_batches = 0

        def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
            progress("training", 0, steps)

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            self.finished_batches += 1
            progress("training", self.finished_batches, steps)

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
        subject = f"{train_.source}: labels"
        raise DataError(subject, "images of every class", f"none of '{absent}'", hint)
    return labels_test


def train_batches(
    model: keras.Model,
    data: Dataset,
    iterations: int,
    batch: int,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Train a compiled model until it has learned from a number of batches.

    Batch number k depends on the seed and on k alone: a model that `load_state` has restored goes
    on as if it had never been stopped.

    Args:
        model: compiled; its optimizer counts the batches that it has learned from.
        data: images with labels.
        iterations: batches in all, those that it has learned from before included.
        batch: images of each.
        callbacks: receive one epoch, from the first missing batch to the last.
    """
    start = batches_done(model)
    batches = Batches(len(data), batch, seed)
    labels = data.required_labels()

    class MissingBatches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return iterations - start

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rows = batches.at(start + index)
            return data.images[rows].astype(np.float32), labels[rows]

    if start < iterations:
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

    def at(self, step: int) -> np.ndarray:
        """Return the (batch,) int32 indices of the batch after `step` others."""
        epoch, position = divmod(step, max(1, self._count // self._batch))
        if epoch != self._pass:
            order = seeds.generator(self._seed, "study-batches", epoch).permutation(self._count)
            self._pass, self._order = epoch, order.astype(np.int32)
        # Of fewer images than a batch some come twice.
        return np.resize(self._order[position * self._batch :][: self._batch], self._batch)


def save_state(path: Path, model: keras.Model, with_optimizer: bool = True) -> None:
    """Write a model's weights, and by default the state of its optimizer, as an `.npz`."""
    arrays = {f"weight-{index}": value for index, value in enumerate(model.get_weights())}
    iterations = None
    if with_optimizer:
        for index, variable in enumerate(model.optimizer.variables):
            arrays[f"optimizer-{index}"] = variable.value.numpy()
        iterations = batches_done(model)
    record = ModelStateFile(named=arrays, iterations=iterations)
    files.write_arrays(path, record.arrays(), compressed=False)  # weights hardly become smaller


def load_state(path: Path, model: keras.Model) -> None:
    """Restore the weights, and the state of the optimizer where it was saved.

    Args:
        path: a file of `save_state`.
        model: of the same layers; compiled, with its optimizer built, to restore the latter.

    Raises:
        RunError: the file is not there, damaged or of other layers; the model is as it was.
    """
    state = ModelStateFile.read(path)
    weights = state.variables("weight", len(model.weights))
    variables = model.optimizer.variables if state.iterations is not None else []
    values = state.variables("optimizer", len(variables))
    pairs = zip([*model.weights, *variables], [*weights, *values], strict=True)
    for variable, array in pairs:
        if tuple(variable.shape) != array.shape:
            received = f"an array of shape {array.shape} for '{variable.path}'"
            raise RunError(f"'{path.name}'", f"a state of '{model.name}'", received)
    model.set_weights(weights)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


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
    check_kind("model", model, keras.Model, "a Keras model")
    check_kind("images", images, np.ndarray, "an array of images")
    encoder = before_head(model)

    def reached_entropy(deviation: float) -> float:
        scale_kernels(model, deviation, seed)
        batches = [
            encoder(images[i : i + _PREDICTION_BATCH], training=False)
            for i in range(0, len(images), _PREDICTION_BATCH)
        ]
        z = np.concatenate([np.asarray(batch, np.float64) for batch in batches])
        return (
            float(estimator.entropy(z, seed).nats) / math.log(2)
            if np.isfinite(z).all()
            else math.inf
        )

    low, high = _LEAST, _LEAST
    lowest = value = reached_entropy(high)
    while value < entropy and high < _MOST:
        low, high = high, _FACTOR * high
        value = reached_entropy(high)
    if value < entropy or lowest > entropy:
        between = f"{lowest:.3g} to {value:.3g} bits, which these images and this estimator allow"
        hint = "The estimator has to see the scale of the responses, as dse with a sigma does."
        raise SettingsError("entropy at the start", between, entropy, hint)
    for _ in range(_HALVINGS):
        if abs(value - entropy) <= _CLOSE * entropy:
            break
        middle = math.sqrt(low * high)
        start_entropy = reached_entropy(middle)
        low, high, value = (
            (middle, high, value) if start_entropy < entropy else (low, middle, start_entropy)
        )
    return Start(high, reached_entropy(high))


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
    for layer_index, layer in layers:
        rng = seeds.generator(seed, "kernels of a convolution", layer_index)
        first, *other_weights = layer.get_weights()
        kernel = deviation * rng.standard_normal(first.shape)
        layer.set_weights([kernel, *(np.zeros(weight.shape) for weight in other_weights)])
