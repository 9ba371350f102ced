"""Trainings that studies share: recorded, measured at steps, with information in the loss."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from oip.core import seeds
from oip.core.errors import RunError, SettingsError
from oip.core.files import WriteError
from oip.core.frameworks import import_quietly
from oip.core.output_formats import StudyTrainingFile, TrainingEndFile
from oip.studies.data import Images, data_key
from oip.studies.findings import TOO_SHORT, Finding, Value, agreement, finding, text_file
from oip.studies.report import Arrays, Folder, StudySettings, slug

if TYPE_CHECKING:
    import keras
    from tensorflow import Tensor

    from oip.mi import Recorder
    from oip.mi.training.record import TrainingRecord
    from oip.models import Dataset
    from oip.network.network import Network

RECORDED = 500
"""Images of the test part that information is measured on; the kernel estimate needs all their
distances."""
WIDTHS = {"relative": {"relative": 0.1}, "fixed": {"noise": 0.1}}
"""Variance of the Gaussian kernels: a tenth of the map's median squared distance, which does not
change with the scale of the responses; or 0.1 in their own units, as in the literature."""
SOURCE = (
    "H. Fang, V. Wang, M. Yamaguchi: Dissecting Deep Learning Networks—Visualizing Mutual "
    "Information. Entropy 20 (2018) 823"
)
BLOCK_NAMES = ("first block", "second block")
"""Of the convolutional networks, in figures and text."""
_SCHEMA = 1
_EARLY = (0, 1, 2, 5, 10, 20, 50, 100, 200)
_REGULAR = 500
_KEPT = 5_000
_QUICK, _FULL = 500, 10_000


@dataclass(frozen=True)
class RecordedNetwork:
    """A network whose training, by Adam at a constant rate, is recorded.

    A training of more iterations begins with the same ones.
    """

    recipe: str
    blocks: tuple[str, ...]
    """Convolutions whose maps are recorded, of the block output after ReLU and pooling."""
    dense: tuple[str, ...]  # layers that are recorded as a whole only
    options: tuple[tuple[str, int | tuple[int, ...]], ...] = ()  # of the recipe
    batch: int = 64
    learning_rate: float = 1e-3
    title: str = ""  # its name in figures and text

    @property
    def name(self) -> str:
        """The recipe with its options."""
        return " ".join([self.recipe, *(f"{name} {value}" for name, value in self.options)])

    def build(self, data: Dataset) -> keras.Model:
        """Return the untrained network; it takes stored pixels and divides by their range."""
        from oip import models

        shape = data.images.shape[1:]
        low, high = (np.full(shape[-1], level) for level in (data.low, data.high))
        options: dict[str, Any] = dict(self.options)
        return models.build(self.recipe, shape, len(data.classes), low, high - low, **options)


_DENSE = ("Dense_1", "Dense_2", "Dense_3", "Dense_4", "Dense_5")
RELU_MLP = RecordedNetwork("relu-mlp", (), (*_DENSE[:3], "classes"), title="ReLU-MLP")
LENET = RecordedNetwork("lenet", ("Conv2D_1", "Conv2D_2"), ("Dense_1", "classes"), title="LeNet")
STRIDED = replace(LENET, options=(("stride", 2),), title="LeNet, stride 2")
DENSENET = RecordedNetwork(
    "densenet", ("Conv2D_1", "Conv2D_10", "Conv2D_19"), ("classes",), title="DenseNet"
)
TANH_MLP = RecordedNetwork("tanh-mlp", (), (*_DENSE, "classes"), title="tanh-MLP")
IP_MLP = RecordedNetwork("ip-mlp", (), (*_DENSE[:4], "classes"), title="IP-MLP")


@dataclass(frozen=True, eq=False)
class RecordedTraining:
    """The files of a recorded training."""

    path: Path
    network: RecordedNetwork
    iterations: int
    records: dict[str, TrainingRecord]
    """By the width of the kernel, see `WIDTHS`; up to `iterations`."""
    saved_iterations: tuple[int, ...]
    """Iterations whose weights are there, the first and the last among them."""
    accuracy: float  # of the whole test part, at the end
    data: Dataset  # it was trained on

    def model(self, iteration: int) -> keras.Model:
        """Return the Keras model as it was after so many iterations, one of `saved_iterations`."""
        from oip.models.training import load_state

        model = self.network.build(self.data)
        with _training_hint(self.path):
            load_state(weights_file(self.path, iteration), model)
        return model

    def percent(self, name: str, tested: int) -> Value:
        """Return the accuracy in %, with the standard error of so many test images."""
        error = math.sqrt(self.accuracy * (1 - self.accuracy) / tested)
        return Value.within(self.accuracy, error).percent(name)


Trainings = Mapping[str, RecordedTraining]
"""Name of the network -> its training."""
Outcome = tuple[list[Value], Sequence[bool | None]]
"""The measured values of one width, and what they decide."""


def finding_by_width(
    study: str,
    measure: Callable[[Trainings, str], Outcome],
    trainings: Trainings,
    subject: str = "",
    /,
    **constants: object,
) -> Finding:
    """Return a row of a report with the values of both widths of the kernel estimate.

    `measure` returns the values of one width, and what they decide; its name is that of the row.
    Trainings under `TOO_SHORT` iterations test nothing of a row about the late training.
    """
    results = {width: measure(trainings, width) for width in WIDTHS}
    values = {f"{width} width": several for width, (several, _) in results.items()}
    verdict = agreement(outcome for _, outcomes in results.values() for outcome in outcomes)
    iterations = max(training.iterations for training in trainings.values())
    is_late = text_file("findings")[study][measure.__name__].get("late", False)
    if is_late and iterations < TOO_SHORT:
        verdict = "not tested"
    row = finding(study, measure.__name__, verdict, values, subject, **constants)
    n = f"{iterations:,} iterations, {RECORDED} images; {row.n}".removesuffix("; ")
    return replace(row, n=n)


def recorded_at(iterations: int, regular: int = _REGULAR) -> list[int]:
    """Return the iterations that are recorded: dense at first, then every `regular`, and the last.

    >>> recorded_at(7)
    [0, 1, 2, 5, 7]
    """
    steps = (*_EARLY, *range(regular, iterations, regular), iterations)
    return sorted({step for step in steps if step <= iterations})


def kept_at(iterations: int) -> list[int]:
    """Return the iterations whose weights are kept: every 5,000; start, middle, end of fewer."""
    if iterations >= _KEPT:
        return sorted({*range(0, iterations, _KEPT), iterations})
    middle = max(step for step in recorded_at(iterations) if step <= iterations / 2)
    return sorted({0, middle, iterations})


def weights_file(path: Path, iteration: int) -> Path:
    """Return the path of the weights after so many iterations."""
    return path / "weights" / f"{iteration:06d}.npz"


def study_iterations(settings: StudySettings) -> int:
    """Return the batches that each network learns from; the paper also shows 50,000."""
    return settings.iterations or (_QUICK if settings.quick else _FULL)


def add_notes(folder: Folder) -> None:
    """Add the paragraphs on information and trainings to a report of `kernels` or `plane`."""
    folder.note(folder.text("information", recorded=RECORDED))
    sizes = {"iterations": study_iterations(folder.settings), "seed": folder.settings.seed}
    folder.note(text_file("captions")["trained"]["how"].format(**sizes))


def study_training(folder: Folder, network: RecordedNetwork, data: Images) -> RecordedTraining:
    """Return the training of a network on a data set, see `recorded_training`.

    The tanh network is so small that it always learns for as long as in the paper.
    """
    count = study_iterations(folder.settings)
    if network == TANH_MLP and folder.settings.iterations is None:
        count = _FULL
    return recorded_training(folder, network, data, count)


def study_trainings(
    folder: Folder, data_of: Mapping[RecordedNetwork, Images]
) -> dict[str, RecordedTraining]:
    """Return the training of each network on its data set by its title, see `study_training`."""
    trainings = folder.results(
        "trainings",
        data_of,
        lambda network: f"trainings/{slug(data_of[network].name)}-{network.name}",
        lambda network: study_training(folder, network, data_of[network]),
    )
    return {network.title: training for network, training in trainings.items()}


def recorded_training(
    folder: Folder, network: RecordedNetwork, data: Images, iterations: int, regular: int = _REGULAR
) -> RecordedTraining:
    """Train a network on a number of batches and record the information of its blocks.

    The training is kept in `folder.common`. At every recorded iteration from number `regular` on,
    weights and optimizer are saved; a training that was stopped goes on from there with the same
    batches. A finished training is not repeated.

    Raises:
        SettingsError: the training diverged, or went on beyond an end that was not recorded.
        RunError: a saved file is damaged, or a recorded step is missing.
    """
    key: dict[str, object] = {
        "schema": _SCHEMA,
        "seed": folder.settings.seed,
        "recorded": RECORDED,
        "widths": WIDTHS,
    }
    key |= {
        part: [dataset.source, data_key(dataset)]
        for part, dataset in (("train", data.train), ("test", data.test))
    }
    key |= {name: value for name, value in asdict(network).items() if name != "title"}
    short = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8]
    source = data.train.source.partition(":")[0]
    path = folder.common(re.sub(r"[^\w-]+", "-", f"{source}-{network.name}-{short}"))
    end = path / f"end-{iterations:06d}.json"
    steps = recorded_at(iterations, regular)
    with _training_hint(path):
        if not end.exists():
            msgspec.convert(key, StudyTrainingFile).write(path / "training.json")
            model = _trained_model(folder, path, network, data, steps, regular)
            TrainingEndFile(accuracy=accuracy(predictor(model), data.test)).write(end)
        records = {width: _record_steps(path / width, steps) for width in WIDTHS}
        for width, record in records.items():
            if missing := sorted({*steps} - {*record.steps.tolist()}):
                expected = f"a record of {len(steps)} steps"
                raise RunError(f"'{path / width}'", expected, f"none of step {missing[0]}")
        share = TrainingEndFile.read(end).accuracy
    return RecordedTraining(
        path=path,
        network=network,
        iterations=iterations,
        records=records,
        saved_iterations=tuple(kept_at(iterations)),
        accuracy=share,
        data=data.train,
    )


@contextmanager
def _training_hint(path: Path) -> Iterator[None]:
    """Let errors of the files of a training say how it is done again."""
    try:
        yield
    except WriteError:
        raise
    except RunError as error:
        hint = f"Remove the folder '{path}': its training is then done again."
        raise RunError(f"{error} {hint}") from error


def _recorders(
    path: Path, network: RecordedNetwork, test: Dataset, regular: int, seed: int
) -> list[Recorder]:
    """Return the recorders of both widths."""
    from oip import mi

    # The schedule holds no end, so that a longer training goes on with the same record.
    sample = test.images, test.required_labels(), recorded_at(2000 * regular, regular)
    options = {"samples": RECORDED, "seed": seed, "classes": test.classes, "split": test.source}
    options |= {"layers": network.blocks, "dense": network.dense, "at": "block"}
    return [
        mi.Recorder(*sample, out=path / width, estimator=mi.estimator("kde", **setting), **options)
        for width, setting in WIDTHS.items()
    ]


def _trained_model(
    folder: Folder,
    path: Path,
    network: RecordedNetwork,
    data: Images,
    steps: list[int],
    regular: int,
) -> keras.Model:
    """Return the model after the last recorded step, trained on from the saved state."""
    import_quietly("keras")
    import keras

    from oip.models.training import batches_done, load_state, save_state, train_batches

    seed, iterations = folder.settings.seed, steps[-1]
    keras.utils.set_random_seed(seeds.derived_seed(seed, "study-training"))
    model = network.build(data.train)
    optimizer = keras.optimizers.Adam(network.learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)  # type: ignore[arg-type]
    optimizer.build(model.trainable_variables)
    try:
        load_state(path / "last.npz", model)
    except RunError:  # none yet, or damaged: from the start
        pass
    batches = batches_done(model)
    if batches > iterations:
        _check_passed(path, steps, batches)
        load_state(weights_file(path, iterations), model)
        return model
    label = f"{data.train.source.partition(':')[0]}: {network.name}"

    def keep(logs: object = None) -> None:
        step = batches_done(model)
        if step in kept_at(iterations):
            save_state(weights_file(path, step), model, with_optimizer=False)
        if step == batches:
            folder.progress(label, step, iterations)

    def save(batch: int, logs: dict[str, float] | None) -> None:
        step = batches_done(model)
        if step in steps:
            loss = float((logs or {}).get("loss", 0.0))
            if not math.isfinite(loss):
                raise SettingsError(f"training of {label}", "a finite loss", loss)
            if step >= regular or step == iterations:
                save_state(path / "last.npz", model)
            folder.progress(label, step, iterations)
        keep()

    # After the recorders, so that a saved state has a record.
    saver = keras.callbacks.LambdaCallback(on_train_begin=keep, on_train_batch_end=save)
    recorders = _recorders(path, network, data.test, regular, seed)
    train_batches(model, data.train, iterations, network.batch, seed, [*recorders, saver])
    return model


def _check_passed(path: Path, steps: list[int], batches: int) -> None:
    """Refuse a training up to a point that it has passed without records and weights of it."""
    missing = [step for step in kept_at(steps[-1]) if not weights_file(path, step).exists()]
    recorded = [_record_steps(path / width, steps).steps.tolist() == steps for width in WIDTHS]
    if missing or not all(recorded):
        hint = "Choose as many, a multiple of 5000, or another folder."
        received = f"{batches} iterations, which were done already"
        raise SettingsError("iterations", received, steps[-1], hint)


def _record_steps(path: Path, steps: list[int]) -> TrainingRecord:
    """Return the record at some of its steps."""
    from oip.mi.training.record import TrainingRecord

    record = TrainingRecord.open(path)
    rows = np.isin(record.steps, steps)
    over_steps = ("label", "per_class", "whole_label", "whole_input")
    layers = tuple(
        replace(layer, **{name: getattr(layer, name)[rows] for name in over_steps})
        for layer in record.layers
    )
    accuracy = None if record.accuracy is None else record.accuracy[rows]
    return replace(record, steps=record.steps[rows], layers=layers, accuracy=accuracy)


class ImageBatch(NamedTuple):
    """Images (n, h, w, bands), their classes (n,), and their pixels (n, d) from 0 to 1."""

    images: np.ndarray
    codes: np.ndarray
    pixels: np.ndarray

    @classmethod
    def of(cls, data: Dataset, codes: np.ndarray, rows: np.ndarray) -> ImageBatch:
        """Return some images of a data set whose classes are `codes`."""
        images = data.images[rows]
        pixels = np.divide(images.reshape(len(rows), -1), data.high, dtype=np.float64)
        return cls(images, codes[rows], pixels)


def probe_rows(images: int, count: int, size: int, seed: int) -> list[np.ndarray]:
    """Return the rows of disjoint random batches, of fewer where there are not enough images."""
    order = seeds.generator(seed, "renyi batches").permutation(images)
    count = min(count, max(1, images // size))
    return [order[batch * size : (batch + 1) * size] for batch in range(count)]


def probe_batches(data: Dataset, count: int, size: int, seed: int) -> list[ImageBatch]:
    """Return disjoint random batches of a size, as many as there are images for at the most."""
    codes = data.required_labels().astype(np.int64)
    return [ImageBatch.of(data, codes, rows) for rows in probe_rows(len(codes), count, size, seed)]


class StepRecorder:
    """Measurements of a model at the start of its training and after some numbers of batches.

    `prepare` takes the model when training begins and returns the measurement, which returns None
    where there is nothing to record, as of a model that diverged.
    """

    def __init__(
        self, steps: Iterable[int], prepare: Callable[[keras.Model], Callable[[], Arrays | None]]
    ):
        import keras

        self._steps, self._prepare = set(steps), prepare
        self._done = 0
        self._records: list[Arrays] = []
        self.callback = keras.callbacks.LambdaCallback(
            on_train_begin=self._begin, on_train_batch_end=self._learn
        )

    def rows(self) -> Arrays:
        """Return `steps` (t,) and every measured quantity, (t, ...)."""
        names = self._records[0] if self._records else ("steps",)
        return {name: np.array([record[name] for record in self._records]) for name in names}

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
            self._records.append({"steps": np.array(self._done), **row})


def recorded_steps(an_epoch: int, total: int, count: int) -> list[int]:
    """Return 0, the end of the first epoch, the end, and steps between that grow in even ratios."""
    between = np.rint(np.geomspace(1, total, max(2, count - 2))).astype(int)
    return sorted({0, min(an_epoch, total), total, *between.tolist()})


def over_steps(trainings: list[Arrays], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps (t,) and a quantity (trainings, t, ...) of those that were not cut short."""
    longest = max((arrays["steps"] for arrays in trainings), key=len)
    values = [arrays[name] for arrays in trainings if len(arrays["steps"]) == len(longest)]
    return longest, np.array(values)


def number_of_each(networks: Mapping[Any, Arrays], name: str) -> np.ndarray:
    """Return (networks,): one number of every network."""
    return np.array([float(arrays[name]) for arrays in networks.values()])


def predictor(model: keras.Model, bytes_per_image: int = 1) -> Callable[[np.ndarray], np.ndarray]:
    """Return the model as a function of images (n, h, w, bands), run in batches of up to 512.

    The function uses the weights that the model has when it is called. Of large images, which take
    many bytes each (see `Network.activation_bytes`), fewer run at once.
    """
    import tensorflow as tf

    from oip.network.forward import run_in_batches
    from oip.network.graphs import compiled

    batches = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)
    graph = compiled(lambda batch: model(batch, training=False), batches)

    def predicted(images: np.ndarray) -> np.ndarray:
        batches = run_in_batches(graph, images, bytes_per_image)
        return np.concatenate([outputs for _, outputs in batches])

    return predicted


def network_predictor(network: Network) -> Callable[[np.ndarray], np.ndarray]:
    """Return the model of a network as a `predictor`, of as many images at once as fit."""
    return predictor(network.model, network.activation_bytes())


def accuracy(predict: Callable[[np.ndarray], np.ndarray], data: Dataset) -> float:
    """Return the share of the images whose class has the largest output."""
    return float((predict(data.images).argmax(axis=1) == data.labels).mean())


def untrained(recipe: str, data: Images, seed: int) -> keras.Model:
    """Return a network whose input is standardized by the training images."""
    import keras

    from oip import models
    from oip.models.datasets import statistics

    keras.utils.set_random_seed(seed)
    shape, classes = data.train.images.shape[1:], len(data.train.classes)
    return models.build(recipe, shape, classes, *statistics(data.train.images))


_LOOKS = 2  # batches between looks at the accuracy
_LONGEST = 3_000  # batches of a training that does not get there


def train_until(
    model: keras.Model, data: Dataset, seed: int, measure: Callable[[], float], target: float
) -> None:
    """Train by Adam in batches of 64 until the measured accuracy reaches a target."""
    import keras

    from oip.models.training import batches_done, train_batches

    def stop(batch: int, logs: object) -> None:
        if batches_done(model) % _LOOKS == 0 and measure() >= target:
            model.stop_training = True

    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)  # type: ignore[arg-type]
    model.optimizer.build(model.trainable_variables)
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    train_batches(model, data, _LONGEST, 64, seed, [watch])


LABEL, INPUT = "more I(T;Y)", "less I(X;T)"
"""Terms of the loss; T is the layer before the head, with noise."""
REGULARIZED_BATCH = 128


def kernel_information(t: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return I(T;Y) and I(X;T) in nats of a batch T (n, d), by kernels of the relative width.

    The estimate of `kde` with the variance of `WIDTHS`, and with gradients, which go through the
    width, too: no scale of T changes the estimate.
    """
    import tensorflow as tf

    squares = tf.reduce_sum(t**2, axis=1)
    distances = tf.nn.relu(squares[:, None] + squares[None] - 2 * tf.matmul(t, t, transpose_b=True))
    count = tf.shape(t)[0]
    off_diagonal = tf.sort(tf.boolean_mask(distances, tf.logical_not(tf.eye(count, dtype=tf.bool))))
    middle = tf.maximum(off_diagonal[tf.size(off_diagonal) // 2], 1e-12)
    logs = -distances / (2 * WIDTHS["relative"]["relative"] * middle)
    is_same_class = tf.equal(labels[:, None], labels[None])
    class_logs = tf.where(is_same_class, logs, tf.fill(tf.shape(logs), -1e9))
    sizes = tf.reduce_sum(tf.cast(is_same_class, t.dtype), axis=1)
    among_all = tf.reduce_logsumexp(logs, axis=1) - tf.math.log(tf.cast(count, t.dtype))
    among_own = tf.reduce_logsumexp(class_logs, axis=1) - tf.math.log(sizes)
    return tf.reduce_mean(among_own - among_all), -tf.reduce_mean(among_all)


def regularized_model(model: keras.Model, term: str, weight: float) -> keras.Model:
    """Return a Keras model whose `fit` teaches `model` with a term of information in its loss."""
    import keras
    import tensorflow as tf

    from oip.models.training import before_head

    features = before_head(model)
    joined = keras.Model(model.inputs, [features.outputs[0], model.outputs[0]])

    class Informed(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.joined = joined

        def compile(self, optimizer: keras.Optimizer, **_options: object) -> None:
            """Set the optimizer; the loss is the model's own."""
            super().compile(optimizer=optimizer, jit_compile=False)  # type: ignore[arg-type]
            optimizer.build(joined.trainable_weights)

        def call(self, images: Tensor, training: bool | None = None) -> Tensor:
            return joined(images, training=training)[1]

        def train_step(self, data: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
            images, labels = tf.cast(data[0], tf.float32), tf.cast(data[1], tf.int32)
            with tf.GradientTape() as tape:
                t, outputs = joined(images, training=True)
                shares = tf.gather(outputs, labels, batch_dims=1)
                loss = -tf.reduce_mean(tf.math.log(tf.maximum(shares, 1e-7)))
                if term:
                    about_label, about_input = kernel_information(t, labels)
                    loss += weight * (about_input if term == INPUT else -about_label)
            slopes = tape.gradient(loss, joined.trainable_weights)
            self.optimizer.apply_gradients(zip(slopes, joined.trainable_weights, strict=True))
            return {"loss": loss}

    return Informed()
