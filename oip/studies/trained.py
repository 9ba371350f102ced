"""Trainings that studies watch: recorded as they go on, resumed where they were stopped."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import files, seeds
from oip.core.errors import DataError, RunError, SettingsError, expected
from oip.core.progress import Progress
from oip.core.warnings import import_quietly
from oip.studies.report import Folder, MissingData, StudySettings, base_name

if TYPE_CHECKING:
    from oip.mi.training.record import TrainingRecord
    from oip.studies.report import Folder

RECORDED = 500
"""Images of the test part that tell what is known; a kernel estimate needs all their distances."""
_REGULAR = 500
_EARLY = (0, 1, 2, 5, 10, 20, 50, 100, 200)
_KEPT = 5_000
WIDTHS = {"relative": {"relative": 0.1}, "fixed": {"noise": 0.1}}
"""Variance of the Gaussian kernels: a tenth of the map's median squared distance, which does not
change with the scale of the responses; or 0.1 in their own units, as in the literature."""


@dataclass(frozen=True)
class Watched:
    """A network whose training is watched.

    Pixels are brought to 0 to 1. Adam at a constant rate, so that a training of more iterations
    begins with the same ones.
    """

    recipe: str
    blocks: tuple[str, ...]
    """Convolutions whose maps are recorded, of the block output after ReLU and pooling."""
    dense: tuple[str, ...]
    """Layers that are recorded as a whole only."""
    options: tuple[tuple[str, Any], ...] = ()
    """Of the recipe."""
    batch: int = 64
    learning_rate: float = 1e-3

    @property
    def name(self) -> str:
        """The recipe, with the options that were told."""
        return " ".join([self.recipe, *(f"{name} {value}" for name, value in self.options)])


def recorded_at(iterations: int) -> list[int]:
    """Iterations that are recorded: dense at first, then every 500, and the last one."""
    regular = range(_REGULAR, iterations, _REGULAR)
    return sorted({one for one in (*_EARLY, *regular, iterations) if one <= iterations})


def kept_at(iterations: int) -> list[int]:
    """Iterations whose weights are kept: every 5,000; start, middle and end of fewer."""
    if iterations >= _KEPT:
        return sorted({*range(0, iterations, _KEPT), iterations})
    middle = max(one for one in recorded_at(iterations) if one <= iterations / 2)
    return sorted({0, middle, iterations})


def is_saved(done: int, iterations: int) -> bool:
    """Whether a training that is stopped goes on from this recorded iteration."""
    return done >= _REGULAR or done == iterations


def built(watched: Watched, data: Any) -> Any:
    """The network, untrained; it takes pixels as they are stored and divides by their range."""

    from oip import models

    shape = data.images.shape[1:]
    low, high = (np.full(shape[-1], level) for level in (data.low, data.high))
    options = dict(watched.options)
    return models.build(watched.recipe, shape, len(data.classes), low, high - low, **options)


def weights_file(path: Path, iteration: int) -> Path:
    """Where the weights after so many iterations are."""
    return path / "weights" / f"{iteration:06d}.npz"


def save(path: Path, model: Any, optimizer: Any = None) -> None:
    """Writes a model's weights, and the state of its optimizer where one is given."""
    arrays = {f"weight-{place}": value for place, value in enumerate(model.get_weights())}
    if optimizer is not None:
        for place, variable in enumerate(optimizer.variables):
            arrays[f"optimizer-{place}"] = variable.numpy()
        arrays["iterations"] = optimizer.iterations.numpy()
    with files.replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)  # weights hardly become smaller


def put(model: Any, saved: dict[str, np.ndarray]) -> None:
    """Gives a model the weights that `save` wrote."""
    model.set_weights([saved[f"weight-{place}"] for place in range(len(model.weights))])


def resumed(path: Path, model: Any, optimizer: Any) -> int:
    """Puts the saved weights and optimizer in place; returns the iterations that they have seen."""
    last = path / "last.npz"
    if not last.exists():
        return 0
    try:
        saved = files.read_arrays(last)
    except RunError:
        return 0
    put(model, saved)
    for place, variable in enumerate(optimizer.variables):
        variable.assign(saved[f"optimizer-{place}"])
    return int(saved["iterations"])


def record_until(path: Path, iterations: int) -> TrainingRecord:
    """The record up to so many iterations."""
    from oip.mi.training.record import TrainingRecord

    whole = TrainingRecord.open(path)
    kept = np.isin(whole.steps, recorded_at(iterations))
    layers = tuple(
        replace(
            one,
            label=one.label[kept],
            per_class=one.per_class[kept],
            whole_label=one.whole_label[kept],
            whole_input=one.whole_input[kept],
        )
        for one in whole.layers
    )
    accuracy = None if whole.accuracy is None else whole.accuracy[kept]
    return replace(whole, steps=whole.steps[kept], layers=layers, accuracy=accuracy)


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

    from oip import mi

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
    from oip import mi

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


_LOOKS = (200, 500, 1000, 2000)
"""Numbers of first images that are looked at; studies take some of them without a draw, too."""
_DEVIATIONS = 4.0


def limited(data: Any, count: int | None) -> Any:
    """So many images of a data set, the first of which hold every class in its share.

    Args:
        data: a `models.Dataset`.
        count: images at the most; all of them if None.

    Returns:
        The first images, in their order, where that is random. Otherwise, as of class folders,
        whose images come class by class, or of images without labels, a draw with a fixed seed of
        which any number of first images has the classes' shares.
    """
    from oip.models.datasets import chosen

    count = len(data) if count is None else min(count, len(data))
    if in_random_order(data.labels, count):
        if count == len(data):
            return data
        return chosen(data, np.arange(count), f"{data.source}, the first {count}")
    places = fair_order(data.labels, len(data))[:count]
    return chosen(data, places, f"{data.source}, {count} drawn in the shares of the classes")


def in_random_order(labels: np.ndarray | None, count: int) -> bool:
    """Whether the first images, up to `count`, hold every class in about its share.

    No class may be four standard deviations off, and one more. Of images without labels nothing is
    known, so that they count as ordered.
    """
    if labels is None:
        return False
    codes = np.unique(labels, return_inverse=True)[1]
    shares = np.bincount(codes) / len(codes)
    for look in sorted({*(one for one in _LOOKS if one < count), count}):
        wanted = look * shares
        off = np.abs(np.bincount(codes[:look], minlength=len(shares)) - wanted)
        if (off > _DEVIATIONS * np.sqrt(wanted * (1 - shares)) + 1).any():
            return False
    return True


def fair_order(labels: np.ndarray | None, count: int) -> np.ndarray:
    """(count,): places of all images, of which any first ones have the shares of the classes.

    Images are shuffled, and each gets its place among those of its class as a share of them; by
    these shares they are sorted. The seed is fixed.
    """
    order = seeds.generator(0, "study subset").permutation(count)
    if labels is None:
        return order
    shuffled = np.asarray(labels)[order]
    share = np.empty(count)
    for label in np.unique(shuffled):
        own = np.flatnonzero(shuffled == label)
        share[own] = (np.arange(len(own)) + 0.5) / len(own)
    return order[np.argsort(share, kind="stable")]


def study_data(
    source: str | Path,
    settings: StudySettings,
    part: str | None = None,
    size: tuple[int, int] | None = None,
    bands: int | None = None,
) -> Any:
    """A `models.Dataset`; the arguments are those of `models.load`.

    Raises:
        MissingData: the source is not there, cannot be downloaded, or is damaged.
    """

    from oip import models

    try:
        return models.load(source, settings.data_dir, part, size, bands)
    except DataError as error:
        needs = f"the data '{base_name(source)}'"
        raise MissingData(needs, _looked(source, settings), str(error)) from error


def digest(data: Any) -> str:
    """SHA-256 of the images and labels of a `models.Dataset`, in hexadecimal."""
    told = hashlib.sha256(np.ascontiguousarray(data.images).tobytes())
    if data.labels is not None:
        told.update(data.labels.tobytes())
    return told.hexdigest()


def is_known(source: str) -> bool:
    """Whether a source is a name that `models` knows, and not a path."""

    from oip import models

    name = models.split_source(source)[0]
    from oip.models.sources import NAMES

    return name in NAMES


def _looked(source: str | Path, settings: StudySettings) -> str:
    """Where a source was looked for: a path in its own place, a name in the folder of the data."""
    if not is_known(str(source)):
        return f"'{Path(source).absolute()}'"
    folder = settings.data_dir or os.environ.get("OIP_DATA")
    own = f"'{folder}'" if folder else "a folder (none was named with --data-dir or OIP_DATA)"
    return f"{own}, then what Keras can download"


_SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Trained:
    """What a watched training left."""

    path: Path
    watched: Watched
    iterations: int
    records: dict[str, TrainingRecord]
    """By the width of the kernel, see `WIDTHS`; up to `iterations`."""
    kept: tuple[int, ...]
    """Iterations whose weights are there, the first and the last among them."""
    accuracy: float
    """Of the whole test part, at the end."""
    _data: Any

    def model(self, iteration: int) -> Any:
        """The Keras model as it was after so many iterations, one of `kept`."""
        model = built(self.watched, self._data)
        put(model, files.read_arrays(weights_file(self.path, iteration)))
        return model


def trained(
    folder: Folder,
    watched: Watched,
    train: Any,
    test: Any,
    iterations: int,
    seed: int,
    progress: Progress,
) -> Trained:
    """Trains a network on batches drawn without replacement, and records what its blocks know.

    At every recorded iteration from the 500th on, weights and optimizer are saved; a training that
    was stopped goes on from there with the same batches. One that is there is not trained again.

    Args:
        folder: of the study; what is trained is kept in `folder.common`.
        watched: the network.
        train: a `models.Dataset` to learn from.
        test: a `models.Dataset`; `RECORDED` of its images are recorded.
        iterations: batches.
        seed: of the weights, the batches and the images that are recorded.
        progress: told iterations.

    Raises:
        SettingsError: the training diverged, or went on beyond an end that was not recorded.
        RunError: what was saved is damaged.
    """
    told = {
        "schema": _SCHEMA,
        **asdict(watched),
        "train": [train.source, digest(train)],
        "test": [test.source, digest(test)],
        "seed": seed,
        "recorded": RECORDED,
        "widths": WIDTHS,
    }
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    readable = re.sub(r"[^\w-]+", "-", f"{train.source.partition(':')[0]}-{watched.name}")
    path = folder.common(f"{readable}-{key}")
    end = path / f"end-{iterations:06d}.json"
    if not end.exists():
        files.write_json(path / "training.json", told)
        accuracy = train_to(path, watched, train, test, iterations, seed, progress)
        files.write_json(end, {"accuracy": accuracy})
    return Trained(
        path=path,
        watched=watched,
        iterations=iterations,
        records={width: record_until(path / width, iterations) for width in WIDTHS},
        kept=tuple(kept_at(iterations)),
        accuracy=float(files.read_json(end)["accuracy"]),
        _data=train,
    )


SOURCE = (
    "H. Fang, V. Wang, M. Yamaguchi: Dissecting Deep Learning Networks—Visualizing Mutual "
    "Information. Entropy 20 (2018) 823"
)
RELU_MLP = Watched("relu-mlp", (), ("Dense_1", "Dense_2", "Dense_3", "classes"))
LENET = Watched("lenet", ("Conv2D_1", "Conv2D_2"), ("Dense_1", "classes"))
STRIDED = Watched("lenet", LENET.blocks, LENET.dense, (("stride", 2),))
DENSENET = Watched("densenet", ("Conv2D_1", "Conv2D_10", "Conv2D_19"), ("classes",))
TANH_MLP = Watched("tanh-mlp", (), (*(f"Dense_{n}" for n in range(1, 6)), "classes"))
IP_MLP = Watched("ip-mlp", (), (*(f"Dense_{n}" for n in range(1, 5)), "classes"))
SHOWN = {
    RELU_MLP: "ReLU-MLP",
    LENET: "LeNet",
    STRIDED: "LeNet, stride 2",
    DENSENET: "DenseNet",
    TANH_MLP: "tanh-MLP",
    IP_MLP: "IP-MLP",
}
"""Names in figures and text."""
DIGITS, CLOTHES = "mnist", "fashion-mnist"
_SAMPLE = "mnist-sample"
_QUICK, _FULL = 500, 10_000


@dataclass(frozen=True, eq=False)
class Images:
    """One data set, in its two parts, both with labels."""

    name: str
    """Of a path the last part."""
    train: Any
    test: Any

    @cached_property
    def digest(self) -> str:
        """SHA-256 of both parts, for `Folder.part` and for names of what is made from them."""
        both = f"{digest(self.train)} {digest(self.test)}"
        return hashlib.sha256(both.encode()).hexdigest()


def iterations(settings: StudySettings) -> int:
    """Batches that each network learns from; the paper also shows 50,000."""
    return settings.iterations or (_QUICK if settings.quick else _FULL)


def how_trained(settings: StudySettings) -> str:
    """What the reports of both studies say of the trainings."""
    return (
        f"Adam at a constant rate of 0.001, batches of 64, {iterations(settings):,} iterations, "
        f"one training a network (seed {settings.seed}): differences between networks are of these "
        f"trainings. The paper shows 10,000 and 50,000 iterations; --iterations 50000 goes on from "
        f"what is there. DenseNet's first pooling keeps the size, so that a map of the first block "
        f"has the 196 numbers that the paper gives; the second block is the first dense block with "
        f"its transition (12 maps of 7 x 7)."
    )


def every_source(folder: Folder, settings: StudySettings) -> list[Images]:
    """The data sets that can be had: those the user named, else MNIST and Fashion-MNIST.

    Where MNIST cannot be had, the embedded digits stand for it, and a note says so.

    Raises:
        DataError: a source names one part.
        MissingData: none of them can be had.
    """
    found, last = [], None
    for source in settings.data or (DIGITS, CLOTHES):
        try:
            found.append(images(folder, source, settings))
        except MissingData as error:
            last = error
            folder.missing(f"What is said of {base_name(source)}.", error)
    if not found and last is not None:
        raise last
    return found


def images(folder: Folder, source: str, settings: StudySettings) -> Images:
    """Both parts of a data set.

    Raises:
        DataError: the source names one part.
        MissingData: it cannot be had, or has no labels.
    """
    check_both_parts(source)
    try:
        return _both(source, settings)
    except MissingData as error:
        if source != DIGITS:
            raise
        found = _both(_SAMPLE, settings)
        count = len(found.train)
        text = f"MNIST could not be had; {count:,} embedded digits stand for it."
        if text not in folder.notes:
            folder.note(text)
        folder.lacks(f"{text} {error}")
        return found


def check_both_parts(source: str) -> None:
    """Refuses a source that names one of its parts: studies learn from one, judge by the other.

    Raises:
        DataError: the source is that of one part.
    """

    from oip import models

    name, part = models.split_source(source)
    if part is not None:
        raise DataError(expected("--data", "a source in both parts", source, f"Say {name}."))


def _both(source: str, settings: StudySettings) -> Images:
    train, test = (study_data(source, settings, part) for part in ("train", "test"))
    name = base_name(source)
    if train.labels is None or test.labels is None:
        hint = "Studies measure what is known of them: add `labels`, or name other data."
        raise MissingData(f"labels of the data '{name}'", f"'{source}'", hint)
    return Images(name, train, test)


def watched_training(
    folder: Folder, network: Watched, data: Images, settings: StudySettings, progress: Progress
) -> Trained:
    """The training of a network on a data set, as `oip.studies.trained.trained` does it.

    The tanh network is so small that it always learns for as long as in the paper.
    """
    count = iterations(settings)
    if network == TANH_MLP and settings.iterations is None:
        count = _FULL
    return trained(folder, network, data.train, data.test, count, settings.seed, progress)
