"""What is in a run, what is missing from it, what failed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from oip.ascent.results import VERDICTS
from oip.core import files
from oip.core.errors import RunError
from oip.run.directory import Run
from oip.run.stability import known_stability

ERROR = ".error.json"
"""How the names of files end that say what failed."""
FAILURE_SCHEMA = 1


def run_status(run: Run) -> dict[str, Any]:
    """Every layer of a run's model: what is there of it.

    Only the small arrays of the shards are read; `oip verify` reads all.

    Returns:
        run, model, and layers: index, layer, maps (in the model), oips (maps with an OIP), verdicts
        (how many of each), shards, damaged (names of shards that cannot be read), stability (it is
        known for these maps), ranked, failed (file, error, attempts of what failed).
    """
    return {
        "run": str(run.path),
        "model": run.info["model"]["name"],
        "layers": [_layer(run, layer) for layer in run.layers],
    }


def failures(folder: Path) -> list[dict[str, Any]]:
    """What failed in a layer's folder and is still not there: file, error, attempts."""
    found = []
    for path in sorted(folder.glob(f"*{ERROR}")):
        name = path.name.removesuffix(ERROR)
        name += ".npz" if name.startswith("shard-") else ".json"
        try:
            told = files.read_json(path)
            error, attempts = str(told["error"]), int(told["attempts"])
        except (RunError, KeyError, TypeError, ValueError):
            error, attempts = "unknown: the record of the failure is damaged", 0
        found.append({"file": name, "error": error, "attempts": attempts})
    return found


def _layer(run: Run, layer: dict[str, Any]) -> dict[str, Any]:
    index = layer["index"]
    maps: list[int] = []
    codes: Counter[int] = Counter()
    damaged = []
    paths = run.shards(index)
    for path in paths:
        try:
            numbers = files.read_array(path, "maps")
            codes.update(files.read_array(path, "verdict_codes").tolist())
            maps += numbers.tolist()
        except RunError:
            damaged.append(path.name)
    known = known_stability(run, index)
    return {
        "index": index,
        "layer": layer["layer"],
        "maps": layer.get("maps"),
        "oips": len(np.unique(maps)),
        "verdicts": {word: codes[code] for code, word in enumerate(VERDICTS) if codes[code]},
        "shards": len(paths),
        "damaged": damaged,
        "stability": bool(maps) and known is not None and known["maps"] == maps,
        "ranked": (run.folder(index) / "ranking.json").is_file(),
        "failed": failures(run.folder(index)),
    }
