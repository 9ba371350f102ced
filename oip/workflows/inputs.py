"""A network and its data, opened and fitted to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from oip.core.errors import DataError

if TYPE_CHECKING:
    import keras

    from oip.models import Dataset
    from oip.network.layers import LayerInfo
    from oip.network.network import Network

    Model: TypeAlias = Network | keras.Model | str | Path
    Images: TypeAlias = Dataset | np.ndarray | str | Path
    Layers: TypeAlias = str | LayerInfo | Sequence[str | tuple[LayerInfo, np.ndarray]] | None

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
        if data is not None and self.mean is None and self.preprocess is None:
            spec = spec.measured_if_new(data.images, f"data {data.source}", (data.low, data.high))
        network.inputs = spec.with_statistics(
            self.mean, self.std, self.value_range, self.preprocess
        )


def open_network(
    model: Model, data: Dataset | None = None, given: ModelInput = ModelInput()
) -> Network:
    """Open a network and set the statistics of its input.

    Args:
        model: a file, a Keras model, or a `Network`, which is opened already.
        data: images that the network is to be fed with.
        given: by the user.

    Raises:
        ModelError: a model that cannot be opened, or has no such input.
        SettingsError: numbers that do not fit the input.
    """
    from oip.network.network import Network

    if isinstance(model, Network):
        network = model
    else:
        network = Network(model, given.imports, given.size, given.name)
        if data is not None and given.size is None:
            network = network.fitted_to(data.images)
    given.set_statistics(network, data)
    return network


def load_data(
    data: Images,
    labels: Sequence[int] | np.ndarray | None = None,
    part: str = "test",
    data_dir: str | Path | None = None,
) -> Dataset:
    """Return images and labels of a source, or of arrays.

    Args:
        data: a source as `models.load` takes it, a `Dataset`, or images (n, h, w[, bands]).
        labels: (n,) whole numbers or names, for images that are an array.
        part: the part of a source that does not name one itself.
        data_dir: folder searched for data files before they are downloaded.

    Raises:
        DataError: a source that cannot be read, or arrays that do not fit.
    """
    from oip import models
    from oip.models.datasets import from_arrays

    if isinstance(data, models.Dataset):
        return data
    if isinstance(data, str | Path):
        return models.load(data, data_dir=data_dir, part=part)
    return from_arrays(data, labels)


def load_both_parts(
    data: Images,
    labels: Sequence[int] | np.ndarray | None = None,
    data_dir: str | Path | None = None,
) -> tuple[Dataset, Dataset]:
    """Return the train and the test part of a source; a fifth of arrays is held out as test part.

    Args:
        data, labels, data_dir: as for `load_data`; a source must not name a part.

    Raises:
        DataError: as `load_data`, or a source that names one part.
    """
    from oip import models
    from oip.models.datasets import parts_of

    if isinstance(data, str | Path):
        name, part = models.split_source(str(data))
        if part is not None:
            hint = f"Both parts are needed: use '{name}'."
            raise DataError("data", "a source without a part", f"'{data}'", hint)
        train, test = (
            models.load(data, data_dir=data_dir, part=part) for part in ("train", "test")
        )
        return train, test
    return parts_of(load_data(data, labels))


def opened(
    model: Model, data: Images, labels: Sequence[int] | np.ndarray | None = None
) -> tuple[Network, Dataset]:
    """Open a model and load its data; see `open_network` and `load_data`."""
    images = load_data(data, labels)
    return open_network(model, images), images


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
    named = [layers] if isinstance(layers, str) else list(layers or ())
    pairs = [pair for pair in named if not isinstance(pair, str)]
    texts = [text for text in named if isinstance(text, str)]
    return pairs if pairs and not texts else pairs + parse_selections(network, texts)
