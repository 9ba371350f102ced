"""Diffusion spectral quantities of many trained networks, beside their accuracy (figure 10)."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oip.core.errors import ModelError, OipError, SettingsError, expected
from oip.studies.diffusion_encoder import before_head
from oip.studies.diffusion_measures import QUANTITIES, SCALES, measure
from oip.studies.diffusion_training import Watched
from oip.studies.renyi_probe import accuracy, forward

_DRAWS = 2000


@dataclass(frozen=True)
class Kind:
    """A small network of the set that is trained here."""

    recipe: str
    images: int
    epochs: int
    seed: int

    @property
    def name(self) -> str:
        """For files."""
        return f"{self.recipe}-{self.images}-{self.epochs}-seed{self.seed}"


def small_network(
    kind: Kind, data: tuple[Any, Any], watched: Watched, seed: int
) -> dict[str, np.ndarray]:
    """Trains one network of the set and measures it.

    Returns:
        `accuracy` on the test images, `size` (weights), and the quantities of `measure`.
    """
    import keras

    import models
    from models.datasets import statistics

    data_train, data_test = data
    keras.utils.set_random_seed(kind.seed)
    images, labels = data_train.images[: kind.images], data_train.labels[: kind.images]
    mean, std = statistics(data_train.images)
    model = models.recipe(kind.recipe).build(images.shape[1:], len(data_train.classes), mean, std)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(images, labels, batch_size=32, epochs=kind.epochs, verbose=0)
    z = forward(before_head(model))(watched.images)
    return {
        "accuracy": np.array(accuracy(forward(model), data_test)),
        "size": np.array(model.count_params()),
        **measure(z, watched.codes, watched.pixels, seed),
    }


def model_files(pattern: str) -> list[Path]:
    """The files of a pattern, sorted.

    Raises:
        SettingsError: it matches fewer than three.
    """
    found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    if len(found) < 3:
        raise SettingsError(expected("--models", "a pattern of 3 model files or more", len(found)))
    return found


def file_network(path: Path, load: Any, count: int, seed: int) -> dict[str, np.ndarray]:
    """One trained network from a file.

    Args:
        path: of the model.
        load: gives the data for (height, width), bands.
        count: of images that are measured.
        seed: of clusters and subsets.

    Returns:
        As `small_network`. The accuracy is that on the data where the model has a class for each
        of theirs, else what its sidecar says.

    Raises:
        MissingData: there are no data.
        OipError: it cannot be measured, and why.
    """
    from oip.network.view import Network

    network = Network(path)
    height, width, bands = _image_shape(network)
    data = load((height, width), bands)
    try:
        return _measured(network, path, data, count, seed)
    except OipError:
        raise
    except Exception as error:  # of a network of others, which must not stop the study
        raise ModelError(expected(path.name, "a network that runs on the images", error)) from error


def _image_shape(network: Any) -> tuple[int, int, int]:
    """Height, width and bands that a network takes.

    Raises:
        ModelError: it is no network from images to one row of numbers, or has NaN weights.
    """
    model = network.model
    ends = len(model.inputs), len(model.outputs)
    if ends != (1, 1):
        found = f"{ends[0]} inputs and {ends[1]} outputs"
        raise ModelError(expected(f"'{network.name}'", "one input and one output", found))
    shape = network.inputs.shape
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise ModelError(expected(f"'{network.name}'", "an input of images of 1 or 3 bands", shape))
    if len(model.outputs[0].shape) != 2:
        outputs = tuple(model.outputs[0].shape)
        raise ModelError(expected(f"'{network.name}'", "an output (n, classes)", outputs))
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise ModelError(expected(f"'{network.name}'", "finite weights", "NaN or infinity"))
    height, width, bands = shape
    return height, width, bands


def _measured(network: Any, path: Path, data: Any, count: int, seed: int) -> dict[str, np.ndarray]:
    from oip.network.inputs import check_images, read_sidecar

    check_images(network.inputs, data.images)
    encoder = before_head(network.model)
    if len(encoder.outputs[0].shape) != 2:
        found = tuple(encoder.outputs[0].shape)
        wanted = "a head that receives one row of numbers an image"
        raise ModelError(expected(f"'{network.name}'", wanted, found))
    watched = Watched.of(data, count, seed)
    z = forward(encoder)(watched.images)
    if not np.isfinite(z).all():
        raise ModelError(expected(f"'{network.name}'", "finite responses", "NaN or infinity"))
    outputs = int(network.model.outputs[0].shape[-1])
    told = (read_sidecar(path) or {}).get("accuracy")
    if outputs == len(data.classes):
        right = accuracy(forward(network.model), data)
    elif isinstance(told, float):
        right = told
    else:
        wanted = f"{len(data.classes)} classes, or a sidecar with its accuracy"
        raise ModelError(expected(f"'{network.name}'", wanted, f"{outputs} classes"))
    return {
        "accuracy": np.array(right),
        "size": np.array(network.model.count_params()),
        **measure(z, watched.codes, watched.pixels, seed),
    }


def correlations(values: np.ndarray, scores: np.ndarray, seed: int) -> dict[str, float]:
    """Pearson's and Spearman's correlation, p-values, and an interval of the latter.

    Args:
        values: (networks,), of a quantity.
        scores: (networks,), accuracies.
        seed: of the bootstrap over networks.
    """
    from scipy.stats import pearsonr, rankdata, spearmanr

    from oip.core import seeds

    if not np.ptp(values) or not np.ptp(scores):
        return dict.fromkeys(("pearson", "pearson p", "spearman", "spearman p", "low", "high"), 0.0)
    linear: Any = pearsonr(values, scores)
    ranked: Any = spearmanr(values, scores)
    rows = seeds.generator(seed, "networks").integers(0, len(values), (_DRAWS, len(values)))
    first, second = (rankdata(one[rows], axis=1) for one in (values, scores))
    first -= first.mean(axis=1, keepdims=True)
    second -= second.mean(axis=1, keepdims=True)
    size = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    drawn = (first * second).sum(axis=1)[size > 0] / size[size > 0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "pearson": float(linear.statistic),
        "pearson p": float(linear.pvalue),
        "spearman": float(ranked.statistic),
        "spearman p": float(ranked.pvalue),
        "low": float(low),
        "high": float(high),
    }


def quantity_names() -> list[str]:
    """Keys of the quantities that are correlated."""
    return [f"{scale.name} {quantity}" for scale in SCALES for quantity in QUANTITIES]
