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
from oip.core.errors import ModelError, RunError, expected
from oip.core.progress import Progress, silent
from oip.network.inputs import check_images
from oip.network.layers import LayerInfo
from oip.network.view import Network
from oip.run.directory import Run, own_files
from oip.run.information import Data, run_info
from oip.run.merging import layer_oips, write_stability
from oip.run.shards import data_digest, key_of, read_shard, shard_key, write_shard

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
        ModelError: no map has finite responses; nothing was written.
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
    beside = own_files(out, network.path)
    Run.check(out, info, beside)
    run = Run(Path(out), {})
    _refuse_other_shards(run, key)
    plan = [(layer, _open_blocks(run, layer, maps)) for layer, maps in selections]
    ascents = {
        layer.index: LayerAscent(network, layer, settings, images, progress) for layer, _ in plan
    }
    open_maps = [(layer, maps) for layer, blocks in plan for _, maps in blocks]
    if open_maps and all(
        ascents[one.index].screening.broken[maps].all() for one, maps in open_maps
    ):
        raise ModelError(
            expected(
                "responses of the maps",
                "finite numbers",
                "NaN or infinity in every map",
                "Look for NaN in the model's weights.",
            )
        )
    run = Run.begin(out, info, beside)
    for layer, blocks in plan:
        ascent = ascents.pop(layer.index)
        total = sum(len(maps) for _, maps in blocks)
        done = 0
        for number, maps in blocks:
            write_shard(run.shard(layer.index, number), ascent.grow(maps), key)
            done += len(maps)
            progress(f"{layer.name}: maps", done, total)
        _measure_stability(run, layer, settings.seed)
    return run


def _open_blocks(run: Run, layer: LayerInfo, maps: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Blocks that are still to be done, with the maps that their shard shall hold."""
    found = []
    for number, wanted in shards(maps):
        path = run.shard(layer.index, number)
        have = _finished(path) if path.exists() else np.array([], np.int64)
        if not np.isin(wanted, have).all():
            found.append((number, np.union1d(wanted, have).astype(np.int64)))
    return found


def _finished(path: Path) -> np.ndarray:
    try:
        return read_shard(path)[0].maps
    except RunError:
        return np.array([], np.int64)  # damaged: done again


def _refuse_other_shards(run: Run, key: str) -> None:
    for path in sorted(run.path.glob("layers/*/shard-*.npz")):
        if shard_key(path) not in (None, key):
            raise RunError(
                expected(
                    f"'{run.path}' holds OIPs made in another way",
                    "the same model, input, settings, seed and data",
                    "others",
                    "Choose another --out, or give the command that began it.",
                )
            )


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
