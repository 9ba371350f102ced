"""A Keras callback that records the information of maps and layers while a network is trained."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from oip.core.errors import DataError, SettingsError
from oip.core.formats import RecordedLayerPart, TrainingRecordFile, step_array
from oip.core.frameworks import import_quietly
from oip.core.output_formats import TrainingStepFile
from oip.core.units import bits
from oip.mi import validation
from oip.mi.backend import one_blas_thread, thread_map
from oip.mi.estimators.base import Estimator, label_estimator
from oip.mi.layer_sample import BYTE_BUDGET, At, check_at, labeled_subset
from oip.mi.training.layer_reader import LayerReader
from oip.mi.training.record import RecordFolder, TrainingRecord

if TYPE_CHECKING:
    import keras
    from numpy.typing import ArrayLike

    from oip.network.layers import LayerInfo
else:
    keras = import_quietly("keras")

_EVERY = "a number of epochs, 'N batches', 'log', or numbers of batches"
_SERIES = (1, 2, 5)
_GRAM_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Steps of a training that are recorded; the start and the end are recorded in any case.

    One of the four is set. A step is a batch that was learned from.
    """

    epochs: int = 0
    """Epochs between records."""
    batches: int = 0
    """Batches between records."""
    log: bool = False
    """At 1, 2, 5, 10, 20, 50, ... batches."""
    at: tuple[int, ...] = ()
    """At these numbers of batches, rising."""

    @classmethod
    def of(cls, every: int | str | Iterable[int]) -> Schedule:
        """Return a schedule as people write it.

        `1` or `"1"`: every epoch; `"200 batches"`; `"log"`: spaced evenly on a logarithmic axis;
        numbers of batches, such as `[0, 10, 1000]`. A SettingsError for anything else.
        """
        if isinstance(every, str):
            text = every.strip().lower()
            if text == "log":
                return cls(log=True)
            match = re.fullmatch(r"(\d+)(?:\s*(epochs?|batch|batches))?", text)
            if match is not None and int(match[1]) > 0:
                count = int(match[1])
                epochs = (match[2] or "epochs").startswith("epoch")
                return cls(epochs=count) if epochs else cls(batches=count)
        elif isinstance(every, int) and not isinstance(every, bool):
            if every > 0:
                return cls(epochs=every)
        elif isinstance(every, Iterable):
            steps = list(every)
            if steps and all(_is_whole(step) for step in steps):
                return cls(at=tuple(sorted({int(step) for step in steps})))
        raise SettingsError("every", _EVERY, f"'{every}'")

    def after_epoch(self, epoch: int) -> bool:
        """Return whether to record when so many epochs are done, 1 and more."""
        return bool(self.epochs) and epoch % self.epochs == 0

    def between(self, before: int, now: int) -> bool:
        """Return whether a record is due between `before`, the last look, and `now` batches."""
        if self.batches:
            return now // self.batches > before // self.batches
        if self.log:
            return _last_of_series(now) > before
        passed = bisect_right(self.at, now)
        return passed > 0 and self.at[passed - 1] > before


def _last_of_series(step: int) -> int:
    """Return the largest of 1, 2, 5, 10, ... that is not above `step`; 0 before the first."""
    if step < 1:
        return 0
    decade = 10 ** (len(str(step)) - 1)
    return max(factor * decade for factor in _SERIES if factor * decade <= step)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 0


class Recorder(keras.callbacks.Callback):
    """A callback of `model.fit` that records the information of every map and every layer.

    Of each map: the information of its response about the label, and about being of each class or
    not. Of each layer, whose response is taken as a whole: the information about the label and,
    where the estimator has it, about the input, for the information plane. All of it from the same
    images, with the same seed, without null and intervals.

    The start and the end of a training are always recorded. Every step is on disk at once; memory
    holds one step, and responses of some maps at a time. With `out`, a training that continues from
    a saved model (with its optimizer) continues its record in the same folder; steps that were
    recorded after the saved one are replaced.

    Args:
        images: (n, h, w, bands), as the model is fed with them; best not those of the training.
        labels, samples, classes, split, byte_budget: as for `mi.rank`.
        every: epochs (1), `"200 batches"`, `"log"` (1, 2, 5, 10, 20, ... batches), or the numbers
            of batches themselves.
        out: folder of a run; the record is in its folder `record`. If None it is in a temporary
            folder, which goes with the recorder.
        layers: names as `oip layers` prints them, or `@index`; all with maps if None.
        dense: names of layers without spatial axes, such as `Dense`; recorded as a whole only.
        at: the maps' responses after their activation, or the block output after the pooling that
            follows, where one does.
        estimator: a name, or an estimator with parameters of its own. `kde` is quick.
        seed: of the subsample and of the estimator's draws.

    Raises:
        SettingsError: an unknown layer, estimator or parameter.
        DataError: images or labels that cannot be used.
        RunError: `out` holds another record, or cannot be written.

    Units:
        Bits.

    References:
        R. Shwartz-Ziv, N. Tishby: Opening the black box of deep neural networks via information.
        arXiv:1703.00810 (the information plane over training).

    Example:
        >>> recorder = mi.Recorder(images, labels, every=1)  # doctest: +SKIP
        >>> model.fit(x, y, callbacks=[recorder])  # doctest: +SKIP
        >>> recorder.record.plot_plane()  # doctest: +SKIP
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: ArrayLike,
        every: int | str | Iterable[int] = 1,
        *,
        out: str | Path | None = None,
        layers: Sequence[str] | None = None,
        dense: Sequence[str] = (),
        at: At = "response",
        estimator: str | Estimator = "kde",
        samples: int = 500,
        seed: int = 0,
        classes: Sequence[str] | None = None,
        split: str = "",
        byte_budget: int = BYTE_BUDGET,
    ):
        from oip.network.inputs import image_array

        super().__init__()
        self._schedule = Schedule.of(every)
        self._estimator = label_estimator(estimator)
        pixels = image_array(images)
        if pixels.ndim < 3:
            raise DataError("images", "shape (n, h, w, bands)", pixels.shape)
        check_at(at)
        subset = labeled_subset(labels, len(pixels), samples, seed, classes)
        self._codes = np.asarray(subset.codes)
        self._classes = subset.classes
        self._images = pixels[subset.indices]
        column = validation.label_column("labels", labels)
        self._units = column[subset.indices] if column.dtype.kind in "bui" else None
        self._layers = None if layers is None else list(layers)
        self._dense = list(dense)
        self._at: At = at
        self._seed, self._split, self._byte_budget = seed, split, byte_budget
        if out is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="oip-")
            out = self._temporary.name
        self._path = Path(out) / "record"
        self._trained: keras.Model | None = None
        self._last = 0

    @property
    def record(self) -> TrainingRecord:
        """The record so far.

        Raises:
            RunError: nothing was recorded yet.
        """
        if self._trained is self.model is not None:
            self._folder.join()
        return TrainingRecord.open(self._path)

    def on_train_begin(self, logs: object = None) -> None:
        """Prepare the model's layers and record the start."""
        self._prepare()
        self._last = self._step()
        if self._last not in self._folder.begin(self._last):
            self._write(self._last)

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        """Record if that many batches are due."""
        if self._schedule.epochs:
            return
        now = self._step()
        if self._schedule.between(self._last, now):
            self._write(now)
        self._last = now

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        """Record if that many epochs are due."""
        if self._schedule.after_epoch(epoch + 1):
            self._write(self._step())

    def on_train_end(self, logs: object = None) -> None:
        """Record the end."""
        if self._step() not in self._folder.steps():
            self._write(self._step())
        self._folder.join()

    def _prepare(self) -> None:
        """Open the model; once for each model that is trained."""
        from oip.network.inputs import check_images
        from oip.network.network import Network

        model = self._current_model()
        if self._trained is model:
            return
        if not model.built:
            model.build((None, *self._images.shape[1:]))
        network = Network(model).fitted_to(self._images)
        if self._layers is None:
            layers = network.reached(network.layers if self._dense else network.convolutional)
        else:
            layers = [network.find(name) for name in self._layers]
        layers = [layer.at(self._at) if layer.block is not None else layer for layer in layers]
        for index, name in enumerate(self._dense, len(network.layers)):
            layers.append(dataclasses.replace(network.dense_layer(name), index=index))
        if not layers or len({layer.name for layer in layers}) < len(layers):
            names = [*(self._layers or []), *self._dense]
            raise SettingsError("layers", "some, each one once", names)
        images = check_images(network.inputs, self._images)
        self._reader = LayerReader(network, layers, images, self._byte_budget)
        self._recorded = layers
        self._folder = RecordFolder(self._path, self._empty_record(layers))
        self._trained = model

    def _current_model(self) -> keras.Model:
        """Return the model that is trained."""
        if self.model is None:
            raise RuntimeError("The recorder has no model: give it to model.fit(callbacks=...).")
        return self.model

    def _step(self) -> int:
        """Return the batches that the model has learned from; they are saved with its optimizer."""
        iterations = self._current_model().optimizer.iterations
        return int(np.asarray(keras.ops.convert_to_numpy(iterations)))

    def _empty_record(self, layers: list[LayerInfo]) -> TrainingRecordFile:
        """Return record.json without steps; its key is of images, labels, layers and settings."""
        estimator, n = self._estimator, len(self._codes)
        file = TrainingRecordFile(
            estimator=estimator.name,
            name_shown=estimator.name_shown,
            parameters=estimator.settings,
            samples=n,
            seed=self._seed,
            split=self._split,
            classes=list(self._classes),
            label_ceiling=float(bits(validation.label_entropy(self._codes))),
            class_ceilings=bits(validation.class_entropies(self._codes)).tolist(),
            input_ceiling=float(np.log2(n)) if estimator.can("input_information") else None,
            layers=[
                RecordedLayerPart(
                    index=layer.index, layer=layer.name, maps=_maps(layer), input=[], label=[]
                )
                for layer in layers
            ],
            at=None if self._at == "response" else self._at,
            steps=[],
        )
        settings = file.to_dict()
        del settings["key"], settings["steps"]
        for layer in settings["layers"]:
            del layer["input"], layer["label"]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        digest.update(np.ascontiguousarray(self._images).tobytes())
        digest.update(self._codes.tobytes())
        return replace(file, key=digest.hexdigest())

    def _write(self, step: int) -> None:
        self._folder.write(step, self._measured())

    def _measured(self) -> TrainingStepFile:
        """Return one step as `RecordFolder` keeps it, in bits; NaN for maps that are not finite."""
        n, classes = len(self._codes), len(self._classes)
        arrays: dict[str, np.ndarray] = {}
        grams = [np.zeros((n, n)) for _ in self._recorded]
        for layer in self._recorded:
            maps = _maps(layer)
            label, per_class = (step_array(layer.index, kind) for kind in ("label", "per_class"))
            arrays[label] = np.full(maps, np.nan, np.float32)
            arrays[per_class] = np.full((maps, classes), np.nan, np.float32)
        for index, maps, values in self._reader.blocks():
            layer = self._recorded[index]
            finite = np.isfinite(values).all(axis=(0, 2))
            if finite.any() and layer.size:
                usable = values if finite.all() else values[:, finite]
                estimates = self._estimator.over_maps(
                    usable, self._codes, self._seed, distinct=True
                )
                rows = maps[finite]
                arrays[step_array(layer.index, "label")][rows] = bits(estimates.mi)
                arrays[step_array(layer.index, "per_class")][rows] = bits(estimates.per_class)
            if finite.all():
                _add_products(grams[index], values.reshape(n, -1), self._byte_budget)
            else:
                grams[index].fill(np.nan)
        of_layers = thread_map(self._layer_information, grams)
        for layer, information in zip(self._recorded, of_layers, strict=True):
            arrays[step_array(layer.index, "layer")] = information
        predicted = self._reader.predicted()
        accuracy = np.nan
        if predicted is not None and self._units is not None:
            accuracy = float((predicted == self._units).mean())
        return TrainingStepFile(named=arrays, accuracy=accuracy)

    def _layer_information(self, gram: np.ndarray) -> np.ndarray:
        """Return (2,): I(X;T) and I(T;Y) of a whole layer in bits, NaN where there is none.

        Args:
            gram: (n, n) products of the layer's centered responses.
        """
        result = np.full(2, np.nan)
        if not np.isfinite(gram).all():
            return result
        axes = _principal_coordinates(gram)
        estimator = self._estimator
        if estimator.can("input_information"):
            value = estimator.input_information(axes, self._seed)
            ceiling = np.inf if value.ceiling is None else value.ceiling
            result[0] = bits(float(np.clip(value.nats, 0.0, ceiling)))
        result[1] = bits(
            estimator.over_maps(axes[:, None], self._codes, self._seed, distinct=True).mi[0]
        )
        return result


def _maps(layer: LayerInfo) -> int:
    """Return how many maps are recorded one by one: none of a layer without spatial axes."""
    return layer.maps if layer.size else 0


def _add_products(gram: np.ndarray, values: np.ndarray, byte_budget: int) -> None:
    """Add the products of the images' centered responses (n, d) to a matrix (n, n).

    Some columns at a time.
    """

    width = max(1, min(byte_budget, _GRAM_BYTES) // (4 * len(values)))
    # A training that runs beside this leaves no cores for products on several.
    with one_blas_thread():
        for start in range(0, values.shape[1], width):
            columns = values[:, start : start + width]
            columns = columns - columns.mean(axis=0)
            gram += columns @ columns.T


def _principal_coordinates(gram: np.ndarray) -> np.ndarray:
    """Return (n, n - 1) or fewer: the responses on their principal axes, all distances kept.

    So that a whole layer, however many nodes it has, costs no more than its number of images.
    """
    values, axes = np.linalg.eigh(gram)
    is_positive = values > 1e-6 * max(float(values[-1]), 0.0)
    if not is_positive.any():
        return np.zeros((len(gram), 1))
    return (axes[:, is_positive] * np.sqrt(values[is_positive]))[:, ::-1]
