"""Reconstruction into a run: shard by shard, going on where an earlier command was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from oip.ascent.noise import Noise
from oip.ascent.reconstruction import LayerAscent
from oip.ascent.settings import AscentSettings
from oip.core.errors import ModelError, expected
from oip.core.progress import Progress, silent
from oip.network.inputs import check_images
from oip.network.layers import LayerInfo
from oip.network.view import Network
from oip.run.directory import Run, own_files
from oip.run.growing import ascent_key, grow_block, open_blocks, refuse_other_shards
from oip.run.information import Data, run_info
from oip.run.merging import layer_parts
from oip.run.stability import measure_stability

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
    key = ascent_key(network, settings, images)
    info = run_info(
        network,
        command="reconstruct",
        settings=msgspec.to_builtins(settings),
        data=data,
    )
    beside = own_files(out, network.path)
    Run.check(out, info, beside)
    run = Run(Path(out), {})
    refuse_other_shards(run, key)
    plan = [(layer, open_blocks(run, layer.index, maps, key)) for layer, maps in selections]
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
            grow_block(run, layer.index, ascent, number, maps, key)
            done += len(maps)
            progress(f"{layer.name}: maps", done, total)
        measure_stability(run, layer.index, settings.seed)
    return run


def summary(run: Run, indices: Sequence[int], seconds: float) -> dict[str, Any]:
    """What `oip reconstruct --json` prints: every map of some layers with its evidence."""
    layers = []
    for index in indices:
        name = next(one["layer"] for one in run.layers if one["index"] == index)
        maps = [one.evidence() for part in layer_parts(run, index, False) for one in part]
        layers.append({"layer": name, "index": index, "maps": maps})
    return {"run": str(run.path), "seconds": round(seconds, 2), "layers": layers}
