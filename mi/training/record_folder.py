"""A training record as it is written: one file a recorded step, joined into the files to read.

FOLDER/record.json              layers over the steps, and the settings: `TrainingRecordFile`
FOLDER/layer-NNN.npz            maps over the steps: `RecordedMapsFile`
FOLDER/steps/000000469.npz      one step of all layers, from which the others are made

The time to write a step does not depend on their number; the steps are joined when their number has
doubled and at the end, so that a record of any length is written in bounded memory, layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from oip.core import files
from oip.core.errors import RunError, expected
from oip.core.formats import RecordedMapsFile, TrainingRecordFile, step_array
from oip.core.units import finite_list

RECORD = "record.json"
_OTHER = "Choose another folder, or remove it."


def maps_file(folder: Path, index: int) -> Path:
    """Return the path of a layer's maps over the steps."""
    return folder / f"layer-{index:03d}.npz"


class RecordFolder:
    """The folder that the steps of one training are written to.

    Args:
        path: the folder; made with the first step.
        empty: the record of no step; its `key` distinguishes one record from another.
    """

    def __init__(self, path: Path, empty: TrainingRecordFile):
        self.path = path
        self._empty = empty

    def begin(self, step: int) -> list[int]:
        """Continue after `step` batches, and return the steps that are kept.

        Later steps belong to a training that was given up, and are removed.

        Raises:
            RunError: the folder holds a record of something else, or cannot be written.
        """
        files.check_writable(self.path)
        if (self.path / RECORD).exists():
            if TrainingRecordFile.read(self.path / RECORD).key != self._empty.key:
                received = "one of other images, layers or settings"
                raise RunError(
                    expected(f"'{self.path}'", "a record of this training", received, _OTHER)
                )
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise RunError(expected(f"'{self.path}'", "a training record", "other files", _OTHER))
        for late in (recorded for recorded in self.steps() if recorded > step):
            with suppress(FileNotFoundError):
                self._step_file(late).unlink()
        return self.steps()

    def steps(self) -> list[int]:
        """Return the recorded steps, rising."""
        return sorted(int(path.stem) for path in (self.path / "steps").glob("[0-9]*.npz"))

    def write(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep one step, arrays by their names of `step_array`; the first one makes record.json."""
        files.write_arrays(self._step_file(step), arrays)
        count = len(self.steps())
        if count & (count - 1) == 0:
            self.join()

    def join(self) -> None:
        """Write record.json and the layers' files from all steps that are there.

        Raises:
            RunError: a step's file is damaged.
        """
        steps = self.steps()
        layers = []
        for layer in self._empty.layers:
            label, per_class, whole = (
                self._over(step_array(layer.index, kind), steps)
                for kind in ("label", "per_class", "layer")
            )
            RecordedMapsFile(
                maps=np.arange(label.shape[1]),
                steps=np.array(steps),
                label=label,
                per_class=per_class,
            ).write(maps_file(self.path, layer.index))
            about_input, about_label = finite_list(whole[:, 0]), finite_list(whole[:, 1])
            layers.append(replace(layer, input=about_input, label=about_label))
        accuracy = self._over("accuracy", steps)
        shares = accuracy.tolist() if np.isfinite(accuracy).all() else None
        record = replace(self._empty, steps=steps, layers=layers, accuracy=shares)
        record.write(self.path / RECORD)

    def _over(self, name: str, steps: list[int]) -> np.ndarray:
        return np.stack([files.read_array(self._step_file(step), name) for step in steps])

    def _step_file(self, step: int) -> Path:
        return self.path / "steps" / f"{step:09d}.npz"
