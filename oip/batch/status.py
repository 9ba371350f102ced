"""What is in a batch, for the commands that take a run or a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oip.batch.plan import NAME, read_batch
from oip.core.errors import RunError, expected
from oip.run.check import run_status
from oip.run.run import Run


def runs_of(path: Path) -> list[Run]:
    """The run that a folder is, or those of a batch that have begun.

    Raises:
        RunError: neither, or a damaged run.json.
    """
    if not (path / NAME).is_file():
        return [Run.open(path)]
    folders = [path / "runs" / one["run"] for one in read_batch(path)["runs"]]
    return [Run.open(folder) for folder in folders if folder.exists()]


def batch_status(out: Path) -> dict[str, Any]:
    """The status of every run of a batch, and how many maps were asked for.

    Returns:
        batch, and runs: as `run_status` gives them, only the layers that were asked for, each with
        `asked`, the number of maps.
    """
    runs = []
    for one in read_batch(out)["runs"]:
        try:
            asked = {layer["index"]: _count(layer["maps"]) for layer in one["layers"]}
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(expected(f"'{out / NAME}'", "a whole batch", repr(error))) from error
        folder = out / "runs" / one["run"]
        if folder.exists():
            told = run_status(Run.open(folder))
        else:  # killed before it began
            told = {"run": str(folder), "model": one["model"], "layers": []}
            told["layers"] = [{**_NOTHING, **layer, "maps": None} for layer in one["layers"]]
        layers = [layer for layer in told["layers"] if layer["index"] in asked]
        told["layers"] = [{**layer, "asked": asked[layer["index"]]} for layer in layers]
        runs.append(told)
    return {"batch": str(out), "runs": runs}


_NOTHING: dict[str, Any] = {
    "oips": 0,
    "verdicts": {},
    "shards": 0,
    "damaged": [],
    "stability": False,
    "ranked": False,
    "failed": [],
}
"""What `run_status` says of a layer of which nothing is there."""


def _count(maps: str) -> int:
    """How many maps a text such as `0-15,20` names."""
    total = 0
    for part in maps.split(","):
        low, _, high = part.partition("-")
        total += int(high or low) - int(low) + 1
    return total
