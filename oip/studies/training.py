"""Trainings that studies watch: recorded as they go on, resumed where they were stopped."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oip.core import files
from oip.core.progress import Progress
from oip.studies.data import digest
from oip.studies.training_loop import train_to
from oip.studies.training_state import put, record_until, weights_file
from oip.studies.watched import RECORDED, WIDTHS, Watched, built, kept_at

if TYPE_CHECKING:
    from mi.training_record import TrainingRecord
    from oip.studies.frame import Folder

_SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Trained:
    """What a watched training left."""

    path: Path
    watched: Watched
    iterations: int
    records: dict[str, TrainingRecord]
    """By the width of the kernel, see `WIDTHS`; up to `iterations`."""
    kept: tuple[int, ...]
    """Iterations whose weights are there, the first and the last among them."""
    accuracy: float
    """Of the whole test part, at the end."""
    _data: Any

    def model(self, iteration: int) -> Any:
        """The Keras model as it was after so many iterations, one of `kept`."""
        model = built(self.watched, self._data)
        put(model, files.read_arrays(weights_file(self.path, iteration)))
        return model


def trained(
    folder: Folder,
    watched: Watched,
    train: Any,
    test: Any,
    iterations: int,
    seed: int,
    progress: Progress,
) -> Trained:
    """Trains a network on batches drawn without replacement, and records what its blocks know.

    At every recorded iteration from the 500th on, weights and optimizer are saved; a training that
    was stopped goes on from there with the same batches. One that is there is not trained again.

    Args:
        folder: of the study; what is trained is kept in `folder.common`.
        watched: the network.
        train: a `models.Dataset` to learn from.
        test: a `models.Dataset`; `RECORDED` of its images are recorded.
        iterations: batches.
        seed: of the weights, the batches and the images that are recorded.
        progress: told iterations.

    Raises:
        SettingsError: the training diverged, or went on beyond an end that was not recorded.
        RunError: what was saved is damaged.
    """
    told = {
        "schema": _SCHEMA,
        **asdict(watched),
        "train": [train.source, digest(train)],
        "test": [test.source, digest(test)],
        "seed": seed,
        "recorded": RECORDED,
        "widths": WIDTHS,
    }
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    readable = re.sub(r"[^\w-]+", "-", f"{train.source.partition(':')[0]}-{watched.name}")
    path = folder.common(f"{readable}-{key}")
    end = path / f"end-{iterations:06d}.json"
    if not end.exists():
        files.write_json(path / "training.json", told)
        accuracy = train_to(path, watched, train, test, iterations, seed, progress)
        files.write_json(end, {"accuracy": accuracy})
    return Trained(
        path=path,
        watched=watched,
        iterations=iterations,
        records={width: record_until(path / width, iterations) for width in WIDTHS},
        kept=tuple(kept_at(iterations)),
        accuracy=float(files.read_json(end)["accuracy"]),
        _data=train,
    )
