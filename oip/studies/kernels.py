"""What single kernels know while networks are trained: box plots, responses, class heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oip.core.progress import Progress
from oip.studies import kernels_claims, kernels_figures
from oip.studies.frame import Folder, StudySettings
from oip.studies.networks import (
    DENSENET,
    LENET,
    SHOWN,
    SOURCE,
    STRIDED,
    Images,
    every_source,
    how_trained,
    watched_training,
)
from oip.studies.training import Trained
from oip.studies.watched import RECORDED, WIDTHS

NAME = "kernels"
TITLE = "What single kernels know about the label during training"
MINUTES = 3
TAKES = ("data", "iterations")
SCHEMA = 1
SHOWN_KERNELS = 4
"""Highest and lowest, whose responses are shown."""

__all__ = ["MINUTES", "NAME", "SCHEMA", "SOURCE", "TAKES", "TITLE", "run"]


@dataclass(frozen=True, eq=False)
class Responses:
    """What the first block's best and worst kernels answer to one image of each class."""

    images: np.ndarray
    """(classes, h, w, bands), as they are stored."""
    kernels: np.ndarray
    """(2 k,): numbers of the kernels, the k with the highest information first, then the lowest."""
    information: np.ndarray
    """(2 k,) bits."""
    values: np.ndarray
    """(2 k, classes, h', w') block output."""


def run(folder: Folder, settings: StudySettings, progress: Progress) -> None:
    """Trains LeNet and DenseNet on every data set, draws what their kernels know, and compares."""
    folder.note(
        f"Information of a kernel is that of its block output (after ReLU and pooling) about the "
        f"label: a kernel estimate in bits from {RECORDED} images of the test part. It is shown "
        f"for two widths of the Gaussian kernels: 'relative', variance 0.1 of the kernel's median "
        f"squared distance, which no scaling of the responses changes; and 'fixed', variance 0.1 "
        f"in the responses' own units, as is usual where the paper took its estimator from. The "
        f"paper names neither its variance nor how it scaled pixels (here to 0 to 1) and weights, "
        f"so that its absolute values can be met by chance only; orders and trends can be "
        f"compared. A finding agrees if it does for both widths."
    )
    folder.note(how_trained(settings))
    gains: dict[str, kernels_claims.Gains] = {}
    for data in every_source(folder, settings):
        networks = {
            SHOWN[network]: watched_training(folder, network, data, settings, progress)
            for network in (LENET, DENSENET, STRIDED)
        }
        _draw(folder, data, networks)
        kernels_claims.compare(folder, data, networks)
        gains[data.name] = kernels_claims.gains(shown_of(networks))
    kernels_claims.compare_sources(folder, gains)


def _draw(folder: Folder, data: Images, networks: dict[str, Trained]) -> None:
    shown = shown_of(networks)
    for width in WIDTHS:
        kernels_figures.boxes(folder, data, shown, width)
    for name, one in shown.items():
        for width in WIDTHS:
            kernels_figures.heat_maps(folder, data, name, one, width)
        kernels_figures.responses(folder, data, name, responses(folder, data, one))


def shown_of(networks: dict[str, Trained]) -> dict[str, Trained]:
    """The two networks that the paper shows."""
    return {name: networks[name] for name in (SHOWN[LENET], SHOWN[DENSENET])}


def responses(folder: Folder, data: Images, one: Trained) -> Responses:
    """Responses of the first block's kernels at the end of a training."""
    block = one.watched.blocks[0]
    known = one.records["relative"][block].label[-1]
    order = np.argsort(-known, kind="stable")
    kernels = np.concatenate([order[:SHOWN_KERNELS], order[-SHOWN_KERNELS:]])

    def compute() -> dict[str, np.ndarray]:
        from oip.network.responses import map_blocks
        from oip.network.view import Network

        images = _one_a_class(data.test.images, data.test.labels, len(data.test.classes))
        network = Network(one.model(one.iterations))
        info = network.find(block)
        told = list(map_blocks(network, images, info, kernels.tolist(), "block"))
        values = np.concatenate([part for _, part in told], axis=1)
        size: Sequence[int] = info.block_size or info.size
        return {
            "images": images,
            "values": np.moveaxis(values, 1, 0).reshape(-1, len(images), *size),
        }

    name = f"responses-{one.path.name}-{one.iterations}"
    found = folder.part(name, compute)
    return Responses(found["images"], kernels, known[kernels], found["values"])


def _one_a_class(images: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The first image of each class that has one."""
    firsts = [np.flatnonzero(labels == label) for label in range(classes)]
    return images[[places[0] for places in firsts if len(places)]]
