"""The content of a batch, for the commands that take a run or a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oip.batch.plan import NAME, read_batch
from oip.core.errors import RunError, expected
from oip.core.formats import BatchLayer
from oip.run.check import run_status
from oip.run.run import Run

Status = dict[str, Any]


def runs_of(path: Path) -> list[Run]:
    """Return the run that a folder is, or those of a batch that have begun.

    Raises:
        RunError: neither, or a damaged run.json.
    """
    if not (path / NAME).is_file():
        return [Run.open(path)]
    folders = [path / "runs" / run.run for run in read_batch(path).runs]
    return [Run.open(folder) for folder in folders if folder.exists()]


def batch_status(out: Path) -> Status:
    """Return the status of every run of a batch, and how many maps were requested.

    Returns:
        batch, and runs: as `run_status` gives them, only the layers that were requested, each with
        `asked`, the number of maps.
    """
    runs = []
    status: Status
    for run in read_batch(out).runs:
        requested = {layer.index: _count(out, layer) for layer in run.layers}
        folder = out / "runs" / run.run
        if folder.exists():
            status = run_status(Run.open(folder))
        else:  # killed before it began
            layers = [{"index": layer.index, "layer": layer.layer} for layer in run.layers]
            status = {"run": str(folder), "model": run.model, "layers": []}
            status["layers"] = [{**layer, "maps": None, **_NOTHING} for layer in layers]
        status["layers"] = [
            {**layer, "asked": requested[layer["index"]]}
            for layer in status["layers"]
            if layer["index"] in requested
        ]
        runs.append(status)
    return {"batch": str(out), "runs": runs}


_NOTHING: Status = {
    "oips": 0,
    "verdicts": {},
    "shards": 0,
    "damaged": [],
    "stability": False,
    "ranked": False,
    "failed": [],
}
"""The status of a layer of which nothing is there, see `run_status`."""


def _count(out: Path, layer: BatchLayer) -> int:
    """How many maps a text such as `0-15,20` names."""
    total = 0
    try:
        for part in layer.maps.split(","):
            low, _, high = part.partition("-")
            total += int(high or low) - int(low) + 1
    except ValueError as error:
        raise RunError(expected(f"'{out / NAME}'", "map numbers", f"'{layer.maps}'")) from error
    return total
