"""Stability of a layer's OIPs in a run: measured when its shards are there, kept beside them."""

from __future__ import annotations

import numpy as np

from oip.ascent import similarity
from oip.core import files
from oip.core.layer_formats import StabilityFile
from oip.core.units import finite_list
from oip.run.run import Run, RunFolder
from oip.run.shards import maps_in_shards, read_shard


def stability_file(run: RunFolder, index: int) -> StabilityFile | None:
    """Return the stability of the maps in a layer's shards.

    None where it was measured for other maps, or where there is no file or a damaged one.
    """
    record = StabilityFile.read_if_whole(run.folder(index) / "stability.json")
    if record is None or record.maps != maps_in_shards(run, index).tolist():
        return None
    return record


def measure_stability(run: Run, index: int, seed: int) -> None:
    """Measure the stability of a layer and write it, unless it is known for the same maps.

    One shard is read at a time, without its snapshots; the images of the layer are kept as float16.
    """
    while stability_file(run, index) is None:
        maps = maps_in_shards(run, index)
        images, alive = _images(run, index, len(maps))
        reach = similarity.shift_reach(run.layer(index).jump, images.shape[2:-1])
        stability = similarity.start_stability(images, alive, reach, seed, index)
        record = StabilityFile(
            maps=maps.tolist(),
            within=finite_list(stability.within),
            percentile=finite_list(stability.percentile),
            n_null=stability.n_null.tolist(),
            clusters=stability.clusters.tolist(),
            medoids=stability.medoids.tolist(),
        )
        with files.locked(run.folder(index)):
            if maps_in_shards(run, index).tolist() == record.maps:
                record.write(run.folder(index) / "stability.json")
                return


def _images(run: Run, index: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (m, k, h, w, b) of a layer and which of its maps (m,) are alive."""
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
