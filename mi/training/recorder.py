"""What maps know while a network is trained: a Keras callback."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core.errors import DataError, SettingsError, expected
from oip.core.units import bits
from oip.core.warnings import import_quietly
from oip.mi import validation
from oip.mi.backend import thread_map
from oip.mi.estimators.base import Estimator
from oip.mi.estimators.registry import label_estimator
from oip.mi.layer_sample import At, check_at, labeled_subset
from oip.mi.training.layer_reader import Reader
from oip.mi.training.record import RecordFolder

if TYPE_CHECKING:
    import keras

    from oip.mi.training.record import TrainingRecord
    from oip.network.layers import LayerInfo
else:
    keras = import_quietly("keras")

_WANTED = "a number of epochs, 'N batches', 'log', or numbers of batches"
_SERIES = (1, 2, 5)


@dataclass(frozen=True)
class Schedule:
    """Steps of a training that are recorded; the start and the end are recorded in any case.

    One of the four is set. A step is a batch that was learned from.
    """

    epochs: int = 0
    """Every so many epochs."""
    batches: int = 0
    """Every so many batches."""
    log: bool = False
    """At 1, 2, 5, 10, 20, 50, ... batches."""
    at: tuple[int, ...] = ()
    """At these numbers of batches, rising."""

    @classmethod
    def of(cls, every: int | str | Iterable[int]) -> Schedule:
        """A schedule as people say it.

        Args:
            every: `1` or `"1"`: every epoch; `"200 batches"`; `"log"`: spaced evenly on a
                logarithmic axis; numbers of batches, such as `[0, 10, 1000]`.

        Raises:
            SettingsError: anything else.

        Example:
            >>> Schedule.of("200 batches").batches
            200
        """
        if isinstance(every, str):
            text = every.strip().lower()
            if text == "log":
                return cls(log=True)
            told = re.fullmatch(r"(\d+)(?:\s*(epochs?|batch|batches))?", text)
            if told is not None and int(told[1]) > 0:
                number = int(told[1])
                unit = told[2] or "epochs"
                return cls(epochs=number) if unit.startswith("epoch") else cls(batches=number)
        elif isinstance(every, int) and not isinstance(every, bool):
            if every > 0:
                return cls(epochs=every)
        elif isinstance(every, Iterable):
            steps = list(every)
            if steps and all(_is_whole(step) for step in steps):
                return cls(at=tuple(sorted({int(step) for step in steps})))
        raise SettingsError(expected("every", _WANTED, f"'{every}'"))

    def after_epoch(self, epoch: int) -> bool:
        """Whether to record when so many epochs are done, 1 and more."""
        return bool(self.epochs) and epoch % self.epochs == 0

    def between(self, before: int, now: int) -> bool:
        """Whether to record now, `now` batches being done, where the last look was at `before`."""
        if self.batches:
            return now // self.batches > before // self.batches
        if self.log:
            return _last_of_series(now) > before
        place = bisect_right(self.at, now)
        return place > 0 and self.at[place - 1] > before


def _last_of_series(step: int) -> int:
    """The largest of 1, 2, 5, 10, 20, 50, ... that is not above `step`; 0 before the first."""
    if step < 1:
        return 0
    decade = 10 ** (len(str(step)) - 1)
    return max(number * decade for number in _SERIES if number * decade <= step)


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0


_GRAM_BYTES = 64 << 20


class Recorder(keras.callbacks.Callback):
    """Records, during `model.fit`, what every map and every layer knows about the label.

    Of each map: the information of its response about the label, and about being of each class or
    not. Of each layer, whose response is taken as a whole: the information about the label and,
    where the estimator can tell it, about the input; so that the layers' ways can be drawn in the
    information plane. All of it from the same images, the same seed, without null and intervals.

    The start and the end of a training are always recorded. What was recorded is on disk at once;
    memory holds one step, and responses of some maps at a time. With `out`, a training that goes
    on from a saved model (with its optimizer) goes on recording in the same folder; steps that were
    recorded after the saved one are replaced.

    Args:
        images: (n, h, w, bands), as the model is fed with them; best none that it is trained on.
        labels: (n,) whole numbers, booleans or strings, or one-hot rows.
        every: epochs (1), `"200 batches"`, `"log"` (1, 2, 5, 10, 20, ... batches), or the numbers
            of batches themselves.
        out: folder of a run; the record is in its folder `record`. If None it is in a temporary
            folder, which goes with the recorder.
        layers: names as `oip layers` prints them, or `@index`; all with maps if None.
        dense: names of layers without places, such as `Dense`; recorded as a whole only.
        at: the maps' responses after their activation, or the block output after the pooling that
            follows, where one does.
        estimator: a name, or an estimator with parameters of its own. `kde` is quick.
        samples: most images that are used, in the shares of their classes.
        seed: of the subsample and of what the estimator draws.
        classes: names; the label k is shown as `classes[k]`.
        split: what the images are, such as "mnist:test"; shown with the result.

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
        labels: Any,
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
    ):
        super().__init__()
        self._schedule = Schedule.of(every)
        self._estimator = label_estimator(estimator)
        pixels = np.asarray(images)
        if pixels.ndim < 3:
            raise DataError(expected("images", "shape (n, h, w, bands)", pixels.shape))
        check_at(at)
        subset = labeled_subset(labels, len(pixels), samples, seed, classes)
        self._codes: np.ndarray = subset.codes
        self._images = pixels[subset.indices]
        numbers = _whole_numbers(labels)
        self._true = None if numbers is None else numbers[subset.indices]
        self._classes = subset.classes
        self._asked = None if layers is None else list(layers)
        self._dense = list(dense)
        self._at: At = at
        self._seed, self._split = seed, split
        if out is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="oip-")
            out = self._temporary.name
        self._path = Path(out) / "record"
        self._trained: Any = None
        self._last = 0

    @property
    def record(self) -> TrainingRecord:
        """What was recorded so far.

        Raises:
            RunError: nothing yet.
        """
        from oip.mi.training.record import TrainingRecord

        if self._trained is self.model is not None:
            self._folder.join()
        return TrainingRecord.open(self._path)

    def on_train_begin(self, logs: Any = None) -> None:
        """Prepares the model's layers and records the start."""
        self._prepare()
        self._last = self._step()
        if self._last not in self._folder.begin(self._last):
            self._write(self._last)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Records if that many batches are due."""
        if self._schedule.epochs:
            return
        now = self._step()
        if self._schedule.between(self._last, now):
            self._write(now)
        self._last = now

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Records if that many epochs are due."""
        if self._schedule.after_epoch(epoch + 1):
            self._write(self._step())

    def on_train_end(self, logs: Any = None) -> None:
        """Records the end."""
        if self._step() not in self._folder.steps():
            self._write(self._step())
        self._folder.join()

    def _prepare(self) -> None:
        """The view of the model; made once for each model that is trained."""
        from oip.network.inputs import check_images
        from oip.network.network import Network

        model: Any = self.model
        if self._trained is model:
            return
        if not model.built:
            model.build((None, *self._images.shape[1:]))
        network = Network(model).fitted_to(self._images)
        if self._asked is None:
            infos = network.layers if self._dense else network.convolutional
        else:
            infos = [network.find(name) for name in self._asked]
        parts = [info.at(self._at) if info.block is not None else info for info in infos]
        for number, name in enumerate(self._dense, len(network.layers)):
            parts.append(replace(network.dense_layer(name), index=number))
        if not parts or len({part.name for part in parts}) < len(parts):
            asked = [*(self._asked or []), *self._dense]
            raise SettingsError(expected("layers", "some, each one once", asked))
        images = check_images(network.inputs, self._images)
        self._reader = Reader(network, parts, images)
        self._parts = parts
        self._folder = RecordFolder(self._path, self._told(parts))
        self._trained = model

    def _step(self) -> int:
        """Batches that the model has learned from; saved with its optimizer."""
        model: Any = self.model
        done: Any = keras.ops.convert_to_numpy(model.optimizer.iterations)
        return int(done)

    def _told(self, parts: list[LayerInfo]) -> dict[str, Any]:
        """What record.json says besides steps and values."""
        one = self._estimator
        told = {
            "estimator": one.name,
            "name_shown": one.name_shown,
            "parameters": one.parameters,
            "samples": len(self._codes),
            "seed": self._seed,
            "split": self._split,
            "unit": "bits",
            "classes": list(self._classes),
            "label_ceiling": float(bits(validation.label_entropy(self._codes))),
            "class_ceilings": bits(validation.class_entropies(self._codes)).tolist(),
            "input_ceiling": float(np.log2(len(self._codes)))
            if one.can("input_information")
            else None,
            "layers": [
                {"index": one.index, "layer": one.name, "maps": one.maps if one.size else 0}
                for one in parts
            ],
        }
        if self._at != "response":
            told["at"] = self._at
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
        digest.update(np.ascontiguousarray(self._images).tobytes())
        digest.update(self._codes.tobytes())
        return {"key": digest.hexdigest(), **told}

    def _write(self, step: int) -> None:
        self._folder.write(step, self._measured())

    def _measured(self) -> dict[str, np.ndarray]:
        """One step as `RecordFolder` keeps it, in bits; NaN for maps that are not finite."""
        n, classes = len(self._codes), len(self._classes)
        found: dict[str, np.ndarray] = {}
        grams = [np.zeros((n, n)) for _ in self._parts]
        for part in self._parts:
            name, maps = f"layer-{part.index:03d}", part.maps if part.size else 0
            found[f"{name}-label"] = np.full(maps, np.nan, np.float32)
            found[f"{name}-per_class"] = np.full((maps, classes), np.nan, np.float32)
        for place, maps, values in self._reader.blocks():
            part = self._parts[place]
            usable = np.isfinite(values).all(axis=(0, 2))
            if usable.any() and part.size:
                name = f"layer-{part.index:03d}"
                good = values if usable.all() else values[:, usable]
                told = self._estimator.over_maps(good, self._codes, self._seed)
                found[f"{name}-label"][maps[usable]] = bits(told.mi)
                found[f"{name}-per_class"][maps[usable]] = bits(told.per_class)
            if usable.all():
                _add_products(grams[place], values.reshape(n, -1))
            else:
                grams[place].fill(np.nan)
        for part, known in zip(self._parts, thread_map(self._of_layer, grams), strict=True):
            found[f"layer-{part.index:03d}-layer"] = known
        predicted = self._reader.predicted()
        right = np.nan
        if predicted is not None and self._true is not None:
            right = float((predicted == self._true).mean())
        found["accuracy"] = np.array(right)
        return found

    def _of_layer(self, gram: np.ndarray) -> np.ndarray:
        """(2,): I(X;T) and I(T;Y) of a whole layer in bits, NaN where there is none.

        Args:
            gram: (n, n) products of the layer's centred responses.
        """
        result = np.full(2, np.nan)
        if not np.isfinite(gram).all():
            return result
        axes = _coordinates(gram)
        one = self._estimator
        if one.can("input_information"):
            value = one.input_information(axes, self._seed)
            most = np.inf if value.ceiling is None else value.ceiling
            result[0] = bits(float(np.clip(value.nats, 0.0, most)))
        result[1] = bits(one.over_maps(axes[:, None], self._codes, self._seed).mi[0])
        return result


def _add_products(gram: np.ndarray, values: np.ndarray) -> None:
    """Adds the products of the images' centred responses (n, d), some columns at a time."""
    from threadpoolctl import threadpool_limits

    width = max(1, _GRAM_BYTES // (4 * len(values)))
    # A training that goes on beside this leaves no cores for products on several.
    with threadpool_limits(1, "blas"):
        for start in range(0, values.shape[1], width):
            part = values[:, start : start + width]
            part = part - part.mean(axis=0)
            gram += part @ part.T


def _coordinates(gram: np.ndarray) -> np.ndarray:
    """(n, n - 1) or fewer: the responses on their principal axes, all distances kept.

    So that a whole layer, however many nodes it has, costs no more than its number of images.
    """
    values, axes = np.linalg.eigh(gram)
    kept = values > 1e-6 * max(float(values[-1]), 0.0)
    if not kept.any():
        return np.zeros((len(gram), 1))
    return (axes[:, kept] * np.sqrt(values[kept]))[:, ::-1]


def _whole_numbers(labels: Any) -> np.ndarray | None:
    """(n,): labels that can be places in a model's output."""
    values = validation.label_column("labels", labels)
    return values.astype(np.int64) if values.dtype.kind in "bui" else None
