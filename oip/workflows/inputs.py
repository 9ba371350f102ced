"""A network and its data, opened and fitted to each other."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from oip.core import files
from oip.core.checks import described
from oip.core.errors import DataError, RunError, SettingsError, notice
from oip.core.formats import ModelRecord
from oip.core.images import as_input, preprocess_hint, preprocess_in
from oip.run.run import check_same_model

if TYPE_CHECKING:
    import keras

    from oip.models import Dataset
    from oip.models.datasets import ModelShape
    from oip.network.inputs import InputSpec
    from oip.network.layers import LayerInfo
    from oip.network.network import Network
    from oip.run.run import Run

    Model: TypeAlias = Network | keras.Model | str | Path
    Images: TypeAlias = Dataset | np.ndarray | str | Path
    Layers: TypeAlias = str | LayerInfo | Sequence[str | tuple[LayerInfo, np.ndarray]] | None

_LAYERS = "names such as 'Conv2D_3:0-15'"

Selection: TypeAlias = "tuple[LayerInfo, np.ndarray]"
"""A layer and the numbers of some of its maps, (m,)."""


@dataclass(frozen=True)
class ModelInput:
    """How a model is opened, and the statistics of its input where the user gives them."""

    imports: tuple[str, ...] = ()
    """Modules that register custom layers, imported before a file is read."""
    size: tuple[int, ...] | None = None
    """(h, w) in pixels, of a network that takes images of any size; else that of the data."""
    name: str | None = None
    """The input that takes the images, of several."""
    mean: tuple[float, ...] | None = None
    """One number, or one for each band, as `std`."""
    std: tuple[float, ...] | None = None
    value_range: tuple[float, float] | None = None
    """The lowest and the highest value of a pixel."""
    preprocess: str | None = None
    """`caffe`, `torch` or `tf`: the input as keras.applications prepares it."""

    def set_statistics(self, network: Network, data: Dataset | None) -> None:
        """Set a network's input statistics: those given, the model's own, or those of the data.

        Raises:
            SettingsError: numbers that do not fit the input.
        """
        spec = network.inputs
        if network.classes is None and data is not None:
            network.classes = data.classes
        if data is not None and self.mean is None and self.preprocess is None:
            spec = spec.with_statistics(value_range=self.value_range)
            spec = spec.measured_if_new(data.images, f"data {data.source}", (data.low, data.high))
        network.inputs = spec.with_statistics(
            self.mean, self.std, self.value_range, self.preprocess
        )
        if data is not None:
            _warn_of_pixel_range(network.inputs, data)


def _warn_of_pixel_range(spec: InputSpec, data: Dataset) -> None:
    """Warn where pixels are changed for the model, or may have to be."""
    if spec.takes_pictures(data.images):
        scale = spec.source if preprocess_in(spec.source) else f"{spec.low:g} to {spec.high:g}"
        notice(f"{data.source}: pixels from 0 to 255 are brought to those of the model ({scale}).")
    elif spec.application and data.images.dtype == np.uint8:
        hint = preprocess_hint(spec.application)
        notice(f"{data.source}: the model is fed with pixels from 0 to 255. {hint}")


def open_network(
    model: Model, data: Dataset | None = None, model_input: ModelInput = ModelInput()
) -> Network:
    """Open a network and set the statistics of its input.

    Args:
        model: a file, a Keras model, or a `Network`, which is opened already and stays as it is.
        data: images that the network is to be fed with.
        model_input: by the user.

    Raises:
        ModelError: a model that cannot be opened, or has no such input.
        SettingsError: numbers that do not fit the input.
    """
    from oip.network.network import Network

    if isinstance(model, Network):
        network = copy.copy(model)
    else:
        network = Network(model, model_input.imports, model_input.size, model_input.name)
        if data is not None and model_input.size is None:
            network = network.fitted_to(data.images)
    model_input.set_statistics(network, data)
    return network


class ModelSize:
    """The shape of a model's input, for images that are brought to it; the model is opened once."""

    def __init__(self, model: Model, model_input: ModelInput):
        self.model, self.model_input = model, model_input

    def __call__(self, image_shape: tuple[int, ...] | None) -> tuple[int, ...]:
        """Return (h, w, bands); of a model that takes any size, that of the images."""
        from oip.network.network import Network

        if not isinstance(self.model, Network):
            model_input = self.model_input
            network = Network(self.model, model_input.imports, model_input.size, model_input.name)
            if network.free and model_input.size is None:
                if image_shape is None:
                    sizes = "images of one size, for a model that takes any"
                    hint = "Say which size: input_shape=(h, w)."
                    raise DataError("data", sizes, "images of several", hint)
                bands = network.inputs.shape[-1]
                shape = (*image_shape[:2], bands if bands in (1, 3) else image_shape[2])
                network = network.fitted_to(np.empty((0, *shape)))
            self.model = network
        return self.model.inputs.shape


def load_data(
    data: Images,
    labels: Sequence[int] | np.ndarray | None = None,
    part: str = "test",
    data_dir: str | Path | None = None,
    resize: str | None = None,
    model_shape: ModelShape | None = None,
) -> Dataset:
    """Return images and labels of a source, or of arrays.

    Args:
        data: a source as `models.load` takes it, a `Dataset`, or images (n, h, w[, bands]).
        labels: (n,) whole numbers or names, for images that are an array.
        part: the part of a source that does not name one itself.
        data_dir: folder searched for data files before they are downloaded.
        resize, model_shape: as for `models.load`.

    Raises:
        DataError: a source that cannot be read, or arrays that do not fit.
    """
    from oip import models
    from oip.models.datasets import fitted_to_model, from_arrays

    if isinstance(data, str | Path):
        return models.load(
            data, data_dir=data_dir, part=part, resize=resize, model_shape=model_shape
        )
    images = data if isinstance(data, models.Dataset) else from_arrays(data, labels)
    return fitted_to_model(images, resize, model_shape)


def load_start(network: Network, start: np.ndarray | str | Path) -> np.ndarray:
    """Return the image that an ascent begins with, (h, w, b) in the model's input units.

    Args:
        start: an image file, which is cropped and resized as data are, turned as its EXIF says and
            on white where it is transparent; or such an array.

    Raises:
        DataError: not an image file, or a model that takes no pictures.
    """
    if not isinstance(start, str | Path):
        return np.asarray(start)
    from oip.models.images_on_disk import Sizing, read_pictures

    spec = network.inputs
    if len(spec.shape) != 3 or spec.shape[-1] not in (1, 3):
        raise DataError("an image to begin with", "a model of images of 1 or 3 bands", spec.shape)
    size = spec.shape[0], spec.shape[1]
    pictures, _ = read_pictures(
        [Path(start)], Path(start).name, Sizing(size, spec.shape[2], as_shown=True)
    )
    black, white = spec.picture_ends or (np.zeros(spec.shape[2]), np.full(spec.shape[2], 255.0))
    return as_input(pictures[0], black, white, spec.bgr)


def load_both_parts(
    data: Images,
    labels: Sequence[int] | np.ndarray | None = None,
    data_dir: str | Path | None = None,
    resize: str | None = None,
    model_shape: ModelShape | None = None,
) -> tuple[Dataset, Dataset]:
    """Return the train and the test part of a source; a fifth of arrays is held out as test part.

    Args:
        data: as for `load_data`; a source must not name a part.
        labels, data_dir, resize, model_shape: as for `load_data`.

    Raises:
        DataError: as `load_data`, or a source that names one part.
    """
    from oip import models
    from oip.models.datasets import parts_of

    loading_arguments = (data_dir, resize, model_shape)
    if isinstance(data, str | Path):
        name, part = models.split_source(str(data))
        if part is not None:
            hint = f"Both parts are needed: use '{name}'."
            raise DataError("data", "a source without a part", f"'{data}'", hint)
        train, test = (
            load_data(data, None, part, *loading_arguments) for part in ("train", "test")
        )
        return train, test
    return parts_of(load_data(data, labels, "all", *loading_arguments))


def in_order_of_outputs(network: Network, data: Dataset) -> Dataset:
    """Return data with the classes in the order of the model's outputs, if it was saved with them.

    A label is the number of an output: in another order losses, accuracies and predictions would be
    those of other classes. Names that the model does not have, or has twice, leave the data as they
    are.
    """
    names = network.classes or ()
    units = {name: unit for unit, name in enumerate(names) if names.count(name) == 1}
    outputs = [units.get(name) for name in data.classes]
    if data.labels is None or None in outputs or outputs == list(range(len(outputs))):
        return data
    return replace(data, labels=np.array(outputs, np.int64)[data.labels], classes=tuple(names))


def opened(
    model: Model,
    data: Images,
    labels: Sequence[int] | np.ndarray | None = None,
    *,
    model_input: ModelInput = ModelInput(),
    data_dir: str | Path | None = None,
    resize: str | None = None,
) -> tuple[Network, Dataset]:
    """Open a model and load the test part of its data, image files in the size of its input.

    Args:
        model, given: as for `open_network`.
        data, labels, data_dir: as for `load_data`.
        resize: how images get the model's size, as for `models.load`.
    """
    size = ModelSize(model, model_input)
    images = load_data(data, labels, "test", data_dir, resize, size)
    network = open_network(size.model, images, model_input)
    return network, in_order_of_outputs(network, images)


def opened_run(
    run: Run,
    model: Model | None,
    data: Images,
    imports: Sequence[str] = (),
    *,
    data_dir: str | Path | None = None,
    resize: str | None = None,
    hint: str = "Say where it is: model='FILE'.",
) -> tuple[Network, Dataset]:
    """Open the model of a run, its input as in the run, and load data in the size of its input.

    Args:
        run: of the model.
        model: None where its file lies in the run's folder, beside it or here.
        imports: modules that register custom layers of the model.
        data, data_dir, resize: as for `opened`.
        hint: what to do where the model is not found.

    Raises:
        RunError: the model is not found, or is another one.
    """
    record = run.record.input
    free = run.record.loading and run.record.loading.input_size
    model_input = ModelInput(tuple(imports), tuple(free) if free else None, record and record.name)
    if record is not None:
        model_input = replace(model_input, preprocess=preprocess_in(record.source))
    path = _model_file(run, hint) if model is None else model
    network, images = opened(path, data, model_input=model_input, data_dir=data_dir, resize=resize)
    model_record = ModelRecord(name=network.name, sha256=network.digest)
    check_same_model(run.path, run.record.model, model_record)
    if record is not None:
        network.inputs = replace(
            network.inputs,
            mean=np.array(record.mean, np.float32),
            std=np.array(record.std, np.float32),
            low=np.nan if record.low is None else record.low,
            high=np.nan if record.high is None else record.high,
            source=record.source,
            bgr=record.bgr,
        )
    return network, images


def _model_file(run: Run, hint: str) -> Path:
    """Return the file of a run's model: in the run's folder, beside it or in the working directory.

    Raises:
        RunError: it is in none of these.
    """
    model = run.record.model
    if files.is_plain_path(model.name):
        for folder in (run.path, run.path.parent, Path()):
            path = folder / model.name
            if path.is_file() and files.sha256(path) == model.sha256:
                return path
    text = f"'{model.name}' ({model.sha256[:12]}) in '{run.path}', beside it or here"
    raise RunError("the run's model", text, "none", hint)


def opened_with_parts(
    model: Model,
    data: Images,
    labels: Sequence[int] | np.ndarray | None = None,
    *,
    model_input: ModelInput = ModelInput(),
    data_dir: str | Path | None = None,
    resize: str | None = None,
) -> tuple[Network, Dataset, Dataset]:
    """Open a model and load both parts of its data; arguments as for `opened`."""
    size = ModelSize(model, model_input)
    train, test = load_both_parts(data, labels, data_dir, resize, size)
    network = open_network(size.model, train, model_input)
    return network, in_order_of_outputs(network, train), in_order_of_outputs(network, test)


def select_maps(network: Network, layers: Layers) -> list[Selection]:
    """Return the layers and maps that a caller names.

    Args:
        network: the model.
        layers: `"Conv2D_3:0-15"`, several of these, pairs of a layer and map numbers, or None for
            every convolutional layer.

    Raises:
        ModelError, SettingsError: a layer or a map that is not there.
    """
    from oip.network.layer_spec import map_numbers, parse_selections
    from oip.network.layers import LayerInfo

    if isinstance(layers, LayerInfo):
        return [(layers, map_numbers(layers, None))]
    if layers is not None and not hasattr(layers, "__iter__"):
        raise SettingsError("layers", _LAYERS, described(layers))
    entries = [layers] if isinstance(layers, str) else list(() if layers is None else layers)
    pairs = [pair for pair in entries if not isinstance(pair, str)]
    if not all(isinstance(pair, tuple) and isinstance(pair[0], LayerInfo) for pair in pairs):
        raise SettingsError("layers", _LAYERS, f"a list of {described(pairs[0])}")
    texts = [text for text in entries if isinstance(text, str)]
    return pairs if pairs and not texts else pairs + parse_selections(network, texts)
