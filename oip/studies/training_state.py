"""What a watched training keeps on disk: weights, the state of the optimizer, its record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import files
from oip.core.errors import RunError
from oip.studies.watched import recorded_at

if TYPE_CHECKING:
    from mi.training_record import TrainingRecord


def weights_file(path: Path, iteration: int) -> Path:
    """Where the weights after so many iterations are."""
    return path / "weights" / f"{iteration:06d}.npz"


def save(path: Path, model: Any, optimizer: Any = None) -> None:
    """Writes a model's weights, and the state of its optimizer where one is given."""
    arrays = {f"weight-{place}": value for place, value in enumerate(model.get_weights())}
    if optimizer is not None:
        for place, variable in enumerate(optimizer.variables):
            arrays[f"optimizer-{place}"] = variable.numpy()
        arrays["iterations"] = optimizer.iterations.numpy()
    with files.replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)  # weights hardly become smaller


def put(model: Any, saved: dict[str, np.ndarray]) -> None:
    """Gives a model the weights that `save` wrote."""
    model.set_weights([saved[f"weight-{place}"] for place in range(len(model.weights))])


def resumed(path: Path, model: Any, optimizer: Any) -> int:
    """Puts the saved weights and optimizer in place; returns the iterations that they have seen."""
    last = path / "last.npz"
    if not last.exists():
        return 0
    try:
        saved = files.read_arrays(last)
    except RunError:
        return 0
    put(model, saved)
    for place, variable in enumerate(optimizer.variables):
        variable.assign(saved[f"optimizer-{place}"])
    return int(saved["iterations"])


def record_until(path: Path, iterations: int) -> TrainingRecord:
    """The record up to so many iterations."""
    from mi.training_record import TrainingRecord

    whole = TrainingRecord.open(path)
    kept = np.isin(whole.steps, recorded_at(iterations))
    layers = tuple(
        replace(
            one,
            label=one.label[kept],
            per_class=one.per_class[kept],
            whole_label=one.whole_label[kept],
            whole_input=one.whole_input[kept],
        )
        for one in whole.layers
    )
    accuracy = None if whole.accuracy is None else whole.accuracy[kept]
    return replace(whole, steps=whole.steps[kept], layers=layers, accuracy=accuracy)
