"""Class probabilities of each OIP by the whole model, outside the data as OIPs are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.core.errors import ModelError
from oip.core.layer_formats import ClassProbabilitiesFile
from oip.network.forward import compiled_for_images, run_in_batches, run_to
from oip.network.layer_types import activation_name
from oip.network.network import Network
from oip.run.run import Run
from oip.run.shards import layer_parts

if TYPE_CHECKING:
    from tensorflow import Tensor

_NAME = "softmax.npz"
_BUDGET = 256 << 20
_TOLERANCE = 0.01


def merge_class_probabilities(folders: Sequence[Path], target: Path) -> None:
    """Write what several runs' folders of one layer have; of a map that is in several, the first's.

    Nothing is written where no folder has any; a damaged file is a RunError.
    """
    maps, probabilities = [], []
    for folder in folders:
        record = ClassProbabilitiesFile.read_if_there(folder / _NAME)
        if record is not None:
            new = ~np.isin(record.maps, np.concatenate(maps or [[]]))
            maps.append(record.maps[new])
            probabilities.append(record.probabilities[new])
    if maps:
        order = np.argsort(np.concatenate(maps))
        ClassProbabilitiesFile(
            maps=np.concatenate(maps)[order], probabilities=np.concatenate(probabilities)[order]
        ).write(target / _NAME)


class ClassProbabilities:
    """The probabilities that a model ends in; traced when they are first needed."""

    def __init__(self, network: Network):
        self._network = network
        self._is_sigmoid = False
        self._graph: Callable[..., Tensor] | None = None

    def write(self, run: Run, index: int) -> None:
        """Write softmax.npz of a layer: probabilities of every map's best image.

        Nothing is written for a model that does not end in probabilities.
        """
        maps, rows = [], []
        for part in layer_parts(run, index, snapshots=False):
            probabilities = self._of(part.pixels[:, 0])
            if probabilities is None:
                return
            maps.append(part.maps)
            rows.append(probabilities)
        ClassProbabilitiesFile(maps=np.concatenate(maps), probabilities=np.concatenate(rows)).write(
            run.folder(index) / _NAME
        )

    def _of(self, images: np.ndarray) -> np.ndarray | None:
        """(n, classes) of images (n, h, w, b); None where the outputs are no probabilities."""
        try:
            self._graph = self._graph or self._compiled()
        except ModelError:
            return None
        size = self._network.activation_bytes()
        batches = run_in_batches(self._graph, images, size, byte_budget=_BUDGET, most=256)
        outputs = np.concatenate([part for _, part in batches])
        if outputs.shape[1] == 1 and self._is_sigmoid:  # one unit, two classes
            outputs = np.concatenate([1 - outputs, outputs], axis=1)
        finite = outputs[np.isfinite(outputs).all(1)]
        sums_to_one = np.abs(finite.sum(1) - 1).max(initial=0) < _TOLERANCE
        fits = outputs.shape[1] > 1 and sums_to_one and finite.min(initial=0) >= 0
        return outputs if fits else None

    def _compiled(self) -> Callable[..., Tensor]:
        network = self._network
        output = network.class_layer().response
        self._is_sigmoid = activation_name(output.layer) == "sigmoid"

        def probabilities(images: Tensor) -> Tensor:
            inputs = network.feed(images)
            return run_to(network.model, inputs, output, spoiled=network.spoiled)[1]

        return compiled_for_images(network, probabilities)
