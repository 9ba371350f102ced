"""A training record on disk: one file a recorded step, joined into the files that are read.

FOLDER/record.json              layers over the steps, what was measured and how
FOLDER/layer-NNN.npz            maps over the steps: maps, steps, label (t, m), per_class (t, m, c)
FOLDER/steps/000000469.npz      one step, all layers; what the others are made from

Writing a step does not depend on how many there are; the steps are joined when their number has
doubled and at the end, so that a record of any length is written in bounded memory, layer by layer.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from oip.core import files
from oip.core.errors import RunError, expected

SCHEMA = 1
_OTHER = "Choose another folder, or remove it."


class RecordFolder:
    """Where the steps of one training are kept.

    Args:
        path: the folder; made with the first step.
        told: what record.json says besides steps and values; `key` tells one record from another.
    """

    def __init__(self, path: Path, told: dict[str, Any]):
        self.path = path
        self._told = told

    def begin(self, step: int) -> list[int]:
        """Goes on after `step` batches, and returns the steps that are kept.

        Steps after it belong to a training that was given up, and are removed.

        Raises:
            RunError: the folder holds a record of something else, or cannot be written.
        """
        files.check_writable(self.path)
        if (self.path / "record.json").exists():
            found = files.read_json(self.path / "record.json")
            key = found.get("key") if isinstance(found, dict) else None
            if key != self._told["key"]:
                what = "one of other images, layers or settings"
                raise RunError(
                    expected(f"'{self.path}'", "a record of this training", what, _OTHER)
                )
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise RunError(expected(f"'{self.path}'", "a training record", "other files", _OTHER))
        for late in [one for one in self.steps() if one > step]:
            with suppress(FileNotFoundError):
                self._part(late).unlink()
        return self.steps()

    def steps(self) -> list[int]:
        """Recorded steps, rising."""
        return sorted(int(path.stem) for path in (self.path / "steps").glob("[0-9]*.npz"))

    def write(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        """Keeps one step; record.json is there from the first one on."""
        files.write_arrays(self._part(step), arrays)
        count = len(self.steps())
        if count & (count - 1) == 0:
            self.join()

    def join(self) -> None:
        """Writes record.json and the layers' files from all steps that are there.

        Raises:
            RunError: a step's file is damaged.
        """
        steps = self.steps()
        layers = []
        accuracy = self._over("accuracy", steps)
        for one in self._told["layers"]:
            name = f"layer-{one['index']:03d}"
            label, per_class = (
                self._over(f"{name}-{kind}", steps) for kind in ("label", "per_class")
            )
            arrays = {
                "schema": np.array(SCHEMA),
                "maps": np.arange(label.shape[1]),
                "steps": np.array(steps),
                "label": label,
                "per_class": per_class,
            }
            files.write_arrays(self.path / f"{name}.npz", arrays)
            whole = self._over(f"{name}-layer", steps)
            layers.append({**one, "input": _plain(whole[:, 0]), "label": _plain(whole[:, 1])})
        told = {"schema": SCHEMA, **self._told, "steps": steps, "layers": layers}
        if np.isfinite(accuracy).all():
            told["accuracy"] = _plain(accuracy)
        files.write_json(self.path / "record.json", told)

    def _over(self, name: str, steps: list[int]) -> np.ndarray:
        return np.stack([files.read_array(self._part(step), name) for step in steps])

    def _part(self, step: int) -> Path:
        return self.path / "steps" / f"{step:09d}.npz"


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
