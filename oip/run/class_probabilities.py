"""Class probabilities of each OIP by the whole model, outside the data as OIPs are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.core.errors import ModelError, RunError
from oip.core.layer_formats import ClassProbabilitiesFile
from oip.core.progress import Progress, silent
from oip.network.forward import layer_graph, run_in_batches
from oip.network.layer_types import activation_name
from oip.network.network import Network
from oip.run.run import Run, RunFolder
from oip.run.shards import layer_parts, maps_in_shards, measure_stability, stability_file

if TYPE_CHECKING:
    from tensorflow import Tensor

NAME = "softmax.npz"
_BUDGET = 256 << 20
_TOLERANCE = 0.01


def merge_class_probabilities(folders: Sequence[Path], target: Path) -> None:
    """Write what several runs' folders of one layer have; of a map that is in several, the first's.

    Nothing is written where no folder has any; a damaged file is a RunError. Where a run has found
    outputs that are no probabilities there are none, as if one run had grown all maps.
    """
    maps, probabilities = [], []
    for folder in folders:
        record = ClassProbabilitiesFile.read_if_there(folder / NAME)
        if record is not None:
            new = ~np.isin(record.maps, np.concatenate(maps or [[]]))
            maps.append(record.maps[new])
            probabilities.append(record.probabilities[new])
    if maps:
        order = np.argsort(np.concatenate(maps))
        fewest = min(rows.shape[1] for rows in probabilities)
        joined = np.concatenate([rows[:, :fewest] for rows in probabilities])
        ClassProbabilitiesFile(maps=np.concatenate(maps)[order], probabilities=joined[order]).write(
            target / NAME
        )


def has_class_probabilities(run: RunFolder, index: int) -> bool:
    """Return whether softmax.npz of a layer is whole and of the maps in its shards."""
    record = ClassProbabilitiesFile.read_if_whole(run.folder(index) / NAME)
    return record is not None and record.maps.tolist() == maps_in_shards(run, index).tolist()


def finish_layer(
    run: Run,
    index: int,
    seed: int,
    probabilities: Callable[[], ClassProbabilities],
    progress: Progress = silent,
) -> None:
    """Make what belongs to a layer's shards, where it is missing, damaged or of other maps."""
    if not has_class_probabilities(run, index):
        probabilities().write(run, index)
    measure_stability(run, index, seed, progress)


def is_finished(run: RunFolder, index: int) -> bool:
    """Return whether all files of `finish_layer` exist; False where a shard is damaged."""
    try:
        is_complete = has_class_probabilities(run, index) and stability_file(run, index) is not None
    except RunError:
        return False
    return is_complete and bool(run.shards(index))


class ClassProbabilities:
    """The probabilities that a model ends in; traced when they are first needed."""

    def __init__(self, network: Network):
        self._network = network
        self._is_sigmoid = False
        self._graph: Callable[..., Tensor] | None = None

    def write(self, run: Run, index: int) -> None:
        """Write softmax.npz of a layer: probabilities of every map's best image.

        A model that does not end in probabilities has none of any class.
        """
        maps: list[np.ndarray] = []
        rows: list[np.ndarray | None] = []
        for oips in layer_parts(run, index, snapshots=False):
            has_none = bool(rows) and rows[-1] is None
            rows.append(None if has_none else self._predicted(oips.pixels[:, 0]))
            maps.append(oips.maps)
        numbers = np.concatenate(maps)
        rated = [values for values in rows if values is not None]
        empty = np.zeros((len(numbers), 0), np.float32)
        ClassProbabilitiesFile(
            maps=numbers, probabilities=np.concatenate(rated) if len(rated) == len(rows) else empty
        ).write(run.folder(index) / NAME)

    def _predicted(self, images: np.ndarray) -> np.ndarray | None:
        """Return (n, classes) of images (n, h, w, b); None if the outputs are no probabilities."""
        try:
            self._graph = self._graph or self._compiled()
        except ModelError:
            return None
        size = self._network.activation_bytes()
        batches = run_in_batches(self._graph, images, size, byte_budget=_BUDGET, max_images=256)
        outputs = np.concatenate([values for _, values in batches])
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
        graph = layer_graph(network, output)
        return lambda images: graph(images)[0].response
