"""Reconstruction into a run: shard by shard, going on where an earlier command was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from oip.ascent.noise import Noise
from oip.ascent.reconstruction import LayerAscent, layer_stability, shards
from oip.ascent.settings import AscentSettings
from oip.core.errors import RunError, expected
from oip.core.progress import Progress, silent
from oip.network.inputs import check_images
from oip.network.layers import LayerInfo
from oip.network.view import Network
from oip.run.directory import Run, own_files
from oip.run.information import Data, run_info
from oip.run.merging import layer_oips, write_stability
from oip.run.shards import data_digest, key_of, read_shard, write_shard

Selections = Sequence[tuple[LayerInfo, np.ndarray]]


def reconstruct_into(
    out: str | Path,
    network: Network,
    selections: Selections,
    settings: AscentSettings,
    data: Data | None = None,
    progress: Progress = silent,
) -> Run:
    """Grows the OIPs of the selected maps and keeps them in a run.

    Finished shards are kept and not done again; a damaged one is. The result does not depend on how
    often the work was interrupted.

    Args:
        out: the run's folder; new, empty, or a run of the same model and settings.
        network: the model.
        selections: layers and map numbers, as `parse_selections` gives them.
        settings: of the ascent.
        data: images that verdicts and scores are held against.
        progress: is told what has been done.

    Raises:
        RunError: the folder cannot be used, or holds OIPs of other settings.
        DataError: the images do not fit the model.
    """
    Noise(network.inputs.shape, settings.noise)  # a preset that does not fit is refused here
    images = None if data is None else check_images(network.inputs, data.images, "data")
    key = key_of(
        {
            "model": network.digest,
            "input": network.inputs.to_dict(),
            "settings": msgspec.to_builtins(settings),
            "data": data_digest(images),
        }
    )
    info = run_info(
        network,
        command="reconstruct",
        settings=msgspec.to_builtins(settings),
        data=data,
    )
    run = Run(Path(out), {})
    plan = [(layer, _open_blocks(run, layer, maps, key)) for layer, maps in selections]
    run = Run.begin(out, info, own_files(out, network.path))
    for layer, blocks in plan:
        ascent = LayerAscent(network, layer, settings, images, progress)
        total = sum(len(maps) for _, maps in blocks)
        done = 0
        for number, maps in blocks:
            write_shard(run.shard(layer.index, number), ascent.grow(maps), key)
            done += len(maps)
            progress(f"{layer.name}: maps", done, total)
        _measure_stability(run, layer, settings.seed)
    return run


def _open_blocks(
    run: Run, layer: LayerInfo, maps: np.ndarray, key: str
) -> list[tuple[int, np.ndarray]]:
    """Blocks that are still to be done, with the maps that their shard shall hold."""
    found = []
    for number, wanted in shards(maps):
        path = run.shard(layer.index, number)
        have = _finished(path, key) if path.exists() else np.array([], np.int64)
        if not np.isin(wanted, have).all():
            found.append((number, np.union1d(wanted, have).astype(np.int64)))
    return found


def _finished(path: Path, key: str) -> np.ndarray:
    try:
        oips, found = read_shard(path)
    except RunError:
        return np.array([], np.int64)  # damaged: done again
    if found != key:
        raise RunError(
            expected(
                f"'{path.parent.parent.parent}' holds OIPs made in another way",
                "the same model, input, settings, seed and data",
                "others",
                "Choose another --out, or give the command that began it.",
            )
        )
    return oips.maps


def _measure_stability(run: Run, layer: LayerInfo, seed: int) -> None:
    oips = layer_oips(run, layer.index)
    told = run.stability(layer.index)
    if told is not None and told["maps"] == oips.maps.tolist():
        return
    found = layer_stability(oips, layer, seed)
    measured = oips.with_stability(found.within, found.percentile, found.n_null)
    write_stability(run, measured, found.clusters, found.medoids)


def summary(run: Run, indices: Sequence[int], seconds: float) -> dict[str, Any]:
    """What `oip reconstruct --json` prints: every map of some layers with its evidence."""
    layers = []
    for index in indices:
        oips = layer_oips(run, index)
        layers.append(
            {"layer": oips.layer, "index": index, "maps": [one.evidence() for one in oips]}
        )
    return {"run": str(run.path), "seconds": round(seconds, 2), "layers": layers}
