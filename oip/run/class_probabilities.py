"""What the whole model says of each OIP: its class probabilities, outside the data as OIPs are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oip.core import files
from oip.core.errors import ModelError
from oip.network.forward import compiled_for_images, run_in_batches, run_to
from oip.network.network import Network
from oip.run.run import Run
from oip.run.shards import layer_parts

SCHEMA = 1
_NAME = "softmax.npz"
_BUDGET = 256 << 20
_OFF = 0.01


def join_outputs(folders: Sequence[Path], target: Path) -> None:
    """Writes what several folders of one layer know; of a map that is in several, the first's.

    Raises:
        RunError: a damaged file.
    """
    numbers, rows = [], []
    for folder in folders:
        if (folder / _NAME).is_file():
            told = files.read_arrays(folder / _NAME)
            new = ~np.isin(told["maps"], np.concatenate(numbers or [[]]))
            numbers.append(told["maps"][new])
            rows.append(told["probabilities"][new])
    if not numbers:
        return
    order = np.argsort(np.concatenate(numbers))
    _write(target, np.concatenate(numbers)[order], np.concatenate(rows)[order])


def _write(folder: Path, maps: np.ndarray, probabilities: np.ndarray) -> None:
    files.write_arrays(
        folder / _NAME,
        {"schema": np.array(SCHEMA), "maps": maps, "probabilities": probabilities},
    )


class Outputs:
    """The probabilities that a model ends in; traced when they are first asked for."""

    def __init__(self, network: Network):
        self._network = network
        self._graph: Any = None

    def write(self, run: Run, index: int) -> None:
        """Writes softmax.npz of a layer: probabilities of every map's best image.

        Nothing is written for a model that does not end in probabilities.
        """
        numbers, found = [], []
        for part in layer_parts(run, index, snapshots=False):
            probabilities = self._of(part.pixels[:, 0])
            if probabilities is None:
                return
            numbers.append(part.maps)
            found.append(probabilities)
        _write(run.folder(index), np.concatenate(numbers), np.concatenate(found))

    def _of(self, images: np.ndarray) -> np.ndarray | None:
        if self._graph is None:
            try:
                self._graph = self._compiled()
            except ModelError:
                return None
        size = self._network.activation_bytes()
        batches = run_in_batches(self._graph, images, size, byte_budget=_BUDGET, most=256)
        found = np.concatenate([part for _, part in batches])
        whole = np.isfinite(found).all(1)
        fits = found.shape[1] > 1 and np.abs(found[whole].sum(1) - 1).max(initial=0) < _OFF
        return found if fits and found[whole].min(initial=0) >= 0 else None

    def _compiled(self) -> Any:
        network = self._network
        output = network.class_layer().response

        def end(images: Any) -> Any:
            fed = network.feed(images)
            return run_to(network.model, fed, output, spoiled=network.spoiled)[1]

        return compiled_for_images(network, end)
