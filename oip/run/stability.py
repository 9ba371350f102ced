"""Stability of a layer's OIPs in a run: measured when its shards are there, kept beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from oip.ascent import similarity
from oip.core import files
from oip.core.errors import RunError
from oip.run.run import Run
from oip.run.shards import held_maps, read_shard

SCHEMA = 1
_NAME = "stability.json"


def measure_stability(run: Run, index: int, seed: int) -> None:
    """Measures the stability of a layer and writes it, unless it is known for the same maps.

    One shard is read at a time, without its snapshots; the images of the layer are held as float16.
    """
    while True:
        maps = held_maps(run, index)
        told = known_stability(run, index)
        if told is not None and told["maps"] == maps.tolist():
            return
        images, alive = _images(run, index, len(maps))
        jump = next(one.get("jump") for one in run.layers if one["index"] == index)
        shift = similarity.shift_reach(jump, images.shape[2:-1])
        found = similarity.start_stability(images, alive, shift, seed, index)
        with files.locked(run.folder(index)):
            if held_maps(run, index).tolist() == maps.tolist():
                _write(run, index, maps, found)
                return


def known_stability(run: Run, index: int) -> dict[str, Any] | None:
    """What stability.json says; None where there is none or it is damaged."""
    try:
        told = run.stability(index)
    except RunError:
        return None
    return told if isinstance(told, dict) and isinstance(told.get("maps"), list) else None


def _images(run: Run, index: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    images = np.zeros((0,), np.float16)
    alive = np.zeros(count, bool)
    first = 0
    for path in run.shards(index):
        oips, _ = read_shard(path, snapshots=False)
        if not first:
            images = np.zeros((count, *oips.images.shape[1:]), np.float16)
        rows = slice(first, first + len(oips))
        images[rows] = oips.images
        alive[rows] = oips.alive
        first += len(oips)
    return images, alive


def _write(run: Run, index: int, maps: np.ndarray, found: similarity.Stability) -> None:
    files.write_json(
        run.folder(index) / _NAME,
        {
            "schema": SCHEMA,
            "maps": maps.tolist(),
            "within": _plain(found.within),
            "percentile": _plain(found.percentile),
            "n_null": found.n_null.tolist(),
            "clusters": found.clusters.tolist(),
            "medoids": found.medoids.tolist(),
        },
    )


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
